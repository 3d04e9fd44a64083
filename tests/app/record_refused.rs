//! What the ledger will never hold ends its scoring, with the reason and without its slot; and what comes from outside is
//! short enough to be held.

use app::App;
use app::ledger::{Recorded, RecordedEvent, rows};
use app::ports::table_store::Op;
use lifecycle::intake::{QuarantinedEvent, SkippedEvent};
use lifecycle::job::MAX_SUBMISSION_UNITS;
use lifecycle::{Event, Job, JobSnapshot, JobStatus, Observation, Scoring, ScoringId, Status, Step, decide};
use serde_json::{Value, json};
use stores::faulty::Fault;
use time::Duration;

use super::{rows as rows_of, state_rows};
use crate::support::world::{UNVERIFIED, World, event};

/// A rule whose requests fit for blobs with short names: what they all hold takes two thirds of a property.
const RULES: &str = include_str!("../cases/rules/request-too-large.json");

/// An upload whose name takes twelve times its length in a URL.
fn long_name() -> Value {
    let mut event = event(&"%F0%9F%98%80".repeat(1_000), "1");
    event["subject"] = json!(format!("/blobServices/default/containers/claims/blobs/{}", "\u{1F600}".repeat(1_000)));
    event
}

async fn slots(world: &World) -> usize {
    rows_of(world, "State", "slots~rule~claims", "").await.len()
}

async fn tick(world: &World, app: &App) {
    world.later(Duration::minutes(2));
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
}

fn assert_failed_by_the_ledger(scoring: &Scoring) {
    assert_eq!((scoring.status, scoring.submits, scoring.job.as_ref()), (Status::Failed, 0, None));
    let error = scoring.error.as_deref().unwrap();
    assert!(error.contains("the ledger cannot hold") && error.contains("there may be 32,768"), "{error}");
}

#[tokio::test]
async fn an_upload_whose_request_the_ledger_cannot_hold_fails_at_once_without_a_slot() {
    let world = World::with_rules(RULES);
    let app = world.app();
    let ids = world.deliver(&app, &long_name()).await;
    let scoring = world.get(&app, &ids[0]).await;
    assert_failed_by_the_ledger(&scoring);
    assert_eq!((world.jobs().len(), slots(&world).await), (0, 0));
    assert!(state_rows(&world, "F~").await.is_empty(), "it is final from the beginning");
    assert_eq!(state_rows(&world, "T~").await.len(), 1);
    let entries = app.ledger().entries(&scoring.id).await.unwrap();
    let moves: Vec<_> = entries.iter().map(|entry| (entry.to, entry.event)).collect();
    assert_eq!(moves, [(Status::Queued, None), (Status::Failed, Some(Event::RecordRefused))]);
    // Told of again it is known, and one that fits has the rule's one slot.
    assert!(world.deliver(&app, &long_name()).await.is_empty());
    let next = world.deliver(&app, &event("short.csv", "1")).await;
    assert_eq!(world.get(&app, &next[0]).await.status, Status::Running);
    let since = world.now() - Duration::days(1);
    assert!(app.ledger().recorded_events(RecordedEvent::Quarantined, since, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_request_that_outgrows_the_ledger_while_its_scoring_waits_starves_nobody() {
    let world = World::with_rules(RULES);
    let app = world.app();
    let first = world.deliver(&app, &event("first.csv", "1")).await;
    let waits = world.deliver(&app, &long_name()).await;
    world.later(Duration::SECOND);
    let behind = world.deliver(&app, &event("behind.csv", "1")).await;
    assert_eq!(world.get(&app, &waits[0]).await.status, Status::Queued);
    world.end_jobs(&JobStatus::Completed);
    tick(&world, &app).await;
    assert_failed_by_the_ledger(&world.get(&app, &waits[0]).await);
    assert_eq!(slots(&world).await, usize::from(world.jobs().len() == 2), "its slot is free at once");
    tick(&world, &app).await;
    assert_eq!(world.get(&app, &first[0]).await.status, Status::Scored);
    assert_eq!(world.get(&app, &behind[0]).await.status, Status::Running);
}

#[tokio::test]
async fn any_move_that_the_ledger_refuses_for_good_ends_its_scoring_and_stops_its_job() {
    let world = World::new();
    let app = world.app();
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    world.later(Duration::minutes(2));
    world.hide_jobs(true);
    // First the run says that it begins.
    world.store.push(Fault::Pass);
    world.store.push(Fault::Refused { permanent: true });
    tick(&world, &app).await;
    let scoring = world.get(&app, &ids[0]).await;
    assert_eq!(scoring.status, Status::Failed);
    assert!(scoring.error.unwrap().contains("refused, by plan"));
    assert_eq!(world.jobs()[0].status, JobStatus::Canceled, "it would compute for nobody");
}

#[tokio::test]
async fn a_job_whose_record_is_refused_is_counted_as_orphaned_and_stopped() {
    let world = World::with_rules(UNVERIFIED);
    let app = world.app();
    app.ledger().id().await.unwrap();
    world.store.push(Fault::Pass);
    world.store.push(Fault::Refused { permanent: true });
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    let scoring = world.get(&app, &ids[0]).await;
    assert_eq!((scoring.status, scoring.orphaned_jobs.len()), (Status::Failed, 1), "{scoring:?}");
    assert_eq!(world.jobs()[0].status, JobStatus::Canceled, "nobody else was told of it");
}

#[tokio::test]
async fn a_ledger_that_refuses_everything_costs_no_scoring() {
    let world = World::new();
    let app = world.app();
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    world.end_jobs(&JobStatus::Completed);
    world.later(Duration::minutes(2));
    for _ in 0..5 {
        world.store.push(Fault::Refused { permanent: true });
    }
    let _ = app.tick(world.now() + Duration::minutes(5)).await;
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Running, "the fault is not the scoring's");
    world.tick_until_final(&app, 5).await;
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Scored);
}

#[tokio::test]
async fn what_a_service_says_at_any_length_is_recorded_and_projected() {
    let world = World::with_rules(UNVERIFIED);
    let app = world.app();
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    let (mut scoring, mut etag) = app.ledger().get(&ScoringId::read(&ids[0]).unwrap()).await.unwrap().unwrap();
    let rule = world.rules.get("claims");
    // The worst for JSON in UTF-16: each of these takes six characters in a text.
    let endless = "\u{1}".repeat(100_000);
    let job = |status| {
        let snapshot = JobSnapshot { status, error: Some(endless.clone()), studio: Some(endless.clone()) };
        Observation::Job(snapshot)
    };
    let name = |n: usize| format!("{n:03}{}", "\"".repeat(257)).parse().unwrap();
    let mut observations = vec![job(JobStatus::read(&endless))];
    observations.extend((0..100).map(|n| Observation::UnexpectedJob {
        attempt: 1,
        job: Job::told(name(n), Some(&endless), Some(&endless)),
        status: JobStatus::Completed,
    }));
    observations.push(job(JobStatus::Failed));
    for observation in &observations {
        world.later(Duration::SECOND);
        let Step::Move { next, entry, .. } = decide(&scoring, rule, observation, world.now()) else { continue };
        let recorded = app.ledger().record(&scoring, &etag, &next, &entry).await.unwrap();
        let Recorded::Done(new) = recorded else { panic!("{recorded:?}") };
        (scoring, etag) = (*next, new);
    }
    assert_eq!((scoring.status, scoring.orphaned_jobs.len()), (Status::Queued, 100));
    assert!(app.ledger().project(&|| true).await.unwrap() > 0);
    assert!(state_rows(&world, "P~").await.is_empty(), "the projection holds it too");
}

#[tokio::test]
async fn events_that_became_no_scoring_are_kept_at_any_length() {
    let world = World::new();
    let ledger = world.app().ledger().clone();
    let endless = || "\u{1F600}".repeat(100_000);
    let bad = QuarantinedEvent { key: "a".repeat(32), reason: endless(), received: endless(), whole: false };
    ledger.quarantine(&bad, world.now()).await.unwrap();
    let skip =
        SkippedEvent { key: "b".repeat(32), subject: endless(), rule: None, etag: Some(endless()), reason: endless() };
    ledger.skip(&skip, Some(&endless()), world.now()).await.unwrap();
}

#[tokio::test]
async fn what_the_rules_take_for_the_longest_request_is_what_the_ledger_holds() {
    let world = World::new();
    let app = world.app();
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    let mut scoring = world.get(&app, &ids[0]).await;
    let mut submission = scoring.submission.take().unwrap();
    submission.settings.insert("note".to_owned(), json!(""));
    let room = MAX_SUBMISSION_UNITS - submission.units();
    for (more, fits) in [(0, true), (1, false)] {
        let mut submission = submission.clone();
        submission.settings.insert("note".to_owned(), json!("x".repeat(room + more)));
        let row = rows::to_scoring_row(&Scoring { submission: Some(submission), ..scoring.clone() }, "op");
        assert_eq!(app::ports::table_store::check(&[Op::Insert(row)]).is_ok(), fits, "{more}");
    }
}
