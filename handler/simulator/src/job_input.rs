//! What a job finds where its input says: the files of a folder, without what the simulator keeps beside them.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use azure_core::Uuid;

use crate::storage_map::HIDDEN;

/// The files of an input: itself, or those right in the folder, by name. Folders in it are not entered, as in the
/// service.
pub(super) fn files(input: &Path) -> io::Result<Vec<PathBuf>> {
    if !input.is_dir() {
        return Ok(vec![input.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(input)? {
        let entry = entry?;
        if entry.file_type()?.is_file() && !is_hidden(&entry.file_name()) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// The input as a command gets it that lists a folder by itself. Where the simulator keeps something in that folder the command gets
/// one of links below `stage` instead, which holds what the service would show.
pub(super) fn for_command(input: &Path, stage: &Path) -> io::Result<PathBuf> {
    if !input.is_dir() || !holds_hidden(input)? {
        return Ok(input.to_owned());
    }
    let shown = stage.join(Uuid::new_v4().to_string());
    link(input, &shown)?;
    Ok(shown)
}

fn holds_hidden(folder: &Path) -> io::Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if is_hidden(&entry.file_name()) || entry.file_type()?.is_dir() && holds_hidden(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn link(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (kind, name) = (entry.file_type()?, entry.file_name());
        let to = to.join(&name);
        if is_hidden(&name) {
            continue;
        }
        if kind.is_dir() {
            link(&entry.path(), &to)?;
        } else if kind.is_file() && std::fs::hard_link(entry.path(), &to).is_err() {
            // Another file system, or one without links.
            std::fs::copy(entry.path(), &to)?;
        }
    }
    Ok(())
}

fn is_hidden(name: &OsStr) -> bool {
    name.to_string_lossy().starts_with(HIDDEN)
}
