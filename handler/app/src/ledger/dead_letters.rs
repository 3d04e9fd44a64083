//! How many dead letters are left, for anybody who can read the ledger: one row, written after each look, while there are some.
//!
//! It stands beside the heartbeat, as the problem of the rules does. Nothing is decided by it.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Error, Ledger, rows};
use crate::ports::table_store::{Entity, Key};

const PARTITION: &str = "heartbeat";
const ROW: &str = "dead-letters";

/// Dead letters that lie where Event Grid wrote them, as they were seen last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLettersLeft {
    /// URL of the container that they lie in, for people.
    pub place: String,
    /// How many could not be taken in, or not yet.
    pub left: u64,
    /// How many are older than what the ledger remembers, beside these.
    pub too_old: u64,
    /// Why the first of them was not taken in, or why they could not be listed.
    pub failure: Option<String>,
    /// Since when there are some.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

impl Ledger {
    /// Keeps what is left; `None`: nothing is.
    pub async fn record_dead_letters(&self, left: Option<&DeadLettersLeft>) -> Result<(), Error> {
        let row = Entity::new(Key::new(PARTITION, ROW)).with("SchemaVersion", rows::SCHEMA);
        // Numbers, times and texts always serialise.
        let json = left.map(|left| serde_json::to_string(left).unwrap_or_default());
        self.upsert_row(row.with_some("Left", json)).await
    }

    /// What was left when somebody looked last.
    pub async fn dead_letters(&self) -> Result<Option<DeadLettersLeft>, Error> {
        let row = self.row(&Key::new(PARTITION, ROW)).await?;
        Ok(row.and_then(|row| serde_json::from_str(row.entity.string("Left")?).ok()))
    }
}
