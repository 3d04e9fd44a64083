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
