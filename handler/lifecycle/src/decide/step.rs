//! What a decision comes to, and the one place where a scoring is moved.

use time::OffsetDateTime;

use crate::input::InputFound;
use crate::job::Job;
use crate::publication::{PublicationMark, WriteCondition};
use crate::publishing::Publication;
use crate::rule::{Policy, Rule};
use crate::scoring::{Entry, Scoring};
use crate::status::{Event, Status, next};

/// What is to happen, and why. Whoever carries it out never asks whether it is right.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Nothing is written; look again later.
    Wait {
        /// Why nothing moves. Shown to people, recorded nowhere.
        reason: String,
    },
    /// Nothing is decided before the scoring's input was looked at: look, and ask again with
    /// [`Observation::Input`](super::Observation::Input) around what was seen.
    LookAtInput,
    /// Write one result where it is published, which is on record, and ask again with
    /// [`Observation::PublishAnswered`](super::Observation::PublishAnswered).
    Publish(Box<PublishOrder>),
    /// Record `next` and `entry` in one transaction, then carry out `effect`.
    Move {
        /// The scoring after the move.
        next: Box<Scoring>,
        /// The line of history that says why. Never recorded without `next`, nor the other way round.
        entry: Entry,
        /// What to do once it is recorded.
        effect: Effect,
    },
}

/// What is written where. If it was done already, by a copy whose answer was lost, the condition fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishOrder {
    /// The output, the path that was chosen for it and the version that was verified.
    pub publication: Publication,
    /// The path that is written: the one that was chosen, or the one beside it.
    pub to: String,
    /// What must still hold at that path: nothing lies there, or what the look has shown.
    pub condition: WriteCondition,
    /// What is written on it.
    pub mark: PublicationMark,
}

/// What follows a recorded move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The move is all there is to do.
    None,
    /// Send the scoring's submission, exactly once and without retries of any client library: each POST may make a job.
    Submit,
    /// Ask Azure ML to stop these jobs. Safe to repeat.
    Cancel(Vec<Job>),
    /// Look where it is to be published, and go on by what is there.
    Publish,
}

pub(super) fn wait(reason: String) -> Step {
    Step::Wait { reason }
}

/// What a decision is made on.
pub(super) struct DecideContext<'a> {
    pub(super) scoring: &'a Scoring,
    pub(super) policy: &'a Policy,
    /// Its rule, if the rules hold it.
    pub(super) rule: Option<&'a Rule>,
    /// Why a request whose answer was lost is not sent again by itself, if it is not.
    pub(super) forbids_resend: Option<&'static str>,
    /// What a look at the input came to, if it was looked at for this decision.
    pub(super) input: Option<&'a InputFound>,
    /// Whether the input is to be looked at.
    pub(super) verifies: bool,
    /// When its job is told to stop.
    pub(super) stop_at: OffsetDateTime,
    pub(super) now: OffsetDateTime,
}

impl DecideContext<'_> {
    /// A move by the table. `change` sets what the event changes beside the status.
    pub(super) fn transition(
        &self,
        event: Event,
        reason: String,
        effect: Effect,
        change: impl FnOnce(&mut Scoring),
    ) -> Step {
        let from = self.scoring.status;
        let Some(to) = next(from, event) else {
            // Unreachable by the tests over all pairs; waiting is the answer that harms nothing.
            debug_assert!(false, "{from} has no row for {event:?}");
            return wait(format!("{from} has no move for {event:?}"));
        };
        let mut next = self.scoring.clone();
        next.status = to;
        next.version += 1;
        next.updated = self.now;
        // What kept it from moving no longer does. The moves that are made because of an error set it again.
        next.last_error = None;
        // `since` measures how long it stands where it stands: a poll that only changes Azure ML's word must not start
        // the time limits anew.
        if from != to {
            next.since = self.now;
        }
        if to != Status::Queued {
            next.on_hold = None;
        }
        if to == Status::Queued && from.is_terminal() {
            next.leave_ended_group();
        }
        next.expedited &= matches!(to, Status::Queued | Status::Submitting);
        self.note_input(&mut next);
        change(&mut next);
        let orphaned = next.orphaned_job_count > self.scoring.orphaned_job_count;
        if orphaned || to == Status::Failed && from != to {
            // Something else than what was seen.
            next.acknowledged = None;
        }
        if from != to {
            // What is opened again has not ended: its row of the terminal index goes, and retention does not count.
            next.completed = to.is_terminal().then_some(self.now);
        }
        let entry = Entry {
            seq: next.version,
            at: self.now,
            from: Some(from),
            to,
            event: Some(event),
            reason,
            attempt: next.attempt,
            // When an attempt ends, its job is no longer in `next`; the line is about that job.
            job: next.job.as_ref().or(self.scoring.job.as_ref()).map(|job| job.name.clone()),
            // Known to whoever saw it, and nothing is decided by it.
            request_id: None,
        };
        Step::Move { next: Box::new(next), entry, effect }
    }
}
