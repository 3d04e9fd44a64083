//! Why a command could not do its work, as one text for the person who ran it.

use std::{fmt::Display, io, path::Path};

/// Names what was tried, on what, and the remedy where there is one.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failure(String);

/// The result of everything here.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure in our own words.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// For `map_err` behind a file operation: "cannot `action` `path`: cause".
pub(crate) fn cannot<'a, E: Display>(action: &'a str, path: &'a Path) -> impl FnOnce(E) -> Failure + 'a {
    move |cause| Failure(format!("cannot {action} {}: {cause}", path.display()))
}

/// For `map_err` behind the start of a program.
pub(crate) fn cannot_start(program: &str) -> impl FnOnce(io::Error) -> Failure + '_ {
    move |cause| Failure(format!("cannot start `{program}`: {cause}"))
}
