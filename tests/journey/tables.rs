//! The same journeys with the ledger in Azure's tables, as Azurite has them; and what is on the wire there, which other
//! tools read.

use app::ledger::LedgerOptions;
use azure::tables::{Auth, AzureTables};
use azure_core::credentials::Secret;
use lifecycle::LedgerId;
use serde_json::Map;

use super::*;
use crate::support::azurite;
use crate::support::cloud::cloud_event;
use crate::support::storage::{fresh_name, raw_rows};

type Tables = (String, &'static str, &'static str);

/// A cloud whose app keeps its ledger in a task hub of its own, the settings of that app, and a reader of the ledger.
struct InTables {
    cloud: Cloud,
    vars: BTreeMap<String, String>,
    task_hub: String,
    tables: Tables,
    ledger: Ledger,
}

impl InTables {
    async fn start(tables: Option<Tables>, answer: Duration) -> Option<Self> {
        let tables = tables?;
        let cloud = Cloud::answering_within(answer).await;
        let task_hub = fresh_name();
        let mut vars = cloud.vars("no ledger here");
        vars.insert("SCOREKEEPER_RULES".to_owned(), rules(&cloud));
        vars.insert("SCOREKEEPER_LEDGER".to_owned(), tables.0.clone());
        vars.insert("SCOREKEEPER_TASK_HUB".to_owned(), task_hub.clone());
        // `compose::ledger_to_read` shares its client with the whole process; here each test has one of its own.
        let (url, account, key) = &tables;
        let auth = Auth::SharedKeyLite { account: (*account).to_owned(), key: Secret::new(*key) };
        let store = AzureTables::with_client(azurite::client(), &url.parse().unwrap(), auth).unwrap();
        let options = LedgerOptions {
            task_hub: task_hub.clone(),
            writer: "reader".to_owned(),
            new_id: LedgerId::of_random([1; 16]),
            projection: false,
        };
        let ledger = Ledger::new(std::sync::Arc::new(store), &options).unwrap();
        Some(Self { cloud, vars, task_hub, tables, ledger })
    }

    async fn host(&self) -> FunctionsHost {
        FunctionsHost::start(self.cloud.root(), &self.vars).await
    }

    async fn rows(&self, table: &str, partition: Option<&str>) -> Vec<Map<String, Value>> {
        let (url, account, key) = &self.tables;
        raw_rows((url, account, key), &format!("{}{table}", self.task_hub), partition).await
    }

    /// Runs a command on the ledger as an operator does, who has no setting of the app; its exit code and output.
    async fn command(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let which = ["--ledger", &self.tables.0, "--task-hub", &self.task_hub];
        let mut process =
            Process::spawn(SCOREKEEPER, &[arguments, &which].concat(), self.cloud.root(), &BTreeMap::new());
        let status = process.ended().await;
        (status.code(), process.stdout().join("\n") + &process.stderr())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_is_scored_once_however_often_it_is_told_of_and_operators_see_it() {
    let Some(app) = InTables::start(azurite::tables(), Duration::ZERO).await else { return };
    let (code, said) = app.command(&["list", "--json"]).await;
    assert_eq!((code, said.as_str()), (Some(0), "[]"), "there is no table yet, which is fine");
    app.cloud.upload("a.csv", "x,y\n1,2\n3,4\n");
    let host = app.host().await;
    for delivery in ["1", "2"] {
        host.invoke("BlobCreated", delivery, "event", &event("a.csv")).await.value();
    }
    tick_until_final(&host, &app.ledger).await;
    // Again after everything is over.
    host.invoke("BlobCreated", "3", "event", &cloud_event("a.csv")).await.value();
    tick_until_final(&host, &app.ledger).await;
    let all = scorings(&app.ledger).await;
    assert_eq!(all.iter().map(|s| s.status).collect::<Vec<_>>(), [Status::Scored], "{all:?}");
    assert_eq!(app.cloud.simulator.jobs().len(), 1);
    assert!(!app.cloud.root().join("no ledger here").exists());

    let id = all[0].id.to_string();
    let (code, said) = app.command(&["list", "--json"]).await;
    let rows: Vec<Value> = serde_json::from_str(&said).unwrap_or_else(|why| panic!("{why}: {said}"));
    assert!(code == Some(0) && all_scored(&rows, 1) && rows[0]["id"] == json!(id), "{said}");
    let (code, said) = app.command(&["show", "inbox/a.csv"]).await;
    assert!(code == Some(0) && said.contains(&id) && said.contains("verifying → scored"), "{said}");
    let (code, said) = app.command(&["show", "b.csv"]).await;
    assert!(code == Some(1) && said.contains("b.csv"), "{said}");
    let (code, said) = app.command(&["status"]).await;
    assert!(code == Some(0) && said.contains("scored 1") && said.contains("Nothing needs attention"), "{said}");

    host.invoke("BlobCreated", "4", "event", &json!({ "no": "event" })).await.value();
    let (code, said) = app.command(&["status"]).await;
    assert!(code == Some(1) && said.contains("quarantined 1"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_ends_in_one_adopted_job() {
    let Some(app) = InTables::start(azurite::tables(), Duration::ZERO).await else { return };
    app.cloud.upload("a.csv", "x\n1\n");
    app.cloud
        .simulator
        .set_faults(vec![Fault::new(Route::Invoke, FaultKind::lost_answer(Instead::Cut)).times(1)])
        .unwrap();
    let host = app.host().await;
    host.invoke("BlobCreated", "1", "event", &event("a.csv")).await.value();
    // On a busy machine the first invocation may have no time left to submit: a reconcile run does it then.
    tick_until_final(&host, &app.ledger).await;
    let all = scorings(&app.ledger).await;
    assert_eq!(all[0].status, Status::Scored);
    assert_eq!(app.cloud.simulator.jobs().len(), 1);
    let entries = app.ledger.entries(&all[0].id).await.unwrap();
    assert!(entries.iter().any(|entry| entry.event == Some(Event::FoundOne)), "{entries:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_a_dozen_random_moments_every_event_ends_in_one_scoring_with_one_job() {
    let Some(app) = InTables::start(azurite::tables(), ANSWER).await else { return };
    kill_at_random(&app.cloud, &app.vars, 12, || app.ledger.clone()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_account_of_an_emulator_is_named_by_its_connection_string() {
    let Some(tables) = azurite::tables_of_other_account() else { return };
    let (url, account, key) = tables.clone();
    let connection = format!(
        "DefaultEndpointsProtocol=http;AccountName={account};AccountKey={key};TableEndpoint={url};\
         QueueEndpoint=http://127.0.0.1:1/{account};"
    );
    // Beside the ledger's address, and instead of it.
    for address in [true, false] {
        let mut app = InTables::start(Some(tables.clone()), Duration::ZERO).await.unwrap();
        app.vars.insert("AzureWebJobsStorage".to_owned(), connection.clone());
        if !address {
            app.vars.remove("SCOREKEEPER_LEDGER");
        }
        app.cloud.upload("a.csv", "x\n1\n");
        let mut host = app.host().await;
        host.invoke("BlobCreated", "1", "event", &event("a.csv")).await.value();
        tick_until_final(&host, &app.ledger).await;
        assert_eq!(scorings(&app.ledger).await.iter().map(|s| s.status).collect::<Vec<_>>(), [Status::Scored]);
        let process = host.process();
        let log = process.stdout().join("\n") + &process.stderr();
        assert!(!log.contains(key), "the key is in the log");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_nobody_serves_is_told_and_exits_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = format!("http://{}/{}", crate::support::canned::Canned::nobody().await, azurite::ACCOUNT);
    for command in [&["list"][..], &["status"], &["show", "a.csv"]] {
        let arguments = [command, &["--ledger", &nobody]].concat();
        let mut process = Process::spawn(SCOREKEEPER, &arguments, folder.path(), &BTreeMap::new());
        let status = process.ended().await;
        let said = process.stderr();
        assert_eq!(status.code(), Some(2), "{command:?}: {said}");
        assert!(said.contains("check the address"), "{command:?}: {said}");
    }
}

/// The columns of a row with their types: as annotated, else as JSON has them.
fn types(row: &Map<String, Value>) -> BTreeMap<&str, &str> {
    let columns = row.iter().filter(|(name, _)| !name.contains("odata.") && *name != "Timestamp");
    columns
        .map(|(name, value)| {
            let annotated = row.get(&format!("{name}@odata.type")).and_then(Value::as_str);
            let plain = match value {
                Value::String(_) => "Edm.String",
                Value::Bool(_) => "Edm.Boolean",
                Value::Number(number) if number.is_i64() => "Edm.Int32",
                _ => "none that a reader knows",
            };
            (name.as_str(), annotated.unwrap_or(plain))
        })
        .collect()
}

/// Fails unless every column in `wanted` is there with its type.
fn assert_types(row: &Map<String, Value>, wanted: &[(&str, &str)]) {
    let found = types(row);
    for (name, edm) in wanted {
        assert_eq!(found.get(name), Some(edm), "{name} in {row:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_durable_shaped_tables_are_on_the_wire_as_their_readers_map_them() {
    const KEYS: [(&str, &str); 2] = [("PartitionKey", "Edm.String"), ("RowKey", "Edm.String")];
    let Some(app) = InTables::start(azurite::tables(), Duration::ZERO).await else { return };
    app.cloud.upload("a.csv", "x\n1\n");
    app.cloud
        .simulator
        .set_faults(vec![Fault::new(Route::Invoke, FaultKind::lost_answer(Instead::Cut)).times(1)])
        .unwrap();
    let host = app.host().await;
    host.invoke("BlobCreated", "1", "event", &event("a.csv")).await.value();
    host.invoke("Reconcile", "2", "timer", &json!({})).await.value();
    // On the way: a status that the oldest reader knows, and no completion.
    let instances = app.rows("Instances", None).await;
    assert_eq!((instances.len(), &instances[0]["RuntimeStatus"]), (1, &json!("Running")));
    assert!(!instances[0].contains_key("CompletedTime") && !instances[0].contains_key("Output"), "{instances:?}");
    tick_until_final(&host, &app.ledger).await;

    // No helper rows: readers without a filter show every row as an instance.
    let instances = app.rows("Instances", None).await;
    let [instance] = instances.as_slice() else { panic!("{instances:?}") };
    let id = instance["PartitionKey"].as_str().unwrap();
    assert!(lifecycle::ScoringId::read(id).is_some(), "{id}");
    assert_types(instance, &KEYS);
    assert_types(
        instance,
        &[
            ("ExecutionId", "Edm.String"),
            ("Name", "Edm.String"),
            ("Version", "Edm.String"),
            ("Input", "Edm.String"),
            ("Output", "Edm.String"),
            ("CustomStatus", "Edm.String"),
            ("CreatedTime", "Edm.DateTime"),
            ("LastUpdatedTime", "Edm.DateTime"),
            ("CompletedTime", "Edm.DateTime"),
            ("RuntimeStatus", "Edm.String"),
            ("Generation", "Edm.Int32"),
            ("TaskHubName", "Edm.String"),
        ],
    );
    assert_eq!(
        (&instance["RowKey"], &instance["RuntimeStatus"], &instance["Generation"], &instance["TaskHubName"]),
        (&json!(""), &json!("Completed"), &json!(0), &json!(app.task_hub))
    );
    for column in ["Input", "Output", "CustomStatus"] {
        let text = instance[column].as_str().unwrap();
        assert!(serde_json::from_str::<Map<String, Value>>(text).is_ok(), "{column}: {text}");
    }

    let mut history = app.rows("History", Some(id)).await;
    let sentinel = history.pop().unwrap();
    assert_eq!(sentinel["RowKey"], json!("sentinel"), "the last row of its partition");
    assert_types(&sentinel, &KEYS);
    assert_types(
        &sentinel,
        &[
            ("ExecutionId", "Edm.String"),
            ("IsCheckpointComplete", "Edm.Boolean"),
            ("CheckpointCompletedTimestamp", "Edm.DateTime"),
        ],
    );
    assert_eq!(sentinel["ExecutionId"], instance["ExecutionId"]);
    let mut kinds = Vec::new();
    assert!(history.is_sorted_by(|a, b| a["RowKey"].as_str() < b["RowKey"].as_str()), "in the order of time");
    for row in &history {
        assert_eq!(row["ExecutionId"], instance["ExecutionId"]);
        assert_types(row, &KEYS);
        assert_types(
            row,
            &[
                ("ExecutionId", "Edm.String"),
                ("EventType", "Edm.String"),
                ("EventId", "Edm.Int32"),
                ("IsPlayed", "Edm.Boolean"),
                ("_Timestamp", "Edm.DateTime"),
            ],
        );
        let kind = row["EventType"].as_str().unwrap();
        match kind {
            "TaskCompleted" | "TaskFailed" => assert_types(row, &[("TaskScheduledId", "Edm.Int32")]),
            "ExecutionCompleted" => assert_types(row, &[("OrchestrationStatus", "Edm.String")]),
            _ => {}
        }
        kinds.push(kind);
    }
    assert!(
        matches!(kinds.as_slice(), ["ExecutionStarted", "EventRaised", "TaskScheduled", .., "ExecutionCompleted"])
            && kinds.contains(&"TaskCompleted"),
        "{kinds:?}"
    );
    assert!(app.rows("State", None).await.iter().all(|row| !row["RowKey"].as_str().unwrap().starts_with("P~")));
}
