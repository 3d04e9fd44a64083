//! The table in memory, and what a write means.
//!
//! It exists for tests and simulation: exact semantics, no I/O, pages as small as one likes. [`apply`] is the meaning of
//! one operation and is shared with the embedded store, so that the two cannot drift apart; the conformance suite holds
//! both against an emulator of the service. It must never be lenient where the service is not.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use app::ports::table_store::{
    Continuation, ETag, Entity, Error, IfMatch, Key, Op, Page, Range, Row, TableName, TableStore, Value, check,
    check_entity, check_key, check_range, truncate_to_100ns,
};

/// Rows on a page at most, as Azure Tables hands them out.
pub(super) const PAGE: usize = 1_000;

/// Tables in memory. Clones would be other tables, so there is no `Clone`; share it in an `Arc`.
#[derive(Debug)]
pub struct MemoryStore {
    page_size: usize,
    empty_pages: bool,
    state: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    /// By lower-case name: the service's table names are case-insensitive.
    tables: BTreeMap<String, BTreeMap<Key, Row>>,
    /// The number in the last ETag that was given, over all tables; it only rises.
    clock: u64,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// No tables, pages of 1,000 rows.
    pub fn new() -> Self {
        Self { page_size: PAGE, empty_pages: false, state: Mutex::default() }
    }

    /// Pages of `size` rows (at least 1); with `empty_pages`, each is preceded by an empty one that has a continuation, as
    /// the service does when a query runs long or meets a partition boundary.
    pub fn with_pages(size: usize, empty_pages: bool) -> Self {
        Self { page_size: size.max(1), empty_pages, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, Tables> {
        // A panic cannot leave a half-done write: changes are made in one step, after everything that could fail.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn table(&self, name: &TableName) -> Result<&BTreeMap<Key, Row>, Error> {
        self.tables.get(&folded(name)).ok_or(Error::TableMissing)
    }
}

/// A table's name as it is compared.
pub(super) fn folded(name: &TableName) -> String {
    name.as_str().to_ascii_lowercase()
}

#[async_trait]
impl TableStore for MemoryStore {
    async fn create_table(&self, table: &TableName) -> Result<(), Error> {
        self.state().tables.entry(folded(table)).or_default();
        Ok(())
    }

    async fn get(&self, table: &TableName, key: &Key) -> Result<Option<Row>, Error> {
        check_key(key)?;
        Ok(self.state().table(table)?.get(key).cloned())
    }

    async fn page_of(
        &self,
        table: &TableName,
        range: &Range,
        from: Option<&Continuation>,
        max: usize,
    ) -> Result<Page, Error> {
        check_range(range)?;
        // `=` or `-`, then the row key to begin at; `-` asks for an empty page first.
        let (empty, first) = match from.map(|Continuation(text)| text.split_at_checked(1)) {
            None => (self.empty_pages, range.from.clone()),
            Some(Some(("-", row))) => (true, row.to_owned()),
            Some(Some(("=", row))) => (false, row.to_owned()),
            Some(_) => return Err(Error::Refused("a continuation that this store did not give".to_owned())),
        };
        let state = self.state();
        let table = state.table(table)?;
        if empty {
            return Ok(Page { rows: Vec::new(), next: Some(Continuation(format!("={first}"))) });
        }
        if first >= range.below {
            return Ok(Page::default());
        }
        let bounds = (
            Bound::Included(Key::new(&range.partition, first)),
            Bound::Excluded(Key::new(&range.partition, &range.below)),
        );
        let mut found = table.range(bounds).map(|(_, row)| row);
        let rows: Vec<Row> = found.by_ref().take(max.clamp(1, self.page_size)).cloned().collect();
        let mark = if self.empty_pages { '-' } else { '=' };
        let next = found.next().map(|row| Continuation(format!("{mark}{}", row.entity.key.row)));
        Ok(Page { rows, next })
    }

    async fn write(&self, table: &TableName, ops: &[Op]) -> Result<Vec<Option<ETag>>, Error> {
        check(ops)?;
        let mut state = self.state();
        let rows = state.table(table)?;
        let mut clock = state.clock;
        let mut outcome = Vec::with_capacity(ops.len());
        for (index, op) in ops.iter().enumerate() {
            clock += 1;
            outcome.push(apply(index, op, rows.get(op.key()), ETag(format!("W/\"{clock}\"")))?);
        }
        state.clock = clock;
        let etags = outcome.iter().map(|row| row.as_ref().map(|row| row.etag.clone())).collect();
        let rows = state.tables.get_mut(&folded(table)).ok_or(Error::TableMissing)?;
        for (op, row) in ops.iter().zip(outcome) {
            match row {
                Some(row) => rows.insert(op.key().clone(), row),
                None => rows.remove(op.key()),
            };
        }
        Ok(etags)
    }
}

/// What one operation makes of the row that is there: the new row with the given ETag, or `None` if it is deleted.
/// `index` is the operation's place in its transaction, for the errors.
pub(super) fn apply(index: usize, op: &Op, current: Option<&Row>, etag: ETag) -> Result<Option<Row>, Error> {
    let demanded = |condition: &IfMatch| match (current, condition) {
        (None, _) => Err(Error::Missing { op: index }),
        (Some(row), IfMatch::Tag(tag)) if row.etag != *tag => Err(Error::Conflict { op: index }),
        (Some(row), _) => Ok(row),
    };
    let entity = match op {
        Op::Insert(_) if current.is_some() => return Err(Error::AlreadyExists { op: index }),
        Op::Insert(entity) | Op::Upsert(entity) => stored(entity),
        Op::Replace(entity, condition) => {
            demanded(condition)?;
            stored(entity)
        }
        Op::Merge(entity, condition) => {
            let mut merged = demanded(condition)?.entity.clone();
            merged.properties.extend(stored(entity).properties);
            check_entity(&merged)?;
            merged
        }
        Op::Delete(_, condition) => {
            demanded(condition)?;
            return Ok(None);
        }
    };
    Ok(Some(Row { entity, etag }))
}

/// The entity as the service keeps it: times cut to 100 ns.
fn stored(entity: &Entity) -> Entity {
    let mut entity = entity.clone();
    for value in entity.properties.values_mut() {
        if let Value::DateTime(at) = value {
            *at = truncate_to_100ns(*at);
        }
    }
    entity
}
