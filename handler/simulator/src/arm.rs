//! Resource Manager: the way to what `workspace`, `compute`, `accounts`, `event_grid` and `authorization` show, and the
//! workspace's jobs (get, list, cancel and its operation).
//!
//! Paths are matched in any case, as Resource Manager does. Every request costs one of the hour's reads or writes, and
//! needs a right of the caller's (`roles`).

use axum::http::StatusCode;
use axum::response::Response;
use azure_core::Uuid;
use serde_json::{Value, json};

use crate::answer::{add, add_common, arm_error, empty, json, shown, too_many, unauthorized};
use crate::call::Call;
use crate::installation::DeploymentKind;
use crate::job::Job;
use crate::resource_path::{AUTHORIZATION, EVENT_GRID, MACHINE_LEARNING, ResourceMatch, ResourcePath, STORAGE, WEB};
use crate::roles::Who;
use crate::scoring::{self, PAGE};
use crate::shared::Shared;
use crate::{access, accounts, authorization, compute, event_grid, roles, workspace};

/// The audience of Resource Manager.
pub(super) const AUDIENCE: &str = "https://management.azure.com";

/// Id of the workspace in names of operations.
const WORKSPACE_GUID: Uuid = Uuid::from_u128(1);

/// Resource Manager: everything behind `/subscriptions/`. Each answer spends from the budget of reads or of writes.
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
    if segments.is_empty() {
        return page(shared, call, vec![subscription(shared)]);
    }
    let not_there = |code, what: &str| arm_error(StatusCode::NOT_FOUND, code, &format!("{what} could not be found."));
    let Some(path) = ResourcePath::read(segments) else { return not_found(&segments.join("/")) };
    if !path.subscription.eq_ignore_ascii_case(&own.subscription) {
        return not_there("SubscriptionNotFound", &format!("The subscription '{}'", path.subscription));
    }
    if let Some(group) = path.group.filter(|group| !group.eq_ignore_ascii_case(&own.resource_group)) {
        return not_there("ResourceGroupNotFound", &format!("Resource group '{group}'"));
    }
    if !path.has_version(version) {
        let what = format!("The resource type '{}' in '{}' for api version '{version}'", path.kinds(), path.provider);
        return not_there("InvalidResourceType", &what);
    }
    let lower: Vec<String> = path.path.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let provider = path.provider.to_ascii_lowercase();
    // The result of a cancellation lies elsewhere than the right to see it.
    if let (MACHINE_LEARNING, ["locations", _, "mfeoperationresults", _]) = (provider.as_str(), lower.as_slice()) {
        return operation(shared, path.path[3], call);
    }
    // Rights come before existence: who may not look does not learn what there is.
    let action = path.action(&call.method);
    if !path.is_inventory()
        && let Some(why) = access::forbidden(shared, &action, &path.id())
    {
        return arm_error(StatusCode::FORBIDDEN, "AuthorizationFailed", &why);
    }
    // Kinds of resources in any case; names of jobs as they are.
    match (call.method.as_str(), provider.as_str(), lower.as_slice()) {
        (method, MACHINE_LEARNING, ["workspaces", name, "jobs", ..]) if name.eq_ignore_ascii_case(&own.name) => {
            match (method, &lower[3..]) {
                ("GET", []) => list(shared, call, version),
                ("GET", [_]) => get(shared, path.path[3]),
                ("POST", [_, "cancel"]) => cancel(shared, path.path[3], version),
                _ => not_found(&path.id()),
            }
        }
        ("GET", AUTHORIZATION, ["roleassignments"]) if exists(shared, path.extended().as_ref()) => {
            let filter = call.query("$filter");
            match authorization::assignments(shared, &path.scope(), filter) {
                Some(found) => page(shared, call, found),
                None => json(StatusCode::BAD_REQUEST, &authorization::bad_filter(filter.unwrap_or_default())),
            }
        }
        ("GET", _, _) => match look(shared, &path) {
            Some(ResourceMatch::One(document)) => json(StatusCode::OK, &document),
            Some(ResourceMatch::Many(mut documents)) => {
                if path.is_inventory() {
                    let id = |it: &Value| it["id"].as_str().unwrap_or_default().to_owned();
                    documents.retain(|it| access::forbidden(shared, &action, &id(it)).is_none());
                }
                page(shared, call, documents)
            }
            None => not_found(&path.id()),
        },
        _ => not_found(&path.id()),
    }
}

/// The resource is there. Subscription and group were compared before.
fn exists(shared: &Shared, resource: Option<&ResourcePath>) -> bool {
    resource.is_none_or(|resource| matches!(look(shared, resource), Some(ResourceMatch::One(_))))
}

/// All but jobs and role assignments, which have filters.
fn look(shared: &Shared, path: &ResourcePath) -> Option<ResourceMatch> {
    use ResourceMatch::{Many, One};
    let own = &shared.options.workspace;
    let lower: Vec<String> = path.path.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let provider = path.provider.to_ascii_lowercase();
    let extended = path.extended();
    Some(match (provider.as_str(), lower.as_slice(), &extended) {
        (AUTHORIZATION, ["permissions"], _) if exists(shared, extended.as_ref()) => {
            Many(authorization::permissions(shared, &path.scope()))
        }
        (AUTHORIZATION, ["roledefinitions", id], _) => One(authorization::definition(shared, id)?),
        (EVENT_GRID, ["eventsubscriptions", rest @ ..], Some(account)) => {
            let [_, account] = account.path else { return None };
            one_of(event_grid::on_account(shared, account)?, rest)?
        }
        (EVENT_GRID, ["systemtopics"], None) => Many(event_grid::topics(shared)),
        (EVENT_GRID, ["systemtopics", name], None) => One(event_grid::topic(shared, name)?),
        (EVENT_GRID, ["systemtopics", name, "eventsubscriptions", rest @ ..], None) => {
            one_of(event_grid::on_topic(shared, name)?, rest)?
        }
        (STORAGE, ["storageaccounts"], None) => Many(accounts::list(shared)),
        (STORAGE, ["storageaccounts", name], None) => One(accounts::get(shared, name)?),
        (STORAGE, ["storageaccounts", name, "blobservices", "default", "containers", rest @ ..], None) => {
            one_of(accounts::containers(shared, name)?, rest)?
        }
        (MACHINE_LEARNING, ["locations", location, "usages"], None)
            if *location == own.location.to_ascii_lowercase() =>
        {
            Many(compute::usages(shared))
        }
        (MACHINE_LEARNING, ["workspaces"], None) => Many(workspace::itself(shared).into_iter().collect()),
        (WEB, ["sites", name], None) if *name == shared.options.app.name.to_ascii_lowercase() => One(site(shared)?),
        (WEB, ["sites", name, "config", "authsettingsv2"], None)
            if *name == shared.options.app.name.to_ascii_lowercase() =>
        {
            One(sign_in(shared)?)
        }
        (MACHINE_LEARNING, ["workspaces", name, ..], None) if *name == own.name.to_ascii_lowercase() => {
            workspace::find(shared, &path.path[2..], &lower[2..])?
        }
        _ => return None,
    })
}

/// The one subscription, which is its own list.
fn subscription(shared: &Shared) -> Value {
    let id = &shared.options.workspace.subscription;
    json!({
        "id": format!("/subscriptions/{id}"),
        "subscriptionId": id,
        "tenantId": roles::TENANT.to_string(),
        "displayName": "simulated",
        "state": "Enabled",
    })
}

/// The function app, as far as others refer to it. Its settings are not here: who runs it has them.
fn site(shared: &Shared) -> Option<Value> {
    let (name, workspace) = (&shared.options.app.name, &shared.options.workspace);
    let document = json!({
        "id": shared.options.app.id(workspace),
        "name": name,
        "type": "Microsoft.Web/sites",
        "kind": "functionapp,linux",
        "location": workspace.location,
        "tags": {},
        "identity": Who::App.identity(),
        "properties": { "state": "Running", "enabled": true, "httpsOnly": true },
    });
    shared.resources().shown("sites", name, document)
}

/// App Service Authentication of the function app, as it is where nobody has turned it on.
fn sign_in(shared: &Shared) -> Option<Value> {
    let document = json!({
        "id": format!("{}/config/authsettingsV2", shared.options.app.id(&shared.options.workspace)),
        "name": "authsettingsV2",
        "type": "Microsoft.Web/sites/config",
        "properties": {
            "platform": { "enabled": false },
            "globalValidation": { "requireAuthentication": false, "unauthenticatedClientAction": "AllowAnonymous" },
        },
    });
    shared.resources().shown("authSettings", &shared.options.app.name, document)
}

/// All of them, or the one that is named.
fn one_of(all: Vec<Value>, name: &[&str]) -> Option<ResourceMatch> {
    match name {
        [] => Some(ResourceMatch::Many(all)),
        [name] => {
            let is_it = |it: &Value| it["name"].as_str().is_some_and(|own| own.eq_ignore_ascii_case(name));
            all.into_iter().find(is_it).map(ResourceMatch::One)
        }
        _ => None,
    }
}

/// A page of a list that does not change, and the way to the next one. `$top` is how long it is at most.
fn page(shared: &Shared, call: &Call, all: Vec<Value>) -> Response {
    let number = |name: &str, default: usize| call.query(name).map_or(Some(default), |text| text.parse().ok());
    let (Some(from), Some(max)) = (number("$skipToken", 0), number("$top", PAGE)) else {
        return arm_error(StatusCode::BAD_REQUEST, "InvalidQueryParameterValue", "$skipToken or $top is not a number.");
    };
    let (count, max) = (all.len(), max.clamp(1, 100));
    let value: Vec<_> = all.into_iter().skip(from).take(max).collect();
    let mut body = json!({ "value": value });
    let next = from.saturating_add(max);
    if next < count {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in call.query.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("$skipToken")) {
            query.append_pair(name, value);
        }
        query.append_pair("$skipToken", &next.to_string());
        body["nextLink"] = json!(format!("{}/{}?{}", shared.origin(), call.segments.join("/"), query.finish()));
    }
    json(StatusCode::OK, &body)
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
        let of_view = match call.query("listViewType") {
            Some("All") => true,
            Some("ArchivedOnly") => job.is_archived,
            _ => !job.is_archived,
        };
        of_view
            && job.created <= visible
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
