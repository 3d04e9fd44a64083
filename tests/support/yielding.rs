//! A table whose answers take a moment: between a read and the write that follows others come to their turn, as they do
//! with a real one. The store in memory answers at once, so that tasks on one thread never meet in between.

use std::sync::Arc;

use app::ports::table_store::{Continuation, ETag, Error, Key, Op, Page, Range, Row, TableName, TableStore};
use async_trait::async_trait;
use stores::memory::MemoryStore;
use tokio::task::yield_now;

/// In front of a table in memory.
pub struct Yielding(MemoryStore);

impl Yielding {
    pub fn store() -> Arc<dyn TableStore> {
        Arc::new(Self(MemoryStore::new()))
    }
}

#[async_trait]
impl TableStore for Yielding {
    async fn create_table(&self, table: &TableName) -> Result<(), Error> {
        yield_now().await;
        self.0.create_table(table).await
    }

    async fn get(&self, table: &TableName, key: &Key) -> Result<Option<Row>, Error> {
        let row = self.0.get(table, key).await;
        yield_now().await;
        row
    }

    async fn page_of(
        &self,
        table: &TableName,
        range: &Range,
        from: Option<&Continuation>,
        max: usize,
    ) -> Result<Page, Error> {
        let page = self.0.page_of(table, range, from, max).await;
        yield_now().await;
        page
    }

    async fn write(&self, table: &TableName, ops: &[Op]) -> Result<Vec<Option<ETag>>, Error> {
        yield_now().await;
        self.0.write(table, ops).await
    }
}
