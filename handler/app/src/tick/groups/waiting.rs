//! What waits to become a group, and why a group is made when it is.

use std::fmt;

use lifecycle::ScoringId;
use lifecycle::id::{DeploymentName, EndpointKey};
use time::OffsetDateTime;

/// Files that become a group.
pub(super) struct Batch {
    /// In the order in which they came; at least one.
    pub(super) files: Vec<ScoringId>,
    pub(super) why: Why,
}

/// Why a group is made now. Its history begins with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    /// No other file of those that wait would go into it.
    Full,
    /// The first file has waited for `maxWait`.
    Waited,
    /// A blob of this name says that the folder is whole.
    Marked(String),
    /// Whoever made it did not write its row.
    LeftBehind,
    /// This group failed.
    HalfOf(ScoringId),
}

impl Why {
    pub(super) fn half_of(&self) -> Option<&ScoringId> {
        match self {
            Self::HalfOf(whole) => Some(whole),
            _ => None,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("it is full (group.maxFiles, group.maxBytes)"),
            Self::Waited => f.write_str("the first of them has waited as long as it may (group.maxWait)"),
            Self::Marked(marker) => write!(f, "the marker `{marker}` is there (group.marker)"),
            Self::LeftBehind => f.write_str("whoever made it left it behind before it was sealed"),
            Self::HalfOf(whole) => write!(f, "group {whole} failed"),
        }
    }
}

/// One that waits.
pub(super) struct Waiting {
    pub(super) id: ScoringId,
    pub(super) place: WaitingPlace,
    pub(super) bytes: Option<u64>,
    pub(super) created: OffsetDateTime,
}

/// What those have in common that may share a job.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WaitingPlace {
    pub(super) endpoint: EndpointKey,
    pub(super) deployment: Option<DeploymentName>,
    /// URL of a folder, or of an account.
    pub(super) folder: String,
}
