//! What is wrong with the rules where they lie in a blob, for anybody who can read the ledger: one row, written while it lasts.
//!
//! It stands beside the heartbeat, where releases from before do not look. Nothing is decided by it. A problem that nobody has written
//! for a while ended with the process that saw it.

use time::{Duration, OffsetDateTime};

use super::{Error, Ledger, rows};
use crate::ports::table_store::{Entity, Key};

const PARTITION: &str = "heartbeat";
const ROW: &str = "rules";
/// A problem that was seen this long ago is another one: it is written each minute while it lasts.
const LASTS: Duration = Duration::minutes(10);

/// What is wrong with the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulesProblem {
    /// URL of the blob that they lie in.
    pub blob: String,
    /// Why the blob cannot be read, or how the rules in it are broken; for people.
    pub text: String,
    /// ETag of the rules that hold meanwhile; `None`: there are none, and every invocation is refused.
    pub kept: Option<String>,
    /// When it was seen first, whatever was wrong then. Whoever records it says when it saw it; what the ledger knows counts.
    pub since: OffsetDateTime,
    /// When it was seen last.
    pub at: OffsetDateTime,
}

impl Ledger {
    /// Keeps the problem in the place of the last one. One that lasts keeps its beginning, across processes too: that costs a read.
    pub async fn record_rules_problem(&self, problem: &RulesProblem) -> Result<(), Error> {
        let before = self.rules_problem().await?.filter(|before| problem.at - before.at <= LASTS);
        let since = before.map_or(problem.since, |before| before.since.min(problem.since));
        let mut row = Entity::new(Key::new(PARTITION, ROW))
            .with("SchemaVersion", rows::SCHEMA)
            .with("RunTime", problem.at)
            .with("Since", since)
            .with("Blob", problem.blob.as_str())
            .with("Problem", problem.text.as_str());
        if let Some(kept) = &problem.kept {
            row = row.with("Kept", kept.as_str());
        }
        self.upsert_row(row).await
    }

    /// The problem is gone. One that was never there costs a read.
    pub async fn forget_rules_problem(&self) -> Result<(), Error> {
        if self.rules_problem().await?.is_none() {
            return Ok(());
        }
        self.upsert_row(Entity::new(Key::new(PARTITION, ROW)).with("SchemaVersion", rows::SCHEMA)).await
    }

    /// The last problem that was recorded and has not been forgotten.
    pub async fn rules_problem(&self) -> Result<Option<RulesProblem>, Error> {
        let Some(row) = self.row(&Key::new(PARTITION, ROW)).await? else { return Ok(None) };
        let text = |name: &str| row.entity.string(name).map(str::to_owned);
        let problem = || {
            Some(RulesProblem {
                blob: text("Blob")?,
                text: text("Problem")?,
                kept: text("Kept"),
                since: row.entity.time("Since")?,
                at: row.entity.time("RunTime")?,
            })
        };
        Ok(problem())
    }
}
