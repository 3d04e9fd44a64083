//! Rows of folders in which the members of groups are staged, and back; see `groups.rs`.

use lifecycle::{Scoring, ScoringId, UnversionedBlob};
use time::OffsetDateTime;

use super::rows::{self, Reader, Unreadable};
use crate::ports::table_store::{Entity, Key};

/// What the keys of these rows begin with.
pub(super) const PREFIX: &str = "Y~";

/// A folder of copies that were made for a group, and are to be removed when nobody needs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedFolder {
    /// Id of the group whose job reads the copies.
    pub group: ScoringId,
    /// The rule that it is made by.
    pub rule: String,
    /// Where the copies lie, in the container for copies.
    pub folder: UnversionedBlob,
    /// When the group was sealed.
    pub since: OffsetDateTime,
}

pub(super) fn key(group: &ScoringId) -> Key {
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

pub(super) fn from_row(row: &Entity) -> Result<StagedFolder, Unreadable> {
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
