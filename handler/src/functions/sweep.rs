//! `Sweep`: holds what is listed in the rules' places against the ledger, so that an upload whose event never came is scored.
//!
//! As `Reconcile` it takes no input: how far each place is swept is in the ledger, and a run that is missed, doubled or killed does
//! no harm. What it finds waits for the next reconcile run.

use std::sync::Arc;

use lambda_runtime::{LambdaEvent, service_fn};

use super::deadline::Deadline;
use super::reconcile::{Tick, working_time};
use super::{Failure, Function};
use crate::rules_in_blob::CurrentApp;
use app::{Pause, SweepReport, error_chain};

/// Makes the function. `Err` if the ledger failed; the next run tries again.
pub fn sweep(app: impl Into<CurrentApp>) -> impl Function<Tick, Output = SweepReport> {
    let app = app.into();
    let pause: Pause = Arc::new(|time| Box::pin(tokio::time::sleep(time)));
    service_fn(move |LambdaEvent { context, .. }: LambdaEvent<Tick>| {
        let (app, pause) = (app.clone(), Arc::clone(&pause));
        async move {
            let now = app.now();
            let deadline = now + working_time(Deadline::at_arrival(&context, now));
            let app = app.get(now).await?;
            app.sweep(deadline, &pause).await.map_err(|why| Failure {
                kind: "SweepFailed",
                message: format!("the sweep failed: {}", error_chain(&why)),
            })
        }
    })
}
