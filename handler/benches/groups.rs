//! What an upload costs from its event to its end, in a group and without one: requests of tables, processor time and memory, in one
//! run.
//!
//! `cargo bench -p handler --bench groups [-- COUNT]`. The cloud answers at once and the store is in memory, so that what is measured is
//! ours; for the memory all is done once more over the store in files. It fails if an upload is not scored, or if a file of a group asks
//! for more than the limits below.

#[expect(dead_code, reason = "lists are for another bench")]
mod at_once;
#[expect(dead_code, reason = "the envelope is for the other benches")]
mod upload;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use app::ledger::{Ledger, LedgerOptions};
use app::ports::table_store::TableStore;
use app::reports;
use app::{App, Parts};
use at_once::AtOnce;
use lifecycle::{LedgerId, Rules, Status, StorageHosts};
use stores::embedded::EmbeddedStore;
use stores::faulty::Faulty;
use stores::memory::MemoryStore;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

// As the shipped binary has it.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);
const COUNT: u32 = 10_000;
/// Files of a group.
const FILES: u32 = 100;
/// Reconcile runs after which all must have ended.
const MAX_RUNS: i64 = 60;
/// Requests of tables that a file of a group takes at most: reads and pages, and writes.
const MAX_READS: f64 = 10.0;
const MAX_WRITES: f64 = 10.0;

/// What one upload took.
struct Cost {
    reads: f64,
    writes: f64,
    micros: Option<f64>,
    jobs: u32,
    /// Bytes that reconcile runs had more at most than what was there before them, for each of all uploads.
    memory: Option<f64>,
}

#[expect(clippy::print_stdout, reason = "a bench's figures are what it is for")]
fn main() {
    let count = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(COUNT);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let in_memory = || Arc::new(MemoryStore::new()) as Arc<dyn TableStore>;
    let alone = runtime.block_on(scored(count, None, in_memory()));
    let grouped = runtime.block_on(scored(count, Some(FILES), in_memory()));
    let folder = tempfile::tempdir().expect("a folder can be made");
    let in_files = Arc::new(EmbeddedStore::open(folder.path()).expect("the folder is empty"));
    let memory = runtime.block_on(scored(count, Some(FILES), in_files)).memory;
    for (name, cost) in [("alone", &alone), ("in groups of 100", &grouped)] {
        let Cost { reads, writes, micros, jobs, memory: _ } = cost;
        let micros = micros.map(|micros| format!(", {micros:.0} µs of processor time")).unwrap_or_default();
        println!("{name:17} {count} uploads, {jobs} jobs; of an upload {reads:.1} reads, {writes:.1} writes{micros}");
    }
    if let (Some(alone), Some(grouped)) = (alone.micros, grouped.micros) {
        println!("processor time in a group is {:.2} of that alone", grouped / alone);
    }
    if let Some(memory) = memory {
        println!("memory of reconcile runs for each of {count} uploads in groups: {memory:.0} bytes at most");
    }
    assert!(grouped.reads < MAX_READS && grouped.writes < MAX_WRITES, "a file of a group costs more than it may");
    assert_eq!((alone.jobs, grouped.jobs), (count, count.div_ceil(FILES)), "jobs");
}

/// Takes uploads in, fifty to a delivery as Event Grid batches them, and ticks until each is scored.
async fn scored(count: u32, group: Option<u32>, store: Arc<dyn TableStore>) -> Cost {
    let mut rules: serde_json::Value =
        serde_json::from_str(&upload::rules("https://claims.westeurope.inference.ml.azure.com/jobs", None))
            .expect("the rules are a constant of this bench");
    if let Some(files) = group {
        rules["rules"][0]["group"] = serde_json::json!({ "by": "time", "maxFiles": files });
    }
    let store = Arc::new(Faulty::new(store));
    let options = LedgerOptions {
        task_hub: "Bench".to_owned(),
        writer: "bench".to_owned(),
        new_id: LedgerId::of_random([1; 16]),
        projection: true,
    };
    let ledger = Ledger::new(store.clone(), &options).expect("the task hub's name is good");
    let minutes = Arc::new(AtomicI64::new(0));
    let cloud = Arc::new(AtOnce::ending(NOW + Duration::DAY));
    let clock = {
        let minutes = Arc::clone(&minutes);
        Arc::new(move || NOW + Duration::minutes(minutes.load(Ordering::Relaxed)))
    };
    let app = App::new(Parts {
        callbacks: None,
        ledger: ledger.clone(),
        endpoint: cloud.clone(),
        blobs: cloud.clone(),
        dead_letters: None,
        rules: Rules::read(&rules.to_string()).expect("the rules are a constant of this bench"),
        clock: clock.clone(),
        orphan_scan_interval: None,
        storage_hosts: StorageHosts::of_cloud("core.windows.net"),
        retention: Duration::days(30),
    });
    let (begun, calls) = (processor_time(), store.calls());
    let numbers: Vec<u64> = (0..u64::from(count)).collect();
    for batch in numbers.chunks(50) {
        let events = batch.iter().map(|n| upload::event(*n)).collect::<Vec<_>>().join(",");
        let events = serde_json::from_str(&format!("[{events}]")).expect("events of this bench are JSON");
        let (_, intents) = app.accept(&events).await.expect("the ledger takes them").into_parts();
        intents.send().await;
    }
    let before = forget_peak().then(|| memory("VmRSS:")).flatten();
    for run in 1..=MAX_RUNS {
        minutes.store(run * 2, Ordering::Relaxed);
        app.tick(clock() + Duration::minutes(5)).await.expect("the ledger can be read");
        if ledger.in_flight().await.expect("the ledger can be read").is_empty() {
            break;
        }
    }
    let (ended, after, peak) = (processor_time(), store.calls(), memory("VmHWM:"));
    let report = reports::status(&ledger, clock(), None).await.expect("the ledger can be read");
    assert_eq!(report.count(Status::Scored), count as usize, "each upload is scored");
    let each = |sum: u64| f64::from(u32::try_from(sum).unwrap_or(u32::MAX)) / f64::from(count);
    Cost {
        reads: each(after.reads + after.pages - calls.reads - calls.pages),
        writes: each(after.writes - calls.writes),
        micros: ended.zip(begun).map(|(ended, begun)| each((ended - begun) / 1_000)),
        jobs: cloud.submitted(),
        memory: peak.zip(before).map(|(peak, before)| each(peak.saturating_sub(before))),
    }
}

/// Nanoseconds that this thread, which does all of it, was on a processor; where the system tells.
fn processor_time() -> Option<u64> {
    std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
}

/// From now on the system counts anew how much memory this process has at most; whether it does.
fn forget_peak() -> bool {
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// Bytes of this process's memory, as the system tells it in this line.
fn memory(line: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes: u64 =
        status.lines().find_map(|it| it.strip_prefix(line))?.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1_024)
}
