//! `F~{id}`: all that a reconcile run needs to see that nothing is to do.

use lifecycle::id::{DeploymentName, EndpointUri, IdentityName, RuleId, WorkspaceId};
use lifecycle::{Job, Origin, Scoring, ScoringId, Status};
use time::OffsetDateTime;

use super::columns::{
    MAX_SHORT_ERROR, Reader, SCHEMA, Unreadable, backfill_slots, clipped, count, origin, origin_word,
};
use super::keys::in_flight_key;
use crate::ledger::group_columns::{self, InGroup};
use crate::ports::table_store::Entity;

/// What the in-flight index tells without reading the scoring.
#[derive(Debug, Clone, PartialEq)]
pub struct InFlight {
    /// Id of the scoring or group, from the row's key.
    pub id: ScoringId,
    /// Its status, from column `State`: it decides which look is due, and whether a slot is held.
    pub status: Status,
    /// Since when it is in that status (`StateSince`): polls are counted from here, and `jobTimeout` begins here.
    pub since: OffsetDateTime,
    /// When something is due of it next; what that is depends on its status, see [`Scoring::due`].
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
    /// How often in a row it was refused, which sets how long it waits for the next try; 0 after a success.
    pub refusals: u32,
    /// The order by which it is not sent before it is released, its beginning.
    pub on_hold: Option<String>,
    /// Since when, as far as that is known.
    pub on_hold_since: Option<OffsetDateTime>,
    /// It goes before all others of its endpoint.
    pub expedited: bool,
    /// By what its version became known: an event, a sweep or a backfill. Backfilled ones go last.
    pub origin: Origin,
    /// Its part in groups, if it has one.
    pub group: Option<InGroup>,
    /// When it was accepted (`CreatedTime`): its place in the queue. A group, when it was sealed.
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

/// Reads the row `F~{id}`; one of a newer schema, or without a column that must be there, is unreadable.
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
