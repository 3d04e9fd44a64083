//! `status`: counts, and what needs attention with the next command.

use axum::body::to_bytes;
use axum::http::Request;
use handler::cli::json::JsonArgs;
use handler::cli::on_ledger::{ATTENTION, OK};
use handler::cli::{explain, list, status};
use handler::config::WhichLedger;
use lifecycle::JobStatus;
use serde_json::{Value, json};
use time::Duration;
use tower::ServiceExt as _;

use super::{HERE, args, populate, text};
use crate::support::world::{Fault, RULE, START, World, event};

#[tokio::test]
async fn status_counts_and_says_what_to_do_next() {
    let world = World::new();
    let app = populate(&world).await;
    let golden = "\
In flight   2   (queued 0   submitting 0   unknown 1   held 0   running 1   cancelling 0   verifying 0)
Last 24 h   scored 1   failed 0   cancelled 0   gone 0   superseded 0
Events      skipped 1   quarantined 1
Oldest      accepted 30 s ago
Last upload 0 s ago
Last run    30 s ago
Needs attention
  1 event quarantined in the last 24 h, because `eventType` is missing or not a string; expected Event Grid's schema (eventType) or CloudEvents 1.0 (specversion, type), since 2026-07-21 10:02:30 UTC: scorekeeper list --quarantined, then scorekeeper ack --finding 61202105 --reason …
";
    let (code, status) =
        text(async |out| status::status(app.ledger(), &HERE, &JsonArgs::TEXT, None, world.now(), out).await).await;
    assert_eq!((code, status.as_str()), (ATTENTION, golden));
    let (_, status) =
        text(async |out| status::status(app.ledger(), &HERE, &JsonArgs::ALL, None, world.now(), out).await).await;
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!((&status["counts"]["running"], &status["quarantined24h"]), (&json!(1), &json!(1)));
    assert!(status["lastRun"].as_str().is_some_and(|at| at.starts_with("2026-07-21T10:")), "{status}");
    assert_eq!(status["runningSince"], Value::Null);
    let found = &status["attention"];
    assert_eq!((found.as_array().map(Vec::len), &found[0]["kind"]), (Some(1), &json!("quarantined")), "{status}");
    assert_eq!((&found[0]["count"], &found[0]["since"]), (&json!(1), &json!("2026-07-21T10:02:30Z")), "{status}");
    assert_eq!(found[0]["id"], "61202105");
    assert_eq!(found[0]["next"], "scorekeeper list --quarantined, then scorekeeper ack --finding 61202105 --reason …");
    for part in [&found[0]["reason"], &found[0]["next"]] {
        assert!(golden.contains(part.as_str().unwrap()), "text and JSON say the same: {part}");
    }
    let (code, none) =
        text(async |out| status::status(World::new().app().ledger(), &HERE, &JsonArgs::TEXT, None, START, out).await)
            .await;
    assert!(code == ATTENTION && none.contains("no ledger under the task hub Test"), "{none}");
}

#[tokio::test]
async fn status_says_how_long_a_reconcile_run_has_been_running() {
    for (complete, golden) in [
        (true, "Last run    3 min ago; one has been running for 90 s\n"),
        (false, "Last run    none has ended yet; one has been running for 90 s\n"),
    ] {
        let world = World::new();
        let app = world.app();
        if complete {
            app.tick(world.now() + Duration::minutes(1)).await.unwrap();
        }
        world.later(Duration::seconds(90));
        let begun = app.ledger().runs().await.unwrap().next(world.now(), world.now() + Duration::minutes(5));
        app.ledger().record_begun_run(&begun).await.unwrap();
        world.later(Duration::seconds(90));
        let (code, told) =
            text(async |out| status::status(app.ledger(), &HERE, &JsonArgs::TEXT, None, world.now(), out).await).await;
        assert!(told.contains(golden) && told.ends_with("Nothing needs attention.\n") && code == OK, "{told}");
        let (_, json) =
            text(async |out| status::status(app.ledger(), &HERE, &JsonArgs::ALL, None, world.now(), out).await).await;
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["runningSince"], "2026-07-21T10:01:30Z");
    }
}

#[tokio::test]
async fn failures_need_attention() {
    let world = World::with_rules(&RULE.replace("\"maxAttempts\":2", "\"maxAttempts\":1"));
    let app = world.app();
    world.deliver(&app, &event("a.csv", "1")).await;
    world.later(Duration::minutes(2));
    world.end_jobs(&JobStatus::Failed);
    app.tick(world.now() + Duration::minutes(1)).await.unwrap();
    let (code, status) =
        text(async |out| status::status(app.ledger(), &HERE, &JsonArgs::TEXT, None, world.now(), out).await).await;
    assert_eq!(code, ATTENTION);
    assert!(
        status.contains("1 failed under rule claims (unknown: ") && status.contains("scorekeeper retry --finding"),
        "{status}"
    );
    let (_, list) = text(async |out| list::list(app.ledger(), &args(&[]), START, out).await).await;
    assert!(list.contains("exit code 42"), "{list}");
}

/// Whoever was told where the ledger lies is told of commands that find it there.
#[tokio::test]
async fn suggested_commands_name_the_ledger_that_was_named() {
    let world = World::new();
    let app = world.app();
    world.next_faults([Fault::Refused { permanent: true }]);
    world.deliver(&app, &event("a.csv", "1")).await;
    let which = WhichLedger { data: Some("d".into()), ..WhichLedger::default() };
    for json in [JsonArgs::TEXT, JsonArgs::ALL] {
        let (_, told) =
            text(async |out| status::status(app.ledger(), &which, &json, None, world.now(), out).await).await;
        assert!(told.contains("scorekeeper retry --data d "), "{told}");
    }
    for (blob, next) in [("a.csv", "scorekeeper retry --data d "), ("never.csv", "scorekeeper list --data d --prefix")]
    {
        let (_, told) =
            text(async |out| explain::explain(app.ledger(), &which, blob, &JsonArgs::TEXT, world.now(), out).await)
                .await;
        assert!(told.contains(next), "{told}");
    }
    let router = super::site(&app, START, which, None);
    let answer = router.oneshot(Request::get("/").body(axum::body::Body::empty()).unwrap()).await.unwrap();
    let html = String::from_utf8(to_bytes(answer.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap();
    assert!(html.contains("scorekeeper retry --data d "), "{html}");
}
