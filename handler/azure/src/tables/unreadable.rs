//! An answer that says nothing: why it cannot be read. Never taken for success, and never for failure.

use app::ports::table_store::Key;
use app::ports::table_store::json::InvalidValue;

#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("it broke off")]
    Cut(#[source] azure_core::Error),
    #[error("it is too long")]
    TooLong,
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
    #[error("{0}")]
    Part(&'static str),
    #[error("it names operation {named} of {of}")]
    Operation { named: usize, of: usize },
    #[error("{parts} parts for {operations} operations")]
    Parts { parts: usize, operations: usize },
}
