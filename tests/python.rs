//! Microsoft's own client, `azure-ai-ml`, against the simulated endpoint: what a user of it could tell apart from the
//! service is a defect of the simulator.
//!
//! `python/requirements.txt` pins it; `cargo xtask test` installs it into `target/python`. Where it is not there the test
//! says so and passes, unless `SCOREKEEPER_REQUIRE_PYTHON` is set.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use app::ports::Endpoint as _;
use azure::batch_endpoint::AzureMl;
use azure::resource_manager;
use azure::tokens::Tokens;
use lifecycle::{Answer, BlobVersion, EndpointHosts, LedgerId, Rules, Scoring};
use serde_json::{Value, json};
use simulator::{
    self, Behaviour, Container, Datastore, Deployment, DeploymentKind, Endpoint, Endpoints, Fault, FaultKind, Handle,
    Route, SimulatorOptions,
};
use tokio::process::Command;

use crate::support::identity::Identity;
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

/// What rules ask for, for one blob; the answer is the outputs' URIs by name.
async fn asked_by_a_rule(handle: &Handle, options: &SimulatorOptions, mut rule: Value) -> Value {
    let deployment = rule["endpoint"].take();
    rule["endpoint"] = json!({ "uri": handle.scoring_uri("claims"), "deployment": deployment });
    (rule["id"], rule["match"]) = (json!("claims"), json!({ "container": "uploads" }));
    let rules = Rules::read(&json!({ "rules": [rule] }).to_string()).unwrap();
    let rule = rules.get("claims").unwrap();
    let blob = BlobVersion::read("https://acct.blob.core.windows.net/uploads/many/a.csv", "0x1").unwrap();
    let now = options.clock.now();
    let mut scoring = Scoring::accept(&LedgerId::of_random([1; 16]), rule, blob, now);
    scoring.attempt = 1;
    scoring.submission = Some(rule.submission(&scoring, 1));
    let source = Arc::new(Identity::new(handle.identity_endpoint(), &options.identity_header, options.clock.clone()));
    let clock: app::ports::Clock = Arc::new(move || now);
    let manager = resource_manager::Client::new(&handle.origin(), Tokens::new(source.clone(), clock.clone())).unwrap();
    let ml = AzureMl::new(Tokens::new(source, clock), EndpointHosts::default(), Arc::new(manager));
    let reply = ml.submit(&scoring, Duration::from_secs(30)).await;
    assert!(matches!(reply.value, Answer::Accepted { .. }), "{reply:?}");
    json!(scoring.output_uris().collect::<std::collections::BTreeMap<_, _>>())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_asks_for_the_same_job_as_the_official_client_pipelines_included() {
    let Some(python) = pypi::environment("python", "SCOREKEEPER_REQUIRE_PYTHON") else { return };
    let root = tempfile::tempdir().unwrap();
    let folder = |name: &str| root.path().join(name);
    let deployment = |name: &str, kind| Deployment { name: name.to_owned(), kind };
    let options = || SimulatorOptions {
        containers: vec![Container { account: "acct".into(), container: "uploads".into(), folder: folder("in") }],
        datastores: vec![Datastore {
            name: "blobs".into(),
            account: "acct".into(),
            container: "out".into(),
            folder: folder("out"),
        }],
        endpoints: Endpoints::Listed(vec![Endpoint {
            name: "claims".into(),
            default_deployment: None,
            deployments: vec![deployment("v7", DeploymentKind::Model), deployment("steps", DeploymentKind::Pipeline)],
        }]),
        identity_header: "a secret of the platform".into(),
        // Else it forgets tags and properties.
        behaviour: Behaviour { keep_tags: true, ..Behaviour::default() },
        ..SimulatorOptions::default()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (handle, serving) = simulator::start(listener, options()).unwrap();
    let serving = tokio::spawn(serving);
    let path = "azureml://datastores/blobs/paths/{scoring.id}/{attempt}/";
    let known = options();
    let by_rule = |rule| asked_by_a_rule(&handle, &known, rule);
    let model = by_rule(json!({
        "endpoint": "v7",
        "inputs": { "data": { "type": "UriFile", "uri": "{blob.url}" } },
        "outputs": { "score": { "type": "UriFile", "uri": format!("{path}p.csv") } },
        "settings": {
            "name": "{rule.id} {blob.stem}", "miniBatchSize": 5, "errorThreshold": -1, "outputFileName": "{blob.name}",
            // The client says `isLocal` of a compute that has no target.
            "compute": { "instanceCount": 2, "isLocal": true }, "retrySettings": { "maxRetries": 2, "timeout": "PT1M" },
        },
    }))
    .await;
    let pipeline = by_rule(json!({
        "endpoint": "steps",
        "inputs": {
            "folder": { "type": "UriFolder", "uri": "{blob.folderUrl}" },
            "text": { "type": "Literal", "value": "{\"braces\": {}}" },
            "integer": { "type": "Literal", "value": 5 },
            "number": { "type": "Literal", "value": 0.5 },
        },
        "outputs": {
            "charts": { "type": "UriFolder", "uri": path },
            "score": { "type": "UriFile", "uri": format!("{path}score.csv") },
        },
        "settings": { "experimentName": "{rule.id}-nightly" },
    }))
    .await;
    let text = |uris: &Value, name: &str| uris[name].as_str().unwrap().to_owned();
    let blobs = "https://acct.blob.core.windows.net/uploads/many/";
    let ran = Command::new(python.join("bin/python"))
        .arg(workspace().join("tests/python/same_jobs.py"))
        .args([
            handle.origin(),
            format!("{blobs}a.csv"),
            text(&model, "score"),
            blobs.to_owned(),
            text(&pipeline, "charts"),
        ])
        .env("IDENTITY_HEADER", "a secret of the platform")
        .env("NO_PROXY", "127.0.0.1")
        .current_dir(root.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ran = tokio::time::timeout(Duration::from_secs(240), ran).await.expect("the client ends").unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let mut jobs = handle.jobs();
    serving.abort();
    for job in &mut jobs {
        // What is more in ours says whose it is.
        let tags = job.request["tags"].as_object_mut().unwrap();
        tags.retain(|name, _| !name.starts_with("scorekeeper."));
    }
    let [model, pipeline, their_model, their_pipeline] = jobs.as_slice() else { panic!("{jobs:?}") };
    assert_eq!((&model.deployment, &model.request), (&their_model.deployment, &their_model.request));
    assert_eq!((&pipeline.deployment, &pipeline.request), (&their_pipeline.deployment, &their_pipeline.request));
    assert_eq!(pipeline.inputs["text"], "{\"braces\": {}}");
    assert_eq!(pipeline.request["properties"]["experimentName"], "claims-nightly");
}
