//! The deployments of an endpoint side by side, as `status` tells them: the shares of a split and a shadow. Golden.

use std::sync::Arc;

use handler::cli::json::JsonArgs;
use handler::cli::status;
use handler::config::WhichLedger;
use lifecycle::JobStatus;
use time::Duration;

use stores::memory::MemoryStore;

use crate::support::world::{World, event};

const HERE: WhichLedger = WhichLedger { ledger: None, data: None, task_hub: None, profile: None };

const RULES: &str = r#"{"rules": [{"id": "claims", "match": {"container": "claims"}, "maxAttempts": 1,
    "endpoint": {"uri": "https://heart.example/jobs", "deployments": {"v7": 50, "v8": 50}, "shadow": "v9"}}]}"#;

const GOLDEN: &str = include_str!("fixtures/status_of_deployments.json");

#[tokio::test]
async fn status_has_a_split_and_a_shadow_side_by_side_with_the_ratio_of_failures() {
    let world = World::with_rules(RULES);
    let app = world.app();
    let mut ids = Vec::new();
    for n in 0..8 {
        ids.extend(world.deliver(&app, &event(&format!("{n}.csv"), "1")).await);
    }
    let mut of_v8 = 0;
    for (n, id) in ids.iter().enumerate() {
        let scoring = world.get(&app, id).await;
        // One of v8, and each third of the shadow's.
        let fails = match scoring.deployment.as_deref() {
            Some("v8") => {
                of_v8 += 1;
                of_v8 == 1
            }
            Some("v9") => n % 3 == 0,
            _ => false,
        };
        let job = scoring.job.unwrap().name;
        world.end_job(&job, if fails { &JobStatus::Failed } else { &JobStatus::Completed });
    }
    for _ in 0..2 {
        world.later(Duration::minutes(3));
        app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    }
    let mut told: Vec<u8> = Vec::new();
    status::status(app.ledger(), &HERE, &JsonArgs::ALL, None, world.now(), &mut told).await.unwrap();
    let told = String::from_utf8(told).unwrap();
    assert_eq!(told, GOLDEN, "{told}");
}

/// A canary of a tenth over a thousand uploads; then the events come again, under rules with other shares.
#[tokio::test]
async fn a_thousand_uploads_are_split_within_bounds_and_redelivered_ones_stay() {
    let rules = |v7: u32| {
        format!(
            r#"{{"rules": [{{"id": "claims", "match": {{"container": "claims"}},
            "endpoint": {{"uri": "https://heart.example/jobs", "deployments": {{"v7": {v7}, "v8": {}}}}}}}]}}"#,
            100 - v7
        )
    };
    let store = Arc::new(MemoryStore::new());
    let world = World::on(store.clone(), &rules(90));
    let app = world.app();
    let mut ids = Vec::new();
    for n in 0..1_000 {
        ids.extend(world.deliver(&app, &event(&format!("{n}.csv"), "1")).await);
    }
    assert_eq!(ids.len(), 1_000);
    let mut picked = Vec::new();
    for id in &ids {
        picked.push(world.get(&app, id).await.deployment);
    }
    let few = picked.iter().filter(|name| name.as_deref() == Some("v8")).count();
    // Three standard deviations of 1,000 draws are 28.
    assert!((72..=128).contains(&few), "{few}");
    let later = World::on(store, &rules(0));
    let app = later.app();
    for n in 0..1_000 {
        assert!(later.deliver(&app, &event(&format!("{n}.csv"), "1")).await.is_empty(), "{n}");
    }
    for (id, before) in ids.iter().zip(picked) {
        assert_eq!(later.get(&app, id).await.deployment, before);
    }
}
