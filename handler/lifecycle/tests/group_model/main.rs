//! Model check of groups: every interleaving of two processes that make, seal, copy, submit, split and clean up, with crashes between any
//! two steps, copies that arrive late, files that change and operators who cancel.
//!
//! Decisions are made by the real [`lifecycle::decide`]; what may happen next, and what must hold, is here, and what each step does in
//! [`state`]. Within its budget each fault may come at any step; when it is used up every file must end.
//!
//! Not here, but in the model of one scoring: lost answers of submissions, leases, slots. Not here, but in the simulation: time, lists that
//! lag, breakers.

#![expect(clippy::print_stdout, reason = "counts of states are for people to read")]

mod state;

use std::collections::BTreeSet;

use lifecycle::group::MemberState;
use lifecycle::{ScoringId, Status};
use stateright::{Checker, HasDiscoveries, Model, Property};

use state::{Budget, Process, RemovedGuard, State, World};

/// What happens next.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    /// A process begins to make a group of all that wait.
    Begin(usize),
    /// It lets the next row name the group, or seals it.
    Make(usize),
    /// Somebody seals what was left behind.
    SealLeftBehind(ScoringId),
    /// A process looks at a member that is to be copied.
    LookAt(usize, ScoringId, ScoringId),
    /// It has it copied; `false`: nobody is told, and it is done later.
    Copy(usize, bool),
    /// A copy arrives late.
    Arrive(ScoringId, ScoringId),
    /// What is copied is put on record.
    Note(ScoringId),
    Submit(ScoringId),
    EndJob(ScoringId),
    EndMember(ScoringId, ScoringId),
    /// The row of half a failed group is written.
    SealHalf(ScoringId, usize),
    /// A member comes to name its half.
    JoinHalf(ScoringId, ScoringId, ScoringId),
    NobodyIsLeft(ScoringId),
    /// The copies of a group are removed.
    Clean(ScoringId),
    GoAlone(ScoringId),
    Change(ScoringId),
    Cancel(ScoringId),
    Crash(usize),
}

const ONCE: &str = "a file is scored by one job at most, which has read it";
const OWN_ERROR: &str = "a file fails by its own error alone";
const FROZEN: &str = "what must never be has not been";
const ENDS: &str = "every file ends";
const KEPT: &str = "what was copied is not superseded by what is written to its path later";

impl World {
    fn of_groups(&self, state: &State, actions: &mut Vec<Action>) {
        let named = state.named_groups();
        for group in &named {
            if !state.groups.contains_key(group) && self.removed_guard != RemovedGuard::LeftBehind {
                actions.push(Action::SealLeftBehind(group.clone()));
            }
        }
        for (id, row) in &state.groups {
            let group = state.group(id);
            match row.status {
                Status::Staging => {
                    let known = |file: &ScoringId| group.state_of(file) == Some(MemberState::Staged);
                    if state.copies.iter().any(|(of, file)| of == id && !known(file) && group.state_of(file).is_some())
                    {
                        actions.push(Action::Note(id.clone()));
                    }
                }
                Status::Queued => actions.push(Action::Submit(id.clone())),
                Status::Running | Status::Cancelling => actions.push(Action::EndJob(id.clone())),
                _ => {}
            }
            for file in state.named(id) {
                if state.end_of(id, &file).is_some() {
                    actions.push(Action::EndMember(id.clone(), file));
                }
            }
            if row.splits() && self.removed_guard != RemovedGuard::NotSplit && named.contains(id) {
                Self::of_halves(state, id, actions);
            }
            let is_named = named.contains(id) || group.half_of.as_ref().is_some_and(|whole| named.contains(whole));
            if !is_named && !row.status.is_terminal() && !row.stop_ordered {
                actions.push(Action::NobodyIsLeft(id.clone()));
            }
            let file_ended = |file: &ScoringId| state.files[file].status.is_terminal();
            let all_ended = group.members.iter().all(|member| file_ended(&member.id));
            let may_go = all_ended || self.removed_guard == RemovedGuard::CopiesGoAtOnce;
            if row.status.is_terminal() && may_go && state.copies.iter().any(|(of, _)| of == id) {
                actions.push(Action::Clean(id.clone()));
            }
        }
    }

    fn of_halves(state: &State, whole: &ScoringId, actions: &mut Vec<Action>) {
        for (which, members) in state.group(whole).halves().into_iter().enumerate() {
            let half = whole.half(which);
            if members.is_empty() {
                continue;
            }
            if !state.groups.contains_key(&half) {
                actions.push(Action::SealHalf(whole.clone(), which));
                continue;
            }
            for file in members.iter().filter(|file| state.names(file, whole)) {
                actions.push(Action::JoinHalf(whole.clone(), half.clone(), file.clone()));
            }
        }
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.begin()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (process, mind) in state.processes.iter().enumerate() {
            match mind {
                Process::Idle => {
                    if !state.waiting().is_empty() {
                        actions.push(Action::Begin(process));
                    }
                    for (group, file) in state.to_be_copied() {
                        let is_late = state.late.contains(&(group.clone(), file.clone()));
                        let waits_for_half =
                            state.group(&group).half_of.as_ref().is_some_and(|whole| state.names(&file, whole));
                        if !is_late && !waits_for_half {
                            actions.push(Action::LookAt(process, group, file));
                        }
                    }
                }
                Process::Making { .. } => actions.push(Action::Make(process)),
                Process::Copying { .. } => {
                    actions.push(Action::Copy(process, true));
                    if state.left.late_copies > 0 {
                        actions.push(Action::Copy(process, false));
                    }
                }
            }
            if *mind != Process::Idle && state.left.crashes > 0 {
                actions.push(Action::Crash(process));
            }
            // Which idle process does it is no matter.
            if *mind == Process::Idle && process == 0 && state.processes[1] == Process::Idle {
                break;
            }
        }
        self.of_groups(state, actions);
        for (group, file) in &state.late {
            actions.push(Action::Arrive(group.clone(), file.clone()));
        }
        for (id, row) in &state.files {
            if row.status == Status::Queued && !row.waits_for_group() {
                actions.push(Action::GoAlone(id.clone()));
            }
            if state.left.changes > 0 && !row.status.is_terminal() && !state.changed.contains(id) {
                actions.push(Action::Change(id.clone()));
            }
            if state.left.cancels > 0 && matches!(row.status, Status::Queued | Status::Grouped) {
                actions.push(Action::Cancel(id.clone()));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let rule = World::rule();
        let mut next = last.clone();
        match action {
            Action::Begin(process) => next.begin_group(process),
            Action::Make(process) => next.make(self, rule, process),
            Action::SealLeftBehind(group) => {
                let members = next.named(&group);
                next.seal(self, rule, &group, members, None);
            }
            Action::LookAt(process, group, file) => next.look_at_member(rule, process, &group, &file),
            Action::Copy(process, is_answered) => {
                next.left.late_copies -= u8::from(!is_answered);
                next.copy(rule, process, is_answered);
            }
            Action::Arrive(group, file) => {
                next.late.remove(&(group.clone(), file.clone()));
                next.copies.insert((group, file));
            }
            Action::Note(group) => next.note_copies(rule, &group),
            Action::Submit(group) => next.submit(rule, &group),
            Action::EndJob(group) => next.end_job(rule, &group),
            Action::EndMember(group, file) => next.end_member(rule, &group, &file),
            Action::SealHalf(whole, which) => {
                let members = next.group(&whole).halves()[which].clone();
                next.seal(self, rule, &whole.half(which), members, Some(whole.clone()));
            }
            Action::JoinHalf(whole, half, file) => next.join_half(rule, &whole, &half, &file),
            Action::NobodyIsLeft(group) => next.nobody_is_left(rule, &group),
            Action::Clean(group) => next.copies.retain(|(of, _)| *of != group),
            Action::GoAlone(file) => next.go_alone(rule, &file),
            Action::Change(file) => {
                next.left.changes -= 1;
                next.changed.insert(file);
            }
            Action::Cancel(file) => {
                next.left.cancels -= 1;
                next.cancel(rule, &file);
            }
            Action::Crash(process) => {
                next.left.crashes -= 1;
                next.processes[process] = Process::Idle;
            }
        }
        (next != *last).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONCE, |_: &Self, state: &State| {
                let by_group = |file: &ScoringId| {
                    let scored = state.groups.iter().filter(|(_, row)| row.status == Status::Scored);
                    let of_it = scored.filter(|(id, _)| state.files[file].member_of() == Some(*id));
                    of_it.filter(|(id, _)| state.jobs[*id].files.contains(file)).count()
                };
                state.files.iter().filter(|(_, row)| row.status == Status::Scored).all(|(id, row)| {
                    let of_group = row.member_of().is_some();
                    !state.bad.contains_key(id) && (!of_group || by_group(id) == 1)
                })
            }),
            Property::always(OWN_ERROR, |_: &Self, state: &State| {
                let failed = state.files.iter().filter(|(_, row)| row.status == Status::Failed);
                failed.map(|(id, _)| id).all(|id| state.bad.contains_key(id))
            }),
            Property::always(FROZEN, |_: &Self, state: &State| state.broken.is_none()),
            Property::always(KEPT, |_: &Self, state: &State| {
                let superseded = state.files.iter().filter(|(_, row)| row.status == Status::Superseded);
                let copied = |file: &ScoringId| {
                    state.groups.keys().any(|group| state.group(group).state_of(file) == Some(MemberState::Staged))
                };
                superseded.map(|(id, _)| id).all(|id| !copied(id))
            }),
            Property::eventually(ENDS, |_: &Self, state: &State| {
                state.files.values().all(|row| row.status.is_terminal())
            }),
            Property::sometimes("files are scored together", |_: &Self, state: &State| {
                let groups: BTreeSet<_> = state.files.values().map(|row| (row.status, row.member_of())).collect();
                groups.len() == 1 && groups.iter().all(|(status, group)| *status == Status::Scored && group.is_some())
            }),
        ]
    }
}

const CALM: Budget = Budget { crashes: 0, late_copies: 0, changes: 0, cancels: 0 };

fn world(files: usize, bad: &[(usize, &'static str)], budget: Budget) -> World {
    World { files, bad: bad.to_vec(), budget, removed_guard: RemovedGuard::None }
}

/// Walks every life there is.
fn holds(world: World, what: &str) {
    let begun = std::time::Instant::now();
    let is_good = world.bad.is_empty() && world.budget == CALM;
    let checker = world.checker().spawn_bfs().join();
    println!(
        "{what}: {} unique states of {} walked, at most {} steps long, {:?}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        begun.elapsed()
    );
    for property in [ONCE, OWN_ERROR, FROZEN, KEPT, ENDS] {
        checker.assert_no_discovery(property);
    }
    if is_good {
        checker.assert_any_discovery("files are scored together");
    }
}

fn harm(removed_guard: RemovedGuard, world: World, property: &'static str) {
    let world = World { removed_guard, ..world };
    let wanted = HasDiscoveries::AnyOf([property].into());
    let checker = world.checker().finish_when(wanted).spawn_bfs().join();
    assert!(checker.discovery(property).is_some(), "{removed_guard:?} does no harm to `{property}`");
}

const CODE: &str = "ValueError: a file is bad";
const MEMORY: &str = "MemoryError: a file is bad";

#[test]
fn files_are_scored_together_whoever_dies_at_any_step() {
    holds(world(2, &[], CALM), "two files");
    holds(world(2, &[], Budget { crashes: 2, ..CALM }), "two files, two crashes");
    holds(world(3, &[], CALM), "three files");
}

#[test]
fn a_bad_file_fails_alone_whatever_its_error_reads_like_and_whoever_dies() {
    for (error, what) in [(CODE, "code"), (MEMORY, "memory")] {
        holds(world(2, &[(0, error)], Budget { crashes: 1, ..CALM }), what);
    }
}

#[test]
fn files_that_change_or_are_cancelled_at_any_step_cost_the_others_nothing() {
    holds(world(2, &[], Budget { changes: 1, crashes: 1, ..CALM }), "a change");
    holds(world(2, &[], Budget { cancels: 1, crashes: 1, ..CALM }), "a cancellation");
    holds(world(2, &[(1, CODE)], Budget { cancels: 1, ..CALM }), "a cancellation, a bad file");
}

#[test]
fn a_copy_that_arrives_late_harms_no_other_file() {
    holds(world(2, &[], Budget { late_copies: 1, cancels: 1, ..CALM }), "a late copy, a cancellation");
    holds(world(2, &[(0, CODE)], Budget { late_copies: 1, cancels: 1, ..CALM }), "a late copy of a bad file");
}

#[test]
fn each_guard_that_is_taken_out_does_harm() {
    use RemovedGuard as R;
    let crash = Budget { crashes: 1, ..CALM };
    harm(R::SealedTwice, world(2, &[], crash), FROZEN);
    harm(R::LeftBehind, world(2, &[], crash), ENDS);
    harm(R::NotSplit, world(2, &[(0, CODE)], CALM), ENDS);
    harm(R::CopiesGoAtOnce, world(2, &[(0, CODE)], Budget { changes: 1, ..CALM }), KEPT);
}
