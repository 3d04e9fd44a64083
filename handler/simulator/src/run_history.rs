//! Run history: why a job failed, and its one step. `…/runs/{name}/details`, `…/runs/{name}/children`.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use crate::answer::{add_common, azure_ml_error, json, shown, unauthorized};
use crate::call::Call;
use crate::job::Job;
use crate::shared::Shared;
use crate::{access, arm, roles, scoring};

/// The step of every batch job; its run is named after the job's.
const STEP: &str = "batchscoring";

/// Everything behind `/history/v1.0/subscriptions/`.
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
        ("details", None) => details(shared, &job, name, job.phase.status()),
        ("details", Some(_)) => details(shared, &job, name, job.phase.step_status()),
        (_, None) => json!({ "value": [step(shared, &job)], "continuationToken": null, "nextLink": null }),
        (_, Some(_)) => json!({ "value": [], "continuationToken": null, "nextLink": null }),
    };
    let mut response = json(StatusCode::OK, &body);
    add_common(response.headers_mut());
    response
}

fn error(job: &Job) -> Value {
    let Some(error) = &job.error else { return Value::Null };
    json!({ "error": {
        "code": error.code,
        "severity": null,
        "message": error.message,
        "messageFormat": null,
        "messageParameters": {},
        "referenceCode": null,
        "detailsUri": null,
        "target": null,
        "details": [],
        "innerError": null,
    } })
}

fn details(shared: &Shared, job: &Job, run: &str, status: &str) -> Value {
    json!({
        "runId": run,
        "target": null,
        "status": status,
        "startTimeUtc": job.started.map(|at| shown(shared, at)),
        "endTimeUtc": job.ended.map(|at| shown(shared, at)),
        "error": error(job),
        "warnings": [],
        "tags": scoring::tags(job),
        "properties": scoring::properties(job),
        "logFiles": {},
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
        "error": error(job),
        "outputs": outputs,
    })
}
