//! What a tick does for the tables as such: the Durable-shaped projection, and the removal of what is older than its
//! retention.

use time::{Duration, OffsetDateTime};

use super::report::{Counts, TickReport};
use crate::clock::LedgerClock;
use crate::error::error_chain;
use crate::ledger::{self, Ledger};

/// How much further a purge may go than the one before it. They are an hour apart: after a long stop it takes as many hours as
/// it lasted days, times six, and a clock that is months ahead must be so for two days before a retention of eight is used up.
const MAX_ADVANCE: Duration = Duration::hours(4);
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
    /// Projects what waits in the outboxes; then, once an hour, counts what ended and purges. A failure of either is counted and stops nothing:
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
        if is_hourly(last_complete, now)
            && let Err(error) = self.ledger.count_ended_hours(now).await
        {
            counts.errors(1);
            tracing::warn!(error = %error_chain(&error), "what ended in the last hour was not counted, and is read by whoever asks");
        }
        if let Err(error) = self.purge(last_complete, now, &in_time, report).await {
            counts.errors(1);
            tracing::warn!(error = %error_chain(&error), "old scorings were not removed");
        }
    }

    /// Removes what is older than the retention, and not much more than last time: a clock that jumps ahead must not take
    /// everything with it. What is forgotten would be scored again when its event comes again.
    async fn purge(
        &self,
        last_complete: Option<OffsetDateTime>,
        now: OffsetDateTime,
        in_time: &impl Fn() -> bool,
        report: &mut TickReport,
    ) -> Result<(), ledger::Error> {
        let (is_first, is_due) = (last_complete.is_none(), is_hourly(last_complete, now));
        if !is_first && !is_due {
            return Ok(());
        }
        let wanted = now - self.retention;
        let Some(through) = self.ledger.purged_through().await? else {
            // From here on it is known how far a purge may go, whatever the clock says then.
            return self.ledger.record_purged_through(wanted).await;
        };
        if !is_due {
            return Ok(());
        }
        let cutoff = wanted.min(through + MAX_ADVANCE);
        while in_time() {
            let purged = self.ledger.purge(cutoff, PURGE_BATCH).await?;
            report.purged += purged;
            if purged < PURGE_BATCH {
                return self.ledger.record_purged_through(cutoff).await;
            }
        }
        Ok(())
    }
}

/// Once an hour. A process that ticks for the first time leaves it to minute 17 of any hour, so that one which is
/// started for each tick does not do it each time.
fn is_hourly(last_tick: Option<OffsetDateTime>, now: OffsetDateTime) -> bool {
    match last_tick {
        Some(last) => last.hour() != now.hour() || now - last >= Duration::hours(1),
        None => now.minute() == 17,
    }
}
