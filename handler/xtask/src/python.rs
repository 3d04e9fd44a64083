//! Installs what tests need from PyPI: a virtual environment for each under `target/`, with what its `requirements.txt`
//! pins, and only if that has changed.

use std::{fs, path::Path, process::Command};

use crate::{
    failure::{Failure, Result, cannot},
    workspace::{asked, root, run, target},
};

/// A copy of the requirements, written when all are installed: a cut installation does not count.
const INSTALLED: &str = "installed.txt";

/// One environment: `tests/NAME/requirements.txt`, installed into `target/NAME`.
pub(crate) struct Environment {
    name: &'static str,
    /// What cannot be done without it, for whoever has no Python.
    purpose: &'static str,
    /// Whether pip also installs what the requirements depend on.
    dependencies: bool,
}

/// Microsoft's client, which drives the simulator.
pub(crate) const AZURE_AI_ML: Environment =
    Environment { name: "python", purpose: "runs Microsoft's Python client against the simulator", dependencies: true };

/// The emulator of AWS Lambda, a program in a wheel. Without what it depends on: that is a cross compiler of 400 MB.
pub(crate) const CARGO_LAMBDA: Environment = Environment {
    name: "cargo-lambda",
    purpose: "installs the emulator that runs the functions as Lambda would",
    dependencies: false,
};

/// Kusto's language on DuckDB, which runs the queries of alerts over records.
pub(crate) const KQL: Environment =
    Environment { name: "kql", purpose: "runs the queries of alerts over records", dependencies: true };

/// Sends what the OpenAPI document allows, and what it does not, and holds the answers against it.
pub(crate) const SCHEMATHESIS: Environment = Environment {
    name: "schemathesis",
    purpose: "tries the HTTP functions by their OpenAPI document",
    dependencies: true,
};

impl Environment {
    /// Is what is pinned installed?
    pub(crate) fn is_installed(&self) -> Result<bool> {
        let wanted = self.requirements()?;
        Ok(holds(&target().join(self.name), &wanted))
    }

    /// Installs what is pinned unless it is there.
    pub(crate) fn install(&self) -> Result<()> {
        let wanted = self.requirements()?;
        let folder = target().join(self.name);
        if holds(&folder, &wanted) {
            return Ok(());
        }
        // Debian splits it: without `python3-venv`, `venv` is there and fails half-way.
        for (probe, what) in [("", "`python3`"), ("import venv, ensurepip", "Python's `venv` (Debian: python3-venv)")] {
            if asked("python3", &["-c", probe]).is_none() {
                return Err(Failure::new(format!("{what} is missing; it {}", self.purpose)));
            }
        }
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        if !self.dependencies {
            pip.arg("--no-deps");
        }
        run(pip.arg("-r").arg(root().join(self.list())))?;
        fs::write(folder.join(INSTALLED), wanted).map_err(cannot("write", &folder))
    }

    /// The file of requirements, from the root of the workspace.
    fn list(&self) -> String {
        format!("tests/{}/requirements.txt", self.name)
    }

    fn requirements(&self) -> Result<String> {
        let path = root().join(self.list());
        let text = fs::read_to_string(&path).map_err(cannot("read", &path))?;
        match text.lines().find(|line| !line.is_empty() && !line.starts_with('#') && !line.contains("==")) {
            Some(loose) => Err(Failure::new(format!("{} must pin one version, not {loose:?}", self.list()))),
            None => Ok(text),
        }
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
        assert!(AZURE_AI_ML.requirements().unwrap().contains("azure-ai-ml=="));
        assert!(CARGO_LAMBDA.requirements().unwrap().contains("cargo-lambda=="));
        assert!(SCHEMATHESIS.requirements().unwrap().contains("schemathesis=="));
    }

    #[test]
    fn other_requirements_or_a_cut_installation_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!holds(folder.path(), "a==1\n"));
        fs::write(folder.path().join(INSTALLED), "a==1\n").unwrap();
        assert!(holds(folder.path(), "a==1\n") && !holds(folder.path(), "a==2\n"));
    }
}
