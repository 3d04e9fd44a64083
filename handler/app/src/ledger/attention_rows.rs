//! Rows of scorings that need a person, and back; see `attention.rs`.

use lifecycle::id::RuleId;
use lifecycle::publishing::Publishing;
use lifecycle::{FailureCause, Scoring, ScoringId, Status};
use time::OffsetDateTime;

use super::rows::{self, Reader, Unreadable};
use crate::ports::table_store::{Entity, Key};

/// What the keys of these rows begin with.
pub(super) const PREFIX: &str = "A~";

/// What such a row says of a group.
const GROUP: &str = "group";

/// A scoring that needs a person until they acknowledge it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unacknowledged {
    /// Id of the scoring or group, from the row's key.
    pub id: ScoringId,
    /// Its status (`State`): not always `failed`, as orphaned jobs and unpublished results need a person too.
    pub status: Status,
    /// It is no scoring of a blob but a group of some.
    pub is_group: bool,
    /// Id of the rule that it is scored under (`RuleId`). The rules may not hold it any more.
    pub rule: RuleId,
    /// The key of its blob, as rows of what was received have it.
    pub blob: String,
    /// When it was accepted (`CreatedTime`); a group, when it was sealed.
    pub created: OffsetDateTime,
    /// Since when it needs them.
    pub since: OffsetDateTime,
    /// Whose fault it is that it failed.
    pub failure: Option<FailureCause>,
    /// Why it failed, its beginning; `None` where the scoring has no error.
    pub error: Option<String>,
    /// How many jobs of it were orphaned.
    pub orphaned_jobs: u32,
    /// Why its result is not published, though it should be.
    pub not_published: Option<String>,
    /// Whether an order may still publish it.
    pub can_be_published: bool,
}

impl Unacknowledged {
    /// It is a scoring that failed. That a group failed is no failure of its own: its members tell of theirs.
    pub fn is_failed_scoring(&self) -> bool {
        self.status == Status::Failed && !self.is_group
    }
}

/// Key of the row `A~{id}`, which is there while the scoring needs a person.
pub fn attention_key(id: &ScoringId) -> Key {
    Key::new(rows::partition_of(id), format!("{PREFIX}{id}"))
}

pub(super) fn to_row(s: &Scoring) -> Entity {
    Entity::new(attention_key(&s.id))
        .with("SchemaVersion", rows::SCHEMA)
        .with("State", s.status.name())
        .with_some("Grouping", s.is_group().then_some(GROUP))
        .with("RuleId", s.rule.as_str())
        .with("BlobKey", rows::blob_key(&s.blob.container, &s.blob.path))
        .with("CreatedTime", s.created)
        .with("Since", s.completed.unwrap_or(s.updated))
        .with_some("FailureCause", s.failure.map(FailureCause::name))
        .with_some("Error", s.error.as_deref().map(|error| rows::clipped(error, rows::MAX_SHORT_ERROR)))
        .with("OrphanedJobCount", rows::count(s.orphaned_job_count))
        .with_some("NotPublished", s.publishing.as_ref().and_then(Publishing::needs_person))
        .with_some(
            "CanBePublished",
            s.publishing.as_ref().filter(|all| all.needs_person().is_some()).map(Publishing::can_be_ordered),
        )
}

pub(super) fn from_row(row: &Entity) -> Result<Unacknowledged, Unreadable> {
    let read = Reader(row);
    read.schema()?;
    let id = row.key.row.rsplit('~').next().and_then(ScoringId::read);
    Ok(Unacknowledged {
        id: id.ok_or_else(|| read.wrong("the key has no id".to_owned()))?,
        status: read.parsed("State")?,
        is_group: row.string("Grouping") == Some(GROUP),
        rule: read.parsed("RuleId")?,
        blob: read.string("BlobKey")?,
        created: read.time("CreatedTime")?,
        since: read.time("Since")?,
        failure: read.parsed_if_there("FailureCause")?,
        error: row.string("Error").map(str::to_owned),
        orphaned_jobs: read.number("OrphanedJobCount")?,
        not_published: row.string("NotPublished").map(str::to_owned),
        can_be_published: row.boolean("CanBePublished").unwrap_or(false),
    })
}
