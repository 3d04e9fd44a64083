//! Limits of rules and endpoints: what holds them, and who goes first.

use std::collections::HashSet;

use handler::adapters::faulty::Fault;
use handler::app::App;
use handler::ledger::{SLOT_GRACE, SLOT_WAY, Scope};
use lifecycle::{EndpointKey, Rules, ScoringId, Status};
use serde_json::json;
use time::Duration;

use super::{claims, rows, since};
use crate::support::world::{RULE, World, event};

const URI: &str = "https://heart.example/jobs";

/// Every event is wanted by both rules.
pub const TWO_RULES: &str = r#"{"rules":[
    {"id":"claims","match":{"container":"claims"},"endpoint":{"uri":"https://heart.example/jobs"}},
    {"id":"fraud","match":{"container":"claims"},"endpoint":{"uri":"https://heart.example/jobs"}}],
    "endpoints":[{"uri":"https://HEART.example/jobs/","maxInFlight":3}]}"#;

pub const TWO_LIMITS: &str = r#"{"rules":[{"id":"claims","match":{"container":"claims"},
    "endpoint":{"uri":"https://heart.example/jobs"},"maxInFlight":2}],
    "endpoints":[{"uri":"https://heart.example/jobs","maxInFlight":1}]}"#;

/// One rule with these two limits.
fn limits(of_rule: u32, of_endpoint: u32) -> String {
    let rule =
        json!({"id": "claims", "match": {"container": "claims"}, "endpoint": {"uri": URI}, "maxInFlight": of_rule});
    json!({"rules": [rule], "endpoints": [{"uri": URI, "maxInFlight": of_endpoint}]}).to_string()
}

fn soon(world: &World) -> time::OffsetDateTime {
    world.now() + Duration::minutes(5)
}

async fn slots(world: &World, partition: &str) -> usize {
    rows(world, "State", partition, "").await.len()
}

async fn slots_of_rule(world: &World) -> usize {
    slots(world, "slots~claims").await
}

async fn slots_of_endpoint(world: &World) -> usize {
    slots(world, &format!("slots~endpoint~{}", EndpointKey::of(URI))).await
}

/// Delivers one event a second.
async fn deliver(world: &World, app: &App, paths: &[&str]) -> Vec<String> {
    let mut ids = Vec::new();
    for path in paths {
        world.later(Duration::SECOND);
        ids.extend(world.deliver(app, &event(path, "1")).await);
    }
    ids
}

fn paths(world: &World) -> Vec<String> {
    world.jobs().into_iter().map(|job| job.path).collect()
}

pub async fn an_endpoint_is_limited_over_all_its_rules_and_processes(world: World) {
    let apps: Vec<_> = (0..3).map(|_| world.app()).collect();
    let deliveries: Vec<_> = (0..10)
        .map(|n| {
            let (world, app) = (world.clone(), apps[n % 3].clone());
            tokio::spawn(async move { world.deliver(&app, &event(&format!("{n}.csv"), "1")).await })
        })
        .collect();
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    world.settle(&apps[0], 60).await;
    assert_eq!(world.statuses(&apps[0]).await[&Status::Scored], 20);
    assert_eq!((world.jobs().len(), world.most_running()), (20, 3));
}

#[tokio::test]
async fn an_endpoint_has_room_for_each_rule_that_uses_it() {
    let world = World::with_rules(TWO_RULES);
    let app = world.app();
    deliver(&world, &app, &["a.csv", "b.csv"]).await;
    assert_eq!(slots_of_endpoint(&world).await, 3);
    assert_eq!(
        world.jobs().iter().map(|job| job.rule.as_str()).collect::<HashSet<_>>(),
        HashSet::from(["claims", "fraud"])
    );
    let other = TWO_RULES.replacen("heart.example", "liver.example", 1);
    let world = World::with_rules(&other);
    deliver(&world, &world.app(), &["a.csv", "b.csv", "c.csv", "d.csv"]).await;
    let at = |endpoint: &str| world.jobs().iter().filter(|job| job.endpoint.contains(endpoint)).count();
    assert_eq!((at("liver"), at("heart")), (4, 3));
}

#[tokio::test]
async fn two_limits_cost_one_round_trip_as_they_are_asked_side_by_side() {
    let world = World::with_rules(&limits(50, 50));
    let app = world.app();
    deliver(&world, &app, &["warm-up.csv"]).await;
    let before = world.store.calls();
    deliver(&world, &app, &["a.csv"]).await;
    assert_eq!(since(before, world.store.calls()), (0, 0, 4), "two claims, the intent, the answer");
    assert_eq!((slots_of_rule(&world).await, slots_of_endpoint(&world).await), (2, 2));
}

#[tokio::test]
async fn who_does_not_get_both_slots_keeps_none() {
    for (of_rule, of_endpoint) in [(5, 1), (1, 5)] {
        let world = World::with_rules(&limits(of_rule, of_endpoint));
        let app = world.app();
        deliver(&world, &app, &["a.csv", "b.csv"]).await;
        app.tick(soon(&world)).await.unwrap();
        assert_eq!((slots_of_rule(&world).await, slots_of_endpoint(&world).await), (1, 1));
        world.settle(&app, 10).await;
        assert_eq!((world.jobs().len(), world.most_running()), (2, 1));
        assert_eq!((slots_of_rule(&world).await, slots_of_endpoint(&world).await), (0, 0));
    }
}

#[tokio::test]
async fn a_process_that_dies_between_its_claims_leaves_nothing_taken_for_ever() {
    let world = World::with_rules(&limits(1, 1));
    let app = world.app();
    let ghost = ScoringId::read(&"f".repeat(32)).unwrap();
    for scope in [claims(), Scope::endpoint(URI)] {
        app.ledger().claim_slot(&scope, 1, &ghost, 1, world.now()).await.unwrap().unwrap();
    }
    let ids = deliver(&world, &app, &["a.csv"]).await;
    world.later(SLOT_GRACE);
    assert_eq!(app.tick(soon(&world)).await.unwrap().slots_freed, 2);
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Running);
}

#[tokio::test]
async fn jobs_that_ran_before_there_was_a_limit_count_from_the_next_tick_on() {
    let world = World::with_rules(RULE);
    deliver(&world, &world.app(), &["a.csv", "b.csv", "c.csv", "d.csv"]).await;
    let mut limited = world.clone();
    limited.rules = Rules::read(&limits(3, 50)).unwrap();
    let app = limited.app();
    app.tick(soon(&limited)).await.unwrap();
    assert_eq!((slots_of_rule(&world).await, slots_of_endpoint(&world).await), (4, 4));
    let late = deliver(&limited, &app, &["e.csv"]).await;
    assert_eq!(limited.get(&app, &late[0]).await.status, Status::Queued);
    limited.settle(&app, 10).await;
    assert_eq!((limited.jobs().len(), limited.most_running()), (5, 4));
    assert_eq!((slots_of_rule(&world).await, slots_of_endpoint(&world).await), (0, 0));
}

#[tokio::test]
async fn a_scoring_that_has_ended_since_it_was_seen_gets_no_slot() {
    let world = World::with_rules(&limits(3, 3));
    let app = world.app();
    let ids = deliver(&world, &app, &["a.csv"]).await;
    world.settle(&app, 5).await;
    let holders = HashSet::from([ScoringId::read(&ids[0]).unwrap()]);
    let tended = app.ledger().tend_slots(&claims(), &holders, world.now()).await.unwrap();
    assert_eq!((tended.adopted, tended.taken, slots_of_rule(&world).await), (0, 0, 0));
}

#[tokio::test]
async fn a_claim_that_others_may_take_for_left_behind_is_not_used() {
    for of_event in [true, false] {
        let world = World::with_rules(&limits(1, 1));
        let app = world.app();
        // The process stands still between its claim and the record of its intent.
        let slow = world.clone();
        let stand_still = move || {
            let clock = slow.clone();
            slow.store.rule(move |_, ops| {
                if ops[0].key().partition == "slots~claims" && ops[0].entity().is_some() {
                    clock.later(SLOT_WAY + Duration::SECOND);
                }
                None
            });
        };
        let ids = if of_event {
            stand_still();
            deliver(&world, &app, &["a.csv"]).await
        } else {
            world.store.push(Fault::Throttled(None)); // no slot for now
            let ids = deliver(&world, &app, &["a.csv"]).await;
            stand_still();
            app.tick(soon(&world)).await.unwrap();
            ids
        };
        assert_eq!(world.get(&app, &ids[0]).await.status, Status::Queued, "of an event: {of_event}");
        assert!(world.jobs().is_empty());
        world.store.heal();
        assert_eq!((slots_of_rule(&world).await, slots_of_endpoint(&world).await), (0, 0));
        app.tick(soon(&world)).await.unwrap();
        assert_eq!(world.get(&app, &ids[0]).await.status, Status::Running);
    }
}

#[tokio::test]
async fn slots_go_to_the_first_in_line() {
    for rules in [limits(1, 5), limits(5, 1)] {
        let world = World::with_rules(&rules);
        let app = world.app();
        let names: Vec<_> = (0..30).map(|n| format!("{n:02}.csv")).collect();
        deliver(&world, &app, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        world.settle(&app, 70).await;
        assert_eq!(paths(&world), names);
    }
}

#[tokio::test]
async fn an_endpoint_without_room_is_asked_for_once_and_not_for_each_scoring_of_its_rules() {
    let world = World::with_rules(TWO_RULES);
    let app = world.app();
    for n in 0..20 {
        world.deliver(&app, &event(&format!("{n}.csv"), "1")).await;
    }
    let report = app.tick(soon(&world)).await.unwrap();
    // Three jobs are looked at, one scoring asks.
    assert_eq!((report.in_flight, report.due), (40, 4), "{report:?}");
}

#[tokio::test]
async fn a_full_rule_does_not_hold_up_the_others_at_its_endpoint() {
    let rule = |id: &str| {
        let wanted = json!({"container": "claims", "prefix": format!("{id}/")});
        json!({"id": id, "match": wanted, "endpoint": {"uri": URI}, "maxInFlight": 1})
    };
    let world = World::with_rules(&json!({"rules": [rule("one"), rule("two")]}).to_string());
    let app = world.app();
    deliver(&world, &app, &["one/a.csv", "one/b.csv", "one/c.csv"]).await;
    world.store.push(Fault::Throttled(None)); // no slot for now
    deliver(&world, &app, &["two/a.csv"]).await;
    app.tick(soon(&world)).await.unwrap();
    assert_eq!(paths(&world), ["one/a.csv", "two/a.csv"]);
}
