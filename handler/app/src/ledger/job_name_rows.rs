//! Rows of names of jobs for which a scoring's own row has no room; see `job_names.rs`.

use lifecycle::Scoring;
use lifecycle::id::JobName;

use super::rows::{self, MAX_IN_ROW};
use crate::ports::table_store::{Entity, Key, Op};

/// Column of such a row.
pub(super) const NAMES: &str = "JobNames";

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
