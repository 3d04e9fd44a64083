//! The tables in the shape of Durable Functions: what their readers require holds after every outcome, and what a tool does to them
//! comes back. Every other test that ends with all at rest has its rows checked, too ([`World::tick_until_final`]).

use app::App;
use app::ports::table_store::{Entity, IfMatch, Key, Op, TableStore as _};
use lifecycle::{JobStatus, Order, Resolution, ScoringId, Status, Verb};
use time::Duration;

use super::{rows, state_rows};
use crate::support::world::{Fault, World, event, resolved};

/// With what a person and the storage can do to a history of any length.
const ONE_ATTEMPT: &str = r#"{"rules":[{"id":"claims","match":{"container":"claims"},
    "endpoint":{"uri":"https://heart.example/jobs"},"maxAttempts":1}]}"#;

const URL: &str = "https://uploads.blob.core.windows.net/claims/a.csv";

async fn tick(world: &World, app: &App) {
    world.later(Duration::minutes(2));
    app.tick(world.now() + Duration::hours(1)).await.unwrap();
}

/// Without the ETag of its history, which each write changes.
async fn instance(world: &World, id: &str) -> Option<Entity> {
    let mut instance = rows(world, "Instances", id, "").await.pop()?.entity;
    instance.properties.remove("HistoryETag");
    Some(instance)
}

/// Its events, the sentinel left out.
async fn events(world: &World, id: &str) -> Vec<Entity> {
    let rows = rows(world, "History", id, "").await;
    rows.into_iter().map(|row| row.entity).filter(|row| row.key.row != "sentinel").collect()
}

fn kinds(events: &[Entity]) -> Vec<&str> {
    events.iter().map(|event| event.string("EventType").unwrap()).collect()
}

pub async fn rows_are_what_durable_readers_accept(world: World) {
    let app = world.app();
    world.next_faults([Fault::Refused { permanent: false }]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    world.tick_until_final(&app, 8).await;
    let row = instance(&world, &ids[0]).await.unwrap();
    assert_eq!((row.string("RuntimeStatus"), row.string("Name")), (Some("Completed"), Some("claims")));
    let events = events(&world, &ids[0]).await;
    let expected = [
        "ExecutionStarted",
        "EventRaised",
        "TaskScheduled",
        "TaskFailed",
        "TaskScheduled",
        "TaskCompleted",
        "EventRaised",
        "ExecutionCompleted",
    ];
    assert_eq!(kinds(&events), expected);
    let reasons: Vec<String> =
        app.ledger().entries(&ids[0].parse().unwrap()).await.unwrap().iter().map(|e| e.reason.clone()).collect();
    // Each reason is told, the first and the last included; where Durable Functions Monitor looks for it, too.
    let texts = ["Input", "Result", "Details"].map(|name| events.iter().filter_map(move |row| row.string(name)));
    let told: Vec<&str> = texts.into_iter().flatten().collect();
    for reason in &reasons {
        let as_json = serde_json::to_string(reason).unwrap();
        let told = told.iter().any(|text| text.contains(as_json.trim_matches('"')));
        assert!(told, "{reason} is in none of {events:?}");
    }
    let last = serde_json::to_string(reasons.last().unwrap()).unwrap();
    assert!(row.string("CustomStatus").unwrap().contains(&last));
    assert!(state_rows(&world, "P~").await.is_empty(), "the outbox is drained");
}

#[tokio::test]
async fn each_outcome_has_one_end_and_ends_what_it_scheduled() {
    let world = World::with_rules(ONE_ATTEMPT);
    let app = world.app();
    let mut ids = Vec::new();
    let faults = [
        Some(Fault::Refused { permanent: true }),
        Some(Fault::LostRequest), // given up by a person
        Some(Fault::LostAnswer { times: 1 }),
        None, // cancelled in Azure ML
        None, // failed
        None, // scored
    ];
    for (n, fault) in faults.into_iter().enumerate() {
        world.next_faults(fault);
        ids.extend(world.deliver(&app, &event(&format!("{n}.csv"), "1")).await);
    }
    let path = |n: usize| format!("{n}.csv");
    world.end_jobs_of(&[path(3)], &JobStatus::Canceled);
    world.fail_job_of(&path(4), "UserError: no such column");
    world.blind(Some("403 to the list"));
    for _ in 0..20 {
        tick(&world, &app).await;
    }
    let given_up =
        app::resolve(app.ledger(), &ids[1].parse().unwrap(), &resolved(Resolution::GiveUp), world.now()).await;
    given_up.unwrap();
    world.blind(None);
    world.tick_until_final(&app, 10).await;
    let mut ended = Vec::new();
    for id in &ids {
        ended.push(instance(&world, id).await.unwrap().string("RuntimeStatus").unwrap().to_owned());
    }
    assert_eq!(ended, ["Failed", "Failed", "Completed", "Canceled", "Failed", "Completed"]);
}

#[tokio::test]
async fn an_orphaned_job_found_after_the_end_is_no_second_end() {
    let world = World::new();
    let (slow, other) = (world.app(), world.app());
    let (accepted, intents) = slow.accept(&event("a.csv", "1")).await.unwrap().into_parts();
    let id = accepted.accepted[0].id.clone();
    let held = world.hold_next_post();
    let sending = tokio::spawn(async move { intents.send().await });
    held.waits.notified().await;
    world.hide_new_jobs(true);
    for _ in 0..15 {
        tick(&world, &other).await;
    }
    world.end_job("job-2", &JobStatus::Completed);
    tick(&world, &other).await;
    assert_eq!(world.get(&other, &id).await.status, Status::Scored);
    held.go.notify_one();
    sending.await.unwrap();
    tick(&world, &other).await;
    assert_eq!(world.get(&other, &id).await.orphaned_jobs[0].as_str(), "job-1");
    assert_eq!(world.complaints_of_durable_readers(&other).await, Vec::<String>::new());
    let found = events(&world, &id).await;
    let found = found.iter().find(|row| row.string("Name") == Some("orphanFound")).unwrap();
    assert!(found.string("Input").unwrap().contains("job-1"), "{found:?}");
}

#[tokio::test]
async fn what_moved_while_the_projection_was_off_is_shown_once_it_is_on() {
    let world = World::new();
    let off = world.app_without_projection();
    let ids = world.deliver(&off, &event("a.csv", "1")).await;
    world.end_jobs(&JobStatus::Completed);
    for _ in 0..3 {
        tick(&world, &off).await;
    }
    assert_eq!((world.get(&off, &ids[0]).await.status, instance(&world, &ids[0]).await), (Status::Scored, None));
    let on = world.app();
    tick(&world, &on).await;
    assert_eq!(instance(&world, &ids[0]).await.unwrap().string("RuntimeStatus"), Some("Completed"));
}

#[tokio::test]
async fn what_a_tool_took_or_changed_comes_back_by_a_rebuild() {
    let world = World::new();
    let app = world.app();
    let ids = world.deliver(&app, &event("taken.csv", "1")).await;
    let ids = [ids, world.deliver(&app, &event("changed.csv", "1")).await].concat();
    world.tick_until_final(&app, 8).await;
    let before = (instance(&world, &ids[0]).await, events(&world, &ids[0]).await, instance(&world, &ids[1]).await);
    for (table, id) in [("Instances", &ids[0]), ("History", &ids[0])] {
        for row in rows(&world, table, id, "").await {
            world.store.write(&world.table(table), &[Op::Delete(row.entity.key, IfMatch::Any)]).await.unwrap();
        }
    }
    let changed = Entity::new(Key::new(ids[1].as_str(), "")).with("CustomStatus", "null");
    world.store.write(&world.table("Instances"), &[Op::Merge(changed, IfMatch::Any)]).await.unwrap();
    tick(&world, &app).await;
    assert_eq!(instance(&world, &ids[0]).await, None, "nothing has moved");
    assert_eq!(app.ledger().project_again().await.unwrap(), 2);
    tick(&world, &app).await;
    let after = (instance(&world, &ids[0]).await, events(&world, &ids[0]).await, instance(&world, &ids[1]).await);
    assert_eq!(after, before);
    assert!(state_rows(&world, "P~").await.is_empty());
}

#[tokio::test]
async fn a_history_beyond_its_limit_has_one_end_and_none_once_it_goes_on() {
    let world = World::with_rules(ONE_ATTEMPT);
    let app = world.app();
    world.change_inputs(|all, now| all.put(URL, "1", 1, true, now));
    world.next_faults([Fault::Refused { permanent: false }]);
    let id: ScoringId = world.deliver(&app, &event("a.csv", "1")).await[0].parse().unwrap();
    let order = |verb| Order { verb, by: "ann".to_owned(), reason: "a test".to_owned() };
    for _ in 0..35 {
        for verb in [Verb::Hold, Verb::Release] {
            app::order(app.ledger(), &id, &order(verb), world.now()).await.unwrap();
        }
    }
    world.change_inputs(|all, now| all.delete(URL, now));
    world.tick_until_final(&app, 30).await;
    assert_eq!(world.get(&app, id.as_str()).await.status, Status::Gone);
    let of_the_limit = |events: &[Entity]| kinds(&events[events.len() - 2..]).join(" ");
    assert_eq!(of_the_limit(&events(&world, &id).await), "EventRaised ExecutionCompleted");
    app::order(app.ledger(), &id, &order(Verb::Retry), world.now()).await.unwrap();
    app.tick(world.now() + Duration::hours(1)).await.unwrap();
    world.tick_until_final(&app, 30).await;
}

#[tokio::test]
async fn what_is_purged_while_the_projection_is_off_leaves_nothing_behind() {
    let world = World::new();
    let (on, off) = (world.app(), world.app_without_projection());
    let ids = world.deliver(&on, &event("a.csv", "1")).await;
    tick(&world, &on).await;
    assert_eq!(instance(&world, &ids[0]).await.unwrap().string("RuntimeStatus"), Some("Running"));
    world.tick_until_final(&off, 5).await;
    assert_eq!(state_rows(&world, "P~").await.len(), 1);
    world.later(Duration::days(31));
    off.ledger().record_purged_through(world.now() - Duration::days(30)).await.unwrap();
    let report = off.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert_eq!(report.purged, 1);
    assert_eq!((instance(&world, &ids[0]).await, events(&world, &ids[0]).await), (None, Vec::new()));
    assert!(state_rows(&world, "").await.iter().all(|row| !row.entity.key.row.contains(ids[0].as_str())));
}
