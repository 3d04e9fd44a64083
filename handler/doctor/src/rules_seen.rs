//! How the blob that the rules lie in stands, as whoever begins an examination has found it.

/// What was seen of the blob before the examination, whose rules are those that it holds.
#[derive(Debug, Clone)]
pub struct RulesSeen {
    /// Its URL.
    pub url: String,
    /// Its storage account.
    pub account: String,
    /// Its container.
    pub container: String,
    /// How it stands.
    pub state: RulesState,
}

/// How the blob stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RulesState {
    /// Its rules are good.
    Good {
        /// Which version.
        etag: String,
    },
    /// What is wrong with them.
    Broken(String),
    /// Why they could not be read.
    Unread(String),
}
