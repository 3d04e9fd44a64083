use serde_json::{Value, json};
use time::macros::datetime;

use super::*;
use crate::id::LedgerId;
use crate::intake::{Classification, read};

const NOW: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);

fn rules() -> Rules {
    Rules::read(
        r#"{"rules":[
            {"id":"eu","match":{"container":"claims","prefix":"eu/2026/","suffix":".csv","exclude":{"prefixes":["eu/2026/old/"]}},"endpoint":{"uri":"https://e.example/jobs"}},
            {"id":"all","match":{"account":"uploads","container":"claims","suffix":".csv"},"endpoint":{"uri":"https://e.example/jobs"}}]}"#,
    )
    .expect("good rules")
}

fn event(kind: &str, to: &str, from: &str) -> Value {
    json!({"id": "r", "eventType": format!("Microsoft.Storage.{kind}"), "eventTime": "2026-07-21T10:00:00Z",
        "subject": format!("/blobServices/default/containers/claims/blobs/{to}"),
        "data": {"api": "RenameFile", "destinationUrl": format!("https://uploads.dfs.core.windows.net/claims/{to}"),
                 "sourceUrl": format!("https://uploads.dfs.core.windows.net/claims/{from}")}})
}

fn classified(event: &Value) -> Classification {
    read(event, &LedgerId::of_random([1; 16]), &rules(), NOW).expect("one event").remove(0)
}

#[test]
fn a_renamed_blob_is_an_upload_of_its_destination_in_both_schemas() {
    let grid = event("BlobRenamed", "eu/2026/a.csv", "eu/2026/_temporary/0/a.csv");
    let cloud =
        json!({"id": "r", "specversion": "1.0", "type": grid["eventType"], "source": "/s", "data": grid["data"]});
    for event in [grid, cloud] {
        let Classification::Pending { scorings, uploads } = classified(&event) else { panic!("{event}") };
        assert!(scorings.is_empty());
        let told: Vec<_> = uploads.iter().map(|one| (one.rule.as_str(), one.blob.url.as_str(), one.due)).collect();
        let url = "https://uploads.blob.core.windows.net/claims/eu/2026/a.csv";
        assert_eq!(told, [("eu", url, NOW), ("all", url, NOW)]);
        let from = "https://uploads.blob.core.windows.net/claims/eu/2026/_temporary/0/a.csv".to_owned();
        assert_eq!(uploads[0].cause, Cause::Renamed { from: vec![from] });
        assert_ne!(uploads[0].key, uploads[1].key);
    }
}

#[test]
fn a_destination_that_no_rule_wants_is_skipped_with_its_name_and_reason() {
    for (to, part) in
        [("a.txt", "`.csv`"), ("eu/2026/_temporary/1/a.csv", "`_temporary/`"), ("a.csv.filepart", "`.csv`")]
    {
        match classified(&event("BlobRenamed", to, "x.csv")) {
            Classification::Skipped(skipped) => {
                assert!(skipped.reason.contains(part), "{skipped:?}");
                assert!(skipped.subject.ends_with(to), "{skipped:?}");
                assert_eq!(skipped.rule.as_deref(), Some("eu"));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_rename_without_a_readable_destination_is_quarantined() {
    let mut no_destination = event("BlobRenamed", "a.csv", "b.csv");
    no_destination["data"]["destinationUrl"] = Value::Null;
    let mut no_blob = event("DirectoryRenamed", "a", "b");
    no_blob["data"]["destinationUrl"] = json!("https://uploads.dfs.core.windows.net/");
    let lost = event("BlobRenamed", "sch\u{fffd}n.csv", "b.csv");
    for (event, part) in
        [(no_destination, "data.destinationUrl"), (no_blob, "names no blob"), (lost, "lost on the way")]
    {
        match classified(&event) {
            Classification::Quarantined(bad) => assert!(bad.reason.contains(part), "{bad:?}"),
            other => panic!("{other:?}"),
        }
    }
    let mut odd_source = event("BlobRenamed", "a.csv", "b.csv");
    odd_source["data"]["sourceUrl"] = json!(5);
    assert!(matches!(classified(&odd_source), Classification::Pending { .. }), "the destination counts");
}

#[test]
fn a_renamed_folder_is_kept_if_a_rule_may_want_one_of_its_files() {
    let folder =
        |to: &str| match read(&event("DirectoryRenamed", to, "staging"), &LedgerId::of_random([1; 16]), &rules(), NOW)
            .expect("one")
            .remove(0)
        {
            Classification::Folder(folder) => Ok(folder),
            Classification::Skipped(skipped) => Err(skipped.reason),
            other => panic!("{other:?}"),
        };
    for to in ["eu", "eu/2026", "eu/2026/07", "us"] {
        assert_eq!(folder(to).map(|folder| folder.prefix()), Ok(format!("{to}/")));
    }
    assert!(folder("us/_temporary").is_err_and(|why| why.contains("`_temporary/`")));
    let only = Rules::read(
        r#"{"rules":[{"id":"eu","match":{"container":"claims","prefix":"eu/2026/","exclude":{"prefixes":["eu/2026/old/"]}},"endpoint":{"uri":"https://e.example/jobs"}}]}"#,
    )
    .expect("good rules");
    for (to, wanted) in [("eu", true), ("eu/2026", true), ("us", false), ("eu/2026/old/1", false), ("e", false)] {
        let classified = read(&event("DirectoryRenamed", to, "staging"), &LedgerId::of_random([1; 16]), &only, NOW)
            .expect("one")
            .remove(0);
        assert_eq!(matches!(classified, Classification::Folder(_)), wanted, "{to}: {classified:?}");
    }
}

#[test]
fn each_file_of_a_renamed_folder_has_its_former_name() {
    let Classification::Folder(folder) = classified(&event("DirectoryRenamed", "eu/2026", "eu/_stage")) else {
        panic!("a folder")
    };
    let uploads = folder.file("eu/2026/ä b/c.csv", &rules(), NOW).expect("wanted");
    let from = "https://uploads.blob.core.windows.net/claims/eu/_stage/%C3%A4%20b/c.csv".to_owned();
    assert_eq!(uploads.len(), 2);
    assert_eq!(uploads[0].cause, Cause::Renamed { from: vec![from] });
    let marker = folder.file("eu/2026/_SUCCESS", &rules(), NOW).expect_err("no rule wants it");
    assert!(marker.subject.ends_with("/eu/2026/_SUCCESS") && marker.reason.contains("rule `eu`"), "{marker:?}");
}

#[test]
fn a_listing_goes_on_where_it_was_and_slows_down_when_it_fails() {
    let folder = UnversionedBlob::read("https://uploads.blob.core.windows.net/claims/eu").expect("a folder");
    let begun = PendingFolder::new(folder, Vec::new(), NOW);
    let failed = begun.not_listed("503", NOW);
    assert!(failed.due > NOW && failed.reason.contains("503") && failed.failures == 1);
    let listed = failed.listed(7, Some("next".to_owned()), NOW).listed(3, Some("more".to_owned()), NOW);
    assert_eq!((listed.files, listed.failures, listed.cursor.as_deref()), (10, 0, Some("more")));
}

#[test]
fn a_folder_that_is_renamed_again_while_it_is_listed_is_listed_from_its_beginning() {
    let Classification::Folder(folder) = classified(&event("DirectoryRenamed", "eu/2026", "eu/_stage")) else {
        panic!("a folder")
    };
    let listed = folder.clone().listed(7, Some("next".to_owned()), NOW);
    assert_eq!(listed.told_again(folder.clone()), folder);
}

#[test]
fn a_renamed_blob_keeps_a_slash_at_its_end_and_a_folder_has_none() {
    let any = Rules::read(
        r#"{"rules":[{"id":"r","match":{"container":"claims"},"endpoint":{"uri":"https://e.example/jobs"}}]}"#,
    )
    .expect("good rules");
    let classified = |kind| {
        let event = event(kind, "eu/a.csv/", "eu/b/");
        read(&event, &LedgerId::of_random([1; 16]), &any, NOW).expect("one event").remove(0)
    };
    let Classification::Pending { uploads, .. } = classified("BlobRenamed") else { panic!("a blob") };
    assert_eq!(uploads[0].blob.path, "eu/a.csv/");
    let Classification::Folder(folder) = classified("DirectoryRenamed") else { panic!("a folder") };
    assert!(folder.folder.path == "eu/a.csv" && folder.from.iter().all(|from| from.ends_with("/eu/b")));
}
