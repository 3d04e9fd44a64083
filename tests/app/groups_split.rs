//! How a group that failed is split: who is in its halves, which failures count on the deployment, and when splitting stops.

use app::App;
use lifecycle::breaker::BreakerEvent;
use lifecycle::{FailureCause, JobStatus, Rules, Status, Verb};
use serde_json::{Value, json};
use simulation::TOO_LARGE;
use time::Duration;

use super::groups::{by_time, group_of, minutes, order, until_final, uploads, url};
use super::groups_changing::why_alone;
use super::renames::tick;
use crate::support::world::World;

/// Nothing is counted on any deployment or rule.
async fn nothing_is_counted(app: &App) -> bool {
    app.ledger().controls().await.unwrap().breakers.is_empty()
}

/// A circuit breaker of a deployment is open.
async fn is_open(app: &App) -> bool {
    let breakers = app.ledger().controls().await.unwrap().breakers;
    breakers.values().any(|known| known.breaker.open_until.is_some())
}

#[tokio::test]
async fn of_a_failed_group_with_one_copy_one_half_is_made_and_the_other_file_goes_alone() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 2).await;
    world.refuse_copies_of(&url(0));
    world.fail_whatever_reads(&url(1));
    tick(&world, &app, Duration::minutes(6)).await;
    let whole = group_of(&world, &app, &ids[1]).await.id;
    world.end_jobs(&JobStatus::Completed);
    // The group is seen failed before the file that is out has heard anything.
    tick(&world, &app, Duration::minutes(2)).await;
    assert_eq!(app.ledger().get(&whole).await.unwrap().unwrap().0.status, Status::Failed);
    until_final(&world, &app, 40).await;
    assert!(app.ledger().get(&whole.half(0)).await.unwrap().is_some());
    assert!(app.ledger().get(&whole.half(1)).await.unwrap().is_none(), "a group of nobody");
    assert_eq!(world.statuses(&app).await, [(Status::Scored, 1), (Status::Failed, 1)].into());
    assert!(why_alone(&world, &app, &ids[0]).await.contains("409"));
}

#[tokio::test]
async fn halves_that_fail_alone_or_for_different_sakes_are_not_counted() {
    let world = World::with_rules(&by_time(4));
    let app = world.app();
    let ids = uploads(&world, &app, 8).await;
    minutes(&world, &app, 1).await;
    let mut wholes = Vec::new();
    for id in &ids {
        wholes.push(group_of(&world, &app, id).await);
    }
    wholes.sort_by(|a, b| a.id.cmp(&b.id));
    wholes.dedup_by(|a, b| a.id == b.id);
    assert_eq!(wholes.len(), 2);
    world.fail_jobs("ValueError: columns are missing");
    let later = async || {
        for _ in 0..3 {
            tick(&world, &app, Duration::minutes(2)).await;
        }
    };
    later().await;
    assert_eq!(world.jobs().len(), 2 + 4);
    for (half, error, jobs) in [(0, "ValueError: columns are missing", 6 + 4), (1, "BlobNotFound", 10 + 4)] {
        for whole in &wholes {
            let half = app.ledger().get(&whole.id.half(half)).await.unwrap().unwrap().0;
            assert_eq!(half.status, Status::Running);
            world.fail_job_of(&half.blob.path, error);
        }
        later().await;
        assert!(nothing_is_counted(&app).await, "{error}");
        assert_eq!(world.jobs().len(), jobs, "all four are split on: {error}");
    }
}

#[tokio::test]
async fn halves_that_do_not_find_their_input_pause_the_rule_and_not_the_deployment() {
    let world = World::with_rules(&by_time(8));
    let app = world.app();
    uploads(&world, &app, 16).await;
    for error in ["ValueError: columns are missing", "StreamAccessException was caused by NotFoundException"] {
        for _ in 0..3 {
            tick(&world, &app, Duration::minutes(1)).await;
        }
        world.fail_jobs(error);
    }
    for _ in 0..3 {
        tick(&world, &app, Duration::minutes(1)).await;
    }
    let controls = app.ledger().controls().await.unwrap();
    let [pause] = &controls.pauses.values().collect::<Vec<_>>()[..] else { panic!("{:?}", controls.pauses) };
    assert!(pause.open_until.is_some(), "both halves of two groups did not find their input");
    assert!(nothing_is_counted(&app).await, "that is no fault of the deployment");
    assert_eq!(world.jobs().len(), 2 + 4, "nothing is split while the rule is paused");
    let report = app::reports::status(app.ledger(), world.now(), None).await.unwrap();
    let waits: Vec<_> =
        report.findings.iter().filter(|finding| finding.kind == app::reports::FindingKind::BreakerOpen).collect();
    let [waits] = waits[..] else { panic!("{:?}", report.findings) };
    assert_eq!(waits.count, 16, "the members of groups that are not split wait for it too: {waits}");
}

/// What was counted once is not counted by each reconcile run that finds the halves unsplit.
#[tokio::test]
async fn a_breaker_that_an_operator_closes_stays_closed_until_something_fails_anew() {
    let world = World::with_rules(&by_time(8));
    let app = world.app();
    for n in 0..uploads(&world, &app, 32).await.len() {
        world.fail_whatever_reads(&url(n));
    }
    minutes(&world, &app, 6).await;
    assert!(is_open(&app).await);
    for n in 0..32 {
        world.repair_file(&url(n));
    }
    // What runs still was made of the bad files.
    for _ in 0..3 {
        minutes(&world, &app, 1).await;
    }
    let subject = app.ledger().controls().await.unwrap().subjects().next().unwrap().0;
    let settings = world.rules.breaker(&"https://heart.example/jobs".parse().unwrap());
    app.ledger().change_breaker(&subject, &BreakerEvent::Closed, &settings, world.now()).await.unwrap();
    for _ in 0..10 {
        minutes(&world, &app, 1).await;
        assert!(!is_open(&app).await);
    }
    until_final(&world, &app, 40).await;
    assert!(world.statuses(&app).await[&Status::Scored] > 16, "{:?}", world.statuses(&app).await);
}

#[tokio::test]
async fn a_group_that_probes_in_vain_begins_the_pause_anew() {
    let world = World::with_rules(&by_time(8));
    let app = world.app();
    for n in 0..uploads(&world, &app, 64).await.len() {
        world.fail_whatever_reads(&url(n));
    }
    minutes(&world, &app, 6).await;
    assert!(is_open(&app).await);
    let begun = world.jobs().len();
    minutes(&world, &app, 30).await;
    // An hour has twelve pauses of five minutes.
    let probes = world.jobs().len() - begun;
    assert!((5..=12).contains(&probes), "{probes} probes in an hour");
}

#[tokio::test]
async fn a_file_that_is_retried_and_fails_again_counts_once_and_shows_all_its_attempts() {
    let world = World::with_rules(&by_time(1));
    let app = world.app();
    let ids = uploads(&world, &app, 1).await;
    world.fail_whatever_reads(&url(0));
    for attempt in 1..=3 {
        until_final(&world, &app, 20).await;
        assert_eq!(world.get(&app, &ids[0]).await.attempt, attempt);
        let breakers = app.ledger().controls().await.unwrap().breakers;
        let failed: usize = breakers.values().map(|known| known.breaker.in_a_row()).sum();
        assert_eq!(failed, 1, "a scoring counts once, however often it is tried");
        order(&world, &app, &ids[0], Verb::Retry).await;
    }
}

/// Whatever a job says, it may be of one of its files: a script quotes what it has read.
#[tokio::test]
async fn no_file_fails_by_an_error_that_another_file_has_whatever_that_reads_like() {
    for error in [
        "ValueError: could not convert string to float: 'AuthorizationFailed'",
        "ResourceNotFoundError: The specified blob does not exist. ErrorCode:BlobNotFound",
        "TimeoutError: timed out",
        "exit code 42",
    ] {
        let world = World::with_rules(&by_time(4));
        let app = world.app();
        let ids = uploads(&world, &app, 4).await;
        world.fail_whatever_reads_by(&url(1), error);
        until_final(&world, &app, 120).await;
        assert_eq!(world.statuses(&app).await, [(Status::Scored, 3), (Status::Failed, 1)].into(), "{error}");
        assert_eq!(world.get(&app, &ids[1]).await.status, Status::Failed, "{error}");
    }
}

#[tokio::test]
async fn files_without_predictions_whose_half_names_nobody_are_scored_alone() {
    let world = World::with_rules(&by_time(4));
    let app = world.app();
    let ids = uploads(&world, &app, 4).await;
    let mut in_order = ids.clone();
    in_order.sort();
    let url_of = async |id: &str| world.get(&app, id).await.blob.url;
    world.fail_whatever_reads(&url_of(&in_order[0]).await);
    for id in &in_order[2..] {
        world.name_no_file(&url_of(id).await);
    }
    until_final(&world, &app, 60).await;
    assert_eq!(world.statuses(&app).await, [(Status::Scored, 3), (Status::Failed, 1)].into());
    assert!(why_alone(&world, &app, &in_order[2]).await.contains("does not name it"));
}

#[tokio::test]
async fn a_breaker_that_is_off_counts_no_halves_and_each_file_fails_by_itself() {
    let mut rules: Value = serde_json::from_str(&by_time(4)).unwrap();
    rules["endpoints"] = json!([{"uri": "https://heart.example/jobs", "breaker": {"failures": 0}}]);
    let world = World::with_rules(&rules.to_string());
    let app = world.app();
    for n in 0..uploads(&world, &app, 8).await.len() {
        world.fail_whatever_reads(&url(n));
    }
    for _ in 0..20 {
        minutes(&world, &app, 1).await;
        assert!(nothing_is_counted(&app).await);
    }
    assert_eq!(world.statuses(&app).await, [(Status::Failed, 8)].into());
    assert_eq!(world.jobs().len(), 2 + 4 + 8);
}

/// Groups of two, all files of which fail: each half is one file.
#[tokio::test]
async fn two_groups_of_two_bad_files_open_the_breaker_of_the_deployment() {
    let world = World::with_rules(&by_time(2));
    let app = world.app();
    for n in 0..uploads(&world, &app, 4).await.len() {
        world.fail_whatever_reads(&url(n));
    }
    minutes(&world, &app, 6).await;
    assert!(is_open(&app).await);
    assert_eq!(world.jobs().len(), 2 + 4);
}

#[tokio::test]
async fn bad_files_that_come_one_after_the_other_do_not_make_the_deployment_suspect() {
    let world = World::with_rules(&by_time(8));
    let app = world.app();
    let ids = uploads(&world, &app, 16).await;
    // Those that came at one time are in groups in the order of their ids. Of each group the last two: both halves of a quarter of it
    // fail, and no half of a whole group.
    let mut in_order = ids.clone();
    in_order.sort();
    for bad in [6, 7, 14, 15] {
        world.fail_whatever_reads(&world.get(&app, &in_order[bad]).await.blob.url);
    }
    for _ in 0..12 {
        minutes(&world, &app, 1).await;
        assert!(!is_open(&app).await);
    }
    assert_eq!(world.statuses(&app).await, [(Status::Scored, 12), (Status::Failed, 4)].into());
}

#[tokio::test]
async fn a_file_too_large_for_its_node_fails_alone_with_the_job_that_tells_why() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 3).await;
    world.fail_whatever_reads_by(&url(1), TOO_LARGE);
    until_final(&world, &app, 80).await;
    assert_eq!(world.statuses(&app).await, [(Status::Scored, 2), (Status::Failed, 1)].into());
    let failed = world.get(&app, &ids[1]).await;
    assert_eq!(failed.failure, Some(FailureCause::Platform));
    let alone = group_of(&world, &app, &ids[1]).await;
    assert_eq!((failed.attempt, &failed.job), (3, &alone.job));
    assert!(failed.job.is_some(), "its log tells which file it was");
}

/// Rules and folders are sources: files of one sender that fail are no broken model, and those of several may be one.
#[tokio::test]
async fn failed_groups_are_told_apart_by_where_their_files_come_from() {
    let source = async |folders: usize| {
        let world = World::with_rules(&by_time(1));
        let app = world.app();
        for n in 0..10 {
            let path = format!("sender-{}/{n}.csv", n % folders);
            super::groups::upload(&world, &app, &path).await;
            world.fail_whatever_reads(&format!("https://uploads.blob.core.windows.net/claims/{path}"));
        }
        minutes(&world, &app, 6).await;
        is_open(&app).await
    };
    assert!(!source(1).await, "ten failures of one sender");
    assert!(source(2).await, "ten failures of two senders");
}

#[tokio::test]
async fn a_failed_group_without_its_rule_is_not_split_and_its_files_wait_for_the_rule() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 2).await;
    world.fail_whatever_reads(&url(0));
    tick(&world, &app, Duration::minutes(6)).await;
    world.end_jobs(&JobStatus::Completed);
    tick(&world, &app, Duration::minutes(2)).await;
    assert_eq!(group_of(&world, &app, &ids[0]).await.status, Status::Failed);
    let mut without = world.clone();
    without.rules = Rules::read(&by_time(100).replace("\"id\":\"claims\"", "\"id\":\"others\"")).unwrap();
    let other = without.app();
    tick(&without, &other, Duration::minutes(1)).await;
    for id in &ids {
        assert!(why_alone(&without, &other, id).await.contains("its rule is not in the rules any more"));
    }
    tick(&without, &other, Duration::minutes(1)).await;
    assert_eq!((world.jobs().len(), world.statuses(&other).await), (1, [(Status::Queued, 2)].into()));
    until_final(&world, &app, 20).await;
    assert_eq!(world.statuses(&app).await, [(Status::Scored, 1), (Status::Failed, 1)].into());
}
