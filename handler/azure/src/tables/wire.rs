//! Entities and operations as the service writes them: OData JSON with minimal metadata, and plain requests.
//!
//! The embedded store keeps its properties in the same JSON, so there is one codec. It must never guess: a value that
//! does not fit its annotation is an error, not a default.
//!
//! Sources: *Payload format for Table service operations*, *Understanding the Table service data model*.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::{Map, Value as Json};

use super::error::Unreadable;
use app::ports::table_store::json::from_json;
use app::ports::table_store::{ETag, Entity, Error, IfMatch, Key, Op, Row, TableName};

/// Everything that is not unreserved in RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The method of an operation, which is the same alone and within a transaction.
pub(super) fn method(op: &Op) -> Method {
    match op {
        Op::Insert(_) => Method::POST,
        Op::Upsert(_) | Op::Replace(..) => Method::PUT,
        Op::Merge(..) => Method::PATCH,
        Op::Delete(..) => Method::DELETE,
    }
}

/// Appends the operation's address; `base` is the account's without a slash at its end.
pub(super) fn write_address(out: &mut String, base: &str, table: &TableName, op: &Op) {
    for part in [base, "/", table.as_str()] {
        out.push_str(part);
    }
    if !matches!(op, Op::Insert(_)) {
        write_key(out, op.key());
    }
}

/// The key part of an entity's address.
pub(super) fn write_key(out: &mut String, key: &Key) {
    out.push_str("(PartitionKey='");
    write_quoted(out, &key.partition);
    out.push_str("',RowKey='");
    write_quoted(out, &key.row);
    out.push_str("')");
}

/// Appends a text as it stands between single quotes in an address or a filter: quotes doubled, then percent-encoded.
pub(super) fn write_quoted(out: &mut String, text: &str) {
    if text.contains('\'') {
        write_encoded(out, &text.replace('\'', "''"));
    } else {
        write_encoded(out, text);
    }
}

/// Appends a text percent-encoded for a path segment or a query.
pub(super) fn write_encoded(out: &mut String, text: &str) {
    out.extend(utf8_percent_encode(text, RESERVED));
}

/// The value of `If-Match`, for operations that have a condition.
pub(super) fn if_match(op: &Op) -> Result<Option<&str>, Error> {
    match op {
        Op::Insert(_) | Op::Upsert(_) => Ok(None),
        Op::Replace(_, demand) | Op::Merge(_, demand) | Op::Delete(_, demand) => condition(demand).map(Some),
    }
}

fn condition(demand: &IfMatch) -> Result<&str, Error> {
    match demand {
        IfMatch::Any => Ok("*"),
        IfMatch::Tag(ETag(tag)) if is_etag(tag) => Ok(tag),
        IfMatch::Tag(ETag(tag)) => Err(Error::Refused(format!("{tag:?} is not an ETag"))),
    }
}

/// Whether a text can be sent as an ETag. It goes into a header line, within a transaction unchecked by any HTTP library.
pub(super) fn is_etag(tag: &str) -> bool {
    !tag.is_empty() && tag.bytes().all(|b| matches!(b, b' '..=b'~'))
}

/// An entity of an answer.
pub(super) fn row(json: &Map<String, Json>) -> Result<Row, Unreadable> {
    let text = |name| json.get(name).and_then(Json::as_str).ok_or(Unreadable::Lacks(name));
    let key = Key::new(text("PartitionKey")?, text("RowKey")?);
    let etag = ETag(text("odata.etag")?.to_owned());
    match from_json(json) {
        Ok(properties) => Ok(Row { entity: Entity { key, properties }, etag }),
        Err(source) => Err(Unreadable::Value { key, source }),
    }
}

/// The entity of a point read.
pub(super) fn one(body: &[u8]) -> Result<Row, Unreadable> {
    row(&serde_json::from_slice(body)?)
}

/// The entities of a query.
pub(super) fn many(body: &[u8]) -> Result<Vec<Row>, Unreadable> {
    #[derive(serde::Deserialize)]
    struct Answer {
        value: Vec<Map<String, Json>>,
    }
    let answer: Answer = serde_json::from_slice(body)?;
    answer.value.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use app::ports::table_store::json::write_entity;
    use time::macros::datetime;

    use super::*;

    const BASE: &str = "https://acct.table.core.windows.net";

    fn table() -> TableName {
        TableName::read("JobState").unwrap()
    }

    fn tag() -> IfMatch {
        IfMatch::Tag(ETag("W/\"datetime'2021-06-09T01%3A17%3A13.2924321Z'\"".to_owned()))
    }

    #[test]
    fn each_operation_is_the_documented_request() {
        let key = Key::new("s0a", "J~it's 5% ü");
        let entity = Entity::new(key.clone()).with("N", 1);
        let at = format!("{BASE}/JobState(PartitionKey='s0a',RowKey='J~it%27%27s%205%25%20%C3%BC')");
        let body = Some(r#"{"N":1,"PartitionKey":"s0a","RowKey":"J~it's 5% ü"}"#.to_owned());
        let etag = Some("W/\"datetime'2021-06-09T01%3A17%3A13.2924321Z'\"".to_owned());
        let any = Some("*".to_owned());
        let cases = [
            (Op::Insert(entity.clone()), Method::POST, format!("{BASE}/JobState"), None, body.clone()),
            (Op::Upsert(entity.clone()), Method::PUT, at.clone(), None, body.clone()),
            (Op::Replace(entity.clone(), tag()), Method::PUT, at.clone(), etag.clone(), body.clone()),
            (Op::Replace(entity.clone(), IfMatch::Any), Method::PUT, at.clone(), any.clone(), body.clone()),
            (Op::Merge(entity, tag()), Method::PATCH, at.clone(), etag.clone(), body),
            (Op::Delete(key.clone(), tag()), Method::DELETE, at.clone(), etag, None),
            (Op::Delete(key, IfMatch::Any), Method::DELETE, at, any, None),
        ];
        for (op, verb, url, condition, body) in cases {
            let mut address = String::new();
            write_address(&mut address, BASE, &table(), &op);
            assert_eq!((method(&op), address), (verb, url), "{op:?}");
            assert_eq!(if_match(&op), Ok(condition.as_deref()), "{op:?}");
            let written = op.entity().map(|entity| {
                let mut written = String::new();
                write_entity(&mut written, entity);
                written
            });
            assert_eq!(written, body, "{op:?}");
        }
    }

    #[test]
    fn an_etag_cannot_smuggle_a_header_line() {
        for bad in ["", "a\r\nX: y", "ü"] {
            let op = Op::Delete(Key::new("p", "r"), IfMatch::Tag(ETag(bad.to_owned())));
            assert!(matches!(if_match(&op), Err(Error::Refused(_))), "{bad:?}");
        }
    }

    #[test]
    fn values_travel_with_their_types() {
        let entity = Entity::new(Key::new("p", "r"))
            .with("A", "t\"ü")
            .with("B", i32::MIN)
            .with("C", i64::MAX)
            .with("D", true)
            .with("E", datetime!(2026-01-02 03:04:05.123_456_789 +2));
        let json: Map<String, Json> =
            serde_json::from_str(&app::ports::table_store::json::to_json(&entity.properties)).unwrap();
        let expected = serde_json::json!({
            "A": "t\"ü", "B": i32::MIN, "C": "9223372036854775807", "C@odata.type": "Edm.Int64", "D": true,
            "E": "2026-01-02T01:04:05.1234567Z", "E@odata.type": "Edm.DateTime",
        });
        assert_eq!(Json::Object(json.clone()), expected);
        let expected = entity.with("E", datetime!(2026-01-02 01:04:05.123_456_7 UTC)).properties;
        assert_eq!(from_json(&json), Ok(expected));
    }

    #[test]
    fn a_query_of_the_real_service_is_read() {
        // The shape of the service's minimalmetadata answers.
        let body = br#"{"odata.metadata":"https://acct.table.core.windows.net/$metadata#JobState","value":[
            {"odata.etag":"W/\"datetime'2021-06-09T01%3A17%3A13.2924321Z'\"","PartitionKey":"s00","RowKey":"J~1",
             "Timestamp":"2021-06-09T01:17:13.2924321Z","State":"queued","AttemptNo":2,"Version@odata.type":"Edm.Int64",
             "Version":"7","CreatedTime@odata.type":"Edm.DateTime","CreatedTime":"2021-06-09T01:17:13.29Z",
             "Score":0.5,"Id@odata.type":"Edm.Guid","Id":"c9da6455-213d-42c9-9a79-3e9149a57833",
             "Raw@odata.type":"Edm.Binary","Raw":"AQI=","Whole@odata.type":"Edm.Double","Whole":"NaN"}]}"#;
        let rows = many(body).unwrap();
        let expected = Entity::new(Key::new("s00", "J~1"))
            .with("State", "queued")
            .with("AttemptNo", 2)
            .with("Version", 7_i64)
            .with("CreatedTime", datetime!(2021-06-09 01:17:13.29 UTC));
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].entity, expected);
        assert_eq!(rows[0].etag.0, "W/\"datetime'2021-06-09T01%3A17%3A13.2924321Z'\"");
    }

    #[test]
    fn an_answer_that_cannot_be_understood_is_an_error() {
        for bad in [
            r#"{"value":[{"PartitionKey":"p","RowKey":"r"}]}"#,
            r#"{"value":[{"odata.etag":"1","RowKey":"r"}]}"#,
            r#"{"value":[{"odata.etag":"1","PartitionKey":"p","RowKey":"r","N@odata.type":"Edm.Int64","N":"x"}]}"#,
            r#"{"value":[{"odata.etag":"1","PartitionKey":"p","RowKey":"r","N@odata.type":"Edm.Int64","N":5}]}"#,
            r#"{"value":[{"odata.etag":"1","PartitionKey":"p","RowKey":"r","N@odata.type":"Edm.DateTime","N":"soon"}]}"#,
            "<html>",
            "{}",
        ] {
            assert!(many(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
