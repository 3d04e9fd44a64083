//! What fills the placeholders.

use ::time::OffsetDateTime;

use crate::blob::BlobVersion;
use crate::id::{RuleId, ScoringId};

/// What fills the placeholders of one attempt. All of it is in the ledger from the time at which the scoring was accepted:
/// whoever makes an attempt, and when, it gets the same texts.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// The blob version that is scored.
    pub blob: &'a BlobVersion,
    /// Id of the rule that the template stands in.
    pub rule: &'a RuleId,
    /// Id of the scoring, which makes paths unique.
    pub scoring: &'a ScoringId,
    /// When the blob was uploaded, in UTC.
    pub event_time: OffsetDateTime,
    /// Number of the attempt, from 1.
    pub attempt: u32,
}
