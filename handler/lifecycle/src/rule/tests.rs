use serde_json::Value;
use time::macros::datetime;

use super::{Policy, Rule, Rules};
use crate::blob::BlobVersion;
use crate::id::LedgerId;
use crate::job::{Input, InputData, Submission};
use crate::scoring::Scoring;

const FULL: &str = r#"{ "rules": [ {
    "id": "claims",
    "match": { "account": "uploads", "container": "claims", "prefix": "eu/" },
    "endpoint": { "uri": "https://heart.westeurope.inference.ml.azure.com/jobs", "deployment": "v7" },
    "inputs":  { "input_data": { "type": "UriFile", "uri": "{blob.url}" } },
    "outputs": { "score": { "type": "UriFile", "uri": "azureml://datastores/workspaceblobstore/paths/scores/{scoring.id}/{attempt}/predictions.csv" } },
    "pollInterval": "PT2M", "maxInFlight": 50 } ] }"#;

fn at(uri: &str) -> InputData {
    InputData { uri: uri.to_owned(), mode: None, description: None }
}

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
        r#"{"rules":[{"id":"a","match":{"container": "con"},"endpoint":{"uri":"https://e.r.inference.ml.azure.com/jobs"}}]}"#,
    )
    .expect("a minimal rule");
    let rule = rules.get("a").expect("the rule");
    let blob = BlobVersion::read("https://x.blob.core.windows.net/con/p.csv", "1").expect("a blob");
    let scoring = Scoring::accept(&LedgerId::of_random([1; 16]), rule, blob, time::OffsetDateTime::UNIX_EPOCH);
    let submission = rule.submission(&scoring, 1);
    assert_eq!(submission.inputs["input_data"], Input::UriFile(at("https://x.blob.core.windows.net/con/p.csv")));
    assert!(submission.outputs["score"].uri.contains(scoring.id.as_str()));
}

#[test]
fn every_problem_is_reported_at_once_with_place_value_and_remedy() {
    let text = r#"{
  // A rule that was written in a hurry.
  "rules": [
    { "id": "a b", "match": { "container": "Claims", "prefix": "/eu/" },
      "endpoint": { "uri": "http://e.example/jobs", "workspace": "ws" },
      "outputs": { "o": { "type": "UriFile", "uri": "https://x/y" } },
      "maxInflight": 5, "maxAttempts": "3", "resubmitAfter": "PT1S", },
    { "id": "b", "id": "c", "match": {} },
  ]
}"#;
    let problems = Rules::read(text).unwrap_err();
    let found: Vec<(String, usize, usize)> =
        problems.iter().map(|problem| (problem.place.path.clone(), problem.place.line, problem.place.column)).collect();
    let places = [
        ("rules[0].id", 4, 13),
        ("rules[0].match.container", 4, 44),
        ("rules[0].match.prefix", 4, 64),
        ("rules[0].endpoint.uri", 5, 28),
        ("rules[0].endpoint.workspace", 5, 66),
        ("rules[0].outputs.o.uri", 6, 53),
        ("rules[0].outputs.o.uri", 6, 53),
        ("rules[0].outputs.o.uri", 6, 53),
        ("rules[0].maxInflight", 7, 7),
        ("rules[0].maxAttempts", 7, 40),
        ("rules[0].resubmitAfter", 7, 62),
        ("rules[1].endpoint", 8, 5),
        ("rules[1].id", 8, 18),
        ("rules[1].match.container", 8, 38),
    ];
    assert_eq!(found, places.map(|(path, line, column)| (path.to_owned(), line, column)), "{problems}");
    let said = problems.to_string();
    for line in [
        "rules[0].match.container (line 4, column 44) is \"Claims\"; expected a container's name: 3 to 63 lower-case letters, digits and single hyphens, a letter or digit at both ends; write \"claims\"",
        "rules[0].maxAttempts (line 7, column 40) is \"3\"; expected a whole number from 1 to 20; write it without quotes",
        "rules[1].match.container (line 8, column 38) is missing; expected the container that is watched; name it",
        "rules[1].id (line 8, column 18) is written twice; expected each member once; remove one of the two; the other is in line 8",
    ] {
        assert!(said.lines().any(|said| said == line), "{line}\nis missing in\n{said}");
    }
    assert!(
        said.contains("rules[0].maxInflight (line 7, column 7) is not a known member; expected only `id`, "),
        "{said}"
    );
    assert!(said.contains("; write `maxInFlight`\n"), "{said}");
}

#[test]
fn what_editors_write_into_json_files_is_read() {
    let text = FULL.replacen(
        "{ \"rules\"",
        "\u{feff}/* ours */ { \"$schema\": \"./rules.schema.json\", // v1\r\n \"rules\"",
        1,
    );
    let text = text.replace("50 } ] }", "50, }, ], }\n");
    assert_eq!(Rules::read(&text).expect("good rules"), Rules::read(FULL).expect("good rules"));
    for (bad, place) in [
        ("{\n  \"rules\": [\n", "the file (line 2, column 12) is not JSON: "),
        ("{'rules': []}", "the file (line 1, column 2) is not JSON: "),
        ("", "the file (line 1, column 1) is not JSON: there is nothing in it"),
        ("{\"rules\": []} x", "the file (line 1, column 15) is not JSON: "),
        ("[]", "the file (line 1, column 1) is []; expected an object"),
        ("{}", "rules (line 1, column 1) is missing"),
        ("{\"rules\": []}", "rules (line 1, column 11) is []; expected one rule at least"),
    ] {
        let said = Rules::read(bad).unwrap_err().to_string();
        assert!(said.starts_with(place), "{bad}: {said}");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(Rules::read(&deep).unwrap_err().to_string().contains("nesting depth"));
}

#[test]
fn a_secret_in_a_wrong_place_is_not_shown() {
    let said = problems_with(&serde_json::json!({"inputs": {"i": {"type": "UriFile",
        "uri": "https://acct.blob.core.windows.net/c/b.csv?sv=2024-01-01&sig=c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U%3D"}}}));
    assert!(said.contains("a SAS would be kept with the job") && !said.contains("c2VjcmV0"), "{said}");
}

/// The problems of the smallest good rule with some members changed; `null` leaves one out.
fn problems_with(members: &Value) -> String {
    let mut rule =
        serde_json::json!({"id": "a", "match": {"container": "con"}, "endpoint": {"uri": "https://e.example/jobs"}});
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
        (serde_json::json!({"id": "9".repeat(65)}), "rules[0].id"),
        (serde_json::json!({"id": ""}), "rules[0].id"),
        (serde_json::json!({"id": "a.b"}), "rules[0].id"),
        (serde_json::json!({"maxAttempts": 21}), "is 21; expected a whole number from 1 to 20"),
        (serde_json::json!({"maxAttempts": 0}), "is 0; expected a whole number from 1 to 20"),
        (serde_json::json!({"maxAttempts": 1.5}), "is 1.5; expected a whole number"),
        (serde_json::json!({"resubmitAfter": "PT29S", "lookupInterval": "PT30S"}), "rules[0].resubmitAfter"),
        (serde_json::json!({"lookupInterval": "PT16M"}), "rules[0].lookupInterval"),
        (serde_json::json!({"jobTimeout": "P22D"}), "is \"P22D\"; expected PT0.001S to P21D; write \"P21D\""),
        (serde_json::json!({"pollInterval": "PT0S"}), "rules[0].pollInterval"),
        (serde_json::json!({"pollInterval": 120}), "if seconds are meant, write \"PT120S\""),
        (output(&format!("azureml://datastores/d/{holes}")), "write azureml://datastores/NAME/paths/PATH"),
        (output(&format!("https://x/paths/{holes}")), "outputs are not written to URLs"),
        (
            serde_json::json!({"inputs": {"i": {"type": "Literal", "template": "{nothing}"}}}),
            "and `{nothing}` is none; remove it, or write `{{` and `}}` for the braces themselves; there are {blob.url}, ",
        ),
        (
            serde_json::json!({"inputs": {"i": {"type": "Literal", "value": [1]}}}),
            "expected a text, a number, true or false",
        ),
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
    let all = serde_json::json!({"container": "con", "suffix": ".csv", "exclude": {"suffixes": ["csv"]}});
    assert!(with(all).contains("path ends with `csv` (match.exclude.suffixes)"));
    let all = serde_json::json!({"container": "con", "prefix": "eu/old/", "exclude": {"prefixes": ["eu/"]}});
    assert!(with(all).contains("path begins with `eu/`"));
    let empty = serde_json::json!({"container": "con", "exclude": {"prefixes": [""]}});
    assert!(with(empty).contains("match.exclude.prefixes[0]"));
    let part = serde_json::json!({"container": "con", "prefix": "eu/", "exclude": {"prefixes": ["eu/old/"], "globs": ["**/*.bak"]}});
    assert_eq!(with(part), "");
    assert!(with(serde_json::json!({"container": "con", "exclude": {"glob": []}})).contains("glob"));
}

#[test]
fn a_rule_with_globs_wants_what_has_one_of_their_forms_and_is_excluded_by_none() {
    let text = FULL.replace(
        r#""prefix": "eu/""#,
        r#""prefix": "eu/", "globs": ["eu/*/*.csv", "**/final-[0-9]*.json"], "exclude": {"globs": ["**/x-*"]}"#,
    );
    let rules = Rules::read(&text).expect("good rules");
    let rule = rules.get("claims").expect("the rule");
    let refused = |path: &str| rule.refuses_name("uploads", "claims", path).unwrap_or_default();
    for path in ["eu/fr/a.csv", "eu/a/b/c/final-1.json", "eu/final-9x.json"] {
        assert_eq!(refused(path), "", "{path}");
    }
    for path in ["eu/a.csv", "eu/fr/x/a.csv", "eu/final-a.json", "eu/fr/a.CSV"] {
        let why = "path has none of the forms `eu/*/*.csv`, `**/final-[0-9]*.json` (match.globs)";
        assert_eq!(refused(path), why, "{path}");
    }
    assert!(refused("eu/fr/x-1.csv").contains("match.exclude.globs"));
    assert_eq!(rule.refuses_folder("uploads", "claims", "eu/fr"), None, "its files may have one of the forms");
    let bad = problems_with(&serde_json::json!({"match": {"container": "con", "globs": ["**/a", "a**"]}}));
    assert!(bad.starts_with("rules[0].match.globs[1] (line 1, ") && bad.contains("at character "), "{bad}");
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

/// What an attempt for a blob at this path sends.
fn submitted(rule: &Rule, path: &str, attempt: u32) -> Submission {
    let url = format!("https://uploads.blob.core.windows.net/{}/{path}", rule.matches.container);
    let mut blob = BlobVersion::read(&url, "0x1").expect("a blob");
    blob.event_time = Some(datetime!(2026-07-21 23:59:59 UTC));
    let scoring = Scoring::accept(&LedgerId::of_random([1; 16]), rule, blob, datetime!(2026-07-22 00:00 UTC));
    rule.submission(&scoring, attempt)
}

#[test]
fn literals_are_sent_as_they_are_written_and_templates_are_filled() {
    let text = FULL.replace(
        r#""inputs":  {"#,
        r#""inputs":  { "t": { "type": "Literal", "template": "{attempt}x{{}}" }, "n": { "type": "Literal", "value": 1e5 },
            "long": { "type": "Literal", "value": 123456789012345678901234567890 }, "no": { "type": "Literal", "value": false },
            "json": { "type": "Literal", "value": "{\"a\": {\"b\": \"{blob.name}\"}}" }, "empty": { "type": "Literal", "value": "" },"#,
    );
    let rules = Rules::read(&text).expect("good rules").changed(|rule| rule.generation = 7);
    let rule = rules.get("claims").expect("the rule");
    assert_eq!(rule.generation, 7);
    let sent = submitted(rule, "eu/p.csv", 3);
    // What is recorded is what is sent.
    let sent: Submission = serde_json::from_str(&serde_json::to_string(&sent).expect("JSON")).expect("as it was");
    for (name, value) in [
        ("t", "3x{}"),
        ("n", "1e5"),
        ("long", "123456789012345678901234567890"),
        ("no", "false"),
        ("json", r#"{"a": {"b": "{blob.name}"}}"#),
        ("empty", ""),
    ] {
        assert_eq!(sent.inputs[name], Input::Literal { value: value.to_owned() }, "{name}");
    }
    assert!(rules.warnings().iter().any(|warning| warning.seen.contains("`inputs.json.value` has a placeholder")));
    for (input, said) in [
        (serde_json::json!({"type": "Literal"}), "inputs.i.value (line 1, "),
        (serde_json::json!({"type": "Literal", "value": 1, "template": "x"}), "one of `value` and `template`"),
        (serde_json::json!({"type": "Literal", "template": 1}), "write it between quotes"),
    ] {
        let told = problems_with(&serde_json::json!({"inputs": {"i": input}}));
        assert!(told.lines().count() == 1 && told.contains(said), "{told}");
    }
}

#[test]
fn every_text_of_a_rule_is_a_template_and_what_is_passed_through_is_none() {
    let rule = serde_json::json!({"id": "r", "match": {"container": "con"}, "endpoint": {"uri": "https://e.example/jobs"},
        "inputs": {"d": {"type": "UriFolder", "uri": "azureml://datastores/d/paths/{blob.folder}"},
            "asset": {"type": "UriFolder", "uri": "azureml://locations/l/workspaces/w/data/{blob.stem}/versions/1"}},
        "outputs": {"o": {"type": "UriFolder", "uri": "azureml://datastores/d/paths/{event.time:yyyy/MM/dd}/{scoring.id}/{attempt}"}},
        "settings": {"name": "{blob.stem} {attempt}", "description": "{{{rule.id}}}", "tags": {"day": "{event.time:yyyy-MM-dd}"},
            "properties": {"experimentName": "{rule.id}-{blob.container}"}, "outputFileName": "{blob.name}", "partitionKeys": ["{blob.folder}"],
            "compute": {"target": "{blob.account}", "properties": {"x": "{blob.extension}"}}, "passThrough": {"raw": "{blob.name}"}}});
    let rules = Rules::read(&serde_json::json!({ "rules": [rule] }).to_string()).expect("good rules");
    let sent = submitted(rules.get("r").expect("the rule"), "eu/fr/a.csv", 2);
    assert_eq!(sent.inputs["d"], Input::UriFolder(at("azureml://datastores/d/paths/eu/fr/")));
    let asset = "azureml://locations/l/workspaces/w/data/a/versions/1";
    assert_eq!(sent.inputs["asset"], Input::UriFolder(at(asset)), "an id is not a path");
    assert!(sent.outputs["o"].uri.starts_with("azureml://datastores/d/paths/2026/07/21/"), "{}", sent.outputs["o"].uri);
    let settings = serde_json::json!({"name": "a 2", "description": "{r}", "tags": {"day": "2026-07-21"},
        "properties": {"experimentName": "r-con"}, "outputFileName": "a.csv", "partitionKeys": ["eu/fr"],
        "compute": {"target": "uploads", "properties": {"x": ".csv"}}, "raw": "{blob.name}"});
    assert_eq!(Value::Object(sent.settings), settings);
    for (settings, said) in [
        (serde_json::json!({"name": "{blob.nme}"}), "settings.name (line 1"),
        (serde_json::json!({"tags": {"t": "{blob.fodler}"}}), "write `{blob.folder}`"),
        (serde_json::json!({"description": "{event.time:YYYY}"}), "write for example `{event.time:yyyy/MM/dd}`"),
        (serde_json::json!({"description": "a}"}), "write `}}` for a brace itself"),
    ] {
        let told = problems_with(&serde_json::json!({ "settings": settings }));
        assert!(told.lines().count() == 1 && told.contains(said), "{told}");
    }
    let digits = r#"{"rules":[{"id":"a","match":{"container":"con"},"endpoint":{"uri":"https://e.example/jobs"},"settings":{"passThrough":{"n":123456789012345678901234567890}}}]}"#;
    assert!(Rules::read(digits).expect_err("digits are lost").to_string().contains("a number of 64 bits"));
}

#[test]
fn a_rule_whose_requests_can_never_be_held_is_refused_with_both_sizes() {
    let rule = |length: usize| {
        format!(
            r#"{{"id":"a","match":{{"container": "con"}},"endpoint":{{"uri":"https://e.example/jobs"}},"settings":{{"description":"{}"}}}}"#,
            "x".repeat(length)
        )
    };
    let told = problems(&rule(33_000));
    for part in
        ["rules[0] (line 1, column 11) is { … }; expected requests of 32768 UTF-16", "take 33", "shorten `settings`"]
    {
        assert!(told.contains(part), "{part} is missing in {told}");
    }
    assert!(Rules::read(&format!("{{\"rules\":[{}]}}", rule(32_000))).is_ok());
}

#[test]
fn inputs_that_say_of_which_blob_they_are_are_told_from_those_that_are_shared() {
    let shared = |inputs: &str| {
        let text = format!(
            r#"{{"rules":[{{"id":"a","match":{{"container": "con"}},"endpoint":{{"uri":"https://e.example/jobs"}},"inputs":{inputs}}}]}}"#
        );
        Rules::read(&text).expect("good rules").get("a").expect("the rule").has_shared_inputs()
    };
    assert!(shared(r#"{"d":{"type":"UriFolder","uri":"azureml://datastores/d/paths/f/"}}"#));
    assert!(shared(
        r#"{"n":{"type":"Literal","value":3},"t":{"type":"Literal","template":"{blob.name}"},"u":{"type":"Literal","value":"{blob.url}"}}"#
    ));
    assert!(!shared(
        r#"{"d":{"type":"UriFolder","uri":"azureml://datastores/d/paths/f/"},"t":{"type":"Literal","template":"{scoring.id}"}}"#
    ));
    assert!(!shared(r#"{"d":{"type":"UriFile","uri":"{blob.url}"}}"#));
}

#[test]
fn settings_are_sent_in_rests_spelling_however_they_are_written() {
    let settings = |settings: Value| {
        let rule = serde_json::json!({"id": "a", "match": {"container": "con"},
            "endpoint": {"uri": "https://e.example/jobs"}, "settings": settings});
        let text = serde_json::json!({ "rules": [rule] }).to_string();
        Rules::read(&text).map(|rules| Value::Object(submitted(rules.get("a").expect("the rule"), "a.csv", 1).settings))
    };
    for (written, sent) in [
        (serde_json::json!({}), serde_json::json!({})),
        (
            serde_json::json!({"MiniBatchSize": 5, "ComputeInstanceCount": 2, "ErrorThreshold": -1}),
            serde_json::json!({"miniBatchSize": 5, "compute": {"instanceCount": 2}, "errorThreshold": -1}),
        ),
        (
            serde_json::json!({"compute": {"target": "gpu"}, "computeInstanceCount": 2, "loggingLevel": "Debug"}),
            serde_json::json!({"compute": {"target": "gpu", "instanceCount": 2}, "loggingLevel": "Debug"}),
        ),
        (
            serde_json::json!({"RetrySettings": {"MaxRetries": 0, "Timeout": "PT30S"}, "partitionKeys": ["a"]}),
            serde_json::json!({"retrySettings": {"maxRetries": 0, "timeout": "PT30S"}, "partitionKeys": ["a"]}),
        ),
        (
            serde_json::json!({"ContinueOnStepFailure": true, "ForceRun": false, "DefaultDatastore": "blobs",
                "ExperimentName": "nightly"}),
            serde_json::json!({"properties": {"ContinueOnStepFailure": "true", "ForceRun": "false",
                "DefaultDatastore": "blobs", "experimentName": "nightly"}}),
        ),
        (serde_json::json!({"experimentName": "a"}), serde_json::json!({"properties": {"experimentName": "a"}})),
        (
            serde_json::json!({"name": "n", "tags": {"team": "risk"}, "passThrough": {"priority": {"of": [1, null]}}}),
            serde_json::json!({"name": "n", "tags": {"team": "risk"}, "priority": {"of": [1, null]}}),
        ),
    ] {
        assert_eq!(settings(written.clone()).expect("good rules"), sent, "{written}");
    }
    for (written, said) in [
        (serde_json::json!({"miniBatchsize": 5}), "write `miniBatchSize`"),
        (serde_json::json!({"miniBatchSize": "5"}), "settings.miniBatchSize (line 1, column 121) is \"5\""),
        (serde_json::json!({"miniBatchSize": 5, "MiniBatchSize": 5}), "one of `miniBatchSize` and `MiniBatchSize`"),
        (serde_json::json!({"ComputeInstanceCount": 1, "compute": {"instanceCount": 1}}), "the number of nodes once"),
        (serde_json::json!({"compute": "gpu"}), "expected an object: `target`"),
        (serde_json::json!({"InputData": {}}), "write `inputs` of the rule"),
        (serde_json::json!({"status": "x"}), "Azure ML sets it; remove it"),
        (serde_json::json!({"tags": {"team": 5}}), "settings.tags.team (line 1"),
        (serde_json::json!({"tags": {"Scorekeeper.scoring": "x"}}), "begin with `scorekeeper.` say whose a job is"),
        (serde_json::json!({"loggingLevel": "Warn"}), "one of \"Info\", \"Warning\", \"Debug\""),
        (serde_json::json!({"passThrough": {"minibatchsize": 5}}), "`minibatchsize` is one; write it there"),
        (serde_json::json!({"passThrough": {"outputdata": 5}}), "`outputdata` is one; write it there"),
        (serde_json::json!({"experiment": "x"}), "write `experimentName`"),
        (
            serde_json::json!({"experimentName": "x", "properties": {"ExperimentName": "y"}}),
            "`properties.ExperimentName` is the same",
        ),
        (
            serde_json::json!({"ForceRun": true, "properties": {"forcerun": "false"}}),
            "`properties.forcerun` is the same",
        ),
        (
            serde_json::json!({"properties": {"DefaultDatastore": "a", "defaultDatastore": "b"}}),
            "each name once; they have no case",
        ),
    ] {
        let told = settings(written.clone()).expect_err("bad rules");
        assert!(told.iter().count() == 1 && told.to_string().contains(said), "{written}: {told}");
    }
}

#[test]
fn the_marker_of_a_group_is_not_scored_itself_whatever_its_name() {
    let text = |group: &str| {
        format!(
            r#"{{"rules": [{{"id": "a", "match": {{"container": "con"}}, "group": {group}, "endpoint": {{"uri": "https://e.example/jobs"}}}}]}}"#
        )
    };
    let rules = Rules::read(&text(r#"{"by": "marker", "marker": "ready.csv"}"#)).expect("good rules");
    let refused = |path: &str| rules.get("a").expect("the rule").refuses_name("uploads", "con", path);
    for path in ["ready.csv", "eu/ready.csv"] {
        assert!(refused(path).is_some_and(|why| why.contains("`ready.csv`") && why.contains("group.marker")), "{path}");
    }
    for path in ["eu/already.csv", "ready.csv/a.csv"] {
        assert_eq!(refused(path), None, "{path}");
    }
    let rules = Rules::read(&text(r#"{"by": "folder"}"#)).expect("good rules");
    assert_eq!(rules.get("a").expect("the rule").refuses_name("uploads", "con", "eu/ready.csv"), None);
}

#[test]
fn a_marker_gives_its_folder_as_input_unless_the_rule_says_otherwise() {
    let read = |more: &Value| {
        let mut rule = serde_json::json!({"id": "a", "match": {"container": "con"}, "endpoint": {"uri": "https://e.example/jobs"},
            "complete": {"marker": "_SUCCESS"}, "emptyBlobs": "score"});
        rule.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        Rules::read(&serde_json::json!({ "rules": [rule] }).to_string())
    };
    let rules = read(&serde_json::json!({})).expect("good rules");
    let rule = rules.get("a").expect("the rule");
    assert!(!rule.has_shared_inputs());
    for (path, folder) in [("eu/2026%2F07/_SUCCESS", "eu/2026/07/"), ("_SUCCESS", "")] {
        let uri = format!("https://uploads.blob.core.windows.net/con/{folder}");
        assert_eq!(submitted(rule, path, 1).inputs["input_data"], Input::UriFolder(at(&uri)), "{path}");
    }
    for (more, said) in [
        (serde_json::json!({"emptyBlobs": "skip"}), "write \"emptyBlobs\": \"score\" into the rule"),
        (serde_json::json!({"match": {"container": "con", "suffix": ".csv"}}), "leave out `match.suffix`"),
        (serde_json::json!({"complete": {"marker": "x/_SUCCESS"}}), "without folders and wildcards"),
        (serde_json::json!({"complete": {"marker": "_SUCCESS", "unchangedFor": "PT1M"}}), "complete.unchangedFor"),
    ] {
        let told = read(&more).expect_err("bad rules").to_string();
        assert!(told.lines().count() == 1 && told.contains(said), "{more}: {told}");
    }
    assert!(read(&serde_json::json!({"match": {"container": "con", "suffix": "/_SUCCESS"}})).is_ok());
}

#[test]
fn a_split_decides_the_deployment_of_a_scoring_and_a_later_share_does_not() {
    let rules = |endpoint: &str| {
        let uri = r#""uri": "https://e.example/jobs""#;
        Rules::read(&format!(
            r#"{{"rules":[{{"id":"a","match":{{"container":"con"}},"endpoint":{{{uri}, {endpoint}}}}}]}}"#
        ))
    };
    let told = |endpoint: &str| rules(endpoint).expect_err("bad rules").to_string();
    let (before, after) = (r#""deployments": {"v7": 90, "v8": 10}"#, r#""deployments": {"v7": 0, "v8": 100}"#);
    let (before, after) = (rules(before).expect("good rules"), rules(after).expect("good rules"));
    let ledger = LedgerId::of_random([1; 16]);
    let accepted = |rules: &Rules, n: u32, etag: &str| {
        let url = format!("https://uploads.blob.core.windows.net/con/{n}.csv");
        let blob = BlobVersion::read(&url, etag).expect("a blob");
        Scoring::accept(&ledger, rules.get("a").expect("the rule"), blob, time::OffsetDateTime::UNIX_EPOCH)
    };
    for n in 0..1_000 {
        let (first, newer) = (accepted(&before, n, "1"), accepted(&before, n, "2"));
        assert_eq!(first.deployment, newer.deployment, "each version of a blob goes to the same one");
        let again = accepted(&after, n, "1");
        assert_eq!((again.id, again.deployment.as_deref()), (first.id, Some("v8")), "a share is no part of the id");
    }
    for (endpoint, said) in [
        (r#""deployments": {"v7": 90, "v8": 9}"#, "shares that add up to 100, not to 99"),
        (r#""deployments": {"v7": 100}"#, "two deployments at least"),
        (r#""deployments": {"v7": 50, "v 8": 50}"#, r#"endpoint.deployments["v 8"] (line 1"#),
        (r#""deployments": {"v7": 50.5, "v8": 49.5}"#, "a whole number from 0 to 100"),
        (r#""deployments": {"v7": 50, "v8": 50}, "deployment": "v7""#, "one of `deployment` and `deployments`"),
    ] {
        assert!(told(endpoint).contains(said), "{endpoint}: {}", told(endpoint));
    }
}

#[test]
fn what_a_rule_says_of_inputs_and_outputs_is_sent_and_none_is_an_answer() {
    let rule = serde_json::json!({"id": "a", "match": {"container": "con"}, "endpoint": {"uri": "https://e.example/jobs"},
        "inputs": {"d": {"type": "UriFile", "uri": "{blob.url}", "mode": "Download", "description": "of {blob.name}"}},
        "outputs": {"o": {"type": "UriFolder", "uri": "azureml://datastores/d/paths/{scoring.id}/{attempt}/", "mode": "Upload"}}});
    let read = |rule: &Value| Rules::read(&serde_json::json!({ "rules": [rule] }).to_string());
    let rules = read(&rule).expect("good rules");
    let sent = submitted(rules.get("a").expect("the rule"), "a.csv", 1);
    let sent = serde_json::to_value(sent).expect("JSON");
    assert_eq!(
        (&sent["inputs"]["d"]["mode"], &sent["inputs"]["d"]["description"]),
        (&"Download".into(), &"of a.csv".into())
    );
    assert_eq!((&sent["outputs"]["o"]["mode"], sent["outputs"]["o"].get("description")), (&"Upload".into(), None));
    let mut none = rule.clone();
    none["inputs"] = serde_json::json!({});
    let rules = read(&none).expect("good rules");
    let rule = rules.get("a").expect("the rule");
    assert!(submitted(rule, "a.csv", 1).inputs.is_empty() && rule.has_shared_inputs());
    let upload = serde_json::json!({"d": {"type": "UriFile", "uri": "{blob.url}", "mode": "Upload"}});
    let told = problems_with(&serde_json::json!({ "inputs": upload }));
    assert!(told.contains("one of \"ReadOnlyMount\""), "{told}");
    none["outputs"] = serde_json::json!({});
    let rules = read(&none).expect("good rules");
    assert!(submitted(rules.get("a").expect("the rule"), "a.csv", 1).outputs.is_empty());
}
