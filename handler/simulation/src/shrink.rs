//! Looks for a shorter run that breaks the same promise: fewer events, processes, kinds of faults, and injected faults.
//!
//! Each kind of fault draws from a stream of its own, so that a run without one kind stays like the run with it; and
//! what becomes unlike it may still break the promise with another seed, so a few of those are tried as well.

use crate::options::{RunOptions, Wiring};
use crate::outcome::Outcome;
use crate::run::run;

/// Runs that a search may take.
const RUNS: usize = 1_000;
/// Neighbouring seeds that are tried when the seed itself does not break the promise any more.
const SEEDS: u64 = 12;

/// The shortest run found that breaks the promise which `options` breaks; `options` itself if it breaks none.
pub fn shrink(options: &RunOptions, wiring: &Wiring) -> RunOptions {
    let Some(violation) = run(options, wiring, false).violation else { return options.clone() };
    let mut search = Search { wiring, invariant: violation.invariant, runs: 0 };
    let mut best = options.clone();
    loop {
        let before = best.clone();
        for smaller in smaller(&best) {
            if let Some(found) = search.breaks(&smaller) {
                best = found;
            }
        }
        if same(&before, &best) || search.runs >= RUNS {
            break;
        }
    }
    search.fewest_faults(best)
}

fn same(a: &RunOptions, b: &RunOptions) -> bool {
    (a.seed, a.events, a.faults, a.processes) == (b.seed, b.events, b.faults, b.processes)
}

/// Runs with less of one thing each, the greatest steps first.
fn smaller(of: &RunOptions) -> Vec<RunOptions> {
    let mut all = Vec::new();
    for events in [1, 2, of.events / 2, of.events.saturating_sub(1)] {
        if (1..of.events).contains(&events) {
            all.push(RunOptions { events, ..of.clone() });
        }
    }
    for kind in of.faults.kinds() {
        all.push(RunOptions { faults: of.faults.without(kind), ..of.clone() });
    }
    for processes in 1..of.processes {
        all.push(RunOptions { processes, ..of.clone() });
    }
    all
}

struct Search<'a> {
    wiring: &'a Wiring,
    invariant: &'static str,
    runs: usize,
}

impl Search<'_> {
    fn fails(&mut self, options: &RunOptions) -> Option<Outcome> {
        self.runs += 1;
        let outcome = run(options, self.wiring, false);
        let same = outcome.violation.as_ref().is_some_and(|violation| violation.invariant == self.invariant);
        same.then_some(outcome)
    }

    /// The options, or the same with a neighbouring seed, if they break the promise.
    fn breaks(&mut self, options: &RunOptions) -> Option<RunOptions> {
        for seed in (0..SEEDS).map(|n| options.seed.wrapping_add(n)) {
            if self.runs >= RUNS {
                return None;
            }
            let options = RunOptions { seed, ..options.clone() };
            if self.fails(&options).is_some() {
                return Some(options);
            }
        }
        None
    }

    /// With as few faults as do it: those behind the last that matters are not dealt.
    fn fewest_faults(&mut self, options: RunOptions) -> RunOptions {
        let Some(outcome) = self.fails(&options) else { return options };
        let (mut enough, mut too_few) = (outcome.injected_faults, None::<u64>);
        while enough > 0 && too_few.is_none_or(|few| few + 1 < enough) {
            let middle = too_few.map_or(0, |few| few + (enough - few) / 2);
            let fewer = RunOptions { max_faults: Some(middle), ..options.clone() };
            match self.fails(&fewer) {
                Some(_) => enough = middle,
                None => too_few = Some(middle),
            }
        }
        let fewest = RunOptions { max_faults: Some(enough), ..options.clone() };
        if self.fails(&fewest).is_some() { fewest } else { options }
    }
}
