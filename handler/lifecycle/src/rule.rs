//! Rules: which blob versions go to which endpoint, with which inputs, outputs and settings.
//!
//! The file is JSON, `{"rules": [ … ], "endpoints": [ … ]}`, the second optional; comments and trailing commas are allowed. Unknown
//! members are refused, and so is what can never work. All problems are reported together, each with its place. Only `id`,
//! `match.container` and `endpoint.uri` are required.

mod beyond_events;
mod data;
mod definition;
mod document;
pub mod endpoints;
mod exclude;
#[cfg(feature = "schema")]
mod forms;
mod matching;
mod metadata_and_tags;
mod names;
mod policy;
mod problem;
mod reading;
mod redirect;
#[cfg(feature = "schema")]
mod schema;
mod settings;
mod shadow;
mod split;
pub mod template;
mod upload;
mod warnings;
pub use warnings::Warning;
mod written;

pub use definition::{DEFAULT_OUTPUT, EmptyBlobs, InputTemplate, Literal, Match, OutputTemplate, Rule, Source, Target};
pub use endpoints::EndpointSettings;
pub use exclude::{Exclude, Excluded, Glob, InvalidGlob};
pub use metadata_and_tags::{Asked, AskedMetadata, AskedTags};
pub use policy::{OnUnknown, Policy};
pub use problem::{Place, Problem, Problems};
pub use reading::Rules;
pub use redirect::Redirect;
#[cfg(feature = "schema")]
pub use schema::schema;
pub use settings::Settings;
pub use split::Split;
pub use upload::{Api, Complete, MarkerName, MediaType, Overwrites, Renames};

#[cfg(test)]
mod tests;
