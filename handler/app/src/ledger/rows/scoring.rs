//! `J~{id}`: the scoring itself.

use lifecycle::id::JobName;
use lifecycle::publishing::Publishing;
use lifecycle::scoring::{OutputSeen, StartOf};
use lifecycle::{BlobVersion, FailureCause, InputContent, OutputPrint, Scoring, ScoringId, Submission, TraceContext};

use super::columns::{
    MAX_FOREIGN, Reader, SCHEMA, Unreadable, backfill_slots, by_name, clipped, count, list, origin, origin_word,
};
use super::keys::scoring_key;
use crate::ledger::group_columns;
use crate::ports::table_store::Entity;

/// Names of jobs of each list in the scoring's row, and in one further row: of 260 bytes each they fill a third of a property.
pub(crate) const MAX_JOB_NAMES_IN_ROW: usize = 40;

/// Column of the scoring's row: how many names of jobs are in rows of their own.
pub(crate) const FURTHER_JOB_NAMES: &str = "FurtherJobNames";

/// An MD5 has 24 characters in base64; what is longer is none, and is not kept.
const MAX_MD5: usize = 64;

/// Texts of a scoring's row that are words and ids of our own.
pub(crate) const OWN_WORDS: [&str; 13] = [
    "OpId",
    "RuleId",
    "State",
    "ReplacedBy",
    "InPlaceOf",
    "Origin",
    "Grouping",
    "Group",
    "Members",
    "MemberStates",
    "FailureCause",
    "OutputPrint",
    "VerifiedPrint",
];

/// The scoring's row; `op` names the write.
pub fn to_scoring_row(s: &Scoring, op: &str) -> Entity {
    let submission = s.submission.as_ref().map(|sub| serde_json::to_string(sub).unwrap_or_default()); // maps with string keys always serialise
    Entity::new(scoring_key(&s.id))
        .with("SchemaVersion", SCHEMA)
        .with("Version", s.version)
        .with("OpId", op)
        .with("RuleId", s.rule.as_str())
        .with("Generation", count(s.generation))
        .with("BlobUrl", s.blob.url.as_str())
        .with("BlobETag", s.blob.etag.as_str())
        .with("Account", s.blob.account.as_str())
        .with("Container", s.blob.container.as_str())
        .with("Path", s.blob.path.as_str())
        .with_some("Sequencer", s.blob.sequencer.as_deref())
        .with_some("Size", s.blob.size.and_then(|size| i64::try_from(size).ok()))
        .with_some("ContentType", s.blob.content_type.as_deref())
        .with_some("Metadata", by_name(&s.blob.metadata))
        .with_some("EventTime", s.blob.event_time)
        .with("Endpoint", s.endpoint.as_str())
        .with_some("Deployment", s.deployment.as_deref())
        .with_some("Workspace", s.workspace.as_deref())
        .with_some("Identity", s.identity.as_deref())
        .with_some("Parameters", s.start.as_ref().and_then(|start| by_name(&start.parameters)))
        .with_some("StartKey", s.start_key())
        .with("State", s.status.name())
        .with("StateSince", s.since)
        .with("Due", s.due)
        .with("Attempt", count(s.attempt))
        .with_some("Submission", submission)
        .with_some("OutputUri", s.output_uri())
        .with_some("Outputs", several_outputs(s))
        .with_some("SubmittedTime", s.submitted)
        .with("Submits", count(s.submits))
        .with("Refusals", count(s.refusals))
        .with_some("JobName", s.job.as_ref().map(|job| job.name.as_str()))
        .with_some("JobId", s.job.as_ref().and_then(|job| job.id.as_deref()))
        .with_some("JobStudio", s.job.as_ref().and_then(|job| job.studio.as_deref()))
        .with_some("JobStatus", s.job_status.as_deref())
        .with_some("MissingSince", s.missing_since)
        .with_some("ResumedTime", s.resumed)
        .with_some("FormerOutputs", list(&s.former_outputs))
        .with_some("PreviousJobs", list(names_in_row(&s.previous_jobs)))
        .with_some("OrphanedJobs", list(names_in_row(&s.orphaned_jobs)))
        .with_some(FURTHER_JOB_NAMES, further_job_names(s).map(count))
        .with("OrphanedJobCount", count(s.orphaned_job_count))
        .with_some("FollowedJobs", list(&s.followed))
        .with_some("FollowedEndedTime", s.followed_ended)
        .with_some("OutputPrint", s.output_seen.as_ref().map(|seen| seen.print.as_str()))
        .with_some("OutputSeenTime", s.output_seen.as_ref().map(|seen| seen.at))
        .with_some("SlotFreed", s.slot_freed.then_some(true))
        .with_some("InputBytes", s.input.as_ref().and_then(|input| i64::try_from(input.bytes).ok()))
        .with_some(
            "InputMd5",
            s.input.as_ref().and_then(|input| input.md5.as_deref().filter(|md5| md5.len() <= MAX_MD5)),
        )
        .with_some("Aliases", list(&s.aliases))
        .with_some("ReplacedBy", s.replaced_by.as_ref().map(ScoringId::as_str))
        .with_some("InPlaceOf", s.in_place_of.as_ref().map(ScoringId::as_str))
        .with_some("Grouping", s.grouping.as_deref().map(group_columns::word))
        .with_some("Group", group_columns::named(s))
        .with_some("AloneReason", group_columns::alone(s).map(|why| clipped(why, MAX_FOREIGN)))
        .with_some("Members", group_columns::members(s))
        .with_some("MemberStates", group_columns::states(s))
        .with_some("NotCopied", group_columns::reasons(s))
        .with_some("OnHold", s.on_hold.as_deref())
        .with_some("Expedited", s.expedited.then_some(true))
        .with_some("Origin", origin_word(s.origin))
        .with_some("BackfillSlots", backfill_slots(s.origin).map(count))
        .with_some("Trace", s.trace.map(|trace| trace.to_string()))
        .with_some("StopOrdered", s.stop_ordered.then_some(true))
        .with_some("AcknowledgedTime", s.acknowledged)
        .with_some("OutputBytes", s.output_bytes.and_then(|bytes| i64::try_from(bytes).ok()))
        .with_some("VerifiedPrint", s.output_print.as_ref().map(OutputPrint::as_str))
        .with_some("Publishing", s.publishing.as_ref().map(publishing))
        .with_some("Error", s.error.as_deref().map(|text| clipped(text, MAX_FOREIGN)))
        .with_some("FailureCause", s.failure.map(FailureCause::name))
        .with_some("LastError", s.last_error.as_deref().map(|text| clipped(text, MAX_FOREIGN)))
        .with("CreatedTime", s.created)
        .with("LastUpdatedTime", s.updated)
        .with_some("CompletedTime", s.completed)
}

/// Reads the row `J~{id}`; one of a newer schema, or with a column that is missing or not understood, is unreadable.
pub fn from_scoring_row(row: &Entity) -> Result<Scoring, Unreadable> {
    let read = Reader(row);
    read.schema()?;
    let id = read.id("J~")?;
    let submission = match row.string("Submission") {
        None => None,
        Some(text) => {
            let parsed = serde_json::from_str::<Submission>(text);
            Some(parsed.map_err(|e| read.wrong(format!("`Submission` is not readable: {e}")))?)
        }
    };
    Ok(Scoring {
        id,
        rule: read.parsed("RuleId")?,
        generation: read.number("Generation")?,
        blob: BlobVersion {
            url: read.string("BlobUrl")?,
            account: read.string("Account")?,
            container: read.string("Container")?,
            path: read.string("Path")?,
            etag: read.string("BlobETag")?,
            sequencer: row.string("Sequencer").map(str::to_owned),
            size: row.int64("Size").and_then(|size| u64::try_from(size).ok()),
            content_type: row.string("ContentType").map(str::to_owned),
            metadata: read.by_name("Metadata")?,
            event_time: row.time("EventTime"),
        },
        endpoint: read.parsed("Endpoint")?,
        deployment: read.parsed_if_there("Deployment")?,
        workspace: read.parsed_if_there("Workspace")?,
        identity: read.parsed_if_there("Identity")?,
        start: StartOf { key: row.string("StartKey").map(str::to_owned), parameters: read.by_name("Parameters")? }
            .boxed(),
        status: read.status()?,
        since: read.time("StateSince")?,
        due: read.time("Due")?,
        attempt: read.number("Attempt")?,
        submission,
        submitted: row.time("SubmittedTime"),
        submits: read.number("Submits")?,
        refusals: read.number("Refusals")?,
        job: read.job(),
        job_status: row.string("JobStatus").map(str::to_owned),
        missing_since: row.time("MissingSince"),
        resumed: row.time("ResumedTime"),
        former_outputs: read.list("FormerOutputs")?,
        previous_jobs: read.list("PreviousJobs")?,
        orphaned_jobs: read.list("OrphanedJobs")?,
        orphaned_job_count: read.number("OrphanedJobCount")?,
        followed: read.list("FollowedJobs")?,
        followed_ended: row.time("FollowedEndedTime"),
        output_seen: row
            .string("OutputPrint")
            .zip(row.time("OutputSeenTime"))
            .map(|(print, at)| OutputSeen { print: OutputPrint::read(print), at }),
        slot_freed: row.boolean("SlotFreed").unwrap_or(false),
        input: row
            .int64("InputBytes")
            .and_then(|bytes| u64::try_from(bytes).ok())
            .map(|bytes| InputContent { bytes, md5: row.string("InputMd5").map(str::to_owned) }),
        aliases: read.list("Aliases")?,
        replaced_by: row.string("ReplacedBy").map(|text| read.scoring_id("ReplacedBy", text)).transpose()?,
        in_place_of: row.string("InPlaceOf").map(|text| read.scoring_id("InPlaceOf", text)).transpose()?,
        grouping: group_columns::from_row(row).map_err(|why| read.wrong(why.to_string()))?,
        on_hold: row.string("OnHold").map(str::to_owned),
        expedited: row.boolean("Expedited").unwrap_or(false),
        origin: origin(row),
        // Nothing depends on it: one that cannot be read is none.
        trace: row.string("Trace").and_then(TraceContext::read),
        stop_ordered: row.boolean("StopOrdered").unwrap_or(false),
        acknowledged: row.time("AcknowledgedTime"),
        output_bytes: row.int64("OutputBytes").and_then(|bytes| u64::try_from(bytes).ok()),
        output_print: row.string("VerifiedPrint").map(OutputPrint::read),
        publishing: read.publishing()?,
        error: row.string("Error").map(str::to_owned),
        failure: read.parsed_if_there("FailureCause")?,
        last_error: row.string("LastError").map(str::to_owned),
        created: read.time("CreatedTime")?,
        updated: read.time("LastUpdatedTime")?,
        completed: row.time("CompletedTime"),
        version: row.int64("Version").ok_or_else(|| read.wrong("`Version` is missing".to_owned()))?,
    })
}

/// The names that the scoring's row takes.
fn names_in_row(names: &[JobName]) -> &[JobName] {
    &names[..names.len().min(MAX_JOB_NAMES_IN_ROW)]
}

/// How many names it does not take; `None` if it takes all.
fn further_job_names(scoring: &Scoring) -> Option<u32> {
    let beyond = |names: &[JobName]| names.len().saturating_sub(MAX_JOB_NAMES_IN_ROW);
    let further = beyond(&scoring.previous_jobs) + beyond(&scoring.orphaned_jobs);
    (further > 0).then(|| u32::try_from(further).unwrap_or(u32::MAX))
}

fn publishing(kept: &Publishing) -> String {
    serde_json::to_string(kept).unwrap_or_default() // texts and numbers always serialise
}

/// All outputs by name as JSON, for people, where one URI does not tell them; the submission has them too.
fn several_outputs(s: &Scoring) -> Option<String> {
    let outputs: std::collections::BTreeMap<&str, &str> = s.output_uris().collect();
    (outputs.len() > 1).then(|| serde_json::to_string(&outputs).unwrap_or_default()) // texts always serialise
}
