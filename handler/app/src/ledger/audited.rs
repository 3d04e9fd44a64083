//! How far the jobs behind each endpoint were audited: one row per endpoint in the partition `audit`.
//!
//! It only spares work. Two ticks that audit at once, or a row that is lost, make jobs be looked at once more.

use lifecycle::id::EndpointUri;
use time::OffsetDateTime;

use crate::ports::table_store::{Entity, Key};

use super::{Error, Ledger, rows};

/// How far the jobs of an endpoint were audited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audited {
    /// When that audit began.
    pub at: OffsetDateTime,
    /// Every job made before this was seen.
    pub through: OffsetDateTime,
}

fn key(endpoint: &EndpointUri) -> Key {
    Key::new("audit", endpoint.key().as_str())
}

impl Ledger {
    /// How far the jobs of this endpoint were audited, if they ever were.
    pub async fn audited(&self, endpoint: &EndpointUri) -> Result<Option<Audited>, Error> {
        let row = self.row(&key(endpoint)).await?;
        let time = |name| row.as_ref().and_then(|row| row.entity.time(name));
        Ok(time("AuditTime").zip(time("ThroughTime")).map(|(at, through)| Audited { at, through }))
    }

    /// Keeps how far it came.
    pub async fn keep_audited(&self, endpoint: &EndpointUri, audited: Audited) -> Result<(), Error> {
        let row = Entity::new(key(endpoint))
            .with("SchemaVersion", rows::SCHEMA)
            .with("Endpoint", endpoint.as_str())
            .with("AuditTime", audited.at)
            .with("ThroughTime", audited.through);
        self.note(row).await
    }
}
