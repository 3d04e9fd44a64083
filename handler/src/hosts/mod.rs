//! Who calls the functions: the Azure Functions host's protocol.

pub mod azure;
