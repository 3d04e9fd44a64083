//! The part of a tick that walks the in-flight index: reads every row, and looks at what is due and not queued.
//!
//! Its parts are walked [`MAX_CONCURRENT_PARTS`] at a time. Each is read to its end first, page after page, so that N rows cost
//! N / 1000 pages; what is due is kept meanwhile and looked at then, beginning anywhere. Looking page by page was rejected:
//! a tick that has no time for all would never come to the last page, unless it began in the middle, which costs a page
//! more for each part.
//!
//! What it keeps of N scorings in flight: the rows that are due in [`MAX_CONCURRENT_PARTS`] of the 16 parts, at most
//! [`MAX_DUE_PER_PART`] of each (a row takes about 1 kB: 40 MB in all, and 25 MB for 100,000 that are all due), and one page of each of these. Beside these the rows
//! that are queued ([`Queue`]), the ids that hold a slot of a limited scope (about 100 bytes each), and, when the jobs are to
//! be scanned, the names of jobs (about as much).

use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt as _, stream};
use lifecycle::schedule::{believable_due_in, is_ahead, lookup_interval, poll_is_due};
use lifecycle::{JobStatus, Observation, Policy, Rules, ScoringId, Status, stop_at};
use time::{Duration, OffsetDateTime};
use tokio::sync::Semaphore;

use super::groups::GroupsSeen;
use super::order::{parts_from, scattered_index};
use super::queue::{MAX_QUEUED_PER_RULE, Queue};
use super::report::{Counts, StateCounts};
use super::scopes::Holders;
use crate::admission::limited;
use crate::clock::LedgerClock;
use crate::driver::{Driver, Evidence, Services};
use crate::error::{Error, during, error_chain};
use crate::ledger::{self, Controls, IN_FLIGHT_PARTS, InFlight, Ledger};
use crate::orphans::InFlightJobs;
use crate::ports::JobAddress;

/// Looks under way at one time, over all parts: bounds sockets, and the load on the endpoint.
const MAX_CONCURRENT_LOOKUPS: usize = 16;
/// Parts that are walked at one time: bounds what is kept of them.
const MAX_CONCURRENT_PARTS: usize = 4;
/// Rows of one part that are kept to be looked at. Of more, these are chosen evenly, and the rest is left to the next tick.
const MAX_DUE_PER_PART: usize = 10_000;

/// Walks the in-flight index. One for each process.
pub(super) struct Walk {
    pub(super) ledger: Ledger,
    pub(super) rules: Arc<Rules>,
    pub(super) clock: LedgerClock,
    pub(super) services: Services,
    pub(super) driver: Driver,
    /// When this process last walked each part whole: a hint that spares polls, never a fact that correctness needs.
    pub(super) last: Mutex<[Option<OffsetDateTime>; IN_FLIGHT_PARTS as usize]>,
}

/// What a walk is to do, the same for all parts.
pub(super) struct WalkOptions<'a> {
    /// As they were read before the walk; `None`: unknown, and who holds a slot is not asked.
    pub(super) controls: Option<&'a Controls>,
    /// Whether the jobs in flight are wanted, for the scan for orphaned jobs.
    pub(super) jobs: bool,
    /// When the tick began: what is due is judged by it.
    pub(super) now: OffsetDateTime,
    /// No look is begun after this.
    pub(super) until: OffsetDateTime,
}

/// What a walk over the in-flight index saw, gathered from all of its parts.
pub(super) struct Walked {
    /// Rows of scorings that were read, those that cannot be understood among them; groups are not.
    pub(super) in_flight: usize,
    /// How those stood that could be read.
    pub(super) states: StateCounts,
    /// Whether that was all of them: only then who is not among the holders holds nothing.
    pub(super) whole: bool,
    /// What is queued and can be submitted.
    pub(super) queue: Queue,
    /// Who holds slots of limited scopes.
    pub(super) holders: Holders,
    /// Whose row cannot be read, and who may hold a slot of any scope.
    pub(super) may_hold: Vec<ScoringId>,
    /// What there is of groups.
    pub(super) groups: GroupsSeen,
    /// The jobs in flight, if they are wanted.
    pub(super) jobs: InFlightJobs,
    /// Parts that could not be read.
    unread: Vec<(u8, ledger::Error)>,
}

/// Rows that are due, of one part.
#[derive(Default)]
struct Due {
    rows: Vec<InFlight>,
    seen: usize,
}

impl Walk {
    /// Walks all parts. Fails only if none of them can be read: one partition of the table may be away while the others are
    /// there.
    pub(super) async fn run(&self, options: &WalkOptions<'_>, counts: &Counts) -> Result<Walked, Error> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let looks = Semaphore::new(MAX_CONCURRENT_LOOKUPS);
        let walked = Mutex::new(Walked {
            in_flight: 0,
            states: StateCounts::default(),
            whole: true,
            queue: Queue::new(MAX_QUEUED_PER_RULE),
            holders: Holders::new(),
            may_hold: Vec::new(),
            groups: GroupsSeen::default(),
            jobs: InFlightJobs::default(),
            unread: Vec::new(),
        });
        let parts = stream::iter(parts_from(options.now)).for_each_concurrent(MAX_CONCURRENT_PARTS, async |part| {
            let last = last[usize::from(part)];
            if self.walk_part(part, last, options, &looks, &walked, counts).await {
                self.last.lock().unwrap_or_else(PoisonError::into_inner)[usize::from(part)] = Some(options.now);
            } else {
                counts.late();
            }
        });
        parts.await;
        let mut walked = walked.into_inner().unwrap_or_else(PoisonError::into_inner);
        if walked.unread.len() == usize::from(IN_FLIGHT_PARTS) {
            // Always of the same part, whichever came first: one error is reported in one way.
            walked.unread.sort_by_key(|(part, _)| *part);
            return Err(during("reading the in-flight index")(walked.unread.swap_remove(0).1));
        }
        Ok(walked)
    }

    /// Returns whether everything due in the part was looked at.
    async fn walk_part(
        &self,
        part: u8,
        last: Option<OffsetDateTime>,
        options: &WalkOptions<'_>,
        looks: &Semaphore,
        walked: &Mutex<Walked>,
        counts: &Counts,
    ) -> bool {
        let (mut due, mut from, mut whole) = (Due::default(), None, true);
        loop {
            match self.ledger.in_flight_page(part, from.as_ref()).await {
                Ok((rows, next)) => {
                    let mut walked = walked.lock().unwrap_or_else(PoisonError::into_inner);
                    for row in rows {
                        walked.in_flight += usize::from(!row.as_ref().is_ok_and(InFlight::is_group));
                        match row {
                            Ok(row) => self.sort_out(row, last, options, &mut walked, &mut due),
                            Err(unreadable) => {
                                // It may hold a slot of any scope: a newer version may have written it.
                                match unreadable.scoring() {
                                    Some(id) => walked.may_hold.push(id),
                                    None => walked.whole = false,
                                }
                                counts.errors(1);
                                tracing::error!(error = %unreadable, "{unreadable}");
                            }
                        }
                    }
                    from = next;
                }
                Err(error) => {
                    counts.errors(1);
                    whole = false;
                    tracing::warn!(part, error = %error_chain(&error), "part {part} of the in-flight index cannot be read");
                    let mut walked = walked.lock().unwrap_or_else(PoisonError::into_inner);
                    walked.whole = false;
                    walked.unread.push((part, error));
                    // What was read of it is looked at all the same.
                    break;
                }
            }
            if from.is_none() {
                break;
            }
        }
        whole &= due.seen == due.rows.len();
        // Not the same place in each part: the time that a tick has ends in one of them.
        let first = scattered_index(due.rows.len(), options.now + Duration::seconds(i64::from(part)));
        due.rows.rotate_left(first);
        let visits = stream::iter(due.rows).map(|row| self.visit(row, options.until, looks, counts));
        let visits = visits.buffer_unordered(MAX_CONCURRENT_LOOKUPS);
        visits.fold(whole, async |whole, looked_at| whole & looked_at).await
    }

    /// Takes from a row what the tick needs of it, and keeps it if something is due.
    fn sort_out(
        &self,
        mut row: InFlight,
        last: Option<OffsetDateTime>,
        options: &WalkOptions<'_>,
        walked: &mut Walked,
        due: &mut Due,
    ) {
        walked.states.add(&row, options.now);
        row.due = believable_due_in(row.status, row.since, row.due, options.now);
        if is_ahead(row.created, options.now) {
            // Behind all that ever come it would starve at an endpoint that is full.
            row.created = OffsetDateTime::UNIX_EPOCH;
        }
        if walked.groups.add(&row, &self.rules, options.now) {
            return;
        }
        if row.status == Status::Queued {
            // Only what can be submitted: what cannot must not take the place of what can.
            if row.due <= options.now && row.on_hold.is_none() && self.rules.get(&row.rule).is_some() {
                walked.queue.add(row);
            }
            return;
        }
        if row.status.holds_slot() {
            walked.queue.count_sent(&row);
        }
        if let Some(controls) = options.controls.filter(|_| row.status.holds_slot() && !row.slot_freed) {
            for (scope, _) in limited(&self.rules, controls, &row.rule, &row.endpoint) {
                walked.holders.entry(scope).or_default().insert(row.id.clone());
            }
        }
        if options.jobs {
            if let Some(job) = &row.job {
                walked.jobs.names.insert(job.name.clone());
            }
            if let Some(workspace) = &row.workspace
                && !walked.jobs.workspaces.contains_key(&row.endpoint)
            {
                walked.jobs.workspaces.insert(row.endpoint.clone(), workspace.clone());
            }
        }
        if self.is_due(&row, last, options.now) {
            due.add(row, options.now);
        }
    }

    /// Whether a look at a scoring that is not queued is due.
    fn is_due(&self, row: &InFlight, last: Option<OffsetDateTime>, now: OffsetDateTime) -> bool {
        let policy = self.rules.get(&row.rule).map_or_else(Policy::default, |rule| rule.policy);
        let interval = match row.status {
            Status::Running | Status::Cancelling => policy.poll_interval.0,
            // Often at first; then the list is dear, and what is followed may run for days.
            Status::Unknown => lookup_interval(policy.lookup_interval.0, now - row.since - policy.resubmit_after.0),
            Status::Held => lookup_interval(policy.lookup_interval.0, now - row.since),
            _ => policy.lookup_interval.0,
        };
        match row.status {
            // The lease is exact: nobody polls for its end.
            Status::Submitting | Status::Staging => row.due <= now,
            // Its group's end is brought to it.
            Status::Grouped => false,
            Status::Unknown | Status::Held | Status::Verifying => {
                row.due <= now && poll_is_due(&row.id, row.since, interval, last, now)
            }
            _ => poll_is_due(&row.id, row.since, interval, last, now),
        }
    }

    /// Looks at one scoring that something is due for. Returns `false` if there was no time for it.
    async fn visit(&self, row: InFlight, until: OffsetDateTime, looks: &Semaphore, counts: &Counts) -> bool {
        // Never closed; and if it were, the look would only be one more at a time.
        let _one = looks.acquire().await;
        if self.clock.now() >= until {
            return false;
        }
        counts.due();
        let evidence = match (&row.status, &row.job) {
            // By the index row alone, as most jobs are as they were: the scoring is read when its job has changed.
            // One whose times lie ahead is read all the same, which corrects them.
            (Status::Running | Status::Cancelling, Some(job)) if !is_ahead(row.since, self.clock.now()) => {
                let at = JobAddress {
                    endpoint: row.endpoint.clone(),
                    workspace: row.workspace.clone(),
                    identity: self.rules.identity_for(&row.rule, &row.endpoint, row.identity.as_ref()),
                    job: job.clone(),
                };
                let before = self.clock.now();
                let seen = self.services.observe_job(&at).await;
                if let Observation::CannotLook(why) = &seen.value {
                    // It could not be looked; a running job is not written to for that.
                    counts.errors(1);
                    tracing::warn!(scoring = %row.id, job = at.job.name.as_str(), request = seen.request_id.as_deref(), reason = why, "job {} could not be looked at: {why}", at.job.name);
                    return true;
                }
                let stop_at = stop_at(self.rules.get(&row.rule), row.status, row.since, row.due);
                if is_unchanged(&row, &seen.value, stop_at, before) {
                    return true;
                }
                Evidence::OfJob { job: at.job, seen, at: before }
            }
            _ => Evidence::None,
        };
        match self.driver.drive(&row.id, evidence).await {
            Ok(driven) => {
                let scoring = driven.as_ref().map(|driven| &*driven.scoring);
                if scoring.is_none_or(|scoring| scoring.status != row.status) {
                    counts.moved(scoring);
                }
            }
            Err(error) => counts.failed(&row.id, &error),
        }
        true
    }
}

impl Due {
    /// Keeps a row, at most [`MAX_DUE_PER_PART`] of them: each of more has the same chance, so that none is left out by
    /// tick after tick.
    fn add(&mut self, row: InFlight, now: OffsetDateTime) {
        self.seen += 1;
        if self.rows.len() < MAX_DUE_PER_PART {
            self.rows.push(row);
        } else {
            // Reservoir sampling; the number of the row stands for time that goes by.
            let salt = Duration::seconds(i64::try_from(self.seen).unwrap_or(0));
            if let Some(place) = self.rows.get_mut(scattered_index(self.seen, now + salt)) {
                *place = row;
            }
        }
    }
}

/// The job is as the index has it, so the scoring need not be read, let alone written.
fn is_unchanged(row: &InFlight, observation: &Observation, stop_at: OffsetDateTime, now: OffsetDateTime) -> bool {
    match observation {
        Observation::Job(job) => {
            let ended = matches!(job.status, JobStatus::Completed | JobStatus::Failed | JobStatus::Canceled);
            !ended && !row.missing && stop_at > now && row.job_status.as_deref() == Some(job.status.name())
        }
        _ => false,
    }
}
