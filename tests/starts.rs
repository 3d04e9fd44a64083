//! Starts of scorings by orchestrators, over HTTP through the real binary: what they are answered, what one key makes of many
//! requests, and what nobody may ask for.

mod pipelines;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};
use simulator::Timing;

use crate::support::cloud::{Cloud, event, with_rule};
use crate::support::functions_host::{FunctionsHost, client};
pub use crate::support::http_function::KEY;
use crate::support::http_function::{Answered, MODES, Mode, Request};
use crate::support::lambda::{Host as _, Lambda};

/// An app whose HTTP functions are on, with one rule for blobs that end in `.csv`, and the simulator's storage.
pub fn vars(cloud: &Cloud, ledger: &str) -> BTreeMap<String, String> {
    let mut vars = cloud.vars(ledger);
    let more = [
        ("SCOREKEEPER_HTTP", "on".to_owned()),
        ("SCOREKEEPER_STORAGE_HOSTS", cloud.simulator.storage_hosts()),
        ("SCOREKEEPER_LOG", "trace".to_owned()),
    ];
    vars.extend(more.map(|(name, value)| (name.to_owned(), value)));
    let members = [
        ("match", json!({"account": "acct", "container": "inbox", "suffix": ".csv"})),
        (
            "inputs",
            json!({"input_data": {"type": "UriFile", "uri": "{blob.url}"}, "threshold": {"type": "Literal", "value": 0.5, "parameter": true}}),
        ),
        ("maxInFlight", json!(100)),
        ("pollInterval", json!("PT0.05S")),
        ("submitTimeout", json!("PT0.5S")),
        ("lookupInterval", json!("PT0.1S")),
        ("resubmitAfter", json!("PT1S")),
        ("retryBackOff", json!("PT0.1S")),
        ("outputTimeout", json!("PT5S")),
    ];
    with_rule(vars, &members)
}

fn start_of(path: &str) -> Value {
    json!({"rule": "claims", "blob": format!("inbox/{path}")})
}

async fn start(host: &FunctionsHost, mode: Mode, key: Option<&str>, body: &Value) -> Answered {
    let request = Request::post("/api/scorings", Some(body));
    match key {
        Some(key) => request.with("Idempotency-Key", key).by(mode, host).await,
        None => request.by(mode, host).await,
    }
}

/// Follows `Location` as Data Factory's Web activity and a Logic App's HTTP action do, ticking in between.
async fn followed(host: &FunctionsHost, mode: Mode, mut answered: Answered) -> Answered {
    for _ in 0..200 {
        if answered.status != 202 {
            return answered;
        }
        let location = answered.location.clone().expect("a 202 says where to ask");
        assert!(
            location.starts_with("/api/scorings/") && !location.contains(KEY),
            "relative, without a key: {location}"
        );
        assert!(answered.retry_after.as_ref().is_some_and(|seconds| seconds.parse::<u32>().is_ok()));
        host.invoke("Reconcile", "tick", "timer", &json!({})).await.value();
        answered = Request::get(&location).by(mode, host).await;
    }
    panic!("it never ended: {answered:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_starts_a_scoring_and_its_location_is_followed_to_the_end() {
    let cloud = Cloud::with_pipeline(Timing::default()).await;
    cloud.upload("a.csv", "x\n1\n");
    for mode in MODES {
        let ledger = format!("ledger-{mode:?}");
        let vars = vars(&cloud, &ledger);
        let mut host = FunctionsHost::start(cloud.root(), &vars).await;
        let before = cloud.simulator.jobs().len();
        let body = json!({"rule": "claims", "blob": "inbox/a.csv", "parameters": {"threshold": 0.7}});
        let started = start(&host, mode, None, &body).await;
        assert_eq!(started.status, 202, "{mode:?} {started:?}");
        let id = started.body["id"].as_str().unwrap().to_owned();
        assert_eq!(started.body["statusQueryGetUri"], json!(format!("/api/scorings/{id}")));
        for name in ["terminatePostUri", "rewindPostUri"] {
            assert!(started.body[name].as_str().unwrap().starts_with(&format!("/api/operations/{id}/")), "{started:?}");
        }
        let ended = followed(&host, mode, started).await;
        assert_eq!((ended.status, &ended.body["runtimeStatus"]), (200, &json!("Completed")), "{mode:?} {ended:?}");
        assert_eq!((&ended.body["instanceId"], &ended.body["name"]), (&json!(id), &json!("claims")));
        assert!(ended.body["output"]["outputs"]["score"].as_str().unwrap().starts_with("azureml://"), "{ended:?}");
        assert_eq!(ended.body["input"]["parameters"], json!({"threshold": "0.7"}));
        // Sent again without a key it is the same; so is the upload's own event.
        let again = start(&host, mode, None, &body).await;
        assert_eq!((again.status, again.body["id"].as_str()), (202, Some(id.as_str())));
        assert_eq!(cloud.simulator.jobs().len() - before, 1);
        let told = cloud.told(&vars, &["show", &id]).await.to_string();
        assert!(told.contains("started by HTTP"), "{told}");
        let printed = [host.process().stdout().join("\n"), host.process().stderr()].concat();
        assert!(printed.contains("Scorings") && !printed.contains(KEY), "a key was logged");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_a_key_joins_the_uploads_scoring_and_an_upload_that_of_a_start() {
    let cloud = Cloud::with_pipeline(Timing::default()).await;
    let vars = vars(&cloud, "ledger");
    let host = FunctionsHost::start(cloud.root(), &vars).await;
    cloud.upload("a.csv", "x\n1\n");
    let started = start(&host, Mode::Forwarded, None, &start_of("a.csv")).await;
    let etag = {
        let asked = Request::get(started.location.as_deref().unwrap()).by(Mode::Forwarded, &host).await;
        asked.body["input"]["etag"].as_str().unwrap().to_owned()
    };
    let mut upload = event("a.csv");
    upload["data"]["eTag"] = json!(etag);
    let accepted = host.invoke("BlobCreated", "1", "event", &upload).await.value();
    assert_eq!((&accepted["accepted"], &accepted["duplicates"]), (&json!([]), &json!(1)), "{accepted}");
    // Other values than those of the scoring that is there are not dropped without a word.
    let other = json!({"rule": "claims", "blob": "inbox/a.csv", "parameters": {"threshold": 1}});
    let refused = start(&host, Mode::Forwarded, None, &other).await;
    assert_eq!((refused.status, refused.code()), (409, "Other"), "{refused:?}");
    assert_eq!(followed(&host, Mode::Forwarded, started).await.status, 200);
    assert_eq!(cloud.simulator.jobs().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_is_one_scoring_however_often_it_is_sent_and_whenever_the_process_dies() {
    let cloud = Cloud::with_pipeline(Timing::default()).await;
    let vars = vars(&cloud, "ledger");
    let mut host = FunctionsHost::start(cloud.root(), &vars).await;
    cloud.upload("a.csv", "x\n1\n");
    let again = json!({"rule": "claims", "blob": "inbox/a.csv", "again": true});
    let no_key = start(&host, Mode::Forwarded, None, &again).await;
    assert_eq!((no_key.status, no_key.code()), (400, "NoKey"));
    let mut ids = BTreeSet::new();
    for n in 0..5_u64 {
        let mode = MODES[usize::from(n % 2 == 1)];
        // In its midst or before: the answer of a request that a death cuts off is nobody's.
        let cut = {
            let request = start(&host, mode, Some("run-1/a.csv"), &again);
            tokio::time::timeout(Duration::from_millis(3 * n), request).await
        };
        if let Ok(answered) = cut {
            ids.insert(answered.body["id"].as_str().unwrap_or_else(|| panic!("{answered:?}")).to_owned());
        }
        host.kill_and_restart(cloud.root()).await;
    }
    let last = start(&host, Mode::Forwarded, Some("run-1/a.csv"), &again).await;
    assert_eq!(last.status, 202, "{last:?}");
    ids.insert(last.body["id"].as_str().unwrap().to_owned());
    assert_eq!(ids.len(), 1);
    let ended = followed(&host, Mode::Forwarded, last).await;
    assert_eq!((ended.status, cloud.simulator.jobs().len()), (200, 1), "{ended:?}");
    for mode in MODES {
        let other = start(&host, mode, Some("run-1/a.csv"), &start_of("a.csv")).await;
        assert_eq!((other.status, other.code()), (422, "OtherRequest"));
    }
    let second = start(&host, Mode::Forwarded, Some("run-2/a.csv"), &again).await;
    let ended = followed(&host, Mode::Forwarded, second).await;
    assert_eq!((ended.body["input"]["generation"].as_u64(), cloud.simulator.jobs().len()), (Some(1), 2), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_start_may_not_say_is_refused_with_its_status_and_nothing_is_started() {
    let cloud = Cloud::with_pipeline(Timing::default()).await;
    let vars = vars(&cloud, "ledger");
    let mut host = FunctionsHost::start(cloud.root(), &vars).await;
    cloud.upload("a.csv", "x\n1\n");
    cloud.upload("a.txt", "x\n1\n");
    let with = |name: &str, value: Value| {
        let mut body = start_of("a.csv");
        body[name] = value;
        body
    };
    let uri = json!("https://evil.example/x");
    let bodies = [
        (with("endpoint", uri.clone()), 400, "BadRequest"),
        (with("host", uri.clone()), 400, "BadRequest"),
        (with("output", uri.clone()), 400, "BadRequest"),
        (with("outputs", json!({"score": {"uri": uri}})), 400, "BadRequest"),
        (with("deployment", json!("v8")), 400, "BadRequest"),
        (with("datastore", json!("d")), 400, "BadRequest"),
        (with("identity", json!("managedIdentity")), 400, "BadRequest"),
        (with("blob", json!("https://evil.example/inbox/a.csv")), 400, "BadRequest"),
        (with("blob", json!("inbox/a.txt")), 400, "NotAccepted"),
        (with("blob", json!("other/a.csv")), 400, "NotAccepted"),
        (with("account", json!("evil")), 400, "NotAccepted"),
        (with("blob", json!("inbox/../../a.csv")), 404, "NoBlob"),
        (with("blob", json!("inbox/none.csv")), 404, "NoBlob"),
        (with("rule", json!("none")), 400, "NoSuchRule"),
        (with("parameters", json!({"input_data": "https://evil.example"})), 400, "NotDeclared"),
        (with("callBackUri", json!("http://x.datafactory.azure.com/")), 400, "BadRequest"),
        (with("callBackUri", json!("https://127.0.0.1/")), 400, "BadRequest"),
        (with("callBackUri", json!("https://169.254.169.254/metadata")), 400, "BadRequest"),
        (with("callBackUri", json!("https://evil.example/?t=SECRETSECRET")), 400, "BadRequest"),
        (json!([start_of("a.csv")]), 400, "BadRequest"),
    ];
    for mode in MODES {
        for (body, status, code) in &bodies {
            let answered = start(&host, mode, None, body).await;
            assert_eq!((answered.status, answered.code()), (*status, *code), "{mode:?} {body}: {answered:?}");
            assert!(!answered.body.to_string().contains("SECRETSECRET"), "{answered:?}");
        }
        let twice = start(&host, mode, Some("1, 2"), &start_of("a.csv")).await;
        assert_eq!(twice.status, 400, "{twice:?}");
        let nothing = Request::post("/api/scorings", None).by(mode, &host).await;
        assert_eq!(nothing.status, 400, "{nothing:?}");
        let chunked = Request::post("/api/scorings", None).with("Transfer-Encoding", "chunked");
        if mode == Mode::Plain {
            let lost = chunked.by(mode, &host).await;
            assert_eq!((lost.status, lost.code()), (411, "LengthRequired"), "the host has lost the body");
        }
        let large = with("what", json!("x".repeat(70_000)));
        assert_eq!(start(&host, mode, None, &large).await.status, 413);
        let page = Request::post("/api/scorings", Some(&start_of("a.csv"))).with("Origin", "https://evil.example");
        assert_eq!(page.by(mode, &host).await.status, 403);
        // A pipeline that means to fail must not go on because of a misspelt word.
        let flag = "/api/scorings?returnInternalServerErrorOnFailure=yes";
        let misspelt = Request::post(flag, Some(&start_of("a.csv"))).by(mode, &host).await;
        assert_eq!((misspelt.status, misspelt.code()), (400, "BadRequest"));
        let flag = "/api/scorings?returnInternalServerErrorOnFailur=true";
        let misspelt = Request::post(flag, Some(&start_of("a.csv"))).by(mode, &host).await;
        assert_eq!((misspelt.status, misspelt.code()), (400, "BadRequest"), "{misspelt:?}");
        assert!(misspelt.body.to_string().contains("`returnInternalServerErrorOnFailure`"), "{misspelt:?}");
        let verb = Request { method: Method::DELETE, ..Request::get("/api/scorings/x") };
        assert_eq!(verb.by(mode, &host).await.status, 405);
        for id in ["x", "0123456789abcdef0123456789abcdef", "..%2f..%2fa", "%ff"] {
            let path = format!("/api/scorings/{id}");
            let unknown = Request::get(&path).by(mode, &host).await;
            assert_eq!(unknown.status, 404, "{mode:?} {id}");
        }
    }
    // As large as a host lets through; in a plain invocation larger than any body that is kept.
    let huge = "x".repeat(100 * 1024 * 1024);
    for mode in MODES {
        let request = Request { body: Some(huge.clone()), ..Request::post("/api/scorings", None) };
        assert_eq!(request.by(mode, &host).await.status, 413, "{mode:?}");
    }
    assert_eq!((cloud.simulator.jobs().len(), cloud.told(&vars, &["list"]).await), (0, json!([])));
    let printed = [host.process().stdout().join("\n"), host.process().stderr()].concat();
    assert!(!printed.contains(KEY) && !printed.contains("SECRETSECRET"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_outside_invokes_a_function_or_is_believed_to_have_signed_in() {
    let cloud = Cloud::with_pipeline(Timing::default()).await;
    let vars = vars(&cloud, "ledger");
    let host = FunctionsHost::start(cloud.root(), &vars).await;
    cloud.upload("a.csv", "x\n1\n");
    let forged = json!({"Data": {"event": event("a.csv")}, "Metadata": {}});
    for path in [
        "/api/BlobCreated",
        "/api/Reconcile",
        "/api//BlobCreated",
        "/api/../BlobCreated",
        "/api/scorings/../../BlobCreated",
    ] {
        let url = format!("http://127.0.0.1:{}{path}", host.port());
        let answer = client().post(url).header("Host", "app.example").json(&forged).send().await.unwrap();
        assert!([403, 404, 405].contains(&answer.status().as_u16()), "{path}: {}", answer.status());
    }
    assert_eq!(cloud.told(&vars, &["list"]).await, json!([]));
    // Without sign-in that the platform requires, whatever says who asks is the client's own word.
    let request =
        Request::post("/api/scorings", Some(&start_of("a.csv"))).with("x-ms-client-principal-name", "mallory");
    let started = request.with("x-ms-client-principal", "e30=").by(Mode::Forwarded, &host).await;
    let told = cloud.told(&vars, &["show", started.body["id"].as_str().unwrap()]).await.to_string();
    assert!(told.contains("started by HTTP") && !told.contains("mallory"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_sign_in_is_required_history_names_who_and_nobody_else_is_answered() {
    let cloud = Cloud::with_pipeline(Timing::default()).await;
    let mut vars = vars(&cloud, "ledger");
    for (name, value) in [("SCOREKEEPER_SIGN_IN", "required"), ("WEBSITE_AUTH_ENABLED", "True")] {
        vars.insert(name.to_owned(), value.to_owned());
    }
    let host = FunctionsHost::start(cloud.root(), &vars).await;
    cloud.upload("a.csv", "x\n1\n");
    let body = start_of("a.csv");
    assert_eq!(start(&host, Mode::Plain, None, &body).await.status, 401);
    let request = Request::post("/api/scorings", Some(&body)).with("X-MS-CLIENT-PRINCIPAL-NAME", "ann@contoso.com");
    let started = request.by(Mode::Plain, &host).await;
    let told = cloud.told(&vars, &["show", started.body["id"].as_str().unwrap()]).await.to_string();
    assert!(told.contains("started by ann@contoso.com"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_they_are_not_switched_on_they_answer_nobody() {
    let cloud = Cloud::with_pipeline(Timing::default()).await;
    let mut vars = vars(&cloud, "ledger");
    vars.remove("SCOREKEEPER_HTTP");
    let host = FunctionsHost::start(cloud.root(), &vars).await;
    cloud.upload("a.csv", "x\n1\n");
    for mode in MODES {
        let refused = start(&host, mode, None, &start_of("a.csv")).await;
        assert_eq!((refused.status, refused.code()), (404, "SwitchedOff"));
        assert_eq!(Request::get("/api/operations").by(mode, &host).await.code(), "SwitchedOff");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_says_whether_they_are_switched_on_and_which_setting_does_it() {
    let cloud = Cloud::with_pipeline(Timing::default()).await;
    let mut vars = vars(&cloud, "ledger");
    for (set, said) in [
        (Some("on"), "HTTP functions on (SCOREKEEPER_HTTP)"),
        (Some("off"), "HTTP functions off (SCOREKEEPER_HTTP=on switches them on)"),
        (None, "HTTP functions off (SCOREKEEPER_HTTP=on switches them on)"),
    ] {
        vars.remove("SCOREKEEPER_HTTP");
        vars.extend(set.map(|set| ("SCOREKEEPER_HTTP".to_owned(), set.to_owned())));
        let report = cloud.told(&vars, &["doctor"]).await;
        let settings = report["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == "settings");
        let seen: Vec<&str> = settings.filter_map(|finding| finding["seen"].as_str()).collect();
        assert!(seen.iter().any(|seen| seen.contains(said)), "{set:?}: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scorings_are_listed_cancelled_and_retried_and_each_order_may_come_twice() {
    let cloud = Cloud::with_pipeline(Timing { running: Duration::from_secs(600), ..Timing::default() }).await;
    let vars = vars(&cloud, "ledger");
    let host = FunctionsHost::start(cloud.root(), &vars).await;
    let mut started = Vec::new();
    for n in 0..5 {
        cloud.upload(&format!("{n}.csv"), "x\n1\n");
        let answered = start(&host, Mode::Forwarded, None, &start_of(&format!("{n}.csv"))).await;
        started.push(answered.body["id"].as_str().unwrap().to_owned());
    }
    for mode in MODES {
        let (mut listed, mut token) = (Vec::new(), String::new());
        loop {
            let page =
                Request::get("/api/operations?top=2").with("x-ms-continuation-token", &token).by(mode, &host).await;
            assert_eq!(page.status, 200, "{page:?}");
            listed.extend(page.body.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()));
            match page.continuation {
                Some(next) => token = next,
                None => break,
            }
        }
        listed.reverse();
        assert_eq!(listed, started, "{mode:?}: the newest first, each once");
        let path = "/api/operations?status=failed&rule=claims";
        assert_eq!(Request::get(path).by(mode, &host).await.body, json!([]));
        for bad in ["top=0", "top=x", "status=what", "statu=failed", "status=failed&status=scored", "top=2&filter="] {
            assert_eq!(Request::get(&format!("/api/operations?{bad}")).by(mode, &host).await.status, 400, "{bad}");
        }
        // What a gateway adds is its own.
        assert_eq!(Request::get("/api/operations?subscription-key=x").by(mode, &host).await.status, 200);
    }
    let id = &started[0];
    let order = async |verb: &str| {
        let path = format!("/api/operations/{id}/{verb}?reason=a%20test");
        Request::post(&path, None).by(Mode::Forwarded, &host).await.status
    };
    assert_eq!((order("cancel").await, order("cancel").await), (202, 202), "the host repeats what has no body");
    let path = format!("/api/scorings/{id}?returnInternalServerErrorOnFailure=true");
    let asked = Request::get(&path).by(Mode::Forwarded, &host).await;
    let ended = followed(&host, Mode::Forwarded, asked).await;
    assert_eq!((ended.status, &ended.body["runtimeStatus"]), (500, &json!("Canceled")), "{ended:?}");
    assert_eq!(Request::get(&format!("/api/scorings/{id}")).by(Mode::Forwarded, &host).await.status, 200);
    assert_eq!((order("cancel").await, order("retry").await, order("retry").await), (202, 202, 202));
    assert_eq!(order("what").await, 404);
    let misspelt = format!("/api/operations/{id}/cancel?reasen=x");
    assert_eq!(Request::post(&misspelt, None).by(Mode::Forwarded, &host).await.status, 400);
    let none = format!("/api/operations/{}/cancel", "0".repeat(32));
    assert_eq!(Request::post(&none, None).by(Mode::Plain, &host).await.status, 404);
    let told = cloud.told(&vars, &["show", id]).await.to_string();
    assert!(told.contains("cancelled by HTTP (a test)"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_lambda_the_same_functions_give_the_same_answers() {
    let cloud = Cloud::with_pipeline(Timing::default()).await;
    let host = FunctionsHost::start(cloud.root(), &vars(&cloud, "azure")).await;
    let none = format!("/api/scorings/{}", "0".repeat(32));
    let request =
        |method: &str, url: &str, body: Value| json!({"Method": method, "Url": url, "Headers": {}, "Body": body});
    let requests = [
        ("Scorings", request("GET", &none, Value::Null), 404),
        ("Scorings", request("POST", "/api/scorings", json!(start_of("none.csv").to_string())), 404),
        (
            "Scorings",
            request("POST", "/api/scorings", json!(r#"{"rule":"claims","blob":"inbox/a.csv","host":"x"}"#)),
            400,
        ),
        ("Operations", request("GET", "/api/operations?top=5", Value::Null), 200),
    ];
    for (function, request, status) in requests {
        let lambda = Lambda::start(function, cloud.root(), &vars(&cloud, &format!("lambda-{function}"))).await;
        let azure = host.invoke(function, "1", "req", &request).await.json()["Outputs"]["res"].clone();
        assert_eq!(azure["statusCode"], status, "{azure}");
        assert_eq!(lambda.invoke(&request).await.unwrap(), azure, "{function}");
    }
}
