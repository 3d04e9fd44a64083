//! Why a use case could not be carried out, by what its caller can do about it.

use crate::ledger;

/// Why a use case could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ledger could not take or give it. Nothing is lost: deliver the event again, let the next tick try.
    #[error("{what}")]
    Ledger {
        /// What was being done, for the log line that this error begins.
        what: &'static str,
        /// Why it could not be done.
        #[source]
        source: ledger::Error,
    },
}

/// Turns the ledger's error into one that says what was being done.
pub(crate) fn during(what: &'static str) -> impl FnOnce(ledger::Error) -> Error {
    move |source| Error::Ledger { what, source }
}

/// An error with its causes, on one line.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
