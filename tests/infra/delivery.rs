//! Event Grid's filters, as the compiler predicts them: what a rule wants gets through them, within Event Grid's limits.

use std::fmt::Write as _;

use lifecycle::intake::{self, BEGUN, COMPLETE, Classification};
use lifecycle::{LedgerId, Rules};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use time::macros::datetime;

use super::compiler::Compiler;
use super::project::{Project, SNAPSHOTS};
use super::snapshot::{list, texts};

const SUBSCRIPTION: &str = "infra/modules/subscription.bicep";

/// Rule sets for which `filters.json` holds the filters of the account `stg`: those that are hard on a filter, then a hundred that
/// are drawn, always the same.
pub fn rule_sets() -> Vec<Vec<Value>> {
    let mut sets = hard();
    let mut random = Random(1);
    sets.extend((0..100).map(|_| drawn(&mut random)));
    sets
}

/// Other accounts, nothing but a container, empty blobs, files that nobody closes, many places, long names.
fn hard() -> Vec<Vec<Value>> {
    let many: Vec<Value> =
        (0..30).map(|n| rule(n, &json!({ "container": "con", "prefix": format!("p{n}/") }))).collect();
    let far: Vec<Value> = (0..30).map(|n| rule(n, &json!({ "container": format!("c-{n}") }))).collect();
    let one = |matches: Value| vec![rule(0, &matches)];
    let mut empties = rule(0, &json!({ "container": "con" }));
    empties["emptyBlobs"] = json!("score");
    let mut unclosed = rule(0, &json!({ "container": "con" }));
    unclosed["complete"] = json!({ "unchangedFor": "PT2M" });
    vec![
        one(json!({ "container": "ccc", "prefix": "eu/", "suffix": ".csv" })),
        one(json!({ "container": "con", "prefix": "eu/", "suffix": ".csv" })),
        one(json!({ "account": "stg", "container": "con" })),
        vec![
            rule(0, &json!({ "account": "other", "container": "oth" })),
            rule(1, &json!({ "container": "con", "suffix": ".csv" })),
            rule(2, &json!({ "container": "con" })),
        ],
        vec![empties],
        vec![unclosed],
        many,
        far,
        one(json!({ "container": "con", "prefix": "x".repeat(600) })),
    ]
}

/// A small generator, because the sets must be the same on every machine and in every version of a library.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// Up to `most` letters.
    fn text(&mut self, letters: &[u8], most: u64) -> String {
        (0..self.below(most + 1))
            .map(|_| char::from(letters[usize::try_from(self.below(letters.len() as u64)).unwrap()]))
            .collect()
    }
}

fn drawn(random: &mut Random) -> Vec<Value> {
    (0..=random.below(19))
        .map(|number| {
            let mut matches = Map::new();
            matches.insert("container".to_owned(), json!(["aaa", "bbb"][usize::try_from(random.below(2)).unwrap()]));
            if random.below(2) == 0 {
                matches
                    .insert("account".to_owned(), json!(["stg", "other"][usize::try_from(random.below(2)).unwrap()]));
            }
            if random.below(2) == 0 {
                matches.insert("prefix".to_owned(), json!(random.text(b"ab/", 3).trim_start_matches('/')));
            }
            if random.below(2) == 0 {
                matches.insert("suffix".to_owned(), json!(random.text(b"ab.", 2)));
            }
            let mut rule = rule(usize::try_from(number).unwrap(), &Value::Object(matches));
            rule["emptyBlobs"] = json!(["score", "skip", "skip"][usize::try_from(random.below(3)).unwrap()]);
            if random.below(8) == 0 {
                rule["complete"] = json!({ "unchangedFor": "PT1M" });
            }
            rule
        })
        .collect()
}

/// The kinds of subscriptions: created blobs of an account without and with a hierarchical namespace, and new names.
const KINDS: [&str; 3] = ["flat", "lake", "renames"];

/// The filters of each of [`rule_sets`], by kind; null where no rule is of the account, so that there is no subscription.
pub fn predicted(compiler: &mut Compiler) -> Result<Vec<Value>, String> {
    let sets: Vec<Value> = rule_sets().into_iter().map(|rules| json!({ "rules": rules })).collect();
    let mut filters = vec![json!({}); sets.len()];
    compiler.write("tests/infra/templates/rule_sets.json", &Value::from(sets).to_string());
    let mut parameters = "using 'filters.bicep'\n".to_owned();
    let _ = writeln!(parameters, "param ruleSets = loadJsonContent('rule_sets.json')");
    compiler.write("tests/infra/templates/filters.bicepparam", &parameters);
    let snapshot = compiler.snapshot("tests/infra/templates/filters.bicepparam")?;
    for resource in list(&snapshot["predictedResources"]) {
        let name = resource["name"].as_str().and_then(|name| name.rsplit('/').next()?.strip_prefix("set-"));
        let Some((number, kind)) = name.and_then(|name| name.split_once('-')) else { continue };
        if let Some(filter) = number.parse::<usize>().ok().and_then(|number| filters.get_mut(number)) {
            filter[kind] = resource["properties"]["filter"].clone();
        }
    }
    Ok(filters)
}

/// The predicted filters, in the order of [`rule_sets`].
fn filters(project: &Project) -> Vec<Value> {
    serde_json::from_str(project.files.get(&format!("{SNAPSHOTS}filters.json"))).expect("filters.json is a list")
}

pub fn check(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    let filters = filters(project);
    let apis: Vec<&str> = COMPLETE.into_iter().chain(BEGUN).collect();
    for (rules, filters) in hard().iter().zip(&filters) {
        for (container, path, size) in [
            ("ccc", "eu/a.csv", 1),
            ("con", "eu/a.csv", 1),
            ("con", "EU/a.CSV", 1),
            ("con", "p29/x", 7),
            ("c-29", "y", 1),
            ("con", "e", 0),
            ("con", &"x".repeat(700), 2),
        ] {
            let created = apis.iter().map(|api| event(container, path, size, api));
            let renamed = ["BlobRenamed", "DirectoryRenamed"].into_iter().map(|kind| rename(kind, container, path));
            for event in created.chain(renamed) {
                for hierarchical in [false, true] {
                    let outcome = wanted_passes(filters, hierarchical, rules, &event);
                    findings.extend(outcome.err().map(|why| format!("{SUBSCRIPTION}: {why}")));
                }
            }
        }
    }
    for filter in filters.iter().flat_map(|filters| KINDS.map(|kind| &filters[kind])).filter(|filter| !filter.is_null())
    {
        findings.extend(within_limits(filter).err().map(|why| format!("{SUBSCRIPTION}: {why}")));
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
            "url": format!("https://stg.blob.core.windows.net/{container}/{url}"),
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
                  "sourceUrl": "https://stg.blob.core.windows.net/con/staging/x" },
    })
}

/// An event that a rule does something with is brought by exactly one subscription. `filters` is what was predicted for
/// these rules.
fn wanted_passes(filters: &Value, hierarchical: bool, rules: &[Value], event: &Value) -> Result<(), String> {
    let read = Rules::read(&json!({ "rules": rules }).to_string()).map_err(|problems| problems.to_string())?;
    let wanted = intake::read(event, &LedgerId::of_random([1; 16]), &read, datetime!(2026-07-21 10:00 UTC))
        .map_err(|error| error.to_string())?
        .iter()
        .any(|verdict| !matches!(verdict, Classification::Skipped(_) | Classification::Quarantined(_)));
    // What only an account with a hierarchical namespace raises.
    let only_there = !event["eventType"].as_str().is_some_and(|kind| kind.ends_with("BlobCreated"));
    let kinds: &[&str] = if hierarchical { &["lake", "renames"] } else { &["flat"] };
    let ways = kinds.iter().filter(|kind| !filters[**kind].is_null() && passes(&filters[**kind], event)).count();
    match ways {
        0 if wanted && (hierarchical || !only_there) => {
            Err(format!("the filter keeps back what a rule wants: {event}"))
        }
        0 | 1 => Ok(()),
        _ => Err(format!("two subscriptions bring one event: {event}")),
    }
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
                let mut values = texts(&filter["values"]).map(str::to_lowercase);
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_blob_that_a_rule_wants_gets_through_the_filter(
        set in 0..rule_sets().len(),
        container in prop_oneof![Just("aaa"), Just("bbb"), Just("con")],
        path in "[abAB]{1,3}/?[abAB.]{1,3}",
        size in 0_u64..3,
        api in proptest::sample::select([&COMPLETE[..], &BEGUN[..]].concat()),
        hierarchical: bool,
        renamed in proptest::option::of(prop_oneof![Just("BlobRenamed"), Just("DirectoryRenamed")]),
    ) {
        thread_local! {
            static SETS: (Vec<Vec<Value>>, Vec<Value>) = (rule_sets(), filters(&Project::load()));
        }
        let event = renamed.map_or_else(|| event(container, &path, size, api), |kind| rename(kind, container, &path));
        let outcome = SETS.with(|(sets, filters)| wanted_passes(&filters[set], hierarchical, &sets[set], &event));
        prop_assert!(outcome.is_ok(), "{outcome:?}\n{set}");
    }
}

#[test]
fn pushes_are_batches_that_the_handler_takes_whole() {
    let project = Project::load();
    for name in ["dev.events", "prod.events"] {
        let text = project.files.get(&format!("{SNAPSHOTS}{name}.json"));
        let pushes = text.matches("\"endpointType\": \"AzureFunction\"").count();
        assert!(pushes > 0, "{name}");
        for member in ["\"maxEventsPerBatch\": 50", "\"preferredBatchSizeInKilobytes\": 256"] {
            assert_eq!(text.matches(member).count(), pushes, "{name}: {member}");
        }
    }
    let types = project.files.get("infra/modules/types.bicep");
    assert!(types.contains(&format!("@maxValue({})\n  maxEventsPerBatch", lifecycle::payload::MAX_EVENTS)));
}

#[test]
fn what_no_rule_can_want_does_not_wake_the_app() {
    let filters = filters(&Project::load());
    let lake = &filters[0]["lake"];
    assert!(passes(lake, &event("ccc", "eu/a.csv", 0, "SftpCommit")), "its content may come later");
    assert!(!passes(lake, &event("ccc", "eu/a.csv", 1, "CreateFile")), "the rule takes closed files");
    let filter = &filters[0]["flat"];
    assert!(passes(filter, &event("ccc", "eu/a.csv", 1, "PutBlob")));
    assert!(passes(filter, &event("ccc", "eu/a.csv", 0, "CopyBlob")), "a copy's content may come later on any account");
    for (container, path, size, api) in [
        ("ddd", "eu/a.csv", 1, "PutBlob"),
        ("ccc", "us/a.csv", 1, "PutBlob"),
        ("ccc", "eu/a.txt", 1, "PutBlob"),
        ("ccc", "eu/a.csv", 1, "CreateFile"),
    ] {
        assert!(!passes(filter, &event(container, path, size, api)), "{container} {path} {size} {api}");
    }
}
