//! What Application Insights is sent: by us, counted at the stand-in for the Functions host, and by the host itself, as the real one
//! (4.1037) was seen to do. The page tells these numbers, and costs are made of them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use simulator::Timing;

use crate::supervised_host::captured;
use crate::support::cloud::{Cloud, event, with_rule};
use crate::support::supervised_host::{Handler, SupervisedHost};

const OPERATIONS: &str = include_str!("../handler/docs/operations.md");
const INFRA: &str = include_str!("../infra/README.md");
const HOST: &str = include_str!("../host.json");
/// `logLevel` of host.json as it was when the real host was run with it.
const BEFORE: &str = r#"{ "default": "Information", "Host.Function.Console": "Information" }"#;
/// Longer than any answer of a healthy handler.
const LONG: Duration = Duration::from_secs(60);

/// Records in one category: of a minute in which nothing happens, and of an event from its delivery until it is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Records {
    category: &'static str,
    idle_minute: u64,
    /// None: nobody has counted them.
    event: Option<u64>,
}

/// A line of our stdout is a record.
const OURS: Records = Records { category: "Host.Function.Console", idle_minute: 1, event: Some(3) };
/// The host's, each at `Information`. The idle minute has one invocation, of `Reconcile`, and so has an event, of `BlobCreated`.
///
/// * `Function.*`: `Executing …` and `Executed …` of each invocation (seen on its console);
/// * `Host.Results`: the record in `requests` of each invocation, and `Host.Aggregator`: seven in `customMetrics` of each function that
///   was invoked in half a minute (both by Microsoft's documentation: the real host was run without Application Insights);
/// * `Azure.Core`: each request to its storage account and each answer; 34 of leases and 12 of a queue in 59 seconds (seen).
const OF_THE_HOST: [Records; 4] = [
    Records { category: "Function", idle_minute: 2, event: Some(2) },
    Records { category: "Host.Results", idle_minute: 1, event: Some(1) },
    Records { category: "Host.Aggregator", idle_minute: 7, event: Some(7) },
    Records { category: "Azure.Core", idle_minute: 47, event: None },
];

/// What is let through of a category at `Information`: by the longest name in `logLevel` that it begins with, else by `default`, else
/// by the host's own filter.
fn passes(levels: &Value, category: &str) -> bool {
    let below = |name: &str| category == name || category.starts_with(&format!("{name}."));
    let levels = levels.as_object().unwrap();
    let named = levels.iter().filter(|(name, _)| below(name)).max_by_key(|(name, _)| name.len());
    match named.map(|(_, level)| level).or_else(|| levels.get("default")) {
        Some(level) => ["Trace", "Debug", "Information"].contains(&level.as_str().unwrap()),
        None => ["Host", "Function", "Worker", "Microsoft.Azure.WebJobs"].iter().any(|name| below(name)),
    }
}

fn now() -> Value {
    let host: Value = serde_json::from_str(HOST).unwrap();
    host["logging"]["logLevel"].clone()
}

/// What is sent in all, of an idle minute and of an event.
pub fn sent() -> (u64, u64) {
    let levels = now();
    let sent = [OURS].into_iter().chain(OF_THE_HOST).filter(|records| passes(&levels, records.category));
    sent.fold((0, 0), |(idle, event), records| (idle + records.idle_minute, event + records.event.expect("counted")))
}

#[test]
fn the_page_tells_what_is_sent_by_category_before_and_now() {
    let (before, now): (Value, Value) = (serde_json::from_str(BEFORE).unwrap(), now());
    assert!(passes(&now, OURS.category) && passes(&before, OURS.category));
    let [ours, ours_of_an_event] = [OURS.idle_minute, OURS.event.unwrap()];
    // Ours of before are read in its sources: nothing of a run; of an event accepted, submitted, completed, scored, and each word for
    // the job that a look found new, of which there are two as a rule.
    let first = format!("| `{}` | 0 | {ours} | 6 | {ours_of_an_event} |", OURS.category);
    let of_the_host = OF_THE_HOST.iter().map(|records| {
        let told = |levels: &Value, count: Option<u64>| match count {
            _ if !passes(levels, records.category) => "0".to_owned(),
            Some(count) => count.to_string(),
            None => "not counted".to_owned(),
        };
        let counts = [Some(records.idle_minute), records.event];
        let [idle, event] = counts.map(|count| format!("{} | {}", told(&before, count), told(&now, count)));
        format!("| `{}` | {idle} | {event} |", records.category)
    });
    let (idle, event) = sent();
    let all = format!("| in all | | {idle} | | {event} |");
    for row in [first].into_iter().chain(of_the_host).chain([all]) {
        assert!(OPERATIONS.contains(&row), "operations.md must hold\n{row}");
    }
    let told = format!("{ours_of_an_event} records of ours for each scoring and {ours} for each reconcile run");
    assert!(INFRA.contains(&told), "infra/README.md must say: {told}");
}

#[test]
fn a_default_level_would_let_in_each_storage_request_of_the_host() {
    assert!(passes(&json!({ "default": "Information" }), "Azure.Core.1"));
    assert!(!passes(&json!({ "default": "Information", "Azure.Core": "Warning" }), "Azure.Core.1"));
    assert!(!passes(&json!({}), "Azure.Core") && passes(&json!({}), "Function.Reconcile.User"));
    assert_eq!(sent(), (4, 6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scored_event_costs_three_records_and_an_idle_minute_one() {
    // Long enough to be seen at work by a look, which is not told of.
    let timing = Timing { running: Duration::from_secs(3), ..Timing::default() };
    let cloud = Cloud::with_timing(timing).await;
    let vars = with_rule(cloud.vars("ledger"), &[("pollInterval", json!("PT1S"))]);
    let host = SupervisedHost::start(Handler::scorekeeper(cloud.root(), &vars), LONG).await;
    let timer = captured("timer")["body"].as_str().unwrap().to_owned();
    for minute in ["idle-1", "idle-2"] {
        assert_eq!(host.call("Reconcile", minute, timer.clone()).await, 202);
    }
    cloud.upload("a.csv", "age\n65\n");
    assert_eq!(host.deliver("event", &[event("a.csv")]).await, 202);
    let end = std::time::Instant::now() + Duration::from_secs(60);
    let mut runs = 2;
    while cloud.scored(&vars).await != 1 {
        assert_eq!(host.call("Reconcile", "run", timer.clone()).await, 202);
        runs += 1;
        assert!(std::time::Instant::now() < end);
    }
    let said = host.stop().await;
    let mut counts = BTreeMap::new();
    let mut moves = Vec::new();
    for line in &said {
        let record: Value = serde_json::from_str(line).expect("JSON under a host");
        let function = record["function"].as_str().unwrap_or_default().to_owned();
        let text = record["message"].as_str().unwrap();
        let is_move = record["to"].is_string();
        *counts.entry((function, text.starts_with("reconcile run ended"), is_move)).or_insert(0) += 1;
        moves.extend(
            is_move.then(|| format!("{} -> {}", record["from"].as_str().unwrap(), record["to"].as_str().unwrap())),
        );
    }
    assert_eq!(moves, ["submitting -> running", "running -> verifying", "verifying -> scored"], "{said:#?}");
    assert_eq!(Some(moves.len() as u64), OURS.event);
    let expected = [
        (("BlobCreated".to_owned(), false, true), 1),
        (("Reconcile".to_owned(), false, true), 2),
        // Of a minute in which nothing happens, and of any other.
        (("Reconcile".to_owned(), true, false), runs * OURS.idle_minute),
        // That it listens.
        ((String::new(), false, false), 1),
    ];
    assert_eq!(counts, expected.into(), "{said:#?}");
}
