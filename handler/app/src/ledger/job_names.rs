//! Names of jobs for which a scoring's row has no room.
//!
//! A scoring remembers the former and the orphaned jobs that it had: what it does not know by name would be adopted, followed
//! or counted once more. Its row `J~` takes [`MAX_IN_ROW`] of each; the others are in rows `N~`, written in the transaction
//! of the move that brought them and never again, several names to a row. `J~` says how many there are, so that a scoring
//! without any, as nearly all are, costs no further read.

use lifecycle::id::JobName;
use lifecycle::{Scoring, ScoringId};

use super::rows::{self, Reader};
use super::{Error, Ledger};
use crate::ports::table_store::{Entity, IfMatch, Key, Op, Range};

/// Names of each list in the scoring's row, and in one further row: of 260 bytes each they fill a third of a property.
const MAX_IN_ROW: usize = 40;
/// Column of the scoring's row: how many names are in rows of their own.
pub(super) const FURTHER: &str = "FurtherJobNames";
/// Column of such a row.
const NAMES: &str = "JobNames";
/// Operations of one transaction, by the Table service.
const MAX_OPS: usize = 100;

/// What a list of names is of, as it stands in keys.
#[derive(Clone, Copy)]
enum Kind {
    Former,
    Orphaned,
}

impl Kind {
    fn letter(self) -> char {
        match self {
            Self::Former => 'f',
            Self::Orphaned => 'o',
        }
    }

    fn names(self, scoring: &Scoring) -> &[JobName] {
        match self {
            Self::Former => &scoring.previous_jobs,
            Self::Orphaned => &scoring.orphaned_jobs,
        }
    }
}

/// The names that the scoring's row takes.
pub(super) fn in_row(names: &[JobName]) -> &[JobName] {
    &names[..names.len().min(MAX_IN_ROW)]
}

/// How many names it does not take; `None` if it takes all.
pub(super) fn further(scoring: &Scoring) -> Option<u32> {
    let beyond = |kind: Kind| kind.names(scoring).len().saturating_sub(MAX_IN_ROW);
    let further = beyond(Kind::Former) + beyond(Kind::Orphaned);
    (further > 0).then(|| u32::try_from(further).unwrap_or(u32::MAX))
}

/// The rows that a move adds.
pub(super) fn added(before: &Scoring, next: &Scoring) -> Vec<Op> {
    let mut ops = Vec::new();
    for kind in [Kind::Former, Kind::Orphaned] {
        // Both lists only grow at their end.
        let from = kind.names(before).len().max(MAX_IN_ROW);
        let new = kind.names(next).get(from..).unwrap_or_default();
        ops.extend(new.chunks(MAX_IN_ROW).enumerate().map(|(nth, names)| {
            let row = format!("N~{}~{:08X}~{}{nth:02X}", next.id, next.version, kind.letter());
            let names = rows::list(names).unwrap_or_default(); // a chunk is not empty
            let row = Entity::new(Key::new(rows::partition_of(&next.id), row)).with("SchemaVersion", rows::SCHEMA);
            Op::Insert(row.with(NAMES, names))
        }));
    }
    ops
}

fn range(id: &ScoringId) -> Range {
    Range::of_prefix(rows::partition_of(id), &format!("N~{id}~"))
}

impl Ledger {
    /// The scoring of a row, with the names of jobs that are in rows of their own.
    pub(super) async fn whole_scoring(&self, row: &Entity) -> Result<Scoring, Error> {
        let mut scoring = rows::from_scoring_row(row)?;
        if row.int32(FURTHER).is_none_or(|further| further == 0) {
            return Ok(scoring);
        }
        for row in self.all(&self.0.state, &range(&scoring.id), usize::MAX).await? {
            let read = Reader(&row.entity);
            read.schema()?;
            let names: Vec<JobName> = read.list(NAMES)?;
            match row.entity.key.row.rsplit('~').next().and_then(|last| last.chars().next()) {
                Some('f') => scoring.previous_jobs.extend(names),
                Some('o') => scoring.orphaned_jobs.extend(names),
                _ => return Err(read.wrong("the key does not tell of which jobs".to_owned()).into()),
            }
        }
        Ok(scoring)
    }

    /// Removes them, before the scoring goes.
    pub(super) async fn purge_job_names(&self, id: &ScoringId) -> Result<(), Error> {
        let rows = self.all(&self.0.state, &range(id), usize::MAX).await?;
        let deletes: Vec<Op> = rows.into_iter().map(|row| Op::Delete(row.entity.key, IfMatch::Any)).collect();
        for batch in deletes.chunks(MAX_OPS) {
            self.delete(batch).await?;
        }
        Ok(())
    }
}
