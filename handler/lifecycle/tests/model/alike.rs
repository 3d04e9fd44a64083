//! Which moments are alike, so that only one of them need be walked on from.
//!
//! Two moments are alike when nothing later can tell them apart: absolute time, the names of table versions, which of
//! the two workers is which, and what a worker holds whose write must lose anyway are left out of the hash. Times
//! are kept as the steps that are left until something is due. The number of a row's version stays in: it only rises,
//! so that a finite walk is also the proof that no life goes round in circles.

use std::hash::{DefaultHasher, Hash, Hasher};

use lifecycle::{Answer, Effect, Scoring, Status};
use time::OffsetDateTime;

use crate::state::{State, Worker, Write, number_of};
use crate::world::SLOT_EXPIRY;

impl State {
    /// A scoring as far as later decisions can tell.
    fn hash_scoring(&self, scoring: &Scoring, into: &mut impl Hasher) {
        let policy = self.policy;
        (scoring.version, scoring.status, scoring.attempt, scoring.submits, scoring.refusals).hash(into);
        (scoring.submission.is_some(), &scoring.last_error, scoring.orphaned_job_count).hash(into);
        (scoring.job.as_ref().map(number_of), &scoring.job_status, scoring.input.is_some()).hash(into);
        if !scoring.status.is_terminal() {
            self.left_until(scoring.due).hash(into);
            if matches!(scoring.status, Status::Unknown | Status::Verifying) {
                self.left_until(scoring.since + policy.resubmit_after.0).hash(into);
                self.left_until(scoring.since + policy.output_timeout.0).hash(into);
            }
            scoring.missing_since.map(|since| self.left_until(since + policy.output_timeout.0 * 5)).hash(into);
            scoring.submitted.map(|since| self.left_until(since + policy.submit_deadline.0)).hash(into);
        }
    }

    fn hash_write(&self, write: &Write, into: &mut impl Hasher) {
        let current = self.op_of(write.of);
        let (lands, landed) = (write.from == current, current == Some(write.op));
        (write.of, lands, landed, write.from.is_none(), write.leaves_slot).hash(into);
        if lands || landed || self.tell_all {
            self.hash_scoring(&write.next, into);
            match &write.effect {
                Effect::None => 0.hash(into),
                Effect::Submit | Effect::Publish => 1.hash(into),
                Effect::Cancel(jobs) => jobs.iter().for_each(|job| number_of(job).hash(into)),
            }
        }
        write.answer.as_ref().map(|(_, answer)| told(answer)).hash(into);
        write
            .slot
            .map(|hold| (self.holds(hold.etag), hold.fresh, self.age(hold.claimed).min(SLOT_EXPIRY.whole_minutes())))
            .hash(into);
    }

    fn age(&self, at: OffsetDateTime) -> i64 {
        (self.now - at).whole_minutes()
    }

    fn hash_worker(&self, worker: &Worker) -> u64 {
        let mut into = DefaultHasher::new();
        let to = &mut into;
        match worker {
            Worker::Idle => 0.hash(to),
            Worker::Looking { of, from, scoring, at, observation } => {
                observation.as_ref().map(|observation| format!("{observation:?}")).hash(to);
                let stale = *from != self.op_of(*of);
                (1, of, stale, from.is_none()).hash(to);
                // What is stale cannot be written; but a slot may be claimed for it.
                if !stale || scoring.status == Status::Queued {
                    (self.age(*at), scoring.version, scoring.status).hash(to);
                }
            }
            Worker::Renewing { of, from, scoring, at, etag } => {
                (2, of, *from == self.op_of(*of), self.age(*at), scoring.version, self.holds(*etag)).hash(to);
            }
            Worker::Writing(write) => {
                3.hash(to);
                self.hash_write(write, to);
            }
            Worker::ReadingBack(write) => {
                4.hash(to);
                self.hash_write(write, to);
            }
            Worker::Intending { of, scoring, op } => {
                (5, of, Some(*op) == self.op_of(*of), self.intents.contains(op)).hash(to);
                (scoring.attempt, scoring.submits, self.left_until(scoring.due)).hash(to);
            }
            Worker::Waiting { of, scoring, op } => {
                (6, of, Some(*op) == self.op_of(*of), scoring.attempt, scoring.submits).hash(to);
            }
            Worker::Late { of, sent, answer } => (14, of, sent.attempt, sent.submits, told(answer)).hash(to),
            Worker::Stopping { jobs } => (7, jobs.iter().map(number_of).collect::<Vec<_>>()).hash(to),
            Worker::Leaving { of, version } => (8, of, version).hash(to),
            Worker::Freeing { etag } => (9, self.holds(*etag)).hash(to),
            Worker::Sweeping { holds, at } => (10, holds, self.age(*at)).hash(to),
            Worker::ProjectingHistory { of, version, outbox } => {
                (11, of, version, self.outbox_is(*of, *outbox)).hash(to);
            }
            Worker::ProjectingInstance { of, version, outbox } => {
                (12, of, version, self.outbox_is(*of, *outbox)).hash(to);
            }
            Worker::Projected { of, outbox } => (13, of, self.outbox_is(*of, *outbox)).hash(to),
        }
        into.finish()
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, into: &mut H) {
        for rows in &self.rows {
            let Some(rows) = rows else {
                0.hash(into);
                continue;
            };
            self.hash_scoring(&rows.scoring, into);
            (rows.in_flight, rows.terminal, rows.history, rows.outbox.is_some(), rows.projected).hash(into);
        }
        if let Some(slot) = self.slot {
            (slot.owner, slot.version, self.age(slot.claimed).min(SLOT_EXPIRY.whole_minutes())).hash(into);
        }
        let mut workers = [0, 1].map(|worker| (self.hash_worker(&self.workers[worker]), self.paused[worker]));
        workers.sort_unstable();
        (self.slot.is_some(), self.deliveries, workers, &self.jobs, self.deleted, self.left, self.broken).hash(into);
        if let Some(write) = &self.floating {
            self.hash_write(write, into);
        }
        let mut network: Vec<_> = self
            .network
            .iter()
            .map(|sent| {
                (sent.post, self.waiting_for(sent.op).is_some(), sent.until.map(|until| self.left_until(until)))
            })
            .collect();
        network.sort_unstable();
        (self.floating.is_some(), network, &self.adopted).hash(into);
    }
}

/// Alike is equal: the checker compares states only to tell whether a step changed one.
impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        let digest = |state: &Self| {
            let mut into = DefaultHasher::new();
            state.hash(&mut into);
            into.finish()
        };
        digest(self) == digest(other)
    }
}

/// An answer as far as it matters when it comes late.
fn told(answer: &Answer) -> (u8, usize) {
    match answer {
        Answer::Accepted { job, .. } => (0, number_of(job)),
        Answer::Refused { permanent, .. } => (1, usize::from(*permanent)),
        Answer::Unknown { .. } => (2, 0),
        Answer::TagsRefused { .. } => (3, 0),
    }
}
