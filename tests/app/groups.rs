//! Many small files in one job: who is in which group, what is copied, how members end, how a failed group is split.

use std::collections::{BTreeMap, BTreeSet};

use app::App;
use lifecycle::group::{Grouping, MemberState};
use lifecycle::{Order, Scoring, ScoringId, Status, Verb};
use serde_json::{Value, json};
use simulation::{End, Written};
use time::Duration;

use super::renames::tick;
use super::since;
use crate::support::world::{Fault, World, event};

pub(super) fn rules(group: &Value) -> String {
    let rule = json!({"id": "claims", "match": {"container": "claims"}, "endpoint": {"uri": "https://heart.example/jobs"}, "group": group});
    json!({ "rules": [rule] }).to_string()
}

pub(super) fn by_time(max_files: usize) -> String {
    rules(&json!({"by": "time", "maxFiles": max_files}))
}

pub(super) async fn upload(world: &World, app: &App, path: &str) -> String {
    world.deliver(app, &event(path, "0x1")).await.remove(0)
}

pub(super) async fn uploads(world: &World, app: &App, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..count {
        ids.push(upload(world, app, &format!("eu/{n:03}.csv")).await);
    }
    ids
}

/// The URL of one of [`uploads`].
pub(super) fn url(n: usize) -> String {
    format!("https://uploads.blob.core.windows.net/claims/eu/{n:03}.csv")
}

/// Some minutes, in which what runs completes, or fails where one of its files does.
pub(super) async fn minutes(world: &World, app: &App, times: usize) {
    for _ in 0..times {
        world.end_jobs(&lifecycle::JobStatus::Completed);
        tick(world, app, Duration::minutes(2)).await;
    }
}

pub(super) async fn until_final(world: &World, app: &App, max: usize) {
    for _ in 0..max {
        minutes(world, app, 1).await;
        if app.ledger().in_flight().await.unwrap().is_empty() {
            return;
        }
    }
    panic!("not settled: {:?}", app.ledger().in_flight().await.unwrap());
}

pub(super) async fn group_of(world: &World, app: &App, id: &str) -> Scoring {
    let member = world.get(app, id).await;
    let Some(Grouping::Member(group)) = member.grouping.as_deref() else { panic!("{:?}", member.grouping) };
    app.ledger().get(group).await.unwrap().unwrap().0
}

/// What the history of its group begins with.
pub(super) async fn why_made(world: &World, app: &App, id: &str) -> String {
    let group = group_of(world, app, id).await.id;
    app.ledger().entries(&group).await.unwrap()[0].reason.clone()
}

pub(super) async fn order(world: &World, app: &App, id: &str, verb: Verb) {
    let order = Order { verb, by: "ann@contoso.com".to_owned(), reason: "not wanted".to_owned() };
    app::order(app.ledger(), &ScoringId::read(id).unwrap(), &order, world.now()).await.unwrap();
}

/// Ids of the copies in a group's folder.
pub(super) fn copies(world: &World, group: &Scoring) -> BTreeSet<String> {
    let folder = format!("{}/", group.blob.url);
    world.publications(|all| {
        let names = all.all().filter_map(|(uri, _)| uri.strip_prefix(&folder));
        names.map(|name| name.split('.').next().unwrap().to_owned()).collect()
    })
}

#[tokio::test]
async fn files_that_wait_together_are_scored_by_one_job_over_their_copies() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 7).await;
    tick(&world, &app, Duration::minutes(1)).await;
    assert!(world.jobs().is_empty(), "they wait for others for five minutes");
    tick(&world, &app, Duration::minutes(5)).await;
    let group = group_of(&world, &app, &ids[0]).await;
    assert_eq!(copies(&world, &group), ids.iter().cloned().collect());
    let [job] = &world.jobs()[..] else { panic!("{:?}", world.jobs()) };
    let sent = serde_json::to_value(&job.submission).unwrap();
    let input = &sent["inputs"]["input_data"];
    assert_eq!(
        (&input["type"], input["uri"].as_str().unwrap()),
        (&json!("UriFolder"), &*format!("{}/", group.blob.url))
    );
    assert_eq!(sent["settings"]["errorThreshold"], json!(0));
    until_final(&world, &app, 10).await;
    assert_eq!(world.statuses(&app).await[&Status::Scored], 7);
    for id in &ids {
        let member = world.get(&app, id).await;
        assert_eq!(member.output_uri(), group_of(&world, &app, id).await.output_uri(), "the group's result is its own");
        assert_eq!(member.job.unwrap().name.as_str(), job.name);
    }
    assert_eq!(world.jobs().len(), 1);
    assert_eq!(world.complaints_of_durable_readers(&app).await, Vec::<String>::new());
    minutes(&world, &app, 12).await;
    assert!(copies(&world, &group).is_empty(), "nobody needs the copies any more");
}

#[tokio::test]
async fn a_full_group_goes_at_once_and_what_is_left_waits() {
    let world = World::with_rules(&by_time(3));
    let app = world.app();
    let ids = uploads(&world, &app, 7).await;
    tick(&world, &app, Duration::minutes(1)).await;
    assert_eq!(world.jobs().len(), 2);
    assert_eq!(world.statuses(&app).await[&Status::Queued], 1);
    until_final(&world, &app, 10).await;
    let mut reasons = BTreeSet::new();
    for id in &ids {
        reasons.insert(why_made(&world, &app, id).await);
    }
    let expected = [
        "a group of 1 member: the first of them has waited as long as it may (group.maxWait)",
        "a group of 3 members: it is full (group.maxFiles, group.maxBytes)",
    ];
    assert_eq!(reasons, expected.map(str::to_owned).into());
    assert_eq!((world.jobs().len(), world.statuses(&app).await[&Status::Scored]), (3, 7));
}

#[tokio::test]
async fn one_bad_file_of_a_hundred_stands_alone_after_fourteen_more_jobs() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 100).await;
    let bad = world.get(&app, &ids[37]).await;
    world.fail_whatever_reads(&bad.blob.url);
    until_final(&world, &app, 60).await;
    assert_eq!(world.statuses(&app).await, [(Status::Scored, 99), (Status::Failed, 1)].into());
    let half = group_of(&world, &app, &ids[37]).await;
    let shown = app::reports::detail(app.ledger(), half.clone()).await.unwrap().of_group.unwrap();
    let whole = half.group().unwrap().half_of.clone().unwrap();
    assert_eq!(shown.half_of, Some(whole.to_string()));
    let whole = app.ledger().get(&whole).await.unwrap().unwrap().0;
    let halves = app::reports::detail(app.ledger(), whole).await.unwrap().of_group.unwrap().halves;
    assert!(halves.len() == 2 && halves.contains(&half.id.to_string()), "{halves:?}");
    let bad = world.get(&app, &ids[37]).await;
    assert_eq!(bad.status, Status::Failed);
    assert!(bad.error.unwrap().contains("ValueError"));
    assert!(world.jobs().len() <= 15, "{} jobs", world.jobs().len());
}

#[tokio::test]
async fn ten_thousand_files_are_a_hundred_jobs_and_three_bad_ones_cost_fourteen_more_each() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 10_000).await;
    for bad in [3, 4_321, 9_998] {
        let bad = world.get(&app, &ids[bad]).await;
        world.fail_whatever_reads(&bad.blob.url);
    }
    let begun = world.store.calls();
    until_final(&world, &app, 60).await;
    let (reads, pages, writes) = since(begun, world.store.calls());
    assert_eq!(world.statuses(&app).await, [(Status::Scored, 9_997), (Status::Failed, 3)].into());
    let jobs = world.jobs().len();
    assert!((100 + 3..=100 + 3 * 14).contains(&jobs), "{jobs} jobs");
    println!("{jobs} jobs; after 10,000 files were taken in {reads} point reads, {pages} pages, {writes} writes");
    assert!(
        reads < 80_000 && writes < 90_000,
        "{reads} {writes}: with the projection a file takes about eight of each"
    );
}

#[tokio::test]
async fn two_groups_whose_halves_all_fail_stop_the_splitting_while_the_breaker_is_open() {
    let world = World::with_rules(&by_time(8));
    let app = world.app();
    let ids = uploads(&world, &app, 64).await;
    for id in &ids {
        let blob = world.get(&app, id).await.blob;
        world.fail_whatever_reads(&blob.url);
    }
    minutes(&world, &app, 6).await;
    let jobs = world.jobs().len();
    // All eight groups were sent at once; then the halves of those that failed before the second pair was known.
    assert!(jobs <= 8 + 16, "{jobs} jobs of a model that fails by everything, where all halves would be 120");
    let open = app.ledger().in_flight().await.unwrap();
    let halves = open.iter().filter(|row| row.is_group() && matches!(row.status, Status::Staging | Status::Queued));
    assert!(
        halves.count() <= 2 * 4,
        "of sixteen failed halves those are split that were looked at side by side with the second pair"
    );
    let waits = world.statuses(&app).await;
    assert!(waits.get(&Status::Grouped).is_some_and(|members| *members > 0), "{waits:?}");
    for id in &ids {
        let member = world.get(&app, id).await;
        if member.status == Status::Grouped && group_of(&world, &app, id).await.status == Status::Failed {
            let told = app::reports::explain(app.ledger(), id, world.now(), || ()).await.unwrap();
            let waits = told.verdicts[0].waits.clone().unwrap_or_default();
            assert!(waits.contains("once no circuit breaker of its deployment is open"), "{waits}");
            return;
        }
    }
    panic!("none is held back");
}

#[tokio::test]
async fn one_held_group_is_split_when_the_pause_is_over_and_the_others_wait_for_the_probe() {
    let world = World::with_rules(&by_time(8));
    let app = world.app();
    for id in &uploads(&world, &app, 64).await {
        world.fail_whatever_reads(&world.get(&app, id).await.blob.url);
    }
    minutes(&world, &app, 6).await;
    let halves = async || {
        let all = app.ledger().in_flight().await.unwrap();
        all.iter().filter(|row| row.is_group() && row.status != Status::Running).count()
    };
    // What was split side by side with the second pair has one half after the other as a probe.
    for _ in 0..60 {
        let before = halves().await;
        minutes(&world, &app, 1).await;
        assert!(halves().await <= before + 2, "{before} halves waited, and {} do", halves().await);
    }
    assert!(world.jobs().len() <= 8 + 16 + 60, "{}", world.jobs().len());
}

#[tokio::test]
async fn a_member_names_its_group_and_a_group_its_members_and_halves() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 2).await;
    tick(&world, &app, Duration::minutes(6)).await;
    let group = group_of(&world, &app, &ids[0]).await;
    let shown = async |id: &str| {
        let scoring = world.get(&app, id).await;
        app::reports::detail(app.ledger(), scoring).await.unwrap().scoring
    };
    assert_eq!(shown(&ids[0]).await.group, Some(group.id.to_string()));
    let whole = shown(group.id.as_str()).await;
    assert_eq!((whole.members, whole.status), (Some(2), "running"));
    let detail = app::reports::detail(app.ledger(), group).await.unwrap();
    let members = detail.of_group.unwrap().group_members;
    let told: Vec<_> = members.iter().map(|member| (&*member.id, member.state)).collect();
    assert_eq!(told, [(&*ids[0], "copied"), (&*ids[1], "copied")]);
}

#[tokio::test]
async fn a_file_changed_before_its_copy_leaves_the_group_and_later_changes_do_not_matter() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 3).await;
    world.change_inputs(|inputs, now| inputs.put(&url(0), "0x2", 1, false, now));
    tick(&world, &app, Duration::minutes(6)).await;
    let group = group_of(&world, &app, &ids[1]).await;
    assert_eq!(copies(&world, &group), ids[1..].iter().cloned().collect());
    assert_eq!(group.group().unwrap().members.len(), 2, "who was found changed before it joined is not a member");
    world.change_inputs(|inputs, now| inputs.put(&url(1), "0x2", 1, false, now));
    until_final(&world, &app, 20).await;
    let status = async |n: usize| world.get(&app, &ids[n]).await.status;
    assert_eq!(
        (status(0).await, status(1).await, status(2).await),
        (Status::Superseded, Status::Scored, Status::Scored)
    );
}

#[tokio::test]
async fn a_member_that_the_output_does_not_name_is_scored_alone() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 3).await;
    tick(&world, &app, Duration::minutes(6)).await;
    world.name_no_file(&url(1));
    until_final(&world, &app, 20).await;
    assert_eq!(world.statuses(&app).await[&Status::Scored], 3);
    let alone = world.get(&app, &ids[1]).await;
    assert!(matches!(alone.grouping.as_deref(), Some(Grouping::Alone(why)) if why.contains("does not name it")));
    assert_eq!(world.jobs().len(), 2);
}

#[tokio::test]
async fn names_are_asked_for_in_an_output_that_is_there_and_in_no_other() {
    for (written, names) in [(Written::Absent, 0), (Written::Empty, 0), (Written::Good(Duration::ZERO), 1)] {
        let world = World::with_rules(&by_time(100));
        let app = world.app();
        uploads(&world, &app, 2).await;
        tick(&world, &app, Duration::minutes(6)).await;
        world.end_job_as(&world.jobs()[0].name, End::Completed(written.clone()));
        world.take_asked();
        tick(&world, &app, Duration::minutes(2)).await;
        let asked = world.take_asked();
        let calls = |name: &str| asked.iter().filter(|(call, _)| *call == name).count();
        assert!(calls("outputs") > 0 && calls("named_in_outputs") == names, "{written:?}: {asked:?}");
    }
}

#[tokio::test]
async fn an_output_without_any_name_fails_the_group_and_says_what_helps() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 3).await;
    tick(&world, &app, Duration::minutes(6)).await;
    for n in 0..ids.len() {
        world.name_no_file(&url(n));
    }
    until_final(&world, &app, 20).await;
    assert_eq!(world.statuses(&app).await[&Status::Failed], 3);
    assert!(world.get(&app, &ids[0]).await.error.unwrap().contains("`group.verifyMembers` of the rule to `off`"));
    assert_eq!(world.jobs().len(), 1, "halves would name nothing either");
}

#[tokio::test]
async fn a_cancelled_member_ends_alone_and_the_job_stops_with_the_last_of_them() {
    let world = World::with_rules(&by_time(100));
    let app = world.app();
    let ids = uploads(&world, &app, 2).await;
    tick(&world, &app, Duration::minutes(6)).await;
    order(&world, &app, &ids[0], Verb::Cancel).await;
    tick(&world, &app, Duration::minutes(2)).await;
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Cancelled);
    let group = group_of(&world, &app, &ids[1]).await;
    assert_eq!(group.status, Status::Running);
    order(&world, &app, &ids[1], Verb::Cancel).await;
    tick(&world, &app, Duration::minutes(2)).await;
    let group = app.ledger().get(&group.id).await.unwrap().unwrap().0;
    assert_eq!(group.status, Status::Cancelling);
    until_final(&world, &app, 20).await;
    assert_eq!(world.statuses(&app).await[&Status::Cancelled], 2);
}

#[tokio::test]
async fn a_lost_answer_of_a_group_is_looked_for_and_no_file_is_scored_twice() {
    let world = World::with_rules(&by_time(5));
    let app = world.app();
    world.next_faults([Fault::LostAnswer { times: 1 }, Fault::LostRequest]);
    let ids = uploads(&world, &app, 10).await;
    until_final(&world, &app, 40).await;
    assert_eq!(world.statuses(&app).await[&Status::Scored], 10);
    assert_eq!(world.jobs().len(), 2);
    let groups: BTreeMap<_, _> = {
        let mut all = BTreeMap::<String, usize>::new();
        for id in &ids {
            *all.entry(group_of(&world, &app, id).await.id.to_string()).or_default() += 1;
        }
        all
    };
    assert_eq!(groups.values().copied().collect::<Vec<_>>(), [5, 5]);
}

#[tokio::test]
async fn two_processes_that_group_at_one_time_put_each_file_into_one_group() {
    let world = World::with_rules(&by_time(100));
    let (one, other) = (world.app(), world.app());
    let ids = uploads(&world, &one, 20).await;
    world.later(Duration::minutes(6));
    let deadline = world.now() + Duration::minutes(5);
    let (a, b) = tokio::join!(one.tick(deadline), other.tick(deadline));
    a.unwrap();
    b.unwrap();
    until_final(&world, &one, 20).await;
    assert_eq!(world.statuses(&one).await[&Status::Scored], 20);
    let mut scored = BTreeSet::new();
    for job in world.jobs() {
        let sent = serde_json::to_value(&job.submission).unwrap();
        assert!(scored.insert(sent["inputs"]["input_data"]["uri"].as_str().unwrap().to_owned()));
    }
    for id in &ids {
        let group = group_of(&world, &one, id).await;
        assert_eq!(group.group().unwrap().state_of(&ScoringId::read(id).unwrap()), Some(MemberState::Named));
    }
}

#[tokio::test]
async fn a_run_over_a_group_whose_job_goes_on_reads_as_much_for_one_file_as_for_nine() {
    let reads = async |files: usize| {
        let world = World::with_rules(&by_time(100));
        let app = world.app();
        uploads(&world, &app, files).await;
        tick(&world, &app, Duration::minutes(6)).await;
        tick(&world, &app, Duration::minutes(4)).await;
        let before = world.store.calls();
        tick(&world, &app, Duration::minutes(4)).await;
        since(before, world.store.calls()).0
    };
    assert_eq!(reads(1).await, reads(9).await);
}
