//! Looks at what was uploaded: one blob, or one page of a folder's.
//!
//! A blob's URL comes from an event, and with it the host: a token is sent to no host that is not Azure Storage's.

use std::collections::BTreeMap;
use std::time::Duration;

use app::ports::{BlobPage, Inconclusive, InconclusiveKind, MAX_LISTED};
use azure_storage_blob::models::{
    BlobClientGetTagsOptions, BlobContainerClientListBlobsOptions, BlobTag, ListBlobsIncludeItem,
};
use futures::TryStreamExt as _;
use lifecycle::UnversionedBlob;
use lifecycle::pending::BlobSnapshot;
use reqwest::Url;

use super::etag::quoted;
use super::properties::{listed, snapshot};
use super::{AzureBlobs, blob_not_found};

/// A look at one blob with all its repetitions: Event Grid waits 30 s for the invocation that makes it.
const LOOK: Duration = Duration::from_secs(10);
/// What reading tags takes beside reading blobs.
const NO_RIGHT: &str = "the app's identity may not read index tags; it needs the data action Microsoft.Storage/storageAccounts/blobServices/containers/blobs/tags/read, which the role Storage Blob Data Owner or one of your own holds";

/// The version that was named is not there any more.
fn changed(error: &azure_core::Error) -> bool {
    error.http_status().is_some_and(|status| matches!(u16::from(status), 404 | 412))
}

fn never(_: &azure_core::Error) -> bool {
    false
}

impl AzureBlobs {
    /// Where a blob's URL is reached: its host comes from an event.
    pub(super) fn reached(&self, url: &str) -> Result<Url, Inconclusive> {
        let parsed = Url::parse(url);
        let url = parsed.map_err(|why| Inconclusive::not_asked(format!("`{url}` is not a URL")).caused_by(why))?;
        self.hosts.reach(&url).map_err(|foreign| Inconclusive::not_asked(foreign.to_string()))
    }

    pub(super) async fn uploaded(&self, blob: &UnversionedBlob) -> Result<Option<BlobSnapshot>, Inconclusive> {
        let url = self.reached(&blob.url)?;
        let look = self.with_retries(&url, blob_not_found, || async {
            snapshot(&self.blob_client(&url)?.get_properties(None).await?)
        });
        let late =
            || Inconclusive::not_reachable(format!("storage did not answer about {url} within {} s", LOOK.as_secs()));
        tokio::time::timeout(LOOK, look).await.unwrap_or_else(|_| Err(late()))
    }

    pub(super) async fn tags_of(
        &self,
        blob: &UnversionedBlob,
        etag: &str,
    ) -> Result<BTreeMap<String, String>, Inconclusive> {
        let url = self.reached(&blob.url)?;
        let etag = quoted(etag);
        let look = self.with_retries(&url, changed, || async {
            let options = BlobClientGetTagsOptions { if_match: Some(etag.clone()), ..Default::default() };
            let tags = self.blob_client(&url)?.get_tags(Some(options)).await?.into_model()?;
            let pair = |tag: BlobTag| Some((tag.key?, tag.value.unwrap_or_default()));
            Ok(tags.blob_tag_set.unwrap_or_default().into_iter().filter_map(pair).collect())
        });
        let late = || {
            Inconclusive::not_reachable(format!("storage did not tell the tags of {url} within {} s", LOOK.as_secs()))
        };
        let tags = tokio::time::timeout(LOOK, look).await.unwrap_or_else(|_| Err(late()));
        let tags = tags.map_err(|inconclusive| match inconclusive.kind {
            InconclusiveKind::NotAllowed => Inconclusive { what: format!("{url}: {NO_RIGHT}"), ..inconclusive },
            _ => inconclusive,
        });
        tags?.ok_or_else(|| Inconclusive::unfinished(format!("{url} has changed since it was looked at")))
    }

    /// One page of the blobs of a container whose path begins so.
    pub(super) async fn listed(
        &self,
        container: &Url,
        prefix: &str,
        from: Option<&str>,
        max: usize,
    ) -> Result<BlobPage, Inconclusive> {
        let page = self.with_retries(container, never, || async {
            let options = BlobContainerClientListBlobsOptions {
                prefix: (!prefix.is_empty()).then(|| prefix.to_owned()),
                marker: from.map(str::to_owned),
                maxresults: i32::try_from(max.clamp(1, MAX_LISTED)).ok(),
                include: Some(vec![ListBlobsIncludeItem::Copy, ListBlobsIncludeItem::Metadata]),
                ..Default::default()
            };
            // One page is asked for, and no more: the caller says when it goes on.
            let page = self.container_client(container)?.list_blobs(Some(options))?.into_pages().try_next().await?;
            let Some(page) = page else { return Ok(BlobPage::default()) };
            let page = page.into_model()?;
            let blobs = page.blob_items.into_iter().map(listed).collect::<azure_core::Result<_>>()?;
            Ok(BlobPage { blobs, next: page.next_marker.filter(|marker| !marker.is_empty()) })
        });
        Ok(page.await?.unwrap_or_default())
    }
}
