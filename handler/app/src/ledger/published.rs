//! The paths that results are published to: each is noted before it is written, and its events never trigger, whatever the rules say
//! by then.
//!
//! A note is `O~{key}` with `M~{yyyyMMdd}~{key}` beside it, as those of names ([`moved`](super::moved)). Where nothing was ever
//! published no event costs a read for it: a row among the controls, which every process reads anyway, says before the first note
//! that something was.

use std::sync::atomic::Ordering;

use lifecycle::digest::digest;
use lifecycle::{ScoringId, UnversionedBlob};
use time::OffsetDateTime;

use super::{Error, Ledger, controls, rows};
use crate::ports::table_store::{self, Entity, Key, Op};

fn key_of(blob: &UnversionedBlob) -> String {
    digest(&["published", &blob.account, &blob.container, &blob.path])
}

impl Ledger {
    /// Whether this is the first time that anything is published. Other processes learn of it when they next read the controls; until
    /// then they would take what is written for an upload.
    pub async fn begins_publishing(&self, now: OffsetDateTime) -> Result<bool, Error> {
        if self.0.published.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let key = Key::new(controls::PARTITION, "published~ever");
        let row = Entity::new(key).with("SchemaVersion", rows::SCHEMA).with("Since", now);
        let is_first = match self.write(&[Op::Insert(row)]).await {
            Ok(_) => true,
            Err(table_store::Error::AlreadyExists { .. } | table_store::Error::Conflict { .. }) => false,
            // If it was written, the next look finds it there, and all others have had time to.
            Err(error) => return Err(error.into()),
        };
        self.0.published.store(true, Ordering::Relaxed);
        Ok(is_first)
    }

    /// Notes that a scoring's result is about to be written there.
    pub async fn note_published(&self, at: &UnversionedBlob, of: &ScoringId, now: OffsetDateTime) -> Result<(), Error> {
        let published = |note: Entity| {
            note.with("BlobUrl", at.url.as_str()).with("ScoringId", of.as_str()).with("PublishedTime", now)
        };
        self.note(&key_of(at), published, now).await
    }

    /// The scoring whose result was last about to be published at this path, if one ever was. Its row tells whether it came to that: what
    /// was published and taken away since still is newer than what comes late. Asked where nothing of this ledger lies at a path: one read,
    /// and one of the row if another scoring was there.
    pub async fn published_at(&self, blob: &UnversionedBlob) -> Result<Option<ScoringId>, Error> {
        let Some(note) = self.noted(&key_of(blob)).await? else { return Ok(None) };
        let read = rows::Reader(&note);
        Ok(Some(read.scoring_id("ScoringId", &read.string("ScoringId")?)?))
    }
}
