//! When a rule takes an upload for whole, and what it makes of one that was moved.

use crate::duration::IsoDuration;

/// When a blob is whole (`complete`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename_all = "camelCase", deny_unknown_fields))]
pub enum Complete {
    /// With the operation that ends its writing (default): `PutBlob`, `PutBlockList`, `CopyBlob`, `FlushWithClose`,
    /// `SftpCommit`.
    #[default]
    Closed,
    /// When it was not changed for so long. For writers that never close a file, so that only its `CreateFile` is told of,
    /// and for append blobs.
    UnchangedFor(IsoDuration),
}

/// What is made of a blob that was renamed into the rule's place (`renames`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename_all = "camelCase", deny_unknown_fields))]
pub enum Renames {
    /// It is an upload of its destination.
    Score,
    /// The same, unless this rule has scored it under its former name: moving a file that is done to `done/` does not
    /// score it again (default). Which version it was is known by its ETag, which a rename keeps.
    #[default]
    IgnoreScored,
}
