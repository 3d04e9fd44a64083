//! `cargo xtask`: packages the function app, stages it for a local run, and checks the whole workspace.
//!
//! A plain program, so that a fresh machine with the Rust toolchain needs nothing else to build and test.
//! It must never hold knowledge that the product needs at run time: it only builds, copies and checks.
//! One file per subcommand in `commands/`; what they share lies beside this file.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to the person who runs it")]

mod app_folder;
mod architecture;
mod arguments;
mod azurite;
mod builds;
mod commands;
mod discovery;
mod elf;
mod failure;
mod graph;
mod musl;
mod native;
mod packaging;
mod prefixes;
mod python;
mod sbom;
mod startup;
mod traces;
mod workspace;
mod zip_file;

use std::process::ExitCode;

use arguments::Arguments;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let name = words.next().unwrap_or_else(|| "help".to_owned());
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        print!("{}", commands::help());
        return ExitCode::SUCCESS;
    }
    let Some(command) = commands::ALL.iter().find(|command| command.name == name) else {
        eprintln!("xtask: there is no command `{name}`\n\n{}", commands::help());
        return ExitCode::from(2);
    };
    match (command.run)(Arguments::new(words)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask {name}: {failure:#}");
            ExitCode::FAILURE
        }
    }
}
