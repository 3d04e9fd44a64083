//! Other rules that are deployed in the course of a run: outputs go elsewhere, and a rule is removed for a while.
//!
//! What is queued waits for its rule, what may run is seen to its end, and nothing is asked for in the rule's name. Nobody wants its
//! uploads meanwhile; once it is back, people have Event Grid's events delivered again.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use lifecycle::Rules;
use lifecycle::id::RuleId;
use time::Duration;

use crate::executor::Rng;
use crate::run::{Control, Run};

/// Every process has begun anew within this after other rules were deployed.
const ROLL_OUT: Duration = Duration::minutes(1);
/// The last of them has died and begun again.
const ROLLED_OUT: Duration = Duration::seconds(65);

/// Rules that take the place of others at some time.
#[derive(Debug, Clone)]
pub(super) struct RulesChange {
    pub(super) at: Duration,
    pub(super) rules: Rules,
    /// A rule that was there at the beginning and is not in these.
    pub(super) without: Option<RuleId>,
}

/// The changes, and one of the rules removed at some time within a period, and put back some minutes later.
pub(super) fn with_a_removal(
    first: &Rules,
    changes: &[RulesChange],
    draw: &mut Rng,
    period: Duration,
) -> Vec<RulesChange> {
    let ids: Vec<RuleId> = first.iter().map(|rule| rule.id.clone()).collect();
    let removed = draw.pick(&ids);
    let from = draw.seconds(0, u64::try_from(period.whole_seconds()).unwrap_or(0));
    let until = from + draw.seconds(120, 1_500);
    let times: BTreeSet<Duration> = changes.iter().map(|change| change.at).chain([from, until]).collect();
    let deployed_at = |at: Duration| {
        let all = changes.iter().rev().find(|change| change.at <= at).map_or(first, |change| &change.rules);
        let without = (from <= at && at < until).then(|| removed.clone());
        let rules = without.as_ref().map_or_else(|| all.clone(), |id| all.clone().without(id));
        RulesChange { at, rules, without }
    };
    times.into_iter().map(deployed_at).collect()
}

impl Run {
    /// Processes begin anew with the other rules, one after the other; for a while they work beside those with the old ones.
    pub(super) fn change_rules(&mut self, n: usize) {
        let RulesChange { rules, without, .. } = self.plan.rules_changes[n].clone();
        let before = n.checked_sub(1).and_then(|before| self.plan.rules_changes[before].without.clone());
        self.world.trace(None, None, || match &without {
            Some(rule) => format!("other rules are deployed: rule `{rule}` is removed"),
            None => "other rules are deployed".to_owned(),
        });
        self.rules = rules;
        let known_to_all = self.world.time().now() + ROLLED_OUT;
        for invariants in &mut self.world.state().invariants {
            invariants.removed = without.clone().map(|rule| (rule, known_to_all));
        }
        for process in 0..self.processes.len() {
            let within = self.order.seconds(0, u64::try_from(ROLL_OUT.whole_seconds()).unwrap_or(0));
            self.later(within, Control::Redeploy(process));
        }
        if before.is_some() && without.is_none() {
            self.later(ROLLED_OUT, Control::DeliverAgain);
        }
    }

    /// Every event that was taken is delivered once more, as people do who put back a rule: it may have been skipped.
    pub(super) fn deliver_again(&mut self) {
        self.world.trace(None, None, || "events are delivered again, as a rule was put back".to_owned());
        for (installation, delivery) in self.all_deliveries() {
            let mut taken = self.taken[installation].lock().unwrap_or_else(PoisonError::into_inner);
            if std::mem::take(&mut taken[delivery]) {
                let within = self.order.seconds(0, 30);
                self.later(within, Control::Deliver { installation, delivery });
            }
        }
        self.delivers_again = false;
    }
}
