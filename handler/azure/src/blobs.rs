//! The storage that inputs lie in and outputs are written to, as the app's [`Blobs`]: no job is made for, and `scored` is
//! not shown of, what was not looked at here.
//!
//! Outputs are given as paths on a datastore of the workspace. Resource Manager says which account and container that
//! is; the blob itself is read with Microsoft's client. The app reads properties alone, the command line also what an output
//! holds. Only results are written, copied by the storage itself to where rules publish them (`publishing.rs`). A token goes to
//! hosts of the cloud's storage and to those that a setting names, whoever named the blob.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_core::error::ErrorKind;
use azure_core::http::Transport;
use azure_storage_blob::models::{BlobClientGetPropertiesResultHeaders as _, BlobContainerClientListBlobsOptions};
use azure_storage_blob::{
    BlobClient, BlobClientOptions, BlobContainerClient, BlobContainerClientOptions, BlockBlobClient,
    BlockBlobClientOptions,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::TryStreamExt as _;
use lifecycle::job::{Output, OutputKind};
use lifecycle::storage_hosts::ForeignHost;
use lifecycle::{
    BlobPlace, BlobPrefix, BlobSnapshot, BlobVersion, CopySource, InputContent, InputSnapshot, OutputPrint,
    OutputSnapshot, PublicationMark, Published, PublishedBlob, Scoring, ScoringId, SeenVersion, StorageHosts,
    UnversionedBlob, WriteCondition,
};
use reqwest::Url;
use time::OffsetDateTime;

use crate::http;
use crate::http::retry::{Tries, may_pass, pause_wished_by};
use crate::resource_manager::{self, Datastore};
use crate::tokens::{Storage, Tokens};
use app::ports::{Answered, BlobPage, Blobs, Inconclusive, NamedBy, PartPage};
use lifecycle::datastore::DatastorePath;

mod copy_limits;
mod download;
pub(crate) mod emulator;
mod etag;
mod properties;
mod publish_answer;
mod publishing;
mod uploads;

pub use self::copy_limits::CopyLimits;
pub use self::download::OutputFile;
use self::emulator::EmulatorAccess;
use self::etag::unquoted;

/// A look at an input, with all its tries: the writer of an event waits for it.
const INPUT_TIME: Duration = Duration::from_secs(6);
/// One look at one blob, or one page of a folder.
const TRY: Duration = Duration::from_secs(15);
/// Blobs of one folder that are counted. What lies beyond changes neither "there" nor "not empty".
const MAX_BLOBS: usize = 100_000;
/// How long a datastore's place is believed.
const DATASTORE_LIFE: time::Duration = time::Duration::minutes(10);
/// Datastores remembered at one time.
const MAX_DATASTORES: usize = 1_000;

/// Blobs behind the datastores of any workspace that the identity may read.
#[derive(Debug)]
pub struct AzureBlobs {
    manager: Arc<resource_manager::Client>,
    tokens: Tokens<Storage>,
    transport: Transport,
    hosts: StorageHosts,
    emulator: Arc<EmulatorAccess>,
    copy_limits: CopyLimits,
    /// What was resolved and until when that holds, by the workspace's id and the datastore's name in lower case.
    datastores: Mutex<BTreeMap<(String, String), (Datastore, OffsetDateTime)>>,
}

/// What is at one place, or nothing.
type OutputAt = Option<OutputFiles>;

/// What is at one place.
struct OutputFiles {
    bytes: u64,
    /// When it was last written; of several blobs the time of the oldest.
    modified: OffsetDateTime,
    print: OutputPrint,
}

impl AzureBlobs {
    /// Blobs on these hosts, read with `tokens`; `manager` resolves datastores.
    pub fn new(manager: Arc<resource_manager::Client>, tokens: Tokens<Storage>, hosts: StorageHosts) -> Self {
        Self::over(http::transport(), manager, tokens, hosts)
    }

    /// As [`Self::new`], over another transport: for tests, and for networks that need a client of their own.
    pub fn over(
        transport: Transport,
        manager: Arc<resource_manager::Client>,
        tokens: Tokens<Storage>,
        hosts: StorageHosts,
    ) -> Self {
        let emulator = EmulatorAccess::new(tokens.clone(), hosts.clone());
        let copy_limits = CopyLimits::default();
        Self { manager, tokens, transport, hosts, emulator, copy_limits, datastores: Mutex::default() }
    }

    /// With other limits: for tests.
    #[must_use]
    pub fn with_copy_limits(self, copy_limits: CopyLimits) -> Self {
        Self { copy_limits, ..self }
    }

    async fn look(&self, scoring: &Scoring, output: &Output) -> Result<OutputAt, Inconclusive> {
        let (container, path) = self.resolved(&BlobPlace::of(scoring, &*output.uri)).await?;
        match output.kind {
            OutputKind::UriFile => self.file(below(&container, &path)?).await,
            OutputKind::UriFolder => self.folder(container, &path).await,
        }
    }

    /// The URL of the container that a place lies in, and its path there.
    async fn resolved(&self, at: &BlobPlace) -> Result<(Url, String), Inconclusive> {
        let uri = &at.uri;
        if uri.starts_with("https://") || uri.starts_with("http://") {
            let blob = UnversionedBlob::read(uri);
            let blob = blob.map_err(|why| Inconclusive::not_asked(format!("`{uri}` names no blob")).caused_by(why))?;
            let container = BlobPrefix::below(&blob).map(|place| place.container_url());
            let container = container.map_err(|why| Inconclusive::not_asked(uri.as_str()).caused_by(why))?;
            return Ok((self.reached(&container)?, blob.path));
        }
        let place = DatastorePath::read(uri).ok_or_else(|| {
            Inconclusive::not_asked(format!("`{uri}` is not a path on a datastore, so nothing can be looked at there"))
        })?;
        let workspace = place.workspace.as_ref().or(at.workspace.as_ref()).ok_or_else(|| {
            Inconclusive::not_asked(format!(
                "the workspace of `{uri}` is not known; set `endpoint.workspace` in the rule"
            ))
        })?;
        let datastore = self.datastore(workspace.as_str(), &place.datastore).await?;
        Ok((container_url(&datastore)?, place.path))
    }

    async fn datastore(&self, workspace: &str, name: &str) -> Result<Datastore, Inconclusive> {
        let key = (workspace.to_ascii_lowercase(), name.to_ascii_lowercase());
        let now = self.tokens.now();
        let lock = || self.datastores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((datastore, until)) = lock().get(&key)
            && now < *until
        {
            return Ok(datastore.clone());
        }
        let found = self.manager.datastore(workspace, name).await?;
        let datastore = found.ok_or_else(|| {
            Inconclusive::not_asked(format!(
                "the workspace has no datastore `{name}`; register it, or correct the rule's `outputs`"
            ))
        })?;
        let mut datastores = lock();
        if datastores.len() >= MAX_DATASTORES {
            datastores.clear();
        }
        datastores.insert(key, (datastore.clone(), now + DATASTORE_LIFE));
        Ok(datastore)
    }

    /// The credential for a place; none for an emulator on this machine, to which the storage clients would send no token and
    /// which asks for one itself, see [`EmulatorAccess`]. An error for a host that no token goes to: a datastore's place is what somebody wrote into the
    /// workspace.
    fn credential(&self, url: &Url) -> azure_core::Result<Option<Arc<dyn TokenCredential>>> {
        if url.scheme() != "https" && lifecycle::uri::is_loopback(url) {
            return Ok(None);
        }
        let host = url.host_str().unwrap_or_default();
        let permitted = url.scheme() == "https" && self.hosts.permits(host);
        if !permitted {
            return Err(azure_core::Error::new(ErrorKind::Credential, ForeignHost(host.to_owned())));
        }
        Ok(Some(Arc::new(self.tokens.clone())))
    }

    fn blob_client(&self, url: &Url) -> azure_core::Result<BlobClient> {
        let client_options = self.emulator.options(self.transport.clone());
        let options = BlobClientOptions { client_options, ..BlobClientOptions::default() };
        // A client for each look: it would keep a token of its own, and ours is kept where it is renewed.
        BlobClient::new(url.clone(), self.credential(url)?, Some(options))
    }

    fn block_blob_client(&self, url: &Url) -> azure_core::Result<BlockBlobClient> {
        let client_options = self.emulator.options(self.transport.clone());
        let options = BlockBlobClientOptions { client_options, ..BlockBlobClientOptions::default() };
        BlockBlobClient::new(url.clone(), self.credential(url)?, Some(options))
    }

    /// The version that a blob's URL names now, and why a job could not read it at the moment.
    async fn version(&self, url: &Url) -> azure_core::Result<(SeenVersion, Option<String>)> {
        let answer = self.blob_client(url)?.get_properties(None).await?;
        let shown = properties::snapshot(&answer)?;
        let md5 = answer.content_md5()?.map(|md5| STANDARD.encode(md5));
        let content = InputContent { bytes: shown.size, md5 };
        Ok((SeenVersion { etag: unquoted(&shown.etag).to_owned(), content }, shown.not_readable_yet()))
    }

    async fn file(&self, url: Url) -> Result<OutputAt, Inconclusive> {
        self.with_retries(&url, not_found, || async {
            let properties = self.blob_client(&url)?.get_properties(None).await?;
            let (bytes, modified) = complete(properties.content_length()?, properties.last_modified()?)?;
            let etag = properties.etag()?.map(|etag| etag.to_string()).unwrap_or_default();
            Ok(OutputFiles { bytes, modified, print: OutputPrint::of([("", etag.as_str())]) })
        })
        .await
    }

    async fn folder(&self, container: Url, path: &str) -> Result<OutputAt, Inconclusive> {
        let prefix = format!("{}/", path.trim_end_matches('/'));
        let found = self.with_retries(&container, not_found, || async {
            let client = self.container_client(&container)?;
            let options = BlobContainerClientListBlobsOptions { prefix: Some(prefix.clone()), ..Default::default() };
            let mut blobs = client.list_blobs(Some(options))?;
            let mut found: OutputAt = None;
            let mut seen = 0;
            while let Some(blob) = blobs.try_next().await? {
                let properties = blob.properties.unwrap_or_default();
                let (bytes, modified) = complete(properties.content_length, properties.last_modified)?;
                let (name, etag) = (blob.name.unwrap_or_default(), properties.etag.map(|etag| etag.to_string()));
                let before = found.unwrap_or(OutputFiles { bytes: 0, modified, print: OutputPrint::of([]) });
                // Folded, as a folder may hold more names than should be kept; they come in order.
                let folded = [(before.print.as_str(), ""), (name.as_str(), etag.as_deref().unwrap_or_default())];
                found = Some(OutputFiles {
                    bytes: before.bytes.saturating_add(bytes),
                    modified: before.modified.min(modified),
                    print: OutputPrint::of(folded),
                });
                seen += 1;
                if seen >= MAX_BLOBS {
                    break;
                }
            }
            Ok(found)
        });
        found.await.map(Option::flatten)
    }

    fn container_client(&self, container: &Url) -> azure_core::Result<BlobContainerClient> {
        let options = BlobContainerClientOptions {
            client_options: self.emulator.options(self.transport.clone()),
            ..BlobContainerClientOptions::default()
        };
        BlobContainerClient::new(container.clone(), self.credential(container)?, Some(options))
    }

    /// Repeats a look a few times; Microsoft's client alone would do so for 82 s. An error that is `absent` is an answer:
    /// nothing is there.
    async fn with_retries<T, F>(
        &self,
        url: &Url,
        absent: fn(&azure_core::Error) -> bool,
        look: impl Fn() -> F + Send,
    ) -> Result<Option<T>, Inconclusive>
    where
        F: Future<Output = azure_core::Result<T>> + Send,
    {
        let place = format!("{}{}", url.host_str().unwrap_or_default(), url.path());
        let mut tries = Tries::new();
        loop {
            let (inconclusive, wish) = match tokio::time::timeout(TRY, look()).await {
                Ok(Ok(found)) => return Ok(Some(found)),
                Ok(Err(error)) if absent(&error) => return Ok(None),
                Ok(Err(error)) => match error.http_status().map(u16::from) {
                    Some(401) if tries.renew() => {
                        self.tokens.forget_current();
                        continue;
                    }
                    status => {
                        let wish = pause_wished_by(&error, self.tokens.now());
                        (failed(error, status, &place)?, wish)
                    }
                },
                Err(_) => {
                    let text = format!("storage did not answer about {place} within {} s", TRY.as_secs());
                    (Inconclusive::not_reachable(text), None)
                }
            };
            if !tries.again(wish).await {
                return Err(inconclusive);
            }
        }
    }
}

/// The print of all outputs of an attempt.
fn print_of(outputs: &[(&str, OutputPrint)]) -> OutputPrint {
    OutputPrint::of(outputs.iter().map(|(uri, print)| (*uri, print.as_str())))
}

/// Nothing is at a place that an output should be at, whatever of the way to it is missing.
fn not_found(error: &azure_core::Error) -> bool {
    error.http_status().is_some_and(|status| u16::from(status) == 404)
}

/// What a failed look means: `Ok` holds what may pass, `Err` what will not.
fn failed(error: azure_core::Error, status: Option<u16>, place: &str) -> Result<Inconclusive, Inconclusive> {
    let Some(status) = status else {
        let may_pass = matches!(error.kind(), ErrorKind::Io | ErrorKind::Connection);
        return if may_pass {
            Ok(Inconclusive::not_reachable(place).caused_by(error))
        } else {
            Err(Inconclusive::not_understood(place).caused_by(error))
        };
    };
    let text = format!("storage answered {status}{} about {place}", code(&error));
    match status {
        401 | 403 => Err(Inconclusive::not_allowed(format!(
            "{text}; the app's identity needs the role Storage Blob Data Reader on the account, and a way through its firewall"
        ))),
        status if may_pass(status) => Ok(Inconclusive::not_reachable(text)),
        _ => Err(Inconclusive::not_understood(text)),
    }
}

/// Only the service's own word for it: a container that is missing, or a proxy's 404, says nothing about the blob.
fn blob_not_found(error: &azure_core::Error) -> bool {
    matches!(error.kind(), ErrorKind::HttpResponse { error_code: Some(code), .. } if code == "BlobNotFound")
}

fn code(error: &azure_core::Error) -> String {
    match error.kind() {
        ErrorKind::HttpResponse { error_code: Some(code), .. } => format!(" ({code})"),
        _ => String::new(),
    }
}

fn complete(bytes: Option<u64>, modified: Option<OffsetDateTime>) -> azure_core::Result<(u64, OffsetDateTime)> {
    bytes.zip(modified).ok_or_else(|| {
        azure_core::Error::with_message(ErrorKind::DataConversion, "storage's answer lacks length or date")
    })
}

/// `{protocol}://{account}.blob.{endpoint}/{container}`, or path-style for an emulator at a loopback `HOST:PORT`.
fn container_url(datastore: &Datastore) -> Result<Url, Inconclusive> {
    let Datastore { protocol, endpoint, account, container } = datastore;
    let unreadable =
        || Inconclusive::not_understood(format!("the datastore's place ({protocol}, {endpoint}) cannot be read"));
    let emulator = Url::parse(&format!("{protocol}://{endpoint}")).ok().filter(lifecycle::uri::is_loopback);
    let (mut url, front) = match emulator {
        Some(url) => (url, Some(account)),
        None => (
            Url::parse(&format!("{protocol}://{account}.blob.{endpoint}"))
                .map_err(|why| unreadable().caused_by(why))?,
            None,
        ),
    };
    if url.scheme() != "https" && front.is_none() {
        let text = format!("the datastore of account `{account}` is reached over {protocol}; register it with https");
        return Err(Inconclusive::not_asked(text));
    }
    let mut path = url.path_segments_mut().map_err(|()| unreadable())?;
    path.pop_if_empty().extend(front).push(container);
    drop(path);
    Ok(url)
}

/// The URL of a blob. The path is taken as it is written, so every character of it is a character of the blob's name.
fn below(container: &Url, path: &str) -> Result<Url, Inconclusive> {
    if path.split('/').any(|part| part == "." || part == "..") {
        let text = format!("the output path `{path}` has the segment `.` or `..`, which names no blob");
        return Err(Inconclusive::not_asked(text));
    }
    let mut url = container.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        // `container_url` gives only URLs with a path.
        segments.extend(path.split('/'));
    }
    Ok(url)
}

#[async_trait]
impl Blobs for AzureBlobs {
    async fn input(&self, blob: &BlobVersion) -> Result<InputSnapshot, Inconclusive> {
        let url = self.reached(&blob.url)?;
        let look = self.with_retries(&url, blob_not_found, || self.version(&url));
        let seen = tokio::time::timeout(INPUT_TIME, look).await.map_err(|_| {
            let text = format!("storage did not answer about {} within {} s", blob.url, INPUT_TIME.as_secs());
            Inconclusive::not_reachable(text)
        })??;
        match seen {
            None => Ok(InputSnapshot::Gone),
            Some((seen, None)) => Ok(InputSnapshot::Present(seen)),
            Some((_, Some(why))) => Err(Inconclusive::unfinished(why)),
        }
    }

    async fn output_print(&self, scoring: &Scoring) -> Result<Option<OutputPrint>, Inconclusive> {
        let mut prints = Vec::new();
        for output in scoring.submission.iter().flat_map(|submission| submission.outputs.values()) {
            prints.extend(self.look(scoring, output).await?.map(|seen| (output.uri.as_str(), seen.print)));
        }
        Ok((!prints.is_empty()).then(|| print_of(&prints)))
    }

    async fn blob(&self, blob: &UnversionedBlob) -> Result<Option<BlobSnapshot>, Inconclusive> {
        self.uploaded(blob).await
    }

    async fn index_tags(&self, blob: &UnversionedBlob, etag: &str) -> Result<BTreeMap<String, String>, Inconclusive> {
        self.tags_of(blob, etag).await
    }

    async fn list(&self, place: &BlobPrefix, from: Option<&str>, max: usize) -> Result<BlobPage, Inconclusive> {
        self.listed(&self.reached(&place.container_url())?, place.prefix(), from, max).await
    }

    async fn outputs(&self, scoring: &Scoring) -> Result<OutputSnapshot, Inconclusive> {
        let outputs = scoring.submission.iter().flat_map(|submission| submission.outputs.values());
        let mut seen: Option<(u64, OffsetDateTime)> = None;
        let (mut empty, mut prints) = (false, Vec::new());
        for output in outputs {
            let Some(OutputFiles { bytes, modified, print }) = self.look(scoring, output).await? else {
                return Ok(OutputSnapshot::Absent { uri: output.uri.clone() });
            };
            prints.push((output.uri.as_str(), print));
            // A sum would hide the empty one among several.
            empty |= bytes == 0;
            seen =
                Some(seen.map_or((bytes, modified), |(sum, oldest)| (sum.saturating_add(bytes), oldest.min(modified))));
        }
        let (bytes, modified) = seen.ok_or_else(|| {
            Inconclusive::not_asked("no output is recorded for this attempt, so none can be looked at")
        })?;
        Ok(OutputSnapshot::Present { bytes: if empty { 0 } else { bytes }, modified, print: print_of(&prints) })
    }

    async fn locate(&self, at: &BlobPlace) -> Result<UnversionedBlob, Inconclusive> {
        self.named(at).await
    }

    async fn published(&self, at: &BlobPlace) -> Result<Option<PublishedBlob>, Inconclusive> {
        self.lying_at(at).await
    }

    async fn parts(&self, folder: &BlobPlace, from: Option<&str>) -> Result<PartPage, Inconclusive> {
        self.parts_of(folder, from).await
    }

    async fn publish(
        &self,
        source: &CopySource,
        to: &BlobPlace,
        condition: &WriteCondition,
        mark: &PublicationMark,
    ) -> Result<Answered<Published>, Inconclusive> {
        self.copy(source, to, condition, mark).await
    }

    async fn write_manifest(
        &self,
        to: &BlobPlace,
        body: Vec<u8>,
        condition: &WriteCondition,
        mark: &PublicationMark,
    ) -> Result<Answered<Published>, Inconclusive> {
        self.write_document(to, body, condition, mark).await
    }

    async fn remove(&self, at: &BlobPlace, etag: &str) -> Result<(), Inconclusive> {
        self.removed(at, etag).await
    }

    async fn named_in_outputs(
        &self,
        scoring: &Scoring,
        ids: &BTreeSet<ScoringId>,
        by: NamedBy,
    ) -> Result<BTreeSet<ScoringId>, Inconclusive> {
        self.names_of(scoring, ids, by).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(protocol: &str, endpoint: &str, path: &str) -> Result<String, Inconclusive> {
        let datastore = Datastore {
            protocol: protocol.into(),
            endpoint: endpoint.into(),
            account: "acct".into(),
            container: "c".into(),
        };
        let url = container_url(&datastore)?;
        below(&url, path).map(String::from)
    }

    #[test]
    fn a_datastore_path_becomes_a_blob_url() {
        assert_eq!(
            url("https", "core.windows.net", "a/b.csv").as_deref(),
            Ok("https://acct.blob.core.windows.net/c/a/b.csv")
        );
        assert_eq!(
            url("https", "core.chinacloudapi.cn", "a b/ä#?%20.csv").as_deref(),
            Ok("https://acct.blob.core.chinacloudapi.cn/c/a%20b/%C3%A4%23%3F%2520.csv")
        );
        assert_eq!(url("http", "127.0.0.1:10000", "a.csv").as_deref(), Ok("http://127.0.0.1:10000/acct/c/a.csv"));
    }

    #[test]
    fn plain_http_and_climbing_paths_are_refused() {
        assert!(url("http", "core.windows.net", "a").is_err_and(|inconclusive| inconclusive.what.contains("https")));
        assert!(url("https", "core.windows.net", "a/../b").is_err_and(|inconclusive| inconclusive.what.contains("..")));
    }
}
