//! How a ledger stands: counts, and what needs attention with the next command to run.

use lifecycle::Status;
use lifecycle::redact::redacted;
use time::{Duration, OffsetDateTime};
use tokio::try_join;

use super::breakers::{BreakerView, breakers};
use super::coverage::{CoverageView, Tally, unaccounted};
use super::deployments::{DeploymentView, deployments};
use super::findings::{Finding, FindingInputs, findings};
use super::groups::is_waiting_for_others;
use super::limits::{LimitView, limits};
use super::pending::pending;
use super::sweeps::{SweepView, sweeps};
use crate::ledger::{
    self, Controls, EndCounts, InFlight, Ledger, RecordedEvent, Runs, Unreadable, begin_of_hour, count_by_status,
};

/// Skipped or quarantined events that are counted; of more it is known that there are that many.
const MAX_EVENTS: usize = 1_000;

/// How a ledger stands at one moment, as `scorekeeper status` and the page show it.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusReport {
    /// Scorings by status, in the order of a life; final ones that ended since `since`.
    pub counts: Vec<(Status, usize)>,
    /// A day before the report was made: ended scorings and events are counted from here.
    pub since: OffsetDateTime,
    /// Scorings that are not final.
    pub in_flight: usize,
    /// Groups that are not final, by status: what limits, holds and breakers count in place of their members.
    pub groups: Vec<(Status, usize)>,
    /// How many of what is queued wait for others, with which one job scores them, and not for their turn.
    pub wait_for_others: usize,
    /// What ended in each hour since `since`, the oldest first.
    pub hours: Vec<HourView>,
    /// When the oldest of these was accepted.
    pub oldest: Option<OffsetDateTime>,
    /// When the last complete reconcile run began.
    pub last_run: Option<OffsetDateTime>,
    /// When the reconcile run began that is at work now.
    pub running_since: Option<OffsetDateTime>,
    /// When the newest upload was received.
    pub last_upload: Option<OffsetDateTime>,
    /// Events since `since` that no rule wanted, at most a thousand.
    pub skipped: usize,
    /// Events since `since` that could not be read, at most a thousand.
    pub quarantined: usize,
    /// Uploads and renamed folders that wait for a look at the storage, and rows of such that cannot be read.
    pub pending: usize,
    /// Every place that is swept, and when that last came to its end.
    pub sweeps: Vec<SweepView>,
    /// What accounts for the versions that were accepted since `since`, by rule and day.
    pub coverage: Vec<CoverageView>,
    /// Every rule and endpoint with its limit.
    pub limits: Vec<LimitView>,
    /// Deployments of endpoints that have more than one, by what ended since `since`.
    pub deployments: Vec<DeploymentView>,
    /// Every deployment of which attempts have failed.
    pub breakers: Vec<BreakerView>,
    /// What needs attention, the most urgent first.
    pub findings: Vec<Finding>,
}

/// What ended in an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HourView {
    /// When the hour began, a whole hour of UTC.
    pub begin: OffsetDateTime,
    /// Scorings that were scored in it.
    pub scored: usize,
    /// Scorings that became `failed` in it.
    pub failed: usize,
    /// Scorings that became `cancelled`, `gone` or `superseded` in it.
    pub otherwise: usize,
}

/// The hours from that of `since` to that of `now`.
fn hours(ended: &EndCounts, since: OffsetDateTime, now: OffsetDateTime) -> Vec<HourView> {
    let first = begin_of_hour(since);
    let all = std::iter::successors(Some(first), |hour| Some(*hour + Duration::HOUR)).take_while(|hour| *hour <= now);
    all.map(|begin| {
        let of = |status| ended.of_hour(begin, status);
        let otherwise = [Status::Cancelled, Status::Gone, Status::Superseded];
        HourView {
            begin,
            scored: of(Status::Scored),
            failed: of(Status::Failed),
            otherwise: otherwise.into_iter().map(of).sum(),
        }
    })
    .collect()
}

/// What accounts for the versions that were accepted since then.
fn tally(in_flight: &[InFlight], ended: &EndCounts, since: OffsetDateTime) -> Tally {
    let mut tally = Tally::since(since);
    tally.scorings(in_flight, &[]);
    tally.counted(ended);
    tally
}

/// Scorings by status, and no group.
fn counts(in_flight: &[InFlight], ended: &EndCounts) -> Vec<(Status, usize)> {
    let mut counts = count_by_status(in_flight.iter().filter(|row| !row.is_group()).map(|row| row.status));
    for (status, count) in &mut counts {
        *count += ended.of(*status);
    }
    counts
}

/// How many wait for others.
fn wait_for_others(in_flight: &[InFlight], controls: &Controls) -> usize {
    in_flight.iter().filter(|row| is_waiting_for_others(controls, row)).count()
}

/// Groups that are not final, by status.
fn groups(in_flight: &[InFlight]) -> Vec<(Status, usize)> {
    let mut groups = count_by_status(in_flight.iter().filter(|row| row.is_group()).map(|row| row.status));
    groups.retain(|(status, _)| !status.is_terminal());
    groups
}

impl StatusReport {
    /// Versions that sweeps have listed and that nothing accounts for.
    pub fn unaccounted(&self) -> u64 {
        unaccounted(&self.sweeps)
    }

    /// Scorings in this status; of a final one those that ended since `since`.
    pub fn count(&self, status: Status) -> usize {
        self.counts.iter().find(|(other, _)| *other == status).map_or(0, |(_, count)| *count)
    }
}

/// Reads how the ledger stands at `now`: the in-flight index, a day's ends by the hour, what needs a person, the controls.
/// `events_within`: how long the next upload may take, if that is known.
pub async fn status(
    ledger: &Ledger,
    now: OffsetDateTime,
    events_within: Option<Duration>,
) -> Result<StatusReport, ledger::Error> {
    let since = now - Duration::days(1);
    let unacknowledged = async {
        let rows = ledger.unacknowledged(MAX_EVENTS).await?;
        let left = ledger.not_made_up_for(&rows).await?;
        Ok::<_, ledger::Error>((rows, left))
    };
    let recorded = async {
        let quarantined = ledger.quarantined(since, MAX_EVENTS).await?;
        let skipped = ledger.recorded_events(RecordedEvent::Skipped, since, MAX_EVENTS).await?.len();
        Ok::<_, ledger::Error>((quarantined, skipped))
    };
    // Side by side: each is a few requests that wait for the store, and somebody waits for all of them.
    let (in_flight, (ended, unreadable_ends), (unacknowledged, not_made_up_for), (quarantined, skipped)) =
        try_join!(ledger.in_flight(), ledger.counted_since(since), unacknowledged, recorded)?;
    let ((controls, unreadable), (sweeps, unreadable_places)) =
        try_join!(ledger.readable_controls(), sweeps(ledger, now))?;
    let unreadable: Vec<&Unreadable> = in_flight
        .unreadable
        .iter()
        .chain(&unreadable_ends)
        .chain(&unreadable)
        .chain(&quarantined.unreadable)
        .chain(&unacknowledged.unreadable)
        .chain(&unreadable_places)
        .collect();
    let pending = pending(ledger).await?;
    let first = unreadable.first().map(|first| redacted(&first.to_string()).into_owned());
    let first = first.or_else(|| Some(pending.unreadable.first()?.error.clone()));
    let unreadable = (unreadable.len() + pending.unreadable.len(), first);
    let runs = ledger.runs().await?;
    let last_upload = last_upload(ledger).await?;
    let counts = counts(&in_flight, &ended);
    let tally = tally(&in_flight, &ended, since);
    let mut report = StatusReport {
        counts,
        since,
        in_flight: in_flight.iter().filter(|row| !row.is_group()).count(),
        groups: groups(&in_flight),
        wait_for_others: wait_for_others(&in_flight, &controls),
        hours: hours(&ended, since, now),
        oldest: in_flight.iter().map(|row| row.created).min(),
        last_run: runs.complete.as_ref().map(|heartbeat| heartbeat.at),
        running_since: runs.running(now).map(|run| run.at),
        last_upload,
        skipped,
        quarantined: quarantined.len(),
        pending: pending.len(),
        sweeps,
        coverage: tally.views(),
        limits: limits(&controls),
        deployments: deployments(&ended),
        breakers: breakers(&controls),
        findings: Vec::new(),
    };
    let dead_letters = ledger.dead_letters().await?;
    let quarantined: Vec<_> = quarantined.iter().filter(|event| event.acknowledged.is_none()).cloned().collect();
    report.findings = findings(&FindingInputs {
        task_hub: ledger.task_hub(),
        // Whoever has taken something in has written the id before.
        has_ledger: report.last_upload.is_some() || runs != Runs::default() || ledger.exists().await?,
        runs,
        rules: ledger.rules_problem().await?,
        in_flight: &in_flight,
        controls: &controls,
        ended: &ended,
        unacknowledged: &not_made_up_for,
        breakers: &report.breakers,
        limits: &report.limits,
        sweeps: &report.sweeps,
        not_swept: &ledger.not_swept().await?,
        dead_letters: dead_letters.as_ref(),
        pending: &pending.waiting,
        quarantined: &quarantined,
        unreadable,
        events: (last_upload, events_within),
        now,
    });
    Ok(report)
}

/// When the newest scoring was accepted.
async fn last_upload(ledger: &Ledger) -> Result<Option<OffsetDateTime>, ledger::Error> {
    let mut index = ledger.newest(None, None, 1);
    while let Some(row) = index.next().await? {
        if let Ok(row) = row {
            return Ok(Some(row.created));
        }
    }
    Ok(None)
}
