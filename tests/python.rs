//! Microsoft's own client, `azure-ai-ml`, against the simulated endpoint: what a user of it could tell apart from the
//! service is a defect of the simulator.
//!
//! `python/requirements.txt` pins it; `cargo xtask test` installs it into `target/python`. Where it is not there the test
//! says so and passes, unless `SCOREKEEPER_REQUIRE_PYTHON` is set.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use simulator::{self, Behaviour, Container, Datastore, Fault, FaultKind, Route, SimulatorOptions};
use tokio::process::Command;

use crate::support::pypi;

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_python_client_invokes_streams_gets_lists_and_cancels() {
    let Some(python) = pypi::environment("python", "SCOREKEEPER_REQUIRE_PYTHON") else { return };
    let python = python.join("bin/python");
    let root = tempfile::tempdir().unwrap();
    let folder = |name: &str| root.path().join(name);
    std::fs::create_dir_all(folder("inbox/many")).unwrap();
    for file in ["inbox/a.csv", "inbox/many/b.csv", "inbox/many/c.csv"] {
        std::fs::write(folder(file), "amount\n1\n2\n").unwrap();
    }
    let options = SimulatorOptions {
        containers: vec![Container { account: "acct".into(), container: "in".into(), folder: folder("inbox") }],
        datastores: vec![Datastore {
            name: "workspaceblobstore".into(),
            account: "acct".into(),
            container: "out".into(),
            folder: folder("outbox"),
        }],
        behaviour: Behaviour { list_jobs: true, ..Behaviour::default() },
        faults: vec![Fault::new(Route::Invoke, FaultKind::Stuck).matching("stuck")],
        ..SimulatorOptions::default()
    };
    let header = options.identity_header.clone();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (handle, serving) = simulator::start(listener, options).unwrap();
    let serving = tokio::spawn(serving);
    let blobs = "https://acct.blob.core.windows.net/in";
    let ran = Command::new(python)
        .arg(workspace().join("tests/python/acceptance.py"))
        .args([handle.origin(), format!("{blobs}/a.csv"), format!("{blobs}/many/")])
        .arg("azureml://datastores/workspaceblobstore/paths/scores/predictions.csv")
        .env("IDENTITY_HEADER", header)
        .env("NO_PROXY", "127.0.0.1")
        .current_dir(root.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ran = tokio::time::timeout(Duration::from_secs(240), ran).await.expect("the client ends").unwrap();
    let (said, complained) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{said}\n{complained}");
    let seen: Value = serde_json::from_str(said.lines().last().unwrap_or_default()).expect("its last line is JSON");
    let jobs = handle.jobs();
    serving.abort();

    assert_eq!(jobs.len(), 3, "one job for each invoke: {jobs:?}");
    let name = |nth: usize| json!(jobs[nth].name);
    for (kind, nth) in [("file", 0), ("folder", 1)] {
        assert_eq!((&seen[kind]["name"], &seen[kind]["streamed"]), (&name(nth), &json!("Completed")), "{seen}");
        assert_eq!((&seen[kind]["type"], &seen[kind]["experiment"]), (&json!("pipeline"), &json!("claims")));
        assert!(jobs[nth].request_id.is_some(), "the client names each invoke");
    }
    assert_eq!(seen["file"]["status"], "Preparing");
    assert_eq!(seen["cancelled"], json!({ "name": name(2), "status": "Canceled" }));
    let newest_first = json!([name(2), name(1), name(0)]);
    assert_eq!((&seen["arm"], &seen["listed"]), (&newest_first, &newest_first));
    assert_eq!(seen["children"], json!(["batchscoring"]));
    assert_eq!(seen["deployments"], json!(["demonstration"]));
    assert_eq!(seen["datastores"], json!(["workspaceblobstore"]));
    assert_eq!(seen["endpoint"], handle.scoring_uri("claims"));
    assert_eq!(seen["missing"], 404);
    let rows = |path: &str| std::fs::read_to_string(folder("outbox").join(path)).unwrap().lines().count();
    assert_eq!(rows("scores/predictions.csv"), 3);
    assert_eq!(rows(&format!("azureml/{}/score/predictions.csv", jobs[1].name)), 5);
}
