//! The commonest ways in which jobs fail, made to happen at the simulated endpoint: what people are told of each, through the real
//! binary and its commands.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simulator::{Fault, FaultKind, JobFailure, Route};

use crate::support::cloud::{Cloud, event};
use crate::support::functions_host::{FunctionsHost, SCOREKEEPER};
use crate::support::process::Process;

/// Each with its cause, a part of the error that is told, and one of the remedy.
const EXPECTED: [(JobFailure, &str, &str, &str); 12] = [
    (JobFailure::InputMissing, "input", "NotFoundException", "leave uploads in their place"),
    (
        JobFailure::InputDenied,
        "access",
        "batchscoring: UserError: Dataset initialization failed",
        "Storage Blob Data Reader",
    ),
    (JobFailure::DatastoreDenied, "access", "Datastore has no credentials", "Storage Account Contributor"),
    (JobFailure::OutputExists, "platform", "path already exists", "a path of its own"),
    (
        JobFailure::PackageMissing,
        "userCode",
        "batchscoring: ModuleNotFoundError: No module named 'lightgbm' (logs/user/error.txt)",
        "add the package to the deployment's environment",
    ),
    (
        JobFailure::ScriptError,
        "userCode",
        "batchscoring: ValueError: columns are missing: ['age'] (logs/user/error.txt)",
        "run the scoring script on this file",
    ),
    (JobFailure::NothingScored, "userCode", "no succeeded mini batch item", "returns a row for each file"),
    (JobFailure::TooSlow, "platform", "No progress update in 1800 seconds", "settings.retrySettings.timeout"),
    (JobFailure::OutOfMemory, "platform", "batchscoring: MemoryError (user_logs/std_log_0.txt)", "larger nodes"),
    (JobFailure::ImageBuild, "platform", "Image build failed", "repair the deployment's environment"),
    (JobFailure::Quota, "platform", "JobNodeCountExceedsCoreQuota", "more vCPU quota"),
    (JobFailure::Preempted, "platform", "PreemptionError", "dedicated nodes"),
];

fn path(failure: JobFailure) -> String {
    format!("{}.csv", json!(failure).as_str().unwrap())
}

/// What a command says of the ledger.
async fn told(arguments: &[&str], root: &Path, vars: &BTreeMap<String, String>) -> String {
    let mut process = Process::spawn(SCOREKEEPER, arguments, root, vars);
    process.ended().await;
    process.stdout().join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_the_commonest_job_failures_is_told_with_its_error_cause_and_remedy() {
    assert_eq!(EXPECTED.map(|(failure, ..)| failure), JobFailure::ALL);
    let cloud = Cloud::start().await;
    let fails = |by| Fault::new(Route::Invoke, FaultKind::Failed { by }).matching(path(by));
    cloud.simulator.set_faults(JobFailure::ALL.map(fails).to_vec()).unwrap();
    let mut vars = cloud.vars("ledger");
    let hosts = format!("acct.blob.core.windows.net,127.0.0.1,{}", cloud.simulator.storage_hosts());
    vars.insert("SCOREKEEPER_STORAGE_HOSTS".to_owned(), hosts);
    let mut rules: Value = serde_json::from_str(&vars["SCOREKEEPER_RULES"]).unwrap();
    let rule = &mut rules["rules"][0];
    (rule["maxAttempts"], rule["maxInFlight"]) = (json!(1), json!(100));
    rule["pollInterval"] = json!("PT0.05S");
    vars.insert("SCOREKEEPER_RULES".to_owned(), rules.to_string());
    let mut host = FunctionsHost::start(cloud.root(), &vars).await;
    for (failure, ..) in EXPECTED {
        cloud.upload(&path(failure), "a\n1\n");
        host.invoke("BlobCreated", &path(failure), "event", &event(&path(failure))).await.value();
    }
    let end = Instant::now() + Duration::from_secs(120);
    let listed = loop {
        host.invoke("Reconcile", "tick", "timer", &json!({})).await.value();
        let text = told(&["list", "--status", "failed", "--json"], cloud.root(), &vars).await;
        let listed: Vec<Value> = serde_json::from_str(&text).unwrap();
        if listed.len() == EXPECTED.len() {
            break listed;
        }
        assert!(Instant::now() < end, "{listed:?}");
    };
    let attention = told(&["status"], cloud.root(), &vars).await;
    let log = host.process().stdout().join("\n");
    assert!(!log.contains("sig=") && !log.contains("sp=r"), "the signature of a log file's URL is a secret: {log}");
    let mut findings = 0;
    for (failure, cause, error, remedy) in EXPECTED {
        let path = path(failure);
        let name = format!("inbox/{path}");
        let entry = listed.iter().find(|entry| entry["path"] == name.as_str()).unwrap();
        assert!(entry["error"].as_str().unwrap().contains(error), "{entry}");
        assert_eq!(entry["failureCause"], cause, "{entry}");
        assert!(entry["remedy"].as_str().is_some_and(|told| told.contains(remedy)), "{entry}");
        let shown = told(&["show", &name], cloud.root(), &vars).await;
        let row = |name: &str, value: &str| {
            shown
                .lines()
                .any(|line| line.strip_prefix("  ").is_some_and(|line| line.starts_with(name)) && line.contains(value))
        };
        assert!(row("error ", error) && row("cause ", cause) && row("remedy ", remedy), "{shown}");
        let explained = told(&["explain", &name], cloud.root(), &vars).await;
        for told in [&explained, &log] {
            let lines = told.lines().filter(|line| line.contains(error));
            assert!(lines.clone().any(|line| line.contains(cause) && line.contains(remedy)), "{path}: {told}");
        }
        let mut lines = attention.lines().filter(|line| line.contains("failed under rule claims"));
        findings += usize::from(lines.any(|line| line.contains(&format!("({cause}: ")) && line.contains(remedy)));
    }
    assert_eq!(findings, 10, "as many of a kind as are shown: {attention}");
}
