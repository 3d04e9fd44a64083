//! Why a scoring may not be submitted yet.

/// Why a scoring may not be submitted yet, and who else need not ask for now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Refusal {
    /// For people: the limit, the breaker or the error that it waits for, with the command that helps.
    pub(crate) reason: String,
    pub(crate) wait_scope: WaitScope,
}

impl Refusal {
    pub(crate) fn new(wait_scope: WaitScope, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), wait_scope }
    }
}

/// Whom a reason to wait holds for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitScope {
    /// The scoring alone: those behind it in the queue still get their turn.
    One,
    /// All scorings of its rule.
    Rule,
    /// All scorings that go to its endpoint.
    Endpoint,
    /// All scorings that go to its deployment.
    Deployment,
}
