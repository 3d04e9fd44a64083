//! What a body of 16 MiB costs the real handler: whoever can reach the handler decides what is in it.

use serde_json::{Value, json};

use crate::support::cloud::{Cloud, event};
use crate::support::functions_host::FunctionsHost;

/// Resident memory that the handler may have needed at any time: 64 MiB, less the 24 MiB that the pages of an executable's file have
/// at most. Those of a build without optimization are more, and grow with each feature: they say nothing of bodies.
const MAX_RESIDENT_KIB: u64 = 40 * 1024;
const BODY_BYTES: usize = 16 * 1024 * 1024;

/// A list of one item, as long as a body of 16 MiB can hold it: as it is, and as a string that holds JSON.
fn lists_of(item: &str) -> [String; 2] {
    let escaped = json!(item).to_string();
    let list = |item: &str| format!("[{}]", vec![item; BODY_BYTES / (item.len() + 1)].join(","));
    [list(item), format!("\"{}\"", list(&escaped[1..escaped.len() - 1]))]
}

/// What the handler answers to the value of the binding, and the most memory beside its executable that it had resident until then.
async fn delivered(value: &str) -> (u16, Value, u64) {
    let cloud = Cloud::start().await;
    let mut host = FunctionsHost::start(cloud.root(), &cloud.vars("ledger")).await;
    let envelope = format!(r#"{{"Data":{{"event":{value}}},"Metadata":{{}}}}"#);
    let answer = host.post("BlobCreated", "large", envelope).await;
    let pid = host.process().child.id().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let of = |name: &str| -> u64 {
        let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        value.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let kib = of("VmHWM:") - of("RssFile:");
    println!("{} MiB of body: {kib} KiB resident, answered {}", value.len() >> 20, answer.status);
    (answer.status, answer.json(), kib)
}

async fn refused_as_too_many(item: &str) {
    for value in lists_of(item) {
        let (status, answer, kib) = delivered(&value).await;
        assert_eq!((status, &answer["errorType"]), (500, &json!("TooManyEvents")), "{answer}");
        assert!(answer["errorMessage"].as_str().is_some_and(|text| text.contains("more than 5000 events")), "{answer}");
        assert!(kib <= MAX_RESIDENT_KIB, "{kib} KiB");
    }
}

#[tokio::test]
async fn sixteen_mebibytes_of_numbers_are_refused_within_64_mib_of_memory() {
    refused_as_too_many("0").await;
}

#[tokio::test]
async fn sixteen_mebibytes_of_small_events_are_refused_within_64_mib_of_memory() {
    refused_as_too_many(&event("a.csv").to_string()).await;
}

#[tokio::test]
async fn one_event_of_sixteen_mebibytes_is_taken_within_64_mib_of_memory() {
    let [numbers, _] = lists_of("0");
    let mut large = event("large.csv");
    large["data"]["padding"] = json!("PADDING");
    let large = large.to_string().replace(r#""PADDING""#, &numbers);
    for value in [json!(large).to_string(), json!([large]).to_string(), large] {
        let (status, answer, kib) = delivered(&value).await;
        let accepted = answer["ReturnValue"]["accepted"].as_array().map(Vec::len);
        assert_eq!((status, accepted), (200, Some(1)), "{answer}");
        assert!(kib <= MAX_RESIDENT_KIB, "{kib} KiB");
    }
}
