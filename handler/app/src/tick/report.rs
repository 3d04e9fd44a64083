//! What a tick found and did, for its answer, the log and the heartbeat.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use lifecycle::{FailureCause, Scoring, ScoringId, Status};
use serde::Serialize;
use time::OffsetDateTime;

use crate::error::{Error, error_chain};
use crate::ledger::InFlight;
use crate::measures;
use crate::stuck::is_stuck;

/// What a reconcile run did and saw: the timer function's answer, and a line of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TickReport {
    /// Scorings that were not final when they were read.
    pub in_flight: usize,
    /// How these were spread over statuses when they were read; its members stand among these in JSON.
    #[serde(flatten)]
    pub states: StateCounts,
    /// Whether these are all: each row of the in-flight index was read.
    pub whole: bool,
    /// How many of them something was due for.
    pub due: usize,
    /// How many are in another status afterwards.
    pub moved: usize,
    /// Uploads and renamed folders that waited for a look at the storage.
    pub pending: usize,
    /// Scorings that came of such looks.
    pub taken_in: usize,
    /// Jobs found that no scoring needs; they were told to stop unless they had ended.
    pub orphaned_jobs: usize,
    /// How many could not be brought further for an error; the next tick tries again.
    pub errors: usize,
    /// Slots freed whose owners were gone.
    pub slots_freed: usize,
    /// Instances written to the Durable-shaped tables.
    pub projected: usize,
    /// Final scorings removed after their retention.
    pub purged: usize,
    /// Scorings that this tick ended as failed, by whose fault it was.
    pub failed: BTreeMap<FailureCause, usize>,
    /// What needs a person, where this tick has counted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs_person: Option<NeedsPerson>,
    /// How long the tick took, in milliseconds.
    pub duration_ms: u64,
    /// Whether everything due was done before the deadline.
    pub complete: bool,
}

impl TickReport {
    /// The one record in which the log says how the ledger stands. Alerts over states and the workbook read it
    /// (`infra/queries/`), as the answer of a timer's function reaches nobody: the Functions host drops it. It is written by
    /// every tick that could read the ledger, so that what is wrong is told of for as long as it is.
    pub(super) fn log(&self) {
        let failed = |cause| self.failed.get(&cause).copied().unwrap_or_default();
        let needs = |count: fn(&NeedsPerson) -> usize| self.needs_person.as_ref().map(count);
        tracing::info!(
            whole = self.whole,
            in_flight = self.in_flight,
            queued = self.states.queued,
            unconfirmed = self.states.unconfirmed,
            held = self.states.held,
            stuck = self.states.stuck,
            oldest_seconds = self.states.oldest_seconds,
            oldest_queued_seconds = self.states.oldest_queued_seconds,
            pending = self.pending,
            orphaned = self.orphaned_jobs,
            failed = self.failed.values().sum::<usize>(),
            failed_input = failed(FailureCause::Input),
            failed_access = failed(FailureCause::Access),
            failed_request = failed(FailureCause::Request),
            failed_user_code = failed(FailureCause::UserCode),
            failed_platform = failed(FailureCause::Platform),
            failed_unknown = failed(FailureCause::Unknown),
            unacknowledged_failed = needs(|it| it.failed),
            unacknowledged_orphaned = needs(|it| it.with_orphaned_jobs),
            unacknowledged_unpublished = needs(|it| it.not_published),
            unacknowledged_quarantined = needs(|it| it.quarantined),
            errors = self.errors,
            complete = self.complete,
            duration_ms = self.duration_ms,
            "reconcile run ended"
        );
        self.measure();
    }

    fn measure(&self) {
        let gauge = |measure: measures::Measure, value: f64| {
            tracing::trace!(target: measures::TARGET, measure = measure.name, value);
        };
        let took = std::time::Duration::from_millis(self.duration_ms).as_secs_f64();
        tracing::trace!(target: measures::TARGET, measure = measures::RECONCILE.name, value = took, complete = self.complete);
        // A run that could not read all of them says nothing of how many there are.
        if self.whole {
            let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).into();
            gauge(measures::IN_FLIGHT, count(self.in_flight));
            gauge(measures::QUEUED, count(self.states.queued));
            gauge(measures::UNCONFIRMED, count(self.states.unconfirmed));
            gauge(measures::HELD, count(self.states.held));
            gauge(measures::STUCK, count(self.states.stuck));
            let seconds = u32::try_from(self.states.oldest_queued_seconds).unwrap_or_default();
            gauge(measures::QUEUE_AGE, seconds.into());
        }
    }
}

/// Counts of what needs a person and that nobody has acknowledged, as `status` tells of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NeedsPerson {
    /// Scorings that failed, and of whose blob no newer version is scored.
    pub failed: usize,
    /// Scorings with jobs that no scoring needs.
    pub with_orphaned_jobs: usize,
    /// Scorings whose result is not published where its rule says.
    pub not_published: usize,
    /// Events that nobody could read, of the last day.
    pub quarantined: usize,
}

/// How the scorings in flight stood when they were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StateCounts {
    /// Those that wait for their turn.
    pub queued: usize,
    /// Those whose submission was lost and that are looked for; those that are held are not among them.
    pub unconfirmed: usize,
    /// Those that are held: an operator may decide.
    pub held: usize,
    /// Those that are for more than an hour in a status that lasts minutes, or queued for more than a day.
    pub stuck: usize,
    /// For how long the oldest of all is in the ledger, in seconds.
    pub oldest_seconds: i64,
    /// For how long the one that is queued the longest is so, in seconds.
    pub oldest_queued_seconds: i64,
}

impl StateCounts {
    /// Counts one more that was read, scoring or group.
    pub(super) fn add(&mut self, row: &InFlight, now: OffsetDateTime) {
        match row.status {
            Status::Queued => {
                self.queued += 1;
                self.oldest_queued_seconds = self.oldest_queued_seconds.max((now - row.since).whole_seconds());
            }
            Status::Unknown => self.unconfirmed += 1,
            // It waits for a person, and has an alert of its own.
            Status::Held => self.held += 1,
            _ => {}
        }
        let stuck = row.on_hold.is_none() && is_stuck(row.status, row.since, now);
        self.stuck += usize::from(stuck);
        // A row of another process may be of the next second.
        self.oldest_seconds = self.oldest_seconds.max((now - row.created).whole_seconds());
    }
}

/// What a tick did so far; counted by all that work for it at one time.
#[derive(Default)]
pub(super) struct Counts {
    due: AtomicUsize,
    moved: AtomicUsize,
    failed: Mutex<BTreeMap<FailureCause, usize>>,
    errors: AtomicUsize,
    late: AtomicBool,
}

impl Counts {
    /// Something was due for a scoring, and was begun.
    pub(super) fn due(&self) {
        self.due.fetch_add(1, Ordering::Relaxed);
    }

    /// A scoring is in another status than it was when it was read: as it is now, unless somebody else moved it.
    pub(super) fn moved(&self, now: Option<&Scoring>) {
        self.moved.fetch_add(1, Ordering::Relaxed);
        if let Some(failed) = now.filter(|scoring| scoring.status == Status::Failed) {
            let cause = failed.failure.unwrap_or(FailureCause::Unknown);
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner).entry(cause).or_default() += 1;
        }
    }

    /// Whether a scoring has ended as failed in this tick.
    pub(super) fn any_failed(&self) -> bool {
        !self.failed.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Something could not be done, and is tried again by the next tick.
    pub(super) fn errors(&self, count: usize) {
        self.errors.fetch_add(count, Ordering::Relaxed);
    }

    /// A scoring could not be brought further.
    pub(super) fn failed(&self, id: &ScoringId, error: &Error) {
        self.errors(1);
        tracing::warn!(scoring = %id, error = %error_chain(error), "scoring {id} made no progress");
    }

    /// Something that is due is left for the next tick.
    pub(super) fn late(&self) {
        self.late.store(true, Ordering::Relaxed);
    }

    /// Puts what was counted into the report. `in_time`: the deadline was kept.
    pub(super) fn report(self, report: &mut TickReport, in_time: bool) {
        report.due = self.due.into_inner();
        report.moved = self.moved.into_inner();
        report.failed = self.failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        report.errors = self.errors.into_inner();
        report.complete = in_time && !self.late.into_inner();
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use time::Duration;

    const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

    /// A scoring that is in a status for so long, and was accepted an hour before it came into it.
    fn row(status: Status, for_so_long: Duration) -> InFlight {
        let since = NOW - for_so_long;
        InFlight {
            id: "a".repeat(32).parse().unwrap(),
            status,
            since,
            due: since,
            rule: "claims".parse().unwrap(),
            endpoint: "https://e.example/jobs".parse().unwrap(),
            deployment: None,
            workspace: None,
            identity: None,
            job: None,
            job_status: None,
            missing: false,
            slot_freed: false,
            last_error: None,
            refusals: 0,
            on_hold: None,
            on_hold_since: None,
            expedited: false,
            origin: lifecycle::Origin::Told,
            group: None,
            created: since - Duration::HOUR,
            attempt: 1,
        }
    }

    fn counted(rows: &[InFlight]) -> StateCounts {
        let mut counts = StateCounts::default();
        for row in rows {
            counts.add(row, NOW);
        }
        counts
    }

    #[test]
    fn what_is_stuck_is_so_for_as_long_as_it_is_there() {
        for (status, limit) in [
            (Status::Submitting, Duration::HOUR),
            (Status::Unknown, Duration::HOUR),
            (Status::Verifying, Duration::HOUR),
            (Status::Cancelling, Duration::HOUR),
            (Status::Queued, Duration::DAY),
        ] {
            for (for_so_long, stuck) in [(limit, 0), (limit + Duration::SECOND, 1), (Duration::days(60), 1)] {
                assert_eq!(counted(&[row(status, for_so_long)]).stuck, stuck, "{status} {for_so_long}");
            }
        }
        for status in [Status::Running, Status::Held] {
            assert_eq!(counted(&[row(status, Duration::days(60))]).stuck, 0, "{status}");
        }
    }

    #[test]
    fn states_are_counted_apart_and_the_oldest_is_the_one_accepted_first() {
        let rows = [Status::Queued, Status::Queued, Status::Unknown, Status::Held, Status::Running];
        let counts = counted(&rows.map(|status| row(status, Duration::MINUTE)));
        assert_eq!(
            counts,
            StateCounts {
                queued: 2,
                unconfirmed: 1,
                held: 1,
                stuck: 0,
                oldest_seconds: 61 * 60,
                oldest_queued_seconds: 60
            }
        );
        // Another process's clock is ahead.
        assert_eq!(counted(&[row(Status::Running, -Duration::days(1))]).oldest_seconds, 0);
    }
}
