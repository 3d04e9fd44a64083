//! What needs attention now: one list, for the text and the JSON of `status`, its exit code, and the page.
//!
//! A finding is about now: it goes when its cause is gone, or when a person has acknowledged it. Each has since when, how many, why
//! (equal reasons are one finding), and the next command.

mod ended;
mod in_flight;
mod installation;
mod same_reason;

use std::fmt;

use lifecycle::digest::digest;
use lifecycle::redact::redacted;
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use super::breakers::BreakerView;
use super::limits::LimitView;
use super::pending::PendingView;
use super::sweeps::SweepView;
use super::text::utc_text;
use crate::ledger::{
    Controls, DeadLettersLeft, EndCounts, InFlight, NotSwept, Quarantined, RulesProblem, Runs, Unacknowledged,
};

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
    /// Lost submissions or outputs cannot be looked at, though nothing was denied.
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
    /// Scorings failed that nobody has acknowledged, and that no newer success makes up for.
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
    /// How many scorings, uploads, rows or events it concerns; a group is one, as limits, holds and breakers count it.
    pub count: usize,
    /// Since when; `None`, and `null` in JSON, where nothing that can be read says it.
    #[serde(with = "time::serde::rfc3339::option")]
    pub since: Option<OffsetDateTime>,
    /// What is wrong, and why.
    pub reason: String,
    /// The command to run next, for people; sometimes with what to do before it.
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
pub(super) struct FindingInputs<'a> {
    pub(super) task_hub: &'a str,
    pub(super) has_ledger: bool,
    pub(super) runs: Runs,
    /// What is wrong with the rules, as it was recorded last.
    pub(super) rules: Option<RulesProblem>,
    pub(super) in_flight: &'a [InFlight],
    pub(super) controls: &'a Controls,
    /// What ended in the last day.
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
pub(super) fn findings(seen: &FindingInputs<'_>) -> Vec<Finding> {
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

/// Whether an error says that access is denied.
fn is_denied(error: &str) -> bool {
    says(error, &["401", "403"])
}

/// Whether an error has one of these words.
fn says(error: &str, words: &[&str]) -> bool {
    error.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| words.contains(&word))
}
