//! Further versions of a path: where they are ignored the path has one scoring, and where the latest alone is wanted, what waits
//! of the earlier ones does not any more.

use std::sync::atomic::{AtomicUsize, Ordering};

use lifecycle::callback::CallbackHosts;
use lifecycle::start::{StartKey, StartRequest};
use lifecycle::{JobStatus, Resolution, Scoring, Status};
use serde_json::{Value, json};
use time::Duration;

use super::renames::{jobs, ruled, skips, tick};
use crate::support::world::{Fault, World, event, resolved};

const URL: &str = "https://uploads.blob.core.windows.net/claims/a.csv";

/// The event of a version of `a.csv`, with its place in the order of the path's events.
fn version(etag: &str, sequencer: &str) -> Value {
    let mut event = event("a.csv", etag);
    event["data"]["sequencer"] = json!(sequencer);
    event
}

fn put(world: &World, etag: &str, content: u64) {
    world.change_inputs(|inputs, now| inputs.put(URL, etag, content, true, now));
}

/// Version and status of each scoring of `a.csv`, the first version first.
async fn versions(app: &app::App) -> Vec<(String, Status)> {
    let mut all: Vec<Scoring> = Vec::new();
    let each = |scoring| {
        all.push(scoring);
        true
    };
    app.ledger().scorings(each).await.unwrap();
    all.retain(|scoring| scoring.blob.url == URL);
    all.sort_by(|a, b| (&a.blob.etag, a.generation).cmp(&(&b.blob.etag, b.generation)));
    all.into_iter().map(|scoring| (scoring.blob.etag, scoring.status)).collect()
}

fn shown(all: &[(String, Status)]) -> Vec<(&str, Status)> {
    all.iter().map(|(etag, status)| (etag.as_str(), *status)).collect()
}

#[tokio::test]
async fn where_overwrites_are_ignored_a_path_is_scored_once_and_later_versions_skipped() {
    let world = ruled(&json!({ "overwrites": "ignore", "verifyInput": false }));
    let (one, other) = (world.app(), world.app());
    let first = world.deliver(&one, &version("1", "1")).await.remove(0);
    for (app, etag) in [(&other, "2"), (&one, "3"), (&one, "2"), (&other, "1")] {
        assert!(world.deliver(app, &version(etag, etag)).await.is_empty(), "{etag}");
    }
    assert_eq!(jobs(&world), ["a.csv"]);
    let reason = format!("an earlier version of it was taken in as {first} (overwrites is ignore)");
    let recorded = skips(&world, &one).await;
    assert_eq!(
        recorded,
        [(URL.to_owned(), reason.clone()), (URL.to_owned(), reason)],
        "a redelivery is no further one"
    );
    world.end_jobs(&JobStatus::Completed);
    tick(&world, &one, Duration::minutes(3)).await;
    // Also when it has been scored, and by its first version.
    assert!(world.deliver(&one, &version("4", "4")).await.is_empty());
    assert_eq!(shown(&versions(&one).await), [("1", Status::Scored)]);
    assert_eq!(world.get(&one, &first).await.blob.etag, "1");
}

#[tokio::test]
async fn two_versions_taken_in_at_once_are_one_scoring_where_overwrites_are_ignored() {
    for lost in [false, true] {
        let world = ruled(&json!({ "overwrites": "ignore", "verifyInput": false }));
        let (one, other) = (world.app(), world.app());
        world.deliver(&one, &event("warm-up.csv", "0")).await;
        if lost {
            world.store.push(Fault::LostAnswer { times: 1 });
        }
        let (a, b) = (version("1", "1"), version("2", "2"));
        let both = tokio::join!(one.accept(&a), other.accept(&b));
        for taken in [both.0, both.1].into_iter().flatten() {
            taken.submit().await;
        }
        // What the ledger could not take is delivered again, and what it took may be.
        for event in [&a, &b] {
            one.accept(event).await.unwrap().submit().await;
        }
        assert_eq!(versions(&one).await.len(), 1);
        assert_eq!(jobs(&world), ["a.csv", "warm-up.csv"]);
    }
}

#[tokio::test]
async fn where_overwrites_are_ignored_an_overwritten_version_is_superseded_by_nothing() {
    let world = ruled(&json!({ "overwrites": "ignore", "maxInFlight": 1 }));
    let app = world.app();
    world.deliver(&app, &event("before.csv", "0")).await;
    put(&world, "1", 1);
    let id = world.deliver(&app, &version("1", "1")).await.remove(0);
    put(&world, "2", 2);
    assert!(world.deliver(&app, &version("2", "2")).await.is_empty());
    world.end_jobs(&JobStatus::Completed);
    tick(&world, &app, Duration::minutes(3)).await;
    tick(&world, &app, Duration::minutes(3)).await;
    let scoring = world.get(&app, &id).await;
    assert_eq!((scoring.status, scoring.replaced_by), (Status::Superseded, None));
    assert_eq!(jobs(&world), ["before.csv"]);
}

#[tokio::test]
async fn where_the_latest_alone_is_wanted_queued_earlier_versions_end_superseded() {
    for order in [["1", "2", "3"], ["3", "2", "1"], ["2", "3", "1"]] {
        let world = ruled(&json!({ "overwrites": "latestOnly", "maxInFlight": 1 }));
        let app = world.app();
        world.deliver(&app, &event("before.csv", "0")).await;
        put(&world, "3", 3);
        for etag in order {
            world.deliver(&app, &version(etag, etag)).await;
        }
        // By the events alone: nobody had a slot, and nobody looked.
        let expected = [("1", Status::Superseded), ("2", Status::Superseded), ("3", Status::Queued)];
        assert_eq!(shown(&versions(&app).await), expected, "{order:?}");
        world.end_jobs(&JobStatus::Completed);
        tick(&world, &app, Duration::minutes(3)).await;
        tick(&world, &app, Duration::minutes(3)).await;
        world.end_jobs(&JobStatus::Completed);
        tick(&world, &app, Duration::minutes(3)).await;
        let expected = [("1", Status::Superseded), ("2", Status::Superseded), ("3", Status::Scored)];
        assert_eq!(shown(&versions(&app).await), expected, "{order:?}");
        assert_eq!(jobs(&world), ["a.csv", "before.csv"], "{order:?}");
    }
}

fn start(again: bool) -> StartRequest {
    let body = json!({ "rule": "claims", "blob": "claims/a.csv", "again": again }).to_string();
    StartRequest::read(&body, &CallbackHosts::data_factory()).unwrap()
}

/// As whoever looks at the path sees it.
fn shows(world: &World, etag: &str) {
    let blob = lifecycle::UnversionedBlob::read(URL).unwrap();
    world.uploaded(|uploaded| uploaded.put_version(&blob, etag, 7));
    put(world, etag, 7);
}

#[tokio::test]
async fn a_version_that_is_started_once_more_ends_what_is_queued_of_earlier_ones() {
    let world = ruled(&json!({ "overwrites": "latestOnly", "maxInFlight": 1, "maxAttempts": 1 }));
    let app = world.app();
    shows(&world, "2");
    world.deliver(&app, &version("2", "2")).await;
    world.fail_jobs("ValueError: column age is missing");
    tick(&world, &app, Duration::minutes(3)).await;
    world.deliver(&app, &event("before.csv", "0")).await;
    // The event of the first version comes late: the second one has failed, and takes no place.
    world.deliver(&app, &version("1", "1")).await;
    assert_eq!(shown(&versions(&app).await), [("1", Status::Queued), ("2", Status::Failed)]);
    // No event told of what is started: it is later by when it came.
    world.later(Duration::SECOND);
    let key = StartKey::read("run-1").unwrap();
    let (started, submissions) = app.start(&start(true), Some(&key), "HTTP").await.unwrap();
    submissions.send().await;
    assert_eq!(started.scoring.generation, 1, "once more");
    let expected = [("1", Status::Superseded), ("2", Status::Failed), ("2", Status::Queued)];
    assert_eq!(shown(&versions(&app).await), expected);
}

#[tokio::test]
async fn what_was_started_is_not_ended_by_the_event_of_a_later_version() {
    for by_key in [true, false] {
        let world = ruled(&json!({ "overwrites": "latestOnly", "maxInFlight": 1 }));
        let app = world.app();
        world.deliver(&app, &event("before.csv", "0")).await;
        shows(&world, "1");
        let key = StartKey::read("run-1").unwrap();
        let (_, submissions) = app.start(&start(false), by_key.then_some(&key), "HTTP").await.unwrap();
        submissions.send().await;
        // Told of, and not there when anybody looks.
        world.later(Duration::SECOND);
        world.deliver(&app, &version("2", "2")).await;
        let both = [("1", Status::Queued), ("2", Status::Queued)];
        assert_eq!(shown(&versions(&app).await), both, "by a key: {by_key}");
    }
}

/// The later one is moved between the read of it and the write that holds it: that does not make the earlier one the latest.
#[tokio::test]
async fn an_earlier_version_gives_way_to_a_later_one_that_is_moved_meanwhile() {
    let world = ruled(&json!({ "overwrites": "latestOnly", "onUnknown": "hold" }));
    let app = world.app();
    world.next_faults([Fault::LostRequest]);
    let id = world.deliver(&app, &version("1", "1")).await.remove(0);
    world.deliver(&app, &version("2", "2")).await;
    for _ in 0..10 {
        tick(&world, &app, Duration::minutes(3)).await;
    }
    let held = world.get(&app, &id).await;
    assert_eq!(held.status, Status::Held, "in flight it went on");
    app::resolve(app.ledger(), &held.id, &resolved(Resolution::SendAgain), world.now()).await.unwrap();
    let touches = AtomicUsize::new(0);
    world.store.rule(move |_, ops| {
        let is_touch = ops.iter().any(|op| op.entity().is_some_and(|row| row.time("SeenAgainTime").is_some()));
        (is_touch && touches.fetch_add(1, Ordering::SeqCst) == 0).then_some(Fault::Conflict)
    });
    tick(&world, &app, Duration::minutes(3)).await;
    assert_eq!(shown(&versions(&app).await)[0], ("1", Status::Superseded));
    assert_eq!(jobs(&world), ["a.csv"], "the later one's");
}

#[tokio::test]
async fn a_version_in_flight_goes_on_when_a_later_one_comes_and_gets_no_further_attempt() {
    let world = ruled(&json!({ "overwrites": "latestOnly", "maxAttempts": 3 }));
    let app = world.app();
    put(&world, "1", 1);
    world.deliver(&app, &version("1", "1")).await;
    put(&world, "2", 2);
    world.deliver(&app, &version("2", "2")).await;
    assert_eq!(shown(&versions(&app).await), [("1", Status::Running), ("2", Status::Running)]);
    world.end_jobs(&JobStatus::Failed);
    tick(&world, &app, Duration::minutes(3)).await;
    tick(&world, &app, Duration::minutes(5)).await;
    assert_eq!(shown(&versions(&app).await), [("1", Status::Superseded), ("2", Status::Running)]);
    assert_eq!(jobs(&world), ["a.csv", "a.csv", "a.csv"], "one of the first version, two of the second");
}

#[tokio::test]
async fn a_death_before_earlier_versions_end_is_made_up_for_by_redelivery_or_slot() {
    for redelivered in [true, false] {
        let world = ruled(&json!({ "overwrites": "latestOnly", "maxInFlight": 1 }));
        let app = world.app();
        world.deliver(&app, &event("before.csv", "0")).await;
        put(&world, "2", 2);
        let first = world.deliver(&app, &version("1", "1")).await.remove(0);
        // The second version is taken in, and the end of the first one never reaches the table.
        let row = format!("J~{first}");
        world.store.rule(move |_, ops| ops.iter().any(|op| op.key().row == row).then_some(Fault::NotSent));
        assert!(app.accept(&version("2", "2")).await.is_err(), "an answer of success would end the redeliveries");
        world.store.heal();
        assert_eq!(shown(&versions(&app).await), [("1", Status::Queued), ("2", Status::Queued)]);
        if redelivered {
            world.deliver(&app, &version("2", "2")).await;
            assert_eq!(shown(&versions(&app).await), [("1", Status::Superseded), ("2", Status::Queued)]);
        }
        for _ in 0..4 {
            world.end_jobs(&JobStatus::Completed);
            tick(&world, &app, Duration::minutes(3)).await;
        }
        assert_eq!(shown(&versions(&app).await), [("1", Status::Superseded), ("2", Status::Scored)]);
        assert_eq!(jobs(&world), ["a.csv", "before.csv"]);
    }
}
