//! The sign of life that a tick leaves.

use std::sync::Arc;

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
