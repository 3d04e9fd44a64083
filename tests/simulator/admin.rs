//! What tests and operators learn from the simulator: each job by what it reads and writes, and counts.

use reqwest::StatusCode;
use serde_json::{Value, json};
use simulator::{Fault, FaultKind, Instead, Route};

use super::{ARM, ML, Sim, VERSION, body, seconds, sim};

impl Sim {
    async fn admin(&self, path: &str) -> Value {
        self.http.get(self.url(path)).send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    }
}

#[tokio::test]
async fn every_job_is_found_by_its_input_and_by_its_output() {
    let (sim, _root) = sim(|_| {}).await;
    for (input, output) in [("a.csv", "s1/1"), ("a.csv", "s1/1"), ("b.csv", "s2/1"), ("a.csv", "s1/2")] {
        sim.submit(input, output).await;
    }
    for (query, count) in
        [("", 4), ("?input=inbox/a.csv", 3), ("?output=/s1/1", 2), ("?input=b.csv&output=s1", 0), ("?input=none", 0)]
    {
        let jobs = sim.admin(&format!("/admin/jobs{query}")).await;
        assert_eq!(jobs["jobs"].as_array().unwrap().len(), count, "{query}");
    }
    let job = &sim.admin("/admin/jobs?input=b.csv").await["jobs"][0];
    assert_eq!(job["inputs"], json!({ "blob": "https://local.blob.localhost/inbox/b.csv" }));
    assert_eq!(job["outputs"], json!({ "score": "azureml://datastores/scores/paths/s2/1" }));
    let nothing = sim.http.get(sim.url("/admin/nothing")).send().await.unwrap();
    assert_eq!(nothing.status(), StatusCode::NOT_FOUND);
    assert!(nothing.text().await.unwrap().contains("GET /admin/jobs"));
}

#[tokio::test]
async fn the_query_of_an_input_is_a_secret_and_is_not_told() {
    let (sim, _root) = sim(|_| {}).await;
    sim.submit("x.csv?sig=S3CRET", "x").await;
    let jobs = sim.admin("/admin/jobs").await.to_string();
    assert!(jobs.contains("inbox/x.csv") && !jobs.contains("S3CRET"), "{jobs}");
}

#[tokio::test]
async fn each_post_is_counted_by_its_request_id_whatever_became_of_it() {
    let (sim, _root) = sim(|_| {}).await;
    let post = async |id: &str| {
        let _ = sim.try_post("claims", &body("x.csv", "x"), &[("repeatability_request-id", id)]).await;
    };
    post("made").await;
    for fault in [FaultKind::LostRequest, FaultKind::throttled(), FaultKind::lost_answer(Instead::Cut)] {
        sim.handle.set_faults(vec![Fault::new(Route::Invoke, fault)]).unwrap();
        post("unlucky").await;
    }
    assert_eq!(sim.admin("/admin/requests").await, json!({ "posts": { "made": 1, "unlucky": 3 } }));
    let summary = sim.admin("/admin/summary").await;
    assert_eq!((&summary["posts"], &summary["maxPostsPerRequestId"]), (&json!(4), &json!(3)));
    assert_eq!((&summary["jobs"], &summary["maxJobsPerRequestId"]), (&json!(2), &json!(1)));
    // Who may not post has posted nothing.
    let refused = sim.http.post(sim.handle.scoring_uri("claims")).bearer_auth(sim.token(ARM).await).send().await;
    assert_eq!(refused.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(sim.handle.summary().posts, 4);
}

#[tokio::test]
async fn the_most_jobs_in_flight_are_remembered_when_they_are_gone() {
    let (sim, _root) = sim(|_| {}).await;
    sim.put("x.csv", "a\n1\n");
    let mut names = Vec::new();
    for n in 0..3 {
        names.push(sim.submit("x.csv", &n.to_string()).await);
    }
    sim.cancel(&names[0]).await;
    assert_eq!(sim.handle.summary().in_flight, 3, "a job that is being cancelled still holds its place");
    sim.hand.advance(seconds(30));
    let summary = sim.admin("/admin/summary").await;
    assert_eq!((&summary["inFlight"], &summary["maxInFlight"]), (&json!(2), &json!(3)));
}

#[tokio::test]
async fn looks_at_a_job_are_counted_with_the_shortest_time_between_two() {
    let (sim, _root) = sim(|_| {}).await;
    let name = sim.submit("x.csv", "x").await;
    let arm = sim.url(&format!("{}/jobs/{name}?{VERSION}", sim.handle.workspace_id()));
    let data = format!("{}/{name}", sim.handle.scoring_uri("claims"));
    for (wait, url, audience) in [(0, &arm, ARM), (7, &data, ML), (3, &arm, ARM), (9, &data, ML)] {
        sim.hand.advance(seconds(wait));
        assert_eq!(sim.get(url, audience).await.status(), StatusCode::OK);
    }
    let job = &sim.admin("/admin/jobs").await["jobs"][0];
    assert_eq!((&job["polls"], &job["minPollSeconds"]), (&json!(4), &json!(3.0)));
}

#[tokio::test]
async fn another_site_in_the_browser_of_this_machine_gets_nothing_and_changes_nothing() {
    let (sim, _root) = sim(|_| ()).await;
    let origin = sim.url("").trim_end_matches('/').to_owned();
    let client = reqwest::Client::new();
    for (name, value) in [("host", "evil.example"), ("origin", "http://evil.example"), ("origin", "null")] {
        for path in ["/admin/jobs", "/admin/faults", "/local/inbox/x.csv", "/"] {
            let got = client.get(format!("{origin}{path}")).header(name, value).send().await.unwrap();
            assert_eq!(got.status(), 403, "{name}: {value} {path}");
        }
        let plan = r#"{"faults": [{"route": "invoke", "fault": "lostRequest"}]}"#;
        let posted = client.post(format!("{origin}/admin/faults")).header(name, value).body(plan).send().await.unwrap();
        assert_eq!(posted.status(), 403);
    }
    let own = client.get(format!("{origin}/admin/jobs")).header("origin", &origin).send().await.unwrap();
    assert_eq!(own.status(), 200);
    let faults: Value = client.get(format!("{origin}/admin/faults")).send().await.unwrap().json().await.unwrap();
    assert_eq!(faults["faults"], json!([]));
}
