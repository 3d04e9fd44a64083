//! What no file has and a blob does: metadata, index tags and a content type. They stand in a hidden file beside the one that stands
//! for the blob, `.scorekeeper-blob-NAME.json`:
//! `{"metadata": {"tenant": "a"}, "indexTags": {"hold": "no"}, "contentType": "text/csv"}`. `"copyRefused": 409` is the status with which
//! the storage refuses to copy from it, as users saw of append blobs and of blobs behind firewalls; nobody documents which.
//!
//! What a request writes stands there by the ETag of the version that it wrote, the one before beside it: a file and its metadata
//! cannot change in one moment, and nobody may see the one without the other.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use azure_core::Uuid;
use serde::{Deserialize, Serialize};

use crate::storage_map::HIDDEN;

type Named = BTreeMap<String, String>;

/// What stands beside the file of one blob.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Sidecar {
    metadata: Named,
    index_tags: Named,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) copy_refused: Option<u16>,
    /// Versions that requests wrote, by ETag.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    written: BTreeMap<String, Written>,
}

/// What a request writes beside the content.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Written {
    pub(super) metadata: Named,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_type: Option<String>,
}

/// One version as it is shown.
#[derive(Debug)]
pub(super) struct SidecarVersion {
    pub(super) metadata: Named,
    pub(super) index_tags: Named,
    pub(super) content_type: String,
}

/// Where they stand of the blob that a file stands for.
pub fn sidecar_of(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!("{HIDDEN}blob-{name}.json"))
}

/// The content type of a file that nobody gave one, by its name: what an upload tool would say of it.
pub fn content_type_of_name(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).as_deref() {
        Some("csv") => "text/csv",
        Some("txt") => "text/plain",
        Some("json") => "application/json",
        Some("xml") => "application/xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        _ => UNKNOWN,
    }
}

/// What the service says of a blob that was written without a content type.
const UNKNOWN: &str = "application/octet-stream";

impl Sidecar {
    /// That of a file; none where nobody wrote any, or what nobody can read.
    pub(super) fn of(file: &Path) -> Self {
        let text = std::fs::read(sidecar_of(file)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// One version of a blob of this name.
    pub(super) fn of_version(mut self, etag: &str, name: &str) -> SidecarVersion {
        if let Some(Written { metadata, content_type }) = self.written.remove(etag) {
            let content_type = content_type.unwrap_or_else(|| UNKNOWN.to_owned());
            return SidecarVersion { metadata, index_tags: Named::new(), content_type };
        }
        let Self { metadata, index_tags, content_type, .. } = self;
        SidecarVersion {
            metadata,
            index_tags,
            content_type: content_type.unwrap_or_else(|| content_type_of_name(name).to_owned()),
        }
    }

    /// Makes ready for a version to take the place of another one.
    pub(super) fn expect(file: &Path, before: Option<&str>, etag: &str, written: Written) -> io::Result<()> {
        let mut sidecar = Self::of(file);
        sidecar.written.retain(|etag, _| Some(etag.as_str()) == before);
        sidecar.written.insert(etag.to_owned(), written);
        let unfinished = file.with_file_name(format!("{HIDDEN}{}", Uuid::new_v4()));
        std::fs::write(&unfinished, serde_json::to_vec(&sidecar)?)?;
        std::fs::rename(&unfinished, sidecar_of(file))
    }
}
