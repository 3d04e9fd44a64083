//! What the doctor asks of Azure: resources, role assignments, tokens. Every request only looks.

use async_trait::async_trait;
use lifecycle::EndpointUri;
use serde_json::Value;

use super::{Inconclusive, InconclusiveKind};

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Audience {
    /// Azure Storage: blobs, and the ledger's tables.
    Storage,
    /// Azure ML's batch endpoints: to submit, and to ask about jobs.
    MachineLearning,
    /// Azure Resource Manager: resources by their ids, and the lists of a workspace's jobs.
    ResourceManager,
}

/// Why something was not seen, by what may be concluded from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The service says that it is not there.
    #[error("{0}")]
    Missing(String),
    /// The service says that this identity may not look.
    #[error("{text}")]
    Forbidden {
        /// The service's own word for it, if it gave one.
        code: Option<String>,
        /// Who denied what, a sentence for people that is shown as it is.
        text: String,
    },
    /// Nobody answers: no token, no such host, no connection, no answer in time.
    #[error("{}", lifecycle::text::error_chain(.0))]
    NoAnswer(#[source] Inconclusive),
    /// The answer says nothing about what was asked, it was not asked, or there is more than was looked at.
    #[error("{}", lifecycle::text::error_chain(.0))]
    Inconclusive(#[source] Inconclusive),
}

impl From<Inconclusive> for QueryError {
    fn from(inconclusive: Inconclusive) -> Self {
        match inconclusive.kind {
            InconclusiveKind::NotReachable => Self::NoAnswer(inconclusive),
            InconclusiveKind::NotAllowed => {
                Self::Forbidden { code: None, text: lifecycle::text::error_chain(&inconclusive) }
            }
            InconclusiveKind::NotUnderstood | InconclusiveKind::NotAsked | InconclusiveKind::Unfinished => {
                Self::Inconclusive(inconclusive)
            }
        }
    }
}

/// Members of a collection of Resource Manager, page after page.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ResourceList {
    /// The members as Resource Manager wrote them, of all pages that were read.
    pub items: Vec<Value>,
    /// Whether that is all of it.
    pub complete: bool,
}

/// What the doctor can ask the world. Every request only looks. Nothing that comes back holds a secret.
#[async_trait]
pub trait Cloud: Send + Sync + 'static {
    /// Gets a token. The error says why there is none, with the remedy.
    async fn token(&self, audience: Audience) -> Result<(), Inconclusive>;

    /// A resource of Resource Manager by its id.
    async fn resource(&self, id: &str, version: &str) -> Result<Value, QueryError>;

    /// A collection of Resource Manager, up to so many pages; `filter` is its `$filter`.
    async fn list(
        &self,
        path: &str,
        version: &str,
        filter: Option<&str>,
        pages: usize,
    ) -> Result<ResourceList, QueryError>;

    /// Asks the batch endpoint of this invoke URI about a job.
    async fn job(&self, endpoint: &EndpointUri, name: &str) -> Result<(), QueryError>;

    /// Lists one blob of the container at this URL.
    async fn container(&self, url: &str) -> Result<(), QueryError>;

    /// How far the clocks of the hosts that answered were ahead of ours.
    fn clocks(&self) -> Vec<(String, time::Duration)>;
}
