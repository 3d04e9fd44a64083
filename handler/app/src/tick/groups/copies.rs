//! Removes the copies of groups that nobody needs any more.

use std::collections::BTreeSet;

use lifecycle::ScoringId;
use time::{Duration, OffsetDateTime};

use super::Groups;
use crate::error::error_chain;
use crate::ledger::{self, StagedFolder};
use crate::ports::Inconclusive;
use crate::tick::report::Counts;

/// Copies are removed no earlier than this after their group ended: one whose answer was lost may still arrive.
const REMOVED_AFTER: Duration = Duration::minutes(20);
/// Folders that one tick asks about, of each shard: more than are in use at one time, so that none stands in the way of another.
const MAX_FOLDERS: usize = 1_000;
/// Folders whose copies one tick removes.
const MAX_REMOVED: usize = 320;
/// `stagingLife` of a rule that does not group any more.
const DEFAULT_LIFE: Duration = Duration::days(21);

/// Why copies are there still.
#[derive(Debug, thiserror::Error)]
enum NotRemoved {
    /// Whether they are needed is not known, or that they are gone is not noted.
    #[error("the ledger was not asked or told")]
    Ledger(#[from] ledger::Error),
    /// The storage did not remove them all.
    #[error("the storage did not remove them")]
    Storage(#[from] Inconclusive),
}

impl Groups {
    /// Whether to ask for copies that are left. Where no rule groups that costs nothing but a look an hour, for those of a rule that
    /// did.
    pub(super) fn may_have_copies(&self) -> bool {
        self.rules.iter().any(|rule| rule.group.is_some()) || self.clock.now().minute() == 17
    }

    /// Removes the copies of groups that nobody needs any more, and of those that are older than `stagingLife`.
    pub(super) async fn remove_copies(&self, needed: &BTreeSet<ScoringId>, deadline: OffsetDateTime, counts: &Counts) {
        let now = self.clock.now();
        let folders = match self.ledger.staged_folders(MAX_FOLDERS).await {
            Ok(folders) => folders,
            Err(error) => {
                counts.errors(1);
                tracing::warn!(error = %error_chain(&error), "which copies are left of groups is not known");
                return;
            }
        };
        let mut removed = 0;
        for staged in folders {
            if self.clock.now() >= deadline || removed >= MAX_REMOVED {
                return;
            }
            match self.remove_if_over(&staged, needed, now).await {
                Ok(is_over) => removed += usize::from(is_over),
                Err(why) => {
                    counts.errors(1);
                    tracing::warn!(group = %staged.group, error = %error_chain(&why), "the copies of group {} were not removed", staged.group);
                }
            }
        }
    }

    /// Removes the copies of one group; whether they were to be.
    async fn remove_if_over(
        &self,
        staged: &StagedFolder,
        needed: &BTreeSet<ScoringId>,
        now: OffsetDateTime,
    ) -> Result<bool, NotRemoved> {
        if !self.is_over(staged, needed, now).await? {
            return Ok(false);
        }
        // What is forgotten was found empty: who dies while copies are removed leaves them to the next tick.
        if self.driver.remove_copies(&staged.folder).await? == 0 {
            self.ledger.forget_staged_folder(&staged.group).await?;
        }
        Ok(true)
    }

    /// Whether copies are needed no more, or have been there for `stagingLife`. Counted from the end of their group and not from its
    /// beginning, as a process that was stopped for long may have copied them just before that.
    async fn is_over(
        &self,
        staged: &StagedFolder,
        needed: &BTreeSet<ScoringId>,
        now: OffsetDateTime,
    ) -> Result<bool, ledger::Error> {
        let settings = self.rules.get(&staged.rule).and_then(|rule| rule.group.as_ref());
        if now - staged.since > settings.map_or(DEFAULT_LIFE, |settings| settings.staging_life.0) {
            return Ok(true);
        }
        if needed.contains(&staged.group) || now - staged.since < REMOVED_AFTER {
            return Ok(false);
        }
        let Some((group, _)) = self.ledger.get(&staged.group).await? else { return Ok(true) };
        // Its own row says whether it has ended: that the walk saw nothing of it may be the walk's fault.
        Ok(group.status.is_terminal() && now - group.completed.unwrap_or(group.updated) >= REMOVED_AFTER)
    }
}
