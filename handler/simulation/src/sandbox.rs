//! The simulated endpoint, storage and table by themselves, with nothing drawn: for the ports' conformance suites, which hold them
//! to the same claims as the real adapters. A simulation over a world that keeps another contract would prove nothing.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use app::ports::table_store::{Continuation, ETag, Error, Key, Op, Page, Range, Row, TableName, TableStore};
use app::ports::{
    Answered, BlobPage, Blobs, Endpoint, Inconclusive, JobAddress, JobListing, JobSearch, NamedBy, PartPage, ScanTarget,
};
use async_trait::async_trait;
use lifecycle::publication::RefusalKind;
use lifecycle::{
    Answer, BlobPlace, BlobPrefix, BlobSnapshot, BlobVersion, CopySource, InputSnapshot, JobName, JobSnapshot,
    OutputPrint, OutputSnapshot, PublicationMark, Published, PublishedBlob, Scoring, ScoringId, UnversionedBlob,
    WriteCondition,
};
use stores::fault::Fault;
use time::{Duration, OffsetDateTime};

use crate::behaviour::{Behaviours, End, JobBehaviour, Script};
use crate::executor::{Rng, Time};
use crate::faults::{Dice, Faults};
use crate::inputs::Inputs;
use crate::invariants::Invariants;
use crate::process_ports::ProcessPorts;
use crate::trace::Trace;
use crate::uploaded::Uploaded;
use crate::world::{World, WorldConfig};

/// One process's view of a world in which just that happens which the test says.
pub struct Sandbox {
    time: Time,
    ports: ProcessPorts,
}

impl Sandbox {
    /// A world that begins at `start`; in one that omits outputs no job shows outputs or tags.
    pub fn new(start: OffsetDateTime, rules: &lifecycle::Rules, omit_outputs: bool) -> Self {
        let (time, rng) = (Time::new(start), Rng::new(0));
        let world = World::new(WorldConfig {
            time: time.clone(),
            dice: Dice::draw(Faults::NONE, None, &rng),
            behaviours: Behaviours::of(Some(&Script { omit_outputs, ..Script::default() })),
            invariants: vec![Invariants::new(rules, Duration::ZERO)],
            trace: Trace::new(false),
            kill_after: None,
            latest: Duration::ZERO,
            rng,
        });
        Self { time, ports: ProcessPorts { world, process: 0 } }
    }

    /// What becomes of the next submission that has no fate yet.
    pub fn next_submission(&self, fault: Fault) {
        self.ports.world.state().behaviours.script(fault);
    }

    /// What becomes of the next write to a published path that has no fate yet: `LostRequest`, `LostAnswer` or `Refused`.
    pub fn next_write(&self, fault: Fault) {
        self.ports.world.state().next_writes.push_back(fault);
    }

    /// How the next job ends that has no end yet.
    pub fn next_job(&self, end: End) {
        self.ports.world.state().behaviours.script_end(end);
    }

    /// Makes somebody else's job over the inputs of a scoring.
    pub fn make_strangers(&self, like: &Scoring) -> JobName {
        let now = self.now();
        self.ports.world.state().cloud.make_strangers(like, JobBehaviour::running(), now).name
    }

    /// From now on nobody may look at jobs and outputs.
    pub fn deny_lookups(&self) {
        self.ports.world.state().deny_lookups();
    }

    /// Changes what inputs lie there.
    pub fn change_inputs<T>(&self, change: impl FnOnce(&mut Inputs, OffsetDateTime) -> T) -> T {
        change(&mut self.ports.world.state().cloud.inputs, self.now())
    }

    /// The storage refuses to copy this upload from now on, for this reason.
    pub fn refuse_copies_of(&self, url: &str, kind: RefusalKind) {
        self.ports.world.state().cloud.bad.not_copied.insert(url.to_owned(), kind);
    }

    /// Puts a blob at a URI.
    pub fn place(&self, uri: &str, bytes: u64) {
        self.ports.world.state().cloud.place(uri, bytes, self.now());
    }

    /// Changes what was uploaded, without any event about it.
    pub fn uploaded<T>(&self, change: impl FnOnce(&mut Uploaded) -> T) -> T {
        change(&mut self.ports.world.state().cloud.uploaded)
    }

    /// The world's true time, as the ports of the sandbox go by it.
    pub fn now(&self) -> OffsetDateTime {
        self.time.now()
    }

    /// Moves the time on; what is due by then happens.
    pub fn advance(&self, by: Duration) {
        self.drive(self.time.sleep(by));
    }

    /// Runs a call to its end: whenever it waits, the time goes to what happens next. Between two calls it stands still.
    fn drive<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(done) = call.as_mut().poll(&mut context) {
                return done;
            }
            // Without a timer it only gave others their turn, and there are none.
            self.time.advance();
        }
    }
}

#[async_trait]
impl TableStore for Sandbox {
    async fn create_table(&self, table: &TableName) -> Result<(), Error> {
        self.drive(self.ports.create_table(table))
    }

    async fn get(&self, table: &TableName, key: &Key) -> Result<Option<Row>, Error> {
        self.drive(self.ports.get(table, key))
    }

    async fn page_of(
        &self,
        table: &TableName,
        range: &Range,
        from: Option<&Continuation>,
        max: usize,
    ) -> Result<Page, Error> {
        self.drive(self.ports.page_of(table, range, from, max))
    }

    async fn write(&self, table: &TableName, ops: &[Op]) -> Result<Vec<Option<ETag>>, Error> {
        self.drive(self.ports.write(table, ops))
    }
}

#[async_trait]
impl Endpoint for Sandbox {
    async fn submit(&self, scoring: &Scoring, timeout: std::time::Duration) -> Answered<Answer> {
        self.drive(self.ports.submit(scoring, timeout))
    }

    async fn job(&self, at: &JobAddress) -> Result<Answered<Option<JobSnapshot>>, Inconclusive> {
        self.drive(self.ports.job(at))
    }

    async fn find(&self, scoring: &Scoring) -> Result<JobSearch, Inconclusive> {
        self.drive(self.ports.find(scoring))
    }

    async fn jobs_created_since(
        &self,
        at: &ScanTarget,
        since: OffsetDateTime,
        known: &HashSet<JobName>,
    ) -> Result<JobListing, Inconclusive> {
        self.drive(self.ports.jobs_created_since(at, since, known))
    }

    async fn cancel(&self, at: &JobAddress) -> Result<Answered<()>, Inconclusive> {
        self.drive(self.ports.cancel(at))
    }
}

#[async_trait]
impl Blobs for Sandbox {
    async fn input(&self, blob: &BlobVersion) -> Result<InputSnapshot, Inconclusive> {
        self.drive(self.ports.input(blob))
    }

    async fn output_print(&self, scoring: &Scoring) -> Result<Option<OutputPrint>, Inconclusive> {
        self.drive(self.ports.output_print(scoring))
    }

    async fn blob(&self, blob: &UnversionedBlob) -> Result<Option<BlobSnapshot>, Inconclusive> {
        self.drive(self.ports.blob(blob))
    }

    async fn index_tags(&self, blob: &UnversionedBlob, etag: &str) -> Result<BTreeMap<String, String>, Inconclusive> {
        self.drive(self.ports.index_tags(blob, etag))
    }

    async fn list(&self, place: &BlobPrefix, from: Option<&str>, max: usize) -> Result<BlobPage, Inconclusive> {
        self.drive(self.ports.list(place, from, max))
    }

    async fn outputs(&self, scoring: &Scoring) -> Result<OutputSnapshot, Inconclusive> {
        self.drive(self.ports.outputs(scoring))
    }

    async fn locate(&self, at: &BlobPlace) -> Result<UnversionedBlob, Inconclusive> {
        self.drive(self.ports.locate(at))
    }

    async fn published(&self, at: &BlobPlace) -> Result<Option<PublishedBlob>, Inconclusive> {
        self.drive(self.ports.published(at))
    }

    async fn parts(&self, folder: &BlobPlace, from: Option<&str>) -> Result<PartPage, Inconclusive> {
        self.drive(self.ports.parts(folder, from))
    }

    async fn publish(
        &self,
        source: &CopySource,
        to: &BlobPlace,
        condition: &WriteCondition,
        mark: &PublicationMark,
    ) -> Result<Answered<Published>, Inconclusive> {
        self.drive(self.ports.publish(source, to, condition, mark))
    }

    async fn write_manifest(
        &self,
        to: &BlobPlace,
        body: Vec<u8>,
        condition: &WriteCondition,
        mark: &PublicationMark,
    ) -> Result<Answered<Published>, Inconclusive> {
        self.drive(self.ports.write_manifest(to, body, condition, mark))
    }

    async fn remove(&self, at: &BlobPlace, etag: &str) -> Result<(), Inconclusive> {
        self.drive(self.ports.remove(at, etag))
    }

    async fn named_in_outputs(
        &self,
        scoring: &Scoring,
        ids: &BTreeSet<ScoringId>,
        by: NamedBy,
    ) -> Result<BTreeSet<ScoringId>, Inconclusive> {
        self.drive(self.ports.named_in_outputs(scoring, ids, by))
    }
}
