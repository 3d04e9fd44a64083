//! A table whose answer to one write is so late that others act in between: the write is done, then they come to their
//! turn, and in the end the writer learns nothing. Or others act between what a writer has read and what it writes.

use std::sync::{Arc, Mutex};

use app::ports::table_store::{Continuation, ETag, Error, Key, Op, Page, Range, Row, TableName, TableStore};
use async_trait::async_trait;
use futures::future::BoxFuture;
use stores::memory::MemoryStore;

type Act = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// In front of a table in memory.
#[derive(Default)]
pub struct Meanwhile {
    table: MemoryStore,
    act: Mutex<Option<Act>>,
    before_counting: Mutex<Option<Act>>,
}

impl Meanwhile {
    pub fn store() -> Arc<Self> {
        Arc::default()
    }

    /// What others do while the next write to a scoring's row is under way.
    pub fn act<F: Future<Output = ()> + Send + 'static>(&self, act: impl FnOnce() -> F + Send + 'static) {
        *self.act.lock().unwrap() = Some(Box::new(|| Box::pin(act())));
    }

    /// What others do before the next row of counted ends is written, and after they were counted.
    pub fn before_counting<F: Future<Output = ()> + Send + 'static>(&self, act: impl FnOnce() -> F + Send + 'static) {
        *self.before_counting.lock().unwrap() = Some(Box::new(|| Box::pin(act())));
    }

    fn next_counting(&self, ops: &[Op]) -> Option<Act> {
        let is_counting = ops.iter().all(|op| op.key().row.starts_with("U~"));
        is_counting.then(|| self.before_counting.lock().unwrap().take()).flatten()
    }

    fn next(&self, ops: &[Op]) -> Option<Act> {
        let is_scoring = ops.iter().any(|op| op.key().row.starts_with("J~"));
        is_scoring.then(|| self.act.lock().unwrap().take()).flatten()
    }
}

#[async_trait]
impl TableStore for Meanwhile {
    async fn create_table(&self, table: &TableName) -> Result<(), Error> {
        self.table.create_table(table).await
    }

    async fn get(&self, table: &TableName, key: &Key) -> Result<Option<Row>, Error> {
        self.table.get(table, key).await
    }

    async fn page_of(
        &self,
        table: &TableName,
        range: &Range,
        from: Option<&Continuation>,
        max: usize,
    ) -> Result<Page, Error> {
        self.table.page_of(table, range, from, max).await
    }

    async fn write(&self, table: &TableName, ops: &[Op]) -> Result<Vec<Option<ETag>>, Error> {
        if let Some(act) = self.next_counting(ops) {
            act().await;
        }
        let Some(act) = self.next(ops) else { return self.table.write(table, ops).await };
        self.table.write(table, ops).await?;
        act().await;
        Err(Error::Ambiguous("no answer".to_owned()))
    }
}
