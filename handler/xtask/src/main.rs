//! `cargo xtask`: packages the function app, stages it for a local run, and checks the whole workspace.
//!
//! A program of this workspace, so that a fresh machine with the Rust toolchain needs nothing else to build and test.
//! It must never hold knowledge that the product needs at run time: it only builds, copies and checks.
//! One file per subcommand in `commands/`; what they share lies beside this file.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to the person who runs it")]

mod app_folder;
mod architecture;
mod audit;
mod builds;
mod c_libraries;
mod chromium;
mod command_line;
mod commands;
mod commit;
mod debian;
mod discovery;
#[cfg(test)]
mod documented;
mod elf;
mod failure;
mod handler_process;
mod materials;
mod musl;
mod npm;
mod packaging;
mod prefixes;
mod python;
mod sbom;
mod startup;
mod workspace;
mod zip_file;

use std::process::ExitCode;

use clap::Parser;

/// Packages the function app, stages it for a local run, and checks the whole workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    match Arguments::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_burst_of_too_few_proves_nothing_and_is_refused() {
        let parsed = |events| Arguments::try_parse_from(["xtask", "burst", "--events", events]);
        assert!(parsed("100").is_ok());
        for bad in ["99", "0", "-1", "many", ""] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }
}
