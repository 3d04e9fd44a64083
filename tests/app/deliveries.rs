//! Deliveries of fifty events as the Functions host spreads them, through the function that takes them, by a clock that stands still
//! while anything is at work: what is measured is what was waited for.

use std::time::Duration;

use futures::future::join_all;
use handler::functions::blob_created;
use lambda_runtime::{Context, LambdaEvent};
use lifecycle::{Payload, Status};
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt as _;

use crate::support::world::{World, event};

const LIMITED: &str = r#"{"rules":[{"id":"claims","match":{"container":"claims"},
    "endpoint":{"uri":"https://heart.example/jobs"},"maxInFlight":7,"submitTimeout":"PT2M"}]}"#;
/// Event Grid delivers again what is not answered by then.
const EVENT_GRID: Duration = Duration::from_secs(30);
/// What an endpoint takes that hangs: longer than anybody waits for the answer to a delivery.
const HANGS: Duration = Duration::from_secs(90);

/// One failure repeats the whole delivery, while the submissions of the one before are still under way.
#[tokio::test(start_paused = true)]
async fn whole_deliveries_are_repeated_within_deadlines_while_the_endpoint_hangs() {
    let world = World::with_rules(LIMITED);
    world.posts_take(HANGS);
    let app = world.app();
    let function = blob_created(app.clone());
    let mut delivery: Vec<Value> = (0..50).map(|n| event(&format!("{n}.csv"), "1")).collect();
    // Longer than what quarantine keeps whole, and unreadable.
    delivery[20] = json!({ "eventType": "Microsoft.Storage.BlobCreated", "data": { "x": "y".repeat(20_000) } });
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        let invocations = delivery.iter().map(|event| {
            let (function, payload) = (function.clone(), Payload::from(event));
            async move {
                let received = Instant::now();
                let answer = function.oneshot(LambdaEvent::new(payload, Context::default())).await;
                (answer.map(|accepted| accepted.accepted.len() + accepted.duplicates).ok(), received.elapsed())
            }
        });
        let answers = join_all(invocations).await;
        slowest = answers.iter().map(|(_, took)| *took).chain([slowest]).max().unwrap();
        let taken: Vec<_> = answers.iter().map(|(taken, _)| *taken).collect();
        let expected: Vec<_> = (0..50).map(|n| (n != 20).then_some(1)).collect();
        assert_eq!(taken, expected, "one is refused, each of the others is taken, or was");
    }
    assert!(slowest < EVENT_GRID, "an answer took {slowest:?}");
    assert!(slowest >= Duration::from_secs(20), "submissions were waited for: {slowest:?}");
    assert!(began.elapsed() < 5 * EVENT_GRID);
    // What the endpoint was asked for while all of this went on.
    assert_eq!((world.jobs().len(), world.max_running()), (7, 7));
    tokio::time::sleep(2 * HANGS).await;
    world.posts_take(Duration::ZERO);
    world.tick_until_final(&app, 60).await;
    assert_eq!(world.statuses(&app).await, [(Status::Scored, 49)].into());
    assert_eq!((world.jobs().len(), world.max_running()), (49, 7), "none was submitted twice");
}
