//! Two drivers of one scoring, slow drivers, and slots between them.

use app::ledger::{LimitScope, Recorded, rows};
use app::ports::table_store::{Entity, Error, IfMatch, Op, TableName, TableStore as _};
use lifecycle::{JobStatus, Observation, ScoringId, Status, Step, decide};
use serde_json::json;
use stores::faulty::Fault;
use time::Duration;

use super::{cap, claims};
use crate::support::meanwhile::Meanwhile;
use crate::support::world::{UNVERIFIED, World, event};

const ONE_SLOT: &str = r#"{"rules":[{"id":"claims","match":{"container":"claims"},
    "endpoint":{"uri":"https://heart.example/jobs"},"maxInFlight":1}]}"#;

#[tokio::test]
async fn what_was_seen_of_an_earlier_job_is_not_taken_for_the_present_one() {
    let world = World::new();
    let (app, other) = (world.app(), world.app());
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    world.end_jobs(&JobStatus::Failed);
    world.later(Duration::minutes(2));
    let deadline = world.now() + Duration::hours(1);
    let held = world.hold_next_poll();
    let slow = tokio::spawn(async move { app.tick(deadline).await.unwrap() });
    held.waits.notified().await;
    // Meanwhile another tick sees the same failure, and one later makes the second attempt.
    other.tick(deadline).await.unwrap();
    world.later(Duration::minutes(3));
    other.tick(deadline).await.unwrap();
    assert_eq!(world.get(&other, &ids[0]).await.attempt, 2);
    held.go.notify_one();
    slow.await.unwrap();
    let scoring = world.get(&other, &ids[0]).await;
    assert_eq!((scoring.status, scoring.attempt), (Status::Running, 2), "{:?}", scoring.error);
}

#[tokio::test]
async fn an_intent_whose_lease_has_no_room_for_the_request_is_not_sent() {
    let world = World::new();
    let app = world.app();
    let (accepted, intents) = app.accept(&event("a.csv", "1")).await.unwrap().into_parts();
    // Sixteen are sent at a time: the last of a large delivery wait for long.
    world.later(Duration::seconds(61));
    intents.send().await;
    assert!(world.jobs().is_empty(), "the lease might end, and another send it, while this request is under way");
    let scoring = world.get(&app, &accepted.accepted[0].id).await;
    assert_eq!(scoring.status, Status::Queued, "nothing was sent, so nothing has to be looked for");
    world.tick_until_final(&app, 6).await;
    assert_eq!(world.jobs().len(), 1);
}

#[tokio::test]
async fn an_intent_is_carried_out_even_if_the_next_rule_was_not_recorded() {
    let rule = |id: &str| json!({"id": id, "match": {"container": "claims"}, "endpoint": {"uri": "https://heart.example/jobs"}});
    let world = World::with_rules(&json!({"rules": [rule("one"), rule("two")]}).to_string());
    let app = world.app();
    world.deliver(&app, &event("warm-up.csv", "1")).await;
    world.store.push(Fault::Pass);
    world.store.push(Fault::NotSent);
    assert!(app.accept(&event("a.csv", "1")).await.is_err());
    assert_eq!(world.jobs().len(), 3);
}

#[tokio::test]
async fn who_lost_a_scoring_does_not_give_back_the_slot_of_who_won_it() {
    let world = World::with_rules(ONE_SLOT);
    let ledger = world.app().ledger().clone();
    let (id, other) = (ScoringId::read(&"a".repeat(32)).unwrap(), ScoringId::read(&"b".repeat(32)).unwrap());
    let lost = ledger.claim_slot(&claims(), cap(1), &id, 1, world.now()).await.unwrap().unwrap();
    let won = ledger.claim_slot(&claims(), cap(1), &id, 1, world.now()).await.unwrap().unwrap();
    assert!(lost.fresh && !won.fresh);
    ledger.free_slot(&lost).await.unwrap();
    assert_eq!(ledger.claim_slot(&claims(), cap(1), &other, 1, world.now()).await.unwrap(), None);
    ledger.free_slot(&won).await.unwrap();
    assert!(ledger.claim_slot(&claims(), cap(1), &other, 1, world.now()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_not_taken_for_the_one_that_another_driver_made() {
    let world = World::with_rules(ONE_SLOT);
    let ledger = world.app().ledger().clone();
    let (id, other) = (ScoringId::read(&"a".repeat(32)).unwrap(), ScoringId::read(&"b".repeat(32)).unwrap());
    let won = ledger.claim_slot(&claims(), cap(1), &id, 1, world.now()).await.unwrap().unwrap();
    world.store.push(Fault::LostRequest);
    let shared = ledger.claim_slot(&claims(), cap(1), &id, 1, world.now()).await.unwrap().unwrap();
    assert!(won.fresh && !shared.fresh, "who loses the scoring must not give back the slot of who won it");
    ledger.free_slot(&won).await.unwrap();
    assert_eq!(ledger.claim_slot(&claims(), cap(1), &other, 1, world.now()).await.unwrap(), None);
}

#[tokio::test]
async fn a_slot_that_is_claimed_again_is_young_again_and_not_freed_for_an_earlier_attempt() {
    let world = World::with_rules(ONE_SLOT);
    let ledger = world.app().ledger().clone();
    let (id, other) = (ScoringId::read(&"a".repeat(32)).unwrap(), ScoringId::read(&"b".repeat(32)).unwrap());
    ledger.claim_slot(&claims(), cap(1), &id, 1, world.now()).await.unwrap().unwrap();
    world.later(Duration::hours(1));
    // Its scoring was queued by version 5 and is on its way to another attempt; who moved it there is slow.
    assert!(ledger.claim_slot(&claims(), cap(1), &id, 5, world.now()).await.unwrap().is_some());
    assert_eq!(
        ledger
            .reconcile_slots(&claims(), 1, &std::collections::BTreeSet::new(), world.now(), || world.now())
            .await
            .unwrap()
            .freed,
        0
    );
    ledger.free_slot_of(&claims(), &id, 5).await.unwrap();
    assert_eq!(ledger.claim_slot(&claims(), cap(1), &other, 1, world.now()).await.unwrap(), None);
    ledger.free_slot_of(&claims(), &id, 6).await.unwrap();
    assert!(ledger.claim_slot(&claims(), cap(1), &other, 1, world.now()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_driver_that_was_held_up_does_not_make_the_slot_of_another_look_left_behind() {
    let world = World::with_rules(ONE_SLOT);
    let ledger = world.app().ledger().clone();
    let id = ScoringId::read(&"a".repeat(32)).unwrap();
    let long_ago = world.now();
    world.later(Duration::hours(1));
    ledger.claim_slot(&claims(), cap(1), &id, 1, world.now()).await.unwrap().unwrap();
    // Another delivery of the same event, frozen since its beginning, finds the slot taken by its own scoring.
    ledger.claim_slot(&claims(), cap(1), &id, 1, long_ago).await.unwrap().unwrap();
    // A tick that has read the index before the first driver recorded its intent sees no holder yet.
    let nobody = std::collections::BTreeSet::new();
    assert_eq!(ledger.reconcile_slots(&claims(), 1, &nobody, world.now(), || world.now()).await.unwrap().freed, 0);
}

#[tokio::test]
async fn a_slot_stays_while_it_is_not_known_whether_its_scoring_was_taken() {
    let world = World::with_rules(ONE_SLOT);
    let app = world.app();
    world.deliver(&app, &event("warm-up.csv", "1")).await;
    world.tick_until_final(&app, 5).await;
    // The transaction is done, its answer is lost, and it cannot be read back.
    world.store.push(Fault::Pass);
    world.store.push(Fault::LostAnswer { times: 1 });
    world.store.push_read(Error::Unavailable("dark".into()));
    assert!(app.accept(&event("a.csv", "1")).await.is_err());
    let b = world.deliver(&app, &event("b.csv", "1")).await;
    assert_eq!(world.get(&app, &b[0]).await.status, Status::Queued, "the one slot may be taken");
    world.tick_until_final(&app, 40).await;
    assert_eq!((world.jobs().len(), world.max_running()), (3, 1));
}

#[tokio::test]
async fn who_got_its_slot_by_a_write_of_ours_that_somebody_has_built_upon_keeps_it() {
    for queued_before in [false, true] {
        let store = Meanwhile::store();
        let world = World::on(store.clone(), ONE_SLOT);
        let (app, other) = (world.app(), world.app());
        if queued_before {
            world.next_faults([Fault::Refused { permanent: false }]);
            world.deliver(&app, &event("a.csv", "1")).await;
            world.later(Duration::minutes(1));
        }
        let slow = world.clone();
        store.act(|| async move {
            // Its owner is silent for longer than the lease, so it is looked for now.
            slow.later(Duration::minutes(10));
            other.tick(slow.now() + Duration::minutes(5)).await.unwrap();
            assert_eq!(slow.statuses(&other).await[&Status::Unknown], 1);
        });
        if queued_before {
            app.tick(world.now() + Duration::minutes(5)).await.unwrap();
        } else {
            world.deliver(&app, &event("a.csv", "1")).await;
        }
        let b = world.deliver(&app, &event("b.csv", "1")).await;
        assert_eq!(world.get(&app, &b[0]).await.status, Status::Queued, "the one slot is taken ({queued_before})");
    }
}

#[tokio::test]
async fn a_write_that_may_still_arrive_is_not_a_lost_race() {
    let world = World::with_rules(UNVERIFIED);
    let app = world.app();
    world.next_faults([Fault::Refused { permanent: false }]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    world.later(Duration::minutes(1));
    let (scoring, etag) = app.ledger().get(&ScoringId::read(&ids[0]).unwrap()).await.unwrap().unwrap();
    let Step::Move { next, entry, .. } =
        decide(&scoring, world.rules.get("claims"), &Observation::SlotFree, world.now())
    else {
        panic!("a slot is free")
    };
    world.store.push(Fault::LostRequest);
    world.store.push(Fault::LostRequest);
    assert!(app.ledger().record(&scoring, &etag, &next, &entry).await.is_err());
    // The same after somebody else moved it is a lost race, whatever became of the write.
    app.ledger().record(&scoring, &etag, &next, &entry).await.unwrap();
    world.store.push(Fault::LostRequest);
    assert_eq!(app.ledger().record(&scoring, &etag, &next, &entry).await.unwrap(), Recorded::Lost);
}

#[tokio::test]
async fn the_slot_of_a_row_that_cannot_be_read_is_not_freed() {
    let world = World::with_rules(ONE_SLOT);
    let app = world.app();
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    let id = ScoringId::read(&ids[0]).unwrap();
    // As a newer version would leave it while this one still runs somewhere.
    let newer = app::ports::table_store::Entity::new(rows::in_flight_key(&id)).with("SchemaVersion", rows::SCHEMA + 1);
    let table = TableName::read("TestState").unwrap();
    world.store.write(&table, &[Op::Merge(newer, IfMatch::Any)]).await.unwrap();
    world.later(Duration::hours(1));
    let report = app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert_eq!((report.errors, report.slots_freed), (1, 0));
}

#[tokio::test]
async fn the_slots_of_others_are_freed_though_a_row_cannot_be_read() {
    let rules = r#"{"rules":[
        {"id":"claims","match":{"container":"claims"},"endpoint":{"uri":"https://heart.example/jobs"},"maxInFlight":2},
        {"id":"photos","match":{"container":"photos"},"endpoint":{"uri":"https://lung.example/jobs"},"maxInFlight":1}]}"#;
    let world = World::with_rules(rules);
    let app = world.app();
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    let newer =
        Entity::new(rows::in_flight_key(&ScoringId::read(&ids[0]).unwrap())).with("SchemaVersion", rows::SCHEMA + 1);
    let table = TableName::read("TestState").unwrap();
    world.store.write(&table, &[Op::Merge(newer, IfMatch::Any)]).await.unwrap();
    // A process claimed the other rule's slot and died.
    let scope = LimitScope::Rule("photos".to_owned());
    let nobody = ScoringId::read(&"e".repeat(32)).unwrap();
    app.ledger().claim_slot(&scope, cap(1), &nobody, 1, world.now()).await.unwrap().unwrap();
    world.later(Duration::hours(1));
    let report = app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert_eq!((report.errors, report.slots_freed), (1, 1), "and not the one of the row");
}

#[tokio::test]
async fn a_search_that_ends_after_resubmit_after_began_before_it_and_proves_nothing() {
    let world = World::new();
    let app = world.app();
    world.next_faults([Fault::LostRequest]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    world.later(Duration::minutes(14));
    world.searches_take(Duration::minutes(2));
    // A job made during the search would be within `resubmitAfter`, and the search would not have seen it.
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Unknown);
    assert!(world.jobs().is_empty());
    world.searches_take(Duration::ZERO);
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert_eq!(world.jobs().len(), 1, "a search that began after it does");
}

#[tokio::test]
async fn a_search_that_shows_what_was_before_the_end_of_resubmit_after_proves_nothing() {
    let world = World::new();
    let app = world.app();
    world.next_faults([Fault::LostRequest]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    world.searches_show_what_was(Duration::seconds(10));
    let resubmit_after = Duration::minutes(15);
    world.later(resubmit_after + Duration::seconds(9));
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Unknown);
    assert!(world.jobs().is_empty());
    world.later(Duration::seconds(31));
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert_eq!(world.jobs().len(), 1);
}

#[tokio::test]
async fn a_job_that_could_not_be_asked_to_stop_is_asked_again() {
    let world = World::new();
    let app = world.app();
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    world.later(Duration::days(7));
    world.fail_cancels(1);
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Cancelling);
    assert_eq!(world.jobs()[0].status, JobStatus::Running);
    world.later(Duration::minutes(6));
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert_eq!(world.jobs()[0].status, JobStatus::Canceled);
}
