//! What operators do to a scoring. It goes the one path, by a driver that has the ledger only: the next tick acts on it.

use std::sync::Arc;

use lifecycle::{Effect, Observation, Order, Resolution, Scoring, ScoringId};
use time::OffsetDateTime;

use crate::driver::{Driven, Driver, End, Evidence};
use crate::error::Error;
use crate::ledger::Ledger;

/// What became of an operator's resolution.
#[derive(Debug, Clone, PartialEq)]
pub enum ResolveOutcome {
    /// It is on record.
    Recorded {
        /// The scoring after it.
        scoring: Box<Scoring>,
        /// What is to be done by it and is not done yet: the next tick does it. `None`: nothing, or it is done.
        left: Option<Effect>,
    },
    /// Nothing was changed.
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
    resolution: Resolution,
    now: OffsetDateTime,
) -> Result<ResolveOutcome, Error> {
    say(ledger, id, Observation::Resolved(resolution), now).await
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
            ResolveOutcome::Recorded { scoring: Box::new(scoring), left }
        }
    })
}
