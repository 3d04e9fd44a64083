//! The page: the same read model, as HTML and JSON.

use app::ports::table_store::{Entity, Key, Op, TableStore as _};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use handler::cli::list;
use handler::cli::list::{Instead, ListArgs};
use handler::cli::on_ledger::ATTENTION;
use lifecycle::Status;
use serde_json::{Value, json};
use time::Duration;

use super::{HERE, LIMITED, answer, args, page, populate, site, text};
use crate::support::world::{Fault, START, World, event};

#[tokio::test]
async fn the_page_shows_each_scoring_escapes_names_and_loads_nothing() {
    let world = World::new();
    let app = populate(&world).await;
    let (status, headers, html) = page(&app, &world, "/").await;
    assert_eq!(status, StatusCode::OK);
    assert!(html.contains("claims/eu/ü &lt;c&gt;.csv") && !html.contains("<c>"), "{html}");
    assert!(headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    assert_eq!(headers["referrer-policy"], "same-origin", "or browsers name no origin of its forms");
    // A strict policy lets nothing run that stands in the page, and nothing comes from elsewhere or leads to the root.
    assert!(!html.contains(" style=") && !html.contains("<style") && !html.contains(" onclick"), "{html}");
    assert!(!html.contains("href=\"/") && !html.contains("src=\"/") && !html.contains("action=\"/"), "{html}");
    for told in [
        "scored by the hour: 1 in all, 1 at most in one",
        "Phases of the last 1 that were scored",
        "What accounts for the versions of the last day",
    ] {
        assert!(html.contains(told), "{told}: {html}");
    }
    let (_, _, scored) = page(&app, &world, "/?q=status:scored").await;
    assert!(scored.contains("eu/a.csv") && !scored.contains("eu/b.csv"));
    let (status, _, bad) = page(&app, &world, "/?q=status:done").await;
    assert!(status == StatusCode::BAD_REQUEST && bad.contains("queued, grouped"), "{bad}");
    for asset in ["/page.css", "/page.js", "/page.svg"] {
        let (status, headers, text) = page(&app, &world, asset).await;
        assert!(status == StatusCode::OK && headers["x-content-type-options"] == "nosniff" && !text.is_empty());
    }
    assert_eq!(page(&app, &world, "/nothing").await.0, StatusCode::NOT_FOUND);
    assert_eq!(page(&app, &world, "/scorings/nothing").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_page_shows_uploads_that_wait_for_a_look() {
    let world = World::new();
    let app = world.app();
    world.blind_storage(Some("403"));
    let renamed: Value = serde_json::from_str(include_str!("../cases/renames/rename-file.json")).unwrap();
    app.accept(&renamed).await.unwrap().submit().await;
    let (_, _, html) = page(&app, &world, "/").await;
    assert!(html.contains("wait for a look") && html.contains("claims/eu/part-00000-abc.csv"), "{html}");
    let (_, _, pending) = page(&app, &world, "/api/pending").await;
    let pending: Value = serde_json::from_str(&pending).unwrap();
    assert_eq!((pending.as_array().map(Vec::len), &pending[0]["lookFailed"]), (Some(1), &json!(true)), "{pending}");
    let damaged = Entity::new(Key::new("pending", "0".repeat(32))).with("SchemaVersion", 1).with("Kind", "lost");
    world.store.write(&world.table("State"), &[Op::Insert(damaged)]).await.unwrap();
    let (_, _, html) = page(&app, &world, "/").await;
    assert!(html.contains("unreadable") && html.contains("claims/eu/part-00000-abc.csv"), "{html}");
    let waiting = ListArgs { instead: Instead { pending: true, ..Instead::default() }, ..args(&[]) };
    let (code, shown) = text(async |out| list::list(app.ledger(), &waiting, START, out).await).await;
    assert!(code == ATTENTION && shown.contains("unreadable") && shown.contains("part-00000-abc.csv"), "{shown}");
}

#[tokio::test]
async fn the_page_of_a_scoring_and_its_json_tell_the_same_story() {
    let world = World::new();
    let app = populate(&world).await;
    let (_, _, rows) = page(&app, &world, "/api/scorings?q=status:scored").await;
    let rows: Value = serde_json::from_str(&rows).unwrap();
    let id = rows[0]["id"].as_str().unwrap();
    let (status, _, html) = page(&app, &world, &format!("/scorings/{id}")).await;
    assert_eq!(status, StatusCode::OK);
    let (_, _, trace) = page(&app, &world, &format!("/api/scorings/{id}")).await;
    let trace: Value = serde_json::from_str(&trace).unwrap();
    for entry in trace["history"].as_array().unwrap() {
        let reason = entry["reason"].as_str().unwrap();
        assert!(html.contains(reason), "{reason} is missing in {html}");
    }
}

/// What a form of the page sends.
fn form(fields: &[(&str, &str)]) -> Request<Body> {
    let mut body = url::form_urlencoded::Serializer::new(String::new());
    body.extend_pairs(fields);
    let request = Request::post("/orders").header("content-type", "application/x-www-form-urlencoded");
    request.body(Body::from(body.finish())).unwrap()
}

fn token(html: &str) -> &str {
    html.split_once("name=\"token\" value=\"").unwrap().1.split_once('"').unwrap().0
}

#[tokio::test]
async fn an_order_of_the_page_is_confirmed_with_a_reason_and_stands_in_the_history() {
    let world = World::new();
    let app = world.app();
    world.next_faults([Fault::Refused { permanent: true }, Fault::Refused { permanent: true }]);
    let mut ids = world.deliver(&app, &event("a.csv", "1")).await;
    ids.extend(world.deliver(&app, &event("b.csv", "1")).await);
    let site = site(&app, world.now(), HERE, Some("ann"));
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    let (_, _, html) = answer(&site, get("/?q=status:failed")).await;
    let token = token(&html);

    let asked = [("token", token), ("verb", "retry"), ("all", "1"), ("q", "status:failed")];
    let (status, _, html) = answer(&site, form(&asked)).await;
    assert!(status == StatusCode::OK && html.contains("2 would be retried; nothing was changed."), "{html}");
    assert!(html.contains("scorekeeper retry '--reason=…' --yes --status=failed"), "{html}");
    let confirmed = [&asked[..], &[("confirmed", "1")]].concat();
    let (_, _, html) = answer(&site, form(&confirmed)).await;
    assert!(html.contains("Say why: nothing was changed."), "{html}");
    assert_eq!(world.get(&app, &ids[0]).await.status, Status::Failed);
    let (_, _, html) = answer(&site, form(&[&confirmed[..], &[("reason", "the model is fixed")]].concat())).await;
    assert!(html.contains("2 retried, 0 left alone"), "{html}");
    for id in &ids {
        let entries = app.ledger().entries(&id.parse().unwrap()).await.unwrap();
        assert!(entries.last().unwrap().reason.contains("by ann (the model is fixed)"), "{entries:?}");
    }
    // A detail offers what would change something, and nothing else.
    let (_, _, html) = answer(&site, get(&format!("/scorings/{}", ids[0]))).await;
    assert!(html.contains("value=\"hold\"") && !html.contains("value=\"release\""), "{html}");
    let (_, _, html) = answer(&site, get(&format!("/explain?blob={}", ids[0]))).await;
    assert!(html.contains("claims/a.csv"), "{html}");
}

#[tokio::test]
async fn nobody_orders_by_a_form_of_another_page_or_on_one_that_only_shows() {
    let world = World::new();
    let app = world.app();
    world.next_faults([Fault::Refused { permanent: true }]);
    let id = world.deliver(&app, &event("a.csv", "1")).await.remove(0);
    let fields = [("verb", "retry"), ("id", &id), ("reason", "x"), ("confirmed", "1")];
    let acting = site(&app, world.now(), HERE, Some("ann"));
    let get = || Request::get("/").body(Body::empty()).unwrap();
    let (_, _, html) = answer(&site(&app, world.now(), HERE, Some("ann")), get()).await;
    for token in [None, Some("guessed"), Some(token(&html))] {
        let fields: Vec<_> = token.map(|token| ("token", token)).into_iter().chain(fields).collect();
        let (status, _, html) = answer(&acting, form(&fields)).await;
        assert!(status == StatusCode::FORBIDDEN && html.contains("not one of this page"), "{html}");
    }
    let showing = site(&app, world.now(), HERE, None);
    let (_, _, html) = answer(&showing, get()).await;
    assert!(
        !html.contains("method=\"post\" action=\"orders\"><input") && !html.contains("type=\"checkbox\""),
        "{html}"
    );
    let (status, _, html) = answer(&showing, form(&fields)).await;
    assert!(status == StatusCode::FORBIDDEN && html.contains("only shows"), "{html}");
    assert_eq!(world.get(&app, &id).await.status, Status::Failed);
}

#[tokio::test]
async fn rules_are_limited_paused_and_resumed_on_the_page() {
    let world = World::with_rules(LIMITED);
    let app = world.app();
    world.deliver(&app, &event("a.csv", "1")).await;
    app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    let site = site(&app, world.now(), HERE, Some("ann"));
    let get = || Request::get("/").body(Body::empty()).unwrap();
    let (_, _, html) = answer(&site, get()).await;
    let token = token(&html).to_owned();
    for (fields, told) in [
        (&[("verb", "limit"), ("limit", "1")][..], "rule claims: "),
        (&[("verb", "pause")][..], "rule claims: "),
        (&[("verb", "resume")][..], "rule claims: "),
    ] {
        let further = [("rule", "claims"), ("token", token.as_str()), ("reason", "a test"), ("confirmed", "1")];
        let (status, _, html) = answer(&site, form(&[fields, &further].concat())).await;
        assert!(
            status == StatusCode::OK && html.contains("<h2>Done</h2>") && html.contains(told),
            "{fields:?}: {html}"
        );
        let (_, _, html) = answer(&site, get()).await;
        assert_eq!(html.contains("value=\"resume\""), fields[0].1 == "pause", "{html}");
    }
}

/// What an event or a service has put into a row may be a secret that nothing recognises.
#[tokio::test]
async fn the_row_of_a_scoring_is_shown_without_what_others_have_written() {
    let world = World::new();
    let app = world.app();
    let mut event = event("a.csv", "1");
    event["data"]["sequencer"] = json!("00000000000000000000000000000999");
    let id = world.deliver(&app, &event).await.remove(0);
    let (_, _, html) = page(&app, &world, &format!("/scorings/{id}")).await;
    assert!(
        html.contains("&quot;RuleId&quot;: &quot;claims&quot;") && html.contains("&quot;Attempt&quot;: 1"),
        "{html}"
    );
    assert!(html.contains("&quot;Sequencer&quot;: &quot;(32 characters)&quot;") && !html.contains("00999"), "{html}");
}

#[tokio::test]
async fn a_list_goes_on_behind_its_last_row_with_the_same_search() {
    let world = World::new();
    let app = world.app();
    for n in 0..101 {
        world.deliver(&app, &event(&format!("{n:03}.csv"), "1")).await;
        world.later(Duration::seconds(1));
    }
    let (_, _, first) = page(&app, &world, "/?q=rule:claims").await;
    assert!(first.contains("claims/100.csv") && !first.contains("claims/000.csv"), "{first}");
    let next = first.split_once("rel=\"next\" href=\"./").unwrap().1.split_once('"').unwrap().0;
    let (_, _, second) = page(&app, &world, &format!("/{}", next.replace("&amp;", "&"))).await;
    assert!(second.contains("claims/000.csv") && !second.contains("claims/100.csv"), "{second}");
}
