//! Jobs that come to light by themselves: by an answer that came late, by an orphan scan, or by an operator's resolution.
//!
//! Modelled after `handler/src/app`: `late`, `orphan_scan_job` and `resolve`.

use std::sync::Arc;

use lifecycle::{Answer, Observation, Scoring, Status, Step};

use crate::service::word;
use crate::state::{RequestState, Rows, State, Worker, job};
use crate::world::World;

impl State {
    /// What an orphan scan makes of a job: nothing, a move, or another request to stop.
    pub(crate) fn scan_for_orphans(&self, world: &World, number: usize) -> Option<Observation> {
        let made = &self.jobs[number];
        let row = &self.rows[made.of].as_ref()?.scoring;
        let undecided = matches!(row.status, Status::Submitting | Status::Unknown | Status::Held);
        if row.orphaned_jobs.contains(&job(number).name) || undecided && made.attempt == row.attempt {
            return None;
        }
        let observation =
            Observation::UnexpectedJob { attempt: made.attempt, job: job(number), status: word(made.now) };
        matches!(world.decide(row, &observation, self.now), Step::Move { .. }).then_some(observation)
    }

    /// An orphaned job that was not stopped.
    pub(crate) fn is_loose(&self, number: usize) -> bool {
        let made = &self.jobs[number];
        let known = |rows: &Rows| rows.scoring.orphaned_jobs.contains(&job(number).name);
        made.now == RequestState::Active && self.rows[made.of].as_ref().is_some_and(known)
    }

    /// An orphan scan comes across a job.
    pub(crate) fn come_across(&mut self, world: &World, worker: usize, number: usize) {
        if self.is_loose(number) {
            self.workers[worker] = Worker::Stopping { jobs: vec![job(number)] };
        } else if let Some(observation) = self.scan_for_orphans(world, number) {
            self.told(world, worker, self.jobs[number].of, &observation);
        }
    }

    /// Somebody tells of a scoring: an orphan scan or a person.
    pub(crate) fn told(&mut self, world: &World, worker: usize, of: usize, observation: &Observation) {
        if let Some(rows) = &self.rows[of] {
            let (from, scoring) = (Some(rows.op), Arc::clone(&rows.scoring));
            self.decided(world, worker, of, from, &scoring, observation, self.now, None);
        }
    }
}

/// What an answer says about a scoring that was moved on while it was under way, as the application's `late`.
pub(crate) fn late(sent: &Scoring, present: &Scoring, answer: &Answer) -> Option<Observation> {
    let same_post =
        present.status == Status::Submitting && (present.attempt, present.submits) == (sent.attempt, sent.submits);
    match answer {
        answer if same_post => Some(Observation::Answer(answer.clone())),
        Answer::Accepted { job, status } => {
            Some(Observation::UnexpectedJob { attempt: sent.attempt, job: job.clone(), status: status.clone() })
        }
        Answer::Refused { .. } | Answer::TagsRefused { .. } | Answer::Unknown { .. } => None,
    }
}
