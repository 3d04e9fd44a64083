//! What a rule reads and writes, and who does it: the app, and the compute in its name.
//!
//! A blob URL, or a datastore without stored credentials, is read by the invoker (the app) and mounted by the compute's
//! identity; both need the right. A datastore with an account key or a SAS needs neither. Outputs must go to a Blob
//! datastore of the workspace.
//!
//! Source: Azure Machine Learning, *Authorization on batch endpoints*, *Create jobs and input data for batch endpoints*.

use std::collections::BTreeSet;

use lifecycle::Rule;
use lifecycle::datastore::DatastorePath;
use lifecycle::rules::InputTemplate;
use serde_json::Value;

use super::access::{May, rights};
use super::cloud::{Audience, Trouble};
use super::examine::Exam;
use super::finding::{Check, Finding};
use super::permissions::{READ_BLOBS, WRITE_BLOBS};
use super::remedy::{assign, in_workspace, shell};
use super::storage::Place;
use super::workspace::{ML, NO_WORKSPACE, of_workspace};

/// A datastore of a workspace, as a rule names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Store {
    workspace: Option<String>,
    name: String,
}

impl Store {
    fn named(rule: &Rule, uri: &str) -> Option<Self> {
        let path = DatastorePath::read(uri)?;
        Some(Self { workspace: path.workspace.or_else(|| rule.endpoint.workspace.clone()), name: path.datastore })
    }
}

/// Datastores that the rule's inputs are read from, and whether any input is a URL.
fn sources(rule: &Rule) -> (BTreeSet<Store>, bool) {
    let (mut stores, mut by_url) = (BTreeSet::new(), false);
    for input in rule.inputs.values() {
        let (InputTemplate::UriFile { uri } | InputTemplate::UriFolder { uri }) = input else { continue };
        match Store::named(rule, uri.source()) {
            Some(store) => drop(stores.insert(store)),
            None => by_url = true,
        }
    }
    (stores, by_url)
}

fn targets(rule: &Rule) -> BTreeSet<Store> {
    rule.outputs.values().filter_map(|output| Store::named(rule, output.uri.source())).collect()
}

/// A datastore as Resource Manager shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    kind: String,
    account: String,
    container: String,
    url: String,
    /// An account key, a SAS or a service principal is stored with it.
    credentials: Option<String>,
}

impl Shown {
    fn read(document: &Value) -> Self {
        let text = |name: &str| {
            let found = document.pointer(&format!("/properties/{name}")).and_then(Value::as_str);
            found.filter(|text| !text.is_empty())
        };
        let (account, container) = (text("accountName").unwrap_or_default(), text("containerName").unwrap_or_default());
        let (protocol, endpoint) =
            (text("protocol").unwrap_or("https"), text("endpoint").unwrap_or("core.windows.net"));
        let emulator =
            url::Url::parse(&format!("{protocol}://{endpoint}")).is_ok_and(|url| lifecycle::rules::is_loopback(&url));
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
    fn fault(&self) -> Option<String> {
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

impl Exam {
    /// Everything about what single rules read and write.
    pub(super) async fn rules(&self) -> Vec<Finding> {
        let one = self.at.rules.iter().map(|rule| async move {
            let (input, outputs, compute) = futures::join!(self.input(rule), self.outputs(rule), self.compute(rule));
            [vec![input], outputs, compute].concat()
        });
        futures::future::join_all(one).await.concat()
    }

    /// A datastore: what is shown of it, `None` if it is not there, or why that is not known.
    async fn datastore(&self, store: &Store) -> Result<Option<Shown>, Result<Trouble, String>> {
        let workspace = store.workspace.as_deref().ok_or_else(|| Err(NO_WORKSPACE.to_owned()))?;
        self.in_sight(workspace).await.map_err(Err)?;
        match self.eyes.resource(&format!("{workspace}/datastores/{}", store.name), ML).await {
            Ok(document) => Ok(Some(Shown::read(&document))),
            Err(Trouble::Missing(_)) => Ok(None),
            Err(trouble) => Err(Ok(trouble)),
        }
    }

    /// Whether identities read the rule's inputs: `false` if stored credentials do; an error if nobody can tell.
    async fn read_by_identity(&self, rule: &Rule) -> Result<bool, String> {
        let (stores, by_url) = sources(rule);
        if by_url {
            return Ok(true);
        }
        for store in stores {
            match self.datastore(&store).await {
                Ok(Some(shown)) if shown.credentials.is_some() => {}
                Ok(Some(_)) => return Ok(true),
                Ok(None) => return Err(format!("the workspace has no datastore {}", store.name)),
                Err(Ok(trouble)) => return Err(trouble.to_string()),
                Err(Err(because)) => return Err(because),
            }
        }
        Ok(false)
    }

    /// Where the rule's blobs are; `None` if it takes those of any account.
    fn watched(rule: &Rule) -> Option<Place<'_>> {
        Some(Place { account: rule.matches.account.as_deref()?, container: &rule.matches.container })
    }

    async fn input(&self, rule: &Rule) -> Finding {
        let check = Check::Input;
        let by_rule = |finding: Finding| finding.about(format!("rule {}", rule.id));
        let Some(place) = Self::watched(rule) else {
            return by_rule(Finding::unknown(
                check,
                "the rule takes blobs of any account, so there is none to look at",
                "name the account in match.account",
            ));
        };
        match self.read_by_identity(rule).await {
            Ok(true) => {}
            Ok(false) => {
                return by_rule(Finding::ok(check, "the inputs are read with the credentials of their datastore"));
            }
            Err(because) => return by_rule(Finding::skipped(check, because)),
        }
        let url = self.blob_url(place).await;
        let finding = self.readable(check, place, url).await;
        finding.about(format!("container {}/{}", place.account, place.container))
    }

    async fn outputs(&self, rule: &Rule) -> Vec<Finding> {
        let stores = targets(rule);
        let about = format!("rule {}", rule.id);
        if stores.len() < rule.outputs.len().min(1) || stores.is_empty() {
            let fault = Finding::fault(
                Check::Output,
                "an output is no path on a datastore",
                "batch endpoints write to datastores only, and nothing else can be looked at",
                format!("write outputs of the rule {} as azureml://datastores/NAME/paths/…", rule.id),
            );
            return vec![
                fault.about(&about),
                Finding::skipped(Check::OutputRead, "an output is no path on a datastore").about(about),
            ];
        }
        let mut findings = Vec::new();
        for store in &stores {
            let about = format!("datastore {}", store.name);
            let (itself, read) = self.output(rule, store).await;
            findings.extend([itself.about(&about), read.about(about)]);
        }
        findings
    }

    async fn output(&self, rule: &Rule, store: &Store) -> (Finding, Finding) {
        let check = Check::Output;
        let skipped = |because: &str| Finding::skipped(Check::OutputRead, because);
        let workspace = store.workspace.as_deref().unwrap_or_default();
        match self.datastore(store).await {
            Ok(Some(shown)) => match shown.fault() {
                None => {
                    let with = shown
                        .credentials
                        .as_deref()
                        .map_or("without stored credentials".to_owned(), |kind| format!("with a stored {kind}"));
                    let seen = format!("container {}/{}, {with}", shown.account, shown.container);
                    let place = Place { account: &shown.account, container: &shown.container };
                    let read = self.readable(Check::OutputRead, place, Some(shown.url.clone())).await;
                    (Finding::ok(check, seen), read)
                }
                Some(why) => {
                    let fault = Finding::fault(
                        check,
                        why,
                        "batch endpoints write to Blob datastores only",
                        format!(
                            "{} --file DATASTORE.yml with `type: azure_blob` registers the container as one; name it in outputs of the rule {}",
                            of_workspace("az ml datastore create", workspace),
                            rule.id
                        ),
                    );
                    (fault, skipped("the datastore is none for outputs"))
                }
            },
            Ok(None) => {
                let fault = Finding::fault(
                    check,
                    format!("the workspace has no datastore {}", store.name),
                    "every job fails when it writes its output",
                    format!(
                        "{} --query \"[].name\" --output tsv shows those that are; correct outputs of the rule {}, or register it",
                        of_workspace("az ml datastore list", workspace),
                        rule.id
                    ),
                );
                (fault, skipped("the datastore is not there"))
            }
            Err(Err(because)) => (Finding::skipped(check, &because), skipped(&because)),
            Err(Ok(Trouble::Forbidden { .. })) if self.lacks(workspace, Check::Datastores).await => {
                (Finding::skipped(check, "the app may not read datastores"), skipped("the app may not read datastores"))
            }
            Err(Ok(trouble)) => (
                Self::unseen(check, &trouble, "Microsoft.MachineLearningServices/workspaces/datastores/read"),
                skipped("the datastore was not seen"),
            ),
        }
    }

    async fn compute(&self, rule: &Rule) -> Vec<Finding> {
        const ALL: [Check; 3] = [Check::Compute, Check::ComputeInput, Check::ComputeOutput];
        let about = format!("rule {}", rule.id);
        let all = |finding: &dyn Fn(Check) -> Finding| ALL.map(|check| finding(check).about(&about)).to_vec();
        let deployment = match self.deployment_of(rule).await {
            Ok(document) => document,
            Err(because) => return all(&|check| Finding::skipped(check, &because)),
        };
        let workspace = rule.endpoint.workspace.as_deref().unwrap_or_default();
        let Some(id) = compute_id(rule, &deployment, workspace) else {
            return all(&|check| {
                Finding::unknown(
                    check,
                    "the deployment names no compute: the steps of a pipeline have their own",
                    "look at the pipeline's steps: each compute's identity must read the inputs",
                )
            });
        };
        let name = id.rsplit('/').next().unwrap_or_default().to_owned();
        let about = format!("compute {name}");
        let document = match self.eyes.resource(&id, ML).await {
            Ok(document) => document,
            Err(trouble) => {
                let first = match &trouble {
                    Trouble::Missing(_) => Finding::fault(
                        Check::Compute,
                        format!("the workspace has no compute {name}"),
                        "the deployment names it, and every job fails for want of it",
                        format!(
                            "az ml compute create --name {} {} --type AmlCompute --min-instances 0 --max-instances 4 --identity-type SystemAssigned, or deploy the model on another one",
                            shell(&name),
                            in_workspace(workspace)
                        ),
                    ),
                    trouble => Self::unseen(
                        Check::Compute,
                        trouble,
                        "Microsoft.MachineLearningServices/workspaces/computes/read",
                    ),
                };
                let because = "the compute was not seen";
                return vec![
                    first.about(&about),
                    Finding::skipped(Check::ComputeInput, because).about(&about),
                    Finding::skipped(Check::ComputeOutput, because).about(about),
                ];
            }
        };
        let cluster = Cluster { name: &name, workspace, principals: principals(&document) };
        let (input, output) = futures::join!(self.compute_input(rule, &cluster), self.compute_output(rule, &cluster));
        let mut findings = vec![judge_compute(&document, &cluster).about(about)];
        findings.push(input);
        findings.extend(output);
        findings
    }

    async fn compute_input(&self, rule: &Rule, cluster: &Cluster<'_>) -> Finding {
        let check = Check::ComputeInput;
        let about = format!("compute {}, rule {}", cluster.name, rule.id);
        match self.read_by_identity(rule).await {
            Ok(false) => {
                return Finding::ok(check, "the inputs are read with the credentials of their datastore").about(about);
            }
            Err(because) => return Finding::skipped(check, because).about(about),
            Ok(true) => {}
        }
        let Some(place) = Self::watched(rule) else {
            let needed = "name the account in match.account";
            return Finding::unknown(check, "the rule takes blobs of any account, so there is none to look at", needed)
                .about(about);
        };
        let finding = self.cluster_may(check, cluster, place, READ_BLOBS, "Storage Blob Data Reader").await;
        finding.about(format!("compute {}, container {}/{}", cluster.name, place.account, place.container))
    }

    async fn compute_output(&self, rule: &Rule, cluster: &Cluster<'_>) -> Vec<Finding> {
        let check = Check::ComputeOutput;
        let mut findings = Vec::new();
        for store in targets(rule) {
            let finding = match self.datastore(&store).await {
                Ok(Some(shown)) if shown.fault().is_some() => {
                    Finding::skipped(check, "the datastore is none for outputs")
                }
                Ok(Some(Shown { credentials: Some(kind), .. })) => {
                    Finding::ok(check, format!("outputs are written with the stored {kind}"))
                }
                Ok(Some(shown)) => {
                    let place = Place { account: &shown.account, container: &shown.container };
                    self.cluster_may(check, cluster, place, WRITE_BLOBS, "Storage Blob Data Contributor").await
                }
                Ok(None) => Finding::skipped(check, "the datastore is not there"),
                Err(Ok(_)) => Finding::skipped(check, "the datastore was not seen"),
                Err(Err(because)) => Finding::skipped(check, because),
            };
            findings.push(finding.about(format!("compute {}, datastore {}", cluster.name, store.name)));
        }
        findings
    }

    /// Whether the cluster's identity may do something with the blobs of a container.
    async fn cluster_may(
        &self,
        check: Check,
        cluster: &Cluster<'_>,
        place: Place<'_>,
        action: &str,
        role: &str,
    ) -> Finding {
        let Place { account, container } = place;
        if let Some(because) = self.blind(Audience::ResourceManager) {
            return Finding::skipped(check, because);
        }
        let who = cluster.name;
        if cluster.principals.is_empty() {
            return Finding::fault(
                check,
                format!("the compute {who} has no identity"),
                format!(
                    "it reaches {account}/{container} with its own identity, since no credentials are stored for that"
                ),
                format!(
                    "az ml compute update --name {} {} --identity-type SystemAssigned, then give it the role {role} on the account {account}",
                    shell(who),
                    in_workspace(cluster.workspace)
                ),
            );
        }
        let found = match self.account(account).await {
            Ok(found) => found,
            Err((why, needed)) => return Finding::unknown(check, why, needed),
        };
        let mut doubts = Vec::new();
        for principal in &cluster.principals {
            match rights(&self.eyes, principal, &found.container(container)).await.map(|rights| rights.on_data(action))
            {
                Ok(May::Yes) => {
                    return Finding::ok(check, format!("the identity {principal} of {who} has a role for it"));
                }
                Ok(May::No) => {}
                Ok(May::Unknown(why)) => doubts.push(why),
                Err(trouble) => doubts.push(trouble.to_string()),
            }
        }
        if !doubts.is_empty() {
            let needed = format!(
                "Microsoft.Authorization/roleAssignments/read and roleDefinitions/read on {account} (role Reader) for whoever looks"
            );
            return Finding::unknown(check, doubts.join("; "), needed);
        }
        let principal = &cluster.principals[0];
        Finding::fault(
            check,
            format!("the identity {principal} of the compute {who} has no role for it"),
            "jobs end as failed with AuthorizationPermissionMismatch or a stream access error",
            assign(shell(principal), role, shell(&found.id))
                .replace("--assignee ", "--assignee-principal-type ServicePrincipal --assignee-object-id "),
        )
    }
}

/// What runs the jobs.
struct Cluster<'a> {
    name: &'a str,
    workspace: &'a str,
    /// Object ids of its identities.
    principals: Vec<String>,
}

/// The compute that a rule's jobs run on: the one that the rule asks for, else the deployment's.
fn compute_id(rule: &Rule, deployment: &Value, workspace: &str) -> Option<String> {
    let asked =
        rule.settings.get("compute").and_then(|compute| compute.as_str().or_else(|| compute.get("target")?.as_str()));
    let own = deployment.pointer("/properties/compute").and_then(Value::as_str);
    let of_pipeline =
        deployment.pointer("/properties/deploymentConfiguration/settings/default_compute").and_then(Value::as_str);
    let named = asked.or(own).or(of_pipeline).filter(|name| !name.is_empty())?;
    let named = named.strip_prefix("azureml:").unwrap_or(named);
    if named.starts_with('/') { Some(named.to_owned()) } else { Some(format!("{workspace}/computes/{named}")) }
}

fn principals(compute: &Value) -> Vec<String> {
    let Some(identity) = compute.get("identity") else { return Vec::new() };
    let id =
        |value: &Value| value.get("principalId").and_then(Value::as_str).filter(|id| !id.is_empty()).map(str::to_owned);
    let assigned = identity.get("userAssignedIdentities").and_then(Value::as_object);
    id(identity).into_iter().chain(assigned.into_iter().flat_map(|all| all.values().filter_map(id))).collect()
}

fn judge_compute(document: &Value, cluster: &Cluster<'_>) -> Finding {
    let check = Check::Compute;
    let state = document.pointer("/properties/provisioningState").and_then(Value::as_str).unwrap_or("unnamed");
    let name = cluster.name;
    let show = format!("az ml compute show --name {} {}", shell(name), in_workspace(cluster.workspace));
    match state {
        "Succeeded" => Finding::ok(check, format!("{name} is there")),
        "Failed" | "Canceled" | "Deleting" => Finding::fault(
            check,
            format!("{name} is in the state {state}"),
            "jobs wait for nodes that never come",
            format!("{show} tells more; make it again"),
        ),
        _ => {
            Finding::unknown(check, format!("{name} is in the state {state}"), format!("wait, then look again: {show}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use lifecycle::Rules;
    use serde_json::json;

    use super::*;
    use crate::doctor::Verdict;

    fn rule(more: &Value) -> Rule {
        let mut rule =
            json!({"id": "claims", "match": {"container": "c"}, "endpoint": {"uri": "https://e.example/jobs"}});
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
            Shown::read(
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
        assert!(Shown::read(&json!({"properties": {"datastoreType": "AzureBlob"}})).fault().is_some());
        let emulated =
            Shown::read(&json!({"properties": {"datastoreType": "AzureBlob", "accountName": "a", "containerName": "c",
            "protocol": "http", "endpoint": "127.0.0.1:10000"}}));
        assert_eq!((emulated.fault(), emulated.url.as_str()), (None, "http://127.0.0.1:10000/a/c"));
    }

    #[test]
    fn the_compute_is_the_rules_own_or_the_deployments() {
        let deployment = json!({"properties": {"compute": "/subscriptions/s/x/computes/cpu"}});
        let of = |rule: &Rule, deployment: &Value| compute_id(rule, deployment, "/w");
        assert_eq!(of(&rule(&json!({})), &deployment).as_deref(), Some("/subscriptions/s/x/computes/cpu"));
        let asks = rule(&json!({"settings": {"compute": {"target": "azureml:gpu", "instanceCount": 1}}}));
        assert_eq!(of(&asks, &deployment).as_deref(), Some("/w/computes/gpu"));
        let pipeline = json!({"properties": {"compute": null, "deploymentConfiguration": {"settings": {"default_compute": "batch"}}}});
        assert_eq!(of(&rule(&json!({})), &pipeline).as_deref(), Some("/w/computes/batch"));
        assert_eq!(of(&rule(&json!({})), &json!({"properties": {}})), None);
    }

    #[test]
    fn a_cluster_has_as_many_identities_as_it_is_given() {
        assert_eq!(principals(&json!({})), Vec::<String>::new());
        assert_eq!(principals(&json!({"identity": {"type": "None"}})), Vec::<String>::new());
        let both = json!({"identity": {"principalId": "p0", "userAssignedIdentities": {"/i": {"principalId": "p1"}}}});
        assert_eq!(principals(&both), ["p0", "p1"]);
    }

    #[test]
    fn a_compute_that_is_not_made_whole_is_a_fault() {
        let cluster = Cluster { name: "cpu", workspace: "/w", principals: vec![] };
        for (state, verdict) in [("Succeeded", Verdict::Ok), ("Failed", Verdict::Fault), ("Resizing", Verdict::Unknown)]
        {
            assert_eq!(judge_compute(&json!({"properties": {"provisioningState": state}}), &cluster).verdict, verdict);
        }
    }
}
