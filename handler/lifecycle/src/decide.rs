//! The one decision: given what is remembered and what was just seen, what happens next and why.
//!
//! `decide` never acts. A [`Step::Move`] is recorded first and its effect carried out after: if the process dies in
//! between, the next look finds the intent on record. The target of a move is read from
//! [`TRANSITIONS`](crate::status::TRANSITIONS); a pair that the table lacks can't be taken.

use time::{Duration, OffsetDateTime};

use crate::job::{Answer, Candidate, Job, JobSnapshot, JobStatus, OutputSnapshot};
use crate::retry::back_off;
use crate::rules::{Policy, Rule};
use crate::scoring::{Entry, MAX_JOB_NAMES, Scoring};
use crate::status::{Event, Status, next};

mod unknown;

/// Clocks of Azure ML, storage and this machine may differ by this much without anything being concluded.
const CLOCK_SKEW: Duration = Duration::minutes(5);
/// First back-off after a refusal that may pass.
const REFUSAL_BACK_OFF: Duration = Duration::seconds(10);
/// No back-off is longer.
const MAX_BACK_OFF: Duration = Duration::hours(1);
/// Between two requests to stop a job.
const CANCEL_INTERVAL: Duration = Duration::minutes(5);

/// What a look found. Which look a status needs is the application's business; any answer is safe in any status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// Nothing was looked at.
    Nothing,
    /// It may go now; the slots that it needs are claimed.
    SlotFree,
    /// It may not go yet.
    Waiting {
        /// Why, for people.
        reason: String,
    },
    /// The POST's outcome.
    Answer(Answer),
    /// The job.
    Job(JobSnapshot),
    /// The endpoint does not know the job.
    JobMissing,
    /// Jobs that carry this attempt's inputs and outputs, none or more.
    Candidates(Vec<Candidate>),
    /// The attempt's outputs.
    Output(OutputSnapshot),
    /// It could not be looked: why, and the remedy.
    CannotLook(String),
    /// A job that was made for this scoring, come to light by itself: an answer that came late, or a look through all
    /// jobs of the workspace.
    UnexpectedJob {
        /// The attempt that it was made for.
        attempt: u32,
        /// The job.
        job: Job,
        /// Its status.
        status: JobStatus,
    },
    /// What a person says about a held scoring.
    Resolved(Resolution),
}

/// What a person says about a scoring whose submission can't be found out about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// No job exists: send the attempt again, to the same output path.
    SendAgain,
    /// This is its job.
    JobIs(String),
    /// Not to be scored any more.
    GiveUp,
}

/// What is to happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Nothing is written; look again later.
    Wait {
        /// Why, for people.
        reason: String,
    },
    /// Record `next` and `entry` in one transaction, then carry out `effect`.
    Move {
        /// The scoring after the move.
        next: Box<Scoring>,
        /// The line of history.
        entry: Entry,
        /// What to do once it is recorded.
        effect: Effect,
    },
}

/// What follows a recorded move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// Send the scoring's submission, once.
    Submit,
    /// Ask Azure ML to stop these jobs. Safe to repeat.
    Cancel(Vec<Job>),
}

/// Decides. `rule` is `None` when the rules no longer hold the scoring's rule: what is under way is seen to its end
/// with default times, what is queued waits.
pub fn decide(scoring: &Scoring, rule: Option<&Rule>, observation: &Observation, now: OffsetDateTime) -> Step {
    let defaults = Policy::default();
    let policy = rule.map_or(&defaults, |rule| &rule.policy);
    let stop_at = stop_at(rule, scoring.status, scoring.since, scoring.due);
    let on = DecideContext { scoring, policy, stop_at, now };
    match (scoring.status, observation) {
        (_, Observation::UnexpectedJob { attempt, job, status }) => on.made(*attempt, job, status),
        (Status::Held, Observation::Resolved(resolution)) => on.resolved(resolution),
        (status, Observation::Resolved(_)) => {
            wait(format!("only a held scoring can be resolved by a person, and this one is {status}"))
        }

        (Status::Queued, _) if rule.is_none() => {
            wait(format!("rule `{}` is not in the rules any more; put it back to have this scored", scoring.rule))
        }
        (Status::Queued, _) if scoring.due > now => wait(format!("back-off until {}", utc_text(scoring.due))),
        (Status::Queued, Observation::Waiting { reason }) => wait(reason.clone()),
        (Status::Queued, Observation::SlotFree) => on.submit(rule),

        (Status::Submitting, Observation::Answer(answer)) => on.answered(answer),
        (Status::Submitting, _) if scoring.due > now => {
            wait(format!("its owner holds the lease until {}", utc_text(scoring.due)))
        }
        (Status::Submitting, _) => on.transition(
            Event::OwnerGone,
            format!("no answer was recorded within the lease that ended {}; a job may exist", utc_text(scoring.due)),
            Effect::None,
            |next| next.due = now,
        ),

        (Status::Unknown | Status::Held, Observation::Candidates(found)) => on.looked_for(found),
        (Status::Unknown | Status::Held | Status::Verifying, Observation::CannotLook(why)) => on.cannot_look(why),

        (Status::Running | Status::Cancelling, Observation::Job(job)) => on.polled(job),
        // Also while it is stopped: one look that does not find it must not begin an attempt beside it.
        (Status::Running | Status::Cancelling, Observation::JobMissing) => on.missing(),

        (Status::Verifying, Observation::Output(output)) => on.verify(output),

        (status, _) if status.is_terminal() => wait(format!("{status} is final")),
        (_, Observation::CannotLook(why)) => wait(why.clone()),
        (status, _) => wait(format!("{status}: nothing to conclude from what was seen")),
    }
}

fn wait(reason: String) -> Step {
    Step::Wait { reason }
}

/// Times in reasons: to the second, UTC.
pub fn utc_text(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    format!("{} {:02}:{:02}:{:02} UTC", at.date(), at.hour(), at.minute(), at.second())
}

/// When a running job is told to stop: by the rule as it is now, since nobody who names or adopts a job need know the rule.
/// If the rule is gone, or the job was told already, by what was recorded (`due`).
pub fn stop_at(rule: Option<&Rule>, status: Status, since: OffsetDateTime, due: OffsetDateTime) -> OffsetDateTime {
    rule.filter(|_| status == Status::Running).map_or(due, |rule| since + rule.policy.job_timeout.0)
}

struct DecideContext<'a> {
    scoring: &'a Scoring,
    policy: &'a Policy,
    /// When its job is told to stop.
    stop_at: OffsetDateTime,
    now: OffsetDateTime,
}

impl DecideContext<'_> {
    /// A move by the table. `change` sets what the event changes beside the status.
    fn transition(&self, event: Event, reason: String, effect: Effect, change: impl FnOnce(&mut Scoring)) -> Step {
        let from = self.scoring.status;
        let Some(to) = next(from, event) else {
            // Unreachable by the tests over all pairs; waiting is the answer that harms nothing.
            debug_assert!(false, "{from} has no row for {event:?}");
            return wait(format!("{from} has no move for {event:?}"));
        };
        let mut next = self.scoring.clone();
        next.status = to;
        next.version += 1;
        next.updated = self.now;
        next.last_error = None;
        if from != to {
            next.since = self.now;
        }
        change(&mut next);
        if to.is_terminal() && from != to {
            next.completed = Some(self.now);
        }
        let entry = Entry {
            seq: next.version,
            at: self.now,
            from: Some(from),
            to,
            event: Some(event),
            reason,
            attempt: next.attempt,
            job: next.job.as_ref().or(self.scoring.job.as_ref()).map(|job| job.name.clone()),
        };
        Step::Move { next: Box::new(next), entry, effect }
    }

    fn submit(&self, rule: Option<&Rule>) -> Step {
        // A refused attempt made no job: its number and output path are used again.
        let again = self.scoring.submission.is_some();
        let attempt = if again { self.scoring.attempt } else { self.scoring.attempt + 1 };
        let (lease, now) = (self.policy.lease(), self.now);
        let reason = if again { "a slot is free; the same request is sent again" } else { "a slot is free" };
        self.transition(Event::SlotFree, reason.to_owned(), Effect::Submit, |next| {
            if !again {
                next.attempt = attempt;
                next.submission = rule.map(|rule| rule.submission(self.scoring, attempt));
                next.submitted = Some(now);
                next.resumed = None;
                next.submits = 0;
            }
            next.submits += 1;
            next.due = now + lease;
        })
    }

    fn answered(&self, answer: &Answer) -> Step {
        let now = self.now;
        match answer {
            Answer::Accepted { job, status } => {
                let reason = format!("the endpoint made job {} ({status})", job.name);
                self.transition(Event::Accepted, reason, Effect::None, |next| self.adopt(next, job, status))
            }
            Answer::Unknown { text } => self.transition(
                Event::AnswerLost,
                format!(
                    "the answer was lost ({text}); a job may exist, so it is looked for before anything is sent again"
                ),
                Effect::None,
                |next| next.due = now + self.policy.lookup_interval.0,
            ),
            Answer::Refused { code, text, permanent, retry_after } => {
                let error = format!("{code}: {text}");
                let past_submit_deadline = self.past_submit_deadline();
                if *permanent || past_submit_deadline {
                    let why = if *permanent {
                        "the same request would be refused again"
                    } else {
                        "it was tried for the whole of submitDeadline"
                    };
                    return self.transition(
                        Event::RefusedPermanently,
                        format!("{error}; {why}"),
                        Effect::None,
                        |next| {
                            next.error = Some(error.clone());
                        },
                    );
                }
                let pause = back_off(REFUSAL_BACK_OFF, MAX_BACK_OFF, self.scoring.refusals, &self.scoring.id);
                let pause = retry_after.map_or(pause, |asked| asked.max(pause));
                let reason = format!("{error}; nothing happened, to be sent again after {}", utc_text(now + pause));
                self.transition(Event::RefusedTransiently, reason, Effect::None, |next| {
                    next.refusals += 1;
                    next.due = now + pause;
                    next.last_error = Some(error.clone());
                })
            }
        }
    }

    /// This attempt was tried for the whole of submitDeadline. Counted from its first POST: how long the scoring was queued
    /// or held, or an earlier attempt took, says nothing about the endpoint.
    fn past_submit_deadline(&self) -> bool {
        let first = self.scoring.resumed.or(self.scoring.submitted).unwrap_or(self.scoring.created);
        self.now - first >= self.policy.submit_deadline.0
    }

    fn adopt(&self, next: &mut Scoring, job: &Job, status: &JobStatus) {
        if next.workspace.is_none() {
            next.workspace = job.id.as_deref().and_then(workspace_of).map(str::to_owned);
        }
        next.job = Some(job.clone());
        next.job_status = Some(status.name().to_owned());
        next.missing_since = None;
        next.refusals = 0;
        next.due = self.now + self.policy.job_timeout.0;
    }

    fn polled(&self, observation: &JobSnapshot) -> Step {
        let cancelling = self.scoring.status == Status::Cancelling;
        let now = self.now;
        let note = |next: &mut Scoring| {
            next.job_status = Some(observation.status.name().to_owned());
            next.missing_since = None;
            if let (Some(job), Some(studio)) = (&mut next.job, &observation.studio) {
                job.studio = Some(studio.clone());
            }
        };
        match &observation.status {
            JobStatus::Completed => self.transition(
                Event::JobCompleted,
                "the job completed; its output is to be looked at".to_owned(),
                Effect::None,
                |next| {
                    note(next);
                    next.due = now;
                },
            ),
            JobStatus::Failed => {
                let text = observation.error.as_deref().unwrap_or("the job failed and told no reason");
                self.attempt_failed(text)
            }
            JobStatus::Canceled if cancelling => {
                self.attempt_failed(&format!("stopped after jobTimeout ({})", self.policy.job_timeout))
            }
            JobStatus::Canceled => self.transition(
                Event::JobCancelled,
                "the job was cancelled in Azure ML, not by Scorekeeper".to_owned(),
                Effect::None,
                |next| {
                    note(next);
                    next.error = Some("cancelled in Azure ML".to_owned());
                },
            ),
            status if self.stop_at <= now => {
                let reason = if cancelling {
                    format!("still {status}; asked again to stop")
                } else {
                    format!("still {status} after jobTimeout ({}); told to stop", self.policy.job_timeout)
                };
                let jobs = self.scoring.job.iter().cloned().collect();
                self.transition(Event::JobStuck, reason, Effect::Cancel(jobs), |next| {
                    note(next);
                    next.due = now + CANCEL_INTERVAL;
                })
            }
            status if cancelling && self.scoring.missing_since.is_none() => {
                wait(format!("{status}; waits for the job to stop"))
            }
            status
                if self.scoring.job_status.as_deref() == Some(status.name())
                    && self.scoring.missing_since.is_none() =>
            {
                wait(format!("the job is {status}"))
            }
            status => self.transition(Event::Progressed, format!("the job is {status}"), Effect::None, note),
        }
    }

    fn missing(&self) -> Step {
        let limit = self.policy.output_timeout.0 * 5;
        match self.scoring.missing_since {
            None => self.transition(
                Event::Missing,
                "the endpoint does not know the job at the moment".to_owned(),
                Effect::None,
                |next| {
                    next.missing_since = Some(self.now);
                    next.last_error = Some("the job cannot be found".to_owned());
                },
            ),
            Some(since) if self.now - since >= limit => {
                self.attempt_failed("the job vanished: the endpoint does not know it any more")
            }
            Some(since) => wait(format!("the job cannot be found since {}", utc_text(since))),
        }
    }

    fn verify(&self, output: &OutputSnapshot) -> Step {
        let since = self.scoring.submitted.unwrap_or(self.scoring.created);
        let problem = match output {
            OutputSnapshot::Present { bytes, modified } if *bytes > 0 && *modified >= since - CLOCK_SKEW => {
                let bytes = *bytes;
                let reason = format!("the output is there ({bytes} bytes) and newer than the submission");
                return self.transition(Event::OutputGood, reason, Effect::None, |next| {
                    next.output_bytes = Some(bytes);
                    next.error = None;
                });
            }
            OutputSnapshot::Present { bytes: 0, .. } => "the job completed and its output is empty".to_owned(),
            OutputSnapshot::Present { modified, .. } => {
                format!(
                    "the job completed and its output is older than the submission (modified {})",
                    utc_text(*modified)
                )
            }
            OutputSnapshot::Absent { uri } => format!("the job completed and there is no output at {uri}"),
        };
        if self.now - self.scoring.since < self.policy.output_timeout.0 {
            return wait(format!(
                "{problem}; looked at again until {}",
                utc_text(self.scoring.since + self.policy.output_timeout.0)
            ));
        }
        self.attempt_failed(&problem)
    }

    fn attempt_failed(&self, error: &str) -> Step {
        let (attempt, max) = (self.scoring.attempt, self.policy.max_attempts);
        if attempt >= max {
            let reason = format!("{error}; attempt {attempt} of {max} was the last");
            return self.transition(Event::LastAttemptFailed, reason, Effect::None, |next| {
                next.error = Some(error.to_owned());
            });
        }
        let pause = back_off(self.policy.retry_back_off.0, MAX_BACK_OFF, attempt.saturating_sub(1), &self.scoring.id);
        let reason = format!(
            "{error}; attempt {} of {max} follows after {} with an output path of its own",
            attempt + 1,
            utc_text(self.now + pause)
        );
        self.transition(Event::AttemptFailed, reason, Effect::None, |next| {
            next.submission = None;
            if let Some(job) = next.job.take() {
                push_bounded(&mut next.previous_jobs, job.name);
            }
            next.job_status = None;
            next.missing_since = None;
            next.error = Some(error.to_owned());
            next.due = self.now + pause;
        })
    }
}

/// Keeps the last names of a list.
fn push_bounded(names: &mut Vec<String>, name: String) {
    if names.len() >= MAX_JOB_NAMES {
        names.remove(0);
    }
    names.push(name);
}

/// The workspace's ARM id inside a job's ARM id.
pub fn workspace_of(job_id: &str) -> Option<&str> {
    let at = job_id.to_ascii_lowercase().find("/workspaces/")? + "/workspaces/".len();
    let name = job_id[at..].split('/').next().filter(|name| !name.is_empty())?;
    Some(&job_id[..at + name.len()])
}

#[cfg(test)]
mod tests;
