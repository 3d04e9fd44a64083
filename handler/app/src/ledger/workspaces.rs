//! The workspace of each endpoint whose rules do not name it: one row per endpoint in the partition `workspaces`.

use lifecycle::id::{EndpointUri, WorkspaceId};

use crate::ports::table_store::{Entity, Key};

use super::{Error, Ledger, rows};

fn key(endpoint: &EndpointUri) -> Key {
    Key::new("workspaces", endpoint.key().as_str())
}

impl Ledger {
    /// The workspace of this endpoint, if a job has ever shown it.
    pub(crate) async fn workspace(&self, endpoint: &EndpointUri) -> Result<Option<WorkspaceId>, Error> {
        let row = self.row(&key(endpoint)).await?;
        // What cannot be read is learned again.
        Ok(row.and_then(|row| row.entity.string("Workspace")?.parse().ok()))
    }

    /// Keeps the workspace that a job has shown, for processes that have seen no job of this endpoint.
    pub(crate) async fn record_workspace(&self, endpoint: &EndpointUri, workspace: &WorkspaceId) -> Result<(), Error> {
        let row = Entity::new(key(endpoint))
            .with("SchemaVersion", rows::SCHEMA)
            .with("Endpoint", endpoint.as_str())
            .with("Workspace", workspace.as_str());
        self.upsert_row(row).await
    }
}
