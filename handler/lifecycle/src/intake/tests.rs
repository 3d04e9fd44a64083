use super::*;
use crate::event_grid::BLOB_CREATED;
use base64::engine::{Engine as _, general_purpose};
use proptest::prelude::*;
use serde_json::{Value, json};
use time::macros::datetime;

fn rules() -> Rules {
    Rules::read(
        r#"{"rules":[
            {"id":"claims","match":{"account":"uploads","container":"claims","prefix":"eu/","suffix":".csv"},"endpoint":{"uri":"https://e.example/jobs"}},
            {"id":"all","match":{"container":"everything"},"endpoint":{"uri":"https://e.example/jobs"},"emptyBlobs":"score"},
            {"id":"too","match":{"container":"everything"},"endpoint":{"uri":"https://f.example/jobs"}}
        ]}"#,
    )
    .expect("good rules")
}

fn data(url: &str) -> Value {
    json!({"api": "PutBlockList", "eTag": "0x8D4BCC2E4835CD0", "contentLength": 5, "contentType": "text/csv",
           "url": url, "sequencer": "0000000000000442"})
}

fn event(url: &str) -> Value {
    json!({"id": "831e1650", "eventType": "Microsoft.Storage.BlobCreated", "subject": "/blobServices/default",
           "eventTime": "2026-07-21T10:00:00Z", "data": data(url), "dataVersion": "", "metadataVersion": "1"})
}

fn cloud_event(url: &str) -> Value {
    json!({"id": "831e1650", "specversion": "1.0", "type": "Microsoft.Storage.BlobCreated", "source": "/x",
           "time": "2026-07-21T12:00:00.5+02:00", "data": data(url)})
}

fn judged(payload: &Value) -> Vec<Classification> {
    read(payload, &LedgerId::of_random([1; 16]), &rules(), OffsetDateTime::UNIX_EPOCH).expect("not too many events")
}

const URL: &str = "https://uploads.blob.core.windows.net/claims/eu/a.csv";

#[test]
fn every_encoding_and_both_schemas_give_the_same_scoring() {
    let plain = judged(&event(URL));
    let Classification::Wanted(scorings) = &plain[0] else { panic!("{plain:?}") };
    assert_eq!((scorings.len(), scorings[0].rule.as_str()), (1, "claims"));
    assert_eq!(scorings[0].blob.size, Some(5));
    assert_eq!(scorings[0].event_time(), datetime!(2026-07-21 10:00 UTC));
    for one in [event(URL), cloud_event(URL)] {
        for payload in [
            one.clone(),
            json!([one]),
            json!(one.to_string()),
            json!(json!([one]).to_string()),
            json!([one.to_string()]),
        ] {
            assert_eq!(judged(&payload), plain, "{payload}");
        }
    }
    assert_eq!(judged(&json!([event(URL), cloud_event(URL)])).len(), 2);
    let mut text_data = event(URL);
    text_data["data"] = json!(data(URL).to_string());
    assert_eq!(judged(&text_data), plain);
}

#[test]
fn each_rule_that_wants_the_blob_gets_a_scoring() {
    let classifications = judged(&event("https://x.blob.core.windows.net/everything/a"));
    let Classification::Wanted(scorings) = &classifications[0] else { panic!("{classifications:?}") };
    assert_eq!(scorings.iter().map(|s| s.rule.as_str()).collect::<Vec<_>>(), ["all", "too"]);
    assert_ne!(scorings[0].id, scorings[1].id);
}

#[test]
fn skips_say_which_rule_and_why() {
    let reason = |payload: Value| match judged(&payload).remove(0) {
        Classification::Skipped(skip) => (skip.rule, skip.reason),
        other => panic!("{other:?}"),
    };
    assert!(reason(event("https://uploads.blob.core.windows.net/claims/us/a.csv")).1.contains("`eu/`"));
    assert_eq!(reason(event("https://uploads.blob.core.windows.net/claims/us/a.csv")).0.as_deref(), Some("claims"));
    assert!(reason(event("https://uploads.blob.core.windows.net/claims/eu/a.txt")).1.contains("`.csv`"));
    assert!(reason(event("https://other.blob.core.windows.net/claims/eu/a.csv")).1.contains("account `other`"));
    assert_eq!(reason(event("https://uploads.blob.core.windows.net/photos/a.csv")).0, None);
    let mut created = event(URL);
    created["data"]["api"] = json!("CreateFile");
    assert!(reason(created).1.contains("CreateFile"));
    let mut empty = event(URL);
    empty["data"]["contentLength"] = json!(0);
    assert!(reason(empty).1.contains("no bytes"));
    let temporary = reason(event("https://uploads.blob.core.windows.net/claims/eu/_temporary/0/a.csv"));
    assert!(temporary.1.contains("`_temporary/`") && temporary.0.as_deref() == Some("claims"), "{temporary:?}");
    let mut deleted = event(URL);
    let mut log = event(URL);
    log["data"]["blobType"] = json!("AppendBlob");
    assert!(reason(log).1.contains("append blob"));
    deleted["eventType"] = json!("Microsoft.Storage.BlobDeleted");
    assert!(reason(deleted).1.contains("BlobDeleted"));
}

#[test]
fn the_form_of_an_output_decides_only_if_the_ledger_may_have_forgotten_it() {
    let url = "https://uploads.blob.core.windows.net/everything/scorekeeper/all/0123456789abcdef0123456789abcdef/1/predictions.csv";
    let told = |event: &Value, now: OffsetDateTime| {
        let ledger = LedgerId::of_random([1; 16]);
        read(event, &ledger, &rules(), now).expect("not too many events").remove(0)
    };
    let (at, output) = (datetime!(2026-07-21 10:00 UTC), event(url));
    assert!(matches!(told(&output, at + Duration::days(7)), Classification::Wanted(_)), "the ledger is asked");
    let mut without_time = output.clone();
    without_time.as_object_mut().expect("an object").remove("eventTime");
    for old in [told(&output, at + MIN_RETENTION), told(&without_time, at)] {
        assert!(matches!(&old, Classification::Skipped(skip) if skip.reason.contains("output")), "{old:?}");
    }
}

/// What becomes of an event under one rule with these members.
fn under(rule: &Value, event: &Value) -> Classification {
    let mut full = json!({"id": "r", "match": {"container": "claims"}, "endpoint": {"uri": "https://e.example/jobs"}});
    full.as_object_mut().expect("an object").extend(rule.as_object().expect("an object").clone());
    let rules = Rules::read(&json!({ "rules": [full] }).to_string()).expect("good rules");
    let ledger = LedgerId::of_random([1; 16]);
    read(event, &ledger, &rules, OffsetDateTime::UNIX_EPOCH).expect("not too many events").remove(0)
}

#[test]
fn size_type_and_operation_decide_and_what_the_event_does_not_tell_is_looked_at() {
    let told = |matches: Value, change: &dyn Fn(&mut Value)| {
        let mut rule = json!({ "match": matches });
        rule["match"]["container"] = json!("claims");
        let mut event = event(URL);
        change(&mut event["data"]);
        match under(&rule, &event) {
            Classification::Wanted(_) => "taken in".to_owned(),
            Classification::Pending { uploads, .. } if uploads.len() == 1 => "looked at".to_owned(),
            Classification::Skipped(skipped) => skipped.reason,
            other => panic!("{other:?}"),
        }
    };
    let as_it_is: &dyn Fn(&mut Value) = &|_| {};
    let unsized_: &dyn Fn(&mut Value) = &|data| drop(data.as_object_mut().expect("data").remove("contentLength"));
    let untyped: &dyn Fn(&mut Value) = &|data| drop(data.as_object_mut().expect("data").remove("contentType"));
    let by_copy: &dyn Fn(&mut Value) = &|data| data["api"] = json!("FlushWithClose");
    for (matches, change, said) in [
        (json!({"minBytes": 5, "maxBytes": 5}), as_it_is, "taken in"),
        (json!({"minBytes": 6}), as_it_is, "rule `r`: it has 5 bytes, fewer than 6 (match.minBytes)"),
        (json!({"maxBytes": 4}), as_it_is, "rule `r`: it has 5 bytes, more than 4 (match.maxBytes)"),
        (json!({"minBytes": 6}), unsized_, "looked at"),
        (json!({}), unsized_, "taken in"),
        (json!({"contentTypes": ["application/json", "Text/*"]}), as_it_is, "taken in"),
        (
            json!({"contentTypes": ["application/json"]}),
            as_it_is,
            "rule `r`: its content type is `text/csv`, not `application/json` (match.contentTypes)",
        ),
        (json!({"contentTypes": ["application/json"]}), untyped, "looked at"),
        (json!({"metadata": {"tenant": "a"}}), as_it_is, "looked at"),
        (json!({"indexTags": {"tenant": false}}), as_it_is, "looked at"),
        (
            json!({"metadata": {"tenant": "a"}, "minBytes": 6}),
            as_it_is,
            "rule `r`: it has 5 bytes, fewer than 6 (match.minBytes)",
        ),
        (json!({"apis": ["PutBlob", "PutBlockList"]}), as_it_is, "taken in"),
        (
            json!({"apis": ["PutBlob", "PutBlockList"]}),
            by_copy,
            "rule `r`: it was written by `FlushWithClose`, not by PutBlob, PutBlockList (match.apis)",
        ),
    ] {
        assert_eq!(told(matches.clone(), change), said, "{matches}");
    }
}

#[test]
fn a_marker_stands_for_its_folder_and_other_files_wait_for_it() {
    let rule = json!({"complete": {"marker": "_SUCCESS"}, "emptyBlobs": "score"});
    let marker = |path: &str, api: &str| {
        let mut event = event(&format!("https://uploads.blob.core.windows.net/claims/{path}"));
        (event["data"]["contentLength"], event["data"]["api"]) = (json!(0), json!(api));
        under(&rule, &event)
    };
    for (path, api) in [("eu/2026/_SUCCESS", "PutBlob"), ("_SUCCESS", "FlushWithClose"), ("a/_SUCCESS", "SftpCommit")] {
        let Classification::Wanted(scorings) = marker(path, api) else { panic!("{path}") };
        assert_eq!(scorings[0].blob.path, path);
    }
    for path in ["eu/2026/part-0.csv", "eu/2026/_SUCCESS.crc", "eu/x_SUCCESS", "_SUCCESS/a.csv"] {
        let Classification::Skipped(skipped) = marker(path, "PutBlob") else { panic!("{path}") };
        assert!(skipped.reason.contains("it is not the marker `_SUCCESS`"), "{path}: {}", skipped.reason);
    }
}

#[test]
fn an_empty_blob_is_scored_where_the_rule_says_so() {
    let mut empty = event("https://x.blob.core.windows.net/everything/a");
    empty["data"]["contentLength"] = json!(0);
    let classifications = judged(&empty);
    assert!(
        matches!(&classifications[0], Classification::Wanted(scorings) if scorings.len() == 1),
        "{classifications:?}"
    );
}

#[test]
fn what_cannot_be_read_is_kept_with_its_reason_and_without_secrets() {
    let mut no_tag = event(&format!("{URL}?sv=1&SIG=VERYSECRET&se=2"));
    no_tag["data"]["eTag"] = Value::Null;
    for payload in [
        json!(null),
        json!(5),
        json!("text"),
        json!({}),
        json!([[[[1]]]]),
        json!({"eventType": 1}),
        no_tag,
        json!({"eventType": "Microsoft.Storage.BlobCreated"}),
        json!({"specversion": "1.0", "type": "Microsoft.Storage.BlobCreated", "data": {"url": "x", "eTag": "1"}}),
    ] {
        match judged(&payload).remove(0) {
            Classification::Quarantined(bad) => {
                assert!(!bad.reason.is_empty());
                assert!(!bad.received.contains("VERYSECRET"), "{}", bad.received);
            }
            other => panic!("{payload}: {other:?}"),
        }
    }
    assert!(judged(&json!([])).is_empty());
}

#[test]
fn a_time_that_no_row_holds_costs_the_time_and_not_the_event() {
    for (told, known) in [
        (json!("2026-07-21T10:00:00.1234567Z"), Some(datetime!(2026-07-21 10:00 UTC))),
        (json!("1601-01-01T00:00:00Z"), None),
        (json!("9999-12-31T23:59:59-23:59"), None),
        (json!("yesterday"), None),
        (json!(1_721_556_000), None),
        (Value::Null, None),
    ] {
        let mut event = event(URL);
        event["eventTime"] = told.clone();
        let Classification::Wanted(scorings) = judged(&event).remove(0) else { panic!("{told}") };
        assert_eq!(scorings[0].blob.event_time, known, "{told}");
        assert_eq!(scorings[0].event_time(), known.unwrap_or(OffsetDateTime::UNIX_EPOCH), "else when it is accepted");
    }
}

#[test]
fn data_in_base64_is_decoded() {
    let plain = judged(&event(URL));
    let engine = general_purpose::STANDARD;
    let with = |data: &str| json!({"id": "1", "specversion": "1.0", "type": BLOB_CREATED, "time": "2026-07-21T10:00:00Z", "data_base64": data});
    let encoded = engine.encode(data(URL).to_string());
    assert_eq!(judged(&with(&encoded)), plain);
    assert_eq!(judged(&with(encoded.trim_end_matches('='))), plain, "without padding");
    assert!(malformed(&with("{}")).reason.contains("data_base64"));
}

#[test]
fn one_damaged_event_of_forty_costs_itself_alone() {
    let events: Vec<String> = (0..40)
        .map(|n| {
            event(&format!("{}/{n}", URL.trim_end_matches(".csv")))
                .to_string()
                .replace(&format!("/{n}\""), &format!("/{n}.csv\""))
        })
        .collect();
    let whole = format!("[{}]", events.join(","));
    for damage in ["\\ud83d", "\u{fffd}", "\t", "\\q", "\"", "\"},{"] {
        // In the place of the seventeenth event's `.csv`.
        let damaged = whole.replace("/17.csv", &format!("/17{damage}.csv"));
        for delivery in
            [damaged.clone(), json!(damaged).to_string(), json!(damaged).to_string().replace("\\\\ud83d", "\\ud83d")]
        {
            let verdicts = read(
                Payload::new(delivery).opened(),
                &LedgerId::of_random([1; 16]),
                &rules(),
                OffsetDateTime::UNIX_EPOCH,
            )
            .expect("few");
            let wanted = verdicts.iter().filter(|verdict| matches!(verdict, Classification::Wanted(_))).count();
            assert_eq!(wanted, 39, "{damage:?}");
        }
    }
}

#[test]
fn what_is_too_long_to_be_kept_whole_says_so() {
    let quarantined = |length: usize| malformed(&json!("x".repeat(length)));
    assert!(quarantined(MAX_RECEIVED).whole && !quarantined(MAX_RECEIVED + 1).whole && !quarantined(500_000).whole);
}

fn malformed(payload: &Value) -> QuarantinedEvent {
    match judged(payload).remove(0) {
        Classification::Quarantined(bad) => bad,
        other => panic!("{payload}: {other:?}"),
    }
}

#[test]
fn a_delivery_is_opened_so_deep_and_no_deeper() {
    let wrap: [fn(Value) -> Value; 2] = [|value| json!([value]), |value| json!(value.to_string())];
    for wrap in wrap {
        let mut payload = event(URL);
        for _ in 0..crate::payload::MAX_NESTING {
            payload = wrap(payload);
        }
        assert!(matches!(judged(&payload)[0], Classification::Wanted(_)), "{payload}");
        assert!(!malformed(&wrap(payload)).reason.is_empty());
    }
}

#[test]
fn what_is_no_event_is_called_by_its_kind() {
    let deep = json!([[[[1]]]]);
    for (payload, kind) in [
        (json!(null), "null"),
        (json!(true), "a boolean"),
        (json!(5), "a number"),
        (json!("text"), "a string"),
        (deep, "a list within a list"),
    ] {
        assert_eq!(malformed(&payload).reason, format!("the event is {kind}, not a JSON object"));
    }
}

#[test]
fn what_no_row_could_hold_is_kept_as_unreadable() {
    let with = |container: &str, path: &str, etag: &str| {
        let mut one = event(&format!("https://x.blob.core.windows.net/{container}/{path}"));
        one["data"]["eTag"] = json!(etag);
        judged(&one).remove(0)
    };
    let rest = "https://x.blob.core.windows.net//a".len();
    for (container, path, etag) in [
        ("everything".to_owned(), "p".repeat(1_024), "1".to_owned()),
        ("everything".to_owned(), "a".to_owned(), "1".repeat(200)),
        ("c".repeat(13_000 - rest), "a".to_owned(), "1".to_owned()),
    ] {
        assert!(!matches!(with(&container, &path, &etag), Classification::Quarantined(_)));
        let more = match (path.len(), etag.len()) {
            (1_024, _) => with(&container, &format!("{path}p"), &etag),
            (_, 200) => with(&container, &path, &format!("{etag}1")),
            _ => with(&format!("{container}c"), &path, &etag),
        };
        assert!(matches!(more, Classification::Quarantined(bad) if bad.reason.contains("longer than")));
    }
}

#[test]
fn what_is_kept_has_a_key_of_its_own_and_shows_all_but_its_secrets() {
    let bad = malformed(&json!({"x": "a?Sig=s3cret&code=s3cret&b=1\u{85}"}));
    assert_eq!(bad.received, r#"{"x":"a?Sig=***&code=***&b=1 "}"#);
    assert_eq!(bad.key, malformed(&json!({"x": "a?Sig=other&code=another&b=1\u{85}"})).key, "{}", bad.received);
    assert_ne!(bad.key, malformed(&json!({"x": "b"})).key);
    assert!(bad.key.len() == 32 && bad.key.bytes().all(|b| b.is_ascii_hexdigit()), "{}", bad.key);
    assert_eq!(shown("https://x/a?sig=secret#b"), "https://x/a");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        Just(json!("Microsoft.Storage.BlobCreated")),
        Just(json!("https://uploads.blob.core.windows.net/claims/eu/a.csv")),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        let name = prop_oneof![
            Just("data".to_owned()),
            Just("eventType".to_owned()),
            Just("type".to_owned()),
            Just("specversion".to_owned()),
            Just("url".to_owned()),
            Just("eTag".to_owned()),
            Just("api".to_owned()),
            "[a-z]{1,5}"
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(name, inner.clone(), 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
            inner.prop_map(|value| json!(value.to_string())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_gets_a_verdict_and_the_same_one_twice(payload in any_json()) {
        prop_assert_eq!(judged(&payload), judged(&payload));
    }

    #[test]
    fn any_url_and_etag_are_read_or_refused(url in ".{0,60}", etag in ".{0,20}") {
        let mut one = event(URL);
        one["data"]["url"] = json!(url);
        one["data"]["eTag"] = json!(etag);
        prop_assert_eq!(judged(&one).len(), 1);
    }
}
