//! `BlobCreated` and `BlobCreatedFromQueue`: takes a delivery of events into the ledger and, where there is room, submits at once.
//!
//! The answer says that the delivery is durable, and nothing about submissions: Event Grid waits about 30 s and then
//! delivers again, while a batch endpoint may take a minute to answer. So the work runs in a task of its own, which
//! outlives the answer; what a dead process leaves undone, the reconciler finds. It must never fail for what an event
//! holds: one failure makes Event Grid deliver the whole batch again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use lambda_runtime::{LambdaEvent, service_fn};
use lifecycle::Payload;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;

use super::deadline::Deadline;
use super::{Failure, Function};
use crate::rules_in_blob::CurrentApp;
use app::{Accepted, error_chain};

/// Answered within this, submissions done or not. Event Grid gives up after about 30 s; the host may have let us wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Kept free before the host's own deadline.
const MARGIN: Duration = Duration::from_secs(2);
/// Deliveries at work at once, answered ones included. When an endpoint hangs, these are what is held in memory.
const MAX_CONCURRENT_DELIVERIES: usize = 256;

/// Makes the function. `Err` only if the ledger did not take the delivery in time, or if there are no rules yet.
pub fn blob_created(app: impl Into<CurrentApp>) -> impl Function<Payload, Output = Accepted> {
    let deliveries = Arc::new(Semaphore::new(MAX_CONCURRENT_DELIVERIES));
    let app = app.into();
    service_fn(move |LambdaEvent { payload, context, .. }: LambdaEvent<Payload>| {
        let (app, deliveries) = (app.clone(), deliveries.clone());
        async move {
            let now = app.now();
            let within = answer_within(Deadline::at_arrival(&context, now));
            // Boxed, as it has kilobytes, and is handed on to a task that tokio copies whole when it begins and when it ends.
            let taking = Box::pin(async move {
                let app = app.get(now).await?;
                let delivery = app.accept(payload).await.map_err(|error| not_taken(&error))?;
                Ok((delivery.accepted.clone(), Box::pin(delivery.submit())))
            });
            answered(deliveries, within, taking).await
        }
    })
}

/// Nothing of the delivery may be lost by that: Event Grid delivers again, and in the end puts it where dead letters go.
fn not_taken(error: &app::Error) -> Failure {
    match error {
        // Not by Event Grid, so that no retry helps; refused all the same, so that it ends where an operator finds it.
        app::Error::TooManyEvents(_) => Failure { kind: "TooManyEvents", message: error.to_string() },
        app::Error::NotKeptWhole { .. } => Failure { kind: "NotKeptWhole", message: error.to_string() },
        app::Error::Ledger { .. } => Failure {
            kind: "NotTaken",
            message: format!("the ledger did not take the delivery: {}", error_chain(error)),
        },
    }
}

/// How long the answer may take. Without a deadline of the host, Event Grid's patience is still what counts.
fn answer_within(deadline: Deadline) -> Duration {
    deadline.within(ANSWER_WITHIN + MARGIN).saturating_sub(MARGIN)
}

/// Runs `taking`, then the rest that it returns, in a task of their own. Answers with what was taken when the rest is
/// done, or when `within` is over.
async fn answered<T, Rest>(
    deliveries: Arc<Semaphore>,
    within: Duration,
    taking: impl Future<Output = Result<(T, Rest), Failure>> + Send + 'static,
) -> Result<T, Failure>
where
    T: Send + 'static,
    Rest: Future<Output = ()> + Send,
{
    let by = Instant::now() + within;
    let busy = || Failure {
        kind: "Busy",
        message: format!(
            "{MAX_CONCURRENT_DELIVERIES} deliveries are at work; this one did not begin within {within:?}, deliver it again"
        ),
    };
    // Before anything is recorded: an intent that nobody carries out would have to be looked for.
    let permit = timeout_at(by, deliveries.acquire_owned()).await.map_err(|_| busy())?.map_err(|_| busy())?;
    let (sender, receiver) = oneshot::channel();
    let work = async move {
        let _permit = permit;
        // The receiver is gone if the answer was given already; the rest is due all the same.
        match taking.await {
            Ok((taken, rest)) => {
                let _ = sender.send(Ok(taken));
                rest.await;
            }
            Err(failure) => {
                let _ = sender.send(Err(failure));
            }
        }
    };
    let work = tokio::spawn(work.in_current_span());
    let taken = match timeout_at(by, receiver).await {
        Ok(Ok(taken)) => taken?,
        Ok(Err(_)) => {
            return Err(Failure {
                kind: "Panicked",
                message: "taking the delivery ended in a panic, see the log; it may have been taken".to_owned(),
            });
        }
        Err(_) => {
            return Err(Failure {
                kind: "TooSlow",
                message: format!("the ledger did not answer within {within:?}; it may have taken the delivery"),
            });
        }
    };
    match timeout_at(by, work).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => tracing::warn!("submitting ended in a panic; the reconciler takes over"),
        Err(_) => tracing::info!("answering now; submitting goes on"),
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::Notify;

    use super::super::deadline::tests::{in_time, none};
    use super::*;

    const SHORT: Duration = Duration::from_secs(20);

    #[test]
    fn the_answer_comes_before_event_grid_and_before_the_host_give_up() {
        let seconds = Duration::from_secs;
        assert_eq!(answer_within(in_time(seconds(900))), seconds(20));
        assert_eq!(answer_within(in_time(seconds(12))), seconds(10));
        assert_eq!(answer_within(in_time(seconds(1))), Duration::ZERO);
    }

    #[test]
    fn without_a_deadline_the_answer_comes_before_event_grid_gives_up() {
        assert_eq!(answer_within(none()), ANSWER_WITHIN);
    }

    fn deliveries(permits: usize) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(permits))
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_does_not_wait_for_a_hanging_submission_which_goes_on() {
        let (go_on, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (going, finished) = (go_on.clone(), done.clone());
        let deliveries = deliveries(1);
        let rest = async move {
            going.notified().await;
            finished.notify_one();
        };
        let begun = Instant::now();
        assert_eq!(answered(deliveries.clone(), SHORT, async { Ok((7, rest)) }).await, Ok(7));
        assert_eq!(begun.elapsed(), SHORT);
        assert_eq!(deliveries.available_permits(), 0, "its place is taken until it is done");
        go_on.notify_one();
        done.notified().await;
        let _free = deliveries.acquire().await.expect("open");
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_comes_with_the_submission_if_that_is_quick() {
        let done = Arc::new(AtomicBool::new(false));
        let flag = done.clone();
        let rest = async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            flag.store(true, Ordering::SeqCst);
        };
        assert_eq!(answered(deliveries(1), SHORT, async { Ok(((), rest)) }).await, Ok(()));
        assert!(done.load(Ordering::SeqCst));
    }

    #[tokio::test(start_paused = true)]
    async fn a_ledger_that_hangs_is_a_failure_which_says_that_it_may_have_happened() {
        let hanging = std::future::pending::<Result<((), std::future::Ready<()>), Failure>>();
        let failure = answered(deliveries(1), SHORT, hanging).await.unwrap_err();
        assert_eq!(failure.kind, "TooSlow");
        assert!(failure.message.contains("may have taken"), "{failure}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_room_nothing_is_begun() {
        let begun = Arc::new(AtomicBool::new(false));
        let flag = begun.clone();
        let taking = async move {
            flag.store(true, Ordering::SeqCst);
            Ok(((), std::future::ready(())))
        };
        let failure = answered(deliveries(0), SHORT, taking).await.unwrap_err();
        assert_eq!(failure.kind, "Busy");
        assert!(!begun.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn a_panic_while_taking_is_a_failure_and_one_while_submitting_is_not() {
        let taking = |panics: bool| async move {
            assert!(!panics, "on purpose");
            Ok(((), async { panic!("on purpose") }))
        };
        assert_eq!(answered(deliveries(1), SHORT, taking(true)).await.unwrap_err().kind, "Panicked");
        assert_eq!(answered(deliveries(1), SHORT, taking(false)).await, Ok(()));
    }
}
