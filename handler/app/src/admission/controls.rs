//! What a process knows of the controls (`ledger/controls.rs`), and of what it found itself.
//!
//! The controls are read at most every [`CONTROLS_TTL`], so that the fast path does not ask for them each time; and so what
//! operators and ticks tell is known with that delay. A process that cannot read them knows nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lifecycle::Breaker;
use lifecycle::breaker::BreakerSubject;
use time::{Duration, OffsetDateTime};

use crate::ledger::{self, Controls, Ledger, LimitScope, ScopeStatus};

/// Controls that were read this long ago are read again before anything is submitted.
const CONTROLS_TTL: Duration = Duration::seconds(15);
/// After this process found no room, its events are left to the queue for this long: until a tick, which comes every
/// minute, has told all processes, and this one has read it.
const FULL_TTL: Duration = Duration::seconds(75);

/// What this process knows of the controls. What it holds is small: a row for each rule, endpoint and failing deployment.
pub(crate) struct KnownControls {
    ledger: Ledger,
    /// As they were last read, and when.
    read: Mutex<Option<(OffsetDateTime, Arc<Controls>)>>,
    /// One query at a time, however many events come at once.
    reading: tokio::sync::Mutex<()>,
    /// Scopes without room, and until when that is believed.
    full: Mutex<HashMap<LimitScope, OffsetDateTime>>,
}

impl KnownControls {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self { ledger, read: Mutex::default(), reading: tokio::sync::Mutex::default(), full: Mutex::default() }
    }

    /// The controls, at most [`CONTROLS_TTL`] old.
    pub(crate) async fn recent(&self, now: OffsetDateTime) -> Result<Arc<Controls>, ledger::Error> {
        if let Some(controls) = self.fresh(now) {
            return Ok(controls);
        }
        let _one = self.reading.lock().await;
        // Somebody else may have read them while we waited for our turn.
        if let Some(controls) = self.fresh(now) {
            return Ok(controls);
        }
        self.read(now).await
    }

    /// The controls as they are now.
    pub(crate) async fn read(&self, now: OffsetDateTime) -> Result<Arc<Controls>, ledger::Error> {
        let controls = Arc::new(self.ledger.controls().await?);
        *self.lock() = Some((now, Arc::clone(&controls)));
        Ok(controls)
    }

    /// The controls as they were last read, however long ago; none before the first time.
    pub(crate) fn last(&self) -> Arc<Controls> {
        self.lock().as_ref().map(|(_, controls)| Arc::clone(controls)).unwrap_or_default()
    }

    /// The controls, if they were read less than [`CONTROLS_TTL`] ago. A clock that was set back makes them old.
    fn fresh(&self, now: OffsetDateTime) -> Option<Arc<Controls>> {
        let read = self.lock();
        let fresh = read.as_ref().filter(|(at, _)| *at <= now && now - *at < CONTROLS_TTL);
        fresh.map(|(_, controls)| Arc::clone(controls))
    }

    /// This process found no room there a moment ago.
    pub(super) fn mark_full(&self, scope: LimitScope, now: OffsetDateTime) {
        self.full.lock().unwrap_or_else(PoisonError::into_inner).insert(scope, now + FULL_TTL);
    }

    pub(super) fn is_full(&self, scope: &LimitScope, now: OffsetDateTime) -> bool {
        let full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        full.get(scope).is_some_and(|until| now < *until)
    }

    /// A tick of this process has told all others of `scopes`: what was found full before says nothing beside that.
    pub(crate) fn store_scopes(&self, scopes: BTreeMap<LimitScope, ScopeStatus>) {
        self.full.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if let Some((_, controls)) = &mut *self.lock() {
            Arc::make_mut(controls).scopes = scopes;
        }
    }

    /// This process has changed a breaker.
    pub(super) fn store_breaker(&self, subject: &BreakerSubject, breaker: Breaker) {
        if let Some((_, controls)) = &mut *self.lock() {
            Arc::make_mut(controls).store_breaker(subject, breaker);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(OffsetDateTime, Arc<Controls>)>> {
        // A panic cannot leave it half written: it is replaced, or one member of it is.
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
