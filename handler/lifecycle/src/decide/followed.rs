//! Jobs that may be an attempt's own and show too little to say so: same endpoint, same inputs, neither outputs nor tags.
//!
//! Each may be ours or a stranger's, so none is ever adopted or cancelled. They are *followed*, and the attempt is settled by
//! its own output path, which nobody else writes to:
//! * something is there, unchanged over two looks one `outputTimeout` apart: the request ran, and that is verified;
//! * all of them have ended, `outputTimeout` is over, and nothing is there: the request is taken for lost if all completed, and
//!   for a failed attempt if one did not.
//!
//! Rejected: adopting the only one that there is. Its name would be some other scoring's, or a stranger's, whose job we would
//! cancel after `jobTimeout`.

use super::step::{DecideContext, Effect, Step, wait};
use crate::duration::utc_text;
use crate::failure::FailureCause;
use crate::id::JobName;
use crate::job::{Candidate, JobStatus, OutputPrint};
use crate::scoring::{MAX_FOLLOWED, OutputSeen};
use crate::status::{Event, Status};

/// Names told in one reason.
const MAX_TOLD: usize = 5;

impl DecideContext<'_> {
    /// One of these jobs at least has not ended.
    pub(super) fn follow(&self, possible: &[&Candidate]) -> Step {
        let why = format!(
            "{} may be its job and shows neither outputs nor tags; followed until it has ended or the output is there",
            told(possible)
        );
        let names = names(possible);
        let late =
            self.scoring.status == Status::Unknown && self.now - self.scoring.since >= self.policy.resubmit_after.0;
        if !late && self.scoring.followed == names && self.scoring.followed_ended.is_none() {
            return wait(why);
        }
        // Held, so that a person may name the job; what is followed settles it without one.
        let event = if late { Event::Undecided } else { Event::Followed };
        self.transition(event, format!("{why}; nothing is sent meanwhile"), Effect::None, |next| {
            next.followed = names;
            next.followed_ended = None;
            next.output_seen = None;
            next.last_error = Some(why.clone());
        })
    }

    /// All of them have ended, and nothing is at the output path.
    pub(super) fn all_followed_ended(&self, possible: &[&Candidate]) -> Step {
        let names = names(possible);
        let told = told(possible);
        let since = match self.scoring.followed_ended {
            Some(since) if self.scoring.followed == names => since,
            _ => {
                let reason = format!(
                    "{told} may have been its job and has ended; the output path is looked at until {}",
                    utc_text(self.now + self.policy.output_timeout.0)
                );
                return self.transition(Event::Followed, reason, Effect::None, |next| {
                    next.followed = names;
                    next.followed_ended = Some(self.now);
                    next.output_seen = None;
                });
            }
        };
        // Storage may show a blob later than Azure ML reports the job's end.
        if self.now - since < self.policy.output_timeout.0 {
            return wait(format!(
                "{told} has ended; looked at again until {}",
                utc_text(since + self.policy.output_timeout.0)
            ));
        }
        let bad: Vec<_> = possible.iter().copied().filter(|job| job.status != JobStatus::Completed).collect();
        if bad.is_empty() {
            return self.found_none();
        }
        let error = format!(
            "{} may have been its job and ended without success; nothing is at its output path",
            self::told(&bad)
        );
        if let Some(forbids) = self.forbids_resend {
            return self.undecided(&format!("{error}, and {forbids}"));
        }
        // A job of its own may be listed later than these, all the same: it is asked for as long as for one that is not there.
        let resubmit = self.scoring.since + self.policy.resubmit_after.0;
        if self.scoring.status == Status::Unknown && self.now < resubmit {
            return wait(format!("{error}; looked for until {}", utc_text(resubmit)));
        }
        // Whose job failed is not known, so neither is why.
        self.attempt_failed(&error, FailureCause::Unknown, None)
    }

    /// Something is at the attempt's output path: its request ran, whatever the jobs show.
    pub(super) fn output_there(&self, print: &OutputPrint) -> Step {
        match &self.scoring.output_seen {
            Some(seen) if seen.print == *print => {
                let proved = seen.at + self.policy.output_timeout.0;
                if self.now < proved {
                    return wait(format!(
                        "something is at its output path; it is its output if unchanged at {}",
                        utc_text(proved)
                    ));
                }
                let reason = "what is at its output path is unchanged: the request ran, and nothing is sent again";
                self.transition(Event::OutputProved, reason.to_owned(), Effect::None, |next| {
                    next.due = self.now;
                    next.slot_freed = false;
                })
            }
            _ => {
                let reason = "something is at its output path, so the request ran; nothing is sent again";
                self.transition(Event::OutputSeen, reason.to_owned(), Effect::None, |next| {
                    next.output_seen = Some(OutputSeen { print: print.clone(), at: self.now });
                })
            }
        }
    }

    /// It is held for longer than a job may run: whatever it made has ended or is stuck, and others wait for its slot.
    pub(super) fn held_too_long(&self) -> Option<Step> {
        let held = self.scoring.status == Status::Held && !self.scoring.slot_freed;
        if !held || self.now - self.scoring.since < self.policy.job_timeout.0 {
            return None;
        }
        let reason = format!(
            "held for longer than a job may run ({}); its slot is free, and it is looked for as before",
            self.policy.job_timeout
        );
        Some(self.transition(Event::SlotFreed, reason, Effect::None, |next| {
            next.slot_freed = true;
            next.last_error.clone_from(&self.scoring.last_error);
        }))
    }
}

/// Names that are kept: the oldest, if there are too many.
fn names(jobs: &[&Candidate]) -> Vec<JobName> {
    jobs.iter().take(MAX_FOLLOWED).map(|found| found.job.name.clone()).collect()
}

fn told(jobs: &[&Candidate]) -> String {
    let names = jobs.iter().take(MAX_TOLD).map(|found| found.job.name.as_str()).collect::<Vec<_>>().join(" or ");
    match jobs.len().saturating_sub(MAX_TOLD) {
        0 => format!("job {names}"),
        more => format!("job {names} or one of {more} more"),
    }
}
