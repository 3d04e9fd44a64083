//! Why a job failed, as run history tells it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Why a job failed, as run history tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunError {
    pub(super) code: String,
    pub(super) message: String,
    /// What the step says, if that is something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) step: Option<String>,
    /// The step's log files: contents by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) logs: BTreeMap<String, String>,
}

impl RunError {
    /// The user's data or code is to blame, as the service puts nearly everything.
    pub(super) fn user(message: impl Into<String>) -> Self {
        Self { code: "UserError".to_owned(), message: message.into(), step: None, logs: BTreeMap::new() }
    }
}
