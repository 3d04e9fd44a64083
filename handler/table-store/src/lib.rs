//! The port under the ledger: a table with the semantics of Azure Table Storage, and nothing that it lacks.
//!
//! Implementations: Azure Tables (crate `azure`), `embedded` and `memory` (crate `stores`). One conformance suite (`tests/ports/table_store/claims.rs`) runs on all of them. All call
//! [`check`] first, so that what the real service refuses is refused everywhere: emulators accept transactions over
//! several partitions, oversized entities and bad property names.
//!
//! The app has it among its ports, as `app::ports::table_store`. It is a crate of its own so that it alone is compiled for speed: each
//! row of each event is put together, checked and written as JSON here.
//!
//! Sources: Azure Table service REST API, *Performing entity group transactions*, *Understanding the Table service data
//! model*, *Query timeout and pagination*.

pub mod json;
mod properties;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;

pub use properties::{Properties, Value};

/// A table that the ledger can be written over.
///
/// Every method is one request. Writes are never retried inside an implementation: a write whose outcome is not known
/// is [`Error::Ambiguous`], and the ledger reads back. Reads may be retried a few times.
#[async_trait]
pub trait TableStore: Send + Sync + 'static {
    /// Makes the table if it is not there.
    async fn create_table(&self, table: &TableName) -> Result<(), Error>;

    /// The entity of this key, if there is one.
    async fn get(&self, table: &TableName, key: &Key) -> Result<Option<Row>, Error>;

    /// One page of a range, in order of row key: as many rows as the store gives at once. **A page may be empty and still
    /// have a continuation.**
    async fn page(&self, table: &TableName, range: &Range, from: Option<&Continuation>) -> Result<Page, Error> {
        self.page_of(table, range, from, usize::MAX).await
    }

    /// The same with so many rows at most, at least one: for who needs the first ones of a long range. What is behind them
    /// has a continuation.
    async fn page_of(
        &self,
        table: &TableName,
        range: &Range,
        from: Option<&Continuation>,
        max: usize,
    ) -> Result<Page, Error>;

    /// Writes one entity, or up to 100 of one partition atomically. Returns the new ETag of each operation, in order;
    /// `None` for deletes. With several operations the errors name the first that failed, and nothing was written.
    async fn write(&self, table: &TableName, ops: &[Op]) -> Result<Vec<Option<ETag>>, Error>;
}

/// A table's name: a letter, then letters and digits, 3 to 63 in all.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName(String);

/// A name that no table can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a table name; it takes a letter, then letters and digits, 3 to 63 in all")]
pub struct InvalidTableName(String);

impl TableName {
    /// Checks a name; the error says what is expected.
    pub fn read(name: &str) -> Result<Self, InvalidTableName> {
        let good = (3..=63).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric())
            && name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
        if good { Ok(Self(name.to_owned())) } else { Err(InvalidTableName(name.to_owned())) }
    }

    /// The name as the service has it in URLs; safe to be part of a path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names an entity in its table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// PartitionKey: at most 512 characters, without `/`, `\`, `#`, `?` and control characters.
    pub partition: String,
    /// RowKey, unique within the partition; the same limits hold.
    pub row: String,
}

impl Key {
    /// A key of any texts; what the service refuses shows when it is written, see [`check`].
    pub fn new(partition: impl Into<String>, row: impl Into<String>) -> Self {
        Self { partition: partition.into(), row: row.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.partition, self.row)
    }
}

/// An entity: a key and its properties. A property without a value is absent, as in the service.
#[derive(Debug, Clone, PartialEq)]
pub struct Entity {
    /// Where it lies; the service's PartitionKey and RowKey.
    pub key: Key,
    /// Its properties by name; never PartitionKey, RowKey or Timestamp.
    pub properties: Properties,
}

impl Entity {
    /// An entity that has nothing but its key yet.
    pub fn new(key: Key) -> Self {
        Self { key, properties: Properties::with_room() }
    }

    /// The same with this property set; one that was there of that name is replaced.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        self.properties.insert(name, value.into());
        self
    }

    /// With one more property if there is a value.
    #[must_use]
    pub fn with_some(self, name: impl Into<Cow<'static, str>>, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The value of a string property; `None` if it is not there, or of another type.
    pub fn string(&self, name: &str) -> Option<&str> {
        match self.properties.get(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The value of an Edm.Int32 property; `None` if it is not there, or of another type: numbers are not converted.
    pub fn int32(&self, name: &str) -> Option<i32> {
        match self.properties.get(name) {
            Some(Value::Int32(number)) => Some(*number),
            _ => None,
        }
    }

    /// The value of an Edm.Int64 property; `None` if it is not there, or of another type: numbers are not converted.
    pub fn int64(&self, name: &str) -> Option<i64> {
        match self.properties.get(name) {
            Some(Value::Int64(number)) => Some(*number),
            _ => None,
        }
    }

    /// The value of a boolean property; `None` if it is not there, or of another type.
    pub fn boolean(&self, name: &str) -> Option<bool> {
        match self.properties.get(name) {
            Some(Value::Boolean(flag)) => Some(*flag),
            _ => None,
        }
    }

    /// The value of an Edm.DateTime property, of UTC; `None` if it is not there, or of another type.
    pub fn time(&self, name: &str) -> Option<OffsetDateTime> {
        match self.properties.get(name) {
            Some(Value::DateTime(at)) => Some(*at),
            _ => None,
        }
    }
}

/// An entity's version, opaque; two entities written together may have the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ETag(pub String);

/// An entity as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The entity with its key and all of its properties.
    pub entity: Entity,
    /// The version that was read, for a write on the condition that it is still there.
    pub etag: ETag,
}

/// What a conditional write demands. There is no third way: forgetting the condition would be an upsert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// The entity must exist, in whatever version (`If-Match: *`).
    Any,
    /// The entity must exist in this version.
    Tag(ETag),
}

/// One write: an operation of a transaction, or one alone.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// The key must be free.
    Insert(Entity),
    /// The entity must exist; all of its properties are replaced, and those that are not given go.
    Replace(Entity, IfMatch),
    /// The given properties are replaced, the others stay.
    Merge(Entity, IfMatch),
    /// Insert or replace, last writer wins: for rows that anybody may write the same way.
    Upsert(Entity),
    /// The entity must exist, and is gone afterwards.
    Delete(Key, IfMatch),
}

impl Op {
    /// The key that is written.
    pub fn key(&self) -> &Key {
        match self {
            Self::Insert(entity) | Self::Replace(entity, _) | Self::Merge(entity, _) | Self::Upsert(entity) => {
                &entity.key
            }
            Self::Delete(key, _) => key,
        }
    }

    /// The entity that is written, if one is.
    pub fn entity(&self) -> Option<&Entity> {
        match self {
            Self::Insert(entity) | Self::Replace(entity, _) | Self::Merge(entity, _) | Self::Upsert(entity) => {
                Some(entity)
            }
            Self::Delete(..) => None,
        }
    }
}

/// Part of one partition: `from <= RowKey < below`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// PartitionKey: a range never reaches over two.
    pub partition: String,
    /// The first row key that may be in it.
    pub from: String,
    /// Behind the last row key.
    pub below: String,
}

impl Range {
    /// All rows whose key begins with `prefix`, which must not be empty and end in an ASCII character.
    ///
    /// The bound is the next character that a key may have: behind `~` that is U+00A0, as U+007F to U+009F are control
    /// characters, which the service need not take in a filter. No key lies between the two.
    pub fn of_prefix(partition: impl Into<String>, prefix: &str) -> Self {
        let mut below = prefix.to_owned();
        let last = below.pop().unwrap_or(' ');
        let next = (u32::from(last) + 1..).find_map(|code| char::from_u32(code).filter(|c| !forbidden_in_key(*c)));
        below.push(next.unwrap_or(char::MAX));
        Self { partition: partition.into(), from: prefix.to_owned(), below }
    }
}

/// Where the next page begins; opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continuation(pub String);

/// A page of a range.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// Rows in order of row key; at most 1,000; possibly none.
    pub rows: Vec<Row>,
    /// Where the next page begins, which may have no rows; `None`: this was the last.
    pub next: Option<Continuation>,
}

/// Why a request did not succeed, by what the caller can do about it. `op` is the index of the operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An insert found its key taken. Nothing was written.
    #[error("operation {op}: the key is taken")]
    AlreadyExists {
        /// Index of the operation that failed, from 0 in the order they were given.
        op: usize,
    },
    /// An If-Match did not hold. Nothing was written.
    #[error("operation {op}: the entity has changed")]
    Conflict {
        /// Index of the operation that failed, from 0 in the order they were given.
        op: usize,
    },
    /// The entity to be changed is not there. Nothing was written.
    #[error("operation {op}: there is no such entity")]
    Missing {
        /// Index of the operation that failed, from 0 in the order they were given.
        op: usize,
    },
    /// The table is not there. Nothing was written; `create_table` fixes it.
    #[error("the table is not there")]
    TableMissing,
    /// Too fast. Nothing was written.
    #[error("the table service asks to slow down")]
    Throttled {
        /// When to come back, if it was said.
        retry_after: Option<Duration>,
    },
    /// **It may have been written**: the answer was lost. Read back.
    #[error("the write may have happened: {0}")]
    Ambiguous(String),
    /// Surely nothing was written: it could not be sent, or could not be read.
    #[error("the table service cannot be reached: {0}")]
    Unavailable(String),
    /// Surely nothing was written: the file that the table lies in was removed or replaced, or cannot be used. The text names the
    /// remedy.
    #[error("{0}")]
    FileUnusable(String),
    /// Surely nothing was written: what is kept is not whole. The text names the remedy.
    #[error("{0}")]
    Damaged(String),
    /// The identity may not do that.
    #[error("the table service denies access: {0}")]
    Denied(String),
    /// The request breaks a rule of the service. A defect of the caller; nothing was written.
    #[error("the table service would refuse this: {0}")]
    Refused(String),
}

/// Applies the real service's rules to a write. Every implementation calls it first.
pub fn check(ops: &[Op]) -> Result<(), Error> {
    let refuse = |why: String| Err(Error::Refused(why));
    let Some(first) = ops.first() else { return refuse("a write without operations".to_owned()) };
    if ops.len() > 100 {
        return refuse(format!("{} operations in one transaction; there may be 100", ops.len()));
    }
    let mut total = 0;
    let mut wire = 0;
    for (index, op) in ops.iter().enumerate() {
        let key = op.key();
        check_key(key)?;
        if key.partition != first.key().partition {
            return refuse(format!(
                "a transaction over two partitions, `{}` and `{}`",
                first.key().partition,
                key.partition
            ));
        }
        // Few, and of different lengths: comparing all costs less than a set of them.
        if ops[..index].iter().any(|earlier| earlier.key() == key) {
            return refuse(format!("{key} twice in one transaction"));
        }
        if let Some(entity) = op.entity() {
            total += check_entity(entity)?;
        }
        wire += wire_size(op, |text| 2 + 6 * text.len());
    }
    // Most are far below the limit even if each byte were a control character; the others are looked at.
    if wire > MAX_WIRE {
        wire = ops.iter().map(|op| wire_size(op, json_size)).sum();
    }
    // The limit is 4 MiB. The service does not say of which sizes, so both stay below it: the entities' own and the
    // request's. Text full of control characters is three times as long in JSON as in UTF-16.
    if total > 3 * 1024 * 1024 {
        return refuse(format!("a transaction of {total} bytes; there may be about 3 MiB"));
    }
    if wire > MAX_WIRE {
        return refuse(format!("a request of about {wire} bytes; there may be 4 MB"));
    }
    Ok(())
}

/// What a request may have, in bytes.
const MAX_WIRE: usize = 4_000_000;

/// An upper bound of what an operation takes in a request; `json_size` is one of what a text takes as a JSON string.
fn wire_size(op: &Op, json_size: fn(&str) -> usize) -> usize {
    // Headers and the account's address; the key once percent-encoded in the address, once in the body.
    let key = op.key();
    let head = 1024 + 6 * (key.partition.len() + key.row.len());
    let body = op.entity().map_or(0, |entity| {
        entity
            .properties
            .iter()
            .map(|(name, value)| {
                2 * name.len() + if let Value::String(text) = value { 16 + json_size(text) } else { 64 }
            })
            .sum()
    });
    head + body
}

/// The most that a text takes as a JSON string.
fn json_size(text: &str) -> usize {
    2 + text.len()
        + text
            .bytes()
            .map(|byte| if byte < b' ' { 5 } else { usize::from(matches!(byte, b'"' | b'\\')) })
            .sum::<usize>()
}

/// The length of a text in UTF-16, which is what the service counts.
fn utf16_len(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.encode_utf16().count() }
}

/// What the service takes in no key: `/ \ # ?`, U+0000 to U+001F, U+007F to U+009F.
fn forbidden_in_key(c: char) -> bool {
    matches!(c, '/' | '\\' | '#' | '?') || c.is_control()
}

/// Applies the rules for keys to a range.
pub fn check_range(range: &Range) -> Result<(), Error> {
    check_key(&Key::new(&range.partition, &range.from))?;
    check_key(&Key::new(&range.partition, &range.below))
}

/// Applies the rules for keys.
pub fn check_key(key: &Key) -> Result<(), Error> {
    for text in [&key.partition, &key.row] {
        // Documents speak of 1 KiB; emulators refuse more than 512 characters. Ours are shorter by far.
        if text.len() > 512 && text.chars().count() > 512 {
            return Err(Error::Refused(format!("a key of {} characters; there may be 512", text.chars().count())));
        }
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !forbidden_in_key(char::from(byte));
        if !text.bytes().all(is_plain)
            && let Some(bad) = text.chars().find(|c| forbidden_in_key(*c))
        {
            return Err(Error::Refused(format!("{bad:?} in the key {key:?}")));
        }
    }
    Ok(())
}

/// The bytes that names of properties are made of. A table: an event writes names of two kilobytes.
static IN_NAMES: [bool; 256] = {
    let (mut bytes, mut byte) = ([false; 256], 0_u8);
    while byte < 128 {
        bytes[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'_';
        byte += 1;
    }
    bytes
};

/// Applies the rules for entities; gives its size in bytes as the service counts it. A merge can break a rule by what is
/// there already, so implementations that see the whole entity apply it to the outcome too.
pub fn check_entity(entity: &Entity) -> Result<usize, Error> {
    let refuse = |why: String| Err(Error::Refused(format!("{}: {why}", entity.key)));
    if entity.properties.len() > 252 {
        return refuse(format!("{} properties; there may be 252", entity.properties.len()));
    }
    let mut size = 4 + 2 * (utf16_len(&entity.key.partition) + utf16_len(&entity.key.row));
    for (name, value) in entity.properties.iter() {
        let good = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|byte| IN_NAMES[usize::from(byte)])
            && name.len() <= 255
            && !matches!(name, "PartitionKey" | "RowKey" | "Timestamp");
        if !good {
            return refuse(format!("`{name}` is not a property name"));
        }
        size += 8 + 2 * name.len();
        size += match value {
            Value::String(text) => {
                let units = utf16_len(text);
                if units > 32_768 {
                    return refuse(format!("`{name}` has {units} UTF-16 units; there may be 32,768"));
                }
                4 + 2 * units
            }
            Value::DateTime(at) => {
                let year = at.to_offset(time::UtcOffset::UTC).year();
                if !(1601..=9999).contains(&year) {
                    return refuse(format!("`{name}` lies before 1601 or after 9999"));
                }
                8
            }
            Value::Int32(_) => 4,
            Value::Int64(_) => 8,
            Value::Boolean(_) => 1,
        };
    }
    if size > 1024 * 1024 {
        return refuse(format!("{size} bytes; there may be 1 MiB"));
    }
    Ok(size)
}

/// Cuts a time to 100 ns, as the service keeps it; what is written then equals what is read.
pub fn truncate_to_100ns(at: OffsetDateTime) -> OffsetDateTime {
    let at = at.to_offset(time::UtcOffset::UTC);
    at.replace_nanosecond(at.nanosecond() / 100 * 100).unwrap_or(at)
}

#[cfg(test)]
mod tests;
