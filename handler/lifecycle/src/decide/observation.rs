//! What was seen of the world, as it is handed to the decision.

use std::fmt;

use super::publish::PublishAnswer;
use crate::destination::DestinationLook;
use crate::group::{MemberEnd, MemberState};
use crate::id::{JobName, ScoringId, ServiceRequestId};
use crate::input::InputFound;
use crate::job::{Answer, Candidate, Job, JobSnapshot, JobStatus, JobsFound, LostLook, OutputFound, OutputSnapshot};
use crate::publishing::{FileVersion, PublishedPlace};
use crate::text::one_line;

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
    Output {
        /// How much lies there, how old it is and in which versions; or which output has nothing at its path.
        output: OutputSnapshot,
        /// The version of each output that is a file and is published, by name, as it was before that look: what was verified is this
        /// one, or one that came after it and is not copied for it.
        sources: Vec<(String, FileVersion)>,
    },
    /// What is at the output paths of a group's attempt.
    GroupOutput {
        /// How much lies there, how old it is and in which versions; or which output has nothing at its path.
        output: OutputSnapshot,
        /// Members that it names; `None`: the rule does not ask.
        named: Option<Vec<ScoringId>>,
    },
    /// What came of copying a group's members.
    Staged(Staging),
    /// It is to be a member of this group.
    Joined {
        /// The scoring that stands for the group, whose list of members is sealed after this row names it.
        group: ScoringId,
        /// The group that this is a half of, which it must be a member of.
        half_of: Option<ScoringId>,
    },
    /// A group has ended, or is on record without it.
    GroupEnded {
        /// The group that its row names; what is told of another one changes nothing.
        group: ScoringId,
        /// What that means for this member.
        end: MemberEnd,
    },
    /// No row of a scoring names this group any more.
    NoMemberLeft,
    /// What lies where the next result is published.
    Destination(Box<DestinationLook>),
    /// A copy to where it is published was tried.
    PublishAnswered {
        /// The chosen path, or the one beside it, as it was written to or could not be looked at.
        to: String,
        /// The place that this is; `None`: it could not be told, and nothing was tried.
        place: Option<PublishedPlace>,
        /// What the storage made of it, or how far a folder's copy has come.
        answer: PublishAnswer,
    },
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
    Resolved(ResolveOrder),
    /// What an operator orders of any scoring.
    Ordered(Order),
    /// The ledger refused the move that was decided for it, and would refuse it again. Not that it could not be reached, nor
    /// that it denies access: those pass, or concern every scoring.
    RecordRefused {
        /// What the ledger says about it.
        reason: String,
        /// The job that the refused move was to record.
        job: Option<Job>,
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
    /// A later version of its path was uploaded, and the rule wants the latest one alone.
    Overtaken {
        /// The ETag of that version.
        etag: String,
        /// Its scoring under the same rule.
        by: ScoringId,
    },
    /// Another scoring scores this version's content, under another ETag of the same path.
    ScoredAs(ScoringId),
}

impl Observation {
    /// What is at the output paths of an attempt of which nothing is published.
    pub fn output(output: OutputSnapshot) -> Self {
        Self::Output { output, sources: Vec::new() }
    }

    /// A finished search that found these jobs, each beyond doubt, and nothing at the output path.
    pub fn candidates(ours: Vec<Candidate>) -> Self {
        Self::Lost(LostLook { jobs: JobsFound::Seen { ours, possible: Vec::new() }, output: OutputFound::Nothing })
    }
}

/// What came of a try to stage a group's members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staging {
    /// What became of each that is decided.
    pub members: Vec<(ScoringId, MemberState)>,
    /// Why the storage does not copy some of them.
    pub reasons: Vec<(ScoringId, String)>,
    /// Why the others are not; `None`: there was no time for them.
    pub problem: Option<String>,
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

/// What an operator orders, who that is, and why: all of it stands in the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What is to be done.
    pub verb: Verb,
    /// Who orders it: a name in Microsoft Entra ID, or a user of an operating system.
    pub by: String,
    /// The operator's own words, shown in the history as one line and cut.
    pub reason: String,
}

/// What can be ordered of a scoring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Try it again: a further attempt of what has ended, or an end of its back-off.
    Retry,
    /// Do not score it; its job is told to stop.
    Cancel,
    /// A person has seen that it failed, or that a job of it was orphaned.
    Acknowledge,
    /// Do not score it, as long as no job is made for it: one that runs is left alone.
    Skip,
    /// Do not send what is queued before it is released.
    Hold,
    /// Let go what was put on hold.
    Release,
    /// Send what is queued before all others of its endpoint, without its back-off.
    Expedite,
    /// Publish the verified result of what is scored, where that could not be done; no job is made.
    Publish,
}

impl Verb {
    /// Every verb once, for tests that go through all of them.
    pub const ALL: [Self; 8] = [
        Self::Retry,
        Self::Cancel,
        Self::Acknowledge,
        Self::Skip,
        Self::Hold,
        Self::Release,
        Self::Expedite,
        Self::Publish,
    ];

    /// The command that orders it.
    pub fn command(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Cancel => "cancel",
            Self::Acknowledge => "ack",
            Self::Skip => "skip",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Expedite => "expedite",
            Self::Publish => "publish",
        }
    }

    /// What was done, as part of a sentence.
    pub fn done(self) -> &'static str {
        match self {
            Self::Retry => "retried",
            Self::Cancel => "cancelled",
            Self::Acknowledge => "acknowledged",
            Self::Skip => "skipped",
            Self::Hold => "put on hold",
            Self::Release => "released",
            Self::Expedite => "expedited",
            Self::Publish => "ordered to be published",
        }
    }
}

impl Order {
    /// Characters of a person's name that are kept.
    pub const MAX_BY: usize = 200;
    /// Characters of a person's reason that are kept.
    pub const MAX_REASON: usize = 500;
}

/// `retried by ann@contoso.com (the role is there now)`
impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        said(f, self.verb.done(), &self.by, &self.reason)
    }
}

fn said(f: &mut fmt::Formatter<'_>, done: &str, by: &str, reason: &str) -> fmt::Result {
    write!(f, "{done} by {} ({})", one_line(by, Order::MAX_BY), one_line(reason, Order::MAX_REASON))
}

/// What an operator says about a held scoring, who that is, and why: all of it stands in the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveOrder {
    /// Whether it is sent again, is a job that the operator names, or is given up.
    pub resolution: Resolution,
    /// Who says so, as for an [`Order`].
    pub by: String,
    /// How the operator knows, in their own words: what the studio shows, for example.
    pub reason: String,
}

/// `resolved by ann@contoso.com (the studio shows no job)`
impl fmt::Display for ResolveOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        said(f, "resolved", &self.by, &self.reason)
    }
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
