//! What is listed: all blobs of a container whose path begins so.

use crate::blob::{InvalidBlob, account_of, encoded};
use crate::unversioned::UnversionedBlob;

/// Blobs of one container whose decoded path begins with a text, which may be empty and may end anywhere in a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobPrefix {
    /// URL of the account in the spelling of events: `https://ACCOUNT.blob.…`, without a slash at its end.
    base: String,
    /// Name of the container, decoded; no prefix reaches beyond it.
    container: String,
    /// What each path begins with, decoded.
    prefix: String,
}

impl BlobPrefix {
    /// Of a container of the account at this URL, which may be an emulator's with the account as its path.
    pub fn new(account_url: &str, container: &str, prefix: &str) -> Result<Self, InvalidBlob> {
        let any = format!("{}/{}/-", account_url.trim_end_matches('/'), encoded(container));
        // As any blob's URL there is read, so that a listed blob has the identity that its event gives it.
        let (base, any) = (account_of(&any)?, UnversionedBlob::read(&any)?);
        Ok(Self { base, container: any.container, prefix: prefix.to_owned() })
    }

    /// All that lies below a folder, at whatever depth, and not the folder itself.
    pub fn below(folder: &UnversionedBlob) -> Result<Self, InvalidBlob> {
        let base = account_of(&folder.url)?;
        Ok(Self { base, container: folder.container.clone(), prefix: format!("{}/", folder.path) })
    }

    /// URL of the account in the spelling of events, without a slash at its end.
    pub fn account_url(&self) -> &str {
        &self.base
    }

    /// Name of the container that is listed, decoded.
    pub fn container(&self) -> &str {
        &self.container
    }

    /// What each path begins with, decoded.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// URL of the container, percent-encoded and without a slash at its end.
    pub fn container_url(&self) -> String {
        format!("{}/{}", self.base, encoded(&self.container))
    }

    /// The blob of this path in the container, as an event about it would name it.
    pub fn blob(&self, path: &str) -> Result<UnversionedBlob, InvalidBlob> {
        UnversionedBlob::read(&format!("{}/{}", self.container_url(), encoded(path)))
    }
}

impl std::fmt::Display for BlobPrefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.container_url(), encoded(&self.prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::BlobVersion;

    #[test]
    fn what_is_listed_has_the_identity_that_its_event_gives_it() {
        // As Event Grid writes them: `dfs` host, subject beside the URL, ETag without quotes; and as a list has the name.
        for (path, in_url) in [
            ("eu/ä #1.csv", "eu/%C3%A4%20%231.csv"),
            ("a%20b+c.csv", "a%2520b+c.csv"),
            ("x/y/", "x/y/"),
            ("{a}^.csv", "{a}^.csv"),
        ] {
            let event = BlobVersion::of_event(
                &format!("/blobServices/default/containers/claims/blobs/{path}"),
                &format!("https://Uploads.dfs.core.windows.net/claims/{in_url}"),
                "0x1",
            );
            let place = BlobPrefix::new("https://uploads.blob.core.windows.net/", "claims", "").unwrap();
            let listed = place.blob(path).and_then(|blob| blob.version("\"0x1\""));
            assert_eq!(listed, event, "{path}");
        }
    }

    #[test]
    fn a_folder_and_a_container_are_places_of_any_account() {
        let folder = UnversionedBlob::read("https://uploads.blob.core.windows.net/claims/eu/a%20b").unwrap();
        let below = BlobPrefix::below(&folder).unwrap();
        assert_eq!(below.to_string(), "https://uploads.blob.core.windows.net/claims/eu/a%20b/");
        assert_eq!(
            (below.container_url().as_str(), below.prefix()),
            ("https://uploads.blob.core.windows.net/claims", "eu/a b/")
        );
        let emulated = BlobPrefix::new("http://127.0.0.1:10000/uploads", "claims", "eu").unwrap();
        assert_eq!(emulated.container_url(), "http://127.0.0.1:10000/uploads/claims");
        assert_eq!(emulated.blob("eu.csv").unwrap().account, "uploads");
        let root = BlobPrefix::new("https://uploads.blob.core.windows.net", "$root", "").unwrap();
        assert_eq!(root.container_url(), "https://uploads.blob.core.windows.net/$root");
        assert_eq!(root.blob("x.csv").unwrap().url, "https://uploads.blob.core.windows.net/x.csv");
        assert!(BlobPrefix::new("uploads", "claims", "").is_err());
    }
}
