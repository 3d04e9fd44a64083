//! Lost events with sweeps: whatever is in a watched place at rest is accounted for, and scored once; and with a guard taken away, the
//! simulation finds that something is not.

use lifecycle::Rules;
use lifecycle::rule::SweepEvery;
use simulation::{Faults, Kind, Wiring, run_swept};

use super::storage_guard::StorageGuard;

/// What goes wrong beside the events: processes die and freeze, tables lose answers, lists have small pages and fail.
const FAULTS: [Kind; 9] = [
    Kind::Kills,
    Kind::Pauses,
    Kind::TableLost,
    Kind::TableDuplicated,
    Kind::TableDelayed,
    Kind::Slow,
    Kind::Pages,
    Kind::LookupFailed,
    Kind::Renames,
];

fn faults() -> Faults {
    FAULTS.into_iter().fold(Faults::NONE, Faults::with)
}

#[test]
fn of_lost_events_everything_that_lies_there_is_scored_once() {
    let (mut scored, mut injected) = (0, 0);
    // The last with everything else that can go wrong: jobs, the endpoint, operators.
    for (lost, faults, seeds) in [(400, faults(), 1..=30), (30, faults(), 31..=45), (30, Faults::all(), 1..=25)] {
        for seed in seeds {
            let outcome = run_swept(seed, 20, lost, faults, &Wiring::default());
            assert_eq!(outcome.violation, None, "seed {seed}, {lost} of a thousand lost: {:#?}", outcome.trace);
            scored += outcome.scored.len();
            injected += outcome.injected_faults;
        }
    }
    println!("{scored} scored, {injected} faults");
    assert!(scored > 600 && injected > 1_000, "{scored} {injected}");
}

/// Whoever takes predictions marks their input, the last one when nothing else happens any more: all is at rest only after a sweep has
/// seen that, and the same content is not scored again.
#[test]
fn what_is_marked_after_all_else_is_over_is_seen_by_a_sweep_and_scored_once() {
    let marks = Faults::NONE.with(Kind::InputsMarked);
    for seed in 1..=15 {
        let outcome = run_swept(seed, 20, 30, marks, &Wiring::default());
        assert_eq!(outcome.violation, None, "seed {seed}: {:#?}", outcome.trace);
    }
}

/// Asserts that some seed leaves something out.
fn is_found(wiring: &Wiring) {
    for seed in 1..=100 {
        if let Some(violation) = run_swept(seed, 20, 400, faults(), wiring).violation {
            // Left out for ever, or until a list happens to have it on its first page.
            assert!(["liveness", "rest"].contains(&violation.invariant), "seed {seed}: {violation:?}");
            assert!(violation.what.contains("is not in the ledger"), "seed {seed}: {violation:?}");
            return;
        }
    }
    panic!("100 seeds did not find it");
}

#[test]
fn what_is_never_swept_is_found_to_be_left_out() {
    let off = |rules: &Rules| rules.clone().changed(|rule| rule.sweep.every = SweepEvery::Off);
    is_found(&Wiring { rules: off, ..Wiring::default() });
}

#[test]
fn further_pages_of_a_sweep_that_are_not_listed_are_found() {
    is_found(&Wiring { blobs: |it| StorageGuard::FurtherPages.removed(it), ..Wiring::default() });
}
