//! Why something was not seen.

use app::ports::management::{Audience, QueryError};

/// A check was not made, as something that it needs has a finding of its own. The text completes "not looked at, because".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotLookedAt {
    /// Nothing can be asked with a token of this kind.
    #[error("there is no token for {}", name(*.0))]
    WithoutToken(Audience),
    /// Nothing of Resource Manager can be seen.
    #[error("Resource Manager does not answer")]
    ManagementSilent,
    /// Nobody says in which workspace it is.
    #[error("the rule does not name its workspace (endpoint.workspace)")]
    WorkspaceUnnamed,
    /// The workspace is not there.
    #[error("there is no such workspace")]
    WorkspaceMissing,
    /// The endpoint is not there.
    #[error("no endpoint of the workspace has this URI")]
    EndpointMissing,
    /// The deployment is not there, or could not be looked at.
    #[error("the deployment was not seen")]
    DeploymentUnseen,
    /// A datastore is not there.
    #[error("the workspace has no datastore {0}")]
    DatastoreMissing(
        /// The datastore's name, as the rule spells it.
        String,
    ),
}

fn name(audience: Audience) -> &'static str {
    match audience {
        Audience::Storage => "storage",
        Audience::MachineLearning => "Azure Machine Learning",
        Audience::ResourceManager => "Resource Manager",
    }
}

/// A resource was not seen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unseen {
    /// It was not looked at: the cause has its own finding.
    #[error(transparent)]
    NotLookedAt(#[from] NotLookedAt),
    /// It was looked at, and this is what came of it.
    #[error(transparent)]
    Query(#[from] QueryError),
}

/// Something of the installation that whoever looks does not see.
#[derive(Debug, Clone, Default, thiserror::Error)]
#[error("{why}")]
pub(crate) struct NotSeen {
    /// Why not, as the service says it or as what was looked through.
    pub(crate) why: String,
    /// What whoever looks would need to see it: a role, an action, an option of the command.
    pub(crate) needed: String,
}
