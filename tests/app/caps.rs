//! Limits of rules and endpoints: what holds them, and who goes first.

use std::collections::{BTreeSet, HashSet};

use app::App;
use app::ledger::{Cap, LimitChange, LimitScope, MAX_CLAIM_AGE, SLOT_EXPIRY};
use app::ports::table_store::{Entity, Error, IfMatch, Key, Op, TableStore as _};
use lifecycle::{EndpointKey, JobStatus, Rules, ScoringId, Status};
use serde_json::json;
use stores::faulty::Fault;
use time::Duration;

use super::{cap, claims, rows, since};
use crate::support::world::{RULE, World, event};
use crate::support::yielding::Yielding;

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
    world.tick_until_final(&apps[0], 60).await;
    assert_eq!(world.statuses(&apps[0]).await[&Status::Scored], 20);
    assert_eq!((world.jobs().len(), world.max_running()), (20, 3));
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
    deliver(&world, &app, &["b.csv"]).await;
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
        world.tick_until_final(&app, 10).await;
        assert_eq!((world.jobs().len(), world.max_running()), (2, 1));
        assert_eq!((slots_of_rule(&world).await, slots_of_endpoint(&world).await), (0, 0));
    }
}

#[tokio::test]
async fn a_process_that_dies_between_its_claims_leaves_nothing_taken_for_ever() {
    let world = World::with_rules(&limits(1, 1));
    let app = world.app();
    let ghost = ScoringId::read(&"f".repeat(32)).unwrap();
    for scope in [claims(), LimitScope::endpoint(URI)] {
        app.ledger().claim_slot(&scope, cap(1), &ghost, 1, world.now()).await.unwrap().unwrap();
    }
    let ids = deliver(&world, &app, &["a.csv"]).await;
    // Its clock may be minutes off.
    world.later(Duration::minutes(7));
    assert_eq!(app.tick(soon(&world)).await.unwrap().slots_freed, 0);
    world.later(SLOT_EXPIRY - Duration::minutes(7));
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
    limited.tick_until_final(&app, 10).await;
    assert_eq!((limited.jobs().len(), limited.max_running()), (5, 4));
    assert_eq!((slots_of_rule(&world).await, slots_of_endpoint(&world).await), (0, 0));
}

#[tokio::test]
async fn a_scoring_that_has_ended_since_it_was_seen_gets_no_slot() {
    let world = World::with_rules(&limits(3, 3));
    let app = world.app();
    let ids = deliver(&world, &app, &["a.csv"]).await;
    world.tick_until_final(&app, 5).await;
    let holders = BTreeSet::from([ScoringId::read(&ids[0]).unwrap()]);
    let reconciled = app.ledger().reconcile_slots(&claims(), 1, &holders, world.now(), || world.now()).await.unwrap();
    assert_eq!((reconciled.adopted, reconciled.taken, slots_of_rule(&world).await), (0, 0, 0));
}

#[tokio::test]
async fn a_claim_that_others_may_take_for_left_behind_is_not_used() {
    for of_event in [true, false] {
        let world = World::with_rules(&limits(1, 1));
        let app = world.app();
        app.ledger().id().await.unwrap();
        // The process stands still between its claim and the record of its intent.
        let slow = world.clone();
        let stand_still = move || {
            let clock = slow.clone();
            slow.store.rule(move |_, ops| {
                if ops[0].key().partition == "slots~claims" && ops[0].entity().is_some() {
                    clock.later(MAX_CLAIM_AGE + Duration::SECOND);
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
        world.tick_until_final(&app, 70).await;
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

#[tokio::test]
async fn an_event_overtakes_nothing_that_a_tick_left_waiting_in_any_process() {
    for rules in [limits(1, 5), limits(5, 1)] {
        let world = World::with_rules(&rules);
        let app = world.app();
        let ids = deliver(&world, &app, &["a.csv", "b.csv"]).await;
        app.tick(soon(&world)).await.unwrap();
        // The slot becomes free, and another process gets an event before the next tick comes.
        world.later(Duration::minutes(1));
        world.end_jobs(&JobStatus::Completed);
        app.reconcile(&ScoringId::read(&ids[0]).unwrap()).await.unwrap();
        assert_eq!((slots_of_rule(&world).await, slots_of_endpoint(&world).await), (0, 0));
        let other = world.app();
        other.ledger().id().await.unwrap();
        let before = world.store.calls();
        deliver(&world, &other, &["c.csv"]).await;
        assert_eq!(
            since(before, world.store.calls()),
            (0, 1, 1),
            "the controls, and the acceptance: nothing is claimed"
        );
        world.tick_until_final(&app, 10).await;
        assert_eq!(paths(&world), ["a.csv", "b.csv", "c.csv"]);
    }
}

#[tokio::test]
async fn an_event_does_not_overtake_what_its_own_process_just_had_no_room_for() {
    let world = World::with_rules(&limits(1, 5));
    let app = world.app();
    let ids = deliver(&world, &app, &["a.csv", "b.csv"]).await;
    world.end_jobs(&JobStatus::Completed);
    app.reconcile(&ScoringId::read(&ids[0]).unwrap()).await.unwrap();
    let late = deliver(&world, &app, &["c.csv"]).await;
    assert_eq!(world.get(&app, &late[0]).await.status, Status::Queued);
    // No tick comes to tell of what waits: the belief ends, or nothing would ever go.
    world.later(Duration::seconds(80));
    let later = deliver(&world, &app, &["d.csv"]).await;
    assert_eq!(world.get(&app, &later[0]).await.status, Status::Running);
}

#[tokio::test]
async fn when_nothing_waits_any_more_events_are_submitted_at_once_again() {
    let world = World::with_rules(&limits(2, 5));
    let (app, other) = (world.app(), world.app());
    deliver(&world, &app, &["a.csv", "b.csv", "c.csv"]).await;
    app.tick(soon(&world)).await.unwrap();
    world.tick_until_final(&app, 10).await;
    app.tick(soon(&world)).await.unwrap();
    for (app, path) in [(&app, "d.csv"), (&other, "e.csv")] {
        let ids = deliver(&world, app, &[path]).await;
        assert_eq!(world.get(app, &ids[0]).await.status, Status::Running);
    }
}

#[tokio::test]
async fn a_tick_that_finds_nothing_waiting_ends_what_its_own_process_believed() {
    let world = World::with_rules(&limits(1, 5));
    let app = world.app();
    deliver(&world, &app, &["a.csv", "full.csv"]).await;
    for _ in 0..2 {
        world.end_jobs(&JobStatus::Completed);
        for row in app.ledger().in_flight().await.unwrap().into_iter().filter(|row| row.job.is_some()) {
            app.reconcile(&row.id).await.unwrap();
        }
        app.tick(soon(&world)).await.unwrap();
    }
    // Well within the time for which it would be believed.
    let ids = deliver(&world, &app, &["b.csv"]).await;
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Running);
}

#[tokio::test]
async fn a_tick_without_time_for_a_queue_does_not_say_that_nothing_waits() {
    let world = World::with_rules(&limits(1, 5));
    let app = world.app();
    let ids = deliver(&world, &app, &["a.csv", "b.csv"]).await;
    app.tick(soon(&world)).await.unwrap();
    world.later(Duration::minutes(2));
    world.end_jobs(&JobStatus::Completed);
    app.reconcile(&ScoringId::read(&ids[0]).unwrap()).await.unwrap();
    assert!(!app.tick(world.now()).await.unwrap().complete);
    let late = deliver(&world, &world.app(), &["c.csv"]).await;
    assert_eq!(world.get(&app, &late[0]).await.status, Status::Queued);
}

/// Two arrive for each that the one slot can take, one of them in the moment in which the slot is free.
#[tokio::test]
async fn under_constant_arrivals_each_has_its_turn_in_order() {
    let world = World::with_rules(&limits(1, 5));
    let (events, others, ticks) = (world.app(), world.app(), world.app());
    let names: Vec<_> = (0..60).map(|n| format!("{n:02}.csv")).collect();
    for pair in names.chunks(2) {
        deliver(&world, &events, &[&pair[0]]).await;
        ticks.tick(soon(&world)).await.unwrap();
        world.later(Duration::seconds(58));
        world.end_jobs(&JobStatus::Completed);
        for running in ticks.ledger().in_flight().await.unwrap().into_iter().filter(|row| row.job.is_some()) {
            ticks.reconcile(&running.id).await.unwrap();
        }
        assert_eq!(slots_of_rule(&world).await, 0);
        deliver(&world, &others, &[&pair[1]]).await;
    }
    world.tick_until_final(&ticks, 80).await;
    assert_eq!(paths(&world), names);
}

#[tokio::test]
async fn a_higher_priority_goes_first_and_a_limit_of_its_own_leaves_room_for_the_others() {
    let rule = |id: &str, priority: i32, max: u32| {
        let wanted = json!({"container": "claims", "prefix": format!("{id}/")});
        json!({"id": id, "match": wanted, "endpoint": {"uri": URI}, "priority": priority, "maxInFlight": max})
    };
    for (max, expected) in [
        (9, ["low/0", "high/0", "high/1", "high/2", "low/1", "low/2"]),
        (1, ["low/0", "high/0", "high/1", "high/2", "low/1", "low/2"]),
    ] {
        let rules =
            json!({"rules": [rule("low", 0, 9), rule("high", 7, max)], "endpoints": [{"uri": URI, "maxInFlight": 1}]});
        let world = World::with_rules(&rules.to_string());
        let app = world.app();
        deliver(&world, &app, &["low/0", "low/1", "high/0", "low/2", "high/1", "high/2"]).await;
        world.tick_until_final(&app, 20).await;
        assert_eq!(paths(&world), expected);
    }
    // With two slots for all and one for the high ones, the low ones always have the other.
    let rules =
        json!({"rules": [rule("low", 0, 9), rule("high", 7, 1)], "endpoints": [{"uri": URI, "maxInFlight": 2}]});
    let world = World::with_rules(&rules.to_string());
    let app = world.app();
    deliver(&world, &app, &["high/0", "high/1", "high/2", "low/0", "low/1"]).await;
    world.tick_until_final(&app, 20).await;
    assert_eq!(paths(&world), ["high/0", "low/0", "high/1", "low/1", "high/2"]);
}

#[tokio::test]
async fn while_the_limits_cannot_be_read_nothing_is_submitted_and_nothing_is_lost() {
    let world = World::with_rules(RULE);
    let app = world.app();
    app.ledger().id().await.unwrap();
    // They are asked for whether anything was published, and for the limits.
    world.store.push_read(Error::Unavailable("dark".into()));
    world.store.push_read(Error::Unavailable("dark".into()));
    let ids = deliver(&world, &app, &["a.csv"]).await;
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Queued);
    // A newer version may have written what this one cannot read.
    let newer = Entity::new(Key::new("control", "scope~rule~claims")).with("SchemaVersion", 99);
    world.store.write(&world.table("State"), &[Op::Upsert(newer.clone())]).await.unwrap();
    world.later(Duration::minutes(1));
    let report = app.tick(soon(&world)).await.unwrap();
    assert!(report.errors > 0 && !report.complete, "{report:?}");
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Queued);
    world.store.write(&world.table("State"), &[Op::Delete(newer.key, IfMatch::Any)]).await.unwrap();
    app.tick(soon(&world)).await.unwrap();
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Running);
}

#[tokio::test]
async fn a_burst_reads_the_controls_once_and_again_after_a_moment() {
    let world = World::on(Yielding::store(), RULE);
    let app = world.app();
    let before = world.store.calls();
    let burst: Vec<_> = (0..20).map(|n| event(&format!("{n}.csv"), "1")).collect();
    world.deliver(&app, &json!(burst)).await;
    assert_eq!(since(before, world.store.calls()).1, 1);
    world.later(Duration::seconds(15));
    deliver(&world, &app, &["late.csv"]).await;
    assert_eq!(since(before, world.store.calls()).1, 2);
}

#[tokio::test]
async fn after_a_limit_was_lowered_nothing_is_claimed_blindly() {
    let world = World::with_rules(&limits(20, 99));
    let names: Vec<_> = (0..20).map(|n| format!("{n}.csv")).collect();
    deliver(&world, &world.app(), &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut lowered = world.clone();
    lowered.rules = Rules::read(&limits(4, 99)).unwrap();
    let app = lowered.app();
    app.tick(soon(&world)).await.unwrap();
    // Ten of twenty end, the numbers below the new limit among them.
    let (ended, _) = names.split_at(10);
    world.end_jobs_of(ended, &JobStatus::Completed);
    lowered.later(Duration::minutes(2));
    app.tick(soon(&lowered)).await.unwrap();
    assert_eq!(slots_of_rule(&world).await, 10);
    let more: Vec<_> = (0..10).map(|n| format!("more-{n}.csv")).collect();
    for path in &more {
        // Each by a process that knows nothing but what it reads.
        deliver(&lowered, &lowered.app(), &[path]).await;
    }
    assert_eq!(world.jobs().len(), 20);
    lowered.tick_until_final(&app, 30).await;
    assert_eq!((lowered.jobs().len(), lowered.max_running()), (30, 20));
}

#[tokio::test]
async fn scopes_that_the_rules_no_longer_have_are_forgotten() {
    let world = World::with_rules(TWO_RULES);
    world.app().tick(soon(&world)).await.unwrap();
    assert_eq!(rows(&world, "State", "control", "").await.len(), 3);
    let mut fewer = world.clone();
    fewer.rules = Rules::read(RULE).unwrap();
    fewer.app().tick(soon(&world)).await.unwrap();
    assert_eq!(rows(&world, "State", "control", "").await.len(), 2);
}

async fn set(world: &World, scope: &LimitScope, limit: Option<u32>) {
    let change = LimitChange { name: "claims".into(), limit, at: world.now(), by: "ann".into(), reason: None };
    // As the command does it: a process of its own.
    let app = world.app();
    let seen = app.ledger().controls().await.unwrap();
    app.ledger().set_limit(scope, &change, &seen).await.unwrap();
}

#[tokio::test]
async fn a_limit_that_is_set_holds_in_every_process_a_moment_later() {
    for scope in [claims(), LimitScope::endpoint(URI)] {
        let world = World::with_rules(RULE);
        let apps = [world.app(), world.app()];
        for app in &apps {
            deliver(&world, app, &["warm-up.csv"]).await;
        }
        world.tick_until_final(&apps[0], 5).await;
        set(&world, &scope, Some(2)).await;
        world.later(Duration::seconds(15));
        for (n, app) in [0, 1, 0, 1].into_iter().enumerate() {
            world.deliver(&apps[app], &event(&format!("{n}.csv"), "1")).await;
        }
        assert_eq!(world.jobs().len(), 1 + 2, "{scope}");
        // Raised: the next tick submits what waits.
        set(&world, &scope, Some(3)).await;
        apps[1].tick(soon(&world)).await.unwrap();
        assert_eq!(world.jobs().len(), 1 + 3, "{scope}");
        set(&world, &scope, None).await;
        apps[1].tick(soon(&world)).await.unwrap();
        assert_eq!(world.jobs().len(), 1 + 4, "{scope}");
        world.tick_until_final(&apps[0], 5).await;
    }
}

#[tokio::test]
async fn a_lowered_limit_lets_what_runs_run_on_and_nothing_in_until_there_is_room() {
    let world = World::with_rules(&limits(20, 99));
    let app = world.app();
    let names: Vec<_> = (0..20).map(|n| format!("{n}.csv")).collect();
    deliver(&world, &app, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    set(&world, &claims(), Some(5)).await;
    let more: Vec<_> = (0..10).map(|n| format!("more-{n}.csv")).collect();
    let mut running = 20;
    for (path, ended) in more.iter().zip(names.chunks(2)) {
        // Before any tick has seen that there are more than there may be.
        deliver(&world, &world.app(), &[path]).await;
        assert!(world.jobs().len() == 20 || running <= 5, "{running} run");
        world.end_jobs_of(ended, &JobStatus::Completed);
        for row in app.ledger().in_flight().await.unwrap().into_iter().filter(|row| row.job.is_some()) {
            app.reconcile(&row.id).await.unwrap();
        }
        running = world.jobs().iter().filter(|job| job.status == JobStatus::Running).count();
    }
    world.tick_until_final(&app, 30).await;
    assert_eq!((world.jobs().len(), world.max_running()), (30, 20));
}

#[tokio::test]
async fn what_is_paused_goes_on_when_it_is_let() {
    for scope in [claims(), LimitScope::endpoint(URI)] {
        let world = World::with_rules(&limits(5, 5));
        let app = world.app();
        deliver(&world, &app, &["a.csv"]).await;
        set(&world, &scope, Some(0)).await;
        let paused = world.app();
        let ids = deliver(&world, &paused, &["b.csv", "c.csv"]).await;
        world.later(Duration::minutes(2));
        world.end_jobs(&JobStatus::Completed);
        paused.tick(soon(&world)).await.unwrap();
        assert_eq!(world.jobs().len(), 1, "what ran has ended, and nothing new runs");
        let scope_status = paused.ledger().controls().await.unwrap().scopes[&scope].clone();
        assert_eq!(scope_status.waiting, 2);
        let reason = scope_status.reason.unwrap();
        assert!(reason.contains("paused") && reason.contains("scorekeeper limit --"), "{reason}");
        set(&world, &scope, None).await;
        paused.tick(soon(&world)).await.unwrap();
        assert_eq!(world.get(&paused, &ids[1]).await.status, Status::Running);
    }
}

#[tokio::test]
async fn a_limit_whose_answer_was_lost_is_set_all_the_same() {
    let world = World::with_rules(RULE);
    deliver(&world, &world.app(), &["a.csv"]).await;
    world.store.push(Fault::LostRequest);
    set(&world, &claims(), Some(3)).await;
    assert_eq!(world.app().ledger().controls().await.unwrap().limits[&claims()].limit, 3);
    world.store.push(Fault::LostAnswer { times: 1 });
    set(&world, &claims(), None).await;
    assert!(world.app().ledger().controls().await.unwrap().limits.is_empty());
}

#[tokio::test]
async fn what_runs_without_a_slot_is_given_one_and_told_to_be_beyond_the_limit_if_it_is() {
    let world = World::new();
    let app = world.app();
    let mut holders = BTreeSet::new();
    for n in 0..3 {
        let ids = world.deliver(&app, &event(&format!("{n}.csv"), "1")).await;
        holders.insert(ScoringId::read(&ids[0]).unwrap());
    }
    let scope = LimitScope::rule("set-later");
    for (adopted, limit, surplus) in [(3, 2, true), (0, 2, true), (0, 3, false), (0, 4, false)] {
        let reconciled =
            app.ledger().reconcile_slots(&scope, limit, &holders, world.now(), || world.now()).await.unwrap();
        assert_eq!((reconciled.adopted, reconciled.taken, reconciled.surplus), (adopted, 3, surplus), "limit {limit}");
    }
    assert_eq!(
        (scope.to_string(), LimitScope::endpoint("https://e.example/jobs").to_string().len()),
        ("rule set-later".to_owned(), 41)
    );
}

/// It was left over when its process died between the end of an attempt and the slot's.
#[tokio::test]
async fn a_slot_beyond_the_limit_is_no_room_for_the_next_attempt_of_who_had_it() {
    let world = World::new();
    let app = world.app();
    let ids = deliver(&world, &app, &["a.csv", "b.csv"]).await;
    let scope = LimitScope::rule("claims");
    let holders: BTreeSet<ScoringId> = ids.iter().map(|id| ScoringId::read(id).unwrap()).collect();
    let ledger = app.ledger();
    let _ = ledger.reconcile_slots(&scope, 1, &holders, world.now(), || world.now()).await.unwrap();
    let mut has_room = Vec::new();
    for id in &holders {
        let slot = ledger.claim_slot(&scope, Cap { limit: 1, surplus: true }, id, 9, world.now()).await.unwrap();
        has_room.push(slot.is_some());
    }
    // Of two with a limit of one, neither may begin anew while the other has a slot.
    assert_eq!(has_room, [false, false]);
    let alone = [holders.first().unwrap().clone()].into();
    let later = world.now() + SLOT_EXPIRY * 2;
    let freed = ledger.reconcile_slots(&scope, 1, &alone, later, || later).await.unwrap();
    assert_eq!((freed.freed, freed.taken), (1, 1));
}

#[tokio::test]
async fn what_waits_for_a_group_claims_no_slot_and_its_group_claims_one() {
    let rules = json!({"rules": [{"id": "claims", "match": {"container": "claims"}, "endpoint": {"uri": URI},
        "maxInFlight": 1, "group": {"by": "time"}}]});
    let world = World::with_rules(&rules.to_string());
    let app = world.app();
    let ids = deliver(&world, &app, &["a.csv", "b.csv"]).await;
    assert_eq!(slots_of_rule(&world).await, 0);
    let before = world.store.calls();
    app.reconcile(&ids[0].parse().unwrap()).await.unwrap();
    assert_eq!(since(before, world.store.calls()).2, 0, "nor for a moment");
    world.later(Duration::minutes(6));
    app.tick(soon(&world)).await.unwrap();
    assert_eq!((slots_of_rule(&world).await, world.jobs().len()), (1, 1));
}

#[tokio::test]
async fn a_group_that_is_not_copied_yet_is_not_told_as_waiting_for_a_slot() {
    let rules = json!({"rules": [{"id": "claims", "match": {"container": "claims"}, "endpoint": {"uri": URI},
        "maxInFlight": 1, "group": {"by": "time", "maxFiles": 1}}]});
    let world = World::with_rules(&rules.to_string());
    let app = world.app();
    deliver(&world, &app, &["1.csv", "2.csv", "3.csv", "4.csv", "5.csv", "6.csv", "7.csv", "8.csv"]).await;
    // A copy and a list of each of two groups are written, the copies of six are lost.
    world.next_publish_faults([Fault::Pass, Fault::Pass, Fault::Pass, Fault::Pass]);
    world.next_publish_faults((0..6).map(|_| Fault::LostRequest));
    world.later(Duration::minutes(1));
    app.tick(soon(&world)).await.unwrap();
    let controls = app.ledger().controls().await.unwrap();
    assert_eq!((world.jobs().len(), controls.scopes[&claims()].waiting), (1, 1));
}
