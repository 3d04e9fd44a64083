//! What a backfill counts: a plan and what is then done say the same.

use serde::{Deserialize, Serialize};

/// What a backfill has done, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackfillCounts {
    /// Everything on the pages that were listed, folders and what the rule does not want included.
    pub listed: u64,
    /// Folders, and names that the rule does not want.
    pub unwanted: u64,
    /// Written before or after what was asked for.
    pub outside: u64,
    /// Written a moment ago, or not ready yet: their event may still come, or it is tried again later.
    pub young: u64,
    /// Written before the ledger began to forget: they may have been scored.
    pub forgotten: u64,
    /// Outputs of this ledger's scorings, or what looks like one that the ledger has forgotten: they never trigger.
    pub own: u64,
    /// Versions of which the ledger has a scoring, or the same skip, already; a rule and each of its shadows count for themselves.
    pub known: u64,
    /// Accepted as scorings, or left to wait for a look at the blob; of a plan, those that would be.
    pub taken_in: u64,
    /// Refused by the rule for what the storage shows of them, or of a name that is no blob's; what is done, not planned, records each.
    pub skipped: u64,
}

impl BackfillCounts {
    /// With what was counted since.
    #[must_use]
    pub fn and(self, more: Self) -> Self {
        Self {
            listed: self.listed + more.listed,
            unwanted: self.unwanted + more.unwanted,
            outside: self.outside + more.outside,
            young: self.young + more.young,
            forgotten: self.forgotten + more.forgotten,
            own: self.own + more.own,
            known: self.known + more.known,
            taken_in: self.taken_in + more.taken_in,
            skipped: self.skipped + more.skipped,
        }
    }
}
