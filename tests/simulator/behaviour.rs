//! The points on which nobody knows what the service does: each is a switch.

use reqwest::StatusCode;
use serde_json::{Value, json};
use simulator::Behaviour;

use super::{ARM, ML, VERSION, body, sim};

#[tokio::test]
async fn what_nobody_knows_of_the_service_is_a_switch() {
    let all = Behaviour {
        keep_tags: true,
        omit_outputs: true,
        honour_name: true,
        honour_request_id: None,
        bare_names: true,
        allow_unknown_members: true,
        list_jobs: true,
        skew_seconds: 0,
    };
    for behaviour in [Behaviour::default(), all] {
        let on = behaviour.keep_tags;
        let (sim, _root) = sim(|o| o.behaviour = behaviour).await;
        let mut sent = body("x.csv", "x");
        sent["properties"]["tags"] = json!({ "scoring": "0123" });
        sent["properties"]["properties"] = json!({ "mine": "yes" });
        sent["properties"]["name"] = json!("my-name");
        let job: Value = sim.post(&sent).await.error_for_status().unwrap().json().await.unwrap();
        let properties = &job["properties"];
        assert_eq!(properties["tags"].get("scoring").is_some(), on);
        assert_eq!(properties.get("outputData").is_none(), on);
        assert!(properties.get("inputData").is_some());
        assert_eq!(properties["properties"].get("mine").is_some(), on);
        assert_eq!(properties["name"] == "my-name", on);
        assert_eq!(!job["name"].as_str().unwrap().starts_with("batchjob-"), on);
        assert_eq!(sim.get(&sim.handle.scoring_uri("claims"), ML).await.status() == StatusCode::OK, on);
        sent["properties"]["Priority"] = json!(1);
        assert_eq!(sim.post(&sent).await.status() == StatusCode::CREATED, on);
    }
}

#[tokio::test]
async fn resource_manager_finds_a_job_by_tag_property_and_name_if_they_were_kept() {
    for on in [false, true] {
        let (sim, _root) = sim(|o| o.behaviour = Behaviour { keep_tags: on, honour_name: on, ..o.behaviour }).await;
        let mut sent = body("x.csv", "x");
        sent["properties"]["tags"] = json!({ "scoring": "0123" });
        sent["properties"]["properties"] = json!({ "mine": "yes" });
        sent["properties"]["name"] = json!("my-name");
        assert_eq!(sim.post(&sent).await.status(), StatusCode::CREATED);
        for filter in ["tag=scoring", "properties=mine", "properties=mine=yes"] {
            let url = sim.url(&format!("{}/jobs?{VERSION}&{filter}", sim.handle.workspace_id()));
            let found = sim.json(&url, ARM).await["value"].as_array().unwrap().len();
            assert_eq!(found, usize::from(on), "{filter}");
        }
        let job = sim.arm_get("/jobs").await["value"][0].clone();
        assert_eq!(job["properties"]["displayName"] == "my-name", on, "{job}");
    }
}

#[tokio::test]
async fn a_skewed_service_shows_all_its_times_ahead_or_behind() {
    for (skew_seconds, shown, date) in [
        (-120, "2026-01-01T11:58:00.0000000+00:00", "Thu, 01 Jan 2026 11:58:00 GMT"),
        (0, "2026-01-01T12:00:00.0000000+00:00", "Thu, 01 Jan 2026 12:00:00 GMT"),
        (90, "2026-01-01T12:01:30.0000000+00:00", "Thu, 01 Jan 2026 12:01:30 GMT"),
    ] {
        let (sim, _root) = sim(|o| o.behaviour.skew_seconds = skew_seconds).await;
        let made = sim.post(&body("x.csv", "x")).await;
        assert_eq!(made.headers()["date"], date);
        let made: Value = made.json().await.unwrap();
        let name = made["name"].as_str().unwrap();
        let polled = sim.json(&format!("{}/{name}", sim.handle.scoring_uri("claims")), ML).await;
        let arm = sim.arm_get(&format!("/jobs/{name}")).await;
        for job in [made.clone(), polled, arm] {
            assert_eq!(job["systemData"]["createdAt"], shown, "{job}");
        }
        let children = sim.url(&format!("/history/v1.0{}/runs/{name}/children", sim.handle.workspace_id()));
        assert_eq!(sim.json(&children, ML).await["value"][0]["createdUtc"], shown);
        let refused: Value = sim.post(&json!({})).await.json().await.unwrap();
        assert_eq!(refused["time"], shown);
    }
}

#[tokio::test]
async fn an_archived_job_is_listed_only_when_it_is_asked_for() {
    let (sim, _root) = sim(|_| {}).await;
    let job: Value = sim.post(&body("x.csv", "x")).await.json().await.unwrap();
    assert!(sim.handle.archive(job["name"].as_str().unwrap()) && !sim.handle.archive("nobodys"));
    for (view, listed) in
        [("", 0), ("&listViewType=ActiveOnly", 0), ("&listViewType=ArchivedOnly", 1), ("&listViewType=All", 1)]
    {
        let url = sim.url(&format!("{}/jobs?{VERSION}{view}", sim.handle.workspace_id()));
        assert_eq!(sim.json(&url, ARM).await["value"].as_array().unwrap().len(), listed, "{view}");
    }
}
