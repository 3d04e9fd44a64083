//! Outputs that lie where uploads are watched for: whatever is written there, nothing is scored twice.

use app::ports::table_store::{Op, TableStore as _};
use lifecycle::{JobStatus, Rules, Status};
use serde_json::json;
use time::Duration;

use super::renames::{jobs, put, renamed, skips, tick};
use crate::support::world::{World, event};

fn rules(folder: &str) -> String {
    json!({"rules": [{"id": "loop", "match": {"container": "claims"}, "endpoint": {"uri": "https://heart.example/jobs"},
        "outputs": {"charts": {"type": "UriFolder", "uri": format!("azureml://datastores/claims/paths/{folder}/{{scoring.id}}/{{attempt}}/charts")}}}]})
    .to_string()
}

/// Ends all jobs and tells of the files that they wrote, and of those beside them, as Event Grid does.
async fn tell_of_outputs(world: &World, app: &app::App) {
    world.later(Duration::minutes(3));
    world.end_jobs(&JobStatus::Completed);
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    for job in world.jobs() {
        for output in job.submission.outputs.values() {
            let path = output.uri.split_once("/paths/").unwrap().1;
            for written in [format!("{path}/a.png"), format!("{path}/x/y.csv"), format!("{path}.meta")] {
                world.deliver(app, &event(&written, "0x9")).await;
            }
        }
    }
}

#[tokio::test]
async fn a_folder_output_in_a_watched_container_starts_nothing() {
    let world = World::with_rules(&rules("p"));
    let app = world.app();
    world.deliver(&app, &event("in.csv", "1")).await;
    for _ in 0..4 {
        tell_of_outputs(&world, &app).await;
    }
    assert_eq!(world.jobs().len(), 1);
}

/// Uploads of people have checksums in their paths; a rule may put the path of the upload before the id.
#[tokio::test]
async fn outputs_are_ours_however_many_other_ids_stand_in_their_path() {
    let rule = json!({"id": "claims", "match": {"container": "claims"}, "endpoint": {"uri": "https://heart.example/jobs"},
        "outputs": {"score": {"type": "UriFile", "uri": "azureml://datastores/claims/paths/{blob.path}/{scoring.id}/{attempt}/p.csv"}}});
    let world = World::with_rules(&json!({ "rules": [rule] }).to_string());
    let app = world.app();
    let checksums: Vec<String> = (0..12).map(|n| format!("{n:064x}")).collect();
    world.deliver(&app, &event(&format!("{}/a.csv", checksums.join("/")), "1")).await;
    for _ in 0..3 {
        tell_of_outputs(&world, &app).await;
    }
    assert_eq!(world.jobs().len(), 1);
}

/// Copies of groups, and what `scorekeeper doctor` writes to try whether any can be made: also when no group of theirs is known.
#[tokio::test]
async fn what_lies_below_the_ledgers_own_id_starts_nothing() {
    let world = World::with_rules(&rules("p"));
    let app = world.app();
    let ledger = app.ledger().id().await.unwrap().clone();
    let of = |ledger: &str| format!("{ledger}/0123456789abcdef0123456789abcdef/files/doctor.json");
    world.deliver(&app, &event(&of(&ledger), "1")).await;
    assert_eq!(world.jobs().len(), 0);
    let reasons = skips(&world, &app).await;
    assert!(
        matches!(reasons.as_slice(), [(_, why)] if why.contains("one of the copies of this ledger's groups")),
        "{reasons:?}"
    );
    let others = "f".repeat(32);
    world.deliver(&app, &event(&of(&others), "1")).await;
    assert_eq!(world.jobs().len(), 1, "those of another installation are its uploads");
}

/// Only the ledger knows what it handed out: a path of the same shape is somebody's upload.
#[tokio::test]
async fn an_upload_in_the_shape_of_an_output_is_scored() {
    let rule = json!({"id": "claims", "match": {"container": "claims"}, "endpoint": {"uri": "https://heart.example/jobs"},
        "outputs": {"score": {"type": "UriFile", "uri": "azureml://datastores/claims/paths/out/{scoring.id}/{attempt}.csv"}}});
    let world = World::with_rules(&json!({ "rules": [rule] }).to_string());
    let app = world.app();
    world.deliver(&app, &event("out/0123456789abcdef0123456789abcdef/2024.csv", "1")).await;
    assert_eq!(world.jobs().len(), 1);
}

/// The same for what comes to such a path by another name, alone or with its folder. Of an event that is older than what the
/// ledger surely remembers the rules of today are all that is left to go by.
#[tokio::test]
async fn an_upload_renamed_into_an_outputs_shape_is_scored_unless_its_event_is_old() {
    let rule = json!({"id": "claims", "match": {"container": "claims"}, "endpoint": {"uri": "https://heart.example/jobs"},
        "outputs": {"score": {"type": "UriFolder", "uri": "azureml://datastores/claims/paths/{blob.folder}/{scoring.id}/{attempt}"}}});
    let folder = "cases/0123456789abcdef0123456789abcdef/2024";
    let path = format!("{folder}/x.csv");
    for (kind, from, to) in [
        ("BlobRenamed", format!("{path}.filepart"), path.clone()),
        ("BlobRenamed", "upload.tmp".to_owned(), path.clone()),
        ("DirectoryRenamed", format!("_temporary/{folder}"), folder.to_owned()),
        ("DirectoryRenamed", "staging".to_owned(), "cases".to_owned()),
    ] {
        for (at, expected) in [("2026-07-20T10:00:00Z", vec![path.clone()]), ("2026-07-01T10:00:00Z", vec![])] {
            let world = World::with_rules(&json!({ "rules": [rule] }).to_string());
            let app = world.app();
            put(&world, &path, "1", 5);
            let mut event = renamed(kind, &from, &to);
            event["eventTime"] = json!(at);
            world.deliver(&app, &event).await;
            tick(&world, &app, Duration::minutes(1)).await;
            assert_eq!(jobs(&world), expected, "{kind} {from}, {at}: {:?}", skips(&world, &app).await);
        }
    }
}

/// Where the id is in the file's own name, nothing but the path that was handed out tells whose it is.
#[tokio::test]
async fn the_file_of_an_attempt_that_failed_is_an_output_while_the_next_attempt_waits() {
    let rule = |template: &str| {
        let rule = json!({"id": "claims", "match": {"container": "claims"}, "endpoint": {"uri": "https://heart.example/jobs"},
            "retryBackOff": "PT30M",
            "outputs": {"score": {"type": "UriFile", "uri": format!("azureml://datastores/claims/paths/{template}")}}});
        json!({ "rules": [rule] }).to_string()
    };
    let mut world = World::with_rules(&rule("out/x-{scoring.id}-{attempt}.csv"));
    let app = world.app();
    let id = world.deliver(&app, &event("in.csv", "1")).await.remove(0);
    world.end_jobs(&JobStatus::Failed);
    tick(&world, &app, Duration::minutes(3)).await;
    let scoring = world.get(&app, &id).await;
    assert_eq!((scoring.status, scoring.attempt), (Status::Queued, 1));
    let first = format!("out/x-{id}-1.csv");
    assert!(world.deliver(&app, &event(&first, "9")).await.is_empty());
    // Also after the rule says something else, and the next attempt has its own path.
    world.rules = Rules::read(&rule("new/{scoring.id}-{attempt}.csv")).unwrap();
    let app = world.app();
    tick(&world, &app, Duration::minutes(45)).await;
    assert_eq!(world.get(&app, &id).await.attempt, 2);
    for path in [first, format!("new/{id}-2.csv")] {
        assert!(world.deliver(&app, &event(&path, "10")).await.is_empty(), "{path}");
    }
    assert_eq!(world.deliver(&app, &event(&format!("out/y-{id}-1.csv"), "11")).await.len(), 1, "a neighbour");
}

#[tokio::test]
async fn outputs_of_a_rule_that_was_changed_since_start_nothing() {
    let mut world = World::with_rules(&rules("p"));
    world.deliver(&world.app(), &event("in.csv", "1")).await;
    world.rules = Rules::read(&rules("elsewhere")).unwrap();
    for _ in 0..4 {
        tell_of_outputs(&world, &world.app()).await;
    }
    assert_eq!(world.jobs().len(), 1);
}

#[tokio::test]
async fn an_upload_without_an_id_in_its_path_costs_no_read() {
    let world = World::with_rules(&rules("p"));
    let app = world.app();
    world.deliver(&app, &event("in.csv", "1")).await;
    let before = world.store.calls().reads;
    world.deliver(&app, &event("eu/2026/report-0123456789abcdef.csv", "1")).await;
    assert_eq!(world.store.calls().reads, before);
    world.deliver(&app, &event("eu/0123456789abcdef0123456789abcdef.csv", "1")).await;
    assert_eq!(world.store.calls().reads, before + 1);
}

/// To score what may be an output is worse than to skip what lies beside one.
#[tokio::test]
async fn what_names_a_scoring_whose_row_cannot_be_read_counts_as_its_output() {
    let world = World::with_rules(&rules("p"));
    let app = world.app();
    let id = world.deliver(&app, &event("in.csv", "1")).await.remove(0);
    let id = lifecycle::ScoringId::read(&id).unwrap();
    let key = app::ledger::rows::scoring_key(&id);
    let mut row = world.store.get(&world.table("State"), &key).await.unwrap().unwrap().entity;
    row.properties.remove("BlobUrl");
    world.store.write(&world.table("State"), &[Op::Upsert(row)]).await.unwrap();
    let delivery = app.accept(&event(&format!("p/{id}/1/charts/x.csv"), "9")).await.unwrap();
    assert_eq!((delivery.accepted.skipped, delivery.accepted.accepted.len()), (1, 0));
    delivery.submit().await;
}
