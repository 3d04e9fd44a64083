//! Lost answers where the service shows no outputs and no tags: jobs are followed, and the attempt is settled by its own path.

use app::{App, resolve};
use lifecycle::{JobStatus, Resolution, Scoring, Status};
use time::Duration;

use crate::support::world::{Fault, World, event, resolved};

/// Two rules want each blob, so that two scorings have equal inputs.
const TWO_RULES: &str = r#"{"rules":[
    {"id":"one","match":{"container":"claims"},"endpoint":{"uri":"https://heart.example/jobs"},"maxAttempts":2},
    {"id":"two","match":{"container":"claims"},"endpoint":{"uri":"https://heart.example/jobs"},"maxAttempts":2}]}"#;

fn silent(rules: &str) -> World {
    let world = World::with_rules(rules);
    world.omit_outputs(true);
    world.scan_every(Duration::minutes(10));
    world
}

async fn tick(world: &World, app: &App, later: Duration) {
    world.later(later);
    app.tick(world.now() + Duration::hours(1)).await.unwrap();
}

async fn ticks(world: &World, app: &App, times: usize) {
    for _ in 0..times {
        tick(world, app, Duration::minutes(1)).await;
    }
}

/// One scoring whose answer was lost after it made a job.
async fn lost(world: &World, app: &App) -> Scoring {
    world.next_faults([Fault::LostAnswer { times: 1 }]);
    let ids = world.deliver(app, &event("lost.csv", "1")).await;
    world.get(app, &ids[0]).await
}

fn running(world: &World) -> usize {
    world.jobs().iter().filter(|job| job.status == JobStatus::Running).count()
}

#[tokio::test]
async fn two_scorings_of_one_blob_are_never_adopted_across() {
    let world = silent(TWO_RULES);
    let app = world.app();
    world.next_faults([Fault::LostAnswer { times: 1 }, Fault::Pass]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    ticks(&world, &app, 20).await;
    let scorings = [world.get(&app, &ids[0]).await, world.get(&app, &ids[1]).await];
    let (lost, told): (Vec<_>, Vec<_>) = scorings.into_iter().partition(|scoring| scoring.job.is_none());
    let ([lost], [told]) = (lost.as_slice(), told.as_slice()) else { panic!("{lost:?} {told:?}") };
    assert_eq!((lost.status, told.status), (Status::Held, Status::Running));
    assert_eq!(lost.followed.len(), 2, "its own, and that of the other scoring");
    world.end_jobs(&JobStatus::Completed);
    ticks(&world, &app, 20).await;
    let (after, other) = (world.get(&app, lost.id.as_str()).await, world.get(&app, told.id.as_str()).await);
    assert_eq!((after.status, &after.job, after.attempt, after.submits), (Status::Scored, &None, 1, 1));
    assert_eq!((other.status, &other.job), (Status::Scored, &told.job));
    assert_eq!((world.jobs().len(), after.orphaned_job_count + other.orphaned_job_count), (2, 0));
}

#[tokio::test]
async fn a_strangers_job_is_never_cancelled_and_nothing_of_it_is_published() {
    let world = silent(
        r#"{"rules":[{"id":"claims","match":{"container":"claims"},"jobTimeout":"PT1H",
        "endpoint":{"uri":"https://heart.example/jobs"},"maxAttempts":2}]}"#,
    );
    let app = world.app();
    world.next_faults([Fault::LostRequest]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    let theirs = world.strangers_job(&world.get(&app, &ids[0]).await);
    for _ in 0..30 {
        tick(&world, &app, Duration::minutes(10)).await;
    }
    let scoring = world.get(&app, &ids[0]).await;
    assert_eq!((scoring.status, scoring.followed.len(), &scoring.job), (Status::Held, 1, &None));
    assert!(!scoring.holds_slot(), "after jobTimeout");
    assert_eq!((world.jobs().len(), running(&world)), (1, 1), "five hours later it runs on, and nothing was sent");
    world.end_job(&theirs, &JobStatus::Completed);
    // Less than its own job may run.
    ticks(&world, &app, 59).await;
    let scoring = world.get(&app, &ids[0]).await;
    assert_eq!(
        (scoring.status, scoring.attempt, scoring.submits),
        (Status::Running, 1, 2),
        "sent again by itself: {:?}",
        scoring.last_error
    );
    assert_ne!(scoring.job.unwrap().name.as_str(), theirs);
}

#[tokio::test]
async fn a_failed_followed_job_costs_an_attempt_and_the_next_has_a_path_of_its_own() {
    let world = silent(crate::support::world::RULE);
    let app = world.app();
    let before = lost(&world, &app).await;
    ticks(&world, &app, 3).await;
    world.end_jobs(&JobStatus::Failed);
    ticks(&world, &app, 30).await;
    let scoring = world.get(&app, before.id.as_str()).await;
    assert_eq!((scoring.status, scoring.attempt), (Status::Running, 2));
    assert_ne!(scoring.output_uri(), before.output_uri());
    assert!(scoring.previous_jobs.is_empty(), "whose job that was is not known");
}

#[tokio::test]
async fn an_output_that_is_there_keeps_a_lost_request_from_being_sent_again() {
    let world = silent(crate::support::world::RULE);
    let app = world.app();
    world.next_faults([Fault::LostRequest]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    // A job that no list shows, as one that somebody deleted.
    let scoring = world.get(&app, &ids[0]).await;
    tick(&world, &app, Duration::minutes(14)).await;
    world.place(scoring.output_uri().unwrap(), 7);
    ticks(&world, &app, 10).await;
    let scoring = world.get(&app, &ids[0]).await;
    assert_eq!((scoring.status, scoring.submits, world.jobs().len()), (Status::Scored, 1, 0));
}

#[tokio::test]
async fn whoever_says_that_it_is_to_be_sent_again_is_held_against_the_output_path() {
    let world = silent(
        r#"{"rules":[{"id":"claims","match":{"container":"claims"},"onUnknown":"hold",
        "endpoint":{"uri":"https://heart.example/jobs"},"maxAttempts":2}]}"#,
    );
    let app = world.app();
    world.next_faults([Fault::LostRequest]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    ticks(&world, &app, 20).await;
    let scoring = world.get(&app, &ids[0]).await;
    assert_eq!(scoring.status, Status::Held);
    resolve(app.ledger(), &scoring.id, &resolved(Resolution::SendAgain), app.now()).await.unwrap();
    world.place(scoring.output_uri().unwrap(), 7);
    ticks(&world, &app, 10).await;
    let scoring = world.get(&app, &ids[0]).await;
    assert_eq!((scoring.status, world.jobs().len()), (Status::Scored, 0), "it was not sent: {:?}", scoring.last_error);
}

#[tokio::test]
async fn while_the_output_path_cannot_be_looked_at_nothing_is_sent_again() {
    let world = silent(crate::support::world::RULE);
    let app = world.app();
    world.next_faults([Fault::LostRequest]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    world.blind_storage(Some("403; Storage Blob Data Reader is missing"));
    ticks(&world, &app, 30).await;
    let scoring = world.get(&app, &ids[0]).await;
    assert_eq!((scoring.status, scoring.submits), (Status::Held, 1));
    assert!(scoring.last_error.unwrap().contains("Storage Blob Data Reader"));
    world.blind_storage(None);
    ticks(&world, &app, 30).await;
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Running, "it leaves by itself");
}

#[tokio::test]
async fn a_list_that_lags_is_waited_for_and_the_job_is_followed_when_it_shows() {
    let world = silent(crate::support::world::RULE);
    let app = world.app();
    world.hide_new_jobs(true);
    let before = lost(&world, &app).await;
    ticks(&world, &app, 12).await;
    world.hide_new_jobs(false);
    ticks(&world, &app, 10).await;
    let scoring = world.get(&app, before.id.as_str()).await;
    assert_eq!((scoring.status, scoring.submits, scoring.followed.len()), (Status::Held, 1, 1));
    // A person who knows names it.
    let job = scoring.followed[0].clone();
    resolve(app.ledger(), &scoring.id, &resolved(Resolution::JobIs(job.clone())), app.now()).await.unwrap();
    world.end_jobs(&JobStatus::Completed);
    ticks(&world, &app, 5).await;
    let scoring = world.get(&app, before.id.as_str()).await;
    assert_eq!((scoring.status, scoring.job.unwrap().name), (Status::Scored, job));
}

#[tokio::test]
async fn what_is_held_for_too_long_lets_others_have_its_slot() {
    let world = silent(
        r#"{"rules":[{"id":"claims","match":{"container":"claims"},"jobTimeout":"PT1H","maxInFlight":1,
        "endpoint":{"uri":"https://heart.example/jobs"},"maxAttempts":2}]}"#,
    );
    let app = world.app();
    let first = lost(&world, &app).await;
    let ids = world.deliver(&app, &event("b.csv", "1")).await;
    for _ in 0..4 {
        tick(&world, &app, Duration::minutes(10)).await;
    }
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Queued);
    for _ in 0..12 {
        tick(&world, &app, Duration::minutes(10)).await;
    }
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Running);
    world.end_jobs(&JobStatus::Completed);
    for _ in 0..6 {
        tick(&world, &app, Duration::minutes(10)).await;
    }
    assert_eq!(world.get(&app, first.id.as_str()).await.status, Status::Scored);
}

#[tokio::test]
async fn the_workspace_that_a_job_showed_is_kept_for_all_processes() {
    let world = World::new();
    world.tell_workspace("/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w");
    world.deliver(&world.app(), &event("a.csv", "1")).await;
    world.end_jobs(&JobStatus::Completed);
    // Another process, after the first scoring is long over: its rule names no workspace.
    let app = world.app();
    world.tick_until_final(&app, 10).await;
    let before = lost(&world, &world.app()).await;
    assert_eq!(before.workspace, None);
    ticks(&world, &world.app(), 3).await;
    let searched = world.searched();
    assert!(
        !searched.is_empty()
            && searched.iter().all(|workspace| workspace.as_deref().is_some_and(|id| id.ends_with("/w"))),
        "{searched:?}"
    );
}

#[tokio::test]
async fn a_refused_request_to_stop_a_job_is_in_the_history() {
    let world = World::with_rules(
        r#"{"rules":[{"id":"claims","match":{"container":"claims"},"jobTimeout":"PT1H",
        "endpoint":{"uri":"https://heart.example/jobs"}}]}"#,
    );
    let app = world.app();
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    world.fail_cancels(3);
    for _ in 0..12 {
        tick(&world, &app, Duration::minutes(10)).await;
    }
    let scoring = world.get(&app, &ids[0]).await;
    let history = app.ledger().entries(&scoring.id).await.unwrap();
    let told: Vec<_> = history.iter().filter(|entry| entry.reason.contains("could not be told to stop")).collect();
    assert_eq!(told.len(), 1, "once for one reason: {history:#?}");
    assert!(told[0].reason.contains("Resource Manager answers 503"), "{}", told[0].reason);
}
