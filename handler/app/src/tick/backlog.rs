//! What of the queue found no room in a tick, as all processes are told.

use std::collections::{HashMap, HashSet};

use crate::ledger::LimitScope;

/// What a scope had no room for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Backlog {
    /// Scorings that were due; of each rule at most [`MAX_QUEUED_PER_RULE`](super::queue::MAX_QUEUED_PER_RULE) are counted.
    pub(super) waiting: u32,
    /// How many of these are groups, each of which is one here.
    pub(super) groups: u32,
    /// Why the first of them waits.
    pub(super) reason: String,
}

/// What was left of the queue.
#[derive(Debug, Default)]
pub(super) struct Backlogs {
    /// What found no room, counted for the rule or endpoint that events go behind.
    pub(super) left: HashMap<LimitScope, Backlog>,
    /// Whose turn did not come, for lack of time: nothing is known of these.
    pub(super) unreached: HashSet<LimitScope>,
}

impl Backlogs {
    pub(super) fn merged(mut self, other: Self) -> Self {
        self.left.extend(other.left);
        self.unreached.extend(other.unreached);
        self
    }
}
