//! The orphan scan: finds jobs that the service made and no scoring needs.
//!
//! A lost answer is resolved where it happened. What is left are jobs that nobody will ever look for: one that appears
//! after its submission was sent again, the second of two that one request made, one that a process sent late, after
//! others had given it up. So the jobs behind each endpoint are listed regularly, and each that writes to an output path
//! of a scoring is held against that scoring. What no attempt needs is an *orphaned job*: it is cancelled, counted, and kept by
//! name in the scoring's row and history.
//!
//! Never: a job cancelled whose scoring may still adopt it, or which is not provably ours (its output path or our tags).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{StreamExt as _, stream};
use lifecycle::datastore::same_place;
use lifecycle::id::{EndpointUri, JobName, WorkspaceId};
use lifecycle::own_output::ids_in;
use lifecycle::schedule::is_ahead;
use lifecycle::{JobStatus, Observation, Rules, Scoring, ScoringId, Status, Step};
use time::{Duration, OffsetDateTime};

use crate::clock::LedgerClock;
use crate::driver::{Driver, Loaded, Observed, Services};
use crate::error::{Error, error_chain};
use crate::ledger::{self, Ledger, OrphanScan};
use crate::ports::{Answered, Inconclusive, ListedJob, ScanTarget};

/// Jobs may appear in a list so long after they were made. Nobody says how long that takes; what appears within the
/// `resubmitAfter` is found by the search for it.
const LIST_LAG: Duration = Duration::hours(1);
/// How far the first orphan scan looks back, and for how long an orphaned job that runs on is told to stop.
const FIRST: Duration = Duration::days(1);
/// Listed jobs that are held against their scorings at one time.
const MAX_CONCURRENT_CHECKS: usize = 8;
/// Times that a job is held against its scoring while others move that on.
const MAX_TRIES: usize = 4;
/// Names of jobs that need no second look; more are looked at again.
const MAX_REMEMBERED_JOBS: usize = 50_000;

/// What a process remembers between orphan scans: a hint that spares looks, never a fact that correctness needs.
#[derive(Debug, Default)]
struct ScanMemory {
    /// When each endpoint was last scanned, by its invoke URI.
    last: HashMap<EndpointUri, OffsetDateTime>,
    /// Names of jobs that need no second look, at most [`MAX_REMEMBERED_JOBS`].
    settled: HashSet<JobName>,
}

/// What an orphan scan found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ScanResult {
    pub(crate) orphaned_jobs: usize,
    pub(crate) errors: usize,
}

/// Why the jobs of an endpoint were not scanned, or not all of them. The next scan begins where the last whole one ended.
#[derive(Debug, thiserror::Error)]
enum ScanError {
    /// How far the last scan came could not be read, or not be kept.
    #[error("how far the last scan came cannot be read or kept")]
    Ledger(#[source] ledger::Error),
    /// The jobs could not be listed.
    #[error("its jobs cannot be listed")]
    List(#[source] Inconclusive),
    /// A job could not be held against its scoring.
    #[error("a job could not be held against its scoring")]
    Check(#[source] Error),
    /// One scan looks at so many only.
    #[error("there were more jobs than one orphan scan looks at; the next goes on")]
    Bounded,
}

/// What the tick knows of the scorings in flight.
#[derive(Debug, Default)]
pub(crate) struct InFlightJobs {
    /// Names of adopted jobs: none of them is an orphaned job.
    pub(crate) names: HashSet<JobName>,
    /// Workspaces that scorings in flight name, by their endpoint's invoke URI; of other endpoints the rules or the ledger tell.
    pub(crate) workspaces: HashMap<EndpointUri, WorkspaceId>,
}

/// Scans for orphaned jobs. One for each process.
pub(crate) struct Orphans {
    ledger: Ledger,
    rules: Arc<Rules>,
    clock: LedgerClock,
    services: Services,
    driver: Driver,
    /// Between two scans of one endpoint, by whichever process.
    interval: Duration,
    memory: Mutex<ScanMemory>,
}

impl Orphans {
    pub(crate) fn new(
        ledger: &Ledger,
        rules: &Arc<Rules>,
        services: &Services,
        driver: &Driver,
        interval: Duration,
    ) -> Self {
        Self {
            ledger: ledger.clone(),
            rules: Arc::clone(rules),
            clock: services.clock.clone(),
            services: services.clone(),
            driver: driver.clone(),
            interval,
            memory: Mutex::default(),
        }
    }

    /// Whether this process would scan an endpoint now. If not, what is in flight need not be remembered for it.
    pub(crate) fn is_due(&self, now: OffsetDateTime) -> bool {
        let memory = self.memory();
        self.rules.into_iter().any(|rule| self.endpoint_is_due(&memory, &rule.endpoint.uri, now))
    }

    fn endpoint_is_due(&self, memory: &ScanMemory, endpoint: &EndpointUri, now: OffsetDateTime) -> bool {
        memory.last.get(endpoint).is_none_or(|last| now - *last >= self.interval || is_ahead(*last, now))
    }

    /// Scans every endpoint that is due. Starts nothing new after `deadline`.
    pub(crate) async fn scan(&self, in_flight: InFlightJobs, deadline: OffsetDateTime) -> ScanResult {
        let mut found = ScanResult::default();
        let InFlightJobs { names, workspaces } = in_flight;
        let mut known = None;
        for mut scan_target in self.scan_targets() {
            let now = self.clock.now();
            if now >= deadline {
                break;
            }
            if !self.endpoint_is_due(&self.memory(), &scan_target.endpoint, now) {
                continue;
            }
            scan_target.workspace = scan_target.workspace.or_else(|| workspaces.get(&scan_target.endpoint).cloned());
            if scan_target.workspace.is_none() {
                scan_target.workspace = self.services.workspaces.of(&scan_target.endpoint).await;
            }
            let known = known.get_or_insert_with(|| {
                let mut known = self.memory().settled.clone();
                known.extend(names.iter().cloned());
                known
            });
            match Box::pin(self.scan_endpoint(&scan_target, known, now)).await {
                Ok(orphaned_jobs) => found.orphaned_jobs += orphaned_jobs,
                Err(error) => {
                    found.errors += 1;
                    let why = error_chain(&error);
                    tracing::warn!(
                        endpoint = scan_target.endpoint.as_str(),
                        reason = why,
                        "the jobs of {} were not scanned for orphaned jobs: {why}",
                        scan_target.endpoint
                    );
                }
            }
            self.memory().last.insert(scan_target.endpoint, now);
        }
        found
    }

    fn memory(&self) -> MutexGuard<'_, ScanMemory> {
        // A panic leaves it whole: one entry more or less, of what is a hint anyway.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every endpoint of the rules, with what its rules say of it.
    fn scan_targets(&self) -> Vec<ScanTarget> {
        let mut scan_targets: Vec<ScanTarget> = Vec::new();
        for rule in &*self.rules {
            let target = &rule.endpoint;
            let asked = match rule.settings.experiment() {
                None => Some(Vec::new()),
                Some(experiment) => experiment.constant(&rule.id).map(|name| vec![name]),
            };
            let workspace = target.workspace.clone();
            match scan_targets.iter_mut().find(|scan_target| scan_target.endpoint == target.uri) {
                Some(scan_target) => {
                    scan_target.workspace = scan_target.workspace.take().or(workspace);
                    let known = scan_target.experiments.take().zip(asked);
                    scan_target.experiments = known.map(|(known, asked)| [known, asked].concat());
                }
                // Rules of one endpoint name one identity.
                None => scan_targets.push(ScanTarget {
                    endpoint: target.uri.clone(),
                    workspace,
                    identity: target.identity.clone(),
                    experiments: asked,
                }),
            }
        }
        scan_targets
    }

    async fn scan_endpoint(
        &self,
        scan_target: &ScanTarget,
        known: &HashSet<JobName>,
        now: OffsetDateTime,
    ) -> Result<usize, ScanError> {
        let last = self.ledger.orphan_scan(&scan_target.endpoint).await.map_err(ScanError::Ledger)?;
        // Another process did it a moment ago.
        if last.is_some_and(|last| now - last.at < self.interval && !is_ahead(last.at, now)) {
            return Ok(0);
        }
        let since = last.map(|last| last.through).filter(|through| !is_ahead(*through, now)).unwrap_or(now - FIRST);
        let listing =
            self.services.endpoint.jobs_created_since(scan_target, since, known).await.map_err(ScanError::List)?;
        self.remember(listing.elsewhere);
        let checked = Box::pin(self.check_jobs(scan_target, listing.jobs)).await?;
        let through = match (listing.complete && !checked.busy, checked.running) {
            (true, false) => now - LIST_LAG,
            // A request to stop a job may be lost, or not be listened to: what still runs is to be listed again.
            (true, true) => since.max(now - FIRST),
            // What was not looked at must not be stepped over: nobody else ever looks for it.
            (false, _) => since,
        };
        let scan = OrphanScan { at: now, through };
        self.ledger.record_orphan_scan(&scan_target.endpoint, scan).await.map_err(ScanError::Ledger)?;
        if listing.complete { Ok(checked.orphaned) } else { Err(ScanError::Bounded) }
    }

    /// Holds each listed job against its scoring. All are looked at, also after one of them failed.
    async fn check_jobs(&self, scan_target: &ScanTarget, jobs: Vec<ListedJob>) -> Result<Checked, ScanError> {
        let mut looks = stream::iter(jobs)
            .map(|listed| async move { (Box::pin(self.check_job(scan_target, &listed)).await, listed) })
            .buffer_unordered(MAX_CONCURRENT_CHECKS);
        let (mut outcomes, mut busy) = (Vec::new(), Vec::new());
        while let Some((outcome, listed)) = looks.next().await {
            match outcome {
                Ok(Outcome::Busy) => busy.push(listed),
                outcome => outcomes.push((outcome, listed.job.name)),
            }
        }
        // Jobs of one scoring got into each other's way: one after the other.
        for listed in busy {
            outcomes.push((Box::pin(self.check_job(scan_target, &listed)).await, listed.job.name));
        }
        let (mut checked, mut failure) = (Checked::default(), None);
        for (outcome, name) in outcomes {
            match outcome {
                Ok(outcome) => {
                    checked.orphaned += usize::from(matches!(outcome, Outcome::Orphaned { .. }));
                    checked.running |= matches!(outcome, Outcome::Orphaned { runs: true } | Outcome::StillRunning);
                    checked.busy |= outcome == Outcome::Busy;
                    if outcome == Outcome::Settled {
                        self.remember([name]);
                    }
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(checked), |error| Err(ScanError::Check(error)))
    }

    /// These jobs need no second look.
    fn remember(&self, names: impl IntoIterator<Item = JobName>) {
        let mut memory = self.memory();
        let room = MAX_REMEMBERED_JOBS.saturating_sub(memory.settled.len());
        memory.settled.extend(names.into_iter().take(room));
    }

    async fn check_job(&self, scan_target: &ScanTarget, listed: &ListedJob) -> Result<Outcome, Error> {
        let mut ids: Vec<ScoringId> = listed.outputs.iter().flat_map(|uri| ids_in(uri)).collect();
        ids.extend(listed.tags.iter().map(|(id, _)| id.clone()));
        ids.sort();
        ids.dedup();
        for id in ids {
            // Each try is lost to another who moved the scoring on.
            let mut tries = 0..MAX_TRIES;
            while let Some(loaded) = self.driver.load(&id).await?
                && loaded.scoring.endpoint == scan_target.endpoint
                && let Some(attempt) = self.attempt_of(&loaded.scoring, listed)
            {
                if tries.next().is_none() {
                    return Ok(Outcome::Busy);
                }
                if let Some(outcome) = self.check_job_of_scoring(loaded, attempt, listed).await? {
                    return Ok(outcome);
                }
            }
        }
        // None of ours, unless it does not show its outputs yet.
        Ok(if listed.outputs.is_empty() { Outcome::Open } else { Outcome::Settled })
    }

    /// `None`: somebody else moved the scoring on, so that it is to be read again.
    async fn check_job_of_scoring(
        &self,
        loaded: Loaded,
        attempt: u32,
        listed: &ListedJob,
    ) -> Result<Option<Outcome>, Error> {
        let scoring = &loaded.scoring;
        let (id, name) = (scoring.id.clone(), &listed.job.name);
        let ended = matches!(listed.status, JobStatus::Completed | JobStatus::Failed | JobStatus::Canceled);
        if scoring.orphaned_jobs.contains(name) {
            if !ended {
                // Whoever recorded it may have died before it asked, or the service did not listen.
                tracing::warn!(
                    scoring = %scoring.id,
                    rule = scoring.rule.as_str(),
                    endpoint = scoring.endpoint.as_str(),
                    job = name.as_str(),
                    reason = "its cancellation was requested and it still runs",
                    "orphaned job {name} of {} still runs",
                    scoring.id
                );
                // Not recorded here, as each scan asks again; the log has the answers.
                let _ = self.services.cancel(scoring, vec![listed.job.clone()]).await;
            }
            return Ok(Some(if ended { Outcome::Settled } else { Outcome::StillRunning }));
        }
        let undecided = matches!(scoring.status, Status::Submitting | Status::Unknown | Status::Held);
        if undecided && attempt == scoring.attempt {
            // The search for it decides, with all candidates in view.
            return Ok(Some(Outcome::Open));
        }
        let observation =
            Observation::UnexpectedJob { attempt, job: listed.job.clone(), status: listed.status.clone() };
        let now = self.clock.now();
        if matches!(self.driver.preview(scoring, &observation, now), Step::Wait { .. }) {
            // It is the scoring's own, or its end is known: nothing to record, now or later.
            return Ok(Some(Outcome::Settled));
        }
        let seen = Answered { value: observation, request_id: listed.request_id.clone() };
        self.driver.drive_from(loaded, Observed::of(seen, now)).await?;
        // Not by what the drive returns: it may have gone on, or have been overtaken by one who recorded the same job.
        Ok(match self.driver.load(&id).await?.map(|after| after.scoring) {
            Some(after) if after.orphaned_jobs.contains(name) => Some(Outcome::Orphaned { runs: !ended }),
            Some(after) if after.job.as_ref().is_none_or(|own| own.name != *name) => None,
            _ => Some(Outcome::Open),
        })
    }

    /// The attempt of the scoring that a job was made for.
    fn attempt_of(&self, scoring: &Scoring, listed: &ListedJob) -> Option<u32> {
        if let Some((id, attempt)) = &listed.tags {
            return (*id == scoring.id).then_some(*attempt);
        }
        let writes_to = |ours: &str| listed.outputs.iter().any(|theirs| same_place(ours, theirs));
        if let Some((attempt, _)) = scoring.handed_out().find(|(_, uri)| writes_to(uri)) {
            return Some(attempt);
        }
        // Of attempts that are so long over that their paths were forgotten, the rule of today is all that is left to go by.
        let rule = self.rules.get(&scoring.rule)?;
        let mut attempts = (1..=scoring.attempt).rev();
        attempts.find(|attempt| rule.submission(scoring, *attempt).outputs.values().any(|ours| writes_to(&ours.uri)))
    }
}

/// What an orphan scan made of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It needs no second look.
    Settled,
    /// It is looked at again.
    Open,
    /// Its scoring was moved on by others each time: it must be looked at again, however old it is.
    Busy,
    /// It was found to be needed by nobody.
    Orphaned {
        /// It was told to stop.
        runs: bool,
    },
    /// It was found so before, and told to stop again.
    StillRunning,
}

/// What the jobs of an endpoint came to.
#[derive(Debug, Clone, Copy, Default)]
struct Checked {
    orphaned: usize,
    /// An orphaned job runs on.
    running: bool,
    /// A job could not be held against its scoring, as that kept moving.
    busy: bool,
}
