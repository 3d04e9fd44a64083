//! Events that became no scoring, as people and scripts see them: skipped ones and quarantined ones.

use lifecycle::redact::redacted;
use serde::Serialize;
use time::OffsetDateTime;

use super::scorings::UnreadableView;
use crate::ledger::{self, Ledger, Place, Quarantined, Skipped};

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
    /// Why nothing is scored for it, for people; secrets are masked.
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
    /// What of it could not be read, for people; secrets are masked.
    pub reason: String,
    /// The event as it came, secrets masked; of a long one its beginning.
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

/// One page of events that became no scoring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage<T> {
    /// The events, the newest first.
    pub events: Vec<T>,
    /// Rows in their places that cannot be read.
    pub unreadable: Vec<UnreadableView>,
    /// Where the next page begins; `None`: there are no more.
    pub next: Option<Place>,
}

/// Events that no rule wanted and that are asked for; at most `max` behind a place, the newest day first.
pub async fn skipped(
    ledger: &Ledger,
    since: OffsetDateTime,
    after: Option<&Place>,
    max: usize,
    wants: impl Fn(&Skipped) -> bool,
) -> Result<EventPage<SkippedView>, ledger::Error> {
    let wants = |skip: &Skipped| skip.at >= since && wants(skip);
    let (rows, next) = ledger.skipped_page(since, after, max, wants).await?;
    let unreadable = rows.unreadable.into_iter().map(Into::into).collect();
    let mut events: Vec<SkippedView> = rows.read.into_iter().map(Into::into).collect();
    events.sort_by(|a, b| b.seen_time.cmp(&a.seen_time).then_with(|| a.id.cmp(&b.id)));
    Ok(EventPage { events, unreadable, next })
}

/// Events that could not be read, likewise.
pub async fn quarantined(
    ledger: &Ledger,
    since: OffsetDateTime,
    after: Option<&Place>,
    max: usize,
) -> Result<EventPage<QuarantinedView>, ledger::Error> {
    let (rows, next) = ledger.quarantined_page(since, after, max).await?;
    let unreadable = rows.unreadable.into_iter().map(Into::into).collect();
    let mut events: Vec<QuarantinedView> = rows.read.into_iter().map(Into::into).collect();
    events.sort_by(|a, b| b.seen_time.cmp(&a.seen_time).then_with(|| a.id.cmp(&b.id)));
    Ok(EventPage { events, unreadable, next })
}
