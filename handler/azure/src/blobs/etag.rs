//! ETags of storage in the two forms that they have.

use azure_core::http::Etag;

/// As events have it: without quotes.
pub(super) fn unquoted(etag: &str) -> &str {
    etag.trim_start_matches("W/").trim_matches('"')
}

/// As conditions and answers have it.
pub(super) fn quoted(etag: &str) -> Etag {
    Etag::from(format!("\"{}\"", unquoted(etag)))
}
