//! Files that share jobs, with everything going wrong: each ends once, by one job that read its copy; what is bad fails alone; and no
//! copy is left.

use simulation::{Faults, Total, Wiring, run_grouped};

/// Seeds of the test command; `scorekeeper simulate --groups` runs as many as one likes.
const SEEDS: u64 = 150;

#[test]
fn grouped_files_end_once_each_whatever_goes_wrong() {
    let mut total = Total::default();
    for seed in 1..=SEEDS {
        let outcome = run_grouped(seed, 20, Faults::all(), &Wiring::default());
        assert_eq!(outcome.violation, None, "seed {seed}: {:#?}", outcome.trace);
        total.add(&outcome);
    }
    println!("{} scorings, {} jobs, {} faults", total.scorings, total.jobs, total.injected_faults);
    assert!(total.injected_faults > 1_000 && total.jobs > 500, "{total:?}");
}
