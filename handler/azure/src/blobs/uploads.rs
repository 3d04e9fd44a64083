//! Looks at what was uploaded: one blob, or one page of a folder's.
//!
//! A blob's URL comes from an event, and with it the host: a token is sent to no host that is not Azure Storage's.

use std::time::Duration;

use app::ports::{BlobPage, Inconclusive, MAX_PAGE};
use azure_core::error::ErrorKind;
use azure_core::http::{NoFormat, Response};
use azure_storage_blob::models::{
    AccessTier, BlobClientGetPropertiesResult, BlobClientGetPropertiesResultHeaders as _,
    BlobContainerClientListBlobsOptions, BlobItem, BlobType, CopyStatus, ListBlobsIncludeItem,
};
use futures::TryStreamExt as _;
use lifecycle::UnversionedBlob;
use lifecycle::pending::{BlobKind, BlobSnapshot, CopyState};
use reqwest::Url;

use super::{AzureBlobs, blob_not_found};

/// A look at one blob with all its repetitions: Event Grid waits 30 s for the invocation that makes it.
const LOOK: Duration = Duration::from_secs(10);
/// Metadata by which Azure Storage marks a blob that stands for a folder.
const FOLDER: &str = "hdi_isfolder";
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

/// A blob as its properties show it.
pub(super) fn snapshot(shown: &Response<BlobClientGetPropertiesResult, NoFormat>) -> azure_core::Result<BlobSnapshot> {
    let metadata = shown.metadata()?;
    Ok(BlobSnapshot {
        etag: shown.etag()?.map(|etag| etag.to_string()).ok_or_else(|| lacks("ETag"))?,
        size: shown.content_length()?.ok_or_else(|| lacks("length"))?,
        content_type: shown.content_type()?,
        kind: kind(shown.blob_type()?.as_ref()),
        archived: shown.access_tier()?.is_some_and(|tier| tier == "Archive"),
        copy: copy(shown.copy_status()?.as_ref(), shown.copy_status_description()?),
        is_folder: metadata.iter().any(|(name, value)| is_folder(name, value)),
    })
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

fn listed(blob: BlobItem) -> azure_core::Result<(String, BlobSnapshot)> {
    let shown = blob.properties.unwrap_or_default();
    let metadata = blob.metadata.and_then(|metadata| metadata.values).unwrap_or_default();
    let snapshot = BlobSnapshot {
        etag: shown.etag.ok_or_else(|| lacks("ETag"))?.to_string(),
        size: shown.content_length.ok_or_else(|| lacks("length"))?,
        content_type: shown.content_type,
        kind: kind(shown.blob_type.as_ref()),
        archived: shown.access_tier == Some(AccessTier::Archive),
        copy: copy(shown.copy_status.as_ref(), shown.copy_status_description),
        is_folder: metadata.iter().any(|(name, value)| is_folder(name, value)),
    };
    Ok((blob.name.ok_or_else(|| lacks("name"))?, snapshot))
}

fn is_folder(name: &str, value: &str) -> bool {
    name.eq_ignore_ascii_case(FOLDER) && value.eq_ignore_ascii_case("true")
}

fn kind(of: Option<&BlobType>) -> BlobKind {
    match of {
        Some(BlobType::AppendBlob) => BlobKind::Append,
        Some(BlobType::PageBlob) => BlobKind::Page,
        _ => BlobKind::Block,
    }
}

fn copy(status: Option<&CopyStatus>, description: Option<String>) -> CopyState {
    match status {
        Some(CopyStatus::Pending) => CopyState::Pending,
        Some(CopyStatus::Failed) => CopyState::Failed(description.unwrap_or_default()),
        Some(CopyStatus::Aborted) => CopyState::Aborted,
        _ => CopyState::Whole,
    }
}

fn lacks(what: &str) -> azure_core::Error {
    azure_core::Error::with_message(ErrorKind::DataConversion, format!("storage's answer lacks the {what}"))
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
