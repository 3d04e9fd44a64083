//! An index over all shards, read in the order of its keys: each shard has its part in order, and the parts are merged. Several
//! indexes whose keys go on alike behind their prefixes are merged as one.
//!
//! A page of a list costs one query for each shard, with a few rows each, and a further one where a shard's few are used up:
//! independent of how many rows the index has.
//!
//! One partition for a whole index would take one query. Its row would then lie outside of the partition of its scoring, so outside of
//! the transaction that makes it: written before that it is a fourth round trip of an upload, which has three; written after it, from
//! an outbox, a list misses what no reconcile run has seen yet. So the shards are few ([`SHARDS`]), and each has its part.

use futures::{StreamExt as _, stream};

use super::{Error, Ledger, SHARDS, rows};
use crate::ports::table_store::{Continuation, Entity, Range};

/// Shards that are asked at one time.
const MAX_CONCURRENT: usize = 16;
/// Rows that are asked of a shard at most.
const MAX_ROWS: usize = 1_000;

/// A part of an index, as keys have it behind the partition: from `from` on, below `below`, all of which begin with `prefix`.
#[derive(Debug, Clone)]
pub(super) struct IndexRange {
    prefix: String,
    from: String,
    below: String,
}

impl IndexRange {
    /// All keys that begin so.
    pub(super) fn of_prefix(prefix: &str) -> Self {
        let Range { from, below, .. } = Range::of_prefix("", prefix);
        Self { prefix: prefix.to_owned(), from, below }
    }

    /// Without what stands before the key that goes on so behind the prefix, and itself.
    pub(super) fn after(mut self, rest: &str) -> Self {
        // Behind the key, and before every other: all keys of one index have one length.
        self.from = self.from.max(format!("{}{rest}~", self.prefix));
        self
    }

    /// Only what stands before keys that go on so behind the prefix.
    pub(super) fn below(mut self, rest: &str) -> Self {
        self.below = self.below.min(format!("{}{rest}", self.prefix));
        self
    }

    /// Only what is not older than keys that go on with this time, the newest being first, behind the prefix.
    pub(super) fn through(self, time: &str) -> Self {
        self.below(&format!("{time}~~"))
    }
}

/// One shard's part of one index.
struct Part {
    range: Range,
    /// Characters of the index's prefix: the order is that of what is behind it.
    prefix: usize,
    /// Rows that were read and not taken, the next one last.
    rows: Vec<Entity>,
    rest: Rest,
}

/// What a shard has beyond the rows that were read.
enum Rest {
    Unread,
    From(Continuation),
    Nothing,
}

impl Part {
    fn is_to_be_read(&self) -> bool {
        self.rows.is_empty() && !matches!(self.rest, Rest::Nothing)
    }
}

/// Rows of all shards in the order of their keys.
pub(super) struct Merged<'a> {
    ledger: &'a Ledger,
    parts: Vec<Part>,
    /// Rows that will be taken, as far as was said, or were.
    about: usize,
    taken: usize,
}

impl<'a> Merged<'a> {
    /// Nothing is read yet. `about`: how many rows will be taken, as far as that is known.
    pub(super) fn new(ledger: &'a Ledger, ranges: &[IndexRange], about: usize) -> Self {
        let part = |shard, range: &IndexRange| Part {
            range: Range { partition: rows::shard(shard), from: range.from.clone(), below: range.below.clone() },
            prefix: range.prefix.len(),
            rows: Vec::new(),
            rest: Rest::Unread,
        };
        let parts = ranges.iter().flat_map(|range| (0..SHARDS).map(move |shard| part(shard, range)));
        Self { ledger, parts: parts.collect(), about, taken: 0 }
    }

    /// The next row; `None`: that was all.
    pub(super) async fn next(&mut self) -> Result<Option<Entity>, Error> {
        if self.parts.iter().any(Part::is_to_be_read) {
            self.fill().await?;
        }
        self.taken += 1;
        let least = self.parts.iter_mut().filter(|part| !part.rows.is_empty()).min_by(|a, b| key(a).cmp(key(b)));
        Ok(least.and_then(|part| part.rows.pop()))
    }

    /// Reads on in each shard whose rows are used up, until it has one or there is none.
    async fn fill(&mut self) -> Result<(), Error> {
        let ledger = self.ledger;
        // A shard's share and as many again, since the shares differ; who takes more than it said is likely to take as many again.
        let ask = (self.about.max(self.taken) / self.parts.len().max(1) * 2 + 4).min(MAX_ROWS);
        let read = async |part: &mut Part| {
            while part.is_to_be_read() {
                let from = if let Rest::From(from) = &part.rest { Some(from) } else { None };
                let page = ledger.page_of(&part.range, from, ask).await?;
                part.rest = page.next.map_or(Rest::Nothing, Rest::From);
                part.rows = page.rows.into_iter().rev().map(|row| row.entity).collect();
            }
            Ok::<_, Error>(())
        };
        let empty = self.parts.iter_mut().filter(|part| part.is_to_be_read());
        let reads: Vec<_> = empty.map(read).collect();
        let mut reads = stream::iter(reads).buffer_unordered(MAX_CONCURRENT);
        while let Some(read) = reads.next().await {
            read?;
        }
        Ok(())
    }
}

fn key(part: &Part) -> &str {
    part.rows.last().and_then(|row| row.key.row.get(part.prefix..)).unwrap_or_default()
}
