//! A table that fails by plan: for tests of what a network does to a careful writer.
//!
//! The fault that finds defects is [`Fault::LostAnswer`]: the write is done and reported as unknown. It wraps any store,
//! adds nothing else and must never be part of a running product's store.

use app::ports::table_store::{Continuation, ETag, Error, Key, Op, Page, Range, Row, TableName, TableStore};
use async_trait::async_trait;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub use crate::fault::Fault;

/// How often a store was asked. A write of several operations is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Calls {
    /// Point reads, those that failed included.
    pub reads: u64,
    /// Pages of ranges that were asked for, those that failed included.
    pub pages: u64,
    /// Rows on the pages that were handed out.
    pub rows: u64,
    /// Writes, those that failed included.
    pub writes: u64,
}

type Rule = Box<dyn Fn(&TableName, &[Op]) -> Option<Fault> + Send + Sync>;

/// A store in front of another one.
pub struct Faulty {
    inner: Arc<dyn TableStore>,
    faults: Mutex<VecDeque<Fault>>,
    read_errors: Mutex<VecDeque<Error>>,
    rules: Mutex<Vec<Arc<Rule>>>,
    /// Delayed writes, which arrive behind the next write that is done.
    delayed: Mutex<Vec<(TableName, Vec<Op>)>>,
    reads: AtomicU64,
    pages: AtomicU64,
    rows: AtomicU64,
    writes: AtomicU64,
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").field("calls", &self.calls()).finish_non_exhaustive()
    }
}

impl Faulty {
    /// In front of `inner`, without faults.
    pub fn new(inner: Arc<dyn TableStore>) -> Self {
        Self {
            inner,
            faults: Mutex::default(),
            read_errors: Mutex::default(),
            rules: Mutex::default(),
            delayed: Mutex::default(),
            reads: AtomicU64::new(0),
            pages: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            writes: AtomicU64::new(0),
        }
    }

    /// Appends the fault of a coming write. First in, first out, one each; then rules decide, then writes pass.
    pub fn push(&self, fault: Fault) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push_back(fault);
    }

    /// Appends the error of a coming point read or page. First in, first out, one each.
    pub fn push_read(&self, error: Error) {
        self.read_errors.lock().unwrap_or_else(PoisonError::into_inner).push_back(error);
    }

    /// Adds a rule that looks at each write; of several rules the first that names a fault wins. It must not write to
    /// this store itself.
    pub fn rule(&self, rule: impl Fn(&TableName, &[Op]) -> Option<Fault> + Send + Sync + 'static) {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(Box::new(rule)));
    }

    /// Forgets all faults and rules: from now on everything passes.
    pub fn heal(&self) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.read_errors.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How often it was asked so far.
    pub fn calls(&self) -> Calls {
        Calls {
            reads: self.reads.load(Ordering::SeqCst),
            pages: self.pages.load(Ordering::SeqCst),
            rows: self.rows.load(Ordering::SeqCst),
            writes: self.writes.load(Ordering::SeqCst),
        }
    }

    fn fault(&self, table: &TableName, ops: &[Op]) -> Fault {
        if let Some(fault) = self.faults.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
            return fault;
        }
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner).clone();
        rules.iter().find_map(|rule| rule(table, ops)).unwrap_or(Fault::Pass)
    }

    /// One write that gets through, with the delayed ones behind it. What becomes of those nobody learns: their senders
    /// have given up.
    async fn done(&self, table: &TableName, ops: &[Op]) -> Result<Vec<Option<ETag>>, Error> {
        let answer = self.inner.write(table, ops).await;
        let delayed = std::mem::take(&mut *self.delayed.lock().unwrap_or_else(PoisonError::into_inner));
        for (table, ops) in delayed {
            let _ = self.inner.write(&table, &ops).await;
        }
        answer
    }

    fn readable(&self) -> Result<(), Error> {
        match self.read_errors.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl TableStore for Faulty {
    async fn create_table(&self, table: &TableName) -> Result<(), Error> {
        self.inner.create_table(table).await
    }

    async fn get(&self, table: &TableName, key: &Key) -> Result<Option<Row>, Error> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.readable()?;
        self.inner.get(table, key).await
    }

    async fn page_of(
        &self,
        table: &TableName,
        range: &Range,
        from: Option<&Continuation>,
        max: usize,
    ) -> Result<Page, Error> {
        self.pages.fetch_add(1, Ordering::SeqCst);
        self.readable()?;
        let page = self.inner.page_of(table, range, from, max).await?;
        self.rows.fetch_add(page.rows.len() as u64, Ordering::SeqCst);
        Ok(page)
    }

    async fn write(&self, table: &TableName, ops: &[Op]) -> Result<Vec<Option<ETag>>, Error> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        match self.fault(table, ops) {
            Fault::Pass => self.done(table, ops).await,
            Fault::NotSent => Err(Error::Unavailable("the write was not sent, by plan".to_owned())),
            Fault::LostRequest => Err(Error::Ambiguous("the request was lost, by plan".to_owned())),
            Fault::LostAnswer { times } => {
                // A refusal is an answer too, but then nothing was done, and there is nothing to be unsure of.
                for _ in 0..times {
                    self.done(table, ops).await?;
                }
                Err(Error::Ambiguous("the answer was lost, by plan".to_owned()))
            }
            Fault::Duplicated { times } => {
                for _ in 1..times {
                    // The first answers are dropped on the way.
                    let _ = self.done(table, ops).await;
                }
                self.done(table, ops).await
            }
            Fault::Delayed(_) => {
                self.delayed.lock().unwrap_or_else(PoisonError::into_inner).push((table.clone(), ops.to_vec()));
                Err(Error::Ambiguous("the request is late, by plan".to_owned()))
            }
            Fault::Refused { .. } => Err(Error::Refused("refused, by plan".to_owned())),
            Fault::Throttled(retry_after) => {
                Err(Error::Throttled { retry_after: retry_after.map(time::Duration::unsigned_abs) })
            }
            Fault::Conflict => Err(Error::Conflict { op: 0 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use app::ports::table_store::Entity;

    async fn fresh() -> (Faulty, TableName) {
        let table = TableName::read("Faults").unwrap();
        let faulty = Faulty::new(Arc::new(MemoryStore::new()));
        faulty.create_table(&table).await.unwrap();
        (faulty, table)
    }

    fn insert(row: &str) -> [Op; 1] {
        [Op::Insert(Entity::new(Key::new("p", row)))]
    }

    #[tokio::test]
    async fn faults_come_in_order_and_say_truly_whether_the_write_was_done() {
        let (faulty, table) = fresh().await;
        let wait = Some(time::Duration::seconds(3));
        let order = [
            (Fault::Pass, true, None),
            (Fault::NotSent, false, Some("cannot be reached")),
            (Fault::LostRequest, false, Some("may have happened")),
            (Fault::LostAnswer { times: 1 }, true, Some("may have happened")),
            (Fault::Throttled(wait), false, Some("slow down")),
            (Fault::Conflict, false, Some("has changed")),
            (Fault::Refused { permanent: true }, false, Some("refused, by plan")),
            (Fault::Delayed(time::Duration::MINUTE), false, Some("may have happened")),
            (Fault::Duplicated { times: 2 }, true, Some("the key is taken")),
        ];
        for (fault, ..) in &order {
            faulty.push(fault.clone());
        }
        for (index, (fault, done, error)) in order.iter().enumerate() {
            let row = index.to_string();
            let answer = faulty.write(&table, &insert(&row)).await;
            match error {
                None => assert!(answer.is_ok(), "{fault:?}: {answer:?}"),
                Some(text) => assert!(answer.unwrap_err().to_string().contains(text), "{fault:?}"),
            }
            let there = faulty.get(&table, &Key::new("p", row)).await.unwrap().is_some();
            assert_eq!(there, *done, "{fault:?}");
        }
        assert!(faulty.write(&table, &insert("after")).await.is_ok());
        assert_eq!(faulty.calls(), Calls { reads: 9, pages: 0, rows: 0, writes: 10 });
    }

    #[tokio::test]
    async fn a_rule_picks_its_writes_until_it_is_healed() {
        let (faulty, table) = fresh().await;
        faulty.rule(|_, ops| (ops[0].key().row == "bad").then_some(Fault::NotSent));
        assert!(faulty.write(&table, &insert("good")).await.is_ok());
        assert!(faulty.write(&table, &insert("bad")).await.is_err());
        faulty.heal();
        assert!(faulty.write(&table, &insert("bad")).await.is_ok());
    }

    #[tokio::test]
    async fn a_lost_answer_to_a_refused_write_is_a_refusal() {
        let (faulty, table) = fresh().await;
        faulty.write(&table, &insert("1")).await.unwrap();
        faulty.push(Fault::LostAnswer { times: 1 });
        assert_eq!(faulty.write(&table, &insert("1")).await, Err(Error::AlreadyExists { op: 0 }));
    }

    #[tokio::test]
    async fn a_delayed_write_arrives_behind_the_next_one() {
        let (faulty, table) = fresh().await;
        faulty.push(Fault::Delayed(time::Duration::MINUTE));
        let named = |value: i32| [Op::Upsert(Entity::new(Key::new("p", "1")).with("A", value))];
        assert!(faulty.write(&table, &named(1)).await.is_err());
        faulty.write(&table, &named(2)).await.unwrap();
        let row = faulty.get(&table, &Key::new("p", "1")).await.unwrap().unwrap();
        assert_eq!(row.entity.int32("A"), Some(1), "the late one has the last word");
    }

    #[tokio::test]
    async fn reads_fail_by_plan_too() {
        let (faulty, table) = fresh().await;
        faulty.push_read(Error::Unavailable("dark".to_owned()));
        assert!(faulty.get(&table, &Key::new("p", "1")).await.is_err());
        assert!(faulty.page(&table, &Range::of_prefix("p", "1"), None).await.is_ok());
        assert_eq!(faulty.calls(), Calls { reads: 1, pages: 1, rows: 0, writes: 0 });
    }
}
