//! The JSON Schema of rules files, generated from the types, for editors and for checks where this program is not at hand.
//!
//! It refuses what a schema can refuse. What two members must be to each other, and how long a duration may be, only
//! [`Rules::read`](super::Rules::read) tells.

use schemars::transform::transform_subschemas;
use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde_json::{Value, json};

use super::definition::Rule;
use super::endpoints::EndpointSettings;

/// Rules of Scorekeeper: which uploaded blobs are scored by which Azure Machine Learning batch endpoint.
#[derive(JsonSchema)]
#[schemars(title = "Scorekeeper rules", deny_unknown_fields)]
#[expect(dead_code, reason = "only its form counts")]
struct RulesFile {
    /// Where this schema lies, for editors.
    #[schemars(rename = "$schema")]
    schema: Option<String>,
    /// The rules. A blob that several of them want is scored by each.
    #[schemars(length(min = 1))]
    rules: Vec<Rule>,
    /// Limits of endpoints as such, shared by all rules that use them.
    endpoints: Option<Vec<EndpointSettings>>,
}

/// The schema, as `rules.schema.json` has it.
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<RulesFile>();
    may_be_null(&mut schema);
    plain_descriptions(&mut schema);
    schema.to_value()
}

/// Comments link to other items and are cut into lines; editors show neither.
fn plain_descriptions(schema: &mut Schema) {
    transform_subschemas(&mut plain_descriptions, schema);
    let Some(Value::String(text)) = schema.get_mut("description") else { return };
    let mut plain = String::new();
    for (index, part) in text.replace('\n', " ").split("[`").enumerate() {
        if index == 0 {
            plain += part;
            continue;
        }
        let (name, rest) = part.split_once("`]").unwrap_or((part, ""));
        let target = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
        let rest = target.map_or(rest, |(_, rest)| rest);
        plain.extend(["`", name, "`", rest]);
    }
    *text = plain;
}

/// Templates of infrastructure write null for what they leave out; it is as good as absent.
fn may_be_null(schema: &mut Schema) {
    transform_subschemas(&mut may_be_null, schema);
    let required: Vec<Value> = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    for (name, property) in properties {
        if required.iter().any(|required| required == name) {
            continue;
        }
        let is_plain = property.get("enum").is_none() && property.get("const").is_none();
        match &property["type"] {
            Value::Array(types) if types.iter().any(|kind| kind == "null") => {}
            Value::String(kind) if is_plain => property["type"] = json!([kind, "null"]),
            _ if property["anyOf"].as_array().is_some_and(|any| any.contains(&json!({ "type": "null" }))) => {}
            _ => {
                let mut inner = property.take();
                let description = inner.as_object_mut().and_then(|inner| inner.remove("description"));
                *property = json!({ "anyOf": [inner, { "type": "null" }] });
                if let Some(description) = description {
                    property["description"] = description;
                }
            }
        }
    }
}
