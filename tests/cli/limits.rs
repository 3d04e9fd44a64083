//! `limit`, `pause`, `resume` and `breaker`: how much may be in flight.

use std::sync::Arc;

use app::App;
use app::ledger::{ControlOutcome, LimitChange, LimitScope};
use app::ports::Clock;
use handler::cli::breaker::{Action, BreakerArgs};
use handler::cli::json::JsonArgs;
use handler::cli::ledger_command::Here;
use handler::cli::limit::{LimitArgs, NewLimit, PauseArgs};
use handler::cli::on_ledger::{ATTENTION, OK};
use handler::cli::{breaker, limit, read_ledger_command, show, status};
use handler::config::LedgerLocation;
use lifecycle::JobStatus;
use serde_json::{Value, json};
use stores::fault::Fault as StoreFault;
use time::Duration;

use super::{HERE, LIMITED, page, text};
use crate::support::world::{RULE, START, World, event};

async fn limited(world: &World, app: &App, arguments: LimitArgs) -> (u8, String) {
    text(async |out| limit::limit(app.ledger(), &arguments, "ann", world.now(), out).await).await
}

#[tokio::test]
async fn a_pause_has_an_author_a_reason_and_a_history_and_ends_with_what_held_before() {
    let world = World::with_rules(LIMITED);
    let app = world.app();
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    let pause = |pauses, scope: &str, reason: &str| {
        let scope = Some(scope.to_owned());
        let args = PauseArgs { which: HERE, scope, all: false, reason: reason.to_owned() };
        let (app, world) = (&app, &world);
        async move {
            world.later(Duration::SECOND);
            text(async |out| limit::pause(app.ledger(), pauses, &args, "ann", world.now(), out).await).await
        }
    };
    let rule = LimitArgs { rule: Some("claims".to_owned()), new_limit: Some(NewLimit::Of(7)), ..LimitArgs::default() };
    limited(&world, &app, rule).await;
    let (code, told) = pause(true, "claims", "maintenance").await;
    assert!(code == OK && told.starts_with("rule claims: paused.\n"), "{told}");
    let (_, status) =
        text(async |out| status::status(app.ledger(), &HERE, &JsonArgs::TEXT, None, world.now(), out).await).await;
    assert!(status.contains("scorekeeper resume claims --reason …"), "{status}");
    for (pauses, scope, reason, why) in [
        (true, "claims", "again", "claims is paused"),
        (true, "clams", "typo", "no such rule"),
        (false, "https://heart.example/jobs", "x", "is not paused"),
        (false, "claims", " ", "--reason is empty"),
    ] {
        let (code, told) = pause(pauses, scope, reason).await;
        assert!(code == ATTENTION && told.contains(why), "{told}");
    }
    let (code, told) = pause(false, "claims", "done").await;
    assert!(code == OK && told.starts_with("rule claims: at most 7 in flight"), "{told}");
    let history = LimitArgs { rule: Some("claims".to_owned()), history: true, ..LimitArgs::default() };
    let golden = "\
2026-07-21 10:00:06  rule claims: 7  by ann (done)
2026-07-21 10:00:01  rule claims: 0  by ann (maintenance)
2026-07-21 10:00:00  rule claims: 7  by ann (no reason was given)
";
    assert_eq!(limited(&world, &app, history).await, (OK, golden.to_owned()));
}

#[tokio::test]
async fn limit_shows_what_is_in_flight_and_what_waits_and_sets_it_for_all() {
    let world = World::with_rules(LIMITED);
    let app = world.app();
    let show = || limited(&world, &app, LimitArgs::default());
    assert_eq!(show().await, (OK, "No reconcile run has reported a rule yet.\n".to_owned()));
    for n in 0..5 {
        world.deliver(&app, &event(&format!("{n}.csv"), "1")).await;
    }
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    let golden = "\
rule      claims                                              2 of 2 slots taken, 3 wait
          all 2 slots of rule `claims` are taken (maxInFlight)
endpoint  https://heart.example/jobs                          no limit
";
    assert_eq!(show().await, (OK, golden.to_owned()));
    let rule = |id: &str, new_limit| LimitArgs {
        rule: Some(id.to_owned()),
        new_limit: Some(new_limit),
        ..LimitArgs::default()
    };
    let (code, typo) = limited(&world, &app, rule("clams", NewLimit::Of(0))).await;
    assert!(code == ATTENTION && typo.contains("Known are claims, https://heart.example/jobs"), "{typo}");
    assert!(app.ledger().controls().await.unwrap().limits.is_empty());
    let (code, nobody) =
        limited(&world, &app, LimitArgs { new_limit: Some(NewLimit::Of(0)), ..LimitArgs::default() }).await;
    assert!(code == ATTENTION && nobody.contains("--rule"), "{nobody}");
    for (new_limit, says, summary) in [
        (
            NewLimit::Of(7),
            "at most 7 in flight, whatever the rules say",
            "2 of 7 slots taken (an operator's limit since 2026-07-21 10:00:00 by ann; in the rules: 2), 3 wait",
        ),
        (NewLimit::Of(0), "paused", "paused (an operator's limit since"),
        (NewLimit::Default, "at most 2 in flight, as the rules say", "2 of 2 slots taken, 3 wait"),
    ] {
        let (code, set) = limited(&world, &app, rule("claims", new_limit)).await;
        assert!(code == OK && set.contains(says) && set.contains("15 seconds"), "{set}");
        let (_, shown) = show().await;
        assert!(shown.contains(summary), "{shown}");
        let (_, status) =
            text(async |out| status::status(app.ledger(), &HERE, &JsonArgs::TEXT, None, world.now(), out).await).await;
        assert!(status.contains(&format!("Limit       rule claims: {summary}")), "{status}");
        let (_, _, html) = page(&app, &world, "/").await;
        assert!(html.contains(&summary.replace('\'', "&#39;")) || html.contains(summary), "{html}");
        world.later(Duration::SECOND);
    }
    let json = LimitArgs { json: JsonArgs::ALL, ..LimitArgs::default() };
    let (_, told) = limited(&world, &app, json).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told[0]["name"], &told[0]["limit"], &told[0]["waiting"]), (&json!("claims"), &json!(2), &json!(3)));
    let (_, _, same) = page(&app, &world, "/api/limits").await;
    assert_eq!(serde_json::from_str::<Value>(&same).unwrap(), told);
}

#[tokio::test]
async fn an_open_circuit_breaker_is_shown_with_its_reason_and_closed_by_a_command() {
    let rules =
        RULE.replace("\"maxAttempts\":2", "\"maxAttempts\":1").replace("jobs\"}", "jobs\",\"deployment\":\"v7\"}");
    let world = World::with_rules(&rules);
    let app = world.app();
    let ask = async |args: BreakerArgs| {
        text(async |out| breaker::breaker(app.ledger(), &args, "ann", world.now(), out).await).await
    };
    let (code, calm) = ask(BreakerArgs::default()).await;
    assert_eq!((code, calm.as_str()), (OK, "No scoring has failed.\n"));
    for n in 0..10 {
        world.deliver(&app, &event(&format!("{}/{n}.csv", n % 2), "1")).await;
    }
    world.end_jobs(&JobStatus::Failed);
    world.later(Duration::minutes(2));
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    let late = world.deliver(&app, &event("late.csv", "1")).await;
    let golden = "\
deployment v7 of https://heart.example/jobs: open, one scoring probes it at 2026-07-21 10:07:00 UTC; 10 scorings in a row failed (unknown), the last: exit code 42
  scorekeeper breaker close --endpoint https://heart.example/jobs --deployment v7 --reason …
";
    assert_eq!(ask(BreakerArgs::default()).await, (ATTENTION, golden.to_owned()));
    let (_, status) =
        text(async |out| status::status(app.ledger(), &HERE, &JsonArgs::TEXT, None, world.now(), out).await).await;
    assert!(status.contains("Breaker     deployment v7 of https://heart.example/jobs: open, one"), "{status}");
    assert!(status.contains("  1 wait for deployment v7") && status.contains("scorekeeper breaker close"), "{status}");
    // Where the ledger was named, what is suggested names it too: of this command, and of a scoring that waits for the breaker.
    let clock: Clock = {
        let now = world.now();
        Arc::new(move || now)
    };
    let place = LedgerLocation::Embedded("d/ledger".into());
    let here = Here { ledger: app.ledger(), place: &place, by: "ann", columns: None, clock: &clock };
    for (line, next) in [
        (&["breaker", "--data", "d"][..], "scorekeeper breaker --data d close --endpoint https://heart.example/jobs"),
        (&["show", "--data", "d", &late[0]], "(scorekeeper breaker --data d)"),
    ] {
        let command = read_ledger_command(line).unwrap();
        let (_, told) = text(async |out| command.run(&here, out).await).await;
        assert!(told.contains(next), "{told}");
    }
    let (_, trace) =
        text(async |out| show::show(app.ledger(), &HERE, &late[0], &JsonArgs::TEXT, START, out).await).await;
    assert!(trace.contains("waits    the circuit breaker is open, as 10 scorings in a row failed"), "{trace}");
    let (_, _, html) = page(&app, &world, "/").await;
    assert!(html.contains("one scoring probes it at 2026-07-21 10:07:00 UTC"), "{html}");
    let (_, _, html) = page(&app, &world, &format!("/scorings/{}", late[0])).await;
    assert!(html.contains("the circuit breaker is open"), "{html}");
    let (_, _, told) = page(&app, &world, "/api/breakers").await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told[0]["state"], &told[0]["failures"]), (&json!("open"), &json!(10)));
    let (_, same) = ask(BreakerArgs { json: JsonArgs::ALL, ..BreakerArgs::default() }).await;
    assert_eq!(serde_json::from_str::<Value>(&same).unwrap(), told);

    let close = BreakerArgs {
        action: Some(Action::Close),
        reason: Some("the model is fixed".into()),
        endpoint: Some("https://heart.example/jobs/".into()),
        ..BreakerArgs::default()
    };
    let (code, typo) = ask(close.clone()).await;
    assert!(code == ATTENTION && typo.contains("deployment v7 of https://heart.example/jobs"), "{typo}");
    let history = || BreakerArgs { history: true, ..BreakerArgs::default() };
    assert_eq!(ask(history()).await, (OK, "No operator has closed a circuit breaker.\n".to_owned()));
    let close = BreakerArgs { deployment: Some("v7".into()), ..close };
    let (code, without) = ask(BreakerArgs { reason: Some(" ".into()), ..close.clone() }).await;
    assert!(code == ATTENTION && without.contains("--reason is empty"), "{without}");
    // The answer is lost, and the command knows its own line all the same.
    world.store.push(StoreFault::LostAnswer { times: 1 });
    let (code, closed) = ask(close.clone()).await;
    assert!(code == OK && closed.contains("15 seconds"), "{closed}");
    let (code, after) = ask(BreakerArgs::default()).await;
    assert_eq!((code, after.as_str()), (OK, "deployment v7 of https://heart.example/jobs: closed\n"));
    let (code, again) = ask(close).await;
    assert!(code == ATTENTION && again.contains("no failure to forget"), "{again}");
    let golden = "\
2026-07-21 10:02:00  deployment v7 of https://heart.example/jobs: closed  by ann (the model is fixed)
";
    assert_eq!(ask(history()).await, (OK, golden.to_owned()));
}

#[tokio::test]
async fn of_two_who_set_a_limit_at_one_time_the_second_is_told_and_a_lost_answer_is_known() {
    let world = World::with_rules(LIMITED);
    let app = world.app();
    let (ledger, scope) = (app.ledger(), LimitScope::rule("claims"));
    let change = |limit, by: &str| {
        world.later(Duration::SECOND);
        LimitChange { name: "claims".into(), limit, at: world.now(), by: by.into(), reason: Some("a test".into()) }
    };
    let limit = async || ledger.controls().await.unwrap().limits.get(&scope).map(|live| live.limit);
    for fault in [StoreFault::Pass, StoreFault::LostRequest, StoreFault::LostAnswer { times: 1 }] {
        let seen = ledger.controls().await.unwrap();
        let before = ledger.limit_history(&scope, 100).await.unwrap().len();
        world.store.push(fault.clone());
        assert_eq!(
            ledger.set_limit(&scope, &change(Some(5), "ann"), &seen).await.unwrap(),
            ControlOutcome::Done,
            "{fault:?}"
        );
        // Each saw what was before both.
        for word in [Some(7), None] {
            let said = ledger.set_limit(&scope, &change(word, "bob"), &seen).await.unwrap();
            assert_eq!((said, limit().await), (ControlOutcome::Overtaken, Some(5)), "{fault:?}");
        }
        assert_eq!(ledger.limit_history(&scope, 100).await.unwrap().len(), before + 1, "{fault:?}");
        let seen = ledger.controls().await.unwrap();
        assert_eq!(ledger.set_limit(&scope, &change(None, "bob"), &seen).await.unwrap(), ControlOutcome::Done);
        let seen = ledger.controls().await.unwrap();
        assert_eq!(ledger.set_limit(&scope, &change(None, "bob"), &seen).await.unwrap(), ControlOutcome::Already);
    }
}

#[tokio::test]
async fn everything_is_paused_and_resumed_with_one_command() {
    let rule = |id: &str| {
        format!(r#"{{"id":"{id}","match":{{"container":"{id}"}},"endpoint":{{"uri":"https://heart.example/jobs"}}}}"#)
    };
    let world = World::with_rules(&format!(r#"{{"rules":[{},{}]}}"#, rule("claims"), rule("letters")));
    let app = world.app();
    let all = async |pauses| {
        world.later(Duration::SECOND);
        let args = PauseArgs { which: HERE, scope: None, all: true, reason: "the subscription is moved".to_owned() };
        text(async |out| limit::pause(app.ledger(), pauses, &args, "ann", world.now(), out).await).await
    };
    let (code, none) = all(true).await;
    assert!(code == ATTENTION && none.contains("no reconcile run has reported a rule"), "{none}");
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    let (code, told) = all(true).await;
    assert!(code == OK && told.contains("rule claims: paused.") && told.contains("rule letters: paused."), "{told}");
    world.later(Duration::minutes(1));
    world.deliver(&app, &event("a.csv", "1")).await;
    assert!(world.jobs().is_empty());
    assert_eq!(all(true).await.0, ATTENTION, "twice is once");
    assert_eq!(all(false).await.0, OK);
    world.later(Duration::minutes(1));
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    assert_eq!(world.jobs().len(), 1);
}
