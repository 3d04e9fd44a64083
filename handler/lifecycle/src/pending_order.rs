//! What an operator orders and only the app can do, which knows the rules and may look at the storage: to take a blob in again, or
//! to score one again that is scored.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::decide::Order;
use crate::digest::digest;
use crate::id::{RuleId, ScoringId};
use crate::pending::{Cause, MAX_REASON, PendingUpload, pause};
use crate::rule::{Rule, Rules};
use crate::scoring::{Scoring, StartOf};
use crate::skipped::{SkippedEvent, skip_key};
use crate::start::StartKey;
use crate::text::one_line;
use crate::unversioned::UnversionedBlob;

/// What is ordered of a blob; the next reconcile run does it, as whoever orders may have the ledger alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderedOf {
    /// Take in what is there now, under each rule that wants it now: its event was refused, could not be read, or never came.
    Replay,
    /// Score the version of this scoring once more, under its rule as it is now.
    Rescore(ScoringId),
    /// Score what is there now under one rule.
    Start(StartOrder),
}

/// A start that somebody orders who has the ledger alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartOrder {
    /// The rule under which the blob is scored.
    pub rule: RuleId,
    /// Values for parameters that the rule declares, by name, as texts that are sent.
    pub parameters: BTreeMap<String, String>,
    /// As a generation of its own, also if it was scored.
    pub again: bool,
    /// The order's own, by which whoever gave it finds the scoring.
    pub key: StartKey,
}

/// An order that waits for the next reconcile run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingOrder {
    /// The same for the same order, however often it is given before it is done.
    pub key: String,
    /// The blob that it is about.
    pub blob: UnversionedBlob,
    /// Whether to take in what is there, to score a version once more, or to start one rule on it.
    pub of: OrderedOf,
    /// What was done, by whom and why, as the history will have it: `replayed by ann (…)`.
    pub order: String,
    /// When it was given; trying again does not change it.
    pub since: OffsetDateTime,
    /// Nobody tries to do it before this time; a try that fails puts it off.
    pub due: OffsetDateTime,
    /// When `due` was set, by the clock of whoever set it.
    pub updated: OffsetDateTime,
    /// Tries in a row that failed.
    pub failures: u32,
    /// What it waits for, for people.
    pub reason: String,
}

impl PendingOrder {
    /// An order that was given just now. `by` and `reason` are the operator's.
    pub fn new(blob: UnversionedBlob, of: OrderedOf, by: &str, reason: &str, now: OffsetDateTime) -> Self {
        let (done, key) = match &of {
            OrderedOf::Replay => ("replayed", digest(&["replay", &blob.url])),
            OrderedOf::Rescore(id) => ("rescored", digest(&["rescore", id.as_str()])),
            OrderedOf::Start(start) => ("started", start.key.digest(&start.rule)),
        };
        let order = format!("{done} by {} ({})", one_line(by, Order::MAX_BY), one_line(reason, Order::MAX_REASON));
        let reason = format!("{order}: the next reconcile run does it");
        Self { key, blob, of, order, since: now, due: now, updated: now, failures: 0, reason }
    }

    /// It could not be done yet.
    #[must_use]
    pub fn not_done(self, why: &str, now: OffsetDateTime) -> Self {
        let due = now + pause(&self.key, self.failures);
        let reason = one_line(&format!("{}: {why}", self.order), MAX_REASON);
        Self { due, updated: now, failures: self.failures.saturating_add(1), reason, ..self }
    }

    /// The blob to be taken in again, under each rule that wants its name; else why none does. By which operation it was made is
    /// not asked: a person wants it.
    pub fn uploads(&self, rules: &Rules, now: OffsetDateTime) -> Result<Vec<PendingUpload>, SkippedEvent> {
        let (blob, mut wanted, mut reasons) = (&self.blob, Vec::new(), vec![self.order.clone()]);
        for rule in rules {
            match rule.refuses_name(&blob.account, &blob.container, &blob.path) {
                None => {
                    let cause = Cause::Replayed { order: self.order.clone() };
                    wanted.push(PendingUpload::new(rule, blob.clone(), cause, now));
                }
                Some(why) => reasons.push(format!("rule `{}`: {why}", rule.id)),
            }
        }
        if !wanted.is_empty() {
            return Ok(wanted);
        }
        let reason = one_line(&reasons.join("; "), MAX_REASON);
        let key = skip_key(&[&self.key, "replayed"], None, &reason);
        Err(SkippedEvent { key, subject: blob.url.clone(), rule: None, etag: None, reason })
    }

    /// It will never be done: what is kept of it.
    pub fn refused(&self, rule: &RuleId, why: &str) -> SkippedEvent {
        let reason = one_line(&format!("{}; {why}", self.order), MAX_REASON);
        let key = skip_key(&[&self.key, "refused"], None, &reason);
        SkippedEvent { key, subject: self.blob.url.clone(), rule: Some(rule.clone()), etag: None, reason }
    }

    /// The scoring that scores the version of `scored` once more: of the next generation, or of the rule's if that is higher.
    pub fn next_generation(
        &self,
        ledger: &crate::id::LedgerId,
        scored: &Scoring,
        rule: &Rule,
        now: OffsetDateTime,
    ) -> (Scoring, String) {
        let generation = rule.generation.max(scored.generation.saturating_add(1));
        let rule = Rule { generation, ..rule.clone() };
        let mut scoring = Scoring::accept(ledger, &rule, scored.blob.clone(), now);
        // Whoever marked the blob since has left its content as it was: known as that, it is scored as this generation, and not
        // as a newer version that takes its place.
        scoring.input.clone_from(&scored.input);
        scoring.aliases.clone_from(&scored.aliases);
        let parameters = scored.start.as_ref().map(|start| start.parameters.clone()).unwrap_or_default();
        scoring.note_start(StartOf { key: None, parameters }.boxed());
        let reason = format!("{}: generation {generation} of what {} has scored", self.order, scored.id);
        (scoring, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::BlobVersion;
    use crate::id::LedgerId;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);

    fn rules(generation: u32) -> Rules {
        let text = format!(
            r#"{{"rules":[{{"id":"r","generation":{generation},"match":{{"container":"con"}},"endpoint":{{"uri":"https://e.example/jobs"}}}}]}}"#
        );
        Rules::read(&text).unwrap()
    }

    fn ordered(url: &str, of: OrderedOf) -> PendingOrder {
        PendingOrder::new(UnversionedBlob::read(url).unwrap(), of, "ann", "the rule\nis fixed", NOW)
    }

    #[test]
    fn a_replay_is_of_each_rule_that_wants_the_name_or_a_skip_that_names_who_ordered_it() {
        let order = ordered("https://a.blob.core.windows.net/con/x.csv", OrderedOf::Replay);
        let uploads = order.uploads(&rules(1), NOW).unwrap();
        assert_eq!((uploads.len(), uploads[0].rule.as_str()), (1, "r"));
        let other = ordered("https://a.blob.core.windows.net/other/x.csv", OrderedOf::Replay);
        let skip = other.uploads(&rules(1), NOW).unwrap_err();
        assert!(skip.reason.starts_with("replayed by ann (the rule is fixed); rule `r`: "), "{}", skip.reason);
        assert_ne!(order.key, other.key);
    }

    #[test]
    fn a_rescore_is_the_next_generation_or_the_rules_own_however_often_it_is_made() {
        let ledger = "0123456789abcdef0123456789abcdef".parse::<LedgerId>().unwrap();
        let blob = BlobVersion::read("https://a.blob.core.windows.net/con/x.csv", "0x1").unwrap();
        let scored = Scoring::accept(&ledger, rules(1).get("r").unwrap(), blob, NOW);
        let order = ordered(&scored.blob.url, OrderedOf::Rescore(scored.id.clone()));
        for (of_rule, expected) in [(1, 2), (2, 2), (7, 7)] {
            let rules = rules(of_rule);
            let (next, reason) = order.next_generation(&ledger, &scored, rules.get("r").unwrap(), NOW);
            assert_eq!((next.generation, next.blob.etag.as_str()), (expected, "0x1"));
            assert_ne!(next.id, scored.id);
            assert!(reason.starts_with("rescored by ann (the rule is fixed): generation"), "{reason}");
            let later = NOW + time::Duration::HOUR;
            assert_eq!(order.next_generation(&ledger, &scored, rules.get("r").unwrap(), later).0.id, next.id);
        }
    }
}
