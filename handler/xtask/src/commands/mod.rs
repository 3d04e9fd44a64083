//! The subcommands, one file each.

mod bench;
mod budget;
mod burst;
mod check;
mod circles;
mod docs;
mod infra;
mod mutants;
mod package;
mod release;
mod reproduce;
mod stage;
mod test;

use crate::failure::Result;

/// One subcommand, in the order of `help`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Test(test::Test),
    Package(package::Package),
    Release(release::Release),
    Reproduce(reproduce::Reproduce),
    Check(check::Check),
    Stage(stage::Stage),
    Docs(docs::Docs),
    Infra(infra::Infra),
    Circles(circles::Circles),
    Bench(bench::Bench),
    Budget(budget::Budget),
    Burst(burst::Burst),
    Mutants(mutants::Mutants),
}

impl Command {
    /// Runs the command with its options.
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Test(options) => test::run(options),
            Self::Package(options) => package::run(options),
            Self::Release(options) => release::run(options),
            Self::Reproduce(options) => reproduce::run(options),
            Self::Check(options) => check::run(options),
            Self::Stage(options) => stage::run(options),
            Self::Docs(options) => docs::run(options),
            Self::Infra(options) => infra::run(options),
            Self::Circles(options) => circles::run(options),
            Self::Bench(options) => bench::run(options),
            Self::Budget(options) => budget::run(options),
            Self::Burst(options) => burst::run(options),
            Self::Mutants(options) => mutants::run(options),
        }
    }
}
