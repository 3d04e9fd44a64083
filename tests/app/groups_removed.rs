//! When copies of groups are removed, and what they are kept for.

use app::App;
use app::ledger::rows;
use app::ports::table_store::{Entity, Error, IfMatch, Op, TableName, TableStore as _};
use lifecycle::{JobStatus, Scoring, ScoringId, Status};
use time::Duration;

use super::groups::{by_time, copies, group_of, minutes, until_final, uploads, url};
use super::groups_changing::without_group;
use super::groups_interrupted::{seal_no_group, tick_with_errors};
use super::renames::tick;
use super::since;
use crate::support::world::{Fault, World};

#[tokio::test]
async fn copies_stay_while_the_job_runs_though_no_index_row_of_its_files_can_be_read() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 2).await;
    tick(&world, &app, Duration::minutes(6)).await;
    tick(&world, &app, Duration::minutes(2)).await;
    let group = group_of(&world, &app, &ids[0]).await;
    let table = TableName::read("TestState").unwrap();
    for id in ids.iter().map(|id| ScoringId::read(id).unwrap()).chain([group.id.clone()]) {
        let newer = Entity::new(rows::in_flight_key(&id)).with("SchemaVersion", rows::SCHEMA + 1);
        world.store.write(&table, &[Op::Merge(newer, IfMatch::Any)]).await.unwrap();
    }
    for _ in 0..3 {
        tick_with_errors(&world, &app, Duration::minutes(30)).await;
    }
    assert_eq!((group_of(&world, &app, &ids[0]).await.status, copies(&world, &group).len()), (Status::Running, 2));
}

#[tokio::test]
async fn a_copy_that_arrives_while_copies_are_removed_is_removed_by_the_next_run() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 1).await;
    until_final(&world, &app, 10).await;
    let group = group_of(&world, &app, &ids[0]).await;
    tick(&world, &app, Duration::minutes(25)).await;
    assert!(copies(&world, &group).is_empty());
    world.publications(|all| all.put_foreign(&format!("{}/{}.csv", group.blob.url, ids[0]), 7));
    tick(&world, &app, Duration::minutes(2)).await;
    assert!(copies(&world, &group).is_empty(), "its folder is forgotten only once it was found empty");
}

#[tokio::test]
async fn a_run_removes_the_copies_of_320_groups_and_leaves_the_rest_to_later_ones() {
    let world = World::with_rules(&by_time(1));
    let app = world.app();
    uploads(&world, &app, 321).await;
    until_final(&world, &app, 10).await;
    let folders = || {
        let is_copy = |uri: &str| uri.contains("/scorekeeper-staging/") && uri.contains("/files/");
        world.publications(|all| all.all().filter(|(uri, _)| is_copy(uri)).count())
    };
    assert_eq!(folders(), 321);
    tick(&world, &app, Duration::minutes(25)).await;
    assert_eq!(folders(), 1, "what was made meanwhile must be copied in this run, too");
    minutes(&world, &app, 3).await;
    assert_eq!(folders(), 0);
}

#[tokio::test]
async fn copies_of_a_rule_that_groups_no_more_are_removed_within_an_hour_or_so() {
    let grouping = World::with_rules(&by_time(100));
    let app = grouping.app();
    let ids = uploads(&grouping, &app, 1).await;
    until_final(&grouping, &app, 10).await;
    let group = group_of(&grouping, &app, &ids[0]).await;
    let mut world = grouping.clone();
    world.rules = without_group();
    let app = world.app();
    for _ in 0..80 {
        tick(&world, &app, Duration::MINUTE).await;
    }
    assert!(copies(&world, &group).is_empty());
}

/// A group of so many files that has failed by the first of them and is not split yet, and whose sources are gone.
async fn failed_without_sources(world: &World, app: &App, files: usize) -> Scoring {
    let ids = uploads(world, app, files).await;
    world.fail_whatever_reads(&url(0));
    minutes(world, app, 1).await;
    world.end_jobs(&JobStatus::Completed);
    tick(world, app, Duration::minutes(2)).await;
    (0..ids.len()).for_each(|n| world.change_inputs(|inputs, now| inputs.delete(&url(n), now)));
    let whole = group_of(world, app, &ids[0]).await;
    assert_eq!((whole.status, copies(world, &whole).len()), (Status::Failed, files));
    whole
}

#[tokio::test]
async fn copies_of_a_failed_group_stay_until_it_is_split_however_late_that_is() {
    let world = World::with_rules(&by_time(4));
    let app = world.app();
    let whole = failed_without_sources(&world, &app, 4).await;
    seal_no_group(&world);
    for _ in 0..4 {
        tick_with_errors(&world, &app, Duration::minutes(12)).await;
        assert_eq!(copies(&world, &whole).len(), 4);
    }
    world.store.heal();
    until_final(&world, &app, 30).await;
    assert_eq!(world.statuses(&app).await, [(Status::Scored, 3), (Status::Failed, 1)].into());
}

#[tokio::test]
async fn copies_of_a_failed_group_stay_until_its_halves_are_copied_however_late_that_is() {
    let world = World::with_rules(&by_time(4));
    let app = world.app();
    let whole = failed_without_sources(&world, &app, 4).await;
    // Four copies in each run, whose back-off is ten minutes at most.
    world.next_publish_faults((0..16).map(|_| Fault::LostRequest));
    for _ in 0..4 {
        tick(&world, &app, Duration::minutes(12)).await;
        assert_eq!((copies(&world, &whole).len(), world.jobs().len()), (4, 1));
    }
    until_final(&world, &app, 30).await;
    assert_eq!(world.statuses(&app).await, [(Status::Scored, 3), (Status::Failed, 1)].into());
}

#[tokio::test]
async fn copies_that_are_not_to_be_removed_yet_cost_a_run_no_read_for_each_group() {
    let reads = async |groups: usize| {
        let world = World::with_rules(&by_time(1));
        let app = world.app();
        uploads(&world, &app, groups).await;
        until_final(&world, &app, 6).await;
        tick(&world, &app, Duration::minutes(1)).await;
        let before = world.store.calls();
        tick(&world, &app, Duration::minutes(1)).await;
        since(before, world.store.calls()).0
    };
    assert_eq!(reads(1).await, reads(9).await);
}

#[tokio::test]
async fn a_run_whose_time_is_over_removes_no_copies_and_the_next_one_does() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 1).await;
    until_final(&world, &app, 10).await;
    let group = group_of(&world, &app, &ids[0]).await;
    world.later(Duration::minutes(25));
    assert!(!app.tick(world.now()).await.unwrap().complete);
    assert_eq!(copies(&world, &group).len(), 1);
    tick(&world, &app, Duration::minutes(1)).await;
    assert!(copies(&world, &group).is_empty());
}

#[tokio::test]
async fn a_run_that_could_not_read_the_whole_index_removes_no_copies() {
    let world = World::with_rules(&by_time(2));
    let app = world.app();
    // It has ended: only the rows of its members tell that its copies are needed.
    let whole = failed_without_sources(&world, &app, 2).await;
    seal_no_group(&world);
    tick_with_errors(&world, &app, Duration::minutes(30)).await;
    let mut is_unseen = false;
    // What else a run reads before the index may change: one of these numbers hides both members, and nothing behind.
    for errors in 4..24 {
        world.later(Duration::SECOND);
        (0..errors).for_each(|_| world.store.push_read(Error::Unavailable("dark".to_owned())));
        let report = app.tick(world.now() + Duration::minutes(5)).await;
        is_unseen |= report.is_ok_and(|report| !report.whole && report.in_flight == 0);
        assert_eq!(copies(&world, &whole).len(), 2, "{errors} reads failed");
        world.store.heal();
        seal_no_group(&world);
    }
    assert!(is_unseen, "each run saw a member");
}
