//! Retention: final scorings and notes older than the retention go, a bounded number at a time.
//!
//! While a scoring is remembered, a repetition of its event is known as one; after that it would be scored again. That
//! is why configuration refuses a retention shorter than Event Grid's day of redelivery and a week of dead letters.

use time::OffsetDateTime;

use crate::ports::table_store::{self, Entity, IfMatch, Op, Range};

use super::{Error, Ledger, RecordedEvent, SHARDS, rows, unannounced};

impl Ledger {
    /// Removes what became final before `cutoff`, at most `most` scorings, and notes of days before it. One transaction
    /// for each scoring: a crash leaves none half removed. Returns how many scorings went.
    pub async fn purge(&self, cutoff: OffsetDateTime, max: usize) -> Result<usize, Error> {
        let mut purged = 0;
        for shard in 0..SHARDS {
            let range = Range {
                partition: rows::shard(shard),
                from: "T~".to_owned(),
                below: format!("T~{}", rows::hour(cutoff)),
            };
            for row in self.all(&self.0.state, &range, max - purged).await? {
                purged += usize::from(self.purge_one(&row.entity).await?);
            }
            let notes = [RecordedEvent::Skipped, RecordedEvent::Quarantined].map(RecordedEvent::prefix);
            for prefix in notes.into_iter().chain([unannounced::PREFIX]) {
                let range = Range {
                    partition: rows::shard(shard),
                    from: prefix.to_owned(),
                    below: format!("{prefix}{}", rows::day(cutoff)),
                };
                let old = self.all(&self.0.state, &range, 1_000).await?;
                let deletes: Vec<Op> = old.into_iter().map(|row| Op::Delete(row.entity.key, IfMatch::Any)).collect();
                for batch in deletes.chunks(100) {
                    self.delete(batch).await?;
                }
            }
            self.purge_moved(shard, cutoff, 1_000).await?;
            if purged >= max {
                break;
            }
        }
        Ok(purged)
    }

    async fn purge_one(&self, terminal: &Entity) -> Result<bool, Error> {
        let terminal = rows::from_terminal_row(terminal)?;
        let id = &terminal.id;
        let partition = rows::partition_of(id);
        // First: a crash after it leaves a scoring that remembers fewer jobs, and is purged by the next one.
        self.purge_job_names(id).await?;
        let history = Range::of_prefix(partition.as_str(), &format!("H~{id}~"));
        let key = |row: String| crate::ports::table_store::Key::new(partition.as_str(), row);
        let mut ops =
            vec![Op::Delete(rows::scoring_key(id), IfMatch::Any), Op::Delete(key(terminal.row), IfMatch::Any)];
        // What one transaction takes beside the rows above: 100 operations, and a history has at most 61 lines.
        let lines = self.all(&self.0.state, &history, 97).await?;
        ops.extend(lines.into_iter().map(|row| Op::Delete(row.entity.key, IfMatch::Any)));
        if self.0.projection {
            ops.push(Op::Upsert(Entity::new(rows::outbox_key(id)).with("Deleted", true)));
        }
        self.delete(&ops).await
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
