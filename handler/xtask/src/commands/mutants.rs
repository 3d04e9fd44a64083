//! `cargo xtask mutants`: changes the code in hundreds of small ways and tells which changes no test notices.
//!
//! No part of `cargo xtask test`: it takes hours where that takes minutes. It is for whoever changes the code that
//! decides or the ledger. A mutant that is missed gets a test, or a reason in `.cargo/mutants.toml`; a mutant that only
//! times out was noticed.

use std::{fs, path::PathBuf, process};

use crate::{
    failure::{Failure, Result, cannot},
    workspace::{asked, cargo, run as run_command, shown, target},
};

/// Changes the code in hundreds of small ways and tells which changes no test notices, with cargo-mutants.
///
/// Some 610 mutants of the decisions take an hour, some 280 of the ledger several hours. Results are in target/mutants/.
#[derive(Debug, clap::Args)]
pub(crate) struct Mutants {
    /// What is mutated.
    #[arg(value_parser = ["lifecycle", "ledger"], default_value = "lifecycle")]
    subject: String,
    /// Of these files alone, such as **/slots.rs.
    #[arg(long, value_name = "GLOB")]
    file: Option<String>,
}

/// Another version makes other mutants, and the reasons for leaving some out name them as this one does.
const VERSION: &str = "27.1.0";

/// What is mutated, and the tests that are to notice: those that are quick, and no others.
struct Subject {
    name: &'static str,
    package: &'static str,
    files: &'static str,
    tests: &'static [&'static str],
}

const SUBJECTS: &[Subject] = &[
    // The model check takes longer than all mutants' builds; it is left to `cargo test`.
    Subject {
        name: "lifecycle",
        package: "lifecycle",
        files: "handler/lifecycle/src/**/*.rs",
        tests: &["--lib", "--test", "any_input"],
    },
    Subject {
        name: "ledger",
        package: "app",
        files: "handler/app/src/ledger/**/*.rs",
        tests: &[
            "--package",
            "app",
            "--package",
            "handler",
            "--lib",
            "--test",
            "app",
            "--",
            "--skip",
            "azurite",
            "--skip",
            "load",
        ],
    },
];

pub(super) fn run(Mutants { subject: name, file }: Mutants) -> Result<()> {
    let subject = SUBJECTS.iter().find(|subject| subject.name == name);
    let subject = subject.ok_or_else(|| Failure::new(format!("`{name}` cannot be mutated")))?;
    right_version(asked("cargo", &["mutants", "--version"]).as_deref())?;
    // cargo-mutants makes the last folder of its output only.
    let parent = results();
    fs::create_dir_all(&parent).map_err(cannot("create", &parent))?;
    let mut command = mutants(subject, file.as_deref());
    println!("==> {}", shown(&command));
    run_command(&mut command)
}

fn right_version(installed: Option<&str>) -> Result<()> {
    let remedy = format!("install it with: cargo install --locked cargo-mutants@{VERSION}");
    match installed.map(|text| text.trim_start_matches("cargo-mutants ")) {
        Some(VERSION) => Ok(()),
        Some(other) => Err(Failure::new(format!("cargo-mutants is {other}, not {VERSION}; {remedy}"))),
        None => Err(Failure::new(format!("cargo-mutants {VERSION} is missing; {remedy}"))),
    }
}

fn results() -> PathBuf {
    target().join("mutants")
}

fn mutants(subject: &Subject, file: Option<&str>) -> process::Command {
    let output = results().join(subject.name);
    let mut command = cargo(["mutants", "--package", subject.package, "--file", file.unwrap_or(subject.files)]);
    command.arg("--output").arg(output).args(["--jobs", "1", "--"]).args(subject.tests);
    // Generated cases find what they find in a few; each is run for every mutant.
    command.env("PROPTEST_CASES", "64");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_or_none_is_told_with_the_remedy() {
        assert!(right_version(Some("cargo-mutants 27.1.0")).is_ok());
        for installed in [None, Some("cargo-mutants 26.0.0")] {
            let told = right_version(installed).unwrap_err().to_string();
            assert!(told.contains("cargo install --locked cargo-mutants@27.1.0"), "{told}");
        }
    }

    #[test]
    fn each_subject_is_mutated_with_its_own_tests() {
        let text = shown(&mutants(&SUBJECTS[0], None));
        assert!(text.contains("cargo mutants --package lifecycle --file handler/lifecycle/src/**/*.rs"), "{text}");
        assert!(text.ends_with("--jobs 1 -- --lib --test any_input"), "{text}");
        let text = shown(&mutants(&SUBJECTS[1], Some("**/slots.rs")));
        assert!(text.contains("--package app --file **/slots.rs"), "{text}");
    }
}
