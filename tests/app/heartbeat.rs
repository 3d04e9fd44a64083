//! The sign of life that a tick leaves, and what it says of the ledger.

use std::sync::Arc;

use app::ports::table_store::Error;
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
    let world =
        World::with_rules(&RULE.replace("\"id\":\"claims\"", "\"id\":\"claims\",\"maxInFlight\":1,\"maxAttempts\":1"));
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
    // The limits may be read before the shards.
    for _ in 0..2 {
        world.store.push_read(Error::Unavailable("dark".into()));
    }
    let report = app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert!(!report.whole, "{report:?}");
}
