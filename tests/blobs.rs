//! Looking at outputs in real storage, as far as Azurite is that: anonymously over http, where an emulator gets no token,
//! and as in production, over TLS with a token from our own cache.
//!
//! What storage's failures are taken for is in `endpoint/blobs.rs`; no emulator injects faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use app::ports::{Blobs as _, Inconclusive};
use async_trait::async_trait;
use azure::blobs::AzureBlobs;
use azure::tokens::Tokens;
use azure_core::http::{AsyncRawResponse, HttpClient, Request, Transport};
use lifecycle::decide::{Observation, Step, decide};
use lifecycle::job::{Output, OutputKind};
use lifecycle::{OutputSnapshot, Rules, Scoring, Status, StorageHosts};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::endpoint::{WORKSPACE, manager, scoring_of};
use crate::support::azurite;
use crate::support::canned::{self, Answer, Canned};
use crate::support::storage::{self, Account, Entra};

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
        if request.url().query_pairs().any(|(name, value)| name == "comp" && value == "list") {
            request.url_mut().query_pairs_mut().append_pair("maxresults", "2");
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

async fn a_file_is_seen_with_its_size_and_date(place: Emulated) {
    assert_eq!(place.file("p.csv").await, absent("p.csv"));
    let modified = place.put("p.csv", "1\n2\n").await;
    assert_eq!(place.file("p.csv").await, OutputSnapshot::Present { bytes: 4, modified });
    let modified = place.put("p.csv", "").await;
    assert_eq!(place.file("p.csv").await, OutputSnapshot::Present { bytes: 0, modified });
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
        let expected = OutputSnapshot::Present { bytes: n as u64, modified };
        assert_eq!(place.file(name).await, expected, "{name}");
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
    let expected = OutputSnapshot::Present { bytes: 3 + 1 + 5 * 5, modified: oldest };
    let before = place.pages.load(Ordering::SeqCst);
    assert_eq!(place.folder("f").await, expected);
    assert_eq!(place.pages.load(Ordering::SeqCst) - before, 4, "seven blobs, two by two");
    assert_eq!(place.folder("f/").await, expected, "with the slash at its end, too");
}

async fn a_folder_of_empty_blobs_is_there_and_empty(place: Emulated) {
    let modified = place.put("f/_SUCCESS", "").await;
    assert_eq!(place.folder("f").await, OutputSnapshot::Present { bytes: 0, modified });
}

/// How the app decides, some seconds after the job completed, on what is in storage.
async fn decided(place: &Emulated, submitted: OffsetDateTime) -> Option<Status> {
    let mut scoring = with_output(OutputKind::UriFile, "p.csv");
    scoring.status = Status::Verifying;
    (scoring.submitted, scoring.since) = (Some(submitted), submitted);
    let rules = json!({ "rules": [{ "id": "claims", "match": { "container": "uploads" },
        "endpoint": { "uri": "https://heart.example/jobs" }, "verifyInput": false }] });
    let rules = Rules::read(&rules.to_string()).unwrap();
    let seen = Observation::Output(place.blobs.outputs(&scoring).await.unwrap());
    match decide(&scoring, rules.get("claims"), &seen, submitted + Duration::seconds(10)) {
        Step::Move { next, .. } => Some(next.status),
        Step::Wait { .. } | Step::LookAtInput => None,
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
    only_what_is_there_not_empty_and_newer_is_scored
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
