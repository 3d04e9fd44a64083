//! The scoring host of the batch endpoints: makes jobs and shows them. Data plane, 2020-09-01-dataplanepreview.

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::Response;
use azure_core::Uuid;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::answer::{add, add_common, azure_ml_error, json, plain, shown, too_many, unauthorized};
use crate::behaviour::Behaviour;
use crate::call::Call;
use crate::fault_plan::FaultKind;
use crate::faults::RequestFacts;
use crate::installation::{DeploymentKind, Endpoint, Endpoints};
use crate::job::{Job, Phase, Polls};
use crate::link::Link;
use crate::request::{self, Data, Request};
use crate::shared::Shared;
use crate::state::NotMade;
use crate::{access, ids, roles};

/// The audience of the data plane.
pub(super) const AUDIENCE: &str = "https://ml.azure.com";

/// Bytes of an invoke that are read.
const MAX_BODY: usize = 1024 * 1024;

const NO_DEPLOYMENT: &str = "No valid deployments to route to. Please check that the endpoint has at least one \
                             deployment with positive weight values or use a deployment specific header to route.";

/// Where jobs of an endpoint are posted.
pub(super) fn uri(shared: &Shared, endpoint: &str) -> String {
    format!("{}/endpoints/{endpoint}/jobs", shared.origin())
}

/// The endpoint of this name.
pub(super) fn find_endpoint(shared: &Shared, name: &str) -> Option<Endpoint> {
    let endpoint = match &shared.options.endpoints {
        Endpoints::Any => is_name(name).then(|| Endpoint {
            name: name.to_owned(),
            default_deployment: Some("demonstration".to_owned()),
            deployments: Vec::new(),
        }),
        Endpoints::Listed(endpoints) => endpoints.iter().find(|endpoint| endpoint.name == name).cloned(),
    };
    shared.resources().endpoint(endpoint?)
}

fn find_deployment(shared: &Shared, endpoint: &str, asked: Option<&str>) -> Option<(String, DeploymentKind)> {
    let endpoint = find_endpoint(shared, endpoint)?;
    let name = match asked {
        Some(name) => name.to_owned(),
        None => endpoint.default_deployment?,
    };
    let kind = match &shared.options.endpoints {
        Endpoints::Any => is_name(&name).then_some(DeploymentKind::Model)?,
        Endpoints::Listed(_) => endpoint.deployments.iter().find(|deployment| deployment.name == name)?.kind,
    };
    (!shared.resources().is_gone("deployments", &name)).then_some((name, kind))
}

/// A letter, then letters, digits and inner dashes, 3 to 32 in all.
fn is_name(name: &str) -> bool {
    (3..=32).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && !name.ends_with('-')
}

/// An invoke was longer than what is read.
pub(super) struct TooLarge;

/// The body of an invoke.
pub(super) async fn read_body(body: Body) -> Result<Bytes, TooLarge> {
    axum::body::to_bytes(body, MAX_BODY).await.map_err(|_| TooLarge)
}

fn request_id(call: &Call) -> Option<&str> {
    call.header("repeatability_request-id").or_else(|| call.header("repeatability-request-id"))
}

/// Counts an invoke, before anything is decided: also one that is refused, throttled or cut was sent.
pub(super) fn count(shared: &Shared, call: &Call) {
    if unauthorized(shared, call, &[AUDIENCE]).is_none() {
        shared.act(|state, _| state.count_post(request_id(call)));
    }
}

/// POST of a job. The checks and their order: token, deployment, body, members, values.
pub(super) async fn invoke(
    shared: &Shared,
    (link, request_facts): (&Link, &RequestFacts),
    endpoint: &str,
    call: &Call,
    body: Result<Bytes, TooLarge>,
) -> Response {
    if let Some(refused) = unauthorized(shared, call, &[AUDIENCE]) {
        return refused;
    }
    let request_id = request_id(call).map(str::to_owned);
    let asked = call.header("azureml-model-deployment");
    let actions: &[&str] = if asked.is_some() { &[roles::INVOKE, roles::INVOKE_DEPLOYMENT] } else { &[roles::INVOKE] };
    if let Some(refused) = actions.iter().find_map(|action| forbidden(shared, action, endpoint)) {
        return refused;
    }
    let Some((deployment, kind)) = find_deployment(shared, endpoint, asked) else {
        return plain(StatusCode::NOT_FOUND, NO_DEPLOYMENT);
    };
    let Ok(body) = body else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "The request body is too large.");
    };
    let behaviour = shared.act(|state, _| state.behaviour);
    let request = match request::read(&body, kind, behaviour.allow_unknown_members) {
        Ok(request) => request,
        Err(refused) => return azure_ml_error(shared, StatusCode::BAD_REQUEST, "UserError", &refused.0),
    };
    let made = shared.act(|state, now| {
        if let (Some(window), Some(id)) = (behaviour.honour_request_id, request_id.as_deref())
            && let Some(first) = state.by_request_id(id, now - window)
        {
            return Ok((first.clone(), None));
        }
        let named = (endpoint, deployment.as_str(), kind);
        let new = |seq| new_job(shared, seq, named, request.clone(), request_id.clone(), (behaviour, now));
        let job = new(state.next_seq());
        state.make(job.clone())?;
        let kind = state.faults.on_created(request_facts);
        match kind {
            Some(FaultKind::Stuck) => state.stick(job.seq),
            Some(FaultKind::Failed { by }) => state.fail(job.seq, by),
            _ => {}
        }
        let jobs = kind.as_ref().map_or(1, FaultKind::jobs);
        for _ in 1..jobs {
            state.make(new(state.next_seq()))?;
        }
        Ok((job, kind))
    });
    let (job, kind) = match made {
        Ok(made) => made,
        Err(NotMade::Full) => return too_many(60),
        Err(NotMade::Journal(error)) => {
            tracing::error!(%error, "the simulator's journal could not take a job");
            let text = "the simulator's journal cannot be written; no job was made";
            return azure_ml_error(shared, StatusCode::SERVICE_UNAVAILABLE, "ServiceError", text);
        }
    };
    // The job is there from now on, whether or not anybody waits for the answer.
    let clock = &shared.options.clock;
    clock.until(clock.now() + shared.options.timing.answer).await;
    if let Some(FaultKind::LostAnswer { instead, .. }) = kind {
        return instead.answer(shared, link).await;
    }
    let location = format!(
        "{}/mferp/managementfrontend{}/batchEndpoints/{}/deployments/{}?api-version=2020-09-01-dataplanepreview",
        shared.origin(),
        shared.options.workspace.id(),
        job.endpoint,
        job.deployment
    );
    let mut response = json(StatusCode::CREATED, &document(shared, &job));
    add_front_door(&mut response);
    // Names the deployment and not the job: the service does so too, and clients that follow it are wrong.
    add(response.headers_mut(), &[("location", &location), ("azureml-model-deployment", &job.deployment)]);
    response
}

/// 403 to a caller whose roles do not hold the action.
fn forbidden(shared: &Shared, action: &str, endpoint: &str) -> Option<Response> {
    let scope = format!("{}/batchEndpoints/{endpoint}", shared.options.workspace.id());
    let why = access::forbidden(shared, action, &scope)?;
    Some(azure_ml_error(shared, StatusCode::FORBIDDEN, "UserError", &why))
}

fn refused(shared: &Shared, action: &str, endpoint: &str, call: &Call) -> Option<Response> {
    unauthorized(shared, call, &[AUDIENCE]).or_else(|| forbidden(shared, action, endpoint))
}

/// GET of one job; the look is counted.
pub(super) fn job(shared: &Shared, endpoint: &str, name: &str, call: &Call) -> Response {
    if let Some(refused) = refused(shared, roles::READ_JOBS, endpoint, call) {
        return refused;
    }
    // Of an endpoint that is gone the real service would not even have the host name.
    if find_endpoint(shared, endpoint).is_none() {
        return plain(StatusCode::NOT_FOUND, NO_DEPLOYMENT);
    }
    let job = shared.act(|state, now| state.look(name, now).filter(|job| job.endpoint == endpoint).cloned());
    let mut response = match job {
        Some(job) => json(StatusCode::OK, &document(shared, &job)),
        None => azure_ml_error(shared, StatusCode::NOT_FOUND, "UserError", &format!("Job '{name}' was not found.")),
    };
    add_front_door(&mut response);
    response
}

/// GET of an endpoint's jobs, ten to a page.
pub(super) fn list(shared: &Shared, endpoint: &str, call: &Call) -> Response {
    if let Some(refused) = refused(shared, roles::READ_JOBS, endpoint, call) {
        return refused;
    }
    if !shared.act(|state, _| state.behaviour.list_jobs) {
        return azure_ml_error(shared, StatusCode::BAD_REQUEST, "UserError", "The request is invalid.");
    }
    let before = call.query("$skiptoken").and_then(|token| token.parse().ok());
    let visible = shared.options.clock.now() - call.list_lag;
    let jobs: Vec<Job> = shared.act(|state, _| {
        state
            .newest(before)
            .filter(|job| job.endpoint == endpoint && job.created <= visible)
            .take(PAGE + 1)
            .cloned()
            .collect()
    });
    let next = (jobs.len() > PAGE).then(|| format!("{}?$skiptoken={}", uri(shared, endpoint), jobs[PAGE - 1].seq));
    let value: Vec<_> = jobs.iter().take(PAGE).map(|job| document(shared, job)).collect();
    let mut response = json(StatusCode::OK, &json!({ "value": value, "nextLink": next }));
    add_front_door(&mut response);
    response
}

/// The same list where the workspace's discovery leads: `…/batchEndpoints/{endpoint}/jobs` below the workspace's id.
pub(super) fn list_by_id(shared: &Shared, segments: &[&str], call: &Call) -> Response {
    let path = format!("/subscriptions/{}", segments.join("/"));
    let own = shared.options.workspace.id();
    let rest = path.get(..own.len()).filter(|head| head.eq_ignore_ascii_case(&own)).map(|_| &path[own.len()..]);
    match rest.unwrap_or_default().split('/').collect::<Vec<_>>().as_slice() {
        ["", kind, endpoint, "jobs"] if kind.eq_ignore_ascii_case("batchEndpoints") => list(shared, endpoint, call),
        _ => azure_ml_error(shared, StatusCode::NOT_FOUND, "UserError", &format!("'{path}' was not found.")),
    }
}

/// Jobs on a page of any list.
pub(super) const PAGE: usize = 10;

fn add_front_door(response: &mut Response) {
    add_common(response.headers_mut());
    let id = Uuid::new_v4().to_string();
    add(
        response.headers_mut(),
        &[("server", "azureml-frontdoor"), ("x-request-id", &id), ("x-envoy-upstream-service-time", "10")],
    );
}

fn new_job(
    shared: &Shared,
    seq: u64,
    (endpoint, deployment, kind): (&str, &str, DeploymentKind),
    mut request: Request,
    request_id: Option<String>,
    (behaviour, now): (Behaviour, OffsetDateTime),
) -> Job {
    let id = Uuid::new_v4();
    let name = if behaviour.bare_names { id.to_string() } else { format!("batchjob-{id}") };
    let suffix = &Uuid::new_v4().simple().to_string()[..8];
    let honoured = request.name.clone().filter(|_| behaviour.honour_name);
    let display_name = honoured.unwrap_or_else(|| format!("simulated_batch_{suffix}"));
    let experiment = request.properties.get("experimentName").filter(|_| kind == DeploymentKind::Pipeline);
    let experiment = experiment.map_or_else(|| endpoint.to_owned(), Clone::clone);
    if !behaviour.keep_tags {
        request.tags.clear();
        request.properties.clear();
    }
    let mut outputs: BTreeMap<_, _> =
        request.outputs.iter().map(|(output, data)| (output.clone(), data.uri.clone())).collect();
    if outputs.is_empty()
        && let Some(datastore) = shared.storage_map.default_datastore()
    {
        let uri = format!("azureml://datastores/{}/paths/azureml/{name}/score/predictions.csv", datastore.name);
        outputs.insert("score".to_owned(), uri);
    }
    Job {
        seq,
        name,
        endpoint: endpoint.to_owned(),
        deployment: deployment.to_owned(),
        kind,
        request,
        outputs,
        display_name,
        experiment,
        pipeline_id: Uuid::new_v4().to_string(),
        request_id,
        created: now,
        phase: Phase::Preparing,
        since: now,
        started: None,
        ended: None,
        error: None,
        polls: Polls::default(),
        is_stuck: false,
        fails: None,
        is_archived: false,
    }
}

/// A job as the data plane shows it.
fn document(shared: &Shared, job: &Job) -> Value {
    let workspace = &shared.options.workspace;
    let compute = json!({
        "target": ids::cluster(shared),
        "instanceCount": null,
        "isLocal": false,
        "location": null,
        "instanceType": null,
        "properties": null,
    });
    let service = |kind: &str, endpoint: String| json!({ "jobEndpointType": kind, "port": null, "endpoint": endpoint, "properties": null });
    let mut properties = json!({
        "provisioningState": "Succeeded",
        "inputData": data(&job.request.inputs, "jobInputType", "ReadOnlyMount"),
        "compute": compute,
        "output": { "datastoreId": null, "path": null },
        "retrySettings": { "maxRetries": 3, "timeout": "PT30S" },
        "status": job.phase.status(),
        "interactionEndpoints": {
            "Tracking": service("Tracking", tracking(shared)),
            "Studio": service("Studio", studio(shared, job)),
        },
        "tags": tags(job),
        "properties": properties(job),
        "name": job.display_name,
    });
    if let Value::Object(members) = &mut properties {
        if !job.request.outputs.is_empty() && !shared.act(|state, _| state.behaviour.omit_outputs) {
            members.insert("outputData".to_owned(), data(&job.request.outputs, "jobOutputType", "ReadWriteMount"));
        }
        members.extend(job.request.settings.clone());
    }
    let created = shown(shared, job.created);
    json!({
        "id": format!(
            "{}/batchEndpoints/{}/deployments/{}/jobs/{}",
            workspace.id(), job.endpoint, job.deployment, job.name
        ),
        "name": job.name,
        "type": "Microsoft.MachineLearningServices/workspaces/batchEndpoints/deployments/jobs",
        "properties": properties,
        "systemData": {
            "createdAt": created,
            "createdBy": "Scorekeeper simulator",
            "lastModifiedAt": created,
            "lastModifiedBy": "Scorekeeper simulator",
        },
    })
}

fn data(all: &BTreeMap<String, Data>, type_member: &str, mode: &str) -> Value {
    let entry = |data: &Data| {
        let mut entry = json!({ "description": data.description, (type_member): data.kind });
        if data.is_literal() {
            entry["value"] = json!(data.value);
        } else {
            entry["uri"] = json!(data.uri);
            entry["mode"] = json!(data.mode.as_deref().unwrap_or(mode));
        }
        entry
    };
    Value::Object(all.iter().map(|(name, data)| (name.clone(), entry(data))).collect())
}

/// Where run history is found: clients take the host out of it.
pub(super) fn tracking(shared: &Shared) -> String {
    format!("azureml://{}/mlflow/v1.0{}?", shared.address, shared.options.workspace.id())
}

/// The page for people: the simulator's own, since the real studio knows nothing of these jobs.
pub(super) fn studio(shared: &Shared, job: &Job) -> String {
    let workspace = &shared.options.workspace;
    format!(
        "{}/runs/{}?wsid=/subscriptions/{}/resourcegroups/{}/workspaces/{}",
        shared.origin(),
        job.name,
        workspace.subscription,
        workspace.resource_group,
        workspace.name
    )
}

/// The service's tags, and the client's where they are kept.
pub(super) fn tags(job: &Job) -> Value {
    let mut tags: Map<String, Value> = job.request.tags.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
    let own = [
        ("outputType", "output_data"),
        ("inputType", "input_data"),
        ("azureml.batchrun", "true"),
        ("azureml.deploymentname", job.deployment.as_str()),
        ("azureml.jobtype", "azureml.batchjob"),
    ];
    tags.extend(own.into_iter().map(|(name, value)| (name.to_owned(), json!(value))));
    Value::Object(tags)
}

/// The service's properties, and the client's where they are kept.
pub(super) fn properties(job: &Job) -> Value {
    let mut all: Map<String, Value> = job.request.properties.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
    let parameters = json!({
        "run_max_try": "3",
        "run_invocation_timeout": "30",
        "mini_batch_size": "10",
        "error_threshold": "-1",
        "logging_level": "INFO",
        "process_count_per_node": "1",
        "legacy_model_job": "False",
        "NodeCount": "1",
        "append_row_file_name": "predictions.csv",
    });
    let own = [
        ("azureml.pipelineid", job.pipeline_id.clone()),
        ("azureml.runsource", "azureml.PipelineRun".to_owned()),
        ("runSource", "Unavailable".to_owned()),
        ("runType", "HTTP".to_owned()),
        ("azureml.parameters", parameters.to_string()),
        ("azureml.continue_on_step_failure", "False".to_owned()),
        ("azureml.continue_on_failed_optional_input", "False".to_owned()),
        ("azureml.pipelineComponent", "pipelinerun".to_owned()),
    ];
    all.extend(own.into_iter().map(|(name, value)| (name.to_owned(), json!(value))));
    Value::Object(all)
}
