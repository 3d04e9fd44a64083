//! The heartbeat: one row that each complete tick overwrites, so that anybody who can read the ledger sees whether the
//! timer lives.
//!
//! Nothing is decided by it. It stands in a partition of its own: releases from before it never read that, and go on
//! beside it.

use time::OffsetDateTime;

use super::{Error, Ledger, rows};
use crate::ports::table_store::{Entity, Key};

/// The last complete tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// When it began, by the clock of the process that made it.
    pub at: OffsetDateTime,
    /// Release of that process.
    pub version: String,
    /// Scorings that were not final then.
    pub in_flight: i64,
    /// How many things could not be done.
    pub errors: i64,
}

fn key() -> Key {
    Key::new("heartbeat", "reconcile")
}

impl Ledger {
    /// Keeps a heartbeat in the place of the last one. Of two at once either may stay.
    pub async fn record_heartbeat(&self, heartbeat: &Heartbeat) -> Result<(), Error> {
        let row = Entity::new(key())
            .with("SchemaVersion", rows::SCHEMA)
            .with("RunTime", heartbeat.at)
            .with("Release", heartbeat.version.as_str())
            .with("InFlight", heartbeat.in_flight)
            .with("Errors", heartbeat.errors);
        self.upsert_row(row).await
    }

    /// The last heartbeat, if there ever was one.
    pub async fn heartbeat(&self) -> Result<Option<Heartbeat>, Error> {
        let Some(row) = self.row(&key()).await? else { return Ok(None) };
        let entity = row.entity;
        Ok(entity.time("RunTime").map(|at| Heartbeat {
            at,
            version: entity.string("Release").unwrap_or_default().to_owned(),
            in_flight: entity.int64("InFlight").unwrap_or_default(),
            errors: entity.int64("Errors").unwrap_or_default(),
        }))
    }
}
