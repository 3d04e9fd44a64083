//! `T~{hour}~{id}`, and `G~{hour}~{id}` of groups: what has ended.

use lifecycle::id::RuleId;
use lifecycle::{Scoring, ScoringId, Status};
use time::{Duration, OffsetDateTime};

use super::columns::{Reader, SCHEMA, Unreadable};
use super::keys::{TERMINAL, blob_key, end_key, time_of};
use crate::ports::table_store::Entity;

/// A final scoring as the terminal index has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminal {
    /// The scoring's id, from the row's key.
    pub id: ScoringId,
    /// The status that it ended in (`State`).
    pub status: Status,
    /// Id of the rule that it was scored under (`RuleId`). The rules may not hold it any more.
    pub rule: RuleId,
    /// The batch endpoint's invoke URI; `None` in rows that do not tell.
    pub endpoint: Option<String>,
    /// The deployment that was asked for; `None`: the endpoint's default.
    pub deployment: Option<String>,
    /// When it was accepted (`CreatedTime`); when it ended, the row's key tells to the hour.
    pub created: OffsetDateTime,
    /// The key of its blob, as rows of what was received have it.
    pub blob: String,
    /// How long its last attempt took, from the intent to its end.
    pub took: Option<Duration>,
    /// RowKey of the index row.
    pub row: String,
}

impl Terminal {
    /// The hour in which it ended.
    pub fn hour(&self) -> Option<OffsetDateTime> {
        time_of(self.row.strip_prefix(TERMINAL)?.split('~').next()?)
    }
}

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

/// Reads the row `T~{hour}~{id}`; one of a newer schema, or without a column that must be there, is unreadable.
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
