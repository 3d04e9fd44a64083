//! What a simulated service is made of: workspace, endpoints, storage, time, and the points on which nobody knows what
//! the real one does.

use std::path::PathBuf;
use std::time::Duration;

use azure_core::Uuid;

use crate::behaviour::Behaviour;
use crate::clock::Clock;
use crate::fault_plan::Fault;
use crate::installation::{App, Client, Container, Datastore, Endpoints, Workspace};
use crate::resources::Resources;

/// The simulated service. Start from [`SimulatorOptions::default`] and name at least the containers and datastores.
#[derive(Debug, Clone)]
pub struct SimulatorOptions {
    /// The one workspace; Resource Manager answers 404 for any other.
    pub workspace: Workspace,
    /// The app that the installation is of, as far as Resource Manager tells of it.
    pub app: App,
    /// The batch endpoints of the workspace, with their deployments.
    pub endpoints: Endpoints,
    /// Where inputs lie: containers that are folders on this machine.
    pub containers: Vec<Container>,
    /// Where outputs go. The datastore `workspaceblobstore`, else the first, takes outputs that no request places.
    pub datastores: Vec<Datastore>,
    /// Names of the datastores that the app may write to: its rules publish there.
    pub published: Vec<String>,
    /// Containers, of `containers`, in which files that share a job are staged, by account and name: they may be written too.
    pub staging: Vec<(String, String)>,
    /// How long each phase of a job takes.
    pub timing: Timing,
    /// Nodes of the compute cluster: jobs that work at the same time. Others wait, first come first served.
    pub nodes: usize,
    /// The service's clock, by which jobs go on and tokens end.
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
    /// Faults that are in force from the start, until a fault plan replaces them.
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
            published: Vec::new(),
            staging: Vec::new(),
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

/// How long each phase of a job takes, by the service's clock.
#[derive(Debug, Clone)]
pub struct Timing {
    /// From the request to its answer. The job exists from the beginning of it.
    pub answer: Duration,
    /// How long a job says `Preparing`.
    pub preparing: Duration,
    /// The step's `Running`: at least this, longer if the scorer takes longer. Waiting for a node comes before it.
    pub running: Duration,
    /// How long a job says `Finalizing`.
    pub finalizing: Duration,
    /// How long a job says `CancelRequested` before it is `Canceled`.
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
