//! Where a verified result is published: a path that the user chose, the same for as many results as they like.

use super::template::Template;

/// Where the verified result is published, beside the attempt's own path.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct Publish {
    /// The path, a template like an output's; it may be the same for many blobs. Of a `UriFolder` the folder that holds the manifest.
    #[cfg_attr(feature = "schema", schemars(transform = super::forms::published))]
    pub uri: Template,
    /// What to do where something lies there already.
    #[cfg_attr(feature = "schema", schemars(with = "Option<IfExists>"))]
    pub if_exists: IfExists,
}

/// What to do where something lies at the path that a result is published to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename_all = "lowercase"))]
pub enum IfExists {
    /// Leave it, unless it is an older result of this ledger.
    Refuse,
    /// Replace it, unless it is a newer result of this ledger (default).
    #[default]
    Replace,
    /// Leave it, and publish beside it under a name that ends with the scoring's id.
    Version,
}
