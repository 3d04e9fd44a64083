//! A blob by its name alone: which version of it is meant is not known yet.

pub(crate) use crate::blob::MAX_PATH;
use crate::blob::{BlobVersion, InvalidBlob};

/// Bytes of a blob's URL with every character percent-encoded; rows must hold it.
pub(crate) const MAX_URL: usize = 13_000;
/// Stands for an ETag while a name is read; it is in no row, no id and no request.
const NO_ETAG: &str = "-";

/// Account, container and path of a blob, or of a folder, in one spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnversionedBlob {
    /// Its URL: `blob` host, without query, percent-encoded in one way.
    pub url: String,
    /// Name of the storage account, as its host or the path of an emulator's URL has it.
    pub account: String,
    /// Name of the container, decoded; `$root` for blobs without one.
    pub container: String,
    /// Path in the container, decoded. A folder's has no slash at its end; a blob's may, and is another blob's with it.
    pub path: String,
}

impl UnversionedBlob {
    /// Reads the URL of a blob, or of a folder in the spelling of [`folder`](Self::folder).
    pub fn read(url: &str) -> Result<Self, InvalidBlob> {
        BlobVersion::read(url, NO_ETAG).map(Self::from)
    }

    /// Reads the URL of a folder, which may end with a slash.
    pub fn folder(url: &str) -> Result<Self, InvalidBlob> {
        Self::read(url.trim_end_matches('/'))
    }

    /// Every blob that a URL may name of which nobody says whether its path is percent-encoded; the likeliest first.
    pub(crate) fn readings(url: &str) -> Vec<Self> {
        BlobVersion::readings(url, NO_ETAG).into_iter().map(Self::from).collect()
    }

    /// The same as [`read`](Self::read) for what an event tells of, which names it twice; see [`BlobVersion::of_event`].
    pub(crate) fn of_event(subject: &str, url: &str) -> Result<Self, InvalidBlob> {
        BlobVersion::of_event(subject, url, NO_ETAG).map(Self::from)
    }

    /// The same for a folder.
    pub(crate) fn folder_of_event(subject: &str, url: &str) -> Result<Self, InvalidBlob> {
        Self::of_event(subject.trim_end_matches('/'), url.trim_end_matches('/'))
    }

    /// The version of it that has this ETag, whether or not that is the one there now.
    pub fn version(&self, etag: &str) -> Result<BlobVersion, InvalidBlob> {
        BlobVersion::read(&self.url, etag)
    }

    /// The blob of this path in the same container.
    pub fn beside(&self, path: &str) -> Result<Self, InvalidBlob> {
        let encoded = percent_encoding::utf8_percent_encode(&self.path, crate::blob::ENCODED).to_string();
        let before = self.url.strip_suffix(&encoded).unwrap_or(&self.url);
        Self::read(&format!("{before}{}", percent_encoding::utf8_percent_encode(path, crate::blob::ENCODED)))
    }
}

impl From<BlobVersion> for UnversionedBlob {
    fn from(blob: BlobVersion) -> Self {
        let BlobVersion { url, account, container, path, .. } = blob;
        Self { url, account, container, path }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gives_its_versions_and_its_neighbours() {
        let name = UnversionedBlob::read("https://uploads.dfs.core.windows.net/claims/eu/%C3%A4%23.csv?sig=x")
            .expect("a blob");
        assert_eq!(name.url, "https://uploads.blob.core.windows.net/claims/eu/%C3%A4%23.csv");
        let version = name.version("\"0x1\"").expect("a version");
        assert_eq!((version.etag.as_str(), version.path.as_str()), ("0x1", "eu/ä#.csv"));
        let beside = name.beside("us/a b%.csv").expect("a blob");
        assert_eq!(beside.url, "https://uploads.blob.core.windows.net/claims/us/a%20b%25.csv");
        assert_eq!(beside.path, "us/a b%.csv");
        assert_eq!(
            UnversionedBlob::folder("https://a.blob.core.windows.net/c/d/").map(|folder| folder.path),
            Ok("d".to_owned())
        );
    }

    #[test]
    fn a_blob_whose_name_ends_with_a_slash_is_not_the_one_without_it() {
        let url = "https://a.blob.core.windows.net/c/x.csv/";
        let blob = UnversionedBlob::read(url).expect("a blob");
        assert_eq!((blob.url.as_str(), blob.path.as_str()), (url, "x.csv/"));
        assert_eq!(blob.beside("y//").map(|blob| blob.path), Ok("y//".to_owned()));
        let subject = "/blobServices/default/containers/c/blobs/x.csv/";
        assert_eq!(UnversionedBlob::of_event(subject, url).as_ref(), Ok(&blob));
        assert_eq!(UnversionedBlob::folder_of_event(subject, url).map(|folder| folder.path), Ok("x.csv".to_owned()));
    }
}
