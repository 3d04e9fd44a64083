//! Deterministic simulation of the real app: one seed, one story.
//!
//! The app, its ledger and its decisions run as they are shipped, in several simulated processes on one thread, over a
//! table, a batch endpoint and a storage that fail in every way that the real ones are known to fail. A seed decides
//! everything: what is uploaded, who is polled when, what is lost, who dies. After every write and every effect the
//! promises are checked against what really happened ([`invariants`]), and after the end of all faults everything must come
//! to a final status.
//!
//! It must never read the machine's clock or randomness, and must never be told by the app what is true.

mod account;
mod arrivals;
mod at_rest;
mod behaviour;
mod cloud;
mod command;
mod deployments;
pub mod durable_readers;
mod executor;
mod faults;
mod inputs;
mod invariants;
mod names;
mod operators;
mod options;
mod outcome;
mod output_events;
mod output_places;
mod plan;
mod process_ports;
mod publications;
mod publish_places;
mod publishing;
mod rules_changes;
mod run;
mod sandbox;
mod shrink;
mod sweep;
mod tagged;
mod trace;
mod uploaded;
mod world;

pub use behaviour::{End, JobBehaviour, Poison, Script, USER_ERROR, Written};
pub use cloud::{BAD_FILE, BadFiles, Cloud, CloudJob, TOO_LARGE};
pub use command::{NO_VIOLATION, NoWholeNumber, SimulateArgs, Total, VIOLATION, print_trace, simulate, whole_number};
pub use faults::{Faults, Kind};
pub use inputs::{Input, Inputs};
pub use invariants::Violation;
pub use options::{RunOptions, Wiring};
pub use outcome::Outcome;
pub use publications::{Content, Publication, Publications};
pub use run::{Published, run, run_grouped, run_poisoned, run_published, run_swept};
pub use sandbox::Sandbox;
pub use shrink::shrink;
pub use sweep::{Scenario, SweepResult, sweep};
pub use uploaded::Uploaded;
