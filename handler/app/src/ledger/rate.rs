//! Submit rate: how `submitsPerMinute` of an endpoint holds over all processes.
//!
//! An endpoint with N submits a minute has N permits, rows in the partition `rate~endpoint~{hash}` that remember when they
//! were last used. A permit may be used again a minute later; using it is an insert, or a replace of the version that was
//! read, so that one of several wins. In any minute there are at most N uses, and nothing is to be cleaned up: who dies
//! with a permit has used it, no more. A counter per minute was rejected: around its turn it lets twice as many through.
//!
//! The minute is measured by the users' own clocks: it is shorter or longer by what they differ.

use std::collections::HashSet;

use lifecycle::schedule::is_ahead;
use lifecycle::{EndpointKey, ScoringId};
use time::{Duration, OffsetDateTime};

use super::slots::{MAX_TRIES, first_number, free_numbers};
use super::{Error, Ledger};
use crate::ports::table_store::{self, ETag, Entity, IfMatch, Key, Op, Range};

/// For how long a permit is used up.
const MINUTE: Duration = Duration::MINUTE;

/// A permit that was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmitPermit {
    key: Key,
    etag: ETag,
    /// When it was used before this; what gives it back writes this again. `None`: never, and its row goes.
    before: Option<OffsetDateTime>,
}

/// What came of asking for a permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PermitOutcome {
    /// A permit is used up for a minute: submit now, or give it back.
    Yes(SubmitPermit),
    /// All are used up, or others were quicker: submit later.
    No {
        /// When the next can be used.
        until: OffsetDateTime,
    },
}

impl Ledger {
    /// Uses one of the `max` permits of an endpoint.
    ///
    /// `clock` is read after the permits were: a process that slept on the way would take one that was used meanwhile for
    /// one of a clock that is ahead, and use it a second time within its minute.
    pub async fn use_permit(
        &self,
        endpoint: &EndpointKey,
        max: u32,
        owner: &ScoringId,
        clock: impl Fn() -> OffsetDateTime + Send,
    ) -> Result<PermitOutcome, Error> {
        let partition = format!("rate~endpoint~{endpoint}");
        let range = Range { partition: partition.clone(), from: "0".to_owned(), below: ":".to_owned() };
        let rows = self.all(&self.0.state, &range, usize::MAX).await?;
        let now = clock();
        let uses: Vec<(u32, OffsetDateTime, ETag)> = rows
            .into_iter()
            .filter_map(|row| Some((row.entity.key.row.parse().ok()?, row.entity.time("UsedTime")?, row.etag)))
            .collect();
        // One that was used by a clock that was wrong would be used up for as long as that clock was ahead.
        let used_up = |used: &OffsetDateTime| now - *used < MINUTE && !is_ahead(*used, now);
        let taken: HashSet<u32> =
            uses.iter().filter(|(_, used, _)| used_up(used)).map(|(number, ..)| *number).collect();
        let first = first_number(owner, max);
        for number in free_numbers(&taken, max, first).take(MAX_TRIES).collect::<Vec<_>>() {
            let before = uses.iter().find(|(other, ..)| *other == number);
            let op_id = self.op_id();
            let key = Key::new(partition.clone(), format!("{number:04}"));
            let row = Entity::new(key.clone())
                .with("UsedTime", now)
                .with("Owner", owner.as_str())
                .with("OpId", op_id.as_str());
            let op = match before {
                None => Op::Insert(row),
                Some((_, _, etag)) => Op::Replace(row, IfMatch::Tag(etag.clone())),
            };
            // Not read back on a conflict: whoever won has used it, and there may be another.
            let etag = match self.write(&[op]).await {
                Ok(etags) => Some(super::first(etags)?),
                Err(
                    table_store::Error::AlreadyExists { .. }
                    | table_store::Error::Conflict { .. }
                    | table_store::Error::Missing { .. },
                ) => None,
                Err(table_store::Error::Ambiguous(_)) => {
                    let row = self.row(&key).await?.filter(|row| row.entity.string("OpId") == Some(&op_id));
                    row.map(|row| row.etag)
                }
                Err(error) => return Err(error.into()),
            };
            if let Some(etag) = etag {
                return Ok(PermitOutcome::Yes(SubmitPermit { key, etag, before: before.map(|(_, used, _)| *used) }));
            }
        }
        let next = uses.iter().filter(|(_, used, _)| used_up(used)).map(|(_, used, _)| *used + MINUTE).min();
        Ok(PermitOutcome::No { until: next.unwrap_or(now) })
    }

    /// Gives a permit back that nothing was sent with.
    pub async fn release_permit(&self, permit: &SubmitPermit) -> Result<(), Error> {
        let tag = IfMatch::Tag(permit.etag.clone());
        let op = match permit.before {
            None => Op::Delete(permit.key.clone(), tag),
            Some(used) => Op::Replace(Entity::new(permit.key.clone()).with("UsedTime", used), tag),
        };
        match self.write(&[op]).await {
            Ok(_) | Err(table_store::Error::Missing { .. } | table_store::Error::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
