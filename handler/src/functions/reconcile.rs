//! `Reconcile`: one tick. Looks at everything in flight, submits what waits, sweeps, cleans up.
//!
//! It takes no input: what a tick does depends on the ledger and the time alone, so a missed, doubled or hand-made
//! tick does no harm.

use std::time::Duration;

use lambda_runtime::{LambdaEvent, service_fn};
use serde::Deserialize;

use super::deadline::Deadline;
use super::{Failure, Function};
use crate::rules_in_blob::CurrentApp;
use app::{BEGUN_WORK, TickReport, error_chain};

/// How long a run may take whose host sets no deadline, and at most if it sets one. What is left is for the next run.
const TIME_LIMIT: Duration = Duration::from_secs(600);

/// A timer's payload, of which nothing is used: Azure's timer object and an EventBridge event both read as this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct Tick {}

/// Makes the function. `Err` if the tick could not begin or the ledger failed; the next tick tries again.
pub fn reconcile(app: impl Into<CurrentApp>) -> impl Function<Tick, Output = TickReport> {
    let app = app.into();
    service_fn(move |LambdaEvent { context, .. }: LambdaEvent<Tick>| {
        let app = app.clone();
        async move {
            let now = app.now();
            let deadline = now + working_time(Deadline::at_arrival(&context, now));
            let app = app.get(now).await?;
            app.tick(deadline).await.map_err(|why| Failure {
                kind: "ReconcileFailed",
                message: format!("the reconcile run failed: {}", error_chain(&why)),
            })
        }
    })
}

/// For how long new work is begun: a quarter of the time is kept for what was begun before, or [`BEGUN_WORK`] if that is less.
pub(super) fn working_time(deadline: Deadline) -> Duration {
    let left = deadline.within(TIME_LIMIT);
    left.saturating_sub((left / 4).min(BEGUN_WORK))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::deadline::tests::{in_time, none};
    use super::*;

    #[test]
    fn timers_of_both_clouds_are_ticks() {
        let azure = json!({"Schedule": {"AdjustForDST": true}, "ScheduleStatus": null, "IsPastDue": false});
        let aws =
            json!({"version": "0", "id": "1", "detail-type": "Scheduled Event", "source": "aws.events", "detail": {}});
        for timer in [azure, aws, json!({})] {
            assert_eq!(serde_json::from_value::<Tick>(timer).expect("a tick"), Tick {});
        }
        assert!(serde_json::from_value::<Tick>(json!("")).is_err());
    }

    #[test]
    fn new_work_ends_well_before_the_deadline() {
        assert_eq!(working_time(in_time(Duration::from_secs(600))), Duration::from_secs(525));
        assert_eq!(working_time(in_time(Duration::from_secs(4))), Duration::from_secs(3));
    }

    #[test]
    fn without_a_deadline_a_run_keeps_its_own_limit() {
        assert_eq!(working_time(none()), Duration::from_secs(525));
        assert_eq!(working_time(in_time(Duration::from_secs(3_600))), Duration::from_secs(525));
    }
}
