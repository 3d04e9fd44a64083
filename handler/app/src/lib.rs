//! The use cases, the ports and the ledger.
//!
//! **One path.** Events, ticks and operators all end in [`Driver::drive`]: load, observe, decide (pure), record the intent, act,
//! observe again. The event only chooses *when*; the tick alone would get every scoring to its end.
//!
//! Read in this order: [`driver`](Driver), `intake` (what an event does), `admission` (who may go now), `tick` (what a timer
//! does), `sweep` (what no event told of), `dead_letters` (what Event Grid gave up), `orphans` (jobs that nobody waits for), `operate` (what people do), [`reports`] (what they see), [`ledger`] (what is
//! remembered, and how), [`ports`] (what all of it needs of the world).

use std::sync::Arc;

use lifecycle::start::{StartKey, StartRequest};
use lifecycle::{Payload, Rules, ScoringId, Status, StorageHosts};
use time::OffsetDateTime;

mod admission;
pub mod backfill;
mod callbacks;
mod clock;
pub mod coverage;
mod dead_letters;
mod driver;
mod error;
pub mod function_names;
mod intake;
pub mod ledger;
pub mod measures;
mod operate;
mod orphans;
mod own_outputs;
pub mod phase;
pub mod ports;
pub mod reports;
pub mod spans;
mod starts;
mod stuck;
mod sweep;
mod tick;
mod workspaces;

pub use callbacks::CallbackToKeep;
pub use dead_letters::{DeadLetterReport, TooOld};
pub use driver::{Driven, Driver, End, Evidence};
pub use error::Error;
pub use intake::{Accepted, AcceptedScoring, Delivery, Intake, Submissions};
pub use lifecycle::text::error_chain;
pub use operate::{
    AskOutcome, Refused, ResolveOutcome, order, order_start, order_sweep, refusal, replay, rescore, rescore_refusal,
    rescore_refused_now, resolve,
};
pub use starts::{StartError, StartRefused, Started, Starts};
pub use sweep::{Pause, SweepReport};
pub use tick::{BEGUN_WORK, NeedsPerson, StateCounts, Tick, TickReport};

use admission::Admission;
use backfill::Backfiller;
use callbacks::Callbacks;
use clock::LedgerClock;
use coverage::{Checked, Manifests};
use dead_letters::DeadLetterReader;
use driver::Services;
use ledger::Ledger;
use orphans::Orphans;
use ports::{Blobs, CallbackCaller, Clock, DeadLetters, Endpoint};
use sweep::Sweeper;
use workspaces::Workspaces;

/// What an app is made of.
#[derive(Clone)]
pub struct Parts {
    /// Where all that must outlive the process is written.
    pub ledger: Ledger,
    /// Sends submissions and asks about jobs, at whichever batch endpoint a rule names.
    pub endpoint: Arc<dyn Endpoint>,
    /// Where outputs are looked at.
    pub blobs: Arc<dyn Blobs>,
    /// Where Event Grid writes what it could not deliver, if that is known.
    pub dead_letters: Option<Arc<dyn DeadLetters>>,
    /// Who tells orchestrators of ends; `None`: nobody, and none can ask for it.
    pub callbacks: Option<Arc<dyn CallbackCaller>>,
    /// The rules that hold for this app; when they change, another app is made.
    pub rules: Rules,
    /// Hosts that blobs may lie on; events of others are skipped.
    pub storage_hosts: StorageHosts,
    /// The time by which all is judged; the app cuts it to the 100 ns that the ledger keeps.
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
    starts: Starts,
    tick: Arc<Tick>,
    sweeper: Arc<Sweeper>,
    manifests: Arc<Manifests>,
    dead_letters: Option<Arc<DeadLetterReader>>,
}

impl App {
    /// Puts the use cases together over these parts; nothing is read or sent yet.
    pub fn new(parts: Parts) -> Self {
        let Parts { ledger, endpoint, blobs, dead_letters, callbacks, rules, storage_hosts, clock, .. } = parts;
        let Parts { orphan_scan_interval, retention, .. } = parts;
        let (rules, clock) = (Arc::new(rules), LedgerClock::new(clock));
        let services = Services { endpoint, blobs, workspaces: Workspaces::new(&ledger), clock: clock.clone() };
        let admission = Arc::new(Admission::new(ledger.clone(), Arc::clone(&rules), clock.clone()));
        let driver =
            Driver::new(ledger.clone(), Arc::clone(&rules), clock.clone(), services.clone(), Arc::clone(&admission));
        let blobs = Arc::clone(&services.blobs);
        let hosts = storage_hosts.clone();
        let intake =
            Intake::new(ledger.clone(), Arc::clone(&rules), storage_hosts, clock.clone(), blobs, driver.clone());
        let starts = Starts::new(&ledger, &rules, hosts.clone(), &clock, &intake);
        let sweeper = Sweeper::new(&ledger, &rules, &services, hosts, &intake, retention);
        let orphans = orphan_scan_interval.map(|interval| Orphans::new(&ledger, &rules, &services, &driver, interval));
        let callbacks = callbacks.map(|caller| Callbacks { ledger: ledger.clone(), clock: clock.clone(), caller });
        let tick = Arc::new(Tick::new(
            &ledger,
            &rules,
            &services,
            (&intake, &starts),
            &admission,
            (orphans, callbacks),
            retention,
        ));
        let manifests = Arc::new(Manifests::new(&ledger, &clock, retention));
        let dead_letters = dead_letters.map(|place| {
            let (ledger, intake, clock) = (ledger.clone(), intake.clone(), clock.clone());
            Arc::new(DeadLetterReader { place, ledger, intake, clock, retention })
        });
        Self { ledger, clock, driver, intake, starts, tick, sweeper: Arc::new(sweeper), manifests, dead_letters }
    }

    /// Now, to the resolution that the ledger keeps.
    pub fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    /// The ledger, for those who only read.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Takes a delivery of events in, and must answer an error if it could not; see [`Intake::accept`].
    pub async fn accept(&self, payload: impl Into<Payload>) -> Result<Delivery, Error> {
        self.intake.accept(payload).await
    }

    /// Starts a scoring that a caller asks for, or finds the one that its key started; see [`Starts::start`].
    pub async fn start(
        &self,
        request: &StartRequest,
        key: Option<&StartKey>,
        by: &str,
    ) -> Result<(Started, Submissions), StartError> {
        self.starts.start(request, key, by).await
    }

    /// Keeps who is to be told of a scoring's end. **Durable once `Ok`.**
    pub async fn keep_callback(&self, callback: CallbackToKeep) -> Result<(), Error> {
        let kept = self.ledger.keep_callback(&callback.at(self.now())).await;
        kept.map_err(error::during("keeping who is to be told of a scoring's end"))
    }

    /// Brings a scoring as far as it goes now. Returns its status, `None` if there is no such scoring.
    pub async fn reconcile(&self, id: &ScoringId) -> Result<Option<Status>, Error> {
        Ok(self.driver.drive(id, Evidence::None).await?.map(|driven| driven.scoring.status))
    }

    /// One reconcile run, which begins nothing new after `deadline`; see [`Tick::run`].
    pub async fn tick(&self, deadline: OffsetDateTime) -> Result<TickReport, Error> {
        self.tick.run(deadline).await
    }

    /// Takes in what Event Grid gave up. Begins nothing new after `deadline`; `None`: nobody says where that lies.
    pub async fn take_in_dead_letters(&self, deadline: OffsetDateTime, too_old: TooOld) -> Option<DeadLetterReport> {
        match &self.dead_letters {
            Some(reader) => Some(reader.run(deadline, too_old).await),
            None => None,
        }
    }

    /// Sweeps the places of rules that are due. Begins nothing new after `deadline`; `pause` keeps it to its rate.
    pub async fn sweep(&self, deadline: OffsetDateTime, pause: &Pause) -> Result<SweepReport, Error> {
        let swept = self.sweeper.run(deadline, pause).await;
        coverage::tell(self.manifests.run(deadline).await);
        swept
    }

    /// Holds a file of manifests, which begins with the day `since` if that is given, against the ledger and against what is listed in
    /// the places that are swept.
    pub async fn check_coverage(
        &self,
        lines: impl Iterator<Item = std::io::Result<String>>,
        since: Option<time::Date>,
    ) -> Result<Checked, coverage::Error> {
        coverage::check(&self.sweeper.found(), lines, since).await
    }

    /// Takes in what lay in places of rules before they were watched.
    pub fn backfiller(&self) -> Backfiller {
        Backfiller {
            found: self.sweeper.found(),
            storage_hosts: self.sweeper.storage_hosts(),
            clock: self.clock.clone(),
        }
    }
}
