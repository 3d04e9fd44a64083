//! Looks at what was uploaded: one blob, or one page of a folder's.
//!
//! A blob's URL comes from an event, and with it the host: a token is sent to no host that is not Azure Storage's.

use std::time::Duration;

use app::ports::{BlobPage, Inconclusive, MAX_PAGE};
use azure_storage_blob::models::{BlobContainerClientListBlobsOptions, ListBlobsIncludeItem};
use futures::TryStreamExt as _;
use lifecycle::UnversionedBlob;
use lifecycle::pending::BlobSnapshot;
use reqwest::Url;

use super::properties::{listed, snapshot};
use super::{AzureBlobs, blob_not_found};

/// A look at one blob with all its repetitions: Event Grid waits 30 s for the invocation that makes it.
const LOOK: Duration = Duration::from_secs(10);
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

    pub(super) async fn uploaded_below(
        &self,
        folder: &UnversionedBlob,
        from: Option<&str>,
    ) -> Result<BlobPage, Inconclusive> {
        let container = container_of(self.reached(&folder.url)?, folder);
        let prefix = format!("{}/", folder.path);
        let page = self.with_retries(&container, never, || async {
            let options = BlobContainerClientListBlobsOptions {
                prefix: Some(prefix.clone()),
                marker: from.map(str::to_owned),
                maxresults: i32::try_from(MAX_PAGE).ok(),
                include: Some(vec![ListBlobsIncludeItem::Copy, ListBlobsIncludeItem::Metadata]),
                ..Default::default()
            };
            // One page is asked for, and no more: the caller says when it goes on.
            let page = self.container_client(&container)?.list_blobs(Some(options))?.into_pages().try_next().await?;
            let Some(page) = page else { return Ok(BlobPage::default()) };
            let page = page.into_model()?;
            let blobs = page.blob_items.into_iter().map(listed).collect::<azure_core::Result<_>>()?;
            Ok(BlobPage { blobs, next: page.next_marker.filter(|marker| !marker.is_empty()) })
        });
        Ok(page.await?.unwrap_or_default())
    }
}

/// The URL of the container: what is left of the folder's without its path.
fn container_of(mut url: Url, folder: &UnversionedBlob) -> Url {
    if let Ok(mut segments) = url.path_segments_mut() {
        for _ in folder.path.split('/') {
            segments.pop();
        }
    }
    // The root container is not named in the URLs of its blobs.
    if url.path().len() <= 1 {
        url.set_path(&folder.container);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_listed_in_its_container() {
        let container = |url: &str| {
            let folder = UnversionedBlob::read(url).expect("a folder");
            String::from(container_of(Url::parse(&folder.url).expect("a URL"), &folder))
        };
        assert_eq!(
            container("https://uploads.blob.core.windows.net/claims/eu/a%20b"),
            "https://uploads.blob.core.windows.net/claims"
        );
        assert_eq!(container("http://127.0.0.1:1/uploads/claims/eu"), "http://127.0.0.1:1/uploads/claims");
        let root = container("https://uploads.blob.core.windows.net/$root/eu");
        assert!(root.ends_with("/$root"));
    }
}
