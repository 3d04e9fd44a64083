//! How far the places of rules are swept, as people and scripts see it.

use lifecycle::RuleId;
use lifecycle::sweep::SweptPlace;
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use crate::ledger::{self, Ledger, Unreadable};

/// A place that is due, and on which nobody has worked for so long, is told of.
const OVERDUE_AFTER: Duration = Duration::HOUR;

/// A place of a rule, and its last sweep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SweepView {
    /// Id of the rule that wants the place swept.
    pub rule: RuleId,
    /// URL of the container, with the prefix.
    pub place: String,
    /// What was written before is not taken in.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// When a sweep of it last came to its end.
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended: Option<OffsetDateTime>,
    /// When the sweep began that is under way.
    #[serde(with = "time::serde::rfc3339::option")]
    pub running_since: Option<OffsetDateTime>,
    /// Blobs that the last sweep listed.
    pub listed: u64,
    /// Versions of them that were not in the ledger, and are now.
    pub found: u64,
    /// Versions that were listed and that the ledger could not take.
    pub unaccounted: u64,
    /// Versions of them that were there before the place was swept, or before the last sweep.
    pub older: u64,
    /// Why the last try failed, if it did.
    pub failure: Option<String>,
    /// Tries in a row that did.
    #[serde(skip)]
    pub failures: u32,
    /// Since when nobody has worked on it, though it is due.
    #[serde(with = "time::serde::rfc3339::option")]
    pub overdue_since: Option<OffsetDateTime>,
}

/// All places that are swept, in the order of their rules.
pub(super) async fn sweeps(
    ledger: &Ledger,
    now: OffsetDateTime,
) -> Result<(Vec<SweepView>, Vec<Unreadable>), ledger::Error> {
    let kept = ledger.swept_places().await?;
    let mut views: Vec<_> = kept.read.into_iter().map(|(place, _)| view(place, now)).collect();
    views.sort_by(|a, b| (&*a.rule, &a.place).cmp(&(&*b.rule, &b.place)));
    Ok((views, kept.unreadable))
}

fn view(place: SweptPlace, now: OffsetDateTime) -> SweepView {
    let last_worked_on = place.due.max(place.updated);
    let (running_since, ended) = (place.current.as_ref().map(|sweep| sweep.began), place.ended());
    let seen = place.last.map(|(last, _)| last.seen).unwrap_or_default();
    SweepView {
        rule: place.rule,
        place: place.place.to_string(),
        since: place.since,
        ended,
        running_since,
        listed: seen.listed,
        found: seen.found,
        unaccounted: place.unaccounted,
        older: seen.older,
        failure: place.failure,
        failures: place.failures,
        overdue_since: (now - last_worked_on > OVERDUE_AFTER).then_some(last_worked_on),
    }
}
