//! What the app needs of the world, in our words. Adapters implement it, tests and the simulator stand in for it.

use async_trait::async_trait;
use lifecycle::{Answer, Candidate, Job, JobSeen, OutputSeen, Scoring};

/// It could not be looked: why, and the remedy. Nothing is concluded from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unclear(pub String);

/// Where a job is to be looked at. Kept apart from `Scoring` because the in-flight index has just this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobAddress {
    /// The endpoint's invoke URI.
    pub endpoint: String,
    /// ARM id of the workspace, if known.
    pub workspace: Option<String>,
    /// The job.
    pub job: Job,
}

/// The batch endpoint and what stands behind it.
#[async_trait]
pub trait Endpoint: Send + Sync + 'static {
    /// Sends the scoring's submission **exactly once**, whatever the outcome, and gives up waiting after `timeout`.
    /// Has no error: not knowing is an [`Answer`].
    async fn submit(&self, scoring: &Scoring, timeout: std::time::Duration) -> Answer;

    /// The job as it is now, `None` if the endpoint does not know it. Fetches the error text of a failed job.
    async fn job(&self, at: &JobAddress) -> Result<Option<JobSeen>, Unclear>;

    /// Every job that carries the inputs and outputs of this scoring's current submission.
    async fn find(&self, scoring: &Scoring) -> Result<Vec<Candidate>, Unclear>;

    /// Asks for the job to be stopped. Asking again does no harm.
    async fn cancel(&self, at: &JobAddress) -> Result<(), Unclear>;
}

/// The storage that outputs are written to.
#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// Looks at all outputs of the scoring's current attempt.
    async fn outputs(&self, scoring: &Scoring) -> Result<OutputSeen, Unclear>;
}

/// Reads the time. Hosts give the machine's clock, simulations their own.
pub type Clock = std::sync::Arc<dyn Fn() -> time::OffsetDateTime + Send + Sync>;
