//! What lies in the simulated storage: uploads, what jobs have written, what was published or staged, and what somebody put there.

use std::collections::{BTreeMap, BTreeSet};

use lifecycle::datastore::DatastorePath;
use lifecycle::job::OutputKind;
use lifecycle::publication::{Refusal, RefusalKind};
use lifecycle::{
    BlobPlace, BlobPrefix, BlobSnapshot, BlobVersion, CopySource, InputSnapshot, PublicationMark, Published,
    PublishedBlob, ScoringId, UnversionedBlob, WriteCondition,
};
use time::OffsetDateTime;

use super::{Cloud, PART};
use crate::account::{self, CONTAINERS};
use crate::publications::Content;
use app::ports::{BlobPage, Inconclusive, PartPage};

impl Cloud {
    /// Copies that lie in folders of groups, with their groups.
    pub(crate) fn copies(&self) -> impl Iterator<Item = (ScoringId, &str)> {
        let all = self.publications.all().map(|(uri, _)| uri).filter(|uri| is_copy(uri));
        all.filter_map(|uri| Some((uri.rsplit('/').nth(2)?.parse().ok()?, uri)))
    }

    /// Removes what was written to a place, in this version.
    pub fn remove(&mut self, at: &BlobPlace, etag: &str) {
        self.publications.remove(&at.uri, etag);
    }

    /// Puts a blob at a URI, in place of whatever jobs have written there.
    pub fn place(&mut self, uri: &str, bytes: u64, now: OffsetDateTime) {
        if self.publications.at(uri).is_some() {
            self.publications.put_foreign(uri, bytes);
        }
        self.placed.insert(uri.to_owned(), (bytes, now));
    }

    /// Somebody writes something else over an output that is there.
    pub(crate) fn overwrite(&mut self, uri: &str, now: OffsetDateTime) {
        if let Some((bytes, _)) = self.output(uri, now) {
            self.place(uri, bytes + 1, now);
        }
    }

    /// What a look at an input shows. What a job could not read yet is not looked at any further.
    ///
    /// # Errors
    /// If a copy into it is under way, or it lies in the archive tier.
    pub fn input(&self, blob: &BlobVersion, now: OffsetDateTime) -> Result<InputSnapshot, Inconclusive> {
        let shown = UnversionedBlob::read(&blob.url).ok().and_then(|blob| self.blob(&blob, now));
        match shown.and_then(|shown| shown.not_readable_yet()) {
            Some(why) => Err(Inconclusive::unfinished(why)),
            None => Ok(self.inputs.look(blob, now)),
        }
    }

    /// A blob as the storage shows it now. What was written as an input is a block blob of some bytes.
    pub fn blob(&self, blob: &UnversionedBlob, now: OffsetDateTime) -> Option<BlobSnapshot> {
        let uploaded = self.uploaded.get(blob);
        if !self.inputs.has_path(&blob.url) {
            return uploaded;
        }
        let input = self.inputs.shown(blob, now)?;
        // With what else was said of this very version.
        uploaded.filter(|shown| shown.etag == input.etag).or(Some(input))
    }

    /// One page of a place, of at most so many blobs. What was written as an input says when.
    pub fn list(&self, place: &BlobPrefix, from: Option<&str>, max: usize, now: OffsetDateTime) -> BlobPage {
        let uploaded = self.uploaded.page(place, None, usize::MAX).blobs.into_iter();
        let mut all: BTreeMap<String, BlobSnapshot> = uploaded.collect();
        for url in self.inputs.urls() {
            let Ok(blob) = UnversionedBlob::read(url) else { continue };
            if place.blob(&blob.path).as_ref() != Ok(&blob) || !blob.path.starts_with(place.prefix()) {
                continue;
            }
            let modified = self.inputs.written(url, now);
            match self.blob(&blob, now) {
                Some(shown) => drop(all.insert(blob.path, BlobSnapshot { modified, ..shown })),
                None => drop(all.remove(&blob.path)),
            }
        }
        let behind = all.into_iter().filter(|(path, _)| from.is_none_or(|from| path.as_str() > from));
        let mut blobs: Vec<_> = behind.take(max.saturating_add(1)).collect();
        let more = blobs.len() > max;
        blobs.truncate(max);
        let next = blobs.last().filter(|_| more).map(|(path, _)| path.clone());
        BlobPage { blobs, next }
    }

    /// The index tags of a blob while it is the version of this ETag.
    pub fn index_tags(
        &self,
        blob: &UnversionedBlob,
        etag: &str,
        now: OffsetDateTime,
    ) -> Result<BTreeMap<String, String>, Inconclusive> {
        match self.blob(blob, now) {
            Some(shown) if shown.etag == etag => Ok(self.uploaded.index_tags(blob, etag).unwrap_or_default()),
            _ => Err(Inconclusive::unfinished("the blob has changed meanwhile")),
        }
    }

    /// The blob that a place is: in the container of the datastore's name, and of the workspace's own datastore in that of the
    /// uploads.
    ///
    /// # Errors
    /// If it is not a path on a datastore.
    pub fn locate(at: &BlobPlace) -> Result<UnversionedBlob, Inconclusive> {
        if is_url(&at.uri) {
            return UnversionedBlob::read(&at.uri).map_err(|why| Inconclusive::not_asked("no blob").caused_by(why));
        }
        let place = DatastorePath::read(&at.uri);
        let place =
            place.ok_or_else(|| Inconclusive::not_asked(format!("`{}` is not a path on a datastore", at.uri)))?;
        let container = if place.datastore == "workspaceblobstore" { CONTAINERS[0] } else { place.datastore.as_str() };
        UnversionedBlob::read(&account::url(container, &place.path))
            .map_err(|why| Inconclusive::not_asked("no blob").caused_by(why))
    }

    /// What lies at a place now: published, written by a job, or put there by somebody.
    pub fn published(&self, at: &BlobPlace, now: OffsetDateTime) -> Option<PublishedBlob> {
        if let Some(written) = self.publications.at(&at.uri) {
            return Some(written.shown.clone());
        }
        if is_url(&at.uri) {
            let shown = self.blob(&UnversionedBlob::read(&at.uri).ok()?, now)?;
            return Some(PublishedBlob { etag: shown.etag, len: shown.size, mark: None });
        }
        let (len, modified) = match at.uri.strip_suffix(PART).filter(|folder| self.is_folder(folder)) {
            Some(folder) => self.output(folder, now)?,
            None if self.is_folder(&at.uri) => return None,
            None => self.output(&at.uri, now)?,
        };
        Some(PublishedBlob { etag: format!("0x{len:x}-{}", modified.unix_timestamp_nanos()), len, mark: None })
    }

    fn is_folder(&self, uri: &str) -> bool {
        let outputs =
            self.jobs.iter().flat_map(|job| job.scoring.submission.iter().flat_map(|sent| sent.outputs.values()));
        outputs.into_iter().any(|output| output.kind == OutputKind::UriFolder && output.uri == uri)
    }

    /// One page of what lies below a folder, of at most so many.
    pub fn parts(&self, folder: &BlobPlace, from: Option<&str>, max: usize, now: OffsetDateTime) -> PartPage {
        let prefix = format!("{}/", folder.uri.trim_end_matches('/'));
        let written = format!("{}{PART}", folder.uri.trim_end_matches('/'));
        let published = self.publications.all().map(|(uri, _)| uri);
        let uris = published.chain(self.placed.keys().map(String::as_str)).chain([written.as_str()]);
        let uris: BTreeSet<&str> = uris.filter(|uri| uri.starts_with(&prefix)).collect();
        let behind = uris.into_iter().filter(|uri| from.is_none_or(|from| *uri > from));
        let mut parts: Vec<CopySource> = behind
            .filter_map(|uri| {
                let at = BlobPlace { uri: uri.to_owned(), ..folder.clone() };
                let PublishedBlob { etag, len, .. } = self.published(&at, now)?;
                Some(CopySource { at, etag, len })
            })
            .take(max.saturating_add(1))
            .collect();
        let more = parts.len() > max;
        parts.truncate(max);
        let next = parts.last().filter(|_| more).map(|part| part.at.uri.clone());
        PartPage { parts, next }
    }

    /// Copies a version of a blob to a place, if what lies there is as the condition says.
    pub fn publish(
        &mut self,
        source: &CopySource,
        to: &BlobPlace,
        condition: &WriteCondition,
        mark: &PublicationMark,
        now: OffsetDateTime,
    ) -> Published {
        let there = match BlobVersion::read(&source.at.uri, &source.etag) {
            // An upload; a path that nobody writes to holds whatever version it is asked about.
            Ok(version) if is_url(&source.at.uri) && self.publications.at(&source.at.uri).is_none() => {
                match self.inputs.look(&version, now) {
                    InputSnapshot::Present(seen) if seen.etag == source.etag => {
                        Some(PublishedBlob { etag: seen.etag, len: source.len, mark: None })
                    }
                    _ => None,
                }
            }
            _ => self.published(&source.at, now).filter(|there| there.etag == source.etag),
        };
        let Some(there) = there else { return Published::SourceChanged };
        if let Some(kind) = self.bad.not_copied.get(&source.at.uri).copied() {
            let status = if kind == RefusalKind::MayNotReadSource { 403 } else { 409 };
            let text = format!("storage answered {status} (CannotVerifyCopySource) about {}", source.at.uri);
            return Published::Refused(Refusal { kind, text });
        }
        // Of the copy of an upload the upload is told: the copy between them goes.
        let of_copy = self.publications.at(&source.at.uri).map(|there| there.content.clone());
        let content = match of_copy {
            Some(Content::CopyOf { uri, etag }) if is_url(&uri) => Content::CopyOf { uri, etag },
            _ => Content::CopyOf { uri: source.at.uri.clone(), etag: source.etag.clone() },
        };
        self.write(to, (content, there.len), condition, mark, now)
    }

    /// Writes a document of the app's own to a place, if what lies there is as the condition says.
    pub fn write_manifest(
        &mut self,
        to: &BlobPlace,
        body: Vec<u8>,
        condition: &WriteCondition,
        mark: &PublicationMark,
        now: OffsetDateTime,
    ) -> Published {
        let len = u64::try_from(body.len()).unwrap_or(u64::MAX);
        self.write(to, (Content::Document(body), len), condition, mark, now)
    }

    fn write(
        &mut self,
        to: &BlobPlace,
        (content, len): (Content, u64),
        condition: &WriteCondition,
        mark: &PublicationMark,
        now: OffsetDateTime,
    ) -> Published {
        let there = self.published(to, now);
        self.publications.write(&to.uri, there.as_ref(), condition, (content, len, mark))
    }
}

/// It lies where members of groups are staged.
pub(crate) fn is_copy(uri: &str) -> bool {
    uri.contains("/scorekeeper-staging/")
}

fn is_url(uri: &str) -> bool {
    uri.starts_with("https://")
}
