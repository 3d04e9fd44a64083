//! Events that became no scoring, as people and scripts see them: skipped ones and quarantined ones.

use lifecycle::redact::redacted;
use serde::Serialize;
use time::OffsetDateTime;

use crate::ledger::{self, Ledger, Quarantined, Skipped};

/// An event that no rule wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SkippedView {
    /// Names the event: the same for every delivery.
    pub id: String,
    /// Always `skipped`, where a scoring has its status.
    pub status: &'static str,
    /// When it was last received.
    #[serde(with = "time::serde::rfc3339")]
    pub seen_time: OffsetDateTime,
    /// URL of the blob, or the event's `subject`.
    pub subject: String,
    /// The rule whose container it lies in.
    pub rule: Option<String>,
    /// The version that it told of.
    pub etag: Option<String>,
    /// Why.
    pub reason: String,
    /// The event as it came.
    pub event: Option<String>,
}

impl From<Skipped> for SkippedView {
    fn from(skip: Skipped) -> Self {
        let shown = |text: String| redacted(&text).into_owned();
        Self {
            id: skip.key,
            status: "skipped",
            seen_time: skip.at,
            subject: shown(skip.subject),
            rule: skip.rule.map(|rule| shown(rule.to_string())),
            etag: skip.etag.map(shown),
            reason: shown(skip.reason),
            event: skip.event.map(shown),
        }
    }
}

/// An event that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QuarantinedView {
    /// Names the event: the same for every delivery.
    pub id: String,
    /// Always `quarantined`, where a scoring has its status.
    pub status: &'static str,
    /// When it was last received.
    #[serde(with = "time::serde::rfc3339")]
    pub seen_time: OffsetDateTime,
    /// Why.
    pub reason: String,
    /// What was received.
    pub received: String,
    /// Since when it needs no attention any more.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub acknowledged_time: Option<OffsetDateTime>,
}

impl From<Quarantined> for QuarantinedView {
    fn from(bad: Quarantined) -> Self {
        let shown = |text: String| redacted(&text).into_owned();
        Self {
            id: bad.key,
            status: "quarantined",
            seen_time: bad.at,
            reason: shown(bad.reason),
            received: shown(bad.received),
            acknowledged_time: bad.acknowledged,
        }
    }
}

/// Events that no rule wanted, the newest day first; at most `max` since a day.
pub async fn skipped(ledger: &Ledger, since: OffsetDateTime, max: usize) -> Result<Vec<SkippedView>, ledger::Error> {
    let mut found: Vec<SkippedView> = ledger.skipped(since, max).await?.into_iter().map(Into::into).collect();
    found.sort_by(|a, b| b.seen_time.cmp(&a.seen_time).then_with(|| a.id.cmp(&b.id)));
    Ok(found)
}

/// Events that could not be read, the newest first; at most `max` since a day.
pub async fn quarantined(
    ledger: &Ledger,
    since: OffsetDateTime,
    max: usize,
) -> Result<Vec<QuarantinedView>, ledger::Error> {
    let mut found: Vec<QuarantinedView> = ledger.quarantined(since, max).await?.into_iter().map(Into::into).collect();
    found.sort_by(|a, b| b.seen_time.cmp(&a.seen_time).then_with(|| a.id.cmp(&b.id)));
    Ok(found)
}
