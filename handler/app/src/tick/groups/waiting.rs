//! What waits to become a group, and why a group is made when it is.

use lifecycle::ScoringId;
use lifecycle::id::{DeploymentName, EndpointKey};
use time::OffsetDateTime;

/// Files that become a group.
pub(super) struct Batch {
    /// In the order in which they came; at least one.
    pub(super) files: Vec<ScoringId>,
    pub(super) reason: SealReason,
}

/// Why a group is made when it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SealReason {
    /// No other file of those that wait would go into it.
    Full,
    /// The first file has waited for `maxWait`.
    Waited,
    /// A blob of this name says that the folder is whole.
    Marked(String),
    /// Whoever made it did not write its row.
    LeftBehind,
    /// It is half of this group, which failed.
    HalfOf(ScoringId),
}

impl SealReason {
    pub(super) fn half_of(&self) -> Option<&ScoringId> {
        match self {
            Self::HalfOf(whole) => Some(whole),
            _ => None,
        }
    }

    /// What the history of a group of so many members begins with.
    pub(super) fn told(&self, members: usize) -> String {
        let members = members_text(members);
        let why = match self {
            Self::Full => "it is full (group.maxFiles, group.maxBytes)".to_owned(),
            Self::Waited => "the first of them has waited as long as it may (group.maxWait)".to_owned(),
            Self::Marked(marker) => format!("the marker `{marker}` is there (group.marker)"),
            Self::LeftBehind => "whoever made it left it behind before it was sealed".to_owned(),
            Self::HalfOf(whole) => return format!("half of group {whole}, which failed: {members}"),
        };
        format!("a group of {members}: {why}")
    }
}

/// The count with its noun, for people: `1 member`, `3 members`.
pub(super) fn members_text(count: usize) -> String {
    if count == 1 { "1 member".to_owned() } else { format!("{count} members") }
}

/// A scoring that waits until a group is made of it and others.
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
    /// They were tried before. One of them may fail again, and takes no new files into a group whose halves are tried.
    pub(super) tried: bool,
}
