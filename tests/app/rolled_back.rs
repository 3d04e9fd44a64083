//! ETags that come back to their path by a rename: no path is ever without a scoring for what it holds.

use lifecycle::{JobStatus, Status};
use serde_json::{Value, json};
use time::Duration;

use super::renames::{name, put, renamed, tick, url};
use crate::support::world::{Fault, RULE, World, event};

const PATH: &str = "in/a.csv";
const BACKUP: &str = "backup/a.csv";

/// A world in which one scoring is under way at a time; another one's job runs.
async fn queued(rules: &Value) -> (World, app::App) {
    let world = World::with_rules(&rules.to_string());
    let app = world.app();
    world.deliver(&app, &event("in/other.csv", "1")).await;
    (world, app)
}

fn one_at_a_time() -> Value {
    let mut rules: Value = serde_json::from_str(RULE).unwrap();
    rules["rules"][0]["maxInFlight"] = json!(1);
    rules["rules"][0]["match"]["prefix"] = json!("in/");
    rules
}

/// What the path holds from now on.
fn holds(world: &World, etag: &str, content: u64) {
    put(world, PATH, etag, 5);
    world.change_inputs(|inputs, now| inputs.put(&url(PATH), etag, content, true, now));
}

async fn roll_back(world: &World, app: &app::App) {
    holds(world, "E1", 1);
    world.deliver(app, &renamed("BlobRenamed", BACKUP, PATH)).await;
}

/// Statuses of the versions of the path, once everything has ended.
async fn ends(world: &World, app: &app::App) -> Vec<(String, Status)> {
    for _ in 0..20 {
        world.end_jobs(&JobStatus::Completed);
        tick(world, app, Duration::minutes(3)).await;
    }
    let mut ends = Vec::new();
    app.ledger()
        .scorings(|scoring| {
            if scoring.blob.path == PATH {
                ends.push((scoring.blob.etag, scoring.status));
            }
            true
        })
        .await
        .unwrap();
    ends.sort();
    ends
}

fn rolled_back() -> Vec<(String, Status)> {
    vec![("E1".to_owned(), Status::Scored), ("E2".to_owned(), Status::Superseded)]
}

#[tokio::test]
async fn a_version_that_gave_way_and_comes_back_is_scored() {
    let (world, app) = queued(&one_at_a_time()).await;
    holds(&world, "E1", 1);
    world.deliver(&app, &event(PATH, "E1")).await;
    // Moved away; another file takes its place, and its turn comes.
    world.later(Duration::MINUTE);
    world.uploaded(|uploaded| uploaded.rename(&name(PATH), &name(BACKUP)));
    holds(&world, "E2", 2);
    world.deliver(&app, &event(PATH, "E2")).await;
    world.next_faults([Fault::Refused { permanent: false }]);
    world.end_jobs(&JobStatus::Completed);
    tick(&world, &app, Duration::minutes(3)).await;
    assert_eq!(world.statuses(&app).await.get(&Status::Superseded), Some(&1));
    roll_back(&world, &app).await;
    assert_eq!(ends(&world, &app).await, rolled_back());
}

#[tokio::test]
async fn a_version_that_comes_back_without_an_event_is_scored_by_a_look() {
    let (world, app) = queued(&one_at_a_time()).await;
    holds(&world, "E2", 2);
    world.deliver(&app, &event(PATH, "E1")).await;
    world.deliver(&app, &event(PATH, "E2")).await;
    world.next_faults([Fault::Refused { permanent: false }]);
    world.end_jobs(&JobStatus::Completed);
    tick(&world, &app, Duration::minutes(3)).await;
    holds(&world, "E1", 1);
    assert_eq!(ends(&world, &app).await, rolled_back());
}

#[tokio::test]
async fn a_version_that_was_overtaken_by_a_scored_one_and_comes_back_is_scored() {
    let (world, app) = queued(&one_at_a_time()).await;
    holds(&world, "E2", 2);
    world.deliver(&app, &event(PATH, "E1")).await;
    assert_eq!(ends(&world, &app).await, [("E1".to_owned(), Status::Superseded), ("E2".to_owned(), Status::Scored)]);
    roll_back(&world, &app).await;
    assert!(ends(&world, &app).await.iter().all(|(_, status)| *status == Status::Scored));
}

/// Its input is looked at, and while the answer is under way it comes back, and the event of that is taken in.
#[tokio::test]
async fn a_version_that_comes_back_during_the_look_that_misses_it_is_scored() {
    for gone in [false, true] {
        let (world, app) = queued(&one_at_a_time()).await;
        world.deliver(&app, &event(PATH, "E1")).await;
        if gone {
            world.change_inputs(|inputs, now| {
                inputs.put(&url(PATH), "E1", 1, true, now);
                inputs.delete(&url(PATH), now);
            });
        } else {
            holds(&world, "E2", 2);
        }
        world.end_jobs(&JobStatus::Completed);
        let (there, other) = (world.clone(), world.app());
        world.during_next_input(move || async move {
            // The tick's first look is at the output of the other one's job.
            let (again, third) = (there.clone(), there.app());
            let _ = other;
            there.during_next_input(move || async move { roll_back(&again, &third).await });
        });
        let ends = ends(&world, &app).await;
        assert_eq!(ends[0], ("E1".to_owned(), Status::Scored), "{gone}: {ends:?}");
    }
}

#[tokio::test]
async fn an_old_event_that_comes_again_makes_no_job_for_a_version_that_gave_way() {
    let (world, app) = queued(&one_at_a_time()).await;
    holds(&world, "E2", 2);
    world.deliver(&app, &event(PATH, "E1")).await;
    let first = ends(&world, &app).await;
    world.deliver(&app, &event(PATH, "E1")).await;
    assert_eq!(ends(&world, &app).await, first);
    assert_eq!(world.jobs().len(), 2);
}
