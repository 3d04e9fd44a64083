//! Rules files as people write them: what is told of broken ones, and that the schema says the same.

use std::fmt::Write as _;

use lifecycle::{EndpointUri, IdentityName, Rules};
use serde_json::{Value, json};

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rules.schema.json");
const BROKEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cases/rules/broken.txt");

fn schema_text() -> String {
    format!("{:#}\n", lifecycle::rule::schema())
}

fn validator() -> jsonschema::Validator {
    jsonschema::validator_for(&lifecycle::rule::schema()).expect("a schema")
}

#[test]
fn the_schema_in_the_repository_is_that_of_the_types() {
    let kept = std::fs::read_to_string(SCHEMA).expect("handler/rules.schema.json");
    assert!(kept == schema_text(), "run `cargo test --test tests -- --ignored write_the_schema_of_rules`");
}

#[test]
#[ignore = "writes handler/rules.schema.json"]
fn write_the_schema_of_rules() {
    std::fs::write(SCHEMA, schema_text()).unwrap();
}

/// A broken file of `broken.txt`.
#[derive(Default)]
struct Broken {
    name: String,
    /// The schema refuses it too.
    by_schema: bool,
    text: String,
    told: Vec<String>,
}

fn broken() -> Vec<Broken> {
    let mut all = Vec::<Broken>::new();
    for line in std::fs::read_to_string(BROKEN).unwrap().lines() {
        if let Some(name) = line.strip_prefix("## ") {
            let (name, by_schema) = name.strip_suffix(" [schema]").map_or((name, false), |name| (name, true));
            all.push(Broken { name: name.to_owned(), by_schema, ..Broken::default() });
        } else if let (Some(last), Some(told)) = (all.last_mut(), line.strip_prefix("-> ")) {
            last.told.push(told.to_owned());
        } else if let Some(last) = all.last_mut() {
            last.text += line;
            last.text += "\n";
        }
    }
    all
}

impl Broken {
    fn file(&self) -> String {
        self.text.trim_end().replace("<x 33000 times>", &"x".repeat(33_000))
    }

    fn is_told(&self) -> Vec<String> {
        let problems = Rules::read(&self.file()).err();
        problems.map(|problems| problems.to_string().lines().map(str::to_owned).collect()).unwrap_or_default()
    }

    /// A schema is about JSON alone: what is not JSON it does not see.
    fn is_refused_by(&self, schema: &jsonschema::Validator) -> bool {
        serde_json::from_str::<Value>(&self.file()).is_ok_and(|file| !schema.is_valid(&file))
    }
}

#[test]
fn each_problem_of_a_broken_file_is_told_at_once_with_place_value_and_remedy() {
    let all = broken();
    assert!(all.len() >= 100, "{}", all.len());
    let wrong: Vec<String> = all
        .iter()
        .filter(|broken| broken.told.is_empty() || broken.is_told() != broken.told)
        .map(|broken| format!("{}:\n{}", broken.name, broken.is_told().join("\n")))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_schema_refuses_what_it_can_of_what_is_refused() {
    let schema = validator();
    let all = broken();
    let wrong = all.iter().filter(|broken| broken.is_refused_by(&schema) != broken.by_schema);
    assert_eq!(wrong.map(|broken| &broken.name).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
#[ignore = "writes tests/cases/rules/broken.txt"]
fn write_what_is_told_of_broken_rules() {
    let schema = validator();
    let kept = std::fs::read_to_string(BROKEN).unwrap();
    let mut text = kept.split("\n## ").next().unwrap_or_default().to_owned();
    for broken in broken() {
        let by_schema = if broken.is_refused_by(&schema) { " [schema]" } else { "" };
        let _ = write!(text, "\n## {}{by_schema}\n{}\n", broken.name, broken.text.trim_end());
        for line in broken.is_told() {
            let _ = writeln!(text, "-> {line}");
        }
    }
    std::fs::write(BROKEN, text).unwrap();
}

/// Every member, each as far from its default as it may be.
fn full() -> Value {
    let output = "azureml://datastores/blobs/paths/{blob.path}/{scoring.id}/{attempt}";
    let workspace = "/subscriptions/s/resourcegroups/g/providers/Microsoft.MachineLearningServices/workspaces/w";
    json!({
        "$schema": "./rules.schema.json",
        "rules": [{
            "id": "claims_1-a",
            "match": { "account": "uploads", "container": "claims-eu", "prefix": "eu/", "suffix": ".csv",
                "globs": ["**/*-[0-9].csv"], "minBytes": 1, "maxBytes": 1_000_000_000, "contentTypes": ["text/csv", "application/*"],
                "apis": ["PutBlob", "PutBlockList", "CopyBlob", "FlushWithClose", "SftpCommit", "CreateFile", "SftpCreate", "RenameFile"],
                "metadata": { "Tenant": ["a", "b"], "source": true, "skip": false, "x": "" }, "indexTags": { "Data class": "a=b", "hold": false },
                "exclude": { "defaults": false, "prefixes": ["eu/old/"], "suffixes": ["-x.csv"], "globs": ["**/a-*.csv"] } },
            "endpoint": { "uri": "https://heart.westeurope.inference.ml.azure.com/jobs", "deployment": "v7", "workspace": workspace },
            "inputs": {
                "data": { "type": "UriFile", "uri": "{blob.url}", "mode": "ReadOnlyMount", "description": "{blob.name}" },
                "folder": { "type": "UriFolder", "uri": format!("{workspace}/datastores/blobs/paths/f/") },
                "asset": { "type": "UriFile", "uri": format!("{workspace}/data/reference/versions/3") },
                "url": { "type": "UriFile", "uri": "https://uploads.dfs.core.windows.net/c/{blob.encodedPath}" },
                "text": { "type": "Literal", "template": "{rule.id} {event.time:yyyy-MM-dd} {blob.stem}{{}} {blob.metadata.Tenant}" },
                "json": { "type": "Literal", "value": "{\"braces\": {}}" },
                "own": { "type": "UriFolder", "uri": "{blob.folderUrl}" },
                "number": { "type": "Literal", "value": -1.5e3 },
                "flag": { "type": "Literal", "value": false },
            },
            "outputs": {
                "score": { "type": "UriFile", "uri": format!("{output}/p.csv"), "mode": "Upload", "description": "scores",
                    "publish": { "uri": "azureml://datastores/blobs/paths/latest/{blob.path}", "ifExists": "version" } },
                "more": { "type": "UriFolder", "uri": format!("azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/d/paths/{{scoring.id}}/{{attempt}}/") },
            },
            "settings": {
                "MiniBatchSize": 5, "compute": { "target": "gpu", "InstanceCount": 2 }, "errorThreshold": -1,
                "retrySettings": { "maxRetries": 0, "timeout": "PT30S" }, "loggingLevel": "Debug", "maxConcurrencyPerInstance": 1,
                "outputFileName": "p.csv", "partitionKeys": ["a"], "name": "n", "description": "d", "tags": { "team": "risk" },
                "properties": { "experimentName": "nightly" }, "ContinueOnStepFailure": true, "forceRun": false,
                "defaultDatastore": "blobs", "passThrough": { "later": [1] },
            },
            "tags": false, "generation": 1, "maxInFlight": 1, "priority": -5, "emptyBlobs": "score",
            "complete": { "unchangedFor": "PT10S" }, "renames": "score", "overwrites": "ignore", "pollInterval": "P1D", "maxAttempts": 20,
            "retryUserErrors": true, "retryBackOff": "PT0S", "submitDeadline": "P30D", "jobTimeout": "P21D", "submitTimeout": "PT0.5S",
            "lookupInterval": "PT1M30S", "resubmitAfter": "P1DT1H", "onUnknown": "hold", "outputTimeout": "PT0S", "verifyInput": false,
        }],
        "endpoints": [{ "uri": "https://HEART.westeurope.inference.ml.azure.com:443/jobs/", "maxInFlight": 1, "submitsPerMinute": 1000,
            "breaker": { "failures": 20, "pause": "PT1S" } }],
    })
}

/// The same with this member replaced by null, for each that may be absent; required ones stay.
fn with_nulls(value: &Value, path: &str, each: &mut dyn FnMut(String, Value)) {
    const REQUIRED: [&str; 10] =
        ["id", "match", "endpoint", "container", "uri", "type", "value", "template", "rules", "unchangedFor"];
    match value {
        Value::Object(members) => {
            for (name, inner) in members {
                let place = format!("{path}.{name}");
                let replaced = |with: Value| {
                    let mut members = members.clone();
                    members.insert(name.clone(), with);
                    Value::Object(members)
                };
                let named_by_people =
                    ["inputs", "outputs", "tags", "properties"].iter().any(|name| path.ends_with(name));
                if !REQUIRED.contains(&name.as_str()) && !named_by_people && !path.ends_with("passThrough") {
                    each(place.clone(), replaced(Value::Null));
                }
                with_nulls(inner, &place, &mut |place, inner| each(place, replaced(inner)));
            }
        }
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate().filter(|(_, inner)| inner.is_object()) {
                with_nulls(inner, &format!("{path}[{index}]"), &mut |place, inner| {
                    let mut list = list.clone();
                    list[index] = inner;
                    each(place, Value::Array(list));
                });
            }
        }
        _ => {}
    }
}

#[test]
fn what_is_read_is_taken_by_the_schema_with_null_for_any_member_that_may_be_absent() {
    let schema = validator();
    let mut files = vec![("all".to_owned(), full())];
    with_nulls(&full(), "", &mut |place, file| files.push((place, file)));
    assert!(files.len() > 50, "{}", files.len());
    let mut marker = full();
    marker["rules"][0]["complete"] = json!({ "marker": "a-1.csv" });
    marker["rules"][0]["inputs"] = json!({});
    marker["rules"][0]["endpoint"] =
        json!({ "uri": "https://heart.westeurope.inference.ml.azure.com/jobs", "deployments": { "v7": 90, "v8": 10 } });
    files.push(("marker and split".to_owned(), marker));
    for name in ["dev", "prod"] {
        let path = format!("{}/../infra/params/{name}.rules.json", env!("CARGO_MANIFEST_DIR"));
        files.push((path.clone(), serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()));
    }
    for (place, file) in files {
        if let Err(problems) = Rules::read(&file.to_string()) {
            panic!("{place}: {problems}");
        }
        let refused: Vec<String> =
            schema.iter_errors(&file).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(refused.is_empty(), "{place}: {refused:#?}");
    }
}

/// The members that the schema gives the object to which these names lead, with what each may hold.
fn properties(path: &[&str]) -> Vec<String> {
    let schema = lifecycle::rule::schema();
    let resolve = |node: &Value| -> Value {
        let mut node = node.clone();
        loop {
            let next = node["$ref"].as_str().map(|name| schema.pointer(&name[1..]).expect("a definition").clone());
            let next = next.or_else(|| node["anyOf"].as_array().map(|any| any[0].clone()));
            match next.or_else(|| node.get("items").cloned()) {
                Some(next) => node = next,
                None => return node,
            }
        }
    };
    let object = path.iter().fold(schema.clone(), |node, name| resolve(&resolve(&node)["properties"][name]));
    resolve(&object)["properties"].as_object().expect("an object").keys().cloned().collect()
}

#[test]
fn the_schema_has_the_members_that_are_read_and_no_other() {
    let rule = |member: &str, value: &Value| json!({ "rules": [{ member: value }] });
    let wrong = json!({ "unknown": 0 });
    for (path, file) in [
        (&[][..], wrong.clone()),
        (&["rules"], json!({ "rules": [wrong] })),
        (&["rules", "match"], rule("match", &wrong)),
        (&["rules", "match", "exclude"], rule("match", &json!({ "exclude": wrong }))),
        (&["rules", "endpoint"], rule("endpoint", &wrong)),
        (&["rules", "settings"], rule("settings", &wrong)),
        (&["rules", "settings", "compute"], rule("settings", &json!({ "compute": wrong }))),
        (&["rules", "settings", "retrySettings"], rule("settings", &json!({ "retrySettings": wrong }))),
        (&["endpoints"], json!({ "endpoints": [wrong] })),
        (&["endpoints", "breaker"], json!({ "endpoints": [{ "breaker": wrong }] })),
    ] {
        let problems = Rules::read(&file.to_string()).expect_err("an unknown member");
        let problem = problems.iter().find(|problem| problem.place.path.ends_with("unknown")).expect("it is told");
        let mut read: Vec<String> = problem.expected.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let mut known = properties(path);
        // Each setting stands there with a capital as well.
        if path.contains(&"settings") {
            known.retain(|name| name.starts_with(|first: char| first.is_ascii_lowercase()));
        }
        read.sort();
        known.sort();
        assert_eq!(read, known, "{path:?}");
    }
}

fn asked_as(rules: &[(&str, &str, Option<&str>)]) -> Result<Rules, String> {
    let rule = |(id, endpoint, identity): &(&str, &str, Option<&str>)| {
        json!({ "id": id, "match": { "container": "con" },
            "endpoint": { "uri": format!("https://{endpoint}.example/jobs"), "identity": identity } })
    };
    let rules: Vec<_> = rules.iter().map(rule).collect();
    Rules::read(&json!({ "rules": rules }).to_string()).map_err(|problems| problems.to_string())
}

#[test]
fn rules_of_one_endpoint_name_one_identity_and_others_each_their_own() {
    assert!(asked_as(&[("a", "e", Some("partner")), ("b", "e", Some("partner")), ("c", "f", None)]).is_ok());
    for (second, place) in [(None, "rules[1].endpoint "), (Some("lab"), "rules[1].endpoint.identity")] {
        // However the URI is written.
        let said = asked_as(&[("a", "e", Some("partner")), ("b", "E", second)]).unwrap_err();
        assert!(said.starts_with(place) && said.contains("as `partner`"), "{said}");
    }
    let said = asked_as(&[("a", "e", None), ("b", "e", Some("lab"))]).unwrap_err();
    assert!(said.contains("as the app's own"), "{said}");
    let said = asked_as(&[("a", "e", Some("AZURE_CLIENT_SECRET=x"))]).unwrap_err();
    assert!(said.contains("SCOREKEEPER_IDENTITIES"), "{said}");
}

#[test]
fn a_corrected_identity_holds_for_what_is_in_flight_and_a_gone_rules_is_kept() {
    let rules = asked_as(&[("a", "e", Some("partner")), ("b", "f", None)]).unwrap();
    let name = |text: &str| text.parse::<IdentityName>().unwrap();
    let endpoint = |text: &str| format!("https://{text}.example/jobs").parse::<EndpointUri>().unwrap();
    for (rule, at, recorded, expected) in [
        ("a", "e", None, Some("partner")),
        ("a", "e", Some("lab"), Some("partner")),
        ("b", "f", Some("lab"), None),
        // The rule has another endpoint by now, or is gone.
        ("a", "old", Some("lab"), Some("lab")),
        ("gone", "e", Some("lab"), Some("lab")),
        ("gone", "e", None, None),
    ] {
        let told = rules.identity_for(&rule.parse().unwrap(), &endpoint(at), recorded.map(name).as_ref());
        assert_eq!(told.as_deref(), expected, "{rule} at {at}, recorded {recorded:?}");
    }
}
