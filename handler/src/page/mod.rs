//! The page: how a ledger stands, its scorings, and what an operator orders of them; and the same as JSON for scripts.
//!
//! It is drawn by the server and works without its script, which only reads it again. It keeps nothing: no cookie, no session. What is
//! ordered goes the way of the command line ([`orders`]), and must hold the token that only this page's forms have, beside a look at
//! who asks: the `guard` of servers on this machine, the sign-in of the function `Page`.

mod api;
mod detail;
mod live;
mod measured;
mod orders;
mod results;
mod search;
mod stays;
mod views;

use std::sync::Arc;

use app::error_chain;
use app::ledger::{self, Ledger};
use app::ports::Clock;
use app::reports::{self, Newest, ScoringLookup};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use azure_core::Uuid;
use lifecycle::ScoringId;
use serde::Deserialize;

use self::orders::{Form, InvalidOrder, PageOrder};
use self::search::Search;
use self::views::Frame;
use crate::cli::ledger_command::{Here, LedgerCommand};
use crate::cli::on_ledger::{LEDGER_UNAVAILABLE, OK};
use crate::cli::read_ledger_command;
use crate::config::{LedgerLocation, WhichLedger};

pub use self::live::Live;
pub use self::measured::Measured;
pub use self::results::{MAX_PREVIEW, ResultFile, Results, text_of};

/// Scorings that one page of the list shows.
const ROWS: usize = 100;
/// Pages of an index that somebody who looks waits for; a press goes on behind them.
const PAGES: usize = 1;

/// What a page shows, and to whom.
pub struct PageOptions {
    /// The ledger that is shown, and that orders are given on.
    pub ledger: Ledger,
    /// Where the ledger lies, for the commands that the page runs.
    pub place: LedgerLocation,
    /// Tells the time that ages and the last 24 hours are reckoned from, and that orders are given at.
    pub clock: Clock,
    /// Whose ledger it is, for people.
    pub title: String,
    /// The options that name this ledger in the commands which the page shows.
    pub which: WhichLedger,
    /// The name of whoever looks, for the history, if they may order anything; `None`: it is only shown.
    pub operator: Option<String>,
    /// What a form must hold to be believed: whoever lets a browser send another form does not know it.
    pub token: String,
    /// How whoever looks sees what changes.
    pub live: Live,
    /// How long phases took when that was measured last: one for all pages of a ledger.
    pub measured: Measured,
    /// Reads what outputs hold; `None`: that is not shown here.
    pub results: Option<Results>,
}

/// A token of this process alone, which one process is enough for.
pub fn new_token() -> String {
    Uuid::new_v4().to_string()
}

#[derive(Clone)]
struct Site {
    ledger: Ledger,
    place: Arc<LedgerLocation>,
    clock: Clock,
    title: Arc<str>,
    which: Arc<WhichLedger>,
    operator: Option<Arc<str>>,
    token: Arc<str>,
    live: Live,
    measured: Measured,
    results: Option<Results>,
}

/// The page's routes: `/`, `/scorings/{id}`, `/explain`, `/orders`, and below `/api/` the JSON.
pub fn router(options: PageOptions) -> Router {
    let PageOptions { ledger, place, clock, title, which, operator, token, live, measured, results } = options;
    let site = Site {
        ledger,
        place: Arc::new(place),
        clock,
        title: title.into(),
        which: Arc::new(which),
        operator: operator.map(Into::into),
        token: token.into(),
        live,
        measured,
        results,
    };
    Router::new()
        .route("/", get(index))
        .route("/scorings/{id}", get(detail::detail))
        .route("/scorings/{id}/results", get(detail::results))
        .route("/explain", get(explain))
        .route("/orders", post(order))
        .route("/page.css", get(async || asset("text/css; charset=utf-8", include_str!("assets/page.css"))))
        .route("/page.svg", get(async || asset("image/svg+xml", include_str!("assets/page.svg"))))
        .route("/page.js", get(async || asset("text/javascript; charset=utf-8", include_str!("assets/page.js"))))
        .route("/api/scorings", get(api::scorings))
        .route("/api/scorings/{id}", get(api::scoring))
        .route("/api/pending", get(api::pending))
        .route("/api/limits", get(api::limits))
        .route("/api/breakers", get(api::breakers))
        .fallback(async |State(site): State<Site>, uri: Uri| {
            let up = "../".repeat(uri.path().matches('/').count().saturating_sub(1));
            site.problem(&up, StatusCode::NOT_FOUND, "there is no such page")
        })
        .with_state(site)
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

/// What is asked for, as the address has it, so that a view can be bookmarked and sent to somebody.
#[derive(Debug, Default, Deserialize)]
struct Parameters {
    /// The search as it was typed; empty: all scorings.
    #[serde(default)]
    q: String,
    /// Behind which scoring of the list.
    after: Option<String>,
}

type Question = Query<Parameters>;

impl Site {
    fn frame<'a>(&'a self, up: &'a str) -> Frame<'a> {
        Frame { title: &self.title, up, token: self.operator.is_some().then_some(&*self.token), live: self.live }
    }

    /// Why there is no answer; `up` leads from the page to the first one.
    fn problem(&self, up: &str, status: StatusCode, why: &str) -> Response {
        let mut response = views::problem(&self.frame(up), why);
        *response.status_mut() = status;
        response
    }

    fn unreadable(&self, up: &str, error: &ledger::Error) -> Response {
        self.problem(up, StatusCode::SERVICE_UNAVAILABLE, &error_chain(error))
    }

    /// The page of scorings that is asked for, out of so many pages of an index.
    async fn rows(&self, up: &str, asked: &Parameters, pages: usize) -> Result<Newest, Response> {
        let wrong = |why: &dyn std::error::Error| self.problem(up, StatusCode::BAD_REQUEST, &why.to_string());
        let search = Search::read(&asked.q).map_err(|why| wrong(&why))?;
        let filter = search.filter(asked.after.as_deref(), ROWS, (self.clock)()).map_err(|why| wrong(&why))?;
        if let Some(finding) = search.finding() {
            return self.of_finding(finding).await.map_err(|error| self.unreadable(up, &error));
        }
        let rows = reports::newest_of_pages(&self.ledger, &filter, pages, || ()).await;
        rows.map_err(|error| self.unreadable(up, &error))
    }

    /// The scorings that a finding is about, as many as a page has.
    async fn of_finding(&self, finding: &str) -> Result<Newest, ledger::Error> {
        let report = reports::status(&self.ledger, (self.clock)(), None).await?;
        let mut found = Newest::default();
        let about = report.findings.into_iter().find(|it| it.id.as_deref() == Some(finding));
        for id in about.iter().flat_map(|it| &it.of).filter_map(|id| ScoringId::read(id)).take(ROWS) {
            match reports::detail_of_few(&self.ledger, &id, 0).await? {
                Some(ScoringLookup::Scoring(detail)) => found.scorings.push(detail.scoring),
                Some(ScoringLookup::Unreadable(row)) => found.unreadable.push(row),
                None => {}
            }
        }
        Ok(found)
    }

    /// A scoring; of a group so many members at most.
    async fn scoring(&self, up: &str, id: &str, members: usize) -> Result<ScoringLookup, Response> {
        let Some(id) = ScoringId::read(id) else {
            return Err(self.problem(up, StatusCode::NOT_FOUND, "an id has 32 hexadecimal digits"));
        };
        match reports::detail_of_few(&self.ledger, &id, members).await {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(self.problem(
                up,
                StatusCode::NOT_FOUND,
                "there is no such scoring; it may be older than the retention",
            )),
            Err(error) => Err(self.unreadable(up, &error)),
        }
    }

    /// Runs a command of the command line on the ledger: its exit code, and what it prints.
    async fn run(&self, command: LedgerCommand) -> (u8, String) {
        let site = self.clone();
        let run = move || {
            let here = Here {
                ledger: &site.ledger,
                place: &site.place,
                by: site.operator.as_deref().unwrap_or_default(),
                columns: None,
                clock: &site.clock,
            };
            let mut told = Vec::new();
            let code = match tokio::runtime::Handle::current().block_on(command.run(&here, &mut told)) {
                Ok(code) => code,
                Err(error) => {
                    told.extend_from_slice(error_chain(&error).as_bytes());
                    LEDGER_UNAVAILABLE
                }
            };
            (code, site.which.named_in(&String::from_utf8_lossy(&told)))
        };
        // What a command prints to cannot be sent between threads, and this page is asked by several.
        tokio::task::spawn_blocking(run).await.unwrap_or_else(|why| (LEDGER_UNAVAILABLE, why.to_string()))
    }
}

async fn index(State(site): State<Site>, headers: HeaderMap, asked: Question) -> Response {
    let asked = Arc::new(asked);
    site.live.answer(&headers, move || drawn_index(site.clone(), Arc::clone(&asked))).await
}

async fn drawn_index(site: Site, asked: Arc<Question>) -> Response {
    let now = (site.clock)();
    let read = async {
        let mut report = reports::status(&site.ledger, now, None).await?;
        report.findings.iter_mut().for_each(|finding| finding.next = site.which.named_in(&finding.next));
        let pending = reports::pending(&site.ledger).await?;
        let phases = site.measured.at(now, &site.ledger).await?;
        Ok::<_, ledger::Error>((report, pending, phases))
    };
    let (rows, read) = tokio::join!(site.rows("", &asked, PAGES), read);
    let rows = match rows {
        Ok(rows) => rows,
        Err(answer) => return answer,
    };
    let (report, pending, phases) = match read {
        Ok(read) => read,
        Err(error) => return site.unreadable("", &error),
    };
    let search = match Search::read(&asked.q) {
        Ok(search) => search,
        Err(why) => return site.problem("", StatusCode::BAD_REQUEST, &why.to_string()),
    };
    let further = asked.after.is_some();
    views::index(&site.frame(""), &views::Index { search: &search, report, pending, phases, rows, further, now })
}

/// Which blob is to be explained.
#[derive(Debug, Default, Deserialize)]
struct Explained {
    #[serde(default)]
    blob: String,
}

async fn explain(State(site): State<Site>, Query(asked): Query<Explained>) -> Response {
    let Ok(command) = read_ledger_command(&["explain", "--", &asked.blob]) else {
        return site.problem(
            "",
            StatusCode::BAD_REQUEST,
            "`blob` names nothing: give a blob's URL or path, or the id of a scoring",
        );
    };
    let (_, told) = site.run(command).await;
    let line = format!("scorekeeper explain {}", lifecycle::text::shell(&asked.blob));
    views::text(&site.frame(""), "Explained", &line, &told)
}

/// An order: asked for its reason first, then given.
async fn order(State(site): State<Site>, body: Bytes) -> Response {
    let form = Form::read(&body);
    if site.operator.is_none() {
        return site.problem("", StatusCode::FORBIDDEN, "this page only shows; nothing can be ordered here");
    }
    if form.get("token") != Some(&*site.token) {
        return site.problem(
            "",
            StatusCode::FORBIDDEN,
            "the form is not one of this page, or the page was started anew since: load it again",
        );
    }
    let frame = site.frame("");
    let wrong = |why: &InvalidOrder| site.problem("", StatusCode::BAD_REQUEST, &why.to_string());
    let order = match PageOrder::read(&form) {
        Ok(order) => order,
        Err(why) => return wrong(&why),
    };
    let reason = form.get("reason").unwrap_or_default().trim();
    let problem = match form.get("confirmed") {
        Some(_) if !reason.is_empty() => {
            let command = match order.command(reason) {
                Ok(command) => command,
                Err(why) => return wrong(&why),
            };
            let (code, told) = site.run(command).await;
            return views::done(&frame, &order.line(reason), &told, code == OK);
        }
        Some(_) => Some("Say why: nothing was changed."),
        None => None,
    };
    let trial = match order.trial() {
        Ok(Some(command)) => Some(site.run(command).await.1),
        Ok(None) => None,
        Err(why) => return wrong(&why),
    };
    // What the command line does not take is told before the reason is asked for.
    if let Err(why) = order.command("?") {
        return wrong(&why);
    }
    let (line, fields) = (order.line("…"), form.repeated().collect());
    views::asked(&frame, &views::OrderForm { line: &line, trial: trial.as_deref(), fields, problem })
}
