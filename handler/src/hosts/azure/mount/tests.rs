use std::sync::atomic::{AtomicUsize, Ordering};

use lambda_runtime::service_fn;
use serde::Deserialize;
use serde_json::Value;

use bytes::Bytes;
use futures::StreamExt as _;

use super::*;

#[derive(Deserialize)]
struct Tick {}

fn facts() -> HostFacts {
    HostFacts {
        port: None,
        worker_id: None,
        root: "/".into(),
        function_timeout: Some(Duration::from_secs(600)),
        site: None,
        instance: None,
        resource_id: None,
    }
}

/// A text that is not JSON as a string.
fn value(payload: &Payload) -> Value {
    serde_json::from_str(payload.text()).unwrap_or_else(|_| json!(payload.text()))
}

fn echo() -> Functions {
    let echo = service_fn(|event: LambdaEvent<Payload>| async move {
        Ok::<_, String>(json!({ "payload": value(&event.payload), "request": event.context.request_id }))
    });
    let tick = service_fn(|event: LambdaEvent<Tick>| async move {
        let Tick {} = event.payload;
        Ok::<_, String>(())
    });
    Functions::new().event("Echo", echo).timer("Tick", tick)
}

fn mounted(concurrency: usize, functions: Functions) -> Router {
    let mount = Arc::new(Mount::new(concurrency, &facts()));
    mount.open(Ok(functions));
    router(mount)
}

async fn called(router: &Router, method: Method, path: &str, body: impl Into<Body>) -> (StatusCode, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("Host", "127.0.0.1:7071")
        .header("X-Azure-Functions-InvocationId", "6a5b0c6e")
        .body(body.into())
        .expect("a request");
    let response = router.clone().oneshot(request).await.expect("infallible");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json", "{path}");
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    (status, serde_json::from_slice(&body).expect("JSON, never empty"))
}

async fn post(router: &Router, path: &str, body: impl Into<Body>) -> (StatusCode, Value) {
    called(router, Method::POST, path, body).await
}

fn envelope() -> String {
    json!({ "Data": { "event": { "id": "1" } }, "Metadata": {} }).to_string()
}

#[tokio::test]
async fn an_invocation_is_answered_in_the_hosts_shape() {
    let (status, body) = post(&mounted(1, echo()), "/Echo", envelope()).await;
    assert_eq!(status, StatusCode::OK);
    let value = json!({ "payload": { "id": "1" }, "request": "6a5b0c6e" });
    assert_eq!(body, json!({ "Outputs": {}, "Logs": [], "ReturnValue": value }));
}

#[tokio::test]
async fn a_function_without_a_value_is_not_answered_by_an_empty_body() {
    let (status, body) = post(&mounted(1, echo()), "/Tick", json!({ "Data": { "timer": {} } }).to_string()).await;
    assert_eq!((status, body), (StatusCode::OK, json!({ "Outputs": {}, "Logs": [], "ReturnValue": null })));
}

#[tokio::test]
async fn the_probe_is_answered_before_there_are_functions_and_when_all_places_are_taken() {
    let mount = Arc::new(Mount::new(0, &facts()));
    let router = router(mount.clone());
    assert_eq!(called(&router, Method::GET, "/", "").await.0, StatusCode::OK);
    mount.open(Ok(echo()));
    assert_eq!(called(&router, Method::GET, "/", "").await.0, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn an_invocation_waits_for_a_handler_that_starts_but_not_for_ever() {
    let mount = Arc::new(Mount::new(1, &facts()));
    let router = router(mount.clone());
    let (status, body) = post(&router, "/Echo", envelope()).await;
    assert_eq!((status, &body["errorType"]), (StatusCode::INTERNAL_SERVER_ERROR, &json!("Starting")));
    let (answer, ()) = tokio::join!(post(&router, "/Echo", envelope()), async { mount.open(Ok(echo())) });
    assert_eq!(answer.0, StatusCode::OK);
}

/// Else the connection breaks under whoever sends, who never sees the answer.
#[tokio::test]
async fn whatever_is_refused_unread_is_refused_once_its_body_has_passed() {
    let (ready, unusable) = (mounted(1, answering()), Arc::new(Mount::new(1, &facts())));
    unusable.open(Err(Unusable("no ledger".to_owned())));
    let unusable = router(unusable);
    let cases = [
        (&ready, Method::POST, "/Nothing", "127.0.0.1", StatusCode::NOT_FOUND),
        (&ready, Method::POST, "/api/nothing", "127.0.0.1", StatusCode::NOT_FOUND),
        (&ready, Method::PUT, "/Echo", "127.0.0.1", StatusCode::METHOD_NOT_ALLOWED),
        (&ready, Method::POST, "/Echo", "evil.example", StatusCode::FORBIDDEN),
        (&unusable, Method::POST, "/Echo", "127.0.0.1", StatusCode::INTERNAL_SERVER_ERROR),
    ];
    for (router, method, path, host, expected) in cases {
        let passed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&passed);
        let chunks = (0..9).map(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok::<_, std::io::Error>(Bytes::from_static(b"x"))
        });
        let body = Body::from_stream(futures::stream::iter(chunks));
        let request = Request::builder().method(method).uri(path).header("Host", host).body(body).expect("a request");
        let response = router.clone().oneshot(request).await.expect("infallible");
        assert_eq!((response.status(), passed.load(Ordering::Relaxed)), (expected, 9), "{path} of {host}");
    }
}

#[tokio::test]
async fn unknown_functions_and_methods_are_refused_in_json() {
    let router = mounted(1, echo());
    for path in ["/echo", "/Echo/", "/%FF", "//", "/Echo%20"] {
        let (status, body) = post(&router, path, envelope()).await;
        assert_eq!((status, &body["errorType"]), (StatusCode::NOT_FOUND, &json!("Refused")), "{path}");
        assert!(body["errorMessage"].as_str().is_some_and(|text| text.contains("`Echo`, `Tick`")), "{body}");
    }
    assert_eq!(called(&router, Method::GET, "/Echo", "").await.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn what_another_site_has_a_browser_send_is_refused_and_the_probe_is_not() {
    let router = mounted(1, echo());
    let asked = async |method: Method, path: &str, header: (&str, &str)| {
        let mut request = Request::builder().method(method).uri(path).body(Body::from(envelope())).expect("a request");
        request.headers_mut().insert("host", "127.0.0.1:7071".parse().expect("a header"));
        let name: header::HeaderName = header.0.parse().expect("a name");
        request.headers_mut().insert(name, header.1.parse().expect("a header"));
        router.clone().oneshot(request).await.expect("infallible").status()
    };
    for header in [("host", "evil.example:7071"), ("origin", "http://evil.example"), ("origin", "null")] {
        assert_eq!(asked(Method::POST, "/Echo", header).await, StatusCode::FORBIDDEN, "{header:?}");
        assert_eq!(asked(Method::GET, "/", header).await, StatusCode::OK, "{header:?}");
    }
    for header in [("host", "localhost:7071"), ("accept", "*/*")] {
        assert_eq!(asked(Method::POST, "/Echo", header).await, StatusCode::OK, "{header:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_no_envelope_reaches_an_event_function_and_never_a_timer() {
    let router = mounted(1, echo());
    for (body, payload) in [("", json!("")), ("{", json!("{")), ("{}", json!({})), (r#"{"Data":7}"#, json!(7))] {
        let (status, answer) = post(&router, "/Echo", body).await;
        assert_eq!((status, &answer["ReturnValue"]["payload"]), (StatusCode::OK, &payload), "{body}");
        assert_eq!(post(&router, "/Tick", body).await.0, StatusCode::BAD_REQUEST, "{body}");
    }
    let (status, body) = post(&router, "/Tick", r#"{"Data":{"timer":"soon"}}"#).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body["errorMessage"].as_str().is_some_and(|text| text.contains("payload")), "{body}");
}

#[tokio::test]
async fn a_failure_is_answered_by_500_and_lambdas_diagnostic() {
    let failing = service_fn(|_: LambdaEvent<Payload>| async {
        Err::<(), _>(crate::functions::Failure { kind: "NotTaken", message: "the ledger is away".to_owned() })
    });
    let (status, body) = post(&mounted(1, Functions::new().event("F", failing)), "/F", envelope()).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(body, json!({ "errorType": "NotTaken", "errorMessage": "the ledger is away" }));
}

#[tokio::test]
async fn a_panic_ends_its_invocation_and_no_other() {
    let panicking = service_fn(|event: LambdaEvent<Payload>| async move {
        assert!(value(&event.payload)["id"] != "1", "on purpose");
        Ok::<_, String>(())
    });
    let at_once = service_fn(|event: LambdaEvent<Payload>| {
        assert!(value(&event.payload)["id"] != "1", "before any await");
        async { Ok::<_, String>(()) }
    });
    let router = mounted(1, Functions::new().event("P", panicking).event("Q", at_once));
    for path in ["/P", "/Q"] {
        let (status, body) = post(&router, path, envelope()).await;
        assert_eq!((status, &body["errorType"]), (StatusCode::INTERNAL_SERVER_ERROR, &json!("Panicked")));
        let next = post(&router, path, r#"{"Data":{"event":{"id":"2"}}}"#).await;
        assert_eq!(next.0, StatusCode::OK, "the place is free again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_function_is_answered_before_event_grid_gives_up() {
    let hanging = service_fn(|_: LambdaEvent<Payload>| std::future::pending::<Result<(), String>>());
    let begun = Instant::now();
    let (status, body) = post(&mounted(1, Functions::new().event("H", hanging)), "/H", envelope()).await;
    assert_eq!((status, &body["errorType"]), (StatusCode::INTERNAL_SERVER_ERROR, &json!("TooSlow")));
    assert_eq!(begun.elapsed(), Duration::from_secs(25));
}

/// A body that ends never, after so many KiB. What was taken of it is counted, in KiB.
fn stalled(kib: usize, taken: &Arc<AtomicUsize>) -> Body {
    let (chunk, taken) = (Bytes::from(vec![b' '; 1024]), taken.clone());
    let chunks = (0..kib).map(move |_| {
        taken.fetch_add(1, Ordering::SeqCst);
        Ok::<_, std::io::Error>(chunk.clone())
    });
    Body::from_stream(futures::stream::iter(chunks).chain(futures::stream::pending()))
}

/// An envelope of so many KiB and a little more.
fn envelope_of(kib: usize) -> String {
    json!({ "Data": { "event": "x".repeat(kib * 1024) } }).to_string()
}

#[tokio::test(start_paused = true)]
async fn slow_bodies_take_no_place_and_are_blamed_themselves() {
    // Of stalled bodies and a good one: how many, of how many KiB, and how long the good one waits for a place.
    for (count, of, good_of, waits) in [
        (64, 0, 1, Duration::ZERO),
        (400, 60, 1, Duration::ZERO),
        (400, 1990, 1, Duration::ZERO),
        (2, 3000, 3000, Duration::ZERO),
        (4, 3000, 3000, body::IDLE),
        (1, 9000, 9000, body::IDLE),
    ] {
        let router = mounted(1, echo());
        let (taken, begun) = (Arc::new(AtomicUsize::new(0)), Instant::now());
        let slow = futures::future::join_all((0..count).map(|_| post(&router, "/Echo", stalled(of, &taken))));
        let good = async {
            let answer = post(&router, "/Echo", envelope_of(good_of)).await;
            (answer.0, begun.elapsed())
        };
        let (slow, (good, waited)) = tokio::join!(slow, good);
        assert_eq!((good, waited), (StatusCode::OK, waits), "{count} of {of} KiB");
        for (status, body) in slow {
            let said = body["errorMessage"].as_str().unwrap_or_default();
            match status {
                StatusCode::REQUEST_TIMEOUT => assert!(said.starts_with("nothing of the body arrived"), "{body}"),
                // It had no place until its time was over: it may be good, and is sent again.
                _ => assert_eq!((status, &body["errorType"]), (StatusCode::INTERNAL_SERVER_ERROR, &json!("Busy"))),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_of_unfinished_bodies_is_bounded_however_many_there_are() {
    let router = mounted(64, echo());
    let taken = Arc::new(AtomicUsize::new(0));
    let bodies = [1990, 7000, 60_000].map(|of| (0..400).map(move |_| of)).into_iter().flatten();
    let all = futures::future::join_all(bodies.map(|of| post(&router, "/Echo", stalled(of, &taken))));
    // Until the first is given up.
    assert!(timeout_at(Instant::now() + body::IDLE / 2, all).await.is_err());
    let (places, free) = ((32 * 2 + 4 * 8 + 64) * 1024, 1200 * 65);
    assert!(taken.load(Ordering::SeqCst) <= places + free, "{} MiB", taken.load(Ordering::SeqCst) / 1024);
}

#[tokio::test]
async fn a_handler_that_can_do_nothing_keeps_nothing_of_a_body() {
    let mount = Arc::new(Mount::new(1, &facts()));
    mount.open(Err(Unusable("no rules".to_owned())));
    let chunk = Bytes::from(vec![b' '; 1024 * 1024]);
    // More than is ever kept.
    let chunks = (0..100).map(move |_| Ok::<_, std::io::Error>(chunk.clone()));
    let (status, body) = post(&router(mount), "/Echo", Body::from_stream(futures::stream::iter(chunks))).await;
    assert_eq!((status, &body["errorMessage"]), (StatusCode::INTERNAL_SERVER_ERROR, &json!("no rules")));
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_allowed_number_run_at_once_and_waiting_ends() {
    let (running, max) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak, gate) = (running.clone(), max.clone(), Arc::new(Semaphore::new(3)));
    let slow = service_fn(move |_: LambdaEvent<Payload>| {
        let (now, peak, gate) = (now.clone(), peak.clone(), gate.clone());
        async move {
            peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            gate.acquire().await.expect("open").forget();
            now.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, String>(())
        }
    });
    let router = mounted(2, Functions::new().event("S", slow));
    // Three pass the gate and make way for others; then two hang in it and two wait for a place.
    let answers = futures::future::join_all((0..7).map(|_| post(&router, "/S", envelope()))).await;
    assert_eq!(max.load(Ordering::SeqCst), 2);
    let count = |kind: &Value| answers.iter().filter(|(_, body)| body["errorType"] == *kind).count();
    assert_eq!(count(&Value::Null), 3, "{answers:?}");
    // The two that wait get the places of those that are given up, but at that moment it is too late for them, too.
    assert_eq!((count(&json!("TooSlow")), count(&json!("Busy"))), (2, 2), "{answers:?}");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_place_ends_before_event_grid_gives_up() {
    let begun = Instant::now();
    let (status, body) = post(&mounted(0, echo()), "/Echo", envelope()).await;
    assert_eq!((status, &body["errorType"]), (StatusCode::INTERNAL_SERVER_ERROR, &json!("Busy")));
    assert_eq!(begun.elapsed(), Duration::from_secs(25));
}

#[tokio::test]
async fn twenty_megabytes_in_chunks_arrive_whole() {
    let text = "x".repeat(20 * 1024 * 1024);
    let whole = Bytes::from(json!({ "Data": { "event": { "text": text } } }).to_string());
    let chunks: Vec<_> = whole.chunks(64 * 1024).map(|chunk| Ok::<_, std::io::Error>(whole.slice_ref(chunk))).collect();
    let (status, body) = post(&mounted(1, echo()), "/Echo", Body::from_stream(futures::stream::iter(chunks))).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["ReturnValue"]["payload"]["text"].as_str().map(str::len), Some(text.len()));
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_in_json() {
    let chunk = Bytes::from(vec![b' '; 1024 * 1024]);
    let chunks = (0..65).map(move |_| Ok::<_, std::io::Error>(chunk.clone()));
    let (status, body) = post(&mounted(1, echo()), "/Echo", Body::from_stream(futures::stream::iter(chunks))).await;
    assert_eq!((status, &body["errorType"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("Refused")));
}

/// Answers with what it was sent, or panics.
fn answering() -> Functions {
    let answering = service_fn(|event: LambdaEvent<HttpRequest>| async move {
        let segments = event.payload.segments().join("/");
        assert!(!segments.contains("panic"), "on purpose, with SECRET");
        let told = json!({ "method": event.payload.method, "path": segments, "body": event.payload.body });
        Ok::<_, crate::functions::Failure>(HttpAnswer::json(202, &told).with("Location", "/api/echo/1"))
    });
    echo().http("Answering", "echo", answering)
}

#[tokio::test]
async fn a_forwarded_request_is_answered_raw_and_an_invocation_in_the_hosts_form() {
    let router = mounted(1, answering());
    let (status, told) = called(&router, Method::PUT, "/api/Echo/7?code=k", "x").await;
    assert_eq!((status, told), (StatusCode::ACCEPTED, json!({"method": "PUT", "path": "Echo/7", "body": "x"})));
    let req = json!({"Url": "https://h/api/echo/7?code=k", "Method": "PUT", "Headers": {"A": ["b"]}, "Body": "x"});
    let envelope = json!({"Data": {"req": req}, "Metadata": {}}).to_string();
    let (status, told) = called(&router, Method::POST, "/Answering", envelope).await;
    let res = &told["Outputs"]["res"];
    assert_eq!(
        (status, &res["statusCode"], &res["headers"]["Location"]),
        (StatusCode::OK, &json!(202), &json!("/api/echo/1"))
    );
    // A text: a value would be laid out anew, and be text/plain.
    assert!(res["body"].as_str().is_some_and(|body| body.contains(r#""path":"echo/7""#)), "{told}");
}

#[tokio::test]
async fn a_panic_in_an_http_function_is_a_bare_500_and_the_next_request_is_answered() {
    let router = mounted(1, answering());
    let (status, told) = called(&router, Method::GET, "/api/echo/panic", "").await;
    assert_eq!((status, &told["error"]["code"]), (StatusCode::INTERNAL_SERVER_ERROR, &json!("Panicked")));
    assert!(!told.to_string().contains("SECRET"), "{told}");
    let req = json!({"Url": "/api/echo/panic", "Method": "GET"});
    let envelope = json!({"Data": {"req": req}, "Metadata": {}}).to_string();
    let (status, told) = called(&router, Method::POST, "/Answering", envelope).await;
    // A failed invocation would be an empty 500 to the client, which is what this is as well, with its reason.
    assert_eq!((status, &told["Outputs"]["res"]["statusCode"]), (StatusCode::OK, &json!(500)));
    assert_eq!(called(&router, Method::GET, "/api/echo", "").await.0, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn below_the_prefix_nothing_invokes_a_function_and_without_it_nothing_is_handed_on() {
    let router = mounted(1, answering());
    let forged = json!({"Data": {"event": {"id": "1"}}, "Metadata": {}}).to_string();
    for path in ["/api/Tick", "/api/Answering", "/api/", "/api//echo", "/api/../Tick"] {
        let (status, told) = called(&router, Method::POST, path, forged.clone()).await;
        assert_eq!((status, &told["error"]["code"]), (StatusCode::NOT_FOUND, &json!("NoSuchPath")), "{path}");
    }
    assert_eq!(called(&router, Method::POST, "/echo", forged.clone()).await.0, StatusCode::NOT_FOUND);
    // An event's function keeps its envelope, whatever is on the way to it.
    let (status, told) = called(&router, Method::POST, "/api/Echo", forged).await;
    assert_eq!(
        (status, &told["path"]),
        (StatusCode::ACCEPTED, &json!("Echo")),
        "the route `echo`, not the function `Echo`"
    );
}

#[tokio::test]
async fn a_body_beyond_a_starts_size_is_read_to_its_end_and_refused() {
    let router = mounted(1, answering());
    for (size, expected) in [(65_536, StatusCode::ACCEPTED), (65_537, StatusCode::PAYLOAD_TOO_LARGE)] {
        assert_eq!(called(&router, Method::POST, "/api/echo", "x".repeat(size)).await.0, expected);
    }
    assert_eq!(called(&router, Method::POST, "/api/echo", vec![0xff]).await.0, StatusCode::BAD_REQUEST);
}
