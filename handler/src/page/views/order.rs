//! The pages of an order: what it would do and why it is given, and what came of it. And texts of the command line.

use axum::response::Response;
use maud::{Markup, html};

use super::{Frame, page};

/// An order before it is given.
pub(in crate::page) struct OrderForm<'a> {
    /// The command line that would give it, with `…` in place of the reason.
    pub(in crate::page) line: &'a str,
    /// What it would do, as the command tells it.
    pub(in crate::page) trial: Option<&'a str>,
    /// What the form before held.
    pub(in crate::page) fields: Vec<(&'a str, &'a str)>,
    /// Why it was not given, if somebody tried to.
    pub(in crate::page) problem: Option<&'a str>,
}

/// Asks for the reason, and whether it is meant.
pub(in crate::page) fn asked(frame: &Frame<'_>, asked: &OrderForm<'_>) -> Response {
    let verb = asked.fields.iter().find(|(name, _)| *name == "verb").map_or("", |(_, value)| value);
    let body: Markup = html! {
        h2 { "Confirm: " (verb) }
        @if let Some(trial) = asked.trial { pre { (trial) } }
        p { code { (asked.line) } }
        form method="post" action="orders" {
            input type="hidden" name="token" value=(frame.token.unwrap_or_default());
            input type="hidden" name="confirmed" value="1";
            @for (name, value) in &asked.fields { input type="hidden" name=(name) value=(value); }
            @if let Some(problem) = asked.problem { p.wrong role="alert" { (problem) } }
            p { label for="reason" { "Why? It stands in the history, with your name. " } br; input id="reason" type="text" name="reason" size="60" required autofocus; }
            p.orders { button { "Yes, " (verb) } " " a href="./" { "No, leave everything as it is" } }
        }
    };
    page(frame, false, &body)
}

/// What came of an order: its command line, and what the command told. `fine` if all of it was done.
pub(in crate::page) fn done(frame: &Frame<'_>, line: &str, told: &str, fine: bool) -> Response {
    let body = html! {
        h2 { @if fine { "Done" } @else { "Not all of it was done" } }
        p { code { (line) } }
        pre role="status" { (told) }
        p { a href="./" { "All scorings" } }
    };
    page(frame, false, &body)
}

/// Shows a command line and what it prints, below a heading.
pub(in crate::page) fn text(frame: &Frame<'_>, title: &str, line: &str, told: &str) -> Response {
    let body = html! {
        p { a href={ (frame.up) "./" } { "All scorings" } }
        h2 { (title) }
        p { code { (line) } }
        pre { (told) }
    };
    page(frame, false, &body)
}
