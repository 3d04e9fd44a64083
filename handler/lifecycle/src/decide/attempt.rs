//! Attempts: how one begins, what its POST was answered, how it ends without a result.

use time::Duration;

use super::step::{DecideContext, Effect, Step};
use crate::duration::utc_text;
use crate::id::{JobName, WorkspaceId};
use crate::job::{Answer, Job, JobStatus};
use crate::rule::Rule;
use crate::schedule::back_off;
use crate::scoring::{MAX_JOB_NAMES, Scoring};
use crate::status::Event;

/// First back-off after a refusal that may pass.
const REFUSAL_BACK_OFF: Duration = Duration::seconds(10);
/// No back-off is longer.
const MAX_BACK_OFF: Duration = Duration::hours(1);

impl DecideContext<'_> {
    pub(super) fn submit(&self, rule: Option<&Rule>) -> Step {
        // A refused attempt made no job: its number and output path are used again.
        let again = self.scoring.submission.is_some();
        let attempt = if again { self.scoring.attempt } else { self.scoring.attempt + 1 };
        let (lease, now) = (self.policy.lease(), self.now);
        let reason = if again { "a slot is free; the same request is sent again" } else { "a slot is free" };
        self.transition(Event::SlotFree, reason.to_owned(), Effect::Submit, |next| {
            if !again {
                next.attempt = attempt;
                next.submission = rule.map(|rule| rule.submission(&self.scoring.blob, &self.scoring.id, attempt));
                next.submitted = Some(now);
                next.resumed = None;
                next.submits = 0;
            }
            next.submits += 1;
            next.due = now + lease;
        })
    }

    pub(super) fn answered(&self, answer: &Answer) -> Step {
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
    pub(super) fn past_submit_deadline(&self) -> bool {
        let first = self.scoring.resumed.or(self.scoring.submitted).unwrap_or(self.scoring.created);
        self.now - first >= self.policy.submit_deadline.0
    }

    pub(super) fn adopt(&self, next: &mut Scoring, job: &Job, status: &JobStatus) {
        if next.workspace.is_none() {
            next.workspace = job.id.as_deref().and_then(WorkspaceId::of_resource);
        }
        next.job = Some(job.clone());
        next.job_status = Some(status.name().to_owned());
        next.missing_since = None;
        next.refusals = 0;
        next.due = self.now + self.policy.job_timeout.0;
    }

    pub(super) fn attempt_failed(&self, error: &str) -> Step {
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
pub(super) fn push_bounded(names: &mut Vec<JobName>, name: JobName) {
    if names.len() >= MAX_JOB_NAMES {
        names.remove(0);
    }
    names.push(name);
}
