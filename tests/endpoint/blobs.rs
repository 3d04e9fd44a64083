//! Looking at outputs: the wire shape of storage, and what is concluded from it.

use std::sync::Mutex;

use app::ports::{Blobs as _, Inconclusive};
use azure::blobs::AzureBlobs;
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, HttpClient, Request, Transport};
use lifecycle::{BlobVersion, InputContent, InputSnapshot, OutputSnapshot, SeenVersion, StorageHosts};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::*;
use crate::support::canned::{self, Answer, Canned, Reply};

/// Resource Manager and storage on one server.
pub(super) fn blobs(server: &Canned) -> AzureBlobs {
    AzureBlobs::new(manager(server), Tokens::new(Arc::new(Source::default()), clock()), StorageHosts::default())
}

fn datastore(protocol: &str, endpoint: &str) -> Answer {
    canned::json(
        200,
        &json!({ "name": "workspaceblobstore", "properties": { "datastoreType": "AzureBlob", "accountName": "acct",
            "containerName": "results", "endpoint": endpoint, "protocol": protocol, "credentials": { "credentialsType": "None" } } }),
    )
}

fn datastore_line() -> String {
    format!("GET {WORKSPACE}/datastores/workspaceblobstore")
}

/// The headers of Get Blob Properties that we read, as the service sends them.
fn properties(bytes: u64, modified: &str) -> Answer {
    canned::text(200, "")
        .header("Content-Length", &bytes.to_string())
        .header("Last-Modified", modified)
        .header("ETag", "\"0x8DC2\"")
        .header("x-ms-blob-type", "BlockBlob")
        .header("x-ms-version", "2026-04-06")
}

const MODIFIED: &str = "Tue, 21 Jul 2026 10:03:00 GMT";

async fn emulator() -> Canned {
    let server = Canned::start().await;
    server.at(&datastore_line(), datastore("http", &server.authority));
    server
}

fn with_outputs(server: &Canned, outputs: &Value) -> Scoring {
    let uri = server.url("/jobs");
    scoring_of(&uri, &json!({ "endpoint": { "uri": uri, "workspace": WORKSPACE }, "outputs": outputs }))
}

fn uri(path: &str) -> Value {
    json!(format!("azureml://datastores/workspaceblobstore/paths/{path}/{{scoring.id}}/{{attempt}}"))
}

/// Of what is there.
fn size_and_time(seen: &Result<OutputSnapshot, Inconclusive>) -> (u64, OffsetDateTime) {
    match seen {
        Ok(OutputSnapshot::Present { bytes, modified, .. }) => (*bytes, *modified),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_output_is_looked_at_where_its_datastore_is() {
    let server = emulator().await;
    let scoring = scoring(&server);
    let path = format!("/acct/results/scorekeeper/claims/{}/2/predictions.csv", scoring.id);
    server.at(&format!("HEAD {path}"), properties(1234, MODIFIED));
    let blobs = blobs(&server);
    let expected = (1234, datetime!(2026-07-21 10:03 UTC));
    let first = blobs.outputs(&scoring).await;
    assert_eq!(size_and_time(&first), expected);
    assert_eq!(blobs.outputs(&scoring).await, first);

    let head = format!("HEAD {path}");
    assert_eq!(server.lines(), [datastore_line(), head.clone(), head], "the datastore is asked for once");
    let requests = server.requests();
    assert_eq!(requests[0].header("authorization"), Some("Bearer https://management.azure.com/.default#1"));
    assert_eq!(requests[1].header("authorization"), None, "an emulator gets no token");
}

#[tokio::test]
async fn long_uris_name_their_own_workspace() {
    let server = emulator().await;
    let long = format!("azureml:/{WORKSPACE}/datastores/workspaceblobstore/paths/a/{{scoring.id}}/{{attempt}}");
    let mut scoring = with_outputs(&server, &json!({ "o": { "type": "UriFile", "uri": long } }));
    scoring.workspace = None;
    server.at(&format!("HEAD /acct/results/a/{}/2", scoring.id), properties(5, MODIFIED));
    assert!(matches!(blobs(&server).outputs(&scoring).await, Ok(OutputSnapshot::Present { bytes: 5, .. })));

    let mut short = with_outputs(&server, &json!({ "o": { "type": "UriFile", "uri": uri("a") } }));
    short.workspace = None;
    assert!(blobs(&server).outputs(&short).await.unwrap_err().what.contains("endpoint.workspace"));
    short.job = Some(Job { name: "j".parse().unwrap(), id: Some(format!("{WORKSPACE}/jobs/j")), studio: None });
    assert!(blobs(&server).outputs(&short).await.is_ok());
}

#[tokio::test]
async fn nothing_there_is_absent() {
    let server = emulator().await;
    let scoring = scoring(&server);
    let absent = Ok(OutputSnapshot::Absent { uri: scoring.output_uri().unwrap().to_owned() });
    for code in ["BlobNotFound", "ContainerNotFound"] {
        server.next(canned::text(404, "").header("x-ms-error-code", code));
        assert_eq!(blobs(&server).outputs(&scoring).await, absent, "{code}");
    }
}

#[tokio::test]
async fn of_several_outputs_the_worst_counts() {
    let server = emulator().await;
    let file = |path| json!({ "type": "UriFile", "uri": uri(path) });
    let scoring = with_outputs(&server, &json!({ "a": file("a"), "b": file("b") }));
    let line = |path: &str| format!("HEAD /acct/results/{path}/{}/2", scoring.id);
    server.at(&line("a"), properties(10, MODIFIED));
    server
        .at(&line("b"), properties(7, "Tue, 21 Jul 2026 10:01:00 GMT"))
        .at(&line("b"), properties(0, MODIFIED))
        .at(&line("b"), canned::text(404, ""));
    let blobs = blobs(&server);
    let oldest = datetime!(2026-07-21 10:01 UTC);
    assert_eq!(size_and_time(&blobs.outputs(&scoring).await), (17, oldest));
    assert!(
        matches!(blobs.outputs(&scoring).await, Ok(OutputSnapshot::Present { bytes: 0, .. })),
        "an empty one is not summed away"
    );
    let missing = scoring.submission.as_ref().unwrap().outputs["b"].uri.clone();
    assert_eq!(blobs.outputs(&scoring).await, Ok(OutputSnapshot::Absent { uri: missing }));
}

fn page(blobs: &[(&str, u64, &str)], next: &str) -> Answer {
    let blobs: Vec<String> = blobs
        .iter()
        .map(|(name, bytes, modified)| {
            format!(
                "<Blob><Name>{name}</Name><Properties><Last-Modified>{modified}</Last-Modified><Etag>0x1</Etag>\
                 <Content-Length>{bytes}</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>"
            )
        })
        .collect();
    let blobs = blobs.concat();
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"http://x/\" ContainerName=\"results\">\
         <Blobs>{blobs}</Blobs><NextMarker>{next}</NextMarker></EnumerationResults>"
    );
    canned::text(200, &body).header("Content-Type", "application/xml")
}

#[tokio::test]
async fn a_folder_is_the_sum_of_its_blobs() {
    let server = emulator().await;
    let scoring = with_outputs(&server, &json!({ "o": { "type": "UriFolder", "uri": uri("f") } }));
    server
        .next(page(&[("f/a", 3, MODIFIED)], "more"))
        .next(page(&[("f/b", 4, "Tue, 21 Jul 2026 10:02:00 GMT")], ""))
        .next(page(&[], ""));
    let blobs = blobs(&server);
    let modified = datetime!(2026-07-21 10:02 UTC);
    assert_eq!(size_and_time(&blobs.outputs(&scoring).await), (7, modified));
    assert!(matches!(blobs.outputs(&scoring).await, Ok(OutputSnapshot::Absent { .. })));

    let requests = server.requests();
    assert_eq!(requests[1].line(), "GET /acct/results");
    let prefix = format!("prefix=f%2F{}%2F2%2F", scoring.id);
    assert!(requests[1].target.contains(&prefix), "a prefix that ends in / : {}", requests[1].target);
    assert!(requests[2].target.contains("marker=more"), "{}", requests[2].target);
}

#[tokio::test]
async fn what_cannot_be_read_is_inconclusive_with_its_remedy() {
    let server = emulator().await;
    let scoring = scoring(&server);
    server.next(canned::text(403, "").header("x-ms-error-code", "AuthorizationPermissionMismatch"));
    let inconclusive = blobs(&server).outputs(&scoring).await.unwrap_err();
    assert!(
        inconclusive.what.contains("403") && inconclusive.what.contains("Storage Blob Data Reader"),
        "{inconclusive}"
    );

    server.next(canned::text(409, "").header("x-ms-error-code", "BlobArchived"));
    assert!(blobs(&server).outputs(&scoring).await.unwrap_err().what.contains("BlobArchived"));

    server.next(canned::text(200, "")); // no Last-Modified
    assert!(blobs(&server).outputs(&scoring).await.is_err());

    let mut nothing = scoring.clone();
    nothing.submission = None;
    assert!(blobs(&server).outputs(&nothing).await.is_err());
}

#[tokio::test]
async fn a_look_is_repeated_three_times_and_no_more() {
    let server = emulator().await;
    let scoring = scoring(&server);
    server.next(canned::text(503, "")).next(Reply::CutRead).next(properties(1, MODIFIED));
    assert!(matches!(blobs(&server).outputs(&scoring).await, Ok(OutputSnapshot::Present { bytes: 1, .. })));

    let before = server.requests().len();
    server.next(canned::text(500, "")).next(canned::text(500, "")).next(canned::text(500, ""));
    assert!(blobs(&server).outputs(&scoring).await.unwrap_err().what.contains("500"));
    assert_eq!(server.requests().len() - before, 4, "one for the datastore, three looks");
}

#[tokio::test]
async fn a_storage_that_asks_for_a_longer_pause_is_left_alone_until_the_next_look() {
    let server = emulator().await;
    let scoring = scoring(&server);
    let busy = || canned::text(503, "").header("Retry-After", "60");
    let before = server.requests().len();
    server.next(busy()).next(properties(1, MODIFIED));
    assert!(blobs(&server).outputs(&scoring).await.unwrap_err().what.contains("503"));
    assert_eq!(server.requests().len() - before, 2, "one for the datastore, one look");
}

#[tokio::test]
async fn datastores_that_hold_no_blobs_are_named() {
    let server = Canned::start().await;
    let scoring = scoring(&server);
    server.next(canned::text(404, ""));
    assert!(blobs(&server).outputs(&scoring).await.unwrap_err().what.contains("no datastore `workspaceblobstore`"));
    server.next(canned::json(200, &json!({ "properties": { "datastoreType": "OneLake" } })));
    assert!(blobs(&server).outputs(&scoring).await.unwrap_err().what.contains("OneLake"));
    server.next(canned::json(403, &json!({ "error": { "code": "AuthorizationFailed", "message": "no" } })));
    assert!(blobs(&server).outputs(&scoring).await.unwrap_err().what.contains("workspaces/datastores/read"));
    server.next(datastore("http", "core.windows.net"));
    assert!(blobs(&server).outputs(&scoring).await.unwrap_err().what.contains("register it with https"));
}

/// Answers in place of storage over https, and keeps what it was asked.
#[derive(Debug, Default)]
struct Https {
    asked: Mutex<Vec<(String, Option<String>)>>,
    statuses: Mutex<Vec<u16>>,
}

#[async_trait::async_trait]
impl HttpClient for Https {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let bearer = request.headers().iter().find(|(name, _)| name.as_str() == "authorization");
        let bearer = bearer.map(|(_, value)| value.as_str().to_owned());
        self.asked.lock().unwrap().push((request.url().to_string(), bearer));
        let mut headers = Headers::new();
        headers.insert("content-length", "9");
        headers.insert("last-modified", MODIFIED);
        let status = self.statuses.lock().unwrap().pop().unwrap_or(200);
        Ok(AsyncRawResponse::from_bytes(status.into(), headers, Vec::new()))
    }
}

#[tokio::test]
async fn over_https_storage_gets_a_token_for_storage_and_a_401_renews_it_once() {
    let server = Canned::start().await;
    server.at(&datastore_line(), datastore("https", "core.windows.net"));
    let https = Arc::new(Https::default());
    https.statuses.lock().unwrap().push(401);
    let tokens = Tokens::new(Arc::new(Source::default()), clock());
    let blobs = AzureBlobs::over(
        Transport::new(https.clone()),
        manager(&server),
        tokens,
        StorageHosts::of_cloud("core.windows.net"),
    );
    let scoring = scoring(&server);
    assert!(matches!(blobs.outputs(&scoring).await, Ok(OutputSnapshot::Present { bytes: 9, .. })));
    let url = format!("https://acct.blob.core.windows.net/results/scorekeeper/claims/{}/2/predictions.csv", scoring.id);
    let bearer = |n| Some(format!("Bearer https://storage.azure.com/.default#{n}"));
    assert_eq!(*https.asked.lock().unwrap(), [(url.clone(), bearer(1)), (url, bearer(2))]);

    https.statuses.lock().unwrap().extend([401, 401, 401]);
    assert!(blobs.outputs(&scoring).await.unwrap_err().what.contains("401"));
    assert_eq!(https.asked.lock().unwrap().len(), 4, "once, not for ever");
}

fn version(url: &str) -> BlobVersion {
    BlobVersion::read(url, "0x1").unwrap()
}

/// Storage that answers a HEAD with this status and these headers.
#[derive(Debug)]
struct Head(u16, Vec<(&'static str, &'static str)>);

#[async_trait::async_trait]
impl HttpClient for Head {
    async fn execute_request(&self, _: &Request) -> azure_core::Result<AsyncRawResponse> {
        let mut headers = Headers::new();
        for (name, value) in &self.1 {
            headers.insert(*name, *value);
        }
        Ok(AsyncRawResponse::from_bytes(self.0.into(), headers, Vec::new()))
    }
}

async fn input(answer: Head) -> Result<InputSnapshot, Inconclusive> {
    let server = Canned::start().await;
    let tokens = Tokens::new(Arc::new(Source::default()), clock());
    let hosts = StorageHosts::of_cloud("core.windows.net");
    let blobs = AzureBlobs::over(Transport::new(Arc::new(answer)), manager(&server), tokens, hosts);
    blobs.input(&version("https://acct.blob.core.windows.net/in/a.csv")).await
}

#[tokio::test]
async fn an_input_is_seen_with_its_unquoted_etag_its_length_and_its_md5() {
    let headers = vec![("etag", "\"0x8DC\""), ("content-length", "9"), ("content-md5", "sQqNsWTwdUEFt6mb5y4/5Q==")];
    let content = InputContent { bytes: 9, md5: Some("sQqNsWTwdUEFt6mb5y4/5Q==".into()) };
    let seen = SeenVersion { etag: "0x8DC".into(), content };
    assert_eq!(input(Head(200, headers)).await.unwrap(), InputSnapshot::Present(seen));
}

#[tokio::test]
async fn only_blob_not_found_means_gone() {
    let code = |code| vec![("x-ms-error-code", code)];
    assert_eq!(input(Head(404, code("BlobNotFound"))).await.unwrap(), InputSnapshot::Gone);
    for (status, headers, says) in [
        (404, code("ContainerNotFound"), "404 (ContainerNotFound)"),
        (404, code("ResourceNotFound"), "404"),
        (404, Vec::new(), "404"),
        (403, code("AuthorizationPermissionMismatch"), "Storage Blob Data Reader"),
        (403, code("AccountIsDisabled"), "AccountIsDisabled"),
        (409, code("ContainerBeingDeleted"), "ContainerBeingDeleted"),
        (500, Vec::new(), "500"),
    ] {
        let why = input(Head(status, headers)).await.unwrap_err();
        assert!(why.what.contains(says), "{why}");
    }
}

#[tokio::test]
async fn no_token_follows_a_blob_or_a_datastore_to_a_foreign_host() {
    let server = Canned::start().await;
    server.at(&datastore_line(), datastore("https", "evil.example"));
    let https = Arc::new(Https::default());
    let tokens = Tokens::new(Arc::new(Source::default()), clock());
    let hosts = StorageHosts::of_cloud("core.windows.net");
    let blobs = AzureBlobs::over(Transport::new(https.clone()), manager(&server), tokens, hosts);
    for host in ["acct.blob.evil.example", "acct.blob.core.windows.net.evil.example", "127.0.0.1"] {
        let why = blobs.input(&version(&format!("https://{host}/in/a.csv"))).await.unwrap_err();
        assert!(why.what.contains("is not a storage host of this cloud"), "{why}");
    }
    let why = blobs.outputs(&scoring(&server)).await.unwrap_err();
    assert!(app::error_chain(&why).contains("`acct.blob.evil.example` is not a storage host"), "{why:?}");
    assert!(https.asked.lock().unwrap().is_empty(), "nobody was asked, with or without a token");
}

#[tokio::test]
async fn storage_on_this_machine_gets_a_token_if_it_asks_and_a_setting_names_it() {
    let asks = || canned::text(401, "").header("WWW-Authenticate", "Bearer resource_id=https://storage.azure.com");
    for (is_named, sent) in [(true, vec![false, true, true]), (false, vec![false])] {
        let server = emulator().await;
        let scoring = with_outputs(&server, &json!({ "score": { "type": "UriFile", "uri": uri("a") } }));
        let path = format!("HEAD /acct/results/a/{}/2", scoring.id);
        server.at(&path, asks());
        if is_named {
            server.at(&path, properties(9, MODIFIED));
            server.at(&path, properties(9, MODIFIED));
        }
        let there = format!("http://{}/acct", server.authority).parse().unwrap();
        let hosts = StorageHosts::default();
        let hosts = if is_named { hosts.and("acct.blob.core.windows.net", Some(there)) } else { hosts };
        let blobs = AzureBlobs::new(manager(&server), Tokens::new(Arc::new(Source::default()), clock()), hosts);
        assert_eq!(blobs.outputs(&scoring).await.is_ok(), is_named);
        if is_named {
            assert!(blobs.outputs(&scoring).await.is_ok(), "once it asked, it is shown the token at once");
        }
        let looks: Vec<_> = server.requests().into_iter().filter(|request| request.method == "HEAD").collect();
        let shown =
            looks.iter().map(|look| look.header("authorization").is_some_and(|it| it.contains("storage.azure.com")));
        let shown: Vec<bool> = shown.collect();
        // Without a token a refusal is repeated once, as any 401 is.
        assert_eq!(
            shown.iter().filter(|shown| **shown).count(),
            sent.iter().filter(|sent| **sent).count(),
            "{shown:?}"
        );
        assert!(!shown[0], "nothing is shown to who did not ask");
    }
}
