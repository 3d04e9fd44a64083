//! What makes jobs fail in a run in which all else goes well: bad files, a right that is taken away, a broken model. For what
//! circuit breakers and pauses of rules are to do, and for whom they must not stand in the way.

use std::collections::BTreeSet;

use lifecycle::Scoring;
use time::Duration;

use crate::behaviour::{EXIT_CODE, End, JobBehaviour, USER_ERROR};
use crate::plan::CONTAINERS;

/// What Azure ML says of a job that may not read its input.
const DENIED: &str = "StreamAccessException was caused by AuthenticationException";
/// A right is missing, or a model broken, until then.
const MENDED: Duration = Duration::minutes(15);

/// What makes jobs fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poison {
    /// Nothing does.
    Nothing,
    /// Ten files of a hundred, by which the user's code fails each time.
    BadFiles,
    /// For a quarter of an hour no job of the first rule may read its input.
    RightTakenAway,
    /// For a quarter of an hour every job fails, and says nothing but an exit code; those of the ten bad files do so for ever.
    BrokenModel,
}

/// The poison of a run, and its bad files.
#[derive(Debug)]
pub(super) struct Poisoned {
    pub(super) poison: Poison,
    /// Paths of the ten bad files.
    pub(super) bad: BTreeSet<String>,
}

impl Poisoned {
    /// The fate of a job that is made so long after the beginning.
    pub(super) fn job(&self, scoring: &Scoring, at: Duration) -> JobBehaviour {
        let is_bad = self.bad.contains(&scoring.blob.path);
        match self.poison {
            Poison::BadFiles if is_bad => failing(USER_ERROR),
            Poison::RightTakenAway if at < MENDED && scoring.blob.container == CONTAINERS[0] => failing(DENIED),
            Poison::BrokenModel if at < MENDED || is_bad => failing(EXIT_CODE),
            _ => JobBehaviour::good(),
        }
    }
}

/// A job that fails at once.
pub(super) fn failing(error: &'static str) -> JobBehaviour {
    JobBehaviour { end: End::Failed, lasts: Some(Duration::seconds(30)), error, ..JobBehaviour::good() }
}
