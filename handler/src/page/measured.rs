//! How long phases take, measured now and then: each measurement reads some sixty histories, and nobody needs it by the second.

use std::sync::Arc;

use app::ledger::{self, Ledger};
use app::reports::{self, PhaseTime};
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;

/// What was measured is shown for so long.
const MEASURED_FOR: Duration = Duration::MINUTE;
/// That nothing was there to be measured holds for so long: somebody waits for the first ones.
const NOTHING_FOR: Duration = Duration::seconds(5);

/// What was measured last, for all who look.
#[derive(Clone, Default)]
pub struct Measured(Arc<Mutex<Option<Measurement>>>);

struct Measurement {
    at: OffsetDateTime,
    times: Vec<PhaseTime>,
}

impl Measurement {
    fn holds_for(&self) -> Duration {
        if self.times.is_empty() { NOTHING_FOR } else { MEASURED_FOR }
    }
}

impl Measured {
    /// The phases of what was scored last. One of those who ask at one time measures.
    pub(super) async fn at(&self, now: OffsetDateTime, ledger: &Ledger) -> Result<Vec<PhaseTime>, ledger::Error> {
        let mut kept = self.0.lock().await;
        if let Some(last) = &*kept
            && (Duration::ZERO..last.holds_for()).contains(&(now - last.at))
        {
            return Ok(last.times.clone());
        }
        let times = reports::phase_times(ledger).await?;
        *kept = Some(Measurement { at: now, times: times.clone() });
        Ok(times)
    }
}
