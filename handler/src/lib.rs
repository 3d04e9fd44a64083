#![doc = include_str!("../README.md")]

pub mod adapters;
pub mod app;
pub mod compose;
pub mod config;
pub mod doctor;
pub mod functions;
pub mod hosts;
pub mod ledger;
pub mod ports;
pub mod simulation;
pub mod table_store;
pub mod telemetry;
