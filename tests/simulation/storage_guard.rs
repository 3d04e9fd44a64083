//! The storage as it is to an app without one of its guards: what the guard would ask is not asked, or its answer is bent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use app::ports::{Answered, BlobPage, Blobs, Inconclusive, NamedBy, PartPage};
use async_trait::async_trait;
use lifecycle::{
    BlobPlace, BlobPrefix, BlobSnapshot, BlobVersion, CopySource, InputContent, InputSnapshot, OutputPrint,
    OutputSnapshot, PublicationMark, Published, PublishedBlob, Scoring, ScoringId, SeenVersion, UnversionedBlob,
    WriteCondition,
};
use time::OffsetDateTime;

/// The guard that an app without it would have at the storage.
#[derive(Clone, Copy)]
pub(super) enum StorageGuard {
    /// An output is looked at before it is shown as scored. Without it, it is always there.
    Output,
    /// The attempt's output path is looked at before a request is sent again. Without it, nothing is ever there.
    OutputPath,
    /// A look at an upload that failed says nothing. Without it, it found nothing.
    FailedUpload,
    /// A folder is listed to its end. Without it, only its first page is asked for.
    FurtherPages,
    /// An input is looked at before its job. Without it, it is always the version that was named.
    Input,
    /// A look at an input that failed says nothing. Without it, it found nothing.
    FailedInput,
    /// A look at index tags that failed says nothing. Without it, it found none.
    FailedTags,
    /// What lies at a published path says how new it is. Without it, everything of ours is older.
    PublishedOrder,
    /// A copy is made only if what was looked at still lies there. Without it, the last one stays.
    PublishedCondition,
    /// Only the version of an output that was verified is copied. Without it, whatever lies there by then.
    VerifiedSource,
}

/// A storage to an app without one guard.
struct StorageWithout {
    guard: StorageGuard,
    inner: Arc<dyn Blobs>,
}

impl StorageGuard {
    pub(super) fn removed(self, inner: Arc<dyn Blobs>) -> Arc<dyn Blobs> {
        Arc::new(StorageWithout { guard: self, inner })
    }
}

impl StorageWithout {
    /// As a copy without a condition on its source would.
    async fn publish_what_is_there(
        &self,
        source: &CopySource,
        to: &BlobPlace,
        condition: &WriteCondition,
        mark: &PublicationMark,
    ) -> Result<Answered<Published>, Inconclusive> {
        let mut source = source.clone();
        loop {
            let answered = self.inner.publish(&source, to, condition, mark).await?;
            match self.inner.published(&source.at).await? {
                Some(there) if answered.value == Published::SourceChanged => source.etag = there.etag,
                _ => return Ok(answered),
            }
        }
    }
}

#[async_trait]
impl Blobs for StorageWithout {
    async fn input(&self, blob: &BlobVersion) -> Result<InputSnapshot, Inconclusive> {
        match self.guard {
            StorageGuard::Input => {
                let content = InputContent { bytes: 1, md5: None };
                Ok(InputSnapshot::Present(SeenVersion { etag: blob.etag.clone(), content }))
            }
            StorageGuard::FailedInput => Ok(self.inner.input(blob).await.unwrap_or(InputSnapshot::Gone)),
            _ => self.inner.input(blob).await,
        }
    }

    async fn output_print(&self, scoring: &Scoring) -> Result<Option<OutputPrint>, Inconclusive> {
        match self.guard {
            StorageGuard::OutputPath => Ok(None),
            _ => self.inner.output_print(scoring).await,
        }
    }

    async fn blob(&self, blob: &UnversionedBlob) -> Result<Option<BlobSnapshot>, Inconclusive> {
        let seen = self.inner.blob(blob).await;
        if matches!(self.guard, StorageGuard::FailedUpload) { Ok(seen.unwrap_or(None)) } else { seen }
    }

    async fn index_tags(&self, blob: &UnversionedBlob, etag: &str) -> Result<BTreeMap<String, String>, Inconclusive> {
        let seen = self.inner.index_tags(blob, etag).await;
        if matches!(self.guard, StorageGuard::FailedTags) { Ok(seen.unwrap_or_default()) } else { seen }
    }

    async fn list(&self, place: &BlobPrefix, from: Option<&str>, max: usize) -> Result<BlobPage, Inconclusive> {
        let mut page = self.inner.list(place, from, max).await?;
        if matches!(self.guard, StorageGuard::FurtherPages) {
            page.next = None;
        }
        Ok(page)
    }

    async fn outputs(&self, scoring: &Scoring) -> Result<OutputSnapshot, Inconclusive> {
        match self.guard {
            StorageGuard::Output => Ok(OutputSnapshot::Present {
                bytes: 1,
                modified: scoring.updated,
                print: OutputPrint::of([("", "guarded")]),
            }),
            _ => self.inner.outputs(scoring).await,
        }
    }

    async fn locate(&self, at: &BlobPlace) -> Result<UnversionedBlob, Inconclusive> {
        self.inner.locate(at).await
    }

    async fn published(&self, at: &BlobPlace) -> Result<Option<PublishedBlob>, Inconclusive> {
        let mut there = self.inner.published(at).await?;
        if let (StorageGuard::PublishedOrder, Some(mark)) =
            (self.guard, there.as_mut().and_then(|there| there.mark.as_mut()))
        {
            mark.order.accepted_at = OffsetDateTime::UNIX_EPOCH;
            mark.order.sequencer = None;
            mark.order.generation = 0;
        }
        Ok(there)
    }

    async fn parts(&self, folder: &BlobPlace, from: Option<&str>) -> Result<PartPage, Inconclusive> {
        self.inner.parts(folder, from).await
    }

    async fn publish(
        &self,
        source: &CopySource,
        to: &BlobPlace,
        condition: &WriteCondition,
        mark: &PublicationMark,
    ) -> Result<Answered<Published>, Inconclusive> {
        match self.guard {
            StorageGuard::PublishedCondition => {}
            StorageGuard::VerifiedSource => return self.publish_what_is_there(source, to, condition, mark).await,
            _ => return self.inner.publish(source, to, condition, mark).await,
        }
        // As a copy without a condition would: over whatever is there by then.
        loop {
            let now = match self.inner.published(to).await? {
                Some(there) => WriteCondition::Unchanged(there.etag),
                None => WriteCondition::Absent,
            };
            let answered = self.inner.publish(source, to, &now, mark).await?;
            if answered.value != Published::DestinationChanged {
                return Ok(answered);
            }
        }
    }

    async fn write_manifest(
        &self,
        to: &BlobPlace,
        body: Vec<u8>,
        condition: &WriteCondition,
        mark: &PublicationMark,
    ) -> Result<Answered<Published>, Inconclusive> {
        self.inner.write_manifest(to, body, condition, mark).await
    }

    async fn remove(&self, at: &BlobPlace, etag: &str) -> Result<(), Inconclusive> {
        self.inner.remove(at, etag).await
    }

    async fn named_in_outputs(
        &self,
        scoring: &Scoring,
        ids: &BTreeSet<ScoringId>,
        by: NamedBy,
    ) -> Result<BTreeSet<ScoringId>, Inconclusive> {
        self.inner.named_in_outputs(scoring, ids, by).await
    }
}
