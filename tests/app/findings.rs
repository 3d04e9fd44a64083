//! What needs attention: red when something is wrong now, and green when it is not any more.

use app::App;
use app::ledger::{Announced, Controls, Heartbeat, LimitChange, LimitScope, RulesProblem};
use app::reports::{self, Finding, FindingKind};
use handler::cli::json::JsonArgs;
use handler::cli::status::status;
use handler::config::WhichLedger;
use lifecycle::{BlobVersion, FailureCause, Group, Grouping, Job, Order, Scoring, ScoringId, Status, Verb};
use time::{Duration, OffsetDateTime};

use crate::support::world::{Fault, RULE, World, event};

type Kinds = Vec<(FindingKind, usize)>;

/// What needs attention; `status` tells it as text and as JSON alike, and by its exit code.
async fn kinds(app: &App, now: OffsetDateTime, events_within: Option<Duration>) -> Kinds {
    let report = reports::status(app.ledger(), now, events_within).await.unwrap();
    let told = async |json: &JsonArgs| {
        let (mut out, here) = (Vec::new(), WhichLedger::default());
        let code = status(app.ledger(), &here, json, events_within, now, &mut out).await.unwrap();
        (code, String::from_utf8(out).unwrap())
    };
    let ((code, text), (code_of_json, json)) = (told(&JsonArgs::TEXT).await, told(&JsonArgs::ALL).await);
    assert_eq!((code, code), (code_of_json, u8::from(!report.findings.is_empty())), "{text}");
    let lines: Vec<&str> = text.lines().skip_while(|line| *line != "Needs attention").skip(1).collect();
    let expected: Vec<String> = report.findings.iter().map(|finding| format!("  {finding}")).collect();
    assert_eq!(lines, expected, "{text}");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["attention"], serde_json::to_value(&report.findings).unwrap());
    for finding in &report.findings {
        assert!(finding.next.starts_with("scorekeeper "), "each ends with the next command: {finding:?}");
        takes_its_orders(app, finding, now).await;
    }
    report.findings.iter().map(|finding| (finding.kind, finding.count)).collect()
}

/// What a finding suggests is taken by all that it concerns.
async fn takes_its_orders(app: &App, finding: &Finding, now: OffsetDateTime) {
    for id in finding.of.iter().filter_map(|id| ScoringId::read(id)) {
        let Some((scoring, _)) = app.ledger().get(&id).await.unwrap() else { continue };
        for word in &finding.orders {
            assert!(finding.next.contains(&format!("scorekeeper {word} --finding")), "{finding:?}");
            let refused = match Verb::ALL.into_iter().find(|verb| verb.command() == *word) {
                Some(verb) => {
                    let order = Order { verb, by: "ann".to_owned(), reason: "a test".to_owned() };
                    app::refusal(app.ledger(), &scoring, &order, now)
                }
                None => app::rescore_refused_now(&scoring),
            };
            assert_eq!(refused, None, "{word} of {finding:?}");
        }
    }
}

async fn beat(app: &App, at: OffsetDateTime) {
    let heartbeat = Heartbeat { at, version: "1".to_owned(), in_flight: 0, errors: 0 };
    app.ledger().record_heartbeat(&heartbeat).await.unwrap();
}

/// A scoring that stands so since it was accepted.
fn scoring(world: &World, path: &str, etag: &str, status: Status) -> Scoring {
    let url = format!("https://uploads.blob.core.windows.net/claims/{path}");
    let blob = BlobVersion::read(&url, etag).unwrap();
    let mut scoring = Scoring::accept(&world.ledger_id, world.rules.get("claims").unwrap(), blob, world.now());
    scoring.status = status;
    scoring.attempt = 1;
    if status.is_terminal() {
        scoring.completed = Some(world.now());
        scoring.submitted = Some(world.now() - Duration::minutes(2));
    }
    if matches!(status, Status::Running | Status::Cancelling) {
        scoring.job = Some(Job { name: "job-1".parse().unwrap(), id: None, studio: None });
    }
    scoring
}

async fn put(app: &App, scoring: &Scoring) {
    let entry = scoring.accepted_entry("a test".to_owned());
    app.ledger().accept(scoring, &[entry], &Announced::default()).await.unwrap();
}

async fn one(world: &World, app: &App, path: &str, status: Status) {
    put(app, &scoring(world, path, "1", status)).await;
}

#[tokio::test]
async fn where_nothing_was_ever_deployed_or_the_hub_is_mistyped_there_is_no_ledger() {
    let world = World::new();
    let found = reports::status(world.app().ledger(), world.now(), None).await.unwrap().findings;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].kind, FindingKind::NoLedger);
    assert!(found[0].reason.contains("task hub Test") && found[0].reason.contains("mistyped"), "{found:?}");
    assert!(found[0].to_string().contains(", since when is not known: scorekeeper config"), "{}", found[0]);
    assert_eq!(serde_json::to_value(&found[0]).unwrap()["since"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_dead_timer_and_one_in_the_future_are_told_and_a_first_long_run_is_not() {
    let world = World::new();
    let app = world.app();
    one(&world, &app, "a.csv", Status::Running).await;
    let now = world.now();
    assert_eq!(kinds(&app, now + Duration::minutes(5), None).await, [], "the first run is under way");
    let dead = [(FindingKind::RunOverdue, 1)];
    assert_eq!(kinds(&app, now + Duration::minutes(11), None).await, dead, "and never ended");
    beat(&app, now).await;
    assert_eq!(kinds(&app, now + Duration::minutes(9), None).await, []);
    assert_eq!(kinds(&app, now + Duration::days(10), None).await, dead);
    beat(&app, now + Duration::hours(2)).await;
    assert_eq!(kinds(&app, now, None).await, [(FindingKind::RunAhead, 1)]);
    let ahead = reports::status(app.ledger(), now, None).await.unwrap().findings.remove(0);
    assert!(ahead.to_string().contains(", since when is not known: scorekeeper doctor"), "{ahead}");
}

#[tokio::test]
async fn events_are_overdue_when_none_came_for_as_long_as_was_said() {
    let world = World::new();
    let app = world.app();
    one(&world, &app, "a.csv", Status::Scored).await;
    world.later(Duration::hours(2));
    beat(&app, world.now()).await;
    assert_eq!(kinds(&app, world.now(), None).await, [], "nobody said how long it may take");
    assert_eq!(kinds(&app, world.now(), Some(Duration::hours(3))).await, []);
    assert_eq!(kinds(&app, world.now(), Some(Duration::hours(1))).await, [(FindingKind::EventsOverdue, 1)]);
}

#[tokio::test]
async fn refusals_are_grouped_and_denials_told_at_once_with_the_doctor() {
    for (code, kind, at_once) in [
        ("401 InvalidToken: no", FindingKind::Denied, true),
        ("403 AuthorizationFailed: no", FindingKind::Denied, true),
        ("503 Busy: request 17", FindingKind::Refused, false),
    ] {
        let world = World::new();
        let app = world.app();
        for n in 0..5 {
            let mut refused = scoring(&world, &format!("{n}.csv"), "1", Status::Queued);
            refused.refusals = 3;
            refused.last_error = Some(code.replace("17", &n.to_string()));
            put(&app, &refused).await;
        }
        beat(&app, world.now()).await;
        let now = kinds(&app, world.now(), None).await;
        assert_eq!(now, if at_once { vec![(kind, 5)] } else { vec![] }, "{code}");
        let later = reports::status(app.ledger(), world.now() + Duration::minutes(10), None).await.unwrap().findings;
        let denied = later.iter().any(|finding| finding.next == "scorekeeper doctor" && finding.kind == kind);
        assert_eq!(denied, at_once, "{later:?}");
    }
}

#[tokio::test]
async fn an_operators_pause_is_told_and_gone_with_it() {
    let world = World::new();
    let app = world.app();
    one(&world, &app, "a.csv", Status::Queued).await;
    beat(&app, world.now()).await;
    let scope = LimitScope::rule("claims");
    let change = |limit| LimitChange {
        name: "claims".to_owned(),
        limit,
        at: world.now(),
        by: "ann".to_owned(),
        reason: Some("a test".to_owned()),
    };
    app.ledger().set_limit(&scope, &change(Some(0)), &Controls::default()).await.unwrap();
    assert_eq!(kinds(&app, world.now(), None).await, [(FindingKind::Paused, 0)]);
    let seen = app.ledger().controls().await.unwrap();
    app.ledger().set_limit(&scope, &change(None), &seen).await.unwrap();
    assert_eq!(kinds(&app, world.now(), None).await, []);
}

#[tokio::test]
async fn one_that_is_stuck_is_told_in_each_phase() {
    for (status, limit) in [
        (Status::Queued, Duration::days(1)),
        (Status::Submitting, Duration::HOUR),
        (Status::Unknown, Duration::HOUR),
        (Status::Cancelling, Duration::HOUR),
        (Status::Verifying, Duration::HOUR),
    ] {
        let world = World::new();
        let app = world.app();
        one(&world, &app, "a.csv", status).await;
        for (after, expected) in [(limit, 0), (limit + Duration::SECOND, 1)] {
            let now = world.now() + after;
            beat(&app, now).await;
            let found = kinds(&app, now, None).await;
            let stuck = found.iter().filter(|(kind, _)| *kind == FindingKind::Stuck).count();
            assert_eq!(stuck, expected, "{status} for {after}: {found:?}");
        }
    }
}

#[tokio::test]
async fn a_running_job_is_stuck_by_what_its_rule_usually_takes() {
    let world = World::new();
    let app = world.app();
    one(&world, &app, "slow.csv", Status::Running).await;
    let later = world.now() + Duration::minutes(15);
    beat(&app, later).await;
    assert_eq!(kinds(&app, later, None).await, [], "nobody knows how long they take");
    for n in 0..20 {
        one(&world, &app, &format!("{n}.csv"), Status::Scored).await;
    }
    assert_eq!(kinds(&app, later, None).await, [(FindingKind::Stuck, 1)], "the others took two minutes");
}

#[tokio::test]
async fn a_held_one_and_an_orphaned_job_are_told_until_they_are_seen_to() {
    let world = World::new();
    let app = world.app();
    one(&world, &app, "held.csv", Status::Held).await;
    let mut orphan = scoring(&world, "orphan.csv", "1", Status::Scored);
    orphan.orphaned_job_count = 1;
    orphan.orphaned_jobs = vec!["job-9".parse().unwrap()];
    put(&app, &orphan).await;
    beat(&app, world.now()).await;
    assert_eq!(kinds(&app, world.now(), None).await, [(FindingKind::Held, 1), (FindingKind::OrphanedJobs, 1)]);
    acknowledge(&app, &orphan, world.now()).await;
    assert_eq!(kinds(&app, world.now(), None).await, [(FindingKind::Held, 1)]);
}

async fn acknowledge(app: &App, scoring: &Scoring, now: OffsetDateTime) {
    let order = Order { verb: Verb::Acknowledge, by: "ann".to_owned(), reason: "seen".to_owned() };
    app::order(app.ledger(), &scoring.id, &order, now).await.unwrap();
}

#[tokio::test]
async fn failures_are_grouped_by_reason_and_go_when_they_are_acknowledged() {
    let world = World::new();
    let app = world.app();
    let mut all = Vec::new();
    for n in 0..4 {
        let mut failed = scoring(&world, &format!("{n}.csv"), "1", Status::Failed);
        let why = if n < 3 { format!("ValueError: line {n}") } else { "the node was lost".to_owned() };
        failed.failure = Some(FailureCause::of_job(&why));
        failed.error = Some(why);
        put(&app, &failed).await;
        all.push(failed);
    }
    // However long ago.
    world.later(Duration::days(9));
    beat(&app, world.now()).await;
    assert_eq!(kinds(&app, world.now(), None).await, [(FindingKind::Failed, 3), (FindingKind::Failed, 1)]);
    for failed in &all[..3] {
        acknowledge(&app, failed, world.now()).await;
    }
    assert_eq!(kinds(&app, world.now(), None).await, [(FindingKind::Failed, 1)]);
}

#[tokio::test]
async fn a_failure_is_made_up_for_by_a_newer_success_of_its_blob_and_by_nothing_else() {
    for (path, status, later, left) in [
        ("a.csv", Status::Scored, Duration::hours(1), 0),
        ("a.csv", Status::Scored, Duration::days(5), 0),
        ("b.csv", Status::Scored, Duration::hours(1), 1),
        ("a.csv", Status::Running, Duration::hours(1), 1),
    ] {
        let world = World::new();
        let app = world.app();
        one(&world, &app, "a.csv", Status::Failed).await;
        world.later(Duration::HOUR);
        put(&app, &scoring(&world, path, "2", status)).await;
        world.later(later);
        beat(&app, world.now()).await;
        let found = kinds(&app, world.now(), None).await;
        let failed = found.iter().filter(|(kind, _)| *kind == FindingKind::Failed).count();
        assert_eq!(failed, left, "{path} {status} {later}: {found:?}");
    }
}

#[tokio::test]
async fn an_open_breaker_is_told_while_somebody_waits_for_it() {
    let rules = RULE.replace("\"maxAttempts\":2", "\"maxAttempts\":1");
    let world = World::with_rules(&rules);
    let app = world.app();
    for n in 0..10 {
        world.next_faults([Fault::Refused { permanent: true }]);
        world.deliver(&app, &event(&format!("{n}/x.csv"), "1")).await;
    }
    beat(&app, world.now()).await;
    let open = |found: &Kinds| found.iter().any(|(kind, _)| *kind == FindingKind::BreakerOpen);
    assert!(!open(&kinds(&app, world.now(), None).await), "nobody waits");
    world.deliver(&app, &event("waits.csv", "1")).await;
    assert!(open(&kinds(&app, world.now(), None).await));
}

#[tokio::test]
async fn events_that_are_refused_for_one_reason_are_one_finding_whatever_they_name() {
    let world = World::new();
    let app = world.app();
    for path in ["eu/a.csv", "us/b.csv"] {
        let mut bad = event(path, "1");
        bad["data"]["url"] = serde_json::Value::from(format!("ftp://uploads.blob.core.windows.net/claims/{path}"));
        world.deliver(&app, &bad).await;
    }
    let told = kinds(&app, world.now(), None).await;
    assert!(told.contains(&(FindingKind::Quarantined, 2)), "{told:?}");
}

#[tokio::test]
async fn rules_that_cannot_be_used_are_told_as_long_as_somebody_sees_it() {
    let world = World::new();
    let app = world.app();
    beat(&app, world.now()).await;
    let problem = RulesProblem {
        blob: "https://acct.blob.core.windows.net/config/rules.json".to_owned(),
        text: "the rules of ETag \"2\" are broken: rules[0].id (line 1, column 3) is missing".to_owned(),
        kept: Some("\"1\"".to_owned()),
        since: world.now() - Duration::minutes(9),
        at: world.now() - Duration::minutes(9),
    };
    app.ledger().record_rules_problem(&problem).await.unwrap();
    // By another process, which begins now.
    let problem = RulesProblem { since: world.now(), at: world.now(), ..problem };
    app.ledger().record_rules_problem(&problem).await.unwrap();
    let found = reports::status(app.ledger(), world.now(), None).await.unwrap().findings;
    assert_eq!((found[0].kind, found[0].since), (FindingKind::RulesUnusable, Some(world.now() - Duration::minutes(9))));
    assert!(
        found[0].reason.contains("rules[0].id") && found[0].reason.ends_with("those of ETag \"1\" are kept"),
        "{found:?}"
    );
    assert_eq!(found[0].next, "scorekeeper rules check https://acct.blob.core.windows.net/config/rules.json");
    // Whoever saw it writes each minute: it is gone, or its process is.
    assert_eq!(kinds(&app, world.now() + Duration::minutes(11), None).await, [(FindingKind::RunOverdue, 1)]);
    app.ledger().record_rules_problem(&RulesProblem { kept: None, ..problem }).await.unwrap();
    let found = reports::status(app.ledger(), world.now(), None).await.unwrap().findings;
    assert!(found[0].reason.ends_with("events are delivered again"), "the row is replaced whole: {found:?}");
    app.ledger().forget_rules_problem().await.unwrap();
    assert_eq!(kinds(&app, world.now(), None).await, []);
}

/// A group of two that stands so since it was accepted.
fn group(world: &World, path: &str, status: Status) -> Scoring {
    let mut group = scoring(world, path, "1", status);
    let members = ["0a", "0b"].map(|digits| ScoringId::read(&format!("{digits:0<32}")).unwrap());
    group.grouping = Some(Box::new(Grouping::Group(Group::sealed(members, None))));
    group
}

#[tokio::test]
async fn a_failed_group_with_an_orphaned_job_asks_for_what_a_group_takes() {
    let world = World::new();
    let app = world.app();
    beat(&app, world.now()).await;
    let mut failed = group(&world, "a.csv", Status::Failed);
    failed.failure = Some(FailureCause::UserCode);
    failed.error = Some("ValueError: x".to_owned());
    failed.orphaned_job_count = 1;
    failed.orphaned_jobs = vec!["job-2".parse().unwrap()];
    put(&app, &failed).await;
    assert_eq!(kinds(&app, world.now(), None).await, [(FindingKind::OrphanedJobs, 1)], "its members fail, not it");
    let found = reports::status(app.ledger(), world.now(), None).await.unwrap().findings.remove(0);
    assert!(found.reason.starts_with("1 orphaned job of 1 group: ") && found.orders == ["ack"], "{found:?}");
    world.later(Duration::minutes(7));
    let needs = app.tick(world.now() + Duration::minutes(5)).await.unwrap().needs_person.unwrap();
    assert_eq!((needs.failed, needs.with_orphaned_jobs), (0, 1), "nor do alerts take it for a failed scoring");
    let order = Order { verb: Verb::Acknowledge, by: "ann".to_owned(), reason: "seen".to_owned() };
    app::order(app.ledger(), &failed.id, &order, world.now()).await.unwrap();
    assert_eq!(kinds(&app, world.now(), None).await, []);
}

#[tokio::test]
async fn a_group_on_hold_is_released_as_one_of_all_its_members() {
    let world = World::new();
    let app = world.app();
    beat(&app, world.now()).await;
    let mut held = group(&world, "a.csv", Status::Queued);
    held.on_hold = Some("put on hold by ann (month end)".to_owned());
    put(&app, &held).await;
    assert_eq!(kinds(&app, world.now(), None).await, [(FindingKind::OnHold, 1)]);
    let found = reports::status(app.ledger(), world.now(), None).await.unwrap().findings.remove(0);
    assert!(found.next.ends_with("--reason … --yes"), "{found:?}");
}
