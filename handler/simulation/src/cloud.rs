//! What the simulated Azure ML and storage hold: jobs, their ends, and outputs. Time is an argument; nothing here fails.
//!
//! The one fake of both in this process. The simulation puts a network before it that loses things, the tests' world one
//! that fails by plan; the ports' conformance suites hold both to the claims that the real adapters are held to.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use lifecycle::datastore::DatastorePath;
use lifecycle::id::JobName;
use lifecycle::job::OutputKind;
use lifecycle::publication::{Refusal, RefusalKind};
use lifecycle::{
    BlobPlace, BlobPrefix, BlobSnapshot, BlobVersion, Candidate, CopySource, InputSnapshot, Job, JobSnapshot,
    JobStatus, OutputPrint, OutputSnapshot, PublicationMark, Published, PublishedBlob, Scoring, ScoringId,
    UnversionedBlob, WriteCondition,
};
use time::{Duration, OffsetDateTime};

use crate::account::{self, CONTAINERS};
use crate::behaviour::{End, JobBehaviour, Written};
use crate::inputs::{Inputs, NothingThere};
use crate::publications::{Content, Publications};
use crate::uploaded::Uploaded;
use app::ports::{BlobPage, Inconclusive, ListedJob, PartPage};

/// Clocks of processes and of Azure ML differ by at most this.
const CLOCK_SKEW: Duration = Duration::minutes(5);
/// Size of good predictions.
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
    /// When it was made.
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
    /// What jobs read.
    pub inputs: Inputs,
    looked: BTreeSet<String>,
    default_deployment: Option<String>,
    /// What was uploaded.
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

    /// Copies that lie in folders of groups, with their groups.
    pub(super) fn copies(&self) -> impl Iterator<Item = (ScoringId, &str)> {
        let all = self.publications.all().map(|(uri, _)| uri).filter(|uri| is_copy(uri));
        all.filter_map(|uri| Some((uri.rsplit('/').nth(2)?.parse().ok()?, uri)))
    }

    /// Removes what was written to a place, in this version.
    pub fn remove(&mut self, at: &BlobPlace, etag: &str) {
        self.publications.remove(&at.uri, etag);
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

    /// Puts a blob at a URI, in place of whatever jobs have written there.
    pub fn place(&mut self, uri: &str, bytes: u64, now: OffsetDateTime) {
        if self.publications.at(uri).is_some() {
            self.publications.put_foreign(uri, bytes);
        }
        self.placed.insert(uri.to_owned(), (bytes, now));
    }

    /// Somebody writes something else over an output that is there.
    pub(super) fn overwrite(&mut self, uri: &str, now: OffsetDateTime) {
        if let Some((bytes, _)) = self.output(uri, now) {
            self.place(uri, bytes + 1, now);
        }
    }

    /// What a look at an input shows. What a job could not read yet is not looked at any further.
    ///
    /// # Errors
    /// If a copy into it is under way, or it lies in the archive tier.
    pub fn input(&self, blob: &BlobVersion, now: OffsetDateTime) -> Result<InputSnapshot, Inconclusive> {
        let shown = UnversionedBlob::read(&blob.url).ok().and_then(|blob| self.blob(&blob, now));
        match shown.and_then(|shown| shown.not_readable_yet()) {
            Some(why) => Err(Inconclusive::unfinished(why)),
            None => Ok(self.inputs.look(blob, now)),
        }
    }

    /// A blob as the storage shows it now. What was written as an input is a block blob of some bytes.
    pub fn blob(&self, blob: &UnversionedBlob, now: OffsetDateTime) -> Option<BlobSnapshot> {
        let uploaded = self.uploaded.get(blob);
        if !self.inputs.has_path(&blob.url) {
            return uploaded;
        }
        let input = self.inputs.shown(blob, now)?;
        // With what else was said of this very version.
        uploaded.filter(|shown| shown.etag == input.etag).or(Some(input))
    }

    /// One page of a place, of at most so many blobs. What was written as an input says when.
    pub fn list(&self, place: &BlobPrefix, from: Option<&str>, max: usize, now: OffsetDateTime) -> BlobPage {
        let uploaded = self.uploaded.page(place, None, usize::MAX).blobs.into_iter();
        let mut all: BTreeMap<String, BlobSnapshot> = uploaded.collect();
        for url in self.inputs.urls() {
            let Ok(blob) = UnversionedBlob::read(url) else { continue };
            if place.blob(&blob.path).as_ref() != Ok(&blob) || !blob.path.starts_with(place.prefix()) {
                continue;
            }
            let modified = self.inputs.written(url, now);
            match self.blob(&blob, now) {
                Some(shown) => drop(all.insert(blob.path, BlobSnapshot { modified, ..shown })),
                None => drop(all.remove(&blob.path)),
            }
        }
        let behind = all.into_iter().filter(|(path, _)| from.is_none_or(|from| path.as_str() > from));
        let mut blobs: Vec<_> = behind.take(max.saturating_add(1)).collect();
        let more = blobs.len() > max;
        blobs.truncate(max);
        let next = blobs.last().filter(|_| more).map(|(path, _)| path.clone());
        BlobPage { blobs, next }
    }

    /// The index tags of a blob while it is the version of this ETag.
    pub fn index_tags(
        &self,
        blob: &UnversionedBlob,
        etag: &str,
        now: OffsetDateTime,
    ) -> Result<BTreeMap<String, String>, Inconclusive> {
        match self.blob(blob, now) {
            Some(shown) if shown.etag == etag => Ok(self.uploaded.index_tags(blob, etag).unwrap_or_default()),
            _ => Err(Inconclusive::unfinished("the blob has changed meanwhile")),
        }
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

    /// Somebody else made it.
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

    /// The blob that a place is: in the container of the datastore's name, and of the workspace's own datastore in that of the
    /// uploads.
    ///
    /// # Errors
    /// If it is not a path on a datastore.
    pub fn locate(at: &BlobPlace) -> Result<UnversionedBlob, Inconclusive> {
        if is_url(&at.uri) {
            return UnversionedBlob::read(&at.uri).map_err(|why| Inconclusive::not_asked("no blob").caused_by(why));
        }
        let place = DatastorePath::read(&at.uri);
        let place =
            place.ok_or_else(|| Inconclusive::not_asked(format!("`{}` is not a path on a datastore", at.uri)))?;
        let container = if place.datastore == "workspaceblobstore" { CONTAINERS[0] } else { place.datastore.as_str() };
        UnversionedBlob::read(&account::url(container, &place.path))
            .map_err(|why| Inconclusive::not_asked("no blob").caused_by(why))
    }

    /// What lies at a place now: published, written by a job, or put there by somebody.
    pub fn published(&self, at: &BlobPlace, now: OffsetDateTime) -> Option<PublishedBlob> {
        if let Some(written) = self.publications.at(&at.uri) {
            return Some(written.shown.clone());
        }
        if is_url(&at.uri) {
            let shown = self.blob(&UnversionedBlob::read(&at.uri).ok()?, now)?;
            return Some(PublishedBlob { etag: shown.etag, len: shown.size, mark: None });
        }
        let (len, modified) = match at.uri.strip_suffix(PART).filter(|folder| self.is_folder(folder)) {
            Some(folder) => self.output(folder, now)?,
            None if self.is_folder(&at.uri) => return None,
            None => self.output(&at.uri, now)?,
        };
        Some(PublishedBlob { etag: format!("0x{len:x}-{}", modified.unix_timestamp_nanos()), len, mark: None })
    }

    fn is_folder(&self, uri: &str) -> bool {
        let outputs =
            self.jobs.iter().flat_map(|job| job.scoring.submission.iter().flat_map(|sent| sent.outputs.values()));
        outputs.into_iter().any(|output| output.kind == OutputKind::UriFolder && output.uri == uri)
    }

    /// One page of what lies below a folder, of at most so many.
    pub fn parts(&self, folder: &BlobPlace, from: Option<&str>, max: usize, now: OffsetDateTime) -> PartPage {
        let prefix = format!("{}/", folder.uri.trim_end_matches('/'));
        let written = format!("{}{PART}", folder.uri.trim_end_matches('/'));
        let published = self.publications.all().map(|(uri, _)| uri);
        let uris = published.chain(self.placed.keys().map(String::as_str)).chain([written.as_str()]);
        let uris: BTreeSet<&str> = uris.filter(|uri| uri.starts_with(&prefix)).collect();
        let behind = uris.into_iter().filter(|uri| from.is_none_or(|from| *uri > from));
        let mut parts: Vec<CopySource> = behind
            .filter_map(|uri| {
                let at = BlobPlace { uri: uri.to_owned(), ..folder.clone() };
                let PublishedBlob { etag, len, .. } = self.published(&at, now)?;
                Some(CopySource { at, etag, len })
            })
            .take(max.saturating_add(1))
            .collect();
        let more = parts.len() > max;
        parts.truncate(max);
        let next = parts.last().filter(|_| more).map(|part| part.at.uri.clone());
        PartPage { parts, next }
    }

    /// Copies a version of a blob to a place, if what lies there is as the condition says.
    pub fn publish(
        &mut self,
        source: &CopySource,
        to: &BlobPlace,
        condition: &WriteCondition,
        mark: &PublicationMark,
        now: OffsetDateTime,
    ) -> Published {
        let there = match BlobVersion::read(&source.at.uri, &source.etag) {
            // An upload; a path that nobody writes to holds whatever version it is asked about.
            Ok(version) if is_url(&source.at.uri) && self.publications.at(&source.at.uri).is_none() => {
                match self.inputs.look(&version, now) {
                    InputSnapshot::Present(seen) if seen.etag == source.etag => {
                        Some(PublishedBlob { etag: seen.etag, len: source.len, mark: None })
                    }
                    _ => None,
                }
            }
            _ => self.published(&source.at, now).filter(|there| there.etag == source.etag),
        };
        let Some(there) = there else { return Published::SourceChanged };
        if let Some(kind) = self.bad.not_copied.get(&source.at.uri).copied() {
            let status = if kind == RefusalKind::MayNotReadSource { 403 } else { 409 };
            let text = format!("storage answered {status} (CannotVerifyCopySource) about {}", source.at.uri);
            return Published::Refused(Refusal { kind, text });
        }
        // Of the copy of an upload the upload is told: the copy between them goes.
        let of_copy = self.publications.at(&source.at.uri).map(|there| there.content.clone());
        let content = match of_copy {
            Some(Content::CopyOf { uri, etag }) if is_url(&uri) => Content::CopyOf { uri, etag },
            _ => Content::CopyOf { uri: source.at.uri.clone(), etag: source.etag.clone() },
        };
        self.write(to, (content, there.len), condition, mark, now)
    }

    /// Writes a document of the app's own to a place, if what lies there is as the condition says.
    pub fn write_manifest(
        &mut self,
        to: &BlobPlace,
        body: Vec<u8>,
        condition: &WriteCondition,
        mark: &PublicationMark,
        now: OffsetDateTime,
    ) -> Published {
        let len = u64::try_from(body.len()).unwrap_or(u64::MAX);
        self.write(to, (Content::Document(body), len), condition, mark, now)
    }

    fn write(
        &mut self,
        to: &BlobPlace,
        (content, len): (Content, u64),
        condition: &WriteCondition,
        mark: &PublicationMark,
        now: OffsetDateTime,
    ) -> Published {
        let there = self.published(to, now);
        self.publications.write(&to.uri, there.as_ref(), condition, (content, len, mark))
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

/// It lies where members of groups are staged.
pub(super) fn is_copy(uri: &str) -> bool {
    uri.contains("/scorekeeper-staging/")
}

fn is_url(uri: &str) -> bool {
    uri.starts_with("https://")
}
