//! Scorings as rows of `{Hub}State`, and back.
//!
//! The PartitionKey is the shard (`s` and two hex digits, from the id); the RowKey begins with the row's kind:
//!
//! | RowKey | row | present |
//! |---|---|---|
//! | `J~{id}` | the scoring: authority and compare-and-swap target | from acceptance to purge |
//! | `F~{id}` | in-flight index: all that a tick needs to see that nothing is to do | while not final |
//! | `Y~{id}` | the folder in which a group's members are staged (`groups.rs`) | until its copies are removed |
//! | `H~{id}~{seq}` | one immutable line of history, at most [`MAX_HISTORY_ENTRIES`] | with `J~` |
//! | `T~{hour}~{id}` | terminal index by hour of completion, the newest first | while final |
//! | `G~{hour}~{id}` | the same of groups, which no list shows | while final |
//! | `E~{status}~{hour}~{id}` | ends other than `scored`, by status, the newest first (`ends.rs`) | while final and not `scored` |
//! | `C~{cause}~{hour}~{id}` | what failed, by its cause, the newest first (`ends.rs`) | while failed for a cause |
//! | `U~{hour}` | what ended in an hour, counted, the newest first (`end_counts.rs`) | for the retention |
//! | `L~{time}~{id}` | list index, the newest first (`listed.rs`) | with `J~` |
//! | `A~{id}` | failed or with orphaned jobs, and not acknowledged (`attention.rs`) | while so |
//! | `B~{blob}~{time}~{id or key}` | what was received of a blob, the newest first (`received.rs`) | with `J~` or `S~` |
//! | `N~{id}~{version}~{kind}{n}` | names of former and orphaned jobs for which `J~` has no room (`job_names.rs`) | with `J~` |
//! | `P~{id}` | projection outbox | until projected |
//! | `K~{key}` | an idempotency key of a start, and the scoring that it names (`starts.rs`) | as long as `J~` at least |
//! | `U~{yyyyMMdd}~{key}` | such keys by day | as long as `K~` |
//! | `O~{key}` | the first name of a version that was moved after it was scored, the names in a move of what nobody saw, or the scorings of a path that looks after renames have shown | for the retention |
//! | `M~{yyyyMMdd}~{key}` | such notes by day | for the retention |
//! | `S~{day}~{key}`, `Q~{day}~{key}` | skipped and quarantined events, the newest day first | for the retention |
//! | `V~{yyyyMMddHH}~{key}` | versions of a path that were taken in without an event, by hour | for the retention |
//!
//! Beside the shards stand the partitions of slots (`slots.rs`), of controls (`controls.rs`), of the orphan scan (`orphan_scan.rs`),
//! of what waits for a look at the storage (`pending.rs`) and of the heartbeat (`heartbeat.rs`).
//!
//! Hours, days and times that come the newest first are written as what is left of them until the year 10000, since a range is
//! read upwards only.
//!
//! Columns are readable in any storage browser. A row of a schema newer than [`SCHEMA`] is refused, not guessed at.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use lifecycle::digest::digest;
use lifecycle::id::{DeploymentName, EndpointUri, IdentityName, JobName, RuleId, WorkspaceId};
use lifecycle::publishing::Publishing;
use lifecycle::scoring::{OutputSeen, StartOf};
use lifecycle::{
    BlobVersion, Entry, Event, FailureCause, InputContent, Job, Origin, OutputPrint, Scoring, ScoringId, Status,
    Submission, TraceContext,
};
use time::macros::{datetime, format_description};
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use super::group_columns::{self, InGroup};
use crate::ports::table_store::{Entity, Key, Range};

/// Version of these columns. Readers accept this one and older; a newer one may have columns that a write of ours would
/// drop.
pub const SCHEMA: i32 = 1;
/// Number of shards; fixed, because it is part of every key.
///
/// Each list, count and look through an index asks each shard, and a reconcile run asks each outbox: the fewer the cheaper. Each shard
/// takes what one partition takes, of which Azure Tables aims at 2,000 rows a second: the more the faster. Three take some 800
/// uploads a second, and 200 scorings a second from end to end, 17 million a day, where a workspace takes ten million jobs in all;
/// what comes faster is throttled and delivered again. Sixteen would take three times that, which no batch endpoint could follow, and
/// ask sixteen queries for the first page of any list. One would be the fewest, and its throttling that of everything.
pub const SHARDS: u8 = 3;
/// Parts into which the in-flight index is cut, by the first digit of the id: each lies in one shard. A reconcile run keeps what is
/// due of a few of them at one time, so that its memory is bounded by parts and not by shards.
pub const IN_FLIGHT_PARTS: u8 = 16;
/// Lines of history kept per scoring. Beyond it only final moves are written; the scoring itself is always whole.
pub const MAX_HISTORY_ENTRIES: i64 = 60;

/// A row that cannot be read: which, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("row {key}: {what}")]
pub struct Unreadable {
    /// The row's key.
    pub key: String,
    /// What is wrong.
    pub what: String,
}

impl Unreadable {
    /// The scoring whose row it is, if the key tells.
    pub fn scoring(&self) -> Option<ScoringId> {
        self.key.split(|c: char| !c.is_ascii_hexdigit()).find_map(ScoringId::read)
    }
}

/// What the in-flight index tells without reading the scoring.
#[derive(Debug, Clone, PartialEq)]
pub struct InFlight {
    /// The scoring.
    pub id: ScoringId,
    /// Its status, from column `State`: it decides which look is due, and whether a slot is held.
    pub status: Status,
    /// Since when it is in that status (`StateSince`): polls are counted from here, and `jobTimeout` begins here.
    pub since: OffsetDateTime,
    /// See [`Scoring::due`].
    pub due: OffsetDateTime,
    /// The id of the rule that it is scored under (`RuleId`). The rules may not hold it any more.
    pub rule: RuleId,
    /// The invoke URI of the endpoint that it goes to, as the rule said when it was accepted.
    pub endpoint: EndpointUri,
    /// Its deployment, but for rows from before this was kept here.
    pub deployment: Option<DeploymentName>,
    /// ARM id of the workspace, if known.
    pub workspace: Option<WorkspaceId>,
    /// Who asks for it; `None`: the app itself.
    pub identity: Option<IdentityName>,
    /// The job that it adopted; `None` before one was made, and while nobody knows of one.
    pub job: Option<Job>,
    /// The job's status when last recorded.
    pub job_status: Option<String>,
    /// The job could not be found at the last look.
    pub missing: bool,
    /// It is held for so long that its slot was freed.
    pub slot_freed: bool,
    /// What keeps it from moving on, its beginning.
    pub last_error: Option<String>,
    /// Refusals in a row.
    pub refusals: u32,
    /// The order by which it is not sent before it is released, its beginning.
    pub on_hold: Option<String>,
    /// Since when, as far as that is known.
    pub on_hold_since: Option<OffsetDateTime>,
    /// It goes before all others of its endpoint.
    pub expedited: bool,
    /// What brought it here.
    pub origin: Origin,
    /// Its part in groups, if it has one.
    pub group: Option<InGroup>,
    /// When it was accepted.
    pub created: OffsetDateTime,
    /// The number of the current attempt, from 1; 0 before the first.
    pub attempt: u32,
}

impl InFlight {
    /// It is no scoring of a blob but a group of some.
    pub fn is_group(&self) -> bool {
        matches!(self.group, Some(InGroup::Group { .. }))
    }

    /// A scoring as the index has it.
    pub(crate) fn of(scoring: &Scoring) -> Option<Self> {
        from_in_flight_row(&to_in_flight_row(scoring)).ok()
    }
}

/// A final scoring as the terminal index has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminal {
    /// The scoring.
    pub id: ScoringId,
    /// Its final status.
    pub status: Status,
    /// Its rule.
    pub rule: RuleId,
    /// The batch endpoint's invoke URI; `None` in rows that do not tell.
    pub endpoint: Option<String>,
    /// The deployment that was asked for; `None`: the endpoint's default.
    pub deployment: Option<String>,
    /// When it was accepted.
    pub created: OffsetDateTime,
    /// The key of its blob, as rows of what was received have it.
    pub blob: String,
    /// How long its last attempt took, from the intent to its end.
    pub took: Option<Duration>,
    /// RowKey of the index row.
    pub row: String,
}

/// Events are what brings nearly all: they have no word.
fn origin_word(origin: Origin) -> Option<&'static str> {
    match origin {
        Origin::Told => None,
        Origin::FoundBySweep => Some("swept"),
        Origin::Backfilled { .. } => Some("backfilled"),
    }
}

fn backfill_slots(origin: Origin) -> Option<u32> {
    if let Origin::Backfilled { slots } = origin { slots } else { None }
}

impl Terminal {
    /// The hour in which it ended.
    pub fn hour(&self) -> Option<OffsetDateTime> {
        time_of(self.row.strip_prefix(TERMINAL)?.split('~').next()?)
    }
}

/// A word that this version does not know gives way to nobody.
fn origin(row: &Entity) -> Origin {
    match row.string("Origin") {
        Some("swept") => Origin::FoundBySweep,
        Some("backfilled") => {
            Origin::Backfilled { slots: row.int32("BackfillSlots").and_then(|slots| u32::try_from(slots).ok()) }
        }
        _ => Origin::Told,
    }
}

/// Partition of a scoring.
pub fn partition_of(id: &ScoringId) -> String {
    let first = u8::from_str_radix(&id.as_str()[..1], 16).unwrap_or(0); // an id is hex by construction
    partition_of_part(first)
}

/// Partition of the ids that begin with this digit.
pub(super) fn partition_of_part(first_digit: u8) -> String {
    shard(first_digit * SHARDS / IN_FLIGHT_PARTS)
}

/// Partition of a key of 32 hex digits that is no scoring's.
pub fn partition_of_key(key: &str) -> String {
    ScoringId::read(key).map_or_else(|| shard(0), |id| partition_of(&id))
}

/// Partition of shard `n`.
pub fn shard(n: u8) -> String {
    // Each key has one, an event writes eleven, and a format would take ten times as long.
    const NAMES: [&str; SHARDS as usize] = ["s00", "s01", "s02"];
    NAMES[usize::from(n)].to_owned()
}

/// Key of the scoring's row.
pub fn scoring_key(id: &ScoringId) -> Key {
    Key::new(partition_of(id), ["J~", id].concat())
}

/// Part `n` of the in-flight index.
pub(super) fn in_flight_part(n: u8) -> Range {
    Range::of_prefix(partition_of_part(n), &format!("F~{n:x}"))
}

/// Key of the in-flight row.
pub fn in_flight_key(id: &ScoringId) -> Key {
    Key::new(partition_of(id), ["F~", id].concat())
}

/// Key of a line of history.
pub fn history_key(id: &ScoringId, seq: i64) -> Key {
    Key::new(partition_of(id), format!("H~{id}~{seq:04X}"))
}

/// Key of the outbox row.
pub fn outbox_key(id: &ScoringId) -> Key {
    Key::new(partition_of(id), ["P~", id].concat())
}

/// Says that a scoring is to be projected.
pub(super) fn outbox_row(id: &ScoringId) -> Entity {
    Entity::new(outbox_key(id))
}

/// The key of a blob in the rows of what was received, whichever host its URL named.
pub(super) fn blob_key(container: &str, path: &str) -> String {
    digest(&["blob", container, path])
}

/// Key of the terminal row of a scoring.
pub fn terminal_key(id: &ScoringId, completed: OffsetDateTime) -> Key {
    Key::new(partition_of(id), format!("{TERMINAL}{}~{id}", newest_hour_first(completed)))
}

/// The same of a group: what lists and counts ends meets none.
pub fn ended_group_key(id: &ScoringId, completed: OffsetDateTime) -> Key {
    Key::new(partition_of(id), format!("{ENDED_GROUP}{}~{id}", newest_hour_first(completed)))
}

pub(super) fn end_key(s: &Scoring, completed: OffsetDateTime) -> Key {
    if s.is_group() { ended_group_key(&s.id, completed) } else { terminal_key(&s.id, completed) }
}

/// An hour as it stands in keys: sorts by time.
pub fn hour(at: OffsetDateTime) -> String {
    at.to_offset(time::UtcOffset::UTC)
        .format(format_description!("[year][month][day][hour]"))
        .unwrap_or_else(|_| "0000000000".to_owned()) // only for years beyond 9999
}

/// A day as it stands in keys.
pub fn day(at: OffsetDateTime) -> String {
    hour(at)[..8].to_owned()
}

/// What the keys of the terminal index begin with.
pub(super) const TERMINAL: &str = "T~";
/// What the keys of ended groups begin with.
pub(super) const ENDED_GROUP: &str = "G~";

/// What is left of an hour's number: sorts by time, the newest first.
pub(super) fn newest_hour_first(at: OffsetDateTime) -> String {
    format!("{:010}", 9_999_999_999 - hour(at).parse::<u64>().unwrap_or(0)) // ten digits by their format
}

/// The same of a day.
pub(super) fn newest_day_first(at: OffsetDateTime) -> String {
    format!("{:08}", 99_999_999 - day(at).parse::<u64>().unwrap_or(0)) // eight digits by their format
}

/// The same of a time, to the resolution of the table service.
pub fn newest_first(at: OffsetDateTime) -> String {
    let left = datetime!(9999-12-31 23:59:59.999_999_9 UTC) - at;
    format!("{:019}", left.whole_nanoseconds().max(0) / 100)
}

/// The time that one of these three tells, by its length.
pub(super) fn time_of(newest_first: &str) -> Option<OffsetDateTime> {
    let left: i64 = newest_first.parse().ok()?;
    let of_hour = |digits: String| {
        let at = PrimitiveDateTime::parse(&digits, format_description!("[year][month][day][hour]:[minute]")).ok()?;
        Some(at.assume_utc())
    };
    match newest_first.len() {
        8 => of_hour(format!("{:08}00:00", 99_999_999 - left)),
        10 => of_hour(format!("{:010}:00", 9_999_999_999 - left)),
        _ => {
            let hundreds = i32::try_from(left % 10_000_000).ok()?;
            datetime!(9999-12-31 23:59:59.999_999_9 UTC).checked_sub(Duration::new(left / 10_000_000, hundreds * 100))
        }
    }
}

/// What a property of a row holds, in UTF-16 units.
pub(super) const MAX_PROPERTY: usize = 32_768;
/// What is kept of a text that comes from outside, in UTF-16 units: beside it stand others, and where it becomes part of a
/// JSON text it may grow to six times this.
pub(super) const MAX_FOREIGN: usize = 4_000;

/// What is kept of an error in an index, in UTF-16 units: enough to group by.
pub(super) const MAX_SHORT_ERROR: usize = 300;

/// What is kept of an event that was understood, in UTF-16 units. Event Grid's have about a thousand.
pub const MAX_EVENT: usize = 4_000;

/// An MD5 has 24 characters in base64; what is longer is none, and is not kept.
const MAX_MD5: usize = 64;

/// The beginning of a text, so many UTF-16 units long at most.
pub(super) fn clipped(text: &str, units: usize) -> String {
    if text.len() <= units {
        return text.to_owned(); // no text has more units than bytes
    }
    let mut left = units;
    text.chars()
        .take_while(|c| {
            let enough = left >= c.len_utf16();
            left = left.saturating_sub(c.len_utf16());
            enough
        })
        .collect()
}

pub(super) fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Texts, or what is made of them, as a JSON list, readable in a storage browser; no column when there are none.
pub(super) fn list<T: serde::Serialize>(texts: &[T]) -> Option<String> {
    (!texts.is_empty()).then(|| serde_json::to_string(texts).unwrap_or_default()) // they always serialise
}

/// Names of jobs of each list in the scoring's row, and in one further row: of 260 bytes each they fill a third of a property.
pub(super) const MAX_JOB_NAMES_IN_ROW: usize = 40;
/// Column of the scoring's row: how many names of jobs are in rows of their own.
pub(super) const FURTHER_JOB_NAMES: &str = "FurtherJobNames";

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

/// Values by names in one text: a blob's metadata, a start's parameters.
pub(super) fn by_name(kept: &BTreeMap<String, String>) -> Option<String> {
    // A map with string keys always serialises.
    (!kept.is_empty()).then(|| serde_json::to_string(kept).unwrap_or_default())
}

fn publishing(kept: &Publishing) -> String {
    serde_json::to_string(kept).unwrap_or_default() // texts and numbers always serialise
}

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

/// All outputs by name as JSON, for people, where one URI does not tell them; the submission has them too.
fn several_outputs(s: &Scoring) -> Option<String> {
    let outputs: std::collections::BTreeMap<&str, &str> = s.output_uris().collect();
    (outputs.len() > 1).then(|| serde_json::to_string(&outputs).unwrap_or_default()) // texts always serialise
}

/// Reads the scoring's row.
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

/// The in-flight row of a scoring that is not final.
pub fn to_in_flight_row(s: &Scoring) -> Entity {
    Entity::new(in_flight_key(&s.id))
        .with("SchemaVersion", SCHEMA)
        .with("State", s.status.name())
        .with("StateSince", s.since)
        .with("Due", s.due)
        .with("RuleId", s.rule.as_str())
        .with("Endpoint", s.endpoint.as_str())
        .with_some("Deployment", s.deployment.as_deref())
        .with_some("Workspace", s.workspace.as_deref())
        .with_some("Identity", s.identity.as_deref())
        .with_some("JobName", s.job.as_ref().map(|job| job.name.as_str()))
        .with_some("JobId", s.job.as_ref().and_then(|job| job.id.as_deref()))
        .with_some("JobStatus", s.job_status.as_deref())
        .with("Missing", s.missing_since.is_some())
        .with_some("SlotFreed", s.slot_freed.then_some(true))
        .with_some("LastError", s.last_error.as_deref().map(|error| clipped(error, MAX_SHORT_ERROR)))
        .with("Refusals", count(s.refusals))
        .with_some("OnHold", s.on_hold.as_deref().map(|order| clipped(order, MAX_SHORT_ERROR)))
        // Nothing else happens to what is on hold.
        .with_some("OnHoldTime", s.on_hold.as_ref().map(|_| s.updated))
        .with_some("Expedited", s.expedited.then_some(true))
        .with_some("Origin", origin_word(s.origin))
        .with_some("BackfillSlots", backfill_slots(s.origin).map(count))
        .with_some("Grouping", s.grouping.as_deref().map(group_columns::word))
        .with_some("Group", group_columns::named(s))
        .with_some("Folder", group_columns::folder(s))
        .with_some("Bytes", group_columns::bytes(s))
        .with_some("Staged", group_columns::staged(s))
        .with("CreatedTime", s.created)
        .with("Attempt", count(s.attempt))
}

/// Reads an in-flight row.
pub fn from_in_flight_row(row: &Entity) -> Result<InFlight, Unreadable> {
    let read = Reader(row);
    read.schema()?;
    Ok(InFlight {
        id: read.id("F~")?,
        status: read.status()?,
        since: read.time("StateSince")?,
        due: read.time("Due")?,
        rule: read.parsed("RuleId")?,
        endpoint: read.parsed("Endpoint")?,
        deployment: read.parsed_if_there("Deployment")?,
        workspace: read.parsed_if_there("Workspace")?,
        identity: read.parsed_if_there("Identity")?,
        job: read.job(),
        job_status: row.string("JobStatus").map(str::to_owned),
        missing: row.boolean("Missing").unwrap_or(false),
        slot_freed: row.boolean("SlotFreed").unwrap_or(false),
        last_error: row.string("LastError").map(str::to_owned),
        refusals: read.number("Refusals")?,
        on_hold: row.string("OnHold").map(str::to_owned),
        on_hold_since: row.time("OnHoldTime"),
        expedited: row.boolean("Expedited").unwrap_or(false),
        origin: origin(row),
        group: group_columns::from_in_flight(row).map_err(|why| read.wrong(why.to_string()))?,
        created: read.time("CreatedTime")?,
        attempt: read.number("Attempt")?,
    })
}

/// A line of history.
pub fn to_history_row(id: &ScoringId, entry: &Entry) -> Entity {
    Entity::new(history_key(id, entry.seq))
        .with("SchemaVersion", SCHEMA)
        .with("At", entry.at)
        .with_some("From", entry.from.map(Status::name))
        .with("To", entry.to.name())
        .with_some("Event", entry.event.map(Event::name))
        .with("Reason", clipped(&entry.reason, MAX_FOREIGN))
        .with("Attempt", count(entry.attempt))
        .with_some("JobName", entry.job.as_deref())
        .with_some("RequestId", entry.request_id.as_deref())
}

/// Reads a line of history.
pub fn from_history_row(row: &Entity) -> Result<Entry, Unreadable> {
    let read = Reader(row);
    read.schema()?;
    let seq = row.key.row.rsplit('~').next().and_then(|hex| i64::from_str_radix(hex, 16).ok());
    let status = |name: &str| match row.string(name) {
        None => Ok(None),
        Some(word) => word.parse::<Status>().map(Some).map_err(|e| read.wrong(e.to_string())),
    };
    let event = row.string("Event").map(|word| serde_json::from_value::<Event>(word.into()));
    Ok(Entry {
        seq: seq.ok_or_else(|| read.wrong("the key has no sequence number".to_owned()))?,
        at: read.time("At")?,
        from: status("From")?,
        to: status("To")?.ok_or_else(|| read.wrong("`To` is missing".to_owned()))?,
        event: event.transpose().map_err(|e| read.wrong(format!("`Event`: {e}")))?,
        reason: read.string("Reason")?,
        attempt: read.number("Attempt")?,
        job: read.parsed_if_there("JobName")?,
        request_id: read.parsed_if_there("RequestId")?,
    })
}

/// Texts of a scoring's row that are words and ids of our own.
pub(super) const OWN_WORDS: [&str; 13] = [
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

/// The terminal row of a final scoring.
pub fn to_terminal_row(s: &Scoring, completed: OffsetDateTime) -> Entity {
    Entity::new(end_key(s, completed))
        .with("SchemaVersion", SCHEMA)
        .with("State", s.status.name())
        .with("RuleId", s.rule.as_str())
        .with("Endpoint", s.endpoint.as_str())
        .with_some("Deployment", s.deployment.as_deref())
        .with("BlobKey", blob_key(&s.blob.container, &s.blob.path))
        .with("CreatedTime", s.created)
        .with_some("AttemptTime", s.submitted.map(|at| (completed - at).whole_seconds()))
}

/// Reads a terminal row.
pub fn from_terminal_row(row: &Entity) -> Result<Terminal, Unreadable> {
    let read = Reader(row);
    read.schema()?;
    let id = row.key.row.rsplit('~').next().and_then(ScoringId::read);
    Ok(Terminal {
        id: id.ok_or_else(|| read.wrong("the key has no id".to_owned()))?,
        status: read.status()?,
        rule: read.parsed("RuleId")?,
        endpoint: row.string("Endpoint").map(str::to_owned),
        deployment: row.string("Deployment").map(str::to_owned),
        created: read.time("CreatedTime")?,
        blob: read.string("BlobKey")?,
        took: row.int64("AttemptTime").map(Duration::seconds),
        row: row.key.row.clone(),
    })
}

pub(super) struct Reader<'a>(pub(super) &'a Entity);

impl Reader<'_> {
    pub(super) fn wrong(&self, what: String) -> Unreadable {
        Unreadable { key: self.0.key.to_string(), what }
    }

    pub(super) fn schema(&self) -> Result<(), Unreadable> {
        match self.0.int32("SchemaVersion") {
            Some(version) if version <= SCHEMA => Ok(()),
            Some(version) => Err(self.wrong(format!(
                "schema {version} is newer than {SCHEMA}, which this version reads; deploy the newer version again"
            ))),
            None => Err(self.wrong("`SchemaVersion` is missing".to_owned())),
        }
    }

    fn id(&self, prefix: &str) -> Result<ScoringId, Unreadable> {
        let id = self.0.key.row.strip_prefix(prefix).and_then(ScoringId::read);
        id.ok_or_else(|| self.wrong(format!("the key is not {prefix} and an id")))
    }

    pub(super) fn string(&self, name: &str) -> Result<String, Unreadable> {
        self.0.string(name).map(str::to_owned).ok_or_else(|| self.wrong(format!("`{name}` is missing or not a string")))
    }

    pub(super) fn parsed<T: FromStr<Err: fmt::Display>>(&self, name: &str) -> Result<T, Unreadable> {
        self.parsed_if_there(name)?.ok_or_else(|| self.wrong(format!("`{name}` is missing or not a string")))
    }

    pub(super) fn parsed_if_there<T: FromStr<Err: fmt::Display>>(&self, name: &str) -> Result<Option<T>, Unreadable> {
        let read = self.0.string(name).map(str::parse).transpose();
        read.map_err(|error| self.wrong(format!("`{name}`: {error}")))
    }

    pub(super) fn number(&self, name: &str) -> Result<u32, Unreadable> {
        let number = self.0.int32(name).and_then(|number| u32::try_from(number).ok());
        number.ok_or_else(|| self.wrong(format!("`{name}` is missing or not a count")))
    }

    pub(super) fn time(&self, name: &str) -> Result<OffsetDateTime, Unreadable> {
        self.0.time(name).ok_or_else(|| self.wrong(format!("`{name}` is missing or not a time")))
    }

    pub(super) fn list<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Vec<T>, Unreadable> {
        let Some(text) = self.0.string(name) else { return Ok(Vec::new()) };
        serde_json::from_str(text).map_err(|e| self.wrong(format!("`{name}` is not a readable list: {e}")))
    }

    pub(super) fn by_name(&self, name: &str) -> Result<BTreeMap<String, String>, Unreadable> {
        let Some(text) = self.0.string(name) else { return Ok(BTreeMap::new()) };
        serde_json::from_str(text).map_err(|e| self.wrong(format!("`{name}` is not readable: {e}")))
    }

    fn publishing(&self) -> Result<Option<Publishing>, Unreadable> {
        let read = self.0.string("Publishing").map(serde_json::from_str).transpose();
        read.map_err(|e| self.wrong(format!("`Publishing` is not readable: {e}")))
    }

    pub(super) fn scoring_id(&self, name: &str, text: &str) -> Result<ScoringId, Unreadable> {
        ScoringId::read(text).ok_or_else(|| self.wrong(format!("`{name}` is not the id of a scoring")))
    }

    fn status(&self) -> Result<Status, Unreadable> {
        self.parsed("State")
    }

    fn job(&self) -> Option<Job> {
        Some(Job {
            name: self.0.string("JobName")?.parse().ok()?,
            id: self.0.string("JobId").map(str::to_owned),
            studio: self.0.string("JobStudio").map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifecycle::job::OutputKind;
    use lifecycle::publishing::{FileVersion, NotPublished, Publication, PublicationEnd, PublishedPlace};
    use lifecycle::rule::IfExists;
    use lifecycle::scoring::FormerOutputs;
    use lifecycle::{Answer, JobStatus, Observation, Rules, Step, decide};
    use time::macros::datetime;

    fn scorings() -> Vec<(Scoring, Entry)> {
        let rules = Rules::read(
            r#"{"rules":[{"id":"claims","match":{"container": "con"},"endpoint":{"uri":"https://e.example/jobs","deployment":"v7"},"verifyInput":false}]}"#,
        )
        .unwrap();
        let rule = rules.get("claims").unwrap();
        let mut blob = BlobVersion::read("https://a.blob.core.windows.net/con/ü%20x.csv", "0x1").unwrap();
        blob.size = Some(7);
        blob.sequencer = Some("0001".into());
        blob.metadata = [("tenant".to_owned(), "\"ä\" b".to_owned())].into();
        let now = datetime!(2026-07-21 10:00:00.1234567 UTC);
        let accepted = Scoring::accept(&lifecycle::LedgerId::of_random([1; 16]), rule, blob, now);
        let entry = accepted.accepted_entry("an event".into());
        let mut all = vec![(accepted, entry)];
        let job = Job { name: "job-1".parse().unwrap(), id: Some("/subscriptions/s/x".into()), studio: None };
        let answer = Answer::Accepted { job, status: JobStatus::Preparing };
        for seen in [Observation::SlotFree, Observation::Answer(answer), Observation::JobMissing] {
            let (last, _) = all.last().unwrap();
            match decide(last, Some(rule), &seen, now) {
                Step::Move { next, entry, .. } => all.push((*next, entry)),
                other => panic!("{other:?}"),
            }
        }
        let (last, entry) = all.last().unwrap().clone();
        let output_seen = Some(OutputSeen { print: OutputPrint::of([("a", "1")]), at: now });
        let followed = vec!["job-7".parse().unwrap()];
        let former_outputs = vec![FormerOutputs { attempt: 1, uris: vec!["azureml://datastores/d/paths/ü".into()] }];
        let last = Scoring { former_outputs, ..last };
        let ends = [
            None,
            Some(PublicationEnd::Published {
                uri: "azureml://datastores/d/paths/ü".into(),
                etag: "e".into(),
                place: Some(PublishedPlace::of(&lifecycle::UnversionedBlob::from(last.blob.clone()))),
            }),
            Some(PublicationEnd::NotPublished { why: NotPublished::Refused, text: "403".into() }),
        ];
        let publication = |end| Publication {
            output: "score".into(),
            kind: OutputKind::UriFile,
            uri: "azureml://datastores/d/paths/latest.csv".into(),
            if_exists: IfExists::Version,
            source: Some(FileVersion { etag: "0x1".into(), len: 7 }),
            end,
        };
        let publishing =
            Some(Publishing { since: now, scored: Some(now), outputs: ends.into_iter().map(publication).collect() });
        let last = Scoring { publishing, ..last };
        let output_print = Some(OutputPrint::of([("a", "2")]));
        let last = Scoring { output_print, ..last };
        all.push((Scoring { followed, followed_ended: Some(now), output_seen, slot_freed: true, ..last }, entry));
        all
    }

    #[test]
    fn rows_read_back_as_they_were_written() {
        for (scoring, entry) in scorings() {
            assert_eq!(from_scoring_row(&to_scoring_row(&scoring, "op")).unwrap(), scoring);
            assert_eq!(from_history_row(&to_history_row(&scoring.id, &entry)).unwrap(), entry);
            let in_flight = from_in_flight_row(&to_in_flight_row(&scoring)).unwrap();
            assert_eq!((&in_flight.id, in_flight.status, in_flight.due), (&scoring.id, scoring.status, scoring.due));
            assert_eq!(in_flight.missing, scoring.missing_since.is_some());
            assert_eq!(in_flight.deployment, scoring.deployment);
            let terminal = from_terminal_row(&to_terminal_row(&scoring, scoring.updated)).unwrap();
            assert_eq!((terminal.id, terminal.status), (scoring.id.clone(), scoring.status));
            let ops = [crate::ports::table_store::Op::Insert(to_scoring_row(&scoring, "op"))];
            crate::ports::table_store::check(&ops).unwrap();
        }
    }

    #[test]
    fn a_row_of_a_newer_schema_or_without_a_column_is_refused_by_name() {
        let (scoring, _) = scorings().pop().unwrap();
        let newer = to_scoring_row(&scoring, "op").with("SchemaVersion", SCHEMA + 1);
        assert!(from_scoring_row(&newer).unwrap_err().to_string().contains("newer"));
        let mut torn = to_scoring_row(&scoring, "op");
        torn.properties.remove("BlobUrl");
        assert!(from_scoring_row(&torn).unwrap_err().to_string().contains("BlobUrl"));
    }

    #[test]
    fn every_id_has_one_of_three_shards_and_lies_in_the_part_of_its_first_digit() {
        let shards: std::collections::BTreeSet<_> =
            (0..=255).map(|n| partition_of(&ScoringId::read(&format!("{n:02x}{:030}", 0)).unwrap())).collect();
        assert_eq!(shards.len(), usize::from(SHARDS));
        assert_eq!(shards, (0..SHARDS).map(shard).collect());
        for part in 0..IN_FLIGHT_PARTS {
            let id = ScoringId::read(&format!("{part:x}{:031}", 0)).unwrap();
            let (range, key) = (in_flight_part(part), in_flight_key(&id));
            assert_eq!(range.partition, key.partition);
            assert!(range.from <= key.row && key.row < range.below, "{range:?}: {key}");
        }
    }

    #[test]
    fn a_time_that_comes_the_newest_first_is_read_back() {
        let at = datetime!(2026-07-21 10:59:58.123_456_7 UTC);
        assert_eq!(time_of(&newest_first(at)), Some(at));
        assert_eq!(time_of(&newest_hour_first(at)), Some(datetime!(2026-07-21 10:00 UTC)));
        assert_eq!(time_of(&newest_day_first(at)), Some(datetime!(2026-07-21 0:00 UTC)));
        assert_eq!((time_of("99999999"), time_of("x"), time_of("")), (None, None, None));
    }
}
