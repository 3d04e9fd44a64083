//! What needs attention now: one list, for the text and the JSON of `status`, its exit code, and the page.
//!
//! A finding is about now: it goes when its cause is gone, or when a person has acknowledged it. Each has since when, how many, why
//! (equal reasons are one finding), and the next command.

use std::collections::BTreeMap;
use std::fmt;

use lifecycle::breaker::BreakerSubject;
use lifecycle::digest::digest;
use lifecycle::redact::redacted;
use lifecycle::schedule::is_ahead;
use lifecycle::{FailureCause, RuleId, Status, failure};
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use super::breakers::BreakerView;
use super::expected::ENOUGH;
use super::limits::LimitView;
use super::pending::PendingView;
use super::sweeps::SweepView;
use super::text::{duration_text, shortened, utc_text};
use crate::ledger::{DeadLettersLeft, EndCounts, InFlight, NotSwept, Quarantined, RulesProblem, Runs, Unacknowledged};
use crate::stuck;

/// A reconcile run takes ten minutes at most, and comes every minute.
const RUN_OVERDUE_AFTER: Duration = Duration::minutes(10);
/// What a later try may cure is told of when it has lasted so long.
const PASSING: Duration = Duration::minutes(10);
/// Tries in a row after which what a later one may cure is told of.
const PASSING_TRIES: u32 = 5;
/// A queue that moves is told of when somebody has waited for so long.
const LONG_WAIT: Duration = Duration::hours(1);
/// Characters of a reason by which findings are one.
const SAME_REASON: usize = 100;
/// Findings of one kind; what is beyond them shows in lists.
const MAX_OF_KIND: usize = 10;

/// What kind of thing needs attention. The words are stable: scripts rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FindingKind {
    /// There is no ledger there.
    NoLedger,
    /// No reconcile run has ended for too long.
    RunOverdue,
    /// The last reconcile run lies in the future: a clock is wrong, or was.
    RunAhead,
    /// The rules in their blob are broken, or cannot be read.
    RulesUnusable,
    /// No event came for longer than was expected.
    EventsOverdue,
    /// Requests or looks are denied: a token or a role is missing.
    Denied,
    /// Requests are refused, again and again.
    Refused,
    /// It cannot be looked.
    CannotLook,
    /// Files cannot be copied for their groups.
    CannotCopy,
    /// Scorings are held: a person may decide.
    Held,
    /// Scorings were put on hold by operators.
    OnHold,
    /// Scorings stand in a status for longer than that takes.
    Stuck,
    /// Jobs could not be found when they were last looked at.
    JobMissing,
    /// A circuit breaker keeps scorings waiting.
    BreakerOpen,
    /// A rule or an endpoint is paused.
    Paused,
    /// Scorings have waited long for a slot.
    LimitReached,
    /// Scorings failed.
    Failed,
    /// Results could not be published where the rules say.
    NotPublished,
    /// Jobs were made that no scoring needs.
    OrphanedJobs,
    /// Rows of the ledger cannot be read.
    Unreadable,
    /// Uploads cannot be looked at, so that their versions are not known.
    NotSeen,
    /// Places of rules are not swept, though they are due.
    SweepOverdue,
    /// Rules are not swept, as nobody says in which account.
    NotSwept,
    /// Places of rules cannot be listed, or what was found there not be taken in.
    CannotSweep,
    /// What Event Grid could not deliver lies where it was written to.
    DeadLetters,
    /// Events could not be read.
    Quarantined,
}

/// One thing that needs attention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What kind of thing it is.
    pub kind: FindingKind,
    /// How many scorings, uploads, rows or events it concerns.
    pub count: usize,
    /// Since when; `None`, and `null` in JSON, where nothing that can be read says it.
    #[serde(with = "time::serde::rfc3339::option")]
    pub since: Option<OffsetDateTime>,
    /// What is wrong, and why.
    pub reason: String,
    /// The next command.
    pub next: String,
    /// Names exactly what it concerns in orders and lists (`--finding`), for as long as its reason is the same; none where nothing
    /// of it can be ordered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Ids of the scorings or events that it concerns, where an order can be given of them.
    #[serde(skip)]
    pub of: Vec<String>,
    /// The commands that order what helps, of all that it concerns.
    #[serde(skip)]
    pub orders: Vec<&'static str>,
}

impl Finding {
    /// Since when, for people. Of what is not there, of rows that cannot be read and of a clock that is wrong nothing tells it: that is
    /// said, as a finding without a time would read as one of now.
    pub fn since_text(&self) -> String {
        self.since.map_or_else(|| "since when is not known".to_owned(), |at| format!("since {} UTC", utc_text(at)))
    }
}

/// `3 failed under rule claims (userCode: …), since 2026-07-21 10:00:00 UTC: scorekeeper …`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}: {}", self.reason, self.since_text(), self.next)
    }
}

/// What findings are read from.
pub(super) struct Seen<'a> {
    pub(super) task_hub: &'a str,
    pub(super) has_ledger: bool,
    pub(super) runs: Runs,
    /// What is wrong with the rules, as it was recorded last.
    pub(super) rules: Option<RulesProblem>,
    pub(super) in_flight: &'a [InFlight],
    /// Of the last day.
    pub(super) ended: &'a EndCounts,
    /// Failures that a newer success does not make up for, and orphaned jobs.
    pub(super) unacknowledged: &'a [Unacknowledged],
    pub(super) breakers: &'a [BreakerView],
    pub(super) limits: &'a [LimitView],
    pub(super) sweeps: &'a [SweepView],
    /// Rules that are to be swept and are not.
    pub(super) not_swept: &'a NotSwept,
    /// As they were seen last, if there were any.
    pub(super) dead_letters: Option<&'a DeadLettersLeft>,
    pub(super) pending: &'a [PendingView],
    /// Those that nobody has acknowledged.
    pub(super) quarantined: &'a [Quarantined],
    /// Rows that cannot be read, and the first of them.
    pub(super) unreadable: (usize, Option<String>),
    /// When the newest upload was received, and how long the next may take.
    pub(super) events: (Option<OffsetDateTime>, Option<Duration>),
    pub(super) now: OffsetDateTime,
}

/// Everything that needs attention, the most urgent first.
pub(super) fn findings(seen: &Seen<'_>) -> Vec<Finding> {
    let mut all: Vec<Finding> = seen.of_runs().into_iter().collect();
    all.extend(seen.of_rules());
    all.extend(seen.of_events());
    all.extend(seen.of_errors());
    all.extend(seen.held());
    all.extend(seen.on_hold());
    all.extend(seen.stuck());
    all.extend(seen.missing());
    all.extend(seen.of_breakers());
    all.extend(seen.of_limits());
    all.extend(seen.failed());
    all.extend(seen.not_published());
    all.extend(seen.orphaned());
    all.extend(seen.of_sweeps());
    all.extend(seen.of_dead_letters());
    all.extend(seen.unread());
    for finding in &mut all {
        finding.reason = redacted(&finding.reason).into_owned();
    }
    all
}

fn one(kind: FindingKind, count: usize, since: Option<OffsetDateTime>, reason: String, next: &str) -> Finding {
    let (of, orders) = (Vec::new(), Vec::new());
    Finding { kind, count, since, reason, next: next.to_owned(), id: None, of, orders }
}

/// With orders for exactly what it concerns, each of which that takes.
fn with_orders(finding: Finding, group: &str, of: Vec<String>, orders: &[&'static str]) -> Finding {
    let id = digest(&["finding", &format!("{:?}", finding.kind), group])[..8].to_owned();
    let yes = if of.len() > 1 { " --yes" } else { "" };
    let next: Vec<_> = orders.iter().map(|verb| format!("scorekeeper {verb} --finding {id} --reason …{yes}")).collect();
    Finding { next: next.join(", or "), id: Some(id), of, orders: orders.to_vec(), ..finding }
}

/// Rows with equal reasons, the most frequent first.
struct Groups<K>(BTreeMap<(K, String), Group>);

struct Group {
    /// What it is one of: the same for equal reasons.
    same: String,
    /// Ids of its rows.
    of: Vec<String>,
    count: usize,
    since: OffsetDateTime,
    /// As the first of them has it.
    reason: String,
}

impl<K: Ord + Clone> Groups<K> {
    fn new() -> Self {
        Self(BTreeMap::new())
    }

    fn add(&mut self, key: K, id: &str, reason: &str, since: OffsetDateTime) {
        // Ids, times, counts and names of blobs differ from one to the next.
        let same = |c: char| if c.is_ascii_digit() { '0' } else { c };
        let without_names: Vec<&str> =
            reason.split('`').map(|part| if part.contains('/') && !part.contains(' ') { "/" } else { part }).collect();
        let same: String = without_names.join("`").chars().take(SAME_REASON).map(same).collect();
        let new = || Group { same: same.clone(), of: Vec::new(), count: 0, since, reason: reason.to_owned() };
        let group = self.0.entry((key, same.clone())).or_insert_with(new);
        group.of.push(id.to_owned());
        group.count += 1;
        group.since = group.since.min(since);
    }

    fn most_frequent(self) -> impl Iterator<Item = (K, Group)> {
        let mut all: Vec<_> = self.0.into_iter().map(|((key, _), group)| (key, group)).collect();
        all.sort_by_key(|(_, group)| std::cmp::Reverse(group.count));
        all.into_iter().take(MAX_OF_KIND)
    }
}

/// Whether an error says that access is denied.
fn is_denied(error: &str) -> bool {
    error.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| matches!(word, "401" | "403"))
}

impl Seen<'_> {
    /// Whether there is a ledger, and whether its timer lives.
    fn of_runs(&self) -> Option<Finding> {
        if !self.has_ledger {
            let reason = format!(
                "there is no ledger under the task hub {}: nothing was ever deployed with it, or --task-hub or --ledger is mistyped",
                self.task_hub
            );
            return Some(one(FindingKind::NoLedger, 1, None, reason, "scorekeeper config"));
        }
        let next = "scorekeeper doctor";
        let last = self.runs.complete.as_ref().map(|heartbeat| heartbeat.at);
        if let Some(last) = last.filter(|at| is_ahead(*at, self.now)) {
            let reason = format!(
                "the last reconcile run lies in the future ({} UTC): the clock of the app, or of this machine, is wrong or was",
                utc_text(last)
            );
            return Some(one(FindingKind::RunAhead, 1, None, reason, next));
        }
        let is_long = |since: &OffsetDateTime| self.now - *since > RUN_OVERDUE_AFTER;
        let unfinished = self.runs.unfinished();
        let waits = self.in_flight.iter().map(|row| row.created).chain(self.pending.iter().map(|view| view.since));
        let since = last.or_else(|| waits.chain(unfinished.map(|run| run.first)).min()).filter(is_long)?;
        // A long one, as the first may be, is no sign of a dead timer; nor is one that ends as often as it begins.
        if self.runs.running(self.now).is_some_and(|run| !is_long(&run.first)) {
            return None;
        }
        let begun = unfinished.map_or(String::new(), |run| {
            let (count, last) = (run.count, utc_text(run.at));
            format!("; {count} began since then and were not completed, the last one at {last} UTC")
        });
        let reason = match last {
            Some(_) => format!("no reconcile run has ended{begun}"),
            None if begun.is_empty() => "no reconcile run has ever ended, though there is something to do".to_owned(),
            None => format!("no reconcile run has ever ended{begun}"),
        };
        Some(one(FindingKind::RunOverdue, 1, Some(since), reason, next))
    }

    /// Whether the rules can be used. A problem that lasts is recorded each minute; whoever had an older one is gone.
    fn of_rules(&self) -> Option<Finding> {
        let RulesProblem { blob, text, kept, since, at } = self.rules.as_ref()?;
        if self.now - *at > RUN_OVERDUE_AFTER {
            return None;
        }
        let meanwhile = match kept {
            Some(etag) => format!("those of ETag {etag} are kept"),
            None => "every invocation is refused, and events are delivered again".to_owned(),
        };
        let next = format!("scorekeeper rules check {blob}");
        Some(one(FindingKind::RulesUnusable, 1, Some(*since), format!("{text}; {meanwhile}"), &next))
    }

    fn of_events(&self) -> Option<Finding> {
        let (last, within) = (self.events.0, self.events.1?);
        if !self.has_ledger || last.is_some_and(|last| self.now - last <= within) {
            return None;
        }
        let reason = format!("no upload was received for longer than {}", duration_text(within));
        Some(one(FindingKind::EventsOverdue, 1, last, reason, "scorekeeper doctor"))
    }

    /// Whether what no event told of would be found.
    fn of_sweeps(&self) -> Vec<Finding> {
        let next = "scorekeeper doctor";
        let mut all = Vec::new();
        if let [first, more @ ..] = &*self.not_swept.rules {
            let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
            let reason = format!(
                "rule {first}{more} is not swept: it names no `match.account`, and SCOREKEEPER_WATCHED_ACCOUNTS none; what no event tells of is not found"
            );
            let count = self.not_swept.rules.len();
            all.push(one(FindingKind::NotSwept, count, self.not_swept.since, reason, "scorekeeper config"));
        }
        for view in self.sweeps {
            let SweepView { rule, place, failures, .. } = view;
            let is_told = |why: &&str| is_denied(why) || *failures >= PASSING_TRIES || view.unaccounted > 0;
            let failure = view.failure.as_deref().filter(is_told);
            if let Some(why) = failure {
                let left = Some(view.unaccounted).filter(|count| *count > 0);
                let left =
                    left.map(|count| format!("; {count} versions there are unaccounted for")).unwrap_or_default();
                let reason = format!("{place} cannot be swept under rule {rule} ({}){left}", shortened(why, 160));
                all.push(one(FindingKind::CannotSweep, 1, Some(view.ended.unwrap_or(view.since)), reason, next));
            } else if let Some(since) = view.overdue_since {
                let reason = format!(
                    "{place} is not swept under rule {rule}: the function Sweep does not run, or has no time for it"
                );
                all.push(one(FindingKind::SweepOverdue, 1, Some(since), reason, next));
            }
        }
        all.truncate(MAX_OF_KIND);
        all
    }

    /// Whether something lies where Event Grid gives up.
    fn of_dead_letters(&self) -> Vec<Finding> {
        let Some(seen) = self.dead_letters else { return Vec::new() };
        let found = |count: u64, what: &str, next: &str| {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            let reason = format!("{count} dead letters of Event Grid lie in {}{what}", seen.place);
            one(FindingKind::DeadLetters, count, Some(seen.since), reason, next)
        };
        let mut all = Vec::new();
        if seen.left > 0 || seen.failure.is_some() {
            let why = seen.failure.as_deref().map(|why| format!(" ({})", shortened(why, 160))).unwrap_or_default();
            let what = format!(" and could not be taken in{why}");
            all.push(found(seen.left, &what, "scorekeeper doctor"));
        }
        if seen.too_old > 0 {
            let what = " and are older than what the ledger remembers: what they tell of may have been scored";
            all.push(found(seen.too_old, what, "scorekeeper dead-letters --too-old"));
        }
        all
    }

    /// What keeps scorings from being sent, or from being looked at.
    fn of_errors(&self) -> Vec<Finding> {
        let mut groups = Groups::new();
        for row in self.in_flight {
            let Some(error) = &row.last_error else { continue };
            let kind = match row.status {
                Status::Queued if row.refusals > 0 && is_denied(error) => FindingKind::Denied,
                Status::Queued if row.refusals > 0 => FindingKind::Refused,
                Status::Unknown | Status::Verifying | Status::Staging if is_denied(error) => FindingKind::Denied,
                Status::Unknown | Status::Verifying => FindingKind::CannotLook,
                Status::Staging => FindingKind::CannotCopy,
                // What is held is told of as that, and a job that is missing too.
                _ => continue,
            };
            // A back-off begins anew with each refusal.
            let since = if matches!(row.status, Status::Queued | Status::Staging) { row.created } else { row.since };
            // A role that is missing does not come by itself.
            if kind == FindingKind::Denied || self.now - since > PASSING {
                groups.add((kind, row.status), row.id.as_str(), error, since);
            }
        }
        let finding = |((kind, status), group): ((FindingKind, Status), Group)| {
            let Group { count, since, reason, .. } = group;
            let what = match status {
                Status::Queued => "are refused",
                Status::Staging if count == 1 => "group waits for copies of its files",
                Status::Staging => "groups wait for copies of their files",
                _ => "cannot be looked for or at",
            };
            let next = match kind {
                FindingKind::Denied | FindingKind::CannotCopy => "scorekeeper doctor".to_owned(),
                _ => format!("scorekeeper list --status {status}"),
            };
            one(kind, count, Some(since), format!("{count} {what} ({})", shortened(&reason, 160)), &next)
        };
        groups.most_frequent().map(finding).collect()
    }

    fn held(&self) -> Vec<Finding> {
        let mut groups = Groups::new();
        for row in self.in_flight.iter().filter(|row| row.status == Status::Held) {
            groups.add((), row.id.as_str(), row.last_error.as_deref().unwrap_or("its job was not found"), row.since);
        }
        let finding = |((), Group { count, since, reason, .. }): ((), Group)| {
            let reason = format!("{count} held, the answer lost and the job not found ({})", shortened(&reason, 160));
            one(FindingKind::Held, count, Some(since), reason, "scorekeeper list --status held")
        };
        groups.most_frequent().map(finding).collect()
    }

    /// What operators put on hold: it is easily forgotten.
    fn on_hold(&self) -> Vec<Finding> {
        let mut groups = Groups::new();
        let rows = self.in_flight.iter().filter(|row| row.is_group() && row.on_hold.is_some());
        // Whoever orders something of a group orders it of all its members.
        let groups_on_hold: Vec<&str> = rows.map(|row| row.id.as_str()).collect();
        for row in self.in_flight {
            if let Some(order) = &row.on_hold {
                groups.add((), row.id.as_str(), order, row.on_hold_since.unwrap_or(row.since));
            }
        }
        let finding = |((), Group { same, of, count, since, reason }): ((), Group)| {
            let reason = format!("{count} {}", shortened(&reason, 160));
            let is_asked = of.len() == 1 && groups_on_hold.contains(&of[0].as_str());
            let mut finding =
                with_orders(one(FindingKind::OnHold, count, Some(since), reason, ""), &same, of, &["release"]);
            if is_asked {
                finding.next.push_str(" --yes");
            }
            finding
        };
        groups.most_frequent().map(finding).collect()
    }

    /// By phase: a hard limit for what lasts minutes, and for a running job three times what nineteen of twenty of its rule take.
    fn stuck(&self) -> Vec<Finding> {
        let mut phases: BTreeMap<Status, (usize, OffsetDateTime)> = BTreeMap::new();
        for row in self.in_flight {
            let slow = row.status == Status::Running
                && stuck::is_slow(self.ended.usual_time(&row.rule, ENOUGH), row.since, self.now);
            let waits = row.on_hold.is_none();
            if slow || waits && stuck::is_stuck(row.status, row.since, self.now) {
                let phase = phases.entry(row.status).or_insert((0, row.since));
                *phase = (phase.0 + 1, phase.1.min(row.since));
            }
        }
        let finding = |(status, (count, since)): (Status, (usize, OffsetDateTime))| {
            let why = match status {
                Status::Running => "for more than three times what their rule's jobs usually take",
                Status::Queued => "for more than a day",
                _ => "for more than an hour, in a status that lasts minutes",
            };
            let next = format!("scorekeeper list --status {status}");
            one(FindingKind::Stuck, count, Some(since), format!("{count} stuck {status}, {why}"), &next)
        };
        phases.into_iter().map(finding).collect()
    }

    fn missing(&self) -> Option<Finding> {
        let missing: Vec<&InFlight> = self.in_flight.iter().filter(|row| row.missing).collect();
        let since = missing.iter().map(|row| row.since).min()?;
        let reason = format!("{} whose job cannot be found", missing.len());
        let next = "scorekeeper list --status running";
        Some(one(FindingKind::JobMissing, missing.len(), Some(since), reason, next))
    }

    /// A breaker that nobody waits for any more is not a finding.
    fn of_breakers(&self) -> impl Iterator<Item = Finding> {
        self.breakers.iter().filter(|view| view.is_open()).filter_map(|view| {
            let of_it = |row: &&InFlight| {
                row.status == Status::Queued
                    && match &view.of {
                        BreakerSubject::Rule(rule) => row.rule == *rule,
                        BreakerSubject::Deployment { endpoint, deployment } => {
                            row.endpoint == *endpoint && row.deployment == *deployment
                        }
                    }
            };
            let waiting = self.in_flight.iter().filter(of_it).count();
            let reason = format!("{waiting} wait for {}: circuit breaker {}", view.subject(), view.summary());
            (waiting > 0).then(|| one(FindingKind::BreakerOpen, waiting, view.failed_time, reason, &view.remedy()))
        })
    }

    fn of_limits(&self) -> impl Iterator<Item = Finding> {
        self.limits.iter().filter_map(|view| {
            let of_it = |row: &&InFlight| {
                row.status == Status::Queued
                    && if view.kind == "rule" { *row.rule == *view.name } else { *row.endpoint == *view.name }
            };
            let next = match view.set_time {
                Some(_) => format!("scorekeeper resume {} --reason …", view.name),
                None => format!("scorekeeper limit --{} {} N --reason …", view.kind, view.name),
            };
            let waits = usize::try_from(view.waiting).unwrap_or(usize::MAX);
            let oldest = self.in_flight.iter().filter(of_it).map(|row| row.created).min();
            if view.limit == Some(0) {
                // An operator's pause is told of before somebody waits for it: it is easily forgotten.
                let told = view.set_time.is_some() || waits > 0;
                let reason = format!("{} {} is paused, {waits} wait", view.kind, view.name);
                // Of a pause by the rules the first that waits for it tells.
                return told.then(|| one(FindingKind::Paused, waits, view.set_time.or(oldest), reason, &next));
            }
            let oldest = oldest.filter(|at| waits > 0 && view.limit.is_some() && self.now - *at > LONG_WAIT)?;
            let reason = format!("{} {}: {}", view.kind, view.name, view.summary());
            Some(one(FindingKind::LimitReached, waits, Some(oldest), reason, "scorekeeper limit"))
        })
    }

    fn failed(&self) -> Vec<Finding> {
        let mut groups = Groups::new();
        for row in self.unacknowledged.iter().filter(|row| row.is_failed_scoring()) {
            groups.add(
                (row.rule.clone(), row.failure),
                row.id.as_str(),
                row.error.as_deref().unwrap_or("no reason is known"),
                row.since,
            );
        }
        let finding = |((rule, cause), group): ((RuleId, Option<FailureCause>), Group)| {
            let Group { same, of, count, since, reason } = group;
            let group = format!("{rule} {cause:?} {same}");
            let remedy = cause.and_then(|cause| failure::remedy(cause, &reason));
            let remedy = remedy.map(|remedy| format!("; remedy: {remedy}")).unwrap_or_default();
            let cause = cause.map(|cause| format!("{}: ", cause.name())).unwrap_or_default();
            let reason = format!("{count} failed under rule {rule} ({cause}{}{remedy})", shortened(&reason, 160));
            with_orders(one(FindingKind::Failed, count, Some(since), reason, ""), &group, of, &["retry", "ack"])
        };
        groups.most_frequent().map(finding).collect()
    }

    fn not_published(&self) -> Vec<Finding> {
        let mut groups = Groups::new();
        for row in self.unacknowledged.iter().filter(|row| row.status == Status::Scored) {
            if let Some(why) = &row.not_published {
                groups.add((row.rule.clone(), row.can_be_published), row.id.as_str(), why, row.since);
            }
        }
        let finding = |((rule, can), Group { same, of, count, since, reason }): ((RuleId, bool), Group)| {
            let first = of.first().cloned().unwrap_or_default();
            let what = format!("{count} scored under rule {rule} and not published ({})", shortened(&reason, 200));
            let finding = one(FindingKind::NotPublished, count, Some(since), what, "");
            let mut finding =
                with_orders(finding, &format!("{rule} {same}"), of, &[if can { "publish" } else { "rescore" }, "ack"]);
            finding.next = format!("scorekeeper show {first}, then {}", finding.next);
            finding
        };
        groups.most_frequent().map(finding).collect()
    }

    fn orphaned(&self) -> Option<Finding> {
        let rows: Vec<&Unacknowledged> = self.unacknowledged.iter().filter(|row| row.orphaned_jobs > 0).collect();
        let since = rows.iter().map(|row| row.since).min()?;
        let jobs: u32 = rows.iter().map(|row| row.orphaned_jobs).sum();
        let first = &rows.first()?.id;
        let several = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        let count = usize::try_from(jobs).unwrap_or(usize::MAX);
        let (jobs, them) = (several(count, "orphaned job"), if count == 1 { "it was" } else { "they were" });
        let groups = rows.iter().filter(|row| row.is_group).count();
        let of = match (rows.len() - groups, groups) {
            (scorings, 0) => several(scorings, "scoring"),
            (0, groups) => several(groups, "group"),
            (scorings, groups) => format!("{} and {}", several(scorings, "scoring"), several(groups, "group")),
        };
        let reason = format!("{jobs} of {of}: made and not needed, {them} told to stop");
        let of = rows.iter().map(|row| row.id.to_string()).collect();
        let mut finding = one(FindingKind::OrphanedJobs, rows.len(), Some(since), reason, "");
        finding = with_orders(finding, "", of, &["ack"]);
        finding.next = format!("scorekeeper show {first}, then {}", finding.next);
        Some(finding)
    }

    /// What cannot be read: rows, blobs, events.
    fn unread(&self) -> Vec<Finding> {
        let mut all = Vec::new();
        if let (count, Some(first)) = &self.unreadable {
            let (rows, them) = if *count == 1 { ("row", "it") } else { ("rows", "them") };
            let reason = format!(
                "{count} {rows} of the ledger cannot be read, so that nothing is done for {them}, the first is {first}"
            );
            all.push(one(FindingKind::Unreadable, *count, None, reason, "scorekeeper list"));
        }
        let failed: Vec<&PendingView> = self.pending.iter().filter(|view| view.look_failed).collect();
        if let Some(first) = failed.first() {
            let uploads = if failed.len() == 1 { "upload" } else { "uploads" };
            let reason = format!("{} {uploads} cannot be looked at ({})", failed.len(), first.reason);
            let next = "scorekeeper list --pending";
            all.push(one(FindingKind::NotSeen, failed.len(), Some(first.since), reason, next));
        }
        let mut groups = Groups::new();
        for event in self.quarantined {
            groups.add((), &event.key, &event.reason, event.at);
        }
        all.extend(groups.most_frequent().map(|((), Group { same, of, count, since, reason })| {
            let events = if count == 1 { "event" } else { "events" };
            let reason = format!("{count} {events} quarantined in the last 24 h, because {}", shortened(&reason, 200));
            let finding = one(FindingKind::Quarantined, count, Some(since), reason, "");
            let mut finding = with_orders(finding, &same, of, &["ack"]);
            finding.next = format!("scorekeeper list --quarantined, then {}", finding.next);
            finding
        }));
        all
    }
}
