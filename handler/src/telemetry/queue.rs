//! A queue with a bound between those who work and the task that sends what they did to a collector.
//!
//! The SDK's own batch processors were not taken: they tell nobody how much they dropped, and end a hanging export by nothing.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

/// What waits at most. A span has about a kilobyte, a log record two: a collector that hangs takes some megabytes of each.
pub(super) const CAPACITY: usize = 2_048;
/// What is sent at once.
const BATCH: usize = 512;
/// How long the first of a batch waits for more. The host ends this process without a word, so that not much may wait.
const DELAY: Duration = Duration::from_secs(1);
/// The log says of what is lost no more often than this.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// How many records were dropped and never reached the collector.
#[derive(Debug, Default)]
pub(super) struct Losses {
    queue_full: AtomicU64,
    not_delivered: AtomicU64,
}

impl Losses {
    /// How many were dropped so far, each number with its reason in words.
    pub(super) fn by_reason(&self) -> [(&'static str, u64); 2] {
        [
            ("queue full", self.queue_full.load(Ordering::Relaxed)),
            ("not delivered", self.not_delivered.load(Ordering::Relaxed)),
        ]
    }

    fn all(&self) -> u64 {
        self.by_reason().iter().map(|(_, count)| count).sum()
    }
}

/// Where those who work leave what is to be sent. Putting takes no time, whatever the collector does.
pub(super) struct Queue<T> {
    sender: mpsc::Sender<T>,
    losses: Arc<Losses>,
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("losses", &self.losses).finish_non_exhaustive()
    }
}

impl<T> Queue<T> {
    /// Leaves one, or drops it where the queue is full.
    pub(super) fn put(&self, one: T) {
        if self.sender.try_send(one).is_err() {
            self.losses.queue_full.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The task that empties a queue.
#[derive(Debug)]
pub(super) struct Sending {
    task: JoinHandle<()>,
    ending: Arc<Notify>,
    pub(super) losses: Arc<Losses>,
}

impl Sending {
    /// Sends what waits, and ends.
    pub(super) async fn end(self) {
        self.ending.notify_one();
        // It ends by itself only; if it panicked, nothing is left to be done.
        let _ = self.task.await;
    }
}

/// A queue of this many at most, whose batches are sent by `send`, each within `limit`. `what` is for the log.
pub(super) fn queue<T, F>(
    (what, capacity): (&'static str, usize),
    limit: Duration,
    runtime: &Handle,
    send: impl Fn(Vec<T>) -> F + Send + 'static,
) -> (Queue<T>, Sending)
where
    T: Send + 'static,
    F: Future<Output = OTelSdkResult> + Send,
{
    let (sender, receiver) = mpsc::channel(capacity);
    let (ending, losses) = (Arc::new(Notify::new()), Arc::new(Losses::default()));
    let (end, lost) = (Arc::clone(&ending), Arc::clone(&losses));
    let task = runtime.spawn(async move { empty(what, receiver, &end, &lost, limit, send).await });
    (Queue { sender, losses: Arc::clone(&losses) }, Sending { task, ending, losses })
}

async fn empty<T, F>(
    what: &'static str,
    mut queue: mpsc::Receiver<T>,
    ending: &Notify,
    losses: &Losses,
    limit: Duration,
    send: impl Fn(Vec<T>) -> F,
) where
    F: Future<Output = OTelSdkResult>,
{
    let (mut said, mut told) = (None::<Instant>, 0);
    loop {
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            () = ending.notified() => queue.close(),
            count = queue.recv_many(&mut batch, BATCH) => if count == 0 { return },
        }
        if batch.is_empty() {
            continue;
        }
        if batch.len() < BATCH && !queue.is_closed() {
            tokio::select! {
                biased;
                () = ending.notified() => queue.close(),
                () = sleep(DELAY) => {}
            }
        }
        while batch.len() < BATCH
            && let Ok(one) = queue.try_recv()
        {
            batch.push(one);
        }
        let count = batch.len();
        // What libraries say of an export is nobody's business: it would be exported.
        let outcome = timeout(limit, send(batch)).with_subscriber(NoSubscriber::default()).await;
        let why = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(why)) => Some(why.to_string()),
            Err(_) => Some(format!("no answer within {limit:?}")),
        };
        if why.is_some() {
            losses.not_delivered.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        let lost = losses.all();
        if lost > told && said.is_none_or(|said| said.elapsed() >= SAY_AGAIN) {
            let why = why.unwrap_or_else(|| "more came than was sent".to_owned());
            tracing::warn!(what, lost, reason = why, "telemetry is lost: {lost} {what} so far; {why}");
            (said, told) = (Some(Instant::now()), lost);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use opentelemetry_sdk::error::OTelSdkError;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn reasons(sending: &Sending) -> [u64; 2] {
        sending.losses.by_reason().map(|(_, count)| count)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_put_is_sent_in_batches_and_the_rest_at_the_end() {
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&sizes);
        let (queue, sending) = queue(("things", CAPACITY), LIMIT, &Handle::current(), move |batch: Vec<usize>| {
            kept.lock().unwrap().push(batch.len());
            std::future::ready(Ok(()))
        });
        for n in 0..BATCH + 3 {
            queue.put(n);
        }
        sending.end().await;
        assert_eq!(*sizes.lock().unwrap(), [BATCH, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_collector_that_hangs_takes_a_bounded_number_and_all_others_are_counted() {
        const ITEMS: usize = 10_000;
        let (queue, sending) = queue(("things", CAPACITY), LIMIT, &Handle::current(), |_: Vec<Arc<()>>| {
            std::future::pending::<OTelSdkResult>()
        });
        let item = Arc::new(());
        let begun = Instant::now();
        for n in 0..ITEMS {
            queue.put(Arc::clone(&item));
            if n % 100 == 0 {
                tokio::task::yield_now().await;
            }
            assert!(Arc::strong_count(&item) <= CAPACITY + BATCH + 2, "{n}");
        }
        assert_eq!(begun.elapsed(), Duration::ZERO, "nobody waits");
        let [full, _] = reasons(&sending);
        assert!(full >= u64::try_from(ITEMS - CAPACITY - BATCH).unwrap(), "{full}");
        let losses = Arc::clone(&sending.losses);
        assert!(timeout(LIMIT / 2, sending.end()).await.is_err(), "an end has the bound that its caller gives it");
        sleep(LIMIT * 10).await;
        assert_eq!(losses.all(), u64::try_from(ITEMS).unwrap(), "each is counted once");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_collector_refuses_is_counted_and_the_next_is_sent() {
        let first = Arc::new(Mutex::new(true));
        let (queue, sending) = queue(("things", CAPACITY), LIMIT, &Handle::current(), move |_: Vec<u8>| {
            let refused = std::mem::take(&mut *first.lock().unwrap());
            std::future::ready(if refused { Err(OTelSdkError::InternalFailure("no".to_owned())) } else { Ok(()) })
        });
        queue.put(1);
        sleep(DELAY * 2).await;
        queue.put(2);
        sleep(DELAY * 2).await;
        assert_eq!(reasons(&sending), [0, 1]);
    }
}
