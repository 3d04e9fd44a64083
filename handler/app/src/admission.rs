//! Admission: what may be submitted now, and why the rest may not.
//!
//! Everything that a submission needs beside its turn is claimed here, before the intent is recorded, and given back if
//! nothing comes of it. A claim is held for the way to that record only ([`SLOT_WAY`]); who dies on the way leaves it to
//! the tick. Asked by the fast path of events and by the tick, so that both go by the same rules.
//!
//! An event goes behind what waits already: while a tick could not submit all that was due, or this process just found
//! no room, events are left to the queue. Only for a moment after the first scoring has to wait, while other processes do
//! not know of it yet, can one of their events overtake it.
//!
//! Never: a claim that is kept while another one is waited for; a submission past a limit that could not be read.

use futures::future::join;
use lifecycle::breaker::Asked;
use lifecycle::{Rule, Scoring, Seen};
use time::OffsetDateTime;

use crate::ledger::{self, Cap, Controls, Permitted, SLOT_WAY, Scope, Slot};
use crate::{App, chain};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// An event: it goes behind what waits.
    Event,
    /// The queue, or somebody who was told to submit this one: its turn has come.
    Queue,
}

/// Whether a scoring may be submitted now.
pub(super) enum Admission {
    /// It may; what was claimed for it.
    Go(Permit),
    /// It may not yet.
    Wait {
        /// Why, for people.
        because: String,
        /// Who else need not ask for now.
        whom: Whom,
    },
}

/// Whom a reason to wait holds for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
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
pub(super) struct Permit {
    slots: Vec<Slot>,
    submit: Option<ledger::Permit>,
    claimed: Option<OffsetDateTime>,
}

impl Permit {
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
        self.claimed.is_some_and(|at| now - at > SLOT_WAY)
    }
}

impl Admission {
    /// What `decide` is told, and what to give back if it does not submit.
    pub(super) fn seen(self) -> (Seen, Permit) {
        match self {
            Self::Go(permit) => (Seen::SlotFree, permit),
            Self::Wait { because, .. } => (Seen::Waiting { because }, Permit::default()),
        }
    }
}

impl App {
    /// Asks whether a queued scoring may be submitted, and claims what it needs for that.
    pub(super) async fn admit(
        &self,
        scoring: &Scoring,
        rule: Option<&Rule>,
        asker: Asker,
        now: OffsetDateTime,
    ) -> Admission {
        // `decide` tells why these wait; nothing is claimed for them.
        let Some(rule) = rule.filter(|_| scoring.due <= now) else {
            return Admission::Wait { because: "not due".to_owned(), whom: Whom::One };
        };
        let controls = match self.controls(now).await {
            Ok(controls) => controls,
            Err(error) => {
                let because = format!("the limits cannot be read: {}", chain(&error));
                return Admission::Wait { because, whom: Whom::Rule };
            }
        };
        let probes = match self.ask_breaker(&controls, scoring, now) {
            Asked::Wait(because) => return Admission::Wait { because, whom: Whom::Deployment },
            answer => answer == Asked::Probe,
        };
        let [(by_rule, of_rule), (by_endpoint, of_endpoint)] = self.limits(&controls, &rule.id, &scoring.endpoint);
        if asker == Asker::Event {
            for (scope, whom) in [(&by_rule, Whom::Rule), (&by_endpoint, Whom::Endpoint)] {
                if let Some(because) = self.behind(scope, &controls, now) {
                    return Admission::Wait { because, whom };
                }
            }
        }
        let claims =
            join(self.claim(&by_rule, of_rule, scoring, now), self.claim(&by_endpoint, of_endpoint, scoring, now));
        let (first, second) = claims.await;
        let mut permit = Permit::default();
        let mut refusal = None;
        for (claim, scope, whom) in [(first, by_rule, Whom::Rule), (second, by_endpoint, Whom::Endpoint)] {
            match claim {
                Ok(Claimed::Unlimited) => {}
                Ok(Claimed::Slot(slot)) => {
                    permit.claimed = Some(now);
                    permit.slots.push(slot);
                }
                Ok(Claimed::Full(limit)) => {
                    self.0.known.found_full(scope, now);
                    refusal = Some((full(scoring, whom, limit), whom));
                }
                Err(error) => refusal = Some((format!("no slot could be claimed: {}", chain(&error)), whom)),
            }
        }
        if refusal.is_none() && probes {
            // Whoever probes and then gets no permit is let through again when it asks again.
            refusal = self.probe(scoring, now).await.err().map(|because| (because, Whom::Deployment));
        }
        // Last, as it can be used once: not for what has no slot.
        if refusal.is_none() {
            match self.submit_permit(scoring, now).await {
                Ok(submit) => permit.submit = submit,
                Err(because) => refusal = Some((because, Whom::Endpoint)),
            }
        }
        match refusal {
            None => Admission::Go(permit),
            Some((because, whom)) => {
                self.give_back(permit).await;
                Admission::Wait { because, whom }
            }
        }
    }

    /// Asks whether a request that was lost may be sent again. It has its slots still.
    pub(super) async fn admit_again(&self, scoring: &Scoring, now: OffsetDateTime) -> Admission {
        let wait = |because| Admission::Wait { because, whom: Whom::Endpoint };
        let controls = match self.controls(now).await {
            Ok(controls) => controls,
            Err(error) => return wait(format!("the limits cannot be read: {}", chain(&error))),
        };
        let limits = self.limits(&controls, &scoring.rule, &scoring.endpoint);
        for ((_, cap), whom) in limits.into_iter().zip([Whom::Rule, Whom::Endpoint]) {
            if cap.is_some_and(|cap| cap.limit == 0) {
                return wait(full(scoring, whom, 0));
            }
        }
        match self.ask_breaker(&controls, scoring, now) {
            Asked::Wait(because) => return wait(because),
            Asked::Probe => {
                if let Err(because) = self.probe(scoring, now).await {
                    return wait(because);
                }
            }
            Asked::Go => {}
        }
        match self.submit_permit(scoring, now).await {
            Ok(submit) => Admission::Go(Permit { submit, ..Permit::default() }),
            Err(because) => wait(because),
        }
    }

    /// A permit to send one request to the scoring's endpoint, if it needs one; else why there is none.
    async fn submit_permit(&self, scoring: &Scoring, now: OffsetDateTime) -> Result<Option<ledger::Permit>, String> {
        let settings = self.0.parts.rules.endpoint(&scoring.endpoint);
        let Some(most) = settings.and_then(|settings| settings.submits_per_minute) else { return Ok(None) };
        match self.ledger().use_permit(scoring.endpoint.key(), most, &scoring.id, now).await {
            Ok(Permitted::Yes(permit)) => Ok(Some(permit)),
            Ok(Permitted::No { until }) => {
                self.0.known.found_full(Scope::Endpoint(scoring.endpoint.key().clone()), now);
                Err(format!(
                    "endpoint {} takes {most} submits a minute (submitsPerMinute); the next one can go at {}",
                    scoring.endpoint,
                    lifecycle::decide::clock(until)
                ))
            }
            Err(error) => Err(format!("no submit could be claimed: {}", chain(&error))),
        }
    }

    /// Why an event goes behind others in this scope, if it does.
    fn behind(&self, scope: &Scope, controls: &Controls, now: OffsetDateTime) -> Option<String> {
        if let Some(sight) = controls.scopes.get(scope).filter(|sight| sight.waiting > 0) {
            let because = sight.because.as_deref().unwrap_or("no room");
            return Some(format!("it goes behind {} that wait already: {because}", sight.waiting));
        }
        self.0.known.is_full(scope, now).then(|| "it goes behind others that found no room a moment ago".to_owned())
    }

    async fn claim(
        &self,
        scope: &Scope,
        cap: Option<Cap>,
        scoring: &Scoring,
        now: OffsetDateTime,
    ) -> Result<Claimed, ledger::Error> {
        let Some(cap) = cap else { return Ok(Claimed::Unlimited) };
        let slot = self.ledger().claim_slot(scope, cap, &scoring.id, scoring.version, now).await?;
        Ok(slot.map_or(Claimed::Full(cap.limit), Claimed::Slot))
    }

    /// Gives back what was claimed for a submission that did not come to be.
    pub(super) async fn give_back(&self, permit: Permit) {
        // A slot that was ours already belongs to whoever claimed it.
        for slot in permit.slots.iter().filter(|slot| slot.fresh) {
            if let Err(error) = self.ledger().free_slot(slot).await {
                tracing::warn!(error = %chain(&error), "a slot was not given back; the tick frees it");
            }
        }
        if let Some(submit) = &permit.submit
            && let Err(error) = self.ledger().return_permit(submit).await
        {
            tracing::warn!(error = %chain(&error), "a submit was not given back; it counts for a minute");
        }
    }

    /// Gives back the slots of a scoring that holds none any more.
    pub(super) async fn free_slots_of(&self, scoring: &Scoring) {
        let controls = self.0.known.last().unwrap_or_default();
        for (scope, cap) in self.limits(&controls, &scoring.rule, &scoring.endpoint) {
            if cap.is_none() {
                continue;
            }
            if let Err(error) = self.ledger().free_slot_of(&scope, &scoring.id, scoring.version).await {
                tracing::warn!(scoring = %scoring.id, error = %chain(&error), "a slot was not given back; the tick frees it");
            }
        }
    }
}

enum Claimed {
    Unlimited,
    Slot(Slot),
    Full(u32),
}

fn full(scoring: &Scoring, whom: Whom, limit: u32) -> String {
    if limit == 0 {
        return match whom {
            Whom::Endpoint => format!(
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
    let of = match whom {
        Whom::Endpoint => format!("endpoint {}", scoring.endpoint),
        _ => format!("rule `{}`", scoring.rule),
    };
    format!("{slots} of {of} {} taken (maxInFlight)", if limit == 1 { "is" } else { "are" })
}
