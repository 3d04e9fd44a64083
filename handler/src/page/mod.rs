//! The status page and its JSON: read-only, no script, no cookie, strict about what a browser may load.

use std::str::FromStr;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use lifecycle::redact::redacted;
use lifecycle::{ScoringId, Status};
use serde::{Deserialize, Serialize};

use app::error_chain;
use app::ledger::{self, Ledger};
use app::ports::Clock;
use app::reports::{self, Found};

use crate::config::WhichLedger;

mod views;

/// Scorings on one page.
const ROWS: usize = 200;

#[derive(Clone)]
struct Ops {
    ledger: Ledger,
    clock: Clock,
    title: String,
    which: WhichLedger,
}

/// The page's routes: `/`, `/scorings/{id}`, `/api/scorings`, `/api/scorings/{id}`, `/api/pending`,
/// `/api/limits`, `/api/breakers`. `title` says whose ledger it is, `which` how commands find it.
pub fn router(ledger: Ledger, clock: Clock, title: impl Into<String>, which: WhichLedger) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/scorings/{id}", get(detail))
        .route("/api/scorings", get(list_json))
        .route("/api/scorings/{id}", get(detail_json))
        .route("/api/pending", get(pending_json))
        .route("/api/limits", get(limits_json))
        .route("/api/breakers", get(breakers_json))
        .fallback(async || problem(StatusCode::NOT_FOUND, "there is no such page"))
        .with_state(Ops { ledger, clock, title: title.into(), which })
}

/// The filter, in the URL so that a view can be bookmarked.
#[derive(Debug, Default, Deserialize)]
struct Filter {
    status: Option<String>,
    rule: Option<String>,
}

impl Filter {
    fn args(&self) -> Result<reports::Filter, <Status as FromStr>::Err> {
        let status = match self.status.as_deref().filter(|word| !word.is_empty()) {
            Some(word) => vec![word.parse::<Status>()?],
            None => Vec::new(),
        };
        let rule = self.rule.clone().filter(|id| !id.is_empty());
        Ok(reports::Filter { status, rule, limit: ROWS, ..reports::Filter::default() })
    }
}

async fn index(State(ops): State<Ops>, Query(filter): Query<Filter>) -> Response {
    let args = match filter.args() {
        Ok(args) => args,
        Err(why) => return problem(StatusCode::BAD_REQUEST, &why.to_string()),
    };
    let now = (ops.clock)();
    let read = async {
        let mut report = reports::status(&ops.ledger, now, None).await?;
        report.findings.iter_mut().for_each(|finding| finding.next = ops.which.named_in(&finding.next));
        let rows = reports::newest(&ops.ledger, &args, || ()).await?;
        let pending = reports::pending(&ops.ledger).await?;
        Ok::<_, ledger::Error>((report, rows, pending))
    };
    let (report, rows, pending) = match read.await {
        Ok(read) => read,
        Err(error) => return unreadable(&error),
    };
    views::index(&ops.title, &views::Index { filter: &args.status, report, pending, rows, now })
}

async fn scoring_detail(ops: &Ops, id: &str) -> Result<Found, Response> {
    let Some(id) = ScoringId::read(id) else {
        return Err(problem(StatusCode::NOT_FOUND, "an id has 32 hexadecimal digits"));
    };
    match reports::detail_of(&ops.ledger, &id).await {
        Ok(Some(detail)) => Ok(detail),
        Ok(None) => Err(problem(StatusCode::NOT_FOUND, "there is no such scoring; it may be older than the retention")),
        Err(error) => Err(unreadable(&error)),
    }
}

async fn detail(State(ops): State<Ops>, Path(id): Path<String>) -> Response {
    match scoring_detail(&ops, &id).await {
        Ok(Found::Scoring(detail)) => views::detail(&ops.title, &detail),
        Ok(Found::Unreadable(row)) => problem(StatusCode::INTERNAL_SERVER_ERROR, &row.error),
        Err(response) => response,
    }
}

async fn list_json(State(ops): State<Ops>, Query(filter): Query<Filter>) -> Response {
    let args = match filter.args() {
        Ok(args) => args,
        Err(why) => return problem(StatusCode::BAD_REQUEST, &why.to_string()),
    };
    match reports::newest(&ops.ledger, &args, || ()).await {
        Ok(rows) => json(&rows),
        Err(error) => unreadable(&error),
    }
}

async fn detail_json(State(ops): State<Ops>, Path(id): Path<String>) -> Response {
    match scoring_detail(&ops, &id).await {
        Ok(Found::Scoring(detail)) => json(&detail),
        Ok(Found::Unreadable(row)) => json(&row),
        Err(response) => response,
    }
}

async fn pending_json(State(ops): State<Ops>) -> Response {
    match reports::pending(&ops.ledger).await {
        Ok(pending) => json(&pending),
        Err(error) => unreadable(&error),
    }
}

async fn limits_json(State(ops): State<Ops>) -> Response {
    match ops.ledger.readable_controls().await {
        Ok((controls, _)) => json(&reports::limits(&controls)),
        Err(error) => unreadable(&error),
    }
}

async fn breakers_json(State(ops): State<Ops>) -> Response {
    match ops.ledger.readable_controls().await {
        Ok((controls, _)) => json(&reports::breakers(&controls)),
        Err(error) => unreadable(&error),
    }
}

/// JSON without secrets, whatever the reports have let through.
fn json(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => {
            let json = HeaderValue::from_static("application/json");
            ([(header::CONTENT_TYPE, json)], redacted(&text).into_owned()).into_response()
        }
        Err(why) => problem(StatusCode::INTERNAL_SERVER_ERROR, &format!("this cannot be shown as JSON: {why}")),
    }
}

fn unreadable(error: &ledger::Error) -> Response {
    problem(StatusCode::SERVICE_UNAVAILABLE, &error_chain(error))
}

fn problem(status: StatusCode, why: &str) -> Response {
    let mut response = views::problem(why);
    *response.status_mut() = status;
    response
}
