//! Requests that the host hands on as they came (`enableForwardingHttpRequest`, `enableProxyingHttpRequest`): to functions with one
//! HTTP trigger and one HTTP output, and no others.
//!
//! Their paths begin with the host's prefix, which no invocation's does: nobody outside can send an invocation to `/BlobCreated`
//! that the host did not make. An empty prefix (host.json) would end that.
//!
//! The host has checked the key. `Host` and all other headers are the client's own words, so that the guard of invocations, which
//! go by `Host`, says nothing here; and URL and headers hold the key, so that nothing of them is logged.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use lifecycle::start::MAX_REQUEST;

use super::body;
use crate::functions::{HttpAnswer, HttpRequest};

/// What the path of such a request begins with.
pub(super) const PREFIX: &str = "/api/";

/// The function's name in the path, as far as it is one of `api`'s.
pub(super) fn route(path: &str) -> Option<&str> {
    path.strip_prefix(PREFIX)?.split('/').next()
}

/// Reads a request; else what it is answered.
pub(super) async fn read(parts: &Parts, body: Body) -> Result<HttpRequest, HttpAnswer> {
    let bytes = body::short(body, MAX_REQUEST).await.map_err(|why| {
        let status = match why {
            body::Error::Slow => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        };
        HttpAnswer::problem(status.as_u16(), "Body", &why.to_string())
    })?;
    let Some(bytes) = bytes else {
        let message = format!("the body has more than {MAX_REQUEST} bytes");
        return Err(HttpAnswer::problem(StatusCode::PAYLOAD_TOO_LARGE.as_u16(), "TooLarge", &message));
    };
    let text = String::from_utf8(bytes)
        .map_err(|_| HttpAnswer::problem(StatusCode::BAD_REQUEST.as_u16(), "Body", "the body is no UTF-8"))?;
    let mut request = HttpRequest {
        url: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        method: parts.method.to_string(),
        body: (!text.is_empty()).then_some(text),
        ..HttpRequest::default()
    };
    for (name, value) in &parts.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        request.headers.entry(name.to_string()).or_default().push(value);
    }
    Ok(request)
}

/// An answer as it goes out.
pub(super) fn response(answer: HttpAnswer) -> Response {
    let status = StatusCode::from_u16(answer.status_code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, answer.body).into_response();
    for (name, value) in answer.headers {
        // Names and values are ours.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
