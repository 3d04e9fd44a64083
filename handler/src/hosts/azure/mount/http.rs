//! Functions with an HTTP trigger: requests that are handed on as they came, and what whoever waits is told of a failure.

use std::time::SystemTime;

use axum::extract::Request;
use axum::response::Response;
use lambda_runtime::Diagnostic;
use tokio::time::Instant;
use tracing::{Instrument as _, field};

use super::super::{body, forwarded};
use super::{Failed, Functions, Invocation, Mount, PANICKED};
use crate::functions::HttpAnswer;
use crate::telemetry;

/// A request that the host hands on as it came.
pub(super) async fn forward(
    mount: &Mount,
    functions: &Functions,
    path: &str,
    request: Request,
    received: (Instant, SystemTime),
) -> Response {
    let Some((name, mounted)) = functions.at(path) else {
        body::pass_over(request.into_body()).await;
        return forwarded::response(HttpAnswer::problem(404, "NoSuchPath", "nothing is at this path"));
    };
    let (parts, body) = request.into_parts();
    let invocation = Invocation::new(mount, name, mounted, &parts.headers, received);
    let span =
        tracing::info_span!("invocation", function = name, invocation_id = invocation.id, trace_id = field::Empty);
    telemetry::continue_trace(&span, invocation.trace.as_ref());
    let answered = async {
        match forwarded::read(&parts, body).await {
            Ok(request) => invocation.http_answer(&request).await,
            Err(refused) => refused,
        }
    };
    forwarded::response(answered.instrument(span).await)
}

/// What whoever waits for an answer is told of a failure. The log has the rest.
pub(super) fn told(failed: &Failed) -> HttpAnswer {
    let Diagnostic { error_type, error_message } = &failed.diagnostic;
    match error_type.as_str() {
        PANICKED => HttpAnswer::problem(500, error_type, "it ended in a panic, see the log"),
        "Busy" | "NoRules" | "Starting" | "TooSlow" => {
            HttpAnswer::problem(503, error_type, error_message).with("Retry-After", 30)
        }
        _ => HttpAnswer::problem(failed.status.as_u16(), error_type, error_message),
    }
}
