//! More work than one tick has time for: nobody waits for ever, nothing grows for ever.

use std::collections::BTreeSet;
use std::sync::Arc;

use app::ports::table_store::Error;
use lifecycle::{BlobVersion, JobStatus, ScoringId, Status};
use stores::memory::MemoryStore;
use time::Duration;

use crate::support::world::{Fault, RULE, World, event};

/// Jobs that go on for ever, and time for a few looks in each tick.
async fn busy(world: &World, app: &app::App) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..30 {
        ids.extend(world.deliver(app, &event(&format!("{n}.csv"), "1")).await);
    }
    world.polls_take(Duration::seconds(20));
    ids
}

#[tokio::test]
async fn what_is_queued_is_submitted_even_if_the_jobs_take_all_the_time_of_a_tick() {
    let world = World::new();
    let app = world.app();
    world.next_faults([Fault::Refused { permanent: false }]);
    let queued = world.deliver(&app, &event("queued.csv", "1")).await;
    busy(&world, &app).await;
    world.later(Duration::minutes(1));
    let report = app.tick(world.now() + Duration::minutes(2)).await.unwrap();
    assert!(!report.complete);
    assert_eq!(world.get(&app, &queued[0]).await.status, Status::Running);
}

#[tokio::test]
async fn each_shard_has_its_turn_even_if_no_tick_has_time_for_all() {
    for one_process in [true, false] {
        let world = World::new();
        let mut app = world.app();
        let ids = busy(&world, &app).await;
        let mut left: std::collections::BTreeSet<_> = ids.iter().cloned().collect();
        for _ in 0..100 {
            world.later(Duration::minutes(1));
            if !one_process {
                app = world.app();
            }
            app.tick(world.now() + Duration::minutes(2)).await.unwrap();
            for id in &ids {
                // A look notes the job's first word.
                if world.get(&app, id).await.job_status.as_deref() == Some(JobStatus::Running.name()) {
                    left.remove(id);
                }
            }
        }
        assert!(left.is_empty(), "one process: {one_process}, never looked at: {left:?}");
    }
}

/// Names of blobs whose scorings all lie in the first shard.
fn in_one_shard(count: usize) -> Vec<String> {
    let names = (0..).map(|n| format!("{n}.csv"));
    let in_it = |name: &String| {
        let url = format!("https://uploads.blob.core.windows.net/claims/{name}");
        ScoringId::new(&World::new().ledger_id, &"claims".parse().unwrap(), &BlobVersion::read(&url, "1").unwrap(), 0)
            .as_str()
            .starts_with('0')
    };
    names.filter(in_it).take(count).collect()
}

#[tokio::test]
async fn each_page_has_its_turn_even_if_no_tick_has_time_for_one_shard() {
    let world = World::on(Arc::new(MemoryStore::with_pages(3, true)), RULE);
    let first = world.app();
    let mut left = BTreeSet::new();
    for name in in_one_shard(40) {
        left.extend(world.deliver(&first, &event(&name, "1")).await);
    }
    let ids = left.clone();
    // A look takes so long that a tick has time for five of forty.
    world.polls_take(Duration::seconds(20));
    for _ in 0..80 {
        world.later(Duration::minutes(1));
        world.app().tick(world.now() + Duration::minutes(2)).await.unwrap();
        for id in &ids {
            if world.get(&first, id).await.job_status.as_deref() == Some(JobStatus::Running.name()) {
                left.remove(id);
            }
        }
    }
    assert!(left.is_empty(), "never looked at: {left:?}");
}

#[tokio::test]
async fn what_waits_on_any_page_is_submitted_in_its_turn() {
    let rules = RULE.replace("\"maxAttempts\":2", "\"maxInFlight\":2");
    let world = World::on(Arc::new(MemoryStore::with_pages(3, true)), &rules);
    let app = world.app();
    let names = in_one_shard(20);
    for name in &names {
        world.later(Duration::SECOND);
        world.deliver(&app, &event(name, "1")).await;
    }
    world.tick_until_final(&app, 30).await;
    assert_eq!(world.jobs().into_iter().map(|job| job.path).collect::<Vec<_>>(), names);
}

#[tokio::test]
async fn a_backlog_of_old_scorings_is_removed_by_one_tick_that_has_the_time() {
    let world = World::new();
    let app = world.app();
    for n in 0..600 {
        world.deliver(&app, &event(&format!("{n}.csv"), "1")).await;
    }
    world.tick_until_final(&app, 5).await;
    world.later(Duration::days(40));
    // As if runs had gone on all the time.
    app.ledger().record_purged_through(world.now() - Duration::days(30)).await.unwrap();
    let report = app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert_eq!(report.purged, 600);
}

#[tokio::test]
async fn a_shard_that_cannot_be_read_does_not_stop_the_others() {
    let world = World::new();
    let app = world.app();
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.extend(world.deliver(&app, &event(&format!("{n}.csv"), "1")).await);
    }
    world.later(Duration::minutes(2));
    // The runs before it and the controls are read first.
    for _ in 0..3 {
        world.store.push_read(Error::Unavailable("dark".into()));
    }
    let report = app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert!(report.due > 10 && report.errors == 2 && !report.complete, "{report:?}");
    for _ in 0..app::ledger::IN_FLIGHT_PARTS + 2 {
        world.store.push_read(Error::Unavailable("dark".into()));
    }
    assert!(app.tick(world.now() + Duration::minutes(5)).await.is_err());
}

#[tokio::test]
async fn a_tick_reports_jobs_that_it_could_not_look_at() {
    let world = World::new();
    let app = world.app();
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    world.blind(Some("the endpoint answers 403"));
    world.later(Duration::minutes(2));
    let report = app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert_eq!((report.errors, report.moved), (1, 0));
    let (scoring, _) = app.ledger().get(&ScoringId::read(&ids[0]).unwrap()).await.unwrap().unwrap();
    assert_eq!(scoring.status, Status::Running);
}
