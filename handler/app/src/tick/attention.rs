//! What needs a person, counted by reconcile runs for the log: failures, orphaned jobs, results that are not published and events that
//! nobody can read stand in no index of what is in flight, and last until somebody sees to them.
//!
//! They are read every quarter of an hour, and by each run in which something failed: they change seldom, and an alert asks no more
//! often.

use std::sync::{Mutex, PoisonError};

use lifecycle::Status;
use time::{Duration, OffsetDateTime};

use super::report::{Counts, NeedsPerson, TickReport};
use crate::error::error_chain;
use crate::ledger::{self, Ledger};

/// From one count to the next.
const EVERY: Duration = Duration::minutes(15);
/// For so long an event that could not be read is told of, as `status` tells of it.
const QUARANTINED_FOR: Duration = Duration::days(1);
/// Rows that are read; of more it is known that there are that many.
const MAX_ROWS: usize = 1_000;

/// Counts what needs a person; one for each process, which remembers when it last did.
pub(super) struct Attention {
    ledger: Ledger,
    last: Mutex<Option<OffsetDateTime>>,
}

impl Attention {
    pub(super) fn new(ledger: &Ledger) -> Self {
        Self { ledger: ledger.clone(), last: Mutex::default() }
    }

    /// Puts the counts into the report, if it is time for them. A failure stops nothing: the next run tries again.
    pub(super) async fn run(&self, now: OffsetDateTime, counts: &Counts, report: &mut TickReport) {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_due(last, now) && !counts.any_failed() && report.orphaned_jobs == 0 {
            return;
        }
        match self.count(now).await {
            Ok(needs) => {
                report.needs_person = Some(needs);
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
            }
            Err(error) => {
                counts.errors(1);
                tracing::warn!(error = %error_chain(&error), "what needs a person was not counted");
            }
        }
    }

    async fn count(&self, now: OffsetDateTime) -> Result<NeedsPerson, ledger::Error> {
        let unacknowledged = self.ledger.unacknowledged(MAX_ROWS).await?;
        let left = self.ledger.not_made_up_for(&unacknowledged).await?;
        let quarantined = self.ledger.quarantined(now - QUARANTINED_FOR, MAX_ROWS).await?;
        let of = |wanted: &dyn Fn(&ledger::Unacknowledged) -> bool| left.iter().filter(|row| wanted(row)).count();
        Ok(NeedsPerson {
            failed: of(&ledger::Unacknowledged::is_failed_scoring),
            with_orphaned_jobs: of(&|row| row.orphaned_jobs > 0),
            not_published: of(&|row| row.status == Status::Scored && row.not_published.is_some()),
            quarantined: quarantined.iter().filter(|event| event.acknowledged.is_none()).count(),
        })
    }
}

/// A process that has not counted yet leaves it to four minutes of an hour, so that one which is started for each run does not do it
/// each time.
fn is_due(last: Option<OffsetDateTime>, now: OffsetDateTime) -> bool {
    match last {
        Some(last) => now - last >= EVERY,
        None => now.minute() % 15 == 7,
    }
}
