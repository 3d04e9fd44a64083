//! What every handler has in its hands: the options, the folders and the state behind its lock.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use time::OffsetDateTime;
use tokio::sync::{Notify, watch};

use crate::options::SimulatorOptions;
use crate::resources::Resources;
use crate::state::ServiceState;
use crate::storage_map::StorageMap;

/// What all requests share: the options, the state behind one lock, and the signals between them and the driver.
pub(super) struct Shared {
    pub(super) options: SimulatorOptions,
    pub(super) address: SocketAddr,
    pub(super) storage_map: StorageMap,
    pub(super) state: Mutex<ServiceState>,
    /// Something to do for the driver.
    pub(super) wake: Notify,
    /// Raised with every move of a job.
    pub(super) changed: watch::Sender<u64>,
}

impl Shared {
    /// Scheme, address and port, `http://127.0.0.1:PORT`, as URLs in answers begin.
    pub(super) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What is wrong around the endpoint.
    pub(super) fn resources(&self) -> Arc<Resources> {
        Arc::clone(&self.lock().resources)
    }

    /// The state as it is, without moving on what is due.
    pub(super) fn lock(&self) -> MutexGuard<'_, ServiceState> {
        // No code under this lock panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the state, or changes it, at this hour: whatever is due by now has happened before.
    pub(super) fn act<T>(&self, f: impl FnOnce(&mut ServiceState, OffsetDateTime) -> T) -> T {
        let now = self.options.clock.now();
        let mut state = self.lock();
        let (due, moves) = (state.next_due(), state.moves());
        state.tick(now);
        let result = f(&mut state, now);
        state.tick(now);
        if state.has_commands() || state.next_due() != due {
            self.wake.notify_one();
        }
        if state.moves() != moves {
            self.changed.send_modify(|count| *count += 1);
        }
        result
    }
}
