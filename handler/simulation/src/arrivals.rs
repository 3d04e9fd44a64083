//! How uploads come to their names: at once, under a temporary one that is changed, or with the folder that they lie in.
//!
//! What was renamed is there from the beginning; its events come in any order, twice, and long after each other. So an
//! event never tells of something that is not there yet, as Event Grid's do not.

use lifecycle::{BlobVersion, ScoringId, UnversionedBlob};
use serde_json::{Value, json};

use crate::account;
use crate::executor::Rng;
use crate::faults::{Dice, Kind};
use crate::invariants::Invariants;
use crate::names;
use crate::uploaded::Uploaded;

/// Length of every upload in bytes.
pub(super) const SIZE: u64 = 524_288;
/// The folder that is renamed as a whole, and what it was called before.
const FOLDER: (&str, &str) = ("day", "_temporary/0/day");

/// How an upload came to its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It was written under it.
    Written,
    /// It was written under a temporary name.
    Renamed,
    /// It was written into a folder that was renamed then.
    WithFolder,
    /// It was written under a name that a URL can be misread as another one.
    OddlyNamed,
}

impl Arrival {
    /// Draws one; without its kind of faults everything is written under its name.
    pub(super) fn draw(dice: &mut Dice) -> Self {
        if !dice.strikes(Kind::Renames, 300) {
            return Self::Written;
        }
        if dice.stream(Kind::Renames).chance(500) { Self::Renamed } else { Self::WithFolder }
    }

    /// The path that an upload of this name has in the end.
    pub(super) fn path(self, name: &str) -> String {
        match self {
            Self::Written | Self::Renamed | Self::OddlyNamed => name.to_owned(),
            Self::WithFolder => format!("{}/{name}", FOLDER.0),
        }
    }

    /// The events about it, with what must not be told before: a blob that was written under its name.
    pub(super) fn events(self, container: &str, path: &str, etag: &str) -> Vec<Value> {
        let name = path.rsplit('/').next().unwrap_or(path);
        match self {
            Self::Written => vec![created(container, path, etag, "PutBlob")],
            Self::OddlyNamed => {
                let told = names::urls(container, path).map(|url| {
                    let mut event = created(container, path, etag, "PutBlob");
                    event["data"]["url"] = url.into();
                    event
                });
                told.into()
            }
            Self::Renamed => {
                let temporary = format!("{path}.filepart");
                vec![
                    created(container, &temporary, etag, "SftpCommit"),
                    renamed("BlobRenamed", container, &temporary, path),
                ]
            }
            Self::WithFolder => {
                let (now, before) = FOLDER;
                vec![
                    created(container, &format!("{before}/{name}"), etag, "FlushWithClose"),
                    renamed("DirectoryRenamed", container, before, now),
                ]
            }
        }
    }

    /// Puts the blob where a look finds it, if an event alone does not tell all.
    pub(super) fn put(self, container: &str, path: &str, etag: &str, uploaded: &mut Uploaded) {
        if let (Self::Renamed | Self::WithFolder, Ok(blob)) =
            (self, UnversionedBlob::read(&account::url(container, path)))
        {
            uploaded.put_version(&blob, etag, SIZE);
        }
    }
}

pub(super) fn created(container: &str, path: &str, etag: &str, api: &str) -> Value {
    json!({
        "id": format!("{path}-{etag}"),
        "eventType": "Microsoft.Storage.BlobCreated",
        "subject": format!("/blobServices/default/containers/{container}/blobs/{path}"),
        "eventTime": "2026-07-21T10:00:00.1234567Z",
        "data": { "api": api, "eTag": etag, "contentLength": SIZE, "blobType": "BlockBlob", "url": account::url(container, path),
            // Later versions of a path have greater ETags here.
            "sequencer": etag },
    })
}

/// The event about a blob that was moved away and comes back to its path, with its version.
pub(super) fn moved_back(container: &str, path: &str) -> Value {
    renamed("BlobRenamed", container, &format!("_temporary/{path}"), path)
}

/// The event about a blob that was moved; this is the URL of its former name.
pub(super) fn moved(container: &str, from: String, to: &str) -> Value {
    let mut event = renamed("BlobRenamed", container, "", to);
    event["data"]["sourceUrl"] = from.into();
    event
}

fn renamed(kind: &str, container: &str, from: &str, to: &str) -> Value {
    // As Event Grid tells of what only a hierarchical namespace has.
    let hierarchical = |path| account::url(container, path).replacen(".blob.", ".dfs.", 1);
    json!({
        "id": format!("{from}-{to}"),
        "eventType": format!("Microsoft.Storage.{kind}"),
        "subject": format!("/blobServices/default/containers/{container}/blobs/{to}"),
        "eventTime": "2026-07-21T10:00:00.1234567Z",
        "data": { "api": "RenameFile", "sourceUrl": hierarchical(from), "destinationUrl": hierarchical(to) },
    })
}

/// A page of a folder's listing has so many files.
pub(super) fn page_size(draw: &mut Rng) -> usize {
    1 + draw.index(3)
}

/// No scoring is of a temporary name: what is renamed is scored once, under its last name.
pub(super) fn check_temporary_names(invariants: &mut Invariants) {
    let temporary = |blob: &BlobVersion| blob.path.ends_with(".filepart") || blob.path.starts_with("_temporary/");
    let found: Option<ScoringId> =
        invariants.scorings().find(|scoring| temporary(&scoring.blob)).map(|scoring| scoring.id.clone());
    if let Some(id) = found {
        invariants.broken("temporary names", Some(&id), "a temporary name was taken in");
    }
}
