//! What operators do to a scoring. It goes the one path, by a driver that has the ledger only: the next tick acts on it.

use std::sync::Arc;

use lifecycle::group::of_members;
use lifecycle::pending_order::{OrderedOf, PendingOrder, StartOrder};
use lifecycle::{
    Effect, Observation, Order, ResolveOrder, RuleId, Scoring, ScoringId, Status, Step, SweptPlace, UnversionedBlob,
};
use time::OffsetDateTime;

use crate::driver::{Driven, Driver, End, Evidence};
use crate::error::{Error, during};
use crate::ledger::{Ledger, Pending, Received};

/// Versions and generations of a blob that are looked through, the newest.
const MAX_BESIDE: usize = 100;
/// Attempts against the process that sweeps meanwhile.
const MAX_TRIES: usize = 5;

/// What became of an operator's resolution.
#[derive(Debug, Clone, PartialEq)]
pub enum ResolveOutcome {
    /// What the operator said holds, and is in the history.
    Recorded {
        /// The scoring as it is afterwards.
        scoring: Box<Scoring>,
        /// What is to be done by it and is not done yet: the next tick does it. `None`: nothing, or it is done.
        left: Option<Effect>,
    },
    /// The scoring stands as it did: tell the operator why.
    Refused(Refused),
}

/// Why an operator's resolution changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is nothing to say it of.
    #[error("there is no scoring {0}")]
    NoSuchScoring(ScoringId),
    /// It cannot be said of a scoring in this status.
    #[error("{0}")]
    NotNow(String),
    /// Somebody else moved the scoring on while it was said.
    #[error("it changed at this moment; check it and try again")]
    Overtaken,
}

/// Records what an operator says about a held scoring, with the ledger alone at hand. Nobody knows the rules here: how long a
/// job that is named this way may run is judged by its rule in the ticks.
pub async fn resolve(
    ledger: &Ledger,
    id: &ScoringId,
    order: &ResolveOrder,
    now: OffsetDateTime,
) -> Result<ResolveOutcome, Error> {
    say(ledger, id, Observation::Resolved(order.clone()), now).await
}

/// Records what an operator orders of a scoring, with the ledger alone at hand: the next tick acts on it. The same order again
/// changes nothing, so that one whose answer was lost may be given again.
pub async fn order(
    ledger: &Ledger,
    id: &ScoringId,
    order: &Order,
    now: OffsetDateTime,
) -> Result<ResolveOutcome, Error> {
    say(ledger, id, Observation::Ordered(order.clone()), now).await
}

/// What became of an order that the next reconcile run does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskOutcome {
    /// The order is in the ledger; giving it again before it is done changes nothing.
    Recorded,
    /// Nothing was written: why, as a half sentence for people.
    Refused(String),
}

/// Orders that a blob is taken in as it is now, whatever became of its events, or whether one came.
pub async fn replay(
    ledger: &Ledger,
    blob: UnversionedBlob,
    by: &str,
    reason: &str,
    now: OffsetDateTime,
) -> Result<AskOutcome, Error> {
    ask(ledger, PendingOrder::new(blob, OrderedOf::Replay, by, reason, now)).await
}

/// Orders that a blob is scored as it is now under one rule. Its scoring is found by the order's key, once it is on record.
pub async fn order_start(
    ledger: &Ledger,
    blob: UnversionedBlob,
    start: StartOrder,
    by: &str,
    reason: &str,
    now: OffsetDateTime,
) -> Result<AskOutcome, Error> {
    ask(ledger, PendingOrder::new(blob, OrderedOf::Start(start), by, reason, now)).await
}

/// Orders that the version of a scoring is scored once more.
pub async fn rescore(
    ledger: &Ledger,
    scoring: &Scoring,
    by: &str,
    reason: &str,
    now: OffsetDateTime,
) -> Result<AskOutcome, Error> {
    if let Some(why) = rescore_refusal(ledger, scoring).await? {
        return Ok(AskOutcome::Refused(why));
    }
    let blob = UnversionedBlob::from(scoring.blob.clone());
    ask(ledger, PendingOrder::new(blob, OrderedOf::Rescore(scoring.id.clone()), by, reason, now)).await
}

/// Orders that the places of a rule, or of all, are swept now, and all of their versions asked about. Returns them; none where no run
/// of sweeps has come to them yet.
pub async fn order_sweep(
    ledger: &Ledger,
    rule: Option<&RuleId>,
    now: OffsetDateTime,
) -> Result<Vec<SweptPlace>, Error> {
    let ordering = || during("ordering a sweep");
    let mut ordered = Vec::new();
    for _ in 0..MAX_TRIES {
        let kept = ledger.swept_places().await.map_err(ordering())?.read;
        let wanted = kept.into_iter().filter(|(place, _)| rule.is_none_or(|rule| place.rule == *rule));
        let left: Vec<_> =
            wanted.filter(|(place, _)| !ordered.iter().any(|done: &SweptPlace| done.key == place.key)).collect();
        if left.is_empty() {
            break;
        }
        for (place, etag) in left {
            let place = place.ordered(now);
            if ledger.keep_swept_place(&place, Some(&etag)).await.map_err(ordering())?.is_some() {
                ordered.push(place);
            }
        }
    }
    Ok(ordered)
}

/// Why a scoring is not scored once more as it stands, whatever other generations of it there are.
pub fn rescore_refused_now(scoring: &Scoring) -> Option<String> {
    if scoring.is_group() {
        return Some(format!("it is a group; {}", of_members(&scoring.id, "rescore")));
    }
    match scoring.status {
        Status::Scored => None,
        Status::Failed | Status::Cancelled | Status::Gone => {
            Some(format!("it is {}; `scorekeeper retry` tries it again", scoring.status))
        }
        status => Some(format!("only what is scored can be scored again, and this one is {status}")),
    }
}

/// Why a scoring is not scored once more; `None`: it is, if that is ordered.
pub async fn rescore_refusal(ledger: &Ledger, scoring: &Scoring) -> Result<Option<String>, Error> {
    if let Some(why) = rescore_refused_now(scoring) {
        return Ok(Some(why));
    }
    let reading = || during("reading the generations of a scoring");
    let beside = ledger.received(&scoring.blob.container, &scoring.blob.path, MAX_BESIDE).await.map_err(reading())?;
    for row in beside.iter() {
        let Received::Scoring(row) = row else { continue };
        let Some((other, _)) = ledger.get(&row.id).await.map_err(reading())? else { continue };
        let next = other.rule == scoring.rule && other.blob.etag == scoring.blob.etag;
        if next && other.generation > scoring.generation {
            return Ok(Some(format!("generation {} of it is {}, {}", other.generation, other.id, other.status)));
        }
    }
    Ok(None)
}

async fn ask(ledger: &Ledger, order: PendingOrder) -> Result<AskOutcome, Error> {
    ledger.keep_pending(&Pending::Order(order)).await.map_err(during("keeping an operator's order"))?;
    Ok(AskOutcome::Recorded)
}

/// Why an order would change nothing now; `None`: it would be done. Nothing is recorded.
pub fn refusal(ledger: &Ledger, scoring: &Scoring, order: &Order, now: OffsetDateTime) -> Option<String> {
    let driver = Driver::over_ledger(ledger.clone(), Arc::new(move || now));
    match driver.preview(scoring, &Observation::Ordered(order.clone()), now) {
        Step::Wait { reason } => Some(reason),
        Step::Move { .. } | Step::LookAtInput | Step::Publish(_) => None,
    }
}

async fn say(
    ledger: &Ledger,
    id: &ScoringId,
    observation: Observation,
    now: OffsetDateTime,
) -> Result<ResolveOutcome, Error> {
    let driver = Driver::over_ledger(ledger.clone(), Arc::new(move || now));
    let said = Evidence::Given(observation);
    Ok(match driver.drive(id, said).await? {
        None => ResolveOutcome::Refused(Refused::NoSuchScoring(id.clone())),
        Some(Driven { moves: 0, end: End::Waits { reason }, .. }) => ResolveOutcome::Refused(Refused::NotNow(reason)),
        Some(Driven { moves: 0, .. }) => ResolveOutcome::Refused(Refused::Overtaken),
        Some(Driven { scoring, end, .. }) => {
            let left = if let End::Left(effect) = end { Some(effect) } else { None };
            ResolveOutcome::Recorded { scoring, left }
        }
    })
}
