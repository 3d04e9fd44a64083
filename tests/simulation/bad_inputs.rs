//! Bad inputs among good ones, in simulated time.

use lifecycle::{Rule, Rules};
use simulation::{Outcome, Wiring, run_poisoned};
use time::Duration;

const SEEDS: u64 = 20;

/// When the last of these uploads was scored.
fn last(outcome: &Outcome, names: &[&String]) -> Duration {
    names.iter().map(|name| outcome.scored[*name]).max().unwrap()
}

#[test]
fn ten_percent_bad_inputs_hold_up_no_good_one_of_two_rules_on_one_deployment() {
    for seed in 1..=SEEDS {
        let wiring = Wiring::default();
        let (with, without) = (run_poisoned(seed, true, &wiring), run_poisoned(seed, false, &wiring));
        assert_eq!((&with.violation, &without.violation), (&None, &None), "seed {seed}");
        assert_eq!((without.scored.len(), with.scored.len()), (100, 90), "seed {seed}: every good one is scored");
        assert_eq!(with.jobs, 100, "seed {seed}: each bad one is tried once");
        let good: Vec<_> = with.scored.keys().collect();
        let (late, usual) = (last(&with, &good), last(&without, &good));
        assert!(late <= usual * 3 / 2, "seed {seed}: the last good one at {late}, without bad ones at {usual}");
    }
}

/// With user errors repeated, the simulation finds it.
#[test]
fn user_errors_that_are_tried_again_are_found() {
    fn rules(rules: &Rules) -> Rules {
        rules.clone().changed(|rule: &mut Rule| rule.policy.retry_user_errors = true)
    }
    let violation = run_poisoned(1, true, &Wiring { rules, ..Wiring::default() }).violation;
    assert_eq!(violation.map(|violation| violation.invariant), Some("user errors"));
}
