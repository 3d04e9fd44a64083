//! No secret is ever printed: one of each kind is planted at each place that comes from outside, and nothing that the product
//! shows, logs or answers holds as much as ten characters of it.
//!
//! The redactor's own properties stand beside it (`lifecycle::redact`); here it is shown that everything goes through it.

use std::io::Write;
use std::sync::{Arc, Mutex};

use app::ledger::{Ledger, LedgerOptions};
use app::ports::{Blobs as _, Endpoint as _, JobAddress};
use app::{App, Parts, error_chain};
use axum::body::{Body, to_bytes};
use axum::http::Request;
use azure::batch_endpoint::AzureMl;
use azure::blobs::AzureBlobs;
use azure::management::AzureCloud;
use azure::resource_manager;
use azure::tokens::Tokens;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use doctor::Cloud as _;
use handler::config::{LedgerLocation, Log, LogFormat, WhichLedger};
use handler::page::{self, PageOptions};
use handler::redacting::Redacting;
use handler::telemetry;
use lifecycle::{EndpointHosts, Job, LedgerId, Rules, StorageHosts};
use serde_json::{Value, json};
use stores::memory::MemoryStore;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use tower::ServiceExt as _;

use self::rules::{documents, planted};
use crate::endpoint::WORKSPACE;
use crate::support::canned::{self, Canned};
use crate::support::world::event;

mod commands;
mod rules;
mod settings;

const NOW: OffsetDateTime = datetime!(2026-07-21 10:00:00 UTC);
/// No option names the ledger.
const HERE: WhichLedger = WhichLedger { ledger: None, data: None, profile: None, task_hub: None };
/// What is planted. Nothing else of a test's looks like it.
const SECRET: &str = "Zq7Xw9Kj2Vb5Nm8Rt4Yp6Lc3";

/// One of each kind, as people and services write it.
fn kinds() -> Vec<(&'static str, String)> {
    let s = SECRET;
    vec![
        ("bearer token", format!("Bearer {s}.{s}")),
        ("bare JWT", format!("eyJhbGciOiJSUzI1NiJ9.eyJhdWQi{s}.{s}")),
        ("SAS", format!("https://a.blob.core.windows.net/con/p?sv=2026&sp=r&sig={s}%3D&se=2027")),
        ("encoded SAS", format!("copy%3Fsv%3D2026%26sig%3D{s}%253D%26se%3D2027")),
        ("account key", format!("DefaultEndpointsProtocol=https;AccountName=a;AccountKey={s}+/{s}==;EndpointSuffix=x")),
        ("bare account key", format!("{s}{s}{s}aB3/aB3+aB3aB3==")),
        ("shared access key", format!("Endpoint=sb://n/;SharedAccessKeyName=n;SharedAccessKey={s}{s}=")),
        ("user and password", format!("https://me:{s}@host.example/jobs")),
        ("function key", format!("https://f.azurewebsites.net/api/x?code={s}==")),
        ("client secret", format!("{{\"clientSecret\":\"{s}\"}}")),
        ("bare client secret", format!("abc8Q~{s}{s}")),
        ("database password", format!("Server=x;User ID=me;Password={s};X=1")),
    ]
}

/// Fails if ten characters of the secret in a row are shown, in plain or as HTML writes them.
fn assert_hidden(kind: &str, place: &str, shown: &str) {
    for from in 0..=SECRET.len() - 10 {
        assert!(!shown.contains(&SECRET[from..from + 10]), "{kind} in {place}:\n{shown}");
    }
}

/// Gives out one token.
#[derive(Debug)]
struct Source(String);

#[async_trait::async_trait]
impl TokenCredential for Source {
    async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        Ok(AccessToken::new(self.0.clone(), NOW + Duration::hours(1)))
    }
}

fn tokens<A: azure::tokens::Audience>(token: &str) -> Tokens<A> {
    Tokens::new(Arc::new(Source(token.to_owned())), Arc::new(|| NOW))
}

/// What is logged at level `trace`, in both forms.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Kept {
    fn start(&self, format: LogFormat) -> tracing::subscriber::DefaultGuard {
        let kept = self.clone();
        let log = Log { filter: "trace".parse().unwrap(), format };
        tracing::subscriber::set_default(telemetry::subscriber(&log, move || kept.clone()))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// The product on Azure's adapters, with the services of `server`.
fn app(server: &Canned, rules: &Value, token: &str) -> Option<App> {
    let rules = Rules::read(&rules.to_string()).ok()?;
    let options = LedgerOptions {
        task_hub: "Test".to_owned(),
        writer: "w".to_owned(),
        new_id: LedgerId::of_random([1; 16]),
        projection: true,
    };
    let manager = Arc::new(resource_manager::Client::new(&server.url(""), tokens(token)).unwrap());
    let hosts = StorageHosts::of_cloud("core.windows.net");
    Some(App::new(Parts {
        callbacks: None,
        ledger: Ledger::new(Arc::new(MemoryStore::new()), &options).unwrap(),
        endpoint: Arc::new(AzureMl::new(tokens(token), EndpointHosts::default(), Arc::clone(&manager))),
        blobs: Arc::new(AzureBlobs::new(manager, tokens(token), hosts.clone())),
        dead_letters: None,
        rules,
        storage_hosts: hosts,
        clock: Arc::new(|| NOW),
        orphan_scan_interval: Some(Duration::minutes(10)),
        retention: Duration::days(30),
    }))
}

/// All that commands and pages show of a ledger, and, with a text, of what is ordered there for that reason.
async fn shown(ledger: &Ledger, text: Option<&str>) -> String {
    let mut ids = Vec::new();
    ledger
        .scorings(|scoring| {
            ids.push(scoring.id.to_string());
            true
        })
        .await
        .unwrap();
    let mut kept = Vec::new();
    for id in ids.iter().map(String::as_str).chain(ids.is_empty().then_some("00000000")) {
        kept.extend(commands::shown(ledger, id, text).await);
    }
    let mut out = Redacting::new(&mut kept);
    let pages = ["/", "/api/scorings", "/api/limits", "/api/breakers"].map(str::to_owned).into_iter();
    let pages = pages.chain(ids.iter().flat_map(|id| [format!("/scorings/{id}"), format!("/api/scorings/{id}")]));
    for path in pages {
        let request = Request::get(&*path).body(Body::empty()).unwrap();
        let options = PageOptions {
            ledger: ledger.clone(),
            place: LedgerLocation::Embedded("ledger".into()),
            clock: Arc::new(|| NOW),
            title: "Test".to_owned(),
            which: HERE,
            operator: Some("ann".to_owned()),
            token: page::new_token(),
            live: page::Live::Pushed,
            measured: page::Measured::default(),
            results: None,
        };
        let answer = page::router(options).oneshot(request).await.unwrap();
        out.write_all(&to_bytes(answer.into_body(), 1 << 20).await.unwrap()).unwrap();
    }
    drop(out);
    String::from_utf8(kept).unwrap()
}

/// Delivers an event and drives what it becomes, then shows all there is to see.
async fn lived(server: &Canned, rules: &Value, event: &Value, token: &str, text: Option<&str>) -> (String, usize) {
    let Some(app) = app(server, rules, token) else { return (String::new(), 0) };
    let (accepted, submissions) = app.accept(event).await.unwrap().into_parts();
    submissions.send().await;
    for _ in 0..3 {
        app.tick(NOW + Duration::minutes(1)).await.unwrap();
    }
    let summary = serde_json::to_string(&accepted).unwrap();
    (summary + &shown(app.ledger(), text).await, accepted.accepted.len())
}

/// What is logged meanwhile, in one of both forms.
async fn logged(kind: &str, index: usize, living: impl Future<Output = ()>) {
    let log = Kept::default();
    let guard = log.start(if index.is_multiple_of(2) { LogFormat::Json } else { LogFormat::Text });
    living.await;
    drop(guard);
    assert!(log.text().lines().count() > 100, "the log is on");
    assert_hidden(kind, "the log", &log.text());
}

#[tokio::test]
async fn no_event_that_is_taken_in_shows_or_logs_a_secret() {
    let server = Canned::start().await;
    let rules = &documents(&server.url("/jobs"))[0];
    for (index, (kind, text)) in kinds().into_iter().enumerate() {
        let living = async {
            let mut scored = 0;
            for (place, event) in planted(&event("eu/a.csv", "0x8DC1"), &text) {
                let (shown, accepted) = lived(&server, rules, &event, "t", None).await;
                assert_hidden(kind, &format!("event, {place}"), &shown);
                scored += accepted;
            }
            assert!(scored > 5, "what is planted beside the point does not keep an event from being taken in");
            let path = percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC);
            let (shown, _) = lived(&server, rules, &event(&format!("eu/{path}.csv"), "0x8DC1"), "t", Some(&text)).await;
            assert_hidden(kind, "a blob's name", &shown);
        };
        logged(kind, index, Box::pin(living)).await;
    }
}

#[tokio::test]
async fn no_rule_that_is_lived_by_shows_or_logs_a_secret() {
    let server = Canned::start().await;
    let documents = documents(&server.url("/jobs"));
    for (index, (kind, text)) in kinds().into_iter().enumerate() {
        let living = async {
            let mut scored = 0;
            for (place, rules) in documents[..2].iter().flat_map(|document| planted(document, &text)) {
                let (shown, accepted) = lived(&server, &rules, &event("eu/a.csv", "0x8DC1"), "t", None).await;
                assert_hidden(kind, &format!("rule, {place}"), &shown);
                scored += accepted;
            }
            assert!(scored > 0, "under a rule with a secret in a text for people, blobs are scored");
        };
        logged(kind, index, Box::pin(living)).await;
    }
}

/// What Azure may answer to each question, with the secret in it. Statuses that are not asked for again: those would wait.
fn answers(text: &str, server: &Canned) {
    let quoting = |status| {
        canned::json(
            status,
            &json!({ "error": { "code": text, "message": format!("the request {text} is bad"),
            "details": [{ "code": "X", "message": json!({ "error": { "message": text } }).to_string() }] } }),
        )
    };
    let named = json!({ "id": format!("{WORKSPACE}/batchEndpoints/e/jobs/{text}"), "name": text, "properties": { "status": text,
        "interactionEndpoints": { "Studio": { "endpoint": format!("https://ml.azure.com/runs/{text}") } } } });
    let posts = [quoting(400), quoting(403), quoting(501), canned::json(202, &named), canned::text(418, text)];
    for post in posts {
        server.at("POST /jobs", post);
    }
    server.at(&format!("GET {WORKSPACE}/jobs"), quoting(403));
    server.at(&format!("GET {WORKSPACE}/datastores/d"), quoting(404));
    server.at(&format!("GET {WORKSPACE}"), quoting(409));
}

#[tokio::test]
async fn no_answer_of_a_service_and_no_token_shows_or_logs_a_secret() {
    for (index, (kind, text)) in kinds().into_iter().enumerate() {
        let server = Canned::start().await;
        answers(&text, &server);
        let log = Kept::default();
        let guard = log.start(if index % 2 == 0 { LogFormat::Json } else { LogFormat::Text });
        for place in ["400", "403", "501", "202", "418"] {
            let (shown, accepted) = lived(
                &server,
                &documents(&server.url("/jobs"))[0],
                &event("eu/a.csv", place),
                &format!("t{SECRET}"),
                Some(&text),
            )
            .await;
            assert_eq!(accepted, 1);
            assert!(
                shown.contains("***"),
                "{kind}, {place}: what the service said is shown, but for its secret:\n{shown}"
            );
            assert_hidden(kind, &format!("the answer {place}"), &shown);
        }
        // What the doctor asks, and what is asked of a job that failed.
        let cloud = AzureCloud::new(
            &server.url(""),
            tokens("t"),
            (tokens("t"), EndpointHosts::default()),
            (tokens("t"), StorageHosts::default()),
        )
        .unwrap();
        let error = cloud.resource(WORKSPACE, "v").await.unwrap_err();
        assert_hidden(kind, "the doctor's query", &error_chain(&error));
        server.next(canned::json(200, &json!({ "name": "j", "id": format!("{WORKSPACE}/batchEndpoints/e/jobs/j"), "properties": {
            "status": "Failed", "interactionEndpoints": { "Tracking": { "endpoint": format!("azureml://{}/x", server.authority) } } } })));
        server.next(canned::json(200, &json!({ "error": { "error": { "code": "UserError", "message": text } } })));
        let manager = Arc::new(resource_manager::Client::new(&server.url(""), tokens("t")).unwrap());
        let ml = AzureMl::new(tokens("t"), EndpointHosts::default(), Arc::clone(&manager));
        let job = Job { name: "j".parse().unwrap(), id: None, studio: None };
        let at =
            JobAddress { endpoint: server.url("/other/jobs").parse().unwrap(), workspace: None, identity: None, job };
        let failed = ml.job(&at).await.unwrap().value.expect("the job is known");
        let told = failed.error.expect("why it failed");
        assert!(told.starts_with("UserError: "), "{told}");
        assert_hidden(kind, "a job's error", &told);
        let scoring = crate::endpoint::scoring_of(&server.url("/jobs"), &json!({}));
        let blobs = AzureBlobs::new(manager, tokens("t"), StorageHosts::default());
        assert_hidden(kind, "a look at an output", &error_chain(&blobs.outputs(&scoring).await.unwrap_err()));
        drop(guard);
        assert_hidden(kind, "the log", &log.text());
    }
}
