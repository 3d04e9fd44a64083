//! A small world for the app: a batch endpoint and storage in memory, a clock that tests move, and apps on one ledger.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use app::ledger::{Ledger, LedgerOptions};
use app::ports::table_store::{TableName, TableStore};
use app::ports::{Blobs, Endpoint, Inconclusive, JobAddress, JobListing, JobSearch, ListedJob, ScanTarget};
use app::{App, Parts};
use async_trait::async_trait;
use lifecycle::{
    Answer, Candidate, Job, JobSnapshot, JobStatus, OutputSnapshot, Rules, Scoring, ScoringId, Status, Submission,
};
use serde_json::{Value, json};
pub use stores::fault::Fault;
use stores::faulty::Faulty;
use stores::memory::MemoryStore;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use tokio::sync::Notify;

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
    pub error: Option<String>,
    pub created: OffsetDateTime,
    /// From when on it can be found.
    pub shown: OffsetDateTime,
    /// Whether the service kept our tags.
    pub tags: Option<(ScoringId, u32)>,
}

/// A look through all jobs, as it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct OrphanScanCall {
    pub scan_target: ScanTarget,
    pub since: OffsetDateTime,
    pub known: usize,
}

#[derive(Default)]
struct State {
    now: Option<OffsetDateTime>,
    submissions: VecDeque<Fault>,
    jobs: Vec<WorldJob>,
    outputs: BTreeMap<String, (u64, OffsetDateTime)>,
    max_running: usize,
    polls: usize,
    poll_takes: Duration,
    search_takes: Duration,
    search_shows: Option<Duration>,
    held_poll: Option<Arc<Gate>>,
    held_post: Option<Arc<Gate>>,
    orphan_scan_interval: Option<Duration>,
    orphan_scans: Vec<OrphanScanCall>,
    scan_limit: Option<usize>,
    keeps_tags: bool,
    list_stands_still: Option<OffsetDateTime>,
    cancels_fail: usize,
    hidden: bool,
    inconclusive: Option<String>,
    writers: usize,
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
    pub rules: Rules,
    task_hub: String,
}

pub const RULE: &str = r#"{"rules":[{"id":"claims","match":{"container":"claims"},
    "endpoint":{"uri":"https://heart.example/jobs"},"maxAttempts":2}]}"#;

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
        let store = Arc::new(Faulty::new(store));
        Self { state: Arc::default(), store, rules: Rules::read(rules).unwrap(), task_hub: task_hub.to_owned() }
    }

    /// The name of a table of this world's hub.
    pub fn table(&self, suffix: &str) -> TableName {
        TableName::read(&format!("{}{suffix}", self.task_hub)).unwrap()
    }

    /// An app of this world; each stands for a process of its own.
    pub fn app(&self) -> App {
        self.app_with_clock(|now| now)
    }

    /// An app whose clock shows something else than the world's.
    pub fn app_with_clock(&self, clock: impl Fn(OffsetDateTime) -> OffsetDateTime + Send + Sync + 'static) -> App {
        let writer = {
            let mut state = self.state.lock().unwrap();
            state.writers += 1;
            format!("w{}", state.writers)
        };
        let options = LedgerOptions { task_hub: self.task_hub.clone(), writer, projection: true };
        let world = self.clone();
        App::new(Parts {
            ledger: Ledger::new(self.store.clone(), &options).unwrap(),
            endpoint: Arc::new(self.clone()),
            blobs: Arc::new(self.clone()),
            rules: self.rules.clone(),
            clock: Arc::new(move || clock(world.now())),
            orphan_scan_interval: self.state.lock().unwrap().orphan_scan_interval,
            retention: Duration::days(30),
        })
    }

    pub fn now(&self) -> OffsetDateTime {
        self.state.lock().unwrap().now.unwrap_or(START)
    }

    pub fn later(&self, by: Duration) {
        let now = self.now() + by;
        self.state.lock().unwrap().now = Some(now);
    }

    /// What becomes of the coming submissions, in their order; later ones pass.
    pub fn next_faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().unwrap().submissions.extend(faults);
    }

    pub fn blind(&self, why: Option<&str>) {
        self.state.lock().unwrap().inconclusive = why.map(str::to_owned);
    }

    /// Each look at a job takes this long from now on.
    pub fn polls_take(&self, time: Duration) {
        self.state.lock().unwrap().poll_takes = time;
    }

    /// Each search for jobs takes this long from now on.
    pub fn searches_take(&self, time: Duration) {
        self.state.lock().unwrap().search_takes = time;
    }

    /// Each search for jobs shows from now on what there was so long ago, as a list does that others share.
    pub fn searches_show_what_was(&self, age: Duration) {
        self.state.lock().unwrap().search_shows = Some(age);
    }

    /// The next look at a job sees the job as it is then and tells of it only when it is let go.
    pub fn hold_next_poll(&self) -> Arc<Gate> {
        let held = Arc::<Gate>::default();
        self.state.lock().unwrap().held_poll = Some(held.clone());
        held
    }

    /// The next `times` requests to stop a job fail.
    pub fn fail_cancels(&self, times: usize) {
        self.state.lock().unwrap().cancels_fail = times;
    }

    /// The next POST does what it does and tells of it only when it is let go.
    pub fn hold_next_post(&self) -> Arc<Gate> {
        let held = Arc::<Gate>::default();
        self.state.lock().unwrap().held_post = Some(held.clone());
        held
    }

    /// Apps that are made from now on orphan scan.
    pub fn scan_every(&self, interval: Duration) {
        self.state.lock().unwrap().orphan_scan_interval = Some(interval);
    }

    /// One look through all jobs shows so many at most.
    pub fn scans_show(&self, max: usize) {
        self.state.lock().unwrap().scan_limit = Some(max);
    }

    pub fn orphan_scans(&self) -> Vec<OrphanScanCall> {
        self.state.lock().unwrap().orphan_scans.clone()
    }

    /// Whether the service keeps the tags of jobs that are made from now on.
    pub fn keep_tags(&self, keep: bool) {
        self.state.lock().unwrap().keeps_tags = keep;
    }

    /// Whether lists go on showing only what was made before.
    pub fn hide_new_jobs(&self, hide: bool) {
        let before = self.now();
        let mut state = self.state.lock().unwrap();
        state.list_stands_still = hide.then_some(before);
    }

    /// Ends one job; a completed one has written its outputs.
    pub fn end_job(&self, name: &str, status: &JobStatus) {
        let now = self.now();
        let mut state = self.state.lock().unwrap();
        let job = state.jobs.iter_mut().find(|job| job.name == name).unwrap();
        job.status = status.clone();
        let outputs: Vec<_> = job.submission.outputs.values().map(|output| output.uri.clone()).collect();
        if *status == JobStatus::Completed {
            state.outputs.extend(outputs.into_iter().map(|uri| (uri, (7, now))));
        }
    }

    /// A job of somebody else.
    pub fn foreign_job(&self, output: &str) {
        let (now, id) = (self.now(), "f".repeat(32));
        let rule = self.rules.iter().next().unwrap();
        let blob = lifecycle::BlobVersion::read("https://else.blob.core.windows.net/c/x", "1").unwrap();
        let scoring = Scoring::accept(rule, blob, now);
        let mut submission = rule.submission(&scoring.blob, &scoring.id, 1);
        submission.outputs.values_mut().for_each(|out| out.uri = output.replace("{id}", &id));
        let mut state = self.state.lock().unwrap();
        let name = format!("foreign-{}", state.jobs.len() + 1);
        let job = WorldJob {
            name,
            path: "x".to_owned(),
            rule: "of-somebody-else".to_owned(),
            endpoint: rule.endpoint.uri.to_string(),
            submission,
            status: JobStatus::Running,
            error: None,
            created: now,
            shown: now,
            tags: None,
        };
        state.jobs.push(job);
    }

    /// Whether the endpoint denies to know any job.
    pub fn hide_jobs(&self, hidden: bool) {
        self.state.lock().unwrap().hidden = hidden;
    }

    pub fn jobs(&self) -> Vec<WorldJob> {
        self.state.lock().unwrap().jobs.clone()
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
        let now = self.now();
        let mut state = self.state.lock().unwrap();
        let mut written = Vec::new();
        for job in state.jobs.iter_mut().filter(|job| job.status == JobStatus::Running && which(job)) {
            job.status = status.clone();
            if *status == JobStatus::Completed {
                written.extend(job.submission.outputs.values().map(|output| output.uri.clone()));
            } else {
                job.error = Some("exit code 42".into());
            }
        }
        for uri in written {
            state.outputs.entry(uri).or_insert((7, now));
        }
    }

    /// Ticks until everything is final; fails when `most` ticks are not enough.
    pub async fn tick_until_final(&self, app: &App, max: usize) {
        for _ in 0..max {
            self.later(Duration::minutes(2));
            self.end_jobs(&JobStatus::Completed);
            let _ = app.tick(self.now() + Duration::minutes(5)).await;
            if app.ledger().in_flight().await.unwrap().is_empty() {
                return;
            }
        }
        panic!("not settled: {:?}", app.ledger().in_flight().await.unwrap());
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

impl World {
    fn post(&self, scoring: &Scoring) -> (Answer, Option<Arc<Gate>>) {
        let now = self.now();
        let mut state = self.state.lock().unwrap();
        let fault = state.submissions.pop_front().unwrap_or(Fault::Pass);
        let times = match fault {
            Fault::Pass | Fault::Delayed(_) => 1,
            Fault::Duplicated { times } | Fault::LostAnswer { times } => times,
            _ => 0,
        };
        for _ in 0..times {
            let job = WorldJob {
                name: format!("job-{}", state.jobs.len() + 1),
                path: scoring.blob.path.clone(),
                rule: scoring.rule.to_string(),
                endpoint: scoring.endpoint.to_string(),
                submission: scoring.submission.clone().expect("an intent has a submission"),
                status: JobStatus::Running,
                error: None,
                created: now,
                shown: if let Fault::Delayed(after) = fault { now + after } else { now },
                tags: state.keeps_tags.then(|| (scoring.id.clone(), scoring.attempt)),
            };
            state.jobs.push(job);
        }
        let running = state.jobs.iter().filter(|job| job.status == JobStatus::Running).count();
        state.max_running = state.max_running.max(running);
        let held = state.held_post.take();
        let answer = match fault {
            Fault::Pass | Fault::Duplicated { .. } => {
                let name = state.jobs.last().expect("just made").name.clone();
                Answer::Accepted {
                    job: Job { name: name.parse().unwrap(), id: None, studio: None },
                    status: JobStatus::Preparing,
                }
            }
            Fault::Refused { permanent } => {
                Answer::Refused { code: "403".into(), text: "no".into(), permanent, retry_after: None }
            }
            _ => Answer::Unknown { text: "connection reset".into() },
        };
        (answer, held)
    }
}

#[async_trait]
impl Endpoint for World {
    async fn submit(&self, scoring: &Scoring, _timeout: std::time::Duration) -> Answer {
        let (answer, held) = self.post(scoring);
        if let Some(held) = held {
            held.waits.notify_one();
            held.go.notified().await;
        }
        answer
    }

    async fn job(&self, at: &JobAddress) -> Result<Option<JobSnapshot>, Inconclusive> {
        let now = self.now();
        let (seen, held) = {
            let mut state = self.state.lock().unwrap();
            state.polls += 1;
            state.now = Some(now + state.poll_takes);
            if let Some(why) = &state.inconclusive {
                return Err(Inconclusive::not_reachable(why.clone()));
            }
            let job = state.jobs.iter().find(|job| *job.name == *at.job.name && !state.hidden);
            let seen =
                job.map(|job| JobSnapshot { status: job.status.clone(), error: job.error.clone(), studio: None });
            (seen, state.held_poll.take())
        };
        if let Some(held) = held {
            held.waits.notify_one();
            held.go.notified().await;
        }
        Ok(seen)
    }

    async fn find(&self, scoring: &Scoring) -> Result<JobSearch, Inconclusive> {
        let mut state = self.state.lock().unwrap();
        if let Some(why) = &state.inconclusive {
            return Err(Inconclusive::not_reachable(why.clone()));
        }
        let ours = scoring.submission.as_ref().expect("looked for with a submission");
        let now = state.now.unwrap_or(START);
        let still = state.list_stands_still;
        let shown = state.jobs.iter().filter(|job| job.shown <= now && still.is_none_or(|at| job.created < at));
        let found = shown.filter(|job| job.submission.outputs == ours.outputs).map(|job| Candidate {
            job: Job { name: job.name.parse().unwrap(), id: None, studio: None },
            status: job.status.clone(),
            created: job.created,
        });
        let jobs = found.collect();
        let as_of = state.search_shows.map(|age| now - age);
        state.now = Some(now + state.search_takes);
        Ok(JobSearch { jobs, as_of })
    }

    async fn jobs_created_since(
        &self,
        at: &ScanTarget,
        since: OffsetDateTime,
        known: &HashSet<lifecycle::JobName>,
    ) -> Result<JobListing, Inconclusive> {
        let now = self.now();
        let mut state = self.state.lock().unwrap();
        state.orphan_scans.push(OrphanScanCall { scan_target: at.clone(), since, known: known.len() });
        if let Some(why) = &state.inconclusive {
            return Err(Inconclusive::not_reachable(why.clone()));
        }
        let max = state.scan_limit.unwrap_or(usize::MAX);
        let still = state.list_stands_still;
        let jobs = state.jobs.iter().filter(|job| {
            still.is_none_or(|at| job.created < at)
                && job.shown <= now
                && job.created >= since
                && !known.contains(job.name.as_str())
        });
        let jobs: Vec<ListedJob> = jobs
            .map(|job| ListedJob {
                job: Job { name: job.name.parse().unwrap(), id: None, studio: None },
                status: job.status.clone(),
                outputs: job.submission.outputs.values().map(|output| output.uri.clone()).collect(),
                tags: job.tags.clone(),
            })
            .collect();
        let complete = jobs.len() <= max;
        Ok(JobListing { jobs: jobs.into_iter().take(max).collect(), complete })
    }

    async fn cancel(&self, at: &JobAddress) -> Result<(), Inconclusive> {
        let mut state = self.state.lock().unwrap();
        if state.cancels_fail > 0 {
            state.cancels_fail -= 1;
            return Err(Inconclusive::not_reachable("Resource Manager answers 503"));
        }
        for job in state.jobs.iter_mut().filter(|job| *job.name == *at.job.name) {
            job.status = JobStatus::Canceled;
        }
        Ok(())
    }
}

#[async_trait]
impl Blobs for World {
    async fn outputs(&self, scoring: &Scoring) -> Result<OutputSnapshot, Inconclusive> {
        let state = self.state.lock().unwrap();
        let uri = scoring.output_uri().expect("an attempt has an output");
        Ok(match state.outputs.get(uri) {
            Some((bytes, modified)) => OutputSnapshot::Present { bytes: *bytes, modified: *modified },
            None => OutputSnapshot::Absent { uri: uri.to_owned() },
        })
    }
}
