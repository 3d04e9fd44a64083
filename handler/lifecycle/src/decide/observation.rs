//! What was seen of the world, as it is handed to the decision.

use crate::id::JobName;
use crate::job::{Answer, Candidate, Job, JobSnapshot, JobStatus, OutputSnapshot};

/// What a look found. Which look a status needs is the application's business; any answer is safe in any status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// Nothing was looked at.
    Nothing,
    /// It may go now; the slots that it needs are claimed.
    SlotFree,
    /// It may not go yet.
    Waiting {
        /// Why, for people.
        reason: String,
    },
    /// The POST's outcome.
    Answer(Answer),
    /// The job.
    Job(JobSnapshot),
    /// The endpoint does not know the job.
    JobMissing,
    /// Jobs that carry this attempt's inputs and outputs, none or more.
    Candidates(Vec<Candidate>),
    /// The attempt's outputs.
    Output(OutputSnapshot),
    /// It could not be looked: why, and the remedy.
    CannotLook(String),
    /// A job that was made for this scoring, come to light by itself: an answer that came late, or a look through all
    /// jobs of the workspace.
    UnexpectedJob {
        /// The attempt that it was made for.
        attempt: u32,
        /// The job.
        job: Job,
        /// Its status.
        status: JobStatus,
    },
    /// What a person says about a held scoring.
    Resolved(Resolution),
}

/// What a person says about a scoring whose submission can't be found out about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// No job exists: send the attempt again, to the same output path.
    SendAgain,
    /// This is its job.
    JobIs(JobName),
    /// Not to be scored any more.
    GiveUp,
}
