//! What a rule asks of an upload beside its name: by which operation it was written, what type it has, when it is whole, and
//! what is made of one that was moved.

use std::str::FromStr;

use crate::duration::IsoDuration;

/// When a blob is whole (`complete`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename_all = "camelCase", deny_unknown_fields))]
pub enum Complete {
    /// With the operation that ends its writing (default): `PutBlob`, `PutBlockList`, `CopyBlob`, `FlushWithClose`,
    /// `SftpCommit`.
    #[default]
    Closed,
    /// When it was not changed for so long. For writers that never close a file, so that only its `CreateFile` is told of,
    /// and for append blobs.
    UnchangedFor(IsoDuration),
    /// With a marker of this name, which stands for the folder that it lies in: `_SUCCESS`. Only markers are scored.
    Marker(MarkerName),
}

/// The name of a file that is written when all others of its folder are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkerName(String);

impl MarkerName {
    /// The name alone, without folders and wildcards, as `_SUCCESS`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is no name of a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a marker has a file's name, without folders and wildcards")]
pub struct InvalidMarker;

impl FromStr for MarkerName {
    type Err = InvalidMarker;

    fn from_str(text: &str) -> Result<Self, InvalidMarker> {
        let bad = |c: char| matches!(c, '/' | '\\' | '*' | '?') || c.is_control();
        if text.is_empty() || text.len() > 255 || matches!(text, "." | "..") || text.contains(bad) {
            return Err(InvalidMarker);
        }
        Ok(Self(text.to_owned()))
    }
}

/// An operation of Azure Storage that writes a blob, as events name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Api {
    /// A blob in one request.
    PutBlob,
    /// A blob whose blocks were written before.
    PutBlockList,
    /// A copy of another blob; it may be under way when its event comes.
    CopyBlob,
    /// A file of a hierarchical namespace is closed.
    FlushWithClose,
    /// An upload by SFTP ends.
    SftpCommit,
    /// A file of a hierarchical namespace is begun.
    CreateFile,
    /// An upload by SFTP begins.
    SftpCreate,
    /// It was given another name, by whatever operation.
    RenameFile,
}

impl Api {
    /// All of them, by the names that events have.
    pub(super) const WORDS: [(&'static str, Self); 8] = [
        ("PutBlob", Self::PutBlob),
        ("PutBlockList", Self::PutBlockList),
        ("CopyBlob", Self::CopyBlob),
        ("FlushWithClose", Self::FlushWithClose),
        ("SftpCommit", Self::SftpCommit),
        ("CreateFile", Self::CreateFile),
        ("SftpCreate", Self::SftpCreate),
        ("RenameFile", Self::RenameFile),
    ];

    /// The operation that an event names, if it is one of these.
    pub(crate) fn read(name: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(word, _)| *word == name).map(|(_, api)| *api)
    }

    /// The name that events and rules have for it, `PutBlob` for example.
    pub fn name(self) -> &'static str {
        Self::WORDS.iter().find(|(_, api)| *api == self).map_or("", |(word, _)| word)
    }
}

/// A content type without parameters, in lower case; its second part may be `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType(String);

impl MediaType {
    /// Whether a blob's content type is of it, whatever its parameters.
    pub fn is_of(&self, content_type: &str) -> bool {
        let plain = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match self.0.strip_suffix('*') {
            Some(begin) => plain.len() > begin.len() && plain.starts_with(begin),
            None => plain == self.0,
        }
    }
}

impl std::fmt::Display for MediaType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a content type has two names with a slash between them")]
pub struct InvalidMediaType;

impl FromStr for MediaType {
    type Err = InvalidMediaType;

    fn from_str(text: &str) -> Result<Self, InvalidMediaType> {
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
        };
        let (kind, rest) = text.split_once('/').ok_or(InvalidMediaType)?;
        if !is_name(kind) || !(is_name(rest) || rest == "*") {
            return Err(InvalidMediaType);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
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

/// What is made of a further version of a path (`overwrites`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename_all = "camelCase", deny_unknown_fields))]
pub enum Overwrites {
    /// It is scored like any other (default).
    #[default]
    NewVersion,
    /// It is not scored: of each path the first version that is taken in counts, for as long as the ledger remembers it.
    Ignore,
    /// It is scored, and what is queued of the path's earlier versions is not any more.
    LatestOnly,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_is_compared_without_case_and_parameters() {
        let of = |wanted: &str, is: &str| wanted.parse::<MediaType>().expect("a content type").is_of(is);
        assert!(of("text/csv", "Text/CSV; charset=utf-8") && of("text/*", "text/csv") && of("Text/*", "text/plain;x"));
        assert!(
            !of("text/csv", "text/csv2") && !of("text/*", "texts/csv") && !of("text/*", "text/") && !of("text/csv", "")
        );
        for bad in ["", "text", "text/", "/csv", "*/*", "text/csv; charset=utf-8", "text/c sv", "text/c*"] {
            assert_eq!(bad.parse::<MediaType>(), Err(InvalidMediaType), "{bad}");
        }
    }
}
