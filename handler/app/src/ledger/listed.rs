//! The list index `L~{time}~{id}`: one immutable row for each scoring, the newest first, so that a page of a list costs the same
//! however many there are.
//!
//! It is written with the scoring and removed with it. It holds what a list filters by and nothing that changes.

use lifecycle::Status;

use super::index_rows::{LISTED, Listed, Place, from_listed_row};
use super::merged::{IndexRange, Merged};
use super::rows::{self, Terminal, Unreadable};
use super::{Error, Ledger};

/// Scorings by the time of their acceptance, the newest first.
pub struct NewestScorings<'a>(Merged<'a>);

impl NewestScorings<'_> {
    /// The next one; a row that cannot be read is told in its place.
    pub async fn next(&mut self) -> Result<Option<Result<Listed, Unreadable>>, Error> {
        Ok(self.0.next().await?.map(|row| from_listed_row(&row)))
    }
}

/// Final scorings by the hour of their end, the newest first.
pub struct NewestEnds<'a> {
    rows: Merged<'a>,
    statuses: Vec<Status>,
}

impl NewestEnds<'_> {
    /// The next one that ended so, with its place.
    pub async fn next(&mut self) -> Result<Option<Result<(Terminal, Place), Unreadable>>, Error> {
        while let Some(row) = self.rows.next().await? {
            match rows::from_terminal_row(&row) {
                Ok(end) if !self.statuses.contains(&end.status) => {}
                read => return Ok(Some(read.map(|end| (end, Place(row.key.row))))),
            }
        }
        Ok(None)
    }
}

impl Ledger {
    /// All scorings, the newest first, from behind `after`. `about`: how many will be taken.
    pub fn newest(&self, after: Option<&Place>, about: usize) -> NewestScorings<'_> {
        let range = IndexRange::of_prefix(LISTED);
        let range = after.filter(|place| place.0.starts_with(LISTED)).map_or(range.clone(), |at| range.after(&at.0));
        NewestScorings(Merged::new(self, &range, about))
    }

    /// Scorings that ended in one of these statuses, the newest hour first, from behind `after`.
    pub fn newest_ends(&self, statuses: &[Status], after: Option<&Place>, about: usize) -> NewestEnds<'_> {
        let range = IndexRange::of_prefix(rows::TERMINAL);
        let of_it = after.filter(|place| place.0.starts_with(rows::TERMINAL));
        let range = of_it.map_or(range.clone(), |at| range.after(&at.0));
        NewestEnds { rows: Merged::new(self, &range, about), statuses: statuses.to_vec() }
    }
}
