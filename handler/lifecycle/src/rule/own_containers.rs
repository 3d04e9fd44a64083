//! The app's own containers: no rule watches them, whoever wrote it, and none of a blob writes there.
//!
//! The host keeps the app's code, its keys and what could not be delivered in its own account. Whoever uploads there, or whose
//! model writes there, could choose what the app does; and dead letters would become uploads.

use super::definition::Rule;
use super::document::{self, Node, Read, Refused};
use super::problem::Problems;
use super::reading::Rules;
use crate::id::{AccountName, WorkspaceId};

impl Rules {
    /// As [`read`](Self::read), for an app that has these storage accounts for itself, see [`is_apps_own`].
    pub fn read_beside(text: &str, own: &[AccountName]) -> Result<Self, Problems> {
        document::read(text, |root| {
            let rules = <Self as Read>::read(root)?;
            for node in root.peek("rules").and_then(|list| list.list("rules")).unwrap_or_default() {
                refuse_own(&node, own);
            }
            Some(rules)
        })
    }
}

/// Containers of a function app's storage account, by the beginning of their names: the Functions host's, the package's.
const HOSTS: [&str; 2] = ["azure-webjobs-", "app-package-"];
/// The others: packages, as the templates and as Azure's own tools have them, and what could not be delivered.
const OURS: [&str; 4] = ["deployments", "dead-letters", "scm-releases", "function-releases"];

/// Whether it is one in which an app keeps its code, its keys or what could not be delivered, in an account of its own.
pub fn is_apps_own(container: &str) -> bool {
    HOSTS.iter().any(|begin| container.starts_with(begin)) || OURS.contains(&container)
}

/// Notes a rule that watches such a container of one of these accounts.
pub(super) fn refuse_own(rule: &Node<'_>, own: &[AccountName]) {
    let Some(matches) = rule.peek("match") else { return };
    let account = matches.peek("account").filter(|node| !node.is_null());
    let is_own = match &account {
        Some(node) => own.iter().any(|own| node.text() == Some(&**own)),
        None => !own.is_empty(),
    };
    if let Some(node) = matches.peek("container")
        && is_own
        && node.text().is_some_and(is_apps_own)
    {
        let remedy = if account.is_some() {
            "have uploads land in another one"
        } else {
            "name the account that is meant in `match.account`, or have uploads land in another container"
        };
        node.refuse(Refused::new(
            "another container than those in which the app keeps its code, its keys and what could not be delivered",
            remedy,
        ));
    }
}

/// A datastore that jobs of a rule may write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenDatastore {
    /// The workspace, if the rule says which.
    pub workspace: Option<WorkspaceId>,
    /// Its name in the workspace as the rule spells it; case does not tell two apart.
    pub name: String,
}

impl Rule {
    /// The datastores that its jobs may write to: those of its outputs, and the one of a pipeline deployment's settings.
    pub fn written_datastores(&self) -> Vec<WrittenDatastore> {
        let mut all = Vec::<WrittenDatastore>::new();
        let own = || self.endpoint.workspace.clone();
        let outputs = self.outputs.values().filter_map(|output| {
            let path = crate::datastore::DatastorePath::read(output.uri.source())?;
            Some(WrittenDatastore { workspace: path.workspace.or_else(own), name: path.datastore })
        });
        let default = self.settings.default_datastore();
        let default = default.map(|name| WrittenDatastore { workspace: own(), name: name.source().to_owned() });
        for one in outputs.chain(default) {
            if !all.iter().any(|known| known.workspace == one.workspace && known.name.eq_ignore_ascii_case(&one.name)) {
                all.push(one);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_watches_a_container_of_the_apps_own_is_refused_with_its_place() {
        let own: [AccountName; 1] = ["ststate".parse().expect("a name")];
        let told = |own: &[AccountName], matches: serde_json::Value| {
            let rule = serde_json::json!({"id": "a", "match": matches, "endpoint": {"uri": "https://e.example/jobs"}});
            let read = Rules::read_beside(&serde_json::json!({"rules": [rule]}).to_string(), own);
            read.err().map(|problems| problems.to_string()).unwrap_or_default()
        };
        for (account, container, remedy) in [
            (Some("ststate"), "dead-letters", "; have uploads land in another one"),
            (Some("ststate"), "azure-webjobs-hosts", "; have uploads land in another one"),
            (None, "deployments", "; name the account that is meant in `match.account`"),
        ] {
            let said = told(&own, serde_json::json!({"account": account, "container": container}));
            assert!(said.starts_with("rules[0].match.container (line 1, ") && said.contains(remedy), "{said}");
        }
        for (account, container) in [("ststate", "uploads"), ("uploads", "dead-letters")] {
            assert_eq!(told(&own, serde_json::json!({"account": account, "container": container})), "");
        }
        assert_eq!(told(&[], serde_json::json!({"container": "dead-letters"})), "");
    }

    #[test]
    fn a_rule_writes_to_the_datastores_of_its_outputs_and_settings_once_each() {
        let workspace = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w";
        let text = serde_json::json!({"rules": [{"id": "a", "match": {"container": "con"},
        "endpoint": {"uri": "https://e.example/jobs", "workspace": workspace}, "settings": {"DefaultDatastore": "steps"},
        "outputs": {
            "x": {"type": "UriFile", "uri": "azureml://datastores/one/paths/x/{scoring.id}/{attempt}"},
            "y": {"type": "UriFile", "uri": "azureml://datastores/ONE/paths/y/{scoring.id}/{attempt}"},
            "z": {"type": "UriFile", "uri": "azureml://subscriptions/s/resourcegroups/g/workspaces/other/datastores/one/paths/{scoring.id}/{attempt}"},
        }}]});
        let rules = Rules::read(&text.to_string()).expect("good rules");
        let written = rules.get("a").expect("the rule").written_datastores();
        let told: Vec<_> =
            written.iter().map(|it| (it.workspace.as_ref().map(WorkspaceId::name), it.name.as_str())).collect();
        assert_eq!(told, [(Some("w"), "one"), (Some("other"), "one"), (Some("w"), "steps")]);
    }
}
