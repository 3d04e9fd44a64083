//! Azure Machine Learning's batch endpoint as the app's [`Endpoint`].
//!
//! A submission is one POST on the shared client, outside of everything that repeats requests: this module must never
//! send it through [`authorized`](crate::http) or an `azure_core` pipeline. Looking is repeated a few times and concludes nothing
//! from a failure.
//!
//! The data plane (`GET {invoke URI}/{name}`) is what running jobs are polled on: same token and permission as the
//! submission, and no share of Resource Manager's budget. Resource Manager lists, cancels, and is asked again before a
//! job is called missing.
//!
//! Sources: Microsoft's samples (`azureml-examples`, `cli/batch-score-rest.sh`), the recorded traffic of the
//! `azure-ai-ml` tests, and its data-plane model `2020_09_01_dataplanepreview`.

mod answer;
mod client;
mod job_cache;
mod list;
mod logs;
mod run_history;
mod search;
mod wire;

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use lifecycle::{Answer, JobSnapshot, JobStatus, Scoring};
use time::OffsetDateTime;

use app::ports::{Answered, Endpoint, Inconclusive, JobAddress, JobListing, JobSearch, ScanTarget};
pub use client::AzureMl;
use client::JobLookup;
pub(crate) use client::{ask_endpoint, job_url};

/// Why a job failed is told if run history and log files say so within this time.
const ERROR_TEXT_LIMIT: Duration = Duration::from_secs(30);

#[async_trait]
impl Endpoint for AzureMl {
    async fn submit(&self, scoring: &Scoring, timeout: Duration) -> Answered<Answer> {
        self.post(scoring, timeout).await
    }

    async fn job(&self, at: &JobAddress) -> Result<Answered<Option<JobSnapshot>>, Inconclusive> {
        let Answered { value, request_id } = self.look(&at.endpoint, &at.job.name).await?;
        let (job, request_id) = match value {
            JobLookup::Job(job) => (job, request_id),
            JobLookup::Missing(value) => match self.elsewhere(at, &Answered { value, request_id }).await? {
                Answered { value: Some(job), request_id } => (job, request_id),
                Answered { value: None, request_id } => return Ok(Answered { value: None, request_id }),
            },
        };
        // 200 without a status says nothing: look again.
        let status = job.status().unwrap_or(JobStatus::Unknown);
        let mut error = None;
        if status == JobStatus::Failed {
            let workspace = Self::needed_workspace(at.workspace.as_deref(), job.id()).ok();
            let access = run_history::Access { tokens: &self.tokens, hosts: &self.hosts, log_hosts: &self.log_hosts };
            let text = run_history::error_text(&access, &at.endpoint, workspace.as_deref(), &job);
            error = tokio::time::timeout(ERROR_TEXT_LIMIT, text).await.ok().flatten();
        }
        Ok(Answered { value: Some(JobSnapshot { status, error, studio: job.studio() }), request_id })
    }

    async fn find(&self, scoring: &Scoring) -> Result<JobSearch, Inconclusive> {
        let id = scoring.job.as_ref().and_then(|job| job.id.as_deref());
        let workspace = Self::needed_workspace(scoring.workspace.as_deref(), id)?;
        search::find(self, scoring, &workspace).await
    }

    async fn jobs_created_since(
        &self,
        at: &ScanTarget,
        since: OffsetDateTime,
        known: &HashSet<lifecycle::JobName>,
    ) -> Result<JobListing, Inconclusive> {
        let workspace = Self::needed_workspace(at.workspace.as_deref(), None)?;
        search::jobs_created_since(self, at, &workspace, since, known).await
    }

    async fn cancel(&self, at: &JobAddress) -> Result<Answered<()>, Inconclusive> {
        let workspace = Self::needed_workspace(at.workspace.as_deref(), at.job.id.as_deref())?;
        self.manager.cancel(&workspace, &at.job.name).await
    }
}

/// The body that is sent for a scoring, for whoever asks before anything is; `None` if its settings cannot be sent.
pub fn request_body(scoring: &Scoring, submission: &lifecycle::Submission) -> Option<serde_json::Value> {
    wire::request(scoring, submission).ok()
}
