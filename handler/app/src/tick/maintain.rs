//! What a tick does for the tables as such: the Durable-shaped projection, and the removal of what is older than its
//! retention.

use time::{Duration, OffsetDateTime};

use super::report::{Counts, TickReport};
use crate::clock::LedgerClock;
use crate::error::error_chain;
use crate::ledger::Ledger;

/// Scorings that one round of a purge removes; rounds follow while there is time.
const PURGE_BATCH: usize = 500;

/// Brings the tables up to date.
pub(super) struct Maintain {
    pub(super) ledger: Ledger,
    pub(super) clock: LedgerClock,
    /// How long final scorings are remembered.
    pub(super) retention: Duration,
}

impl Maintain {
    /// Projects what waits in the outboxes, then purges if that is due. A failure of either is counted and stops nothing:
    /// no decision is taken by these.
    pub(super) async fn run(
        &self,
        last_complete: Option<OffsetDateTime>,
        now: OffsetDateTime,
        deadline: OffsetDateTime,
        counts: &Counts,
        report: &mut TickReport,
    ) {
        let in_time = || self.clock.now() < deadline;
        match self.ledger.project(&in_time).await {
            Ok(projected) => report.projected = projected,
            Err(error) => {
                counts.errors(1);
                tracing::warn!(error = %error_chain(&error), "the Durable-shaped tables were not brought up to date");
            }
        }
        if !purge_is_due(last_complete, now) {
            return;
        }
        let cutoff = now - self.retention;
        while in_time() {
            match self.ledger.purge(cutoff, PURGE_BATCH).await {
                Ok(purged) => {
                    report.purged += purged;
                    if purged < PURGE_BATCH {
                        return;
                    }
                }
                Err(error) => {
                    counts.errors(1);
                    tracing::warn!(error = %error_chain(&error), "old scorings were not removed");
                    return;
                }
            }
        }
    }
}

/// Once an hour. A process that ticks for the first time leaves it to minute 17 of any hour, so that one which is
/// started for each tick does not purge each time.
fn purge_is_due(last_tick: Option<OffsetDateTime>, now: OffsetDateTime) -> bool {
    match last_tick {
        Some(last) => last.hour() != now.hour() || now - last >= Duration::hours(1),
        None => now.minute() == 17,
    }
}
