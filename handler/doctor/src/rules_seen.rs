//! How the blob that the rules lie in stands, as whoever begins an examination has found it.

/// What was seen of the blob before the examination, whose rules are those that it holds.
#[derive(Debug, Clone)]
pub struct RulesSeen {
    /// URL of the blob, as the settings have it.
    pub url: String,
    /// Name of the storage account that it lies in.
    pub account: String,
    /// Name of its container, decoded.
    pub container: String,
    /// How the blob was found; taken for good where rules are examined before they are written.
    pub state: RulesState,
}

/// How the blob stands: good rules, bad ones, or none that could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RulesState {
    /// Its rules are good, and are those that are examined.
    Good {
        /// ETag of that version; empty where nobody has looked at the blob.
        etag: String,
    },
    /// What is wrong with them.
    Broken(String),
    /// Why they could not be read.
    Unread(String),
}
