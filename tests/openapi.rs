//! The OpenAPI document of the HTTP functions: made of what stands here, held against the checked-in file, and tried on the real binary
//! with what the document allows and what it does not. The package holds nothing of it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};
use simulator::Timing;
use utoipa::{Modify, OpenApi, ToSchema};

use crate::starts::{KEY, vars};
use crate::support::cloud::Cloud;
use crate::support::functions_host::FunctionsHost;
use crate::support::pypi;

/// What is asked for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Start {
    /// Id of a rule.
    #[schema(example = "claims", max_length = 64)]
    rule: String,
    /// CONTAINER/PATH, decoded: a blob that the rule accepts.
    #[schema(example = "inbox/a.csv", pattern = "^[a-z0-9$][a-z0-9-]*/.+$", max_length = 1024)]
    blob: String,
    /// The storage account's name, where the rule names none and events of several arrive.
    #[schema(example = "acct", pattern = "^[a-z0-9]{3,24}$", nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// Values for the rule's parameters, by name.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<BTreeMap<String, Parameter>>,
    /// Once more, as a generation of its own; takes an Idempotency-Key.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    again: Option<bool>,
    /// Where to tell of the end.
    #[schema(format = "uri", pattern = "^https://", nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    call_back_uri: Option<String>,
}

/// A value.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Parameter {
    Text(String),
    Number(f64),
    Boolean(bool),
}

/// A scoring that is started, and what may be asked of it. Addresses are paths, without a key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Started {
    /// The scoring's id.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    id: String,
    status_query_get_uri: String,
    terminate_post_uri: String,
    rewind_post_uri: String,
}

/// A scoring as Durable Functions shows an instance.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Instance {
    /// Its rule.
    name: String,
    #[schema(pattern = "^[0-9a-f]{32}$")]
    instance_id: String,
    runtime_status: RuntimeStatus,
    /// Which blob version, and with which values.
    input: Value,
    /// Where it stands, in this app's own words.
    custom_status: Value,
    /// How it ended; null before.
    output: Option<Value>,
    #[schema(format = "date-time")]
    created_time: String,
    #[schema(format = "date-time")]
    last_updated_time: String,
}

/// Durable Functions' word.
#[derive(Serialize, ToSchema)]
enum RuntimeStatus {
    Pending,
    Running,
    Completed,
    Failed,
    Canceled,
    Terminated,
}

/// Why there is no other answer.
#[derive(Serialize, ToSchema)]
struct Problem {
    error: Cause,
}

/// For programs, and for people.
#[derive(Serialize, ToSchema)]
struct Cause {
    code: String,
    message: String,
}

/// Starts a scoring, or finds the one that was started by the same key, or by the blob's own upload.
#[utoipa::path(post, path = "/api/scorings", operation_id = "start", request_body = Start, params(
    ("Idempotency-Key" = Option<String>, Header, description = "The same for each repetition of one request.", max_length = 256, pattern = "^[!-+.-~]+$"),
    ("returnInternalServerErrorOnFailure" = Option<bool>, Query, description = "An end without a result is answered 500."),
), responses(
    (status = 202, body = Started, headers(("Location" = String), ("Retry-After" = i32))),
    (status = 400, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
    (status = 410, body = Problem), (status = 411, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem),
    (status = 429, body = Problem), (status = 503, body = Problem),
))]
fn start() {}

/// Tells where a scoring stands: 202 until it has ended.
#[utoipa::path(get, path = "/api/scorings/{id}", operation_id = "status", params(
    ("id" = String, Path, pattern = "^[0-9a-f]{32}$"),
    ("returnInternalServerErrorOnFailure" = Option<bool>, Query, description = "An end without a result is answered 500."),
), responses(
    (status = 200, body = Instance), (status = 202, body = Instance, headers(("Location" = String), ("Retry-After" = i32))),
    (status = 400, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem), (status = 500, body = Instance), (status = 503, body = Problem),
))]
fn status() {}

/// Lists scorings, the newest first.
#[utoipa::path(get, path = "/api/operations", operation_id = "list", params(
    ("status" = Option<String>, Query, description = "Statuses, with commas between.", pattern = "^(queued|running|failed|scored)?$"),
    ("rule" = Option<String>, Query, description = "Id of a rule."),
    ("top" = Option<i32>, Query, description = "So many at most.", minimum = 1, maximum = 1000),
), responses(
    (status = 200, body = Vec<Object>), (status = 400, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem),
))]
fn list() {}

/// Cancels a scoring, or tries it again.
#[utoipa::path(post, path = "/api/operations/{id}/{order}", operation_id = "order", params(
    ("id" = String, Path, pattern = "^[0-9a-f]{32}$"),
    ("order" = Order, Path),
    ("reason" = Option<String>, Query, description = "Why: it stands in the history, up to 500 characters."),
    ("yes" = Option<bool>, Query, description = "An order of a group is meant of all its members."),
), responses(
    (status = 202, body = Started, headers(("Location" = String))), (status = 400, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, body = Problem), (status = 410, body = Problem), (status = 503, body = Problem),
))]
fn order() {}

/// What is ordered.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Order {
    Cancel,
    Retry,
}

struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme};
        let key = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("x-functions-key")));
        if let Some(components) = &mut document.components {
            components.add_security_scheme("functionKey", key);
        }
        document.security = Some(vec![SecurityRequirement::new("functionKey", [""; 0])]);
    }
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Scorekeeper", version = "1", description = "Scorings of blobs by Azure Machine Learning batch endpoints, for orchestrators.", license(name = "MIT")),
    paths(start, status, list, order),
    components(schemas(Parameter, Order)),
    modifiers(&Keys)
)]
struct Document;

fn file() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json")
}

#[test]
fn the_openapi_document_is_the_one_that_is_checked_in() {
    let made = Document::openapi().to_pretty_json().unwrap() + "\n";
    #[expect(clippy::disallowed_methods, reason = "whoever changes it says so by this")]
    if std::env::var("SCOREKEEPER_WRITE_OPENAPI").is_ok() {
        std::fs::write(file(), &made).unwrap();
    }
    let kept = std::fs::read_to_string(file()).unwrap_or_default();
    assert!(kept == made, "handler/openapi.json is another: run this test with SCOREKEEPER_WRITE_OPENAPI=1");
}

/// Not tried: who may ask is the host's, and whether a valid request is accepted depends on rules and blobs that no document knows.
const LEFT_OUT: &str = "ignored_auth,missing_required_header,positive_data_acceptance";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_document_allows_and_what_it_does_not_is_answered_as_it_says() {
    let Some(environment) = pypi::environment("schemathesis", "SCOREKEEPER_REQUIRE_SCHEMATHESIS") else { return };
    let cloud = Cloud::with_pipeline(Timing::default()).await;
    cloud.upload("a.csv", "x\n1\n");
    let vars = vars(&cloud, "ledger");
    let mut host = FunctionsHost::start(cloud.root(), &vars).await;
    let url = format!("http://127.0.0.1:{}", host.port());
    let document = file();
    let arguments = ["run", document.to_str().unwrap(), "--url", &url, "--exclude-checks", LEFT_OUT];
    let more = ["--max-examples", "40", "--seed", "1", "--workers", "1", "--warnings", "off", "--continue-on-failure"];
    let key = format!("x-functions-key: {KEY}");
    let mut command = tokio::process::Command::new(environment.join("bin/schemathesis"));
    command.args(arguments).args(more).args(["--header", &key]).current_dir(cloud.root()).env("NO_COLOR", "1");
    let output = command.output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    // It was sent something that was taken, too.
    assert_ne!(cloud.told(&vars, &["list"]).await, json!([]), "{told}");
    let printed = [host.process().stdout().join("\n"), host.process().stderr()].concat();
    assert!(!printed.contains(KEY) && !printed.contains("ended in a panic"), "{printed}");
}
