//! The look at an input: what is gone, newer or the same content under another ETag, before a job, after a failed one, and
//! before an output is shown as scored.

use app::ledger::MAX_UNANNOUNCED;
use app::ports::Inconclusive;
use app::{App, AskOutcome};
use lifecycle::pending::{BlobSnapshot, CopyState};
use lifecycle::{JobStatus, Rules, Scoring, ScoringId, SeenVersion, Status, UnversionedBlob};
use serde_json::json;
use time::Duration;

use crate::support::world::{Fault, RULE, World, event};

const URL: &str = "https://uploads.blob.core.windows.net/claims/a.csv";

const ONE_AT_A_TIME: &str = r#"{"rules":[{"id":"claims","match":{"container":"claims"},
    "endpoint":{"uri":"https://heart.example/jobs"},"maxInFlight":1,"maxAttempts":2}]}"#;

fn put(world: &World, etag: &str, content: u64) {
    world.change_inputs(|inputs, now| inputs.put(URL, etag, content, true, now));
}

fn mark(world: &World) -> String {
    world.change_inputs(|inputs, now| inputs.mark(URL, now)).expect("it is there")
}

fn delete(world: &World) {
    world.change_inputs(|inputs, now| inputs.delete(URL, now));
}

async fn tick(world: &World, app: &App) {
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
}

/// A scoring of version 1, whose job runs.
async fn running(world: &World, app: &App) -> String {
    put(world, "1", 1);
    world.deliver(app, &event("a.csv", "1")).await.remove(0)
}

/// Ends all jobs, and lets the app see it.
async fn end(world: &World, app: &App, status: JobStatus) {
    world.later(Duration::minutes(3));
    world.end_jobs(&status);
    tick(world, app).await;
}

async fn all(app: &App) -> Vec<Scoring> {
    let mut all = Vec::new();
    let each = |scoring| {
        all.push(scoring);
        true
    };
    app.ledger().scorings(each).await.unwrap();
    all.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.blob.etag.cmp(&b.blob.etag)));
    all
}

fn by_etag(all: &[Scoring]) -> Vec<(&str, Status)> {
    all.iter().map(|scoring| (scoring.blob.etag.as_str(), scoring.status)).collect()
}

#[tokio::test]
async fn a_blob_that_is_gone_costs_no_job_on_the_event_path_and_no_slot() {
    let world = World::with_rules(ONE_AT_A_TIME);
    let app = world.app();
    put(&world, "1", 1);
    delete(&world);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    let scoring = world.get(&app, &ids[0]).await;
    assert_eq!((scoring.status, scoring.attempt, world.jobs().len()), (Status::Gone, 0, 0));
    assert_eq!(app.ledger().entries(&scoring.id).await.unwrap().len(), 2);
    assert!(app.ledger().in_flight().await.unwrap().is_empty());
    let other = world.deliver(&app, &event("b.csv", "1")).await;
    assert_eq!(world.get(&app, &other[0]).await.status, Status::Running, "the one slot is free");
}

#[tokio::test]
async fn a_blob_that_is_gone_when_its_turn_comes_costs_no_job_on_the_tick_path() {
    let world = World::with_rules(ONE_AT_A_TIME);
    let app = world.app();
    let first = world.deliver(&app, &event("b.csv", "1")).await;
    put(&world, "1", 1);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Queued);
    delete(&world);
    end(&world, &app, JobStatus::Completed).await;
    assert_eq!(world.get(&app, &first[0]).await.status, Status::Scored);
    tick(&world, &app).await;
    assert_eq!((world.get(&app, &ids[0]).await.status, world.jobs().len()), (Status::Gone, 1));
}

#[tokio::test]
async fn what_was_gone_is_scored_when_an_event_shows_that_version_again() {
    let world = World::with_rules(ONE_AT_A_TIME);
    let app = world.app();
    put(&world, "1", 1);
    delete(&world);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    // An old event, delivered again, shows nothing: the look does.
    app.accept(&event("a.csv", "1")).await.unwrap().submit().await;
    tick(&world, &app).await;
    assert_eq!((world.get(&app, &ids[0]).await.status, world.jobs().len()), (Status::Gone, 0));
    put(&world, "1", 1);
    app.accept(&event("a.csv", "1")).await.unwrap().submit().await;
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Queued);
    world.tick_until_final(&app, 10).await;
    let scoring = world.get(&app, &ids[0]).await;
    assert_eq!((scoring.status, world.jobs().len()), (Status::Scored, 1));
    assert!(scoring.completed.is_some() && app.ledger().in_flight().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_cannot_be_looked_at_waits_with_its_reason_and_without_its_slot() {
    let world = World::with_rules(ONE_AT_A_TIME);
    let app = world.app();
    world.blind_inputs(Some(Inconclusive::not_allowed("storage answered 403; grant Storage Blob Data Reader")));
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    let scoring = world.get(&app, &ids[0]).await;
    assert_eq!((scoring.status, scoring.attempt, world.jobs().len()), (Status::Queued, 0, 0));
    assert!(scoring.last_error.unwrap().contains("Storage Blob Data Reader"));
    assert!(scoring.due > world.now());
    let looks = world.input_looks();
    for _ in 0..60 {
        world.later(Duration::minutes(1));
        tick(&world, &app).await;
    }
    assert!((5..=20).contains(&(world.input_looks() - looks)), "{} looks in an hour", world.input_looks() - looks);
    world.blind_inputs(None);
    // The slot was given back each time: nobody has to free it.
    let other = world.deliver(&app, &event("b.csv", "1")).await;
    assert_eq!(world.get(&app, &other[0]).await.status, Status::Running);
    world.tick_until_final(&app, 20).await;
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Scored);
}

#[tokio::test]
async fn a_newer_version_is_on_record_before_the_older_ends_and_is_scored_once() {
    let world = World::new();
    let app = world.app();
    put(&world, "2", 2);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    assert_eq!(by_etag(&all(&app).await), [("1", Status::Queued)], "first of all it is on record itself");
    world.later(Duration::minutes(1));
    tick(&world, &app).await;
    let scorings = all(&app).await;
    assert_eq!(by_etag(&scorings), [("1", Status::Superseded), ("2", Status::Queued)]);
    assert_eq!(scorings[0].replaced_by.as_ref(), Some(&scorings[1].id));
    assert_eq!(scorings[0].id.as_str(), ids[0]);
    world.tick_until_final(&app, 10).await;
    assert!(world.deliver(&app, &event("a.csv", "2")).await.is_empty(), "its event is a repetition");
    assert_eq!((by_etag(&all(&app).await)[1], world.jobs().len()), (("2", Status::Scored), 1));
}

#[tokio::test]
async fn a_newer_version_that_cannot_be_recorded_leaves_the_older_one_waiting() {
    let world = World::new();
    let app = world.app();
    put(&world, "2", 2);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    world.later(Duration::minutes(1));
    // The count of unannounced versions is the first write after the one that the run begins.
    world.store.push(Fault::Pass);
    world.store.push(Fault::NotSent);
    tick(&world, &app).await;
    let scoring = world.get(&app, &ids[0]).await;
    assert_eq!((scoring.status, all(&app).await.len()), (Status::Queued, 1));
    assert!(scoring.last_error.unwrap().contains("was not recorded"));
    world.tick_until_final(&app, 10).await;
    let of_a: Vec<_> = all(&app).await.into_iter().filter(|scoring| scoring.blob.path == "a.csv").collect();
    assert_eq!(by_etag(&of_a), [("1", Status::Superseded), ("2", Status::Scored)]);
}

#[tokio::test]
async fn an_input_that_is_overwritten_while_its_job_runs_is_never_shown_as_scored() {
    let world = World::new();
    let app = world.app();
    let id = running(&world, &app).await;
    put(&world, "2", 2);
    end(&world, &app, JobStatus::Completed).await;
    let scoring = world.get(&app, &id).await;
    assert_eq!((scoring.status, scoring.output_bytes), (Status::Superseded, None));
    world.tick_until_final(&app, 10).await;
    assert_eq!(by_etag(&all(&app).await), [("1", Status::Superseded), ("2", Status::Scored)]);
}

#[tokio::test]
async fn a_job_that_failed_for_want_of_its_input_is_no_failed_attempt() {
    for (change, status) in [(delete as fn(&World), Status::Gone), (|world| put(world, "2", 2), Status::Superseded)] {
        let world = World::new();
        let app = world.app();
        let id = running(&world, &app).await;
        change(&world);
        end(&world, &app, JobStatus::Failed).await;
        let scoring = world.get(&app, &id).await;
        assert_eq!((scoring.status, scoring.attempt), (status, 1), "one attempt, although two are allowed");
        let breakers = app::reports::status(app.ledger(), world.now(), None).await.unwrap().breakers;
        assert!(breakers.is_empty(), "the deployment is not to blame: {breakers:?}");
    }
}

#[tokio::test]
async fn an_input_that_was_scored_and_then_deleted_stays_scored() {
    let world = World::new();
    let app = world.app();
    let id = running(&world, &app).await;
    // Its job has read it by then.
    world.later(Duration::minutes(2));
    delete(&world);
    end(&world, &app, JobStatus::Completed).await;
    assert_eq!(world.get(&app, &id).await.status, Status::Scored);
}

#[tokio::test]
async fn a_mark_by_metadata_joins_the_scoring_and_so_does_its_event() {
    let world = World::new();
    let app = world.app();
    let id = running(&world, &app).await;
    let marked = mark(&world);
    end(&world, &app, JobStatus::Completed).await;
    let scoring = world.get(&app, &id).await;
    assert_eq!((scoring.status, scoring.aliases.as_slice()), (Status::Scored, &[marked.clone()][..]));
    assert!(world.deliver(&app, &event("a.csv", &marked)).await.is_empty(), "its event joins");
    world.tick_until_final(&app, 5).await;
    let scorings = all(&app).await;
    assert_eq!(by_etag(&scorings), [("1", Status::Scored), (marked.as_str(), Status::Superseded)]);
    assert_eq!((scorings[1].replaced_by.as_ref(), world.jobs().len()), (Some(&scoring.id), 1));
}

#[tokio::test]
async fn a_mark_of_what_is_scored_is_not_scored_again_by_a_replay_and_another_content_is() {
    let world = World::new();
    let app = world.app();
    let id = running(&world, &app).await;
    end(&world, &app, JobStatus::Completed).await;
    let blob = UnversionedBlob::read(URL).unwrap();
    let replay = async |etag: &str| {
        world.uploaded(|uploaded| uploaded.put_version(&blob, etag, 12));
        app::replay(app.ledger(), blob.clone(), "ann", "is it in?", world.now()).await.unwrap();
        world.tick_until_final(&app, 6).await;
    };
    let marked = mark(&world);
    replay(&marked).await;
    let scorings = all(&app).await;
    assert_eq!(by_etag(&scorings), [("1", Status::Scored), (marked.as_str(), Status::Superseded)]);
    assert_eq!((scorings[1].replaced_by.as_ref().map(ScoringId::as_str), world.jobs().len()), (Some(id.as_str()), 1));
    put(&world, "2", 2);
    replay("2").await;
    assert_eq!((all(&app).await[2].status, world.jobs().len()), (Status::Scored, 2));
}

#[tokio::test]
async fn what_was_marked_since_is_scored_once_more_as_the_generation_that_was_ordered() {
    let world = World::new();
    let app = world.app();
    let id = running(&world, &app).await;
    end(&world, &app, JobStatus::Completed).await;
    let scored = world.get(&app, &id).await;
    mark(&world);
    assert_eq!(
        app::rescore(app.ledger(), &scored, "ann", "model v8", world.now()).await.unwrap(),
        AskOutcome::Recorded
    );
    world.tick_until_final(&app, 6).await;
    let scorings = all(&app).await;
    let by_generation: Vec<_> = scorings.iter().map(|scoring| (scoring.generation, scoring.status)).collect();
    assert!(by_generation.contains(&(1, Status::Scored)), "{by_generation:?}");
    let times = by_generation.iter().filter(|(_, status)| *status == Status::Scored).count();
    assert_eq!((times, world.jobs().len()), (2, 2), "{by_generation:?}");
}

/// What is at the path of a scoring by a mark of its upload, taken in by a look or a replay that knew nothing of its content.
async fn taken_in_beside(world: &World, app: &App, id: &str) -> Scoring {
    let scoring = world.get(app, id).await;
    let seen = SeenVersion { etag: mark(world), content: scoring.input.clone().unwrap() };
    let ledger = app.ledger();
    let rules = Rules::read(RULE).unwrap();
    let rule = rules.iter().next().unwrap();
    let mut marked = scoring.of_version(ledger.id().await.unwrap(), rule, &seen, world.now());
    marked.in_place_of = Some(scoring.id.clone());
    ledger
        .accept(&marked, &[marked.accepted_entry("a look found it".to_owned())], &app::ledger::Announced::default())
        .await
        .unwrap();
    marked
}

/// One process looked at version 1 and fell asleep, another one found the marked version and took it in; then the first went on.
#[tokio::test]
async fn a_version_that_a_look_took_in_is_not_scored_if_its_content_is_after_all() {
    let world = World::new();
    let app = world.app();
    let id = running(&world, &app).await;
    let marked = taken_in_beside(&world, &app, &id).await;
    tick(&world, &app).await;
    let marked = world.get(&app, &marked.id).await;
    assert_eq!(
        (marked.status, marked.replaced_by.as_ref().map(ScoringId::as_str)),
        (Status::Superseded, Some(id.as_str()))
    );
    assert_eq!(world.jobs().len(), 1);
}

/// What is marked once more before the first mark was looked at: nothing is known of the content of either.
#[tokio::test]
async fn a_mark_of_a_mark_is_not_scored_if_the_upload_was() {
    let world = World::new();
    let app = world.app();
    let id = running(&world, &app).await;
    end(&world, &app, JobStatus::Completed).await;
    let first = taken_in_beside(&world, &app, &id).await;
    let again = mark(&world);
    world.uploaded(|uploaded| uploaded.put_version(&UnversionedBlob::read(URL).unwrap(), &again, 12));
    world.tick_until_final(&app, 6).await;
    let scorings = all(&app).await;
    let ends: Vec<_> = by_etag(&scorings);
    assert_eq!(ends, [("1", Status::Scored), (&first.blob.etag, Status::Superseded), (&again, Status::Superseded)]);
    let by = |at: usize| scorings[at].replaced_by.as_ref().map(ScoringId::as_str);
    assert_eq!((by(1), by(2)), (Some(scorings[2].id.as_str()), Some(id.as_str())));
    assert_eq!(world.jobs().len(), 1, "the content was scored as the upload");
}

#[tokio::test]
async fn two_events_of_one_content_in_the_queue_make_one_job() {
    let world = World::with_rules(ONE_AT_A_TIME);
    let app = world.app();
    // Version 1 was looked at, and refused by the endpoint for now.
    put(&world, "1", 1);
    world.next_faults([Fault::Refused { permanent: false }]);
    world.deliver(&app, &event("a.csv", "1")).await;
    put(&world, "2", 1);
    app.accept(&event("a.csv", "2")).await.unwrap().into_parts().1.len();
    world.tick_until_final(&app, 20).await;
    let scorings = all(&app).await;
    let scored = scorings.iter().filter(|scoring| scoring.status == Status::Scored).count();
    assert_eq!((scored, world.jobs().len()), (1, 1), "{:?}", by_etag(&scorings));
}

#[tokio::test]
async fn a_writer_that_never_rests_is_scored_three_times_an_hour_without_events() {
    let world = World::new();
    let app = world.app();
    put(&world, "0", 0);
    world.deliver(&app, &event("a.csv", "0")).await;
    let (mut jobs, mut versions) = (Vec::new(), Vec::new());
    for n in 1..=120 {
        // Always another content by the time that its job ended.
        put(&world, &n.to_string(), n);
        world.later(Duration::minutes(1));
        world.end_jobs(&JobStatus::Completed);
        tick(&world, &app).await;
        if n % 60 == 0 {
            jobs.push(world.jobs().len());
            versions.push(all(&app).await.len());
        }
    }
    let unannounced = MAX_UNANNOUNCED;
    assert!(jobs[0] <= 1 + unannounced && jobs[1] <= 1 + 2 * unannounced, "{jobs:?}");
    assert_eq!(versions, [1 + unannounced, 1 + 2 * unannounced], "and it goes on");
    let waiting: Vec<_> = all(&app).await.into_iter().filter(|scoring| !scoring.status.is_terminal()).collect();
    assert!(waiting.iter().all(|scoring| scoring.last_error.is_some() || scoring.job.is_some()), "{waiting:?}");
}

#[tokio::test]
async fn a_rule_that_does_not_verify_costs_no_look() {
    let rules = ONE_AT_A_TIME.replace("\"maxInFlight\":1", "\"verifyInput\":false");
    let world = World::with_rules(&rules);
    let app = world.app();
    let id = running(&world, &app).await;
    put(&world, "2", 2);
    end(&world, &app, JobStatus::Completed).await;
    assert_eq!((world.get(&app, &id).await.status, world.input_looks()), (Status::Scored, 0));
}

#[tokio::test]
async fn an_event_costs_one_look_and_a_scoring_two() {
    let world = World::new();
    let app = world.app();
    running(&world, &app).await;
    assert_eq!(world.input_looks(), 1);
    end(&world, &app, JobStatus::Completed).await;
    assert_eq!(world.input_looks(), 2);
}

#[tokio::test]
async fn events_of_other_hosts_are_skipped_with_that_reason_and_nobody_is_asked() {
    let world = World::new();
    let app = world.app();
    for host in ["evil.example", "uploads.blob.core.windows.net.evil.example", "127.0.0.1/uploads"] {
        let mut one = event("a.csv", "1");
        one["data"]["url"] = json!(format!("https://{host}/claims/a.csv"));
        let delivery = app.accept(&one).await.unwrap();
        assert_eq!((delivery.accepted.skipped, delivery.accepted.accepted.len()), (1, 0), "{host}");
        delivery.submit().await;
    }
    assert_eq!((world.input_looks(), world.jobs().len(), all(&app).await.len()), (0, 0, 0));
    let since = world.now() - Duration::days(1);
    let skipped = app.ledger().recorded_events(app::ledger::RecordedEvent::Skipped, since, 10).await.unwrap();
    let reasons: Vec<_> = skipped.iter().filter_map(|row| row.string("Reason")).collect();
    assert!(reasons.iter().any(|reason| reason.contains("`evil.example` is not a storage host")), "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_is_not_begun_once_half_of_its_lease_is_over() {
    let world = World::new();
    let app = world.app();
    let (_, submissions) = app.accept(&event("a.csv", "1")).await.unwrap().into_parts();
    // The wall clock stands still, as if it had been set back; the other one goes on.
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    submissions.send().await;
    assert_eq!(world.jobs().len(), 0);
    let scoring = all(&app).await.remove(0);
    assert_eq!(scoring.status, Status::Queued);
    assert!(scoring.last_error.unwrap().contains("lease"));
}

#[tokio::test]
async fn an_event_that_comes_again_takes_no_marked_version_in() {
    let world = World::new();
    let app = world.app();
    let id = running(&world, &app).await;
    end(&world, &app, JobStatus::Completed).await;
    mark(&world);
    assert!(world.deliver(&app, &event("a.csv", "1")).await.is_empty(), "a repetition");
    world.tick_until_final(&app, 5).await;
    assert_eq!((all(&app).await.len(), world.get(&app, &id).await.status), (1, Status::Scored));
    assert_eq!(world.jobs().len(), 1);
}

#[tokio::test]
async fn what_was_gone_is_scored_when_a_look_for_another_shows_that_version_again() {
    let world = World::new();
    let app = world.app();
    // Version 2 is taken in as it lies there for version 1, and is gone before its own turn.
    put(&world, "2", 2);
    world.deliver(&app, &event("a.csv", "1")).await;
    world.later(Duration::minutes(1));
    tick(&world, &app).await;
    delete(&world);
    world.later(Duration::minutes(1));
    tick(&world, &app).await;
    assert_eq!(by_etag(&all(&app).await), [("1", Status::Superseded), ("2", Status::Gone)]);
    // It is put back, and a third version's event comes: nobody tells of version 2 but the look for version 3.
    put(&world, "2", 2);
    world.deliver(&app, &event("a.csv", "3")).await;
    world.tick_until_final(&app, 10).await;
    let scorings = all(&app).await;
    let ends: Vec<_> = by_etag(&scorings);
    assert_eq!(ends, [("1", Status::Superseded), ("2", Status::Scored), ("3", Status::Superseded)]);
    assert_eq!(world.jobs().len(), 1);
}

#[tokio::test]
async fn a_newer_version_that_the_rule_does_not_want_is_not_scored() {
    let world = World::with_rules(
        r#"{"rules":[{"id":"claims","match":{"container":"claims","maxBytes":1000},"endpoint":{"uri":"https://heart.example/jobs"}}]}"#,
    );
    let app = world.app();
    world.change_inputs(|inputs, now| inputs.put(URL, "2", 5_000, true, now));
    let mut small = event("a.csv", "1");
    small["data"]["contentLength"] = json!(10);
    world.deliver(&app, &small).await;
    world.tick_until_final(&app, 10).await;
    assert_eq!((world.jobs().len(), all(&app).await.len()), (0, 1), "{:?}", by_etag(&all(&app).await));
}

#[tokio::test]
async fn a_renamed_folder_of_another_host_is_skipped_and_nobody_is_asked() {
    let world = World::new();
    let app = world.app();
    let mut one = event("a.csv", "1");
    one["eventType"] = json!("Microsoft.Storage.DirectoryRenamed");
    one["subject"] = json!("/blobServices/default/containers/claims/blobs/day");
    one["data"] = json!({ "api": "RenameDirectory", "sourceUrl": "https://evil.example/claims/_temporary/day",
        "destinationUrl": "https://evil.example/claims/day" });
    let delivery = app.accept(&one).await.unwrap();
    assert_eq!((delivery.accepted.skipped, delivery.accepted.pending), (1, 0));
    delivery.submit().await;
}

/// Writes a version of which the storage shows this, too.
fn put_shown(world: &World, etag: &str, content: u64, change: impl FnOnce(&mut BlobSnapshot)) {
    put(world, etag, content);
    let blob = UnversionedBlob::read(URL).unwrap();
    world.uploaded(|uploaded| {
        uploaded.put_version(&blob, etag, 524_288);
        uploaded.change(&blob, change);
    });
}

/// A version that waits for the one slot of its rule.
async fn behind_another(world: &World, app: &App) -> String {
    world.deliver(app, &event("other.csv", "1")).await;
    put(world, "1", 1);
    world.deliver(app, &event("a.csv", "1")).await.remove(0)
}

fn jobs_of(world: &World, path: &str) -> usize {
    world.jobs().iter().filter(|job| job.path == path).count()
}

#[tokio::test]
async fn what_no_job_can_read_yet_waits_with_its_reason_whichever_version_it_is() {
    for (etag, content) in [("1", 1), ("2", 2)] {
        for (archived, copy, why) in
            [(true, CopyState::Whole, "archive tier"), (false, CopyState::Pending, "a copy into it is under way")]
        {
            let case = format!("version {etag}: {why}");
            let world = World::with_rules(ONE_AT_A_TIME);
            let app = world.app();
            let id = behind_another(&world, &app).await;
            put_shown(&world, etag, content, |shown| (shown.archived, shown.copy) = (archived, copy.clone()));
            end(&world, &app, JobStatus::Completed).await;
            let waits = world.get(&app, &id).await;
            assert_eq!((waits.status, jobs_of(&world, "a.csv")), (Status::Queued, 0), "{case}");
            assert!(waits.last_error.as_deref().is_some_and(|error| error.contains(why)), "{case}: {waits:?}");
            put_shown(&world, etag, content, |_| {});
            world.tick_until_final(&app, 20).await;
            let last = all(&app).await.into_iter().rfind(|scoring| scoring.blob.path == "a.csv").unwrap();
            assert_eq!((last.blob.etag.as_str(), last.status), (etag, Status::Scored), "{case}");
            assert_eq!(jobs_of(&world, "a.csv"), 1, "{case}");
        }
    }
}

/// A writer of a rule that waits for rest goes on while the job of what had rested runs.
#[tokio::test]
async fn a_newer_version_that_no_event_told_of_is_scored_when_it_rests() {
    let rules = r#"{"rules":[{"id":"claims","match":{"container":"claims"},"endpoint":{"uri":"https://heart.example/jobs"},
        "complete":{"unchangedFor":"PT10M"}}]}"#;
    let world = World::with_rules(rules);
    let app = world.app();
    put(&world, "1", 1);
    world.deliver(&app, &event("a.csv", "1")).await;
    let minutes = async |minutes: i64| {
        for _ in 0..minutes {
            world.later(Duration::MINUTE);
            tick(&world, &app).await;
        }
    };
    minutes(13).await;
    assert_eq!(by_etag(&all(&app).await), [("1", Status::Running)]);
    for n in 0..4 {
        put(&world, &format!("grows-{n}"), 10 + n);
        world.end_jobs(&JobStatus::Completed);
        minutes(6).await;
        assert_eq!(by_etag(&all(&app).await), [("1", Status::Verifying)], "it grows, and nothing follows for it");
    }
    minutes(60).await;
    world.end_jobs(&JobStatus::Completed);
    minutes(60).await;
    assert_eq!(by_etag(&all(&app).await), [("1", Status::Superseded), ("grows-3", Status::Scored)]);
    assert_eq!(world.jobs().len(), 2);
}

#[tokio::test]
async fn a_newer_version_of_a_kind_that_is_not_scored_has_no_scoring() {
    let world = World::with_rules(ONE_AT_A_TIME);
    let app = world.app();
    let id = behind_another(&world, &app).await;
    put_shown(&world, "2", 2, |shown| shown.kind = lifecycle::pending::BlobKind::Append);
    end(&world, &app, JobStatus::Completed).await;
    world.tick_until_final(&app, 20).await;
    let ended = world.get(&app, &id).await;
    assert!(ended.status == Status::Superseded && ended.replaced_by.is_none(), "{ended:?}");
    let told = app.ledger().entries(&ended.id).await.unwrap().last().unwrap().reason.clone();
    assert!(told.contains("it is an append blob"), "{told}");
    assert_eq!((all(&app).await.len(), jobs_of(&world, "a.csv")), (2, 0));
}
