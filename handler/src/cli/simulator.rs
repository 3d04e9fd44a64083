//! `scorekeeper simulator`: the simulated batch endpoint alone, for a handler or a client that runs elsewhere on this
//! machine. It prints the settings that lead there and serves until it is stopped.
//!
//! The identity header is a secret only as far as the machine has other users; it is printed when asked for.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::all_processors;
use super::expected::{address, shell_command};
use crate::telemetry;
use simulator::{self, Container, Datastore, Handle, SimulatorOptions};

const ACCOUNT: &str = "local";

/// How `scorekeeper simulator` runs: its address, its folder and the faults that it injects.
#[derive(Debug, Clone, clap::Args)]
pub struct SimulatorArgs {
    /// Address to serve on; 127.0.0.1:0 takes any free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7073", value_parser = address)]
    pub listen: SocketAddr,
    /// Folder for everything: inbox, outbox, journal
    #[arg(long, value_name = "DIR", default_value = ".scorekeeper-simulator")]
    pub data: PathBuf,
    /// What goes wrong in it.
    #[command(flatten)]
    pub fault_args: FaultArgs,
    /// Nodes of the simulated cluster: jobs that work at the same time
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub nodes: u16,
    /// Requests that Resource Manager reads in an hour before it answers 429
    #[arg(long, value_name = "NUMBER", default_value_t = 12_000)]
    pub reads_per_hour: u32,
    /// Shell command that scores one file: reads $SCORE_INPUT, writes $SCORE_OUTPUT, the first by name;
    /// of several also $SCORE_INPUT_name and $SCORE_OUTPUT_name; a UriFolder is a folder [default: a demonstration scorer]
    #[arg(long, value_name = "COMMAND", value_parser = shell_command)]
    pub score_command: Option<String>,
    /// The app may write to the outbox, as where a rule publishes its results
    #[arg(long)]
    pub publishes: bool,
    /// There is a container scorekeeper-staging that the app may write to, as where a rule groups files
    #[arg(long)]
    pub groups: bool,
    /// What X-IDENTITY-HEADER must be [default: a new one at each start]
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub identity_header: Option<String>,
    /// Print the settings as JSON, the identity header unmasked
    #[arg(long)]
    pub json: bool,
}

/// What goes wrong in a simulated endpoint; `local` and `simulator` take it alike.
#[derive(Debug, Clone, clap::Args)]
pub struct FaultArgs {
    /// What goes wrong: a fault plan, as a JSON file or the JSON itself
    #[arg(long, value_name = "FILE|JSON", long_help = FAULT_PLAN_HELP)]
    pub faults: Option<FaultPlan>,
    /// Decides which requests the probabilities of --faults hit: the same number hits the same ones
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = simulation::whole_number)]
    pub seed: u64,
}

impl FaultArgs {
    /// Sets the plan that a simulator starts with.
    pub(crate) fn apply(&self, options: &mut SimulatorOptions) {
        options.seed = self.seed;
        let Some(FaultPlan(plan)) = self.faults.clone() else { return };
        if let Some(faults) = plan.faults {
            options.faults = faults;
        }
        if let Some(behaviour) = plan.behaviour {
            options.behaviour = behaviour;
        }
        if let Some(resources) = plan.resources {
            options.resources = resources;
        }
    }
}

/// All that a fault plan can say, as `--help` prints it.
const FAULT_PLAN_HELP: &str = r#"A fault plan: a JSON file, or the JSON itself; POST /admin/faults takes the same while it runs.

    {"faults": [{"route": "invoke", "fault": {"lostAnswer": {"jobs": 2}},
                 "matching": "claims/", "after": 10, "times": 3, "probability": 0.05}],
     "behaviour": {"keepTags": true, "skewSeconds": -120},
     "resources": {"changed": {"deployments/blue": null, "computes/*": {"identity": null}}}}

Only route and fault are required. matching: a part of an input's URI, on the route arm also of the request's own path,
on identity of the audience; after: so many requests pass first; times: so often it happens. Of several faults that
match a request the first one happens.

route: invoke, poll, arm, runHistory, storage, identity

fault, of an invoke that has made its job:
    {"lostAnswer": {"jobs": 1, "instead": "cut" | "hang" | {"status": 504}}}
                                            the answer never comes; both members may be left out
    {"duplicated": {"jobs": 2}}             so many jobs, answered as if there were one
    stuck                                   the job runs until it is cancelled
    {"failed": {"by": "packageMissing"}}    the job fails so: inputMissing, inputDenied, datastoreDenied, outputExists,
                                            packageMissing, scriptError, nothingScored, tooSlow, outOfMemory,
                                            imageBuild, quota, preempted
fault, in place of the proper answer; nothing is done:
    lostRequest, unanswered                 the connection ends; the connection stays
    {"throttled": {"retryAfter": 30, "asDate": false}}
                                            429; both members may be left out
    {"refused": {"status": 503, "body": "json" | "text" | "html" | "htmlAsJson" | "empty"}}
    {"oldToken": {"seconds": 600}}          401 to tokens issued longer ago
    {"forbidden": {"seconds": 300}}         403 for so long after the plan was set
    {"hidden": {"looks": 3}}                404 to the first looks at each job
fault, to the proper answer:
    {"wrongStatus": {"status": "Queued"}}   this word for the job's status; noStatus leaves it out
    {"listLag": {"seconds": 60}}            lists leave out younger jobs
    {"relabeled": {"status": 200}}          another status code
    {"lostAnswer": {"instead": "cut"}}      done, and no answer; or "hang", or {"status": 503}
    truncated, {"trickled": {"millis": 50}} half of the body; a byte at a time

behaviour, what nobody knows of the real service; off unless given: keepTags, omitOutputs, honourName,
    honourRequestIdSeconds, bareNames, allowUnknownMembers, listJobs, skewSeconds

resources, what is wrong around the endpoint; a healthy installation unless given:
    changed         by kind/name: null if there is none of it, else members of its document in Resource Manager that are
                    otherwise (null: left out). Kinds: sites, workspaces, batchEndpoints, deployments, computes,
                    datastores, usages, storageAccounts, containers, systemTopics, eventSubscriptions; * is any name
    unassigned      roles that were not given, as who/role: "compute/Storage Blob Data Reader", "app/*";
                    who: app (whoever calls), compute, workspace, topic
    denied          actions that the caller's roles lack: "Microsoft.MachineLearningServices/workspaces/jobs/cancel/action"
    subscriptionOnAccount   true: the event subscription lies on the storage account, not on its system topic"#;

/// A fault plan as it comes from the command line: JSON, or the path of a file with it.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultPlan(pub simulator::FaultPlan);

/// Why `--faults` cannot be taken. clap prints this line alone, so it holds its cause.
#[derive(Debug, thiserror::Error)]
pub enum FaultPlanError {
    /// The file cannot be read.
    #[error("the file cannot be read ({0}); JSON itself begins with `{{`")]
    File(#[source] io::Error),
    /// It is not JSON of this form.
    #[error("the fault plan{file} cannot be read: {source}")]
    Unreadable {
        /// ` in `FILE``, or nothing for JSON on the command line.
        file: String,
        /// What the JSON reader says is wrong, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// Something in it cannot happen.
    #[error("invalid fault plan{file}: {source}")]
    Invalid {
        /// ` in `FILE``, or nothing for JSON on the command line.
        file: String,
        /// Which fault cannot happen so, and what could.
        #[source]
        source: simulator::InvalidFaultPlan,
    },
}

impl FromStr for FaultPlan {
    type Err = FaultPlanError;

    fn from_str(given: &str) -> Result<Self, FaultPlanError> {
        let (text, file) = if given.trim_start().starts_with('{') {
            (given.to_owned(), String::new())
        } else {
            (std::fs::read_to_string(given).map_err(FaultPlanError::File)?, format!(" in `{given}`"))
        };
        let plan: simulator::FaultPlan = match serde_json::from_str(&text) {
            Ok(plan) => plan,
            Err(source) => return Err(FaultPlanError::Unreadable { file, source }),
        };
        match plan.check() {
            Ok(()) => Ok(Self(plan)),
            Err(source) => Err(FaultPlanError::Invalid { file, source }),
        }
    }
}

/// Why it does not serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}; give another --listen ADDRESS (127.0.0.1:0 takes any free port)")]
    Listen {
        /// The address that `--listen` names.
        address: SocketAddr,
        /// What the system answered when it was bound.
        #[source]
        source: std::io::Error,
    },
    /// The data folder, or its lock.
    #[error("the folder `{}` cannot be used", path.display())]
    Folder {
        /// The folder that could not be made, opened or locked.
        path: PathBuf,
        /// What the system answered to it.
        #[source]
        source: std::io::Error,
    },
    /// Two of us would write one journal.
    #[error("another `scorekeeper simulator` runs on `{}`; stop it or give another --data", .0.display())]
    Busy(PathBuf),
    /// The simulator could not start, or stopped serving.
    #[error(transparent)]
    Simulator(#[from] simulator::Error),
}

pub(super) fn run(args: SimulatorArgs) -> Result<ExitCode, super::Error> {
    telemetry::start_for_people();
    let runtime = all_processors()?;
    let served = runtime.block_on(serve(args));
    runtime.shutdown_background();
    served?;
    Ok(ExitCode::SUCCESS)
}

/// Serves until the process is stopped; says first where.
async fn serve(args: SimulatorArgs) -> Result<(), Error> {
    let _lock = lock(&args.data)?;
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.map_err(|source| Error::Listen { address: args.listen, source })?;
    let as_json = args.json;
    let options = options(args);
    let header = options.identity_header.clone();
    let (handle, serving) = simulator::start(listener, options)?;
    let greeting = if as_json { format!("{}\n", settings(&handle, &header)) } else { text(&handle) };
    // A reader that went away is no failure of ours; a pipe is not flushed by a newline.
    let mut out = io::stdout();
    let _ = out.write_all(greeting.as_bytes()).and_then(|()| out.flush());
    serving.await?;
    Ok(())
}

/// The lock goes with the process, however it ends.
fn lock(data: &Path) -> Result<File, Error> {
    let refused = |source| Error::Folder { path: data.to_owned(), source };
    std::fs::create_dir_all(data).map_err(refused)?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(data.join("simulator.lock"));
    let file = file.map_err(refused)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Busy(data.to_owned())),
        Err(TryLockError::Error(source)) => Err(refused(source)),
    }
}

fn options(args: SimulatorArgs) -> SimulatorOptions {
    let place = |name: &str| (ACCOUNT.to_owned(), name.to_owned(), args.data.join(name));
    let (account, container, folder) = place("inbox");
    let inbox = Container { account, container, folder };
    let (account, container, folder) = place("outbox");
    let outbox = Datastore { name: "workspaceblobstore".to_owned(), account, container, folder };
    let published = args.publishes.then(|| outbox.name.clone());
    let (account, container, folder) = place("scorekeeper-staging");
    let staging = args.groups.then_some(Container { account, container, folder });
    let mut options = SimulatorOptions {
        staging: staging.iter().map(|one| (one.account.clone(), one.container.clone())).collect(),
        containers: [inbox].into_iter().chain(staging).collect(),
        published: published.into_iter().collect(),
        datastores: vec![outbox],
        nodes: args.nodes.into(),
        reads_per_hour: args.reads_per_hour,
        score_command: args.score_command,
        journal: Some(journal(&args.data)),
        ..SimulatorOptions::default()
    };
    if let Some(header) = args.identity_header {
        options.identity_header = header;
    }
    args.fault_args.apply(&mut options);
    options
}

fn journal(data: &Path) -> PathBuf {
    data.join("simulator.journal")
}

/// What a handler must be told, by the names of its settings.
fn settings(handle: &Handle, header: &str) -> Value {
    json!({
        "scoringUri": handle.scoring_uri("demonstration"),
        "workspace": handle.workspace_id(),
        "functionApp": handle.app_id(),
        "SCOREKEEPER_RESOURCE_MANAGER": handle.origin(),
        "SCOREKEEPER_STORAGE_HOSTS": handle.storage_hosts(),
        "IDENTITY_ENDPOINT": handle.identity_endpoint(),
        "IDENTITY_HEADER": header,
        "admin": format!("{}/admin/jobs", handle.origin()),
    })
}

fn text(handle: &Handle) -> String {
    use std::fmt::Write as _;
    let mut text = "A simulated batch endpoint; its predictions are worthless. Ctrl-C stops it.\n".to_owned();
    for (name, value) in settings(handle, "*** (--json shows it)").as_object().into_iter().flatten() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<30}{}", value.as_str().unwrap_or_default());
    }
    text
}
