//! Versions of blobs, conditions on them, ranges, and refusals as the service words them.

use std::time::SystemTime;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use time::OffsetDateTime;

use crate::answer::{add, empty};
use crate::call::Call;

/// The answer to a request whose conditions do not hold for the blob of this ETag, or for none.
pub(super) fn unmet(call: &Call, etag: Option<&str>) -> Option<Response> {
    let holds = |wanted: &str| etag.is_some_and(|etag| wanted == "*" || wanted == etag);
    if call.header("if-match").is_some_and(|wanted| !holds(wanted)) {
        let text = "The condition specified using HTTP conditional header(s) is not met.";
        // Of a copy there are two sides.
        let is_copy = call.header("x-ms-copy-source").is_some();
        let code = if is_copy { "TargetConditionNotMet" } else { "ConditionNotMet" };
        return Some(error(StatusCode::PRECONDITION_FAILED, code, text));
    }
    if !call.header("if-none-match").is_some_and(holds) {
        return None;
    }
    if call.method == "PUT" {
        return Some(error(StatusCode::CONFLICT, "BlobAlreadyExists", "The specified blob already exists."));
    }
    let mut response = empty(StatusCode::NOT_MODIFIED);
    add(response.headers_mut(), &[("etag", etag.unwrap_or_default())]);
    Some(response)
}

/// First and last byte of `bytes=a-b` or `bytes=a-`; other forms are not used by storage clients.
pub(super) fn part(range: &str, length: u64) -> Option<(u64, u64)> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    let from = from.parse().ok()?;
    let to = if to.is_empty() { length } else { to.parse().ok()? };
    (to >= from).then_some((from, to))
}

/// An error as the service words it.
pub(super) fn error(status: StatusCode, code: &'static str, message: &str) -> Response {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    (status, [(header::CONTENT_TYPE.as_str(), "application/xml"), ("x-ms-error-code", code)], body).into_response()
}

/// Time of modification and ETag, quoted.
pub(super) fn version(facts: &std::fs::Metadata) -> (OffsetDateTime, String) {
    let modified = facts.modified().map_or(OffsetDateTime::UNIX_EPOCH, OffsetDateTime::from);
    (modified, format!("\"{}\"", file_etag(facts)))
}

/// What stands for a file's ETag, unquoted: changes with each write, also of the same bytes under the same name. The change
/// time is not part of it, as `chmod`, a rename and a hard link change that and no byte. Whoever tells of a file as an event tells of this one.
pub fn file_etag(metadata: &std::fs::Metadata) -> String {
    let nanoseconds = |at: std::io::Result<SystemTime>| {
        at.ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok()).map_or(0, |since| since.as_nanos())
    };
    #[cfg(unix)]
    let number = {
        use std::os::unix::fs::MetadataExt as _;
        // Another file that was put in the place of this one (`mv`, `cp -p` of most tools) has another number.
        metadata.ino()
    };
    #[cfg(not(unix))]
    let number = 0;
    format!("0x{:x}-{:x}-{number:x}", nanoseconds(metadata.modified()), metadata.len())
}
