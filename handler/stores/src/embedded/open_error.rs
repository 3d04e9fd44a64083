//! Why a ledger on disk cannot be opened, each with its remedy.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// What this release writes. A file of a later one is refused, as it may mean something else.
pub(super) const FORMAT: i64 = 1;

/// Why a ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is nothing to read.
    #[error("there is no ledger in {}; start the handler with this folder first, or name the folder that it uses", .0.display())]
    NoLedger(PathBuf),
    /// A later release wrote it.
    #[error("{} has format {found}, this release reads {FORMAT}; use the release that wrote it", .path.display())]
    TooNew {
        /// Path of the ledger's file.
        path: PathBuf,
        /// Its `user_version`, which is not the format that this release reads.
        found: i64,
    },
    /// SQLite's log cannot be used there.
    #[error("{} does not take a write-ahead log (it stays in mode `{mode}`); put it on a local disk", .path.display())]
    NoLog {
        /// Path of the ledger's file.
        path: PathBuf,
        /// The journal mode that SQLite chose.
        mode: String,
    },
    /// The folder cannot be made.
    #[error("{}: {error}", .path.display())]
    Folder {
        /// The folder, or the file in it, that could not be made or looked at.
        path: PathBuf,
        /// What the operating system says, other than that it is not allowed.
        error: io::Error,
    },
    /// What is there is a folder, or a link to nothing.
    #[error("{} is not a file; move away what is there, or name the folder that holds the ledger", .0.display())]
    NotAFile(PathBuf),
    /// The folder is somebody else's: whether there is a ledger cannot be seen.
    #[error("{} cannot be looked at by this user ({error}); {}", .path.display(), whose(.path))]
    NotAllowed {
        /// The file or the folder.
        path: PathBuf,
        /// What the operating system says: this user lacks a right to the path.
        error: io::Error,
    },
    /// What is in the file is not a ledger, or not whole.
    #[error("{} is damaged ({error}); stop what uses it, keep it as it is, and restore a copy or what `sqlite3 {} .recover` saves", .path.display(), .path.display())]
    Damaged {
        /// Path of the ledger's file.
        path: PathBuf,
        /// SQLite's error: the file is not a database, or is corrupt.
        error: rusqlite::Error,
    },
    /// It can be read, not written.
    #[error("{} cannot be written ({error}); give this user the right to write to the file and its folder, or mount the disk writable", .path.display())]
    ReadOnly {
        /// Path of the ledger's file.
        path: PathBuf,
        /// SQLite's error, with its code for what may only be read.
        error: rusqlite::Error,
    },
    /// SQLite cannot open the file, mostly as it is another user's; the message says whose.
    #[error("{} cannot be opened by this user ({error}); {}", .path.display(), whose(.path))]
    NotOurs {
        /// Path of the ledger's file.
        path: PathBuf,
        /// SQLite's error: it cannot open the file, or was denied access.
        error: rusqlite::Error,
    },
    /// Any other error of SQLite while the ledger is opened.
    #[error("{}: {error}", .path.display())]
    Database {
        /// Path of the ledger's file.
        path: PathBuf,
        /// SQLite's error, shown as it is.
        error: rusqlite::Error,
    },
}

impl OpenError {
    /// By what SQLite says of the file.
    pub(super) fn of(path: &Path, error: rusqlite::Error) -> Self {
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

/// What the folder's owner and the system let this user see, before SQLite is asked: it says of all this that it cannot open the
/// file.
pub(super) fn file_at(path: &Path, found: io::Result<Metadata>) -> Result<(), OpenError> {
    match found {
        Ok(facts) if facts.is_file() => Ok(()),
        Ok(_) => Err(OpenError::NotAFile(path.to_owned())),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound if path.is_symlink() => Err(OpenError::NotAFile(path.to_owned())),
            io::ErrorKind::NotFound => Err(OpenError::NoLedger(path.parent().unwrap_or(path).to_owned())),
            _ => Err(folder_error(path, error)),
        },
    }
}

/// The folder can be neither made nor looked into.
pub(super) fn folder_error(path: &Path, error: io::Error) -> OpenError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::PermissionDenied => OpenError::NotAllowed { path, error },
        _ => OpenError::Folder { path, error },
    }
}

/// Whose it is, or the folder that keeps it from being seen, and what to do about it.
fn whose(path: &Path) -> String {
    #[cfg(unix)]
    if let Some((seen, facts)) = path.ancestors().find_map(|seen| Some((seen, std::fs::metadata(seen).ok()?))) {
        use std::os::unix::fs::MetadataExt as _;
        let (owner, mode) = (facts.uid(), facts.mode() & 0o7777);
        let seen = seen.display();
        return format!(
            "{seen} belongs to user {owner} with mode {mode:03o}: run as that user, or `chown` or `chmod` it"
        );
    }
    format!("see who owns {}", path.parent().unwrap_or(path).display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::{EmbeddedStore, FILE};

    fn denied() -> io::Error {
        io::ErrorKind::PermissionDenied.into()
    }

    #[cfg(unix)]
    #[test]
    fn another_users_folder_is_not_taken_for_one_without_a_ledger() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let path = folder.path().join(FILE);
        // What a user who is not root is told of a folder with mode 700.
        let error = file_at(&path, Err(denied())).unwrap_err();
        let said = error.to_string();
        assert!(matches!(error, OpenError::NotAllowed { .. }), "{said}");
        let owner = format!("{} belongs to user ", folder.path().display());
        assert!(
            said.contains(&owner) && said.contains("with mode 700") && !said.contains("start the handler"),
            "{said}"
        );
        assert!(matches!(folder_error(&path, denied()), OpenError::NotAllowed { .. }));
        assert!(matches!(file_at(&path, std::fs::metadata(&path)), Err(OpenError::NoLedger(_))));
    }

    #[test]
    fn a_folder_in_the_files_place_is_told_of_as_that() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(FILE)).unwrap();
        for error in
            [EmbeddedStore::open(folder.path()), EmbeddedStore::open_read_only(folder.path())].map(Result::unwrap_err)
        {
            assert!(matches!(error, OpenError::NotAFile(_)) && error.to_string().contains("is not a file"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_nothing_is_no_missing_ledger() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join(FILE)).unwrap();
        let error = EmbeddedStore::open_read_only(folder.path()).unwrap_err();
        assert!(matches!(error, OpenError::NotAFile(_)), "{error}");
    }

    #[test]
    fn a_damaged_file_and_one_that_cannot_be_written_each_name_their_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        std::fs::write(&path, "no database at all, and long enough to be looked at".repeat(50)).unwrap();
        let damaged = EmbeddedStore::open(folder.path()).unwrap_err();
        assert!(matches!(damaged, OpenError::Damaged { .. }) && damaged.to_string().contains("recover"), "{damaged}");
        let of = |code| {
            let error = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
            OpenError::of(&path, error).to_string()
        };
        assert!(of(rusqlite::ffi::SQLITE_READONLY).contains("right to write"));
        assert!(of(rusqlite::ffi::SQLITE_CANTOPEN).contains("belongs to user"));
        assert!(of(rusqlite::ffi::SQLITE_CORRUPT).contains("damaged"));
    }
}
