//! Groups while uploads go on: who joins which group by folder, marker and time, and what becomes of files that change, go, or cannot be
//! copied, before, while and after they are copied.

use std::collections::{BTreeMap, BTreeSet};

use app::App;
use lifecycle::group::Grouping;
use lifecycle::publication::RefusalKind;
use lifecycle::{Rules, Scoring, ScoringId, Status, Verb};
use serde_json::json;
use time::Duration;

use super::groups::{by_time, copies, group_of, minutes, order, rules, until_final, upload, uploads, url, why_made};
use super::groups_interrupted::{seal_no_group, tick_with_errors};
use super::renames::tick;
use crate::support::world::{Fault, World};

/// How many of these scorings each group has.
async fn sizes(world: &World, app: &App, ids: &[String]) -> Vec<usize> {
    let mut sizes = BTreeMap::<ScoringId, usize>::new();
    for id in ids {
        *sizes.entry(group_of(world, app, id).await.id).or_default() += 1;
    }
    sizes.into_values().collect()
}

async fn status(world: &World, app: &App, id: &str) -> Status {
    world.get(app, id).await.status
}

/// What an operator reads of why it goes alone.
pub(super) async fn why_alone(world: &World, app: &App, id: &str) -> String {
    match world.get(app, id).await.grouping.as_deref() {
        Some(Grouping::Alone(why)) => why.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn files_of_one_folder_share_a_job_and_a_late_one_joins_the_next() {
    let world = World::with_rules(&rules(&json!({"by": "folder"})));
    let app = world.app();
    let mut ids = Vec::new();
    for path in ["eu/a.csv", "eu/b.csv", "us/a.csv", "us/b.csv", "us/deep/c.csv"] {
        ids.push(upload(&world, &app, path).await);
    }
    tick(&world, &app, Duration::minutes(6)).await;
    assert_eq!(world.jobs().len(), 3, "a folder in a folder is another one");
    let [eu, us] = [group_of(&world, &app, &ids[0]).await, group_of(&world, &app, &ids[2]).await];
    assert_eq!(copies(&world, &eu), ids[..2].iter().cloned().collect());
    assert_eq!(copies(&world, &us), ids[2..4].iter().cloned().collect(), "two files of one name do not meet");
    let late = upload(&world, &app, "eu/late.csv").await;
    tick(&world, &app, Duration::minutes(1)).await;
    assert_eq!(status(&world, &app, &late).await, Status::Queued, "it waits for others as long as the first did");
    tick(&world, &app, Duration::minutes(5)).await;
    assert_ne!(group_of(&world, &app, &late).await.id, eu.id);
    until_final(&world, &app, 10).await;
    assert_eq!((world.jobs().len(), world.statuses(&app).await[&Status::Scored]), (4, 6));
}

#[tokio::test]
async fn files_wait_for_the_marker_of_their_folder_and_a_late_one_goes_at_the_next_run() {
    let world = World::with_rules(&rules(&json!({"by": "marker"})));
    let app = world.app();
    let ids = uploads(&world, &app, 3).await;
    let other = upload(&world, &app, "us/a.csv").await;
    tick(&world, &app, Duration::hours(20)).await;
    assert!(world.jobs().is_empty(), "no folder is whole");
    let marker = "https://uploads.blob.core.windows.net/claims/eu/_SUCCESS";
    world.change_inputs(|inputs, now| inputs.put(marker, "0x1", 0, false, now));
    tick(&world, &app, Duration::minutes(1)).await;
    assert_eq!(sizes(&world, &app, &ids).await, [3]);
    assert!(why_made(&world, &app, &ids[0]).await.ends_with(": the marker `_SUCCESS` is there (group.marker)"));
    assert_eq!(status(&world, &app, &other).await, Status::Queued);
    let late = upload(&world, &app, "eu/late.csv").await;
    tick(&world, &app, Duration::minutes(1)).await;
    assert_eq!(group_of(&world, &app, &late).await.group().unwrap().members.len(), 1, "the marker is there already");
    tick(&world, &app, Duration::hours(5)).await;
    group_of(&world, &app, &other).await; // a day after it came it waits no longer
    until_final(&world, &app, 10).await;
    assert_eq!((world.jobs().len(), world.statuses(&app).await[&Status::Scored]), (3, 5));
}

#[tokio::test]
async fn a_marker_that_nobody_may_look_for_is_not_taken_for_one_that_is_there() {
    let world = World::with_rules(&rules(&json!({"by": "marker"})));
    let app = world.app();
    uploads(&world, &app, 2).await;
    world.blind_storage(Some("403"));
    tick_with_errors(&world, &app, Duration::minutes(6)).await;
    assert_eq!(world.statuses(&app).await, [(Status::Queued, 2)].into());
}

#[tokio::test]
async fn files_of_all_folders_share_a_job_by_time_and_who_comes_later_joins_the_next_run() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let mut ids = vec![upload(&world, &app, "eu/a.csv").await, upload(&world, &app, "us/a.csv").await];
    world.later(Duration::minutes(4));
    ids.push(upload(&world, &app, "us/b.csv").await);
    tick(&world, &app, Duration::minutes(1)).await;
    let late = upload(&world, &app, "us/c.csv").await;
    assert_eq!(sizes(&world, &app, &ids).await, [3], "the oldest has waited long enough, and the others go with it");
    tick(&world, &app, Duration::minutes(5)).await;
    assert_eq!(sizes(&world, &app, &[late]).await, [1]);
    until_final(&world, &app, 10).await;
    assert_eq!((world.jobs().len(), world.statuses(&app).await[&Status::Scored]), (2, 4));
}

#[tokio::test]
async fn a_file_overwritten_while_it_is_copied_leaves_and_its_new_version_is_scored() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 3).await;
    let changing = world.clone();
    world.before_next_publish(|| async move {
        changing.change_inputs(|inputs, now| inputs.put(&url(0), "0x2", 1, false, now));
        changing.change_inputs(|inputs, now| inputs.put(&url(1), "0x2", 1, false, now));
        changing.change_inputs(|inputs, now| inputs.put(&url(2), "0x2", 1, false, now));
    });
    tick(&world, &app, Duration::minutes(6)).await;
    assert!(world.jobs().is_empty(), "no copy is of the version that was named");
    let newer = world.deliver(&app, &crate::support::world::event("eu/000.csv", "0x2")).await.remove(0);
    until_final(&world, &app, 20).await;
    assert_eq!(status(&world, &app, &ids[0]).await, Status::Superseded);
    assert_eq!(status(&world, &app, &newer).await, Status::Scored);
}

#[tokio::test]
async fn files_are_scored_and_split_from_their_copies_though_their_sources_are_deleted() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 8).await;
    world.fail_whatever_reads(&url(3));
    tick(&world, &app, Duration::minutes(6)).await;
    world.end_jobs(&lifecycle::JobStatus::Completed);
    tick(&world, &app, Duration::minutes(1)).await;
    let whole = app.ledger().get(&group_of(&world, &app, &ids[0]).await.id).await.unwrap().unwrap().0;
    assert_eq!(whole.status, Status::Failed, "the group failed, and its halves are not made yet");
    for n in 0..ids.len() {
        world.change_inputs(|inputs, now| inputs.delete(&url(n), now));
    }
    until_final(&world, &app, 30).await;
    assert_eq!(world.statuses(&app).await, [(Status::Scored, 7), (Status::Failed, 1)].into());
    assert_eq!(status(&world, &app, &ids[3]).await, Status::Failed);
}

#[tokio::test]
async fn a_file_that_the_storage_does_not_copy_goes_alone_and_says_what_the_storage_said() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 4).await;
    world.refuse_copies_of(&url(1));
    world.refuse_copies_of(&url(2));
    tick(&world, &app, Duration::minutes(6)).await;
    until_final(&world, &app, 20).await;
    assert_eq!((world.jobs().len(), world.statuses(&app).await[&Status::Scored]), (3, 4));
    for id in [&ids[1], &ids[2]] {
        let why = why_alone(&world, &app, id).await;
        assert!(why.contains("409 (CannotVerifyCopySource)"), "{why}");
        let entries = app.ledger().entries(&ScoringId::read(id).unwrap()).await.unwrap();
        assert!(
            entries.iter().any(|entry| entry.reason.contains("409 (CannotVerifyCopySource)")),
            "so does its history"
        );
    }
}

#[tokio::test]
async fn a_group_that_cannot_be_copied_waits_for_the_right_then_its_files_go_alone() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 2).await;
    world.refuse_copies_by(&url(0), RefusalKind::MayNotReadSource);
    world.refuse_copies_by(&url(1), RefusalKind::MayNotReadSource);
    tick(&world, &app, Duration::minutes(6)).await;
    let group = group_of(&world, &app, &ids[0]).await;
    assert_eq!(group.status, Status::Staging, "a role that was just given takes minutes to be in force");
    minutes(&world, &app, 10).await;
    assert!(world.jobs().is_empty());
    until_final(&world, &app, 40).await;
    assert_eq!(world.statuses(&app).await[&Status::Scored], 2);
    assert!(why_alone(&world, &app, &ids[0]).await.contains("403"));
}

#[tokio::test]
async fn what_no_right_helps_to_copy_goes_alone_at_once_though_nothing_else_was_copied() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 2).await;
    world.refuse_copies_of(&url(0));
    world.refuse_copies_of(&url(1));
    tick(&world, &app, Duration::minutes(6)).await;
    tick(&world, &app, Duration::minutes(1)).await;
    assert!(why_alone(&world, &app, &ids[0]).await.contains("409"));
    until_final(&world, &app, 10).await;
    assert_eq!((world.jobs().len(), world.statuses(&app).await), (2, [(Status::Scored, 2)].into()));
}

#[tokio::test]
async fn a_failed_file_that_is_retried_shares_its_job_with_no_new_file() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 3).await;
    for bad in [0, 1] {
        world.fail_whatever_reads(&url(bad));
    }
    until_final(&world, &app, 40).await;
    for id in &ids[..2] {
        assert_eq!(status(&world, &app, id).await, Status::Failed);
        order(&world, &app, id, Verb::Retry).await;
    }
    let new = upload(&world, &app, "eu/new.csv").await;
    tick(&world, &app, Duration::minutes(6)).await;
    let again = group_of(&world, &app, &ids[0]).await;
    let members: Vec<&str> = again.group().unwrap().members.iter().map(|member| member.id.as_str()).collect();
    assert!(members.len() == 2 && members.contains(&&*ids[1]), "those that are retried go together: {members:?}");
    assert_ne!(group_of(&world, &app, &new).await.id, again.id);
}

#[tokio::test]
async fn a_file_that_was_scored_in_a_group_is_scored_again_and_a_failed_one_retried() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 4).await;
    world.fail_whatever_reads(&url(0));
    until_final(&world, &app, 40).await;
    assert_eq!(status(&world, &app, &ids[0]).await, Status::Failed);
    let jobs = world.jobs().len();
    order(&world, &app, &ids[0], Verb::Retry).await;
    let scored = world.get(&app, &ids[1]).await;
    app::rescore(app.ledger(), &scored, "ann@contoso.com", "a new model", world.now()).await.unwrap();
    world.repair_file(&url(0));
    until_final(&world, &app, 40).await;
    assert_eq!(
        world.statuses(&app).await,
        [(Status::Scored, 5)].into(),
        "the first scoring of what is scored again stays"
    );
    assert_eq!(world.jobs().len(), jobs + 2, "what is retried has waited long enough, what is scored again is new");
}

/// The rule `claims`, which does not group any more.
pub(super) fn without_group() -> Rules {
    let rule =
        json!({"id": "claims", "match": {"container": "claims"}, "endpoint": {"uri": "https://heart.example/jobs"}});
    Rules::read(&json!({ "rules": [rule] }).to_string()).unwrap()
}

#[tokio::test]
async fn files_are_looked_for_in_the_output_though_their_rule_groups_no_more() {
    let grouping = World::with_rules(&by_time(100));
    let app = grouping.app();
    uploads(&grouping, &app, 3).await;
    tick(&grouping, &app, Duration::minutes(6)).await;
    grouping.name_no_file(&url(1));
    let mut world = grouping.clone();
    world.rules = without_group();
    let app = world.app();
    until_final(&world, &app, 20).await;
    assert_eq!((world.jobs().len(), world.statuses(&app).await[&Status::Scored]), (2, 3), "one is scored alone");
}

#[tokio::test]
async fn a_rule_that_groups_no_more_lets_what_waits_go_alone_and_open_groups_end() {
    let grouping = World::with_rules(&by_time(4));
    let app = grouping.app();
    let ids = uploads(&grouping, &app, 3).await;
    grouping.fail_whatever_reads(&url(1));
    tick(&grouping, &app, Duration::minutes(6)).await;
    grouping.end_jobs(&lifecycle::JobStatus::Completed);
    tick(&grouping, &app, Duration::minutes(1)).await;
    let waits = upload(&grouping, &app, "eu/later.csv").await;
    // Of the next group nobody writes the row.
    seal_no_group(&grouping);
    tick_with_errors(&grouping, &app, Duration::minutes(6)).await;
    grouping.store.heal();
    let left_behind = waits;
    let waits = upload(&grouping, &app, "eu/last.csv").await;
    assert_eq!(status(&grouping, &app, &left_behind).await, Status::Grouped);
    let mut world = grouping.clone();
    world.rules = without_group();
    let app = world.app();
    until_final(&world, &app, 40).await;
    assert_eq!(world.statuses(&app).await, [(Status::Scored, 4), (Status::Failed, 1)].into());
    assert_eq!(status(&world, &app, &ids[1]).await, Status::Failed, "its group was split all the same");
    for id in [&waits, &left_behind] {
        assert!(why_alone(&world, &app, id).await.contains("does not group any more"));
    }
}

#[tokio::test]
async fn files_for_different_endpoints_share_no_job_and_a_group_goes_where_they_would() {
    let before = World::with_rules(&by_time(100));
    let app = before.app();
    let old = uploads(&before, &app, 2).await;
    let mut world = before.clone();
    let rule = json!({
        "id": "claims", "match": {"container": "claims"}, "group": {"by": "time"}, "generation": 1,
        "endpoint": {"uri": "https://other.example/jobs", "deployment": "blue"},
    });
    world.rules = Rules::read(&json!({ "rules": [rule] }).to_string()).unwrap();
    let app = world.app();
    let new = [upload(&world, &app, "us/a.csv").await, upload(&world, &app, "us/b.csv").await];
    tick(&world, &app, Duration::minutes(6)).await;
    for ids in [&old[..], &new[..]] {
        let (member, group) = (world.get(&app, &ids[0]).await, group_of(&world, &app, &ids[0]).await);
        assert_eq!(group.group().unwrap().members.len(), 2);
        assert_eq!(
            (group.endpoint.as_str(), group.deployment.as_deref(), group.generation),
            (member.endpoint.as_str(), member.deployment.as_deref(), member.generation)
        );
    }
    let mut endpoints: Vec<_> = world.jobs().into_iter().map(|job| job.endpoint).collect();
    endpoints.sort();
    assert_eq!(endpoints, ["https://heart.example/jobs", "https://other.example/jobs"]);
}

#[tokio::test]
async fn a_file_on_hold_takes_no_place_in_a_group_and_an_uncopied_one_waits_for_nobody() {
    let world = World::with_rules(&by_time(3));
    let app = world.app();
    let ids = uploads(&world, &app, 4).await;
    order(&world, &app, &ids[0], Verb::Hold).await;
    world.refuse_copies_of(&url(1));
    tick(&world, &app, Duration::minutes(1)).await;
    assert_eq!(group_of(&world, &app, &ids[3]).await.group().unwrap().members.len(), 3, "the group is full without it");
    tick(&world, &app, Duration::minutes(2)).await;
    tick(&world, &app, Duration::minutes(2)).await;
    assert_eq!(world.jobs().len(), 2, "it runs alone beside the group, which has not ended");
    assert_eq!(world.statuses(&app).await[&Status::Grouped], 2, "the others hear nothing before it has");
    assert_eq!(status(&world, &app, &ids[0]).await, Status::Queued);
}

#[tokio::test]
async fn a_hundred_groups_whose_answers_are_lost_score_each_file_once() {
    let world = World::with_rules(&by_time(5));
    let app = world.app();
    // Some requests were carried out, some not, and some were carried out twice.
    world.next_faults((0..100).map(|n| match n % 4 {
        0 | 1 => Fault::LostAnswer { times: 1 },
        2 => Fault::LostRequest,
        _ => Fault::LostAnswer { times: 2 },
    }));
    let ids = uploads(&world, &app, 500).await;
    tick(&world, &app, Duration::minutes(1)).await;
    let unknown = world.statuses(&app).await;
    assert_eq!(unknown[&Status::Grouped], 500);
    assert_eq!(groups(&world, &app, &ids).await.iter().filter(|group| group.status == Status::Unknown).count(), 100);
    until_final(&world, &app, 60).await;
    assert_eq!(world.statuses(&app).await[&Status::Scored], 500);
    assert_eq!(sizes(&world, &app, &ids).await, [5; 100]);
    let mut jobs = BTreeSet::new();
    for group in groups(&world, &app, &ids).await {
        assert!(jobs.insert(group.job.unwrap().name), "two groups have one job");
    }
    // 75 of the first requests arrived, 25 of them made two jobs; 25 were sent again.
    assert_eq!((jobs.len(), world.jobs().len()), (100, 125));
}

/// The groups of these.
async fn groups(world: &World, app: &App, ids: &[String]) -> Vec<Scoring> {
    let mut groups = BTreeMap::new();
    for id in ids {
        let group = group_of(world, app, id).await;
        groups.insert(group.id.clone(), group);
    }
    groups.into_values().collect()
}
