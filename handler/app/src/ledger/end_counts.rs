//! What ended in an hour, counted: `U~{hour}`, one row of each shard, so that a day is counted by its hours and not by its ends.
//!
//! A reconcile run counts an hour once, a while after it is over, from the terminal index; who asks reads that index for the hours
//! that are not counted. What changes a counted hour later, a retry of something that had ended in it, overwrites its row with one
//! that says "not counted", in the transaction of that change and without reading it; and who counts writes on the condition that
//! the row is as it was before the counting. So an hour is counted rightly or not at all.
//!
//! Rejected: counters that each end raises in its own transaction. Tables have no increment: an end would read a counter before, a
//! round trip more, and write it on a condition, on which of all that end at one time in a shard one succeeds. Split until they do not
//! meet, there are as many counters as ends.

use std::collections::BTreeMap;

use futures::{StreamExt as _, stream};
use lifecycle::Status;
use lifecycle::id::RuleId;
use serde::{Deserialize, Serialize};
use time::{Date, Duration, OffsetDateTime, UtcOffset};

use super::end_count_rows::{PREFIX, begin_of_hour, key};
use super::rows::{self, Terminal, Unreadable};
use super::{Error, Ledger, SHARDS};
use crate::ports::table_store::{self, ETag, Entity, IfMatch, Op, Range, Row};

/// An hour is counted when it is over for so long: an end is written within the ten minutes that an invocation has at most.
const SETTLED_AFTER: Duration = Duration::minutes(15);
/// Hours that are counted, backwards from now: those of a day that began within an hour.
const COUNTED_HOURS: i64 = 25;

/// How many scorings ended how, by rule, day and deployment; of one hour as rows keep it, or of several added up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndCounts {
    ends: Vec<EndCount>,
    /// By rule how many scored ones took how long, in seconds; see [`at_most`].
    took: BTreeMap<String, BTreeMap<u64, usize>>,
    /// By the hour in which they ended, how many ended how. Not written: a row is of one hour.
    #[serde(skip)]
    hours: BTreeMap<OffsetDateTime, BTreeMap<Status, usize>>,
}

/// How many of one rule, day and deployment ended so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndCount {
    /// The final status that they share.
    pub status: Status,
    /// Id of the rule that they were scored under.
    pub rule: RuleId,
    /// The day on which they were accepted, of UTC.
    pub accepted: Date,
    /// The batch endpoint's invoke URI; `None` of rows that do not tell.
    pub endpoint: Option<String>,
    /// The deployment that was asked for; `None`: the endpoint's default.
    pub deployment: Option<String>,
    /// Scorings of which all of this holds.
    pub count: usize,
}

impl EndCounts {
    /// By status and deployment, in no order.
    pub fn ends(&self) -> &[EndCount] {
        &self.ends
    }

    /// Scorings that ended in this status within the hour that begins then.
    pub fn of_hour(&self, hour: OffsetDateTime, status: Status) -> usize {
        self.hours.get(&hour).and_then(|ends| ends.get(&status)).copied().unwrap_or(0)
    }

    /// Scorings that ended in this status.
    pub fn of(&self, status: Status) -> usize {
        self.ends.iter().filter(|end| end.status == status).map(|end| end.count).sum()
    }

    /// What nineteen of twenty attempts of a rule take at most, to a quarter; `None` where fewer than `enough` were scored.
    pub fn usual_time(&self, rule: &RuleId, enough: usize) -> Option<Duration> {
        self.time_of(rule, enough, 19)
    }

    /// The same of half of them.
    pub fn typical_time(&self, rule: &RuleId, enough: usize) -> Option<Duration> {
        self.time_of(rule, enough, 10)
    }

    fn time_of(&self, rule: &RuleId, enough: usize, of_twenty: usize) -> Option<Duration> {
        let times = self.took.get(rule.as_str())?;
        let all: usize = times.values().sum();
        if all < enough {
            return None;
        }
        let mut before = 0;
        let mut reached = times.iter().skip_while(|(_, count)| {
            before += **count;
            before <= all * of_twenty / 20
        });
        let seconds = reached.next().or_else(|| times.last_key_value()).map(|(seconds, _)| *seconds)?;
        Some(Duration::seconds(i64::try_from(seconds).unwrap_or(i64::MAX)))
    }

    fn add(&mut self, end: &Terminal) {
        let Terminal { status, rule, created, endpoint, deployment, .. } = end;
        if let Some(hour) = end.hour() {
            *self.hours.entry(hour).or_default().entry(*status).or_default() += 1;
        }
        self.add_ends(EndCount {
            status: *status,
            rule: rule.clone(),
            accepted: created.to_offset(UtcOffset::UTC).date(),
            endpoint: endpoint.clone(),
            deployment: deployment.clone(),
            count: 1,
        });
        if let Some(took) = end.took.filter(|_| *status == Status::Scored) {
            let times = self.took.entry(end.rule.to_string()).or_default();
            *times.entry(at_most(took)).or_default() += 1;
        }
    }

    fn add_ends(&mut self, more: EndCount) {
        let same = |end: &&mut EndCount| {
            let of = |it: &EndCount| (it.status, it.accepted);
            of(end) == of(&more)
                && (&end.rule, &end.endpoint, &end.deployment) == (&more.rule, &more.endpoint, &more.deployment)
        };
        match self.ends.iter_mut().find(same) {
            Some(end) => end.count += more.count,
            None => self.ends.push(more),
        }
    }

    fn merge(&mut self, other: Self) {
        for end in other.ends {
            self.add_ends(end);
        }
        for (rule, times) in other.took {
            let all = self.took.entry(rule).or_default();
            for (seconds, count) in times {
                *all.entry(seconds).or_default() += count;
            }
        }
        for (hour, ends) in other.hours {
            let all = self.hours.entry(hour).or_default();
            for (status, count) in ends {
                *all.entry(status).or_default() += count;
            }
        }
    }

    /// All of them ended in this hour.
    fn within(mut self, hour: OffsetDateTime) -> Self {
        let mut ends: BTreeMap<Status, usize> = BTreeMap::new();
        for end in &self.ends {
            *ends.entry(end.status).or_default() += end.count;
        }
        self.hours = BTreeMap::from([(hour, ends)]);
        self
    }
}

/// Seconds, rounded up by less than a quarter, so that few numbers tell how long very many took: 1, 2, … 8, 10, 12, 14, 16, 20, …
fn at_most(took: Duration) -> u64 {
    let seconds = u64::try_from(took.whole_seconds()).unwrap_or(0);
    let step = 1 << (seconds.max(1).ilog2().saturating_sub(2));
    seconds.div_ceil(step) * step
}

/// Ends of this hour, of one shard.
fn ends_of_hour(shard: u8, hour: OffsetDateTime) -> Range {
    Range::of_prefix(rows::shard(shard), &format!("{}{}~", rows::TERMINAL, rows::newest_hour_first(hour)))
}

/// One row as it was read.
struct Counted {
    hour: OffsetDateTime,
    etag: ETag,
    /// What ended in the hour; `None`: it has to be counted anew, from the terminal index.
    counts: Option<EndCounts>,
}

impl Counted {
    /// What cannot be read, or is of a newer release, is not counted for us, and counted anew.
    fn read(row: Row) -> Option<Self> {
        let known = row.entity.int32("SchemaVersion").is_some_and(|version| version <= rows::SCHEMA);
        let counts = row.entity.string("Counts").filter(|_| known);
        let counts = counts.and_then(|text| serde_json::from_str(text).ok());
        Some(Self { hour: row.entity.time("Hour")?, etag: row.etag, counts })
    }
}

impl Ledger {
    /// What ended in or after the hour of `since`, and rows of ends that cannot be read. Costs of each shard a row for each hour that
    /// is counted, and the ends of the others: the present one, and the last one in its first minutes.
    pub async fn counted_since(&self, since: OffsetDateTime) -> Result<(EndCounts, Vec<Unreadable>), Error> {
        let shards = stream::iter(0..SHARDS).map(|shard| self.ended_in_shard(shard, begin_of_hour(since)));
        let (mut counts, mut unreadable) = (EndCounts::default(), Vec::new());
        let mut shards = shards.buffered(usize::from(SHARDS));
        while let Some(read) = shards.next().await {
            let (of_shard, rows) = read?;
            counts.merge(of_shard);
            unreadable.extend(rows);
        }
        Ok((counts, unreadable))
    }

    async fn ended_in_shard(&self, shard: u8, since: OffsetDateTime) -> Result<(EndCounts, Vec<Unreadable>), Error> {
        let (mut counts, mut unreadable) = (EndCounts::default(), Vec::new());
        // The newest first, as the ends between them: from behind the hour that was counted last.
        let (mut from, mut newer) = (rows::TERMINAL.to_owned(), None);
        for counted in self.counted_hours(shard, since).await? {
            let Counted { hour, counts: Some(of_hour), .. } = counted else { continue };
            let place = format!("{}{}~", rows::TERMINAL, rows::newest_hour_first(hour));
            if newer != Some(hour + Duration::HOUR) {
                let range = Range { partition: rows::shard(shard), from, below: place.clone() };
                self.count(&range, &mut counts, &mut unreadable).await?;
            }
            counts.merge(of_hour.within(hour));
            (from, newer) = (format!("{place}~"), Some(hour));
        }
        if newer != Some(since) {
            let below = format!("{}{}~~", rows::TERMINAL, rows::newest_hour_first(since));
            self.count(&Range { partition: rows::shard(shard), from, below }, &mut counts, &mut unreadable).await?;
        }
        Ok((counts, unreadable))
    }

    async fn count(
        &self,
        range: &Range,
        counts: &mut EndCounts,
        unreadable: &mut Vec<Unreadable>,
    ) -> Result<(), Error> {
        for row in self.all(&self.0.state, range, usize::MAX).await? {
            match rows::from_terminal_row(&row.entity) {
                Ok(end) => counts.add(&end),
                Err(row) => unreadable.push(row),
            }
        }
        Ok(())
    }

    /// Rows of hours of one shard, counted or not, back to that of `since`, the newest first.
    async fn counted_hours(&self, shard: u8, since: OffsetDateTime) -> Result<Vec<Counted>, Error> {
        let range = Range {
            partition: rows::shard(shard),
            from: PREFIX.to_owned(),
            below: format!("{PREFIX}{}~", rows::newest_hour_first(since)),
        };
        let rows = self.all(&self.0.state, &range, usize::MAX).await?;
        Ok(rows.into_iter().filter_map(Counted::read).collect())
    }

    /// Counts the hours of the last day that are over and not counted: one query of each shard where there is nothing to do.
    pub async fn count_ended_hours(&self, now: OffsetDateTime) -> Result<(), Error> {
        let present = begin_of_hour(now);
        let settled = (1..=COUNTED_HOURS).map(|ago| present - Duration::hours(ago));
        let settled: Vec<_> = settled.filter(|hour| now - (*hour + Duration::HOUR) >= SETTLED_AFTER).collect();
        let Some(oldest) = settled.last().copied() else { return Ok(()) };
        for shard in 0..SHARDS {
            let known = self.counted_hours(shard, oldest).await?;
            let mut ops = Vec::new();
            for hour in &settled {
                let row = known.iter().find(|row| row.hour == *hour);
                if row.is_none_or(|row| row.counts.is_none()) {
                    ops.extend(self.counted(shard, *hour, row).await?);
                }
            }
            if ops.is_empty() {
                continue;
            }
            match self.write(&ops).await {
                // Whoever was faster, or took an end back meanwhile: what is not counted is counted an hour later.
                Ok(_)
                | Err(
                    table_store::Error::AlreadyExists { .. }
                    | table_store::Error::Conflict { .. }
                    | table_store::Error::Missing { .. }
                    | table_store::Error::Ambiguous(_),
                ) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Counts one hour; `None`: it cannot be told in a row, or not be read, and is read by whoever asks.
    async fn counted(&self, shard: u8, hour: OffsetDateTime, before: Option<&Counted>) -> Result<Option<Op>, Error> {
        let (mut counts, mut unreadable) = (EndCounts::default(), Vec::new());
        self.count(&ends_of_hour(shard, hour), &mut counts, &mut unreadable).await?;
        let text = serde_json::to_string(&counts).unwrap_or_default(); // they always serialise
        if !unreadable.is_empty() || text.len() > rows::MAX_PROPERTY {
            return Ok(None);
        }
        let row = Entity::new(key(&rows::shard(shard), hour))
            .with("SchemaVersion", rows::SCHEMA)
            .with("Hour", hour)
            .with("Counts", text);
        Ok(Some(match before {
            Some(before) => Op::Replace(row, IfMatch::Tag(before.etag.clone())),
            None => Op::Insert(row),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_up_by_less_than_a_quarter() {
        for seconds in (0..5_000).chain([86_399, 86_400, 86_401, 5_000_000]) {
            let rounded = at_most(Duration::seconds(seconds));
            let seconds = u64::try_from(seconds).unwrap();
            assert!(rounded >= seconds && (rounded - seconds) * 4 < seconds.max(1), "{seconds}: {rounded}");
        }
        let few: std::collections::BTreeSet<_> = (0..86_400).map(|s| at_most(Duration::seconds(s))).collect();
        assert!(few.len() < 70, "{} numbers for all times of a day", few.len());
    }
}
