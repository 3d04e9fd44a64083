//! The calls of the Azure Functions host: starts the handler as the real one does, waits for it in the same way and
//! sends the same requests. What its answers mean to senders, and what follows when it ends, is the supervised host's
//! (`supervised_host`). Read in the host's source (Azure/azure-functions-host).

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use axum::body::Bytes;
use serde_json::{Value, json};

use super::process::Process;

/// The handler's own binary.
pub const SCOREKEEPER: &str = env!("CARGO_BIN_EXE_scorekeeper");

/// A handler process under the stand-in host. It dies with this value.
pub struct FunctionsHost {
    port: u16,
    vars: BTreeMap<String, String>,
    process: Process,
    client: reqwest::Client,
    /// Sent with each invocation, as the real host does with Application Insights only.
    pub traceparent: Option<&'static str>,
}

/// What an invocation was answered with.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body, which must be JSON, as every answer's.
    pub fn json(&self) -> Value {
        assert_eq!(self.content_type, "application/json", "{self:?}");
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("no JSON ({why}): {self:?}"))
    }

    /// What the function returned; the answer must be a success that the real host understands.
    pub fn value(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        let mut body = self.json();
        assert_eq!((&body["Outputs"], &body["Logs"]), (&json!({}), &json!([])), "{body}");
        body["ReturnValue"].take()
    }
}

/// A port that was free a moment ago: the host, too, binds port 0 and releases it.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl FunctionsHost {
    /// Starts `scorekeeper serve` and waits until it answers.
    pub async fn start(root: &Path, vars: &BTreeMap<String, String>) -> Self {
        // Between the release of the port and its use, another test may take it; the real host restarts, too.
        for _ in 0..5 {
            let port = free_port();
            let vars = given(root, port, vars);
            let process = Process::spawn(SCOREKEEPER, &["serve"], root, &vars);
            let mut host = Self { port, vars, process, client: client(), traceparent: None };
            match host.ready().await {
                Ok(()) => return host,
                Err(_) if host.process.stderr().contains("cannot be listened on") => {}
                Err(status) => panic!("the handler ended with {status}: {}", host.process.stderr()),
            }
        }
        panic!("five ports in a row were taken");
    }

    /// Kills the process as the host does, without a word, and starts another on the same port.
    pub async fn kill_and_restart(&mut self, root: &Path) {
        self.process.child.kill().await.unwrap();
        self.process = Process::spawn(SCOREKEEPER, &["serve"], root, &self.vars);
        if let Err(status) = self.ready().await {
            panic!("the restarted handler ended with {status}: {}", self.process.stderr());
        }
    }

    async fn ready(&mut self) -> Result<(), ExitStatus> {
        let probe = self.client.get(format!("http://127.0.0.1:{}/", self.port));
        self.process.ready(probe, "listening").await
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Invokes a function with an envelope around the value of its binding.
    pub async fn invoke(&self, function: &str, id: &str, binding: &str, value: &Value) -> Answer {
        let sys = json!({"MethodName": function, "UtcNow": "2026-07-21T10:00:00.5Z", "RandGuid": "3f0c9a1e"});
        let envelope = json!({"Data": {binding: value}, "Metadata": {"sys": sys}});
        self.post(function, id, envelope.to_string()).await
    }

    /// Posts any body, chunked and with the headers of the real host.
    pub async fn post(&self, function: &str, id: &str, body: impl Into<Bytes>) -> Answer {
        let body: Bytes = body.into();
        // A stream has no length, so it is sent chunked.
        let chunks: Vec<_> =
            body.chunks(16 * 1024).map(|chunk| Ok::<_, std::io::Error>(body.slice_ref(chunk))).collect();
        let request = invocation(&self.client, self.port, function, id, self.traceparent)
            .body(reqwest::Body::wrap_stream(futures::stream::iter(chunks)));
        answer(request.send().await.unwrap()).await
    }

    /// Any other request.
    pub async fn get(&self, path: &str) -> Answer {
        answer(self.client.get(format!("http://127.0.0.1:{}{path}", self.port)).send().await.unwrap()).await
    }
}

async fn answer(response: reqwest::Response) -> Answer {
    let content_type = response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
    Answer {
        status: response.status().as_u16(),
        content_type: content_type.unwrap_or_default(),
        body: response.bytes().await.unwrap().to_vec(),
    }
}

/// `traceparent` of a host that traces.
pub const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// An invocation with the headers of the real host, byte by byte those of `tests/cases/host`; its body is to be added, as a stream.
pub fn invocation(
    client: &reqwest::Client,
    port: u16,
    function: &str,
    id: &str,
    traceparent: Option<&str>,
) -> reqwest::RequestBuilder {
    let request = client
        .post(format!("http://127.0.0.1:{port}/{function}"))
        .header("X-Azure-Functions-HostVersion", "4.1037.0.0")
        .header("X-Azure-Functions-InvocationId", id)
        .header("User-Agent", "Azure-Functions-Host/4.1037.0.0")
        .header("Content-Type", "application/json; charset=utf-8");
    match traceparent {
        Some(traceparent) => request.header("traceparent", traceparent),
        None => request,
    }
}

/// Speaks to loopback only.
pub fn client() -> reqwest::Client {
    // Longer than any deadline of the handler: a hang must fail the test, not block it.
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(60))
        .build()
        .unwrap()
}

/// What the host adds to its own environment.
pub fn given(root: &Path, port: u16, vars: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut vars = vars.clone();
    for (name, value) in [
        ("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string()),
        ("FUNCTIONS_CUSTOMHANDLER_WORKER_ID", "e6e6ab4b-9fd6-4b1c-a5c2-c8c0f2d1e0a7".to_owned()),
        ("FUNCTIONS_HTTPWORKER_PORT", port.to_string()),
        ("FUNCTIONS_HTTPWORKER_ID", "e6e6ab4b-9fd6-4b1c-a5c2-c8c0f2d1e0a7".to_owned()),
        ("FUNCTIONS_APP_ROOT_PATH", root.display().to_string()),
    ] {
        vars.insert(name.to_owned(), value);
    }
    vars
}
