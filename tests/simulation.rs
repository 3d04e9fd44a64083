//! The real app in a simulated world where everything fails, by seed.

use std::collections::BTreeSet;

use clap::Parser as _;
use simulation::{Faults, NO_VIOLATION, RunOptions, SimulateArgs, Total, VIOLATION, Wiring, run, simulate};

mod bad_inputs;
mod grouped;
mod guard_removal;
mod publishing;
mod storage_guard;
mod sweep;
mod swept;

/// Seeds that every test run takes; `cargo xtask test` runs thousands more with the release binary.
const SEEDS: u64 = 60;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: SimulateArgs,
}

fn args(line: &str) -> SimulateArgs {
    Line::try_parse_from(format!("simulate {line}").split_whitespace()).unwrap_or_else(|why| panic!("{why}")).args
}

fn simulated(line: &str) -> (u8, String) {
    let mut out = Vec::new();
    let code = simulate(&args(line), &mut out).unwrap();
    (code, String::from_utf8(out).unwrap())
}

#[test]
fn seeds_that_broke_a_promise_once_do_so_no_more() {
    let lines = include_str!("simulation/seeds.txt").lines().map(|line| line.split('#').next().unwrap_or_default());
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let (code, text) = simulated(line);
        assert_eq!(code, NO_VIOLATION, "simulate {line}\n{text}");
    }
}

#[test]
fn whatever_fails_no_promise_is_broken() {
    let (code, text) = simulated(&format!("--seeds {SEEDS}"));
    assert_eq!(code, NO_VIOLATION, "{text}");
    let (code, text) = simulated("--seeds 2 --every-move");
    assert_eq!(code, VIOLATION, "two seeds cannot have made every move: {text}");
    assert!(text.contains(" not taken:\n  ") && text.ends_with("0 violations\n"), "{text}");
}

#[test]
fn one_seed_is_one_story_and_another_seed_another() {
    let mut stories = BTreeSet::new();
    for seed in 1..=10 {
        let once = run(&RunOptions::new(seed), &Wiring::default(), true);
        let again = run(&RunOptions::new(seed), &Wiring::default(), false);
        assert_eq!(once.fingerprint, again.fingerprint, "telling the story of seed {seed} changes it");
        assert_eq!(once.ends, again.ends);
        assert_eq!(once.trace, run(&RunOptions::new(seed), &Wiring::default(), true).trace);
        stories.insert(once.fingerprint);
    }
    assert_eq!(stories.len(), 10);
}

#[test]
fn where_nothing_fails_each_blob_is_scored_by_its_one_job() {
    let mut total = Total::default();
    for seed in 1..=30 {
        let options = RunOptions { faults: Faults::NONE, ..RunOptions::new(seed) };
        let outcome = run(&options, &Wiring::default(), false);
        assert_eq!(outcome.violation, None, "{}", options.command());
        for (name, end) in &outcome.ends {
            assert!(end.starts_with("scored at attempt 1 with"), "{name}: {end}");
        }
        total.add(&outcome);
    }
    assert!(total.scorings > 100);
    assert_eq!((total.posts, total.jobs, total.injected_faults), (total.scorings, total.scorings, 0));
}

#[test]
fn what_the_command_prints_repeats_the_run() {
    let options = RunOptions { events: 3, processes: 2, max_faults: Some(7), ..RunOptions::new(5) };
    let command = options.command();
    let line = command.strip_prefix("scorekeeper simulate").unwrap();
    let (code, trace) = simulated(&format!("{line} --trace"));
    assert_eq!(code, NO_VIOLATION);
    let told = run(&options, &Wiring::default(), true);
    assert!(trace.starts_with(&told.trace.join("\n")), "{trace}");
    assert!(trace.ends_with("0 violations\n"));
}
