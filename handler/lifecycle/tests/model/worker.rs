//! What the application does around a decision, step by step: choose a look, record, act, read back.
//!
//! A worker is one invocation: an event's or a tick's. Between any two of its steps anything else may happen, and it may
//! die. Modelled after `handler/src/app`: `accept_scoring`, `reconcile_seen`, `drive_look`, `submit`, `look`, the tick's
//! sweep of slots, and the ledger's projection.

use std::sync::Arc;

use lifecycle::intake::{self, Classification};
use lifecycle::{
    Answer, Effect, InputContent, InputFound, Observation, OutputPrint, OutputSnapshot, Scoring, SeenVersion, Status,
    Step,
};
use serde_json::json;
use time::OffsetDateTime;

use crate::orphaned_jobs::late;
use crate::state::{Broken, Hold, Post, RequestState, Sent, State, Worker, Write};
use crate::world::{MAX_CLAIM_AGE, RemovedGuard, SLOT_EXPIRY, World};

/// One upload as Event Grid tells of it: each delivery spells it differently.
fn event(of: usize, delivery: u8) -> serde_json::Value {
    let (url, etag) = match delivery % 2 {
        0 => (format!("https://a.blob.core.windows.net/con/%3{of}.csv?sig=x"), "0x8DC1"),
        _ => (format!("https://A.dfs.core.windows.net/con/{of}.csv"), "\"0x8DC1\""),
    };
    json!({"id": delivery.to_string(), "specversion": "1.0", "type": "Microsoft.Storage.BlobCreated", "source": "/a",
           "data": {"api": "PutBlob", "url": url, "eTag": etag, "contentLength": 5}})
}

impl State {
    /// An event is delivered: taken in, with its first intent in the same transaction if a slot is free.
    pub(crate) fn deliver(&mut self, world: &World, worker: usize, of: usize) {
        self.deliveries[of] -= 1;
        let mut classifications =
            intake::read(&event(of, self.deliveries[of]), &World::ledger(), world.rules, self.now).expect("one event");
        let Some(Classification::Wanted(mut scorings)) = classifications.pop() else {
            panic!("the rule wants the event: {classifications:?}")
        };
        let queued = Arc::new(scorings.remove(0));
        if self.rows[of].as_ref().is_some_and(|rows| rows.scoring.id != queued.id) {
            self.broke(Broken::TwoRows);
        }
        self.workers[worker] = Worker::Looking { of, from: None, scoring: queued, at: self.now, observation: None };
        if !world.capped() {
            // Nothing is looked at: the decision is made at once.
            self.step(world, worker);
        }
    }

    /// What a look at the world finds; never a lie. The slot is for `claim`.
    pub(crate) fn look(&self, scoring: &Scoring, of: usize, at: OffsetDateTime) -> Observation {
        match scoring.status {
            Status::Queued if scoring.due <= at => Observation::SlotFree,
            Status::Unknown | Status::Held if scoring.due <= at => {
                Observation::candidates(self.candidates(of, scoring.attempt))
            }
            Status::Running | Status::Cancelling => self.job_seen(scoring),
            Status::Verifying if self.output_of(of, scoring.attempt) => Observation::output(OutputSnapshot::Present {
                bytes: 1,
                modified: self.now,
                print: OutputPrint::of([("", "1")]),
            }),
            Status::Verifying => Observation::output(OutputSnapshot::Absent { uri: "azureml://x".to_owned() }),
            _ => Observation::Nothing,
        }
    }

    /// A look that finds nothing out.
    pub(crate) fn blind(scoring: &Scoring) -> Option<Observation> {
        match scoring.status {
            Status::Unknown | Status::Held | Status::Verifying => Some(Observation::CannotLook("403".to_owned())),
            Status::Running | Status::Cancelling => Some(Observation::JobMissing),
            _ => None,
        }
    }

    /// A look at this row would move it now.
    pub(crate) fn would_move(&self, world: &World, of: usize) -> bool {
        let Some(rows) = &self.rows[of] else { return false };
        if rows.scoring.status.is_terminal() {
            return false;
        }
        let observation = self.look(&rows.scoring, of, self.now);
        if observation == Observation::SlotFree && world.capped() && self.slot.is_some_and(|slot| slot.owner != of) {
            return false;
        }
        matches!(self.decide(world, of, &rows.scoring, &observation, self.now), Step::Move { .. })
    }

    /// Decides; if that wants the input looked at first, by what is there now. The look takes no time here: what is deleted between it
    /// and the job is found by the next look.
    fn decide(
        &self,
        world: &World,
        of: usize,
        scoring: &Scoring,
        observation: &Observation,
        at: OffsetDateTime,
    ) -> Step {
        let step = world.decide(scoring, observation, at);
        if step != Step::LookAtInput {
            return step;
        }
        let there = !self.deleted[of] || world.removed_guard == RemovedGuard::NoInputLook;
        let content = InputContent { bytes: 1, md5: None };
        let found = if there {
            InputFound::Named(SeenVersion { etag: scoring.blob.etag.clone(), content })
        } else {
            InputFound::Gone
        };
        world.decide(scoring, &Observation::Input { found, then: Box::new(observation.clone()) }, at)
    }

    pub(crate) fn begin_look(&mut self, world: &World, worker: usize, of: usize) {
        if let Some(rows) = &self.rows[of] {
            let (from, scoring) = (Some(rows.op), Arc::clone(&rows.scoring));
            let early = world.removed_guard == RemovedGuard::ClockAfterLook;
            let observation = early.then(|| self.look(&scoring, of, self.now));
            self.workers[worker] = Worker::Looking { of, from, scoring, at: self.now, observation };
        }
    }

    /// The look that has just begun finds nothing out.
    pub(crate) fn see_nothing(&mut self, world: &World, worker: usize) {
        if let Worker::Looking { of, from, scoring, at, .. } =
            std::mem::replace(&mut self.workers[worker], Worker::Idle)
            && let Some(observation) = Self::blind(&scoring)
        {
            self.decided(world, worker, of, from, &scoring, &observation, at, None);
        }
    }

    /// The one next step of a worker, without faults.
    pub(crate) fn step(&mut self, world: &World, worker: usize) {
        self.paused[worker] = false;
        match std::mem::replace(&mut self.workers[worker], Worker::Idle) {
            Worker::Idle | Worker::Waiting { .. } => unreachable!("has no step of its own"),
            Worker::Looking { of, from, scoring, at, observation } => {
                let at = if observation.is_some() { self.now } else { at };
                let observation = observation.unwrap_or_else(|| self.look(&scoring, of, at));
                if observation != Observation::SlotFree || !world.capped() {
                    self.decided(world, worker, of, from, &scoring, &observation, at, None);
                } else if let Some(slot) = self.insert_slot(of, scoring.version, at) {
                    self.decided(world, worker, of, from, &scoring, &observation, at, Some(slot));
                } else {
                    match self.slot {
                        Some(slot) if slot.owner == of => {
                            self.workers[worker] = Worker::Renewing { of, from, scoring, at, etag: slot.etag };
                        }
                        _ => self.decided(world, worker, of, from, &scoring, &full(), at, None),
                    }
                }
            }
            Worker::Renewing { of, from, scoring, at, etag } => {
                let slot = self.renew_slot(of, scoring.version, at, etag);
                let observation = if slot.is_some() { Observation::SlotFree } else { full() };
                self.decided(world, worker, of, from, &scoring, &observation, at, slot);
            }
            Worker::Writing(write) if world.removed_guard != RemovedGuard::StaleClaims && self.is_stale(&write) => {
                self.workers[worker] = release(write.slot);
                if write.from.is_none() {
                    // An upload is taken in all the same, and waits for its turn.
                    let next = Arc::new(Scoring::accept(
                        &World::ledger(),
                        world.rule(),
                        write.next.blob.clone(),
                        write.next.created,
                    ));
                    let plain = Write { next, effect: Effect::None, slot: None, ..write };
                    self.apply(world, &plain);
                }
            }
            Worker::Writing(write) => {
                let done = self.apply(world, &write);
                self.recorded(world, worker, write, done);
            }
            Worker::ReadingBack(write) => {
                let current = self.op_of(write.of);
                if current == Some(write.op) || world.removed_guard == RemovedGuard::NoReadBack {
                    self.recorded(world, worker, write, true);
                } else if current == write.from {
                    // It may still take effect: the slot stays, an event is delivered again.
                    self.deliveries[write.of] += u8::from(write.from.is_none());
                } else {
                    self.recorded(world, worker, write, false);
                }
            }
            Worker::Intending { of, scoring, op } => self.send(world, worker, of, scoring, op),
            Worker::Late { of, sent, answer } => {
                let Some(rows) = &self.rows[of] else { return };
                let (from, present) = (Some(rows.op), Arc::clone(&rows.scoring));
                if let Some(observation) = late(&sent, &present, &answer) {
                    self.decided(world, worker, of, from, &present, &observation, self.now, None);
                    if let Worker::Writing(write) = &mut self.workers[worker] {
                        // What is told by an orphan scan is told once.
                        write.answer = matches!(observation, Observation::Answer(_)).then_some((sent, answer));
                    }
                }
            }
            Worker::Stopping { jobs } => self.stop(&jobs),
            Worker::Leaving { of, version } => {
                if let Some(slot) = self.slot.filter(|slot| slot.owner == of && slot.version < version) {
                    self.workers[worker] = Worker::Freeing { etag: slot.etag };
                }
            }
            Worker::Freeing { etag } => self.free_slot(world, etag),
            Worker::Sweeping { holds, at } => {
                let old =
                    |claimed| at - claimed >= SLOT_EXPIRY || world.removed_guard == RemovedGuard::OrphansFreedAtOnce;
                if let Some(slot) = self.slot.filter(|slot| !holds[slot.owner] && old(slot.claimed)) {
                    self.workers[worker] = Worker::Freeing { etag: slot.etag };
                }
            }
            Worker::ProjectingHistory { of, version, outbox } => {
                if let Some(rows) = &mut self.rows[of] {
                    // Upserts of lines that never change: an older writer adds nothing and removes nothing.
                    rows.projected.0 = rows.projected.0.max(version);
                }
                self.workers[worker] = Worker::ProjectingInstance { of, version, outbox };
            }
            Worker::ProjectingInstance { of, version, outbox } => {
                if let Some(rows) = &mut self.rows[of] {
                    let older = version < rows.projected.1;
                    if !older || world.removed_guard == RemovedGuard::ProjectionUnguarded {
                        rows.projected.1 = version;
                        if older {
                            self.broke(Broken::WentBack);
                        }
                    }
                }
                self.workers[worker] = Worker::Projected { of, outbox };
            }
            Worker::Projected { of, outbox } => {
                if self.outbox_is(of, outbox)
                    && let Some(rows) = &mut self.rows[of]
                {
                    rows.outbox = None;
                }
            }
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "what was read, what was seen, when, and the slot claimed on the way"
    )]
    pub(crate) fn decided(
        &mut self,
        world: &World,
        worker: usize,
        of: usize,
        from: Option<u32>,
        scoring: &Arc<Scoring>,
        observation: &Observation,
        at: OffsetDateTime,
        slot: Option<Hold>,
    ) {
        // The first line of history is written with the insertion.
        let history = if from.is_none() { 0 } else { scoring.version };
        let op = self.op();
        self.workers[worker] = match self.decide(world, of, scoring, observation, at) {
            Step::Wait { .. } if from.is_none() => {
                let next = Arc::clone(scoring);
                Worker::Writing(Write {
                    of,
                    from,
                    next,
                    history,
                    effect: Effect::None,
                    op,
                    slot,
                    leaves_slot: false,
                    answer: None,
                })
            }
            Step::Wait { .. } => release(slot),
            Step::LookAtInput | Step::Publish(_) => unreachable!("it was looked at, and nothing is published"),
            Step::Move { next, entry, effect } => {
                if next.status == Status::Gone && !self.deleted[of] {
                    self.broke(Broken::GoneThoughThere);
                }
                if effect == Effect::Submit
                    && scoring.status == Status::Queued
                    && world.rule().policy.verify_input
                    && self.deleted[of]
                {
                    self.broke(Broken::SentForNothing);
                }
                if entry.seq != next.version || entry.from != Some(scoring.status) || entry.to != next.status {
                    self.broke(Broken::Gap);
                }
                let leaves_slot = world.capped() && scoring.holds_slot() && !next.holds_slot();
                let next: Arc<Scoring> = next.into();
                if world.removed_guard == RemovedGuard::PostFirst && effect == Effect::Submit {
                    self.post(world, of, &next, op);
                }
                Worker::Writing(Write { of, from, next, history, effect, op, slot, leaves_slot, answer: None })
            }
        };
    }

    /// What follows a transaction that was done, or lost against another.
    fn recorded(&mut self, world: &World, worker: usize, write: Write, done: bool) {
        let Write { of, next, effect, op, slot, leaves_slot, answer, .. } = write;
        self.workers[worker] = if !done {
            answer.map_or_else(|| release(slot), |(sent, answer)| Worker::Late { of, sent, answer })
        } else if leaves_slot {
            Worker::Leaving { of, version: next.version }
        } else {
            match effect {
                Effect::None | Effect::Publish => Worker::Idle,
                Effect::Submit if world.removed_guard == RemovedGuard::PostFirst => {
                    Worker::Waiting { of, scoring: next, op }
                }
                Effect::Submit => Worker::Intending { of, scoring: next, op },
                Effect::Cancel(jobs) => Worker::Stopping { jobs },
            }
        };
    }

    /// The lease check, and the POST.
    fn send(&mut self, world: &World, worker: usize, of: usize, scoring: Arc<Scoring>, op: u32) {
        let policy = &world.rule().policy;
        if self.now + policy.submit_timeout.0 > scoring.due && world.removed_guard != RemovedGuard::NoLeaseCheck {
            let answer = Answer::Refused {
                code: "not sent".to_owned(),
                text: "too late".to_owned(),
                permanent: false,
                retry_after: None,
            };
            self.answer(world, worker, of, op, scoring, answer);
            return;
        }
        if !self.intents.contains(&op) {
            self.broke(Broken::SentWithoutIntent);
        }
        self.post(world, of, &scoring, op);
        self.workers[worker] = Worker::Waiting { of, scoring, op };
    }

    fn post(&mut self, world: &World, of: usize, scoring: &Scoring, op: u32) {
        let post = Post { of, attempt: scoring.attempt, number: scoring.submits };
        // Who sends keeps to the lease, and what is sent arrives within `resubmitAfter`: otherwise it is a zombie.
        let until = Some(scoring.due.max(self.now) + world.rule().policy.resubmit_after.0);
        self.network.push(Sent { post, op, until });
    }

    /// The answer to a POST, for who waits for it.
    pub(crate) fn answered(&mut self, world: &World, intent: u32, answer: Answer) {
        let Some(worker) = self.waiting_for(intent) else { return };
        let Worker::Waiting { of, scoring, op } = std::mem::replace(&mut self.workers[worker], Worker::Idle) else {
            return;
        };
        if matches!(answer, Answer::Unknown { .. }) {
            // From now on the job is looked for.
            let until = self.now + self.policy.resubmit_after.0;
            for sent in self.network.iter_mut().filter(|sent| sent.op == intent) {
                sent.until = sent.until.map(|before| before.min(until));
            }
        }
        self.answer(world, worker, of, op, scoring, answer);
    }

    fn answer(&mut self, world: &World, worker: usize, of: usize, op: u32, sent: Arc<Scoring>, answer: Answer) {
        self.decided(world, worker, of, Some(op), &sent, &Observation::Answer(answer.clone()), self.now, None);
        if let Worker::Writing(write) = &mut self.workers[worker] {
            write.answer = Some((sent, answer));
        }
    }

    /// The claim is so old that others may take it for left behind.
    fn is_stale(&self, write: &Write) -> bool {
        write.slot.is_some_and(|slot| self.now - slot.claimed > MAX_CLAIM_AGE)
    }

    /// The worker dies. Its event, if it has one that was not taken in, is delivered again.
    pub(crate) fn crash(&mut self, worker: usize) {
        self.left.crashes -= 1;
        match std::mem::replace(&mut self.workers[worker], Worker::Idle) {
            Worker::Looking { of, from: None, .. }
            | Worker::Renewing { of, from: None, .. }
            | Worker::Writing(Write { of, from: None, .. })
            | Worker::ReadingBack(Write { of, from: None, .. }) => self.deliveries[of] += 1,
            _ => {}
        }
    }

    /// A worker whose write must lose, and who has no slot to give back, can do nothing more that anybody sees.
    pub(crate) fn send_losers_home(&mut self, capped: bool) {
        if self.tell_all {
            return;
        }
        for worker in 0..self.workers.len() {
            let lost = match &self.workers[worker] {
                Worker::Looking { of, from, scoring, .. } => {
                    (!capped || scoring.status != Status::Queued).then_some((of, from))
                }
                Worker::Writing(write) if write.slot.is_none() && write.answer.is_none() => {
                    Some((&write.of, &write.from))
                }
                _ => None,
            };
            if lost.is_some_and(|(of, from)| self.op_of(*of) != *from) {
                self.workers[worker] = Worker::Idle;
            }
        }
        for (paused, worker) in self.paused.iter_mut().zip(&self.workers) {
            *paused &= !matches!(worker, Worker::Idle);
        }
    }

    fn stop(&mut self, jobs: &[lifecycle::Job]) {
        for number in jobs.iter().map(crate::state::number_of) {
            if self.jobs[number].now == RequestState::Active {
                self.jobs[number].now = RequestState::Stopped;
            }
        }
    }
}

fn full() -> Observation {
    Observation::Waiting { reason: "the slot is taken".to_owned() }
}

fn release(slot: Option<Hold>) -> Worker {
    slot.filter(|slot| slot.fresh).map_or(Worker::Idle, |slot| Worker::Freeing { etag: slot.etag })
}
