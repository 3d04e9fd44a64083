//! Jobs beyond the one that a scoring needs: late answers, late jobs, two jobs for one request. Each is found, cancelled
//! and counted; none is adopted twice, and nothing that may be needed, or is somebody else's, is touched.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::Once;

use app::ledger::OrphanScan;
use app::{App, ResolveOutcome, TickReport, resolve};
use lifecycle::{JobStatus, Resolution, Status};
use serde_json::{Value, json};
use time::Duration;
use tracing::Level;

use super::state_rows;
use crate::support::world::{Fault, OrphanScanCall, RULE, START, World, event, resolved};
use crate::support::yielding::Yielding;

/// A world whose apps orphan scan every ten minutes.
fn orphan_scan() -> World {
    let world = World::new();
    world.scan_every(Duration::minutes(10));
    world
}

async fn tick(world: &World, app: &App, later: Duration) -> TickReport {
    world.later(later);
    app.tick(world.now() + Duration::hours(1)).await.unwrap()
}

fn running(world: &World) -> Vec<String> {
    world.jobs().into_iter().filter(|job| job.status == JobStatus::Running).map(|job| job.name).collect()
}

#[tokio::test]
async fn an_answer_that_comes_after_its_lease_is_adopted_while_nothing_else_was_sent() {
    let world = World::new();
    let (slow, other) = (world.app(), world.app());
    let held = world.hold_next_post();
    let (accepted, intents) = slow.accept(&event("a.csv", "1")).await.unwrap().into_parts();
    let id = accepted.accepted[0].id.clone();
    let sending = tokio::spawn(async move { intents.send().await });
    held.waits.notified().await;
    world.blind(Some("403 to the list"));
    tick(&world, &other, Duration::minutes(3)).await;
    assert_eq!(world.get(&other, &id).await.status, Status::Unknown);
    held.go.notify_one();
    sending.await.unwrap();
    let scoring = world.get(&other, &id).await;
    assert_eq!((scoring.status, scoring.job.unwrap().name.as_str()), (Status::Running, "job-1"));
}

#[tokio::test]
async fn an_answer_after_the_second_request_is_an_orphaned_job_found_by_its_sender() {
    let world = World::new();
    let (slow, other) = (world.app(), world.app());
    let held = world.hold_next_post();
    world.next_faults([Fault::Delayed(Duration::days(9))]);
    let (accepted, intents) = slow.accept(&event("a.csv", "1")).await.unwrap().into_parts();
    let id = accepted.accepted[0].id.clone();
    // A process that sleeps for half an hour and then hears that the endpoint did accept.
    let intents_of_it = intents;
    let world_of_it = world.clone();
    let sending = tokio::spawn(async move {
        let _ = &world_of_it;
        intents_of_it.send().await;
    });
    held.waits.notified().await;
    for _ in 0..3 {
        tick(&world, &other, Duration::minutes(10)).await;
    }
    let scoring = world.get(&other, &id).await;
    assert_eq!((scoring.status, scoring.submits), (Status::Running, 2));
    held.go.notify_one();
    sending.await.unwrap();
    let scoring = world.get(&other, &id).await;
    assert_eq!(scoring.status, Status::Running);
    assert_eq!(scoring.job.unwrap().name, "job-2");
}

#[tokio::test]
async fn a_late_acceptance_beside_another_job_is_cancelled_and_counted() {
    let world = World::new();
    let (slow, other) = (world.app(), world.app());
    let (accepted, intents) = slow.accept(&event("a.csv", "1")).await.unwrap().into_parts();
    let id = accepted.accepted[0].id.clone();
    let held = world.hold_next_post();
    let sending = tokio::spawn(async move { intents.send().await });
    held.waits.notified().await;
    // The list does not show the job, so another process sends the same again after `resubmitAfter`.
    world.hide_new_jobs(true);
    for _ in 0..3 {
        tick(&world, &other, Duration::minutes(10)).await;
    }
    assert_eq!(running(&world), ["job-1", "job-2"]);
    held.go.notify_one();
    sending.await.unwrap();
    let scoring = world.get(&other, &id).await;
    assert_eq!(
        (scoring.status, scoring.orphaned_job_count, scoring.orphaned_jobs.as_slice()),
        (Status::Running, 1, ["job-1".parse().unwrap()].as_slice())
    );
    assert_eq!(running(&world), ["job-2"]);
}

#[tokio::test]
async fn a_job_that_turns_up_after_resubmit_after_is_found_cancelled_and_counted() {
    for keeps_tags in [false, true] {
        let world = orphan_scan();
        world.keep_tags(keeps_tags);
        let app = world.app();
        world.next_faults([Fault::Delayed(Duration::minutes(40))]);
        let ids = world.deliver(&app, &event("a.csv", "1")).await;
        let mut orphaned_jobs = 0;
        for _ in 0..6 {
            orphaned_jobs += tick(&world, &app, Duration::minutes(10)).await.orphaned_jobs;
        }
        assert_eq!((orphaned_jobs, running(&world)), (1, vec!["job-2".to_owned()]), "tags kept: {keeps_tags}");
        world.tick_until_final(&app, 4).await;
        let scoring = world.get(&app, &ids[0]).await;
        assert_eq!(
            (scoring.status, scoring.attempt, scoring.submits, scoring.orphaned_job_count),
            (Status::Scored, 1, 2, 1)
        );
        assert!(
            app.ledger().entries(&scoring.id).await.unwrap().iter().any(|entry| entry.reason.contains("job job-1"))
        );
    }
}

/// Whose it is shows in its output path alone, which may have checksums before the id, and be of a template that was changed
/// since its attempt.
#[tokio::test]
async fn a_late_job_of_an_earlier_attempt_is_found_by_the_path_that_was_handed_out() {
    let rule = |template: &str| {
        json!({"rules": [{"id": "claims", "match": {"container": "claims"}, "endpoint": {"uri": "https://heart.example/jobs"},
            "outputs": {"score": {"type": "UriFile", "uri": format!("azureml://datastores/d/paths/{template}")}}}]})
        .to_string()
    };
    let first = "{blob.folder}/{scoring.id}/{attempt}/p.csv";
    for then in [first, "elsewhere/{scoring.id}/{attempt}/p.csv"] {
        let mut world = World::with_rules(&rule(first));
        world.scan_every(Duration::minutes(10));
        let app = world.app();
        world.hide_new_jobs(true);
        world.next_faults([Fault::Duplicated { times: 2 }]);
        let id = world.deliver(&app, &event(&format!("{:064x}/a.csv", 0xfeed), "1")).await.remove(0);
        world.end_job("job-2", &JobStatus::Failed);
        tick(&world, &app, Duration::minutes(3)).await;
        assert_eq!((world.get(&app, &id).await.status, running(&world)), (Status::Queued, vec!["job-1".to_owned()]));
        world.rules = lifecycle::Rules::read(&rule(then)).unwrap();
        let app = world.app();
        tick(&world, &app, Duration::minutes(10)).await;
        assert_eq!(world.get(&app, &id).await.attempt, 2);
        world.hide_new_jobs(false);
        tick(&world, &app, Duration::minutes(10)).await;
        assert_eq!(running(&world), ["job-3"], "{then}");
        assert_eq!(world.get(&app, &id).await.orphaned_jobs, ["job-1"]);
    }
}

#[tokio::test]
async fn the_second_job_of_one_request_is_cancelled_even_after_the_first_was_scored() {
    let world = orphan_scan();
    let app = world.app();
    world.next_faults([Fault::Duplicated { times: 2 }]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    tick(&world, &app, Duration::minutes(1)).await;
    assert_eq!(running(&world), ["job-2"], "the answer named the second");
    assert_eq!(world.get(&app, &ids[0]).await.orphaned_job_count, 1);

    // The same with an orphan scan that comes late.
    let world = World::new();
    let app = world.app();
    world.next_faults([Fault::Duplicated { times: 2 }]);
    let ids = world.deliver(&app, &event("b.csv", "1")).await;
    world.end_job("job-2", &JobStatus::Completed);
    tick(&world, &app, Duration::minutes(3)).await;
    let scored = world.get(&app, &ids[0]).await;
    assert_eq!(scored.status, Status::Scored);
    let index = state_rows(&world, "T~").await;
    world.scan_every(Duration::minutes(10));
    let app = world.app();
    assert_eq!(tick(&world, &app, Duration::hours(2)).await.orphaned_jobs, 1);
    assert!(running(&world).is_empty());
    let after = world.get(&app, &ids[0]).await;
    assert_eq!((after.status, after.completed, after.orphaned_job_count), (Status::Scored, scored.completed, 1));
    assert_eq!(state_rows(&world, "T~").await, index, "the index of what is final is as it was");
    assert!(state_rows(&world, "F~").await.is_empty());
}

#[tokio::test]
async fn an_orphaned_job_that_could_not_be_asked_to_stop_is_asked_again_and_counted_once() {
    let world = orphan_scan();
    let app = world.app();
    world.next_faults([Fault::Duplicated { times: 2 }]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    world.fail_cancels(1);
    assert_eq!(tick(&world, &app, Duration::minutes(1)).await.orphaned_jobs, 1);
    assert_eq!(running(&world).len(), 2);
    assert_eq!(tick(&world, &app, Duration::minutes(10)).await.orphaned_jobs, 0);
    assert_eq!(running(&world), ["job-2"]);
    assert_eq!(world.get(&app, &ids[0]).await.orphaned_job_count, 1);
}

#[tokio::test]
async fn orphaned_jobs_of_one_scoring_that_turn_up_together_are_all_counted() {
    // Each is recorded in the scoring's row, and between reading it and writing it others come to their turn.
    let world = World::on(Yielding::store(), RULE);
    world.scan_every(Duration::minutes(10));
    let app = world.app();
    world.hide_new_jobs(true);
    world.next_faults([Fault::LostAnswer { times: 30 }]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    for _ in 0..3 {
        tick(&world, &app, Duration::minutes(16)).await;
    }
    assert_eq!(world.get(&app, &ids[0]).await.submits, 2);
    world.hide_new_jobs(false);
    // Older than what any later orphan scan looks back to.
    world.later(Duration::hours(3));
    assert_eq!(tick(&world, &app, Duration::minutes(10)).await.orphaned_jobs, 30);
    assert_eq!((world.get(&app, &ids[0]).await.orphaned_job_count, running(&world).len()), (30, 1));
}

#[tokio::test]
async fn jobs_for_whose_names_the_row_has_no_room_are_remembered_all_the_same() {
    let world = orphan_scan();
    let app = world.app();
    world.next_faults([Fault::LostAnswer { times: 130 }]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    tick(&world, &app, Duration::minutes(3)).await;
    let scoring = world.get(&app, &ids[0]).await;
    assert_eq!((scoring.status, scoring.orphaned_job_count, scoring.orphaned_jobs.len()), (Status::Running, 129, 129));
    assert_eq!(running(&world).len(), 1);
    assert_eq!(state_rows(&world, "N~").await.len(), 3, "89 names, forty to a row");
    // Another process, which has seen none of them: all are listed, and none is counted again.
    let other = world.app();
    for _ in 0..3 {
        assert_eq!(tick(&world, &other, Duration::minutes(10)).await.orphaned_jobs, 0);
    }
    assert_eq!(world.get(&other, &ids[0]).await.version, scoring.version);
    world.end_jobs(&JobStatus::Completed);
    world.tick_until_final(&other, 4).await;
    assert_eq!(world.get(&other, &ids[0]).await.orphaned_jobs.len(), 129);
    assert_eq!(other.ledger().purge(world.now() + Duration::days(90), 1_000).await.unwrap(), 1);
    assert_eq!((state_rows(&world, "N~").await.len(), state_rows(&world, "J~").await.len()), (0, 0));
}

#[tokio::test]
async fn how_far_a_scan_came_by_a_clock_that_was_ahead_hides_no_job() {
    let world = orphan_scan();
    let app = world.app();
    world.next_faults([Fault::Duplicated { times: 2 }]);
    world.deliver(&app, &event("a.csv", "1")).await;
    let endpoint = "https://heart.example/jobs".parse().unwrap();
    // Ended long ago, by what it says, and saw all jobs that will be made within a year.
    let scan = OrphanScan { at: START - Duration::days(1), through: START + Duration::days(365) };
    app.ledger().record_orphan_scan(&endpoint, scan).await.unwrap();
    assert_eq!(tick(&world, &app, Duration::minutes(10)).await.orphaned_jobs, 1);
    // The same of when it was.
    let scan = OrphanScan { at: START + Duration::days(365), through: START };
    app.ledger().record_orphan_scan(&endpoint, scan).await.unwrap();
    let before = world.orphan_scans().len();
    tick(&world, &world.app(), Duration::minutes(10)).await;
    assert_eq!(world.orphan_scans().len(), before + 1);
}

#[tokio::test]
async fn every_line_about_an_answer_names_the_services_own_id_of_it() {
    let world = World::with_rules(
        r#"{"rules":[{"id":"claims","match":{"container":"claims"},"jobTimeout":"PT1H",
        "endpoint":{"uri":"https://heart.example/jobs"},"maxAttempts":1}]}"#,
    );
    world.scan_every(Duration::minutes(10));
    let app = world.app();
    world.next_faults([Fault::LostAnswer { times: 2 }]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    tick(&world, &app, Duration::minutes(3)).await;
    world.fail_cancels(1);
    tick(&world, &app, Duration::minutes(90)).await;
    tick(&world, &app, Duration::minutes(6)).await;
    world.end_jobs(&JobStatus::Canceled);
    tick(&world, &app, Duration::minutes(6)).await;
    let id = lifecycle::ScoringId::read(&ids[0]).unwrap();
    let entries = app.ledger().entries(&id).await.unwrap();
    let lines: Vec<(String, &str)> = entries
        .iter()
        .map(|entry| {
            let event = entry.event.map_or("", lifecycle::Event::name).to_owned();
            (event, entry.request_id.as_deref().map_or("", |id| id.split('-').next().unwrap_or_default()))
        })
        .collect();
    let expected = [
        ("", ""),
        ("slotFree", ""),
        ("answerLost", "post"),
        ("foundSeveral", "search"),
        ("cancelAnswered", "cancel"),
        ("jobStuck", "poll"),
        ("cancelAnswered", "cancel"),
        ("jobStuck", "poll"),
        ("cancelAnswered", "cancel"),
        ("lastAttemptFailed", "poll"),
    ];
    assert_eq!(lines, expected.map(|(event, id)| (event.to_owned(), id)));
}

#[tokio::test]
async fn an_orphaned_job_that_does_not_listen_is_told_to_stop_however_old_it_is() {
    let world = orphan_scan();
    let app = world.app();
    world.next_faults([Fault::Duplicated { times: 2 }]);
    world.deliver(&app, &event("a.csv", "1")).await;
    // The timer did not fire for long: the job is older than what the next orphan scan would look back to.
    world.fail_cancels(1);
    assert_eq!(tick(&world, &app, Duration::hours(3)).await.orphaned_jobs, 1);
    assert_eq!(running(&world).len(), 2);
    tick(&world, &world.app(), Duration::minutes(10)).await;
    assert_eq!(running(&world), ["job-2"]);
}

thread_local! {
    /// The log of this thread, hence of one test.
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes to the log of the thread that logs.
struct ThreadLog;

impl Write for ThreadLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins this test's log, shaped as the handler's own. One subscriber for the process, never one per test: what `tracing`
/// remembers of a call site counts for all threads, and a test without a subscriber would switch the warning off for the
/// others.
fn keep_log() {
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| {
        let log = tracing_subscriber::fmt().json().flatten_event(true).with_max_level(Level::WARN);
        tracing::subscriber::set_global_default(log.with_writer(|| ThreadLog).finish()).unwrap();
    });
    LOG.take();
}

/// What `infra/queries/alert-orphaned-jobs.kql` counts.
fn records_of_orphaned_jobs() -> Vec<Value> {
    let text = String::from_utf8(LOG.with_borrow(Clone::clone)).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let said = |record: &Value| record["message"].as_str().is_some_and(|said| said.starts_with("orphaned job"));
    records.filter(|record| record["level"] == "WARN" && said(record)).collect()
}

/// An alert is raised by this record, and its reader has nothing else to go by.
#[tokio::test]
async fn an_orphaned_job_is_told_to_operators_once_and_again_while_it_runs_on() {
    let world = orphan_scan();
    let app = world.app();
    world.next_faults([Fault::Duplicated { times: 2 }]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    world.fail_cancels(1);
    keep_log();
    tick(&world, &app, Duration::minutes(10)).await;
    let records_of_jobs = records_of_orphaned_jobs();
    assert_eq!(records_of_jobs.len(), 1, "{records_of_jobs:?}");
    let orphaned_job = records_of_jobs[0]["job"].as_str().unwrap();
    assert_eq!(world.get(&app, &ids[0]).await.orphaned_jobs, [orphaned_job]);
    let scoring = world.get(&app, &ids[0]).await;
    for (member, value) in [("scoring", ids[0].as_str()), ("rule", "claims"), ("endpoint", &*scoring.endpoint)] {
        assert_eq!(records_of_jobs[0][member], value, "{member}");
    }
    assert!(records_of_jobs[0]["reason"].as_str().unwrap().contains("is not needed"), "{}", records_of_jobs[0]);
    tick(&world, &app, Duration::minutes(10)).await;
    let records_of_jobs = records_of_orphaned_jobs();
    assert_eq!(records_of_jobs.len(), 2, "it was not asked to stop yet: {records_of_jobs:?}");
    assert_eq!(
        (&records_of_jobs[1]["job"], &records_of_jobs[1]["reason"]),
        (&records_of_jobs[0]["job"], &"its cancellation was requested and it still runs".into())
    );
    tick(&world, &app, Duration::minutes(10)).await;
    assert_eq!(records_of_orphaned_jobs().len(), 2, "it was stopped");
}

/// The search for a lost job may find two.
#[tokio::test]
async fn an_orphaned_job_that_the_search_found_is_told_to_operators_too() {
    let world = World::new();
    let app = world.app();
    world.next_faults([Fault::LostAnswer { times: 2 }]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    keep_log();
    tick(&world, &app, Duration::minutes(2)).await;
    let orphaned_jobs = world.get(&app, &ids[0]).await.orphaned_jobs;
    assert_eq!(orphaned_jobs.len(), 1);
    let records_of_jobs = records_of_orphaned_jobs();
    assert_eq!(records_of_jobs.len(), 1, "{records_of_jobs:?}");
    assert_eq!(records_of_jobs[0]["job"], orphaned_jobs[0].as_str());
}

#[tokio::test]
async fn what_may_still_be_adopted_or_is_somebody_elses_is_not_touched() {
    let world = orphan_scan();
    let app = world.app();
    world.foreign_job("azureml://datastores/workspaceblobstore/paths/scorekeeper/claims/{id}/1/predictions.csv");
    world.foreign_job("azureml://datastores/workspaceblobstore/paths/notes.csv");
    world.next_faults([Fault::LostAnswer { times: 2 }]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    // The search for it is not due yet; the orphan scan comes first.
    let report = tick(&world, &app, Duration::seconds(5)).await;
    assert_eq!((report.orphaned_jobs, running(&world).len()), (0, 4));
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Unknown);
    tick(&world, &app, Duration::minutes(1)).await;
    assert_eq!(world.get(&app, &ids[0]).await.job.unwrap().name, "job-3", "the oldest of the two");
    assert_eq!(running(&world), ["job-1", "job-2", "job-3"]);
}

#[tokio::test]
async fn a_job_of_an_earlier_attempt_is_no_orphaned_job() {
    let world = orphan_scan();
    let app = world.app();
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    world.end_jobs(&JobStatus::Failed);
    for _ in 0..3 {
        tick(&world, &app, Duration::minutes(10)).await;
    }
    let scoring = world.get(&app, &ids[0]).await;
    assert_eq!((scoring.attempt, scoring.orphaned_job_count), (2, 0));
    assert_eq!(scoring.previous_jobs, ["job-1"]);
}

#[tokio::test]
async fn an_orphan_scan_begins_where_the_last_whole_one_ended_in_whatever_process() {
    let world = orphan_scan();
    let app = world.app();
    world.deliver(&app, &event("a.csv", "1")).await;
    tick(&world, &app, Duration::minutes(1)).await;
    let first = world.now();
    tick(&world, &app, Duration::minutes(1)).await;
    assert_eq!(world.orphan_scans().len(), 1, "not due");
    tick(&world, &world.app(), Duration::minutes(1)).await;
    assert_eq!(world.orphan_scans().len(), 1, "nor for another process");
    world.scans_show(0);
    assert_eq!(tick(&world, &app, Duration::minutes(10)).await.errors, 0, "what runs is known, so nothing is left out");
    world.next_faults([Fault::Duplicated { times: 2 }]);
    world.deliver(&app, &event("b.csv", "1")).await;
    let partial = world.now();
    assert_eq!(tick(&world, &app, Duration::minutes(10)).await.errors, 1, "not all was seen");
    world.scans_show(9);
    assert_eq!(tick(&world, &app, Duration::minutes(10)).await.orphaned_jobs, 1);
    let since: Vec<_> = world.orphan_scans().iter().map(|orphan_scan_interval| orphan_scan_interval.since).collect();
    let lag = Duration::hours(1);
    assert_eq!(since, [START + Duration::minutes(1) - Duration::days(1), first - lag, partial - lag, partial - lag]);
    let OrphanScanCall { scan_target, known, .. } = &world.orphan_scans()[3];
    assert_eq!(
        (scan_target.endpoint.as_str(), *known),
        ("https://heart.example/jobs", 2),
        "running jobs are not looked at"
    );
}

#[tokio::test]
async fn an_orphan_scan_that_cannot_look_says_so_and_is_made_up_for() {
    let world = orphan_scan();
    let app = world.app();
    world.next_faults([Fault::Duplicated { times: 2 }]);
    world.deliver(&app, &event("a.csv", "1")).await;
    world.blind(Some("403; the app's identity needs workspaces/jobs/read"));
    assert_eq!(tick(&world, &app, Duration::seconds(30)).await.errors, 2, "the look at the job, and the orphan scan");
    world.blind(None);
    assert_eq!(tick(&world, &app, Duration::minutes(10)).await.orphaned_jobs, 1);
}

#[tokio::test]
async fn a_refusal_counts_although_an_orphaned_job_was_found_meanwhile() {
    let world = World::new();
    world.scan_every(Duration::minutes(1));
    let app = world.app();
    // The first attempt makes two jobs, both fail; the second is refused while the orphan scan finds the first one's second.
    world.hide_new_jobs(true);
    world.next_faults([Fault::Duplicated { times: 2 }]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    world.end_job("job-2", &JobStatus::Failed);
    tick(&world, &app, Duration::minutes(3)).await;
    world.next_faults([Fault::Refused { permanent: true }]);
    let held = world.hold_next_post();
    let (slow, deadline) = (app.clone(), world.now() + Duration::hours(1));
    world.later(Duration::minutes(3));
    let sending = tokio::spawn(async move { slow.tick(deadline).await.unwrap() });
    held.waits.notified().await;
    world.hide_new_jobs(false);
    let other = world.app();
    assert_eq!(tick(&world, &other, Duration::minutes(1)).await.orphaned_jobs, 1);
    held.go.notify_one();
    sending.await.unwrap();
    let scoring = world.get(&app, &ids[0]).await;
    assert_eq!(scoring.status, Status::Failed, "{scoring:?}");
}

#[tokio::test]
async fn nothing_is_sent_while_nobody_can_look_and_all_goes_on_when_somebody_can() {
    let world = World::new();
    let app = world.app();
    world.next_faults([Fault::LostAnswer { times: 1 }, Fault::LostRequest]);
    let made = world.deliver(&app, &event("made.csv", "1")).await;
    let lost = world.deliver(&app, &event("lost.csv", "1")).await;
    world.blind(Some("403; the app's identity needs workspaces/jobs/read"));
    for _ in 0..20 {
        tick(&world, &app, Duration::minutes(5)).await;
    }
    for id in [&made[0], &lost[0]] {
        let scoring = world.get(&app, id).await;
        assert_eq!((scoring.status, scoring.submits), (Status::Held, 1));
        assert!(scoring.last_error.unwrap().contains("workspaces/jobs/read"));
    }
    world.blind(None);
    world.tick_until_final(&app, 8).await;
    assert_eq!(world.jobs().len(), 2);
    assert_eq!(world.statuses(&app).await[&Status::Scored], 2);
}

#[tokio::test]
async fn a_rule_may_leave_lost_submissions_to_a_person() {
    let world = World::with_rules(
        &json!({"rules": [{"id": "claims", "match": {"container": "claims"}, "onUnknown": "hold",
            "endpoint": {"uri": "https://heart.example/jobs"}}]})
        .to_string(),
    );
    let app = world.app();
    world.next_faults([Fault::LostRequest]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    for _ in 0..20 {
        tick(&world, &app, Duration::minutes(5)).await;
    }
    let scoring = world.get(&app, &ids[0]).await;
    assert_eq!((scoring.status, world.jobs().len()), (Status::Held, 0));
    let again = resolve(app.ledger(), &scoring.id, &resolved(Resolution::SendAgain), world.now()).await.unwrap();
    assert!(matches!(again, ResolveOutcome::Recorded { .. }));
    let twice = resolve(app.ledger(), &scoring.id, &resolved(Resolution::SendAgain), world.now()).await.unwrap();
    assert!(matches!(&twice, ResolveOutcome::Refused(why) if why.to_string().contains("queued")), "{twice:?}");
    world.tick_until_final(&app, 6).await;
    assert_eq!(world.jobs().len(), 1);
}
