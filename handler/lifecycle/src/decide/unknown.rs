//! Submissions whose answer was lost: what is concluded from a search, from a job that turns up, and from a person.
//!
//! Adopting a job that is surely ours is always safe; sending again is not, so it needs a search that saw everything, after
//! `resubmitAfter`, and a look at the attempt's own output path. What may be ours and shows too little is followed; see
//! `followed.rs`. Jobs that no attempt needs are *orphaned*: they are cancelled, counted and remembered by name.

use super::observation::{Resolution, ResolveOrder};
use super::step::{DecideContext, Effect, Step, wait};
use crate::duration::utc_text;
use crate::failure::FailureCause;
use crate::id::JobName;
use crate::job::{Candidate, Job, JobStatus, JobsFound, LostLook, OutputFound};
use crate::scoring::{MAX_JOB_NAMES, Scoring};
use crate::status::{Event, Status};

impl DecideContext<'_> {
    /// What a look through the workspace's jobs and at the attempt's output path found.
    pub(super) fn looked_for(&self, look: &LostLook) -> Step {
        if let JobsFound::Seen { ours, .. } = &look.jobs {
            let by_age = self.by_age(ours);
            if !by_age.is_empty() {
                return self.found(&by_age);
            }
        }
        // Before everything else that could follow: what is there says that the request ran, whatever a list shows.
        if let OutputFound::Something(print) = &look.output {
            return self.output_there(print);
        }
        if let Some(step) = self.held_too_long() {
            return step;
        }
        let possible = match &look.jobs {
            JobsFound::Seen { possible, .. } => self.by_age(possible),
            JobsFound::NotSeen(why) => return self.cannot_look(why),
        };
        if possible.iter().any(|job| !job.status.is_final()) {
            return self.follow(&possible);
        }
        if let OutputFound::NotSeen(why) = &look.output {
            return self.cannot_look(&format!("the output path of the attempt could not be looked at: {why}"));
        }
        if possible.is_empty() { self.found_none() } else { self.all_followed_ended(&possible) }
    }

    /// Jobs that an attempt may still have, the oldest first. Names of former and of orphaned jobs are not among them.
    fn by_age<'a>(&self, found: &'a [Candidate]) -> Vec<&'a Candidate> {
        let known =
            |name: &JobName| self.scoring.orphaned_jobs.contains(name) || self.scoring.previous_jobs.contains(name);
        let mut by_age: Vec<_> = found.iter().filter(|found| !known(&found.job.name)).collect();
        // Same instant: the name decides, so that two processes adopt the same one.
        by_age.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.job.name.cmp(&b.job.name)));
        by_age
    }

    /// Jobs that are surely this attempt's.
    fn found(&self, by_age: &[&Candidate]) -> Step {
        match by_age {
            [] => self.found_none(),
            [one] => {
                let reason = format!("job {} carries this submission", one.job.name);
                self.transition(Event::FoundOne, reason, Effect::None, |next| self.adopt(next, &one.job, &one.status))
            }
            [oldest, others @ ..] => {
                let names = others.iter().map(|other| other.job.name.as_str()).collect::<Vec<_>>().join(", ");
                let reason = format!(
                    "{} jobs carry this submission; adopted the oldest, {}, and cancelled {names}",
                    by_age.len(),
                    oldest.job.name
                );
                let rest = others.iter().map(|other| other.job.clone()).collect();
                self.transition(Event::FoundSeveral, reason, Effect::Cancel(rest), |next| {
                    self.adopt(next, &oldest.job, &oldest.status);
                    for other in others {
                        record_orphan(next, &other.job);
                    }
                })
            }
        }
    }

    /// No job of this attempt exists, as far as anybody can see.
    pub(super) fn found_none(&self) -> Step {
        let now = self.now;
        let held = self.scoring.status == Status::Held;
        // What is held waited for `resubmitAfter` already.
        if !held && now - self.scoring.since < self.policy.resubmit_after.0 {
            return wait(format!(
                "no job carries this submission yet; sent again after resubmitAfter, at {}",
                utc_text(self.scoring.since + self.policy.resubmit_after.0)
            ));
        }
        // The rule forbids sending again, whatever a search says: for models whose second run costs more than a
        // person's minute.
        if let Some(forbids) = self.forbids_resend {
            return self.undecided(&format!("no job carries this submission after resubmitAfter, and {forbids}"));
        }
        // Not for what is held: a person asked for it, or the search has just become possible again. Else a scoring
        // whose answers are always lost would be sent until the end of days.
        if !held && self.past_submit_deadline() {
            let error = "the endpoint kept losing its answers and no job was ever found".to_owned();
            return self.transition(
                Event::LastAttemptFailed,
                format!("{error}; it was tried for the whole of submitDeadline"),
                Effect::None,
                |next| {
                    next.error = Some(error.clone());
                    next.failure = Some(FailureCause::Platform);
                },
            );
        }
        let why = if self.scoring.followed.is_empty() {
            "no job carries this submission after resubmitAfter"
        } else {
            "every job that may have been its own has ended, and nothing is at its output path"
        };
        if self.scoring.slot_freed {
            let reason = format!("{why}; queued for a slot, to be sent again to the same output path");
            return self.transition(Event::SendAgain, reason, Effect::None, |next| {
                next.forget_look();
                next.due = now;
                next.resumed = Some(now);
            });
        }
        let reason = format!("{why}; sent again to the same output path");
        self.transition(Event::FoundNone, reason, Effect::Submit, |next| {
            next.submits += 1;
            next.forget_look();
            // A new lease, as this POST may be lost as well. The attempt, and with it output path and request id,
            // stays.
            next.due = now + self.policy.lease();
            // The deadline counts from here: the time for which it was held says nothing about the endpoint.
            if held {
                next.resumed = Some(now);
            }
        })
    }

    /// It could not be looked: nothing is concluded, and after `resubmitAfter` an operator is told.
    pub(super) fn cannot_look(&self, why: &str) -> Step {
        if let Some(step) = self.held_too_long() {
            return step;
        }
        if self.scoring.status == Status::Unknown && self.now - self.scoring.since >= self.policy.resubmit_after.0 {
            return self.undecided(why);
        }
        self.record_last_error(Event::CannotLook, format!("{why}; nothing is concluded from that"), why)
    }

    pub(super) fn undecided(&self, why: &str) -> Step {
        if self.scoring.status == Status::Held {
            return self.record_last_error(Event::CannotLook, why.to_owned(), why);
        }
        let reason = format!("{why}; held, and nothing is sent until its job is found or an operator decides");
        self.transition(Event::Undecided, reason, Effect::None, |next| {
            next.last_error = Some(why.to_owned());
            next.due = self.now;
        })
    }

    /// Written once for each reason: a tick that finds the same one again writes nothing, as a thousand scorings that cannot be
    /// looked at would be a thousand writes a minute.
    fn record_last_error(&self, event: Event, reason: String, why: &str) -> Step {
        if self.scoring.last_error.as_deref() == Some(why) {
            return wait(why.to_owned());
        }
        self.transition(event, reason, Effect::None, |next| next.last_error = Some(why.to_owned()))
    }

    /// A job of this scoring came to light by itself.
    pub(super) fn made(&self, attempt: u32, job: &Job, status: &JobStatus) -> Step {
        let scoring = self.scoring;
        let known = |names: &[JobName]| names.contains(&job.name);
        if scoring.job.as_ref().is_some_and(|own| own.name == job.name)
            || known(&scoring.previous_jobs)
            || known(&scoring.orphaned_jobs)
        {
            return wait(format!("job {} is known", job.name));
        }
        let ended = status.is_final();
        // Its output proved the attempt before anybody knew of it.
        let proved = scoring.job.is_none() && matches!(scoring.status, Status::Verifying | Status::Scored);
        if proved && ended && attempt == scoring.attempt {
            return wait(format!("job {} has written the output that was looked at", job.name));
        }
        // It is adopted only if nothing else can be: one job for each attempt.
        let waits_for_one =
            matches!(scoring.status, Status::Queued | Status::Submitting | Status::Unknown | Status::Held);
        // A queued scoring that was refused keeps its submission; one whose attempt failed has none any more.
        if waits_for_one && attempt == scoring.attempt && scoring.submission.is_some() {
            let reason = format!("job {} was made for this attempt ({status}); its answer came late", job.name);
            return self.transition(Event::Accepted, reason, Effect::None, |next| self.adopt(next, job, status));
        }
        // What is not remembered by name would be found, counted and cancelled again by each scan.
        if scoring.orphaned_jobs.len() >= MAX_JOB_NAMES {
            return wait(format!("job {} is one orphaned job more than are kept by name", job.name));
        }
        let (what, effect) = if ended {
            (format!("it had ended ({status})"), Effect::None)
        } else {
            ("it is cancelled".to_owned(), Effect::Cancel(vec![job.clone()]))
        };
        let reason = format!("job {} was made for attempt {attempt} and is not needed; {what}", job.name);
        self.transition(Event::OrphanFound, reason, effect, |next| {
            record_orphan(next, job);
            // An orphaned job says nothing about what keeps the scoring itself waiting.
            next.last_error.clone_from(&scoring.last_error);
        })
    }

    /// What an operator says about a held scoring.
    pub(super) fn resolved(&self, order: &ResolveOrder) -> Step {
        let now = self.now;
        match &order.resolution {
            Resolution::SendAgain => {
                let reason = format!("{order}: no job exists; to be sent again to the same output path");
                self.transition(Event::SendAgain, reason, Effect::None, |next| {
                    next.forget_look();
                    next.due = now;
                    next.refusals = 0;
                    next.resumed = Some(now);
                })
            }
            Resolution::JobIs(name) => {
                let reason = format!("{order}: job {name} is its job");
                let job = Job { name: name.clone(), id: None, studio: None };
                self.transition(Event::JobNamed, reason, Effect::None, |next| {
                    self.adopt(next, &job, &JobStatus::Unknown);
                })
            }
            Resolution::GiveUp => {
                let error = "given up by an operator: nobody knows whether the endpoint made a job".to_owned();
                let reason = format!("{order}: {error}");
                self.transition(Event::GivenUp, reason, Effect::None, |next| next.error = Some(error))
            }
        }
    }
}

/// Counts an orphaned job and remembers it by name, so that it is found once.
pub(super) fn record_orphan(next: &mut Scoring, job: &Job) {
    next.orphaned_job_count = next.orphaned_job_count.saturating_add(1);
    remember(&mut next.orphaned_jobs, job.name.clone());
}

/// Keeps a name, as long as the list may grow. The first ones stay: their rows in the ledger are never written again.
pub(super) fn remember(names: &mut Vec<JobName>, name: JobName) {
    if names.len() < MAX_JOB_NAMES {
        names.push(name);
    }
}
