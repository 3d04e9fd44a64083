//! Time that does not behave: clocks that differ by minutes, local time, timers that fire twice, late or not at all.

use app::App;
use app::ports::Inconclusive;
use lifecycle::{JobStatus, Status};
use time::macros::offset;
use time::{Duration, OffsetDateTime};

use crate::support::world::{Fault, World, event};

#[tokio::test]
async fn clocks_that_differ_by_minutes_make_no_second_job_and_adopt_the_first() {
    for ahead in [-5, -3, 3, 5] {
        let world = World::new();
        let (here, there) = (world.app(), world.app_with_clock(move |now| now + Duration::minutes(ahead)));
        // The other one believes that the lease has ended (or will not for long) while the request is under way.
        let held = world.hold_next_post();
        let (accepted, intents) = here.accept(&event("a.csv", "1")).await.unwrap().into_parts();
        let sending = tokio::spawn(async move { intents.send().await });
        held.waits.notified().await;
        for _ in 0..4 {
            world.later(Duration::seconds(20));
            there.tick(there.now() + Duration::minutes(1)).await.unwrap();
        }
        held.go.notify_one();
        sending.await.unwrap();
        for app in [&there, &here, &there] {
            world.later(Duration::minutes(2));
            app.tick(app.now() + Duration::minutes(1)).await.unwrap();
        }
        let scoring = world.get(&here, &accepted.accepted[0].id).await;
        assert_eq!((scoring.status, scoring.submits, world.jobs().len()), (Status::Running, 1, 1), "{ahead} min");
        world.end_jobs(&JobStatus::Completed);
        world.later(Duration::minutes(2));
        there.tick(there.now() + Duration::minutes(1)).await.unwrap();
        assert_eq!(world.get(&here, &accepted.accepted[0].id).await.status, Status::Scored, "{ahead} min");
    }
}

#[tokio::test]
async fn an_intent_by_a_slow_clock_is_not_sent_again_before_any_clocks_resubmit_after() {
    let world = World::new();
    let (behind, ahead) = (
        world.app_with_clock(|now| now - Duration::minutes(3)),
        world.app_with_clock(|now| now + Duration::minutes(3)),
    );
    world.next_faults([Fault::Delayed(Duration::minutes(8))]);
    let (accepted, intents) = behind.accept(&event("a.csv", "1")).await.unwrap().into_parts();
    intents.send().await;
    for turn in 0..12 {
        world.later(Duration::minutes(1));
        let app = if turn % 2 == 0 { &ahead } else { &behind };
        app.tick(app.now() + Duration::minutes(1)).await.unwrap();
    }
    let scoring = world.get(&ahead, &accepted.accepted[0].id).await;
    assert_eq!(
        (scoring.status, scoring.submits),
        (Status::Running, 1),
        "it appeared eight minutes late, within resubmitAfter"
    );
}

#[tokio::test]
async fn local_time_and_its_change_in_autumn_are_not_noticed() {
    let world = World::new();
    // Three hours in which the wall clock shows one of them twice.
    let change = world.now() + Duration::minutes(90);
    let berlin = move |now: OffsetDateTime| now.to_offset(if now < change { offset!(+2) } else { offset!(+1) });
    let app = world.app_with_clock(berlin);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    let mut ticks = 0;
    while world.now() < change + Duration::minutes(60) {
        world.later(Duration::minutes(1));
        assert!(app.tick(app.now() + Duration::minutes(1)).await.unwrap().complete);
        ticks += 1;
    }
    let polls = world.polls();
    assert!((70..=80).contains(&polls), "{polls} looks in {ticks} minutes, one every two");
    world.end_jobs(&JobStatus::Completed);
    world.later(Duration::minutes(3));
    app.tick(app.now() + Duration::minutes(1)).await.unwrap();
    let entries = app.ledger().entries(&world.get(&app, &ids[0]).await.id).await.unwrap();
    assert!(entries.windows(2).all(|two| two[0].at <= two[1].at), "{entries:?}");
    assert_eq!(entries.last().unwrap().to, Status::Scored);
    assert!(entries.iter().all(|entry| entry.at.offset() == offset!(UTC)));
}

#[tokio::test]
async fn a_timer_that_fires_twice_at_once_or_not_for_an_hour_changes_no_outcome() {
    let world = World::new();
    let (one, two) = (world.app(), world.app());
    world.next_faults([
        Fault::Pass,
        Fault::LostAnswer { times: 1 },
        Fault::LostRequest,
        Fault::Refused { permanent: false },
    ]);
    for path in ["accepted", "lost", "never-arrived", "refused"] {
        world.deliver(&one, &event(path, "1")).await;
    }
    for pause in [Duration::hours(1), Duration::ZERO, Duration::hours(1), Duration::minutes(5), Duration::hours(1)] {
        world.later(pause);
        world.end_jobs(&JobStatus::Completed);
        let deadline = world.now() + Duration::hours(1);
        let (first, second) = tokio::join!(one.tick(deadline), two.tick(deadline));
        first.unwrap();
        second.unwrap();
    }
    assert_eq!(world.statuses(&one).await, [(Status::Scored, 4)].into());
    assert_eq!(world.jobs().len(), 4, "one for each");
}

#[tokio::test]
async fn a_clock_that_is_set_back_keeps_nothing_waiting_for_ever() {
    let world = World::new();
    let app = world.app();
    world.later(Duration::hours(2));
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    app.tick(world.now() + Duration::minutes(1)).await.unwrap();
    // The machine was two hours ahead, and is corrected.
    world.later(Duration::hours(-2));
    for _ in 0..130 {
        world.later(Duration::minutes(1));
        world.end_jobs(&JobStatus::Completed);
        app.tick(world.now() + Duration::minutes(1)).await.unwrap();
    }
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Scored);
}

/// Queued with a back-off, and another under way, by a clock that is 400 days ahead; then it is corrected.
#[tokio::test]
async fn what_a_clock_far_ahead_put_off_goes_on_once_it_is_corrected() {
    for same_process in [true, false] {
        let world = World::new();
        let app = world.app();
        world.later(Duration::days(400));
        world.next_faults([Fault::Refused { permanent: false }]);
        let ids = world.deliver(&app, &event("a.csv", "1")).await;
        assert_eq!(world.get(&app, &ids[0]).await.status, Status::Queued);
        app.tick(world.now() + Duration::minutes(1)).await.unwrap();
        world.later(Duration::days(-400));
        // The same process remembers its last tick, another reads the heartbeat.
        let app = if same_process { app } else { world.app() };
        for _ in 0..10 {
            world.later(Duration::minutes(2));
            world.end_jobs(&JobStatus::Completed);
            app.tick(world.now() + Duration::minutes(1)).await.unwrap();
        }
        assert_eq!(world.get(&app, &ids[0]).await.status, Status::Scored, "{same_process}");
    }
}

/// The clock goes wrong while a scoring waits, so that it stands where it stands since a time that is right.
#[tokio::test]
async fn what_is_put_off_again_by_a_clock_far_ahead_goes_on_once_it_is_corrected() {
    let world = World::new();
    let app = world.app();
    world.next_faults([Fault::Refused { permanent: false }]);
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    let ahead = world.app_with_clock(|now| now + YEARS);
    world.blind_inputs(Some(Inconclusive::not_reachable("403: no role yet")));
    ahead.tick(world.now() + YEARS + Duration::minutes(5)).await.unwrap();
    world.blind_inputs(None);
    let waits = world.get(&app, &ids[0]).await;
    assert!(waits.status == Status::Queued && waits.due > world.now() + Duration::days(300), "{waits:?}");
    ticks(&world, &app, 3).await;
    world.end_jobs(&JobStatus::Completed);
    ticks(&world, &app, 2).await;
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Scored);
}

#[tokio::test]
async fn an_event_before_1970_is_taken_like_any_other() {
    let world = World::new();
    let app = world.app();
    world.later(OffsetDateTime::UNIX_EPOCH - Duration::days(700) - world.now());
    let mut old = event("a.csv", "1");
    old["eventTime"] = serde_json::json!("1969-12-31T23:59:59Z");
    let ids = world.deliver(&app, &old).await;
    for _ in 0..5 {
        world.later(Duration::minutes(3));
        world.end_jobs(&JobStatus::Completed);
        app.tick(world.now() + Duration::minutes(1)).await.unwrap();
    }
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Scored);
}

/// So far ahead that nobody would see the day.
const YEARS: Duration = Duration::days(400);

async fn ticks(world: &World, app: &App, times: usize) {
    for _ in 0..times {
        world.later(Duration::minutes(10));
        app.tick(world.now() + Duration::hours(1)).await.unwrap();
    }
}

#[tokio::test]
async fn a_submission_that_was_lost_by_a_clock_years_ahead_is_looked_for_and_sent_again() {
    for fault in [Fault::LostRequest, Fault::LostAnswer { times: 1 }, Fault::Refused { permanent: false }] {
        let world = World::new();
        world.next_faults([fault.clone()]);
        let ahead = world.app_with_clock(|now| now + YEARS);
        ahead.accept(&event("a.csv", "1")).await.unwrap().submit().await;
        let app = world.app();
        ticks(&world, &app, 6).await;
        world.end_jobs(&JobStatus::Completed);
        ticks(&world, &app, 2).await;
        let (statuses, jobs) = (world.statuses(&app).await, world.jobs().len());
        assert_eq!((statuses, jobs), ([(Status::Scored, 1)].into(), 1), "{fault:?}");
    }
}

#[tokio::test]
async fn what_a_clock_that_was_ahead_left_running_or_to_be_verified_comes_to_its_end() {
    let rules = r#"{"rules":[{"id":"claims","match":{"container":"claims"},"endpoint":{"uri":"https://heart.example/jobs"},
        "maxAttempts":1,"jobTimeout":"PT2H"}]}"#;
    for completes in [true, false] {
        let world = World::with_rules(rules);
        let app = world.app();
        let ahead = world.app_with_clock(|now| now + Duration::hours(12));
        let ids = if completes {
            let ids = world.deliver(&app, &event("a.csv", "1")).await;
            let job = world.jobs()[0].name.clone();
            world.end_job_as(&job, simulation::End::Completed(simulation::Written::Absent));
            world.later(Duration::minutes(1));
            ahead.tick(world.now() + Duration::hours(13)).await.unwrap();
            assert_eq!(world.get(&app, &ids[0]).await.status, Status::Verifying);
            ids
        } else {
            // Its job runs on, as was seen by the same clock.
            let ids = world.deliver(&ahead, &event("a.csv", "1")).await;
            world.later(Duration::minutes(1));
            ahead.tick(world.now() + Duration::hours(13)).await.unwrap();
            ids
        };
        ticks(&world, &app, 24).await;
        let scoring = world.get(&app, &ids[0]).await;
        assert_eq!(scoring.status, Status::Failed, "four hours later, completes: {completes}: {scoring:?}");
    }
}

#[tokio::test]
async fn a_breaker_that_was_opened_by_a_clock_years_ahead_is_probed() {
    let rules = r#"{"rules":[{"id":"claims","match":{"container":"claims"},"endpoint":{"uri":"https://heart.example/jobs"},"maxAttempts":1}],
        "endpoints":[{"uri":"https://heart.example/jobs","breaker":{"failures":2,"pause":"PT5M"}}]}"#;
    let world = World::with_rules(rules);
    let app = world.app();
    for folder in ["a", "b", "c"] {
        world.deliver(&app, &event(&format!("{folder}/x.csv"), "1")).await;
    }
    world.fail_jobs("exit code 1");
    let ahead = world.app_with_clock(|now| now + YEARS);
    ahead.tick(world.now() + YEARS + Duration::minutes(5)).await.unwrap();
    let app = world.app();
    let ids = world.deliver(&app, &event("good.csv", "1")).await;
    ticks(&world, &app, 2).await;
    world.end_jobs(&JobStatus::Completed);
    ticks(&world, &app, 2).await;
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Scored);
}

/// What is forgotten is scored again when its event comes again.
#[tokio::test]
async fn a_clock_years_ahead_does_not_make_the_ledger_forget() {
    let world = World::new();
    let app = world.app();
    world.deliver(&app, &event("a.csv", "1")).await;
    world.tick_until_final(&app, 5).await;
    let ahead = world.app_with_clock(|now| now + YEARS);
    for _ in 0..12 {
        world.later(Duration::hours(1));
        ahead.tick(world.now() + YEARS + Duration::minutes(5)).await.unwrap();
    }
    world.deliver(&world.app(), &event("a.csv", "1")).await;
    assert_eq!(world.jobs().len(), 1);
    // By the right clock it goes in its time, an hour's ticks after the other.
    let app = world.app();
    let mut purged = 0;
    for _ in 0..31 * 24 {
        world.later(Duration::hours(1));
        purged += app.tick(world.now() + Duration::minutes(5)).await.unwrap().purged;
    }
    assert_eq!(purged, 1);
}
