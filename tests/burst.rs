//! Many processes: four handlers and two timers on one Azurite and one simulated endpoint, all of them real processes,
//! through a burst of uploads that are told of twice and out of order, while handlers, timers and Azurite are killed.
//!
//! And two of them that publish the results of many versions to exact paths, which somebody reads all the time (`published.rs`).
//!
//! `SCOREKEEPER_BURST` is the number of uploads; `cargo xtask burst` runs 2,000. The ordinary test run makes do with 200.

mod grid;
mod kills;
mod outcome;
mod published;
mod stage;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Mutex;

use self::outcome::Outcome;
use self::stage::Stage;

/// Most jobs of the rule at one time.
const CAP: u64 = 50;
/// So many jobs at one time are work in parallel. How near the cap they come is the machine's speed, which no test holds; the
/// seeded runs try the cap itself.
const BUSY: u64 = 10;
/// Blobs with this in their path take some seconds to score.
const SLOW: &str = "slow";
/// Nothing here takes longer, on the busiest machine; a hang must fail the test, not block it.
const LIMIT: Duration = Duration::from_secs(300);
/// The same for each upload.
const LIMIT_EACH: Duration = Duration::from_millis(600);
/// One burst at a time: the figures of two would be worth nothing.
static ALONE: Mutex<()> = Mutex::const_new(());

fn uploads() -> usize {
    #[expect(clippy::disallowed_methods, reason = "a person says by this how large the burst is")]
    let asked = std::env::var("SCOREKEEPER_BURST").ok();
    asked.map_or(200, |text| text.parse().unwrap_or_else(|_| panic!("SCOREKEEPER_BURST={text} is not a number")))
}

/// SplitMix64: a failing run is repeated with its seed, as far as the operating system plays along.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, max: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 33).unwrap() % max
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.below(last + 1));
        }
    }
}

/// The whole burst, over blobs of these paths, each told of twice to each installation; what is left of each.
async fn burst(paths: &[String], faults: &Value, installations: usize) -> Option<Vec<Outcome>> {
    let _alone = ALONE.lock().await;
    let seed = 20_260_721;
    println!("seed {seed}, {} uploads to {installations} installations", paths.len());
    let mut stage = Stage::start(faults, paths.len(), installations).await?;
    let jobs = paths.len() * installations;
    for path in paths {
        stage.upload(path);
    }
    let mut told: Vec<String> = paths.iter().chain(paths).cloned().collect();
    Seeded(seed).shuffle(&mut told);
    let began = Instant::now();
    let work = async {
        let ticking = stage.tick();
        let ports = (0..installations).map(|installation| stage.handler_ports(installation));
        let each = ports.map(|ports| grid::deliver(ports, told.clone(), Seeded(seed + 1)));
        let each = futures::future::join_all(each.collect::<Vec<_>>());
        let delivering = tokio::spawn(async move { (each.await.into_iter().sum::<usize>(), began.elapsed()) });
        let kills = kills::during(&mut stage, jobs, Seeded(seed + 2)).await;
        let (again, delivered) = delivering.await.unwrap();
        stage.settled(jobs).await;
        drop(ticking);
        (kills, again, delivered)
    };
    let limit = LIMIT + LIMIT_EACH * u32::try_from(jobs).unwrap();
    let Ok((kills, again, delivered)) = tokio::time::timeout(limit, work).await else {
        for ledger in &stage.ledgers {
            println!("{}", Outcome::read(&stage, ledger).await.unfinished());
        }
        panic!("unfinished after {limit:?}");
    };
    let (count, took) = (f64::from(u32::try_from(jobs).unwrap()), began.elapsed().as_secs_f64());
    let (delivered, rate) = (delivered.as_secs_f64(), 2.0 * count / delivered.as_secs_f64());
    println!("deliveries taken in {delivered:.1} s ({rate:.0} events/s), {again} of them delivered again");
    println!("scored in {took:.1} s ({:.1}/s)", count / took);
    println!("killed: {kills}");
    let mut outcomes = Vec::new();
    for ledger in &stage.ledgers {
        outcomes.push(Outcome::read(&stage, ledger).await);
    }
    for outcome in &outcomes {
        println!("{outcome}");
    }
    Some(outcomes)
}

/// The burst of one installation.
async fn burst_of_one(paths: &[String], faults: &Value) -> Option<Outcome> {
    burst(paths, faults, 1).await.map(|mut outcomes| outcomes.remove(0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_processes_and_a_killed_store_lose_no_upload_and_score_none_twice() {
    let paths: Vec<String> = (0..uploads()).map(|n| format!("{n:05}.csv")).collect();
    let Some(outcome) = burst_of_one(&paths, &json!([])).await else { return };
    outcome.assert_each_is_scored_by_its_adopted_job(&paths);
    // Nobody made a job that was not asked for, so there is exactly one for each.
    assert_eq!(outcome.jobs.len(), paths.len());
    assert_eq!(outcome.summary["maxJobsPerRequestId"], 1);
    assert_eq!(outcome.orphaned_jobs(), 0);
    let max = outcome.max_in_flight();
    assert!((BUSY..=CAP).contains(&max), "{max} jobs at one time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_and_doubled_jobs_end_in_one_published_output_each() {
    // One in a hundred makes two jobs, which work long enough to be caught at it.
    let doubled = |n: usize| n % 100 == 7;
    let path = |n| if doubled(n) { format!("{n:05}-{SLOW}.csv") } else { format!("{n:05}.csv") };
    let paths: Vec<String> = (0..uploads()).map(path).collect();
    let faults = json!([
        { "route": "invoke", "fault": { "duplicated": { "jobs": 2 } }, "matching": SLOW, "times": paths.len() / 100 },
        { "route": "invoke", "fault": { "lostAnswer": {} }, "probability": 0.05 },
    ]);
    let Some(outcome) = burst_of_one(&paths, &faults).await else { return };
    outcome.assert_each_is_scored_by_its_adopted_job(&paths);
    // The cap is for what is asked for; a second job of one request comes on top until it is found.
    let max = outcome.max_requests_in_flight();
    assert!((BUSY..=CAP).contains(&max), "jobs of {max} requests at one time");
    let stopped = outcome.assert_orphaned_jobs_are_found_and_counted();
    assert!(
        outcome.orphaned_jobs() >= paths.len() / 100 && stopped > 0,
        "{stopped} of {} were stopped",
        outcome.orphaned_jobs()
    );
    assert!(outcome.found() >= paths.len() / 50, "only {} answers were lost", outcome.found());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_killed_installations_that_lose_answers_touch_no_job_of_the_other() {
    // As above, over the same blobs on one endpoint: each installation looks for its lost jobs among those of the other.
    let paths: Vec<String> = (0..uploads() / 2)
        .map(|n| if n % 50 == 7 { format!("{n:05}-{SLOW}.csv") } else { format!("{n:05}.csv") })
        .collect();
    let faults = json!([
        { "route": "invoke", "fault": { "duplicated": { "jobs": 2 } }, "matching": SLOW, "times": paths.len() / 50 },
        { "route": "invoke", "fault": { "lostAnswer": {} }, "probability": 0.1 },
    ]);
    let Some(outcomes) = burst(&paths, &faults, 2).await else { return };
    for outcome in &outcomes {
        outcome.assert_each_is_scored_by_its_adopted_job(&paths);
        // Each job of a scoring is its attempt's or on record with it, and each that is on record is a job of that scoring.
        outcome.assert_orphaned_jobs_are_found_and_counted();
        assert!(outcome.found() >= paths.len() / 25, "only {} answers were lost", outcome.found());
    }
    // No job is of neither.
    assert_eq!(outcomes.iter().map(Outcome::own_jobs).sum::<usize>(), outcomes[0].jobs.len());
}
