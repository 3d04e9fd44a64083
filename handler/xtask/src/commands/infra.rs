//! `cargo xtask infra`: what Microsoft's Bicep compiler predicts of the templates, and the tables made of that.

use super::docs;
use crate::{
    failure::Result,
    workspace::{cargo, run as run_command},
};

/// Writes infra/snapshots/ by Microsoft's Bicep compiler, and the tables of infra/README.md. After every change of a template, a
/// parameter file or a query.
///
/// The compiler is the one that the variable BICEP names, else `bicep` on the PATH. Tests compare; without a compiler they
/// compare the digest of the sources.
#[derive(Debug, clap::Args)]
pub(crate) struct Infra {}

/// The tests know what is predicted of what; this program stays free of it.
pub(super) fn run(Infra {}: Infra) -> Result<()> {
    let mut command = cargo(["test", "--package", "handler", "--test", "infra", "the_snapshots_are_what_the_compiler"]);
    run_command(command.env("SCOREKEEPER_WRITE_SNAPSHOTS", "1"))?;
    docs::run(docs::Docs {})
}
