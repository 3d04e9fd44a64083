//! Two installations with the same rules, on the same containers and one endpoint: only their ledgers differ.

use app::ports::table_store::TableStore;
use lifecycle::{JobStatus, LedgerId, Status};
use stores::faulty::Fault as TableFault;
use time::Duration;

use crate::support::world::{Fault, World, event};

/// Ticks both until both ledgers have nothing in flight.
async fn settle(worlds: [(&World, &app::App); 2]) {
    for _ in 0..20 {
        let (first, _) = worlds[0];
        first.later(Duration::minutes(11));
        first.end_jobs(&JobStatus::Completed);
        let mut in_flight = 0;
        for (world, app) in worlds {
            app.tick(world.now() + Duration::minutes(5)).await.unwrap();
            in_flight += app.ledger().in_flight().await.unwrap().len();
        }
        if in_flight == 0 {
            return;
        }
    }
    panic!("not settled");
}

#[tokio::test]
async fn whatever_answer_is_lost_no_job_of_another_installation_is_touched() {
    let lost = || [Fault::Pass, Fault::LostRequest, Fault::LostAnswer { times: 1 }];
    for (first_fault, second_fault) in lost().into_iter().flat_map(|first| lost().map(|second| (first.clone(), second)))
    {
        for keeps_tags in [false, true] {
            let case = format!("{first_fault:?}, {second_fault:?}, tags kept: {keeps_tags}");
            let ours = World::new();
            ours.scan_every(Duration::minutes(10));
            ours.keep_tags(keeps_tags);
            let theirs = ours.second_installation();
            let (our_app, their_app) = (ours.app(), theirs.app());
            ours.next_faults([first_fault.clone(), second_fault.clone()]);
            let upload = event("a.csv", "1");
            let our_id = ours.deliver(&our_app, &upload).await.remove(0);
            let their_id = theirs.deliver(&their_app, &upload).await.remove(0);
            assert_ne!(our_id, their_id);
            settle([(&ours, &our_app), (&theirs, &their_app)]).await;

            let (our, their) = (ours.get(&our_app, &our_id).await, theirs.get(&their_app, &their_id).await);
            for scoring in [&our, &their] {
                assert_eq!((scoring.status, scoring.orphaned_job_count), (Status::Scored, 0), "{case}: {scoring:?}");
            }
            assert_ne!(our.job.as_ref().unwrap().name, their.job.as_ref().unwrap().name, "{case}");
            assert_ne!(our.output_uri(), their.output_uri(), "{case}");
            assert_ne!(our.id.request_id(our.attempt), their.id.request_id(their.attempt), "{case}");
            let jobs: Vec<_> = ours.jobs().into_iter().map(|job| job.status).collect();
            assert_eq!(jobs, [JobStatus::Completed, JobStatus::Completed], "{case}: one each, and none told to stop");
        }
    }
}

/// Takes the upload in, in a process that dies once its intent is on record: before its request is sent, or before it hears
/// that the endpoint made a job.
async fn taken_in_by_one_that_dies(world: &World, is_sent: bool) -> String {
    let (accepted, submissions) = world.app().accept(&event("a.csv", "1")).await.unwrap().into_parts();
    if is_sent {
        let held = world.hold_next_post();
        let sending = tokio::spawn(submissions.send());
        held.waits.notified().await;
        sending.abort();
        assert!(sending.await.unwrap_err().is_cancelled());
    }
    accepted.accepted[0].id.clone()
}

#[tokio::test]
async fn whichever_process_dies_no_job_of_another_installation_is_touched() {
    for (first_sent, second_sent) in [(true, true), (true, false), (false, true), (false, false)] {
        for omits in [false, true] {
            let case = format!("requests sent: {first_sent}, {second_sent}; outputs and tags omitted: {omits}");
            let ours = World::new();
            ours.scan_every(Duration::minutes(10));
            ours.keep_tags(!omits);
            ours.omit_outputs(omits);
            let theirs = ours.second_installation();
            let our_id = taken_in_by_one_that_dies(&ours, first_sent).await;
            let their_id = taken_in_by_one_that_dies(&theirs, second_sent).await;
            let (our_app, their_app) = (ours.app(), theirs.app());
            settle([(&ours, &our_app), (&theirs, &their_app)]).await;

            for scoring in [ours.get(&our_app, &our_id).await, theirs.get(&their_app, &their_id).await] {
                assert_eq!((scoring.status, scoring.orphaned_job_count), (Status::Scored, 0), "{case}: {scoring:?}");
            }
            let jobs: Vec<_> = ours.jobs().into_iter().map(|job| job.status).collect();
            assert_eq!(jobs, [JobStatus::Completed, JobStatus::Completed], "{case}: one each, and none told to stop");
        }
    }
}

#[tokio::test]
async fn a_ledger_is_called_once_and_each_process_reads_that_once() {
    let world = World::new();
    let first = world.app();
    assert_eq!(first.ledger().id().await.unwrap(), &world.ledger_id);
    // Another process would call it something else.
    let mut other = world.clone();
    other.ledger_id = LedgerId::of_random([9; 16]);
    let before = world.store.calls();
    let second = other.app();
    for _ in 0..3 {
        assert_eq!(second.ledger().id().await.unwrap(), &world.ledger_id);
        world.deliver(&second, &event("a.csv", "1")).await;
    }
    assert_eq!(world.store.calls().reads - before.reads, 1 + 2, "the id, and the two repetitions");
    assert_eq!(world.deliver(&first, &event("a.csv", "1")).await, Vec::<String>::new(), "one scoring for both");
}

#[tokio::test]
async fn a_lost_answer_to_the_writing_of_the_id_leaves_one_id_or_takes_nothing_in() {
    for fault in [TableFault::LostAnswer { times: 1 }, TableFault::LostRequest, TableFault::Duplicated { times: 2 }] {
        let world = World::new();
        let mut other = world.clone();
        other.ledger_id = LedgerId::of_random([9; 16]);
        world.store.create_table(&world.table("State")).await.unwrap();
        world.store.push(fault.clone());
        let taken = world.app().accept(&event("a.csv", "1")).await.is_ok();
        let there = world.app().ledger().id().await.unwrap().clone();
        assert_eq!(other.app().ledger().id().await.unwrap(), &there, "{fault:?}");
        assert_eq!(taken, fault != TableFault::LostRequest, "{fault:?}");
    }
}
