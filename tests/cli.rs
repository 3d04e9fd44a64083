//! What people see: the CLI's transcripts, its JSON and exit codes, and the pages. Golden where the text is ours.

use std::sync::Arc;

use app::App;
use axum::body::to_bytes;
use axum::http::{Request, StatusCode};
use handler::cli::filter::FurtherFilter;
use handler::cli::format::Format;
use handler::cli::json::JsonArgs;
use handler::cli::list::{Instead, ListArgs};
use handler::cli::on_ledger;
use handler::cli::watch::WatchArgs;
use handler::config::{LedgerLocation, WhichLedger};
use handler::page::{self, PageOptions};
use lifecycle::Status;
use serde_json::json;
use time::{Duration, OffsetDateTime};
use tower::ServiceExt as _;

use crate::support::world::{Fault, World, event};

mod binary;
mod commands;
mod downloads;
mod explained;
mod groups;
mod groups_listed;
mod limits;
mod lists;
mod operator;
mod orders;
mod outputs;
mod pages;
mod status;

/// No option names the ledger.
const HERE: WhichLedger = WhichLedger { ledger: None, data: None, profile: None, task_hub: None };

/// One scored, one whose answer was lost, one that runs, one skipped event and one that cannot be read.
async fn populate(world: &World) -> App {
    let app = world.app();
    world.deliver(&app, &event("eu/a.csv", "1")).await;
    world.tick_until_final(&app, 3).await;
    world.next_faults([Fault::LostRequest]);
    world.deliver(&app, &event("eu/b.csv", "1")).await;
    world.later(Duration::seconds(30));
    world.deliver(&app, &event("eu/ü <c>.csv", "1")).await;
    let mut other = event("a.csv", "1");
    other["data"]["url"] = json!("https://uploads.blob.core.windows.net/photos/a.jpg");
    other["subject"] = json!(null);
    app.accept(&json!([other, {"x": 1}])).await.unwrap().submit().await;
    app
}

async fn text(command: impl AsyncFnOnce(&mut dyn std::io::Write) -> Result<u8, on_ledger::Error>) -> (u8, String) {
    let mut out: Vec<u8> = Vec::new();
    let code = command(&mut out).await.unwrap();
    (code, String::from_utf8(out).unwrap())
}

fn args(status: &[Status]) -> ListArgs {
    ListArgs {
        which: WhichLedger::default(),
        status: status.to_vec(),
        groups: false,
        rule: None,
        limit: 100,
        instead: Instead::default(),
        prefix: None,
        since: None,
        further: FurtherFilter::default(),
        after: None,
        finding: None,
        output: Format::Table,
        json: JsonArgs::TEXT,
        watch: WatchArgs::default(),
        width: None,
    }
}

/// Ids are hashes; in golden texts they are numbered from the last line up, and padded as they were.
fn without_ids(text: &str) -> String {
    let count = text.lines().filter(|line| is_id(line)).count();
    let mut next = count + 1;
    let lines = text.lines().map(|line| {
        if is_id(line) {
            next -= 1;
            format!("{:32}{}\n", format!("ID{next}"), &line[32..])
        } else {
            format!("{line}\n")
        }
    });
    lines.collect()
}

fn is_id(line: &str) -> bool {
    line.get(..32).is_some_and(|id| lifecycle::ScoringId::read(id).is_some())
}

const LIMITED: &str = r#"{"rules":[{"id":"claims","match":{"container":"claims"},
    "endpoint":{"uri":"https://heart.example/jobs"},"maxInFlight":2}]}"#;

/// The page of a ledger, for somebody who may order something, or only look.
fn site(app: &App, now: OffsetDateTime, which: WhichLedger, operator: Option<&str>) -> axum::Router {
    page::router(PageOptions {
        ledger: app.ledger().clone(),
        place: LedgerLocation::Embedded("ledger".into()),
        clock: Arc::new(move || now),
        title: "Test".to_owned(),
        which,
        operator: operator.map(str::to_owned),
        token: page::new_token(),
        live: page::Live::Pushed,
        measured: page::Measured::default(),
        results: None,
    })
}

async fn page(app: &App, world: &World, path: &str) -> (StatusCode, axum::http::HeaderMap, String) {
    let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
    answer(&site(app, world.now(), HERE, None), request).await
}

async fn answer(
    router: &axum::Router,
    request: Request<axum::body::Body>,
) -> (StatusCode, axum::http::HeaderMap, String) {
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}
