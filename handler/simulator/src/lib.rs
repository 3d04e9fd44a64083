//! A simulated Azure ML batch endpoint, with the services around it: for work without a cloud, and for tests that need
//! an endpoint that fails by plan. It says what it is in every answer (`x-scorekeeper-simulator`) and scores
//! nothing: see [`scorer`].
//!
//! One listener, told apart by the beginning of the path:
//!
//! | path | stands for | module |
//! |---|---|---|
//! | `/identity/oauth2/token` | `IDENTITY_ENDPOINT` of a managed identity | `identity` |
//! | `/{tenant}/oauth2/token`, `/{tenant}/oauth2/v2.0/token` | login.microsoftonline.com | `identity` |
//! | `/endpoints/{endpoint}/jobs[/{job}]` | the endpoint's scoring host | `scoring` |
//! | `/subscriptions/…` | management.azure.com | `arm`, `workspace`, `compute`, `accounts`, `event_grid`, `authorization` |
//! | `/history/v1.0/subscriptions/…` | run history | `run_history` |
//! | `/mferp/managementfrontend/subscriptions/…` | the workspace's front end: list of an endpoint's jobs | `scoring` |
//! | `/discovery` | the workspace's discovery URL | `workspace` |
//! | `/runs/{job}` | the job's page in the studio, as JSON | `admin` |
//! | `/admin/…` | nothing real: what tests and operators want to know | `admin` |
//! | `/{account}/azureml/ExperimentRun/dcid.{run}/{file}` | log files in the workspace's storage, by signed URL | `run_history` |
//! | `/{account}/{container}/{blob}` | blob storage, as an emulator spells it | `storage` |
//!
//! Status codes, headers and members follow recordings of Microsoft's SDK tests (azure-sdk-for-python, azure-ai-ml,
//! `test_batch_invoke` and `test_batch_job_download` of 2023) and the models of azure-ai-ml. Where nobody knows what the
//! service does, [`Behaviour`] is a switch and its default is what helps a client least.
//!
//! Around the endpoint Resource Manager shows a whole installation: the identities and their roles (`roles`), the watched
//! accounts, their event subscriptions, quota. It is derived from the [`SimulatorOptions`] and healthy; [`Resources`] makes it
//! wrong, for whoever checks installations.
//!
//! It must never listen beyond loopback (storage is open to all who reach it; [`start`] refuses), never reach files
//! outside of the configured folders (`places`), never show half an output, never log a token.

mod access;
mod accounts;
mod admin;
mod answer;
mod arm;
mod authorization;
mod behaviour;
mod call;
mod clock;
mod compute;
mod driver;
mod event_grid;
mod fault_plan;
mod faults;
mod identity;
mod ids;
mod inject;
mod installation;
mod job;
mod job_failure;
mod job_input;
mod journal;
mod link;
mod options;
mod request;
mod resource_path;
mod resources;
mod roles;
mod run_error;
mod run_history;
mod scorer;
mod scoring;
mod shared;
mod sidecar;
mod state;
mod storage;
mod storage_access;
mod storage_blocks;
mod storage_map;
mod storage_source;
mod storage_target;
mod storage_version;
mod storage_write;
mod token;
mod urls;
mod workspace;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State as FromState};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use azure_core::time::to_rfc7231;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

pub use behaviour::Behaviour;
pub use clock::{Clock, ManualClock};
pub use fault_plan::{BodyKind, Fault, FaultKind, FaultPlan, Instead, InvalidFaultPlan, Route};
pub use installation::{App, Client, Container, Datastore, Deployment, DeploymentKind, Endpoint, Endpoints, Workspace};
pub use job::JobView;
pub use job_failure::JobFailure;
pub use options::{SimulatorOptions, Timing};
pub use resources::{InvalidResources, Resources};
pub use scorer::SCORED_BY;
pub use sidecar::{content_type_of_name, sidecar_of};
pub use state::Summary;
pub use storage_version::file_etag;

use answer::{now_shown, plain};
use call::{Call, RESERVED};
use faults::{ActiveFaults, RequestFacts};
use journal::Journal;
use link::Link;
use shared::Shared;
use state::{Budget, ServiceState};
use storage_map::StorageMap;

/// Why a simulator cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It would be open to others.
    #[error("the simulator must not listen on {0}: its storage is open to all who reach it; listen on 127.0.0.1")]
    NotLoopback(SocketAddr),
    /// The listener has no address.
    #[error("the listener has no address: {0}")]
    Listener(std::io::Error),
    /// A name clashes with a path of the simulator's.
    #[error("no storage account may be called `{0}` here: the name begins other paths of the simulator")]
    Reserved(String),
    /// A folder cannot be made or read.
    #[error("the folder {0} cannot be opened: {1}")]
    Folder(PathBuf, std::io::Error),
    /// The journal cannot be read or written.
    #[error("the simulator's journal {0} cannot be opened: {1}")]
    Journal(PathBuf, std::io::Error),
    /// The fault plan makes no sense.
    #[error("invalid fault plan: {0}")]
    FaultPlan(#[from] InvalidFaultPlan),
    /// The HTTP server has ended with an error.
    #[error("the simulator stopped serving: {0}")]
    Serve(std::io::Error),
}

/// Serves for ever; dropping the future stops it, its jobs and their scoring commands.
pub async fn serve(listener: TcpListener, options: SimulatorOptions) -> Result<(), Error> {
    let (_, serving) = start(listener, options)?;
    serving.await
}

/// Opens the simulator: a handle to look into it, and the future that serves it.
pub fn start(
    listener: TcpListener,
    options: SimulatorOptions,
) -> Result<(Handle, impl Future<Output = Result<(), Error>> + Send + 'static), Error> {
    let address = listener.local_addr().map_err(Error::Listener)?;
    if !address.ip().is_loopback() {
        return Err(Error::NotLoopback(address));
    }
    let containers = options.containers.iter().map(|container| &container.account);
    let mut accounts = containers.chain(options.datastores.iter().map(|datastore| &datastore.account));
    if let Some(name) = accounts.find(|name| RESERVED.contains(&name.as_str())) {
        return Err(Error::Reserved(name.clone()));
    }
    let storage_map = StorageMap::open(&options.containers, &options.datastores)
        .map_err(|(folder, error)| Error::Folder(folder, error))?;
    let (journal, jobs) = match &options.journal {
        None => (None, Vec::new()),
        Some(path) => {
            let (journal, jobs) =
                Journal::open(path, options.keep_jobs).map_err(|error| Error::Journal(path.clone(), error))?;
            (Some(journal), jobs)
        }
    };
    let mut faults = ActiveFaults::none(options.seed);
    faults.set(options.faults.clone(), options.clock.now())?;
    options.resources.check().map_err(InvalidFaultPlan::from)?;
    let state = ServiceState::new(
        (options.nodes, options.keep_jobs, options.timing.clone()),
        (journal, jobs),
        (faults, options.behaviour, options.resources.clone()),
        (Budget::per_hour(options.reads_per_hour), Budget::per_hour(options.writes_per_hour)),
    );
    let shared = Arc::new(Shared {
        address,
        storage_map,
        state: Mutex::new(state),
        wake: Notify::new(),
        changed: watch::Sender::new(0),
        options,
    });
    driver::clean_leftovers(&shared);
    let handle = Handle { shared: shared.clone() };
    let serving = async move {
        let router = Router::new().fallback(dispatch).with_state(shared.clone());
        let service = router.into_make_service_with_connect_info::<Link>();
        tokio::select! {
            served = axum::serve(link::Listener(listener), service).into_future() => served.map_err(Error::Serve),
            () = driver::drive(shared) => Ok(()),
        }
    };
    Ok((handle, serving))
}

/// Looks into a running simulator from the same process.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// Archives a job, as a person who tidies up does; whether there is one of this name.
    pub fn archive(&self, name: &str) -> bool {
        self.shared.act(|state, _| state.archive(name))
    }

    /// `http://127.0.0.1:PORT`, for Resource Manager and as authority host.
    pub fn origin(&self) -> String {
        self.shared.origin()
    }

    /// The value of `SCOREKEEPER_STORAGE_HOSTS`: each account's host, and where this storage side stands for it.
    pub fn storage_hosts(&self) -> String {
        let accounts = self.shared.storage_map.accounts();
        let host = |account| format!("{account}.blob.core.windows.net={}/{account}", self.origin());
        accounts.into_iter().map(host).collect::<Vec<_>>().join(",")
    }

    /// Where jobs of an endpoint are posted.
    pub fn scoring_uri(&self, endpoint: &str) -> String {
        scoring::uri(&self.shared, endpoint)
    }

    /// Where a managed identity asks for tokens: the value of `IDENTITY_ENDPOINT` for the app.
    pub fn identity_endpoint(&self) -> String {
        format!("{}/identity/oauth2/token", self.origin())
    }

    /// ARM id of the workspace.
    pub fn workspace_id(&self) -> String {
        self.shared.options.workspace.id()
    }

    /// ARM id of the function app that events go to.
    pub fn app_id(&self) -> String {
        self.shared.options.app.id(&self.shared.options.workspace)
    }

    /// Every kept job, oldest first, as it is now.
    pub fn jobs(&self) -> Vec<JobView> {
        self.shared.act(|state, _| state.views())
    }

    /// All jobs in numbers, as they are now.
    pub fn summary(&self) -> Summary {
        self.shared.act(|state, _| state.summary())
    }

    /// Replaces all faults, or none if one makes no sense.
    pub fn set_faults(&self, faults: Vec<Fault>) -> Result<(), InvalidFaultPlan> {
        self.shared.act(|state, now| state.faults.set(faults, now))
    }

    /// Waits until the jobs are as `wanted` says, and returns them. Waits for ever if they never are.
    pub async fn until(&self, wanted: impl Fn(&[JobView]) -> bool) -> Vec<JobView> {
        let mut changed = self.shared.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let jobs = self.jobs();
            if wanted(&jobs) {
                return jobs;
            }
            // The sender lives in `self`.
            let _ = changed.changed().await;
        }
    }
}

async fn dispatch(
    FromState(shared): FromState<Arc<Shared>>,
    ConnectInfo(link): ConnectInfo<Link>,
    request: Request,
) -> Response {
    let mut answer = match Call::read(request) {
        Some((call, _)) if call.is_of_another_site() => plain(
            StatusCode::FORBIDDEN,
            "asked by another site, or under another name than an address of this machine or localhost",
        ),
        Some((call, body)) => route(&shared, &link, call, body).await,
        None => plain(StatusCode::BAD_REQUEST, "the path is not UTF-8"),
    };
    // By the service's clock, skewed as all that it shows.
    if let Ok(date) = HeaderValue::from_str(&to_rfc7231(&now_shown(&shared))) {
        answer.headers_mut().insert(header::DATE, date);
    }
    answer.headers_mut().insert("x-scorekeeper-simulator", HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
    answer
}

/// The proper answer, unless a fault of the plan comes between.
async fn route(shared: &Shared, link: &Link, mut call: Call, body: Body) -> Response {
    let Some(group) = call.group() else { return without_faults(shared, &call, body).await };
    let (body, inputs) = match group {
        Route::Invoke => {
            scoring::count(shared, &call);
            let read = scoring::read_body(body).await;
            let inputs = read.as_ref().map(|bytes| request::input_uris(bytes)).unwrap_or_default();
            (Read::Invoke(read), inputs)
        }
        _ => (Read::Other(body), Vec::new()),
    };
    let request = request_facts(shared, group, &call, inputs);
    let (instead, spoilt) = shared.act(|state, _| match state.faults.on_arrival(&request) {
        Some(kind) => {
            // It looked, though it saw nothing.
            if let (FaultKind::Hidden { .. }, Some(name)) = (&kind, call.job()) {
                state.look(name, request.now);
            }
            (Some(kind), None)
        }
        None => (None, state.faults.on_answer(&request)),
    });
    if let Some(kind) = instead
        && let Some(response) = kind.instead(shared, link).await
    {
        return response;
    }
    if let Some(FaultKind::ListLag { seconds }) = spoilt {
        call.list_lag = Duration::from_secs(seconds.into());
    }
    let response = proper(shared, (link, &request), &call, body).await;
    match spoilt {
        Some(FaultKind::LostAnswer { instead, .. }) => instead.answer(shared, link).await,
        Some(kind) => kind.alter(shared, response).await,
        None => response,
    }
}

/// A body: an invoke's is read before anything is decided.
enum Read {
    Invoke(Result<Bytes, scoring::TooLarge>),
    Other(Body),
}

impl Read {
    fn unread(self) -> Body {
        match self {
            Self::Other(body) => body,
            Self::Invoke(_) => Body::empty(),
        }
    }
}

fn request_facts(shared: &Shared, route: Route, call: &Call, mut inputs: Vec<String>) -> RequestFacts {
    let now = shared.options.clock.now();
    let last = call.segments.last().map(String::as_str).unwrap_or_default();
    let is_list = matches!(route, Route::Poll | Route::Arm) && last.eq_ignore_ascii_case("jobs");
    let mut polls = None;
    if matches!(route, Route::Storage | Route::Arm) {
        inputs.push(call.segments.join("/"));
    } else if route == Route::Identity {
        inputs.extend(call.query("resource").map(str::to_owned));
    }
    if matches!(route, Route::Poll | Route::Arm | Route::RunHistory)
        && let Some(name) = call.job()
    {
        shared.act(|state, _| {
            if let Some(job) = state.by_name(name) {
                polls = Some(job.polls.count);
                inputs.extend(job.request.inputs.values().map(|data| data.uri.clone()));
            }
        });
    }
    RequestFacts { route, inputs, token_age: token::age(shared, call, now), polls, is_list, now }
}

/// What no fault reaches: the simulator's own pages.
async fn without_faults(shared: &Shared, call: &Call, body: Body) -> Response {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    match (call.method.as_str(), segments.as_slice()) {
        ("GET", [""]) => admin::itself(shared),
        (_, ["admin", ..]) => admin::answer(shared, call, body).await,
        ("GET", ["runs", job]) => admin::run(shared, job),
        ("GET", ["discovery"]) => workspace::discovery(shared),
        _ => plain(StatusCode::NOT_FOUND, "the simulator has nothing at this path"),
    }
}

/// What is answered where no fault happens.
async fn proper(shared: &Shared, of: (&Link, &RequestFacts), call: &Call, body: Read) -> Response {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    match (segments.as_slice(), body) {
        (["endpoints", endpoint, "jobs"], Read::Invoke(body)) => {
            scoring::invoke(shared, of, endpoint, call, body).await
        }
        (["endpoints", endpoint, "jobs"], _) => scoring::list(shared, endpoint, call),
        (["endpoints", endpoint, "jobs", job], _) => scoring::job(shared, endpoint, job, call),
        (["identity", "oauth2", "token"], _) => identity::managed(shared, call),
        ([_, "oauth2", "token"], body) => identity::client(shared, body.unread(), identity::Version::V1).await,
        ([_, "oauth2", "v2.0", "token"], body) => identity::client(shared, body.unread(), identity::Version::V2).await,
        (["mferp", "managementfrontend", "subscriptions", rest @ ..], _) => scoring::list_by_id(shared, rest, call),
        (["history", "v1.0", "subscriptions", rest @ ..], _) => run_history::answer(shared, rest, call),
        ([first, rest @ ..], _) if first.eq_ignore_ascii_case("subscriptions") => arm::answer(shared, rest, call),
        ([_, run_history::LOGS, "ExperimentRun", run, file @ ..], _) => {
            run_history::log(shared, run, &file.join("/"), call)
        }
        ([account, container, blob @ ..], body) => {
            storage::answer(shared, (account, container, &blob.join("/")), call, body.unread()).await
        }
        _ => plain(StatusCode::NOT_FOUND, "the simulator has nothing at this path"),
    }
}
