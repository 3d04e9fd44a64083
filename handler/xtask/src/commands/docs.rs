//! `cargo xtask docs`: the generated tables of infra/README.md.

use super::Command;
use crate::{
    arguments::Arguments,
    failure::Result,
    workspace::{cargo, run as run_command},
};

pub(super) const COMMAND: Command = Command {
    name: "docs",
    usage: "",
    about: &["Writes the tables of infra/README.md from the Bicep templates. The tests only compare them."],
    run,
};

/// The tests know how to read templates; this program stays free of it.
fn run(arguments: Arguments) -> Result<()> {
    arguments.finish()?;
    let mut command = cargo(["test", "--package", "handler", "--test", "infra", "the_tables_of_the_readme"]);
    run_command(command.env("SCOREKEEPER_WRITE_DOCS", "1"))
}
