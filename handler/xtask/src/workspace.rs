//! Where things are in this repository, and how its commands are run.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use crate::failure::{Failure, Result, cannot_start};

/// The folder of the workspace's `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this package lies two folders below the root").to_path_buf()
}

/// Where packages and emulators are put unless told otherwise.
pub(crate) fn target() -> PathBuf {
    root().join("target")
}

/// The cargo that runs us, started in the workspace's root.
pub(crate) fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    Checkout::here().cargo(arguments)
}

/// A folder with the workspace's sources: this one, or a copy that is built to be compared.
#[derive(Debug, Clone)]
pub(crate) struct Checkout {
    /// The folder of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Folders that cargo is told of instead of its usual ones: `CARGO_HOME`, `CARGO_TARGET_DIR`.
    pub(crate) folders: Vec<(&'static str, PathBuf)>,
}

impl Checkout {
    /// The one that this program was built from.
    pub(crate) fn here() -> Self {
        Self { root: root(), folders: Vec::new() }
    }

    /// The cargo that runs us, started in this checkout.
    pub(crate) fn cargo<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        // Cargo names itself to the programs it runs; a plain `cargo` might be another toolchain's.
        let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(program);
        command.current_dir(&self.root).args(arguments);
        command.envs(self.folders.iter().map(|(name, folder)| (name, folder)));
        command
    }
}

/// Runs to the end with our own stdout and stderr; anything but exit code 0 is a failure.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command.status().map_err(cannot_start(&shown))?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("`{shown}` ended with {status}"))) }
}

/// Runs silently; its stdout, or nothing if it is not there or fails.
pub(crate) fn asked(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The command as one would type it, with the variables it is given.
pub(crate) fn shown(command: &Command) -> String {
    let text = |word: &OsStr| {
        let word = word.to_string_lossy();
        if word.is_empty() || word.contains(char::is_whitespace) { format!("'{word}'") } else { word.into_owned() }
    };
    let variables = command.get_envs().filter_map(|(name, value)| Some(format!("{}={}", text(name), text(value?))));
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    variables.chain([text(program)]).chain(command.get_args().map(text)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let mut command = cargo(["doc", "--no-deps"]);
        command.env("RUSTDOCFLAGS", "-D warnings").env_remove("CI");
        assert_eq!(shown(&command), "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps");
    }

    #[test]
    fn the_root_holds_the_workspace() {
        assert!(root().join("host.json").is_file());
    }
}
