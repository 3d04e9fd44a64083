//! Who wants to be told of a scoring's end: one row each in the partition `callbacks`, removed when they were told.
//!
//! An address's query is a secret. It stands in this row and in no other, is shown by nothing, and goes with it.

use lifecycle::ScoringId;
use lifecycle::callback::CallbackUri;
use lifecycle::digest::digest;
use time::OffsetDateTime;

use super::{Error, Ledger, Rows, Unreadable, rows};
use crate::ports::table_store::{self, ETag, Entity, IfMatch, Key, Op, Range};

/// The partition of all such rows.
const PARTITION: &str = "callbacks";

/// Somebody who wants to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// Of the end of this scoring.
    pub scoring: ScoringId,
    /// Where the end is posted to. It holds a secret, so that it is never shown whole.
    pub uri: CallbackUri,
    /// When it was asked for.
    pub since: OffsetDateTime,
    /// When it is tried next, at the earliest; later with each try that failed.
    pub due: OffsetDateTime,
    /// Tries in a row that failed.
    pub failures: u32,
}

impl Callback {
    fn key(&self) -> Key {
        Key::new(PARTITION, digest(&["callback", self.scoring.as_str(), self.uri.expose()]))
    }
}

fn to_row(callback: &Callback) -> Entity {
    Entity::new(callback.key())
        .with("SchemaVersion", rows::SCHEMA)
        .with("Scoring", callback.scoring.as_str())
        .with("Uri", callback.uri.expose())
        .with("SinceTime", callback.since)
        .with("Due", callback.due)
        .with("Failures", rows::count(callback.failures))
}

fn from_row(row: &Entity) -> Result<Callback, Unreadable> {
    let read = rows::Reader(row);
    read.schema()?;
    Ok(Callback {
        scoring: read.scoring_id("Scoring", &read.string("Scoring")?)?,
        uri: CallbackUri::from_row(&read.string("Uri")?).map_err(|why| read.wrong(why.to_string()))?,
        since: read.time("SinceTime")?,
        due: read.time("Due")?,
        failures: read.number("Failures")?,
    })
}

impl Ledger {
    /// Keeps who is to be told; the same twice is one. **Durable once `Ok`.**
    pub async fn keep_callback(&self, callback: &Callback) -> Result<(), Error> {
        self.upsert_row(to_row(callback)).await
    }

    /// Some of those who are to be told, at most `max`.
    pub async fn callbacks(&self, max: usize) -> Result<Rows<(Callback, ETag)>, Error> {
        // Keys are hex digits.
        let range = Range { partition: PARTITION.to_owned(), from: String::new(), below: "~".to_owned() };
        let found = self.all(&self.0.state, &range, max).await?;
        let read = |row: table_store::Row| from_row(&row.entity).map(|callback| (callback, row.etag));
        Ok(Rows::of(found.into_iter().map(read)))
    }

    /// Puts one off, if nobody has changed it since `etag`.
    pub async fn put_callback_off(&self, etag: &ETag, callback: &Callback) -> Result<(), Error> {
        self.settle_callback(Op::Replace(to_row(callback), IfMatch::Tag(etag.clone()))).await
    }

    /// Removes one, with its secret, if nobody has changed it since `etag`.
    pub async fn remove_callback(&self, etag: &ETag, callback: &Callback) -> Result<(), Error> {
        self.settle_callback(Op::Delete(callback.key(), IfMatch::Tag(etag.clone()))).await
    }

    async fn settle_callback(&self, op: Op) -> Result<(), Error> {
        match self.write(&[op]).await {
            Ok(_)
            | Err(
                table_store::Error::Conflict { .. }
                | table_store::Error::Missing { .. }
                | table_store::Error::Ambiguous(_),
            ) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_row_reads_back_as_it_was_written() {
        let now = datetime!(2026-07-21 10:00 UTC);
        let callback = Callback {
            scoring: ScoringId::read(&"a".repeat(32)).unwrap(),
            uri: CallbackUri::from_row("https://x.datafactory.azure.com/cb?ptoken=SECRET").unwrap(),
            since: now,
            due: now,
            failures: 2,
        };
        assert_eq!(from_row(&to_row(&callback)), Ok(callback.clone()));
        assert!(!format!("{callback:?}").contains("SECRET"));
    }
}
