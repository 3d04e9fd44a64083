//! The batch endpoint and the network in front of it.

use lifecycle::{Answer, Candidate, JobSnapshot, JobStatus, Observation, Scoring};
use time::Duration;

use crate::state::{Made, RequestState, State, job, number_of};
use crate::world::{START, World};

pub(crate) fn word(request_state: RequestState) -> JobStatus {
    match request_state {
        RequestState::Active => JobStatus::Running,
        RequestState::Completed | RequestState::Hollow => JobStatus::Completed,
        RequestState::Failed | RequestState::UserError => JobStatus::Failed,
        RequestState::Cancelled | RequestState::Stopped => JobStatus::Canceled,
    }
}

impl State {
    /// The jobs that carry an attempt's outputs.
    pub(crate) fn candidates(&self, of: usize, attempt: u32) -> Vec<Candidate> {
        let ours = self.jobs.iter().enumerate().filter(|(_, made)| (made.of, made.attempt) == (of, attempt));
        ours.map(|(number, made)| Candidate {
            job: job(number),
            status: word(made.now),
            created: START + Duration::seconds(i64::try_from(number).unwrap_or(i64::MAX)),
        })
        .collect()
    }

    pub(crate) fn job_seen(&self, scoring: &Scoring) -> Observation {
        let number = number_of(scoring.job.as_ref().expect("a running scoring has its job"));
        let now = self.jobs[number].now;
        let error = (now == RequestState::UserError).then(|| "ValueError: columns are missing".to_owned());
        Observation::Job(JobSnapshot { status: word(now), error, studio: None })
    }

    /// The service takes a POST; `told`: its sender hears of it.
    pub(crate) fn arrive(&mut self, world: &World, index: usize, told: bool) {
        let sent = self.network.remove(index);
        let (of, attempt) = (sent.post.of, sent.post.attempt);
        let known = self.jobs.iter().position(|made| (made.of, made.attempt) == (of, attempt));
        let number = known.filter(|_| world.names_are_kept).unwrap_or_else(|| {
            self.jobs.push(Made { of, attempt, late: sent.until.is_none(), now: RequestState::Active });
            self.jobs.len() - 1
        });
        let answer =
            if told { Answer::Accepted { job: job(number), status: word(self.jobs[number].now) } } else { reset() };
        self.answered(world, sent.op, answer);
    }
}

/// The answer of a connection that broke.
pub(crate) fn reset() -> Answer {
    Answer::Unknown { text: "reset".to_owned() }
}

/// A refusal that surely made no job.
pub(crate) fn refused(permanent: bool) -> Answer {
    Answer::Refused { code: "429".to_owned(), text: "slow down".to_owned(), permanent, retry_after: None }
}
