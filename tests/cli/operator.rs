//! An operator who knows `--help` and nothing else: three hundred uploads under every fault, brought to their ends by what `status`
//! says is next.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use app::App;
use lifecycle::{JobStatus, Status};
use serde_json::Value;
use time::Duration;

use super::commands::typed;
use crate::support::world::{Fault, World, event};

const UPLOADS: usize = 300;
/// Rounds of looking and doing what is next.
const MAX_ROUNDS: usize = 60;

/// What befalls an upload, by its number.
fn fault(number: usize) -> Option<Fault> {
    match number % 15 {
        1 => Some(Fault::Refused { permanent: true }),
        2 => Some(Fault::LostRequest),
        3 => Some(Fault::LostAnswer { times: 1 }),
        4 => Some(Fault::Duplicated { times: 2 }),
        5 => Some(Fault::Throttled(None)),
        6 => Some(Fault::Refused { permanent: false }),
        _ => None,
    }
}

async fn tick(world: &World, app: &App) {
    world.later(Duration::minutes(2));
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
}

/// All of it at once: requests that are refused, lost, repeated and throttled, a model that fails, a full endpoint, a role that
/// is taken away, events that cannot be read, and a timer that is dead for an hour.
async fn a_bad_day() -> (World, App) {
    let rules = r#"{"rules":[{"id":"claims","match":{"container":"claims"},"maxInFlight":40,"maxAttempts":1,
        "endpoint":{"uri":"https://heart.example/jobs"}}]}"#;
    let world = World::with_rules(rules);
    world.scan_every(Duration::minutes(10));
    let app = world.app();
    for number in 0..UPLOADS {
        if let Some(fault) = fault(number) {
            world.next_faults([fault]);
        }
        world.deliver(&app, &event(&format!("day/{number}.csv"), "1")).await;
        if number == 20 {
            world.fail_jobs("ValueError: column age is missing");
        }
        if number % 50 == 49 {
            world.end_jobs(&JobStatus::Completed);
            tick(&world, &app).await;
        }
    }
    app.accept(&serde_json::json!([{"x": 1}, {"x": 2}])).await.unwrap().submit().await;
    world.blind(Some("403; the app's identity needs workspaces/jobs/read"));
    for _ in 0..6 {
        tick(&world, &app).await;
    }
    // Nobody runs for an hour.
    world.later(Duration::HOUR);
    (world, app)
}

/// The commands that a finding names: what stands behind `scorekeeper`, up to what people would not type.
fn next(finding: &Value) -> Vec<String> {
    let text = finding["next"].as_str().unwrap();
    let first = text.split(", or ").next().unwrap();
    first.split(", then ").map(|part| part.trim_start_matches("scorekeeper ").replace('…', "'seen to'")).collect()
}

#[tokio::test(start_paused = true)]
async fn an_operator_who_knows_only_help_ends_three_hundred_uploads_under_faults() {
    let (world, app) = a_bad_day().await;
    let mut transcript = String::new();
    let mut kinds = BTreeSet::new();
    let mut run = async |line: &str| {
        let (code, told) = typed(app.ledger(), &world, None, line).await;
        writeln!(transcript, "$ scorekeeper {line}\n{told}(exit code {code})").unwrap();
        assert!(code != 64 && code != 2, "what is suggested can be typed: {line}: {told}");
        (code, told)
    };
    for _ in 0..MAX_ROUNDS {
        let (code, told) = run("status --json").await;
        let report: Value = serde_json::from_str(&told).unwrap();
        let attention = report["attention"].as_array().unwrap();
        assert_eq!(code == 0, attention.is_empty());
        for finding in attention {
            kinds.insert(finding["kind"].as_str().unwrap().to_owned());
            for line in next(finding) {
                match line.split(' ').next().unwrap() {
                    // It says which role is missing, or that the timer is dead: both are seen to.
                    "doctor" => world.blind(None),
                    // A list has ids, and `explain` says what may be done of one.
                    "list" if finding["kind"] == "held" => {
                        let (_, ids) = run(&format!("{line} --query [].id")).await;
                        for id in serde_json::from_str::<Vec<String>>(&ids).unwrap() {
                            let (_, told) = run(&format!("explain {id}")).await;
                            assert!(told.contains(&format!("scorekeeper resolve {id} --send-again")), "{told}");
                            run(&format!("resolve {id} --send-again --reason 'no job in the studio'")).await;
                        }
                    }
                    _ => drop(run(&line).await),
                }
            }
        }
        if code == 0 && app.ledger().in_flight().await.unwrap().is_empty() {
            break;
        }
        world.end_jobs(&JobStatus::Completed);
        tick(&world, &app).await;
    }
    let statuses = world.statuses(&app).await;
    assert!(app.ledger().in_flight().await.unwrap().is_empty(), "{statuses:?}");
    assert_eq!(statuses.values().sum::<usize>(), UPLOADS, "{statuses:?}");
    assert_eq!(statuses.get(&Status::Scored), Some(&UPLOADS), "each was retried once its cause was gone: {statuses:?}");
    let (code, told) = typed(app.ledger(), &world, None, "status").await;
    assert!(code == 0 && told.ends_with("Nothing needs attention.\n"), "{told}");
    for kind in ["failed", "held", "quarantined"] {
        assert!(kinds.contains(kind), "the day was bad enough: {kinds:?}");
    }
    let typed = transcript.lines().filter(|line| line.starts_with("$ ")).count();
    assert!(typed < 200, "an afternoon's work and not a week's: {typed} commands\n{transcript}");
}
