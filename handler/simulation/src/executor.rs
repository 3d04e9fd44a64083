//! A seeded executor: one thread, a clock of its own, tasks polled in an order that the seed chooses.
//!
//! Everything that could differ between two runs is drawn from [`Rng`]: the order of tasks and how long things take.
//! Time moves only when no task can run, to the next timer. A task can be dropped at any await, which is what a killed
//! process looks like from outside; what it has sent before still arrives ([`Time::after`] belongs to no task). It must
//! never read the machine's clock, its randomness or its environment.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures::future::BoxFuture;
use time::{Duration, OffsetDateTime};

/// SplitMix64: small, fast, and the same on every machine and version of the toolchain, so that a seed stays a story.
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(0x2545_f491_4f6c_dd1d))
    }

    /// A stream of its own for each purpose: what one purpose draws does not shift what another gets, so that a run with
    /// less of something stays like the run it came from.
    pub(super) fn fork(&self, purpose: u64) -> Self {
        Self::new(self.0 ^ purpose.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Sixteen bytes, all decided by the seed.
    pub(super) fn bytes(&mut self) -> [u8; 16] {
        (u128::from(self.next()) << 64 | u128::from(self.next())).to_be_bytes()
    }

    /// A number in `0..n`; 0 if `n` is 0.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// An index of a list of this length.
    pub(super) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0) // below a usize it fits
    }

    /// One of a list that is not empty.
    pub(super) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())].clone()
    }

    /// True `permille` times of a thousand.
    pub(super) fn chance(&mut self, permille: u64) -> bool {
        self.below(1_000) < permille
    }

    /// A duration between two numbers of milliseconds.
    pub(super) fn millis(&mut self, from: u64, to: u64) -> Duration {
        let drawn = from + self.below(to.saturating_sub(from) + 1);
        Duration::milliseconds(i64::try_from(drawn).unwrap_or(i64::MAX))
    }

    /// A duration between two numbers of seconds.
    pub(super) fn seconds(&mut self, from: u64, to: u64) -> Duration {
        self.millis(from * 1_000, to * 1_000)
    }
}

enum Due {
    Wake(Waker),
    Act(Box<dyn FnOnce() + Send>),
}

struct Timers {
    /// Microseconds since the start: keys that compare fast.
    now: i64,
    next: u64,
    due: BTreeMap<(i64, u64), Due>,
}

/// The simulated time and what is to happen in it. Clones are the same time.
#[derive(Clone)]
pub(super) struct Time {
    start: OffsetDateTime,
    timers: Arc<Mutex<Timers>>,
}

fn micros(pause: Duration) -> i64 {
    i64::try_from(pause.whole_microseconds()).unwrap_or(i64::MAX / 4).max(0)
}

impl Time {
    pub(super) fn new(start: OffsetDateTime) -> Self {
        Self { start, timers: Arc::new(Mutex::new(Timers { now: 0, next: 0, due: BTreeMap::new() })) }
    }

    fn timers(&self) -> MutexGuard<'_, Timers> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The true time, which no process knows.
    pub(super) fn now(&self) -> OffsetDateTime {
        self.start + Duration::microseconds(self.timers().now)
    }

    /// Time since the run's start, which the trace tells of.
    pub(super) fn elapsed(&self) -> Duration {
        Duration::microseconds(self.timers().now)
    }

    fn put(&self, at: i64, due: Due) {
        let mut timers = self.timers();
        let number = timers.next;
        timers.next += 1;
        timers.due.insert((at, number), due);
    }

    /// Lets `act` happen after `pause`, whoever is dead by then.
    pub(super) fn after(&self, pause: Duration, act: impl FnOnce() + Send + 'static) {
        let at = self.timers().now + micros(pause);
        self.put(at, Due::Act(Box::new(act)));
    }

    /// Waits; without a pause it only gives others their turn.
    pub(super) fn sleep(&self, pause: Duration) -> Sleep {
        let until = self.timers().now + micros(pause);
        Sleep { time: self.clone(), until, yields: pause <= Duration::ZERO, waiting: false }
    }

    /// Goes to the next timer and lets it happen; `false` if there is none.
    pub(super) fn advance(&self) -> bool {
        let due = {
            let mut timers = self.timers();
            let Some(((at, _), due)) = timers.due.pop_first() else { return false };
            timers.now = timers.now.max(at);
            due
        };
        match due {
            Due::Wake(waker) => waker.wake(),
            Due::Act(act) => act(),
        }
        true
    }
}

/// The future of [`Time::sleep`]; it is pending at least once.
pub(super) struct Sleep {
    time: Time,
    until: i64,
    yields: bool,
    waiting: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.waiting && (self.yields || self.time.timers().now >= self.until) {
            return Poll::Ready(());
        }
        // Also a wait of no time gives others their turn: an await is a place to be interleaved, and to die.
        self.waiting = true;
        if self.yields {
            context.waker().wake_by_ref();
        } else {
            self.time.put(self.until, Due::Wake(context.waker().clone()));
        }
        Poll::Pending
    }
}

/// Tasks that can go on, in the order in which they were woken.
type Ready = Arc<Mutex<Vec<u64>>>;

struct Waking {
    task: u64,
    ready: Ready,
}

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if !ready.contains(&self.task) {
            ready.push(self.task);
        }
    }
}

struct Task {
    process: usize,
    waker: Waker,
    future: BoxFuture<'static, ()>,
}

/// Runs the tasks of several processes.
pub(super) struct Executor {
    tasks: BTreeMap<u64, Task>,
    ready: Ready,
    /// Processes that get no turn, and their tasks that could go on.
    paused: BTreeMap<usize, BTreeSet<u64>>,
    next: u64,
}

impl Executor {
    pub(super) fn new() -> Self {
        Self { tasks: BTreeMap::new(), ready: Ready::default(), paused: BTreeMap::new(), next: 0 }
    }

    fn ready(&self) -> MutexGuard<'_, Vec<u64>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn spawn(&mut self, process: usize, future: impl Future<Output = ()> + Send + 'static) {
        let task = self.next;
        self.next += 1;
        let waker = Waker::from(Arc::new(Waking { task, ready: Arc::clone(&self.ready) }));
        self.tasks.insert(task, Task { process, waker, future: Box::pin(future) });
        self.ready().push(task);
    }

    /// Drops everything that a process was doing, wherever it was.
    pub(super) fn kill(&mut self, process: usize) {
        self.tasks.retain(|_, task| task.process != process);
        self.paused.remove(&process);
    }

    /// Gives a process no turn until [`resume`](Self::resume): a machine that is frozen. Its clock goes on.
    pub(super) fn pause(&mut self, process: usize) {
        self.paused.entry(process).or_default();
    }

    /// Whether some process gets no turn.
    pub(super) fn is_any_paused(&self) -> bool {
        !self.paused.is_empty()
    }

    /// Lets a paused process go on: its tasks that were woken meanwhile get their turns.
    pub(super) fn resume(&mut self, process: usize) {
        let waiting = self.paused.remove(&process).unwrap_or_default();
        let mut ready = self.ready();
        for task in waiting {
            if !ready.contains(&task) {
                ready.push(task);
            }
        }
    }

    /// Polls one of the tasks that can go on; the process it belongs to, `None` if none can.
    pub(super) fn poll_one(&mut self, rng: &mut Rng) -> Option<usize> {
        loop {
            let chosen = {
                let mut ready = self.ready();
                if ready.is_empty() {
                    return None;
                }
                let index = rng.index(ready.len());
                ready.remove(index)
            };
            // Killed or finished tasks leave wakers behind.
            let Some(mut task) = self.tasks.remove(&chosen) else { continue };
            let process = task.process;
            if let Some(waiting) = self.paused.get_mut(&process) {
                waiting.insert(chosen);
                self.tasks.insert(chosen, task);
                continue;
            }
            if task.future.as_mut().poll(&mut Context::from_waker(&task.waker)).is_pending() {
                self.tasks.insert(chosen, task);
            }
            return Some(process);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(seed: u64) -> Vec<(u64, Duration)> {
        let time = Time::new(OffsetDateTime::UNIX_EPOCH);
        let mut rng = Rng::new(seed);
        let mut executor = Executor::new();
        let log = Arc::new(Mutex::new(Vec::new()));
        for n in 0..8 {
            let (time, log) = (time.clone(), Arc::clone(&log));
            executor.spawn(0, async move {
                for _ in 0..3 {
                    time.sleep(Duration::seconds(1)).await;
                    log.lock().unwrap().push((n, time.now() - OffsetDateTime::UNIX_EPOCH));
                }
            });
        }
        while executor.poll_one(&mut rng).is_some() || time.advance() {}
        let log = log.lock().unwrap().clone();
        assert_eq!(log.len(), 24);
        log
    }

    #[test]
    fn a_seed_gives_one_order_and_another_seed_another() {
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }

    #[test]
    fn what_a_killed_process_has_sent_still_arrives_and_it_does_nothing_more() {
        let time = Time::new(OffsetDateTime::UNIX_EPOCH);
        let mut executor = Executor::new();
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let (inner, log) = (time.clone(), Arc::clone(&arrived));
        executor.spawn(3, async move {
            let there = Arc::clone(&log);
            inner.after(Duration::SECOND, move || there.lock().unwrap().push("request"));
            inner.sleep(Duration::SECOND * 2).await;
            log.lock().unwrap().push("answer");
        });
        let mut rng = Rng::new(0);
        assert_eq!(executor.poll_one(&mut rng), Some(3));
        executor.kill(3);
        while executor.poll_one(&mut rng).is_some() || time.advance() {}
        assert_eq!(*arrived.lock().unwrap(), ["request"]);
    }

    #[test]
    fn a_paused_process_does_nothing_until_it_is_resumed() {
        let time = Time::new(OffsetDateTime::UNIX_EPOCH);
        let mut executor = Executor::new();
        let done = Arc::new(Mutex::new(None));
        let (inner, log) = (time.clone(), Arc::clone(&done));
        executor.spawn(3, async move {
            inner.sleep(Duration::SECOND).await;
            *log.lock().unwrap() = Some(inner.elapsed());
        });
        let mut rng = Rng::new(0);
        assert_eq!(executor.poll_one(&mut rng), Some(3));
        executor.pause(3);
        time.after(Duration::MINUTE, || ());
        while executor.poll_one(&mut rng).is_some() || time.advance() {}
        assert_eq!(*done.lock().unwrap(), None);
        executor.resume(3);
        while executor.poll_one(&mut rng).is_some() || time.advance() {}
        assert_eq!(*done.lock().unwrap(), Some(Duration::MINUTE));
    }
}
