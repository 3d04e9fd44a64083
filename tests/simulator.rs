//! The simulated service, over HTTP: what Microsoft's recordings of the real one show, and what it does to files.
//!
//! Time stands still unless a test moves it, so nothing here waits for a timer.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use azure_storage_blob::models::BlobClientGetPropertiesResultHeaders as _;
use azure_storage_blob::{BlobClient, BlobContainerClient};
use futures::TryStreamExt as _;
use handler::adapters::simulator::{
    self, Behaviour, Client, Clock, Container, Datastore, Deployment, DeploymentKind, Endpoint, Endpoints, Fault, Hand,
    Handle, JobView, Misdeed, Options, Route, SCORED_BY, Timing,
};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::macros::datetime;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const ML: &str = "https://ml.azure.com";
const ARM: &str = "https://management.azure.com";
const VERSION: &str = "api-version=2025-12-01";

/// A running simulator; it ends with the test.
struct Sim {
    handle: Handle,
    hand: Hand,
    http: reqwest::Client,
    root: PathBuf,
    serving: JoinHandle<()>,
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn profile() -> Timing {
    Timing {
        answer: Duration::ZERO,
        preparing: seconds(4),
        running: seconds(60),
        finalizing: seconds(5),
        canceling: seconds(30),
    }
}

async fn sim_in(root: &TempDir, change: impl FnOnce(&mut Options)) -> Sim {
    let root = root.path().to_owned();
    let (clock, hand) = Clock::manual(datetime!(2026-01-01 12:00 UTC));
    let folder = |name: &str| root.join(name);
    let mut options = Options {
        containers: vec![Container { account: "local".into(), container: "inbox".into(), folder: folder("inbox") }],
        datastores: vec![Datastore {
            name: "scores".into(),
            account: "local".into(),
            container: "outbox".into(),
            folder: folder("outbox"),
        }],
        timing: profile(),
        clock,
        identity_header: "a secret of the platform".into(),
        ..Options::default()
    };
    change(&mut options);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (handle, serving) = simulator::start(listener, options).unwrap();
    let serving = tokio::spawn(async move { serving.await.unwrap() });
    let http = reqwest::Client::builder().no_proxy().timeout(seconds(20)).build().unwrap();
    Sim { handle, hand, http, root, serving }
}

async fn sim(change: impl FnOnce(&mut Options)) -> (Sim, TempDir) {
    let root = TempDir::new().unwrap();
    let sim = sim_in(&root, change).await;
    (sim, root)
}

impl Sim {
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.handle.origin())
    }

    async fn token(&self, audience: &str) -> String {
        let query = [("api-version", "2019-08-01"), ("resource", audience)];
        let url = reqwest::Url::parse_with_params(&self.handle.identity_endpoint(), query).unwrap();
        let request = self.http.get(url).header("X-IDENTITY-HEADER", "a secret of the platform");
        let answer: Value = request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    async fn get(&self, url: &str, audience: &str) -> Response {
        self.http.get(url).bearer_auth(self.token(audience).await).send().await.unwrap()
    }

    async fn json(&self, url: &str, audience: &str) -> Value {
        self.get(url, audience).await.error_for_status().unwrap().json().await.unwrap()
    }

    async fn arm_get(&self, path: &str) -> Value {
        self.json(&self.url(&format!("{}{path}?{VERSION}", self.handle.workspace_id())), ARM).await
    }

    async fn arm_status(&self, job: &str) -> String {
        self.arm_get(&format!("/jobs/{job}")).await["properties"]["status"].as_str().unwrap().to_owned()
    }

    async fn try_post(&self, endpoint: &str, body: &Value, headers: &[(&str, &str)]) -> reqwest::Result<Response> {
        let mut request = self.http.post(self.handle.scoring_uri(endpoint)).bearer_auth(self.token(ML).await);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.json(body).send().await
    }

    async fn post(&self, body: &Value) -> Response {
        self.try_post("claims", body, &[]).await.unwrap()
    }

    /// Posts a scoring of `inbox/<input>` to `outbox/<output>`, returns the job's name.
    async fn submit(&self, input: &str, output: &str) -> String {
        let answer = self.post(&body(input, output)).await;
        assert_eq!(answer.status(), StatusCode::CREATED);
        answer.json::<Value>().await.unwrap()["name"].as_str().unwrap().to_owned()
    }

    fn put(&self, input: &str, text: &str) {
        std::fs::write(self.root.join("inbox").join(input), text).unwrap();
    }

    fn output(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.root.join("outbox").join(path)).ok()
    }

    fn job(&self, name: &str) -> JobView {
        find(&self.handle.jobs(), name)
    }

    async fn until_all(&self, wanted: impl Fn(&[JobView]) -> bool) -> Vec<JobView> {
        let jobs = tokio::time::timeout(seconds(20), self.handle.until(wanted)).await;
        jobs.unwrap_or_else(|_| panic!("never so: {:?}", self.handle.jobs()))
    }

    async fn until(&self, name: &str, status: &str) -> JobView {
        find(&self.until_all(|jobs| find(jobs, name).step_status == status).await, name)
    }

    /// Moves a fresh job to its end, which is to be `status`.
    async fn finish(&self, name: &str, status: &str) -> JobView {
        self.hand.advance(seconds(4));
        self.hand.advance(seconds(60));
        if status == "Completed" {
            self.until(name, "Finalizing").await;
            self.hand.advance(seconds(5));
        }
        self.until(name, status).await
    }

    async fn run_error(&self, name: &str) -> Value {
        let path = format!("/history/v1.0{}/runs/{name}/details", self.handle.workspace_id());
        self.json(&self.url(&path), ML).await["error"]["error"].clone()
    }

    async fn cancel(&self, name: &str) -> Response {
        let url = self.url(&format!("{}/jobs/{name}/cancel?{VERSION}", self.handle.workspace_id()));
        self.http.post(url).bearer_auth(self.token(ARM).await).send().await.unwrap()
    }
}

fn find(jobs: &[JobView], name: &str) -> JobView {
    jobs.iter().find(|job| job.name == name).cloned().unwrap()
}

fn body(input: &str, output: &str) -> Value {
    json!({ "properties": {
        "InputData": { "blob": { "JobInputType": "UriFile", "Uri": format!("https://local.blob.localhost/inbox/{input}") } },
        "OutputData": { "score": { "JobOutputType": "UriFile", "Uri": format!("azureml://datastores/scores/paths/{output}") } } } })
}

/// Every member as a path, so that two documents can be compared without their values.
fn members(value: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, at: &str, all: &mut BTreeSet<String>) {
        if let Value::Object(map) = value {
            for (name, inner) in map {
                let path = format!("{at}/{name}");
                walk(inner, &path, all);
                all.insert(path);
            }
        }
    }
    let mut all = BTreeSet::new();
    walk(value, "", &mut all);
    all
}

fn assert_headers(answer: &Response, names: &[&str]) {
    let missing: Vec<_> = names.iter().filter(|name| !answer.headers().contains_key(**name)).collect();
    assert!(missing.is_empty(), "{missing:?} are not in {:?}", answer.headers());
}

fn listed() -> Endpoints {
    Endpoints::Listed(vec![
        Endpoint {
            name: "claims".into(),
            default_deployment: Some("model-1".into()),
            deployments: vec![
                Deployment { name: "model-1".into(), kind: DeploymentKind::Model },
                Deployment { name: "steps".into(), kind: DeploymentKind::Pipeline },
            ],
        },
        Endpoint { name: "empty".into(), default_deployment: None, deployments: Vec::new() },
    ])
}

// ---- what the recordings show

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

// ---- tokens

#[tokio::test]
async fn each_plane_takes_tokens_of_its_own_audience_only() {
    let (sim, _root) = sim(|o| o.token_lifetime = seconds(100)).await;
    let name = sim.submit("x.csv", "x").await;
    let workspace = sim.handle.workspace_id();
    let scoring = format!("{}/{name}", sim.handle.scoring_uri("claims"));
    let arm = sim.url(&format!("{workspace}/jobs/{name}?{VERSION}"));
    let history = sim.url(&format!("/history/v1.0{workspace}/runs/{name}/details"));
    let storage = "https://storage.azure.com";
    for (url, audience, good) in [
        (&scoring, ML, true),
        (&scoring, ARM, false),
        (&arm, ARM, true),
        (&arm, ML, false),
        (&history, ML, true),
        (&history, ARM, true),
        (&history, storage, false),
    ] {
        let answer = sim.get(url, audience).await;
        assert_eq!(answer.status() == StatusCode::OK, good, "{url} {audience}");
        if !good {
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
            assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
        }
    }
    let good = sim.token(&format!("{ML}/")).await;
    let (claims, signature) = good.split_once('.').unwrap();
    let other = sim.token(ARM).await;
    let forged = format!("{}.{signature}", other.split_once('.').unwrap().0);
    for (token, status) in [
        (good.as_str(), StatusCode::OK),
        (claims, StatusCode::UNAUTHORIZED),
        ("", StatusCode::UNAUTHORIZED),
        (forged.as_str(), StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(sim.http.get(&scoring).bearer_auth(token).send().await.unwrap().status(), status);
    }
    assert_eq!(sim.http.get(&scoring).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    sim.hand.advance(seconds(101));
    assert_eq!(sim.http.get(&scoring).bearer_auth(&good).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let post = sim.http.post(sim.handle.scoring_uri("claims")).bearer_auth(sim.token(ARM).await).json(&body("x", "x"));
    assert_eq!(post.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(sim.handle.summary().jobs, 1);
}

#[tokio::test]
async fn a_managed_identity_is_known_by_its_header() {
    let (sim, _root) = sim(|_| {}).await;
    let endpoint = sim.handle.identity_endpoint();
    let ask = |header: Option<&'static str>, query: &'static str| {
        let mut request = sim.http.get(format!("{endpoint}?{query}"));
        if let Some(value) = header {
            request = request.header("x-identity-header", value);
        }
        async { request.send().await.unwrap() }
    };
    let (right, good) =
        (Some("a secret of the platform"), "api-version=2019-08-01&resource=https%3A%2F%2Fml.azure.com");
    assert_eq!(ask(None, good).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(ask(Some("wrong"), good).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(ask(right, "api-version=2017-09-01&resource=x").await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(ask(right, "api-version=2019-08-01").await.status(), StatusCode::BAD_REQUEST);
    let answer = ask(right, "api-version=2019-08-01&resource=https%3A%2F%2Fml.azure.com&client_id=me").await;
    let answer: Value = answer.json().await.unwrap();
    let end = (datetime!(2026-01-01 13:00 UTC)).unix_timestamp().to_string();
    assert_eq!((answer["expires_on"].as_str(), answer["client_id"].as_str()), (Some(end.as_str()), Some("me")));
    assert_eq!((answer["resource"].as_str(), answer["token_type"].as_str()), (Some(ML), Some("Bearer")));
}

#[tokio::test]
async fn a_service_principal_gets_tokens_by_either_version() {
    let client = Client { id: "me".into(), secret: "s3cret".into() };
    let (sim, _root) = sim(|o| o.client = Some(client)).await;
    let ask = async |path: &str, form: &str| {
        let request = sim.http.post(sim.url(path)).body(form.to_owned());
        let answer = request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap())
    };
    let (v1, v2) = ("/tenant/oauth2/token", "/tenant/oauth2/v2.0/token");
    let me = "grant_type=client_credentials&client_id=me&client_secret=s3cret";
    let (status, one) = ask(v1, &format!("{me}&resource=https%3A%2F%2Fml.azure.com")).await;
    assert_eq!((status, one["expires_in"].as_str()), (StatusCode::OK, Some("3600")));
    let (status, two) = ask(v2, &format!("{me}&scope=https%3A%2F%2Fml.azure.com%2F.default")).await;
    assert_eq!((status, two["expires_in"].as_u64()), (StatusCode::OK, Some(3600)));
    let job = format!("{}/{}", sim.handle.scoring_uri("claims"), sim.submit("x.csv", "x").await);
    for token in [&one, &two].map(|answer| answer["access_token"].as_str().unwrap()) {
        assert_eq!(sim.http.get(&job).bearer_auth(token).send().await.unwrap().status(), StatusCode::OK);
    }
    let wrong = me.replace("s3cret", "guess");
    let (status, refused) = ask(v2, &format!("{wrong}&scope=x%2F.default")).await;
    assert_eq!((status, refused["error"].as_str()), (StatusCode::UNAUTHORIZED, Some("invalid_client")));
    assert_eq!(ask(v2, &format!("{me}&scope=https%3A%2F%2Fml.azure.com")).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(ask(v1, me).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(ask(v1, &me.replace("client_credentials", "password")).await.0, StatusCode::BAD_REQUEST);
}

// ---- invoke

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

#[tokio::test]
async fn what_nobody_knows_of_the_service_is_a_switch() {
    let all = Behaviour {
        keep_tags: true,
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
        assert_eq!(properties["properties"].get("mine").is_some(), on);
        assert_eq!(properties["name"] == "my-name", on);
        assert_eq!(!job["name"].as_str().unwrap().starts_with("batchjob-"), on);
        assert_eq!(sim.get(&sim.handle.scoring_uri("claims"), ML).await.status() == StatusCode::OK, on);
        sent["properties"]["Priority"] = json!(1);
        assert_eq!(sim.post(&sent).await.status() == StatusCode::CREATED, on);
    }
}

// ---- what a job does

#[tokio::test]
async fn a_job_goes_through_its_phases_and_writes_one_row_per_row() {
    let (sim, _root) = sim(|_| {}).await;
    let rows = (0..1000).map(|n| format!("{n},\"text, {n}\"")).collect::<Vec<_>>().join("\n");
    sim.put("x.csv", &format!("id,text\n{rows}"));
    let name = sim.submit("x.csv", "a/b/predictions.csv").await;
    sim.hand.advance(seconds(3));
    assert_eq!(sim.job(&name).status, "Preparing");
    sim.hand.advance(seconds(1));
    assert_eq!(sim.job(&name).status, "Running");
    sim.hand.advance(seconds(59));
    assert_eq!(sim.arm_status(&name).await, "Running");
    assert_eq!(sim.output("a/b/predictions.csv"), None);
    sim.hand.advance(seconds(1));
    sim.until(&name, "Finalizing").await;
    sim.hand.advance(seconds(4));
    assert_eq!(sim.arm_status(&name).await, "Finalizing");
    sim.hand.advance(seconds(1));
    assert_eq!(sim.arm_status(&name).await, "Completed");
    let written = sim.output("a/b/predictions.csv").unwrap();
    let mut lines = written.lines();
    assert_eq!(lines.next(), Some("row,prediction,scored_by"));
    assert_eq!(lines.clone().count(), 1000);
    assert!(lines.all(|line| line.ends_with(SCORED_BY)));
    assert_eq!(sim.run_error(&name).await, Value::Null);
    let summary = sim.handle.summary();
    assert_eq!((summary.jobs, summary.posts, summary.in_flight, summary.max_in_flight), (1, 1, 0, 1));
    let job = sim.job(&name);
    assert_eq!(job.inputs["blob"], "https://local.blob.localhost/inbox/x.csv");
    assert_eq!(job.outputs["score"], "azureml://datastores/scores/paths/a/b/predictions.csv");
    assert_eq!((job.polls, job.min_poll_seconds), (3, Some(1.0)));
}

#[tokio::test]
async fn a_job_without_an_output_gets_a_place_on_the_default_datastore() {
    let (sim, _root) = sim(|_| {}).await;
    sim.put("x.csv", "a\n1\n");
    let mut sent = body("x.csv", "");
    sent["properties"].as_object_mut().unwrap().remove("OutputData");
    let job: Value = sim.post(&sent).await.json().await.unwrap();
    let name = job["name"].as_str().unwrap();
    sim.finish(name, "Completed").await;
    assert!(sim.output(&format!("azureml/{name}/score/predictions.csv")).is_some());
    let path = format!("/history/v1.0{}/runs/{name}/children", sim.handle.workspace_id());
    let children = sim.json(&sim.url(&path), ML).await;
    let [step] = children["value"].as_array().unwrap().as_slice() else { panic!("{children}") };
    assert_eq!((step["displayName"].as_str(), step["status"].as_str()), (Some("batchscoring"), Some("Completed")));
    let uri = step["outputs"]["score"]["uri"].as_str().unwrap();
    assert!(uri.ends_with(&format!("azureml/{name}/score/predictions.csv")), "{uri}");
}

#[tokio::test]
async fn a_job_whose_output_exists_fails_before_it_scores_and_leaves_it_alone() {
    let root = TempDir::new().unwrap();
    let mark = root.path().join("scored");
    let sim = sim_in(&root, |o| o.score_command = Some(format!("touch '{}'", mark.display()))).await;
    sim.put("x.csv", "a\n1\n");
    std::fs::write(sim.root.join("outbox/x"), "mine").unwrap();
    let name = sim.submit("x.csv", "x").await;
    sim.finish(&name, "Failed").await;
    let error = sim.run_error(&name).await;
    assert_eq!(error["code"], "UserError");
    assert_eq!(error["message"], "the path already exists: azureml://datastores/scores/paths/x");
    assert_eq!(sim.output("x").as_deref(), Some("mine"));
    assert!(!mark.exists());
}

#[tokio::test]
async fn of_two_jobs_with_one_output_just_one_completes() {
    let (sim, _root) = sim(|_| {}).await;
    sim.put("x.csv", "a\n1\n");
    let names = [sim.submit("x.csv", "x").await, sim.submit("x.csv", "x").await];
    sim.hand.advance(seconds(4));
    sim.hand.advance(seconds(60));
    let ended = |job: &JobView| matches!(job.status.as_str(), "Finalizing" | "Failed");
    sim.until_all(|jobs| jobs.iter().all(ended)).await;
    sim.hand.advance(seconds(5));
    let statuses: BTreeSet<_> = names.iter().map(|name| sim.job(name).status).collect();
    assert_eq!(statuses, BTreeSet::from(["Completed".to_owned(), "Failed".to_owned()]));
}

#[tokio::test]
async fn a_job_whose_input_is_missing_fails_after_it_ran() {
    let (sim, _root) = sim(|_| {}).await;
    let sent = body("no-such.csv?sig=SECRET", "x");
    let answer = sim.post(&sent).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let job: Value = answer.json().await.unwrap();
    let name = job["name"].as_str().unwrap();
    sim.finish(name, "Failed").await;
    let message = sim.run_error(name).await["message"].as_str().unwrap().to_owned();
    assert!(message.contains("StreamAccessException") && message.contains("no-such.csv"), "{message}");
    assert!(!message.contains("SECRET"), "{message}");
    assert!(!format!("{:?}", sim.job(name)).contains("SECRET"));
}

#[tokio::test]
async fn jobs_beyond_the_nodes_wait_in_order_of_arrival() {
    let (sim, _root) = sim(|o| o.nodes = 1).await;
    sim.put("x.csv", "a\n1\n");
    let mut names = Vec::new();
    for n in 0..3 {
        names.push(sim.submit("x.csv", &n.to_string()).await);
    }
    sim.hand.advance(seconds(4));
    for turn in 0..3 {
        let steps: Vec<_> = names[turn..].iter().map(|name| sim.job(name)).collect();
        assert!(steps.iter().all(|job| job.status == "Running"), "the job runs while its step waits: {steps:?}");
        let words: Vec<_> = steps.iter().map(|job| job.step_status.as_str()).collect();
        assert_eq!(words, ["Running", "Queued", "Queued"][..3 - turn]);
        sim.hand.advance(seconds(60));
        sim.until(&names[turn], "Finalizing").await;
    }
    assert_eq!(sim.handle.summary().max_in_flight, 3);
}

#[tokio::test]
async fn a_cancelled_job_frees_its_node_and_leaves_no_output() {
    let (sim, _root) = sim(|o| o.nodes = 1).await;
    sim.put("x.csv", "a\n1\n");
    let (first, queued, last) =
        (sim.submit("x.csv", "1").await, sim.submit("x.csv", "2").await, sim.submit("x.csv", "3").await);
    sim.hand.advance(seconds(4));
    sim.cancel(&queued).await;
    sim.cancel(&first).await;
    sim.until(&last, "Running").await;
    sim.hand.advance(seconds(60));
    sim.until(&last, "Finalizing").await;
    for name in [&first, &queued] {
        assert_eq!(sim.job(name).status, "Canceled");
    }
    assert_eq!((sim.output("1"), sim.output("2")), (None, None));
    assert!(sim.output("3").is_some());
}

#[tokio::test]
async fn a_job_cancelled_while_it_is_prepared_is_cancelled_in_its_own_time() {
    let (sim, _root) = sim(|_| {}).await;
    let name = sim.submit("x.csv", "x").await;
    sim.hand.advance(seconds(1));
    sim.cancel(&name).await;
    sim.hand.advance(seconds(29));
    assert_eq!(sim.job(&name).status, "CancelRequested");
    sim.hand.advance(seconds(1));
    assert_eq!(sim.job(&name).status, "Canceled");
}

#[tokio::test]
async fn a_folder_is_scored_file_by_file_and_is_no_file() {
    let (sim, _root) = sim(|_| {}).await;
    std::fs::create_dir_all(sim.root.join("inbox/day/nested")).unwrap();
    for (file, text) in [("day/b.csv", "h\n1\n2\n"), ("day/a.txt", "1\n"), ("day/nested/c.csv", "h\n1\n")] {
        sim.put(file, text);
    }
    let as_file = sim.submit("day", "as-file").await;
    let mut sent = body("day/", "as-folder");
    sent["properties"]["InputData"]["blob"]["JobInputType"] = json!("UriFolder");
    let job: Value = sim.post(&sent).await.json().await.unwrap();
    sim.finish(job["name"].as_str().unwrap(), "Completed").await;
    assert_eq!(sim.output("as-folder").unwrap().lines().count(), 1 + 3);
    let error = sim.until(&as_file, "Failed").await.error.unwrap();
    assert!(error.contains("is not a UriFile"), "{error}");
}

#[tokio::test]
async fn a_job_of_another_endpoint_is_not_found() {
    let (sim, _root) = sim(|_| {}).await;
    let name = sim.submit("x.csv", "x").await;
    for (endpoint, status) in [("claims", StatusCode::OK), ("others", StatusCode::NOT_FOUND)] {
        let url = format!("{}/{name}", sim.handle.scoring_uri(endpoint));
        assert_eq!(sim.get(&url, ML).await.status(), status, "{endpoint}");
    }
}

#[tokio::test]
async fn a_pipeline_deployment_takes_literals_and_folders() {
    let (sim, _root) = sim(|o| {
        o.endpoints = listed();
        o.score_command =
            Some("cat $SCORE_INPUT_blob > $SCORE_OUTPUT/p.csv; echo $SCORE_INPUT_level >> $SCORE_OUTPUT/p.csv".into());
    })
    .await;
    sim.put("x.csv", "in\n");
    let mut sent = body("x.csv", "folder/");
    sent["properties"]["OutputData"]["score"]["JobOutputType"] = json!("UriFolder");
    sent["properties"]["InputData"]["level"] = json!({ "JobInputType": "Literal", "Value": "7" });
    sent["properties"]["Properties"] = json!({ "experimentName": "mine" });
    let headers = [("azureml-model-deployment", "steps")];
    let job: Value =
        sim.try_post("claims", &sent, &headers).await.unwrap().error_for_status().unwrap().json().await.unwrap();
    let name = job["name"].as_str().unwrap();
    sim.finish(name, "Completed").await;
    assert_eq!(sim.output("folder/p.csv").as_deref(), Some("in\n7\n"));
    let arm = sim.arm_get(&format!("/jobs/{name}")).await;
    assert_eq!(arm["properties"]["experimentName"], "mine");
    assert_eq!(arm["properties"]["inputs"]["level"]["value"], "7");
}

// ---- the scoring command

#[tokio::test]
async fn a_scoring_command_makes_the_output_or_fails_the_job_with_its_last_words() {
    for (command, status, expected) in [
        ("tr a-z A-Z < \"$SCORE_INPUT\" > \"$SCORE_OUTPUT\"", "Completed", "IN\n"),
        (
            "echo half > \"$SCORE_OUTPUT\"; yes noise | head -c 100000 >&2; echo last words >&2; exit 3",
            "Failed",
            "last words",
        ),
        ("exit 0", "Failed", "wrote no output 'score'"),
    ] {
        let (sim, _root) = sim(|o| o.score_command = Some(command.into())).await;
        sim.put("x.csv", "in\n");
        let name = sim.submit("x.csv", "x").await;
        let job = sim.finish(&name, status).await;
        if status == "Completed" {
            assert_eq!(sim.output("x").as_deref(), Some(expected));
        } else {
            let error = job.error.unwrap();
            assert!(error.contains(expected) && error.len() < 5000, "{error}");
            assert_eq!(sim.output("x"), None);
        }
    }
}

#[tokio::test]
async fn a_scoring_command_that_takes_too_long_is_killed() {
    let (sim, _root) = sim(|o| {
        o.score_command = Some("sleep 1000".into());
        o.score_timeout = Duration::from_millis(50);
    })
    .await;
    sim.put("x.csv", "in\n");
    let name = sim.submit("x.csv", "x").await;
    assert!(sim.finish(&name, "Failed").await.error.unwrap().contains("took longer than 50ms"));
}

/// A pipe that the command and its children hold open: reading it to the end returns when all of them are gone.
async fn killed_by(stop: impl AsyncFnOnce(&Sim, &str)) {
    let root = TempDir::new().unwrap();
    let fifo = root.path().join("alive");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let command = format!("exec 3> '{}'; echo started >&3; sleep 1000 & sleep 1000", fifo.display());
    let sim = sim_in(&root, |o| o.score_command = Some(command)).await;
    sim.put("x.csv", "in\n");
    let name = sim.submit("x.csv", "x").await;
    sim.hand.advance(seconds(4));
    let alive = tokio::task::spawn_blocking(move || {
        use std::io::BufRead as _;
        let mut reader = std::io::BufReader::new(std::fs::File::open(fifo).unwrap());
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "started\n");
        reader
    });
    let mut alive = alive.await.unwrap();
    stop(&sim, &name).await;
    let ended = tokio::task::spawn_blocking(move || std::io::copy(&mut alive, &mut std::io::sink()).unwrap());
    assert_eq!(tokio::time::timeout(seconds(20), ended).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn cancelling_a_job_kills_its_command_and_what_that_started() {
    killed_by(async |sim, name| {
        sim.cancel(name).await;
    })
    .await;
}

#[tokio::test]
async fn ending_the_simulator_kills_its_commands() {
    killed_by(async |sim, _| sim.serving.abort()).await;
}

// ---- storage

#[tokio::test]
async fn the_official_storage_client_reads_an_output_where_the_datastore_says() {
    let (sim, _root) = sim(|_| {}).await;
    sim.put("x.csv", "a\n1\n2\n");
    let name = sim.submit("x.csv", "a b/ü&.csv").await;
    sim.finish(&name, "Completed").await;
    let datastore = sim.arm_get("/datastores/scores").await;
    let told = |member: &str| datastore["properties"][member].as_str().unwrap().to_owned();
    assert_eq!(told("datastoreType"), "AzureBlob");
    let container =
        format!("{}://{}/{}/{}", told("protocol"), told("endpoint"), told("accountName"), told("containerName"));
    let url = format!("{container}/a%20b/%C3%BC%26.csv");
    let blob = BlobClient::new(url.parse().unwrap(), None, None).unwrap();
    let seen = blob.get_properties(None).await.unwrap();
    let written = sim.output("a b/ü&.csv").unwrap();
    assert_eq!(seen.content_length().unwrap(), Some(written.len() as u64));
    // By the service's clock, which stood at the end of `Running` when the output was published.
    assert_eq!(seen.last_modified().unwrap(), Some(datetime!(2026-01-01 12:01:04 UTC)));
    let body = blob.download(None).await.unwrap().body.collect().await.unwrap();
    assert_eq!(body, written.as_bytes());

    std::fs::create_dir_all(sim.root.join("outbox/a")).unwrap();
    for file in ["a/1", "a/2", "a.csv", "b"] {
        std::fs::write(sim.root.join("outbox").join(file), file).unwrap();
    }
    let client = BlobContainerClient::new(container.parse().unwrap(), None, None).unwrap();
    let blobs: Vec<_> = client.list_blobs(None).unwrap().into_stream().try_collect().await.unwrap();
    let names: Vec<_> = blobs.iter().map(|blob| blob.name.clone().unwrap()).collect();
    assert_eq!(names, ["a b/ü&.csv", "a.csv", "a/1", "a/2", "b"], "in storage's order, without what is hidden");
    let page = format!("{container}?restype=container&comp=list&prefix=a&maxresults=2&marker=a.csv");
    let page = sim.http.get(page).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("<Name>a/1</Name>") && page.contains("<Name>a/2</Name>"), "{page}");
    assert!(!page.contains("a.csv</Name>") && !page.contains("NextMarker") && !page.contains("<Name>b"), "{page}");
    let ranged = sim.http.get(format!("{container}/a.csv")).header("range", "bytes=2-3").send().await.unwrap();
    assert_eq!((ranged.status(), ranged.text().await.unwrap()), (StatusCode::PARTIAL_CONTENT, "cs".to_owned()));
    let with_token = sim.http.get(&url).bearer_auth(sim.token(ML).await).send().await.unwrap();
    assert_eq!(with_token.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn nothing_outside_of_the_containers_is_served() {
    let (sim, _root) = sim(|_| {}).await;
    std::fs::write(sim.root.join("secret"), "s3cret").unwrap();
    sim.put("x", "x");
    std::os::unix::fs::symlink(sim.root.join("secret"), sim.root.join("inbox/link")).unwrap();
    assert_eq!(sim.http.get(sim.url("/local/inbox/x")).send().await.unwrap().text().await.unwrap(), "x");
    for path in [
        "/local/inbox/%2E%2E%2Fsecret",
        "/local/inbox/a%2F..%2F..%2Fsecret",
        "/local/inbox/..%5Csecret",
        "/local/inbox//secret",
        "/local/inbox/link",
        "/local/inbox%2F../secret",
        "/local/../secret",
        "/local/nowhere/x",
        "/other/inbox/x",
    ] {
        let answer = sim.http.get(sim.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        assert!(!answer.text().await.unwrap().contains("s3cret"), "{path}");
    }
    let missing = sim.http.head(sim.url("/local/inbox/nothing")).send().await.unwrap();
    assert_eq!(missing.headers()["x-ms-error-code"], "BlobNotFound");
    let listed = sim.http.get(sim.url("/local/inbox?restype=container&comp=list")).send().await.unwrap();
    assert!(!listed.text().await.unwrap().contains("link"));
    let put = sim.http.put(sim.url("/local/inbox/new")).body("x").send().await.unwrap();
    assert_eq!(put.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_simulator_is_not_opened_to_others() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let error = simulator::start(listener, Options::default()).err().unwrap();
    assert!(error.to_string().contains("listen on 127.0.0.1"), "{error}");
    let root = TempDir::new().unwrap();
    let container = Container { account: "admin".into(), container: "c".into(), folder: root.path().to_owned() };
    let options = Options { containers: vec![container], ..Options::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    assert!(simulator::start(listener, options).err().unwrap().to_string().contains("`admin`"));
}

// ---- Resource Manager

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

// ---- run history

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

// ---- faults

#[tokio::test]
async fn an_answer_is_lost_while_the_job_is_made() {
    let (sim, _root) = sim(|_| {}).await;
    sim.handle.set_faults(vec![Fault::new(Route::Invoke, Misdeed::CutAfterCreate).times(2)]).unwrap();
    // A request that makes no job uses up nothing.
    assert_eq!(sim.post(&json!({})).await.status(), StatusCode::BAD_REQUEST);
    for _ in 0..2 {
        let error = sim.try_post("claims", &body("x.csv", "x"), &[]).await.unwrap_err();
        assert!(error.is_request() && !error.is_timeout() && !error.is_connect(), "{error:?}");
    }
    sim.submit("x.csv", "x").await;
    assert_eq!(sim.handle.summary().jobs, 3);
}

#[tokio::test]
async fn an_invoke_answers_500_while_the_job_is_made() {
    let (sim, _root) = sim(|_| {}).await;
    sim.handle.set_faults(vec![Fault::new(Route::Invoke, Misdeed::Answer500AfterCreate).times(1)]).unwrap();
    let answer = sim.post(&body("x.csv", "x")).await;
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.json::<Value>().await.unwrap()["error"]["code"], "ServiceError");
    assert_eq!(sim.handle.summary().jobs, 1);
    sim.submit("x.csv", "x").await;
}

#[tokio::test]
async fn faults_are_ordered_over_http_and_throttle_after_a_number_of_requests() {
    let (sim, _root) = sim(|_| {}).await;
    let order = async |faults: Value| {
        let request = sim.http.post(sim.url("/admin/faults")).json(&json!({ "faults": faults }));
        request.send().await.unwrap().status()
    };
    let throttle =
        json!([{ "route": "invoke", "misdeed": { "throttle": { "retryAfter": 7 } }, "after": 1, "times": 1 }]);
    assert_eq!(order(throttle).await, StatusCode::NO_CONTENT);
    sim.submit("x.csv", "1").await;
    let answer = sim.post(&body("x.csv", "2")).await;
    assert_eq!(
        (answer.status(), &answer.headers()["retry-after"]),
        (StatusCode::TOO_MANY_REQUESTS, &"7".parse().unwrap())
    );
    sim.submit("x.csv", "2").await;
    assert_eq!(sim.handle.summary().jobs, 2);
    for bad in [
        json!([{ "route": "invoke", "misdeed": "explode" }]),
        json!([{ "route": "poll", "misdeed": "cutAfterCreate" }]),
        json!([{ "route": "invoke", "misdeed": "cutAfterCreate", "time": 1 }]),
        json!(1),
    ] {
        assert_eq!(order(bad).await, StatusCode::BAD_REQUEST);
    }
    let poll = json!([{ "route": "poll", "misdeed": { "throttle": { "retryAfter": 1 } } }]);
    assert_eq!(order(poll).await, StatusCode::NO_CONTENT);
    let url = format!("{}/{}", sim.handle.scoring_uri("claims"), sim.handle.jobs()[0].name);
    assert_eq!(sim.get(&url, ML).await.status(), StatusCode::TOO_MANY_REQUESTS);
}

// ---- memory

#[tokio::test]
async fn a_restarted_simulator_knows_its_jobs_and_finishes_them() {
    let root = TempDir::new().unwrap();
    let journal = root.path().join("jobs.jsonl");
    let options = |o: &mut Options| o.journal = Some(journal.clone());
    let first = sim_in(&root, options).await;
    first.put("x.csv", "a\n1\n");
    let done = first.submit("x.csv", "done").await;
    first.finish(&done, "Completed").await;
    let cancelled = first.submit("x.csv", "cancelled").await;
    first.cancel(&cancelled).await;
    let working = first.submit("x.csv", "working").await;
    first.hand.advance(seconds(5));
    assert_eq!(first.job(&working).status, "Running");
    let fresh = first.submit("x.csv", "fresh").await;
    drop(first);
    // What a killed process leaves behind: half a line.
    let mut file = std::fs::OpenOptions::new().append(true).open(&journal).unwrap();
    std::io::Write::write_all(&mut file, b"{\"entered\":{\"seq\":4,\"ph").unwrap();

    let stage = root.path().join("outbox/.scorekeeper-simulator");
    std::fs::create_dir_all(stage.join(&done)).unwrap();

    let second = sim_in(&root, options).await;
    assert!(!stage.join(&done).exists(), "a finished job's leftovers");
    second.hand.advance(seconds(100));
    assert_eq!(second.job(&done).status, "Completed");
    assert_eq!(second.job(&cancelled).status, "Canceled");
    for name in [&working, &fresh] {
        second.until(name, "Running").await;
    }
    second.hand.advance(seconds(60));
    for name in [&working, &fresh] {
        second.until(name, "Finalizing").await;
    }
    second.hand.advance(seconds(5));
    for (name, output) in [(&done, "done"), (&working, "working"), (&fresh, "fresh")] {
        assert_eq!(second.arm_status(name).await, "Completed");
        assert!(second.output(output).is_some());
    }
    let next = second.submit("x.csv", "next").await;
    assert_eq!(second.handle.jobs().last().unwrap().name, next);
    second.finish(&next, "Completed").await;
    // The cluster does one thing after the other: what ended before the last job is tidied up.
    for name in [&working, &fresh] {
        assert!(!stage.join(name).exists(), "{name}");
    }
    assert_eq!(second.handle.summary().jobs, 5);
}

#[tokio::test]
async fn a_job_that_published_before_the_process_was_killed_is_not_failed_by_its_own_output() {
    for is_ours in [true, false] {
        let root = TempDir::new().unwrap();
        let journal = root.path().join("jobs.jsonl");
        let options = |o: &mut Options| o.journal = Some(journal.clone());
        let output = format!("out-{is_ours}");
        let first = sim_in(&root, options).await;
        first.put("x.csv", "a\n1\n");
        let name = first.submit("x.csv", &output).await;
        first.finish(&name, "Completed").await;
        // The cluster tidies up before it looks at the end of the next job.
        let next = first.submit("x.csv", &format!("{output}-next")).await;
        first.finish(&next, "Completed").await;
        drop(first);
        // Back to the moment between the link and its record: the staged file is there, later lines are not.
        let text = std::fs::read_to_string(&journal).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let published = lines.iter().position(|line| line.contains(r#""phase":"finalizing""#)).unwrap();
        std::fs::write(&journal, format!("{}\n", lines[..published].join("\n"))).unwrap();
        let stage = root.path().join("outbox/.scorekeeper-simulator").join(&name);
        std::fs::create_dir_all(&stage).unwrap();
        if is_ours {
            std::fs::hard_link(root.path().join("outbox").join(&output), stage.join("any")).unwrap();
        }
        let second = sim_in(&root, options).await;
        second.hand.advance(seconds(64));
        if is_ours {
            second.until(&name, "Finalizing").await;
            second.hand.advance(seconds(5));
            assert_eq!(second.job(&name).status, "Completed");
        } else {
            assert!(second.until(&name, "Failed").await.error.unwrap().contains("already exists"));
        }
    }
}

#[tokio::test]
async fn a_damaged_journal_is_not_guessed_at() {
    let root = TempDir::new().unwrap();
    let journal = root.path().join("jobs.jsonl");
    std::fs::write(&journal, "nonsense\n").unwrap();
    let options = Options { journal: Some(journal.clone()), ..Options::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = simulator::start(listener, options).err().unwrap().to_string();
    assert!(error.contains("line 1 of the journal"), "{error}");
    assert_eq!(std::fs::read_to_string(journal).unwrap(), "nonsense\n");
}

#[tokio::test]
async fn the_oldest_finished_jobs_are_forgotten_and_a_full_house_says_so() {
    let root = TempDir::new().unwrap();
    let journal = root.path().join("jobs.jsonl");
    let options = |o: &mut Options| {
        o.keep_jobs = 2;
        o.journal = Some(journal.clone());
    };
    let sim = sim_in(&root, options).await;
    sim.put("x.csv", "a\n1\n");
    let first = sim.submit("x.csv", "1").await;
    sim.finish(&first, "Completed").await;
    sim.submit("x.csv", "2").await;
    sim.submit("x.csv", "3").await;
    assert_eq!(
        sim.get(&format!("{}/{first}", sim.handle.scoring_uri("claims")), ML).await.status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(sim.post(&body("x.csv", "4")).await.status(), StatusCode::TOO_MANY_REQUESTS);
    let summary = sim.handle.summary();
    assert_eq!((summary.jobs, summary.forgotten, summary.in_flight), (3, 1, 2));
    drop(sim);
    let again = sim_in(&root, options).await;
    assert_eq!((again.handle.jobs().len(), again.handle.summary().jobs), (2, 3));
    assert_eq!(std::fs::read_to_string(&journal).unwrap().lines().count(), 2, "the journal is written anew at start");
}

// ---- by the wall clock

#[tokio::test]
async fn by_default_a_job_is_done_in_a_moment_and_says_so_over_http() {
    let root = TempDir::new().unwrap();
    let sim = sim_in(&root, |o| {
        o.clock = Clock::wall();
        o.timing = Timing::default();
    })
    .await;
    sim.put("x.csv", "a\n1\n");
    let name = sim.submit("x.csv", "x").await;
    sim.until(&name, "Completed").await;
    assert!(sim.output("x").is_some());
    let jobs: Value = sim.http.get(sim.url("/admin/jobs")).send().await.unwrap().json().await.unwrap();
    assert_eq!((&jobs["jobs"][0]["name"], &jobs["jobs"][0]["status"]), (&json!(name), &json!("Completed")));
    let summary: Value = sim.http.get(sim.url("/admin/summary")).send().await.unwrap().json().await.unwrap();
    assert_eq!((&summary["jobs"], &summary["maxInFlight"]), (&json!(1), &json!(1)));
    let itself: Value = sim.http.get(sim.url("/")).send().await.unwrap().json().await.unwrap();
    assert!(itself["what"].as_str().unwrap().starts_with("a simulated"), "{itself}");
}
