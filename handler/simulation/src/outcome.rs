//! What a run was like.

use std::collections::BTreeMap;

use time::Duration;

use crate::invariants::Violation;

/// What a run was like.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The first promise that was broken, if one was.
    pub violation: Option<Violation>,
    /// Writes to tables, requests and requests to stop that took place.
    pub effects: u64,
    /// Requests for jobs that were sent to the endpoint.
    pub posts: u64,
    /// Jobs that the endpoint made.
    pub jobs: usize,
    /// Scorings in the ledgers of all installations, at the end.
    pub scorings: usize,
    /// Faults that the dice dealt out.
    pub injected_faults: u64,
    /// How often each row of [`lifecycle::TRANSITIONS`] was taken.
    pub taken: Vec<u64>,
    /// What became of each scoring: its status, attempt and job, by its name.
    pub ends: BTreeMap<String, String>,
    /// What each published path has held, the oldest first, as its readers may have seen it: the sequencer of the version whose result
    /// it was; `None` of somebody else's, and where no event told of the version.
    pub published: BTreeMap<String, Vec<Option<String>>>,
    /// When each scoring that is scored was, since the beginning, by its name.
    pub scored: BTreeMap<String, Duration>,
    /// The same for the same run; two runs that differ have another with near certainty.
    pub fingerprint: u64,
    /// What happened, line by line, if it was to be told; of the violated scoring if there is one.
    pub trace: Vec<String>,
}
