//! The cloud that a spawned handler needs: the simulator in this process, a folder for the ledger, and the settings
//! that point there. Nothing leaves loopback.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use simulator::{
    self, Container, Datastore, Deployment, DeploymentKind, Endpoint, Endpoints, Handle, SimulatorOptions, Timing,
    Workspace,
};

use super::functions_host::SCOREKEEPER;

/// A datastore that is the container `in`.
const INBOX: &str = "inbox";

/// A simulator and an app's folder. Both end with this value.
pub struct Cloud {
    pub simulator: Handle,
    folder: tempfile::TempDir,
    header: String,
    serving: tokio::task::JoinHandle<()>,
}

impl Cloud {
    /// Starts one.
    pub async fn start() -> Self {
        Self::with_timing(Timing::default()).await
    }

    /// Starts one whose endpoint takes this long to answer a submission; the job is there at once.
    pub async fn answering_within(answer: Duration) -> Self {
        Self::with_timing(Timing { answer, ..Timing::default() }).await
    }

    /// Starts one whose jobs take this long.
    pub async fn with_timing(timing: Timing) -> Self {
        Self::with(SimulatorOptions { timing, ..SimulatorOptions::default() }).await
    }

    /// Starts one with one endpoint, whose deployment is a pipeline component and takes literals.
    pub async fn with_pipeline(timing: Timing) -> Self {
        let steps = Deployment { name: "steps".to_owned(), kind: DeploymentKind::Pipeline };
        let (name, default_deployment) = ("heart".to_owned(), Some("steps".to_owned()));
        let endpoints = Endpoints::Listed(vec![Endpoint { name, default_deployment, deployments: vec![steps] }]);
        Self::with(SimulatorOptions { endpoints, timing, ..SimulatorOptions::default() }).await
    }

    /// Starts one whose container `in` takes what is uploaded to it.
    pub async fn with_writable_inbox() -> Self {
        let published = vec![INBOX.to_owned()];
        Self::with(SimulatorOptions { published, ..SimulatorOptions::default() }).await
    }

    /// Starts one whose jobs take this long and run this command on so many nodes.
    pub async fn scoring_by(command: &str, timing: Timing, nodes: usize) -> Self {
        let score_command = Some(command.to_owned());
        Self::with(SimulatorOptions {
            score_command,
            timing,
            nodes,
            reads_per_hour: 1_000_000,
            ..SimulatorOptions::default()
        })
        .await
    }

    /// Starts one whose workspace is in this subscription and whose results lie in this account, where others stand beside it: accounts of
    /// one name are one account to an app, as they are in Azure.
    pub async fn in_subscription(subscription: &str, results: &str, timing: Timing) -> Self {
        let workspace = Workspace { subscription: subscription.to_owned(), ..Workspace::default() };
        Self::with_results(results, SimulatorOptions { workspace, timing, ..SimulatorOptions::default() }).await
    }

    async fn with(of: SimulatorOptions) -> Self {
        Self::with_results("results", of).await
    }

    async fn with_results(account: &str, of: SimulatorOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let datastore = Datastore {
            name: "workspaceblobstore".to_owned(),
            account: account.to_owned(),
            container: "scores".to_owned(),
            folder: folder.path().join("scores"),
        };
        let inbox = Datastore {
            name: INBOX.to_owned(),
            account: "acct".to_owned(),
            container: "inbox".to_owned(),
            folder: folder.path().join("in"),
        };
        let mut datastores = vec![datastore];
        datastores.extend((!of.published.is_empty()).then_some(inbox));
        let container =
            Container { account: "acct".to_owned(), container: "inbox".to_owned(), folder: folder.path().join("in") };
        let options = SimulatorOptions {
            containers: vec![container],
            datastores,
            published: [vec!["workspaceblobstore".to_owned()], of.published].concat(),
            ..of
        };
        let header = options.identity_header.clone();
        let (simulator, serving) = simulator::start(listener, options).unwrap();
        let serving = tokio::spawn(async move { serving.await.unwrap() });
        Self { simulator, folder, header, serving }
    }

    /// The app's root.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Puts a blob into the container `in`.
    pub fn upload(&self, path: &str, bytes: &str) {
        std::fs::write(self.folder.path().join("in").join(path), bytes).unwrap();
    }

    /// The settings of an app with one rule for container `in`, whose ledger is in this folder below the root.
    pub fn vars(&self, ledger: &str) -> BTreeMap<String, String> {
        let rule = json!({
            "id": "claims",
            "match": {"container": "inbox"},
            "endpoint": {"uri": self.simulator.scoring_uri("heart"), "workspace": self.simulator.workspace_id()},
            "verifyInput": false
        });
        let ledger: PathBuf = self.folder.path().join(ledger);
        [
            ("SCOREKEEPER_LEDGER", format!("embedded:{}", ledger.display())),
            ("SCOREKEEPER_RULES", json!({"rules": [rule]}).to_string()),
            ("SCOREKEEPER_RESOURCE_MANAGER", self.simulator.origin()),
            ("SCOREKEEPER_WATCHED_ACCOUNTS", "acct".to_owned()),
            // Events of these tests have ETags of their own making; outputs are looked at on this machine.
            ("SCOREKEEPER_STORAGE_HOSTS", "acct.blob.core.windows.net,127.0.0.1".to_owned()),
            ("IDENTITY_ENDPOINT", self.simulator.identity_endpoint()),
            ("IDENTITY_HEADER", self.header.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// What the command line tells of an app with these settings, as JSON: `status`, `list`, `doctor`.
    pub async fn told(&self, vars: &BTreeMap<String, String>, command: &[&str]) -> Value {
        let mut process = tokio::process::Command::new(SCOREKEEPER);
        let output = process.args(command).arg("--json").current_dir(self.root()).env_clear().envs(vars).output().await;
        let output = output.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{command:?}: no JSON ({why}): {errors}"))
    }

    /// How many scorings of an app with these settings are scored.
    pub async fn scored(&self, vars: &BTreeMap<String, String>) -> u64 {
        self.told(vars, &["status"]).await["counts"]["scored"].as_u64().unwrap()
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// An event about `in/<path>` in Event Grid's schema, as a delivery of the service has it.
pub fn event(path: &str) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../fixtures/event_grid.json")).unwrap();
    about(&mut event, path);
    event
}

/// These settings, with members of their one rule set to other values.
pub fn with_rule(mut vars: BTreeMap<String, String>, members: &[(&str, Value)]) -> BTreeMap<String, String> {
    let mut rules: Value = serde_json::from_str(&vars["SCOREKEEPER_RULES"]).unwrap();
    for (member, value) in members {
        rules["rules"][0][*member] = value.clone();
    }
    vars.insert("SCOREKEEPER_RULES".to_owned(), rules.to_string());
    vars
}

/// The same in CloudEvents 1.0.
pub fn cloud_event(path: &str) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../fixtures/cloud_event.json")).unwrap();
    about(&mut event, path);
    event
}

/// The same about the blob of this URL, in Event Grid's schema.
pub fn event_about(url: &str) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../fixtures/event_grid.json")).unwrap();
    event["data"]["url"] = json!(url);
    event["subject"] = Value::Null; // it names the blob of the recording
    event
}

fn about(event: &mut Value, path: &str) {
    event["data"]["url"] = json!(format!("https://acct.blob.core.windows.net/inbox/{path}"));
    event["subject"] = Value::Null; // it names the blob of the recording
}
