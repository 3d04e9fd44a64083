//! Sweeps, dead letters, backfills and coverage as people and the Functions host meet them: a real handler process and real commands,
//! with the simulator as storage.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Map, Value, json};
use simulator::{Container, Datastore, Handle, SimulatorOptions};

use crate::support::cloud::event_about;
use crate::support::functions_host::{FunctionsHost, SCOREKEEPER};
use crate::support::process::Process;

const STATE: &str = "localstate";

/// A simulator with a watched container and one of dead letters. All end with this value.
struct Place {
    simulator: Handle,
    folder: tempfile::TempDir,
    header: String,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Place {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).unwrap();
            path
        };
        let container = |account: &str, name: &str| Container {
            account: account.to_owned(),
            container: name.to_owned(),
            folder: at(name),
        };
        let containers = vec![container("acct", "inbox"), container(STATE, "dead-letters")];
        let datastores = vec![Datastore {
            name: "workspaceblobstore".to_owned(),
            account: "results".to_owned(),
            container: "scores".to_owned(),
            folder: at("scores"),
        }];
        let options = SimulatorOptions { containers, datastores, ..SimulatorOptions::default() };
        let header = options.identity_header.clone();
        let (simulator, serving) = simulator::start(listener, options).unwrap();
        let serving = tokio::spawn(async move { serving.await.unwrap() });
        Self { simulator, folder, header, serving }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn dead_letter(&self, name: &str) -> PathBuf {
        self.root().join("dead-letters").join(name)
    }

    /// A file that stands for a blob, written two days ago.
    fn upload(&self, name: &str) -> String {
        let path = self.root().join("inbox").join(name);
        std::fs::write(&path, name).unwrap();
        let ago = std::time::Duration::from_secs(2 * 86_400);
        #[expect(clippy::disallowed_methods, reason = "files have the times of this machine")]
        let at = SystemTime::now() - ago;
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
        format!("https://acct.blob.localhost/inbox/{name}")
    }

    fn vars(&self) -> BTreeMap<String, String> {
        let rule = json!({
            "id": "claims",
            "match": {"account": "acct", "container": "inbox"},
            "endpoint": {"uri": self.simulator.scoring_uri("heart"), "workspace": self.simulator.workspace_id()},
            "verifyInput": false
        });
        let origin = self.simulator.origin();
        [
            ("SCOREKEEPER_LEDGER", format!("embedded:{}", self.root().join("ledger").display())),
            ("SCOREKEEPER_RULES", json!({ "rules": [rule] }).to_string()),
            ("SCOREKEEPER_DEAD_LETTERS", format!("https://{STATE}.blob.localhost/dead-letters")),
            ("SCOREKEEPER_RESOURCE_MANAGER", origin.clone()),
            (
                "SCOREKEEPER_STORAGE_HOSTS",
                format!("127.0.0.1,acct.blob.localhost={origin}/acct,{STATE}.blob.localhost={origin}/{STATE}"),
            ),
            ("IDENTITY_ENDPOINT", self.simulator.identity_endpoint()),
            ("IDENTITY_HEADER", self.header.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Runs a command of the product; returns exit code and what it said.
    async fn command(&self, arguments: &[&str]) -> (i32, String) {
        let mut process = Process::spawn(SCOREKEEPER, arguments, self.root(), &self.vars());
        let code = process.ended().await.code().unwrap();
        (code, format!("{}\n{}", process.stdout().join("\n"), process.stderr()))
    }
}

async fn sweep(host: &FunctionsHost, id: &str) -> Value {
    host.invoke("Sweep", id, "timer", &Value::Object(Map::new())).await.value()
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_taken_in_by_the_function_and_by_the_command_and_lie_aside_then() {
    let place = Place::start().await;
    let host = FunctionsHost::start(place.root(), &place.vars()).await;
    std::fs::create_dir_all(place.dead_letter("BLOBS/2026")).unwrap();
    let dead = |url: &str| {
        let mut event = event_about(url);
        event["deadLetterReason"] = json!("MaxDeliveryAttemptsExceeded");
        event
    };
    let good = json!([dead(&place.upload("a.csv")), dead(&place.upload("b.csv"))]).to_string();
    std::fs::write(place.dead_letter("BLOBS/2026/1.json"), &good).unwrap();
    let run = sweep(&host, "first").await;
    let report = &run["deadLetters"];
    assert_eq!((&report["moved"], &report["takenIn"], &report["left"]), (&json!(1), &json!(2), &json!(0)), "{run}");
    assert!(!place.dead_letter("BLOBS/2026/1.json").exists());
    assert_eq!(std::fs::read_to_string(place.dead_letter("~taken-in/BLOBS/2026/1.json")).unwrap(), good);
    // One that cannot be read, by the command.
    let bad = json!([dead(&place.upload("c.csv")), {"nothing": 1}]).to_string();
    std::fs::write(place.dead_letter("BLOBS/2026/2.json"), &bad).unwrap();
    let (code, said) = place.command(&["dead-letters"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("1 dead letters are in the ledger and moved aside: 1 events taken in"), "{said}");
    assert!(said.contains("1 quarantined"), "{said}");
    assert_eq!(std::fs::read_to_string(place.dead_letter("~unreadable/BLOBS/2026/2.json")).unwrap(), bad);
    let (_, list) = place.command(&["list", "--quarantined"]).await;
    assert!(list.contains("dead letter BLOBS/2026/2.json"), "{list}");
    // There are no more.
    let (code, said) = place.command(&["dead-letters", "--json"]).await;
    assert_eq!(code, 0, "{said}");
    let (_, shown) = place.command(&["list", "--json"]).await;
    assert_eq!(shown.matches("\"rule\"").count(), 3, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_is_planned_backfilled_swept_and_covered() {
    let place = Place::start().await;
    for n in 0..5 {
        place.upload(&format!("{n}.csv"));
    }
    let host = FunctionsHost::start(place.root(), &place.vars()).await;
    let run = sweep(&host, "first").await;
    assert_eq!((&run["listed"], &run["found"], &run["ended"]), (&json!(5), &json!(0), &json!(1)), "{run}");
    let (code, said) = place.command(&["backfill", "--rule", "claims", "--plan"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("5 would be taken in: 5 jobs") && said.contains("Nothing was written."), "{said}");
    let (_, list) = place.command(&["list"]).await;
    assert!(!list.contains(".csv"), "{list}");
    let (code, said) = place.command(&["backfill", "--rule", "claims", "--reason", "they were here"]).await;
    assert!(code == 0 && said.contains("5 listed, 5 taken in, 0 known"), "{said}");
    let (code, said) = place.command(&["backfill", "--rule", "claims"]).await;
    assert!(code == 0 && said.contains("5 listed, 0 taken in, 5 known"), "{said}");
    let (code, said) = place.command(&["backfill", "--rule", "claims", "--pause"]).await;
    assert!(code == 1 && said.contains("no backfill of it is under way"), "{said}");
    for (wrong, told) in [
        (&["backfill", "--rule", "other"][..], "there is no rule `other`"),
        (&["backfill", "--rule", "claims", "--share", "0%"], "from 1% to 100%"),
        (&["backfill", "--rule", "claims", "--generation", "2"], "--reason"),
    ] {
        let (code, said) = place.command(wrong).await;
        assert!(code != 0 && said.contains(told), "{said}");
    }
    // The order of a person is carried out by the next run.
    let (code, said) = place.command(&["sweep", "--rule", "claims"]).await;
    assert!(code == 0 && said.contains("is swept by the next run"), "{said}");
    let (code, said) = place.command(&["sweep", "--rule", "other"]).await;
    assert!(code == 1 && said.contains("No place of rule other"), "{said}");
    let run = sweep(&host, "second").await;
    assert_eq!((&run["listed"], &run["ended"], &run["unaccounted"]), (&json!(5), &json!(1), &json!(0)), "{run}");
    let (code, said) = place.command(&["coverage"]).await;
    assert!(code == 0 && said.contains("0 unaccounted"), "{said}");
    let (code, manifests) = place.command(&["coverage", "--manifest", "all"]).await;
    assert_eq!(code, 0, "{manifests}");
    let file = place.root().join("manifests.jsonl");
    std::fs::write(&file, format!("{}\n", manifests.trim())).unwrap();
    let (code, said) = place.command(&["coverage", "--check", "manifests.jsonl"]).await;
    assert!(code == 0 && said.contains("1 days") && said.contains("all of it holds"), "{said}");
    std::fs::write(&file, manifests.trim().replace("\"lines\":0", "\"lines\":1")).unwrap();
    let (code, said) = place.command(&["coverage", "--check", "manifests.jsonl"]).await;
    assert!(code == 1 && said.contains("its lines are not those that its digest is of"), "{said}");
    let (code, said) = place.command(&["coverage", "--check", "nothing.jsonl"]).await;
    assert!(code == 1 && said.contains("nothing.jsonl"), "{said}");
}

#[tokio::test]
async fn a_rule_that_nobody_sweeps_is_warned_of() {
    let place = Place::start().await;
    let mut vars = place.vars();
    let rules = vars["SCOREKEEPER_RULES"].replace("\"account\":\"acct\",", "");
    vars.insert("SCOREKEEPER_RULES".to_owned(), rules);
    let mut process = Process::spawn(SCOREKEEPER, &["config"], place.root(), &vars);
    process.ended().await;
    let said = process.stdout().join("\n");
    assert!(said.contains("rule `claims` is not swept") && said.contains("SCOREKEEPER_WATCHED_ACCOUNTS"), "{said}");
    let host = FunctionsHost::start(place.root(), &vars).await;
    assert_eq!(sweep(&host, "first").await["notSwept"], json!(1));
    let mut process = Process::spawn(SCOREKEEPER, &["status"], place.root(), &vars);
    process.ended().await;
    let said = process.stdout().join("\n");
    assert!(said.contains("rule claims is not swept") && said.contains("is not found, since 2"), "{said}");
}
