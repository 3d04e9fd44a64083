//! Groups that are made by processes that die, or whose time is over.

use app::App;
use app::ledger::rows;
use app::ports::table_store::{Entity, Op, TableStore as _};
use lifecycle::{JobStatus, Scoring, ScoringId, Status};
use stores::fault::Fault;
use time::Duration;

use super::groups::{by_time, copies, group_of, minutes, until_final, uploads, url};
use super::renames::tick;
use crate::support::world::World;

/// No group is sealed from now on, until the store heals, as if whoever makes one died.
pub(super) fn seal_no_group(world: &World) {
    let seals = |ops: &[Op]| ops.iter().any(|op| matches!(op, Op::Insert(row) if row.key.row.starts_with("Y~")));
    world.store.rule(move |_, ops| seals(ops).then_some(Fault::NotSent));
}

/// No row comes to name a group from now on, until the store heals.
fn join_no_group(world: &World) {
    let joins = |op: &Op| matches!(op, Op::Replace(row, _) if row.string("Grouping") == Some("member"));
    world.store.rule(move |_, ops| ops.iter().any(joins).then_some(Fault::NotSent));
}

/// The rows of the in-flight index of these scorings, as a walk has them that reads them now.
async fn index_rows(world: &World, ids: &[String]) -> Vec<Entity> {
    let mut all = Vec::new();
    for id in ids {
        let key = rows::in_flight_key(&ScoringId::read(id).unwrap());
        all.push(world.store.get(&world.table("State"), &key).await.unwrap().unwrap().entity);
    }
    all
}

/// From now on a walk sees these rows, as one does that has read them before others moved the scorings.
async fn show_index_rows(world: &World, rows: Vec<Entity>) {
    for row in rows {
        world.store.write(&world.table("State"), &[Op::Upsert(row)]).await.unwrap();
    }
}

/// A tick in which something fails.
pub(super) async fn tick_with_errors(world: &World, app: &App, after: Duration) {
    world.later(after);
    let report = app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert!(report.errors > 0, "{report:?}");
}

#[tokio::test]
async fn a_group_that_nobody_sealed_is_sealed_by_others_after_two_minutes() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 3).await;
    seal_no_group(&world);
    tick_with_errors(&world, &app, Duration::minutes(6)).await;
    world.store.heal();
    let other = world.app();
    tick(&world, &other, Duration::minutes(1)).await;
    assert!(world.jobs().is_empty(), "who makes it may be about to seal it");
    tick(&world, &other, Duration::minutes(2)).await;
    assert_eq!(group_of(&world, &other, &ids[0]).await.group().unwrap().members.len(), 3);
    until_final(&world, &other, 10).await;
    assert_eq!((world.jobs().len(), world.statuses(&other).await[&Status::Scored]), (1, 3));
}

#[tokio::test]
async fn no_file_joins_a_group_or_ends_with_it_behind_the_deadline_of_a_run() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 3).await;
    let over = async || {
        world.later(Duration::minutes(6));
        app.tick(world.now()).await.unwrap()
    };
    over().await;
    assert_eq!(world.statuses(&app).await, [(Status::Queued, 3)].into());
    tick(&world, &app, Duration::minutes(1)).await;
    minutes(&world, &app, 1).await;
    let group: Scoring = group_of(&world, &app, &ids[0]).await;
    assert_eq!(group.status, Status::Scored);
    assert_eq!(world.statuses(&app).await, [(Status::Grouped, 3)].into(), "they hear of it by the next run");
    over().await;
    assert_eq!(world.statuses(&app).await, [(Status::Grouped, 3)].into());
    until_final(&world, &app, 20).await;
    assert_eq!(world.statuses(&app).await[&Status::Scored], 3);
}

#[tokio::test]
async fn nothing_is_copied_behind_the_deadline_of_a_run_and_the_next_one_does_it() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 1).await;
    let clock = world.clone();
    world.during_next_input(|| async move { clock.later(Duration::minutes(10)) });
    tick(&world, &app, Duration::minutes(6)).await;
    let group = group_of(&world, &app, &ids[0]).await;
    assert_eq!((group.status, world.publish_calls()), (Status::Staging, 0), "its look took all the time there was");
    tick(&world, &app, Duration::minutes(1)).await;
    assert_eq!(copies(&world, &group).len(), 1);
    until_final(&world, &app, 10).await;
}

#[tokio::test]
async fn a_group_that_others_made_while_a_run_walked_the_index_is_not_taken_for_empty() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 2).await;
    let before = index_rows(&world, &ids).await;
    tick(&world, &app, Duration::minutes(6)).await;
    let after = index_rows(&world, &ids).await;
    show_index_rows(&world, before).await;
    tick(&world, &app, Duration::minutes(1)).await;
    let group = group_of(&world, &app, &ids[0]).await;
    assert_eq!((group.status, &world.jobs()[0].status), (Status::Running, &JobStatus::Running));
    show_index_rows(&world, after).await;
    until_final(&world, &app, 10).await;
    assert_eq!((world.jobs().len(), world.statuses(&app).await[&Status::Scored]), (1, 2));
}

#[tokio::test]
async fn a_file_that_comes_to_name_a_group_after_it_was_sealed_waits_for_another_one() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 3).await;
    let before = index_rows(&world, &ids[2..]).await;
    seal_no_group(&world);
    tick_with_errors(&world, &app, Duration::minutes(6)).await;
    world.store.heal();
    let named = index_rows(&world, &ids[2..]).await;
    show_index_rows(&world, before).await;
    tick(&world, &app, Duration::minutes(3)).await;
    assert_eq!(group_of(&world, &app, &ids[2]).await.group().unwrap().members.len(), 2, "the list is closed");
    show_index_rows(&world, named).await;
    until_final(&world, &app, 10).await;
    assert_eq!((world.jobs().len(), world.statuses(&app).await[&Status::Scored]), (2, 3));
    assert_eq!(group_of(&world, &app, &ids[2]).await.group().unwrap().members.len(), 1);
}

#[tokio::test]
async fn a_half_is_not_copied_before_its_members_name_it() {
    let world = World::with_rules(&by_time(4));
    let app = world.app();
    let ids = uploads(&world, &app, 4).await;
    world.fail_whatever_reads(&url(0));
    minutes(&world, &app, 1).await;
    let whole = group_of(&world, &app, &ids[0]).await.id;
    join_no_group(&world);
    world.end_jobs(&JobStatus::Completed);
    for _ in 0..3 {
        world.later(Duration::minutes(2));
        app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    }
    for half in [whole.half(0), whole.half(1)] {
        let half = app.ledger().get(&half).await.unwrap().unwrap().0;
        assert_eq!((half.status, copies(&world, &half).len()), (Status::Staging, 0), "whoever splits died on the way");
    }
    world.store.heal();
    until_final(&world, &app, 30).await;
    assert_eq!(world.statuses(&app).await, [(Status::Scored, 3), (Status::Failed, 1)].into());
}
