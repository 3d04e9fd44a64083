//! What outlives the process, and what is forgotten.

use reqwest::StatusCode;
use serde_json::{Value, json};
use simulator::{self, Clock, SimulatorOptions, Timing};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::{ML, body, seconds, sim_in};

#[tokio::test]
async fn a_restarted_simulator_knows_its_jobs_and_finishes_them() {
    let root = TempDir::new().unwrap();
    let journal = root.path().join("jobs.jsonl");
    let options = |o: &mut SimulatorOptions| o.journal = Some(journal.clone());
    let first = sim_in(&root, options).await;
    first.put("x.csv", "a\n1\n");
    let done = first.submit("x.csv", "done").await;
    first.finish(&done, "Completed").await;
    let cancelled = first.submit("x.csv", "cancelled").await;
    first.cancel(&cancelled).await;
    let working = first.submit("x.csv", "working").await;
    first.hand.advance(seconds(5));
    assert_eq!(first.job(&working).status, "Running");
    let fresh = first.submit("x.csv", "fresh").await;
    drop(first);
    // What a killed process leaves behind: half a line.
    let mut file = std::fs::OpenOptions::new().append(true).open(&journal).unwrap();
    std::io::Write::write_all(&mut file, b"{\"entered\":{\"seq\":4,\"ph").unwrap();

    let stage = root.path().join("outbox/.scorekeeper-simulator");
    std::fs::create_dir_all(stage.join(&done)).unwrap();

    let second = sim_in(&root, options).await;
    assert!(!stage.join(&done).exists(), "a finished job's leftovers");
    second.hand.advance(seconds(100));
    assert_eq!(second.job(&done).status, "Completed");
    assert_eq!(second.job(&cancelled).status, "Canceled");
    for name in [&working, &fresh] {
        second.until(name, "Running").await;
    }
    second.hand.advance(seconds(60));
    for name in [&working, &fresh] {
        second.until(name, "Finalizing").await;
    }
    second.hand.advance(seconds(5));
    for (name, output) in [(&done, "done"), (&working, "working"), (&fresh, "fresh")] {
        assert_eq!(second.arm_status(name).await, "Completed");
        assert!(second.output(output).is_some());
    }
    let next = second.submit("x.csv", "next").await;
    assert_eq!(second.handle.jobs().last().unwrap().name, next);
    second.finish(&next, "Completed").await;
    // The cluster does one thing after the other: what ended before the last job is tidied up.
    for name in [&working, &fresh] {
        assert!(!stage.join(name).exists(), "{name}");
    }
    assert_eq!(second.handle.summary().jobs, 5);
}

#[tokio::test]
async fn a_job_that_published_before_a_kill_is_not_failed_by_its_own_output() {
    for is_ours in [true, false] {
        let root = TempDir::new().unwrap();
        let journal = root.path().join("jobs.jsonl");
        let options = |o: &mut SimulatorOptions| o.journal = Some(journal.clone());
        let output = format!("out-{is_ours}");
        let first = sim_in(&root, options).await;
        first.put("x.csv", "a\n1\n");
        let name = first.submit("x.csv", &output).await;
        first.finish(&name, "Completed").await;
        // The cluster tidies up before it looks at the end of the next job.
        let next = first.submit("x.csv", &format!("{output}-next")).await;
        first.finish(&next, "Completed").await;
        drop(first);
        // Back to the moment between the link and its record: the staged file is there, later lines are not.
        let text = std::fs::read_to_string(&journal).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let published = lines.iter().position(|line| line.contains(r#""phase":"finalizing""#)).unwrap();
        std::fs::write(&journal, format!("{}\n", lines[..published].join("\n"))).unwrap();
        let stage = root.path().join("outbox/.scorekeeper-simulator").join(&name);
        std::fs::create_dir_all(&stage).unwrap();
        if is_ours {
            std::fs::hard_link(root.path().join("outbox").join(&output), stage.join("any")).unwrap();
        }
        let second = sim_in(&root, options).await;
        second.hand.advance(seconds(64));
        if is_ours {
            second.until(&name, "Finalizing").await;
            second.hand.advance(seconds(5));
            assert_eq!(second.job(&name).status, "Completed");
        } else {
            assert!(second.until(&name, "Failed").await.error.unwrap().contains("already exists"));
        }
    }
}

#[tokio::test]
async fn a_damaged_journal_is_not_guessed_at() {
    let root = TempDir::new().unwrap();
    let journal = root.path().join("jobs.jsonl");
    std::fs::write(&journal, "nonsense\n").unwrap();
    let options = SimulatorOptions { journal: Some(journal.clone()), ..SimulatorOptions::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = simulator::start(listener, options).err().unwrap().to_string();
    assert!(error.contains("line 1 of the journal"), "{error}");
    assert_eq!(std::fs::read_to_string(journal).unwrap(), "nonsense\n");
}

#[tokio::test]
async fn the_oldest_finished_jobs_are_forgotten_and_a_full_house_says_so() {
    let root = TempDir::new().unwrap();
    let journal = root.path().join("jobs.jsonl");
    let options = |o: &mut SimulatorOptions| {
        o.keep_jobs = 2;
        o.journal = Some(journal.clone());
    };
    let sim = sim_in(&root, options).await;
    sim.put("x.csv", "a\n1\n");
    let first = sim.submit("x.csv", "1").await;
    sim.finish(&first, "Completed").await;
    sim.submit("x.csv", "2").await;
    sim.submit("x.csv", "3").await;
    assert_eq!(
        sim.get(&format!("{}/{first}", sim.handle.scoring_uri("claims")), ML).await.status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(sim.post(&body("x.csv", "4")).await.status(), StatusCode::TOO_MANY_REQUESTS);
    let summary = sim.handle.summary();
    assert_eq!((summary.jobs, summary.forgotten, summary.in_flight), (3, 1, 2));
    drop(sim);
    let again = sim_in(&root, options).await;
    assert_eq!((again.handle.jobs().len(), again.handle.summary().jobs), (2, 3));
    assert_eq!(std::fs::read_to_string(&journal).unwrap().lines().count(), 2, "the journal is written anew at start");
}

#[tokio::test]
async fn by_default_a_job_is_done_in_a_moment_and_says_so_over_http() {
    let root = TempDir::new().unwrap();
    let sim = sim_in(&root, |o| {
        o.clock = Clock::wall();
        o.timing = Timing::default();
    })
    .await;
    sim.put("x.csv", "a\n1\n");
    let name = sim.submit("x.csv", "x").await;
    sim.until(&name, "Completed").await;
    assert!(sim.output("x").is_some());
    let jobs: Value = sim.http.get(sim.url("/admin/jobs")).send().await.unwrap().json().await.unwrap();
    assert_eq!((&jobs["jobs"][0]["name"], &jobs["jobs"][0]["status"]), (&json!(name), &json!("Completed")));
    let summary: Value = sim.http.get(sim.url("/admin/summary")).send().await.unwrap().json().await.unwrap();
    assert_eq!((&summary["jobs"], &summary["maxInFlight"]), (&json!(1), &json!(1)));
    let itself: Value = sim.http.get(sim.url("/")).send().await.unwrap().json().await.unwrap();
    assert!(itself["what"].as_str().unwrap().starts_with("a simulated"), "{itself}");
}
