//! The roles that an installation uses, all but one of them built-in, and the identities that have them. To whom they are assigned, and what
//! follows from it, is in `access.rs`. Ids and actions are those of Azure's built-in roles.

use azure_core::Uuid;
use serde_json::{Value, json};

/// A role of Azure, with what it allows on resources and on data.
#[derive(Debug)]
pub(super) struct Role {
    pub(super) name: &'static str,
    pub(super) id: &'static str,
    actions: &'static [&'static str],
    not_actions: &'static [&'static str],
    data_actions: &'static [&'static str],
}

macro_rules! machine_learning {
    ($rest:literal) => {
        concat!("Microsoft.MachineLearningServices/workspaces/", $rest)
    };
}
macro_rules! storage {
    ($rest:literal) => {
        concat!("Microsoft.Storage/storageAccounts/", $rest)
    };
}

pub(super) const READER: &str = "Reader";
pub(super) const DATA_SCIENTIST: &str = "AzureML Data Scientist";
pub(super) const BLOB_READER: &str = "Storage Blob Data Reader";
/// No built-in role: one that an installation makes whose rules ask for index tags.
pub(super) const TAGS_READER: &str = "Scorekeeper Blob Index Tags Reader";
pub(super) const BLOB_CONTRIBUTOR: &str = "Storage Blob Data Contributor";
pub(super) const BLOB_OWNER: &str = "Storage Blob Data Owner";
pub(super) const TABLE_CONTRIBUTOR: &str = "Storage Table Data Contributor";

/// The roles that an installation assigns; others are unknown to Resource Manager here.
pub(super) const ROLES: [Role; 7] = [
    Role {
        name: READER,
        id: "acdd72a7-3385-48ef-bd42-f606fba81ae7",
        actions: &["*/read"],
        not_actions: &[],
        data_actions: &[],
    },
    Role {
        name: DATA_SCIENTIST,
        id: "f6c7c914-8db3-469d-8ca1-694a8f32e121",
        actions: &[
            machine_learning!("*/read"),
            machine_learning!("*/action"),
            machine_learning!("*/delete"),
            machine_learning!("*/write"),
        ],
        not_actions: &[
            machine_learning!("delete"),
            machine_learning!("write"),
            machine_learning!("computes/*/write"),
            machine_learning!("computes/*/delete"),
            machine_learning!("computes/listKeys/action"),
            machine_learning!("listKeys/action"),
            machine_learning!("task hubs/write"),
            machine_learning!("task hubs/delete"),
            machine_learning!("featurestores/write"),
            machine_learning!("featurestores/delete"),
        ],
        data_actions: &[],
    },
    Role {
        name: BLOB_READER,
        id: "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
        actions: &[storage!("blobServices/containers/read"), storage!("blobServices/generateUserDelegationKey/action")],
        not_actions: &[],
        data_actions: &[storage!("blobServices/containers/blobs/read")],
    },
    Role {
        name: TAGS_READER,
        id: "5c0eca6e-b10b-4a95-9e4d-3b1c5a0e7d21",
        actions: &[],
        not_actions: &[],
        data_actions: &[storage!("blobServices/containers/blobs/tags/read")],
    },
    Role {
        name: BLOB_CONTRIBUTOR,
        id: "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
        actions: &[
            storage!("blobServices/containers/delete"),
            storage!("blobServices/containers/read"),
            storage!("blobServices/containers/write"),
            storage!("blobServices/generateUserDelegationKey/action"),
        ],
        not_actions: &[],
        data_actions: &[
            storage!("blobServices/containers/blobs/delete"),
            storage!("blobServices/containers/blobs/read"),
            storage!("blobServices/containers/blobs/write"),
            storage!("blobServices/containers/blobs/move/action"),
            storage!("blobServices/containers/blobs/add/action"),
        ],
    },
    Role {
        name: BLOB_OWNER,
        id: "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
        actions: &[storage!("blobServices/containers/*"), storage!("blobServices/generateUserDelegationKey/action")],
        not_actions: &[],
        data_actions: &[storage!("blobServices/containers/blobs/*")],
    },
    Role {
        name: TABLE_CONTRIBUTOR,
        id: "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
        actions: &[
            storage!("tableServices/tables/read"),
            storage!("tableServices/tables/write"),
            storage!("tableServices/tables/delete"),
        ],
        not_actions: &[],
        data_actions: &[
            storage!("tableServices/tables/entities/read"),
            storage!("tableServices/tables/entities/write"),
            storage!("tableServices/tables/entities/delete"),
            storage!("tableServices/tables/entities/add/action"),
            storage!("tableServices/tables/entities/update/action"),
        ],
    },
];

/// Reading a blob's content or listing a container's blobs.
pub(super) const READ_BLOBS: &str = storage!("blobServices/containers/blobs/read");
/// Writing a blob: everything that comes by PUT.
pub(super) const WRITE_BLOBS: &str = storage!("blobServices/containers/blobs/write");
/// Deleting a blob of a container.
pub(super) const DELETE_BLOBS: &str = storage!("blobServices/containers/blobs/delete");
/// Reading a blob's index tags.
pub(super) const READ_INDEX_TAGS: &str = storage!("blobServices/containers/blobs/tags/read");
/// Looking whether a container is there.
pub(super) const READ_CONTAINER: &str = storage!("blobServices/containers/read");
/// Making a job on an endpoint's default deployment.
pub(super) const INVOKE: &str = machine_learning!("batchEndpoints/jobs/write");
/// Making a job on a deployment that is named.
pub(super) const INVOKE_DEPLOYMENT: &str = machine_learning!("batchEndpoints/deployments/jobs/write");
/// Reading an endpoint's jobs, one or a list of them.
pub(super) const READ_JOBS: &str = machine_learning!("batchEndpoints/jobs/read");
/// Reading a job's run and steps in run history.
pub(super) const READ_RUNS: &str = machine_learning!("experiments/runs/read");

/// Whom roles are assigned to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// The app: every caller is taken for it.
    App,
    /// The identity of the compute cluster, as which jobs read and write.
    Compute,
    /// The managed identity of the workspace.
    Workspace,
    /// The managed identity of the system topics, as which dead letters are written.
    Topic,
}

impl Who {
    pub(super) const ALL: [Self; 4] = [Self::App, Self::Compute, Self::Workspace, Self::Topic];

    /// As fault plans name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Compute => "compute",
            Self::Workspace => "workspace",
            Self::Topic => "topic",
        }
    }

    /// Object id of its principal.
    pub(super) fn principal(self) -> String {
        let number = match self {
            Self::App => 0xa,
            Self::Compute => 0xc,
            Self::Workspace => 0xd,
            Self::Topic => 0xe,
        };
        Uuid::from_u128(number).to_string()
    }

    /// The member `identity` of a resource that has this identity of its own.
    pub(super) fn identity(self) -> Value {
        json!({ "type": "SystemAssigned", "principalId": self.principal(), "tenantId": TENANT.to_string() })
    }
}

/// The one tenant: identities are of it, and Resource Manager names it.
pub(super) const TENANT: Uuid = Uuid::from_u128(2);

impl Role {
    /// ARM id of its definition in a subscription.
    pub(super) fn definition_id(&self, subscription: &str) -> String {
        format!("/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions/{}", self.id)
    }

    /// What it grants, less the actions that are `denied` to everybody here.
    pub(super) fn permission(&self, denied: &[String]) -> Value {
        let withheld: Vec<&str> = self.not_actions.iter().copied().chain(denied.iter().map(String::as_str)).collect();
        json!({
            "actions": self.actions,
            "notActions": withheld,
            "dataActions": self.data_actions,
            "notDataActions": denied,
        })
    }

    /// Its definition, as Resource Manager shows it.
    pub(super) fn document(&self, subscription: &str) -> Value {
        json!({
            "id": self.definition_id(subscription),
            "name": self.id,
            "type": "Microsoft.Authorization/roleDefinitions",
            "properties": {
                "roleName": self.name,
                "type": "BuiltInRole",
                "description": self.name,
                "assignableScopes": ["/"],
                "permissions": [self.permission(&[])],
            },
        })
    }
}

/// `inner` is `outer` or lies in it.
pub(super) fn is_within(inner: &str, outer: &str) -> bool {
    let (inner, outer) = (inner.to_ascii_lowercase(), outer.to_ascii_lowercase());
    inner.strip_prefix(&outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// `*` is any text, case does not matter, and `/*/` is also no kind at all: `workspaces/*/write` would otherwise not
/// have to be narrowed by `workspaces/write`, as the built-in roles do.
pub(super) fn matches(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_ascii_lowercase(), action.to_ascii_lowercase());
    globs(&pattern, &action) || (pattern.contains("/*/") && globs(&pattern.replacen("/*/", "/", 1), &action))
}

fn globs(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text.strip_prefix(head).is_some_and(|text| {
            text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| globs(rest, &text[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_holds_the_actions_that_azure_says_it_holds() {
        let all = [
            (DATA_SCIENTIST, INVOKE, true),
            (DATA_SCIENTIST, "microsoft.machinelearningservices/workspaces/READ", true),
            (DATA_SCIENTIST, "Microsoft.MachineLearningServices/workspaces/write", false),
            (DATA_SCIENTIST, "Microsoft.MachineLearningServices/workspaces/computes/listKeys/action", false),
            (DATA_SCIENTIST, "Microsoft.EventGrid/systemTopics/read", false),
            (READER, "Microsoft.EventGrid/systemTopics/read", true),
            (READER, INVOKE, false),
        ];
        for (name, action, expected) in all {
            let role = ROLES.iter().find(|role| role.name == name).unwrap();
            let has = |patterns: &[&str]| patterns.iter().any(|pattern| matches(pattern, action));
            assert_eq!(has(role.actions) && !has(role.not_actions), expected, "{name} {action}");
        }
    }
}
