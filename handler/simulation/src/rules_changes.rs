//! Other rules that are deployed in the course of a run: outputs go elsewhere, and a rule is removed for a while.
//!
//! What is queued waits for its rule, what may run is seen to its end, and nothing is asked for in the rule's name. Nobody wants its
//! uploads meanwhile; once it is back, people have Event Grid's events delivered again.

use std::collections::BTreeSet;

use lifecycle::Rules;
use lifecycle::id::RuleId;
use time::Duration;

use crate::executor::Rng;

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
