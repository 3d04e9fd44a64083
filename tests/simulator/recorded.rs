//! Answers of the recordings of 2023: status codes, headers, members.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{ARM, ML, VERSION, assert_headers, members, seconds, sim};

#[tokio::test]
async fn an_invoke_is_answered_as_recorded() {
    let (sim, _root) = sim(|_| {}).await;
    // The two bodies of the recording of April 2023, which differ in the name of the input.
    for input in ["input1", "UriFolder"] {
        let sent = json!({ "properties": { "inputData": { input: {
            "uri": "https://pipelinedata.blob.core.windows.net/sampledata/mnist", "jobInputType": "UriFolder" } } } });
        let headers = [("azureml-model-deployment", "batch-dpm-8c7f")];
        let answer = sim.try_post("batch-ept-11a6", &sent, &headers).await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        assert_headers(
            &answer,
            &[
                "azureml-model-deployment",
                "content-length",
                "content-type",
                "date",
                "location",
                "request-context",
                "server",
                "server-timing",
                "strict-transport-security",
                "x-aml-cluster",
                "x-content-type-options",
                "x-envoy-upstream-service-time",
                "x-ms-response-type",
                "x-request-id",
                "x-request-time",
                "x-scorekeeper-simulator",
            ],
        );
        assert_eq!(answer.headers()["server"], "azureml-frontdoor");
        assert_eq!(answer.headers()["azureml-model-deployment"], "batch-dpm-8c7f");
        let location = answer.headers()["location"].to_str().unwrap().to_owned();
        assert!(
            location.ends_with("/deployments/batch-dpm-8c7f?api-version=2020-09-01-dataplanepreview"),
            "{location}"
        );
        let job: Value = answer.json().await.unwrap();
        let service = json!({ "jobEndpointType": 0, "port": 0, "endpoint": 0, "properties": 0 });
        let recorded = json!({
            "id": 0, "name": 0, "type": 0,
            "properties": {
                "provisioningState": 0,
                "inputData": { input: { "description": 0, "uri": 0, "mode": 0, "jobInputType": 0 } },
                "compute": { "target": 0, "instanceCount": 0, "isLocal": 0, "location": 0, "instanceType": 0, "properties": 0 },
                "output": { "datastoreId": 0, "path": 0 },
                "retrySettings": { "maxRetries": 0, "timeout": 0 },
                "status": 0,
                "interactionEndpoints": { "Tracking": service, "Studio": service },
                "tags": { "outputType": 0, "inputType": 0, "azureml.batchrun": 0, "azureml.deploymentname": 0, "azureml.jobtype": 0 },
                "properties": {
                    "azureml.pipelineid": 0, "azureml.runsource": 0, "runSource": 0, "runType": 0, "azureml.parameters": 0,
                    "azureml.continue_on_step_failure": 0, "azureml.continue_on_failed_optional_input": 0,
                    "azureml.pipelineComponent": 0 },
                "name": 0 },
            "systemData": { "createdAt": 0, "createdBy": 0, "lastModifiedAt": 0, "lastModifiedBy": 0 } });
        assert_eq!(members(&job), members(&recorded));
        let name = job["name"].as_str().unwrap();
        assert!(name.starts_with("batchjob-"), "{name}");
        assert!(job["id"].as_str().unwrap().ends_with(&format!("/deployments/batch-dpm-8c7f/jobs/{name}")), "{job}");
        assert_eq!(job["properties"]["status"], "Preparing");
        assert_eq!(job["properties"]["inputData"][input]["mode"], "ReadOnlyMount");
        assert_eq!(job["systemData"]["createdAt"], "2026-01-01T12:00:00.0000000+00:00");
        let seen = sim.json(&format!("{}/{name}", sim.handle.scoring_uri("batch-ept-11a6")), ML).await;
        assert_eq!(seen, job);
    }
}

#[tokio::test]
async fn polls_and_cancel_go_as_recorded() {
    let (sim, _root) = sim(|_| {}).await;
    sim.put("x.csv", "a\n1\n");
    let name = sim.submit("x.csv", "x").await;
    let path = format!("{}/jobs/{name}", sim.handle.workspace_id());
    let mut left = None;
    for (wait, status) in [(0, "Preparing"), (4, "Running"), (20, "Running"), (20, "Running")] {
        sim.hand.advance(seconds(wait));
        let answer = sim.get(&sim.url(&format!("{path}?{VERSION}")), ARM).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_headers(
            &answer,
            &[
                "cache-control",
                "expires",
                "pragma",
                "request-context",
                "server-timing",
                "x-aml-cluster",
                "x-ms-correlation-request-id",
                "x-ms-response-type",
                "x-ms-routing-request-id",
                "x-request-time",
            ],
        );
        let reads = &answer.headers()["x-ms-ratelimit-remaining-subscription-reads"];
        let reads: u32 = reads.to_str().unwrap().parse().unwrap();
        assert!(left.is_none_or(|left| reads == left - 1), "{left:?} then {reads}");
        left = Some(reads);
        let job: Value = answer.json().await.unwrap();
        assert_eq!(job["properties"]["status"], status);
        let service = json!({ "jobServiceType": 0, "port": 0, "endpoint": 0, "status": 0, "errorMessage": 0, "properties": 0, "nodes": 0 });
        let mut recorded = json!({
            "id": 0, "name": 0, "type": 0,
            "properties": {
                "description": 0, "tags": {}, "properties": {}, "displayName": 0, "status": 0, "experimentName": 0,
                "services": { "Tracking": service, "Studio": service },
                "computeId": 0, "isArchived": 0, "identity": 0, "componentId": 0, "jobType": 0, "settings": 0, "jobs": 0,
                "inputs": 0, "outputs": 0, "sourceJobId": 0 },
            "systemData": { "createdAt": 0, "createdBy": 0, "createdByType": 0 } });
        recorded["properties"]["tags"] = job["properties"]["tags"].clone();
        recorded["properties"]["properties"] = job["properties"]["properties"].clone();
        assert_eq!(members(&job), members(&recorded));
        assert_eq!((&job["properties"]["inputs"], &job["properties"]["outputs"]), (&Value::Null, &Value::Null));
        assert_eq!(job["properties"]["experimentName"], "claims");
    }

    let answer = sim.cancel(&name).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(answer.headers()["x-ms-async-operation-timeout"], "PT1H");
    assert_headers(&answer, &["x-ms-ratelimit-remaining-subscription-writes"]);
    assert!(!answer.headers().contains_key("retry-after"));
    let operation = answer.headers()["location"].to_str().unwrap().to_owned();
    assert!(operation.contains("/mfeOperationResults/jc:") && operation.contains(&name), "{operation}");
    assert_eq!(answer.text().await.unwrap(), "null");
    assert_eq!(sim.arm_status(&name).await, "CancelRequested");

    let answer = sim.get(&operation, ARM).await;
    assert_eq!(
        (answer.status(), answer.headers()["location"].to_str().unwrap()),
        (StatusCode::ACCEPTED, operation.as_str())
    );
    assert_eq!(answer.text().await.unwrap(), "{}");
    sim.hand.advance(seconds(30));
    let answer = sim.get(&operation, ARM).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.text().await.unwrap(), "");
    assert_eq!(sim.arm_status(&name).await, "Canceled");
    // Asked again, a finished job stays as it is.
    assert_eq!(sim.cancel(&name).await.status(), StatusCode::ACCEPTED);
    assert_eq!(sim.arm_status(&name).await, "Canceled");
    assert_eq!(sim.cancel("no-such-job").await.status(), StatusCode::NOT_FOUND);
}
