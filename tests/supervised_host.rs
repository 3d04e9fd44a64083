//! The stand-in for the Functions host holds to what the real one was seen to do, line by line of its table, by a handler that does
//! what it is told; then the handler of this project under it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use handler::config::{ProcessVars, Vars as _};
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::support::cloud::{Cloud, event, with_rule};
use crate::support::functions_host::{FunctionsHost, TRACEPARENT, client};
use crate::support::supervised_host::{Handler, Queued, State as HostState, SupervisedHost, is_over};

/// Longer than any answer of a healthy handler.
const LONG: Duration = Duration::from_secs(60);
/// How long Event Grid waits for the answer to a delivery.
const EVENT_GRID: Duration = Duration::from_secs(30);
/// Events of a delivery that waits for all of its invocations.
const TOGETHER: usize = 5;

/// This test program as a handler: the test below, in a process of its own.
fn fake() -> Handler {
    Handler {
        program: std::env::current_exe().unwrap(),
        arguments: ["--exact", "supervised_host::a_handler_that_does_as_it_is_told", "--ignored", "--nocapture"]
            .map(str::to_owned)
            .into(),
        root: std::env::temp_dir(),
        vars: BTreeMap::new(),
    }
}

/// Not a test: the process that [`fake`] starts. The function that is called names what is to be done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the handler that other tests start"]
async fn a_handler_that_does_as_it_is_told() {
    let Some(port) = ProcessVars.get("FUNCTIONS_CUSTOMHANDLER_PORT") else { return };
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await.unwrap();
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
    tokio::spawn(async move {
        while term.recv().await.is_some() {
            println!("SIGTERM came");
        }
    });
    let router = Router::new()
        .route("/", get(|| async { "{}" }))
        .route("/{what}", post(told))
        .with_state(Arc::new(Barrier::new(TOGETHER)));
    println!("listening");
    axum::serve(listener, router).await.unwrap();
}

async fn told(
    Path(what): Path<String>,
    State(together): State<Arc<Barrier>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let json = |status: StatusCode, value: Value| (status, value.to_string()).into_response();
    match what.as_str() {
        "value" => json(StatusCode::OK, json!({ "ReturnValue": 1 })),
        "text" => (StatusCode::OK, "done").into_response(),
        "empty" => (StatusCode::OK, Body::empty()).into_response(),
        "no-content" => StatusCode::NO_CONTENT.into_response(),
        "hang" => std::future::pending().await,
        "headers" => {
            for (name, value) in &headers {
                println!("header {name}: {}", value.to_str().unwrap());
            }
            json(StatusCode::OK, json!({}))
        }
        // Each answers when all are here: one after the other would wait for ever.
        "BlobCreated" => {
            together.wait().await;
            let bad = String::from_utf8_lossy(&body).contains("bad");
            json(if bad { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }, json!({}))
        }
        "die-together" => {
            together.wait().await;
            std::process::exit(137)
        }
        "BlobCreatedFromQueue" => {
            println!("body {}", String::from_utf8_lossy(&body));
            json(StatusCode::OK, json!({}))
        }
        other => match other.split_once('-') {
            Some(("exit", code)) => std::process::exit(code.parse().unwrap()),
            Some(("status", status)) => json(StatusCode::from_bytes(status.as_bytes()).unwrap(), json!({})),
            _ => panic!("{other}"),
        },
    }
}

/// An invocation as the real host sent it.
pub fn captured(name: &str) -> Value {
    let path = format!("{}/../tests/cases/host/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[tokio::test]
async fn each_captured_invocation_is_answered_as_it_should_be() {
    let cloud = Cloud::start().await;
    let mut vars = cloud.vars("ledger");
    // Where the recording's blobs lie.
    vars.insert("SCOREKEEPER_STORAGE_HOSTS".to_owned(), "local.blob.core.windows.net,127.0.0.1".to_owned());
    let host = FunctionsHost::start(cloud.root(), &vars).await;
    let mut accepted = Vec::new();
    for name in ["event-grid", "event-cloudevents", "queue", "timer", "timer-no-status", "timer-past-due"] {
        let case = captured(name);
        let mut request = client().post(format!("http://127.0.0.1:{}{}", host.port(), case["path"].as_str().unwrap()));
        for header in case["headers"].as_array().unwrap() {
            let (header, value) = (header[0].as_str().unwrap(), header[1].as_str().unwrap());
            if !["Host", "Transfer-Encoding"].contains(&header) {
                request = request.header(header, value);
            }
        }
        let body = case["body"].as_str().unwrap().to_owned();
        let chunks = futures::stream::iter([Ok::<_, std::io::Error>(body)]);
        let response = request.body(reqwest::Body::wrap_stream(chunks)).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{name}");
        let answer: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        let value = &answer["ReturnValue"];
        if name.starts_with("timer") {
            assert_eq!(value["errors"], json!(0), "{name}: {value}");
            continue;
        }
        assert_eq!((&value["skipped"], &value["quarantined"]), (&json!(0), &json!(0)), "{name}: {value}");
        accepted.push((name, value["accepted"].as_array().unwrap().len(), value["duplicates"].clone()));
    }
    // Two uploads, of which the first is told of by the queue as well.
    assert_eq!(accepted, [("event-grid", 1, json!(0)), ("event-cloudevents", 1, json!(0)), ("queue", 0, json!(1))]);
}

#[tokio::test]
async fn an_invocation_has_the_headers_of_the_real_host() {
    let names = |said: &[String]| -> Vec<String> {
        let lines = said.iter().filter_map(|line| line.strip_prefix("header "));
        let mut names: Vec<String> = lines.map(|line| line.split(':').next().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    let recorded = |traced: bool| {
        let headers = captured("event-grid")["headers"].clone();
        let headers = headers.as_array().unwrap().iter().map(|header| header[0].as_str().unwrap().to_lowercase());
        // What any client of HTTP sends.
        let mut names: Vec<String> = headers.chain(["accept".to_owned()]).collect();
        names.extend(traced.then(|| "traceparent".to_owned()));
        names.sort();
        names
    };
    for traced in [false, true] {
        let mut host = SupervisedHost::start(fake(), LONG).await;
        host.traceparent = traced.then_some(TRACEPARENT);
        assert_eq!(host.call("headers", "1", "{}".to_owned()).await, 202);
        assert_eq!(names(&host.stop().await), recorded(traced));
    }
}

#[tokio::test]
async fn what_an_answer_means_to_the_sender() {
    let host = SupervisedHost::start(fake(), LONG).await;
    for (what, seen) in [
        ("value", 202),
        ("text", 500),
        ("status-400", 500),
        ("status-404", 500),
        ("status-409", 500),
        ("status-413", 500),
        ("status-429", 500),
        ("status-500", 500),
        ("status-503", 500),
    ] {
        assert_eq!(host.call(what, "1", "{}".to_owned()).await, seen, "{what}");
    }
}

#[tokio::test]
async fn an_answer_without_a_body_costs_everybody_the_handler() {
    for what in ["empty", "no-content"] {
        let host = SupervisedHost::start(fake(), Duration::from_secs(2)).await;
        // Three times, and it is no death: the third one would end the host.
        for starts in 2..=4 {
            let (seen, innocent) =
                tokio::join!(host.call(what, "1", "{}".to_owned()), host.call("hang", "2", "{}".to_owned()));
            assert_eq!((seen, innocent), (500, 500), "{what}");
            host.until(|state| matches!(state, HostState::Ready { starts: now } if *now >= starts)).await;
        }
        assert_eq!(host.call("value", "3", "{}".to_owned()).await, 202);
    }
}

#[tokio::test]
async fn a_death_costs_what_is_in_flight_and_nothing_that_comes_after() {
    let host = SupervisedHost::start(fake(), LONG).await;
    let port = host.port();
    let calls = (0..TOGETHER).map(|nth| host.call("die-together", "1", nth.to_string()));
    assert_eq!(futures::future::join_all(calls).await, [500; TOGETHER]);
    // While it starts again, and after that: a connection that was kept may be one of the dead until its death is known.
    host.until(|state| !matches!(state, HostState::Ready { starts: 1 })).await;
    assert_eq!(host.call("value", "2", "{}".to_owned()).await, 202);
    assert_eq!((host.until(|_| true).await, host.port()), (HostState::Ready { starts: 2 }, port));
}

#[tokio::test]
async fn the_third_death_ends_the_host() {
    let host = SupervisedHost::start(fake(), LONG).await;
    for starts in 2..=3 {
        host.call("exit-137", "1", "{}".to_owned()).await;
        host.until(|state| *state == HostState::Ready { starts }).await;
        assert_eq!(host.call("value", "2", "{}".to_owned()).await, 202);
    }
    host.call("exit-1", "3", "{}".to_owned()).await;
    host.until(|state| matches!(state, HostState::Ended { .. })).await;
    assert_eq!(host.call("value", "4", "{}".to_owned()).await, 500);
    let minutes = |n: u64| tokio::time::Instant::now() + Duration::from_secs(60 * n);
    assert!(is_over(&[minutes(0), minutes(10), minutes(20)], minutes(20)));
    assert!(!is_over(&[minutes(0), minutes(31), minutes(40)], minutes(40)), "the first is too long ago");
}

#[tokio::test]
async fn exit_code_zero_is_never_started_again() {
    let host = SupervisedHost::start(fake(), LONG).await;
    assert_eq!(host.call("exit-0", "1", "{}".to_owned()).await, 500);
    host.until(|state| *state == HostState::Left).await;
    assert_eq!(host.call("value", "2", "{}".to_owned()).await, 500);
}

#[tokio::test]
async fn a_stop_is_a_kill_without_a_word() {
    let host = SupervisedHost::start(fake(), LONG).await;
    let said = host.stop().await;
    assert!(said.iter().any(|line| line == "listening") && !said.iter().any(|line| line == "SIGTERM came"), "{said:?}");
}

#[tokio::test]
async fn a_delivery_is_spread_and_fails_as_a_whole() {
    let host = SupervisedHost::start(fake(), LONG).await;
    let good: Vec<Value> = (0..TOGETHER).map(|n| event(&format!("{n}.csv"))).collect();
    assert_eq!(host.deliver("1", &good).await, 202);
    let mut mixed = good;
    mixed[1] = event("bad.csv");
    assert_eq!(host.deliver("2", &mixed).await, 500);
}

#[tokio::test]
async fn a_queued_message_is_a_string_in_a_string() {
    let host = SupervisedHost::start(fake(), LONG).await;
    // The same event as in the recording.
    let recorded: Value = serde_json::from_str(captured("queue")["body"].as_str().unwrap()).unwrap();
    let text: String = serde_json::from_str(recorded["Data"]["event"].as_str().unwrap()).unwrap();
    assert_eq!(host.message("1", &STANDARD.encode(&text)).await, Queued::Done);
    assert_eq!(host.message("2", &text).await, Queued::Poison, "Event Grid encodes; nobody who does not is heard");
    let said = host.stop().await;
    let bodies: Vec<&str> = said.iter().filter_map(|line| line.strip_prefix("body ")).collect();
    let [body] = bodies.as_slice() else { panic!("{bodies:?}") };
    let sent: Value = serde_json::from_str(body).unwrap();
    assert_eq!(sent["Data"], recorded["Data"]);
}

/// One failure repeats the whole delivery; what was taken before is known. The host's limit is what Event Grid waits for: an
/// invocation past it would cost the handler its life.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_of_fifty_with_one_that_fails_score_each_of_the_others_once() {
    let cloud = Cloud::start().await;
    let vars = with_rule(cloud.vars("ledger"), &[("maxInFlight", json!(7)), ("pollInterval", json!("PT1S"))]);
    let host = SupervisedHost::start(Handler::scorekeeper(cloud.root(), &vars), EVENT_GRID).await;
    let paths: Vec<String> = (0..50).map(|n| format!("{n}.csv")).collect();
    for path in &paths {
        cloud.upload(path, "age\n65\n");
    }
    let mut delivery: Vec<Value> = paths.iter().map(|path| event(path)).collect();
    // Longer than what quarantine keeps whole, and unreadable: it must be refused, or it would be lost.
    delivery[20] = json!({ "eventType": "Microsoft.Storage.BlobCreated", "data": { "x": "y".repeat(20_000) } });
    for nth in 0..5 {
        assert_eq!(host.deliver(&nth.to_string(), &delivery).await, 500);
    }
    let timer = captured("timer")["body"].as_str().unwrap().to_owned();
    // Each run submits what there is room for; the jobs of the one before end meanwhile.
    let end = std::time::Instant::now() + Duration::from_secs(120);
    while cloud.scored(&vars).await < 49 {
        assert_eq!(host.call("Reconcile", "tick", timer.clone()).await, 202);
        assert!(std::time::Instant::now() < end, "{:?}", cloud.simulator.summary());
    }
    delivery.remove(20);
    assert_eq!(host.deliver("good", &delivery).await, 202, "what is known and scored is a duplicate");
    assert_eq!(host.call("Reconcile", "tick", timer).await, 202);
    let summary = cloud.simulator.summary();
    assert_eq!((summary.posts, summary.max_jobs_per_request_id), (49, 1), "{summary:?}");
    assert!(summary.max_in_flight <= 7, "{summary:?}");
    let list = cloud.told(&vars, &["list", "--limit", "100"]).await;
    let statuses: Vec<&str> = list.as_array().unwrap().iter().map(|one| one["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["scored"; 49], "nothing else was made of them: {list}");
    assert_eq!(host.until(|_| true).await, HostState::Ready { starts: 1 }, "no invocation was past the limit");
    let said = host.stop().await;
    let mut ends: Vec<Value> = said.iter().map(|line| serde_json::from_str(line).expect("JSON under a host")).collect();
    ends.retain(|record| record["to"] == "scored");
    let blob = |record: &Value| record["blob"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let mut blobs: Vec<String> = ends.iter().map(blob).collect();
    blobs.sort_unstable();
    let mut expected: Vec<String> = paths.into_iter().filter(|path| path != "20.csv").collect();
    expected.sort_unstable();
    assert_eq!(blobs, expected, "each came to `scored` once");
}
