//! Rules: which blob versions go to which endpoint, with which inputs, outputs and settings.
//!
//! The file is JSON, `{"rules": [ … ], "endpoints": [ … ]}`, the second optional. Unknown members are refused, all problems are reported together, each with
//! its place. Only `id`, `match.container` and `endpoint.uri` are required.

mod definition;
pub mod endpoints;
mod exclude;
mod matching;
mod policy;
mod problem;
mod reading;
pub mod template;
mod upload;
mod written;

pub use definition::{
    DEFAULT_OUTPUT, EmptyBlobs, InputTemplate, Literal, MEMBERS, Match, OutputTemplate, Rule, Target,
};
pub use endpoints::EndpointSettings;
pub use exclude::{Exclude, Excluded, Glob, InvalidGlob};
pub use policy::{OnUnknown, Policy};
pub use problem::{Location, Problem, Problems, Wrong};
pub use reading::Rules;
pub use upload::{Complete, Renames};

#[cfg(test)]
mod tests;
