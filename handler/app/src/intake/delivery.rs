//! A delivery that was taken in, and what of it is on record to be sent.

use futures::{StreamExt as _, stream};
use serde::Serialize;

use crate::driver::{Driver, Intent};

/// Scorings of one delivery, or intents of one invocation, that are worked on at one time.
pub(super) const MAX_CONCURRENT_SCORINGS: usize = 16;

/// What became of a delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// Scorings that are new in the ledger.
    pub accepted: Vec<AcceptedScoring>,
    /// Events that were in the ledger already.
    pub duplicates: usize,
    /// Uploads and renamed folders that wait for a look at the storage.
    pub pending: usize,
    /// Events that no rule wants.
    pub skipped: usize,
    /// Events that could not be read and are kept for people to look at.
    pub quarantined: usize,
}

/// A scoring that is new in the ledger, as the answer to a delivery names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AcceptedScoring {
    /// The scoring's id: 32 hex digits.
    pub id: String,
    /// Id of the rule that wants the version, or of its shadow.
    pub rule: String,
}

/// A delivery that is in the ledger, durably. What of it may be sent at once is sent by [`Delivery::submit`]; if nobody
/// awaits that, the reconcile runs do it later.
#[must_use = "what is on record to be sent waits for the end of its lease unless `submit` is awaited"]
pub struct Delivery {
    /// What became of its events.
    pub accepted: Accepted,
    pub(super) submissions: Submissions,
}

impl Delivery {
    /// Sends what found a free slot, and records the answers. Has no error: what is not finished here, the tick finishes.
    pub async fn submit(self) {
        self.submissions.send().await;
    }

    /// The two apart, for those who answer in between, or not at all.
    pub fn into_parts(self) -> (Accepted, Submissions) {
        (self.accepted, self.submissions)
    }
}

/// What of a delivery is on record to be sent.
#[must_use = "what is on record to be sent waits for the end of its lease unless `send` is awaited"]
pub struct Submissions {
    driver: Driver,
    intents: Vec<Intent>,
}

impl Submissions {
    pub(crate) fn of(driver: &Driver, intents: Vec<Intent>) -> Self {
        Self { driver: driver.clone(), intents }
    }

    /// How many scorings found a free slot.
    pub fn len(&self) -> usize {
        self.intents.len()
    }

    /// No scoring found a free slot.
    pub fn is_empty(&self) -> bool {
        self.intents.is_empty()
    }

    /// Sends them, and records the answers. Has no error: what is not finished here, the tick finishes.
    pub async fn send(self) {
        let Self { driver, mut intents } = self;
        if intents.len() <= 1 {
            if let Some(intent) = intents.pop() {
                Box::pin(driver.carry_out(intent)).await;
            }
            return;
        }
        let each =
            stream::iter(intents).for_each_concurrent(MAX_CONCURRENT_SCORINGS, |intent| driver.carry_out(intent));
        each.await;
    }
}
