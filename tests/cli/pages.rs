//! The page: the same read model, as HTML and JSON.

use app::ports::table_store::{Entity, Key, Op, TableStore as _};
use axum::http::StatusCode;
use handler::cli::list;
use handler::cli::list::{Instead, ListArgs};
use handler::cli::on_ledger::ATTENTION;
use serde_json::{Value, json};

use super::{args, page, populate, text};
use crate::support::world::{START, World};

#[tokio::test]
async fn the_page_shows_each_scoring_escapes_names_and_loads_nothing() {
    let world = World::new();
    let app = populate(&world).await;
    let (status, headers, html) = page(&app, &world, "/").await;
    assert_eq!(status, StatusCode::OK);
    assert!(html.contains("claims/eu/ü &lt;c&gt;.csv") && !html.contains("<c>"), "{html}");
    assert!(headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    assert!(!html.contains("<script"));
    let (_, _, scored) = page(&app, &world, "/?status=scored").await;
    assert!(scored.contains("eu/a.csv") && !scored.contains("eu/b.csv"));
    let (status, _, bad) = page(&app, &world, "/?status=done").await;
    assert!(status == StatusCode::BAD_REQUEST && bad.contains("queued, submitting"), "{bad}");
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
    assert!(html.contains("waits for a look") && html.contains("claims/eu/part-00000-abc.csv"), "{html}");
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
    let (_, _, rows) = page(&app, &world, "/api/scorings?status=scored").await;
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
