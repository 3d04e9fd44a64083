use lifecycle::Rules;
use serde_json::json;

use super::*;

fn rule(matches: &Value, empty: &str) -> Rule {
    let rule = json!({"id": "r", "match": matches, "endpoint": {"uri": "https://e.example/jobs"}, "emptyBlobs": empty});
    Rules::read(&json!({"rules": [rule]}).to_string()).unwrap().iter().next().unwrap().clone()
}

fn claims() -> Rule {
    rule(&json!({"container": "claims", "prefix": "eu/", "suffix": ".csv"}), "skip")
}

const FLAT: Account = Account { hierarchical: Some(false), sftp: Some(false) };
const LAKE: Account = Account { hierarchical: Some(true), sftp: Some(true) };

fn word_of(coverage: &Coverage) -> &'static str {
    match coverage {
        Coverage::Whole => "whole",
        Coverage::Inconclusive(_) => "inconclusive",
        Coverage::Part(_) => "part",
        Coverage::None(_) => "none",
    }
}

fn check(rule: &Rule, account: Account, cases: &[(Value, &str)]) {
    for (filter, expected) in cases {
        let coverage = of(filter, rule, account, EventKind::Created);
        assert_eq!(word_of(&coverage), *expected, "{filter}: {coverage:?}");
    }
}

const ROOT: &str = "/blobServices/default/containers/";

#[test]
fn begin_and_end_of_the_subject_are_compared_as_far_as_the_rule_goes() {
    let begin = |text: &str| json!({"subjectBeginsWith": format!("{ROOT}{text}")});
    let end = |text: &str| json!({"subjectEndsWith": text});
    check(
        &claims(),
        FLAT,
        &[
            (json!({}), "whole"),
            (json!({"subjectBeginsWith": "", "subjectEndsWith": null, "includedEventTypes": []}), "whole"),
            (begin(""), "whole"),
            (begin("claims/"), "whole"),
            (begin("claims/blobs/eu/"), "whole"),
            (begin("Claims/blobs/EU/"), "whole"),
            (begin("claims/blobs/eu/2026/"), "part"),
            (begin("claims/blobs/us/"), "none"),
            (begin("claim/"), "none"),
            (end(".csv"), "whole"),
            (end("CSV"), "whole"),
            (end("x.csv"), "part"),
            (end(".json"), "none"),
        ],
    );
    check(&rule(&json!({"container": "claims"}), "skip"), FLAT, &[(end(".csv"), "part")]);
    let sensitive = json!({"subjectBeginsWith": format!("{ROOT}Claims/"), "isSubjectCaseSensitive": true});
    check(&claims(), FLAT, &[(sensitive, "none")]);
}

#[test]
fn event_types_must_have_created_blobs_among_them() {
    check(
        &claims(),
        FLAT,
        &[
            (
                json!({"includedEventTypes": ["Microsoft.Storage.BlobDeleted", "Microsoft.Storage.BlobCreated"]}),
                "whole",
            ),
            (json!({"includedEventTypes": ["Microsoft.Storage.BlobDeleted"]}), "none"),
            (json!({"includedEventTypes": null}), "whole"),
        ],
    );
}

fn advanced(operator: &str, key: &str, values: &Value) -> Value {
    let member = if values.is_array() { "values" } else { "value" };
    json!({"advancedFilters": [{"operatorType": operator, "key": key, member: values}]})
}

#[test]
fn advanced_filters_on_the_subject_are_proved_or_refuted() {
    let claims_eu = format!("{ROOT}claims/blobs/eu/");
    let on = |operator: &str, values: &[&str]| advanced(operator, "subject", &json!(values));
    check(
        &claims(),
        FLAT,
        &[
            (on("StringBeginsWith", &[&format!("{ROOT}other/"), &claims_eu]), "whole"),
            (on("StringBeginsWith", &[&format!("{claims_eu}a"), &format!("{claims_eu}b")]), "part"),
            (on("StringBeginsWith", &[&format!("{ROOT}other/")]), "none"),
            (on("StringEndsWith", &[".json", ".csv"]), "whole"),
            (on("StringEndsWith", &[".json"]), "none"),
            (on("StringContains", &["/claims/"]), "whole"),
            (on("StringContains", &["2026"]), "part"),
            (on("StringIn", &[&format!("{claims_eu}a.csv")]), "part"),
            (on("StringNotBeginsWith", &[&format!("{ROOT}other/")]), "whole"),
            (on("StringNotBeginsWith", &[&format!("{claims_eu}tmp/")]), "part"),
            (on("StringNotBeginsWith", &[ROOT]), "part"),
            (on("StringNotEndsWith", &[".json"]), "whole"),
            (on("StringNotEndsWith", &["_tmp.csv"]), "part"),
            (on("StringNotContains", &["/_temporary/"]), "part"),
            (on("StringNotIn", &[&format!("{ROOT}other/blobs/x.csv")]), "whole"),
            (on("IsNotNull", &[]), "whole"),
            (on("IsNullOrUndefined", &[]), "none"),
            (on("StringMatches", &["x"]), "inconclusive"),
        ],
    );
}

#[test]
fn every_operation_that_completes_a_blob_must_pass_if_the_account_knows_it() {
    let three = advanced("StringIn", "data.api", &json!(["PutBlob", "PutBlockList", "CopyBlob"]));
    let all = advanced("StringIn", "data.api", &json!(COMPLETE));
    let none = advanced("StringNotIn", "data.api", &json!(["CreateFile", "SftpCreate"]));
    check(&claims(), FLAT, &[(three.clone(), "whole"), (all.clone(), "whole")]);
    check(&claims(), LAKE, &[(three.clone(), "part"), (all, "whole"), (none, "whole")]);
    check(&claims(), Account::default(), &[(three, "inconclusive")]);
    check(&claims(), FLAT, &[(advanced("StringIn", "data.api", &json!(["PutBlob"])), "part")]);
}

#[test]
fn lengths_must_pass_from_the_least_to_the_largest() {
    let on = |operator: &str, value: Value| advanced(operator, "data.contentLength", &value);
    check(
        &claims(),
        FLAT,
        &[
            (on("NumberGreaterThan", json!(0)), "whole"),
            (on("NumberGreaterThan", json!(1)), "part"),
            (on("NumberGreaterThanOrEquals", json!(1)), "whole"),
            (on("NumberLessThan", json!(1_000_000)), "part"),
            (on("NumberLessThanOrEquals", json!(1e18)), "whole"),
            (on("NumberInRange", json!([[0, 1e18]])), "whole"),
            (on("NumberInRange", json!([[5, 1e18]])), "part"),
            (on("NumberNotIn", json!([0])), "whole"),
            (on("NumberNotIn", json!([7])), "part"),
            (on("NumberNotInRange", json!([[0, 0]])), "whole"),
            (on("NumberIn", json!([7])), "part"),
            (on("NumberGreaterThan", json!("0")), "inconclusive"),
        ],
    );
    let empty = rule(&json!({"container": "claims"}), "score");
    check(
        &empty,
        FLAT,
        &[(on("NumberGreaterThan", json!(0)), "part"), (on("NumberGreaterThanOrEquals", json!(0)), "whole")],
    );
}

#[test]
fn what_is_not_understood_is_inconclusive_unless_something_else_surely_stops() {
    let odd = json!({"operatorType": "StringIn", "key": "data.contentType", "values": ["text/csv"]});
    let stops = json!({"operatorType": "StringEndsWith", "key": "subject", "values": [".json"]});
    check(
        &claims(),
        FLAT,
        &[(json!({"advancedFilters": [odd]}), "inconclusive"), (json!({"advancedFilters": [odd, stops]}), "none")],
    );
}

#[test]
fn unfinished_uploads_are_stopped_by_a_filter_on_the_operation() {
    assert!(!stops_unfinished(&json!({})));
    assert!(stops_unfinished(&advanced("StringIn", "data.api", &json!(COMPLETE))));
    assert!(stops_unfinished(&advanced("StringNotIn", "data.api", &json!(["CreateFile"]))));
    assert!(!stops_unfinished(&advanced("StringIn", "data.api", &json!(["CreateFile", "PutBlob"]))));
}

#[test]
fn events_about_new_names_pass_only_filters_that_ask_for_nothing_they_lack() {
    let types = |more: Value| {
        let mut filter =
            json!({"includedEventTypes": ["Microsoft.Storage.BlobRenamed", "Microsoft.Storage.DirectoryRenamed"]});
        filter.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        filter
    };
    let subject = |value: &str| advanced("StringBeginsWith", "subject", &json!([format!("{ROOT}{value}")]));
    for (filter, file, folder) in [
        (types(json!({})), "whole", "whole"),
        (json!({}), "whole", "whole"),
        (json!({"includedEventTypes": ["Microsoft.Storage.BlobCreated"]}), "none", "none"),
        (types(subject("claims/blobs/")), "whole", "whole"),
        (types(subject("claims/blobs/eu/")), "whole", "part"),
        (types(advanced("StringEndsWith", "subject", &json!([".csv"]))), "whole", "part"),
        (types(advanced("NumberGreaterThan", "data.contentLength", &json!(0))), "none", "none"),
        (types(advanced("StringIn", "data.api", &json!(COMPLETE))), "part", "part"),
        (types(advanced("StringIn", "data.api", &json!(["RenameFile", "SftpRename"]))), "whole", "part"),
        (types(advanced("IsNotNull", "data.url", &json!([]))), "inconclusive", "inconclusive"),
    ] {
        let of = |told| word_of(&of(&filter, &claims(), LAKE, told));
        assert_eq!((of(EventKind::Renamed), of(EventKind::FolderRenamed)), (file, folder), "{filter}");
    }
}

#[test]
fn events_of_no_bytes_must_pass_where_content_comes_after_its_event() {
    let no_bytes = advanced("NumberGreaterThan", "data.contentLength", &json!(0));
    check(&claims(), FLAT, &[(no_bytes.clone(), "whole")]);
    check(&claims(), LAKE, &[(no_bytes.clone(), "part")]);
    check(&claims(), Account::default(), &[(no_bytes.clone(), "inconclusive")]);
    let mut unclosed = claims();
    unclosed.complete = Complete::UnchangedFor("PT2M".parse().unwrap());
    check(&unclosed, FLAT, &[(no_bytes, "part")]);
    check(&unclosed, LAKE, &[(advanced("StringIn", "data.api", &json!(COMPLETE)), "part")]);
}
