//! Scoring by a command of the user's.

use std::time::Duration;

use tempfile::TempDir;

use super::{Sim, seconds, sim, sim_in};

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
