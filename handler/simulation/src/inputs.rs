//! The input blobs of the simulated storage: what each path held, and since when.

use std::collections::BTreeMap;

use lifecycle::pending::{BlobKind, CopyState};
use lifecycle::{BlobSnapshot, BlobVersion, IndexTags, InputContent, InputSnapshot, SeenVersion, UnversionedBlob};
use time::OffsetDateTime;

/// Length of every input in bytes.
const BYTES: u64 = 524_288;

/// A version of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    etag: String,
    /// Stands for the bytes: equal numbers are equal bytes.
    content: u64,
    /// Whether its writer gave an MD5.
    has_md5: bool,
}

/// What a path held at some time.
enum Held<'a> {
    /// Nobody ever wrote there: whatever version is asked about.
    Anything,
    /// Nothing: it was deleted, or not written yet.
    Nothing,
    /// This version, and no other.
    Input(&'a Input),
}

/// Input blobs by URL. A path that nobody wrote to holds whatever version it is asked about, so that tests which are not
/// about inputs need none.
#[derive(Debug, Default)]
pub struct Inputs {
    paths: BTreeMap<String, Vec<(OffsetDateTime, Option<Input>)>>,
    marks: u64,
}

impl Inputs {
    /// Writes a version. `content` stands for its bytes.
    pub fn put(&mut self, url: &str, etag: &str, content: u64, has_md5: bool, now: OffsetDateTime) {
        self.set(url, Some(Input { etag: etag.to_owned(), content, has_md5 }), now);
    }

    /// Deletes what is there; from then on the path is known to hold nothing.
    pub fn delete(&mut self, url: &str, now: OffsetDateTime) {
        self.set(url, None, now);
    }

    /// Changes the metadata of what is there: another ETag, the same content. Returns the ETag.
    pub fn mark(&mut self, url: &str, now: OffsetDateTime) -> Option<String> {
        let Held::Input(input) = self.at(url, now) else { return None };
        let input = input.clone();
        self.marks += 1;
        let etag = format!("{}m{}", input.etag, self.marks);
        self.set(url, Some(Input { etag: etag.clone(), ..input }), now);
        Some(etag)
    }

    fn set(&mut self, url: &str, input: Option<Input>, now: OffsetDateTime) {
        self.paths.entry(url.to_owned()).or_default().push((now, input));
    }

    /// What a path held at a time.
    fn at(&self, url: &str, at: OffsetDateTime) -> Held<'_> {
        let Some(versions) = self.paths.get(url) else { return Held::Anything };
        let last = versions.iter().rfind(|(since, _)| *since <= at);
        last.and_then(|(_, input)| input.as_ref()).map_or(Held::Nothing, Held::Input)
    }

    /// What a look at a blob version's path shows.
    pub fn look(&self, blob: &BlobVersion, now: OffsetDateTime) -> InputSnapshot {
        match self.at(&blob.url, now) {
            Held::Anything => InputSnapshot::Present(SeenVersion {
                etag: blob.etag.clone(),
                content: InputContent { bytes: BYTES, md5: None },
            }),
            Held::Nothing => InputSnapshot::Gone,
            Held::Input(input) => InputSnapshot::Present(SeenVersion {
                etag: input.etag.clone(),
                content: InputContent { bytes: BYTES, md5: input.has_md5.then(|| format!("md5-{}", input.content)) },
            }),
        }
    }

    /// URLs that somebody ever wrote to.
    pub(crate) fn urls(&self) -> impl Iterator<Item = &str> {
        self.paths.keys().map(String::as_str)
    }

    /// Since when a path holds what it holds.
    pub(crate) fn written(&self, url: &str, now: OffsetDateTime) -> Option<OffsetDateTime> {
        self.paths.get(url)?.iter().rfind(|(since, _)| *since <= now).map(|(since, _)| *since)
    }

    /// Whether somebody ever wrote there.
    pub(crate) fn has_path(&self, url: &str) -> bool {
        self.paths.contains_key(url)
    }

    /// What a look shows of a blob that somebody wrote, whatever its version.
    pub(crate) fn shown(&self, blob: &UnversionedBlob, now: OffsetDateTime) -> Option<BlobSnapshot> {
        let shown = |input: &Input| BlobSnapshot {
            etag: input.etag.clone(),
            size: BYTES,
            content_type: Some("text/csv".to_owned()),
            kind: BlobKind::Block,
            archived: false,
            copy: CopyState::Whole,
            is_folder: false,
            modified: None,
            metadata: BTreeMap::new(),
            index_tags: IndexTags::NotAsked,
        };
        match self.at(&blob.url, now) {
            Held::Anything | Held::Nothing => None,
            Held::Input(input) => Some(shown(input)),
        }
    }

    /// The content that a path held at a time. `Err`: nothing was there; `Ok(None)`: nobody ever wrote there.
    pub(crate) fn content(&self, url: &str, at: OffsetDateTime) -> Result<Option<u64>, NothingThere> {
        match self.at(url, at) {
            Held::Anything => Ok(None),
            Held::Nothing => Err(NothingThere),
            Held::Input(input) => Ok(Some(input.content)),
        }
    }

    /// The content of a version, whenever it was there.
    pub(crate) fn content_of(&self, url: &str, etag: &str) -> Option<u64> {
        let inputs = self.paths.get(url)?.iter().filter_map(|(_, input)| input.as_ref());
        inputs.filter(|input| input.etag == etag).map(|input| input.content).next()
    }
}

/// What happens to an input at some time.
#[derive(Debug, Clone)]
pub(crate) enum InputChange {
    /// A version is written over what is there.
    Put { etag: String, content: u64, has_md5: bool },
    /// What is there is deleted.
    Delete,
    /// Its metadata is changed: it gets another ETag.
    Mark,
    /// A version that was there before comes back by a rename.
    RollBack { etag: String, content: u64, has_md5: bool },
}

impl Inputs {
    /// Lets the change happen at this path now.
    pub(crate) fn change(&mut self, url: &str, change: &InputChange, now: OffsetDateTime) {
        match change {
            InputChange::Put { etag, content, has_md5 } | InputChange::RollBack { etag, content, has_md5 } => {
                self.put(url, etag, *content, *has_md5, now);
            }
            InputChange::Delete => self.delete(url, now),
            InputChange::Mark => drop(self.mark(url, now)),
        }
    }

    /// Whether a path that somebody wrote to has held nothing since it was first written to.
    pub(crate) fn was_deleted(&self, url: &str) -> bool {
        self.paths.get(url).is_some_and(|versions| versions.iter().any(|(_, input)| input.is_none()))
    }

    /// Whether a version came back to a path after another one had taken its place.
    pub(crate) fn was_rolled_back(&self, url: &str) -> bool {
        let Some(versions) = self.paths.get(url) else { return false };
        let etags: Vec<_> = versions.iter().map(|(_, input)| input.as_ref().map(|input| &input.etag)).collect();
        (2..etags.len()).any(|n| etags[n].is_some() && etags[n] != etags[n - 1] && etags[..n - 1].contains(&etags[n]))
    }

    /// Whether a path holds this version.
    pub(crate) fn holds(&self, url: &str, etag: &str, now: OffsetDateTime) -> bool {
        matches!(self.at(url, now), Held::Input(input) if input.etag == etag)
    }

    /// Whether a path has held more than one content.
    pub(crate) fn was_overwritten(&self, url: &str) -> bool {
        let inputs = self.paths.get(url).into_iter().flatten().filter_map(|(_, input)| input.as_ref());
        inputs.map(|input| input.content).collect::<std::collections::BTreeSet<_>>().len() > 1
    }

    /// Whether a path that has held more than one content holds none now.
    pub(crate) fn was_overwritten_and_is_gone(&self, url: &str) -> bool {
        let is_gone =
            self.paths.get(url).and_then(|versions| versions.last()).is_some_and(|(_, input)| input.is_none());
        is_gone && self.was_overwritten(url)
    }

    /// Whether a version's writer gave an MD5.
    pub(crate) fn has_md5(&self, url: &str, etag: &str) -> bool {
        let inputs = self.paths.get(url).into_iter().flatten().filter_map(|(_, input)| input.as_ref());
        inputs.into_iter().any(|input| input.etag == etag && input.has_md5)
    }
}

/// Nothing lay there at the time of the look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NothingThere;
