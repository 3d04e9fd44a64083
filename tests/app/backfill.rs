//! Backfills: what a plan says is what is done, none is left out or done twice whoever dies, and fresh uploads keep their latency.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use app::App;
use app::backfill::{BackfillEnd, BackfillRequest, Error, PlaceBackfill, TimeLimit};
use app::ports::table_store::Op;
use lifecycle::backfill::BackfillCounts;
use lifecycle::pending::CopyState;
use lifecycle::{JobStatus, Status};
use serde_json::json;
use time::Duration;

use super::renames::{created, jobs, name, pending, ruled, tick};
use super::sweep::{sweep, written};
use crate::support::world::{Fault, World, event};

fn request(prefix: &str) -> BackfillRequest {
    BackfillRequest {
        rule: "claims".parse().unwrap(),
        prefix: prefix.to_owned(),
        since: None,
        until: None,
        generation: None,
        share: 20,
        forgotten: false,
        by: "ann".to_owned(),
        reason: "they were here before".to_owned(),
    }
}

fn place(app: &App, request: &BackfillRequest) -> PlaceBackfill {
    app.backfiller().places(request).unwrap().remove(0)
}

async fn run(app: &App, request: &BackfillRequest) -> BackfillCounts {
    let place = place(app, request);
    assert_eq!(place.run(None, |_| {}).await.unwrap(), BackfillEnd::Ended);
    place.state().await.unwrap().unwrap().done
}

/// All jobs come to their end.
async fn all_end(world: &World, app: &App, ticks: usize) {
    for _ in 0..ticks {
        tick(world, app, Duration::minutes(3)).await;
        world.end_jobs(&JobStatus::Completed);
    }
}

/// Three places: one of old files alone; one of which some were scored, failed, are skipped, are ours, folders or of other names; one of
/// files of several days.
async fn three_places() -> (World, App) {
    let outputs = json!({"score": {"type": "UriFile", "uri": "azureml://datastores/claims/paths/mixed/{scoring.id}/{attempt}/p.csv"}});
    let matches = json!({"container": "claims", "suffix": ".csv", "maxBytes": 50});
    let world = ruled(&json!({"match": matches, "outputs": outputs, "maxInFlight": 50}));
    let app = world.app();
    for n in 0..60 {
        written(&world, &format!("old/{n}.csv"), "1", Duration::days(20));
    }
    for n in 0..30 {
        let path = format!("mixed/{n}.csv");
        written(&world, &path, "1", Duration::days(2));
        if n < 12 {
            world.deliver(&app, &created("PutBlob", &path, "1", 7)).await;
        }
    }
    for path in ["mixed/x.txt", "mixed/y.txt"] {
        written(&world, path, "1", Duration::days(2));
    }
    written(&world, "mixed/large.csv", "1", Duration::days(2));
    world.uploaded(|uploaded| uploaded.change(&name("mixed/large.csv"), |shown| shown.size = 51));
    written(&world, "mixed/folder.csv", "1", Duration::days(2));
    world.uploaded(|uploaded| uploaded.change(&name("mixed/folder.csv"), |shown| shown.is_folder = true));
    let output = world.jobs()[0].submission.outputs["score"].uri.split_once("/paths/").unwrap().1.to_owned();
    written(&world, &output, "9", Duration::days(1));
    for n in 0..40 {
        written(&world, &format!("days/{n}.csv"), "1", Duration::days(1 + n % 8) + Duration::HOUR);
    }
    world.end_jobs_of(&["mixed/11.csv".to_owned()], &JobStatus::Failed);
    all_end(&world, &app, 4).await;
    written(&world, "mixed/young.csv", "1", Duration::minutes(9));
    (world, app)
}

#[tokio::test]
async fn a_plan_equals_what_the_backfill_then_does_and_writes_nothing() {
    let (world, app) = three_places().await;
    let now = world.now();
    let of_days = BackfillRequest {
        since: Some(TimeLimit::Ago(Duration::days(6))),
        until: Some(TimeLimit::Then(now - Duration::days(3))),
        ..request("days/")
    };
    let as_generation = BackfillRequest { generation: Some(2), ..request("mixed/") };
    let none = BackfillCounts::default();
    let expected = [
        (request("old/"), BackfillCounts { listed: 60, taken_in: 60, ..none }),
        (
            request("mixed/"),
            BackfillCounts { listed: 36, unwanted: 3, young: 1, own: 1, known: 12, taken_in: 18, skipped: 1, ..none },
        ),
        (of_days, BackfillCounts { listed: 40, outside: 25, taken_in: 15, ..none }),
        // Of all but the skipped one, which is on record by then.
        (as_generation, BackfillCounts { listed: 36, unwanted: 3, young: 1, own: 1, known: 1, taken_in: 30, ..none }),
    ];
    for (request, expected) in expected {
        world.lists_give(7);
        let writes = world.store.calls().writes;
        let plan = place(&app, &request).plan(|_| {}).await.unwrap();
        assert_eq!(world.store.calls().writes, writes, "a plan writes nothing");
        assert_eq!((plan.counts, plan.jobs), (expected, expected.taken_in), "{}", request.prefix);
        assert_eq!(plan.known.values().sum::<u64>(), expected.known);
        // 20 % of 50; a round of them takes as long as the median.
        assert_eq!(plan.slots, Some(10));
        let rounds = i64::try_from(plan.jobs.div_ceil(10)).unwrap();
        assert_eq!(plan.expected_seconds, plan.median_seconds.map(|median| median * rounds));
        assert!(plan.median_seconds.is_some_and(|median| median > 0));
        assert_eq!(run(&app, &request).await, expected, "{}", request.prefix);
        println!("{}: {plan:?}", request.prefix);
    }
    all_end(&world, &app, 60).await;
    let made = jobs(&world);
    // 12 by events, one of which was tried twice; then what was taken in.
    assert_eq!(made.len(), 12 + 1 + 60 + 18 + 15 + 30);
    let id = |generation| {
        let rule = world.rules.get("claims").unwrap();
        let rule = lifecycle::Rule { generation, ..rule.clone() };
        rule.scoring_id(&world.ledger_id, &name("mixed/3.csv").version("1").unwrap())
    };
    let outputs: BTreeSet<String> = [
        app.ledger().get(&id(world.rules.get("claims").unwrap().generation)).await.unwrap().unwrap().0,
        app.ledger().get(&id(2)).await.unwrap().unwrap().0,
    ]
    .iter()
    .map(|scoring| {
        assert_eq!(scoring.status, Status::Scored);
        scoring.output_uri().unwrap().to_owned()
    })
    .collect();
    assert_eq!(outputs.len(), 2, "the old result stays where it is");
    let history = app.ledger().entries(&id(2)).await.unwrap();
    assert!(history[0].reason.contains("backfilled as generation 2 by ann (they were here before)"), "{history:?}");
}

#[tokio::test]
async fn a_backfill_that_is_killed_is_gone_on_with_and_none_is_done_twice_or_left_out() {
    let world = ruled(&json!({}));
    let app = world.app();
    world.lists_give(10);
    for n in 0..100 {
        written(&world, &format!("old/{n:03}.csv"), "1", Duration::days(20));
    }
    let mut kills = 0;
    for life in 0.. {
        let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let dies_at = 11 + life * 3;
        let counted = std::sync::Arc::clone(&calls);
        world.store.heal();
        world.store.rule(move |_, _| {
            (counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst) >= dies_at).then_some(Fault::LostRequest)
        });
        let place = place(&world.app(), &request("old/"));
        let ended = matches!(place.run(None, |_| {}).await, Ok(BackfillEnd::Ended));
        world.store.heal();
        if ended {
            break;
        }
        kills += 1;
        // Its claim is left behind.
        world.later(Duration::minutes(11));
    }
    assert!(kills >= 5, "{kills}");
    let before = world.lists();
    all_end(&world, &app, 6).await;
    let made = jobs(&world);
    assert_eq!((made.len(), made.iter().collect::<BTreeSet<_>>().len()), (100, 100));
    let done = place(&app, &request("old/")).state().await.unwrap().unwrap().done;
    assert_eq!(done.listed, 100, "no page counts twice");
    assert!(before >= 10);
}

#[tokio::test]
async fn two_processes_never_work_on_one_backfill_and_a_pause_stops_it_at_its_page() {
    let world = ruled(&json!({}));
    let app = world.app();
    world.lists_give(10);
    for n in 0..50 {
        written(&world, &format!("old/{n:03}.csv"), "1", Duration::days(20));
    }
    let other = world.app();
    world.during_next_look(move || async move {
        assert_eq!(place(&other, &request("old/")).run(None, |_| {}).await.unwrap(), BackfillEnd::Elsewhere);
        assert!(place(&other, &request("old/")).pause().await.unwrap());
    });
    let backfill = place(&app, &request("old/"));
    assert_eq!(backfill.run(None, |_| {}).await.unwrap(), BackfillEnd::Paused);
    let paused = backfill.state().await.unwrap().unwrap();
    assert!(paused.paused && paused.done.listed == 0, "{paused:?}");
    assert_eq!(backfill.run(None, |_| {}).await.unwrap(), BackfillEnd::Ended);
    assert_eq!(backfill.state().await.unwrap().unwrap().done.listed, 50);
    assert!(!backfill.pause().await.unwrap(), "it is over");
    all_end(&world, &app, 4).await;
    assert_eq!(jobs(&world).len(), 50);
}

#[tokio::test]
async fn a_page_of_which_the_ledger_could_not_take_a_version_is_done_again() {
    let world = ruled(&json!({}));
    let app = world.app();
    for n in 0..10 {
        written(&world, &format!("old/{n}.csv"), "1", Duration::days(20));
    }
    let is_new = |ops: &[Op]| ops.iter().any(|op| matches!(op, Op::Insert(row) if row.key.row.starts_with("J~")));
    let failures = AtomicUsize::new(1);
    let left = move || failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
    world.store.rule(move |_, ops| (is_new(ops) && left()).then_some(Fault::NotSent));
    let backfill = place(&app, &request("old/"));
    assert!(matches!(backfill.run(None, |_| {}).await, Err(Error::Ledger(_))));
    let row = backfill.state().await.unwrap().unwrap();
    assert_eq!((row.ended, row.claimed_until, row.done.listed), (None, None, 0), "nobody has it, and it is not done");
    let done = run(&app, &request("old/")).await;
    assert_eq!((done.listed, done.taken_in, done.known), (10, 1, 9));
}

/// What is not ready yet is looked at again by the reconcile runs under the rule as it is, which knows of no other generation.
#[tokio::test]
async fn what_is_not_ready_waits_under_the_rules_own_generation_and_is_left_under_another() {
    let world = ruled(&json!({}));
    let app = world.app();
    written(&world, "old/copied.csv", "1", Duration::days(20));
    world.uploaded(|uploaded| uploaded.change(&name("old/copied.csv"), |shown| shown.copy = CopyState::Pending));
    for (generation, expected) in [(Some(7), (1, 0)), (None, (0, 1))] {
        let request = BackfillRequest { generation, ..request("old/") };
        let plan = place(&app, &request).plan(|_| {}).await.unwrap();
        assert_eq!((plan.counts.young, plan.counts.taken_in), expected, "{generation:?}");
        assert_eq!(run(&app, &request).await, plan.counts, "{generation:?}");
        assert_eq!(pending(&app).await.len(), usize::try_from(expected.1).unwrap(), "{generation:?}");
    }
    world.uploaded(|uploaded| uploaded.change(&name("old/copied.csv"), |shown| shown.copy = CopyState::Whole));
    all_end(&world, &app, 20).await;
    assert_eq!(jobs(&world), ["old/copied.csv"]);
}

#[tokio::test]
async fn a_shadow_is_not_backfilled_alone() {
    let endpoint = json!({"uri": "https://heart.example/jobs", "deployment": "v7", "shadow": "v8"});
    let world = ruled(&json!({"endpoint": endpoint}));
    let app = world.app();
    let of_shadow = BackfillRequest { rule: "claims-shadow".parse().unwrap(), ..request("") };
    assert!(matches!(app.backfiller().places(&of_shadow).map(|_| ()), Err(Error::Shadow(_))));
    written(&world, "old/a.csv", "1", Duration::days(20));
    let plan = place(&app, &request("old/")).plan(|_| {}).await.unwrap();
    assert_eq!((plan.jobs, plan.counts), (2, run(&app, &request("old/")).await), "it goes with its rule");
}

/// At least: what comes late, is large or leaves its group makes more.
#[tokio::test]
async fn a_plan_tells_the_fewest_jobs_that_a_rule_which_groups_makes_of_the_files() {
    let endpoint = json!({"uri": "https://heart.example/jobs", "deployment": "v7", "shadow": "v8"});
    for (group, shadow, jobs) in [
        // 25 files, 3 in another folder, and 1 in a folder of that.
        (json!({"by": "folder", "maxFiles": 10}), false, 3 + 1 + 1),
        (json!({"by": "marker", "maxFiles": 10}), false, 3 + 1 + 1),
        (json!({"by": "time", "maxFiles": 10}), false, 3),
        // Of 7 bytes each: three of them in a group, and one that is larger than that.
        (json!({"by": "time", "maxFiles": 10, "maxBytes": 21}), false, 28_u64.div_ceil(3) + 1),
        (json!({"by": "time", "maxFiles": 10}), true, 2 * 3),
    ] {
        let rule = if shadow { json!({"group": group, "endpoint": endpoint}) } else { json!({ "group": group }) };
        let world = ruled(&rule);
        let app = world.app();
        let paths = (0..25).map(|n| format!("old/{n}.csv")).chain((0..3).map(|n| format!("old/b/{n}.csv")));
        for path in paths.chain(["old/b/c/large.csv".to_owned()]) {
            written(&world, &path, "1", Duration::days(20));
        }
        world.uploaded(|uploaded| uploaded.change(&name("old/b/c/large.csv"), |shown| shown.size = 22));
        let plan = place(&app, &request("old/")).plan(|_| {}).await.unwrap();
        let rules = 1 + u64::from(shadow);
        assert_eq!(
            (plan.counts.taken_in, plan.jobs, plan.grouped_jobs),
            (29 * rules, 29 * rules, Some(jobs)),
            "{rule}"
        );
        assert_eq!(plan.grouped_folders, (group["by"] != "time").then_some(3), "{rule}");
    }
    let plan = place(&ruled(&json!({})).app(), &request("old/")).plan(|_| {}).await.unwrap();
    assert_eq!(plan.grouped_jobs, None);
}

#[tokio::test]
async fn a_share_of_few_slots_is_one_of_them() {
    for (max, share, slots) in [(1, 20, 1), (9, 20, 2), (10, 1, 1), (10, 100, 10)] {
        let world = ruled(&json!({"maxInFlight": max}));
        let plan = place(&world.app(), &BackfillRequest { share, ..request("") }).plan(|_| {}).await.unwrap();
        assert_eq!(plan.slots, Some(slots), "{share} % of {max}");
    }
}

#[tokio::test]
async fn a_backfill_with_relative_times_is_paused_and_resumed_by_the_same_words() {
    let world = ruled(&json!({}));
    let app = world.app();
    world.lists_give(10);
    for n in 0..30 {
        written(&world, &format!("old/{n:02}.csv"), "1", Duration::days(6));
    }
    let of_week = BackfillRequest { since: Some(TimeLimit::Ago(Duration::days(7))), ..request("old/") };
    let (other, same) = (world.app(), of_week.clone());
    world.during_next_look(move || async move {
        assert!(place(&other, &same).pause().await.unwrap());
    });
    assert_eq!(place(&app, &of_week).run(None, |_| {}).await.unwrap(), BackfillEnd::Paused);
    // All of them are older than a week by now, and were not when it began.
    world.later(Duration::days(2));
    assert_eq!(place(&app, &of_week).plan(|_| {}).await.unwrap().counts.taken_in, 20, "the first page is taken in");
    let done = run(&app, &of_week).await;
    assert_eq!((done.listed, done.outside, done.taken_in), (30, 0, 20), "{done:?}");
    // It came to its end: the next one by these words is of the week before then.
    assert_eq!(run(&app, &of_week).await.outside, 30);
}

#[tokio::test]
async fn what_may_have_been_scored_and_forgotten_is_left_unless_a_person_wants_it() {
    let world = ruled(&json!({}));
    let app = world.app();
    written(&world, "old/a.csv", "1", Duration::days(20));
    app.ledger().record_purged_through(world.now() - Duration::days(10)).await.unwrap();
    let left = run(&app, &request("old/")).await;
    assert_eq!((left.forgotten, left.taken_in), (1, 0));
    let all = BackfillRequest { forgotten: true, ..request("old/") };
    assert_eq!(run(&app, &all).await.taken_in, 1);
}

#[tokio::test]
async fn what_cannot_be_backfilled_is_refused_with_what_would_help() {
    let world = ruled(&json!({"match": {"container": "claims", "prefix": "in/"}, "generation": 3}));
    let app = world.app();
    let refused = |request: BackfillRequest| app.backfiller().places(&request).map(|_| ()).unwrap_err();
    assert!(matches!(refused(BackfillRequest { rule: "other".parse().unwrap(), ..request("") }), Error::NoRule(_)));
    assert!(matches!(refused(request("out/")), Error::NotWanted { .. }));
    assert!(matches!(
        refused(BackfillRequest { generation: Some(2), ..request("") }),
        Error::Generation { own: 3, .. }
    ));
    let (since, until) = (Some(TimeLimit::Ago(Duration::DAY)), Some(TimeLimit::Ago(Duration::days(2))));
    let never = refused(BackfillRequest { since, until, ..request("") });
    assert!(matches!(never, Error::Times { .. }), "{never:?}");
    let told = "since 2026-07-20 10:00:00 UTC and before 2026-07-19 10:00:00 UTC: --since is the earlier one";
    assert!(never.to_string().ends_with(told), "{never}");
    assert_eq!(place(&app, &request("")).place(), "https://uploads.blob.core.windows.net/claims/in/");
    assert_eq!(place(&app, &request("in/eu/")).place(), "https://uploads.blob.core.windows.net/claims/in/eu/");
}

/// From an upload's event to its submission, in ticks of a minute: the worst and the mean, with a backfill of this share beside, or none.
async fn latency(share: Option<u8>) -> (usize, f64, usize) {
    let world = ruled(&json!({"maxInFlight": 20}));
    let app = world.app();
    if let Some(share) = share {
        for n in 0..400 {
            written(&world, &format!("old/{n}.csv"), "1", Duration::days(20));
        }
        run(&app, &BackfillRequest { share, ..request("old/") }).await;
        tick(&world, &app, Duration::MINUTE).await;
    }
    let mut waits = Vec::new();
    let mut began: Vec<(String, usize)> = Vec::new();
    for minute in 0..60 {
        // Two a minute, and each job takes three: eight of twenty slots at most.
        for n in 0..2 {
            let path = format!("fresh/{minute}-{n}.csv");
            world.deliver(&app, &event(&path, "1")).await;
            began.push((path, minute));
        }
        let made: BTreeSet<String> = jobs(&world).into_iter().collect();
        began.retain(|(path, at)| {
            let is_sent = made.contains(path);
            if is_sent {
                waits.push(minute - at);
            }
            !is_sent
        });
        let old: Vec<String> = {
            let now = world.now();
            let running = world
                .jobs()
                .into_iter()
                .filter(|job| job.status == JobStatus::Running || job.status == JobStatus::Preparing);
            running.filter(|job| now - job.created >= Duration::minutes(3)).map(|job| job.path).collect()
        };
        world.end_jobs_of(&old, &JobStatus::Completed);
        tick(&world, &app, Duration::MINUTE).await;
    }
    let backfilled = jobs(&world).iter().filter(|path| path.starts_with("old/")).count();
    #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
    let mean = waits.iter().sum::<usize>() as f64 / waits.len() as f64;
    (waits.iter().copied().max().unwrap(), mean, backfilled)
}

#[tokio::test]
async fn a_backfill_under_load_leaves_fresh_uploads_their_latency() {
    let alone = latency(None).await;
    let beside = latency(Some(20)).await;
    let greedy = latency(Some(100)).await;
    println!(
        "worst and mean wait in minutes, and backfilled jobs in an hour: alone {alone:?}, share 20 % {beside:?}, 100 % {greedy:?}"
    );
    assert_eq!((beside.0, alone.0), (0, 0), "each is sent with its event");
    assert!(beside.2 >= 20, "and the backfill goes on: {beside:?}");
    assert!(greedy.1 > beside.1, "without a share they would wait: {greedy:?}");
}

#[tokio::test]
async fn sweeps_and_backfills_of_one_version_make_one_scoring() {
    let world = ruled(&json!({}));
    let app = world.app();
    sweep(&world, &app).await;
    world.later(Duration::hours(2));
    written(&world, "a.csv", "1", Duration::hours(1));
    let (racing, other) = (world.clone(), world.app());
    world.during_next_look(|| async move {
        assert_eq!(run(&other, &request("")).await.taken_in, 1);
        drop(racing);
    });
    sweep(&world, &app).await;
    world.deliver(&app, &event("a.csv", "1")).await;
    all_end(&world, &app, 3).await;
    assert_eq!(jobs(&world), ["a.csv"]);
}
