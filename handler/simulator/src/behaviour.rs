//! The switches for what nobody knows of the real service.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Points on which the real service's behaviour is unknown or has changed. The defaults are what helps a client least, but for
/// `omitOutputs`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, and named where it is set")]
pub struct Behaviour {
    /// Tags and properties of the request are kept on the job.
    pub keep_tags: bool,
    /// A job shows its inputs and not its outputs, as every recorded answer of the service.
    pub omit_outputs: bool,
    /// `properties.name` becomes the job's display name.
    pub honour_name: bool,
    /// A repeated `repeatability_request-id` within this time gets the first job again. Written in seconds.
    #[serde(rename = "honourRequestIdSeconds", with = "seconds")]
    pub honour_request_id: Option<Duration>,
    /// Job names are bare GUIDs, as before April 2023.
    pub bare_names: bool,
    /// Members that the model does not have are let through; by default they are refused with 400.
    pub allow_unknown_members: bool,
    /// The list of an endpoint's jobs works; by default it is refused with 400, as users report.
    pub list_jobs: bool,
    /// Times that the service shows are so many seconds ahead of its clock, or behind it if negative.
    pub skew_seconds: i32,
}

/// An optional duration as whole seconds.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        duration.map(|duration| duration.as_secs()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_secs))
    }
}
