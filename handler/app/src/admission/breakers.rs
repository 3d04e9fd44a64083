//! The app's side of circuit breakers: who may go, who probes, what an attempt's end means.
//!
//! The state machine is `lifecycle::breaker`; its rows are controls, changed by compare-and-swap. What a process knows of
//! them may be a moment old: for so long after a breaker opened it may still submit, and for so long after it closed it
//! may still wait. A probe is claimed on the row itself.

use std::sync::Arc;

use lifecycle::breaker::{Breaker, BreakerDecision, BreakerEvent, breaker_event};
use lifecycle::id::DeploymentName;
use lifecycle::{Event, Rules, Scoring};
use time::OffsetDateTime;

use super::controls::KnownControls;
use super::refusal::{Refusal, WaitScope};
use crate::clock::LedgerClock;
use crate::error::error_chain;
use crate::ledger::{self, Controls, DeploymentBreaker, Ledger};

/// The circuit breakers of all deployments, as one process goes by them.
pub(crate) struct Breakers {
    ledger: Ledger,
    rules: Arc<Rules>,
    clock: LedgerClock,
    controls: Arc<KnownControls>,
    /// One change of a breaker at a time: those of this process need not race each other.
    changing: tokio::sync::Mutex<()>,
}

impl Breakers {
    pub(super) fn new(ledger: Ledger, rules: Arc<Rules>, clock: LedgerClock, controls: Arc<KnownControls>) -> Self {
        Self { ledger, rules, clock, controls, changing: tokio::sync::Mutex::default() }
    }

    /// Whether a scoring may go to its deployment, as far as this process knows.
    pub(super) fn check(&self, controls: &Controls, scoring: &Scoring, now: OffsetDateTime) -> BreakerDecision {
        let breaker = controls.breaker(&scoring.endpoint, scoring.deployment.as_ref());
        match breaker.check(&scoring.id, &self.rules.breaker(&scoring.endpoint), now) {
            BreakerDecision::Wait(reason) => BreakerDecision::Wait(format!("{reason}; {}", override_of(scoring))),
            asked => asked,
        }
    }

    /// Makes the scoring the probe of its deployment.
    pub(super) async fn probe(&self, scoring: &Scoring, now: OffsetDateTime) -> Result<(), Refusal> {
        let event = BreakerEvent::ProbeRequested(scoring.id.clone());
        let reason = match self.change(scoring, &event, now).await {
            // It is asked again as it is now: two may have claimed the probe, and one of them has it.
            Ok(breaker) => match breaker.check(&scoring.id, &self.rules.breaker(&scoring.endpoint), now) {
                // Or it was closed a moment ago.
                BreakerDecision::Allow => {
                    tracing::info!(scoring = %scoring.id, "{} may go, {} failed attempts of its deployment in a row", scoring.id, breaker.failures);
                    return Ok(());
                }
                BreakerDecision::Wait(reason) => reason,
                BreakerDecision::Probe => "another scoring was faster to probe the deployment".to_owned(),
            },
            Err(error) => format!("the circuit breaker cannot be changed: {}", error_chain(&error)),
        };
        Err(Refusal::new(WaitScope::Deployment, reason))
    }

    /// Tells the breaker of a scoring's deployment what became of an attempt. `next` is the scoring after the move.
    pub(crate) async fn notify(&self, next: &Scoring, event: Option<Event>, now: OffsetDateTime) {
        let Some(event) = event.and_then(|event| breaker_event(event, &next.id, next.error.as_deref())) else { return };
        if !self.rules.breaker(&next.endpoint).is_on() {
            return;
        }
        if !matches!(event, BreakerEvent::Failed { .. }) {
            // A success, by far the most frequent, is written only where it can change something.
            let known = self.controls.last();
            if known.breaker(&next.endpoint, next.deployment.as_ref()) == Breaker::default() {
                return;
            }
        }
        if let Err(error) = self.change(next, &event, now).await {
            tracing::warn!(scoring = %next.id, error = %error_chain(&error), "an attempt of {} could not be counted by the circuit breaker", next.id);
        }
    }

    async fn change(
        &self,
        scoring: &Scoring,
        event: &BreakerEvent,
        now: OffsetDateTime,
    ) -> Result<Breaker, ledger::Error> {
        let (endpoint, deployment) = (&scoring.endpoint, scoring.deployment.as_ref());
        let settings = self.rules.breaker(endpoint);
        let before = self.controls.last().breaker(endpoint, deployment).open_until.is_some();
        let _one = self.changing.lock().await;
        let known = self.ledger.change_breaker(endpoint, deployment, event, &settings, now).await?;
        let (breaker, name) = (known.breaker.clone(), deployment.map_or("(default)", DeploymentName::as_str));
        if breaker.open_until.is_some() && !before {
            tracing::warn!(
                endpoint = endpoint.as_str(),
                deployment = deployment.map(DeploymentName::as_str),
                "deployment {name} of {endpoint}: {}",
                breaker.reason()
            );
        } else if before && breaker.open_until.is_none() {
            tracing::info!(
                endpoint = endpoint.as_str(),
                deployment = deployment.map(DeploymentName::as_str),
                "deployment {name} of {endpoint}: the circuit breaker is closed"
            );
        }
        self.controls.store_breaker(endpoint.deployment_key(deployment), known);
        Ok(breaker)
    }

    /// Closes a breaker that the rules have switched off.
    pub(crate) async fn close(&self, known: &DeploymentBreaker) {
        let (endpoint, deployment) = (&known.endpoint, known.deployment.as_ref());
        let settings = self.rules.breaker(endpoint);
        let closed =
            self.ledger.change_breaker(endpoint, deployment, &BreakerEvent::Closed, &settings, self.clock.now()).await;
        if let Err(error) = closed {
            tracing::warn!(endpoint = endpoint.as_str(), deployment = deployment.map(DeploymentName::as_str), error = %error_chain(&error), "the circuit breaker was not closed");
        }
    }
}

/// How an operator lets a deployment's scorings go at once.
fn override_of(scoring: &Scoring) -> String {
    let deployment = scoring.deployment.as_ref().map(|name| format!(" --deployment {name}")).unwrap_or_default();
    format!("scorekeeper breaker close --endpoint {}{deployment} lets all go at once", scoring.endpoint)
}
