//! Keys of the rows that count what ended in an hour, and the row that says that an hour is not counted.

use time::{Duration, OffsetDateTime};

use super::rows;
use crate::ports::table_store::{Entity, Key, Op};

/// What the keys of the rows begin with.
pub(super) const PREFIX: &str = "U~";

/// The hour that a time lies in.
pub fn begin_of_hour(at: OffsetDateTime) -> OffsetDateTime {
    at - Duration::nanoseconds(i64::try_from(at.unix_timestamp_nanos().rem_euclid(3_600_000_000_000)).unwrap_or(0))
}

/// The row of an hour.
pub(super) fn key(partition: &str, hour: OffsetDateTime) -> Key {
    Key::new(partition, format!("{PREFIX}{}", rows::newest_hour_first(hour)))
}

/// Says that the hour in which a scoring had ended is not counted, for the transaction that takes the end back.
pub(super) fn forgotten(partition: &str, completed: OffsetDateTime) -> Op {
    let hour = begin_of_hour(completed);
    Op::Upsert(Entity::new(key(partition, hour)).with("SchemaVersion", rows::SCHEMA).with("Hour", hour))
}
