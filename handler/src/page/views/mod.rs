//! The HTML of the page. Names of blobs and texts of services are anybody's: maud escapes each.
//!
//! Links are relative, so that the page may lie below any path; nothing is written into a page that a strict policy would not load.

mod detail;
mod diagram;
mod index;
mod order;

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use lifecycle::redact::redacted;
use maud::{DOCTYPE, Markup, html};

pub(super) use detail::{Detail, detail};
pub(super) use index::{Index, index};
pub(super) use order::{Asked, asked, done, text};

/// Who shows it, and who looks.
pub(super) struct Frame<'a> {
    /// Whose ledger it is.
    pub(super) title: &'a str,
    /// From where the page is to its first one: empty, or `../` below it.
    pub(super) up: &'a str,
    /// What a form must hold to be believed; `None`: nobody may order anything here.
    pub(super) token: Option<&'a str>,
}

/// Seconds between two looks of whoever has the page open.
const REFRESH: u32 = 3;

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
                link rel="stylesheet" href={ (frame.up) "page.css" };
                script src={ (frame.up) "page.js" } defer {}
            }
            body data-refresh=[refresh.then_some(REFRESH)] {
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
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // The views have redacted what they show; this is the last net.
    (headers, redacted(&markup.into_string()).into_owned()).into_response()
}

fn status(word: &str) -> Markup {
    html! { span class={ "status " (word) } { (word) } }
}
