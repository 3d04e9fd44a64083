//! The first names of blobs that were moved after they were scored, or that are outputs of ours; and the versions that events which
//! name none have brought, as those of renames do.
//!
//! A version is known to the ledger under the name that it had when it was scored. Moved on from a second name it would be a
//! stranger, so that each move of such a version leaves a note: `O~{key}` under its new name, and `M~{yyyyMMdd}~{key}` beside
//! it, by which the note goes with others of its day. It is of use while its scoring is remembered. What an event has brought is
//! noted in the same way.

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
        let urls = |note: Entity| note.with("BlobUrl", moved.url.as_str()).with("FirstUrl", first.url.as_str());
        self.note(&key_of(moved), urls, now).await
    }

    /// The version under the name that it had when it was scored or written, if it was moved since.
    pub async fn first_name(&self, blob: &BlobVersion) -> Result<Option<BlobVersion>, Error> {
        let note = self.noted(&key_of(blob)).await?;
        // A note that cannot be read costs what it would have saved.
        Ok(note.and_then(|note| BlobVersion::read(note.string("FirstUrl")?, &blob.etag).ok()))
    }

    /// Notes which version an event has brought that names none; `event` is its [key](lifecycle::PendingUpload::event_key).
    pub async fn note_brought(&self, event: &str, etag: &str, now: OffsetDateTime) -> Result<(), Error> {
        self.note(event, |note| note.with("Brought", etag), now).await
    }

    /// ETag of the version that it has brought.
    pub async fn brought(&self, event: &str) -> Result<Option<String>, Error> {
        Ok(self.noted(event).await?.and_then(|note| note.string("Brought").map(str::to_owned)))
    }

    async fn note(&self, key: &str, of: impl FnOnce(Entity) -> Entity, now: OffsetDateTime) -> Result<(), Error> {
        let named =
            |row: String| Entity::new(Key::new(rows::partition_of_key(key), row)).with("SchemaVersion", rows::SCHEMA);
        let note = of(named(format!("{NOTE}{key}")));
        let by_day = named(format!("{BY_DAY}{}~{key}", rows::day(now)));
        self.upsert_rows(&[Op::Upsert(note), Op::Upsert(by_day)]).await
    }

    async fn noted(&self, key: &str) -> Result<Option<Entity>, Error> {
        Ok(self.row(&Key::new(rows::partition_of_key(key), format!("{NOTE}{key}"))).await?.map(|row| row.entity))
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
