//! Sweeps: what is in a watched place and not in the ledger is found, taken in once, and told as such; all else is left alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use app::ports::table_store::Op;
use app::reports::FindingKind;
use app::{App, Pause, SweepReport, order_sweep};
use lifecycle::sweep::CLAIM;
use lifecycle::{Scoring, ScoringId, Status};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::renames::{created, jobs, name, pending, put, renamed, ruled, skips, tick};
use super::since;
use crate::support::world::{Fault, World, event};

/// Written so long ago, but for what is written later.
pub(super) fn written(world: &World, path: &str, etag: &str, ago: Duration) {
    put(world, path, etag, 7);
    let at = world.now() - ago;
    world.uploaded(|uploaded| uploaded.change(&name(path), |shown| shown.modified = Some(at)));
}

fn no_pause() -> Pause {
    Arc::new(|_| Box::pin(async {}))
}

pub(super) async fn sweep(world: &World, app: &App) -> SweepReport {
    let report = app.sweep(world.now() + Duration::minutes(5), &no_pause()).await.unwrap();
    assert_eq!(report.errors, 0, "{report:?}");
    report
}

/// Sweeps for the first time: what is written after this is the place's.
async fn begun(world: &World, app: &App) {
    sweep(world, app).await;
    world.later(Duration::hours(2));
}

/// Of the rule `claims`.
fn id_of(world: &World, path: &str, etag: &str) -> ScoringId {
    world.rules.get("claims").unwrap().scoring_id(&world.ledger_id, &name(path).version(etag).unwrap())
}

async fn scoring(app: &App, id: &ScoringId) -> Scoring {
    app.ledger().get(id).await.unwrap().expect("it is in the ledger").0
}

#[tokio::test]
async fn a_version_without_an_event_is_found_scored_once_and_told_as_found() {
    let world = World::new();
    let app = world.app();
    begun(&world, &app).await;
    world.deliver(&app, &event("told.csv", "1")).await;
    for path in ["told.csv", "lost.csv"] {
        written(&world, path, "1", Duration::hours(1));
    }
    let report = sweep(&world, &app).await;
    assert_eq!((report.listed, report.found, report.skipped, report.ended), (2, 1, 0, 1));
    let id = id_of(&world, "lost.csv", "1");
    assert_eq!(scoring(&app, &id).await.status, Status::Queued, "the tick gives it its turn");
    let history = app.ledger().entries(&id).await.unwrap();
    assert_eq!(history[0].reason, "rule `claims` wants this blob version: found by sweep: no event told of it");
    tick(&world, &app, Duration::MINUTE).await;
    assert_eq!(jobs(&world), ["lost.csv", "told.csv"]);
    // Its event comes after all, and the next sweeps see it again.
    world.deliver(&app, &event("lost.csv", "1")).await;
    for _ in 0..3 {
        world.later(Duration::DAY);
        assert_eq!(sweep(&world, &app).await.found, 0);
    }
    assert_eq!(jobs(&world).len(), 2);
}

#[tokio::test]
async fn a_version_that_the_ledger_knows_costs_one_read() {
    let world = World::new();
    let app = world.app();
    begun(&world, &app).await;
    for n in 0..50 {
        let path = format!("{n}.csv");
        world.deliver(&app, &event(&path, "1")).await;
        written(&world, &path, "1", Duration::minutes(80));
    }
    let before = world.store.calls();
    assert_eq!(sweep(&world, &app).await.listed, 50);
    // The row of the place: read in one page, claimed, and its page done.
    assert_eq!(since(before, world.store.calls()), (50, 1, 2));
    // The next one asks about what was written since, and once a day about all.
    world.later(Duration::hours(3));
    let before = world.store.calls();
    assert_eq!(sweep(&world, &app).await.listed, 50);
    assert_eq!(since(before, world.store.calls()), (0, 1, 2));
    // The day before has its manifest by then.
    world.later(Duration::hours(17));
    sweep(&world, &app).await;
    world.later(Duration::hours(4));
    let before = world.store.calls();
    sweep(&world, &app).await;
    assert_eq!(since(before, world.store.calls()), (50, 1, 2));
}

#[tokio::test]
async fn what_is_young_or_was_there_before_is_left_alone() {
    let world = World::new();
    let app = world.app();
    written(&world, "before.csv", "1", Duration::days(2));
    begun(&world, &app).await;
    written(&world, "young.csv", "1", Duration::minutes(9));
    assert_eq!(sweep(&world, &app).await.found, 0);
    let (place, _) = app.ledger().swept_places().await.unwrap().read.remove(0);
    let seen = place.last.unwrap().0.seen;
    assert_eq!((seen.young, seen.older, seen.listed), (1, 1, 2));
    world.later(Duration::hours(1));
    assert_eq!(sweep(&world, &app).await.found, 1);
    tick(&world, &app, Duration::MINUTE).await;
    assert_eq!(jobs(&world), ["young.csv"]);
    // The ledger forgets it: nothing is scored again.
    for _ in 0..3 {
        world.end_jobs(&lifecycle::JobStatus::Completed);
        tick(&world, &app, Duration::minutes(3)).await;
    }
    assert_eq!(world.statuses(&app).await, [(Status::Scored, 1)].into());
    world.later(Duration::days(31));
    for _ in 0..250 {
        tick(&world, &app, Duration::HOUR).await;
    }
    assert_eq!(sweep(&world, &app).await.found, 0);
    assert_eq!(world.statuses(&app).await, [].into(), "it is forgotten");
    assert_eq!(jobs(&world).len(), 1);
}

#[tokio::test]
async fn names_folders_and_outputs_that_are_nobodys_upload_leave_no_trace() {
    let outputs = json!({"score": {"type": "UriFile", "uri": "azureml://datastores/claims/paths/p/{scoring.id}/{attempt}/p.csv"}});
    let world = ruled(&json!({"match": {"container": "claims", "suffix": ".csv"}, "outputs": outputs}));
    let app = world.app();
    begun(&world, &app).await;
    world.deliver(&app, &event("a.csv", "1")).await;
    written(&world, "a.csv", "1", Duration::hours(1));
    let output = world.jobs()[0].submission.outputs["score"].uri.split_once("/paths/").unwrap().1.to_owned();
    for path in [&*output, "x.txt", "folder.csv", "_tmp/y.csv.tmp"] {
        written(&world, path, "9", Duration::hours(1));
    }
    world.uploaded(|uploaded| uploaded.change(&name("folder.csv"), |shown| shown.is_folder = true));
    let report = sweep(&world, &app).await;
    assert_eq!((report.listed, report.found, report.skipped), (5, 0, 0));
    assert_eq!((skips(&world, &app).await.len(), jobs(&world).len()), (0, 1));
    let (place, _) = app.ledger().swept_places().await.unwrap().read.remove(0);
    assert_eq!(place.last.unwrap().0.seen.own, 1);
}

#[tokio::test]
async fn what_its_rule_refuses_is_recorded_once_and_taken_in_when_the_rule_wants_it() {
    let small = json!({"match": {"container": "claims", "maxBytes": 5}});
    let world = ruled(&small);
    let app = world.app();
    begun(&world, &app).await;
    world.deliver(&app, &created("PutBlob", "told.csv", "1", 7)).await;
    for path in ["told.csv", "lost.csv"] {
        written(&world, path, "1", Duration::hours(1));
    }
    assert_eq!(sweep(&world, &app).await.skipped, 1, "the other one is on record");
    world.later(Duration::days(2));
    assert_eq!(sweep(&world, &app).await.skipped, 0);
    written(&world, "told.csv", "2", Duration::hours(1));
    assert_eq!(sweep(&world, &app).await.skipped, 0, "the hourly one has just been");
    world.later(Duration::hours(1));
    assert_eq!(sweep(&world, &app).await.skipped, 1, "another version of it is on no record");
    let mut wider = world.clone();
    wider.rules = ruled(&json!({"match": {"container": "claims"}})).rules;
    let app = wider.app();
    wider.later(Duration::days(1));
    assert_eq!(sweep(&wider, &app).await.found, 2);
    tick(&wider, &app, Duration::MINUTE).await;
    assert_eq!(jobs(&wider), ["lost.csv", "told.csv"]);
}

#[tokio::test]
async fn a_sweep_that_races_the_event_of_what_it_finds_makes_one_scoring_and_one_job() {
    let world = World::new();
    let app = world.app();
    begun(&world, &app).await;
    written(&world, "a.csv", "1", Duration::hours(1));
    let (racing, other) = (world.clone(), world.app());
    world.during_next_look(|| async move {
        racing.deliver(&other, &event("a.csv", "1")).await;
    });
    assert_eq!(
        sweep(&world, &app).await.found,
        0,
        "it was listed before its event came, and known when it was asked about"
    );
    // And the other way round: it is found, and its event comes before the tick.
    written(&world, "b.csv", "1", Duration::minutes(30));
    world.later(Duration::hours(1));
    assert_eq!(sweep(&world, &app).await.found, 1);
    world.deliver(&app, &event("b.csv", "1")).await;
    tick(&world, &app, Duration::MINUTE).await;
    assert_eq!(jobs(&world), ["a.csv", "b.csv"]);
    assert_eq!(world.statuses(&app).await, [(Status::Running, 2)].into());
}

#[tokio::test]
async fn two_processes_never_list_a_page_twice_and_one_that_dies_leaves_its_place() {
    let world = World::new();
    let (first, second) = (world.app(), world.app());
    begun(&world, &first).await;
    world.lists_give(2);
    for n in 0..9 {
        written(&world, &format!("{n}.csv"), "1", Duration::hours(1));
    }
    // The first one waits for its rate after its first page, and never comes back.
    let waits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&waits);
    let forever: Pause = Arc::new(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::pending())
    });
    let deadline = world.now() + Duration::minutes(5);
    {
        let mut dies = Box::pin(first.sweep(deadline, &forever));
        while waits.load(Ordering::SeqCst) == 0 {
            assert!(futures::poll!(&mut dies).is_pending());
        }
        let meanwhile = sweep(&world, &second).await;
        assert_eq!((meanwhile.places, meanwhile.pages), (1, 0), "another one works on it");
    }
    let before = world.lists();
    world.later(CLAIM);
    let report = sweep(&world, &second).await;
    assert_eq!((report.pages, world.lists() - before, report.ended), (5, 5, 1));
    tick(&world, &second, Duration::MINUTE).await;
    assert_eq!(jobs(&world).len(), 9, "none twice, none left out");
}

#[tokio::test]
async fn a_sweep_goes_on_where_the_last_run_left_it_and_begins_nothing_after_its_deadline() {
    let world = World::new();
    let app = world.app();
    begun(&world, &app).await;
    world.lists_give(2);
    for n in 0..9 {
        written(&world, &format!("{n}.csv"), "1", Duration::hours(1));
    }
    let mut pages = Vec::new();
    for run in 0..6 {
        let deadline = world.now() + Duration::SECOND;
        let passing = world.clone();
        let pause: Pause = Arc::new(move |_| {
            passing.later(Duration::SECOND);
            Box::pin(async {})
        });
        let report = world.app().sweep(deadline, &pause).await.unwrap();
        assert_eq!(report.errors, 0);
        pages.push((report.pages, report.found, report.ended));
        assert!(run < 5 || report.pages == 0);
    }
    assert_eq!(pages, [(1, 2, 0), (1, 2, 0), (1, 2, 0), (1, 2, 0), (1, 1, 1), (0, 0, 0)]);
    tick(&world, &app, Duration::MINUTE).await;
    assert_eq!(jobs(&world).len(), 9);
}

/// The first chunk of its page takes all of its time.
#[tokio::test]
async fn a_page_that_takes_too_long_is_left_midway_and_known_versions_cost_one_read() {
    let world = World::new();
    let app = world.app();
    begun(&world, &app).await;
    for n in 0..250 {
        written(&world, &format!("{n:03}.csv"), "1", Duration::hours(1));
    }
    let passing = world.clone();
    let slow: Pause = Arc::new(move |_| {
        passing.later(Duration::minutes(6));
        Box::pin(async {})
    });
    let report = app.sweep(world.now() + Duration::minutes(5), &slow).await.unwrap();
    assert_eq!((report.pages, report.found, report.errors), (0, 0, 0), "the page is not done");
    let (place, _) = app.ledger().swept_places().await.unwrap().read.remove(0);
    assert_eq!((place.claimed_until, place.failures), (None, 0), "whoever comes next goes on");
    let report = sweep(&world, &app).await;
    assert_eq!((report.pages, report.listed, report.found), (1, 250, 150), "a hundred were taken in before");
}

#[tokio::test]
async fn a_claim_is_renewed_within_a_page_so_that_nobody_else_begins_it() {
    let world = World::new();
    let (app, other) = (world.app(), world.app());
    begun(&world, &app).await;
    for n in 0..250 {
        written(&world, &format!("{n:03}.csv"), "1", Duration::hours(1));
    }
    // Each chunk takes three minutes, a claim holds for five.
    let (passing, meanwhile) = (world.clone(), Arc::new(AtomicU64::new(0)));
    let told = Arc::clone(&meanwhile);
    let pause: Pause = Arc::new(move |_| {
        let (world, other, told) = (passing.clone(), other.clone(), Arc::clone(&told));
        world.later(Duration::minutes(3));
        Box::pin(async move {
            told.fetch_add(1 + 1_000 * sweep(&world, &other).await.pages, Ordering::SeqCst);
        })
    });
    let report = app.sweep(world.now() + Duration::hours(1), &pause).await.unwrap();
    assert_eq!((report.pages, report.found, report.ended), (1, 250, 1));
    assert_eq!(meanwhile.load(Ordering::SeqCst), 3, "the other one came three times and did no page");
}

#[tokio::test]
async fn of_two_that_have_read_a_place_one_gets_it() {
    let world = World::new();
    let app = world.app();
    begun(&world, &app).await;
    let (place, etag) = app.ledger().swept_places().await.unwrap().read.remove(0);
    assert!(app.ledger().keep_swept_place(&place, Some(&etag)).await.unwrap().is_some());
    assert_eq!(app.ledger().keep_swept_place(&place, Some(&etag)).await.unwrap(), None, "it was changed since");
    assert_eq!(app.ledger().keep_swept_place(&place, None).await.unwrap(), None, "there is one");
}

/// A version of which nothing is known costs 22 requests, so that 20 pages of 250 are more than a run makes.
#[tokio::test]
async fn a_run_makes_a_hundred_thousand_requests_and_leaves_the_rest_to_the_next() {
    let rules = r#"{"rules":[
        {"id":"claims","match":{"container":"claims","maxBytes":5},"endpoint":{"uri":"https://heart.example/jobs"}},
        {"id":"other","match":{"container":"other"},"endpoint":{"uri":"https://heart.example/jobs"}}]}"#;
    let world = World::with_rules(rules);
    let app = world.app();
    begun(&world, &app).await;
    world.lists_give(250);
    for n in 0..5_000 {
        written(&world, &format!("{n:04}.csv"), "1", Duration::hours(1));
    }
    let places = async || {
        let kept = app.ledger().swept_places().await.unwrap().read;
        let of = |rule: &str| kept.iter().find(|(place, _)| *place.rule == *rule).unwrap().0.clone();
        (of("claims"), of("other"))
    };
    // The one that was not worked on for the longest is the first.
    let (claims, other) = places().await;
    let etag = app.ledger().swept_places().await.unwrap().read;
    let etag = etag.iter().find(|(place, _)| place.key == other.key).unwrap().1.clone();
    let later = lifecycle::sweep::SweptPlace { updated: claims.updated + Duration::SECOND, ..other };
    app.ledger().keep_swept_place(&later, Some(&etag)).await.unwrap();
    let report = sweep(&world, &app).await;
    assert_eq!((report.pages, report.skipped, report.ended), (19, 4_750, 0), "{report:?}");
    assert!((100_000..106_000).contains(&report.requests), "{}", report.requests);
    let (claims, other) = places().await;
    assert_eq!((claims.claimed_until, other), (None, later), "nobody has it, and the other place was not begun");
    let report = sweep(&world, &app).await;
    assert_eq!((report.pages, report.skipped, report.ended), (2, 250, 2), "{report:?}");
}

#[tokio::test]
async fn a_page_of_which_a_version_is_not_in_the_ledger_is_not_done() {
    let world = World::new();
    let app = world.app();
    begun(&world, &app).await;
    written(&world, "a.csv", "1", Duration::hours(1));
    let is_new = |ops: &[Op]| ops.iter().any(|op| matches!(op, Op::Insert(row) if row.key.row.starts_with("J~")));
    let failures = AtomicUsize::new(1);
    let left = move || failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
    world.store.rule(move |_, ops| (is_new(ops) && left()).then_some(Fault::NotSent));
    let report = app.sweep(world.now() + Duration::minutes(5), &no_pause()).await.unwrap();
    assert_eq!((report.errors, report.pages, report.ended), (1, 0, 0), "it is listed again");
    world.later(Duration::hours(1));
    assert_eq!(sweep(&world, &app).await.found, 1);
}

#[tokio::test]
async fn a_place_that_may_not_be_listed_is_told_of_and_tried_again() {
    let world = World::new();
    let app = world.app();
    begun(&world, &app).await;
    world.blind_storage(Some("storage answered 403"));
    let report = app.sweep(world.now() + Duration::minutes(5), &no_pause()).await.unwrap();
    assert_eq!((report.errors, report.pages), (1, 0));
    let (place, _) = app.ledger().swept_places().await.unwrap().read.remove(0);
    assert!(place.failure.as_deref().is_some_and(|why| why.contains("storage answered 403")), "{place:?}");
    world.blind_storage(None);
    world.later(Duration::MINUTE);
    assert_eq!(sweep(&world, &app).await.ended, 1);
    assert_eq!(app.ledger().swept_places().await.unwrap()[0].0.failure, None);
}

#[tokio::test]
async fn what_was_marked_or_renamed_after_it_was_scored_is_not_scored_again() {
    let world = ruled(&json!({"renames": "ignoreScored"}));
    let app = world.app();
    begun(&world, &app).await;
    let ends = async || {
        for _ in 0..3 {
            world.end_jobs(&lifecycle::JobStatus::Completed);
            tick(&world, &app, Duration::minutes(3)).await;
        }
    };
    // Marked: another ETag, the same content, and no event.
    world.change_inputs(|inputs, now| inputs.put(&name("a.csv").url, "1", 1, true, now));
    world.deliver(&app, &event("a.csv", "1")).await;
    ends().await;
    let etag = world.change_inputs(|inputs, now| inputs.mark(&name("a.csv").url, now)).unwrap();
    written(&world, "a.csv", &etag, Duration::hours(1));
    // Renamed: its event came, and was answered by what was scored.
    put(&world, "b.csv", "2", 7);
    world.deliver(&app, &event("b.csv", "2")).await;
    ends().await;
    world.uploaded(|uploaded| uploaded.rename(&name("b.csv"), &name("c.csv")));
    world.deliver(&app, &renamed("BlobRenamed", "b.csv", "c.csv")).await;
    assert_eq!(jobs(&world), ["a.csv", "b.csv"]);
    world.uploaded(|uploaded| {
        uploaded.change(&name("c.csv"), |shown| shown.modified = Some(OffsetDateTime::UNIX_EPOCH));
    });
    world.later(Duration::hours(1));
    written(&world, "c.csv", "2", Duration::minutes(30));
    for _ in 0..3 {
        sweep(&world, &app).await;
        ends().await;
        world.later(Duration::DAY);
    }
    assert_eq!(jobs(&world), ["a.csv", "b.csv"]);
    assert_eq!(pending(&app).await, []);
}

/// Marked while its first job ran: the second attempt has seen the mark, which is another ETag of the same content. As another
/// generation it knows it still.
#[tokio::test]
async fn a_mark_that_a_scoring_has_seen_is_known_by_that_scoring_and_its_next_generation() {
    let world = World::new();
    let app = world.app();
    begun(&world, &app).await;
    let ends = async || {
        for _ in 0..4 {
            tick(&world, &app, Duration::minutes(3)).await;
            world.end_jobs(&lifecycle::JobStatus::Completed);
        }
    };
    world.change_inputs(|inputs, now| inputs.put(&name("a.csv").url, "1", 1, true, now));
    world.deliver(&app, &event("a.csv", "1")).await;
    let etag = world.change_inputs(|inputs, now| inputs.mark(&name("a.csv").url, now)).unwrap();
    world.end_jobs(&lifecycle::JobStatus::Failed);
    ends().await;
    let first = scoring(&app, &id_of(&world, "a.csv", "1")).await;
    assert_eq!((first.status, &first.aliases), (Status::Scored, &vec![etag.clone()]));
    app::rescore(app.ledger(), &first, "ann", "a test", world.now()).await.unwrap();
    ends().await;
    written(&world, "a.csv", &etag, Duration::minutes(30));
    assert_eq!(sweep(&world, &app).await.found, 0);
    // The rule is raised to the generation as which it was scored again.
    let mut raised = world.clone();
    raised.rules = ruled(&json!({"generation": 1})).rules;
    raised.later(Duration::days(1));
    assert_eq!(sweep(&raised, &raised.app()).await.found, 0);
    assert_eq!(app.ledger().get(&id_of(&raised, "a.csv", &etag)).await.unwrap(), None);
}

/// Longer ago than the ledger surely remembers; what is younger has its scoring there, if it is an output.
#[tokio::test]
async fn what_has_the_form_of_an_output_and_is_old_is_taken_for_one_that_was_forgotten() {
    let outputs = json!({"score": {"type": "UriFile", "uri": "azureml://datastores/claims/paths/p/{scoring.id}/{attempt}/p.csv"}});
    let world = ruled(&json!({"outputs": outputs}));
    let app = world.app();
    begun(&world, &app).await;
    world.later(Duration::days(10));
    let path = |id: char| format!("p/{}/1/p.csv", id.to_string().repeat(32));
    written(&world, &path('a'), "1", Duration::days(9));
    written(&world, &path('b'), "1", Duration::hours(1));
    assert_eq!(sweep(&world, &app).await.found, 1);
    let (place, _) = app.ledger().swept_places().await.unwrap().read.remove(0);
    assert_eq!(place.last.unwrap().0.seen.own, 1);
    tick(&world, &app, Duration::MINUTE).await;
    assert_eq!(jobs(&world), [path('b')]);
}

#[tokio::test]
async fn what_is_found_is_scored_by_the_shadow_of_its_rule_too() {
    let endpoint = json!({"uri": "https://heart.example/jobs", "deployment": "v7", "shadow": "v8"});
    let world = ruled(&json!({"endpoint": endpoint}));
    let app = world.app();
    begun(&world, &app).await;
    written(&world, "lost.csv", "1", Duration::hours(1));
    assert_eq!(sweep(&world, &app).await.found, 2);
    tick(&world, &app, Duration::MINUTE).await;
    let mut rules: Vec<String> = world.jobs().into_iter().map(|job| job.rule).collect();
    rules.sort();
    assert_eq!(rules, ["claims", "claims-shadow"]);
}

/// As in a process with older rules: it would have to begin anew.
#[tokio::test]
async fn how_far_a_place_is_stays_for_a_rule_that_this_process_does_not_know() {
    let world = World::new();
    begun(&world, &world.app()).await;
    let mut older = world.clone();
    older.rules = ruled(&json!({"id": "older", "match": {"container": "other"}})).rules;
    sweep(&older, &older.app()).await;
    let kept = world.app().ledger().swept_places().await.unwrap().read;
    let mut rules: Vec<&str> = kept.iter().map(|(place, _)| place.rule.as_str()).collect();
    rules.sort_unstable();
    assert_eq!(rules, ["claims", "older"]);
}

#[tokio::test]
async fn fresh_uploads_go_before_what_a_sweep_found() {
    let world = ruled(&json!({"maxInFlight": 1}));
    let app = world.app();
    begun(&world, &app).await;
    world.deliver(&app, &event("first.csv", "1")).await;
    written(&world, "lost.csv", "1", Duration::hours(1));
    assert_eq!(sweep(&world, &app).await.found, 1);
    world.later(Duration::MINUTE);
    world.deliver(&app, &event("fresh.csv", "1")).await;
    let mut order = Vec::new();
    for _ in 0..3 {
        order.push(world.jobs().last().unwrap().path.clone());
        world.end_jobs(&lifecycle::JobStatus::Completed);
        tick(&world, &app, Duration::minutes(3)).await;
        tick(&world, &app, Duration::minutes(3)).await;
    }
    assert_eq!(order, ["first.csv", "fresh.csv", "lost.csv"]);
}

/// Its event is of an earlier version than what was found, though it is accepted later.
#[tokio::test]
async fn what_a_sweep_found_does_not_give_way_to_an_event_that_comes_late() {
    let world = ruled(&json!({"overwrites": "latestOnly", "maxInFlight": 1}));
    let app = world.app();
    begun(&world, &app).await;
    world.deliver(&app, &event("first.csv", "1")).await;
    written(&world, "a.csv", "2", Duration::hours(1));
    world.change_inputs(|inputs, now| inputs.put(&name("a.csv").url, "2", 2, true, now));
    assert_eq!(sweep(&world, &app).await.found, 1);
    let found = id_of(&world, "a.csv", "2");
    world.later(Duration::MINUTE);
    world.deliver(&app, &event("a.csv", "1")).await;
    tick(&world, &app, Duration::MINUTE).await;
    world.end_jobs(&lifecycle::JobStatus::Completed);
    for _ in 0..4 {
        tick(&world, &app, Duration::minutes(3)).await;
        world.end_jobs(&lifecycle::JobStatus::Completed);
    }
    let history = app.ledger().entries(&found).await.unwrap();
    assert!(history.iter().all(|entry| entry.to != Status::Superseded), "{history:?}");
    assert_eq!(scoring(&app, &found).await.status, Status::Scored);
    let earlier = scoring(&app, &id_of(&world, "a.csv", "1")).await;
    assert_eq!((earlier.status, earlier.replaced_by), (Status::Superseded, Some(found)));
}

/// The world's clock stands still, so that all of the time is waited for.
#[tokio::test]
async fn a_sweep_makes_two_hundred_requests_a_second_at_most() {
    let world = World::new();
    let app = world.app();
    begun(&world, &app).await;
    for number in 0..250 {
        written(&world, &format!("{number:03}.csv"), "1", Duration::hours(1));
    }
    let waited = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&waited);
    let pause: Pause = Arc::new(move |so_long| {
        told.fetch_add(u64::try_from(so_long.as_millis()).unwrap(), Ordering::Relaxed);
        Box::pin(async {})
    });
    let report = app.sweep(world.now() + Duration::minutes(5), &pause).await.unwrap();
    assert_eq!((report.listed, report.found, report.ended), (250, 250, 1));
    // All but those about the place itself: its row, its pages and its claims.
    let (waited, about_versions) = (waited.load(Ordering::Relaxed), u64::from(report.requests) - 4);
    assert!(about_versions > 250 * 10 && waited >= about_versions * 1_000 / 200, "{about_versions} in {waited} ms");
}

#[tokio::test]
async fn a_rule_that_is_not_to_be_swept_is_not_and_its_row_goes() {
    let world = World::new();
    begun(&world, &world.app()).await;
    let mut off = world.clone();
    off.rules = ruled(&json!({"sweep": "off"})).rules;
    let app = off.app();
    written(&off, "lost.csv", "1", Duration::hours(1));
    assert_eq!(sweep(&off, &app).await, SweepReport { requests: 1, ..SweepReport::default() });
    assert!(app.ledger().swept_places().await.unwrap().is_empty());
}

#[tokio::test]
async fn status_tells_when_a_sweep_ended_what_it_found_and_what_keeps_the_next_one() {
    let world = World::new();
    let app = world.app();
    let status = async || app::reports::status(app.ledger(), world.now(), None).await.unwrap();
    let kinds = async || status().await.findings.iter().map(|finding| finding.kind).collect::<Vec<_>>();
    begun(&world, &app).await;
    written(&world, "lost.csv", "1", Duration::hours(1));
    tick(&world, &app, Duration::MINUTE).await;
    assert_eq!(kinds().await, [FindingKind::SweepOverdue], "due for an hour");
    sweep(&world, &app).await;
    let report = status().await;
    let [view] = &report.sweeps[..] else { panic!("{:?}", report.sweeps) };
    assert_eq!((&*view.rule, view.ended, view.listed, view.found), ("claims", Some(world.now()), 1, 1));
    assert_eq!(view.place, "https://uploads.blob.core.windows.net/claims/");
    tick(&world, &app, Duration::MINUTE).await;
    assert_eq!(kinds().await, []);
    world.later(Duration::HOUR);
    world.blind_storage(Some("storage answered 403 (AuthorizationPermissionMismatch)"));
    app.sweep(world.now() + Duration::minutes(5), &no_pause()).await.unwrap();
    let report = status().await;
    let denied = report.findings.iter().find(|finding| finding.kind == FindingKind::CannotSweep).unwrap();
    assert!(
        denied.reason.contains("cannot be swept under rule claims") && denied.next == "scorekeeper doctor",
        "{denied}"
    );
}

#[tokio::test]
async fn an_ordered_sweep_asks_about_all_versions_also_while_another_is_under_way() {
    let world = World::new();
    let app = world.app();
    assert!(order_sweep(app.ledger(), None, world.now()).await.unwrap().is_empty(), "nothing is swept yet");
    begun(&world, &app).await;
    sweep(&world, &app).await;
    // Renamed long after it was written, and no event told of it.
    written(&world, "renamed.csv", "1", Duration::minutes(100));
    world.later(Duration::minutes(150));
    assert_eq!(sweep(&world, &app).await.found, 0, "the hourly ones ask about what was written since");
    let other = "other".parse().unwrap();
    assert!(order_sweep(app.ledger(), Some(&other), world.now()).await.unwrap().is_empty());
    let claims = "claims".parse().unwrap();
    assert_eq!(order_sweep(app.ledger(), Some(&claims), world.now()).await.unwrap().len(), 1);
    assert_eq!(sweep(&world, &app).await.found, 1);
}
