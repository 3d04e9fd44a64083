//! The rules that every implementation applies.

use time::macros::datetime;

use super::*;

fn entity(row: &str) -> Entity {
    Entity::new(Key::new("p", row))
}

fn refusal(ops: &[Op]) -> String {
    match check(ops) {
        Err(Error::Refused(why)) => why,
        other => panic!("{other:?} for {} operations", ops.len()),
    }
}

#[test]
fn a_write_has_between_1_and_100_operations() {
    let rows = |n: usize| (0..n).map(|i| Op::Insert(entity(&i.to_string()))).collect::<Vec<_>>();
    assert!(refusal(&[]).contains("without operations"));
    assert_eq!(check(&rows(100)), Ok(()));
    assert!(refusal(&rows(101)).contains("101 operations"));
}

#[test]
fn a_transaction_stays_in_one_partition_and_names_each_row_once() {
    let elsewhere = Op::Delete(Key::new("q", "2"), IfMatch::Any);
    assert!(refusal(&[Op::Insert(entity("1")), elsewhere]).contains("two partitions"));
    let again = Op::Delete(Key::new("p", "1"), IfMatch::Any);
    assert!(refusal(&[Op::Insert(entity("1")), again]).contains("twice"));
}

#[test]
fn forbidden_characters_and_overlong_keys_are_refused() {
    for bad in ["/", "\\", "#", "?", "\u{0}", "\n", "\u{1f}", "\u{7f}", "\u{9f}"] {
        assert!(check_key(&Key::new("p", format!("a{bad}b"))).is_err(), "{bad:?} in the row key");
        assert!(check_key(&Key::new(format!("a{bad}b"), "r")).is_err(), "{bad:?} in the partition key");
    }
    assert_eq!(check_key(&Key::new("", "~ '%+\u{a0}ü")), Ok(()));
    assert_eq!(check_key(&Key::new("p", "ü".repeat(512))), Ok(()));
    assert!(check_key(&Key::new("p", "x".repeat(513))).is_err());
}

#[test]
fn property_names_are_identifiers_and_never_the_systems_own() {
    for bad in ["", "a-b", "1a", "a b", "ü", "PartitionKey", "RowKey", "Timestamp", &"x".repeat(256)] {
        assert!(refusal(&[Op::Upsert(entity("1").with(bad.to_owned(), 1))]).contains("not a property name"), "{bad}");
    }
    for good in ["a", "_a", "A_1", &"x".repeat(255)] {
        assert_eq!(check(&[Op::Upsert(entity("1").with(good.to_owned(), 1))]), Ok(()), "{good}");
    }
}

#[test]
fn an_entity_has_at_most_252_properties() {
    let wide = |n: usize| (0..n).fold(entity("1"), |entity, i| entity.with(format!("P{i}"), 1));
    assert_eq!(check(&[Op::Insert(wide(252))]), Ok(()));
    assert!(refusal(&[Op::Insert(wide(253))]).contains("253 properties"));
}

#[test]
fn text_is_measured_in_utf_16() {
    assert_eq!(check(&[Op::Insert(entity("1").with("A", "ü".repeat(32_768)))]), Ok(()));
    assert!(refusal(&[Op::Insert(entity("1").with("A", "ü".repeat(32_769)))]).contains("32769 UTF-16 units"));
    assert!(refusal(&[Op::Insert(entity("1").with("A", "😀".repeat(16_385)))]).contains("32770 UTF-16 units"));
}

#[test]
fn an_entity_has_at_most_1_mib_and_a_transaction_about_3() {
    let tall = |row: &str, n: usize| (0..n).fold(entity(row), |e, i| e.with(format!("P{i}"), "x".repeat(32_000)));
    assert_eq!(check(&[Op::Insert(tall("1", 16))]), Ok(()));
    assert!(refusal(&[Op::Insert(tall("1", 17))]).contains("1 MiB"));
    let rows = |n: usize| (0..n).map(|i| Op::Insert(tall(&i.to_string(), 16))).collect::<Vec<_>>();
    assert_eq!(check(&rows(3)), Ok(()));
    assert!(refusal(&rows(4)).contains("about 3 MiB"));
}

#[test]
fn text_that_grows_in_json_is_measured_as_it_is_sent() {
    let rows = |n: usize, text: &str| {
        let full = |row: usize| (0..16).fold(entity(&row.to_string()), |e, i| e.with(format!("P{i}"), text));
        (0..n).map(|row| Op::Insert(full(row))).collect::<Vec<_>>()
    };
    assert_eq!(check(&rows(2, &"x".repeat(30_000))), Ok(()));
    assert!(refusal(&rows(2, &"\u{1}".repeat(30_000))).contains("a request of about"));
}

#[test]
fn times_lie_between_1601_and_9999() {
    let at = |at| [Op::Insert(entity("1").with("At", at))];
    assert_eq!(check(&at(datetime!(1601-01-01 00:00 UTC))), Ok(()));
    assert_eq!(check(&at(datetime!(9999-12-31 23:59:59 UTC))), Ok(()));
    assert!(refusal(&at(datetime!(1600-12-31 23:59:59 UTC))).contains("before 1601"));
    // In UTC this is the year 1600.
    assert!(refusal(&at(datetime!(1601-01-01 00:30 +1))).contains("before 1601"));
}

#[test]
fn a_prefix_becomes_a_range_that_the_service_takes() {
    for (prefix, below) in
        [("F~", "F\u{a0}"), ("T~2026", "T~2027"), ("a.", "a0"), ("a\"", "a$"), ("a>", "a@"), ("[", "]")]
    {
        let range = Range::of_prefix("s00", prefix);
        assert_eq!((range.from.as_str(), range.below.as_str()), (prefix, below));
        assert_eq!(check_range(&range), Ok(()));
    }
    assert!(check_range(&Range { partition: "s/0".into(), from: String::new(), below: "a".into() }).is_err());
    assert!(check_range(&Range { partition: "s".into(), from: "a?".into(), below: "b".into() }).is_err());
    assert!(check_range(&Range { partition: "s".into(), from: "a".into(), below: "b#".into() }).is_err());
}

#[test]
fn a_time_is_cut_to_100_ns_in_utc() {
    assert_eq!(
        truncate_to_100ns(datetime!(2026-01-02 03:04:05.123_456_789 +1)),
        datetime!(2026-01-02 02:04:05.123_456_7 UTC)
    );
}
