//! A small world for the app: the simulation's endpoint and storage behind faults by plan, a clock that tests move, and apps
//! on one ledger.

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

    /// What becomes of the coming submissions, in their order; later ones pass.
    pub fn next_faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().unwrap().submissions.extend(faults);
    }

    pub fn blind(&self, why: Option<&str>) {
        self.state.lock().unwrap().inconclusive = why.map(str::to_owned);
    }

    /// Whether, and why, nobody may look at outputs.
    pub fn blind_storage(&self, why: Option<&str>) {
        self.state.lock().unwrap().storage_inconclusive = why.map(str::to_owned);
    }

    /// Whether, and why, nobody may look at inputs.
    pub fn blind_inputs(&self, inconclusive: Option<Inconclusive>) {
        self.state.lock().unwrap().input_inconclusive = inconclusive;
    }

    /// Changes what inputs lie there. A path that nobody writes to holds whatever version it is asked about.
    pub fn change_inputs<T>(&self, change: impl FnOnce(&mut Inputs, OffsetDateTime) -> T) -> T {
        let now = self.now();
        change(&mut self.state.lock().unwrap().cloud.inputs, now)
    }

    /// Blobs of one page of a list at most, from now on.
    pub fn lists_give(&self, max: usize) {
        self.state.lock().unwrap().list_limit = Some(max);
    }

    /// How many pages were listed.
    pub fn lists(&self) -> usize {
        self.state.lock().unwrap().lists
    }

    /// What others do between the next look at an upload, or for a folder's files, and its answer.
    pub fn during_next_look<F: Future<Output = ()> + Send + 'static>(&self, act: impl FnOnce() -> F + Send + 'static) {
        self.state.lock().unwrap().during_look = Some(Box::new(|| Box::pin(act())));
    }

    /// What others do between the next look at an input and its answer.
    pub fn during_next_input<F: Future<Output = ()> + Send + 'static>(&self, act: impl FnOnce() -> F + Send + 'static) {
        self.state.lock().unwrap().during_input = Some(Box::new(|| Box::pin(act())));
    }

    /// What becomes of the next writes to published paths: `LostRequest`, `LostAnswer` and `Refused` happen to them, in their turn.
    pub fn next_publish_faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().unwrap().publish_faults.extend(faults);
    }

    /// What others do after the app looked at a published path and before its write arrives there.
    pub fn before_next_publish<F: Future<Output = ()> + Send + 'static>(
        &self,
        act: impl FnOnce() -> F + Send + 'static,
    ) {
        self.state.lock().unwrap().during_publish = Some(Box::new(|| Box::pin(act())));
    }

    /// What was published, and what lies there of others.
    pub fn publications<T>(&self, change: impl FnOnce(&mut Publications) -> T) -> T {
        change(&mut self.state.lock().unwrap().cloud.publications)
    }

    /// How often something was to be written to a published path.
    pub fn publish_calls(&self) -> usize {
        self.state.lock().unwrap().publish_calls
    }

    async fn write_blob(
        &self,
        write: impl FnOnce(&mut Cloud, OffsetDateTime) -> Published,
    ) -> Result<Answered<Published>, Inconclusive> {
        let act = self.state.lock().unwrap().during_publish.take();
        if let Some(act) = act {
            act().await;
        }
        let now = self.now();
        let mut state = self.state.lock().unwrap();
        state.publish_calls += 1;
        let nth = state.publish_calls;
        let refused = |kind, text: &str| Published::Refused(Refusal { kind, text: text.to_owned() });
        if let Some(why) = &state.storage_inconclusive {
            return Ok(answered("publish", nth, refused(RefusalKind::MayNotWrite, why)));
        }
        let fault = state.publish_faults.pop_front().unwrap_or(Fault::Pass);
        match fault {
            Fault::LostRequest => return Err(Inconclusive::not_reachable("the connection was reset")),
            Fault::Refused { .. } => {
                return Ok(answered("publish", nth, refused(RefusalKind::MayNotWrite, "403")));
            }
            _ => {}
        }
        let done = write(&mut state.cloud, now);
        match fault {
            Fault::LostAnswer { .. } => Err(Inconclusive::not_reachable("the connection was reset")),
            _ => Ok(answered("publish", nth, done)),
        }
    }

    /// What a look at the storage shows, once what others do meanwhile is done.
    async fn look<T>(&self, look: impl FnOnce(&State) -> T) -> Result<T, Inconclusive> {
        let (seen, act) = {
            let mut state = self.state.lock().unwrap();
            let seen = match &state.storage_inconclusive {
                Some(why) => Err(Inconclusive::not_reachable(why.clone())),
                None => Ok(look(&state)),
            };
            (seen, state.during_look.take())
        };
        if let Some(act) = act {
            act().await;
        }
        seen
    }

    /// Whether index tags cannot be read, and why.
    pub fn set_tags_inconclusive(&self, why: Option<&str>) {
        self.state.lock().unwrap().tags_inconclusive = why.map(str::to_owned);
    }

    /// How often index tags were asked for.
    pub fn tag_looks(&self) -> usize {
        self.state.lock().unwrap().tag_looks
    }

    /// How often an input was looked at.
    pub fn input_looks(&self) -> usize {
        self.state.lock().unwrap().input_looks
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

    /// Each POST is answered so long after it was carried out, by tokio's clock, which a test may pause.
    pub fn posts_take(&self, time: std::time::Duration) {
        self.state.lock().unwrap().post_takes = time;
    }

    /// Apps that are made from now on scan for orphaned jobs.
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

    /// Whether jobs that are made from now on show their outputs never.
    pub fn omit_outputs(&self, omit: bool) {
        self.state.lock().unwrap().omits_outputs = omit;
    }

    /// Answers tell the ids of jobs, and with them this workspace.
    pub fn tell_workspace(&self, id: &str) {
        self.state.lock().unwrap().workspace = Some(id.to_owned());
    }

    /// The workspaces that were searched for lost jobs.
    pub fn searched(&self) -> Vec<Option<lifecycle::WorkspaceId>> {
        self.state.lock().unwrap().searched.clone()
    }

    /// How often somebody looked at the output path of an attempt whose job is not known.
    pub fn path_looks(&self) -> usize {
        self.state.lock().unwrap().path_looks
    }

    /// A stranger's job over the inputs of a scoring, which shows nothing of whose it is; its name.
    pub fn strangers_job(&self, like: &Scoring) -> String {
        let now = self.now();
        let job = self.state.lock().unwrap().cloud.make_strangers(like, JobBehaviour::running(), now);
        job.name.to_string()
    }

    /// Whether lists go on showing only what was made before.
    pub fn hide_new_jobs(&self, hide: bool) {
        let before = self.now();
        let mut state = self.state.lock().unwrap();
        state.list_stands_still = hide.then_some(before);
    }

    /// Ends one job; a completed one has written its outputs.
    pub fn end_job(&self, name: &str, status: &JobStatus) {
        self.end_job_as(name, end_of(status));
    }

    /// Ends one job in a way that its status alone does not say.
    pub fn end_job_as(&self, name: &str, end: End) {
        let now = self.now();
        self.state.lock().unwrap().cloud.end(name, end, now);
    }

    /// Fails every job that runs, with this error.
    pub fn fail_jobs(&self, error: &'static str) {
        let now = self.now();
        for job in self.jobs().iter().filter(|job| job.status == JobStatus::Running) {
            self.state.lock().unwrap().cloud.fail(&job.name, error, now);
        }
    }

    /// Fails the running job of this blob, with this error.
    pub fn fail_job_of(&self, path: &str, error: &'static str) {
        let now = self.now();
        for job in self.jobs().iter().filter(|job| job.status == JobStatus::Running && job.path == path) {
            self.state.lock().unwrap().cloud.fail(&job.name, error, now);
        }
    }

    /// Jobs that are made from now on run on this deployment where their request names none, and their ids say so.
    pub fn set_default_deployment(&self, name: &str) {
        self.state.lock().unwrap().cloud.set_default_deployment(name);
    }

    /// Every job fails from now on that reads this upload, or a copy of it.
    pub fn fail_whatever_reads(&self, url: &str) {
        self.fail_whatever_reads_by(url, BAD_FILE);
    }

    /// The same, with what such a job says.
    pub fn fail_whatever_reads_by(&self, url: &str, error: &'static str) {
        self.state.lock().unwrap().cloud.bad.failing.insert(url.to_owned(), error);
    }

    /// What read this upload failed; no more.
    pub fn repair_file(&self, url: &str) {
        self.state.lock().unwrap().cloud.bad.failing.remove(url);
    }

    /// No output of a group names this upload.
    pub fn name_no_file(&self, url: &str) {
        self.state.lock().unwrap().cloud.bad.not_named.insert(url.to_owned());
    }

    /// The storage does not copy this upload.
    pub fn refuse_copies_of(&self, url: &str) {
        self.refuse_copies_by(url, RefusalKind::SourceNotCopied);
    }

    /// The same, and why.
    pub fn refuse_copies_by(&self, url: &str, kind: RefusalKind) {
        self.state.lock().unwrap().cloud.bad.not_copied.insert(url.to_owned(), kind);
    }

    /// Puts a blob at a URI.
    pub fn place(&self, uri: &str, bytes: u64) {
        let now = self.now();
        self.state.lock().unwrap().cloud.place(uri, bytes, now);
    }

    /// Changes what was uploaded.
    pub fn uploaded<T>(&self, change: impl FnOnce(&mut Uploaded) -> T) -> T {
        change(&mut self.state.lock().unwrap().cloud.uploaded)
    }

    /// A job of somebody else.
    pub fn foreign_job(&self, output: &str) {
        let (now, id) = (self.now(), "f".repeat(32));
        let rule = self.rules.iter().next().unwrap();
        let blob = lifecycle::BlobVersion::read("https://else.blob.core.windows.net/c/x", "1").unwrap();
        let mut scoring = Scoring::accept(&self.ledger_id, rule, blob, now);
        let mut submission = rule.submission(&scoring, 1);
        submission.outputs.values_mut().for_each(|out| out.uri = output.replace("{id}", &id));
        scoring.submission = Some(submission);
        scoring.rule = "of-somebody-else".parse().unwrap();
        self.state.lock().unwrap().cloud.make(&scoring, JobBehaviour::running(), false, now);
    }

    /// Whether the endpoint denies to know any job.
    pub fn hide_jobs(&self, hidden: bool) {
        self.state.lock().unwrap().hidden = hidden;
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

/// An Event Grid event about `claims/{path}`.
/// What a person says of a held scoring.
pub fn resolved(resolution: Resolution) -> ResolveOrder {
    ResolveOrder { resolution, by: "ann@contoso.com".to_owned(), reason: "no job in the studio".to_owned() }
}

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
        let (tagged, omits_outputs) = (state.keeps_tags, state.omits_outputs);
        let lag = if let Fault::Delayed(after) = fault { after } else { Duration::ZERO };
        let made: Vec<Job> = (0..times)
            .map(|_| {
                state.cloud.make(scoring, JobBehaviour { lag, omits_outputs, ..JobBehaviour::running() }, tagged, now)
            })
            .collect();
        let running = state.cloud.jobs().iter().filter(|job| job.status(now) == JobStatus::Running).count();
        state.max_running = state.max_running.max(running);
        let held = state.held_post.take();
        let answer = match fault {
            Fault::Pass | Fault::Duplicated { .. } => {
                let mut job = made.last().expect("just made").clone();
                let workspace = state.workspace.as_ref();
                let id = || workspace.map(|workspace| format!("{workspace}/batchEndpoints/heart/jobs/{}", job.name));
                job.id = job.id.take().or_else(id);
                Answer::Accepted { job, status: JobStatus::Preparing }
            }
            Fault::Refused { permanent } => {
                Answer::Refused { code: "403".into(), text: "no".into(), permanent, retry_after: None }
            }
            Fault::Throttled(retry_after) => {
                Answer::Refused { code: "429".into(), text: "slow down".into(), permanent: false, retry_after }
            }
            _ => Answer::Unknown { text: "connection reset".into() },
        };
        (answer, held)
    }
}

/// An answer under an id that tells what it is the answer to.
fn answered<T>(to: &str, nth: usize, value: T) -> Answered<T> {
    Answered { value, request_id: request_id(to, nth) }
}

fn request_id(of: &str, nth: usize) -> Option<lifecycle::ServiceRequestId> {
    format!("{of}-{nth}").parse().ok()
}

#[async_trait]
impl Endpoint for World {
    async fn submit(&self, scoring: &Scoring, _timeout: std::time::Duration) -> Answered<Answer> {
        self.note_asked("submit", scoring.identity.as_ref());
        let (answer, held) = self.post(scoring);
        if let Some(held) = held {
            held.waits.notify_one();
            held.go.notified().await;
        }
        let takes = self.state.lock().unwrap().post_takes;
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        answered("post", usize::try_from(scoring.submits).unwrap_or_default(), answer)
    }

    async fn job(&self, at: &JobAddress) -> Result<Answered<Option<JobSnapshot>>, Inconclusive> {
        self.note_asked("job", at.identity.as_ref());
        let now = self.now();
        let (seen, polls, held) = {
            let mut state = self.state.lock().unwrap();
            state.polls += 1;
            state.now = Some(now + state.poll_takes);
            if let Some(why) = &state.inconclusive {
                return Err(Inconclusive::not_reachable(why.clone()));
            }
            let seen = if state.hidden { None } else { state.cloud.look(&at.job.name, now, Duration::ZERO) };
            (seen, state.polls, state.held_poll.take())
        };
        if let Some(held) = held {
            held.waits.notify_one();
            held.go.notified().await;
        }
        Ok(answered("poll", polls, seen))
    }

    async fn find(&self, scoring: &Scoring) -> Result<JobSearch, Inconclusive> {
        self.note_asked("find", scoring.identity.as_ref());
        let mut state = self.state.lock().unwrap();
        if let Some(why) = &state.inconclusive {
            return Err(Inconclusive::not_reachable(why.clone()));
        }
        let now = state.now.unwrap_or(START);
        state.searched.push(scoring.workspace.clone());
        let (jobs, possible) = state.cloud.find(scoring, state.listed_until(now));
        let as_of = state.search_shows.map(|age| now - age);
        state.now = Some(now + state.search_takes);
        Ok(JobSearch { jobs, possible, as_of, request_id: request_id("search", state.searched.len()) })
    }

    async fn jobs_created_since(
        &self,
        at: &ScanTarget,
        since: OffsetDateTime,
        known: &HashSet<lifecycle::JobName>,
    ) -> Result<JobListing, Inconclusive> {
        self.note_asked("jobs_created_since", at.identity.as_ref());
        let now = self.now();
        let mut state = self.state.lock().unwrap();
        state.orphan_scans.push(OrphanScanCall { scan_target: at.clone(), since, known: known.len() });
        if let Some(why) = &state.inconclusive {
            return Err(Inconclusive::not_reachable(why.clone()));
        }
        let max = state.scan_limit.unwrap_or(usize::MAX);
        let jobs = state.cloud.jobs_created_since(&at.endpoint, since, known, state.listed_until(now));
        let complete = jobs.len() <= max;
        Ok(JobListing { jobs: jobs.into_iter().take(max).collect(), complete, elsewhere: Vec::new() })
    }

    async fn cancel(&self, at: &JobAddress) -> Result<Answered<()>, Inconclusive> {
        self.note_asked("cancel", at.identity.as_ref());
        let mut state = self.state.lock().unwrap();
        if state.cancels_fail > 0 {
            state.cancels_fail -= 1;
            let id = request_id("cancel-refused", state.cancels_fail);
            return Err(Inconclusive::not_reachable("Resource Manager answers 503").answered_as(id));
        }
        let now = state.now.unwrap_or(START);
        state.cloud.cancel(&at.job.name, now);
        state.cancels += 1;
        Ok(answered("cancel", state.cancels, ()))
    }
}

#[async_trait]
impl Blobs for World {
    async fn input(&self, blob: &BlobVersion) -> Result<InputSnapshot, Inconclusive> {
        let now = self.now();
        let (seen, act) = {
            let mut state = self.state.lock().unwrap();
            state.input_looks += 1;
            let seen = match &state.input_inconclusive {
                Some(inconclusive) => Err(inconclusive.clone()),
                None => state.cloud.input(blob, now),
            };
            (seen, state.during_input.take())
        };
        if let Some(act) = act {
            act().await;
        }
        seen
    }

    async fn output_print(&self, scoring: &Scoring) -> Result<Option<OutputPrint>, Inconclusive> {
        self.note_asked("output_print", scoring.identity.as_ref());
        let now = self.now();
        let mut state = self.state.lock().unwrap();
        state.path_looks += 1;
        if let Some(why) = &state.storage_inconclusive {
            return Err(Inconclusive::not_reachable(why.clone()));
        }
        Ok(state.cloud.output_print(scoring, now))
    }

    async fn blob(&self, blob: &UnversionedBlob) -> Result<Option<BlobSnapshot>, Inconclusive> {
        let now = self.now();
        self.look(|state| state.cloud.blob(blob, now)).await
    }

    async fn index_tags(&self, blob: &UnversionedBlob, etag: &str) -> Result<BTreeMap<String, String>, Inconclusive> {
        let now = self.now();
        let mut state = self.state.lock().unwrap();
        state.tag_looks += 1;
        if let Some(why) = &state.storage_inconclusive {
            return Err(Inconclusive::not_reachable(why.clone()));
        }
        if let Some(why) = &state.tags_inconclusive {
            return Err(Inconclusive::not_allowed(why.clone()));
        }
        state.cloud.index_tags(blob, etag, now)
    }

    async fn list(&self, place: &BlobPrefix, from: Option<&str>, max: usize) -> Result<BlobPage, Inconclusive> {
        let max = {
            let mut state = self.state.lock().unwrap();
            state.lists += 1;
            state.list_limit.unwrap_or(max).min(max)
        };
        self.look(|state| state.cloud.uploaded.page(place, from, max)).await
    }

    async fn outputs(&self, scoring: &Scoring) -> Result<OutputSnapshot, Inconclusive> {
        self.note_asked("outputs", scoring.identity.as_ref());
        let now = self.now();
        let state = self.state.lock().unwrap();
        if let Some(why) = &state.storage_inconclusive {
            return Err(Inconclusive::not_reachable(why.clone()));
        }
        state.cloud.outputs(scoring, now).ok_or_else(|| Inconclusive::not_asked("the attempt has no output"))
    }

    async fn locate(&self, at: &BlobPlace) -> Result<UnversionedBlob, Inconclusive> {
        self.note_asked("locate", at.identity.as_ref());
        Cloud::locate(at)
    }

    async fn published(&self, at: &BlobPlace) -> Result<Option<PublishedBlob>, Inconclusive> {
        self.note_asked("published", at.identity.as_ref());
        let now = self.now();
        self.look(|state| state.cloud.published(at, now)).await
    }

    async fn parts(&self, folder: &BlobPlace, from: Option<&str>) -> Result<PartPage, Inconclusive> {
        self.note_asked("parts", folder.identity.as_ref());
        let now = self.now();
        self.look(|state| state.cloud.parts(folder, from, MAX_PAGE, now)).await
    }

    async fn publish(
        &self,
        source: &CopySource,
        to: &BlobPlace,
        condition: &WriteCondition,
        mark: &PublicationMark,
    ) -> Result<Answered<Published>, Inconclusive> {
        self.note_asked("publish", to.identity.as_ref());
        self.write_blob(|cloud, now| cloud.publish(source, to, condition, mark, now)).await
    }

    async fn write_manifest(
        &self,
        to: &BlobPlace,
        body: Vec<u8>,
        condition: &WriteCondition,
        mark: &PublicationMark,
    ) -> Result<Answered<Published>, Inconclusive> {
        self.note_asked("write_manifest", to.identity.as_ref());
        self.write_blob(|cloud, now| cloud.write_manifest(to, body, condition, mark, now)).await
    }

    async fn remove(&self, at: &BlobPlace, etag: &str) -> Result<(), Inconclusive> {
        let mut state = self.state.lock().unwrap();
        if let Some(why) = &state.storage_inconclusive {
            return Err(Inconclusive::not_reachable(why.clone()));
        }
        state.cloud.remove(at, etag);
        Ok(())
    }

    async fn named_in_outputs(
        &self,
        scoring: &Scoring,
        ids: &BTreeSet<ScoringId>,
        _by: NamedBy,
    ) -> Result<BTreeSet<ScoringId>, Inconclusive> {
        self.note_asked("named_in_outputs", scoring.identity.as_ref());
        self.look(|state| state.cloud.named_in_outputs(scoring, ids)).await
    }
}
