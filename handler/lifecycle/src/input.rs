//! The input as storage shows it, and whether it is what a scoring was made for.

use crate::id::ScoringId;

/// What was uploaded, as far as storage tells it without a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputContent {
    /// Length of the blob in bytes, by its properties.
    pub bytes: u64,
    /// `Content-MD5`, in base64 as storage keeps it. Many writers do not set it; nobody checks it against the content.
    pub md5: Option<String>,
}

/// The version that a path holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenVersion {
    /// Its ETag, unquoted, as in [`BlobVersion`](crate::BlobVersion).
    pub etag: String,
    /// Length and `Content-MD5`, by which a changed ETag is told from changed content.
    pub content: InputContent,
}

/// What the path of a scoring's blob holds at a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputSnapshot {
    /// A blob lies there, in the version that is told.
    Present(SeenVersion),
    /// Nothing: storage answered 404 `BlobNotFound`. A container that is missing, an account that is off or a name that does not
    /// resolve is no such answer.
    Gone,
}

/// How a version that was seen stands to the one that a scoring was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    /// It is that version, or one that joined it before.
    SameVersion,
    /// Another ETag with equal length and equal MD5: metadata, tags or tier were changed, or the same bytes written
    /// again.
    SameContent,
    /// Another content, or nobody can tell.
    Other,
}

/// What a look at the input came to, once everything that follows from it for *other* scorings is on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputFound {
    /// The version that the scoring was made for, or one that joined it.
    Named(SeenVersion),
    /// The same content under an ETag that no scoring has; it joins this one.
    SameContent(SeenVersion),
    /// The version that the scoring was made for, with the content of another scoring of its path: it joins that one.
    SameAs(ScoringId),
    /// Another content, which has a scoring of its own in the ledger.
    Newer {
        /// The ETag of what the path holds now.
        etag: String,
        /// Its scoring under the same rule.
        scoring: ScoringId,
    },
    /// Another content, which the rule does not want: no scoring takes this one's place.
    Unwanted {
        /// The ETag of what the path holds now.
        etag: String,
        /// Why the rule does not want it.
        why: String,
    },
    /// The blob is not there.
    Gone,
    /// It was not found out: why, and the remedy.
    NotSeen(String),
}
