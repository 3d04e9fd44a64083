//! Model check of a scoring's life: every interleaving of two workers, a table, a network and a batch endpoint.
//!
//! Decisions are made by the real [`lifecycle::decide`] on real [`lifecycle::Scoring`]s that the real intake made; only
//! the world around them is modelled: the table ([`ledger`]), the application's steps ([`worker`], [`orphaned_jobs`]), the
//! service ([`service`]). What may happen next and what must hold is in [`steps`], what differs from check to check in
//! [`world`], which moments are one in [`alike`].
//!
//! Each check walks its whole space. The space is finite because every kind of fault has a budget; within it faults may
//! come at any step, and when it is used up every life must end well (I8). The other invariants:
//! I1, I2 the in-flight and the terminal row are there exactly while the row says so; I3 one job for an attempt, but for a
//! POST that took effect after `resubmitAfter`, and no attempt beside a job of the one before; I4 a final status stays;
//! I5 versions and history have no gaps; I6 one row for an upload, however its events spell it; I7 the projection never
//! goes back and ends at the row. Beside them: the limit of slots, no POST without its intent, an output path for each
//! attempt, every job adopted or known as an orphaned job in the end.
//!
//! Not here, but in the tests of the application and the ledger: versions that take the place of others, clocks that differ, several slots and a limit that is
//! changed, lost writes of slots, retention, and rows that no longer fit.

#![expect(clippy::print_stdout, reason = "counts of states and ways to harm are for people to read")]
#![allow(clippy::too_many_lines, reason = "a step of the model is one match over what may happen")]

mod alike;
mod ledger;
mod orphaned_jobs;
mod service;
mod state;
mod steps;
mod worker;
mod world;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use steps::{BROKEN, DOUBLE, ENDS, LIMIT, WELL};
use world::{Budget, RemovedGuard, World};

const CALM: Budget = Budget {
    crashes: 0,
    lost_answers: 0,
    zombies: 0,
    lost_writes: 0,
    refusals: 0,
    blind_looks: 0,
    bad_jobs: 0,
    pauses: 0,
    deletions: 0,
};

const ONE: World = World {
    rules: &world::PLAIN,
    uploads: 1,
    deliveries: 2,
    names_are_kept: false,
    projection: false,
    budget: CALM,
    removed_guard: RemovedGuard::None,
};

/// Walks every life there is.
fn holds(world: World, what: &str) {
    let begun = std::time::Instant::now();
    let checker = world.checker().spawn_bfs().join();
    println!(
        "{what}: {} unique states of {} walked, at most {} steps long, {:?}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        begun.elapsed()
    );
    checker.assert_properties();
}

/// The shortest way to the harm that a missing guard does.
fn harm(removed_guard: RemovedGuard, world: World, property: &'static str) {
    let world = World { removed_guard, ..world };
    let wanted = HasDiscoveries::AnyOf([property].into());
    let checker = world.checker().finish_when(wanted).spawn_bfs().join();
    let path = checker.discovery(property).unwrap_or_else(|| panic!("{removed_guard:?} does no harm to `{property}`"));
    println!("{removed_guard:?}, after {} states: not `{property}`:", checker.unique_state_count());
    let property = world.property(property);
    for (state, action) in path.into_vec() {
        let broken = property.expectation == Expectation::Always && !(property.condition)(&world, &state);
        let Some(action) = action.filter(|_| !broken) else { break };
        println!("    {}", state.tell(action));
    }
}

#[test]
fn lost_answers_and_a_zombie_make_no_second_job_in_time() {
    let budget = Budget { crashes: 1, lost_answers: 2, zombies: 1, ..CALM };
    holds(World { budget, ..ONE }, "a job for every POST");
}

#[test]
fn a_service_that_knows_a_repetition_makes_one_job_for_an_attempt() {
    let budget = Budget { crashes: 1, lost_answers: 2, zombies: 1, ..CALM };
    holds(World { budget, names_are_kept: true, ..ONE }, "a repetition is known");
}

#[test]
fn lost_writes_and_slow_workers_do_no_harm() {
    let budget = Budget { crashes: 1, lost_answers: 1, lost_writes: 1, pauses: 1, ..CALM };
    holds(World { budget, ..ONE }, "lost writes");
}

#[test]
fn refusals_blind_looks_and_bad_jobs_do_no_harm() {
    let budget = Budget { crashes: 1, refusals: 1, blind_looks: 1, bad_jobs: 1, ..CALM };
    holds(World { budget, ..ONE }, "refusals and a bad job");
    let budget = Budget { lost_answers: 1, blind_looks: 1, bad_jobs: 2, ..CALM };
    holds(World { budget, ..ONE }, "two bad jobs");
}

#[test]
fn an_input_deleted_at_any_moment_ends_as_gone_or_by_the_job_that_has_read_it() {
    let budget = Budget { crashes: 1, deletions: 1, bad_jobs: 1, ..CALM };
    holds(World { budget, rules: &world::LOOKING, ..ONE }, "a deleted input, a bad job");
    let budget = Budget { lost_answers: 1, blind_looks: 1, deletions: 1, ..CALM };
    holds(World { budget, rules: &world::LOOKING, ..ONE }, "a deleted input, a lost answer");
}

#[test]
fn a_job_that_is_stopped_and_a_submission_that_is_given_up_do_no_harm() {
    let budget = Budget { crashes: 1, blind_looks: 1, ..CALM };
    holds(World { budget, rules: &world::STUCK, ..ONE }, "a job's time limit");
    let budget = Budget { crashes: 1, lost_answers: 1, refusals: 1, ..CALM };
    holds(World { budget, rules: &world::HASTY, ..ONE }, "submitDeadline");
}

#[test]
fn the_projection_never_goes_back_and_ends_at_the_row() {
    let budget = Budget { crashes: 1, pauses: 1, ..CALM };
    holds(World { budget, projection: true, ..ONE }, "projection");
}

const TWO: World = World { rules: &world::ONE_SLOT, uploads: 2, deliveries: 1, ..ONE };

#[test]
fn two_uploads_share_one_slot() {
    holds(World { budget: Budget { crashes: 1, ..CALM }, ..TWO }, "slots, a crash");
    holds(World { budget: Budget { pauses: 1, ..CALM }, ..TWO }, "slots, a pause");
}

#[test]
fn each_guard_that_is_taken_out_does_harm() {
    use RemovedGuard as S;
    let lost = World { budget: Budget { lost_writes: 1, crashes: 1, ..CALM }, ..ONE };
    harm(S::NoReadBack, lost, BROKEN);
    harm(S::PostFirst, World { budget: Budget { crashes: 1, ..CALM }, ..ONE }, DOUBLE);
    harm(S::NoResubmitAfter, World { budget: Budget { lost_answers: 1, ..CALM }, ..ONE }, DOUBLE);
    harm(S::NoLeaseCheck, World { budget: Budget { pauses: 1, ..CALM }, ..ONE }, DOUBLE);
    harm(S::NoLease, World { budget: CALM, ..ONE }, DOUBLE);
    harm(S::ClockAfterLook, World { budget: Budget { lost_answers: 1, pauses: 1, ..CALM }, ..ONE }, DOUBLE);
    harm(S::NoCompareAndSwap, ONE, BROKEN);
    harm(S::NeverLookedFor, World { budget: Budget { crashes: 1, ..CALM }, ..ONE }, ENDS);
    harm(S::SlotFreedByNumber, World { budget: Budget { refusals: 1, pauses: 1, ..CALM }, ..TWO }, LIMIT);
    harm(S::OrphansFreedAtOnce, TWO, LIMIT);
    harm(S::OrphansKept, World { budget: Budget { crashes: 1, ..CALM }, ..TWO }, WELL);
    harm(S::StaleClaims, World { budget: Budget { pauses: 1, ..CALM }, ..TWO }, LIMIT);
    harm(S::NoOrphanScan, World { budget: Budget { crashes: 1, zombies: 1, ..CALM }, ..ONE }, WELL);
    harm(S::ProjectionUnguarded, World { projection: true, ..ONE }, BROKEN);
    let deleted = World { rules: &world::LOOKING, budget: Budget { deletions: 1, ..CALM }, ..ONE };
    harm(S::NoInputLook, deleted, BROKEN);
}

#[test]
fn what_is_held_waits_for_its_job_or_a_person() {
    let budget = Budget { lost_answers: 1, zombies: 1, blind_looks: 1, ..CALM };
    holds(World { budget, rules: &world::HOLD, ..ONE }, "onUnknown hold");
    let budget = Budget { crashes: 1, lost_answers: 1, ..CALM };
    holds(World { budget, rules: &world::HOLD, ..ONE }, "onUnknown hold, a crash");
}
