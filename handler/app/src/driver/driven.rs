//! What came of a drive.

use lifecycle::{Effect, Scoring};

/// What came of a drive.
#[derive(Debug, Clone, PartialEq)]
pub struct Driven {
    /// The scoring as the driver last knew it.
    pub scoring: Box<Scoring>,
    /// Moves that were recorded, by this driver.
    pub moves: usize,
    /// Why it went no further.
    pub end: End,
}

/// Why a drive went no further.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// There is nothing to do for it now.
    Waits {
        /// Why, as `decide` or admission says it.
        reason: String,
    },
    /// Its last move left nothing to be done at once; the next tick, or the next event, goes on.
    Done,
    /// Somebody else moved it on meanwhile, and drives it.
    Overtaken,
    /// Its last move asks for something that this driver cannot do, as it has the ledger only. It is on record, and the
    /// next tick does it: a job that is to stop is named in the scoring's row, and is asked to whenever it is met.
    Left(Effect),
}
