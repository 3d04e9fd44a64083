//! What is copied for a group, how much a group holds, how long copies stay, and what members hear of its end.

use app::App;
use app::ledger::rows;
use app::ports::table_store::{Entity, IfMatch, Op, TableName, TableStore as _};
use lifecycle::group::{MemberState, staging_manifest};
use lifecycle::{JobStatus, Rules, Scoring, ScoringId, Status, Verb};
use serde_json::{Value, json};
use simulation::Content;
use time::Duration;

use super::groups::{by_time, copies, group_of, minutes, order, rules, until_final, uploads, url};
use super::groups_interrupted::{seal_no_group, tick_with_errors};
use super::renames::tick;
use super::since;
use crate::support::world::{Fault, World};

/// Bytes of each upload, as their events tell.
const BYTES: u64 = 524_288;

/// The same world, whose rule does not group any more.
fn without_group(world: &World) -> World {
    let mut rules: Value = serde_json::from_str(&by_time(100)).unwrap();
    rules["rules"][0].as_object_mut().unwrap().remove("group");
    let mut world = world.clone();
    world.rules = Rules::read(&rules.to_string()).unwrap();
    world
}

#[tokio::test]
async fn copies_stay_for_twenty_minutes_after_the_end_of_a_group_that_was_copied_late() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 2).await;
    world.next_publish_faults([Fault::LostRequest, Fault::LostRequest]);
    world.later(Duration::minutes(6));
    let report = app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert_eq!(report.errors, 0, "{report:?}");
    tick(&world, &app, Duration::minutes(40)).await;
    let group = group_of(&world, &app, &ids[0]).await;
    assert_eq!(copies(&world, &group).len(), 2, "they are made long after the group was");
    tick(&world, &app, Duration::minutes(1)).await;
    minutes(&world, &app, 1).await;
    assert_eq!(group_of(&world, &app, &ids[0]).await.status, Status::Scored);
    for _ in 0..3 {
        tick(&world, &app, Duration::minutes(6)).await;
        assert_eq!(copies(&world, &group).len(), 2, "one whose answer was lost may still come");
    }
    minutes(&world, &app, 8).await;
    assert_eq!(copies(&world, &group).len(), 0);
}

#[tokio::test]
async fn copies_stay_while_the_job_runs_and_no_longer_than_their_life() {
    let world = World::with_rules(&rules(&json!({"by": "time", "stagingLife": "PT5H"})));
    let app = world.app();
    let ids = uploads(&world, &app, 2).await;
    tick(&world, &app, Duration::minutes(6)).await;
    let group = group_of(&world, &app, &ids[0]).await;
    // Once its job is seen running nothing moves its row any more.
    tick(&world, &app, Duration::minutes(2)).await;
    tick(&world, &app, Duration::hours(4)).await;
    assert_eq!((group_of(&world, &app, &ids[0]).await.status, copies(&world, &group).len()), (Status::Running, 2));
    tick(&world, &app, Duration::hours(2)).await;
    assert_eq!((group_of(&world, &app, &ids[0]).await.status, copies(&world, &group).len()), (Status::Running, 0));
}

#[tokio::test]
async fn copies_stay_while_the_job_runs_though_no_row_of_its_files_in_the_index_can_be_read() {
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
async fn a_group_holds_no_more_bytes_than_it_may_and_goes_once_it_is_full_of_them() {
    let world = World::with_rules(&rules(&json!({"by": "time", "maxBytes": 2 * BYTES})));
    let app = world.app();
    let ids = uploads(&world, &app, 4).await;
    tick(&world, &app, Duration::minutes(1)).await;
    assert_eq!(world.jobs().len(), 2, "each is full, and waits for nobody");
    assert_eq!(group_of(&world, &app, &ids[0]).await.group().unwrap().members.len(), 2);
}

#[tokio::test]
async fn members_of_a_job_that_was_cancelled_in_azure_ml_are_cancelled() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    uploads(&world, &app, 2).await;
    tick(&world, &app, Duration::minutes(6)).await;
    world.end_jobs(&JobStatus::Canceled);
    for _ in 0..3 {
        tick(&world, &app, Duration::minutes(2)).await;
    }
    assert_eq!(world.statuses(&app).await, [(Status::Cancelled, 2)].into());
}

#[tokio::test]
async fn where_nothing_may_be_written_files_wait_for_the_role_and_none_goes_alone() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    uploads(&world, &app, 2).await;
    world.next_publish_faults((0..100).map(|_| Fault::Refused { permanent: true }));
    tick(&world, &app, Duration::minutes(6)).await;
    minutes(&world, &app, 30).await;
    assert_eq!((world.jobs().len(), world.statuses(&app).await), (0, [(Status::Grouped, 2)].into()));
}

#[tokio::test]
async fn the_output_of_one_file_need_not_name_it() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 1).await;
    world.name_no_file(&url(0));
    until_final(&world, &app, 10).await;
    assert_eq!((world.jobs().len(), world.statuses(&app).await), (1, [(Status::Scored, 1)].into()));
    let entries = app.ledger().entries(&ids[0].parse().unwrap()).await.unwrap();
    assert!(entries.iter().any(|entry| entry.reason.contains("it was the only file")));
}

#[tokio::test]
async fn a_manifest_beside_the_copies_tells_which_upload_each_is_and_goes_with_them() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 2).await;
    tick(&world, &app, Duration::minutes(6)).await;
    let group = group_of(&world, &app, &ids[0]).await;
    let at = staging_manifest(&group.blob.url);
    let manifest = world.publications(|all| match &all.at(&at).unwrap().content {
        Content::Document(body) => serde_json::from_slice::<Value>(body).unwrap(),
        other => panic!("{other:?}"),
    });
    let mut files: Vec<_> =
        manifest["files"].as_array().unwrap().iter().map(|file| (&file["scoring"], &file["blobUrl"])).collect();
    files.sort_by_key(|(_, url)| url.as_str());
    assert_eq!(files, [(&json!(ids[0]), &json!(url(0))), (&json!(ids[1]), &json!(url(1)))]);
    until_final(&world, &app, 10).await;
    tick(&world, &app, Duration::minutes(25)).await;
    assert!(world.publications(|all| all.at(&at).is_none()));
}

#[tokio::test]
async fn what_is_copied_or_refused_is_not_asked_for_again_while_the_others_are_tried() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 3).await;
    // Files that came at one time are copied in the order of their ids.
    let first = (0..3).min_by_key(|n| &ids[*n]).unwrap();
    world.refuse_copies_of(&url(first));
    world.next_publish_faults([Fault::Pass, Fault::Pass, Fault::LostRequest]);
    tick(&world, &app, Duration::minutes(6)).await;
    let group = group_of(&world, &app, &ids[first]).await;
    assert_eq!((group.status, world.publish_calls()), (Status::Staging, 3));
    let refused = group.group().unwrap().state_of(&ScoringId::read(&ids[first]).unwrap());
    assert_eq!((refused, copies(&world, &group).len()), (Some(MemberState::NotCopied), 1));
    tick(&world, &app, Duration::minutes(2)).await;
    assert_eq!(world.publish_calls() - 3, 2, "the one that was lost, and the list of them");
    assert_eq!(copies(&world, &group).len(), 2);
}

#[tokio::test]
async fn copies_that_a_dead_process_did_not_note_are_found_and_not_made_again() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 2).await;
    let moves_a_group = |op: &Op| matches!(op, Op::Replace(row, _) if row.string("Grouping") == Some("group"));
    world.store.rule(move |_, ops| ops.iter().any(moves_a_group).then_some(Fault::NotSent));
    tick_with_errors(&world, &app, Duration::minutes(6)).await;
    world.store.heal();
    let group = group_of(&world, &app, &ids[0]).await;
    assert_eq!((group.status, copies(&world, &group).len()), (Status::Staging, 2));
    let before = world.publish_calls();
    tick(&world, &app, Duration::minutes(2)).await;
    assert_eq!(group_of(&world, &app, &ids[0]).await.status, Status::Queued);
    assert_eq!(world.publish_calls() - before, 1, "the list of them alone");
}

#[tokio::test]
async fn a_file_that_is_cancelled_before_its_copy_is_not_copied_and_no_job_reads_it() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 2).await;
    world.next_publish_faults([Fault::LostRequest, Fault::LostRequest]);
    tick(&world, &app, Duration::minutes(6)).await;
    order(&world, &app, &ids[0], Verb::Cancel).await;
    tick(&world, &app, Duration::minutes(2)).await;
    let group = group_of(&world, &app, &ids[1]).await;
    assert_eq!((group.status, copies(&world, &group)), (Status::Queued, [ids[1].clone()].into()));
    let left = group.group().unwrap().state_of(&ScoringId::read(&ids[0]).unwrap());
    assert_eq!(left, Some(MemberState::Left));
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
    let world = without_group(&grouping);
    let app = world.app();
    for _ in 0..80 {
        tick(&world, &app, Duration::MINUTE).await;
    }
    assert!(copies(&world, &group).is_empty());
}

#[tokio::test]
async fn files_are_looked_for_in_the_output_though_their_rule_groups_no_more() {
    let grouping = World::with_rules(&by_time(100));
    let app = grouping.app();
    uploads(&grouping, &app, 3).await;
    tick(&grouping, &app, Duration::minutes(6)).await;
    grouping.name_no_file(&url(1));
    let world = without_group(&grouping);
    let app = world.app();
    until_final(&world, &app, 20).await;
    assert_eq!((world.jobs().len(), world.statuses(&app).await[&Status::Scored]), (2, 3), "one is scored alone");
}

#[tokio::test]
async fn what_others_write_while_a_file_is_copied_is_not_taken_for_its_copy() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 1).await;
    let (others, other, id) = (world.clone(), world.app(), ids[0].clone());
    world.before_next_publish(|| async move {
        let group = group_of(&others, &other, &id).await;
        others.publications(|all| all.put_foreign(&format!("{}/{id}.csv", group.blob.url), 7));
    });
    tick(&world, &app, Duration::minutes(6)).await;
    let group = group_of(&world, &app, &ids[0]).await;
    assert_eq!((group.status, world.jobs().len()), (Status::Staging, 0));
    assert!(group.last_error.is_some_and(|why| why.contains("something else lies at")));
}

/// A group of four that has failed by the first of them and is not split yet, and whose sources are gone.
async fn failed_without_sources(world: &World, app: &App) -> Scoring {
    let ids = uploads(world, app, 4).await;
    world.fail_whatever_reads(&url(0));
    minutes(world, app, 1).await;
    world.end_jobs(&JobStatus::Completed);
    tick(world, app, Duration::minutes(2)).await;
    (0..ids.len()).for_each(|n| world.change_inputs(|inputs, now| inputs.delete(&url(n), now)));
    let whole = group_of(world, app, &ids[0]).await;
    assert_eq!((whole.status, copies(world, &whole).len()), (Status::Failed, 4));
    whole
}

#[tokio::test]
async fn copies_of_a_failed_group_stay_until_it_is_split_however_late_that_is() {
    let world = World::with_rules(&by_time(4));
    let app = world.app();
    let whole = failed_without_sources(&world, &app).await;
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
    let whole = failed_without_sources(&world, &app).await;
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
