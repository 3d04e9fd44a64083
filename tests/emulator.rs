//! The functions under the emulator of AWS Lambda that Rust people use, `cargo lambda watch --only-lambda-apis`: they
//! answer as under the Functions host. `support/emulator.rs` says how it is started and what it does.

use serde_json::json;

use crate::hosts::{equal_answers, equal_diagnostics};
use crate::support::emulator::{Emulated, Emulator, is_installed};
use crate::support::functions_host::client;
use crate::support::lambda::Deadline;

#[tokio::test]
async fn the_functions_answer_under_cargo_lambda_as_under_the_functions_host() {
    if is_installed() {
        equal_answers::<Emulated>().await;
    }
}

#[tokio::test]
async fn the_functions_fail_under_cargo_lambda_with_the_same_diagnostic() {
    if is_installed() {
        equal_diagnostics::<Emulated>().await;
    }
}

/// What the stand-in sends in its place, so that this is tested where the emulator is not installed.
#[tokio::test]
async fn cargo_lambdas_deadline_is_the_one_that_the_stand_in_can_send() {
    if !is_installed() {
        return;
    }
    let emulator = Emulator::start().await;
    // This test is the function, so that it sees what one is handed.
    let function = async {
        let api = format!("{}/2018-06-01/runtime/invocation", emulator.runtime_api());
        let next = client().get(format!("{api}/next")).send().await.unwrap();
        let header = |name: &str| next.headers()[name].to_str().unwrap().to_owned();
        let (id, deadline) = (header("lambda-runtime-aws-request-id"), header("lambda-runtime-deadline-ms"));
        client().post(format!("{api}/{id}/response")).body(r#""done""#).send().await.unwrap();
        deadline
    };
    let payload = json!({});
    let (outcome, deadline) = tokio::join!(emulator.invoke(&payload), function);
    assert_eq!((outcome.unwrap(), deadline), (Ok(json!("done")), Deadline::EMULATED.header()));
}
