//! What needs a person until they acknowledge it: `A~{id}`, one row for each scoring that failed or has orphaned jobs.
//!
//! It is written and removed in the transaction of the move that makes it so: to count what is wrong now costs as much as is
//! wrong now, however long ago it began.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use lifecycle::Status;

use super::attention_rows::{PREFIX, Unacknowledged, from_row};
use super::{Error, Ledger, Rows, SHARDS, rows};
use crate::ports::table_store::Range;

/// Failures whose blobs are asked about at one time, whether a newer version is scored.
const MAX_CONCURRENT_LOOKUPS: usize = 16;

impl Ledger {
    /// Every scoring that needs a person; at most about `max`.
    pub async fn unacknowledged(&self, max: usize) -> Result<Rows<Unacknowledged>, Error> {
        let shards = stream::iter(0..SHARDS).map(|shard| async move {
            let range = Range::of_prefix(rows::shard(shard), PREFIX);
            self.all(&self.0.state, &range, max.div_ceil(usize::from(SHARDS))).await
        });
        let mut all = Vec::new();
        let mut pages = shards.buffered(8);
        while let Some(rows) = pages.next().await {
            all.extend(rows?.iter().map(|row| from_row(&row.entity)));
        }
        Ok(Rows::of(all))
    }

    /// Without failures after which a newer version of the same blob was scored under the same rule. One read for each failure.
    pub async fn not_made_up_for(&self, rows: &[Unacknowledged]) -> Result<Vec<Unacknowledged>, Error> {
        let asked: Vec<_> = rows
            .iter()
            .map(|row| async move {
                let failed_only = row.status == Status::Failed && row.orphaned_jobs == 0;
                let made_up_for = failed_only && self.is_scored_since(&row.blob, &row.rule, row.created).await?;
                Ok::<_, Error>((!made_up_for).then(|| row.clone()))
            })
            .collect();
        let left: Vec<_> = stream::iter(asked).buffered(MAX_CONCURRENT_LOOKUPS).try_collect().await?;
        Ok(left.into_iter().flatten().collect())
    }
}
