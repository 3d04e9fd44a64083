//! Names: of scorings and rules, and of Azure's resources. Each is parsed once, where it comes in, and carries its type
//! from there on: what has the type is good, and no two of them can be mixed up.

mod endpoint;
mod ledger;
mod name;
mod scoring;
mod workspace;

pub use endpoint::{EndpointKey, EndpointUri, InvalidEndpointUri, InvalidKey};
pub use ledger::{InvalidLedgerId, LedgerId};
pub use name::{
    AccountName, ContainerName, DatastoreName, DeploymentName, IdentityName, InvalidAccountName, InvalidContainerName,
    InvalidDatastoreName, InvalidDeploymentName, InvalidIdentityName, InvalidJobName, InvalidRuleId,
    InvalidServiceRequestId, JobName, RuleId, ServiceRequestId,
};
pub use scoring::{InvalidScoringId, ScoringId};
pub use workspace::{InvalidWorkspaceId, WorkspaceId, workspace_of};
