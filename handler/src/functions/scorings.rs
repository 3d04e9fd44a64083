//! `Scorings`: starts a scoring, and says where one stands, for orchestrators that ask by HTTP.
//!
//! A start is answered 202 with the path to ask at (`Location`) and Durable Functions' names for what else may be asked; asking is
//! answered 202 until the scoring has ended, then 200. A Web activity of Data Factory and an HTTP action of a Logic App follow that
//! by themselves. A start may be sent again at any time: see [`app::Starts`].

use std::sync::Arc;
use std::time::Duration;

use app::{CallbackToKeep, StartError, StartRefused, error_chain};
use lambda_runtime::{LambdaEvent, service_fn};
use lifecycle::ScoringId;
use lifecycle::callback::CallbackHosts;
use lifecycle::start::{MAX_REQUEST, StartKey, StartRequest};
use tokio::sync::Semaphore;
use tracing::Instrument as _;

use super::http::{HttpAnswer, HttpRequest};
use super::instance;
use super::{Failure, Function};
use crate::rules_in_blob::CurrentApp;

/// Seconds before a start is asked about.
const FIRST_LOOK: u32 = 10;
/// Seconds before a start that could not be made is sent again.
const NOT_YET: u32 = 30;
/// A start is answered within this, its job sent or not.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Starts at work at once, answered ones included.
const MAX_CONCURRENT_STARTS: usize = 64;

/// Who may ask, and what for.
#[derive(Debug, Clone)]
pub struct HttpAccess {
    /// The functions that answer HTTP are on.
    pub on: bool,
    /// The platform lets nobody in who has not signed in, and says who that is.
    pub signed_in: bool,
    /// Hosts that may be called back.
    pub callback_hosts: CallbackHosts,
}

impl HttpAccess {
    /// Who asks, for the history; or why nobody is answered. Without sign-in that is on, anybody may write these headers.
    pub(super) fn caller(&self, request: &HttpRequest) -> Result<String, HttpAnswer> {
        if !self.on {
            let message = "the HTTP functions are switched off; SCOREKEEPER_HTTP=on switches them on";
            return Err(HttpAnswer::problem(404, "SwitchedOff", message));
        }
        // A page of another site that a browser shows: orchestrators send no `Origin`.
        if request.header("origin").is_some() {
            return Err(HttpAnswer::problem(403, "Browser", "requests of web pages get no answer here"));
        }
        if !self.signed_in {
            return Ok("HTTP".to_owned());
        }
        let name = request.header("x-ms-client-principal-name").filter(|name| !name.is_empty());
        name.ok_or_else(|| HttpAnswer::problem(401, "NotSignedIn", "sign in: App Service Authentication is required"))
    }
}

/// Makes the function. `Err` only if there are no rules yet.
pub fn scorings(app: impl Into<CurrentApp>, access: HttpAccess) -> impl Function<HttpRequest, Output = HttpAnswer> {
    let (app, access) = (app.into(), Arc::new(access));
    let starts = Arc::new(Semaphore::new(MAX_CONCURRENT_STARTS));
    service_fn(move |LambdaEvent { payload, .. }: LambdaEvent<HttpRequest>| {
        let (app, access, starts) = (app.clone(), Arc::clone(&access), Arc::clone(&starts));
        async move {
            let by = match access.caller(&payload) {
                Ok(by) => by,
                Err(refused) => return Ok::<_, Failure>(refused),
            };
            let app = app.get(app.now()).await?;
            Ok(match (payload.method.to_ascii_uppercase().as_str(), &payload.segments()[..]) {
                ("POST", [_]) => start(app, &payload, (&access.callback_hosts, &by), starts).await,
                ("GET", [_, id]) => status(&app, &payload, id).await,
                (_, segments) => {
                    let allowed = if segments.len() == 1 { "POST" } else { "GET" };
                    let verbs = "POST /api/scorings starts, GET /api/scorings/ID asks";
                    HttpAnswer::problem(405, "Verb", verbs).with("Allow", allowed)
                }
            })
        }
    })
}

async fn start(
    app: app::App,
    request: &HttpRequest,
    (hosts, by): (&CallbackHosts, &str),
    starts: Arc<Semaphore>,
) -> HttpAnswer {
    let read = match read(request, hosts) {
        Ok(read) => read,
        Err(refused) => return refused,
    };
    let Ok(permit) = starts.try_acquire_owned() else {
        return HttpAnswer::problem(429, "Busy", "too many starts are at work; send it again")
            .with("Retry-After", NOT_YET);
    };
    let (by, fail_flag) = match instance::fails_by_status(request) {
        Ok(fail_flag) => (by.to_owned(), fail_flag),
        Err(refused) => return refused,
    };
    let (answered, answer) = tokio::sync::oneshot::channel();
    // In a task of its own, which outlives the answer: a batch endpoint may take a minute, and what is begun is finished.
    let work = async move {
        let _permit = permit;
        let (asked, key) = read;
        match app.start(&asked, key.as_ref(), &by).await {
            Ok((started, submissions)) => {
                let kept = match asked.callback {
                    Some(uri) => app.keep_callback(CallbackToKeep { scoring: started.scoring.id.clone(), uri }).await,
                    None => Ok(()),
                };
                let _ = answered.send(match kept {
                    Ok(()) => instance::started(&started.scoring.id, fail_flag).with("Retry-After", FIRST_LOOK),
                    Err(error) => not_started(StartError::App(error)),
                });
                submissions.send().await;
            }
            Err(error) => {
                let _ = answered.send(not_started(error));
            }
        }
    };
    tokio::spawn(work.in_current_span());
    match tokio::time::timeout(ANSWER_WITHIN, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => HttpAnswer::problem(500, "Panicked", "the start ended in a panic, see the log; send it again"),
        Err(_) => HttpAnswer::problem(503, "TooSlow", "it is not known whether the start was taken; send it again")
            .with("Retry-After", NOT_YET),
    }
}

fn read(request: &HttpRequest, hosts: &CallbackHosts) -> Result<(StartRequest, Option<StartKey>), HttpAnswer> {
    let body = request.body.as_deref().unwrap_or_default();
    let is_chunked =
        request.header("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().contains("chunked"));
    if body.is_empty() && is_chunked && request.header("content-length").is_none() {
        let message = "a body without Content-Length is lost by the Functions host; send it with its length";
        return Err(HttpAnswer::problem(411, "LengthRequired", message));
    }
    if body.len() > MAX_REQUEST {
        return Err(HttpAnswer::problem(413, "TooLarge", "a start takes 65,536 bytes at most"));
    }
    let bad = |message: String| HttpAnswer::problem(400, "BadRequest", &message);
    let read = StartRequest::read(body, hosts).map_err(|invalid| bad(invalid.to_string()))?;
    let key = request.header("idempotency-key").map(|key| StartKey::read(&key)).transpose();
    Ok((read, key.map_err(|invalid| bad(invalid.to_string()))?))
}

fn not_started(error: StartError) -> HttpAnswer {
    match error {
        StartError::Refused(refused) => {
            let (status, code) = match &refused {
                StartRefused::NoSuchRule(..) => (400, "NoSuchRule"),
                StartRefused::NotAccepted { .. } => (400, "NotAccepted"),
                StartRefused::NotDeclared { .. } => (400, "NotDeclared"),
                StartRefused::WhichAccount(..) => (400, "WhichAccount"),
                StartRefused::NoKey => (400, "NoKey"),
                StartRefused::NoBlob(_) => (404, "NoBlob"),
                StartRefused::Other { .. } => (409, "Other"),
                StartRefused::Forgotten(_) => (410, "Forgotten"),
                StartRefused::OtherRequest => (422, "OtherRequest"),
            };
            HttpAnswer::problem(status, code, &refused.to_string())
        }
        StartError::NotYet(_) => HttpAnswer::problem(409, "NotYet", &error.to_string()).with("Retry-After", NOT_YET),
        StartError::NotLooked(_) | StartError::App(_) => {
            let why = error_chain(&error);
            tracing::warn!(error = why, "a start was not taken: {why}");
            HttpAnswer::problem(503, "NotTaken", &why).with("Retry-After", NOT_YET)
        }
    }
}

async fn status(app: &app::App, request: &HttpRequest, id: &str) -> HttpAnswer {
    let Some(id) = ScoringId::read(id) else {
        return HttpAnswer::problem(404, "NoSuchScoring", "an id has 32 lower-case hexadecimal digits");
    };
    match instance::fails_by_status(request) {
        Ok(fail_flag) => instance::of(app.ledger(), &id, fail_flag).await.unwrap_or_else(|error| error),
        Err(refused) => refused,
    }
}
