//! The jobs and how they move on: `Preparing → Running → Finalizing → Completed` by a time profile, first come first
//! served on a few nodes.
//!
//! Pure bookkeeping under one lock: nothing here waits, opens a port or scores. [`ServiceState::tick`] moves whatever is due;
//! every look ticks first, so what is seen never lags behind the clock. `driver.rs` does the work that a tick starts.
//!
//! What is kept: `keep_jobs` jobs, and as many request ids. Beyond it the oldest finished jobs are forgotten.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use serde::Serialize;
use time::OffsetDateTime;

use crate::behaviour::Behaviour;
use crate::fault_plan::{FaultPlan, InvalidFaultPlan};
use crate::faults::ActiveFaults;
use crate::job::{Job, JobView, Phase};
use crate::job_failure::JobFailure;
use crate::journal::Journal;
use crate::options::Timing;
use crate::resources::Resources;
use crate::run_error::RunError;

#[derive(Debug)]
pub(super) struct ServiceState {
    jobs: BTreeMap<u64, Job>,
    names: HashMap<String, u64>,
    /// Phases that end by themselves, in order of time.
    timers: BTreeSet<(OffsetDateTime, u64)>,
    /// Steps that wait for a node, in order of creation.
    waiting: BTreeSet<u64>,
    /// Steps that hold a node.
    working: BTreeSet<u64>,
    /// Work to be begun, for the driver.
    starts: Vec<u64>,
    /// Work to be stopped, for the driver.
    stops: Vec<u64>,
    nodes: usize,
    keep: usize,
    timing: Timing,
    journal: Option<Journal>,
    last_seq: u64,
    forgotten: u64,
    in_flight: usize,
    max_in_flight: usize,
    /// How many unfinished jobs each request has, by its request id, else by the job's name.
    requests: HashMap<String, usize>,
    max_requests_in_flight: usize,
    /// Jobs made and phases entered.
    moves: u64,
    posts: u64,
    posts_by_request: HashMap<String, u64>,
    pub(super) faults: ActiveFaults,
    pub(super) behaviour: Behaviour,
    pub(super) resources: Arc<Resources>,
    pub(super) reads: Budget,
    pub(super) writes: Budget,
}

/// What an administrator wants to know of all jobs together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Jobs ever made, the forgotten ones included.
    pub jobs: u64,
    /// Finished jobs that were forgotten to make room.
    pub forgotten: u64,
    /// Invokes that arrived with a good token since the start, whatever became of them.
    pub posts: u64,
    /// The most invokes that carried one and the same request id.
    pub max_posts_per_request_id: u64,
    /// The most jobs that were made for one and the same request id, among the kept.
    pub max_jobs_per_request_id: u64,
    /// Jobs that are not finished.
    pub in_flight: usize,
    /// The most jobs that were unfinished at the same time, since the start.
    pub max_in_flight: usize,
    /// The same, where the jobs of one request id count as one: what a caller can keep within a limit.
    pub max_requests_in_flight: usize,
}

/// Why no job was made.
#[derive(Debug)]
pub(super) enum NotMade {
    /// Everything that is kept is in flight.
    Full,
    /// The journal could not take it.
    Journal(io::Error),
}

impl ServiceState {
    pub(super) fn new(
        (nodes, keep, timing): (usize, usize, Timing),
        (journal, jobs): (Option<Journal>, Vec<Job>),
        (faults, behaviour, resources): (ActiveFaults, Behaviour, Resources),
        (reads, writes): (Budget, Budget),
    ) -> Self {
        let mut state = Self {
            jobs: BTreeMap::new(),
            names: HashMap::new(),
            timers: BTreeSet::new(),
            waiting: BTreeSet::new(),
            working: BTreeSet::new(),
            starts: Vec::new(),
            stops: Vec::new(),
            nodes: nodes.max(1),
            keep: keep.max(1),
            timing,
            journal,
            last_seq: 0,
            forgotten: 0,
            in_flight: 0,
            max_in_flight: 0,
            requests: HashMap::new(),
            max_requests_in_flight: 0,
            moves: 0,
            posts: 0,
            posts_by_request: HashMap::new(),
            faults,
            behaviour,
            resources: Arc::new(resources),
            reads,
            writes,
        };
        for mut job in jobs {
            if job.phase == Phase::Working {
                job.phase = Phase::Waiting; // its process is gone: done again, from the start
            }
            state.take(job);
        }
        state.forgotten = state.last_seq - state.jobs.len() as u64;
        state
    }

    /// Puts a job where its phase belongs.
    fn take(&mut self, job: Job) {
        if !job.phase.is_final() {
            self.in_flight += 1;
            self.max_in_flight = self.max_in_flight.max(self.in_flight);
            *self.requests.entry(request_of(&job).to_owned()).or_default() += 1;
            self.max_requests_in_flight = self.max_requests_in_flight.max(self.requests.len());
        }
        if job.phase == Phase::Waiting {
            self.waiting.insert(job.seq);
        } else if let Some(due) = self.due(&job) {
            self.timers.insert((due, job.seq));
        }
        self.moves += 1;
        self.last_seq = self.last_seq.max(job.seq);
        self.names.insert(job.name.clone(), job.seq);
        self.jobs.insert(job.seq, job);
    }

    /// When the job's phase ends by itself.
    fn due(&self, job: &Job) -> Option<OffsetDateTime> {
        let lasts = match job.phase {
            Phase::Preparing => self.timing.preparing,
            Phase::Finalizing => self.timing.finalizing,
            Phase::CancelRequested => self.timing.canceling,
            _ => return None,
        };
        Some(job.since + lasts)
    }

    /// Moves everything that is due at `now`.
    pub(super) fn tick(&mut self, now: OffsetDateTime) {
        while let Some(&(at, seq)) = self.timers.first().filter(|(at, _)| *at <= now) {
            self.timers.pop_first();
            match self.jobs.get(&seq).map(|job| job.phase) {
                Some(Phase::Preparing) => {
                    self.enter(seq, Phase::Waiting, at, None);
                    self.waiting.insert(seq);
                    // At the hour at which it was due, however late somebody looks: time then goes by the profile.
                    self.grant_nodes(at);
                }
                Some(Phase::Finalizing) => self.enter(seq, Phase::Completed, at, None),
                Some(Phase::CancelRequested) => self.enter(seq, Phase::Canceled, at, None),
                _ => {}
            }
        }
        self.grant_nodes(now);
    }

    fn grant_nodes(&mut self, at: OffsetDateTime) {
        while self.working.len() < self.nodes {
            let Some(seq) = self.waiting.pop_first() else { break };
            self.enter(seq, Phase::Working, at, None);
            self.working.insert(seq);
            self.starts.push(seq);
        }
    }

    /// When the next phase ends by itself.
    pub(super) fn next_due(&self) -> Option<OffsetDateTime> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Jobs made and phases entered so far.
    pub(super) fn moves(&self) -> u64 {
        self.moves
    }

    /// How many nodes of the cluster work on a job now.
    pub(super) fn working(&self) -> usize {
        self.working.len()
    }

    /// There is something to do for the driver.
    pub(super) fn has_commands(&self) -> bool {
        !self.starts.is_empty() || !self.stops.is_empty()
    }

    /// What the driver is to begin and to stop.
    pub(super) fn commands(&mut self) -> (Vec<Job>, Vec<u64>) {
        let starts = std::mem::take(&mut self.starts);
        let starts = starts.iter().filter_map(|seq| self.jobs.get(seq)).cloned().collect();
        (starts, std::mem::take(&mut self.stops))
    }

    /// The number of the next job.
    pub(super) fn next_seq(&self) -> u64 {
        self.last_seq + 1
    }

    /// Adds a job, durable before anybody is told of it.
    pub(super) fn make(&mut self, job: Job) -> Result<(), NotMade> {
        if self.jobs.len() >= self.keep {
            let oldest = self.jobs.values().find(|job| job.phase.is_final()).map(|job| job.seq);
            let forgotten = oldest.and_then(|seq| self.jobs.remove(&seq)).ok_or(NotMade::Full)?;
            self.names.remove(&forgotten.name);
            self.forgotten += 1;
        }
        if let Some(journal) = &mut self.journal {
            journal.made(&job).map_err(NotMade::Journal)?;
        }
        self.take(job);
        Ok(())
    }

    /// The work of a job ended. Its node is free; unless it was cancelled meanwhile, the job moves on.
    pub(super) fn finish(&mut self, seq: u64, outcome: Result<(), RunError>, now: OffsetDateTime) {
        self.working.remove(&seq);
        if self.jobs.get(&seq).is_none_or(|job| job.phase != Phase::Working) {
            return;
        }
        match outcome {
            Ok(()) => {
                self.enter(seq, Phase::Finalizing, now, None);
                self.timers.insert((now + self.timing.finalizing, seq));
            }
            Err(error) => self.enter(seq, Phase::Failed, now, Some(error)),
        }
    }

    /// Asks a job to stop. `None` if there is no such job; one that is finished stays as it is. One that is finalizing
    /// has published its outputs already, and ends as cancelled all the same.
    pub(super) fn cancel(&mut self, name: &str, now: OffsetDateTime) -> Option<()> {
        let job = self.by_name(name)?;
        let seq = job.seq;
        if job.phase.is_final() || job.phase == Phase::CancelRequested {
            return Some(());
        }
        if let Some(due) = self.due(job) {
            self.timers.remove(&(due, seq));
        }
        self.waiting.remove(&seq);
        if self.working.contains(&seq) {
            self.stops.push(seq);
        }
        self.enter(seq, Phase::CancelRequested, now, None);
        self.timers.insert((now + self.timing.canceling, seq));
        Some(())
    }

    fn enter(&mut self, seq: u64, phase: Phase, at: OffsetDateTime, error: Option<RunError>) {
        let Some(job) = self.jobs.get_mut(&seq) else { return };
        job.enter(phase, at, error);
        self.moves += 1;
        if phase.is_final() {
            self.in_flight -= 1;
            let request = request_of(job);
            match self.requests.get_mut(request) {
                Some(left) if *left > 1 => *left -= 1,
                _ => drop(self.requests.remove(request)),
            }
        }
        if let Some(journal) = &mut self.journal
            && let Err(why) = journal.entered(job)
        {
            // The job goes on: after a restart it is done again from its last recorded phase.
            tracing::warn!(job = job.name, %why, "the simulator's journal could not take a phase");
        }
    }

    /// The job of this name.
    pub(super) fn by_name(&self, name: &str) -> Option<&Job> {
        self.jobs.get(self.names.get(name)?)
    }

    /// The job of this name, counting the look.
    pub(super) fn look(&mut self, name: &str, now: OffsetDateTime) -> Option<&Job> {
        let job = self.jobs.get_mut(self.names.get(name)?)?;
        job.polls.count(now);
        Some(job)
    }

    /// Jobs made before the one numbered `before`, newest first.
    pub(super) fn newest(&self, before: Option<u64>) -> impl Iterator<Item = &Job> {
        self.jobs.range(..before.unwrap_or(u64::MAX)).rev().map(|(_, job)| job)
    }

    /// Counts an invoke, in all and by its request id, of which only so many are kept.
    pub(super) fn count_post(&mut self, request_id: Option<&str>) {
        self.posts += 1;
        let Some(id) = request_id else { return };
        if let Some(count) = self.posts_by_request.get_mut(id) {
            *count += 1;
        } else if self.posts_by_request.len() < self.keep {
            self.posts_by_request.insert(id.to_owned(), 1);
        }
    }

    /// How many invokes carried each request id, as far as they are kept.
    pub(super) fn posts_by_request(&self) -> &HashMap<String, u64> {
        &self.posts_by_request
    }

    /// Takes a fault plan: all of it, or none if a part makes no sense.
    pub(super) fn apply_fault_plan(&mut self, plan: FaultPlan, now: OffsetDateTime) -> Result<(), InvalidFaultPlan> {
        plan.check()?;
        if let Some(resources) = plan.resources {
            self.resources = Arc::new(resources);
        }
        if let Some(faults) = plan.faults {
            self.faults.set(faults, now)?;
        }
        if let Some(behaviour) = plan.behaviour {
            self.behaviour = behaviour;
        }
        Ok(())
    }

    /// The job never ends its work by itself.
    pub(super) fn stick(&mut self, seq: u64) {
        if let Some(job) = self.jobs.get_mut(&seq) {
            job.is_stuck = true;
        }
    }

    /// The job's work fails so.
    pub(super) fn fail(&mut self, seq: u64, by: JobFailure) {
        if let Some(job) = self.jobs.get_mut(&seq) {
            job.fails = Some(by);
        }
    }

    /// Archives a job; whether there is one of this name.
    pub(super) fn archive(&mut self, name: &str) -> bool {
        let seq = self.by_name(name).map(|job| job.seq);
        seq.and_then(|seq| self.jobs.get_mut(&seq)).map(|job| job.is_archived = true).is_some()
    }

    /// The first job of a request id made at or after `since`.
    pub(super) fn by_request_id(&self, id: &str, since: OffsetDateTime) -> Option<&Job> {
        self.newest(None)
            .take_while(|job| job.created >= since)
            .filter(|job| job.request_id.as_deref() == Some(id))
            .last()
    }

    /// Every kept job, oldest first.
    pub(super) fn views(&self) -> Vec<JobView> {
        self.jobs.values().map(Job::view).collect()
    }

    pub(super) fn summary(&self) -> Summary {
        let mut jobs_by_request: HashMap<&str, u64> = HashMap::new();
        for id in self.jobs.values().filter_map(|job| job.request_id.as_deref()) {
            *jobs_by_request.entry(id).or_default() += 1;
        }
        Summary {
            jobs: self.forgotten + self.jobs.len() as u64,
            forgotten: self.forgotten,
            posts: self.posts,
            max_posts_per_request_id: self.posts_by_request.values().copied().max().unwrap_or_default(),
            max_jobs_per_request_id: jobs_by_request.values().copied().max().unwrap_or_default(),
            in_flight: self.in_flight,
            max_in_flight: self.max_in_flight,
            max_requests_in_flight: self.max_requests_in_flight,
        }
    }
}

/// What a job is counted by; one without a request id is a request of its own.
fn request_of(job: &Job) -> &str {
    job.request_id.as_deref().unwrap_or(&job.name)
}

/// Requests left in the running hour.
#[derive(Debug)]
pub(super) struct Budget {
    per_hour: u32,
    left: u32,
    until: Option<OffsetDateTime>,
}

impl Budget {
    pub(super) fn per_hour(per_hour: u32) -> Self {
        Self { per_hour, left: per_hour, until: None }
    }

    /// What is left after this request, or the seconds to wait.
    pub(super) fn spend(&mut self, now: OffsetDateTime) -> Result<u32, i64> {
        let until = match self.until {
            Some(until) if until > now => until,
            _ => {
                self.left = self.per_hour;
                *self.until.insert(now + time::Duration::HOUR)
            }
        };
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(left)
            }
            None => Err((until - now).whole_seconds() + 1),
        }
    }
}
