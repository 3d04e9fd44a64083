//! Microsoft.Storage: the storage accounts of the installation and their containers, as Resource Manager shows them.
//! What lies in them is in `storage.rs`.
//!
//! Source: REST reference of the storage resource provider, 2025-06-01: Storage Accounts - List, Get Properties; Blob
//! Containers - List, Get.

use serde_json::{Value, json};

use crate::ids::{self, DEAD_LETTERS, once};
use crate::shared::Shared;

/// Every account, the app's own one last.
pub(super) fn list(shared: &Shared) -> Vec<Value> {
    names(shared).into_iter().filter_map(|name| get(shared, name)).collect()
}

fn names(shared: &Shared) -> Vec<&str> {
    let own = shared.options.app.state_account.as_str();
    once(ids::watched_accounts(shared).into_iter().chain(ids::datastore_accounts(shared)).chain([own]))
}

/// There is an account of this name.
pub(super) fn is_known(shared: &Shared, name: &str) -> bool {
    names(shared).contains(&name)
}

/// The document of an account; its name is taken in any case. `None` if there is none.
pub(super) fn get(shared: &Shared, name: &str) -> Option<Value> {
    let name = names(shared).into_iter().find(|it| it.eq_ignore_ascii_case(name))?;
    let document = json!({
        "id": ids::account(shared, name),
        "name": name,
        "type": "Microsoft.Storage/storageAccounts",
        "location": shared.options.workspace.location,
        "kind": "StorageV2",
        "sku": { "name": "Standard_LRS", "tier": "Standard" },
        "tags": {},
        "properties": {
            "provisioningState": "Succeeded",
            "creationTime": "2026-01-01T00:00:00.0000000Z",
            // An emulator's: the account is the first part of the path.
            "primaryEndpoints": { "blob": format!("{}/{name}/", shared.origin()) },
            "primaryLocation": shared.options.workspace.location,
            "statusOfPrimary": "available",
            "allowSharedKeyAccess": false,
            "allowBlobPublicAccess": false,
            "isHnsEnabled": false,
            "minimumTlsVersion": "TLS1_2",
            "publicNetworkAccess": "Enabled",
            "supportsHttpsTrafficOnly": true,
        },
    });
    shared.resources().shown("storageAccounts", name, document)
}

/// The containers of an account; `None` if there is no such account.
pub(super) fn containers(shared: &Shared, account: &str) -> Option<Vec<Value>> {
    get(shared, account)?;
    let is_own = |of: &str| of.eq_ignore_ascii_case(account);
    let inputs = shared.options.containers.iter().filter(|it| is_own(&it.account)).map(|it| it.container.as_str());
    let outputs = shared.options.datastores.iter().filter(|it| is_own(&it.account)).map(|it| it.container.as_str());
    let state = Some(DEAD_LETTERS).filter(|_| is_own(&shared.options.app.state_account));
    let names = once(inputs.chain(outputs).chain(state));
    Some(names.into_iter().filter_map(|name| shown(shared, account, name)).collect())
}

fn shown(shared: &Shared, account: &str, name: &str) -> Option<Value> {
    let document = json!({
        "id": format!("{}/blobServices/default/containers/{name}", ids::account(shared, account)),
        "name": name,
        "type": "Microsoft.Storage/storageAccounts/blobServices/containers",
        "etag": "\"0x8D0000000000001\"",
        "properties": {
            "deleted": false,
            "publicAccess": "None",
            "leaseStatus": "Unlocked",
            "leaseState": "Available",
            "lastModifiedTime": "2026-01-01T00:00:00.0000000Z",
            "hasImmutabilityPolicy": false,
            "hasLegalHold": false,
        },
    });
    shared.resources().shown("containers", name, document)
}
