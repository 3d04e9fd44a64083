//! Versions that were taken in without an event of their own: at most [`MAX_UNANNOUNCED`] an hour of one path.
//!
//! A row for each path and hour, `V~{yyyyMMddHH}~{key}`, names the versions. Counted are those of the hour that ends now, out
//! of two rows at most, so that the turn of an hour lets no more through; written is the row of the present hour, by
//! compare-and-swap. Kept for the retention, like other notes.

use lifecycle::BlobVersion;
use lifecycle::digest::digest;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::{Error, Ledger, rows};
use crate::ports::table_store::{self, Entity, IfMatch, Key, Op};

/// Versions of one path that are scored within an hour without an event of their own.
pub const MAX_UNANNOUNCED: usize = 3;
/// Prefix of the rows' keys.
pub(super) const PREFIX: &str = "V~";
/// Attempts against other processes that count for the same path.
const MAX_TRIES: usize = 5;

/// What came of counting a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unannounced {
    /// It is among those that may be scored.
    Counted,
    /// It is one too many.
    TooMany {
        /// When the next may be.
        until: OffsetDateTime,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Counted {
    etag: String,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
}

impl Ledger {
    /// Counts a version that a look has shown; the same one for a second rule, or after a lost answer, counts once.
    pub async fn count_unannounced(&self, blob: &BlobVersion, now: OffsetDateTime) -> Result<Unannounced, Error> {
        let path = digest(&[&blob.url]);
        let key =
            |at: OffsetDateTime| Key::new(rows::partition_of_key(&path), format!("{PREFIX}{}~{path}", rows::hour(at)));
        let last_hour = match self.row(&key(now - Duration::HOUR)).await? {
            Some(row) => versions(&row.entity)?,
            None => Vec::new(),
        };
        for _ in 0..MAX_TRIES {
            let present = self.row(&key(now)).await?;
            let mut this_hour = match &present {
                Some(row) => versions(&row.entity)?,
                None => Vec::new(),
            };
            let counted: Vec<&Counted> =
                last_hour.iter().chain(&this_hour).filter(|counted| now - counted.at < Duration::HOUR).collect();
            if counted.iter().any(|counted| counted.etag == blob.etag) {
                return Ok(Unannounced::Counted);
            }
            if counted.len() >= MAX_UNANNOUNCED {
                let first = counted.iter().map(|counted| counted.at).min().unwrap_or(now);
                return Ok(Unannounced::TooMany { until: first + Duration::HOUR });
            }
            this_hour.push(Counted { etag: blob.etag.clone(), at: now });
            let row = Entity::new(key(now))
                .with("SchemaVersion", rows::SCHEMA)
                .with("BlobUrl", blob.url.as_str())
                .with("Versions", serde_json::to_string(&this_hour).unwrap_or_default()); // texts always serialise
            let op = match present {
                Some(present) => Op::Replace(row, IfMatch::Tag(present.etag)),
                None => Op::Insert(row),
            };
            match self.write(&[op]).await {
                Ok(_) => return Ok(Unannounced::Counted),
                // Somebody else counted, or our own answer was lost: read again, and found counted if it was us.
                Err(
                    table_store::Error::Conflict { .. }
                    | table_store::Error::AlreadyExists { .. }
                    | table_store::Error::Missing { .. }
                    | table_store::Error::Ambiguous(_),
                ) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Unavailable(table_store::Error::Unavailable(format!(
            "the count of unannounced versions of {} keeps changing",
            blob.url
        ))))
    }
}

fn versions(row: &Entity) -> Result<Vec<Counted>, rows::Unreadable> {
    let text = row.string("Versions").unwrap_or("[]");
    serde_json::from_str(text).map_err(|error| rows::Unreadable {
        key: row.key.to_string(),
        what: format!("`Versions` is not a list of versions: {error}"),
    })
}
