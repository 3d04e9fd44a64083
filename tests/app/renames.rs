//! Uploads that are renamed, copied, or never closed: each final file is scored once, and nothing that cannot be asked is lost.

use app::ledger::{Pending, RecordedEvent};
use app::ports::table_store::Op;
use app::reports;
use lifecycle::pending::CopyState;
use lifecycle::{JobStatus, Status, UnversionedBlob};
use serde_json::{Value, json};
use stores::faulty::Fault;
use time::Duration;

use super::since;
use crate::support::world::{RULE, World, event};

pub(super) fn url(path: &str) -> String {
    format!("https://uploads.blob.core.windows.net/claims/{path}")
}

pub(super) fn name(path: &str) -> UnversionedBlob {
    UnversionedBlob::read(&url(path)).unwrap()
}

pub(super) fn put(world: &World, path: &str, etag: &str, size: u64) {
    world.uploaded(|uploaded| uploaded.put_version(&name(path), etag, size));
}

pub(super) fn renamed(kind: &str, from: &str, to: &str) -> Value {
    renamed_at("2026-07-21T10:00:00Z", kind, from, to)
}

pub(super) fn renamed_at(time: &str, kind: &str, from: &str, to: &str) -> Value {
    json!({
        "id": format!("{from}-{to}-{time}"), "eventType": format!("Microsoft.Storage.{kind}"), "eventTime": time,
        "subject": format!("/blobServices/default/containers/claims/blobs/{to}"),
        "data": { "api": "RenameFile", "destinationUrl": url(to), "sourceUrl": url(from), "sequencer": "00" },
    })
}

pub(super) fn created(api: &str, path: &str, etag: &str, size: u64) -> Value {
    let mut one = event(path, etag);
    one["data"]["api"] = json!(api);
    one["data"]["contentLength"] = json!(size);
    one
}

pub(super) async fn pending(app: &app::App) -> Vec<Pending> {
    let (rows, next) = app.ledger().pending_page(None).await.unwrap();
    assert!(next.is_none());
    rows.into_iter().map(|row| row.unwrap().0).collect()
}

pub(super) async fn skips(world: &World, app: &app::App) -> Vec<(String, String)> {
    let rows = app.ledger().recorded_events(RecordedEvent::Skipped, world.now() - Duration::DAY, 100).await.unwrap();
    let text = |row: &app::ports::table_store::Entity, name| row.string(name).unwrap().to_owned();
    rows.iter().map(|row| (text(row, "Subject"), text(row, "Reason"))).collect()
}

pub(super) async fn tick(world: &World, app: &app::App, after: Duration) {
    world.later(after);
    let report = app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert_eq!(report.errors, 0, "{report:?}");
}

/// Paths of the jobs that were made, sorted.
pub(super) fn jobs(world: &World) -> Vec<String> {
    let mut paths: Vec<_> = world.jobs().into_iter().map(|job| job.path).collect();
    paths.sort();
    paths
}

pub(super) fn ruled(members: &Value) -> World {
    let mut rules: Value = serde_json::from_str(RULE).unwrap();
    for (name, value) in members.as_object().unwrap() {
        rules["rules"][0][name] = value.clone();
    }
    World::with_rules(&rules.to_string())
}

#[tokio::test]
async fn a_renamed_blob_costs_one_look_more_than_an_upload_and_is_scored_once() {
    let world = World::new();
    let app = world.app();
    world.deliver(&app, &event("warm-up.csv", "0")).await;
    put(&world, "w.csv", "0x2", 9);
    let before = world.store.calls();
    let ids = world.deliver(&app, &renamed("BlobRenamed", "w.csv.filepart", "w.csv")).await;
    // The reads ask whether the same version was scored under its former name, whether it had one before that, by its version or by
    // its name, and whether the event has brought a version before; which one it brings is the first write.
    assert_eq!(since(before, world.store.calls()), (4, 0, 3));
    let scoring = world.get(&app, &ids[0]).await;
    assert_eq!((scoring.blob.etag.as_str(), scoring.blob.size, scoring.status), ("0x2", Some(9), Status::Running));
    for _ in 0..2 {
        assert!(world.deliver(&app, &renamed("BlobRenamed", "w.csv.filepart", "w.csv")).await.is_empty());
    }
    assert_eq!(jobs(&world), ["w.csv", "warm-up.csv"]);
    assert!(pending(&app).await.is_empty());
}

#[tokio::test]
async fn a_rename_whose_blob_cannot_be_asked_is_kept_and_completed_by_a_tick() {
    let world = World::new();
    let app = world.app();
    put(&world, "w.csv", "0x2", 9);
    world.blind_storage(Some("403 AuthorizationPermissionMismatch"));
    let delivery = app.accept(&renamed("BlobRenamed", "a", "w.csv")).await.unwrap();
    assert_eq!((delivery.accepted.pending, delivery.accepted.accepted.len()), (1, 0));
    delivery.submit().await;
    let again = app.accept(&renamed("BlobRenamed", "a", "w.csv")).await.unwrap();
    assert_eq!((again.accepted.pending, again.accepted.duplicates), (0, 1), "kept once");
    again.submit().await;
    tick(&world, &app, Duration::minutes(2)).await;
    assert!(pending(&app).await[0].reason().contains("403 AuthorizationPermissionMismatch"));
    assert!(jobs(&world).is_empty());
    let report = reports::status(app.ledger(), world.now(), None).await.unwrap();
    assert_eq!(report.pending, 1);
    let told: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|line| line.contains("403 Auth") && line.contains("list --pending")), "{told:?}");
    world.blind_storage(None);
    tick(&world, &app, Duration::minutes(3)).await;
    assert_eq!(jobs(&world), ["w.csv"]);
    assert!(pending(&app).await.is_empty());
}

#[tokio::test]
async fn a_rename_that_can_be_neither_asked_nor_kept_is_answered_with_an_error() {
    let world = World::new();
    let app = world.app();
    world.deliver(&app, &event("warm-up.csv", "0")).await;
    world.blind_storage(Some("503"));
    for kind in ["BlobRenamed", "DirectoryRenamed"] {
        for _what_is_kept in ["names", "row"] {
            world.store.push(Fault::NotSent);
        }
        assert!(app.accept(&renamed(kind, "a", "w.csv")).await.is_err(), "{kind}: Event Grid delivers again");
        assert!(pending(&app).await.is_empty());
    }
}

#[tokio::test]
async fn a_destination_that_no_rule_wants_is_skipped_without_being_asked() {
    let world = World::new();
    let app = world.app();
    world.blind_storage(Some("asked"));
    for (kind, to) in [("BlobRenamed", "_temporary/0/a.csv"), ("DirectoryRenamed", "eu/_temporary")] {
        let delivery = app.accept(&renamed(kind, "a", to)).await.unwrap();
        assert_eq!((delivery.accepted.skipped, delivery.accepted.pending), (1, 0), "{kind}");
        delivery.submit().await;
    }
    let skips = skips(&world, &app).await;
    assert_eq!(skips.len(), 2);
    assert!(skips.iter().all(|(_, reason)| reason.contains("`_temporary/`")), "{skips:?}");
    assert!(skips.iter().any(|(subject, _)| subject.ends_with("/_temporary/0/a.csv")), "{skips:?}");
}

#[tokio::test]
async fn each_file_of_a_renamed_folder_is_scored_once_over_pages_and_crashes() {
    let world = World::new();
    let app = world.app();
    let count = app::ports::MAX_PAGE + 3;
    for n in 0..count {
        put(&world, &format!("day/{n:04}.csv"), &format!("0x{n}"), 5);
    }
    put(&world, "day/_SUCCESS", "0xS", 0);
    put(&world, "day-2/other.csv", "0xO", 5);
    world.deliver(&app, &renamed("DirectoryRenamed", "_temporary/day", "day")).await;
    assert!(jobs(&world).is_empty(), "listed by a tick");
    // A ledger that does not take one file: the page is listed again.
    world.store.rule(|_, ops| {
        let refused = |op: &Op| op.entity().and_then(|row| row.string("Path")) == Some("day/0030.csv");
        ops.iter().any(refused).then_some(Fault::NotSent)
    });
    world.later(Duration::MINUTE);
    let report = app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert_eq!(report.errors, 1, "{report:?}");
    assert_eq!(pending(&app).await.len(), 1);
    assert_eq!(jobs(&world).len(), app::ports::MAX_PAGE - 1, "the others of the page are taken in");
    world.store.heal();
    tick(&world, &world.app(), Duration::MINUTE).await;
    assert!(pending(&app).await.is_empty());
    let scored = jobs(&world);
    assert_eq!(scored.len(), count);
    assert!(scored.iter().all(|path| path.starts_with("day/")));
    assert!(
        skips(&world, &app)
            .await
            .iter()
            .any(|(subject, reason)| subject.ends_with("day/_SUCCESS") && reason.contains("marker"))
    );
}

#[tokio::test]
async fn a_folder_that_cannot_be_listed_waits_with_the_reason_and_is_listed_later() {
    let world = World::new();
    let app = world.app();
    put(&world, "day/a.csv", "1", 5);
    world.deliver(&app, &renamed("DirectoryRenamed", "x", "day")).await;
    world.blind_storage(Some("403 no role"));
    tick(&world, &app, Duration::MINUTE).await;
    assert!(pending(&app).await[0].reason().contains("403 no role"));
    world.blind_storage(None);
    tick(&world, &app, Duration::minutes(2)).await;
    assert_eq!(jobs(&world), ["a.csv"].map(|path| format!("day/{path}")));
}

#[tokio::test]
async fn what_was_scored_is_not_scored_again_when_it_is_moved_unless_the_rule_says_so() {
    for (renames, again) in [("ignoreScored", false), ("score", true)] {
        let world = ruled(&json!({ "renames": renames }));
        let app = world.app();
        put(&world, "a.csv", "1", 5);
        world.deliver(&app, &event("a.csv", "1")).await;
        world.tick_until_final(&app, 5).await;
        world.uploaded(|uploaded| uploaded.rename(&name("a.csv"), &name("done/a.csv")));
        world.deliver(&app, &renamed("BlobRenamed", "a.csv", "done/a.csv")).await;
        assert_eq!(jobs(&world).len(), if again { 2 } else { 1 }, "{renames}");
        let told = skips(&world, &app).await;
        assert_eq!(
            told.iter().any(|(subject, reason)| subject.ends_with("/done/a.csv") && reason.contains("ignoreScored")),
            !again
        );
    }
}

#[tokio::test]
async fn what_is_moved_while_it_is_scored_is_scored_only_if_that_comes_to_nothing() {
    for (end, again) in [(JobStatus::Completed, false), (JobStatus::Canceled, true)] {
        let world = World::new();
        let app = world.app();
        put(&world, "done/a.csv", "1", 5);
        world.deliver(&app, &event("a.csv", "1")).await;
        world.deliver(&app, &renamed("BlobRenamed", "a.csv", "done/a.csv")).await;
        assert_eq!(jobs(&world).len(), 1);
        assert!(pending(&app).await[0].reason().contains("ignoreScored"));
        world.end_jobs(&end);
        for _ in 0..4 {
            tick(&world, &app, Duration::minutes(3)).await;
        }
        assert!(pending(&app).await.is_empty());
        assert_eq!(jobs(&world).len(), if again { 2 } else { 1 }, "{end:?}");
    }
}

#[tokio::test]
async fn a_file_that_nobody_closes_is_scored_when_it_rests_and_again_if_it_grew() {
    let world = ruled(&json!({ "complete": { "unchangedFor": "PT2M" } }));
    let app = world.app();
    put(&world, "x.csv", "0x1", 0);
    world.deliver(&app, &created("CreateFile", "x.csv", "0x1", 0)).await;
    put(&world, "x.csv", "0x2", 9);
    tick(&world, &app, Duration::minutes(2)).await;
    assert!(jobs(&world).is_empty(), "it has just changed");
    tick(&world, &app, Duration::minutes(2)).await;
    assert_eq!(jobs(&world), ["x.csv"]);
    put(&world, "x.csv", "0x3", 12);
    tick(&world, &app, Duration::minutes(2)).await;
    tick(&world, &app, Duration::minutes(2)).await;
    assert_eq!(jobs(&world), ["x.csv", "x.csv"], "a version that came later is an upload too");
    tick(&world, &app, Duration::minutes(2)).await;
    assert!(pending(&app).await.is_empty());
    assert_eq!(world.jobs().len(), 2);
}

#[tokio::test]
async fn closing_a_file_scores_it_at_once_and_resting_does_not_score_it_again() {
    let world = ruled(&json!({ "complete": { "unchangedFor": "PT2M" } }));
    let app = world.app();
    world.deliver(&app, &created("CreateFile", "x.csv", "0x1", 0)).await;
    put(&world, "x.csv", "0x2", 9);
    world.deliver(&app, &created("FlushWithClose", "x.csv", "0x2", 9)).await;
    assert_eq!(jobs(&world), ["x.csv"]);
    for _ in 0..4 {
        tick(&world, &app, Duration::minutes(2)).await;
    }
    assert_eq!(jobs(&world), ["x.csv"]);
    assert!(pending(&app).await.is_empty());
}

#[tokio::test]
async fn a_copy_is_scored_when_it_is_whole_and_never_when_it_failed() {
    let world = World::new();
    let app = world.app();
    for path in ["good.csv", "bad.csv"] {
        put(&world, path, "0x1", 9);
        world.uploaded(|uploaded| uploaded.change(&name(path), |blob| blob.copy = CopyState::Pending));
        world.deliver(&app, &created("CopyBlob", path, "0x1", 9)).await;
    }
    tick(&world, &app, Duration::MINUTE).await;
    assert!(jobs(&world).is_empty());
    assert!(pending(&app).await.iter().all(|one| one.reason().contains("x-ms-copy-status is pending")));
    put(&world, "good.csv", "0x2", 9);
    world.uploaded(|uploaded| {
        uploaded.change(&name("bad.csv"), |blob| blob.copy = CopyState::Failed("404 source".to_owned()));
    });
    tick(&world, &app, Duration::minutes(5)).await;
    assert_eq!(jobs(&world), ["good.csv"]);
    assert!(pending(&app).await.is_empty());
    assert!(
        skips(&world, &app)
            .await
            .iter()
            .any(|(subject, reason)| subject.ends_with("bad.csv") && reason.contains("404 source"))
    );
}

#[tokio::test]
async fn a_look_that_dies_between_its_writes_takes_the_upload_in_once() {
    let world = World::new();
    let app = world.app();
    world.blind_storage(Some("503"));
    world.deliver(&app, &renamed("BlobRenamed", "a", "w.csv")).await;
    world.blind_storage(None);
    put(&world, "w.csv", "0x2", 9);
    // Taken in, and its row could not be removed.
    world.store.rule(|_, ops| {
        ops.iter().any(|op| matches!(op, Op::Delete(key, _) if key.partition == "pending")).then_some(Fault::NotSent)
    });
    world.later(Duration::minutes(2));
    let report = app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert_eq!((report.errors, report.pending), (1, 1), "{report:?}");
    assert_eq!((jobs(&world).len(), pending(&app).await.len()), (1, 1));
    world.store.heal();
    tick(&world, &app, Duration::minutes(2)).await;
    assert!(pending(&app).await.is_empty());
    assert_eq!(jobs(&world), ["w.csv"]);
}
