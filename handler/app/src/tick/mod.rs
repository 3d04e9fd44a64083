//! The tick: walks the in-flight index and does what is due, whatever events came or did not come.
//!
//! It takes no input about what changed. A tick over N scorings in flight reads N / 1000 pages of the index, looks
//! at each job that is due once, and writes only where something changed. Two ticks at once are harmless.

use std::sync::{Arc, Mutex, PoisonError};

use lifecycle::Rules;
use time::{Duration, OffsetDateTime};

use crate::admission::Admission;
use crate::callbacks::Callbacks;
use crate::clock::LedgerClock;
use crate::driver::Services;
use crate::error::{Error, error_chain};
use crate::intake::Intake;
use crate::ledger::{BegunRun, Controls, Heartbeat, Ledger};
use crate::orphans::{InFlightJobs, Orphans};
use crate::starts::Starts;

mod attention;
mod backlog;
mod groups;
mod maintain;
mod order;
mod pending;
mod queue;
mod report;
mod scopes;
mod submit;
mod walk;

use attention::Attention;
use groups::Groups;
use maintain::Maintain;
use pending::PendingLooks;
use report::Counts;
pub use report::{NeedsPerson, StateCounts, TickReport};
use scopes::Scopes;
use submit::Submit;
use walk::{Walk, WalkOptions, Walked};

/// Part of a tick's time, one over this, that looks at jobs leave to what is queued, however many jobs there are.
const QUEUED_TIME_SHARE: i32 = 4;

/// Most time that a tick takes beyond its deadline, for work that it had begun: a POST's 60 s and its record.
pub const BEGUN_WORK: std::time::Duration = std::time::Duration::from_secs(75);

/// What a timer does. One for each process: what it remembers of the last tick spares looks.
pub struct Tick {
    ledger: Ledger,
    clock: LedgerClock,
    admission: Arc<Admission>,
    walk: Walk,
    groups: Groups,
    scopes: Scopes,
    submit: Submit,
    pending: PendingLooks,
    orphans: Option<Orphans>,
    callbacks: Option<Callbacks>,
    maintain: Maintain,
    attention: Attention,
    /// When the last complete tick of this process began.
    last_complete: Mutex<Option<OffsetDateTime>>,
}

impl Tick {
    pub(crate) fn new(
        ledger: &Ledger,
        rules: &Arc<Rules>,
        services: &Services,
        (intake, starts): (&Intake, &Starts),
        admission: &Arc<Admission>,
        (orphans, callbacks): (Option<Orphans>, Option<Callbacks>),
        retention: Duration,
    ) -> Self {
        let (clock, driver) = (&services.clock, intake.driver());
        Self {
            ledger: ledger.clone(),
            clock: clock.clone(),
            admission: Arc::clone(admission),
            walk: Walk {
                ledger: ledger.clone(),
                rules: Arc::clone(rules),
                clock: clock.clone(),
                services: services.clone(),
                driver: driver.clone(),
                last: Mutex::default(),
            },
            groups: Groups {
                ledger: ledger.clone(),
                rules: Arc::clone(rules),
                clock: clock.clone(),
                blobs: Arc::clone(&services.blobs),
                driver: driver.clone(),
                admission: Arc::clone(admission),
            },
            scopes: Scopes {
                ledger: ledger.clone(),
                clock: clock.clone(),
                rules: Arc::clone(rules),
                admission: Arc::clone(admission),
            },
            submit: Submit {
                rules: Arc::clone(rules),
                clock: clock.clone(),
                admission: Arc::clone(admission),
                driver: driver.clone(),
            },
            pending: PendingLooks {
                ledger: ledger.clone(),
                rules: Arc::clone(rules),
                clock: clock.clone(),
                blobs: Arc::clone(&services.blobs),
                driver: driver.clone(),
                intake: intake.clone(),
                starts: starts.clone(),
            },
            orphans,
            callbacks,
            maintain: Maintain { ledger: ledger.clone(), clock: clock.clone(), retention },
            attention: Attention::new(ledger),
            last_complete: Mutex::default(),
        }
    }

    /// One tick. Starts nothing new after `deadline`; what is left is for the next one. The ledger knows that it runs from before
    /// it does anything: a first one may take minutes, and somebody may look meanwhile.
    pub async fn run(&self, deadline: OffsetDateTime) -> Result<TickReport, Error> {
        let now = self.clock.now();
        let begun = self.record_begin(now, deadline).await;
        // Boxed: a future that holds this one and more would be moved about with all of it.
        let report = Box::pin(self.reconcile(now, deadline)).await;
        match (&report, begun) {
            (Ok(report), _) if report.complete => self.record_heartbeat(now, report).await,
            (_, Some(begun)) => self.record_end(begun).await,
            _ => {}
        }
        report.inspect(TickReport::log)
    }

    async fn reconcile(&self, now: OffsetDateTime, deadline: OffsetDateTime) -> Result<TickReport, Error> {
        let (counts, mut report) = (Counts::default(), TickReport::default());
        // Before anything else: whatever is submitted in this tick goes by what operators have said until now, and who
        // holds a slot is asked for the scopes that are limited now.
        let controls = self.read_controls(now, &counts).await;
        let options = WalkOptions {
            controls: controls.as_deref(),
            jobs: self.orphans.as_ref().is_some_and(|orphans| orphans.is_due(now)),
            now,
            until: deadline - (deadline - now).max(Duration::ZERO) / QUEUED_TIME_SHARE,
        };
        let mut walked = self.walk.run(&options, &counts).await?;
        (report.in_flight, report.states, report.whole) = (walked.in_flight, walked.states, walked.whole);
        let jobs = options.jobs;
        // Before what waits is submitted: a group that is made now is submitted now.
        let seen = std::mem::take(&mut walked.groups);
        let staged = Box::pin(self.groups.run(seen, walked.whole, options.until, &counts)).await;
        for group in staged {
            walked.queue.add(group);
        }
        let in_flight = self.submit(walked, controls.as_deref(), now, deadline, &counts, &mut report).await;
        // After the queue: what is found goes behind what has waited.
        self.pending.run(now, deadline, &counts, &mut report).await;
        if let Some(orphans) = self.orphans.as_ref().filter(|_| jobs) {
            let found = Box::pin(orphans.scan(in_flight, deadline)).await;
            report.orphaned_jobs = found.orphaned_jobs;
            counts.errors(found.errors);
        }
        // What ended in this run is told of in it.
        if let Some(callbacks) = &self.callbacks {
            counts.errors(Box::pin(callbacks.run(deadline)).await);
        }
        let last_complete = *self.last_complete.lock().unwrap_or_else(PoisonError::into_inner);
        self.maintain.run(last_complete, now, deadline, &counts, &mut report).await;
        if self.clock.now() < deadline {
            self.attention.run(now, &counts, &mut report).await;
        }
        let ended = self.clock.now();
        counts.report(&mut report, ended < deadline);
        report.duration_ms = u64::try_from((ended - now).whole_milliseconds()).unwrap_or_default();
        if report.complete {
            *self.last_complete.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        }
        Ok(report)
    }

    async fn read_controls(&self, now: OffsetDateTime, counts: &Counts) -> Option<Arc<Controls>> {
        match self.admission.controls().read(now).await {
            Ok(controls) => Some(controls),
            Err(error) => {
                // Jobs are looked at all the same: that needs no limit.
                counts.errors(1);
                counts.late();
                tracing::warn!(error = %error_chain(&error), "the limits cannot be read; nothing is submitted by them");
                None
            }
        }
    }

    /// Frees the slots of those that are gone, submits what waits, tells all processes what still does. In this order: a
    /// slot that is freed is for the first in line of this tick.
    async fn submit(
        &self,
        walked: Walked,
        controls: Option<&Controls>,
        now: OffsetDateTime,
        deadline: OffsetDateTime,
        counts: &Counts,
        report: &mut TickReport,
    ) -> InFlightJobs {
        let Walked { whole, queue, holders, may_hold, jobs, .. } = walked;
        // After all shards were read, or not at all: who holds a slot in a shard that was not read would lose it.
        let scope_statuses = match controls.filter(|_| whole) {
            Some(controls) => {
                Some((controls, self.scopes.reconcile_slots(controls, &holders, &may_hold, now, report).await))
            }
            None => None,
        };
        drop(holders);
        let backlogs = self.submit.run(queue, deadline, counts).await;
        if let Some((controls, scope_statuses)) = scope_statuses {
            self.scopes.publish_scopes(controls, scope_statuses, &backlogs).await;
        }
        jobs
    }

    /// Says in the ledger that a run begins. Nothing depends on it either.
    async fn record_begin(&self, now: OffsetDateTime, deadline: OffsetDateTime) -> Option<BegunRun> {
        let begun = async {
            let begun = self.ledger.runs().await?.next(now, deadline + BEGUN_WORK);
            self.ledger.record_begun_run(&begun).await.map(|()| begun)
        };
        let unwritten = |error| tracing::warn!(error = %error_chain(&error), "that a run begins was not written");
        begun.await.map_err(unwritten).ok()
    }

    /// Says in the ledger that a run ended that was not complete.
    async fn record_end(&self, begun: BegunRun) {
        let ended = BegunRun { ended: Some(self.clock.now()), ..begun };
        if let Err(error) = self.ledger.record_begun_run(&ended).await {
            tracing::warn!(error = %error_chain(&error), "that a run ended was not written");
        }
    }

    /// Leaves a sign of life. Nothing depends on it, so a tick does not fail by it.
    async fn record_heartbeat(&self, now: OffsetDateTime, report: &TickReport) {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let heartbeat = Heartbeat {
            at: now,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            in_flight: count(report.in_flight),
            errors: count(report.errors),
        };
        if let Err(error) = self.ledger.record_heartbeat(&heartbeat).await {
            tracing::warn!(error = %error_chain(&error), "the heartbeat was not written");
        }
    }
}
