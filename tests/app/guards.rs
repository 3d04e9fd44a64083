//! Guards of the ledger and the tick, one test each: without the guard its test fails.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use app::App;
use app::ledger::{Recorded, RecordedEvent, SLOT_EXPIRY, count_by_status, rows};
use app::ports::table_store::{Entity, Key, Op, Range, TableName, TableStore};
use futures::FutureExt as _;
use lifecycle::duration::IsoDuration;
use lifecycle::intake::QuarantinedEvent;
use lifecycle::{Observation, Scoring, ScoringId, Status, Step, decide};
use stores::faulty::Fault;
use stores::memory::MemoryStore;
use time::{Duration, OffsetDateTime};

use super::{cap, claims, since, state_rows};
use crate::support::world::{RULE, UNVERIFIED, World, event};

const ONE_SLOT: &str = r#"{"rules":[{"id":"claims","match":{"container":"claims"},
    "endpoint":{"uri":"https://heart.example/jobs"},"maxInFlight":1}]}"#;

fn id(text: &str) -> ScoringId {
    ScoringId::read(text).unwrap()
}

fn table(name: &str) -> TableName {
    TableName::read(name).unwrap()
}

fn soon(world: &World) -> OffsetDateTime {
    world.now() + Duration::minutes(5)
}

/// A scoring that was refused once and waits, its back-off over.
async fn waiting(world: &World, app: &App) -> ScoringId {
    world.next_faults([Fault::Refused { permanent: false }]);
    let ids = world.deliver(app, &event("a.csv", "1")).await;
    world.later(Duration::minutes(1));
    id(&ids[0])
}

async fn a_slot_is_free(world: &World, app: &App) -> bool {
    let ghost = id(&"f".repeat(32));
    app.ledger().claim_slot(&claims(), cap(1), &ghost, 1, world.now()).await.unwrap().is_some()
}

#[tokio::test]
async fn an_acceptance_whose_answer_was_lost_is_known_as_ours_and_submitted_at_once() {
    let world = World::new();
    let app = world.app();
    world.deliver(&app, &event("warm-up.csv", "1")).await;
    world.store.push(Fault::LostAnswer { times: 1 });
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    assert_eq!((ids.len(), world.jobs().len()), (1, 2));
}

#[tokio::test]
async fn a_move_whose_answer_was_lost_is_known_as_ours_and_driven_on() {
    let world = World::new();
    let app = world.app();
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    world.later(Duration::minutes(2));
    world.end_jobs(&lifecycle::JobStatus::Completed);
    world.store.push(Fault::LostAnswer { times: 1 });
    app.tick(soon(&world)).await.unwrap();
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Scored, "in the tick that saw the job complete");
}

/// A 500 or a reset: nobody knows whether it was done, and it was not, or comes later than whoever sent it looks.
#[tokio::test]
async fn a_write_that_was_not_done_is_sent_again_within_the_invocation_and_done_once() {
    for fault in [Fault::LostRequest, Fault::Delayed(Duration::SECOND)] {
        let world = World::new();
        let app = world.app();
        world.deliver(&app, &event("warm-up.csv", "1")).await;
        world.store.push(fault.clone());
        let ids = world.deliver(&app, &event("a.csv", "1")).await;
        assert_eq!((ids.len(), world.jobs().len()), (1, 2), "{fault:?}: taken in and sent");
        world.later(Duration::minutes(2));
        world.end_jobs(&lifecycle::JobStatus::Completed);
        world.store.push(fault.clone());
        app.tick(soon(&world)).await.unwrap();
        for id in &ids {
            assert_eq!(world.get(&app, id).await.status, Status::Scored, "{fault:?}: moved in the tick that saw it");
        }
        assert_eq!(world.jobs().len(), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn an_event_that_was_not_written_twice_is_refused_so_that_it_comes_again() {
    let world = World::new();
    let app = world.app();
    world.deliver(&app, &event("warm-up.csv", "1")).await;
    world.store.push(Fault::LostRequest);
    world.store.push(Fault::LostRequest);
    assert!(app.accept(&event("a.csv", "1")).await.is_err());
    assert_eq!(world.deliver(&app, &event("a.csv", "1")).await.len(), 1);
}

#[tokio::test]
async fn of_two_moves_from_one_version_the_second_is_lost_and_changes_nothing() {
    let world = World::with_rules(UNVERIFIED);
    let app = world.app();
    let id = waiting(&world, &app).await;
    let (scoring, etag) = app.ledger().get(&id).await.unwrap().unwrap();
    let Step::Move { next, entry, .. } =
        decide(&scoring, world.rules.get("claims"), &Observation::SlotFree, world.now())
    else {
        panic!("a slot is free")
    };
    assert!(matches!(app.ledger().record(&scoring, &etag, &next, &entry).await.unwrap(), Recorded::Done(_)));
    let other = Scoring { version: next.version + 1, submits: 7, ..*next.clone() };
    let entry = lifecycle::Entry { seq: other.version, ..entry };
    assert_eq!(app.ledger().record(&scoring, &etag, &other, &entry).await.unwrap(), Recorded::Lost);
    assert_eq!(app.ledger().get(&id).await.unwrap().unwrap().0, *next);
}

#[tokio::test]
async fn history_is_bounded_and_its_end_is_always_written() {
    let world = World::with_rules(UNVERIFIED);
    let app = world.app();
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    let (mut scoring, mut etag) = app.ledger().get(&id(&ids[0])).await.unwrap().unwrap();
    let rule = world.rules.get("claims");
    let mut last = world.now();
    for n in 0..rows::MAX_HISTORY_ENTRIES + 20 {
        last = world.now() + Duration::seconds(n);
        let status = lifecycle::JobStatus::read(&format!("Word{n}"));
        let seen = Observation::Job(lifecycle::JobSnapshot { status, error: None, studio: None });
        let Step::Move { next, entry, .. } = decide(&scoring, rule, &seen, last) else { panic!("a new word") };
        let recorded = app.ledger().record(&scoring, &etag, &next, &entry).await.unwrap();
        let Recorded::Done(new) = recorded else { panic!("ours") };
        (scoring, etag) = (*next, new);
    }
    let full = usize::try_from(rows::MAX_HISTORY_ENTRIES).unwrap();
    let completed = lifecycle::JobSnapshot { status: lifecycle::JobStatus::Completed, error: None, studio: None };
    let output =
        lifecycle::OutputSnapshot::Present { bytes: 1, modified: last, print: lifecycle::OutputPrint::of([("", "1")]) };
    for (seen, status, lines) in [
        (Observation::Job(completed), Status::Verifying, full),
        (Observation::output(output), Status::Scored, full + 1),
    ] {
        let Step::Move { next, entry, .. } = decide(&scoring, rule, &seen, last) else { panic!("it goes on") };
        let recorded = app.ledger().record(&scoring, &etag, &next, &entry).await.unwrap();
        let Recorded::Done(new) = recorded else { panic!("ours") };
        (scoring, etag) = (*next, new);
        assert_eq!((scoring.status, app.ledger().entries(&scoring.id).await.unwrap().len()), (status, lines));
    }
    assert_eq!(app.ledger().entries(&scoring.id).await.unwrap().last().unwrap().to, Status::Scored);
}

#[tokio::test]
async fn a_list_has_so_many_rows_and_reads_no_page_that_it_does_not_need() {
    let world = World::on(Arc::new(MemoryStore::with_pages(2, false)), RULE);
    let ledger = world.app().ledger().clone();
    for n in 0..9 {
        let bad = QuarantinedEvent {
            key: format!("a{n:031}"),
            reason: "no JSON".into(),
            received: String::new(),
            whole: true,
        };
        ledger.quarantine(&bad, world.now()).await.unwrap();
    }
    // All of them lie in one shard; each of the others costs the page that shows it to be empty.
    for (max, rows, pages) in [(4, 4, 2 + 2), (5, 5, 2 + 3), (9, 9, 2 + 5), (100, 9, 2 + 5)] {
        let before = world.store.calls().pages;
        assert_eq!(ledger.recorded_events(RecordedEvent::Quarantined, world.now(), max).await.unwrap().len(), rows);
        assert_eq!(world.store.calls().pages - before, pages, "{max}");
    }
    let later = world.now() + Duration::days(1);
    assert!(ledger.recorded_events(RecordedEvent::Quarantined, later, 100).await.unwrap().is_empty());
    assert!(ledger.recorded_events(RecordedEvent::Skipped, world.now(), 100).await.unwrap().is_empty());
}

#[test]
fn statuses_are_counted_in_the_order_of_a_life() {
    let counts = count_by_status([Status::Running, Status::Scored, Status::Running]);
    assert_eq!(counts.iter().map(|(status, _)| *status).collect::<Vec<_>>(), Status::ALL);
    let some: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(some, [(Status::Running, 2), (Status::Scored, 1)]);
}

#[tokio::test]
async fn a_note_whose_write_was_lost_is_written_again() {
    let world = World::new();
    let app = world.app();
    world.deliver(&app, &event("warm-up.csv", "1")).await;
    world.store.push(Fault::LostRequest);
    let bad = QuarantinedEvent { key: "a".repeat(32), reason: "no JSON".into(), received: String::new(), whole: true };
    app.ledger().quarantine(&bad, world.now()).await.unwrap();
    assert_eq!(state_rows(&world, "Q~").await.len(), 1);
}

#[tokio::test]
async fn a_repetition_gives_its_slot_back() {
    let world = World::with_rules(ONE_SLOT);
    let app = world.app();
    world.deliver(&app, &event("a.csv", "1")).await;
    world.tick_until_final(&app, 5).await;
    assert!(world.deliver(&app, &event("a.csv", "1")).await.is_empty());
    assert!(a_slot_is_free(&world, &app).await);
}

#[tokio::test]
async fn an_event_that_is_kept_in_part_only_is_an_error_and_takes_no_slot() {
    let world = World::with_rules(ONE_SLOT);
    let app = world.app();
    let refused = app.accept(&event("a.csv", &"e".repeat(33_000))).await.err().unwrap();
    assert!(matches!(refused, app::Error::NotKeptWhole { .. }), "{refused}");
    assert_eq!(state_rows(&world, "Q~").await.len(), 1);
    assert!(a_slot_is_free(&world, &app).await);
}

#[tokio::test]
async fn a_scoring_that_the_ledger_refuses_is_quarantined_and_gives_its_slot_back() {
    let world = World::with_rules(ONE_SLOT);
    let app = world.app();
    // However it stands there: queued to be sent, and failed for that it cannot be.
    world.store.rule(|_, ops| {
        let taken_in = ops.iter().any(|op| matches!(op, Op::Insert(row) if row.key.row.starts_with("J~")));
        taken_in.then_some(Fault::Refused { permanent: true })
    });
    let (accepted, intents) = app.accept(&event("a.csv", "1")).await.unwrap().into_parts();
    assert_eq!((accepted.quarantined, intents.len()), (1, 0));
    assert!(a_slot_is_free(&world, &app).await);
}

#[tokio::test]
async fn who_loses_a_scoring_gives_back_the_slot_that_it_brought_and_no_other() {
    for shared in [false, true] {
        let world = World::with_rules(ONE_SLOT);
        let app = world.app();
        let id = waiting(&world, &app).await;
        if shared {
            // The other driver, which wins, has claimed a slot for the scoring already.
            app.ledger().claim_slot(&claims(), cap(1), &id, 3, world.now()).await.unwrap().unwrap();
        }
        world.store.push(Fault::Pass);
        world.store.push(Fault::Conflict);
        assert_eq!(app.reconcile(&id).await.unwrap(), Some(Status::Queued));
        assert_eq!(a_slot_is_free(&world, &app).await, !shared);
    }
}

#[tokio::test]
async fn of_two_slots_of_one_scoring_one_is_freed() {
    let world = World::with_rules(ONE_SLOT);
    let ledger = world.app().ledger().clone();
    let owner = id(&"a".repeat(32));
    assert!(ledger.claim_slot(&claims(), cap(1), &owner, 1, world.now()).await.unwrap().unwrap().fresh);
    assert!(ledger.claim_slot(&claims(), cap(50), &owner, 1, world.now()).await.unwrap().unwrap().fresh);
    world.later(SLOT_EXPIRY);
    let holders = BTreeSet::from([owner]);
    assert_eq!(ledger.reconcile_slots(&claims(), 1, &holders, world.now(), || world.now()).await.unwrap().freed, 1);
    assert_eq!(ledger.reconcile_slots(&claims(), 1, &holders, world.now(), || world.now()).await.unwrap().freed, 0);
}

#[tokio::test]
async fn after_the_limit_was_lowered_nothing_is_claimed_until_enough_have_ended() {
    let world = World::with_rules(ONE_SLOT);
    let ledger = world.app().ledger().clone();
    let now = world.now();
    // One has number 30 (0xaaaaaaaa modulo 50) from before, one has number 0; number 1 is free and stays so.
    ledger.claim_slot(&claims(), cap(50), &id(&"a".repeat(32)), 1, now).await.unwrap().unwrap();
    ledger.claim_slot(&claims(), cap(1), &id(&"b".repeat(32)), 1, now).await.unwrap().unwrap();
    assert_eq!(ledger.claim_slot(&claims(), cap(2), &id(&"c".repeat(32)), 1, now).await.unwrap(), None);
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_ours_only_if_the_slot_says_so() {
    let world = World::with_rules(ONE_SLOT);
    let ledger = world.app().ledger().clone();
    let (one, two) = (id(&"a".repeat(32)), id(&"b".repeat(32)));
    ledger.claim_slot(&claims(), cap(1), &one, 1, world.now()).await.unwrap().unwrap();
    world.store.push(Fault::LostRequest);
    assert_eq!(ledger.claim_slot(&claims(), cap(1), &two, 1, world.now()).await.unwrap(), None);
}

#[tokio::test]
async fn a_late_repetition_does_not_make_a_slot_older() {
    let world = World::with_rules(ONE_SLOT);
    let ledger = world.app().ledger().clone();
    let owner = id(&"a".repeat(32));
    for version in [5, 1] {
        ledger.claim_slot(&claims(), cap(1), &owner, version, world.now()).await.unwrap().unwrap();
    }
    ledger.free_slot_of(&claims(), &owner, 5).await.unwrap();
    assert_eq!(ledger.claim_slot(&claims(), cap(1), &id(&"b".repeat(32)), 1, world.now()).await.unwrap(), None);
}

#[tokio::test]
async fn a_back_off_costs_no_claim_and_no_work_in_a_tick() {
    let world = World::with_rules(ONE_SLOT);
    let app = world.app();
    world.next_faults([Fault::Refused { permanent: false }]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    app.tick(soon(&world)).await.unwrap();
    let before = world.store.calls();
    assert_eq!(app.reconcile(&id(&ids[0])).await.unwrap(), Some(Status::Queued));
    assert_eq!(since(before, world.store.calls()), (1, 0, 0));
    assert_eq!(app.tick(soon(&world)).await.unwrap().due, 0);
}

#[tokio::test]
async fn a_lease_and_a_lookup_interval_cost_no_work_in_a_tick() {
    let world = World::new();
    let app = world.app();
    let (_, intents) = app.accept(&event("a.csv", "1")).await.unwrap().into_parts();
    assert_eq!(app.tick(soon(&world)).await.unwrap().due, 0, "its owner holds the lease");
    world.next_faults([Fault::LostRequest]);
    intents.send().await;
    world.later(Duration::seconds(10));
    assert_eq!(world.app().tick(soon(&world)).await.unwrap().due, 0, "lookupInterval is not over");
    world.later(Duration::seconds(30));
    assert_eq!(app.tick(soon(&world)).await.unwrap().due, 1);
    world.later(Duration::seconds(1));
    assert_eq!(app.tick(soon(&world)).await.unwrap().due, 0, "it was looked for a second ago");
}

#[tokio::test]
async fn a_job_that_is_found_again_with_its_old_word_is_no_longer_missing() {
    let world = World::new();
    let app = world.app();
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    for (hidden, missing) in [(false, false), (true, true), (false, false)] {
        world.later(Duration::minutes(2));
        world.hide_jobs(hidden);
        app.tick(soon(&world)).await.unwrap();
        assert_eq!(world.get(&app, &ids[0]).await.missing_since.is_some(), missing);
    }
}

#[tokio::test]
async fn a_job_that_never_changes_is_stopped_after_its_time() {
    let world = World::new();
    let app = world.app();
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    world.later(Duration::minutes(2));
    app.tick(soon(&world)).await.unwrap();
    world.later(Duration::days(7));
    app.tick(soon(&world)).await.unwrap();
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Cancelling);
}

#[tokio::test]
async fn a_running_job_has_the_time_that_its_rule_gives_now() {
    let mut world = World::new();
    let app = world.app();
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    world.later(Duration::minutes(2));
    app.tick(soon(&world)).await.unwrap();
    let rules = serde_json::from_str::<serde_json::Value>(RULE).unwrap();
    let with = |time: &str| {
        let mut rules = rules.clone();
        rules["rules"][0]["jobTimeout"] = time.into();
        lifecycle::Rules::read(&rules.to_string()).unwrap()
    };
    world.later(Duration::hours(2));
    for (time, status) in [("PT3H", Status::Running), ("PT1H", Status::Cancelling)] {
        world.rules = with(time);
        let app = world.app();
        app.tick(soon(&world)).await.unwrap();
        assert_eq!(world.get(&app, &ids[0]).await.status, status, "{time}");
    }
}

#[tokio::test]
async fn what_has_no_rule_any_more_is_left_alone_by_the_tick() {
    let store = Arc::new(MemoryStore::new());
    let before = World::on(store.clone(), RULE);
    waiting(&before, &before.app()).await;
    let after = World::on(store, &RULE.replace("\"id\":\"claims\"", "\"id\":\"renamed\""));
    after.later(Duration::minutes(10));
    let report = after.app().tick(soon(&after)).await.unwrap();
    assert_eq!((report.in_flight, report.due, report.errors), (1, 0, 0));
}

#[tokio::test]
async fn a_rule_without_room_is_asked_for_once_and_not_for_each_of_its_scorings() {
    let world = World::with_rules(ONE_SLOT);
    let app = world.app();
    for n in 0..30 {
        world.deliver(&app, &event(&format!("{n}.csv"), "1")).await;
    }
    let report = app.tick(soon(&world)).await.unwrap();
    assert!(report.in_flight == 30 && report.due < 20, "{report:?}");
}

#[tokio::test]
async fn a_tick_whose_time_is_over_submits_and_projects_nothing() {
    let world = World::new();
    let app = world.app();
    let id = waiting(&world, &app).await;
    let report = app.tick(world.now()).await.unwrap();
    assert_eq!((report.complete, report.due, report.projected), (false, 0, 0));
    assert_eq!(world.get(&app, id.as_str()).await.status, Status::Queued);
    assert_eq!(state_rows(&world, "P~").await.len(), 1);
}

/// Another projector has read the scoring later, and was faster: in either table what it wrote stays.
#[tokio::test]
async fn a_projection_never_goes_back_to_an_older_version() {
    for (table_name, row) in [("TestInstances", ""), ("TestHistory", "sentinel")] {
        let world = World::new();
        let app = world.app();
        let id = waiting(&world, &app).await;
        let name = table(table_name);
        world.store.create_table(&name).await.unwrap();
        let newer = Entity::new(Key::new(id.as_str(), row)).with("StateVersion", 99);
        world.store.write(&name, &[Op::Insert(newer.clone())]).await.unwrap();
        assert_eq!(app.tick(soon(&world)).await.unwrap().projected, 1);
        let range = Range { partition: id.to_string(), from: String::new(), below: "~".to_owned() };
        let left = world.store.page(&name, &range, None).await.unwrap().rows;
        assert_eq!(left.into_iter().map(|row| row.entity).collect::<Vec<_>>(), [newer], "{table_name}");
    }
}

#[tokio::test]
async fn a_move_during_its_projection_stays_in_the_outbox() {
    let inner = Arc::new(MemoryStore::new());
    let world = World::on(inner.clone(), RULE);
    let app = world.app();
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    let outbox = Entity::new(rows::outbox_key(&id(&ids[0])));
    world.store.rule(move |to, _| {
        if to.as_str() == "TestInstances" {
            let write = [Op::Upsert(outbox.clone())];
            inner.write(&table("TestState"), &write).now_or_never().unwrap().unwrap();
        }
        None
    });
    app.tick(soon(&world)).await.unwrap();
    assert_eq!(state_rows(&world, "P~").await.len(), 1);
    world.store.heal();
    app.tick(soon(&world)).await.unwrap();
    assert!(state_rows(&world, "P~").await.is_empty());
}

#[tokio::test]
async fn a_projection_whose_write_was_lost_is_written_again() {
    for (into, times) in [("TestInstances", 1), ("TestHistory", 1)] {
        let world = World::new();
        let app = world.app();
        let ids = world.deliver(&app, &event("a.csv", "1")).await;
        app.tick(soon(&world)).await.unwrap(); // makes the tables
        world.later(Duration::minutes(2));
        world.end_jobs(&lifecycle::JobStatus::Completed);
        let left = std::sync::atomic::AtomicUsize::new(times);
        world.store.rule(move |to, _| {
            let lose = to.as_str() == into && left.load(Ordering::SeqCst) > 0;
            lose.then(|| left.fetch_sub(1, Ordering::SeqCst)).map(|_| Fault::LostRequest)
        });
        app.tick(soon(&world)).await.unwrap();
        assert!(state_rows(&world, "P~").await.is_empty(), "{into}");
        let instance = world.store.get(&table("TestInstances"), &Key::new(ids[0].as_str(), "")).await.unwrap();
        assert_eq!(instance.unwrap().entity.string("RuntimeStatus"), Some("Completed"), "{into}");
    }
}

#[tokio::test]
async fn a_purge_is_bounded_and_takes_each_scoring_in_one_transaction() {
    let world = World::new();
    let app = world.app();
    for n in 0..40 {
        world.deliver(&app, &event(&format!("{n}.csv"), "1")).await;
    }
    world.tick_until_final(&app, 5).await;
    let torn = Arc::new(AtomicBool::new(false));
    let flag = torn.clone();
    world.store.rule(move |_, ops| {
        let deletes =
            |prefix: &str| ops.iter().any(|op| matches!(op, Op::Delete(key, _) if key.row.starts_with(prefix)));
        let kinds = ["J~", "T~", "H~"].map(deletes);
        flag.fetch_or(kinds.contains(&true) && kinds.contains(&false), Ordering::SeqCst);
        None
    });
    let cutoff = world.now() + Duration::days(1);
    assert_eq!(app.ledger().purge(cutoff, 3).await.unwrap(), 3);
    assert_eq!(app.ledger().purge(cutoff, 40).await.unwrap(), 37);
    assert!(!torn.load(Ordering::SeqCst), "a crash would leave a scoring half removed");
}

#[tokio::test]
async fn what_is_held_is_looked_for_ever_more_rarely() {
    let rules = r#"{"rules":[{"id":"claims","match":{"container":"claims"},"endpoint":{"uri":"https://heart.example/jobs"},
        "onUnknown":"hold"}]}"#;
    let world = World::with_rules(rules);
    let app = world.app();
    world.next_faults([Fault::LostRequest]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    let hours = async |hours: i64| {
        let before = world.searched().len();
        for _ in 0..hours * 60 {
            world.later(Duration::MINUTE);
            app.tick(world.now() + Duration::minutes(5)).await.unwrap();
        }
        world.searched().len() - before
    };
    hours(1).await;
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Held);
    let looks = hours(24).await;
    assert!((24..=60).contains(&looks), "{looks} searches in a day");
}

/// As no rules file can say it: nothing is waited for.
#[tokio::test]
async fn one_invocation_sends_one_request_whatever_the_intervals_are() {
    let mut world = World::new();
    world.rules = world.rules.clone().changed(|rule| {
        rule.policy.lookup_interval = IsoDuration(Duration::ZERO);
        rule.policy.resubmit_after = IsoDuration(Duration::ZERO);
    });
    world.next_faults([Fault::LostRequest, Fault::LostRequest, Fault::LostRequest]);
    let app = world.app();
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    assert_eq!(world.get(&app, &ids[0]).await.submits, 1);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_keeps_no_other_from_being_purged() {
    let world = World::new();
    let app = world.app();
    for n in 0..40 {
        world.deliver(&app, &event(&format!("{n}.csv"), "1")).await;
    }
    world.tick_until_final(&app, 5).await;
    let terminal = state_rows(&world, "T~").await.remove(0).entity;
    let damaged = Entity::new(terminal.key).with("SchemaVersion", rows::SCHEMA + 1);
    world.store.write(&table("TestState"), &[Op::Upsert(damaged)]).await.unwrap();
    assert_eq!(app.ledger().purge(world.now() + Duration::days(1), 100).await.unwrap(), 39);
}

#[test]
fn a_scoring_lives_in_the_shard_of_its_first_digit() {
    for (first, shard) in [('0', "0"), ('5', "0"), ('6', "1"), ('a', "1"), ('b', "2"), ('f', "2")] {
        let partition = rows::partition_of(&id(&format!("{first}{}", "9".repeat(31))));
        assert!(partition.ends_with(shard), "{first}: {partition}");
    }
}

#[tokio::test]
async fn what_was_gone_and_is_opened_again_is_in_flight_and_not_removed() {
    let world = World::new();
    let app = world.app();
    let id = waiting(&world, &app).await;
    let rule = world.rules.get("claims");
    let gone = Observation::Input { found: lifecycle::InputFound::Gone, then: Box::new(Observation::SlotFree) };
    for (seen, status) in [(gone, Status::Gone), (Observation::VersionSeen, Status::Queued)] {
        let (scoring, etag) = app.ledger().get(&id).await.unwrap().unwrap();
        let Step::Move { next, entry, .. } = decide(&scoring, rule, &seen, world.now()) else { panic!("it moves") };
        let recorded = app.ledger().record(&scoring, &etag, &next, &entry).await.unwrap();
        assert!(matches!(recorded, Recorded::Done(_)), "{recorded:?}");
        let (in_flight, ended) = (app.ledger().in_flight().await.unwrap(), app.ledger().ended_since(world.now()));
        let ended = ended.await.unwrap();
        let is_gone = status == Status::Gone;
        assert_eq!((in_flight.is_empty(), ended.len()), (is_gone, usize::from(is_gone)), "one index has it");
        world.later(Duration::minutes(5));
    }
    assert_eq!(app.ledger().purge(world.now() + Duration::days(90), 100).await.unwrap(), 0, "it has not ended");
    assert_eq!(app.ledger().get(&id).await.unwrap().unwrap().0.status, Status::Queued);
}
