use serde_json::Value;

use super::{Policy, Rules};
use crate::blob::BlobVersion;
use crate::id::{LedgerId, ScoringId};
use crate::job::Input;
use crate::scoring::Scoring;

const FULL: &str = r#"{ "rules": [ {
    "id": "claims",
    "match": { "account": "uploads", "container": "claims", "prefix": "eu/" },
    "endpoint": { "uri": "https://heart.westeurope.inference.ml.azure.com/jobs", "deployment": "v7" },
    "inputs":  { "input_data": { "type": "UriFile", "uri": "{blob.url}" } },
    "outputs": { "score": { "type": "UriFile", "uri": "azureml://datastores/workspaceblobstore/paths/scores/{scoring.id}/{attempt}/predictions.csv" } },
    "pollInterval": "PT2M", "maxInFlight": 50 } ] }"#;

fn problems(rule: &str) -> String {
    Rules::read(&format!("{{\"rules\":[{rule}]}}")).unwrap_err().to_string()
}

#[test]
fn the_documented_example_reads() {
    let rules = Rules::read(FULL).expect("good rules");
    let rule = rules.get("claims").expect("the rule");
    assert_eq!(rule.max_in_flight, Some(50));
    assert_eq!(rule.policy, Policy::default());
}

#[test]
fn three_members_are_enough() {
    let rules = Rules::read(
        r#"{"rules":[{"id":"a","match":{"container":"c"},"endpoint":{"uri":"https://e.r.inference.ml.azure.com/jobs"}}]}"#,
    )
    .expect("a minimal rule");
    let rule = rules.get("a").expect("the rule");
    let blob = BlobVersion::read("https://x.blob.core.windows.net/c/p.csv", "1").expect("a blob");
    let scoring = Scoring::accept(&LedgerId::of_random([1; 16]), rule, blob, time::OffsetDateTime::UNIX_EPOCH);
    let submission = rule.submission(&scoring.blob, &scoring.id, 1);
    assert_eq!(
        submission.inputs["input_data"],
        Input::UriFile { uri: "https://x.blob.core.windows.net/c/p.csv".into() }
    );
    assert!(submission.outputs["score"].uri.contains(scoring.id.as_str()));
}

#[test]
fn every_problem_is_reported_with_place_value_and_remedy() {
    let text = problems(
        r#"{"id":"a b","match":{"container":""},"endpoint":{"uri":"http://e.example/jobs","workspace":"ws"},
           "outputs":{"o":{"type":"UriFile","uri":"https://x/y"}},"maxInFlight":0,"maxAttempts":0,"resubmitAfter":"PT1S"}"#,
    );
    for part in [
        "`a b`",
        "match.container",
        "plain http",
        "/subscriptions/",
        "azureml://datastores",
        "{scoring.id}",
        "{attempt}",
        "maxInFlight",
        "maxAttempts",
        "resubmitAfter",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    assert!(problems(r#"{"id":"a","mach":{}}"#).contains("`mach` is not a member"));
    assert!(problems(r#"{"id":"a","match":{"container":"c"}}"#).contains("endpoint"));
    assert!(
        problems(r#"{"id":"a","match":{"container":"c","glob":"*"},"endpoint":{"uri":"https://e/jobs"}}"#)
            .contains("glob")
    );
    assert!(
        problems(r#"{"id":"a","match":{"container":"c"},"endpoint":{"uri":"https://e/jobs"},"pollInterval":"2m"}"#)
            .contains("PT2M")
    );
    assert!(Rules::read("[]").unwrap_err().to_string().contains("rules"));
    assert!(Rules::read(r#"{"rules":[]}"#).unwrap_err().to_string().contains("no rule"));
    let twice = format!(
        "{{\"rules\":[{0},{0}]}}",
        r#"{"id":"a","match":{"container":"c"},"endpoint":{"uri":"https://e/jobs"}}"#
    );
    assert!(Rules::read(&twice).unwrap_err().to_string().contains("twice"));
}

/// The problems of the smallest good rule with some members changed; `null` leaves one out.
fn problems_with(members: &Value) -> String {
    let mut rule =
        serde_json::json!({"id": "a", "match": {"container": "c"}, "endpoint": {"uri": "https://e.example/jobs"}});
    for (name, value) in members.as_object().expect("an object") {
        rule[name] = value.clone();
    }
    let text = serde_json::json!({ "rules": [rule] }).to_string();
    Rules::read(&text).map_or_else(|problems| problems.to_string(), |_| String::new())
}

#[test]
fn limits_of_a_rule_lie_where_its_errors_say() {
    let output = |uri: &str| serde_json::json!({"outputs": {"o": {"type": "UriFile", "uri": uri}}});
    let holes = "{scoring.id}/{attempt}";
    for good in [
        serde_json::json!({"id": format!("a-b_{}", "9".repeat(60))}),
        serde_json::json!({"maxAttempts": 20}),
        serde_json::json!({"resubmitAfter": "PT30S", "lookupInterval": "PT30S"}),
        output(&format!("azureml://datastores/d/paths/{holes}")),
    ] {
        assert_eq!(problems_with(&good), "", "{good}");
    }
    for (bad, part) in [
        (serde_json::json!({"id": "9".repeat(65)}), "`id`"),
        (serde_json::json!({"id": ""}), "`id`"),
        (serde_json::json!({"id": "a.b"}), "`id`"),
        (serde_json::json!({"maxAttempts": 21}), "`maxAttempts` is 21"),
        (serde_json::json!({"maxAttempts": 0}), "`maxAttempts` is 0"),
        (serde_json::json!({"resubmitAfter": "PT29S", "lookupInterval": "PT30S"}), "`resubmitAfter`"),
        (output(&format!("azureml://datastores/d/{holes}")), "registered Blob datastore"),
        (output(&format!("https://x/paths/{holes}")), "registered Blob datastore"),
        (serde_json::json!({"inputs": {"i": {"type": "Literal", "value": "{nothing}"}}}), "{nothing}"),
        (serde_json::json!({"inputs": {"i": {"type": "Literal", "value": [1]}}}), "must be a string"),
    ] {
        let problems = problems_with(&bad);
        assert!(problems.contains(part), "{bad}: {problems}");
    }
    for value in [serde_json::json!(5), serde_json::json!(true)] {
        assert_eq!(problems_with(&serde_json::json!({"inputs": {"i": {"type": "Literal", "value": value}}})), "");
    }
}

#[test]
fn an_exclusion_that_leaves_out_all_is_refused_and_names_it() {
    let with = |matches: Value| problems_with(&serde_json::json!({ "match": matches }));
    let all = serde_json::json!({"container": "c", "suffix": ".csv", "exclude": {"suffixes": ["csv"]}});
    assert!(with(all).contains("path ends with `csv` (match.exclude.suffixes)"));
    let all = serde_json::json!({"container": "c", "prefix": "eu/old/", "exclude": {"prefixes": ["eu/"]}});
    assert!(with(all).contains("path begins with `eu/`"));
    let empty = serde_json::json!({"container": "c", "exclude": {"prefixes": [""]}});
    assert!(with(empty).contains("`match.exclude.prefixes` holds an empty text"));
    let part = serde_json::json!({"container": "c", "prefix": "eu/", "exclude": {"prefixes": ["eu/old/"], "globs": ["**/*.bak"]}});
    assert_eq!(with(part), "");
    assert!(with(serde_json::json!({"container": "c", "exclude": {"glob": []}})).contains("glob"));
}

#[test]
fn a_workspace_is_named_by_its_whole_id() {
    let id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w";
    let with = |workspace: &str| {
        problems_with(&serde_json::json!({"endpoint": {"uri": "https://e.example/jobs", "workspace": workspace}}))
    };
    assert_eq!(with(id), "");
    assert_eq!(with(&id.to_lowercase()), "");
    for (part, other) in [
        ("subscriptions", "sub"),
        ("/s/", "//"),
        ("resourceGroups", "groups"),
        ("providers", "prov"),
        ("Microsoft.MachineLearningServices", "Microsoft.Storage"),
        ("workspaces", "accounts"),
        ("/w", ""),
    ] {
        assert!(with(&id.replacen(part, other, 1)).contains("/subscriptions/SUBSCRIPTION"), "{part} -> {other}");
    }
    assert!(with(&format!("{id}/jobs")).contains("/subscriptions/SUBSCRIPTION"));
}

#[test]
fn texts_among_literals_are_filled_and_the_rest_is_sent_as_it_is() {
    let text = FULL.replace(
        r#""inputs":  {"#,
        r#""inputs":  { "t": { "type": "Literal", "value": "{attempt}x" }, "n": { "type": "Literal", "value": 5 },"#,
    );
    let rules = Rules::read(&text).expect("good rules").changed(|rule| rule.generation = 7);
    let rule = rules.get("claims").expect("the rule");
    assert_eq!(rule.generation, 7);
    let blob = BlobVersion::read("https://uploads.blob.core.windows.net/claims/eu/p.csv", "1").expect("a blob");
    let id = ScoringId::new(&LedgerId::of_random([1; 16]), &rule.id, &blob, rule.generation);
    let sent = rule.submission(&blob, &id, 3);
    let value = |name: &str| serde_json::to_value(&sent.inputs[name]).expect("JSON")["value"].clone();
    assert_eq!((value("t"), value("n")), (Value::from("3x"), Value::from(5)));
}

#[test]
fn a_rule_whose_requests_can_never_be_held_is_refused_with_both_sizes() {
    let rule = |length: usize| {
        format!(
            r#"{{"id":"a","match":{{"container":"c"}},"endpoint":{{"uri":"https://e.example/jobs"}},"settings":{{"note":"{}"}}}}"#,
            "x".repeat(length)
        )
    };
    let told = problems(&rule(33_000));
    for part in ["rule `a`", "take 33", "32768", "shorten `settings`"] {
        assert!(told.contains(part), "{part} is missing in {told}");
    }
    assert!(Rules::read(&format!("{{\"rules\":[{}]}}", rule(32_000))).is_ok());
}

#[test]
fn inputs_that_say_of_which_blob_they_are_are_told_from_those_that_are_shared() {
    let shared = |inputs: &str| {
        let text = format!(
            r#"{{"rules":[{{"id":"a","match":{{"container":"c"}},"endpoint":{{"uri":"https://e.example/jobs"}},"inputs":{inputs}}}]}}"#
        );
        Rules::read(&text).expect("good rules").get("a").expect("the rule").has_shared_inputs()
    };
    assert!(shared(r#"{"d":{"type":"UriFolder","uri":"azureml://datastores/d/paths/f/"}}"#));
    assert!(shared(r#"{"n":{"type":"Literal","value":3},"t":{"type":"Literal","value":"{blob.name}"}}"#));
    assert!(!shared(
        r#"{"d":{"type":"UriFolder","uri":"azureml://datastores/d/paths/f/"},"t":{"type":"Literal","value":"{scoring.id}"}}"#
    ));
    assert!(!shared(r#"{"d":{"type":"UriFile","uri":"{blob.url}"}}"#));
}
