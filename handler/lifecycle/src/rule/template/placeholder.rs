//! The placeholders: their names, and what fills them.

use super::time::TimeFormat;
use super::values::Values;
use crate::blob::{BlobVersion, encoded};
use crate::digest::digest;
use crate::rule::metadata_and_tags::is_metadata_name;

/// Every placeholder, with what it stands for.
pub const PLACEHOLDERS: &[(&str, &str)] = &[
    ("blob.url", "the blob's URL, without query"),
    ("blob.folderUrl", "URL of the folder that it lies in, with a slash at its end"),
    ("blob.account", "storage account"),
    ("blob.container", "container"),
    ("blob.path", "path in the container as it is, for azureml:// paths"),
    ("blob.encodedPath", "the path percent-encoded, for https URLs"),
    (
        "blob.folder",
        "the folders of the path, without the slash at their end; of a blob in none, nothing, and no slash behind it",
    ),
    ("blob.encodedFolder", "the same percent-encoded"),
    ("blob.name", "last segment of the path as it is"),
    ("blob.encodedName", "last segment of the path percent-encoded"),
    ("blob.stem", "the name without its extension"),
    ("blob.encodedStem", "the same percent-encoded"),
    ("blob.extension", "the name from its last dot on, `.csv`; nothing if there is none"),
    ("blob.encodedExtension", "the same percent-encoded"),
    ("blob.metadata.NAME", "the blob's metadata of this name; nothing if it has none"),
    ("blob.encodedMetadata.NAME", "the same percent-encoded"),
    ("blob.etag", "ETag without quotes"),
    ("blob.etag8", "eight hex digits that are made of the ETag"),
    (
        "event.time",
        "when the blob was uploaded, 2026-07-21T10:00:00Z; {event.time:yyyy/MM/dd} writes it in another form",
    ),
    ("rule.id", "id of the rule"),
    ("scoring.id", "id of the scoring: one blob version under one rule"),
    ("attempt", "number of the attempt, from 1"),
];

/// What a placeholder stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Placeholder {
    Url,
    FolderUrl,
    Account,
    Container,
    Path(Written),
    /// `slash`: the one that follows in the template, which goes with the folders.
    Folder {
        written: Written,
        slash: bool,
    },
    Name(Written),
    Stem(Written),
    Extension(Written),
    /// `name` is in lower case, as metadata is kept: a header's name has no case.
    Metadata {
        name: String,
        written: Written,
    },
    ETag,
    ETag8,
    /// `None`: in full, as `2026-07-21T10:00:00Z`.
    Time(Option<TimeFormat>),
    Rule,
    Scoring,
    Attempt,
}

/// How a part of a path is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    AsItIs,
    Encoded,
}

/// Why there is no such placeholder.
pub(super) enum Unknown {
    Name,
    TimeFormat,
}

impl Placeholder {
    /// The placeholder of this name.
    pub(super) fn read(name: &str) -> Result<Self, Unknown> {
        use Written::{AsItIs, Encoded};
        if let Some(form) = name.strip_prefix("event.time:") {
            return TimeFormat::read(form).map(|form| Self::Time(Some(form))).ok_or(Unknown::TimeFormat);
        }
        let metadata = |prefix, written| {
            let name = name.strip_prefix(prefix).filter(|name| is_metadata_name(name))?;
            Some(Self::Metadata { name: name.to_ascii_lowercase(), written })
        };
        let found = metadata("blob.metadata.", AsItIs).or_else(|| metadata("blob.encodedMetadata.", Encoded));
        if let Some(found) = found {
            return Ok(found);
        }
        Ok(match name {
            "blob.url" => Self::Url,
            "blob.folderUrl" => Self::FolderUrl,
            "blob.account" => Self::Account,
            "blob.container" => Self::Container,
            "blob.path" => Self::Path(AsItIs),
            "blob.encodedPath" => Self::Path(Encoded),
            "blob.folder" => Self::Folder { written: AsItIs, slash: false },
            "blob.encodedFolder" => Self::Folder { written: Encoded, slash: false },
            "blob.name" => Self::Name(AsItIs),
            "blob.encodedName" => Self::Name(Encoded),
            "blob.stem" => Self::Stem(AsItIs),
            "blob.encodedStem" => Self::Stem(Encoded),
            "blob.extension" => Self::Extension(AsItIs),
            "blob.encodedExtension" => Self::Extension(Encoded),
            "blob.etag" => Self::ETag,
            "blob.etag8" => Self::ETag8,
            "event.time" => Self::Time(None),
            "rule.id" => Self::Rule,
            "scoring.id" => Self::Scoring,
            "attempt" => Self::Attempt,
            _ => return Err(Unknown::Name),
        })
    }

    /// Two blobs of one rule are told apart by it. `blob.name` is the same in two folders.
    pub(super) fn tells_the_blob(&self) -> bool {
        matches!(self, Self::Url | Self::Path(_) | Self::ETag | Self::ETag8 | Self::Scoring)
    }

    /// It is filled in by the blob and not by rule, attempt and time.
    pub(super) fn is_of_one_blob(&self) -> bool {
        !matches!(self, Self::Time(_) | Self::Rule | Self::Scoring | Self::Attempt)
    }

    pub(super) fn fill(&self, text: &mut String, values: &Values<'_>) {
        let blob = values.blob;
        match self {
            Self::Url => text.push_str(&blob.url),
            Self::FolderUrl => text.push_str(folder_url(blob)),
            Self::Account => text.push_str(&blob.account),
            Self::Container => text.push_str(&blob.container),
            Self::Path(written) => written.write(text, &blob.path),
            Self::Folder { written, slash } => {
                let folder = blob.path.rsplit_once('/').map_or("", |(folder, _)| folder);
                written.write(text, folder);
                if *slash && !folder.is_empty() {
                    text.push('/');
                }
            }
            Self::Name(written) => written.write(text, blob.name()),
            Self::Stem(written) => written.write(text, stem_and_extension(blob.name()).0),
            Self::Extension(written) => written.write(text, stem_and_extension(blob.name()).1),
            Self::Metadata { name, written } => {
                written.write(text, blob.metadata.get(name).map_or("", String::as_str));
            }
            Self::ETag => text.push_str(&blob.etag),
            // Of all of it: which characters of an ETag differ is nowhere promised.
            Self::ETag8 => text.push_str(&digest(&[&blob.etag])[..8]),
            Self::Time(None) => TimeFormat::iso(text, values.event_time),
            Self::Time(Some(form)) => form.write(text, values.event_time),
            Self::Rule => text.push_str(values.rule.as_str()),
            Self::Scoring => text.push_str(values.scoring.as_str()),
            Self::Attempt => text.push_str(&values.attempt.to_string()),
        }
    }
}

impl Written {
    fn write(self, text: &mut String, part: &str) {
        match self {
            Self::AsItIs => text.push_str(part),
            Self::Encoded => text.push_str(&encoded(part).to_string()),
        }
    }
}

/// The URL up to the last slash. An encoded slash is none: it is part of a name.
fn folder_url(blob: &BlobVersion) -> &str {
    blob.url.rfind('/').map_or("", |slash| &blob.url[..=slash])
}

/// A name that only begins with a dot has no extension.
fn stem_and_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 => name.split_at(dot),
        _ => (name, ""),
    }
}
