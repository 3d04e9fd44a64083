//! Looks at the output of a completed job.

use time::Duration;

use super::step::{DecideContext, Effect, Step, wait};
use crate::duration::utc_text;
use crate::failure::FailureCause;
use crate::input::InputFound;
use crate::job::OutputSnapshot;
use crate::publishing::FileVersion;
use crate::status::Event;

/// Clocks of Azure ML, storage and this machine may differ by this much without anything being concluded.
const CLOCK_SKEW: Duration = Duration::minutes(5);

impl DecideContext<'_> {
    /// The attempt's outputs were looked at. An output of another attempt cannot be there, as each has a path of its own; one
    /// that is older than the submission was there before, by whatever hand.
    pub(super) fn verify(&self, output: &OutputSnapshot, sources: &[(String, FileVersion)]) -> Step {
        if self.scoring.publishing.is_some() {
            // It was verified, and what is written goes by what it was then.
            return self.published();
        }
        // Nobody knows the job of what was proved by its output alone.
        let ended = if self.scoring.job.is_some() { "the job completed" } else { "the request ran" };
        let problem = match output {
            OutputSnapshot::Present { bytes, print, .. } if self.is_good(output) => {
                if let Some(step) = self.before_scored() {
                    return step;
                }
                let bytes = *bytes;
                if let Some(step) = self.begin_publishing(bytes, print, sources) {
                    return step;
                }
                let without = self.without_input();
                let reason = format!("the output is there ({bytes} bytes) and newer than the submission{without}");
                return self.transition(Event::OutputGood, reason, Effect::None, |next| {
                    next.output_bytes = Some(bytes);
                    next.output_print = Some(print.clone());
                    (next.error, next.failure) = (None, None);
                });
            }
            OutputSnapshot::Present { bytes: 0, .. } => format!("{ended} and its output is empty"),
            OutputSnapshot::Present { modified, .. } => {
                format!("{ended} and its output is older than the submission (modified {})", utc_text(*modified))
            }
            OutputSnapshot::Absent { uri } => format!("{ended} and there is no output at {uri}"),
            OutputSnapshot::NotAskedFor => {
                if let Some(step) = self.before_scored() {
                    return step;
                }
                let reason = format!("{ended}; its rule asks for no output{}", self.without_input());
                return self.transition(Event::OutputGood, reason, Effect::None, |next| {
                    (next.error, next.failure) = (None, None);
                });
            }
        };
        // Storage may show a blob later than Azure ML reports the job's end.
        if self.now - self.scoring.since < self.policy.output_timeout.0 {
            return wait(format!(
                "{problem}; looked at again until {}",
                utc_text(self.scoring.since + self.policy.output_timeout.0)
            ));
        }
        // A job that ends well and leaves nothing may be the code's fault, the storage's or the service's.
        self.attempt_failed(&problem, FailureCause::Unknown, None)
    }

    /// It is there, not empty, and not older than the submission.
    pub(super) fn is_good(&self, output: &OutputSnapshot) -> bool {
        let since = self.scoring.submitted.unwrap_or(self.scoring.created);
        matches!(output, OutputSnapshot::Present { bytes, modified, .. } if *bytes > 0 && *modified >= since - CLOCK_SKEW)
    }

    fn without_input(&self) -> &'static str {
        if self.input == Some(&InputFound::Gone) { "; its input is not there any more" } else { "" }
    }
}
