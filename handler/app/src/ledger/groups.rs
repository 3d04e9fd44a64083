//! Folders in which the members of groups are staged: one row for each group, written with it, until the copies are removed.

use lifecycle::{Scoring, ScoringId, UnversionedBlob};
use time::OffsetDateTime;

use super::rows::{self, Reader};
use super::{Error, Ledger, Rows, SHARDS, Unreadable};
use crate::ports::table_store::{Entity, IfMatch, Key, Op, Range};

/// What the keys of these rows begin with.
const PREFIX: &str = "Y~";

/// A folder of copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedFolder {
    /// The group.
    pub group: ScoringId,
    /// The rule that it is made by.
    pub rule: String,
    /// The folder.
    pub folder: UnversionedBlob,
    /// When the group was sealed.
    pub since: OffsetDateTime,
}

impl Ledger {
    /// Groups whose copies were not removed yet, at most about `max` of each shard.
    pub async fn staged_folders(&self, max: usize) -> Result<Rows<StagedFolder>, Error> {
        let mut all = Vec::new();
        for shard in 0..SHARDS {
            let range = Range::of_prefix(rows::shard(shard), PREFIX);
            all.extend(self.all(&self.0.state, &range, max).await?);
        }
        Ok(Rows::of(all.iter().map(|row| from_row(&row.entity))))
    }

    /// The copies of a group are removed.
    pub async fn forget_staged_folder(&self, group: &ScoringId) -> Result<(), Error> {
        self.delete(&[Op::Delete(key(group), IfMatch::Any)]).await.map(drop)
    }
}

fn key(group: &ScoringId) -> Key {
    Key::new(rows::partition_of(group), format!("{PREFIX}{group}"))
}

/// The row of a group that is sealed now.
pub(super) fn to_row(group: &Scoring) -> Entity {
    Entity::new(key(&group.id))
        .with("SchemaVersion", rows::SCHEMA)
        .with("RuleId", group.rule.as_str())
        .with("FolderUrl", group.blob.url.as_str())
        .with("CreatedTime", group.created)
}

fn from_row(row: &Entity) -> Result<StagedFolder, Unreadable> {
    let read = Reader(row);
    read.schema()?;
    let group = row.key.row.strip_prefix(PREFIX).and_then(ScoringId::read);
    let folder = UnversionedBlob::folder(&read.string("FolderUrl")?).map_err(|why| read.wrong(why.to_string()))?;
    Ok(StagedFolder {
        group: group.ok_or_else(|| read.wrong("the key has no id".to_owned()))?,
        rule: read.string("RuleId")?,
        folder,
        since: read.time("CreatedTime")?,
    })
}
