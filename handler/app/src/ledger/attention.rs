//! What needs a person until they acknowledge it: `A~{id}`, one row for each scoring that failed or has orphaned jobs.
//!
//! It is written and removed in the transaction of the move that makes it so: to count what is wrong now costs as much as is
//! wrong now, however long ago it began.

use futures::{StreamExt as _, stream};

use super::attention_rows::{PREFIX, Unacknowledged, from_row};
use super::{Error, Ledger, Rows, SHARDS, rows};
use crate::ports::table_store::Range;

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
}
