//! Event Grid's part: finds the files of the inbox and tells the handler of each until it was taken.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures::{StreamExt as _, stream};
use lifecycle::Scoring;
use serde_json::Value;
use tokio::sync::Mutex;

use super::functions_host::{FunctionsHost, running};
use super::inbox::{Inbox, Scan};
use super::lasting::Lasting;
use super::notices::{Beside, Notice};
use super::place::Place;
use super::{Error, SCAN};
use crate::functions;
use app::error_chain;
use app::ledger::Ledger;
use app::ports::Clock;

/// Events under way at one time.
const MAX_CONCURRENT_DELIVERIES: usize = 16;

/// What becomes no scoring: recorded, so that the terminal, lists and `explain` tell of it.
#[derive(Clone)]
pub(super) struct Unscored {
    pub(super) ledger: Ledger,
    pub(super) clock: Clock,
    /// There is some that the terminal has not looked at.
    pub(super) news: Arc<AtomicBool>,
}

impl Unscored {
    /// Of something in the inbox that no event tells of.
    async fn tell(&self, place: Option<&Place>, notice: &Notice) {
        let Some(record) = notice.record(place) else {
            tracing::warn!("inbox: {notice}");
            return;
        };
        match self.ledger.skip(&record, None, (self.clock)()).await {
            Ok(()) => self.has_news(),
            Err(error) => tracing::warn!(error = %error_chain(&error), "inbox: {notice}"),
        }
    }

    fn has_news(&self) {
        self.news.store(true, Ordering::Relaxed);
    }
}

/// Tells of what lies in no container's folder.
pub(super) async fn tell_beside(mut beside: Beside, unscored: Unscored) {
    let mut every = tokio::time::interval(SCAN);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        // That the inbox cannot be read is told by those who scan its folders.
        for notice in beside.scan().unwrap_or_default() {
            unscored.tell(None, &notice).await;
        }
    }
}

/// Event Grid's part: tells of each file until it was taken.
pub(super) async fn deliver(place: Place, mut inbox: Inbox, host: Arc<Mutex<FunctionsHost>>, unscored: Unscored) {
    let mut every = tokio::time::interval(SCAN);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let [mut away, mut down, mut refused] = <[Lasting; 3]>::default();
    loop {
        every.tick().await;
        let scanned = tokio::task::spawn_blocking(move || {
            let ready = inbox.scan(Instant::now());
            (inbox, ready)
        });
        // It fails only when this process ends.
        let Ok((scanned, ready)) = scanned.await else { return };
        inbox = scanned;
        let ready = match ready {
            Ok(Scan { ready, notices }) => {
                if away.is_over() {
                    tracing::info!("the inbox `{}` can be read again", place.folder.display());
                }
                for notice in notices {
                    unscored.tell(Some(&place), &notice).await;
                }
                ready
            }
            Err(error) => {
                if away.begins(&error.to_string()) {
                    let folder = place.folder.display();
                    tracing::warn!(
                        error = %error,
                        "the inbox `{folder}` cannot be read: {error}; what is put there is found when it can be"
                    );
                }
                continue;
            }
        };
        if ready.is_empty() {
            continue;
        }
        let Some(invoker) = running(&host, &mut down).await else { continue };
        let mut taken = stream::iter(ready)
            .map(|ready| {
                let (invoker, unscored) = (invoker.clone(), &unscored);
                async move {
                    match invoker.invoke(functions::BLOB_CREATED, "event", ready.event.clone()).await {
                        Ok(taken) => {
                            if ["skipped", "quarantined"].iter().any(|count| taken[count].as_u64() > Some(0)) {
                                unscored.has_news();
                            }
                            Ok((ready, is_scored(&taken)))
                        }
                        Err(error) => Err(error),
                    }
                }
            })
            .buffer_unordered(MAX_CONCURRENT_DELIVERIES);
        while let Some(delivered) = taken.next().await {
            match delivered {
                Ok((delivered, scored)) => {
                    inbox.delivered(&delivered, scored);
                    refused = Lasting::default();
                }
                Err(error) if refused.begins(&error_chain(&error)) => {
                    tracing::warn!(error = %error_chain(&error), "an event was not taken and is delivered again");
                }
                Err(_) => {}
            }
        }
    }
}

/// Whether a delivery's answer tells of a scoring, new or known.
fn is_scored(taken: &Value) -> bool {
    taken["accepted"].as_array().is_some_and(|new| !new.is_empty()) || taken["duplicates"].as_u64() > Some(0)
}

/// The versions of files that the ledger holds, with their paths in the inbox.
pub(super) async fn scored_files(ledger: &Ledger, place: &Place) -> Result<HashMap<String, PathBuf>, Error> {
    let mut files = HashMap::new();
    let each = |scoring: Scoring| {
        if scoring.blob.container == place.container && scoring.blob.account == place.account {
            files.insert(scoring.blob.etag, PathBuf::from(scoring.blob.path));
        }
        true
    };
    ledger.scorings(each).await.map_err(Error::LedgerRead)?;
    Ok(files)
}
