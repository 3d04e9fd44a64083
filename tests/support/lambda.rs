//! A stand-in for AWS Lambda: its Runtime API, as far as `lambda_runtime` uses it, and a process that polls it.
//!
//! Source: *Using the Lambda runtime API* (AWS Lambda developer guide).

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use axum::extract::{Path as Captured, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::process::Process;

/// The other host's binary beside `scorekeeper serve`.
pub const BOOTSTRAP: &str = env!("CARGO_BIN_EXE_bootstrap");

/// One function under the stand-in. Its process dies with this value.
pub struct Lambda {
    api: Arc<Api>,
    pub process: Process,
    server: tokio::task::JoinHandle<()>,
    sent: std::sync::atomic::AtomicUsize,
    queue: mpsc::UnboundedSender<(String, Bytes)>,
}

/// `Ok`: what was posted as response; `Err`: what was posted as error.
pub type Outcome = Result<Value, Value>;

/// What runs one function by Lambda's Runtime API. The function's process ends with this value.
pub trait Host {
    /// Starts it, and `bootstrap` for the function.
    async fn start(function: &str, folder: &Path, vars: &BTreeMap<String, String>) -> Self;

    /// Invokes the function; a minute at most.
    async fn invoke(&self, payload: &Value) -> Outcome;
}

/// What `lambda-runtime-deadline-ms` says.
#[derive(Debug, Clone, Copy)]
pub enum Deadline {
    /// As Lambda has it: the time a minute after the invocation was handed out.
    Minute,
    /// This number, whatever the time is.
    Always(u64),
}

impl Deadline {
    /// What cargo-lambda's emulator sends; `emulator.rs` has all of its headers.
    pub const EMULATED: Self = Self::Always(600_000);

    #[expect(clippy::disallowed_methods, reason = "the Runtime API tells a deadline as wall-clock time")]
    pub fn header(self) -> String {
        let milliseconds = match self {
            Self::Always(number) => number.into(),
            Self::Minute => {
                let deadline = SystemTime::now() + Duration::from_secs(60);
                deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()
            }
        };
        milliseconds.to_string()
    }
}

struct Api {
    deadline: Deadline,
    next: tokio::sync::Mutex<mpsc::UnboundedReceiver<(String, Bytes)>>,
    waiting: Mutex<HashMap<String, oneshot::Sender<Outcome>>>,
}

impl Lambda {
    /// With a deadline that Lambda itself would not tell.
    pub async fn with_deadline(
        deadline: Deadline,
        function: &str,
        folder: &Path,
        vars: &BTreeMap<String, String>,
    ) -> Self {
        let (queue, next) = mpsc::unbounded_channel();
        let api = Arc::new(Api { deadline, next: tokio::sync::Mutex::new(next), waiting: Mutex::default() });
        let router = axum::Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(hand_out))
            .route("/2018-06-01/runtime/invocation/{id}/{outcome}", post(take_back))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(api.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let process = bootstrap(&address.to_string(), function, folder, vars);
        Self { api, process, server, sent: 0.into(), queue }
    }
}

impl Host for Lambda {
    async fn start(function: &str, folder: &Path, vars: &BTreeMap<String, String>) -> Self {
        Self::with_deadline(Deadline::Minute, function, folder, vars).await
    }

    async fn invoke(&self, payload: &Value) -> Outcome {
        self.invoke_with(payload.to_string().into()).await
    }
}

impl Lambda {
    /// Invokes it with any bytes; a minute at most.
    pub async fn invoke_with(&self, payload: Bytes) -> Outcome {
        let id = format!("request-{}", self.sent.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
        let (tell, told) = oneshot::channel();
        self.api.waiting.lock().unwrap().insert(id.clone(), tell);
        self.queue.send((id, payload)).unwrap();
        let outcome = tokio::time::timeout(Duration::from_secs(60), told).await;
        outcome.unwrap_or_else(|_| panic!("no answer: {}", self.process.stderr())).unwrap()
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Starts `bootstrap` for the function, with what Lambda adds to its environment. It polls the Runtime API at `api`.
pub fn bootstrap(api: &str, function: &str, folder: &Path, vars: &BTreeMap<String, String>) -> Process {
    let mut vars = vars.clone();
    for (name, value) in [
        ("AWS_LAMBDA_RUNTIME_API", api),
        ("AWS_LAMBDA_FUNCTION_NAME", function),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "group"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "stream"),
        ("_HANDLER", function),
    ] {
        vars.insert(name.to_owned(), value.to_owned());
    }
    Process::spawn(BOOTSTRAP, &[], folder, &vars)
}

async fn hand_out(State(api): State<Arc<Api>>) -> Response {
    let Some((id, payload)) = api.next.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", api.deadline.header()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-west-1:1:function:f".to_owned()),
    ];
    (headers, payload).into_response()
}

async fn take_back(
    State(api): State<Arc<Api>>,
    Captured((id, outcome)): Captured<(String, String)>,
    body: Bytes,
) -> StatusCode {
    let value = serde_json::from_slice(&body).expect("answers are JSON");
    let outcome = match outcome.as_str() {
        "response" => Ok(value),
        "error" => Err(value),
        other => panic!("no outcome is called {other}"),
    };
    if let Some(tell) = api.waiting.lock().unwrap().remove(&id) {
        // The test may have given up.
        let _ = tell.send(outcome);
    }
    StatusCode::ACCEPTED
}
