//! A simulated Azure ML batch endpoint, with the services around it: for work without a cloud, and for tests that need
//! an endpoint which misbehaves on order. It says what it is in every answer (`x-scorekeeper-simulator`) and scores
//! nothing: see [`scorer`].
//!
//! One listener, told apart by the beginning of the path:
//!
//! | path | stands for | module |
//! |---|---|---|
//! | `/identity/oauth2/token` | `IDENTITY_ENDPOINT` of a managed identity | `identity` |
//! | `/{tenant}/oauth2/token`, `/{tenant}/oauth2/v2.0/token` | login.microsoftonline.com | `identity` |
//! | `/endpoints/{endpoint}/jobs[/{job}]` | the endpoint's scoring host | `scoring` |
//! | `/subscriptions/…` | management.azure.com | `arm` |
//! | `/history/v1.0/subscriptions/…` | run history | `run_history` |
//! | `/runs/{job}` | the job's page in the studio, as JSON | `admin` |
//! | `/admin/…` | nothing real: what tests and operators want to know | `admin` |
//! | `/{account}/{container}/{blob}` | blob storage, as an emulator spells it | `storage` |
//!
//! Status codes, headers and members follow recordings of Microsoft's SDK tests (azure-sdk-for-python, azure-ai-ml,
//! `test_batch_invoke` and `test_batch_job_download` of 2023) and the models of azure-ai-ml. Where nobody knows what the
//! service does, [`Behaviour`] is a switch and its default is what helps a client least.
//!
//! It must never listen beyond loopback (storage is open to all who reach it; [`start`] refuses), never reach files
//! outside of the configured folders (`places`), never show half an output, never log a token.

mod admin;
mod answer;
mod arm;
mod clock;
mod driver;
mod faults;
mod identity;
mod job;
mod journal;
mod link;
mod options;
mod places;
mod request;
mod run_history;
mod scorer;
mod scoring;
mod state;
mod storage;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State as FromState};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

pub use clock::{Clock, Hand};
pub use faults::{Fault, Misdeed, Route};
pub use job::JobView;
pub use options::{
    Behaviour, Client, Container, Datastore, Deployment, DeploymentKind, Endpoint, Endpoints, Options, Timing,
    Workspace,
};
pub use scorer::SCORED_BY;
pub use state::Summary;

use answer::plain;
use faults::Faults;
use journal::Journal;
use link::Link;
use places::Places;
use state::{Budget, State};

/// Beginnings of paths that no storage account may be named after.
const RESERVED: &[&str] = &["identity", "endpoints", "subscriptions", "history", "runs", "admin", "mlflow", "mferp"];

/// Why a simulator can't start.
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
    /// A folder can't be made or read.
    #[error("the folder {0} cannot be opened: {1}")]
    Folder(PathBuf, std::io::Error),
    /// The journal can't be read or written.
    #[error("the simulator's journal {0} cannot be opened: {1}")]
    Journal(PathBuf, std::io::Error),
    /// Serving ended.
    #[error("the simulator stopped serving: {0}")]
    Serve(std::io::Error),
}

/// Serves for ever; dropping the future stops it, its jobs and their scoring commands.
pub async fn serve(listener: TcpListener, options: Options) -> Result<(), Error> {
    let (_, serving) = start(listener, options)?;
    serving.await
}

/// Opens the simulator: a handle to look into it, and the future that serves it.
pub fn start(
    listener: TcpListener,
    options: Options,
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
    let places = Places::open(&options.containers, &options.datastores)
        .map_err(|(folder, error)| Error::Folder(folder, error))?;
    let (journal, jobs) = match &options.journal {
        None => (None, Vec::new()),
        Some(path) => {
            let (journal, jobs) =
                Journal::open(path, options.keep_jobs).map_err(|error| Error::Journal(path.clone(), error))?;
            (Some(journal), jobs)
        }
    };
    let state = State::new(
        (options.nodes, options.keep_jobs, options.timing.clone()),
        (journal, jobs),
        Faults::none(options.seed),
        (Budget::per_hour(options.reads_per_hour), Budget::per_hour(options.writes_per_hour)),
    );
    let shared = Arc::new(Shared {
        address,
        places,
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
    /// `http://127.0.0.1:PORT`, for Resource Manager and as authority host.
    pub fn origin(&self) -> String {
        self.shared.origin()
    }

    /// Where jobs of an endpoint are posted.
    pub fn scoring_uri(&self, endpoint: &str) -> String {
        scoring::uri(&self.shared, endpoint)
    }

    /// The value of `IDENTITY_ENDPOINT`.
    pub fn identity_endpoint(&self) -> String {
        format!("{}/identity/oauth2/token", self.origin())
    }

    /// ARM id of the workspace.
    pub fn workspace_id(&self) -> String {
        self.shared.options.workspace.id()
    }

    /// Every kept job, oldest first, as it is now.
    pub fn jobs(&self) -> Vec<JobView> {
        self.shared.act(|state, _| state.views())
    }

    /// All jobs in numbers, as they are now.
    pub fn summary(&self) -> Summary {
        self.shared.act(|state, _| state.summary())
    }

    /// Replaces all orders to misbehave; the error names one that makes no sense.
    pub fn set_faults(&self, faults: Vec<Fault>) -> Result<(), String> {
        self.shared.act(|state, _| state.faults.set(faults))
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

/// What all requests share.
struct Shared {
    options: Options,
    address: SocketAddr,
    places: Places,
    state: Mutex<State>,
    /// Something to do for the driver.
    wake: Notify,
    /// Raised with every move of a job.
    changed: watch::Sender<u64>,
}

impl Shared {
    fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under this lock panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the state, or changes it, at this hour: whatever is due by now has happened before.
    fn act<T>(&self, f: impl FnOnce(&mut State, OffsetDateTime) -> T) -> T {
        let now = self.options.clock.now();
        let mut state = self.lock();
        let (due, moves) = (state.next_due(), state.moves());
        state.tick(now);
        let result = f(&mut state, now);
        state.tick(now);
        if state.has_orders() || state.next_due() != due {
            self.wake.notify_one();
        }
        if state.moves() != moves {
            self.changed.send_modify(|count| *count += 1);
        }
        result
    }
}

/// One request: its path as segments, decoded.
struct Call {
    method: Method,
    segments: Vec<String>,
    query: Vec<(String, String)>,
    headers: HeaderMap,
}

impl Call {
    /// The call and its body, which is kept apart since it can be read only once.
    fn read(request: Request) -> Option<(Self, Body)> {
        let (parts, body) = request.into_parts();
        let uri = &parts.uri;
        let decode = |part: &str| {
            percent_encoding::percent_decode_str(part).decode_utf8().ok().map(std::borrow::Cow::into_owned)
        };
        let segments = uri.path().trim_start_matches('/').split('/').map(decode).collect::<Option<_>>()?;
        let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        Some((Self { method: parts.method, segments, query, headers: parts.headers }, body))
    }

    /// A query parameter.
    fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// A header that is text.
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

async fn dispatch(
    FromState(shared): FromState<Arc<Shared>>,
    ConnectInfo(link): ConnectInfo<Link>,
    request: Request,
) -> Response {
    let mut answer = match Call::read(request) {
        Some((call, body)) => route(&shared, &link, &call, body).await,
        None => plain(StatusCode::BAD_REQUEST, "the path is not UTF-8"),
    };
    answer.headers_mut().insert("x-scorekeeper-simulator", HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
    answer
}

async fn route(shared: &Shared, link: &Link, call: &Call, body: Body) -> Response {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    let misdeed = |route| shared.act(|state, _| state.faults.on_arrival(route)).and_then(|m| m.commit(shared, link));
    macro_rules! unless_ordered {
        ($route:expr, $answer:expr) => {
            match misdeed($route) {
                Some(misbehaved) => misbehaved,
                None => $answer,
            }
        };
    }
    match (call.method.as_str(), segments.as_slice()) {
        ("GET", [""]) => admin::itself(shared),
        (_, ["admin", ..]) => admin::answer(shared, call, body).await,
        ("GET", ["runs", job]) => admin::run(shared, job),
        ("GET", ["identity", "oauth2", "token"]) => {
            unless_ordered!(Route::Identity, identity::managed(shared, call))
        }
        ("POST", [_, "oauth2", "token"]) => {
            unless_ordered!(Route::Identity, identity::client(shared, body, identity::Version::V1).await)
        }
        ("POST", [_, "oauth2", "v2.0", "token"]) => {
            unless_ordered!(Route::Identity, identity::client(shared, body, identity::Version::V2).await)
        }
        ("POST", ["endpoints", endpoint, "jobs"]) => {
            unless_ordered!(Route::Invoke, scoring::invoke(shared, link, endpoint, call, body).await)
        }
        ("GET", ["endpoints", endpoint, "jobs"]) => {
            unless_ordered!(Route::Poll, scoring::list(shared, endpoint, call))
        }
        ("GET", ["endpoints", endpoint, "jobs", job]) => {
            unless_ordered!(Route::Poll, scoring::job(shared, endpoint, job, call))
        }
        (_, [first, rest @ ..]) if first.eq_ignore_ascii_case("subscriptions") => {
            unless_ordered!(Route::Arm, arm::answer(shared, rest, call))
        }
        ("GET", ["history", "v1.0", "subscriptions", rest @ ..]) => {
            unless_ordered!(Route::RunHistory, run_history::answer(shared, rest, call))
        }
        ("GET" | "HEAD", [account, container, blob @ ..]) if !RESERVED.contains(account) => {
            let blob = blob.join("/");
            unless_ordered!(Route::Storage, storage::answer(shared, account, container, &blob, call).await)
        }
        _ => plain(StatusCode::NOT_FOUND, "the simulator has nothing at this path"),
    }
}
