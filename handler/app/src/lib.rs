//! The use cases, the ports and the ledger.
//!
//! **One path.** Events, ticks and operators all end in [`Driver::drive`]: load, observe, decide (pure), record the intent, act,
//! observe again. The event only chooses *when*; the tick alone would get every scoring to its end.
//!
//! Read in this order: [`driver`](Driver), `intake` (what an event does), `admission` (who may go now), `tick` (what a timer
//! does), `sweep` (what no event told of), `orphans` (jobs that nobody waits for), `operate` (what people do), [`reports`] (what they see), [`ledger`] (what is
//! remembered, and how), [`ports`] (what all of it needs of the world).

use std::sync::Arc;

use lifecycle::{Payload, Rules, ScoringId, Status, StorageHosts};
use time::OffsetDateTime;

mod admission;
mod clock;
mod driver;
mod error;
pub mod function_names;
mod intake;
pub mod ledger;
mod operate;
mod orphans;
mod own_outputs;
pub mod ports;
pub mod reports;
mod stuck;
mod sweep;
mod tick;
mod workspaces;

pub use driver::{Driven, Driver, End, Evidence};
pub use error::Error;
pub use intake::{Accepted, AcceptedScoring, Delivery, Intake, Submissions};
pub use lifecycle::text::error_chain;
pub use operate::{
    AskOutcome, Refused, ResolveOutcome, order, order_sweep, refusal, replay, rescore, rescore_refusal, resolve,
};
pub use sweep::{Pause, SweepReport};
pub use tick::{BEGUN_WORK, StateCounts, Tick, TickReport};

use admission::Admission;
use clock::LedgerClock;
use driver::Services;
use ledger::Ledger;
use orphans::Orphans;
use ports::{Blobs, Clock, Endpoint};
use sweep::Sweeper;
use workspaces::Workspaces;

/// What an app is made of.
#[derive(Clone)]
pub struct Parts {
    /// Its memory.
    pub ledger: Ledger,
    /// Where jobs are made.
    pub endpoint: Arc<dyn Endpoint>,
    /// Where outputs are looked at.
    pub blobs: Arc<dyn Blobs>,
    /// What goes where.
    pub rules: Rules,
    /// Hosts that blobs may lie on; events of others are skipped.
    pub storage_hosts: StorageHosts,
    /// What time it is.
    pub clock: Clock,
    /// Between two orphan scans of the jobs behind an endpoint; `None`: never.
    pub orphan_scan_interval: Option<time::Duration>,
    /// How long final scorings are remembered.
    pub retention: time::Duration,
}

/// The use cases put together, for those who run them. Cheap to clone; safe to have many of, in one process or several.
#[derive(Clone)]
pub struct App {
    ledger: Ledger,
    clock: LedgerClock,
    driver: Driver,
    intake: Intake,
    tick: Arc<Tick>,
    sweeper: Arc<Sweeper>,
}

impl App {
    /// An app.
    pub fn new(parts: Parts) -> Self {
        let Parts { ledger, endpoint, blobs, rules, storage_hosts, clock, orphan_scan_interval, retention } = parts;
        let (rules, clock) = (Arc::new(rules), LedgerClock::new(clock));
        let services = Services { endpoint, blobs, workspaces: Workspaces::new(&ledger), clock: clock.clone() };
        let admission = Arc::new(Admission::new(ledger.clone(), Arc::clone(&rules), clock.clone()));
        let driver =
            Driver::new(ledger.clone(), Arc::clone(&rules), clock.clone(), services.clone(), Arc::clone(&admission));
        let blobs = Arc::clone(&services.blobs);
        let hosts = storage_hosts.clone();
        let intake =
            Intake::new(ledger.clone(), Arc::clone(&rules), storage_hosts, clock.clone(), blobs, driver.clone());
        let sweeper = Sweeper::new(&ledger, &rules, &services, hosts, &intake, retention);
        let orphans = orphan_scan_interval.map(|interval| Orphans::new(&ledger, &rules, &services, &driver, interval));
        let tick = Arc::new(Tick::new(&ledger, &rules, &services, &intake, &admission, orphans, retention));
        Self { ledger, clock, driver, intake, tick, sweeper: Arc::new(sweeper) }
    }

    /// Now, to the resolution that the ledger keeps.
    pub fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    /// The ledger, for those who only read.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// See [`Intake::accept`].
    pub async fn accept(&self, payload: impl Into<Payload>) -> Result<Delivery, Error> {
        self.intake.accept(payload).await
    }

    /// Brings a scoring as far as it goes now. Returns its status, `None` if there is no such scoring.
    pub async fn reconcile(&self, id: &ScoringId) -> Result<Option<Status>, Error> {
        Ok(self.driver.drive(id, Evidence::None).await?.map(|driven| driven.scoring.status))
    }

    /// See [`Tick::run`].
    pub async fn tick(&self, deadline: OffsetDateTime) -> Result<TickReport, Error> {
        self.tick.run(deadline).await
    }

    /// Sweeps the places of rules that are due. Begins nothing new after `deadline`; `pause` keeps it to its rate.
    pub async fn sweep(&self, deadline: OffsetDateTime, pause: &Pause) -> Result<SweepReport, Error> {
        self.sweeper.run(deadline, pause).await
    }
}
