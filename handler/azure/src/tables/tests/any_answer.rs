//! Whatever a service or a proxy answers: success is never concluded from what cannot be understood, and nothing panics.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use super::*;
use app::ports::table_store::{Value, json};

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    }
}

/// A runtime for its clock: the client has limits of time.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
    });
    RUNTIME.block_on(work)
}

fn tags(count: usize) -> Vec<Option<ETag>> {
    (0..count).map(|n| Some(ETag(format!("W/\"{n}\"")))).collect()
}

fn part(tag: &str) -> String {
    format!("HTTP/1.1 204 No Content\r\nDataServiceVersion: 3.0;\r\nETag: {tag}\r\n\r\n")
}

/// The answer to a transaction of `count` operations that was done.
fn done(count: usize) -> String {
    let parts: Vec<String> = (0..count).map(|n| part(&format!("W/\"{n}\""))).collect();
    let Act::Answer(_, _, body) = batch_answer(&parts) else { unreachable!("it is an answer") };
    body
}

/// What the client concludes from this body of a transaction's answer.
fn concluded(count: usize, body: &str) -> Result<Vec<Option<ETag>>, Error> {
    let headers = vec![("content-type", "multipart/mixed; boundary=batchresponse_1".to_owned())];
    let answer = || Act::Answer(202, headers.clone(), body.to_owned());
    let (tables, service) = good(vec![answer(), answer(), answer()]);
    let ops: Vec<Op> = (0..count).map(|n| insert(&n.to_string())).collect();
    let outcome = block_on(tables.write(&table(), &ops));
    // Only a service that says that it did nothing is asked again.
    let asked = service.asked.lock().unwrap().len();
    assert!(asked == 1 || matches!(outcome, Err(Error::Throttled { .. })), "sent {asked} times");
    outcome
}

/// Damage to a text, by bytes; what is not text afterwards is made one.
#[derive(Debug, Clone)]
enum Damage {
    Cut(usize),
    Remove(usize, usize),
    Repeat(usize, usize),
    Put(usize, Vec<u8>),
    Flip(usize, u8),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = 0_usize..1_200;
    let words = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        prop::sample::select(vec![
            "--batchresponse_1--\r\n",
            "--changesetresponse_2\r\n",
            "--changesetresponse_2--\r\n",
            "HTTP/1.1 500 x\r\n",
            "\r\n\r\n",
            "204"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    prop_oneof![
        at.clone().prop_map(Damage::Cut),
        (at.clone(), 1_usize..200).prop_map(|(at, length)| Damage::Remove(at, length)),
        (at.clone(), 1_usize..200).prop_map(|(at, length)| Damage::Repeat(at, length)),
        (at.clone(), words).prop_map(|(at, bytes)| Damage::Put(at, bytes)),
        (at, any::<u8>()).prop_map(|(at, bits)| Damage::Flip(at, bits)),
    ]
}

fn damaged(text: &str, all: &[Damage]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for damage in all {
        let length = bytes.len();
        let range = |at: usize, by: usize| at.min(length)..(at.min(length) + by).min(length);
        match damage {
            Damage::Cut(at) => bytes.truncate(*at),
            Damage::Remove(at, by) => drop(bytes.drain(range(*at, *by))),
            Damage::Repeat(at, by) => {
                let again = bytes[range(*at, *by)].to_vec();
                bytes.splice(range(*at, 0), again);
            }
            Damage::Put(at, more) => drop(bytes.splice(range(*at, 0), more.iter().copied())),
            Damage::Flip(at, bits) => {
                if let Some(byte) = bytes.get_mut(*at) {
                    *byte ^= bits;
                }
            }
        }
    }
    bytes
}

/// Lines that say that an operation was done.
fn lines_of_success(text: &str) -> usize {
    text.lines()
        .filter(|line| {
            line.trim_start().starts_with("HTTP/")
                && line.split_whitespace().nth(1).is_some_and(|word| word.starts_with('2'))
        })
        .count()
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        "\\PC{0,20}".prop_map(Value::String),
        any::<i32>().prop_map(Value::Int32),
        any::<i64>().prop_map(Value::Int64),
        any::<bool>().prop_map(Value::Boolean),
        (0_i64..4_000_000_000, 0_i64..10_000_000).prop_map(|(seconds, ticks)| {
            let at = time::OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds);
            Value::DateTime(at + time::Duration::nanoseconds(ticks * 100))
        }),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_damaged_transaction_is_done_only_if_every_part_says_so(count in 2_usize..5, all in prop::collection::vec(damage(), 0..3)) {
        let bytes = damaged(&done(count), &all);
        let body = String::from_utf8_lossy(&bytes).into_owned();
        match concluded(count, &body) {
            Ok(etags) => {
                prop_assert_eq!(etags.len(), count);
                prop_assert!(lines_of_success(&body) >= count, "{:?} from {:?}", etags, body);
                prop_assert!(etags.iter().flatten().all(|tag| !tag.0.is_empty()), "{:?}", etags);
            }
            Err(error) => prop_assert!(!all.is_empty(), "{}", error),
        }
    }

    #[test]
    fn a_transaction_with_a_part_that_failed_is_never_done(count in 2_usize..5, which in 0_usize..5, status in 300_u16..600, op in 0_usize..200) {
        let failed = format!("HTTP/1.1 {status} x\r\n\r\n{}\r\n", error_body("UpdateConditionNotSatisfied", &format!("{op}:x")));
        let mut parts: Vec<String> = (0..count).map(|n| part(&format!("W/\"{n}\""))).collect();
        parts[which % count] = failed;
        let Act::Answer(_, _, body) = batch_answer(&parts) else { unreachable!("it is an answer") };
        match concluded(count, &body) {
            Ok(etags) => prop_assert!(false, "{etags:?}"),
            Err(Error::Conflict { op } | Error::AlreadyExists { op } | Error::Missing { op }) => {
                prop_assert!(op < count, "operation {} of {}", op, count);
            }
            Err(_) => {}
        }
    }

    #[test]
    fn what_says_nothing_of_http_is_no_success(text in "\\PC{0,80}", more in prop::collection::vec(any::<u8>(), 0..60)) {
        prop_assume!(!text.contains("HTTP/"));
        prop_assert!(concluded(2, &text).is_err());
        prop_assert!(batch::read("multipart/mixed; boundary=x", &more).is_err(), "no closing line is made of few bytes");
    }

    #[test]
    fn parts_are_read_as_they_were_written(parts in prop::collection::vec((100_u16..600, "[!-~]{1,20}", "[a-z{}\":, ]{0,40}"), 1..6)) {
        let texts: Vec<String> = parts.iter().map(|(status, tag, body)| format!("HTTP/1.1 {status} x\r\nETag: {tag}\r\n\r\n{body}")).collect();
        let Act::Answer(_, headers, body) = batch_answer(&texts) else { unreachable!("it is an answer") };
        let read = batch::read(&headers[0].1, body.as_bytes()).expect("a good answer");
        prop_assert_eq!(read.len(), parts.len());
        for (read, (status, tag, body)) in read.iter().zip(&parts) {
            prop_assert_eq!((read.status, read.etag), (*status, Some(tag.as_str())));
            prop_assert_eq!(read.body, body.trim_ascii().as_bytes());
        }
    }

    #[test]
    fn a_single_write_is_done_only_with_a_version(status in 100_u16..600, tag in prop::option::of("[ -~]{0,12}"), body in "\\PC{0,40}") {
        let headers: Vec<_> = tag.iter().map(|tag| ("etag", tag.clone())).collect();
        let answer = || Act::Answer(status, headers.clone(), body.clone());
        let (tables, _) = good(vec![answer(), answer(), answer()]);
        let outcome = block_on(tables.write(&table(), &[insert("1")]));
        match outcome {
            Ok(etags) => {
                prop_assert!((200..300).contains(&status));
                // It can be sent back: a version that cannot is none.
                let [Some(etag)] = &etags[..] else { panic!("{etags:?}") };
                let op = Op::Delete(Key::new("p", "r"), IfMatch::Tag(etag.clone()));
                prop_assert!(wire::if_match(&op).is_ok(), "{:?}", etag);
            }
            // A failed status may mean that nothing happened; a good one never does.
            Err(error) => prop_assert!(!(200..300).contains(&status) || matches!(error, Error::Ambiguous(_)), "{}", error),
        }
    }

    #[test]
    fn a_failure_is_told_in_a_line_and_a_denial_without_its_message(
        status in prop_oneof![Just(401_u16), Just(403), 100_u16..600], bytes in prop::collection::vec(any::<u8>(), 0..80), value in "\\PC{0,40}"
    ) {
        let quoting = error_body("AuthenticationFailed", &format!("{value} the string to sign was SIGNED {value}")).into_bytes();
        for body in [bytes, quoting] {
            let failure = answer::failure(status, None, None, &body);
            prop_assert!(!failure.message.contains('\n') && failure.message.chars().count() <= 200);
            if matches!(status, 401 | 403) {
                let message = classify(RequestKind::Read, &failure).to_string();
                prop_assert!(!message.contains("SIGNED"), "{}", message);
            }
        }
    }

    #[test]
    fn rows_of_any_text_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80), name in "[A-Z][a-z]{0,5}", edm in "(Edm\\.)?[A-Z][A-Za-z0-9]{0,7}", value in "\\PC{0,12}") {
        let _ = wire::one(&bytes).is_ok() || wire::many(&bytes).is_ok();
        let row = serde_json::json!({"odata.etag": "1", "PartitionKey": "p", "RowKey": "r", name.clone(): value, format!("{name}@odata.type"): edm});
        if let Ok(row) = wire::one(row.to_string().as_bytes()) {
            prop_assert_eq!(row.entity.key, Key::new("p", "r"));
        }
    }

    #[test]
    fn an_entity_travels_whole(properties in prop::collection::btree_map("[A-Za-z_][A-Za-z0-9_]{0,12}", value(), 0..8)) {
        let json: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&json::to_json(&properties.clone().into_iter().collect())).expect("an object");
        let system = ["PartitionKey", "RowKey", "Timestamp"];
        let expected = properties.into_iter().filter(|(name, _)| !system.contains(&name.as_str())).collect();
        prop_assert_eq!(json::from_json(&json), Ok(expected));
    }
}

#[test]
fn a_transaction_that_ends_early_anywhere_is_never_done() {
    let whole = done(3);
    assert_eq!(concluded(3, &whole), Ok(tags(3)));
    for length in 0..whole.len() - 2 {
        assert!(matches!(concluded(3, &whole[..length]), Err(Error::Ambiguous(_))), "{length} of {}", whole.len());
    }
}
