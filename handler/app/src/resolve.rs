//! A person's word about a held scoring. It needs the ledger alone: the next tick acts on it.

use lifecycle::{Observation, Resolution, Scoring, ScoringId, Step, decide};
use time::OffsetDateTime;

use crate::ledger::{Ledger, Recorded};
use crate::{Error, during};

/// What became of a person's word.
#[derive(Debug, Clone, PartialEq)]
pub enum ResolveOutcome {
    /// It is on record; the scoring after it.
    Recorded(Box<Scoring>),
    /// Nothing was changed: why.
    Refused(String),
}

/// Records what a person says about a held scoring. Nobody knows the rules here: how long a job that is named this way
/// may run is judged by its rule in the ticks.
pub async fn resolve(
    ledger: &Ledger,
    id: &ScoringId,
    resolution: Resolution,
    now: OffsetDateTime,
) -> Result<ResolveOutcome, Error> {
    let Some((scoring, etag)) = ledger.get(id).await.map_err(during("reading a scoring"))? else {
        return Ok(ResolveOutcome::Refused(format!("there is no scoring {id}")));
    };
    let (next, entry) = match decide(&scoring, None, &Observation::Resolved(resolution), now) {
        Step::Wait { reason } => return Ok(ResolveOutcome::Refused(reason)),
        Step::Move { next, entry, .. } => (next, entry),
    };
    match ledger.record(&etag, &next, &entry).await.map_err(during("recording a person's word"))? {
        Recorded::Done(_) => Ok(ResolveOutcome::Recorded(next)),
        Recorded::Lost => Ok(ResolveOutcome::Refused("it was moved on at this moment; look at it again".to_owned())),
    }
}
