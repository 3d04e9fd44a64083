//! `Operations`: lists scorings, cancels them, tries them again. A function of its own, so that it has a key of its own: whoever may
//! start a scoring may not thereby end another's.

use std::sync::Arc;

use app::ledger::Place;
use app::{Refused, ResolveOutcome, error_chain, reports};
use lambda_runtime::{LambdaEvent, service_fn};
use lifecycle::{Order, ScoringId, Status, Verb};

use super::http::{HttpAnswer, HttpRequest};
use super::scorings::HttpAccess;
use super::{Failure, Function, instance};
use crate::rules_in_blob::CurrentApp;

/// Header of a list's next page, in the answer and in the request for it.
const CONTINUATION: &str = "x-ms-continuation-token";
/// Scorings of a page, unless the request says how many.
const PAGE: usize = 100;
/// Most scorings of a page that a request can ask for with `top`.
const MAX_PAGE: usize = 1_000;

/// Makes the function. `Err` only if there are no rules yet.
pub fn operations(app: impl Into<CurrentApp>, access: HttpAccess) -> impl Function<HttpRequest, Output = HttpAnswer> {
    let (app, access) = (app.into(), Arc::new(access));
    service_fn(move |LambdaEvent { payload, .. }: LambdaEvent<HttpRequest>| {
        let (app, access) = (app.clone(), Arc::clone(&access));
        async move {
            let by = match access.caller(&payload) {
                Ok(by) => by,
                Err(refused) => return Ok::<_, Failure>(refused),
            };
            let app = app.get(app.now()).await?;
            Ok(match (payload.method.to_ascii_uppercase().as_str(), &payload.segments()[..]) {
                ("GET", [_]) => list(&app, &payload).await,
                ("POST", [_, id, verb]) => order(&app, &payload, (id, verb), &by).await,
                (_, segments) => {
                    let allowed = if segments.len() == 1 { "GET" } else { "POST" };
                    let verbs = "GET /api/operations lists, POST /api/operations/ID/cancel and /retry order";
                    HttpAnswer::problem(405, "Verb", verbs).with("Allow", allowed)
                }
            })
        }
    })
}

async fn list(app: &app::App, request: &HttpRequest) -> HttpAnswer {
    if let Err(refused) = request.refuse_parameters_but(&["status", "rule", "top"]) {
        return refused;
    }
    let filter = match filter(request) {
        Ok(filter) => filter,
        Err(invalid) => return HttpAnswer::problem(400, "BadRequest", &invalid.to_string()),
    };
    let newest = match reports::newest(app.ledger(), &filter, || ()).await {
        Ok(newest) => newest,
        Err(error) => return instance::unreadable(&error),
    };
    let Ok(shown) = serde_json::to_value(&newest) else {
        return HttpAnswer::problem(500, "Unserializable", "the list cannot be shown as JSON");
    };
    let answer = HttpAnswer::json(200, &shown);
    match &newest.next {
        Some(place) => answer.with(CONTINUATION, place.as_str()),
        None => answer,
    }
}

/// What a list cannot be asked for.
#[derive(Debug, thiserror::Error)]
enum InvalidFilter {
    #[error("`status` takes statuses as `scorekeeper list` shows them")]
    Status,
    #[error("`top` takes a number from 1 to {MAX_PAGE}")]
    Top,
    #[error("`x-ms-continuation-token` is not one of ours")]
    Continuation,
}

fn filter(request: &HttpRequest) -> Result<reports::Filter, InvalidFilter> {
    let words = request.query("status").unwrap_or_default();
    let words = words.split(',').filter(|word| !word.is_empty()).map(str::parse::<Status>);
    let status = words.collect::<Result<_, _>>().map_err(|_| InvalidFilter::Status)?;
    let rule = request.query("rule").filter(|rule| !rule.is_empty()).map(std::borrow::Cow::into_owned);
    let top = request.query("top").map_or(Ok(PAGE), |top| top.parse());
    let limit = top.ok().filter(|top| (1..=MAX_PAGE).contains(top)).ok_or(InvalidFilter::Top)?;
    let after = request.header(CONTINUATION).filter(|token| !token.is_empty());
    let after = after.map(|token| Place::read(&token).ok_or(InvalidFilter::Continuation)).transpose()?;
    Ok(reports::Filter { status, rule, limit, after, ..reports::Filter::default() })
}

async fn order(app: &app::App, request: &HttpRequest, (id, verb): (&str, &str), by: &str) -> HttpAnswer {
    let Some(id) = ScoringId::read(id) else {
        return HttpAnswer::problem(404, "NoSuchScoring", "an id has 32 lower-case hexadecimal digits");
    };
    let verb = match verb.to_ascii_lowercase().as_str() {
        "cancel" => Verb::Cancel,
        "retry" => Verb::Retry,
        _ => return HttpAnswer::problem(404, "NoSuchOrder", "there are cancel and retry"),
    };
    if let Err(refused) = request.refuse_parameters_but(&["reason", "yes"]) {
        return refused;
    }
    let is_meant = match request.query("yes").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return HttpAnswer::problem(400, "BadRequest", "`yes` takes true or false"),
    };
    let reason = request.query("reason").filter(|reason| !reason.is_empty());
    let reason = reason.as_deref().unwrap_or("no reason was given").to_owned();
    let order = Order { verb, by: by.to_owned(), reason };
    if !is_meant && let Some(asked) = asked_of_group(app, &id, &order).await {
        return asked;
    }
    match app::order(app.ledger(), &id, &order, app.now()).await {
        Ok(ResolveOutcome::Recorded { .. }) => instance::started(&id, false),
        Ok(ResolveOutcome::Refused(Refused::NoSuchScoring(_))) => {
            HttpAnswer::problem(404, "NoSuchScoring", "there is no such scoring; it may be older than the retention")
        }
        Ok(ResolveOutcome::Refused(refused)) => unchanged(app, &id, verb, &refused).await,
        Err(error) => HttpAnswer::problem(503, "NotTaken", &error_chain(&error)).with("Retry-After", 30),
    }
}

/// Asks who orders something of a group, whether that is meant of all its members, as the command line does; `None`: it is none, or
/// does not take the order.
async fn asked_of_group(app: &app::App, id: &ScoringId, order: &Order) -> Option<HttpAnswer> {
    let scoring = match app.ledger().get(id).await {
        Ok(found) => found?.0,
        Err(error) => return Some(instance::unreadable(&error)),
    };
    let members = scoring.members_ordered(order.verb)?;
    if app::refusal(app.ledger(), &scoring, order, app.now()).is_some() {
        return None;
    }
    let verb = order.verb.command();
    let message = format!("it is a group of {members}: send it again with `yes=true` to {verb} all of them");
    Some(HttpAnswer::problem(409, "ManyScorings", &message))
}

/// What is asked for may be so already: the host repeats a request whose answer it has lost, and so does whoever asks.
async fn unchanged(app: &app::App, id: &ScoringId, verb: Verb, refused: &Refused) -> HttpAnswer {
    let status = match app.ledger().get(id).await {
        Ok(found) => found.map(|(scoring, _)| (scoring.status, scoring.stop_ordered)),
        Err(error) => return instance::unreadable(&error),
    };
    let is_so = match (verb, status) {
        (Verb::Cancel, Some((status, ordered))) => ordered || matches!(status, Status::Cancelling | Status::Cancelled),
        (Verb::Retry, Some((status, _))) => !status.is_terminal() && status != Status::Held,
        _ => false,
    };
    if is_so {
        return instance::started(id, false);
    }
    let gone = verb == Verb::Cancel && status.is_some_and(|(status, _)| status.is_terminal());
    HttpAnswer::problem(if gone { 410 } else { 409 }, "NotNow", &refused.to_string())
}
