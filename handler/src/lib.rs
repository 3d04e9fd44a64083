#![doc = include_str!("../README.md")]

pub mod cli;
pub mod compose;
pub mod config;
pub mod functions;
mod guard;
pub mod hosts;
#[cfg(feature = "dev")]
mod local;
pub mod page;
pub mod redacting;
pub mod rules_in_blob;
pub mod telemetry;
mod version;
