//! The tick: walks the in-flight index and does what is due, whatever events came or did not come.
//!
//! It takes no input about what changed. A tick over N scorings in flight reads ceil(N / 1000) pages of each shard, looks
//! at each job that is due once, and writes only where something changed. Two ticks at once are harmless.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::{StreamExt as _, stream};
use lifecycle::retry::poll_is_due;
use lifecycle::{Policy, ScoringId, Seen, Status};
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use super::{App, Error, chain, during};
use crate::ledger::{InFlight, SHARDS};
use crate::ports::JobAddress;

/// Looks under way at one time: bounds sockets, and the load on the endpoint.
const LOOKS: usize = 16;
/// Queued scorings that one tick remembers; the oldest are kept, so that none starves.
const QUEUED: usize = 10_000;
/// Scorings that one purge removes.
const PURGE: usize = 500;

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

#[derive(Default)]
struct Counts {
    due: AtomicUsize,
    moved: AtomicUsize,
    errors: AtomicUsize,
    late: AtomicBool,
}

impl App {
    /// One tick. Starts nothing new after `deadline`; what is left is for the next one.
    pub async fn tick(&self, deadline: OffsetDateTime) -> Result<TickReport, Error> {
        let now = self.now();
        let last_tick = *self.0.last_tick.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let counts = Counts::default();
        let mut report = TickReport::default();
        let mut queued: Vec<InFlight> = Vec::new();
        let mut holders: HashMap<String, HashSet<ScoringId>> = HashMap::new();

        for shard in 0..SHARDS {
            let mut from = None;
            loop {
                let page = self.ledger().in_flight_page(shard, from.as_ref()).await;
                let (rows, next) = page.map_err(during("reading the in-flight index"))?;
                let mut others = Vec::new();
                for row in rows {
                    report.in_flight += 1;
                    match row {
                        Ok(row) if row.status == Status::Queued => queued.push(row),
                        Ok(row) => {
                            if row.status.holds_slot() {
                                holders.entry(row.rule.clone()).or_default().insert(row.id.clone());
                            }
                            others.push(row);
                        }
                        Err(unreadable) => {
                            counts.errors.fetch_add(1, Ordering::Relaxed);
                            tracing::error!(error = %unreadable, "{unreadable}");
                        }
                    }
                }
                if queued.len() > 2 * QUEUED {
                    keep_oldest(&mut queued);
                }
                let work = stream::iter(others)
                    .for_each_concurrent(LOOKS, |row| self.visit(row, last_tick, now, deadline, &counts));
                work.await;
                match next {
                    Some(next) => from = Some(next),
                    None => break,
                }
            }
        }

        report.slots_freed = self.free_orphaned_slots(&holders, now).await;
        keep_oldest(&mut queued);
        self.submit_queued(queued, deadline, &counts).await;

        let in_time = || self.now() < deadline;
        match self.ledger().project(&in_time).await {
            Ok(projected) => report.projected = projected,
            Err(error) => {
                counts.errors.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(error = %chain(&error), "the Durable-shaped tables were not brought up to date");
            }
        }
        if purge_is_due(last_tick, now) && in_time() {
            match self.ledger().purge(now - self.0.parts.retention, PURGE).await {
                Ok(purged) => report.purged = purged,
                Err(error) => {
                    counts.errors.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(error = %chain(&error), "old scorings were not removed");
                }
            }
        }

        report.due = counts.due.into_inner();
        report.moved = counts.moved.into_inner();
        report.errors = counts.errors.into_inner();
        report.complete = !counts.late.into_inner() && in_time();
        if report.complete {
            *self.0.last_tick.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(now);
        }
        Ok(report)
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
        let policy = self.0.parts.rules.get(&row.rule).map_or_else(Policy::default, |rule| rule.policy);
        let interval = match row.status {
            Status::Running | Status::Cancelling => policy.poll_interval.0,
            _ => policy.settle.0,
        };
        let due = match row.status {
            // The lease is exact: nobody polls for its end.
            Status::Submitting => row.due <= now,
            Status::Unknown | Status::Verifying => {
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
        let seen = match (&row.status, &row.job) {
            (Status::Running | Status::Cancelling, Some(job)) => {
                let at =
                    JobAddress { endpoint: row.endpoint.clone(), workspace: row.workspace.clone(), job: job.clone() };
                let seen = self.look_at_job(&at).await;
                if nothing_new(&row, &seen, self.now()) {
                    return;
                }
                Some(seen)
            }
            _ => None,
        };
        self.finish(&row, seen, counts).await;
    }

    /// Submits what is queued, oldest first; a rule whose slots are full is left alone for the rest of the tick.
    async fn submit_queued(&self, queued: Vec<InFlight>, deadline: OffsetDateTime, counts: &Counts) {
        let full = std::sync::Mutex::new(HashSet::new());
        let due = queued.into_iter().filter(|row| row.due <= self.now());
        let work = stream::iter(due).for_each_concurrent(LOOKS, |row| {
            let full = &full;
            async move {
                let is_full =
                    |rule: &str| full.lock().unwrap_or_else(std::sync::PoisonError::into_inner).contains(rule);
                if is_full(&row.rule) {
                    return;
                }
                if self.now() >= deadline {
                    counts.late.store(true, Ordering::Relaxed);
                    return;
                }
                counts.due.fetch_add(1, Ordering::Relaxed);
                if self.finish(&row, None, counts).await == Some(Status::Queued)
                    && self.0.parts.rules.get(&row.rule).is_some_and(|rule| rule.max_in_flight.is_some())
                {
                    full.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(row.rule.clone());
                }
            }
        });
        work.await;
    }

    async fn finish(&self, row: &InFlight, seen: Option<Seen>, counts: &Counts) -> Option<Status> {
        match self.reconcile_seen(&row.id, seen).await {
            Ok(status) => {
                if status != Some(row.status) {
                    counts.moved.fetch_add(1, Ordering::Relaxed);
                }
                status
            }
            Err(error) => {
                counts.errors.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(scoring = %row.id, error = %chain(&error), "scoring {} was not brought further", row.id);
                None
            }
        }
    }

    async fn free_orphaned_slots(&self, holders: &HashMap<String, HashSet<ScoringId>>, now: OffsetDateTime) -> usize {
        let none = HashSet::new();
        let mut freed = 0;
        for rule in self.0.parts.rules.iter().filter(|rule| rule.max_in_flight.is_some()) {
            let holders = holders.get(&rule.id).unwrap_or(&none);
            match self.ledger().free_orphaned_slots(&rule.id, holders, now).await {
                Ok(count) => freed += count,
                Err(error) => {
                    tracing::warn!(rule = rule.id, error = %chain(&error), "slots of rule {} were not checked", rule.id);
                }
            }
        }
        freed
    }
}

/// The job is as the index has it, so the scoring need not be read, let alone written.
fn nothing_new(row: &InFlight, seen: &Seen, now: OffsetDateTime) -> bool {
    match seen {
        Seen::Job(job) => {
            let ended = matches!(
                job.status,
                lifecycle::JobStatus::Completed | lifecycle::JobStatus::Failed | lifecycle::JobStatus::Canceled
            );
            !ended && !row.missing && row.due > now && row.job_status.as_deref() == Some(job.status.name())
        }
        // It could not be looked; a running job is not written to for that.
        Seen::Unclear(_) => true,
        _ => false,
    }
}

fn keep_oldest(queued: &mut Vec<InFlight>) {
    queued.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.id.cmp(&b.id)));
    queued.truncate(QUEUED);
}

/// Once an hour. A process that ticks for the first time leaves it to minute 17 of any hour, so that one which is
/// started for each tick does not purge each time.
fn purge_is_due(last_tick: Option<OffsetDateTime>, now: OffsetDateTime) -> bool {
    match last_tick {
        Some(last) => last.hour() != now.hour() || now - last >= Duration::hours(1),
        None => now.minute() == 17,
    }
}
