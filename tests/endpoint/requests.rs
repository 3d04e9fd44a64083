//! What goes out for each form of a rule: `cases/requests/NAME.json` has the rule's members and the request, header and body.

use std::path::PathBuf;
use std::time::Duration;

use app::ports::Endpoint as _;
use lifecycle::{BlobVersion, LedgerId, Rules, Scoring};
use serde_json::{Value, json};
use time::macros::datetime;

use super::{azure_ml, job};
use crate::support::canned::{self, Canned};

fn cases() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cases/requests");
    let mut all: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    assert!(all.len() >= 20, "{}", all.len());
    all
}

/// The request of the first attempt for one blob under a rule with these members, as they stand in the file: reading them as
/// JSON would change numbers.
async fn sent(file: &str) -> Value {
    let server = Canned::start().await;
    server.next(canned::json(201, &job(&server, "batchjob-1", "Preparing")));
    let case: Value = serde_json::from_str(file).unwrap();
    let members = &file[file.find("\"rule\":").unwrap() + "\"rule\":".len()..file.rfind("\"sent\":").unwrap()];
    let members = members.trim().trim_end_matches(',').strip_prefix('{').unwrap();
    // The members that every rule has come first.
    let mut endpoint = json!({ "uri": server.url("/jobs") });
    let own = case["rule"]["endpoint"].as_object();
    endpoint.as_object_mut().unwrap().extend(own.cloned().unwrap_or_default());
    let members = if own.is_some() { "}" } else { members };
    let comma = if members.trim_start().starts_with('}') { "" } else { "," };
    let rules = format!(
        r#"{{"rules": [{{"id": "claims", "match": {{"container": "uploads"}}, "endpoint": {endpoint}{comma} {members}]}}"#
    );
    let rules = Rules::read(&rules).unwrap();
    let rule = rules.get("claims").unwrap();
    let mut blob = BlobVersion::read("https://acct.blob.core.windows.net/uploads/eu/fr/a%20b.csv", "0x8DC1").unwrap();
    blob.event_time = Some(datetime!(2026-07-21 23:59:59 UTC));
    let mut scoring = Scoring::accept(&LedgerId::of_random([1; 16]), rule, blob, datetime!(2026-07-22 00:00:10 UTC));
    scoring.attempt = 1;
    scoring.submission = Some(rule.submission(&scoring, 1));
    azure_ml(&server).submit(&scoring, Duration::from_secs(30)).await;
    let requests = server.requests();
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    let body = request.json().to_string().replace(scoring.id.as_str(), "SCORING");
    json!({
        "azureml-model-deployment": request.header("azureml-model-deployment"),
        "body": serde_json::from_str::<Value>(&body).unwrap(),
    })
}

#[tokio::test]
async fn each_form_of_a_rule_sends_its_golden_request() {
    for case in cases() {
        let file = std::fs::read_to_string(&case).unwrap();
        let golden = serde_json::from_str::<Value>(&file).unwrap()["sent"].clone();
        assert_eq!(sent(&file).await, golden, "{}", case.display());
    }
}

#[tokio::test]
#[ignore = "writes tests/cases/requests"]
async fn write_the_golden_requests() {
    for case in cases() {
        let file = std::fs::read_to_string(&case).unwrap();
        let request = serde_json::to_string_pretty(&sent(&file).await).unwrap().replace('\n', "\n  ");
        let kept = &file[..file.rfind("\"sent\":").unwrap()];
        std::fs::write(&case, format!("{kept}\"sent\": {request}\n}}\n")).unwrap();
    }
}
