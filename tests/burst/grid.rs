//! Event Grid's part: at least once, in any order, many at a time, and again when a delivery failed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use serde_json::json;

use super::Seeded;
use crate::support::cloud::event_about;

/// Deliveries under way at one time.
const MAX_CONCURRENT_DELIVERIES: usize = 32;
/// Event Grid waits ten seconds before it delivers again; here time is short.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// URL of the blob that an upload makes.
pub(super) fn url_of(path: &str) -> String {
    format!("https://local.blob.core.windows.net/inbox/{path}")
}

/// Delivers each until some handler has taken it; how many deliveries were answered with an error or not at all.
pub(super) async fn deliver(ports: Vec<u16>, paths: Vec<String>, mut random: Seeded) -> usize {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
    let again = AtomicUsize::new(0);
    let first: Vec<usize> = paths.iter().map(|_| random.below(ports.len())).collect();
    stream::iter(paths.into_iter().zip(first))
        .for_each_concurrent(MAX_CONCURRENT_DELIVERIES, |(path, first)| {
            let (client, ports, again) = (&client, &ports, &again);
            async move {
                let body = json!({ "Data": { "event": event_about(&url_of(&path)) }, "Metadata": {} });
                for port in ports.iter().cycle().skip(first) {
                    let sent = client.post(format!("http://127.0.0.1:{port}/BlobCreated")).json(&body).send().await;
                    if sent.is_ok_and(|answer| answer.status().is_success()) {
                        return;
                    }
                    again.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
            }
        })
        .await;
    again.into_inner()
}
