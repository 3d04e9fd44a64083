//! What a process remembers of the jobs behind an endpoint, so that a hundred lost answers at once cost little more than
//! one: the last list for some seconds, and where each job that was looked at writes to, which never changes.
//!
//! Searches of one endpoint take turns, and the later ones find what the first has seen. Never: a job called somebody's
//! from memory alone, or "none" as of a later moment than what it rests on. Memory only spares the look at a job that is
//! known to write elsewhere.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError};

use time::{Duration, OffsetDateTime};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::list::List;
use super::wire::InputShown;
use app::ports::Inconclusive;
use lifecycle::Candidate;

/// A list serves other searches so long after it was read, or as long as reading it took if that is more: at most half
/// of the time goes into lists. The reason why there is none is kept so long, too.
const SHARED: Duration = Duration::seconds(5);
/// A job that showed no outputs is not looked at again before others for this time.
const SILENT: Duration = Duration::minutes(10);
/// Texts about jobs that are remembered, in bytes, over all endpoints: some forty thousand jobs.
const MAX_BYTES: usize = 16 << 20;
/// What remembering a job costs beside its texts, roughly.
const EACH: usize = 200;

/// Lists of jobs, and what single jobs have shown, remembered for further searches.
#[derive(Debug, Default)]
pub(super) struct JobCache {
    turns: Lock<HashMap<Arc<str>, Arc<Mutex<()>>>>,
    memory: Lock<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    lists: HashMap<Arc<str>, Shared>,
    jobs: HashMap<Arc<str>, HashMap<Arc<str>, Job>>,
    /// Keys of `jobs`, the oldest first.
    order: VecDeque<(Arc<str>, Arc<str>)>,
    bytes: usize,
}

#[derive(Debug)]
struct Shared {
    what: Result<Arc<List>, Inconclusive>,
    until: OffsetDateTime,
    since: OffsetDateTime,
}

#[derive(Debug)]
struct Job {
    /// None if it did not show them.
    outputs: Vec<String>,
    /// What it showed in place of outputs.
    silent: Option<Arc<SilentJob>>,
    looked: OffsetDateTime,
}

/// What is known of a job that showed neither outputs nor our tags: it may be anybody's who has the same inputs.
#[derive(Debug, Clone)]
pub(super) struct SilentJob {
    /// As it was when it was looked at.
    pub(super) candidate: Candidate,
    /// Its inputs, which never change.
    pub(super) inputs: Vec<InputShown>,
    /// The deployment that runs it, if it says so.
    pub(super) deployment: Option<String>,
    /// The endpoint that made it, if it says so.
    pub(super) endpoint: Option<String>,
}

impl SilentJob {
    fn bytes(&self) -> usize {
        let inputs = self.inputs.iter().map(|input| EACH / 4 + input.uri.as_ref().map_or(0, String::len));
        EACH + inputs.sum::<usize>()
    }
}

impl Job {
    fn bytes(&self, name: &str) -> usize {
        let silent = self.silent.as_ref().map_or(0, |silent| silent.bytes());
        silent + EACH + name.len() + self.outputs.iter().map(|uri| EACH / 4 + uri.len()).sum::<usize>()
    }
}

/// What is remembered of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CachedJob {
    /// It writes to other places only, and always will.
    Elsewhere,
    /// It showed no outputs when it was looked at. It may do so later.
    Silent(OffsetDateTime),
}

/// The right to search among the jobs of one endpoint.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    key: Arc<str>,
    memory: &'a Lock<Memory>,
    _alone: OwnedMutexGuard<()>,
}

impl JobCache {
    /// Waits until nobody else searches among the jobs of this endpoint.
    pub(super) async fn turn(&self, workspace: &str, endpoint: &str) -> Turn<'_> {
        let key: Arc<str> = format!("{workspace}\n{endpoint}").into();
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever searches or waits has a second reference.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(Arc::clone(&key)).or_default())
        };
        Turn { key, memory: &self.memory, _alone: turn.lock_owned().await }
    }
}

impl Turn<'_> {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A list that a search which was due at `due` may use: it goes back to `from`, began when the search was due, and is
    /// recent. An error is why somebody else got none a moment ago; the same would happen again.
    pub(super) fn list(
        &self,
        from: OffsetDateTime,
        due: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Option<Result<Arc<List>, Inconclusive>> {
        let memory = self.memory();
        let shared = memory.lists.get(&self.key).filter(|shared| shared.is_recent(now))?;
        match &shared.what {
            Ok(list) if list.from > from || list.begun < due => None,
            what => Some(what.clone()),
        }
    }

    /// Keeps a list, which has just been read, for others.
    pub(super) fn keep(&self, list: List, now: OffsetDateTime) -> Arc<List> {
        let (took, list) = (now - list.begun, Arc::new(list));
        self.share(Ok(Arc::clone(&list)), now, took.max(SHARED));
        list
    }

    /// Keeps the reason why nothing can be seen.
    pub(super) fn fail(&self, why: &Inconclusive, now: OffsetDateTime) {
        self.share(Err(why.clone()), now, SHARED);
    }

    fn share(&self, what: Result<Arc<List>, Inconclusive>, now: OffsetDateTime, time: Duration) {
        let mut memory = self.memory();
        memory.lists.retain(|_, shared| shared.is_recent(now));
        memory.lists.insert(Arc::clone(&self.key), Shared { what, since: now, until: now + time });
    }

    /// What is remembered of a job; nothing if one of its outputs `is_ours`.
    pub(super) fn remembers(
        &self,
        name: &str,
        now: OffsetDateTime,
        is_ours: impl Fn(&str) -> bool,
    ) -> Option<CachedJob> {
        let memory = self.memory();
        let job = memory.jobs.get(&self.key)?.get(name)?;
        if job.outputs.is_empty() {
            return ((now - job.looked).abs() <= SILENT).then_some(CachedJob::Silent(job.looked));
        }
        (!job.outputs.iter().any(|uri| is_ours(uri))).then_some(CachedJob::Elsewhere)
    }

    /// What a job that is remembered as silent showed.
    pub(super) fn silent(&self, name: &str) -> Option<Arc<SilentJob>> {
        self.memory().jobs.get(&self.key)?.get(name)?.silent.clone()
    }

    /// Remembers what a look at a job showed of its outputs, or in place of them.
    pub(super) fn learn(&self, name: &str, outputs: &[&str], silent: Option<SilentJob>, looked: OffsetDateTime) {
        let outputs = outputs.iter().map(|uri| (*uri).to_owned()).collect();
        let job = Job { outputs, silent: silent.map(Arc::new), looked };
        let (name, mut memory) = (Arc::<str>::from(name), self.memory());
        let size = job.bytes(&name);
        if size > MAX_BYTES {
            return;
        }
        if let Some(old) = memory.jobs.entry(Arc::clone(&self.key)).or_default().insert(Arc::clone(&name), job) {
            memory.bytes -= old.bytes(&name);
        } else {
            memory.order.push_back((Arc::clone(&self.key), name));
        }
        memory.bytes += size;
        memory.forget();
    }
}

impl Shared {
    /// A clock that was set back must not make it recent for ever.
    fn is_recent(&self, now: OffsetDateTime) -> bool {
        (self.since - SHARED..=self.until).contains(&now)
    }
}

impl Memory {
    /// Forgets the oldest jobs until the rest fits.
    fn forget(&mut self) {
        while self.bytes > MAX_BYTES
            && let Some((key, name)) = self.order.pop_front()
            && let Some(jobs) = self.jobs.get_mut(&key)
        {
            if let Some(job) = jobs.remove(&name) {
                self.bytes -= job.bytes(&name);
            }
            if jobs.is_empty() {
                self.jobs.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::list::ServiceClock;
    use super::*;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn at(seconds: i64) -> OffsetDateTime {
        START + Duration::seconds(seconds)
    }

    fn list() -> List {
        List {
            begun: at(100),
            from: at(50),
            clock: ServiceClock(None),
            jobs: Vec::new(),
            complete: true,
            request_id: None,
        }
    }

    fn elsewhere(turn: &Turn<'_>, name: &str) -> bool {
        turn.remembers(name, at(0), |uri| uri == "azureml://b") == Some(CachedJob::Elsewhere)
    }

    #[tokio::test]
    async fn a_list_serves_only_who_was_due_before_it_began_and_looks_no_further_back() {
        let known = JobCache::default();
        let turn = known.turn("w", "e").await;
        turn.keep(list(), at(101));
        let serves = |from, due, now| turn.list(at(from), at(due), at(now)).is_some();
        assert!(serves(50, 100, 106));
        assert!(!serves(50, 101, 106), "due after it began");
        assert!(!serves(49, 100, 106), "further back");
        assert!(!serves(50, 100, 107), "too old");
        assert!(!serves(50, 90, 95), "from the future");
        turn.keep(list(), at(120));
        assert!(serves(50, 100, 140) && !serves(50, 100, 141), "as long as reading it took");
    }

    #[tokio::test]
    async fn a_failure_is_shared_for_a_moment_and_with_nobody_of_another_place() {
        let known = JobCache::default();
        let turn = known.turn("w", "e").await;
        let why = Inconclusive::not_reachable("why");
        turn.fail(&why, at(10));
        let told = |turn: &Turn<'_>, now| turn.list(at(50), at(0), at(now)).map(|what| what.map(|_| ()));
        assert_eq!(told(&turn, 15), Some(Err(why)));
        assert_eq!(told(&turn, 16), None);
        for (workspace, endpoint) in [("w", "f"), ("v", "e")] {
            assert_eq!(told(&known.turn(workspace, endpoint).await, 15), None);
        }
        turn.keep(list(), at(100));
        assert_eq!(told(&turn, 100), Some(Ok(())));
    }

    #[tokio::test]
    async fn what_is_not_recent_takes_no_memory() {
        let known = JobCache::default();
        known.turn("w", "a").await.keep(list(), at(100));
        known.turn("w", "b").await.keep(list(), at(200));
        assert_eq!(known.memory.lock().unwrap().lists.len(), 1);
        assert_eq!(known.turns.lock().unwrap().len(), 1, "nobody waits for the first any more");
    }

    #[tokio::test]
    async fn a_job_without_outputs_is_silent_until_it_shows_some_or_time_has_passed() {
        let known = JobCache::default();
        let turn = known.turn("w", "e").await;
        let remembers = |now| turn.remembers("job", at(now), |uri| uri == "azureml://b");
        turn.learn("job", &[], None, at(5));
        assert_eq!(remembers(605), Some(CachedJob::Silent(at(5))));
        assert_eq!(remembers(606), None);
        turn.learn("job", &[], None, at(7));
        assert_eq!(remembers(606), Some(CachedJob::Silent(at(7))));
        turn.learn("job", &["azureml://a"], None, at(8));
        assert_eq!(remembers(9_999), Some(CachedJob::Elsewhere));
        turn.learn("job", &["azureml://a", "azureml://b"], None, at(9));
        assert_eq!(remembers(9), None, "one of its outputs is ours: it is looked at anew");
        let memory = turn.memory();
        assert_eq!((memory.order.len(), memory.bytes), (1, 200 + 3 + 2 * (50 + 11)));
    }

    #[tokio::test]
    async fn endpoints_are_remembered_apart_and_all_of_them_within_one_limit() {
        let known = JobCache::default();
        let (one, other) = (known.turn("w", "a").await, known.turn("w", "b").await);
        let long = format!("azureml://{}", "a".repeat(1 << 20));
        one.learn("first", &[&long], None, at(0));
        one.learn("second", &[&long], None, at(0));
        assert!(elsewhere(&one, "first") && !elsewhere(&other, "first"));
        for n in 0..14 {
            other.learn(&n.to_string(), &[&long], None, at(0));
        }
        assert!(!elsewhere(&one, "first") && elsewhere(&one, "second"), "the oldest goes first");
        other.learn("x", &[&long], None, at(0));
        assert!(!elsewhere(&one, "second") && elsewhere(&other, "0") && elsewhere(&other, "x"));
        assert_eq!(other.memory().jobs.len(), 1);
        other.learn("huge", &[&"a".repeat(MAX_BYTES)], None, at(0));
        assert!(!elsewhere(&other, "huge") && elsewhere(&other, "x"), "it would leave no room for others");
        let memory = other.memory();
        let told: usize = memory.jobs.values().flatten().map(|(name, job)| job.bytes(name)).sum();
        assert_eq!((told, memory.order.len()), (memory.bytes, 15));
        assert!(memory.bytes <= MAX_BYTES);
    }

    #[tokio::test]
    async fn searches_of_one_endpoint_take_turns() {
        let known = JobCache::default();
        let first = known.turn("w", "a").await;
        let mut second = std::pin::pin!(known.turn("w", "a"));
        assert!(futures::poll!(second.as_mut()).is_pending());
        // Others come and go meanwhile, and do not clear it away.
        drop(known.turn("w", "b").await);
        assert!(futures::poll!(std::pin::pin!(known.turn("w", "a"))).is_pending());
        drop(first);
        assert!(futures::poll!(second.as_mut()).is_ready());
    }
}
