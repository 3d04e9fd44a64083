//! How members of a group come to be copied: what was settled is not asked for again, whoever has died; who is not a member any more, or what
//! others write, is no copy.

use app::ports::table_store::Op;
use app::reports::{self, FindingKind};
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
async fn a_container_that_cannot_be_listed_is_named_with_the_role_the_app_needs_on_it() {
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
async fn a_group_that_waits_for_its_copies_needs_attention_and_its_members_say_why() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 2).await;
    let findings = async || {
        let report = reports::status(app.ledger(), world.now(), None).await.unwrap();
        report.findings.into_iter().filter(|finding| finding.kind != FindingKind::RunOverdue).collect::<Vec<_>>()
    };
    world.blind_storage(Some("storage answered 503"));
    tick(&world, &app, Duration::minutes(6)).await;
    assert_eq!(findings().await, [], "it may pass");
    world.blind_storage(Some("storage answered 404"));
    tick(&world, &app, Duration::minutes(2)).await;
    let [of_404] = &findings().await[..] else { panic!("{:?}", findings().await) };
    assert_eq!((of_404.kind, of_404.next.as_str()), (FindingKind::CannotCopy, "scorekeeper doctor"));
    assert!(
        of_404.reason.starts_with("1 group waits for copies of its files (the copies in the container"),
        "{of_404}"
    );
    let explained = reports::explain(app.ledger(), &ids[0], world.now(), || ()).await.unwrap();
    let waits = explained.verdicts[0].waits.clone().unwrap();
    assert!(waits.contains("at present the copies in the container `scorekeeper-staging` cannot be listed"), "{waits}");
    world.blind_storage(None);
    world.next_publish_faults((0..2).map(|_| Fault::Refused { permanent: true }));
    tick(&world, &app, Duration::minutes(11)).await;
    let [of_403] = &findings().await[..] else { panic!("{:?}", findings().await) };
    assert_eq!((of_403.kind, of_403.count), (FindingKind::Denied, 1), "{of_403}");
    let report = reports::status(app.ledger(), world.now(), None).await.unwrap();
    assert_eq!(
        (report.count(Status::Grouped), report.count(Status::Staging)),
        (2, 0),
        "groups are counted by themselves"
    );
    assert!(report.groups.contains(&(Status::Staging, 1)), "{:?}", report.groups);
    tick(&world, &app, Duration::minutes(11)).await;
    assert_eq!(findings().await, []);
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
async fn a_file_that_changes_between_the_copies_of_two_processes_is_scored_by_the_copy() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 1).await;
    // The other process copies it and dies before that is on record; then the source changes.
    let (others, other) = (world.clone(), world.app());
    world.before_next_publish(move || async move {
        let moves_a_group = |op: &Op| matches!(op, Op::Replace(row, _) if row.string("Grouping") == Some("group"));
        others.store.rule(move |_, ops| ops.iter().any(moves_a_group).then_some(Fault::NotSent));
        tick_with_errors(&others, &other, Duration::ZERO).await;
        others.store.heal();
        others.change_inputs(|inputs, now| inputs.put(&url(0), "0x2", 1, false, now));
    });
    tick(&world, &app, Duration::minutes(6)).await;
    assert_eq!(group_of(&world, &app, &ids[0]).await.group().unwrap().staged().count(), 1);
    super::groups::until_final(&world, &app, 10).await;
    assert_eq!((world.jobs().len(), world.get(&app, &ids[0]).await.status), (1, Status::Scored));
}

#[tokio::test]
async fn a_file_whose_copy_is_never_answered_goes_alone_after_half_an_hour() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 2).await;
    let first = usize::from(ids[0] > ids[1]);
    world.next_publish_faults((0..100).map(|n| if n == 1 { Fault::Pass } else { Fault::LostRequest }));
    tick(&world, &app, Duration::minutes(6)).await;
    for _ in 0..2 {
        tick(&world, &app, Duration::minutes(12)).await;
        assert_eq!(group_of(&world, &app, &ids[first]).await.status, Status::Staging, "it may pass");
    }
    tick(&world, &app, Duration::minutes(12)).await;
    tick(&world, &app, Duration::minutes(1)).await;
    let alone = super::groups_changing::why_alone(&world, &app, &ids[first]).await;
    assert!(alone.contains("the storage does not copy it"), "{alone}");
    tick(&world, &app, Duration::minutes(1)).await;
    assert_eq!(world.jobs().len(), 2, "the other one need not wait any longer");
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
