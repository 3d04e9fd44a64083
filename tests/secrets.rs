//! No secret is ever printed: one of each kind is planted at each place that comes from outside, and nothing that the product
//! shows, logs or answers holds as much as ten characters of it.
//!
//! The redactor's own properties stand beside it (`lifecycle::redact`); here it is shown that everything goes through it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Command;
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
use handler::cli::breaker::{self, BreakerArgs};
use handler::cli::json::JsonArgs;
use handler::cli::limit::{self, LimitArgs};
use handler::cli::list::{self, Instead, ListArgs};
use handler::cli::{doctor as examination, explain, show, status};
use handler::config::{Config, LedgerLocation, LedgerSettings, Log, LogFormat, WhichLedger};
use handler::page::{self, PageOptions};
use handler::redacting::Redacting;
use handler::telemetry;
use lifecycle::duration::IsoDuration;
use lifecycle::{EndpointHosts, Job, LedgerId, Rules, StorageHosts};
use serde_json::{Value, json};
use stores::memory::MemoryStore;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use tower::ServiceExt as _;

use crate::endpoint::WORKSPACE;
use crate::support::canned::{self, Canned};
use crate::support::functions_host::SCOREKEEPER;
use crate::support::world::event;

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

/// Settings that are good, but for the one that is planted.
fn vars(name: &str, value: &str) -> BTreeMap<String, String> {
    let good = [
        ("SCOREKEEPER_LEDGER", "embedded:ledger"),
        (
            "SCOREKEEPER_RULES",
            r#"{"rules":[{"id":"a","match":{"container": "con"},"endpoint":{"uri":"https://e.example/jobs"}}]}"#,
        ),
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "7071"),
    ];
    let good = good.map(|(name, value)| (name.to_owned(), value.to_owned()));
    good.into_iter().chain([(name.to_owned(), value.to_owned())]).collect()
}

/// All that commands show of these settings.
fn told_of(vars: &BTreeMap<String, String>) -> String {
    let cwd = Path::new("/nowhere");
    let config = match Config::read(vars, cwd) {
        Ok(config) => format!("{}\n{:#}", config.table(), config.json()),
        Err(problems) => problems.to_string(),
    };
    let ledger = LedgerSettings::read(vars, cwd, &WhichLedger::default());
    let ledger = ledger.map_or_else(|problems| problems.to_string(), |settings| settings.ledger.to_string());
    let mut shown = [config, ledger].join("\n").into_bytes();
    if let Err(report) = examination::settings(vars, cwd) {
        for json in [JsonArgs::TEXT, JsonArgs::ALL] {
            let within = IsoDuration(Duration::MINUTE);
            let args = examination::DoctorArgs { settings: None, app: None, within, quiet: false, json };
            examination::print(&report, &args, &mut shown).unwrap();
        }
    }
    String::from_utf8(shown).unwrap()
}

#[test]
fn no_setting_shows_a_secret_to_any_command() {
    let names = [
        "SCOREKEEPER_LEDGER",
        "SCOREKEEPER_TASK_HUB",
        "SCOREKEEPER_RULES",
        "SCOREKEEPER_RULES_ALLOW_ENDPOINTS",
        "SCOREKEEPER_RESOURCE_MANAGER",
        "SCOREKEEPER_RETENTION",
        "SCOREKEEPER_ORPHAN_SCAN_INTERVAL",
        "SCOREKEEPER_PROJECTION",
        "SCOREKEEPER_CONCURRENCY",
        "SCOREKEEPER_SIGN_IN",
        "SCOREKEEPER_HTTP",
        "SCOREKEEPER_PAGE",
        "SCOREKEEPER_CALLBACK_HOSTS",
        "SCOREKEEPER_LOG",
        "SCOREKEEPER_LOG_FORMAT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "SCOREKEEPER_IDENTITY",
        "AZURE_CLIENT_ID",
        "AZURE_TENANT_ID",
        "AZURE_CLIENT_SECRET",
        "AZURE_CLIENT_SECRET_FILE",
        "AZURE_CLIENT_CERTIFICATE_PATH",
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_AUTHORITY_HOST",
        "AZURE_CLOUD",
        "AzureWebJobsStorage",
        "AzureWebJobsStorage__accountName",
        "AzureWebJobsStorage__tableServiceUri",
        "AzureFunctionsJobHost__functionTimeout",
        "FUNCTIONS_CUSTOMHANDLER_PORT",
        "FUNCTIONS_APP_ROOT_PATH",
        "WEBSITE_SITE_NAME",
        "WEBSITE_OWNER_NAME",
        "WEBSITE_INSTANCE_ID",
    ];
    for (kind, text) in kinds() {
        for name in names {
            for value in [text.clone(), format!("embedded:{text}"), format!("{} {text}", "x".repeat(190))] {
                let mut vars = vars(name, &value);
                if name.starts_with("AzureWebJobs") {
                    vars.remove("SCOREKEEPER_LEDGER");
                }
                assert_hidden(kind, name, &told_of(&vars));
            }
        }
        assert_hidden(kind, "a setting's name", &told_of(&vars(&format!("SCOREKEEPER_{text}"), "x")));
    }
}

/// A rule with all its members.
fn rule(endpoint: &str) -> Value {
    json!({
        "id": "claims", "match": { "account": "uploads", "container": "claims", "prefix": "eu/", "suffix": ".csv",
            "exclude": { "prefixes": ["eu/old/"], "suffixes": ["~.csv"], "globs": ["**/x-*.csv"] } },
        "endpoint": { "uri": endpoint, "deployment": "v7", "workspace": WORKSPACE },
        "inputs": { "input_data": { "type": "UriFile", "uri": "{blob.url}" }, "n": { "type": "Literal", "value": "3" } },
        "outputs": { "score": { "type": "UriFile", "uri": "azureml://datastores/d/paths/{scoring.id}/{attempt}/p.csv" } },
        "settings": { "description": "x" }, "emptyBlobs": "score", "pollInterval": "PT2M", "retryBackOff": "PT1M",
        "submitDeadline": "P1D", "jobTimeout": "P7D", "submitTimeout": "PT1M", "lookupInterval": "PT30S",
        "resubmitAfter": "PT15M", "onUnknown": "hold", "outputTimeout": "PT2M", "verifyInput": false,
    })
}

/// The document with each of its texts replaced in turn, and with one more member, named and filled so, in each object.
fn planted(document: &Value, text: &str) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    plant(document, text, "", &mut |place, planted| all.push((place.to_owned(), planted)));
    all
}

fn plant(value: &Value, text: &str, place: &str, each: &mut dyn FnMut(&str, Value)) {
    match value {
        Value::Object(members) => {
            let mut more = members.clone();
            more.insert(text.to_owned(), json!(text));
            each(&format!("a new member of {place}"), Value::Object(more));
            for (name, inner) in members {
                plant(inner, text, &format!("{place}.{name}"), &mut |place, planted| {
                    let mut members = members.clone();
                    members.insert(name.clone(), planted);
                    each(place, Value::Object(members));
                });
            }
        }
        _ => each(place, json!(text)),
    }
}

#[test]
fn no_member_of_a_rule_shows_a_secret_to_any_command() {
    for (kind, text) in kinds() {
        for (place, rule) in planted(&rule("https://e.example/jobs"), &text) {
            let rules = json!({ "rules": [rule] }).to_string();
            assert_hidden(kind, &place, &told_of(&vars("SCOREKEEPER_RULES", &rules)));
            let cut = &rules[..rules.len() - 2];
            assert_hidden(kind, &format!("{place}, cut"), &told_of(&vars("SCOREKEEPER_RULES", cut)));
        }
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
    let rules = Rules::read(&json!({ "rules": [rules] }).to_string()).ok()?;
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

/// All that commands and pages show of a ledger.
async fn shown(ledger: &Ledger) -> String {
    let mut kept = Vec::new();
    let mut out = Redacting::new(&mut kept);
    let mut ids = Vec::new();
    ledger
        .scorings(|scoring| {
            ids.push(scoring.id.to_string());
            true
        })
        .await
        .unwrap();
    for json in [JsonArgs::TEXT, JsonArgs::ALL] {
        status::status(ledger, &HERE, &json, None, NOW, &mut out).await.unwrap();
        let args = ListArgs { limit: 100, json: json.clone(), ..ListArgs::default() };
        list::list(ledger, &args, NOW, &mut out).await.unwrap();
        for (skipped, quarantined) in [(true, false), (false, true)] {
            let instead = Instead { skipped, quarantined, ..Instead::default() };
            let args = ListArgs { limit: 100, json: json.clone(), instead, ..ListArgs::default() };
            list::list(ledger, &args, NOW, &mut out).await.unwrap();
        }
        limit::limit(ledger, &LimitArgs { json: json.clone(), ..LimitArgs::default() }, "ann", NOW, &mut out)
            .await
            .unwrap();
        breaker::breaker(ledger, &BreakerArgs { json: json.clone(), ..BreakerArgs::default() }, "ann", NOW, &mut out)
            .await
            .unwrap();
        for id in &ids {
            show::show(ledger, &HERE, id, &json, NOW, &mut out).await.unwrap();
            explain::explain(ledger, &HERE, id, &json, NOW, &mut out).await.unwrap();
        }
    }
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
async fn lived(server: &Canned, rules: &Value, event: &Value, token: &str) -> (String, usize) {
    let Some(app) = app(server, rules, token) else { return (String::new(), 0) };
    let (accepted, submissions) = app.accept(event).await.unwrap().into_parts();
    submissions.send().await;
    for _ in 0..3 {
        app.tick(NOW + Duration::minutes(1)).await.unwrap();
    }
    let summary = serde_json::to_string(&accepted).unwrap();
    (summary + &shown(app.ledger()).await, accepted.accepted.len())
}

#[tokio::test]
async fn no_event_and_no_rule_that_is_lived_by_shows_or_logs_a_secret() {
    let server = Canned::start().await;
    let rules = rule(&server.url("/jobs"));
    for (index, (kind, text)) in kinds().into_iter().enumerate() {
        let log = Kept::default();
        let guard = log.start(if index % 2 == 0 { LogFormat::Json } else { LogFormat::Text });
        let mut scored = 0;
        for (place, event) in planted(&event("eu/a.csv", "0x8DC1"), &text) {
            let (shown, accepted) = lived(&server, &rules, &event, "t").await;
            assert_hidden(kind, &format!("event, {place}"), &shown);
            scored += accepted;
        }
        assert!(scored > 5, "what is planted beside the point does not keep an event from being taken in");
        let path = percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC);
        let (shown, _) = lived(&server, &rules, &event(&format!("eu/{path}.csv"), "0x8DC1"), "t").await;
        assert_hidden(kind, "a blob's name", &shown);
        for (place, rules) in planted(&rules, &text) {
            let (shown, _) = lived(&server, &rules, &event("eu/a.csv", "0x8DC1"), "t").await;
            assert_hidden(kind, &format!("rule, {place}"), &shown);
        }
        drop(guard);
        assert!(log.text().lines().count() > 100, "the log is on");
        assert_hidden(kind, "the log", &log.text());
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
            let (shown, accepted) =
                lived(&server, &rule(&server.url("/jobs")), &event("eu/a.csv", place), &format!("t{SECRET}")).await;
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

#[test]
fn the_program_itself_shows_no_secret_of_its_settings_or_arguments() {
    let run = |arguments: &[&str], vars: &[(&str, &str)]| {
        let mut command = Command::new(SCOREKEEPER);
        command.args(arguments).env_clear().envs(vars.iter().copied());
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    for (kind, text) in kinds() {
        let (code, told) = run(&["config"], &[("SCOREKEEPER_TASK_HUB", &text), ("SCOREKEEPER_LEDGER", "embedded:x")]);
        assert!(code == Some(64) && told.contains("SCOREKEEPER_TASK_HUB"), "{told}");
        assert_hidden(kind, "config", &told);
        for arguments in [&["show", &text][..], &["status", "--ledger", &text], &["list", "--status", &text], &[&text]]
        {
            let (code, told) = run(arguments, &[]);
            assert!(code.is_some_and(|code| code != 0), "{told}");
            assert_hidden(kind, arguments[0], &told);
        }
    }
}
