//! The first page: is it fine, how many are where, what holds something back, and the scorings that are searched for.

use app::reports::{
    BreakerView, Finding, LimitView, Newest, PendingList, PendingView, PhaseTime, ScoringView, StatusReport, shortened,
    utc_text,
};
use axum::response::Response;
use maud::{Markup, html};
use time::OffsetDateTime;
use url::form_urlencoded;

use super::day::{coverage, day};
use super::{Frame, page, status, wide};
use crate::cli::view::ago;
use crate::page::orders::OF_SCORINGS;
use crate::page::search::{NAMES, Search};

/// Uploads that wait for a look: the rest is `scorekeeper list --pending`.
const PENDING: usize = 20;

/// Searches that are often made; a browser keeps further ones for whoever looks.
const VIEWS: [(&str, &str); 4] = [
    ("failed today", "status:failed since:24h"),
    ("unconfirmed", "status:unknown status:held"),
    ("waiting", "status:queued"),
    ("scored today", "status:scored since:24h"),
];

/// What the first page shows.
pub(in crate::page) struct Index<'a> {
    /// What is searched for, which the list is of.
    pub(in crate::page) search: &'a Search,
    /// How the ledger stands: counts, what needs attention, what holds something back.
    pub(in crate::page) report: StatusReport,
    /// What waits for a look at the storage; the first [`PENDING`] are shown, and each row that cannot be read.
    pub(in crate::page) pending: PendingList,
    /// How long phases took of the scorings that were scored last.
    pub(in crate::page) phases: Vec<PhaseTime>,
    /// One page of the scorings that are searched for.
    pub(in crate::page) rows: Newest,
    /// Whether it is not the first page of them.
    pub(in crate::page) further: bool,
    /// When the ledger was read, which ages are reckoned from.
    pub(in crate::page) now: OffsetDateTime,
}

/// An address of this page with these parameters.
fn address(parameters: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters);
    format!("./?{}", query.finish())
}

/// The first page: what needs attention, counts, the last day and the list.
pub(in crate::page) fn index(frame: &Frame<'_>, index: &Index<'_>) -> Response {
    let Index { search, report, pending, phases, rows, now, .. } = index;
    let body = html! {
        div id="attention" data-live {
            @if report.findings.is_empty() {
                p.fine { "Nothing needs attention." }
            } @else {
                h2 { "Needs attention" }
                ul.findings { @for finding in &report.findings { (attention(frame, finding)) } }
            }
        }
        nav id="counts" data-live aria-label="Scorings by status" {
            ul.counts {
                li { a href="./" aria-current=[search.is_of_all().then_some("page")] { "all" } }
                @for (word, count) in &report.counts {
                    @let name = word.name();
                    li {
                        a href=(address(&[("q", &format!("status:{name}"))])) title=(word.sentence())
                            aria-current=[search.is_of_status(name).then_some("page")] { (name) " " b { (count) } }
                    }
                }
            }
        }
        div id="day" data-live { (day(report, phases, *now)) }
        div id="pending" data-live { (waiting(&pending.waiting, *now)) }
        form.search method="get" action="./" role="search" {
            label for="q" { "Search" }
            input id="q" type="search" name="q" value=(search.text) placeholder="status:failed rule:claims since:24h container/path";
            button { "Search" }
        }
        nav.views aria-label="Views" data-views {
            @for (name, view) in VIEWS { a href=(address(&[("q", view)])) aria-current=[(search.text == view).then_some("page")] { (name) } " " }
        }
        @let list = html! {
            div id="scorings" data-live {
                @for row in rows.unreadable.iter().chain(&pending.unreadable) {
                    p { (status(row.status)) " " (row.error) }
                }
                (listed(frame, index))
            }
        };
        @if let Some(token) = frame.token {
            form method="post" action="orders" {
                (list)
                input type="hidden" name="token" value=(token);
                input type="hidden" name="q" value=(search.text);
                (orders(search))
            }
        } @else { (list) }
        div id="limits" data-live { (limits(frame, report)) }
        div id="coverage" data-live { (coverage(&report.coverage, &report.sweeps, *now)) }
        p.foot { "Final states of the last 24 hours are counted. " (utc_text(*now)) " UTC. The same: " code { (search.command()) } }
    };
    page(frame, true, &body)
}

fn attention(frame: &Frame<'_>, finding: &Finding) -> Markup {
    html! {
        li {
            (finding.reason)
            ", " (finding.since_text())
            br;
            small { (finding.next) }
            @if let Some(id) = &finding.id {
                " " a href=(address(&[("q", &format!("finding:{id}"))])) { "Show them" }
                @if let Some(token) = frame.token {
                    form method="post" action="orders" {
                        input type="hidden" name="token" value=(token);
                        input type="hidden" name="all" value="1";
                        input type="hidden" name="q" value={ "finding:" (id) };
                        @for verb in &finding.orders { " " button name="verb" value=(verb) { (verb) } }
                    }
                }
            }
        }
    }
}

/// Each rule and endpoint with what holds it back, and what changes that.
fn limits(frame: &Frame<'_>, report: &StatusReport) -> Markup {
    let table = html! {
        table {
            caption { "Rules and endpoints" }
            thead { tr {
                th scope="col" { "which" } th scope="col" { "in flight" } th scope="col" { "circuit breaker" }
                @if frame.token.is_some() { th scope="col" { "change" } }
            } }
            tbody {
                @for view in &report.limits {
                    tr {
                        td.name { (view.kind) " " (view.name) }
                        td.name title=[view.reason.as_deref()] { (view.summary()) }
                        td.name { (breakers(frame, report, view)) }
                        @if let Some(token) = frame.token { td { (limit_form(token, view)) } }
                    }
                }
            }
        }
    };
    html! { @if !report.limits.is_empty() { (wide("Rules and endpoints", &table)) } }
}

/// The circuit breakers of a rule, or of the deployments of an endpoint.
fn breakers(frame: &Frame<'_>, report: &StatusReport, view: &LimitView) -> Markup {
    let name = Some(view.name.as_str());
    let of = |it: &&BreakerView| {
        if view.kind == "rule" { it.rule.as_deref() == name } else { it.endpoint.as_deref() == name }
    };
    let all: Vec<&BreakerView> = report.breakers.iter().filter(of).collect();
    html! {
        @if all.is_empty() { "closed" }
        @for breaker in all {
            @let class = if breaker.is_open() { "wrong" } else { "" };
            div class=(class) {
                @if let Some(deployment) = &breaker.deployment { (deployment) ": " }
                (breaker.summary()) " "
                @if let Some(token) = frame.token.filter(|_| breaker.is_open()) { (close_form(token, breaker)) }
            }
        }
    }
}

fn close_form(token: &str, view: &BreakerView) -> Markup {
    html! {
        form.orders method="post" action="orders" {
            input type="hidden" name="token" value=(token);
            @for (name, value) in [("rule", &view.rule), ("endpoint", &view.endpoint), ("deployment", &view.deployment)] {
                @if let Some(value) = value { input type="hidden" name=(name) value=(value); }
            }
            button name="verb" value="close" { "close" }
        }
    }
}

fn limit_form(token: &str, view: &LimitView) -> Markup {
    html! {
        form.orders method="post" action="orders" {
            input type="hidden" name="token" value=(token);
            input type="hidden" name=(view.kind) value=(view.name);
            @if view.limit == Some(0) {
                button name="verb" value="resume" { "resume" }
            } @else {
                button name="verb" value="pause" { "pause" }
            }
            input type="number" name="limit" min="0" max="100000" aria-label={ "New limit of " (view.name) };
            button name="verb" value="limit" { "set" }
        }
    }
}

/// Uploads that are no scorings yet.
fn waiting(pending: &[PendingView], now: OffsetDateTime) -> Markup {
    html! {
        @if !pending.is_empty() {
            div.wide role="region" aria-label="Uploads that wait" tabindex="0" { table {
                caption { "Uploads that wait for a look at the storage" }
                thead { tr { th scope="col" { "blob" } th scope="col" { "rule" } th scope="col" { "age" } th scope="col" { "reason" } } }
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
            } }
            @if pending.len() > PENDING { p { "The oldest " (PENDING) " of " (pending.len()) " are shown." } }
        }
    }
}

fn listed(frame: &Frame<'_>, index: &Index<'_>) -> Markup {
    let Index { search, rows, further, now, .. } = index;
    html! {
        @if let Some(at) = rows.looked_back_to {
            p { "Looked back to " (utc_text(at)) " UTC; what is older is further." }
        } @else if !rows.several_groups.is_empty() {
            p { "Several groups begin so; name one of them: "
                @for group in &rows.several_groups { a href=(address(&[("q", &format!("group:{}", group.id))])) { code { (group.id) } } " " } }
        } @else if rows.scorings.is_empty() {
            @if !search.is_of_all() || *further {
                p { "No scoring matches " code { (search.text) } ". " a href="./" { "Show all" } }
                p { "Words narrow a search together: " (NAMES.join(", ")) ", each with a colon and a value, and one that is the beginning of a container and path. "
                    code { "since:7d" } " reaches further back than a day; what is older than the retention is gone." }
            } @else {
                p { "No scoring yet. Upload a blob to a watched container; " code { "scorekeeper doctor" } " says whether its event would arrive, "
                    code { "scorekeeper rules test URL" } " whether a rule wants it." }
            }
        }
        @if !rows.scorings.is_empty() {
            div.wide role="region" aria-label="Scorings" tabindex="0" { table.listed {
                caption { @if search.is_of_all() { "Scorings, the newest first" } @else { "Scorings that match" } }
                thead { tr {
                    @if frame.token.is_some() { th { button type="button" data-all hidden { "all" } } }
                    th scope="col" { "status" } th scope="col" { "blob" } th scope="col" { "rule" } th scope="col" { "age" } th scope="col" { "job" }
                    th scope="col" { "attempt" } th scope="col" { "output" } th scope="col" { "note" }
                } }
                tbody { @for row in &rows.scorings { (line(frame, row, *now)) } }
            } }
        }
        p {
            @if *further { a href=(address(&[("q", &search.text)])) { "Newest" } " " }
            @if let Some(next) = &rows.next {
                a rel="next" href=(address(&[("q", &search.text), ("after", next.as_str())])) { "Further" }
            }
        }
    }
}

fn line(frame: &Frame<'_>, row: &ScoringView, now: OffsetDateTime) -> Markup {
    html! {
        tr {
            @if frame.token.is_some() { td { input type="checkbox" name="id" value=(row.id) aria-label={ "Select " (row.path) }; } }
            td { (status(row.status)) }
            td.name { a href={ "scorings/" (row.id) } title=(row.blob_url) { (shortened(&row.name(), 60)) } }
            td.name { (row.rule) }
            td.short title={ (utc_text(row.created_time)) " UTC" } { (ago(row.created_time, now)) }
            td { (job(row)) }
            td.number { (row.attempt) }
            td title=[row.all_outputs()] { @if let Some(bytes) = row.output_bytes { (bytes) " bytes" } @else { "–" } }
            td { (shortened(row.last_error.as_deref().or(row.error.as_deref()).unwrap_or(""), 80)) }
        }
    }
}

pub(super) fn job(row: &ScoringView) -> Markup {
    let Some(name) = &row.job else { return html! { "–" } };
    let text = html! { (shortened(name, 20)) " " small { (row.job_status.as_deref().unwrap_or("")) } };
    match row.studio.as_deref().filter(|link| link.starts_with("https://")) {
        Some(link) => html! { a href=(link) rel="noreferrer" { (text) } },
        None => text,
    }
}

/// What can be ordered of the ticked scorings, or of all that match.
fn orders(search: &Search) -> Markup {
    html! {
        fieldset.orders {
            legend { "Order of the ticked ones" }
            @if !search.is_of_all() && search.finding().is_none() {
                label { input type="checkbox" name="all" value="1"; " of all that match, on further pages too" }
            }
            @for offered in OF_SCORINGS { button name="verb" value=(offered.word) title=(offered.what) { (offered.word) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use lifecycle::Status;

    use super::*;

    #[test]
    fn an_address_holds_whatever_is_searched_for() {
        assert_eq!(address(&[("q", "status:failed a&b"), ("after", "x=1")]), "./?q=status%3Afailed+a%26b&after=x%3D1");
    }

    #[test]
    fn each_status_has_a_search_of_its_own() {
        for status in Status::ALL {
            let search = Search::read(&format!("status:{}", status.name())).unwrap();
            assert!(search.is_of_status(status.name()) && search.filter(None, 1, OffsetDateTime::UNIX_EPOCH).is_ok());
        }
    }
}
