//! Where blobs of a container lie on this machine.

use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stays as it is in the path of a URL.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A folder and the container that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) account: String,
    pub(super) container: String,
    pub(super) folder: PathBuf,
}

impl Place {
    /// The inbox of the demonstration, in this folder.
    #[cfg(test)]
    pub(super) fn inbox_at(folder: &Path) -> Self {
        Self { account: "local".to_owned(), container: "inbox".to_owned(), folder: folder.to_owned() }
    }

    /// The host of its blobs. `.localhost` never leaves a machine (RFC 6761).
    pub(super) fn host(&self) -> String {
        format!("{}.blob.localhost", self.account)
    }

    /// The URL of one of them.
    pub(super) fn url(&self, name: &str) -> String {
        format!("https://{}/{}/{}", self.host(), self.container, utf8_percent_encode(name, PATH))
    }
}

/// The name of a file's blob. On Unix a backslash is a character of a name like any other.
pub(super) fn blob_name(path: &Path) -> String {
    path.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/")
}
