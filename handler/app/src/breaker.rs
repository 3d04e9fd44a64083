//! The app's side of circuit breakers: who may go, who probes, what an attempt's end means.
//!
//! The state machine is `lifecycle::breaker`; its rows are controls, changed by compare-and-swap. What a process knows of
//! them may be a moment old: for so long after a breaker opened it may still submit, and for so long after it closed it
//! may still wait. A probe is claimed on the row itself.

use lifecycle::breaker::{Breaker, BreakerDecision, BreakerEvent, breaker_event};
use lifecycle::id::DeploymentName;
use lifecycle::{Event, Scoring};
use time::OffsetDateTime;

use crate::ledger::{self, Controls, DeploymentBreaker};
use crate::{App, error_chain};

impl App {
    /// Whether a scoring may go to its deployment, as far as this process knows.
    pub(super) fn check_breaker(&self, controls: &Controls, scoring: &Scoring, now: OffsetDateTime) -> BreakerDecision {
        let breaker = controls.breaker(&scoring.endpoint, scoring.deployment.as_ref());
        match breaker.check(&scoring.id, &self.0.parts.rules.breaker(&scoring.endpoint), now) {
            BreakerDecision::Wait(reason) => BreakerDecision::Wait(format!("{reason}; {}", override_of(scoring))),
            asked => asked,
        }
    }

    /// Makes the scoring the probe of its deployment; else why it is not.
    pub(super) async fn probe(&self, scoring: &Scoring, now: OffsetDateTime) -> Result<(), String> {
        let event = BreakerEvent::ProbeRequested(scoring.id.clone());
        match self.change_breaker(scoring, &event, now).await {
            Ok(breaker) => match breaker.check(&scoring.id, &self.0.parts.rules.breaker(&scoring.endpoint), now) {
                // Or it was closed a moment ago.
                BreakerDecision::Allow => {
                    tracing::info!(scoring = %scoring.id, "{} may go, {} failed attempts of its deployment in a row", scoring.id, breaker.failures);
                    Ok(())
                }
                BreakerDecision::Wait(reason) => Err(reason),
                BreakerDecision::Probe => Err("another scoring was faster to probe the deployment".to_owned()),
            },
            Err(error) => Err(format!("the circuit breaker cannot be changed: {}", error_chain(&error))),
        }
    }

    /// Tells the breaker of a scoring's deployment what became of an attempt. `next` is the scoring after the move.
    pub(super) async fn notify_breaker(&self, next: &Scoring, event: Option<Event>, now: OffsetDateTime) {
        let Some(event) = event.and_then(|event| breaker_event(event, &next.id, next.error.as_deref())) else { return };
        if !self.0.parts.rules.breaker(&next.endpoint).is_on() {
            return;
        }
        if !matches!(event, BreakerEvent::Failed { .. }) {
            // A success, by far the most frequent, is written only where it can change something.
            let known = self.0.controls_cache.last().unwrap_or_default();
            if known.breaker(&next.endpoint, next.deployment.as_ref()) == Breaker::default() {
                return;
            }
        }
        if let Err(error) = self.change_breaker(next, &event, now).await {
            tracing::warn!(scoring = %next.id, error = %error_chain(&error), "the circuit breaker was not told of an attempt of {}", next.id);
        }
    }

    async fn change_breaker(
        &self,
        scoring: &Scoring,
        event: &BreakerEvent,
        now: OffsetDateTime,
    ) -> Result<Breaker, ledger::Error> {
        let (endpoint, deployment) = (&scoring.endpoint, scoring.deployment.as_ref());
        let settings = self.0.parts.rules.breaker(endpoint);
        let before =
            self.0.controls_cache.last().is_some_and(|known| known.breaker(endpoint, deployment).open_until.is_some());
        let _one = self.0.controls_cache.changing.lock().await;
        let known = self.ledger().change_breaker(endpoint, deployment, event, &settings, now).await?;
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
        self.0.controls_cache.store_breaker(endpoint.deployment_key(deployment), known);
        Ok(breaker)
    }

    /// Closes a breaker that the rules have switched off.
    pub(super) async fn close_breaker(&self, known: &DeploymentBreaker) {
        let (endpoint, deployment) = (&known.endpoint, known.deployment.as_ref());
        let settings = self.0.parts.rules.breaker(endpoint);
        let closed =
            self.ledger().change_breaker(endpoint, deployment, &BreakerEvent::Closed, &settings, self.now()).await;
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
