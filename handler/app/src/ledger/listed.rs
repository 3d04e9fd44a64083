//! The list index `L~{time}~{id}`: one immutable row for each scoring, the newest first, so that a page of a list costs the same
//! however many there are.
//!
//! It is written with the scoring and removed with it. It holds what a list filters by and nothing that changes.

use time::OffsetDateTime;

use super::index_rows::{LISTED, Listed, Place, from_listed_row};
use super::merged::{IndexRange, Merged};
use super::rows::{self, Unreadable};
use super::{Error, Ledger};

/// Scorings by the time of their acceptance, the newest first.
pub struct NewestScorings<'a>(Merged<'a>);

impl NewestScorings<'_> {
    /// The next one; a row that cannot be read is told in its place.
    pub async fn next(&mut self) -> Result<Option<Result<Listed, Unreadable>>, Error> {
        Ok(self.0.next().await?.map(|row| from_listed_row(&row)))
    }
}

impl Ledger {
    /// All scorings that were accepted before then, at that time at most, the newest first, from behind `after`. `about`: how many
    /// will be taken.
    pub fn newest(&self, before: Option<OffsetDateTime>, after: Option<&Place>, about: usize) -> NewestScorings<'_> {
        let range = IndexRange::of_prefix(LISTED);
        // Behind what is newer: keys of that very time go on behind it.
        let range = before.map_or(range.clone(), |before| range.after(&rows::newest_first(before)));
        let after = after.and_then(|place| place.0.strip_prefix(LISTED));
        let range = after.map_or(range.clone(), |after| range.after(after));
        NewestScorings(Merged::new(self, &[range], about))
    }
}
