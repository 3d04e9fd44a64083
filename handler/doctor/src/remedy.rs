//! Commands that fix what was found, with the real names in them, fit to be copied into a shell.

use std::fmt;

pub(super) use lifecycle::text::shell;

/// An ARM id taken apart: `/subscriptions/S/resourceGroups/G/providers/NAMESPACE/TYPE/NAME[/TYPE/NAME…]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResourceId<'a> {
    pub(super) subscription: &'a str,
    pub(super) group: &'a str,
    /// The last name.
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

/// Gives a role. `assignee` and `scope` are words of a shell already.
pub(super) fn assign(assignee: impl fmt::Display, role: &str, scope: impl fmt::Display) -> String {
    format!("az role assignment create --assignee {assignee} --role {} --scope {scope}", shell(role))
}

/// Makes a role that reads index tags and nothing else, as no built-in one but Storage Blob Data Owner does, and gives it.
pub(super) fn read_index_tags(assignee: impl fmt::Display, scope: impl fmt::Display) -> String {
    const ROLE: &str = "Blob Index Tags Reader";
    let action = crate::permissions::READ_INDEX_TAGS;
    let definition = format!(
        r#""{{\"Name\": \"{ROLE}\", \"AssignableScopes\": [\"/subscriptions/$(az account show --query id --output tsv)\"], \"DataActions\": [\"{action}\"]}}""#
    );
    format!("az role definition create --role-definition {definition} && {}", assign(assignee, ROLE, scope))
}

/// The same for an identity of a resource, by its object id: found at once, without the right to read the directory.
pub(super) fn assign_to_principal(principal: &str, role: &str, scope: &str) -> String {
    format!(
        "az role assignment create --assignee-object-id {} --assignee-principal-type ServicePrincipal --role {} --scope {}",
        shell(principal),
        shell(role),
        shell(scope)
    )
}

/// Gives a role that the templates give, too: by them, as the next deployment would meet one that was given by hand
/// (`RoleAssignmentExists`). `command` is for those to whom the parameter file leaves these roles.
pub(super) fn deploy_with(parameter: &str, command: impl fmt::Display) -> String {
    format!(
        "deploy with {parameter} (infra/deploy.sh all), which gives it; by hand only what the parameter file leaves to others: {command}"
    )
}

/// The scope of a storage account: its id if it is known, else a command that finds it.
pub(super) fn account_scope(account: &str, id: Option<&str>) -> String {
    match id {
        Some(id) => shell(id),
        None => format!("\"$(az storage account show --name {} --query id --output tsv)\"", shell(account)),
    }
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
