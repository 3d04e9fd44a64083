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

use std::sync::Arc;

use futures::future::join;
use lifecycle::breaker::BreakerSubject;
use lifecycle::{Rule, Rules, Scoring};
use time::OffsetDateTime;

use crate::clock::LedgerClock;
use crate::error::error_chain;
use crate::ledger::{self, Cap, Controls, Ledger, LimitScope, PermitOutcome, Slot, SubmitPermit};

mod breakers;
mod claims;
mod controls;
mod limits;
mod refusal;

use breakers::Breakers;
pub(crate) use breakers::{free_probes_of, is_of, name_of, remedy};
pub(crate) use claims::Claims;
pub(crate) use controls::KnownControls;
pub(crate) use limits::limited;
use limits::limits;
pub(crate) use refusal::{Refusal, WaitScope};

/// What decides whether a scoring may be submitted now, and claims what it needs. One for each process: what it knows of
/// the controls is shared by all that it admits.
pub(crate) struct Admission {
    ledger: Ledger,
    rules: Arc<Rules>,
    clock: LedgerClock,
    controls: Arc<KnownControls>,
    breakers: Breakers,
}

/// For whom admission is asked: an event does not overtake those that wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Requester {
    /// An event: it goes behind what waits.
    Event,
    /// The queue, or somebody who was told to submit this one: its turn has come.
    Queue,
}

impl Admission {
    pub(crate) fn new(ledger: Ledger, rules: Arc<Rules>, clock: LedgerClock) -> Self {
        let controls = Arc::new(KnownControls::new(ledger.clone()));
        let breakers = Breakers::new(ledger.clone(), Arc::clone(&rules), clock.clone(), Arc::clone(&controls));
        Self { ledger, rules, clock, controls, breakers }
    }

    /// What this process knows of the controls.
    pub(crate) fn controls(&self) -> &KnownControls {
        &self.controls
    }

    /// The circuit breakers as this process goes by them.
    pub(crate) fn breakers(&self) -> &Breakers {
        &self.breakers
    }

    /// Asks whether a queued scoring whose turn has come may be submitted, and claims what it needs for that.
    pub(crate) async fn admit(
        &self,
        scoring: &Scoring,
        rule: Option<&Rule>,
        now: OffsetDateTime,
    ) -> Result<Claims, Refusal> {
        self.admit_as(Requester::Queue, scoring, rule, now).await
    }

    /// The same for an event: it goes behind what waits.
    pub(crate) async fn admit_event(
        &self,
        scoring: &Scoring,
        rule: Option<&Rule>,
        now: OffsetDateTime,
    ) -> Result<Claims, Refusal> {
        self.admit_as(Requester::Event, scoring, rule, now).await
    }

    async fn admit_as(
        &self,
        requester: Requester,
        scoring: &Scoring,
        rule: Option<&Rule>,
        now: OffsetDateTime,
    ) -> Result<Claims, Refusal> {
        // `decide` tells why these wait; nothing is claimed for them.
        let Some(rule) = rule.filter(|_| scoring.due <= now) else {
            return Err(Refusal::new(WaitScope::One, "not due"));
        };
        let controls = self.recent_controls(WaitScope::Rule, now).await?;
        let probes = self.breakers.check(&controls, scoring, now)?;
        let mut limits = limits(&self.rules, &controls, &rule.id, &scoring.endpoint);
        if !probes.is_empty() || Breakers::is_probe(&controls, scoring) {
            // One more than the limit: what fills the rule's slots may hang because of what the probe is to find out. Not of
            // a rule that an operator paused, and not of the endpoint.
            limits[0].1 =
                limits[0].1.map(|cap| Cap { limit: cap.limit.saturating_add(u32::from(cap.limit > 0)), ..cap });
        }
        if requester == Requester::Event {
            for ((scope, _), wait_scope) in limits.iter().zip([WaitScope::Rule, WaitScope::Endpoint]) {
                if let Some(reason) = self.queue_ahead(scope, &controls, now) {
                    return Err(Refusal::new(wait_scope, reason));
                }
            }
        }
        let mut claims = Claims::default();
        match self.claim_all(&mut claims, limits, &probes, scoring, now).await {
            Ok(()) => Ok(claims),
            Err(refusal) => {
                // Nobody waits for the rest while holding a part: that is why there is no deadlock.
                self.release_slots(claims).await;
                Err(refusal)
            }
        }
    }

    /// Claims both slots, the probe and the permit, in this order; what was got stands in `claims` also after a refusal.
    async fn claim_all(
        &self,
        claims: &mut Claims,
        [(by_rule, of_rule), (by_endpoint, of_endpoint)]: [(LimitScope, Option<Cap>); 2],
        probes: &[BreakerSubject],
        scoring: &Scoring,
        now: OffsetDateTime,
    ) -> Result<(), Refusal> {
        // Side by side, as each costs a round trip; both answers are heard, or a slot would be held by nobody.
        let (first, second) =
            join(self.claim(&by_rule, of_rule, scoring, now), self.claim(&by_endpoint, of_endpoint, scoring, now))
                .await;
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
                    self.controls.mark_full(scope, now);
                    refusal = Some(Refusal::new(wait_scope, full_reason(scoring, wait_scope, limit)));
                }
                // Never past a limit that could not be read.
                Err(error) => {
                    let reason = format!("no slot could be claimed: {}", error_chain(&error));
                    refusal = Some(Refusal::new(wait_scope, reason));
                }
            }
        }
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let mut is_probe = probes.is_empty();
        for subject in probes {
            // Whoever probes and then gets no permit is let through again when it asks again.
            is_probe |= self.breakers.probe(subject, scoring, now).await?;
            claims.probes.push((subject.clone(), breakers::says_nothing(scoring)));
        }
        if !is_probe && of_rule.is_some() {
            // Its slot may be the one that only a probe takes beyond the limit.
            return Err(Refusal::new(
                WaitScope::One,
                "what it was to probe was closed a moment ago; it asks again without",
            ));
        }
        // Last, as it can be used once: not for what has no slot.
        claims.submit = self.submit_permit(scoring, now).await?;
        Ok(())
    }

    /// Asks whether a request that was lost may be sent again. It has its slots still.
    pub(crate) async fn admit_again(&self, scoring: &Scoring, now: OffsetDateTime) -> Result<Claims, Refusal> {
        let controls = self.recent_controls(WaitScope::Endpoint, now).await?;
        let limits = limits(&self.rules, &controls, &scoring.rule, &scoring.endpoint);
        for ((_, cap), wait_scope) in limits.into_iter().zip([WaitScope::Rule, WaitScope::Endpoint]) {
            // Who paused it wants nothing sent; a limit that is merely full was kept when it was sent first.
            if cap.is_some_and(|cap| cap.limit == 0) {
                return Err(Refusal::new(wait_scope, full_reason(scoring, wait_scope, 0)));
            }
        }
        for subject in self.breakers.check(&controls, scoring, now)? {
            self.breakers.probe(&subject, scoring, now).await?;
        }
        let submit = self.submit_permit(scoring, now).await?;
        Ok(Claims { submit, ..Claims::default() })
    }

    async fn recent_controls(&self, wait_scope: WaitScope, now: OffsetDateTime) -> Result<Arc<Controls>, Refusal> {
        self.controls
            .recent(now)
            .await
            .map_err(|error| Refusal::new(wait_scope, format!("the limits cannot be read: {}", error_chain(&error))))
    }

    /// A permit to send one request to the scoring's endpoint, if it needs one.
    async fn submit_permit(&self, scoring: &Scoring, now: OffsetDateTime) -> Result<Option<SubmitPermit>, Refusal> {
        let settings = self.rules.endpoint(&scoring.endpoint);
        let Some(max) = settings.and_then(|settings| settings.submits_per_minute) else { return Ok(None) };
        let reason = match self.ledger.use_permit(scoring.endpoint.key(), max, &scoring.id, || self.clock.now()).await {
            Ok(PermitOutcome::Yes(permit)) => return Ok(Some(permit)),
            Ok(PermitOutcome::No { until }) => {
                self.controls.mark_full(LimitScope::Endpoint(scoring.endpoint.key().clone()), now);
                format!(
                    "endpoint {} takes {max} submits a minute (submitsPerMinute); the next one can go at {}",
                    scoring.endpoint,
                    lifecycle::duration::utc_text(until)
                )
            }
            Err(error) => format!("no submit could be claimed: {}", error_chain(&error)),
        };
        Err(Refusal::new(WaitScope::Endpoint, reason))
    }

    /// Why an event goes behind others in this scope, if it does.
    fn queue_ahead(&self, scope: &LimitScope, controls: &Controls, now: OffsetDateTime) -> Option<String> {
        if let Some(scope_status) = controls.scopes.get(scope).filter(|scope_status| scope_status.waiting > 0) {
            let reason = scope_status.reason.as_deref().unwrap_or("no room");
            return Some(format!("it goes behind {} that wait already: {reason}", scope_status.waiting));
        }
        self.controls.is_full(scope, now).then(|| "it goes behind others that found no room a moment ago".to_owned())
    }

    async fn claim(
        &self,
        scope: &LimitScope,
        cap: Option<Cap>,
        scoring: &Scoring,
        now: OffsetDateTime,
    ) -> Result<SlotClaim, ledger::Error> {
        let Some(cap) = cap else { return Ok(SlotClaim::Unlimited) };
        let slot = self.ledger.claim_slot(scope, cap, &scoring.id, scoring.version, now).await?;
        Ok(slot.map_or(SlotClaim::Full(cap.limit), SlotClaim::Slot))
    }

    /// Gives back what was claimed for a submission that will not come to be, the place of a probe too: of an event nobody knows
    /// when it asks whether its scoring has ended long ago, and would never say a word.
    pub(crate) async fn release(&self, claims: Claims, now: OffsetDateTime) {
        for (subject, nothing) in &claims.probes {
            self.breakers.free(subject, nothing, now).await;
        }
        self.release_slots(claims).await;
    }

    /// Gives back slots and permit. Who probes asks again in its turn, and is let through.
    async fn release_slots(&self, claims: Claims) {
        // A slot that was ours already belongs to whoever claimed it.
        for slot in claims.slots.iter().filter(|slot| slot.fresh) {
            if let Err(error) = self.ledger.free_slot(slot).await {
                tracing::warn!(error = %error_chain(&error), "a slot could not be released; the next reconcile run frees it");
            }
        }
        if let Some(submit) = &claims.submit
            && let Err(error) = self.ledger.release_permit(submit).await
        {
            tracing::warn!(error = %error_chain(&error), "a submit permit could not be released; it counts for a minute");
        }
    }

    /// Gives back the slots of a scoring that holds none any more.
    pub(crate) async fn free_slots_of(&self, scoring: &Scoring) {
        let controls = self.controls.last();
        for (scope, cap) in limits(&self.rules, &controls, &scoring.rule, &scoring.endpoint) {
            if cap.is_none() {
                continue;
            }
            if let Err(error) = self.ledger.free_slot_of(&scope, &scoring.id, scoring.version).await {
                tracing::warn!(scoring = %scoring.id, error = %error_chain(&error), "a slot could not be released; the next reconcile run frees it");
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
