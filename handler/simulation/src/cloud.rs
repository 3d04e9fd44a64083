//! What the simulated Azure ML and storage hold: jobs, their ends, and outputs. Time is an argument; nothing here fails.

use std::collections::{BTreeSet, HashSet};

use lifecycle::id::JobName;
use lifecycle::{Candidate, Job, JobSnapshot, JobStatus, Scoring, ScoringId};
use time::{Duration, OffsetDateTime};

use crate::behaviour::{End, JobBehaviour, Written};
use app::ports::ListedJob;

/// From a request to stop to the end of the job.
const STOPS_WITHIN: Duration = Duration::seconds(30);
/// A list shows the outputs of a job after this.
const SHOWN_AFTER: Duration = Duration::seconds(10);
/// Size of good predictions.
const BYTES: u64 = 7;

#[derive(Debug)]
struct CloudJob {
    name: JobName,
    owner: ScoringId,
    attempt: u32,
    endpoint: String,
    outputs: Vec<String>,
    created: OffsetDateTime,
    ends: Option<OffsetDateTime>,
    stopping: bool,
    behaviour: JobBehaviour,
}

impl CloudJob {
    fn ended(&self, now: OffsetDateTime) -> bool {
        self.ends.is_some_and(|at| at <= now)
    }

    fn status(&self, now: OffsetDateTime) -> JobStatus {
        if self.ended(now) {
            return match self.behaviour.end {
                End::Completed(_) => JobStatus::Completed,
                End::Failed => JobStatus::Failed,
                End::Canceled => JobStatus::Canceled,
            };
        }
        match now - self.created {
            _ if self.stopping => JobStatus::CancelRequested,
            age if age < Duration::seconds(20) => JobStatus::Preparing,
            age if age < Duration::seconds(90) => self.behaviour.word.clone(),
            _ => JobStatus::Running,
        }
    }
}

/// Everything that the workspace and the storage hold.
#[derive(Debug, Default)]
pub(super) struct Cloud {
    jobs: Vec<CloudJob>,
    looked: BTreeSet<String>,
}

impl Cloud {
    pub(super) fn make(&mut self, scoring: &Scoring, behaviour: JobBehaviour, now: OffsetDateTime) -> Job {
        let name: JobName = format!("job-{}", self.jobs.len() + 1).parse().expect("it is not empty");
        let outputs = scoring.submission.iter().flat_map(|sent| sent.outputs.values());
        self.jobs.push(CloudJob {
            name: name.clone(),
            owner: scoring.id.clone(),
            attempt: scoring.attempt,
            endpoint: scoring.endpoint.to_string(),
            outputs: outputs.map(|output| output.uri.clone()).collect(),
            created: now,
            ends: behaviour.lasts.map(|lasts| now + lasts),
            stopping: false,
            behaviour,
        });
        Job { name, id: None, studio: None }
    }

    fn job(&self, name: &str) -> Option<&CloudJob> {
        // Names are numbers from 1 on.
        let number: usize = name.strip_prefix("job-")?.parse().ok()?;
        self.jobs.get(number.checked_sub(1)?)
    }

    /// How many jobs were ever made.
    pub(super) fn made(&self) -> usize {
        self.jobs.len()
    }

    /// The scoring and attempt that a job belongs to.
    pub(super) fn owner(&self, name: &str) -> Option<(ScoringId, u32)> {
        self.job(name).map(|job| (job.owner.clone(), job.attempt))
    }

    /// Jobs of this attempt, the oldest first.
    pub(super) fn of_attempt(&self, id: &ScoringId, attempt: u32) -> Vec<Job> {
        let of = self.jobs.iter().filter(|job| job.owner == *id && job.attempt == attempt);
        of.map(|job| Job { name: job.name.clone(), id: None, studio: None }).collect()
    }

    /// Every job with the scoring that it was made for.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &ScoringId)> {
        self.jobs.iter().map(|job| (job.name.as_str(), &job.owner))
    }

    /// Jobs made behind an endpoint since some time that lists show. `marked`: the service keeps tags. Outputs of a young
    /// job are not shown yet.
    pub(super) fn jobs_created_since(
        &self,
        endpoint: &str,
        since: OffsetDateTime,
        known: &HashSet<JobName>,
        keeps_tags: bool,
        now: OffsetDateTime,
    ) -> Vec<ListedJob> {
        let of = self.jobs.iter().filter(|job| job.endpoint == endpoint && job.created >= since);
        let shown = of.filter(|job| job.created + job.behaviour.lag <= now && !known.contains(&job.name));
        let listed = |job: &CloudJob| ListedJob {
            job: Job { name: job.name.clone(), id: None, studio: None },
            status: job.status(now),
            outputs: if now - job.created < SHOWN_AFTER { Vec::new() } else { job.outputs.clone() },
            tags: keeps_tags.then(|| (job.owner.clone(), job.attempt)),
        };
        shown.map(listed).collect()
    }

    /// A job of this attempt that lists have shown since before `at`.
    pub(super) fn listed(&self, id: &ScoringId, attempt: u32, at: OffsetDateTime) -> Option<&str> {
        let mut of = self.jobs.iter().filter(|job| job.owner == *id && job.attempt == attempt);
        of.find(|job| job.created + job.behaviour.lag <= at).map(|job| job.name.as_str())
    }

    /// Whether a job was told to stop.
    pub(super) fn stop_requested(&self, name: &str) -> bool {
        self.job(name).is_some_and(|job| job.stopping)
    }

    /// Jobs with these outputs that lists show.
    pub(super) fn find(&self, scoring: &Scoring, now: OffsetDateTime) -> Vec<Candidate> {
        let Some(ours) = &scoring.submission else { return Vec::new() };
        let uris = || ours.outputs.values().map(|output| output.uri.as_str());
        let found = self.jobs.iter().filter(|job| job.created + job.behaviour.lag <= now);
        let found = found.filter(|job| job.outputs.iter().map(String::as_str).eq(uris()));
        let candidate = |job: &CloudJob| Candidate {
            job: Job { name: job.name.clone(), id: None, studio: None },
            status: job.status(now),
            created: job.created,
        };
        found.map(candidate).collect()
    }

    /// A job as it was `stale` ago.
    pub(super) fn look(&self, name: &str, now: OffsetDateTime, stale: Duration) -> Option<JobSnapshot> {
        let job = self.job(name)?;
        let age = now - job.created;
        if job.behaviour.hidden.is_some_and(|(from, until)| age >= from && age < until) {
            return None;
        }
        let status = job.status((now - stale).max(job.created));
        let error = (status == JobStatus::Failed).then(|| "exit code 42".to_owned());
        Some(JobSnapshot { status, error, studio: None })
    }

    pub(super) fn cancel(&mut self, name: &str, now: OffsetDateTime) {
        let Some(job) = self.jobs.iter_mut().find(|job| job.name == name) else { return };
        if job.ended(now) || job.stopping {
            return;
        }
        if job.behaviour.deaf > 0 {
            job.behaviour.deaf -= 1;
            return;
        }
        job.stopping = true;
        job.ends = Some(now + STOPS_WITHIN);
        job.behaviour.end = job.behaviour.stopped.clone();
    }

    pub(super) fn looked_at(&mut self, uri: &str) {
        if !self.looked.contains(uri) {
            self.looked.insert(uri.to_owned());
        }
    }

    pub(super) fn was_looked_at(&self, uri: &str) -> bool {
        self.looked.contains(uri)
    }

    /// Size and time of what is at a path. What is good stays, whatever another job of the same request does.
    pub(super) fn output(&self, uri: &str, now: OffsetDateTime) -> Option<(u64, OffsetDateTime)> {
        let of = self.jobs.iter().filter(|job| job.outputs.iter().any(|output| output == uri));
        let written = of.filter_map(|job| match (&job.behaviour.end, job.ends) {
            (End::Completed(Written::Good(late)), Some(at)) if at + *late <= now => Some((2, BYTES, at + *late)),
            (End::Completed(Written::Empty), Some(at)) if at <= now => Some((1, 0, at)),
            (End::Completed(Written::Old), Some(at)) if at <= now => Some((0, BYTES, job.created - Duration::days(1))),
            _ => None,
        });
        written.max_by_key(|(good, ..)| *good).map(|(_, bytes, modified)| (bytes, modified))
    }

    /// Jobs that run on, beside the adopted ones, and that nobody has asked to stop.
    pub(super) fn orphaned_jobs(&self, adopted: &BTreeSet<String>, now: OffsetDateTime) -> Vec<&str> {
        let of =
            self.jobs.iter().filter(|job| !adopted.contains(job.name.as_str()) && !job.stopping && !job.ended(now));
        of.map(|job| job.name.as_str()).collect()
    }
}
