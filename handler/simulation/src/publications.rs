//! What lies at paths that results are published to, and what lay there before. Time plays no part in it.

use std::collections::BTreeMap;

use lifecycle::{PublicationMark, Published, PublishedBlob, WriteCondition};

/// What was copied, or written, to a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A blob of this URI, in this version.
    CopyOf {
        /// URI of the blob that was copied.
        uri: String,
        /// ETag of the version that was copied.
        etag: String,
    },
    /// A document of the app's own.
    Document(Vec<u8>),
    /// Bytes that somebody else wrote there.
    Foreign,
}

/// One blob that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// As a look shows it.
    pub shown: PublishedBlob,
    /// Where its bytes came from.
    pub content: Content,
}

/// All that was written, by URI, the newest last.
#[derive(Debug, Default)]
pub struct Publications {
    written: BTreeMap<String, Vec<Publication>>,
    versions: u64,
}

impl Publications {
    /// What lies at a URI, if something was written there.
    pub fn at(&self, uri: &str) -> Option<&Publication> {
        self.written.get(uri)?.last()
    }

    /// Everything that ever lay at a URI, the oldest first: what its readers may have seen.
    pub fn history(&self, uri: &str) -> &[Publication] {
        self.written.get(uri).map(Vec::as_slice).unwrap_or_default()
    }

    /// All places, with what lies there.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Publication)> {
        self.written.iter().filter_map(|(uri, written)| Some((uri.as_str(), written.last()?)))
    }

    /// What the copy that lies there was made of.
    pub(super) fn made_of(&self, uri: &str) -> Option<&str> {
        match &self.at(uri)?.content {
            Content::CopyOf { uri, .. } => Some(uri),
            Content::Document(_) | Content::Foreign => None,
        }
    }

    /// Takes away what lies there, if it is this version.
    pub(super) fn remove(&mut self, uri: &str, etag: &str) {
        if self.at(uri).is_some_and(|there| there.shown.etag == etag) {
            self.written.remove(uri);
        }
    }

    /// Somebody else writes something there.
    pub fn put_foreign(&mut self, uri: &str, len: u64) {
        self.put(uri, Content::Foreign, len, None);
    }

    /// Writes, if what is `there` is as the condition says.
    pub(super) fn write(
        &mut self,
        uri: &str,
        there: Option<&PublishedBlob>,
        condition: &WriteCondition,
        (content, len, mark): (Content, u64, &PublicationMark),
    ) -> Published {
        let holds = match (condition, there) {
            (WriteCondition::Absent, there) => there.is_none(),
            (WriteCondition::Unchanged(etag), Some(there)) => there.etag == *etag,
            (WriteCondition::Unchanged(_), None) => false,
        };
        if !holds {
            return Published::DestinationChanged;
        }
        let etag = self.put(uri, content, len, Some(mark.clone()));
        Published::Written { etag }
    }

    fn put(&mut self, uri: &str, content: Content, len: u64, mark: Option<PublicationMark>) -> String {
        self.versions += 1;
        let etag = format!("0xPUB{}", self.versions);
        let shown = PublishedBlob { etag: etag.clone(), len, mark };
        self.written.entry(uri.to_owned()).or_default().push(Publication { shown, content });
        etag
    }
}
