//! Admission: what may be submitted now, and why the rest may not.
//!
//! Everything that a submission needs beside its turn is claimed here, before the intent is recorded, and given back if
//! nothing comes of it. A claim is held for the way to that record only ([`SLOT_WAY`]); who dies on the way leaves it to
//! the tick. Asked by the fast path of events and by the tick, so that both go by the same rules.
//!
//! What all processes are to know (`ledger/controls.rs`) is read at most every [`FRESH`], so that the fast path does not
//! ask for it each time; and so it is known with that delay.
//!
//! An event goes behind what waits already: while a tick could not submit all that was due, or this process just found
//! no room, events are left to the queue. Only for a moment after the first scoring has to wait, while other processes do
//! not know of it yet, can one of their events overtake it.
//!
//! Never: a claim that is kept while another one is waited for; a submission past a limit that could not be read.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::join;
use lifecycle::breaker::{Asked, Breaker, Happened, meaning};
use lifecycle::{EndpointKey, Event, Rule, Scoring, Seen};
use time::{Duration, OffsetDateTime};

use super::{App, chain};
use crate::ledger::{self, Cap, Controls, DeploymentBreaker, Permitted, SLOT_WAY, Scope, Sight, Slot};

/// Controls that were read this long ago are read again before anything is submitted.
pub(super) const FRESH: Duration = Duration::seconds(15);
/// After this process found no room, its events are left to the queue for this long: until a tick, which comes every
/// minute, has told all processes, and this one has read it.
const FULL: Duration = Duration::seconds(75);

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    /// An event: it goes behind what waits.
    Event,
    /// The queue, or somebody who was told to submit this one: its turn has come.
    Queue,
}

/// What this process knows of the controls.
#[derive(Default)]
pub(super) struct Known {
    read: Mutex<Option<(OffsetDateTime, Arc<Controls>)>>,
    /// One query at a time, however many events come at once.
    reading: tokio::sync::Mutex<()>,
    /// One change of a breaker at a time: those of this process need not race each other.
    changing: tokio::sync::Mutex<()>,
    /// Scopes without room, and until when that is believed.
    full: Mutex<HashMap<Scope, OffsetDateTime>>,
}

impl Known {
    /// The controls as they were last read, however long ago.
    fn last(&self) -> Option<Arc<Controls>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(_, controls)| Arc::clone(controls))
    }

    /// The controls, if they were read less than [`FRESH`] ago. A clock that was set back makes them old.
    fn fresh(&self, now: OffsetDateTime) -> Option<Arc<Controls>> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = read.as_ref().filter(|(at, _)| *at <= now && now - *at < FRESH);
        fresh.map(|(_, controls)| Arc::clone(controls))
    }

    fn found_full(&self, scope: Scope, now: OffsetDateTime) {
        self.full.lock().unwrap_or_else(PoisonError::into_inner).insert(scope, now + FULL);
    }

    fn is_full(&self, scope: &Scope, now: OffsetDateTime) -> bool {
        let full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        full.get(scope).is_some_and(|until| now < *until)
    }

    /// A tick of this process has told all others of `scopes`: what was found full before says nothing beside that.
    pub(super) fn told(&self, scopes: BTreeMap<Scope, Sight>) {
        self.full.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if let Some((_, controls)) = &mut *self.read.lock().unwrap_or_else(PoisonError::into_inner) {
            Arc::make_mut(controls).scopes = scopes;
        }
    }

    /// This process has changed a breaker.
    fn told_breaker(&self, key: EndpointKey, breaker: DeploymentBreaker) {
        if let Some((_, controls)) = &mut *self.read.lock().unwrap_or_else(PoisonError::into_inner) {
            Arc::make_mut(controls).breakers.insert(key, breaker);
        }
    }
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
    /// The controls, at most [`FRESH`] old.
    pub(super) async fn controls(&self, now: OffsetDateTime) -> Result<Arc<Controls>, ledger::Error> {
        let known = &self.0.known;
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
        *self.0.known.read.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, Arc::clone(&controls)));
        Ok(controls)
    }

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

    fn ask_breaker(&self, controls: &Controls, scoring: &Scoring, now: OffsetDateTime) -> Asked {
        let breaker = controls.breaker(&scoring.endpoint, scoring.deployment.as_deref());
        match breaker.ask(&scoring.id, &self.0.parts.rules.breaker(&scoring.endpoint), now) {
            Asked::Wait(because) => Asked::Wait(format!("{because}; {}", override_of(scoring))),
            asked => asked,
        }
    }

    /// Makes the scoring the probe of its deployment; else why it is not.
    async fn probe(&self, scoring: &Scoring, now: OffsetDateTime) -> Result<(), String> {
        let happened = Happened::Probes(scoring.id.clone());
        match self.change_breaker(scoring, &happened, now).await {
            Ok(breaker) => match breaker.ask(&scoring.id, &self.0.parts.rules.breaker(&scoring.endpoint), now) {
                Asked::Go => {
                    tracing::info!(scoring = %scoring.id, "{} probes its deployment: {}", scoring.id, breaker.reason());
                    Ok(())
                }
                Asked::Wait(because) => Err(because),
                Asked::Probe => Err("another scoring was faster to probe the deployment".to_owned()),
            },
            Err(error) => Err(format!("the circuit breaker cannot be changed: {}", chain(&error))),
        }
    }

    /// Tells the breaker of a scoring's deployment what became of an attempt. `next` is the scoring after the move.
    pub(super) async fn tell_breaker(&self, next: &Scoring, event: Option<Event>, now: OffsetDateTime) {
        let Some(happened) = event.and_then(|event| meaning(event, &next.id, next.error.as_deref())) else { return };
        if !self.0.parts.rules.breaker(&next.endpoint).is_on() {
            return;
        }
        if !matches!(happened, Happened::Failed { .. }) {
            // A success, by far the most frequent, is written only where it can change something.
            let known = self.0.known.last().unwrap_or_default();
            if known.breaker(&next.endpoint, next.deployment.as_deref()) == Breaker::default() {
                return;
            }
        }
        if let Err(error) = self.change_breaker(next, &happened, now).await {
            tracing::warn!(scoring = %next.id, error = %chain(&error), "the circuit breaker was not told of an attempt of {}", next.id);
        }
    }

    async fn change_breaker(
        &self,
        scoring: &Scoring,
        happened: &Happened,
        now: OffsetDateTime,
    ) -> Result<Breaker, ledger::Error> {
        let (endpoint, deployment) = (&scoring.endpoint, scoring.deployment.as_deref());
        let settings = self.0.parts.rules.breaker(endpoint);
        let before = self.0.known.last().is_some_and(|known| known.breaker(endpoint, deployment).open_until.is_some());
        let _one = self.0.known.changing.lock().await;
        let known = self.ledger().change_breaker(endpoint, deployment, happened, &settings, now).await?;
        let (breaker, name) = (known.breaker.clone(), deployment.unwrap_or("(default)"));
        if breaker.open_until.is_some() && !before {
            tracing::warn!(endpoint, deployment, "deployment {name} of {endpoint}: {}", breaker.reason());
        } else if before && breaker.open_until.is_none() {
            tracing::info!(endpoint, deployment, "deployment {name} of {endpoint}: the circuit breaker is closed");
        }
        self.0.known.told_breaker(EndpointKey::of_deployment(endpoint, deployment), known);
        Ok(breaker)
    }

    /// Closes a breaker that the rules have switched off.
    pub(super) async fn close_breaker(&self, known: &DeploymentBreaker) {
        let (endpoint, deployment) = (&known.endpoint, known.deployment.as_deref());
        let settings = self.0.parts.rules.breaker(endpoint);
        let closed = self.ledger().change_breaker(endpoint, deployment, &Happened::Closed, &settings, self.now()).await;
        if let Err(error) = closed {
            tracing::warn!(endpoint, deployment, error = %chain(&error), "the circuit breaker was not closed");
        }
    }

    /// A permit to send one request to the scoring's endpoint, if it needs one; else why there is none.
    async fn submit_permit(&self, scoring: &Scoring, now: OffsetDateTime) -> Result<Option<ledger::Permit>, String> {
        let settings = self.0.parts.rules.endpoint(&scoring.endpoint);
        let Some(most) = settings.and_then(|settings| settings.submits_per_minute) else { return Ok(None) };
        match self.ledger().use_permit(&EndpointKey::of(&scoring.endpoint), most, &scoring.id, now).await {
            Ok(Permitted::Yes(permit)) => Ok(Some(permit)),
            Ok(Permitted::No { until }) => {
                self.0.known.found_full(Scope::endpoint(&scoring.endpoint), now);
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

    /// The limits that a scoring of this rule to this endpoint is under.
    pub(super) fn limits(&self, controls: &Controls, rule: &str, endpoint: &str) -> [(Scope, Option<Cap>); 2] {
        let rules = &self.0.parts.rules;
        let of_rule = rules.get(rule).and_then(|rule| rule.max_in_flight);
        let of_endpoint = rules.endpoint(endpoint).and_then(|settings| settings.max_in_flight);
        [(Scope::rule(rule), of_rule), (Scope::endpoint(endpoint), of_endpoint)].map(|(scope, limit)| {
            let cap = match controls.limits.get(&scope) {
                // Nobody knows for how long each process still goes by the limit before: look before each claim.
                Some(live) => Some(Cap { limit: live.limit, surplus: true }),
                None => limit.map(|limit| {
                    let surplus = controls.scopes.get(&scope).is_some_and(|sight| sight.surplus);
                    Cap { limit, surplus }
                }),
            };
            (scope, cap)
        })
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

/// How an operator lets a deployment's scorings go at once.
fn override_of(scoring: &Scoring) -> String {
    let deployment = scoring.deployment.as_ref().map(|name| format!(" --deployment {name}")).unwrap_or_default();
    format!("scorekeeper breaker close --endpoint {}{deployment} lets all go at once", scoring.endpoint)
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
