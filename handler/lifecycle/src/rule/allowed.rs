//! What rules may name that lie in a blob: whoever can write it must not own the app's identity.
//!
//! Rules of the package or of a setting are deployed by those who give the app its rights. Those of a blob are written by whoever
//! may write there, and the app would send its tokens, and Azure ML the invoker's, wherever they say. So they may only name what
//! the app's settings allow, and hold no secret; each refusal stands in the list of problems with the others.

use time::OffsetDateTime;

use super::definition::{InputTemplate, OutputTemplate, Rule};
use super::document::{self, Node, Read, Refused};
use super::own_containers::refuse_own;
use super::problem::Problems;
use super::reading::Rules;
use super::template::{Template, Values};
use crate::blob::BlobVersion;
use crate::datastore::DatastorePath;
use crate::id::{AccountName, DatastoreName, EndpointUri, IdentityName, LedgerId, ScoringId, WorkspaceId};
use crate::redact::redacted;
use crate::storage_hosts::StorageHosts;
use crate::unversioned::UnversionedBlob;

/// What rules from a blob may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// Batch endpoints that they may send to, by their URIs (SCOREKEEPER_RULES_ALLOW_ENDPOINTS).
    pub endpoints: Vec<EndpointUri>,
    /// Storage accounts whose blobs they may watch and read.
    pub accounts: Vec<AccountName>,
    /// Datastores that they may read from and write to.
    pub datastores: Vec<DatastoreName>,
    /// Workspaces that they may name.
    pub workspaces: Vec<WorkspaceId>,
    /// Identities that they may name.
    pub identities: Vec<IdentityName>,
    /// Hosts that blobs may lie on.
    pub hosts: StorageHosts,
    /// Where the rules themselves lie.
    pub blob: UnversionedBlob,
    /// Storage accounts that the app has for itself, see [`is_apps_own`](super::is_apps_own).
    pub own: Vec<AccountName>,
}

const ENDPOINTS: &str = "SCOREKEEPER_RULES_ALLOW_ENDPOINTS";
const ACCOUNTS: &str = "SCOREKEEPER_RULES_ALLOW_ACCOUNTS";
const DATASTORES: &str = "SCOREKEEPER_RULES_ALLOW_DATASTORES";
const WORKSPACES: &str = "SCOREKEEPER_RULES_ALLOW_WORKSPACES";
const IDENTITIES: &str = "SCOREKEEPER_RULES_ALLOW_IDENTITIES";

impl Rules {
    /// Reads a rules file that lies in a blob. All problems are found in one go, what is not allowed among them.
    pub fn read_allowed(text: &str, allowed: &Allowed) -> Result<Self, Problems> {
        document::read(text, |root| {
            root.refuse_lines(|line| redacted(line) != line, &no_secret());
            let rules = <Self as Read>::read(root)?;
            let nodes = root.peek("rules").and_then(|list| list.list("rules")).unwrap_or_default();
            for node in nodes {
                refuse_own(&node, &allowed.own);
                let rule = node.peek("id").and_then(|id| rules.get(id.text()?));
                // One that cannot be read has its problems already.
                if let Some(rule) = rule {
                    Check { node: &node, rule, allowed }.all();
                }
            }
            Some(rules)
        })
    }
}

/// One rule against what is allowed.
struct Check<'a> {
    node: &'a Node<'a>,
    rule: &'a Rule,
    allowed: &'a Allowed,
}

impl Check<'_> {
    fn all(&self) {
        self.endpoint();
        self.watched();
        self.settings();
        let named = |list: &str, name: &str| self.node.peek(list).and_then(|list| list.peek(name)?.peek("uri"));
        for (name, input) in &self.rule.inputs {
            if let (InputTemplate::UriFile(source) | InputTemplate::UriFolder(source), Some(node)) =
                (input, named("inputs", name))
            {
                self.place(&node, &source.uri);
            }
        }
        for (name, OutputTemplate { uri, publish, .. }) in &self.rule.outputs {
            // The default output stands nowhere.
            self.place(&named("outputs", name).unwrap_or_else(|| self.node.clone()), uri);
            let published = || self.node.peek("outputs")?.peek(name)?.peek("publish")?.peek("uri");
            if let (Some(publish), Some(node)) = (publish, published()) {
                self.place(&node, &publish.uri);
            }
        }
        if self.rule.written_datastores().iter().any(|written| written.workspace.is_none()) {
            self.node.peek("endpoint").unwrap_or_else(|| self.node.clone()).refuse(Refused::new(
                format!("`workspace` in it: it tells which containers datastores are, and none may be that of the rules ({WORKSPACES})"),
                "name the endpoint's workspace",
            ));
        }
    }

    fn endpoint(&self) {
        let Some(target) = self.node.peek("endpoint") else { return };
        if let Some(uri) = target.peek("uri").filter(|_| !self.allowed.endpoints.contains(&self.rule.endpoint.uri)) {
            uri.refuse(not_allowed("an endpoint", ENDPOINTS));
        }
        if let (Some(node), Some(id)) = (target.peek("workspace"), &self.rule.endpoint.workspace) {
            self.workspace(&node, id);
        }
        if let (Some(node), Some(name)) = (target.peek("identity"), &self.rule.endpoint.identity)
            && !self.allowed.identities.contains(name)
        {
            node.refuse(not_allowed("an identity", IDENTITIES));
        }
    }

    fn workspace(&self, node: &Node<'_>, id: &WorkspaceId) {
        if !self.allowed.workspaces.contains(id) {
            node.refuse(not_allowed("a workspace", WORKSPACES));
        }
    }

    fn watched(&self) {
        let Some(matches) = self.node.peek("match") else { return };
        let account = matches.peek("account").filter(|node| !node.is_null());
        match (&self.rule.matches.account, &account) {
            (Some(name), Some(node)) if !self.allowed.accounts.contains(name) => {
                node.refuse(not_allowed("an account", ACCOUNTS));
            }
            (None, _) => matches.refuse(Refused::new(
                "`account`, one that the app's settings allow to rules from a blob (SCOREKEEPER_RULES_ALLOW_ACCOUNTS)",
                "name the account: any account is none that somebody allowed",
            )),
            _ => {}
        }
        let UnversionedBlob { account: own, container, .. } = &self.allowed.blob;
        let is_own = self.rule.matches.account.as_ref().is_none_or(|account| *account == **own);
        if is_own && *self.rule.matches.container == **container {
            let node = matches.peek("container").unwrap_or(matches);
            node.refuse(Refused::new(
                "another container than that of the rules: whoever may upload there could write the rules too",
                "put the rules into a container of their own, which no rule watches and none writes to",
            ));
        }
    }

    /// What says where a job runs, or is unknown: by whose identity data is read then is not known either.
    fn settings(&self) {
        let Some(settings) = self.node.peek("settings") else { return };
        for compute in either(&settings, ["compute", "Compute"]) {
            let named =
                [either(&compute, ["target", "Target"]), either(&compute, ["properties", "Properties"])].concat();
            for node in named {
                node.refuse(only_deployed("the deployment's own compute, whose identity reads and writes"));
            }
        }
        if let Some(node) = settings.peek("passThrough").filter(|node| !node.is_null()) {
            node.refuse(only_deployed("members that are known: what others name is not known"));
        }
        for of in [either(&settings, ["properties", "Properties"]), vec![settings.clone()]].concat() {
            for node in either(&of, ["defaultDatastore", "DefaultDatastore"]) {
                if node.text().is_some_and(|name| !self.has_datastore(name)) {
                    node.refuse(not_allowed("a datastore", DATASTORES));
                }
            }
        }
    }

    fn has_datastore(&self, name: &str) -> bool {
        self.allowed.datastores.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
    }

    /// A place that is read or written. What uploaders choose (the blob's path) must not reach account and datastore: they are
    /// judged as filled in for a blob whose names are allowed nowhere.
    fn place(&self, node: &Node<'_>, uri: &Template) {
        let Some(filled) = self.filled(uri) else { return };
        if let Some(path) = DatastorePath::read(&filled) {
            if !self.has_datastore(&path.datastore) {
                node.refuse(not_allowed("a datastore", DATASTORES));
            }
            if let Some(id) = &path.workspace {
                self.workspace(node, id);
            }
        } else if filled.starts_with(&self.uploaded()) {
            // Its account is one that the rule may watch, and events of other hosts are skipped.
        } else if filled.to_ascii_lowercase().starts_with("https://") {
            let account = UnversionedBlob::folder(&filled).map(|blob| blob.account).unwrap_or_default();
            let is_allowed = self.allowed.accounts.iter().any(|allowed| **allowed == *account);
            if !is_allowed || self.allowed.hosts.check(&filled).is_err() {
                node.refuse(not_allowed("a blob of an account", ACCOUNTS));
            }
        } else if let Some(id) = WorkspaceId::of_resource(&filled) {
            self.workspace(node, &id);
        } else {
            node.refuse(only_deployed("a blob, a path on a datastore, or a data asset of a workspace"));
        }
    }

    /// What the URLs of its uploads begin with while they are judged: a host that no other URL has.
    fn uploaded(&self) -> String {
        format!("https://{}.blob.uploaded.invalid/", self.rule.matches.account.as_deref().unwrap_or("any"))
    }

    fn filled(&self, template: &Template) -> Option<String> {
        let Rule { id, matches, .. } = self.rule;
        let url = format!("{}{}/.uploaded/.by-anybody", self.uploaded(), matches.container);
        let mut blob = BlobVersion::read(&url, "0x0").ok()?;
        blob.metadata = template.metadata().map(|name| (name.to_owned(), ".by-anybody".to_owned())).collect();
        let scoring = ScoringId::new(&LedgerId::of_random([0; 16]), id, &blob, 0);
        let event_time = OffsetDateTime::UNIX_EPOCH;
        Some(template.fill(&Values { blob: &blob, rule: id, scoring: &scoring, event_time, attempt: 1 }))
    }
}

/// A member that is written, in either of its spellings.
fn either<'d>(of: &Node<'d>, names: [&str; 2]) -> Vec<Node<'d>> {
    names.iter().filter_map(|name| of.peek(name)).filter(|node| !node.is_null()).collect()
}

fn not_allowed(what: &str, setting: &str) -> Refused {
    Refused::new(
        format!("{what} that the app's settings allow to rules from a blob"),
        format!("correct it, or have whoever deploys the app name it in {setting}"),
    )
}

fn no_secret() -> Refused {
    Refused::new(
        "a line without a key, a SAS or another secret",
        "take it out and have it renewed, as whoever may read the blob has seen it; identities read and write, no secrets",
    )
}

fn only_deployed(expected: &str) -> Refused {
    Refused::new(
        expected,
        "leave it out, or put this rule into the rules that are deployed with the app: a blob's may not say it",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn allowed() -> Allowed {
        Allowed {
            endpoints: vec!["https://heart.westeurope.inference.ml.azure.com/jobs".parse().expect("a URI")],
            accounts: vec!["uploads".parse().expect("a name"), "ststate".parse().expect("a name")],
            datastores: vec!["workspaceblobstore".parse().expect("a name")],
            workspaces: vec![workspace("w").parse().expect("an id")],
            identities: vec!["partner".parse().expect("a name")],
            hosts: StorageHosts::of_cloud("core.windows.net"),
            blob: UnversionedBlob::read("https://uploads.blob.core.windows.net/config/rules.json").expect("a blob"),
            own: vec!["ststate".parse().expect("a name")],
        }
    }

    fn workspace(name: &str) -> String {
        format!("/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/{name}")
    }

    /// The problems of a good rule with this in it.
    fn problems(with: &Value) -> Vec<String> {
        let mut rule = json!({"id": "a", "match": {"account": "uploads", "container": "claims"},
            "endpoint": {"uri": "https://heart.westeurope.inference.ml.azure.com/jobs", "workspace": workspace("W")}});
        let members = rule.as_object_mut().expect("an object");
        members.extend(with.as_object().expect("an object").clone());
        let text = json!({"rules": [rule]}).to_string();
        assert!(Rules::read(&text).is_ok(), "{with}: it would be good if it were deployed");
        let read = Rules::read_allowed(&text, &allowed());
        read.err().into_iter().flatten().map(|problem| problem.to_string()).collect()
    }

    #[test]
    fn rules_from_a_blob_name_only_what_the_settings_allow() {
        let input = |uri: &str| json!({"inputs": {"x": {"type": "UriFile", "uri": uri}}});
        let output = |uri: &str| json!({"outputs": {"x": {"type": "UriFile", "uri": format!("{uri}/paths/{{scoring.id}}/{{attempt}}")}}});
        for good in [
            json!({}),
            json!({"endpoint": {"uri": &allowed().endpoints[0], "workspace": workspace("w"), "identity": "partner"}}),
            input("{blob.url}"),
            input("https://uploads.blob.core.windows.net/claims/{blob.path}"),
            input("https://{blob.account}.dfs.core.windows.net/{blob.path}"),
            input("azureml://datastores/WorkspaceBlobStore/paths/{blob.path}"),
            input(&format!("{}/data/model/versions/1", workspace("w"))),
            output("azureml://datastores/workspaceblobstore"),
            json!({"settings": {"miniBatchSize": 5, "compute": {"instanceCount": 2}, "DefaultDatastore": "workspaceblobstore"}}),
        ] {
            assert_eq!(problems(&good), Vec::<String>::new(), "{good}");
        }
        let (evil, uri) = ("https://evil.westeurope.inference.ml.azure.com/jobs", &allowed().endpoints[0]);
        for (bad, place, setting) in [
            (json!({"endpoint": {"uri": evil, "workspace": workspace("w")}}), "rules[0].endpoint.uri", ENDPOINTS),
            (json!({"endpoint": {"uri": uri}}), "rules[0].endpoint ", WORKSPACES),
            (
                json!({"endpoint": {"uri": uri, "workspace": workspace("w"), "identity": "other"}}),
                "rules[0].endpoint.identity",
                IDENTITIES,
            ),
            (
                json!({"endpoint": {"uri": uri, "workspace": workspace("other")}}),
                "rules[0].endpoint.workspace",
                WORKSPACES,
            ),
            (json!({"match": {"account": "images", "container": "claims"}}), "rules[0].match.account", ACCOUNTS),
            (json!({"match": {"container": "claims"}}), "rules[0].match ", ACCOUNTS),
            (
                json!({"match": {"account": "ststate", "container": "dead-letters"}}),
                "rules[0].match.container",
                "keeps its code",
            ),
            (input("https://secrets.blob.core.windows.net/c/x"), "rules[0].inputs.x.uri", ACCOUNTS),
            (input("https://uploads.blob.evil.example/c/x"), "rules[0].inputs.x.uri", ACCOUNTS),
            (input("https://{blob.name}.blob.core.windows.net/c/x"), "rules[0].inputs.x.uri", ACCOUNTS),
            (input("https://uploads.blob.core.windows.net{blob.path}/c/x"), "rules[0].inputs.x.uri", ACCOUNTS),
            (input("https://any.blob.uploaded.invalid/c/x"), "rules[0].inputs.x.uri", ACCOUNTS),
            (input("azureml://datastores/other/paths/x"), "rules[0].inputs.x.uri", DATASTORES),
            (input("azureml://datastores/{blob.stem}/paths/x"), "rules[0].inputs.x.uri", DATASTORES),
            (input(&format!("{}/data/d/versions/1", workspace("other"))), "rules[0].inputs.x.uri", WORKSPACES),
            (output("azureml://datastores/other"), "rules[0].outputs.x.uri", DATASTORES),
            (
                output(&format!("azureml:/{}/datastores/workspaceblobstore", workspace("other"))),
                "rules[0].outputs.x.uri",
                WORKSPACES,
            ),
            (
                json!({"outputs": {"x": {"type": "UriFile", "uri": "azureml://datastores/workspaceblobstore/paths/{scoring.id}/{attempt}",
                    "publish": {"uri": "azureml://datastores/other/paths/{blob.path}"}}}}),
                "rules[0].outputs.x.publish.uri",
                DATASTORES,
            ),
            (json!({"settings": {"defaultDatastore": "other"}}), "rules[0].settings.defaultDatastore", DATASTORES),
            (
                json!({"settings": {"Properties": {"DefaultDatastore": "other"}}}),
                "rules[0].settings.Properties.DefaultDatastore",
                DATASTORES,
            ),
            (json!({"settings": {"Compute": {"target": "big"}}}), "rules[0].settings.Compute.target", "deployed"),
            (json!({"settings": {"passThrough": {"identity": "x"}}}), "rules[0].settings.passThrough", "deployed"),
            (input("azureml://registries/r/data/d/versions/1"), "rules[0].inputs.x.uri", "deployed"),
            (
                json!({"match": {"account": "uploads", "container": "config"}}),
                "rules[0].match.container",
                "of their own",
            ),
        ] {
            let said = problems(&bad);
            assert_eq!(said.len(), 1, "{bad}: {said:?}");
            assert!(said[0].starts_with(place) && said[0].contains(setting), "{bad}: {said:?}");
        }
    }

    #[test]
    fn a_default_output_needs_its_datastore_and_all_is_told_at_once() {
        let text = r#"{"rules": [{"id": "a", "match": {"container": "claims"},
            "endpoint": {"uri": "https://evil.westeurope.inference.ml.azure.com/jobs"}}]}"#;
        let none = Allowed { datastores: Vec::new(), ..allowed() };
        let said = Rules::read_allowed(text, &none).expect_err("not allowed").to_string();
        assert_eq!(said.lines().count(), 4, "{said}");
        assert!(said.starts_with("rules[0] (line 1, column 12) is { … }; expected a datastore"), "{said}");
    }

    #[test]
    fn a_secret_is_refused_wherever_it_stands_and_not_shown() {
        let text = "{ // https://x.blob.core.windows.net/c?sig=SECRETSECRET\n\
            \"rules\": [{\"id\": \"a\", \"match\": {\"account\": \"uploads\", \"container\": \"claims\"},\n\
            \"endpoint\": {\"uri\": \"https://heart.westeurope.inference.ml.azure.com/jobs\", \"workspace\": \"/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w\"},\n\
            \"inputs\": {\"key\": {\"type\": \"Literal\", \"value\": \"AccountKey=SECRETSECRET==\"}}}]}";
        let said = Rules::read_allowed(text, &allowed()).expect_err("secrets").to_string();
        assert!(said.contains("line 1, ") && said.contains("line 4, ") && !said.contains("SECRETSECRET"), "{said}");
        assert_eq!(said.lines().count(), 2, "{said}");
    }
}
