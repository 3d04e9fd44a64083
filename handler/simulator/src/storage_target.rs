//! The file that a write gives a blob: made beside it, and put in its place at once, with its metadata, if the conditions hold.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use axum::response::Response;
use azure_core::Uuid;

use crate::answer::{add, empty};
use crate::call::Call;
use crate::sidecar::{Sidecar, Written, sidecar_of};
use crate::storage_map::{HIDDEN, existing, relative};
use crate::storage_version::{error, unmet, version};

/// From the look at a condition to the write: of two writers on one condition one is refused. Readers of a file and of what stands
/// beside it hold it, too.
static WRITING: Mutex<()> = Mutex::new(());

/// Until it is dropped, no blob is written.
pub(super) fn no_writes() -> MutexGuard<'static, ()> {
    WRITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The blob that is written.
#[derive(Debug)]
pub(super) struct Target {
    /// The folder that stands for its container.
    folder: PathBuf,
    blob: String,
    /// The blob's name as a path below the folder.
    path: PathBuf,
}

impl Target {
    /// `None` for a name that no file can have.
    pub(super) fn new(folder: &Path, blob: &str) -> Option<Self> {
        Some(Self { folder: folder.to_owned(), blob: blob.to_owned(), path: relative(blob)? })
    }

    /// The file that stands for the blob.
    fn file(&self) -> PathBuf {
        self.folder.join(&self.path)
    }

    /// Whether there is a blob of this name now.
    pub(super) fn exists(&self) -> bool {
        existing(&self.folder, &self.blob).is_ok()
    }

    /// Where blocks wait that are to become the blob: a hidden folder beside its file.
    pub(super) fn blocks(&self) -> PathBuf {
        let file = self.file();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        file.with_file_name(format!("{HIDDEN}blocks-{name}"))
    }

    /// A new file beside the one that it is to become. A link must not lead outside: looked at before folders are made behind it.
    pub(super) fn unfinished(&self) -> io::Result<PathBuf> {
        let file = self.file();
        let parent = file.parent().unwrap_or(&self.folder);
        let there = parent.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(&self.folder);
        if !there.canonicalize()?.starts_with(&self.folder) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        std::fs::create_dir_all(parent)?;
        Ok(parent.join(format!("{HIDDEN}{}", Uuid::new_v4())))
    }
}

/// Puts a file in the place of the blob's, with its metadata and this content type, if the conditions hold.
pub(super) fn finish(
    target: &Target,
    call: &Call,
    unfinished: &Path,
    content_type: Option<String>,
) -> io::Result<Response> {
    let (modified, etag) = version(&unfinished.metadata()?);
    let _writing = no_writes();
    // Before its conditions: a look shows no blob there, and it could never be written.
    if target.file().is_dir() {
        std::fs::remove_file(unfinished)?;
        let text = "The simulator has a folder of this name.";
        return Ok(error(StatusCode::CONFLICT, "ResourceTypeMismatch", text));
    }
    let before = existing(&target.folder, &target.blob).and_then(|file| file.metadata());
    let before = before.ok().map(|facts| version(&facts).1);
    if let Some(refused) = unmet(call, before.as_deref()) {
        std::fs::remove_file(unfinished)?;
        return Ok(refused);
    }
    let file = target.file();
    let written = Written { metadata: call.metadata(), content_type };
    Sidecar::expect(&file, before.as_deref(), &etag, written)?;
    std::fs::rename(unfinished, &file)?;
    // Mostly nothing waits.
    let _ = std::fs::remove_dir_all(target.blocks());
    let mut response = empty(StatusCode::CREATED);
    let modified = azure_core::time::to_rfc7231(&modified);
    add(response.headers_mut(), &[("etag", &etag), ("last-modified", &modified)]);
    Ok(response)
}

/// Removes the file of a blob, if the conditions hold.
pub(super) fn remove(target: &Target, call: &Call) -> io::Result<Response> {
    let _writing = no_writes();
    let file = existing(&target.folder, &target.blob)?;
    let (_, etag) = version(&file.metadata()?);
    if let Some(refused) = unmet(call, Some(&etag)) {
        return Ok(refused);
    }
    std::fs::remove_file(&file)?;
    // Second: beside no file it means nothing.
    let _ = std::fs::remove_file(sidecar_of(&file));
    Ok(empty(StatusCode::ACCEPTED))
}
