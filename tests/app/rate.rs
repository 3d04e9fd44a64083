//! The submit rate of an endpoint: how often something is sent, whoever sends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use app::App;
use app::ledger::{Controls, LimitChange, PermitOutcome};
use lifecycle::schedule::CLOCK_SKEW;
use lifecycle::{EndpointKey, ScoringId, Status};
use stores::faulty::Fault;
use time::Duration;

use super::{claims, rows, since};
use crate::support::world::{World, event};
use crate::support::yielding::Yielding;

const URI: &str = "https://heart.example/jobs";

pub const THREE_A_MINUTE: &str = r#"{"rules":[{"id":"claims","match":{"container":"claims"},
    "endpoint":{"uri":"https://heart.example/jobs"}}],
    "endpoints":[{"uri":"https://heart.example/jobs","submitsPerMinute":3}]}"#;

fn soon(world: &World) -> time::OffsetDateTime {
    world.now() + Duration::minutes(5)
}

async fn permits(world: &World) -> usize {
    rows(world, "State", &format!("rate~endpoint~{}", EndpointKey::of(URI)), "").await.len()
}

/// The most jobs that were made in one minute, whichever minute.
fn most_in_a_minute(world: &World) -> usize {
    let made: Vec<_> = world.jobs().into_iter().map(|job| job.created).collect();
    let within = |from| made.iter().filter(|at| **at >= from && **at - from < Duration::MINUTE).count();
    made.iter().map(|from| within(*from)).max().unwrap_or(0)
}

async fn deliver(world: &World, app: &App, names: std::ops::Range<u32>) -> Vec<String> {
    let mut ids = Vec::new();
    for n in names {
        world.later(Duration::seconds(1));
        ids.extend(world.deliver(app, &event(&format!("{n:02}.csv"), "1")).await);
    }
    ids
}

pub async fn in_no_minute_is_more_submitted_than_the_endpoint_takes(world: World) {
    let apps: Vec<_> = (0..3).map(|_| world.app()).collect();
    let deliveries: Vec<_> = (0..12)
        .map(|n| {
            let (world, app) = (world.clone(), apps[n % 3].clone());
            tokio::spawn(async move { world.deliver(&app, &event(&format!("{n:02}.csv"), "1")).await })
        })
        .collect();
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    for second in 0..20 {
        world.later(Duration::seconds(17));
        apps[second % 3].tick(soon(&world)).await.unwrap();
    }
    assert_eq!((world.jobs().len(), most_in_a_minute(&world)), (12, 3));
    assert_eq!(permits(&world).await, 3);
}

#[tokio::test]
async fn a_submit_rate_costs_two_round_trips() {
    let world = World::with_rules(THREE_A_MINUTE);
    let app = world.app();
    deliver(&world, &app, 0..1).await;
    let before = world.store.calls();
    deliver(&world, &app, 1..2).await;
    assert_eq!(since(before, world.store.calls()), (0, 1, 3), "the permits, one of them, the intent, the answer");
}

#[tokio::test]
async fn what_gets_no_permit_waits_in_order_and_events_go_behind_it() {
    let world = World::with_rules(THREE_A_MINUTE);
    let app = world.app();
    let ids = deliver(&world, &app, 0..6).await;
    let before = world.store.calls();
    deliver(&world, &app, 6..7).await;
    assert_eq!(since(before, world.store.calls()), (0, 0, 1), "it does not ask");
    app.tick(soon(&world)).await.unwrap();
    let controls = app.ledger().controls().await.unwrap();
    let scope_status = controls.scopes.values().find(|scope_status| scope_status.waiting > 0).unwrap();
    assert_eq!((scope_status.name.as_str(), scope_status.waiting), (URI, 4));
    let reason = scope_status.reason.as_deref().unwrap();
    assert!(reason.contains("3 submits a minute") && reason.contains("2026-07-21 10:01:01 UTC"), "{reason}");
    assert_eq!(world.get(&app, &ids[3]).await.status, Status::Queued);
    for _ in 0..4 {
        world.later(Duration::MINUTE);
        app.tick(soon(&world)).await.unwrap();
    }
    let names: Vec<_> = (0..7).map(|n| format!("{n:02}.csv")).collect();
    assert_eq!(world.jobs().into_iter().map(|job| job.path).collect::<Vec<_>>(), names);
}

#[tokio::test]
async fn a_repetition_uses_no_permit_up() {
    let world = World::with_rules(THREE_A_MINUTE);
    let app = world.app();
    for _ in 0..10 {
        world.deliver(&app, &event("a.csv", "1")).await;
    }
    deliver(&world, &app, 1..3).await;
    assert_eq!(world.jobs().len(), 3);
    // Also one that was used before.
    world.later(Duration::minutes(2));
    for _ in 0..10 {
        world.deliver(&app, &event("a.csv", "1")).await;
    }
    deliver(&world, &app, 3..6).await;
    assert_eq!(world.jobs().len(), 6);
}

#[tokio::test]
async fn who_has_no_slot_uses_no_permit_up() {
    let rules = THREE_A_MINUTE.replace("\"submitsPerMinute\"", "\"maxInFlight\":1,\"submitsPerMinute\"");
    let world = World::with_rules(&rules);
    let app = world.app();
    deliver(&world, &app, 0..1).await;
    let asked = Arc::new(AtomicBool::new(false));
    let flag = asked.clone();
    world.store.rule(move |_, ops| {
        flag.fetch_or(ops[0].key().partition.starts_with("rate~"), Ordering::SeqCst);
        None
    });
    deliver(&world, &app, 1..5).await;
    app.tick(soon(&world)).await.unwrap();
    assert!(!asked.load(Ordering::SeqCst), "not even for a moment");
    assert_eq!(permits(&world).await, 1);
}

#[tokio::test]
async fn who_gets_no_permit_keeps_no_slot() {
    let rules = THREE_A_MINUTE.replace("\"submitsPerMinute\"", "\"maxInFlight\":9,\"submitsPerMinute\"");
    let world = World::with_rules(&rules);
    deliver(&world, &world.app(), 0..6).await;
    let slots = format!("slots~endpoint~{}", EndpointKey::of(URI));
    assert_eq!(rows(&world, "State", &slots, "").await.len(), 3);
}

#[tokio::test]
async fn a_permit_whose_answer_was_lost_is_ours_only_if_it_says_so() {
    let world = World::with_rules(THREE_A_MINUTE);
    let ledger = world.app().ledger().clone();
    let (endpoint, id) = (EndpointKey::of(URI), ScoringId::read(&"a".repeat(32)).unwrap());
    let ask = || ledger.use_permit(&endpoint, 1, &id, || world.now());
    assert!(matches!(ask().await.unwrap(), PermitOutcome::Yes(_))); // makes the table
    world.later(Duration::MINUTE);
    world.store.push(Fault::LostRequest);
    assert!(matches!(ask().await.unwrap(), PermitOutcome::No { .. }), "the same scoring had it before: not now");
    world.store.push(Fault::LostAnswer { times: 1 });
    assert!(matches!(ask().await.unwrap(), PermitOutcome::Yes(_)));
    assert!(matches!(ask().await.unwrap(), PermitOutcome::No { .. }));
}

#[tokio::test]
async fn a_process_that_slept_before_it_asks_leaves_a_permit_that_was_used_meanwhile() {
    let world = World::with_rules(THREE_A_MINUTE);
    let ledger = world.app().ledger().clone();
    let (endpoint, id) = (EndpointKey::of(URI), ScoringId::read(&"a".repeat(32)).unwrap());
    let began = world.now();
    world.later(CLOCK_SKEW * 2);
    assert!(matches!(ledger.use_permit(&endpoint, 1, &id, || world.now()).await.unwrap(), PermitOutcome::Yes(_)));
    // It sleeps until it has read the permits: a clock that is read earlier shows when it fell asleep.
    let pages = world.store.calls().pages;
    let clock = || if world.store.calls().pages > pages { world.now() } else { began };
    assert!(matches!(ledger.use_permit(&endpoint, 1, &id, clock).await.unwrap(), PermitOutcome::No { .. }));
}

#[tokio::test]
async fn of_many_that_want_the_last_permit_one_gets_it() {
    let world = World::on(Yielding::store(), THREE_A_MINUTE);
    deliver(&world, &world.app(), 0..1).await;
    for _ in 0..2 {
        // First it is a row that is not there, then one to be used again.
        let all: Vec<_> = (0..12_u32)
            .map(|n| {
                let (ledger, now) = (world.app().ledger().clone(), world.now());
                let id = ScoringId::read(&format!("{n:032x}")).unwrap();
                tokio::spawn(
                    async move { ledger.use_permit(&EndpointKey::of("other"), 1, &id, move || now).await.unwrap() },
                )
            })
            .collect();
        let mut got = 0;
        for one in all {
            got += usize::from(matches!(one.await.unwrap(), PermitOutcome::Yes(_)));
        }
        assert_eq!(got, 1);
        world.later(Duration::MINUTE);
    }
}

#[tokio::test]
async fn a_permit_that_was_returned_late_does_not_undo_a_later_use() {
    let world = World::with_rules(THREE_A_MINUTE);
    let ledger = world.app().ledger().clone();
    let (endpoint, id) = (EndpointKey::of(URI), ScoringId::read(&"a".repeat(32)).unwrap());
    let PermitOutcome::Yes(late) = ledger.use_permit(&endpoint, 1, &id, || world.now()).await.unwrap() else {
        panic!("free")
    };
    world.later(Duration::MINUTE);
    assert!(matches!(ledger.use_permit(&endpoint, 1, &id, || world.now()).await.unwrap(), PermitOutcome::Yes(_)));
    ledger.release_permit(&late).await.unwrap();
    assert!(matches!(ledger.use_permit(&endpoint, 1, &id, || world.now()).await.unwrap(), PermitOutcome::No { .. }));
}

/// Five requests were lost, and `resubmitAfter` is over.
async fn lost(world: &World, app: &App) {
    world.next_faults((0..5).map(|_| Fault::LostRequest));
    for n in 0..5 {
        deliver(world, app, n..n + 1).await;
        world.later(Duration::MINUTE);
        app.tick(soon(world)).await.unwrap();
    }
    world.later(Duration::minutes(20));
    assert!(world.jobs().is_empty());
}

#[tokio::test]
async fn lost_requests_are_sent_again_at_the_same_rate() {
    let world = World::with_rules(THREE_A_MINUTE);
    let app = world.app();
    lost(&world, &app).await;
    app.tick(soon(&world)).await.unwrap();
    assert_eq!(world.jobs().len(), 3);
    world.tick_until_final(&app, 10).await;
    assert_eq!((world.jobs().len(), most_in_a_minute(&world)), (5, 3));
}

#[tokio::test]
async fn what_is_paused_is_not_sent_again_either() {
    let world = World::with_rules(THREE_A_MINUTE);
    let app = world.app();
    lost(&world, &app).await;
    let change = |limit| LimitChange { name: "claims".into(), limit, at: world.now(), by: "ann".into(), reason: None };
    app.ledger().set_limit(&claims(), &change(Some(0)), &Controls::default()).await.unwrap();
    app.tick(soon(&world)).await.unwrap();
    assert!(world.jobs().is_empty());
    let seen = app.ledger().controls().await.unwrap();
    app.ledger().set_limit(&claims(), &change(None), &seen).await.unwrap();
    world.later(Duration::MINUTE);
    app.tick(soon(&world)).await.unwrap();
    assert_eq!(world.jobs().len(), 3);
}
