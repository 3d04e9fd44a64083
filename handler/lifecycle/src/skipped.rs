//! The record of an event that no rule wants.

use crate::id::RuleId;

/// An event that was understood and refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedEvent {
    /// The same for every delivery of the event.
    pub key: String,
    /// URL of the blob, without query; of an event that tells of no upload its `subject`, as far as it has one.
    pub subject: String,
    /// The rule whose container the blob lies in, if there is one.
    pub rule: Option<RuleId>,
    /// ETag of the version that it tells of, if it tells of one.
    pub etag: Option<String>,
    /// Why.
    pub reason: String,
}
