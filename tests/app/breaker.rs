//! The circuit breaker of a deployment, in the running app.

use app::App;
use app::ledger::DeploymentBreaker;
use lifecycle::breaker::{BreakerEvent, BreakerSubject, Source, Verdict};
use lifecycle::{BreakerSettings, EndpointKey, FailureCause, JobStatus, Order, Rules, ScoringId, Status, Verb};
use serde_json::{Value, json};
use time::Duration;

use super::{claims, rows, since};
use crate::support::world::{Fault, World, event};
use crate::support::yielding::Yielding;

const URI: &str = "https://heart.example/jobs";

fn rule(id: &str, deployment: &str) -> Value {
    let wanted = json!({"container": "claims", "prefix": format!("{id}/"), "globs": [format!("{id}/**")]});
    json!({"id": id, "match": wanted, "endpoint": {"uri": URI, "deployment": deployment}, "maxAttempts": 1})
}

fn rules(rules: &[Value], endpoint: Value) -> String {
    let mut endpoint = endpoint;
    endpoint["uri"] = json!(URI);
    json!({"rules": rules, "endpoints": [endpoint]}).to_string()
}

fn three_failures() -> Value {
    json!({"breaker": {"failures": 3, "pause": "PT5M"}})
}

fn world() -> World {
    World::with_rules(&rules(&[rule("claims", "v7")], three_failures()))
}

fn soon(world: &World) -> time::OffsetDateTime {
    world.now() + Duration::minutes(5)
}

/// Uploads come from two senders, in turn.
fn folder(name: &str) -> &'static str {
    if name.bytes().map(u32::from).sum::<u32>() % 2 == 0 { "even" } else { "odd" }
}

fn v7() -> BreakerSubject {
    BreakerSubject::Deployment { endpoint: URI.parse().unwrap(), deployment: "v7".parse().ok() }
}

async fn deliver(world: &World, app: &App, names: &[&str]) -> Vec<String> {
    let mut ids = Vec::new();
    for name in names {
        world.later(Duration::SECOND);
        let path = if name.contains('/') { (*name).to_owned() } else { format!("claims/{}/{name}", folder(name)) };
        ids.extend(world.deliver(app, &event(&path, "1")).await);
    }
    ids
}

async fn tick(world: &World, app: &App, minutes: i64) {
    world.later(Duration::minutes(minutes));
    app.tick(soon(world)).await.unwrap();
}

/// Three jobs have failed.
async fn open(world: &World) -> App {
    let app = world.app();
    // Boxed: many tests await this one, and futures of the whole app are large.
    Box::pin(deliver(world, &app, &["1", "2", "3"])).await;
    world.end_jobs(&JobStatus::Failed);
    Box::pin(tick(world, &app, 2)).await;
    assert!(known(&app).await.breaker.open_until.is_some());
    app
}

async fn known(app: &App) -> DeploymentBreaker {
    let controls = app.ledger().controls().await.unwrap();
    controls.breakers[&EndpointKey::of_deployment(URI, Some("v7"))].clone()
}

async fn report(app: &App, event: BreakerEvent, now: time::OffsetDateTime) {
    let settings = BreakerSettings { failures: 3, ..BreakerSettings::default() };
    app.ledger().change_breaker(&v7(), &event, &settings, now).await.unwrap();
}

/// A scoring of one of two senders failed.
fn failed(n: u32) -> BreakerEvent {
    let verdict = Verdict::Failed { cause: FailureCause::Unknown, error: "x".into() };
    let id = ScoringId::read(&format!("{n:032x}")).unwrap();
    BreakerEvent::Attempt {
        id,
        file: None,
        is_group: false,
        source: Source::read(&format!("{:08x}", n % 2)).unwrap(),
        ran_on: None,
        verdict,
    }
}

fn paths(world: &World) -> Vec<String> {
    let short = |path: String| path.replace("claims/", "").replace("odd/", "").replace("even/", "");
    world.jobs().into_iter().map(|job| short(job.path)).collect()
}

#[tokio::test]
async fn a_broken_deployment_gets_one_probe_at_a_time_until_one_succeeds() {
    let world = world();
    let app = open(&world).await;
    let ids = deliver(&world, &world.app(), &["4", "5", "6"]).await;
    tick(&world, &app, 1).await;
    assert_eq!(world.jobs().len(), 3);
    let controls = app.ledger().controls().await.unwrap();
    let scope_status = &controls.scopes[&claims()];
    let reason = scope_status.reason.as_deref().unwrap();
    assert_eq!(scope_status.waiting, 3);
    for part in
        ["3 scorings in a row failed", "exit code 42", "UTC", "scorekeeper breaker close --endpoint", "--deployment v7"]
    {
        assert!(reason.contains(part), "{part} is missing in {reason}");
    }
    // The pause is over: one goes, and it fails; the next waits for another pause.
    tick(&world, &app, 5).await;
    tick(&world, &app, 1).await;
    assert_eq!(paths(&world), ["1", "2", "3", "4"]);
    world.end_jobs(&JobStatus::Failed);
    tick(&world, &app, 2).await;
    tick(&world, &app, 4).await;
    assert_eq!(world.jobs().len(), 4);
    tick(&world, &app, 1).await;
    assert_eq!(paths(&world), ["1", "2", "3", "4", "5"]);
    // This one succeeds: in the same tick all others go.
    world.end_jobs(&JobStatus::Completed);
    tick(&world, &app, 2).await;
    assert_eq!(paths(&world), ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(world.get(&app, &ids[1]).await.status, Status::Scored);
    assert_eq!(known(&app).await.breaker.in_a_row(), 0);
}

#[tokio::test]
async fn an_event_may_be_the_probe_and_the_next_one_waits() {
    let world = world();
    open(&world).await;
    world.later(Duration::minutes(5));
    let ids = deliver(&world, &world.app(), &["4"]).await;
    let late = deliver(&world, &world.app(), &["5"]).await;
    let app = world.app();
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Running);
    assert_eq!(world.get(&app, &late[0]).await.status, Status::Queued);
}

/// Whatever keeps an event's scoring from being sent, it does not keep the place of the probe.
#[tokio::test]
async fn who_will_not_say_a_word_does_not_stay_the_probe() {
    let is_free = async |app: &App| known(app).await.breaker.probe.is_none();
    let world = world();
    let app = open(&world).await;
    world.later(Duration::minutes(5));
    // Event Grid repeats the event of one that has failed.
    deliver(&world, &app, &["1"]).await;
    assert!(is_free(&app).await, "it was scored long ago");
    let next = deliver(&world, &app, &["4"]).await;
    assert_eq!(world.get(&app, &next[0]).await.status, Status::Running, "the next upload probes");

    // The one that probes is cancelled by somebody who has the ledger alone.
    world.end_jobs(&JobStatus::Failed);
    tick(&world, &app, 2).await;
    let waits = deliver(&world, &app, &["5"]).await;
    world.later(Duration::minutes(6));
    let id = ScoringId::read(&waits[0]).unwrap();
    report(&app, BreakerEvent::ProbeRequested(id.clone()), world.now()).await;
    assert!(!is_free(&app).await);
    let order = Order { verb: Verb::Cancel, by: "somebody".to_owned(), reason: "not wanted".to_owned() };
    app::order(app.ledger(), &id, &order, world.now()).await.unwrap();
    assert_eq!(world.get(&app, &waits[0]).await.status, Status::Cancelled);
    assert!(is_free(&app).await, "it was cancelled");
}

#[tokio::test]
async fn while_all_goes_well_nothing_is_read_or_written_for_it() {
    let world = world();
    let app = world.app();
    deliver(&world, &app, &["1"]).await;
    world.end_jobs(&JobStatus::Completed);
    world.later(Duration::minutes(2));
    let before = world.store.calls();
    app.tick(soon(&world)).await.unwrap();
    assert!(app.ledger().in_flight().await.unwrap().is_empty());
    assert_eq!(since(before, world.store.calls()).0, 4, "the scoring, two for its projection, one of the first run");
    assert!(app.ledger().controls().await.unwrap().breakers.is_empty());
}

#[tokio::test]
async fn a_success_between_failures_begins_the_count_anew() {
    let world = world();
    let app = world.app();
    for (n, status) in
        [JobStatus::Failed, JobStatus::Failed, JobStatus::Completed, JobStatus::Failed].iter().enumerate()
    {
        deliver(&world, &app, &[&n.to_string()]).await;
        world.end_jobs(status);
        tick(&world, &app, 2).await;
    }
    assert_eq!(known(&app).await.breaker.in_a_row(), 1);
}

#[tokio::test]
async fn failures_that_twelve_processes_count_at_once_are_all_counted() {
    let world = World::on(Yielding::store(), &rules(&[rule("claims", "v7")], three_failures()));
    deliver(&world, &world.app(), &["1"]).await;
    let all: Vec<_> = (0..12_u32)
        .map(|n| {
            let (app, now) = (world.app(), world.now());
            tokio::spawn(async move { report(&app, failed(n), now).await })
        })
        .collect();
    for one in all {
        one.await.unwrap();
    }
    assert_eq!(known(&world.app()).await.breaker.in_a_row(), 12, "the first of them too");
}

#[tokio::test]
async fn a_probe_whose_process_died_is_followed_by_another() {
    let world = world();
    let app = open(&world).await;
    deliver(&world, &app, &["4"]).await;
    world.later(Duration::minutes(5));
    report(&app, BreakerEvent::ProbeRequested(ScoringId::read(&"f".repeat(32)).unwrap()), world.now()).await;
    tick(&world, &app, 20).await;
    assert_eq!(world.jobs().len(), 3);
    tick(&world, &app, 10).await;
    assert_eq!(paths(&world), ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn who_is_not_the_probe_keeps_no_slot() {
    let mut endpoint = three_failures();
    endpoint["maxInFlight"] = json!(9);
    let world = World::with_rules(&rules(&[rule("claims", "v7"), rule("other", "v8")], endpoint));
    let app = open(&world).await;
    world.later(Duration::minutes(5));
    // This process knows that somebody may probe, and not yet that somebody does.
    let late = world.app();
    deliver(&world, &late, &["other/x"]).await;
    let ids = deliver(&world, &app, &["4"]).await;
    let other = deliver(&world, &late, &["5"]).await;
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Running);
    assert_eq!(world.get(&app, &other[0]).await.status, Status::Queued);
    let slots = format!("slots~endpoint~{}", EndpointKey::of(URI));
    assert_eq!(rows(&world, "State", &slots, "").await.len(), 2);
}

#[tokio::test]
async fn a_job_that_a_person_cancelled_does_not_count_and_ends_a_probe_without_a_word() {
    let world = world();
    let app = open(&world).await;
    deliver(&world, &app, &["4", "5"]).await;
    tick(&world, &app, 5).await;
    assert_eq!(world.jobs().len(), 4);
    world.end_jobs(&JobStatus::Canceled);
    tick(&world, &app, 2).await;
    assert_eq!(paths(&world), ["1", "2", "3", "4", "5"], "another one probes at once");
    assert_eq!(known(&app).await.breaker.in_a_row(), 3);
}

#[tokio::test]
async fn a_broken_deployment_does_not_hold_up_another_of_its_endpoint() {
    let world = World::with_rules(&rules(&[rule("claims", "v7"), rule("other", "v8")], three_failures()));
    let app = open(&world).await;
    deliver(&world, &app, &["4", "other/5"]).await;
    assert_eq!(paths(&world), ["1", "2", "3", "other/5"]);
    tick(&world, &app, 1).await;
    // The rule has another deployment now; what was accepted before is for the old one, and waits.
    let mut fixed = world.clone();
    fixed.rules = Rules::read(&rules(&[rule("claims", "v8")], three_failures())).unwrap();
    let app = fixed.app();
    deliver(&fixed, &app, &["6"]).await;
    tick(&fixed, &app, 1).await;
    assert_eq!(paths(&world), ["1", "2", "3", "other/5", "6"]);
}

#[tokio::test]
async fn a_broken_deployment_is_asked_of_once_a_tick_and_not_for_each_scoring() {
    let world = world();
    let app = open(&world).await;
    for n in 0..30 {
        deliver(&world, &app, &[&format!("more-{n}")]).await;
    }
    world.later(Duration::SECOND);
    let report = app.tick(soon(&world)).await.unwrap();
    assert_eq!((report.in_flight, report.due), (30, 1));
}

#[tokio::test]
async fn an_operator_closes_it_and_all_go_a_moment_later() {
    let world = world();
    let app = open(&world).await;
    deliver(&world, &app, &["4", "5"]).await;
    report(&world.app(), BreakerEvent::Closed, world.now()).await;
    world.later(Duration::seconds(15));
    app.tick(soon(&world)).await.unwrap();
    assert_eq!(paths(&world), ["1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn it_can_be_switched_off_also_while_it_is_open() {
    let world = world();
    open(&world).await;
    let mut off = world.clone();
    off.rules = Rules::read(&rules(&[rule("claims", "v7")], json!({"breaker": {"failures": 0}}))).unwrap();
    let app = off.app();
    deliver(&off, &app, &["4", "5", "6", "7"]).await;
    assert_eq!(off.jobs().len(), 7);
    off.end_jobs(&JobStatus::Failed);
    tick(&off, &app, 2).await;
    let breaker = known(&app).await.breaker;
    assert_eq!((breaker.open_until, breaker.in_a_row()), (None, 0));
    off.later(Duration::minutes(1));
    deliver(&off, &app, &["8"]).await;
    off.end_jobs(&JobStatus::Failed);
    tick(&off, &app, 2).await;
    assert_eq!(known(&app).await.breaker.in_a_row(), 0, "nor does it count");
}

#[tokio::test]
async fn it_is_on_without_being_asked_for() {
    let world = World::with_rules(&json!({"rules": [rule("claims", "v7")]}).to_string());
    let app = world.app();
    let names: Vec<_> = (0..10).map(|n| n.to_string()).collect();
    deliver(&world, &app, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    world.end_jobs(&JobStatus::Failed);
    tick(&world, &app, 2).await;
    deliver(&world, &app, &["late"]).await;
    assert_eq!(world.jobs().len(), 10);
    tick(&world, &app, 5).await;
    assert_eq!(world.jobs().len(), 11);
}

#[tokio::test]
async fn a_lost_request_is_not_sent_again_to_a_broken_deployment_but_as_its_probe() {
    let world = world();
    let app = world.app();
    world.next_faults([Fault::LostRequest, Fault::LostRequest]);
    let ids = deliver(&world, &app, &["lost", "lost-too"]).await;
    for n in 0..9 {
        tick(&world, &app, 1).await;
        if n == 5 {
            // It opens so late that `resubmitAfter` ends before the pause.
            world.later(Duration::minutes(6));
            deliver(&world, &app, &["1", "2", "3"]).await;
            world.end_jobs(&JobStatus::Failed);
        }
    }
    assert_eq!(world.jobs().len(), 3, "resubmitAfter is over, and nothing is sent");
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Unknown);
    for _ in 0..4 {
        tick(&world, &app, 1).await;
    }
    assert_eq!(world.jobs().len(), 4, "one of them probes");
    world.end_jobs(&JobStatus::Completed);
    for _ in 0..3 {
        tick(&world, &app, 2).await;
    }
    assert_eq!(world.jobs().len(), 5);
}
