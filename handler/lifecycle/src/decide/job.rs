//! Looks at an adopted job: it goes on, ends, is stuck, or cannot be found.

use super::observation::CancelAnswer;
use super::step::{DecideContext, Effect, Step, wait};
use crate::duration::utc_text;
use crate::failure::FailureCause;
use crate::job::{JobSnapshot, JobStatus, address};
use crate::schedule::CANCEL_INTERVAL;
use crate::scoring::{Entry, Scoring};
use crate::status::{Event, Status};

/// What the reason of a move begins with that notes another status of the job.
const THE_JOB_IS: &str = "the job is ";

/// The job's status that a line of history notes, if it is about that alone.
pub fn noted_job_status(entry: &Entry) -> Option<&str> {
    if entry.event == Some(Event::Progressed) { entry.reason.strip_prefix(THE_JOB_IS) } else { None }
}

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
            JobStatus::Canceled if self.scoring.stop_ordered => self.stopped_as_ordered("the job was stopped", note),
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
            status => self.transition(Event::Progressed, format!("{THE_JOB_IS}{status}"), Effect::None, note),
        }
    }

    /// Jobs were told to stop, or were not. Those that were not are asked again, by the next look at a scoring that is
    /// `cancelling` or by the scan for orphaned jobs; people read here why a job runs on, and by which id support finds the
    /// request.
    pub(super) fn cancel_answered(&self, answers: &[CancelAnswer]) -> Step {
        let cancelling = self.scoring.status == Status::Cancelling;
        let refused = answers.iter().filter_map(|one| one.refused.as_deref()).collect::<Vec<_>>().join("; ");
        // It is asked every few minutes, for days perhaps: each reason is written once.
        if cancelling && !refused.is_empty() && self.scoring.last_error.as_ref() == Some(&refused) {
            return wait(refused);
        }
        let told: Vec<String> = answers.iter().map(|one| told(one, answers.len() > 1)).collect();
        if told.is_empty() {
            return wait("nothing was told to stop".to_owned());
        }
        self.transition(Event::CancelAnswered, told.join("; "), Effect::None, |next| {
            // An orphaned job says nothing about what keeps the scoring itself waiting.
            next.last_error = if cancelling {
                Some(refused).filter(|refused| !refused.is_empty())
            } else {
                self.scoring.last_error.clone()
            };
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

/// What became of one request to stop a job, for the history. The service's id of a single answer is a member of the line; of
/// several, each is told here.
fn told(answer: &CancelAnswer, one_of_several: bool) -> String {
    let id = answer.request_id.as_ref().filter(|_| one_of_several);
    let id = id.map_or_else(String::new, |id| format!(" (request {id})"));
    match &answer.refused {
        Some(why) => format!("{why}{id}; it is asked again"),
        None => format!("Azure ML has taken the request to stop job {}{id}", answer.job),
    }
}
