//! What accounts for the versions of each rule and day, and how many nothing accounts for.

use std::collections::BTreeMap;

use lifecycle::coverage::Outcome;
use lifecycle::redact::redacted;
use lifecycle::text::one_line;
use serde::Serialize;
use time::{Date, OffsetDateTime};

use super::sweeps::{SweepView, sweeps};
use crate::ledger::{self, EndCounts, InFlight, Ledger, Pending, Skipped, Terminal};

/// Skipped or quarantined events that are read at one time.
const PAGE: usize = 1_000;
/// Reasons for skips that are told of a rule and day; of the others it is known how many there are.
const MAX_REASONS: usize = 20;
/// Characters of a reason by which skips are one.
const SAME_REASON: usize = 100;

/// The versions of a rule that were told of on a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CoverageView {
    /// The rule; none of events that cannot be read, or that no rule's container holds.
    pub rule: Option<String>,
    /// The day on which the version was accepted or the event received, of UTC: `2026-07-21`.
    pub day: String,
    /// Versions and events of the rule and day, whatever accounts for them: the sum of `outcomes`.
    pub accounted: u64,
    /// The same by what accounts for them.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Those that were skipped by why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<String, u64>,
}

/// What accounts for each version that was told of, and what sweeps found that nothing accounts for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// By day, the newest first, and rule.
    pub days: Vec<CoverageView>,
    /// Places that are swept, with what is unaccounted for there.
    pub places: Vec<SweepView>,
    /// Versions that sweeps have listed and that nothing accounts for.
    pub unaccounted: u64,
}

/// Versions that sweeps have listed and that nothing accounts for.
pub(super) fn unaccounted(places: &[SweepView]) -> u64 {
    places.iter().map(|view| view.unaccounted).sum()
}

/// Counts of rules and days.
pub(super) struct Tally {
    since: OffsetDateTime,
    counts: BTreeMap<(std::cmp::Reverse<Date>, Option<String>), CoverageView>,
}

impl Tally {
    /// Of what was told of since then.
    pub(super) fn since(since: OffsetDateTime) -> Self {
        Self { since, counts: BTreeMap::new() }
    }

    fn add(&mut self, rule: Option<&str>, at: OffsetDateTime, outcome: Outcome) -> Option<&mut CoverageView> {
        if at < self.since {
            return None;
        }
        Some(self.add_many(rule, at.to_offset(time::UtcOffset::UTC).date(), outcome, 1))
    }

    fn add_many(&mut self, rule: Option<&str>, day: Date, outcome: Outcome, count: u64) -> &mut CoverageView {
        let rule = rule.map(|rule| redacted(rule).into_owned());
        let view = self.counts.entry((std::cmp::Reverse(day), rule.clone())).or_insert_with(|| CoverageView {
            rule,
            day: day.to_string(),
            accounted: 0,
            outcomes: BTreeMap::new(),
            skipped: BTreeMap::new(),
        });
        view.accounted += count;
        *view.outcomes.entry(outcome).or_default() += count;
        view
    }

    /// What ended, as it was counted: by the days on which it was accepted.
    pub(super) fn counted(&mut self, ended: &EndCounts) {
        for end in ended.ends() {
            let count = u64::try_from(end.count).unwrap_or(u64::MAX);
            self.add_many(Some(&end.rule), end.accepted, Outcome::of(end.status), count);
        }
    }

    pub(super) fn scorings(&mut self, in_flight: &[InFlight], ended: &[Terminal]) {
        for row in in_flight.iter().filter(|row| !row.is_group()) {
            self.add(Some(&row.rule), row.created, Outcome::of(row.status));
        }
        for row in ended {
            self.add(Some(&row.rule), row.created, Outcome::of(row.status));
        }
    }

    fn skipped(&mut self, skip: &Skipped) {
        if let Some(view) = self.add(skip.rule.as_deref(), skip.at, Outcome::Skipped) {
            let reason = redacted(&one_line(&skip.reason, SAME_REASON)).into_owned();
            let is_room = view.skipped.len() < MAX_REASONS || view.skipped.contains_key(&reason);
            *view.skipped.entry(if is_room { reason } else { "others".to_owned() }).or_default() += 1;
        }
    }

    pub(super) fn views(self) -> Vec<CoverageView> {
        self.counts.into_values().collect()
    }
}

/// What accounts for what was told of since then.
pub async fn coverage(ledger: &Ledger, since: OffsetDateTime, now: OffsetDateTime) -> Result<Coverage, ledger::Error> {
    let mut tally = Tally::since(since);
    // What was accepted since then is in flight, or ended since then.
    tally.scorings(&ledger.in_flight().await?, &ledger.ended_since(since).await?);
    let mut after = None;
    loop {
        let (rows, next) = ledger.skipped_page(since, after.as_ref(), PAGE, |_| true).await?;
        rows.read.iter().for_each(|skip| tally.skipped(skip));
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let mut after = None;
    loop {
        let (rows, next) = ledger.quarantined_page(since, after.as_ref(), PAGE).await?;
        for bad in &rows.read {
            tally.add(None, bad.at, Outcome::Quarantined);
        }
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let mut from = None;
    loop {
        let (rows, next) = ledger.pending_page(from.as_ref()).await?;
        for (pending, _) in rows.into_iter().flatten() {
            let rule = match &pending {
                Pending::Upload(upload) => Some(&*upload.rule),
                Pending::Folder(_) | Pending::Order(_) => None,
            };
            tally.add(rule, pending.since(), Outcome::Waiting);
        }
        match next {
            Some(next) => from = Some(next),
            None => break,
        }
    }
    let (places, _) = sweeps(ledger, now).await?;
    Ok(Coverage { days: tally.views(), unaccounted: unaccounted(&places), places })
}
