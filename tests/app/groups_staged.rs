//! How members of a group come to be copied: what was settled is not asked for again, whoever has died; who is not a member any more, or what
//! others write, is no copy.

use app::ports::table_store::Op;
use lifecycle::group::MemberState;
use lifecycle::{ScoringId, Status, Verb};
use time::Duration;

use super::groups::{by_time, copies, group_of, order, uploads, url};
use super::groups_interrupted::tick_with_errors;
use super::renames::tick;
use crate::support::world::{Fault, World};

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
async fn a_container_that_cannot_be_listed_is_named_with_the_role_that_the_app_needs_on_it() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 2).await;
    world.blind_storage(Some("storage answered 404"));
    tick(&world, &app, Duration::minutes(6)).await;
    let told = group_of(&world, &app, &ids[0]).await.last_error.unwrap();
    assert!(told.contains("container `scorekeeper-staging` cannot be listed; it must exist"), "{told}");
    assert!(told.contains("Storage Blob Data Contributor") && told.ends_with("storage answered 404"), "{told}");
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
