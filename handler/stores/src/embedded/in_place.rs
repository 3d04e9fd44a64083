//! Whether the ledger's files are still those that were opened. SQLite works on with files that were removed or replaced
//! beneath it, and what it writes then is gone with the process.
//!
//! Source: SQLite, *How To Corrupt An SQLite Database File*, sections 1 and 4; *WAL-mode File Format*.

use std::ffi::OsString;
use std::fs::Metadata;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, ErrorCode, OpenFlags};

/// The log begins with it, the last bit aside.
const MAGIC: [u8; 4] = [0x37, 0x7f, 0x06, 0x82];
/// What SQLite takes for more than a character of a path in a URI.
const IN_A_URI: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');
/// Which file a path names: another one there has another value.
type FileId = (u64, u64);

/// The files of an open ledger.
pub(super) struct Files {
    database: PathBuf,
    opened: FileId,
    /// The log and its index. `None`: opened for reading only, when SQLite may make and remove them.
    log: Option<[(PathBuf, FileId); 2]>,
    /// What tells this ledger's file from another's ([`mark`]).
    mark: i64,
    seen: Mutex<FileState>,
}

/// What was seen in the file itself, without its log.
#[derive(Default)]
struct FileState {
    changed: Option<(SystemTime, u64)>,
    /// Its last ETag; it never goes back. `None`: all is in the log still.
    last: Option<i64>,
}

/// Why nothing may be written any more. The text names the file and the remedy.
#[derive(Debug, thiserror::Error)]
pub(super) enum Moved {
    #[error("{} is not there any more ({error}); put it back, or start the handler again with a new ledger", .path.display())]
    Gone { path: PathBuf, error: io::Error },
    #[error(
        "{} was replaced while it was open; nothing is written to either: start the handler again to use the new file",
        .0.display()
    )]
    Replaced(PathBuf),
    #[error(
        "{} was removed or replaced while the ledger was open, and it holds the newest rows; stop the handler, put it back, \
         and start again",
        .0.display()
    )]
    Log(PathBuf),
    #[error(
        "{} was overwritten while it was open; nothing is written to it: stop the handler, put back the file that shall be \
         used, and start again",
        .0.display()
    )]
    Overwritten(PathBuf),
}

/// What tells one ledger's file from another's, given to it once: SQLite's number for the kind of a file, in its header.
pub(super) fn mark(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "application_id", |row| row.get(0))
}

/// Gives a file that has no mark yet a random one; within the transaction that makes its tables.
pub(super) fn give_mark(connection: &Connection) -> rusqlite::Result<()> {
    if mark(connection)? == 0 {
        let random: i64 = connection.query_row("SELECT 1 + abs(random() % 2147483646)", [], |row| row.get(0))?;
        connection.pragma_update(None, "application_id", random)?;
    }
    Ok(())
}

impl Files {
    /// The files of a ledger that is open, with its mark.
    pub(super) fn of(database: PathBuf, mark: i64, writes: bool) -> io::Result<Self> {
        let opened = identity(&std::fs::metadata(&database)?);
        let beside = |ending: &str| {
            let mut path = OsString::from(&database);
            path.push(ending);
            let path = PathBuf::from(path);
            std::fs::metadata(&path).map(|facts| (path, identity(&facts)))
        };
        let log = if writes { Some([beside("-wal")?, beside("-shm")?]) } else { None };
        Ok(Self { database, opened, log, mark, seen: Mutex::default() })
    }

    /// Path of the ledger's file, as it was opened.
    pub(super) fn database(&self) -> &Path {
        &self.database
    }

    /// Looks whether all are what was opened.
    pub(super) fn check(&self) -> Result<(), Moved> {
        let path = || self.database.clone();
        let facts = std::fs::metadata(&self.database).map_err(|error| Moved::Gone { path: path(), error })?;
        if identity(&facts) != self.opened {
            return Err(Moved::Replaced(path()));
        }
        for (path, opened) in self.log.iter().flatten() {
            if !std::fs::metadata(path).is_ok_and(|facts| identity(&facts) == *opened) {
                return Err(Moved::Log(path.clone()));
            }
        }
        if let Some([(log, _), _]) = &self.log
            && !begins_as_a_log(log)
        {
            return Err(Moved::Log(log.clone()));
        }
        if self.is_ours(&facts) { Ok(()) } else { Err(Moved::Overwritten(path())) }
    }

    /// Whether what is in the file is still this ledger, and no older copy of it. Costs a look at its times while nobody has
    /// written to it.
    fn is_ours(&self, facts: &Metadata) -> bool {
        let changed = facts.modified().ok().map(|at| (at, facts.len()));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if changed.is_some() && changed == seen.changed {
            return true;
        }
        let (mark, last) = match in_the_file(&self.database) {
            Ok(found) => found,
            // Not whole without its log, as while pages are being moved or after a kill meanwhile: nothing is known by that.
            Err(error) => return error.sqlite_error_code() != Some(ErrorCode::NotADatabase),
        };
        let ours = match last {
            Some(last) => mark == self.mark && seen.last.is_none_or(|before| before <= last),
            None => seen.last.is_none() && [0, self.mark].contains(&mark),
        };
        if ours {
            *seen = FileState { changed, last };
        }
        ours
    }
}

#[cfg(unix)]
fn identity(facts: &Metadata) -> FileId {
    use std::os::unix::fs::MetadataExt as _;
    (facts.dev(), facts.ino())
}

/// Elsewhere an open file can be neither removed nor replaced.
#[cfg(not(unix))]
fn identity(_: &Metadata) -> FileId {
    (0, 0)
}

/// Whether a log is empty, or begins as one: somebody may have emptied it, and what SQLite adds then is not read again.
fn begins_as_a_log(path: &Path) -> bool {
    let mut begin = [0; MAGIC.len()];
    match std::fs::File::open(path).and_then(|mut log| log.read(&mut begin)) {
        Ok(0) => true,
        Ok(_) => {
            begin[3] &= !1;
            begin == MAGIC
        }
        Err(_) => false,
    }
}

/// Mark and last ETag of a file as it is without its log. Through SQLite: when a process closes a file, the system forgets all
/// locks that it has on it, and SQLite knows of those that are held.
fn in_the_file(database: &Path) -> rusqlite::Result<(i64, Option<i64>)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let path = percent_encode(database.as_os_str().as_encoded_bytes(), IN_A_URI);
    let file = Connection::open_with_flags(format!("file:{path}?immutable=1"), flags)?;
    let has_tables = file.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'etags'")?.exists([])?;
    let last = if has_tables { Some(file.query_row("SELECT last FROM etags", [], |row| row.get(0))?) } else { None };
    Ok((mark(&file)?, last))
}
