//! Uploads and folders that wait for a look: what happens while somebody looks, and what an event begins anew.

use lifecycle::{JobStatus, Status};
use serde_json::{Value, json};
use time::Duration;

use super::renames::{created, jobs, name, pending, put, renamed, ruled, skips, tick, url};
use crate::support::world::World;

fn resting() -> World {
    ruled(&json!({ "complete": { "unchangedFor": "PT2M" } }))
}

/// Ticks for an hour; jobs end.
async fn an_hour_later(world: &World, app: &app::App) {
    for _ in 0..30 {
        tick(world, app, Duration::minutes(2)).await;
        world.end_jobs(&JobStatus::Completed);
    }
}

/// The event of a later time: another one.
fn later(mut event: Value) -> Value {
    event["eventTime"] = json!("2026-07-21T10:30:00Z");
    event
}

async fn etags(app: &app::App) -> Vec<String> {
    let mut etags = Vec::new();
    app.ledger()
        .scorings(|scoring| {
            etags.push(scoring.blob.etag);
            true
        })
        .await
        .unwrap();
    etags.sort();
    etags
}

#[tokio::test]
async fn an_event_during_the_look_that_ends_an_upload_is_not_lost() {
    let world = resting();
    let app = world.app();
    put(&world, "x.csv", "0x2", 9);
    world.deliver(&app, &created("CreateFile", "x.csv", "0x2", 0)).await;
    tick(&world, &app, Duration::minutes(2)).await;
    assert_eq!(jobs(&world), ["x.csv"]);
    // The last look finds it unchanged; meanwhile its writer begins again.
    let (there, other) = (world.clone(), world.app());
    world.during_next_look(move || async move {
        put(&there, "x.csv", "0x3", 0);
        there.deliver(&other, &later(created("CreateFile", "x.csv", "0x3", 0))).await;
    });
    tick(&world, &app, Duration::minutes(2)).await;
    put(&world, "x.csv", "0x4", 12);
    an_hour_later(&world, &app).await;
    assert_eq!(jobs(&world), ["x.csv", "x.csv"]);
    assert_eq!(etags(&app).await, ["0x2", "0x4"]);
    assert!(pending(&app).await.is_empty());
}

#[tokio::test]
async fn an_event_during_a_look_that_finds_nothing_is_not_lost() {
    let world = resting();
    let app = world.app();
    world.deliver(&app, &created("CreateFile", "x.csv", "0x2", 0)).await;
    let (there, other) = (world.clone(), world.app());
    world.during_next_look(move || async move {
        put(&there, "x.csv", "0x3", 5);
        there.deliver(&other, &created("CreateFile", "x.csv", "0x3", 0)).await;
    });
    an_hour_later(&world, &app).await;
    assert_eq!(jobs(&world), ["x.csv"]);
    assert!(pending(&app).await.is_empty());
}

#[tokio::test]
async fn a_rename_that_comes_again_during_the_look_at_the_one_before_is_not_lost() {
    let world = World::new();
    let app = world.app();
    world.blind_storage(Some("503"));
    world.deliver(&app, &renamed("BlobRenamed", "w.csv.filepart", "w.csv")).await;
    world.blind_storage(None);
    put(&world, "w.csv", "0x2", 9);
    let (there, other) = (world.clone(), world.app());
    world.during_next_look(move || async move {
        put(&there, "w.csv", "0x3", 9);
        there.blind_storage(Some("503"));
        there.deliver(&other, &later(renamed("BlobRenamed", "w.csv.filepart", "w.csv"))).await;
        there.blind_storage(None);
    });
    an_hour_later(&world, &app).await;
    assert_eq!(etags(&app).await, ["0x2", "0x3"]);
    assert!(pending(&app).await.is_empty());
}

#[tokio::test]
async fn a_folder_that_is_renamed_again_while_it_is_listed_loses_no_file() {
    let world = World::new();
    let app = world.app();
    let count = app::ports::MAX_PAGE + 3;
    for n in 0..count {
        put(&world, &format!("day/{n:05}.csv"), &format!("0x{n}"), 5);
    }
    world.deliver(&app, &renamed("DirectoryRenamed", "_temporary/day", "day")).await;
    let (there, other) = (world.clone(), world.app());
    world.during_next_look(move || async move {
        for n in 0..count {
            there.uploaded(|uploaded| uploaded.remove(&name(&format!("day/{n:05}.csv"))));
        }
        for n in 0..5 {
            put(&there, &format!("day/{n:05}.csv"), &format!("0xB{n}"), 5);
        }
        there.deliver(&other, &later(renamed("DirectoryRenamed", "_temporary/day", "day"))).await;
    });
    for _ in 0..3 {
        tick(&world, &app, Duration::MINUTE).await;
    }
    let second = etags(&app).await.into_iter().filter(|etag| etag.starts_with("0xB")).count();
    assert_eq!(second, 5);
    assert!(pending(&app).await.is_empty());
}

#[tokio::test]
async fn a_second_commit_of_a_name_has_a_day_of_its_own_for_its_content() {
    let world = World::new();
    let app = world.app();
    put(&world, "s.csv", "0x1", 0);
    world.deliver(&app, &created("SftpCommit", "s.csv", "0x1", 0)).await;
    for _ in 0..47 {
        tick(&world, &app, Duration::minutes(30)).await;
    }
    put(&world, "s.csv", "0x2", 0);
    world.deliver(&app, &created("SftpCommit", "s.csv", "0x2", 0)).await;
    // More than a day after the first one.
    for _ in 0..4 {
        tick(&world, &app, Duration::minutes(30)).await;
    }
    assert_eq!(pending(&app).await.len(), 1);
    put(&world, "s.csv", "0x3", 7);
    for _ in 0..4 {
        tick(&world, &app, Duration::minutes(30)).await;
    }
    assert_eq!(jobs(&world), ["s.csv"]);
    assert!(skips(&world, &app).await.is_empty());
}

#[tokio::test]
async fn a_file_marked_again_and_again_is_scored_once_where_its_content_can_be_told() {
    let world = resting();
    let app = world.app();
    put(&world, "x.csv", "0x1", 9);
    world.change_inputs(|inputs, now| inputs.put(&url("x.csv"), "0x1", 9, true, now));
    world.deliver(&app, &created("CreateFile", "x.csv", "0x1", 0)).await;
    let (mut joined, mut marks) = (0, 0);
    for _ in 0..120 {
        tick(&world, &app, Duration::minutes(1)).await;
        let ended = world.jobs().iter().any(|job| job.status == JobStatus::Running);
        world.end_jobs(&JobStatus::Completed);
        let now_joined = world.statuses(&app).await.get(&Status::Superseded).copied().unwrap_or_default();
        if ended || now_joined > joined {
            (joined, marks) = (now_joined, marks + 1);
            let etag = world.change_inputs(|inputs, now| inputs.mark(&url("x.csv"), now)).unwrap();
            put(&world, "x.csv", &etag, 9);
        }
    }
    assert!(marks >= 5, "it was marked {marks} times");
    assert_eq!(jobs(&world), ["x.csv"]);
}

#[tokio::test]
async fn versions_that_rested_and_no_event_told_of_are_scored_three_times_an_hour_at_most() {
    let world = resting();
    let app = world.app();
    put(&world, "x.csv", "0x0", 9);
    world.deliver(&app, &created("CreateFile", "x.csv", "0x0", 0)).await;
    let mut versions = 0;
    for _ in 0..120 {
        tick(&world, &app, Duration::minutes(1)).await;
        // Another version with each job, as by whoever marks what is scored.
        if world.jobs().len() > versions {
            versions = world.jobs().len();
            put(&world, "x.csv", &format!("0x{versions}"), 9);
        }
        world.end_jobs(&JobStatus::Completed);
    }
    assert!((5..=1 + 2 * app::ledger::MAX_UNANNOUNCED).contains(&versions), "{versions}, and it goes on");
    let waiting = pending(&app).await;
    assert!(waiting[0].reason().contains("without an event of their own"), "{waiting:?}");
}

#[tokio::test]
async fn what_a_clock_far_ahead_has_taken_in_does_not_wait_for_that_time() {
    for api in ["CreateFile", "SftpCommit", "renamed", "folder"] {
        let world = resting();
        let (app, ahead) = (world.app(), world.app_with_clock(|now| now + Duration::days(400)));
        app.ledger().id().await.unwrap();
        world.blind_storage(Some("503"));
        let event = match api {
            "renamed" => renamed("BlobRenamed", "t", "day/x.csv"),
            "folder" => renamed("DirectoryRenamed", "t", "day"),
            _ => created(api, "day/x.csv", "0x1", 0),
        };
        world.deliver(&ahead, &event).await;
        ahead.tick(world.now() + Duration::days(401)).await.unwrap();
        world.blind_storage(None);
        put(&world, "day/x.csv", "0x1", 9);
        an_hour_later(&world, &app).await;
        assert_eq!((jobs(&world), pending(&app).await.len()), (vec!["day/x.csv".to_owned()], 0), "{api}");
    }
}
