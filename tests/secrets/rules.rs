//! Rules: documents that have between them each member that the schema knows.

use std::collections::BTreeSet;

use lifecycle::Rules;
use serde_json::{Value, json};

use super::settings::{told_of, with_rules};
use super::{assert_hidden, kinds};
use crate::endpoint::WORKSPACE;

const OUTPUT: &str = "azureml://datastores/d/paths/{scoring.id}/{attempt}/p.csv";
const PUBLISHED: &str = "azureml://datastores/d/paths/latest/{blob.stem}.csv";

/// Good documents. As some members exclude each other, it takes several to have them all. Under the first two
/// the events of tests are scored without a look at the storage.
pub(super) fn documents(endpoint: &str) -> Vec<Value> {
    let of = |rule: Value| {
        let limits = json!({ "uri": endpoint, "maxInFlight": 9, "submitsPerMinute": 900, "breaker": { "failures": 9, "pause": "PT5M" } });
        json!({ "$schema": "https://scorekeeper.example/rules.schema.json", "endpoints": [limits], "rules": [rule] })
    };
    vec![of(plain(endpoint)), of(split(endpoint)), of(grouped(endpoint)), of(marked(endpoint)), of(unclosed(endpoint))]
}

/// With a rule for each blob, one deployment, and settings as REST spells them.
fn plain(endpoint: &str) -> Value {
    json!({
        "id": "claims", "match": { "account": "uploads", "container": "claims", "prefix": "eu/", "suffix": ".csv",
            "globs": ["eu/*"], "apis": ["PutBlockList"], "contentTypes": ["text/csv"], "minBytes": 1, "maxBytes": 999_999_999,
            "exclude": { "prefixes": ["eu/old/"], "suffixes": ["~.csv"], "globs": ["**/x-*.csv"], "defaults": true } },
        "endpoint": { "uri": endpoint, "deployment": "v7", "workspace": WORKSPACE },
        "inputs": {
            "input_data": { "type": "UriFile", "uri": "{blob.url}", "mode": "Download", "description": "the upload" },
            "n": { "type": "Literal", "value": "3", "parameter": true },
            "of": { "type": "Literal", "template": "{blob.stem}" } },
        "outputs": { "score": { "type": "UriFile", "uri": OUTPUT, "mode": "Upload", "description": "x",
            "publish": { "uri": PUBLISHED, "ifExists": "version" } } },
        "settings": { "name": "n", "description": "x", "experimentName": "e", "miniBatchSize": 5, "errorThreshold": 1,
            "maxConcurrencyPerInstance": 1, "loggingLevel": "Info", "outputFileName": "p.csv", "computeInstanceCount": 1,
            "continueOnStepFailure": true, "forceRun": true, "defaultDatastore": "d", "partitionKeys": ["k"],
            "properties": { "p": "x" }, "tags": { "t": "x" }, "retrySettings": { "maxRetries": 1, "timeout": "PT1M" },
            "compute": { "target": "c", "instanceType": "i", "location": "l", "isLocal": false, "properties": { "p": "x" } },
            "passThrough": { "raw": "x" } },
        "complete": "closed", "emptyBlobs": "score", "pollInterval": "PT2M", "retryBackOff": "PT1M",
        "submitDeadline": "P1D", "jobTimeout": "P7D", "submitTimeout": "PT1M", "lookupInterval": "PT30S",
        "resubmitAfter": "PT15M", "onUnknown": "hold", "outputTimeout": "PT2M", "verifyInput": false,
        "generation": 0, "maxAttempts": 3, "maxInFlight": 9, "overwrites": "newVersion", "priority": 1, "renames": "score",
        "retryUserErrors": true, "sweep": "PT1H", "sweepAfter": "PT10M", "tags": true,
    })
}

/// With several deployments, and settings as the SDK spells them.
fn split(endpoint: &str) -> Value {
    json!({
        "id": "claims", "match": { "container": "claims" },
        "endpoint": { "uri": endpoint, "deployments": { "v7": 90, "v8": 10 }, "shadow": "v9", "workspace": WORKSPACE },
        "inputs": { "input_data": { "type": "UriFolder", "uri": "{blob.folderUrl}/", "mode": "Direct", "description": "x" } },
        "outputs": { "score": { "type": "UriFile", "uri": OUTPUT } },
        "settings": { "Name": "n", "Description": "x", "ExperimentName": "e", "MiniBatchSize": 5, "ErrorThreshold": 1,
            "MaxConcurrencyPerInstance": 1, "LoggingLevel": "Info", "OutputFileName": "p.csv", "ContinueOnStepFailure": true, "ForceRun": true, "DefaultDatastore": "d", "PartitionKeys": ["k"],
            "Properties": { "p": "x" }, "Tags": { "t": "x" }, "RetrySettings": { "MaxRetries": 1, "Timeout": "PT1M" },
            "Compute": { "Target": "c", "InstanceType": "i", "InstanceCount": 1, "Location": "l", "IsLocal": false, "Properties": { "p": "x" } } },
        "verifyInput": false,
    })
}

fn grouped(endpoint: &str) -> Value {
    json!({
        "id": "claims", "match": { "account": "uploads", "container": "claims" }, "endpoint": { "uri": endpoint, "workspace": WORKSPACE },
        "outputs": { "score": { "type": "UriFile", "uri": OUTPUT } }, "settings": { "ComputeInstanceCount": 1 },
        "group": { "by": "marker", "marker": "_SUCCESS", "maxBytes": 1000, "maxFiles": 9, "maxWait": "PT5M",
            "staging": "scorekeeper-staging", "stagingLife": "P7D", "verifyMembers": "off" },
    })
}

fn marked(endpoint: &str) -> Value {
    json!({
        "id": "claims", "match": { "container": "claims" }, "endpoint": { "uri": endpoint }, "settings": { "compute": { "instanceCount": 1 } },
        "complete": { "marker": "_SUCCESS" }, "emptyBlobs": "score",
    })
}

fn unclosed(endpoint: &str) -> Value {
    json!({
        "id": "claims", "match": { "container": "claims", "metadata": { "m": "x" }, "indexTags": { "t": ["x"] } },
        "endpoint": { "uri": endpoint, "identity": "partner" }, "complete": { "unchangedFor": "PT1M" },
    })
}

/// Where a schema names members, but for those that only conditions name.
fn members(schema: &Value, at: &str, all: &mut BTreeSet<String>) {
    for (name, inner) in children(schema) {
        match name.as_str() {
            "if" | "then" | "not" | "dependentSchemas" => {}
            "properties" => {
                for (name, inner) in children(inner) {
                    let at = format!("{at}/{name}");
                    members(inner, &at, all);
                    all.insert(at);
                }
            }
            _ => members(inner, &format!("{at}/{name}"), all),
        }
    }
}

/// The same of those that a value has.
fn used(root: &Value, schema: &Value, at: &str, value: &Value, all: &mut BTreeSet<String>) {
    if let Some(place) = schema["$ref"].as_str().and_then(|place| place.strip_prefix('#')) {
        used(root, root.pointer(place).unwrap(), place, value, all);
    }
    for choice in ["anyOf", "oneOf", "allOf"] {
        for (index, branch) in children(&schema[choice]) {
            let of_type = &branch["properties"]["type"]["const"];
            let mut required = branch["required"].as_array().into_iter().flatten();
            if (of_type.is_null() || *of_type == value["type"])
                && required.all(|name| value.get(name.as_str().unwrap()).is_some())
            {
                used(root, branch, &format!("{at}/{choice}/{index}"), value, all);
            }
        }
    }
    for (name, inner) in children(value) {
        if value.is_array() {
            used(root, &schema["items"], &format!("{at}/items"), inner, all);
        } else if let Some(known) = schema["properties"].get(&name) {
            let at = format!("{at}/{name}");
            used(root, known, &at, inner, all);
            all.insert(at);
        } else {
            used(root, &schema["additionalProperties"], &format!("{at}/additionalProperties"), inner, all);
        }
    }
}

/// What is directly within a value, by name or number.
fn children(value: &Value) -> Vec<(String, &Value)> {
    match value {
        Value::Object(members) => members.iter().map(|(name, inner)| (name.clone(), inner)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, inner)| (index.to_string(), inner)).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn secrets_are_planted_in_good_documents_with_each_member_of_the_schema() {
    let schema: Value = serde_json::from_str(include_str!("../../handler/rules.schema.json")).unwrap();
    let (mut known, mut had) = (BTreeSet::new(), BTreeSet::new());
    members(&schema, "", &mut known);
    for document in documents("https://e.example/jobs") {
        Rules::read(&document.to_string()).unwrap_or_else(|why| panic!("{why}\n{document:#}"));
        used(&schema, &schema, "", &document, &mut had);
    }
    assert!(known.contains("/$defs/Rule/sweep") && known.len() > 100, "{known:?}");
    let missing: Vec<_> = known.difference(&had).collect();
    assert!(missing.is_empty(), "no document has them: {missing:#?}");
}

/// The document with each of its values replaced in turn, and with one more member, named and filled so, in each object.
pub(super) fn planted(document: &Value, text: &str) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    plant(document, text, "", &mut |place, planted| all.push((place.to_owned(), planted)));
    all
}

fn plant(value: &Value, text: &str, place: &str, each: &mut dyn FnMut(&str, Value)) {
    if let Value::Object(members) = value {
        let mut more = members.clone();
        more.insert(text.to_owned(), json!(text));
        each(&format!("a new member of {place}"), Value::Object(more));
    } else {
        each(place, json!(text));
    }
    for (name, inner) in children(value) {
        plant(inner, text, &format!("{place}.{name}"), &mut |place, planted| {
            let mut whole = value.clone();
            match &mut whole {
                Value::Array(items) => items[name.parse::<usize>().unwrap()] = planted,
                other => other[&name] = planted,
            }
            each(place, whole);
        });
    }
}

#[test]
fn no_member_of_a_rule_shows_a_secret_to_any_command() {
    for (kind, text) in kinds() {
        for document in documents("https://e.example/jobs") {
            for (place, rules) in planted(&document, &text) {
                let rules = rules.to_string();
                assert_hidden(kind, &place, &told_of(&with_rules(&rules)));
                let cut = &rules[..rules.len() - 2];
                assert_hidden(kind, &format!("{place}, cut"), &told_of(&with_rules(cut)));
            }
        }
    }
}
