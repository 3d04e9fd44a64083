//! The HTML of the page. Names of blobs and texts of services are anybody's: maud escapes each.
//!
//! Links are relative, so that the page may lie below any path; nothing is written into a page that a strict policy would not load.

mod day;
mod detail;
mod diagram;
mod index;
mod order;
mod results;

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use lifecycle::redact::redacted;
use maud::{DOCTYPE, Markup, html};

use super::live::Live;

pub(super) use detail::{Detail, detail};
pub(super) use index::{Index, index};
pub(super) use order::{OrderForm, asked, done, text};
pub(super) use results::results;

/// Who shows it, and who looks.
pub(super) struct Frame<'a> {
    /// Whose ledger it is, for people: heading and title of each view.
    pub(super) title: &'a str,
    /// From where the page is to its first one: empty, or `../` below it.
    pub(super) up: &'a str,
    /// What a form must hold to be believed; `None`: nobody may order anything here.
    pub(super) token: Option<&'a str>,
    /// How whoever looks sees what changes.
    pub(super) live: Live,
}

/// The page of a request that has no answer.
pub(super) fn problem(frame: &Frame<'_>, why: &str) -> Response {
    page(frame, false, &html! { p.wrong role="alert" { (why) } p { a href={ (frame.up) "./" } { "All scorings" } } })
}

/// Only what comes from here is loaded and run, and nothing is sent anywhere else.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
    base-uri 'none'; frame-ancestors 'none'";

fn page(frame: &Frame<'_>, refresh: bool, body: &Markup) -> Response {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                title { (frame.title) }
                link rel="icon" type="image/svg+xml" href={ (frame.up) "page.svg" };
                link rel="stylesheet" href={ (frame.up) "page.css" };
                script src={ (frame.up) "page.js" } defer {}
            }
            body data-refresh=[refresh.then_some(frame.live.refresh())] data-pushed[refresh && frame.live == Live::Pushed] {
                a.skip href="#main" { "To the content" }
                header {
                    h1 { a href={ (frame.up) "./" } { (frame.title) } }
                    @if refresh { button type="button" data-toggle hidden {} }
                }
                main id="main" { (body) }
            }
        }
    };
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // With `no-referrer` a browser says `Origin: null` of this page's own forms, as of anybody's.
        (header::REFERRER_POLICY, "same-origin"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // The views have redacted what they show; this is the last net.
    (headers, redacted(&markup.into_string()).into_owned()).into_response()
}

/// What may be wider than a phone: it is moved alone, with the keyboard too.
fn wide(what: &str, inside: &Markup) -> Markup {
    html! { div.wide role="region" aria-label=(what) tabindex="0" { (inside) } }
}

fn status(word: &str) -> Markup {
    html! { span class={ "status " (word) } { (word) } }
}
