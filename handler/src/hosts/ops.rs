//! The status page and its JSON: read-only, no script, no cookie, strict about what a browser may load.

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use lifecycle::redact::redacted;
use lifecycle::{ScoringId, Status};
use maud::{DOCTYPE, Markup, html};
use serde::{Deserialize, Serialize};
use time::Duration;

use super::cli::{ListArgs, newest};
use super::view::{ScoringDetail, ScoringView, ago, shortened, utc_text};
use super::{breakers, limits};
use app::error_chain;
use app::ledger::{self, Ledger, count_by_status};
use app::ports::Clock;

/// Scorings on one page.
const ROWS: usize = 200;

#[derive(Clone)]
struct Ops {
    ledger: Ledger,
    clock: Clock,
    title: String,
}

/// The page's routes: `/`, `/scorings/{id}`, `/api/scorings`, `/api/scorings/{id}`, `/api/limits`,
/// `/api/breakers`. `title` says whose ledger it is.
pub fn router(ledger: Ledger, clock: Clock, title: impl Into<String>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/scorings/{id}", get(detail))
        .route("/api/scorings", get(list_json))
        .route("/api/scorings/{id}", get(detail_json))
        .route("/api/limits", get(limits_json))
        .route("/api/breakers", get(breakers_json))
        .fallback(async || problem(StatusCode::NOT_FOUND, "there is no such page"))
        .with_state(Ops { ledger, clock, title: title.into() })
}

/// The filter, in the URL so that a view can be bookmarked.
#[derive(Debug, Default, Deserialize)]
struct Filter {
    status: Option<String>,
    rule: Option<String>,
}

impl Filter {
    fn args(&self) -> Result<ListArgs, String> {
        let status = match self.status.as_deref().filter(|word| !word.is_empty()) {
            Some(word) => vec![word.parse::<Status>()?],
            None => Vec::new(),
        };
        Ok(ListArgs { status, rule: self.rule.clone().filter(|id| !id.is_empty()), limit: ROWS, json: false })
    }
}

async fn index(State(ops): State<Ops>, Query(filter): Query<Filter>) -> Response {
    let args = match filter.args() {
        Ok(args) => args,
        Err(why) => return problem(StatusCode::BAD_REQUEST, &why),
    };
    let now = (ops.clock)();
    let read = async {
        let in_flight = ops.ledger.in_flight().await?;
        let ended = ops.ledger.ended_since(now - Duration::days(1)).await?;
        let rows = newest(&ops.ledger, &args).await?;
        let controls = ops.ledger.controls().await?;
        Ok::<_, ledger::Error>((in_flight, ended, rows, controls))
    };
    let (in_flight, ended, rows, controls) = match read.await {
        Ok(read) => read,
        Err(error) => return unreadable(&error),
    };
    let counts = count_by_status(in_flight.iter().map(|r| r.status).chain(ended.iter().map(|r| r.status)));
    let body = html! {
        nav {
            a href="/" class=[args.status.is_empty().then_some("on")] { "all" }
            @for (status, count) in &counts {
                a href={ "/?status=" (status.name()) } class=[args.status.contains(status).then_some("on")] title=(status.sentence()) {
                    (status.name()) " " b { (count) }
                }
            }
        }
        @for view in breakers::views(&controls).iter().filter(|view| view.is_open()) {
            p { span.s.failed { "breaker" } " " (view.subject()) ": " (view.summary()) br; small { (view.remedy()) } }
        }
        @for view in limits::views(&controls).iter().filter(|view| view.matters()) {
            p title=[view.reason.as_deref()] { small { (view.kind) " " } (view.name) ": " (view.summary()) }
        }
        @if rows.is_empty() {
            p { @if args.status.is_empty() { "No scoring yet. Upload a blob to a watched place." } @else { "No scoring matches. " a href="/" { "Show all" } } }
        } @else {
            table {
                thead { tr { th { "status" } th { "blob" } th { "rule" } th { "age" } th { "job" } th { "attempt" } th { "output" } th { "note" } } }
                tbody { @for row in &rows { (line(row, now)) } }
            }
            @if rows.len() == ROWS { p { "The newest " (ROWS) " are shown." } }
        }
        p.foot { "final states of the last 24 h are counted · " (utc_text(now)) " UTC · refreshes every 3 s" }
    };
    page(&ops.title, true, &body)
}

fn line(row: &ScoringView, now: time::OffsetDateTime) -> Markup {
    html! {
        tr {
            td { span class={ "s " (row.status) } { (row.status) } }
            td { a href={ "/scorings/" (row.id) } title=(row.blob_url) { (shortened(&row.path, 60)) } }
            td { (row.rule) }
            td title={ (utc_text(row.created_time)) " UTC" } { (ago(row.created_time, now)) }
            td { (job(row)) }
            td.n { (row.attempt) }
            td title=[row.output_uri.as_deref()] { @if let Some(bytes) = row.output_bytes { (bytes) " bytes" } @else { "–" } }
            td { (shortened(row.last_error.as_deref().or(row.error.as_deref()).unwrap_or(""), 80)) }
        }
    }
}

fn job(row: &ScoringView) -> Markup {
    let Some(name) = &row.job else { return html! { "–" } };
    let text = html! { (shortened(name, 20)) " " small { (row.job_status.as_deref().unwrap_or("")) } };
    match row.studio.as_deref().filter(|link| link.starts_with("https://")) {
        Some(link) => html! { a href=(link) rel="noreferrer" { (text) } },
        None => text,
    }
}

async fn scoring_detail(ops: &Ops, id: &str) -> Result<ScoringDetail, Response> {
    let Some(id) = ScoringId::read(id) else {
        return Err(problem(StatusCode::NOT_FOUND, "an id has 32 hexadecimal digits"));
    };
    let read = async {
        let Some((scoring, _)) = ops.ledger.get(&id).await? else { return Ok(None) };
        let history = ops.ledger.entries(&id).await?;
        let waits = limits::waits_for(&ops.ledger.controls().await?, &scoring);
        Ok::<_, ledger::Error>(Some(ScoringDetail::new(scoring, waits, history)))
    };
    match read.await {
        Ok(Some(detail)) => Ok(detail),
        Ok(None) => Err(problem(StatusCode::NOT_FOUND, "there is no such scoring; it may be older than the retention")),
        Err(error) => Err(unreadable(&error)),
    }
}

async fn detail(State(ops): State<Ops>, Path(id): Path<String>) -> Response {
    let detail = match scoring_detail(&ops, &id).await {
        Ok(detail) => detail,
        Err(response) => return response,
    };
    let s = &detail.scoring;
    let sentence = s.status.parse::<Status>().map_or("", Status::sentence);
    let body = html! {
        p { a href="/" { "← all scorings" } }
        h2 { span class={ "s " (s.status) } { (s.status) } " " (s.path) }
        p { (sentence) }
        dl {
            dt { "id" } dd { code { (s.id) } }
            dt { "blob" } dd { code { (s.blob_url) } }
            dt { "etag" } dd { code { (s.etag) } }
            dt { "rule" } dd { (s.rule) }
            dt { "attempt" } dd { (s.attempt) }
            dt { "job" } dd { (job(s)) }
            @if let Some(uri) = &s.output_uri { dt { "output" } dd { code { (uri) } @if let Some(bytes) = s.output_bytes { " · " (bytes) " bytes" } } }
            @if let Some(text) = &detail.waits { dt { "waits" } dd { (text) } }
            @if let Some(text) = &s.last_error { dt { "lastError" } dd { (text) } }
            @if let Some(text) = &s.error { dt { "error" } dd { (text) } }
        }
        h3 { "history" }
        table {
            thead { tr { th { "UTC" } th { "from" } th { "to" } th { "reason" } } }
            tbody {
                @for entry in &detail.history {
                    tr {
                        td { (utc_text(entry.at)) }
                        td { (entry.from.map_or("", Status::name)) }
                        td { span class={ "s " (entry.to.name()) } { (entry.to.name()) } }
                        td { (entry.reason) }
                    }
                }
            }
        }
    };
    page(&ops.title, !s.status.parse::<Status>().is_ok_and(Status::is_terminal), &body)
}

async fn list_json(State(ops): State<Ops>, Query(filter): Query<Filter>) -> Response {
    let args = match filter.args() {
        Ok(args) => args,
        Err(why) => return problem(StatusCode::BAD_REQUEST, &why),
    };
    match newest(&ops.ledger, &args).await {
        Ok(rows) => json(&rows),
        Err(error) => unreadable(&error),
    }
}

async fn detail_json(State(ops): State<Ops>, Path(id): Path<String>) -> Response {
    match scoring_detail(&ops, &id).await {
        Ok(detail) => json(&detail),
        Err(response) => response,
    }
}

async fn limits_json(State(ops): State<Ops>) -> Response {
    match ops.ledger.controls().await {
        Ok(controls) => json(&limits::views(&controls)),
        Err(error) => unreadable(&error),
    }
}

async fn breakers_json(State(ops): State<Ops>) -> Response {
    match ops.ledger.controls().await {
        Ok(controls) => json(&breakers::views(&controls)),
        Err(error) => unreadable(&error),
    }
}

/// JSON without secrets, whatever the views have let through.
fn json(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => {
            let json = HeaderValue::from_static("application/json");
            ([(header::CONTENT_TYPE, json)], redacted(&text).into_owned()).into_response()
        }
        Err(why) => problem(StatusCode::INTERNAL_SERVER_ERROR, &format!("this can't be shown as JSON: {why}")),
    }
}

fn unreadable(error: &ledger::Error) -> Response {
    problem(StatusCode::SERVICE_UNAVAILABLE, &error_chain(error))
}

fn problem(status: StatusCode, why: &str) -> Response {
    let mut response = page("Scorekeeper", false, &html! { p { (why) } p { a href="/" { "all scorings" } } });
    *response.status_mut() = status;
    response
}

fn page(title: &str, refresh: bool, body: &Markup) -> Response {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                @if refresh { meta http-equiv="refresh" content="3"; }
                title { (title) }
                style { (maud::PreEscaped(STYLE)) }
            }
            body { header { h1 { a href="/" { (title) } } } main { (body) } }
        }
    };
    let mut headers = HeaderMap::new();
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, html);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let policy =
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    (headers, redacted(&markup.into_string()).into_owned()).into_response()
}

const STYLE: &str = "
:root{color-scheme:light dark;--line:#8884;--soft:#777}
body{font:14px/1.45 system-ui,sans-serif;margin:0 auto;max-width:80rem;padding:1rem}
h1{font-size:1.2rem;margin:.2rem 0 .8rem}h1 a{color:inherit;text-decoration:none}h2{font-size:1.1rem}h3{font-size:1rem}
nav{display:flex;flex-wrap:wrap;gap:.3rem;margin-bottom:1rem}
nav a{border:1px solid var(--line);border-radius:1rem;color:inherit;padding:.1rem .7rem;text-decoration:none}
nav a.on{background:#06c;border-color:#06c;color:#fff}
table{border-collapse:collapse;width:100%}th,td{border-bottom:1px solid var(--line);padding:.3rem .5rem;text-align:left;vertical-align:top}
th{color:var(--soft);font-weight:600}td.n{text-align:right}
dl{display:grid;gap:.2rem 1rem;grid-template-columns:max-content 1fr}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.s{background:#8883;border-radius:.3rem;padding:.05rem .4rem;white-space:nowrap}
.scored{background:#2a83}.failed,.unknown{background:#d334}.running,.verifying,.submitting{background:#06c3}
.foot,small{color:var(--soft)}
";
