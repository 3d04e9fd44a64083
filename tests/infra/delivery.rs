//! Event Grid's filters, evaluated from the template: what a rule wants gets through them, within Event Grid's limits.

use lifecycle::Rules;
use lifecycle::intake::{self, BEGUN, COMPLETE, Classification};
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
    let mut unclosed = rule(0, &json!({ "container": "c" }));
    unclosed["complete"] = json!({ "unchangedFor": "PT2M" });
    let cases = [
        one(json!({ "container": "c", "prefix": "eu/", "suffix": ".csv" })),
        one(json!({ "account": "st", "container": "c" })),
        vec![
            rule(0, &json!({ "account": "other", "container": "o" })),
            rule(1, &json!({ "container": "c", "suffix": ".csv" })),
            rule(2, &json!({ "container": "c" })),
        ],
        vec![empties],
        vec![unclosed],
        many,
        far,
        one(json!({ "container": "c", "prefix": "x".repeat(600) })),
    ];
    let apis: Vec<&str> = COMPLETE.into_iter().chain(BEGUN).collect();
    let mut findings = Vec::new();
    for (rules, hierarchical) in cases.iter().flat_map(|rules| [(rules, false), (rules, true)]) {
        let filters = Filters::of(project, rules, hierarchical);
        for (container, path, size) in [
            ("c", "eu/a.csv", 1),
            ("c", "EU/a.CSV", 1),
            ("c", "p29/x", 7),
            ("c29", "y", 1),
            ("c", "e", 0),
            ("c", &"x".repeat(700), 2),
        ] {
            let created = apis.iter().map(|api| event(container, path, size, api));
            let renamed = ["BlobRenamed", "DirectoryRenamed"].into_iter().map(|kind| rename(kind, container, path));
            for event in created.chain(renamed) {
                findings.extend(filters.wanted_passes(rules, &event).err().map(|why| format!("{SUBSCRIPTION}: {why}")));
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

/// An event about a new name, as documented: neither length nor ETag.
fn rename(kind: &str, container: &str, path: &str) -> Value {
    let created = event(container, path, 1, "RenameFile");
    json!({
        "id": "1", "eventType": format!("Microsoft.Storage.{kind}"), "eventTime": "2026-07-21T10:00:00Z",
        "subject": created["subject"],
        "data": { "api": "RenameFile", "destinationUrl": created["data"]["url"],
                  "sourceUrl": "https://st.blob.core.windows.net/c/staging/x" },
    })
}

/// The filters of the subscriptions of the account `st`.
struct Filters {
    hierarchical: bool,
    all: Vec<Result<Value, String>>,
}

impl Filters {
    fn of(project: &Project, rules: &[Value], hierarchical: bool) -> Self {
        let both: &[bool] = if hierarchical { &[false, true] } else { &[false] };
        let all = both.iter().filter_map(|renames| filter(project, rules, hierarchical, *renames).transpose());
        Self { hierarchical, all: all.collect() }
    }

    /// An event that a rule does something with is brought by exactly one subscription.
    fn wanted_passes(&self, rules: &[Value], event: &Value) -> Result<(), String> {
        let read = Rules::read(&json!({ "rules": rules }).to_string()).map_err(|problems| problems.to_string())?;
        let wanted = intake::read(event, &read, datetime!(2026-07-21 10:00 UTC))
            .map_err(|error| error.to_string())?
            .iter()
            .any(|verdict| !matches!(verdict, Classification::Skipped(_) | Classification::Quarantined(_)));
        // What only an account with a hierarchical namespace raises.
        let only_there = !event["eventType"].as_str().is_some_and(|kind| kind.ends_with("BlobCreated"))
            || event["data"]["contentLength"] == 0 && event["data"]["api"] == "SftpCommit"
            || event["data"]["contentLength"] == 0 && event["data"]["api"] == "CopyBlob";
        let mut ways = 0;
        for filter in &self.all {
            let filter = filter.as_ref().map_err(String::clone)?;
            within_limits(filter)?;
            ways += usize::from(passes(filter, event));
        }
        match ways {
            0 if wanted && (self.hierarchical || !only_there) => {
                Err(format!("the filter keeps back what a rule wants: {event}"))
            }
            0 | 1 => Ok(()),
            _ => Err(format!("two subscriptions bring one event: {event}")),
        }
    }
}

/// One of the subscriptions for these rules; `None` if there is none.
fn filter(project: &Project, rules: &[Value], hierarchical: bool, renames: bool) -> Result<Option<Value>, String> {
    let given = json!({
        "topicName": "evgt-st", "name": "events", "accountName": "st", "rules": { "rules": rules },
        "hierarchical": hierarchical, "renames": renames,
        "functionResourceId": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Web/sites/f/functions/BlobCreated",
        "stateAccountResourceId": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/state",
        "queueName": "q", "deadLetterContainer": "d", "maxDeliveryAttempts": 30, "eventTimeToLiveInMinutes": 1440,
    });
    let Value::Object(given) = given else { return Ok(None) };
    let (resources, _) = deploy(project, SUBSCRIPTION, given)?;
    Ok(resources.first().map(|resource| resource.body["properties"]["filter"].clone()))
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
        any::<bool>(),
    );
    proptest::collection::vec(matches, 1..20).prop_map(|all| {
        let rules =
            all.into_iter().enumerate().map(|(number, (account, container, prefix, suffix, empties, unclosed))| {
                let mut matches = Map::new();
                matches.insert("container".to_owned(), json!(container.repeat(3)));
                for (name, value) in [("account", account.map(str::to_owned)), ("prefix", prefix), ("suffix", suffix)] {
                    if let Some(value) = value {
                        matches.insert(name.to_owned(), json!(value));
                    }
                }
                let mut rule = rule(number, &Value::Object(matches));
                rule["emptyBlobs"] = json!(if empties { "score" } else { "skip" });
                rule["complete"] = if unclosed { json!({ "unchangedFor": "PT1M" }) } else { json!("closed") };
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
        api in proptest::sample::select([&COMPLETE[..], &BEGUN[..]].concat()),
        hierarchical: bool,
        renamed in proptest::option::of(prop_oneof![Just("BlobRenamed"), Just("DirectoryRenamed")]),
    ) {
        thread_local! { static PROJECT: Project = Project::load(); }
        let container = container.repeat(3);
        let event = renamed.map_or_else(|| event(&container, &path, size, api), |kind| rename(kind, &container, &path));
        let outcome = PROJECT.with(|project| Filters::of(project, &rules, hierarchical).wanted_passes(&rules, &event));
        prop_assert!(outcome.is_ok(), "{outcome:?}\n{rules:?}");
    }
}

#[test]
fn what_no_rule_can_want_does_not_wake_the_app() {
    let project = Project::load();
    let rules = [rule(0, &json!({ "container": "ccc", "prefix": "eu/", "suffix": ".csv" }))];
    let filter = |hierarchical| filter(&project, &rules, hierarchical, false).unwrap().unwrap();
    let lake = filter(true);
    assert!(passes(&lake, &event("ccc", "eu/a.csv", 0, "SftpCommit")), "its content may come later");
    assert!(!passes(&lake, &event("ccc", "eu/a.csv", 1, "CreateFile")), "the rule takes closed files");
    let filter = filter(false);
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
