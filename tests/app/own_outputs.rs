//! Outputs that lie where uploads are watched for: whatever is written there, nothing is scored twice.

use lifecycle::{JobStatus, Rules};
use serde_json::json;
use time::Duration;

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
