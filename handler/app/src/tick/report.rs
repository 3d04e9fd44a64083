//! What a tick did, for its answer, the log and the heartbeat.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lifecycle::ScoringId;
use serde::Serialize;

use crate::error::{Error, error_chain};

/// What a tick did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TickReport {
    /// Scorings that were not final when they were read.
    pub in_flight: usize,
    /// How many of them something was due for.
    pub due: usize,
    /// How many are in another status afterwards.
    pub moved: usize,
    /// Uploads and renamed folders that waited for a look at the storage.
    pub pending: usize,
    /// Scorings that came of such looks.
    pub taken_in: usize,
    /// Jobs found that no scoring needs; they were told to stop unless they had ended.
    pub orphaned_jobs: usize,
    /// How many could not be brought further for an error; the next tick tries again.
    pub errors: usize,
    /// Slots freed whose owners were gone.
    pub slots_freed: usize,
    /// Instances written to the Durable-shaped tables.
    pub projected: usize,
    /// Final scorings removed after their retention.
    pub purged: usize,
    /// Whether everything due was done before the deadline.
    pub complete: bool,
}

/// What a tick did so far; counted by all that work for it at one time.
#[derive(Default)]
pub(super) struct Counts {
    due: AtomicUsize,
    moved: AtomicUsize,
    errors: AtomicUsize,
    late: AtomicBool,
}

impl Counts {
    /// Something was due for a scoring, and was begun.
    pub(super) fn due(&self) {
        self.due.fetch_add(1, Ordering::Relaxed);
    }

    /// A scoring is in another status than it was when it was read.
    pub(super) fn moved(&self) {
        self.moved.fetch_add(1, Ordering::Relaxed);
    }

    /// Something could not be done, and is tried again by the next tick.
    pub(super) fn errors(&self, count: usize) {
        self.errors.fetch_add(count, Ordering::Relaxed);
    }

    /// A scoring could not be brought further.
    pub(super) fn failed(&self, id: &ScoringId, error: &Error) {
        self.errors(1);
        tracing::warn!(scoring = %id, error = %error_chain(error), "scoring {id} made no progress");
    }

    /// Something that is due is left for the next tick.
    pub(super) fn late(&self) {
        self.late.store(true, Ordering::Relaxed);
    }

    /// Puts what was counted into the report. `in_time`: the deadline was kept.
    pub(super) fn report(self, report: &mut TickReport, in_time: bool) {
        report.due = self.due.into_inner();
        report.moved = self.moved.into_inner();
        report.errors = self.errors.into_inner();
        report.complete = in_time && !self.late.into_inner();
    }
}
