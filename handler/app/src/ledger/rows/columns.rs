//! What all rows have in common: their schema, how much a property takes, how columns are written and read.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use lifecycle::publishing::Publishing;
use lifecycle::{Job, Origin, ScoringId, Status};
use time::OffsetDateTime;

use crate::ports::table_store::Entity;

/// Version of these columns. Readers accept this one and older; a newer one may have columns that a write of ours would
/// drop.
pub const SCHEMA: i32 = 1;

/// What a property of a row holds, in UTF-16 units.
pub(crate) const MAX_PROPERTY: usize = 32_768;

/// What is kept of a text that comes from outside, in UTF-16 units: beside it stand others, and where it becomes part of a
/// JSON text it may grow to six times this.
pub(crate) const MAX_FOREIGN: usize = 4_000;

/// What is kept of an error in an index, in UTF-16 units: enough to group by.
pub(crate) const MAX_SHORT_ERROR: usize = 300;

/// What is kept of an event that was understood, in UTF-16 units. Event Grid's have about a thousand.
pub const MAX_EVENT: usize = 4_000;

/// A row that cannot be read: which, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("row {key}: {what}")]
pub struct Unreadable {
    /// The row's partition and row key, as `(s00, J~…)`.
    pub key: String,
    /// What is wrong with it, such as a column that is missing, and the remedy if there is one; a half sentence for people.
    pub what: String,
}

impl Unreadable {
    /// The scoring whose row it is, if the key tells.
    pub fn scoring(&self) -> Option<ScoringId> {
        self.key.split(|c: char| !c.is_ascii_hexdigit()).find_map(ScoringId::read)
    }
}

/// The beginning of a text, so many UTF-16 units long at most.
pub(crate) fn clipped(text: &str, units: usize) -> String {
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

pub(crate) fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Texts, or what is made of them, as a JSON list, readable in a storage browser; no column when there are none.
pub(crate) fn list<T: serde::Serialize>(texts: &[T]) -> Option<String> {
    (!texts.is_empty()).then(|| serde_json::to_string(texts).unwrap_or_default()) // they always serialise
}

/// Values by names in one text: a blob's metadata, a start's parameters.
pub(crate) fn by_name(kept: &BTreeMap<String, String>) -> Option<String> {
    // A map with string keys always serialises.
    (!kept.is_empty()).then(|| serde_json::to_string(kept).unwrap_or_default())
}

/// Events are what brings nearly all: they have no word.
pub(crate) fn origin_word(origin: Origin) -> Option<&'static str> {
    match origin {
        Origin::Told => None,
        Origin::FoundBySweep => Some("swept"),
        Origin::Backfilled { .. } => Some("backfilled"),
    }
}

pub(crate) fn backfill_slots(origin: Origin) -> Option<u32> {
    if let Origin::Backfilled { slots } = origin { slots } else { None }
}

/// A word that this version does not know gives way to nobody.
pub(crate) fn origin(row: &Entity) -> Origin {
    match row.string("Origin") {
        Some("swept") => Origin::FoundBySweep,
        Some("backfilled") => {
            Origin::Backfilled { slots: row.int32("BackfillSlots").and_then(|slots| u32::try_from(slots).ok()) }
        }
        _ => Origin::Told,
    }
}

pub(crate) struct Reader<'a>(pub(crate) &'a Entity);

impl Reader<'_> {
    pub(crate) fn wrong(&self, what: String) -> Unreadable {
        Unreadable { key: self.0.key.to_string(), what }
    }

    pub(crate) fn schema(&self) -> Result<(), Unreadable> {
        match self.0.int32("SchemaVersion") {
            Some(version) if version <= SCHEMA => Ok(()),
            Some(version) => Err(self.wrong(format!(
                "schema {version} is newer than {SCHEMA}, which this version reads; deploy the newer version again"
            ))),
            None => Err(self.wrong("`SchemaVersion` is missing".to_owned())),
        }
    }

    pub(crate) fn id(&self, prefix: &str) -> Result<ScoringId, Unreadable> {
        let id = self.0.key.row.strip_prefix(prefix).and_then(ScoringId::read);
        id.ok_or_else(|| self.wrong(format!("the key is not {prefix} and an id")))
    }

    pub(crate) fn string(&self, name: &str) -> Result<String, Unreadable> {
        self.0.string(name).map(str::to_owned).ok_or_else(|| self.wrong(format!("`{name}` is missing or not a string")))
    }

    pub(crate) fn parsed<T: FromStr<Err: fmt::Display>>(&self, name: &str) -> Result<T, Unreadable> {
        self.parsed_if_there(name)?.ok_or_else(|| self.wrong(format!("`{name}` is missing or not a string")))
    }

    pub(crate) fn parsed_if_there<T: FromStr<Err: fmt::Display>>(&self, name: &str) -> Result<Option<T>, Unreadable> {
        let read = self.0.string(name).map(str::parse).transpose();
        read.map_err(|error| self.wrong(format!("`{name}`: {error}")))
    }

    pub(crate) fn number(&self, name: &str) -> Result<u32, Unreadable> {
        let number = self.0.int32(name).and_then(|number| u32::try_from(number).ok());
        number.ok_or_else(|| self.wrong(format!("`{name}` is missing or not a count")))
    }

    pub(crate) fn time(&self, name: &str) -> Result<OffsetDateTime, Unreadable> {
        self.0.time(name).ok_or_else(|| self.wrong(format!("`{name}` is missing or not a time")))
    }

    pub(crate) fn list<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Vec<T>, Unreadable> {
        let Some(text) = self.0.string(name) else { return Ok(Vec::new()) };
        serde_json::from_str(text).map_err(|e| self.wrong(format!("`{name}` is not a readable list: {e}")))
    }

    pub(crate) fn by_name(&self, name: &str) -> Result<BTreeMap<String, String>, Unreadable> {
        let Some(text) = self.0.string(name) else { return Ok(BTreeMap::new()) };
        serde_json::from_str(text).map_err(|e| self.wrong(format!("`{name}` is not readable: {e}")))
    }

    pub(crate) fn publishing(&self) -> Result<Option<Publishing>, Unreadable> {
        let read = self.0.string("Publishing").map(serde_json::from_str).transpose();
        read.map_err(|e| self.wrong(format!("`Publishing` is not readable: {e}")))
    }

    pub(crate) fn scoring_id(&self, name: &str, text: &str) -> Result<ScoringId, Unreadable> {
        ScoringId::read(text).ok_or_else(|| self.wrong(format!("`{name}` is not the id of a scoring")))
    }

    pub(crate) fn status(&self) -> Result<Status, Unreadable> {
        self.parsed("State")
    }

    pub(crate) fn job(&self) -> Option<Job> {
        Some(Job {
            name: self.0.string("JobName")?.parse().ok()?,
            id: self.0.string("JobId").map(str::to_owned),
            studio: self.0.string("JobStudio").map(str::to_owned),
        })
    }
}
