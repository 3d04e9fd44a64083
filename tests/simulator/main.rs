//! The simulated service, over HTTP: what Microsoft's recordings of the real one show, and what it does to files.
//!
//! Time stands still unless a test moves it, so nothing here waits for a timer.

// Tests fail by panicking and say on stdout what a failure needs to be understood; the lints that keep both out
// of the product do not apply here. What tests share is used in part by each.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::missing_panics_doc,
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::too_many_lines
)]

mod admin;
mod behaviour;
mod command;
mod fault_kinds;
mod faults;
mod installation;
mod invoke;
mod jobs;
mod memory;
mod recorded;
mod resource_manager;
mod run_history;
mod started;
mod storage;
mod storage_writes;
#[path = "../support/mod.rs"]
mod support;
mod tokens;
mod workspace;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use simulator::{
    self, Clock, Container, Datastore, Deployment, DeploymentKind, Endpoint, Endpoints, Handle, JobView, ManualClock,
    SimulatorOptions, Timing,
};
use tempfile::TempDir;
use time::macros::datetime;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const ML: &str = "https://ml.azure.com";
const ARM: &str = "https://management.azure.com";
const STORAGE: &str = "https://storage.azure.com";
const VERSION: &str = "api-version=2025-12-01";

/// A running simulator; it ends with the test.
struct Sim {
    handle: Handle,
    hand: ManualClock,
    http: reqwest::Client,
    root: PathBuf,
    serving: JoinHandle<()>,
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn profile() -> Timing {
    Timing {
        answer: Duration::ZERO,
        preparing: seconds(4),
        running: seconds(60),
        finalizing: seconds(5),
        canceling: seconds(30),
    }
}

async fn sim_in(root: &TempDir, change: impl FnOnce(&mut SimulatorOptions)) -> Sim {
    let root = root.path().to_owned();
    let (clock, hand) = Clock::manual(datetime!(2026-01-01 12:00 UTC));
    let folder = |name: &str| root.join(name);
    let mut options = SimulatorOptions {
        containers: vec![Container { account: "local".into(), container: "inbox".into(), folder: folder("inbox") }],
        datastores: vec![Datastore {
            name: "scores".into(),
            account: "local".into(),
            container: "outbox".into(),
            folder: folder("outbox"),
        }],
        timing: profile(),
        clock,
        identity_header: "a secret of the platform".into(),
        ..SimulatorOptions::default()
    };
    change(&mut options);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (handle, serving) = simulator::start(listener, options).unwrap();
    let serving = tokio::spawn(async move { serving.await.unwrap() });
    let http = reqwest::Client::builder().no_proxy().timeout(seconds(20)).build().unwrap();
    Sim { handle, hand, http, root, serving }
}

async fn sim(change: impl FnOnce(&mut SimulatorOptions)) -> (Sim, TempDir) {
    let root = TempDir::new().unwrap();
    let sim = sim_in(&root, change).await;
    (sim, root)
}

impl Sim {
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.handle.origin())
    }

    async fn token(&self, audience: &str) -> String {
        let query = [("api-version", "2019-08-01"), ("resource", audience)];
        let url = reqwest::Url::parse_with_params(&self.handle.identity_endpoint(), query).unwrap();
        let request = self.http.get(url).header("X-IDENTITY-HEADER", "a secret of the platform");
        let answer: Value = request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    async fn get(&self, url: &str, audience: &str) -> Response {
        self.http.get(url).bearer_auth(self.token(audience).await).send().await.unwrap()
    }

    async fn json(&self, url: &str, audience: &str) -> Value {
        self.get(url, audience).await.error_for_status().unwrap().json().await.unwrap()
    }

    async fn arm_get(&self, path: &str) -> Value {
        self.json(&self.url(&format!("{}{path}?{VERSION}", self.handle.workspace_id())), ARM).await
    }

    async fn arm_status(&self, job: &str) -> String {
        self.arm_get(&format!("/jobs/{job}")).await["properties"]["status"].as_str().unwrap().to_owned()
    }

    async fn try_post(&self, endpoint: &str, body: &Value, headers: &[(&str, &str)]) -> reqwest::Result<Response> {
        let mut request = self.http.post(self.handle.scoring_uri(endpoint)).bearer_auth(self.token(ML).await);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.json(body).send().await
    }

    async fn post(&self, body: &Value) -> Response {
        self.try_post("claims", body, &[]).await.unwrap()
    }

    /// Posts a scoring of `inbox/<input>` to `outbox/<output>`, returns the job's name.
    async fn submit(&self, input: &str, output: &str) -> String {
        let answer = self.post(&body(input, output)).await;
        assert_eq!(answer.status(), StatusCode::CREATED);
        answer.json::<Value>().await.unwrap()["name"].as_str().unwrap().to_owned()
    }

    fn put(&self, input: &str, text: &str) {
        std::fs::write(self.root.join("inbox").join(input), text).unwrap();
    }

    fn output(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.root.join("outbox").join(path)).ok()
    }

    fn job(&self, name: &str) -> JobView {
        find(&self.handle.jobs(), name)
    }

    async fn until_all(&self, wanted: impl Fn(&[JobView]) -> bool) -> Vec<JobView> {
        let jobs = tokio::time::timeout(seconds(20), self.handle.until(wanted)).await;
        jobs.unwrap_or_else(|_| panic!("never so: {:?}", self.handle.jobs()))
    }

    async fn until(&self, name: &str, status: &str) -> JobView {
        find(&self.until_all(|jobs| find(jobs, name).step_status == status).await, name)
    }

    /// Moves a fresh job to its end, which is to be `status`.
    async fn finish(&self, name: &str, status: &str) -> JobView {
        self.hand.advance(seconds(4));
        self.hand.advance(seconds(60));
        if status == "Completed" {
            self.until(name, "Finalizing").await;
            self.hand.advance(seconds(5));
        }
        self.until(name, status).await
    }

    async fn run_error(&self, name: &str) -> Value {
        let path = format!("/history/v1.0{}/runs/{name}/details", self.handle.workspace_id());
        self.json(&self.url(&path), ML).await["error"]["error"].clone()
    }

    async fn cancel(&self, name: &str) -> Response {
        let url = self.url(&format!("{}/jobs/{name}/cancel?{VERSION}", self.handle.workspace_id()));
        self.http.post(url).bearer_auth(self.token(ARM).await).send().await.unwrap()
    }
}

fn find(jobs: &[JobView], name: &str) -> JobView {
    jobs.iter().find(|job| job.name == name).cloned().unwrap()
}

fn body(input: &str, output: &str) -> Value {
    json!({ "properties": {
        "InputData": { "blob": { "JobInputType": "UriFile", "Uri": format!("https://local.blob.localhost/inbox/{input}") } },
        "OutputData": { "score": { "JobOutputType": "UriFile", "Uri": format!("azureml://datastores/scores/paths/{output}") } } } })
}

/// Every member as a path, so that two documents can be compared without their values.
fn members(value: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, at: &str, all: &mut BTreeSet<String>) {
        if let Value::Object(map) = value {
            for (name, inner) in map {
                let path = format!("{at}/{name}");
                walk(inner, &path, all);
                all.insert(path);
            }
        }
    }
    let mut all = BTreeSet::new();
    walk(value, "", &mut all);
    all
}

fn assert_headers(answer: &Response, names: &[&str]) {
    let missing: Vec<_> = names.iter().filter(|name| !answer.headers().contains_key(**name)).collect();
    assert!(missing.is_empty(), "{missing:?} are not in {:?}", answer.headers());
}

fn listed() -> Endpoints {
    Endpoints::Listed(vec![
        Endpoint {
            name: "claims".into(),
            default_deployment: Some("model-1".into()),
            deployments: vec![
                Deployment { name: "model-1".into(), kind: DeploymentKind::Model },
                Deployment { name: "steps".into(), kind: DeploymentKind::Pipeline },
            ],
        },
        Endpoint { name: "empty".into(), default_deployment: None, deployments: Vec::new() },
    ])
}
