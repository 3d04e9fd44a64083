//! `cargo xtask docs`: the generated tables of infra/README.md.

use crate::{
    failure::Result,
    workspace::{cargo, run as run_command},
};

/// Writes the tables of infra/README.md from the Bicep templates. The tests only compare them.
#[derive(Debug, clap::Args)]
pub(crate) struct Docs {}

/// The tests know how to read templates; this program stays free of it.
pub(super) fn run(Docs {}: Docs) -> Result<()> {
    let mut command = cargo(["test", "--package", "handler", "--test", "infra", "the_tables_of_the_readme"]);
    run_command(command.env("SCOREKEEPER_WRITE_DOCS", "1"))
}
