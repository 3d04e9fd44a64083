//! Installs what the tests want from npm: under `target/`, in the version that a `package.json` in `tests/` pins, and only if it
//! is not there yet. Where a lock file lies beside that, all that it needs is pinned, too.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::{
    failure::{Failure, Result, cannot},
    workspace::{asked, root, run, target},
};

/// A package and the folder in `tests/` and `target/` that is its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NpmPackage {
    folder: &'static str,
    name: &'static str,
}

/// Microsoft's storage emulator, for the tests that want a real one.
pub(crate) const AZURITE: NpmPackage = NpmPackage { folder: "azurite", name: "azurite" };
/// Kusto's own language service, for the queries of alerts and workbook.
pub(crate) const KUSTO: NpmPackage = NpmPackage { folder: "kusto", name: "@kusto/language-service-next" };
/// What drives Chromium over the page.
pub(crate) const PUPPETEER: NpmPackage = NpmPackage { folder: "browser", name: "puppeteer-core" };

/// What npm writes of all that it has installed.
const LOCK: &str = "package-lock.json";

impl NpmPackage {
    fn source(self) -> std::path::PathBuf {
        root().join("tests").join(self.folder).join("package.json")
    }

    /// Is the pinned version installed?
    pub(crate) fn is_installed(self) -> Result<bool> {
        let pinned = self.pinned(&read_json(&self.source())?)?;
        Ok(self.installed(&target().join(self.folder)).as_deref() == Some(&pinned))
    }

    /// Installs the pinned version unless it is there.
    pub(crate) fn install(self) -> Result<()> {
        if self.is_installed()? {
            return Ok(());
        }
        for program in ["node", "npm"] {
            if asked(program, &["--version"]).is_none() {
                return Err(Failure::new(format!(
                    "`{program}` is missing: tests with {} need Node 20 or newer with npm; install it, or leave those \
                     tests out with `cargo xtask test --quick`",
                    self.name
                )));
            }
        }
        let (source, folder) = (self.source(), target().join(self.folder));
        fs::create_dir_all(&folder).map_err(cannot("create", &folder))?;
        fs::copy(&source, folder.join("package.json")).map_err(cannot("copy", &source))?;
        let lock = source.with_file_name(LOCK);
        let verb = if lock.is_file() { "ci" } else { "install" };
        if lock.is_file() {
            fs::copy(&lock, folder.join(LOCK)).map_err(cannot("copy", &lock))?;
        }
        run(Command::new("npm").args([verb, "--no-audit", "--no-fund", "--prefix"]).arg(&folder))?;
        if self.is_installed()? {
            Ok(())
        } else {
            Err(Failure::new(format!("npm did not install the pinned version of {}", self.name)))
        }
    }

    fn pinned(self, package: &Value) -> Result<String> {
        match package["dependencies"][self.name].as_str() {
            Some(version) if version.starts_with(|first: char| first.is_ascii_digit()) => Ok(version.to_owned()),
            other => Err(Failure::new(format!(
                "tests/{}/package.json must pin one version of {}, not {other:?}",
                self.folder, self.name
            ))),
        }
    }

    /// The version that npm finished installing. npm writes this file last, so a cut installation does not count.
    fn installed(self, folder: &Path) -> Option<String> {
        let lock = read_json(&folder.join("node_modules/.package-lock.json")).ok()?;
        lock["packages"][format!("node_modules/{}", self.name)]["version"].as_str().map(str::to_owned)
    }
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
        for package in [AZURITE, KUSTO, PUPPETEER] {
            assert!(package.pinned(&read_json(&package.source()).unwrap()).is_ok());
        }
        for range in ["^3.35.0", "latest"] {
            let package = serde_json::json!({ "dependencies": { "azurite": range } });
            assert!(AZURITE.pinned(&package).unwrap_err().to_string().contains(range));
        }
    }

    #[test]
    fn a_cut_installation_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let modules = folder.path().join("node_modules");
        fs::create_dir_all(modules.join("azurite")).unwrap();
        fs::write(modules.join("azurite/package.json"), r#"{"version": "3.35.0"}"#).unwrap();
        assert_eq!(AZURITE.installed(folder.path()), None);
        let lock = r#"{"packages": {"node_modules/azurite": {"version": "3.35.0"}}}"#;
        fs::write(modules.join(".package-lock.json"), lock).unwrap();
        assert_eq!(AZURITE.installed(folder.path()).as_deref(), Some("3.35.0"));
    }
}
