//! What the simulated Azure ML and storage hold: jobs, their ends and outputs here, what else lies in the storage in [`storage`]. Time is an argument; nothing here fails.
//!
//! The one fake of both in this process. The simulation puts a network before it that loses things, the tests' world one
//! that fails by plan; the ports' conformance suites hold both to the claims that the real adapters are held to.

pub(crate) mod storage;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use lifecycle::id::JobName;
use lifecycle::job::OutputKind;
use lifecycle::publication::RefusalKind;
use lifecycle::{Candidate, Job, JobSnapshot, JobStatus, OutputPrint, OutputSnapshot, Scoring, ScoringId};
use time::{Duration, OffsetDateTime};

use crate::behaviour::{End, JobBehaviour, Written};
use crate::inputs::{Inputs, NothingThere};
use crate::publications::Publications;
use crate::uploaded::Uploaded;
use app::ports::ListedJob;

/// Clocks of processes and of Azure ML differ by at most this.
const CLOCK_SKEW: Duration = Duration::minutes(5);
/// Length of good predictions in bytes.
const BYTES: u64 = 7;
/// The one file that a job writes into a folder.
const PART: &str = "/predictions.csv";

/// A job and whom it was made for.
#[derive(Debug)]
pub struct CloudJob {
    /// Its name: `job-` and its number, from 1 on.
    pub name: JobName,
    /// The scoring as it was when it asked for the job.
    pub scoring: Scoring,
    /// When it was made, by the true time.
    pub created: OffsetDateTime,
    /// Its ARM id, if the service tells it.
    id: Option<String>,
    /// The service kept the tags that name the scoring and attempt.
    tagged: bool,
    /// Somebody else made it, over the same inputs as the scoring's.
    pub stranger: bool,
    files: FilesRead,
    outputs: Vec<String>,
    ends: Option<OffsetDateTime>,
    stopping: bool,
    behaviour: JobBehaviour,
}

/// What a job found when it was made.
#[derive(Debug, Default)]
struct FilesRead {
    /// The members whose copies lay in its folder; `None`: it is no group's.
    members: Option<BTreeSet<ScoringId>>,
    /// What it says, if one of its files fails whatever reads it.
    failed_by: Option<&'static str>,
}

impl CloudJob {
    fn ended(&self, now: OffsetDateTime) -> bool {
        self.ends.is_some_and(|at| at <= now)
    }

    /// It says whose it is, sooner or later.
    fn is_told(&self) -> bool {
        self.tagged || !self.behaviour.omits_outputs && !self.outputs.is_empty()
    }

    fn candidate(&self, now: OffsetDateTime) -> Candidate {
        Candidate { job: self.job(), status: self.status(now), created: self.created }
    }

    fn is_of(&self, id: &ScoringId, attempt: u32) -> bool {
        !self.stranger && self.scoring.id == *id && self.scoring.attempt == attempt
    }

    fn job(&self) -> Job {
        Job { name: self.name.clone(), id: self.id.clone(), studio: None }
    }

    /// When it reads its input.
    fn reads(&self) -> OffsetDateTime {
        let begins = self.created + self.behaviour.prepares;
        self.ends.map_or(begins, |ends| begins.min(ends))
    }

    /// Its status at a time, if its input was there.
    pub fn status(&self, now: OffsetDateTime) -> JobStatus {
        if self.ended(now) {
            return match self.behaviour.end {
                End::Completed(_) => JobStatus::Completed,
                End::Failed => JobStatus::Failed,
                End::Canceled => JobStatus::Canceled,
            };
        }
        match now - self.created {
            _ if self.stopping => JobStatus::CancelRequested,
            age if age < self.behaviour.prepares => JobStatus::Preparing,
            age if age < Duration::seconds(90) => self.behaviour.word.clone(),
            _ => JobStatus::Running,
        }
    }
}

/// An output that a job has written.
#[derive(Debug, Clone, Copy)]
pub(super) struct WrittenOutput<'a> {
    /// The scoring that its job was made for.
    pub(super) of: &'a ScoringId,
    pub(super) kind: OutputKind,
    pub(super) uri: &'a str,
}

/// Everything that the workspace and the storage hold.
#[derive(Debug, Default)]
pub struct Cloud {
    jobs: Vec<CloudJob>,
    /// Blobs that no job has written, by URI.
    placed: BTreeMap<String, (u64, OffsetDateTime)>,
    /// What lies at the URLs that jobs read, in each version.
    pub inputs: Inputs,
    looked: BTreeSet<String>,
    default_deployment: Option<String>,
    /// Blobs that were uploaded, as lists and looks at the storage show them.
    pub uploaded: Uploaded,
    /// What was published, and what was staged.
    pub publications: Publications,
    /// Files that cannot be scored in a group as others can.
    pub bad: BadFiles,
}

/// Files that cannot be scored in a group as others can, by URL.
#[derive(Debug, Clone, Default)]
pub struct BadFiles {
    /// Whatever job reads them fails, and says this.
    pub failing: BTreeMap<String, &'static str>,
    /// No output of a group names them.
    pub not_named: BTreeSet<String>,
    /// The storage does not copy them: why.
    pub not_copied: BTreeMap<String, RefusalKind>,
}

/// What every job says that one of its files failed, beside whose fault that looks like.
pub(super) const A_FILE_IS_BAD: &str = "a file is bad";
/// What a job says that was failed by one of its files.
pub const BAD_FILE: &str = "UserError: the scoring command ended with exit status: 1: ValueError: a file is bad";
/// The same of a file that is larger than a node's memory, which reads like a failure of the platform.
pub const TOO_LARGE: &str = "UserError: the scoring command ended with exit status: 1: MemoryError: a file is bad";

impl Cloud {
    /// Makes a job for a submission; `tagged`: the service keeps its tags.
    ///
    /// # Panics
    /// Never: a name with a number in it is a name.
    pub fn make(&mut self, scoring: &Scoring, behaviour: JobBehaviour, tagged: bool, now: OffsetDateTime) -> Job {
        let outputs = scoring.submission.iter().flat_map(|sent| sent.outputs.values());
        let outputs = outputs.map(|output| output.uri.clone()).collect();
        self.push(scoring, outputs, behaviour, (tagged, false), now)
    }

    /// Makes somebody else's job over the inputs of a scoring, which shows nothing of whose it is.
    ///
    /// # Panics
    /// Never: a name with a number in it is a name.
    pub fn make_strangers(&mut self, like: &Scoring, behaviour: JobBehaviour, now: OffsetDateTime) -> Job {
        let outputs = vec![format!("azureml://datastores/theirs/paths/{}", self.jobs.len())];
        let behaviour = JobBehaviour { omits_outputs: true, ..behaviour };
        self.push(like, outputs, behaviour, (false, true), now)
    }

    fn push(
        &mut self,
        scoring: &Scoring,
        outputs: Vec<String>,
        behaviour: JobBehaviour,
        (tagged, stranger): (bool, bool),
        now: OffsetDateTime,
    ) -> Job {
        let number = self.jobs.len() + 1;
        let id = self.default_deployment.as_ref().map(|deployment| {
            format!("/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w/batchEndpoints/e/deployments/{deployment}/jobs/job-{number}")
        });
        let files = self.read_by(scoring);
        self.jobs.push(CloudJob {
            files,
            name: format!("job-{number}").parse().expect("it is not empty"),
            id,
            outputs,
            scoring: scoring.clone(),
            created: now,
            tagged,
            stranger,
            ends: behaviour.lasts.map(|lasts| now + lasts),
            stopping: false,
            behaviour,
        });
        self.jobs[self.jobs.len() - 1].job()
    }

    /// What a job that is made now reads.
    fn read_by(&self, scoring: &Scoring) -> FilesRead {
        if !scoring.is_group() {
            return FilesRead { members: None, failed_by: self.bad.failing.get(&scoring.blob.url).copied() };
        }
        let folder = format!("{}/", scoring.blob.url);
        let (mut members, mut failed_by) = (BTreeSet::new(), None);
        let copies = self.publications.all().map(|(uri, _)| uri).filter(|uri| uri.starts_with(&folder));
        for uri in copies {
            members.extend(uri[folder.len()..].split('.').next().and_then(|id| id.parse().ok()));
            failed_by = failed_by.or_else(|| self.bad.failing.get(self.publications.made_of(uri)?).copied());
        }
        FilesRead { members: Some(members), failed_by }
    }

    /// Which of these members the output of a group's job names.
    pub fn named_in_outputs(&self, scoring: &Scoring, ids: &BTreeSet<ScoringId>) -> BTreeSet<ScoringId> {
        let job = scoring.job.as_ref().and_then(|job| self.job(&job.name));
        let read = job.and_then(|job| job.files.members.as_ref()).into_iter();
        let named = read.flat_map(|read| read.intersection(ids));
        let is_named = |id: &ScoringId| {
            let folder = format!("{}/{id}.", scoring.blob.url);
            let copy = self.publications.all().find(|(uri, _)| uri.starts_with(&folder));
            copy.and_then(|(uri, _)| self.publications.made_of(uri)).is_none_or(|url| !self.bad.not_named.contains(url))
        };
        named.filter(|id| is_named(id)).cloned().collect()
    }

    /// The members whose copies a job read, if it is a group's.
    pub(super) fn read_of_group(&self, job: &str) -> Option<&BTreeSet<ScoringId>> {
        self.job(job)?.files.members.as_ref()
    }

    /// Every job, in the order of their making.
    pub fn jobs(&self) -> &[CloudJob] {
        &self.jobs
    }

    /// Ends a job now, whatever it was about to do. One that has ended stays as it is.
    pub fn end(&mut self, name: &str, end: End, now: OffsetDateTime) {
        if let Some(job) = self.jobs.iter_mut().find(|job| *job.name == *name && !job.ended(now)) {
            job.behaviour.end = end;
            job.ends = Some(now);
        }
    }

    /// Ends a job now as failed, with this error.
    pub fn fail(&mut self, name: &str, error: &'static str, now: OffsetDateTime) {
        self.end(name, End::Failed, now);
        if let Some(job) = self.jobs.iter_mut().find(|job| *job.name == *name) {
            job.behaviour.error = error;
        }
    }

    /// The endpoint's default deployment: the ids of jobs that are made from now on name it.
    pub fn set_default_deployment(&mut self, name: &str) {
        self.default_deployment = Some(name.to_owned());
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
        self.job(name).filter(|job| !job.stranger).map(|job| (job.scoring.id.clone(), job.scoring.attempt))
    }

    /// Whether somebody else made this job, who uses the same endpoint.
    pub(super) fn is_strangers(&self, name: &str) -> bool {
        self.job(name).is_some_and(|job| job.stranger)
    }

    /// Jobs of this attempt, the oldest first.
    pub(super) fn of_attempt(&self, id: &ScoringId, attempt: u32) -> Vec<Job> {
        self.jobs.iter().filter(|job| job.is_of(id, attempt)).map(CloudJob::job).collect()
    }

    /// Every job that says whose it is, with the scoring and attempt that it was made for.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &ScoringId, u32)> {
        let told = self.jobs.iter().filter(|job| !job.stranger && job.is_told());
        told.map(|job| (job.name.as_str(), &job.scoring.id, job.scoring.attempt))
    }

    /// Jobs made behind an endpoint since some time that lists show. Outputs of a young job are not shown yet.
    pub fn jobs_created_since(
        &self,
        endpoint: &str,
        since: OffsetDateTime,
        known: &HashSet<JobName>,
        now: OffsetDateTime,
    ) -> Vec<ListedJob> {
        let of = self.jobs.iter().filter(|job| *job.scoring.endpoint == *endpoint && job.created >= since);
        let shown = of.filter(|job| job.created + job.behaviour.lag <= now && !known.contains(&job.name));
        let listed = |job: &CloudJob| ListedJob {
            job: job.job(),
            status: self.status(job, now),
            outputs: if job.behaviour.omits_outputs || now - job.created < job.behaviour.shows_outputs_after {
                Vec::new()
            } else {
                job.outputs.clone()
            },
            tags: job.tagged.then(|| (job.scoring.id.clone(), job.scoring.attempt)),
            request_id: None,
        };
        shown.map(listed).collect()
    }

    /// A job of this attempt that lists have shown since before `at`. What does not say whose it is counts while it runs, and
    /// once its output was there.
    pub(super) fn listed(&self, id: &ScoringId, attempt: u32, at: OffsetDateTime) -> Option<&str> {
        let speaks = |job: &&CloudJob| {
            job.is_told() || !job.ended(at) || job.outputs.iter().any(|uri| self.output(uri, at).is_some())
        };
        let mut of = self.jobs.iter().filter(|job| job.is_of(id, attempt)).filter(speaks);
        of.find(|job| job.created + job.behaviour.lag <= at).map(|job| job.name.as_str())
    }

    /// Whether a job was told to stop.
    pub(super) fn stop_requested(&self, name: &str) -> bool {
        self.job(name).is_some_and(|job| job.stopping)
    }

    /// Jobs that lists show and that are the attempt's by their outputs or tags; and those that may be, as they have the same
    /// inputs and show neither.
    pub fn find(&self, scoring: &Scoring, now: OffsetDateTime) -> (Vec<Candidate>, Vec<Candidate>) {
        let Some(sent) = &scoring.submission else { return (Vec::new(), Vec::new()) };
        let uris = || sent.outputs.values().map(|output| output.uri.as_str());
        let since = scoring.submitted.unwrap_or(scoring.created) - CLOCK_SKEW;
        let (mut ours, mut possible) = (Vec::new(), Vec::new());
        for job in self.jobs.iter().filter(|job| job.created + job.behaviour.lag <= now) {
            if job.is_told() {
                let shown = !job.behaviour.omits_outputs && !job.outputs.is_empty();
                let writes_there = shown && job.outputs.iter().map(String::as_str).eq(uris());
                if writes_there || (job.tagged && job.is_of(&scoring.id, scoring.attempt)) {
                    ours.push(job.candidate(now));
                }
            } else if job.scoring.endpoint == scoring.endpoint
                && job.created >= since
                && job.scoring.submission.as_ref().is_some_and(|theirs| theirs.inputs == sent.inputs)
            {
                possible.push(job.candidate(now));
            }
        }
        (ours, possible)
    }

    /// What lies at any output of the scoring's attempt.
    pub fn output_print(&self, scoring: &Scoring, now: OffsetDateTime) -> Option<OutputPrint> {
        let uris = scoring.submission.iter().flat_map(|sent| sent.outputs.values()).map(|output| output.uri.as_str());
        let there: Vec<_> = uris.filter_map(|uri| Some((uri, format!("{:?}", self.output(uri, now)?)))).collect();
        (!there.is_empty()).then(|| OutputPrint::of(there.iter().map(|(uri, etag)| (*uri, etag.as_str()))))
    }

    /// A job as it was `stale` ago; `None` if there is none of this name, or it is hidden now.
    pub fn look(&self, name: &str, now: OffsetDateTime, stale: Duration) -> Option<JobSnapshot> {
        let job = self.job(name)?;
        let age = now - job.created;
        if job.behaviour.hidden.is_some_and(|(from, until)| age >= from && age < until) {
            return None;
        }
        let status = self.status(job, (now - stale).max(job.created));
        let says = job.files.failed_by.unwrap_or(job.behaviour.error);
        let error = (status == JobStatus::Failed).then(|| says.to_owned());
        Some(JobSnapshot { status, error, studio: None })
    }

    /// The content that a job reads.
    fn read(&self, job: &CloudJob) -> Result<Option<u64>, NothingThere> {
        if let Some(members) = &job.files.members {
            return if members.is_empty() { Err(NothingThere) } else { Ok(None) };
        }
        self.inputs.content(&job.scoring.blob.url, job.reads())
    }

    /// The content that a job of this name has read; `None` if that is not known, or nothing was there.
    pub(super) fn content_read_by(&self, name: &str) -> Option<u64> {
        self.read(self.job(name)?).ok()?
    }

    /// A job without its input fails.
    fn status(&self, job: &CloudJob, now: OffsetDateTime) -> JobStatus {
        match job.status(now) {
            JobStatus::Completed if self.read(job).is_err() || job.files.failed_by.is_some() => JobStatus::Failed,
            status => status,
        }
    }

    /// Asks a job to stop. One that has ended, or was asked before, stays as it is.
    pub fn cancel(&mut self, name: &str, now: OffsetDateTime) {
        let Some(job) = self.jobs.iter_mut().find(|job| job.name == name) else { return };
        if job.ended(now) || job.stopping {
            return;
        }
        if job.behaviour.deaf > 0 {
            job.behaviour.deaf -= 1;
            return;
        }
        job.stopping = true;
        job.ends = Some(now + job.behaviour.stops_within);
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

    /// What is at the outputs of the scoring's attempt, all together; `None` if it has none.
    pub fn outputs(&self, scoring: &Scoring, now: OffsetDateTime) -> Option<OutputSnapshot> {
        let mut all: Option<(u64, OffsetDateTime)> = None;
        for output in scoring.submission.as_ref()?.outputs.values() {
            let Some((bytes, modified)) = self.output(&output.uri, now) else {
                return Some(OutputSnapshot::Absent { uri: output.uri.clone() });
            };
            // A sum would hide the empty one among several.
            let sum = |before: u64| if before == 0 || bytes == 0 { 0 } else { before + bytes };
            all = Some(all.map_or((bytes, modified), |(before, oldest)| (sum(before), oldest.min(modified))));
        }
        let print = self.output_print(scoring, now)?;
        all.map(|(bytes, modified)| OutputSnapshot::Present { bytes, modified, print })
    }

    /// Size and time of what is at a path. What is good stays, whatever another job of the same request does.
    pub(super) fn output(&self, uri: &str, now: OffsetDateTime) -> Option<(u64, OffsetDateTime)> {
        if let Some(placed) = self.placed.get(uri) {
            return Some(*placed);
        }
        let of = self.jobs.iter().filter(|job| {
            job.outputs.iter().any(|output| output == uri) && self.read(job).is_ok() && job.files.failed_by.is_none()
        });
        let written = of.filter_map(|job| match (&job.behaviour.end, job.ends) {
            (End::Completed(Written::Good(late)), Some(at)) if at + *late <= now => Some((2, BYTES, at + *late)),
            (End::Completed(Written::Empty), Some(at)) if at <= now => Some((1, 0, at)),
            (End::Completed(Written::Old), Some(at)) if at <= now => Some((0, BYTES, job.created - Duration::days(1))),
            _ => None,
        });
        written.max_by_key(|(good, ..)| *good).map(|(_, bytes, modified)| (bytes, modified))
    }

    /// Outputs that jobs have written by now.
    pub(super) fn written(&self, now: OffsetDateTime) -> impl Iterator<Item = WrittenOutput<'_>> {
        let of = self.jobs.iter().filter(move |job| !job.stranger && job.ended(now));
        let all = of.flat_map(|job| {
            let outputs = job.scoring.submission.iter().flat_map(|sent| sent.outputs.values());
            outputs.map(|output| WrittenOutput { of: &job.scoring.id, kind: output.kind, uri: &output.uri })
        });
        all.filter(move |written| self.output(written.uri, now).is_some())
    }

    /// Jobs that run on, beside the adopted ones, and that nobody has asked to stop.
    pub(super) fn orphaned_jobs(&self, adopted: &BTreeSet<String>, now: OffsetDateTime) -> Vec<&str> {
        let of =
            self.jobs.iter().filter(|job| !adopted.contains(job.name.as_str()) && !job.stopping && !job.ended(now));
        // Of a job that does not say whose it is nobody can say that nobody needs it.
        let of = of.filter(|job| job.is_told());
        of.map(|job| job.name.as_str()).collect()
    }
}
