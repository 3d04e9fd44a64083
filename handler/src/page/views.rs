//! The HTML of the page. Names of blobs and texts of services are anybody's: maud escapes each.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use lifecycle::Status;
use lifecycle::redact::redacted;
use maud::{DOCTYPE, Markup, html};
use time::OffsetDateTime;

use super::ROWS;
use app::reports::{Newest, PendingList, PendingView, ScoringDetail, ScoringView, StatusReport, shortened, utc_text};

use crate::cli::view::ago;

/// Uploads that wait for a look, on the first page: the rest is `scorekeeper list --pending`.
const PENDING: usize = 20;

/// What the first page shows.
pub(super) struct Index<'a> {
    /// Statuses that the rows are limited to; none: all.
    pub(super) filter: &'a [Status],
    /// How the ledger stands: counts, what needs attention, what holds something back.
    pub(super) report: StatusReport,
    /// What waits for a look at the storage; the first [`PENDING`] are shown, and each row that cannot be read.
    pub(super) pending: PendingList,
    /// The newest scorings that pass the filter, at most [`ROWS`].
    pub(super) rows: Newest,
    /// When it was read.
    pub(super) now: OffsetDateTime,
}

/// The first page: counts, what holds scorings back, the newest scorings.
pub(super) fn index(title: &str, index: &Index<'_>) -> Response {
    let Index { filter, report, pending, rows: Newest { scorings: rows, unreadable, .. }, now } = index;
    let StatusReport { counts, findings, limits, .. } = report;
    let body = html! {
        nav {
            a href="/" class=[filter.is_empty().then_some("on")] { "all" }
            @for (status, count) in counts {
                a href={ "/?status=" (status.name()) } class=[filter.contains(status).then_some("on")] title=(status.sentence()) {
                    (status.name()) " " b { (count) }
                }
            }
        }
        @for finding in findings {
            p { span.s.failed { "needs attention" } " " (finding.reason) @if let Some(since) = finding.since { ", since " (utc_text(since)) " UTC" } br; small { (finding.next) } }
        }
        @for view in limits.iter().filter(|view| view.matters()) {
            p title=[view.reason.as_deref()] { small { (view.kind) " " } (view.name) ": " (view.summary()) }
        }
        @for row in unreadable.iter().chain(&pending.unreadable) {
            p { span.s.failed { (row.status) } " " (row.error) }
        }
        (waiting(&pending.waiting, *now))
        @if rows.is_empty() {
            p { @if filter.is_empty() { "No scoring yet. Upload a blob to a watched place." } @else { "No scoring matches. " a href="/" { "Show all" } } }
        } @else {
            table {
                thead { tr { th { "status" } th { "blob" } th { "rule" } th { "age" } th { "job" } th { "attempt" } th { "output" } th { "note" } } }
                tbody { @for row in rows { (line(row, *now)) } }
            }
            @if rows.len() == ROWS { p { "The newest " (ROWS) " are shown." } }
        }
        p.foot { "final states of the last 24 h are counted · " (utc_text(*now)) " UTC · refreshes every 3 s" }
    };
    page(title, true, &body)
}

/// Uploads that are no scorings yet.
fn waiting(pending: &[PendingView], now: OffsetDateTime) -> Markup {
    html! {
        @if !pending.is_empty() {
            table {
                thead { tr { th { "waits for a look" } th { "rule" } th { "age" } th { "reason" } } }
                tbody {
                    @for row in pending.iter().take(PENDING) {
                        tr {
                            td title=(row.url) { (shortened(&row.url, 80)) }
                            td { (row.rule.as_deref().unwrap_or("–")) }
                            td title={ (utc_text(row.since)) " UTC" } { (ago(row.since, now)) }
                            td { (row.reason) }
                        }
                    }
                }
            }
            @if pending.len() > PENDING { p { "The oldest " (PENDING) " of " (pending.len()) " are shown." } }
        }
    }
}

fn line(row: &ScoringView, now: OffsetDateTime) -> Markup {
    html! {
        tr {
            td { span class={ "s " (row.status) } { (row.status) } }
            td { a href={ "/scorings/" (row.id) } title=(row.blob_url) { (shortened(&row.path, 60)) } }
            td { (row.rule) }
            td title={ (utc_text(row.created_time)) " UTC" } { (ago(row.created_time, now)) }
            td { (job(row)) }
            td.n { (row.attempt) }
            td title=[row.all_outputs()] { @if let Some(bytes) = row.output_bytes { (bytes) " bytes" } @else { "–" } }
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

/// The page of one scoring with its history.
pub(super) fn detail(title: &str, detail: &ScoringDetail) -> Response {
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
            @if let Some(uris) = s.all_outputs() { dt { "output" } dd { code { (uris) } @if let Some(bytes) = s.output_bytes { " · " (bytes) " bytes" } } }
            @if let Some(published) = s.all_publications() { dt { "published" } dd { code { (published) } } }
            @if let Some(id) = &s.replaced_by { dt { "replaced by" } dd { a href={ "/scorings/" (id) } { code { (id) } } } }
            @if let Some(id) = &s.in_place_of { dt { "in place of" } dd { a href={ "/scorings/" (id) } { code { (id) } } } }
            @if let Some(text) = &detail.waits { dt { "waits" } dd { (text) } }
            @if let Some(text) = &s.last_error { dt { "last error" } dd { (text) } }
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
                        td { (entry.reason) @if let Some(id) = &entry.request_id { small { " request " (id) } } }
                    }
                }
                @for row in &detail.unreadable {
                    tr { td {} td {} td { span.s.failed { (row.status) } } td { (row.error) } }
                }
            }
        }
    };
    page(title, !s.status.parse::<Status>().is_ok_and(Status::is_terminal), &body)
}

/// The page of a request that has no answer.
pub(super) fn problem(why: &str) -> Response {
    page("Scorekeeper", false, &html! { p { (why) } p { a href="/" { "all scorings" } } })
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
    // The views have redacted what they show; this is the last net.
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
