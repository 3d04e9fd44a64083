//! Who calls the functions and shows the ledger: the Azure Functions host's protocol, the local host, pages, the CLI.

pub mod azure;
pub mod breakers;
pub mod cli;
pub mod doctor;
pub mod limits;
pub mod local;
pub mod ops;
pub mod simulator;
pub mod view;
