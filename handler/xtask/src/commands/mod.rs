//! The subcommands, one file each.

mod bench;
mod burst;
mod check;
mod circles;
mod docs;
mod mutants;
mod package;
mod reproduce;
mod stage;
mod test;

use crate::{arguments::Arguments, failure::Result};

/// One subcommand.
pub(crate) struct Command {
    /// What is typed.
    pub(crate) name: &'static str,
    /// Its arguments.
    usage: &'static str,
    /// What it does, one line each.
    about: &'static [&'static str],
    /// Does it.
    pub(crate) run: fn(Arguments) -> Result<()>,
}

/// All of them, in the order of `help`.
pub(crate) const ALL: &[Command] = &[
    test::COMMAND,
    package::COMMAND,
    reproduce::COMMAND,
    check::COMMAND,
    stage::COMMAND,
    docs::COMMAND,
    circles::COMMAND,
    bench::COMMAND,
    burst::COMMAND,
    mutants::COMMAND,
];

/// The text of `cargo xtask help`.
pub(crate) fn help() -> String {
    let mut lines = vec!["cargo xtask <command>".to_owned()];
    for command in ALL {
        lines.push(String::new());
        lines.push(format!("  {} {}", command.name, command.usage));
        lines.extend(command.about.iter().map(|line| format!("      {line}")));
    }
    lines.join("\n") + "\n"
}
