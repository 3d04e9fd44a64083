//! What the port `Blobs` promises. Each claim gets a stage of its own.

use std::collections::BTreeMap;

use app::ports::{BlobPage, MAX_PAGE};
use lifecycle::job::{Output, OutputKind};
use lifecycle::pending::BlobKind;
use lifecycle::{
    Answer, BlobPrefix, BlobSnapshot, BlobVersion, IndexTags, InputSnapshot, OutputSnapshot, Scoring, SeenVersion,
};
use time::{Duration, OffsetDateTime};

use super::stage::{Ending, Stage, scoring};

/// The scoring after its job came to its end.
async fn ended(stage: &dyn Stage, ending: Ending) -> Scoring {
    let scoring = scoring(stage, "a.csv", ending).await;
    let answer = stage.endpoint().submit(&scoring, std::time::Duration::from_secs(20)).await.value;
    assert!(matches!(answer, Answer::Accepted { .. }), "{answer:?}");
    stage.finish().await;
    scoring
}

async fn present(stage: &dyn Stage, scoring: &Scoring) -> (u64, OffsetDateTime) {
    match stage.blobs().outputs(scoring).await.unwrap() {
        OutputSnapshot::Present { bytes, modified, .. } => (bytes, modified),
        absent @ (OutputSnapshot::Absent { .. } | OutputSnapshot::NotAskedFor) => panic!("{absent:?}"),
    }
}

pub async fn what_a_job_has_written_is_there_with_its_size_and_date(stage: &dyn Stage) {
    let scoring = ended(stage, Ending::Scored).await;
    let (bytes, modified) = present(stage, &scoring).await;
    assert!(bytes > 0);
    // Storage tells whole seconds.
    assert!(scoring.submitted.unwrap() - Duration::SECOND <= modified && modified <= stage.now(), "{modified}");
}

pub async fn an_output_of_no_bytes_is_there_and_empty(stage: &dyn Stage) {
    let scoring = ended(stage, Ending::Empty).await;
    assert_eq!(present(stage, &scoring).await.0, 0);
}

pub async fn an_output_that_nobody_wrote_is_absent_and_named(stage: &dyn Stage) {
    for ending in [Ending::Absent, Ending::Failed] {
        let scoring = ended(stage, ending).await;
        let uri = scoring.output_uri().unwrap().to_owned();
        assert_eq!(stage.blobs().outputs(&scoring).await, Ok(OutputSnapshot::Absent { uri }));
    }
}

pub async fn several_outputs_are_there_only_if_each_is_and_as_full_as_the_emptiest(stage: &dyn Stage) {
    let mut scoring = scoring(stage, "a.csv", Ending::Absent).await;
    let first = scoring.output_uri().unwrap().to_owned();
    let second = format!("{first}.more");
    let output = Output { kind: OutputKind::UriFile, uri: second.clone(), mode: None, description: None };
    scoring.submission.as_mut().unwrap().outputs.insert("zz".to_owned(), output);
    stage.place(&first, 7);
    let older = stage.now();
    assert_eq!(stage.blobs().outputs(&scoring).await, Ok(OutputSnapshot::Absent { uri: second.clone() }));
    stage.pass(Duration::MINUTE).await;
    stage.place(&second, 5);
    let (bytes, modified) = present(stage, &scoring).await;
    assert_eq!(bytes, 12);
    assert!((modified - older).abs() <= Duration::SECOND, "the oldest counts: {modified} {older}");
    stage.place(&second, 0);
    assert_eq!(present(stage, &scoring).await.0, 0, "a sum would hide the empty one");
}

pub async fn an_attempt_without_outputs_cannot_be_looked_at(stage: &dyn Stage) {
    let mut scoring = scoring(stage, "a.csv", Ending::Scored).await;
    scoring.submission.as_mut().unwrap().outputs.clear();
    assert!(stage.blobs().outputs(&scoring).await.is_err());
}

pub async fn what_cannot_be_looked_at_is_an_error_and_never_absent(stage: &dyn Stage) {
    let scoring = ended(stage, Ending::Absent).await;
    stage.deny_lookups();
    assert!(stage.blobs().outputs(&scoring).await.is_err());
}

async fn seen(stage: &dyn Stage, blob: &BlobVersion) -> SeenVersion {
    match stage.blobs().input(blob).await.unwrap() {
        InputSnapshot::Present(seen) => seen,
        InputSnapshot::Gone => panic!("{} is there", blob.url),
    }
}

pub async fn an_input_is_seen_as_the_version_that_is_there(stage: &dyn Stage) {
    let first = stage.write_input("a b#1.csv");
    let at_first = seen(stage, &first).await;
    assert_eq!(at_first.etag, first.etag);
    stage.mark_input(&first);
    let marked = seen(stage, &first).await;
    assert_ne!(marked.etag, first.etag, "a mark gives another ETag");
    assert_eq!(marked.content, at_first.content, "and no other content");
    let second = stage.write_input("a b#1.csv");
    let overwritten = seen(stage, &first).await;
    assert_eq!(overwritten.etag, second.etag, "whatever version it was asked about");
    assert_ne!(overwritten.content, at_first.content);
}

pub async fn an_input_that_is_not_there_is_gone(stage: &dyn Stage) {
    let blob = stage.write_input("a.csv");
    stage.delete_input(&blob);
    assert_eq!(stage.blobs().input(&blob).await, Ok(InputSnapshot::Gone));
}

pub async fn an_input_that_cannot_be_looked_at_is_an_error_and_never_gone(stage: &dyn Stage) {
    let blob = stage.write_input("a.csv");
    stage.delete_input(&blob);
    stage.deny_lookups();
    assert!(stage.blobs().input(&blob).await.is_err());
}

pub async fn a_print_is_the_same_until_something_at_the_outputs_changes(stage: &dyn Stage) {
    let mut scoring = scoring(stage, "a.csv", Ending::Absent).await;
    let first = scoring.output_uri().unwrap().to_owned();
    let second = format!("{first}.more");
    let output = Output { kind: OutputKind::UriFile, uri: second.clone(), mode: None, description: None };
    scoring.submission.as_mut().unwrap().outputs.insert("zz".to_owned(), output);
    let print = async || stage.blobs().output_print(&scoring).await.unwrap();
    assert_eq!(print().await, None);
    stage.place(&second, 5);
    let partly = print().await;
    assert!(partly.is_some(), "one of them is enough: the request ran");
    stage.pass(Duration::MINUTE).await;
    assert_eq!(print().await, partly);
    stage.place(&first, 7);
    let both = print().await;
    assert!(both.is_some() && both != partly);
    stage.pass(Duration::MINUTE).await;
    stage.place(&first, 8);
    assert!(print().await.is_some_and(|print| Some(print) != both), "written over");
}

pub async fn an_uploaded_blob_is_seen_in_its_version_with_its_size(stage: &dyn Stage) {
    let blob = stage.upload("eu/ä #1.csv", 7);
    let first = stage.blobs().blob(&blob).await.unwrap().unwrap();
    assert_eq!((first.size, first.kind, first.archived, first.is_folder), (7, BlobKind::Block, false, false));
    assert_eq!(stage.blobs().blob(&blob).await.unwrap().unwrap().etag, first.etag);
    stage.upload("eu/ä #1.csv", 8);
    let second = stage.blobs().blob(&blob).await.unwrap().unwrap();
    assert_eq!(second.size, 8);
    assert_ne!(second.etag, first.etag);
}

pub async fn a_blob_that_is_not_there_is_none(stage: &dyn Stage) {
    stage.upload("eu/a.csv", 1);
    for path in ["eu/b.csv", "eu", "eu/a.csv/b"] {
        assert_eq!(stage.blobs().blob(&stage.upload_name(path)).await, Ok(None), "{path}");
    }
}

pub async fn metadata_comes_with_a_look_and_index_tags_for_the_version_that_was_seen(stage: &dyn Stage) {
    let blob = stage.upload("eu/ä #1.csv", 7);
    let plain = stage.blobs().blob(&blob).await.unwrap().unwrap();
    assert!(plain.metadata.is_empty() && plain.index_tags == IndexTags::NotAsked);
    assert_eq!(stage.blobs().index_tags(&blob, &plain.etag).await, Ok(BTreeMap::new()));
    stage.label(&blob, ("Tenant", "a b"), ("held back", "x=1"));
    let seen = stage.blobs().blob(&blob).await.unwrap().unwrap();
    assert_eq!(seen.metadata, BTreeMap::from([("tenant".to_owned(), "a b".to_owned())]));
    let tags = stage.blobs().index_tags(&blob, &seen.etag).await;
    assert_eq!(tags, Ok(BTreeMap::from([("held back".to_owned(), "x=1".to_owned())])));
    stage.upload("eu/ä #1.csv", 8);
    assert!(stage.blobs().index_tags(&blob, &seen.etag).await.is_err(), "those of another version say nothing");
    let seen = stage.blobs().blob(&blob).await.unwrap().unwrap();
    stage.deny_lookups();
    assert!(stage.blobs().index_tags(&blob, &seen.etag).await.is_err());
}

/// A place in the container of uploads.
fn place(stage: &dyn Stage, prefix: &str) -> BlobPrefix {
    let account = BlobPrefix::below(&stage.upload_name("x")).unwrap();
    BlobPrefix::new(account.account_url(), "claims", prefix).unwrap()
}

/// All pages of a place, of so many blobs each.
async fn listed(stage: &dyn Stage, place: &BlobPrefix, max: usize) -> (Vec<(String, BlobSnapshot)>, usize) {
    let (mut seen, mut from, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = stage.blobs().list(place, from.as_deref(), max).await.unwrap();
        pages += 1;
        assert!(page.blobs.len() <= max);
        seen.extend(page.blobs);
        from = page.next;
        if from.is_none() {
            return (seen, pages);
        }
    }
}

pub async fn a_folder_is_listed_page_by_page_whole_and_without_its_neighbours(stage: &dyn Stage) {
    let paths: Vec<String> = (0..MAX_PAGE + 2).map(|n| format!("eu/{n:04}.csv")).chain(["eu/z/y.csv".into()]).collect();
    for path in paths.iter().map(String::as_str).chain(["eu-2/a.csv", "eu.csv", "f/a.csv"]) {
        stage.upload(path, 3);
    }
    let folder = BlobPrefix::below(&stage.upload_name("eu")).unwrap();
    let (seen, pages) = listed(stage, &folder, MAX_PAGE).await;
    assert!(seen.iter().all(|(_, shown)| shown.size == 3 && !shown.is_folder));
    assert_eq!((seen.into_iter().map(|(path, _)| path).collect::<Vec<_>>(), pages), (paths, 2));
    let nothing = stage.blobs().list(&place(stage, "us/"), None, MAX_PAGE).await;
    assert_eq!(nothing, Ok(BlobPage::default()));
}

pub async fn what_is_listed_is_the_version_that_its_event_and_a_look_at_it_name(stage: &dyn Stage) {
    let paths = ["a%20b+c.csv", "e", "eu/ä #1.csv", "eu/ä&<1>.csv", "eua.csv"];
    for path in paths {
        stage.upload(path, 3);
    }
    for (prefix, max, expected) in [("", 2, &paths[..]), ("e", 9, &paths[1..]), ("eu/ä", 1, &paths[2..4])] {
        let (seen, _) = listed(stage, &place(stage, prefix), max).await;
        assert_eq!(seen.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), expected, "{prefix}");
        for (path, shown) in seen {
            let blob = place(stage, prefix).blob(&path).unwrap();
            let as_event = BlobVersion::of_event(
                &format!("/blobServices/default/containers/claims/blobs/{path}"),
                &stage.upload_name(&path).url,
                "0x1",
            );
            assert_eq!(blob.version("0x1"), as_event, "{path}");
            let alone = stage.blobs().blob(&blob).await.unwrap().unwrap();
            assert_eq!(blob.version(&shown.etag), blob.version(&alone.etag), "one version, however it is looked at");
            let alike = |shown: BlobSnapshot| (shown.size, shown.modified, shown.kind, shown.copy, shown.archived);
            assert_eq!(alike(shown), alike(alone), "{path}");
        }
    }
}

pub async fn an_upload_that_cannot_be_looked_at_is_an_error_and_never_none(stage: &dyn Stage) {
    let blob = stage.upload("eu/a.csv", 1);
    stage.deny_lookups();
    assert!(stage.blobs().blob(&blob).await.is_err());
    assert!(stage.blobs().list(&place(stage, "eu/"), None, MAX_PAGE).await.is_err());
}
