//! Admission: what may be submitted now, and why the rest may not.
//!
//! Everything that a submission needs beside its turn is claimed here, before the intent is recorded, and given back if
//! nothing comes of it. A claim is held for the way to that record only ([`MAX_CLAIM_AGE`]); who dies on the way leaves it to
//! the tick. Asked by the fast path of events and by the tick, so that both go by the same rules.
//!
//! An event goes behind what waits already: while a tick could not submit all that was due, or this process just found
//! no room, events are left to the queue. Only for a moment after the first scoring has to wait, while other processes do
//! not know of it yet, can one of their events overtake it.
//!
//! Never: a claim that is kept while another one is waited for; a submission past a limit that could not be read.

use futures::future::join;
use lifecycle::breaker::BreakerDecision;
use lifecycle::{Observation, Rule, Scoring};
use time::OffsetDateTime;

use crate::ledger::{self, Cap, Controls, LimitScope, MAX_CLAIM_AGE, PermitOutcome, Slot};
use crate::{App, error_chain};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Requester {
    /// An event: it goes behind what waits.
    Event,
    /// The queue, or somebody who was told to submit this one: its turn has come.
    Queue,
}

/// Whether a scoring may be submitted now.
pub(super) enum Admission {
    /// It may; what was claimed for it.
    Granted(Claims),
    /// It may not yet.
    Wait {
        /// Why, for people.
        reason: String,
        /// Who else need not ask for now.
        wait_scope: WaitScope,
    },
}

/// Whom a reason to wait holds for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WaitScope {
    /// The scoring alone.
    One,
    /// All scorings of its rule.
    Rule,
    /// All scorings that go to its endpoint.
    Endpoint,
    /// All scorings that go to its deployment.
    Deployment,
}

/// What was claimed for a submission.
#[derive(Default)]
#[must_use = "what was claimed is given back, or the tick has to"]
pub(super) struct Claims {
    slots: Vec<Slot>,
    submit: Option<ledger::SubmitPermit>,
    claimed: Option<OffsetDateTime>,
}

impl Claims {
    /// Nothing was claimed.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.submit.is_none()
    }

    /// After a lost race: the slots stay if the scoring, as it is now, holds some. It may have got them by our own write,
    /// whose answer came so late that somebody else had moved it on. What nobody needs the tick frees.
    pub(super) fn leave_to(&mut self, present: Option<&Scoring>) {
        if present.is_some_and(|present| present.status.holds_slot()) {
            self.slots.clear();
        }
    }

    /// The claims are so old that others may take them for left behind. Nothing may be recorded on them.
    pub(super) fn is_stale(&self, now: OffsetDateTime) -> bool {
        self.claimed.is_some_and(|at| now - at > MAX_CLAIM_AGE)
    }
}

impl Admission {
    /// What `decide` is told, and what to give back if it does not submit.
    pub(super) fn observation(self) -> (Observation, Claims) {
        match self {
            Self::Granted(claims) => (Observation::SlotFree, claims),
            Self::Wait { reason, .. } => (Observation::Waiting { reason }, Claims::default()),
        }
    }
}

impl App {
    /// Asks whether a queued scoring may be submitted, and claims what it needs for that.
    pub(super) async fn admit(
        &self,
        scoring: &Scoring,
        rule: Option<&Rule>,
        requester: Requester,
        now: OffsetDateTime,
    ) -> Admission {
        // `decide` tells why these wait; nothing is claimed for them.
        let Some(rule) = rule.filter(|_| scoring.due <= now) else {
            return Admission::Wait { reason: "not due".to_owned(), wait_scope: WaitScope::One };
        };
        let controls = match self.controls(now).await {
            Ok(controls) => controls,
            Err(error) => {
                let reason = format!("the limits cannot be read: {}", error_chain(&error));
                return Admission::Wait { reason, wait_scope: WaitScope::Rule };
            }
        };
        let probes = match self.check_breaker(&controls, scoring, now) {
            BreakerDecision::Wait(reason) => return Admission::Wait { reason, wait_scope: WaitScope::Deployment },
            answer => answer == BreakerDecision::Probe,
        };
        let [(by_rule, of_rule), (by_endpoint, of_endpoint)] = self.limits(&controls, &rule.id, &scoring.endpoint);
        if requester == Requester::Event {
            for (scope, wait_scope) in [(&by_rule, WaitScope::Rule), (&by_endpoint, WaitScope::Endpoint)] {
                if let Some(reason) = self.queue_ahead(scope, &controls, now) {
                    return Admission::Wait { reason, wait_scope };
                }
            }
        }
        let claims =
            join(self.claim(&by_rule, of_rule, scoring, now), self.claim(&by_endpoint, of_endpoint, scoring, now));
        let (first, second) = claims.await;
        let mut claims = Claims::default();
        let mut refusal = None;
        for (claim, scope, wait_scope) in
            [(first, by_rule, WaitScope::Rule), (second, by_endpoint, WaitScope::Endpoint)]
        {
            match claim {
                Ok(SlotClaim::Unlimited) => {}
                Ok(SlotClaim::Slot(slot)) => {
                    claims.claimed = Some(now);
                    claims.slots.push(slot);
                }
                Ok(SlotClaim::Full(limit)) => {
                    self.0.controls_cache.mark_full(scope, now);
                    refusal = Some((full_reason(scoring, wait_scope, limit), wait_scope));
                }
                Err(error) => {
                    refusal = Some((format!("no slot could be claimed: {}", error_chain(&error)), wait_scope));
                }
            }
        }
        if refusal.is_none() && probes {
            // Whoever probes and then gets no permit is let through again when it asks again.
            refusal = self.probe(scoring, now).await.err().map(|reason| (reason, WaitScope::Deployment));
        }
        // Last, as it can be used once: not for what has no slot.
        if refusal.is_none() {
            match self.submit_permit(scoring, now).await {
                Ok(submit) => claims.submit = submit,
                Err(reason) => refusal = Some((reason, WaitScope::Endpoint)),
            }
        }
        match refusal {
            None => Admission::Granted(claims),
            Some((reason, wait_scope)) => {
                self.release(claims).await;
                Admission::Wait { reason, wait_scope }
            }
        }
    }

    /// Asks whether a request that was lost may be sent again. It has its slots still.
    pub(super) async fn admit_again(&self, scoring: &Scoring, now: OffsetDateTime) -> Admission {
        let wait = |reason| Admission::Wait { reason, wait_scope: WaitScope::Endpoint };
        let controls = match self.controls(now).await {
            Ok(controls) => controls,
            Err(error) => return wait(format!("the limits cannot be read: {}", error_chain(&error))),
        };
        let limits = self.limits(&controls, &scoring.rule, &scoring.endpoint);
        for ((_, cap), wait_scope) in limits.into_iter().zip([WaitScope::Rule, WaitScope::Endpoint]) {
            if cap.is_some_and(|cap| cap.limit == 0) {
                return wait(full_reason(scoring, wait_scope, 0));
            }
        }
        match self.check_breaker(&controls, scoring, now) {
            BreakerDecision::Wait(reason) => return wait(reason),
            BreakerDecision::Probe => {
                if let Err(reason) = self.probe(scoring, now).await {
                    return wait(reason);
                }
            }
            BreakerDecision::Allow => {}
        }
        match self.submit_permit(scoring, now).await {
            Ok(submit) => Admission::Granted(Claims { submit, ..Claims::default() }),
            Err(reason) => wait(reason),
        }
    }

    /// A permit to send one request to the scoring's endpoint, if it needs one; else why there is none.
    async fn submit_permit(
        &self,
        scoring: &Scoring,
        now: OffsetDateTime,
    ) -> Result<Option<ledger::SubmitPermit>, String> {
        let settings = self.0.parts.rules.endpoint(&scoring.endpoint);
        let Some(max) = settings.and_then(|settings| settings.submits_per_minute) else { return Ok(None) };
        match self.ledger().use_permit(scoring.endpoint.key(), max, &scoring.id, now).await {
            Ok(PermitOutcome::Yes(claims)) => Ok(Some(claims)),
            Ok(PermitOutcome::No { until }) => {
                self.0.controls_cache.mark_full(LimitScope::Endpoint(scoring.endpoint.key().clone()), now);
                Err(format!(
                    "endpoint {} takes {max} submits a minute (submitsPerMinute); the next one can go at {}",
                    scoring.endpoint,
                    lifecycle::decide::utc_text(until)
                ))
            }
            Err(error) => Err(format!("no submit could be claimed: {}", error_chain(&error))),
        }
    }

    /// Why an event goes behind others in this scope, if it does.
    fn queue_ahead(&self, scope: &LimitScope, controls: &Controls, now: OffsetDateTime) -> Option<String> {
        if let Some(scope_status) = controls.scopes.get(scope).filter(|scope_status| scope_status.waiting > 0) {
            let reason = scope_status.reason.as_deref().unwrap_or("no room");
            return Some(format!("it goes behind {} that wait already: {reason}", scope_status.waiting));
        }
        self.0
            .controls_cache
            .is_full(scope, now)
            .then(|| "it goes behind others that found no room a moment ago".to_owned())
    }

    async fn claim(
        &self,
        scope: &LimitScope,
        cap: Option<Cap>,
        scoring: &Scoring,
        now: OffsetDateTime,
    ) -> Result<SlotClaim, ledger::Error> {
        let Some(cap) = cap else { return Ok(SlotClaim::Unlimited) };
        let slot = self.ledger().claim_slot(scope, cap, &scoring.id, scoring.version, now).await?;
        Ok(slot.map_or(SlotClaim::Full(cap.limit), SlotClaim::Slot))
    }

    /// Gives back what was claimed for a submission that did not come to be.
    pub(super) async fn release(&self, claims: Claims) {
        // A slot that was ours already belongs to whoever claimed it.
        for slot in claims.slots.iter().filter(|slot| slot.fresh) {
            if let Err(error) = self.ledger().free_slot(slot).await {
                tracing::warn!(error = %error_chain(&error), "a slot was not given back; the tick frees it");
            }
        }
        if let Some(submit) = &claims.submit
            && let Err(error) = self.ledger().release_permit(submit).await
        {
            tracing::warn!(error = %error_chain(&error), "a submit was not given back; it counts for a minute");
        }
    }

    /// Gives back the slots of a scoring that holds none any more.
    pub(super) async fn free_slots_of(&self, scoring: &Scoring) {
        let controls = self.0.controls_cache.last().unwrap_or_default();
        for (scope, cap) in self.limits(&controls, &scoring.rule, &scoring.endpoint) {
            if cap.is_none() {
                continue;
            }
            if let Err(error) = self.ledger().free_slot_of(&scope, &scoring.id, scoring.version).await {
                tracing::warn!(scoring = %scoring.id, error = %error_chain(&error), "a slot was not given back; the tick frees it");
            }
        }
    }
}

enum SlotClaim {
    Unlimited,
    Slot(Slot),
    Full(u32),
}

fn full_reason(scoring: &Scoring, wait_scope: WaitScope, limit: u32) -> String {
    if limit == 0 {
        return match wait_scope {
            WaitScope::Endpoint => format!(
                "endpoint {0} is paused by an operator (scorekeeper limit --endpoint {0} default lets it go on)",
                scoring.endpoint
            ),
            _ => format!(
                "rule `{0}` is paused by an operator (scorekeeper limit --rule {0} default lets it go on)",
                scoring.rule
            ),
        };
    }
    let slots = if limit == 1 { "the one slot".to_owned() } else { format!("all {limit} slots") };
    let of = match wait_scope {
        WaitScope::Endpoint => format!("endpoint {}", scoring.endpoint),
        _ => format!("rule `{}`", scoring.rule),
    };
    format!("{slots} of {of} {} taken (maxInFlight)", if limit == 1 { "is" } else { "are" })
}
