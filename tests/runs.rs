//! `scorekeeper run` as a person runs it from an empty folder: what it prints, what it leaves, and its exit code for each outcome.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use simulator::Timing;

use crate::support::cloud::{Cloud, with_rule};
use crate::support::functions_host::{FunctionsHost, SCOREKEEPER};

/// Settings of a person's machine: where the cloud is, and no ledger or rules.
fn of_a_person(cloud: &Cloud) -> BTreeMap<String, String> {
    let mut vars = cloud.vars("unused");
    for name in ["SCOREKEEPER_LEDGER", "SCOREKEEPER_RULES"] {
        vars.remove(name);
    }
    vars.insert("SCOREKEEPER_STORAGE_HOSTS".to_owned(), cloud.simulator.storage_hosts());
    vars
}

struct Ran {
    code: i32,
    out: String,
    errors: String,
}

async fn ran(folder: &Path, vars: &BTreeMap<String, String>, args: &[&str]) -> Ran {
    let mut process = tokio::process::Command::new(SCOREKEEPER);
    let output = process.arg("run").args(args).current_dir(folder).env_clear().envs(vars).output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(output.stdout), errors: text(output.stderr) }
}

const BLOB: &str = "https://acct.blob.core.windows.net/inbox/a.csv";

/// What differs from run to run, by what it is.
fn without_names(told: &str) -> String {
    let mut lines = Vec::new();
    for line in told.lines() {
        let words = line.split(' ').map(|word| {
            let is_id = |part: &str| part.len() == 32 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            match word {
                word if word.contains("://") => {
                    word.split('/').map(|part| if is_id(part) { "ID" } else { part }).collect::<Vec<_>>().join("/")
                }
                word if word.contains('-') && word.split('-').count() > 2 => "JOB".to_owned(),
                word => word.to_owned(),
            }
        });
        lines.push(words.collect::<Vec<_>>().join(" "));
    }
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_uploaded_scored_at_a_named_endpoint_and_downloaded_from_an_empty_folder() {
    let cloud = Cloud::with_writable_inbox().await;
    let vars = of_a_person(&cloud);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine.csv"), "x,y\n1,2\n").unwrap();
    let (uri, workspace) = (cloud.simulator.scoring_uri("heart"), cloud.simulator.workspace_id());
    let at = ["--endpoint", &uri, "--workspace", &workspace, BLOB];
    let run = async |more: &[&str]| ran(folder.path(), &vars, &[&at[..], more].concat()).await;

    let dry = run(&["--dry-run", "--deployment", "v7", "--settings", r#"{"miniBatchSize": 5}"#]).await;
    assert_eq!(dry.code, 0, "{}", dry.errors);
    assert!(dry.out.starts_with(&format!("POST {uri}\nazureml-model-deployment: v7\n\n{{")), "{}", dry.out);
    let body: Value = serde_json::from_str(dry.out.split_once("\n\n").unwrap().1).unwrap();
    assert_eq!(body["properties"]["InputData"]["input_data"]["Uri"], BLOB);
    assert_eq!((&body["properties"]["miniBatchSize"], cloud.simulator.jobs().len()), (&json!(5), 0));

    let done = run(&["--upload", "mine.csv", "--download", "out"]).await;
    assert_eq!(done.code, 0, "{}{}", done.out, done.errors);
    let expected = "https://acct.blob.core.windows.net/inbox/a.csv  uploaded, 8 bytes\n\
        inbox/a.csv  submitting\n\
        inbox/a.csv  running  job JOB\n\
        inbox/a.csv  scored  azureml://datastores/workspaceblobstore/paths/scorekeeper/run/ID/1/predictions.csv\n\
        out/predictions.csv  ";
    let told = without_names(&done.out);
    assert!(told.starts_with(expected), "{told}");
    let predictions = std::fs::read_to_string(folder.path().join("out/predictions.csv")).unwrap();
    assert!(predictions.starts_with("row,") || !predictions.is_empty(), "{predictions}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "nothing else is left: {left:?}");
    assert_eq!(cloud.simulator.jobs().len(), 1);

    // What is there is not overwritten unasked.
    let again = run(&["--upload", "mine.csv", "--wait"]).await;
    assert!(again.code == 1 && again.errors.contains("--force overwrites it"), "{}", again.errors);
    let again = run(&["--upload", "mine.csv", "--force", "--download", "out"]).await;
    assert_eq!(again.code, 0, "{}{}", again.out, again.errors);
    // And without --wait it ends when the job runs.
    let left = run(&[]).await;
    assert!(left.code == 0 && left.out.contains("Nobody looks after these jobs"), "{}{}", left.out, left.errors);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_end_well_is_told_with_an_exit_code_of_its_own() {
    let cloud = Cloud::with_timing(Timing { running: Duration::from_secs(600), ..Timing::default() }).await;
    let vars = of_a_person(&cloud);
    let folder = tempfile::tempdir().unwrap();
    cloud.upload("a.csv", "x\n1\n");
    let (uri, workspace) = (cloud.simulator.scoring_uri("heart"), cloud.simulator.workspace_id());
    let at = ["--endpoint", uri.as_str(), "--workspace", workspace.as_str()];
    let run = async |more: &[&str]| ran(folder.path(), &vars, &[&at[..], more].concat()).await;
    let slow = run(&[BLOB, "--wait", "--timeout", "2s"]).await;
    assert!(slow.code == 6 && slow.out.contains("did not come to its end in time"), "{}{}", slow.out, slow.errors);
    let none = run(&["https://acct.blob.core.windows.net/inbox/none.csv", "--wait"]).await;
    assert!(none.code == 1 && none.out.contains("refused: there is no blob"), "{}{}", none.out, none.errors);
    // Literals are not for a model: the endpoint refuses it.
    let bad = run(&[BLOB, "--wait", "--input", "n=3", "--input", "input_data={blob.url}"]).await;
    assert!(bad.code == 1 && bad.out.contains("inbox/a.csv  failed  400 UserError"), "{}{}", bad.out, bad.errors);
    let foreign = ran(folder.path(), &vars, &["--endpoint", "https://evil.example/jobs", BLOB]).await;
    assert!(foreign.code != 0 && foreign.errors.contains("evil.example"), "{}", foreign.errors);
    for usage in [
        vec!["--endpoint", "nonsense", BLOB],
        vec!["--endpoint", &uri, "no-url"],
        vec!["--endpoint", &uri, BLOB, "--settings", "[]"],
        vec!["--endpoint", &uri, BLOB, "--output", "score=azureml://datastores/d/paths/fixed.csv"],
        vec!["--endpoint", &uri, "--rule", "claims", BLOB],
        vec![BLOB],
    ] {
        let wrong = ran(folder.path(), &vars, &usage).await;
        assert_eq!(wrong.code, 64, "{usage:?}: {}{}", wrong.out, wrong.errors);
    }
    assert_eq!(cloud.simulator.jobs().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_rule_the_app_scores_what_a_person_orders_and_the_order_stands_in_the_history() {
    let cloud = Cloud::start().await;
    let mut vars = cloud.vars("ledger");
    vars.insert("SCOREKEEPER_STORAGE_HOSTS".to_owned(), cloud.simulator.storage_hosts());
    let members = [
        ("match", json!({"account": "acct", "container": "inbox", "suffix": ".csv"})),
        ("pollInterval", json!("PT0.05S")),
        ("outputTimeout", json!("PT5S")),
    ];
    let vars = with_rule(vars, &members);
    let folder = tempfile::tempdir().unwrap();
    let host = FunctionsHost::start(cloud.root(), &vars).await;
    cloud.upload("a.csv", "x\n1\n");
    cloud.upload("a.txt", "x\n1\n");
    // The ledger is made by the first run.
    host.invoke("Reconcile", "tick", "timer", &json!({})).await.value();
    let (mut ends, out) = (Vec::new(), folder.path().join("out"));
    let (out, txt) = (out.to_str().unwrap(), "https://acct.blob.core.windows.net/inbox/a.txt");
    for args in [
        vec!["--rule", "claims", BLOB, "--download", out],
        vec!["--rule", "claims", BLOB, "--wait"],
        vec!["--rule", "claims", BLOB, "--wait", "--again"],
        vec!["--rule", "claims", txt, "--wait"],
        vec!["--rule", "none", BLOB, "--wait"],
    ] {
        let running = ran(folder.path(), &vars, &args);
        tokio::pin!(running);
        let nothing = json!({});
        let ended = loop {
            tokio::select! {
                ended = &mut running => break ended,
                ticked = host.invoke("Reconcile", "tick", "timer", &nothing) => { ticked.value(); }
            }
        };
        ends.push((ended.code, ended.out.clone() + &ended.errors));
    }
    let codes: Vec<i32> = ends.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [0, 0, 0, 1, 1], "{ends:?}");
    assert!(
        ends[0].1.contains("ordered: the next reconcile run starts it") && ends[0].1.contains("  scored  "),
        "{ends:?}"
    );
    assert!(folder.path().join("out/predictions.csv").exists());
    assert!(ends[3].1.contains("refused: started by ") && ends[3].1.contains("does not accept"), "{ends:?}");
    assert!(ends[4].1.contains("there is no rule `none`"), "{ends:?}");
    assert_eq!(cloud.simulator.jobs().len(), 2, "the second order has joined, the third is a generation of its own");
    let dry = ran(folder.path(), &vars, &["--rule", "claims", BLOB, "--dry-run"]).await;
    assert!(dry.code == 0 && dry.out.starts_with("POST "), "{}{}", dry.out, dry.errors);
}
