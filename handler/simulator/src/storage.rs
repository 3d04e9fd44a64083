//! Blob storage over the configured folders, as an emulator spells it: `/{account}/{container}/{blob}`.
//!
//! Enough for the official client: get, head, ranges, conditions on the ETag, metadata, index tags, flat listing with prefix and
//! pages, and writes of block blobs, copies among them, and their deletion (`storage_write.rs`). Whoever asks must show a token for
//! storage, and is refused if the caller's roles do not hold the right. The 401 says so as the service does, with a challenge:
//! Microsoft's client sends no token in the clear unless it is told to.

use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use azure_core::Uuid;
use azure_core::time::to_rfc7231;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::answer::{add, empty, unauthorized};
use crate::call::Call;
use crate::shared::Shared;
use crate::sidecar::{Sidecar, SidecarVersion};
use crate::storage_access::{AUDIENCE, may};
use crate::storage_map::{HIDDEN, existing};
use crate::storage_target::no_writes;
use crate::storage_version::{error, part, unmet, version};
use crate::{roles, storage_blocks, storage_write};

const MAX_PAGE: usize = 5000;
/// Larger blobs have no MD5, like those that come in blocks from a writer that gives none.
const MAX_MD5: u64 = 16 << 20;

/// GET, HEAD, PUT or DELETE of a blob, GET or HEAD of a container.
pub(super) async fn answer(
    shared: &Shared,
    (account, container, blob): (&str, &str, &str),
    call: &Call,
    body: Body,
) -> Response {
    let mut response = find(shared, account, container, blob, call, body).await;
    if call.method == "HEAD" && !response.status().is_success() {
        *response.body_mut() = Body::empty();
    }
    let id = Uuid::new_v4().to_string();
    let version = call.header("x-ms-version").unwrap_or("2021-12-02").to_owned();
    add(response.headers_mut(), &[("x-ms-request-id", &id), ("x-ms-version", &version)]);
    response
}

async fn find(shared: &Shared, account: &str, container: &str, blob: &str, call: &Call, body: Body) -> Response {
    if unauthorized(shared, call, &[AUDIENCE]).is_some() {
        return challenge(shared, call.header("authorization").is_some());
    }
    if !may(shared, account, container, blob, call) {
        let text = "This request is not authorized to perform this operation using this permission.";
        return error(StatusCode::FORBIDDEN, "AuthorizationPermissionMismatch", text);
    }
    let is_there = !shared.resources().is_gone("containers", container);
    let Some(folder) = shared.storage_map.container(account, container).filter(|_| is_there) else {
        return error(StatusCode::NOT_FOUND, "ContainerNotFound", "The specified container does not exist.");
    };
    if call.method == "PUT" || call.method == "DELETE" {
        return storage_write::changed(shared, folder, blob, call, body).await;
    }
    if blob.is_empty() {
        return of_container(folder, account, container, call).await;
    }
    if call.query("comp") == Some("blocklist") {
        return storage_blocks::list(folder, blob);
    }
    let (path, mut file, facts, sidecar) = match opened(folder, blob).await {
        Ok(opened) => opened,
        Err(error) => return unopened(&error),
    };
    let (modified, etag) = version(&facts);
    let SidecarVersion { metadata, index_tags, content_type } = sidecar.of_version(&etag, blob);
    if call.query("comp") == Some("tags") {
        return tags(call, &etag, &index_tags);
    }
    if let Some(refused) = unmet(call, Some(&etag)) {
        return refused;
    }
    let md5 = if facts.len() <= MAX_MD5 { md5(&path).await } else { None };
    let range = call.header("x-ms-range").or_else(|| call.header("range"));
    let (from, length, is_part) = match range.and_then(|range| part(range, facts.len())) {
        Some((from, to)) if from < facts.len() => (from, to.min(facts.len() - 1) + 1 - from, true),
        Some(_) => {
            return error(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange", "The range is outside of the blob.");
        }
        None => (0, facts.len(), false),
    };
    let body = if call.method == "HEAD" {
        Body::empty()
    } else {
        if let Err(error) = file.seek(SeekFrom::Start(from)).await {
            return unopened(&error);
        }
        stream(file, length)
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    add(
        headers,
        &[
            ("content-type", &content_type),
            ("content-length", &length.to_string()),
            ("accept-ranges", "bytes"),
            ("last-modified", &to_rfc7231(&modified)),
            ("etag", &etag),
            ("x-ms-blob-type", "BlockBlob"),
            ("x-ms-creation-time", &to_rfc7231(&modified)),
        ],
    );
    for (name, value) in &metadata {
        // What no header can hold is not there.
        let name = HeaderName::from_bytes(format!("x-ms-meta-{name}").as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
    if let Some(md5) = md5.filter(|_| !is_part) {
        add(headers, &[("content-md5", &md5)]);
    }
    if is_part {
        let text = format!("bytes {from}-{}/{}", from + length - 1, facts.len());
        add(headers, &[("content-range", &text)]);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

/// Whether a container is there, or a page of its blobs.
async fn of_container(folder: &Path, account: &str, container: &str, call: &Call) -> Response {
    match (call.query("restype"), call.query("comp")) {
        (Some("container"), None) => empty(StatusCode::OK),
        (Some("container"), Some("list")) if call.query("delimiter").is_none() => {
            let (folder, account, container) = (folder.to_owned(), account.to_owned(), container.to_owned());
            let prefix = call.query("prefix").unwrap_or_default().to_owned();
            let after = call.query("marker").unwrap_or_default().to_owned();
            let max = call.query("maxresults").and_then(|n| n.parse().ok()).unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
            let page = tokio::task::spawn_blocking(move || {
                let mut found = Vec::new();
                walk(&folder, "", (&prefix, &after, max + 1), &mut found);
                listing(&folder, (&account, &container, &prefix), &found, max)
            });
            match page.await {
                Ok(xml) => (StatusCode::OK, [(header::CONTENT_TYPE, "application/xml")], xml).into_response(),
                Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "The listing failed."),
            }
        }
        _ => error(StatusCode::BAD_REQUEST, "InvalidQueryParameterValue", "The simulator does not do that."),
    }
}

/// The file that stands for a blob, with its path and what stands beside it.
async fn opened(folder: &Path, blob: &str) -> io::Result<(PathBuf, tokio::fs::File, std::fs::Metadata, Sidecar)> {
    let path = existing(folder, blob)?;
    let open = move || {
        let _still = no_writes();
        let file = std::fs::File::open(&path)?;
        let facts = file.metadata()?;
        let sidecar = Sidecar::of(&path);
        if facts.is_file() { Ok((path, file.into(), facts, sidecar)) } else { Err(io::ErrorKind::NotFound.into()) }
    };
    tokio::task::spawn_blocking(open).await.map_err(io::Error::other)?
}

/// A file that cannot be opened. One that may not be read is there: its version must not end as gone.
fn unopened(why: &io::Error) -> Response {
    match why.kind() {
        io::ErrorKind::PermissionDenied => {
            let text = "This user may not read the file that stands for the blob.";
            error(StatusCode::FORBIDDEN, "AuthorizationPermissionMismatch", text)
        }
        _ => error(StatusCode::NOT_FOUND, "BlobNotFound", "The specified blob does not exist."),
    }
}

/// 401, with what is wanted instead.
fn challenge(shared: &Shared, has_token: bool) -> Response {
    let (code, text) = if has_token {
        ("InvalidAuthenticationInfo", "The token is not for https://storage.azure.com, or has expired.")
    } else {
        ("NoAuthenticationInformation", "Server failed to authenticate the request. See the www-authenticate header.")
    };
    let mut response = error(StatusCode::UNAUTHORIZED, code, text);
    let place = format!("{}/{}/oauth2/authorize", shared.origin(), roles::TENANT);
    let wanted = format!("Bearer authorization_uri={place} resource_id={AUDIENCE}");
    add(response.headers_mut(), &[("www-authenticate", &wanted)]);
    response
}

/// A blob's index tags, of the version that was asked for.
fn tags(call: &Call, etag: &str, tags: &std::collections::BTreeMap<String, String>) -> Response {
    match call.header("x-ms-blob-if-match") {
        Some(wanted) if wanted != etag => {
            let text = "The condition specified using HTTP conditional header(s) is not met.";
            error(StatusCode::PRECONDITION_FAILED, "ConditionNotMet", text)
        }
        _ => (StatusCode::OK, [(header::CONTENT_TYPE, "application/xml")], tag_set(tags)).into_response(),
    }
}

/// A blob's index tags, as the service writes them in XML.
fn tag_set(tags: &std::collections::BTreeMap<String, String>) -> String {
    let each = |(name, value): (&String, &String)| {
        format!("<Tag><Key>{}</Key><Value>{}</Value></Tag>", escaped(name), escaped(value))
    };
    let all: String = tags.iter().map(each).collect();
    format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><Tags><TagSet>{all}</TagSet></Tags>")
}

/// The MD5 of a whole file, as its writer would have given it.
async fn md5(path: &Path) -> Option<String> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || std::fs::read(path).ok());
    Some(STANDARD.encode(Md5::digest(read.await.ok()??)))
}

fn stream(file: tokio::fs::File, length: u64) -> Body {
    Body::from_stream(futures::stream::unfold(file.take(length), |mut file| async move {
        let mut chunk = Vec::with_capacity(64 * 1024);
        match file.read_buf(&mut chunk).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(Bytes::from(chunk)), file)),
            Err(error) => Some((Err(error), file)),
        }
    }))
}

/// Names of files below `folder`, in the order of storage (by bytes of the whole name), behind `after`. Links and
/// hidden files are left out. No more than a page is kept, besides one folder's entries on each level.
fn walk(folder: &Path, below: &str, limits: (&str, &str, usize), found: &mut Vec<String>) {
    let (prefix, after, max) = limits;
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (Ok(name), Ok(kind)) = (entry.file_name().into_string(), entry.file_type()) else { continue };
        if kind.is_symlink() || name.starts_with(HIDDEN) {
            continue;
        }
        // A folder's files sort as if its name ended in the slash that they all have behind it.
        let name = format!("{below}{name}{}", if kind.is_dir() { "/" } else { "" });
        let may_match = if kind.is_dir() {
            name.starts_with(prefix) || prefix.starts_with(&name)
        } else {
            name.starts_with(prefix)
        };
        if may_match {
            entries.push((name, entry.path(), kind.is_dir()));
        }
    }
    entries.sort();
    for (name, path, is_folder) in entries {
        if found.len() >= max {
            return;
        }
        if is_folder {
            walk(&path, &name, limits, found);
        } else if name.as_str() > after {
            found.push(name);
        }
    }
}

/// One page as XML. The marker is the last name of it.
fn listing(folder: &Path, (account, container, prefix): (&str, &str, &str), found: &[String], max: usize) -> String {
    use std::fmt::Write as _;
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"/{}/\" ContainerName=\"{}\">\
         <Prefix>{}</Prefix><MaxResults>{max}</MaxResults><Blobs>",
        escaped(account),
        escaped(container),
        escaped(prefix)
    );
    for name in found.iter().take(max) {
        let file = folder.join(name);
        let Ok(facts) = file.metadata() else { continue };
        let (modified, etag) = version(&facts);
        let content_type = Sidecar::of(&file).of_version(&etag, name).content_type;
        // Writing to a String cannot fail.
        let _ = write!(
            xml,
            "<Blob><Name>{}</Name><Properties><Last-Modified>{}</Last-Modified><Etag>{}</Etag>\
             <Content-Length>{}</Content-Length><Content-Type>{}</Content-Type>\
             <BlobType>BlockBlob</BlobType></Properties></Blob>",
            escaped(name),
            to_rfc7231(&modified),
            etag.trim_matches('"'),
            facts.len(),
            escaped(&content_type)
        );
    }
    xml.push_str("</Blobs>");
    if found.len() > max {
        let _ = write!(xml, "<NextMarker>{}</NextMarker>", escaped(&found[max - 1]));
    }
    xml.push_str("</EnumerationResults>");
    xml
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::storage_version::file_etag;

    #[test]
    fn a_file_that_may_not_be_read_is_not_gone() {
        for (kind, status) in
            [(io::ErrorKind::PermissionDenied, StatusCode::FORBIDDEN), (io::ErrorKind::NotFound, StatusCode::NOT_FOUND)]
        {
            assert_eq!(unopened(&kind.into()).status(), status);
        }
    }

    /// `mv` and `cp -p` put another file in the place of one, with the same time and perhaps the same length.
    #[test]
    fn another_file_under_a_name_is_another_version_and_a_renamed_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000);
        let write = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, "same").unwrap();
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
            path
        };
        let etag = |path: &Path| file_etag(&path.metadata().unwrap());
        let (one, other) = (write("one.csv"), write("other.csv"));
        assert_ne!(etag(&one), etag(&other));
        let before = etag(&one);
        let moved = folder.path().join("moved.csv");
        std::fs::rename(&one, &moved).unwrap();
        assert_eq!(etag(&moved), before);
    }
}
