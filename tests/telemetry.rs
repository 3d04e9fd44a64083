//! OpenTelemetry: what a collector is sent of a scoring from its event to `scored`, and that one which is down or hangs costs nobody
//! anything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use app::measures::{self, Kind};
use serde_json::{Value, json};
use simulator::{Fault, FaultKind, JobFailure, Route};

use crate::support::azurite;
use crate::support::cloud::{Cloud, event, with_rule};
use crate::support::collector::{Behaviour, Collector, Received, Tap};
use crate::support::functions_host::{FunctionsHost, TRACEPARENT, free_port};
use crate::support::storage::fresh_name;

/// The trace of the event, and that of the reconcile runs.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const OF_RUNS: &str = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01";

fn timer() -> Value {
    serde_json::from_str(include_str!("fixtures/timer.json")).unwrap()
}

/// The settings of an app that sends to a collector.
fn telling(mut vars: BTreeMap<String, String>, endpoint: &str) -> BTreeMap<String, String> {
    vars.insert("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), endpoint.to_owned());
    vars.insert("OTEL_METRIC_EXPORT_INTERVAL".to_owned(), "200".to_owned());
    with_rule(vars, &[("pollInterval", json!("PT1S"))])
}

/// Runs `Reconcile` until so many are scored.
async fn until_scored(host: &FunctionsHost, cloud: &Cloud, vars: &BTreeMap<String, String>, count: u64) {
    let end = Instant::now() + Duration::from_secs(60);
    while cloud.scored(vars).await != count {
        host.invoke("Reconcile", "run", "timer", &timer()).await.value();
        assert!(Instant::now() < end, "not scored within a minute");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_leads_from_the_event_to_scored_with_metrics_and_logs() {
    let Some((tables, ..)) = azurite::tables() else { return };
    let cloud = Cloud::start().await;
    let collector = Collector::start(Behaviour::Takes).await;
    let (account, origin) = (tables.rsplit('/').next().unwrap(), cloud.simulator.origin());
    let table_tap = Tap::before(tables.trim_end_matches(account)).await;
    let tap = Tap::before(&origin).await;
    let mut vars = telling(cloud.vars("unused"), &collector.endpoint());
    vars.insert("SCOREKEEPER_LEDGER".to_owned(), format!("{}/{account}", table_tap.origin()));
    vars.insert("SCOREKEEPER_TASK_HUB".to_owned(), fresh_name());
    for name in ["SCOREKEEPER_RULES", "SCOREKEEPER_RESOURCE_MANAGER"] {
        let through = vars[name].replace(&origin, &tap.origin());
        vars.insert(name.to_owned(), through);
    }
    cloud.upload("a.csv", "age\n65\n");
    let mut host = FunctionsHost::start(cloud.root(), &vars).await;
    host.traceparent = Some(TRACEPARENT);
    host.invoke("BlobCreated", "of-the-event", "event", &event("a.csv")).await.value();
    let of_event = |received: &Received| received.of_trace(TRACE).iter().any(|span| span.name == "invocation");
    collector.until(of_event).await;
    // Another process looks at it later, in another trace.
    host.kill_and_restart(cloud.root()).await;
    host.traceparent = Some(OF_RUNS);
    until_scored(&host, &cloud, &vars, 1).await;
    let is_scored = |received: &Received| {
        let spans = received.of_trace(TRACE);
        spans.iter().any(|span| span.name == "drive" && span.attributes["to"] == "scored")
            && received.sum("scorekeeper.scored") >= 1.0
            && received.logs.iter().any(|record| record.body.contains("verifying -> scored"))
    };
    let received = collector.until(is_scored).await;
    one_tree(&received);
    let line = host.process().until_logged(|line| line.contains("verifying -> scored")).await;
    let record: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&record["trace_id"], &record["function"]), (&json!(TRACE), &json!("Reconcile")), "{record}");
    // What was sent on is a span's.
    let calls: BTreeSet<String> =
        received.of_trace(TRACE).iter().filter(|span| span.name != "drive").map(|span| span.id.clone()).collect();
    let sent_on = |tap: &Tap, method: &str, part: &str| {
        let all = tap.seen();
        let with = all.iter().filter(|seen| seen.method == method && seen.path.contains(part));
        let ids: Vec<_> = with.filter_map(|seen| seen.traceparent.clone()).collect();
        ids.iter().any(|id| {
            let parts: Vec<&str> = id.split('-').collect();
            parts[1] == TRACE && calls.contains(parts[2])
        })
    };
    assert!(sent_on(&tap, "POST", "/jobs"), "the submission: {:?}", tap.seen());
    assert!(sent_on(&table_tap, "POST", "$batch"), "the ledger: {:?}", table_tap.seen());
    logs_and_metrics(&received);
    for secret in [&vars["IDENTITY_HEADER"], azurite::KEY, "Bearer ", "SharedKey"] {
        assert!(!received.raw.contains(secret), "{secret}");
    }
}

/// The spans of the event's trace hang together, below what the host told of.
fn one_tree(received: &Received) {
    let spans = received.of_trace(TRACE);
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    let roots: Vec<_> = spans.iter().filter(|span| !ids.contains(span.parent.as_str())).collect();
    assert_eq!(roots.len(), 1, "{roots:#?}");
    let invocation = roots[0];
    assert_eq!((invocation.name.as_str(), invocation.parent.as_str()), ("invocation", "b7ad6b7169203331"));
    assert_eq!(invocation.attributes["function"], "BlobCreated");
    assert_eq!(invocation.attributes["invocation_id"], "of-the-event");
    let take_in: Vec<_> = spans.iter().filter(|span| span.name == "take in").collect();
    assert_eq!((take_in.len(), &take_in[0].parent), (1, &invocation.id));
    let drives: Vec<_> = spans.iter().filter(|span| span.name == "drive").collect();
    assert!(drives.iter().all(|span| span.parent == take_in[0].id), "{drives:#?}");
    let by_event = drives.iter().find(|span| span.attributes["to"] == "running").unwrap();
    assert_eq!(by_event.links, Vec::<String>::new(), "it is in the trace that it is of");
    let by_run = drives.iter().find(|span| span.attributes["to"] == "scored").unwrap();
    assert_eq!(by_run.links, ["a".repeat(32)], "the run that brought it to its end");
    let below = |parent: &str, method: &str| {
        let calls = spans.iter().filter(|span| span.parent == parent);
        calls.filter(|span| span.attributes.get("http.request.method").is_some_and(|it| it == method)).count()
    };
    assert_eq!(below(&by_event.id, "POST"), 2, "the submission and its record: {spans:#?}");
    assert!(below(&take_in[0].id, "POST") >= 1, "the first record: {spans:#?}");
    assert!(below(&by_run.id, "GET") + below(&by_run.id, "HEAD") >= 1, "a look at the output: {spans:#?}");
    let scoring = &take_in[0].attributes["scoring"];
    assert!(drives.iter().all(|span| &span.attributes["scoring"] == scoring));
    assert_eq!(received.resource["service.name"], "scorekeeper");
}

fn logs_and_metrics(received: &Received) {
    for (part, function, invocation) in
        [("submitting -> running", "BlobCreated", "of-the-event"), ("verifying -> scored", "Reconcile", "run")]
    {
        let record = received.logs.iter().find(|record| record.body.contains(part)).expect(part);
        assert_eq!(record.trace, TRACE, "{record:?}");
        assert_eq!(record.attributes["function"], function);
        assert_eq!(record.attributes["invocation_id"], invocation);
        assert!(record.attributes["scoring"].len() == 32 && record.attributes["rule"] == "claims", "{record:?}");
    }
    let names: BTreeSet<&str> = received.metrics.keys().map(|(name, _)| name.as_str()).collect();
    // Nothing failed here.
    let expected: BTreeSet<&str> =
        measures::ALL.iter().filter(|it| **it != measures::FAILED).map(|measure| measure.name).collect();
    assert_eq!(names, expected);
    for measure in measures::ALL.iter().filter(|it| **it != measures::FAILED) {
        assert_eq!(received.units[measure.name], measure.unit);
        for ((_, attributes), point) in received.metrics.iter().filter(|((name, _), _)| name == measure.name) {
            let told: BTreeSet<&str> = attributes.keys().map(String::as_str).collect();
            assert_eq!(told, measure.attributes.iter().copied().collect(), "{}", measure.name);
            assert!(measure.kind == Kind::Histogram || point.count == 1);
        }
    }
    let phases: BTreeSet<&str> = received
        .metrics
        .iter()
        .filter(|((name, _), point)| name == measures::PHASE.name && point.count >= 1)
        .map(|((_, attributes), _)| attributes["phase"].as_str())
        .collect();
    assert!(["submit", "run", "verify"].iter().all(|phase| phases.contains(phase)), "{phases:?}");
    assert!(received.sum("scorekeeper.telemetry.lost") < 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_counted_by_class() {
    let cloud = Cloud::start().await;
    let collector = Collector::start(Behaviour::Takes).await;
    let fails = Fault::new(Route::Invoke, FaultKind::Failed { by: JobFailure::Quota });
    cloud.simulator.set_faults(vec![fails]).unwrap();
    let vars = with_rule(telling(cloud.vars("ledger"), &collector.endpoint()), &[("maxAttempts", json!(1))]);
    cloud.upload("a.csv", "age\n65\n");
    let host = FunctionsHost::start(cloud.root(), &vars).await;
    host.invoke("BlobCreated", "1", "event", &event("a.csv")).await.value();
    let end = Instant::now() + Duration::from_secs(60);
    while cloud.told(&vars, &["status"]).await["counts"]["failed"] != 1 {
        host.invoke("Reconcile", "run", "timer", &timer()).await.value();
        assert!(Instant::now() < end);
    }
    let told = |received: &Received| {
        received.sum("scorekeeper.failed") >= 1.0 && received.spans.iter().any(|span| span.name == "invocation")
    };
    let received = collector.until(told).await;
    let failed: Vec<_> = received.metrics.keys().filter(|(name, _)| name == "scorekeeper.failed").collect();
    let of = |name: &str| failed[0].1[name].clone();
    assert_eq!((failed.len(), of("cause"), of("rule")), (1, "platform".to_owned(), "claims".to_owned()));
    assert!(received.sum("scorekeeper.scored") < 1.0);
    // Nobody told of a trace: the event begins one.
    assert!(
        received.spans.iter().any(|span| span.name == "invocation" && span.parent.is_empty()),
        "{:?}",
        received.spans
    );
}

/// None listens, one refuses, one takes and never answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_down_refuses_or_hangs_costs_no_event_and_no_end() {
    for behaviour in [None, Some(Behaviour::Refuses), Some(Behaviour::Hangs)] {
        let cloud = Cloud::start().await;
        let collector = match behaviour {
            Some(behaviour) => Some(Collector::start(behaviour).await),
            None => None,
        };
        let endpoint =
            collector.as_ref().map_or_else(|| format!("http://127.0.0.1:{}", free_port()), Collector::endpoint);
        let vars = telling(cloud.vars("ledger"), &endpoint);
        let mut host = FunctionsHost::start(cloud.root(), &vars).await;
        for n in 0..3_u64 {
            let name = format!("{n}.csv");
            cloud.upload(&name, "age\n65\n");
            let value = host.invoke("BlobCreated", &name, "event", &event(&name)).await.value();
            assert_eq!(value["accepted"].as_array().map(Vec::len), Some(1), "{behaviour:?}: {value}");
            until_scored(&host, &cloud, &vars, n + 1).await;
            if let Some(collector) = &collector {
                // It is at it, or was.
                collector.until(|received| !received.spans.is_empty()).await;
            }
        }
        if behaviour == Some(Behaviour::Refuses) {
            let collector = collector.as_ref().unwrap();
            collector.until(|received| received.sum("scorekeeper.telemetry.lost") >= 1.0).await;
            host.process().until_logged(|line| line.contains("telemetry is lost")).await;
        }
        let begun = Instant::now();
        host.process().handle().signal(rustix::process::Signal::TERM);
        assert_eq!(host.process().ended().await.code(), Some(143), "{behaviour:?}");
        // One export alone may take ten seconds.
        assert!(begun.elapsed() < Duration::from_secs(9), "{behaviour:?}: {:?}", begun.elapsed());
        assert_eq!(host.process().stderr(), "", "{behaviour:?}");
    }
}

/// What is done at last is sent before the process ends; and what looks like a secret is sent by no signal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_sent_when_the_process_ends_and_without_secrets() {
    const SIGNED: &str = "https://acct.blob.core.windows.net/inbox/a.csv?sv=2026&sig=c2NvcmVrZWVwZXI%3D";
    let cloud = Cloud::start().await;
    let collector = Collector::start(Behaviour::Takes).await;
    let mut vars = telling(cloud.vars("ledger"), &collector.endpoint());
    vars.insert("OTEL_METRIC_EXPORT_INTERVAL".to_owned(), "3600000".to_owned());
    let mut host = FunctionsHost::start(cloud.root(), &vars).await;
    // The one text of others that becomes an attribute of spans and records as it came.
    host.invoke("BlobCreated", SIGNED, "event", &event("a.csv")).await.value();
    host.process().handle().signal(rustix::process::Signal::TERM);
    host.process().ended().await;
    let received = collector.received();
    let invocation = received.spans.iter().find(|span| span.name == "invocation").unwrap();
    assert!(invocation.attributes["invocation_id"].ends_with("sig=***"), "{invocation:?}");
    assert!(
        received
            .logs
            .iter()
            .any(|record| record.attributes.get("invocation_id").is_some_and(|id| id.ends_with("sig=***")))
    );
    assert!(!received.raw.contains("c2NvcmVrZWVwZXI"));
    assert!(received.spans.iter().any(|span| span.name == "invocation"), "{received:?}");
    assert!(received.logs.iter().any(|record| record.body.contains("ending: signal 15")), "{received:?}");
    assert!(received.sum("scorekeeper.accepted") >= 1.0, "{received:?}");
}
