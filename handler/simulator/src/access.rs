//! Who may do what: to whom roles are assigned, and what follows from it.
//!
//! The caller is one and the same, whatever token it shows: the app's identity, to which `Reader` on the subscription was
//! given as well, so that it may look at what is not its own (as the operators may).

use azure_core::Uuid;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::ids;
use crate::roles::{
    BLOB_CONTRIBUTOR, BLOB_OWNER, BLOB_READER, DATA_SCIENTIST, READER, ROLES, Role, TABLE_CONTRIBUTOR, TAGS_READER,
    TENANT, Who, is_within, matches,
};
use crate::shared::Shared;

/// A role that somebody has at a scope and below it.
#[derive(Debug)]
pub(super) struct Assignment {
    who: Who,
    role: &'static Role,
    /// ARM id of what the role is assigned on; it holds below that, too.
    pub(super) scope: String,
}

/// The assignments of a complete installation, without those that the fault plan takes away.
pub(super) fn assignments(shared: &Shared) -> Vec<Assignment> {
    let options = &shared.options;
    let resources = shared.resources();
    let subscription = format!("/subscriptions/{}", options.workspace.subscription);
    let account = |name: &str| ids::account(shared, name);
    let mut wanted = vec![
        (Who::App, READER, subscription),
        (Who::App, DATA_SCIENTIST, options.workspace.id()),
        (Who::App, BLOB_OWNER, account(&options.app.state_account)),
        (Who::App, TABLE_CONTRIBUTOR, account(&options.app.state_account)),
        (Who::Topic, BLOB_CONTRIBUTOR, ids::dead_letters(shared)),
    ];
    for name in ids::watched_accounts(shared) {
        wanted.push((Who::App, BLOB_READER, account(name)));
        wanted.push((Who::App, TAGS_READER, account(name)));
        wanted.push((Who::Compute, BLOB_READER, account(name)));
    }
    for name in ids::datastore_accounts(shared) {
        wanted.push((Who::App, BLOB_READER, account(name)));
        wanted.push((Who::Compute, BLOB_CONTRIBUTOR, account(name)));
        wanted.push((Who::Workspace, BLOB_CONTRIBUTOR, account(name)));
    }
    for datastore in options.datastores.iter().filter(|datastore| options.published.contains(&datastore.name)) {
        wanted.push((Who::App, BLOB_CONTRIBUTOR, ids::container(shared, &datastore.account, &datastore.container)));
    }
    for (account, container) in &options.staging {
        wanted.push((Who::App, BLOB_CONTRIBUTOR, ids::container(shared, account, container)));
    }
    let mut made: Vec<Assignment> = Vec::new();
    for (who, name, scope) in wanted {
        let role = ROLES.iter().find(|role| role.name == name);
        let is_new = |it: &Assignment| (it.who, it.role.name, &it.scope) != (who, name, &scope);
        if let Some(role) = role.filter(|_| made.iter().all(is_new) && resources.is_assigned(who, name)) {
            made.push(Assignment { who, role, scope });
        }
    }
    made
}

impl Assignment {
    /// Its document, as Resource Manager shows it.
    pub(super) fn document(&self, shared: &Shared) -> Value {
        let text = format!("{} {} {}", self.scope, self.who.name(), self.role.id);
        let hash: [u8; 32] = Sha256::digest(text).into();
        let name = Uuid::from_slice(&hash[..16]).unwrap_or_default();
        let subscription = &shared.options.workspace.subscription;
        json!({
            "id": format!("{}/providers/Microsoft.Authorization/roleAssignments/{name}", self.scope),
            "name": name.to_string(),
            "type": "Microsoft.Authorization/roleAssignments",
            "properties": {
                "roleDefinitionId": self.role.definition_id(subscription),
                "principalId": self.who.principal(),
                "principalType": "ServicePrincipal",
                "scope": self.scope,
                "condition": null,
                "conditionVersion": null,
                "createdOn": "2026-01-01T00:00:00.0000000Z",
                "updatedOn": "2026-01-01T00:00:00.0000000Z",
                "createdBy": TENANT.to_string(),
                "updatedBy": TENANT.to_string(),
                "delegatedManagedIdentityResourceId": null,
                "description": null,
            },
        })
    }

    /// It is of this principal.
    pub(super) fn is_of(&self, principal: &str) -> bool {
        self.who.principal().eq_ignore_ascii_case(principal)
    }
}

/// What the caller may do at a scope: one entry for each of its assignments at or above it.
pub(super) fn permissions(shared: &Shared, scope: &str) -> Vec<Value> {
    let resources = shared.resources();
    let own = assignments(shared).into_iter().filter(|it| it.who == Who::App && is_within(scope, &it.scope));
    own.map(|it| it.role.permission(&resources.denied)).collect()
}

/// Why the caller may not do it, if it may not.
pub(super) fn forbidden(shared: &Shared, action: &str, scope: &str) -> Option<String> {
    refused(shared, ("actions", "notActions"), action, scope)
}

/// The same of a data action. `Reader` reads everything but data.
pub(super) fn forbidden_data(shared: &Shared, action: &str, scope: &str) -> Option<String> {
    refused(shared, ("dataActions", "notDataActions"), action, scope)
}

fn refused(shared: &Shared, (granted, withheld): (&str, &str), action: &str, scope: &str) -> Option<String> {
    let has = |permission: &Value, member: &str| {
        let patterns = permission[member].as_array().map(Vec::as_slice).unwrap_or_default();
        patterns.iter().filter_map(Value::as_str).any(|pattern| matches(pattern, action))
    };
    let allows = |permission: &Value| has(permission, granted) && !has(permission, withheld);
    let caller = Who::App.principal();
    (!permissions(shared, scope).iter().any(allows)).then(|| {
        format!(
            "The client '{caller}' with object id '{caller}' does not have authorization to perform action '{action}' \
             over scope '{scope}' or the scope is invalid. If access was recently granted, please refresh your \
             credentials."
        )
    })
}
