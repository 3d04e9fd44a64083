//! What a simulated service is made of: workspace, endpoints, storage, time, and the points on which nobody knows what
//! the real one does.

use std::path::PathBuf;
use std::time::Duration;

use azure_core::Uuid;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::fault_plan::Fault;
use crate::resources::Resources;

/// The simulated service. Start from [`Options::default`] and name at least the containers and datastores.
#[derive(Debug, Clone)]
pub struct SimulatorOptions {
    /// The one workspace; Resource Manager answers 404 for any other.
    pub workspace: Workspace,
    /// The app that the installation is of, as far as Resource Manager tells of it.
    pub app: App,
    /// Its batch endpoints.
    pub endpoints: Endpoints,
    /// Where inputs lie: containers that are folders on this machine.
    pub containers: Vec<Container>,
    /// Where outputs go. The datastore `workspaceblobstore`, else the first, takes outputs that no request places.
    pub datastores: Vec<Datastore>,
    /// How long each phase of a job takes.
    pub timing: Timing,
    /// Nodes of the compute cluster: jobs that work at the same time. Others wait, first come first served.
    pub nodes: usize,
    /// The service's clock.
    pub clock: Clock,
    /// What `X-IDENTITY-HEADER` must be. Never logged. Tokens are signed with it, so they survive a restart with the same one.
    pub identity_header: String,
    /// The service principal that may have tokens; `None` lets any in.
    pub client: Option<Client>,
    /// How long a token is good for.
    pub token_lifetime: Duration,
    /// Shell command that scores: reads `$SCORE_INPUT`, writes `$SCORE_OUTPUT`. `None`: the demonstration scorer. It is
    /// killed with the simulator, except by a SIGKILL; what it writes after that is not used.
    pub score_command: Option<String>,
    /// A scoring command that takes longer is killed and its job fails.
    pub score_timeout: Duration,
    /// File that makes jobs outlive the process. Several simulators must not share it.
    pub journal: Option<PathBuf>,
    /// Jobs kept. The oldest finished ones are forgotten beyond it; if none is finished the invoke is answered 429.
    pub keep_jobs: usize,
    /// Resource Manager's budget of reads in an hour, then 429.
    pub reads_per_hour: u32,
    /// Resource Manager's budget of writes in an hour, then 429.
    pub writes_per_hour: u32,
    /// What is not known of the real service, at the start.
    pub behaviour: Behaviour,
    /// Orders to misbehave, at the start.
    pub faults: Vec<Fault>,
    /// What is wrong around the endpoint, at the start.
    pub resources: Resources,
    /// Decides what the probabilities of faults come to.
    pub seed: u64,
}

impl Default for SimulatorOptions {
    fn default() -> Self {
        Self {
            workspace: Workspace::default(),
            app: App::default(),
            endpoints: Endpoints::Any,
            containers: Vec::new(),
            datastores: Vec::new(),
            timing: Timing::default(),
            nodes: 4,
            clock: Clock::wall(),
            identity_header: Uuid::new_v4().to_string(),
            client: None,
            token_lifetime: Duration::from_secs(3600),
            score_command: None,
            score_timeout: Duration::from_secs(3600),
            journal: None,
            keep_jobs: 100_000,
            reads_per_hour: 12_000,
            writes_per_hour: 1_200,
            behaviour: Behaviour::default(),
            faults: Vec::new(),
            resources: Resources::default(),
            seed: 1,
        }
    }
}

/// Names of the workspace.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// Subscription id.
    pub subscription: String,
    /// Resource group.
    pub resource_group: String,
    /// Workspace name.
    pub name: String,
    /// Region.
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
    /// Its ARM id.
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

/// Which endpoints there are.
#[derive(Debug, Clone)]
pub enum Endpoints {
    /// Every well-formed name is an endpoint, every well-formed deployment name a model deployment of it, and
    /// `demonstration` the default one.
    Any,
    /// Just these.
    Listed(Vec<Endpoint>),
}

/// A batch endpoint.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its name: a letter, then letters, digits and dashes, 3 to 32 in all.
    pub name: String,
    /// The deployment of requests that name none; without one they get 404.
    pub default_deployment: Option<String>,
    /// Its deployments.
    pub deployments: Vec<Deployment>,
}

/// A deployment of an endpoint.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Its name.
    pub name: String,
    /// What stands behind it.
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
    /// Storage account.
    pub account: String,
    /// Container.
    pub container: String,
    /// The folder.
    pub folder: PathBuf,
}

/// A Blob datastore of the workspace over a container that is a folder on this machine; it is made if it is not there.
#[derive(Debug, Clone)]
pub struct Datastore {
    /// Its name in `azureml://datastores/<name>/paths/…`.
    pub name: String,
    /// Storage account.
    pub account: String,
    /// Container.
    pub container: String,
    /// The folder.
    pub folder: PathBuf,
}

/// A service principal.
#[derive(Clone)]
pub struct Client {
    /// Client id.
    pub id: String,
    /// Client secret.
    pub secret: String,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("id", &self.id).finish_non_exhaustive()
    }
}

/// How long each phase of a job takes, by the service's clock.
#[derive(Debug, Clone)]
pub struct Timing {
    /// From the request to its answer. The job exists from the beginning of it.
    pub answer: Duration,
    /// `Preparing`.
    pub preparing: Duration,
    /// The step's `Running`: at least this, longer if the scorer takes longer. Waiting for a node comes before it.
    pub running: Duration,
    /// `Finalizing`.
    pub finalizing: Duration,
    /// `CancelRequested`.
    pub canceling: Duration,
}

impl Default for Timing {
    /// A few hundred milliseconds in all: for work on one's own machine.
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self { answer: ms(10), preparing: ms(50), running: ms(200), finalizing: ms(50), canceling: ms(100) }
    }
}

impl Timing {
    /// What the recordings of 2023 show, with a cluster that starts from zero nodes.
    pub fn recorded() -> Self {
        let s = Duration::from_secs;
        Self { answer: s(2), preparing: s(4), running: s(240), finalizing: s(5), canceling: s(30) }
    }
}

/// Points on which the real service's behaviour is unknown or has changed. The defaults are what helps a client least.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, and named where it is set")]
pub struct Behaviour {
    /// Tags and properties of the request are kept on the job.
    pub keep_tags: bool,
    /// `properties.name` becomes the job's display name.
    pub honour_name: bool,
    /// A repeated `repeatability_request-id` within this time gets the first job again. Written in seconds.
    #[serde(rename = "honourRequestIdSeconds", with = "seconds")]
    pub honour_request_id: Option<Duration>,
    /// Job names are bare GUIDs, as before April 2023.
    pub bare_names: bool,
    /// Members that the model does not have are let through; by default they are refused with 400.
    pub allow_unknown_members: bool,
    /// The list of an endpoint's jobs works; by default it is refused with 400, as users report.
    pub list_jobs: bool,
    /// Times that the service shows are so many seconds ahead of its clock, or behind it if negative.
    pub skew_seconds: i32,
}

/// An optional duration as whole seconds.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        duration.map(|duration| duration.as_secs()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_secs))
    }
}
