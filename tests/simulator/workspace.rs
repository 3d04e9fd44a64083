//! How clients find their way: the workspace, its endpoints, deployments and datastores, and its discovery URL.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{ARM, ML, VERSION, listed, sim};

fn names(list: &Value) -> Vec<&str> {
    list["value"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn resource_manager_shows_the_workspace_and_what_lies_in_it() {
    let (sim, _root) = sim(|o| o.endpoints = listed()).await;
    let workspace = sim.arm_get("").await;
    assert_eq!((&workspace["id"], &workspace["name"]), (&json!(sim.handle.workspace_id()), &json!("local")));
    assert_eq!(names(&sim.arm_get("/batchEndpoints").await), ["claims", "empty"]);
    assert_eq!(names(&sim.arm_get("/batchEndpoints/claims/deployments").await), ["model-1", "steps"]);
    assert_eq!(names(&sim.arm_get("/batchEndpoints/empty/deployments").await), Vec::<&str>::new());
    let kind = async |name: &str| {
        let deployment = sim.arm_get(&format!("/batchEndpoints/claims/deployments/{name}")).await;
        deployment["properties"]["deploymentConfiguration"].clone()
    };
    assert_eq!(kind("model-1").await, Value::Null);
    assert_eq!(kind("steps").await["deploymentConfigurationType"], "PipelineComponent");
    let datastores = sim.arm_get("/datastores").await;
    assert_eq!(datastores["value"], json!([sim.arm_get("/datastores/scores").await]));
    let scores = &datastores["value"][0]["properties"];
    assert_eq!((&scores["isDefault"], &scores["containerName"]), (&json!(true), &json!("outbox")));
    for path in ["batchEndpoints/nobody/deployments", "batchEndpoints/claims/deployments/nobody", "environments"] {
        let url = sim.url(&format!("{}/{path}?{VERSION}", sim.handle.workspace_id()));
        assert_eq!(sim.get(&url, ARM).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn where_every_name_is_an_endpoint_each_has_its_default_deployment() {
    let (sim, _root) = sim(|_| {}).await;
    assert_eq!(names(&sim.arm_get("/batchEndpoints").await), Vec::<&str>::new());
    assert_eq!(names(&sim.arm_get("/batchEndpoints/anything/deployments").await), ["demonstration"]);
}

#[tokio::test]
async fn the_discovery_url_leads_to_the_list_of_an_endpoints_jobs() {
    let (sim, _root) = sim(|_| {}).await;
    let workspace = sim.arm_get("").await;
    let discovery = workspace["properties"]["discoveryUrl"].as_str().unwrap();
    // Clients ask for it before they have a token.
    let services: Value = sim.http.get(discovery).send().await.unwrap().json().await.unwrap();
    let front = format!("{}/mferp/managementfrontend", services["api"].as_str().unwrap());
    let list = format!("{front}{}/batchEndpoints/claims/jobs?{VERSION}", sim.handle.workspace_id());
    assert_eq!(sim.get(&list, ML).await.status(), StatusCode::BAD_REQUEST, "as users report");
    let behaviour = json!({ "behaviour": { "listJobs": true } });
    sim.http.post(sim.url("/admin/faults")).json(&behaviour).send().await.unwrap().error_for_status().unwrap();
    let name = sim.submit("x.csv", "x").await;
    assert_eq!(names(&sim.json(&list, ML).await), [name.as_str()]);
    assert_eq!(sim.get(&list, ARM).await.status(), StatusCode::UNAUTHORIZED);
    let elsewhere = list.replace("/workspaces/local/", "/workspaces/other/");
    assert_eq!(sim.get(&elsewhere, ML).await.status(), StatusCode::NOT_FOUND);
}
