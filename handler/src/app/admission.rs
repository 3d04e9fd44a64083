//! Admission: what may be submitted now, and why the rest may not.
//!
//! Everything that a submission needs beside its turn is claimed here, before the intent is recorded, and given back if
//! nothing comes of it. A claim is held for the way to that record only ([`SLOT_WAY`]); who dies on the way leaves it to
//! the tick. Asked by the fast path of events and by the tick, so that both go by the same rules.
//!
//! Never: a claim that is kept while another one is waited for; a submission past a limit that could not be read.

use futures::future::join;
use lifecycle::{Rule, Scoring, Seen};
use time::OffsetDateTime;

use super::{App, chain};
use crate::ledger::{self, SLOT_WAY, Scope, Slot};

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
}

/// What was claimed for a submission.
#[derive(Default)]
#[must_use = "what was claimed is given back, or the tick has to"]
pub(super) struct Permit {
    slots: Vec<Slot>,
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
    /// Asks whether a queued scoring may be submitted, and claims what it needs for that.
    pub(super) async fn admit(&self, scoring: &Scoring, rule: Option<&Rule>, now: OffsetDateTime) -> Admission {
        // `decide` tells why these wait; nothing is claimed for them.
        let Some(rule) = rule.filter(|_| scoring.due <= now) else {
            return Admission::Wait { because: "not due".to_owned(), whom: Whom::One };
        };
        let [(by_rule, of_rule), (by_endpoint, of_endpoint)] = self.limits(&rule.id, &scoring.endpoint);
        let claims =
            join(self.claim(&by_rule, of_rule, scoring, now), self.claim(&by_endpoint, of_endpoint, scoring, now));
        let (first, second) = claims.await;
        let mut permit = Permit { slots: Vec::new(), claimed: None };
        let mut refusal = None;
        for (claim, whom) in [(first, Whom::Rule), (second, Whom::Endpoint)] {
            match claim {
                Ok(Claimed::Unlimited) => {}
                Ok(Claimed::Slot(slot)) => {
                    permit.claimed = Some(now);
                    permit.slots.push(slot);
                }
                Ok(Claimed::Full(limit)) => refusal = Some((full(scoring, whom, limit), whom)),
                Err(error) => refusal = Some((format!("no slot could be claimed: {}", chain(&error)), whom)),
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

    /// The limits that a scoring of this rule to this endpoint is under.
    pub(super) fn limits(&self, rule: &str, endpoint: &str) -> [(Scope, Option<u32>); 2] {
        let rules = &self.0.parts.rules;
        [
            (Scope::rule(rule), rules.get(rule).and_then(|rule| rule.max_in_flight)),
            (Scope::endpoint(endpoint), rules.endpoint(endpoint).and_then(|settings| settings.max_in_flight)),
        ]
    }

    async fn claim(
        &self,
        scope: &Scope,
        limit: Option<u32>,
        scoring: &Scoring,
        now: OffsetDateTime,
    ) -> Result<Claimed, ledger::Error> {
        let Some(limit) = limit else { return Ok(Claimed::Unlimited) };
        let slot = self.ledger().claim_slot(scope, limit, &scoring.id, scoring.version, now).await?;
        Ok(slot.map_or(Claimed::Full(limit), Claimed::Slot))
    }

    /// Gives back what was claimed for a submission that did not come to be.
    pub(super) async fn give_back(&self, permit: Permit) {
        // A slot that was ours already belongs to whoever claimed it.
        for slot in permit.slots.iter().filter(|slot| slot.fresh) {
            if let Err(error) = self.ledger().free_slot(slot).await {
                tracing::warn!(error = %chain(&error), "a slot was not given back; the tick frees it");
            }
        }
    }

    /// Gives back the slots of a scoring that holds none any more.
    pub(super) async fn free_slots_of(&self, scoring: &Scoring) {
        for (scope, _) in self.limits(&scoring.rule, &scoring.endpoint).into_iter().filter(|(_, limit)| limit.is_some())
        {
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
    let slots = if limit == 1 { "the one slot".to_owned() } else { format!("all {limit} slots") };
    let of = match whom {
        Whom::Endpoint => format!("endpoint {}", scoring.endpoint),
        _ => format!("rule `{}`", scoring.rule),
    };
    format!("{slots} of {of} {} taken (maxInFlight)", if limit == 1 { "is" } else { "are" })
}
