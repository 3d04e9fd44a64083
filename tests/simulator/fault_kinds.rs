//! Each fault, as a client meets it.

use std::time::{Duration, Instant};

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use simulator::{BodyKind, Clock, Fault, FaultKind, Instead, Route};

use super::{ARM, ML, STORAGE, Sim, VERSION, body, seconds, sim};

/// A simulator that has just this fault.
async fn with(route: Route, fault: FaultKind) -> (Sim, tempfile::TempDir) {
    sim(|o| o.faults = vec![Fault::new(route, fault)]).await
}

impl Sim {
    async fn poll(&self, job: &str) -> Response {
        self.get(&format!("{}/{job}", self.handle.scoring_uri("claims")), ML).await
    }

    async fn status_of(&self, job: &str) -> Value {
        self.poll(job).await.json::<Value>().await.unwrap()["properties"]["status"].clone()
    }
}

// ---- the job is made

#[tokio::test]
async fn an_answer_is_lost_while_the_job_is_made() {
    let (sim, _root) = sim(|_| {}).await;
    sim.handle.set_faults(vec![Fault::new(Route::Invoke, FaultKind::lost_answer(Instead::Cut)).times(2)]).unwrap();
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
async fn an_invoke_answers_500_502_or_504_while_the_job_is_made() {
    for status in [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::BAD_GATEWAY, StatusCode::GATEWAY_TIMEOUT] {
        let fault = FaultKind::lost_answer(Instead::Status(status.as_u16()));
        let (sim, _root) = sim(|o| o.faults = vec![Fault::new(Route::Invoke, fault).times(1)]).await;
        let answer = sim.post(&body("x.csv", "x")).await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.json::<Value>().await.unwrap()["error"]["code"], "ServiceError");
        assert_eq!(sim.handle.summary().jobs, 1);
        sim.submit("x.csv", "x").await;
    }
}

#[tokio::test]
async fn one_invoke_makes_several_jobs_and_answers_as_if_it_had_made_one() {
    let (sim, _root) = with(Route::Invoke, FaultKind::Duplicated { jobs: 3 }).await;
    let headers = [("repeatability_request-id", "e7c0")];
    let answer = sim.try_post("claims", &body("x.csv", "x"), &headers).await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let named = answer.json::<Value>().await.unwrap()["name"].clone();
    let jobs = sim.handle.jobs();
    assert_eq!((jobs.len(), &named), (3, &json!(jobs[0].name)), "the oldest is the one that is named");
    assert!(jobs.iter().all(|job| job.outputs == jobs[0].outputs && job.request_id.as_deref() == Some("e7c0")));
    let summary = sim.handle.summary();
    assert_eq!((summary.posts, summary.max_jobs_per_request_id, summary.max_in_flight), (1, 3, 3));
    assert_eq!(summary.max_requests_in_flight, 1, "nobody asked for three");
}

#[tokio::test]
async fn one_invoke_makes_fifty_jobs_and_answers_500() {
    let (sim, _root) = with(Route::Invoke, FaultKind::LostAnswer { jobs: 50, instead: Instead::Status(500) }).await;
    assert_eq!(sim.post(&body("x.csv", "x")).await.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(sim.handle.summary().jobs, 50);
}

#[tokio::test]
async fn an_invoke_makes_its_job_and_never_answers() {
    let (sim, _root) = with(Route::Invoke, FaultKind::lost_answer(Instead::Hang)).await;
    let request = sim.http.post(sim.handle.scoring_uri("claims")).bearer_auth(sim.token(ML).await);
    let sent = request.json(&body("x.csv", "x")).timeout(Duration::from_millis(300)).send();
    let made = sim.until_all(|jobs| jobs.len() == 1);
    let (answer, _) = tokio::join!(sent, made);
    assert!(answer.unwrap_err().is_timeout());
}

#[tokio::test]
async fn a_stuck_job_runs_until_it_is_cancelled() {
    let (sim, _root) = sim(|o| o.faults = vec![Fault::new(Route::Invoke, FaultKind::Stuck).matching("stuck")]).await;
    for file in ["stuck.csv", "x.csv"] {
        sim.put(file, "a\n1\n");
    }
    let stuck = sim.submit("stuck.csv", "stuck").await;
    let other = sim.submit("x.csv", "x").await;
    sim.finish(&other, "Completed").await;
    sim.hand.advance(seconds(30 * 86_400));
    assert_eq!(sim.status_of(&stuck).await, "Running");
    assert_eq!(sim.cancel(&stuck).await.status(), StatusCode::ACCEPTED);
    sim.hand.advance(seconds(30));
    assert_eq!(sim.status_of(&stuck).await, "Canceled");
    assert!(sim.output("stuck").is_none());
}

// ---- nothing is done

#[tokio::test]
async fn a_throttled_request_may_come_again_at_a_date_or_nobody_knows_when() {
    let (sim, _root) = with(Route::Invoke, FaultKind::Throttled { retry_after: Some(90), as_date: true }).await;
    let dated = sim.post(&body("x.csv", "x")).await;
    assert_eq!(dated.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(dated.headers()["retry-after"], "Thu, 01 Jan 2026 12:01:30 GMT");
    sim.handle.set_faults(vec![Fault::new(Route::Invoke, FaultKind::throttled())]).unwrap();
    let silent = sim.post(&body("x.csv", "x")).await;
    assert_eq!((silent.status(), silent.headers().get("retry-after")), (StatusCode::TOO_MANY_REQUESTS, None));
    assert_eq!(sim.handle.summary().jobs, 0);
}

#[tokio::test]
async fn a_refusal_has_any_status_and_any_kind_of_body() {
    let (sim, _root) = sim(|_| {}).await;
    for status in [403, 404, 500, 502, 503] {
        for (form, kind, says) in [
            (BodyKind::Json, Some("application/json"), "\"innerError\":"),
            (BodyKind::Text, Some("text/plain"), ""),
            (BodyKind::Html, Some("text/html"), "<html>"),
            (BodyKind::HtmlAsJson, Some("application/json"), "<html>"),
            (BodyKind::Empty, None, ""),
        ] {
            let answer = FaultKind::Refused { status, body: form };
            sim.handle.set_faults(vec![Fault::new(Route::Invoke, answer)]).unwrap();
            let answer = sim.post(&body("x.csv", "x")).await;
            assert_eq!(answer.status().as_u16(), status);
            let given = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
            assert_eq!(given.as_deref().and_then(|kind| kind.split(';').next()), kind, "{form:?}");
            let text = answer.text().await.unwrap();
            assert!(text.contains(says), "{form:?}: {text}");
            assert_eq!(text.is_empty(), form == BodyKind::Empty, "{form:?}: {text}");
        }
    }
    assert_eq!(sim.handle.summary().jobs, 0);
}

#[tokio::test]
async fn a_connection_ends_or_hangs_and_nothing_is_done() {
    for fault in [FaultKind::LostRequest, FaultKind::Unanswered] {
        let (sim, _root) = with(Route::Invoke, fault.clone()).await;
        let request = sim.http.post(sim.handle.scoring_uri("claims")).bearer_auth(sim.token(ML).await);
        let error = request.json(&body("x.csv", "x")).timeout(Duration::from_millis(300)).send().await.unwrap_err();
        assert_eq!(error.is_timeout(), fault == FaultKind::Unanswered, "{error:?}");
        assert!(!error.is_connect(), "{error:?}");
        assert_eq!(sim.handle.summary().jobs, 0);
    }
}

#[tokio::test]
async fn an_old_token_is_refused_before_its_end_and_a_new_one_is_not() {
    let (sim, _root) = with(Route::Invoke, FaultKind::OldToken { seconds: 600 }).await;
    let token = sim.token(ML).await;
    let post = async |token: &str| {
        let request = sim.http.post(sim.handle.scoring_uri("claims")).bearer_auth(token);
        request.json(&body("x.csv", "x")).send().await.unwrap()
    };
    sim.hand.advance(seconds(600));
    assert_eq!(post(&token).await.status(), StatusCode::CREATED);
    sim.hand.advance(seconds(1));
    let refused = post(&token).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(refused.headers()["www-authenticate"].to_str().unwrap().contains("invalid_token"));
    assert_eq!(post(&sim.token(ML).await).await.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn everybody_is_forbidden_for_a_time_after_the_order() {
    let (sim, _root) = sim(|_| {}).await;
    sim.hand.advance(seconds(1000));
    sim.handle.set_faults(vec![Fault::new(Route::Invoke, FaultKind::Forbidden { seconds: 300 })]).unwrap();
    sim.hand.advance(seconds(299));
    assert_eq!(sim.post(&body("x.csv", "x")).await.status(), StatusCode::FORBIDDEN);
    sim.hand.advance(seconds(1));
    assert_eq!(sim.post(&body("x.csv", "x")).await.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn each_job_is_not_found_at_first() {
    for (route, looks) in [(Route::Poll, 2), (Route::Arm, 1)] {
        let (sim, _root) = with(route, FaultKind::Hidden { looks }).await;
        for n in 0..2 {
            let name = sim.submit("x.csv", &n.to_string()).await;
            let arm = sim.url(&format!("{}/jobs/{name}?{VERSION}", sim.handle.workspace_id()));
            let look = async || {
                let by_arm = route == Route::Arm;
                if by_arm { sim.get(&arm, ARM).await.status() } else { sim.poll(&name).await.status() }
            };
            for _ in 0..looks {
                assert_eq!(look().await, StatusCode::NOT_FOUND);
            }
            assert_eq!(look().await, StatusCode::OK);
        }
        assert_eq!(sim.poll("no-such-job").await.status(), StatusCode::NOT_FOUND);
    }
}

// ---- the proper answer, spoilt

#[tokio::test]
async fn a_status_goes_back_or_is_a_word_that_nobody_knows() {
    for word in ["Preparing", "NotResponding", "Hibernating"] {
        let (sim, _root) = sim(|_| {}).await;
        sim.put("x.csv", "a\n1\n");
        let name = sim.submit("x.csv", "x").await;
        sim.hand.advance(seconds(4));
        assert_eq!(sim.status_of(&name).await, "Running");
        let show = |route| Fault::new(route, FaultKind::WrongStatus { status: word.into() }).times(1);
        sim.handle.set_faults([Route::Poll, Route::Arm, Route::RunHistory].map(show).to_vec()).unwrap();
        let run = sim.url(&format!("/history/v1.0{}/runs/{name}/details", sim.handle.workspace_id()));
        assert_eq!(sim.status_of(&name).await, word);
        assert_eq!(sim.arm_status(&name).await, word);
        assert_eq!(sim.json(&run, ML).await["status"], word);
        // It was only said; the job is where it was.
        assert_eq!(sim.status_of(&name).await, "Running");
        assert_eq!(sim.arm_status(&name).await, "Running");
        assert_eq!(sim.json(&run, ML).await["status"], "Running");
    }
}

#[tokio::test]
async fn a_job_is_shown_without_its_status() {
    let (sim, _root) = sim(|o| {
        o.behaviour.list_jobs = true;
        let silent = |route| Fault::new(route, FaultKind::NoStatus);
        o.faults = [Route::Invoke, Route::Poll, Route::Arm].map(silent).to_vec();
    })
    .await;
    let made = sim.post(&body("x.csv", "x")).await;
    assert_eq!(made.status(), StatusCode::CREATED);
    let made: Value = made.json().await.unwrap();
    let name = made["name"].as_str().unwrap();
    let listed = sim.json(&sim.handle.scoring_uri("claims"), ML).await["value"][0].clone();
    let arm = sim.arm_get(&format!("/jobs/{name}")).await;
    for job in [&made, &sim.poll(name).await.json().await.unwrap(), &listed, &arm] {
        assert_eq!((&job["name"], job["properties"].get("status")), (&json!(name), None), "{job}");
        assert!(job["properties"]["properties"].is_object(), "all else is there: {job}");
    }
}

#[tokio::test]
async fn lists_lag_behind_and_looks_do_not() {
    let (sim, _root) = sim(|o| {
        o.behaviour.list_jobs = true;
        o.faults =
            [Route::Poll, Route::Arm].map(|route| Fault::new(route, FaultKind::ListLag { seconds: 60 })).to_vec();
    })
    .await;
    let name = sim.submit("x.csv", "x").await;
    let listed = async || {
        let arm = sim.arm_get("/jobs").await["value"].as_array().unwrap().len();
        (arm, sim.json(&sim.handle.scoring_uri("claims"), ML).await["value"].as_array().unwrap().len())
    };
    sim.hand.advance(seconds(59));
    assert_eq!(listed().await, (0, 0));
    assert_eq!(sim.poll(&name).await.status(), StatusCode::OK);
    sim.hand.advance(seconds(1));
    assert_eq!(listed().await, (1, 1));
}

#[tokio::test]
async fn a_good_answer_has_another_status_code() {
    let (sim, _root) = with(Route::Invoke, FaultKind::Relabeled { status: 200 }).await;
    let answer = sim.post(&body("x.csv", "x")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.json::<Value>().await.unwrap()["name"], sim.handle.jobs()[0].name);
}

#[tokio::test]
async fn half_an_answer_claims_to_be_whole() {
    let (sim, _root) = with(Route::Invoke, FaultKind::Truncated).await;
    let answer = sim.post(&body("x.csv", "x")).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let length: usize = answer.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let bytes = answer.bytes().await.unwrap();
    assert_eq!(bytes.len(), length);
    let error = serde_json::from_slice::<Value>(&bytes).unwrap_err();
    assert!(length > 100 && error.is_eof(), "{error}");
    assert_eq!(sim.handle.summary().jobs, 1);
}

#[tokio::test]
async fn half_of_no_body_leaves_the_length_that_is_told_instead_of_it() {
    let (sim, _root) = with(Route::Storage, FaultKind::Truncated).await;
    sim.put("x.csv", "0123456789");
    let asked = sim.http.head(sim.url("/local/inbox/x.csv")).bearer_auth(sim.token(STORAGE).await);
    let answer = asked.send().await.unwrap();
    assert_eq!((answer.status(), &answer.headers()["content-length"]), (StatusCode::OK, &"10".parse().unwrap()));
}

#[tokio::test]
async fn an_answer_trickles_and_is_whole_in_the_end() {
    let (sim, _root) = sim(|o| {
        o.clock = Clock::wall();
        o.faults = vec![Fault::new(Route::Storage, FaultKind::Trickled { millis: 10 })];
    })
    .await;
    sim.put("x.csv", "0123456789");
    let began = Instant::now();
    let answer = sim.get(&sim.url("/local/inbox/x.csv"), STORAGE).await;
    assert_eq!(answer.text().await.unwrap(), "0123456789");
    assert!(began.elapsed() >= Duration::from_millis(100), "{:?}", began.elapsed());
}
