//! The signs of life that a tick leaves, when it begins and when it ends, and what it says of the ledger.

use std::sync::Arc;

use app::App;
use app::ports::table_store::Error;
use app::reports::{self, FindingKind, StatusReport};
use lifecycle::{FailureCause, JobStatus};
use stores::faulty::Fault;
use stores::memory::MemoryStore;
use time::Duration;

use crate::support::world::{RULE, START, World, event};

#[tokio::test]
async fn each_complete_tick_leaves_a_heartbeat_in_the_place_of_the_last_one() {
    let world = World::new();
    let app = world.app();
    assert_eq!(app.ledger().heartbeat().await.unwrap(), None, "also before there is a table");
    world.deliver(&app, &event("a.csv", "1")).await;
    for minutes in 1..=2 {
        world.later(Duration::minutes(1));
        app.tick(world.now() + Duration::minutes(5)).await.unwrap();
        let heartbeat = app.ledger().heartbeat().await.unwrap().unwrap();
        assert_eq!((heartbeat.at, heartbeat.in_flight, heartbeat.errors), (START + Duration::minutes(minutes), 1, 0));
        assert_eq!(heartbeat.version, env!("CARGO_PKG_VERSION"));
    }
}

#[tokio::test]
async fn a_tick_that_was_not_completed_leaves_none() {
    let world = World::new();
    let app = world.app();
    world.deliver(&app, &event("a.csv", "1")).await;
    assert!(!app.tick(world.now()).await.unwrap().complete);
    assert_eq!(app.ledger().heartbeat().await.unwrap(), None);
}

/// A run that is stopped by SIGKILL while it looks at its first job: from here on it does nothing any more.
async fn killed_in_the_middle(world: &World, app: &App) {
    let held = world.hold_next_poll();
    let (app, deadline) = (app.clone(), world.now() + Duration::minutes(5));
    let run = tokio::spawn(async move { app.tick(deadline).await });
    held.waits.notified().await;
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
}

async fn status(world: &World, app: &App) -> StatusReport {
    reports::status(app.ledger(), world.now(), None).await.unwrap()
}

#[tokio::test]
async fn a_first_long_run_is_running_until_it_ends_and_one_that_was_killed_not_for_ever() {
    let world = World::new();
    let app = world.app();
    world.deliver(&app, &event("a.csv", "1")).await;
    // Long enough ago that a dead timer would be told.
    world.later(Duration::hours(1));
    let held = world.hold_next_poll();
    let run = tokio::spawn({
        let (app, deadline) = (app.clone(), world.now() + Duration::minutes(5));
        async move { app.tick(deadline).await }
    });
    held.waits.notified().await;
    let begun = world.now();
    world.later(Duration::minutes(4));
    let seen = status(&world, &app).await;
    assert_eq!((seen.running_since, seen.last_run, seen.findings), (Some(begun), None, vec![]));
    held.go.notify_one();
    run.await.unwrap().unwrap();
    let seen = status(&world, &app).await;
    assert_eq!((seen.running_since, seen.last_run, seen.findings), (None, Some(begun), vec![]));

    world.later(Duration::minutes(10));
    killed_in_the_middle(&world, &world.app()).await;
    let killed = world.now();
    assert_eq!(status(&world, &app).await.running_since, Some(killed), "nobody can know yet");
    world.later(Duration::minutes(7));
    let seen = status(&world, &app).await;
    assert_eq!(seen.running_since, None, "no run of a host takes longer than it was allowed");
    let [found] = &seen.findings[..] else { panic!("{:?}", seen.findings) };
    assert_eq!((found.kind, found.since), (FindingKind::RunOverdue, Some(begun)));
    assert!(found.reason.contains("1 began since then and were not completed"), "{found}");
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert_eq!(status(&world, &app).await.findings, []);
}

#[tokio::test]
async fn runs_that_die_each_minute_are_told_although_one_is_always_running() {
    let world = World::new();
    world.deliver(&world.app(), &event("a.csv", "1")).await;
    for minute in 0..12 {
        killed_in_the_middle(&world, &world.app()).await;
        let seen = status(&world, &world.app()).await;
        assert_eq!(seen.running_since, Some(world.now()));
        let overdue = seen.findings.iter().find(|found| found.kind == FindingKind::RunOverdue);
        assert_eq!(overdue.is_some(), minute > 10, "{minute}: {overdue:?}");
        if let Some(overdue) = overdue {
            assert!(overdue.reason.contains("ever ended; 12 began since then"), "{overdue}");
        }
        world.later(Duration::minutes(1));
    }
}

#[tokio::test]
async fn a_run_that_fails_or_is_not_completed_is_not_running_any_more() {
    let world = World::on(Arc::new(MemoryStore::new()), RULE);
    let app = world.app();
    world.deliver(&app, &event("a.csv", "1")).await;
    assert!(!app.tick(world.now()).await.unwrap().complete);
    let runs = app.ledger().runs().await.unwrap();
    let begun = runs.unfinished().unwrap();
    assert_eq!((runs.running(world.now()), begun.ended, begun.count), (None, Some(world.now()), 1));
}

#[tokio::test]
async fn a_tick_does_not_fail_for_want_of_its_heartbeat() {
    let world = World::on(Arc::new(MemoryStore::new()), RULE);
    let app = world.app();
    world.store.rule(|_, ops| ops.iter().any(|op| op.key().partition == "heartbeat").then_some(Fault::NotSent));
    let report = app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert!(report.complete && report.errors == 0, "{report:?}");
    assert_eq!(app.ledger().heartbeat().await.unwrap(), None);
    world.store.heal();
    // A lost answer is answered by writing again.
    world.store.push(Fault::LostRequest);
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert!(app.ledger().heartbeat().await.unwrap().is_some());
}

#[tokio::test]
async fn a_tick_tells_how_the_ledger_stands_and_whose_fault_failures_are() {
    let one_slot = RULE.replace("\"id\":", "\"maxInFlight\":1,\"id\":");
    let world = World::with_rules(&one_slot.replace("\"maxAttempts\":2", "\"maxAttempts\":1"));
    let app = world.app();
    world.deliver(&app, &event("a.csv", "1")).await;
    world.deliver(&app, &event("b.csv", "1")).await;
    world.later(Duration::days(2));
    world.fail_jobs("ValueError: columns are missing");
    let report = app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert!(report.whole && report.in_flight == 2, "{report:?}");
    assert_eq!((report.states.queued, report.states.stuck, report.states.oldest_seconds), (1, 1, 2 * 24 * 3600));
    assert_eq!(report.failed.into_iter().collect::<Vec<_>>(), [(FailureCause::UserCode, 1)]);
    // What is over is not told of again.
    world.end_jobs(&JobStatus::Completed);
    world.later(Duration::minutes(5));
    assert!(app.tick(world.now() + Duration::minutes(5)).await.unwrap().failed.is_empty());
}

#[tokio::test]
async fn a_tick_that_cannot_read_a_shard_does_not_say_that_it_saw_all() {
    let world = World::on(Arc::new(MemoryStore::new()), RULE);
    let app = world.app();
    world.deliver(&app, &event("a.csv", "1")).await;
    assert!(app.tick(world.now() + Duration::minutes(5)).await.unwrap().whole);
    // The runs before it and the limits may be read before the shards.
    for _ in 0..3 {
        world.store.push_read(Error::Unavailable("dark".into()));
    }
    let report = app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert!(!report.whole, "{report:?}");
}
