//! Uploads whose index tags decide: a rule of their own that asks for them, and people who change them between two looks.
//!
//! No event tells of tags. What a rule wants by them is seen or not, whenever the look is made, so only some ends are certain: what
//! always had the tags that are wanted is scored, and what never had them is not. Who changes tags does so before the end of
//! all faults, and to tags that nobody wants: an event that is delivered again then makes no new upload of it.

use std::collections::BTreeMap;

use lifecycle::pending::IndexTags;
use lifecycle::{BlobSnapshot, UnversionedBlob};
use serde_json::{Value, json};
use time::Duration;

use crate::account;
use crate::arrivals::{self, SIZE};
use crate::executor::Rng;
use crate::faults::{Dice, Kind};
use crate::uploaded::Uploaded;

/// The container of its own.
const CONTAINER: &str = "tagged";
/// The only version of each blob.
const ETAG: &str = "1";
/// The rule that asks for tags.
pub(super) const RULE: &str = "tagged";
/// The tag that is asked for, what is wanted of it and what is not.
const TAG: (&str, &str, &str) = ("hold", "no", "yes");

/// The match of the rule.
pub(super) fn matches() -> Value {
    let (name, wanted, _) = TAG;
    json!({ "container": CONTAINER, "indexTags": { name: wanted } })
}

/// What tags an upload has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HasTags {
    /// Those that are wanted, always.
    Wanted,
    /// Never those that are wanted: others if `some`, else none.
    Never { some: bool },
    /// Those that are wanted between these times.
    Between(Duration, Duration),
}

/// An upload to the rule that asks for tags.
#[derive(Debug, Clone)]
pub(super) struct Tagged {
    path: String,
    has_tags: HasTags,
    at: Duration,
}

/// Some uploads, if the seed has any.
pub(super) fn draw(dice: &mut Dice, period: Duration) -> Vec<Tagged> {
    if !dice.strikes(Kind::IndexTags, 150) {
        return Vec::new();
    }
    let stream = dice.stream(Kind::IndexTags);
    let count = 1 + stream.index(3);
    (0..count)
        .map(|n| Tagged { path: format!("t{n}.csv"), has_tags: draw_tags(stream, period), at: stream.seconds(0, 300) })
        .collect()
}

fn draw_tags(stream: &mut Rng, period: Duration) -> HasTags {
    let period = u64::try_from(period.whole_seconds()).unwrap_or(0);
    match stream.below(4) {
        0 => HasTags::Never { some: stream.chance(500) },
        1 => {
            let from = stream.seconds(0, period / 2);
            HasTags::Between(from, from + stream.seconds(1, period / 2))
        }
        _ => HasTags::Wanted,
    }
}

impl Tagged {
    pub(super) fn url(&self) -> String {
        account::url(CONTAINER, &self.path)
    }

    /// Its version, for people and for what must become of it.
    pub(super) fn version(&self) -> (String, &'static str) {
        (self.url(), ETAG)
    }

    /// Whether it must be scored in the end.
    pub(super) fn is_wanted(&self) -> bool {
        self.has_tags == HasTags::Wanted
    }

    /// It must not be taken in.
    pub(super) fn is_never_wanted(&self) -> bool {
        matches!(self.has_tags, HasTags::Never { .. })
    }

    /// Event Grid tells of it, twice now and then.
    pub(super) fn deliveries(&self, dice: &mut Dice) -> Vec<(Duration, Value)> {
        let payload = arrivals::created(CONTAINER, &self.path, ETAG, "PutBlob");
        let again = dice.stream(Kind::IndexTags).chance(300);
        let again = again.then(|| self.at + dice.stream(Kind::IndexTags).seconds(1, 600));
        [Some(self.at), again].into_iter().flatten().map(|at| (at, payload.clone())).collect()
    }

    /// When its tags change, from the run's start.
    pub(super) fn changes(&self) -> Vec<Duration> {
        match self.has_tags {
            HasTags::Between(from, until) => vec![from, until],
            HasTags::Wanted | HasTags::Never { .. } => Vec::new(),
        }
    }

    /// Puts it there, with the tags that it has at a time.
    pub(super) fn put(&self, uploaded: &mut Uploaded, elapsed: Duration) {
        let Ok(blob) = UnversionedBlob::read(&self.url()) else { return };
        if uploaded.get(&blob).is_none() {
            uploaded.put_version(&blob, ETAG, SIZE);
        }
        let (name, wanted, other) = TAG;
        let value = match self.has_tags {
            HasTags::Wanted => Some(wanted),
            HasTags::Never { some } => some.then_some(other),
            HasTags::Between(from, until) if from <= elapsed && elapsed < until => Some(wanted),
            HasTags::Between(..) => Some(other),
        };
        let tags: BTreeMap<String, String> =
            value.map(|value| (name.to_owned(), value.to_owned())).into_iter().collect();
        uploaded.change(&blob, |shown: &mut BlobSnapshot| shown.index_tags = IndexTags::Seen(tags));
    }
}
