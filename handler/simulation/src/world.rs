//! The world around the app: what the table, the batch endpoint and the storage hold, and what happens when something arrives there.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use lifecycle::sweep::Sweep;
use lifecycle::{Answer, JobStatus, Resolution, Scoring, ScoringId};
use time::{Duration, OffsetDateTime};

use crate::arrivals;
use crate::behaviour::{Behaviours, JobBehaviour};
use crate::cloud::Cloud;
use crate::executor::{Rng, Time};
use crate::faults::{Dice, Kind};
use crate::invariants::{Invariants, Violation};
use crate::trace::Trace;
use app::ledger::rows;
use app::ports::table_store::{ETag, Error, Key, Op, Range, Row, TableName, TableStore as _};
use stores::fault::Fault;
use stores::memory::MemoryStore;

/// The task hub of each installation: of one, or of two with the same rules on one endpoint.
pub(super) const TASK_HUBS: [&str; 2] = ["Simulation", "Neighbour"];

/// What changes in the world.
pub(super) struct WorldState {
    pub(super) dice: Dice,
    /// How long things take that take a normal time.
    pub(super) pace: Rng,
    pub(super) behaviours: Behaviours,
    pub(super) cloud: Cloud,
    /// What must hold, of each installation.
    pub(super) invariants: Vec<Invariants>,
    pub(super) trace: Trace,
    /// Lists of blobs have pages of a few, also when nothing goes wrong any more.
    pub(super) small_lists: bool,
    /// Writes, requests and requests to stop that took place.
    pub(super) effects: u64,
    /// Requests for jobs that were sent to the endpoint.
    pub(super) posts: u64,
    /// The process that is to die because its effect of this number took place.
    kill_after: Option<u64>,
    pub(super) doomed: Option<usize>,
    /// The process that is to freeze now, and for how long: it has just sent a request to the endpoint.
    pub(super) frozen: Option<(usize, Duration)>,
    /// Requests that were sent and have not arrived.
    pub(super) under_way: usize,
    /// Those of them that may make a job, by scoring and attempt.
    pub(super) coming: BTreeMap<(ScoringId, u32), usize>,
    /// Until when the table is away.
    dark: Duration,
    /// Until when nobody may look at jobs and outputs.
    blind: Duration,
    /// Whether the service keeps our tags on jobs.
    keeps_tags: bool,
    /// Whether jobs show their outputs never.
    omits_outputs: bool,
    /// A request to the endpoint is late by at most this.
    pub(super) latest: Duration,
    /// What becomes of the next writes to published paths, if a test orders it.
    pub(super) next_writes: VecDeque<Fault>,
}

impl WorldState {
    /// The first promise that was broken in any installation.
    pub(super) fn violation(&self) -> Option<&Violation> {
        self.invariants.iter().find_map(|invariants| invariants.violation.as_ref())
    }

    /// Notes a broken promise that is no single installation's.
    pub(super) fn broken(&mut self, invariant: &'static str, scoring: Option<&ScoringId>, what: impl Into<String>) {
        self.invariants[0].broken(invariant, scoring, what);
    }

    pub(super) fn pause(&mut self) -> Duration {
        if self.dice.strikes(Kind::Slow, 10) {
            let stream = self.dice.stream(Kind::Slow);
            return if stream.chance(200) { stream.seconds(20, 200) } else { stream.seconds(1, 15) };
        }
        // Most things happen at once: what matters is their order.
        if self.pace.chance(700) { Duration::ZERO } else { self.pace.millis(1, 150) }
    }

    /// Whether the table is away, from now on perhaps.
    pub(super) fn dark(&mut self, at: Duration) -> bool {
        if self.dice.strikes(Kind::TableLost, 1) && self.dice.stream(Kind::TableLost).chance(300) {
            self.dark = at + self.dice.stream(Kind::TableLost).seconds(10, 600);
        }
        at < self.dark
    }

    /// Whether nobody may look, from now on perhaps.
    pub(super) fn blind(&mut self, at: Duration) -> bool {
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
    pub(super) fn drawn_write(&mut self) -> Fault {
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

    pub(super) fn effect(&mut self, process: usize) {
        self.effects += 1;
        // What was done and its doer never learns of is where most of the defects are.
        if self.kill_after == Some(self.effects) || self.dice.strikes(Kind::Kills, 8) {
            self.doomed = Some(process);
        }
    }
}

pub(super) struct Shared {
    pub(super) time: Time,
    pub(super) store: MemoryStore,
    /// Names of the tables of each installation.
    tables: Vec<Tables>,
    state: Mutex<WorldState>,
}

/// The tables of one installation.
struct Tables {
    state: TableName,
    instances: TableName,
    history: TableName,
}

impl Tables {
    fn of_task_hub(hub: &str) -> Self {
        let table = |name| TableName::read(&format!("{hub}{name}")).expect("the task hubs' names are fixed and good");
        Self { state: table("State"), instances: table("Instances"), history: table("History") }
    }
}

/// The world. Clones are the same world.
#[derive(Clone)]
pub(super) struct World(pub(super) Arc<Shared>);

/// What a world is made of.
pub(super) struct WorldConfig {
    pub(super) time: Time,
    pub(super) rng: Rng,
    pub(super) dice: Dice,
    pub(super) behaviours: Behaviours,
    /// Of each installation: there are as many.
    pub(super) invariants: Vec<Invariants>,
    pub(super) trace: Trace,
    pub(super) kill_after: Option<u64>,
    pub(super) latest: Duration,
}

/// A call to the store in memory: it never waits.
pub(super) fn at_once<T>(future: impl Future<Output = T>) -> T {
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
        let tables = TASK_HUBS.iter().take(invariants.len()).map(|hub| Tables::of_task_hub(hub)).collect();
        let small_lists = dice.likes(Kind::Renames);
        let state = WorldState {
            small_lists,
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
            next_writes: VecDeque::new(),
        };
        Self(Arc::new(Shared { time, store, tables, state: Mutex::new(state) }))
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

    /// How many installations there are.
    pub(super) fn installations(&self) -> usize {
        self.0.tables.len()
    }

    /// The installation that a process is of.
    pub(super) fn installation(&self, process: usize) -> usize {
        process % self.installations()
    }

    /// All rows of a range of an installation's state table, past all faults.
    fn all(&self, table: &TableName, range: &Range) -> Vec<Row> {
        let (mut from, mut rows) = (None, Vec::new());
        while let Ok(page) = at_once(self.0.store.page(table, range, from.as_ref())) {
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

    /// How many uploads wait in an installation for a look at the storage.
    pub(super) fn pending(&self, installation: usize) -> usize {
        let range = Range { partition: "pending".to_owned(), from: String::new(), below: "~".to_owned() };
        self.all(&self.0.tables[installation].state, &range).len()
    }

    /// Since when the places of an installation are swept.
    pub(super) fn swept_since(&self, installation: usize) -> Option<OffsetDateTime> {
        let range = Range { partition: "sweep".to_owned(), from: String::new(), below: "~".to_owned() };
        self.all(&self.0.tables[installation].state, &range).iter().filter_map(|row| row.entity.time("SinceTime")).max()
    }

    /// When the sweep began that last came to its end, of the place of an installation where that is longest ago; `None` where one was
    /// never swept.
    pub(super) fn last_sweep_began(&self, installation: usize) -> Option<OffsetDateTime> {
        let range = Range { partition: "sweep".to_owned(), from: String::new(), below: "~".to_owned() };
        let rows = self.all(&self.0.tables[installation].state, &range);
        let last = |row: &Row| serde_json::from_str::<Sweep>(row.entity.string("Last")?).ok();
        let began: Option<Vec<_>> = rows.iter().map(|row| last(row).map(|sweep| sweep.began)).collect();
        began?.into_iter().min()
    }

    /// The checks of an installation that only make sense once everything is over.
    pub(super) fn check_the_end(&self, installation: usize) {
        let history = |id: &ScoringId| {
            self.all(&self.0.tables[installation].state, &Range::of_prefix(rows::partition_of(id), &format!("H~{id}~")))
        };
        let instance = |id: &ScoringId| {
            let tables = &self.0.tables[installation];
            let instance = self.peek(&tables.instances, &Key::new(id.as_str(), ""))?.entity;
            let range = Range { partition: id.to_string(), from: String::new(), below: "~".to_owned() };
            let history = self.all(&tables.history, &range).into_iter().map(|row| row.entity);
            Some((instance, history.collect()))
        };
        let pending = self.pending(installation);
        let mut state = self.state();
        let WorldState { invariants, cloud, .. } = &mut *state;
        let invariants = &mut invariants[installation];
        arrivals::check_temporary_names(invariants);
        if pending > 0 {
            invariants.broken("rest", None, format!("{pending} uploads wait for a look, and nothing is in their way"));
        }
        invariants.what_is_there(cloud, self.0.time.now());
        invariants.published_at_the_end(cloud);
        invariants.groups_at_the_end(cloud);
        invariants.at_the_end(&history, &instance);
    }

    /// Lets `act` happen after `there`, and counts it as under way until then.
    pub(super) fn send<T: Send + 'static>(
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
    pub(super) fn apply(&self, process: usize, to: &TableName, ops: &[Op]) -> Result<Vec<Option<ETag>>, Error> {
        let installation = self.installation(process);
        let tables = &self.0.tables[installation];
        let slot = ops.iter().map(Op::key).find(|key| key.partition.starts_with("slots~"));
        let owned = |key: &Key| {
            let row = self.peek(&tables.state, key);
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
        if *to == tables.state {
            let WorldState { invariants, cloud, trace, dice, .. } = &mut *state;
            let id = scoring_of(ops);
            if id
                .as_ref()
                .is_some_and(|id| invariants.iter().enumerate().any(|(n, of)| n != installation && of.has(id)))
            {
                let what = "two installations have a scoring of one id, so that its tag, request id and output path are both's";
                invariants[installation].broken("installations", id.as_ref(), what);
            }
            let invariants = &mut invariants[installation];
            invariants.breaker_told(ops);
            invariants.quarantined(ops, &|key| self.peek(&tables.state, key));
            let entries = invariants.applied(ops, &|key| self.peek(&tables.state, key), cloud, now);
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
                    invariants.limit_told(rule, ops);
                    trace.line(at, Some(process), None, || format!("an operator sets the limit of {rule} to {max:?}"));
                }
            }
            if let Some(key) = slot {
                let after = owned(key);
                let what = if after.is_some() { "claimed" } else { "freed" };
                let line = || format!("slot {} of {} {what}", key.row, key.partition);
                trace.line(at, Some(process), after.or(before).as_ref(), line);
            }
        } else if *to == tables.instances {
            state.invariants[installation].projected(ops);
        }
        done
    }

    /// A submission arrives at the endpoint.
    pub(super) fn arrive(&self, process: usize, scoring: &Scoring, fault: &Fault) -> Answer {
        let (at, now) = (self.0.time.elapsed(), self.0.time.now());
        let installation = self.installation(process);
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
            let job = cloud.make_strangers(scoring, behaviours.job(dice, scoring, at, false), now);
            trace.line(at, None, Some(&scoring.id), || format!("a stranger makes {} over the same input", job.name));
        }
        for n in 0..many {
            let WorldState { behaviours, dice, cloud, keeps_tags, omits_outputs, .. } = &mut *state;
            let behaviour = behaviours.job(dice, scoring, at, n > 0);
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
                state.invariants[installation].refused(scoring);
                refused("400", *permanent, &None)
            }
            (Fault::Throttled(retry_after), _) => {
                state.invariants[installation].refused(scoring);
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

/// The scoring that a transaction is about.
pub(super) fn scoring_of(ops: &[Op]) -> Option<ScoringId> {
    ops.iter().find_map(|op| op.key().row.strip_prefix("J~").and_then(ScoringId::read))
}

/// The process's clock: the true time and how far it is off.
pub(super) fn skewed(time: &Time, off: &Arc<std::sync::atomic::AtomicI64>) -> app::ports::Clock {
    let (time, off) = (time.clone(), Arc::clone(off));
    Arc::new(move || -> OffsetDateTime {
        time.now() + Duration::milliseconds(off.load(std::sync::atomic::Ordering::Relaxed))
    })
}
