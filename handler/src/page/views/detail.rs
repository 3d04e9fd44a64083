//! The page of one scoring: where it is, how it came there, what can be ordered of it.

use app::reports::{GroupView, ScoringDetail, duration_text, utc_text};
use axum::response::Response;
use lifecycle::Status;
use maud::{Markup, html};
use time::{Duration, OffsetDateTime};

use super::diagram::diagram;
use super::index::job;
use super::{Frame, page, status, wide};
use crate::page::orders::{OF_HELD, OF_SCORINGS};
use crate::page::stays::{Stay, moves, stays};

/// A scoring, and what of it can be ordered now.
pub(in crate::page) struct Detail<'a> {
    pub(in crate::page) found: &'a ScoringDetail,
    /// The orders that would change something.
    pub(in crate::page) orders: Vec<&'static str>,
    /// Its row in the ledger, as JSON.
    pub(in crate::page) row: &'a str,
    /// What its outputs hold can be shown.
    pub(in crate::page) has_results: bool,
    pub(in crate::page) now: OffsetDateTime,
}

/// The view of one scoring with its history.
pub(in crate::page) fn detail(frame: &Frame<'_>, detail: &Detail<'_>) -> Response {
    let Detail { found, row, has_results, now, .. } = detail;
    let s = &found.scoring;
    let known = s.status.parse::<Status>();
    let body = html! {
        p { a href={ (frame.up) "./" } { "All scorings" } " · " a href={ (frame.up) "explain?blob=" (s.id) } { "Explain it" }
            @if *has_results { " · " a href={ (frame.up) "scorings/" (s.id) "/results" } { "What it holds" } }
        }
        div id="scoring" data-live {
            h2 { (status(s.status)) " " (s.path) }
            p { (found.sentence) }
            @if let Some(text) = &found.waits { p { "It waits: " (text) } }
            (facts(frame, found))
            @if let Ok(known) = known { (wide("State diagram", &diagram(known, &moves(&found.history)))) }
            (bars(&stays(&found.history, *now)))
            @if let Some(group) = &found.of_group { (members(frame, group)) }
            (history(found))
        }
        @if let Some(token) = frame.token { (orders(frame, token, detail)) }
        details { summary { "Its row in the ledger" } pre tabindex="0" { (row) } }
    };
    page(frame, !known.is_ok_and(Status::is_terminal), &body)
}

fn facts(frame: &Frame<'_>, found: &ScoringDetail) -> Markup {
    let s = &found.scoring;
    html! {
        dl {
            dt { "id" } dd { code { (s.id) } }
            @if found.of_group.is_some() {
                dt { "folder" } dd { code { (s.blob_url) } }
            } @else {
                dt { "blob" } dd { code { (s.blob_url) } }
                dt { "etag" } dd { code { (s.etag) } }
            }
            dt { "rule" } dd { (s.rule) }
            dt { "accepted" } dd { (utc_text(s.created_time)) " UTC" }
            @if let Some(at) = s.completed_time { dt { "ended" } dd { (utc_text(at)) " UTC" } }
            dt { "attempt" } dd { (s.attempt) }
            dt { "job" } dd { (job(s)) }
            @if let Some(link) = s.studio.as_deref().filter(|link| link.starts_with("https://")) {
                dt { "logs" } dd { a href=(link) rel="noreferrer" { "outputs and logs in Azure ML studio" } }
            }
            @if let Some(uris) = s.all_outputs() { dt { "output" } dd { code { (uris) } @if let Some(bytes) = s.output_bytes { " · " (bytes) " bytes" } } }
            @if let Some(group) = &s.group {
                dt { "group" } dd { (scoring(frame, group)) @if let Some(job) = &found.group_job { " (" (job.told()) ")" } }
            }
            @if let Some(group) = &found.of_group {
                dt { "members" } dd { (group.told()) " · " a href={ (frame.up) "./?q=group:" (s.id) } { "List and order of them" } }
                @if let Some(whole) = &group.half_of { dt { "half of" } dd { (scoring(frame, whole)) } }
                @for half in &group.halves { dt { "half" } dd { (scoring(frame, half)) } }
            }
            @if let Some(published) = s.all_publications() { dt { "published" } dd { code { (published) } } }
            @for (what, id) in [("replaced by", &s.replaced_by), ("in place of", &s.in_place_of)] {
                @if let Some(id) = id { dt { (what) } dd { (scoring(frame, id)) } }
            }
            @if !s.orphaned_jobs.is_empty() { dt { "orphaned jobs" } dd { (s.orphaned_jobs.join(", ")) } }
            @if let Some(text) = &s.last_error { dt { "last error" } dd { (text) } }
            @if let Some(text) = &s.error { dt { "error" } dd { (text) @if let Some(cause) = s.failure_cause { " (" (cause) ")" } } }
            @if let Some(text) = &s.remedy { dt { "remedy" } dd { (text) } }
        }
    }
}

/// The id of another scoring, by which one comes to it.
fn scoring(frame: &Frame<'_>, id: &str) -> Markup {
    html! { a href={ (frame.up) "scorings/" (id) } { code { (id) } } }
}

/// Who shares a group's job.
fn members(frame: &Frame<'_>, group: &GroupView) -> Markup {
    let table = html! {
        table.stacked {
            caption { @if group.more > 0 { "The first " (group.group_members.len()) " members" } @else { "Members" } }
            thead { tr { th scope="col" { "scoring" } th scope="col" { "blob" } th scope="col" { "what became of it (in this group)" } } }
            tbody {
                @for member in &group.group_members {
                    tr {
                        td.name { (scoring(frame, &member.id)) }
                        td.name { (member.path.as_deref().unwrap_or_default()) }
                        td.name { (member.told()) }
                    }
                }
            }
        }
    };
    wide("Members", &table)
}

/// How long it was where, as bars.
fn bars(stays: &[Stay]) -> Markup {
    let longest = stays.iter().map(|stay| stay.took).max().unwrap_or(Duration::ZERO).max(Duration::SECOND);
    html! {
        @if !stays.is_empty() {
            table {
                caption { "How long it was where" }
                tbody {
                    @for Stay { status: word, took } in stays {
                        tr {
                            th scope="row" { (word.name()) }
                            td.number { (duration_text(*took)) }
                            td { svg width="100%" height="12" viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true" {
                                rect.bar x="0" y="1" height="10" width=(format!("{:.2}", (took.as_seconds_f64() / longest.as_seconds_f64() * 100.0).max(0.5))) {}
                            } }
                        }
                    }
                }
            }
        }
    }
}

fn history(found: &ScoringDetail) -> Markup {
    let table = html! {
        table.stacked {
            caption { "History" }
            thead { tr { th scope="col" { "UTC" } th scope="col" { "from" } th scope="col" { "to" } th scope="col" { "attempt" } th scope="col" { "reason" } } }
            tbody {
                @for entry in &found.history {
                    tr {
                        td.short { (utc_text(entry.at)) }
                        td.short { (entry.from.map_or("", Status::name)) }
                        td.short { (status(entry.to.name())) }
                        td.number { (entry.attempt) }
                        td.name { (entry.reason) @if let Some(id) = &entry.request_id { small { " request " (id) } } }
                    }
                }
                @for row in &found.unreadable {
                    tr { td {} td {} td { (status(row.status)) } td {} td { (row.error) } }
                }
            }
        }
    };
    wide("History", &table)
}

fn orders(frame: &Frame<'_>, token: &str, detail: &Detail<'_>) -> Markup {
    let s = &detail.found.scoring;
    html! {
        form method="post" action={ (frame.up) "orders" } {
            input type="hidden" name="token" value=(token);
            input type="hidden" name="id" value=(s.id);
            fieldset.orders {
                legend { "Order of it" }
                @for offered in OF_SCORINGS.iter().filter(|offered| detail.orders.contains(&offered.word)) {
                    button name="verb" value=(offered.word) title=(offered.what) { (offered.word) }
                }
                @if detail.orders.is_empty() && s.status != "held" { "Nothing would change it now." }
            }
            @if s.status == "held" {
                fieldset.orders {
                    legend { "Say what became of its submission" }
                    label for="job" { "Name of its job" }
                    input id="job" type="text" name="job";
                    @for (verb, what) in OF_HELD { button name="verb" value=(verb) title=(what) { (verb) } }
                }
            }
        }
    }
}
