//! A blob version: what was uploaded, in one spelling.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::uri::without_query;

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
/// Where blobs without a container in their URL live.
const ROOT: &str = "$root";

/// Why a URL and an ETag name no blob version. The URL is shown without its query, where a SAS would be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBlob {
    /// Not a URL at all.
    #[error("`{url}` is not a URL: {source}")]
    NoUrl {
        /// What was given, without its query.
        url: String,
        /// What the parser says about it.
        source: url::ParseError,
    },
    /// A URL of another scheme.
    #[error("`{0}` is not an http(s) URL")]
    Scheme(String),
    /// A URL that cannot have a host.
    #[error("`{0}` has no host")]
    NoHost(String),
    /// A `dfs` host that gives no `blob` host.
    #[error("`{url}`: {source}")]
    Host {
        /// What was given, without its query.
        url: String,
        /// What the parser says of the `blob` host.
        source: url::ParseError,
    },
    /// Percent-encoded bytes that are not text.
    #[error("the path of `{0}` is not UTF-8")]
    NotUtf8(String),
    /// Account, container or path is missing.
    #[error("`{0}` names no blob: expected https://ACCOUNT.blob.…/CONTAINER/PATH")]
    NoPath(String),
    /// An encoded slash or dots that a URL resolves: written out again, it would name another blob.
    #[error("`{0}` names no blob: its path does not stay what it is as a URL")]
    Unstable(String),
    /// An empty ETag: no version is named, so it could not be told whether what is scored is what was uploaded.
    #[error("the event about `{0}` has no eTag")]
    NoETag(String),
    /// Control characters, which rows and logs do not take.
    #[error("`{0}` holds control characters")]
    Control(String),
}

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
}

impl BlobVersion {
    /// Takes a blob's URL apart. Accepts `blob` and `dfs` hosts and path-style URLs of emulators
    /// (`http://127.0.0.1:10000/account/container/path`), and writes the URL in one spelling: two events about one upload
    /// may encode its path differently, and must have one id.
    pub fn read(url: &str, etag: &str) -> Result<Self, InvalidBlob> {
        let shown = || without_query(url).to_owned();
        let mut parsed = Url::parse(url.trim()).map_err(|source| InvalidBlob::NoUrl { url: shown(), source })?;
        if !matches!(parsed.scheme(), "https" | "http") {
            return Err(InvalidBlob::Scheme(shown()));
        }
        parsed.set_query(None);
        parsed.set_fragment(None);
        if parsed.set_username("").and_then(|()| parsed.set_password(None)).is_err() {
            return Err(InvalidBlob::NoHost(shown()));
        }
        let host = parsed.host_str().unwrap_or_default().to_owned();
        let path_style = !matches!(parsed.host(), Some(url::Host::Domain(_))) || host == "localhost";
        if host.contains(".dfs.") {
            let blob_host = host.replacen(".dfs.", ".blob.", 1);
            parsed.set_host(Some(&blob_host)).map_err(|source| InvalidBlob::Host { url: shown(), source })?;
        }
        let decode = |text: &str| {
            percent_encoding::percent_decode_str(text)
                .decode_utf8()
                .map(std::borrow::Cow::into_owned)
                .map_err(|_| InvalidBlob::NotUtf8(shown()))
        };
        let mut rest = parsed.path().trim_start_matches('/');
        let mut before = String::new();
        let account = if path_style {
            let (account, behind) = rest.split_once('/').unwrap_or((rest, ""));
            rest = behind;
            before = format!("/{account}");
            account.to_owned()
        } else {
            host.split('.').next().unwrap_or_default().to_owned()
        };
        let (container, path) = rest.split_once('/').unwrap_or((ROOT, rest));
        let (container, path) = (decode(container)?, decode(path)?);
        if account.is_empty() || container.is_empty() || path.is_empty() {
            return Err(InvalidBlob::NoPath(shown()));
        }
        let encoded = |text| utf8_percent_encode(text, ENCODED);
        let whole = if container == ROOT && !path.contains('/') {
            format!("{before}/{}", encoded(&path))
        } else {
            format!("{before}/{}/{}", encoded(&container), encoded(&path))
        };
        parsed.set_path(&whole);
        // An encoded slash beside dots, or in a container's name: no blob has such a name, and a URL cannot hold it.
        if container.contains('/') || parsed.path() != whole {
            return Err(InvalidBlob::Unstable(shown()));
        }
        let etag = unquoted(etag);
        if etag.is_empty() {
            return Err(InvalidBlob::NoETag(shown()));
        }
        let forbidden = |text: &str| text.chars().any(char::is_control);
        if forbidden(&path) || forbidden(&container) || forbidden(etag) {
            return Err(InvalidBlob::Control(shown()));
        }
        Ok(Self {
            url: parsed.into(),
            account,
            container,
            path,
            etag: etag.to_owned(),
            sequencer: None,
            size: None,
            content_type: None,
        })
    }

    /// Last segment of the path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
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
