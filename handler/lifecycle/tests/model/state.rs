//! One moment: rows, workers, what is on its way, the service's jobs.

use std::sync::Arc;

use lifecycle::{Answer, Effect, Job, Observation, Policy, Scoring, Status};
use time::OffsetDateTime;

use crate::steps::Action;
use crate::world::{Budget, RemovedGuard, UNIT, World};

/// Further away than anything in a check with a bounded number of faults.
const FAR: i64 = 1_000;

/// The rows of one scoring, written together: `J~` with its operation, and whether `F~`, `T~` are there, how far `H~`
/// goes, and the version of `P~`.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    pub scoring: Arc<Scoring>,
    /// Operation of the last write, also the row's ETag.
    pub op: u32,
    pub in_flight: bool,
    pub terminal: bool,
    pub history: i64,
    /// ETag of the outbox row.
    pub outbox: Option<u32>,
    /// Version of the projected history and of the projected instance.
    pub projected: (i64, i64),
}

/// The one row in the partition of slots.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SlotRow {
    pub owner: usize,
    pub version: i64,
    pub claimed: OffsetDateTime,
    pub etag: u32,
}

/// A slot as its claimer knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hold {
    pub etag: u32,
    pub fresh: bool,
    pub claimed: OffsetDateTime,
}

/// One transaction of a scoring.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub of: usize,
    /// The version that was read; `None`: the rows are to be inserted.
    pub from: Option<u32>,
    pub next: Arc<Scoring>,
    /// Last line of history before it.
    pub history: i64,
    pub effect: Effect,
    pub op: u32,
    pub slot: Option<Hold>,
    /// The scoring gives its slot back after it.
    pub leaves_slot: bool,
    /// The answer that it records, and what was sent.
    pub answer: Option<(Arc<Scoring>, Answer)>,
}

/// A worker between two of its steps. What each step does is in `worker.rs`.
#[derive(Debug, Clone)]
pub(crate) enum Worker {
    Idle,
    /// Has read the row and the clock; the look is under way. `from` as in [`Write`].
    /// `seen` is what it found already, where the guard removal lets it decide on that with a later clock.
    Looking {
        of: usize,
        from: Option<u32>,
        scoring: Arc<Scoring>,
        at: OffsetDateTime,
        observation: Option<Observation>,
    },
    /// The slot is its scoring's already; it is to be written anew.
    Renewing {
        of: usize,
        from: Option<u32>,
        scoring: Arc<Scoring>,
        at: OffsetDateTime,
        etag: u32,
    },
    /// Has decided.
    Writing(Write),
    /// The write's answer was lost.
    ReadingBack(Write),
    /// The intent is on record, and nothing is sent yet.
    Intending {
        of: usize,
        scoring: Arc<Scoring>,
        op: u32,
    },
    /// The POST left.
    Waiting {
        of: usize,
        scoring: Arc<Scoring>,
        op: u32,
    },
    /// Could not record this answer, as the scoring was moved on meanwhile.
    Late {
        of: usize,
        sent: Arc<Scoring>,
        answer: Answer,
    },
    /// Jobs are to be told to stop.
    Stopping {
        jobs: Vec<Job>,
    },
    /// Is to look whether the scoring's slot, claimed before this version, is there.
    Leaving {
        of: usize,
        version: i64,
    },
    /// Is to free this slot.
    Freeing {
        etag: u32,
    },
    /// Has read who holds slots.
    Sweeping {
        holds: [bool; 2],
        at: OffsetDateTime,
    },
    /// Is to project this version: history first.
    ProjectingHistory {
        of: usize,
        version: i64,
        outbox: u32,
    },
    /// Then the instance.
    ProjectingInstance {
        of: usize,
        version: i64,
        outbox: u32,
    },
    /// Then the outbox is cleared.
    Projected {
        of: usize,
        outbox: u32,
    },
}

/// One intended POST.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Post {
    pub of: usize,
    pub attempt: u32,
    pub number: u32,
}

/// A POST on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub post: Post,
    /// Operation of its intent: who waits for the answer.
    pub op: u32,
    /// When its job must be visible; `None`: it is a zombie.
    pub until: Option<OffsetDateTime>,
}

/// A job of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Made {
    pub of: usize,
    pub attempt: u32,
    pub late: bool,
    pub now: RequestState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum RequestState {
    Active,
    Completed,
    /// Completed, and wrote nothing.
    Hollow,
    Failed,
    /// By the user's code, in a way that is recognised.
    UserError,
    /// By a person.
    Cancelled,
    /// By us.
    Stopped,
}

/// A rule that a step broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Broken {
    /// A final row was written to.
    LeftFinal,
    /// A version, or a line of history, was left out or written twice.
    Gap,
    /// A POST left without its intent on record, or twice.
    SentWithoutIntent,
    /// Two attempts share an output path, or two POSTs of one do not.
    PathsMixed,
    /// An attempt began while a job of the one before it was under way.
    AttemptsOverlap,
    /// An attempt began after one that the user's code had failed.
    UserErrorRepeated,
    /// `scored` without an output that was seen.
    ScoredWithoutOutput,
    /// Two spellings of one upload have two ids.
    TwoRows,
    /// The projection went back to an older version.
    WentBack,
    /// `gone`, and the input was there all the time.
    GoneThoughThere,
    /// A request was sent though the input had been deleted when its intent was decided on.
    SentForNothing,
}

#[derive(Debug, Clone)]
pub(crate) struct State {
    pub now: OffsetDateTime,
    pub rows: [Option<Rows>; 2],
    pub slot: Option<SlotRow>,
    /// Deliveries that are still to come.
    pub deliveries: [u8; 2],
    pub workers: [Worker; 2],
    /// Workers that let time pass.
    pub paused: [bool; 2],
    /// A write whose answer was lost and which has not taken effect yet.
    pub floating: Option<Write>,
    pub network: Vec<Sent>,
    pub jobs: Vec<Made>,
    /// Inputs that were deleted.
    pub deleted: [bool; 2],
    pub left: Budget,
    /// Operations that put an intent on record.
    pub intents: Vec<u32>,
    /// Output paths on record, by attempt.
    pub paths: Vec<(usize, u32, Arc<str>)>,
    /// Adopted jobs, by attempt.
    pub adopted: Vec<(usize, u32, usize)>,
    pub broken: Option<Broken>,
    /// Counts operations and slot versions.
    pub ops: u32,
    /// A guard removal lets writes win that should lose: nothing may be left out of the hash.
    pub tell_all: bool,
    pub policy: &'static Policy,
}

pub(crate) fn job(number: usize) -> Job {
    Job { name: format!("job-{number}").parse().expect("a name"), id: None, studio: None }
}

pub(crate) fn number_of(job: &Job) -> usize {
    job.name.trim_start_matches("job-").parse().expect("the model's own name")
}

impl State {
    pub(crate) fn first(world: &World) -> Self {
        let second = if world.uploads == 2 { world.deliveries } else { 0 };
        Self {
            now: crate::world::START,
            rows: [None, None],
            slot: None,
            deliveries: [world.deliveries, second],
            workers: [Worker::Idle, Worker::Idle],
            paused: [false, false],
            floating: None,
            network: Vec::new(),
            jobs: Vec::new(),
            deleted: [false, false],
            left: world.budget,
            intents: Vec::new(),
            paths: Vec::new(),
            adopted: Vec::new(),
            broken: None,
            ops: 0,
            tell_all: world.removed_guard == RemovedGuard::NoCompareAndSwap,
            policy: &world.rule().policy,
        }
    }

    pub(crate) fn op(&mut self) -> u32 {
        self.ops += 1;
        self.ops
    }

    /// The row's operation, if there is a row.
    pub(crate) fn op_of(&self, of: usize) -> Option<u32> {
        self.rows[of].as_ref().map(|rows| rows.op)
    }

    pub(crate) fn ended(&self, of: usize) -> bool {
        self.rows[of].as_ref().is_some_and(|rows| rows.scoring.status.is_terminal())
    }

    /// There is output at the path of an attempt.
    pub(crate) fn output_of(&self, of: usize, attempt: u32) -> bool {
        self.jobs.iter().any(|job| job.of == of && job.attempt == attempt && job.now == RequestState::Completed)
    }

    pub(crate) fn broke(&mut self, what: Broken) {
        self.broken = self.broken.or(Some(what));
    }

    /// Steps until `at`; 0 once it is there.
    pub(crate) fn left_until(&self, at: OffsetDateTime) -> i64 {
        let seconds = (at - self.now).whole_seconds();
        if seconds <= 0 { 0 } else { (1 + (seconds - 1) / UNIT.whole_seconds()).min(FAR) }
    }

    /// The instants at which the decision about a row may change.
    pub(crate) fn timers(&self, of: usize) -> impl Iterator<Item = i64> + use<> {
        let policy = self.policy;
        let mut timers = [0; 3];
        if let Some(scoring) = self.rows[of].as_ref().map(|rows| &*rows.scoring).filter(|s| !s.status.is_terminal()) {
            timers[0] = self.left_until(scoring.due);
            timers[1] = match scoring.status {
                Status::Unknown => self.left_until(scoring.since + policy.resubmit_after.0),
                Status::Verifying => self.left_until(scoring.since + policy.output_timeout.0),
                _ => 0,
            };
            timers[2] = scoring.missing_since.map_or(0, |since| self.left_until(since + policy.output_timeout.0 * 5));
        }
        timers.into_iter().filter(|left| (1..FAR).contains(left))
    }
}

impl State {
    /// The slot row is still the one of this version.
    pub(crate) fn holds(&self, etag: u32) -> bool {
        self.slot.is_some_and(|slot| slot.etag == etag)
    }

    pub(crate) fn outbox_is(&self, of: usize, etag: u32) -> bool {
        self.rows[of].as_ref().is_some_and(|rows| rows.outbox == Some(etag))
    }

    /// An action in words for people: with what the worker is about, and where the scorings stand.
    pub(crate) fn tell(&self, action: Action) -> String {
        let about = match action {
            Action::Step { worker } => match &self.workers[worker] {
                Worker::Idle | Worker::Waiting { .. } => "",
                Worker::Looking { .. } => ": looks, decides",
                Worker::Renewing { .. } => ": renews the slot",
                Worker::Writing(_) => ": writes",
                Worker::ReadingBack(_) => ": reads back",
                Worker::Intending { .. } => ": checks its lease, sends",
                Worker::Late { .. } => ": reads what its answer came too late for",
                Worker::Stopping { .. } => ": stops jobs",
                Worker::Leaving { .. } => ": reads the slot it leaves",
                Worker::Freeing { .. } => ": frees a slot",
                Worker::Sweeping { .. } => ": looks for an orphaned slot",
                Worker::ProjectingHistory { .. } => ": projects history",
                Worker::ProjectingInstance { .. } => ": projects the instance",
                Worker::Projected { .. } => ": clears the outbox",
            },
            _ => "",
        };
        let rows = self.rows.iter().flatten();
        let rows: Vec<_> = rows.map(|r| format!("{} v{}", r.scoring.status, r.scoring.version)).collect();
        let minute = (self.now - crate::world::START).whole_minutes();
        format!("minute {minute}, {}, {} jobs: {action:?}{about}", rows.join(" and "), self.jobs.len())
    }

    /// The worker that waits for the answer to this intent's POST.
    pub(crate) fn waiting_for(&self, intent: u32) -> Option<usize> {
        self.workers.iter().position(|worker| matches!(worker, Worker::Waiting { op, .. } if *op == intent))
    }
}
