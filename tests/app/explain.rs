//! Why a blob was scored, why not, why not yet, or why never: the read model's answer in each situation.

use app::App;
use app::ledger::Announced;
use app::reports::{self, Explanation, Verdict};
use lifecycle::{BlobVersion, JobStatus, Order, Resolution, Scoring, ScoringId, Status, Verb};
use serde_json::json;
use time::Duration;

use crate::support::world::{Fault, World, event, resolved};

async fn explained(app: &App, world: &World, wanted: &str) -> Explanation {
    reports::explain(app.ledger(), wanted, world.now(), || ()).await.unwrap()
}

/// The only verdict on a blob of the container `claims`.
async fn verdict(app: &App, world: &World, path: &str) -> Verdict {
    let mut explanation = explained(app, world, &format!("claims/{path}")).await;
    assert_eq!(explanation.verdicts.len(), 1, "{explanation:?}");
    explanation.verdicts.remove(0)
}

#[track_caller]
fn says(verdict: &Verdict, word: &str, why: &str) {
    assert_eq!(verdict.verdict, word, "{verdict:?}");
    assert!(verdict.reason.contains(why), "{verdict:?}");
}

#[tokio::test]
async fn a_scored_one_and_a_second_delivery_are_explained_with_the_event_as_it_came() {
    let world = World::new();
    let app = world.app();
    world.deliver(&app, &event("a.csv", "1")).await;
    world.tick_until_final(&app, 5).await;
    let scored = verdict(&app, &world, "a.csv").await;
    says(&scored, "scored", "newer than the submission");
    assert!(scored.event.as_deref().is_some_and(|event| event.contains("BlobCreated")), "{scored:?}");
    assert_eq!((scored.repeated_time, scored.etag.as_deref()), (None, Some("1")));
    world.later(Duration::HOUR);
    world.deliver(&app, &event("a.csv", "1")).await;
    assert_eq!(verdict(&app, &world, "a.csv").await.repeated_time, Some(world.now()));
    // By its id, and by the beginning of that, it is the same blob's story.
    let id = scored.id.clone().unwrap();
    for wanted in [id.as_str(), &id[..10], "a.csv"] {
        assert_eq!(explained(&app, &world, wanted).await, explained(&app, &world, "claims/a.csv").await, "{wanted}");
    }
}

#[tokio::test]
async fn each_reason_of_a_skip_is_told_with_the_version_and_its_rule() {
    let rules = r#"{"rules":[
        {"id":"claims","match":{"container":"claims","prefix":"in/","suffix":".csv"},"endpoint":{"uri":"https://heart.example/jobs"}},
        {"id":"all","match":{"container":"claims","prefix":"in/"},"endpoint":{"uri":"https://heart.example/jobs"},"emptyBlobs":"score"}]}"#;
    let world = World::with_rules(rules);
    let app = world.app();
    let mut begun = event("in/begun.csv", "3");
    begun["data"]["api"] = json!("CreateFile");
    for (event, path, why) in [
        (event("elsewhere.csv", "1"), "elsewhere.csv", "path does not begin with `in/`"),
        (begun, "in/begun.csv", "`CreateFile` does not complete a blob"),
    ] {
        app.accept(&event).await.unwrap().submit().await;
        let skip = verdict(&app, &world, path).await;
        says(&skip, "skipped", why);
        assert!(skip.id.is_none() && skip.etag.is_some() && skip.rule.as_deref() == Some("claims"), "{skip:?}");
    }
    // Wanted by one rule, and the other's refusal is told beside it.
    world.deliver(&app, &event("in/x.txt", "1")).await;
    let wanted = verdict(&app, &world, "in/x.txt").await;
    assert_eq!(wanted.rule.as_deref(), Some("all"));
    assert!(wanted.other_rules.as_deref().is_some_and(|why| why.contains("does not end with `.csv`")), "{wanted:?}");
}

#[tokio::test]
async fn a_quarantined_event_is_found_by_the_name_in_it_and_one_that_never_came_is_not() {
    let world = World::new();
    let app = world.app();
    let mut bad = event("eu/bad.csv", "1");
    bad["data"].as_object_mut().unwrap().remove("eTag");
    app.accept(&bad).await.unwrap().submit().await;
    let explanation = explained(&app, &world, "claims/eu/bad.csv").await;
    assert!(explanation.verdicts.is_empty() && !explanation.was_never_received());
    assert!(explanation.quarantined[0].reason.contains("eTag"), "{explanation:?}");
    for wanted in ["claims/eu/never.csv", "https://uploads.blob.core.windows.net/claims/never.csv", "never.csv", ""] {
        assert!(explained(&app, &world, wanted).await.was_never_received(), "{wanted}");
    }
}

#[tokio::test]
async fn versions_come_the_newest_first_and_a_superseded_one_names_the_one_in_its_place() {
    let rules = crate::support::world::RULE.replace("\"maxAttempts\":2", "\"maxInFlight\":1");
    let world = World::with_rules(&rules);
    let app = world.app();
    world.deliver(&app, &event("first.csv", "1")).await;
    let url = "https://uploads.blob.core.windows.net/claims/a.csv";
    world.deliver(&app, &event("a.csv", "1")).await;
    world.later(Duration::MINUTE);
    world.change_inputs(|inputs, now| inputs.put(url, "2", 9, true, now));
    world.deliver(&app, &event("a.csv", "2")).await;
    world.tick_until_final(&app, 20).await;
    let explanation = explained(&app, &world, url).await;
    let told: Vec<_> = explanation.verdicts.iter().map(|v| (v.etag.as_deref().unwrap(), v.verdict)).collect();
    assert_eq!(told, [("2", "scored"), ("1", "superseded")]);
    assert_eq!(explanation.verdicts[1].replaced_by, explanation.verdicts[0].id);
}

#[tokio::test]
async fn one_that_waits_says_for_what_and_behind_how_many() {
    let rules = crate::support::world::RULE.replace("\"maxAttempts\":2", "\"maxInFlight\":1");
    let world = World::with_rules(&rules);
    let app = world.app();
    for n in 0..4 {
        world.deliver(&app, &event(&format!("{n}.csv"), "1")).await;
        world.later(Duration::SECOND);
    }
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    let waiting = verdict(&app, &world, "3.csv").await;
    let waits = waiting.waits.as_deref().unwrap_or_default();
    assert_eq!(waiting.verdict, "queued");
    assert!(waits.contains("maxInFlight") && waits.contains("2 scorings are before it"), "{waits}");
    assert!(!waiting.stuck);
    assert!(waits.contains("how long that takes is not known: fewer than 20 of its rule were scored"), "{waits}");
    let before = verdict(&app, &world, "2.csv").await.id.unwrap();
    assert!(waits.contains(&format!("the last of them {before}")), "{waits}");
    let expedited = Order { verb: Verb::Expedite, by: "ann".to_owned(), reason: "month end".to_owned() };
    app::order(app.ledger(), &waiting.id.unwrap().parse().unwrap(), &expedited, world.now()).await.unwrap();
    let waits = verdict(&app, &world, "3.csv").await.waits.unwrap_or_default();
    assert!(waits.contains("first in the queue"), "{waits}");
    world.later(Duration::hours(25));
    assert!(verdict(&app, &world, "3.csv").await.stuck, "queued for more than a day");
}

#[tokio::test]
async fn what_waits_or_runs_is_expected_by_what_its_rule_usually_takes() {
    let rules = crate::support::world::RULE.replace("\"maxAttempts\":2", "\"maxInFlight\":2");
    let world = World::with_rules(&rules);
    let app = world.app();
    for n in 0..20 {
        let url = format!("https://uploads.blob.core.windows.net/claims/scored-{n}.csv");
        let blob = BlobVersion::read(&url, "1").unwrap();
        let mut scored = Scoring::accept(&world.ledger_id, world.rules.get("claims").unwrap(), blob, world.now());
        scored.status = Status::Scored;
        // One of twenty takes an hour.
        let took = if n == 0 { Duration::HOUR } else { Duration::minutes(4) };
        (scored.submitted, scored.completed) = (Some(world.now() - took), Some(world.now()));
        let entry = scored.accepted_entry("a test".to_owned());
        app.ledger().accept(&scored, &[entry], &Announced::default()).await.unwrap();
    }
    for n in 0..6 {
        world.deliver(&app, &event(&format!("{n}.csv"), "1")).await;
        world.later(Duration::SECOND);
    }
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    for (path, within) in [("2.csv", "4 min"), ("3.csv", "4 min"), ("4.csv", "8 min"), ("5.csv", "8 min")] {
        let waits = verdict(&app, &world, path).await.waits.unwrap_or_default();
        let expected = format!("expected to be sent within {within}, by 2 slots and 4 min that its rule usually takes");
        assert!(waits.contains(&expected), "{path}: {waits}");
    }
    let running = verdict(&app, &world, "0.csv").await;
    assert_eq!(running.waits.as_deref(), Some("nineteen of twenty jobs of its rule end within 68 min"));
    assert!(!running.stuck);
    world.later(Duration::hours(4));
    assert!(verdict(&app, &world, "0.csv").await.stuck, "three times as long");
}

#[tokio::test]
async fn unconfirmed_held_failed_cancelled_and_gone_ones_say_why_and_what_is_next() {
    let world = World::new();
    let app = world.app();
    world.next_faults([Fault::LostRequest]);
    let held: ScoringId = world.deliver(&app, &event("held.csv", "1")).await[0].parse().unwrap();
    says(&verdict(&app, &world, "held.csv").await, "unknown", "the answer was lost");
    world.blind(Some("Resource Manager answers 403"));
    for _ in 0..20 {
        world.later(Duration::minutes(10));
        app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    }
    let told = verdict(&app, &world, "held.csv").await;
    says(&told, "held", "403");
    assert!(told.next.as_deref().is_some_and(|next| next.starts_with("scorekeeper resolve")), "{told:?}");
    world.blind(None);
    app::resolve(app.ledger(), &held, &resolved(Resolution::GiveUp), world.now()).await.unwrap();
    says(&verdict(&app, &world, "held.csv").await, "failed", "given up by an operator");

    world.deliver(&app, &event("cancelled.csv", "1")).await;
    world.end_jobs(&JobStatus::Canceled);
    world.later(Duration::minutes(3));
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    says(&verdict(&app, &world, "cancelled.csv").await, "cancelled", "not by Scorekeeper");

    let url = "https://uploads.blob.core.windows.net/claims/gone.csv";
    world.change_inputs(|inputs, now| {
        inputs.put(url, "1", 9, true, now);
        inputs.delete(url, now);
    });
    world.deliver(&app, &event("gone.csv", "1")).await;
    says(&verdict(&app, &world, "gone.csv").await, "gone", "404 BlobNotFound");
}

/// Whoever reads `scored` of a member must not take it for verified where its rule has nobody ask.
#[tokio::test]
async fn of_a_member_that_nobody_verified_explain_and_show_say_so() {
    for (verify, told) in [
        ("off", "the group was verified, not this file (`group.verifyMembers` is off)"),
        ("column", "the output is there and names it"),
    ] {
        let group = json!({"by": "time", "maxFiles": 2, "verifyMembers": verify});
        let rule = json!({"id": "claims", "match": {"container": "claims"}, "endpoint": {"uri": "https://heart.example/jobs"}, "group": group});
        let world = World::with_rules(&json!({ "rules": [rule] }).to_string());
        let app = world.app();
        for path in ["a.csv", "b.csv"] {
            world.deliver(&app, &event(path, "1")).await;
        }
        for _ in 0..6 {
            world.later(Duration::minutes(2));
            app.tick(world.now() + Duration::minutes(5)).await.unwrap();
            world.end_jobs(&JobStatus::Completed);
        }
        let member = verdict(&app, &world, "a.csv").await;
        says(&member, "scored", told);
        let id = ScoringId::read(member.id.as_deref().unwrap()).unwrap();
        let (scoring, _) = app.ledger().get(&id).await.unwrap().unwrap();
        let shown = reports::detail(app.ledger(), scoring).await.unwrap();
        assert!(shown.history.iter().any(|entry| entry.reason.contains(told)), "{:?}", shown.history);
    }
}
