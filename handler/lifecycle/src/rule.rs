//! Rules: which blob versions go to which endpoint, with which inputs, outputs and settings.
//!
//! The file is JSON, `{"rules": [ … ], "endpoints": [ … ]}`, the second optional; comments and trailing commas are allowed. Unknown
//! members are refused, and so is what can never work. All problems are reported together, each with its place. Only `id`,
//! `match.container` and `endpoint.uri` are required.

mod allowed;
mod beyond_events;
mod data;
mod definition;
mod document;
mod elsewhere;
pub mod endpoints;
mod examples;
mod exclude;
#[cfg(feature = "schema")]
mod forms;
mod group;
mod group_warnings;
mod groupable;
mod matching;
mod metadata_and_tags;
mod names;
mod own_containers;
mod policy;
mod problem;
mod publish;
mod published;
mod reading;
mod redirect;
#[cfg(feature = "schema")]
mod schema;
mod settings;
mod shadow;
mod split;
mod sweep_schedule;
pub mod template;
mod upload;
mod warning;
mod warnings;
pub use warning::Warning;
mod written;

pub use allowed::Allowed;
pub use definition::{DEFAULT_OUTPUT, EmptyBlobs, InputTemplate, Literal, Match, OutputTemplate, Rule, Source, Target};
pub use endpoints::EndpointSettings;
pub use exclude::{Exclude, Excluded, Glob, InvalidGlob};
#[cfg(feature = "schema")]
pub(crate) use forms::some_time;
pub use group::{GroupBy, GroupSettings, VerifyMembers};
pub use metadata_and_tags::{AskedMetadata, AskedTags, ValueCondition};
pub use own_containers::{WrittenDatastore, is_apps_own};
pub use policy::{OnUnknown, Policy};
pub use problem::{Place, Problem, Problems};
pub use publish::{IfExists, Publish};
pub use reading::Rules;
pub use redirect::Redirect;
#[cfg(feature = "schema")]
pub use schema::schema;
pub use settings::Settings;
pub use split::Split;
pub use sweep_schedule::{SweepEvery, SweepSchedule};
pub use upload::{Api, Complete, MarkerName, MediaType, Overwrites, Renames};

#[cfg(test)]
mod tests;
