//! Deliveries as they come over the wire: in every encoding and schema an upload becomes one scoring, and garbage ends
//! recorded or refused, never in a crash, a hang or an answer that the host would wait on.

use serde_json::{Value, json};

use crate::support::cloud::{Cloud, cloud_event, event};
use crate::support::functions_host::FunctionsHost;

/// The four forms in which hosts write a value: object, array, string that holds either.
fn encodings(event: &Value) -> [Value; 4] {
    let list = json!([event]);
    [event.clone(), list.clone(), json!(event.to_string()), json!(list.to_string())]
}

#[tokio::test]
async fn in_each_encoding_and_schema_an_upload_becomes_one_scoring() {
    let cloud = Cloud::start().await;
    let host = FunctionsHost::start(cloud.root(), &cloud.vars("ledger")).await;
    let mut ids = std::collections::BTreeSet::new();
    for first in 0..4 {
        for schema in [event, cloud_event] {
            let path = format!("{first}/{}.csv", ids.len());
            let value = host.invoke("BlobCreated", "1", "event", &encodings(&schema(&path))[first]).await.value();
            let accepted = value["accepted"].as_array().unwrap();
            assert_eq!((accepted.len(), &value["duplicates"]), (1, &json!(0)), "{value}");
            assert_eq!(accepted[0]["rule"], json!("claims"));
            assert!(ids.insert(accepted[0]["id"].as_str().unwrap().to_owned()));
            // The same upload, however it is told of again, is no new scoring.
            for again in encodings(&event(&path)).into_iter().chain(encodings(&cloud_event(&path))) {
                let value = host.invoke("BlobCreated", "2", "event", &again).await.value();
                assert_eq!((&value["accepted"], &value["duplicates"]), (&json!([]), &json!(1)), "{value}");
            }
        }
    }
    assert_eq!(ids.len(), 8);
    let jobs = cloud.simulator.jobs();
    assert_eq!(jobs.len(), 8, "one job each");
}

#[tokio::test]
async fn a_batch_is_taken_event_by_event() {
    let cloud = Cloud::start().await;
    let host = FunctionsHost::start(cloud.root(), &cloud.vars("ledger")).await;
    let batch = json!([event("a.csv"), {"no": "event"}, cloud_event("b.csv"), event("a.csv")]);
    let value = host.invoke("BlobCreated", "1", "event", &json!(batch.to_string())).await.value();
    let counts = (value["accepted"].as_array().map(Vec::len), &value["duplicates"], &value["quarantined"]);
    assert_eq!(counts, (Some(2), &json!(1), &json!(1)), "{value}");
}

/// The form in which the host hands over an array: as a string that holds it. Half of a surrogate pair may be an escape in
/// the array, or one in the string around it.
#[tokio::test]
async fn half_a_surrogate_in_one_event_costs_that_event_alone() {
    let case = include_str!("cases/lossy/half-surrogate-in-a-batch.json");
    let case = case.replace("/claims/", "/inbox/").replace("//uploads.", "//acct.");
    let escaped = json!(case).to_string();
    for value in [case.clone(), escaped.replace(r"\\ud83d", r"\ud83d"), escaped] {
        let cloud = Cloud::start().await;
        let host = FunctionsHost::start(cloud.root(), &cloud.vars("ledger")).await;
        let envelope = format!(r#"{{"Data":{{"event":{value}}},"Metadata":{{}}}}"#);
        let value = host.post("BlobCreated", "1", envelope).await.value();
        let counts = (value["accepted"].as_array().map(Vec::len), &value["quarantined"]);
        assert_eq!(counts, (Some(1), &json!(1)), "{value}");
    }
}

#[tokio::test]
async fn a_byte_that_is_no_utf_8_in_one_of_forty_events_costs_that_event_alone() {
    let cloud = Cloud::start().await;
    let host = FunctionsHost::start(cloud.root(), &cloud.vars("ledger")).await;
    let events: Vec<_> = (0..40).map(|n| event(&format!("{n}-bad.csv"))).collect();
    let mut body = json!({"Data": {"event": events}, "Metadata": {}}).to_string().into_bytes();
    let at = body.windows(7).position(|part| part == b"/17-bad").unwrap();
    body[at + 4] = 0xff;
    let value = host.post("BlobCreated", "1", body).await.value();
    let counts = (value["accepted"].as_array().map(Vec::len), &value["quarantined"]);
    assert_eq!(counts, (Some(39), &json!(1)), "{value}");
}

#[tokio::test]
async fn what_cannot_be_kept_whole_is_answered_with_an_error_and_costs_no_other() {
    let cloud = Cloud::start().await;
    let host = FunctionsHost::start(cloud.root(), &cloud.vars("ledger")).await;
    let batch = json!([event("a.csv"), {"no": "x".repeat(20_000)}, event("b.csv")]);
    let envelope = json!({"Data": {"event": batch}, "Metadata": {}}).to_string();
    let answer = host.post("BlobCreated", "1", envelope).await;
    assert_eq!((answer.status, &answer.json()["errorType"]), (500, &json!("NotKeptWhole")), "{answer:?}");
    // No text at all: nothing of it can be kept.
    let answer = host.post("BlobCreated", "2", vec![0xff; 3_000]).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let value = host.invoke("BlobCreated", "3", "event", &json!([event("a.csv"), event("b.csv")])).await.value();
    assert_eq!((&value["accepted"], &value["duplicates"]), (&json!([]), &json!(2)), "taken the first time");
}

/// SplitMix64: seeded, so that a failing body is made again.
struct Seeded(u64);

impl Seeded {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, max: usize) -> usize {
        usize::try_from(self.number() % max as u64).unwrap()
    }

    fn bytes(&mut self, max: usize) -> Vec<u8> {
        (0..=self.below(max)).map(|_| self.number().to_le_bytes()[0]).collect()
    }

    /// Any JSON that holds at least one scalar: an empty list is a delivery of nothing, which is no garbage.
    fn json(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 5 } else { 7 }) {
            0 => Value::Null,
            1 => json!(self.number().is_multiple_of(2)),
            2 => json!(self.number()),
            3 => json!(String::from_utf8_lossy(&self.bytes(40))),
            4 => json!("{\"data\": \u{0} half"),
            5 => (0..=self.below(3)).map(|_| self.json(depth - 1)).collect(),
            _ => {
                const NAMES: [&str; 8] = ["Data", "data", "event", "eventType", "specversion", "type", "url", "id"];
                let members = (0..=self.below(3)).map(|_| (NAMES[self.below(8)].to_owned(), self.json(depth - 1)));
                Value::Object(members.collect::<Vec<_>>().into_iter().collect())
            }
        }
    }

    /// A body that no host would send, or about no blob.
    fn body(&mut self) -> Vec<u8> {
        let whole = json!({"Data": {"event": "never.csv".repeat(60)}, "Metadata": {}}).to_string().into_bytes();
        match self.below(9) {
            0 => self.bytes(2_000),
            1 => whole[..self.below(whole.len())].to_vec(),
            2 => {
                // One byte is no UTF-8 any more, somewhere in the envelope or in what is no event anyway.
                let mut whole = whole;
                let at = self.below(whole.len());
                whole[at] = 0xff;
                whole
            }
            3 => self.json(4).to_string().into_bytes(),
            4 => json!({"Data": self.json(4)}).to_string().into_bytes(),
            5 => json!({"Data": {"event": self.json(4)}}).to_string().into_bytes(),
            6 => json!({"Data": {"event": self.json(4).to_string()}}).to_string().into_bytes(),
            7 => "[".repeat(1 + self.below(15_000)).into_bytes(),
            _ => format!("{{\"Data\":{{\"event\":{}1{}}}}}", "[".repeat(200), "]".repeat(200)).into_bytes(),
        }
    }
}

#[tokio::test]
async fn garbage_is_recorded_or_refused_and_never_a_crash_a_hang_or_an_empty_answer() {
    let cloud = Cloud::start().await;
    let mut host = FunctionsHost::start(cloud.root(), &cloud.vars("ledger")).await;
    let mut seeded = Seeded(20_260_721);
    let mut recorded = 0;
    for number in 0..200 {
        let body = seeded.body();
        let shown = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
        for function in ["BlobCreated", "Reconcile"] {
            let answer = host.post(function, &format!("garbage-{number}"), body.clone()).await;
            if function == "BlobCreated" && answer.status == 200 {
                let value = answer.value();
                let count = |name: &str| value[name].as_u64().unwrap();
                assert_eq!(value["accepted"], json!([]), "{number}: {shown}");
                assert!(count("quarantined") + count("skipped") > 0, "{number}: {value} for {shown}");
                recorded += 1;
            } else if answer.status == 200 {
                // `Data` held an object: to a timer, whatever is in it is a tick.
                answer.value();
            } else {
                assert!((400..600).contains(&answer.status), "{number}: {answer:?} for {shown}");
                let diagnostic = answer.json();
                assert!(diagnostic["errorMessage"].as_str().is_some_and(|text| !text.is_empty()), "{diagnostic}");
            }
        }
    }
    // Redelivering garbage that can be kept helps nobody, so none of this is refused.
    assert_eq!(recorded, 200);
    assert_eq!(host.process().stderr(), "");
    let value = host.invoke("BlobCreated", "good", "event", &event("good.csv")).await.value();
    assert_eq!(value["accepted"].as_array().map(Vec::len), Some(1), "still at work: {value}");
    assert_eq!(cloud.simulator.jobs().len(), 1, "garbage made no job");
}
