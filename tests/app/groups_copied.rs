//! What is copied for a group, how much a group holds, how long copies stay, and what members hear of its end.

use lifecycle::{JobStatus, Status};
use serde_json::{Value, json};
use simulation::Content;
use time::Duration;

use super::groups::{by_time, copies, group_of, minutes, rules, until_final, uploads, url};
use super::renames::tick;
use crate::support::world::{Fault, World};

/// Bytes of each upload, as their events tell.
const BYTES: u64 = 524_288;

#[tokio::test]
async fn copies_stay_for_twenty_minutes_after_the_end_of_a_group_that_was_copied_late() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 2).await;
    world.next_publish_faults([Fault::LostRequest, Fault::LostRequest]);
    world.later(Duration::minutes(6));
    let report = app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert_eq!(report.errors, 0, "{report:?}");
    tick(&world, &app, Duration::minutes(40)).await;
    let group = group_of(&world, &app, &ids[0]).await;
    assert_eq!(copies(&world, &group).len(), 2, "they are made long after the group was");
    tick(&world, &app, Duration::minutes(1)).await;
    minutes(&world, &app, 1).await;
    assert_eq!(group_of(&world, &app, &ids[0]).await.status, Status::Scored);
    for _ in 0..3 {
        tick(&world, &app, Duration::minutes(6)).await;
        assert_eq!(copies(&world, &group).len(), 2, "one whose answer was lost may still come");
    }
    minutes(&world, &app, 8).await;
    assert_eq!(copies(&world, &group).len(), 0);
}

#[tokio::test]
async fn copies_stay_while_the_job_runs_and_no_longer_than_their_life() {
    let world = World::with_rules(&rules(&json!({"by": "time", "stagingLife": "PT5H"})));
    let app = world.app();
    let ids = uploads(&world, &app, 2).await;
    tick(&world, &app, Duration::minutes(6)).await;
    let group = group_of(&world, &app, &ids[0]).await;
    // Once its job is seen running nothing moves its row any more.
    tick(&world, &app, Duration::minutes(2)).await;
    tick(&world, &app, Duration::hours(4)).await;
    assert_eq!((group_of(&world, &app, &ids[0]).await.status, copies(&world, &group).len()), (Status::Running, 2));
    tick(&world, &app, Duration::hours(2)).await;
    assert_eq!((group_of(&world, &app, &ids[0]).await.status, copies(&world, &group).len()), (Status::Running, 0));
}

#[tokio::test]
async fn a_group_holds_no_more_bytes_than_it_may_and_goes_once_it_is_full_of_them() {
    let world = World::with_rules(&rules(&json!({"by": "time", "maxBytes": 2 * BYTES})));
    let app = world.app();
    let ids = uploads(&world, &app, 4).await;
    tick(&world, &app, Duration::minutes(1)).await;
    assert_eq!(world.jobs().len(), 2, "each is full, and waits for nobody");
    assert_eq!(group_of(&world, &app, &ids[0]).await.group().unwrap().members.len(), 2);
}

#[tokio::test]
async fn members_of_a_job_that_was_cancelled_in_azure_ml_are_cancelled() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    uploads(&world, &app, 2).await;
    tick(&world, &app, Duration::minutes(6)).await;
    world.end_jobs(&JobStatus::Canceled);
    for _ in 0..3 {
        tick(&world, &app, Duration::minutes(2)).await;
    }
    assert_eq!(world.statuses(&app).await, [(Status::Cancelled, 2)].into());
}

#[tokio::test]
async fn where_nothing_may_be_written_files_wait_for_the_role_and_none_goes_alone() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    uploads(&world, &app, 2).await;
    world.next_publish_faults((0..100).map(|_| Fault::Refused { permanent: true }));
    tick(&world, &app, Duration::minutes(6)).await;
    minutes(&world, &app, 30).await;
    assert_eq!((world.jobs().len(), world.statuses(&app).await), (0, [(Status::Grouped, 2)].into()));
}

#[tokio::test]
async fn the_output_of_one_file_need_not_name_it() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 1).await;
    world.name_no_file(&url(0));
    until_final(&world, &app, 10).await;
    assert_eq!((world.jobs().len(), world.statuses(&app).await), (1, [(Status::Scored, 1)].into()));
    let entries = app.ledger().entries(&ids[0].parse().unwrap()).await.unwrap();
    assert!(entries.iter().any(|entry| entry.reason.contains("it was the only file")));
}

#[tokio::test]
async fn a_manifest_beside_the_copies_tells_which_upload_each_is_and_goes_with_them() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 2).await;
    tick(&world, &app, Duration::minutes(6)).await;
    let group = group_of(&world, &app, &ids[0]).await;
    let at = lifecycle::group::staging_manifest(&group.blob.url);
    let manifest = world.publications(|all| match &all.at(&at).unwrap().content {
        Content::Document(body) => serde_json::from_slice::<Value>(body).unwrap(),
        other => panic!("{other:?}"),
    });
    let mut files: Vec<_> =
        manifest["files"].as_array().unwrap().iter().map(|file| (&file["scoring"], &file["blobUrl"])).collect();
    files.sort_by_key(|(_, url)| url.as_str());
    assert_eq!(files, [(&json!(ids[0]), &json!(url(0))), (&json!(ids[1]), &json!(url(1)))]);
    until_final(&world, &app, 10).await;
    tick(&world, &app, Duration::minutes(25)).await;
    assert!(world.publications(|all| all.at(&at).is_none()));
}
