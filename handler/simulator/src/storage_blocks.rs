//! Blocks that wait to become a blob: `Put Block`, `Put Block From URL`, `Get Block List` and what `Put Block List` takes.
//!
//! A write of the blob discards them.

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::answer::empty;
use crate::call::Call;
use crate::storage_source::Source;
use crate::storage_target::{Target, finish};
use crate::storage_version::error;

/// Bytes of a block's id, before it is encoded.
const MAX_ID: usize = 64;

/// The file of a block, by its id as requests have it.
fn block(target: &Target, id: &str) -> Option<PathBuf> {
    let id = STANDARD.decode(id).ok().filter(|id| (1..=MAX_ID).contains(&id.len()))?;
    let name = id.iter().fold(String::with_capacity(2 * id.len()), |mut name, byte| {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
        name
    });
    Some(target.blocks().join(name))
}

/// Puts a block there, from the body or from another blob.
pub(super) fn stage(target: &Target, call: &Call, source: Option<Source>, body: &[u8]) -> io::Result<Response> {
    let Some(block) = call.query("blockid").and_then(|id| block(target, id)) else {
        let text = "The block id is no Base64 of 1 to 64 bytes.";
        return Ok(error(StatusCode::BAD_REQUEST, "InvalidQueryParameterValue", text));
    };
    let unfinished = target.unfinished()?;
    match source {
        None => std::fs::write(&unfinished, body)?,
        Some(mut source) => {
            io::copy(&mut source, &mut File::create(&unfinished)?)?;
            if let Some(refused) = source.changed() {
                std::fs::remove_file(&unfinished)?;
                return Ok(refused);
            }
        }
    }
    std::fs::create_dir_all(target.blocks())?;
    std::fs::rename(unfinished, block)?;
    Ok(empty(StatusCode::CREATED))
}

/// Makes a blob of the blocks that a list names.
pub(super) fn commit(target: &Target, call: &Call, list: &[u8]) -> io::Result<Response> {
    let list = String::from_utf8_lossy(list);
    let named = list.split("<Latest>").skip(1).map(|rest| rest.split("</Latest>").next().unwrap_or_default());
    let blocks: Option<Vec<PathBuf>> =
        named.map(|id| block(target, id.trim()).filter(|block| block.is_file())).collect();
    let Some(blocks) = blocks else {
        return Ok(error(StatusCode::BAD_REQUEST, "InvalidBlockList", "The specified block list is invalid."));
    };
    let unfinished = target.unfinished()?;
    let mut whole = File::create(&unfinished)?;
    for block in blocks {
        io::copy(&mut File::open(block)?, &mut whole)?;
    }
    drop(whole);
    finish(target, call, &unfinished, call.content_type())
}

/// The blocks that wait, as XML.
pub(super) fn list(folder: &Path, blob: &str) -> Response {
    let Some(target) = Target::new(folder, blob) else {
        return error(StatusCode::NOT_FOUND, "BlobNotFound", "The specified blob does not exist.");
    };
    let mut blocks = Vec::new();
    for entry in std::fs::read_dir(target.blocks()).into_iter().flatten().flatten() {
        let (Ok(facts), Ok(name)) = (entry.metadata(), entry.file_name().into_string()) else { continue };
        let id: Option<Vec<u8>> =
            (0..name.len() / 2).map(|n| u8::from_str_radix(name.get(2 * n..2 * n + 2)?, 16).ok()).collect();
        if let Some(id) = id {
            let id = STANDARD.encode(id);
            blocks.push(format!("<Block><Name>{id}</Name><Size>{}</Size></Block>", facts.len()));
        }
    }
    if blocks.is_empty() && !target.exists() {
        return error(StatusCode::NOT_FOUND, "BlobNotFound", "The specified blob does not exist.");
    }
    blocks.sort();
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList><UncommittedBlocks>{}</UncommittedBlocks></BlockList>",
        blocks.concat()
    );
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/xml")], xml).into_response()
}
