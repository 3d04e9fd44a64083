//! Who calls the functions: the Azure Functions host's protocol, and AWS Lambda's.

pub mod azure;
pub mod lambda;
