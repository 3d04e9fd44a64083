//! One request as a span of a trace, and `traceparent` on it: where nobody traces, nothing is made and nothing is sent.

use app::spans;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Client, Request, RequestBuilder, Response, Url};
use tracing::{Instrument as _, Span, field};

/// W3C trace context of who asks.
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Sends a request once, as a span of the trace that it is made in.
pub(crate) async fn send(request: RequestBuilder) -> reqwest::Result<Response> {
    let (client, request) = request.build_split();
    execute(&client, request?).await
}

/// The same of a request that is built.
pub(crate) async fn execute(client: &Client, mut request: Request) -> reqwest::Result<Response> {
    let span = of(request.method().as_str(), request.url());
    if let Some(traceparent) = traceparent(&span) {
        request.headers_mut().insert(TRACEPARENT, traceparent);
    }
    let answered = client.execute(request).instrument(span.clone()).await;
    ended(&span, answered.as_ref().ok().map(|response| response.status().as_u16()));
    answered
}

/// The span of a request. Of its URL the query stays out, which may be a signature; what is left goes through the redactor.
pub(super) fn of(method: &str, url: &Url) -> Span {
    tracing::trace_span!(
        target: spans::TARGET,
        "call",
        otel.kind = "client",
        otel.name = method,
        otel.status_code = field::Empty,
        http.request.method = method,
        http.response.status_code = field::Empty,
        server.address = url.host_str().unwrap_or_default(),
        url.path = url.path()
    )
}

/// What tells the service of the span.
pub(super) fn traceparent(span: &Span) -> Option<HeaderValue> {
    if span.is_disabled() {
        return None;
    }
    let here = span.in_scope(spans::current)?;
    HeaderValue::from_str(&here.to_string()).ok()
}

/// How the service answered, if it did. That something is not there, or is there already, is an answer like any other.
pub(super) fn ended(span: &Span, status: Option<u16>) {
    if let Some(status) = status {
        span.record("http.response.status_code", status);
    }
    if status.is_none_or(|status| status >= 500) {
        span.record("otel.status_code", "ERROR");
    }
}
