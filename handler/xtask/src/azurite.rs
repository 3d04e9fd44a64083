//! Installs Azurite, Microsoft's storage emulator, for the tests that want a real one: under `target/`, in the
//! version that `tests/azurite/package.json` pins, and only if it is not there yet.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::{
    failure::{Failure, Result, cannot},
    workspace::{asked, root, run, target},
};

/// Is the pinned version installed?
pub(crate) fn is_installed() -> Result<bool> {
    let pinned = pinned(&read_json(&root().join("tests/azurite/package.json"))?)?;
    Ok(installed(&target().join("azurite")).as_deref() == Some(&pinned))
}

/// Installs the pinned version unless it is there.
pub(crate) fn install() -> Result<()> {
    if is_installed()? {
        return Ok(());
    }
    for program in ["node", "npm"] {
        if asked(program, &["--version"]).is_none() {
            return Err(Failure::new(format!(
                "`{program}` is missing: the storage emulator of the tests needs Node 20 or newer with npm; install \
                 it, or leave those tests out with `cargo xtask test --quick`"
            )));
        }
    }
    let (source, folder) = (root().join("tests/azurite/package.json"), target().join("azurite"));
    fs::create_dir_all(&folder).map_err(cannot("create", &folder))?;
    fs::copy(&source, folder.join("package.json")).map_err(cannot("copy", &source))?;
    run(Command::new("npm").args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(&folder))?;
    if is_installed()? { Ok(()) } else { Err(Failure::new("npm did not install the pinned version of azurite")) }
}

fn pinned(package: &Value) -> Result<String> {
    match package["dependencies"]["azurite"].as_str() {
        Some(version) if version.starts_with(|first: char| first.is_ascii_digit()) => Ok(version.to_owned()),
        other => {
            Err(Failure::new(format!("tests/azurite/package.json must pin one version of azurite, not {other:?}")))
        }
    }
}

/// The version that npm finished installing. npm writes this file last, so a cut installation does not count.
fn installed(folder: &Path) -> Option<String> {
    let lock = read_json(&folder.join("node_modules/.package-lock.json")).ok()?;
    lock["packages"]["node_modules/azurite"]["version"].as_str().map(str::to_owned)
}

fn read_json(path: &Path) -> Result<Value> {
    let bytes = fs::read(path).map_err(cannot("read", path))?;
    serde_json::from_slice(&bytes).map_err(cannot("read as JSON", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_pins_one_version() {
        let package = read_json(&root().join("tests/azurite/package.json")).unwrap();
        assert!(pinned(&package).is_ok());
        for range in ["^3.35.0", "latest"] {
            let package = serde_json::json!({ "dependencies": { "azurite": range } });
            assert!(pinned(&package).unwrap_err().to_string().contains(range));
        }
    }

    #[test]
    fn a_cut_installation_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let modules = folder.path().join("node_modules");
        fs::create_dir_all(modules.join("azurite")).unwrap();
        fs::write(modules.join("azurite/package.json"), r#"{"version": "3.35.0"}"#).unwrap();
        assert_eq!(installed(folder.path()), None);
        let lock = r#"{"packages": {"node_modules/azurite": {"version": "3.35.0"}}}"#;
        fs::write(modules.join(".package-lock.json"), lock).unwrap();
        assert_eq!(installed(folder.path()).as_deref(), Some("3.35.0"));
    }
}
