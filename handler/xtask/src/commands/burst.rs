//! `cargo xtask burst`: the many-process tests at their full size, with their figures.
//!
//! The ordinary test run has them with fewer uploads: the whole takes minutes, of which most are waiting.

use std::process;

use crate::{
    failure::Result,
    npm::AZURITE,
    workspace::{cargo, run as run_command, shown},
};

/// The many-process tests at their full size, with their figures.
///
/// Four handlers and two timers on one Azurite and one simulated endpoint, all killed now and then, through the uploads,
/// each of which is told of twice: once with an endpoint that is well, once with one that loses answers and makes two jobs
/// of one request.
#[derive(Debug, clap::Args)]
pub(crate) struct Burst {
    /// How many uploads.
    #[arg(long, value_name = "N", default_value_t = UPLOADS, value_parser = clap::value_parser!(u32).range(i64::from(MIN_UPLOADS)..))]
    events: u32,
    /// The tests whose names begin so.
    #[arg(long, value_name = "NAME", default_value = "")]
    only: String,
}

const UPLOADS: u32 = 2000;
/// The second test wants one upload in a hundred to make two jobs.
const MIN_UPLOADS: u32 = 100;

pub(super) fn run(Burst { events, only }: Burst) -> Result<()> {
    AZURITE.install()?;
    let mut command = tests(events, &only);
    println!("{}", shown(&command));
    run_command(&mut command)
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
}
