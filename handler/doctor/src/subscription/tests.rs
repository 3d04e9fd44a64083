use lifecycle::{Rules, StorageHosts};
use serde_json::json;
use time::macros::datetime;

use super::*;
use crate::app_identity::AppIdentity;

const NOW: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);
const SITE: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Web/sites/func";

fn app() -> Installation {
    Installation {
        rules: Rules::default(),
        rules_blob: None,
        task_hub: "Scorekeeper".into(),
        ledger_place: String::new(),
        ledger_account: None,
        queue_account: Some("state".into()),
        identity: AppIdentity::SystemAssigned,
        site: Some(SITE.into()),
        switched_off: Vec::new(),
        sign_in_required: false,
        storage_domain: None,
        storage_hosts: StorageHosts::default(),
        settings: String::new(),
        warnings: Vec::new(),
    }
}

fn function(more: &Value) -> Subscription {
    let mut document = json!({"name": "n", "properties": {"provisioningState": "Succeeded",
        "destination": {"endpointType": "AzureFunction", "properties": {"resourceId": format!("{SITE}/functions/BlobCreated")}},
        "deadLetterDestination": {"endpointType": "StorageBlob"}}});
    for (name, value) in more.as_object().unwrap() {
        document["properties"][name] = value.clone();
    }
    Subscription::read(&document, None)
}

fn queue(account: &str, queue: &str) -> Subscription {
    let document = json!({"name": "q", "properties": {"provisioningState": "Succeeded", "deliveryWithResourceIdentity": {
        "destination": {"endpointType": "StorageQueue", "properties": {"queueName": queue,
            "resourceId": format!("/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/{account}")}}}}});
    Subscription::read(&document, None)
}

#[test]
fn events_come_here_by_the_function_or_by_the_queue() {
    let ours = function(&json!({}));
    assert_eq!(ours.destination(&app()), Destination::Ours("BlobCreated"));
    let elsewhere = Installation { site: Some(SITE.replace("func", "other")), ..app() };
    assert!(matches!(ours.destination(&elsewhere), Destination::Elsewhere(_)));
    let nameless = Installation { site: None, queue_account: None, ..app() };
    assert!(matches!(ours.destination(&nameless), Destination::Inconclusive(_)));
    assert_eq!(queue("State", "blob-events").destination(&app()), Destination::Ours("BlobCreatedFromQueue"));
    assert!(matches!(queue("state", "others").destination(&app()), Destination::Elsewhere(_)));
    assert!(matches!(queue("other", "blob-events").destination(&app()), Destination::Elsewhere(_)));
    assert!(matches!(queue("state", "blob-events").destination(&nameless), Destination::Inconclusive(_)));
    for (kind, inconclusive) in [("WebHook", true), ("EventHub", false)] {
        let destination =
            function(&json!({"destination": {"endpointType": kind, "properties": {}}})).destination(&app());
        assert_eq!(matches!(destination, Destination::Inconclusive(_)), inconclusive, "{destination:?}");
    }
    let timer = format!("{SITE}/functions/Reconcile");
    let timer = json!({"destination": {"endpointType": "AzureFunction", "properties": {"resourceId": timer}}});
    assert!(matches!(function(&timer).destination(&app()), Destination::Elsewhere(_)));
}

fn verdicts(all: &[Subscription]) -> Vec<(Check, Verdict)> {
    let rules = Rules::read(
        r#"{"rules":[{"id":"r","match":{"container": "con"},"endpoint":{"uri":"https://e.example/jobs"}}]}"#,
    );
    let rules = rules.unwrap();
    let rules: Vec<&Rule> = rules.iter().collect();
    let findings = judge(all, &rules, coverage::Account::default(), &app(), NOW);
    findings.into_iter().map(|finding| (finding.check, finding.verdict)).collect()
}

fn first(all: &[Subscription]) -> Verdict {
    verdicts(all)[0].1
}

#[test]
fn a_subscription_works_if_it_was_made_whole_and_has_not_expired() {
    for (more, verdict) in [
        (json!({}), Verdict::Ok),
        (json!({"provisioningState": "Failed"}), Verdict::Fault),
        (json!({"provisioningState": "Creating"}), Verdict::Unknown),
        (json!({"provisioningState": null}), Verdict::Unknown),
        (json!({"expirationTimeUtc": "2026-07-21T09:00:00Z"}), Verdict::Fault),
        (json!({"expirationTimeUtc": "2026-07-22T09:00:00Z"}), Verdict::Warning),
    ] {
        assert_eq!(first(&[function(&more)]), verdict, "{more}");
    }
    let broken = function(&json!({"provisioningState": "Failed"}));
    assert_eq!(first(&[broken.clone(), function(&json!({}))]), Verdict::Ok, "one that works is enough");
    assert_eq!(verdicts(&[broken]).iter().filter(|(_, verdict)| *verdict == Verdict::Fault).count(), 1);
}

#[test]
fn filters_of_several_are_a_fault_only_if_none_lets_anything_through() {
    let ends = |name: &str| function(&json!({"filter": {"subjectEndsWith": name}}));
    let container = |name: &str| {
        function(&json!({"filter": {"subjectBeginsWith": format!("/blobServices/default/containers/{name}/")}}))
    };
    let filter = |all: &[Subscription]| verdicts(all).into_iter().find(|(check, _)| *check == Check::Filter).unwrap().1;
    assert_eq!(filter(&[function(&json!({}))]), Verdict::Ok);
    assert_eq!(filter(&[ends(".csv")]), Verdict::Fault);
    assert_eq!(filter(&[ends(".csv"), ends(".json")]), Verdict::Unknown, "parts may come to the whole");
    assert_eq!(filter(&[container("x"), container("y")]), Verdict::Fault);
    assert_eq!(filter(&[ends(".csv"), function(&json!({}))]), Verdict::Ok);
}

#[test]
fn dead_letters_need_a_place_and_a_right_to_write_there() {
    let dead = |one: &Subscription| verdicts(std::slice::from_ref(one)).last().copied();
    assert_eq!(dead(&function(&json!({}))), Some((Check::DeadLetter, Verdict::Ok)));
    assert_eq!(dead(&function(&json!({"deadLetterDestination": null}))), Some((Check::DeadLetter, Verdict::Fault)));
    let identity = json!({"deadLetterDestination": null, "deadLetterWithResourceIdentity": {"deadLetterDestination":
        {"properties": {"resourceId": "/a", "blobContainerName": "dead"}}}});
    let with_identity = function(&identity);
    assert_eq!(dead(&with_identity), Some((Check::DeadLetter, Verdict::Ok)));
    assert_eq!(
        with_identity.needs(),
        [("/a/blobServices/default/containers/dead".into(), WRITE_BLOBS, "Storage Blob Data Contributor")]
    );
    assert_eq!(queue("state", "blob-events").needs()[0].1, SEND_MESSAGES);
}
