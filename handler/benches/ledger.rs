//! What remembering costs: the ledger and the tick, over the embedded store (on disk, synced) and over memory.
//!
//! Run it with `cargo bench -p handler --bench ledger`; `item/s` are scorings per second. The store in memory shows what
//! is ours: rows, checks, the codec. The embedded one adds SQLite and this machine's disk: one commit, synced, per write.

#[expect(dead_code, reason = "lists are for another bench")]
mod at_once;
#[expect(dead_code, reason = "the envelope is for the other benches")]
mod upload;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use app::ledger::{Acceptance, Announced, Cap, Ledger, LedgerOptions, LimitScope, Recorded, rows};
use app::ports::table_store::{ETag, Op, TableName, TableStore};
use app::{App, Parts};
use at_once::{AtOnce, job_of};
use divan::Bencher;
use divan::counter::ItemsCount;
use lifecycle::{Answer, Entry, JobStatus, LedgerId, Observation, Rules, Scoring, Step, StorageHosts, decide, intake};
use stores::embedded::EmbeddedStore;
use stores::memory::MemoryStore;
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::runtime::Runtime;

// As the shipped binary has it.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

/// Event Grid's have about as much.
const EVENT: &str = include_str!("../../tests/fixtures/event_grid.json");

const NOW: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);
const TASK_HUB: &str = "Bench";

/// A store, and its folder for as long as it is used.
struct Store {
    store: Arc<dyn TableStore>,
    _folder: Option<tempfile::TempDir>,
}

trait Kind {
    fn make() -> Store;
}

struct Memory;
struct Embedded;

impl Kind for Memory {
    fn make() -> Store {
        Store { store: Arc::new(MemoryStore::new()), _folder: None }
    }
}

impl Kind for Embedded {
    fn make() -> Store {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let store = EmbeddedStore::open(folder.path()).expect("a store can be made in an empty folder");
        Store { store: Arc::new(store), _folder: Some(folder) }
    }
}

impl Store {
    fn ledger(&self, projection: bool) -> Ledger {
        let options = LedgerOptions {
            task_hub: TASK_HUB.to_owned(),
            writer: "bench".to_owned(),
            new_id: ledger_id(),
            projection,
        };
        Ledger::new(self.store.clone(), &options).expect("the task hub's name is good")
    }

    fn app(&self) -> App {
        App::new(Parts {
            callbacks: None,
            ledger: self.ledger(true),
            endpoint: Arc::new(AtOnce::default()),
            blobs: Arc::new(AtOnce::default()),
            dead_letters: None,
            rules: some_rules(),
            clock: Arc::new(|| NOW),
            orphan_scan_interval: None,
            storage_hosts: StorageHosts::of_cloud("core.windows.net"),
            retention: time::Duration::days(30),
        })
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
}

fn ledger_id() -> LedgerId {
    LedgerId::of_random([1; 16])
}

fn some_rules() -> Rules {
    let text = upload::rules("https://claims.westeurope.inference.ml.azure.com/jobs", None);
    Rules::read(&text).expect("the rules are a constant of this bench")
}

/// A number that no other upload of this process has.
fn fresh() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn payload(n: u64) -> serde_json::Value {
    serde_json::from_str(&upload::event(n)).expect("events of this bench are JSON")
}

fn queued(rules: &Rules, n: u64) -> Scoring {
    match intake::read(&payload(n), &ledger_id(), rules, NOW).expect("one event").pop() {
        Some(intake::Classification::Wanted(mut scorings)) => scorings.pop().expect("wanted by one rule"),
        other => panic!("the event is wanted, and not {other:?}"),
    }
}

fn moved(scoring: &Scoring, rules: &Rules, seen: &Observation) -> (Scoring, Entry) {
    match decide(scoring, rules.get(&scoring.rule), seen, NOW) {
        Step::Move { next, entry, .. } => (*next, entry),
        other => panic!("it moves, and does not wait or look: {other:?}"),
    }
}

/// A scoring whose first attempt is claimed in the transaction that takes it in, with both lines of history.
fn claimed(rules: &Rules) -> (Scoring, Vec<Entry>) {
    let queued = queued(rules, fresh());
    let first = queued.accepted_entry("rule `claims` wants this blob version".to_owned());
    let (scoring, second) = moved(&queued, rules, &Observation::SlotFree);
    (scoring, vec![first, second])
}

fn accepted(runtime: &Runtime, ledger: &Ledger, scoring: &Scoring, entries: &[Entry]) -> ETag {
    match runtime.block_on(ledger.accept(scoring, entries, &Announced { event: Some(EVENT), refused: None })) {
        Ok(Acceptance::New(etag)) => etag,
        other => panic!("it is new, and not {other:?}"),
    }
}

/// One transaction of seven rows: scoring, index, list index, what was received, two lines of history, outbox.
#[divan::bench(types = [Memory, Embedded], counters = [ItemsCount::new(1_u32)], max_time = 2)]
fn accept_with_its_first_intent<K: Kind>(bencher: Bencher) {
    let (store, runtime, rules) = (K::make(), runtime(), some_rules());
    let ledger = store.ledger(true);
    bencher
        .with_inputs(|| claimed(&rules))
        .bench_local_values(|(scoring, entries)| accepted(&runtime, &ledger, &scoring, &entries));
}

/// The transaction of a move: the answer of the POST is recorded.
#[divan::bench(types = [Memory, Embedded], counters = [ItemsCount::new(1_u32)], max_time = 2)]
fn record_a_move<K: Kind>(bencher: Bencher) {
    let (store, runtime, rules) = (K::make(), runtime(), some_rules());
    let ledger = store.ledger(true);
    bencher
        .with_inputs(|| {
            let (scoring, entries) = claimed(&rules);
            let etag = accepted(&runtime, &ledger, &scoring, &entries);
            let answer = Answer::Accepted { job: job_of(&scoring), status: JobStatus::Running };
            let (next, entry) = moved(&scoring, &rules, &Observation::Answer(answer));
            (scoring, etag, next, entry)
        })
        .bench_local_values(|(scoring, etag, next, entry)| {
            let recorded = runtime.block_on(ledger.record(&scoring, &etag, &next, &entry));
            assert!(matches!(recorded, Ok(Recorded::Done(_))), "{recorded:?}");
        });
}

/// What `maxInFlight` adds to an acceptance while there is room.
#[divan::bench(types = [Memory, Embedded], counters = [ItemsCount::new(1_u32)], max_time = 2)]
fn claim_a_slot<K: Kind>(bencher: Bencher) {
    let (store, runtime, rules) = (K::make(), runtime(), some_rules());
    let ledger = store.ledger(true);
    bencher.with_inputs(|| queued(&rules, fresh()).id).bench_local_values(|id| {
        let slot = runtime.block_on(ledger.claim_slot(
            &LimitScope::rule("claims"),
            Cap { limit: u32::MAX, surplus: false },
            &id,
            1,
            NOW,
        ));
        assert!(matches!(slot, Ok(Some(_))), "{slot:?}");
    });
}

/// The whole fast path but for HTTP: intake, accept, submit to an endpoint that answers at once, record.
#[divan::bench(types = [Memory, Embedded], counters = [ItemsCount::new(1_u32)], max_time = 2)]
fn event_to_running<K: Kind>(bencher: Bencher) {
    let (store, runtime) = (K::make(), runtime());
    let app = store.app();
    bencher.with_inputs(|| payload(fresh())).bench_local_values(|event| {
        runtime.block_on(async {
            let (taken, intents) = app.accept(&event).await.expect("the ledger takes it").into_parts();
            assert_eq!((taken.accepted.len(), intents.len()), (1, 1));
            intents.send().await;
        });
    });
}

/// Fills the in-flight index with `count` running scorings, 100 rows a transaction. A tick that finds nothing changed
/// reads no other row, and the outbox is empty.
fn in_flight(store: &Store, runtime: &Runtime, count: usize) {
    let rules = some_rules();
    let table = TableName::read(&format!("{TASK_HUB}State")).expect("the task hub's name is good");
    let mut shards: Vec<Vec<Op>> = (0..rows::SHARDS).map(|_| Vec::new()).collect();
    for _ in 0..count {
        let (scoring, _) = claimed(&rules);
        let answer = Answer::Accepted { job: job_of(&scoring), status: JobStatus::Running };
        let (running, _) = moved(&scoring, &rules, &Observation::Answer(answer));
        let partition = rows::partition_of(&running.id);
        let shard = (0..rows::SHARDS).position(|shard| rows::shard(shard) == partition).expect("a shard of the table");
        shards[shard].push(Op::Insert(rows::to_in_flight_row(&running)));
    }
    runtime.block_on(async {
        store.store.create_table(&table).await.expect("a table can be made");
        for transaction in shards.iter().flat_map(|rows| rows.chunks(100)) {
            store.store.write(&table, transaction).await.expect("the keys are free");
        }
    });
}

fn tick(runtime: &Runtime, app: &App, in_flight: usize, due: usize) {
    let report = runtime.block_on(app.tick(NOW + time::Duration::minutes(5))).expect("the ledger can be read");
    assert_eq!((report.in_flight, report.due, report.moved, report.errors), (in_flight, due, 0, 0), "{report:?}");
}

/// A tick of a process that has ticked before: the index is read, no job is due.
#[divan::bench(types = [Memory, Embedded], args = [1_000, 10_000], max_time = 2, sample_size = 1)]
fn tick_nothing_due<K: Kind>(bencher: Bencher, count: usize) {
    let (store, runtime) = (K::make(), runtime());
    in_flight(&store, &runtime, count);
    let app = store.app();
    tick(&runtime, &app, count, count);
    bencher.counter(ItemsCount::new(count)).bench_local(|| tick(&runtime, &app, count, 0));
}

/// The first tick of a process: each job is looked at once, and none has changed.
#[divan::bench(types = [Memory, Embedded], args = [1_000, 10_000], max_time = 2, sample_size = 1)]
fn tick_all_looked_at<K: Kind>(bencher: Bencher, count: usize) {
    let (store, runtime) = (K::make(), runtime());
    in_flight(&store, &runtime, count);
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(|| store.app())
        .bench_local_values(|app| tick(&runtime, &app, count, count));
}
