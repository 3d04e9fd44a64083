//! What it takes to hold a million blobs against the ledger: a whole sweep on the embedded store, killed five times in the middle.
//!
//! `cargo bench -p handler --bench sweep [-- COUNT]`. Each thousandth blob is not in the ledger. What is listed is made when it is asked
//! for, so that the memory that is told is the sweep's. It fails if a page is left out, or done twice.

#[expect(dead_code, reason = "jobs that end are for another bench")]
mod at_once;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use app::ledger::{Ledger, LedgerOptions, rows};
use app::ports::BlobPage;
use app::ports::table_store::{Op, TableName, TableStore};
use app::{App, Parts, Pause, SweepReport};
use at_once::AtOnce;
use lifecycle::pending::{BlobKind, CopyState};
use lifecycle::sweep::CLAIM;
use lifecycle::{BlobSnapshot, BlobVersion, IndexTags, LedgerId, Rules, Scoring, Status, StorageHosts};
use stores::embedded::EmbeddedStore;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use tokio::sync::Notify;

const NOW: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);
const COUNT: u32 = 1_000_000;
/// Each so many is not in the ledger.
const UNKNOWN: u32 = 1_000;
const KILLS: u64 = 5;
/// Rows of one transaction.
const MAX_OPS: usize = 100;
const RULES: &str =
    r#"{"rules":[{"id":"claims","match":{"container":"claims"},"endpoint":{"uri":"https://heart.example/jobs"}}]}"#;

fn path(number: u32) -> String {
    format!("eu/2026/07/{number:09}.csv")
}

/// A page of the blobs, none of which is kept.
fn page(count: u32, from: Option<&str>, max: usize) -> BlobPage {
    let first: u32 = from.map_or(0, |from| from.parse().expect("a marker of this bench"));
    let last = count.min(first.saturating_add(u32::try_from(max).expect("a page")));
    let shown = |number: u32| BlobSnapshot {
        etag: "0x8DC0000000000".to_owned(),
        // One of no bytes would wait to be looked at again.
        size: u64::from(number) + 1,
        content_type: Some("text/csv".to_owned()),
        kind: BlobKind::Block,
        archived: false,
        copy: CopyState::Whole,
        is_folder: false,
        modified: Some(NOW - Duration::hours(2)),
        metadata: BTreeMap::new(),
        index_tags: IndexTags::NotAsked,
    };
    let blobs = (first..last).map(|number| (path(number), shown(number))).collect();
    BlobPage { blobs, next: (last < count).then(|| last.to_string()) }
}

/// Kibibytes that this process had at most, where the system tells.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// The scorings of all but each thousandth blob, by their own rows alone.
async fn fill(ledger: &Ledger, store: &dyn TableStore, count: u32) {
    let id = ledger.id().await.expect("the ledger's id is written");
    let rules = Rules::read(RULES).expect("good rules");
    let rule = rules.get("claims").expect("the rule");
    let table = TableName::read("BenchState").expect("a table's name");
    let mut waiting: BTreeMap<String, Vec<Op>> = BTreeMap::new();
    for number in (0..count).filter(|number| number % UNKNOWN != 0) {
        let url = format!("https://uploads.blob.core.windows.net/claims/{}", path(number));
        let blob = BlobVersion::read(&url, "0x8DC0000000000").expect("a blob");
        let mut scoring = Scoring::accept(id, rule, blob, NOW);
        scoring.status = Status::Scored;
        let row = rows::to_scoring_row(&scoring, "bench");
        let ops = waiting.entry(row.key.partition.clone()).or_default();
        ops.push(Op::Insert(row));
        if ops.len() == MAX_OPS {
            store.write(&table, &std::mem::take(ops)).await.expect("rows are written");
        }
    }
    for ops in waiting.into_values().filter(|ops| !ops.is_empty()) {
        store.write(&table, &ops).await.expect("rows are written");
    }
}

/// The place under test, and the clock of all processes.
struct Bench {
    store: Arc<EmbeddedStore>,
    seconds: Arc<AtomicI64>,
    lists: Arc<AtomicU64>,
    count: u32,
}

impl Bench {
    fn ledger(&self, writer: u64) -> Ledger {
        let options = LedgerOptions {
            task_hub: "Bench".to_owned(),
            writer: format!("bench{writer}"),
            new_id: LedgerId::of_random([1; 16]),
            projection: false,
        };
        let store = Arc::clone(&self.store) as Arc<dyn TableStore>;
        Ledger::new(store, &options).expect("the task hub's name is good")
    }

    /// A process.
    fn app(&self, number: u64) -> App {
        let (lists, count, seconds) = (Arc::clone(&self.lists), self.count, Arc::clone(&self.seconds));
        let list = move |from: Option<&str>, max: usize| {
            lists.fetch_add(1, Ordering::Relaxed);
            page(count, from, max)
        };
        App::new(Parts {
            callbacks: None,
            ledger: self.ledger(number),
            endpoint: Arc::new(AtOnce::default()),
            blobs: Arc::new(AtOnce::listing(Box::new(list))),
            dead_letters: None,
            rules: Rules::read(RULES).expect("good rules"),
            clock: Arc::new(move || NOW + Duration::seconds(seconds.load(Ordering::Relaxed))),
            orphan_scan_interval: None,
            storage_hosts: StorageHosts::of_cloud("core.windows.net").watching("uploads"),
            retention: Duration::days(30),
        })
    }

    /// One run of a process, which dies after so many chunks of a page; `None` if it did.
    async fn run(&self, number: u64, dies_after: Option<u64>) -> Option<SweepReport> {
        let app = self.app(number);
        let (chunks, dead) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
        let died = Arc::clone(&dead);
        // It waits for its rate after each chunk; here nobody waits, but for who dies.
        let pause: Pause = Arc::new(move |_| {
            let is_over = dies_after == Some(chunks.fetch_add(1, Ordering::Relaxed));
            let died = Arc::clone(&died);
            Box::pin(async move {
                if is_over {
                    died.notify_one();
                    std::future::pending::<()>().await;
                }
            })
        });
        let deadline = app.now() + Duration::hours(1);
        tokio::select! {
            report = app.sweep(deadline, &pause) => Some(report.expect("the ledger is there")),
            () = dead.notified() => None,
        }
    }
}

#[expect(clippy::print_stdout, reason = "a bench's figures are what it is for")]
fn main() {
    let count = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(COUNT);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let store = Arc::new(EmbeddedStore::open(folder.path()).expect("a store can be made in an empty folder"));
    let bench = Bench { store, seconds: Arc::default(), lists: Arc::default(), count };
    runtime.block_on(async {
        let begun = Instant::now();
        let ledger = bench.ledger(0);
        fill(&ledger, bench.store.as_ref(), count).await;
        // The place is known since two days ago: all of it is asked about.
        bench.seconds.store(-2 * 86_400, Ordering::Relaxed);
        let empty = Bench {
            count: 0,
            store: Arc::clone(&bench.store),
            seconds: Arc::clone(&bench.seconds),
            lists: Arc::default(),
        };
        empty.run(1, None).await.expect("the first sweep");
        bench.seconds.store(0, Ordering::Relaxed);
        println!(
            "{count} blobs, of which the ledger knows {}, made in {:.0} s",
            count - count.div_ceil(UNKNOWN),
            begun.elapsed().as_secs_f64()
        );
        let (before, begun) = (peak(), Instant::now());
        let (mut found, mut runs, mut kills) = (0, 2, 0);
        loop {
            // In the middle of a page, each at another place of the sweep.
            let dies_after = (kills < KILLS).then(|| 25 + 17 * kills + u64::from(count) / 1_000 * kills / KILLS);
            match bench.run(runs, dies_after).await {
                None => {
                    kills += 1;
                    bench.seconds.fetch_add(CLAIM.whole_seconds(), Ordering::Relaxed);
                }
                Some(report) => {
                    found += report.found;
                    if report.ended > 0 {
                        break;
                    }
                }
            }
            runs += 1;
        }
        let took = begun.elapsed().as_secs_f64();
        let (place, _) = ledger.swept_places().await.expect("the places").read.remove(0);
        let (last, _) = place.last.expect("it came to its end");
        let pages = u64::from(count).div_ceil(5_000);
        let lists = bench.lists.load(Ordering::Relaxed);
        println!(
            "swept in {took:.1} s by {runs} runs, {kills} of which were killed: {:.0} versions a second",
            f64::from(count) / took
        );
        println!(
            "{} pages done, {lists} listed; {} versions known, {} found ({found} told)",
            last.seen.pages, last.seen.known, last.seen.found
        );
        if let (Some(before), Some(after)) = (before, peak()) {
            println!("{} MiB at most, {} MiB before the sweep", after / 1024, before / 1024);
        }
        assert_eq!((last.seen.pages, last.seen.listed), (pages, u64::from(count)), "no page is left out or done twice");
        assert!(lists <= pages + KILLS, "a page is listed again only where somebody died");
        assert_eq!(last.seen.known + last.seen.found, u64::from(count), "and no version");
        for number in (0..count).step_by(UNKNOWN as usize) {
            let rules = Rules::read(RULES).expect("good rules");
            let url = format!("https://uploads.blob.core.windows.net/claims/{}", path(number));
            let version = BlobVersion::read(&url, "0x8DC0000000000").expect("a blob");
            let id = rules.get("claims").expect("the rule").scoring_id(ledger.id().await.expect("its id"), &version);
            assert!(ledger.get(&id).await.expect("the ledger").is_some(), "{number} was left out");
        }
    });
}
