//! Resource Manager over the workspace.

use std::collections::BTreeSet;

use reqwest::StatusCode;

use super::{ARM, ML, VERSION, listed, seconds, sim};

#[tokio::test]
async fn jobs_are_listed_newest_first_in_pages_that_new_jobs_do_not_shift() {
    let (sim, _root) = sim(|o| o.behaviour.list_jobs = true).await;
    let mut made = Vec::new();
    for n in 0..25 {
        made.push(sim.submit("x.csv", &n.to_string()).await);
    }
    let arm = sim.url(&format!("{}/jobs?{VERSION}&tag=azureml.batchrun", sim.handle.workspace_id()));
    for (first, audience) in [(arm, ARM), (sim.handle.scoring_uri("claims"), ML)] {
        let (mut url, mut seen, mut pages) = (Some(first), Vec::new(), 0);
        while let Some(next) = url {
            let page = sim.json(&next, audience).await;
            seen.extend(page["value"].as_array().unwrap().iter().map(|job| job["name"].as_str().unwrap().to_owned()));
            url = page["nextLink"].as_str().map(str::to_owned);
            pages += 1;
            sim.submit("x.csv", &format!("late-{audience}-{pages}").replace(['/', ':'], "")).await;
        }
        let expected: Vec<_> = made.iter().rev().cloned().collect();
        assert!(seen.ends_with(&expected), "{seen:?}");
        assert_eq!(seen.len(), seen.iter().collect::<BTreeSet<_>>().len());
        assert_eq!(pages, 3);
    }
    for (filter, count) in [
        ("tag=nobody", 0),
        ("properties=runType=HTTP", 10),
        ("properties=runType=x", 0),
        ("listViewType=ArchivedOnly", 0),
    ] {
        let url = sim.url(&format!("{}/jobs?{VERSION}&{filter}", sim.handle.workspace_id()));
        assert_eq!(sim.json(&url, ARM).await["value"].as_array().unwrap().len(), count, "{filter}");
    }
}

#[tokio::test]
async fn resource_manager_is_exact_about_versions_and_not_about_case() {
    let (sim, _root) = sim(|o| o.endpoints = listed()).await;
    let id = sim.handle.workspace_id();
    let endpoint = sim.arm_get("/batchEndpoints/claims").await;
    assert_eq!(endpoint["properties"]["scoringUri"], sim.handle.scoring_uri("claims"));
    assert_eq!(endpoint["properties"]["defaults"]["deploymentName"], "model-1");
    for (path, status) in [
        (format!("{}/batchendpoints/claims?{VERSION}", id.to_lowercase()), StatusCode::OK),
        (format!("{id}/batchEndpoints/claims"), StatusCode::BAD_REQUEST),
        (format!("{id}/batchEndpoints/nobody?{VERSION}"), StatusCode::NOT_FOUND),
        (format!("{id}/datastores/nobody?{VERSION}"), StatusCode::NOT_FOUND),
        (format!("{id}other/jobs?{VERSION}"), StatusCode::NOT_FOUND),
        (format!("{id}/jobs/nobody?{VERSION}"), StatusCode::NOT_FOUND),
        (format!("{id}/jobs?{VERSION}&$skip=x"), StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(sim.get(&sim.url(&path), ARM).await.status(), status, "{path}");
    }
}

#[tokio::test]
async fn resource_manager_throttles_when_the_hour_is_spent() {
    let (sim, _root) = sim(|o| o.reads_per_hour = 2).await;
    let url = sim.url(&format!("{}/jobs?{VERSION}", sim.handle.workspace_id()));
    for left in ["1", "0"] {
        let answer = sim.get(&url, ARM).await;
        assert_eq!(answer.headers()["x-ms-ratelimit-remaining-subscription-reads"], left);
    }
    sim.hand.advance(seconds(600));
    let answer = sim.get(&url, ARM).await;
    assert_eq!(
        (answer.status(), &answer.headers()["retry-after"]),
        (StatusCode::TOO_MANY_REQUESTS, &"3001".parse().unwrap())
    );
    sim.hand.advance(seconds(3001));
    assert_eq!(sim.get(&url, ARM).await.status(), StatusCode::OK);
}
