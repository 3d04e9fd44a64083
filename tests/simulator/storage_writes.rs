//! Copies and writes of blobs at the simulated accounts, mostly by Microsoft's own client.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use azure_core::error::ErrorKind;
use azure_core::http::{ClientOptions, Etag, RetryOptions};
use azure_storage_blob::models::{
    BlobClientGetPropertiesResultHeaders as _, BlockBlobClientCommitBlockListOptions,
    BlockBlobClientStageBlockFromUrlOptions, BlockBlobClientUploadBlobFromUrlOptions,
    BlockBlobClientUploadBlobFromUrlResultHeaders as _, BlockListType, BlockLookupList, HttpRange,
};
use azure_storage_blob::{BlobClient, BlobClientOptions};
use reqwest::StatusCode;
use simulator::{Fault, FaultKind, Instead, Resources, Route};
use tempfile::TempDir;

use super::storage::with_token;
use super::{ML, STORAGE, Sim, sim};

const READ: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read";

/// One whose app may write to the outbox.
async fn publishing() -> (Sim, TempDir) {
    sim(|options| options.published = vec!["scores".into()]).await
}

/// The official client of a blob.
async fn blob(sim: &Sim, path: &str) -> BlobClient {
    let client_options = ClientOptions { retry: RetryOptions::none(), ..with_token(sim).await };
    let options = BlobClientOptions { client_options, ..Default::default() };
    BlobClient::new(sim.url(path).parse().unwrap(), None, Some(options)).unwrap()
}

async fn etag(sim: &Sim, path: &str) -> Etag {
    blob(sim, path).await.get_properties(None).await.unwrap().etag().unwrap().unwrap()
}

/// What a copy needs to read its source.
async fn reading(sim: &Sim) -> BlockBlobClientUploadBlobFromUrlOptions<'static> {
    let bearer = format!("Bearer {}", sim.token(STORAGE).await);
    BlockBlobClientUploadBlobFromUrlOptions { copy_source_authorization: Some(bearer), ..Default::default() }
}

/// Copies a blob, and tells status and code of a refusal.
async fn copy(
    sim: &Sim,
    (from, to): (&str, &str),
    options: BlockBlobClientUploadBlobFromUrlOptions<'_>,
) -> Result<Etag, (u16, String)> {
    let client = blob(sim, to).await.block_blob_client();
    match client.upload_blob_from_url(sim.url(from), Some(options)).await {
        Ok(answer) => Ok(answer.etag().unwrap().unwrap()),
        Err(error) => match error.kind() {
            ErrorKind::HttpResponse { status, error_code, .. } => {
                Err(((*status).into(), error_code.clone().unwrap_or_default()))
            }
            _ => panic!("{error}"),
        },
    }
}

fn written(sim: &Sim, path: &str) -> Option<String> {
    std::fs::read_to_string(sim.root.join("outbox").join(path)).ok()
}

#[tokio::test]
async fn over_a_folder_nothing_is_written_whatever_the_condition() {
    let (sim, _root) = publishing().await;
    sim.put("x.csv", "one");
    std::fs::create_dir_all(sim.root.join("outbox/taken.csv")).unwrap();
    let absent =
        BlockBlobClientUploadBlobFromUrlOptions { if_none_match: Some(Etag::from("*")), ..reading(&sim).await };
    for options in [absent, reading(&sim).await] {
        let refused = copy(&sim, ("/local/inbox/x.csv", "/local/outbox/taken.csv"), options).await;
        assert_eq!(refused, Err((409, "ResourceTypeMismatch".into())), "a look shows no blob there");
    }
}

#[tokio::test]
async fn of_a_blob_that_is_removed_nothing_is_left() {
    let (sim, _root) = publishing().await;
    sim.put("x.csv", "one");
    let to = "/local/outbox/a/x.csv";
    copy(&sim, ("/local/inbox/x.csv", to), reading(&sim).await).await.unwrap();
    let files = || std::fs::read_dir(sim.root.join("outbox/a")).unwrap().count();
    assert_eq!(files(), 2, "its metadata beside it");
    blob(&sim, to).await.delete(None).await.unwrap();
    assert_eq!(files(), 0);
}

#[tokio::test]
async fn the_official_client_copies_a_blob_on_conditions_with_metadata_of_its_own() {
    let (sim, _root) = publishing().await;
    sim.put("x.csv", "one");
    let (from, to) = ("/local/inbox/x.csv", "/local/outbox/a%20b/latest.csv");
    let source = etag(&sim, from).await;
    let marked = |mark: &str| Some(HashMap::from([("mark".to_owned(), mark.to_owned())]));
    let first = BlockBlobClientUploadBlobFromUrlOptions {
        source_if_match: Some(source.clone()),
        if_none_match: Some(Etag::from("*")),
        metadata: marked("one"),
        ..reading(&sim).await
    };
    let first = copy(&sim, (from, to), first).await.unwrap();
    assert_eq!(written(&sim, "a b/latest.csv").as_deref(), Some("one"));
    let shown = blob(&sim, to).await.get_properties(None).await.unwrap();
    assert_eq!((shown.etag().unwrap(), shown.metadata().unwrap()), (Some(first.clone()), marked("one").unwrap()));
    let got = sim.get(&sim.url(to), STORAGE).await;
    assert_eq!(got.headers()["x-ms-meta-mark"], "one", "by GET, too");

    let absent =
        BlockBlobClientUploadBlobFromUrlOptions { if_none_match: Some(Etag::from("*")), ..reading(&sim).await };
    assert_eq!(copy(&sim, (from, to), absent).await, Err((409, "BlobAlreadyExists".into())));
    let other = BlockBlobClientUploadBlobFromUrlOptions { if_match: Some(source.clone()), ..reading(&sim).await };
    assert_eq!(copy(&sim, (from, to), other).await, Err((412, "TargetConditionNotMet".into())));
    sim.put("x.csv", "two!");
    let old = BlockBlobClientUploadBlobFromUrlOptions {
        source_if_match: Some(source),
        if_match: Some(first.clone()),
        ..reading(&sim).await
    };
    assert_eq!(copy(&sim, (from, to), old).await, Err((412, "SourceConditionNotMet".into())));
    assert_eq!(etag(&sim, to).await, first, "nothing of it was written");

    let second = BlockBlobClientUploadBlobFromUrlOptions { if_match: Some(first), ..reading(&sim).await };
    copy(&sim, (from, to), second).await.unwrap();
    assert_eq!(written(&sim, "a b/latest.csv").as_deref(), Some("two!"));
    let shown = blob(&sim, to).await.get_properties(None).await.unwrap();
    assert!(shown.metadata().unwrap().is_empty(), "the mark of the version before is not this one's");
}

#[tokio::test]
async fn a_source_is_read_with_a_token_of_its_own_and_by_whoever_may() {
    let (sim, _root) = publishing().await;
    sim.put("x.csv", "secret");
    sim.put("empty.csv", "");
    let ways = ("/local/inbox/x.csv", "/local/outbox/latest.csv");
    let cannot = |status: u16| Err((status, "CannotVerifyCopySource".to_owned()));
    let none = BlockBlobClientUploadBlobFromUrlOptions::default();
    assert_eq!(copy(&sim, ways, none).await, cannot(401));
    let foreign = format!("Bearer {}", sim.token(ML).await);
    let foreign =
        BlockBlobClientUploadBlobFromUrlOptions { copy_source_authorization: Some(foreign), ..Default::default() };
    assert_eq!(copy(&sim, ways, foreign).await, cannot(401));
    for (from, status) in [
        ("/local/inbox/nothing", 404),
        ("/local/inbox/%2E%2E%2Fx", 404),
        ("/else/c/x", 404),
        ("/local/inbox/empty.csv", 416),
    ] {
        assert_eq!(copy(&sim, (from, ways.1), reading(&sim).await).await, cannot(status), "{from}");
    }
    let elsewhere = blob(&sim, ways.1).await.block_blob_client();
    let elsewhere =
        elsewhere.upload_blob_from_url("http://127.0.0.2:1/local/inbox/x.csv".into(), Some(reading(&sim).await));
    assert_eq!(elsewhere.await.unwrap_err().http_status().map(u16::from), Some(404), "it fetches from nobody else");
    assert_eq!(written(&sim, "latest.csv"), None);

    let denied = Resources { denied: vec![READ.into()], ..Resources::default() };
    let (sim, _root) = self::sim(|options| {
        options.published = vec!["scores".into()];
        options.resources = denied;
    })
    .await;
    sim.put("x.csv", "secret");
    assert_eq!(copy(&sim, ways, reading(&sim).await).await, cannot(403));
    assert_eq!(written(&sim, "latest.csv"), None);

    // Where no rule publishes the app may not write.
    let (sim, _root) = self::sim(|_| {}).await;
    sim.put("x.csv", "secret");
    let refused = copy(&sim, ways, reading(&sim).await).await;
    assert_eq!(refused, Err((403, "AuthorizationPermissionMismatch".into())));
    assert_eq!(written(&sim, "latest.csv"), None);
}

#[tokio::test]
async fn blocks_are_nobodys_to_see_before_a_list_makes_a_blob_of_them() {
    let (sim, _root) = publishing().await;
    sim.put("x.csv", "0123456789");
    let (from, to) = ("/local/inbox/x.csv", "/local/outbox/latest.csv");
    let client = blob(&sim, to).await.block_blob_client();
    let source = etag(&sim, from).await;
    let stage = async |id: &str, range: HttpRange, source: &Etag| {
        let options = BlockBlobClientStageBlockFromUrlOptions {
            copy_source_authorization: reading(&sim).await.copy_source_authorization,
            source_if_match: Some(source.clone()),
            source_range: Some(range),
            ..Default::default()
        };
        client.stage_block_from_url(id.as_bytes(), 0, sim.url(from), Some(options)).await
    };
    let commit = async |ids: &[&str], if_none_match: Option<Etag>| {
        let latest = ids.iter().map(|id| id.as_bytes().to_vec()).collect();
        let list = BlockLookupList { latest: Some(latest), ..Default::default() };
        let metadata = Some(HashMap::from([("mark".to_owned(), "one".to_owned())]));
        let options = BlockBlobClientCommitBlockListOptions { if_none_match, metadata, ..Default::default() };
        client.commit_block_list(list.try_into().unwrap(), Some(options)).await
    };
    stage("b1", HttpRange::new(6, 4), &source).await.unwrap();
    stage("b0", HttpRange::new(0, 6), &source).await.unwrap();
    assert_eq!(sim.get(&sim.url(to), STORAGE).await.status(), StatusCode::NOT_FOUND);
    let listed = sim.get(&sim.url("/local/outbox?restype=container&comp=list"), STORAGE).await;
    assert!(!listed.text().await.unwrap().contains("<Name>"));
    let waiting = client.get_block_list(BlockListType::Uncommitted, None).await.unwrap().into_model().unwrap();
    let waiting = waiting.uncommitted_blocks.unwrap();
    let waiting: Vec<_> = waiting.into_iter().map(|block| (block.name.unwrap(), block.size.unwrap())).collect();
    assert_eq!(waiting, [(b"b0".to_vec(), 6), (b"b1".to_vec(), 4)]);

    let invalid = commit(&["b0", "b2"], None).await.unwrap_err();
    assert!(
        matches!(invalid.kind(), ErrorKind::HttpResponse { error_code: Some(code), .. } if code == "InvalidBlockList")
    );
    commit(&["b0", "b1"], Some(Etag::from("*"))).await.unwrap();
    assert_eq!(written(&sim, "latest.csv").as_deref(), Some("0123456789"));
    let shown = blob(&sim, to).await.get_properties(None).await.unwrap();
    assert_eq!(shown.metadata().unwrap().get("mark").map(String::as_str), Some("one"));
    assert!(commit(&["b0", "b1"], None).await.is_err(), "a write discards what waits");
    stage("b0", HttpRange::new(0, 6), &source).await.unwrap();
    let taken = commit(&["b0"], Some(Etag::from("*"))).await.unwrap_err();
    assert_eq!(taken.http_status().map(u16::from), Some(409));
    sim.put("x.csv", "another one");
    assert_eq!(stage("b0", HttpRange::new(0, 6), &source).await.unwrap_err().http_status().map(u16::from), Some(412));
    assert_eq!(written(&sim, "latest.csv").as_deref(), Some("0123456789"));
}

/// A file that nobody gave one has that of its name, as uploads tell of it; a copy takes it over, and a list of blocks does not.
#[tokio::test]
async fn a_blob_has_the_content_type_that_it_was_written_with() {
    let (sim, _root) = publishing().await;
    let shown =
        async |path: &str| blob(&sim, path).await.get_properties(None).await.unwrap().content_type().unwrap().unwrap();
    sim.put("x.csv", "1,2");
    sim.put("x.dat", "1,2");
    assert_eq!(
        (shown("/local/inbox/x.csv").await, shown("/local/inbox/x.dat").await),
        ("text/csv".into(), "application/octet-stream".into())
    );
    copy(&sim, ("/local/inbox/x.csv", "/local/outbox/copy"), reading(&sim).await).await.unwrap();
    assert_eq!(shown("/local/outbox/copy").await, "text/csv");
    // A copy of the copy, which has its type from a request and not from its name.
    copy(&sim, ("/local/outbox/copy", "/local/outbox/again"), reading(&sim).await).await.unwrap();
    assert_eq!(shown("/local/outbox/again").await, "text/csv");
    let own = BlockBlobClientUploadBlobFromUrlOptions {
        blob_content_type: Some("text/tab-separated-values".into()),
        ..reading(&sim).await
    };
    copy(&sim, ("/local/inbox/x.csv", "/local/outbox/own"), own).await.unwrap();
    assert_eq!(shown("/local/outbox/own").await, "text/tab-separated-values");
    let client = blob(&sim, "/local/outbox/listed.csv").await.block_blob_client();
    let source = reading(&sim).await.copy_source_authorization;
    let options = BlockBlobClientStageBlockFromUrlOptions { copy_source_authorization: source, ..Default::default() };
    client.stage_block_from_url(b"b0", 0, sim.url("/local/inbox/x.csv"), Some(options)).await.unwrap();
    let list = BlockLookupList { latest: Some(vec![b"b0".to_vec()]), ..Default::default() };
    client.commit_block_list(list.try_into().unwrap(), None).await.unwrap();
    assert_eq!(shown("/local/outbox/listed.csv").await, "application/octet-stream");
    let put = sim.http.put(sim.url("/local/outbox/put.json")).bearer_auth(sim.token(STORAGE).await);
    let put = put.header("x-ms-blob-type", "BlockBlob").header("content-type", "application/json").body("{}");
    assert_eq!(put.send().await.unwrap().status(), StatusCode::CREATED);
    let listed = sim.get(&sim.url("/local/outbox?restype=container&comp=list"), STORAGE).await.text().await.unwrap();
    let types: Vec<&str> = listed.split("<Content-Type>").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
    // again, copy, listed.csv, own, put.json
    let expected =
        ["text/csv", "text/csv", "application/octet-stream", "text/tab-separated-values", "application/json"];
    assert_eq!(types, expected);
    assert_eq!(
        sim.get(&sim.url("/local/outbox/put.json"), STORAGE).await.headers()["content-type"],
        "application/json"
    );
}

#[tokio::test]
async fn of_writers_on_one_condition_one_is_heard_and_readers_never_see_halves() {
    let (sim, _root) = publishing().await;
    let to = "/local/outbox/latest.csv";
    // The mark tells what each version holds, and each is longer than what is read or copied at once.
    let of = |n: usize| format!("{n:03}").repeat(40_000);
    for n in 0..8 {
        sim.put(&format!("{n}.csv"), &of(n));
    }
    let (sim, done) = (Arc::new(sim), Arc::new(AtomicBool::new(false)));
    let reader = {
        let (sim, done) = (Arc::clone(&sim), Arc::clone(&done));
        tokio::spawn(async move {
            let (token, mut seen) = (sim.token(STORAGE).await, 0);
            while !done.load(Ordering::Relaxed) {
                let answer = sim.http.get(sim.url(to)).bearer_auth(&token).send().await.unwrap();
                if answer.status() == StatusCode::NOT_FOUND {
                    continue;
                }
                let n: usize = answer.headers()["x-ms-meta-mark"].to_str().unwrap().parse().unwrap();
                assert!(answer.text().await.unwrap() == of(n), "what the mark of {n} says");
                seen += 1;
            }
            seen
        })
    };
    let mut condition: (Option<Etag>, Option<Etag>) = (None, Some(Etag::from("*")));
    for round in 0..8 {
        let writers = (0..4).map(|writer| {
            let (sim, condition) = (Arc::clone(&sim), condition.clone());
            async move {
                let n = (4 * round + writer) % 8;
                let options = BlockBlobClientUploadBlobFromUrlOptions {
                    if_match: condition.0,
                    if_none_match: condition.1,
                    metadata: Some(HashMap::from([("mark".to_owned(), n.to_string())])),
                    ..reading(&sim).await
                };
                copy(&sim, (&format!("/local/inbox/{n}.csv"), to), options).await
            }
        });
        let ends = futures::future::join_all(writers).await;
        let heard: Vec<_> = ends.iter().filter_map(|end| end.as_ref().ok()).collect();
        assert_eq!(heard.len(), 1, "{ends:?}");
        let unheard = ends.iter().filter_map(|end| end.as_ref().err());
        assert!(unheard.into_iter().all(|(status, _)| matches!(status, 409 | 412)), "{ends:?}");
        condition = (Some(heard[0].clone()), None);
    }
    done.store(true, Ordering::Relaxed);
    assert!(reader.await.unwrap() > 0);
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_done_and_one_that_is_refused_is_not() {
    let (sim, _root) = publishing().await;
    sim.put("x.csv", "x");
    let plan =
        |kind| sim.handle.set_faults(vec![Fault::new(Route::Storage, kind).matching("outbox").times(1)]).unwrap();
    let busy = FaultKind::Refused { status: 503, body: simulator::BodyKind::Empty };
    let late = FaultKind::lost_answer(Instead::Status(503));
    for (name, kind, is_there) in [("a", busy, false), ("b", late, true)] {
        plan(kind);
        let to = format!("/local/outbox/{name}");
        let end = copy(&sim, ("/local/inbox/x.csv", &to), reading(&sim).await).await;
        assert!(matches!(end, Err((503, _))), "{end:?}");
        assert_eq!(written(&sim, name).is_some(), is_there, "{name}");
    }
    for (name, kind, is_there) in
        [("c", FaultKind::LostRequest, false), ("d", FaultKind::lost_answer(Instead::Cut), true)]
    {
        plan(kind);
        let client = blob(&sim, &format!("/local/outbox/{name}")).await.block_blob_client();
        let end = client.upload_blob_from_url(sim.url("/local/inbox/x.csv"), Some(reading(&sim).await)).await;
        assert_eq!(end.map(drop).unwrap_err().http_status(), None, "nobody answered");
        assert_eq!(written(&sim, name).is_some(), is_there, "{name}");
    }
}

/// Only whole block blobs, by calls that answer when they are whole.
#[tokio::test]
async fn an_asynchronous_copy_is_not_taken() {
    let (sim, _root) = publishing().await;
    sim.put("x.csv", "x");
    let request = sim.http.put(sim.url("/local/outbox/x")).bearer_auth(sim.token(STORAGE).await);
    let token = format!("Bearer {}", sim.token(STORAGE).await);
    let request = request.header("x-ms-copy-source", sim.url("/local/inbox/x.csv"));
    let answer = request.header("x-ms-copy-source-authorization", token).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(written(&sim, "x"), None);
}
