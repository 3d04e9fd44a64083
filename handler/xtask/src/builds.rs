//! Builds the product's executable and says where cargo put it.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io::{self, BufRead, BufReader},
    path::PathBuf,
    process::Stdio,
};

use cargo_metadata::{Message, PackageId};

use crate::{
    commit::Commit,
    failure::{Failure, Result, cannot_start},
    prefixes::Prefixes,
    workspace::{Checkout, root, shown},
};

/// The executable's name, in the workspace and in `host.json`.
pub(crate) const EXECUTABLE: &str = "scorekeeper";

/// What is shipped has neither a simulated Azure nor what only people at a terminal use.
pub(crate) const LEAN: &str = "--no-default-features";

/// The cargo profile of what is shipped.
pub(crate) const SHIPPED_PROFILE: &str = "dist";

/// What is built of the executable: from which sources, for which target, in which profile.
pub(crate) struct Build<'a> {
    /// The sources, and the folders that cargo is told of.
    pub(crate) checkout: &'a Checkout,
    /// A target triple; none = this machine's.
    pub(crate) target: Option<&'a str>,
    /// A cargo profile: `dev`, `release`.
    pub(crate) profile: &'a str,
    /// With all that people at a terminal use, as the command line is released.
    pub(crate) whole: bool,
    /// For what is shipped: it is built from what was reviewed (`Cargo.lock` must fit), and tells nothing of this machine.
    pub(crate) shipped: Option<&'a Prefixes>,
}

/// What a build made, by cargo's own account.
#[derive(Debug)]
pub(crate) struct Built {
    /// Where cargo has put the executable.
    pub(crate) executable: PathBuf,
    /// The packages that were compiled for the target, which is what is linked, with their features. Empty for this
    /// machine's own target, where they cannot be told from those that only ran during the build.
    pub(crate) compiled: BTreeMap<PackageId, Vec<String>>,
    /// Libraries that a package's build script has linked statically, such as `static=sqlite3`.
    pub(crate) libraries: BTreeMap<PackageId, Vec<String>>,
}

impl Build<'_> {
    /// Builds, or finds that nothing has changed.
    pub(crate) fn run(&self) -> Result<Built> {
        let mut command = self.checkout.cargo(["build", "--package", "handler", "--bin", EXECUTABLE]);
        command.args(["--profile", self.profile]);
        command.args(self.target.iter().flat_map(|target| ["--target", target]));
        if let Some(prefixes) = self.shipped {
            command.arg("--locked").args((!self.whole).then_some(LEAN));
            command.envs(Commit::of(&root()).variables());
            prefixes.apply(&mut command, self.target.unwrap_or_default());
        }
        // The path depends on target, profile and the user's cargo settings: cargo tells it.
        command.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
        let shown = match self.shipped {
            // The flags would fill the screen.
            Some(_) => "cargo build".to_owned(),
            None => shown(&command),
        };
        let mut child = command.spawn().map_err(cannot_start(&shown))?;
        let read = child.stdout.take().map(|stdout| built(BufReader::new(stdout), self.target)).transpose();
        let status = child.wait().map_err(cannot_start(&shown))?;
        if !status.success() {
            return Err(Failure::new(format!("`{shown}` ended with {status}")));
        }
        let built = read.map_err(|cause| Failure::because(format!("cannot read the output of `{shown}`"), cause))?;
        built.flatten().ok_or_else(|| Failure::new(format!("`{shown}` did not say where `{EXECUTABLE}` is")))
    }
}

/// Reads cargo's messages; `None` if they name no executable.
fn built(messages: impl BufRead, target: Option<&str>) -> io::Result<Option<Built>> {
    let (mut executable, mut compiled, mut libraries) = (None, BTreeMap::new(), BTreeMap::new());
    for message in Message::parse_stream(messages) {
        match message? {
            Message::CompilerArtifact(artifact) => {
                // Build scripts, macros and what they need are compiled for this machine, in other folders.
                let mut folders = artifact.filenames.iter().flat_map(|file| file.as_std_path());
                if folders.any(|folder| Some(folder) == target.map(OsStr::new)) {
                    compiled.insert(artifact.package_id, artifact.features);
                }
                if artifact.target.name == EXECUTABLE {
                    executable = artifact.executable.map(PathBuf::from).or(executable);
                }
            }
            Message::BuildScriptExecuted(script) => {
                let linked = script.linked_libs.into_iter().map(String::from);
                let linked: Vec<_> = linked.filter(|library| library.starts_with("static")).collect();
                if !linked.is_empty() {
                    libraries.insert(script.package_id, linked);
                }
            }
            _ => {}
        }
    }
    Ok(executable.map(|executable| Built { executable, compiled, libraries }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn messages() -> String {
        let artifact = |name: &str, binary: &str, file: &str| {
            let executable = (!binary.is_empty()).then_some(file);
            json!({"reason": "compiler-artifact", "package_id": name, "manifest_path": "/w/Cargo.toml",
                "target": {"name": if binary.is_empty() { name } else { binary }, "kind": ["lib"], "crate_types": ["lib"],
                    "src_path": "/w/lib.rs", "edition": "2024"},
                "profile": {"opt_level": "3", "debuginfo": 0, "debug_assertions": false, "overflow_checks": false,
                    "test": false},
                "features": ["std"], "filenames": [file], "executable": executable, "fresh": false})
        };
        let script = |name: &str, libraries: &[&str]| {
            json!({"reason": "build-script-executed", "package_id": name, "linked_libs": libraries, "linked_paths": [],
                "cfgs": [], "env": [], "out_dir": "/t"})
        };
        let messages = [
            artifact("serde", "", "/t/riscv/release/libserde.rlib"),
            artifact("serde_derive", "", "/t/release/libserde_derive.so"),
            script("sqlite", &["static=sqlite3", "pthread"]),
            script("serde", &[]),
            artifact("handler", "bootstrap", "/t/riscv/release/bootstrap"),
            artifact("handler", "scorekeeper", "/t/riscv/release/scorekeeper"),
            json!({"reason": "build-finished", "success": true}),
        ];
        messages.map(|message| format!("{message}\n")).concat()
    }

    fn id(name: &str) -> PackageId {
        PackageId { repr: name.to_owned() }
    }

    #[test]
    fn the_executable_is_found_among_cargos_messages() {
        let built = |messages: &str| built(messages.as_bytes(), None).unwrap();
        let found = built(&messages()).unwrap();
        assert_eq!(found.executable, PathBuf::from("/t/riscv/release/scorekeeper"));
        assert!(found.compiled.is_empty(), "this machine's own build tells nothing");
        assert!(built("").is_none());
    }

    #[test]
    fn what_was_compiled_for_the_target_is_told_from_what_ran_during_the_build() {
        let built = built(messages().as_bytes(), Some("riscv")).unwrap().unwrap();
        let features = vec!["std".to_owned()];
        assert_eq!(built.compiled, [(id("handler"), features.clone()), (id("serde"), features)].into());
        assert_eq!(built.libraries, [(id("sqlite"), vec!["static=sqlite3".to_owned()])].into());
    }
}
