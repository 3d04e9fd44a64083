//! One small blob, whole: read if it has changed, written and deleted if nobody else has changed it. Rules lie in one, and what Event
//! Grid could not deliver.
//!
//! By our own client, as each look is one small request: `GET` with `If-None-Match`, of rules answered 304 nearly always.

use app::ports::Inconclusive;
use lifecycle::StorageHosts;
use lifecycle::storage_hosts::ForeignHost;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use reqwest::{Method, Url};

use crate::http::authorized::{HttpAnswer, ask_more};
use crate::tokens::{Storage, Tokens};

/// The service wants `x-ms-version` with each request that has a token.
const VERSION: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-ms-version"), HeaderValue::from_static("2023-11-03"));
const BLOCK_BLOB: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-ms-blob-type"), HeaderValue::from_static("BlockBlob"));

/// The blob, and who reads it.
#[derive(Debug)]
pub struct SmallBlob {
    /// Its URL as it was given, for messages; the host that is asked may be another one.
    shown: String,
    /// Where it is asked for.
    url: Url,
    tokens: Tokens<Storage>,
    /// Of a larger one nothing is taken.
    max_bytes: usize,
}

/// What a look shows, compared with the version that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobRead {
    /// It is the version that is known.
    Unchanged,
    /// It is another version than the one that is known, or none was known.
    Version {
        /// Its ETag, quoted as the service gives it.
        etag: String,
        /// The whole content; a blob of more bytes than are taken is an error.
        bytes: Vec<u8>,
    },
}

/// Why the blob could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The service answered a look with 404: there is no blob at this URL.
    #[error("there is no blob {0}")]
    Missing(String),
    /// Nothing can be written there.
    #[error("there is no container for {0}")]
    NoContainer(String),
    /// The service says that this identity may not.
    #[error("storage answered {status}{code} about {blob}")]
    NotAllowed {
        /// 401 where the token is not accepted, 403 where the identity may not do this.
        status: u16,
        /// The service's own word for it.
        code: String,
        /// URL of the blob, as it was given.
        blob: String,
    },
    /// Somebody else has changed it.
    #[error("{0} was changed by somebody else meanwhile")]
    Changed(String),
    /// It is not known how the blob stands, and a write may have happened: look again later.
    #[error(transparent)]
    Inconclusive(#[from] Inconclusive),
}

impl SmallBlob {
    /// The blob of this URL, on one of these hosts. No token goes to another one.
    pub fn new(
        url: &Url,
        hosts: &StorageHosts,
        tokens: Tokens<Storage>,
        max_bytes: usize,
    ) -> Result<Self, ForeignHost> {
        Ok(Self { shown: url.to_string(), url: hosts.reach(url)?, tokens, max_bytes })
    }

    /// Its URL as it was given, for messages.
    pub fn url(&self) -> &str {
        &self.shown
    }

    /// What it holds, unless that is the version `known`.
    pub async fn read(&self, known: Option<&str>) -> Result<BlobRead, Error> {
        let mut headers = HeaderMap::from_iter([VERSION]);
        if let Some(known) = known.and_then(|etag| HeaderValue::from_str(etag).ok()) {
            headers.insert(IF_NONE_MATCH, known);
        }
        let got = ask_more(&self.tokens, Method::GET, &self.url, &headers, None, self.max_bytes).await?;
        match got.status {
            304 => Ok(BlobRead::Unchanged),
            200 => match got.etag {
                Some(etag) => Ok(BlobRead::Version { etag, bytes: got.body }),
                None => {
                    Err(Inconclusive::not_understood(format!("the answer about {} lacks the ETag", self.shown)).into())
                }
            },
            _ => Err(self.refused(&got)),
        }
    }

    /// Writes it if it still is the version `known`, or still is not there. Returns the new ETag. Repeated as reads are: who was
    /// refused then has a look whose it is.
    pub async fn write(&self, bytes: &[u8], known: Option<&str>) -> Result<Option<String>, Error> {
        let mut headers = HeaderMap::from_iter([VERSION, BLOCK_BLOB]);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let unusable = |why| Inconclusive::not_asked("the ETag cannot be sent").caused_by(why);
        match known {
            Some(etag) => headers.insert(IF_MATCH, HeaderValue::from_str(etag).map_err(unusable)?),
            None => headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*")),
        };
        let got = ask_more(&self.tokens, Method::PUT, &self.url, &headers, Some(bytes), self.max_bytes).await?;
        match got.status {
            201 => Ok(got.etag),
            404 => Err(Error::NoContainer(self.shown.clone())),
            // Its own first try may have gone through.
            409 | 412 => match self.read(None).await? {
                BlobRead::Version { etag, bytes: there } if there == bytes => Ok(Some(etag)),
                _ => Err(Error::Changed(self.shown.clone())),
            },
            _ => Err(self.refused(&got)),
        }
    }

    /// Deletes it if it still is the version `known`. One that is not there any more is deleted.
    pub async fn delete(&self, known: &str) -> Result<(), Error> {
        let mut headers = HeaderMap::from_iter([VERSION]);
        let unusable = |why| Inconclusive::not_asked("the ETag cannot be sent").caused_by(why);
        headers.insert(IF_MATCH, HeaderValue::from_str(known).map_err(unusable)?);
        let got = ask_more(&self.tokens, Method::DELETE, &self.url, &headers, None, self.max_bytes).await?;
        match got.status {
            202 | 404 => Ok(()),
            412 => Err(Error::Changed(self.shown.clone())),
            _ => Err(self.refused(&got)),
        }
    }

    fn refused(&self, got: &HttpAnswer) -> Error {
        let code = storage_code(&got.body).map(|code| format!(" ({code})")).unwrap_or_default();
        match got.status {
            404 => Error::Missing(self.shown.clone()),
            status @ (401 | 403) => Error::NotAllowed { status, code, blob: self.shown.clone() },
            status => {
                Inconclusive::not_understood(format!("storage answered {status}{code} about {}", self.shown)).into()
            }
        }
    }
}

/// The service's own word for an error: `<Error><Code>…</Code>`.
fn storage_code(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let (_, behind) = text.split_once("<Code>")?;
    let (code, _) = behind.split_once("</Code>")?;
    (code.len() <= 100 && code.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| code.to_owned())
}
