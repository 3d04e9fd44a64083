//! Opens the host's envelope: `{"Data": {"<binding>": value}, "Metadata": {…}}`.
//!
//! The host writes a value as a JSON object if it is one for .NET's serialiser, and else as a **string that holds the
//! JSON text**: an array of events (cardinality many) arrives as a string, a string as a string of a string.
//! `Metadata` is not read: retries and correlation are the ledger's business.

use serde_json::Value;

/// A string that holds a string that holds JSON is the most that the host makes.
const MAX_NESTING: usize = 3;

/// Why a body is no envelope; with what there is instead, for those who can do something with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Unreadable {
    /// Why, for the log.
    pub reason: String,
    /// What was there.
    pub instead: Value,
}

/// Most of a body that is no JSON which is kept.
const MAX_KEPT_BYTES: usize = 64 * 1024;

/// The value of the binding: the member of `Data` with one of `names`, else its only or first member.
pub fn open(body: &[u8], names: &[&str]) -> Result<Value, Unreadable> {
    let mut envelope: Value = serde_json::from_slice(body).map_err(|reason| Unreadable {
        reason: format!("the body is no JSON: {reason}"),
        instead: Value::String(String::from_utf8_lossy(&body[..body.len().min(MAX_KEPT_BYTES)]).into_owned()),
    })?;
    let unreadable = |reason: &str, instead| Err(Unreadable { reason: reason.to_owned(), instead });
    let Some(data) = envelope.get_mut("Data").map(Value::take) else {
        return unreadable("the body has no member `Data`", envelope);
    };
    let Value::Object(mut data) = data else {
        return unreadable("`Data` is no object", data);
    };
    let name = names.iter().find(|name| data.contains_key(**name)).map(|name| (*name).to_owned());
    let Some(name) = name.or_else(|| data.keys().next().cloned()) else {
        return unreadable("`Data` has no member", Value::Object(data));
    };
    Ok(opened(data.remove(&name).unwrap_or_default()))
}

/// JSON within strings is opened; what is no JSON stays the string that it is.
fn opened(mut value: Value) -> Value {
    for _ in 0..MAX_NESTING {
        let Value::String(text) = &value else { break };
        let Ok(inner) = serde_json::from_str(text) else { break };
        value = inner;
    }
    value
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(envelope: &Value) -> Result<Value, Unreadable> {
        open(envelope.to_string().as_bytes(), &["event"])
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
            if let Err(reason) = open(&body, &["event"]) {
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
        let reason = |body: &[u8]| open(body, &["event"]).unwrap_err();
        assert_eq!(reason(b"\xff{").instead, json!("\u{fffd}{"));
        assert_eq!(reason(b"").instead, json!(""));
        assert_eq!(reason(br#"{"event":1}"#).instead, json!({"event": 1}));
        assert_eq!(reason(br#"{"Data":[1]}"#).instead, json!([1]));
        assert_eq!(reason(br#"{"Data":{}}"#).instead, json!({}));
        assert_eq!(reason(b"null").instead, Value::Null);
        let deep = "[".repeat(100_000);
        assert!(reason(deep.as_bytes()).reason.contains("no JSON"), "nesting is bounded");
        assert_eq!(reason(deep.as_bytes()).instead.as_str().map(str::len), Some(MAX_KEPT_BYTES));
    }
}
