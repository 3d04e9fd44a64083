//! The statuses of a scoring, and the only table of moves between them.

use serde::{Deserialize, Serialize};

/// Where a scoring stands. Each variant says what it means and who moves it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// In the ledger and not at Azure ML: no request of its attempt can have made a job that is not accounted for. It
    /// waits for a slot of its rule and endpoint, for the rate limit, for a circuit breaker, or for its back-off
    /// (`due`).
    ///
    /// The next event or reconcile run submits it, in order of priority and arrival. It holds no slot, so any number may wait.
    Queued,
    /// A member of a group, whose job scores it with others. It waits for that job's end and holds no slot; the group does.
    Grouped,
    /// A group whose members are being copied into a folder of their own, by the storage itself. No job is asked for before each
    /// copy is there or its member has left. Groups alone stand here.
    Staging,
    /// The intent is recorded (attempt, output path, request id, lease) and the POST may be under way. It is recorded
    /// *before* the POST, so that a process that dies in between leaves a trace: what is not on record cannot have been
    /// sent.
    ///
    /// Who recorded the intent records the answer too. When the lease (`due`) is over, its owner is taken for dead and
    /// anybody moves the scoring to `unknown`; never back to `queued`, since the request may have arrived.
    Submitting,
    /// The POST may have made a job that we were not told of: the answer was lost, was a server error, or its owner
    /// died. The job is looked for every `lookupInterval`. Nothing is sent meanwhile; only a search that saw every job,
    /// ended after `resubmitAfter` and found none allows the same submission to be sent again.
    Unknown,
    /// Looking did not settle an `unknown` submission: it could not be looked for all of `resubmitAfter`, jobs that may be its
    /// own run on, or the rule says `onUnknown: hold`. Nothing is sent, and it keeps its slot for `jobTimeout`, as a job of it may
    /// be running.
    ///
    /// The tick goes on looking, ever more rarely, and what it finds settles it; else a person says how it goes on
    /// (`scorekeeper resolve`).
    Held,
    /// Azure ML has the job under a name that we know. The tick polls it once in each `pollInterval` of its rule.
    /// Queued, preparing and finalising in Azure ML are all `running` here; Azure ML's own word is kept beside it.
    Running,
    /// The job outlived `jobTimeout` and was told to stop. Azure ML may take minutes for that, or lose the request: it
    /// is asked again every five minutes until the job has ended. The slot is held until then, since the job still
    /// computes.
    Cancelling,
    /// Azure ML says `Completed`, which proves only that the job ended: a model that wrote nothing completes as well.
    /// The tick looks at the output until it is good or `outputTimeout` is over. A good one is published from here, where the rule
    /// says so. It holds no slot, as its job has ended.
    Verifying,
    /// The output was seen: it is there, not empty, and not older than the submission. Final. Never shown for an output
    /// that nobody looked at.
    Scored,
    /// No attempt is left, the request was refused for good, or a person gave it up. Final; `error` says why. A higher
    /// `generation` in the rule scores the blob version again, as another scoring.
    Failed,
    /// An operator cancelled it, or somebody cancelled the job in Azure ML while we had not asked for that. Final, and no attempt
    /// follows even if some are left: what a person stopped is not started again behind their back.
    Cancelled,
    /// The blob version is not there any more (404 `BlobNotFound`; nothing else counts as that), and no job is made for
    /// it, or its job failed for want of it. Final, but not for ever: an event or a look that shows this very version
    /// queues it again, with an attempt and an output path of its own.
    Gone,
    /// Another version of the path is scored in its place (`replacedBy`): the path holds a newer upload, or the same
    /// content under an ETag that another scoring has. The other scoring is in the ledger before this is shown, so
    /// that the path is never without one. Final, but not for ever: a look that shows this very version at its path
    /// queues it again, unless its content is scored as that of the other one.
    Superseded,
}

/// Why a scoring moved. `(status, event)` determines the next status: see [`TRANSITIONS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// The slots that it needs are claimed, no back-off holds it, and its breaker lets it go. The intent is recorded,
    /// then the POST is sent.
    SlotFree,
    /// Azure ML told us of the job: by the answer to the POST, or by one that came after it was given up. A late answer
    /// is as good as one in time, whatever happened meanwhile, as long as the attempt is the same.
    Accepted,
    /// Surely no job was made, and a later try may succeed: throttled (429, 503), a role that has not spread yet (401,
    /// 403), a deployment in the making (404), or never sent. The same attempt is queued again with a back-off; its
    /// output path is unused, so it is kept.
    RefusedTransiently,
    /// Surely no job was made, and the same request would be refused again (Azure ML itself says user error), or it was
    /// refused for all of `submitDeadline`. No further attempt: it would send the same.
    RefusedPermanently,
    /// Timeout, reset, server error or an unreadable answer: a job may exist. The only safe next step is to look.
    AnswerLost,
    /// The lease ran out without an answer on record: the process that sent the POST, or was about to, is taken for
    /// dead. Treated as a lost answer.
    OwnerGone,
    /// Exactly one job carries this attempt's inputs and outputs: the lost request made it, and it is adopted.
    FoundOne,
    /// Several jobs do, as one request was taken more than once. The oldest is adopted and the others are cancelled and
    /// counted as orphaned: they write to one output path.
    FoundSeveral,
    /// A search that saw everything, after `resubmitAfter`, found no job: the request is taken for lost and sent again,
    /// with the same output path and request id, so that a job that appears later all the same does no harm.
    FoundNone,
    /// It could not be looked (no right, no workspace, an error): nothing is concluded from that. Recorded once for
    /// each reason.
    CannotLook,
    /// `resubmitAfter` is over and the search was inconclusive, or the rule wants a person to decide. It is held.
    Undecided,
    /// An operator says that no job exists: the same attempt is queued again. They answer for a second job, should they be
    /// wrong. Also if looking says so after its slot was freed: it waits for its turn like the others.
    SendAgain,
    /// An operator names the job of a held scoring; it is adopted as if it had been found.
    JobNamed,
    /// An operator gives a held scoring up. It fails; a job of it that appears later is an orphaned one.
    GivenUp,
    /// An operator orders a further attempt of what has ended, or ends the back-off of what is queued.
    Retried,
    /// An operator orders that it is not scored, and no job of it is known.
    Withdrawn,
    /// An operator orders that what is queued is not sent before it is released.
    PutOnHold,
    /// An operator lets go what was put on hold.
    Released,
    /// An operator orders that what is queued goes before all others of its endpoint; its back-off ends.
    Expedited,
    /// An operator orders its job to stop. It is told to, as after `jobTimeout`; no attempt follows.
    StopOrdered,
    /// A person has seen that it failed, or that a job of it was orphaned: it needs no further attention.
    Acknowledged,
    /// A job of this scoring turned up that no attempt needs. It is cancelled, unless it has ended, and counted. The
    /// status stays, also if it is final: what is wrong is the job and not the scoring.
    OrphanFound,
    /// Azure ML's word for the job changed, or the job is visible again after it was missing.
    Progressed,
    /// The endpoint does not know the job at the moment. Right after it was made that is common, so nothing follows at
    /// once.
    Missing,
    /// Azure ML says that the job completed. Its output is looked at before anybody is told so.
    JobCompleted,
    /// The job failed, vanished, was stopped by us or left no good output, and an attempt is left. The next one has an
    /// output path of its own.
    AttemptFailed,
    /// The same with no attempt left, or a submission that was lost again and again for all of `submitDeadline`.
    LastAttemptFailed,
    /// The job was cancelled by somebody else than us.
    JobCancelled,
    /// The job outlived `jobTimeout`, or still runs after it was told to stop. It is told to stop (again).
    JobStuck,
    /// The output is there, not empty, and not older than the submission less the clocks' difference; and what the rule publishes
    /// of it is published, or is not for a reason that the history tells.
    OutputGood,
    /// The output is good, and what is published of it is on record; or one of several results was published, and the next one is.
    /// What became of the last one comes with [`OutputGood`](Self::OutputGood).
    Publishing,
    /// It could not be published: the storage refuses it and is asked again, or what was verified has changed and is verified again.
    NotPublishedYet,
    /// An operator orders that what is scored and not published is published after all; or ends the back-off of what is being
    /// published. No job is made for it.
    PublishOrdered,
    /// Jobs run, or ran, that may be this attempt's and show too little; or they have all ended. They are followed, and nothing
    /// is sent meanwhile. Recorded when that changes.
    Followed,
    /// Something is at the attempt's output path, so its request ran. It proves the attempt once it is unchanged.
    OutputSeen,
    /// It was unchanged over two looks one `outputTimeout` apart: the request ran and has written it, whatever job that was.
    OutputProved,
    /// It was held for longer than a job may run (`jobTimeout`): its slot goes to others. It is looked for all the same.
    SlotFreed,
    /// Jobs were told to stop: Azure ML has taken the requests, or refused them, or could not be reached. What was not taken is
    /// asked again.
    CancelAnswered,
    /// Storage says that the input's blob is not there (404 `BlobNotFound`). Before a job is made that saves the job; after a
    /// job failed it says why, and no further attempt is made.
    InputGone,
    /// The path holds another content than the one named, and its version is in the ledger as a scoring of its own. What the
    /// job of this one read, if there was one, is not known.
    InputNewer,
    /// The version has another ETag and the same content as one that is being scored: it joins that scoring.
    SameContent,
    /// The input could not be looked at (no right, no network, a container that is missing): nothing is concluded, no
    /// job is made, and it is looked at again after a back-off.
    InputNotSeen,
    /// An event or a look shows a version that was gone or had given way to another one. It is queued again.
    SeenAgain,
    /// It is a member of a group now, or of the half of one.
    Joined,
    /// It is not a member any more: it was never sealed in, its path holds another version, it could not be copied, or the group's
    /// output does not name it. It goes alone, or waits for another group.
    LeftGroup,
    /// The group that it is a member of is scored, and it with it.
    MemberScored,
    /// The group that it is a member of failed, and no half of it is tried.
    MemberFailed,
    /// Each member of the group is copied, or has left it.
    Staged,
    /// The storage could not be reached, or refuses, before all were copied. Recorded once for each reason.
    NotStagedYet,
    /// No member is left of the group, so that no job is needed; one that runs is told to stop.
    Emptied,
    /// The ledger refuses to hold the scoring's next move, and would refuse it again: a request that outgrew a property of a
    /// row, for example. It fails with that reason; what it held becomes free, and a job of it is stopped.
    RecordRefused,
}

impl Event {
    /// Whether it comes in every status and changes none: it says something of a job that the scoring does not need, or of a
    /// person, which has nothing to do with where the scoring stands.
    pub fn comes_in_every_status(self) -> bool {
        matches!(self, Self::OrphanFound | Self::CancelAnswered | Self::Acknowledged)
    }

    /// The event as one word for tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::SlotFree => "slotFree",
            Self::Accepted => "accepted",
            Self::RefusedTransiently => "refusedTransiently",
            Self::RefusedPermanently => "refusedPermanently",
            Self::AnswerLost => "answerLost",
            Self::OwnerGone => "ownerGone",
            Self::FoundOne => "foundOne",
            Self::FoundSeveral => "foundSeveral",
            Self::FoundNone => "foundNone",
            Self::CannotLook => "cannotLook",
            Self::Undecided => "undecided",
            Self::SendAgain => "sendAgain",
            Self::JobNamed => "jobNamed",
            Self::GivenUp => "givenUp",
            Self::Retried => "retried",
            Self::Withdrawn => "withdrawn",
            Self::PutOnHold => "putOnHold",
            Self::Released => "released",
            Self::Expedited => "expedited",
            Self::StopOrdered => "stopOrdered",
            Self::Acknowledged => "acknowledged",
            Self::OrphanFound => "orphanFound",
            Self::Progressed => "progressed",
            Self::Missing => "missing",
            Self::JobCompleted => "jobCompleted",
            Self::AttemptFailed => "attemptFailed",
            Self::LastAttemptFailed => "lastAttemptFailed",
            Self::JobCancelled => "jobCancelled",
            Self::JobStuck => "jobStuck",
            Self::OutputGood => "outputGood",
            Self::Publishing => "publishing",
            Self::NotPublishedYet => "notPublishedYet",
            Self::PublishOrdered => "publishOrdered",
            Self::CancelAnswered => "cancelAnswered",
            Self::Followed => "followed",
            Self::OutputSeen => "outputSeen",
            Self::OutputProved => "outputProved",
            Self::SlotFreed => "slotFreed",
            Self::InputGone => "inputGone",
            Self::InputNewer => "inputNewer",
            Self::SameContent => "sameContent",
            Self::InputNotSeen => "inputNotSeen",
            Self::SeenAgain => "seenAgain",
            Self::Joined => "joined",
            Self::LeftGroup => "leftGroup",
            Self::MemberScored => "memberScored",
            Self::MemberFailed => "memberFailed",
            Self::Staged => "staged",
            Self::NotStagedYet => "notStagedYet",
            Self::Emptied => "emptied",
            Self::RecordRefused => "recordRefused",
        }
    }
}

/// Every move there is: from, because of, to. `decide` reads its targets from here, the
/// README's diagram is printed from here, and the tests walk it.
pub const TRANSITIONS: &[(Status, Event, Status)] = {
    use Event as E;
    use Status as S;
    &[
        (S::Queued, E::SlotFree, S::Submitting),
        (S::Queued, E::Joined, S::Grouped),
        (S::Grouped, E::Joined, S::Grouped),
        (S::Grouped, E::LeftGroup, S::Queued),
        (S::Grouped, E::MemberScored, S::Scored),
        (S::Grouped, E::MemberFailed, S::Failed),
        (S::Grouped, E::Withdrawn, S::Cancelled),
        (S::Grouped, E::JobCancelled, S::Cancelled),
        (S::Staging, E::Staged, S::Queued),
        (S::Staging, E::NotStagedYet, S::Staging),
        (S::Staging, E::Emptied, S::Cancelled),
        (S::Staging, E::Withdrawn, S::Cancelled),
        (S::Queued, E::Emptied, S::Cancelled),
        (S::Running, E::Emptied, S::Cancelling),
        (S::Queued, E::InputNotSeen, S::Queued),
        (S::Queued, E::InputGone, S::Gone),
        (S::Queued, E::InputNewer, S::Superseded),
        (S::Queued, E::SameContent, S::Superseded),
        (S::Queued, E::Accepted, S::Running),
        (S::Submitting, E::Accepted, S::Running),
        (S::Submitting, E::RefusedTransiently, S::Queued),
        (S::Submitting, E::RefusedPermanently, S::Failed),
        (S::Submitting, E::AnswerLost, S::Unknown),
        (S::Submitting, E::OwnerGone, S::Unknown),
        (S::Unknown, E::FoundOne, S::Running),
        (S::Unknown, E::FoundSeveral, S::Running),
        (S::Unknown, E::FoundNone, S::Submitting),
        (S::Unknown, E::Accepted, S::Running),
        (S::Unknown, E::CannotLook, S::Unknown),
        (S::Unknown, E::Followed, S::Unknown),
        (S::Unknown, E::OutputSeen, S::Unknown),
        (S::Unknown, E::OutputProved, S::Verifying),
        (S::Unknown, E::AttemptFailed, S::Queued),
        (S::Unknown, E::InputGone, S::Gone),
        (S::Unknown, E::InputNewer, S::Superseded),
        (S::Unknown, E::Undecided, S::Held),
        (S::Unknown, E::LastAttemptFailed, S::Failed),
        (S::Held, E::FoundOne, S::Running),
        (S::Held, E::FoundSeveral, S::Running),
        (S::Held, E::FoundNone, S::Submitting),
        (S::Held, E::Accepted, S::Running),
        (S::Held, E::CannotLook, S::Held),
        (S::Held, E::Followed, S::Held),
        (S::Held, E::OutputSeen, S::Held),
        (S::Held, E::OutputProved, S::Verifying),
        (S::Held, E::AttemptFailed, S::Queued),
        (S::Held, E::InputGone, S::Gone),
        (S::Held, E::InputNewer, S::Superseded),
        (S::Held, E::LastAttemptFailed, S::Failed),
        (S::Held, E::SlotFreed, S::Held),
        (S::Held, E::SendAgain, S::Queued),
        (S::Held, E::JobNamed, S::Running),
        (S::Held, E::GivenUp, S::Failed),
        (S::Running, E::Progressed, S::Running),
        (S::Running, E::Missing, S::Running),
        (S::Running, E::JobCompleted, S::Verifying),
        (S::Running, E::AttemptFailed, S::Queued),
        (S::Running, E::LastAttemptFailed, S::Failed),
        (S::Running, E::InputGone, S::Gone),
        (S::Running, E::InputNewer, S::Superseded),
        (S::Running, E::JobCancelled, S::Cancelled),
        (S::Running, E::JobStuck, S::Cancelling),
        (S::Cancelling, E::JobStuck, S::Cancelling),
        (S::Cancelling, E::Progressed, S::Cancelling),
        (S::Cancelling, E::Missing, S::Cancelling),
        (S::Cancelling, E::JobCompleted, S::Verifying),
        (S::Cancelling, E::AttemptFailed, S::Queued),
        (S::Cancelling, E::LastAttemptFailed, S::Failed),
        (S::Cancelling, E::InputGone, S::Gone),
        (S::Cancelling, E::InputNewer, S::Superseded),
        (S::Verifying, E::OutputGood, S::Scored),
        (S::Verifying, E::CannotLook, S::Verifying),
        (S::Verifying, E::Publishing, S::Verifying),
        (S::Verifying, E::NotPublishedYet, S::Verifying),
        (S::Verifying, E::PublishOrdered, S::Verifying),
        (S::Scored, E::PublishOrdered, S::Verifying),
        (S::Verifying, E::AttemptFailed, S::Queued),
        (S::Verifying, E::LastAttemptFailed, S::Failed),
        (S::Verifying, E::InputGone, S::Gone),
        (S::Verifying, E::InputNewer, S::Superseded),
        (S::Gone, E::SeenAgain, S::Queued),
        (S::Superseded, E::SeenAgain, S::Queued),
        (S::Queued, E::Retried, S::Queued),
        (S::Staging, E::Retried, S::Staging),
        (S::Failed, E::Retried, S::Queued),
        (S::Cancelled, E::Retried, S::Queued),
        (S::Gone, E::Retried, S::Queued),
        (S::Queued, E::PutOnHold, S::Queued),
        (S::Queued, E::Released, S::Queued),
        (S::Queued, E::Expedited, S::Queued),
        (S::Queued, E::Withdrawn, S::Cancelled),
        (S::Held, E::Withdrawn, S::Cancelled),
        (S::Running, E::StopOrdered, S::Cancelling),
        (S::Cancelling, E::StopOrdered, S::Cancelling),
        (S::Cancelling, E::JobCancelled, S::Cancelled),
        (S::Verifying, E::JobCancelled, S::Cancelled),
        (S::Queued, E::Acknowledged, S::Queued),
        (S::Grouped, E::Acknowledged, S::Grouped),
        (S::Staging, E::Acknowledged, S::Staging),
        (S::Submitting, E::Acknowledged, S::Submitting),
        (S::Unknown, E::Acknowledged, S::Unknown),
        (S::Held, E::Acknowledged, S::Held),
        (S::Running, E::Acknowledged, S::Running),
        (S::Cancelling, E::Acknowledged, S::Cancelling),
        (S::Verifying, E::Acknowledged, S::Verifying),
        (S::Scored, E::Acknowledged, S::Scored),
        (S::Failed, E::Acknowledged, S::Failed),
        (S::Cancelled, E::Acknowledged, S::Cancelled),
        (S::Gone, E::Acknowledged, S::Gone),
        (S::Superseded, E::Acknowledged, S::Superseded),
        (S::Queued, E::RecordRefused, S::Failed),
        (S::Grouped, E::RecordRefused, S::Failed),
        (S::Staging, E::RecordRefused, S::Failed),
        (S::Submitting, E::RecordRefused, S::Failed),
        (S::Unknown, E::RecordRefused, S::Failed),
        (S::Held, E::RecordRefused, S::Failed),
        (S::Running, E::RecordRefused, S::Failed),
        (S::Cancelling, E::RecordRefused, S::Failed),
        (S::Verifying, E::RecordRefused, S::Failed),
        (S::Queued, E::OrphanFound, S::Queued),
        (S::Grouped, E::OrphanFound, S::Grouped),
        (S::Staging, E::OrphanFound, S::Staging),
        (S::Submitting, E::OrphanFound, S::Submitting),
        (S::Unknown, E::OrphanFound, S::Unknown),
        (S::Held, E::OrphanFound, S::Held),
        (S::Running, E::OrphanFound, S::Running),
        (S::Cancelling, E::OrphanFound, S::Cancelling),
        (S::Verifying, E::OrphanFound, S::Verifying),
        (S::Scored, E::OrphanFound, S::Scored),
        (S::Failed, E::OrphanFound, S::Failed),
        (S::Cancelled, E::OrphanFound, S::Cancelled),
        (S::Queued, E::CancelAnswered, S::Queued),
        (S::Grouped, E::CancelAnswered, S::Grouped),
        (S::Staging, E::CancelAnswered, S::Staging),
        (S::Submitting, E::CancelAnswered, S::Submitting),
        (S::Unknown, E::CancelAnswered, S::Unknown),
        (S::Held, E::CancelAnswered, S::Held),
        (S::Running, E::CancelAnswered, S::Running),
        (S::Cancelling, E::CancelAnswered, S::Cancelling),
        (S::Verifying, E::CancelAnswered, S::Verifying),
        (S::Scored, E::CancelAnswered, S::Scored),
        (S::Failed, E::CancelAnswered, S::Failed),
        (S::Cancelled, E::CancelAnswered, S::Cancelled),
        (S::Gone, E::CancelAnswered, S::Gone),
        (S::Superseded, E::CancelAnswered, S::Superseded),
        (S::Gone, E::OrphanFound, S::Gone),
        (S::Superseded, E::OrphanFound, S::Superseded),
    ]
};

/// The status that `event` leads to from `from`, if the table has such a row.
pub fn next(from: Status, event: Event) -> Option<Status> {
    TRANSITIONS.iter().find(|(f, e, _)| *f == from && *e == event).map(|(_, _, to)| *to)
}

impl Status {
    /// Every status, in the order of a life.
    pub const ALL: [Self; 14] = [
        Self::Queued,
        Self::Grouped,
        Self::Staging,
        Self::Submitting,
        Self::Unknown,
        Self::Held,
        Self::Running,
        Self::Cancelling,
        Self::Verifying,
        Self::Scored,
        Self::Failed,
        Self::Cancelled,
        Self::Gone,
        Self::Superseded,
    ];

    /// The status as operators see it: one lower-case word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Grouped => "grouped",
            Self::Staging => "staging",
            Self::Submitting => "submitting",
            Self::Unknown => "unknown",
            Self::Held => "held",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Verifying => "verifying",
            Self::Scored => "scored",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Gone => "gone",
            Self::Superseded => "superseded",
        }
    }

    /// One sentence for people: what it means now and what happens next.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Queued => {
                "waits for a free slot or for its back-off to end; the next event or reconcile run submits it"
            }
            Self::Grouped => "a member of a group, which one job scores with others; it ends with that job",
            Self::Staging => "a group whose members are being copied into its folder, for one job",
            Self::Submitting => "the intent is recorded and the request to the endpoint is under way",
            Self::Unknown => "the endpoint's answer was lost; the job is looked for before anything is sent again",
            Self::Held => {
                "the answer was lost and the search was inconclusive; nothing is sent until its job is found or an operator decides (`scorekeeper resolve`)"
            }
            Self::Running => "Azure ML has the job; each reconcile run polls it when it is due",
            Self::Cancelling => "the job outlived its time limit, or an operator cancelled it: it is being stopped",
            Self::Verifying => "the job completed; its output is being looked at, and published where the rule says so",
            Self::Scored => "the output is there, not empty, and newer than the submission",
            Self::Failed => "no attempt is left or the request was refused for good; see the error",
            Self::Cancelled => "an operator cancelled it, or somebody cancelled the job in Azure ML",
            Self::Gone => "the blob version is no longer there; an event or a look that shows it again queues it again",
            Self::Superseded => "another version of this path is scored in its place",
        }
    }

    /// Final: nothing is due any more, and retention counts from its end. Its status never changes again, but by an operator who
    /// orders a further attempt ([`Event::Retried`]), and by an event or a look that shows again what was [`Gone`](Self::Gone), or
    /// a look at what was [`Superseded`](Self::Superseded).
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Scored | Self::Failed | Self::Cancelled | Self::Gone | Self::Superseded)
    }

    /// It holds one of its rule's slots, because a job of it may exist and be unfinished; see
    /// [`Scoring::holds_slot`](crate::Scoring::holds_slot) for what was held too long.
    pub fn holds_slot(self) -> bool {
        matches!(self, Self::Submitting | Self::Unknown | Self::Held | Self::Running | Self::Cancelling)
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// A word that is not the name of a [`Status`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is an invalid status; the statuses are {words}", words = Status::ALL.map(Status::name).join(", "))]
pub struct InvalidStatus(pub String);

impl std::str::FromStr for Status {
    type Err = InvalidStatus;

    fn from_str(word: &str) -> Result<Self, InvalidStatus> {
        Self::ALL.into_iter().find(|s| s.name() == word).ok_or_else(|| InvalidStatus(word.to_owned()))
    }
}

/// The table as a Mermaid state diagram; the README holds this text and a test compares them.
pub fn diagram() -> String {
    use std::fmt::Write as _;
    let mut text = String::from("stateDiagram-v2\n    [*] --> queued\n");
    // The picture is clearer without the loops at every status.
    for (from, event, to) in TRANSITIONS.iter().filter(|(_, event, _)| !event.comes_in_every_status()) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    {from} --> {to}: {}", event.name());
    }
    for status in Status::ALL.into_iter().filter(|s| s.is_terminal()) {
        let _ = writeln!(text, "    {status} --> [*]");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_and_event_is_told_apart_by_its_words() {
        let names: std::collections::BTreeSet<_> = TRANSITIONS.iter().map(|(_, event, _)| event.name()).collect();
        let events: std::collections::BTreeSet<_> =
            TRANSITIONS.iter().map(|(_, event, _)| format!("{event:?}").to_lowercase()).collect();
        assert_eq!(names.iter().map(|name| name.to_lowercase()).collect::<std::collections::BTreeSet<_>>(), events);
        let sentences: std::collections::BTreeSet<_> = Status::ALL.map(Status::sentence).into();
        assert_eq!(sentences.len(), Status::ALL.len());
        assert!(sentences.iter().all(|sentence| sentence.len() > 20));
    }

    #[test]
    fn slots_are_held_while_a_job_may_exist_and_be_unfinished() {
        let holds: Vec<_> = Status::ALL.into_iter().filter(|status| status.holds_slot()).map(Status::name).collect();
        assert_eq!(holds, ["submitting", "unknown", "held", "running", "cancelling"]);
    }

    #[test]
    fn the_diagram_has_each_move_but_for_those_of_every_status() {
        let text = diagram();
        assert_eq!(text.lines().next(), Some("stateDiagram-v2"));
        for (from, event, to) in TRANSITIONS {
            let line = format!("    {from} --> {to}: {}", event.name());
            let shown = !event.comes_in_every_status();
            assert_eq!(text.lines().any(|other| other == line), shown, "{line}");
        }
        assert!(text.contains("scored --> [*]") && !text.contains("queued --> [*]"));
    }

    #[test]
    fn a_status_and_an_event_have_one_target() {
        for (i, (from, event, _)) in TRANSITIONS.iter().enumerate() {
            let same = TRANSITIONS[i + 1..].iter().filter(|(f, e, _)| f == from && e == event).count();
            assert_eq!(same, 0, "{from} {event:?} is listed twice");
        }
    }

    #[test]
    fn terminal_statuses_are_left_by_a_person_or_a_new_sight_and_others_reach_one() {
        for status in Status::ALL {
            let leaves = TRANSITIONS.iter().any(|(from, _, to)| *from == status && *to != status);
            assert!(leaves, "{status}");
        }
        let opened: Vec<_> =
            TRANSITIONS.iter().filter(|(from, _, to)| from.is_terminal() && from != to).map(|row| row.1).collect();
        assert_eq!(
            opened,
            [Event::PublishOrdered, Event::SeenAgain, Event::SeenAgain, Event::Retried, Event::Retried, Event::Retried]
        );
        let mut reached: Vec<_> = Status::ALL.into_iter().filter(|s| s.is_terminal()).collect();
        loop {
            let more: Vec<_> = TRANSITIONS
                .iter()
                .filter(|(from, _, to)| reached.contains(to) && !reached.contains(from))
                .map(|(from, _, _)| *from)
                .collect();
            if more.is_empty() {
                break;
            }
            reached.extend(more);
        }
        assert!(Status::ALL.iter().all(|s| reached.contains(s)));
    }

    #[test]
    fn names_read_back() {
        for status in Status::ALL {
            assert_eq!(status.name().parse(), Ok(status));
        }
        assert!("done".parse::<Status>().unwrap_err().to_string().contains("queued, grouped"));
    }
}
