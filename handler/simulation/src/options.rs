//! What a run is to be like, and what stands between the app and its world.

use std::sync::Arc;

use lifecycle::{LedgerId, Rules};
use serde_json::Value;

use crate::faults::Faults;
use app::ports::table_store::TableStore;
use app::ports::{Blobs, Clock, Endpoint};

/// What a run is to be like.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Decides everything that the other members leave open.
    pub seed: u64,
    /// Blob versions that are uploaded.
    pub events: usize,
    /// The kinds of faults that may happen.
    pub faults: Faults,
    /// Maximum number of processes at one time.
    pub processes: usize,
    /// Most faults in all; `None`: no limit.
    pub max_faults: Option<u64>,
}

impl RunOptions {
    /// A run of this seed as CI has it.
    pub fn new(seed: u64) -> Self {
        Self { seed, events: 6, faults: Faults::all(), processes: 4, max_faults: None }
    }

    /// The command that repeats it.
    pub fn command(&self) -> String {
        let Self { seed, events, faults, processes, max_faults } = self;
        let max_faults = max_faults.map_or_else(String::new, |max| format!(" --max-faults {max}"));
        format!(
            "scorekeeper simulate --seed {seed} --events {events} --faults {faults} --processes {processes}{max_faults}"
        )
    }
}

/// What stands between the app and the world. Tests put something of their own there, to take a guard away.
#[derive(Clone)]
pub struct Wiring {
    /// Put around the tables of each process.
    pub store: fn(Arc<dyn TableStore>) -> Arc<dyn TableStore>,
    /// Put around the batch endpoint of each process.
    pub endpoint: fn(Arc<dyn Endpoint>) -> Arc<dyn Endpoint>,
    /// Around the storage of outputs.
    pub blobs: fn(Arc<dyn Blobs>) -> Arc<dyn Blobs>,
    /// Put around the clock of each process, which is skewed already.
    pub clock: fn(Clock) -> Clock,
    /// The app gets these instead of the rules as they are meant.
    pub rules: fn(&Rules) -> Rules,
    /// What a process calls a ledger that has no id yet.
    pub ledger_id: fn(LedgerId) -> LedgerId,
    /// The app gets these deliveries instead of those that Event Grid makes.
    pub deliveries: fn(Value) -> Value,
}

impl Default for Wiring {
    fn default() -> Self {
        Self {
            store: |it| it,
            endpoint: |it| it,
            blobs: |it| it,
            clock: |it| it,
            rules: Rules::clone,
            ledger_id: |it| it,
            deliveries: |it| it,
        }
    }
}
