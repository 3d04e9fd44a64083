//! The one integration-test binary. `tests/README.md` says what each file proves.

// Tests fail by panicking and say on stdout what a failure needs to be understood; the lints that keep both out
// of the product do not apply here.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::missing_panics_doc,
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::too_many_lines
)]

mod blobs;
mod browser;
mod burst;
mod cases;
mod cli;
mod deployments;
mod doctor;
mod documented_commands;
mod emulator;
mod endpoint;
mod hosts;
mod intake;
mod job_failures;
mod journey;
mod large_bodies;
mod links;
mod log_records;
mod openapi;
mod package;
mod page;
mod python;
mod readme;
mod released;
mod rules;
mod rules_in_blob;
mod runs;
mod secrets;
mod simulation;
mod starts;
mod supervised_host;
mod support;
mod sweeps;
mod telemetry;
mod wrong_settings;
