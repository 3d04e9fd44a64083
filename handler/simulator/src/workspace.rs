//! The workspace and what lies in it, as Resource Manager shows them: the workspace itself, its batch endpoints with
//! their deployments, its cluster (`compute`), its datastores. Clients find their way by these; nothing here changes anything.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use crate::answer::json;
use crate::installation::{Datastore, Deployment, DeploymentKind, Endpoint, Endpoints};
use crate::resource_path::ResourceMatch;
use crate::roles::Who;
use crate::shared::Shared;
use crate::{compute, ids, scoring};

/// One resource or all of a kind; `None` if there is no such thing. `kind` is in lower case.
pub(super) fn find(shared: &Shared, path: &[&str], kind: &[&str]) -> Option<ResourceMatch> {
    Some(match (kind, path) {
        ([], _) => ResourceMatch::One(itself(shared)?),
        (["batchendpoints"], _) => list(&endpoints(shared), |it| endpoint(shared, it)),
        (["batchendpoints", _], [_, name]) => {
            ResourceMatch::One(endpoint(shared, &scoring::find_endpoint(shared, name)?)?)
        }
        (["batchendpoints", _, "deployments"], [_, name, _]) => {
            let of = scoring::find_endpoint(shared, name)?;
            list(&deployments(shared, &of), |it| deployment(shared, &of, it))
        }
        (["batchendpoints", _, "deployments", _], [_, name, _, wanted]) => {
            let of = scoring::find_endpoint(shared, name)?;
            ResourceMatch::One(deployment(shared, &of, deployments(shared, &of).iter().find(|it| it.name == *wanted)?)?)
        }
        (["computes"], _) => ResourceMatch::Many(compute::get(shared, ids::CLUSTER).into_iter().collect()),
        (["computes", name], _) => ResourceMatch::One(compute::get(shared, name)?),
        (["datastores"], _) => list(shared.storage_map.datastores(), |it| datastore(shared, it)),
        (["datastores", _], [_, name]) => ResourceMatch::One(datastore(shared, shared.storage_map.datastore(name)?)?),
        _ => return None,
    })
}

fn list<T>(all: &[T], document: impl Fn(&T) -> Option<Value>) -> ResourceMatch {
    ResourceMatch::Many(all.iter().filter_map(document).collect())
}

/// Where the workspace's services are: what its discovery URL answers, without a token.
pub(super) fn discovery(shared: &Shared) -> Response {
    let origin = shared.origin();
    let body =
        json!({ "api": origin, "history": origin, "studio": origin, "catalog": origin, "experimentation": origin });
    json(StatusCode::OK, &body)
}

/// The workspace's document, as Resource Manager shows it; `None` if the fault plan has taken it away.
pub(super) fn itself(shared: &Shared) -> Option<Value> {
    let workspace = &shared.options.workspace;
    let storage = shared.storage_map.default_datastore().map(|datastore| ids::account(shared, &datastore.account));
    let document = json!({
        "id": workspace.id(),
        "name": workspace.name,
        "type": "Microsoft.MachineLearningServices/workspaces",
        "kind": "Default",
        "location": workspace.location,
        "tags": {},
        "identity": Who::Workspace.identity(),
        "properties": {
            "friendlyName": workspace.name,
            "description": "simulated",
            "workspaceId": "00000000-0000-0000-0000-000000000001",
            "discoveryUrl": format!("{}/discovery", shared.origin()),
            "provisioningState": "Succeeded",
            "publicNetworkAccess": "Disabled",
            "storageAccount": storage,
            "keyVault": null,
            "applicationInsights": null,
            "containerRegistry": null,
        },
    });
    shared.resources().shown("workspaces", &workspace.name, document)
}

/// All that can be told: where every name is an endpoint there is no list of them.
fn endpoints(shared: &Shared) -> Vec<Endpoint> {
    match &shared.options.endpoints {
        Endpoints::Any => Vec::new(),
        Endpoints::Listed(endpoints) => endpoints.clone(),
    }
}

fn endpoint(shared: &Shared, endpoint: &Endpoint) -> Option<Value> {
    let name = &endpoint.name;
    let document = json!({
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
    });
    shared.resources().shown("batchEndpoints", name, document)
}

/// An endpoint whose deployments are not listed has its default one.
fn deployments(shared: &Shared, endpoint: &Endpoint) -> Vec<Deployment> {
    match (&shared.options.endpoints, &endpoint.default_deployment) {
        (Endpoints::Any, Some(name)) => vec![Deployment { name: name.clone(), kind: DeploymentKind::Model }],
        _ => endpoint.deployments.clone(),
    }
}

fn deployment(shared: &Shared, of: &Endpoint, deployment: &Deployment) -> Option<Value> {
    let (id, name) = (shared.options.workspace.id(), &deployment.name);
    let configuration = match deployment.kind {
        DeploymentKind::Model => Value::Null,
        DeploymentKind::Pipeline => json!({ "deploymentConfigurationType": "PipelineComponent", "settings": {} }),
    };
    let document = json!({
        "id": format!("{id}/batchEndpoints/{}/deployments/{name}", of.name),
        "name": name,
        "type": "Microsoft.MachineLearningServices/workspaces/batchEndpoints/deployments",
        "properties": {
            "description": "simulated",
            "properties": {},
            "compute": ids::cluster(shared),
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
    });
    shared.resources().shown("deployments", name, document)
}

/// Leads to this very server: `{protocol}://{endpoint}/{accountName}/{containerName}/{path}`.
fn datastore(shared: &Shared, datastore: &Datastore) -> Option<Value> {
    let name = &datastore.name;
    let is_default = shared.storage_map.default_datastore().is_some_and(|default| default.name == *name);
    let document = json!({
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
    });
    shared.resources().shown("datastores", name, document)
}
