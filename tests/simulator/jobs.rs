//! A job from node to output.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::{Value, json};
use simulator::{JobView, SCORED_BY};
use tempfile::TempDir;

use super::{ML, body, listed, seconds, sim, sim_in};

#[tokio::test]
async fn a_job_goes_through_its_phases_and_writes_one_row_per_row() {
    let (sim, _root) = sim(|_| {}).await;
    let rows = (0..1000).map(|n| format!("{n},\"text, {n}\"")).collect::<Vec<_>>().join("\n");
    sim.put("x.csv", &format!("id,text\n{rows}"));
    let name = sim.submit("x.csv", "a/b/predictions.csv").await;
    sim.hand.advance(seconds(3));
    assert_eq!(sim.job(&name).status, "Preparing");
    sim.hand.advance(seconds(1));
    assert_eq!(sim.job(&name).status, "Running");
    sim.hand.advance(seconds(59));
    assert_eq!(sim.arm_status(&name).await, "Running");
    assert_eq!(sim.output("a/b/predictions.csv"), None);
    sim.hand.advance(seconds(1));
    sim.until(&name, "Finalizing").await;
    sim.hand.advance(seconds(4));
    assert_eq!(sim.arm_status(&name).await, "Finalizing");
    sim.hand.advance(seconds(1));
    assert_eq!(sim.arm_status(&name).await, "Completed");
    let written = sim.output("a/b/predictions.csv").unwrap();
    let mut lines = written.lines();
    assert_eq!(lines.next(), Some("row,prediction,scored_by"));
    assert_eq!(lines.clone().count(), 1000);
    assert!(lines.all(|line| line.ends_with(SCORED_BY)));
    assert_eq!(sim.run_error(&name).await, Value::Null);
    let summary = sim.handle.summary();
    assert_eq!((summary.jobs, summary.posts, summary.in_flight, summary.max_in_flight), (1, 1, 0, 1));
    let job = sim.job(&name);
    assert_eq!(job.inputs["blob"], "https://local.blob.localhost/inbox/x.csv");
    assert_eq!(job.outputs["score"], "azureml://datastores/scores/paths/a/b/predictions.csv");
    assert_eq!((job.polls, job.min_poll_seconds), (3, Some(1.0)));
}

#[tokio::test]
async fn a_job_without_an_output_gets_a_place_on_the_default_datastore() {
    let (sim, _root) = sim(|_| {}).await;
    sim.put("x.csv", "a\n1\n");
    let mut sent = body("x.csv", "");
    sent["properties"].as_object_mut().unwrap().remove("OutputData");
    let job: Value = sim.post(&sent).await.json().await.unwrap();
    let name = job["name"].as_str().unwrap();
    sim.finish(name, "Completed").await;
    assert!(sim.output(&format!("azureml/{name}/score/predictions.csv")).is_some());
    let path = format!("/history/v1.0{}/runs/{name}/children", sim.handle.workspace_id());
    let children = sim.json(&sim.url(&path), ML).await;
    let [step] = children["value"].as_array().unwrap().as_slice() else { panic!("{children}") };
    assert_eq!((step["displayName"].as_str(), step["status"].as_str()), (Some("batchscoring"), Some("Completed")));
    let uri = step["outputs"]["score"]["uri"].as_str().unwrap();
    assert!(uri.ends_with(&format!("azureml/{name}/score/predictions.csv")), "{uri}");
}

#[tokio::test]
async fn a_job_whose_output_exists_fails_before_it_scores_and_leaves_it_alone() {
    let root = TempDir::new().unwrap();
    let mark = root.path().join("scored");
    let sim = sim_in(&root, |o| o.score_command = Some(format!("touch '{}'", mark.display()))).await;
    sim.put("x.csv", "a\n1\n");
    std::fs::write(sim.root.join("outbox/x"), "mine").unwrap();
    let name = sim.submit("x.csv", "x").await;
    sim.finish(&name, "Failed").await;
    let error = sim.run_error(&name).await;
    assert_eq!(error["code"], "UserError");
    assert_eq!(error["message"], "the path already exists: azureml://datastores/scores/paths/x");
    assert_eq!(sim.output("x").as_deref(), Some("mine"));
    assert!(!mark.exists());
}

#[tokio::test]
async fn of_two_jobs_with_one_output_just_one_completes() {
    let (sim, _root) = sim(|_| {}).await;
    sim.put("x.csv", "a\n1\n");
    let names = [sim.submit("x.csv", "x").await, sim.submit("x.csv", "x").await];
    sim.hand.advance(seconds(4));
    sim.hand.advance(seconds(60));
    let ended = |job: &JobView| matches!(job.status.as_str(), "Finalizing" | "Failed");
    sim.until_all(|jobs| jobs.iter().all(ended)).await;
    sim.hand.advance(seconds(5));
    let statuses: BTreeSet<_> = names.iter().map(|name| sim.job(name).status).collect();
    assert_eq!(statuses, BTreeSet::from(["Completed".to_owned(), "Failed".to_owned()]));
}

#[tokio::test]
async fn a_job_whose_input_is_missing_fails_after_it_ran() {
    let (sim, _root) = sim(|_| {}).await;
    let sent = body("no-such.csv?sig=SECRET", "x");
    let answer = sim.post(&sent).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let job: Value = answer.json().await.unwrap();
    let name = job["name"].as_str().unwrap();
    sim.finish(name, "Failed").await;
    let message = sim.run_error(name).await["message"].as_str().unwrap().to_owned();
    assert!(message.contains("StreamAccessException") && message.contains("no-such.csv"), "{message}");
    assert!(!message.contains("SECRET"), "{message}");
    assert!(!format!("{:?}", sim.job(name)).contains("SECRET"));
}

#[tokio::test]
async fn jobs_beyond_the_nodes_wait_in_order_of_arrival() {
    let (sim, _root) = sim(|o| o.nodes = 1).await;
    sim.put("x.csv", "a\n1\n");
    let mut names = Vec::new();
    for n in 0..3 {
        names.push(sim.submit("x.csv", &n.to_string()).await);
    }
    sim.hand.advance(seconds(4));
    for turn in 0..3 {
        let steps: Vec<_> = names[turn..].iter().map(|name| sim.job(name)).collect();
        assert!(steps.iter().all(|job| job.status == "Running"), "the job runs while its step waits: {steps:?}");
        let words: Vec<_> = steps.iter().map(|job| job.step_status.as_str()).collect();
        assert_eq!(words, ["Running", "Queued", "Queued"][..3 - turn]);
        sim.hand.advance(seconds(60));
        sim.until(&names[turn], "Finalizing").await;
    }
    sim.submit("x.csv", "4").await;
    let summary = sim.handle.summary();
    assert_eq!((summary.max_in_flight, summary.max_requests_in_flight), (3, 3));
}

#[tokio::test]
async fn a_cancelled_job_frees_its_node_and_leaves_no_output() {
    let (sim, _root) = sim(|o| o.nodes = 1).await;
    sim.put("x.csv", "a\n1\n");
    let (first, queued, last) =
        (sim.submit("x.csv", "1").await, sim.submit("x.csv", "2").await, sim.submit("x.csv", "3").await);
    sim.hand.advance(seconds(4));
    sim.cancel(&queued).await;
    sim.cancel(&first).await;
    sim.until(&last, "Running").await;
    sim.hand.advance(seconds(60));
    sim.until(&last, "Finalizing").await;
    for name in [&first, &queued] {
        assert_eq!(sim.job(name).status, "Canceled");
    }
    assert_eq!((sim.output("1"), sim.output("2")), (None, None));
    assert!(sim.output("3").is_some());
}

#[tokio::test]
async fn a_job_cancelled_while_it_is_prepared_is_cancelled_in_its_own_time() {
    let (sim, _root) = sim(|_| {}).await;
    let name = sim.submit("x.csv", "x").await;
    sim.hand.advance(seconds(1));
    sim.cancel(&name).await;
    sim.hand.advance(seconds(29));
    assert_eq!(sim.job(&name).status, "CancelRequested");
    sim.hand.advance(seconds(1));
    assert_eq!(sim.job(&name).status, "Canceled");
}

#[tokio::test]
async fn a_folder_is_scored_file_by_file_and_is_no_file() {
    let (sim, _root) = sim(|_| {}).await;
    std::fs::create_dir_all(sim.root.join("inbox/day/nested")).unwrap();
    for (file, text) in [("day/b.csv", "h\n1\n2\n"), ("day/a.txt", "1\n"), ("day/nested/c.csv", "h\n1\n")] {
        sim.put(file, text);
    }
    let as_file = sim.submit("day", "as-file").await;
    let mut sent = body("day/", "as-folder");
    sent["properties"]["InputData"]["blob"]["JobInputType"] = json!("UriFolder");
    let job: Value = sim.post(&sent).await.json().await.unwrap();
    sim.finish(job["name"].as_str().unwrap(), "Completed").await;
    assert_eq!(sim.output("as-folder").unwrap().lines().count(), 1 + 3);
    let error = sim.until(&as_file, "Failed").await.error.unwrap();
    assert!(error.contains("is not a UriFile"), "{error}");
}

#[tokio::test]
async fn a_job_of_another_endpoint_is_not_found() {
    let (sim, _root) = sim(|_| {}).await;
    let name = sim.submit("x.csv", "x").await;
    for (endpoint, status) in [("claims", StatusCode::OK), ("others", StatusCode::NOT_FOUND)] {
        let url = format!("{}/{name}", sim.handle.scoring_uri(endpoint));
        assert_eq!(sim.get(&url, ML).await.status(), status, "{endpoint}");
    }
}

#[tokio::test]
async fn a_pipeline_deployment_takes_literals_and_folders() {
    let (sim, _root) = sim(|o| {
        o.endpoints = listed();
        o.score_command =
            Some("cat $SCORE_INPUT_blob > $SCORE_OUTPUT/p.csv; echo $SCORE_INPUT_level >> $SCORE_OUTPUT/p.csv".into());
    })
    .await;
    sim.put("x.csv", "in\n");
    let mut sent = body("x.csv", "folder/");
    sent["properties"]["OutputData"]["score"]["JobOutputType"] = json!("UriFolder");
    sent["properties"]["InputData"]["level"] = json!({ "JobInputType": "Literal", "Value": "7" });
    sent["properties"]["Properties"] = json!({ "experimentName": "mine" });
    let headers = [("azureml-model-deployment", "steps")];
    let job: Value =
        sim.try_post("claims", &sent, &headers).await.unwrap().error_for_status().unwrap().json().await.unwrap();
    let name = job["name"].as_str().unwrap();
    sim.finish(name, "Completed").await;
    assert_eq!(sim.output("folder/p.csv").as_deref(), Some("in\n7\n"));
    let arm = sim.arm_get(&format!("/jobs/{name}")).await;
    assert_eq!(arm["properties"]["experimentName"], "mine");
    assert_eq!(arm["properties"]["inputs"]["level"]["value"], "7");
}
