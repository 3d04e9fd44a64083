//! Installs azure-ai-ml, Microsoft's client, for the test that drives the simulator with it: a virtual environment under
//! `target/`, with what `tests/python/requirements.txt` pins, and only if that has changed.

use std::{fs, path::Path, process::Command};

use crate::{
    failure::{Failure, Result, cannot},
    workspace::{asked, root, run, target},
};

/// A copy of the requirements, written when all are installed: a cut installation does not count.
const INSTALLED: &str = "installed.txt";

/// Is what is pinned installed?
pub(crate) fn is_installed() -> Result<bool> {
    let wanted = requirements()?;
    Ok(holds(&target().join("python"), &wanted))
}

/// Installs what is pinned unless it is there.
pub(crate) fn install() -> Result<()> {
    let wanted = requirements()?;
    let folder = target().join("python");
    if holds(&folder, &wanted) {
        return Ok(());
    }
    // Debian splits it: without `python3-venv`, `venv` is there and fails half-way.
    for (probe, what) in [("", "`python3`"), ("import venv, ensurepip", "Python's `venv` (Debian: python3-venv)")] {
        if asked("python3", &["-c", probe]).is_none() {
            return Err(Failure::new(format!(
                "{what} is missing; it runs Microsoft's Python client against the simulator"
            )));
        }
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let list = root().join("tests/python/requirements.txt");
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
    run(Command::new(folder.join("bin/python")).args(pip).arg(&list))?;
    fs::write(folder.join(INSTALLED), wanted).map_err(cannot("write", &folder))
}

fn requirements() -> Result<String> {
    let path = root().join("tests/python/requirements.txt");
    let text = fs::read_to_string(&path).map_err(cannot("read", &path))?;
    match text.lines().find(|line| !line.is_empty() && !line.starts_with('#') && !line.contains("==")) {
        Some(loose) => Err(Failure::new(format!("tests/python/requirements.txt must pin one version, not {loose:?}"))),
        None => Ok(text),
    }
}

fn holds(folder: &Path, wanted: &str) -> bool {
    fs::read_to_string(folder.join(INSTALLED)).is_ok_and(|installed| installed == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_pins_every_requirement() {
        assert!(requirements().unwrap().contains("azure-ai-ml=="));
    }

    #[test]
    fn other_requirements_or_a_cut_installation_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!holds(folder.path(), "a==1\n"));
        fs::write(folder.path().join(INSTALLED), "a==1\n").unwrap();
        assert!(holds(folder.path(), "a==1\n") && !holds(folder.path(), "a==2\n"));
    }
}
