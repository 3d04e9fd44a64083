//! Why a start starts nothing, by what whoever asks can do about it.

use lifecycle::ScoringId;
use lifecycle::storage_hosts::ForeignHost;

use crate::error::Error;
use crate::ports::Inconclusive;

/// Why a start starts nothing, whenever it is repeated as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartRefused {
    /// There is no such rule.
    #[error("there is no rule `{0}`; there are {1}")]
    NoSuchRule(String, String),
    /// The rule does not accept the blob.
    #[error("rule `{rule}` does not accept this blob: {why}")]
    NotAccepted {
        /// Its id.
        rule: String,
        /// Why not.
        why: String,
    },
    /// A value for something that is no parameter.
    #[error("rule `{rule}` declares no parameter `{name}`; it declares {declared}")]
    NotDeclared {
        /// Its id.
        rule: String,
        /// What it does not declare.
        name: String,
        /// What it does.
        declared: String,
    },
    /// It is not known in which account the blob lies.
    #[error("`account` is missing: rule `{0}` names none (match.account), and events of {1} accounts arrive")]
    WhichAccount(String, usize),
    /// No blob is there.
    #[error("there is no blob {0}")]
    NoBlob(String),
    /// A further generation takes a key: whoever asks twice would have two.
    #[error("`again` takes the header `Idempotency-Key`: without one a repetition would be scored once more")]
    NoKey,
    /// The key was used for another request.
    #[error(
        "this `Idempotency-Key` was used for another request of this rule; use another for each, such as the run's id and the file's name"
    )]
    OtherRequest,
    /// What is there is another.
    #[error("scoring {id} of this blob is {what}; `again` with an `Idempotency-Key` scores it once more")]
    Other {
        /// Its id.
        id: ScoringId,
        /// In what it differs.
        what: &'static str,
    },
    /// It ended so long ago that it is not kept any more.
    #[error(
        "scoring {0}, which this `Idempotency-Key` started, is older than the retention; use another key to score the blob again"
    )]
    Forgotten(ScoringId),
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// And never will be.
    #[error(transparent)]
    Refused(#[from] StartRefused),
    /// The blob cannot be scored at the moment: it is being copied, or it rests.
    #[error("the blob cannot be scored yet: {0}")]
    NotYet(String),
    /// The blob could not be looked at.
    #[error("the blob could not be looked at")]
    NotLooked(#[source] Inconclusive),
    /// The ledger could not take or tell it. A repetition does no harm.
    #[error(transparent)]
    App(#[from] Error),
}

impl From<ForeignHost> for StartError {
    fn from(foreign: ForeignHost) -> Self {
        Self::Refused(StartRefused::NoBlob(foreign.to_string()))
    }
}
