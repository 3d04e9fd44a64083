//! What strangers send: none of it may panic, and what is concluded from it is always the same.
//!
//! Cases are few, so that they cost seconds; `PROPTEST_CASES=100000 cargo test -p lifecycle --test any_input` digs deeper. A
//! case that fails is written to `any_input.regressions` beside this file, to be kept.

use lifecycle::blob::InvalidBlob;
use lifecycle::datastore::{DatastorePath, same_place};
use lifecycle::duration::IsoDuration;
use lifecycle::intake::{self, Classification};
use lifecycle::rule::template::{PLACEHOLDERS, Template, Values};
use lifecycle::schedule::{back_off, poll_is_due};
use lifecycle::{BlobVersion, EndpointKey, JobStatus, LedgerId, RuleId, Rules, ScoringId};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    }
}

const NOW: OffsetDateTime = time::macros::datetime!(2026-07-21 10:00 UTC);

fn blob(url: &str, etag: &str) -> Result<BlobVersion, InvalidBlob> {
    BlobVersion::read(url, etag)
}

fn classified(event: &Value, rules: &Rules) -> Vec<Classification> {
    intake::read(event, &LedgerId::of_random([1; 16]), rules, NOW).expect("not too many events")
}

/// Paths as people and programs make them, and worse.
fn path() -> impl Strategy<Value = String> {
    let segment = prop_oneof!["[a-z0-9]{1,8}", "[ -~&&[^/]]{1,12}", "\\PC{1,8}", Just("%2e".to_owned())];
    let dots = |path: &String| path.split('/').any(|segment| matches!(segment, "." | ".."));
    prop::collection::vec(segment, 1..5)
        .prop_map(|segments| segments.join("/"))
        .prop_filter("a URL cannot hold dots alone", move |path| !dots(path))
        .prop_filter("it stands for a lost character", |path| !path.contains(char::REPLACEMENT_CHARACTER))
}

/// Percent-encodes every byte of the path for which the bits say so, beside those that must be.
fn spelled(path: &str, bits: u64) -> String {
    let mut text = String::new();
    for (at, byte) in path.bytes().enumerate() {
        let plain =
            byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'~' | b'(' | b')' | b'!' | b',');
        if plain && bits >> (at % 64) & 1 == 0 {
            text.push(char::from(byte));
        } else {
            let code = format!("%{byte:02x}");
            text.push_str(&if at % 2 == 0 { code.to_uppercase() } else { code });
        }
    }
    text
}

fn hole() -> impl Strategy<Value = String> {
    prop::sample::select(PLACEHOLDERS).prop_map(|(name, _)| format!("{{{name}}}"))
}

/// The part of an output template behind `/paths/`.
fn template() -> impl Strategy<Value = String> {
    let text =
        prop_oneof!["[a-z0-9/.-]{0,6}", "[0-9a-f]{1,3}", "\\PC{0,4}"].prop_map(|text| text.replace(['{', '}'], "-"));
    prop::collection::vec((text, hole()), 1..6)
        .prop_map(|parts| parts.into_iter().map(|(text, hole)| text + &hole).collect::<String>())
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z.]{1,9}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn full_rules() -> Value {
    json!({"rules": [{
        "id": "claims", "match": {"account": "uploads", "container": "claims", "prefix": "eu/", "suffix": ".csv",
            "exclude": {"prefixes": ["eu/old/"], "suffixes": ["~.csv"], "globs": ["**/x-*.csv"], "defaults": false}},
        "endpoint": {"uri": "https://e.example/jobs", "deployment": "v7"},
        "inputs": {"input_data": {"type": "UriFile", "uri": "{blob.url}"}, "n": {"type": "Literal", "value": 3}},
        "outputs": {"score": {"type": "UriFile", "uri": "azureml://datastores/d/paths/{scoring.id}/{attempt}/p.csv"}},
        "settings": {"miniBatchSize": 5}, "generation": 1, "maxInFlight": 50, "emptyBlobs": "score", "overwrites": "latestOnly", "pollInterval": "PT2M",
        "maxAttempts": 3, "retryBackOff": "PT1M", "submitDeadline": "P1D", "jobTimeout": "P7D", "submitTimeout": "PT1M",
        "lookupInterval": "PT30S", "resubmitAfter": "PT15M", "onUnknown": "hold", "outputTimeout": "PT2M"}]})
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_blob_has_one_id_however_its_url_is_spelled(path in path(), bits: u64, more: u64, etag in "[!-~&&[^\"/]]{1,20}") {
        let plain = blob(&format!("https://acct.blob.core.windows.net/c/{}", spelled(&path, bits)), &etag);
        let other = blob(&format!("https://ACCT.dfs.core.windows.net:443/c/{}?sig=x", spelled(&path, more)), &format!("\"{etag}\""));
        match (plain, other) {
            (Ok(plain), Ok(other)) => {
                prop_assert_eq!(&plain.url, &other.url);
                let rule: RuleId = "r".parse().expect("an id");
                let ledger = LedgerId::of_random([1; 16]);
                prop_assert_eq!(ScoringId::new(&ledger, &rule, &plain, 0), ScoringId::new(&ledger, &rule, &other, 0));
                prop_assert_eq!(&plain.path, &path, "what was spelled is what is read");
            }
            (Err(_), Err(_)) => {}
            (one, other) => prop_assert!(false, "{one:?} and {other:?}"),
        }
    }

    #[test]
    fn any_name_comes_out_as_itself_through_each_encoding(path in path(), bits: u64, host in 0_usize..8, encoding in 0_usize..6, cloud: bool) {
        let rules = Rules::read(r#"{"rules":[{"id":"all","match":{"container":"claims","exclude":{"defaults":false}},"endpoint":{"uri":"https://e.example/jobs"},"emptyBlobs":"score"}]}"#).expect("good rules");
        let hosts = ["https://uploads.blob.core.windows.net", "https://UPLOADS.blob.core.windows.net.", "https://uploads.blob.core.windows.net:443",
            "https://uploads.dfs.core.windows.net", "https://uploads.privatelink.blob.core.windows.net", "http://uploads.blob.core.windows.net",
            "HTTPS://uploads.privatelink.dfs.core.windows.net", "https://uploads.blob.core.windows.net:443"];
        let browser = || {
            let mut url = url::Url::parse("https://x/").expect("a URL");
            url.set_path(&format!("/x/{}", path.replace('%', "%25")));
            url.path()["/x/".len()..].to_owned()
        };
        let (subject, in_url) = match encoding {
            0 => (path.clone(), path.clone()),
            1 => (path.clone(), spelled(&path, bits)),
            2 => (path.clone(), spelled(&path, u64::MAX)),
            3 => (path.clone(), path.replace(' ', "%20")),
            4 if !path.contains('\\') => (path.clone(), browser()),
            4 => (path.clone(), spelled(&path, 0)),
            _ => (path.clone(), format!("{}?sv=1&sig=x", spelled(&path, bits))),
        };
        let subject = format!("/blobServices/default/containers/claims/blobs/{subject}");
        let data = json!({"api": "PutBlob", "url": format!("{}/claims/{in_url}", hosts[host]), "eTag": "0x1", "contentLength": 5});
        let event = if cloud {
            json!({"id": "1", "specversion": "1.0", "type": "Microsoft.Storage.BlobCreated", "source": "/a", "subject": subject, "data": data})
        } else {
            json!({"id": "1", "eventType": "Microsoft.Storage.BlobCreated", "subject": subject, "data": data})
        };
        let verdicts = classified(&event, &rules);
        let Classification::Wanted(scorings) = &verdicts[0] else { return Err(TestCaseError::fail(format!("{verdicts:?}"))) };
        let blob = &scorings[0].blob;
        prop_assert_eq!(&blob.path, &path);
        // One blob has one scoring, and two have two: the URL that the id is made of names this blob, and it alone.
        prop_assert!(blob.url.starts_with("https://uploads.blob.core.windows.net/claims/"), "{}", blob.url);
        prop_assert_eq!(&BlobVersion::read(&blob.url, "0x1").expect("its own URL").path, &path);
        let parsed = url::Url::parse(&blob.url).expect("a URL");
        prop_assert_eq!(parsed.as_str(), blob.url.as_str(), "no client rewrites it");
    }

    #[test]
    fn what_was_read_of_a_blob_reads_as_itself(url in "(https?://)?\\PC{0,40}", etag in "[!-~&&[^\"/]]{1,20}") {
        if let Ok(read) = blob(&url, &etag) {
            prop_assert_eq!(blob(&read.url, &read.etag), Ok(read));
        }
    }

    #[test]
    fn an_output_path_is_known_as_ours(
        behind in template(), path in path(), rule in "[a-zA-Z0-9_-]{1,12}", etag in "[!-~&&[^\"/]]{1,12}", attempt in 1_u32..300
    ) {
        let Ok(blob) = blob(&format!("https://a.blob.core.windows.net/c/{}", spelled(&path, 0)), &etag) else { return Ok(()) };
        let rule: RuleId = rule.parse().expect("an id");
        let id = ScoringId::new(&LedgerId::of_random([1; 16]), &rule, &blob, 0);
        let event_time = time::OffsetDateTime::UNIX_EPOCH;
        let values = Values { blob: &blob, rule: &rule, scoring: &id, event_time, attempt };
        let template = Template::parse(&format!("azureml://datastores/d/paths/{behind}")).expect("only known holes");
        let uri = template.fill(&values);
        let made = uri.strip_prefix("azureml://datastores/d/paths/").expect("the text before the first hole stays");
        prop_assert!(template.could_have_made(made), "{} from {}", made, template);
        prop_assert!(uri.parse::<DatastorePath>().map_or(true, |at| template.could_have_made(&at.path)));
    }

    #[test]
    fn a_template_of_any_text_is_read_or_refused(text in "[{}a-z./]{0,30}|\\PC{0,30}", path in "\\PC{0,60}") {
        if let Ok(template) = Template::parse(&text) {
            prop_assert_eq!(template.source(), &text);
            let _ = template.could_have_made(&path);
        }
    }

    #[test]
    fn rules_of_any_text_are_read_or_refused_with_a_reason(text in "\\PC{0,80}") {
        prop_assert!(Rules::read(&text).is_err_and(|problems| problems.iter().all(|problem| problem.to_string().len() > 20) && problems.iter().len() > 0));
    }

    #[test]
    fn one_wrong_member_is_told_by_name_or_is_right(value in json_value(), member in 0_usize..20, within in prop::option::of(0_usize..4)) {
        let mut rules = full_rules();
        let rule = rules["rules"][0].as_object_mut().expect("a rule");
        let name = rule.keys().nth(member % rule.len()).expect("a member").clone();
        let mut place = rule.get_mut(&name).expect("the member");
        let keys: Vec<_> = place.as_object().into_iter().flat_map(|inner| inner.keys().cloned()).collect();
        if let Some(key) = within.and_then(|within| keys.get(within)) {
            place = place.get_mut(key).expect("the inner member");
        }
        *place = value;
        if let Err(problems) = Rules::read(&rules.to_string()) {
            prop_assert!(problems.iter().len() > 0);
            let all = problems.to_string();
            prop_assert!(all.contains("rule"), "{}", all);
        }
    }

    #[test]
    fn an_event_of_any_shape_gets_a_verdict_and_the_same_one_as_text(value in json_value(), data in json_value(), member in 0_usize..4) {
        let rules = Rules::read(&full_rules().to_string()).expect("good rules");
        let mut event = json!({"id": "1", "specversion": "1.0", "type": "Microsoft.Storage.BlobCreated", "source": "/a",
            "data": {"api": "PutBlob", "url": "https://uploads.blob.core.windows.net/claims/eu/a.csv", "eTag": "0x1", "contentLength": 5}});
        match member {
            0 => event = value,
            1 => event["data"] = data,
            2 => event["data"]["url"] = value,
            _ => event["data"]["contentLength"] = value,
        }
        let classifications = classified(&event, &rules);
        prop_assert_eq!(&classified(&event, &rules), &classifications);
        if event.is_object() {
            prop_assert_eq!(classifications.len(), 1);
            let as_text = classified(&Value::String(event.to_string()), &rules);
            let same = |one: &Classification, other: &Classification| match (one, other) {
                (Classification::Quarantined(_), Classification::Quarantined(_)) => true,
                (one, other) => one == other,
            };
            prop_assert!(as_text.len() == 1 && same(&as_text[0], &classifications[0]), "{:?} and {:?}", as_text, classifications);
        }
    }

    #[test]
    fn no_secret_of_an_event_is_kept(before in "[a-z ?&;]{0,12}", name in "sig=|SIG=|[?&]code=|Key=|token=", secret in "[A-Za-z0-9%+/=]{12,40}") {
        let text = format!("{before}{name}SECRET{secret}&rest");
        let rules = Rules::read(&full_rules().to_string()).expect("good rules");
        for event in [json!(text), json!({"x": text}), json!({"eventType": "Microsoft.Storage.BlobCreated", "data": {"url": text}})] {
            for verdict in classified(&event, &rules) {
                prop_assert!(!format!("{verdict:?}").contains("SECRET"), "{:?}", verdict);
            }
        }
    }

    #[test]
    fn a_back_off_lies_between_its_base_and_its_cap_and_a_quarter(base in 1_i64..3_000_000_000, cap in 1_i64..1_000_000, times: u32, id: u128) {
        let id = ScoringId::read(&format!("{id:032x}")).expect("32 hex digits");
        let (base, cap) = (Duration::seconds(base), Duration::seconds(cap));
        let pause = back_off(base, cap, times, &id);
        prop_assert!(pause >= base.min(cap) && pause <= cap * 1.25 + Duration::NANOSECOND, "{}", pause);
        prop_assert_eq!(back_off(base, cap, times, &id), pause);
        let more = back_off(base, cap, times.saturating_add(1), &id);
        prop_assert!(more * 1.25 + Duration::SECOND >= pause, "never much less: {} then {}", pause, more);
    }

    #[test]
    fn no_poll_is_lost_between_two_ticks(id: u128, interval in 1_i64..100_000, since in 0_i64..1_000_000, first in 0_i64..1_000_000, gap in 0_i64..200_000, cut in 0.0_f64..1.0) {
        let id = ScoringId::read(&format!("{id:032x}")).expect("32 hex digits");
        let at = |seconds| NOW + Duration::seconds(seconds);
        let (since, interval) = (at(since), Duration::seconds(interval));
        let (from, to) = (at(first), at(first + gap));
        let between = from + (to - from) * cut;
        let due = |from, to| poll_is_due(&id, since, interval, Some(from), to);
        prop_assert_eq!(due(from, to), due(from, between) || due(between, to), "a tick in between changes nothing");
        prop_assert!(to - from < interval || due(from, to), "once in each interval");
    }

    #[test]
    fn a_duration_that_is_read_is_written_as_itself(text in "P([0-9]{1,6}D)?(T([0-9]{1,4}H)?([0-9]{1,4}M)?([0-9]{1,4}(\\.[0-9]{1,3})?S)?)?|\\PC{0,12}") {
        if let Ok(period) = text.parse::<IsoDuration>() {
            prop_assert!(period.0 >= Duration::ZERO);
            let again = period.to_string().parse::<IsoDuration>();
            prop_assert_eq!(again.map(|again| again.0), Ok(period.0), "{} became {}", text, period);
        }
    }

    #[test]
    fn places_are_compared_by_what_they_name(one in "\\PC{0,40}", path in "[a-z0-9 %/]{1,20}", store in "[a-zA-Z]{1,8}") {
        let short = format!("azureml://datastores/{store}/paths/{path}");
        prop_assert!(same_place(&one, &one) && same_place(&short, &short));
        prop_assert_eq!(same_place(&one, &short), same_place(&short, &one));
        if let Ok(read) = short.parse::<DatastorePath>() {
            prop_assert!(read.datastore == store && read.path == path);
        }
    }

    #[test]
    fn an_endpoint_has_one_key(uri in "\\PC{0,40}", host in "[a-z]{1,9}", path in "[a-z/]{0,9}", query in "[a-z=&]{0,9}") {
        prop_assert_eq!(EndpointKey::of(&uri), EndpointKey::of(&uri));
        let plain = EndpointKey::of(&format!("https://{host}/{path}"));
        prop_assert_eq!(EndpointKey::of(&format!("HTTPS://{}:443/{path}/?{query}", host.to_uppercase())), plain);
    }

    #[test]
    fn a_job_status_keeps_its_word(word in "\\PC{0,20}") {
        let read = JobStatus::read(&word);
        prop_assert!(read.name().eq_ignore_ascii_case(&word) || word.eq_ignore_ascii_case("Succeeded"));
        prop_assert_eq!(JobStatus::read(read.name()), read);
    }
}
