//! Faults as they are injected: what is answered in place of the proper answer, and what is done to it.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use azure_core::time::to_rfc7231;
use serde_json::Value;

use crate::answer::{azure_ml_error, empty, plain, too_many};
use crate::clock::Clock;
use crate::fault_plan::{BodyKind, FaultKind, Instead};
use crate::link::Link;
use crate::shared::Shared;

/// Bytes of a proper answer that is spoilt. Blobs may be larger; such an answer is cut off here.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

const PAGE: &str = "<html>\r\n<head><title>Service Unavailable</title></head>\r\n<body>\r\n<h1>The service is \
                    unavailable.</h1>\r\n</body>\r\n</html>\r\n";

impl FaultKind {
    /// Of those that happen on arrival: what is answered in place of the proper answer.
    pub(super) async fn instead(&self, shared: &Shared, link: &Link) -> Option<Response> {
        Some(match self {
            Self::Throttled { retry_after, as_date } => throttled(shared, *retry_after, *as_date),
            Self::Refused { status, body } => refused(shared, code(*status), *body),
            Self::LostRequest => Instead::Cut.answer(shared, link).await,
            Self::Unanswered => Instead::Hang.answer(shared, link).await,
            Self::OldToken { .. } => {
                let mut response = plain(StatusCode::UNAUTHORIZED, "The token is invalid or has expired.");
                let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                response
            }
            Self::Forbidden { .. } => refused(shared, StatusCode::FORBIDDEN, BodyKind::Json),
            Self::Hidden { .. } => refused(shared, StatusCode::NOT_FOUND, BodyKind::Json),
            _ => return None,
        })
    }

    /// Of those that happen to the proper answer: what becomes of it.
    pub(super) async fn alter(&self, shared: &Shared, response: Response) -> Response {
        match self {
            Self::Relabeled { status } => {
                let mut response = response;
                *response.status_mut() = code(*status);
                response
            }
            Self::WrongStatus { status } => edited(response, |job| show(job, Some(status))).await,
            Self::NoStatus => edited(response, |job| show(job, None)).await,
            Self::Truncated => with_body(response, |bytes| bytes.slice(..bytes.len() / 2).into()).await,
            Self::Trickled { millis } => {
                let (clock, pause) = (shared.options.clock.clone(), Duration::from_millis((*millis).into()));
                with_body(response, |bytes| trickle(clock, pause, bytes)).await
            }
            _ => response,
        }
    }
}

impl Instead {
    /// What is answered in place of the lost answer; it never returns where the connection is to stay silent.
    pub(super) async fn answer(self, shared: &Shared, link: &Link) -> Response {
        match self {
            Self::Cut => {
                link.cut();
                // Nobody reads it.
                empty(StatusCode::NO_CONTENT)
            }
            Self::Hang => std::future::pending().await,
            Self::Status(status) => refused(shared, code(status), BodyKind::Json),
        }
    }
}

/// 429 with the time to come back as the fault has it.
fn throttled(shared: &Shared, retry_after: Option<u32>, as_date: bool) -> Response {
    let seconds = retry_after.unwrap_or_default();
    let mut response = too_many(i64::from(seconds));
    let headers = response.headers_mut();
    if retry_after.is_none() {
        headers.remove(header::RETRY_AFTER);
    } else if as_date {
        let at = to_rfc7231(&(shared.options.clock.now() + Duration::from_secs(seconds.into())));
        if let Ok(at) = HeaderValue::from_str(&at) {
            headers.insert(header::RETRY_AFTER, at);
        }
    }
    response
}

/// The code was checked when the plan was set.
fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn refused(shared: &Shared, status: StatusCode, form: BodyKind) -> Response {
    let page = |kind: &'static str| (status, [(header::CONTENT_TYPE, kind)], PAGE).into_response();
    match form {
        BodyKind::Json if status.is_client_error() => {
            let text = status.canonical_reason().unwrap_or("The request is refused");
            azure_ml_error(shared, status, "UserError", text)
        }
        BodyKind::Json => {
            let text = format!("Received {} from a service request", status.as_u16());
            azure_ml_error(shared, status, "ServiceError", &text)
        }
        BodyKind::Text => plain(status, status.canonical_reason().unwrap_or_default()),
        BodyKind::Html => page("text/html"),
        BodyKind::HtmlAsJson => page("application/json; charset=utf-8"),
        BodyKind::Empty => empty(status),
    }
}

async fn with_body(response: Response, change: impl FnOnce(Bytes) -> Body) -> Response {
    let (mut parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, MAX_ANSWER).await.unwrap_or_default();
    if bytes.is_empty() {
        // An answer to HEAD tells the length of what it does not carry.
        return Response::from_parts(parts, Body::empty());
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, change(bytes))
}

/// Changes every job of a good answer, be it one or a list.
async fn edited(response: Response, change: impl Fn(&mut Value)) -> Response {
    if !response.status().is_success() {
        return response;
    }
    with_body(response, |bytes| {
        let Ok(mut document) = serde_json::from_slice::<Value>(&bytes) else { return bytes.into() };
        match document.get_mut("value") {
            Some(Value::Array(jobs)) => jobs.iter_mut().for_each(change),
            _ => change(&mut document),
        }
        document.to_string().into()
    })
    .await
}

/// The status of a job is among its properties; in run history it is beside them.
fn show(job: &mut Value, status: Option<&str>) {
    let at = if job.get("status").is_some() { Some(job) } else { job.get_mut("properties") };
    let Some(members) = at.and_then(Value::as_object_mut).filter(|members| members.contains_key("status")) else {
        return;
    };
    match status {
        Some(word) => members.insert("status".to_owned(), word.into()),
        None => members.remove("status"),
    };
}

fn trickle(clock: Clock, pause: Duration, bytes: Bytes) -> Body {
    Body::from_stream(futures::stream::unfold((clock, bytes), move |(clock, mut rest)| async move {
        if rest.is_empty() {
            return None;
        }
        clock.until(clock.now() + pause).await;
        let byte = rest.split_to(1);
        Some((Ok::<_, std::convert::Infallible>(byte), (clock, rest)))
    }))
}
