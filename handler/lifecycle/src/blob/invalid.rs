//! Why an event names no blob version.

/// Why a URL, the event's `subject` and an ETag name no blob version. A URL is shown without its query, where a SAS would be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBlob {
    /// Not a URL at all, or one whose host is none.
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
    /// Percent-encoded bytes that are not text.
    #[error("the path of `{0}` is not UTF-8")]
    NotUtf8(String),
    /// Account, container or path is missing.
    #[error("`{0}` names no blob: expected https://ACCOUNT.blob.…/CONTAINER/PATH")]
    NoPath(String),
    /// A `?` that may begin a query or belong to the name, and nothing else that tells the name.
    #[error(
        "`{0}` has a `?` that may begin a query or belong to the name, and the event's `subject` does not say which"
    )]
    Query(String),
    /// Two names. Either may be another blob's.
    #[error("`subject` names `{subject}` and `data.url` names `{url}`, which is not one name however they are decoded")]
    Disagree {
        /// The name as `subject` has it.
        subject: String,
        /// What stands behind the host in `data.url`.
        url: String,
    },
    /// U+FFFD stands where a character was lost, wherever the name is told. Whatever was there, another blob may have the
    /// name that is left.
    #[error("the name was lost on the way: U+FFFD stands where a character was, in all that names it: `{0}`")]
    Lost(String),
    /// An encoded slash in a container's name, or segments of dots: every client would write the URL out as another blob's.
    #[error("`{0}` names no blob that a URL can hold: clients resolve its dots, or its container has a slash")]
    Unstable(String),
    /// Longer than a blob's name may be.
    #[error("the blob's name is longer than Azure Storage allows")]
    TooLong,
    /// An empty ETag: no version is named, so it could not be told whether what is scored is what was uploaded.
    #[error("the event about `{0}` has no eTag")]
    NoETag(String),
    /// Control characters, which rows and logs do not take. Shown escaped.
    #[error("the blob's name, or its ETag, holds control characters: {0}")]
    Control(String),
}
