//! What is remembered of a scoring: the blob version, the current attempt, the job, and how it came to be so.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, UtcOffset};

use crate::blob::BlobVersion;
use crate::failure::{self, FailureCause};
use crate::group::Grouping;
use crate::id::{
    DeploymentName, EndpointUri, IdentityName, JobName, LedgerId, RuleId, ScoringId, ServiceRequestId, WorkspaceId,
};
use crate::input::{InputContent, Likeness, SeenVersion};
use crate::job::{Job, MAX_SUBMISSION_UNITS, OutputPrint, Submission, units_of_json};
use crate::origin::Origin;
use crate::publishing::{PublicationEnd, Publishing};
use crate::rule::Rule;
use crate::rule::template::Values;
use crate::schedule::{believable_due_in, is_ahead};
use crate::status::{Event, Status};
use crate::trace_context::TraceContext;

/// Names of former and of orphaned jobs that a scoring remembers, of each. What is not remembered would be adopted, followed
/// or counted again; a service that makes more than this for one scoring is broken, and a ledger has its limits.
pub const MAX_JOB_NAMES: usize = 1_000;

/// Jobs that a scoring follows at one time.
pub const MAX_FOLLOWED: usize = 40;

/// ETags of one content that a scoring keeps. A blob that is marked more often while it is scored is compared by its content
/// again.
pub const MAX_ALIASES: usize = 20;

/// What remedies name where a failure is to be tried again.
const RETRY: &str = "scorekeeper retry";

/// One blob version to be scored under one rule: the unit of work and the row that everything else hangs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scoring {
    /// Names it in rows, logs, output paths and commands.
    pub id: ScoringId,
    /// Id of the rule that wants it.
    pub rule: RuleId,
    /// Scoring generation; raised to score everything again under the same rule.
    pub generation: u32,
    /// The blob version to be scored. A newer upload to the same path is another scoring.
    pub blob: BlobVersion,
    /// The batch endpoint's invoke URI (`…/jobs`), as it was when the scoring was accepted.
    pub endpoint: EndpointUri,
    /// Deployment asked for; `None` is the endpoint's default.
    pub deployment: Option<DeploymentName>,
    /// ARM id of the workspace, when it is known: needed to list and cancel.
    pub workspace: Option<WorkspaceId>,
    /// Who asks for it; `None`: the app itself. See [`Rules::identity_for`](crate::Rules::identity_for).
    pub identity: Option<IdentityName>,
    /// What its start said, where one did that said more than the blob. Boxed, as most have none and a scoring is moved about.
    pub start: Option<Box<StartOf>>,

    /// Where it stands; moved by [`decide`](crate::decide()) only.
    pub status: Status,
    /// Since when it stands there.
    pub since: OffsetDateTime,
    /// When something is due. `queued`: not before; `submitting`: the lease ends; `running`: the job's time limit;
    /// `unknown`, `held`, `cancelling`, `verifying`: first look.
    pub due: OffsetDateTime,

    /// Number of the attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// What the attempt sends; recorded before it is sent.
    pub submission: Option<Submission>,
    /// When the attempt's first POST was intended.
    pub submitted: Option<OffsetDateTime>,
    /// When a submission that was held was last sent again; `submitDeadline` counts from here.
    pub resumed: Option<OffsetDateTime>,
    /// POSTs of this attempt, counted when intended. All of them carry the same submission.
    pub submits: u32,
    /// Refusals in a row; drives the back-off.
    pub refusals: u32,

    /// The job that the current attempt has adopted; `None` between attempts and before the first.
    pub job: Option<Job>,
    /// Azure ML's word for it, when last recorded.
    pub job_status: Option<String>,
    /// Since when the job cannot be found.
    pub missing_since: Option<OffsetDateTime>,
    /// Where earlier attempts were told to write: of the last ones, as many as [`MAX_SUBMISSION_UNITS`] hold as JSON, and of one in
    /// any case.
    pub former_outputs: Vec<FormerOutputs>,
    /// Jobs that earlier attempts had adopted, the first [`MAX_JOB_NAMES`] of them.
    pub previous_jobs: Vec<JobName>,
    /// Jobs that were made for this scoring and adopted by no attempt; the first [`MAX_JOB_NAMES`] of them.
    pub orphaned_jobs: Vec<JobName>,
    /// How many of those there were. Each was cancelled unless it had ended.
    pub orphaned_job_count: u32,
    /// Jobs that may be this attempt's and show too little, at most [`MAX_FOLLOWED`]. They are followed: never adopted, never
    /// cancelled, as they may be a stranger's. Several scorings may follow the same one.
    pub followed: Vec<JobName>,
    /// Since when all of them have ended, and nothing is at the attempt's output path.
    pub followed_ended: Option<OffsetDateTime>,
    /// What was first seen at the attempt's output path while nobody knew its job, and when. It proves the attempt once it is
    /// unchanged.
    pub output_seen: Option<OutputSeen>,
    /// It is held for so long that its slot was freed.
    pub slot_freed: bool,

    /// What the first look at the input found; `None` before it, and for rules that do not look.
    pub input: Option<InputContent>,
    /// Further ETags under which the same content was seen, the last [`MAX_ALIASES`]: a change of metadata, tags or tier
    /// gives a blob another ETag.
    pub aliases: Vec<String>,
    /// The scoring that scores another version of the path in place of this one; only when superseded.
    pub replaced_by: Option<ScoringId>,
    /// The scoring whose path was found to hold this version, if no event had told of it, or the one that had taken this one's
    /// place before it was seen again. Before a job is made for this one that one must have ended, and if it turns out to have
    /// the same content, this one joins it.
    pub in_place_of: Option<ScoringId>,

    /// Its part in groups; `None` under a rule that does not group.
    pub grouping: Option<Box<Grouping>>,
    /// The order by which it is not sent before it is released, with who gave it and why; only while it is queued.
    pub on_hold: Option<String>,
    /// An operator ordered that it goes before all others of its endpoint, until its request was answered.
    pub expedited: bool,
    /// Told by an event or an operator, or found by a sweep or a backfill: those wait behind what was told.
    pub origin: Origin,
    /// Where in a trace it was taken in, if that was traced: what is done for it later, by whichever process, belongs there.
    pub trace: Option<TraceContext>,
    /// An operator ordered its job to stop: however that ends without a result, no attempt follows.
    pub stop_ordered: bool,
    /// When a person acknowledged that it failed, or that it has orphaned jobs; none: not since the last of these.
    pub acknowledged: Option<OffsetDateTime>,

    /// Size of the verified output.
    pub output_bytes: Option<u64>,
    /// Which versions of which blobs the verified output was: who fetches it later knows whether it is that still.
    pub output_print: Option<OutputPrint>,
    /// What is published of the verified output, and what became of that.
    pub publishing: Option<Publishing>,
    /// Why the last attempt ended badly.
    pub error: Option<String>,
    /// Whose fault that was; `None` where no attempt failed, or where the scoring ended otherwise.
    pub failure: Option<FailureCause>,
    /// What keeps it from moving on, for people.
    pub last_error: Option<String>,

    /// When it was accepted into the ledger; decides its place in the queue.
    pub created: OffsetDateTime,
    /// When it last moved, also where its status stayed.
    pub updated: OffsetDateTime,
    /// When it became final; its retention counts from here.
    pub completed: Option<OffsetDateTime>,
    /// Rises by one with each move, from 1.
    pub version: i64,
}

/// What somebody said who started a scoring without an upload.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StartOf {
    /// Digest of the idempotency key by which it was started, if it was: see [`StartKey`](crate::start::StartKey).
    pub key: Option<String>,
    /// Values for parameters of its rule, by name.
    pub parameters: BTreeMap<String, String>,
}

impl StartOf {
    /// Boxed, unless it says nothing.
    pub fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

/// Where an attempt that is over was told to write. A job of it may turn up late, and events about its files later still, when the
/// rule says something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerOutputs {
    /// Its number, as `{attempt}` in its output path.
    pub attempt: u32,
    /// URIs of its outputs, as they were in its request.
    pub uris: Vec<String>,
}

/// What was seen at the output path of an attempt whose job nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputSeen {
    /// Names and ETags of what lay there; unchanged at a later look, it proves that the request ran.
    pub print: OutputPrint,
    /// When it was first seen so.
    pub at: OffsetDateTime,
}

impl Scoring {
    /// It holds one of its rule's slots, because a job of it may exist and be unfinished.
    pub fn holds_slot(&self) -> bool {
        self.status.holds_slot() && !self.slot_freed
    }

    /// Values that its start gave for parameters of its rule, by name.
    pub fn parameters(&self) -> impl Iterator<Item = (&String, &String)> {
        self.start.iter().flat_map(|start| &start.parameters)
    }

    /// The digest of the idempotency key by which it was started, if it was.
    pub fn start_key(&self) -> Option<&str> {
        self.start.as_ref()?.key.as_deref()
    }

    /// It needs a person's attention until they acknowledge it.
    pub fn needs_acknowledgement(&self) -> bool {
        let not_published = || self.publishing.as_ref().is_some_and(|publishing| publishing.needs_person().is_some());
        self.acknowledged.is_none()
            && (self.status == Status::Failed && !self.is_group()
                || self.orphaned_job_count > 0
                || self.status == Status::Scored && not_published())
    }

    /// The same scoring with the times at which something happened to it moved to `now`, where they lie ahead of that: a clock told
    /// them that was corrected since, and what is counted from them would be over in a year. `None`: none does, or it has ended.
    pub fn with_believable_times(&self, now: OffsetDateTime) -> Option<Self> {
        let ahead = |at: &mut OffsetDateTime| is_ahead(*at, now).then(|| *at = now).is_some();
        let mut next = self.clone();
        next.due = believable_due_in(next.status, next.since, next.due, now);
        let mut moved = next.due != self.due;
        moved |= ahead(&mut next.since);
        let optional = [&mut next.submitted, &mut next.resumed, &mut next.missing_since, &mut next.followed_ended];
        for at in optional.into_iter().flatten() {
            moved |= ahead(at);
        }
        if let Some(seen) = &mut next.output_seen {
            moved |= ahead(&mut seen.at);
        }
        if let Some(publishing) = &mut next.publishing {
            moved |= ahead(&mut publishing.since);
        }
        (moved && !self.status.is_terminal()).then_some(next)
    }

    /// What was learned while its job was looked for says nothing any more.
    pub(crate) fn forget_look(&mut self) {
        self.followed.clear();
        self.followed_ended = None;
        self.output_seen = None;
        self.slot_freed = false;
    }

    /// A scoring that has just been accepted into `ledger`: queued, due at once.
    pub fn accept(ledger: &LedgerId, rule: &Rule, blob: BlobVersion, now: OffsetDateTime) -> Self {
        Self {
            id: rule.scoring_id(ledger, &blob),
            rule: rule.id.clone(),
            generation: rule.generation,
            endpoint: rule.endpoint.uri.clone(),
            deployment: rule.deployment_for(&blob).cloned(),
            blob,
            workspace: rule.endpoint.workspace.clone(),
            identity: rule.endpoint.identity.clone(),
            start: None,
            status: Status::Queued,
            since: now,
            due: now,
            attempt: 0,
            submission: None,
            submitted: None,
            resumed: None,
            submits: 0,
            refusals: 0,
            job: None,
            job_status: None,
            missing_since: None,
            former_outputs: Vec::new(),
            previous_jobs: Vec::new(),
            orphaned_jobs: Vec::new(),
            orphaned_job_count: 0,
            followed: Vec::new(),
            followed_ended: None,
            output_seen: None,
            slot_freed: false,
            input: None,
            aliases: Vec::new(),
            replaced_by: None,
            in_place_of: None,
            grouping: rule.group.as_ref().map(|_| Box::new(Grouping::Waits)),
            on_hold: None,
            expedited: false,
            origin: Origin::Told,
            trace: None,
            stop_ordered: false,
            acknowledged: None,
            output_bytes: None,
            output_print: None,
            publishing: None,
            error: None,
            failure: None,
            last_error: None,
            created: now,
            updated: now,
            completed: None,
            version: 1,
        }
    }

    /// The first entry of its history.
    pub fn accepted_entry(&self, reason: String) -> Entry {
        Entry {
            seq: self.version,
            at: self.created,
            from: None,
            to: self.status,
            event: None,
            reason,
            attempt: 0,
            job: None,
            request_id: None,
        }
    }

    /// When its blob version was uploaded: as its event says; where none told of it, when it was accepted. Of another process's
    /// clock or of ours, it is on record and never changes.
    pub fn event_time(&self) -> OffsetDateTime {
        let at = self.blob.event_time.unwrap_or(self.created);
        at.checked_to_offset(UtcOffset::UTC).unwrap_or(at)
    }

    /// What an attempt of it fills into the texts of its rule.
    pub fn values(&self, attempt: u32) -> Values<'_> {
        let Self { id, rule, blob, .. } = self;
        Values { blob, rule, scoring: id, event_time: self.event_time(), attempt }
    }

    /// URI of the attempt's first output: what people look for.
    pub fn output_uri(&self) -> Option<&str> {
        self.submission.as_ref()?.outputs.values().next().map(|output| output.uri.as_str())
    }

    /// Whether the attempt was sent without any output, as its rule says.
    pub fn asks_for_no_output(&self) -> bool {
        self.submission.as_ref().is_some_and(|sent| sent.outputs.is_empty())
    }

    /// What its status means, for people.
    pub fn sentence(&self) -> &'static str {
        if self.status == Status::Scored && self.asks_for_no_output() {
            return "the job completed; its rule asks for no output";
        }
        if self.status == Status::Queued && self.waits_for_group() {
            return "waits for others, with which one job scores it; a reconcile run makes a group of them";
        }
        if self.splits() {
            return "a group whose job failed, perhaps by one of its files: they go on in its halves, which are made while no circuit breaker is open";
        }
        if self.status == Status::Failed {
            return self.failed_sentence();
        }
        self.status.sentence()
    }

    /// Which of both it was: of an attempt that ended without a result its job is kept, and a request that was refused made none.
    fn failed_sentence(&self) -> &'static str {
        match (&self.job, self.failure) {
            (Some(_), _) if self.member_of().is_some() => {
                "the job of its group left no result for it, and no further attempt follows by itself; see the error"
            }
            (Some(_), _) => "its last attempt left no result, and no further one follows by itself; see the error",
            (None, Some(FailureCause::Request)) => {
                "the request was refused for good, so that there is no job; see the error"
            }
            (None, _) => self.status.sentence(),
        }
    }

    /// URIs of all outputs of the attempt, by name.
    pub fn output_uris(&self) -> impl Iterator<Item = (&str, &str)> {
        let outputs = self.submission.iter().flat_map(|sent| &sent.outputs);
        outputs.map(|(name, output)| (name.as_str(), output.uri.as_str()))
    }

    /// Where its results are read, by the outputs' names: where they are published, else where the attempt wrote them.
    pub fn result_uris(&self) -> impl Iterator<Item = (&str, &str)> {
        self.output_uris().map(|(name, uri)| {
            let all = self.publishing.iter().flat_map(|publishing| &publishing.outputs);
            let end = all.filter(|one| one.output == name).find_map(|one| one.end.as_ref());
            match end {
                Some(PublicationEnd::Published { uri, .. }) => (name, uri.as_str()),
                Some(PublicationEnd::NotPublished { .. }) | None => (name, uri),
            }
        })
    }

    /// What a person does about its failure, where that is recognised. Of a group that is tried in halves nothing: that tells which of
    /// its files is meant. Of another group what is ordered is ordered of its members.
    pub fn remedy(&self) -> Option<Cow<'static, str>> {
        let remedy = failure::remedy(self.failure?, self.error.as_deref()?)?;
        match self.group() {
            None => Some(remedy.into()),
            Some(_) if self.splits() => None,
            Some(_) => Some(remedy.replace(RETRY, &format!("{RETRY} --group {}", self.id)).into()),
        }
    }

    /// Every output URI that is known to have been handed out, with the attempt that it was made for, the newest first.
    pub fn handed_out(&self) -> impl Iterator<Item = (u32, &str)> {
        let current = self.output_uris().map(|(_, uri)| (self.attempt, uri));
        let former = self.former_outputs.iter().rev();
        current.chain(former.flat_map(|of| of.uris.iter().map(|uri| (of.attempt, uri.as_str()))))
    }

    /// The attempt's submission is not to be sent any more, nor a job adopted by it. Where it was told to write is kept.
    pub(crate) fn close_submission(&mut self) {
        let Some(sent) = self.submission.take() else { return };
        let uris = sent.outputs.into_values().map(|output| output.uri).collect();
        self.former_outputs.push(FormerOutputs { attempt: self.attempt, uris });
        // One attempt's take less than its submission did, which was kept as well.
        while self.former_outputs.len() > 1 && units_of_json(&self.former_outputs) > MAX_SUBMISSION_UNITS {
            self.former_outputs.remove(0);
        }
    }

    /// The scoring of another version of its path under the same rule, queued.
    #[must_use]
    pub fn of_version(&self, ledger: &LedgerId, rule: &Rule, seen: &SeenVersion, now: OffsetDateTime) -> Self {
        let blob = BlobVersion {
            etag: seen.etag.clone(),
            size: Some(seen.content.bytes),
            sequencer: None,
            event_time: None,
            ..self.blob.clone()
        };
        Self::accept(ledger, rule, blob, now)
    }

    /// Whether it is a later version of the same path than another one: by what Storage says of the order of their events, else
    /// by the times of these, else by the order in which they came.
    pub fn is_later_than(&self, other: &Self) -> bool {
        let (a, b) = (&self.blob, &other.blob);
        match (&a.sequencer, &b.sequencer, a.event_time, b.event_time) {
            (Some(a), Some(b), ..) if a != b => a > b,
            (_, _, Some(a), Some(b)) if a != b => a > b,
            _ => self.created > other.created,
        }
    }

    /// How a version that was seen at its path stands to the one that it was made for. Content is compared by what the first
    /// look found: an event tells a length and no MD5, and equal lengths alone say nothing.
    pub fn likeness(&self, seen: &SeenVersion) -> Likeness {
        if self.blob.etag == seen.etag || self.aliases.contains(&seen.etag) {
            return Likeness::SameVersion;
        }
        match &self.input {
            Some(known) if known.md5.is_some() && *known == seen.content => Likeness::SameContent,
            _ => Likeness::Other,
        }
    }
}

/// One line of a scoring's history: what happened and why. Immutable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The scoring's version after it.
    pub seq: i64,
    /// When the decision was taken, by the clock of the process that took it.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Status before; `None` for the first entry.
    pub from: Option<Status>,
    /// Status after; the same as before where only something beside it changed.
    pub to: Status,
    /// The row of the transition table; `None` for the first entry.
    pub event: Option<Event>,
    /// The decision's reason, for people.
    pub reason: String,
    /// Number of the attempt after the move; 0 before the first.
    pub attempt: u32,
    /// The job's name, if there was one.
    pub job: Option<JobName>,
    /// The service's own id of the answer that this is about (`x-ms-request-id`), if it is about one: a submission, a look at
    /// the job, the list that a search ended with, a request to stop the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<ServiceRequestId>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Rules;
    use time::macros::datetime;

    fn seen(etag: &str, bytes: u64, md5: Option<&str>) -> SeenVersion {
        SeenVersion { etag: etag.to_owned(), content: InputContent { bytes, md5: md5.map(str::to_owned) } }
    }

    #[test]
    fn the_same_content_is_equal_length_and_equal_present_md5() {
        let rules =
            r#"{"rules":[{"id":"r","match":{"container": "con"},"endpoint":{"uri":"https://e.example/jobs"}}]}"#;
        let rules = Rules::read(rules).expect("good rules");
        let mut blob = BlobVersion::read("https://a.blob.core.windows.net/con/x.csv", "1").expect("a blob");
        blob.size = Some(7);
        let rule = rules.get("r").expect("the rule");
        let mut scoring = Scoring::accept(&LedgerId::of_random([1; 16]), rule, blob, datetime!(2026-07-21 10:00 UTC));
        assert_eq!(scoring.likeness(&seen("1", 9, None)), Likeness::SameVersion, "the ETag alone names a version");
        assert_eq!(scoring.likeness(&seen("2", 7, Some("m"))), Likeness::Other, "an event tells no MD5");
        scoring.input = Some(InputContent { bytes: 7, md5: Some("m".into()) });
        assert_eq!(scoring.likeness(&seen("2", 7, Some("m"))), Likeness::SameContent);
        assert_eq!(scoring.likeness(&seen("2", 8, Some("m"))), Likeness::Other);
        assert_eq!(scoring.likeness(&seen("2", 7, Some("n"))), Likeness::Other);
        assert_eq!(scoring.likeness(&seen("2", 7, None)), Likeness::Other);
        scoring.aliases.push("2".into());
        assert_eq!(scoring.likeness(&seen("2", 8, None)), Likeness::SameVersion);
        scoring.input = Some(InputContent { bytes: 7, md5: None });
        assert_eq!(scoring.likeness(&seen("3", 7, None)), Likeness::Other, "two absent MD5s are not equal ones");
    }
}
