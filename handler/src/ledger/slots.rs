//! Slots: how `maxInFlight` holds over all processes.
//!
//! A rule with a limit of N has the row keys `0000` to N-1 in the partition `slots~{rule}`; inserting one claims it, and
//! the table lets only one insert win. A slot is claimed *before* the transaction that makes a scoring `submitting`, and
//! deleted after the one that ends that; who dies in between leaves a slot whose owner holds none, which the tick
//! frees. A per-process counter was rejected: on Flex Consumption events and timers never share a process.
//!
//! Two drivers of one scoring share its slot, and only one of them wins the scoring. So a claim that finds the slot
//! taken by its own scoring writes it anew: whoever claimed it before, gives it back for an earlier version of the
//! scoring, or saw it as an orphan holds another ETag or version by then, and leaves it alone.

use std::collections::HashSet;

use lifecycle::ScoringId;
use time::{Duration, OffsetDateTime};

use crate::table_store::{self, ETag, Entity, IfMatch, Key, Op, Range};

use super::{Error, Ledger};

/// A slot younger than this is not freed: its owner may be on its way to the transaction.
const GRACE: Duration = Duration::minutes(3);
/// Inserts that may lose against others before the rule counts as full for now.
const TRIES: usize = 3;

/// A slot that a scoring has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    rule: String,
    number: u32,
    etag: ETag,
    /// It was claimed just now, not found to be ours already. Only such a slot may be given back by who claimed it.
    pub fresh: bool,
}

fn partition(rule: &str) -> String {
    format!("slots~{rule}")
}

fn key(rule: &str, number: u32) -> Key {
    Key::new(partition(rule), format!("{number:04}"))
}

impl Ledger {
    /// Claims one of `limit` slots of a rule for a scoring in its present version; `None` when all are taken.
    pub async fn claim_slot(
        &self,
        rule: &str,
        limit: u32,
        owner: &ScoringId,
        version: i64,
        now: OffsetDateTime,
    ) -> Result<Option<Slot>, Error> {
        let claim = Claim { rule, owner, version, now };
        // The first try is blind, at a place that differs from scoring to scoring: one round trip while there is room.
        let digits = u32::from_str_radix(&owner.as_str()[..8], 16).unwrap_or(0); // an id is hex by construction
        let first = digits % limit.max(1);
        if let Some(slot) = self.insert_slot(&claim, first).await? {
            return Ok(Some(slot));
        }
        let mut taken = HashSet::new();
        for Taken { slot, owner: slot_owner, version: before, .. } in self.slots(rule).await? {
            if slot_owner == owner.as_str() {
                let claim = Claim { version: version.max(before), ..claim };
                return self.renew_slot(&claim, slot).await;
            }
            taken.insert(slot.number);
        }
        // More slots than the limit are taken for a while after the limit was lowered.
        if taken.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
            return Ok(None);
        }
        let free = (0..limit).map(|n| (first + n) % limit).filter(|n| !taken.contains(n));
        for number in free.take(TRIES) {
            if let Some(slot) = self.insert_slot(&claim, number).await? {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }

    async fn insert_slot(&self, claim: &Claim<'_>, number: u32) -> Result<Option<Slot>, Error> {
        let ours = |etag| Some(Slot { rule: claim.rule.to_owned(), number, etag, fresh: true });
        match self.write(&[Op::Insert(claim.row(number))]).await {
            Ok(etags) => Ok(ours(super::first(etags)?)),
            Err(table_store::Error::AlreadyExists { .. }) => Ok(None),
            Err(table_store::Error::Ambiguous(_)) => {
                let row = self.row(&key(claim.rule, number)).await?;
                let row = row.filter(|row| row.entity.string("Owner") == Some(claim.owner.as_str()));
                Ok(row.and_then(|row| ours(row.etag)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a slot that the scoring has already, for its present version.
    async fn renew_slot(&self, claim: &Claim<'_>, slot: Slot) -> Result<Option<Slot>, Error> {
        let renewed = Op::Replace(claim.row(slot.number), IfMatch::Tag(slot.etag.clone()));
        match self.write(&[renewed]).await {
            Ok(etags) => Ok(Some(Slot { etag: super::first(etags)?, ..slot })),
            // Freed, or renewed by another driver of this scoring, a moment ago: not ours to use, nor to give back.
            Err(table_store::Error::Missing { .. } | table_store::Error::Conflict { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives a slot back. A failure is harmless: the tick frees it later.
    pub async fn free_slot(&self, slot: &Slot) -> Result<(), Error> {
        // By version: a slot that was freed meanwhile and claimed by another must not go.
        match self.write(&[Op::Delete(key(&slot.rule, slot.number), IfMatch::Tag(slot.etag.clone()))]).await {
            Ok(_) | Err(table_store::Error::Missing { .. } | table_store::Error::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives back the slot that a scoring held under a rule before `version`, if it has one. A slot that was claimed
    /// for this version or a later one belongs to the next attempt.
    pub async fn free_slot_of(&self, rule: &str, owner: &ScoringId, version: i64) -> Result<(), Error> {
        for taken in self.slots(rule).await? {
            if taken.owner == owner.as_str() && taken.version < version {
                self.free_slot(&taken.slot).await?;
            }
        }
        Ok(())
    }

    /// Frees the slots whose owners hold none: `holders` are the scorings of this rule that do. Returns how many.
    pub async fn free_orphaned_slots(
        &self,
        rule: &str,
        holders: &HashSet<ScoringId>,
        now: OffsetDateTime,
    ) -> Result<usize, Error> {
        let mut freed = 0;
        let mut seen = HashSet::new();
        for taken in self.slots(rule).await? {
            let held = ScoringId::read(&taken.owner).is_some_and(|id| holders.contains(&id));
            let second = !seen.insert(taken.owner);
            if (!held || second) && now - taken.claimed >= GRACE {
                self.free_slot(&taken.slot).await?;
                freed += 1;
            }
        }
        Ok(freed)
    }

    async fn slots(&self, rule: &str) -> Result<Vec<Taken>, Error> {
        let range = Range { partition: partition(rule), from: "0".to_owned(), below: ":".to_owned() };
        let rows = self.all(&self.0.state, &range, usize::MAX).await?;
        let taken = rows.into_iter().filter_map(|row| {
            let number = row.entity.key.row.parse().ok()?;
            let (owner, claimed) = (row.entity.string("Owner")?.to_owned(), row.entity.time("ClaimedTime")?);
            let version = row.entity.int64("OwnerVersion").unwrap_or(0);
            let slot = Slot { rule: rule.to_owned(), number, etag: row.etag, fresh: false };
            Some(Taken { slot, owner, version, claimed })
        });
        Ok(taken.collect())
    }
}

/// Who claims a slot.
struct Claim<'a> {
    rule: &'a str,
    owner: &'a ScoringId,
    version: i64,
    now: OffsetDateTime,
}

impl Claim<'_> {
    fn row(&self, number: u32) -> Entity {
        Entity::new(key(self.rule, number))
            .with("Owner", self.owner.as_str())
            .with("OwnerVersion", self.version)
            .with("ClaimedTime", self.now)
    }
}

struct Taken {
    slot: Slot,
    owner: String,
    version: i64,
    claimed: OffsetDateTime,
}
