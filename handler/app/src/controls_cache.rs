//! What a process knows of the controls (`ledger/controls.rs`), and of what it found itself.
//!
//! The controls are read at most every [`CONTROLS_TTL`], so that the fast path does not ask for them each time; and so what
//! operators and ticks tell is known with that delay. A process that can't read them knows nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use lifecycle::EndpointKey;
use lifecycle::id::{EndpointUri, RuleId};
use time::{Duration, OffsetDateTime};

use crate::App;
use crate::ledger::{self, Cap, Controls, DeploymentBreaker, LimitScope, ScopeStatus};

/// Controls that were read this long ago are read again before anything is submitted.
const CONTROLS_TTL: Duration = Duration::seconds(15);
/// After this process found no room, its events are left to the queue for this long: until a tick, which comes every
/// minute, has told all processes, and this one has read it.
const FULL_TTL: Duration = Duration::seconds(75);

/// What this process knows of the controls.
#[derive(Default)]
pub(super) struct ControlsCache {
    read: Mutex<Option<(OffsetDateTime, Arc<Controls>)>>,
    /// One query at a time, however many events come at once.
    reading: tokio::sync::Mutex<()>,
    /// One change of a breaker at a time: those of this process need not race each other.
    pub(super) changing: tokio::sync::Mutex<()>,
    /// Scopes without room, and until when that is believed.
    full: Mutex<HashMap<LimitScope, OffsetDateTime>>,
}

impl ControlsCache {
    /// The controls as they were last read, however long ago.
    pub(super) fn last(&self) -> Option<Arc<Controls>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(_, controls)| Arc::clone(controls))
    }

    /// The controls, if they were read less than [`CONTROLS_TTL`] ago. A clock that was set back makes them old.
    fn fresh(&self, now: OffsetDateTime) -> Option<Arc<Controls>> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = read.as_ref().filter(|(at, _)| *at <= now && now - *at < CONTROLS_TTL);
        fresh.map(|(_, controls)| Arc::clone(controls))
    }

    pub(super) fn mark_full(&self, scope: LimitScope, now: OffsetDateTime) {
        self.full.lock().unwrap_or_else(PoisonError::into_inner).insert(scope, now + FULL_TTL);
    }

    pub(super) fn is_full(&self, scope: &LimitScope, now: OffsetDateTime) -> bool {
        let full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        full.get(scope).is_some_and(|until| now < *until)
    }

    /// A tick of this process has told all others of `scopes`: what was found full before says nothing beside that.
    pub(super) fn store_scopes(&self, scopes: BTreeMap<LimitScope, ScopeStatus>) {
        self.full.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if let Some((_, controls)) = &mut *self.read.lock().unwrap_or_else(PoisonError::into_inner) {
            Arc::make_mut(controls).scopes = scopes;
        }
    }

    /// This process has changed a breaker.
    pub(super) fn store_breaker(&self, key: EndpointKey, breaker: DeploymentBreaker) {
        if let Some((_, controls)) = &mut *self.read.lock().unwrap_or_else(PoisonError::into_inner) {
            Arc::make_mut(controls).breakers.insert(key, breaker);
        }
    }
}

impl App {
    /// The controls, at most [`CONTROLS_TTL`] old.
    pub(super) async fn controls(&self, now: OffsetDateTime) -> Result<Arc<Controls>, ledger::Error> {
        let known = &self.0.controls_cache;
        if let Some(controls) = known.fresh(now) {
            return Ok(controls);
        }
        let _one = known.reading.lock().await;
        if let Some(controls) = known.fresh(now) {
            return Ok(controls);
        }
        self.read_controls(now).await
    }

    /// The controls as they are now.
    pub(super) async fn read_controls(&self, now: OffsetDateTime) -> Result<Arc<Controls>, ledger::Error> {
        let controls = Arc::new(self.ledger().controls().await?);
        *self.0.controls_cache.read.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, Arc::clone(&controls)));
        Ok(controls)
    }

    /// The limits that a scoring of this rule to this endpoint is under.
    pub(super) fn limits(
        &self,
        controls: &Controls,
        rule: &RuleId,
        endpoint: &EndpointUri,
    ) -> [(LimitScope, Option<Cap>); 2] {
        let rules = &self.0.parts.rules;
        let of_rule = rules.get(rule).and_then(|rule| rule.max_in_flight);
        let of_endpoint = rules.endpoint(endpoint).and_then(|settings| settings.max_in_flight);
        [(LimitScope::rule(rule), of_rule), (LimitScope::Endpoint(endpoint.key().clone()), of_endpoint)].map(
            |(scope, limit)| {
                let cap = match controls.limits.get(&scope) {
                    // Nobody knows for how long each process still goes by the limit before: look before each claim.
                    Some(live) => Some(Cap { limit: live.limit, surplus: true }),
                    None => limit.map(|limit| {
                        let surplus = controls.scopes.get(&scope).is_some_and(|scope_status| scope_status.surplus);
                        Cap { limit, surplus }
                    }),
                };
                (scope, cap)
            },
        )
    }
}
