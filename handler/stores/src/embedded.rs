//! The table on a local disk: SQLite, for `local` and for apps that want no account for their state.
//!
//! One file, `ledger.db`, with its write-ahead log beside it. A second process, such as the CLI, reads while the handler
//! writes, and may write too. A write is on disk when it returns (`synchronous=FULL`). It is as strict as the service:
//! [`check`] comes first, and what an operation means is [`memory::apply`](super::memory). It must not lie on a network share:
//! SQLite's log needs shared memory.
//!
//! Properties are kept in the service's own JSON, so that `properties->>'State'` works in any SQLite shell.
//!
//! Sources: SQLite, *Write-Ahead Logging*; *Result and Error Codes*.

mod in_place;
mod open_error;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params};
use tokio::sync::{Mutex, Semaphore};

use self::in_place::{Files, Moved};
pub use self::open_error::OpenError;
use self::open_error::{FORMAT, file_at, folder_error};
use crate::memory::{PAGE, apply, folded};
use app::ports::table_store::json;
use app::ports::table_store::{
    Continuation, ETag, Entity, Error, Key, Op, Page, Range, Row, TableName, TableStore, check, check_key, check_range,
};

/// The ledger's file in its folder.
pub const FILE: &str = "ledger.db";

/// How long a statement waits for another process's write. Writes take milliseconds.
const BUSY: Duration = Duration::from_secs(10);
/// Connections for reading; more readers wait.
const READERS: usize = 4;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS tables (name TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS entities (
        tbl TEXT NOT NULL, pk TEXT NOT NULL, rk TEXT NOT NULL, etag INTEGER NOT NULL, properties TEXT NOT NULL,
        PRIMARY KEY (tbl, pk, rk)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS etags (last INTEGER NOT NULL);
    INSERT INTO etags SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM etags);
";

/// A ledger's tables in a folder.
pub struct EmbeddedStore {
    /// Closed first: the last connection puts the log into the file when it is closed, and those for reading cannot.
    readers: Arc<Readers>,
    /// `None`: opened for reading only.
    writer: Option<Arc<Mutex<Connection>>>,
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore")
            .field("path", &self.readers.files.database())
            .field("writes", &self.writer.is_some())
            .finish_non_exhaustive()
    }
}

impl EmbeddedStore {
    /// Opens the ledger in `folder` for reading and writing; makes folder and file if they are not there. Blocks briefly.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        std::fs::create_dir_all(folder).map_err(|error| folder_error(folder, error))?;
        let path = folder.join(FILE);
        match file_at(&path, std::fs::metadata(&path)) {
            Ok(()) | Err(OpenError::NoLedger(_)) => {}
            Err(error) => return Err(error),
        }
        let failed = |error| OpenError::of(&path, error);
        let mut writer =
            Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
                .map_err(failed)?;
        writer.busy_timeout(BUSY).map_err(failed)?;
        let mode = switch_to_log(&writer).map_err(failed)?;
        if !mode.eq_ignore_ascii_case("wal") {
            return Err(OpenError::NoLog { path, mode });
        }
        writer.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        // The log shrinks to this after each checkpoint; one burst must not hold the disk for ever.
        writer.pragma_update(None, "journal_size_limit", 16 * 1024 * 1024).map_err(failed)?;
        let mark = {
            let schema = writer.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
            let found = format_of(&schema).map_err(failed)?;
            if found > FORMAT {
                return Err(OpenError::TooNew { path: path.clone(), found });
            }
            schema.execute_batch(SCHEMA).map_err(failed)?;
            schema.pragma_update(None, "user_version", FORMAT).map_err(failed)?;
            in_place::give_mark(&schema).map_err(failed)?;
            let mark = in_place::mark(&schema).map_err(failed)?;
            schema.commit().map_err(failed)?;
            mark
        };
        let files = Files::of(path.clone(), mark, true).map_err(|error| folder_error(&path, error))?;
        let readers = Readers::new(files);
        Ok(Self { writer: Some(Arc::new(Mutex::new(writer))), readers: Arc::new(readers) })
    }

    /// Opens the ledger in `folder` for reading, while a handler may be writing. Makes no ledger. Writes are
    /// [`Error::Denied`].
    pub fn open_read_only(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.join(FILE);
        file_at(&path, std::fs::metadata(&path))?;
        let failed = |error| OpenError::of(&path, error);
        let reader = reader(&path).map_err(failed)?;
        match format_of(&reader).map_err(failed)? {
            // The file of a handler that ended before it had written anything.
            0 => return Err(OpenError::NoLedger(folder.to_owned())),
            FORMAT => {}
            found => return Err(OpenError::TooNew { path, found }),
        }
        let mark = in_place::mark(&reader).map_err(failed)?;
        let readers = Readers::new(Files::of(path.clone(), mark, false).map_err(|error| folder_error(&path, error))?);
        readers.release(reader);
        Ok(Self { writer: None, readers: Arc::new(readers) })
    }

    async fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let readers = Arc::clone(&self.readers);
        let permit = Arc::clone(&readers.permits).acquire_owned().await;
        let outcome = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            readers.files.check().map_err(|moved| Error::FileUnusable(moved.to_string()))?;
            let connection = readers.take().map_err(|error| not_read(readers.files.database(), error))?;
            let value = read(&connection)?;
            // After an error the connection is dropped; the next reader opens a new one.
            readers.release(connection);
            Ok(value)
        });
        outcome.await.unwrap_or_else(|error| Err(Error::Unavailable(format!("the read ended early: {error}"))))
    }

    async fn writing<T: Send + 'static>(
        &self,
        write: impl FnOnce(Transaction<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let Some(writer) = &self.writer else {
            return Err(Error::Denied("the ledger was opened for reading only".to_owned()));
        };
        let readers = Arc::clone(&self.readers);
        // Waiting here costs no thread. If the caller goes away, a write that has begun is finished.
        let mut connection = Arc::clone(writer).lock_owned().await;
        let outcome = tokio::task::spawn_blocking(move || {
            let files = &readers.files;
            files.check().map_err(|moved| Error::FileUnusable(moved.to_string()))?;
            // IMMEDIATE: what is read within the transaction cannot change before its end, in no process.
            let transaction = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(|error| not_written(files.database(), error))?;
            let written = write(transaction)?;
            // Moved between the two looks: it may be in a file that nobody will open, or in one that was put in its place.
            files.check().map_err(|moved: Moved| Error::Ambiguous(moved.to_string()))?;
            Ok(written)
        });
        outcome.await.unwrap_or_else(|error| Err(Error::Ambiguous(format!("the write ended early: {error}"))))
    }
}

/// Asks for the write-ahead log; the mode that it is then. SQLite does not wait for others here, whatever the busy timeout
/// says: of two processes that open a new ledger at once, one would fail.
fn switch_to_log(writer: &Connection) -> rusqlite::Result<String> {
    let begun = Instant::now();
    loop {
        match writer.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)) {
            Err(error) if is_busy(&error) && begun.elapsed() < BUSY => std::thread::sleep(Duration::from_millis(10)),
            outcome => return outcome,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Connections for reading: the idle ones, and permits that bound how many are in use.
struct Readers {
    files: Files,
    permits: Arc<Semaphore>,
    idle: Lock<Vec<Connection>>,
}

impl Readers {
    fn new(files: Files) -> Self {
        Self { files, permits: Arc::new(Semaphore::new(READERS)), idle: Lock::default() }
    }

    fn take(&self) -> rusqlite::Result<Connection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| reader(self.files.database()), Ok)
    }

    fn release(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}

fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

fn format_of(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn not_read(path: &Path, error: rusqlite::Error) -> Error {
    match OpenError::of(path, error) {
        damaged @ OpenError::Damaged { .. } => Error::Damaged(damaged.to_string()),
        other => Error::FileUnusable(other.to_string()),
    }
}

/// An error before the commit: the transaction is rolled back.
fn not_written(path: &Path, error: rusqlite::Error) -> Error {
    if is_busy(&error) { Error::Throttled { retry_after: None } } else { not_read(path, error) }
}

/// The file of a connection.
fn file_of(connection: &Connection) -> &Path {
    Path::new(connection.path().unwrap_or(FILE))
}

fn etag_text(etag: i64) -> ETag {
    ETag(format!("W/\"{etag}\""))
}

fn require(connection: &Connection, table: &str) -> Result<(), Error> {
    let mut statement = connection
        .prepare("SELECT 1 FROM tables WHERE name = ?1")
        .map_err(|error| not_read(file_of(connection), error))?;
    let exists = statement.exists([table]).map_err(|error| not_read(file_of(connection), error))?;
    if exists { Ok(()) } else { Err(Error::TableMissing) }
}

fn find(connection: &Connection, table: &str, key: &Key) -> Result<Option<Row>, Error> {
    let found = properties(connection, table, key)?;
    found.map(|(etag, json)| decoded(key.clone(), etag, &json)).transpose()
}

/// A row's version and its properties as they stand in the file.
fn properties(connection: &Connection, table: &str, key: &Key) -> Result<Option<(i64, String)>, Error> {
    connection
        .prepare("SELECT etag, properties FROM entities WHERE tbl = ?1 AND pk = ?2 AND rk = ?3")
        .and_then(|mut statement| {
            statement
                .query_row(params![table, key.partition, key.row], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))
                .optional()
        })
        .map_err(|error| not_read(file_of(connection), error))
}

/// A damaged row is handed out without its properties: whoever reads it then misses what must be there, names the row, and
/// goes on with the next. An error here would hide the whole page.
fn shown(key: Key, etag: i64, json: &str) -> Row {
    decoded(key.clone(), etag, json).unwrap_or_else(|_| Row { entity: Entity::new(key), etag: etag_text(etag) })
}

fn decoded(key: Key, etag: i64, json: &str) -> Result<Row, Error> {
    let damaged = |why: &dyn std::error::Error| Error::Damaged(format!("the ledger's row {key} is damaged: {why}"));
    let json = serde_json::from_str(json).map_err(|why| damaged(&why))?;
    let properties = json::from_json(&json).map_err(|why| damaged(&why))?;
    Ok(Row { entity: Entity { key, properties }, etag: etag_text(etag) })
}

fn list(
    connection: &Connection,
    table: &str,
    range: &Range,
    first: &str,
    max: usize,
) -> rusqlite::Result<Vec<(String, i64, String)>> {
    let limit = i64::try_from(max + 1).unwrap_or(i64::MAX);
    connection
        .prepare(
            "SELECT rk, etag, properties FROM entities
             WHERE tbl = ?1 AND pk = ?2 AND rk >= ?3 AND rk < ?4 ORDER BY rk LIMIT ?5",
        )?
        .query_map(params![table, range.partition, first, range.below, limit], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect()
}

fn save(transaction: &Transaction<'_>, table: &str, key: &Key, row: Option<&Row>, etag: i64) -> rusqlite::Result<()> {
    match row {
        Some(row) => {
            let json = json::to_json(&row.entity.properties);
            transaction
                .prepare("INSERT OR REPLACE INTO entities (tbl, pk, rk, etag, properties) VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![table, key.partition, key.row, etag, json])?;
        }
        None => {
            transaction.prepare("DELETE FROM entities WHERE tbl = ?1 AND pk = ?2 AND rk = ?3")?.execute(params![
                table,
                key.partition,
                key.row
            ])?;
        }
    }
    Ok(())
}

/// A failed commit may still be on disk: the log's end can be complete although its flush failed.
fn commit(transaction: Transaction<'_>) -> Result<(), Error> {
    transaction.commit().map_err(|error| Error::Ambiguous(format!("the commit failed: {error}")))
}

#[async_trait]
impl TableStore for EmbeddedStore {
    async fn create_table(&self, table: &TableName) -> Result<(), Error> {
        let table = folded(table);
        self.writing(move |transaction| {
            transaction
                .execute("INSERT OR IGNORE INTO tables (name) VALUES (?1)", [table])
                .map_err(|error| not_written(file_of(&transaction), error))?;
            commit(transaction)
        })
        .await
    }

    async fn get(&self, table: &TableName, key: &Key) -> Result<Option<Row>, Error> {
        check_key(key)?;
        let (table, key) = (folded(table), key.clone());
        self.reading(move |connection| {
            require(connection, &table)?;
            let found = properties(connection, &table, &key)?;
            Ok(found.map(|(etag, json)| shown(key, etag, &json)))
        })
        .await
    }

    async fn page_of(
        &self,
        table: &TableName,
        range: &Range,
        from: Option<&Continuation>,
        max: usize,
    ) -> Result<Page, Error> {
        check_range(range)?;
        let max = max.clamp(1, PAGE);
        let (table, range) = (folded(table), range.clone());
        // The continuation is the row key to go on with.
        let first = from.map_or_else(|| range.from.clone(), |Continuation(row)| row.clone());
        self.reading(move |connection| {
            require(connection, &table)?;
            let mut found =
                list(connection, &table, &range, &first, max).map_err(|error| not_read(file_of(connection), error))?;
            let next = if found.len() > max { found.pop().map(|(row, ..)| Continuation(row)) } else { None };
            let rows = found
                .into_iter()
                .map(|(row, etag, json)| shown(Key::new(&range.partition, row), etag, &json))
                .collect();
            Ok(Page { rows, next })
        })
        .await
    }

    async fn write(&self, table: &TableName, ops: &[Op]) -> Result<Vec<Option<ETag>>, Error> {
        check(ops)?;
        let (table, ops) = (folded(table), ops.to_vec());
        self.writing(move |transaction| {
            require(&transaction, &table)?;
            let failed = |error| not_written(file_of(&transaction), error);
            let mut last: i64 =
                transaction.query_row("SELECT last FROM etags", [], |row| row.get(0)).map_err(failed)?;
            let mut etags = Vec::with_capacity(ops.len());
            for (index, op) in ops.iter().enumerate() {
                last += 1;
                let current = find(&transaction, &table, op.key())?;
                let row = apply(index, op, current.as_ref(), etag_text(last))?;
                save(&transaction, &table, op.key(), row.as_ref(), last).map_err(failed)?;
                etags.push(row.map(|row| row.etag));
            }
            transaction.execute("UPDATE etags SET last = ?1", [last]).map_err(failed)?;
            commit(transaction)?;
            Ok(etags)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> TableName {
        TableName::read("State").unwrap()
    }

    fn row() -> [Op; 1] {
        [Op::Upsert(Entity::new(Key::new("p", "r")).with("N", 1))]
    }

    /// A file of the ledger, by the ending of its name.
    fn file(folder: &Path, ending: &str) -> std::path::PathBuf {
        folder.join(format!("{FILE}{ending}"))
    }

    async fn written(folder: &Path) -> EmbeddedStore {
        let store = EmbeddedStore::open(folder).unwrap();
        store.create_table(&table()).await.unwrap();
        store.write(&table(), &row()).await.unwrap();
        store
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_ledger_that_is_removed_or_replaced_while_it_is_open_answers_errors() {
        for (ending, replaced, expected) in [
            ("", false, "not there any more"),
            ("", true, "replaced"),
            ("-wal", false, "-wal was removed or replaced"),
            ("-wal", true, "-wal was removed or replaced"),
            ("-shm", false, "-shm was removed or replaced"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let store = written(folder.path()).await;
            std::fs::rename(file(folder.path(), ending), folder.path().join("away")).unwrap();
            let _other = replaced.then(|| EmbeddedStore::open(folder.path()));
            let written = store.write(&table(), &row()).await.unwrap_err();
            assert!(matches!(written, Error::FileUnusable(_)), "surely not written: {written:?}");
            let read = store.get(&table(), &Key::new("p", "r")).await.unwrap_err();
            for error in [written, read] {
                assert!(error.to_string().contains(expected), "{ending} {replaced}: {error}");
            }
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_ledger_that_is_removed_while_it_is_written_is_no_success() {
        for ending in ["", "-wal", "-shm"] {
            let folder = tempfile::tempdir().unwrap();
            let store = written(folder.path()).await;
            let removed = file(folder.path(), ending);
            let outcome = store.writing(move |transaction| {
                transaction.execute("UPDATE etags SET last = last + 1", []).expect("a write");
                std::fs::remove_file(removed).expect("it is there");
                commit(transaction)
            });
            let error = outcome.await.unwrap_err();
            assert!(matches!(error, Error::Ambiguous(_)), "{ending}: {error:?}");
        }
    }

    #[tokio::test]
    async fn a_ledger_that_is_overwritten_in_its_place_answers_errors() {
        let others = tempfile::tempdir().unwrap();
        drop(written(others.path()).await);
        let folder = tempfile::tempdir().unwrap();
        drop(written(folder.path()).await);
        let older = std::fs::read(file(folder.path(), "")).unwrap();
        let of_another = std::fs::read(file(others.path(), "")).unwrap();
        for content in [of_another, older, Vec::new(), b"no database".repeat(100)] {
            let store = written(folder.path()).await;
            let newest = std::fs::read(file(folder.path(), "")).unwrap();
            store.write(&table(), &row()).await.unwrap();
            let path = file(folder.path(), "");
            std::fs::write(&path, &content).unwrap();
            // Whatever the granularity of the file system's clock is.
            let later = std::fs::metadata(&path).unwrap().modified().unwrap() + Duration::from_secs(10);
            std::fs::File::options().append(true).open(&path).unwrap().set_modified(later).unwrap();
            let error = store.write(&table(), &row()).await.unwrap_err();
            assert!(error.to_string().contains("was overwritten while it was open"), "{error}");
            // Put back as it was, it goes on.
            std::fs::write(file(folder.path(), ""), newest).unwrap();
            store.write(&table(), &row()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_log_that_is_emptied_while_it_is_open_is_no_success() {
        let folder = tempfile::tempdir().unwrap();
        let store = written(folder.path()).await;
        std::fs::write(file(folder.path(), "-wal"), []).unwrap();
        let written = store.write(&table(), &row()).await;
        assert!(written.is_err(), "it stands behind a hole, where nobody will read it");
    }

    #[tokio::test]
    async fn a_ledger_that_is_closed_has_its_log_in_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let store = written(folder.path()).await;
        assert!(store.get(&table(), &Key::new("p", "r")).await.unwrap().is_some(), "a connection for reading is open");
        drop(store);
        assert!(!file(folder.path(), "-wal").exists());
    }

    #[tokio::test]
    async fn pages_that_are_damaged_are_told_of_as_that_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        drop(written(folder.path()).await);
        let path = file(folder.path(), "");
        let mut pages = std::fs::read(&path).unwrap();
        // All pages but the first, which names the tables.
        pages[4096..].fill(0xff);
        std::fs::write(&path, pages).unwrap();
        let reader = EmbeddedStore::open_read_only(folder.path()).unwrap();
        let error = reader.get(&table(), &Key::new("p", "r")).await.unwrap_err();
        let said = error.to_string();
        assert!(matches!(error, Error::Damaged(_)) && said.contains(&path.display().to_string()), "{said}");
        assert!(said.contains(".recover") && !said.contains("table service"), "{said}");
    }

    #[tokio::test]
    async fn a_damaged_row_is_read_without_its_properties_and_hides_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(folder.path()).unwrap();
        store.create_table(&table()).await.unwrap();
        store.write(&table(), &row()).await.unwrap();
        store.write(&table(), &[Op::Upsert(Entity::new(Key::new("p", "s")).with("N", 2))]).await.unwrap();
        let file = Connection::open(folder.path().join(FILE)).unwrap();
        file.execute("UPDATE entities SET properties = '{\"N' WHERE rk = 'r'", []).unwrap();
        let range = Range { partition: "p".to_owned(), from: "a".to_owned(), below: "z".to_owned() };
        let page = store.page(&table(), &range, None).await.unwrap();
        let read: Vec<_> = page.rows.iter().map(|row| row.entity.int32("N")).collect();
        assert_eq!(read, [None, Some(2)]);
        assert!(store.get(&table(), &Key::new("p", "r")).await.unwrap().is_some());
    }
}
