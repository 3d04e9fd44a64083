//! The stages: the Azure adapters before the simulator, over loopback HTTP; the tests' world; the simulation's world.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use app::ports::{Blobs, Endpoint, Inconclusive};
use async_trait::async_trait;
use azure::batch_endpoint::AzureMl;
use azure::blobs::{AzureBlobs, CopyLimits};
use azure::resource_manager;
use azure::tokens::Tokens;
use lifecycle::{
    BlobSnapshot, BlobVersion, EndpointHosts, IndexTags, JobName, JobStatus, Rules, Scoring, StorageHosts,
    UnversionedBlob,
};
use serde_json::json;
use simulation::{End, Inputs, Sandbox, Written};
use simulator::{
    Clock, Container, Datastore, Fault as Planned, FaultKind, Handle, Instead, ManualClock, Resources, Route, Timing,
};
use stores::fault::Fault;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::stage::{Ending, Stage, name_in_azure, rules_for};
use super::staging::STAGING;
use crate::support::identity::Identity;
use crate::support::world::World;

const START: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);

fn url_of(path: &str) -> String {
    format!("https://uploads.blob.core.windows.net/claims/{}", path.replace(' ', "%20").replace('#', "%23"))
}

/// Writes the upload number `n`, whose content is its own.
fn put(inputs: &mut Inputs, path: &str, n: u64, now: OffsetDateTime) -> BlobVersion {
    let blob = BlobVersion::read(&url_of(path), &format!("e{n}")).unwrap();
    inputs.put(&blob.url, &blob.etag, n, true, now);
    blob
}

fn end(ending: Ending) -> End {
    match ending {
        Ending::Scored => End::Completed(Written::Good(Duration::ZERO)),
        Ending::Empty => End::Completed(Written::Empty),
        Ending::Absent => End::Completed(Written::Absent),
        Ending::Failed => End::Failed,
    }
}

/// The adapters as in production, but for where their tokens come from.
pub struct Azure {
    handle: Handle,
    hand: ManualClock,
    clock: Clock,
    endpoint: AzureMl,
    blobs: AzureBlobs,
    folder: tempfile::TempDir,
    endings: Mutex<Vec<(String, Ending)>>,
    serving: tokio::task::JoinHandle<()>,
}

/// A container in the account of uploads that the app may write to, and that is not there.
pub const DELETED: &str = "deleted";

const IDENTITY_HEADER: &str = "a secret of the platform";

impl Azure {
    pub async fn start() -> Self {
        Self::showing(false).await
    }

    /// With a service that omits the outputs of jobs.
    pub async fn omitting_outputs() -> Self {
        Self::showing(true).await
    }

    async fn showing(omit_outputs: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual(START);
        let timing = Timing { answer: std::time::Duration::ZERO, ..Timing::recorded() };
        let options = simulator::SimulatorOptions {
            containers: ["claims", STAGING, DELETED]
                .map(|container| Container {
                    account: "uploads".to_owned(),
                    container: container.to_owned(),
                    folder: folder.path().join(container),
                })
                .into(),
            datastores: vec![Datastore {
                name: "workspaceblobstore".to_owned(),
                account: "results".to_owned(),
                container: "scores".to_owned(),
                folder: folder.path().join("scores"),
            }],
            published: vec!["workspaceblobstore".to_owned()],
            staging: [STAGING, DELETED].map(|container| ("uploads".to_owned(), container.to_owned())).into(),
            resources: Resources { changed: [(format!("containers/{DELETED}"), None)].into(), ..Resources::default() },
            timing,
            behaviour: simulator::Behaviour { omit_outputs, ..simulator::Behaviour::default() },
            nodes: 100,
            clock: clock.clone(),
            identity_header: IDENTITY_HEADER.to_owned(),
            ..simulator::SimulatorOptions::default()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (handle, serving) = simulator::start(listener, options).unwrap();
        let serving = tokio::spawn(async move { serving.await.unwrap() });
        let source = Arc::new(Identity::new(handle.identity_endpoint(), IDENTITY_HEADER, clock.clone()));
        let shown = clock.clone();
        let read: app::ports::Clock = Arc::new(move || shown.now());
        let tokens = Tokens::new(source.clone(), read.clone());
        let manager = Arc::new(resource_manager::Client::new(&handle.origin(), tokens).unwrap());
        let there = format!("{}/uploads", handle.origin()).parse().unwrap();
        let hosts = StorageHosts::default().and("127.0.0.1", None).and("uploads.blob.core.windows.net", Some(there));
        let endpoint =
            AzureMl::new(Tokens::new(source.clone(), read.clone()), EndpointHosts::default(), manager.clone());
        // What is larger than this goes in blocks.
        let limits = CopyLimits { one_call: 16, block: 10 };
        let blobs = AzureBlobs::new(manager, Tokens::new(source, read), hosts).with_copy_limits(limits);
        Self { handle, hand, clock, endpoint, blobs, folder, endings: Mutex::default(), serving }
    }

    /// Requests about this path, after so many of them, hang until the next fault plan.
    pub fn hang(&self, path: &str, after: u64) {
        let hanging = Planned::new(Route::Storage, FaultKind::Unanswered).matching(path).after(after);
        self.handle.set_faults(vec![hanging]).unwrap();
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.handle.set_faults(Vec::new()).unwrap();
    }

    /// The storage answers with this status to whoever copies from an upload.
    pub fn refuse_source(&self, url: &str, status: u16) {
        let file = self.input(url.rsplit('/').next().unwrap());
        std::fs::write(simulator::sidecar_of(&file), json!({ "copyRefused": status }).to_string()).unwrap();
    }

    /// Requests about this path are refused until the next fault plan.
    pub fn forbid(&self, path: &str) {
        let forbidden = Planned::new(Route::Storage, FaultKind::Forbidden { seconds: u32::MAX }).matching(path);
        self.handle.set_faults(vec![forbidden]).unwrap();
    }

    /// The file that stands for what is at a URI.
    pub fn file(&self, uri: &str) -> PathBuf {
        let path = uri.strip_prefix("azureml://datastores/workspaceblobstore/paths/").unwrap();
        self.folder.path().join("scores").join(path)
    }

    fn input(&self, path: &str) -> PathBuf {
        self.folder.path().join("claims").join(path)
    }

    fn advance(&self, by: Duration) {
        self.hand.advance(by.unsigned_abs());
    }
}

impl Drop for Azure {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[async_trait]
impl Stage for Azure {
    fn endpoint(&self) -> &dyn Endpoint {
        &self.endpoint
    }

    fn blobs(&self) -> &dyn Blobs {
        &self.blobs
    }

    fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    fn rules(&self) -> Rules {
        rules_for(&self.handle.scoring_uri("heart"), Some(&self.handle.workspace_id()))
    }

    fn prepare(&self, scoring: &Scoring, ending: Ending) {
        // A job whose input is not there fails. A group's are copies.
        if ending != Ending::Failed && !scoring.is_group() {
            let input = self.folder.path().join(&scoring.blob.container).join(&scoring.blob.path);
            std::fs::write(input, "a\n1\n").unwrap();
        }
        self.endings.lock().unwrap().push((scoring.output_uri().unwrap().to_owned(), ending));
    }

    fn next(&self, fault: Fault) {
        let kind = match fault {
            Fault::LostRequest => FaultKind::LostRequest,
            Fault::LostAnswer { times } => FaultKind::LostAnswer { jobs: times, instead: Instead::Cut },
            Fault::Duplicated { times } => FaultKind::Duplicated { jobs: times },
            Fault::Refused { permanent } => {
                FaultKind::Refused { status: if permanent { 400 } else { 403 }, body: simulator::BodyKind::Json }
            }
            Fault::Throttled(wait) => FaultKind::Throttled {
                retry_after: wait.map(|wait| u32::try_from(wait.whole_seconds()).unwrap()),
                as_date: false,
            },
            other => panic!("{other:?} happens to no submission over HTTP"),
        };
        self.handle.set_faults(vec![Planned::new(Route::Invoke, kind).times(1)]).unwrap();
    }

    fn next_write(&self, fault: Fault) {
        let kind = match fault {
            Fault::LostRequest => FaultKind::LostRequest,
            Fault::LostAnswer { .. } => FaultKind::lost_answer(Instead::Cut),
            Fault::Refused { .. } => FaultKind::Refused { status: 403, body: simulator::BodyKind::Html },
            other => panic!("{other:?} happens to no write"),
        };
        self.handle.set_faults(vec![Planned::new(Route::Storage, kind).times(1)]).unwrap();
    }

    async fn pass(&self, by: Duration) {
        self.advance(by);
    }

    async fn finish(&self) {
        let timing = Timing::recorded();
        for phase in [timing.preparing, timing.running, timing.canceling] {
            self.hand.advance(phase);
        }
        let worked = |status: &str| !matches!(status, "NotStarted" | "Queued" | "Running");
        self.handle.until(|jobs| jobs.iter().all(|job| worked(&job.step_status))).await;
        self.hand.advance(timing.finalizing);
        for (uri, ending) in self.endings.lock().unwrap().iter() {
            // What a job of this simulator has written is never empty.
            match ending {
                Ending::Empty => self.place(uri, 0),
                Ending::Absent => drop(std::fs::remove_file(self.file(uri))),
                Ending::Scored | Ending::Failed => {}
            }
        }
    }

    fn place(&self, uri: &str, bytes: usize) {
        let path = self.file(uri);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "x".repeat(bytes)).unwrap();
        std::fs::File::options().write(true).open(path).unwrap().set_modified(self.now().into()).unwrap();
    }

    fn write_input(&self, path: &str) -> BlobVersion {
        let file = self.input(path);
        // Longer than the one before it: another content, whatever the file system's clock says.
        let content = format!("{}a\n", std::fs::read_to_string(&file).unwrap_or_default());
        std::fs::write(&file, content).unwrap();
        BlobVersion::read(&url_of(path), &simulator::file_etag(&file.metadata().unwrap())).unwrap()
    }

    fn mark_input(&self, blob: &BlobVersion) {
        let file = self.input(&blob.path);
        let before = simulator::file_etag(&file.metadata().unwrap());
        let later = file.metadata().unwrap().modified().unwrap() + std::time::Duration::from_secs(1);
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
        assert_ne!(simulator::file_etag(&file.metadata().unwrap()), before);
    }

    fn refuse_to_copy(&self, blob: &BlobVersion) {
        self.refuse_source(&blob.url, 409);
    }

    fn delete_input(&self, blob: &BlobVersion) {
        std::fs::remove_file(self.input(&blob.path)).unwrap();
    }

    async fn make_strangers(&self, like: &Scoring) -> JobName {
        let mut theirs = like.clone();
        // Another installation's: another id, and another path.
        for output in theirs.submission.iter_mut().flat_map(|sent| sent.outputs.values_mut()) {
            "azureml://datastores/workspaceblobstore/paths/theirs/predictions.csv".clone_into(&mut output.uri);
        }
        let answer = self.endpoint.submit(&theirs, std::time::Duration::from_secs(20)).await.value;
        let lifecycle::Answer::Accepted { job, .. } = answer else { panic!("{answer:?}") };
        job.name
    }

    fn upload(&self, path: &str, bytes: usize) -> UnversionedBlob {
        let file = self.folder.path().join("claims").join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "x".repeat(bytes)).unwrap();
        self.upload_name(path)
    }

    fn label(&self, blob: &UnversionedBlob, metadata: (&str, &str), tag: (&str, &str)) {
        let labels = json!({ "metadata": { metadata.0: metadata.1 }, "indexTags": { tag.0: tag.1 } });
        let file = self.folder.path().join("claims").join(&blob.path);
        std::fs::write(simulator::sidecar_of(&file), labels.to_string()).unwrap();
    }

    fn upload_name(&self, path: &str) -> UnversionedBlob {
        let origin = self.handle.origin();
        UnversionedBlob::read(&format!("{origin}/uploads/claims/x")).unwrap().beside(path).unwrap()
    }

    fn deny_lookups(&self) {
        let routes = [Route::Poll, Route::Arm, Route::RunHistory, Route::Storage];
        let forbidden = |route| Planned::new(route, FaultKind::Forbidden { seconds: u32::MAX });
        self.handle.set_faults(routes.map(forbidden).to_vec()).unwrap();
    }
}

/// The world that the tests of the use cases run in.
pub struct InTests {
    world: World,
    uploads: AtomicU64,
    endings: Mutex<HashMap<String, Ending>>,
}

impl InTests {
    pub fn new() -> Self {
        Self { world: World::new(), uploads: AtomicU64::new(0), endings: Mutex::default() }
    }

    pub fn omitting_outputs() -> Self {
        let stage = Self::new();
        stage.world.omit_outputs(true);
        stage
    }
}

#[async_trait]
impl Stage for InTests {
    fn endpoint(&self) -> &dyn Endpoint {
        &self.world
    }

    fn blobs(&self) -> &dyn Blobs {
        &self.world
    }

    fn now(&self) -> OffsetDateTime {
        self.world.now()
    }

    fn rules(&self) -> Rules {
        self.world.rules.clone()
    }

    fn prepare(&self, scoring: &Scoring, ending: Ending) {
        self.endings.lock().unwrap().insert(scoring.output_uri().unwrap().to_owned(), ending);
    }

    fn next(&self, fault: Fault) {
        self.world.next_faults([fault]);
    }

    fn next_write(&self, fault: Fault) {
        self.world.next_publish_faults([fault]);
    }

    async fn pass(&self, by: Duration) {
        self.world.later(by);
    }

    async fn finish(&self) {
        self.world.later(Duration::MINUTE);
        for job in self.world.jobs().iter().filter(|job| job.status == JobStatus::Running) {
            let uri = &job.submission.outputs.values().next().unwrap().uri;
            self.world.end_job_as(&job.name, end(self.endings.lock().unwrap()[uri]));
        }
    }

    fn place(&self, uri: &str, bytes: usize) {
        self.world.place(uri, bytes as u64);
    }

    fn write_input(&self, path: &str) -> BlobVersion {
        let n = self.uploads.fetch_add(1, Ordering::Relaxed);
        self.world.change_inputs(|inputs, now| put(inputs, path, n, now))
    }

    fn mark_input(&self, blob: &BlobVersion) {
        self.world.change_inputs(|inputs, now| inputs.mark(&blob.url, now));
    }

    fn refuse_to_copy(&self, blob: &BlobVersion) {
        self.world.refuse_copies_of(&blob.url);
    }

    fn delete_input(&self, blob: &BlobVersion) {
        self.world.change_inputs(|inputs, now| inputs.delete(&blob.url, now));
    }

    async fn make_strangers(&self, like: &Scoring) -> JobName {
        self.world.strangers_job(like).parse().unwrap()
    }

    fn upload(&self, path: &str, bytes: usize) -> UnversionedBlob {
        let name = self.upload_name(path);
        self.world.uploaded(|uploaded| uploaded.put(&name, bytes as u64));
        name
    }

    fn label(&self, blob: &UnversionedBlob, metadata: (&str, &str), tag: (&str, &str)) {
        self.world.uploaded(|uploaded| uploaded.change(blob, |shown| labelled(shown, metadata, tag)));
    }

    fn upload_name(&self, path: &str) -> UnversionedBlob {
        name_in_azure(path)
    }

    fn deny_lookups(&self) {
        self.world.blind(Some("403"));
        self.world.blind_storage(Some("403"));
        self.world.blind_inputs(Some(Inconclusive::not_allowed("403")));
    }
}

/// The world that seeds run in.
pub struct InSimulation(Sandbox, AtomicU64);

impl InSimulation {
    pub fn new() -> Self {
        Self(Sandbox::new(START, &rules_for("https://heart.example/jobs", None), false), AtomicU64::new(0))
    }

    pub fn omitting_outputs() -> Self {
        Self(Sandbox::new(START, &rules_for("https://heart.example/jobs", None), true), AtomicU64::new(0))
    }
}

#[async_trait]
impl Stage for InSimulation {
    fn endpoint(&self) -> &dyn Endpoint {
        &self.0
    }

    fn blobs(&self) -> &dyn Blobs {
        &self.0
    }

    fn now(&self) -> OffsetDateTime {
        self.0.now()
    }

    fn rules(&self) -> Rules {
        rules_for("https://heart.example/jobs", None)
    }

    fn prepare(&self, _: &Scoring, ending: Ending) {
        self.0.next_job(end(ending));
    }

    fn next(&self, fault: Fault) {
        self.0.next_submission(fault);
    }

    fn next_write(&self, fault: Fault) {
        self.0.next_write(fault);
    }

    async fn pass(&self, by: Duration) {
        self.0.advance(by);
    }

    async fn finish(&self) {
        self.0.advance(Duration::minutes(3));
    }

    fn place(&self, uri: &str, bytes: usize) {
        self.0.place(uri, bytes as u64);
    }

    fn write_input(&self, path: &str) -> BlobVersion {
        let n = self.1.fetch_add(1, Ordering::Relaxed);
        self.0.change_inputs(|inputs, now| put(inputs, path, n, now))
    }

    fn mark_input(&self, blob: &BlobVersion) {
        let _ = self.0.change_inputs(|inputs, now| inputs.mark(&blob.url, now));
    }

    fn refuse_to_copy(&self, blob: &BlobVersion) {
        self.0.refuse_copies_of(&blob.url, lifecycle::publication::RefusalKind::SourceNotCopied);
    }

    fn delete_input(&self, blob: &BlobVersion) {
        self.0.change_inputs(|inputs, now| inputs.delete(&blob.url, now));
    }

    async fn make_strangers(&self, like: &Scoring) -> JobName {
        self.0.make_strangers(like)
    }

    fn upload(&self, path: &str, bytes: usize) -> UnversionedBlob {
        let name = self.upload_name(path);
        self.0.uploaded(|uploaded| uploaded.put(&name, bytes as u64));
        name
    }

    fn label(&self, blob: &UnversionedBlob, metadata: (&str, &str), tag: (&str, &str)) {
        self.0.uploaded(|uploaded| uploaded.change(blob, |shown| labelled(shown, metadata, tag)));
    }

    fn upload_name(&self, path: &str) -> UnversionedBlob {
        name_in_azure(path)
    }

    fn deny_lookups(&self) {
        self.0.deny_lookups();
    }
}

/// What a fake keeps of a blob's metadata and index tags.
fn labelled(shown: &mut BlobSnapshot, metadata: (&str, &str), tag: (&str, &str)) {
    shown.metadata = [(metadata.0.to_ascii_lowercase(), metadata.1.to_owned())].into();
    shown.index_tags = IndexTags::Seen([(tag.0.to_owned(), tag.1.to_owned())].into());
}
