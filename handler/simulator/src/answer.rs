//! The shapes of answers that several services share: plain text, JSON, and the two documents for errors.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use azure_core::Uuid;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::call::Call;
use crate::shared::Shared;
use crate::token;

/// Text, as the front door answers what it does not pass on.
pub(super) fn plain(status: StatusCode, text: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text.to_owned()).into_response()
}

/// An answer with a JSON body, without the headers that a plane of the service adds.
pub(super) fn json(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json; charset=utf-8")], body.to_string()).into_response()
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// The error document of Azure ML's own services.
pub(super) fn azure_ml_error(shared: &Shared, status: StatusCode, code: &str, message: &str) -> Response {
    let location = &shared.options.workspace.location;
    let body = json!({
        "error": {
            "code": code,
            "severity": null,
            "message": message,
            "messageFormat": null,
            "messageParameters": null,
            "referenceCode": null,
            "detailsUri": null,
            "target": null,
            "details": [],
            "innerError": null,
            "debugInfo": null,
            "additionalInfo": null,
        },
        "correlation": { "operation": Uuid::new_v4().simple().to_string(), "request": Uuid::new_v4().simple().to_string() },
        "environment": location,
        "location": location,
        "time": shown(shared, shared.options.clock.now()),
    });
    json(status, &body)
}

/// The error document of Resource Manager.
pub(super) fn arm_error(status: StatusCode, code: &str, message: &str) -> Response {
    json(status, &json!({ "error": { "code": code, "message": message } }))
}

/// 401 in plain text, as from the front door, unless the call has a good bearer token for one of these audiences.
pub(super) fn unauthorized(shared: &Shared, call: &Call, audiences: &[&str]) -> Option<Response> {
    let token = call.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let refused = match token.map(|token| token::audience(shared, token)) {
        None => "The request has no bearer token.",
        Some(None) => "The token is invalid or has expired.",
        Some(Some(audience)) if audiences.contains(&audience.as_str()) => return None,
        Some(Some(_)) => "Audience or service not allowed.",
    };
    Some(plain(StatusCode::UNAUTHORIZED, refused))
}

/// 429 with the seconds to wait.
pub(super) fn too_many(seconds: i64) -> Response {
    let mut response = plain(StatusCode::TOO_MANY_REQUESTS, "Too many requests.");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// Adds headers. A value that is no header value is left out: all are ours.
pub(super) fn add(headers: &mut HeaderMap, named: &[(&'static str, &str)]) {
    for (name, value) in named {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// Headers that every recorded answer has.
pub(super) fn add_common(headers: &mut HeaderMap) {
    let trace = Uuid::new_v4().simple().to_string();
    add(
        headers,
        &[
            ("request-context", "appId=cid-v1:00000000-0000-0000-0000-000000000000"),
            ("server-timing", &format!("traceparent;desc=\"00-{trace}-{}-00\"", &trace[..16])),
            ("strict-transport-security", "max-age=15724800; includeSubDomains; preload"),
            ("x-aml-cluster", "scorekeeper-simulator"),
            ("x-content-type-options", "nosniff"),
            ("x-ms-response-type", "standard"),
            ("x-request-time", "0.010"),
        ],
    );
}

/// A time as the service shows it, by a clock that may be skewed.
pub(super) fn shown(shared: &Shared, at: OffsetDateTime) -> String {
    timestamp(skewed(shared, at))
}

/// What the service's own clock shows now, skew included.
pub(super) fn now_shown(shared: &Shared) -> OffsetDateTime {
    skewed(shared, shared.options.clock.now())
}

fn skewed(shared: &Shared, at: OffsetDateTime) -> OffsetDateTime {
    let skew = shared.lock().behaviour.skew_seconds;
    at + time::Duration::seconds(skew.into())
}

/// `2023-04-09T00:28:23.4487583+00:00`, as the service writes times.
fn timestamp(at: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:7]+00:00");
    // Every component of the format is there in every time.
    at.to_offset(time::UtcOffset::UTC).format(format).unwrap_or_default()
}
