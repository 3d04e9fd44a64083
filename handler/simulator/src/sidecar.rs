//! What no file has and a blob does: metadata and index tags. They stand in a hidden file beside the one that stands for the blob,
//! `.scorekeeper-blob-NAME.json`: `{"metadata": {"tenant": "a"}, "indexTags": {"hold": "no"}}`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::storage_map::HIDDEN;

/// Metadata and index tags of one blob, by name.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Sidecar {
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) index_tags: BTreeMap<String, String>,
}

/// Where they stand of the blob that a file stands for.
pub fn sidecar_of(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!("{HIDDEN}blob-{name}.json"))
}

impl Sidecar {
    /// Those of a file; none where nobody wrote any, or what nobody can read.
    pub(super) async fn of(file: &Path) -> Self {
        let text = tokio::fs::read(sidecar_of(file)).await.unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }
}
