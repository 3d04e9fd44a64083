//! Groups that are made by processes that die, or whose time is over.

use app::App;
use app::ports::table_store::Op;
use lifecycle::{Scoring, Status};
use stores::fault::Fault;
use time::Duration;

use super::groups::{by_time, group_of, minutes, until_final, uploads};
use super::renames::tick;
use crate::support::world::World;

/// No group is sealed from now on, until the store heals, as if whoever makes one died.
pub(super) fn seal_no_group(world: &World) {
    let seals = |ops: &[Op]| ops.iter().any(|op| matches!(op, Op::Insert(row) if row.key.row.starts_with("Y~")));
    world.store.rule(move |_, ops| seals(ops).then_some(Fault::NotSent));
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
