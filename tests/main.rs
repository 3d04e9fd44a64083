//! The one integration-test binary. `tests/README.md` says what each file proves.

// Tests fail by panicking; the lints that keep panics out of the product do not apply here.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, missing_docs, unreachable_pub)]

mod app;
mod blobs;
mod cli;
mod endpoint;
mod hosts;
mod intake;
mod journey;
mod package;
mod simulator;
mod stores;
mod support;
