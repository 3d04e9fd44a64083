//! The manifests of days: one row for each day, and its lines in rows behind it, in the partition `manifest`.
//!
//! A day is written by whoever has claimed its row, some lines at a time: these and what the row says of them are one transaction, so
//! that whoever dies leaves a whole beginning, and the next one goes on behind it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::{Date, OffsetDateTime};

use super::{Error, Ledger, Rows, rows};
use crate::ports::table_store::{self, ETag, Entity, IfMatch, Key, Op, Range};
use lifecycle::coverage::Outcome;

const PARTITION: &str = "manifest";

/// The manifest of a day, as far as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DayManifest {
    /// The day whose versions it accounts for, of UTC.
    pub day: Date,
    /// The digest of the day before; of the first one there is none.
    pub before: String,
    /// The digest over the day before and all lines so far; the day's own once all is written.
    pub digest: String,
    /// Lines that are written, each of which tells of one version or event.
    pub lines: u64,
    /// Rows that they lie in.
    pub chunks: u32,
    /// The part that the next lines come from; `Done` once there are no more.
    pub next: ManifestPart,
    /// The place behind which that goes on.
    pub after: Option<String>,
    /// Until when nobody else writes it.
    #[serde(with = "time::serde::rfc3339")]
    pub claimed_until: OffsetDateTime,
    /// By rule, how many by what accounts for them.
    pub counts: BTreeMap<String, BTreeMap<Outcome, u64>>,
}

/// What a manifest is made of, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ManifestPart {
    /// Scorings that were accepted that day.
    Scorings,
    /// Events that no rule wanted.
    Skipped,
    /// Events that could not be read.
    Quarantined,
    /// What waited for a look when it was written.
    Waiting,
    /// The manifest is whole: nothing is added to it any more.
    Done,
}

fn day_key(day: Date) -> Key {
    Key::new(PARTITION, format!("D~{day}"))
}

fn chunk_key(day: Date, chunk: u32) -> Key {
    Key::new(PARTITION, format!("L~{day}~{chunk:06}"))
}

impl Ledger {
    /// The manifests of the days since then, the oldest first.
    pub async fn manifests(&self, since: Date) -> Result<Rows<(DayManifest, ETag)>, Error> {
        let Key { partition, row: from } = day_key(since);
        let found = self.all(&self.0.state, &Range { partition, from, below: "D~~".to_owned() }, usize::MAX).await?;
        Ok(Rows::of(found.into_iter().map(|row| {
            let read = rows::Reader(&row.entity);
            read.schema()?;
            let json = read.string("Manifest")?;
            let manifest =
                serde_json::from_str(&json).map_err(|why| read.wrong(format!("it is no manifest: {why}")))?;
            Ok((manifest, row.etag))
        })))
    }

    /// Keeps a manifest with the lines that were added, if it is as it was at `etag`; `None`: if there is none of its day. Its version
    /// then; `None` if somebody else has changed it, or nobody knows.
    pub async fn keep_manifest(
        &self,
        manifest: &DayManifest,
        added: &[String],
        etag: Option<&ETag>,
    ) -> Result<Option<ETag>, Error> {
        // Numbers, times and texts always serialise.
        let json = serde_json::to_string(manifest).unwrap_or_default();
        let row = Entity::new(day_key(manifest.day)).with("SchemaVersion", rows::SCHEMA).with("Manifest", json);
        let mut ops = vec![match etag {
            Some(etag) => Op::Replace(row, IfMatch::Tag(etag.clone())),
            None => Op::Insert(row),
        }];
        let first = manifest.chunks.saturating_sub(u32::try_from(added.len()).unwrap_or(u32::MAX));
        ops.extend((first..).zip(added).map(|(chunk, lines)| {
            let row = Entity::new(chunk_key(manifest.day, chunk)).with("SchemaVersion", rows::SCHEMA);
            Op::Insert(row.with("Lines", lines.as_str()))
        }));
        match self.write(&ops).await {
            Ok(etags) => super::first(etags).map(Some),
            // What was written in truth is gone on with by the next run.
            Err(
                table_store::Error::Conflict { .. }
                | table_store::Error::Missing { .. }
                | table_store::Error::AlreadyExists { .. }
                | table_store::Error::Ambiguous(_),
            ) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The lines of one row of a manifest; `None`: there is none, or not any more.
    pub async fn manifest_lines(&self, day: Date, chunk: u32) -> Result<Option<String>, Error> {
        let row = self.row(&chunk_key(day, chunk)).await?;
        Ok(row.and_then(|row| row.entity.string("Lines").map(str::to_owned)))
    }

    /// Removes lines of manifests of days before this one, at most `max` rows of them. What their days' rows say stays.
    pub async fn purge_manifests(&self, before: Date, max: usize) -> Result<(), Error> {
        let range = Range { partition: PARTITION.to_owned(), from: "L~".to_owned(), below: format!("L~{before}") };
        let old = self.all(&self.0.state, &range, max).await?;
        for batch in old.chunks(100) {
            let ops: Vec<Op> = batch.iter().map(|row| Op::Delete(row.entity.key.clone(), IfMatch::Any)).collect();
            self.delete(&ops).await?;
        }
        Ok(())
    }
}
