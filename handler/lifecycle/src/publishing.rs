//! What is published of a scoring's verified result, and what became of that.
//!
//! It is on record before anything is written: the paths, the version that was verified, and what to do where something lies
//! already.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::digest::digest;
use crate::job::OutputKind;
use crate::rule::IfExists;
use crate::text::one_line;
use crate::unversioned::UnversionedBlob;

/// Name of the blob that lists the files of a published folder.
pub const MANIFEST: &str = "manifest.json";
/// Files of a folder that is published. A folder of more is not.
pub const MAX_PARTS: usize = 5_000;
/// Characters that are kept of what became of a publication.
pub(crate) const MAX_TEXT: usize = 300;

/// What is published of a scoring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publishing {
    /// Since when; for how long what is refused is tried again counts from here.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// When it was scored, where an operator ordered it after that: it goes by the rule as it is now, and ends as scored whatever
    /// comes of it.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub scored: Option<OffsetDateTime>,
    /// The outputs that are published, in the order in which they are.
    pub outputs: Vec<Publication>,
}

/// One output that is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Publication {
    /// The output's name in the rule.
    pub output: String,
    /// Whether it is one file or a folder.
    pub kind: OutputKind,
    /// The path that the user chose; of a folder the one in which its manifest lies.
    pub uri: String,
    /// What to do where something lies there.
    pub if_exists: IfExists,
    /// ETag and length of the file that was verified; of a folder what stands for all of its files, and their length. None of a
    /// folder of more than [`MAX_PARTS`] files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<FileVersion>,
    /// What became of it; `None`: it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<PublicationEnd>,
}

/// Names the place of a blob that is published, whichever rule, datastore or spelling of the account leads there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublishedPlace(String);

impl PublishedPlace {
    /// The place of this blob. By its account's name and not by the host, which rules, datastores and events spell differently: names of
    /// accounts are unique in a cloud, whichever tenant has them, and an app serves one cloud. Two storages that share a name (two
    /// emulators) are one to it, so that the newer of two results is published in one of them alone.
    pub fn of(blob: &UnversionedBlob) -> Self {
        Self(digest(&["published", &blob.account, &blob.container, &blob.path]))
    }

    /// Its name: 32 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A version of a file, or of all files of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileVersion {
    /// ETag of the file, without quotes; of a folder a digest over paths and ETags of its files.
    pub etag: String,
    /// Length of the file in bytes, or of all files of the folder together.
    pub len: u64,
}

/// What became of a publication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PublicationEnd {
    /// It was written, or was found there from a copy whose answer was lost.
    Published {
        /// Where: the path that was chosen, or the one beside it.
        uri: String,
        /// ETag of what was written.
        etag: String,
        /// Its place, by which a newer result that was published there since is found. None of a path beside the chosen one, where a look has
        /// found it: no other result is written there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<PublishedPlace>,
    },
    /// It is not published, and the scoring is `scored` all the same.
    NotPublished {
        /// What prevented it: tells whether a person has to do something.
        why: NotPublished,
        /// The same for people; cut to 300 characters.
        text: String,
    },
}

/// Why a result is not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NotPublished {
    /// A newer result lies there.
    Newer,
    /// The rule does not say any more that it is published.
    Unwanted,
    /// Something of somebody else lies there, and is to stay.
    Exists,
    /// The blob that was scored lies there.
    Input,
    /// The storage refused it for as long as it was tried.
    Refused,
    /// It has more files than are published, or its path is longer than can be kept.
    TooLarge,
    /// An operator ordered it, and the result is not the one that was verified any more.
    Changed,
}

impl FileVersion {
    /// The version of a folder: another one if any of its files, each with path, ETag and length, is another one. In whatever order
    /// they come.
    pub fn of_folder<'a>(files: impl Iterator<Item = (&'a str, &'a str, u64)>) -> Self {
        let mut files: Vec<_> = files.collect();
        files.sort_unstable();
        let len = files.iter().map(|(.., len)| *len).fold(0, u64::saturating_add);
        let parts: Vec<&str> = files.iter().flat_map(|(path, etag, _)| [*path, *etag]).collect();
        Self { etag: digest(&parts), len }
    }
}

impl NotPublished {
    /// Whether somebody has to do something about it.
    pub fn needs_person(self) -> bool {
        match self {
            Self::Newer | Self::Unwanted => false,
            Self::Exists | Self::Input | Self::Refused | Self::TooLarge | Self::Changed => true,
        }
    }

    /// Whether it may come to something else if it is ordered. A newer result stays, as does the blob that was scored, and what was verified does not come back.
    fn may_pass(self) -> bool {
        match self {
            Self::Newer | Self::Input | Self::Changed => false,
            Self::Unwanted | Self::Exists | Self::Refused | Self::TooLarge => true,
        }
    }
}

impl PublicationEnd {
    pub(crate) fn not(why: NotPublished, text: &str) -> Self {
        Self::NotPublished { why, text: one_line(text, MAX_TEXT) }
    }
}

impl std::fmt::Display for PublicationEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Published { uri, .. } => write!(f, "published at {uri}"),
            Self::NotPublished { text, .. } => write!(f, "not published, {text}"),
        }
    }
}

impl Publishing {
    /// The one that is next, with its number.
    pub fn next(&self) -> Option<(usize, &Publication)> {
        self.outputs.iter().enumerate().find(|(_, one)| one.end.is_none())
    }

    /// Where the first of it is published that is.
    pub fn first_published(&self) -> Option<&str> {
        self.outputs.iter().find_map(|one| match &one.end {
            Some(PublicationEnd::Published { uri, .. }) => Some(uri.as_str()),
            _ => None,
        })
    }

    /// Why some of it is not published, if somebody has to do something about that.
    pub fn needs_person(&self) -> Option<&str> {
        self.outputs.iter().find_map(|one| match &one.end {
            Some(PublicationEnd::NotPublished { why, text }) if why.needs_person() => Some(text.as_str()),
            _ => None,
        })
    }

    /// An operator ordered it of what was scored already.
    pub fn is_ordered(&self) -> bool {
        self.scored.is_some()
    }

    /// Whether an order may still publish something of it: what is not published, for a reason that somebody may have seen to.
    pub fn can_be_ordered(&self) -> bool {
        self.outputs.iter().any(Publication::can_be_ordered)
    }

    /// The same as an operator orders it of what was scored at this time.
    pub(crate) fn ordered(&self, scored: OffsetDateTime) -> Self {
        let mut again = Self { scored: Some(self.scored.unwrap_or(scored)), ..self.clone() };
        again.outputs.iter_mut().filter(|one| one.can_be_ordered()).for_each(|one| one.end = None);
        again
    }

    /// What became of all of it, for people.
    pub fn told(&self) -> String {
        let several = self.outputs.len() > 1;
        let each = self.outputs.iter().map(|one| {
            let end =
                one.end.as_ref().map_or_else(|| format!("is to be published at {}", one.uri), ToString::to_string);
            if several { format!("{}: {end}", one.output) } else { end }
        });
        each.collect::<Vec<_>>().join("; ")
    }
}

impl Publication {
    fn can_be_ordered(&self) -> bool {
        matches!(&self.end, Some(PublicationEnd::NotPublished { why, .. }) if why.may_pass())
    }

    /// Where what people read lies: the file itself, or the manifest of a folder.
    pub fn target(&self) -> String {
        target(self.kind, &self.uri)
    }
}

/// Where what people read lies of an output of this kind that is published there.
pub(crate) fn target(kind: OutputKind, uri: &str) -> String {
    match kind {
        OutputKind::UriFile => uri.to_owned(),
        OutputKind::UriFolder => format!("{}/{MANIFEST}", uri.trim_end_matches('/')),
    }
}
