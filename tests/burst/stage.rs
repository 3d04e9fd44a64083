//! The processes: an Azurite on disk, a simulator, four handlers and two timers; and the test's own view of each ledger.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use app::ledger::{Ledger, LedgerOptions};
use azure::tables::{Auth, AzureTables};
use azure_core::credentials::Secret;
use lifecycle::LedgerId;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::{CAP, SLOW};
use crate::support::azurite::{self, OnDisk};
use crate::support::functions_host::{FunctionsHost, SCOREKEEPER};
use crate::support::process::Process;

/// Processes that get events, and never a tick.
const HANDLERS: usize = 4;
/// Processes that get ticks, and never an event. Azure starts the two kinds apart, too.
const TIMERS: usize = 2;
/// Between two ticks of one timer. Azure's is a minute; here time is short.
const TICK: Duration = Duration::from_millis(200);
/// Between two questions to a process that tells nothing by itself.
const ASK: Duration = Duration::from_millis(50);

/// All of it; it ends with this value.
pub(super) struct Stage {
    members: Vec<FunctionsHost>,
    azurite: OnDisk,
    simulator: Value,
    _simulator: Process,
    client: reqwest::Client,
    tables: AzureTables,
    /// One for each installation.
    pub(super) ledgers: Vec<Ledger>,
    root: TempDir,
}

impl Stage {
    /// Starts everything; `None` where Azurite is not installed. `installations` with the same rules on one endpoint share
    /// handlers and timers evenly.
    pub(super) async fn start(faults: &Value, uploads: usize, installations: usize) -> Option<Self> {
        let root = tempfile::tempdir().unwrap();
        let azurite = OnDisk::start(&root.path().join("azurite"))?;
        let orders = json!({ "faults": faults }).to_string();
        // An orphan scan reads the whole list, ten jobs to a page, and a process that was just started looks at each of them: with
        // many jobs it has to come less often. Slow jobs are there for at least one.
        let (orphan_scan_interval, slow) = if uploads <= 500 { ("PT5S", 20) } else { ("PT60S", 90) };
        let score =
            format!("case $SCORE_INPUT in *{SLOW}*) sleep {slow};; *) sleep 2;; esac; cp $SCORE_INPUT $SCORE_OUTPUT");
        let place = ["--listen", "127.0.0.1:0", "--data", "cloud", "--nodes", "60"];
        // Time is short here, so an hour's budget is spent in minutes.
        let work = ["--reads-per-hour", "200000", "--score-command", &score, "--faults", &orders];
        let arguments = [&["simulator", "--json"], &place[..], &work].concat();
        let path = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into();
        let mut process = Process::spawn(SCOREKEEPER, &arguments, root.path(), &path);
        let simulator: Value = serde_json::from_str(&process.until_logged(|line| line.starts_with('{')).await).unwrap();

        let (url, account, key) = azurite.tables();
        let table_store = || {
            let auth = Auth::SharedKeyLite { account: account.to_owned(), key: Secret::new(key) };
            AzureTables::with_client(azurite::client(), &url.parse().unwrap(), auth).unwrap()
        };
        let task_hub = |installation: usize| format!("Burst{installation}");
        let ledger = |installation| {
            let options = LedgerOptions {
                task_hub: task_hub(installation),
                writer: "reader".to_owned(),
                new_id: LedgerId::of_random([1; 16]),
                projection: false,
            };
            Ledger::new(Arc::new(table_store()), &options).unwrap()
        };
        let ledgers: Vec<Ledger> = (0..installations).map(ledger).collect();

        let setting = |name: &str| simulator[name].as_str().unwrap().to_owned();
        let mut vars: BTreeMap<String, String> =
            ["SCOREKEEPER_RESOURCE_MANAGER", "SCOREKEEPER_STORAGE_HOSTS", "IDENTITY_ENDPOINT", "IDENTITY_HEADER"]
                .map(|name| (name.to_owned(), setting(name)))
                .into();
        vars.insert("SCOREKEEPER_LEDGER".to_owned(), url.clone());
        vars.insert("SCOREKEEPER_RULES".to_owned(), rules(&setting("scoringUri"), &setting("workspace")));
        vars.insert("SCOREKEEPER_ORPHAN_SCAN_INTERVAL".to_owned(), orphan_scan_interval.to_owned());
        let mut members = Vec::new();
        for member in 0..HANDLERS + TIMERS {
            vars.insert("SCOREKEEPER_TASK_HUB".to_owned(), task_hub(member % installations));
            members.push(FunctionsHost::start(root.path(), &vars).await);
        }
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        let tables = table_store();
        Some(Self { members, azurite, simulator, _simulator: process, client, tables, ledgers, root })
    }

    /// Puts a blob into the watched container.
    pub(super) fn upload(&self, path: &str) {
        std::fs::write(self.root.path().join("cloud/inbox").join(path), "x\n1\n").unwrap();
    }

    /// The file of an output, by its URI.
    pub(super) fn output(&self, uri: &str) -> Option<String> {
        let path = uri.split_once("/paths/")?.1;
        std::fs::read_to_string(self.root.path().join("cloud/outbox").join(path)).ok()
    }

    pub(super) fn processes(&self) -> usize {
        self.members.len()
    }

    /// Of one installation's handlers.
    pub(super) fn handler_ports(&self, installation: usize) -> Vec<u16> {
        let own = self.members[..HANDLERS].iter().skip(installation).step_by(self.ledgers.len());
        own.map(FunctionsHost::port).collect()
    }

    /// Ticks each timer until what is returned is dropped.
    pub(super) fn tick(&self) -> JoinSet<()> {
        let mut ticking = JoinSet::new();
        for port in self.members[HANDLERS..].iter().map(FunctionsHost::port) {
            let client = self.client.clone();
            ticking.spawn(async move {
                let body = json!({ "Data": { "timer": {} }, "Metadata": {} });
                let mut every = tokio::time::interval(TICK);
                every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    every.tick().await;
                    // It may be dead at this moment.
                    let _ = client.post(format!("http://127.0.0.1:{port}/Reconcile")).json(&body).send().await;
                }
            });
        }
        ticking
    }

    /// `kill -9` of a handler or a timer, and another process in its place; whether it was a handler.
    pub(super) async fn kill_any(&mut self, which: usize) -> bool {
        self.members[which].kill_and_restart(self.root.path()).await;
        which < HANDLERS
    }

    /// `kill -9` of Azurite. Before it the writers are stopped until what they were told is written is on disk; after it they
    /// go on against nobody, then against its successor.
    pub(super) async fn kill_store(&mut self) {
        self.signal_all(Signal::STOP);
        self.azurite.saved(&self.tables).await;
        self.azurite.kill();
        self.signal_all(Signal::CONT);
        // Starting takes it about a second.
        tokio::task::block_in_place(|| self.azurite.restart());
    }

    fn signal_all(&mut self, signal: Signal) {
        for member in &mut self.members {
            member.process().handle().signal(signal);
        }
    }

    /// What the simulator's admin pages tell.
    pub(super) async fn admin(&self, page: &str) -> Value {
        let jobs = self.simulator["admin"].as_str().unwrap();
        let url = jobs.replace("/admin/jobs", &format!("/admin/{page}"));
        self.client.get(url).send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    }

    /// Waits until so many jobs were made.
    pub(super) async fn until_jobs(&self, count: usize) {
        let count = u64::try_from(count).unwrap();
        let mut every = tokio::time::interval(ASK);
        while self.admin("summary").await["jobs"].as_u64().unwrap() < count {
            every.tick().await;
        }
    }

    /// Waits until nothing is in flight, in the ledgers and at the endpoint.
    pub(super) async fn settled(&self, jobs: usize) {
        let mut every = tokio::time::interval(4 * ASK);
        loop {
            every.tick().await;
            let summary = self.admin("summary").await;
            let made = summary["jobs"].as_u64().unwrap() >= u64::try_from(jobs).unwrap();
            if made && summary["inFlight"] == 0 && self.nothing_in_flight().await {
                return;
            }
        }
    }

    async fn nothing_in_flight(&self) -> bool {
        for ledger in &self.ledgers {
            if !ledger.in_flight().await.is_ok_and(|in_flight| in_flight.is_empty()) {
                return false;
            }
        }
        true
    }
}

/// Times for a test. The lease is long enough for a busy machine.
fn rules(endpoint: &str, workspace: &str) -> String {
    json!({ "rules": [ {
        "id": "burst",
        "match": { "container": "inbox" },
        "endpoint": { "uri": endpoint, "workspace": workspace },
        "maxInFlight": CAP,
        "pollInterval": "PT0.5S", "submitTimeout": "PT3S", "lookupInterval": "PT0.5S", "resubmitAfter": "PT3S",
        "retryBackOff": "PT0.5S", "outputTimeout": "PT30S", "verifyInput": false,
    } ] })
    .to_string()
}
