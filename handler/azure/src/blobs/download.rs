//! What an output holds, for whoever wants the predictions on a machine of their own. It is the one place where the contents of a
//! blob are read.

use std::collections::BTreeSet;

use app::ports::{Inconclusive, NamedBy};
use azure_core::error::ErrorKind;
use azure_core::http::Etag;
use azure_storage_blob::models::{
    BlobClientDownloadOptions, BlobClientGetPropertiesResultHeaders as _, BlobContainerClientListBlobsOptions,
};
use bytes::Bytes;
use futures::TryStreamExt as _;
use lifecycle::group::NamesFound;
use lifecycle::job::{Output, OutputKind};
use lifecycle::{BlobPlace, Scoring, ScoringId};
use reqwest::Url;
use time::OffsetDateTime;

use super::etag::quoted;
use super::{AzureBlobs, MAX_BLOBS, below, complete, not_found};

/// Bytes that are read at one time, and that a try is repeated for.
const CHUNK: u64 = 4 << 20;

/// One blob of an output, at one version.
#[derive(Debug, Clone)]
pub struct OutputFile {
    /// Its path below the output's folder; of an output that is a file, that file's name.
    pub name: String,
    /// Length of the blob in bytes.
    pub bytes: u64,
    /// When it was last written.
    pub modified: OffsetDateTime,
    etag: Etag,
    url: Url,
}

impl AzureBlobs {
    /// The blobs of one output of a scoring; none if there is nothing.
    pub async fn output_files(&self, scoring: &Scoring, output: &Output) -> Result<Vec<OutputFile>, Inconclusive> {
        let (container, path) = self.resolved(&BlobPlace::of(scoring, &*output.uri)).await?;
        let found = match output.kind {
            OutputKind::UriFile => {
                let url = below(&container, &path)?;
                let file = self.with_retries(&url, not_found, || self.one_file(&url, &path)).await?;
                file.map(|file| vec![file])
            }
            OutputKind::UriFolder => {
                let prefix = format!("{}/", path.trim_end_matches('/'));
                self.with_retries(&container, not_found, || self.files_below(&container, &prefix)).await?
            }
        };
        Ok(found.unwrap_or_default())
    }

    /// The next bytes of a blob from here, as long as it is the version that was found; none behind its end.
    pub async fn read(&self, file: &OutputFile, from: u64) -> Result<Option<Bytes>, Inconclusive> {
        if from >= file.bytes {
            return Ok(None);
        }
        let until = file.bytes.min(from + CHUNK);
        let read = self.with_retries(&file.url, is_another, || async {
            let options = BlobClientDownloadOptions {
                if_match: Some(file.etag.clone()),
                range: Some((from..until).into()),
                ..Default::default()
            };
            self.blob_client(&file.url)?.download(Some(options)).await?.body.collect().await
        });
        let read = read.await?.ok_or_else(|| {
            Inconclusive::unfinished(format!("`{}` was written again or deleted while it was read", file.name))
        })?;
        if read.len() as u64 == until - from {
            Ok(Some(read))
        } else {
            Err(Inconclusive::not_understood(format!(
                "storage gave {} bytes of `{}` where {} were asked for",
                read.len(),
                file.name,
                until - from
            )))
        }
    }

    /// Which of these ids the outputs of a scoring name.
    pub(super) async fn names_of(
        &self,
        scoring: &Scoring,
        ids: &BTreeSet<ScoringId>,
        by: NamedBy,
    ) -> Result<BTreeSet<ScoringId>, Inconclusive> {
        let mut names = NamesFound::of(ids);
        for output in scoring.submission.iter().flat_map(|sent| sent.outputs.values()) {
            for file in self.output_files(scoring, output).await? {
                names.begin();
                match by {
                    NamedBy::FileNames => names.read(file.name.as_bytes()),
                    NamedBy::Text => {
                        let mut from = 0;
                        while let Some(bytes) = self.read(&file, from).await? {
                            from += bytes.len() as u64;
                            names.read(&bytes);
                            if names.all() {
                                break;
                            }
                        }
                    }
                }
                if names.all() {
                    return Ok(names.found());
                }
            }
        }
        Ok(names.found())
    }

    async fn one_file(&self, url: &Url, path: &str) -> azure_core::Result<OutputFile> {
        let shown = self.blob_client(url)?.get_properties(None).await?;
        let (bytes, modified) = complete(shown.content_length()?, shown.last_modified()?)?;
        let name = path.rsplit('/').next().unwrap_or(path).to_owned();
        Ok(OutputFile { name, bytes, modified, etag: with_etag(shown.etag()?)?, url: url.clone() })
    }

    async fn files_below(&self, container: &Url, prefix: &str) -> azure_core::Result<Vec<OutputFile>> {
        let options = BlobContainerClientListBlobsOptions { prefix: Some(prefix.to_owned()), ..Default::default() };
        let mut blobs = self.container_client(container)?.list_blobs(Some(options))?;
        let mut files = Vec::new();
        while let Some(blob) = blobs.try_next().await? {
            let (path, properties) = (blob.name.unwrap_or_default(), blob.properties.unwrap_or_default());
            let (bytes, modified) = complete(properties.content_length, properties.last_modified)?;
            let name = path.strip_prefix(prefix).unwrap_or_default().to_owned();
            // A marker of a folder is no file.
            if name.is_empty() || name.ends_with('/') {
                continue;
            }
            let url = below(container, &path).map_err(|why| azure_core::Error::new(ErrorKind::Other, why))?;
            files.push(OutputFile { name, bytes, modified, etag: with_etag(properties.etag)?, url });
            if files.len() > MAX_BLOBS {
                let text = format!("the output holds more than {MAX_BLOBS} blobs; use azcopy");
                return Err(azure_core::Error::with_message(ErrorKind::Other, text));
            }
        }
        Ok(files)
    }
}

/// It is not the version any more that was found.
fn is_another(error: &azure_core::Error) -> bool {
    error.http_status().is_some_and(|status| matches!(u16::from(status), 404 | 412))
}

/// As a condition has it: the list of a folder shows it without quotes.
fn with_etag(etag: Option<Etag>) -> azure_core::Result<Etag> {
    etag.map(|etag| quoted(etag.as_ref()))
        .ok_or_else(|| azure_core::Error::with_message(ErrorKind::DataConversion, "storage's answer lacks the ETag"))
}
