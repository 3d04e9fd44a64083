//! One run: the real app in some processes, the world around it, and what happens to both.

mod processes;
mod settled;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lifecycle::{Rules, Scoring, ScoringId, Status, TRANSITIONS, UnversionedBlob};
use serde_json::Value;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use crate::account::CONTAINERS;
use crate::arrivals::SIZE;
use crate::behaviour::{Behaviours, Poison, Poisoned, Script};
use crate::cloud::Cloud;
use crate::executor::{Executor, Rng, Time};
use crate::faults::{Dice, Faults, Kind};
use crate::inputs::InputChange;
use crate::invariants::{Invariants, ScoredVersion};
use crate::options::{RunOptions, Wiring};
use crate::outcome::Outcome;
use crate::output_events::OutputEvents;
use crate::plan::{ChangeAt, Plan};
use crate::process_ports::ProcessPorts;
use crate::publications::Publication;
use crate::trace::Trace;
use crate::world::{TASK_HUBS, World, WorldConfig, WorldState};
use app::{App, Pause};

const START: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);
/// A tick has this long; the Functions host's limit is ten minutes.
const TICK: Duration = Duration::minutes(5);
/// Ticks come no more often than this once nothing goes wrong any more: what is left is waiting.
const CALM: Duration = Duration::minutes(2);
/// Somebody looks after what is held so often.
pub(super) const PERSON: Duration = Duration::minutes(7);
/// The endpoints' default deployment, before and after it is switched.
const DEFAULTS: [&str; 2] = ["v1", "v2"];

/// What is to happen at some time, beside the tasks.
#[derive(Clone, Copy)]
pub(super) enum Control {
    /// A delivery to an installation.
    Deliver {
        installation: usize,
        delivery: usize,
    },
    Tick,
    /// The timer's own: ticks and comes again.
    Timer,
    Begin(usize),
    /// Somebody looks after what is held.
    Person,
    /// Somebody changes a limit: the plan's change of this number.
    Limit(usize),
    /// Something happens to an input.
    Input(usize),
    /// Somebody changes an upload's index tags.
    Tag(usize),
    /// Another deployment becomes the default one.
    SwitchDefault,
    /// Other rules are deployed: the plan's change of this number.
    ChangeRules(usize),
    /// Events are delivered again that were taken before.
    DeliverAgain,
    /// A process ends, and another one begins with the rules of then.
    Redeploy(usize),
    Resume(usize),
    Heal,
}

/// Which deliveries were answered with success.
pub(super) type Taken = Arc<Mutex<Vec<bool>>>;

pub(super) struct Process {
    pub(super) app: Option<App>,
    clock_off: Arc<AtomicI64>,
}

pub(super) struct Run {
    pub(super) plan: Plan,
    /// The rules that processes begin with.
    pub(super) rules: Rules,
    wiring: Wiring,
    pub(super) world: World,
    pub(super) executor: Executor,
    pub(super) order: Rng,
    /// Things that people have said.
    pub(super) said: u64,
    control: Arc<Mutex<VecDeque<Control>>>,
    pub(super) processes: Vec<Process>,
    writers: usize,
    /// What processes would call the ledger.
    ids: Rng,
    /// Deliveries that each installation answered with success.
    pub(super) taken: Vec<Taken>,
    /// A rule is removed, or will be, and the events of the time without it are still to be delivered again.
    pub(super) delivers_again: bool,
    tries: Vec<Vec<u32>>,
    output_events: OutputEvents,
    pub(super) healed: bool,
    ticks_since: u32,
    settled: Option<(u32, u64)>,
    expected: BTreeMap<ScoredVersion, String>,
    kills_left: u32,
    pauses_left: u32,
    over: bool,
}

/// The sequencers of what a path has held.
fn held(cloud: &Cloud, uri: &str) -> Vec<Option<String>> {
    let of = |it: &Publication| it.shown.mark.as_ref()?.order.sequencer.clone();
    cloud.publications.history(uri).iter().map(of).collect()
}

/// Runs one seed. `told`: with its story.
pub fn run(options: &RunOptions, wiring: &Wiring, traced: bool) -> Outcome {
    let rng = Rng::new(options.seed);
    let mut dice = Dice::draw(options.faults, options.max_faults, &rng);
    let plan = Plan::draw(&rng, &mut dice, options.events, options.processes);
    Run::new(plan, &rng, dice, Behaviours::of(None), None, wiring, traced).finish()
}

/// Runs a hundred uploads of two rules on one deployment, with this to make their jobs fail. Nothing else goes wrong.
pub fn run_poisoned(seed: u64, poison: Poison, wiring: &Wiring) -> Outcome {
    let rng = Rng::new(seed);
    let dice = Dice::draw(Faults::NONE, None, &rng);
    let (plan, bad) = Plan::poisoned(&rng, poison);
    let behaviours = Behaviours::Poisoned(Poisoned { poison, bad, first: CONTAINERS[0] });
    Run::new(plan, &rng, dice, behaviours, None, wiring, false).finish()
}

/// What is uploaded of which the results are published.
#[derive(Debug, Clone, Copy)]
pub struct Published {
    /// How many blobs are uploaded, each with a published path of its own.
    pub blobs: usize,
    /// How many versions of each.
    pub versions: usize,
    /// The deployment that scores each beside its rule's, if one does.
    pub shadow: Option<&'static str>,
}

/// Runs so many blobs in so many versions each, whose results two processes publish at one path for each blob, while these things go
/// wrong.
pub fn run_published(seed: u64, uploads: Published, faults: Faults, wiring: &Wiring) -> Outcome {
    let rng = Rng::new(seed);
    let dice = Dice::draw(faults, None, &rng);
    let plan = Plan::published(&rng, uploads.blobs, uploads.versions, uploads.shadow);
    Run::new(plan, &rng, dice, Behaviours::of(None), None, wiring, false).finish()
}

/// Runs so many blobs, of whose events so many of a thousand are lost and as many come twice, with sweeps by two processes, while these
/// things go wrong.
pub fn run_swept(seed: u64, blobs: usize, lost: u64, faults: Faults, wiring: &Wiring) -> Outcome {
    let once = |traced| {
        let rng = Rng::new(seed);
        let dice = Dice::draw(faults, None, &rng);
        let plan = Plan::swept(&rng, blobs, lost);
        Run::new(plan, &rng, dice, Behaviours::of(None), None, wiring, traced).finish()
    };
    let outcome = once(false);
    // The story is told of what is broken alone: it takes as long again.
    if outcome.violation.is_some() { once(true) } else { outcome }
}

/// Runs so many files that two processes score in groups, while these things go wrong.
pub fn run_grouped(seed: u64, files: usize, faults: Faults, wiring: &Wiring) -> Outcome {
    let once = |traced| {
        let rng = Rng::new(seed);
        let dice = Dice::draw(faults, None, &rng);
        let plan = Plan::grouped(&rng, files);
        Run::new(plan, &rng, dice, Behaviours::of(None), None, wiring, traced).finish()
    };
    let outcome = once(false);
    // The story is told of what is broken alone: it takes as long again.
    if outcome.violation.is_some() { once(true) } else { outcome }
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
            invariants: (0..plan.installations)
                .map(|_| Invariants::new(&plan.rules, plan.spread).never(plan.never_wanted()))
                .collect(),
            trace: Trace::new(traced),
            kill_after,
            latest: plan.latest(),
        });
        world.state().cloud.bad.clone_from(&plan.bad);
        // Where places are swept nothing is there before it is written.
        for upload in plan.uploads.iter().filter(|_| !plan.sweeps) {
            upload.put(&mut world.state().cloud.uploaded);
        }
        for upload in &plan.tagged {
            upload.put(&mut world.state().cloud.uploaded, Duration::ZERO);
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
            said: 0,
            control: Arc::default(),
            processes,
            writers: 0,
            ids: rng.fork(5),
            taken: (0..plan.installations).map(|_| none_taken(&plan)).collect(),
            tries: vec![vec![0; plan.deliveries.len()]; plan.installations],
            delivers_again: plan.rules_changes.iter().any(|change| change.without.is_some()),
            output_events: OutputEvents::default(),
            healed: false,
            ticks_since: 0,
            settled: None,
            expected,
            over: false,
            rules: plan.rules.clone(),
            plan,
        };
        for process in 0..run.processes.len() {
            run.begin(process);
        }
        for (installation, delivery) in run.all_deliveries() {
            run.later(run.plan.deliveries[delivery].at, Control::Deliver { installation, delivery });
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
        for n in 0..run.plan.tagged.len() {
            for at in run.plan.tagged[n].changes() {
                run.later(at, Control::Tag(n));
            }
        }
        if let Some(at) = run.plan.default_switched {
            run.world.state().cloud.set_default_deployment(DEFAULTS[0]);
            run.later(at, Control::SwitchDefault);
        }
        for n in 0..run.plan.rules_changes.len() {
            run.later(run.plan.rules_changes[n].at, Control::ChangeRules(n));
        }
        for n in 0..run.plan.limit_changes.len() {
            run.later(run.plan.limit_changes[n].at, Control::Limit(n));
        }
        run
    }

    pub(super) fn later(&self, pause: Duration, what: Control) {
        let control = Arc::clone(&self.control);
        let put = move || control.lock().unwrap_or_else(PoisonError::into_inner).push_back(what);
        self.world.time().after(pause, put);
    }

    fn finish(mut self) -> Outcome {
        while !self.over && self.world.state().violation().is_none() {
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
        let mut names: BTreeMap<ScoringId, String> = BTreeMap::new();
        for (invariants, hub) in invariants.iter().zip(TASK_HUBS) {
            let of_hub = if hub == TASK_HUBS[0] { String::new() } else { format!(" of {hub}") };
            let of_scoring = |(of, name): (&ScoredVersion, &String)| {
                Some((invariants.scoring_of(of)?.clone(), format!("{name}{of_hub}")))
            };
            names.extend(self.expected.iter().filter_map(of_scoring));
        }
        let name = |id: &ScoringId| names.get(id).cloned().unwrap_or_else(|| id.to_string());
        let end = |s: &lifecycle::Scoring| {
            let job = s.job.as_ref().map_or("none", |job| job.name.as_str());
            format!("{} at attempt {} with {job}", s.status, s.attempt)
        };
        let scorings = || invariants.iter().flat_map(Invariants::scorings);
        let violation = state.violation();
        // Of a path, what became of one version is seldom told without the others.
        let about = violation.and_then(|violation| violation.scoring.as_ref()).map(|id| {
            let of_path = invariants.iter().flat_map(|invariants| invariants.beside(id)).map(|s| s.id.clone());
            of_path.chain([id.clone()]).collect::<BTreeSet<ScoringId>>()
        });
        let taken = |row: usize| invariants.iter().map(|invariants| invariants.taken[row]).sum();
        Outcome {
            violation: violation.cloned(),
            effects: state.effects,
            posts: state.posts,
            jobs: cloud.made(),
            scorings: scorings().count(),
            injected_faults: state.dice.dealt,
            taken: (0..TRANSITIONS.len()).map(taken).collect(),
            scored: scorings()
                .filter(|s| s.status == Status::Scored)
                .map(|s| (name(&s.id), s.completed.unwrap_or(s.updated) - START))
                .collect(),
            ends: scorings().map(|s| (name(&s.id), end(s))).collect(),
            published: cloud.publications.all().map(|(uri, _)| (uri.to_owned(), held(cloud, uri))).collect(),
            fingerprint: trace.fingerprint,
            trace: trace.lines(about.as_ref(), &names),
        }
    }

    /// Every delivery to every installation.
    pub(super) fn all_deliveries(&self) -> Vec<(usize, usize)> {
        let of = |installation| (0..self.plan.deliveries.len()).map(move |delivery| (installation, delivery));
        (0..self.plan.installations).flat_map(of).collect()
    }

    /// The processes of an installation, from one by the seed on.
    pub(super) fn processes_of(&mut self, installation: usize) -> Vec<usize> {
        let mut all: Vec<usize> =
            (0..self.processes.len()).filter(|n| self.world.installation(*n) == installation).collect();
        let first = self.order.index(all.len());
        all.rotate_left(first);
        all
    }

    /// A process of an installation that is there, by the seed.
    pub(super) fn somebody(&mut self, installation: usize) -> Option<(usize, App)> {
        self.processes_of(installation).into_iter().find_map(|n| Some((n, self.processes[n].app.clone()?)))
    }

    /// Every scoring of every installation, as it was last written.
    pub(super) fn scorings(&self) -> Vec<(usize, Scoring)> {
        let state = self.world.state();
        let all = state.invariants.iter().enumerate();
        all.flat_map(|(installation, of)| of.scorings().map(move |scoring| (installation, scoring.clone()))).collect()
    }

    fn happens(&mut self, what: Control) {
        match what {
            Control::Deliver { installation, delivery } => self.deliver(installation, delivery),
            Control::Tick => self.tick(),
            Control::Timer => self.timer(),
            Control::Begin(process) => {
                let off = self.plan.skew_again(&mut self.world.state().dice);
                self.processes[process].clock_off.store(off, Ordering::Relaxed);
                self.begin(process);
            }
            Control::Resume(process) => {
                self.world.trace(Some(process), None, || "goes on".to_owned());
                let (installation, now) = (self.world.installation(process), self.world.time().now());
                self.world.state().invariants[installation].went_on(now);
                self.executor.resume(process);
            }
            Control::Person => self.person(),
            Control::Limit(n) => self.limit(n),
            Control::Input(n) => self.change_input(n),
            Control::Tag(n) => {
                let elapsed = self.world.time().elapsed();
                self.world.trace(None, None, || format!("the index tags of {} change", self.plan.tagged[n].url()));
                self.plan.tagged[n].put(&mut self.world.state().cloud.uploaded, elapsed);
            }
            Control::SwitchDefault => {
                self.world.trace(None, None, || format!("{} is the default deployment now", DEFAULTS[1]));
                self.world.state().cloud.set_default_deployment(DEFAULTS[1]);
            }
            Control::ChangeRules(n) => self.change_rules(n),
            Control::DeliverAgain => self.deliver_again(),
            Control::Redeploy(process) => {
                if self.processes[process].app.is_some() {
                    self.kill(process, Duration::SECOND);
                }
            }
            Control::Heal => self.heal(),
        }
    }

    /// Event Grid delivers, and again until it is told that it was taken.
    fn deliver(&mut self, installation: usize, n: usize) {
        let taken = Arc::clone(&self.taken[installation]);
        if taken.lock().unwrap_or_else(PoisonError::into_inner)[n] {
            return;
        }
        let tries = self.tries[installation][n];
        self.tries[installation][n] += 1;
        self.hand_over(installation, n, taken);
        // 10 s, 30 s, 1 min, 5 min: the beginning of Event Grid's schedule.
        let pause = [10, 30, 60, 300][usize::try_from(tries).unwrap_or(3).min(3)];
        let pause = Duration::seconds(pause) + self.order.millis(0, 3_000);
        self.later(pause, Control::Deliver { installation, delivery: n });
    }

    /// Delivers once, to a process that is there.
    fn hand_over(&mut self, installation: usize, n: usize, taken: Taken) {
        if let Some((process, app)) = self.somebody(installation) {
            let payload = (self.wiring.deliveries)(self.plan.deliveries[n].payload.clone());
            self.executor.spawn(process, delivery(app, payload, taken, n));
        }
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
        for installation in 0..self.plan.installations {
            if let Some((process, app)) = self.somebody(installation) {
                self.executor.spawn(process, async move {
                    // What a tick could not do, the next one does.
                    let _ = app.tick(app.now() + TICK).await;
                });
            }
            if self.plan.sweeps
                && let Some((process, app)) = self.somebody(installation)
            {
                let ports = Arc::new(ProcessPorts { world: self.world.clone(), process });
                let pause: Pause = Arc::new(move |time| {
                    let ports = Arc::clone(&ports);
                    Box::pin(async move { ports.sleep(Duration::try_from(time).unwrap_or(Duration::SECOND)).await })
                });
                self.executor.spawn(process, async move {
                    let _ = app.sweep(app.now() + TICK, &pause).await;
                });
            }
        }
    }

    /// Event Grid tells of outputs. Nobody waits for what becomes of that: nothing may. Each installation hears of its own alone: those
    /// of another are uploads to it, and two that watch each other's outputs never come to an end (RELIABILITY).
    fn tell_of_outputs(&mut self) {
        let events = {
            let (now, mut state) = (self.world.time().now(), self.world.state());
            let WorldState { cloud, dice, .. } = &mut *state;
            self.output_events.draw(cloud, dice, now)
        };
        self.deliver_outputs(events);
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

    fn heal(&mut self) {
        self.healed = true;
        self.world.heal();
    }
}

/// No delivery of the plan.
fn none_taken(plan: &Plan) -> Taken {
    Arc::new(Mutex::new(vec![false; plan.deliveries.len()]))
}

/// One delivery as the function carries it out: taken first, answered, then submitted.
async fn delivery(app: App, payload: Value, taken: Taken, n: usize) {
    if let Ok(delivery) = app.accept(&payload).await {
        taken.lock().unwrap_or_else(PoisonError::into_inner)[n] = true;
        delivery.submit().await;
    }
}
