//! Uploads one file as a blob, for a person who runs a scoring of it.

use app::ports::Inconclusive;
use lifecycle::StorageHosts;
use lifecycle::storage_hosts::ForeignHost;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH};
use reqwest::{Method, Url};

use crate::http::authorized::ask_more;
use crate::tokens::{Storage, Tokens};

/// The service wants `x-ms-version` with each request that has a token.
const VERSION: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-ms-version"), HeaderValue::from_static("2023-11-03"));
const BLOCK_BLOB: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-ms-blob-type"), HeaderValue::from_static("BlockBlob"));
/// Of an answer no more is read.
const MAX_ANSWER: usize = 64 * 1024;

/// Why it was not uploaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something is at the path, and overwriting it was not asked for; names the URL.
    #[error("there is a blob {0} already; --force overwrites it, and leaving --upload out scores what is there")]
    Exists(String),
    /// The service answered 404: the container of this URL has to be made first.
    #[error("there is no container for {0}; make it: az storage container create --auth-mode login")]
    NoContainer(String),
    /// Whoever is signed in may not write there.
    #[error(
        "storage answered {status} about {blob}; whoever uploads needs the role Storage Blob Data Contributor on the container"
    )]
    NotAllowed {
        /// The service's answer, 401 or 403.
        status: u16,
        /// URL of the blob that was to be written, as it was given.
        blob: String,
    },
    /// Whether it was written is not known: the URL, and what came in place of an answer that tells.
    #[error("{0} was not uploaded")]
    Inconclusive(String, #[source] Inconclusive),
}

/// A blob that is uploaded to.
pub struct Upload {
    shown: String,
    url: Url,
    tokens: Tokens<Storage>,
}

impl Upload {
    /// To this URL. No token goes to a host that is none of these.
    pub fn new(url: &str, hosts: &StorageHosts, tokens: Tokens<Storage>) -> Result<Self, ForeignHost> {
        let read = Url::parse(url).map_err(|_| ForeignHost(url.to_owned()))?;
        Ok(Self { shown: url.to_owned(), url: hosts.reach(&read)?, tokens })
    }

    /// Writes all of it, in place of what is there only if that is wanted.
    pub async fn upload(&self, bytes: &[u8], overwrite: bool) -> Result<(), Error> {
        let mut headers = HeaderMap::from_iter([VERSION, BLOCK_BLOB]);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        if !overwrite {
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        let put = ask_more(&self.tokens, Method::PUT, &self.url, &headers, Some(bytes), MAX_ANSWER).await;
        let put = put.map_err(|why| Error::Inconclusive(self.shown.clone(), why))?;
        match put.status {
            201 => Ok(()),
            404 => Err(Error::NoContainer(self.shown.clone())),
            409 | 412 => Err(Error::Exists(self.shown.clone())),
            status @ (401 | 403) => Err(Error::NotAllowed { status, blob: self.shown.clone() }),
            status => {
                let why = Inconclusive::not_understood(format!("storage answered {status}"));
                Err(Error::Inconclusive(self.shown.clone(), why))
            }
        }
    }
}
