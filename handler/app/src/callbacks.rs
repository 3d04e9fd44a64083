//! Tells those who asked to be told that a scoring has ended: once it has, by a tick, until they have taken it or a day is over.

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use lifecycle::callback::CallbackUri;
use lifecycle::schedule::back_off;
use lifecycle::{Scoring, ScoringId, Status};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::clock::LedgerClock;
use crate::error::error_chain;
use crate::ledger::{self, Callback, Ledger};
use crate::ports::table_store::ETag;
use crate::ports::{CallFailed, CallbackCaller};

/// Those that a tick looks at. Each costs a read while its scoring is in flight.
const MAX_CALLBACKS: usize = 2_000;
/// Calls under way at one time.
const MAX_CONCURRENT_CALLS: usize = 8;
/// After a call that failed; doubled each time.
const FIRST_PAUSE: Duration = Duration::minutes(1);
/// Between two calls at most.
const MAX_PAUSE: Duration = Duration::hours(1);
/// For so long after the end it is tried.
const GIVE_UP: Duration = Duration::days(1);

/// Somebody who wants to be told of a scoring's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallbackToKeep {
    /// The scoring whose end is to be told, which may have come already.
    pub scoring: ScoringId,
    /// Where they want to be told.
    pub uri: CallbackUri,
}

impl CallbackToKeep {
    pub(crate) fn at(self, now: OffsetDateTime) -> Callback {
        Callback { scoring: self.scoring, uri: self.uri, since: now, due: now, failures: 0 }
    }
}

/// Tells those who asked for it, by a POST to the URI that they gave, that their scorings have ended; part of each reconcile run.
pub(crate) struct Callbacks {
    pub(crate) ledger: Ledger,
    pub(crate) clock: LedgerClock,
    pub(crate) caller: Arc<dyn CallbackCaller>,
}

impl Callbacks {
    /// Tells those whose scorings have ended, until `until`. Returns how many failures of the ledger there were.
    pub(crate) async fn run(&self, until: OffsetDateTime) -> usize {
        let due = match self.ledger.callbacks(MAX_CALLBACKS).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(error = %error_chain(&error), "it cannot be read who is to be told of the end of scorings");
                return 1;
            }
        };
        for row in &due.unreadable {
            tracing::error!(error = %row, "a call-back cannot be read: {row}");
        }
        let calls = stream::iter(due).map(async |(callback, etag)| {
            let now = self.clock.now();
            if now >= until || callback.due > now {
                return 0;
            }
            match self.tell(callback, &etag, now).await {
                Ok(()) => 0,
                Err(error) => {
                    tracing::warn!(error = %error_chain(&error), "what became of a call-back was not recorded");
                    1
                }
            }
        });
        calls.buffer_unordered(MAX_CONCURRENT_CALLS).fold(0, async |sum, failed| sum + failed).await
    }

    async fn tell(&self, callback: Callback, etag: &ETag, now: OffsetDateTime) -> Result<(), ledger::Error> {
        let Some((scoring, _)) = self.ledger.get(&callback.scoring).await? else {
            // Older than the retention.
            return self.ledger.remove_callback(etag, &callback).await;
        };
        if !scoring.status.is_terminal() {
            return Ok(());
        }
        let (id, host) = (&scoring.id, callback.uri.host());
        match self.caller.call(&callback.uri, &told(&scoring)).await {
            Ok(()) => {
                tracing::info!(scoring = %id, host, "told {host} that scoring {id} is {}", scoring.status);
                self.ledger.remove_callback(etag, &callback).await
            }
            Err(CallFailed::Refused(why)) => {
                tracing::warn!(scoring = %id, host, reason = why, "{host} is not told of the end of scoring {id}: {why}");
                self.ledger.remove_callback(etag, &callback).await
            }
            Err(CallFailed::NotReached(why)) if now - scoring.completed.unwrap_or(now) >= GIVE_UP => {
                tracing::warn!(scoring = %id, host, reason = why, "{host} was not told of the end of scoring {id} within a day: {why}");
                self.ledger.remove_callback(etag, &callback).await
            }
            Err(CallFailed::NotReached(why)) => {
                tracing::info!(scoring = %id, host, reason = why, "{host} was not told yet of the end of scoring {id}: {why}");
                let due = now + back_off(FIRST_PAUSE, MAX_PAUSE, callback.failures, id);
                let later = Callback { due, failures: callback.failures.saturating_add(1), ..callback };
                self.ledger.put_callback_off(etag, &later).await
            }
        }
    }
}

/// What is told: the id and the status, in the form by which Data Factory's WebHook activity succeeds or fails.
fn told(scoring: &Scoring) -> String {
    let (id, status) = (&scoring.id, scoring.status);
    let output = json!({ "id": id, "status": status.name() });
    let told = if status == Status::Scored {
        json!({ "StatusCode": "200", "Output": output })
    } else {
        let message = format!("scoring {id} is {status}; GET /api/scorings/{id} tells why");
        json!({ "StatusCode": "500", "Output": output, "Error": { "ErrorCode": status.name(), "Message": message } })
    };
    told.to_string()
}
