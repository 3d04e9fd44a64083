//! Datastores: which ones a rule reads from and writes to, and what Resource Manager shows of them.

use std::collections::BTreeSet;

use lifecycle::Rule;
use lifecycle::datastore::DatastorePath;
use lifecycle::rule::InputTemplate;
use serde_json::Value;

/// A datastore of a workspace, as a rule names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Store {
    pub(super) workspace: Option<String>,
    pub(super) name: String,
}

impl Store {
    fn named(rule: &Rule, uri: &str) -> Option<Self> {
        let path: DatastorePath = uri.parse().ok()?;
        Some(Self {
            workspace: path.workspace.as_ref().or(rule.endpoint.workspace.as_ref()).map(ToString::to_string),
            name: path.datastore,
        })
    }
}

/// Datastores that the rule's inputs are read from, and whether any input is a URL.
pub(super) fn sources(rule: &Rule) -> (BTreeSet<Store>, bool) {
    let (mut stores, mut by_url) = (BTreeSet::new(), false);
    for input in rule.inputs.values() {
        let (InputTemplate::UriFile(source) | InputTemplate::UriFolder(source)) = input else { continue };
        match Store::named(rule, source.uri.source()) {
            Some(store) => drop(stores.insert(store)),
            None => by_url = true,
        }
    }
    (stores, by_url)
}

/// Datastores that the rule's outputs go to.
pub(super) fn targets(rule: &Rule) -> BTreeSet<Store> {
    rule.outputs.values().filter_map(|output| Store::named(rule, output.uri.source())).collect()
}

/// Datastores that the rule's results are published to.
pub(super) fn published(rule: &Rule) -> BTreeSet<Store> {
    let uris = rule.outputs.values().filter_map(|output| Some(output.publish.as_ref()?.uri.source()));
    uris.filter_map(|uri| Store::named(rule, uri)).collect()
}

/// A datastore as Resource Manager shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DatastoreInfo {
    kind: String,
    pub(super) account: String,
    pub(super) container: String,
    /// URL of its container, put together from protocol, account and endpoint.
    pub(super) url: String,
    /// An account key, a SAS or a service principal is stored with it.
    pub(super) credentials: Option<String>,
}

impl DatastoreInfo {
    pub(super) fn read(document: &Value) -> Self {
        let text = |name: &str| {
            let found = document.pointer(&format!("/properties/{name}")).and_then(Value::as_str);
            found.filter(|text| !text.is_empty())
        };
        let (account, container) = (text("accountName").unwrap_or_default(), text("containerName").unwrap_or_default());
        let (protocol, endpoint) =
            (text("protocol").unwrap_or("https"), text("endpoint").unwrap_or("core.windows.net"));
        let emulator =
            url::Url::parse(&format!("{protocol}://{endpoint}")).is_ok_and(|url| lifecycle::uri::is_loopback(&url));
        let url = if emulator {
            format!("{protocol}://{endpoint}/{account}/{container}")
        } else {
            format!("{protocol}://{account}.blob.{endpoint}/{container}")
        };
        Self {
            kind: text("datastoreType").unwrap_or("unnamed").to_owned(),
            account: account.to_owned(),
            container: container.to_owned(),
            url,
            credentials: text("credentials/credentialsType").filter(|kind| *kind != "None").map(str::to_owned),
        }
    }

    /// Outputs of batch endpoints go to Blob datastores, and to nothing else.
    pub(super) fn fault(&self) -> Option<String> {
        if self.kind != "AzureBlob" {
            Some(format!("it is of type {}", self.kind))
        } else if self.account.is_empty() || self.container.is_empty() {
            Some("it names no account and container".to_owned())
        } else if !self.url.starts_with("https:")
            && !self.url.starts_with("http://127.")
            && !self.url.starts_with("http://localhost")
        {
            Some("it is reached over http, and tokens are sent over https only".to_owned())
        } else {
            None
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use lifecycle::Rules;
    use serde_json::json;

    use super::*;

    /// The smallest good rule with more members.
    pub(crate) fn rule(more: &Value) -> Rule {
        let mut rule =
            json!({"id": "claims", "match": {"container": "con"}, "endpoint": {"uri": "https://e.example/jobs"}});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Rules::read(&json!({"rules": [rule]}).to_string()).unwrap().iter().next().unwrap().clone()
    }

    #[test]
    fn an_input_is_a_url_or_lies_on_a_datastore() {
        assert_eq!(sources(&rule(&json!({}))), (BTreeSet::new(), true));
        let inputs = json!({"inputs": {"x": {"type": "UriFolder", "uri": "azureml://datastores/raw/paths/{blob.path}"}, "y": {"type": "Literal", "value": 1}}});
        let raw = Store { workspace: None, name: "raw".into() };
        assert_eq!(sources(&rule(&inputs)), (BTreeSet::from([raw]), false));
        assert_eq!(
            targets(&rule(&json!({}))).into_iter().map(|store| store.name).collect::<Vec<_>>(),
            ["workspaceblobstore"]
        );
    }

    #[test]
    fn outputs_go_to_blob_datastores_only() {
        let shown = |kind: &str, credentials: &str, protocol: &str| {
            DatastoreInfo::read(
                &json!({"properties": {"datastoreType": kind, "accountName": "a", "containerName": "c", "protocol": protocol,
                "endpoint": "core.windows.net", "credentials": {"credentialsType": credentials}}}),
            )
        };
        let good = shown("AzureBlob", "AccountKey", "https");
        assert_eq!((good.fault(), good.url.as_str()), (None, "https://a.blob.core.windows.net/c"));
        assert_eq!(good.credentials.as_deref(), Some("AccountKey"));
        assert_eq!(shown("AzureBlob", "None", "https").credentials, None);
        assert!(shown("AzureDataLakeGen2", "None", "https").fault().is_some());
        assert!(shown("AzureFile", "AccountKey", "https").fault().is_some());
        assert!(shown("AzureBlob", "None", "http").fault().is_some());
        assert!(DatastoreInfo::read(&json!({"properties": {"datastoreType": "AzureBlob"}})).fault().is_some());
        let emulated = DatastoreInfo::read(
            &json!({"properties": {"datastoreType": "AzureBlob", "accountName": "a", "containerName": "c",
            "protocol": "http", "endpoint": "127.0.0.1:10000"}}),
        );
        assert_eq!((emulated.fault(), emulated.url.as_str()), (None, "http://127.0.0.1:10000/a/c"));
    }
}
