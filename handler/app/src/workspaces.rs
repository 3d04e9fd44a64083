//! The workspaces of endpoints, as jobs have shown them: known to the ledger, so that a process that never saw a job can look for
//! one. A rule that names its workspace needs none of this.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lifecycle::id::{EndpointUri, WorkspaceId};

use crate::error::error_chain;
use crate::ledger::Ledger;

/// What is known of the workspaces of endpoints. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Workspaces {
    ledger: Ledger,
    /// What this process has read or written: an endpoint never moves to another workspace.
    known: Arc<Mutex<HashMap<EndpointUri, WorkspaceId>>>,
}

impl Workspaces {
    pub(crate) fn new(ledger: &Ledger) -> Self {
        Self { ledger: ledger.clone(), known: Arc::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<EndpointUri, WorkspaceId>> {
        // A panic leaves it whole: one entry more or less.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The workspace of an endpoint, if a job of it was ever seen.
    pub(crate) async fn of(&self, endpoint: &EndpointUri) -> Option<WorkspaceId> {
        if let Some(workspace) = self.known().get(endpoint).cloned() {
            return Some(workspace);
        }
        match self.ledger.workspace(endpoint).await {
            Ok(workspace) => {
                let workspace = workspace?;
                self.known().insert(endpoint.clone(), workspace.clone());
                Some(workspace)
            }
            Err(error) => {
                tracing::warn!(endpoint = endpoint.as_str(), error = %error_chain(&error), "the workspace of {endpoint} cannot be read");
                None
            }
        }
    }

    /// A job has shown the workspace of its endpoint. Written once by each process; a write that fails is made up for by the next
    /// job.
    pub(crate) async fn learn(&self, endpoint: &EndpointUri, workspace: &WorkspaceId) {
        if self.known().get(endpoint) == Some(workspace) {
            return;
        }
        match self.ledger.record_workspace(endpoint, workspace).await {
            Ok(()) => drop(self.known().insert(endpoint.clone(), workspace.clone())),
            Err(error) => {
                tracing::warn!(endpoint = endpoint.as_str(), error = %error_chain(&error), "the workspace of {endpoint} could not be kept");
            }
        }
    }
}
