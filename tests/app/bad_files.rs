//! A bad file is not a broken model: what counts on a deployment and what on a rule, who probes, and who goes on.

use app::App;
use app::reports::{self, FindingKind};
use lifecycle::breaker::{BreakerEvent, BreakerSubject};
use lifecycle::{BreakerSettings, JobStatus, Status};
use serde_json::{Value, json};
use simulation::USER_ERROR;
use time::Duration;

use crate::support::world::{Fault, World, event};

const URI: &str = "https://heart.example/jobs";
/// A right of the cluster was taken away.
const DENIED: &str = "StreamAccessException was caused by AuthenticationException";

fn rule(id: &str, more: &Value) -> Value {
    let mut rule = json!({
        "id": id, "match": {"container": "claims", "prefix": format!("{id}/"), "globs": [format!("{id}/**")]},
        "endpoint": {"uri": URI, "deployment": "v7"},
    });
    for (name, value) in more.as_object().unwrap() {
        rule[name] = value.clone();
    }
    rule
}

fn world(rules: &[Value], breaker: &Value) -> World {
    let endpoints = json!([{"uri": URI, "breaker": breaker}]);
    World::with_rules(&json!({"rules": rules, "endpoints": endpoints}).to_string())
}

fn three() -> Value {
    json!({"failures": 3, "pause": "PT5M"})
}

async fn deliver(world: &World, app: &App, path: &str) -> String {
    world.later(Duration::SECOND);
    world.deliver(app, &event(path, "1")).await.remove(0)
}

async fn tick(world: &World, app: &App, minutes: i64) {
    world.later(Duration::minutes(minutes));
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
}

fn made(world: &World, prefix: &str) -> usize {
    world.jobs().iter().filter(|job| job.path.starts_with(prefix)).count()
}

async fn is_open(app: &App, subject: &BreakerSubject) -> bool {
    app.ledger().controls().await.unwrap().breaker(subject).open_until.is_some()
}

fn of_rule(id: &str) -> BreakerSubject {
    BreakerSubject::Rule(id.parse().unwrap())
}

fn of_deployment(name: Option<&str>) -> BreakerSubject {
    BreakerSubject::Deployment { endpoint: URI.parse().unwrap(), deployment: name.map(|name| name.parse().unwrap()) }
}

#[tokio::test]
async fn twelve_bad_files_do_not_stop_twenty_good_ones_and_fail_once_each() {
    let world = World::with_rules(
        &json!({"rules": [{"id": "claims", "match": {"container": "claims"}, "endpoint": {"uri": URI}}]}).to_string(),
    );
    let app = world.app();
    let mut bad = Vec::new();
    for n in 1..=12 {
        bad.push(deliver(&world, &app, &format!("bad-{n}.csv")).await);
    }
    world.fail_jobs(USER_ERROR);
    tick(&world, &app, 2).await;
    let mut good = Vec::new();
    for n in 1..=20 {
        good.push(deliver(&world, &app, &format!("good-{n}.csv")).await);
    }
    for id in &good {
        assert_eq!(world.get(&app, id).await.status, Status::Running, "at once");
    }
    for id in &bad {
        let scoring = world.get(&app, id).await;
        assert_eq!((scoring.status, scoring.attempt), (Status::Failed, 1));
    }
}

#[tokio::test]
async fn nine_of_ten_failing_open_the_breaker_whatever_succeeds_between() {
    let world = world(&[rule("claims", &json!({"maxInFlight": 1}))], &json!({}));
    let app = world.app();
    for n in 0..21 {
        deliver(&world, &app, &format!("claims/{n}.csv")).await;
        if n % 10 == 3 {
            world.end_jobs(&JobStatus::Completed);
        } else {
            world.fail_jobs(USER_ERROR);
        }
        tick(&world, &app, 2).await;
    }
    assert!(is_open(&app, &of_deployment(Some("v7"))).await);
    assert_eq!(world.jobs().len(), 20);
    // One success does not let all go; the next probe goes at once.
    for (n, probes) in [(0, 21), (1, 22), (2, 23)] {
        deliver(&world, &app, &format!("claims/more-{n}.csv")).await;
        deliver(&world, &app, &format!("claims/more-{n}-too.csv")).await;
        tick(&world, &app, if n == 0 { 5 } else { 1 }).await;
        assert_eq!(world.jobs().len(), probes);
        world.end_jobs(&JobStatus::Completed);
        tick(&world, &app, 2).await;
    }
    assert!(!is_open(&app, &of_deployment(Some("v7"))).await, "three in a row do");
}

#[tokio::test]
async fn ten_refused_requests_of_one_rule_pause_it_and_leave_the_other_alone() {
    let world = world(&[rule("claims", &json!({})), rule("other", &json!({}))], &json!({}));
    let app = world.app();
    world.next_faults((0..10).map(|_| Fault::Refused { permanent: true }));
    for n in 0..10 {
        let id = deliver(&world, &app, &format!("claims/{n}/x.csv")).await;
        assert_eq!(world.get(&app, &id).await.status, Status::Failed);
    }
    let waits = deliver(&world, &app, "claims/more.csv").await;
    let goes = deliver(&world, &app, "other/x.csv").await;
    assert_eq!(world.get(&app, &waits).await.status, Status::Queued);
    assert_eq!(world.get(&app, &goes).await.status, Status::Running);
    assert!(!is_open(&app, &of_deployment(Some("v7"))).await);
    // People see it, with the command that resumes it.
    let report = reports::status(app.ledger(), world.now(), None).await.unwrap();
    let finding = report.findings.iter().find(|finding| finding.kind == FindingKind::BreakerOpen).unwrap();
    let told = finding.to_string();
    for part in
        ["1 wait for rule claims", "paused", "10 scorings in a row failed (request)", "breaker close --rule claims"]
    {
        assert!(told.contains(part), "{part} is missing in {told}");
    }
    // And it heals by itself: after the pause one probes, and what is taken and scored lets the others go.
    let behind = deliver(&world, &app, "claims/behind.csv").await;
    tick(&world, &app, 5).await;
    assert_eq!(world.get(&app, &waits).await.status, Status::Running);
    assert_eq!(world.get(&app, &behind).await.status, Status::Queued);
    world.end_jobs(&JobStatus::Completed);
    tick(&world, &app, 2).await;
    assert_eq!(world.get(&app, &behind).await.status, Status::Running);
}

#[tokio::test]
async fn a_right_that_was_taken_away_fails_few_uploads_and_all_are_scored_once_it_is_back() {
    let world = world(&[rule("claims", &json!({"maxInFlight": 5}))], &three());
    let app = world.app();
    for n in 0..60 {
        deliver(&world, &app, &format!("claims/{n}/x.csv")).await;
    }
    for _ in 0..60 {
        world.fail_jobs(DENIED);
        tick(&world, &app, 2).await;
    }
    assert!(is_open(&app, &of_rule("claims")).await && !is_open(&app, &of_deployment(Some("v7"))).await);
    let statuses = world.statuses(&app).await;
    assert_eq!(statuses.get(&Status::Failed), None, "{statuses:?}");
    assert!(world.jobs().len() < 40, "one probe for each pause: {}", world.jobs().len());
    world.tick_until_final(&app, 200).await;
    assert_eq!(world.statuses(&app).await.get(&Status::Scored), Some(&60));
}

#[tokio::test]
async fn a_probe_is_what_was_not_tried_yet_else_what_was_tried_longest_ago() {
    let world = world(&[rule("claims", &json!({"maxAttempts": 9, "retryBackOff": "PT1S"}))], &three());
    let app = world.app();
    for path in ["claims/a/1.csv", "claims/b/2.csv", "claims/c/3.csv"] {
        deliver(&world, &app, path).await;
        world.later(Duration::minutes(3));
    }
    for path in ["claims/b/2.csv", "claims/a/1.csv", "claims/c/3.csv"] {
        world.fail_job_of(path, "exit code 1");
        tick(&world, &app, 2).await;
        if !is_open(&app, &of_deployment(Some("v7"))).await {
            // What failed first is tried again at once while the breaker is closed.
            world.end_jobs(&JobStatus::Running);
        }
    }
    assert!(is_open(&app, &of_deployment(Some("v7"))).await);
    world.fail_jobs("exit code 1");
    let before = world.jobs().len();
    deliver(&world, &app, "claims/d/new.csv").await;
    tick(&world, &app, 6).await;
    assert_eq!(world.jobs()[before].path, "claims/d/new.csv", "though it came last");
    // Then each of those that were tried has its turn, not the first in line again and again.
    let mut probes = Vec::new();
    for _ in 0..4 {
        world.fail_jobs("exit code 1");
        tick(&world, &app, 2).await;
        let before = world.jobs().len();
        tick(&world, &app, 6).await;
        probes.extend(world.jobs()[before..].iter().map(|job| job.path.clone()));
    }
    let distinct: std::collections::BTreeSet<_> = probes.iter().collect();
    assert_eq!((probes.len(), distinct.len()), (4, 4), "{probes:?}");
}

#[tokio::test]
async fn a_probe_needs_no_free_slot_of_its_rule_unless_an_operator_paused_that() {
    let limited = rule("claims", &json!({"maxInFlight": 3, "maxAttempts": 1}));
    let world = world(&[limited, rule("other", &json!({"maxAttempts": 1}))], &three());
    let app = world.app();
    for n in 0..3 {
        deliver(&world, &app, &format!("claims/{n}.csv")).await;
    }
    for n in 0..3 {
        let path = format!("other/{n}/x.csv");
        deliver(&world, &app, &path).await;
        world.fail_job_of(&path, USER_ERROR);
    }
    tick(&world, &app, 2).await;
    assert!(is_open(&app, &of_deployment(Some("v7"))).await);
    for n in 0..2 {
        deliver(&world, &app, &format!("claims/waits-{n}.csv")).await;
    }
    tick(&world, &app, 5).await;
    assert_eq!(
        (made(&world, "claims/waits-0"), made(&world, "claims/waits-1")),
        (1, 0),
        "one, beyond the three that run"
    );
}

#[tokio::test]
async fn a_default_deployment_that_was_switched_starts_closed() {
    let mut claims = rule("claims", &json!({"maxAttempts": 1}));
    claims["endpoint"].as_object_mut().unwrap().remove("deployment");
    let world = world(&[claims], &three());
    let app = world.app();
    world.set_default_deployment("v1");
    for n in 0..3 {
        deliver(&world, &app, &format!("claims/{n}/x.csv")).await;
    }
    world.fail_jobs(USER_ERROR);
    tick(&world, &app, 2).await;
    assert!(is_open(&app, &of_deployment(None)).await);
    world.set_default_deployment("v2");
    for n in 0..5 {
        deliver(&world, &app, &format!("claims/more-{n}.csv")).await;
    }
    tick(&world, &app, 5).await;
    assert!(!is_open(&app, &of_deployment(None)).await, "the probe's job tells of the other deployment");
    tick(&world, &app, 1).await;
    assert_eq!(made(&world, "claims/more"), 5);
}

#[tokio::test]
async fn an_operator_resumes_a_rule_and_all_go() {
    let world = world(&[rule("claims", &json!({}))], &three());
    let app = world.app();
    world.next_faults((0..3).map(|_| Fault::Refused { permanent: true }));
    for n in 0..5 {
        deliver(&world, &app, &format!("claims/{n}.csv")).await;
    }
    assert_eq!(world.jobs().len(), 0);
    let settings = BreakerSettings::default();
    world
        .app()
        .ledger()
        .change_breaker(&of_rule("claims"), &BreakerEvent::Closed, &settings, world.now())
        .await
        .unwrap();
    tick(&world, &app, 1).await;
    assert_eq!(world.jobs().len(), 2);
}
