//! What a write copies from: `x-ms-copy-source`, a blob of this simulator, read with `x-ms-copy-source-authorization` on
//! `x-ms-source-if-match`. Nothing is read without a token of its own, whoever may write.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};

use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;

use crate::answer::unauthorized;
use crate::call::Call;
use crate::shared::Shared;
use crate::sidecar::Sidecar;
use crate::storage_access::{AUDIENCE, may};
use crate::storage_map::existing;
use crate::storage_target::no_writes;
use crate::storage_version::{error, part, version};
use crate::urls::Blob;

/// A file that is copied, or a part of it.
pub(super) struct Source {
    part: io::Take<File>,
    etag: String,
    pub(super) content_type: String,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.part.read(buffer)
    }
}

impl Source {
    /// The refusal, if it was written to while it was copied.
    pub(super) fn changed(&self) -> Option<Response> {
        let now = self.part.get_ref().metadata().ok().map(|facts| version(&facts).1);
        (now.as_deref() != Some(&self.etag)).then(|| NoSource::Changed.answer())
    }
}

/// Why a copy is refused, by its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoSource {
    Missing,
    Unauthenticated,
    Forbidden,
    Changed,
    OutOfRange,
    /// With a status that stands beside the file.
    Refused(StatusCode),
}

impl NoSource {
    /// As the service words it, with the status that the source's own storage would give.
    pub(super) fn answer(self) -> Response {
        let (status, text) = match self {
            Self::Missing => (StatusCode::NOT_FOUND, "The specified resource does not exist."),
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "Server failed to authenticate the request."),
            Self::Forbidden => (
                StatusCode::FORBIDDEN,
                "This request is not authorized to perform this operation using this permission.",
            ),
            Self::OutOfRange => (StatusCode::RANGE_NOT_SATISFIABLE, "The range is outside of the blob."),
            Self::Refused(status) => (status, "Could not verify the copy source."),
            Self::Changed => {
                let text = "The source condition specified using HTTP conditional header(s) is not met.";
                return error(StatusCode::PRECONDITION_FAILED, "SourceConditionNotMet", text);
            }
        };
        error(status, "CannotVerifyCopySource", text)
    }
}

/// The source that a call names, if it names one.
pub(super) fn open(shared: &Shared, call: &Call) -> Result<Option<Source>, NoSource> {
    let Some(url) = call.header("x-ms-copy-source") else { return Ok(None) };
    let is_here = url.strip_prefix(&shared.origin()).is_some_and(|rest| rest.starts_with('/'));
    let blob = Blob::from_url(url).ok().filter(|_| is_here).ok_or(NoSource::Missing)?;
    let mut headers = HeaderMap::new();
    if let Some(shown) = call.headers.get("x-ms-copy-source-authorization") {
        headers.insert(header::AUTHORIZATION, shown.clone());
    }
    let read = Call { method: Method::GET, headers, query: Vec::new(), ..call.clone() };
    if unauthorized(shared, &read, &[AUDIENCE]).is_some() {
        return Err(NoSource::Unauthenticated);
    }
    if !may(shared, &blob.account, &blob.container, &blob.path, &read) {
        return Err(NoSource::Forbidden);
    }
    let folder = shared.storage_map.container(&blob.account, &blob.container).ok_or(NoSource::Missing)?;
    let open = || {
        let _still = no_writes();
        let path = existing(folder, &blob.path)?;
        let file = File::open(&path)?;
        Ok::<_, io::Error>((file.metadata()?, file, Sidecar::of(&path)))
    };
    let opened = open().ok().filter(|(facts, ..)| facts.is_file());
    let (facts, mut file, sidecar) = opened.ok_or(NoSource::Missing)?;
    let (_, etag) = version(&facts);
    if call.header("x-ms-source-if-match").is_some_and(|wanted| wanted != "*" && wanted != etag) {
        return Err(NoSource::Changed);
    }
    if let Some(status) = sidecar.copy_refused.and_then(|status| StatusCode::from_u16(status).ok()) {
        return Err(NoSource::Refused(status));
    }
    let (from, length) = match call.header("x-ms-source-range").map(|range| part(range, facts.len())) {
        // Of nothing there is no range that could be read.
        None if facts.len() > 0 => (0, facts.len()),
        Some(Some((from, to))) if to < facts.len() => (from, to + 1 - from),
        _ => return Err(NoSource::OutOfRange),
    };
    file.seek(SeekFrom::Start(from)).map_err(|_| NoSource::Missing)?;
    let content_type = sidecar.of_version(&etag, &blob.path).content_type;
    Ok(Some(Source { part: file.take(length), etag, content_type }))
}
