//! Many versions of a few blobs, published to exact paths by two processes that are killed all the time; and a reader that polls
//! these paths. Whatever it reads is one whole result, never an older one than before; and each path ends with its newest version.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use app::ledger::{Ledger, LedgerOptions};
use azure::tables::{Auth, AzureTables};
use azure_core::credentials::Secret;
use lifecycle::{LedgerId, Status};
use simulator::{Handle, Timing};
use tokio::task::JoinSet;

use super::*;
use crate::support::azurite;
use crate::support::cloud::{Cloud, event};
use crate::support::functions_host::FunctionsHost;
use crate::support::storage::fresh_name;

const BLOBS: usize = 20;
const PROCESSES: usize = 2;
/// Lines of a result: long enough to be seen half, if it ever were.
const LINES: usize = 2_000;
/// Between two ticks of one process.
const TICK: Duration = Duration::from_millis(200);
/// Between the kills.
const BETWEEN_KILLS: Duration = Duration::from_millis(700);

fn path(blob: usize) -> String {
    format!("{blob:02}.csv")
}

/// The result of one version of a blob: each line names both, and its number.
fn result(blob: usize, version: usize) -> String {
    let lines: Vec<String> = (0..LINES).map(|line| format!("{blob:02},{version:05},{line:05}\n")).collect();
    lines.concat()
}

/// Which version of the blob this is the whole result of.
fn whole(blob: usize, body: &str) -> Option<usize> {
    let version = body.split(',').nth(1)?.parse().ok()?;
    (body == result(blob, version)).then_some(version)
}

/// Each version's input lies at a path of its own, so that each has a result of its own whenever its job runs.
fn rules(cloud: &Handle) -> String {
    json!({ "rules": [ {
        "id": "latest",
        "match": { "container": "inbox", "account": "acct" },
        "endpoint": { "uri": cloud.scoring_uri("heart"), "workspace": cloud.workspace_id() },
        "inputs": { "input_data": { "type": "UriFile",
            "uri": "azureml://datastores/workspaceblobstore/paths/versions/{blob.stem}/{event.time:yyyyMMddHHmmss}.csv" } },
        "outputs": { "score": { "type": "UriFile",
            "uri": "azureml://datastores/workspaceblobstore/paths/attempts/{scoring.id}/{attempt}/p.csv",
            "publish": { "uri": "azureml://datastores/workspaceblobstore/paths/latest/{blob.name}" } } },
        "maxInFlight": CAP, "sweep": "off", "verifyInput": false,
        "pollInterval": "PT0.2S", "submitTimeout": "PT2S", "lookupInterval": "PT0.2S", "resubmitAfter": "PT2S",
        "retryBackOff": "PT0.2S", "outputTimeout": "PT30S",
    } ] })
    .to_string()
}

/// The event of a version: its order is its sequencer, whenever it is delivered.
fn told(blob: usize, version: usize) -> Value {
    let mut event = event(&path(blob));
    let second = time::Duration::seconds(i64::try_from(version).unwrap());
    let at = time::macros::datetime!(2026-07-21 10:00 UTC) + second;
    event["eventTime"] = json!(at.format(&time::format_description::well_known::Rfc3339).unwrap());
    event["id"] = json!(format!("{blob}-{version}"));
    event["data"]["eTag"] = json!(format!("0x{version:08X}"));
    event["data"]["sequencer"] = json!(format!("{version:032}"));
    event
}

/// Where a version's input lies, as the rule's template says it.
fn input(blob: usize, version: usize) -> String {
    let at = time::macros::datetime!(2026-07-21 10:00 UTC) + time::Duration::seconds(i64::try_from(version).unwrap());
    let format = time::macros::format_description!("[year][month][day][hour][minute][second]");
    format!("versions/{blob:02}/{}.csv", at.format(&format).unwrap())
}

/// What a reader has seen of the published paths.
#[derive(Debug, Default)]
struct Reads {
    count: usize,
    /// By blob: the versions, in the order in which they were there.
    versions: BTreeMap<usize, Vec<usize>>,
}

/// Reads each path over and over until it is told to stop, as anybody would: one GET after another.
async fn read_until(stop: Arc<AtomicBool>, place: String, token: String) -> Reads {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut seen = Reads::default();
    while !stop.load(Ordering::Relaxed) {
        for blob in 0..BLOBS {
            let url = format!("{place}/latest/{}", path(blob));
            let answer =
                client.get(&url).bearer_auth(&token).header("x-ms-version", "2026-02-06").send().await.unwrap();
            if answer.status() == reqwest::StatusCode::NOT_FOUND {
                assert!(!seen.versions.contains_key(&blob), "{url} was there, and is gone");
                continue;
            }
            let body = answer.error_for_status().unwrap().text().await.unwrap();
            let version = whole(blob, &body);
            let version = version.unwrap_or_else(|| panic!("{url} holds no whole result: {} bytes", body.len()));
            seen.count += 1;
            let versions = seen.versions.entry(blob).or_default();
            match versions.last() {
                Some(before) if *before > version => panic!("{url} held version {before}, and {version} after it"),
                Some(before) if *before == version => {}
                _ => versions.push(version),
            }
        }
    }
    seen
}

async fn storage_token(vars: &BTreeMap<String, String>) -> String {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}?api-version=2019-08-01&resource=https://storage.azure.com", vars["IDENTITY_ENDPOINT"]);
    let answer = client.get(url).header("X-IDENTITY-HEADER", &vars["IDENTITY_HEADER"]).send().await.unwrap();
    let answer: Value = answer.error_for_status().unwrap().json().await.unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

/// Delivers an event to some process until one has taken it.
async fn deliver(client: &reqwest::Client, ports: &[u16], first: usize, event: &Value) {
    let body = json!({ "Data": { "event": event }, "Metadata": {} });
    let mut every = tokio::time::interval(Duration::from_millis(100));
    for port in ports.iter().cycle().skip(first) {
        let sent = client.post(format!("http://127.0.0.1:{port}/BlobCreated")).json(&body).send().await;
        if sent.is_ok_and(|answer| answer.status().is_success()) {
            return;
        }
        every.tick().await;
    }
}

/// Ticks each process until what is returned is dropped.
fn ticking(client: &reqwest::Client, ports: &[u16]) -> JoinSet<()> {
    let mut ticking = JoinSet::new();
    for port in ports {
        let (client, url) = (client.clone(), format!("http://127.0.0.1:{port}/Reconcile"));
        ticking.spawn(async move {
            let mut every = tokio::time::interval(TICK);
            every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                every.tick().await;
                // It may be dead at this moment.
                let _ = client.post(&url).json(&json!({ "Data": { "timer": {} }, "Metadata": {} })).send().await;
            }
        });
    }
    ticking
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exact_paths_end_with_their_newest_versions_and_are_never_read_half_or_older() {
    let _alone = ALONE.lock().await;
    let Some((url, account, key)) = azurite::tables() else { return };
    let ms = Duration::from_millis;
    let timing = Timing { answer: ms(5), preparing: ms(20), running: ms(50), finalizing: ms(10), canceling: ms(20) };
    let cloud = Cloud::scoring_by("cp $SCORE_INPUT $SCORE_OUTPUT", timing, 20).await;
    let versions = (uploads() / BLOBS).max(2);
    for (blob, version) in (0..BLOBS).flat_map(|blob| (1..=versions).map(move |version| (blob, version))) {
        let file = cloud.root().join("scores").join(input(blob, version));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, result(blob, version)).unwrap();
    }
    let task_hub = fresh_name();
    let mut vars = cloud.vars("no ledger here");
    vars.insert("PATH".to_owned(), "/usr/bin:/bin".to_owned());
    vars.insert("SCOREKEEPER_RULES".to_owned(), rules(&cloud.simulator));
    vars.insert("SCOREKEEPER_LEDGER".to_owned(), url.clone());
    vars.insert("SCOREKEEPER_TASK_HUB".to_owned(), task_hub.clone());
    let auth = Auth::SharedKeyLite { account: account.to_owned(), key: Secret::new(key) };
    let store = AzureTables::with_client(azurite::client(), &url.parse().unwrap(), auth).unwrap();
    let writer = "reader".to_owned();
    let options = LedgerOptions { task_hub, writer, new_id: LedgerId::of_random([1; 16]), projection: false };
    let ledger = Ledger::new(Arc::new(store), &options).unwrap();
    let mut hosts = Vec::new();
    for _ in 0..PROCESSES {
        hosts.push(FunctionsHost::start(cloud.root(), &vars).await);
    }
    let ports: Vec<u16> = hosts.iter().map(FunctionsHost::port).collect();
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let place = format!("{}/results/scores", cloud.simulator.origin());
    let reading = tokio::spawn(read_until(Arc::clone(&stop), place.clone(), storage_token(&vars).await));
    let ticking = ticking(&client, &ports);
    let mut random = Seeded(20_260_721);
    // The versions of a blob come roughly in their order, as uploads do, and those of the blobs all through each other.
    let mut all: Vec<(usize, usize)> =
        (1..=versions).flat_map(|version| (0..BLOBS).map(move |blob| (blob, version))).collect();
    for few in all.chunks_mut(BLOBS * 3) {
        random.shuffle(few);
    }
    let delivering = {
        let (client, ports) = (client.clone(), ports.clone());
        let firsts: Vec<usize> = all.iter().map(|_| random.below(PROCESSES)).collect();
        let all = all.clone();
        tokio::spawn(async move {
            use futures::StreamExt as _;
            let (client, ports) = (&client, &ports);
            futures::stream::iter(all.into_iter().zip(firsts))
                .for_each_concurrent(8, |((blob, version), first)| async move {
                    deliver(client, ports, first, &told(blob, version)).await;
                })
                .await;
        })
    };
    let began = Instant::now();
    let mut kills = 0;
    let limit = LIMIT + LIMIT_EACH * u32::try_from(all.len()).unwrap();
    let mut next = tokio::time::interval(BETWEEN_KILLS);
    loop {
        next.tick().await;
        assert!(began.elapsed() < limit, "unfinished after {limit:?}: {:?}", ledger.in_flight().await);
        let is_over = delivering.is_finished() && ledger.in_flight().await.is_ok_and(|rows| rows.is_empty());
        if is_over || reading.is_finished() {
            break;
        }
        hosts[random.below(PROCESSES)].kill_and_restart(cloud.root()).await;
        kills += 1;
    }
    delivering.await.unwrap();
    drop(ticking);
    stop.store(true, Ordering::Relaxed);
    let seen = reading.await.unwrap();

    let mut scorings = Vec::new();
    ledger
        .scorings(|scoring| {
            scorings.push(scoring);
            true
        })
        .await
        .unwrap();
    assert_eq!(scorings.len(), all.len());
    for scoring in &scorings {
        assert_eq!(scoring.status, Status::Scored, "{scoring:?}");
    }
    let distinct: usize = seen.versions.values().map(|versions| versions.iter().collect::<BTreeSet<_>>().len()).sum();
    println!(
        "{} versions of {BLOBS} blobs in {:.1} s, {kills} kills, {} reads that saw {distinct} versions",
        all.len(),
        began.elapsed().as_secs_f64(),
        seen.count
    );
    assert!(kills >= 5 && seen.count >= 10 * BLOBS && distinct >= 2 * BLOBS, "too little happened to prove anything");
    for blob in 0..BLOBS {
        let file = cloud.root().join("scores/latest").join(path(blob));
        let body = std::fs::read_to_string(file).unwrap();
        assert_eq!(whole(blob, &body), Some(versions), "blob {blob} ends with another version");
    }
}
