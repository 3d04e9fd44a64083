//! `cargo xtask burst`: the many-process tests at their full size, with their figures.
//!
//! The ordinary test run has them with fewer uploads: the whole takes minutes, of which most are waiting.

use std::process;

use super::Command;
use crate::{
    arguments::Arguments,
    azurite,
    failure::{Failure, Result},
    workspace::{cargo, run as run_command, shown},
};

pub(super) const COMMAND: Command = Command {
    name: "burst",
    usage: "[--events N] [--only NAME]",
    about: &[
        "Four handlers and two timers on one Azurite and one simulated endpoint, all killed now and then, through N uploads",
        "(2000) that are each told of twice: once with an endpoint that is well, once with one that loses answers and makes",
        "two jobs of one request. Prints figures. --only: the tests whose names begin so.",
    ],
    run,
};

const UPLOADS: u32 = 2000;
/// The second test wants one upload in a hundred to make two jobs.
const MIN_UPLOADS: u32 = 100;

fn run(mut arguments: Arguments) -> Result<()> {
    let uploads = match arguments.value("--events")? {
        None => UPLOADS,
        Some(text) => uploads(&text)?,
    };
    let only = arguments.value("--only")?.unwrap_or_default();
    arguments.finish()?;
    azurite::install()?;
    let mut command = tests(uploads, &only);
    println!("{}", shown(&command));
    run_command(&mut command)
}

fn uploads(text: &str) -> Result<u32> {
    text.parse()
        .ok()
        .filter(|uploads| *uploads >= MIN_UPLOADS)
        .ok_or_else(|| Failure::new(format!("`--events {text}`: expected a number of at least {MIN_UPLOADS}")))
}

fn tests(uploads: u32, only: &str) -> process::Command {
    let mut command = cargo(["test", "--package", "handler", "--test", "tests"]);
    command.arg(format!("burst::{only}")).args(["--", "--nocapture", "--test-threads=1"]);
    command.env("SCOREKEEPER_BURST", uploads.to_string()).env("SCOREKEEPER_REQUIRE_AZURITE", "1");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_are_run_alone_and_may_not_leave_themselves_out() {
        assert_eq!(
            shown(&tests(2000, "lost")),
            "SCOREKEEPER_BURST=2000 SCOREKEEPER_REQUIRE_AZURITE=1 cargo test --package handler --test tests burst::lost \
             -- --nocapture --test-threads=1"
        );
    }

    #[test]
    fn a_burst_of_too_few_proves_nothing_and_is_refused() {
        assert_eq!(uploads("100").unwrap(), 100);
        for bad in ["99", "0", "-1", "many", ""] {
            assert!(uploads(bad).unwrap_err().to_string().contains("at least 100"), "{bad}");
        }
    }
}
