//! The tick: walks the in-flight index and does what is due, whatever events came or did not come.
//!
//! It takes no input about what changed. A tick over N scorings in flight reads about N / 1000 pages of the index, looks
//! at each job that is due once, and writes only where something changed. Two ticks at once are harmless.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::{StreamExt as _, stream};
use lifecycle::retry::poll_is_due;
use lifecycle::{Observation, Policy, ScoringId, Status, stop_at};
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use crate::ledger::{Heartbeat, InFlight, IndexRange, SHARDS};
use crate::orphans::InFlightJobs;
use crate::ports::JobAddress;
use crate::queue::{MAX_QUEUED_PER_RULE, Queue};
use crate::scopes::Holders;
use crate::{App, Error, JobObservation, during, error_chain};

/// Looks under way at one time: bounds sockets, and the load on the endpoint.
const MAX_CONCURRENT_LOOKUPS: usize = 16;
/// Part of a tick's time, one over this, that looks at jobs leave to what is queued, however many jobs there are.
const QUEUED_TIME_SHARE: i32 = 4;
/// Scorings that one round of a purge removes; rounds follow while there is time.
const PURGE_BATCH: usize = 500;

/// What a tick did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TickReport {
    /// Scorings that were not final when they were read.
    pub in_flight: usize,
    /// How many of them something was due for.
    pub due: usize,
    /// How many are in another status afterwards.
    pub moved: usize,
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
    /// Whether everything due was done before the deadline.
    pub complete: bool,
}

/// When each shard was last walked whole, and when the last tick was complete.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LastTick {
    shards: [Option<OffsetDateTime>; SHARDS as usize],
    complete: Option<OffsetDateTime>,
}

/// What a tick did so far.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) due: AtomicUsize,
    moved: AtomicUsize,
    errors: AtomicUsize,
    pub(super) late: AtomicBool,
}

impl Counts {
    /// A scoring is in another status than it was when it was read.
    pub(super) fn moved(&self) {
        self.moved.fetch_add(1, Ordering::Relaxed);
    }

    /// A scoring could not be brought further.
    pub(super) fn failed(&self, id: &ScoringId, error: &Error) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(scoring = %id, error = %error_chain(error), "scoring {id} was not brought further");
    }
}

impl App {
    /// One tick. Starts nothing new after `deadline`; what is left is for the next one.
    pub async fn tick(&self, deadline: OffsetDateTime) -> Result<TickReport, Error> {
        let now = self.now();
        let mut last = *self.0.last_tick.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = Counts::default();
        let mut report = TickReport::default();
        let mut queued = Queue::new(MAX_QUEUED_PER_RULE);
        let mut jobs = InFlightJobs::default();
        let mut holders = Holders::new();
        // Whatever is submitted in this tick goes by what operators have said until now.
        let controls = match self.read_controls(now).await {
            Ok(controls) => Some(controls),
            Err(error) => {
                counts.errors.fetch_add(1, Ordering::Relaxed);
                counts.late.store(true, Ordering::Relaxed);
                tracing::warn!(error = %error_chain(&error), "the limits cannot be read; nothing is submitted by them");
                None
            }
        };
        let (mut all_read, mut unread) = (true, Vec::new());
        let look_until = deadline - (deadline - now).max(Duration::ZERO) / QUEUED_TIME_SHARE;

        for shard in shards_from(now) {
            let walked = &mut last.shards[usize::from(shard)];
            let late = counts.late.swap(false, Ordering::Relaxed);
            let mut parts = vec![IndexRange::All];
            let mut from = None;
            while let Some(part) = parts.last() {
                let (rows, next) = match self.ledger().in_flight_page(shard, part, from.as_ref()).await {
                    // More than a page: it is walked from anywhere, around its end, to there. From the beginning each
                    // time, a tick that has no time for all would never come to the last ones.
                    Ok((_, Some(_))) if *part == IndexRange::All => {
                        let digits = start_digits(shard, now);
                        parts = vec![IndexRange::Before(digits.clone()), IndexRange::From(digits)];
                        continue;
                    }
                    Ok(page) => page,
                    Err(error) => {
                        // One partition of the table may be away while the others are there.
                        all_read = false;
                        counts.errors.fetch_add(1, Ordering::Relaxed);
                        counts.late.store(true, Ordering::Relaxed);
                        tracing::warn!(shard, error = %error_chain(&error), "shard {shard} of the in-flight index cannot be read");
                        unread.push((shard, error));
                        break;
                    }
                };
                let mut others = Vec::new();
                for row in rows {
                    report.in_flight += 1;
                    match row {
                        Ok(row) if row.status == Status::Queued => {
                            // Only what can be submitted: what can't must not take the place of what can.
                            if row.due <= now && self.0.parts.rules.get(&row.rule).is_some() {
                                queued.add(row);
                            }
                        }
                        Ok(row) => {
                            if let Some(controls) = controls.as_ref().filter(|_| row.status.holds_slot()) {
                                for (scope, _) in self.limited(controls, &row.rule, &row.endpoint) {
                                    holders.entry(scope).or_default().insert(row.id.clone());
                                }
                            }
                            if let Some(job) = &row.job {
                                jobs.names.insert(job.name.clone());
                            }
                            if let Some(workspace) =
                                row.workspace.clone().filter(|_| !jobs.workspaces.contains_key(&row.endpoint))
                            {
                                jobs.workspaces.insert(row.endpoint.clone(), workspace);
                            }
                            others.push(row);
                        }
                        Err(unreadable) => {
                            all_read = false;
                            counts.errors.fetch_add(1, Ordering::Relaxed);
                            tracing::error!(error = %unreadable, "{unreadable}");
                        }
                    }
                }
                let first = scattered_index(others.len(), now);
                others.rotate_left(first);
                let work = stream::iter(others).for_each_concurrent(MAX_CONCURRENT_LOOKUPS, |row| {
                    self.visit(row, *walked, now, look_until, &counts)
                });
                work.await;
                from = next;
                if from.is_none() {
                    parts.pop();
                }
            }
            if !counts.late.load(Ordering::Relaxed) {
                *walked = Some(now);
            }
            counts.late.fetch_or(late, Ordering::Relaxed);
        }
        if unread.len() == usize::from(SHARDS) {
            // Always of the same shard, whichever came first: one trouble is told in one way.
            unread.sort_by_key(|(shard, _)| *shard);
            return Err(during("reading the in-flight index")(unread.swap_remove(0).1));
        }
        // Also if the rest fails: what was looked at need not be looked at again at once.
        self.0.last_tick.lock().unwrap_or_else(PoisonError::into_inner).shards = last.shards;

        // A row that can't be read may hold a slot: a newer version may have written it.
        let scope_statuses = match controls.as_ref().filter(|_| all_read) {
            Some(controls) => Some(self.reconcile_slots(controls, &holders, now, &mut report).await),
            None => None,
        };
        let backlogs = self.submit_queued(queued, deadline, &counts).await;
        if let (Some(controls), Some(scope_statuses)) = (controls, scope_statuses) {
            self.publish_scopes(&controls, scope_statuses, &backlogs).await;
        }

        let orphan_scan = self.scan_for_orphans(jobs, deadline).await;
        report.orphaned_jobs = orphan_scan.orphaned_jobs;
        counts.errors.fetch_add(orphan_scan.errors, Ordering::Relaxed);

        let in_time = || self.now() < deadline;
        match self.ledger().project(&in_time).await {
            Ok(projected) => report.projected = projected,
            Err(error) => {
                counts.errors.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(error = %error_chain(&error), "the Durable-shaped tables were not brought up to date");
            }
        }
        if purge_is_due(last.complete, now) {
            let cutoff = now - self.0.parts.retention;
            while in_time() {
                match self.ledger().purge(cutoff, PURGE_BATCH).await {
                    Ok(purged) => {
                        report.purged += purged;
                        if purged < PURGE_BATCH {
                            break;
                        }
                    }
                    Err(error) => {
                        counts.errors.fetch_add(1, Ordering::Relaxed);
                        tracing::warn!(error = %error_chain(&error), "old scorings were not removed");
                        break;
                    }
                }
            }
        }

        report.due = counts.due.into_inner();
        report.moved = counts.moved.into_inner();
        report.errors = counts.errors.into_inner();
        report.complete = !counts.late.into_inner() && in_time();
        if report.complete {
            self.0.last_tick.lock().unwrap_or_else(PoisonError::into_inner).complete = Some(now);
            self.record_heartbeat(now, &report).await;
        }
        Ok(report)
    }

    /// Leaves a sign of life. Nothing depends on it, so a tick does not fail by it.
    async fn record_heartbeat(&self, now: OffsetDateTime, report: &TickReport) {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let heartbeat = Heartbeat {
            at: now,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            in_flight: count(report.in_flight),
            errors: count(report.errors),
        };
        if let Err(error) = self.ledger().record_heartbeat(&heartbeat).await {
            tracing::warn!(error = %error_chain(&error), "the heartbeat was not written");
        }
    }

    /// Looks at one scoring that is not queued, if something is due for it.
    async fn visit(
        &self,
        row: InFlight,
        last_tick: Option<OffsetDateTime>,
        now: OffsetDateTime,
        deadline: OffsetDateTime,
        counts: &Counts,
    ) {
        let rule = self.0.parts.rules.get(&row.rule);
        let policy = rule.map_or_else(Policy::default, |rule| rule.policy);
        let interval = match row.status {
            Status::Running | Status::Cancelling | Status::Held => policy.poll_interval.0,
            _ => policy.lookup_interval.0,
        };
        let due = match row.status {
            // The lease is exact: nobody polls for its end.
            Status::Submitting => row.due <= now,
            Status::Unknown | Status::Held | Status::Verifying => {
                row.due <= now && poll_is_due(&row.id, row.since, interval, last_tick, now)
            }
            _ => poll_is_due(&row.id, row.since, interval, last_tick, now),
        };
        if !due {
            return;
        }
        if self.now() >= deadline {
            counts.late.store(true, Ordering::Relaxed);
            return;
        }
        counts.due.fetch_add(1, Ordering::Relaxed);
        let observation = match (&row.status, &row.job) {
            (Status::Running | Status::Cancelling, Some(job)) => {
                let at =
                    JobAddress { endpoint: row.endpoint.clone(), workspace: row.workspace.clone(), job: job.clone() };
                let before = self.now();
                let observation = self.observe_job(&at).await;
                if let Observation::CannotLook(why) = &observation {
                    // It could not be looked; a running job is not written to for that.
                    counts.errors.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(scoring = %row.id, job = at.job.name.as_str(), reason = why, "job {} could not be looked at: {why}", at.job.name);
                    return;
                }
                let stop_at = stop_at(rule, row.status, row.since, row.due);
                if is_unchanged(&row, &observation, stop_at, before) {
                    return;
                }
                Some(JobObservation { job: at.job, observation, at: before })
            }
            _ => None,
        };
        self.finish(&row, observation, counts).await;
    }

    async fn finish(&self, row: &InFlight, observation: Option<JobObservation>, counts: &Counts) {
        match self.reconcile_observed(&row.id, observation).await {
            Ok(status) if status != Some(row.status) => counts.moved(),
            Ok(_) => {}
            Err(error) => counts.failed(&row.id, &error),
        }
    }
}

/// The job is as the index has it, so the scoring need not be read, let alone written.
fn is_unchanged(row: &InFlight, observation: &Observation, stop_at: OffsetDateTime, now: OffsetDateTime) -> bool {
    match observation {
        Observation::Job(job) => {
            let ended = matches!(
                job.status,
                lifecycle::JobStatus::Completed | lifecycle::JobStatus::Failed | lifecycle::JobStatus::Canceled
            );
            !ended && !row.missing && stop_at > now && row.job_status.as_deref() == Some(job.status.name())
        }
        _ => false,
    }
}

/// All shards, beginning anywhere: a tick that has no time for all must not always leave the same ones for the next.
fn shards_from(now: OffsetDateTime) -> impl Iterator<Item = u8> {
    let first = u8::try_from(scattered_index(usize::from(SHARDS), now)).unwrap_or(0); // below SHARDS
    (0..SHARDS).map(move |n| (first + n) % SHARDS)
}

/// The first digits of an id anywhere in a shard.
fn start_digits(shard: u8, now: OffsetDateTime) -> String {
    // Not the same place in each shard: the time that a tick has ends in one of them.
    let place = scattered_index(0x1000, now + Duration::seconds(i64::from(shard)));
    format!("{shard:x}{place:03x}")
}

/// A place in 0..`of` that the time decides. Scattered, not counted up: a period of ticks that has a factor in common
/// with `of` would never come to some of the places. It needs no memory, as each tick may have a process of its own.
fn scattered_index(of: usize, now: OffsetDateTime) -> usize {
    let seconds = u64::try_from(now.unix_timestamp()).unwrap_or(0);
    // The finaliser of SplitMix64: neighbours in, no neighbours out.
    let mixed = (seconds ^ (seconds >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap_or(0) % of.max(1)
}

/// Once an hour. A process that ticks for the first time leaves it to minute 17 of any hour, so that one which is
/// started for each tick does not purge each time.
fn purge_is_due(last_tick: Option<OffsetDateTime>, now: OffsetDateTime) -> bool {
    match last_tick {
        Some(last) => last.hour() != now.hour() || now - last >= Duration::hours(1),
        None => now.minute() == 17,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);

    #[test]
    fn whatever_the_period_of_ticks_each_shard_comes_first_at_some_of_them() {
        for period in [1, 60, 160, 300, 960, 3_600] {
            let mut first = HashSet::new();
            for tick in 0..200 {
                let order: Vec<u8> = shards_from(NOW + Duration::seconds(period * tick)).collect();
                assert_eq!(order.iter().collect::<HashSet<_>>().len(), usize::from(SHARDS));
                first.insert(order[0]);
            }
            assert_eq!(first.len(), usize::from(SHARDS), "every {period} s");
        }
    }
}
