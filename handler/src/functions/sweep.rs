//! `Sweep`: holds what is listed in the rules' places against the ledger, so that an upload whose event never came is scored.
//!
//! As `Reconcile` it takes no input: how far each place is swept is in the ledger, and a run that is missed, doubled or killed does
//! no harm. What it finds waits for the next reconcile run. Before that it takes in what Event Grid gave up.

use std::sync::Arc;

use lambda_runtime::{LambdaEvent, service_fn};

use super::deadline::Deadline;
use super::reconcile::{Tick, working_time};
use super::{Failure, Function};
use crate::rules_in_blob::CurrentApp;
use app::{DeadLetterReport, Pause, SweepReport, TooOld, error_chain};
use serde::Serialize;

/// What one run of the function did, as its answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SweepRun {
    /// With the places of rules.
    #[serde(flatten)]
    pub sweep: SweepReport,
    /// With dead letters, if it is known where these lie.
    pub dead_letters: Option<DeadLetterReport>,
}

/// Makes the function. `Err` if the ledger failed; the next run tries again.
pub fn sweep(app: impl Into<CurrentApp>) -> impl Function<Tick, Output = SweepRun> {
    let app = app.into();
    let pause: Pause = Arc::new(|time| Box::pin(tokio::time::sleep(time)));
    service_fn(move |LambdaEvent { context, .. }: LambdaEvent<Tick>| {
        let (app, pause) = (app.clone(), Arc::clone(&pause));
        async move {
            let now = app.now();
            let deadline = now + working_time(Deadline::at_arrival(&context, now));
            let app = app.get(now).await?;
            // First: they are few, and each is a version that was told of.
            let dead_letters = app.take_in_dead_letters(deadline, TooOld::Left).await;
            let sweep = app.sweep(deadline, &pause).await;
            sweep.map(|sweep| SweepRun { sweep, dead_letters }).map_err(|why| Failure {
                kind: "SweepFailed",
                message: format!("the sweep failed: {}", error_chain(&why)),
            })
        }
    })
}
