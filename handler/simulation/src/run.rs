//! One run: the real app in some processes, the world around it, and what happens to both.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lifecycle::{LedgerId, Order, Resolution, Rules, Scoring, ScoringId, Status, StorageHosts, UnversionedBlob, Verb};
use serde_json::Value;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use crate::arrivals::SIZE;
use crate::behaviour::{Behaviours, Script};
use crate::executor::{Executor, Rng, Time};
use crate::faults::{Dice, Faults, Kind};
use crate::inputs::InputChange;
use crate::invariants::{Invariants, ScoredVersion, Violation};
use crate::names;
use crate::output_events::OutputEvents;
use crate::plan::{ChangeAt, LimitChange, Plan};
use crate::trace::Trace;
use crate::world::{ProcessPorts, TASK_HUB, World, WorldConfig, WorldState, skewed};
use app::ledger::{Ledger, LedgerOptions, LimitScope, LiveLimit};
use app::ports::table_store::TableStore;
use app::ports::{Blobs, Clock, Endpoint};
use app::{App, Parts, resolve};

const START: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);
/// A tick has this long; the Functions host's limit is ten minutes.
const TICK: Duration = Duration::minutes(5);
/// After the end of all faults everything must be settled within this: three jobs of an hour, and back-offs.
const TO_SETTLE: Duration = Duration::hours(8);
/// Ticks come no more often than this once nothing goes wrong any more: what is left is waiting.
const CALM: Duration = Duration::minutes(2);
/// Somebody looks after what is held so often.
const PERSON: Duration = Duration::minutes(7);
/// Ticks after everything is settled, in which nothing may change any more.
const TICKS_AFTER: u32 = 3;

/// What a run is to be like.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Decides everything that the other members leave open.
    pub seed: u64,
    /// Blob versions that are uploaded.
    pub events: usize,
    /// What may go wrong.
    pub faults: Faults,
    /// Maximum number of processes at one time.
    pub processes: usize,
    /// Most faults in all; `None`: no limit.
    pub max_faults: Option<u64>,
}

impl RunOptions {
    /// A run of this seed as CI has it.
    pub fn new(seed: u64) -> Self {
        Self { seed, events: 6, faults: Faults::all(), processes: 4, max_faults: None }
    }

    /// The command that repeats it.
    pub fn command(&self) -> String {
        let Self { seed, events, faults, processes, max_faults } = self;
        let max_faults = max_faults.map_or_else(String::new, |max| format!(" --max-faults {max}"));
        format!(
            "scorekeeper simulate --seed {seed} --events {events} --faults {faults} --processes {processes}{max_faults}"
        )
    }
}

/// What stands between the app and the world. Tests put something of their own there, to take a guard away.
#[derive(Clone)]
pub struct Wiring {
    /// Around the table.
    pub store: fn(Arc<dyn TableStore>) -> Arc<dyn TableStore>,
    /// Around the batch endpoint.
    pub endpoint: fn(Arc<dyn Endpoint>) -> Arc<dyn Endpoint>,
    /// Around the storage of outputs.
    pub blobs: fn(Arc<dyn Blobs>) -> Arc<dyn Blobs>,
    /// Around the clock.
    pub clock: fn(Clock) -> Clock,
    /// The app gets these instead of the rules as they are meant.
    pub rules: fn(&Rules) -> Rules,
    /// The app gets these deliveries instead of those that Event Grid makes.
    pub deliveries: fn(Value) -> Value,
}

impl Default for Wiring {
    fn default() -> Self {
        Self {
            store: |it| it,
            endpoint: |it| it,
            blobs: |it| it,
            clock: |it| it,
            rules: Rules::clone,
            deliveries: |it| it,
        }
    }
}

/// What a run was like.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The first promise that was broken, if one was.
    pub violation: Option<Violation>,
    /// Writes to tables, requests and requests to stop that took place.
    pub effects: u64,
    /// Requests to the endpoint.
    pub posts: u64,
    /// Jobs that the endpoint made.
    pub jobs: usize,
    /// Scorings in the ledger.
    pub scorings: usize,
    /// Faults that were injected.
    pub injected_faults: u64,
    /// How often each row of [`lifecycle::TRANSITIONS`] was taken.
    pub taken: Vec<u64>,
    /// What became of each scoring: its status, attempt and job, by its name.
    pub ends: BTreeMap<String, String>,
    /// When each scoring that is scored was, since the beginning, by its name.
    pub scored: BTreeMap<String, Duration>,
    /// The same for the same run; two runs that differ have another with near certainty.
    pub fingerprint: u64,
    /// What happened, line by line, if it was to be told; of the violated scoring if there is one.
    pub trace: Vec<String>,
}

/// What is to happen at some time, beside the tasks.
#[derive(Clone, Copy)]
enum Control {
    Deliver(usize),
    Tick,
    /// The timer's own: ticks and comes again.
    Timer,
    Begin(usize),
    /// Somebody looks after what is held.
    Person,
    /// Somebody changes a limit.
    Limit(usize),
    /// Something happens to an input.
    Input(usize),
    Resume(usize),
    Heal,
}

struct Process {
    app: Option<App>,
    clock_off: Arc<AtomicI64>,
}

struct Run {
    plan: Plan,
    wiring: Wiring,
    world: World,
    executor: Executor,
    order: Rng,
    control: Arc<Mutex<VecDeque<Control>>>,
    processes: Vec<Process>,
    writers: usize,
    /// What processes would call the ledger.
    ids: Rng,
    /// Deliveries that were answered with success.
    taken: Arc<Mutex<Vec<bool>>>,
    tries: Vec<u32>,
    output_events: OutputEvents,
    healed: bool,
    ticks_since: u32,
    settled: Option<(u32, u64)>,
    expected: BTreeMap<ScoredVersion, String>,
    kills_left: u32,
    pauses_left: u32,
    over: bool,
}

/// Runs one seed. `told`: with its story.
pub fn run(options: &RunOptions, wiring: &Wiring, traced: bool) -> Outcome {
    let rng = Rng::new(options.seed);
    let mut dice = Dice::draw(options.faults, options.max_faults, &rng);
    let plan = Plan::draw(&rng, &mut dice, options.events, options.processes);
    Run::new(plan, &rng, dice, Behaviours::of(None), None, wiring, traced).finish()
}

/// Runs a hundred uploads of which ten make the user's code fail, if `with_bad`; else all of them are good. Nothing else goes
/// wrong.
pub fn run_poisoned(seed: u64, with_bad: bool, wiring: &Wiring) -> Outcome {
    let rng = Rng::new(seed);
    let dice = Dice::draw(Faults::NONE, None, &rng);
    let (plan, mut bad) = Plan::poisoned(&rng);
    if !with_bad {
        bad.clear();
    }
    Run::new(plan, &rng, dice, Behaviours::Poisoned { bad }, None, wiring, false).finish()
}

/// Runs a script of one process that is killed right after its effect number `kill_after`.
pub(super) fn run_script(
    plan: Plan,
    script: &Script,
    kill_after: Option<u64>,
    wiring: &Wiring,
    traced: bool,
) -> Outcome {
    let rng = Rng::new(0);
    let dice = Dice::draw(Faults::NONE, None, &rng);
    Run::new(plan, &rng, dice, Behaviours::of(Some(script)), kill_after, wiring, traced).finish()
}

impl Run {
    fn new(
        plan: Plan,
        rng: &Rng,
        dice: Dice,
        behaviours: Behaviours,
        kill_after: Option<u64>,
        wiring: &Wiring,
        traced: bool,
    ) -> Self {
        let world = World::new(WorldConfig {
            time: Time::new(START),
            rng: rng.fork(2),
            dice,
            behaviours,
            invariants: Invariants::new(&plan.rules, plan.spread),
            trace: Trace::new(traced),
            kill_after,
            latest: plan.latest(),
        });
        for upload in &plan.uploads {
            upload.put(&mut world.state().cloud.uploaded);
        }
        let processes =
            plan.skews.iter().map(|off| Process { app: None, clock_off: Arc::new(AtomicI64::new(*off)) }).collect();
        let expected = plan.expected();
        let mut order = rng.fork(3);
        let mut run = Self {
            kills_left: u32::try_from(order.below(6)).unwrap_or(0),
            pauses_left: u32::try_from(order.below(4)).unwrap_or(0),
            wiring: wiring.clone(),
            world,
            executor: Executor::new(),
            order,
            control: Arc::default(),
            processes,
            writers: 0,
            ids: rng.fork(5),
            taken: Arc::new(Mutex::new(vec![false; plan.deliveries.len()])),
            tries: vec![0; plan.deliveries.len()],
            output_events: OutputEvents::default(),
            healed: false,
            ticks_since: 0,
            settled: None,
            expected,
            over: false,
            plan,
        };
        for process in 0..run.processes.len() {
            run.begin(process);
        }
        for n in 0..run.plan.deliveries.len() {
            run.later(run.plan.deliveries[n].at, Control::Deliver(n));
        }
        run.later(run.plan.period, Control::Timer);
        run.later(run.plan.fault_period, Control::Heal);
        run.later(PERSON, Control::Person);
        for n in 0..run.plan.input_changes.len() {
            // What is there from the beginning is there before the first event.
            if run.plan.input_changes[n].at.is_zero() {
                run.change_input(n);
            } else {
                run.later(run.plan.input_changes[n].at, Control::Input(n));
            }
        }
        for n in 0..run.plan.limit_changes.len() {
            run.later(run.plan.limit_changes[n].at, Control::Limit(n));
        }
        run
    }

    fn later(&self, pause: Duration, what: Control) {
        let control = Arc::clone(&self.control);
        let put = move || control.lock().unwrap_or_else(PoisonError::into_inner).push_back(what);
        self.world.time().after(pause, put);
    }

    fn finish(mut self) -> Outcome {
        while !self.over && self.world.state().invariants.violation.is_none() {
            if let Some(process) = self.executor.poll_one(&mut self.order) {
                self.strike(process);
            } else if !self.world.time().advance() {
                break;
            }
            loop {
                let next = self.control.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some(next) = next else { break };
                self.happens(next);
            }
            let doomed = self.world.state().doomed.take();
            if let Some(process) = doomed {
                self.kill(process, Duration::SECOND);
            }
            let frozen = self.world.state().frozen.take();
            if let Some((process, away)) = frozen {
                self.freeze(process, away);
            }
        }
        self.outcome()
    }

    fn outcome(self) -> Outcome {
        let state = self.world.state();
        let WorldState { invariants, trace, cloud, .. } = &*state;
        let names =
            self.expected.iter().filter_map(|(of, name)| Some((invariants.scoring_of(of)?.clone(), name.clone())));
        let names: BTreeMap<ScoringId, String> = names.collect();
        let name = |id: &ScoringId| names.get(id).cloned().unwrap_or_else(|| id.to_string());
        let end = |s: &lifecycle::Scoring| {
            let job = s.job.as_ref().map_or("none", |job| job.name.as_str());
            format!("{} at attempt {} with {job}", s.status, s.attempt)
        };
        let about = invariants.violation.as_ref().and_then(|violation| violation.scoring.as_ref());
        Outcome {
            violation: invariants.violation.clone(),
            effects: state.effects,
            posts: state.posts,
            jobs: cloud.made(),
            scorings: invariants.scorings().count(),
            injected_faults: state.dice.dealt,
            taken: invariants.taken.clone(),
            scored: invariants
                .scorings()
                .filter(|s| s.status == Status::Scored)
                .map(|s| (name(&s.id), s.completed.unwrap_or(s.updated) - START))
                .collect(),
            ends: invariants.scorings().map(|s| (name(&s.id), end(s))).collect(),
            fingerprint: trace.fingerprint,
            trace: trace.lines(about, &names),
        }
    }

    /// After each turn of a process: it may die here, or freeze.
    fn strike(&mut self, process: usize) {
        if self.healed {
            return;
        }
        let mut state = self.world.state();
        if self.kills_left > 0 && state.dice.strikes(Kind::Kills, 4) {
            self.kills_left -= 1;
            let away = state.dice.stream(Kind::Kills).seconds(0, 120);
            drop(state);
            self.kill(process, away);
        } else if self.pauses_left > 0 && state.dice.strikes(Kind::Pauses, 3) {
            self.pauses_left -= 1;
            let away = state.dice.stream(Kind::Pauses).seconds(5, 1_200);
            drop(state);
            self.freeze(process, away);
        }
    }

    fn freeze(&mut self, process: usize, away: Duration) {
        self.world.trace(Some(process), None, || format!("freezes for {away}"));
        self.executor.pause(process);
        self.later(away, Control::Resume(process));
    }

    fn kill(&mut self, process: usize, away: Duration) {
        self.world.trace(Some(process), None, || format!("dies; another begins in its place after {away}"));
        self.executor.kill(process);
        self.processes[process].app = None;
        self.later(away, Control::Begin(process));
    }

    fn begin(&mut self, process: usize) {
        self.writers += 1;
        let clock_off = Arc::clone(&self.processes[process].clock_off);
        let ports = Arc::new(ProcessPorts { world: self.world.clone(), process });
        let store = (self.wiring.store)(Arc::clone(&ports) as Arc<dyn TableStore>);
        let options = LedgerOptions {
            task_hub: TASK_HUB.to_owned(),
            writer: format!("w{}", self.writers),
            // Each process would call the ledger something else: the first one's word must hold for all.
            new_id: LedgerId::of_random(self.ids.bytes()),
            projection: true,
        };
        let ledger = Ledger::new(store, &options).expect("the task hub's name is fixed and good");
        let app = App::new(Parts {
            ledger,
            endpoint: (self.wiring.endpoint)(Arc::clone(&ports) as Arc<dyn Endpoint>),
            blobs: (self.wiring.blobs)(ports as Arc<dyn Blobs>),
            rules: (self.wiring.rules)(&self.plan.rules),
            storage_hosts: StorageHosts::of_cloud("core.windows.net"),
            clock: (self.wiring.clock)(skewed(self.world.time(), &clock_off)),
            orphan_scan_interval: Some(self.plan.orphan_scan_interval),
            retention: Duration::days(400),
        });
        self.processes[process].app = Some(app);
    }

    /// A process that is there, by the seed.
    fn somebody(&mut self) -> Option<(usize, App)> {
        let first = self.order.index(self.processes.len());
        let mut all = (0..self.processes.len()).map(|n| (first + n) % self.processes.len());
        all.find_map(|n| Some((n, self.processes[n].app.clone()?)))
    }

    fn happens(&mut self, what: Control) {
        match what {
            Control::Deliver(n) => self.deliver(n),
            Control::Tick => self.tick(),
            Control::Timer => self.timer(),
            Control::Begin(process) => {
                let off = self.plan.skew_again(&mut self.world.state().dice);
                self.processes[process].clock_off.store(off, Ordering::Relaxed);
                self.begin(process);
            }
            Control::Resume(process) => {
                self.world.trace(Some(process), None, || "goes on".to_owned());
                self.executor.resume(process);
            }
            Control::Person => self.person(),
            Control::Limit(n) => self.limit(n),
            Control::Input(n) => self.change_input(n),
            Control::Heal => self.heal(),
        }
    }

    /// Event Grid delivers, and again until it is told that it was taken.
    fn deliver(&mut self, n: usize) {
        if self.taken.lock().unwrap_or_else(PoisonError::into_inner)[n] {
            return;
        }
        let tries = self.tries[n];
        self.tries[n] += 1;
        if let Some((process, app)) = self.somebody() {
            let payload = (self.wiring.deliveries)(self.plan.deliveries[n].payload.clone());
            self.executor.spawn(process, delivery(app, payload, Arc::clone(&self.taken), n));
        }
        // 10 s, 30 s, 1 min, 5 min: the beginning of Event Grid's schedule.
        let pause = [10, 30, 60, 300][usize::try_from(tries).unwrap_or(3).min(3)];
        let pause = Duration::seconds(pause) + self.order.millis(0, 3_000);
        self.later(pause, Control::Deliver(n));
    }

    fn timer(&mut self) {
        let mut pause = if self.healed { self.plan.period.max(CALM) } else { self.plan.period };
        let mut at_once = 1;
        if !self.healed {
            let mut state = self.world.state();
            if state.dice.strikes(Kind::Timer, 30) {
                pause = Duration::HOUR;
            }
            if state.dice.strikes(Kind::Timer, 150) {
                at_once = 2;
            }
        }
        for _ in 0..at_once {
            self.later(Duration::ZERO, Control::Tick);
        }
        self.later(pause, Control::Timer);
        if self.healed {
            self.watch();
        }
    }

    fn tick(&mut self) {
        self.tell_of_outputs();
        if let Some((process, app)) = self.somebody() {
            self.executor.spawn(process, async move {
                // What a tick could not do, the next one does.
                let _ = app.tick(app.now() + TICK).await;
            });
        }
    }

    /// Event Grid tells of outputs. Nobody waits for what becomes of that: nothing may.
    fn tell_of_outputs(&mut self) {
        let events = {
            let (now, mut state) = (self.world.time().now(), self.world.state());
            let WorldState { cloud, dice, .. } = &mut *state;
            self.output_events.draw(cloud, dice, now)
        };
        for event in events {
            let Some((process, app)) = self.somebody() else { continue };
            self.world.trace(Some(process), None, || format!("is told of an output: {}", event["subject"]));
            self.executor.spawn(process, async move {
                if let Ok(delivery) = app.accept(&event).await {
                    delivery.submit().await;
                }
            });
        }
    }

    fn change_input(&mut self, n: usize) {
        let ChangeAt { url, change, .. } = &self.plan.input_changes[n];
        let now = self.world.time().now();
        self.world.trace(None, None, || format!("{url}: {change:?}"));
        let mut state = self.world.state();
        state.cloud.inputs.change(url, change, now);
        if let (InputChange::RollBack { etag, .. }, Ok(blob)) = (change, UnversionedBlob::read(url)) {
            state.cloud.uploaded.put_version(&blob, etag, SIZE);
        }
    }

    /// An operator says what a limit is, until it is taken.
    fn limit(&mut self, n: usize) {
        let LimitChange { rule, limit, .. } = self.plan.limit_changes[n].clone();
        let Some((process, app)) = self.somebody() else { return self.later(Duration::SECOND, Control::Limit(n)) };
        self.executor.spawn(process, async move {
            let scope = LimitScope::rule(&rule);
            let limit = limit.map(|limit| LiveLimit { name: rule, limit, set: app.now() });
            // The command would tell the operator that it did not work; the last change is made without faults.
            let _ = app.ledger().set_limit(&scope, limit.as_ref()).await;
        });
    }

    /// A person looks into the workspace and says what is to become of what is held.
    fn person(&mut self) {
        let held: Vec<_> =
            self.world.state().invariants.scorings().filter(|s| s.status == Status::Held).cloned().collect();
        for scoring in held {
            let Some(resolution) = self.world.operator_resolution(&scoring) else { continue };
            let resolution = if self.order.chance(150) { Resolution::GiveUp } else { resolution };
            if let Some((process, app)) = self.somebody() {
                let about = format!("a person says of it: {resolution:?}");
                self.world.trace(None, Some(&scoring.id), || about);
                if resolution == Resolution::SendAgain {
                    self.world.state().invariants.vouched(&scoring);
                }
                self.executor.spawn(process, async move {
                    // What could not be taken is said again later.
                    let _ = resolve(app.ledger(), &scoring.id, resolution, app.now()).await;
                });
            }
        }
        if !self.healed {
            self.give_orders();
        }
        // A word that was on its way for long may have come after the last one.
        if let Some(last) = self.plan.limit_changes.len().checked_sub(1).filter(|_| self.healed) {
            self.limit(last);
        }
        self.later(PERSON, Control::Person);
    }

    /// Operators order this and that, some of it twice, and may die before they hear an answer.
    fn give_orders(&mut self) {
        let all: Vec<_> = self.world.state().invariants.scorings().cloned().collect();
        for scoring in all {
            let Some((verb, times, first)) = self.drawn_order(&scoring) else { continue };
            let order = Order { verb, by: "an operator".to_owned(), reason: "the seed says so".to_owned() };
            for nth in 0..times {
                let process = (first + nth) % self.processes.len();
                let Some(app) = self.processes[process].app.clone() else { continue };
                let (id, order) = (scoring.id.clone(), order.clone());
                self.world.trace(None, Some(&id), || format!("is ordered: {verb:?}"));
                self.executor.spawn(process, async move {
                    // The command tells who gave it that it did not work; they may give it again.
                    let _ = app::order(app.ledger(), &id, &order, app.now()).await;
                });
            }
        }
    }

    /// What is ordered of a scoring, how often, and in which process first.
    fn drawn_order(&self, scoring: &Scoring) -> Option<(Verb, usize, usize)> {
        let mut state = self.world.state();
        let dice = &mut state.dice;
        let verb = match scoring.status {
            _ if scoring.needs_acknowledgement() && dice.strikes(Kind::Orders, 200) => Verb::Acknowledge,
            Status::Failed | Status::Cancelled | Status::Gone | Status::Queued if dice.strikes(Kind::Orders, 70) => {
                Verb::Retry
            }
            Status::Queued | Status::Held | Status::Running | Status::Cancelling if dice.strikes(Kind::Orders, 40) => {
                Verb::Cancel
            }
            _ => return None,
        };
        let stream = dice.stream(Kind::Orders);
        Some((verb, if stream.chance(200) { 2 } else { 1 }, stream.index(self.processes.len())))
    }

    fn heal(&mut self) {
        self.healed = true;
        self.world.heal();
    }

    /// Once nothing goes wrong any more, everything must come to its end, and stay there.
    fn watch(&mut self) {
        self.ticks_since += 1;
        let unsettled = self.unsettled();
        let posts = self.world.state().posts;
        match (unsettled, self.settled) {
            (Some((scoring, what)), None) => {
                if self.world.time().elapsed() > self.plan.fault_period + TO_SETTLE {
                    self.world.state().invariants.broken("liveness", scoring.as_ref(), what);
                }
            }
            (Some((scoring, what)), Some(_)) => {
                let what = format!("everything was settled, and then: {what}");
                self.world.state().invariants.broken("rest", scoring.as_ref(), what);
            }
            (None, None) => {
                self.settled = Some((self.ticks_since, posts));
                // Every event once more: nothing may come of it.
                let taken = Arc::new(Mutex::new(vec![false; self.plan.deliveries.len()]));
                for n in 0..self.plan.deliveries.len() {
                    if let Some((process, app)) = self.somebody() {
                        let payload = (self.wiring.deliveries)(self.plan.deliveries[n].payload.clone());
                        self.executor.spawn(process, delivery(app, payload, Arc::clone(&taken), n));
                    }
                }
            }
            (None, Some((ticks, before))) => {
                if posts != before {
                    self.world.state().invariants.broken("rest", None, "a repeated event made a request");
                }
                if self.ticks_since >= ticks + TICKS_AFTER {
                    names::check(&mut self.world.state().invariants, &self.plan.urls());
                    self.world.check_the_end();
                    self.over = true;
                }
            }
        }
    }

    /// What is not done yet, if something is not.
    fn unsettled(&self) -> Option<(Option<ScoringId>, String)> {
        let state = self.world.state();
        if let Some(n) = self.taken.lock().unwrap_or_else(PoisonError::into_inner).iter().position(|taken| !taken) {
            return Some((None, format!("delivery {n} is not taken")));
        }
        if let Some((_, name)) = self.expected.iter().find(|(of, _)| state.invariants.scoring_of(of).is_none()) {
            return Some((None, format!("{name} is not in the ledger")));
        }
        // An event that is repeated may leave something to look at again; at the very end nothing is left.
        if self.settled.is_none() && self.world.pending() > 0 {
            return Some((None, "an upload waits for a look at the storage".to_owned()));
        }
        if let Some((id, what)) =
            state.invariants.unsettled(&state.cloud, self.world.time().now(), self.settled.is_some())
        {
            return Some((Some(id), what));
        }
        // Who froze before it heard an answer acts on it when it goes on.
        if self.executor.is_any_paused() {
            return Some((None, "a process is frozen".to_owned()));
        }
        // What is written or asked again at rest is under way too.
        let waits = self.settled.is_none() && state.under_way > 0;
        waits.then(|| (None, "requests are under way".to_owned()))
    }
}

/// One delivery as the function carries it out: taken first, answered, then submitted.
async fn delivery(app: App, payload: Value, taken: Arc<Mutex<Vec<bool>>>, n: usize) {
    if let Ok(delivery) = app.accept(&payload).await {
        taken.lock().unwrap_or_else(PoisonError::into_inner)[n] = true;
        delivery.submit().await;
    }
}
