//! Who the app is, and what it and others may do: by role assignments, where nobody can try it in their name.

use std::fmt;

use serde_json::Value;

use crate::app_identity::AppIdentity;
use crate::cloud::CloudQueries;
use crate::finding::{Check, Finding};
use crate::installation::{Caller, Installation};
use crate::permissions::{Grant, READ_BLOBS, SEND_MESSAGES, WRITE_BLOBS, allowed_on_data};
use crate::remedy::{ResourceId, shell};
use app::ports::management::QueryError;

pub(super) const SITES: &str = "2025-03-01";
pub(super) const AUTHORIZATION: &str = "2022-04-01";
/// Pages of role assignments of one principal at one scope.
const PAGES: usize = 5;
/// Role definitions that are read for one question; a principal has a handful.
const MAX_ROLES: usize = 50;

/// Roles whose meaning is fixed, so that nobody needs the right to read their definitions: GUID and data actions.
const KNOWN: &[(&str, &[&str])] = &[
    ("2a2b9908-6ea1-4ae2-8e65-a410df84e7d1", &[READ_BLOBS]),
    ("ba92f5b4-2d11-453d-a403-e96b0029c9fe", &[READ_BLOBS, WRITE_BLOBS]),
    ("b7e6dc6d-f1e8-4753-8033-0f276bb0955b", &["Microsoft.Storage/storageAccounts/blobServices/containers/blobs/*"]),
    ("c6a89b2d-59bc-44d0-9896-0f6e12d7b80a", &[SEND_MESSAGES]),
    ("0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3", &["Microsoft.Storage/storageAccounts/tableServices/tables/entities/*"]),
];

/// Whose rights are examined, and by whom.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) caller: Caller,
    /// Object id of the app's identity, where a person looks and it is known.
    pub(super) principal: Option<String>,
    /// A word of a shell that names the app's identity in `--assignee`.
    pub(super) assignee: String,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.caller, &self.principal) {
            (Caller::App, _) => f.write_str("the app's own identity"),
            (Caller::Operator, Some(principal)) => {
                write!(f, "whoever is signed in, on behalf of the app's identity {principal}")
            }
            (Caller::Operator, None) => f.write_str("whoever is signed in; the app's identity is not known"),
        }
    }
}

impl Subject {
    /// Finds out who the app is. `site` is its ARM id, if Resource Manager can be asked.
    pub(super) async fn find(
        queries: &CloudQueries,
        caller: Caller,
        installation: &Installation,
        site: Option<&str>,
    ) -> (Self, Finding) {
        let check = Check::App;
        let by_command = installation.site.as_deref().and_then(ResourceId::read).map(|site| {
            let name = shell(site.name);
            format!(
                "\"$(az functionapp identity show {} --name {name} --query principalId --output tsv)\"",
                site.place()
            )
        });
        let named = installation.identity.assignee().map(str::to_owned);
        let assignee = named.or(by_command).unwrap_or_else(|| "PRINCIPAL_ID_OF_THE_APP".to_owned());
        let subject = Self { caller, principal: None, assignee };
        if caller == Caller::App {
            let finding = Finding::ok(check, format!("the app's own identity looks ({})", installation.identity));
            return (subject, finding);
        }
        if let AppIdentity::ServicePrincipal { client_id } = &installation.identity {
            let seen = format!(
                "the app is the service principal {client_id}, whose roles stand under an object id that no setting tells"
            );
            return (
                subject,
                Finding::unknown(
                    check,
                    seen,
                    "the app's own AZURE_* settings in the environment: it looks itself then",
                ),
            );
        }
        let needed = "--app with the ARM id of the function app: az functionapp show --name APP --resource-group GROUP --query id --output tsv";
        let Some(site) = site else {
            return (
                subject,
                Finding::unknown(check, "somebody who is signed in looks, and the app's identity is not known", needed),
            );
        };
        match queries.resource(site, SITES).await {
            Ok(document) => {
                let Some(principal) = installation.identity.principal_in(&document) else {
                    let which = match &installation.identity {
                        AppIdentity::UserAssigned(_) => installation.identity.to_string(),
                        _ => "of its own".to_owned(),
                    };
                    let fault = Finding::fault(
                        check,
                        format!("the function app has no identity {which}"),
                        "the settings (AZURE_CLIENT_ID, SCOREKEEPER_IDENTITY) name an identity that the app does not have, so it gets no token",
                        format!(
                            "az functionapp identity show --ids {} shows those that it has; set AZURE_CLIENT_ID to one's client id",
                            shell(site)
                        ),
                    );
                    return (subject, fault);
                };
                let seen = format!("somebody who is signed in looks; the app's identity is {principal}");
                (Self { principal: Some(principal), ..subject }, Finding::ok(check, seen))
            }
            Err(QueryError::Missing(why)) => (subject, Finding::unknown(check, why, needed)),
            Err(error) => (subject, Finding::unknown(check, error.to_string(), "the role Reader on the function app")),
        }
    }
}

/// What the role assignments of a principal at a scope come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rights {
    pub(super) grants: Vec<Grant>,
    /// Assignments that could count and were not understood: with a condition, or of a role that cannot be read.
    pub(super) doubtful: Vec<String>,
}

/// An answer to "may it?".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Permission {
    Yes,
    No,
    /// It cannot be told; why, for people: assignments that were not understood, or a query that failed.
    Unknown(String),
}

impl Rights {
    /// Whether they allow an action on data.
    pub(super) fn on_data(&self, action: &str) -> Permission {
        if allowed_on_data(&self.grants, action) {
            Permission::Yes
        } else if self.doubtful.is_empty() {
            Permission::No
        } else {
            Permission::Unknown(format!("{} could allow it, which cannot be determined", self.doubtful.join(", ")))
        }
    }
}

/// Reads what whoever looks may do at a scope.
pub(super) async fn own_rights(queries: &CloudQueries, scope: &str) -> Result<Rights, QueryError> {
    let path = format!("{scope}/providers/Microsoft.Authorization/permissions");
    let listed = queries.list(&path, AUTHORIZATION, None, PAGES).await?;
    let doubtful = if listed.complete { Vec::new() } else { vec!["permissions beyond the first pages".to_owned()] };
    Ok(Rights { grants: listed.items.iter().map(Grant::read).collect(), doubtful })
}

/// Reads the role assignments of a principal that hold at a scope, inherited ones and those of its groups included.
pub(super) async fn rights(queries: &CloudQueries, principal: &str, scope: &str) -> Result<Rights, QueryError> {
    let path = format!("{scope}/providers/Microsoft.Authorization/roleAssignments");
    let filter = format!("atScope() and assignedTo('{principal}')");
    let listed = queries.list(&path, AUTHORIZATION, Some(&filter), PAGES).await?;
    let mut rights = Rights::default();
    if !listed.complete {
        rights.doubtful.push("role assignments beyond the first pages".to_owned());
    }
    for assignment in &listed.items {
        let text = |name: &str| assignment.pointer(&format!("/properties/{name}")).and_then(Value::as_str);
        let (Some(role), Some(at)) = (text("roleDefinitionId"), text("scope")) else { continue };
        if !holds_at(at, scope) {
            continue;
        }
        if text("condition").is_some_and(|condition| !condition.trim().is_empty()) {
            rights.doubtful.push(format!("an assignment of {role} with a condition"));
            continue;
        }
        let guid = role.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        if let Some((_, data_actions)) = KNOWN.iter().find(|(known, _)| *known == guid) {
            rights.grants.push(Grant::of_data(data_actions));
            continue;
        }
        if rights.grants.len() + rights.doubtful.len() >= MAX_ROLES {
            rights.doubtful.push("further role assignments".to_owned());
            break;
        }
        match queries.resource(role, AUTHORIZATION).await {
            Ok(definition) => {
                let permissions = definition.pointer("/properties/permissions").and_then(Value::as_array);
                rights.grants.extend(permissions.into_iter().flatten().map(Grant::read));
            }
            Err(_) => rights.doubtful.push(format!("the role {guid}, whose definition cannot be read")),
        }
    }
    Ok(rights)
}

/// Whether an assignment at one scope holds at another: at the same, or above it. A management group is above every
/// scope for which it is listed.
fn holds_at(assigned: &str, scope: &str) -> bool {
    let (assigned, scope) = (assigned.trim_end_matches('/').to_ascii_lowercase(), scope.to_ascii_lowercase());
    assigned.starts_with("/providers/microsoft.management/")
        || scope.strip_prefix(&assigned).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn assignments_hold_below_and_nowhere_else() {
        let account = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/uploads";
        for (assigned, expected) in [
            (account, true),
            (&account.to_uppercase(), true),
            ("/subscriptions/s/resourceGroups/g", true),
            ("/subscriptions/s", true),
            ("/", true),
            ("/providers/Microsoft.Management/managementGroups/m", true),
            ("/subscriptions/s/resourceGroups/g2", false),
            ("/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/upload", false),
            (&format!("{account}/blobServices/default/containers/claims"), false),
        ] {
            assert_eq!(holds_at(assigned, account), expected, "{assigned}");
        }
        assert!(holds_at(account, &format!("{account}/blobServices/default/containers/claims")));
    }

    #[test]
    fn what_is_not_understood_is_neither_yes_nor_no() {
        let none = Rights::default();
        assert_eq!(none.on_data(READ_BLOBS), Permission::No);
        let doubtful = Rights { doubtful: vec!["a role with a condition".into()], ..Rights::default() };
        assert!(matches!(doubtful.on_data(READ_BLOBS), Permission::Unknown(_)));
        let reader = Rights { grants: vec![Grant::of_data(KNOWN[0].1)], ..doubtful };
        assert_eq!(reader.on_data(READ_BLOBS), Permission::Yes);
        assert!(matches!(reader.on_data(WRITE_BLOBS), Permission::Unknown(_)));
    }
}
