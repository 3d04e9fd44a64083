//! Rules that lie in a blob: a real handler process, the simulator as storage, and uploads that arrive while the rules change.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use azure::small_blob::{BlobRead, Error, SmallBlob};
use azure::tokens::Tokens;
use serde_json::{Value, json};
use simulator::{Container, Datastore, Fault, FaultKind, Handle, Route, SimulatorOptions};

use crate::support::cloud::event_about;
use crate::support::functions_host::{Answer, FunctionsHost, SCOREKEEPER, client};
use crate::support::identity::Identity;
use crate::support::process::Process;
use crate::support::storage::now;

const STATE: &str = "localstate";

/// A simulator, an app's folder, and a container with rules. All end with this value.
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
        let container = |account: &str, name: &str| Container {
            account: account.to_owned(),
            container: name.to_owned(),
            folder: folder.path().join(name),
        };
        let datastore = |name: &str, account: &str, container: &str| Datastore {
            name: name.to_owned(),
            account: account.to_owned(),
            container: container.to_owned(),
            folder: folder.path().join(container),
        };
        let options = SimulatorOptions {
            containers: vec![container("acct", "inbox"), container("acct", "more"), container(STATE, "rules")],
            datastores: vec![
                datastore("workspaceblobstore", "results", "scores"),
                datastore("beside", STATE, "rules"),
                datastore("code", STATE, "azure-webjobs-hosts"),
            ],
            ..SimulatorOptions::default()
        };
        let header = options.identity_header.clone();
        let (simulator, serving) = simulator::start(listener, options).unwrap();
        let serving = tokio::spawn(async move { serving.await.unwrap() });
        Self { simulator, folder, header, serving }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn blob() -> String {
        format!("https://{STATE}.blob.localhost/rules/rules.json")
    }

    fn file(&self) -> PathBuf {
        self.root().join("rules/rules.json")
    }

    /// Puts a text into the blob at once, as storage does.
    fn put(&self, text: &str) {
        let new = self.root().join("rules/.scorekeeper-new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.file()).unwrap();
    }

    /// ETag of the blob as it is now.
    fn etag(&self) -> String {
        simulator::file_etag(&self.file().metadata().unwrap())
    }

    /// One rule for the container `inbox`.
    fn rules(&self, id: &str) -> Value {
        let rule = json!({
            "id": id,
            "match": {"account": "acct", "container": "inbox"},
            "endpoint": {"uri": self.simulator.scoring_uri("heart"), "workspace": self.simulator.workspace_id()},
            "verifyInput": false
        });
        json!({ "rules": [rule] })
    }

    fn vars(&self) -> BTreeMap<String, String> {
        [
            ("SCOREKEEPER_LEDGER", format!("embedded:{}", self.root().join("ledger").display())),
            ("SCOREKEEPER_RULES", Self::blob()),
            ("SCOREKEEPER_RULES_ALLOW_ENDPOINTS", self.simulator.scoring_uri("heart")),
            ("SCOREKEEPER_RULES_ALLOW_ACCOUNTS", "acct".to_owned()),
            ("SCOREKEEPER_RULES_ALLOW_DATASTORES", "workspaceblobstore,beside,code".to_owned()),
            // The Functions host's own account.
            ("AzureWebJobsStorage__accountName", STATE.to_owned()),
            ("SCOREKEEPER_RULES_ALLOW_WORKSPACES", self.simulator.workspace_id()),
            // Each invocation asks: no test waits for a minute.
            ("SCOREKEEPER_RULES_INTERVAL", "PT0S".to_owned()),
            ("SCOREKEEPER_RESOURCE_MANAGER", self.simulator.origin()),
            (
                "SCOREKEEPER_STORAGE_HOSTS",
                format!(
                    "acct.blob.core.windows.net,127.0.0.1,{STATE}.blob.localhost={}/{STATE}",
                    self.simulator.origin()
                ),
            ),
            ("IDENTITY_ENDPOINT", self.simulator.identity_endpoint()),
            ("IDENTITY_HEADER", self.header.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    async fn serve(&self) -> FunctionsHost {
        FunctionsHost::start(self.root(), &self.vars()).await
    }

    /// Runs a command of the product beside the handler; returns exit code and what it said.
    async fn command(&self, arguments: &[&str]) -> (i32, String) {
        let mut process = Process::spawn(SCOREKEEPER, arguments, self.root(), &self.vars());
        let code = process.ended().await.code().unwrap();
        (code, format!("{}\n{}", process.stdout().join("\n"), process.stderr()))
    }
}

async fn upload(host: &FunctionsHost, name: &str) -> Answer {
    let url = format!("https://acct.blob.core.windows.net/inbox/{name}");
    host.invoke("BlobCreated", name, "event", &event_about(&url)).await
}

/// The rules that took an upload.
async fn rules_of(host: &FunctionsHost, name: &str) -> Vec<String> {
    let taken = upload(host, name).await.value();
    let rule = |scoring: &Value| scoring["rule"].as_str().unwrap().to_owned();
    taken["accepted"].as_array().unwrap().iter().map(rule).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_upload_is_decided_by_one_version_of_the_rules_that_its_history_names() {
    let place = Place::start().await;
    place.put(&place.rules("first").to_string());
    let host = place.serve().await;
    assert_eq!(rules_of(&host, "before.csv").await, ["first"]);
    let first = place.etag();
    // Two rules that take every upload: an upload that both versions decide would have three scorings, or one.
    let mut second = place.rules("second-a");
    second["rules"].as_array_mut().unwrap().push(place.rules("second-b")["rules"][0].clone());
    let uploads = futures::future::join_all((0..40).map(|n| {
        let (host, place, second) = (&host, &place, &second);
        async move {
            if n == 20 {
                place.put(&second.to_string());
            }
            rules_of(host, &format!("{n}.csv")).await
        }
    }));
    let mut seen = BTreeSet::new();
    for rules in uploads.await {
        assert!(rules == ["first"] || rules == ["second-a", "second-b"], "{rules:?}");
        seen.insert(rules);
    }
    assert_eq!(rules_of(&host, "after.csv").await, ["second-a", "second-b"]);
    assert!(seen.contains(&vec!["first".to_owned()]) || seen.len() == 1, "{seen:?}");
    for (name, etag) in [("before.csv", first), ("after.csv", place.etag())] {
        let (_, said) = place.command(&["show", &format!("https://acct.blob.core.windows.net/inbox/{name}")]).await;
        assert!(said.contains(&format!("wants this blob version (rules of ETag {etag})")), "{said}");
    }
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_is_told_of_until_it_is_corrected() {
    let place = Place::start().await;
    place.put(&place.rules("good").to_string());
    let mut host = place.serve().await;
    assert_eq!(rules_of(&host, "1.csv").await, ["good"]);
    let good = place.etag();
    let evil = place.rules("evil").to_string().replace("/endpoints/heart/", "/endpoints/evil/");
    for (n, (broken, told)) in
        [("{\"rules\": [".to_owned(), "not JSON"), (evil, "SCOREKEEPER_RULES_ALLOW_ENDPOINTS")].into_iter().enumerate()
    {
        place.put(&broken);
        for repeated in 0..3 {
            assert_eq!(rules_of(&host, &format!("{n}-{repeated}.csv")).await, ["good"], "{broken}");
        }
        let kept = format!("those of ETag \"{good}\" are kept");
        let logged = host.process().until_logged(|line| line.contains(told)).await;
        assert!(logged.contains("\"level\":\"ERROR\"") && logged.contains(&good), "{logged}");
        let told_so_often = |line: &&String| line.contains(told) && line.contains("ERROR");
        assert_eq!(host.process().stdout().iter().filter(told_so_often).count(), 1, "once, not with each upload");
        let (code, said) = place.command(&["status"]).await;
        assert!(code == 1 && said.contains(told) && said.contains(&kept), "{said}");
        assert!(said.contains(&format!("scorekeeper rules check {}", Place::blob())), "{said}");
        let (code, said) = place.command(&["rules", "check", &Place::blob()]).await;
        assert!(code == 1 && said.contains(told), "{said}");
        let (code, said) = place.command(&["config"]).await;
        assert!(code == 0 && said.contains(told) && said.contains(&Place::blob()), "{said}");
        let (code, said) = place.command(&["doctor", "--quiet"]).await;
        assert!(code == 1 && said.contains(told) && said.contains("fault"), "{said}");
    }
    place.put(&place.rules("corrected").to_string());
    assert_eq!(rules_of(&host, "2.csv").await, ["corrected"]);
    let (_, said) = place.command(&["status"]).await;
    assert!(!said.contains("rules check"), "{said}");
    let (code, said) = place.command(&["rules", "check", &Place::blob()]).await;
    assert!(code == 0 && said.contains("good, 1 rule"), "{said}");
    // Gone is as good as broken.
    std::fs::remove_file(place.file()).unwrap();
    assert_eq!(rules_of(&host, "3.csv").await, ["corrected"]);
    let (_, said) = place.command(&["status"]).await;
    assert!(said.contains("there is no blob"), "{said}");
}

/// Whoever writes beside the rules could write the rules, and whoever writes into the host's containers the app's code.
#[tokio::test]
async fn rules_whose_outputs_go_beside_them_or_into_the_apps_own_containers_never_hold() {
    let place = Place::start().await;
    let writing_to = |id: &str, datastore: &str| {
        let mut rules = place.rules(id);
        let uri = format!("azureml://datastores/{datastore}/paths/{{scoring.id}}/{{attempt}}");
        rules["rules"][0]["outputs"] = json!({"x": {"type": "UriFile", "uri": uri}});
        rules.to_string()
    };
    let steps = |id: &str| {
        let mut rules = place.rules(id);
        rules["rules"][0]["settings"] = json!({"DefaultDatastore": "beside"});
        rules.to_string()
    };
    let bad = [
        (
            writing_to("evil", "beside"),
            "rule evil writes to the datastore beside, which is the container localstate/rules",
        ),
        (steps("evil"), "rule evil writes to the datastore beside, which is the container localstate/rules"),
        (
            writing_to("evil", "code"),
            "the container localstate/azure-webjobs-hosts; expected another one than that of the app's code",
        ),
    ];
    // At a start, without any others.
    place.put(&bad[0].0);
    let mut host = place.serve().await;
    let refused = upload(&host, "0.csv").await;
    assert_eq!((refused.status, &refused.json()["errorType"]), (500, &json!("NoRules")));
    host.process().until_logged(|line| line.contains(bad[0].1)).await;
    place.put(&place.rules("good").to_string());
    assert_eq!(rules_of(&host, "0.csv").await, ["good"], "delivered again, it is taken");
    // Later, beside good ones.
    for (n, (text, told)) in bad.iter().enumerate() {
        place.put(text);
        assert_eq!(rules_of(&host, &format!("{n}.later.csv")).await, ["good"], "{text}");
        let (code, said) = place.command(&["status"]).await;
        assert!(code == 1 && said.contains(told) && said.contains("are kept"), "{said}");
    }
    let watching = place.rules("evil").to_string().replace("\"acct\"", "\"localstate\"");
    place.put(&watching.replace("\"inbox\"", "\"rules\""));
    assert_eq!(rules_of(&host, "watching.csv").await, ["good"]);
    let (_, said) = place.command(&["status"]).await;
    assert!(said.contains("rules[0].match.container"), "{said}");
    place.put(&place.rules("corrected").to_string());
    assert_eq!(rules_of(&host, "corrected.csv").await, ["corrected"]);
}

/// While nobody can say what container a datastore is, new rules do not hold, and those before them do.
#[tokio::test]
async fn rules_whose_datastores_cannot_be_looked_up_are_not_taken_until_they_can() {
    let place = Place::start().await;
    place.put(&place.rules("good").to_string());
    let host = place.serve().await;
    assert_eq!(rules_of(&host, "1.csv").await, ["good"]);
    place.simulator.set_faults(vec![Fault::new(Route::Arm, FaultKind::Forbidden { seconds: u32::MAX })]).unwrap();
    place.put(&place.rules("newer").to_string());
    assert_eq!(rules_of(&host, "2.csv").await, ["good"]);
    let (_, said) = place.command(&["status"]).await;
    assert!(said.contains("which containers the rules' outputs go to cannot be told"), "{said}");
    place.simulator.set_faults(Vec::new()).unwrap();
    assert_eq!(rules_of(&host, "3.csv").await, ["newer"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_in_a_blob_are_rehearsed_as_they_are_there_now() {
    let place = Place::start().await;
    for (url, told) in [
        (Place::blob(), "put rules there with `scorekeeper rules push"),
        (format!("{}?sig=SECRET", Place::blob()), "without a SAS"),
        ("https://evil.example/rules/rules.json".to_owned(), "SCOREKEEPER_STORAGE_HOSTS"),
    ] {
        let (code, said) = place.command(&["local", "--listen", "127.0.0.1:0", "--rules", &url]).await;
        assert!(code != 0 && said.contains(told) && !said.contains("SECRET"), "{said}");
    }
    place.put(&place.rules("rehearsed").to_string());
    let arguments = ["local", "--listen", "127.0.0.1:0", "--rules", &Place::blob()];
    let mut process = Process::spawn(SCOREKEEPER, &arguments, place.root(), &place.vars());
    process.until_logged(|line| line.contains("page ")).await;
    assert!(place.root().join(".scorekeeper/inbox/inbox").is_dir(), "the container of the blob's rules");
}

#[tokio::test]
async fn without_readable_rules_events_are_refused_and_the_handler_recovers_by_itself() {
    let place = Place::start().await;
    let mut host = place.serve().await;
    for function in ["BlobCreated", "Reconcile"] {
        let (binding, value) = if function == "Reconcile" { ("timer", json!({})) } else { ("event", json!({})) };
        let refused = host.invoke(function, "1", binding, &value).await;
        assert_eq!((refused.status, &refused.json()["errorType"]), (500, &json!("NoRules")), "{function}");
    }
    host.process().until_logged(|line| line.contains("there is no blob")).await;
    let (_, said) = place.command(&["status"]).await;
    assert!(said.contains("there is no blob") && said.contains("events are delivered again"), "{said}");
    place.put("{}");
    let refused = upload(&host, "a.csv").await;
    assert_eq!((refused.status, &refused.json()["errorType"]), (500, &json!("NoRules")));
    place.put(&place.rules("good").to_string());
    assert_eq!(rules_of(&host, "a.csv").await, ["good"], "delivered again, it is taken");
}

#[tokio::test]
async fn the_simulators_storage_keeps_the_conditions_of_reads_and_writes() {
    let place = Place::start().await;
    let url = format!("{}/{STATE}/rules/rules.json", place.simulator.origin());
    let identity =
        format!("{}?resource=https://storage.azure.com&api-version=2019-08-01", place.simulator.identity_endpoint());
    let token: Value =
        client().get(identity).header("X-IDENTITY-HEADER", &place.header).send().await.unwrap().json().await.unwrap();
    let bearer = format!("Bearer {}", token["access_token"].as_str().unwrap());
    let put = |text: &'static str, condition: (&'static str, String)| {
        let request = client().put(&url).header("authorization", &bearer).header("x-ms-blob-type", "BlockBlob");
        async move { request.header(condition.0, condition.1).body(text).send().await.unwrap() }
    };
    let absent = || ("if-none-match", "*".to_owned());
    let written = put("one", absent()).await;
    assert_eq!(written.status(), 201);
    let etag = written.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(put("two", absent()).await.status(), 409);
    assert_eq!(put("two", ("if-match", "\"other\"".to_owned())).await.status(), 412);
    let get = |condition: Option<&str>| {
        let mut request = client().get(&url).header("authorization", &bearer);
        if let Some(etag) = condition {
            request = request.header("if-none-match", etag);
        }
        async move { request.send().await.unwrap() }
    };
    assert_eq!(get(Some(&etag)).await.status(), 304);
    let (one, two) = futures::join!(put("two", ("if-match", etag.clone())), put("three", ("if-match", etag.clone())));
    let both = BTreeSet::from([one.status().as_u16(), two.status().as_u16()]);
    assert_eq!(both, BTreeSet::from([201, 412]), "one of two writers on one condition is refused");
    let changed = get(Some(&etag)).await;
    assert_eq!(changed.status(), 200);
    assert!(["two", "three"].contains(&changed.text().await.unwrap().as_str()));
}

#[tokio::test]
async fn rules_are_pushed_after_a_check_and_never_over_somebody_elses_change() {
    let place = Place::start().await;
    let file = place.root().join("new.json");
    let push = async |text: &str, more: &[&str]| {
        std::fs::write(&file, text).unwrap();
        place.command(&[&["rules", "push", file.to_str().unwrap()], more].concat()).await
    };
    let one = place.rules("one").to_string();
    let (code, said) = push(&one, &["--dry-run"]).await;
    assert!(code == 0 && said.contains("new     rule one") && said.contains("Nothing was written"), "{said}");
    assert!(!place.file().exists());
    let (code, said) = push(&one, &[]).await;
    assert!(code == 0 && said.contains("was written"), "{said}");
    assert_eq!(std::fs::read_to_string(place.file()).unwrap(), one);
    let (code, said) = push(&one, &["--to", &Place::blob()]).await;
    assert!(code == 0 && said.contains("has these rules already"), "{said}");
    // What the app would refuse is not written.
    let evil = one.replace("/endpoints/heart/", "/endpoints/evil/");
    let (code, said) = push(&evil, &[]).await;
    assert!(code == 1 && said.contains("SCOREKEEPER_RULES_ALLOW_ENDPOINTS"), "{said}");
    // Nor what would let outputs be written beside the rules.
    let mut beside = place.rules("one");
    beside["rules"][0]["outputs"] =
        json!({"x": {"type": "UriFile", "uri": "azureml://datastores/beside/paths/{scoring.id}/{attempt}"}});
    let (code, said) = push(&beside.to_string(), &[]).await;
    assert!(code == 1 && said.contains("datastore beside is the container of the rules"), "{said}");
    assert_eq!(std::fs::read_to_string(place.file()).unwrap(), one);
    // A container that nobody watched yet, whose events no filter of today may let through.
    let mut two = place.rules("one");
    let mut more = place.rules("two")["rules"][0].clone();
    more["match"]["container"] = json!("more");
    two["rules"].as_array_mut().unwrap().push(more);
    let (code, said) = push(&two.to_string(), &[]).await;
    assert!(code == 0 && said.contains("new     rule two") && said.contains("acct/more"), "{said}");
    assert_eq!(std::fs::read_to_string(place.file()).unwrap(), two.to_string());
    let (code, said) = push(&one, &["--to", "https://localstate.blob.localhost/none/rules.json"]).await;
    assert!(code == 1 && said.contains("there is no container"), "{said}");
    let (code, said) = push(&one, &["--to", "https://evil.example/rules/rules.json"]).await;
    assert!(code != 0 && said.contains("SCOREKEEPER_STORAGE_HOSTS"), "no token goes there: {said}");
    let (code, said) = push(&one, &["--to", &format!("{}?sig=SECRET", Place::blob())]).await;
    assert!(code == 64 && said.contains("without a SAS") && !said.contains("SECRET"), "{said}");
}

/// Between the look and the write somebody else writes.
#[tokio::test]
async fn a_push_that_was_overtaken_writes_nothing() {
    let place = Place::start().await;
    place.put("theirs");
    let hosts = lifecycle::StorageHosts::default()
        .and("localstate.blob.localhost", Some(format!("{}/{STATE}", place.simulator.origin()).parse().unwrap()));
    let identity = Identity::new(place.simulator.identity_endpoint(), &place.header, simulator::Clock::wall());
    let tokens = Tokens::new(Arc::new(identity), Arc::new(now));
    let blob = SmallBlob::new(&Place::blob().parse().unwrap(), &hosts, tokens, 1 << 20).unwrap();
    let BlobRead::Version { etag, .. } = blob.read(None).await.unwrap() else { panic!("it is there") };
    place.put("theirs again");
    let overtaken = blob.write(b"ours", Some(&etag)).await;
    assert!(matches!(overtaken, Err(Error::Changed(_))), "{overtaken:?}");
    assert!(matches!(blob.write(b"ours", None).await, Err(Error::Changed(_))));
    assert_eq!(std::fs::read_to_string(place.file()).unwrap(), "theirs again");
    place.put(&"x".repeat((1 << 20) + 1));
    assert!(blob.read(None).await.is_err(), "of a larger one nothing is taken");
}
