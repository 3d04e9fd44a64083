//! Names and ARM ids that several resources refer to each other by.

use crate::shared::Shared;

/// Container for events that could not be delivered.
pub(super) const DEAD_LETTERS: &str = "dead-letters";

/// Name of the one compute cluster.
pub(super) const CLUSTER: &str = "simulated-cluster";

/// ARM id of a storage account. All lie beside the workspace.
pub(super) fn account(shared: &Shared, name: &str) -> String {
    format!("{}/providers/Microsoft.Storage/storageAccounts/{name}", shared.options.workspace.group_id())
}

/// ARM id of a container.
pub(super) fn container(shared: &Shared, account: &str, name: &str) -> String {
    format!("{}/blobServices/default/containers/{name}", self::account(shared, account))
}

/// ARM id of the container for dead letters.
pub(super) fn dead_letters(shared: &Shared) -> String {
    container(shared, &shared.options.app.state_account, DEAD_LETTERS)
}

/// ARM id of the cluster.
pub(super) fn cluster(shared: &Shared) -> String {
    format!("{}/computes/{CLUSTER}", shared.options.workspace.id())
}

/// Accounts whose blobs are scored, each once.
pub(super) fn watched_accounts(shared: &Shared) -> Vec<&str> {
    once(shared.options.containers.iter().map(|container| container.account.as_str()))
}

/// Accounts that the workspace's datastores lie in, each once.
pub(super) fn datastore_accounts(shared: &Shared) -> Vec<&str> {
    once(shared.options.datastores.iter().map(|datastore| datastore.account.as_str()))
}

/// Each name once, in the order in which it came first.
pub(super) fn once<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut all = Vec::new();
    for name in names {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}
