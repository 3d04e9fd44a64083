//! How far each backfill is: one row for each in the partition `backfill`, changed by whoever has claimed it with each page.

use lifecycle::backfill::BackfillCounts;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Error, Ledger, Rows, Unreadable, rows};
use crate::ports::table_store::{self, ETag, Entity, IfMatch, Key, Op, Range};

const PARTITION: &str = "backfill";

/// A backfill of one place under a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackfillRow {
    /// The same for the same order.
    pub key: String,
    /// Id of the rule, as text: the rules may not hold it any more.
    pub rule: String,
    /// What is listed, for people.
    pub place: String,
    /// Who ordered it, and why.
    pub order: String,
    /// Blobs that its plan has listed, if one was made.
    pub expected: Option<u64>,
    /// When its first run began; `since` and `until` that were told from now are counted from here.
    #[serde(with = "time::serde::rfc3339")]
    pub began: OffsetDateTime,
    /// Of what was written since then.
    #[serde(with = "time::serde::rfc3339::option")]
    pub since: Option<OffsetDateTime>,
    /// Of what was written before then.
    #[serde(with = "time::serde::rfc3339::option")]
    pub until: Option<OffsetDateTime>,
    /// Until when nobody else works on it.
    #[serde(with = "time::serde::rfc3339::option")]
    pub claimed_until: Option<OffsetDateTime>,
    /// A person wants it to rest.
    pub paused: bool,
    /// Where its next page begins.
    pub cursor: Option<String>,
    /// What became of the blobs of the pages that are done; a run that goes on adds to it.
    pub done: BackfillCounts,
    /// When it came to its end.
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended: Option<OffsetDateTime>,
}

impl Ledger {
    /// All backfills, those that ended too.
    pub async fn backfills(&self) -> Result<Rows<(BackfillRow, ETag)>, Error> {
        let range = Range { partition: PARTITION.to_owned(), from: String::new(), below: "~".to_owned() };
        let found = self.all(&self.0.state, &range, usize::MAX).await?;
        Ok(Rows::of(found.into_iter().map(|row| Ok((from_row(&row.entity)?, row.etag)))))
    }

    /// The backfill of this key.
    pub async fn backfill(&self, key: &str) -> Result<Option<(BackfillRow, ETag)>, Error> {
        let row = self.row(&Key::new(PARTITION, key)).await?;
        Ok(row.map(|row| Ok::<_, Unreadable>((from_row(&row.entity)?, row.etag))).transpose()?)
    }

    /// Keeps a backfill as it is now, if it is as it was at `etag`; `None`: if there is none yet. Its version then; `None` if somebody
    /// else changed it, or nobody knows.
    pub async fn keep_backfill(&self, backfill: &BackfillRow, etag: Option<&ETag>) -> Result<Option<ETag>, Error> {
        // Numbers, times and texts always serialise.
        let json = serde_json::to_string(backfill).unwrap_or_default();
        let row = Entity::new(Key::new(PARTITION, &backfill.key));
        let row = row.with("SchemaVersion", rows::SCHEMA).with("Backfill", json);
        let op = match etag {
            Some(etag) => Op::Replace(row, IfMatch::Tag(etag.clone())),
            None => Op::Insert(row),
        };
        match self.write(&[op]).await {
            Ok(etags) => super::first(etags).map(Some),
            Err(
                table_store::Error::Conflict { .. }
                | table_store::Error::Missing { .. }
                | table_store::Error::AlreadyExists { .. }
                | table_store::Error::Ambiguous(_),
            ) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn from_row(row: &Entity) -> Result<BackfillRow, Unreadable> {
    let read = rows::Reader(row);
    read.schema()?;
    serde_json::from_str(&read.string("Backfill")?).map_err(|why| read.wrong(format!("it is no backfill: {why}")))
}
