//! What is measured, by its names: the one table that the collector's metrics, the Grafana dashboard, the workbook's columns and the
//! documentation are held against.
//!
//! What measures says so by an event of [`TARGET`] with the members `measure` and `value` and the attributes that the table names. The
//! events are at the level `TRACE`: the log never has them, and they cost one comparison where nobody asks for metrics.

use lifecycle::{Entry, Event, JobStatus, Scoring, Status};
use time::{Duration, OffsetDateTime};

use crate::phase::Phase;

/// Target of all events that measure.
pub const TARGET: &str = "scorekeeper::measures";

/// How values of a measure go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Values are added up: each tells how many more there are.
    Counter,
    /// Only the newest value counts: it replaces the one before.
    Gauge,
    /// They are sorted into buckets.
    Histogram,
}

/// A number that is told as an event of [`TARGET`]; the OTLP exporter makes a metric of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// Its name with a collector.
    pub name: &'static str,
    /// How its values go together.
    pub kind: Kind,
    /// Of a value, as UCUM writes it.
    pub unit: &'static str,
    /// The metric's description, as a half sentence for people.
    pub about: &'static str,
    /// Names of the attributes by which values are told apart; others of an event are left out.
    pub attributes: &'static [&'static str],
    /// Member of the record `reconcile run ended` that tells the same, for those who read the log.
    pub in_log: Option<&'static str>,
}

macro_rules! measures {
    ($($(#[$doc:meta])* $id:ident = $kind:ident $name:literal [$unit:literal] $attributes:expr, $in_log:expr, $about:literal;)*) => {
        $($(#[$doc])* pub const $id: Measure = Measure {
            name: $name, kind: Kind::$kind, unit: $unit, about: $about, attributes: &$attributes, in_log: $in_log,
        };)*
        /// Every measure, for who makes the instruments.
        pub const ALL: &[Measure] = &[$($id),*];
    };
}

measures! {
    /// New scorings by rule, counted when their first row is written.
    ACCEPTED = Counter "scorekeeper.accepted" ["{scoring}"] ["rule"], None, "scorings taken into the ledger";
    /// Scorings that became `scored`, by rule.
    SCORED = Counter "scorekeeper.scored" ["{scoring}"] ["rule"], None, "scorings whose output was verified";
    /// Scorings that became `failed`, by rule and by [`FailureCause`](lifecycle::FailureCause).
    FAILED = Counter "scorekeeper.failed" ["{scoring}"] ["rule", "cause"], Some("failed"), "scorings that failed, by whose fault";
    /// In the ledger and not final.
    IN_FLIGHT = Gauge "scorekeeper.in_flight" ["{scoring}"] [], Some("in_flight"), "scorings in flight, at the last reconcile run";
    /// Of those in flight, those that wait for their turn; not told by a run that could not read all rows.
    QUEUED = Gauge "scorekeeper.queued" ["{scoring}"] [], Some("queued"), "of these, those that wait for their turn";
    /// Of those in flight, those whose submission was lost and whose job is looked for.
    UNCONFIRMED = Gauge "scorekeeper.unconfirmed" ["{scoring}"] [], Some("unconfirmed"), "of these, those whose job is looked for";
    /// Of those in flight, those that wait for an operator's decision.
    HELD = Gauge "scorekeeper.held" ["{scoring}"] [], Some("held"), "of these, those that an operator must decide on";
    /// Of those in flight, those that stand in a status for longer than it takes.
    STUCK = Gauge "scorekeeper.stuck" ["{scoring}"] [], Some("stuck"), "of these, those that are where nobody stays for long";
    /// Seconds since the one that is queued the longest is so; 0 if none is.
    QUEUE_AGE = Gauge "scorekeeper.queue.age" ["s"] [], Some("oldest_queued_seconds"), "for how long the oldest queued scoring waits";
    /// Seconds that a scoring was in a [`Phase`], by rule and phase; told when it leaves it.
    PHASE = Histogram "scorekeeper.phase.duration" ["s"] ["rule", "phase"], None, "how long scorings were in a phase";
    /// Seconds that a reconcile run took, and whether it did all that it had to do; the log tells milliseconds.
    RECONCILE = Histogram "scorekeeper.reconcile.duration" ["s"] ["complete"], Some("duration_ms"), "how long reconcile runs took";
    /// Requests for tokens to the identity, by the resource that they are for and by whether one was given.
    TOKENS = Counter "scorekeeper.tokens" ["{token}"] ["resource", "outcome"], None, "tokens that were asked for";
    /// What the collector never got.
    LOST = Counter "scorekeeper.telemetry.lost" ["{item}"] ["signal", "reason"], None, "spans and log records that were dropped";
}

/// The phase that a scoring is in, by its job's status too.
fn phase_of(scoring: &Scoring) -> Option<Phase> {
    match (Phase::of(scoring.status)?, scoring.job_status.as_deref().map(JobStatus::read)) {
        (Phase::AzureMlQueue, Some(JobStatus::Running)) => Some(Phase::Run),
        (Phase::AzureMlQueue, Some(JobStatus::Finalizing)) => Some(Phase::Finalize),
        (phase, _) => Some(phase),
    }
}

/// The phase that a move ended, and how long it took.
///
/// A job that was never seen at work, as it ended between two looks, ran all the while as far as anybody knows. Times are those of our
/// looks.
fn ended(before: &Scoring, after: &Scoring) -> Option<(Phase, Duration)> {
    let phase = phase_of(before)?;
    if phase_of(after) == Some(phase) {
        return None;
    }
    let (phase, since) = match phase {
        Phase::Submit => (phase, before.submitted.unwrap_or(before.since)),
        // The status is as old as the job: its word changed at the last move.
        Phase::Run | Phase::Finalize => (phase, before.updated),
        Phase::AzureMlQueue if after.status != Status::Running => (Phase::Run, before.since),
        Phase::Queue | Phase::AzureMlQueue | Phase::Verify => (phase, before.since),
    };
    // Clocks of two processes may differ by a little.
    Some((phase, (after.updated - since).max(Duration::ZERO)))
}

/// A scoring is new; `sent`: its intent is on record with it.
pub(crate) fn accepted(scoring: &Scoring, now: OffsetDateTime) {
    tracing::trace!(target: TARGET, measure = ACCEPTED.name, value = 1_u64, rule = scoring.rule.as_str());
    if scoring.status == Status::Submitting {
        let waited = (now - scoring.created).max(Duration::ZERO).as_seconds_f64();
        tracing::trace!(target: TARGET, measure = PHASE.name, value = waited, rule = scoring.rule.as_str(), phase = Phase::Queue.name());
    }
}

/// A move is on record.
pub(crate) fn moved(before: &Scoring, after: &Scoring, entry: &Entry) {
    if !tracing::event_enabled!(target: TARGET, tracing::Level::TRACE) {
        return;
    }
    let rule = after.rule.as_str();
    if let Some((phase, took)) = ended(before, after) {
        tracing::trace!(target: TARGET, measure = PHASE.name, value = took.as_seconds_f64(), rule, phase = phase.name());
    }
    if before.status == after.status || entry.event == Some(Event::OrphanFound) {
        return;
    }
    match after.status {
        Status::Scored => tracing::trace!(target: TARGET, measure = SCORED.name, value = 1_u64, rule),
        Status::Failed => {
            let cause = after.failure.unwrap_or(lifecycle::FailureCause::Unknown).name();
            tracing::trace!(target: TARGET, measure = FAILED.name, value = 1_u64, rule, cause);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lifecycle::{BlobVersion, LedgerId, Rules};
    use time::macros::datetime;

    use super::*;

    /// A scoring that is in this status since 10:00, with this word of its job, and that was written this many seconds after.
    fn at(status: Status, job: Option<&str>, updated: i64) -> Scoring {
        let rules =
            r#"{"rules":[{"id":"claims","match":{"container":"con"},"endpoint":{"uri":"https://e.example/jobs"}}]}"#;
        let rules = Rules::read(rules).expect("good rules");
        let rule = rules.iter().next().expect("one");
        let blob = BlobVersion::read("https://a.blob.core.windows.net/c/a.csv", "0x1").expect("a blob");
        let since = datetime!(2026-07-21 10:00 UTC);
        let new = Scoring::accept(&LedgerId::of_random([1; 16]), rule, blob, since);
        let (job_status, updated) = (job.map(str::to_owned), since + Duration::seconds(updated));
        Scoring { status, job_status, updated, ..new }
    }

    #[test]
    fn each_move_ends_the_phase_that_was_left_and_tells_how_long_that_took() {
        use Status::{Cancelling, Queued, Running, Scored, Submitting, Unknown, Verifying};
        let submitted =
            |seconds: i64, of: Scoring| Scoring { submitted: Some(of.since + Duration::seconds(seconds)), ..of };
        let cases = vec![
            (at(Queued, None, 0), at(Submitting, None, 5), Some(("queue", 5))),
            // A refusal that may pass: it waits on.
            (at(Queued, None, 0), at(Queued, None, 5), None),
            (submitted(2, at(Submitting, None, 2)), at(Running, Some("Preparing"), 6), Some(("submit", 4))),
            (submitted(2, at(Submitting, None, 2)), at(Unknown, None, 6), None),
            // The job was seen to wait, and then at work.
            (at(Running, Some("Queued"), 3), at(Running, Some("Running"), 33), Some(("azure_ml_queue", 33))),
            (at(Running, None, 3), at(Running, Some("Preparing"), 33), None),
            (at(Running, Some("Running"), 33), at(Running, Some("Finalizing"), 93), Some(("run", 60))),
            (at(Running, Some("Finalizing"), 93), at(Verifying, Some("Completed"), 103), Some(("finalize", 10))),
            (at(Running, Some("Running"), 33), at(Verifying, Some("Completed"), 103), Some(("run", 70))),
            // It ended between two looks: as far as anybody knows it ran.
            (at(Running, Some("Queued"), 3), at(Verifying, Some("Completed"), 48), Some(("run", 48))),
            (at(Verifying, Some("Completed"), 0), at(Scored, Some("Completed"), 1), Some(("verify", 1))),
            // Nothing is timed of what is being cancelled, and no time is less than none.
            (at(Cancelling, Some("Running"), 9), at(Status::Cancelled, Some("Canceled"), 12), None),
            (at(Queued, None, 0), at(Submitting, None, -5), Some(("queue", 0))),
        ];
        for (before, after, ended_phase) in cases {
            let told = ended(&before, &after).map(|(phase, took)| (phase.name(), took.whole_seconds()));
            assert_eq!(
                told, ended_phase,
                "{:?} {:?} to {:?} {:?}",
                before.status, before.job_status, after.status, after.job_status
            );
        }
    }

    #[test]
    fn each_measure_has_a_name_of_its_own_and_says_what_it_is() {
        let names: BTreeSet<&str> = ALL.iter().map(|measure| measure.name).collect();
        assert_eq!(names.len(), ALL.len());
        for Measure { name, unit, about, .. } in ALL {
            assert!(name.starts_with("scorekeeper.") && !unit.is_empty() && !about.is_empty(), "{name}");
        }
    }
}
