//! Where each row lies: partitions, row keys, and the times in them.

use lifecycle::digest::digest;
use lifecycle::{Scoring, ScoringId};
use time::macros::{datetime, format_description};
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use crate::ports::table_store::{Entity, Key, Range};

/// Number of shards; fixed, because it is part of every key.
///
/// Each list, count and look through an index asks each shard, and a reconcile run asks each outbox: the fewer the cheaper. Each shard
/// takes what one partition takes, of which Azure Tables aims at 2,000 rows a second: the more the faster. Three take some 800
/// uploads a second, and 200 scorings a second from end to end, 17 million a day, where a workspace takes ten million jobs in all;
/// what comes faster is throttled and delivered again. Sixteen would take three times that, which no batch endpoint could follow, and
/// ask sixteen queries for the first page of any list. One would be the fewest, and its throttling that of everything.
pub const SHARDS: u8 = 3;

/// Parts into which the in-flight index is cut, by the first digit of the id: each lies in one shard. A reconcile run keeps what is
/// due of a few of them at one time, so that its memory is bounded by parts and not by shards.
pub const IN_FLIGHT_PARTS: u8 = 16;

/// What the keys of the terminal index begin with.
pub(crate) const TERMINAL: &str = "T~";

/// What the keys of ended groups begin with.
pub(crate) const ENDED_GROUP: &str = "G~";

/// PartitionKey of the scoring's own row and of its indexes: one of the shards, by the first digit of the id.
pub fn partition_of(id: &ScoringId) -> String {
    let first = u8::from_str_radix(&id.as_str()[..1], 16).unwrap_or(0); // an id is hex by construction
    partition_of_part(first)
}

/// Partition of the ids that begin with this digit.
pub(crate) fn partition_of_part(first_digit: u8) -> String {
    shard(first_digit * SHARDS / IN_FLIGHT_PARTS)
}

/// Partition of a key of 32 hex digits that is no scoring's.
pub fn partition_of_key(key: &str) -> String {
    ScoringId::read(key).map_or_else(|| shard(0), |id| partition_of(&id))
}

/// PartitionKey of shard `n`, counted from 0: `s00`. Panics from [`SHARDS`] on.
pub fn shard(n: u8) -> String {
    // Each key has one, an event writes eleven, and a format would take ten times as long.
    const NAMES: [&str; SHARDS as usize] = ["s00", "s01", "s02"];
    NAMES[usize::from(n)].to_owned()
}

/// Key of the scoring's row.
pub fn scoring_key(id: &ScoringId) -> Key {
    Key::new(partition_of(id), ["J~", id].concat())
}

/// Part `n` of the in-flight index.
pub(crate) fn in_flight_part(n: u8) -> Range {
    Range::of_prefix(partition_of_part(n), &format!("F~{n:x}"))
}

/// Key of the in-flight row.
pub fn in_flight_key(id: &ScoringId) -> Key {
    Key::new(partition_of(id), ["F~", id].concat())
}

/// Key of a line of history.
pub fn history_key(id: &ScoringId, seq: i64) -> Key {
    Key::new(partition_of(id), format!("H~{id}~{seq:04X}"))
}

/// Key of the outbox row.
pub fn outbox_key(id: &ScoringId) -> Key {
    Key::new(partition_of(id), ["P~", id].concat())
}

/// Says that a scoring is to be projected.
pub(crate) fn outbox_row(id: &ScoringId) -> Entity {
    Entity::new(outbox_key(id))
}

/// The key of a blob in the rows of what was received, whichever host its URL named.
pub(crate) fn blob_key(container: &str, path: &str) -> String {
    digest(&["blob", container, path])
}

/// Key of the terminal row of a scoring.
pub fn terminal_key(id: &ScoringId, completed: OffsetDateTime) -> Key {
    Key::new(partition_of(id), format!("{TERMINAL}{}~{id}", newest_hour_first(completed)))
}

/// The same of a group: what lists and counts ends meets none.
pub fn ended_group_key(id: &ScoringId, completed: OffsetDateTime) -> Key {
    Key::new(partition_of(id), format!("{ENDED_GROUP}{}~{id}", newest_hour_first(completed)))
}

pub(crate) fn end_key(s: &Scoring, completed: OffsetDateTime) -> Key {
    if s.is_group() { ended_group_key(&s.id, completed) } else { terminal_key(&s.id, completed) }
}

/// An hour as it stands in keys: sorts by time.
pub fn hour(at: OffsetDateTime) -> String {
    at.to_offset(time::UtcOffset::UTC)
        .format(format_description!("[year][month][day][hour]"))
        .unwrap_or_else(|_| "0000000000".to_owned()) // only for years beyond 9999
}

/// A day as it stands in keys.
pub fn day(at: OffsetDateTime) -> String {
    hour(at)[..8].to_owned()
}

/// What is left of an hour's number: sorts by time, the newest first.
pub(crate) fn newest_hour_first(at: OffsetDateTime) -> String {
    format!("{:010}", 9_999_999_999 - hour(at).parse::<u64>().unwrap_or(0)) // ten digits by their format
}

/// The same of a day.
pub(crate) fn newest_day_first(at: OffsetDateTime) -> String {
    format!("{:08}", 99_999_999 - day(at).parse::<u64>().unwrap_or(0)) // eight digits by their format
}

/// The same of a time, to the resolution of the table service.
pub fn newest_first(at: OffsetDateTime) -> String {
    let left = datetime!(9999-12-31 23:59:59.999_999_9 UTC) - at;
    format!("{:019}", left.whole_nanoseconds().max(0) / 100)
}

/// The time that one of these three tells, by its length.
pub(crate) fn time_of(newest_first: &str) -> Option<OffsetDateTime> {
    let left: i64 = newest_first.parse().ok()?;
    let of_hour = |digits: String| {
        let at = PrimitiveDateTime::parse(&digits, format_description!("[year][month][day][hour]:[minute]")).ok()?;
        Some(at.assume_utc())
    };
    match newest_first.len() {
        8 => of_hour(format!("{:08}00:00", 99_999_999 - left)),
        10 => of_hour(format!("{:010}:00", 9_999_999_999 - left)),
        _ => {
            let hundreds = i32::try_from(left % 10_000_000).ok()?;
            datetime!(9999-12-31 23:59:59.999_999_9 UTC).checked_sub(Duration::new(left / 10_000_000, hundreds * 100))
        }
    }
}
