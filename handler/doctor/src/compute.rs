//! The compute that runs a rule's jobs, and what its identity may do.

use std::sync::{Mutex, PoisonError};

use lifecycle::Rule;
use serde_json::Value;

use crate::access::{Permission, rights};
use crate::datastore::{DatastoreInfo, targets};
use crate::examination::Examination;
use crate::finding::{Check, Finding};
use crate::permissions::{READ_BLOBS, WRITE_BLOBS};
use crate::remedy::{assign_to_principal, deploy_or_ask, in_workspace, shell};
use crate::storage::ContainerName;
use crate::unseen::{NotSeen, Unseen};
use crate::workspace::ML;
use app::ports::management::{Audience, QueryError};

impl Examination {
    /// Everything about the compute that runs a rule's jobs.
    pub(super) async fn compute(&self, rule: &Rule) -> Vec<Finding> {
        const ALL: [Check; 3] = [Check::Compute, Check::ComputeInput, Check::ComputeOutput];
        let about = format!("rule {}", rule.id);
        let all = |finding: &dyn Fn(Check) -> Finding| ALL.map(|check| finding(check).about(&about)).to_vec();
        let deployment = match self.deployment_of(rule).await {
            Ok(document) => document,
            Err(reason) => return all(&|check| Finding::skipped(check, &reason)),
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
        let document = match self.queries.resource(&id, ML).await {
            Ok(document) => document,
            Err(error) => {
                let first = match &error {
                    QueryError::Missing(_) => Finding::fault(
                        Check::Compute,
                        format!("the workspace has no compute {name}"),
                        "the deployment names it, and every job fails for want of it",
                        format!(
                            "az ml compute create --name {} {} --type AmlCompute --min-instances 0 --max-instances 4 --identity-type SystemAssigned, or deploy the model on another one",
                            shell(&name),
                            in_workspace(workspace)
                        ),
                    ),
                    error => Self::not_visible(
                        Check::Compute,
                        error,
                        "Microsoft.MachineLearningServices/workspaces/computes/read",
                    ),
                };
                let reason = "the compute was not seen";
                return vec![
                    first.about(&about),
                    Finding::skipped(Check::ComputeInput, reason).about(&about),
                    Finding::skipped(Check::ComputeOutput, reason).about(about),
                ];
            }
        };
        let cluster = Cluster { name: &name, workspace, principals: principals(&document), wanted: Mutex::default() };
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
            Err(reason) => return Finding::skipped(check, reason).about(about),
            Ok(true) => {}
        }
        let Some(place) = Self::watched(rule) else {
            let needed = "name the account in match.account";
            return Finding::unknown(check, "the rule takes blobs of any account, so there is none to look at", needed)
                .about(about);
        };
        let finding = self.cluster_may(check, cluster, place, READ_BLOBS, READER).await;
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
                Ok(Some(DatastoreInfo { credentials: Some(kind), .. })) => {
                    Finding::ok(check, format!("outputs are written with the stored {kind}"))
                }
                Ok(Some(shown)) => {
                    let place = ContainerName { account: &shown.account, container: &shown.container };
                    self.cluster_may(check, cluster, place, WRITE_BLOBS, "Storage Blob Data Contributor").await
                }
                Ok(None) => Finding::skipped(check, "the datastore is not there"),
                Err(Unseen::Query(_)) => Finding::skipped(check, "the datastore was not seen"),
                Err(Unseen::NotLookedAt(reason)) => Finding::skipped(check, reason),
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
        place: ContainerName<'_>,
        action: &str,
        role: &str,
    ) -> Finding {
        let ContainerName { account, container } = place;
        if let Some(reason) = self.no_token_reason(Audience::ResourceManager) {
            return Finding::skipped(check, reason);
        }
        let who = cluster.name;
        if cluster.principals.is_empty() {
            let mut wanted = cluster.wanted.lock().unwrap_or_else(PoisonError::into_inner);
            wanted.push(format!("{role} on the account {account}"));
            return Finding::skipped(check, format!("the compute {who} has no identity"));
        }
        let found = match self.account(account).await {
            Ok(found) => found,
            Err(NotSeen { why, needed }) => return Finding::unknown(check, why, needed),
        };
        let mut doubts = Vec::new();
        for principal in &cluster.principals {
            let rights_of = async |scope: &str| rights(&self.queries, principal, scope).await;
            let at_container = match rights_of(&found.container(container)).await {
                // That the container is not there has a finding of its own; a role may be given on the account, too.
                Err(QueryError::Missing(_)) => rights_of(&found.id).await,
                seen => seen,
            };
            match at_container.map(|rights| rights.on_data(action)) {
                Ok(Permission::Yes) => {
                    return Finding::ok(check, format!("the identity {principal} of {who} has a role for it"));
                }
                Ok(Permission::No) => {}
                Ok(Permission::Unknown(why)) => doubts.push(why),
                Err(error) => doubts.push(error.to_string()),
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
            cluster_role(principal, role, &found.id),
        )
    }
}

/// The role that reads blobs.
const READER: &str = "Storage Blob Data Reader";

/// How a cluster's identity gets a role. The templates let it read watched accounts, and write nowhere.
fn cluster_role(principal: &str, role: &str, scope: &str) -> String {
    if role == READER {
        deploy_or_ask(&format!("{} among dataAccess.computePrincipalIds", shell(principal)), role, principal, scope)
    } else {
        assign_to_principal(principal, role, scope)
    }
}

/// The compute that a rule's jobs run on, with what is known of its identities.
struct Cluster<'a> {
    name: &'a str,
    workspace: &'a str,
    /// Object ids of its identities.
    principals: Vec<String>,
    /// Roles that it would take if it had an identity.
    wanted: Mutex<Vec<String>>,
}

/// The compute that a rule's jobs run on: the one that the rule asks for, else the deployment's.
fn compute_id(rule: &Rule, deployment: &Value, workspace: &str) -> Option<String> {
    // Of one that each blob names for itself nothing is known here.
    let asked = match rule.settings.compute_target() {
        Some(target) => Some(target.constant(&rule.id)?),
        None => None,
    };
    let own = deployment.pointer("/properties/compute").and_then(Value::as_str);
    let of_pipeline =
        deployment.pointer("/properties/deploymentConfiguration/settings/default_compute").and_then(Value::as_str);
    let named = asked.as_deref().or(own).or(of_pipeline).filter(|name| !name.is_empty())?;
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
    let max = document.pointer("/properties/properties/scaleSettings/maxNodeCount").and_then(Value::as_u64);
    if max == Some(0) {
        return Finding::fault(
            check,
            format!("{name} may have 0 nodes"),
            "jobs wait for nodes that never come",
            format!(
                "az ml compute update --name {} {} --max-instances 4",
                shell(name),
                in_workspace(cluster.workspace)
            ),
        );
    }
    let show = format!("az ml compute show --name {} {}", shell(name), in_workspace(cluster.workspace));
    let wanted = cluster.wanted.lock().unwrap_or_else(PoisonError::into_inner);
    match state {
        "Succeeded" if !wanted.is_empty() => Finding::fault(
            check,
            format!("{name} has no identity"),
            "no credentials are stored for the data, so the compute reaches it with its own identity",
            format!(
                "az ml compute update --name {} {} --identity-type SystemAssigned, then give it the role {}",
                shell(name),
                in_workspace(cluster.workspace),
                wanted.join(", and ")
            ),
        ),
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
    use serde_json::json;

    use super::*;
    use crate::Verdict;
    use crate::datastore::tests::rule;

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
        let cluster = Cluster { name: "cpu", workspace: "/w", principals: vec![], wanted: Mutex::default() };
        for (state, verdict) in [("Succeeded", Verdict::Ok), ("Failed", Verdict::Fault), ("Resizing", Verdict::Unknown)]
        {
            assert_eq!(judge_compute(&json!({"properties": {"provisioningState": state}}), &cluster).verdict, verdict);
        }
        let none = json!({"properties": {"provisioningState": "Succeeded", "properties": {"scaleSettings": {"maxNodeCount": 0}}}});
        assert_eq!(judge_compute(&none, &cluster).verdict, Verdict::Fault, "no node will ever come");
    }
}
