//! Opens the host's envelope: `{"Data": {"<binding>": value}, "Metadata": {…}}`.
//!
//! The host writes a value as a JSON object if it is one for .NET's serialiser, and else as a **string that holds the
//! JSON text**: an array of events (cardinality many) arrives as a string, a string as a string of a string.
//! `Metadata` is not read: retries and correlation are the ledger's business.

use lifecycle::Payload;
use lifecycle::payload::{each_member, repair};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// Why a body is no envelope; with what there is instead, for those who can do something with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unreadable {
    /// What the body is not, for the log; it quotes nothing of the body.
    pub reason: &'static str,
    /// What was there; `None`: nothing that could be kept as a text.
    pub instead: Option<Payload>,
}

/// The value of the binding: the member of `Data` with one of `names`, else its only or first member. Strings that hold
/// JSON are opened. The body is cut, not copied.
pub fn open(body: Vec<u8>, names: &[&str]) -> Result<Payload, Unreadable> {
    let text =
        repair::text(body).map_err(|repair::NoText| Unreadable { reason: "the body is no text", instead: None })?;
    let mut unreadable = None;
    let found = Payload::within(text, |text| match binding(text, names) {
        Ok(value) => Some(value),
        Err((reason, instead)) => {
            unreadable = Some(reason);
            instead
        }
    });
    match unreadable {
        None => Ok(found.opened()),
        Some(NOT_JSON) => Err(Unreadable { reason: NOT_JSON, instead: Some(damaged(found)) }),
        Some(reason) => Err(Unreadable { reason, instead: Some(found) }),
    }
}

const NOT_JSON: &str = "the body is not JSON";

/// What a damaged body has in the place of the binding's value, up to its end: whoever reads events reads on from there.
/// Everything where no such place is.
fn damaged(body: Payload) -> Payload {
    let value = |text: &str| {
        let at = text.find("\"Data\"")?;
        // `: { "name" :`, after which the value begins.
        let data = text[at + "\"Data\"".len()..].trim_start().strip_prefix(':')?.trim_start().strip_prefix('{')?;
        let (_, name) = data.split_once('"')?;
        let (_, value) = name.split_once('"')?;
        Some(value.trim_start().strip_prefix(':')?.trim_start().to_owned())
    };
    match value(body.text()) {
        Some(value) => Payload::new(value),
        None => body,
    }
}

/// The binding's value within the envelope; else why there is none, and what to take instead of it if not all.
fn binding<'a>(text: &'a str, names: &[&str]) -> Result<&'a RawValue, (&'static str, Option<&'a RawValue>)> {
    let mut data = None;
    let envelope = each_member(text, |name, value| {
        if name == "Data" {
            data = Some(value);
        }
    });
    if envelope.is_none() && serde_json::from_str::<IgnoredAny>(text).is_err() {
        return Err((NOT_JSON, None));
    }
    let data: &RawValue = data.ok_or(("the body has no member `Data`", None))?;
    let (mut ours, mut first) = (None, None);
    let object = each_member(data.get(), |name, value| {
        first = first.or(Some(value));
        if names.contains(&name) {
            ours = Some(value);
        }
    });
    object.ok_or(("`Data` is not an object", Some(data)))?;
    ours.or(first).ok_or(("`Data` has no member", Some(data)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(envelope: &Value) -> Result<Value, Unreadable> {
        open(envelope.to_string().into_bytes(), &["event"]).map(|delivery| value(&delivery))
    }

    fn value(delivery: &Payload) -> Value {
        serde_json::from_str(delivery.text()).expect("JSON")
    }

    #[test]
    fn every_encoding_of_the_host_opens_to_the_same_value() {
        let event = json!({"id": "1", "eventType": "x", "data": {"url": "https://a/b"}});
        let batch = json!([event, event]);
        for one in [&event, &batch] {
            let text = one.to_string();
            for value in [one.clone(), json!(text), json!(json!(text).to_string())] {
                assert_eq!(of(&json!({"Data": {"event": value}, "Metadata": {}})), Ok(one.clone()), "{value}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_opened_or_told(body in proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..80)) {
            if let Err(reason) = open(body, &["event"]) {
                proptest::prop_assert!(!reason.reason.is_empty());
            }
        }

        #[test]
        fn what_the_host_wraps_is_what_is_opened(name in "[a-z]{1,8}", key in "[a-z]{1,8}", text in "\\PC{0,20}", number: i64, wraps in 0_usize..3) {
            let payload = json!({key: text, "n": number, "list": [number]});
            let mut value = payload.clone();
            for _ in 0..wraps {
                value = Value::String(value.to_string());
            }
            proptest::prop_assert_eq!(of(&json!({"Data": {name: value}, "Metadata": {}})), Ok(payload));
        }
    }

    #[test]
    fn the_binding_may_have_any_name() {
        assert_eq!(of(&json!({"Data": {"eventGridEvent": {"a": 1}}})), Ok(json!({"a": 1})));
        assert_eq!(of(&json!({"Data": {"aaa": {"b": 2}, "event": {"a": 1}}})), Ok(json!({"a": 1})), "ours goes first");
    }

    #[test]
    fn a_string_that_is_no_json_stays_a_string() {
        assert_eq!(of(&json!({"Data": {"event": "half {"}})), Ok(json!("half {")));
        assert_eq!(of(&json!({"Data": {"event": null}})), Ok(Value::Null));
    }

    #[test]
    fn what_is_no_envelope_is_told_with_what_it_is() {
        let told = |body: &[u8]| open(body.to_vec(), &["event"]).unwrap_err();
        let instead = |body: &[u8]| told(body).instead.expect("a text").text().to_owned();
        assert_eq!(instead(b"\xff{"), "\u{fffd}{");
        assert_eq!(instead(b""), "");
        assert_eq!(instead(br#"{"event":1}"#), r#"{"event":1}"#);
        assert_eq!(instead(br#"{"Data":[1]}"#), "[1]");
        assert_eq!(instead(br#"{"Data":{}}"#), "{}");
        assert_eq!(instead(b"null"), "null");
        assert_eq!(told("[".repeat(100_000).as_bytes()).reason, "the body is not JSON", "however deep it is");
        assert_eq!(told(&[0xff; 2_000]).instead, None, "no text can be made of it");
    }

    #[test]
    fn a_damaged_body_still_shows_where_its_events_are() {
        let body = br#"{"Data": {"event": [{"a":1},{"b":\q},{"c":3}]}, "Metadata": {"sys": {}}}"#;
        let instead = open(body.to_vec(), &["event"]).unwrap_err().instead.expect("a text");
        let events: Vec<_> = instead.events().expect("few").iter().map(|event| event.get().to_owned()).collect();
        assert_eq!(events, [r#"{"a":1}"#, r#""{\"b\":\\q}""#, r#"{"c":3}"#]);
    }

    #[test]
    fn a_byte_that_is_no_utf_8_costs_one_character() {
        let body = b"{\"Data\": {\"event\": [{\"a\":\"\xff\"},{\"b\":2}]}}";
        assert_eq!(
            open(body.to_vec(), &["event"]).map(|found| value(&found)),
            Ok(json!([{"a": "\u{fffd}"}, {"b": 2}]))
        );
    }
}
