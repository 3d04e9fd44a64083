//! Ends other than `scored`, by status: `E~{status}~{hour}~{id}`, the newest hour first, so that a list of what failed reads what
//! failed and nothing of the many that were scored in between; and what failed once more by its cause, `C~{cause}~{hour}~{id}`.
//!
//! The cause is not part of the key by status: a list of all that failed would then be one of each cause, merged, with seven times
//! the queries. A second row is one operation more in the transaction of a failure, and none in that of a success.
//!
//! A row is written with the end of its scoring, in that transaction, and removed with it, by what opens the scoring again and by
//! the retention. `scored` has none: nearly every end is one, and a row for it would be one more for each upload; it is listed by
//! the terminal index (`T~`), as is a list of several statuses with `scored` among them. The rest of a key is as in that index, so
//! that a place in one of them is a place in the other.

use lifecycle::{FailureCause, Status};
use time::OffsetDateTime;

use super::end_rows::{Ended, cause_prefix, end_keys, from_row, from_terminal_row, is_indexed, prefix};
use super::index_rows::Place;
use super::merged::{IndexRange, Merged};
use super::rows::{self, Unreadable};
use super::{Error, Ledger};
use crate::ports::table_store::{IfMatch, Key, Op};

/// Final scorings by the hour of their end, the newest first.
pub struct NewestEnds<'a> {
    rows: Merged<'a>,
    statuses: Vec<Status>,
}

impl NewestEnds<'_> {
    /// The next one that ended so.
    pub async fn next(&mut self) -> Result<Option<Result<Ended, Unreadable>>, Error> {
        while let Some(row) = self.rows.next().await? {
            let is_terminal = row.key.row.starts_with(rows::TERMINAL);
            let read = if is_terminal { from_terminal_row(&row) } else { from_row(&row) };
            match read {
                Ok(end) if !self.statuses.contains(&end.status) => {}
                read => return Ok(Some(read)),
            }
        }
        Ok(None)
    }
}

impl Ledger {
    /// Scorings that ended in one of these statuses in or after the hour of `since`, the newest hour first, from behind `after`; with a
    /// cause only what failed for it. `about`: how many will be taken.
    pub fn newest_ends(
        &self,
        statuses: &[Status],
        cause: Option<FailureCause>,
        since: Option<OffsetDateTime>,
        after: Option<&Place>,
        about: usize,
    ) -> NewestEnds<'_> {
        let prefixes = if let Some(cause) = cause {
            vec![cause_prefix(cause)]
        } else if statuses.iter().all(|status| is_indexed(*status)) {
            statuses.iter().map(|status| prefix(*status)).collect()
        } else {
            vec![rows::TERMINAL.to_owned()]
        };
        let after = after.and_then(|place| place.0.strip_prefix(rows::TERMINAL));
        let ranges = prefixes.into_iter().map(|prefix| {
            let range = IndexRange::of_prefix(&prefix);
            let range = since.map_or(range.clone(), |since| range.through(&rows::newest_hour_first(since)));
            after.map_or(range.clone(), |after| range.after(after))
        });
        let ranges: Vec<_> = ranges.collect();
        NewestEnds { rows: Merged::new(self, &ranges, about), statuses: statuses.to_vec() }
    }
}

impl Ledger {
    /// Removes the rows beside that of the terminal index that are there: what ended before these indexes were kept has none, and a
    /// transaction that deletes what is not there is refused.
    pub(super) async fn ends_removed(&self, status: Status, terminal: &Key) -> Result<Vec<Op>, Error> {
        let Some(by_status) = end_keys(status, None, terminal).pop() else { return Ok(Vec::new()) };
        let Some(row) = self.row(&by_status).await? else { return Ok(Vec::new()) };
        let mut removed = vec![Op::Delete(by_status, IfMatch::Any)];
        // The two rows were written together: this one tells of the other.
        let cause = row.entity.string("FailureCause").and_then(|name| name.parse().ok());
        for key in end_keys(status, cause, terminal).into_iter().skip(1) {
            removed.extend(self.row(&key).await?.map(|_| Op::Delete(key, IfMatch::Any)));
        }
        Ok(removed)
    }
}
