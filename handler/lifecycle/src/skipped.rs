//! The record of an event that no rule wants.

use time::OffsetDateTime;

use crate::blob::BlobVersion;
use crate::digest::digest;
use crate::id::RuleId;
use crate::text::one_line;

/// Characters of a reason that are kept; it quotes the event or names each rule.
pub(crate) const MAX_REASON: usize = 2_000;

/// An event that was understood and refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedEvent {
    /// The same for every delivery of the event that is skipped for the same reason.
    pub key: String,
    /// URL of the blob, without query; of an event that tells of no upload its `subject`, as far as it has one.
    pub subject: String,
    /// The rule whose container the blob lies in, if there is one.
    pub rule: Option<RuleId>,
    /// ETag of the version that it tells of, if it tells of one.
    pub etag: Option<String>,
    /// Why no scoring was made of it, for people; of several rules each with what it refused.
    pub reason: String,
}

/// The key of a skip of what `parts` name. Two events may say the same of one blob at different times, or one may be skipped for
/// another reason when it comes again: neither record hides the other.
pub(crate) fn skip_key(parts: &[&str], event_time: Option<OffsetDateTime>, reason: &str) -> String {
    let at = event_time.map(|at| at.unix_timestamp().to_string()).unwrap_or_default();
    digest(&[parts, &[&at, reason]].concat())
}

/// The record of a blob version that is skipped. One that is skipped for another reason, as after a change of the rules, is
/// another record.
pub fn skipped(blob: &BlobVersion, rule: Option<RuleId>, reason: &str) -> SkippedEvent {
    let reason = one_line(reason, MAX_REASON);
    let key = digest(&[&blob.url, &blob.etag, rule.as_deref().unwrap_or_default(), &reason]);
    let (subject, etag) = (blob.url.clone(), Some(blob.etag.clone()));
    SkippedEvent { key, subject, rule, etag, reason }
}
