//! Names of jobs for which a scoring's row has no room.
//!
//! A scoring remembers the former and the orphaned jobs that it had: what it does not know by name would be adopted, followed
//! or counted once more. Its row `J~` takes [`rows::MAX_IN_ROW`] of each; the others are in rows `N~`, written in the transaction
//! of the move that brought them and never again, several names to a row. `J~` says how many there are, so that a scoring
//! without any, as nearly all are, costs no further read.

use lifecycle::id::JobName;
use lifecycle::{Scoring, ScoringId};

use super::job_name_rows::NAMES;
use super::rows::{self, FURTHER, Reader};
use super::{Error, Ledger};
use crate::ports::table_store::{Entity, IfMatch, Op, Range};

/// Operations of one transaction, by the Table service.
const MAX_OPS: usize = 100;

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
