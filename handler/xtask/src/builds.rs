//! Builds the product's executable and says where cargo put it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    io::Read as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;

use crate::{
    failure::{Failure, Result, cannot_start},
    prefixes::Prefixes,
    workspace::{Checkout, shown},
};

/// The executable's name, in the workspace and in `host.json`.
pub(crate) const EXECUTABLE: &str = "scorekeeper";

/// What is shipped has neither a simulated Azure nor what only people at a terminal use.
pub(crate) const LEAN: &str = "--no-default-features";

/// Which build.
pub(crate) struct Build<'a> {
    /// Where the sources are.
    pub(crate) checkout: &'a Checkout,
    /// A target triple; none = this machine's.
    pub(crate) target: Option<&'a str>,
    /// A cargo profile: `dev`, `release`.
    pub(crate) profile: &'a str,
    /// For what is shipped: it is built from what was reviewed (`Cargo.lock` must fit), and tells nothing of this machine.
    pub(crate) shipped: Option<&'a Prefixes>,
}

/// What a build made, by cargo's own account.
#[derive(Debug)]
pub(crate) struct Built {
    /// The executable.
    pub(crate) executable: PathBuf,
    /// Ids of the packages that were compiled for the target: what is linked. Empty for this machine's own target, where
    /// they can't be told from those that only ran during the build.
    pub(crate) compiled: BTreeSet<String>,
    /// Libraries that a package's build script has linked statically, such as `static=sqlite3`, by its id.
    pub(crate) libraries: BTreeMap<String, Vec<String>>,
}

impl Build<'_> {
    /// Builds, or finds that nothing has changed.
    pub(crate) fn run(&self) -> Result<Built> {
        let mut command = self.checkout.cargo(["build", "--package", "handler", "--bin", EXECUTABLE]);
        command.args(["--profile", self.profile]);
        command.args(self.target.iter().flat_map(|target| ["--target", target]));
        if let Some(prefixes) = self.shipped {
            command.args(["--locked", LEAN]);
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
        let mut messages = String::new();
        let read = child.stdout.take().map_or(Ok(0), |mut stdout| stdout.read_to_string(&mut messages));
        let status = child.wait().map_err(cannot_start(&shown))?;
        read.map_err(|cause| Failure::new(format!("cannot read the output of `{shown}`: {cause}")))?;
        if !status.success() {
            return Err(Failure::new(format!("`{shown}` ended with {status}")));
        }
        let built = built(&messages, self.target);
        built.ok_or_else(|| Failure::new(format!("`{shown}` did not say where `{EXECUTABLE}` is")))
    }
}

/// What cargo's messages tell (one JSON object a line).
fn built(messages: &str, target: Option<&str>) -> Option<Built> {
    let messages: Vec<Value> = messages.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let mut built = Built { executable: PathBuf::new(), compiled: BTreeSet::new(), libraries: BTreeMap::new() };
    for message in &messages {
        let Some(id) = message["package_id"].as_str() else { continue };
        let strings = |member: &str| {
            let list = message[member].as_array().map(Vec::as_slice).unwrap_or_default();
            list.iter().filter_map(Value::as_str).collect::<Vec<_>>()
        };
        match message["reason"].as_str() {
            Some("compiler-artifact") => {
                // Build scripts, macros and what they need are compiled for this machine, in other folders.
                let for_target = |file: &&str| Path::new(file).iter().any(|part| Some(part) == target.map(OsStr::new));
                if strings("filenames").iter().any(for_target) {
                    built.compiled.insert(id.to_owned());
                }
                if let (Some(path), true) = (message["executable"].as_str(), message["target"]["name"] == EXECUTABLE) {
                    built.executable = PathBuf::from(path);
                }
            }
            Some("build-script-executed") => {
                let linked = strings("linked_libs").into_iter().filter(|library| library.starts_with("static"));
                let linked: Vec<String> = linked.map(str::to_owned).collect();
                if !linked.is_empty() {
                    built.libraries.insert(id.to_owned(), linked);
                }
            }
            _ => {}
        }
    }
    (!built.executable.as_os_str().is_empty()).then_some(built)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: &str = r#"{"reason":"compiler-artifact","package_id":"serde","target":{"name":"serde"},"executable":null,"filenames":["/t/riscv/release/libserde.rlib"]}
{"reason":"compiler-artifact","package_id":"serde_derive","target":{"name":"serde_derive"},"executable":null,"filenames":["/t/release/libserde_derive.so"]}
{"reason":"build-script-executed","package_id":"sqlite","linked_libs":["static=sqlite3","pthread"]}
{"reason":"build-script-executed","package_id":"serde","linked_libs":[]}
{"reason":"compiler-artifact","package_id":"handler","target":{"name":"bootstrap"},"executable":"/t/riscv/release/bootstrap","filenames":["/t/riscv/release/bootstrap"]}
{"reason":"compiler-artifact","package_id":"handler","target":{"name":"scorekeeper"},"executable":"/t/riscv/release/scorekeeper","filenames":["/t/riscv/release/scorekeeper"]}
{"reason":"build-finished","success":true}"#;

    #[test]
    fn the_executable_is_found_among_cargos_messages() {
        assert_eq!(built(MESSAGES, None).unwrap().executable, Path::new("/t/riscv/release/scorekeeper"));
        assert!(built("", None).is_none());
    }

    #[test]
    fn what_was_compiled_for_the_target_is_told_from_what_ran_during_the_build() {
        let built = built(MESSAGES, Some("riscv")).unwrap();
        assert_eq!(built.compiled, BTreeSet::from(["handler".to_owned(), "serde".to_owned()]));
        assert_eq!(built.libraries, BTreeMap::from([("sqlite".to_owned(), vec!["static=sqlite3".to_owned()])]));
    }
}
