//! Violent deaths, spread over the burst by the number of jobs that were made.

use std::fmt;

use super::Seeded;
use super::stage::Stage;

/// What was killed.
#[derive(Debug, Default)]
pub(super) struct Kills {
    handlers: usize,
    timers: usize,
    stores: usize,
}

impl fmt::Display for Kills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} handlers, {} timers, Azurite {} times", self.handlers, self.timers, self.stores)
    }
}

/// Kills while `uploads` jobs come to be; returns with the last kill.
pub(super) async fn during(stage: &mut Stage, uploads: usize, mut random: Seeded) -> Kills {
    let mut kills = Kills::default();
    let stores = 1 + uploads / 1000;
    let planned = (uploads / 20).clamp(10, 60);
    for n in 1..=planned {
        // The last one leaves time for its traces to be found.
        stage.until_jobs(uploads * n / (planned + 1)).await;
        if (1..=stores).any(|store| n == planned * store / (stores + 1)) {
            stage.kill_store().await;
            kills.stores += 1;
        } else if stage.kill_any(random.below(stage.processes())).await {
            kills.handlers += 1;
        } else {
            kills.timers += 1;
        }
    }
    kills
}
