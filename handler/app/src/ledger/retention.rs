//! Retention: final scorings and notes older than the retention go, a bounded number at a time.
//!
//! While a scoring is remembered, a repetition of its event is known as one; after that it would be scored again. That
//! is why configuration refuses a retention shorter than Event Grid's day of redelivery and a week of dead letters.

use lifecycle::ScoringId;
use time::OffsetDateTime;

use crate::ports::table_store::{self, Entity, IfMatch, Key, Op, Range, Row};

use super::index_rows::{listed_key, received_key};
use super::{Error, Ledger, RecordedEvent, SHARDS, attention_rows, end_count_rows, job_names, rows, unannounced};

fn purge_key() -> Key {
    Key::new("retention", "purge")
}

impl Ledger {
    /// What ended before this may have been removed; `None`: nothing was yet.
    pub async fn purged_through(&self) -> Result<Option<OffsetDateTime>, Error> {
        Ok(self.row(&purge_key()).await?.and_then(|row| row.entity.time("ThroughTime")))
    }

    /// Keeps how far a purge went.
    pub async fn record_purged_through(&self, through: OffsetDateTime) -> Result<(), Error> {
        let row = Entity::new(purge_key()).with("SchemaVersion", rows::SCHEMA).with("ThroughTime", through);
        self.upsert_row(row).await
    }

    /// Removes what became final before `cutoff`, at most `most` scorings, and notes of days before it. One transaction
    /// for each scoring: a crash leaves none half removed. Returns how many scorings went.
    pub async fn purge(&self, cutoff: OffsetDateTime, max: usize) -> Result<usize, Error> {
        let mut purged = 0;
        for shard in 0..SHARDS {
            for index in [rows::TERMINAL, rows::ENDED_GROUP] {
                // What ended within the hour of the cutoff stays.
                let range = Range {
                    partition: rows::shard(shard),
                    from: format!("{index}{}~~", rows::newest_hour_first(cutoff)),
                    below: format!("{index}~"),
                };
                for row in self.all(&self.0.state, &range, max - purged).await? {
                    purged += usize::from(self.purge_one(&row.entity).await?);
                }
            }
            let notes = [RecordedEvent::Skipped, RecordedEvent::Quarantined].map(RecordedEvent::prefix);
            let notes = notes.map(|prefix| Range {
                partition: rows::shard(shard),
                from: format!("{prefix}{}~~", rows::newest_day_first(cutoff)),
                below: format!("{prefix}~"),
            });
            let counts = Range {
                partition: rows::shard(shard),
                from: unannounced::PREFIX.to_owned(),
                below: format!("{}{}", unannounced::PREFIX, rows::day(cutoff)),
            };
            let hours = Range {
                partition: rows::shard(shard),
                from: format!("{}{}~", end_count_rows::PREFIX, rows::newest_hour_first(cutoff)),
                below: format!("{}~", end_count_rows::PREFIX),
            };
            for range in notes.iter().chain([&counts, &hours]) {
                let old = self.all(&self.0.state, range, 1_000).await?;
                // With what was received of its blob beside it: both were written together.
                for batch in old.chunks(50) {
                    let beside = |row: &Row| Some(Key::new(rows::shard(shard), row.entity.string("BlobRow")?));
                    let keys = batch.iter().flat_map(|row| [Some(row.entity.key.clone()), beside(row)]);
                    let ops: Vec<Op> = keys.flatten().map(|key| Op::Delete(key, IfMatch::Any)).collect();
                    self.delete(&ops).await?;
                }
            }
            self.purge_moved(shard, cutoff, 1_000).await?;
            self.purge_starts(shard, cutoff, 1_000).await?;
            if purged >= max {
                break;
            }
        }
        Ok(purged)
    }

    async fn purge_one(&self, terminal: &Entity) -> Result<bool, Error> {
        let terminal = match rows::from_terminal_row(terminal) {
            Ok(terminal) => terminal,
            Err(unreadable) => {
                // It stays, and so does its scoring; the others have their time all the same.
                tracing::error!(error = %unreadable, "not purged: {unreadable}");
                return Ok(false);
            }
        };
        let id = &terminal.id;
        let partition = rows::partition_of(id);
        // First: a crash after it leaves a scoring that remembers fewer jobs, and is purged by the next one.
        self.purge_job_names(id).await?;
        let history = Range::of_prefix(partition.as_str(), &format!("H~{id}~"));
        let index = Key::new(partition.as_str(), terminal.row);
        let ends = self.ends_removed(terminal.status, &index).await?;
        let is_group = index.row.starts_with(rows::ENDED_GROUP);
        let mut keys = vec![rows::scoring_key(id), index];
        if !is_group {
            keys.push(listed_key(id, terminal.created));
            keys.push(received_key(&terminal.blob, id, terminal.created));
        }
        let mut ops: Vec<Op> = keys.into_iter().map(|key| Op::Delete(key, IfMatch::Any)).collect();
        ops.extend(ends);
        if self.row(&attention_rows::attention_key(id)).await?.is_some() {
            ops.push(Op::Delete(attention_rows::attention_key(id), IfMatch::Any));
        }
        // What one transaction takes beside the rows above: 100 operations, and a history has at most 61 lines.
        let lines = self.all(&self.0.state, &history, 90).await?;
        ops.extend(lines.into_iter().map(|row| Op::Delete(row.entity.key, IfMatch::Any)));
        if is_group {
            // It is in no other table.
        } else if self.0.projection {
            ops.push(Op::Upsert(rows::outbox_row(id)));
        } else {
            // Nobody empties the outbox. First what other tools are shown: a crash after it is repaired by the next purge.
            self.unproject(id).await?;
            let outbox = rows::outbox_key(id);
            if self.row(&outbox).await?.is_some() {
                ops.push(Op::Delete(outbox, IfMatch::Any));
            }
        }
        self.delete(&ops).await
    }

    /// Removes the rows of names of a scoring's jobs.
    async fn purge_job_names(&self, id: &ScoringId) -> Result<(), Error> {
        let rows = self.all(&self.0.state, &job_names::range(id), usize::MAX).await?;
        let deletes: Vec<Op> = rows.into_iter().map(|row| Op::Delete(row.entity.key, IfMatch::Any)).collect();
        for batch in deletes.chunks(100) {
            self.delete(batch).await?;
        }
        Ok(())
    }

    /// Deletes in one transaction; `false` when another purge was faster.
    pub(super) async fn delete(&self, ops: &[Op]) -> Result<bool, Error> {
        match self.write(ops).await {
            Ok(_) => Ok(true),
            // A lost answer: the next purge finds what is left.
            Err(table_store::Error::Missing { .. } | table_store::Error::Ambiguous(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
