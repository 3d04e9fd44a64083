//! What may go wrong between this client and the service: before anything is sent, on the way, and in the answer.

use app::ports::table_store::Key;
use app::ports::table_store::json::InvalidValue;
use lifecycle::text::error_chain;
use url::Url;

use crate::http::body::BodyError;

/// Why a client cannot be made: the settings contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The address is none of a table endpoint.
    #[error(
        "`{0}` is not a table endpoint; give it as https://ACCOUNT.table.core.windows.net, without user, query or fragment"
    )]
    Endpoint(String),
    /// A token must not travel in clear text.
    #[error("{0} is not https; Entra tokens are sent over TLS only")]
    TokenWithoutTls(Url),
    /// Account keys are for emulators.
    #[error("{0} is not on this machine; account keys are for emulators only, use a managed identity")]
    KeyBeyondLoopback(Url),
}

/// Why there is no answer.
pub(super) enum NoAnswer {
    /// Surely not done: no token, no connection.
    NotSent(String),
    /// It was sent and not answered: nobody knows whether it was done.
    Sent(String),
}

impl NoAnswer {
    pub(super) fn not_sent(error: impl std::error::Error) -> Self {
        Self::NotSent(error_chain(&error))
    }
}

/// Why an answer cannot be read. It is never taken for success, and never for failure.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("it is not JSON of the expected form")]
    Json(#[from] serde_json::Error),
    #[error("an entity without `{0}`")]
    Lacks(&'static str),
    #[error("entity {key}")]
    Value {
        key: Key,
        #[source]
        source: InvalidValue,
    },
    #[error("`{0}` has no boundary")]
    NoBoundary(String),
    #[error("no closing line of `{0}`")]
    NotClosed(String),
    #[error("parts within parts within parts")]
    TooDeep,
    #[error("a part's head that is none of HTTP/1.1")]
    Head(#[from] httparse::Error),
    #[error("a part whose head has no end")]
    HeadNotEnded,
    #[error("it names operation {named} of {of}")]
    Operation { named: usize, of: usize },
    #[error("{parts} parts for {operations} operations")]
    Parts { parts: usize, operations: usize },
}
