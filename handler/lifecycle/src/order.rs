//! Whose turn it is: by priority of the rule, then by arrival.
//!
//! Priority is strict. While scorings of a higher one keep an endpoint full, those of a lower one wait, by design: give
//! such a rule a `maxInFlight` of its own to leave room for the others. Within a priority nobody is overtaken, so nobody
//! starves.

use std::cmp::Reverse;

use time::OffsetDateTime;

use crate::scoring::ScoringId;

/// A place in the queue of an endpoint; the least goes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueuePosition(Reverse<i32>, OffsetDateTime, ScoringId);

impl QueuePosition {
    /// The place of a scoring that was accepted at `created` under a rule of this priority. Of two that came at the same
    /// instant the id decides, so that all processes agree.
    pub fn new(priority: i32, created: OffsetDateTime, id: ScoringId) -> Self {
        Self(Reverse(priority), created, id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;

    #[test]
    fn priority_goes_before_arrival_and_arrival_before_the_id() {
        let place = |priority, second, n: u32| {
            let id = ScoringId::read(&format!("{n:032x}")).expect("32 hex digits");
            QueuePosition::new(priority, OffsetDateTime::UNIX_EPOCH + Duration::seconds(second), id)
        };
        let order = [place(9, 5, 5), place(0, 1, 4), place(0, 2, 2), place(0, 2, 3), place(-1, 0, 1)];
        assert!(order.is_sorted(), "{order:?}");
    }
}
