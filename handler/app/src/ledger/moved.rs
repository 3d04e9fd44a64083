//! The first names of blobs that were moved after they were scored, or that are outputs of ours.
//!
//! A version is known to the ledger under the name that it had when it was scored. Moved on from a second name it would be a
//! stranger, so that each move of such a version leaves a note: `O~{key}` under its new name, and `M~{yyyyMMdd}~{key}` beside
//! it, by which the note goes with others of its day. It is of use while its scoring is remembered.

use lifecycle::BlobVersion;
use lifecycle::digest::digest;
use time::OffsetDateTime;

use super::{Error, Ledger, rows};
use crate::ports::table_store::{Entity, IfMatch, Key, Op, Range};

/// Prefix of the notes' keys.
const NOTE: &str = "O~";
/// Prefix of the keys of the index by day.
const BY_DAY: &str = "M~";

fn key_of(blob: &BlobVersion) -> String {
    digest(&["moved", &blob.url, &blob.etag])
}

impl Ledger {
    /// Notes that a version has another name now. The same note twice is one.
    pub async fn note_moved(&self, moved: &BlobVersion, first: &BlobVersion, now: OffsetDateTime) -> Result<(), Error> {
        let key = key_of(moved);
        let named =
            |row: String| Entity::new(Key::new(rows::partition_of_key(&key), row)).with("SchemaVersion", rows::SCHEMA);
        let note =
            named(format!("{NOTE}{key}")).with("BlobUrl", moved.url.as_str()).with("FirstUrl", first.url.as_str());
        let by_day = named(format!("{BY_DAY}{}~{key}", rows::day(now)));
        self.upsert_rows(&[Op::Upsert(note), Op::Upsert(by_day)]).await
    }

    /// The version under the name that it had when it was scored or written, if it was moved since.
    pub async fn first_name(&self, blob: &BlobVersion) -> Result<Option<BlobVersion>, Error> {
        let key = key_of(blob);
        let Some(row) = self.row(&Key::new(rows::partition_of_key(&key), format!("{NOTE}{key}"))).await? else {
            return Ok(None);
        };
        // A note that cannot be read costs what it would have saved.
        Ok(row.entity.string("FirstUrl").and_then(|url| BlobVersion::read(url, &blob.etag).ok()))
    }

    /// Removes notes of days before `cutoff` out of one shard, at most `max`.
    pub(super) async fn purge_moved(&self, shard: u8, cutoff: OffsetDateTime, max: usize) -> Result<(), Error> {
        let below = format!("{BY_DAY}{}", rows::day(cutoff));
        let range = Range { partition: rows::shard(shard), from: BY_DAY.to_owned(), below };
        for row in self.all(&self.0.state, &range, max).await? {
            let Key { partition, row: by_day } = row.entity.key;
            let note = by_day.rsplit('~').next().map(|key| Key::new(partition.as_str(), format!("{NOTE}{key}")));
            // One by one: of a version that was moved to one name on two days the note is gone by the first.
            for key in note.into_iter().chain([Key::new(partition.as_str(), by_day)]) {
                self.delete(&[Op::Delete(key, IfMatch::Any)]).await?;
            }
        }
        Ok(())
    }
}
