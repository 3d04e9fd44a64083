//! Commands that fix what was found, with the real names in them, fit to be copied into a shell.

use std::fmt;

pub(super) use lifecycle::text::shell;

/// An ARM id taken apart: `/subscriptions/S/resourceGroups/G/providers/NAMESPACE/TYPE/NAME[/TYPE/NAME…]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResourceId<'a> {
    pub(super) subscription: &'a str,
    pub(super) group: &'a str,
    /// Name of the innermost resource: the last segment.
    pub(super) name: &'a str,
}

impl<'a> ResourceId<'a> {
    pub(super) fn read(id: &'a str) -> Option<Self> {
        let parts: Vec<&str> = id.trim_matches('/').split('/').collect();
        match parts.as_slice() {
            [s, subscription, g, group, p, _, rest @ ..]
                if s.eq_ignore_ascii_case("subscriptions")
                    && g.eq_ignore_ascii_case("resourceGroups")
                    && p.eq_ignore_ascii_case("providers")
                    && rest.len() >= 2
                    && parts.iter().all(|part| !part.is_empty()) =>
            {
                Some(Self { subscription, group, name: rest.last()? })
            }
            _ => None,
        }
    }

    /// `--subscription S --resource-group G`, as every command takes it.
    pub(super) fn place(&self) -> String {
        format!("--subscription {} --resource-group {}", shell(self.subscription), shell(self.group))
    }
}

/// The same of a workspace: `--subscription S --resource-group G --workspace-name W`.
pub(super) fn in_workspace(workspace: &str) -> String {
    match ResourceId::read(workspace) {
        Some(id) => format!("{} --workspace-name {}", id.place(), shell(id.name)),
        None => "--workspace-name WORKSPACE --resource-group GROUP".to_owned(),
    }
}

/// Gives an identity of a resource a role that the templates do not give, by its object id: found at once, without the right to
/// read the directory.
pub(super) fn assign_to_principal(principal: &str, role: &str, scope: &str) -> String {
    format!(
        "az role assignment create --assignee-object-id {} --assignee-principal-type ServicePrincipal --role {} --scope {}",
        shell(principal),
        shell(role),
        shell(scope)
    )
}

/// Has the templates give a role that they give. No command gives it: the next deployment would meet that assignment, and fail
/// (`RoleAssignmentExists`).
pub(super) fn deploy_with(parameter: &str, role: &str) -> String {
    format!("deploy with {parameter} (infra/deploy.sh all), which gives the role '{role}'")
}

/// The same of a role that a parameter file may leave to others: what these have to give.
pub(super) fn deploy_or_ask(parameter: &str, role: &str, whom: impl fmt::Display, place: impl fmt::Display) -> String {
    format!(
        "{}; where the parameter file leaves it to others (existing.roleAssignmentScopes, dataAccess.assign, mlAccess), they give it to {whom} on {place}",
        deploy_with(parameter, role)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_taken_apart_in_any_case() {
        let id = "/subscriptions/s1/resourcegroups/g1/providers/Microsoft.X/kinds/n1/parts/p1";
        assert_eq!(ResourceId::read(id), Some(ResourceId { subscription: "s1", group: "g1", name: "p1" }));
        for bad in ["", "/", "/subscriptions/s1", "/subscriptions/s/resourceGroups/g/providers/x/y", "n1", "//a/b"] {
            assert_eq!(ResourceId::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_a_shell_would_read_otherwise_is_quoted() {
        assert_eq!(shell("AzureML"), "AzureML");
        assert_eq!(shell("AzureML Data Scientist"), "'AzureML Data Scientist'");
        assert_eq!(shell("a'; rm -rf $HOME"), r"'a'\''; rm -rf $HOME'");
        assert_eq!(shell(""), "''");
    }
}
