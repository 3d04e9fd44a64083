//! Looking at outputs in real storage, as far as Azurite is that: anonymously over http, where an emulator gets no token,
//! and as in production, over TLS with a token from our own cache.
//!
//! What storage's failures are taken for is in `endpoint/blobs.rs`; no emulator injects faults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use app::ledger::{Ledger, LedgerOptions};
use app::ports::{Blobs as _, Inconclusive, NamedBy};
use app::{App, Parts, Pause};
use async_trait::async_trait;
use azure::blobs::{AzureBlobs, CopyLimits};
use azure::by_identity::ByIdentity;
use azure::tokens::Tokens;
use azure_core::http::{AsyncRawResponse, HttpClient, Request, Transport};
use futures::{StreamExt as _, stream};
use handler::cli::download::{Source, Target, download};
use lifecycle::decide::{Observation, Step, decide};
use lifecycle::job::{Output, OutputKind};
use lifecycle::{
    BlobPlace, BlobPrefix, CopySource, LedgerId, OutputSnapshot, PublicationMark, Published, PublishedBlob, Rules,
    Scoring, ScoringId, Status, StorageHosts, UnversionedBlob, WriteCondition,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use stores::memory::MemoryStore;
use time::{Duration, OffsetDateTime};

use crate::endpoint::{WORKSPACE, manager, scoring_of};
use crate::support::azurite;
use crate::support::canned::{self, Answer, Canned};
use crate::support::storage::{self, Account, Entra};
use crate::support::world::{World, event};

/// A container in the emulator, the datastore that stands for it, and the product's eyes on it.
struct Emulated {
    account: Account,
    container: String,
    blobs: AzureBlobs,
    /// How many pages of folders were asked for.
    pages: Arc<AtomicUsize>,
    manager: Canned,
}

/// Asks for small pages, on the way to the emulator: pages of the usual 5,000 would take as many blobs.
#[derive(Debug)]
struct SmallPages {
    client: reqwest::Client,
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl HttpClient for SmallPages {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let mut request = request.clone();
        let has = |wanted: (&str, &str)| request.url().query_pairs().any(|(name, value)| (&*name, &*value) == wanted);
        if has(("comp", "list")) {
            let is_small = has(("maxresults", "2"));
            if !is_small {
                request.url_mut().query_pairs_mut().append_pair("maxresults", "2");
            }
            self.asked.fetch_add(1, Ordering::SeqCst);
        }
        self.client.execute_request(&request).await
    }
}

/// Over http without any token, from a container that is open to the public.
async fn anonymous() -> Option<Emulated> {
    emulated(&azurite::blobs()?, azurite::client(), Entra::default(), true).await
}

/// Over TLS with a token, from a container that is not.
async fn with_tokens() -> Option<Emulated> {
    let azurite = azurite::over_tls()?;
    emulated(&azurite.blobs, azurite.client(), Entra::default(), false).await
}

/// The emulator's, which no cloud has.
fn hosts() -> StorageHosts {
    StorageHosts::default().and("127.0.0.1", None).and("localhost", None)
}

async fn emulated(base: &str, client: reqwest::Client, source: Entra, public: bool) -> Option<Emulated> {
    let account = Account::new(client.clone(), base.to_owned());
    let container = account.container(public).await;
    let server = Canned::start().await;
    server.at(&format!("GET {WORKSPACE}/datastores/workspaceblobstore"), datastore(base, &container));
    server.at(&format!("GET {WORKSPACE}/datastores/stale"), datastore(base, "nowhere"));
    let tokens = Tokens::new(Arc::new(source), Arc::new(storage::now));
    let pages = Arc::new(AtomicUsize::new(0));
    let transport = Transport::new(Arc::new(SmallPages { client, asked: Arc::clone(&pages) }));
    let blobs = AzureBlobs::over(transport, manager(&server), tokens, hosts());
    Some(Emulated { account, container, blobs, pages, manager: server })
}

/// What Resource Manager says of a container below `base`.
fn datastore(base: &str, container: &str) -> Answer {
    let (protocol, rest) = base.split_once("://").unwrap();
    let (endpoint, account) = rest.split_once('/').unwrap();
    canned::json(
        200,
        &json!({ "properties": { "datastoreType": "AzureBlob", "accountName": account, "containerName": container,
            "endpoint": endpoint, "protocol": protocol } }),
    )
}

/// A scoring whose only output is this.
fn with_output(kind: OutputKind, path: &str) -> Scoring {
    let uri = "https://heart.example/jobs";
    let mut scoring = scoring_of(uri, &json!({ "endpoint": { "uri": uri, "workspace": WORKSPACE } }));
    let output = Output {
        kind,
        uri: format!("azureml://datastores/workspaceblobstore/paths/{path}"),
        mode: None,
        description: None,
    };
    scoring.submission.as_mut().unwrap().outputs = [("o".to_owned(), output)].into();
    scoring
}

impl Emulated {
    async fn put(&self, path: &str, text: &str) -> OffsetDateTime {
        self.account.put(&self.container, path, text).await
    }

    async fn look(&self, kind: OutputKind, path: &str) -> Result<OutputSnapshot, Inconclusive> {
        self.blobs.outputs(&with_output(kind, path)).await
    }

    async fn file(&self, path: &str) -> OutputSnapshot {
        self.look(OutputKind::UriFile, path).await.unwrap()
    }

    async fn folder(&self, path: &str) -> OutputSnapshot {
        self.look(OutputKind::UriFolder, path).await.unwrap()
    }
}

fn absent(path: &str) -> OutputSnapshot {
    OutputSnapshot::Absent { uri: format!("azureml://datastores/workspaceblobstore/paths/{path}") }
}

/// Of what is there.
fn size_and_time(seen: &OutputSnapshot) -> (u64, OffsetDateTime) {
    match seen {
        OutputSnapshot::Present { bytes, modified, .. } => (*bytes, *modified),
        absent @ (OutputSnapshot::Absent { .. } | OutputSnapshot::NotAskedFor) => panic!("{absent:?}"),
    }
}

async fn a_file_is_seen_with_its_size_and_date(place: Emulated) {
    assert_eq!(place.file("p.csv").await, absent("p.csv"));
    let modified = place.put("p.csv", "1\n2\n").await;
    assert_eq!(size_and_time(&place.file("p.csv").await), (4, modified));
    let modified = place.put("p.csv", "").await;
    assert_eq!(size_and_time(&place.file("p.csv").await), (0, modified));
    assert_eq!(place.file("p").await, absent("p"), "the beginning of a name is another name");
}

/// What a blob can be called, each of which something on the way could take for something else.
const NAMES: [&str; 9] = [
    "a b.csv",
    "a+b.csv",
    "100%.csv",
    "a%20b.csv",
    "a%2Fb.csv",
    "a#b.csv",
    "a?b=c&d.csv",
    "Übergröße/ä.csv",
    "it's (1) [2] {3} ~$!*;:@,=.csv",
];

async fn every_character_of_a_name_is_the_names_own(place: Emulated) {
    // Each before the next is there: none of them is found under the name of another.
    for (n, name) in (1_usize..).zip(NAMES) {
        assert_eq!(place.file(name).await, absent(name));
        let modified = place.put(name, &"x".repeat(n)).await;
        assert_eq!(size_and_time(&place.file(name).await), (n as u64, modified), "{name}");
        assert_eq!(place.folder(&format!("f/{name}")).await, absent(&format!("f/{name}")));
        place.put(&format!("f/{name}/p.csv"), &"x".repeat(n)).await;
        let seen = place.folder(&format!("f/{name}")).await;
        assert!(matches!(seen, OutputSnapshot::Present { bytes, .. } if bytes == n as u64), "{name}: {seen:?}");
    }
}

async fn a_folder_is_all_its_blobs_on_all_pages_and_nothing_beside_it(place: Emulated) {
    assert_eq!(place.folder("f").await, absent("f"));
    let oldest = place.put("f/3.csv", "123").await;
    // Dates have whole seconds; wait until the storage's clock shows the next one.
    while place.put("f/1.csv", "1").await == oldest {}
    for path in ["f/2.csv", "f/deeper/4.csv", "f/deeper/5.csv", "f/deeper/6.csv", "f/7.csv"] {
        place.put(path, "12345").await;
    }
    for beside in ["f", "f.csv", "f2/x.csv", "F/x.csv", "e/f/x.csv"] {
        place.put(beside, "not in it").await;
    }
    let before = place.pages.load(Ordering::SeqCst);
    let seen = place.folder("f").await;
    assert_eq!(size_and_time(&seen), (3 + 1 + 5 * 5, oldest));
    assert_eq!(place.pages.load(Ordering::SeqCst) - before, 4, "seven blobs, two by two");
    assert_eq!(size_and_time(&place.folder("f/").await), size_and_time(&seen), "with the slash at its end, too");
}

async fn a_folder_of_empty_blobs_is_there_and_empty(place: Emulated) {
    let modified = place.put("f/_SUCCESS", "").await;
    assert_eq!(size_and_time(&place.folder("f").await), (0, modified));
}

/// What is downloaded is one version, to its last byte, whatever it is called; another one is not mixed into it.
async fn an_output_is_read_in_parts_at_one_version_and_a_folder_by_its_files(place: Emulated) {
    // More than is read at one time.
    let text = "0123456789abcdef".repeat((5 << 20) / 16);
    place.put("big/ä b#.csv", &text).await;
    place.put("big/sub/c.csv", "1").await;
    let files = async |kind, path: &str| {
        let scoring = with_output(kind, path);
        let output = &scoring.submission.as_ref().unwrap().outputs["o"];
        place.blobs.output_files(&scoring, output).await.unwrap()
    };
    let named = files(OutputKind::UriFolder, "big").await;
    assert_eq!(named.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["sub/c.csv", "ä b#.csv"]);
    let file = files(OutputKind::UriFile, "big/ä b#.csv").await.remove(0);
    assert_eq!((file.name.as_str(), file.bytes), ("ä b#.csv", text.len() as u64));
    let (mut read, mut parts) = (Vec::new(), 0);
    while let Some(bytes) = place.blobs.read(&file, read.len() as u64).await.unwrap() {
        read.extend_from_slice(&bytes);
        parts += 1;
    }
    assert!(read == text.as_bytes() && parts == 2, "{} bytes in {parts} parts", read.len());
    place.put("big/ä b#.csv", &text.replace('0', "X")).await;
    let why = place.blobs.read(&file, 4 << 20).await.unwrap_err();
    assert!(why.what.contains("was written again or deleted while it was read"), "{why:?}");
    assert!(files(OutputKind::UriFile, "big/none.csv").await.is_empty());
}

/// Where members of a group are staged, outputs are read for their names: in parts of 4 MiB.
async fn ids_are_found_in_the_text_or_in_the_names_of_an_outputs_files(place: Emulated) {
    let ids: Vec<ScoringId> = (0..3).map(|n| format!("{n:x}").repeat(32).parse().unwrap()).collect();
    let asked: BTreeSet<ScoringId> = ids.iter().cloned().collect();
    place.put("f/predictions.csv", &format!("{}{}.csv,1\n", " ".repeat((4 << 20) - 16), ids[0])).await;
    place.put(&format!("f/deeper/{}.csv", ids[1]), "1\n").await;
    let scoring = with_output(OutputKind::UriFolder, "f");
    let found = async |by| place.blobs.named_in_outputs(&scoring, &asked, by).await.unwrap();
    assert_eq!(found(NamedBy::Text).await, BTreeSet::from([ids[0].clone()]));
    assert_eq!(found(NamedBy::FileNames).await, BTreeSet::from([ids[1].clone()]));
    let nothing = place.blobs.named_in_outputs(&with_output(OutputKind::UriFolder, "g"), &asked, NamedBy::Text).await;
    assert_eq!(nothing, Ok(BTreeSet::new()));
}

/// Within a minute, and of the same size: only its ETag tells.
async fn what_was_written_again_since_it_was_verified_is_not_downloaded(place: Emulated) {
    let Emulated { account, container, blobs, manager: _manager, .. } = place;
    let put = async |path: &str, text: &str| account.put(&container, path, text).await;
    put("file.csv", "1,2").await;
    put("folder/a.csv", "1,2").await;
    put("folder/b.csv", "3,4").await;
    let mut verified = Vec::new();
    for (kind, path) in [(OutputKind::UriFile, "file.csv"), (OutputKind::UriFolder, "folder")] {
        let mut scoring = with_output(kind, path);
        let seen = blobs.outputs(&scoring).await.unwrap();
        let OutputSnapshot::Present { bytes, print, .. } = seen else { panic!("{seen:?}") };
        (scoring.status, scoring.completed) = (Status::Scored, Some(storage::now()));
        (scoring.output_bytes, scoring.output_print) = (Some(bytes), Some(print));
        verified.push(scoring);
    }
    let source = Source::Storage(Box::new(ByIdentity::new(Arc::new(blobs), BTreeMap::new())));
    let folder = tempfile::tempdir().unwrap();
    let target = Target { path: folder.path().to_owned(), overwrite: true };
    let fetched = async |scoring: &Scoring| {
        let mut out = Vec::new();
        let code = download(&source, std::slice::from_ref(scoring), &target, &mut out).await.unwrap();
        (code, String::from_utf8(out).unwrap())
    };
    for scoring in &verified {
        assert_eq!(fetched(scoring).await.0, 0);
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("b.csv")).unwrap(), "3,4");
    put("file.csv", "9,9").await;
    put("folder/b.csv", "9,9").await;
    for scoring in &verified {
        let (code, told) = fetched(scoring).await;
        assert!(code == 1 && told.contains("its output is not what was verified at"), "{told}");
    }
    for name in ["file.csv", "b.csv"] {
        assert_ne!(std::fs::read_to_string(folder.path().join(name)).unwrap(), "9,9", "{name}");
    }
}

/// How the app decides, some seconds after the job completed, on what is in storage.
async fn decided(place: &Emulated, submitted: OffsetDateTime) -> Option<Status> {
    let mut scoring = with_output(OutputKind::UriFile, "p.csv");
    scoring.status = Status::Verifying;
    (scoring.submitted, scoring.since) = (Some(submitted), submitted);
    let rules = json!({ "rules": [{ "id": "claims", "match": { "container": "uploads" },
        "endpoint": { "uri": "https://heart.example/jobs" }, "verifyInput": false }] });
    let rules = Rules::read(&rules.to_string()).unwrap();
    let seen = Observation::output(place.blobs.outputs(&scoring).await.unwrap());
    match decide(&scoring, rules.get("claims"), &seen, submitted + Duration::seconds(10)) {
        Step::Move { next, .. } => Some(next.status),
        Step::Wait { .. } | Step::LookAtInput | Step::Publish(_) => None,
    }
}

async fn only_what_is_there_not_empty_and_newer_is_scored(place: Emulated) {
    let begun = storage::now();
    assert_eq!(decided(&place, begun).await, None, "absent");
    place.put("p.csv", "").await;
    assert_eq!(decided(&place, begun).await, None, "empty");
    let modified = place.put("p.csv", "1").await;
    assert_eq!(decided(&place, modified + Duration::hours(1)).await, None, "older than the submission");
    assert_eq!(decided(&place, begun).await, Some(Status::Scored));
}

async fn what_is_listed_is_the_version_that_a_look_sees_under_the_name_that_was_given(place: Emulated) {
    for name in NAMES {
        place.put(name, "123").await;
    }
    let url = place.account.url(&place.container, "x");
    let account = url.strip_suffix(&format!("/{}/x", place.container)).unwrap();
    let all = BlobPrefix::new(account, &place.container, "").unwrap();
    let (mut names, mut from, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = place.blobs.list(&all, from.as_deref(), 2).await.unwrap();
        for (name, shown) in page.blobs {
            let blob = all.blob(&name).unwrap();
            let alone = place.blobs.blob(&blob).await.unwrap().expect("it is there");
            assert_eq!(blob.version(&shown.etag), blob.version(&alone.etag), "{name}");
            assert_eq!((shown.size, shown.modified, &shown.content_type), (3, alone.modified, &alone.content_type));
            names.push(name);
        }
        (from, pages) = (page.next, pages + 1);
        if from.is_none() {
            break;
        }
    }
    let mut expected = NAMES.map(str::to_owned).to_vec();
    expected.sort();
    names.sort();
    assert_eq!((names, pages), (expected, 5), "nine blobs, two by two");
    let some = BlobPrefix::new(account, &place.container, "a%2").unwrap();
    let some = place.blobs.list(&some, None, 2).await.unwrap();
    assert_eq!(some.blobs.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a%20b.csv", "a%2Fb.csv"]);
    let elsewhere = BlobPrefix::new(account, "not-there", "").unwrap();
    assert!(place.blobs.list(&elsewhere, None, 2).await.is_err(), "what cannot be listed is not empty");
}

macro_rules! hold {
    ($($claim:ident)*) => {
        hold! { @on over_http_without_token anonymous [$($claim)*] }
        hold! { @on over_tls_with_token with_tokens [$($claim)*] }
    };
    (@on $module:ident $make:ident [$($claim:ident)*]) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $claim() {
                    // Not installed: said once, by `azurite`.
                    let Some(place) = super::$make().await else { return };
                    super::$claim(place).await;
                }
            )*
        }
    };
}

hold! {
    a_file_is_seen_with_its_size_and_date
    every_character_of_a_name_is_the_names_own
    a_folder_is_all_its_blobs_on_all_pages_and_nothing_beside_it
    a_folder_of_empty_blobs_is_there_and_empty
    what_is_listed_is_the_version_that_a_look_sees_under_the_name_that_was_given
    an_output_is_read_in_parts_at_one_version_and_a_folder_by_its_files
    what_was_written_again_since_it_was_verified_is_not_downloaded
    ids_are_found_in_the_text_or_in_the_names_of_an_outputs_files
    only_what_is_there_not_empty_and_newer_is_scored
}

/// *Get Blob Tags*, as the product asks for it.
#[tokio::test]
async fn index_tags_are_read_with_a_token_and_those_of_a_blob_without_any_are_none() {
    let Some(place) = with_tokens().await else { return };
    let etag = place.account.put_tagged(&place.container, "a.csv", "hold=no&Data%20class=a%3Db").await;
    let blob = UnversionedBlob::read(&place.account.url(&place.container, "a.csv")).unwrap();
    let tags = place.blobs.index_tags(&blob, etag.trim_matches('"')).await.unwrap();
    let told: Vec<(&str, &str)> = tags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(told, [("Data class", "a=b"), ("hold", "no")]);
    place.put("b.csv", "1").await;
    let plain = UnversionedBlob::read(&place.account.url(&place.container, "b.csv")).unwrap();
    let seen = place.blobs.blob(&plain).await.unwrap().expect("it is there");
    assert!(place.blobs.index_tags(&plain, &seen.etag).await.unwrap().is_empty(), "none are no error");
    place.account.put_tagged(&place.container, "a.csv", "hold=yes").await;
    // Azurite leaves the condition of our request out of account; the service and the simulated one refuse (`tests/ports`).
    let changed = place.blobs.index_tags(&blob, etag.trim_matches('"')).await.unwrap();
    assert_eq!(changed.into_values().collect::<Vec<_>>(), ["yes"]);
}

/// *Delete Blob* on a condition, by the blob's own URL, as copies of groups are removed.
#[tokio::test]
async fn a_blob_is_removed_in_the_version_that_was_seen_and_in_no_other() {
    let Some(place) = with_tokens().await else { return };
    place.put("f/a b#.csv", "1").await;
    let at = BlobPlace::of_url(place.account.url(&place.container, "f/a%20b%23.csv"));
    let first = place.blobs.published(&at).await.unwrap().unwrap().etag;
    place.put("f/a b#.csv", "2").await;
    let second = place.blobs.published(&at).await.unwrap().unwrap().etag;
    assert_eq!(place.blobs.remove(&at, &first).await, Ok(()), "another version is no error");
    assert!(place.blobs.published(&at).await.unwrap().is_some(), "and stays");
    for _ in 0..2 {
        assert_eq!(place.blobs.remove(&at, &second).await, Ok(()), "that it is gone is no error");
        assert_eq!(place.blobs.published(&at).await, Ok(None));
    }
}

/// The emulator takes no copy from a URL, at once or in blocks (501: `putBlobFromUrl` and `stageBlockFromURL` of its
/// `BlockBlobHandler` do nothing but that, in 3.35.0): what it can be asked is how a document of ours is written, on
/// which conditions, and what a look reads back. Once it takes them, this test says so.
#[tokio::test]
async fn a_document_is_written_on_conditions_with_a_mark_that_a_look_reads() {
    let Some(place) = with_tokens().await else { return };
    let scoring = with_output(OutputKind::UriFile, "p.csv");
    let mark = PublicationMark::of(&LedgerId::of_random([1; 16]), &scoring, "o");
    let at = |path: &str| BlobPlace::of(&scoring, format!("azureml://datastores/workspaceblobstore/paths/{path}"));
    let to = at("published/ü 1.json");
    let write = async |condition: &WriteCondition| {
        place.blobs.write_manifest(&to, b"{}".to_vec(), condition, &mark).await.unwrap().value
    };
    assert_eq!(place.blobs.published(&to).await, Ok(None));
    let Published::Written { etag: first } = write(&WriteCondition::Absent).await else { panic!("nothing lies there") };
    let seen = PublishedBlob { etag: first.clone(), len: 2, mark: Some(mark.clone()) };
    assert_eq!(place.blobs.published(&to).await, Ok(Some(seen)));
    assert_eq!(write(&WriteCondition::Absent).await, Published::DestinationChanged);
    let second = write(&WriteCondition::Unchanged(first.clone())).await;
    assert!(matches!(&second, Published::Written { etag } if *etag != first), "{second:?}");
    assert_eq!(write(&WriteCondition::Unchanged(first)).await, Published::DestinationChanged);

    place.put("p.csv", "1").await;
    let from = at("p.csv");
    let PublishedBlob { etag, len, mark: none } = place.blobs.published(&from).await.unwrap().unwrap();
    assert_eq!(none, None);
    let source = CopySource { at: from, etag, len };
    let by_url = BlobPlace::of_url(place.account.url(&place.container, "copy.csv"));
    let Emulated { account, container, blobs, manager: _manager, .. } = place;
    let in_blocks = blobs.with_copy_limits(CopyLimits { one_call: 0, block: 1 });
    for to in [at("copy.csv"), by_url] {
        let copied = in_blocks.publish(&source, &to, &WriteCondition::Absent, &mark).await;
        assert!(copied.unwrap_err().what.contains("501"), "the emulator takes copies now: test them here");
        assert_eq!(in_blocks.published(&to).await, Ok(None));
    }
    let at_once = in_blocks.with_copy_limits(CopyLimits::default());
    let source = CopySource { at: BlobPlace::of_url(account.url(&container, "p.csv")), ..source };
    let copied = at_once.publish(&source, &at("copy.csv"), &WriteCondition::Absent, &mark).await;
    assert!(copied.unwrap_err().what.contains("501"), "the emulator takes copies now: test them here");
}

#[tokio::test]
async fn a_container_that_is_not_there_holds_nothing() {
    // Anonymously it is not told apart from one that is closed.
    let Some(place) = with_tokens().await else { return };
    place.put("p.csv", "1").await;
    for kind in [OutputKind::UriFile, OutputKind::UriFolder] {
        let mut scoring = with_output(kind, "p.csv");
        let output = scoring.submission.as_mut().unwrap().outputs.get_mut("o").unwrap();
        output.uri = output.uri.replace("workspaceblobstore", "stale");
        let uri = output.uri.clone();
        assert_eq!(place.blobs.outputs(&scoring).await, Ok(OutputSnapshot::Absent { uri }));
    }
}

#[tokio::test]
async fn a_token_that_storage_refuses_is_inconclusive_and_not_absent() {
    let Some(azurite) = azurite::over_tls() else { return };
    let source = Entra { audience: Some("https://management.azure.com") };
    let place = emulated(&azurite.blobs, azurite.client(), source, false).await.unwrap();
    place.put("p.csv", "1").await;
    for kind in [OutputKind::UriFile, OutputKind::UriFolder] {
        let inconclusive = place.look(kind, "p.csv").await.unwrap_err();
        assert!(inconclusive.what.contains("Storage Blob Data Reader"), "{inconclusive}");
    }
}

#[tokio::test]
async fn storage_whose_certificate_nobody_vouches_for_gets_no_token() {
    let Some(azurite) = azurite::over_tls() else { return };
    // Prepared by a client that trusts it, looked at by one that does not.
    let mut place = emulated(&azurite.blobs, azurite.client(), Entra::default(), false).await.unwrap();
    place.put("p.csv", "1").await;
    let tokens = Tokens::new(Arc::new(Entra::default()), Arc::new(storage::now));
    place.blobs = AzureBlobs::over(azurite::transport(azurite::client()), manager(&place.manager), tokens, hosts());
    let inconclusive = place.look(OutputKind::UriFile, "p.csv").await.unwrap_err();
    assert!(app::error_chain(&inconclusive).contains("certificate"), "{inconclusive}");
}

/// So many blobs are put there; each hundredth has no event.
const SWEPT: usize = 5_000;

#[tokio::test]
async fn five_thousand_blobs_are_held_against_the_ledger_by_processes_that_die() {
    let Some(base) = azurite::blobs() else { return };
    let account = Account::new(azurite::client(), base.clone());
    let container = account.container(true).await;
    let server = Canned::start().await;
    let tokens = Tokens::new(Arc::new(Entra::default()), Arc::new(storage::now));
    let blobs: Arc<AzureBlobs> =
        Arc::new(AzureBlobs::over(azurite::transport(azurite::client()), manager(&server), tokens, hosts()));
    let rules = json!({ "rules": [{ "id": "claims", "match": { "container": container }, "sweepAfter": "PT1M",
        "endpoint": { "uri": "https://heart.example/jobs" }, "maxInFlight": 1, "verifyInput": false }] });
    let rules = Rules::read(&rules.to_string()).unwrap();
    let (store, ahead) = (Arc::new(MemoryStore::new()), Arc::new(AtomicI64::new(0)));
    let process = |writer: usize| {
        let (ahead, writer) = (Arc::clone(&ahead), format!("w{writer}"));
        let new_id = LedgerId::of_random([7; 16]);
        let options = LedgerOptions { task_hub: "FoundBySweep".to_owned(), writer, new_id, projection: false };
        App::new(Parts {
            callbacks: None,
            ledger: Ledger::new(store.clone(), &options).unwrap(),
            endpoint: Arc::new(World::new()),
            blobs: blobs.clone(),
            dead_letters: None,
            rules: rules.clone(),
            storage_hosts: hosts().watching(&base),
            clock: Arc::new(move || storage::now() + Duration::seconds(ahead.load(Ordering::SeqCst))),
            orphan_scan_interval: None,
            retention: Duration::days(30),
        })
    };
    // Sweeps for the first time: what is written after this is the place's.
    let now = || storage::now() + Duration::hours(1);
    let no_pause: Pause = Arc::new(|_| Box::pin(async {}));
    process(0).sweep(now(), &no_pause).await.unwrap();
    let path = |n: usize| format!("{}/ü {n}.csv", n % 7);
    let etags: Vec<String> = stream::iter(0..SWEPT)
        .map(|n| {
            let (account, container) = (&account, &container);
            async move { account.put_tagged(container, &path(n), "a=b").await }
        })
        .buffered(16)
        .collect()
        .await;
    let events: Vec<_> = (0..SWEPT)
        .filter(|n| n % 100 != 0)
        .map(|n| {
            let mut told = event(&path(n), etags[n].trim_matches('"'));
            let encoded: Vec<String> =
                path(n).split('/').map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string()).collect();
            told["data"]["url"] = json!(account.url(&container, &encoded.join("/")));
            told["subject"] = json!(format!("/blobServices/default/containers/{container}/blobs/{}", path(n)));
            told
        })
        .collect();
    for events in events.chunks(500) {
        let _left_to_the_ticks = process(1).accept(&json!(events)).await.unwrap().into_parts().1;
    }
    let (mut kills, mut report) = (0, None);
    for life in 2.. {
        ahead.fetch_add(if life == 2 { 7_200 } else { 301 }, Ordering::SeqCst);
        let (chunks, dead) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (died, dies_at) = (Arc::clone(&dead), if kills < 5 { 3 + 7 * kills } else { usize::MAX });
        let pause: Pause = Arc::new(move |_| {
            let is_over = chunks.fetch_add(1, Ordering::SeqCst) >= dies_at;
            died.fetch_or(is_over, Ordering::SeqCst);
            Box::pin(async move {
                if is_over {
                    std::future::pending::<()>().await;
                }
            })
        });
        let app = process(life);
        let deadline = app.now() + Duration::hours(1);
        let mut run = Box::pin(app.sweep(deadline, &pause));
        let ended = std::future::poll_fn(|context| match run.as_mut().poll(context) {
            _ if dead.load(Ordering::SeqCst) => std::task::Poll::Ready(None),
            std::task::Poll::Ready(swept) => std::task::Poll::Ready(Some(swept.unwrap())),
            std::task::Poll::Pending => std::task::Poll::Pending,
        })
        .await;
        match ended {
            None => kills += 1,
            Some(swept) => {
                report = Some(swept);
                break;
            }
        }
    }
    let ledger = process(1_000).ledger().clone();
    let (place, _) = ledger.swept_places().await.unwrap().read.remove(0);
    let seen = place.last.unwrap().0.seen;
    println!("{kills} kills; {seen:?}");
    assert_eq!((kills, seen.listed, seen.pages), (5, 5_000, 1), "the page is done once");
    assert_eq!((seen.known + seen.found, report.unwrap().ended), (5_000, 1), "{seen:?}");
    assert_eq!(ledger.in_flight().await.unwrap().len(), 5_000, "none is left out, none is there twice");
}
