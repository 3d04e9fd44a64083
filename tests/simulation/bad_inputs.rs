//! Bad files, a missing right and a broken model among good uploads, in simulated time: what fails, and who waits for whom.
//! Then the same with one guard taken away, which must show.

use app::ports::table_store::Row;
use lifecycle::{Rule, Rules};
use simulation::{Outcome, Poison, Wiring, run_poisoned};
use time::Duration;

use super::guard_removal::{AnswersBent, bent};

/// Seeds of a poison, and seeds within which a missing guard must show.
const SEEDS: u64 = 20;
const FEW: u64 = 5;
/// Between two ticks, three times: what waits is seen by one, and its end by another.
const TICKS: Duration = Duration::minutes(3);

/// When the last upload of those with such a name was scored.
fn last(outcome: &Outcome, end_of_name: &str) -> Duration {
    let of = outcome.scored.iter().filter(|(name, _)| name.ends_with(end_of_name));
    of.map(|(_, at)| *at).max().unwrap_or_default()
}

/// What is wrong with a run in which jobs fail for this reason, held against the same run in which none does.
fn wrong(seed: u64, poison: Poison, wiring: &Wiring) -> Option<String> {
    let (with, without) = (run_poisoned(seed, poison, wiring), run_poisoned(seed, Poison::Nothing, &Wiring::default()));
    assert_eq!(
        (&without.violation, without.scored.len()),
        (&None, 100),
        "seed {seed}: where nothing fails all are scored"
    );
    if let Some(violation) = &with.violation {
        return Some(violation.invariant.to_owned());
    }
    // What may fail, how many jobs may be made, and whose last one is late by how much.
    let (may_fail, may_be_made, whose, late_by) = match poison {
        Poison::Nothing => (0, 100, "", TICKS),
        // Each bad one is tried once, and nobody waits for it.
        Poison::BadFiles => (10, 100, "", TICKS),
        // All others come two minutes later.
        Poison::OneSender => (10, 100, "", TICKS + Duration::minutes(2)),
        // The other rule of the deployment does not notice.
        Poison::RightTakenAway => (3, 120, "/two", TICKS),
        // A quarter of an hour, the pause behind it, and what was to be done meanwhile.
        Poison::BrokenModel => (10, 140, "", Duration::minutes(35)),
        // Neither the rule nor its neighbour notices; some of the shadow's own end at their third attempt.
        Poison::BrokenShadow => return wrong_beside_a_shadow(&with, &without),
    };
    let failed = with.ends.values().filter(|end| end.starts_with("failed")).count();
    let (late, usual) = (last(&with, whose), last(&without, whose));
    if failed > may_fail || with.scored.len() + failed != 100 {
        return Some(format!("{failed} failed, {} are scored", with.scored.len()));
    }
    if with.jobs > may_be_made {
        return Some(format!("{} jobs were made", with.jobs));
    }
    (late > usual + late_by).then(|| format!("the last one came at {late}, without these failures at {usual}"))
}

/// The same where the scorings of a shadow are beside the hundred.
fn wrong_beside_a_shadow(with: &Outcome, without: &Outcome) -> Option<String> {
    let of_shadow = |name: &str| name.ends_with("-shadow");
    assert!(with.ends.keys().filter(|name| of_shadow(name)).count() > 10, "the first rule has uploads");
    let attempts = with.ends.iter().filter(|(name, _)| !of_shadow(name));
    let bad = attempts.filter(|(_, end)| !end.starts_with("scored at attempt 1 with")).count();
    if bad > 0 {
        return Some(format!("{bad} of the hundred are not scored at once"));
    }
    ["/one", "/two"].into_iter().find_map(|whose| {
        let (late, usual) = (last(with, whose), last(without, whose));
        (late > usual + TICKS).then(|| format!("{whose} came at {late}, without the shadow at {usual}"))
    })
}

fn nothing_is_wrong(poison: Poison, seeds: u64) {
    for seed in 1..=seeds {
        assert_eq!(wrong(seed, poison, &Wiring::default()), None, "seed {seed}");
    }
}

/// Asserts that some seed is wrong, for a reason that begins with this.
fn is_found(poison: Poison, wiring: &Wiring, reason: &str) {
    let found = (1..=FEW).find_map(|seed| wrong(seed, poison, wiring));
    let found = found.unwrap_or_else(|| panic!("{FEW} seeds did not find it"));
    assert!(found.starts_with(reason), "{found}");
}

#[test]
fn ten_percent_bad_inputs_hold_up_no_good_one_of_two_rules_on_one_deployment() {
    nothing_is_wrong(Poison::BadFiles, SEEDS);
}

#[test]
fn bad_files_of_one_sender_hold_up_nobody_else() {
    nothing_is_wrong(Poison::OneSender, FEW);
}

#[test]
fn a_right_that_is_taken_away_fails_few_and_holds_up_no_other_rule() {
    nothing_is_wrong(Poison::RightTakenAway, FEW);
}

#[test]
fn a_model_that_is_broken_for_a_while_costs_few_jobs_and_no_upload_but_the_bad_ones() {
    nothing_is_wrong(Poison::BrokenModel, FEW);
}

#[test]
fn a_broken_shadow_holds_up_no_scoring_of_its_rule_nor_of_another() {
    nothing_is_wrong(Poison::BrokenShadow, FEW);
}

/// The shadow's jobs go to the deployment that it is the shadow of.
#[test]
fn a_shadow_on_the_deployment_of_its_rule_is_found() {
    fn rules(rules: &Rules) -> Rules {
        rules.clone().changed(|rule: &mut Rule| {
            if rule.shadow_of.is_some() {
                rule.endpoint.deployment = "v7".parse().ok();
            }
        })
    }
    is_found(Poison::BrokenShadow, &Wiring { rules, ..Wiring::default() }, "deployments");
}

#[test]
fn user_errors_that_are_tried_again_are_found() {
    fn rules(rules: &Rules) -> Rules {
        rules.clone().changed(|rule: &mut Rule| rule.policy.retry_user_errors = true)
    }
    is_found(Poison::BadFiles, &Wiring { rules, ..Wiring::default() }, "user errors");
}

/// The pause of a rule reads as none.
#[test]
fn a_rule_without_a_pause_is_found() {
    fn read(mut row: Row) -> Row {
        if row.entity.key.row.starts_with("pause~") {
            row.entity.properties.remove("OpenUntil");
        }
        row
    }
    let wiring = Wiring { store: |it| bent(read, |op| op)(it), ..Wiring::default() };
    is_found(Poison::RightTakenAway, &wiring, "4 failed");
}

/// The breaker of a deployment reads as closed.
#[test]
fn a_deployment_without_a_breaker_is_found() {
    fn read(mut row: Row) -> Row {
        if row.entity.key.row.starts_with("breaker~") {
            row.entity.properties.remove("OpenUntil");
        }
        row
    }
    let wiring = Wiring { store: |it| bent(read, |op| op)(it), ..Wiring::default() };
    is_found(Poison::BrokenModel, &wiring, "14 failed");
}

/// Whoever waits reads as never tried, so that the first in line probes, again and again the same bad file.
#[test]
fn a_probe_that_is_the_first_in_line_is_found() {
    fn read(mut row: Row) -> Row {
        if row.entity.key.row.starts_with("F~") {
            row.entity.properties.insert("Attempt".to_owned(), 0.into());
        }
        row
    }
    let wiring = Wiring { store: |it| bent(read, |op| op)(it), ..Wiring::default() };
    is_found(Poison::BrokenModel, &wiring, "the last one came at");
}

/// What is a rule's fault counts on the deployment, and stops the other rule.
#[test]
fn a_missing_right_that_counts_on_the_deployment_is_found() {
    let wiring = Wiring { endpoint: |it| AnswersBent::ErrorsUntold.of(it), ..Wiring::default() };
    is_found(Poison::RightTakenAway, &wiring, "8 failed");
}

/// Each file counts as one of a sender of its own, so that ten bad ones of one sender stop all others of the deployment.
#[test]
fn bad_files_of_one_sender_that_count_as_those_of_many_are_found() {
    fn of_a_sender_of_its_own(outcome: &str) -> Option<String> {
        let mut parts = outcome.split(':');
        let (id, _, end) = (parts.next()?, parts.next()?, parts.next()?);
        Some(format!("{id}:{}:{end}", id.get(..8)?))
    }
    fn read(mut row: Row) -> Row {
        let outcomes = row.entity.string("Outcomes").filter(|_| row.entity.key.row.starts_with("breaker~"));
        if let Some(outcomes) = outcomes {
            let apart: Vec<String> = outcomes.split(' ').filter_map(of_a_sender_of_its_own).collect();
            row.entity.properties.insert("Outcomes".to_owned(), apart.join(" ").into());
        }
        row
    }
    let wiring = Wiring { store: |it| bent(read, |op| op)(it), ..Wiring::default() };
    is_found(Poison::OneSender, &wiring, "the last one came at");
}
