//! How a ledger stands: counts, and what needs attention with the next command to run.

use std::fmt;

use lifecycle::Status;
use lifecycle::breaker::BreakerSubject;
use lifecycle::redact::redacted;
use time::{Duration, OffsetDateTime};

use super::breakers::{BreakerView, breakers};
use super::limits::{LimitView, limits};
use super::pending::{PendingView, pending};
use crate::ledger::{self, InFlight, Ledger, RecordedEvent, Unreadable, count_by_status};

/// Skipped or quarantined events that are counted; of more it is known that there are that many.
const MAX_EVENTS: usize = 1_000;

/// How a ledger stands.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusReport {
    /// Scorings by status, in the order of a life; final ones that ended since `since`.
    pub counts: Vec<(Status, usize)>,
    /// A day ago.
    pub since: OffsetDateTime,
    /// Scorings that are not final.
    pub in_flight: usize,
    /// When the oldest of these was accepted.
    pub oldest: Option<OffsetDateTime>,
    /// When the last complete reconcile run began.
    pub last_run: Option<OffsetDateTime>,
    /// Events since `since` that no rule wanted, at most a thousand.
    pub skipped: usize,
    /// Events since `since` that could not be read, at most a thousand.
    pub quarantined: usize,
    /// Uploads and renamed folders that wait for a look at the storage, and rows of such that cannot be read.
    pub pending: usize,
    /// Every rule and endpoint with its limit.
    pub limits: Vec<LimitView>,
    /// Every deployment of which attempts have failed.
    pub breakers: Vec<BreakerView>,
    /// What needs attention, the most urgent first.
    pub findings: Vec<Finding>,
}

/// One thing that needs attention. Its text ends with the next command.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// So many scorings failed since a day ago.
    Failed(usize),
    /// So many scorings wait for an operator's resolution.
    Held(usize),
    /// So many jobs could not be found when they were last looked at.
    JobMissing(usize),
    /// An open breaker of a deployment, or a rule that is paused by its own, keeps so many scorings waiting.
    BreakerOpen {
        /// Queued scorings of its deployment or rule.
        waiting: usize,
        /// The breaker.
        breaker: Box<BreakerView>,
    },
    /// Uploads cannot be looked at, so that their versions are not known.
    NotSeen {
        /// How many.
        count: usize,
        /// Why the oldest cannot.
        reason: String,
    },
    /// Rows of the ledger cannot be read.
    Unreadable {
        /// How many.
        count: usize,
        /// The first of them, and what is wrong with it.
        first: String,
    },
    /// Events were quarantined.
    Quarantined {
        /// How many since a day ago, at most a thousand.
        count: usize,
        /// Why the first was.
        reason: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(count) => write!(f, "{count} failed in the last 24 h: scorekeeper list --status failed"),
            Self::Held(count) => {
                write!(f, "{count} held, the answer lost and the job not found: scorekeeper list --status held")
            }
            Self::JobMissing(count) => {
                write!(f, "{count} whose job cannot be found: scorekeeper list --status running")
            }
            Self::BreakerOpen { waiting, breaker } => {
                let (subject, summary, remedy) = (breaker.subject(), breaker.summary(), breaker.remedy());
                write!(f, "{waiting} wait for {subject}: circuit breaker {summary}: {remedy}")
            }
            Self::NotSeen { count, reason } => {
                write!(f, "{count} uploads cannot be looked at ({reason}): scorekeeper list --pending")
            }
            Self::Unreadable { count, first } => {
                write!(
                    f,
                    "{count} rows of the ledger cannot be read, so that nothing is done for them, the first is {first}: scorekeeper list, scorekeeper list --pending"
                )
            }
            Self::Quarantined { count, reason } => {
                write!(f, "{count} events quarantined in the last 24 h, the first because {reason}")
            }
        }
    }
}

impl StatusReport {
    /// Scorings in this status.
    pub fn count(&self, status: Status) -> usize {
        self.counts.iter().find(|(other, _)| *other == status).map_or(0, |(_, count)| *count)
    }
}

/// Reads how the ledger stands at `now`: the in-flight index, a day of the terminal index, the controls.
pub async fn status(ledger: &Ledger, now: OffsetDateTime) -> Result<StatusReport, ledger::Error> {
    let since = now - Duration::days(1);
    let in_flight = ledger.in_flight().await?;
    let ended = ledger.ended_since(since).await?;
    let quarantined = ledger.recorded_events(RecordedEvent::Quarantined, since, MAX_EVENTS).await?;
    let skipped = ledger.recorded_events(RecordedEvent::Skipped, since, MAX_EVENTS).await?.len();
    let statuses = in_flight.iter().map(|row| row.status).chain(ended.iter().map(|row| row.status));
    let (controls, unreadable) = ledger.readable_controls().await?;
    let unreadable: Vec<&Unreadable> =
        in_flight.unreadable.iter().chain(&ended.unreadable).chain(&unreadable).collect();
    let pending = pending(ledger).await?;
    let first = unreadable.first().map(|first| redacted(&first.to_string()).into_owned());
    let first = first.or_else(|| Some(pending.unreadable.first()?.error.clone()));
    let count = unreadable.len() + pending.unreadable.len();
    let unreadable = first.map(|first| Finding::Unreadable { count, first });
    let mut report = StatusReport {
        counts: count_by_status(statuses),
        since,
        in_flight: in_flight.len(),
        oldest: in_flight.iter().map(|row| row.created).min(),
        last_run: ledger.heartbeat().await?.map(|heartbeat| heartbeat.at),
        skipped,
        quarantined: quarantined.len(),
        pending: pending.len(),
        limits: limits(&controls),
        breakers: breakers(&controls),
        findings: Vec::new(),
    };
    let reason = quarantined.first().map(|event| redacted(event.string("Reason").unwrap_or_default()).into_owned());
    report.findings = findings(&report, &in_flight, &pending.waiting, unreadable, reason);
    Ok(report)
}

fn findings(
    report: &StatusReport,
    in_flight: &[InFlight],
    pending: &[PendingView],
    unreadable: Option<Finding>,
    quarantined: Option<String>,
) -> Vec<Finding> {
    let some = |count: usize| Some(count).filter(|count| *count > 0);
    let missing = in_flight.iter().filter(|row| row.missing).count();
    let waiting = |view: &BreakerView| {
        let of_it = |row: &&InFlight| {
            row.status == Status::Queued
                && match &view.of {
                    BreakerSubject::Rule(rule) => row.rule == *rule,
                    BreakerSubject::Deployment { endpoint, deployment } => {
                        row.endpoint == *endpoint && row.deployment == *deployment
                    }
                }
        };
        in_flight.iter().filter(of_it).count()
    };
    // A deployment or a rule that nobody waits for any more is not a finding.
    let open = report.breakers.iter().filter(|view| view.is_open()).filter_map(|view| {
        some(waiting(view)).map(|waiting| Finding::BreakerOpen { waiting, breaker: Box::new(view.clone()) })
    });
    let first = [
        some(report.count(Status::Failed)).map(Finding::Failed),
        some(report.count(Status::Held)).map(Finding::Held),
        some(missing).map(Finding::JobMissing),
    ];
    let failed: Vec<&PendingView> = pending.iter().filter(|view| view.look_failed).collect();
    let not_seen = failed.first().map(|view| Finding::NotSeen { count: failed.len(), reason: view.reason.clone() });
    let last = quarantined.map(|reason| Finding::Quarantined { count: report.quarantined, reason });
    first.into_iter().flatten().chain(open).chain(unreadable).chain(not_seen).chain(last).collect()
}
