//! A small world for the app: the simulation's endpoint and storage behind faults by plan, a clock that tests move, and apps
//! on one ledger.

mod faults;
mod ports;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use app::ledger::{Ledger, LedgerOptions, rows};
use app::ports::table_store::{Entity, Key, Range, TableName, TableStore};
use app::ports::{
    Answered, BlobPage, Blobs, CallbackCaller, DeadLetters, Endpoint, Inconclusive, JobAddress, JobListing, JobSearch,
    MAX_PAGE, NamedBy, PartPage, ScanTarget,
};
use app::{App, Parts};
use async_trait::async_trait;
use futures::future::BoxFuture;
use lifecycle::publication::{Refusal, RefusalKind};
use lifecycle::{
    Answer, BlobPlace, BlobPrefix, BlobSnapshot, BlobVersion, CopySource, IdentityName, InputSnapshot, Job,
    JobSnapshot, JobStatus, LedgerId, OutputPrint, OutputSnapshot, PublicationMark, Published, PublishedBlob,
    Resolution, ResolveOrder, Rules, Scoring, ScoringId, Status, StorageHosts, Submission, UnversionedBlob,
    WriteCondition,
};
use serde_json::{Value, json};
use simulation::durable_readers;
use simulation::{BAD_FILE, Cloud, CloudJob, End, Inputs, JobBehaviour, Publications, Uploaded, Written};
pub use stores::fault::Fault;
use stores::faulty::Faulty;
use stores::memory::MemoryStore;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use tokio::sync::Notify;

/// A job as it is now.
#[derive(Debug, Clone)]
pub struct WorldJob {
    pub name: String,
    /// Path of the blob that it scores.
    pub path: String,
    /// Rule and endpoint of the scoring.
    pub rule: String,
    pub endpoint: String,
    pub submission: Submission,
    pub status: JobStatus,
    pub created: OffsetDateTime,
}

/// A look through all jobs, as it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct OrphanScanCall {
    pub scan_target: ScanTarget,
    pub since: OffsetDateTime,
    pub known: usize,
}

/// What others do while a call is under way.
type Act = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

#[derive(Default)]
struct State {
    now: Option<OffsetDateTime>,
    submissions: VecDeque<Fault>,
    cloud: Cloud,
    max_running: usize,
    polls: usize,
    poll_takes: Duration,
    search_takes: Duration,
    search_shows: Option<Duration>,
    held_poll: Option<Arc<Gate>>,
    held_post: Option<Arc<Gate>>,
    post_takes: std::time::Duration,
    orphan_scan_interval: Option<Duration>,
    orphan_scans: Vec<OrphanScanCall>,
    scan_limit: Option<usize>,
    keeps_tags: bool,
    omits_outputs: bool,
    path_looks: usize,
    workspace: Option<String>,
    searched: Vec<Option<lifecycle::WorkspaceId>>,
    list_stands_still: Option<OffsetDateTime>,
    cancels_fail: usize,
    cancels: usize,
    hidden: bool,
    inconclusive: Option<String>,
    storage_inconclusive: Option<String>,
    tags_inconclusive: Option<String>,
    tag_looks: usize,
    input_inconclusive: Option<Inconclusive>,
    input_looks: usize,
    during_input: Option<Act>,
    list_limit: Option<usize>,
    lists: usize,
    during_look: Option<Act>,
    publish_faults: VecDeque<Fault>,
    during_publish: Option<Act>,
    publish_calls: usize,
    writers: usize,
    asked: Vec<(&'static str, Option<IdentityName>)>,
}

impl State {
    /// Lists show what was made until then.
    fn listed_until(&self, now: OffsetDateTime) -> OffsetDateTime {
        // What is made in the very moment in which lists begin to stand still is not shown.
        self.list_stands_still.map_or(now, |at| at - Duration::NANOSECOND)
    }
}

/// How a job ends that is to show this status.
fn end_of(status: &JobStatus) -> End {
    match status {
        JobStatus::Completed => End::Completed(Written::Good(Duration::ZERO)),
        JobStatus::Canceled => End::Canceled,
        _ => End::Failed,
    }
}

/// A call that has its answer and does not return it yet.
#[derive(Default)]
pub struct Gate {
    /// Notified when the call waits.
    pub waits: Notify,
    /// Lets it return.
    pub go: Notify,
}

pub const START: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);

#[derive(Clone)]
pub struct World {
    state: Arc<Mutex<State>>,
    pub store: Arc<Faulty>,
    /// The same without its faults, and uncounted.
    beneath: Arc<dyn TableStore>,
    pub rules: Rules,
    pub ledger_id: LedgerId,
    /// What Event Grid gave up, if an app is told where that lies.
    pub dead_letters: Option<Arc<dyn DeadLetters>>,
    task_hub: String,
}

pub const RULE: &str = r#"{"rules":[{"id":"claims","match":{"container":"claims"},
    "endpoint":{"uri":"https://heart.example/jobs"},"maxAttempts":2}]}"#;

/// The same, and its inputs are not looked at.
pub const UNVERIFIED: &str = r#"{"rules":[{"id":"claims","match":{"container":"claims"},
    "endpoint":{"uri":"https://heart.example/jobs"},"maxAttempts":2,"verifyInput":false}]}"#;

impl World {
    pub fn new() -> Self {
        Self::with_rules(RULE)
    }

    pub fn with_rules(rules: &str) -> Self {
        Self::on(Arc::new(MemoryStore::new()), rules)
    }

    /// A world whose ledger lives in this store.
    pub fn on(store: Arc<dyn TableStore>, rules: &str) -> Self {
        Self::in_task_hub("Test", store, rules)
    }

    /// As [`Self::on`], with tables of this task hub: for stores that several worlds share.
    pub fn in_task_hub(task_hub: &str, store: Arc<dyn TableStore>, rules: &str) -> Self {
        Self {
            state: Arc::default(),
            store: Arc::new(Faulty::new(Arc::clone(&store))),
            beneath: store,
            rules: Rules::read(rules).unwrap(),
            ledger_id: LedgerId::of_random([1; 16]),
            dead_letters: None,
            task_hub: task_hub.to_owned(),
        }
    }

    /// Another installation with the same rules, on the same endpoint and storage: only its ledger is its own.
    pub fn second_installation(&self) -> Self {
        let beneath = Arc::new(MemoryStore::new());
        Self {
            store: Arc::new(Faulty::new(beneath.clone())),
            beneath,
            ledger_id: LedgerId::of_random([2; 16]),
            ..self.clone()
        }
    }

    /// The name of a table of this world's task hub.
    pub fn table(&self, suffix: &str) -> TableName {
        TableName::read(&format!("{}{suffix}", self.task_hub)).unwrap()
    }

    /// An app of this world; each stands for a process of its own.
    pub fn app(&self) -> App {
        self.app_with_clock(|now| now)
    }

    /// An app that tells those who ask for it of ends.
    pub fn app_with_callbacks(&self, caller: Arc<dyn CallbackCaller>) -> App {
        self.app_of(|now| now, true, Some(caller))
    }

    /// An app whose clock shows something else than the world's.
    pub fn app_with_clock(&self, clock: impl Fn(OffsetDateTime) -> OffsetDateTime + Send + Sync + 'static) -> App {
        self.app_of(clock, true, None)
    }

    /// An app whose settings say `SCOREKEEPER_PROJECTION=off`.
    pub fn app_without_projection(&self) -> App {
        self.app_of(|now| now, false, None)
    }

    fn app_of(
        &self,
        clock: impl Fn(OffsetDateTime) -> OffsetDateTime + Send + Sync + 'static,
        projection: bool,
        callbacks: Option<Arc<dyn CallbackCaller>>,
    ) -> App {
        let writer = {
            let mut state = self.state.lock().unwrap();
            state.writers += 1;
            format!("w{}", state.writers)
        };
        let (task_hub, new_id) = (self.task_hub.clone(), self.ledger_id.clone());
        let options = LedgerOptions { task_hub, writer, new_id, projection };
        let world = self.clone();
        App::new(Parts {
            callbacks,
            ledger: Ledger::new(self.store.clone(), &options).unwrap(),
            endpoint: Arc::new(self.clone()),
            blobs: Arc::new(self.clone()),
            dead_letters: self.dead_letters.clone(),
            rules: self.rules.clone(),
            storage_hosts: StorageHosts::of_cloud("core.windows.net").watching("uploads"),
            clock: Arc::new(move || clock(world.now())),
            orphan_scan_interval: self.state.lock().unwrap().orphan_scan_interval,
            retention: Duration::days(30),
        })
    }

    fn note_asked(&self, call: &'static str, identity: Option<&IdentityName>) {
        self.state.lock().unwrap().asked.push((call, identity.cloned()));
    }

    /// The calls to endpoint and storage since this was asked last, each with the identity that it is to be made as.
    pub fn take_asked(&self) -> Vec<(&'static str, Option<IdentityName>)> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    pub fn now(&self) -> OffsetDateTime {
        self.state.lock().unwrap().now.unwrap_or(START)
    }

    pub fn later(&self, by: Duration) {
        let now = self.now() + by;
        self.state.lock().unwrap().now = Some(now);
    }

    pub fn jobs(&self) -> Vec<WorldJob> {
        let now = self.now();
        let state = self.state.lock().unwrap();
        let job = |job: &CloudJob| WorldJob {
            name: job.name.to_string(),
            path: job.scoring.blob.path.clone(),
            rule: job.scoring.rule.to_string(),
            endpoint: job.scoring.endpoint.to_string(),
            submission: job.scoring.submission.clone().expect("what was sent has a submission"),
            status: job.status(now),
            created: job.created,
        };
        state.cloud.jobs().iter().map(job).collect()
    }

    pub fn polls(&self) -> usize {
        self.state.lock().unwrap().polls
    }

    pub fn max_running(&self) -> usize {
        self.state.lock().unwrap().max_running
    }

    /// Ends every job that runs: its outputs are written, or it fails.
    pub fn end_jobs(&self, status: &JobStatus) {
        self.end_jobs_where(|_| true, status);
    }

    /// Ends the running jobs of these blobs.
    pub fn end_jobs_of(&self, paths: &[String], status: &JobStatus) {
        self.end_jobs_where(|job| paths.contains(&job.path), status);
    }

    fn end_jobs_where(&self, which: impl Fn(&WorldJob) -> bool, status: &JobStatus) {
        for job in self.jobs().iter().filter(|job| job.status == JobStatus::Running && which(job)) {
            self.end_job(&job.name, status);
        }
    }

    /// Ticks until everything is final; fails when `most` ticks are not enough.
    pub async fn tick_until_final(&self, app: &App, max: usize) {
        for _ in 0..max {
            self.later(Duration::minutes(2));
            self.end_jobs(&JobStatus::Completed);
            let _ = app.tick(self.now() + Duration::minutes(5)).await;
            if app.ledger().in_flight().await.unwrap().is_empty() {
                assert_eq!(self.complaints_of_durable_readers(app).await, Vec::<String>::new());
                return;
            }
        }
        panic!("not settled: {:?}", app.ledger().in_flight().await.unwrap());
    }

    /// What readers of Durable Functions' tables could not take of what they are shown. What waits to be projected is left out.
    pub async fn complaints_of_durable_readers(&self, app: &App) -> Vec<String> {
        let mut ids = Vec::new();
        let each = |scoring: Scoring| {
            ids.push(scoring.id);
            true
        };
        app.ledger().scorings(each).await.unwrap();
        let mut complaints = Vec::new();
        for id in ids {
            if self.beneath.get(&self.table("State"), &rows::outbox_key(&id)).await.unwrap().is_some() {
                continue;
            }
            // A row that a test has put there by itself has no history, or has never moved.
            let instance = Key::new(id.as_str(), "");
            let Ok(Some(instance)) = self.beneath.get(&self.table("Instances"), &instance).await else { continue };
            if app.ledger().entries(&id).await.unwrap().is_empty() {
                continue;
            }
            let range = Range { partition: id.to_string(), from: String::new(), below: "~".to_owned() };
            let (mut history, mut from): (Vec<Entity>, _) = (Vec::new(), None);
            loop {
                let page = self.beneath.page(&self.table("History"), &range, from.as_ref()).await.unwrap();
                history.extend(page.rows.into_iter().map(|row| row.entity));
                from = page.next;
                if from.is_none() {
                    break;
                }
            }
            complaints.extend(durable_readers::complaints(&instance.entity, &history));
        }
        complaints
    }

    pub async fn get(&self, app: &App, id: &str) -> Scoring {
        app.ledger().get(&ScoringId::read(id).unwrap()).await.unwrap().unwrap().0
    }

    /// Accepts an event and carries its intents out, as the function does. Returns the ids of new scorings.
    pub async fn deliver(&self, app: &App, payload: &Value) -> Vec<String> {
        let (accepted, intents) = app.accept(payload).await.unwrap().into_parts();
        intents.send().await;
        accepted.accepted.into_iter().map(|scoring| scoring.id).collect()
    }

    pub async fn statuses(&self, app: &App) -> HashMap<Status, usize> {
        let mut counts = HashMap::new();
        app.ledger()
            .scorings(|scoring| {
                *counts.entry(scoring.status).or_default() += 1;
                true
            })
            .await
            .unwrap();
        counts
    }
}

/// What a person says of a held scoring.
pub fn resolved(resolution: Resolution) -> ResolveOrder {
    ResolveOrder { resolution, by: "ann@contoso.com".to_owned(), reason: "no job in the studio".to_owned() }
}

/// An Event Grid event about `claims/{path}`.
pub fn event(path: &str, etag: &str) -> Value {
    json!({
        "id": "831e1650-001e-001b-66ab-eeb76e069631",
        "topic": "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/uploads",
        "subject": format!("/blobServices/default/containers/claims/blobs/{path}"),
        "eventType": "Microsoft.Storage.BlobCreated",
        "eventTime": "2026-07-21T10:00:00.1234567Z",
        "data": {
            "api": "PutBlockList", "clientRequestId": "6d79dbfb", "requestId": "831e1650", "eTag": etag,
            "contentType": "text/csv", "contentLength": 524_288, "blobType": "BlockBlob",
            "url": format!("https://uploads.blob.core.windows.net/claims/{path}"),
            "sequencer": "00000000000004420000000000028963",
            "storageDiagnostics": { "batchId": "b68529f3" }
        },
        "dataVersion": "", "metadataVersion": "1"
    })
}
