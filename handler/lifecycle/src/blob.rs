//! A blob version: what was uploaded, in one spelling.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::uri::without_query;

mod host;
mod invalid;
mod name;

pub use invalid::InvalidBlob;
pub(crate) use name::MAX_PATH;
use name::{Name, ROOT};

/// What is percent-encoded in a blob's URL: as browsers do, and what would be read as something else.
pub(crate) const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'}');
/// What was uploaded: account, container, path and ETag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobVersion {
    /// The blob's URL: `blob` host, without query, percent-encoded in one way.
    pub url: String,
    /// Storage account: the host's first label, or the first segment of an emulator's path.
    pub account: String,
    /// Container, decoded; `$root` where the URL names none.
    pub container: String,
    /// Path in the container, decoded.
    pub path: String,
    /// ETag without quotes and without `W/`: which version it is.
    pub etag: String,
    /// Orders the versions of one blob; informative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequencer: Option<String>,
    /// Length in bytes, if the event told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Content type, if the event told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Metadata that the texts of its rule name, by names in lower case. Only a look tells it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The time that its event names, in whole seconds of UTC; informative. `None` where no event told of it.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub event_time: Option<OffsetDateTime>,
}

impl BlobVersion {
    /// Takes a blob's URL apart. Accepts the hosts that an account has and path-style URLs of emulators
    /// (`http://127.0.0.1:10000/account/container/path`), and writes the URL in one spelling: two events about one upload
    /// may encode its path differently, and must have one id.
    pub fn read(url: &str, etag: &str) -> Result<Self, InvalidBlob> {
        Self::named(url, etag, Name::of_url)
    }

    /// The same for what an event tells of, which names the blob twice. `subject` as Azure Storage writes it:
    /// `/blobServices/default/containers/CONTAINER/blobs/PATH`; one of another form says nothing.
    pub fn of_event(subject: &str, url: &str, etag: &str) -> Result<Self, InvalidBlob> {
        Self::named(url, etag, |rest, shown| Name::of_both(subject, rest, shown))
    }

    /// Every blob version that a URL may name of which nobody says whether its path is percent-encoded; the likeliest first.
    pub(crate) fn readings(url: &str, etag: &str) -> Vec<Self> {
        let names = host::split(url).map(|host| Name::readings(host.rest)).unwrap_or_default();
        names.into_iter().filter_map(|name| Self::named(url, etag, |_, _| Ok(name)).ok()).collect()
    }

    fn named(
        url: &str,
        etag: &str,
        name: impl FnOnce(&str, &dyn Fn() -> String) -> Result<Name, InvalidBlob>,
    ) -> Result<Self, InvalidBlob> {
        let shown = || without_query(url).to_owned();
        let host = host::split(url)?;
        let Name { container, path } = name(host.rest, &shown)?;
        if host.account.is_empty() || container.is_empty() || path.is_empty() {
            return Err(InvalidBlob::NoPath(shown()));
        }
        let etag = unquoted(etag);
        if etag.is_empty() {
            return Err(InvalidBlob::NoETag(shown()));
        }
        let forbidden = |text: &str| text.chars().any(char::is_control);
        if forbidden(&path) || forbidden(&container) || forbidden(etag) {
            return Err(InvalidBlob::Control(format!("{path:?} in {container:?}, version {etag:?}")));
        }
        if path.chars().count() > MAX_PATH {
            return Err(InvalidBlob::TooLong);
        }
        // Written out, a URL could not name it: clients resolve segments of dots, encoded or not.
        if container.contains('/') || path.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(InvalidBlob::Unstable(shown()));
        }
        let url = if container == ROOT && !path.contains('/') {
            format!("{}/{}", host.base, encoded(&path))
        } else {
            format!("{}/{}/{}", host.base, encoded(&container), encoded(&path))
        };
        Ok(Self {
            url,
            account: host.account,
            container,
            path,
            etag: etag.to_owned(),
            sequencer: None,
            size: None,
            content_type: None,
            metadata: BTreeMap::new(),
            event_time: None,
        })
    }

    /// Last segment of the path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// URL of the account that a blob's URL names, in one spelling and without a slash at its end.
pub(crate) fn account_of(url: &str) -> Result<String, InvalidBlob> {
    host::split(url).map(|host| host.base)
}

/// A path, percent-encoded as it stands in URLs.
pub(crate) fn encoded(path: &str) -> impl std::fmt::Display {
    utf8_percent_encode(path, ENCODED)
}

/// ETags come with and without inner quotes, and weak ones with `W/`.
fn unquoted(etag: &str) -> &str {
    let etag = etag.trim();
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(url: &str, etag: &str) -> BlobVersion {
        BlobVersion::read(url, etag).expect("a blob URL")
    }

    #[test]
    fn what_names_no_blob_is_refused_and_shown_without_its_query() {
        for url in [
            "http://127.0.0.1:10000/account//p",
            "https://x.blob.core.windows.net/",
            "http://127.0.0.1:10000/account/c/",
        ] {
            let why = BlobVersion::read(&format!("{url}?sig=secret#x"), "1").unwrap_err().to_string();
            assert_eq!(why, format!("`{url}` names no blob: expected https://ACCOUNT.blob.…/CONTAINER/PATH"));
        }
    }

    #[test]
    fn urls_are_taken_apart() {
        let b = blob("https://uploads.z12.blob.storage.azure.net/c/d/e%23f.csv", "W/\"x\"");
        assert_eq!(
            (b.account.as_str(), b.container.as_str(), b.path.as_str(), b.etag.as_str()),
            ("uploads", "c", "d/e#f.csv", "x")
        );
        assert_eq!(b.name(), "e#f.csv");
        let b = blob("http://127.0.0.1:10000/devstoreaccount1/c/p.csv", "x");
        assert_eq!((b.account.as_str(), b.container.as_str(), b.path.as_str()), ("devstoreaccount1", "c", "p.csv"));
        for root in ["https://a.blob.core.windows.net/root.txt", "https://a.blob.core.windows.net/$root/root.txt"] {
            let b = blob(root, "x");
            assert_eq!((b.container.as_str(), b.url.as_str()), ("$root", "https://a.blob.core.windows.net/root.txt"));
        }
        assert_eq!(blob("http://127.0.0.1:10000/acct/root.txt", "x").url, "http://127.0.0.1:10000/acct/root.txt");
    }

    #[test]
    fn bad_urls_are_refused_without_their_query() {
        for (url, etag) in [
            ("", "1"),
            ("file:///etc/passwd", "1"),
            ("https://a.blob.core.windows.net/", "1"),
            ("https://a.blob.core.windows.net/c/%FF.csv", "1"),
            ("https://a.blob.core.windows.net/c%2Fd/x.csv", "1"),
            ("https://a.blob.core.windows.net/c/a%2F..%2Fx.csv", "1"),
            ("https://a.blob.core.windows.net/c/x%0A.csv", "1"),
            ("https://a.blob.core.windows.net/c/x.csv?sig=SECRET", "\"\""),
            ("not a url?sig=SECRET", "1"),
        ] {
            let error = BlobVersion::read(url, etag).unwrap_err().to_string();
            assert!(!error.contains("SECRET"), "{error}");
        }
    }
}
