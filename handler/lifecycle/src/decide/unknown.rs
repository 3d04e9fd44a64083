//! Submissions whose answer was lost: what is concluded from a search, from a job that turns up, and from a person.
//!
//! Adopting a job is always safe; sending again is not, so it needs a search that saw everything, after the grace time.
//! Jobs that no attempt needs are *strays*: they are cancelled, counted and remembered by name.

use super::observation::Resolution;
use super::step::{Effect, Situation, Step, wait};
use crate::duration::clock;
use crate::job::{Candidate, Job, JobStatus};
use crate::rule::OnUnknown;
use crate::scoring::{MOST_NAMES, Scoring};
use crate::status::{Event, Status};

impl Situation<'_> {
    /// What a search through the workspace's jobs found.
    pub(super) fn looked_for(&self, found: &[Candidate]) -> Step {
        let mut by_age: Vec<_> = found.iter().filter(|found| !self.scoring.strays.contains(&found.job.name)).collect();
        // Same instant: the name decides, so that two processes adopt the same one.
        by_age.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.job.name.cmp(&b.job.name)));
        match by_age.as_slice() {
            [] => self.found_none(),
            [one] => {
                let because = format!("job {} carries this submission", one.job.name);
                self.moved(Event::FoundOne, because, Effect::None, |next| self.adopt(next, &one.job, &one.status))
            }
            [oldest, others @ ..] => {
                let names = others.iter().map(|other| other.job.name.as_str()).collect::<Vec<_>>().join(", ");
                let because = format!(
                    "{} jobs carry this submission; adopted the oldest, {}, and cancelled {names}",
                    by_age.len(),
                    oldest.job.name
                );
                let rest = others.iter().map(|other| other.job.clone()).collect();
                self.moved(Event::FoundSeveral, because, Effect::Cancel(rest), |next| {
                    self.adopt(next, &oldest.job, &oldest.status);
                    for other in others {
                        count(next, &other.job);
                    }
                })
            }
        }
    }

    fn found_none(&self) -> Step {
        let now = self.now;
        let held = self.scoring.status == Status::Held;
        // What is held waited for the grace time already.
        if !held && now - self.scoring.since < self.policy.grace.0 {
            return wait(format!(
                "no job carries this submission yet; grace time until {}",
                clock(self.scoring.since + self.policy.grace.0)
            ));
        }
        if self.policy.on_unknown == OnUnknown::Hold {
            let why = "no job carries this submission after the grace time, and the rule says onUnknown: hold";
            return self.undecided(why);
        }
        if !held && self.too_late() {
            let error = "the endpoint kept losing its answers and no job was ever found".to_owned();
            return self.moved(
                Event::LastAttemptFailed,
                format!("{error}; it was tried for the whole of giveUpAfter"),
                Effect::None,
                |next| next.error = Some(error.clone()),
            );
        }
        let because = "no job carries this submission after the grace time; sent again to the same output path";
        self.moved(Event::FoundNone, because.to_owned(), Effect::Submit, |next| {
            next.posts += 1;
            next.due = now + self.policy.lease();
            if held {
                next.resumed = Some(now);
            }
        })
    }

    /// It could not be looked: nothing is concluded, and after the grace time a person is told.
    pub(super) fn cannot_look(&self, why: &str) -> Step {
        if self.scoring.status == Status::Unknown && self.now - self.scoring.since >= self.policy.grace.0 {
            return self.undecided(why);
        }
        self.in_trouble(Event::CannotLook, format!("{why}; nothing is concluded from that"), why)
    }

    fn undecided(&self, why: &str) -> Step {
        if self.scoring.status == Status::Held {
            return self.in_trouble(Event::CannotLook, why.to_owned(), why);
        }
        let because = format!("{why}; held, and nothing is sent until its job is found or a person decides");
        self.moved(Event::Undecided, because, Effect::None, |next| {
            next.trouble = Some(why.to_owned());
            next.due = self.now;
        })
    }

    /// Written once per reason: a tick that finds the same trouble again writes nothing.
    fn in_trouble(&self, event: Event, because: String, why: &str) -> Step {
        if self.scoring.trouble.as_deref() == Some(why) {
            return wait(why.to_owned());
        }
        self.moved(event, because, Effect::None, |next| next.trouble = Some(why.to_owned()))
    }

    /// A job of this scoring came to light by itself.
    pub(super) fn made(&self, attempt: u32, job: &Job, status: &JobStatus) -> Step {
        let scoring = self.scoring;
        let known = |names: &[String]| names.contains(&job.name);
        if scoring.job.as_ref().is_some_and(|own| own.name == job.name)
            || known(&scoring.former)
            || known(&scoring.strays)
        {
            return wait(format!("job {} is known", job.name));
        }
        let waits_for_one =
            matches!(scoring.status, Status::Queued | Status::Submitting | Status::Unknown | Status::Held);
        // A queued scoring that was refused keeps its submission; one whose attempt failed has none any more.
        if waits_for_one && attempt == scoring.attempt && scoring.submission.is_some() {
            let because = format!("job {} was made for this attempt ({status}); its answer came late", job.name);
            return self.moved(Event::Accepted, because, Effect::None, |next| self.adopt(next, job, status));
        }
        if scoring.strays.len() >= MOST_NAMES {
            return wait(format!("job {} is one stray more than are kept by name", job.name));
        }
        let ended = matches!(status, JobStatus::Completed | JobStatus::Failed | JobStatus::Canceled);
        let (what, effect) = if ended {
            (format!("it had ended ({status})"), Effect::None)
        } else {
            ("it is cancelled".to_owned(), Effect::Cancel(vec![job.clone()]))
        };
        let because = format!("job {} was made for attempt {attempt} and is not needed; {what}", job.name);
        self.moved(Event::StrayFound, because, effect, |next| {
            count(next, job);
            next.trouble.clone_from(&scoring.trouble);
        })
    }

    /// What a person says about a held scoring.
    pub(super) fn resolved(&self, resolution: &Resolution) -> Step {
        let now = self.now;
        match resolution {
            Resolution::SendAgain => {
                let because = "a person says that no job exists; to be sent again to the same output path";
                self.moved(Event::SendAgain, because.to_owned(), Effect::None, |next| {
                    next.due = now;
                    next.refusals = 0;
                    next.resumed = Some(now);
                })
            }
            Resolution::JobIs(name) => {
                let because = format!("a person says that job {name} is its job");
                let job = Job { name: name.clone(), id: None, studio: None };
                self.moved(Event::JobNamed, because, Effect::None, |next| {
                    self.adopt(next, &job, &JobStatus::Unknown);
                })
            }
            Resolution::GiveUp => {
                let error = "given up by a person: nobody knows whether the endpoint made a job".to_owned();
                self.moved(Event::GivenUp, error.clone(), Effect::None, |next| next.error = Some(error))
            }
        }
    }
}

/// Counts a stray.
fn count(next: &mut Scoring, job: &Job) {
    next.duplicates = next.duplicates.saturating_add(1);
    if next.strays.len() < MOST_NAMES {
        next.strays.push(job.name.clone());
    }
}
