//! How far the jobs behind each endpoint were scanned: one row per endpoint in the partition `orphan-scan`.
//!
//! It only spares work. Two ticks that scan at once, or a row that is lost, make jobs be looked at once more.

use lifecycle::id::EndpointUri;
use time::OffsetDateTime;

use crate::ports::table_store::{Entity, Key};

use super::{Error, Ledger, rows};

/// How far the jobs of an endpoint were scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrphanScan {
    /// When that orphan scan began.
    pub at: OffsetDateTime,
    /// Every job made before this was seen.
    pub through: OffsetDateTime,
}

fn key(endpoint: &EndpointUri) -> Key {
    Key::new("orphan-scan", endpoint.key().as_str())
}

impl Ledger {
    /// How far the jobs of this endpoint were scanned, if they ever were.
    pub async fn orphan_scan(&self, endpoint: &EndpointUri) -> Result<Option<OrphanScan>, Error> {
        let row = self.row(&key(endpoint)).await?;
        let time = |name| row.as_ref().and_then(|row| row.entity.time(name));
        Ok(time("ScanTime").zip(time("ThroughTime")).map(|(at, through)| OrphanScan { at, through }))
    }

    /// Keeps how far it came.
    pub async fn record_orphan_scan(&self, endpoint: &EndpointUri, orphan_scan: OrphanScan) -> Result<(), Error> {
        let row = Entity::new(key(endpoint))
            .with("SchemaVersion", rows::SCHEMA)
            .with("Endpoint", endpoint.as_str())
            .with("ScanTime", orphan_scan.at)
            .with("ThroughTime", orphan_scan.through);
        self.upsert_row(row).await
    }
}
