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
        /// Id of the rule that was named.
        rule: String,
        /// Why it does not, as a half sentence for people.
        why: String,
    },
    /// A value for something that is no parameter.
    #[error("rule `{rule}` declares no parameter `{name}`; it declares {declared}")]
    NotDeclared {
        /// Id of the rule that was named.
        rule: String,
        /// What it does not declare.
        name: String,
        /// Names of the parameters that it does declare, as a list for people; `none` if there are none.
        declared: String,
    },
    /// It is not known in which account the blob lies.
    #[error("`account` is missing: rule `{0}` names none (match.account), and events of {1} accounts arrive")]
    WhichAccount(String, usize),
    /// There is no blob of this URL now, or nothing that could be one's name; the text is the URL, or why.
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
        /// Id of the scoring that is there.
        id: ScoringId,
        /// In what it differs from what was asked for: of which version it is, or with which parameters.
        what: &'static str,
    },
    /// It ended so long ago that it is not kept any more.
    #[error(
        "scoring {0}, which this `Idempotency-Key` started, is older than the retention; use another key to score the blob again"
    )]
    Forgotten(ScoringId),
}

/// Why a start started nothing, by what whoever asked can do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The same request will never be carried out: what has to change, the text says.
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
