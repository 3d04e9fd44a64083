//! Stands for the Functions host: starts the handler as a process of its own and calls it through the real
//! custom-handler protocol, so that what runs on this machine is what runs in Azure.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lifecycle::text::fit;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use super::lasting::Lasting;
use crate::functions;
use crate::hosts::azure::UNUSABLE;
use app::error_chain;

/// The handler must answer `GET /` within this time, as in Azure.
const READY: Duration = Duration::from_secs(30);
/// Longer than any deadline of the handler.
const ANSWER: Duration = Duration::from_secs(120);

/// The handler's process and its address.
pub(super) struct FunctionsHost {
    binary: PathBuf,
    folder: PathBuf,
    log: PathBuf,
    settings: Vec<(String, String)>,
    client: reqwest::Client,
    child: Option<Child>,
    port: u16,
    invocations: Arc<AtomicU64>,
}

/// Calls a running handler. Cheap to clone; of no use once the handler was started again.
#[derive(Clone)]
pub(super) struct Invoker {
    client: reqwest::Client,
    port: u16,
    invocations: Arc<AtomicU64>,
}

/// Why the handler did not do what an invocation asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The handler could not be started.
    #[error("the handler could not be started, see {log}")]
    Start {
        /// Path of the log file that the handler's output goes to.
        log: String,
        #[source]
        source: io::Error,
    },
    /// The handler did not answer.
    #[error("{function} got no answer")]
    NoAnswer {
        function: &'static str,
        #[source]
        source: reqwest::Error,
    },
    /// The handler refuses everything, for this reason.
    #[error("the handler can do nothing: {reason}; its log is {log}")]
    Unusable {
        /// What it says of it.
        reason: String,
        /// Path of the log file that the handler's output goes to.
        log: String,
    },
    /// The handler answered that it failed.
    #[error("{function} failed with status {status}: {reason}")]
    Failed {
        function: &'static str,
        status: u16,
        /// The kind of failure that it names, and what it says of it.
        kind: String,
        reason: String,
    },
}

impl FunctionsHost {
    /// A host whose handler is not started yet. `settings` are its application settings.
    pub(super) fn new(binary: PathBuf, folder: &Path, settings: Vec<(String, String)>) -> Self {
        Self {
            binary,
            folder: folder.to_owned(),
            log: folder.join("handler.log"),
            settings,
            client: azure::http::client(),
            child: None,
            port: 0,
            invocations: Arc::default(),
        }
    }

    /// Starts the handler if it does not run, and waits until it is ready.
    pub(super) async fn running(&mut self) -> Result<Invoker, Error> {
        if let Some(child) = &mut self.child
            && matches!(child.try_wait(), Ok(None))
        {
            return Ok(self.invoker());
        }
        let failed = |source| Error::Start { log: self.log.display().to_string(), source };
        // Like the real host: a port that was free a moment ago.
        let port = std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr()).map_err(failed)?.port();
        let log = OpenOptions::new().create(true).append(true).open(&self.log).map_err(failed)?;
        let errors = log.try_clone().map_err(failed)?;
        let mut command = Command::new(&self.binary);
        command
            .arg("serve")
            .current_dir(&self.folder)
            .env("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string())
            .env("FUNCTIONS_CUSTOMHANDLER_WORKER_ID", "local")
            .env("FUNCTIONS_APP_ROOT_PATH", &self.folder)
            .env_remove("AWS_LAMBDA_RUNTIME_API")
            .envs(self.settings.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(failed)?;
        self.port = port;
        let ready = tokio::time::timeout(READY, async {
            loop {
                if let Some(status) = child.try_wait()? {
                    return Err(io::Error::other(format!("the handler ended with {status}")));
                }
                if self.client.get(format!("http://127.0.0.1:{port}/")).send().await.is_ok() {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        });
        match ready.await {
            Ok(Ok(())) => {
                self.child = Some(child);
                Ok(self.invoker())
            }
            Ok(Err(source)) => Err(failed(source)),
            Err(_) => Err(failed(io::Error::new(io::ErrorKind::TimedOut, "the handler did not become ready"))),
        }
    }

    /// An error if the handler is there only to say why it can do nothing. Tells it of no event.
    pub(super) async fn usable(&mut self) -> Result<(), Error> {
        match self.running().await?.invoke(functions::BLOB_CREATED, "event", json!([])).await {
            Err(Error::Failed { kind, reason, .. }) if kind == UNUSABLE => {
                Err(Error::Unusable { reason, log: self.log.display().to_string() })
            }
            // What else fails may be over when the first event comes, and is told of then.
            _ => Ok(()),
        }
    }

    /// Ends the handler, and returns when it is gone.
    pub(super) async fn stop(&mut self) {
        if let Some(mut child) = self.child.take()
            && let Err(error) = child.kill().await
        {
            tracing::warn!(error = %error, "the handler cannot be ended: {error}");
        }
    }

    fn invoker(&self) -> Invoker {
        Invoker { client: self.client.clone(), port: self.port, invocations: Arc::clone(&self.invocations) }
    }
}

impl Invoker {
    /// Invokes a function with the value of its trigger's binding.
    pub(super) async fn invoke(&self, function: &'static str, binding: &str, value: Value) -> Result<Value, Error> {
        let number = self.invocations.fetch_add(1, Ordering::Relaxed);
        let envelope = json!({ "Data": { binding: value }, "Metadata": { "sys": { "MethodName": function } } });
        let answer = self
            .client
            .post(format!("http://127.0.0.1:{}/{function}", self.port))
            .header("X-Azure-Functions-InvocationId", format!("local-{number}"))
            .timeout(ANSWER)
            .json(&envelope)
            .send()
            .await
            .map_err(|source| Error::NoAnswer { function, source })?;
        let status = answer.status();
        if !status.is_success() {
            let said: Option<Value> = answer.bytes().await.ok().and_then(|body| serde_json::from_slice(&body).ok());
            let text = |member: &str| said.as_ref().and_then(|said| said[member].as_str());
            let reason = fit(text("errorMessage").unwrap_or("it gives no reason"));
            let kind = text("errorType").unwrap_or_default().to_owned();
            return Err(Error::Failed { function, status: status.as_u16(), kind, reason });
        }
        let answer: Value = answer.json().await.map_err(|source| Error::NoAnswer { function, source })?;
        Ok(answer.get("ReturnValue").cloned().unwrap_or(Value::Null))
    }
}

/// The handler, started if it does not run. None: it cannot be, which is told of as `down`.
pub(super) async fn running(host: &Mutex<FunctionsHost>, down: &mut Lasting) -> Option<Invoker> {
    match host.lock().await.running().await {
        Ok(invoker) => {
            if down.is_over() {
                tracing::info!("the handler runs again");
            }
            Some(invoker)
        }
        Err(error) => {
            let why = error_chain(&error);
            if down.begins(&why) {
                tracing::error!(error = %why, "{why}");
            }
            None
        }
    }
}

/// The value of a timer's binding, as the real host sends it.
pub(super) fn timer() -> Value {
    json!({ "Schedule": { "AdjustForDST": false }, "ScheduleStatus": null, "IsPastDue": false })
}
