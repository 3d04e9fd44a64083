//! What storage's answers show of a blob, from its properties or as an item of a list.

use std::collections::BTreeMap;

use azure_core::error::ErrorKind;
use azure_core::http::{NoFormat, Response};
use azure_storage_blob::models::{
    AccessTier, BlobClientGetPropertiesResult, BlobClientGetPropertiesResultHeaders as _, BlobItem, BlobType,
    CopyStatus,
};
use lifecycle::pending::{BlobKind, BlobSnapshot, CopyState, IndexTags};

use super::etag::unquoted;

/// Metadata by which Azure Storage marks a blob that stands for a folder.
const FOLDER: &str = "hdi_isfolder";

/// A blob as its properties show it.
pub(super) fn snapshot(shown: &Response<BlobClientGetPropertiesResult, NoFormat>) -> azure_core::Result<BlobSnapshot> {
    let metadata = shown.metadata()?;
    Ok(BlobSnapshot {
        etag: unquoted(shown.etag()?.ok_or_else(|| lacks("ETag"))?.as_ref()).to_owned(),
        size: shown.content_length()?.ok_or_else(|| lacks("length"))?,
        content_type: shown.content_type()?,
        kind: kind(shown.blob_type()?.as_ref()),
        archived: shown.access_tier()?.is_some_and(|tier| tier == "Archive"),
        copy: copy(shown.copy_status()?.as_ref(), shown.copy_status_description()?),
        is_folder: metadata.iter().any(|(name, value)| is_folder(name, value)),
        modified: shown.last_modified()?,
        metadata: in_lower_case(metadata),
        index_tags: IndexTags::NotAsked,
    })
}

/// A blob's name, and the blob as a list shows it.
pub(super) fn listed(blob: BlobItem) -> azure_core::Result<(String, BlobSnapshot)> {
    let shown = blob.properties.unwrap_or_default();
    let metadata = blob.metadata.and_then(|metadata| metadata.values).unwrap_or_default();
    let snapshot = BlobSnapshot {
        etag: unquoted(shown.etag.ok_or_else(|| lacks("ETag"))?.as_ref()).to_owned(),
        size: shown.content_length.ok_or_else(|| lacks("length"))?,
        content_type: shown.content_type,
        kind: kind(shown.blob_type.as_ref()),
        archived: shown.access_tier == Some(AccessTier::Archive),
        copy: copy(shown.copy_status.as_ref(), shown.copy_status_description),
        is_folder: metadata.iter().any(|(name, value)| is_folder(name, value)),
        modified: shown.last_modified,
        metadata: in_lower_case(metadata),
        index_tags: IndexTags::NotAsked,
    };
    Ok((blob.name.ok_or_else(|| lacks("name"))?, snapshot))
}

/// Headers have no case, lists show the one that was written.
fn in_lower_case(metadata: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
    metadata.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
}

fn is_folder(name: &str, value: &str) -> bool {
    name.eq_ignore_ascii_case(FOLDER) && value.eq_ignore_ascii_case("true")
}

fn kind(of: Option<&BlobType>) -> BlobKind {
    match of {
        Some(BlobType::AppendBlob) => BlobKind::Append,
        Some(BlobType::PageBlob) => BlobKind::Page,
        _ => BlobKind::Block,
    }
}

fn copy(status: Option<&CopyStatus>, description: Option<String>) -> CopyState {
    match status {
        Some(CopyStatus::Pending) => CopyState::Pending,
        Some(CopyStatus::Failed) => CopyState::Failed(description.unwrap_or_default()),
        Some(CopyStatus::Aborted) => CopyState::Aborted,
        _ => CopyState::Whole,
    }
}

fn lacks(what: &str) -> azure_core::Error {
    azure_core::Error::with_message(ErrorKind::DataConversion, format!("storage's answer lacks the {what}"))
}
