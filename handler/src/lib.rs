//! Scorekeeper's handler: what reacts to events and timers, remembers, submits and looks again.
//!
//! Values go down, results come back, nothing calls up:
//! [`hosts`] → [`functions`] → [`app`] → [`ports`] ⇐ [`adapters`]; [`ledger`] is the app's memory, written once over
//! the port [`table_store`]. What to do is decided in the pure crate `lifecycle`.

pub mod adapters;
pub mod app;
pub mod config;
pub mod functions;
pub mod hosts;
pub mod ledger;
pub mod ports;
pub mod table_store;
pub mod telemetry;
