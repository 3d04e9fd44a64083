//! POST of a job: what is refused, and the points on which nobody knows what the service does.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Sim, assert_headers, body, listed, seconds, sim};

#[tokio::test]
async fn an_invoke_without_a_deployment_gets_404_in_plain_text() {
    let (sim, _root) = sim(|o| o.endpoints = listed()).await;
    let named = |name| [("azureml-model-deployment", name)];
    for (endpoint, headers) in
        [("empty", [].as_slice()), ("nobody", [].as_slice()), ("claims", named("no-such").as_slice())]
    {
        let answer = sim.try_post(endpoint, &body("x.csv", "x"), headers).await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{endpoint}");
        assert!(answer.text().await.unwrap().starts_with("No valid deployments to route to."));
    }
    let answer = sim.try_post("claims", &body("x.csv", "x"), &[]).await.unwrap();
    assert_eq!(answer.headers()["azureml-model-deployment"], "model-1");
    assert_eq!(sim.handle.summary().jobs, 1);
}

#[tokio::test]
async fn a_bad_body_gets_the_services_error_document() {
    let (sim, _root) = sim(|_| {}).await;
    let mut folder = body("x.csv", "x");
    folder["properties"]["OutputData"]["score"]["JobOutputType"] = json!("UriFolder");
    let answer = sim.post(&folder).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let document: Value = answer.json().await.unwrap();
    assert_eq!(document["error"]["code"], "UserError");
    let message = document["error"]["message"].as_str().unwrap();
    assert!(message.contains(r#""ErrorMessage":"Job output type must be 'uri_file'.""#), "{message}");
    assert_headers(&sim.post(&json!({ "properties": { "Priority": 1 } })).await, &["content-type"]);
    let large = json!({ "properties": { "description": "x".repeat(1024 * 1024) } });
    assert_eq!(sim.post(&large).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(sim.handle.summary().jobs, 0);
    assert_eq!(sim.handle.summary().posts, 3);
}

#[tokio::test]
async fn a_request_id_is_ignored_unless_the_service_honours_it() {
    let twice = async |sim: &Sim| {
        let headers = [("repeatability_request-id", "e7c0")];
        let mut names = BTreeSet::new();
        for _ in 0..2 {
            let answer = sim.try_post("claims", &body("x.csv", "x"), &headers).await.unwrap();
            names.insert(answer.json::<Value>().await.unwrap()["name"].as_str().unwrap().to_owned());
        }
        let summary = sim.handle.summary();
        assert_eq!(summary.max_posts_per_request_id, summary.posts);
        (names.len(), summary.max_jobs_per_request_id, sim.handle.jobs()[0].request_id.clone())
    };
    let (ignoring, _root) = sim(|_| {}).await;
    assert_eq!(twice(&ignoring).await, (2, 2, Some("e7c0".into())));
    let (honouring, _root) = sim(|o| o.behaviour.honour_request_id = Some(seconds(60))).await;
    assert_eq!(twice(&honouring).await, (1, 1, Some("e7c0".into())));
    honouring.hand.advance(seconds(61));
    assert_eq!(twice(&honouring).await.1, 2);
}
