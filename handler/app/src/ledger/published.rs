//! The paths that results are published to: each is noted before it is written, and its events never trigger, whatever the rules say
//! by then.
//!
//! A note is `O~{place}` with `M~{yyyyMMdd}~{place}` beside it, as those of names ([`moved`](super::moved)). Where nothing was ever
//! published no event costs a read for it: a row among the controls, which every process reads anyway, says before the first note
//! that something was.
//!
//! It names the newest results that were about to be written there, several of them, as it may come to nothing with the newest ones.
//! Never the one alone that came last: an older one that is late would take the place of a newer one, and once both are taken away
//! nothing would stop a third, older than both.

use std::sync::atomic::Ordering;

use lifecycle::publishing::PublishedPlace;
use lifecycle::{NotedResult, UnversionedBlob};
use time::OffsetDateTime;

use super::moved::{by_day, note_key};
use super::rows::Unreadable;
use super::{Error, Ledger, controls, rows};
use crate::ports::table_store::{self, Entity, IfMatch, Key, Op};

/// Results that a note names, the newest ones.
const MAX_NOTED: usize = 8;
/// Tries to note one while others note theirs; whoever loses them all looks again.
const MAX_TRIES: usize = 16;

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

    /// Notes that a result is about to be written there, beside those that were before.
    pub async fn note_published(
        &self,
        at: &UnversionedBlob,
        of: &NotedResult,
        now: OffsetDateTime,
    ) -> Result<(), Error> {
        let place = PublishedPlace::of(at);
        let key = note_key(place.as_str());
        let mut conflict = None;
        for _ in 0..MAX_TRIES {
            let row = self.row(&key).await?;
            // One that cannot be read costs what it would have told.
            let before = row.as_ref().and_then(|row| noted_in(&row.entity).ok()).unwrap_or_default();
            let note = Entity::new(key.clone())
                .with("SchemaVersion", rows::SCHEMA)
                .with("BlobUrl", at.url.as_str())
                .with("PublishedTime", now)
                .with_some("Results", rows::list(&with(before, of)));
            // On the condition that nobody has noted anything since: a note that is lost is an older result at the path.
            let note = match row {
                None => Op::Insert(note),
                Some(row) => Op::Replace(note, IfMatch::Tag(row.etag)),
            };
            match self.write(&[note, by_day(place.as_str(), now)]).await {
                Ok(_) => return Ok(()),
                // The second one, where it was written and the answer was lost: written again it is the same.
                Err(
                    error @ (table_store::Error::AlreadyExists { .. }
                    | table_store::Error::Conflict { .. }
                    | table_store::Error::Missing { .. }
                    | table_store::Error::Ambiguous(_)),
                ) => conflict = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Unavailable(conflict.unwrap_or(table_store::Error::Conflict { op: 0 })))
    }

    /// The results that were about to be written there, the newest first; none if nothing ever was. The rows of their scorings tell
    /// whether it came to that.
    pub async fn published_at(&self, place: &PublishedPlace) -> Result<Vec<NotedResult>, Error> {
        let note = self.row(&note_key(place.as_str())).await?;
        Ok(note.map(|row| noted_in(&row.entity)).transpose()?.unwrap_or_default())
    }

    /// A result of another scoring that was published there and is newer, be it there still or not. One read, and one for each newer one
    /// that was about to be.
    pub async fn newer_published_at(
        &self,
        place: &PublishedPlace,
        than: &NotedResult,
    ) -> Result<Option<NotedResult>, Error> {
        let all = match self.published_at(place).await {
            // Each costs what it would have told, and nobody else's publication.
            Err(Error::Unreadable(_)) => Vec::new(),
            all => all?,
        };
        for noted in all {
            if noted.scoring == than.scoring || !noted.order.is_newer_than(&than.order) {
                continue;
            }
            match self.get(&noted.scoring).await {
                Ok(Some((other, _))) if other.was_published_at(place) => return Ok(Some(noted)),
                Ok(_) | Err(Error::Unreadable(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// The results that a note names, one at least.
fn noted_in(note: &Entity) -> Result<Vec<NotedResult>, Unreadable> {
    let read = rows::Reader(note);
    let results: Vec<String> = read.list("Results")?;
    let results: Vec<NotedResult> = results.iter().filter_map(|result| NotedResult::read(result)).collect();
    if results.is_empty() { Err(read.wrong("`Results` names no result".to_owned())) } else { Ok(results) }
}

/// With one more, the newest ones, as texts; once if it is there already.
fn with(mut noted: Vec<NotedResult>, of: &NotedResult) -> Vec<String> {
    noted.retain(|other| other.scoring != of.scoring);
    let at = noted.iter().position(|other| of.order.is_newer_than(&other.order)).unwrap_or(noted.len());
    noted.insert(at, of.clone());
    noted.iter().take(MAX_NOTED).map(ToString::to_string).collect()
}
