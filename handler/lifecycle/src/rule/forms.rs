//! What the schema says of texts beyond that they are texts: their forms, as patterns.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::exclude::Glob;
use super::metadata_and_tags::{AskedMetadata, AskedTags};
use super::split::Split;
use super::template::{PLACEHOLDERS, Template};
use super::upload::{MarkerName, MediaType};
use crate::duration::IsoDuration;
use crate::id::{
    AccountName, ContainerName, DatastoreName, DeploymentName, EndpointUri, IdentityName, RuleId, WorkspaceId,
};

/// Inputs and outputs go by names that a deployment can have.
pub(super) fn named(schema: &mut Schema) {
    schema.insert("propertyNames".to_owned(), json!({ "pattern": "^[A-Za-z0-9_]+$" }));
}

/// What every path is without.
const NO_PATH: &str = r"(^|/)\.\.?(/|$)|[\x00-\x1f\x7f-\x9f]";

/// A path within a container begins without a slash and has no wildcards.
pub(super) fn prefix(schema: &mut Schema) {
    schema.insert("pattern".to_owned(), r"^(?!/)(?!.*://)(?!(.*/)?\.\.?/)[^*\\]*$".into());
}

/// An input is an https URL without query, a path on a datastore or a data asset.
pub(super) fn input(schema: &mut Schema) {
    let (https, azureml) = (any_case("https"), any_case("azureml"));
    let asset = format!("{}/[^/]+/({}|{})/[^/]+/*", any_case("data"), any_case("versions"), any_case("labels"));
    let of_workspace = format!(
        "({azureml}://|/subscriptions/)([^?]*/)?(datastores/{RESOURCE_NAME}/{}/[^?]+|{asset})",
        any_case("paths")
    );
    let pattern = format!(r"^(\{{blob\.(url|folderUrl)\}}[^?]*|{https}://[^?/]+/[^?]+|{of_workspace})$");
    schema.insert("allOf".to_owned(), json!([{ "pattern": pattern }, { "not": { "pattern": NO_PATH } }]));
}

/// Each kind of input has its own members. A literal is a value as it stands, or a template of one.
pub(super) fn inputs(schema: &mut Schema) {
    let variants = schema.get_mut("oneOf").and_then(Value::as_array_mut).into_iter().flatten();
    for variant in variants {
        variant["additionalProperties"] = false.into();
        if variant["properties"]["type"]["const"] != "Literal" {
            continue;
        }
        variant["properties"]["value"] = json!({
            "type": ["string", "number", "boolean"],
            "description": "The value that is sent, exactly as it is written.",
        });
        variant["properties"]["template"] = json!({ "type": "string", "pattern": template(), "description": "A text with placeholders, in place of `value`." });
        variant["oneOf"] = json!([{ "required": ["value"] }, { "required": ["template"] }]);
    }
}

/// An output's path is on a datastore and each attempt's own.
pub(super) fn output(schema: &mut Schema) {
    let on_datastore = format!("^({}:|/)[^?]*/{}/[^?]*$", any_case("azureml"), any_case("paths"));
    let all = [r"\{scoring\.id\}", r"\{attempt\}", &on_datastore].map(|pattern| json!({ "pattern": pattern }));
    let dots = json!({ "not": { "pattern": NO_PATH } });
    schema.insert("allOf".to_owned(), Value::Array(all.into_iter().chain([dots]).collect()));
}

/// A published path is on a datastore.
pub(super) fn published(schema: &mut Schema) {
    let on_datastore = format!("^({}:|/)[^?]*/{}/[^?]*$", any_case("azureml"), any_case("paths"));
    let dots = json!({ "not": { "pattern": NO_PATH } });
    schema.insert("allOf".to_owned(), json!([{ "pattern": on_datastore }, dots]));
}

/// Each member in REST's spelling and with a capital.
pub(super) fn either_case(schema: &mut Schema) {
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    let capitals: Vec<(String, Value)> = properties
        .iter()
        .map(|(name, schema)| {
            let (first, rest) = name.split_at(1);
            (format!("{}{rest}", first.to_ascii_uppercase()), schema.clone())
        })
        .collect();
    let (names, of_capitals): (Vec<String>, Vec<String>) =
        properties.keys().cloned().zip(capitals.iter().map(|(name, _)| name.clone())).unzip();
    properties.extend(capitals);
    // Written in one of the two.
    let alone = |(name, capital): (String, String)| (capital, json!({ "properties": { name: { "type": "null" } } }));
    let alone: serde_json::Map<String, Value> = names.into_iter().zip(of_capitals).map(alone).collect();
    schema.insert("dependentSchemas".to_owned(), alone.into());
}

/// A duration that is not zero.
pub(crate) fn some_time(schema: &mut Schema) {
    schema.insert("allOf".to_owned(), json!([{ "pattern": "[1-9]" }]));
}

/// One deployment or shares of several.
pub(super) fn target(schema: &mut Schema) {
    let written = |kind: &str| json!({ "type": kind });
    let both = json!({ "deployment": written("string"), "deployments": written("object") });
    schema.insert("not".to_owned(), json!({ "required": ["deployment", "deployments"], "properties": both }));
}

/// A rule whose `complete` is a marker must have `emptyBlobs` as `score`: markers have no bytes.
pub(super) fn rule(schema: &mut Schema) {
    let marker = json!({ "type": "object", "required": ["marker"] });
    schema.insert("if".to_owned(), json!({ "required": ["complete"], "properties": { "complete": marker } }));
    let score = json!({ "emptyBlobs": { "const": "score" } });
    schema.insert("then".to_owned(), json!({ "required": ["emptyBlobs"], "properties": score }));
}

/// What Fabric's activity has and REST spells in another way, and what is passed through.
pub(super) fn settings(schema: &mut Schema) {
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.insert(
            "computeInstanceCount".to_owned(),
            json!({ "type": "integer", "minimum": 1, "description": "The same as `compute.instanceCount`." }),
        );
        for name in ["continueOnStepFailure", "forceRun"] {
            let description = "Pipeline component deployments, as Fabric's activity has it.";
            properties.insert(name.to_owned(), json!({ "type": "boolean", "description": description }));
        }
        let datastore = json!({ "type": "string", "pattern": RESOURCE, "description": "Pipeline component deployments, as Fabric's activity has it." });
        properties.insert("defaultDatastore".to_owned(), datastore);
        let mut experiment = properties.get("outputFileName").cloned().unwrap_or_default();
        experiment["description"] = json!(
            "The job's experiment; the same as `properties.experimentName`. Pipeline component deployments only."
        );
        properties.insert("experimentName".to_owned(), experiment);
        if let Some(tags) = properties.get_mut("tags") {
            tags["propertyNames"] = json!({ "not": { "pattern": "^[Ss][Cc][Oo][Rr][Ee][Kk][Ee][Ee][Pp][Ee][Rr]\\." } });
        }
    }
    either_case(schema);
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        let description =
            "Members that are not known here, sent as they are. Azure ML refuses what it does not know either.";
        properties.insert("passThrough".to_owned(), json!({ "type": "object", "description": description }));
    }
}

const RESOURCE: &str = "^[A-Za-z0-9][A-Za-z0-9_-]{0,254}$";
/// The same within a path, in which it may come from a placeholder.
const RESOURCE_NAME: &str = r"([A-Za-z0-9]|\{[^{}]*\})([A-Za-z0-9_-]|\{[^{}]*\})*";

/// A text that is parsed into a type of its own.
macro_rules! text {
    ($type:ty, $pattern:expr) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}

text!(RuleId, "^[A-Za-z0-9_-]{1,64}$");
text!(AccountName, "^[a-z0-9]{3,24}$");
text!(ContainerName, r"^(\$root|\$web|(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*)$");
text!(DeploymentName, RESOURCE);
text!(DatastoreName, RESOURCE);
text!(IdentityName, "^[a-z][a-z0-9]{0,23}$");
text!(
    WorkspaceId,
    format!(
        "^/?{}/[^/]+/{}/[^/]+/{}/[^/]+$",
        any_case("subscriptions"),
        any_case("resourceGroups"),
        any_case("providers/Microsoft.MachineLearningServices/workspaces")
    )
);
text!(
    EndpointUri,
    format!(
        r"^({}://|{}://(localhost|[^/@]*\.localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?/)[^?#@]*jobs/*$",
        any_case("https"),
        any_case("http")
    )
);
text!(IsoDuration, "^P(?=[0-9.T])([0-9.]+D)?(T(?=[0-9.])([0-9.]+H)?([0-9.]+M)?([0-9.]+S)?)?$");
text!(Glob, "");
text!(MediaType, r"^[A-Za-z0-9!#$&^_.+-]+/([A-Za-z0-9!#$&^_.+-]+|\*)$");
text!(MarkerName, r"^(?!\.\.?$)[^/\\*?]{1,255}$");
text!(Template, template());

/// Texts with placeholders that there are.
fn template() -> String {
    let names: Vec<String> =
        PLACEHOLDERS.iter().map(|(name, _)| name.replace('.', r"\.").replace("NAME", METADATA_NAME)).collect();
    let time = r"event\.time:(yyyy|MM|dd|HH|mm|ss|[^A-Za-z0-9{}])+";
    format!(r"^([^{{}}]|\{{\{{|\}}\}}|\{{({}|{time})\}})*$", names.join("|"))
}

/// What a name of metadata may be, as a regular expression: a C# identifier in ASCII.
const METADATA_NAME: &str = "[A-Za-z_][A-Za-z0-9_]*";

/// What is asked of values by their names.
macro_rules! asked {
    ($type:ty, $names:expr, $values:expr) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let value = json!({ "type": "string", "pattern": $values });
                json_schema!({
                    "type": "object",
                    "propertyNames": { "pattern": $names },
                    "additionalProperties": {
                        "anyOf": [{ "type": ["boolean", "null"] }, value, { "type": "array", "items": value, "minItems": 1 }],
                    },
                })
            }
        }
    };
}

asked!(AskedMetadata, format!("^{METADATA_NAME}$"), "^([!-~]([ -~]*[!-~])?)?$");
asked!(AskedTags, "^[A-Za-z0-9 +./:=_-]{1,128}$", "^[A-Za-z0-9 +./:=_-]{0,256}$");

impl JsonSchema for Split {
    fn schema_name() -> Cow<'static, str> {
        "Split".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "propertyNames": { "pattern": RESOURCE },
            "additionalProperties": { "type": "integer", "minimum": 0, "maximum": 100 },
            "minProperties": 2,
        })
    }
}

/// A pattern that matches the text whatever its case.
fn any_case(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '.' => r"\.".to_owned(),
            c if c.is_ascii_alphabetic() => format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase()),
            c => c.to_string(),
        })
        .collect()
}
