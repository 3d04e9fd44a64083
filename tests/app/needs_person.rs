//! What reconcile runs tell the log of what needs a person: for as long as it lasts, and no longer.

use app::{App, NeedsPerson};
use lifecycle::{Order, ScoringId, Verb};
use serde_json::json;
use time::Duration;

use crate::support::world::{Fault, RULE, World, event};

/// The counts of a run after so many minutes; `None`: it did not count.
async fn counted(world: &World, app: &App, minutes: i64) -> Option<NeedsPerson> {
    world.later(Duration::minutes(minutes));
    app.tick(world.now() + Duration::minutes(5)).await.unwrap().needs_person
}

async fn failed(world: &World, app: &App, path: &str) -> ScoringId {
    world.next_faults([Fault::Refused { permanent: true }]);
    world.deliver(app, &event(path, "1")).await[0].parse().unwrap()
}

async fn ordered(world: &World, app: &App, id: &ScoringId, verb: Verb) {
    let order = Order { verb, by: "ann".to_owned(), reason: "a test".to_owned() };
    app::order(app.ledger(), id, &order, world.now()).await.unwrap();
}

#[tokio::test]
async fn failures_are_counted_until_they_are_acknowledged_retried_or_made_up_for() {
    let world = World::with_rules(&RULE.replace("\"maxAttempts\":2", "\"maxAttempts\":1"));
    let app = world.app();
    let acknowledged = failed(&world, &app, "a.csv").await;
    let retried = failed(&world, &app, "b.csv").await;
    failed(&world, &app, "c.csv").await;
    // A process that has not counted yet leaves it to minute 7, 22, 37 or 52.
    assert_eq!(counted(&world, &app, 1).await, None);
    let of = |failed| Some(NeedsPerson { failed, ..NeedsPerson::default() });
    assert_eq!(counted(&world, &app, 6).await, of(3));
    assert_eq!(counted(&world, &app, 1).await, None, "it was counted a minute ago");
    // Days later they are told of all the same.
    assert_eq!(counted(&world, &app, 3 * 24 * 60).await, of(3));
    ordered(&world, &app, &acknowledged, Verb::Acknowledge).await;
    assert_eq!(counted(&world, &app, 15).await, of(2));
    ordered(&world, &app, &retried, Verb::Retry).await;
    assert_eq!(counted(&world, &app, 15).await, of(1));
    world.deliver(&app, &event("c.csv", "2")).await;
    world.end_jobs(&lifecycle::JobStatus::Completed);
    for _ in 0..4 {
        counted(&world, &app, 2).await;
    }
    assert_eq!(counted(&world, &app, 15).await, of(0));
}

#[tokio::test]
async fn a_run_in_which_something_failed_counts_at_once() {
    let world = World::with_rules(&RULE.replace("\"maxAttempts\":2", "\"maxAttempts\":1"));
    let app = world.app();
    world.deliver(&app, &event("a.csv", "1")).await;
    assert_eq!(counted(&world, &app, 1).await, None);
    world.end_jobs(&lifecycle::JobStatus::Failed);
    assert_eq!(counted(&world, &app, 3).await, Some(NeedsPerson { failed: 1, ..NeedsPerson::default() }));
}

#[tokio::test]
async fn orphaned_jobs_unpublished_results_and_unread_events_are_counted_apart() {
    let place = "azureml://datastores/claims/paths/latest.csv";
    let outputs = json!({"score": {"type": "UriFile", "uri": "azureml://datastores/out/paths/{scoring.id}/{attempt}/p",
        "publish": {"uri": place, "ifExists": "refuse"}}});
    let world =
        World::with_rules(&RULE.replace("\"maxAttempts\":2", &format!("\"maxAttempts\":2,\"outputs\":{outputs}")));
    let app = world.app();
    world.publications(|all| all.put_foreign(place, 3));
    world.next_faults([Fault::LostAnswer { times: 2 }]);
    world.deliver(&app, &event("a.csv", "1")).await;
    app.accept(&json!([{"id": "7", "data": {}}])).await.unwrap().submit().await;
    for _ in 0..4 {
        counted(&world, &app, 2).await;
    }
    world.end_jobs(&lifecycle::JobStatus::Completed);
    for _ in 0..4 {
        counted(&world, &app, 2).await;
    }
    let expected = NeedsPerson { failed: 0, with_orphaned_jobs: 1, not_published: 1, quarantined: 1 };
    assert_eq!(counted(&world, &app, 6).await, Some(expected));
    // An event is told of for a day, as `status` does; the others last.
    let expected = NeedsPerson { quarantined: 0, ..expected };
    assert_eq!(counted(&world, &app, 2 * 24 * 60).await, Some(expected));
}
