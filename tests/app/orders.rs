//! What operators order: each order is done once or not at all, whatever fails or dies on the way, and stands in the history.

use app::ledger::Received;
use app::{App, AskOutcome, ResolveOutcome};
use lifecycle::{JobStatus, Order, Rules, ScoringId, Status, UnversionedBlob, Verb};
use time::Duration;

use super::renames::tick;
use crate::support::world::{Fault, RULE, World, event};

fn order(verb: Verb) -> Order {
    Order { verb, by: "ann".to_owned(), reason: "a test".to_owned() }
}

async fn history(app: &App, id: &ScoringId) -> Vec<String> {
    app.ledger().entries(id).await.unwrap().iter().map(|entry| entry.reason.clone()).collect()
}

/// A scoring of which this can be ordered: one that failed for good, one that runs, or one that is queued.
async fn prepared(verb: Verb) -> (World, App, ScoringId) {
    let world = World::with_rules(&RULE.replace("\"maxAttempts\":2", "\"maxAttempts\":1"));
    let app = world.app();
    match verb {
        Verb::Cancel => {}
        Verb::Publish => return not_published().await,
        Verb::Retry | Verb::Acknowledge => world.next_faults([Fault::Refused { permanent: true }]),
        Verb::Skip | Verb::Hold | Verb::Release | Verb::Expedite => {
            world.next_faults([Fault::Refused { permanent: false }]);
        }
    }
    let id = world.deliver(&app, &event("a.csv", "1")).await[0].parse().unwrap();
    if verb == Verb::Release {
        app::order(app.ledger(), &id, &order(Verb::Hold), world.now()).await.unwrap();
    }
    (world, app, id)
}

/// One that is scored and could not be published, as something lies there.
async fn not_published() -> (World, App, ScoringId) {
    let place = "azureml://datastores/claims/paths/latest.csv";
    let output =
        r#","outputs":{"score":{"type":"UriFile","uri":"azureml://datastores/out/paths/{scoring.id}/{attempt}/p","#;
    let output = format!(r#"{output}"publish":{{"uri":"{place}","ifExists":"refuse"}}}}}}}}]}}"#);
    let world = World::with_rules(&RULE.replace(r#""maxAttempts":2}]}"#, &format!(r#""maxAttempts":2{output}"#)));
    let app = world.app();
    world.publications(|all| all.put_foreign(place, 3));
    let id = world.deliver(&app, &event("a.csv", "1")).await[0].parse().unwrap();
    world.end_jobs(&JobStatus::Completed);
    for _ in 0..7 {
        tick(&world, &app, Duration::minutes(2)).await;
    }
    (world, app, id)
}

#[tokio::test]
async fn an_order_under_a_fault_of_its_write_is_done_once_or_not_at_all() {
    for verb in Verb::ALL {
        for (fault, done) in [
            (Fault::NotSent, false),
            (Fault::LostRequest, true), // sent again
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

#[tokio::test]
async fn what_is_on_hold_is_not_sent_before_it_is_released_and_takes_no_slot() {
    let (world, app, id) = prepared(Verb::Hold).await;
    app::order(app.ledger(), &id, &order(Verb::Hold), world.now()).await.unwrap();
    let tick = async || {
        world.later(Duration::minutes(2));
        app.tick(world.now() + Duration::minutes(5)).await.unwrap();
        world.get(&app, id.as_str()).await
    };
    for _ in 0..3 {
        let scoring = tick().await;
        assert_eq!((scoring.status, scoring.on_hold.is_some(), world.jobs().len()), (Status::Queued, true, 0));
        assert!(!scoring.holds_slot());
    }
    // The driver itself leaves it alone, whoever calls it.
    app.reconcile(&id).await.unwrap();
    assert_eq!(world.jobs().len(), 0);
    app::order(app.ledger(), &id, &order(Verb::Release), world.now()).await.unwrap();
    let scoring = tick().await;
    assert_eq!((scoring.status, scoring.on_hold, world.jobs().len()), (Status::Running, None, 1));
}

#[tokio::test]
async fn what_is_expedited_goes_first_when_a_slot_is_free() {
    let world = World::with_rules(&RULE.replace("\"maxAttempts\":2", "\"maxAttempts\":1,\"maxInFlight\":1"));
    let app = world.app();
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.extend(world.deliver(&app, &event(&format!("{n}.csv"), "1")).await);
        world.later(Duration::SECOND);
    }
    let last: ScoringId = ids[2].parse().unwrap();
    app::order(app.ledger(), &last, &order(Verb::Expedite), world.now()).await.unwrap();
    world.end_jobs(&JobStatus::Completed);
    for _ in 0..3 {
        world.later(Duration::minutes(2));
        app.tick(world.now() + Duration::minutes(5)).await.unwrap();
        if world.jobs().len() > 1 {
            break;
        }
    }
    assert_ne!(world.get(&app, &ids[2]).await.attempt, 0, "it went before the one that came earlier");
    assert_eq!(world.get(&app, &ids[1]).await.attempt, 0);
}

#[tokio::test]
async fn a_rescore_is_one_next_generation_however_often_it_is_ordered_whatever_fails() {
    for fault in [
        None,
        Some(Fault::NotSent),
        Some(Fault::LostRequest),
        Some(Fault::LostAnswer { times: 1 }),
        Some(Fault::Duplicated { times: 2 }),
        Some(Fault::Throttled(None)),
    ] {
        for in_tick in [false, true] {
            let world = World::new();
            let app = world.app();
            let id = world.deliver(&app, &event("a.csv", "1")).await.remove(0);
            world.tick_until_final(&app, 6).await;
            let scored = world.get(&app, &id).await;
            let rescore = async || app::rescore(app.ledger(), &scored, "ann", "model v8", world.now()).await;
            if !in_tick {
                if let Some(fault) = &fault {
                    world.store.push(fault.clone());
                }
                let _ = rescore().await;
            }
            assert_eq!(rescore().await.unwrap(), AskOutcome::Recorded, "{fault:?}");
            if let Some(fault) = fault.as_ref().filter(|_| in_tick) {
                world.store.push(fault.clone());
            }
            for _ in 0..8 {
                world.later(Duration::minutes(2));
                let _ = app.tick(world.now() + Duration::minutes(5)).await;
                world.end_jobs(&JobStatus::Completed);
            }
            let received = app.ledger().received("claims", "a.csv", 10).await.unwrap();
            let generations: Vec<_> = received
                .iter()
                .filter_map(|row| if let Received::Scoring(row) = row { Some(row.id.clone()) } else { None })
                .collect();
            assert_eq!(generations.len(), 2, "{fault:?} {in_tick}: once");
            let mut both = Vec::new();
            for id in &generations {
                both.push(world.get(&app, id.as_str()).await);
            }
            assert_eq!(both[1].id, scored.id, "{both:?}");
            let next = both.remove(0);
            assert_eq!((next.generation, next.status), (scored.generation + 1, Status::Scored), "{fault:?} {in_tick}");
            let lines = history(&app, &next.id).await;
            assert!(lines[0].starts_with("rescored by ann (model v8): generation 1 of what"), "{lines:?}");
            assert_eq!(world.jobs().len(), 2, "{fault:?} {in_tick}");
            let again = rescore().await.unwrap();
            assert!(matches!(&again, AskOutcome::Refused(why) if why.contains("generation 1 of it is")), "{again:?}");
        }
    }
}

#[tokio::test]
async fn a_blob_with_a_skipped_or_lost_event_is_taken_in_later_with_who_ordered_it() {
    let world = World::new();
    let app = world.app();
    let url = "https://uploads.blob.core.windows.net/photos/a.csv";
    let blob = UnversionedBlob::read(url).unwrap();
    let mut other = event("a.csv", "1");
    other["data"]["url"] = url.into();
    other["subject"] = serde_json::Value::Null;
    app.accept(&serde_json::json!([other])).await.unwrap().submit().await;
    let replay = async |app: &App| {
        world.later(Duration::minutes(1));
        let now = world.now();
        assert_eq!(app::replay(app.ledger(), blob.clone(), "ann", "fixed", now).await.unwrap(), AskOutcome::Recorded);
        app.tick(world.now() + Duration::minutes(5)).await.unwrap();
        app.ledger().received("photos", "a.csv", 10).await.unwrap().read
    };
    let before = replay(&app).await;
    let Some(Received::Skipped(skip)) = before.first() else { panic!("{before:?}") };
    assert!(skip.reason.starts_with("replayed by ann (fixed); rule `claims`: container"), "{}", skip.reason);
    let fixed = RULE.replace("\"container\":\"claims\"", "\"container\":\"photos\"");
    assert_ne!(fixed, RULE);
    let mut changed = world.clone();
    changed.rules = Rules::read(&fixed).unwrap();
    let app = changed.app();
    let gone = replay(&app).await;
    let Some(Received::Skipped(skip)) = gone.first() else { panic!("{gone:?}") };
    assert!(skip.reason.contains("the blob is not there"), "{}", skip.reason);
    world.uploaded(|uploaded| uploaded.put_version(&blob, "0x9", 12));
    for _ in 0..2 {
        let taken = replay(&app).await;
        let ids: Vec<_> = taken
            .iter()
            .filter_map(|row| if let Received::Scoring(row) = row { Some(row.id.clone()) } else { None })
            .collect();
        assert_eq!(ids.len(), 1, "twice is once: {taken:?}");
        let lines = history(&app, &ids[0]).await;
        assert!(lines[0].ends_with("wants this blob version: replayed by ann (fixed)"), "{lines:?}");
    }
    assert_eq!(world.jobs().len(), 1);
}
