//! Starts that nobody uploads for: one key is one scoring whatever dies between its rows, and who asked to be told is told of the end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use app::ledger::{KeptStart, KeyedStart};
use app::ports::{CallFailed, CallbackCaller};
use app::{App, CallbackToKeep, StartError, StartRefused};
use async_trait::async_trait;
use handler::functions::{HttpAccess, HttpRequest, scorings};
use lambda_runtime::{Context, LambdaEvent};
use lifecycle::callback::{CallbackHosts, CallbackUri};
use lifecycle::pending_order::StartOrder;
use lifecycle::start::{StartKey, StartRequest};
use lifecycle::{JobStatus, Scoring, Status, UnversionedBlob};
use time::Duration;
use tower::ServiceExt as _;

use crate::support::world::{Fault, World, event};

fn again() -> StartRequest {
    let body = r#"{"rule":"claims","blob":"claims/a.csv","again":true}"#;
    StartRequest::read(body, &CallbackHosts::data_factory()).unwrap()
}

fn key(text: &str) -> StartKey {
    StartKey::read(text).unwrap()
}

/// A world with one blob, which nobody was told of.
fn world() -> World {
    let world = World::new();
    let blob = UnversionedBlob::read("https://uploads.blob.core.windows.net/claims/a.csv").unwrap();
    world.uploaded(|uploaded| uploaded.put_version(&blob, "0x1", 7));
    world
}

async fn started(app: &App, key: &StartKey) -> Result<Scoring, StartError> {
    let (started, submissions) = app.start(&again(), Some(key), "HTTP").await?;
    submissions.send().await;
    Ok(*started.scoring)
}

/// What is on record of a key right after it was, as somebody leaves it who dies then.
async fn left_behind(app: &App, key: &StartKey, generation: u32) -> KeyedStart {
    let (started, _) = app.start(&StartRequest { again: false, ..again() }, None, "HTTP").await.unwrap();
    let rule = lifecycle::Rules::read(crate::support::world::RULE).unwrap();
    let rule = lifecycle::Rule { generation, ..rule.get("claims").unwrap().clone() };
    let blob = started.scoring.blob;
    let scoring = rule.scoring_id(app.ledger().id().await.unwrap(), &blob);
    let (key, request) = (key.digest("claims"), again().digest());
    let start = KeyedStart { key, request, scoring, blob_url: blob.url, etag: blob.etag, generation, taken: false };
    assert!(matches!(app.ledger().keep_start(&start, app.now()).await.unwrap(), KeptStart::New(_)));
    start
}

#[tokio::test]
async fn a_repetition_makes_what_a_key_names_whose_first_sender_died_before_it_was_there() {
    let world = world();
    let app = world.app();
    let left = left_behind(&app, &key("k"), 5).await;
    assert!(app.ledger().get(&left.scoring).await.unwrap().is_none());
    let scoring = started(&app, &key("k")).await.unwrap();
    assert_eq!((&scoring.id, scoring.generation), (&left.scoring, 5), "what was promised, not another");
    assert_eq!(started(&app, &key("k")).await.unwrap().id, left.scoring);
    assert_eq!(world.jobs().len(), 1, "whoever died has sent nothing");
}

#[tokio::test]
async fn a_generation_that_another_key_has_taken_meanwhile_is_left_to_it() {
    let world = world();
    let app = world.app();
    // Both saw that generation 1 was free; the second one had it on record first.
    let left = left_behind(&app, &key("late"), 1).await;
    let early = started(&app, &key("early")).await.unwrap();
    assert_eq!(early.id, left.scoring);
    let late = started(&app, &key("late")).await.unwrap();
    assert_eq!((late.generation, early.generation), (2, 1));
    for (sent, id) in [("late", &late.id), ("early", &early.id)] {
        assert_eq!(started(&app, &key(sent)).await.unwrap().id, *id, "{sent}");
    }
}

#[tokio::test]
async fn whatever_the_ledger_answers_one_key_ends_in_one_scoring() {
    for fault in [Fault::NotSent, Fault::LostRequest, Fault::LostAnswer { times: 1 }, Fault::Conflict] {
        for writes in 0..6 {
            let world = world();
            let app = world.app();
            (0..writes).for_each(|_| world.store.push(Fault::Pass));
            world.store.push(fault.clone());
            let mut ids = std::collections::BTreeSet::new();
            for _ in 0..3 {
                if let Ok(scoring) = started(&app, &key("k")).await {
                    ids.insert(scoring.id);
                }
            }
            world.tick_until_final(&app, 20).await;
            assert_eq!((ids.len(), world.jobs().len()), (1, 1), "{fault:?} after {writes} writes");
        }
    }
}

#[tokio::test]
async fn a_key_is_kept_as_long_as_its_scoring_and_starts_nothing_after_it() {
    let world = world();
    let app = world.app();
    let scoring = started(&app, &key("k")).await.unwrap();
    let digest = key("k").digest("claims");
    let in_flight = app.ledger().purge(world.now() + Duration::days(90), 100).await.unwrap();
    assert_eq!(in_flight, 0);
    assert!(app.ledger().keyed_start(&digest).await.unwrap().is_some(), "its scoring is there");
    world.tick_until_final(&app, 9).await;
    // The scoring is gone, the key's day is not over.
    let cutoff = world.now() + Duration::hours(2);
    assert_eq!(app.ledger().purge(cutoff, 100).await.unwrap(), 1);
    let refused = started(&app, &key("k")).await.unwrap_err();
    assert!(matches!(&refused, StartError::Refused(StartRefused::Forgotten(id)) if *id == scoring.id), "{refused}");
    app.ledger().purge(world.now() + Duration::days(2), 100).await.unwrap();
    assert!(app.ledger().keyed_start(&digest).await.unwrap().is_none());
}

/// Keeps what it was asked to tell, and answers as it was told to.
#[derive(Default)]
struct Caller {
    told: Mutex<Vec<(String, String)>>,
    answers: Mutex<Vec<CallFailed>>,
}

#[async_trait]
impl CallbackCaller for Caller {
    async fn call(&self, uri: &CallbackUri, body: &str) -> Result<(), CallFailed> {
        self.told.lock().unwrap().push((uri.expose().to_owned(), body.to_owned()));
        self.answers.lock().unwrap().pop().map_or(Ok(()), Err)
    }
}

const URI: &str = "https://x.svc.datafactory.azure.com/cb?ptoken=SECRET";

async fn asked_to_tell(answers: Vec<CallFailed>) -> (World, App, Arc<Caller>, lifecycle::ScoringId) {
    let world = World::new();
    let caller = Arc::new(Caller { answers: Mutex::new(answers), ..Caller::default() });
    let app = world.app_with_callbacks(Arc::clone(&caller) as Arc<dyn CallbackCaller>);
    let id: lifecycle::ScoringId = world.deliver(&app, &event("a.csv", "1")).await[0].parse().unwrap();
    let callback = CallbackToKeep { scoring: id.clone(), uri: CallbackUri::from_row(URI).unwrap() };
    for _ in 0..2 {
        app.keep_callback(callback.clone()).await.unwrap();
    }
    (world, app, caller, id)
}

async fn ticked(world: &World, app: &App, times: usize) {
    for _ in 0..times {
        world.later(Duration::minutes(2));
        app.tick(world.now() + Duration::minutes(5)).await.unwrap();
    }
}

#[tokio::test]
async fn who_asked_is_told_once_when_the_scoring_has_ended_and_its_secret_is_removed() {
    let (world, app, caller, id) = asked_to_tell(Vec::new()).await;
    ticked(&world, &app, 3).await;
    assert!(caller.told.lock().unwrap().is_empty(), "it runs");
    assert_eq!(app.ledger().callbacks(10).await.unwrap().len(), 1);
    world.end_jobs(&JobStatus::Completed);
    ticked(&world, &app, 4).await;
    let told = caller.told.lock().unwrap().clone();
    let [(uri, body)] = told.as_slice() else { panic!("{told:?}") };
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((uri.as_str(), &body["Output"]["id"], &body["StatusCode"]), (URI, &id.as_str().into(), &"200".into()));
    assert!(app.ledger().callbacks(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn who_is_not_reached_is_told_later_and_who_refuses_is_not_told_again() {
    let not_reached = || CallFailed::NotReached("it answered 503".to_owned());
    let (world, app, caller, _) = asked_to_tell(vec![not_reached(), not_reached()]).await;
    world.end_jobs(&JobStatus::Failed);
    world.tick_until_final(&app, 30).await;
    ticked(&world, &app, 20).await;
    let told = caller.told.lock().unwrap().clone();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(app.ledger().callbacks(10).await.unwrap().is_empty());

    let (world, app, caller, _) = asked_to_tell(vec![CallFailed::Refused("a redirect".to_owned())]).await;
    world.tick_until_final(&app, 9).await;
    ticked(&world, &app, 5).await;
    assert_eq!(caller.told.lock().unwrap().len(), 1);
    assert!(app.ledger().callbacks(10).await.unwrap().is_empty());

    // For a day.
    let (world, app, caller, _) = asked_to_tell((0..1_000).map(|_| not_reached()).collect()).await;
    world.tick_until_final(&app, 9).await;
    ticked(&world, &app, 24 * 30 + 60).await;
    let calls = caller.told.lock().unwrap().len();
    assert!((10..60).contains(&calls), "{calls}");
    assert!(app.ledger().callbacks(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn of_what_ended_without_a_result_the_orchestrators_activity_fails() {
    let (world, app, caller, id) = asked_to_tell(Vec::new()).await;
    let order = lifecycle::Order { verb: lifecycle::Verb::Cancel, by: "ann".to_owned(), reason: "a test".to_owned() };
    app::order(app.ledger(), &id, &order, world.now()).await.unwrap();
    ticked(&world, &app, 9).await;
    assert_eq!(world.get(&app, id.as_str()).await.status, Status::Cancelled);
    let told = caller.told.lock().unwrap().clone();
    let body: serde_json::Value = serde_json::from_str(&told[0].1).unwrap();
    assert_eq!((&body["StatusCode"], &body["Error"]["ErrorCode"]), (&"500".into(), &"cancelled".into()));
}

/// A start holds its place until its job was asked for, which may take the endpoint a minute.
#[tokio::test(start_paused = true)]
async fn more_starts_at_work_than_there_are_places_for_are_told_to_come_again() {
    const PLACES: usize = 64;
    let slow = std::time::Duration::from_secs(60);
    let world = World::new();
    for n in 0..=PLACES {
        let blob = UnversionedBlob::read(&format!("https://uploads.blob.core.windows.net/claims/{n}.csv")).unwrap();
        world.uploaded(|uploaded| uploaded.put_version(&blob, "0x1", 7));
    }
    world.posts_take(slow);
    let access = HttpAccess { on: true, signed_in: false, callback_hosts: CallbackHosts::data_factory() };
    let function = scorings(world.app(), access);
    let start = async |n: usize| {
        let body = format!(r#"{{"rule":"claims","blob":"claims/{n}.csv"}}"#);
        let (url, method) = ("/api/scorings".to_owned(), "POST".to_owned());
        let request = HttpRequest { url, method, body: Some(body), ..HttpRequest::default() };
        function.clone().oneshot(LambdaEvent::new(request, Context::default())).await.unwrap()
    };
    for n in 0..PLACES {
        assert_eq!(start(n).await.status_code, 202, "{n}");
    }
    let refused = start(PLACES).await;
    assert_eq!((refused.status_code, refused.headers.get("Retry-After").map(String::as_str)), (429, Some("30")));
    tokio::time::sleep(2 * slow).await;
    assert_eq!(start(PLACES).await.status_code, 202);
    tokio::time::sleep(2 * slow).await;
    assert_eq!(world.jobs().len(), PLACES + 1);
}

#[tokio::test]
async fn a_shadow_is_not_started_as_it_is_scored_beside_its_rule() {
    let rules = r#"{"rules":[{"id":"claims","match":{"container":"claims"},
        "endpoint":{"uri":"https://heart.example/jobs","shadow":"v2"}}]}"#;
    let world = World::with_rules(rules);
    let blob = UnversionedBlob::read("https://uploads.blob.core.windows.net/claims/a.csv").unwrap();
    world.uploaded(|uploaded| uploaded.put_version(&blob, "0x1", 7));
    let start = async |rule: &str| {
        let request = StartRequest { rule: rule.to_owned(), again: false, ..again() };
        world.app().start(&request, Some(&key("k")), "HTTP").await.map(|(started, _)| started)
    };
    let refused = start("claims-shadow").await.unwrap_err();
    assert!(matches!(refused, StartError::Refused(StartRefused::NoSuchRule(..))), "{refused}");
    assert!(start("claims").await.is_ok());
}

fn put(world: &World, url: &str, etag: &str) -> UnversionedBlob {
    let blob = UnversionedBlob::read(url).unwrap();
    world.uploaded(|uploaded| uploaded.put_version(&blob, etag, 7));
    blob
}

async fn start_of(app: &App, path: &str) -> Result<Scoring, StartError> {
    let request = StartRequest { path: path.to_owned(), again: false, ..again() };
    let (started, submissions) = app.start(&request, None, "HTTP").await?;
    submissions.send().await;
    Ok(*started.scoring)
}

#[tokio::test]
async fn an_output_of_ours_is_not_started() {
    let world = world();
    let app = world.app();
    let scoring = start_of(&app, "a.csv").await.unwrap();
    let path = scoring.output_uri().unwrap().split_once("/paths/").unwrap().1.to_owned();
    put(&world, &format!("https://uploads.blob.core.windows.net/claims/{path}"), "0x9");
    let refused = start_of(&app, &path).await.unwrap_err();
    let StartError::Refused(StartRefused::NotAccepted { why, .. }) = &refused else { panic!("{refused:?}") };
    assert_eq!(*why, format!("it is an output of scoring {}", scoring.id));
    assert_eq!(world.jobs().len(), 1);
}

#[tokio::test]
async fn where_overwrites_are_ignored_a_start_of_a_later_version_is_not_the_first_one() {
    let rules = r#"{"rules":[{"id":"claims","match":{"container":"claims"},"overwrites":"ignore",
        "endpoint":{"uri":"https://heart.example/jobs"}}]}"#;
    let world = World::with_rules(rules);
    let app = world.app();
    let url = "https://uploads.blob.core.windows.net/claims/a.csv";
    put(&world, url, "0x1");
    let first = start_of(&app, "a.csv").await.unwrap();
    assert_eq!(start_of(&app, "a.csv").await.unwrap().id, first.id);
    put(&world, url, "0x2");
    let refused = start_of(&app, "a.csv").await.unwrap_err();
    assert!(matches!(&refused, StartError::Refused(StartRefused::Other { id, .. }) if *id == first.id), "{refused}");
    assert!(refused.to_string().contains("overwrites is ignore"), "{refused}");
}

#[tokio::test]
async fn who_gives_values_for_parameters_gets_a_job_with_them_though_the_rule_groups() {
    let rules = r#"{"rules":[{"id":"claims","match":{"container":"claims"},"endpoint":{"uri":"https://heart.example/jobs"},
        "group":{"by":"folder"},"inputs":{"data":{"type":"UriFile","uri":"{blob.url}"},"mode":{"type":"Literal","value":"slow","parameter":true}}}]}"#;
    let world = World::with_rules(rules);
    let app = world.app();
    put(&world, "https://uploads.blob.core.windows.net/claims/a.csv", "0x1");
    let start = async |body: &str, by: Option<&StartKey>| {
        let request = StartRequest::read(body, &CallbackHosts::data_factory()).unwrap();
        let (started, submissions) = app.start(&request, by, "HTTP").await.unwrap();
        submissions.send().await;
        started.scoring.id.clone()
    };
    let plain = start(r#"{"rule":"claims","blob":"claims/a.csv"}"#, None).await;
    assert!(world.jobs().is_empty() && world.get(&app, &plain).await.waits_for_group());
    let fast = r#"{"rule":"claims","blob":"claims/a.csv","again":true,"parameters":{"mode":"fast"}}"#;
    start(fast, Some(&key("k"))).await;
    let [job] = &world.jobs()[..] else { panic!("{:?}", world.jobs()) };
    let sent = serde_json::to_value(&job.submission).unwrap();
    assert_eq!(
        (&sent["inputs"]["mode"]["value"], &sent["inputs"]["data"]["type"]),
        (&"fast".into(), &"UriFile".into())
    );
}

#[tokio::test]
async fn an_order_for_a_blob_of_a_foreign_host_is_not_even_looked_at() {
    let world = World::new();
    let app = world.app();
    for (host, jobs) in [("uploads.blob.evil.example", 0), ("uploads.blob.core.windows.net", 1)] {
        let blob = put(&world, &format!("https://{host}/claims/a.csv"), "0x1");
        let start = StartOrder {
            rule: "claims".parse().unwrap(),
            parameters: BTreeMap::new(),
            again: false,
            key: key(&format!("k-{jobs}")),
        };
        app::order_start(app.ledger(), blob, start, "ann", "scorekeeper run", world.now()).await.unwrap();
        world.later(Duration::minutes(1));
        app.tick(world.now() + Duration::minutes(5)).await.unwrap();
        assert_eq!(world.jobs().len(), jobs, "{host}");
    }
}
