//! Very many jobs at one time: what a tick over them reads and writes.

use std::collections::HashSet;
use std::sync::Arc;

use app::ledger::rows;
use app::ports::table_store::{Op, TableStore as _};
use app::ports::{Answered, Endpoint, Inconclusive, JobAddress, JobListing, JobSearch, ScanTarget};
use app::{App, Parts};
use async_trait::async_trait;
use lifecycle::{Answer, JobName, JobSnapshot, JobStatus, Scoring, ScoringId, StorageHosts};
use time::{Duration, OffsetDateTime};

use crate::support::world::{World, event};

/// A service where each job runs on, and is seen to.
struct RunsOn;

#[async_trait]
impl Endpoint for RunsOn {
    async fn submit(&self, _: &Scoring, _: std::time::Duration) -> Answered<Answer> {
        unreachable!("nothing is queued")
    }

    async fn job(&self, _: &JobAddress) -> Result<Answered<Option<JobSnapshot>>, Inconclusive> {
        Ok(Some(JobSnapshot { status: JobStatus::Running, error: None, studio: None }).into())
    }

    async fn find(&self, _: &Scoring) -> Result<JobSearch, Inconclusive> {
        unreachable!("nothing was lost")
    }

    async fn jobs_created_since(
        &self,
        _: &ScanTarget,
        _: OffsetDateTime,
        _: &HashSet<JobName>,
    ) -> Result<JobListing, Inconclusive> {
        unreachable!("no scan is asked for")
    }

    async fn cancel(&self, _: &JobAddress) -> Result<Answered<()>, Inconclusive> {
        unreachable!("nothing is to stop")
    }
}

/// Fills the in-flight index with running scorings, evenly over the parts; nothing else is read of those.
async fn running(world: &World, count: usize) {
    let app = world.app();
    let ids = world.deliver(&app, &event("a.csv", "1")).await;
    world.later(Duration::minutes(1));
    app.tick(world.now() + Duration::minutes(5)).await.unwrap(); // its job is known to run
    let one = world.get(&app, &ids[0]).await;
    assert_eq!(one.job_status.as_deref(), Some(JobStatus::Running.name()));
    let mut parts = vec![Vec::new(); 16];
    for n in 0..count - 1 {
        let part = n % 16;
        let id = format!("{part:x}{n:031x}").parse::<ScoringId>().unwrap();
        parts[part].push(Op::Insert(rows::to_in_flight_row(&Scoring { id, ..one.clone() })));
    }
    for ops in parts.iter().flat_map(|ops| ops.chunks(100)) {
        world.store.write(&world.table("State"), ops).await.unwrap();
    }
}

#[tokio::test]
async fn a_tick_over_20_000_unchanged_jobs_reads_each_page_once_and_writes_signs_of_life() {
    let world = World::new();
    Box::pin(running(&world, 20_000)).await;
    let app = where_jobs_run_on(&world);
    for due in [20_000, 0] {
        let before = world.store.calls();
        let report = app.tick(world.now() + Duration::minutes(5)).await.unwrap();
        assert_eq!((report.in_flight, report.due, report.moved, report.errors), (20_000, due, 0, 0), "{report:?}");
        assert!(report.complete, "{report:?}");
        let calls = world.store.calls();
        // Of each of 16 parts ceil(1,250 / 1,000) pages of the index; one of the outbox of each of 3 shards; and one of the runs
        // before it, of the controls and of what waits for a look at the storage.
        assert_eq!(calls.pages - before.pages, 16 * 2 + 3 + 3);
        assert_eq!(calls.writes - before.writes, 2, "that it begins, and the heartbeat");
        let first_of_process = u64::from(due > 0);
        assert_eq!(calls.reads - before.reads, first_of_process, "how far a purge went; no scoring is read");
    }
}

/// An app of this world, with that service.
fn where_jobs_run_on(world: &World) -> App {
    let now = world.now();
    App::new(Parts {
        callbacks: None,
        ledger: world.app().ledger().clone(),
        endpoint: Arc::new(RunsOn),
        blobs: Arc::new(world.clone()),
        dead_letters: None,
        rules: world.rules.clone(),
        storage_hosts: StorageHosts::of_cloud("core.windows.net"),
        clock: Arc::new(move || now),
        orphan_scan_interval: None,
        retention: Duration::days(30),
    })
}
