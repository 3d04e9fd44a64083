//! What has the same reason, told once.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::MAX_OF_KIND;
use crate::ledger::InFlight;
use crate::reports::text::counted;

/// Characters of a reason by which findings are one.
const SAME_REASON: usize = 100;

/// Rows with equal reasons, the most frequent first.
pub(super) struct ByReason<K>(BTreeMap<(K, String), SameReason>);

/// Those that have one reason.
pub(super) struct SameReason {
    /// What it is one of: the same for equal reasons.
    pub(super) same: String,
    /// Ids of the rows that have it, in the order in which they were added.
    pub(super) of: Vec<String>,
    /// How many rows have it: never fewer than one.
    pub(super) count: usize,
    /// How many of these are groups.
    pub(super) groups: usize,
    /// Since when the first of them has it.
    pub(super) since: OffsetDateTime,
    /// As the first of them has it.
    pub(super) reason: String,
}

impl SameReason {
    /// How many, and as what, if some are groups.
    pub(super) fn counted(&self) -> String {
        counted(self.count, self.groups)
    }
}

impl<K: Ord + Clone> ByReason<K> {
    pub(super) fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub(super) fn add(&mut self, key: K, id: &str, reason: &str, since: OffsetDateTime) -> &mut SameReason {
        // Ids, times, counts and names of blobs differ from one to the next.
        let same = |c: char| if c.is_ascii_digit() { '0' } else { c };
        let without_names: Vec<&str> =
            reason.split('`').map(|part| if part.contains('/') && !part.contains(' ') { "/" } else { part }).collect();
        let same: String = without_names.join("`").chars().take(SAME_REASON).map(same).collect();
        let new =
            || SameReason { same: same.clone(), of: Vec::new(), count: 0, groups: 0, since, reason: reason.to_owned() };
        let group = self.0.entry((key, same.clone())).or_insert_with(new);
        group.of.push(id.to_owned());
        group.count += 1;
        group.since = group.since.min(since);
        group
    }

    /// The same of a row that may be of a group.
    pub(super) fn add_row(&mut self, key: K, row: &InFlight, reason: &str, since: OffsetDateTime) {
        let one = self.add(key, row.id.as_str(), reason, since);
        one.groups += usize::from(row.is_group());
    }

    pub(super) fn most_frequent(self) -> impl Iterator<Item = (K, SameReason)> {
        let mut all: Vec<_> = self.0.into_iter().map(|((key, _), group)| (key, group)).collect();
        all.sort_by_key(|(_, group)| std::cmp::Reverse(group.count));
        all.into_iter().take(MAX_OF_KIND)
    }
}
