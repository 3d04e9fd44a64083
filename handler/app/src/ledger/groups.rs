//! Folders in which the members of groups are staged: one row for each group, written with it, until the copies are removed.

use lifecycle::ScoringId;

use super::group_rows::{self, StagedFolder};
use super::{Error, Ledger, Rows, SHARDS, rows};
use crate::ports::table_store::{IfMatch, Op, Range};

impl Ledger {
    /// Groups whose copies were not removed yet, at most about `max` of each shard.
    pub async fn staged_folders(&self, max: usize) -> Result<Rows<StagedFolder>, Error> {
        let mut all = Vec::new();
        for shard in 0..SHARDS {
            let range = Range::of_prefix(rows::shard(shard), group_rows::PREFIX);
            all.extend(self.all(&self.0.state, &range, max).await?);
        }
        Ok(Rows::of(all.iter().map(|row| group_rows::from_row(&row.entity))))
    }

    /// The copies of a group are removed.
    pub async fn forget_staged_folder(&self, group: &ScoringId) -> Result<(), Error> {
        self.delete(&[Op::Delete(group_rows::key(group), IfMatch::Any)]).await.map(drop)
    }
}
