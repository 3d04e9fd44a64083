//! Slots: how `maxInFlight` of rules and endpoints holds over all processes.
//!
//! A scope (a rule or an endpoint) with a limit of N has the row keys `0000` to N-1 in a partition of its own; inserting
//! one claims it, and the table lets only one insert win. A slot is claimed *before* the transaction that makes a
//! scoring `submitting`, and deleted after the one that ends that; who dies in between leaves a slot whose owner holds
//! none, which the tick frees. A per-process counter was rejected: on Flex Consumption events and timers never share a
//! process.
//!
//! Two drivers of one scoring share its slot, and only one of them wins the scoring. So a claim that finds the slot
//! taken by its own scoring writes it anew: whoever claimed it before, gives it back for an earlier version of the
//! scoring, or saw it as an orphan holds another ETag or version by then, and leaves it alone.
//!
//! A scoring under two limits claims a slot of each and gives one back when it does not get the other. Nobody waits for
//! a slot while holding one, so there is no deadlock.
//!
//! After a limit was lowered, or set where there was none, more slots may be taken than there may be. [`free_numbers`]
//! says which may still be claimed so that no interleaving of claims passes the limit.

use std::collections::{BTreeSet, HashSet};
use std::fmt;

use lifecycle::schedule::is_ahead;
use lifecycle::{EndpointKey, ScoringId};
use time::{Duration, OffsetDateTime};

use crate::ports::table_store::{self, ETag, Entity, IfMatch, Key, Op, Range};

use super::{Error, Ledger};

/// A slot younger than this is not freed: its owner may be on its way to the transaction. Three minutes for that way,
/// and five by which the clocks of two processes may differ.
pub const SLOT_EXPIRY: Duration = Duration::minutes(8);
/// Who has a slot for longer than this and has not recorded what it is for gives it back: others may soon free it.
pub const MAX_CLAIM_AGE: Duration = Duration::minutes(2);
/// Slots claimed by one tick for jobs that run without; the next tick goes on.
const MAX_ADOPTED_SLOTS: usize = 200;
/// Tries that may lose against others before there is no room for now.
pub(super) const MAX_TRIES: usize = 3;

/// What a limit of scorings in flight is of: a rule or an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LimitScope {
    /// The scorings of the rule of this id.
    Rule(String),
    /// The scorings that go to this endpoint, under whichever rule.
    Endpoint(EndpointKey),
}

impl LimitScope {
    /// The rule of this id.
    pub fn rule(id: &str) -> Self {
        Self::Rule(id.to_owned())
    }

    /// The endpoint of this invoke URI.
    pub fn endpoint(uri: &str) -> Self {
        Self::Endpoint(EndpointKey::of(uri))
    }

    /// Its partition of slots. A rule's id has no `~`, so the two kinds cannot meet.
    fn partition(&self) -> String {
        match self {
            Self::Rule(id) => format!("slots~{id}"),
            Self::Endpoint(key) => format!("slots~endpoint~{key}"),
        }
    }

    fn slot_key(&self, number: u32) -> Key {
        Key::new(self.partition(), format!("{number:04}"))
    }
}

/// How many slots a scope has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cap {
    /// Most scorings at one time; 0: none.
    pub limit: u32,
    /// More may be taken than that, so a claim looks before its first try. It costs one round trip more.
    pub surplus: bool,
}

/// A slot that a scoring has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    scope: LimitScope,
    number: u32,
    etag: ETag,
    /// It was claimed just now, not found to be ours already. Only such a slot may be given back by who claimed it.
    pub fresh: bool,
}

impl Ledger {
    /// Claims a slot of a scope for a scoring in its present version; `None` when all are taken.
    pub async fn claim_slot(
        &self,
        scope: &LimitScope,
        Cap { limit, surplus }: Cap,
        owner: &ScoringId,
        version: i64,
        now: OffsetDateTime,
    ) -> Result<Option<Slot>, Error> {
        // Paused: not even a look, so that a pause costs nothing however many wait.
        if limit == 0 {
            return Ok(None);
        }
        let claim = Claim { scope, owner, version, now };
        // The first try is blind: one round trip while there is room.
        let first = first_number(owner, limit);
        if !surplus && let Some(slot) = self.insert_slot(&claim, first).await? {
            return Ok(Some(slot));
        }
        let (mut taken, mut own) = (HashSet::new(), Vec::new());
        for slot in self.slots(scope).await? {
            if slot.owner == owner.as_str() {
                own.push(slot);
            } else {
                taken.insert(slot.slot.number);
            }
        }
        if !own.is_empty() {
            // It may be left over from an attempt that ran beyond the limit, or others may do so by now: then it is no room.
            let may_be_claimed: HashSet<u32> = free_numbers(&taken, limit, first).collect();
            let usable = own.into_iter().find(|own| may_be_claimed.contains(&own.slot.number));
            let Some(Taken { slot, version: before, claimed, .. }) = usable else { return Ok(None) };
            // Neither older: a driver who was held up on its way must not make the slot of another look left behind.
            let claim = Claim { version: version.max(before), now: now.max(claimed), ..claim };
            return self.renew_slot(&claim, slot).await;
        }
        for number in free_numbers(&taken, limit, first).take(MAX_TRIES).collect::<Vec<_>>() {
            if let Some(slot) = self.insert_slot(&claim, number).await? {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }

    async fn insert_slot(&self, claim: &Claim<'_>, number: u32) -> Result<Option<Slot>, Error> {
        match self.write(&[Op::Insert(claim.row(number))]).await {
            Ok(etags) => {
                let etag = super::first(etags)?;
                Ok(Some(Slot { scope: claim.scope.clone(), number, etag, fresh: true }))
            }
            // After a lost answer the scoring may have it by us or by another driver, who may still give it back: what is
            // found to be ours is written anew.
            Err(table_store::Error::AlreadyExists { .. } | table_store::Error::Ambiguous(_)) => Ok(None),
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
        match self.write(&[Op::Delete(slot.scope.slot_key(slot.number), IfMatch::Tag(slot.etag.clone()))]).await {
            Ok(_) | Err(table_store::Error::Missing { .. } | table_store::Error::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives back the slot that a scoring held in a scope before `version`, if it has one. A slot that was claimed
    /// for this version or a later one belongs to the next attempt.
    pub async fn free_slot_of(&self, scope: &LimitScope, owner: &ScoringId, version: i64) -> Result<(), Error> {
        for taken in self.slots(scope).await? {
            // By version: another driver may have queued the next attempt already, and claimed for that.
            if taken.owner == owner.as_str() && taken.version < version {
                self.free_slot(&taken.slot).await?;
            }
        }
        Ok(())
    }

    /// Brings the slots of a scope in line with `holders`, the scorings that hold one by their status: frees the slots
    /// of others, and claims one for each holder that has none, whatever the limit. The latter happens when a limit was
    /// set while jobs ran without one; they count from then on.
    ///
    /// `holders` must have been read after `now`, whole. `clock` is read again: a process that slept since `now` would take
    /// claims that were made meanwhile for those of a clock that is ahead, and free them while their scorings run.
    pub async fn reconcile_slots(
        &self,
        scope: &LimitScope,
        limit: u32,
        holders: &BTreeSet<ScoringId>,
        now: OffsetDateTime,
        clock: impl Fn() -> OffsetDateTime + Send,
    ) -> Result<ReconciledSlots, Error> {
        let mut reconciled = ReconciledSlots::default();
        let (mut seen, mut numbers) = (HashSet::new(), HashSet::new());
        let all = self.slots(scope).await?;
        let read = clock();
        for taken in all {
            let id = ScoringId::read(&taken.owner);
            let held = id.as_ref().is_some_and(|id| holders.contains(id));
            let second = !seen.insert(id);
            // A young slot may belong to a claim whose transaction is under way: freed, a second scoring would take it, and the
            // limit would be passed.
            if (!held || second) && (now - taken.claimed >= SLOT_EXPIRY || is_ahead(taken.claimed, read)) {
                self.free_slot(&taken.slot).await?;
                reconciled.freed += 1;
            } else {
                numbers.insert(taken.slot.number);
            }
        }
        let without = holders.iter().filter(|id| !seen.contains(&Some((*id).clone())));
        for owner in without.take(MAX_ADOPTED_SLOTS).cloned().collect::<Vec<_>>() {
            // It may have ended since it was seen to hold one.
            let Some((scoring, _)) = self.get(&owner).await? else { continue };
            if !scoring.holds_slot() {
                continue;
            }
            let claim = Claim { scope, owner: &owner, version: scoring.version, now };
            for _ in 0..MAX_TRIES {
                let Some(number) = (0..u32::MAX).find(|number| !numbers.contains(number)) else { break };
                numbers.insert(number);
                if self.insert_slot(&claim, number).await?.is_some() {
                    reconciled.adopted += 1;
                    break;
                }
            }
        }
        reconciled.taken = numbers.len();
        reconciled.surplus = numbers.iter().any(|number| *number >= limit);
        Ok(reconciled)
    }

    async fn slots(&self, scope: &LimitScope) -> Result<Vec<Taken>, Error> {
        let range = Range { partition: scope.partition(), from: "0".to_owned(), below: ":".to_owned() };
        let rows = self.all(&self.0.state, &range, usize::MAX).await?;
        let taken = rows.into_iter().filter_map(|row| {
            let number = row.entity.key.row.parse().ok()?;
            let (owner, claimed) = (row.entity.string("Owner")?.to_owned(), row.entity.time("ClaimedTime")?);
            let version = row.entity.int64("OwnerVersion").unwrap_or(0);
            let slot = Slot { scope: scope.clone(), number, etag: row.etag, fresh: false };
            Some(Taken { slot, owner, version, claimed })
        });
        Ok(taken.collect())
    }
}

impl fmt::Display for LimitScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(id) => write!(f, "rule {id}"),
            Self::Endpoint(key) => write!(f, "endpoint {key}"),
        }
    }
}

/// What [`Ledger::reconcile_slots`] did and found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReconciledSlots {
    /// Slots freed whose owners hold none.
    pub freed: usize,
    /// Slots claimed for scorings that hold one and had none.
    pub adopted: usize,
    /// Slots that are taken now.
    pub taken: usize,
    /// One of them has a number beyond the limit.
    pub surplus: bool,
}

/// Where a scoring begins to look: at a place that differs from one to the other, so that they do not meet.
pub(super) fn first_number(owner: &ScoringId, limit: u32) -> u32 {
    let digits = u32::from_str_radix(&owner.as_str()[..8], 16).unwrap_or(0); // an id is hex by construction
    digits % limit.max(1)
}

/// The numbers that may be claimed, from `first` on.
///
/// With `end` the largest number for which `end` plus the slots taken at or above it are at most `limit`, only numbers
/// below `end` may be. Slots above are freed and not claimed, so `end` only grows while the limit stays, and whoever goes
/// by an older, smaller one stays below it too: never more than `limit` are taken together, whatever the order.
pub(super) fn free_numbers(taken: &HashSet<u32>, limit: u32, first: u32) -> impl Iterator<Item = u32> {
    let mut end = limit;
    let mut above = taken.iter().filter(|number| **number >= limit).count();
    while end > 0 && above > usize::try_from(limit - end).unwrap_or(usize::MAX) {
        end -= 1;
        above += usize::from(taken.contains(&end));
    }
    let around = (first..limit).chain(0..first.min(limit));
    around.filter(move |number| *number < end && !taken.contains(number))
}

/// Who claims a slot, and when; all of it is written into the slot's row.
struct Claim<'a> {
    scope: &'a LimitScope,
    owner: &'a ScoringId,
    version: i64,
    now: OffsetDateTime,
}

impl Claim<'_> {
    fn row(&self, number: u32) -> Entity {
        Entity::new(self.scope.slot_key(number))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn free(taken: &[u32], limit: u32, first: u32) -> Vec<u32> {
        free_numbers(&taken.iter().copied().collect(), limit, first).collect()
    }

    #[test]
    fn any_free_number_may_be_claimed_while_none_beyond_the_limit_is_taken() {
        assert_eq!(free(&[], 3, 1), [1, 2, 0]);
        assert_eq!(free(&[1], 3, 1), [2, 0]);
        assert!(free(&[0, 1, 2], 3, 0).is_empty());
        assert!(free(&[], 0, 0).is_empty());
        assert_eq!(free_numbers(&HashSet::new(), u32::MAX, u32::MAX - 1).nth(1), Some(0));
    }

    #[test]
    fn each_slot_beyond_the_limit_takes_the_place_of_one_below() {
        assert_eq!(free(&[30], 3, 2), [0, 1], "2 stays free until 30 has ended");
        assert_eq!(free(&[2, 30], 3, 0), [0], "2 and 30 leave one");
        assert!(free(&[30, 31, 32], 3, 0).is_empty());
        assert!(free(&[7, 8, 9, 10, 11], 3, 0).is_empty());
    }

    #[test]
    fn whatever_is_taken_claims_never_pass_the_limit() {
        for pattern in 0_u32..1 << 8 {
            for limit in 0..8 {
                let mut taken: HashSet<u32> = (0..8).filter(|n| pattern >> n & 1 == 1).collect();
                let before = taken.len();
                for first in 0..8 {
                    let free = free_numbers(&taken, limit, first.min(limit)).next();
                    taken.extend(free);
                }
                let max = before.max(usize::try_from(limit).expect("small"));
                assert_eq!(taken.len(), max, "{pattern:08b} of {limit}: filled up, and not beyond");
            }
        }
    }
}
