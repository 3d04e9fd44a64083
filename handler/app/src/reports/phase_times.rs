//! How long scorings take from phase to phase: of those that were scored last, out of their histories.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use lifecycle::{Entry, ScoringId, Status, noted_job_status};
use time::Duration;

use super::filter::Filter;
use super::list::newest;
use crate::ledger::{self, Ledger};
use crate::phase::Phase;

/// Scorings that are looked at: enough for the slowest of twenty to show, and few enough to be read while somebody waits.
const LOOKED_AT: usize = 60;
/// Histories that are read at one time.
const MAX_CONCURRENT_READS: usize = 16;
/// Azure ML's words for a job that has what it runs on.
const AT_WORK: [&str; 2] = ["Running", "Finalizing"];

/// How long a phase took of those that were looked at, all its stays of one scoring added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhaseTime {
    /// The phase that the times are of.
    pub phase: Phase,
    /// Scorings that were in it.
    pub of: usize,
    /// What half of them took at most.
    pub p50: Duration,
    /// What nineteen of twenty took at most.
    pub p95: Duration,
}

/// The phases of what was scored last, in the order of a life.
pub async fn phase_times(ledger: &Ledger) -> Result<Vec<PhaseTime>, ledger::Error> {
    let scored = Filter { status: vec![Status::Scored], limit: LOOKED_AT, ..Filter::default() };
    let last = newest(ledger, &scored, || ()).await?;
    let ids: Vec<ScoringId> = last.scorings.iter().filter_map(|view| ScoringId::read(&view.id)).collect();
    let histories = ids.iter().map(|id| async move { ledger.entries(id).await.map(|rows| rows.read) });
    let histories: Vec<_> = histories.collect();
    let histories: Vec<Vec<Entry>> =
        stream::iter(histories).buffer_unordered(MAX_CONCURRENT_READS).try_collect().await?;
    Ok(measured(&histories))
}

fn measured(histories: &[Vec<Entry>]) -> Vec<PhaseTime> {
    let mut all: BTreeMap<Phase, Vec<Duration>> = BTreeMap::new();
    for history in histories {
        for (phase, took) in stays(history) {
            all.entry(phase).or_default().push(took);
        }
    }
    let time = |(phase, mut times): (Phase, Vec<Duration>)| {
        times.sort_unstable();
        // The nearest rank: what that many of them took at most.
        let at = |of_twenty: usize| times[(times.len() * of_twenty).div_ceil(20).clamp(1, times.len()) - 1];
        PhaseTime { phase, of: times.len(), p50: at(10), p95: at(19) }
    };
    all.into_iter().map(time).collect()
}

/// How long one scoring was in each phase.
fn stays(history: &[Entry]) -> BTreeMap<Phase, Duration> {
    let mut stays: BTreeMap<Phase, Duration> = BTreeMap::new();
    // A job that ended between two looks was never seen to run: its whole time is told as that.
    let was_at_work = |attempt: u32| history.iter().any(|line| line.attempt == attempt && is_at_work(line));
    let mut at_work = false;
    for pair in history.windows(2) {
        let [line, next] = pair else { continue };
        at_work = line.to == Status::Running && (at_work && line.from == Some(Status::Running) || is_at_work(line));
        // A job that is being cancelled, and was done all the same, waits or runs as before.
        let status = if line.to == Status::Cancelling { Status::Running } else { line.to };
        let Some(phase) = Phase::of(status) else { continue };
        let runs = at_work || !was_at_work(line.attempt);
        let phase = if phase == Phase::AzureMlQueue && runs { Phase::Run } else { phase };
        // Clocks of two processes may differ by a little.
        *stays.entry(phase).or_default() += (next.at - line.at).max(Duration::ZERO);
    }
    stays
}

fn is_at_work(line: &Entry) -> bool {
    noted_job_status(line).is_some_and(|status| AT_WORK.contains(&status))
}

#[cfg(test)]
mod tests {
    use lifecycle::Event;
    use time::OffsetDateTime;
    use time::macros::datetime;

    use super::*;

    const BEGIN: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);

    fn history(lines: &[(i64, Status, &str)]) -> Vec<Entry> {
        let mut from = None;
        let line = |(seq, (second, to, reason)): (usize, &(i64, Status, &str))| {
            let entry = Entry {
                seq: i64::try_from(seq).expect("few lines"),
                at: BEGIN + Duration::seconds(*second),
                from,
                to: *to,
                event: reason.starts_with("the job is").then_some(Event::Progressed),
                reason: (*reason).to_owned(),
                attempt: 1,
                job: None,
                request_id: None,
            };
            from = Some(*to);
            entry
        };
        lines.iter().enumerate().map(line).collect()
    }

    #[test]
    fn a_job_that_was_seen_to_wait_is_told_apart_from_one_that_was_not() {
        use Status::{Queued, Running, Scored, Submitting, Unknown, Verifying};
        let seen = history(&[
            (0, Queued, ""),
            (5, Submitting, ""),
            (6, Unknown, ""),
            (9, Running, "adopted"),
            (20, Running, "the job is Queued"),
            (30, Running, "the job is Running"),
            (90, Running, "the job is Finalizing"),
            (100, Verifying, ""),
            (101, Scored, ""),
        ]);
        let seconds = |history: &[Entry]| {
            stays(history).into_iter().map(|(phase, took)| (phase.label(), took.whole_seconds())).collect::<Vec<_>>()
        };
        assert_eq!(seconds(&seen), [("queue", 5), ("submit", 4), ("Azure ML queue", 21), ("run", 70), ("verify", 1)]);
        let unseen =
            history(&[(0, Queued, ""), (1, Submitting, ""), (2, Running, ""), (50, Verifying, ""), (49, Scored, "")]);
        assert_eq!(seconds(&unseen), [("queue", 1), ("submit", 1), ("run", 48), ("verify", 0)]);
    }

    #[test]
    fn half_and_nineteen_of_twenty_are_told_by_what_was_measured() {
        let of = |second| history(&[(0, Status::Queued, ""), (second, Status::Submitting, "")]);
        let told = measured(&(1..=40).map(of).collect::<Vec<_>>());
        let seconds = (told[0].p50.whole_seconds(), told[0].p95.whole_seconds(), told[0].of);
        assert_eq!((told.len(), seconds), (1, (20, 38, 40)));
        assert_eq!(measured(&[of(7)])[0].p95.whole_seconds(), 7);
        assert_eq!(measured(&[]), []);
    }
}
