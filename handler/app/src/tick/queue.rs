//! What waits to be submitted, in its order.
//!
//! Never: more than twice [`MAX_QUEUED_PER_RULE`] queued scorings of one rule and deployment in memory.

use std::collections::{BTreeMap, HashMap};

use lifecycle::id::{DeploymentName, RuleId};
use lifecycle::{EndpointKey, Origin, QueuePosition, Rules};

use crate::ledger::InFlight;

/// Queued scorings of a rule and deployment that one tick remembers; the oldest are kept, so that none starves.
pub(super) const MAX_QUEUED_PER_RULE: usize = 10_000;
/// What waits to be submitted. Bounded for each rule and deployment, so that the backlog of one does not push out
/// another's.
pub(super) struct Queue {
    max: usize,
    /// By deployment too, as an open circuit breaker keeps one of them waiting.
    by_rule: HashMap<(RuleId, Option<DeploymentName>), Vec<InFlight>>,
    /// Scorings of backfills that are at Azure ML.
    backfilled: HashMap<RuleId, u32>,
}

impl Queue {
    pub(super) fn new(max: usize) -> Self {
        Self { max, by_rule: HashMap::new(), backfilled: HashMap::new() }
    }

    pub(super) fn add(&mut self, row: InFlight) {
        let rows = self.by_rule.entry((row.rule.clone(), row.deployment.clone())).or_default();
        rows.push(row);
        // Sorted once for as many again, not for each one that comes.
        if rows.len() >= 2 * self.max {
            by_age(rows);
            rows.truncate(self.max);
        }
    }

    /// Counts what is at Azure ML already.
    pub(super) fn count_sent(&mut self, row: &InFlight) {
        if matches!(row.origin, Origin::Backfilled { .. }) {
            *self.backfilled.entry(row.rule.clone()).or_default() += 1;
        }
    }

    /// Leaves out what is beyond the share of slots that its backfill may have: it does not wait for room, and nobody waits behind it.
    fn within_shares(&mut self, rows: &mut Vec<InFlight>) {
        rows.retain(|row| {
            let Origin::Backfilled { slots: Some(slots) } = row.origin else { return true };
            // What an operator wants first goes, whoever brought it.
            if row.expedited {
                return true;
            }
            let sent = self.backfilled.entry(row.rule.clone()).or_default();
            *sent = sent.saturating_add(1);
            *sent <= slots
        });
    }

    /// One queue for each endpoint, in order of priority and arrival.
    pub(super) fn by_endpoint(mut self, rules: &Rules) -> BTreeMap<EndpointKey, Vec<InFlight>> {
        let mut all = BTreeMap::<_, Vec<_>>::new();
        for mut rows in std::mem::take(&mut self.by_rule).into_values() {
            by_age(&mut rows);
            self.within_shares(&mut rows);
            rows.truncate(self.max);
            for row in rows {
                all.entry(row.endpoint.key().clone()).or_default().push(row);
            }
        }
        let priority = |rule: &str| rules.get(rule).map_or(0, |rule| rule.priority);
        for rows in all.values_mut() {
            rows.sort_by_cached_key(|row| {
                let priority = priority(&row.rule);
                QueuePosition::new(row.expedited, priority, row.origin, row.created, row.id.clone())
            });
        }
        all
    }
}

fn by_age(rows: &mut [InFlight]) {
    // What an operator expedited is not cut off, however young it is; what sweeps and backfills found makes room for what events told of.
    let place = |row: &InFlight| (!row.expedited, row.origin.rank(), row.created);
    rows.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.id.cmp(&b.id)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifecycle::{ScoringId, Status};
    use time::macros::datetime;
    use time::{Duration, OffsetDateTime};

    const NOW: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);

    fn queued(rule: &str, n: u32) -> InFlight {
        InFlight {
            id: ScoringId::read(&format!("{n:032x}")).expect("32 hex digits"),
            status: Status::Queued,
            since: NOW,
            due: NOW,
            rule: rule.parse().expect("an id"),
            endpoint: "https://e.example/jobs".parse().expect("a URI"),
            deployment: None,
            workspace: None,
            identity: None,
            job: None,
            job_status: None,
            missing: false,
            slot_freed: false,
            last_error: None,
            refusals: 0,
            on_hold: None,
            on_hold_since: None,
            expedited: false,
            origin: Origin::Told,
            group: None,
            created: NOW + Duration::seconds(i64::from(n)),
            attempt: 0,
        }
    }

    #[test]
    fn a_backlog_pushes_out_no_other_rules_or_deployments_and_the_oldest_are_kept() {
        let mut queue = Queue::new(3);
        for n in (0..20).rev() {
            queue.add(queued("busy", n));
        }
        queue.add(queued("other", 99));
        queue.add(InFlight { deployment: Some("v8".parse().expect("a name")), ..queued("busy", 50) });
        let queues = queue.by_endpoint(&Rules::default());
        let kept = queues.into_values().flatten().map(|row| (row.rule, (row.created - NOW).whole_seconds()));
        let expected = [("busy", 0), ("busy", 1), ("busy", 2), ("busy", 50), ("other", 99)]
            .map(|(rule, n)| (rule.parse().expect("an id"), n));
        assert_eq!(kept.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_rule_of_higher_priority_goes_first_at_its_endpoint() {
        let rules = Rules::read(
            r#"{"rules":[{"id":"low","priority":-1,"match":{"container": "con"},"endpoint":{"uri":"https://e.example/jobs"}},
                {"id":"high","priority":5,"match":{"container": "con"},"endpoint":{"uri":"https://e.example/jobs"}}]}"#,
        );
        let mut queue = Queue::new(10);
        for (rule, n) in [("low", 1), ("normal", 2), ("high", 3), ("high", 4), ("normal", 5)] {
            queue.add(queued(rule, n));
        }
        let order = queue.by_endpoint(&rules.expect("good rules")).into_values().flatten();
        let order: Vec<_> = order.map(|row| (row.created - NOW).whole_seconds()).collect();
        assert_eq!(order, [3, 4, 2, 5, 1]);
    }

    #[test]
    fn what_is_expedited_goes_first_at_its_endpoint_and_is_not_cut_off() {
        let mut queue = Queue::new(2);
        for n in 1..=9 {
            queue.add(InFlight { expedited: n == 8, ..queued("a", n) });
        }
        let order = queue.by_endpoint(&Rules::default()).into_values().flatten();
        assert_eq!(order.map(|row| (row.created - NOW).whole_seconds()).collect::<Vec<_>>(), [8, 1]);
    }

    #[test]
    fn a_backfill_gets_its_share_of_slots_and_goes_behind_all_others() {
        let slots = |slots| Origin::Backfilled { slots };
        let of = |origin, n| InFlight { origin, ..queued("a", n) };
        let mut queue = Queue::new(100);
        queue.count_sent(&of(slots(Some(3)), 0));
        queue.count_sent(&of(Origin::Told, 1));
        for n in 10..20 {
            queue.add(of(slots(Some(3)), n));
        }
        queue.add(of(Origin::FoundBySweep, 30));
        queue.add(of(Origin::Told, 31));
        queue.add(InFlight { expedited: true, ..of(slots(Some(3)), 32) });
        queue.add(InFlight { origin: slots(None), ..queued("b", 40) });
        let order = queue.by_endpoint(&Rules::default()).into_values().flatten();
        let order: Vec<_> = order.map(|row| (row.created - NOW).whole_seconds()).collect();
        assert_eq!(order, [32, 31, 30, 10, 11, 40], "one of three is at Azure ML");
    }

    #[test]
    fn rules_share_the_queue_of_their_endpoint_and_no_other() {
        let mut queue = Queue::new(3);
        queue.add(queued("b", 2));
        queue.add(queued("a", 1));
        queue.add(InFlight { endpoint: "https://E.example/jobs/".parse().expect("a URI"), ..queued("a", 3) });
        queue.add(InFlight { endpoint: "https://f.example/jobs".parse().expect("a URI"), ..queued("a", 4) });
        let mut queues: Vec<Vec<_>> = queue
            .by_endpoint(&Rules::default())
            .into_values()
            .map(|rows| rows.into_iter().map(|row| row.rule).collect())
            .collect();
        queues.sort_by_key(Vec::len);
        assert_eq!(queues, [vec!["a"], vec!["a", "b", "a"]]);
    }
}
