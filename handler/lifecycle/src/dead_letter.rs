//! Dead letters: blobs into which Event Grid writes the events that it gave up, as lists of events with why.
//!
//! What was taken in of them is moved aside in their container, below a name that sorts behind all of Event Grid's: a list of what
//! is left ends there, however much lies aside.

use time::{Duration, OffsetDateTime};

use crate::pending::BlobSnapshot;

/// Names of subscriptions, with which Event Grid begins those of dead letters, hold letters, digits and hyphens.
const BEHIND_ALL: char = '~';
/// An event that came about a version whose scoring may be forgotten would score that once more.
const BEFORE_FORGOTTEN: Duration = Duration::DAY;

/// Where a dead letter lies once all of it is in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aside {
    /// Each of its events was taken in, or skipped.
    TakenIn,
    /// Some of them, or all, are in quarantine. The blob holds them whole.
    Unreadable,
}

impl Aside {
    /// The name of what lies aside.
    pub fn name_of(self, dead_letter: &str) -> String {
        let folder = match self {
            Self::TakenIn => "taken-in",
            Self::Unreadable => "unreadable",
        };
        format!("{BEHIND_ALL}{folder}/{dead_letter}")
    }
}

/// Whether this, and what follows it in a list, lies aside.
pub fn is_aside(name: &str) -> bool {
    name.starts_with(BEHIND_ALL)
}

/// Whether the ledger may have forgotten what such a dead letter tells of: nobody takes it in unasked.
pub fn is_too_old(seen: &BlobSnapshot, retention: Duration, now: OffsetDateTime) -> bool {
    seen.modified.is_some_and(|written| now - written > retention - BEFORE_FORGOTTEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_aside_sorts_behind_all_that_event_grid_writes() {
        for name in ["BLOBS-FUNCTION/2026/7/21/10/a.json", "zz/x.json", "9/x.json"] {
            assert!(!is_aside(name));
            for aside in [Aside::TakenIn, Aside::Unreadable] {
                let moved = aside.name_of(name);
                assert!(is_aside(&moved) && *moved > *name, "{moved}");
            }
        }
        assert_ne!(Aside::TakenIn.name_of("a"), Aside::Unreadable.name_of("a"));
    }
}
