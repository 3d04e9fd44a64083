//! What lists, counts and other tools show of scorings that share jobs: each file once, and no group beside it.

use app::reports::{self, Filter};
use lifecycle::Status;
use time::Duration;

use super::groups::{by_time, group_of, minutes, until_final, uploads};
use super::renames::tick;
use super::{rows, state_rows};
use crate::support::world::World;

#[tokio::test]
async fn lists_counts_and_other_tools_show_each_file_once_and_no_group() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 3).await;
    tick(&world, &app, Duration::minutes(6)).await;
    let group = group_of(&world, &app, &ids[0]).await;
    let shown = async || {
        let (ledger, now) = (app.ledger(), world.now());
        let all = Filter { limit: 10, ..Filter::default() };
        let listed = reports::newest(ledger, &all, || ()).await.unwrap().scorings.len();
        let report = reports::status(ledger, now, None).await.unwrap();
        let counted: usize = report.counts.iter().map(|(_, count)| count).sum();
        let coverage = reports::coverage(ledger, now - Duration::DAY, now).await.unwrap();
        let accounted: u64 = coverage.days.iter().map(|day| day.accounted).sum();
        (listed, report.in_flight, counted, accounted)
    };
    assert_eq!((group.status, shown().await), (Status::Running, (3, 3, 3, 3)));
    assert_eq!(app.tick(world.now() + Duration::minutes(5)).await.unwrap().in_flight, 3);
    until_final(&world, &app, 10).await;
    assert_eq!((group_of(&world, &app, &ids[0]).await.status, shown().await), (Status::Scored, (3, 0, 3, 3)));
    let instances = async |id: &str| rows(&world, "Instances", id, "").await.len();
    assert_eq!((instances(&ids[0]).await, instances(group.id.as_str()).await), (1, 0));
}

#[tokio::test]
async fn a_group_is_not_scored_again_and_the_refusal_says_that_its_members_are() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 2).await;
    until_final(&world, &app, 10).await;
    let group = group_of(&world, &app, &ids[0]).await;
    let why = app::rescore_refusal(app.ledger(), &group).await.unwrap();
    assert!(why.as_deref().is_some_and(|why| why.contains("`scorekeeper rescore --group ")), "{why:?}");
    let member = world.get(&app, &ids[0]).await;
    assert_eq!(app::rescore_refusal(app.ledger(), &member).await.unwrap(), None);
}

#[tokio::test]
async fn a_group_that_is_older_than_the_retention_goes_whole_and_no_tool_hears_of_it() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 2).await;
    until_final(&world, &app, 10).await;
    let group = group_of(&world, &app, &ids[0]).await;
    minutes(&world, &app, 15).await; // its copies are removed
    assert_eq!(app.ledger().purge(world.now() + Duration::DAY, 100).await.unwrap(), 3);
    let left = state_rows(&world, "").await.into_iter().map(|row| row.entity.key.row);
    let left: Vec<String> = left.filter(|key| key.contains(group.id.as_str())).collect();
    assert_eq!(left, Vec::<String>::new());
}
