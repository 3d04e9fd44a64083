//! URLs of blobs, as requests to the simulated services name them.

use percent_encoding::percent_decode_str;
use url::{Host, Url};

/// A URL cut before its query, where signatures and keys stand: the part that may be shown and kept.
pub(crate) fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

/// A blob by its name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) account: String,
    pub(crate) container: String,
    /// Path in the container, decoded.
    pub(crate) path: String,
}

/// Why a URL names no blob. Holds no query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no blob: expected https://ACCOUNT.blob.…/CONTAINER/PATH")]
pub(crate) struct NoBlob(String);

impl Blob {
    /// Takes a blob's URL apart: `blob` and `dfs` hosts, and path-style URLs of emulators
    /// (`http://127.0.0.1:10000/account/container/path`).
    pub(crate) fn from_url(text: &str) -> Result<Self, NoBlob> {
        let no_blob = || NoBlob(without_query(text).to_owned());
        let url = Url::parse(text).map_err(|_| no_blob())?;
        let decoded = |part: &str| percent_decode_str(part).decode_utf8().map(String::from).map_err(|_| no_blob());
        let path = url.path().trim_start_matches('/');
        let (account, rest) = match url.host() {
            Some(Host::Domain(host)) if host != "localhost" => (host.split('.').next().unwrap_or_default(), path),
            _ => path.split_once('/').ok_or_else(no_blob)?,
        };
        let (container, path) = rest.split_once('/').ok_or_else(no_blob)?;
        let blob = Self { account: account.to_owned(), container: decoded(container)?, path: decoded(path)? };
        if blob.account.is_empty() || blob.container.is_empty() || blob.path.is_empty() {
            return Err(no_blob());
        }
        Ok(blob)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_are_read_from_service_and_emulator_urls() {
        for (url, parts) in [
            ("https://up.blob.core.windows.net/c/d/e%23f.csv?sig=x", ["up", "c", "d/e#f.csv"]),
            ("https://up.dfs.core.windows.net/c/a%20b", ["up", "c", "a b"]),
            ("http://127.0.0.1:10000/acct/c/p", ["acct", "c", "p"]),
        ] {
            let blob = Blob::from_url(url).unwrap();
            assert_eq!([&*blob.account, &*blob.container, &*blob.path], parts, "{url}");
        }
        for url in ["", "https://up.blob.core.windows.net/c?sig=SECRET", "http://127.0.0.1:1/acct/c?sig=SECRET"] {
            assert!(!Blob::from_url(url).unwrap_err().to_string().contains("SECRET"), "{url}");
        }
    }
}
