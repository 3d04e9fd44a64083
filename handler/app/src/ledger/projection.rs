//! The Durable-shaped projection: `{Hub}Instances` and `{Hub}History`, for tools that know Durable Functions.
//!
//! It is written from the outbox rows that every move leaves in its own transaction, so none is ever forgotten; it is
//! never read back into a decision, so a tool that deletes or edits it does no harm, and [`Ledger::project_again`] brings back
//! what it took. The rows themselves are made in `durable_rows`.

use futures::{StreamExt as _, stream};
use lifecycle::{Entry, Scoring, ScoringId};

use crate::ports::table_store::{self, ETag, Entity, IfMatch, Key, Op, Range, Row, TableName};

use super::durable_rows::{self, HISTORY_ETAG, STATE_VERSION};
use super::{Error, Ledger, SHARDS, rows};

/// Instances projected at one time.
const MAX_CONCURRENT_PROJECTIONS: usize = 8;
/// Attempts against another projector of the same instance.
const MAX_TRIES: usize = 4;
/// Rows of a transaction beside the one that guards it.
const MAX_ROWS: usize = 99;

impl Ledger {
    /// Projects what waits in the outboxes until `go_on` says no. Returns how many instances were projected; what could
    /// not be projected stays in its outbox. Does nothing where the projection is off.
    pub async fn project(&self, go_on: &(dyn Fn() -> bool + Sync)) -> Result<usize, Error> {
        let mut projected = 0;
        if !self.0.projection {
            return Ok(projected);
        }
        for shard in 0..SHARDS {
            let range = Range::of_prefix(rows::shard(shard), "P~");
            let mut from = None;
            loop {
                if !go_on() {
                    return Ok(projected);
                }
                let page = self.page(&self.0.state, &range, from.as_ref()).await?;
                let results = stream::iter(page.rows)
                    .map(|row| self.project_one(row))
                    .buffer_unordered(MAX_CONCURRENT_PROJECTIONS);
                let results: Vec<Result<(), Error>> = results.collect().await;
                for result in results {
                    match result {
                        Ok(()) => projected += 1,
                        // One unreadable row must not stop the projection of all others.
                        Err(error) => {
                            tracing::warn!(error = %error, "an instance was not projected and stays in the outbox");
                        }
                    }
                }
                match page.next {
                    Some(next) => from = Some(next),
                    None => break,
                }
            }
        }
        Ok(projected)
    }

    async fn project_one(&self, outbox: Row) -> Result<(), Error> {
        let Some(id) = outbox.entity.key.row.strip_prefix("P~").and_then(ScoringId::read) else {
            return Ok(());
        };
        match self.get(&id).await? {
            Some((scoring, _)) => {
                let mut entries = self.entries(&id).await?.read;
                // Read after the scoring, which may have moved on: of two moments a history would tell half of each.
                entries.retain(|entry| entry.seq <= scoring.version);
                self.project_moment(&scoring, &entries).await?;
            }
            None => self.unproject(&id).await?,
        }
        match self.write(&[Op::Delete(outbox.entity.key, IfMatch::Tag(outbox.etag))]).await {
            // A newer move has written the outbox again, or another projector was faster.
            Ok(_) | Err(table_store::Error::Conflict { .. } | table_store::Error::Missing { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn project_write(&self, table: &TableName, ops: &[Op]) -> Result<(), Error> {
        // Upserts of equal content: a lost answer is answered by writing again.
        match self.write_to(table, ops).await {
            Err(table_store::Error::Ambiguous(_)) => self.write_to(table, ops).await.map(drop)?,
            other => other.map(drop)?,
        }
        Ok(())
    }

    /// Shows a scoring as it was at one moment, if nobody has shown a later one.
    async fn project_moment(&self, scoring: &Scoring, entries: &[Entry]) -> Result<(), Error> {
        let (events, sentinel) = durable_rows::history(scoring, entries);
        let reason = entries.last().map(|entry| entry.reason.as_str());
        let instance = durable_rows::instance(scoring, reason, &self.0.instances);
        let current = self.shown(&self.0.instances, &instance.key).await?;
        if current.as_ref().and_then(|row| row.entity.int32(STATE_VERSION)) > instance.int32(STATE_VERSION) {
            return Ok(());
        }
        // What the sentinel's ETag is stands in the instance's row, so that it need not be read as well.
        let expected = current.as_ref().and_then(|row| row.entity.string(HISTORY_ETAG)).map(|tag| ETag(tag.to_owned()));
        // History first, like Durable: a reader never sees a final instance without its end.
        let written = self.project_rows(&self.0.history, &events, &sentinel, expected).await?;
        if let Some(ETag(tag)) = written {
            let instance = instance.with(HISTORY_ETAG, tag);
            self.project_rows(&self.0.instances, &[], &instance, current.map(|row| row.etag)).await?;
        }
        Ok(())
    }

    /// Writes `rows` of one partition in transactions with `guard`, which is expected to have this ETag, or not to be there. Its
    /// version says how new all of them are: what another projector has written of a later moment stays, and nothing is returned.
    async fn project_rows(
        &self,
        table: &TableName,
        rows: &[Entity],
        guard: &Entity,
        mut expected: Option<ETag>,
    ) -> Result<Option<ETag>, Error> {
        let (mut left, mut tries) = (rows, 0);
        loop {
            let guarded = match expected.take() {
                Some(etag) => Op::Replace(guard.clone(), IfMatch::Tag(etag)),
                None => Op::Insert(guard.clone()),
            };
            // What a crash leaves of a long history is written again, as its outbox row is still there.
            let (now, later) = left.split_at(left.len().min(MAX_ROWS));
            let ops: Vec<Op> = now.iter().cloned().map(Op::Upsert).chain([guarded]).collect();
            match self.write_to(table, &ops).await {
                Ok(mut etags) => {
                    expected = etags.pop().flatten();
                    if later.is_empty() {
                        return Ok(expected);
                    }
                    left = later;
                    continue;
                }
                Err(
                    table_store::Error::Conflict { .. }
                    | table_store::Error::AlreadyExists { .. }
                    | table_store::Error::Missing { .. }
                    | table_store::Error::Ambiguous(_),
                ) if tries < MAX_TRIES => tries += 1,
                Err(error) => return Err(error.into()),
            }
            // Another projector, or a tool. Of the same version it is written again.
            let current = self.shown(table, &guard.key).await?;
            if current.as_ref().and_then(|row| row.entity.int32(STATE_VERSION)) > guard.int32(STATE_VERSION) {
                return Ok(None);
            }
            expected = current.map(|row| row.etag);
        }
    }

    async fn shown(&self, table: &TableName, key: &Key) -> Result<Option<Row>, Error> {
        match self.0.store.get(table, key).await {
            Err(table_store::Error::TableMissing) => Ok(None),
            other => Ok(other?),
        }
    }

    /// Has every scoring projected again by the next reconcile runs: what was never projected as the projection was off, and what
    /// a tool took away or changed. Returns how many they are. Done twice it does no more than once.
    pub async fn project_again(&self) -> Result<usize, Error> {
        let mut marked = 0;
        for shard in 0..SHARDS {
            let range = Range::of_prefix(rows::shard(shard), "J~");
            let mut from = None;
            loop {
                let page = self.page(&self.0.state, &range, from.as_ref()).await?;
                let ids =
                    page.rows.iter().filter_map(|row| row.entity.key.row.strip_prefix("J~").and_then(ScoringId::read));
                // Without its version, which nobody reads: whatever moves meanwhile is projected as it is then.
                let ops: Vec<Op> = ids.map(|id| Op::Upsert(rows::outbox_row(&id))).collect();
                for batch in ops.chunks(100) {
                    self.project_write(&self.0.state, batch).await?;
                    marked += batch.len();
                }
                match page.next {
                    Some(next) => from = Some(next),
                    None => break,
                }
            }
        }
        Ok(marked)
    }

    /// Takes away what is shown of a scoring.
    pub(super) async fn unproject(&self, id: &ScoringId) -> Result<(), Error> {
        let range = Range { partition: id.to_string(), from: String::new(), below: "~".to_owned() };
        for table in [&self.0.history, &self.0.instances] {
            let found = self.all(table, &range, usize::MAX).await?;
            let deletes: Vec<Op> = found.into_iter().map(|row| Op::Delete(row.entity.key, IfMatch::Any)).collect();
            for batch in deletes.chunks(100) {
                match self.write_to(table, batch).await {
                    Ok(_) | Err(table_store::Error::Missing { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}
