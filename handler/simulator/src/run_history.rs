//! Run history: why a job failed, its one step, and the log files of that. `…/runs/{name}/details`, `…/runs/{name}/children`.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use crate::answer::{add_common, azure_ml_error, json, plain, shown, unauthorized};
use crate::call::Call;
use crate::job::Job;
use crate::shared::Shared;
use crate::{access, arm, roles, scoring};

/// The step of every batch job; its run is named after the job's.
const STEP: &str = "batchscoring";
/// The container in which the service keeps log files.
pub(super) const LOGS: &str = "azureml";

/// Run history: everything behind `/history/v1.0/subscriptions/`, a run's details and its children.
pub(super) fn answer(shared: &Shared, segments: &[&str], call: &Call) -> Response {
    if let Some(refused) = unauthorized(shared, call, &[scoring::AUDIENCE, arm::AUDIENCE]) {
        return refused;
    }
    if let Some(why) = access::forbidden(shared, roles::READ_RUNS, &shared.options.workspace.id()) {
        return azure_ml_error(shared, StatusCode::FORBIDDEN, "UserError", &why);
    }
    let missing = |what: &str| {
        azure_ml_error(shared, StatusCode::NOT_FOUND, "UserError", &format!("Run '{what}' was not found."))
    };
    let path = format!("/subscriptions/{}", segments.join("/"));
    let own = shared.options.workspace.id();
    let rest = path.get(..own.len()).filter(|head| head.eq_ignore_ascii_case(&own)).map(|_| &path[own.len()..]);
    let rest: Vec<&str> = rest.unwrap_or_default().split('/').collect();
    let (name, what) = match rest.as_slice() {
        ["", "runs", name, what @ ("details" | "children")] => (*name, *what),
        _ => return missing(&path),
    };
    let step_of = name.strip_suffix(&format!("-{STEP}"));
    let Some(job) = shared.act(|state, _| state.by_name(step_of.unwrap_or(name)).cloned()) else {
        return missing(name);
    };
    let body = match (what, step_of) {
        ("details", step) => details(shared, &job, name, step.is_some()),
        (_, None) => json!({ "value": [step(shared, &job)], "continuationToken": null, "nextLink": null }),
        (_, Some(_)) => json!({ "value": [], "continuationToken": null, "nextLink": null }),
    };
    let mut response = json(StatusCode::OK, &body);
    add_common(response.headers_mut());
    response
}

/// A log file of a step, by the URL that its run tells.
pub(super) fn log(shared: &Shared, run: &str, file: &str, call: &Call) -> Response {
    let name = run.strip_prefix("dcid.").and_then(|run| run.strip_suffix(&format!("-{STEP}")));
    let found = shared.act(|state, _| {
        let job = state.by_name(name?)?;
        Some((job.pipeline_id.clone(), job.error.as_ref()?.logs.get(file)?.clone()))
    });
    match found {
        None => plain(StatusCode::NOT_FOUND, "The specified blob does not exist."),
        Some((signature, _)) if call.query("sig") != Some(signature.as_str()) => {
            plain(StatusCode::FORBIDDEN, "Server failed to authenticate the request.")
        }
        Some((_, text)) => plain(StatusCode::OK, &text),
    }
}

/// URLs of the step's log files by name. Each is signed, and so good for whoever has it.
fn log_files(shared: &Shared, job: &Job, run: &str) -> Value {
    let account = shared.storage_map.accounts().first().copied().unwrap_or("local");
    let files = job.error.iter().flat_map(|error| error.logs.keys());
    let url = |file: &String| {
        let place = format!("https://{account}.blob.core.windows.net/{LOGS}/ExperimentRun/dcid.{run}/{file}");
        (file.clone(), json!(format!("{place}?sv=2019-07-07&sr=b&sp=r&sig={}", job.pipeline_id)))
    };
    Value::Object(files.map(url).collect())
}

fn error(job: &Job, of_step: bool) -> Value {
    let Some(error) = &job.error else { return Value::Null };
    let message = error.step.as_ref().filter(|_| of_step).unwrap_or(&error.message);
    json!({ "error": {
        "code": error.code,
        "severity": null,
        "message": message,
        "messageFormat": null,
        "messageParameters": {},
        "referenceCode": null,
        "detailsUri": null,
        "target": null,
        "details": [],
        "innerError": null,
    } })
}

fn details(shared: &Shared, job: &Job, run: &str, is_step: bool) -> Value {
    let status = if is_step { job.phase.step_status() } else { job.phase.status() };
    json!({
        "runId": run,
        "target": null,
        "status": status,
        "startTimeUtc": job.started.map(|at| shown(shared, at)),
        "endTimeUtc": job.ended.map(|at| shown(shared, at)),
        "error": error(job, is_step),
        "warnings": [],
        "tags": scoring::tags(job),
        "properties": scoring::properties(job),
        "logFiles": if is_step { log_files(shared, job, run) } else { json!({}) },
    })
}

fn step(shared: &Shared, job: &Job) -> Value {
    let outputs: serde_json::Map<String, Value> =
        job.outputs.iter().map(|(name, uri)| (name.clone(), json!({ "type": "UriFile", "uri": uri }))).collect();
    json!({
        "runId": format!("{}-{STEP}", job.name),
        "parentRunId": job.name,
        "rootRunId": job.name,
        "displayName": STEP,
        "name": STEP,
        "status": job.phase.step_status(),
        "createdUtc": shown(shared, job.created),
        "startTimeUtc": job.started.map(|at| shown(shared, at)),
        "endTimeUtc": job.ended.map(|at| shown(shared, at)),
        "error": error(job, true),
        "outputs": outputs,
    })
}
