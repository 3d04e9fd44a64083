//! `cargo xtask test`: all that must hold before a change is merged, on a machine with Rust and Node. What needs more (what
//! comes from PyPI, Chromium, the musl target) is left out where that is missing, said at the end, and required in CI.

use std::{env, process, time::Instant};

use crate::{
    builds::{EXECUTABLE, LEAN},
    chromium,
    failure::{Failure, Result},
    musl,
    npm::{AZURITE, KUSTO, PUPPETEER},
    python::{AZURE_AI_ML, CARGO_LAMBDA, KQL, SCHEMATHESIS},
    workspace::{asked, cargo, run as run_command, shown},
};

/// All that must hold before a change is merged.
///
/// Installs what the tests need, then: formatting, lints, tests, documentation, the release package, its check, its budget, and
/// 10,000 simulated runs. Stops at the first failure.
#[derive(Debug, clap::Args)]
pub(crate) struct Test {
    /// Formatting, lints and tests, with what is installed already.
    #[arg(long)]
    quick: bool,
}

/// How many seeds are simulated, from the first on.
const SEEDS: &str = "10000";

pub(super) fn run(Test { quick }: Test) -> Result<()> {
    let began = Instant::now();
    let mut left_out = Vec::new();
    if !quick {
        step("install: rustfmt, clippy", "rustup component add rustfmt clippy", install_components)?;
        step("install: azurite", "cargo xtask test", || AZURITE.install())?;
        step("install: Kusto's language service", "cargo xtask test", || KUSTO.install())?;
        step("install: puppeteer-core", "cargo xtask test", || PUPPETEER.install())?;
        step("install: Chromium", "cargo xtask test", || {
            unless_in_ci(chromium::install(), "the page in a browser", &mut left_out)
        })?;
        step("install: azure-ai-ml", "cargo xtask test", || {
            unless_in_ci(AZURE_AI_ML.install(), "the test with Microsoft's Python client", &mut left_out)
        })?;
        step("install: cargo-lambda", "cargo xtask test", || {
            unless_in_ci(CARGO_LAMBDA.install(), "the tests under Lambda's emulator", &mut left_out)
        })?;
        step("install: duckdb-kql", "cargo xtask test", || {
            unless_in_ci(KQL.install(), "the queries of alerts, run over records", &mut left_out)
        })?;
        step("install: schemathesis", "cargo xtask test", || {
            unless_in_ci(SCHEMATHESIS.install(), "the HTTP functions, tried by their OpenAPI document", &mut left_out)
        })?;
    }
    step_command("formatting", cargo(["fmt", "--all", "--", "--check"]))?;
    step_command("lints", cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    step_command("lints of the package's build", lean_lints())?;
    step_command(
        "tests",
        tests(&[
            (AZURITE.is_installed()?, "azurite", "SCOREKEEPER_REQUIRE_AZURITE"),
            (KUSTO.is_installed()?, "Kusto's language service", "SCOREKEEPER_REQUIRE_KUSTO"),
            (
                PUPPETEER.is_installed()? && chromium::is_installed(),
                "Chromium with puppeteer-core",
                "SCOREKEEPER_REQUIRE_BROWSER",
            ),
            (AZURE_AI_ML.is_installed()?, "azure-ai-ml", "SCOREKEEPER_REQUIRE_PYTHON"),
            (CARGO_LAMBDA.is_installed()?, "cargo-lambda", "SCOREKEEPER_REQUIRE_CARGO_LAMBDA"),
            (KQL.is_installed()?, "duckdb-kql", "SCOREKEEPER_REQUIRE_KQL"),
            (SCHEMATHESIS.is_installed()?, "schemathesis", "SCOREKEEPER_REQUIRE_SCHEMATHESIS"),
        ]),
    )?;
    if !quick {
        step("benchmarks, for their counts", "cargo xtask bench --counts", super::bench::run_counts)?;
        let mut documentation = cargo(["doc", "--workspace", "--no-deps"]);
        documentation.env("RUSTDOCFLAGS", "-D warnings");
        step_command("documentation", documentation)?;
        let has_musl = musl::install(musl::SHIPPED);
        if has_musl.is_ok() {
            // The package is one of its files.
            step_command("release files", cargo(["xtask", "release", "--target", musl::SHIPPED]))?;
            step_command("the released command line", released())?;
            step_command("budget", cargo(["xtask", "budget"]))?;
        }
        let is_released = has_musl.is_ok();
        unless_in_ci(has_musl, "the release package", &mut left_out)?;
        step_command("simulation", simulation(is_released))?;
    }
    println!("\nall passed in {:.0} s", began.elapsed().as_secs_f64());
    for what in left_out {
        println!("LEFT OUT: {what}");
    }
    Ok(())
}

/// What a developer's machine lacks is left out and told of; CI must have it.
fn unless_in_ci(had: Result<()>, what: &str, left_out: &mut Vec<String>) -> Result<()> {
    sort_out(had, env::var_os("CI").is_some_and(|value| value == "true"), what, left_out)
}

fn sort_out(had: Result<()>, in_ci: bool, what: &str, left_out: &mut Vec<String>) -> Result<()> {
    match had {
        Err(why) if !in_ci => {
            println!("    left out: {what}. {why:#}");
            left_out.push(format!("{what}. {why:#}"));
            Ok(())
        }
        other => other,
    }
}

/// With each of these there (is it, its name, the variable that requires it), a test that cannot use it is a failure
/// instead of one that is left out.
fn tests(needed: &[(bool, &str, &str)]) -> process::Command {
    let mut command = cargo(["test", "--workspace"]);
    for (is_installed, what, required) in needed {
        if *is_installed {
            command.env(required, "1");
        } else {
            println!("\n{what} is not installed: the tests that need it are left out");
        }
    }
    command
}

/// The package's features, which no other step compiles before the package itself.
fn lean_lints() -> process::Command {
    cargo(["clippy", "--package", "handler", LEAN, "--features", "lambda", "--lib", "--bins", "--", "-D", "warnings"])
}

/// In a release build, where a seed takes milliseconds: by the command line that was just released, else by one built for it.
fn simulation(is_released: bool) -> process::Command {
    let mut command = if is_released {
        process::Command::new(super::release::released().join(EXECUTABLE))
    } else {
        cargo(["run", "--release", "--package", "handler", "--"])
    };
    command.args(["simulate", "--seeds", SEEDS, "--every-move"]);
    command
}

/// The tests of the command line as it is released, with that instead of the one that was built for the tests.
fn released() -> process::Command {
    let mut command = cargo(["test", "--package", "handler", "--test", "tests", "released::"]);
    command.env("SCOREKEEPER_RELEASED", super::release::released().join(EXECUTABLE));
    command
}

/// A minimal Rust installation has neither.
fn install_components() -> Result<()> {
    for (component, probe) in [("rustfmt", ["fmt", "--version"]), ("clippy", ["clippy", "--version"])] {
        if asked("cargo", &probe).is_none() {
            run_command(process::Command::new("rustup").args(["component", "add", component]))?;
        }
    }
    Ok(())
}

fn step_command(name: &str, mut command: process::Command) -> Result<()> {
    let repeat = shown(&command);
    step(name, &repeat, || {
        println!("    {repeat}");
        run_command(&mut command)
    })
}

/// Runs one step under a heading, with its time; a failure says how to repeat this step alone.
fn step(name: &str, repeat: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("\n==> {name}");
    let began = Instant::now();
    let result = work();
    let took = began.elapsed().as_secs_f64();
    match result {
        Ok(()) => {
            println!("    {name} passed in {took:.1} s");
            Ok(())
        }
        Err(failure) => {
            Err(Failure::because(format!("{name} failed after {took:.1} s; repeat it with `{repeat}`"), failure))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_says_how_to_repeat_it() {
        let failure = step("lints", "cargo clippy", || Err(Failure::new("ended badly"))).unwrap_err();
        let failure = format!("{failure:#}");
        assert!(failure.starts_with("lints failed after"), "{failure}");
        assert!(failure.ends_with("; repeat it with `cargo clippy`: ended badly"), "{failure}");
    }

    #[test]
    fn what_is_missing_is_left_out_and_told_of_but_fails_in_ci() {
        let missing = || Err(Failure::new("`python3` is missing"));
        let mut left_out = Vec::new();
        assert!(sort_out(missing(), false, "a test", &mut left_out).is_ok());
        assert_eq!(left_out, ["a test. `python3` is missing"]);
        assert!(sort_out(missing(), true, "a test", &mut left_out).is_err());
        assert!(sort_out(Ok(()), false, "a test", &mut left_out).is_ok());
        assert_eq!(left_out.len(), 1);
    }

    #[test]
    fn seeds_are_run_by_what_was_released_or_by_a_release_build() {
        let released = crate::commands::release::released().join(EXECUTABLE);
        assert_eq!(simulation(true).get_program(), released);
        let built = shown(&simulation(false));
        assert!(built.starts_with("cargo run --release --package handler -- simulate --seeds"), "{built}");
    }

    #[test]
    fn with_what_it_needs_there_no_test_may_leave_itself_out() {
        let needed = |first, second| tests(&[(first, "one", "REQUIRE_ONE"), (second, "other", "REQUIRE_OTHER")]);
        assert_eq!(shown(&needed(true, false)), "REQUIRE_ONE=1 cargo test --workspace");
        assert_eq!(shown(&needed(true, true)), "REQUIRE_ONE=1 REQUIRE_OTHER=1 cargo test --workspace");
        assert_eq!(shown(&needed(false, false)), "cargo test --workspace");
    }
}
