//! What Resource Manager says is wrong around the endpoint: things that are missing or set up otherwise, role
//! assignments that were never made, actions that are refused.
//!
//! All is healthy unless the fault plan says otherwise, and what is shown is derived from the options. A plan
//! changes a document by a merge patch (RFC 7396) instead of naming one of a list of known defects: whatever can be wrong
//! with a resource can be planned, in Azure's own words. Where the simulated service acts upon such a setting itself
//! (endpoints, deployments, containers, rights), it acts upon the changed one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::installation::Endpoint;
use crate::roles::{ROLES, Who};

/// What is wrong with the installation; by default nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Resources {
    /// By `kind/name` (`computes/simulated-cluster`, `deployments/*`): `null` if there is none of it, else a merge patch
    /// to its document, in which a member that is `null` is left out.
    pub changed: BTreeMap<String, Option<Value>>,
    /// Roles that were not assigned, as `who/role`: `compute/Storage Blob Data Reader`, `app/*`. Who: `app` (whoever calls),
    /// `compute`, `workspace`, `topic`.
    pub unassigned: Vec<String>,
    /// Actions and data actions that the caller's roles do not contain, as `Microsoft.…/read`; `*` is any text.
    pub denied: Vec<String>,
    /// The event subscription lies on the storage account, as older tools made it, and not on its system topic.
    pub subscription_on_account: bool,
}

/// Kinds of resources that can be changed.
const KINDS: [&str; 12] = [
    "sites",
    "authSettings",
    "workspaces",
    "batchEndpoints",
    "deployments",
    "computes",
    "datastores",
    "usages",
    "storageAccounts",
    "containers",
    "systemTopics",
    "eventSubscriptions",
];

/// What makes no sense in [`Resources`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidResources {
    /// A change of something that is no resource here.
    #[error("`{0}` is not kind/name; kinds are {kinds}", kinds = KINDS.join(", "))]
    Kind(String),
    /// A change that is no merge patch.
    #[error("`{0}` is changed by an object, or is null")]
    Patch(String),
    /// A role that nobody here could have.
    #[error("`{0}` is not who/role; roles are {roles}", roles = ROLES.map(|role| role.name).join(", "))]
    Assignment(String),
    /// Not the name of an action.
    #[error("`{0}` is not an action; one is written Microsoft.PROVIDER/KINDS/read")]
    Action(String),
}

impl Resources {
    /// Checks that every name is one that there is; the error names the first that is not.
    pub(super) fn check(&self) -> Result<(), InvalidResources> {
        for (resource, patch) in &self.changed {
            let kind = resource.split_once('/').filter(|(_, name)| !name.is_empty()).map(|(kind, _)| kind);
            if !kind.is_some_and(|kind| KINDS.iter().any(|known| known.eq_ignore_ascii_case(kind))) {
                return Err(InvalidResources::Kind(resource.clone()));
            }
            if patch.as_ref().is_some_and(|patch| !patch.is_object()) {
                return Err(InvalidResources::Patch(resource.clone()));
            }
        }
        for assignment in &self.unassigned {
            let (who, role) = assignment.split_once('/').unwrap_or_default();
            let known = Who::ALL.iter().any(|it| is(who, it.name())) && ROLES.iter().any(|it| is(role, it.name));
            if !known {
                return Err(InvalidResources::Assignment(assignment.clone()));
            }
        }
        match self.denied.iter().find(|action| !action.contains('/')) {
            Some(action) => Err(InvalidResources::Action(action.clone())),
            None => Ok(()),
        }
    }

    fn changes<'a>(&'a self, kind: &'a str, name: &'a str) -> impl Iterator<Item = &'a Option<Value>> {
        let concerns = move |resource: &str| {
            let (of, named) = resource.split_once('/').unwrap_or_default();
            of.eq_ignore_ascii_case(kind) && is(named, name)
        };
        self.changed.iter().filter(move |(resource, _)| concerns(resource)).map(|(_, patch)| patch)
    }

    /// Whether the fault plan says that there is no such resource.
    pub(super) fn is_gone(&self, kind: &str, name: &str) -> bool {
        self.changes(kind, name).any(Option::is_none)
    }

    /// A document as it is to be seen; `None` if there is no such thing.
    pub(super) fn shown(&self, kind: &str, name: &str, mut document: Value) -> Option<Value> {
        for patch in self.changes(kind, name) {
            merge(&mut document, patch.as_ref()?);
        }
        Some(document)
    }

    /// An endpoint as the service itself has it.
    pub(super) fn endpoint(&self, mut endpoint: Endpoint) -> Option<Endpoint> {
        let defaults = serde_json::json!({ "deploymentName": endpoint.default_deployment });
        let document = serde_json::json!({ "properties": { "defaults": defaults } });
        let document = self.shown("batchEndpoints", &endpoint.name, document)?;
        endpoint.default_deployment =
            document["properties"]["defaults"]["deploymentName"].as_str().map(ToOwned::to_owned);
        endpoint.deployments.retain(|deployment| !self.is_gone("deployments", &deployment.name));
        Some(endpoint)
    }

    /// Whether the fault plan leaves the role with whom a complete installation gives it to.
    pub(super) fn is_assigned(&self, who: Who, role: &str) -> bool {
        !self.unassigned.iter().any(|assignment| {
            let (of, named) = assignment.split_once('/').unwrap_or_default();
            is(of, who.name()) && is(named, role)
        })
    }
}

/// `*` stands for any name.
fn is(asked: &str, name: &str) -> bool {
    asked == "*" || asked.eq_ignore_ascii_case(name)
}

/// Applies a merge patch (RFC 7396): `null` removes a member.
fn merge(document: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *document = patch.clone();
        return;
    };
    if !document.is_object() {
        *document = Value::Object(serde_json::Map::new());
    }
    let Value::Object(members) = document else { return };
    for (name, change) in changes {
        if change.is_null() {
            members.remove(name);
        } else {
            merge(members.entry(name).or_insert(Value::Null), change);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(plan: Value) -> Resources {
        serde_json::from_value(plan).unwrap()
    }

    #[test]
    fn a_change_reaches_what_it_names_and_nothing_else() {
        let resources = read(json!({ "changed": {
            "computes/*": { "identity": null, "tags": { "a": "1" } },
            "Deployments/blue": null,
        } }));
        assert_eq!(resources.check(), Ok(()));
        let document = json!({ "identity": { "type": "SystemAssigned" }, "tags": { "b": "2" } });
        let changed = json!({ "tags": { "a": "1", "b": "2" } });
        assert_eq!(resources.shown("computes", "cluster", document.clone()), Some(changed));
        assert_eq!(resources.shown("datastores", "cluster", document.clone()), Some(document.clone()));
        assert_eq!(resources.shown("deployments", "blue", document.clone()), None);
        assert_eq!(resources.shown("deployments", "green", document.clone()), Some(document));
    }

    #[test]
    fn senseless_resources_are_refused() {
        for wrong in [
            json!({ "changed": { "computes": null } }),
            json!({ "changed": { "computes/": null } }),
            json!({ "changed": { "clusters/x": null } }),
            json!({ "changed": { "computes/x": "gone" } }),
            json!({ "unassigned": ["app"] }),
            json!({ "unassigned": ["somebody/Reader"] }),
            json!({ "unassigned": ["app/King"] }),
            json!({ "denied": ["read"] }),
        ] {
            assert!(read(wrong.clone()).check().is_err(), "{wrong}");
        }
        let right = json!({ "unassigned": ["compute/*", "*/reader"], "denied": ["Microsoft.Storage/*"] });
        assert_eq!(read(right).check(), Ok(()));
    }
}
