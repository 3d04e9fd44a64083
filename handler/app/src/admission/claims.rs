//! What was claimed for a submission, and who may give it back.

use lifecycle::Scoring;
use lifecycle::breaker::{BreakerEvent, BreakerSubject};
use time::OffsetDateTime;

use crate::ledger::{MAX_CLAIM_AGE, Slot, SubmitPermit};

/// What was claimed for a submission.
#[derive(Default)]
#[must_use = "release the claims, or a reconcile run has to free them"]
pub(crate) struct Claims {
    pub(super) slots: Vec<Slot>,
    pub(super) submit: Option<SubmitPermit>,
    /// The breakers that it was made the probe of, with what gives that place back.
    pub(super) probes: Vec<(BreakerSubject, BreakerEvent)>,
    /// When the first slot was claimed; `None` while nothing is held that others may take for left behind.
    pub(super) claimed: Option<OffsetDateTime>,
}

impl Claims {
    /// Neither a slot, a permit to submit nor a probe's place is held: there is nothing to release.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.submit.is_none() && self.probes.is_empty()
    }

    /// After a lost race: the slots stay if the scoring, as it is now, holds some. It may have got them by our own write,
    /// whose answer came so late that somebody else had moved it on. What nobody needs the tick frees.
    pub(crate) fn leave_to(&mut self, present: Option<&Scoring>) {
        if present.is_some_and(Scoring::holds_slot) {
            self.slots.clear();
            self.probes.clear();
        }
    }

    /// The claims are so old that others may take them for left behind. Nothing may be recorded on them.
    pub(crate) fn is_stale(&self, now: OffsetDateTime) -> bool {
        self.claimed.is_some_and(|at| now - at > MAX_CLAIM_AGE)
    }
}
