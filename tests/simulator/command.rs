//! Scoring by a command of the user's.

use std::time::Duration;

use tempfile::TempDir;

use serde_json::{Value, json};

use super::{Sim, listed, seconds, sim, sim_in};

#[tokio::test]
async fn a_scoring_command_makes_the_output_or_fails_the_job_with_its_last_words() {
    for (command, status, expected) in [
        ("tr a-z A-Z < \"$SCORE_INPUT\" > \"$SCORE_OUTPUT\"", "Completed", "IN\n"),
        (
            "echo half > \"$SCORE_OUTPUT\"; yes noise | head -c 100000 >&2; echo last words >&2; exit 3",
            "Failed",
            "last words",
        ),
        ("exit 0", "Failed", "wrote no output 'score'"),
    ] {
        let (sim, _root) = sim(|o| o.score_command = Some(command.into())).await;
        sim.put("x.csv", "in\n");
        let name = sim.submit("x.csv", "x").await;
        let job = sim.finish(&name, status).await;
        if status == "Completed" {
            assert_eq!(sim.output("x").as_deref(), Some(expected));
        } else {
            let error = job.error.unwrap();
            assert!(error.contains(expected) && error.len() < 5000, "{error}");
            assert_eq!(sim.output("x"), None);
        }
    }
}

/// As `--help` and the docs say.
#[tokio::test]
async fn a_scoring_command_has_the_first_input_and_output_and_each_by_its_name() {
    let command = "[ \"$SCORE_OUTPUT\" = \"$SCORE_OUTPUT_alpha\" ] && [ \"$SCORE_INPUT\" = \"$SCORE_INPUT_first\" ] || exit 3; \
        cat \"$SCORE_INPUT_first\" \"$SCORE_INPUT_second\"/* > \"$SCORE_OUTPUT_alpha\"; \
        echo \"$SCORE_INPUT_level\" > \"$SCORE_OUTPUT_beta/level.txt\"; \
        env | grep -c '^SCORE_[A-Za-z_]*-' >> \"$SCORE_OUTPUT_beta/level.txt\"; \
        ls -A \"$SCORE_INPUT_second\" >> \"$SCORE_OUTPUT_beta/level.txt\"";
    let (sim, _root) = sim(|o| {
        o.endpoints = listed();
        o.score_command = Some(command.into());
    })
    .await;
    sim.put("x.csv", "one\n");
    std::fs::create_dir(sim.root.join("inbox/folder")).unwrap();
    sim.put("folder/y.csv", "two\n");
    sim.put("folder/.scorekeeper-blob-y.csv.json", r#"{"metadata": {"tenant": "a"}}"#);
    let at = |path: &str| format!("https://local.blob.localhost/inbox/{path}");
    let to = |path: &str| format!("azureml://datastores/scores/paths/{path}");
    let sent = json!({ "properties": {
        "InputData": {
            "second": { "JobInputType": "UriFolder", "Uri": at("folder/") }, "first": { "JobInputType": "UriFile", "Uri": at("x.csv") },
            "level": { "JobInputType": "Literal", "Value": "7" }, "no-name": { "JobInputType": "Literal", "Value": "8" } },
        "OutputData": {
            "beta": { "JobOutputType": "UriFolder", "Uri": to("b/") }, "alpha": { "JobOutputType": "UriFile", "Uri": to("a.csv") } } } });
    let headers = [("azureml-model-deployment", "steps")];
    let job = sim.try_post("claims", &sent, &headers).await.unwrap().error_for_status().unwrap();
    let job: Value = job.json().await.unwrap();
    sim.finish(job["name"].as_str().unwrap(), "Completed").await;
    assert_eq!(sim.output("a.csv").as_deref(), Some("one\ntwo\n"));
    assert_eq!(
        sim.output("b/level.txt").as_deref(),
        Some("7\n0\ny.csv\n"),
        "no variable of another name, no file that is no blob"
    );
}

#[tokio::test]
async fn a_scoring_command_that_takes_too_long_is_killed() {
    let (sim, _root) = sim(|o| {
        o.score_command = Some("sleep 1000".into());
        o.score_timeout = Duration::from_millis(50);
    })
    .await;
    sim.put("x.csv", "in\n");
    let name = sim.submit("x.csv", "x").await;
    assert!(sim.finish(&name, "Failed").await.error.unwrap().contains("took longer than 50ms"));
}

/// A pipe that the command and its children hold open: reading it to the end returns when all of them are gone.
async fn killed_by(stop: impl AsyncFnOnce(&Sim, &str)) {
    let root = TempDir::new().unwrap();
    let fifo = root.path().join("alive");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let command = format!("exec 3> '{}'; echo started >&3; sleep 1000 & sleep 1000", fifo.display());
    let sim = sim_in(&root, |o| o.score_command = Some(command)).await;
    sim.put("x.csv", "in\n");
    let name = sim.submit("x.csv", "x").await;
    sim.hand.advance(seconds(4));
    let alive = tokio::task::spawn_blocking(move || {
        use std::io::BufRead as _;
        let mut reader = std::io::BufReader::new(std::fs::File::open(fifo).unwrap());
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "started\n");
        reader
    });
    let mut alive = alive.await.unwrap();
    stop(&sim, &name).await;
    let ended = tokio::task::spawn_blocking(move || std::io::copy(&mut alive, &mut std::io::sink()).unwrap());
    assert_eq!(tokio::time::timeout(seconds(20), ended).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn cancelling_a_job_kills_its_command_and_what_that_started() {
    killed_by(async |sim, name| {
        sim.cancel(name).await;
    })
    .await;
}

#[tokio::test]
async fn ending_the_simulator_kills_its_commands() {
    killed_by(async |sim, _| sim.serving.abort()).await;
}
