//! What must be true after every step, checked against what was really written and really happened.
//!
//! The checks stand at the table's side of the network: they see each transaction as it is applied, whoever sent it and
//! whether or not the answer arrives, and compare it with what the simulated Azure knows. They never ask the product, and
//! they take limits and times from the rules as they were meant, so that an app with other rules is found out.

mod ends;
mod groups;
pub(crate) mod orders;
mod published;
mod requests;

use std::collections::{BTreeMap, BTreeSet};

use lifecycle::id::{EndpointUri, RuleId};
use lifecycle::rule::Overwrites;
use lifecycle::{Entry, Event, Rules, Scoring, ScoringId, Status, Submission, TRANSITIONS};
use time::{Duration, OffsetDateTime};

use crate::behaviour::USER_ERROR;
use crate::cloud::Cloud;
use crate::publish_places::PUBLISHED;
use app::ledger::{end_keys, listed_key, rows};
use app::ports::table_store::{Key, Op, Row};

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The promise, one word or two: the same for all seeds that break it.
    pub invariant: &'static str,
    /// The scoring that it concerns, if it is one.
    pub scoring: Option<ScoringId>,
    /// What is wrong, for people.
    pub what: String,
}

/// What a scoring is of, whatever its id: rule, and URL and ETag of the blob.
pub(super) type ScoredVersion = (RuleId, String, String);

/// No decision is older than this when it is recorded, unless its process was frozen meanwhile.
const DECISION: Duration = Duration::minutes(10);

/// Reads a row of the state table as it is now, past all faults.
pub(super) type Peek<'a> = &'a dyn Fn(&Key) -> Option<Row>;

/// A limit on jobs at one time, as it was meant, and who counts towards it.
#[derive(Debug)]
struct Limit {
    of: String,
    /// What operators said, and since when; the first is the rules' word.
    words: Vec<(OffsetDateTime, usize)>,
    holding: BTreeSet<ScoringId>,
    /// Those that hold no slot of their own doing: their job was made by a request that was given up for lost, and came
    /// to light while they were queued again.
    late: BTreeSet<ScoringId>,
}

/// Twice the longest `submitTimeout` of a plan.
const MAX_LEASE: Duration = Duration::minutes(2);
/// An operator's word is known to all by then: after the next tick, which may be missing for an hour.
const KNOWN_AFTER: Duration = Duration::minutes(90);

impl Limit {
    /// The most that somebody may still go by.
    fn max(&self, now: OffsetDateTime) -> usize {
        let ends = self.words.iter().skip(1).map(|(until, _)| *until).chain([now]);
        let known = self.words.iter().zip(ends).filter(|(_, until)| *until >= now - KNOWN_AFTER);
        known.map(|((_, max), _)| *max).max().unwrap_or(usize::MAX)
    }
}

/// Whose scorings in flight a limit counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum LimitedBy {
    Rule(RuleId),
    Endpoint(EndpointUri),
}

#[derive(Debug)]
struct TrackedScoring {
    scoring: Scoring,
    /// What each (attempt, post) is to send, since it is on record.
    intents: BTreeMap<(u32, u32), Submission>,
    /// When each (attempt, post) was sent, until it is known to have been refused.
    sent: BTreeMap<(u32, u32), (OffsetDateTime, bool)>,
    /// The job that each attempt adopted.
    adopted: BTreeMap<u32, String>,
    /// Attempts whose output was there before anybody knew of a job: it is not looked for any more.
    proved: BTreeSet<u32>,
    /// It was gone, and an event or a look has opened it again; its end is not shown yet.
    opened: bool,
    /// When the last search that found none arrived.
    found_none: Option<OffsetDateTime>,
    /// When a look at the output path of this attempt last found nothing.
    path_empty: Option<(u32, OffsetDateTime)>,
}

impl TrackedScoring {
    fn new(scoring: Scoring) -> Self {
        Self {
            scoring,
            intents: BTreeMap::new(),
            sent: BTreeMap::new(),
            adopted: BTreeMap::new(),
            proved: BTreeSet::new(),
            opened: false,
            found_none: None,
            path_empty: None,
        }
    }
}

/// The checks and what they remember.
#[derive(Debug)]
pub(super) struct Invariants {
    resubmit_after: BTreeMap<RuleId, Duration>,
    limits: BTreeMap<LimitedBy, Limit>,
    /// `submitsPerMinute` of each endpoint that has it, and its latest requests.
    rates: BTreeMap<EndpointUri, (usize, Vec<OffsetDateTime>)>,
    /// The clocks of two processes differ by at most this.
    spread: Duration,
    tracked: BTreeMap<ScoringId, TrackedScoring>,
    versions: BTreeMap<ScoredVersion, ScoringId>,
    /// Versions that are scored again, by generation.
    generations: BTreeMap<(ScoredVersion, u32), ScoringId>,
    /// What operators have ordered to be scored once more.
    rescored: BTreeSet<ScoringId>,
    /// What was started by a key, and became of it.
    started: BTreeMap<String, Option<ScoringId>>,
    /// What people said of scorings, or of versions that they want scored once more, as histories have it.
    said: BTreeSet<(Option<ScoringId>, String)>,
    /// What of that they say more than once.
    given_again: BTreeSet<String>,
    /// The last line of a history, where an order wrote it.
    last_said: BTreeMap<ScoringId, String>,
    paths: BTreeMap<String, (ScoringId, u32)>,
    /// The rule that is removed now, and from when on no process knows it any more.
    pub(super) removed: Option<(RuleId, OffsetDateTime)>,
    /// Rules that have their inputs looked at.
    verify: BTreeSet<RuleId>,
    /// URLs that no rule wants.
    never: BTreeSet<String>,
    /// The rules as they are meant, for the deployments that they name.
    rules: Rules,
    /// What each rule makes of further versions of a path.
    overwrites: BTreeMap<RuleId, Overwrites>,
    /// Since when each scoring is on record, or was opened again.
    recorded: BTreeMap<ScoringId, OffsetDateTime>,
    /// When a process last went on that was frozen, maybe in the midst of a decision.
    went_on: OffsetDateTime,
    /// Who was scored for a content of a path, in each generation.
    contents: BTreeMap<(RuleId, String, u64, u32), ScoringId>,
    projected: BTreeMap<String, i32>,
    /// Rules that publish nothing, by the rules as they are meant.
    unpublished: BTreeSet<RuleId>,
    /// Scorings of which it was on record that they are published.
    announced: BTreeSet<ScoringId>,
    /// Rows of events that cannot be read and that an operator has acknowledged.
    seen_events: BTreeSet<String>,
    /// Scorings that have probed a circuit breaker. One goes beyond its rule's limit.
    probes: BTreeSet<ScoringId>,
    /// Members that an operator took out of their group, or whose end the ledger refused: its job scores them all the same.
    taken_out: BTreeSet<ScoringId>,
    /// How often each row of the transition table was taken.
    pub(super) taken: Vec<u64>,
    /// The first promise that was broken.
    pub(super) violation: Option<Violation>,
}

impl Invariants {
    pub(super) fn new(rules: &Rules, spread: Duration) -> Self {
        let limit = |of: String, max: Option<u32>| {
            let max = usize::try_from(max?).ok()?;
            let words = vec![(OffsetDateTime::UNIX_EPOCH, max)];
            Some(Limit { of, words, holding: BTreeSet::new(), late: BTreeSet::new() })
        };
        let (mut limits, mut rates) = (BTreeMap::new(), BTreeMap::new());
        for rule in rules {
            let uri = &rule.endpoint.uri;
            let of_rule = limit(format!("rule `{}`", rule.id), rule.max_in_flight);
            let of_endpoint = limit(uri.to_string(), rules.endpoint(uri).and_then(|settings| settings.max_in_flight));
            let rate = rules.endpoint(uri).and_then(|settings| usize::try_from(settings.submits_per_minute?).ok());
            rates.extend(rate.map(|max| (uri.clone(), (max, Vec::new()))));
            limits.extend(of_rule.map(|limit| (LimitedBy::Rule(rule.id.clone()), limit)));
            limits.extend(of_endpoint.map(|limit| (LimitedBy::Endpoint(uri.clone()), limit)));
        }
        Self {
            resubmit_after: rules.iter().map(|rule| (rule.id.clone(), rule.policy.resubmit_after.0)).collect(),
            limits,
            rates,
            spread,
            tracked: BTreeMap::new(),
            versions: BTreeMap::new(),
            generations: BTreeMap::new(),
            rescored: BTreeSet::new(),
            started: BTreeMap::new(),
            said: BTreeSet::new(),
            given_again: BTreeSet::new(),
            last_said: BTreeMap::new(),
            paths: BTreeMap::new(),
            removed: None,
            verify: rules.iter().filter(|rule| rule.policy.verify_input).map(|rule| rule.id.clone()).collect(),
            never: BTreeSet::new(),
            rules: rules.clone(),
            overwrites: rules.iter().map(|rule| (rule.id.clone(), rule.overwrites)).collect(),
            recorded: BTreeMap::new(),
            went_on: OffsetDateTime::UNIX_EPOCH,
            contents: BTreeMap::new(),
            projected: BTreeMap::new(),
            unpublished: rules
                .iter()
                .filter(|rule| rule.published().next().is_none())
                .map(|rule| rule.id.clone())
                .collect(),
            announced: BTreeSet::new(),
            seen_events: BTreeSet::new(),
            probes: BTreeSet::new(),
            taken_out: BTreeSet::new(),
            taken: vec![0; TRANSITIONS.len()],
            violation: None,
        }
    }

    /// The same, where these URLs are wanted by nobody.
    pub(super) fn never(self, never: BTreeSet<String>) -> Self {
        Self { never, ..self }
    }

    /// Notes a broken promise; the first one counts.
    pub(super) fn broken(&mut self, invariant: &'static str, scoring: Option<&ScoringId>, what: impl Into<String>) {
        if self.violation.is_none() {
            self.violation = Some(Violation { invariant, scoring: scoring.cloned(), what: what.into() });
        }
    }

    fn hold(&mut self, truth: bool, invariant: &'static str, scoring: &ScoringId, what: impl FnOnce() -> String) {
        if !truth {
            self.broken(invariant, Some(scoring), what());
        }
    }

    /// The scoring of a blob version, if it is in the ledger.
    pub(super) fn scoring_of(&self, version: &ScoredVersion) -> Option<&ScoringId> {
        self.versions.get(&self.scored_version(version.clone()))
    }

    fn overwrites(&self, rule: &RuleId) -> Overwrites {
        self.overwrites.get(rule).copied().unwrap_or_default()
    }

    /// What has one scoring: a version, or the path where overwrites are ignored.
    fn scored_version(&self, (rule, url, etag): ScoredVersion) -> ScoredVersion {
        let etag = if self.overwrites(&rule) == Overwrites::Ignore { String::new() } else { etag };
        (rule, url, etag)
    }

    /// Whether the ledger has this scoring.
    pub(super) fn has(&self, id: &ScoringId) -> bool {
        self.tracked.contains_key(id)
    }

    /// Jobs that attempts have adopted.
    pub(super) fn adopted_jobs(&self) -> impl Iterator<Item = &String> {
        self.tracked.values().flat_map(|known| known.adopted.values())
    }

    /// Every scoring as it was last written.
    pub(super) fn scorings(&self) -> impl Iterator<Item = &Scoring> {
        self.tracked.values().map(|known| &known.scoring)
    }

    /// Every scoring of the path of this one under its rule, as it was last written; none if it is not known here.
    pub(super) fn beside(&self, id: &ScoringId) -> impl Iterator<Item = &Scoring> {
        let of = self.tracked.get(id).map(|known| &known.scoring);
        self.scorings().filter(move |s| of.is_some_and(|of| of.rule == s.rule && of.blob.url == s.blob.url))
    }

    /// What is not settled, for people: not final, not projected, or with a job that nobody knows of. Jobs that another
    /// installation asked for are its own affair.
    /// At rest, what was gone and is looked at once more because its event came again is settled: the next tick finds it gone.
    pub(super) fn unsettled(&self, cloud: &Cloud, at_rest: bool) -> Option<(ScoringId, String)> {
        let unknown = cloud.all().find(|(name, id, attempt)| {
            self.tracked.get(*id).is_some_and(|known| {
                if known.proved.contains(attempt) {
                    return false;
                }
                let orphaned_jobs = &known.scoring.orphaned_jobs;
                let adopted = known.adopted.values().any(|adopted| adopted == name);
                !adopted
                    && !orphaned_jobs.iter().any(|orphaned_job| orphaned_job == name)
                    && orphaned_jobs.len() < lifecycle::scoring::MAX_JOB_NAMES
            })
        });
        if let Some((name, id, _)) = unknown {
            return Some((
                id.clone(),
                format!("{name} was made and is neither adopted nor counted as an orphaned job"),
            ));
        }
        if let Some((group, uri)) = cloud.copies().find(|(group, _)| self.tracked.contains_key(group)) {
            return Some((group, format!("its copy {uri} is left")));
        }
        self.tracked.values().find_map(|TrackedScoring { scoring: s, opened, .. }| {
            if at_rest && *opened {
                return None;
            }
            if !s.status.is_terminal() {
                let last_error = s.last_error.as_deref().unwrap_or("nothing in its way");
                return Some((s.id.clone(), format!("it is still {} ({last_error})", s.status)));
            }
            if s.is_group() {
                return None;
            }
            let projected = self.projected.get(s.id.as_str());
            (projected.map(|version| i64::from(*version)) != Some(s.version))
                .then(|| (s.id.clone(), format!("version {} is final, projected is {projected:?}", s.version)))
        })
    }

    /// A transaction over the state table was applied. Gives lines for the story.
    pub(super) fn applied(&mut self, ops: &[Op], peek: Peek<'_>, cloud: &Cloud, now: OffsetDateTime) -> Vec<Entry> {
        let Some(row) = ops.iter().find(|op| op.key().row.starts_with("J~")) else {
            // Rows of a scoring change with it or not at all, but for its outbox.
            for op in ops {
                let kind = op.key().row.get(..2).unwrap_or_default();
                if matches!(kind, "F~" | "T~" | "E~" | "C~" | "H~") {
                    self.broken("one transaction", None, format!("{} was written without its scoring", op.key()));
                }
            }
            return Vec::new();
        };
        let Some(stored) = peek(row.key()) else {
            self.broken("retention", None, format!("{} was deleted before its time", row.key()));
            return Vec::new();
        };
        let next = match rows::from_scoring_row(&stored.entity) {
            Ok(next) => next,
            Err(why) => {
                self.broken("readable rows", None, why.to_string());
                return Vec::new();
            }
        };
        let mut entries: Vec<Entry> = ops
            .iter()
            .filter(|op| op.key().row.starts_with("H~"))
            .filter_map(|op| rows::from_history_row(op.entity()?).ok())
            .collect();
        entries.sort_by_key(|entry| entry.seq);
        if entries.is_empty() && self.tracked.get(&next.id).is_some_and(|known| known.scoring == next) {
            // Nothing but its version in the table: older decisions about it are to fail.
            return Vec::new();
        }
        let before = self.tracked.get(&next.id).map(|known| known.scoring.clone());
        self.moved(&next, &entries, cloud, now);
        self.indexes(&next, peek);
        if let Some(before) = before.filter(|before| before.status != next.status)
            && let Some(at) = before.completed
        {
            for key in end_keys(before.status, before.failure, &rows::terminal_key(&next.id, at)) {
                self.hold(peek(&key).is_none(), "index of ends", &next.id, || {
                    format!("{}, and still among those that are {} ({})", next.status, before.status, key.row)
                });
            }
        }
        entries
    }

    fn moved(&mut self, next: &Scoring, entries: &[Entry], cloud: &Cloud, now: OffsetDateTime) {
        let id = &next.id;
        let before = self.tracked.get(id).map(|known| known.scoring.clone());
        let was = before.as_ref().map_or(0, |before| before.version);
        let seqs: Vec<i64> = entries.iter().map(|entry| entry.seq).collect();
        let fits = if before.is_some() { next.version == was + 1 } else { (1..=2).contains(&next.version) };
        self.hold(fits, "versions", id, || format!("version {} follows {was}", next.version));
        let whole = seqs == (was + 1..=next.version).collect::<Vec<_>>() || next.version > rows::MAX_HISTORY_ENTRIES;
        self.hold(whole, "history", id, || format!("version {} comes with the history lines {seqs:?}", next.version));

        let mut from = before.as_ref().map(|before| before.status);
        for entry in entries {
            self.hold(entry.from == from, "history", id, || format!("a line from {:?}; it was {from:?}", entry.from));
            if let (Some(from), Some(event)) = (entry.from, entry.event) {
                if let Some(row) = TRANSITIONS.iter().position(|row| *row == (from, event, entry.to)) {
                    self.taken[row] += 1;
                } else {
                    let what = format!("{from} -> {} by {} is not a valid transition", entry.to, event.name());
                    self.broken("the table of moves", Some(id), what);
                }
            }
            from = Some(entry.to);
        }
        self.orders(next, entries);
        let event = entries.last().and_then(|entry| entry.event);
        let before_status = before.as_ref().map(|before| before.status);
        match &before {
            None => {
                self.taken_in(next, now);
            }
            Some(before) => {
                let same = before.status == next.status && before.completed == next.completed;
                let opened = matches!(event, Some(Event::SeenAgain | Event::Retried)) && next.completed.is_none();
                // Its result is as good as before, and nothing but its publication goes on.
                let published =
                    event == Some(Event::PublishOrdered) && (before.attempt, &before.job) == (next.attempt, &next.job);
                let opened = opened || published;
                if opened && !published {
                    self.recorded.insert(id.clone(), now);
                }
                self.hold(!before.status.is_terminal() || same || opened, "final is final", id, || {
                    format!("{} was left for {}", before.status, next.status)
                });
                let step = next.attempt.checked_sub(before.attempt);
                // A member has the attempt of its group.
                self.hold(matches!(step, Some(0 | 1)) || next.member_of().is_some(), "attempts", id, || {
                    format!("attempt {} follows attempt {}", next.attempt, before.attempt)
                });
                let failed_by_user = next.error.as_deref().is_some_and(|error| error.contains(USER_ERROR));
                self.hold(event != Some(Event::AttemptFailed) || !failed_by_user, "user errors", id, || {
                    "what failed by the user's code is tried again".to_owned()
                });
                if event == Some(Event::OwnerGone) {
                    self.hold(now >= before.due - self.spread, "lease", id, || {
                        format!("its owner was taken for gone at {now}, with a lease until {}", before.due)
                    });
                }
            }
        }
        if next.status == Status::Submitting && before.as_ref().is_none_or(|b| b.status != Status::Submitting) {
            self.intended(next);
            // What was in flight before goes on, sent again if nobody knows its job.
            if before.as_ref().is_none_or(|before| before.status == Status::Queued) {
                self.latest(next, now);
            }
        }
        self.job_of(next, before_status, event, cloud);
        if next.publishing.is_some() {
            self.announced.insert(id.clone());
        }
        self.ended(next, before.as_ref(), cloud, now);
        self.in_flight(next, before_status, event, now);
        self.orphaned_jobs(next);
        if let Some(known) = self.tracked.get_mut(id) {
            known.scoring = next.clone();
            if event == Some(Event::OutputProved) {
                known.proved.insert(next.attempt);
            }
            known.opened |= event == Some(Event::SeenAgain);
        }
    }

    /// The job of a scoring is its own, or that of its group.
    fn job_of(&mut self, next: &Scoring, before: Option<Status>, event: Option<Event>, cloud: &Cloud) {
        let takes_out = matches!(event, Some(Event::Withdrawn | Event::JobCancelled | Event::RecordRefused));
        if before == Some(Status::Grouped) && takes_out {
            self.taken_out.insert(next.id.clone());
        }
        match (&next.job, next.member_of()) {
            (Some(job), Some(group)) => self.shares(next, group, &job.name, cloud),
            (Some(job), None) => self.adopted(next, &job.name, cloud),
            (None, _) => {}
        }
    }

    /// A scoring came to be on record.
    fn taken_in(&mut self, next: &Scoring, now: OffsetDateTime) {
        let id = &next.id;
        self.recorded.insert(id.clone(), now);
        let key = self.scored_version((next.rule.clone(), next.blob.url.clone(), next.blob.etag.clone()));
        let other = if next.is_group() {
            // It is of no blob version.
            None
        } else if next.generation == 0 {
            self.versions.insert(key, id.clone())
        } else {
            self.ordered(next);
            self.generations.insert((key, next.generation), id.clone())
        };
        if let Some(key) = next.start_key() {
            self.of_key(key, next);
        }
        let unwanted = self.never.contains(&next.blob.url);
        self.hold(!unwanted, "index tags", id, || format!("{} never had the tags that are wanted", next.blob.url));
        let own =
            self.tracked.keys().any(|id| next.blob.path.contains(id.as_str())) || next.blob.path.starts_with(PUBLISHED);
        self.hold(!own, "own outputs", id, || format!("an output was taken in: {}", next.blob.path));
        self.hold(other.is_none(), "one scoring", id, || {
            format!("generation {} of one blob version has two scorings under one rule", next.generation)
        });
        self.tracked.insert(id.clone(), TrackedScoring::new(next.clone()));
    }

    /// An operator orders that the version of a scoring is scored once more.
    pub(super) fn rescored(&mut self, id: &ScoringId) {
        self.rescored.insert(id.clone());
    }

    /// Somebody starts a scoring by a key.
    pub(super) fn started(&mut self, key: String) {
        self.started.entry(key).or_default();
    }

    /// One key is one scoring, however often it is sent.
    fn of_key(&mut self, key: &str, next: &Scoring) {
        let known = self.started.contains_key(key);
        self.hold(known, "starts", &next.id, || "nobody has used its key".to_owned());
        let other = self.started.insert(key.to_owned(), Some(next.id.clone())).flatten();
        let is_one = other.as_ref().is_none_or(|other| *other == next.id);
        self.hold(is_one, "starts", &next.id, || format!("its key has started {other:?} before"));
    }

    /// Nothing is scored again that nobody has ordered to be.
    fn ordered(&mut self, next: &Scoring) {
        if next.start_key().is_some() {
            return;
        }
        let before = self.tracked.values().map(|known| &known.scoring).any(|other| {
            (&other.rule, &other.blob.url) == (&next.rule, &next.blob.url)
                && other.generation + 1 == next.generation
                && self.rescored.contains(&other.id)
        });
        self.hold(before, "generations", &next.id, || {
            format!("generation {}, and nobody has ordered it", next.generation)
        });
    }

    /// A scoring was let through to probe.
    pub(super) fn probes(&mut self, id: ScoringId) {
        self.probes.insert(id);
    }

    /// `maxInFlight`: scorings of which a job may exist and be unfinished.
    fn in_flight(&mut self, next: &Scoring, before: Option<Status>, event: Option<Event>, now: OffsetDateTime) {
        for scope in [LimitedBy::Rule(next.rule.clone()), LimitedBy::Endpoint(next.endpoint.clone())] {
            let Some(limit) = self.limits.get_mut(&scope) else { continue };
            if next.holds_slot() {
                let anew = limit.holding.insert(next.id.clone());
                // A job that turns up by itself: late, or when its slot was freed long ago.
                if anew && before.is_some() && event != Some(Event::SlotFree) {
                    limit.late.insert(next.id.clone());
                }
            } else {
                limit.holding.remove(&next.id);
                limit.late.remove(&next.id);
            }
            let of_rule = matches!(scope, LimitedBy::Rule(_));
            let beside = |id: &&ScoringId| limit.late.contains(*id) || (of_rule && self.probes.contains(*id));
            let (count, max) = (limit.holding.len() - limit.holding.iter().filter(beside).count(), limit.max(now));
            // A limit that was lowered stops nobody who has a job already.
            if count > max && event == Some(Event::SlotFree) {
                // It concerns all of them.
                let what = format!("{count} scorings of {} have or may have a job, maxInFlight is {max}", limit.of);
                self.broken("maxInFlight", None, what);
            }
        }
    }

    fn adopted(&mut self, next: &Scoring, name: &str, cloud: &Cloud) {
        let id = &next.id;
        let owner = cloud.owner(name);
        self.hold(owner.as_ref() == Some(&(id.clone(), next.attempt)), "adoption", id, || {
            format!("attempt {} adopted {name}, which belongs to {owner:?}", next.attempt)
        });
        let Some(known) = self.tracked.get_mut(id) else { return };
        let first = known.adopted.entry(next.attempt).or_insert_with(|| name.to_owned()).clone();
        self.hold(first == name, "adoption", id, || {
            format!("attempt {} adopted {first} and then {name}", next.attempt)
        });
    }

    /// The URL of an input whose scoring has just become scored.
    pub(super) fn just_scored(&self, id: &ScoringId, entries: &[Entry]) -> Option<String> {
        entries.iter().find(|entry| entry.to == Status::Scored && entry.from != Some(Status::Scored))?;
        self.tracked.get(id).map(|known| known.scoring.blob.url.clone())
    }

    /// The in-flight row is there while it is not final, the terminal row once it is, the row of the list always, and they say what
    /// it says.
    fn indexes(&mut self, next: &Scoring, peek: Peek<'_>) {
        let id = &next.id;
        let ended = next.status.is_terminal();
        let listed = peek(&listed_key(id, next.created)).is_some();
        self.hold(listed != next.is_group(), "list index", id, || {
            format!("it is {}in the list index", if listed { "" } else { "not " })
        });
        let in_flight = peek(&rows::in_flight_key(id));
        self.hold(in_flight.is_some() != ended, "in-flight index", id, || {
            format!("{}, and it is {}in the in-flight index", next.status, if ended { "" } else { "not " })
        });
        if let Some(row) = in_flight {
            let agrees = rows::from_in_flight_row(&row.entity)
                .is_ok_and(|row| row.status == next.status && row.due == next.due && row.attempt == next.attempt);
            self.hold(agrees, "in-flight index", id, || "the in-flight index says something else".to_owned());
        }
        let told = peek(&app::ledger::attention_key(id)).is_some();
        self.hold(told == next.needs_acknowledgement(), "attention", id, || {
            format!("{}, and it is {}among what needs a person", next.status, if told { "" } else { "not " })
        });
        if let Some(at) = next.completed {
            let terminal = if next.is_group() { rows::ended_group_key(id, at) } else { rows::terminal_key(id, at) };
            let listed = peek(&terminal).is_some();
            self.hold(listed, "terminal index", id, || format!("{}, and not in the terminal index", next.status));
            let by_status = end_keys(next.status, next.failure, &terminal).iter().all(|key| peek(key).is_some());
            self.hold(by_status, "index of ends", id, || format!("{}, and not among those", next.status));
        }
        self.hold(next.completed.is_some() == ended, "terminal index", id, || {
            format!("{}, with the time of its end {:?}", next.status, next.completed)
        });
    }

    /// An operator said what a limit is, or left it to the rules again.
    pub(super) fn limited(&mut self, rule: &str, max: Option<i32>, now: OffsetDateTime) {
        if let Ok(rule) = rule.parse()
            && let Some(limit) = self.limits.get_mut(&LimitedBy::Rule(rule))
        {
            let by_rules = limit.words[0].1;
            let max = max.map_or(by_rules, |max| usize::try_from(max).unwrap_or(0));
            limit.words.push((now, max));
        }
    }

    /// What is counted as needed by nobody is not a job that counts.
    fn orphaned_jobs(&mut self, next: &Scoring) {
        let Some(known) = self.tracked.get(&next.id) else { return };
        let wanted =
            next.orphaned_jobs.iter().find(|name| known.adopted.values().any(|adopted| **name == **adopted)).cloned();
        self.hold(wanted.is_none(), "orphanedJobs", &next.id, || {
            format!("{wanted:?} is adopted and counted as an orphaned job")
        });
    }

    /// A process that was frozen goes on.
    pub(super) fn went_on(&mut self, now: OffsetDateTime) {
        self.went_on = now;
    }

    /// A transaction over the instances of the projection was applied.
    pub(super) fn projected(&mut self, ops: &[Op]) {
        for entity in ops.iter().filter_map(Op::entity) {
            let version = entity.int32("StateVersion").unwrap_or(0);
            let before = self.projected.insert(entity.key.partition.clone(), version);
            let id = ScoringId::read(&entity.key.partition);
            if let Some(known) = id.as_ref().and_then(|id| self.tracked.get_mut(id)) {
                let is_its_end = known.scoring.status.is_terminal() && known.scoring.version == i64::from(version);
                known.opened &= !is_its_end;
            }
            if before.is_some_and(|before| before > version) {
                self.broken("projection", id.as_ref(), format!("it went back from {before:?} to {version}"));
            }
        }
    }

    /// Where the latest version alone is wanted, no job is asked for of an earlier one when a later one has been on record for
    /// longer than a decision may take. What a look has shown is there, whatever the order of the events.
    fn latest(&mut self, next: &Scoring, now: OffsetDateTime) {
        // Who has a version scored once more, or starts one by a key, means that one.
        let is_ordered = next.generation > 0 || next.start_key().is_some();
        let is_shown = next.in_place_of.is_some() || next.blob.sequencer.is_none() && next.blob.event_time.is_none();
        if self.overwrites(&next.rule) != Overwrites::LatestOnly || is_shown || is_ordered {
            return;
        }
        let later = self.tracked.values().map(|known| &known.scoring).find(|other| {
            other.rule == next.rule
                && other.blob.url == next.blob.url
                && other.blob.etag != next.blob.etag
                && other.is_later_than(next)
                && (!other.status.is_terminal() || other.status == Status::Scored)
                && self.recorded.get(&other.id).is_some_and(|at| now - (*at).max(self.went_on) > DECISION)
        });
        if let Some(later) = later.map(|later| later.id.clone()) {
            self.broken("latest only", Some(&next.id), format!("a job is asked for, and {later} is a later version"));
        }
    }
}
