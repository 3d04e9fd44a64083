//! Names of jobs for which a scoring's row has no room.
//!
//! A scoring remembers the former and the orphaned jobs that it had: what it does not know by name would be adopted, followed
//! or counted once more. Its row `J~` takes [`MAX_JOB_NAMES_IN_ROW`] of each; the others are in rows `N~`, written in the transaction
//! of the move that brought them and never again, several names to a row. `J~` says how many there are, so that a scoring
//! without any, as nearly all are, costs no further read.

use lifecycle::id::JobName;
use lifecycle::{Scoring, ScoringId};

use super::rows::{self, MAX_JOB_NAMES_IN_ROW, Reader, Unreadable};
use crate::ports::table_store::{Entity, Key, Op, Range};

/// Column of such a row.
const NAMES: &str = "JobNames";

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

/// The rows that a move adds.
pub(super) fn added(before: &Scoring, next: &Scoring) -> Vec<Op> {
    let mut ops = Vec::new();
    for kind in [Kind::Former, Kind::Orphaned] {
        // Both lists only grow at their end.
        let from = kind.names(before).len().max(MAX_JOB_NAMES_IN_ROW);
        let new = kind.names(next).get(from..).unwrap_or_default();
        ops.extend(new.chunks(MAX_JOB_NAMES_IN_ROW).enumerate().map(|(nth, names)| {
            let row = format!("N~{}~{:08X}~{}{nth:02X}", next.id, next.version, kind.letter());
            let names = rows::list(names).unwrap_or_default(); // a chunk is not empty
            let row = Entity::new(Key::new(rows::partition_of(&next.id), row)).with("SchemaVersion", rows::SCHEMA);
            Op::Insert(row.with(NAMES, names))
        }));
    }
    ops
}

/// Where such rows of a scoring stand.
pub(super) fn range(id: &ScoringId) -> Range {
    Range::of_prefix(rows::partition_of(id), &format!("N~{id}~"))
}

/// Adds the names of such a row to its scoring.
pub(super) fn add(scoring: &mut Scoring, row: &Entity) -> Result<(), Unreadable> {
    let read = Reader(row);
    read.schema()?;
    let names: Vec<JobName> = read.list(NAMES)?;
    match row.key.row.rsplit('~').next().and_then(|last| last.chars().next()) {
        Some('f') => scoring.previous_jobs.extend(names),
        Some('o') => scoring.orphaned_jobs.extend(names),
        _ => return Err(read.wrong("the key does not tell of which jobs".to_owned())),
    }
    Ok(())
}
