//! What uploads leave in the simulated storage: blobs by name, with their versions. Time plays no part in it.

use std::collections::BTreeMap;
use std::ops::Bound;

use app::ports::BlobPage;
use lifecycle::pending::{BlobKind, BlobSnapshot, CopyState};
use lifecycle::{BlobPrefix, BlobVersion, IndexTags, UnversionedBlob};

/// Account, container and path of a blob.
type Name = (String, String, String);

/// Blobs that were uploaded, as the storage shows them.
#[derive(Debug, Default)]
pub struct Uploaded {
    blobs: BTreeMap<Name, BlobSnapshot>,
    versions: u64,
}

fn name(blob: &UnversionedBlob) -> Name {
    (blob.account.clone(), blob.container.clone(), blob.path.clone())
}

/// As properties and lists show it.
fn without_tags(shown: &BlobSnapshot) -> BlobSnapshot {
    BlobSnapshot { index_tags: IndexTags::NotAsked, ..shown.clone() }
}

impl Uploaded {
    /// A block blob of so many bytes, in a version that no blob had before.
    pub fn put(&mut self, blob: &UnversionedBlob, size: u64) -> BlobVersion {
        self.versions += 1;
        let etag = format!("0xSIM{}", self.versions);
        self.put_version(blob, &etag, size)
    }

    /// A block blob in this version.
    ///
    /// # Panics
    /// If `etag` is none.
    pub fn put_version(&mut self, blob: &UnversionedBlob, etag: &str, size: u64) -> BlobVersion {
        let snapshot = BlobSnapshot {
            etag: etag.to_owned(),
            size,
            content_type: Some("text/csv".to_owned()),
            kind: BlobKind::Block,
            archived: false,
            copy: CopyState::Whole,
            is_folder: false,
            modified: None,
            metadata: BTreeMap::new(),
            index_tags: IndexTags::NotAsked,
        };
        self.blobs.insert(name(blob), snapshot);
        blob.version(etag).expect("a version is named by its ETag")
    }

    /// Changes what the storage shows of a blob, if it is there.
    pub fn change(&mut self, blob: &UnversionedBlob, change: impl FnOnce(&mut BlobSnapshot)) {
        if let Some(shown) = self.blobs.get_mut(&name(blob)) {
            change(shown);
        }
    }

    /// Removes a blob, with its version; nothing happens if it is not there.
    pub fn remove(&mut self, blob: &UnversionedBlob) {
        self.blobs.remove(&name(blob));
    }

    /// Gives a blob another name; its version stays.
    pub fn rename(&mut self, from: &UnversionedBlob, to: &UnversionedBlob) {
        if let Some(shown) = self.blobs.remove(&name(from)) {
            self.blobs.insert(name(to), shown);
        }
    }

    /// Gives a folder, and by that all of its files, another name.
    pub fn rename_folder(&mut self, from: &UnversionedBlob, to: &UnversionedBlob) {
        let prefix = format!("{}/", from.path);
        for (path, shown) in self.below((&from.account, &from.container, &prefix), None, usize::MAX).blobs {
            let rest = path.strip_prefix(&prefix).unwrap_or(&path);
            self.blobs.remove(&(from.account.clone(), from.container.clone(), path.clone()));
            self.blobs.insert((to.account.clone(), to.container.clone(), format!("{}/{rest}", to.path)), shown);
        }
    }

    /// The blob as it is now. Its index tags are told to whoever asks for them.
    pub fn get(&self, blob: &UnversionedBlob) -> Option<BlobSnapshot> {
        self.blobs.get(&name(blob)).map(without_tags)
    }

    /// The index tags of a blob, if it is the version of this ETag.
    pub(crate) fn index_tags(&self, blob: &UnversionedBlob, etag: &str) -> Option<BTreeMap<String, String>> {
        let shown = self.blobs.get(&name(blob)).filter(|shown| shown.etag == etag)?;
        Some(match &shown.index_tags {
            IndexTags::Seen(tags) => tags.clone(),
            IndexTags::NotAsked | IndexTags::NotSeen(_) => BTreeMap::new(),
        })
    }

    /// One page of a place, of at most so many blobs.
    pub fn page(&self, place: &BlobPrefix, from: Option<&str>, max: usize) -> BlobPage {
        // Of any name there, as it may be an emulator's, whose account is no label of a host.
        let account = place.blob("-").map(|blob| blob.account).unwrap_or_default();
        self.below((&account, place.container(), place.prefix()), from, max)
    }

    fn below(&self, (account, container, prefix): (&str, &str, &str), from: Option<&str>, max: usize) -> BlobPage {
        let name = |path: &str| (account.to_owned(), container.to_owned(), path.to_owned());
        let begin = match from {
            Some(last) => Bound::Excluded(name(last)),
            None => Bound::Included(name(prefix)),
        };
        let all = self.blobs.range((begin, Bound::Unbounded));
        let all = all
            .take_while(|((its, within, path), _)| its == account && within == container && path.starts_with(prefix));
        let mut blobs: Vec<_> =
            all.take(max.saturating_add(1)).map(|((.., path), shown)| (path.clone(), without_tags(shown))).collect();
        let more = blobs.len() > max;
        blobs.truncate(max);
        let next = blobs.last().filter(|_| more).map(|(path, _)| path.clone());
        BlobPage { blobs, next }
    }
}
