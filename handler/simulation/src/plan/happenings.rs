//! What a plan is made of: uploads, deliveries, and what happens to inputs and limits.

use serde_json::Value;
use time::Duration;

use crate::account;
use crate::arrivals::Arrival;
use crate::inputs::InputChange;
use crate::uploaded::Uploaded;

/// One blob version that is uploaded, and how it comes to its name.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(super) container: &'static str,
    pub(super) path: String,
    pub(super) etag: String,
    pub(super) arrival: Arrival,
}

impl Upload {
    pub(crate) fn url(&self) -> String {
        account::url(self.container, &self.path)
    }

    /// Event Grid's events about it.
    pub(super) fn events(&self) -> Vec<Value> {
        self.arrival.events(self.container, &self.path, &self.etag)
    }

    /// Puts it where a look finds it.
    pub(crate) fn put(&self, uploaded: &mut Uploaded) {
        self.arrival.put(self.container, &self.path, &self.etag, uploaded);
    }
}

/// Some events that are delivered together, first at some time.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) at: Duration,
    pub(crate) payload: Value,
}

/// What happens to an input at some time.
#[derive(Debug, Clone)]
pub(crate) struct ChangeAt {
    pub(crate) at: Duration,
    pub(crate) url: String,
    pub(crate) change: InputChange,
}

/// What an operator says of a rule's limit at some time; `None` leaves it to the rules again.
#[derive(Debug, Clone)]
pub(crate) struct LimitChange {
    pub(crate) at: Duration,
    pub(crate) rule: String,
    pub(crate) limit: Option<u32>,
}
