//! Azure's side of the ports: each module speaks to one service and keeps its wire format to itself.

pub mod batch_endpoint;
pub mod blobs;
pub mod by_identity;
pub mod callbacks;
pub mod dead_letters;
pub mod http;
pub mod management;
pub mod resource_manager;
pub mod small_blob;
pub mod tables;
mod text;
pub mod tokens;
pub mod upload;
