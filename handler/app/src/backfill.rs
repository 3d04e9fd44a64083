//! Backfill: what lay in a place before its rule watched it is taken in, or scored once more as another generation.
//!
//! Listed and taken in page by page by whoever gives the order; the reconcile runs of the app submit it, behind all that events tell
//! of, and at most a share of the rule's slots at a time. How far it is stands in the ledger: who dies is gone on with by the same
//! order, and two never work on one page.

mod groups;

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use lifecycle::backfill::BackfillCounts;
use lifecycle::coverage::Outcome;
use lifecycle::digest::digest;
use lifecycle::duration::utc_text;
use lifecycle::id::RuleId;
use lifecycle::pending::{Finder, Judgement};
use lifecycle::text::one_line;
use lifecycle::{BlobPrefix, BlobSnapshot, Order, Rule, Status, StorageHosts};
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use self::groups::Together;
use crate::clock::LedgerClock;
use crate::error::during;
use crate::ledger::{BackfillRow, Ledger};
use crate::ports::table_store::ETag;
use crate::ports::{BlobPage, Inconclusive};
use crate::sweep::found::{FoundIntake, Look, Standing, may_want, named};
use crate::sweep::places_below;

/// Blobs of one page: what is done again after a kill, at one read for each.
const PAGE: usize = 1_000;
/// Versions that are asked about at one time.
const MAX_CONCURRENT: usize = 16;
/// Who works on it has it for so long after a page.
const CLAIM: Duration = Duration::minutes(10);
/// What is told of as measured ended within so long.
const MEASURED: Duration = Duration::days(7);

/// A time by which a backfill is limited, as it was told. The same words are the same order: one that was told from now goes on with the
/// times of when it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeLimit {
    /// A moment that was named, such as 2026-07-01.
    Then(OffsetDateTime),
    /// So long before the backfill begins: one that is continued keeps the time that this was then.
    Ago(Duration),
}

impl TimeLimit {
    fn at(self, now: OffsetDateTime) -> OffsetDateTime {
        match self {
            Self::Then(at) => at,
            // Before there was a calendar, all is since then.
            Self::Ago(ago) => now.checked_sub(ago).unwrap_or(OffsetDateTime::UNIX_EPOCH),
        }
    }

    fn key(self) -> String {
        match self {
            Self::Then(at) => at.unix_timestamp().to_string(),
            Self::Ago(ago) => format!("{} ago", ago.whole_seconds()),
        }
    }
}

/// The times between which something must have been written.
#[derive(Clone, Copy)]
struct Times {
    since: Option<OffsetDateTime>,
    until: Option<OffsetDateTime>,
}

/// What is to be taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackfillRequest {
    /// Id of the rule whose place is listed and under which versions are taken in; a shadow's is refused.
    pub rule: RuleId,
    /// Blobs of its container whose path begins so.
    pub prefix: String,
    /// Those that were written since then.
    pub since: Option<TimeLimit>,
    /// Those that were written before then.
    pub until: Option<TimeLimit>,
    /// As this generation; `None`: as the rule's own, as events bring them.
    pub generation: Option<u32>,
    /// Per cent of the rule's slots that it may have at one time.
    pub share: u8,
    /// Also what was written before the ledger began to forget.
    pub forgotten: bool,
    /// Who orders it, as histories and the backfill's row will name them; on the command line the user of the machine.
    pub by: String,
    /// Why it is ordered, in the operator's own words; told beside who ordered it.
    pub reason: String,
}

/// Why nothing is taken in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such rule.
    #[error("there is no rule `{0}`")]
    NoRule(RuleId),
    /// The named rule is a shadow, which has no places of its own: order the backfill of the rule that it is a shadow of.
    #[error("rule `{0}` is a shadow: it goes with the rule that it is a shadow of")]
    Shadow(RuleId),
    /// Nobody says where its blobs lie.
    #[error(
        "rule `{0}` names no `match.account`, and SCOREKEEPER_WATCHED_ACCOUNTS none: nobody says which account is meant"
    )]
    NoAccount(RuleId),
    /// The rule wants nothing there.
    #[error("rule `{rule}` wants what begins with `{wants}`, which nothing does that begins with `{prefix}`")]
    NotWanted {
        /// Id of the rule that was named.
        rule: RuleId,
        /// The rule's `match.prefix`, with which paths must begin.
        wants: String,
        /// The prefix that was asked for; it and `wants` begin differently.
        prefix: String,
    },
    /// No time is between them.
    #[error("nothing is written since {} and before {}: --since is the earlier one", utc_text(*since), utc_text(*until))]
    Times {
        /// The lower bound that was asked for, as a moment; not before `until`.
        since: OffsetDateTime,
        /// The upper bound that was asked for, as a moment.
        until: OffsetDateTime,
    },
    /// A generation below the rule's own.
    #[error("rule `{rule}` is at generation {own}: a backfill is of that one, or of a later one")]
    Generation {
        /// Id of the rule that was named.
        rule: RuleId,
        /// The generation that the rules give it: the lowest that may be asked for.
        own: u32,
    },
    /// The ledger cannot be read or written.
    #[error(transparent)]
    Ledger(#[from] crate::Error),
    /// The place cannot be listed.
    #[error("the place cannot be listed")]
    Storage(#[from] Inconclusive),
}

/// What a backfill would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackfillPlan {
    /// What a run would come to by now, of all blobs that the plan has listed; nothing was written.
    pub counts: BackfillCounts,
    /// Those that the ledger knows, by what became of them.
    pub known: std::collections::BTreeMap<Outcome, u64>,
    /// Jobs that would be made if nothing is grouped: one for each version, and one more for each shadow.
    pub jobs: u64,
    /// Where the rule groups, the fewest that are made of them; `None`: it does not.
    pub grouped_jobs: Option<u64>,
    /// Where the rule groups what lies in one folder, the folders that they lie in.
    pub grouped_folders: Option<u64>,
    /// How many of them may be at Azure ML at one time; `None`: any number.
    pub slots: Option<u32>,
    /// Half of the rule's scorings of the last week took no longer, in seconds; `None`: none was scored.
    pub median_seconds: Option<i64>,
    /// How long all of it would take by that, in seconds.
    pub expected_seconds: Option<i64>,
}

/// How a run of a backfill stopped without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackfillEnd {
    /// All of the place was looked through.
    Ended,
    /// A person has paused it meanwhile: ordering the same again goes on from the page where it stopped.
    Paused,
    /// Another process works on it.
    Elsewhere,
}

/// Carries backfills out, and tells what they would do.
pub struct Backfiller {
    pub(crate) found: FoundIntake,
    pub(crate) storage_hosts: StorageHosts,
    pub(crate) clock: LedgerClock,
}

/// A backfill of one place.
pub struct PlaceBackfill {
    key: String,
    request: BackfillRequest,
    place: BlobPrefix,
    rule: Rule,
    found: FoundIntake,
    clock: LedgerClock,
    slots: Option<u32>,
    order: String,
}

impl Backfiller {
    /// The places that a request is about, each a backfill of its own: one for each account.
    pub fn places(&self, request: &BackfillRequest) -> Result<Vec<PlaceBackfill>, Error> {
        let id = &request.rule;
        let rule = self.found.rules.get(id).ok_or_else(|| Error::NoRule(id.clone()))?;
        if rule.shadow_of.is_some() {
            return Err(Error::Shadow(id.clone()));
        }
        let wants = &*rule.matches.prefix;
        let prefix = if request.prefix.starts_with(wants) {
            request.prefix.as_str()
        } else if wants.starts_with(&request.prefix) {
            wants
        } else {
            let (rule, prefix) = (id.clone(), request.prefix.clone());
            return Err(Error::NotWanted { rule, wants: wants.to_owned(), prefix });
        };
        if request.generation.is_some_and(|generation| generation < rule.generation) {
            return Err(Error::Generation { rule: id.clone(), own: rule.generation });
        }
        let Times { since, until } = request.times(self.clock.now());
        if let Some((since, until)) = since.zip(until).filter(|(since, until)| since >= until) {
            return Err(Error::Times { since, until });
        }
        let places = places_below(rule, prefix, &self.storage_hosts);
        if places.is_empty() {
            return Err(Error::NoAccount(id.clone()));
        }
        Ok(places.into_iter().map(|place| self.of_place(request, rule, place)).collect())
    }

    fn of_place(&self, request: &BackfillRequest, rule: &Rule, place: BlobPrefix) -> PlaceBackfill {
        let generation = request.generation.unwrap_or(rule.generation);
        let rules = Arc::new(self.found.rules.as_ref().clone().changed(|changed| {
            if changed.id == rule.id {
                changed.generation = generation;
            }
        }));
        let cap = rule.max_in_flight.or_else(|| self.found.rules.endpoint(&rule.endpoint.uri)?.max_in_flight);
        let share = u64::from(request.share.clamp(1, 100));
        // Rounded up: one at least, or it would never end.
        let slots = cap.map(|cap| u32::try_from((u64::from(cap) * share).div_ceil(100)).unwrap_or(u32::MAX));
        let by = one_line(&request.by, Order::MAX_BY);
        let order = match request.generation {
            Some(generation) => format!("backfilled as generation {generation} by {by}"),
            None => format!("backfilled by {by}"),
        };
        let order = format!("{order} ({})", one_line(&request.reason, Order::MAX_REASON));
        let text = |told: Option<TimeLimit>| told.map(TimeLimit::key).unwrap_or_default();
        let key = digest(&[
            "backfill",
            &rule.id,
            &place.to_string(),
            &text(request.since),
            &text(request.until),
            &generation.to_string(),
            if request.forgotten { "forgotten" } else { "" },
        ]);
        let found = FoundIntake {
            intake: self.found.intake.under(&rules),
            rules: Arc::clone(&rules),
            by: Finder::Backfill { order: order.clone(), slots },
            // What waits is looked at under the rule as it is: as another generation it would be forgotten.
            keeps_waiting: generation == rule.generation,
            ..self.found.clone()
        };
        let rule = Rule { generation, ..rule.clone() };
        let (request, clock) = (request.clone(), self.clock.clone());
        PlaceBackfill { key, request, place, rule, found, clock, slots, order }
    }
}

impl BackfillRequest {
    fn times(&self, now: OffsetDateTime) -> Times {
        let at = |told: Option<TimeLimit>| told.map(|told| told.at(now));
        Times { since: at(self.since), until: at(self.until) }
    }
}

/// What is asked of the ledger about a listed blob.
enum BackfillLookup {
    Yes,
    No(BackfillCounts),
}

impl PlaceBackfill {
    /// What is listed, for people.
    pub fn place(&self) -> String {
        self.place.to_string()
    }

    /// How far it is, if it ever began.
    pub async fn state(&self) -> Result<Option<BackfillRow>, Error> {
        let row = self.ledger().backfill(&self.key).await.map_err(during("reading how far a backfill is"))?;
        Ok(row.map(|(row, _)| row))
    }

    /// Has it rest, whoever works on it. `false`: it is not under way.
    pub async fn pause(&self) -> Result<bool, Error> {
        let pausing = || during("pausing a backfill");
        loop {
            let Some((row, etag)) = self.ledger().backfill(&self.key).await.map_err(pausing())? else {
                return Ok(false);
            };
            if row.ended.is_some() {
                return Ok(false);
            }
            let paused = BackfillRow { paused: true, claimed_until: None, ..row };
            if self.ledger().keep_backfill(&paused, Some(&etag)).await.map_err(pausing())?.is_some() {
                return Ok(true);
            }
        }
    }

    /// What it would do. Nothing is written; `progress` is called after each page.
    pub async fn plan(&self, mut progress: impl FnMut(&BackfillCounts)) -> Result<BackfillPlan, Error> {
        let mut plan = BackfillPlan { slots: self.slots, ..BackfillPlan::default() };
        let (purged, times) = (self.purged().await?, self.times().await?);
        let mut together = self.rule.group.as_ref().map(Together::new);
        let mut from = None;
        loop {
            let page = self.page(from.as_deref()).await?;
            let asked = self.sorted(&page, purged, times, &mut plan.counts);
            let looks = stream::iter(asked).map(|at| {
                let listed = &page.blobs[at];
                async move { (listed, self.look(listed).await) }
            });
            let mut looks = looks.buffer_unordered(MAX_CONCURRENT);
            while let Some(((path, shown), looked)) = looks.next().await {
                let (counts, known) = looked?;
                if let Some(together) = &mut together {
                    together.add(path, shown.size, counts.taken_in);
                }
                plan.counts = plan.counts.and(counts);
                for outcome in known {
                    *plan.known.entry(outcome).or_default() += 1;
                }
            }
            drop(looks);
            progress(&plan.counts);
            match page.next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        plan.jobs = plan.counts.taken_in;
        plan.grouped_folders = together.as_ref().and_then(Together::folders);
        plan.grouped_jobs = together.map(|together| together.jobs());
        let jobs = plan.grouped_jobs.unwrap_or(plan.jobs);
        plan.median_seconds = self.median().await?.map(Duration::whole_seconds);
        let rounds = i64::try_from(jobs.div_ceil(u64::from(plan.slots.unwrap_or(u32::MAX)))).unwrap_or(i64::MAX);
        plan.expected_seconds = plan.median_seconds.map(|median| median.saturating_mul(rounds));
        Ok(plan)
    }

    /// Carries it out, or goes on with it, to its end. `progress` is called after each page.
    pub async fn run(
        &self,
        expected: Option<u64>,
        mut progress: impl FnMut(&BackfillRow),
    ) -> Result<BackfillEnd, Error> {
        let keeping = || during("keeping how far a backfill is");
        let now = self.clock.now();
        let kept = self.ledger().backfill(&self.key).await.map_err(keeping())?;
        let is_claimed = |row: &BackfillRow| row.claimed_until.is_some_and(|until| now < until && until <= now + CLAIM);
        let (mut row, etag) = match kept {
            Some((row, _)) if row.ended.is_none() && is_claimed(&row) => return Ok(BackfillEnd::Elsewhere),
            Some((row, etag)) if row.ended.is_none() => (BackfillRow { paused: false, ..row }, Some(etag)),
            Some((_, etag)) => (self.new_row(now), Some(etag)),
            None => (self.new_row(now), None),
        };
        row.expected = expected.or(row.expected);
        row.claimed_until = Some(now + CLAIM);
        let Some(mut etag) = self.ledger().keep_backfill(&row, etag.as_ref()).await.map_err(keeping())? else {
            return Ok(BackfillEnd::Elsewhere);
        };
        let (purged, times) = (self.purged().await?, Times { since: row.since, until: row.until });
        loop {
            let page = match self.page(row.cursor.as_deref()).await {
                Ok(page) => page,
                Err(error) => return self.left(row, &etag, error).await,
            };
            match self.take_in(&page, purged, times).await {
                Ok(counts) => row.done = row.done.and(counts),
                Err(error) => return self.left(row, &etag, error).await,
            }
            // Only now: all of the page is in the ledger.
            let now = self.clock.now();
            row.cursor = page.next;
            row.ended = row.cursor.is_none().then_some(now);
            row.claimed_until = row.cursor.is_some().then_some(now + CLAIM);
            match self.ledger().keep_backfill(&row, Some(&etag)).await.map_err(keeping())? {
                Some(kept) => etag = kept,
                None => return self.overtaken().await,
            }
            progress(&row);
            if row.ended.is_some() {
                return Ok(BackfillEnd::Ended);
            }
        }
    }

    fn ledger(&self) -> &Ledger {
        &self.found.ledger
    }

    /// Those of the one that is under way, else of one that begins now.
    async fn times(&self) -> Result<Times, Error> {
        let under_way = self.state().await?.filter(|row| row.ended.is_none());
        let of_row = under_way.map(|row| Times { since: row.since, until: row.until });
        Ok(of_row.unwrap_or_else(|| self.request.times(self.clock.now())))
    }

    fn new_row(&self, now: OffsetDateTime) -> BackfillRow {
        let times = self.request.times(now);
        BackfillRow {
            key: self.key.clone(),
            rule: self.rule.id.to_string(),
            place: self.place.to_string(),
            order: self.order.clone(),
            expected: None,
            began: now,
            since: times.since,
            until: times.until,
            claimed_until: None,
            paused: false,
            cursor: None,
            done: BackfillCounts::default(),
            ended: None,
        }
    }

    /// It goes on from the same page, whoever comes next.
    async fn left(&self, row: BackfillRow, etag: &ETag, error: Error) -> Result<BackfillEnd, Error> {
        let left = BackfillRow { claimed_until: None, ..row };
        // What is not written is over when the claim is.
        let _ = self.ledger().keep_backfill(&left, Some(etag)).await;
        Err(error)
    }

    async fn overtaken(&self) -> Result<BackfillEnd, Error> {
        let is_paused = self.state().await?.is_some_and(|row| row.paused);
        Ok(if is_paused { BackfillEnd::Paused } else { BackfillEnd::Elsewhere })
    }

    async fn purged(&self) -> Result<Option<OffsetDateTime>, Error> {
        let purged = self.ledger().purged_through().await;
        Ok(purged.map_err(during("reading what the ledger has forgotten"))?)
    }

    async fn page(&self, from: Option<&str>) -> Result<BlobPage, Error> {
        Ok(self.found.blobs.list(&self.place, from, PAGE).await?)
    }

    /// Which blobs of a page the ledger is asked about; the others are counted.
    fn sorted(
        &self,
        page: &BlobPage,
        purged: Option<OffsetDateTime>,
        times: Times,
        counts: &mut BackfillCounts,
    ) -> Vec<usize> {
        let now = self.clock.now();
        let mut asked = Vec::new();
        counts.listed += u64::try_from(page.blobs.len()).unwrap_or(u64::MAX);
        for (at, (path, shown)) in page.blobs.iter().enumerate() {
            match self.asks_about(path, shown, purged, times, now) {
                BackfillLookup::Yes => asked.push(at),
                BackfillLookup::No(more) => *counts = counts.and(more),
            }
        }
        asked
    }

    fn asks_about(
        &self,
        path: &str,
        shown: &BlobSnapshot,
        purged: Option<OffsetDateTime>,
        times: Times,
        now: OffsetDateTime,
    ) -> BackfillLookup {
        let none = BackfillCounts::default();
        if shown.is_folder || !may_want(&self.rule, &self.place, path) {
            return BackfillLookup::No(BackfillCounts { unwanted: 1, ..none });
        }
        let Some(written) = shown.modified else { return BackfillLookup::Yes };
        let is_outside =
            times.since.is_some_and(|since| written < since) || times.until.is_some_and(|until| written >= until);
        if is_outside {
            return BackfillLookup::No(BackfillCounts { outside: 1, ..none });
        }
        if written > now - self.rule.sweep.after.0 {
            return BackfillLookup::No(BackfillCounts { young: 1, ..none });
        }
        if !self.request.forgotten && purged.is_some_and(|purged| written < purged) {
            return BackfillLookup::No(BackfillCounts { forgotten: 1, ..none });
        }
        BackfillLookup::Yes
    }

    async fn take_in(
        &self,
        page: &BlobPage,
        purged: Option<OffsetDateTime>,
        times: Times,
    ) -> Result<BackfillCounts, Error> {
        let mut counts = BackfillCounts::default();
        let asked = self.sorted(page, purged, times, &mut counts);
        let mut looks = stream::iter(asked)
            .map(|at| self.found.take_in(&self.rule, &self.place, &page.blobs[at], self.clock.now()))
            .buffer_unordered(MAX_CONCURRENT);
        let mut failure = None;
        while let Some(taken) = looks.next().await {
            match taken {
                Ok((seen, _)) => {
                    counts.own += seen.own;
                    counts.known += seen.known;
                    counts.taken_in += seen.found;
                    counts.skipped += seen.skipped;
                    counts.young += seen.young;
                }
                // Through all of them, whatever fails: fewer are left for the next time.
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(counts), |failure| Err(failure.into()))
    }

    /// What would become of a listed version under the rule and its shadow.
    async fn look(&self, (path, shown): &(String, BlobSnapshot)) -> Result<(BackfillCounts, Vec<Outcome>), Error> {
        let (mut counts, mut outcomes) = (BackfillCounts::default(), Vec::new());
        let Ok((version, blob)) = named(&self.place, path, shown) else {
            return Ok((BackfillCounts { skipped: 1, ..counts }, outcomes));
        };
        let shadows = self.found.rules.iter().filter(|other| other.shadow_of.as_ref() == Some(&self.rule.id));
        for rule in std::iter::once(&self.rule).chain(shadows) {
            let now = self.clock.now();
            let look = self.found.seen(rule, &blob, &version, shown, Look::Preview, now);
            match Box::pin(look).await?.0 {
                Standing::Known(status) => {
                    counts.known += 1;
                    outcomes.extend(status.map(Outcome::of));
                }
                Standing::Own => counts.own += 1,
                Standing::New { judgement: Judgement::Skip(_), skipped: true } => {
                    counts.known += 1;
                    outcomes.push(Outcome::Skipped);
                }
                Standing::New { judgement: Judgement::Skip(_), .. } => counts.skipped += 1,
                Standing::New { judgement: Judgement::Wait(_), .. } if !self.found.keeps_waiting => counts.young += 1,
                Standing::New { judgement: Judgement::TakeIn { .. } | Judgement::Wait(_), .. } => counts.taken_in += 1,
                Standing::New { judgement: Judgement::Done, .. } => {}
            }
        }
        Ok((counts, outcomes))
    }

    /// How long half of the rule's scorings of the last week took at most.
    async fn median(&self) -> Result<Option<Duration>, Error> {
        let since = self.clock.now() - MEASURED;
        let ended = self.ledger().ended_since(since).await.map_err(during("reading how long scorings take"))?;
        let of_rule = ended.iter().filter(|end| end.rule == self.rule.id && end.status == Status::Scored);
        let mut took: Vec<Duration> = of_rule.filter_map(|end| end.took).collect();
        took.sort_unstable();
        Ok(took.get(took.len() / 2).copied())
    }
}
