//! What no real service offers: every job ever made, counts, and the fault plan. Open to all on this machine.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::answer::{empty, json, plain};
use crate::call::Call;
use crate::fault_plan::FaultPlan;
use crate::job::{Job, JobView};
use crate::shared::Shared;

/// Bytes of a fault plan that are read.
const MAX_PLAN_BYTES: usize = 64 * 1024;

/// `/`: says that this is a simulator, and where its other parts are.
pub(super) fn itself(shared: &Shared) -> Response {
    let body = json!({
        "what": "a simulated Azure ML batch endpoint; its predictions are worthless",
        "workspace": shared.options.workspace.id(),
        "invoke": format!("{}/endpoints/ENDPOINT/jobs", shared.origin()),
        "jobs": format!("{}/admin/jobs", shared.origin()),
        "requests": format!("{}/admin/requests", shared.origin()),
        "summary": format!("{}/admin/summary", shared.origin()),
        "faults": format!("{}/admin/faults", shared.origin()),
    });
    json(StatusCode::OK, &body)
}

/// `/runs/{job}`: in place of the studio's page.
pub(super) fn run(shared: &Shared, name: &str) -> Response {
    match shared.act(|state, _| state.by_name(name).map(Job::view)) {
        Some(job) => json(StatusCode::OK, &json!({ "simulated": true, "job": job })),
        None => plain(StatusCode::NOT_FOUND, "there is no such job"),
    }
}

/// `/admin/…`, which needs no token: jobs, requests, a summary, and the fault plan in force, which a POST changes.
pub(super) async fn answer(shared: &Shared, call: &Call, body: Body) -> Response {
    let what = call.segments.get(1).map(String::as_str).unwrap_or_default();
    match (call.method.as_str(), what) {
        ("GET", "jobs") => {
            let mut jobs = shared.act(|state, _| state.views());
            jobs.retain(|job| is_asked_for(job, call));
            json(StatusCode::OK, &json!({ "jobs": jobs }))
        }
        ("GET", "requests") => {
            let posts = shared.act(|state, _| state.posts_by_request().clone());
            json(StatusCode::OK, &json!({ "posts": posts }))
        }
        ("GET", "faults") => {
            let (faults, behaviour) = shared.act(|state, _| (state.faults.active().to_vec(), state.behaviour));
            let resources = shared.resources();
            json(StatusCode::OK, &json!({ "faults": faults, "behaviour": behaviour, "resources": *resources }))
        }
        ("GET", "summary") => json(StatusCode::OK, &json!(shared.act(|state, _| state.summary()))),
        ("POST", "faults") => {
            let Ok(body) = axum::body::to_bytes(body, MAX_PLAN_BYTES).await else {
                return plain(StatusCode::PAYLOAD_TOO_LARGE, "the fault plan is too large");
            };
            let set = serde_json::from_slice::<FaultPlan>(&body).map_err(|error| error.to_string()).and_then(|plan| {
                shared.act(|state, now| state.apply_fault_plan(plan, now)).map_err(|error| error.to_string())
            });
            match set {
                Ok(()) => empty(StatusCode::NO_CONTENT),
                Err(why) => plain(StatusCode::BAD_REQUEST, &why),
            }
        }
        _ => plain(
            StatusCode::NOT_FOUND,
            "there are GET /admin/jobs, GET /admin/requests, GET /admin/summary, GET and POST /admin/faults",
        ),
    }
}

/// `?input=…` and `?output=…`: some URI of the job contains the text.
fn is_asked_for(job: &JobView, call: &Call) -> bool {
    let has = |parameter, uris: &std::collections::BTreeMap<String, String>| {
        call.query(parameter).is_none_or(|text| uris.values().any(|uri| uri.contains(text)))
    };
    has("input", &job.inputs) && has("output", &job.outputs)
}
