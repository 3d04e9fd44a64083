//! What was seen of the world, as it is handed to the decision.

use crate::id::{JobName, ScoringId, ServiceRequestId};
use crate::input::InputFound;
use crate::job::{Answer, Candidate, Job, JobSnapshot, JobStatus, JobsFound, LostLook, OutputFound, OutputSnapshot};

/// What a look found. Which look a status needs is the application's business; any answer is safe in any status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// Nothing was looked at: an event, or a tick that found nothing due to be looked at.
    Nothing,
    /// It may go now; the slots that it needs are claimed.
    SlotFree,
    /// It may not go yet.
    Waiting {
        /// What it waits for: a slot, the rate limit, the circuit breaker, an operator's pause.
        reason: String,
    },
    /// What became of the POST that was sent for this intent, as far as the sender can know.
    Answer(Answer),
    /// The adopted job, as Azure ML shows it now.
    Job(JobSnapshot),
    /// The endpoint, and Resource Manager if it could be asked, do not know the adopted job.
    JobMissing,
    /// A look for the job of a submission whose answer was lost: among the jobs, and at the attempt's own output path.
    Lost(LostLook),
    /// What is at the attempt's output paths; with several outputs, the worst of them.
    Output(OutputSnapshot),
    /// It could not be looked: why, and the remedy.
    CannotLook(String),
    /// What became of the requests to stop jobs, one for each job.
    CancelAnswered(Vec<CancelAnswer>),
    /// A job that was made for this scoring, come to light by itself: an answer that came late, or a look through all
    /// jobs of the workspace.
    UnexpectedJob {
        /// The attempt that it was made for.
        attempt: u32,
        /// The job that came to light.
        job: Job,
        /// Its status when it was seen; one that has ended is not cancelled.
        status: JobStatus,
    },
    /// What an operator says about a held scoring.
    Resolved(Resolution),
    /// The ledger refused the move that was decided for it, and would refuse it again. Not that it could not be reached, nor
    /// that it denies access: those pass, or concern every scoring.
    RecordRefused {
        /// What the ledger says about it.
        reason: String,
    },
    /// The input was looked at, because the decision on what was seen before asked for that.
    Input {
        /// What the look came to.
        found: InputFound,
        /// What was seen before it.
        then: Box<Observation>,
    },
    /// An event or a look shows the scoring's blob version: it is there.
    VersionSeen,
    /// Another scoring scores this version's content, under another ETag of the same path.
    ScoredAs(ScoringId),
}

impl Observation {
    /// A finished search that found these jobs, each beyond doubt, and nothing at the output path.
    pub fn candidates(ours: Vec<Candidate>) -> Self {
        Self::Lost(LostLook { jobs: JobsFound::Seen { ours, possible: Vec::new() }, output: OutputFound::Nothing })
    }
}

/// What became of one request to stop a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelAnswer {
    /// The job that was to be told to stop.
    pub job: JobName,
    /// Why it was not told, and the remedy; `None`: Azure ML has taken the request, and the job stops within minutes or not at
    /// all.
    pub refused: Option<String>,
    /// The service's own id of the answer; `None` if nothing came back.
    pub request_id: Option<ServiceRequestId>,
}

/// What an operator says about a scoring whose submission cannot be found out about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// No job exists: send the attempt again, to the same output path.
    SendAgain,
    /// This job is its job. The decision does not doubt it: a person who reads Azure ML's studio knows more than a search that
    /// found nothing.
    JobIs(JobName),
    /// Not to be scored any more.
    GiveUp,
}
