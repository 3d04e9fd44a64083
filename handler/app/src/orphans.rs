//! The orphan scan: finds jobs that the service made and no scoring needs.
//!
//! A lost answer is resolved where it happened. What is left are jobs that nobody will ever look for: one that appears
//! after its submission was sent again, the second of two that one request made, one that a process sent late, after
//! others had gave it up. So the jobs behind each endpoint are listed regularly, and each that writes to an output path
//! of a scoring is held against that scoring. What no attempt needs is an *orphaned job*: it is cancelled, counted, and kept by
//! name in the scoring's row and history.
//!
//! Never: a job cancelled whose scoring may still adopt it, or which is not provably ours (its output path or our tags).

use std::collections::{HashMap, HashSet};

use futures::{StreamExt as _, stream};
use lifecycle::datastore::same_place;
use lifecycle::id::{EndpointUri, JobName, WorkspaceId};
use lifecycle::job::experiment_asked_for;
use lifecycle::{JobStatus, Observation, Scoring, ScoringId, Status, Step, decide};
use time::{Duration, OffsetDateTime};

use crate::admission::Claims;
use crate::ledger::OrphanScan;
use crate::ports::table_store::ETag;
use crate::ports::{ListedJob, ScanTarget};
use crate::{App, Error, Observed, during, error_chain};

/// Jobs may appear in a list so long after they were made. Nobody says how long that takes; what appears within the
/// resubmitAfter is found by the search for it.
const LIST_LAG: Duration = Duration::hours(1);
/// How far the first orphan scan looks back, and for how long an orphaned job that runs on is told to stop.
const FIRST: Duration = Duration::days(1);
/// Scorings looked at together.
const MAX_CONCURRENT_CHECKS: usize = 8;
/// Times that a job is held against its scoring while others move that on.
const MAX_TRIES: usize = 4;
/// Places in one URI that are held to be ids; ours have one, and a URI full of hex digits is not worth more reads.
const MAX_IDS_PER_URI: usize = 16;
/// Names of jobs that need no second look; more are looked at again.
const MAX_REMEMBERED_JOBS: usize = 50_000;

/// What a process remembers between orphan scans: a hint that spares looks, never a fact that correctness needs.
#[derive(Debug, Default)]
pub(super) struct ScanMemory {
    last: HashMap<EndpointUri, OffsetDateTime>,
    settled: HashSet<JobName>,
}

/// What an orphan scan found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) orphaned_jobs: usize,
    pub(super) errors: usize,
}

/// What the tick knows of the scorings in flight.
#[derive(Debug, Default)]
pub(super) struct InFlightJobs {
    /// Names of adopted jobs: none of them is an orphaned job.
    pub(super) names: HashSet<JobName>,
    /// Workspace by endpoint.
    pub(super) workspaces: HashMap<EndpointUri, WorkspaceId>,
}

impl App {
    /// Scans for orphaned jobs every endpoint that is due. Starts nothing new after `deadline`.
    pub(super) async fn scan_for_orphans(&self, in_flight: InFlightJobs, deadline: OffsetDateTime) -> Found {
        let mut found = Found::default();
        let Some(interval) = self.0.parts.orphan_scan_interval else { return found };
        let InFlightJobs { names, workspaces } = in_flight;
        let mut known = None;
        for mut scan_target in self.scan_targets() {
            let now = self.now();
            if now >= deadline {
                break;
            }
            if self.memory().last.get(&scan_target.endpoint).is_some_and(|last| now - *last < interval) {
                continue;
            }
            scan_target.workspace = scan_target.workspace.or_else(|| workspaces.get(&scan_target.endpoint).cloned());
            let known = known.get_or_insert_with(|| {
                let mut known = self.memory().settled.clone();
                known.extend(names.iter().cloned());
                known
            });
            match self.scan_endpoint(&scan_target, known, interval, now).await {
                Ok(orphaned_jobs) => found.orphaned_jobs += orphaned_jobs,
                Err(why) => {
                    found.errors += 1;
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

    fn memory(&self) -> std::sync::MutexGuard<'_, ScanMemory> {
        self.0.orphan_scans.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Every endpoint of the rules, with what its rules say of it.
    fn scan_targets(&self) -> Vec<ScanTarget> {
        let mut scan_targets: Vec<ScanTarget> = Vec::new();
        for rule in &self.0.parts.rules {
            let target = &rule.endpoint;
            let asked = experiment_asked_for(&rule.settings);
            let workspace = target.workspace.clone();
            match scan_targets.iter_mut().find(|scan_target| scan_target.endpoint == target.uri) {
                Some(scan_target) => {
                    scan_target.workspace = scan_target.workspace.take().or(workspace);
                    scan_target.experiments.extend(asked);
                }
                None => scan_targets.push(ScanTarget {
                    endpoint: target.uri.clone(),
                    workspace,
                    experiments: asked.into_iter().collect(),
                }),
            }
        }
        scan_targets
    }

    async fn scan_endpoint(
        &self,
        scan_target: &ScanTarget,
        known: &HashSet<JobName>,
        interval: Duration,
        now: OffsetDateTime,
    ) -> Result<usize, String> {
        let ledger_error = |error: crate::ledger::Error| error_chain(&error);
        let last = self.ledger().orphan_scan(&scan_target.endpoint).await.map_err(ledger_error)?;
        // Another process did it a moment ago.
        if last.is_some_and(|last| now - last.at < interval) {
            return Ok(0);
        }
        let since = last.map_or(now - FIRST, |last| last.through);
        let listing = self
            .0
            .parts
            .endpoint
            .jobs_created_since(scan_target, since, known)
            .await
            .map_err(|inconclusive| inconclusive.0)?;
        let complete = listing.complete;
        let mut looks = stream::iter(listing.jobs)
            .map(|listed| async move { (self.check_job(scan_target, &listed).await, listed) })
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
            outcomes.push((self.check_job(scan_target, &listed).await, listed.job.name));
        }
        let (mut orphaned_jobs, mut running, mut busy, mut failure) = (0, false, false, None);
        for (outcome, name) in outcomes {
            match outcome {
                Ok(outcome) => {
                    orphaned_jobs += usize::from(matches!(outcome, Outcome::Orphaned { .. }));
                    running |= matches!(outcome, Outcome::Orphaned { runs: true } | Outcome::StillRunning);
                    busy |= outcome == Outcome::Busy;
                    let mut memory = self.memory();
                    if outcome == Outcome::Settled && memory.settled.len() < MAX_REMEMBERED_JOBS {
                        memory.settled.insert(name);
                    }
                }
                Err(error) => failure = failure.or(Some(error_chain(&error))),
            }
        }
        if let Some(why) = failure {
            return Err(why);
        }
        let through = match (complete && !busy, running) {
            (true, false) => now - LIST_LAG,
            // A request to stop a job may be lost, or not be listened to: what still runs is to be listed again.
            (true, true) => since.max(now - FIRST),
            (false, _) => since,
        };
        self.ledger()
            .record_orphan_scan(&scan_target.endpoint, OrphanScan { at: now, through })
            .await
            .map_err(ledger_error)?;
        if complete {
            Ok(orphaned_jobs)
        } else {
            Err("there were more jobs than one orphan scan looks at; the next goes on".to_owned())
        }
    }

    async fn check_job(&self, scan_target: &ScanTarget, listed: &ListedJob) -> Result<Outcome, Error> {
        let mut ids: Vec<ScoringId> = listed.outputs.iter().flat_map(|uri| ids_in(uri)).collect();
        ids.extend(listed.tags.iter().map(|(id, _)| id.clone()));
        ids.sort();
        ids.dedup();
        for id in ids {
            // Each try is lost to another who moved the scoring on.
            let mut tries = 0..MAX_TRIES;
            while let Some((scoring, etag)) = self.ledger().get(&id).await.map_err(during("reading a scoring"))?
                && scoring.endpoint == scan_target.endpoint
                && let Some(attempt) = self.attempt_of(&scoring, listed)
            {
                if tries.next().is_none() {
                    return Ok(Outcome::Busy);
                }
                if let Some(outcome) = self.check_job_of_scoring(scoring, etag, attempt, listed).await? {
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
        scoring: Scoring,
        etag: ETag,
        attempt: u32,
        listed: &ListedJob,
    ) -> Result<Option<Outcome>, Error> {
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
                    reason = "it was told to stop and still runs",
                    "orphaned job {name} of {} still runs",
                    scoring.id
                );
                self.cancel(&scoring, vec![listed.job.clone()]).await;
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
        let now = self.now();
        if matches!(decide(&scoring, self.rule(&scoring), &observation, now), Step::Wait { .. }) {
            return Ok(Some(Outcome::Settled));
        }
        self.drive_observed(scoring, etag, Observed { observation, at: now, claims: Claims::default() }).await?;
        let after = self.ledger().get(&id).await.map_err(during("reading a scoring"))?;
        Ok(match after {
            Some((after, _)) if after.orphaned_jobs.contains(name) => Some(Outcome::Orphaned { runs: !ended }),
            Some((after, _)) if after.job.as_ref().is_none_or(|own| own.name != *name) => None,
            _ => Some(Outcome::Open),
        })
    }

    /// The attempt of the scoring that a job was made for.
    fn attempt_of(&self, scoring: &Scoring, listed: &ListedJob) -> Option<u32> {
        if let Some((id, attempt)) = &listed.tags {
            return (*id == scoring.id).then_some(*attempt);
        }
        let writes_to = |submission: &lifecycle::Submission| {
            submission.outputs.values().any(|ours| listed.outputs.iter().any(|theirs| same_place(&ours.uri, theirs)))
        };
        if scoring.submission.as_ref().is_some_and(writes_to) {
            return Some(scoring.attempt);
        }
        let rule = self.rule(scoring)?;
        (1..=scoring.attempt).rev().find(|attempt| writes_to(&rule.submission(&scoring.blob, &scoring.id, *attempt)))
    }
}

/// Tells operators of jobs that a move recorded as orphaned jobs: they cost money, and show that answers are lost. Whoever finds
/// one records it by a move, so this is where all of them come by.
pub(super) fn log_orphaned_jobs(before: &Scoring, after: &Scoring, reason: &str) {
    for job in after.orphaned_jobs.iter().filter(|job| !before.orphaned_jobs.contains(job)) {
        tracing::warn!(
            scoring = %after.id,
            rule = after.rule.as_str(),
            endpoint = after.endpoint.as_str(),
            job = job.as_str(),
            reason,
            "orphaned job {job} of {}: {reason}",
            after.id
        );
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

/// Every scoring id that a URI may hold; each output path of ours holds one. A template may put hex digits beside it.
fn ids_in(uri: &str) -> Vec<ScoringId> {
    let runs = uri.split(|c: char| !c.is_ascii_hexdigit());
    let scan_targets = runs.flat_map(|run| (0..=run.len().saturating_sub(32)).filter_map(|at| run.get(at..at + 32)));
    scan_targets.filter_map(ScoringId::read).take(MAX_IDS_PER_URI).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_wherever_a_template_puts_them() {
        let id = "8eab74ca1334548c648de2f3ccc5c3aa";
        for uri in [
            format!("azureml://datastores/d/paths/scorekeeper/claims/{id}/1/predictions.csv"),
            format!("azureml://datastores/d/paths/x-{id}-1.csv"),
            format!("azureml://datastores/d/paths/XXdead{id}/1").replace("dead", "z"),
            format!("/subscriptions/0-0/workspaces/w/datastores/d/paths/{id}"),
        ] {
            assert_eq!(ids_in(&uri).iter().map(ScoringId::as_str).collect::<Vec<_>>(), [id], "{uri}");
        }
        assert_eq!(ids_in("azureml://datastores/d/paths/of-another/app.csv"), []);
    }
}
