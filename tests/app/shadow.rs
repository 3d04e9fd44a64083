//! A shadow deployment: each blob is scored by it too, and nothing of that touches the scoring itself.

use app::reports;
use lifecycle::{JobStatus, Status};
use time::Duration;

use super::renames::tick;
use crate::support::world::{World, event};

const RULES: &str = r#"{"rules": [{"id": "claims", "match": {"container": "claims"}, "maxAttempts": 1, "maxInFlight": 2,
    "endpoint": {"uri": "https://heart.example/jobs", "deployment": "v7", "shadow": "v8"}}]}"#;

#[tokio::test]
async fn a_shadow_scores_each_blob_once_under_an_id_and_an_output_path_of_its_own() {
    let world = World::with_rules(RULES);
    let (one, other) = (world.app(), world.app());
    let ids = world.deliver(&one, &event("a.csv", "1")).await;
    assert_eq!(ids.len(), 2);
    for app in [&one, &other] {
        assert!(world.deliver(app, &event("a.csv", "1")).await.is_empty(), "a redelivery is neither's");
    }
    let (scoring, shadow) = (world.get(&one, &ids[0]).await, world.get(&one, &ids[1]).await);
    assert_eq!((scoring.rule.as_str(), shadow.rule.as_str()), ("claims", "claims-shadow"));
    assert_eq!((scoring.deployment.as_deref(), shadow.deployment.as_deref()), (Some("v7"), Some("v8")));
    assert_eq!(world.jobs().len(), 2);
    let paths = [scoring.output_uri().unwrap(), shadow.output_uri().unwrap()];
    assert!(paths[0].contains(ids[0].as_str()) && paths[1].contains(ids[1].as_str()), "{paths:?}");
}

#[tokio::test]
async fn a_shadow_that_fails_leaves_the_scoring_alone_and_status_shows_both_side_by_side() {
    let world = World::with_rules(RULES);
    let app = world.app();
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.extend(world.deliver(&app, &event(&format!("{n}.csv"), "1")).await);
        let jobs = world.jobs();
        for job in jobs.iter().rev().take(2) {
            let failed = job.rule == "claims-shadow" && n < 2;
            world.end_job(&job.name, if failed { &JobStatus::Failed } else { &JobStatus::Completed });
        }
        tick(&world, &app, Duration::minutes(3)).await;
        tick(&world, &app, Duration::minutes(3)).await;
    }
    for pair in ids.chunks(2) {
        assert_eq!(world.get(&app, &pair[0]).await.status, Status::Scored);
    }
    let report = reports::status(app.ledger(), world.now(), None).await.unwrap();
    let shown: Vec<(Option<&str>, String)> =
        report.deployments.iter().map(|view| (view.deployment.as_deref(), view.summary())).collect();
    let expected = [("v7", "0 of 3 failed (0.0 %)"), ("v8", "2 of 3 failed (66.7 %)")];
    assert_eq!(shown, expected.map(|(name, summary)| (Some(name), summary.to_owned())));
}

#[tokio::test]
async fn the_deployments_of_an_endpoint_that_has_one_are_not_shown() {
    let world = World::new();
    let app = world.app();
    world.deliver(&app, &event("a.csv", "1")).await;
    world.end_jobs(&JobStatus::Completed);
    tick(&world, &app, Duration::minutes(3)).await;
    let report = reports::status(app.ledger(), world.now(), None).await.unwrap();
    assert!(report.count(Status::Scored) == 1 && report.deployments.is_empty());
}
