//! The workspace and what lies in it, as Resource Manager shows them: the workspace itself, its batch endpoints with
//! their deployments, its datastores. Clients find their way by these; nothing here changes anything.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::Shared;
use super::answer::json;
use super::options::{Datastore, Deployment, DeploymentKind, Endpoint, Endpoints};
use super::scoring;

/// One resource or all of a kind; `None` if there is no such thing. `kind` is in lower case.
pub(super) fn find(shared: &Shared, path: &[&str], kind: &[&str]) -> Option<Response> {
    let document = match (kind, path) {
        ([], _) => itself(shared),
        (["batchendpoints"], _) => list(endpoints(shared).iter().map(|it| endpoint(shared, it))),
        (["batchendpoints", _], [_, name]) => endpoint(shared, &scoring::find_endpoint(shared, name)?),
        (["batchendpoints", _, "deployments"], [_, name, _]) => {
            let of = scoring::find_endpoint(shared, name)?;
            list(deployments(shared, &of).iter().map(|it| deployment(shared, &of, it)))
        }
        (["batchendpoints", _, "deployments", _], [_, name, _, wanted]) => {
            let of = scoring::find_endpoint(shared, name)?;
            deployment(shared, &of, deployments(shared, &of).iter().find(|it| it.name == *wanted)?)
        }
        (["datastores"], _) => list(shared.places.datastores().iter().map(|it| datastore(shared, it))),
        (["datastores", _], [_, name]) => datastore(shared, shared.places.datastore(name)?),
        _ => return None,
    };
    Some(json(StatusCode::OK, &document))
}

fn list(all: impl Iterator<Item = Value>) -> Value {
    json!({ "value": all.collect::<Vec<_>>() })
}

/// Where the workspace's services are: what its discovery URL answers, without a token.
pub(super) fn discovery(shared: &Shared) -> Response {
    let origin = shared.origin();
    let body =
        json!({ "api": origin, "history": origin, "studio": origin, "catalog": origin, "experimentation": origin });
    json(StatusCode::OK, &body)
}

fn itself(shared: &Shared) -> Value {
    let workspace = &shared.options.workspace;
    json!({
        "id": workspace.id(),
        "name": workspace.name,
        "type": "Microsoft.MachineLearningServices/workspaces",
        "kind": "Default",
        "location": workspace.location,
        "tags": {},
        "properties": {
            "friendlyName": workspace.name,
            "description": "simulated",
            "workspaceId": "00000000-0000-0000-0000-000000000001",
            "discoveryUrl": format!("{}/discovery", shared.origin()),
            "provisioningState": "Succeeded",
            "publicNetworkAccess": "Disabled",
            "storageAccount": null,
            "keyVault": null,
            "applicationInsights": null,
            "containerRegistry": null,
        },
    })
}

/// All that can be told: where every name is an endpoint there is no list of them.
fn endpoints(shared: &Shared) -> Vec<Endpoint> {
    match &shared.options.endpoints {
        Endpoints::Any => Vec::new(),
        Endpoints::Listed(endpoints) => endpoints.clone(),
    }
}

fn endpoint(shared: &Shared, endpoint: &Endpoint) -> Value {
    let name = &endpoint.name;
    json!({
        "id": format!("{}/batchEndpoints/{name}", shared.options.workspace.id()),
        "name": name,
        "type": "Microsoft.MachineLearningServices/workspaces/batchEndpoints",
        "properties": {
            "description": "simulated",
            "properties": {},
            "scoringUri": scoring::uri(shared, name),
            "swaggerUri": null,
            "authMode": "AADToken",
            "defaults": { "deploymentName": endpoint.default_deployment },
            "provisioningState": "Succeeded",
        },
        "tags": {},
        "location": shared.options.workspace.location,
    })
}

/// An endpoint whose deployments are not listed has its default one.
fn deployments(shared: &Shared, endpoint: &Endpoint) -> Vec<Deployment> {
    match (&shared.options.endpoints, &endpoint.default_deployment) {
        (Endpoints::Any, Some(name)) => vec![Deployment { name: name.clone(), kind: DeploymentKind::Model }],
        _ => endpoint.deployments.clone(),
    }
}

fn deployment(shared: &Shared, of: &Endpoint, deployment: &Deployment) -> Value {
    let (id, name) = (shared.options.workspace.id(), &deployment.name);
    let configuration = match deployment.kind {
        DeploymentKind::Model => Value::Null,
        DeploymentKind::Pipeline => json!({ "deploymentConfigurationType": "PipelineComponent", "settings": {} }),
    };
    json!({
        "id": format!("{id}/batchEndpoints/{}/deployments/{name}", of.name),
        "name": name,
        "type": "Microsoft.MachineLearningServices/workspaces/batchEndpoints/deployments",
        "properties": {
            "description": "simulated",
            "properties": {},
            "compute": format!("{id}/computes/simulated-cluster"),
            "resources": { "instanceCount": 1 },
            "miniBatchSize": 10,
            "errorThreshold": -1,
            "outputAction": "AppendRow",
            "outputFileName": "predictions.csv",
            "retrySettings": { "maxRetries": 3, "timeout": "PT30S" },
            "loggingLevel": "Info",
            "maxConcurrencyPerInstance": 1,
            "deploymentConfiguration": configuration,
            "provisioningState": "Succeeded",
        },
        "tags": {},
        "location": shared.options.workspace.location,
    })
}

/// Leads to this very server: `{protocol}://{endpoint}/{accountName}/{containerName}/{path}`.
fn datastore(shared: &Shared, datastore: &Datastore) -> Value {
    let name = &datastore.name;
    let is_default = shared.places.default_datastore().is_some_and(|default| default.name == *name);
    json!({
        "id": format!("{}/datastores/{name}", shared.options.workspace.id()),
        "name": name,
        "type": "Microsoft.MachineLearningServices/workspaces/datastores",
        "properties": {
            "description": "simulated",
            "properties": {},
            "tags": {},
            "datastoreType": "AzureBlob",
            "accountName": datastore.account,
            "containerName": datastore.container,
            "endpoint": shared.address.to_string(),
            "protocol": "http",
            "credentials": { "credentialsType": "None" },
            "serviceDataAccessAuthIdentity": "None",
            "isDefault": is_default,
        },
    })
}
