//! The body of an invoke: read in either casing, checked as the service checks it.
//!
//! Model `BatchJob` of api-version 2020-09-01-dataplanepreview. The order of checks is the service's: well-formed,
//! known members, validation. What only the job can find out (a missing input, an existing output) is not looked at.

use std::collections::BTreeMap;

use crate::urls::without_query;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::installation::DeploymentKind;
use crate::storage_map::{Uri, read_uri};

/// Members of `BatchJob` that a client may send.
const MEMBERS: &[&str] = &[
    "inputData",
    "outputData",
    "compute",
    "miniBatchSize",
    "errorThreshold",
    "retrySettings",
    "loggingLevel",
    "maxConcurrencyPerInstance",
    "outputFileName",
    "partitionKeys",
    "name",
    "description",
    "tags",
    "properties",
    "dataset",
    "outputDataset",
];

/// Members that the answer repeats when they were sent.
const ECHOED: &[&str] = &[
    "compute",
    "miniBatchSize",
    "errorThreshold",
    "retrySettings",
    "loggingLevel",
    "maxConcurrencyPerInstance",
    "outputFileName",
    "partitionKeys",
];

const TYPES: &[&str] = &["UriFile", "UriFolder", "Literal", "MLTable", "CustomModel", "MLFlowModel", "TritonModel"];

/// What an invoke asks for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    pub(super) inputs: BTreeMap<String, Data>,
    pub(super) outputs: BTreeMap<String, Data>,
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) properties: BTreeMap<String, String>,
    /// Overrides of the deployment's settings, repeated and otherwise without effect here.
    #[serde(default)]
    pub(super) settings: Map<String, Value>,
}

/// One input or output of a request, in the spelling that the service keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Data {
    /// Its type in the request: `UriFile`, `UriFolder`, `Literal`, …
    pub(super) kind: String,
    /// Where it lies, with its query; empty for literals.
    pub(super) uri: String,
    /// The model's literal is a text, whatever JSON it came as.
    pub(super) value: Option<String>,
    pub(super) mode: Option<String>,
    pub(super) description: Option<String>,
}

impl Data {
    pub(super) fn is_folder(&self) -> bool {
        self.kind == "UriFolder"
    }

    pub(super) fn is_literal(&self) -> bool {
        self.kind == "Literal"
    }
}

impl Request {
    /// The same with URIs that may be shown.
    pub(super) fn without_queries(&self) -> Self {
        let mut shown = self.clone();
        for data in shown.inputs.values_mut().chain(shown.outputs.values_mut()) {
            data.uri = without_query(&data.uri).to_owned();
        }
        shown
    }
}

/// Why a body is refused; always with 400.
#[derive(Debug, PartialEq)]
pub(super) struct Refused(pub(super) String);

/// Reads and checks a body.
pub(super) fn read(body: &[u8], kind: DeploymentKind, allow_unknown: bool) -> Result<Request, Refused> {
    let malformed = || Refused("Request is invalid and/or missing fields.".to_owned());
    let Ok(Value::Object(document)) = serde_json::from_slice::<Value>(body) else { return Err(malformed()) };
    let outer = named(document, &["properties", "name", "id", "type"], "BatchJobResource", allow_unknown)?;
    let Some(Value::Object(members)) = outer.get("properties") else { return Err(malformed()) };
    let mut members = named(members.clone(), MEMBERS, "BatchJob", allow_unknown)?;
    let mut take = |name: &str| members.remove(name).filter(|value| !value.is_null());

    let text = |value: Option<Value>| match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(malformed()),
    };
    let strings = |value: Option<Value>| {
        value.map_or(Ok(BTreeMap::new()), |value| serde_json::from_value(value).map_err(|_| malformed()))
    };
    let request = Request {
        inputs: data(take("inputData"), "jobInputType", allow_unknown)?,
        outputs: data(take("outputData"), "jobOutputType", allow_unknown)?,
        name: text(take("name"))?,
        description: text(take("description"))?,
        tags: strings(take("tags"))?,
        properties: strings(take("properties"))?,
        settings: ECHOED.iter().filter_map(|name| Some(((*name).to_owned(), take(name)?))).collect(),
    };
    let errors = validate(&request, kind);
    if errors.is_empty() {
        return Ok(request);
    }
    Err(Refused(format!("The Job request provided has the following validation errors: {}", Value::Array(errors))))
}

/// URIs of the inputs that a body names, whether or not the body is good.
pub(super) fn input_uris(body: &[u8]) -> Vec<String> {
    fn member<'a>(of: &'a Value, name: &str) -> Option<&'a Value> {
        of.as_object()?.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
    let Ok(document) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    let inputs = member(&document, "properties").and_then(|it| member(it, "inputData")).and_then(Value::as_object);
    let uris = inputs.into_iter().flat_map(Map::values).filter_map(|input| member(input, "uri")?.as_str());
    uris.map(str::to_owned).collect()
}

/// Spells the members as the model does; the service reads them in any case.
fn named(object: Map<String, Value>, known: &[&str], of: &str, allow: bool) -> Result<Map<String, Value>, Refused> {
    let mut named = Map::new();
    for (name, value) in object {
        match known.iter().find(|known| known.eq_ignore_ascii_case(&name)) {
            Some(known) => {
                named.insert((*known).to_owned(), value);
            }
            None if allow => {}
            None => return Err(Refused(format!("Could not find member '{name}' on object of type '{of}'."))),
        }
    }
    Ok(named)
}

fn data(value: Option<Value>, type_member: &str, allow: bool) -> Result<BTreeMap<String, Data>, Refused> {
    let malformed = || Refused("Request is invalid and/or missing fields.".to_owned());
    let Some(value) = value else { return Ok(BTreeMap::new()) };
    let Value::Object(entries) = value else { return Err(malformed()) };
    let of = if type_member == "jobInputType" { "JobInput" } else { "JobOutput" };
    let mut all = BTreeMap::new();
    for (name, entry) in entries {
        let Value::Object(entry) = entry else { return Err(malformed()) };
        let mut entry = named(entry, &[type_member, "uri", "value", "mode", "description"], of, allow)?;
        let mut text = |member: &str| match entry.remove(member) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let kind = text(type_member).unwrap_or_default();
        // Enumerations are read in any case, and in the SDK's own spelling with underscores.
        let plain = kind.replace('_', "");
        let kind = TYPES.iter().find(|t| t.eq_ignore_ascii_case(&plain)).map_or(kind, |t| (*t).to_owned());
        let (uri, mode, description) = (text("uri").unwrap_or_default(), text("mode"), text("description"));
        let value = match entry.remove("value") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(Value::Array(_) | Value::Object(_)) => return Err(malformed()),
            Some(other) => Some(other.to_string()),
        };
        all.insert(name, Data { kind, uri, value, mode, description });
    }
    Ok(all)
}

fn validate(request: &Request, kind: DeploymentKind) -> Vec<Value> {
    let mut errors = Vec::new();
    let mut error = |property: &str, message: &str, attempted: Value| {
        errors.push(json!({
            "PropertyName": property,
            "ErrorMessage": message,
            "AttemptedValue": attempted,
            "ErrorCode": "PredicateValidator",
        }));
    };
    let model = kind == DeploymentKind::Model;
    if model && request.inputs.len() != 1 {
        error("InputData", "Exactly one input must be provided.", json!(request.inputs.len()));
    }
    if model && request.outputs.len() > 1 {
        error("OutputData", "At most one output may be provided.", json!(request.outputs.len()));
    }
    for (index, input) in request.inputs.values().enumerate() {
        let property = format!("InputData.Values[{index}]");
        match input.kind.as_str() {
            "Literal" if model => error(
                &format!("{property}.JobInputType"),
                "Literal inputs are supported for pipeline component deployments only.",
                json!("literal"),
            ),
            "Literal" if input.value.is_none() => {
                error(&format!("{property}.Value"), "Value is required.", json!(null));
            }
            "UriFile" | "UriFolder" if !input.uri.bytes().any(|b| b.is_ascii_alphanumeric() || b == b'_') => {
                error(&format!("{property}.Uri"), "Uri is required.", json!(input.uri));
            }
            "Literal" | "UriFile" | "UriFolder" => {}
            _ => error(
                &format!("{property}.JobInputType"),
                "Job input type must be 'uri_file' or 'uri_folder'.",
                json!(snake(&input.kind)),
            ),
        }
    }
    for (index, output) in request.outputs.values().enumerate() {
        let property = format!("OutputData.Values[{index}]");
        if model && output.kind != "UriFile" {
            let kind = format!("{property}.JobOutputType");
            error(&kind, "Job output type must be 'uri_file'.", json!(snake(&output.kind)));
        } else if !matches!(output.kind.as_str(), "UriFile" | "UriFolder") {
            let kind = format!("{property}.JobOutputType");
            error(&kind, "Job output type must be 'uri_file' or 'uri_folder'.", json!(snake(&output.kind)));
        }
        if !matches!(read_uri(&output.uri), Ok(Uri::Datastore { .. })) {
            error(
                &format!("{property}.Uri"),
                "Output must be a path on a registered datastore.",
                json!(without_query(&output.uri)),
            );
        }
    }
    errors
}

/// `UriFolder` as the service's messages write it.
fn snake(kind: &str) -> String {
    match kind {
        "UriFile" => "uri_file".to_owned(),
        "UriFolder" => "uri_folder".to_owned(),
        other => other.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(body: &Value) -> Result<Request, Refused> {
        read(body.to_string().as_bytes(), DeploymentKind::Model, false)
    }

    fn body(output: &Value) -> Value {
        json!({ "properties": {
            "InputData": { "blob": { "JobInputType": "UriFile", "Uri": "https://a.blob.core.windows.net/c/x.csv" } },
            "OutputData": { "score": output } } })
    }

    fn good_output() -> Value {
        json!({ "JobOutputType": "UriFile", "Uri": "azureml://datastores/d/paths/x/predictions.csv" })
    }

    #[test]
    fn both_casings_read_the_same() {
        let pascal = model(&body(&good_output())).unwrap();
        let camel = model(&json!({ "Properties": {
            "inputData": { "blob": { "jobInputType": "uri_file", "uri": "https://a.blob.core.windows.net/c/x.csv" } },
            "outputData": { "score": {
                "jobOutputType": "urifile", "uri": "azureml://datastores/d/paths/x/predictions.csv" } } } }))
        .unwrap();
        assert_eq!(pascal, camel);
        assert_eq!(pascal.inputs["blob"].kind, "UriFile");
    }

    #[test]
    fn a_folder_output_of_a_model_is_refused_in_the_services_words() {
        let output = json!({ "JobOutputType": "UriFolder", "Uri": "azureml://datastores/d/paths/x" });
        let Refused(text) = model(&body(&output)).unwrap_err();
        let (intro, list) = text.split_once(": ").unwrap();
        assert_eq!(intro, "The Job request provided has the following validation errors");
        let list: Value = serde_json::from_str(list).unwrap();
        assert_eq!(
            list,
            json!([{
                "PropertyName": "OutputData.Values[0].JobOutputType",
                "ErrorMessage": "Job output type must be 'uri_file'.",
                "AttemptedValue": "uri_folder",
                "ErrorCode": "PredicateValidator" }])
        );
        assert!(read(body(&output).to_string().as_bytes(), DeploymentKind::Pipeline, false).is_ok());
    }

    #[test]
    fn outputs_lie_on_a_datastore() {
        for uri in ["https://a.blob.core.windows.net/c/x.csv", "azureml://datastores/d/x.csv", ""] {
            let Refused(text) = model(&body(&json!({ "JobOutputType": "UriFile", "Uri": uri }))).unwrap_err();
            assert!(text.contains("registered datastore"), "{uri}: {text}");
        }
    }

    #[test]
    fn inputs_of_a_model_are_one_file_or_folder() {
        let mut many = body(&good_output());
        many["properties"]["InputData"]["two"] = many["properties"]["InputData"]["blob"].clone();
        assert!(model(&many).unwrap_err().0.contains("Exactly one input"));
        let mut none = body(&good_output());
        none["properties"]["InputData"] = json!({});
        assert!(model(&none).unwrap_err().0.contains("Exactly one input"));
        let mut literal = body(&good_output());
        literal["properties"]["InputData"]["blob"] = json!({ "JobInputType": "Literal", "Value": "7" });
        assert!(model(&literal).unwrap_err().0.contains("pipeline component deployments only"));
        assert!(read(literal.to_string().as_bytes(), DeploymentKind::Pipeline, false).is_ok());
        let mut table = body(&good_output());
        table["properties"]["InputData"]["blob"]["JobInputType"] = json!("MLTable");
        assert!(model(&table).is_err());
    }

    #[test]
    fn unknown_members_are_refused_unless_allowed() {
        let mut odd = body(&good_output());
        odd["properties"]["Priority"] = json!(1);
        let text = "Could not find member 'Priority' on object of type 'BatchJob'.";
        assert_eq!(model(&odd).unwrap_err(), Refused(text.to_owned()));
        assert!(read(odd.to_string().as_bytes(), DeploymentKind::Model, true).is_ok());
    }

    #[test]
    fn what_is_no_job_is_refused() {
        for bad in ["", "[]", "{}", "{\"properties\":1}", "{\"properties\":{\"inputData\":[]}}", "{"] {
            assert!(read(bad.as_bytes(), DeploymentKind::Model, false).is_err(), "{bad}");
        }
    }
}
