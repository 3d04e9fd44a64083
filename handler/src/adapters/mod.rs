//! The outside world: each module implements a port over one external system and keeps its wire format to itself.

pub mod azure_blobs;
pub mod azure_cloud;
pub mod azure_ml;
pub mod azure_tables;
pub mod embedded;
pub mod faulty;
pub mod http;
pub mod memory;
pub mod resource_manager;
pub mod simulator;
pub mod tokens;
