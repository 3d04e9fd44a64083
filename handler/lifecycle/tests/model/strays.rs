//! Jobs that come to light by themselves: by an answer that came late, by an audit, or by a person's word.
//!
//! Modelled after `handler/src/app`: `late`, `audit_job` and `resolve`.

use std::sync::Arc;

use lifecycle::{Answer, Scoring, Seen, Status, Step};

use crate::service::word;
use crate::state::{Fate, Rows, State, Worker, job};
use crate::world::World;

impl State {
    /// What an audit makes of a job: nothing, a move, or another request to stop.
    pub(crate) fn audit(&self, world: &World, number: usize) -> Option<Seen> {
        let made = &self.jobs[number];
        let row = &self.rows[made.of].as_ref()?.scoring;
        let undecided = matches!(row.status, Status::Submitting | Status::Unknown | Status::Held);
        if row.strays.contains(&job(number).name) || undecided && made.attempt == row.attempt {
            return None;
        }
        let seen = Seen::Made { attempt: made.attempt, job: job(number), status: word(made.now) };
        matches!(world.decide(row, &seen, self.now), Step::Move { .. }).then_some(seen)
    }

    /// A stray that was not stopped.
    pub(crate) fn is_loose(&self, number: usize) -> bool {
        let made = &self.jobs[number];
        let known = |rows: &Rows| rows.scoring.strays.contains(&job(number).name);
        made.now == Fate::Active && self.rows[made.of].as_ref().is_some_and(known)
    }

    /// An audit comes across a job.
    pub(crate) fn come_across(&mut self, world: &World, worker: usize, number: usize) {
        if self.is_loose(number) {
            self.workers[worker] = Worker::Stopping { jobs: vec![job(number)] };
        } else if let Some(seen) = self.audit(world, number) {
            self.told(world, worker, self.jobs[number].of, &seen);
        }
    }

    /// Somebody tells of a scoring: an audit or a person.
    pub(crate) fn told(&mut self, world: &World, worker: usize, of: usize, seen: &Seen) {
        if let Some(rows) = &self.rows[of] {
            let (from, scoring) = (Some(rows.op), Arc::clone(&rows.scoring));
            self.decided(world, worker, of, from, &scoring, seen, self.now, None);
        }
    }
}

/// What an answer says about a scoring that was moved on while it was under way, as the application's `late`.
pub(crate) fn late(sent: &Scoring, present: &Scoring, answer: &Answer) -> Option<Seen> {
    let same_post =
        present.status == Status::Submitting && (present.attempt, present.posts) == (sent.attempt, sent.posts);
    match answer {
        answer if same_post => Some(Seen::Answer(answer.clone())),
        Answer::Accepted { job, status } => {
            Some(Seen::Made { attempt: sent.attempt, job: job.clone(), status: status.clone() })
        }
        Answer::Refused { .. } | Answer::Unknown { .. } => None,
    }
}
