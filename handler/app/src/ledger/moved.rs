//! The first names of blobs that were moved after they were scored, or that are outputs of ours; and the versions that events which
//! name none have brought, as those of renames do.
//!
//! A version is known to the ledger under the name that it had when it was scored. Moved on from a second name it would be a
//! stranger, so that each move of such a version leaves a note: `O~{key}` under its new name, and `M~{yyyyMMdd}~{key}` beside
//! it, by which the note goes with others of its day. It is of use while its scoring is remembered.
//!
//! Of a move after which nobody saw the version, as it was moved on at once, or to a name that no rule wants, or with its folder, the
//! names alone are noted, as its event tells them. What an event has brought is noted under what identifies the event.

use lifecycle::digest::digest;
use lifecycle::renamed::{NameChange, Renamed, file_of};
use lifecycle::{BlobVersion, UnversionedBlob};
use time::OffsetDateTime;

use super::{Error, Ledger, rows};
use crate::ports::table_store::{Entity, IfMatch, Key, Op, Range};

/// Prefix of the notes' keys.
const NOTE: &str = "O~";
/// Folders above a blob that are asked for: a hierarchical namespace, which alone has renames, takes 63 segments.
const MAX_FOLDERS: usize = 63;
/// Prefix of the keys of the index by day.
const BY_DAY: &str = "M~";

fn key_of(blob: &BlobVersion) -> String {
    digest(&["moved", &blob.url, &blob.etag])
}

fn key_of_names(of: Renamed, url: &str) -> String {
    let of = match of {
        Renamed::Blob => "blob",
        Renamed::Folder => "folder",
    };
    digest(&["names", of, url])
}

/// Key of the row `O~{key}`; `key` is the digest of the version, of the name or of the event that it is a note of.
pub(super) fn note_key(key: &str) -> Key {
    Key::new(rows::partition_of_key(key), format!("{NOTE}{key}"))
}

/// The row beside a note by which it goes with others of its day.
pub(super) fn by_day(key: &str, now: OffsetDateTime) -> Op {
    let row = Key::new(rows::partition_of_key(key), format!("{BY_DAY}{}~{key}", rows::day(now)));
    Op::Upsert(Entity::new(row).with("SchemaVersion", rows::SCHEMA))
}

/// A name that a blob may have had before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerName {
    /// URL that the blob had before, as far as notes of renames tell.
    pub url: String,
    /// When it got the name that it had next, if that was told.
    pub until: Option<OffsetDateTime>,
}

impl Ledger {
    /// Notes that a version has another name now. The same note twice is one.
    pub async fn note_moved(&self, moved: &BlobVersion, first: &BlobVersion, now: OffsetDateTime) -> Result<(), Error> {
        let urls = |note: Entity| note.with("BlobUrl", moved.url.as_str()).with("FirstUrl", first.url.as_str());
        self.note(&key_of(moved), urls, now).await
    }

    /// Notes the names of a blob or folder whose version nobody saw under the new one. What it was called before a rename to the same
    /// name, of another blob, is not noted any more.
    pub async fn note_names(&self, change: &NameChange, now: OffsetDateTime) -> Result<(), Error> {
        let key = key_of_names(change.of, &change.to.url);
        let names = |note: Entity| {
            let note = note.with("BlobUrl", change.to.url.as_str()).with_some("EventTime", change.at);
            note.with_some("SourceUrls", rows::list(&change.from))
        };
        self.note(&key, names, now).await
    }

    /// What a blob may have been called before, by the notes of names: its own, and of the folders that it lies in.
    pub async fn former_names(&self, blob: &UnversionedBlob) -> Result<Vec<FormerName>, Error> {
        let mut asked = vec![(key_of_names(Renamed::Blob, &blob.url), None)];
        for (at, _) in blob.path.match_indices('/').take(MAX_FOLDERS) {
            let (folder, rest) = (&blob.path[..at], &blob.path[at + 1..]);
            if let Ok(folder) = blob.beside(folder) {
                asked.push((key_of_names(Renamed::Folder, &folder.url), Some(rest)));
            }
        }
        let read =
            asked.iter().map(async |(key, rest)| Ok::<_, Error>(self.noted(key).await?.map(|note| (note, *rest))));
        let mut names = Vec::new();
        for (note, rest) in futures::future::try_join_all(read).await?.into_iter().flatten() {
            // A note that cannot be read costs what it would have saved.
            let from: Vec<String> = rows::Reader(&note).list("SourceUrls").unwrap_or_default();
            let until = note.time("EventTime");
            let urls = from.into_iter().filter_map(|url| rest.map_or(Some(url.clone()), |rest| file_of(&url, rest)));
            names.extend(urls.map(|url| FormerName { url, until }));
        }
        Ok(names)
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
        let note = of(Entity::new(note_key(key)).with("SchemaVersion", rows::SCHEMA));
        self.upsert_rows(&[Op::Upsert(note), by_day(key, now)]).await
    }

    async fn noted(&self, key: &str) -> Result<Option<Entity>, Error> {
        Ok(self.row(&note_key(key)).await?.map(|row| row.entity))
    }

    /// Removes notes of days before `cutoff` out of one shard, at most `max`.
    pub(super) async fn purge_moved(&self, shard: u8, cutoff: OffsetDateTime, max: usize) -> Result<(), Error> {
        let below = format!("{BY_DAY}{}", rows::day(cutoff));
        let range = Range { partition: rows::shard(shard), from: BY_DAY.to_owned(), below };
        for row in self.all(&self.0.state, &range, max).await? {
            let Key { partition, row: by_day } = row.entity.key;
            let key = by_day.rsplit('~').next().unwrap_or_default();
            // Of a path that was published to since, an event may still come.
            let published = self.noted(key).await?.and_then(|note| note.time("PublishedTime"));
            let note =
                (published.is_none_or(|at| at < cutoff)).then(|| Key::new(partition.as_str(), format!("{NOTE}{key}")));
            // One by one: of a version that was moved to one name on two days the note is gone by the first.
            for key in note.into_iter().chain([Key::new(partition.as_str(), by_day)]) {
                self.delete(&[Op::Delete(key, IfMatch::Any)]).await?;
            }
        }
        Ok(())
    }
}
