//! Idempotency keys of starts: `K~{key}` says what was asked for by it and which scoring that became, `U~{yyyyMMdd}~{key}` beside it
//! lists the keys by day, so that they can be removed.
//!
//! The row is inserted before its scoring: whoever dies in between has left a name, and the next repetition makes what it names.
//! It is kept as long as the ledger keeps that scoring, and says whether there was one: after that a repetition starts nothing.

use lifecycle::ScoringId;
use time::OffsetDateTime;

use super::{Error, Ledger, Unreadable, rows};
use crate::ports::table_store::{self, ETag, Entity, IfMatch, Key, Op, Range};

/// Prefix of the keys' rows.
const KEY: &str = "K~";
/// Prefix of the index by day.
const BY_DAY: &str = "D~";

/// What was asked for by a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedStart {
    /// Digest of the idempotency key, by which its row is named: [`StartKey::digest`](lifecycle::start::StartKey::digest).
    pub key: String,
    /// Digest of what was asked for with it ([`StartRequest::digest`](lifecycle::start::StartRequest::digest)); another one is refused.
    pub request: String,
    /// The scoring that it became, or becomes.
    pub scoring: ScoringId,
    /// URL of the blob, without query. By it and `etag` the scoring is made if the first process died before it was on record.
    pub blob_url: String,
    /// ETag of the version that was there when the key was first used, without quotes.
    pub etag: String,
    /// The generation that the scoring has, or is to get: a key with `again` takes the next free one.
    pub generation: u32,
    /// That scoring was in the ledger.
    pub taken: bool,
}

/// What was there of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptStart {
    /// Nothing: it is on record now.
    New(ETag),
    /// The key was used before, perhaps by this very request: what is kept of it.
    There(KeyedStart, ETag),
}

fn key_of(key: &str) -> Key {
    Key::new(rows::partition_of_key(key), format!("{KEY}{key}"))
}

fn to_row(start: &KeyedStart) -> Entity {
    Entity::new(key_of(&start.key))
        .with("SchemaVersion", rows::SCHEMA)
        .with("Request", start.request.as_str())
        .with("Scoring", start.scoring.as_str())
        .with("BlobUrl", start.blob_url.as_str())
        .with("BlobETag", start.etag.as_str())
        .with("Generation", rows::count(start.generation))
        .with("Taken", start.taken)
}

fn from_row(row: &Entity) -> Result<KeyedStart, Unreadable> {
    let read = rows::Reader(row);
    read.schema()?;
    Ok(KeyedStart {
        key: row.key.row.trim_start_matches(KEY).to_owned(),
        request: read.string("Request")?,
        scoring: read.scoring_id("Scoring", &read.string("Scoring")?)?,
        blob_url: read.string("BlobUrl")?,
        etag: read.string("BlobETag")?,
        generation: read.number("Generation")?,
        taken: row.boolean("Taken").unwrap_or(false),
    })
}

impl Ledger {
    /// What was asked for by a key, if it was used.
    pub async fn keyed_start(&self, key: &str) -> Result<Option<(KeyedStart, ETag)>, Error> {
        let Some(row) = self.row(&key_of(key)).await? else { return Ok(None) };
        Ok(Some((from_row(&row.entity)?, row.etag)))
    }

    /// Keeps what is asked for by a key, unless something was before. **Durable once `Ok`.**
    pub async fn keep_start(&self, start: &KeyedStart, now: OffsetDateTime) -> Result<KeptStart, Error> {
        let by_day = format!("{BY_DAY}{}~{}", rows::day(now), start.key);
        let by_day = Entity::new(Key::new(rows::partition_of_key(&start.key), by_day));
        let by_day = by_day.with("SchemaVersion", rows::SCHEMA);
        match self.write(&[Op::Insert(to_row(start)), Op::Upsert(by_day)]).await {
            Ok(etags) => return super::first(etags).map(KeptStart::New),
            // What is there then may be this: whoever reads it goes on as by a repetition.
            Err(table_store::Error::AlreadyExists { .. } | table_store::Error::Ambiguous(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let there = self.keyed_start(&start.key).await?;
        let (there, etag) = there.ok_or_else(|| not_kept("it is not known whether an idempotency key was kept"))?;
        Ok(KeptStart::There(there, etag))
    }

    /// Keeps what a key stands for now, if nobody has changed it since `etag`; its new version then.
    pub async fn replace_start(&self, etag: &ETag, start: &KeyedStart) -> Result<Option<ETag>, Error> {
        match self.write(&[Op::Replace(to_row(start), IfMatch::Tag(etag.clone()))]).await {
            Ok(etags) => super::first(etags).map(Some),
            Err(
                table_store::Error::Conflict { .. }
                | table_store::Error::Missing { .. }
                | table_store::Error::Ambiguous(_),
            ) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes keys of days before `cutoff` out of one shard, at most `max`; those whose scoring is there stay with it.
    pub(super) async fn purge_starts(&self, shard: u8, cutoff: OffsetDateTime, max: usize) -> Result<(), Error> {
        let below = format!("{BY_DAY}{}", rows::day(cutoff));
        let range = Range { partition: rows::shard(shard), from: BY_DAY.to_owned(), below };
        for row in self.all(&self.0.state, &range, max).await? {
            let by_day = row.entity.key;
            let key = by_day.row.rsplit('~').next().unwrap_or_default();
            // A row that cannot be read names nothing that could be kept with it.
            let named = self.keyed_start(key).await.unwrap_or_default().map(|(start, _)| start.scoring);
            if let Some(scoring) = named
                && self.row(&rows::scoring_key(&scoring)).await?.is_some()
            {
                continue;
            }
            for key in [key_of(key), by_day] {
                self.delete(&[Op::Delete(key, IfMatch::Any)]).await?;
            }
        }
        Ok(())
    }
}

fn not_kept(what: &str) -> Error {
    Error::Unavailable(table_store::Error::Unavailable(what.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back_as_it_was_written() {
        let start = KeyedStart {
            key: "a".repeat(32),
            request: "b".repeat(32),
            scoring: ScoringId::read(&"c".repeat(32)).unwrap(),
            blob_url: "https://a.blob.core.windows.net/con/x.csv".to_owned(),
            etag: "0x1".to_owned(),
            generation: 3,
            taken: false,
        };
        assert_eq!(from_row(&to_row(&start)), Ok(start.clone()));
        let taken = KeyedStart { taken: true, ..start };
        assert_eq!(from_row(&to_row(&taken)), Ok(taken));
    }
}
