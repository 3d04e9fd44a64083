//! The world around the app: the table, the batch endpoint and the storage, behind a network that loses things.
//!
//! Each call draws its fate from the dice. A request that was sent arrives, whatever became of its sender. Reads are
//! answered with what was true when they arrived, which may be a while before the caller goes on.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::FutureExt as _;
use lifecycle::{
    Answer, BlobSnapshot, BlobVersion, Candidate, InputSnapshot, JobSnapshot, JobStatus, OutputPrint, OutputSnapshot,
    Resolution, Scoring, ScoringId, UnversionedBlob,
};
use time::{Duration, OffsetDateTime};

use crate::arrivals;
use crate::behaviour::{Behaviours, JobBehaviour};
use crate::cloud::Cloud;
use crate::executor::{Rng, Time};
use crate::faults::{Dice, Kind};
use crate::invariants::Invariants;
use crate::trace::Trace;
use app::ledger::rows;
use app::ports::table_store::{Continuation, ETag, Error, Key, Op, Page, Range, Row, TableName, TableStore};
use app::ports::{
    Answered, BlobPage, Blobs, Endpoint, Inconclusive, JobAddress, JobListing, JobSearch, MAX_PAGE, ScanTarget,
};
use stores::fault::Fault;
use stores::memory::MemoryStore;

/// The task hub of every simulated ledger.
pub(super) const TASK_HUB: &str = "Simulation";
/// A client of the table gives up on a write after this.
const WRITE_TIMEOUT: Duration = Duration::seconds(30);

/// What changes in the world.
pub(super) struct WorldState {
    pub(super) dice: Dice,
    /// How long things take that take a normal time.
    pace: Rng,
    pub(super) behaviours: Behaviours,
    pub(super) cloud: Cloud,
    pub(super) invariants: Invariants,
    pub(super) trace: Trace,
    /// Writes, requests and requests to stop that took place.
    pub(super) effects: u64,
    /// Requests to the endpoint.
    pub(super) posts: u64,
    /// The process that is to die because its effect of this number took place.
    kill_after: Option<u64>,
    pub(super) doomed: Option<usize>,
    /// The process that is to freeze now, and for how long: it has just sent a request to the endpoint.
    pub(super) frozen: Option<(usize, Duration)>,
    /// Requests that were sent and have not arrived.
    pub(super) under_way: usize,
    /// Those of them that may make a job, by scoring and attempt.
    coming: BTreeMap<(ScoringId, u32), usize>,
    /// Until when the table is away.
    dark: Duration,
    /// Until when nobody may look at jobs and outputs.
    blind: Duration,
    /// Whether the service keeps our tags on jobs.
    keeps_tags: bool,
    /// Whether jobs show their outputs never.
    omits_outputs: bool,
    /// A request to the endpoint is late by at most this.
    latest: Duration,
}

impl WorldState {
    fn pause(&mut self) -> Duration {
        if self.dice.strikes(Kind::Slow, 10) {
            let stream = self.dice.stream(Kind::Slow);
            return if stream.chance(200) { stream.seconds(20, 200) } else { stream.seconds(1, 15) };
        }
        // Most things happen at once: what matters is their order.
        if self.pace.chance(700) { Duration::ZERO } else { self.pace.millis(1, 150) }
    }

    /// Whether the table is away, from now on perhaps.
    fn dark(&mut self, at: Duration) -> bool {
        if self.dice.strikes(Kind::TableLost, 1) && self.dice.stream(Kind::TableLost).chance(300) {
            self.dark = at + self.dice.stream(Kind::TableLost).seconds(10, 600);
        }
        at < self.dark
    }

    /// Whether nobody may look, from now on perhaps.
    fn blind(&mut self, at: Duration) -> bool {
        if self.dice.strikes(Kind::LookupFailed, 10) {
            self.blind = at + self.dice.stream(Kind::LookupFailed).seconds(60, 1_200);
        }
        at < self.blind
    }

    /// From now on nobody may look.
    pub(super) fn deny_lookups(&mut self) {
        self.blind = Duration::MAX;
    }

    /// What becomes of a write while the table is there.
    fn drawn_write(&mut self) -> Fault {
        if self.dice.strikes(Kind::TableLost, 60) {
            return match self.dice.stream(Kind::TableLost).below(4) {
                0 => Fault::NotSent,
                1 => Fault::LostRequest,
                _ => Fault::LostAnswer { times: 1 },
            };
        }
        if self.dice.strikes(Kind::TableThrottled, 30) {
            return Fault::Throttled(self.dice.stream(Kind::TableThrottled).chance(500).then(|| Duration::seconds(5)));
        }
        if self.dice.strikes(Kind::TableDuplicated, 50) {
            return Fault::Duplicated { times: 2 };
        }
        if self.dice.strikes(Kind::TableDelayed, 30) {
            return Fault::Delayed(self.dice.stream(Kind::TableDelayed).seconds(31, 100));
        }
        Fault::Pass
    }

    fn effect(&mut self, process: usize) {
        self.effects += 1;
        // What was done and its doer never learns of is where most of the defects are.
        if self.kill_after == Some(self.effects) || self.dice.strikes(Kind::Kills, 8) {
            self.doomed = Some(process);
        }
    }
}

struct Shared {
    time: Time,
    store: MemoryStore,
    state_table: TableName,
    instances: TableName,
    state: Mutex<WorldState>,
}

/// The world. Clones are the same world.
#[derive(Clone)]
pub(super) struct World(Arc<Shared>);

/// What a world is made of.
pub(super) struct WorldConfig {
    pub(super) time: Time,
    pub(super) rng: Rng,
    pub(super) dice: Dice,
    pub(super) behaviours: Behaviours,
    pub(super) invariants: Invariants,
    pub(super) trace: Trace,
    pub(super) kill_after: Option<u64>,
    pub(super) latest: Duration,
}

fn table(name: &str) -> TableName {
    TableName::read(&format!("{TASK_HUB}{name}")).expect("the task hub's name is fixed and good")
}

/// A call to the store in memory: it never waits.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the store in memory never waits")
}

impl World {
    pub(super) fn new(of: WorldConfig) -> Self {
        let WorldConfig { time, rng, mut dice, behaviours, invariants, trace, kill_after, latest } = of;
        let omit_outputs = behaviours.omit_outputs();
        let store = if dice.likes(Kind::Pages) {
            let stream = dice.stream(Kind::Pages);
            MemoryStore::with_pages(1 + stream.index(3), stream.chance(500))
        } else {
            MemoryStore::new()
        };
        let state = WorldState {
            dice,
            pace: rng.fork(1),
            behaviours,
            cloud: Cloud::default(),
            invariants,
            trace,
            effects: 0,
            posts: 0,
            kill_after,
            doomed: None,
            frozen: None,
            under_way: 0,
            coming: BTreeMap::new(),
            dark: Duration::ZERO,
            blind: Duration::ZERO,
            keeps_tags: rng.fork(4).chance(500) && omit_outputs != Some(true),
            omits_outputs: omit_outputs.unwrap_or_else(|| rng.fork(5).chance(500)),
            latest,
        };
        let (state_table, instances) = (table("State"), table("Instances"));
        Self(Arc::new(Shared { time, store, state_table, instances, state: Mutex::new(state) }))
    }

    pub(super) fn time(&self) -> &Time {
        &self.0.time
    }

    pub(super) fn state(&self) -> MutexGuard<'_, WorldState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line to the story, if somebody wants one.
    pub(super) fn trace(&self, process: Option<usize>, scoring: Option<&ScoringId>, text: impl FnOnce() -> String) {
        let at = self.0.time.elapsed();
        self.state().trace.line(at, process, scoring, text);
    }

    fn peek(&self, from: &TableName, key: &Key) -> Option<Row> {
        at_once(self.0.store.get(from, key)).ok().flatten()
    }

    /// All rows of a range of the state table, past all faults.
    fn all(&self, range: &Range) -> Vec<Row> {
        let (mut from, mut rows) = (None, Vec::new());
        while let Ok(page) = at_once(self.0.store.page(&self.0.state_table, range, from.as_ref())) {
            rows.extend(page.rows);
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        rows
    }

    /// What an operator says of a lost submission after a look into the workspace: which job it is, or that there is none;
    /// nothing while one may still come.
    pub(super) fn operator_resolution(&self, scoring: &Scoring) -> Option<Resolution> {
        let state = self.state();
        let jobs = state.cloud.of_attempt(&scoring.id, scoring.attempt);
        if let Some(job) = jobs.into_iter().find(|job| !scoring.orphaned_jobs.contains(&job.name)) {
            return Some(Resolution::JobIs(job.name));
        }
        let coming = state.coming.get(&(scoring.id.clone(), scoring.attempt)).copied().unwrap_or(0);
        (coming == 0).then_some(Resolution::SendAgain)
    }

    /// How many uploads wait for a look at the storage.
    pub(super) fn pending(&self) -> usize {
        let range = Range { partition: "pending".to_owned(), from: String::new(), below: "~".to_owned() };
        self.all(&range).len()
    }

    /// The checks that only make sense once everything is over.
    pub(super) fn check_the_end(&self) {
        let history = |id: &ScoringId| self.all(&Range::of_prefix(rows::partition_of(id), &format!("H~{id}~")));
        let instance = |key: &Key| self.peek(&self.0.instances, key);
        let pending = self.pending();
        let mut state = self.state();
        arrivals::check_temporary_names(&mut state.invariants);
        if pending > 0 {
            state.invariants.broken(
                "rest",
                None,
                format!("{pending} uploads wait for a look, and nothing is in their way"),
            );
        }
        let WorldState { invariants, cloud, .. } = &mut *state;
        invariants.what_is_there(cloud, self.0.time.now());
        invariants.at_the_end(&history, &instance);
    }

    /// Lets `act` happen after `there`, and counts it as under way until then.
    fn send<T: Send + 'static>(
        &self,
        there: Duration,
        back: Duration,
        act: Box<dyn FnOnce(&World) -> T + Send>,
    ) -> impl Future<Output = T> + Send + use<T> {
        let (world, time) = (self.clone(), self.0.time.clone());
        self.state().under_way += 1;
        let answer = Arc::new(Mutex::new(None));
        let place = Arc::clone(&answer);
        self.0.time.after(there, move || {
            world.state().under_way -= 1;
            let done = act(&world);
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        });
        let arrival = time.sleep((there + back).max(Duration::MICROSECOND));
        async move {
            arrival.await;
            loop {
                if let Some(answer) = answer.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    return answer;
                }
                // It was put before the wait and is never later; one turn more than enough.
                time.sleep(Duration::MICROSECOND).await;
            }
        }
    }

    /// A transaction arrives at the table.
    fn apply(&self, process: usize, to: &TableName, ops: &[Op]) -> Result<Vec<Option<ETag>>, Error> {
        let slot = ops.iter().map(Op::key).find(|key| key.partition.starts_with("slots~"));
        let owned = |key: &Key| {
            let row = self.peek(&self.0.state_table, key);
            row.and_then(|row| row.entity.string("Owner").and_then(ScoringId::read))
        };
        let before = slot.and_then(owned);
        let done = at_once(self.0.store.write(to, ops));
        let (at, now) = (self.0.time.elapsed(), self.0.time.now());
        let mut state = self.state();
        if let Err(error) = &done {
            // A slot or an outbox row that somebody else has written is everyday life.
            if let Some(id) = scoring_of(ops) {
                state.trace.line(at, Some(process), Some(&id), || format!("the table says: {error}"));
            }
            return done;
        }
        state.effect(process);
        state.trace.fold(at, process, ops.len() as u64);
        if *to == self.0.state_table {
            let WorldState { invariants, cloud, trace, dice, .. } = &mut *state;
            let entries = invariants.applied(ops, &|key| self.peek(&self.0.state_table, key), cloud, now);
            let id = scoring_of(ops);
            if let Some(url) = id.as_ref().and_then(|id| invariants.just_scored(id, &entries))
                && dice.strikes(Kind::InputsMarked, 400)
            {
                // Whoever takes the predictions marks their input.
                cloud.inputs.mark(&url, now);
            }
            for entry in entries {
                trace.line(at, Some(process), id.as_ref(), || {
                    let from = entry.from.map_or_else(String::new, |from| format!("{from} "));
                    format!("{from}→ {}: {}", entry.to, entry.reason)
                });
            }
            for op in ops.iter().filter(|op| op.key().partition == "control") {
                if let Some(probe) = op.entity().and_then(|row| row.string("Probe")).and_then(ScoringId::read) {
                    invariants.probes(probe);
                }
                if let Some(rule) = op.key().row.strip_prefix("limit~rule~") {
                    let max = op.entity().and_then(|row| row.int32("Limit"));
                    invariants.limited(rule, max, now);
                    trace.line(at, Some(process), None, || format!("an operator sets the limit of {rule} to {max:?}"));
                }
            }
            if let Some(key) = slot {
                let after = owned(key);
                let what = if after.is_some() { "claimed" } else { "freed" };
                let line = || format!("slot {} of {} {what}", key.row, key.partition);
                trace.line(at, Some(process), after.or(before).as_ref(), line);
            }
        } else if *to == self.0.instances {
            state.invariants.projected(ops);
        }
        done
    }

    /// A submission arrives at the endpoint.
    fn arrive(&self, process: usize, scoring: &Scoring, fault: &Fault) -> Answer {
        let (at, now) = (self.0.time.elapsed(), self.0.time.now());
        let mut state = self.state();
        state.effect(process);
        if let Some(coming) = state.coming.get_mut(&(scoring.id.clone(), scoring.attempt)) {
            *coming -= 1;
        }
        let many = match fault {
            Fault::Pass | Fault::Delayed(_) => 1,
            Fault::LostAnswer { times } | Fault::Duplicated { times } => *times,
            _ => 0,
        };
        state.trace.fold(at, process, 1_000 + u64::from(many));
        let mut made = Vec::new();
        if state.dice.strikes(Kind::Strangers, 100) {
            let WorldState { behaviours, dice, cloud, trace, .. } = &mut *state;
            let job = cloud.make_strangers(scoring, behaviours.job(dice, &scoring.blob.path, false), now);
            trace.line(at, None, Some(&scoring.id), || format!("a stranger makes {} over the same input", job.name));
        }
        for n in 0..many {
            let WorldState { behaviours, dice, cloud, keeps_tags, omits_outputs, .. } = &mut *state;
            let behaviour = behaviours.job(dice, &scoring.blob.path, n > 0);
            let behaviour = JobBehaviour { omits_outputs: *omits_outputs, ..behaviour };
            let job = cloud.make(scoring, behaviour, *keeps_tags, now);
            state.trace.line(at, None, Some(&scoring.id), || {
                format!("Azure ML makes {} for request {} of attempt {}", job.name, scoring.submits, scoring.attempt)
            });
            made.push(job);
        }
        // Of two, Azure ML may tell us either.
        if made.len() > 1 && state.pace.chance(500) {
            made.reverse();
        }
        let refused = |code: &str, permanent, retry_after: &Option<Duration>| Answer::Refused {
            code: code.to_owned(),
            text: "refused".to_owned(),
            permanent,
            retry_after: *retry_after,
        };
        match (fault, made.into_iter().next()) {
            (Fault::Refused { permanent }, _) => {
                state.invariants.refused(scoring);
                refused("400", *permanent, &None)
            }
            (Fault::Throttled(retry_after), _) => {
                state.invariants.refused(scoring);
                refused("429", false, retry_after)
            }
            (Fault::Pass | Fault::Duplicated { .. } | Fault::Delayed(_), Some(job)) => {
                Answer::Accepted { job, status: JobStatus::Preparing }
            }
            _ => Answer::Unknown { text: "the connection was reset".to_owned() },
        }
    }

    /// From now on nothing goes wrong any more.
    pub(super) fn heal(&self) {
        let mut state = self.state();
        state.dice.heal();
        (state.dark, state.blind) = (Duration::ZERO, Duration::ZERO);
        drop(state);
        self.trace(None, None, || "from here on nothing goes wrong any more".to_owned());
    }
}

/// A move that may be too large for a row. Not how a scoring ends by that, nor a new one that only waits: small rows fit.
fn can_be_refused(ops: &[Op]) -> bool {
    ops.iter().any(|op| match op {
        Op::Insert(row) => row.key.row.starts_with("J~") && row.string("State") == Some("submitting"),
        Op::Replace(row, _) => row.key.row.starts_with("J~") && row.string("State") != Some("failed"),
        _ => false,
    })
}

/// The scoring that a transaction is about.
fn scoring_of(ops: &[Op]) -> Option<ScoringId> {
    ops.iter().find_map(|op| op.key().row.strip_prefix("J~").and_then(ScoringId::read))
}

/// The world as one process reaches it.
#[derive(Clone)]
pub(super) struct ProcessPorts {
    pub(super) world: World,
    pub(super) process: usize,
}

/// What becomes of a read.
enum Reading {
    Answered(Duration),
    Away(Duration),
    Throttled(Duration),
}

/// What becomes of a write, and how long the ways there and back take.
struct Writing {
    fault: Fault,
    there: Duration,
    back: Duration,
}

impl ProcessPorts {
    async fn sleep(&self, pause: Duration) {
        self.world.0.time.sleep(pause).await;
    }

    fn reading(&self) -> Reading {
        let at = self.world.0.time.elapsed();
        let mut state = self.world.state();
        let pause = state.pause();
        if state.dark(at) || state.dice.strikes(Kind::TableLost, 4) {
            return Reading::Away(pause);
        }
        if state.dice.strikes(Kind::TableThrottled, 3) {
            return Reading::Throttled(pause);
        }
        Reading::Answered(pause)
    }

    fn writing(&self) -> Writing {
        let at = self.world.0.time.elapsed();
        let mut state = self.world.state();
        let (there, back) = (state.pause(), state.pause());
        let fault = if state.dark(at) { Fault::NotSent } else { state.drawn_write() };
        Writing { fault, there, back }
    }

    async fn read<T>(&self, answer: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        match self.reading() {
            Reading::Answered(pause) => {
                let answer = answer();
                self.sleep(pause).await;
                answer
            }
            Reading::Away(pause) => {
                self.sleep(pause).await;
                Err(Error::Unavailable("the connection was refused".to_owned()))
            }
            Reading::Throttled(pause) => {
                self.sleep(pause).await;
                Err(Error::Throttled { retry_after: None })
            }
        }
    }

    fn lost(&self, scoring: Option<&ScoringId>, what: &str) -> Error {
        self.world.trace(Some(self.process), scoring, || format!("a write to the table: {what}"));
        Error::Ambiguous(what.to_owned())
    }

    /// Whether a look at the cloud works, after a while.
    async fn looks(&self) -> Result<(), Inconclusive> {
        let (pause, why) = {
            let at = self.world.0.time.elapsed();
            let mut state = self.world.state();
            let why = if state.blind(at) {
                Some("403: no role yet")
            } else if state.dice.strikes(Kind::LookupFailed, 60) {
                Some(state.dice.stream(Kind::LookupFailed).pick(&["the connection was reset", "503: busy"]))
            } else {
                None
            };
            (state.pause(), why)
        };
        match why {
            None => Ok(()),
            Some(why) => {
                self.sleep(pause).await;
                Err(Inconclusive::not_reachable(why))
            }
        }
    }
}

#[async_trait]
impl TableStore for ProcessPorts {
    async fn create_table(&self, table: &TableName) -> Result<(), Error> {
        self.read(|| at_once(self.world.0.store.create_table(table))).await
    }

    async fn get(&self, table: &TableName, key: &Key) -> Result<Option<Row>, Error> {
        self.read(|| at_once(self.world.0.store.get(table, key))).await
    }

    async fn page_of(
        &self,
        table: &TableName,
        range: &Range,
        from: Option<&Continuation>,
        max: usize,
    ) -> Result<Page, Error> {
        self.read(|| at_once(self.world.0.store.page_of(table, range, from, max))).await
    }

    async fn write(&self, table: &TableName, ops: &[Op]) -> Result<Vec<Option<ETag>>, Error> {
        let (process, id) = (self.process, scoring_of(ops));
        if can_be_refused(ops) && self.world.state().dice.strikes(Kind::TableRefused, 6) {
            self.sleep(Duration::ZERO).await;
            self.world.trace(Some(process), id.as_ref(), || "a write to the table is refused for good".to_owned());
            return Err(Error::Refused("a property is too long".to_owned()));
        }
        let apply = {
            let (table, ops) = (table.clone(), ops.to_vec());
            Box::new(move |world: &World| world.apply(process, &table, &ops))
        };
        let Writing { fault, there, back } = self.writing();
        match fault {
            Fault::NotSent => {
                self.sleep(Duration::ZERO).await;
                self.world.trace(Some(process), id.as_ref(), || "a write to the table could not be sent".to_owned());
                Err(Error::Unavailable("the connection was refused".to_owned()))
            }
            Fault::Throttled(retry_after) => {
                self.sleep(Duration::ZERO).await;
                Err(Error::Throttled { retry_after: retry_after.map(Duration::unsigned_abs) })
            }
            Fault::LostRequest => {
                self.sleep(there + back).await;
                Err(self.lost(id.as_ref(), "the request was lost"))
            }
            Fault::LostAnswer { .. } => match self.world.send(there, back, apply).await {
                Ok(_) => Err(self.lost(id.as_ref(), "it was done, its answer was lost")),
                Err(_) => Err(self.lost(id.as_ref(), "it was refused, its answer was lost")),
            },
            Fault::Duplicated { .. } => {
                let again = {
                    let (table, ops) = (table.clone(), ops.to_vec());
                    Box::new(move |world: &World| world.apply(process, &table, &ops))
                };
                // The first answer is dropped on the way.
                drop(self.world.send(there, Duration::ZERO, apply));
                self.world
                    .trace(Some(process), id.as_ref(), || "the network sends a write to the table twice".to_owned());
                self.world.send(there + Duration::MILLISECOND, back, again).await
            }
            Fault::Delayed(after) => {
                drop(self.world.send(after, Duration::ZERO, apply));
                self.sleep(WRITE_TIMEOUT).await;
                Err(self.lost(id.as_ref(), "no answer; it will arrive later"))
            }
            // The dice deal out neither of the two others to a write; conflicts come by themselves.
            Fault::Pass | Fault::Refused { .. } | Fault::Conflict => self.world.send(there, back, apply).await,
        }
    }
}

#[async_trait]
impl Endpoint for ProcessPorts {
    async fn submit(&self, scoring: &Scoring, timeout: std::time::Duration) -> Answered<Answer> {
        let timeout = Duration::try_from(timeout).unwrap_or(Duration::MINUTE);
        let process = self.process;
        let (fault, there, back) = {
            let (at, now) = (self.world.0.time.elapsed(), self.world.0.time.now());
            let mut state = self.world.state();
            state.posts += 1;
            let WorldState { invariants, cloud, behaviours, dice, trace, latest, .. } = &mut *state;
            invariants.sent(scoring, cloud, now);
            let fault = behaviours.submission(dice, scoring.submits > 1 || scoring.attempt > 1, *latest);
            let freezes = dice.strikes(Kind::Pauses, 40).then(|| dice.stream(Kind::Pauses).seconds(30, 1_800));
            trace.line(at, Some(process), Some(&scoring.id), || {
                format!("sends request {} of attempt {}; its fate: {fault:?}", scoring.submits, scoring.attempt)
            });
            state.frozen = freezes.map(|pause| (process, pause)).or(state.frozen);
            (fault, state.pause(), state.pause())
        };
        let reset = || Answer::Unknown { text: "the connection was reset".to_owned() };
        let (there, lost) = match &fault {
            Fault::LostRequest => {
                self.sleep((there + back).min(timeout)).await;
                return reset().into();
            }
            Fault::Delayed(after) => (*after, false),
            Fault::LostAnswer { .. } => (there, true),
            _ => (there, false),
        };
        let scoring = scoring.clone();
        *self.world.state().coming.entry((scoring.id.clone(), scoring.attempt)).or_default() += 1;
        let answer = self.world.send(there, back, Box::new(move |world| world.arrive(process, &scoring, &fault)));
        if there + back >= timeout {
            drop(answer);
            self.sleep(timeout).await;
            return Answer::Unknown { text: format!("no answer within {timeout}") }.into();
        }
        let answer = answer.await;
        if lost { reset().into() } else { answer.into() }
    }

    async fn job(&self, at: &JobAddress) -> Result<Answered<Option<JobSnapshot>>, Inconclusive> {
        self.looks().await?;
        let (seen, pause) = {
            let now = self.world.0.time.now();
            let mut state = self.world.state();
            let behind = if state.dice.strikes(Kind::LookupStale, 80) {
                state.dice.stream(Kind::LookupStale).seconds(5, 90)
            } else {
                Duration::ZERO
            };
            (state.cloud.look(&at.job.name, now, behind), state.pause())
        };
        self.sleep(pause).await;
        Ok(seen.into())
    }

    async fn find(&self, scoring: &Scoring) -> Result<JobSearch, Inconclusive> {
        self.looks().await?;
        let (found, pause) = {
            let (at, now) = (self.world.0.time.elapsed(), self.world.0.time.now());
            let mut state = self.world.state();
            let (mut found, possible) = state.cloud.find(scoring, now);
            if found.is_empty() && possible.iter().all(|job| job.status.is_final()) {
                state.invariants.found_none(&scoring.id, now);
            }
            if found.len() > 1 && state.pace.chance(500) {
                found.reverse();
            }
            state.trace.line(at, Some(self.process), Some(&scoring.id), || {
                let names =
                    |of: &[Candidate]| of.iter().map(|one| one.job.name.as_str()).collect::<Vec<_>>().join(", ");
                format!("looks for jobs and finds [{}], perhaps [{}]", names(&found), names(&possible))
            });
            ((found, possible), state.pause())
        };
        self.sleep(pause).await;
        let (jobs, possible) = found;
        Ok(JobSearch { jobs, possible, as_of: None, request_id: None })
    }

    async fn jobs_created_since(
        &self,
        at: &ScanTarget,
        since: OffsetDateTime,
        known: &HashSet<lifecycle::JobName>,
    ) -> Result<JobListing, Inconclusive> {
        self.looks().await?;
        let (listing, pause) = {
            let now = self.world.0.time.now();
            let mut state = self.world.state();
            let mut jobs = state.cloud.jobs_created_since(&at.endpoint, since, known, now);
            // A list that is too long for one look.
            let complete = jobs.len() < 2 || !state.dice.strikes(Kind::LookupStale, 100);
            if !complete {
                jobs.truncate(1);
            }
            (JobListing { jobs, complete, elsewhere: Vec::new() }, state.pause())
        };
        self.sleep(pause).await;
        Ok(listing)
    }

    async fn cancel(&self, at: &JobAddress) -> Result<Answered<()>, Inconclusive> {
        let (lost, there, back) = {
            let mut state = self.world.state();
            let lost = state.dice.strikes(Kind::LookupFailed, 100) || state.dice.strikes(Kind::SubmitDoubled, 600);
            // Lost before it arrives, or its answer is.
            (lost.then(|| state.dice.stream(Kind::LookupFailed).chance(500)), state.pause(), state.pause())
        };
        let inconclusive = || Err(Inconclusive::not_reachable("the connection was reset"));
        if lost == Some(true) {
            self.sleep(there + back).await;
            return inconclusive();
        }
        let (process, name) = (self.process, at.job.name.clone());
        let stop = move |world: &World| {
            let (at, now) = (world.0.time.elapsed(), world.0.time.now());
            let mut state = world.state();
            state.effect(process);
            state.trace.fold(at, process, 2_000);
            let WorldState { invariants, cloud, trace, .. } = &mut *state;
            invariants.stop_requested(&name, cloud);
            let id = cloud.owner(&name).map(|(id, _)| id);
            trace.line(at, Some(process), id.as_ref(), || format!("tells {name} to stop"));
            cloud.cancel(&name, now);
        };
        self.world.send(there, back, Box::new(stop)).await;
        if lost.is_some() { inconclusive() } else { Ok(().into()) }
    }
}

#[async_trait]
impl Blobs for ProcessPorts {
    async fn input(&self, blob: &BlobVersion) -> Result<InputSnapshot, Inconclusive> {
        self.looks().await?;
        let (seen, pause) = {
            let now = self.world.0.time.now();
            let mut state = self.world.state();
            (state.cloud.inputs.look(blob, now), state.pause())
        };
        self.sleep(pause).await;
        Ok(seen)
    }

    async fn blob(&self, blob: &UnversionedBlob) -> Result<Option<BlobSnapshot>, Inconclusive> {
        self.looks().await?;
        let (seen, pause) = {
            let mut state = self.world.state();
            (state.cloud.uploaded.get(blob), state.pause())
        };
        self.sleep(pause).await;
        Ok(seen)
    }

    async fn blobs_below(&self, folder: &UnversionedBlob, from: Option<&str>) -> Result<BlobPage, Inconclusive> {
        self.looks().await?;
        let (page, pause) = {
            let mut state = self.world.state();
            let max = if state.dice.likes(Kind::Renames) {
                arrivals::page_size(state.dice.stream(Kind::Renames))
            } else {
                MAX_PAGE
            };
            (state.cloud.uploaded.page(folder, from, max), state.pause())
        };
        self.sleep(pause).await;
        Ok(page)
    }

    async fn outputs(&self, scoring: &Scoring) -> Result<OutputSnapshot, Inconclusive> {
        self.looks().await?;
        let Some(uri) = scoring.output_uri() else { return Err(Inconclusive::not_asked("the attempt has no output")) };
        let (seen, pause) = {
            let now = self.world.0.time.now();
            let mut state = self.world.state();
            state.cloud.looked_at(uri);
            let seen = state.cloud.outputs(scoring, now);
            (seen, state.pause())
        };
        self.sleep(pause).await;
        seen.ok_or_else(|| Inconclusive::not_asked("the attempt has no output"))
    }

    async fn output_print(&self, scoring: &Scoring) -> Result<Option<OutputPrint>, Inconclusive> {
        self.looks().await?;
        let (print, pause) = {
            let now = self.world.0.time.now();
            let mut state = self.world.state();
            let print = state.cloud.output_print(scoring, now);
            state.invariants.looked_at_path(scoring, print.is_some(), now);
            (print, state.pause())
        };
        self.sleep(pause).await;
        Ok(print)
    }
}

/// The process's clock: the true time and how far it is off.
pub(super) fn skewed(time: &Time, off: &Arc<std::sync::atomic::AtomicI64>) -> app::ports::Clock {
    let (time, off) = (time.clone(), Arc::clone(off));
    Arc::new(move || -> OffsetDateTime {
        time.now() + Duration::milliseconds(off.load(std::sync::atomic::Ordering::Relaxed))
    })
}
