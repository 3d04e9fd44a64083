//! Properties as JSON, as Azure Tables writes them: OData JSON with minimal metadata. The embedded store keeps its rows in
//! the same form, so there is one codec. It must never guess: a value that does not fit its annotation is an error, not a
//! default.
//!
//! Sources: *Payload format for Table service operations*, *Understanding the Table service data model*.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Map, Value as Json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use super::{Entity, Key, Value, truncate_to_100ns};

const ANNOTATION: &str = "@odata.type";

/// A property whose value does not fit the type that is written beside it. It is never guessed at: the row would be another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a value of {edm}")]
pub struct InvalidValue {
    name: String,
    edm: String,
}

/// An entity as JSON, with its key.
pub fn entity_to_json(entity: &Entity) -> String {
    text(&Members { properties: &entity.properties, key: Some(&entity.key) })
}

/// Properties as JSON, each with its type where JSON has none for it.
pub fn to_json(properties: &BTreeMap<String, Value>) -> String {
    text(&Members { properties, key: None })
}

fn text(members: &Members<'_>) -> String {
    serde_json::to_string(members).expect("names are strings, and all values have a form in JSON")
}

/// Written straight into text: a tree of JSON values in between was most of what a transaction cost.
struct Members<'a> {
    properties: &'a BTreeMap<String, Value>,
    key: Option<&'a Key>,
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut json = serializer.serialize_map(None)?;
        for (name, value) in self.properties {
            match value {
                Value::String(text) => json.serialize_entry(name, text)?,
                Value::Int32(number) => json.serialize_entry(name, number)?,
                Value::Boolean(flag) => json.serialize_entry(name, flag)?,
                Value::Int64(number) => {
                    json.serialize_entry(&Annotation(name), "Edm.Int64")?;
                    json.serialize_entry(name, &number.to_string())?;
                }
                Value::DateTime(at) => {
                    json.serialize_entry(&Annotation(name), "Edm.DateTime")?;
                    json.serialize_entry(name, &time_text(*at))?;
                }
            }
        }
        if let Some(key) = self.key {
            json.serialize_entry("PartitionKey", &key.partition)?;
            json.serialize_entry("RowKey", &key.row)?;
        }
        json.end()
    }
}

/// The name of the member that holds a property's type.
struct Annotation<'a>(&'a str);

impl Serialize for Annotation<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}{ANNOTATION}", self.0))
    }
}

/// A time with the service's seven decimals.
fn time_text(at: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:7]Z");
    truncate_to_100ns(at).format(&format).expect("a date and a time in UTC have all parts of this format")
}

/// Properties from JSON. System properties and metadata are left out; so are values of types that the port lacks (Double,
/// Guid, Binary): a column that another tool added must not make a page unreadable.
pub fn from_json(json: &Map<String, Json>) -> Result<BTreeMap<String, Value>, InvalidValue> {
    let mut properties = BTreeMap::new();
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
