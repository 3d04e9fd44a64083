//! The Functions host's protocol and the job that it duplicates under Lambda's runtime, proven on spawned binaries: what the real hosts
//! would see is what is asserted. The rest of the protocol is proven beside the code (`hosts/azure`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use handler::functions::{BLOB_CREATED, BLOB_CREATED_FROM_QUEUE, NAMES, OPERATIONS, PAGE, RECONCILE, SCORINGS, SWEEP};
use rustix::process::Signal;
use serde_json::{Value, json};
use simulator::Timing;

use crate::starts;
use crate::support::cloud::{Cloud, cloud_event, event};
use crate::support::functions_host::{FunctionsHost, SCOREKEEPER, TRACEPARENT, free_port, given};
use crate::support::lambda::{BOOTSTRAP, Deadline, Host, Lambda};
use crate::support::process::Process;

const TIMER: &str = include_str!("fixtures/timer.json");
const EVENT_BRIDGE: &str = include_str!("fixtures/eventbridge.json");

fn timer() -> Value {
    serde_json::from_str(TIMER).unwrap()
}

/// A ledger that cannot be reached: nothing listens there.
fn without_ledger(cloud: &Cloud) -> BTreeMap<String, String> {
    let mut vars = cloud.vars("unused");
    vars.insert("SCOREKEEPER_LEDGER".to_owned(), format!("http://127.0.0.1:{}/devstoreaccount1", free_port()));
    vars
}

fn record(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|why| panic!("no JSON record ({why}): {line}"))
}

#[tokio::test]
async fn the_probe_is_answered_and_unknown_functions_are_refused_in_json() {
    let cloud = Cloud::start().await;
    let host = FunctionsHost::start(cloud.root(), &cloud.vars("ledger")).await;
    let probe = host.get("/").await;
    assert_eq!((probe.status, probe.json()), (200, json!({"status": "listening"})));
    let unknown = host.invoke("blobcreated", "1", "event", &event("a.csv")).await;
    assert_eq!((unknown.status, &unknown.json()["errorType"]), (404, &json!("Refused")));
    assert_eq!(host.get("/BlobCreated").await.status, 405);
}

#[tokio::test]
async fn only_loopback_is_listened_on() {
    let cloud = Cloud::start().await;
    let host = FunctionsHost::start(cloud.root(), &cloud.vars("ledger")).await;
    // Another loopback address stands for another interface: a wildcard listener would answer there too.
    assert!(std::net::TcpStream::connect(("127.0.0.2", host.port())).is_err());
}

#[tokio::test]
async fn both_hosts_give_equal_answers_for_every_function() {
    equal_answers::<Lambda>().await;
}

/// An answer but for the ids of its scorings, which each ledger has its own of.
fn without_ids(mut answer: Value) -> Value {
    for scoring in answer["accepted"].as_array_mut().into_iter().flatten() {
        assert!(scoring["id"].take().is_string());
    }
    answer
}

/// Invokes each function that there is under the Functions host and under another, and compares.
pub async fn equal_answers<H: Host>() {
    for function in NAMES {
        match function {
            BLOB_CREATED | BLOB_CREATED_FROM_QUEUE => equal_deliveries::<H>(function).await,
            RECONCILE | SWEEP => equal_runs::<H>(function).await,
            OPERATIONS | PAGE | SCORINGS => equal_replies::<H>(function).await,
            other => panic!("nothing compares `{other}`"),
        }
    }
}

/// Of a function that takes events.
async fn equal_deliveries<H: Host>(function: &str) {
    let cloud = Cloud::start().await;
    let azure = FunctionsHost::start(cloud.root(), &cloud.vars("azure")).await;
    let other = H::start(function, cloud.root(), &cloud.vars("other")).await;
    let mut skipped = event("a.csv");
    skipped["data"]["url"] = json!("https://acct.blob.core.windows.net/elsewhere/a.csv");
    skipped["subject"] = json!(null);
    let payloads = [
        event("a.csv"),
        event("a.csv"),
        json!([event("b.csv"), cloud_event("c.csv"), event("a.csv")]),
        skipped,
        json!({"half": "an event"}),
        json!("no event"),
        Value::Null,
    ];
    for payload in payloads {
        let one = without_ids(azure.invoke(function, "1", "event", &payload).await.value());
        let other = without_ids(other.invoke(&payload).await.expect("a response"));
        assert_eq!(one, other, "{function}: {payload}");
    }
}

/// Of a function that a timer starts. One after the other, each on a ledger of its own: both would else drive jobs of the one simulator.
async fn equal_runs<H: Host>(function: &str) {
    let cloud = Cloud::start().await;
    cloud.upload("a.csv", "x\n1\n");
    let azure = FunctionsHost::start(cloud.root(), &starts::vars(&cloud, "azure")).await;
    let other = H::start(function, cloud.root(), &starts::vars(&cloud, "other")).await;
    let mut one = azure.invoke(function, "2", "timer", &timer()).await.value();
    let mut other = other.invoke(&serde_json::from_str(EVENT_BRIDGE).unwrap()).await.expect("a response");
    for report in [&mut one, &mut other] {
        let took = report.as_object_mut().unwrap().remove("durationMs");
        assert_eq!(took.is_some_and(|took| took.is_u64()), function == RECONCILE, "how long it took differs");
    }
    assert_eq!(one, other, "{function}");
    let done = if function == RECONCILE { one["complete"] == true } else { one["listed"] == 1 };
    assert!(done, "{function}: {one}");
}

/// A request as both hosts hand it to a function, of somebody who has signed in as a reader or of nobody.
fn request(method: &str, path: &str, is_reader: bool, body: Option<&Value>) -> Value {
    let principal = json!({"auth_typ": "aad", "name_typ": "name", "role_typ": "roles",
        "claims": [{"typ": "name", "val": "Ann"}, {"typ": "roles", "val": "Reader"}]});
    let mut headers = json!({"Host": ["app.example"], "Content-Type": ["application/json"], "Idempotency-Key": ["1"]});
    if is_reader {
        headers["X-MS-CLIENT-PRINCIPAL"] = json!([STANDARD.encode(principal.to_string())]);
        headers["X-MS-CLIENT-PRINCIPAL-NAME"] = json!(["ann@contoso.com"]);
    }
    json!({"Url": format!("https://app.example{path}"), "Method": method, "Headers": headers, "Body": body.map(ToString::to_string)})
}

/// These settings with the function on: the page is for whoever has signed in, the others that answer HTTP are for whoever has a key.
fn turned_on(function: &str, mut vars: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let (page, others) = if function == PAGE { ("on", "off") } else { ("off", "on") };
    let signed_in: &[(&str, &str)] = &[("SCOREKEEPER_SIGN_IN", "required"), ("WEBSITE_AUTH_ENABLED", "True")];
    let signed_in = if function == PAGE { signed_in } else { &[] };
    let on = [("SCOREKEEPER_HTTP", others), ("SCOREKEEPER_PAGE", page)];
    vars.extend(on.iter().chain(signed_in).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    vars
}

/// Of a function that answers HTTP. Both on one ledger, in which one scoring was started.
async fn equal_replies<H: Host>(function: &str) {
    let cloud = Cloud::with_pipeline(Timing::default()).await;
    cloud.upload("a.csv", "x\n1\n");
    let vars = starts::vars(&cloud, "ledger");
    let starting = FunctionsHost::start(cloud.root(), &vars).await;
    let start = request("POST", "/api/scorings", false, Some(&json!({"rule": "claims", "blob": "inbox/a.csv"})));
    let started = starting.invoke(SCORINGS, "1", "req", &start).await.json();
    let started: Value = serde_json::from_str(started["Outputs"]["res"]["body"].as_str().unwrap()).unwrap();
    let id = started["id"].as_str().unwrap();
    // It is sent behind the answer; from then on nothing changes by itself.
    while cloud.told(&vars, &["show", id]).await["status"] != "running" {
        starting.invoke(RECONCILE, "1", "timer", &timer()).await.value();
    }
    let vars = turned_on(function, vars);
    let azure = FunctionsHost::start(cloud.root(), &vars).await;
    let other = H::start(function, cloud.root(), &vars).await;
    let get = |path: &str, is_reader| request("GET", path, is_reader, None);
    let requests = match function {
        SCORINGS => vec![
            start,
            get(&format!("/api/scorings/{id}"), false),
            get("/api/scorings/none", false),
            request("POST", "/api/scorings", false, Some(&json!({"rule": "none"}))),
        ],
        OPERATIONS => vec![
            get("/api/operations", false),
            get(&format!("/api/operations/{id}"), false),
            request(
                "POST",
                &format!("/api/operations/{}/cancel", "0".repeat(32)),
                false,
                Some(&json!({"reason": "x"})),
            ),
        ],
        _ => vec![
            get("/api/ops/api/scorings", true),
            get("/api/ops/page.css", true),
            get("/api/ops/none", true),
            get("/api/ops/", false),
        ],
    };
    let mut statuses = BTreeSet::new();
    for request in requests {
        let one = azure.invoke(function, "2", "req", &request).await;
        assert_eq!(one.status, 200, "{request}");
        let one = one.json()["Outputs"]["res"].take();
        assert_eq!(one, other.invoke(&request).await.expect("a response"), "{function}: {request}");
        statuses.insert(one["statusCode"].as_u64().unwrap() / 100);
    }
    assert_eq!(statuses, BTreeSet::from([2, 4]), "{function}: good answers and refusals");
}

#[tokio::test]
async fn a_deadline_that_is_past_on_arrival_fails_no_invocation() {
    let cloud = Cloud::start().await;
    for (ledger, deadline) in [("emulated", Deadline::EMULATED), ("zero", Deadline::Always(0))] {
        let vars = cloud.vars(ledger);
        let blob_created = Lambda::with_deadline(deadline, "BlobCreated", cloud.root(), &vars).await;
        let value = blob_created.invoke(&event("a.csv")).await.expect("a response");
        assert_eq!(value["accepted"].as_array().map(Vec::len), Some(1), "{deadline:?}: {value}");
        let reconcile = Lambda::with_deadline(deadline, "Reconcile", cloud.root(), &vars).await;
        let value = reconcile.invoke(&json!({})).await.expect("a response");
        assert_eq!((&value["complete"], &value["inFlight"]), (&json!(true), &json!(1)), "{deadline:?}: {value}");
    }
}

/// Lambda's runtime reads the payload as JSON before any function of ours sees it.
#[tokio::test]
async fn under_lambda_a_byte_that_is_no_utf_8_fails_its_whole_delivery_alone() {
    let cloud = Cloud::start().await;
    let lambda = Lambda::start("BlobCreated", cloud.root(), &cloud.vars("lambda")).await;
    let good = json!([event("a.csv"), event("b-bad.csv")]);
    let mut damaged = good.to_string().into_bytes();
    let at = damaged.windows(5).position(|part| part == b"b-bad").unwrap();
    damaged[at] = 0xff;
    lambda.invoke_with(damaged.into()).await.expect_err("no success, so that it is delivered again");
    let taken = lambda.invoke(&good).await.unwrap();
    assert_eq!(taken["accepted"].as_array().map(Vec::len), Some(2), "nothing of it was taken before: {taken}");
}

#[tokio::test]
async fn both_hosts_fail_with_the_same_diagnostic() {
    equal_diagnostics::<Lambda>().await;
}

/// The same of each function without a ledger: a failure, or an answer that tells of it.
pub async fn equal_diagnostics<H: Host>() {
    let cloud = Cloud::start().await;
    // At the same time, as each is tried for a while.
    futures::future::join_all(NAMES.map(|function| equal_diagnostic::<H>(&cloud, function))).await;
}

async fn equal_diagnostic<H: Host>(cloud: &Cloud, function: &str) {
    let vars = turned_on(function, without_ledger(cloud));
    let azure = FunctionsHost::start(cloud.root(), &vars).await;
    let (binding, payload) = match function {
        BLOB_CREATED | BLOB_CREATED_FROM_QUEUE => ("event", event("a.csv")),
        RECONCILE | SWEEP => ("timer", timer()),
        OPERATIONS => ("req", request("GET", "/api/operations", false, None)),
        PAGE => ("req", request("GET", "/api/ops/api/scorings", true, None)),
        SCORINGS => ("req", request("GET", &format!("/api/scorings/{}", "0".repeat(32)), false, None)),
        other => panic!("nothing compares `{other}`"),
    };
    let other = H::start(function, cloud.root(), &vars).await;
    let one = azure.invoke(function, "1", binding, &payload).await;
    let other = other.invoke(&payload).await;
    if binding == "req" {
        let answer = one.json()["Outputs"]["res"].take();
        assert!(answer["statusCode"].as_u64() >= Some(500), "{function}: {answer}");
        assert_eq!(answer, other.expect("an answer"), "{function}");
    } else {
        assert_eq!(one.status, 500, "{function}");
        assert_eq!(one.json(), other.expect_err("an error"), "{function}");
    }
}

#[tokio::test]
async fn a_failure_is_told_on_stdout_with_the_invocations_id_and_stderr_stays_empty() {
    let cloud = Cloud::start().await;
    let mut host = FunctionsHost::start(cloud.root(), &without_ledger(&cloud)).await;
    let answer = host.invoke("BlobCreated", "6a5b0c6e-failed", "event", &event("a.csv")).await;
    let reason = answer.json()["errorMessage"].as_str().unwrap().to_owned();
    assert_eq!((answer.status, &answer.json()["errorType"]), (500, &json!("NotTaken")));
    let told = |line: &str| line.contains("6a5b0c6e-failed") && line.contains("failed: ");
    let record = record(&host.process().until_logged(told).await);
    assert_eq!((&record["level"], &record["invocation_id"]), (&json!("ERROR"), &json!("6a5b0c6e-failed")));
    assert!(record["message"].as_str().is_some_and(|text| text.ends_with(&reason)), "{record} lacks {reason}");
    assert_eq!(host.process().stderr(), "");
}

#[tokio::test]
async fn every_line_on_stdout_is_a_record_and_those_of_an_invocation_carry_its_ids() {
    let cloud = Cloud::start().await;
    let mut host = FunctionsHost::start(cloud.root(), &cloud.vars("ledger")).await;
    // Without Application Insights the host sends no `traceparent`.
    let trace = json!("0af7651916cd43dd8448eb211c80319c");
    for (id, blob, traceparent, told) in
        [("untraced", "a.csv", None, Value::Null), ("traced", "b.csv", Some(TRACEPARENT), trace)]
    {
        host.traceparent = traceparent.or(host.traceparent);
        host.invoke("BlobCreated", id, "event", &event(blob)).await.value();
        let of_blob = |line: &str| line.contains(blob) && line.contains("submitting -> running");
        let line = host.process().until_logged(of_blob).await;
        let record_of_it = record(&line);
        let ids = (&record_of_it["invocation_id"], &record_of_it["trace_id"]);
        assert_eq!(ids, (&json!(id), &told), "{line}");
        assert_eq!(record_of_it["function"], json!("BlobCreated"));
        let all: Vec<Value> = host.process().stdout().iter().map(|line| record(line)).collect();
        let of_event = all.iter().filter(|record| record["invocation_id"] == id);
        assert_eq!(of_event.count(), 1, "one record for each event: {all:?}");
    }
}

#[tokio::test]
async fn an_event_is_submitted_within_its_invocation() {
    let cloud = Cloud::start().await;
    let host = FunctionsHost::start(cloud.root(), &cloud.vars("ledger")).await;
    let value = host.invoke("BlobCreated", "1", "event", &event("a.csv")).await.value();
    assert_eq!(value["accepted"].as_array().map(Vec::len), Some(1), "{value}");
    assert_eq!(cloud.simulator.jobs().len(), 1);
}

#[tokio::test]
async fn a_queued_event_is_the_same_however_the_host_wraps_its_message() {
    let cloud = Cloud::start().await;
    let host = FunctionsHost::start(cloud.root(), &cloud.vars("ledger")).await;
    assert_eq!(host.invoke("BlobCreated", "1", "event", &event("a.csv")).await.value()["duplicates"], json!(0));
    let text = event("a.csv").to_string();
    // An object, the message's text, and that text as JSON once more, as the host encodes what is not an object.
    for (n, data) in [event("a.csv"), json!(text), json!(json!(text).to_string())].iter().enumerate() {
        // The host adds the members of a message that is an object to the metadata, beside its own.
        let mut metadata = event("a.csv");
        metadata["sys"] =
            json!({"MethodName": "BlobCreatedFromQueue", "UtcNow": "2026-07-21T10:00:00.5Z", "RandGuid": "3f0c"});
        metadata["DequeueCount"] = json!("1");
        metadata["Id"] = json!("0d2c5ad5-5a84-4a3b-9cf8-9e7f5d1c7a52");
        let envelope = json!({"Data": {"event": data}, "Metadata": metadata});
        let value = host.post("BlobCreatedFromQueue", &n.to_string(), envelope.to_string()).await.value();
        assert_eq!((&value["duplicates"], &value["quarantined"]), (&json!(1), &json!(0)), "{data}: {value}");
    }
    let value = host.invoke("BlobCreatedFromQueue", "9", "event", &json!("poison")).await.value();
    assert_eq!(value["quarantined"], json!(1), "nothing would be gained by taking it from the queue again");
    assert_eq!(cloud.simulator.jobs().len(), 1);
}

#[tokio::test]
async fn twenty_megabytes_in_chunks_are_taken() {
    let cloud = Cloud::start().await;
    let host = FunctionsHost::start(cloud.root(), &cloud.vars("ledger")).await;
    let mut large = event("large.csv");
    large["data"]["padding"] = json!("x".repeat(20 * 1024 * 1024));
    let value = host.invoke("BlobCreated", "1", "event", &large).await.value();
    assert_eq!(value["accepted"].as_array().map(Vec::len), Some(1), "{value}");
}

#[tokio::test]
async fn a_killed_handler_restarts_on_its_port_and_remembers() {
    let cloud = Cloud::start().await;
    let mut host = FunctionsHost::start(cloud.root(), &cloud.vars("ledger")).await;
    assert_eq!(host.invoke("BlobCreated", "1", "event", &event("a.csv")).await.value()["duplicates"], json!(0));
    host.kill_and_restart(cloud.root()).await;
    assert_eq!(host.invoke("BlobCreated", "2", "event", &event("a.csv")).await.value()["duplicates"], json!(1));
}

#[tokio::test]
async fn signals_end_the_process_with_a_code_that_is_not_zero() {
    let cloud = Cloud::start().await;
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut host = FunctionsHost::start(cloud.root(), &cloud.vars("ledger")).await;
        host.process().until_logged(|line| line.contains("listening")).await;
        // An invocation proves that the process is past its start, where signals have their default effect.
        host.invoke("Reconcile", "1", "timer", &timer()).await.value();
        host.process().handle().signal(signal);
        let status = host.process().ended().await;
        assert_eq!((status.code(), status.signal()), (Some(code), None), "{signal:?}: {status}");
    }
}

#[tokio::test]
async fn an_invocation_that_runs_when_a_signal_comes_is_still_answered() {
    let cloud = Cloud::answering_within(Duration::from_secs(2)).await;
    let mut host = FunctionsHost::start(cloud.root(), &cloud.vars("ledger")).await;
    let invoked = event("a.csv");
    let process = host.process().handle();
    let signal = async {
        // From here until the endpoint answers, the invocation waits for its submission.
        cloud.simulator.until(|jobs| !jobs.is_empty()).await;
        process.signal(Signal::TERM);
    };
    let (answer, ()) = tokio::join!(host.invoke("BlobCreated", "1", "event", &invoked), signal);
    assert_eq!(answer.value()["accepted"].as_array().map(Vec::len), Some(1));
    assert_eq!(host.process().ended().await.code(), Some(143));
}

#[tokio::test]
async fn the_handler_ends_with_the_host_that_started_it() {
    let cloud = Cloud::start().await;
    let port = free_port();
    let vars = given(cloud.root(), port, &cloud.vars("ledger"));
    // A shell is the host; it tells the handler's process id and waits.
    let script = format!("'{SCOREKEEPER}' serve & echo \"pid $!\"; wait");
    let mut host = Process::spawn("/bin/sh", &["-c", &script], cloud.root(), &vars);
    let line = host.until_logged(|line| line.starts_with("pid ")).await;
    let pid: i32 = line["pid ".len()..].parse().unwrap();
    let handler = rustix::process::Pid::from_raw(pid).unwrap();
    host.until_logged(|line| line.contains("listening")).await;
    // Its end is seen through a handle on the very process, as process ids are given again.
    let handle = rustix::process::pidfd_open(handler, rustix::process::PidfdFlags::empty()).unwrap();
    #[expect(deprecated, reason = "its successor is an unsafe fn; an OwnedFd keeps the promise that it asks for")]
    let handle = tokio::io::unix::AsyncFd::new(handle).unwrap();
    host.handle().signal(Signal::KILL);
    let ended = tokio::time::timeout(Duration::from_secs(30), handle.readable()).await;
    if ended.is_err() {
        rustix::process::kill_process(handler, Signal::KILL).unwrap();
    }
    assert!(ended.is_ok(), "the handler outlived its host");
}

#[tokio::test]
async fn without_a_host_the_handler_outlives_who_started_it() {
    let cloud = Cloud::start().await;
    let port = free_port();
    let mut vars = cloud.vars("ledger");
    vars.insert("FUNCTIONS_CUSTOMHANDLER_PORT".to_owned(), port.to_string());
    let script = format!("'{SCOREKEEPER}' serve & echo \"pid $!\"; wait");
    let mut starter = Process::spawn("/bin/sh", &["-c", &script], cloud.root(), &vars);
    let line = starter.until_logged(|line| line.starts_with("pid ")).await;
    let handler = rustix::process::Pid::from_raw(line["pid ".len()..].parse().unwrap()).unwrap();
    starter.until_logged(|line| line.contains("listening")).await;
    starter.child.kill().await.unwrap();
    // A handler that minded would be gone within a few milliseconds; a hundred new connections take longer.
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
    let mut alive = true;
    for _ in 0..100 {
        alive &= client.get(format!("http://127.0.0.1:{port}/")).send().await.is_ok();
    }
    // It is nobody's child any more, so it is ended here; if it ended by itself, that is what the test is about.
    let _ = rustix::process::kill_process(handler, Signal::KILL);
    assert!(alive, "the handler ended with who started it");
}

/// Runs a program to its end.
pub async fn ended(program: &str, arguments: &[&str], root: &Path, vars: &BTreeMap<String, String>) -> (i32, Process) {
    let mut process = Process::spawn(program, arguments, root, vars);
    let status = process.ended().await;
    (status.code().unwrap_or_else(|| panic!("{status}")), process)
}

#[tokio::test]
async fn a_taken_port_ends_the_process_so_that_the_host_starts_another() {
    let cloud = Cloud::start().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let vars = given(cloud.root(), taken.local_addr().unwrap().port(), &cloud.vars("ledger"));
    let (code, process) = ended(SCOREKEEPER, &["serve"], cloud.root(), &vars).await;
    assert_eq!(code, 1);
    assert!(process.stderr().contains("cannot be listened on"), "{}", process.stderr());
}

#[tokio::test]
async fn a_handler_that_nobody_started_says_what_is_missing() {
    let cloud = Cloud::start().await;
    let (code, process) = ended(SCOREKEEPER, &["serve"], cloud.root(), &cloud.vars("ledger")).await;
    assert_eq!(code, 64);
    assert!(process.stderr().contains("FUNCTIONS_CUSTOMHANDLER_PORT"), "{}", process.stderr());
    let mut vars = cloud.vars("ledger");
    vars.insert("_HANDLER".to_owned(), "blob_created".to_owned());
    let (code, process) = ended(BOOTSTRAP, &[], cloud.root(), &vars).await;
    assert_eq!(code, 64);
    assert!(process.stderr().contains(&format!("expected one of {}", NAMES.join(", "))), "{}", process.stderr());
}

#[tokio::test]
async fn the_settings_are_printed_with_their_sources_and_without_secrets() {
    let cloud = Cloud::start().await;
    let mut vars = cloud.vars("ledger");
    vars.remove("SCOREKEEPER_LEDGER");
    vars.insert("AzureWebJobsStorage".to_owned(), "UseDevelopmentStorage=true".to_owned());
    let (code, process) = ended(SCOREKEEPER, &["config", "--json"], cloud.root(), &vars).await;
    assert_eq!(code, 0, "{}", process.stderr());
    let json: Value = serde_json::from_str(&process.stdout().join("\n")).unwrap();
    let ledger = json["settings"].as_array().unwrap().iter().find(|setting| setting["name"] == "SCOREKEEPER_LEDGER");
    let expected = json!({
        "name": "SCOREKEEPER_LEDGER",
        "value": "http://127.0.0.1:10002/devstoreaccount1",
        "source": "variable AzureWebJobsStorage"
    });
    assert_eq!(ledger, Some(&expected));
    let (code, process) = ended(SCOREKEEPER, &["config"], cloud.root(), &vars).await;
    let table = process.stdout().join("\n");
    assert_eq!(code, 0);
    assert!(table.contains("SCOREKEEPER_TASK_HUB") && table.contains("(inline): 1 rule"), "{table}");
    assert!(!table.contains("Eby8vd"), "{table}");
}
