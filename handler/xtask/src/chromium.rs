//! Chromium, in which the page is tried. Nothing downloads one: a system's own has its security updates.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::{
    debian,
    failure::{Failure, Result},
};

/// Names under which systems have it; `tests/browser.rs` looks for the same.
const NAMES: [&str; 3] = ["chromium", "google-chrome", "chromium-browser"];
/// Names the program where it has none of these names, or is elsewhere.
const VARIABLE: &str = "SCOREKEEPER_CHROMIUM";

/// Whether there is one, by that variable or on the `PATH`.
pub(crate) fn is_installed() -> bool {
    let folders: Vec<PathBuf> = env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    env::var_os(VARIABLE).is_some_and(|path| Path::new(&path).is_file()) || is_in(&folders)
}

fn is_in(folders: &[PathBuf]) -> bool {
    folders.iter().any(|folder| NAMES.iter().any(|name| folder.join(name).is_file()))
}

/// Installs it where that is harmless: only for root on Debian.
pub(crate) fn install() -> Result<()> {
    if !is_installed() && debian::is_root() {
        debian::install("chromium")?;
    }
    if is_installed() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "there is no Chromium: none of {} is on PATH; on Debian `apt-get install chromium` brings it, or name one in {VARIABLE}",
        NAMES.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chromium_is_found_by_each_name_that_systems_have_for_it() {
        let empty = tempfile::tempdir().unwrap();
        assert!(!is_in(&[empty.path().to_path_buf()]));
        for name in NAMES {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(name), "").unwrap();
            assert!(is_in(&[empty.path().to_path_buf(), folder.path().to_path_buf()]), "{name}");
        }
    }
}
