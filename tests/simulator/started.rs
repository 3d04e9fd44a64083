//! `scorekeeper simulator` and `scorekeeper local --faults`, as processes.

use std::collections::BTreeMap;
use std::path::Path;

use reqwest::StatusCode;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::body;
use crate::support::functions_host::SCOREKEEPER;
use crate::support::process::Process;

fn run(folder: &Path, arguments: &[&str]) -> Process {
    Process::spawn(SCOREKEEPER, arguments, folder, &BTreeMap::new())
}

/// A simulator on a free port, with what it says of itself.
async fn simulator(folder: &Path, more: &[&str]) -> (Process, Value) {
    let mut process = run(folder, &[&["simulator", "--listen", "127.0.0.1:0", "--data", "d", "--json"], more].concat());
    let line = process.until_logged(|line| line.starts_with('{')).await;
    (process, serde_json::from_str(&line).unwrap())
}

fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(std::time::Duration::from_secs(20)).build().unwrap()
}

/// Goes the way that the settings say, as a handler does.
async fn post(settings: &Value) -> reqwest::Result<StatusCode> {
    let at = |name: &str| settings[name].as_str().unwrap();
    let query = [("api-version", "2019-08-01"), ("resource", "https://ml.azure.com")];
    let url = reqwest::Url::parse_with_params(at("IDENTITY_ENDPOINT"), query).unwrap();
    let asked = http().get(url).header("X-IDENTITY-HEADER", at("IDENTITY_HEADER")).send().await?;
    let token: Value = asked.error_for_status()?.json().await?;
    let token = token["access_token"].as_str().unwrap();
    Ok(http().post(at("scoringUri")).bearer_auth(token).json(&body("x.csv", "x")).send().await?.status())
}

async fn jobs(settings: &Value) -> usize {
    let jobs: Value = http().get(settings["admin"].as_str().unwrap()).send().await.unwrap().json().await.unwrap();
    jobs["jobs"].as_array().unwrap().len()
}

#[tokio::test]
async fn the_simulator_takes_its_fault_plan_from_a_flag_or_file_and_keeps_its_jobs() {
    let folder = TempDir::new().unwrap();
    let throttle =
        json!({ "faults": [{ "route": "invoke", "fault": { "throttled": { "retryAfter": 3 } }, "times": 1 }] });
    let header = ["--identity-header", "s3cret"];
    let (mut process, settings) =
        simulator(folder.path(), &[&["--faults", &throttle.to_string()], &header[..]].concat()).await;
    assert_eq!(settings["IDENTITY_HEADER"], "s3cret");
    assert_eq!(post(&settings).await.unwrap(), StatusCode::TOO_MANY_REQUESTS);
    // Its datastore is not the one of the request, which only the job finds out.
    assert_eq!(post(&settings).await.unwrap(), StatusCode::CREATED);
    process.handle().signal(Signal::KILL);
    process.ended().await;

    let cut = json!({ "faults": [{ "route": "invoke", "fault": { "lostAnswer": {} } }] });
    std::fs::write(folder.path().join("plan.json"), cut.to_string()).unwrap();
    let (_process, settings) = simulator(folder.path(), &["--faults", "plan.json"]).await;
    assert_ne!(settings["IDENTITY_HEADER"], "s3cret", "a new one at each start");
    assert_eq!(jobs(&settings).await, 1, "what was made before it was killed");
    assert!(post(&settings).await.unwrap_err().is_request());
    assert_eq!(jobs(&settings).await, 2);
}

#[tokio::test]
async fn the_seed_says_which_requests_a_probability_hits() {
    let folder = TempDir::new().unwrap();
    let half =
        json!({ "faults": [{ "route": "invoke", "fault": { "throttled": {} }, "probability": 0.5 }] }).to_string();
    let mut all = Vec::new();
    for seed in ["7", "7", "8"] {
        let (_process, settings) = simulator(folder.path(), &["--faults", &half, "--seed", seed]).await;
        let mut hit = Vec::new();
        for _ in 0..32 {
            hit.push(post(&settings).await.unwrap() == StatusCode::TOO_MANY_REQUESTS);
        }
        all.push(hit);
    }
    assert_eq!(all[0], all[1]);
    assert_ne!(all[0], all[2]);
}

#[tokio::test]
async fn the_budget_of_resource_manager_can_be_set() {
    let folder = TempDir::new().unwrap();
    let (_process, settings) = simulator(folder.path(), &["--reads-per-hour", "2"]).await;
    let at = |name: &str| settings[name].as_str().unwrap();
    let query = [("api-version", "2019-08-01"), ("resource", "https://management.azure.com")];
    let url = reqwest::Url::parse_with_params(at("IDENTITY_ENDPOINT"), query).unwrap();
    let asked = http().get(url).header("X-IDENTITY-HEADER", at("IDENTITY_HEADER")).send().await.unwrap();
    let token = asked.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned();
    let list = format!("{}{}/jobs?api-version=2025-12-01", at("SCOREKEEPER_RESOURCE_MANAGER"), at("workspace"));
    for status in [StatusCode::OK, StatusCode::OK, StatusCode::TOO_MANY_REQUESTS] {
        assert_eq!(http().get(&list).bearer_auth(&token).send().await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn the_simulator_tells_people_where_it_is_and_keeps_the_identity_header_to_itself() {
    let folder = TempDir::new().unwrap();
    let arguments = ["simulator", "--listen", "127.0.0.1:0", "--identity-header", "s3cret"];
    let mut process = run(folder.path(), &arguments);
    process.until_logged(|line| line.contains("scoringUri")).await;
    let said = process.stdout().join("\n");
    assert!(said.starts_with("A simulated batch endpoint; its predictions are worthless."), "{said}");
    assert!(said.contains("SCOREKEEPER_RESOURCE_MANAGER  http://127.0.0.1:"), "{said}");
    assert!(!said.contains("s3cret") && said.contains("--json shows it"), "{said}");
    assert!(folder.path().join(".scorekeeper-simulator/inbox").is_dir());
}

#[tokio::test]
async fn a_fault_plan_that_makes_no_sense_ends_the_command_before_it_listens() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("bad.json"), "{\"faults\": 1}").unwrap();
    let fault = |fault: &str| format!("{{\"faults\": [{fault}]}}");
    for (plan, says) in [
        ("missing.json", "cannot be read"),
        ("bad.json", "in `bad.json`"),
        ("{", "EOF"),
        ("{\"fault\": []}", "expected one of `faults`, `behaviour`, `resources`"),
        ("{\"resources\": {\"unassigned\": [\"app\"]}}", "`app` is not who/role"),
        (&fault("{\"route\": \"invoke\", \"fault\": \"explode\"}"), "unknown variant `explode`, expected one of"),
        (&fault("{\"route\": \"poll\", \"fault\": \"stuck\"}"), "only requests on the route `invoke` make jobs"),
        (&fault("{\"route\": \"arm\", \"fault\": \"lostRequest\", \"probability\": -1}"), "between 0 and 1"),
    ] {
        for command in ["simulator", "local"] {
            let mut process = run(folder.path(), &[command, "--listen", "127.0.0.1:0", "--faults", plan]);
            let status = process.ended().await;
            let said = process.stderr();
            assert_eq!(status.code(), Some(64), "{command} {plan}: {said}");
            assert!(said.contains("--faults") && said.contains(says), "{command} {plan}: {said}");
            assert!(process.stdout().is_empty(), "{:?}", process.stdout());
        }
    }
    assert!(!folder.path().join(".scorekeeper").exists(), "nothing was begun");
}

#[tokio::test]
async fn a_simulator_that_cannot_serve_says_why_and_what_to_do() {
    let folder = TempDir::new().unwrap();
    let (_first, settings) = simulator(folder.path(), &[]).await;
    let taken = settings["SCOREKEEPER_RESOURCE_MANAGER"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    std::fs::write(folder.path().join("file"), "").unwrap();
    for (arguments, code, says) in [
        (["--listen", "127.0.0.1:0", "--data", "d"], 1, "another `scorekeeper simulator` runs on `d`"),
        (["--listen", taken.as_str(), "--data", "e"], 1, "give another --listen"),
        (["--listen", "0.0.0.0:0", "--data", "e"], 1, "listen on 127.0.0.1"),
        (["--listen", "127.0.0.1:0", "--data", "file"], 1, "`file`"),
        (["--listen", "127.0.0.1:0", "--nodes", "0"], 64, "1..=1000"),
        (["--listen", "127.0.0.1:0", "--seed", "x"], 64, "--seed"),
        (["--listen", "127.0.0.1:0", "--identity-header", ""], 64, "--identity-header"),
    ] {
        let mut process = run(folder.path(), &[&["simulator"], &arguments[..]].concat());
        let status = process.ended().await;
        let said = process.stderr();
        assert_eq!(status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn help_lists_every_fault() {
    // What a plan can say, in the parser's own words.
    let names = |plan: &str, after: &str| {
        let why = serde_json::from_str::<simulator::FaultPlan>(plan).unwrap_err().to_string();
        let list = why.split_once(after).unwrap_or_else(|| panic!("{why}")).1.to_owned();
        let names: Vec<_> = list.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        assert!(names.len() > 3, "{why}");
        names
    };
    let mut all = names(r#"{"faults": [{"route": "invoke", "fault": "?"}]}"#, "expected one of");
    all.extend(names(r#"{"faults": [{"route": "?", "fault": "lostRequest"}]}"#, "expected one of"));
    all.extend(names(r#"{"faults": [{"?": 1}]}"#, "expected one of"));
    all.extend(names(r#"{"behaviour": {"?": 1}}"#, "expected one of"));
    all.extend(names(r#"{"resources": {"?": 1}}"#, "expected one of"));
    all.extend(names(
        r#"{"faults": [{"route": "invoke", "fault": {"refused": {"status": 500, "body": "?"}}}]}"#,
        "expected one of",
    ));
    let folder = TempDir::new().unwrap();
    for command in ["simulator", "local"] {
        let mut process = run(folder.path(), &[command, "--help"]);
        assert_eq!(process.ended().await.code(), Some(0));
        let help = process.stdout().join("\n");
        for name in &all {
            assert!(help.contains(name.as_str()), "{command} --help must explain `{name}`");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_finds_the_one_job_of_a_lost_answer() {
    let folder = TempDir::new().unwrap();
    let cut = json!({ "faults": [{ "route": "invoke", "fault": { "lostAnswer": {} }, "matching": "lost.csv" }] });
    let arguments = ["local", "--data", "d", "--listen", "127.0.0.1:0", "--faults", &cut.to_string()];
    let mut process = run(folder.path(), &arguments);
    let line = process.until_logged(|line| line.contains("faults ")).await;
    std::fs::write(folder.path().join("d/inbox/lost.csv"), "a\n1\n").unwrap();
    process.until_logged(|line| line.contains("unknown") && line.contains("lost.csv")).await;
    process.until_logged(|line| line.contains("scored") && line.contains("lost.csv")).await;
    let faults = line.split_whitespace().find(|word| word.starts_with("http")).unwrap();
    let told: Value = http().get(faults).send().await.unwrap().json().await.unwrap();
    assert_eq!(told["faults"][0]["done"], 1, "{told}");
    assert_eq!(jobs(&json!({ "admin": faults.replace("faults", "jobs") })).await, 1);
}
