//! The time as the use cases see it.

use time::OffsetDateTime;

use crate::ports::Clock;
use crate::ports::table_store::truncate_to_100ns;

/// A clock that shows what the ledger can keep.
///
/// Tables keep times to 100 ns. A finer time would differ from itself after it was written and read again, so that a lease
/// or a claim could look a moment older to its owner than to everybody else.
#[derive(Clone)]
pub(crate) struct LedgerClock(Clock);

impl LedgerClock {
    pub(crate) fn new(clock: Clock) -> Self {
        Self(clock)
    }

    /// Now, truncated to 100 ns.
    pub(crate) fn now(&self) -> OffsetDateTime {
        truncate_to_100ns((self.0)())
    }
}
