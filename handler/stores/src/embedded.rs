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

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params};
use tokio::sync::{Mutex, Semaphore};

use crate::memory::{PAGE, apply, folded};
use app::ports::table_store::json;
use app::ports::table_store::{
    Continuation, ETag, Entity, Error, Key, Op, Page, Range, Row, TableName, TableStore, check, check_key, check_range,
};

/// The ledger's file in its folder.
pub const FILE: &str = "ledger.db";

/// What this release writes. A file of a later one is refused, as it may mean something else.
const FORMAT: i64 = 1;
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

/// Why a ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is nothing to read.
    #[error("there is no ledger in {}; start the handler with this folder first, or name the folder that it uses", .0.display())]
    NoLedger(PathBuf),
    /// A later release wrote it.
    #[error("{} has format {found}, this release reads {FORMAT}; use the release that wrote it", .path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
    },
    /// SQLite's log cannot be used there.
    #[error("{} does not take a write-ahead log (it stays in mode `{mode}`); put it on a local disk", .path.display())]
    NoLog {
        /// The file.
        path: PathBuf,
        /// The journal mode that SQLite chose.
        mode: String,
    },
    /// The folder cannot be made.
    #[error("{}: {error}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// What is in the file is not a ledger, or not whole.
    #[error("{} is damaged ({error}); stop what uses it, keep it as it is, and restore a copy or what `sqlite3 {} .recover` saves", .path.display(), .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        error: rusqlite::Error,
    },
    /// It can be read, not written.
    #[error("{} cannot be written ({error}); give this user the right to write to the file and its folder, or mount the disk writable", .path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        error: rusqlite::Error,
    },
    /// It is somebody else's.
    #[error("{} cannot be opened by this user ({error}); {}", .path.display(), whose(.path))]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        error: rusqlite::Error,
    },
    /// SQLite says no.
    #[error("{}: {error}", .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        error: rusqlite::Error,
    },
}

impl OpenError {
    fn of(path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Damaged { path, error },
            Some(ErrorCode::ReadOnly) => Self::ReadOnly { path, error },
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => {
                Self::NotOurs { path, error }
            }
            _ => Self::Database { path, error },
        }
    }
}

/// Whose file it is, and what to do about it.
fn whose(path: &Path) -> String {
    #[cfg(unix)]
    if let Ok(facts) = std::fs::metadata(path) {
        use std::os::unix::fs::MetadataExt as _;
        return format!("it belongs to user {}: run as that one, or `chown` the folder", facts.uid());
    }
    format!("see who owns {}", path.parent().unwrap_or(path).display())
}

/// Which file a path names: another one there has another value.
#[cfg(unix)]
fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).map(|facts| (facts.dev(), facts.ino()))
}

/// Elsewhere an open file can be neither removed nor replaced.
#[cfg(not(unix))]
fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|_| (0, 0))
}

/// A ledger's tables in a folder.
pub struct EmbeddedStore {
    /// `None`: opened for reading only.
    writer: Option<Arc<Mutex<Connection>>>,
    readers: Arc<Readers>,
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore")
            .field("path", &self.readers.path)
            .field("writes", &self.writer.is_some())
            .finish_non_exhaustive()
    }
}

impl EmbeddedStore {
    /// Opens the ledger in `folder` for reading and writing; makes folder and file if they are not there. Blocks briefly.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        std::fs::create_dir_all(folder).map_err(|error| OpenError::Folder { path: folder.to_owned(), error })?;
        let path = folder.join(FILE);
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
        {
            let schema = writer.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
            let found = format_of(&schema).map_err(failed)?;
            if found > FORMAT {
                return Err(OpenError::TooNew { path: path.clone(), found });
            }
            schema.execute_batch(SCHEMA).map_err(failed)?;
            schema.pragma_update(None, "user_version", FORMAT).map_err(failed)?;
            schema.commit().map_err(failed)?;
        }
        let readers = Readers::new(path.clone()).map_err(|error| OpenError::Folder { path, error })?;
        Ok(Self { writer: Some(Arc::new(Mutex::new(writer))), readers: Arc::new(readers) })
    }

    /// Opens the ledger in `folder` for reading, while a handler may be writing. Makes no ledger. Writes are
    /// [`Error::Denied`].
    pub fn open_read_only(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.join(FILE);
        if !path.is_file() {
            return Err(OpenError::NoLedger(folder.to_owned()));
        }
        let readers =
            Readers::new(path.clone()).map_err(|error| OpenError::Folder { path: folder.to_owned(), error })?;
        let failed = |error| OpenError::of(&path, error);
        let reader = readers.connect().map_err(failed)?;
        match format_of(&reader).map_err(failed)? {
            // The file of a handler that ended before it had written anything.
            0 => return Err(OpenError::NoLedger(folder.to_owned())),
            FORMAT => {}
            found => return Err(OpenError::TooNew { path, found }),
        }
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
            readers.in_place()?;
            let connection = readers.take().map_err(|error| unavailable(&error))?;
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
            readers.in_place()?;
            // IMMEDIATE: what is read within the transaction cannot change before its end, in no process.
            let transaction = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(|error| not_written(&error))?;
            let written = write(transaction)?;
            // Removed between the two looks: it is in no file that anybody will open.
            readers.in_place()?;
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

/// Idle connections for reading.
struct Readers {
    path: PathBuf,
    /// The file that was opened.
    opened: (u64, u64),
    permits: Arc<Semaphore>,
    idle: Lock<Vec<Connection>>,
}

impl Readers {
    fn new(path: PathBuf) -> std::io::Result<Self> {
        let opened = identity(&path)?;
        Ok(Self { path, opened, permits: Arc::new(Semaphore::new(READERS)), idle: Lock::default() })
    }

    /// The path still names the file that is open. A connection to one that was removed or replaced works on, and what it
    /// writes is gone with the process.
    fn in_place(&self) -> Result<(), Error> {
        let path = self.path.display();
        match identity(&self.path) {
            Ok(found) if found == self.opened => Ok(()),
            Ok(_) => Err(Error::Unavailable(format!(
                "{path} was replaced while it was open; nothing is written to either: start the handler again to use the new file"
            ))),
            Err(error) => Err(Error::Unavailable(format!(
                "{path} is not there any more ({error}); put it back, or start the handler again with a new ledger"
            ))),
        }
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(BUSY)?;
        Ok(connection)
    }

    fn take(&self) -> rusqlite::Result<Connection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| self.connect(), Ok)
    }

    fn release(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}

fn format_of(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn unavailable(error: &rusqlite::Error) -> Error {
    Error::Unavailable(format!("the ledger cannot be read: {error}"))
}

/// An error before the commit: the transaction is rolled back.
fn not_written(error: &rusqlite::Error) -> Error {
    if is_busy(error) {
        Error::Throttled { retry_after: None }
    } else {
        Error::Unavailable(format!("the ledger cannot be written: {error}"))
    }
}

fn etag_text(etag: i64) -> ETag {
    ETag(format!("W/\"{etag}\""))
}

fn require(connection: &Connection, table: &str) -> Result<(), Error> {
    let mut statement =
        connection.prepare("SELECT 1 FROM tables WHERE name = ?1").map_err(|error| unavailable(&error))?;
    let exists = statement.exists([table]).map_err(|error| unavailable(&error))?;
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
        .map_err(|error| unavailable(&error))
}

/// A damaged row is handed out without its properties: whoever reads it then misses what must be there, names the row, and
/// goes on with the next. An error here would hide the whole page.
fn shown(key: Key, etag: i64, json: &str) -> Row {
    decoded(key.clone(), etag, json).unwrap_or_else(|_| Row { entity: Entity::new(key), etag: etag_text(etag) })
}

fn decoded(key: Key, etag: i64, json: &str) -> Result<Row, Error> {
    let damaged = |why: &dyn std::error::Error| Error::Unavailable(format!("the ledger's row {key} is damaged: {why}"));
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
                .map_err(|error| not_written(&error))?;
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
            let mut found = list(connection, &table, &range, &first, max).map_err(|error| unavailable(&error))?;
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
            let mut last: i64 = transaction
                .query_row("SELECT last FROM etags", [], |row| row.get(0))
                .map_err(|error| not_written(&error))?;
            let mut etags = Vec::with_capacity(ops.len());
            for (index, op) in ops.iter().enumerate() {
                last += 1;
                let current = find(&transaction, &table, op.key())?;
                let row = apply(index, op, current.as_ref(), etag_text(last))?;
                save(&transaction, &table, op.key(), row.as_ref(), last).map_err(|error| not_written(&error))?;
                etags.push(row.map(|row| row.etag));
            }
            transaction.execute("UPDATE etags SET last = ?1", [last]).map_err(|error| not_written(&error))?;
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

    #[cfg(unix)]
    #[tokio::test]
    async fn a_ledger_that_is_removed_or_replaced_while_it_is_open_answers_errors() {
        for replaced in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let store = EmbeddedStore::open(folder.path()).unwrap();
            store.create_table(&table()).await.unwrap();
            store.write(&table(), &row()).await.unwrap();
            std::fs::rename(folder.path().join(FILE), folder.path().join("away")).unwrap();
            let _other = replaced.then(|| EmbeddedStore::open(folder.path()).unwrap());
            let written = store.write(&table(), &row()).await.unwrap_err().to_string();
            let read = store.get(&table(), &Key::new("p", "r")).await.unwrap_err().to_string();
            for error in [written, read] {
                assert!(error.contains(if replaced { "replaced" } else { "not there any more" }), "{error}");
            }
        }
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

    #[test]
    fn a_damaged_file_and_one_that_cannot_be_written_each_name_their_remedy() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "no database at all, and long enough to be looked at".repeat(50))
            .unwrap();
        let damaged = EmbeddedStore::open(folder.path()).unwrap_err();
        assert!(matches!(damaged, OpenError::Damaged { .. }) && damaged.to_string().contains("recover"), "{damaged}");
        let path = folder.path().join(FILE);
        let of = |code| {
            let error = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
            OpenError::of(&path, error).to_string()
        };
        assert!(of(rusqlite::ffi::SQLITE_READONLY).contains("right to write"));
        assert!(of(rusqlite::ffi::SQLITE_CANTOPEN).contains("belongs to user"));
        assert!(of(rusqlite::ffi::SQLITE_CORRUPT).contains("damaged"));
    }
}
