//! Looks at an adopted job: it goes on, ends, is stuck, or cannot be found.

use time::Duration;

use super::step::{DecideContext, Effect, Step, wait};
use crate::duration::utc_text;
use crate::failure::FailureCause;
use crate::job::{JobSnapshot, JobStatus, address};
use crate::scoring::Scoring;
use crate::status::{Event, Status};

/// Time between two requests to stop a job: Azure ML takes minutes to stop one, and may have lost the request.
pub(super) const CANCEL_INTERVAL: Duration = Duration::minutes(5);

impl DecideContext<'_> {
    /// The adopted job was looked at. The order of the arms matters: a job that has ended is never told to stop.
    pub(super) fn polled(&self, observation: &JobSnapshot) -> Step {
        let cancelling = self.scoring.status == Status::Cancelling;
        let now = self.now;
        let note = |next: &mut Scoring| {
            next.job_status = Some(observation.status.name().to_owned());
            next.missing_since = None;
            if let (Some(job), Some(studio)) = (&mut next.job, &observation.studio) {
                job.studio = address(studio).or(job.studio.take());
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
            // Also while it is stopped: it may have failed before the request to stop reached it.
            JobStatus::Failed => {
                let text = observation.error.as_deref().unwrap_or("the job failed without giving a reason");
                self.attempt_failed(text, FailureCause::of_job(text), Some(&observation.status))
            }
            // It was stopped by us: a failed attempt, as it took too long.
            JobStatus::Canceled if cancelling => {
                let error = format!("stopped after jobTimeout ({})", self.policy.job_timeout);
                self.attempt_failed(&error, FailureCause::Platform, Some(&observation.status))
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
            // Whatever its word is: unlisted words and `NotResponding` are never final, and a job that is never final
            // must not hold its slot for ever.
            status if self.stop_at <= now => {
                let reason = if cancelling {
                    format!("still {status}; cancel requested again")
                } else {
                    format!("still {status} after jobTimeout ({}); cancel requested", self.policy.job_timeout)
                };
                let jobs = self.scoring.job.iter().cloned().collect();
                self.transition(Event::JobStuck, reason, Effect::Cancel(jobs), |next| {
                    note(next);
                    next.due = now + CANCEL_INTERVAL;
                    if cancelling {
                        // Why the request to stop was refused: known until it is refused for another reason.
                        next.last_error.clone_from(&self.scoring.last_error);
                    }
                })
            }
            // Not recorded: the words between "told to stop" and "stopped" tell nobody anything, and each would be a
            // write. A job that was missing is recorded as visible, or the time for which it was missing would go on.
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

    /// A job that was to be told to stop was not. It is asked again, by the next look at a scoring that is `cancelling` or by
    /// the scan for orphaned jobs; people read here why it runs on.
    pub(super) fn cancel_refused(&self, why: &str) -> Step {
        let cancelling = self.scoring.status == Status::Cancelling;
        // It is asked every few minutes, for days perhaps: each reason is written once.
        if cancelling && self.scoring.last_error.as_deref() == Some(why) {
            return wait(why.to_owned());
        }
        let reason = format!("{why}; it is asked again");
        self.transition(Event::CancelRefused, reason, Effect::None, |next| {
            // An orphaned job says nothing about what keeps the scoring itself waiting.
            next.last_error = if cancelling { Some(why.to_owned()) } else { self.scoring.last_error.clone() };
        })
    }

    /// The adopted job is not there. A new job is not visible everywhere at once, and an endpoint whose deployments change
    /// answers 404 for jobs that exist: an attempt beside a running job would be the worst answer, so it takes time.
    pub(super) fn missing(&self) -> Step {
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
                let gone = JobStatus::Unlisted("NotFound".to_owned());
                let error = "the job vanished: the endpoint does not know it any more";
                self.attempt_failed(error, FailureCause::Platform, Some(&gone))
            }
            Some(since) => wait(format!("the job cannot be found since {}", utc_text(since))),
        }
    }
}
