//! `H~{id}~{seq}`: a line of history.

use lifecycle::{Entry, Event, ScoringId, Status};

use super::columns::{MAX_FOREIGN, Reader, SCHEMA, Unreadable, clipped, count};
use super::keys::history_key;
use crate::ports::table_store::Entity;

/// Lines of history kept per scoring. Beyond it only final moves are written; the scoring itself is always whole.
pub const MAX_HISTORY_ENTRIES: i64 = 60;

/// The row `H~{id}~{seq}` of a line of history; a long reason is cut.
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
