//! What a deployment of other rules does to a run: processes begin anew one after the other, and events are delivered again once a
//! rule is back.

use std::sync::PoisonError;

use time::Duration;

use crate::rules_changes::RulesChange;
use crate::run::{Control, Run};

/// Every process has begun anew within this after other rules were deployed.
const ROLL_OUT: Duration = Duration::minutes(1);
/// The last of them has died and begun again.
const ROLLED_OUT: Duration = Duration::seconds(65);

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
