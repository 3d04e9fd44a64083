//! Builds the product's executable and says where cargo put it.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;

use crate::{
    failure::{Failure, Result, cannot_start},
    workspace::{cargo, shown},
};

/// The executable's name, in the workspace and in `host.json`.
pub(crate) const EXECUTABLE: &str = "scorekeeper";

/// Which build.
#[derive(Debug, Clone)]
pub(crate) struct Build {
    /// A target triple; none = this machine's.
    pub(crate) target: Option<String>,
    /// A cargo profile: `dev`, `release`.
    pub(crate) profile: String,
    /// Refuse if `Cargo.lock` does not fit. What is shipped is built from what was reviewed.
    pub(crate) locked: bool,
}

impl Build {
    /// Builds; the executable's path.
    pub(crate) fn executable(&self) -> Result<PathBuf> {
        let mut command = cargo(["build", "--package", "handler", "--bin", EXECUTABLE, "--profile", &self.profile]);
        command.args(self.target.iter().flat_map(|target| ["--target", target]));
        command.args(self.locked.then_some("--locked"));
        // The path depends on target, profile and the user's cargo settings: cargo tells it.
        command.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
        let shown = shown(&command);
        let mut child = command.spawn().map_err(cannot_start(&shown))?;
        let mut messages = String::new();
        let read = child.stdout.take().map_or(Ok(0), |mut stdout| stdout.read_to_string(&mut messages));
        let status = child.wait().map_err(cannot_start(&shown))?;
        read.map_err(|cause| Failure::new(format!("cannot read the output of `{shown}`: {cause}")))?;
        if !status.success() {
            return Err(Failure::new(format!("`{shown}` ended with {status}")));
        }
        built(&messages).ok_or_else(|| Failure::new(format!("`{shown}` did not say where `{EXECUTABLE}` is")))
    }
}

/// The executable among cargo's messages (one JSON object a line).
fn built(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut paths = messages.filter(|message| message["reason"] == "compiler-artifact").filter_map(|message| {
        let path = Path::new(message["executable"].as_str()?);
        (message["target"]["name"] == EXECUTABLE).then(|| path.to_path_buf())
    });
    paths.next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"serde"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"bootstrap"},"executable":"/t/bootstrap"}
{"reason":"compiler-artifact","target":{"name":"scorekeeper"},"executable":"/t/scorekeeper"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(built(messages), Some(PathBuf::from("/t/scorekeeper")));
        assert_eq!(built(""), None);
    }
}
