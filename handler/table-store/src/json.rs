//! Properties as JSON, as Azure Tables writes them: OData JSON with minimal metadata. The embedded store keeps its rows in
//! the same form, so there is one codec. It must never guess: a value that does not fit its annotation is an error, not a
//! default.
//!
//! Sources: *Payload format for Table service operations*, *Understanding the Table service data model*.

use std::fmt::Write as _;

use lifecycle::text::is_plain_in_json;
use serde_json::{Map, Value as Json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Entity, Key, Properties, Value};

const ANNOTATION: &str = "@odata.type";

/// A property whose value does not fit the type that is written beside it. It is never guessed at: the row would be another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a value of {edm}")]
pub struct InvalidValue {
    name: String,
    edm: String,
}

/// Appends an entity as JSON, with its key.
pub fn write_entity(out: &mut String, entity: &Entity) {
    write_members(out, &entity.properties, Some(&entity.key));
}

/// Properties as JSON, each with its type where JSON has none for it.
pub fn to_json(properties: &Properties) -> String {
    let mut out = String::new();
    write_members(&mut out, properties, None);
    out
}

/// By hand, as an event writes eleven rows: a serialiser hands over each quote, name and colon by itself, and that took more
/// than all else that is done to a transaction. Only texts can hold what has to be escaped; names of properties are
/// identifiers, as [`check_entity`](super::check_entity) sees to before anything is written.
fn write_members(out: &mut String, properties: &Properties, key: Option<&Key>) {
    out.push('{');
    for (name, value) in properties.iter() {
        match value {
            Value::String(text) => {
                write_name(out, name);
                write_text(out, text);
            }
            Value::Int32(number) => {
                write_name(out, name);
                let _ = write!(out, "{number}"); // writing to a String cannot fail
            }
            Value::Boolean(flag) => {
                write_name(out, name);
                out.push_str(if *flag { "true" } else { "false" });
            }
            Value::Int64(number) => {
                write_annotation(out, name, "Edm.Int64");
                write_name(out, name);
                let _ = write!(out, "\"{number}\"");
            }
            Value::DateTime(at) => {
                write_annotation(out, name, "Edm.DateTime");
                write_name(out, name);
                out.push('"');
                write_time(out, *at);
                out.push('"');
            }
        }
        out.push(',');
    }
    match key {
        Some(key) => {
            write_name(out, "PartitionKey");
            write_text(out, &key.partition);
            out.push(',');
            write_name(out, "RowKey");
            write_text(out, &key.row);
        }
        // The comma behind the last one.
        None if !properties.is_empty() => drop(out.pop()),
        None => {}
    }
    out.push('}');
}

fn write_name(out: &mut String, name: &str) {
    out.push('"');
    out.push_str(name);
    out.push_str("\":");
}

/// The member that holds a property's type.
fn write_annotation(out: &mut String, name: &str, edm: &str) {
    out.push('"');
    out.push_str(name);
    out.push_str(ANNOTATION);
    out.push_str("\":\"");
    out.push_str(edm);
    out.push_str("\",");
}

fn write_text(out: &mut String, text: &str) {
    if is_plain_in_json(text) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::to_string(text).expect("a text always has a form in JSON"));
    }
}

/// A time in UTC with the service's seven decimals; the rest is cut off. [`check_entity`](super::check_entity) has seen that
/// its year has four digits.
fn write_time(out: &mut String, at: OffsetDateTime) {
    let at = at.to_offset(time::UtcOffset::UTC);
    let mut text = *b"0000-00-00T00:00:00.0000000Z";
    let mut digits = |from: usize, to: usize, number: u32| {
        let mut rest = number;
        for digit in text[from..to].iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default(); // a rest of ten fits
            rest /= 10;
        }
    };
    digits(0, 4, at.year().unsigned_abs());
    digits(5, 7, u8::from(at.month()).into());
    digits(8, 10, at.day().into());
    digits(11, 13, at.hour().into());
    digits(14, 16, at.minute().into());
    digits(17, 19, at.second().into());
    digits(20, 27, at.nanosecond() / 100);
    out.push_str(std::str::from_utf8(&text).expect("digits and signs are ASCII"));
}

/// Properties from JSON. System properties and metadata are left out; so are values of types that the port lacks (Double,
/// Guid, Binary): a column that another tool added must not make a page unreadable.
pub fn from_json(json: &Map<String, Json>) -> Result<Properties, InvalidValue> {
    let mut properties = Properties::default();
    for (name, value) in json {
        if name.contains('@')
            || name.starts_with("odata.")
            || matches!(name.as_str(), "PartitionKey" | "RowKey" | "Timestamp")
        {
            continue;
        }
        let edm = json.get(&format!("{name}{ANNOTATION}")).and_then(Json::as_str);
        let unreadable = || InvalidValue { name: name.clone(), edm: edm.unwrap_or_default().to_owned() };
        let value = match (edm, value) {
            (Some("Edm.Int64"), Json::String(text)) => Value::Int64(text.parse().map_err(|_| unreadable())?),
            (Some("Edm.DateTime"), Json::String(text)) => {
                Value::DateTime(OffsetDateTime::parse(text, &Rfc3339).map_err(|_| unreadable())?)
            }
            (Some("Edm.Int64" | "Edm.DateTime"), _) => return Err(unreadable()),
            (None | Some("Edm.String"), Json::String(text)) => Value::String(text.clone()),
            (None | Some("Edm.Boolean"), Json::Bool(flag)) => Value::Boolean(*flag),
            (None | Some("Edm.Int32"), Json::Number(number)) => {
                match number.as_i64().and_then(|number| i32::try_from(number).ok()) {
                    Some(number) => Value::Int32(number),
                    None => continue,
                }
            }
            _ => continue,
        };
        properties.insert(name.clone(), value);
    }
    Ok(properties)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::format_description;

    use super::*;
    use crate::truncate_to_100ns;

    proptest! {
        #[test]
        fn a_time_is_written_to_100_ns_as_the_service_does(seconds in -11_644_473_600_i64..253_402_300_800, nanosecond in 0_u32..1_000_000_000, hours in -12_i8..13) {
            let at = OffsetDateTime::from_unix_timestamp(seconds).expect("in range").replace_nanosecond(nanosecond).expect("in range");
            let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:7]Z");
            let expected = truncate_to_100ns(at).format(&format).expect("it has all parts");
            let mut written = String::new();
            write_time(&mut written, at.checked_to_offset(time::UtcOffset::from_hms(hours, 0, 0).expect("an offset")).unwrap_or(at));
            prop_assert_eq!(written, expected);
        }

        #[test]
        fn any_text_and_number_is_read_back_as_it_was_written(text in "(\\PC|[\\x00-\\x1f\"\\\\]){0,40}", short: i32, long: i64, flag: bool) {
            let entity = Entity::new(Key::new("p", "r~'\"")).with("T", text.as_str()).with("S", short).with("L", long).with("F", flag);
            let mut written = String::new();
            write_entity(&mut written, &entity);
            let json: Map<String, Json> = serde_json::from_str(&written).expect("JSON");
            prop_assert_eq!((json["PartitionKey"].as_str(), json["RowKey"].as_str()), (Some("p"), Some("r~'\"")));
            prop_assert_eq!(from_json(&json), Ok(entity.properties.clone()));
            prop_assert_eq!(serde_json::from_str::<Map<String, Json>>(&to_json(&entity.properties)).map(|json| from_json(&json)).ok(), Some(Ok(entity.properties)));
        }
    }

    #[test]
    fn an_entity_without_properties_is_json_too() {
        assert_eq!(to_json(&Properties::default()), "{}");
        let mut written = String::new();
        write_entity(&mut written, &Entity::new(Key::new("p", "r")));
        assert_eq!(written, r#"{"PartitionKey":"p","RowKey":"r"}"#);
    }
}
