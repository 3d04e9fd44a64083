//! Why a use case could not be carried out, by what its caller can do about it.

use lifecycle::payload::TooManyEvents;

use crate::ledger;

pub(crate) use lifecycle::text::error_chain;

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
    /// An event cannot be read, and is too long to be kept whole. Its beginning is in quarantine, the other events of its
    /// delivery are taken in.
    #[error("an event cannot be read ({reason}) and is longer than the {max} characters that are kept of one; what delivers it must keep it", max = lifecycle::intake::MAX_RECEIVED)]
    NotKeptWhole {
        /// Why it cannot be read.
        reason: String,
    },
    /// A delivery is larger than Event Grid makes them. Nothing of it was taken.
    #[error(transparent)]
    TooManyEvents(#[from] TooManyEvents),
}

/// Turns the ledger's error into one that says what was being done.
pub(crate) fn during(what: &'static str) -> impl FnOnce(ledger::Error) -> Error {
    move |source| Error::Ledger { what, source }
}
