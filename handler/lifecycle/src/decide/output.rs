//! Looks at the output of a completed job.

use time::Duration;

use super::step::{DecideContext, Effect, Step, wait};
use crate::duration::utc_text;
use crate::input::InputFound;
use crate::job::OutputSnapshot;
use crate::status::Event;

/// Clocks of Azure ML, storage and this machine may differ by this much without anything being concluded.
const CLOCK_SKEW: Duration = Duration::minutes(5);

impl DecideContext<'_> {
    /// The attempt's outputs were looked at. An output of another attempt cannot be there, as each has a path of its own; one
    /// that is older than the submission was there before, by whatever hand.
    pub(super) fn verify(&self, output: &OutputSnapshot) -> Step {
        let since = self.scoring.submitted.unwrap_or(self.scoring.created);
        let problem = match output {
            OutputSnapshot::Present { bytes, modified } if *bytes > 0 && *modified >= since - CLOCK_SKEW => {
                if let Some(step) = self.before_scored() {
                    return step;
                }
                let bytes = *bytes;
                let without =
                    if self.input == Some(&InputFound::Gone) { "; its input is not there any more" } else { "" };
                let reason = format!("the output is there ({bytes} bytes) and newer than the submission{without}");
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
        // Storage may show a blob later than Azure ML reports the job's end.
        if self.now - self.scoring.since < self.policy.output_timeout.0 {
            return wait(format!(
                "{problem}; looked at again until {}",
                utc_text(self.scoring.since + self.policy.output_timeout.0)
            ));
        }
        self.attempt_failed(&problem, None)
    }
}
