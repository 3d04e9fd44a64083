//! What the app needs of the world, in our words. Adapters implement it, tests and the simulator stand in for it.

mod answered;
mod dead_letters;
pub mod management;

use std::collections::{BTreeMap, BTreeSet, HashSet};

pub use ::table_store;
pub use answered::Answered;
use async_trait::async_trait;
pub use dead_letters::{DeadLetter, DeadLetters};
use lifecycle::callback::CallbackUri;
use lifecycle::id::{EndpointUri, IdentityName, JobName, WorkspaceId};
use lifecycle::text::error_chain;
use lifecycle::{
    Answer, BlobPlace, BlobPrefix, BlobSnapshot, BlobVersion, Candidate, CopySource, IndexTags, InputSnapshot, Job,
    JobSnapshot, JobStatus, OutputPrint, OutputSnapshot, PublicationMark, Published, PublishedBlob, Rule, Scoring,
    ScoringId, ServiceRequestId, UnversionedBlob, WriteCondition,
};
use time::OffsetDateTime;

/// Something could not be seen or done: in which situation, with the remedy, and what caused it. Nothing is concluded from it.
///
/// Its text is for people and names no cause; [`error_chain`] tells both.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Inconclusive {
    /// In which situation it was, by which callers tell what may pass from what takes a person.
    pub kind: InconclusiveKind,
    /// What was tried, and what would help.
    pub what: String,
    /// What caused it, if it is not all in the text.
    #[source]
    pub source: Option<Cause>,
    /// The service's own id of the answer, if there was one.
    pub request_id: Option<ServiceRequestId>,
}

/// Situations in which nothing can be concluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InconclusiveKind {
    /// Nobody answered: no token, no connection, no answer in time. It may be otherwise in a moment.
    NotReachable,
    /// The service says that this identity may not. It takes a person to change that.
    NotAllowed,
    /// There was an answer, and it says nothing about what was asked.
    NotUnderstood,
    /// It was not asked, as a setting or a row does not tell whom or what. It takes a person to change that.
    NotAsked,
    /// There is more than could be looked at this time, or what is there is not whole yet; a later look goes on.
    Unfinished,
}

impl Inconclusive {
    /// Nobody answered, so that it may be otherwise in a moment; `what` is what was tried, with the remedy.
    pub fn not_reachable(what: impl Into<String>) -> Self {
        Self { kind: InconclusiveKind::NotReachable, what: what.into(), source: None, request_id: None }
    }

    /// The service says that this identity may not, so that it takes a person; `what` says what was tried, and what would help.
    pub fn not_allowed(what: impl Into<String>) -> Self {
        Self { kind: InconclusiveKind::NotAllowed, what: what.into(), source: None, request_id: None }
    }

    /// The answer says nothing about what was asked; `what` is who answered what.
    pub fn not_understood(what: impl Into<String>) -> Self {
        Self { kind: InconclusiveKind::NotUnderstood, what: what.into(), source: None, request_id: None }
    }

    /// It was not asked, as a setting or a row does not tell whom or what; `what` names that.
    pub fn not_asked(what: impl Into<String>) -> Self {
        Self { kind: InconclusiveKind::NotAsked, what: what.into(), source: None, request_id: None }
    }

    /// There is more to be seen, now or later.
    pub fn unfinished(what: impl Into<String>) -> Self {
        Self { kind: InconclusiveKind::Unfinished, what: what.into(), source: None, request_id: None }
    }

    /// With the service's own id of the answer.
    #[must_use]
    pub fn answered_as(mut self, request_id: Option<ServiceRequestId>) -> Self {
        self.request_id = request_id;
        self
    }

    /// The same with the error that caused it, which [`error_chain`] tells behind the text.
    #[must_use]
    pub fn caused_by(mut self, error: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Cause(std::sync::Arc::new(error)));
        self
    }
}

/// What caused an error: shared, as one failure is told to all who waited for the same look. Equal by its text.
#[derive(Debug, Clone)]
pub struct Cause(std::sync::Arc<dyn std::error::Error + Send + Sync>);

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl PartialEq for Cause {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for Cause {}

/// Where a job is to be looked at. Kept apart from `Scoring` because the in-flight index has just this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobAddress {
    /// The invoke URI of the endpoint that the job was submitted to.
    pub endpoint: EndpointUri,
    /// ARM id of the workspace, if known.
    pub workspace: Option<WorkspaceId>,
    /// Who asks; `None`: the app itself.
    pub identity: Option<IdentityName>,
    /// The job by its name, which is never used twice, and its ARM id if that is known.
    pub job: Job,
}

/// An endpoint whose workspace is asked for the jobs that were made there, whether a scoring knows of them or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanTarget {
    /// The invoke URI of the endpoint whose jobs are wanted; those that carry our tags are listed whichever endpoint has them.
    pub endpoint: EndpointUri,
    /// ARM id of the workspace, if known.
    pub workspace: Option<WorkspaceId>,
    /// Who asks; `None`: the app itself.
    pub identity: Option<IdentityName>,
    /// Experiments that rules ask for; without such a wish a job is in the experiment of its endpoint's name. `None`: a rule
    /// names one by what it scores, so that a job may be in any.
    pub experiments: Option<Vec<String>>,
}

/// A job as the workspace's list and the endpoint show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedJob {
    /// The job by its name, with its ARM id and page as far as they are shown.
    pub job: Job,
    /// Azure ML's word for how it stands, as the endpoint shows it, else as the list does.
    pub status: JobStatus,
    /// URIs of its outputs, as far as they are shown.
    pub outputs: Vec<String>,
    /// Scoring and attempt that it was made for, if the service kept our tags.
    pub tags: Option<(ScoringId, u32)>,
    /// The service's own id of the answer that shows it.
    pub request_id: Option<ServiceRequestId>,
}

/// What a search for the job of a submission found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSearch {
    /// Jobs that carry the attempt's outputs or our tags, in no order.
    pub jobs: Vec<Candidate>,
    /// Jobs that may be the attempt's and show too little; see [`JobsFound`](lifecycle::JobsFound).
    pub possible: Vec<Candidate>,
    /// Every job is among them that the service showed at this moment, `None`: when it was asked, or later. It may be a
    /// moment before that, but not before the search was due; "none" must not be held against a later time.
    pub as_of: Option<OffsetDateTime>,
    /// The service's own id of the answer that ended the list of jobs. A search asks for each job in question beside it.
    pub request_id: Option<ServiceRequestId>,
}

/// Jobs made behind an endpoint since some time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobListing {
    /// Those that were not known.
    pub jobs: Vec<ListedJob>,
    /// Those that turned out to be of something else than the endpoint, for good.
    pub elsewhere: Vec<JobName>,
    /// Whether that is all of them.
    pub complete: bool,
}

/// The batch endpoint and what stands behind it.
#[async_trait]
pub trait Endpoint: Send + Sync + 'static {
    /// Sends the scoring's submission **exactly once**, whatever the outcome, and gives up waiting after `timeout`.
    /// Has no error: not knowing is an [`Answer`].
    async fn submit(&self, scoring: &Scoring, timeout: std::time::Duration) -> Answered<Answer>;

    /// The job as it is now, `None` if the endpoint does not know it. Fetches the error text of a failed job.
    async fn job(&self, at: &JobAddress) -> Result<Answered<Option<JobSnapshot>>, Inconclusive>;

    /// Every job that carries the outputs of this scoring's current submission, or may do so. Comes to an end within minutes.
    async fn find(&self, scoring: &Scoring) -> Result<JobSearch, Inconclusive>;

    /// Jobs made behind an endpoint since `since`, whoever asked for them, but for those whose names are `known`.
    /// Bounded; see [`JobListing::complete`].
    async fn jobs_created_since(
        &self,
        at: &ScanTarget,
        since: OffsetDateTime,
        known: &HashSet<JobName>,
    ) -> Result<JobListing, Inconclusive>;

    /// Asks for the job to be stopped. Asking again does no harm.
    async fn cancel(&self, at: &JobAddress) -> Result<Answered<()>, Inconclusive>;
}

/// Blobs of one page: so many that a listing costs little, so few that all of them are taken in within one invocation.
pub const MAX_PAGE: usize = 500;

/// Blobs of one page of a list at most: what Azure Storage gives in one answer.
pub const MAX_LISTED: usize = 5_000;

/// One page of a list of blobs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlobPage {
    /// Path and properties of each, in the order of the storage. A folder of its own may be among them.
    pub blobs: Vec<(String, BlobSnapshot)>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<String>,
}

/// One page of what lies in an output's folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartPage {
    /// The blobs, in the order of the storage; each can be copied as it was listed.
    pub parts: Vec<CopySource>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<String>,
}

/// A blob as it was seen, with its index tags as far as one of these rules wants to know them.
pub(crate) async fn with_index_tags<'r>(
    blobs: &dyn Blobs,
    blob: &UnversionedBlob,
    seen: BlobSnapshot,
    rules: impl IntoIterator<Item = &'r Rule>,
) -> BlobSnapshot {
    if seen.is_folder || !rules.into_iter().any(Rule::asks_for_index_tags) {
        return seen;
    }
    let index_tags = match blobs.index_tags(blob, &seen.etag).await {
        Ok(tags) => IndexTags::Seen(tags),
        Err(inconclusive) => IndexTags::NotSeen(error_chain(&inconclusive)),
    };
    BlobSnapshot { index_tags, ..seen }
}

/// The storage that uploads come from, inputs lie in and outputs are written to.
///
/// Two calls write, [`publish`](Self::publish) and [`write_manifest`](Self::write_manifest): each replaces one blob whole, on a
/// condition, and marks it. [`remove`](Self::remove) takes away what these wrote. Neither is repeated by itself. **An error of theirs says that it may have happened**, now or later: who
/// gets one looks at the place again ([`published`](Self::published)), where the mark tells, before anything else. What was not
/// written for certain is an answer ([`Published`]).
#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// Looks at what the path of a blob version holds now. [`InputSnapshot::Gone`] only if the service itself says that this
    /// blob is not there; everything else that is no answer is an error. Comes to an end within seconds, as the writer of
    /// an event waits for it.
    async fn input(&self, blob: &BlobVersion) -> Result<InputSnapshot, Inconclusive>;

    /// The blob as it is now. `None` only if the storage says that there is no such blob (404 `BlobNotFound`): an account, a
    /// container or a name that cannot be reached or read is an error.
    async fn blob(&self, blob: &UnversionedBlob) -> Result<Option<BlobSnapshot>, Inconclusive>;

    /// The index tags of a blob while it is the version of this ETag. An error if it is another one by now: the tags of that one
    /// say nothing about this.
    async fn index_tags(&self, blob: &UnversionedBlob, etag: &str) -> Result<BTreeMap<String, String>, Inconclusive>;

    /// One page of the blobs of a place in the order of their paths' bytes, at most `max` and never more than [`MAX_LISTED`], from
    /// where a page before ended. A page may have fewer, or none, and yet not be the last. A prefix that nothing has is a place
    /// without blobs; a container that is not there, or may not be listed, is an error.
    async fn list(&self, place: &BlobPrefix, from: Option<&str>, max: usize) -> Result<BlobPage, Inconclusive>;

    /// Looks at all outputs of the scoring's current attempt.
    async fn outputs(&self, scoring: &Scoring) -> Result<OutputSnapshot, Inconclusive>;

    /// What lies at any output of the scoring's current attempt, whatever it is; `None` if nothing does. Needs no job.
    async fn output_print(&self, scoring: &Scoring) -> Result<Option<OutputPrint>, Inconclusive>;

    /// The blob that a place is, as an event about it would name it.
    async fn locate(&self, at: &BlobPlace) -> Result<UnversionedBlob, Inconclusive>;

    /// What lies at a place now, whoever wrote it. `None` only if the storage says that there is no such blob: a container that
    /// is missing is an error.
    async fn published(&self, at: &BlobPlace) -> Result<Option<PublishedBlob>, Inconclusive>;

    /// One page of what lies below a folder, at most [`MAX_PAGE`], from where a page before ended. A folder that is not there has
    /// nothing in it. Blobs that stand for folders are left out.
    async fn parts(&self, folder: &BlobPlace, from: Option<&str>) -> Result<PartPage, Inconclusive>;

    /// Copies one version of a blob to a place, in the storage itself, if what lies there is as the condition says. A reader of the
    /// place sees what was there before or all of the copy with its mark, never a part.
    async fn publish(
        &self,
        source: &CopySource,
        to: &BlobPlace,
        condition: &WriteCondition,
        mark: &PublicationMark,
    ) -> Result<Answered<Published>, Inconclusive>;

    /// Writes a small JSON document of our own: the list of a published folder. Otherwise as [`publish`](Self::publish).
    async fn write_manifest(
        &self,
        to: &BlobPlace,
        body: Vec<u8>,
        condition: &WriteCondition,
        mark: &PublicationMark,
    ) -> Result<Answered<Published>, Inconclusive>;

    /// Removes one blob in the version of this ETag. That it is gone, or another version by now, is no error.
    async fn remove(&self, at: &BlobPlace, etag: &str) -> Result<(), Inconclusive>;

    /// Which of these ids stand in the outputs of the scoring's current attempt: in the text of its files, or in their names. Reads
    /// them as a stream, however large they are, until each id was found.
    async fn named_in_outputs(
        &self,
        scoring: &Scoring,
        ids: &BTreeSet<ScoringId>,
        by: NamedBy,
    ) -> Result<BTreeSet<ScoringId>, Inconclusive>;
}

/// How an output names what it was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedBy {
    /// In the text of its files, as a column of predictions has it.
    Text,
    /// In the names of its files.
    FileNames,
}

/// Reads the time. Hosts give the machine's clock, simulations their own.
pub type Clock = std::sync::Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// Tells orchestrators of ends. A call may be made twice: whoever made it may die before that is on record.
#[async_trait]
pub trait CallbackCaller: Send + Sync {
    /// Posts a JSON text to the URI once, without a token, and follows no redirect; success is an answer of 2xx.
    async fn call(&self, uri: &CallbackUri, body: &str) -> Result<(), CallFailed>;
}

/// Why somebody was not told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallFailed {
    /// They are not to be called, or do not want it: no further call changes that.
    #[error("{0}")]
    Refused(String),
    /// There was no answer, or one that may be otherwise later (5xx, 408, 429): call again after a while. The text is for people.
    #[error("{0}")]
    NotReached(String),
}
