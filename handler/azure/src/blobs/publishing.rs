//! Writes results to where rules publish them: copied by the storage itself, whole or not at all, on conditions, and marked.
//!
//! Never by `Copy Blob`, which shows what is copied while it is: `Put Blob From URL` answers when the blob is whole. It takes up to
//! 5,000 MiB, and is silent for as long as that takes; a client that has stopped waiting learns nothing. So what is larger than
//! [`CopyLimits::one_call`](super::CopyLimits::one_call) goes in blocks (`Put Block From URL`), which nobody sees before one `Put Block List` makes them a blob,
//! and of which those that are there already are not copied again.
//!
//! Neither call is repeated here, but for single blocks. The source is read with the app's own token, never with a SAS; its host is
//! held to the same as that of the destination.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use app::ports::{Answered, Inconclusive, InconclusiveKind, MAX_PAGE, PartPage};
use azure_core::http::{Etag, NoFormat, RequestContent, Response};
use azure_storage_blob::models::{
    BlobClientDeleteOptions, BlobClientGetPropertiesOptions, BlockBlobClientCommitBlockListOptions,
    BlockBlobClientCommitBlockListResultHeaders, BlockBlobClientStageBlockFromUrlOptions,
    BlockBlobClientUploadBlobFromUrlOptions, BlockBlobClientUploadBlobFromUrlResultHeaders,
    BlockBlobClientUploadOptions, BlockListType, BlockLookupList, HttpRange,
};
use futures::{StreamExt as _, TryStreamExt as _};
use lifecycle::datastore::DatastorePath;
use lifecycle::digest::digest;
use lifecycle::publication::{Refusal, RefusalKind};
use lifecycle::{
    BlobPlace, BlobSnapshot, CopySource, PublicationMark, Published, PublishedBlob, UnversionedBlob, WriteCondition,
};
use reqwest::Url;

use super::etag::{quoted, unquoted};
use super::properties::snapshot;
use super::publish_answer::{request_id_of, unanswered, unreadable_source, unwritten};
use super::{AzureBlobs, below, blob_not_found};
use crate::http::retry::{Tries, pause_wished_by};

/// One write. The shared client reads no answer that is silent for as long.
const WRITE: Duration = Duration::from_secs(60);
/// Blocks on their way at one time, of one copy.
const CONCURRENCY: usize = 4;
/// A blob has at most so many blocks.
const MAX_BLOCKS: u64 = 50_000;

/// A write that ended before its last call.
enum Ended {
    Certainly(Answered<Published>),
    Perhaps(Inconclusive),
}

impl Ended {
    fn outcome(self) -> Result<Answered<Published>, Inconclusive> {
        match self {
            Self::Certainly(answered) => Ok(answered),
            Self::Perhaps(inconclusive) => Err(inconclusive),
        }
    }
}

/// Where a copy comes from and goes to.
struct Route<'a> {
    source: &'a CopySource,
    from: Url,
    to: Url,
}

/// What goes out as `If-Match` and as `If-None-Match`; one of the two is always left out.
fn conditions(condition: &WriteCondition) -> (Option<Etag>, Option<Etag>) {
    match condition {
        WriteCondition::Absent => (None, Some(Etag::from("*".to_owned()))),
        WriteCondition::Unchanged(etag) => (Some(quoted(etag)), None),
    }
}

fn metadata(mark: &PublicationMark) -> HashMap<String, String> {
    mark.metadata().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn written(etag: Option<Etag>, place: &Url) -> Result<Published, Inconclusive> {
    let etag = etag.map(|etag| unquoted(etag.as_ref()).to_owned());
    let etag = etag.ok_or_else(|| Inconclusive::not_understood(format!("the answer about {place} lacks the ETag")))?;
    Ok(Published::Written { etag })
}

impl AzureBlobs {
    pub(super) async fn named(&self, at: &BlobPlace) -> Result<UnversionedBlob, Inconclusive> {
        let (container, path) = self.resolved(at).await?;
        let url = below(&container, &path)?;
        UnversionedBlob::read(url.as_str())
            .map_err(|why| Inconclusive::not_asked(format!("`{}` names no blob", at.uri)).caused_by(why))
    }

    pub(super) async fn lying_at(&self, at: &BlobPlace) -> Result<Option<PublishedBlob>, Inconclusive> {
        let (container, path) = self.resolved(at).await?;
        let url = below(&container, &path)?;
        let look = || async { snapshot(&self.blob_client(&url)?.get_properties(None).await?) };
        let seen = self.with_retries(&url, blob_not_found, look).await?;
        Ok(seen.map(|seen| PublishedBlob {
            etag: unquoted(&seen.etag).to_owned(),
            len: seen.size,
            mark: PublicationMark::read(&seen.metadata),
        }))
    }

    pub(super) async fn parts_of(&self, folder: &BlobPlace, from: Option<&str>) -> Result<PartPage, Inconclusive> {
        let (container, path) = self.resolved(folder).await?;
        let path = path.trim_end_matches('/');
        let page = self.listed(&container, &format!("{path}/"), from, MAX_PAGE).await?;
        let part = |(name, shown): (String, lifecycle::BlobSnapshot)| {
            let rest = name.strip_prefix(path)?;
            let named = folder.uri.trim_end_matches('/');
            let uri = match Url::parse(named) {
                Ok(url) if DatastorePath::read(named).is_none() => {
                    below(&url, rest.trim_start_matches('/')).ok()?.into()
                }
                _ => format!("{named}{rest}"),
            };
            let at = BlobPlace { uri, ..folder.clone() };
            (!shown.is_folder).then(|| CopySource { at, etag: unquoted(&shown.etag).to_owned(), len: shown.size })
        };
        Ok(PartPage { parts: page.blobs.into_iter().filter_map(part).collect(), next: page.next })
    }

    /// Where something is written, or read to be copied.
    async fn url_of(&self, at: &BlobPlace) -> Result<Url, Ended> {
        let resolved = async {
            let (container, path) = self.resolved(at).await?;
            let url = below(&container, &path)?;
            // The storage would be told to fetch from there, with our token.
            self.credential(&url).map_err(|why| Inconclusive::not_asked(format!("{url}")).caused_by(why))?;
            Ok(url)
        };
        resolved.await.map_err(|inconclusive: Inconclusive| match inconclusive.kind {
            InconclusiveKind::NotAsked => {
                let text = lifecycle::text::error_chain(&inconclusive);
                Ended::Certainly(Published::Refused(Refusal { kind: RefusalKind::NotAsked, text }).into())
            }
            _ => Ended::Perhaps(inconclusive),
        })
    }

    /// `x-ms-copy-source-authorization`. None for an emulator that no setting names.
    async fn source_authorization(&self, from: &Url) -> Result<Option<String>, Inconclusive> {
        if from.scheme() != "https" && !self.hosts.is_emulator(from) {
            return Ok(None);
        }
        let token = self.tokens.get().await;
        let token =
            token.map_err(|why| Inconclusive::not_reachable("no token for the copy's source").caused_by(why))?;
        let bearer = token.bearer_for(from).map_err(|why| Inconclusive::not_asked(from.as_str()).caused_by(why))?;
        Ok(bearer.to_str().ok().map(str::to_owned))
    }

    pub(super) async fn copy(
        &self,
        source: &CopySource,
        to: &BlobPlace,
        condition: &WriteCondition,
        mark: &PublicationMark,
    ) -> Result<Answered<Published>, Inconclusive> {
        let (from, to) = match (self.url_of(&source.at).await, self.url_of(to).await) {
            (Ok(from), Ok(to)) => (from, to),
            (Err(ended), _) | (_, Err(ended)) => return ended.outcome(),
        };
        let route = Route { source, from, to };
        if source.len == 0 {
            // A copy reads a range, and of nothing there is none: the service answers `CannotVerifyCopySource`.
            // A look may have shown it empty for a moment while it has bytes: then it is verified anew.
            return match self.source_of(&route).await {
                Ok(there) if there.size == 0 => {
                    self.put(&route.to, Vec::new(), there.content_type, condition, mark).await
                }
                Ok(_) => Ok(Published::SourceChanged.into()),
                Err(ended) => ended.outcome(),
            };
        }
        if source.len <= self.copy_limits.one_call {
            return self.copy_at_once(&route, condition, mark).await;
        }
        match self.copy_in_blocks(&route, condition, mark).await {
            Ok(answered) => Ok(answered),
            Err(ended) => ended.outcome(),
        }
    }

    async fn copy_at_once(
        &self,
        route: &Route<'_>,
        condition: &WriteCondition,
        mark: &PublicationMark,
    ) -> Result<Answered<Published>, Inconclusive> {
        let (if_match, if_none_match) = conditions(condition);
        let options = BlockBlobClientUploadBlobFromUrlOptions {
            copy_source_authorization: self.source_authorization(&route.from).await?,
            source_if_match: Some(quoted(&route.source.etag)),
            if_match,
            if_none_match,
            metadata: Some(metadata(mark)),
            ..Default::default()
        };
        let copy = async {
            self.block_blob_client(&route.to)?.upload_blob_from_url(route.from.to_string(), Some(options)).await
        };
        let answer = self.write(&route.to, copy).await;
        self.answered(answer, route, BlockBlobClientUploadBlobFromUrlResultHeaders::etag)
    }

    /// Stages the blocks that are not there yet, and makes a blob of them.
    async fn copy_in_blocks(
        &self,
        route: &Route<'_>,
        condition: &WriteCondition,
        mark: &PublicationMark,
    ) -> Result<Answered<Published>, Ended> {
        let size = self.copy_limits.block.max(route.source.len.div_ceil(MAX_BLOCKS));
        // Of one length for all, and other ones for another source or version: a list never mixes two.
        let of = digest(&[route.from.as_str(), &route.source.etag, &size.to_string()]);
        let blocks: Vec<(Vec<u8>, HttpRange, u64)> = (0..route.source.len.div_ceil(size))
            .map(|n| {
                let length = size.min(route.source.len - n * size);
                (format!("{of}{n:05}").into_bytes(), HttpRange::new(n * size, length), length)
            })
            .collect();
        let content_type = self.source_of(route).await?.content_type;
        let staged = self.staged(&route.to).await.map_err(Ended::Perhaps)?;
        let mut missing = blocks.clone();
        missing.retain(|(id, _, length)| staged.get(id) != Some(length));
        let staging = futures::stream::iter(missing).map(|(id, range, _)| self.stage(route, id, range));
        staging.buffer_unordered(CONCURRENCY).try_collect::<Vec<()>>().await?;

        let (if_match, if_none_match) = conditions(condition);
        let options = BlockBlobClientCommitBlockListOptions {
            blob_content_type: content_type,
            if_match,
            if_none_match,
            metadata: Some(metadata(mark)),
            ..Default::default()
        };
        let list =
            BlockLookupList { latest: Some(blocks.into_iter().map(|(id, ..)| id).collect()), ..Default::default() };
        let commit =
            async { self.block_blob_client(&route.to)?.commit_block_list(list.try_into()?, Some(options)).await };
        let answer = self.write(&route.to, commit).await;
        self.answered(answer, route, BlockBlobClientCommitBlockListResultHeaders::etag).map_err(Ended::Perhaps)
    }

    /// The source in the version that is copied, as it is now: a list of blocks takes no content type over from it.
    async fn source_of(&self, route: &Route<'_>) -> Result<BlobSnapshot, Ended> {
        let look = || async {
            let options =
                BlobClientGetPropertiesOptions { if_match: Some(quoted(&route.source.etag)), ..Default::default() };
            snapshot(&self.blob_client(&route.from)?.get_properties(Some(options)).await?)
        };
        let gone = |error: &azure_core::Error| error.http_status().is_some_and(|s| matches!(u16::from(s), 404 | 412));
        let seen = self.with_retries(&route.from, gone, look).await.map_err(|why| match why.kind {
            InconclusiveKind::NotAllowed => Ended::Certainly(unreadable_source(&why, route.from.as_str()).into()),
            _ => Ended::Perhaps(why),
        });
        seen?.ok_or_else(|| Ended::Certainly(Published::SourceChanged.into()))
    }

    /// Lengths of the blocks that wait at a place, by their ids.
    async fn staged(&self, to: &Url) -> Result<BTreeMap<Vec<u8>, u64>, Inconclusive> {
        let look = || async {
            self.block_blob_client(to)?.get_block_list(BlockListType::Uncommitted, None).await?.into_model()
        };
        // Without a container or a right none is seen, and the block that is staged next is refused with the reason.
        let none = |error: &azure_core::Error| error.http_status().is_some_and(|s| matches!(u16::from(s), 403 | 404));
        let list = self.with_retries(to, none, look).await?;
        let blocks = list.and_then(|list| list.uncommitted_blocks).unwrap_or_default();
        Ok(blocks.into_iter().filter_map(|block| Some((block.name?, block.size?.try_into().ok()?))).collect())
    }

    /// Stages one block. Repeated, as it is the same block again.
    async fn stage(&self, route: &Route<'_>, id: Vec<u8>, range: HttpRange) -> Result<(), Ended> {
        let mut tries = Tries::new();
        loop {
            let options = BlockBlobClientStageBlockFromUrlOptions {
                copy_source_authorization: self.source_authorization(&route.from).await.map_err(Ended::Perhaps)?,
                source_if_match: Some(quoted(&route.source.etag)),
                source_range: Some(range.clone()),
                ..Default::default()
            };
            let stage = async {
                let client = self.block_blob_client(&route.to)?;
                client.stage_block_from_url(&id, 0, route.from.to_string(), Some(options)).await
            };
            let (perhaps, wish) = match self.write(&route.to, stage).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => {
                    let wish = pause_wished_by(&error, self.tokens.now());
                    match unwritten(error, route.from.as_str(), route.to.as_str()) {
                        Ok(certainly) => return Err(Ended::Certainly(certainly)),
                        Err(perhaps) => (perhaps, wish),
                    }
                }
                Err(perhaps) => (perhaps, None),
            };
            if !tries.again(wish).await {
                return Err(Ended::Perhaps(perhaps));
            }
        }
    }

    pub(super) async fn removed(&self, at: &BlobPlace, etag: &str) -> Result<(), Inconclusive> {
        let (container, path) = self.resolved(at).await?;
        let url = below(&container, &path)?;
        let another =
            |error: &azure_core::Error| error.http_status().is_some_and(|s| matches!(u16::from(s), 404 | 412));
        let remove = || async {
            let options = BlobClientDeleteOptions { if_match: Some(quoted(etag)), ..Default::default() };
            self.blob_client(&url)?.delete(Some(options)).await.map(drop)
        };
        self.with_retries(&url, another, remove).await.map(drop)
    }

    pub(super) async fn write_document(
        &self,
        to: &BlobPlace,
        body: Vec<u8>,
        condition: &WriteCondition,
        mark: &PublicationMark,
    ) -> Result<Answered<Published>, Inconclusive> {
        match self.url_of(to).await {
            Ok(url) => self.put(&url, body, Some("application/json".to_owned()), condition, mark).await,
            Err(ended) => ended.outcome(),
        }
    }

    async fn put(
        &self,
        to: &Url,
        body: Vec<u8>,
        blob_content_type: Option<String>,
        condition: &WriteCondition,
        mark: &PublicationMark,
    ) -> Result<Answered<Published>, Inconclusive> {
        let (if_match, if_none_match) = conditions(condition);
        let options = BlockBlobClientUploadOptions {
            blob_content_type,
            if_match,
            if_none_match,
            metadata: Some(metadata(mark)),
            ..Default::default()
        };
        let put = async { self.block_blob_client(to)?.upload(RequestContent::from(body), Some(options)).await };
        match self.write(to, put).await? {
            Ok(answer) => {
                let request_id = request_id_of(answer.raw_response.headers());
                Ok(Answered { value: written(answer.etag, to)?, request_id })
            }
            Err(error) => self.refused(error, "", to),
        }
    }

    /// Sends a write once. The outer error: nobody answered in time.
    async fn write<T>(
        &self,
        to: &Url,
        write: impl Future<Output = azure_core::Result<T>>,
    ) -> Result<azure_core::Result<T>, Inconclusive> {
        tokio::time::timeout(WRITE, write).await.map_err(|_| unanswered(to.as_str(), WRITE))
    }

    fn answered<T>(
        &self,
        answer: Result<azure_core::Result<Response<T, NoFormat>>, Inconclusive>,
        route: &Route<'_>,
        etag: impl FnOnce(&Response<T, NoFormat>) -> azure_core::Result<Option<Etag>>,
    ) -> Result<Answered<Published>, Inconclusive> {
        match answer? {
            Ok(answer) => {
                let request_id = request_id_of(answer.headers());
                let value = written(etag(&answer).ok().flatten(), &route.to)?;
                Ok(Answered { value, request_id })
            }
            Err(error) => self.refused(error, route.from.as_str(), &route.to),
        }
    }

    fn refused(&self, error: azure_core::Error, from: &str, to: &Url) -> Result<Answered<Published>, Inconclusive> {
        if error.http_status().is_some_and(|status| u16::from(status) == 401) {
            // Nothing was written, and the next call has another token.
            self.tokens.forget_current();
        }
        unwritten(error, from, to.as_str())
    }
}
