//! Event Grid's filters, evaluated from the template: what a rule wants gets through them, within Event Grid's limits.

use lifecycle::intake::{self, Classification};
use lifecycle::{LedgerId, Rules};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use time::macros::datetime;

use super::evaluate::deploy;
use super::project::Project;

const SUBSCRIPTION: &str = "infra/modules/subscription.bicep";

/// Rules that are hard on a filter: other accounts, nothing but a container, empty blobs, many places.
pub fn check(project: &Project) -> Vec<String> {
    let many: Vec<Value> = (0..30).map(|n| rule(n, &json!({ "container": "c", "prefix": format!("p{n}/") }))).collect();
    let far: Vec<Value> = (0..30).map(|n| rule(n, &json!({ "container": format!("c{n}") }))).collect();
    let one = |matches: Value| vec![rule(0, &matches)];
    let mut empties = rule(0, &json!({ "container": "c" }));
    empties["emptyBlobs"] = json!("score");
    let cases = [
        one(json!({ "container": "c", "prefix": "eu/", "suffix": ".csv" })),
        one(json!({ "account": "st", "container": "c" })),
        vec![
            rule(0, &json!({ "account": "other", "container": "o" })),
            rule(1, &json!({ "container": "c", "suffix": ".csv" })),
            rule(2, &json!({ "container": "c" })),
        ],
        vec![empties],
        many,
        far,
        one(json!({ "container": "c", "prefix": "x".repeat(600) })),
    ];
    let mut findings = Vec::new();
    for rules in cases {
        let filter = filter(project, &rules);
        for (container, path, size) in [
            ("c", "eu/a.csv", 1),
            ("c", "EU/a.CSV", 1),
            ("c", "p29/x", 7),
            ("c29", "y", 1),
            ("c", "e", 0),
            ("c", &"x".repeat(700), 2),
        ] {
            if let Err(why) = wanted_passes(&filter, &rules, &event(container, path, size, "PutBlob")) {
                findings.push(format!("{SUBSCRIPTION}: {why}"));
            }
        }
    }
    findings
}

fn rule(number: usize, matches: &Value) -> Value {
    json!({ "id": format!("r{number}"), "match": matches, "endpoint": { "uri": "https://e.r.inference.ml.azure.com/jobs" } })
}

fn event(container: &str, path: &str, size: u64, api: &str) -> Value {
    let url: String = path
        .split('/')
        .map(|part| percent_encoding::utf8_percent_encode(part, percent_encoding::NON_ALPHANUMERIC).to_string())
        .collect::<Vec<_>>()
        .join("/");
    json!({
        "id": "1", "eventType": "Microsoft.Storage.BlobCreated", "eventTime": "2026-07-21T10:00:00Z",
        "subject": format!("/blobServices/default/containers/{container}/blobs/{path}"),
        "data": {
            "api": api, "contentLength": size, "eTag": "0x1", "blobType": "BlockBlob",
            "url": format!("https://st.blob.core.windows.net/{container}/{url}"),
        },
    })
}

/// The subscription of the account `st` for these rules; `None` if there is none.
fn filter(project: &Project, rules: &[Value]) -> Result<Option<Value>, String> {
    let given = json!({
        "topicName": "evgt-st", "name": "events", "accountName": "st", "rules": { "rules": rules },
        "functionResourceId": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Web/sites/f/functions/BlobCreated",
        "stateAccountResourceId": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/state",
        "queueName": "q", "deadLetterContainer": "d", "maxDeliveryAttempts": 30, "eventTimeToLiveInMinutes": 1440,
    });
    let Value::Object(given) = given else { return Ok(None) };
    let (resources, _) = deploy(project, SUBSCRIPTION, given)?;
    Ok(resources.first().map(|resource| resource.body["properties"]["filter"].clone()))
}

/// `filter` is what [`filter`] gave for these rules.
fn wanted_passes(filter: &Result<Option<Value>, String>, rules: &[Value], event: &Value) -> Result<(), String> {
    let read = Rules::read(&json!({ "rules": rules }).to_string()).map_err(|problems| problems.to_string())?;
    let wanted = intake::read(event, &LedgerId::of_random([1; 16]), &read, datetime!(2026-07-21 10:00 UTC))
        .map_err(|error| error.to_string())?
        .iter()
        .any(|verdict| matches!(verdict, Classification::Wanted(_)));
    let filter = filter.as_ref().map_err(String::clone)?.as_ref();
    filter.map_or(Ok(()), within_limits)?;
    let passes = filter.is_some_and(|filter| passes(filter, event));
    if wanted && !passes { Err(format!("the filter keeps back what a rule wants: {event}")) } else { Ok(()) }
}

/// As Event Grid documents it: filters must all hold, of a filter's values one; without regard to case.
fn passes(filter: &Value, event: &Value) -> bool {
    let types = filter["includedEventTypes"].as_array().is_some_and(|types| types.contains(&event["eventType"]));
    types
        && filter["advancedFilters"].as_array().is_some_and(|filters| {
            filters.iter().all(|filter| {
                let key = filter["key"].as_str().unwrap_or_default();
                let value = key.split('.').fold(event, |value, name| &value[name]);
                let text = value.as_str().unwrap_or_default().to_lowercase();
                let values = filter["values"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|value| Some(value.as_str()?.to_lowercase()));
                let mut values = values;
                match filter["operatorType"].as_str() {
                    Some("StringIn") => values.any(|value| text == value),
                    Some("StringBeginsWith") => values.any(|value| text.starts_with(&value)),
                    Some("StringEndsWith") => values.any(|value| text.ends_with(&value)),
                    Some("NumberGreaterThan") => {
                        value.as_i64().zip(filter["value"].as_i64()).is_some_and(|(is, least)| is > least)
                    }
                    _ => false,
                }
            })
        })
}

/// Event Grid's limits: 25 filters, 25 values in all, 512 characters each.
fn within_limits(filter: &Value) -> Result<(), String> {
    let filters = filter["advancedFilters"].as_array().cloned().unwrap_or_default();
    let values: Vec<Value> = filters
        .iter()
        .flat_map(|filter| filter["values"].as_array().cloned().unwrap_or_else(|| vec![filter["value"].clone()]))
        .collect();
    if filters.len() > 25 || values.len() > 25 {
        return Err(format!("{} filters with {} values; Event Grid takes 25", filters.len(), values.len()));
    }
    match values.iter().filter_map(Value::as_str).find(|value| value.is_empty() || value.chars().count() > 512) {
        Some(value) => Err(format!("a filter's value has 1 to 512 characters, not {}", value.chars().count())),
        None => Ok(()),
    }
}

fn rules() -> impl Strategy<Value = Vec<Value>> {
    let matches = (
        proptest::option::of(prop_oneof![Just("st"), Just("other")]),
        "[ab]",
        proptest::option::of("[ab]{0,2}/?"),
        proptest::option::of("[ab.]{0,2}"),
        any::<bool>(),
    );
    proptest::collection::vec(matches, 1..20).prop_map(|all| {
        let rules = all.into_iter().enumerate().map(|(number, (account, container, prefix, suffix, empties))| {
            let mut matches = Map::new();
            matches.insert("container".to_owned(), json!(container.repeat(3)));
            for (name, value) in [("account", account.map(str::to_owned)), ("prefix", prefix), ("suffix", suffix)] {
                if let Some(value) = value {
                    matches.insert(name.to_owned(), json!(value));
                }
            }
            let mut rule = rule(number, &Value::Object(matches));
            rule["emptyBlobs"] = json!(if empties { "score" } else { "skip" });
            rule
        });
        rules.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_blob_that_a_rule_wants_gets_through_the_filter(
        rules in rules(),
        container in "[ab]",
        path in "[abAB]{1,3}/?[abAB.]{1,3}",
        size in 0_u64..3,
        api in prop_oneof![Just("PutBlob"), Just("PutBlockList"), Just("CopyBlob"), Just("FlushWithClose"), Just("SftpCommit")],
    ) {
        thread_local! { static PROJECT: Project = Project::load(); }
        let event = event(&container.repeat(3), &path, size, api);
        let outcome = PROJECT.with(|project| wanted_passes(&filter(project, &rules), &rules, &event));
        prop_assert!(outcome.is_ok(), "{outcome:?}\n{rules:?}");
    }
}

#[test]
fn what_no_rule_can_want_does_not_wake_the_app() {
    let project = Project::load();
    let rules = [rule(0, &json!({ "container": "ccc", "prefix": "eu/", "suffix": ".csv" }))];
    let filter = filter(&project, &rules).unwrap().unwrap();
    assert!(passes(&filter, &event("ccc", "eu/a.csv", 1, "PutBlob")));
    for (container, path, size, api) in [
        ("ddd", "eu/a.csv", 1, "PutBlob"),
        ("ccc", "us/a.csv", 1, "PutBlob"),
        ("ccc", "eu/a.txt", 1, "PutBlob"),
        ("ccc", "eu/a.csv", 0, "PutBlob"),
        ("ccc", "eu/a.csv", 1, "CreateFile"),
    ] {
        assert!(!passes(&filter, &event(container, path, size, api)), "{container} {path} {size} {api}");
    }
}
