//! Lists of scorings: by an index, a page at a time, whatever the ledger's size.
//!
//! What an index has in its order, statuses, causes and times, a page finds at once. What else is asked, a rule, a prefix, an endpoint,
//! is looked for along that order, and a page ends when it has looked at [`MAX_LOOKED`] rows, full or not: it says how far back it
//! came, and the next one goes on there. Rejected: an index for each of these, as each would be one row more of every upload, for
//! lists that few ask for; and to look until the page is full, which over a million scorings is seconds for nothing.

use futures::{StreamExt as _, stream};
use lifecycle::{Scoring, ScoringId, Status};
use serde::Serialize;
use serde::ser::{SerializeSeq as _, Serializer};
use time::{Duration, OffsetDateTime};

use super::filter::{Filter, IdBeginning, WithGroups};
use super::scorings::{ScoringView, UnreadableView};
use crate::ledger::{self, Ledger, Place};

/// Rows that are read at one time.
const MAX_CONCURRENT_READS: usize = 16;
/// Rows that are read before it is asked which of them are wanted.
const CHUNK: usize = 64;
/// Rows of an index that one page looks at.
pub const MAX_LOOKED: usize = 5_000;
/// Scorings whose ids may begin as that of a group does that is asked for.
const MAX_NAMED: usize = 1_000;
/// Rows of an index that take as long as the row of one scoring.
const SCORING: usize = 10;

/// What a list shows: scorings, and the rows in their places that cannot be read: nobody knows whether they pass the filter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Newest {
    /// The newest scorings that pass the filter.
    pub scorings: Vec<ScoringView>,
    /// Every row that was met, should be a scoring and cannot be read.
    pub unreadable: Vec<UnreadableView>,
    /// Where the next page begins; `None`: there are no more.
    pub next: Option<Place>,
    /// How far back was looked, if that was all that a page looks at and not all that was wanted.
    pub looked_back_to: Option<OffsetDateTime>,
    /// Groups whose ids begin as is asked, if there are several: of none of them the members are listed.
    pub several_groups: Vec<ScoringView>,
}

/// One list, as scripts see it.
impl Serialize for Newest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.scorings.len() + self.unreadable.len()))?;
        self.scorings.iter().try_for_each(|scoring| list.serialize_element(scoring))?;
        self.unreadable.iter().try_for_each(|row| list.serialize_element(row))?;
        list.end()
    }
}

/// The newest scorings that pass the filter, of as many pages, one after another, until as many as are wanted are found.
pub async fn newest_of_pages(
    ledger: &Ledger,
    filter: &Filter,
    pages: usize,
    mut progress: impl FnMut(),
) -> Result<Newest, ledger::Error> {
    let (mut all, mut filter) = (Newest::default(), filter.clone());
    for _ in 0..pages {
        let Newest { scorings, unreadable, next, looked_back_to, several_groups } =
            newest(ledger, &filter, &mut progress).await?;
        filter.limit = filter.limit.saturating_sub(scorings.len());
        all.scorings.extend(scorings);
        all.unreadable.extend(unreadable);
        (all.next, all.looked_back_to, all.several_groups) = (next, looked_back_to, several_groups);
        if filter.limit == 0 || all.next.is_none() {
            break;
        }
        filter.after.clone_from(&all.next);
    }
    Ok(all)
}

/// One page of the newest scorings that pass the filter; `progress` is called for each row of an index that is read.
///
/// By status, those in flight come first, then final ones by the hour of their end; else all by the time of their acceptance.
pub async fn newest(ledger: &Ledger, filter: &Filter, mut progress: impl FnMut()) -> Result<Newest, ledger::Error> {
    let mut page = Page { ledger, filter, found: Newest::default(), chunk: Vec::new(), looked: 0 };
    if filter.limit == 0 {
        return Ok(page.found);
    }
    if let Some(group) = &filter.group {
        page.members(group).await?;
        return Ok(page.found);
    }
    if filter.statuses().is_empty() {
        page.all(&mut progress).await?;
        return Ok(page.found);
    }
    let behind_ends = filter.after.as_ref().is_some_and(Place::is_of_ends);
    let (ended, in_flight): (Vec<_>, Vec<_>) = filter.statuses().iter().partition(|status| status.is_terminal());
    if !behind_ends && !in_flight.is_empty() && page.in_flight(&in_flight, &mut progress).await? {
        return Ok(page.found);
    }
    // No index of ends has groups.
    if !ended.is_empty() && filter.groups != WithGroups::Only {
        page.ended(&ended, &mut progress).await?;
    }
    Ok(page.found)
}

/// A page that is being filled.
struct Page<'a> {
    ledger: &'a Ledger,
    filter: &'a Filter,
    found: Newest,
    /// Scorings to be read, with their places.
    chunk: Vec<(ScoringId, Place)>,
    /// Rows of an index that were looked at, or what took as long.
    looked: usize,
}

impl Page<'_> {
    /// Those that a group was sealed with: a thousand at most, so that they are read and not looked for in an index.
    async fn members(&mut self, group: &IdBeginning) -> Result<(), ledger::Error> {
        let mut found = self.ledger.of_id(group.as_str(), MAX_NAMED).await?;
        found.read.retain(Scoring::is_group);
        if found.read.len() > 1 {
            self.found.several_groups = found.read.into_iter().map(Into::into).collect();
            return Ok(());
        }
        let Some(group) = found.read.first().and_then(Scoring::group) else {
            self.found.unreadable.extend(found.unreadable.into_iter().map(Into::into));
            return Ok(());
        };
        let (ledger, mut wanted) = (self.ledger, Vec::new());
        let reads: Vec<_> = group.members.iter().map(|member| ledger.get(&member.id)).collect();
        let mut reads = stream::iter(reads).buffered(MAX_CONCURRENT_READS);
        while let Some(read) = reads.next().await {
            match read {
                Ok(Some((scoring, _))) if self.filter.wants_scoring(&scoring) => {
                    wanted.push((Place::of(&scoring.id, scoring.created), scoring));
                }
                Ok(_) => {}
                Err(ledger::Error::Unreadable(row)) => self.found.unreadable.push(row.into()),
                Err(error) => return Err(error),
            }
        }
        wanted.retain(|(place, _)| self.filter.after.as_ref().is_none_or(|after| place > after));
        wanted.sort_by(|(a, _), (b, _)| a.cmp(b));
        if wanted.len() > self.filter.limit {
            wanted.truncate(self.filter.limit);
            self.found.next = wanted.last().map(|(place, _)| place.clone());
        }
        let shown = |(place, scoring): (Place, Scoring)| ScoringView {
            cursor: Some(place.as_str().to_owned()),
            ..scoring.into()
        };
        self.found.scorings.extend(wanted.into_iter().map(shown));
        Ok(())
    }

    async fn all(&mut self, progress: &mut impl FnMut()) -> Result<(), ledger::Error> {
        let mut index = self.ledger.newest(self.filter.before, self.filter.after.as_ref(), self.filter.limit);
        while let Some(row) = index.next().await? {
            progress();
            let mut place = None;
            match row {
                Err(row) => self.found.unreadable.push(row.into()),
                Ok(row) => {
                    if self.filter.since.is_some_and(|since| row.created < since) {
                        break;
                    }
                    place = Some(row.place.clone());
                    if self.filter.may_want(&(&row).into()) {
                        self.chunk.push((row.id, row.place));
                    }
                }
            }
            if self.is_full().await? || self.has_looked_enough(place).await? {
                return Ok(());
            }
        }
        self.read_chunk().await
    }

    /// Returns whether the page is full.
    async fn in_flight(&mut self, statuses: &[Status], progress: &mut impl FnMut()) -> Result<bool, ledger::Error> {
        let rows = self.ledger.in_flight().await?;
        self.found.unreadable.extend(rows.unreadable.iter().cloned().map(Into::into));
        let wanted = rows.iter().inspect(|_| progress());
        let wanted = wanted.filter(|row| {
            let is_wanted = self.filter.groups.wants(row.is_group()) && statuses.contains(&row.status);
            is_wanted && self.filter.may_want(&(*row).into())
        });
        let mut places: Vec<_> = wanted.map(|row| (Place::of(&row.id, row.created), row.id.clone())).collect();
        places.sort();
        let after = self.filter.after.as_ref();
        for (place, id) in places.into_iter().filter(|(place, _)| after.is_none_or(|after| place > after)) {
            self.chunk.push((id, place));
            if self.is_full().await? {
                return Ok(true);
            }
        }
        self.read_chunk().await?;
        Ok(self.found.scorings.len() >= self.filter.limit)
    }

    async fn ended(&mut self, statuses: &[Status], progress: &mut impl FnMut()) -> Result<(), ledger::Error> {
        let after = self.filter.after.as_ref();
        // What was accepted since then ended since then, by clocks that differ less than an hour.
        let since = self.filter.since.map(|since| since.saturating_sub(Duration::HOUR));
        let mut index = self.ledger.newest_ends(statuses, self.filter.cause, since, after, self.filter.limit);
        while let Some(row) = index.next().await? {
            progress();
            let mut place = None;
            match row {
                Err(row) => self.found.unreadable.push(row.into()),
                Ok(end) => {
                    place = Some(end.place.clone());
                    if self.filter.may_want(&(&end).into()) {
                        self.chunk.push((end.id, end.place));
                    }
                }
            }
            if self.is_full().await? || self.has_looked_enough(place).await? {
                return Ok(());
            }
        }
        self.read_chunk().await
    }

    /// Counts a row that was looked at, and ends the page behind it if that was the last one that it looks at.
    async fn has_looked_enough(&mut self, place: Option<Place>) -> Result<bool, ledger::Error> {
        self.looked += 1;
        let Some(place) = place.filter(|_| self.looked >= MAX_LOOKED) else { return Ok(false) };
        self.read_chunk().await?;
        if self.found.next.is_none() {
            self.found.looked_back_to = place.time();
            self.found.next = Some(place);
        }
        Ok(true)
    }

    /// Whether the page has all that it may have, if what is to be read is read.
    async fn is_full(&mut self) -> Result<bool, ledger::Error> {
        let left = self.filter.limit.saturating_sub(self.found.scorings.len());
        if self.chunk.len() >= left.min(CHUNK) {
            self.read_chunk().await?;
        }
        Ok(self.found.scorings.len() >= self.filter.limit)
    }

    async fn read_chunk(&mut self) -> Result<(), ledger::Error> {
        let ledger = self.ledger;
        let reads: Vec<_> =
            self.chunk.drain(..).map(|(id, place)| async move { (ledger.get(&id).await, place) }).collect();
        let mut reads = stream::iter(reads).buffered(MAX_CONCURRENT_READS);
        while let Some((read, place)) = reads.next().await {
            match read {
                Ok(Some((scoring, _))) if self.filter.wants_scoring(&scoring) => {
                    let cursor = Some(place.as_str().to_owned());
                    self.found.scorings.push(ScoringView { cursor, ..scoring.into() });
                }
                // The index tells less than is asked; or it moved on or was removed since that was read.
                Ok(_) => self.looked += SCORING,
                Err(ledger::Error::Unreadable(row)) => self.found.unreadable.push(row.into()),
                Err(error) => return Err(error),
            }
            if self.found.scorings.len() >= self.filter.limit {
                self.found.next = Some(place);
            }
        }
        Ok(())
    }
}
