//! What the outputs of a scoring hold.

use axum::response::Response;
use maud::html;

use super::{Frame, page};
use crate::page::results::ResultFile;

/// The files of the outputs of this scoring, with the beginning of what is text.
pub(in crate::page) fn results(frame: &Frame<'_>, path: &str, id: &str, files: &[ResultFile]) -> Response {
    let body = html! {
        p { a href={ (frame.up) "./" } { "All scorings" } " · " a href={ (frame.up) "scorings/" (id) } { "The scoring" } }
        h2 { "What was scored of " (path) }
        @if files.is_empty() { p { "Nothing is there any more." } }
        @for file in files {
            section {
                h3 { (file.output) ": " (file.name) " · " (file.bytes) " bytes" }
                @if let Some(text) = &file.text { pre tabindex="0" { (text) } } @else { p { "It is large, or no text." } }
            }
        }
        p { "All of it: " code { "scorekeeper output --download " (id) } }
    };
    page(frame, false, &body)
}
