//! A scoring as Durable Functions shows an instance: names, statuses and headers that its clients know.

use app::error_chain;
use app::ledger::{self, Ledger};
use lifecycle::redact::redacted;
use lifecycle::{Scoring, ScoringId, Status};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use super::http::{HttpAnswer, HttpRequest};

/// The query parameter by which an end without a result is answered 500, so that whoever looks at the status alone sees it.
const FAIL_FLAG: &str = "returnInternalServerErrorOnFailure";
/// Seconds in `Retry-After`: after them whoever waits should look again.
const LOOK_AGAIN: u32 = 15;

/// Whether a request asks for that.
pub(super) fn fails_by_status(request: &HttpRequest) -> Result<bool, HttpAnswer> {
    request.refuse_parameters_but(&[FAIL_FLAG])?;
    match request.query(FAIL_FLAG).map(|value| value.to_ascii_lowercase()).as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        // Left aside, a misspelt one would make a pipeline go on that should have failed.
        Some(_) => {
            Err(HttpAnswer::problem(400, "BadRequest", "`returnInternalServerErrorOnFailure` takes true or false"))
        }
    }
}

/// Where a scoring is asked for.
fn status_path(id: &ScoringId, fail_flag: bool) -> String {
    let flag = if fail_flag { format!("?{FAIL_FLAG}=true") } else { String::new() };
    format!("/api/scorings/{id}{flag}")
}

/// The answer to a start, and to an order. Addresses are paths, without a key: who asks has one.
pub(super) fn started(id: &ScoringId, fail_flag: bool) -> HttpAnswer {
    let status = status_path(id, fail_flag);
    let order = |verb: &str| format!("/api/operations/{id}/{verb}?reason={{text}}");
    let body = json!({
        "id": id,
        "statusQueryGetUri": status,
        "terminatePostUri": order("cancel"),
        "rewindPostUri": order("retry"),
    });
    HttpAnswer::json(202, &body).with("Location", status)
}

/// The answer to the question where a scoring stands.
pub(super) async fn of(ledger: &Ledger, id: &ScoringId, fail_flag: bool) -> Result<HttpAnswer, HttpAnswer> {
    let found = ledger.get(id).await.map_err(|error| unreadable(&error))?;
    let none = || {
        let message = "there is no such scoring; it may be older than the retention";
        HttpAnswer::problem(404, "NoSuchScoring", message)
    };
    let (scoring, _) = found.ok_or_else(none)?;
    let body = shown(&scoring);
    Ok(match scoring.status {
        status if !status.is_terminal() => {
            HttpAnswer::json(202, &body).with("Location", status_path(id, fail_flag)).with("Retry-After", LOOK_AGAIN)
        }
        Status::Scored => HttpAnswer::json(200, &body),
        _ => HttpAnswer::json(if fail_flag { 500 } else { 200 }, &body),
    })
}

pub(super) fn unreadable(error: &ledger::Error) -> HttpAnswer {
    HttpAnswer::problem(503, "NotRead", &error_chain(error)).with("Retry-After", LOOK_AGAIN)
}

/// A scoring as an instance.
pub(super) fn shown(scoring: &Scoring) -> Value {
    let status = scoring.status;
    let text = |text: &str| redacted(text).into_owned();
    let outputs: serde_json::Map<String, Value> =
        scoring.result_uris().map(|(name, uri)| (name.to_owned(), text(uri).into())).collect();
    let output = status.is_terminal().then(|| {
        json!({
            "status": status.name(),
            "outputs": if status == Status::Scored { outputs } else { serde_json::Map::new() },
            "bytes": scoring.output_bytes,
            "error": scoring.error.as_deref().map(text),
            "failureCause": scoring.failure.map(lifecycle::FailureCause::name),
            "remedy": scoring.remedy(),
            "replacedBy": scoring.replaced_by,
        })
    });
    json!({
        "name": scoring.rule,
        "instanceId": scoring.id,
        "runtimeStatus": ledger::runtime_status(status),
        "input": {
            "blobUrl": text(&scoring.blob.url),
            "etag": scoring.blob.etag,
            "rule": scoring.rule,
            "generation": scoring.generation,
            "parameters": scoring.parameters().collect::<std::collections::BTreeMap<_, _>>(),
        },
        "customStatus": {
            "status": status.name(),
            "attempt": scoring.attempt,
            "job": scoring.job.as_ref().map(|job| &job.name),
            "jobStatus": scoring.job_status,
            "studio": scoring.job.as_ref().and_then(|job| job.studio.as_deref()).map(text),
            "lastError": scoring.last_error.as_deref().map(text),
        },
        "output": output,
        "createdTime": seconds(scoring.created),
        "lastUpdatedTime": seconds(scoring.updated),
    })
}

fn seconds(at: OffsetDateTime) -> String {
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    at.to_offset(time::UtcOffset::UTC).format(form).unwrap_or_default() // only for years beyond 9999
}
