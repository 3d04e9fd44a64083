//! What a simulated installation consists of: the workspace, the function app, the endpoints with their deployments, and the
//! containers and datastores, which are folders on this machine.

use std::path::PathBuf;

use azure_core::Uuid;
use serde::{Deserialize, Serialize};

/// The names of the workspace, of which its ARM id consists, and its region.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// Id of the subscription; the nil UUID unless it is set.
    pub subscription: String,
    /// Name of the resource group, in which everything else lies too.
    pub resource_group: String,
    /// Name of the workspace, the last part of its ARM id.
    pub name: String,
    /// Azure region that all resources are shown in.
    pub location: String,
}

impl Default for Workspace {
    fn default() -> Self {
        Self {
            subscription: Uuid::nil().to_string(),
            resource_group: "local".to_owned(),
            name: "local".to_owned(),
            location: "local".to_owned(),
        }
    }
}

impl Workspace {
    /// Its ARM id, from `/subscriptions/` on.
    pub fn id(&self) -> String {
        format!("{}/providers/Microsoft.MachineLearningServices/workspaces/{}", self.group_id(), self.name)
    }

    /// ARM id of its resource group, in which everything else lies too.
    pub(super) fn group_id(&self) -> String {
        format!("/subscriptions/{}/resourceGroups/{}", self.subscription, self.resource_group)
    }
}

/// Names of the function app and its own account.
#[derive(Debug, Clone)]
pub struct App {
    /// The function app; it is where events go.
    pub name: String,
    /// The storage account of its ledger and its dead letters. Resource Manager shows it; it holds nothing here.
    pub state_account: String,
}

impl App {
    /// ARM id of the function app, which lies beside the workspace.
    pub(super) fn id(&self, workspace: &Workspace) -> String {
        format!("{}/providers/Microsoft.Web/sites/{}", workspace.group_id(), self.name)
    }
}

impl Default for App {
    fn default() -> Self {
        Self { name: "local".to_owned(), state_account: "localstate".to_owned() }
    }
}

/// Which batch endpoints the workspace has.
#[derive(Debug, Clone)]
pub enum Endpoints {
    /// Every well-formed name is an endpoint, every well-formed deployment name a model deployment of it, and
    /// `demonstration` the default one.
    Any,
    /// Just these; any other is answered with 404.
    Listed(Vec<Endpoint>),
}

/// A batch endpoint of the workspace and what it offers.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its name: a letter, then letters, digits and dashes, 3 to 32 in all.
    pub name: String,
    /// The deployment of requests that name none; without one they get 404.
    pub default_deployment: Option<String>,
    /// Deployments that requests to it can name.
    pub deployments: Vec<Deployment>,
}

/// A deployment of an endpoint.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Its name, unique within its endpoint.
    pub name: String,
    /// Whether it takes the requests of a model or of a pipeline.
    pub kind: DeploymentKind,
}

/// The two kinds of deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DeploymentKind {
    /// A model: exactly one file or folder in, one file out.
    Model,
    /// A pipeline component: any inputs, literals too; files and folders out.
    Pipeline,
}

/// A storage container that is a folder on this machine; it is made if it is not there.
#[derive(Debug, Clone)]
pub struct Container {
    /// Name of the storage account that the container is in.
    pub account: String,
    /// Name of the container within its account.
    pub container: String,
    /// The folder whose files are the container's blobs.
    pub folder: PathBuf,
}

/// A Blob datastore of the workspace over a container that is a folder on this machine; it is made if it is not there.
#[derive(Debug, Clone)]
pub struct Datastore {
    /// Its name, as in `azureml://datastores/<name>/paths/…`.
    pub name: String,
    /// Name of the storage account that it lies in.
    pub account: String,
    /// Name of the container that it stands for.
    pub container: String,
    /// The folder whose files are the container's blobs.
    pub folder: PathBuf,
}

/// A service principal that may have tokens; its `Debug` hides the secret.
#[derive(Clone)]
pub struct Client {
    /// Client id, as forms name it in `client_id`.
    pub id: String,
    /// Client secret, as forms name it in `client_secret`.
    pub secret: String,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("id", &self.id).finish_non_exhaustive()
    }
}
