//! Writes of block blobs: `Put Blob` and `Put Blob From URL` whole in one request, `Put Block List` of what was staged before
//! (`storage_blocks.rs`). The file changes at once or not at all.
//!
//! `Copy Blob`, which shows what is copied while it is, is not taken.

use std::fs::File;
use std::io;
use std::path::Path;

use axum::body::{Body, to_bytes};
use axum::http::StatusCode;
use axum::response::Response;

use crate::call::Call;
use crate::shared::Shared;
use crate::storage_source::Source;
use crate::storage_target::{Target, finish, remove};
use crate::storage_version::error;
use crate::{storage_blocks, storage_source};

/// Most bytes that one request may put; more comes in blocks.
const MAX: usize = 16 << 20;

/// A blob that is put or deleted.
pub(super) async fn changed(shared: &Shared, folder: &Path, blob: &str, call: &Call, body: Body) -> Response {
    if call.method == "DELETE" { delete(folder, blob, call).await } else { put(shared, folder, blob, call, body).await }
}

async fn put(shared: &Shared, folder: &Path, blob: &str, call: &Call, body: Body) -> Response {
    let Some(target) = Target::new(folder, blob) else {
        return error(StatusCode::BAD_REQUEST, "InvalidUri", "The simulator has no file of this name.");
    };
    let source = match storage_source::open(shared, call) {
        Ok(source) => source,
        Err(refused) => return refused.answer(),
    };
    let Ok(body) = to_bytes(body, MAX).await else {
        return error(StatusCode::PAYLOAD_TOO_LARGE, "RequestBodyTooLarge", "The request body is too large.");
    };
    let is_block_blob = call.header("x-ms-blob-type").is_some_and(|kind| kind.eq_ignore_ascii_case("BlockBlob"));
    let call = call.clone();
    let written = tokio::task::spawn_blocking(move || match call.query("comp") {
        None if is_block_blob => whole(&target, &call, source, &body),
        Some("block") => storage_blocks::stage(&target, &call, source, &body),
        Some("blocklist") => storage_blocks::commit(&target, &call, &body),
        _ => Ok(error(StatusCode::BAD_REQUEST, "InvalidHeaderValue", "The simulator takes block blobs alone.")),
    });
    match written.await {
        Ok(Ok(answer)) => answer,
        Ok(Err(why)) => {
            tracing::warn!("the file of a blob cannot be written: {why}");
            error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "The file cannot be written.")
        }
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "The write failed."),
    }
}

/// Deletes the blob, if the conditions hold.
async fn delete(folder: &Path, blob: &str, call: &Call) -> Response {
    let none = || error(StatusCode::NOT_FOUND, "BlobNotFound", "The specified blob does not exist.");
    let Some(target) = Target::new(folder, blob) else { return none() };
    let call = call.clone();
    let deleted = tokio::task::spawn_blocking(move || remove(&target, &call)).await;
    match deleted {
        Ok(Ok(answer)) => answer,
        Ok(Err(why)) if why.kind() == io::ErrorKind::NotFound => none(),
        Ok(Err(_)) | Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "The file cannot be deleted."),
    }
}

fn whole(target: &Target, call: &Call, source: Option<Source>, body: &[u8]) -> io::Result<Response> {
    let unfinished = target.unfinished()?;
    let mut content_type = call.content_type();
    match source {
        None => {
            std::fs::write(&unfinished, body)?;
            content_type = content_type.or_else(|| call.header("content-type").map(str::to_owned));
        }
        Some(mut source) => {
            // Without one of its own a copy has the properties of its source.
            content_type = content_type.or_else(|| Some(source.content_type.clone()));
            io::copy(&mut source, &mut File::create(&unfinished)?)?;
            if let Some(refused) = source.changed() {
                std::fs::remove_file(&unfinished)?;
                return Ok(refused);
            }
        }
    }
    finish(target, call, &unfinished, content_type)
}
