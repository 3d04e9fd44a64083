//! The process is killed right after its first effect, its second, its third, to the last: the end is always the same.

use simulation::{Scenario, Wiring, sweep};

#[test]
fn a_kill_after_any_effect_of_any_scenario_changes_no_end() {
    let mut kills = 0;
    for scenario in Scenario::all() {
        let swept = sweep(&scenario, &Wiring::default());
        if let Some((after, what, trace)) = swept.failures.first() {
            panic!("{}: killed after effect {after}: {what}\n{}", scenario.name, trace.join("\n"));
        }
        println!("{}: {} kills, always {:?}", scenario.name, swept.kills, swept.end);
        assert!(swept.kills >= 5, "{}", scenario.name);
        kills += swept.kills;
    }
    assert!(kills > 150, "{kills}");
}

#[test]
fn the_scenarios_end_as_their_names_say() {
    let ends: Vec<_> = Scenario::all()
        .iter()
        .map(|scenario| {
            let outcome = scenario.run(None, &Wiring::default(), false);
            assert_eq!(outcome.violation, None, "{}", scenario.name);
            let first = outcome.ends["0.csv@1/one"].split(' ').next().unwrap();
            format!("{}: {} jobs, {first}", scenario.name, outcome.jobs)
        })
        .collect();
    let expected = [
        "all is well: 1 jobs, scored",
        "the answer is lost, there is one job: 1 jobs, scored",
        "the answer is lost, there are two jobs: 2 jobs, scored",
        "the request is lost: 1 jobs, scored",
        "the answer is lost, the job shows no outputs: 1 jobs, scored",
        "the same, and the job fails: 2 jobs, scored",
        "throttled, then accepted: 1 jobs, scored",
        "refused for good: 0 jobs, failed",
        "the first job fails: 2 jobs, scored",
        "both jobs fail: 2 jobs, failed",
        "the output is late: 1 jobs, scored",
        "the output is empty, then good: 2 jobs, scored",
        "a person cancels the job: 1 jobs, cancelled",
        "the event comes three times: 1 jobs, scored",
        "three uploads, one slot: 3 jobs, scored",
        "two uploads twice, one slot, a lost answer and a failure: 3 jobs, scored",
    ];
    assert_eq!(ends, expected);
}

#[test]
fn a_kill_after_any_effect_changes_no_end_of_files_that_share_jobs() {
    let mut kills = 0;
    for scenario in Scenario::groups() {
        let swept = sweep(&scenario, &Wiring::default());
        if let Some((after, what, trace)) = swept.failures.first() {
            panic!("{}: killed after effect {after}: {what}\n{}", scenario.name, trace.join("\n"));
        }
        println!("{}: {} kills, {:?} jobs, always {:?}", scenario.name, swept.kills, swept.jobs, swept.end);
        // Who is killed while files join a group leaves the rest of them to another one.
        assert!(swept.jobs.1 <= swept.jobs.0 + 1, "{}: {:?} jobs", scenario.name, swept.jobs);
        kills += swept.kills;
    }
    assert!(kills > 300, "{kills}");
}
