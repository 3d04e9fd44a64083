#![doc = include_str!("../README.md")]

pub mod compose;
pub mod config;
pub mod functions;
pub mod hosts;
pub mod redacting;
pub mod telemetry;
