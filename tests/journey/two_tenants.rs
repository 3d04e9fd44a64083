//! Two endpoints in two tenants: each rule's endpoint, jobs, list and outputs are asked for with the tokens of its own tenant.
//!
//! A simulator for each tenant: it takes no token but those that it issued itself. Resource Manager is one for all tenants, so a
//! front of the test stands for it, which hands each request on by its subscription and keeps what it saw.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;

use super::*;

const OWN: &str = "11111111-0000-0000-0000-000000000000";
const PARTNER: &str = "22222222-0000-0000-0000-000000000000";

/// The clouds of both tenants. Jobs of the first take longer, so that of two results with one path in their storages the older one is
/// published last: it gives way to no result of the other.
async fn clouds() -> (Cloud, Cloud) {
    let slow = Timing { running: Duration::from_secs(2), ..Timing::default() };
    let own = Cloud::in_subscription(OWN, "results", slow).await;
    (own, Cloud::in_subscription(PARTNER, "partnerresults", Timing::default()).await)
}

/// A request at Resource Manager: its subscription, its method and path, its token, what was answered.
#[derive(Debug, Clone)]
struct Asked {
    subscription: String,
    line: String,
    token: String,
    status: u16,
}

/// Resource Manager of all tenants.
struct Front {
    origin: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Front {
    async fn before(own: &Cloud, partner: &Cloud) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, behind) = (Arc::clone(&asked), [own.simulator.origin(), partner.simulator.origin()]);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let router = Router::new().fallback(move |request: Request| {
            let (seen, behind, client) = (Arc::clone(&seen), behind.clone(), client.clone());
            async move { hand_on(request, &behind, &client, &seen).await }
        });
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { origin, asked, serving }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn hand_on(
    request: Request,
    [own, partner]: &[String; 2],
    client: &reqwest::Client,
    seen: &Mutex<Vec<Asked>>,
) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().unwrap().to_string();
    let subscription = path.split('/').nth(2).unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
    let to = if subscription == PARTNER { partner } else { own };
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let mut sent = client.request(parts.method.clone(), format!("{to}{path}")).body(body);
    for (name, value) in parts.headers.iter().filter(|(name, _)| *name != "host" && *name != "content-length") {
        sent = sent.header(name, value);
    }
    let answer = sent.send().await.unwrap();
    let status = answer.status();
    let token = parts.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let line = format!("{} {path}", parts.method);
    seen.lock().unwrap().push(Asked { subscription, line, token, status: status.as_u16() });
    let mut response = Response::builder().status(status);
    for (name, value) in answer.headers().iter().filter(|(name, _)| *name != "transfer-encoding") {
        response = response.header(name, value);
    }
    response.body(Body::from(answer.bytes().await.unwrap())).unwrap()
}

fn rule(id: &str, container: &str, cloud: &Cloud, identity: Option<&str>) -> Value {
    let mut rule = json!({
        "id": id,
        "match": { "container": container },
        "endpoint": { "uri": cloud.simulator.scoring_uri("heart"), "workspace": cloud.simulator.workspace_id() },
        "inputs": { "input_data": { "type": "UriFile", "uri": "azureml://datastores/workspaceblobstore/paths/{blob.path}" } },
        "outputs": { "score": { "type": "UriFile",
            "uri": "azureml://datastores/workspaceblobstore/paths/attempts/{scoring.id}/{attempt}/p.csv",
            "publish": { "uri": "azureml://datastores/workspaceblobstore/paths/latest/{blob.stem}.csv" } } },
        "pollInterval": "PT0.05S", "submitTimeout": "PT2S", "lookupInterval": "PT0.1S", "resubmitAfter": "PT4S",
        "retryBackOff": "PT0.1S", "outputTimeout": "PT60S", "jobTimeout": "PT10S", "maxAttempts": 1, "verifyInput": false, "sweep": "off"
    });
    if let Some(identity) = identity {
        rule["endpoint"]["identity"] = json!(identity);
    }
    rule
}

fn vars(own: &Cloud, partner: &Cloud, front: &Front) -> BTreeMap<String, String> {
    let mut vars = own.vars("ledger");
    let rules =
        json!({ "rules": [rule("ours", "inbox", own, None), rule("theirs", "theirs", partner, Some("partner"))] });
    for (name, value) in [
        ("SCOREKEEPER_RULES", rules.to_string()),
        ("SCOREKEEPER_RESOURCE_MANAGER", front.origin.clone()),
        ("SCOREKEEPER_ORPHAN_SCAN_INTERVAL", "PT1S".to_owned()),
        ("SCOREKEEPER_IDENTITIES", "partner".to_owned()),
        ("SCOREKEEPER_IDENTITY_PARTNER_TENANT_ID", "partner.example".to_owned()),
        ("SCOREKEEPER_IDENTITY_PARTNER_CLIENT_ID", "11111111-2222-3333-4444-555555555555".to_owned()),
        ("SCOREKEEPER_IDENTITY_PARTNER_CLIENT_SECRET", "PLANTED~secret".to_owned()),
        ("SCOREKEEPER_IDENTITY_PARTNER_AUTHORITY_HOST", partner.simulator.origin()),
    ] {
        vars.insert(name.to_owned(), value);
    }
    vars
}

fn uploaded(container: &str, path: &str) -> Value {
    let mut event = event(path);
    event["data"]["url"] = json!(format!("https://acct.blob.core.windows.net/{container}/{path}"));
    event
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_rules_endpoint_is_asked_with_the_tokens_of_its_own_tenant_alone() {
    let (own, partner) = clouds().await;
    let front = Front::before(&own, &partner).await;
    let vars = vars(&own, &partner, &front);
    for cloud in [&own, &partner] {
        for name in ["good.csv", "lost.csv", "twice.csv", "stuck.csv"] {
            std::fs::create_dir_all(cloud.root().join("scores")).unwrap();
            std::fs::write(cloud.root().join("scores").join(name), "x,y\n1,2\n").unwrap();
        }
        let faults = vec![
            Fault::new(Route::Invoke, FaultKind::lost_answer(Instead::Cut)).matching("lost.csv").times(1),
            Fault::new(Route::Invoke, FaultKind::Duplicated { jobs: 2 }).matching("twice.csv").times(1),
            Fault::new(Route::Invoke, FaultKind::Stuck).matching("stuck.csv").times(1),
        ];
        cloud.simulator.set_faults(faults).unwrap();
    }
    let host = FunctionsHost::start(own.root(), &vars).await;
    let mut id = 0;
    for container in ["inbox", "theirs"] {
        for name in ["good.csv", "lost.csv", "twice.csv", "stuck.csv"] {
            id += 1;
            host.invoke("BlobCreated", &id.to_string(), "event", &uploaded(container, name)).await.value();
        }
    }
    let ledger = ledger(&vars, own.root());
    tick_until_final(&host, &ledger).await;
    // The second job of one request is found in the workspace's list.
    let end = Instant::now() + LIMIT;
    let mut all = scorings(&ledger).await;
    while all.iter().filter(|it| it.blob.path == "twice.csv" && it.orphaned_jobs.len() == 1).count() < 2 {
        assert!(Instant::now() < end, "{all:?}");
        host.invoke("Reconcile", "tick", "timer", &json!({})).await.value();
        all = scorings(&ledger).await;
    }
    for rule in ["ours", "theirs"] {
        let of = |name: &str| all.iter().find(|it| it.rule == rule && it.blob.path == name).unwrap();
        for name in ["good.csv", "lost.csv"] {
            assert_eq!(of(name).status, Status::Scored, "{rule} {name}: {:?}", of(name));
            assert_eq!(of(name).identity.as_deref(), (rule == "theirs").then_some("partner"));
        }
        // Which of two jobs with one output comes first is theirs to settle.
        assert!(of("twice.csv").status.is_terminal());
        assert_eq!(of("stuck.csv").status, Status::Failed, "{rule}: {:?}", of("stuck.csv"));
    }
    for cloud in [&own, &partner] {
        let is_published = cloud.root().join("scores/latest/good.csv").is_file();
        assert!(
            is_published,
            "with its tenant's token: {:?}",
            all.iter().map(|it| (&it.blob.path, &it.publishing)).collect::<Vec<_>>()
        );
    }
    // Resource Manager was asked about each subscription with tokens that were never sent about the other, and refused none.
    let asked = front.asked();
    let tokens = |subscription: &str| -> BTreeSet<String> {
        asked.iter().filter(|it| it.subscription == subscription).map(|it| it.token.clone()).collect()
    };
    assert!(!tokens(OWN).is_empty() && !tokens(PARTNER).is_empty());
    assert!(tokens(OWN).is_disjoint(&tokens(PARTNER)), "a token was sent about both tenants");
    let refused: Vec<_> = asked.iter().filter(|it| matches!(it.status, 401 | 403)).collect();
    assert!(refused.is_empty(), "{refused:?}");
    for subscription in [OWN, PARTNER] {
        for wanted in ["GET /jobs?", "POST /cancel?", "GET /datastores/workspaceblobstore"] {
            let (method, part) = wanted.split_once(' ').unwrap();
            let is_it =
                |it: &&Asked| it.subscription == subscription && it.line.starts_with(method) && it.line.contains(part);
            assert!(asked.iter().any(|it| is_it(&it)), "{subscription}: no {wanted} in {asked:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn config_and_doctor_show_and_try_the_identity_of_each_rule() {
    let (own, partner) = clouds().await;
    let front = Front::before(&own, &partner).await;
    let mut vars = vars(&own, &partner, &front);
    let config = own.told(&vars, &["config"]).await;
    let shown = "service principal 11111111-2222-3333-4444-555555555555 of tenant partner.example, by a secret";
    assert!(config.to_string().contains(shown), "{config}");
    assert_eq!(config["rules"][1]["identity"], "partner", "{config}");
    let of_partner = |report: &Value, check: &str| -> Vec<Value> {
        let findings = report["findings"].as_array().unwrap().iter();
        let is = |it: &&Value| {
            it["check"] == check && it["about"].as_str().is_some_and(|about| about.contains("identity partner"))
        };
        findings.filter(is).cloned().collect()
    };
    let report = own.told(&vars, &["doctor"]).await;
    for check in ["token.ml", "token.management", "workspace", "endpoint", "endpoint.answer"] {
        let found = of_partner(&report, check);
        assert!(found.len() == 1 && found[0]["verdict"] == "ok", "{check}: {found:?} in {report:#}");
    }
    // What is asked of no subscription goes to one tenant here, whoever asks.
    let asked: Vec<_> = front.asked().into_iter().filter(|it| !it.subscription.is_empty()).collect();
    let refused: Vec<_> = asked.iter().filter(|it| it.status == 401).collect();
    assert!(!asked.is_empty() && refused.is_empty(), "{refused:?}");
    // Whoever the partner's tenant refuses is told of with the settings of that identity.
    vars.insert("SCOREKEEPER_IDENTITY_PARTNER_AUTHORITY_HOST".to_owned(), format!("{}/", own.simulator.origin()));
    vars.insert(
        "SCOREKEEPER_IDENTITY_PARTNER_CLIENT_SECRET".to_owned(),
        "@Microsoft.KeyVault(SecretUri=https://v/s)".to_owned(),
    );
    let report = own.told(&vars, &["doctor"]).await;
    // The first of the three; the others have the same cause.
    let found = of_partner(&report, "token.storage");
    let text = format!("{found:?}");
    assert!(text.contains("fault") && text.contains("SCOREKEEPER_IDENTITY_PARTNER"), "{report:#}");
    assert!(!format!("{config}{report}").contains("PLANTED"));
}

/// Microsoft Entra ID of the partner's tenant, before its simulator, which knows secrets alone: an application there trusts the app's
/// managed identity. What it was sent as assertions is kept.
struct TrustingEntra {
    origin: String,
    assertions: Arc<Mutex<Vec<String>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl TrustingEntra {
    async fn before(partner: &Cloud) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let assertions = Arc::new(Mutex::new(Vec::new()));
        let (seen, behind) = (Arc::clone(&assertions), partner.simulator.origin());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let router = Router::new().fallback(move |request: Request| {
            let (seen, behind, client) = (Arc::clone(&seen), behind.clone(), client.clone());
            async move {
                let path = request.uri().path().to_owned();
                assert_eq!(path, "/partner.example/oauth2/v2.0/token");
                let form = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
                let mut fields: BTreeMap<String, String> = url::form_urlencoded::parse(&form).into_owned().collect();
                assert_eq!(
                    fields.remove("client_assertion_type").as_deref(),
                    Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
                );
                seen.lock().unwrap().push(fields.remove("client_assertion").unwrap());
                assert!(!fields.contains_key("client_secret"), "{:?}", fields.keys());
                fields.insert("client_secret".to_owned(), "the partner's simulator takes any".to_owned());
                let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
                let answer = client.post(format!("{behind}{path}")).body(form).send().await.unwrap();
                let status = answer.status();
                Response::builder().status(status).body(Body::from(answer.bytes().await.unwrap())).unwrap()
            }
        });
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { origin, assertions, serving }
    }
}

impl Drop for TrustingEntra {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_trusts_the_managed_identity_is_asked_as_without_a_secret() {
    use base64::Engine as _;

    let (own, partner) = clouds().await;
    let front = Front::before(&own, &partner).await;
    let entra = TrustingEntra::before(&partner).await;
    let mut vars = vars(&own, &partner, &front);
    vars.remove("SCOREKEEPER_IDENTITY_PARTNER_CLIENT_SECRET");
    let managed = "99999999-2222-3333-4444-555555555555";
    for (name, value) in [
        ("SCOREKEEPER_IDENTITY_PARTNER", format!("workloadIdentity:clientId={managed}")),
        ("SCOREKEEPER_IDENTITY_PARTNER_AUTHORITY_HOST", entra.origin.clone()),
        ("AZURE_CLOUD", "AzureUSGovernment".to_owned()),
    ] {
        vars.insert(name.to_owned(), value);
    }
    std::fs::create_dir_all(partner.root().join("scores")).unwrap();
    std::fs::write(partner.root().join("scores/good.csv"), "x,y\n1,2\n").unwrap();
    let host = FunctionsHost::start(own.root(), &vars).await;
    host.invoke("BlobCreated", "1", "event", &uploaded("theirs", "good.csv")).await.value();
    let ledger = ledger(&vars, own.root());
    tick_until_final(&host, &ledger).await;
    let all = scorings(&ledger).await;
    assert_eq!(all.iter().map(|s| s.status).collect::<Vec<_>>(), [Status::Scored], "{all:?}");
    assert!(partner.root().join("scores/latest/good.csv").is_file());
    // Each is a token of the managed identity for the exchange of this cloud, and for nothing else.
    let assertions = entra.assertions.lock().unwrap().clone();
    assert!(assertions.len() >= 3, "for the endpoint, Resource Manager and the storage: {}", assertions.len());
    for assertion in &assertions {
        let claims = assertion.split('.').next().unwrap();
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["aud"], "api://AzureADTokenExchangeUSGov", "{claims}");
    }
    let config = own.told(&vars, &["config"]).await.to_string();
    let shown = format!(
        "service principal 11111111-2222-3333-4444-555555555555 of tenant partner.example, by the managed identity that is user-assigned with client id {managed}"
    );
    assert!(config.contains(&shown), "{config}");
    // Whose managed identity the platform does not give is told of by that, with the settings of this identity.
    vars.insert("IDENTITY_HEADER".to_owned(), "wrong".to_owned());
    let report = own.told(&vars, &["doctor"]).await;
    let findings = report["findings"].as_array().unwrap().iter();
    let of_partner = |it: &&Value| it["about"].as_str().is_some_and(|about| about.contains("identity partner"));
    let told = format!("{:?}", findings.filter(of_partner).collect::<Vec<_>>());
    assert!(told.contains("the identity endpoint answered 401") && told.contains("IDENTITY_HEADER"), "{report:#}");
    for text in [config, report.to_string()] {
        assert!(assertions.iter().all(|assertion| !text.contains(assertion.as_str())));
    }
}
