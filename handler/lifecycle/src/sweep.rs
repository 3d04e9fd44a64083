//! How far a place is swept under a rule: what is listed there is held against the ledger, page by page, so that a version without an
//! event is found.
//!
//! Most sweeps ask the ledger only about what was written since the one before began; one a day asks about all that it may
//! remember, as a rename leaves the time at which a blob was written as it is.

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::digest::digest;
use crate::id::RuleId;
use crate::listing::BlobPrefix;
use crate::pending::{BlobSnapshot, MAX_REASON, pause};
use crate::rule::Rule;
use crate::schedule::{believable_due, is_ahead};
use crate::text::one_line;

/// How long a claim of a place holds that nobody renews. Whoever died has left it behind after this.
pub const CLAIM: Duration = Duration::minutes(5);
/// Between two sweeps that ask the ledger about all versions of a place.
const WHOLE_EVERY: Duration = Duration::DAY;
/// Clocks of the storage and of processes may differ by so much.
const CLOCKS: Duration = Duration::HOUR;
/// Storage tells whole seconds: what was written in the second of a time is shown as written before it.
const WHOLE_SECOND: Duration = Duration::SECOND;
/// A version that was written earlier than this before its retention is over may be forgotten soon: nobody asks about it.
const BEFORE_FORGOTTEN: Duration = Duration::DAY;

/// A place under a rule, and how far it is swept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweptPlace {
    /// The same for this rule and place.
    pub key: String,
    /// The rule whose uploads are looked for; its shadows are asked with it.
    pub rule: RuleId,
    /// Account, container and prefix of the rule's `match`: one place for each account that it watches.
    pub place: BlobPrefix,
    /// When it was to be swept for the first time: what was written before was there before, and is not taken in.
    pub since: OffsetDateTime,
    /// When the next sweep begins, or the present one is tried again.
    pub due: OffsetDateTime,
    /// When it was changed last, by the clock of whoever changed it.
    pub updated: OffsetDateTime,
    /// Until when nobody else works on it.
    pub claimed_until: Option<OffsetDateTime>,
    /// The sweep that is under way.
    pub current: Option<Sweep>,
    /// The last one that came to its end, and when it did.
    pub last: Option<(Sweep, OffsetDateTime)>,
    /// When the last one began that asked about all versions and came to its end.
    pub last_whole: Option<OffsetDateTime>,
    /// Versions that the last try has listed and that the ledger could not take.
    pub unaccounted: u64,
    /// Tries in a row that failed.
    pub failures: u32,
    /// Why the last one did, if it did.
    pub failure: Option<String>,
}

/// One sweep of a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sweep {
    /// When it began, by the clock of whoever began it: the next one is due an interval later.
    #[serde(with = "time::serde::rfc3339")]
    pub began: OffsetDateTime,
    /// The ledger is asked about versions that were written since.
    #[serde(with = "time::serde::rfc3339")]
    pub from: OffsetDateTime,
    /// These are all that it may remember.
    pub whole: bool,
    /// Where its next page begins; `None`: at the beginning, or it came to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Sums over the pages that are done, so that whoever goes on with it counts on.
    pub seen: SweepCounts,
}

/// What a sweep has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SweepCounts {
    /// Pages that were listed and done.
    pub pages: u64,
    /// Blobs on them, folders and names that the rule does not want left out.
    pub listed: u64,
    /// Written too short a time ago: the next sweep sees them.
    pub young: u64,
    /// Written before the time from which the ledger is asked.
    pub older: u64,
    /// Outputs of this ledger's scorings, or what looks like one that the ledger has forgotten: they never trigger.
    pub own: u64,
    /// The ledger had a scoring or a skip of them, or their event came at that moment.
    pub known: u64,
    /// Taken in, or left to wait for a look.
    pub found: u64,
    /// Recorded as skipped or quarantined by this sweep, with a reason.
    pub skipped: u64,
}

impl SweepCounts {
    /// With what was seen since.
    #[must_use]
    pub fn and(self, more: Self) -> Self {
        Self {
            pages: self.pages.saturating_add(more.pages),
            listed: self.listed.saturating_add(more.listed),
            young: self.young.saturating_add(more.young),
            older: self.older.saturating_add(more.older),
            own: self.own.saturating_add(more.own),
            known: self.known.saturating_add(more.known),
            found: self.found.saturating_add(more.found),
            skipped: self.skipped.saturating_add(more.skipped),
        }
    }
}

/// Whether the ledger is asked about a listed version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerLookup {
    /// It is: nothing but the ledger can tell whether it is known.
    Yes,
    /// Its event may still come, or it may still grow.
    TooYoung,
    /// It was there before the place was swept, or was asked about before, or may be forgotten.
    TooOld,
}

impl Sweep {
    /// Whether the ledger is asked about a version, by when it was written. What does not say when is asked about.
    pub fn asks_about(&self, rule: &Rule, seen: &BlobSnapshot, now: OffsetDateTime) -> LedgerLookup {
        match seen.modified {
            Some(modified) if modified > now - rule.sweep.after.0 => LedgerLookup::TooYoung,
            Some(modified) if modified + WHOLE_SECOND <= self.from => LedgerLookup::TooOld,
            _ => LedgerLookup::Yes,
        }
    }
}

impl SweptPlace {
    /// A place that is swept from now on.
    pub fn new(rule: &RuleId, place: BlobPrefix, now: OffsetDateTime) -> Self {
        let key = Self::key_of(rule, &place);
        let rule = rule.clone();
        Self {
            key,
            rule,
            place,
            since: now,
            due: now,
            updated: now,
            claimed_until: None,
            current: None,
            last: None,
            last_whole: None,
            unaccounted: 0,
            failures: 0,
            failure: None,
        }
    }

    /// The key of this rule and place. Whoever changes a rule's prefix has another place.
    pub fn key_of(rule: &RuleId, place: &BlobPrefix) -> String {
        digest(&["sweep", rule, &place.container_url(), place.prefix()])
    }

    /// Claimed by whoever keeps this before anybody else changes it; with a sweep under way. `None`: another one works on it, or it
    /// is not due.
    pub fn claim(&self, rule: &Rule, retention: Duration, now: OffsetDateTime) -> Option<Self> {
        // What a clock told that was wrong holds nothing back.
        let is_claimed = self.claimed_until.is_some_and(|until| now < until && until <= now + CLAIM);
        if is_claimed || believable_due(self.updated, self.due, now) > now {
            return None;
        }
        let current = self.current.clone().unwrap_or_else(|| self.next(rule, retention, now));
        Some(Self { claimed_until: Some(now + CLAIM), current: Some(current), updated: now, ..self.clone() })
    }

    fn next(&self, rule: &Rule, retention: Duration, now: OffsetDateTime) -> Sweep {
        let remembered = (now - retention + BEFORE_FORGOTTEN).max(self.since);
        let whole = self.last_whole.is_none_or(|at| now - at >= WHOLE_EVERY || is_ahead(at, now));
        let since_last =
            self.last.as_ref().filter(|_| !whole).map(|(last, _)| last.began - rule.sweep.after.0 - CLOCKS);
        let from = since_last.map_or(remembered, |since| since.max(remembered));
        Sweep { began: now, from, whole, cursor: None, seen: SweepCounts::default() }
    }

    /// With its claim counted from now again, for whoever works on it and keeps this.
    #[must_use]
    pub fn renewed(self, now: OffsetDateTime) -> Self {
        Self { claimed_until: Some(now + CLAIM), updated: now, ..self }
    }

    /// A page is done: all of it is in the ledger. `next`: where the next one begins; `None`: the sweep came to its end.
    #[must_use]
    pub fn paged(self, rule: &Rule, seen: SweepCounts, next: Option<String>, now: OffsetDateTime) -> Self {
        let Some(current) = self.current.clone() else { return self };
        let current = Sweep { cursor: next, seen: current.seen.and(seen), ..current };
        let done = Self { unaccounted: 0, failures: 0, failure: None, updated: now, ..self };
        if current.cursor.is_some() {
            return Self { current: Some(current), ..done }.renewed(now);
        }
        let last_whole = if current.whole { Some(current.began) } else { done.last_whole };
        let due = current.began + rule.sweep.every().unwrap_or(Duration::DAY);
        Self { current: None, last: Some((current, now)), last_whole, due, claimed_until: None, ..done }
    }

    /// It could not be listed, or what was found not be taken in, so many versions: it goes on from the same page.
    #[must_use]
    pub fn not_done(self, why: &str, unaccounted: u64, now: OffsetDateTime) -> Self {
        let due = now + pause(&self.key, self.failures);
        let failure = Some(one_line(why, MAX_REASON));
        let failures = self.failures.saturating_add(1);
        Self { due, unaccounted, failures, failure, claimed_until: None, updated: now, ..self }
    }

    /// Left to whoever comes next.
    #[must_use]
    pub fn left(self, now: OffsetDateTime) -> Self {
        Self { claimed_until: None, updated: now, ..self }
    }

    /// An operator wants it swept now, and all versions asked about.
    #[must_use]
    pub fn ordered(self, now: OffsetDateTime) -> Self {
        let current = self.current.filter(|current| current.whole);
        Self { due: now, updated: now, last_whole: None, current, claimed_until: None, failures: 0, ..self }
    }

    /// When it last came to its end.
    pub fn ended(&self) -> Option<OffsetDateTime> {
        self.last.as_ref().map(|(_, ended)| *ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pending::{BlobKind, CopyState, IndexTags};
    use crate::rule::Rules;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);
    const RETENTION: Duration = Duration::days(30);

    fn rule() -> Rule {
        let text = r#"{"rules":[{"id":"r","match":{"container":"con"},"endpoint":{"uri":"https://e.example/jobs"}}]}"#;
        Rules::read(text).unwrap().iter().next().unwrap().clone()
    }

    fn place() -> SweptPlace {
        SweptPlace::new(&rule().id, BlobPrefix::new("https://a.blob.core.windows.net", "con", "in/").unwrap(), NOW)
    }

    fn written(modified: Option<OffsetDateTime>) -> BlobSnapshot {
        BlobSnapshot {
            etag: "0x1".to_owned(),
            size: 1,
            content_type: None,
            kind: BlobKind::Block,
            archived: false,
            copy: CopyState::Whole,
            is_folder: false,
            modified,
            metadata: std::collections::BTreeMap::default(),
            index_tags: IndexTags::NotAsked,
        }
    }

    #[test]
    fn a_claim_keeps_others_away_until_it_is_left_behind() {
        let claimed = place().claim(&rule(), RETENTION, NOW).expect("it is due");
        assert_eq!(claimed.claim(&rule(), RETENTION, NOW + CLAIM - Duration::SECOND), None);
        let again = claimed.claim(&rule(), RETENTION, NOW + CLAIM).expect("nobody renewed it");
        assert_eq!(again.current, claimed.current, "it goes on where the other one was");
        let renewed = claimed.clone().renewed(NOW + CLAIM / 2);
        assert_eq!(renewed.claim(&rule(), RETENTION, NOW + CLAIM), None);
        assert!(claimed.clone().left(NOW).claim(&rule(), RETENTION, NOW).is_some());
        let ahead = SweptPlace { claimed_until: Some(NOW + Duration::DAY), ..claimed };
        assert!(ahead.claim(&rule(), RETENTION, NOW).is_some(), "no clock that was wrong holds it back");
    }

    #[test]
    fn pages_follow_each_other_and_the_next_sweep_begins_an_hour_after_this_one_began() {
        let first = place().claim(&rule(), RETENTION, NOW).unwrap();
        let seen = SweepCounts { pages: 1, listed: 5, ..SweepCounts::default() };
        let second = first.paged(&rule(), seen, Some("m".to_owned()), NOW + Duration::MINUTE);
        assert_eq!(second.current.as_ref().unwrap().cursor.as_deref(), Some("m"));
        assert_eq!(
            second.claim(&rule(), RETENTION, NOW + Duration::MINUTE),
            None,
            "its claim is renewed with each page"
        );
        let ended = second.paged(&rule(), seen, None, NOW + Duration::minutes(2));
        assert_eq!(
            (ended.current.is_none(), ended.due, ended.ended()),
            (true, NOW + Duration::HOUR, Some(NOW + Duration::minutes(2)))
        );
        assert_eq!(ended.last.as_ref().unwrap().0.seen.listed, 10);
        assert_eq!(ended.claim(&rule(), RETENTION, NOW + Duration::minutes(59)), None);
        assert!(ended.claim(&rule(), RETENTION, NOW + Duration::HOUR).is_some());
    }

    #[test]
    fn what_was_too_young_for_a_sweep_is_asked_about_by_the_next_however_long_that_is() {
        let text = r#"{"rules":[{"id":"r","match":{"container":"con"},"sweepAfter":"PT3H",
            "endpoint":{"uri":"https://e.example/jobs"}}]}"#;
        let rule = Rules::read(text).unwrap().iter().next().unwrap().clone();
        let long_ago = SweptPlace { since: NOW - Duration::days(90), ..place() };
        let first = long_ago.claim(&rule, RETENTION, NOW).unwrap();
        let young = written(Some(NOW - Duration::minutes(150)));
        assert_eq!(first.current.as_ref().unwrap().asks_about(&rule, &young, NOW), LedgerLookup::TooYoung);
        let after_first = first.paged(&rule, SweepCounts::default(), None, NOW);
        let second = after_first.claim(&rule, RETENTION, NOW + Duration::HOUR).unwrap().current.unwrap();
        assert!(!second.whole);
        assert_eq!(second.asks_about(&rule, &young, NOW + Duration::HOUR), LedgerLookup::Yes);
    }

    #[test]
    fn what_is_new_since_the_last_sweep_is_asked_about_each_time_and_all_once_a_day() {
        let rule = rule();
        let swept = |place: SweptPlace, at: OffsetDateTime| {
            let claimed = place.claim(&rule, RETENTION, at).expect("it is due");
            let sweep = claimed.current.clone().unwrap();
            (claimed.paged(&rule, SweepCounts::default(), None, at), sweep)
        };
        let long_ago = SweptPlace { since: NOW - Duration::days(90), ..place() };
        let (after_first, first) = swept(long_ago, NOW);
        assert_eq!((first.whole, first.from), (true, NOW - Duration::days(29)), "before the ledger may forget it");
        let (after_second, second) = swept(after_first, NOW + Duration::HOUR);
        assert!(!second.whole);
        // A version that was too young for the first sweep is asked about by the second, by whatever clock.
        let young = written(Some(NOW - Duration::minutes(9)));
        assert_eq!(first.asks_about(&rule, &young, NOW), LedgerLookup::TooYoung);
        assert_eq!(second.asks_about(&rule, &young, NOW + Duration::HOUR), LedgerLookup::Yes);
        assert_eq!(
            second.asks_about(&rule, &written(Some(NOW - Duration::hours(3))), NOW + Duration::HOUR),
            LedgerLookup::TooOld
        );
        assert_eq!(second.asks_about(&rule, &written(None), NOW + Duration::HOUR), LedgerLookup::Yes);
        let at = |from: OffsetDateTime| written(Some(from));
        let second_of = second.from.replace_nanosecond(0).unwrap();
        assert_eq!(
            second.asks_about(&rule, &at(second_of), NOW + Duration::HOUR),
            LedgerLookup::Yes,
            "in whole seconds"
        );
        assert_eq!(
            second.asks_about(&rule, &at(second_of - Duration::SECOND), NOW + Duration::HOUR),
            LedgerLookup::TooOld
        );
        let (_, third) = swept(after_second.clone(), NOW + Duration::DAY);
        assert!(third.whole);
        let (_, ordered) = swept(after_second.ordered(NOW + Duration::hours(1)), NOW + Duration::hours(1));
        assert!(ordered.whole, "an operator's order asks about all");
        let (_, new) = swept(place(), NOW + Duration::days(2));
        assert_eq!(new.from, NOW, "what was there before the place was swept is not its upload");
    }

    #[test]
    fn what_failed_is_tried_again_later_from_the_same_page() {
        let claimed = place().claim(&rule(), RETENTION, NOW).unwrap();
        let failed = claimed.clone().not_done("storage answered 403\nabout it", 3, NOW);
        assert_eq!((failed.failures, failed.failure.as_deref()), (1, Some("storage answered 403 about it")));
        assert_eq!(
            (failed.unaccounted, failed.clone().paged(&rule(), SweepCounts::default(), None, NOW).unaccounted),
            (3, 0)
        );
        assert!(failed.due > NOW && failed.claim(&rule(), RETENTION, NOW).is_none());
        let again = failed.claim(&rule(), RETENTION, failed.due).unwrap();
        assert_eq!(again.current, claimed.current);
        assert_eq!(again.paged(&rule(), SweepCounts::default(), None, NOW).failure, None);
    }
}
