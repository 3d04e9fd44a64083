//! Mounts functions under the host's protocol: an invocation comes in, is bounded in number and time, and gets an
//! answer that the host understands, whatever happens within.
//!
//! No path out of here is an empty 2xx, a redirect, or an answer that is not JSON.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use lambda_runtime::{Context, Diagnostic, LambdaEvent};

use lifecycle::{Payload, TraceContext};
use serde::de::DeserializeOwned;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::{Semaphore, SemaphorePermit, SetOnce};
use tokio::time::{Instant, timeout_at};
use tower::ServiceExt as _;
use tracing::{Instrument as _, field};

use super::context::{self, Trigger};
use super::envelope::Unreadable;
use super::{body, envelope, forwarded};
use crate::config::HostFacts;
use crate::functions::{Function, HttpAnswer, HttpRequest};
use crate::guard::{self, Names};
use crate::telemetry::{self, panic_text};

/// The kind of failure of a handler that can do nothing.
pub(crate) const UNUSABLE: &str = "Unusable";
/// The kind of failure of a function that panicked.
const PANICKED: &str = "Panicked";
/// How long an invocation waits for a handler that is still starting.
const STARTING: Duration = Duration::from_secs(20);

/// The functions by name. Names are the folders of `function-definitions/`, case included.
#[derive(Default)]
pub struct Functions(BTreeMap<&'static str, Mounted>);

struct Mounted {
    trigger: Trigger,
    /// Whose binding the payload is taken from, if the names in function.json are ours.
    bindings: &'static [&'static str],
    call: Call,
    /// The first segment of its path, if it has an HTTP trigger.
    route: Option<&'static str>,
}

/// A function whose types are forgotten: payload and context in, answer out.
type Call = Box<dyn Fn(Payload, Context) -> BoxFuture<'static, Result<Box<RawValue>, Failed>> + Send + Sync>;

impl Functions {
    /// No function yet: each is added by a method of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a function that Event Grid calls. It gets every text there is: what is no envelope is handed in as it
    /// came, because refusing it would make Event Grid deliver it again for a day.
    #[must_use]
    pub fn event<F: Function<Payload>>(self, name: &'static str, function: F) -> Self {
        self.mounted(name, Trigger::Event, &["event"], Ok, function)
    }

    /// With a function that a timer calls.
    #[must_use]
    pub fn timer<A: DeserializeOwned + Send + 'static, F: Function<A>>(self, name: &'static str, function: F) -> Self {
        self.mounted(name, Trigger::Timer, &["timer"], |payload| serde_json::from_str(payload.text()), function)
    }

    /// With a function that answers HTTP, at this path below the host's prefix.
    #[must_use]
    pub fn http<F: Function<HttpRequest, Output = HttpAnswer>>(
        self,
        name: &'static str,
        route: &'static str,
        function: F,
    ) -> Self {
        let read = |payload: Payload| serde_json::from_str(payload.text());
        let mut functions = self.mounted(name, Trigger::Http, &["req"], read, function);
        if let Some(mounted) = functions.0.get_mut(name) {
            mounted.route = Some(route);
        }
        functions
    }

    /// The function with an HTTP trigger whose path this is; the host's routes have no case.
    fn at(&self, path: &str) -> Option<(&'static str, &Mounted)> {
        let route = forwarded::route(path)?;
        let at = |mounted: &Mounted| mounted.route.is_some_and(|own| own.eq_ignore_ascii_case(route));
        self.0.iter().find(|(_, mounted)| at(mounted)).map(|(name, mounted)| (*name, mounted))
    }

    fn mounted<A, F>(
        mut self,
        name: &'static str,
        trigger: Trigger,
        bindings: &'static [&'static str],
        read: fn(Payload) -> Result<A, serde_json::Error>,
        function: F,
    ) -> Self
    where
        A: Send + 'static,
        F: Function<A>,
    {
        let call = move |payload: Payload, context: Context| {
            let function = function.clone();
            async move {
                let payload = read(payload).map_err(|why| {
                    Failed::refused(StatusCode::BAD_REQUEST, format!("the payload cannot be read: {why}"))
                })?;
                let answer = function.oneshot(LambdaEvent::new(payload, context)).await;
                let value = answer.map_err(|error| Failed::here(error.into()))?;
                to_raw_value(&value).map_err(|why| Failed::internal("Unserializable", why.to_string()))
            }
            .boxed()
        };
        self.0.insert(name, Mounted { trigger, bindings, call: Box::new(call), route: None });
        self
    }
}

/// What an invocation is answered with when it has no value.
#[derive(Debug)]
struct Failed {
    status: StatusCode,
    diagnostic: Diagnostic,
}

impl Failed {
    fn here(diagnostic: Diagnostic) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, diagnostic }
    }

    fn internal(kind: &str, message: String) -> Self {
        Self::here(Diagnostic { error_type: kind.to_owned(), error_message: message })
    }

    fn refused(status: StatusCode, message: String) -> Self {
        Self { status, diagnostic: Diagnostic { error_type: "Refused".to_owned(), error_message: message } }
    }

    fn answer(&self) -> Response {
        answer(self.status, json!(self.diagnostic).to_string())
    }
}

/// An answer to HTTP as the host's binding takes it.
fn http_value(answer: &HttpAnswer) -> Box<RawValue> {
    to_raw_value(answer).unwrap_or_default() // texts and a number always serialise
}

fn answer(status: StatusCode, json: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], json).into_response()
}

/// Why nothing can be run; every invocation is answered with it.
pub(super) struct Unusable(pub(super) String);

/// What all invocations share: the functions, the places for invocations and large bodies, and what is known of the host.
pub(super) struct Mount {
    /// What to run, or why nothing can be run.
    functions: SetOnce<Result<Functions, Unusable>>,
    permits: Semaphore,
    concurrency: usize,
    bodies: body::Places,
    facts: HostFacts,
}

impl Mount {
    pub(super) fn new(concurrency: usize, facts: &HostFacts) -> Self {
        Self {
            functions: SetOnce::new(),
            permits: Semaphore::new(concurrency),
            concurrency,
            bodies: body::Places::new(),
            facts: facts.clone(),
        }
    }

    /// Says what to run. Only the first call has an effect.
    pub(super) fn open(&self, functions: Result<Functions, Unusable>) {
        let _ = self.functions.set(functions);
    }
}

/// One handler for every path and method: extractors would answer in plain text, which the host cannot read.
pub(super) fn router(mount: Arc<Mount>) -> Router {
    Router::new().fallback(handle).with_state(mount)
}

async fn handle(State(mount): State<Arc<Mount>>, request: Request) -> Response {
    let received = (Instant::now(), now());
    let path = request.uri().path().to_owned();
    if path == "/" {
        // The probe, and later the host's measure of our latency.
        return answer(StatusCode::OK, r#"{"status":"listening"}"#.to_owned());
    }
    let is_forwarded = path.starts_with(forwarded::PREFIX);
    if let Some(why) = guard::refused(Names::Local, request.headers()).filter(|_| !is_forwarded) {
        return unread(request, Failed::refused(StatusCode::FORBIDDEN, why.trim_end().to_owned())).await;
    }
    let Ok(functions) = timeout_at(received.0 + STARTING, mount.functions.wait()).await else {
        let starting = Failed::internal("Starting", format!("the handler is still starting after {STARTING:?}"));
        return unread(request, starting).await;
    };
    let functions = match functions {
        Ok(functions) => functions,
        Err(Unusable(why)) => return unread(request, Failed::internal(UNUSABLE, why.clone())).await,
    };
    if is_forwarded {
        return http::forward(&mount, functions, &path, request, received).await;
    }
    let known = path.strip_prefix('/').and_then(|name| functions.0.get_key_value(name));
    let Some((name, mounted)) = known else {
        let names: Vec<_> = functions.0.keys().collect();
        let names = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        // The name may be anybody's: cut, and escaped by JSON.
        let path: String = path.chars().take(200).collect();
        let message = format!("no function is at `{path}`; there are {names}");
        return unread(request, Failed::refused(StatusCode::NOT_FOUND, message)).await;
    };
    if request.method() != Method::POST {
        let message = format!("`{name}` is invoked by POST, not by {}", request.method());
        return unread(request, Failed::refused(StatusCode::METHOD_NOT_ALLOWED, message)).await;
    }
    let (parts, body) = request.into_parts();
    let invocation = Invocation::new(&mount, name, mounted, &parts.headers, received);
    let span =
        tracing::info_span!("invocation", function = name, invocation_id = invocation.id, trace_id = field::Empty);
    telemetry::continue_trace(&span, invocation.trace.as_ref());
    invocation.answered(body).instrument(span).await
}

/// The answer to a request of which nothing is wanted.
async fn unread(request: Request, failed: Failed) -> Response {
    body::pass_over(request.into_body()).await;
    failed.answer()
}

/// One invocation on its way.
struct Invocation<'a> {
    mount: &'a Mount,
    name: &'static str,
    mounted: &'a Mounted,
    id: String,
    trace: Option<TraceContext>,
    received: (Instant, SystemTime),
    limit: Duration,
}

impl<'a> Invocation<'a> {
    fn new(
        mount: &'a Mount,
        name: &'static str,
        mounted: &'a Mounted,
        headers: &HeaderMap,
        received: (Instant, SystemTime),
    ) -> Self {
        Self {
            mount,
            name,
            mounted,
            id: context::invocation_id(headers),
            trace: context::trace(headers),
            received,
            limit: mounted.trigger.limit(mount.facts.function_timeout),
        }
    }

    async fn answered(self, body: Body) -> Response {
        let outcome = self.logged(self.outcome(body).await);
        if self.mounted.trigger == Trigger::Http {
            // A failure would be an empty 500 to whoever waits, whatever it was.
            let res = outcome.unwrap_or_else(|failed| http_value(&http::told(&failed)));
            return answer(StatusCode::OK, format!(r#"{{"Outputs":{{"res":{res}}},"Logs":[],"ReturnValue":null}}"#));
        }
        match outcome {
            Ok(value) => answer(StatusCode::OK, format!(r#"{{"Outputs":{{}},"Logs":[],"ReturnValue":{value}}}"#)),
            Err(failed) => failed.answer(),
        }
    }

    /// The answer to a request that came as it is.
    async fn http_answer(self, request: &HttpRequest) -> HttpAnswer {
        let ran = async {
            let by = self.received.0 + self.limit;
            let text = to_raw_value(request).map_err(|why| Failed::internal("Unserializable", why.to_string()))?;
            let _permit = self.permit(by).await?;
            self.run(Payload::new(text.get().to_owned()), by).await
        };
        let value = match self.logged(ran.await) {
            Ok(value) => value,
            Err(failed) => return http::told(&failed),
        };
        serde_json::from_str(value.get())
            .unwrap_or_else(|_| http::told(&Failed::internal("Unserializable", "the answer is none".to_owned())))
    }

    /// Logs how an invocation ended, a failure as an error, and hands the outcome on.
    fn logged(&self, outcome: Result<Box<RawValue>, Failed>) -> Result<Box<RawValue>, Failed> {
        let elapsed_ms = u64::try_from(self.received.0.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &outcome {
            Ok(_) => tracing::debug!(elapsed_ms, "invocation done"),
            Err(failed) => {
                // The host throws the body of a failure away, so this line is all that anybody will ever see of it.
                let Diagnostic { error_type, error_message } = &failed.diagnostic;
                tracing::error!(
                    elapsed_ms,
                    error_type,
                    status = failed.status.as_u16(),
                    "invocation of {} failed: {error_message}",
                    self.name
                );
            }
        }
        outcome
    }

    async fn outcome(&self, body: Body) -> Result<Box<RawValue>, Failed> {
        let by = self.received.0 + self.limit;
        // Before a place is taken: a sender that is slow, or says nothing more, must not keep out those who are ready.
        let body = body::read(body, &self.mount.bodies, by).await.map_err(|why| {
            let status = match why {
                body::Error::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                body::Error::Slow => StatusCode::REQUEST_TIMEOUT,
                body::Error::Broken(_) => StatusCode::BAD_REQUEST,
                body::Error::Busy => return Failed::internal("Busy", why.to_string()),
            };
            Failed::refused(status, why.to_string())
        })?;
        let _permit = self.permit(by).await?;
        // The place of a large body is held until the answer.
        let body::Read { bytes, place: _place } = body;
        let payload = match envelope::open(bytes, self.mounted.bindings) {
            Ok(payload) => payload,
            Err(Unreadable { reason, instead: Some(instead) }) if self.mounted.trigger == Trigger::Event => {
                tracing::warn!("no envelope of the host: {reason}; handed in as it came");
                instead
            }
            // Without a text nothing can be kept; success would make whoever sent it forget it.
            Err(unreadable) => return Err(Failed::refused(StatusCode::BAD_REQUEST, unreadable.to_string())),
        };
        self.run(payload, by).await
    }

    /// The right to run, of which there are so many.
    async fn permit(&self, by: Instant) -> Result<SemaphorePermit<'a>, Failed> {
        let busy = || {
            let Mount { concurrency, .. } = self.mount;
            Failed::internal("Busy", format!("{concurrency} invocations are running; this one did not begin in time"))
        };
        let permit = timeout_at(by, self.mount.permits.acquire()).await.map_err(|_| busy())?;
        if Instant::now() >= by {
            // The place came free because others were given up at this very moment: too late to begin.
            return Err(busy());
        }
        Ok(permit.expect("the semaphore is never closed"))
    }

    async fn run(&self, payload: Payload, by: Instant) -> Result<Box<RawValue>, Failed> {
        let context =
            context::context(&self.mount.facts, self.name, &self.id, self.trace.as_ref(), self.received.1, self.limit);
        // A panic must end this invocation and no other. Nothing of the function is used after one.
        let call = AssertUnwindSafe(async { (self.mounted.call)(payload, context).await }).catch_unwind();
        let panicked = |panic: Box<dyn Any + Send>| Failed::internal(PANICKED, panic_text(&*panic).to_owned());
        self.in_time(by, "running", call).await?.map_err(panicked)?
    }

    async fn in_time<T>(&self, by: Instant, what: &str, work: impl Future<Output = T>) -> Result<T, Failed> {
        timeout_at(by, work).await.map_err(|_| {
            let limit = self.limit;
            Failed::internal("TooSlow", format!("not done within {limit:?}, still {what}; it may have happened"))
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "this host tells functions their deadline as wall-clock time")]
fn now() -> SystemTime {
    SystemTime::now()
}

mod http;
#[cfg(test)]
mod tests;
