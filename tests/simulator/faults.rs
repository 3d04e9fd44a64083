//! Fault plans: how they are set, and which requests their faults happen to.

use reqwest::StatusCode;
use serde_json::{Value, json};
use simulator::{Fault, FaultKind, FaultPlan, Instead, Route};

use super::{ARM, ML, STORAGE, Sim, VERSION, body, seconds, sim};

async fn set_plan(sim: &Sim, plan: &Value) -> (StatusCode, String) {
    let answer = sim.http.post(sim.url("/admin/faults")).json(plan).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

async fn shown_plan(sim: &Sim) -> Value {
    sim.http.get(sim.url("/admin/faults")).send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn faults_are_ordered_over_http_and_throttle_after_a_number_of_requests() {
    let (sim, _root) = sim(|_| {}).await;
    let throttle = json!({ "faults": [
        { "route": "invoke", "fault": { "throttled": { "retryAfter": 7 } }, "after": 1, "times": 1 }] });
    assert_eq!(set_plan(&sim, &throttle).await.0, StatusCode::NO_CONTENT);
    sim.submit("x.csv", "1").await;
    let answer = sim.post(&body("x.csv", "2")).await;
    assert_eq!(
        (answer.status(), &answer.headers()["retry-after"]),
        (StatusCode::TOO_MANY_REQUESTS, &"7".parse().unwrap())
    );
    sim.submit("x.csv", "2").await;
    assert_eq!(sim.handle.summary().jobs, 2);
    let told = &shown_plan(&sim).await["faults"][0];
    assert_eq!((&told["route"], &told["seen"], &told["done"]), (&json!("invoke"), &json!(3), &json!(1)));
}

#[tokio::test]
async fn a_plan_that_makes_no_sense_changes_nothing_and_says_why() {
    let (sim, _root) = sim(|_| {}).await;
    let good = json!({ "faults": [{ "route": "invoke", "fault": "lostRequest", "times": 1 }], "behaviour": { "bareNames": true } });
    assert_eq!(set_plan(&sim, &good).await.0, StatusCode::NO_CONTENT);
    let before = shown_plan(&sim).await;
    let fault = |fault: Value| json!({ "faults": [fault] });
    for (bad, says) in [
        (fault(json!({ "route": "invoke", "fault": "explode" })), "`explode`"),
        (fault(json!({ "route": "poll", "fault": { "lostAnswer": { "jobs": 2 } } })), "`invoke`"),
        (fault(json!({ "route": "invoke", "fault": "lostRequest", "time": 1 })), "`time`"),
        (fault(json!({ "route": "invoke", "fault": "lostRequest", "probability": 2 })), "probability 2"),
        (json!({ "faults": [], "behaviour": { "keepTag": true } }), "`keepTag`"),
        (json!({ "fault": [] }), "`fault`"),
        (json!(1), "invalid type"),
    ] {
        let (status, why) = set_plan(&sim, &bad).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}");
        assert!(why.contains(says), "{bad}: {why}");
    }
    assert_eq!(shown_plan(&sim).await, before);
    let long = json!({ "faults": [], "behaviour": { "x": "x".repeat(65 * 1024) } });
    assert_eq!(set_plan(&sim, &long).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn plans_replace_what_they_name_and_leave_the_rest() {
    let (sim, _root) = sim(|_| {}).await;
    let throttle = json!([{ "route": "poll", "fault": { "throttled": {} } }]);
    set_plan(&sim, &json!({ "faults": throttle, "behaviour": { "bareNames": true } })).await;
    set_plan(&sim, &json!({ "behaviour": { "listJobs": true } })).await;
    let now = shown_plan(&sim).await;
    assert_eq!((&now["behaviour"]["bareNames"], &now["behaviour"]["listJobs"]), (&json!(false), &json!(true)));
    assert_eq!(now["faults"][0]["fault"], json!({ "throttled": { "retryAfter": null, "asDate": false } }));
    set_plan(&sim, &json!({ "faults": [] })).await;
    let now = shown_plan(&sim).await;
    assert_eq!((&now["faults"], &now["behaviour"]["listJobs"]), (&json!([]), &json!(true)));
}

#[tokio::test]
async fn a_plan_that_is_shown_can_be_set_again() {
    let (sim, _root) = sim(|_| {}).await;
    let fault = Fault::new(Route::Invoke, FaultKind::OldToken { seconds: 3 })
        .matching("x")
        .after(2)
        .times(4)
        .with_probability(0.5);
    sim.handle.set_faults(vec![fault.clone()]).unwrap();
    let mut told = shown_plan(&sim).await;
    for progress in ["seen", "done"] {
        assert_eq!(told["faults"][0].as_object_mut().unwrap().remove(progress), Some(json!(0)));
    }
    let again: FaultPlan = serde_json::from_value(told).unwrap();
    assert_eq!(again.faults, Some(vec![fault]));
}

#[tokio::test]
async fn a_fault_may_be_about_one_input_on_every_route_that_knows_inputs() {
    let (sim, _root) = sim(|_| {}).await;
    for file in ["bad.csv", "good.csv"] {
        sim.put(file, "a\n1\n");
    }
    let jobs = [sim.submit("bad.csv", "1").await, sim.submit("good.csv", "2").await];
    let routes = [Route::Invoke, Route::Poll, Route::Arm, Route::RunHistory, Route::Storage];
    let silent = |route| Fault::new(route, FaultKind::throttled()).matching("bad");
    sim.handle.set_faults(routes.map(silent).to_vec()).unwrap();
    let id = sim.handle.workspace_id();
    for (file, job, status) in
        [("bad.csv", &jobs[0], StatusCode::TOO_MANY_REQUESTS), ("good.csv", &jobs[1], StatusCode::OK)]
    {
        let poll = format!("{}/{job}", sim.handle.scoring_uri("claims"));
        let arm = sim.url(&format!("{id}/jobs/{job}?{VERSION}"));
        let run = sim.url(&format!("/history/v1.0{id}/runs/{job}/details"));
        for (url, audience) in [(poll, ML), (arm, ARM), (run, ML), (sim.url(&format!("/local/inbox/{file}")), STORAGE)]
        {
            assert_eq!(sim.get(&url, audience).await.status(), status, "{url}");
        }
        let posted = sim.post(&body(file, "3")).await.status();
        assert_eq!(posted == StatusCode::TOO_MANY_REQUESTS, status == StatusCode::TOO_MANY_REQUESTS, "{posted}");
    }
    // A request that concerns no one input never matches.
    let list = sim.url(&format!("{id}/jobs?{VERSION}"));
    assert_eq!(sim.get(&list, ARM).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_fault_may_be_about_one_kind_of_resource_or_one_audience() {
    let (sim, _root) = sim(|_| {}).await;
    let refuse = || FaultKind::Refused { status: 400, body: simulator::BodyKind::Json };
    let faults = [(Route::Arm, "/datastores"), (Route::Identity, "storage.azure")];
    sim.handle.set_faults(faults.map(|(route, part)| Fault::new(route, refuse()).matching(part)).to_vec()).unwrap();
    let id = sim.handle.workspace_id();
    for (path, status) in [("/datastores", StatusCode::BAD_REQUEST), ("/batchEndpoints", StatusCode::OK)] {
        assert_eq!(sim.get(&sim.url(&format!("{id}{path}?{VERSION}")), ARM).await.status(), status, "{path}");
    }
    for (audience, status) in [(STORAGE, StatusCode::BAD_REQUEST), (ML, StatusCode::OK)] {
        let query = [("api-version", "2019-08-01"), ("resource", audience)];
        let url = reqwest::Url::parse_with_params(&sim.handle.identity_endpoint(), query).unwrap();
        let request = sim.http.get(url).header("X-IDENTITY-HEADER", "a secret of the platform");
        assert_eq!(request.send().await.unwrap().status(), status, "{audience}");
    }
}

/// Which of 32 invokes are cut, at one in two.
async fn cut(seed: u64, at_start: bool) -> Vec<bool> {
    let fault = Fault::new(Route::Invoke, FaultKind::lost_answer(Instead::Cut)).with_probability(0.5);
    let (sim, _root) = sim(|o| {
        o.seed = seed;
        o.faults = if at_start { vec![fault.clone()] } else { Vec::new() };
    })
    .await;
    if !at_start {
        sim.handle.set_faults(vec![fault]).unwrap();
    }
    let mut cut = Vec::new();
    for n in 0..32 {
        cut.push(sim.try_post("claims", &body("x.csv", &n.to_string()), &[]).await.is_err());
    }
    assert_eq!(sim.handle.summary().jobs, 32);
    cut
}

#[tokio::test]
async fn probabilities_come_to_the_same_with_the_same_seed() {
    let first = cut(1, true).await;
    assert!(first.contains(&true) && first.contains(&false), "{first:?}");
    assert_eq!(cut(1, true).await, first);
    assert_eq!(cut(1, false).await, first, "however the plan is set");
    assert_ne!(cut(2, true).await, first);
}

#[tokio::test]
async fn no_fault_reaches_the_simulators_own_pages() {
    let (sim, _root) = sim(|_| {}).await;
    sim.put("x.csv", "a\n1\n");
    let name = sim.submit("x.csv", "x").await;
    let routes = [Route::Invoke, Route::Poll, Route::Arm, Route::RunHistory, Route::Storage, Route::Identity];
    sim.handle.set_faults(routes.map(|route| Fault::new(route, FaultKind::LostRequest)).to_vec()).unwrap();
    for path in ["/", "/admin/jobs", "/admin/summary", "/admin/requests", "/admin/faults", "/discovery"] {
        assert_eq!(sim.http.get(sim.url(path)).send().await.unwrap().status(), StatusCode::OK, "{path}");
    }
    assert_eq!(sim.http.get(sim.url(&format!("/runs/{name}"))).send().await.unwrap().status(), StatusCode::OK);
    sim.handle.set_faults(Vec::new()).unwrap();
    sim.hand.advance(seconds(4));
    assert_eq!(sim.arm_status(&name).await, "Running");
}
