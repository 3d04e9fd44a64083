//! Run history of a job.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{ML, sim};

#[tokio::test]
async fn the_job_says_where_its_run_history_is() {
    let (sim, _root) = sim(|_| {}).await;
    let name = sim.submit("x.csv", "x").await;
    let arm = sim.arm_get(&format!("/jobs/{name}")).await;
    let tracking = arm["properties"]["services"]["Tracking"]["endpoint"].as_str().unwrap();
    let host = tracking.strip_prefix("azureml://").unwrap().split('/').next().unwrap();
    assert_eq!(format!("http://{host}"), sim.handle.origin());
    let details = format!("http://{host}/history/v1.0{}/runs/{name}/details", sim.handle.workspace_id());
    assert_eq!(sim.json(&details, ML).await["status"], "Preparing");
    assert_eq!(sim.get(&details.replace(&name, "nobody"), ML).await.status(), StatusCode::NOT_FOUND);
    let studio = arm["properties"]["services"]["Studio"]["endpoint"].as_str().unwrap();
    let page: Value = sim.http.get(studio).send().await.unwrap().json().await.unwrap();
    assert_eq!((&page["simulated"], &page["job"]["name"]), (&json!(true), &json!(name)));
}
