//! What operators order: each order is done once or not at all, whatever fails or dies on the way, and stands in the history.

use app::{App, ResolveOutcome};
use lifecycle::{JobStatus, Order, ScoringId, Status, Verb};
use time::Duration;

use crate::support::world::{Fault, RULE, World, event};

fn order(verb: Verb) -> Order {
    Order { verb, by: "ann".to_owned(), reason: "a test".to_owned() }
}

async fn history(app: &App, id: &ScoringId) -> Vec<String> {
    app.ledger().entries(id).await.unwrap().iter().map(|entry| entry.reason.clone()).collect()
}

/// A scoring that failed for good, or one that runs.
async fn prepared(verb: Verb) -> (World, App, ScoringId) {
    let world = World::with_rules(&RULE.replace("\"maxAttempts\":2", "\"maxAttempts\":1"));
    let app = world.app();
    if verb != Verb::Cancel {
        world.next_faults([Fault::Refused { permanent: true }]);
    }
    let id = world.deliver(&app, &event("a.csv", "1")).await[0].parse().unwrap();
    (world, app, id)
}

#[tokio::test]
async fn an_order_under_a_fault_of_its_write_is_done_once_or_not_at_all() {
    for verb in [Verb::Retry, Verb::Cancel, Verb::Acknowledge] {
        for (fault, done) in [
            (Fault::NotSent, false),
            (Fault::LostRequest, false),
            (Fault::LostAnswer { times: 1 }, true),
            (Fault::Duplicated { times: 2 }, true),
            (Fault::Conflict, false),
            (Fault::Throttled(None), false),
        ] {
            let (world, app, id) = prepared(verb).await;
            let lines = history(&app, &id).await.len();
            world.store.push(fault.clone());
            let first = app::order(app.ledger(), &id, &order(verb), world.now()).await;
            let now = history(&app, &id).await;
            assert_eq!(now.len(), lines + usize::from(done), "{verb:?} {fault:?}: {first:?}");
            // Given again: the rest, or nothing.
            let again = app::order(app.ledger(), &id, &order(verb), world.now()).await.unwrap();
            assert_eq!(matches!(again, ResolveOutcome::Refused(_)), done, "{verb:?} {fault:?}: {again:?}");
            let now = history(&app, &id).await;
            assert_eq!(now.len(), lines + 1, "{verb:?} {fault:?}: once");
            assert!(now.last().unwrap().contains(&format!("{} by ann (a test)", verb.done())), "{now:?}");
        }
    }
}

#[tokio::test]
async fn a_retry_is_sent_with_the_next_reconcile_run_and_comes_to_its_end() {
    let (world, app, id) = prepared(Verb::Retry).await;
    app::order(app.ledger(), &id, &order(Verb::Retry), world.now()).await.unwrap();
    world.tick_until_final(&app, 6).await;
    let scoring = world.get(&app, id.as_str()).await;
    assert_eq!((scoring.status, scoring.attempt, world.jobs().len()), (Status::Scored, 2, 1));
}

#[tokio::test]
async fn a_cancel_stops_the_job_with_the_next_reconcile_run_and_ends_cancelled() {
    let (world, app, id) = prepared(Verb::Cancel).await;
    app::order(app.ledger(), &id, &order(Verb::Cancel), world.now()).await.unwrap();
    assert_eq!(world.get(&app, id.as_str()).await.status, Status::Cancelling);
    assert_eq!(world.jobs()[0].status, JobStatus::Running, "the command has the ledger alone");
    for _ in 0..4 {
        world.later(Duration::minutes(6));
        app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    }
    let scoring = world.get(&app, id.as_str()).await;
    assert_eq!((scoring.status, world.jobs()[0].status.clone()), (Status::Cancelled, JobStatus::Canceled));
    assert!(scoring.error.unwrap().contains("cancelled by ann"));
    assert_eq!(world.jobs().len(), 1, "no attempt follows");
}
