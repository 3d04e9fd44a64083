//! Dead letters: each event that Event Grid gave up is scored once or quarantined, whoever dies meanwhile, and none is moved aside
//! before the ledger has it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use app::ports::{BlobPage, DeadLetter, DeadLetters, Inconclusive};
use app::reports::FindingKind;
use app::{App, DeadLetterReport, TooOld};
use async_trait::async_trait;
use lifecycle::dead_letter::{Aside, is_aside};
use lifecycle::pending::{BlobKind, CopyState};
use lifecycle::{BlobSnapshot, IndexTags, JobStatus, Status};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::renames::{jobs, tick};
use crate::support::world::{Fault, START, World, event};

/// When the process dies that is at work: with so many of its effects done.
#[derive(Default)]
struct Death {
    effects_left: AtomicUsize,
    is_dead: AtomicBool,
}

impl Death {
    fn after(effects: usize) -> Arc<Self> {
        Arc::new(Self { effects_left: AtomicUsize::new(effects), is_dead: AtomicBool::new(false) })
    }

    /// Whether this effect still happens.
    fn lives(&self) -> bool {
        let left = self.effects_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            self.is_dead.store(true, Ordering::SeqCst);
        }
        left.is_ok()
    }
}

/// Blobs by name: when each was written, and what it holds.
type Held = BTreeMap<String, (OffsetDateTime, Vec<u8>)>;

/// The container, as one process sees it.
#[derive(Clone)]
struct Letters {
    blobs: Arc<Mutex<Held>>,
    denied: Arc<AtomicBool>,
    death: Arc<Death>,
    page: usize,
}

impl Letters {
    fn new() -> Self {
        let (blobs, denied) = (Arc::default(), Arc::default());
        Self { blobs, denied, death: Death::after(usize::MAX), page: 7 }
    }

    fn of_process(&self, death: &Arc<Death>) -> Arc<dyn DeadLetters> {
        Arc::new(Self { death: Arc::clone(death), ..self.clone() })
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        self.blobs.lock().unwrap().insert(name.to_owned(), (START, bytes.to_vec()));
    }

    fn names(&self) -> (Vec<String>, Vec<String>) {
        self.blobs.lock().unwrap().keys().cloned().partition(|name| is_aside(name))
    }

    /// What the process that calls it does next, unless it has died.
    async fn effect<T>(&self, act: impl FnOnce(&mut Held) -> T) -> T {
        if !self.death.lives() {
            std::future::pending::<()>().await;
        }
        act(&mut self.blobs.lock().unwrap())
    }
}

fn shown(modified: OffsetDateTime, size: usize) -> BlobSnapshot {
    BlobSnapshot {
        etag: "0x1".to_owned(),
        size: size as u64,
        content_type: None,
        kind: BlobKind::Block,
        archived: false,
        copy: CopyState::Whole,
        is_folder: false,
        modified: Some(modified),
        metadata: BTreeMap::default(),
        index_tags: IndexTags::NotAsked,
    }
}

#[async_trait]
impl DeadLetters for Letters {
    fn place(&self) -> String {
        "https://ststate.blob.core.windows.net/dead-letters".to_owned()
    }

    async fn list(&self, from: Option<&str>) -> Result<BlobPage, Inconclusive> {
        if self.denied.load(Ordering::SeqCst) {
            return Err(Inconclusive::not_allowed("storage answered 403 about dead-letters"));
        }
        let blobs = self.blobs.lock().unwrap();
        let from = from.unwrap_or_default();
        let mut blobs = blobs.iter().filter(|(name, _)| name.as_str() >= from);
        let page = blobs.by_ref().take(self.page).map(|(name, (at, bytes))| (name.clone(), shown(*at, bytes.len())));
        Ok(BlobPage { blobs: page.collect(), next: blobs.next().map(|(name, _)| name.clone()) })
    }

    async fn read(&self, name: &str) -> Result<Option<DeadLetter>, Inconclusive> {
        let bytes = self.effect(|blobs| blobs.get(name).map(|(_, bytes)| bytes.clone())).await;
        Ok(bytes.map(|bytes| DeadLetter { etag: "0x1".to_owned(), bytes }))
    }

    async fn move_aside(&self, name: &str, letter: &DeadLetter, aside: Aside) -> Result<(), Inconclusive> {
        self.effect(|blobs| blobs.insert(aside.name_of(name), (START, letter.bytes.clone()))).await;
        self.effect(|blobs| blobs.remove(name)).await;
        Ok(())
    }
}

/// An event as Event Grid writes it when it gives up.
fn given_up(path: &str) -> Value {
    let mut event = event(path, "1");
    event["deadLetterReason"] = json!("MaxDeliveryAttemptsExceeded");
    event["deliveryAttempts"] = json!(30);
    event["lastDeliveryOutcome"] = json!("TimedOut");
    event["publishTime"] = json!("2026-07-20T10:00:00.1234567Z");
    event["lastDeliveryAttemptTime"] = json!("2026-07-21T10:00:00.1234567Z");
    event
}

/// 100 dead letters in 40 blobs: 90 events of uploads, seven that cannot be read beside some of them, three blobs without any event.
fn hundred(letters: &Letters) {
    let name = |n: usize| format!("BLOBS-FUNCTION/2026/7/21/10/{n:02}.json");
    let mut upload = 0;
    for n in 0..37 {
        let mut events = Vec::new();
        for _ in 0..(if n < 16 { 3 } else { 2 }) {
            events.push(given_up(&format!("{upload}.csv")));
            upload += 1;
        }
        if n % 5 == 0 && n < 35 {
            events.insert(1, json!({"eventType": "Microsoft.Storage.BlobCreated", "n": n, "deadLetterReason": "x"}));
        }
        letters.put(&name(n), Value::Array(events).to_string().as_bytes());
    }
    assert_eq!(upload, 90);
    letters.put(&name(37), b"");
    letters.put(&name(38), b"[]");
    letters.put(&name(39), b"\xff\xfe not a list of events");
}

fn app(world: &World, letters: &Letters, death: &Arc<Death>) -> App {
    let mut world = world.clone();
    world.dead_letters = Some(letters.of_process(death));
    world.app()
}

async fn take_in(world: &World, app: &App) -> DeadLetterReport {
    app.take_in_dead_letters(world.now() + Duration::minutes(5), TooOld::Left).await.unwrap()
}

/// A run of a process that dies after so many of its effects; `None` if it died.
async fn run_until_death(world: &World, letters: &Letters, effects: usize) -> Option<DeadLetterReport> {
    let death = Death::after(effects);
    world.store.heal();
    let of_ledger = Arc::clone(&death);
    // What it writes after its death arrives nowhere.
    world.store.rule(move |_, _| (!of_ledger.lives()).then_some(Fault::LostRequest));
    let app = app(world, letters, &death);
    let mut run = Box::pin(take_in(world, &app));
    let report = loop {
        let polled = futures::poll!(&mut run);
        if death.is_dead.load(Ordering::SeqCst) {
            break None;
        }
        if let std::task::Poll::Ready(report) = polled {
            break Some(report);
        }
        tokio::task::yield_now().await;
    };
    world.store.heal();
    report
}

async fn all_are_accounted_for(world: &World, letters: &Letters) {
    let app = app(world, letters, &Death::after(usize::MAX));
    for _ in 0..8 {
        tick(world, &app, Duration::minutes(3)).await;
        world.end_jobs(&JobStatus::Completed);
    }
    assert_eq!(world.statuses(&app).await, [(Status::Scored, 90)].into());
    let made: BTreeSet<String> = jobs(world).into_iter().collect();
    assert_eq!((made.len(), jobs(world).len()), (90, 90), "none lost, none twice");
    assert_eq!(app.ledger().quarantined(START - Duration::DAY, 1_000).await.unwrap().len(), 10);
    let (aside, left) = letters.names();
    assert_eq!((aside.len(), left.len()), (40, 0));
    assert_eq!(aside.iter().filter(|name| name.starts_with("~unreadable/")).count(), 10);
    assert_eq!(app.ledger().dead_letters().await.unwrap(), None, "none is told of any more");
}

#[tokio::test]
async fn of_a_hundred_dead_letters_ninety_are_scored_and_ten_quarantined() {
    let world = World::new();
    let letters = Letters::new();
    hundred(&letters);
    let report = run_until_death(&world, &letters, usize::MAX).await.unwrap();
    let wanted = DeadLetterReport { moved: 40, taken_in: 90, quarantined: 10, ..DeadLetterReport::default() };
    assert_eq!(report, wanted);
    all_are_accounted_for(&world, &letters).await;
    let again = run_until_death(&world, &letters, usize::MAX).await.unwrap();
    assert_eq!(again, DeadLetterReport::default());
}

#[tokio::test]
async fn whoever_dies_at_dead_letters_loses_none_and_takes_none_in_twice() {
    let (mut kills, mut runs) = (0, 0);
    // Ever other places to die at, several times in a row, until one run comes to its end.
    for seed in 0..25_usize {
        let world = World::new();
        let letters = Letters::new();
        hundred(&letters);
        for life in 0.. {
            let effects = 1 + (seed * 7 + life * 13) % 67;
            runs += 1;
            let report = run_until_death(&world, &letters, if life < 12 { effects } else { usize::MAX }).await;
            world.later(Duration::minutes(5));
            if report.is_some_and(|report| report.left == 0) {
                break;
            }
            kills += 1;
        }
        all_are_accounted_for(&world, &letters).await;
    }
    println!("{kills} kills in {runs} runs");
    assert!(kills > 150, "{kills}");
}

#[tokio::test]
async fn a_dead_letter_that_the_ledger_could_not_take_stays_and_is_told_of() {
    let world = World::new();
    let letters = Letters::new();
    letters.put("A/1.json", Value::Array(vec![given_up("a.csv"), given_up("b.csv")]).to_string().as_bytes());
    let app = app(&world, &letters, &Death::after(usize::MAX));
    world.store.rule(|_, ops| {
        let is_b = ops.iter().any(|op| format!("{op:?}").contains("b.csv"));
        is_b.then_some(Fault::NotSent)
    });
    let report = take_in(&world, &app).await;
    assert_eq!((report.moved, report.left), (0, 1));
    assert_eq!(letters.names().1, ["A/1.json"]);
    tick(&world, &app, Duration::ZERO).await;
    let findings = async || app::reports::status(app.ledger(), world.now(), None).await.unwrap().findings;
    let told = findings().await;
    let told = told.iter().find(|finding| finding.kind == FindingKind::DeadLetters).unwrap();
    assert!(told.count == 1 && told.reason.contains("A/1.json"), "{told}");
    world.store.heal();
    let report = take_in(&world, &app).await;
    assert_eq!((report.moved, report.taken_in, report.duplicates), (1, 1, 1));
    assert!(findings().await.iter().all(|finding| finding.kind != FindingKind::DeadLetters));
}

#[tokio::test]
async fn dead_letters_that_may_not_be_listed_are_told_of_since_the_first_time() {
    let world = World::new();
    let letters = Letters::new();
    let app = app(&world, &letters, &Death::after(usize::MAX));
    letters.denied.store(true, Ordering::SeqCst);
    take_in(&world, &app).await;
    let first = world.now();
    world.later(Duration::HOUR);
    take_in(&world, &app).await;
    let seen = app.ledger().dead_letters().await.unwrap().unwrap();
    assert_eq!((seen.left, seen.since), (0, first));
    assert!(seen.failure.unwrap().contains("403"));
}

#[tokio::test]
async fn what_the_ledger_may_have_forgotten_is_taken_in_only_where_a_person_wants_it() {
    let world = World::new();
    let letters = Letters::new();
    letters.put("A/1.json", given_up("a.csv").to_string().as_bytes());
    let app = app(&world, &letters, &Death::after(usize::MAX));
    world.later(Duration::days(29) + Duration::SECOND);
    let report = take_in(&world, &app).await;
    assert_eq!((report.too_old, report.moved), (1, 0));
    let findings = app::reports::status(app.ledger(), world.now(), None).await.unwrap().findings;
    let told = findings.iter().find(|finding| finding.kind == FindingKind::DeadLetters).unwrap();
    assert_eq!(told.next, "scorekeeper dead-letters --too-old");
    let report = app.take_in_dead_letters(world.now() + Duration::MINUTE, TooOld::TakenIn).await.unwrap();
    assert_eq!((report.moved, report.taken_in), (1, 1));
    assert_eq!(app.ledger().dead_letters().await.unwrap(), None);
}

#[tokio::test]
async fn nothing_is_begun_after_the_deadline_and_what_is_left_is_told() {
    let world = World::new();
    let letters = Letters::new();
    letters.put("A/1.json", given_up("a.csv").to_string().as_bytes());
    let app = app(&world, &letters, &Death::after(usize::MAX));
    let report = app.take_in_dead_letters(world.now(), TooOld::Left).await.unwrap();
    assert_eq!((report.left, report.moved), (1, 0));
    assert!(app.ledger().dead_letters().await.unwrap().unwrap().failure.unwrap().contains("no time left"));
    assert_eq!(world.app().take_in_dead_letters(world.now(), TooOld::Left).await, None, "nobody says where they lie");
}
