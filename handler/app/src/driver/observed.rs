//! What a driver is given: a scoring as it was read, and what was seen of the world beside it.

use lifecycle::{Answer, InputFound, Job, Observation, Scoring, ServiceRequestId, Status};
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::admission::{Claims, Refusal};
use crate::ports::Answered;
use crate::ports::table_store::ETag;

/// A scoring as it was read, with the version that a write must still find. Boxed: it has a kilobyte, and every future that holds it
/// would be copied with it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) scoring: Box<Scoring>,
    pub(crate) etag: ETag,
}

impl From<(Scoring, ETag)> for Loaded {
    fn from((scoring, etag): (Scoring, ETag)) -> Self {
        Self { scoring: Box::new(scoring), etag }
    }
}

/// What was seen, when, and what was claimed on the way.
pub(crate) struct Observed {
    pub(crate) observation: Observation,
    /// The service's own id of the answer that showed it; the line of history about it names it.
    pub(crate) request_id: Option<ServiceRequestId>,
    /// For looks the time *before* they began: a job that was made while we looked must not be found missing "after
    /// `resubmitAfter`". For the answer to a POST the time after it.
    pub(crate) at: OffsetDateTime,
    pub(crate) claims: Claims,
    /// `at` by the clock that nobody sets, or a moment later: a lease that is given by what was seen is measured from here.
    pub(crate) begun: Instant,
}

impl Observed {
    /// What was seen without claiming anything.
    pub(crate) fn of(seen: impl Into<Answered<Observation>>, at: OffsetDateTime) -> Self {
        let Answered { value: observation, request_id } = seen.into();
        Self { observation, request_id, at, claims: Claims::default(), begun: Instant::now() }
    }

    /// What admission says of a scoring that waits for its turn.
    pub(crate) fn admitted(verdict: Result<Claims, Refusal>, at: OffsetDateTime) -> Self {
        match verdict {
            Ok(claims) => Self { claims, ..Self::of(Observation::SlotFree, at) },
            Err(Refusal { reason, .. }) => Self::of(Observation::Waiting { reason }, at),
        }
    }
}

impl Observed {
    /// The input was looked at because of what was seen before.
    pub(crate) fn add_input(&mut self, found: InputFound, now: OffsetDateTime) {
        let then = std::mem::replace(&mut self.observation, Observation::Nothing);
        if then == Observation::SlotFree {
            // The lease begins after the look; a look at a job keeps the time before it.
            (self.at, self.begun) = (now, Instant::now());
        }
        self.observation = Observation::Input { found, then: Box::new(then) };
    }
}

/// What a caller has seen of a scoring before it asks for it to be driven.
#[derive(Debug)]
pub enum Evidence {
    /// Nothing: the driver looks itself, at what the scoring's status needs.
    None,
    /// Its job, as the in-flight index names it. Job names are never used twice: if the scoring has another job by now,
    /// or none, what was seen says nothing about it, and the driver looks itself.
    OfJob {
        /// The job that was looked at.
        job: Job,
        /// What the look at the job has shown, with the service's own id of the answer.
        seen: Answered<Observation>,
        /// The time before the look began, by which it is judged what was due then.
        at: OffsetDateTime,
    },
    /// What holds whatever has become of the scoring since: an operator's resolution, or a job that nobody expected.
    Given(Observation),
}

/// What an answer says about a scoring that was moved on while it was under way.
pub(crate) fn late(sent: &Scoring, present: &Scoring, answer: Answer) -> Option<Observation> {
    let same_submit =
        present.status == Status::Submitting && (present.attempt, present.submits) == (sent.attempt, sent.submits);
    if same_submit {
        // Only something beside it changed: the answer counts as if it had come now.
        return Some(Observation::Answer(answer));
    }
    match answer {
        // The job is there, and nobody else was told of it: unheard it would run, and cost, beside the next one.
        Answer::Accepted { job, status } => Some(Observation::UnexpectedJob { attempt: sent.attempt, job, status }),
        // Whoever moved it on knows more by now, or will look.
        Answer::Refused { .. } | Answer::TagsRefused { .. } | Answer::Unknown { .. } => None,
    }
}
