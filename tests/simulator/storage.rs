//! Blobs of the simulated accounts, and who may reach them.

use std::sync::Arc;

use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{ClientOptions, Context, Request};
use azure_storage_blob::models::BlobClientGetPropertiesResultHeaders as _;
use azure_storage_blob::{BlobClient, BlobClientOptions, BlobContainerClient, BlobContainerClientOptions};
use futures::TryStreamExt as _;
use reqwest::StatusCode;
use simulator::{self, Container, SimulatorOptions};
use tempfile::TempDir;
use time::macros::datetime;
use tokio::net::TcpListener;

use super::{ML, STORAGE, Sim, sim};

/// Shows a token in the clear, which Microsoft's client does not do of itself.
#[derive(Debug)]
struct Shown(String);

#[async_trait::async_trait]
impl Policy for Shown {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        request.insert_header("authorization", format!("Bearer {}", self.0));
        next[0].send(ctx, request, &next[1..]).await
    }
}

pub async fn with_token(sim: &Sim) -> ClientOptions {
    let shown: Arc<dyn Policy> = Arc::new(Shown(sim.token(STORAGE).await));
    ClientOptions { per_call_policies: vec![shown], ..ClientOptions::default() }
}

#[tokio::test]
async fn the_official_storage_client_reads_an_output_where_the_datastore_says() {
    let (sim, _root) = sim(|_| {}).await;
    sim.put("x.csv", "a\n1\n2\n");
    let name = sim.submit("x.csv", "a b/ü&.csv").await;
    sim.finish(&name, "Completed").await;
    let datastore = sim.arm_get("/datastores/scores").await;
    let told = |member: &str| datastore["properties"][member].as_str().unwrap().to_owned();
    assert_eq!(told("datastoreType"), "AzureBlob");
    let container =
        format!("{}://{}/{}/{}", told("protocol"), told("endpoint"), told("accountName"), told("containerName"));
    let url = format!("{container}/a%20b/%C3%BC%26.csv");
    let options = BlobClientOptions { client_options: with_token(&sim).await, ..Default::default() };
    let blob = BlobClient::new(url.parse().unwrap(), None, Some(options)).unwrap();
    let seen = blob.get_properties(None).await.unwrap();
    let written = sim.output("a b/ü&.csv").unwrap();
    assert_eq!(seen.content_length().unwrap(), Some(written.len() as u64));
    // By the service's clock, which stood at the end of `Running` when the output was published.
    assert_eq!(seen.last_modified().unwrap(), Some(datetime!(2026-01-01 12:01:04 UTC)));
    let body = blob.download(None).await.unwrap().body.collect().await.unwrap();
    assert_eq!(body, written.as_bytes());

    std::fs::create_dir_all(sim.root.join("outbox/a")).unwrap();
    for file in ["a/1", "a/2", "a.csv", "b"] {
        std::fs::write(sim.root.join("outbox").join(file), file).unwrap();
    }
    let options = BlobContainerClientOptions { client_options: with_token(&sim).await, ..Default::default() };
    let client = BlobContainerClient::new(container.parse().unwrap(), None, Some(options)).unwrap();
    let blobs: Vec<_> = client.list_blobs(None).unwrap().into_stream().try_collect().await.unwrap();
    let names: Vec<_> = blobs.iter().map(|blob| blob.name.clone().unwrap()).collect();
    assert_eq!(names, ["a b/ü&.csv", "a.csv", "a/1", "a/2", "b"], "in storage's order, without what is hidden");
    let page = format!("{container}?restype=container&comp=list&prefix=a&maxresults=2&marker=a.csv");
    let page = sim.get(&page, STORAGE).await.text().await.unwrap();
    assert!(page.contains("<Name>a/1</Name>") && page.contains("<Name>a/2</Name>"), "{page}");
    assert!(!page.contains("a.csv</Name>") && !page.contains("NextMarker") && !page.contains("<Name>b"), "{page}");
    let ranged = sim
        .http
        .get(format!("{container}/a.csv"))
        .bearer_auth(sim.token(STORAGE).await)
        .header("range", "bytes=2-3")
        .send()
        .await
        .unwrap();
    assert_eq!((ranged.status(), ranged.text().await.unwrap()), (StatusCode::PARTIAL_CONTENT, "cs".to_owned()));
}

#[tokio::test]
async fn storage_wants_a_token_of_its_own_and_says_so_with_a_challenge() {
    let (sim, _root) = sim(|_| {}).await;
    sim.put("x.csv", "secret");
    for path in
        ["/local/inbox/x.csv", "/local/inbox?restype=container&comp=list", "/local/inbox/nothing", "/nobody/c/x"]
    {
        let url = sim.url(path);
        let (bare, foreign) = (sim.http.get(&url).send().await.unwrap(), sim.get(&url, ML).await);
        for (answer, code) in [(bare, "NoAuthenticationInformation"), (foreign, "InvalidAuthenticationInfo")] {
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
            assert_eq!(answer.headers()["x-ms-error-code"], code, "{path}");
            let challenge = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
            assert!(challenge.starts_with("Bearer ") && challenge.contains(STORAGE), "{challenge}");
            assert!(!answer.text().await.unwrap().contains("secret"), "{path}");
        }
    }
    assert_eq!(sim.get(&sim.url("/local/inbox/x.csv"), STORAGE).await.text().await.unwrap(), "secret");
}

#[tokio::test]
async fn nothing_outside_of_the_containers_is_served() {
    let (sim, _root) = sim(|_| {}).await;
    std::fs::write(sim.root.join("secret"), "s3cret").unwrap();
    sim.put("x", "x");
    std::os::unix::fs::symlink(sim.root.join("secret"), sim.root.join("inbox/link")).unwrap();
    assert_eq!(sim.get(&sim.url("/local/inbox/x"), STORAGE).await.text().await.unwrap(), "x");
    for path in [
        "/local/inbox/%2E%2E%2Fsecret",
        "/local/inbox/a%2F..%2F..%2Fsecret",
        "/local/inbox/..%5Csecret",
        "/local/inbox//secret",
        "/local/inbox/link",
        "/local/inbox%2F../secret",
        "/local/../secret",
        "/local/nowhere/x",
        "/other/inbox/x",
    ] {
        let answer = sim.get(&sim.url(path), STORAGE).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        assert!(!answer.text().await.unwrap().contains("s3cret"), "{path}");
    }
    let missing =
        sim.http.head(sim.url("/local/inbox/nothing")).bearer_auth(sim.token(STORAGE).await).send().await.unwrap();
    assert_eq!(missing.headers()["x-ms-error-code"], "BlobNotFound");
    let listed = sim.get(&sim.url("/local/inbox?restype=container&comp=list"), STORAGE).await;
    assert!(!listed.text().await.unwrap().contains("link"));
}

#[tokio::test]
async fn a_blob_is_written_whole_by_whoever_may_and_never_outside_of_its_container() {
    let (sim, _root) = sim(|_| {}).await;
    sim.put("x", "old");
    let answer = sim.http.put(sim.url("/local/inbox/x")).header("x-ms-blob-type", "BlockBlob").body("new");
    let answer = answer.bearer_auth(sim.token(STORAGE).await).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN, "the app may only read where it watches");
    assert_eq!(std::fs::read_to_string(sim.root.join("inbox/x")).unwrap(), "old");

    // The app owns the account of its state.
    let (sim, _root) = self::sim(|o| o.app.state_account = "local".into()).await;
    std::fs::create_dir(sim.root.join("other")).unwrap();
    std::os::unix::fs::symlink(sim.root.join("other"), sim.root.join("inbox/link")).unwrap();
    let put = async |path: &str, token: Option<String>| {
        let request = sim.http.put(sim.url(path)).header("x-ms-blob-type", "BlockBlob").body("new");
        let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
        request.send().await.unwrap().status()
    };
    assert_eq!(put("/local/inbox/a/new", None).await, StatusCode::UNAUTHORIZED);
    assert_eq!(put("/local/inbox/a/new", Some(sim.token(ML).await)).await, StatusCode::UNAUTHORIZED);
    assert!(!sim.root.join("inbox/a").exists());
    assert_eq!(put("/local/inbox/a/new", Some(sim.token(STORAGE).await)).await, StatusCode::CREATED);
    assert_eq!(std::fs::read_to_string(sim.root.join("inbox/a/new")).unwrap(), "new");
    for path in [
        "/local/inbox/%2E%2E%2Fnew",
        "/local/inbox/a%2F..%2F..%2Fnew",
        "/local/inbox/link/new",
        "/local/inbox/link/deep/new",
        "/local/nowhere/new",
        "/other/inbox/new",
    ] {
        let status = put(path, Some(sim.token(STORAGE).await)).await;
        assert!(!status.is_success(), "{path}: {status}");
    }
    assert!(!sim.root.join("new").exists());
    assert_eq!(std::fs::read_dir(sim.root.join("other")).unwrap().count(), 0, "nothing is made behind a link");
}

#[tokio::test]
async fn a_simulator_is_not_opened_to_others() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let error = simulator::start(listener, SimulatorOptions::default()).err().unwrap();
    assert!(error.to_string().contains("listen on 127.0.0.1"), "{error}");
    let root = TempDir::new().unwrap();
    let container = Container { account: "admin".into(), container: "c".into(), folder: root.path().to_owned() };
    let options = SimulatorOptions { containers: vec![container], ..SimulatorOptions::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    assert!(simulator::start(listener, options).err().unwrap().to_string().contains("`admin`"));
}
