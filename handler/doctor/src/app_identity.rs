//! Who the app is to Azure, and how it is found there.

use std::fmt;

use serde_json::Value;

/// Who the app is to Azure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppIdentity {
    /// The managed identity that lives and dies with the function app.
    SystemAssigned,
    /// A user-assigned managed identity, by what the settings name it.
    UserAssigned(UserAssigned),
    /// An application with a secret, a certificate or a federated token.
    ServicePrincipal {
        /// Its application (client) id, as the settings name it.
        client_id: String,
    },
    /// Whoever is signed in on the machine that it runs on.
    SignedIn,
}

/// By what a user-assigned managed identity is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserAssigned {
    /// Its client id, which role assignments take as assignee.
    ClientId(String),
    /// Its object id (*principal id*), which role assignments take as assignee.
    ObjectId(String),
    /// Its ARM id, as the document of the function app lists it.
    ResourceId(String),
}

impl fmt::Display for AppIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SystemAssigned => f.write_str("system-assigned"),
            Self::UserAssigned(UserAssigned::ClientId(id) | UserAssigned::ResourceId(id)) => f.write_str(id),
            Self::UserAssigned(UserAssigned::ObjectId(id)) => write!(f, "object id {id}"),
            Self::ServicePrincipal { client_id } => write!(f, "service principal {client_id}"),
            Self::SignedIn => f.write_str("whoever is signed in"),
        }
    }
}

impl AppIdentity {
    /// What a role assignment takes for `--assignee`, where the settings tell.
    pub(super) fn assignee(&self) -> Option<&str> {
        match self {
            Self::UserAssigned(UserAssigned::ClientId(id) | UserAssigned::ObjectId(id))
            | Self::ServicePrincipal { client_id: id } => Some(id),
            Self::SystemAssigned | Self::UserAssigned(UserAssigned::ResourceId(_)) | Self::SignedIn => None,
        }
    }

    /// Object id of a managed identity, as the document of its function app has it.
    pub(super) fn principal_in(&self, site: &Value) -> Option<String> {
        let identity = site.get("identity")?;
        let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let which = match self {
            Self::SystemAssigned => return text(identity, "principalId"),
            Self::UserAssigned(which) => which,
            Self::ServicePrincipal { .. } | Self::SignedIn => return None,
        };
        let is = |value: Option<String>, id: &str| value.is_some_and(|value| value.eq_ignore_ascii_case(id));
        let used = |(resource, one): &(&String, &Value)| match which {
            UserAssigned::ClientId(id) => is(text(one, "clientId"), id),
            UserAssigned::ObjectId(id) => is(text(one, "principalId"), id),
            UserAssigned::ResourceId(id) => resource.eq_ignore_ascii_case(id),
        };
        let assigned = identity.get("userAssignedIdentities")?.as_object()?;
        assigned.iter().find(used).and_then(|(_, one)| text(one, "principalId"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_identity_that_the_app_uses_is_found_by_each_of_its_names() {
        let site = json!({"identity": {"type": "SystemAssigned, UserAssigned", "principalId": "own",
            "userAssignedIdentities": {"/a": {"clientId": "C1", "principalId": "p1"}, "/b": {"clientId": "c2", "principalId": "p2"}}}});
        let user = |it| AppIdentity::UserAssigned(it).principal_in(&site);
        assert_eq!(AppIdentity::SystemAssigned.principal_in(&site).as_deref(), Some("own"));
        assert_eq!(user(UserAssigned::ClientId("c1".into())).as_deref(), Some("p1"));
        assert_eq!(user(UserAssigned::ClientId("c3".into())), None);
        assert_eq!(user(UserAssigned::ObjectId("p1".into())).as_deref(), Some("p1"));
        assert_eq!(user(UserAssigned::ObjectId("c1".into())), None);
        assert_eq!(AppIdentity::SystemAssigned.principal_in(&json!({})), None);
        let of_application = AppIdentity::ServicePrincipal { client_id: "c1".into() };
        assert_eq!(of_application.principal_in(&site), None, "no identity of the function app");
    }
}
