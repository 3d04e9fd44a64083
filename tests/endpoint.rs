//! What we send to Azure ML, Resource Manager, storage and the identity endpoint, and what we make of every answer.

mod blobs;
mod examining;
mod looking;
mod requests;
mod service_principal;
mod sharing;
mod submitting;
mod tokens;

use std::sync::Arc;

use app::ports::Clock;
use app::ports::JobAddress;
use azure::batch_endpoint::AzureMl;
use azure::resource_manager;
use azure::tokens::Tokens;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use lifecycle::{BlobVersion, EndpointHosts, Job, LedgerId, MlDomains, Rules, Scoring};
use serde_json::{Value, json};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use crate::support::canned::Canned;

const NOW: OffsetDateTime = datetime!(2026-07-21 10:00:00 UTC);
pub const WORKSPACE: &str =
    "/subscriptions/s1/resourceGroups/g1/providers/Microsoft.MachineLearningServices/workspaces/w1";

/// Gives out tokens whose text is the scope and a number.
#[derive(Debug, Default)]
struct Source {
    asked: std::sync::atomic::AtomicUsize,
}

#[async_trait::async_trait]
impl TokenCredential for Source {
    async fn get_token(&self, scopes: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        let number = 1 + self.asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok(AccessToken::new(format!("{}#{number}", scopes.join(",")), NOW + Duration::hours(1)))
    }
}

fn clock() -> Clock {
    Arc::new(|| NOW)
}

pub fn manager(server: &Canned) -> Arc<resource_manager::Client> {
    let tokens = Tokens::new(Arc::new(Source::default()), clock());
    Arc::new(resource_manager::Client::new(&server.url(""), tokens).unwrap())
}

fn azure_ml(server: &Canned) -> AzureMl {
    azure_ml_at(server, clock())
}

fn azure_ml_at(server: &Canned, clock: Clock) -> AzureMl {
    AzureMl::new(Tokens::new(Arc::new(Source::default()), clock), EndpointHosts::default(), manager(server))
}

/// A clock that begins now, and what moves it on.
fn moving_clock() -> (Clock, impl Fn(Duration)) {
    let passed = Arc::new(std::sync::atomic::AtomicI64::new(0));
    let shown = Arc::clone(&passed);
    let read = move || NOW + Duration::seconds(shown.load(std::sync::atomic::Ordering::SeqCst));
    (Arc::new(read), move |by: Duration| {
        passed.fetch_add(by.whole_seconds(), std::sync::atomic::Ordering::SeqCst);
    })
}

/// A scoring in its second attempt, as it is recorded before the POST. `rule` adds members to the rule.
pub fn scoring_of(endpoint: &str, rule: &Value) -> Scoring {
    let mut full = json!({ "id": "claims", "match": { "container": "uploads" }, "endpoint": { "uri": endpoint } });
    for (name, value) in rule.as_object().unwrap() {
        full[name] = value.clone();
    }
    let rules = Rules::read(&json!({ "rules": [full] }).to_string()).unwrap();
    let rule = rules.get("claims").unwrap();
    let blob = BlobVersion::read("https://acct.blob.core.windows.net/uploads/eu/a%20b.csv", "0x8DC1").unwrap();
    let mut scoring = Scoring::accept(&LedgerId::of_random([1; 16]), rule, blob, NOW - Duration::minutes(3));
    scoring.attempt = 2;
    scoring.submission = Some(rule.submission(&scoring, 2));
    scoring.submitted = Some(NOW - Duration::minutes(2));
    scoring
}

fn scoring(server: &Canned) -> Scoring {
    let uri = server.url("/jobs");
    scoring_of(&uri, &json!({ "endpoint": { "uri": uri, "workspace": WORKSPACE } }))
}

/// Where the job `name` of `scoring` is looked at.
fn address(scoring: &Scoring, name: &str) -> JobAddress {
    JobAddress {
        endpoint: scoring.endpoint.clone(),
        workspace: scoring.workspace.clone(),
        identity: scoring.identity.clone(),
        job: Job { name: name.parse().unwrap(), id: None, studio: None },
    }
}

/// A job as the data plane answers it (recorded traffic of Microsoft's own tests, shortened).
fn job(server: &Canned, name: &str, status: &str) -> Value {
    json!({
        "id": format!("{WORKSPACE}/batchEndpoints/claims/deployments/blue/jobs/{name}"),
        "name": name,
        "type": "Microsoft.MachineLearningServices/workspaces/batchEndpoints/deployments/jobs",
        "properties": {
            "provisioningState": "Succeeded",
            "inputData": { "input1": { "description": null, "uri": "https://x", "mode": "ReadOnlyMount", "jobInputType": "UriFolder" } },
            "compute": { "target": "cpu", "instanceCount": null },
            "status": status,
            "interactionEndpoints": {
                "Tracking": { "jobEndpointType": "Tracking", "port": null, "endpoint": format!("azureml://{}/mlflow/v1.0{WORKSPACE}?", server.authority) },
                "Studio": { "jobEndpointType": "Studio", "port": null, "endpoint": format!("https://ml.azure.com/runs/{name}") }
            },
            "tags": { "azureml.batchrun": "true" },
            "name": "lemon_yacht_26h5qxzs"
        },
        "systemData": { "createdAt": "2026-07-21T09:58:23.4487583+00:00", "createdBy": "app" }
    })
}
