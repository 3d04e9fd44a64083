//! Resource Manager over the workspace: jobs (get, list, cancel and its operation), and what `workspace` shows.
//!
//! Paths are matched in any case, as Resource Manager does. Every request costs one of the hour's reads or writes.

use axum::http::StatusCode;
use axum::response::Response;
use azure_core::Uuid;
use serde_json::{Value, json};

use super::answer::{add, add_common, arm_error, empty, json, shown, too_many, unauthorized};
use super::job::Job;
use super::options::DeploymentKind;
use super::scoring::{self, PAGE};
use super::{Call, Shared, workspace};

/// The audience of Resource Manager.
pub(super) const AUDIENCE: &str = "https://management.azure.com";

/// Id of the workspace in names of operations.
const WORKSPACE_GUID: Uuid = Uuid::from_u128(1);

/// Everything behind `/subscriptions/`.
pub(super) fn answer(shared: &Shared, segments: &[&str], call: &Call) -> Response {
    if let Some(refused) = unauthorized(shared, call, &[AUDIENCE]) {
        return refused;
    }
    let Some(version) = call.query("api-version") else {
        let text = "The api-version query parameter (?api-version=) is required for all requests.";
        return arm_error(StatusCode::BAD_REQUEST, "MissingApiVersionParameter", text);
    };
    let is_read = call.method == "GET";
    let spent = shared.act(|state, now| if is_read { state.reads.spend(now) } else { state.writes.spend(now) });
    let left = match spent {
        Ok(left) => left,
        Err(seconds) => return too_many(seconds),
    };
    let mut response = find(shared, segments, call, version);
    let headers = response.headers_mut();
    add_common(headers);
    let id = Uuid::new_v4().to_string();
    let budget = if is_read {
        "x-ms-ratelimit-remaining-subscription-reads"
    } else {
        "x-ms-ratelimit-remaining-subscription-writes"
    };
    add(
        headers,
        &[
            ("cache-control", "no-cache"),
            ("expires", "-1"),
            ("pragma", "no-cache"),
            ("x-ms-correlation-request-id", &id),
            ("x-ms-routing-request-id", &format!("LOCAL:{id}")),
            (budget, &left.to_string()),
        ],
    );
    response
}

fn find(shared: &Shared, segments: &[&str], call: &Call, version: &str) -> Response {
    let own = &shared.options.workspace;
    let lower: Vec<String> = segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let is = |got: &str, own: &str| got.eq_ignore_ascii_case(own);
    match lower.as_slice() {
        [subscription, "providers", provider, "locations", _, "mfeoperationresults", _]
            if is(subscription, &own.subscription) && is_provider(provider) =>
        {
            operation(shared, segments[6], call)
        }
        [subscription, "resourcegroups", group, "providers", provider, "workspaces", name, ..]
            if is(subscription, &own.subscription)
                && is(group, &own.resource_group)
                && is_provider(provider)
                && is(name, &own.name) =>
        {
            // Kinds of resources in any case; names of jobs as they are.
            match (call.method.as_str(), &lower[7..], &segments[7..]) {
                ("GET", ["jobs"], _) => list(shared, call, version),
                ("GET", ["jobs", _], [_, job]) => get(shared, job),
                ("POST", ["jobs", _, "cancel"], [_, job, _]) => cancel(shared, job, version),
                ("GET", kind, path) => {
                    workspace::find(shared, path, kind).unwrap_or_else(|| not_found(&segments.join("/")))
                }
                _ => not_found(&segments.join("/")),
            }
        }
        _ => not_found(&segments.join("/")),
    }
}

fn is_provider(segment: &str) -> bool {
    segment.eq_ignore_ascii_case("Microsoft.MachineLearningServices")
}

fn not_found(what: &str) -> Response {
    arm_error(StatusCode::NOT_FOUND, "ResourceNotFound", &format!("The resource '{what}' was not found."))
}

fn get(shared: &Shared, name: &str) -> Response {
    match shared.act(|state, now| state.look(name, now).cloned()) {
        Some(job) => json(StatusCode::OK, &document(shared, &job)),
        None => not_found(name),
    }
}

/// Newest first, ten to a page. `tag` is the name of a tag; `properties` is `name` or `name=value`, several with commas.
fn list(shared: &Shared, call: &Call, version: &str) -> Response {
    let before = match call.query("$skip") {
        None => None,
        Some(skip) => match skip.parse() {
            Ok(before) => Some(before),
            Err(_) => return arm_error(StatusCode::BAD_REQUEST, "UserError", "$skip is not a continuation of a list."),
        },
    };
    let (tag, wanted) = (call.query("tag"), call.query("properties"));
    let visible = shared.options.clock.now() - call.list_lag;
    let matches = |job: &Job| {
        let own = scoring::properties(job);
        let has = |pair: &str| match pair.split_once('=') {
            Some((name, value)) => own.get(name).is_some_and(|held| held == value),
            None => own.get(pair).is_some(),
        };
        // No job is ever archived here.
        job.created <= visible
            && call.query("listViewType") != Some("ArchivedOnly")
            && call.query("jobType").is_none_or(|kind| kind.eq_ignore_ascii_case("Pipeline"))
            && tag.is_none_or(|tag| scoring::tags(job).get(tag).is_some())
            && wanted.is_none_or(|pairs| pairs.split(',').all(has))
    };
    let jobs: Vec<Job> =
        shared.act(|state, _| state.newest(before).filter(|job| matches(job)).take(PAGE + 1).cloned().collect());
    let next = (jobs.len() > PAGE).then(|| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("api-version", version);
        // A place in the list and not a number of rows: new jobs shift no page.
        query.append_pair("$skip", &jobs[PAGE - 1].seq.to_string());
        for name in ["tag", "properties", "listViewType", "jobType"] {
            if let Some(value) = call.query(name) {
                query.append_pair(name, value);
            }
        }
        format!("{}{}/jobs?{}", shared.origin(), shared.options.workspace.id(), query.finish())
    });
    let value: Vec<_> = jobs.iter().take(PAGE).map(|job| document(shared, job)).collect();
    let body = match next {
        Some(next) => json!({ "value": value, "nextLink": next }),
        None => json!({ "value": value }),
    };
    json(StatusCode::OK, &body)
}

/// What the service does with a finished job is not recorded; here the request is taken and nothing changes.
fn cancel(shared: &Shared, name: &str, version: &str) -> Response {
    if shared.act(|state, now| state.cancel(name, now)).is_none() {
        return not_found(name);
    }
    let mut response = json(StatusCode::ACCEPTED, &Value::Null);
    let location = operation_uri(shared, &format!("jc:{WORKSPACE_GUID}:{name}"), version);
    add(response.headers_mut(), &[("location", &location), ("x-ms-async-operation-timeout", "PT1H")]);
    response
}

fn operation_uri(shared: &Shared, operation: &str, version: &str) -> String {
    let workspace = &shared.options.workspace;
    let version: String = url::form_urlencoded::byte_serialize(version.as_bytes()).collect();
    format!(
        "{}/subscriptions/{}/providers/Microsoft.MachineLearningServices/locations/{}/mfeOperationResults/{operation}\
         ?api-version={version}",
        shared.origin(),
        workspace.subscription,
        workspace.location
    )
}

/// 202 while the job is being cancelled, then 200 without a body.
fn operation(shared: &Shared, operation: &str, call: &Call) -> Response {
    let name = operation.strip_prefix(&format!("jc:{WORKSPACE_GUID}:")).unwrap_or_default();
    match shared.act(|state, _| state.by_name(name).map(|job| job.phase.is_final())) {
        None => not_found(operation),
        Some(true) => empty(StatusCode::OK),
        Some(false) => {
            let mut response = json(StatusCode::ACCEPTED, &json!({}));
            let location = operation_uri(shared, operation, call.query("api-version").unwrap_or_default());
            add(response.headers_mut(), &[("location", &location)]);
            response
        }
    }
}

/// A job as Resource Manager shows it.
fn document(shared: &Shared, job: &Job) -> Value {
    let service = |kind: &str, endpoint: String| {
        json!({
            "jobServiceType": kind,
            "port": null,
            "endpoint": endpoint,
            "status": null,
            "errorMessage": null,
            "properties": null,
            "nodes": null,
        })
    };
    let data = |type_member: &str, all: &std::collections::BTreeMap<String, super::request::Data>| match job.kind {
        // Of a model deployment's job Resource Manager shows neither.
        DeploymentKind::Model => Value::Null,
        DeploymentKind::Pipeline => all
            .iter()
            .map(|(name, data)| {
                let value =
                    json!({ (type_member): data.kind, "uri": data.uri, "value": data.value, "mode": data.mode });
                (name.clone(), value)
            })
            .collect(),
    };
    json!({
        "id": format!("{}/jobs/{}", shared.options.workspace.id(), job.name),
        "name": job.name,
        "type": "Microsoft.MachineLearningServices/workspaces/jobs",
        "properties": {
            "description": format!(
                "Pipeline submission for endpoint: {}, deployment: {}.", job.endpoint, job.deployment
            ),
            "tags": scoring::tags(job),
            "properties": scoring::properties(job),
            "displayName": job.display_name,
            "status": job.phase.status(),
            "experimentName": job.experiment,
            "services": {
                "Tracking": service("Tracking", scoring::tracking(shared)),
                "Studio": service("Studio", scoring::studio(shared, job)),
            },
            "computeId": null,
            "isArchived": false,
            "identity": null,
            "componentId": null,
            "jobType": "Pipeline",
            "settings": null,
            "jobs": null,
            "inputs": data("jobInputType", &job.request.inputs),
            "outputs": data("jobOutputType", &job.request.outputs),
            "sourceJobId": null,
        },
        "systemData": {
            "createdAt": shown(shared, job.created),
            "createdBy": "Scorekeeper simulator",
            "createdByType": "Application",
        },
    })
}
