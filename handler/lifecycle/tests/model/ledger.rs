//! The ledger, abstracted: one transaction over a scoring's rows with compare-and-swap, and one slot.
//!
//! What `handler/src/ledger` does with table operations is one step here: `record`, `accept` and `project_one` write what
//! these functions write. That the tables do it in one step is the ledger's own tests' business.

use std::sync::Arc;

use lifecycle::{Effect, Scoring, Status};

use crate::state::{Broken, Hold, RequestState, Rows, SlotRow, State, Write, number_of};
use crate::world::{RemovedGuard, World};

impl State {
    /// One transaction: it is done if the row is still the one that was read.
    pub(crate) fn apply(&mut self, world: &World, write: &Write) -> bool {
        if self.op_of(write.of) != write.from
            && (write.from.is_none() || world.removed_guard != RemovedGuard::NoCompareAndSwap)
        {
            return false;
        }
        let next = &write.next;
        self.judge(write);
        let done = next.status.is_terminal();
        let projected = self.rows[write.of].as_ref().map_or((0, 0), |rows| rows.projected);
        self.rows[write.of] = Some(Rows {
            scoring: Arc::clone(next),
            op: write.op,
            in_flight: !done,
            terminal: done,
            history: next.version,
            outbox: world.projection.then_some(write.op),
            projected,
        });
        true
    }

    /// The rules for a transaction, told from what it replaces.
    fn judge(&mut self, write: &Write) {
        let (of, next) = (write.of, Arc::clone(&write.next));
        let before = self.rows[of].as_ref().map(|rows| (Arc::clone(&rows.scoring), rows.history));
        if let Some((row, history)) = &before {
            if row.status.is_terminal() && next.status != row.status && row.status != Status::Gone {
                self.broke(Broken::LeftFinal);
            }
            if next.version != row.version + 1 || write.history != *history {
                self.broke(Broken::Gap);
            }
            if next.id != row.id {
                self.broke(Broken::TwoRows);
            }
        }
        if next.status == Status::Scored && !self.output_of(of, next.attempt) {
            self.broke(Broken::ScoredWithoutOutput);
        }
        if let Some(job) = &next.job {
            let adopted = (of, next.attempt, number_of(job));
            if !self.adopted.contains(&adopted) {
                self.adopted.push(adopted);
                self.adopted.sort_unstable();
            }
        }
        if write.effect == Effect::Submit {
            self.intend(of, &next, before.map_or(0, |(row, _)| row.attempt));
            self.intents.push(write.op);
        }
    }

    fn intend(&mut self, of: usize, next: &Scoring, attempt_before: u32) {
        let (attempt, path) = (next.attempt, next.output_uri().unwrap_or_default());
        if self.paths.iter().any(|(o, a, p)| ((*o, *a) == (of, attempt)) != (**p == *path)) {
            self.broke(Broken::PathsMixed);
        }
        if !self.paths.iter().any(|(o, a, _)| (*o, *a) == (of, attempt)) {
            self.paths.push((of, attempt, path.into()));
        }
        let under_way = |made: &crate::state::Made| {
            made.of == of && made.attempt < attempt && !made.late && made.now == RequestState::Active
        };
        let failed_for_good =
            |made: &crate::state::Made| made.of == of && made.now == RequestState::UserError && !made.late;
        if attempt > attempt_before && self.jobs.iter().any(failed_for_good) {
            self.broke(Broken::UserErrorRepeated);
        }
        if attempt > attempt_before && self.jobs.iter().any(under_way) {
            self.broke(Broken::AttemptsOverlap);
        }
    }

    /// Inserts the slot's row; `None`: it is there.
    pub(crate) fn insert_slot(&mut self, of: usize, version: i64, claimed: time::OffsetDateTime) -> Option<Hold> {
        if self.slot.is_some() {
            return None;
        }
        let etag = self.op();
        self.slot = Some(SlotRow { owner: of, version, claimed, etag });
        Some(Hold { etag, fresh: true, claimed })
    }

    /// Writes the slot's row anew, if it is still of this version.
    pub(crate) fn renew_slot(
        &mut self,
        of: usize,
        version: i64,
        claimed: time::OffsetDateTime,
        etag: u32,
    ) -> Option<Hold> {
        let before = self.slot.filter(|slot| slot.etag == etag)?;
        let etag = self.op();
        self.slot = Some(SlotRow { owner: of, version: version.max(before.version), claimed, etag });
        Some(Hold { etag, fresh: false, claimed })
    }

    /// Deletes the slot's row, if it is still of this version.
    pub(crate) fn free_slot(&mut self, world: &World, etag: u32) {
        if self.holds(etag) || world.removed_guard == RemovedGuard::SlotFreedByNumber {
            self.slot = None;
        }
    }
}
