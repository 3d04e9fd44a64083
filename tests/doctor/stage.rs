//! What an examination looks at: a simulator process with its orders, a ledger in Azurite, the settings of an app; and the
//! `doctor` process that looks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use app::ledger::{Heartbeat, Ledger, LedgerOptions};
use azure::tables::{Auth, AzureTables};
use azure_core::credentials::Secret;
use lifecycle::LedgerId;
use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::sync::OnceCell;

use crate::support::azurite;
use crate::support::cloud::event_about;
use crate::support::executable;
use crate::support::functions_host::{FunctionsHost, SCOREKEEPER};
use crate::support::process::Process;

/// A task hub that took an event in and ticked a moment ago.
pub(super) const ALIVE: &str = "DoctorAlive";
/// A task hub that took an event in and ticked last an hour ago.
pub(super) const STOPPED: &str = "DoctorStopped";
/// A task hub that ticked a moment ago and never took an event in.
pub(super) const QUIET: &str = "DoctorQuiet";

/// A simulator process and the settings of an app beside it; it ends with this value.
pub(super) struct Stage {
    pub(super) vars: BTreeMap<String, String>,
    pub(super) app: String,
    _simulator: Process,
    folder: TempDir,
}

impl Stage {
    /// A simulator with this fault plan and an app whose ledger is this task hub. Azurite must be installed.
    pub(super) async fn start(plan: &Value, task_hub: &str) -> Self {
        Self::with(plan, task_hub, &[], &json!({})).await
    }

    /// The same, whose rule publishes its results beside its outputs.
    pub(super) async fn publishing(plan: &Value, task_hub: &str) -> Self {
        let paths = "azureml://datastores/workspaceblobstore/paths";
        let outputs = json!({ "score": {
            "type": "UriFile", "uri": format!("{paths}/scores/{{scoring.id}}/{{attempt}}/predictions.csv"),
            "publish": { "uri": format!("{paths}/published/{{blob.path}}") },
        } });
        Self::with(plan, task_hub, &["--publishes"], &json!({ "outputs": outputs })).await
    }

    /// The same, whose rule groups.
    pub(super) async fn grouping(plan: &Value, task_hub: &str) -> Self {
        Self::with(plan, task_hub, &["--groups"], &json!({ "group": { "by": "folder" } })).await
    }

    async fn with(plan: &Value, task_hub: &str, flags: &[&str], more: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plan = plan.to_string();
        let arguments = ["simulator", "--json", "--listen", "127.0.0.1:0", "--data", "cloud", "--faults", &plan];
        let arguments = [&arguments, flags].concat();
        let mut process = Process::spawn(SCOREKEEPER, &arguments, folder.path(), &BTreeMap::new());
        let told: Value = serde_json::from_str(&process.until_logged(|line| line.starts_with('{')).await).unwrap();
        let told = |name: &str| told[name].as_str().unwrap().to_owned();
        let mut rule = json!({
            "id": "claims",
            "match": { "account": "local", "container": "inbox", "prefix": "claims/" },
            "endpoint": { "uri": told("scoringUri"), "workspace": told("workspace") },
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            rule[name] = value.clone();
        }
        let mut vars: BTreeMap<String, String> =
            ["SCOREKEEPER_RESOURCE_MANAGER", "SCOREKEEPER_STORAGE_HOSTS", "IDENTITY_ENDPOINT", "IDENTITY_HEADER"]
                .map(|name| (name.to_owned(), told(name)))
                .into();
        let (ledger, ..) = azurite::tables().expect("whoever starts a stage has looked for Azurite");
        for (name, value) in [
            ("SCOREKEEPER_LEDGER", ledger),
            ("SCOREKEEPER_TASK_HUB", task_hub.to_owned()),
            ("SCOREKEEPER_RULES", json!({ "rules": [rule] }).to_string()),
            ("WEBSITE_ARM_RESOURCE_ID", told("functionApp")),
        ] {
            vars.insert(name.to_owned(), value);
        }
        Self { vars, app: told("functionApp"), _simulator: process, folder }
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Takes the app's identity out of the settings and puts in its place an operator who is signed in: an Azure CLI that
    /// hands out tokens.
    pub(super) async fn sign_in(&mut self) {
        let endpoint = self.vars.remove("IDENTITY_ENDPOINT").unwrap();
        let header = self.vars.remove("IDENTITY_HEADER").unwrap();
        let bin = self.folder.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        let mut script = "#!/bin/sh\ncase \"$*\" in\n".to_owned();
        for audience in ["https://storage.azure.com", "https://ml.azure.com", "https://management.azure.com"] {
            let url =
                reqwest::Url::parse_with_params(&endpoint, [("api-version", "2019-08-01"), ("resource", audience)]);
            let asked = azurite::client().get(url.unwrap()).header("X-IDENTITY-HEADER", &header).send().await.unwrap();
            let token: Value = asked.error_for_status().unwrap().json().await.unwrap();
            let expires_on: i64 = token["expires_on"].as_str().unwrap().parse().unwrap();
            let printed =
                json!({ "accessToken": token["access_token"], "expires_on": expires_on, "tokenType": "Bearer" });
            let file = bin.join(audience.replace(['/', ':'], ""));
            std::fs::write(&file, printed.to_string()).unwrap();
            writeln!(script, "  *'{audience}'*) cat '{}';;", file.display()).unwrap();
        }
        script.push_str("  *) exit 1;;\nesac\n");
        executable::script(&script, &bin.join("az"));
        self.vars.insert("PATH".to_owned(), format!("{}:/usr/bin:/bin", bin.display()));
    }

    /// `scorekeeper rules check` of these rules against what is deployed, its exit code and what it said.
    pub(super) async fn check(&self, rules: &Value, more: &[&str]) -> (i32, String) {
        std::fs::write(self.folder().join("new.json"), rules.to_string()).unwrap();
        let arguments = [&["rules", "check", "new.json", "--app", &self.app], more].concat();
        let mut process = Process::spawn(SCOREKEEPER, &arguments, self.folder(), &self.vars);
        let code = process.ended().await.code().unwrap();
        (code, format!("{}\n{}", process.stdout().join("\n"), process.stderr()))
    }

    /// `scorekeeper doctor --json`, its exit code and its report.
    pub(super) async fn examine(&self, more: &[&str]) -> (i32, Value) {
        let arguments = [&["doctor", "--json"], more].concat();
        let mut process = Process::spawn(SCOREKEEPER, &arguments, self.folder(), &self.vars);
        let code = process.ended().await.code().unwrap();
        let said = process.stdout().join("\n");
        let report = serde_json::from_str(&said);
        (code, report.unwrap_or_else(|why| panic!("{why}: {said}\n{}", process.stderr())))
    }
}

/// Makes the task hubs, once: their signs of life come from a handler process, as in Azure. `false` where Azurite is not
/// installed.
pub(super) async fn ready() -> bool {
    static MADE: OnceCell<()> = OnceCell::const_new();
    if azurite::tables().is_none() {
        return false;
    }
    let make = || async {
        for (task_hub, event, tick) in [(ALIVE, true, true), (STOPPED, true, false), (QUIET, false, true)] {
            let stage = Stage::start(&json!({}), task_hub).await;
            let host = FunctionsHost::start(stage.folder(), &stage.vars).await;
            if event {
                let event = event_about("https://local.blob.core.windows.net/inbox/claims/first.csv");
                host.invoke("BlobCreated", "1", "event", &event).await.value();
            }
            if tick {
                host.invoke("Reconcile", "2", "timer", &json!({})).await.value();
            }
        }
        let an_hour_ago =
            Heartbeat { at: now() - time::Duration::HOUR, version: "0.1.0".into(), in_flight: 1, errors: 0 };
        ledger(STOPPED).record_heartbeat(&an_hour_ago).await.unwrap();
    };
    MADE.get_or_init(make).await;
    true
}

fn ledger(task_hub: &str) -> Ledger {
    let (url, account, key) = azurite::tables().unwrap();
    let auth = Auth::SharedKeyLite { account: account.to_owned(), key: Secret::new(key) };
    let tables = AzureTables::with_client(azurite::client(), &url.parse().unwrap(), auth).unwrap();
    let options = LedgerOptions {
        task_hub: task_hub.to_owned(),
        writer: "test".to_owned(),
        new_id: LedgerId::of_random([1; 16]),
        projection: false,
    };
    Ledger::new(Arc::new(tables), &options).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the command under test reads the same clock")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
