//! Bicep's functions, as many as the templates use, and readings of values.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{GROUP, REGION, Template};

impl Template<'_> {
    /// A function of values alone.
    pub(super) fn plain_call(&self, function: &str, given: &[Value]) -> Result<Value, String> {
        let texts = || given.iter().map(text).collect::<Result<Vec<_>, _>>();
        Ok(match (function, given) {
            ("empty", [of]) => json!(match of {
                Value::Null => true,
                Value::String(text) => text.is_empty(),
                Value::Array(items) => items.is_empty(),
                Value::Object(members) => members.is_empty(),
                other => return Err(format!("empty({other})")),
            }),
            ("length", [Value::Array(items)]) => json!(items.len()),
            ("length", [Value::String(text)]) => json!(text.chars().count()),
            ("contains", [Value::Array(items), item]) => json!(items.contains(item)),
            ("contains", [Value::Object(members), Value::String(name)]) => json!(members.contains_key(name)),
            ("union", [Value::Array(_), ..]) => {
                let mut all = Vec::new();
                for items in given {
                    for item in array(items.clone())? {
                        if !all.contains(&item) {
                            all.push(item);
                        }
                    }
                }
                Value::Array(all)
            }
            ("union", [Value::Object(_), ..]) => {
                let mut all = Map::new();
                for members in given {
                    all.extend(members.as_object().ok_or("union of an object and something else")?.clone());
                }
                Value::Object(all)
            }
            ("concat", [Value::Array(_), ..]) => {
                let all = given.iter().cloned().map(array).collect::<Result<Vec<_>, _>>()?;
                Value::Array(all.concat())
            }
            ("take", [Value::String(text), Value::Number(count)]) => {
                let count = count.as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or_default();
                json!(text.chars().take(count).collect::<String>())
            }
            ("split", [Value::String(text), Value::String(by)]) => json!(text.split(&**by).collect::<Vec<_>>()),
            ("last", [Value::Array(items)]) => items.last().cloned().unwrap_or_default(),
            ("toLower", [Value::String(text)]) => json!(text.to_lowercase()),
            ("string", [Value::String(text)]) => json!(text),
            ("string", [other]) => json!(other.to_string()),
            ("items", [Value::Object(members)]) => {
                let sorted: BTreeMap<_, _> = members.iter().collect();
                Value::Array(sorted.into_iter().map(|(key, value)| json!({ "key": key, "value": value })).collect())
            }
            ("fail", [Value::String(why)]) => return Err(why.clone()),
            ("guid", [_, ..]) => json!(guid(&texts()?.join("\n"))),
            ("uniqueString", [_, ..]) => json!(format!("u{}", &digest(&texts()?.join("\n"))[..12])),
            ("environment", []) => json!({ "resourceManager": "https://management.azure.com/" }),
            ("resourceGroup", []) => group(&self.group),
            ("resourceGroup", [Value::String(subscription), Value::String(name)]) => {
                group(&format!("/subscriptions/{subscription}/resourceGroups/{name}"))
            }
            ("resourceId", [Value::String(of), names @ ..]) => {
                let mut id = self.group.clone();
                let (namespace, kinds) = of.split_once('/').ok_or("no type")?;
                id = format!("{id}/providers/{namespace}");
                let kinds: Vec<&str> = kinds.split('/').collect();
                if kinds.len() != names.len() {
                    return Err(format!("resourceId of {of} with {} names", names.len()));
                }
                for (kind, name) in kinds.into_iter().zip(names) {
                    id = format!("{id}/{kind}/{}", text(name)?);
                }
                json!(id)
            }
            ("subscriptionResourceId", [Value::String(of), Value::String(name)]) => {
                let subscription = self.group.split('/').nth(2).unwrap_or_default();
                json!(format!("/subscriptions/{subscription}/providers/{of}/{name}"))
            }
            ("loadTextContent", [Value::String(path)]) => json!(self.loaded(path)?),
            ("loadJsonContent", [Value::String(path)]) => {
                serde_json::from_str(&self.loaded(path)?).map_err(|why| format!("{path} is not JSON: {why}"))?
            }
            ("readEnvironmentVariable", [Value::String(name), ..]) => json!(match &**name {
                "AZURE_LOCATION" => REGION.to_owned(),
                "WATCHED_ACCOUNTS" | "OUTPUT_ACCOUNTS" =>
                    format!("{GROUP}/providers/Microsoft.Storage/storageAccounts/stuploads"),
                "WORKSPACES" => format!("{GROUP}/providers/Microsoft.MachineLearningServices/workspaces/mlw"),
                _ => "dev".to_owned(),
            }),
            (other, given) => {
                return Err(format!("{other} of {} arguments is not known to this evaluator", given.len()));
            }
        })
    }
}

pub(super) fn group(id: &str) -> Value {
    json!({ "id": id, "name": id.rsplit('/').next(), "location": REGION })
}

pub(super) fn digest(text: &str) -> String {
    Sha256::digest(text).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

pub(super) fn guid(text: &str) -> String {
    let hex = digest(text);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32])
}

pub(super) fn array(value: Value) -> Result<Vec<Value>, String> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(format!("{other} is no array")),
    }
}

pub(super) fn text(value: &Value) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("{value} is not text"))
}

pub(super) fn truth(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("{value} is neither true nor false"))
}

pub(super) fn number(value: &Value) -> Result<i64, String> {
    value.as_i64().ok_or_else(|| format!("{value} is not a number"))
}
