//! Everything that may happen next, and what must hold.

use std::collections::BTreeSet;

use lifecycle::{Observation, Resolution, ResolveOrder, Scoring, Status};
use stateright::{Model, Property};

use crate::service::{refused, reset};
use crate::state::{RequestState, Sent, State, Worker, Write, job};
use crate::world::{RemovedGuard, SLOT_EXPIRY, UNIT, World};

/// What happens next. Numbers are of workers, uploads, POSTs on their way, or jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// An event is delivered to a worker.
    Deliver { worker: usize, of: usize },
    /// A tick's worker begins a look.
    Look { worker: usize, of: usize },
    /// The same, and nothing can be found yet: the worker pauses before it sees what it sees.
    SlowLook { worker: usize, of: usize },
    /// A look that finds nothing out.
    BlindLook { worker: usize, of: usize },
    /// A tick's worker reads who holds slots.
    Sweep { worker: usize },
    /// A tick's worker reads an outbox row and its scoring.
    Project { worker: usize, of: usize },
    /// A tick's worker comes across a job that nobody needs, or that its scoring waits for.
    OrphanScan { worker: usize, job: usize },
    /// An operator says how a held scoring goes on, and is right.
    Person { worker: usize, of: usize, word: Word },
    /// The worker's next step.
    Step { worker: usize },
    /// The worker's write is sent and its answer is lost.
    LoseWrite { worker: usize },
    /// That write takes effect, or fails by its condition.
    WriteLands,
    /// The worker gives its POST up; it may still arrive.
    GiveUp { worker: usize },
    /// The worker's next step takes its time.
    Pause { worker: usize },
    /// The worker dies.
    Crash { worker: usize },
    /// The service takes a POST; `told`: its sender hears of it.
    Arrive { post: usize, told: bool },
    /// The POST never reaches the service.
    Vanish { post: usize },
    /// The POST will arrive at any later time.
    Zombie { post: usize },
    /// The service refuses the POST.
    Refuse { post: usize, permanent: bool },
    /// An input is deleted.
    Delete { of: usize },
    /// A job ends.
    JobEnds { job: usize, request_state: RequestState },
    /// A minute passes.
    TimePasses,
}

impl State {
    /// Time may pass if something waits for it, and if nothing must happen before.
    fn time_may_pass(&self, world: &World) -> bool {
        let waits = (0..world.uploads).any(|of| self.timers(of).next().is_some())
            || self.slot.is_some_and(|slot| !self.holds_slot(slot.owner) && self.now - slot.claimed < SLOT_EXPIRY);
        let in_time = |sent: &Sent| sent.until.is_none_or(|until| self.now + UNIT < until);
        let patient =
            |(worker, paused): (&Worker, &bool)| *paused || matches!(worker, Worker::Idle | Worker::Waiting { .. });
        // A write is not on its way for longer than a claim is left alone, less the time that its sender may have it.
        let floats = |write: &Write| write.slot.is_none_or(|hold| self.now + UNIT < hold.claimed + SLOT_EXPIRY);
        waits
            && self.network.iter().all(in_time)
            && self.workers.iter().zip(&self.paused).all(patient)
            && self.floating.as_ref().is_none_or(floats)
    }

    pub(crate) fn holds_slot(&self, of: usize) -> bool {
        self.rows[of].as_ref().is_some_and(|rows| rows.scoring.holds_slot())
    }

    fn idle_may(&self, world: &World, worker: usize, actions: &mut Vec<Action>) {
        for of in 0..world.uploads {
            if self.deliveries[of] > 0 {
                actions.push(Action::Deliver { worker, of });
            }
            let Some(rows) = &self.rows[of] else { continue };
            if rows.scoring.status == Status::Held {
                self.person_may(worker, of, rows.scoring.attempt, actions);
            }
            if self.would_move(world, of) {
                actions.push(Action::Look { worker, of });
            } else if self.left.pauses > 0 && !rows.scoring.status.is_terminal() {
                actions.push(Action::SlowLook { worker, of });
            }
            if self.left.blind_looks > 0 && Self::blind(&rows.scoring).is_some() {
                actions.push(Action::BlindLook { worker, of });
            }
            if rows.outbox.is_some() {
                actions.push(Action::Project { worker, of });
            }
        }
        for job in 0..self.jobs.len() {
            if world.removed_guard != RemovedGuard::NoOrphanScan
                && (self.is_loose(job) || self.scan_for_orphans(world, job).is_some())
            {
                actions.push(Action::OrphanScan { worker, job });
            }
        }
        if let Some(slot) = self.slot
            && !self.holds_slot(slot.owner)
            && world.removed_guard != RemovedGuard::OrphansKept
            && (self.now - slot.claimed >= SLOT_EXPIRY || world.removed_guard == RemovedGuard::OrphansFreedAtOnce)
        {
            actions.push(Action::Sweep { worker });
        }
    }

    /// What a person who looked well can say.
    fn person_may(&self, worker: usize, of: usize, attempt: u32, actions: &mut Vec<Action>) {
        actions.push(Action::Person { worker, of, word: Word::GiveUp });
        let made = self.jobs.iter().position(|made| (made.of, made.attempt) == (of, attempt));
        // Of a zombie nobody knows.
        let may_come = |sent: &Sent| (sent.post.of, sent.post.attempt) == (of, attempt) && sent.until.is_some();
        match made {
            Some(job) => actions.push(Action::Person { worker, of, word: Word::JobIs(job) }),
            None if !self.network.iter().any(may_come) => {
                actions.push(Action::Person { worker, of, word: Word::SendAgain });
            }
            None => {}
        }
    }

    /// Every job is adopted, or was once, or is an orphaned job.
    fn all_are_known(&self) -> bool {
        self.jobs.iter().enumerate().all(|(number, made)| {
            let name = job(number).name;
            self.rows[made.of].as_ref().is_some_and(|rows| {
                let Scoring { job, previous_jobs, orphaned_jobs, .. } = &*rows.scoring;
                job.as_ref().is_some_and(|job| job.name == name)
                    || previous_jobs.contains(&name)
                    || orphaned_jobs.contains(&name)
            })
        })
    }

    /// All is done and nothing is left over.
    fn is_well(&self, world: &World) -> bool {
        (0..world.uploads).all(|of| self.ended(of))
            && self.slot.is_none()
            && self.jobs.iter().all(|made| made.now != RequestState::Active)
            && self.all_are_known()
            && self.rows.iter().flatten().all(|rows| {
                let version = rows.scoring.version;
                rows.outbox.is_none() && (!world.projection || rows.projected == (version, version))
            })
    }

    /// Nobody is at work, and nothing is on its way.
    fn is_quiet(&self) -> bool {
        self.workers.iter().all(|worker| matches!(worker, Worker::Idle))
            && self.network.is_empty()
            && self.floating.is_none()
    }
}

/// What an operator says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    SendAgain,
    JobIs(usize),
    GiveUp,
}

pub(crate) const DOUBLE: &str = "an attempt has one job, unless a POST of it came after resubmitAfter";
pub(crate) const BROKEN: &str = "no step breaks a rule";
pub(crate) const LIMIT: &str = "a rule of one slot has one scoring at the endpoint";
pub(crate) const WELL: &str = "where nothing can happen any more all is well";
pub(crate) const ENDS: &str = "every upload ends";

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::first(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let left = &state.left;
        // Idle workers are alike: what one may begin, the other need not.
        let mut idle = None;
        for (worker, doing) in state.workers.iter().enumerate() {
            match doing {
                Worker::Idle => {
                    idle = idle.or(Some(worker));
                    continue;
                }
                Worker::Waiting { .. } if left.lost_answers > 0 => actions.push(Action::GiveUp { worker }),
                Worker::Waiting { op, .. } if state.network.iter().all(|sent| sent.op != *op) => {
                    actions.push(Action::GiveUp { worker });
                }
                Worker::Waiting { .. } => {}
                _ => actions.push(Action::Step { worker }),
            }
            if matches!(doing, Worker::Writing(_)) && left.lost_writes > 0 && state.floating.is_none() {
                actions.push(Action::LoseWrite { worker });
            }
            if !matches!(doing, Worker::Waiting { .. }) && !state.paused[worker] && left.pauses > 0 {
                actions.push(Action::Pause { worker });
            }
            if left.crashes > 0 {
                actions.push(Action::Crash { worker });
            }
        }
        if let Some(worker) = idle {
            state.idle_may(self, worker, actions);
        }
        if state.floating.is_some() {
            actions.push(Action::WriteLands);
        }
        for (post, sent) in state.network.iter().enumerate() {
            let awaited = state.waiting_for(sent.op).is_some();
            actions.push(Action::Arrive { post, told: true });
            if awaited && left.lost_answers > 0 {
                actions.push(Action::Arrive { post, told: false });
            }
            if !awaited || left.lost_answers > 0 {
                actions.push(Action::Vanish { post });
            }
            if left.zombies > 0 && sent.until.is_some() {
                actions.push(Action::Zombie { post });
            }
            if left.refusals > 0 {
                actions.extend([true, false].map(|permanent| Action::Refuse { post, permanent }));
            }
        }
        for (job, made) in state.jobs.iter().enumerate().filter(|(_, made)| made.now == RequestState::Active) {
            actions.push(Action::JobEnds { job, request_state: RequestState::Completed });
            if left.bad_jobs == 0 && state.deleted[made.of] && !made.late {
                // It may have read its input before.
                actions.push(Action::JobEnds { job, request_state: RequestState::Failed });
            }
            if left.bad_jobs > 0 && !made.late {
                actions.extend(
                    [RequestState::Hollow, RequestState::Failed, RequestState::UserError, RequestState::Cancelled]
                        .map(|request_state| Action::JobEnds { job, request_state }),
                );
            }
        }
        if left.deletions > 0 {
            actions.extend((0..self.uploads).map(|of| Action::Delete { of }));
        }
        if state.time_may_pass(self) {
            actions.push(Action::TimePasses);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Deliver { worker, of } => next.deliver(self, worker, of),
            Action::Look { worker, of } => next.begin_look(self, worker, of),
            Action::SlowLook { worker, of } => {
                next.left.pauses -= 1;
                next.begin_look(self, worker, of);
                next.paused[worker] = true;
            }
            Action::BlindLook { worker, of } => {
                next.left.blind_looks -= 1;
                next.begin_look(self, worker, of);
                next.see_nothing(self, worker);
            }
            Action::Sweep { worker } => {
                let holds = [0, 1].map(|of| next.holds_slot(of));
                next.workers[worker] = Worker::Sweeping { holds, at: next.now };
            }
            Action::Project { worker, of } => {
                if let Some((outbox, version)) =
                    next.rows[of].as_ref().and_then(|r| Some((r.outbox?, r.scoring.version)))
                {
                    next.workers[worker] = Worker::ProjectingHistory { of, version, outbox };
                }
            }
            Action::OrphanScan { worker, job } => next.come_across(self, worker, job),
            Action::Person { worker, of, word } => {
                let resolution = match word {
                    Word::SendAgain => Resolution::SendAgain,
                    Word::JobIs(number) => Resolution::JobIs(job(number).name),
                    Word::GiveUp => Resolution::GiveUp,
                };
                let order = ResolveOrder { resolution, by: String::new(), reason: String::new() };
                next.told(self, worker, of, &Observation::Resolved(order));
            }
            Action::Step { worker } => next.step(self, worker),
            Action::LoseWrite { worker } => {
                if let Worker::Writing(write) = next.workers[worker].clone() {
                    next.left.lost_writes -= 1;
                    next.floating = Some(write.clone());
                    next.workers[worker] = Worker::ReadingBack(write);
                }
            }
            Action::WriteLands => {
                if let Some(write) = next.floating.take() {
                    next.apply(self, &write);
                }
            }
            Action::GiveUp { worker } => {
                if let Worker::Waiting { op, .. } = next.workers[worker] {
                    next.left.lost_answers = next.left.lost_answers.saturating_sub(1);
                    next.answered(self, op, reset());
                }
            }
            Action::Pause { worker } => {
                next.left.pauses -= 1;
                next.paused[worker] = true;
            }
            Action::Crash { worker } => next.crash(worker),
            Action::Arrive { post, told } => {
                next.left.lost_answers -= u8::from(!told);
                next.arrive(self, post, told);
            }
            Action::Vanish { post } => {
                let sent = next.network.remove(post);
                if next.waiting_for(sent.op).is_some() {
                    next.left.lost_answers -= 1;
                    next.answered(self, sent.op, reset());
                }
            }
            Action::Zombie { post } => {
                next.left.zombies -= 1;
                next.network[post].until = None;
            }
            Action::Refuse { post, permanent } => {
                next.left.refusals -= 1;
                let sent = next.network.remove(post);
                next.answered(self, sent.op, refused(permanent));
            }
            Action::JobEnds { job, request_state } => {
                let bad = request_state != RequestState::Completed;
                next.left.bad_jobs = next.left.bad_jobs.saturating_sub(u8::from(bad));
                next.jobs[job].now = request_state;
            }
            Action::Delete { of } => {
                next.left.deletions -= 1;
                next.deleted[of] = true;
            }
            Action::TimePasses => next.now += UNIT,
        }
        next.send_losers_home(self.capped());
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(BROKEN, |_: &Self, state: &State| state.broken.is_none()),
            Property::always(DOUBLE, |world: &Self, state: &State| {
                state.jobs.iter().all(|made| {
                    let same = state.jobs.iter().filter(|m| (m.of, m.attempt) == (made.of, made.attempt));
                    if world.names_are_kept { same.count() <= 1 } else { same.filter(|m| !m.late).count() <= 1 }
                })
            }),
            Property::always("an attempt adopts one job", |_: &Self, state: &State| {
                let attempts: BTreeSet<_> = state.adopted.iter().map(|(of, attempt, _)| (of, attempt)).collect();
                attempts.len() == state.adopted.len()
            }),
            Property::always("the indexes and the history agree with the row", |_: &Self, state: &State| {
                state.rows.iter().flatten().all(|rows| {
                    let done = rows.scoring.status.is_terminal();
                    rows.in_flight != done && rows.terminal == done && rows.history == rows.scoring.version
                })
            }),
            Property::always(LIMIT, |world: &Self, state: &State| {
                !world.capped() || (0..world.uploads).filter(|of| state.holds_slot(*of)).count() <= 1
            }),
            Property::always("a projected instance has its history", |_: &Self, state: &State| {
                state.rows.iter().flatten().all(|rows| rows.projected.1 <= rows.projected.0)
            }),
            Property::always(WELL, |world: &Self, state: &State| {
                if state.is_well(world) || !state.is_quiet() {
                    return true;
                }
                let mut actions = Vec::new();
                world.actions(state, &mut actions);
                !actions.is_empty()
            }),
            Property::eventually(ENDS, |world: &Self, state: &State| (0..world.uploads).all(|of| state.ended(of))),
            Property::sometimes("an upload is scored", |_: &Self, state: &State| ends_as(state, Status::Scored)),
            Property::sometimes("an upload fails", |world: &Self, state: &State| {
                world.budget.refusals == 0 && world.budget.bad_jobs == 0 || ends_as(state, Status::Failed)
            }),
            Property::sometimes("an upload is gone", |world: &Self, state: &State| {
                world.budget.deletions == 0 || ends_as(state, Status::Gone)
            }),
            Property::sometimes("a person cancels", |world: &Self, state: &State| {
                world.budget.bad_jobs == 0 || ends_as(state, Status::Cancelled)
            }),
            Property::sometimes("a zombie makes a second job", |world: &Self, state: &State| {
                world.names_are_kept
                    || world.budget.zombies == 0
                    || state.jobs.len() > 1 && state.jobs.iter().any(|m| m.late)
            }),
        ]
    }
}

fn ends_as(state: &State, status: Status) -> bool {
    state.rows.iter().flatten().any(|rows| rows.scoring.status == status)
}
