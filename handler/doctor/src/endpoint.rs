//! The batch endpoint and its deployment: as Resource Manager shows them, and as they answer.

use lifecycle::{EndpointKey, EndpointUri, Rule};
use serde_json::Value;

use crate::examination::Examination;
use crate::finding::{Check, Finding};
use crate::installation::Caller;
use crate::remedy::{in_workspace, shell};
use crate::unseen::{NotLookedAt, Unseen};
use crate::workspace::{ML, PAGES, of_workspace};
use app::ports::Inconclusive;
use app::ports::management::{Audience, QueryError};

/// An endpoint as it was found.
#[derive(Debug, Clone)]
pub(super) struct EndpointResource {
    pub(super) name: String,
    pub(super) document: Value,
}

/// Why there is no deployment to look at.
#[derive(Debug, Clone)]
enum DeploymentError {
    /// There is a finding about the cause already; this is what it comes to.
    Because(NotLookedAt),
    /// The endpoint is there and has no default one.
    NoDefault(EndpointResource),
    /// It was looked for and not found.
    Missing(EndpointResource, String),
    Unseen(QueryError),
}

impl Examination {
    /// Everything about the endpoints and deployments that the rules name.
    pub(super) async fn endpoints(&self) -> Vec<Finding> {
        let endpoints =
            Self::grouped(self.asking(), |rule| Some((rule.endpoint.uri.clone(), rule.endpoint.workspace.clone())));
        let mut deployments = Vec::<Rule>::new();
        for rule in self.asking().flat_map(Rule::by_deployment) {
            if !deployments.iter().any(|known| known.endpoint == rule.endpoint) {
                deployments.push(rule);
            }
        }
        let endpoints = endpoints.iter().map(|(_, rules)| self.endpoint(rules[0]));
        let deployments = deployments.iter().map(|rule| self.deployment(rule));
        let (endpoints, deployments) =
            futures::join!(futures::future::join_all(endpoints), futures::future::join_all(deployments));
        [endpoints.concat(), deployments.concat()].concat()
    }

    async fn endpoint(&self, rule: &Rule) -> Vec<Finding> {
        let about = format!("endpoint {}", rule.endpoint.uri);
        let (itself, answer) = futures::join!(self.endpoint_itself(rule), self.endpoint_answer(rule));
        vec![itself.about(&about), answer.about(&about)]
    }

    /// The endpoint of a rule by its URI, wherever in the workspace it is.
    pub(super) async fn find_endpoint(&self, rule: &Rule) -> Result<Option<EndpointResource>, Unseen> {
        let workspace = rule.endpoint.workspace.as_deref().ok_or(NotLookedAt::WorkspaceUnnamed)?;
        self.visible(workspace).await?;
        let has_it = |document: &Value| {
            document
                .pointer("/properties/scoringUri")
                .and_then(Value::as_str)
                .is_some_and(|its| EndpointKey::of(its) == *rule.endpoint.uri.key())
        };
        let found = |document: Value| {
            let name = document.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            Some(EndpointResource { name, document })
        };
        if let Some(name) = name_in(&rule.endpoint.uri) {
            match self.queries.resource(&format!("{workspace}/batchEndpoints/{name}"), ML).await {
                Ok(document) if has_it(&document) => return Ok(found(document)),
                Ok(_) | Err(QueryError::Missing(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let listed = self.queries.list(&format!("{workspace}/batchEndpoints"), ML, None, PAGES).await?;
        match listed.items.into_iter().find(has_it) {
            Some(document) => Ok(found(document)),
            None if listed.complete => Ok(None),
            None => Err(QueryError::Inconclusive(Inconclusive::unfinished(
                "the workspace has more endpoints than were listed",
            ))
            .into()),
        }
    }

    async fn endpoint_itself(&self, rule: &Rule) -> Finding {
        let check = Check::Endpoint;
        let workspace = rule.endpoint.workspace.as_deref().unwrap_or_default();
        match self.find_endpoint(rule).await {
            Ok(Some(found)) => judge_endpoint(&found, workspace),
            Ok(None) if through_a_gateway(&rule.endpoint.uri) => Finding::unknown(
                check,
                "no endpoint of the workspace has this URI; something may stand before one",
                "the URI that Azure ML gives the endpoint, or a look at what stands before it",
            ),
            Ok(None) => Finding::fault(
                check,
                "no endpoint of the workspace has this URI",
                "the endpoint was deleted, its name is misspelt, or it lies in another workspace",
                format!(
                    "{} --query \"[].scoring_uri\" --output tsv shows those that are; correct endpoint.uri or endpoint.workspace in the rule {}",
                    of_workspace("az ml batch-endpoint list", workspace),
                    rule.id
                ),
            ),
            Err(Unseen::NotLookedAt(reason)) => Finding::skipped(check, reason),
            Err(Unseen::Query(QueryError::Forbidden { .. })) if self.lacks(workspace, Check::Invoke).await => {
                Finding::skipped(check, "the app may not read batch endpoints")
            }
            Err(Unseen::Query(error)) => {
                Self::not_visible(check, &error, "Microsoft.MachineLearningServices/workspaces/batchEndpoints/read")
            }
        }
    }

    /// Asks the endpoint about a job that cannot exist: 404 proves that it is reached, and that the token and the right
    /// to read jobs are good.
    async fn endpoint_answer(&self, rule: &Rule) -> Finding {
        let check = Check::Answer;
        if let Some(reason) = self.no_token_reason(Audience::MachineLearning) {
            return Finding::skipped(check, reason);
        }
        let workspace = rule.endpoint.workspace.as_deref();
        let by_person = |why: String| Finding::unknown(check, why, "run it as the app, or with its network and rights");
        match self.queries.job(&rule.endpoint.uri, &format!("scorekeeper-doctor-{}", self.nonce)).await {
            Ok(()) | Err(QueryError::Missing(_))
                if !through_a_gateway(&rule.endpoint.uri) && matches!(self.find_endpoint(rule).await, Ok(None)) =>
            {
                Finding::skipped(check, NotLookedAt::EndpointMissing)
            }
            // So it says when it has nothing to route to; whether that is so is the deployment's finding.
            Err(QueryError::Missing(text)) if text.to_ascii_lowercase().contains("valid deployment") => {
                Finding::skipped(check, format!("the endpoint says of its deployments: {text}"))
            }
            Ok(()) | Err(QueryError::Missing(_)) if self.subject.caller == Caller::App => {
                Finding::ok(check, "it says that a job which does not exist is not there")
            }
            Ok(()) | Err(QueryError::Missing(_)) => {
                Finding::ok(check, "it answers whoever is signed in; the app's rights are in permission.jobs")
            }
            Err(error) if self.subject.caller == Caller::Operator => by_person(error.to_string()),
            Err(QueryError::Forbidden { code, text }) => {
                if let Some(workspace) = workspace
                    && (self.lacks(workspace, Check::Jobs).await || self.lacks(workspace, Check::Invoke).await)
                {
                    return Finding::skipped(check, "the app lacks a right on the workspace");
                }
                let code = code.map(|code| format!("{code}: ")).unwrap_or_default();
                Finding::fault(
                    check,
                    format!("{code}{text}"),
                    "the endpoint refuses the app: it has no role on the workspace, or has it for less than ten minutes",
                    self.ml_role(workspace),
                )
            }
            Err(error @ QueryError::NoAnswer(_)) => {
                if matches!(self.find_endpoint(rule).await, Ok(None)) {
                    return Finding::skipped(check, NotLookedAt::EndpointMissing);
                }
                Finding::fault(
                    check,
                    error.to_string(),
                    "the app cannot reach the endpoint: a private workspace takes a way into its network, and names that lead there",
                    "set integrationSubnetResourceId, and link the zones privatelink.api.azureml.ms and privatelink.notebooks.azure.net (infra/README.md, Private networks)",
                )
            }
            Err(error @ QueryError::Inconclusive(_)) => Finding::unknown(check, error.to_string(), "run it again"),
        }
    }

    /// The deployment that a rule's requests go to: its id and what Resource Manager shows of it.
    async fn find_deployment(&self, rule: &Rule) -> Result<(String, Value), DeploymentError> {
        let workspace = rule.endpoint.workspace.as_deref().unwrap_or_default();
        let endpoint = match self.find_endpoint(rule).await {
            Ok(Some(found)) => found,
            Ok(None) => return Err(DeploymentError::Because(NotLookedAt::EndpointMissing)),
            Err(Unseen::NotLookedAt(reason)) => return Err(DeploymentError::Because(reason)),
            Err(Unseen::Query(error)) => return Err(DeploymentError::Unseen(error)),
        };
        let default = || {
            let name = endpoint.document.pointer("/properties/defaults/deploymentName").and_then(Value::as_str);
            name.filter(|name| !name.is_empty())
        };
        let Some(name) = rule.endpoint.deployment.as_deref().or_else(default) else {
            return Err(DeploymentError::NoDefault(endpoint));
        };
        let id = format!("{workspace}/batchEndpoints/{}/deployments/{name}", endpoint.name);
        match self.queries.resource(&id, ML).await {
            Ok(document) => Ok((id, document)),
            Err(QueryError::Missing(_)) => {
                let name = name.to_owned();
                Err(DeploymentError::Missing(endpoint, name))
            }
            Err(error) => Err(DeploymentError::Unseen(error)),
        }
    }

    /// What Resource Manager shows of a rule's deployment, or why nothing that hangs on it can be looked at.
    pub(super) async fn deployment_of(&self, rule: &Rule) -> Result<Value, NotLookedAt> {
        match self.find_deployment(rule).await {
            Ok((_, document)) => Ok(document),
            Err(DeploymentError::Because(reason)) => Err(reason),
            Err(_) => Err(NotLookedAt::DeploymentUnseen),
        }
    }

    async fn deployment(&self, rule: &Rule) -> Vec<Finding> {
        let check = Check::Deployment;
        let workspace = rule.endpoint.workspace.as_deref().unwrap_or_default();
        let named = rule.endpoint.deployment.as_deref();
        let about = format!(
            "{} of {}",
            named.map_or("default deployment".to_owned(), |it| format!("deployment {it}")),
            rule.endpoint.uri
        );
        let finding = match self.find_deployment(rule).await {
            Ok((_, document)) => judge_deployment(&document),
            Err(DeploymentError::Because(reason)) => Finding::skipped(check, reason),
            Err(DeploymentError::NoDefault(endpoint)) => Finding::fault(
                check,
                "the endpoint has no default deployment, and the rule names none",
                "every request is answered 404 (no valid deployment to route to)",
                format!(
                    "az ml batch-endpoint update --name {} {} --set defaults.deployment_name={}",
                    shell(&endpoint.name),
                    in_workspace(workspace),
                    self.any_deployment(workspace, &endpoint.name).await
                ),
            ),
            Err(DeploymentError::Missing(endpoint, name)) => Finding::fault(
                check,
                format!("the endpoint {} has no deployment {name}", endpoint.name),
                if named.is_some() {
                    "the rule names a deployment that is not there; requests are refused"
                } else {
                    "the endpoint's default deployment was deleted; requests are refused"
                },
                format!(
                    "az ml batch-deployment list --endpoint-name {} {} --query \"[].name\" --output tsv shows those that are; correct endpoint.deployment in the rule {}, or deploy it",
                    shell(&endpoint.name),
                    in_workspace(workspace),
                    rule.id
                ),
            ),
            Err(DeploymentError::Unseen(QueryError::Forbidden { .. }))
                if self.lacks(workspace, Check::Invoke).await =>
            {
                Finding::skipped(check, "the app may not read deployments")
            }
            Err(DeploymentError::Unseen(error)) => Self::not_visible(
                check,
                &error,
                "Microsoft.MachineLearningServices/workspaces/batchEndpoints/deployments/read",
            ),
        };
        vec![finding.about(about)]
    }

    /// The endpoint's only deployment, for a command; a word that says what to put there if there are several.
    async fn any_deployment(&self, workspace: &str, endpoint: &str) -> String {
        let path = format!("{workspace}/batchEndpoints/{endpoint}/deployments");
        let listed = self.queries.list(&path, ML, None, 1).await.unwrap_or_default();
        match listed.items.as_slice() {
            [one] => one.get("name").and_then(Value::as_str).map_or("DEPLOYMENT".to_owned(), shell),
            _ => "DEPLOYMENT".to_owned(),
        }
    }
}

/// The endpoint's name: what its URI tells for certain, else what stands before `/jobs` where a host serves several.
fn name_in(uri: &EndpointUri) -> Option<&str> {
    let before_jobs = || {
        let segments: Vec<&str> = uri.url().path_segments()?.filter(|segment| !segment.is_empty()).collect();
        match segments.as_slice() {
            [.., name, last] if last.eq_ignore_ascii_case("jobs") => Some(*name),
            _ => None,
        }
    };
    uri.name().or_else(before_jobs)
}

/// A host that is neither Azure ML's nor this machine: whose endpoint answers there cannot be told.
fn through_a_gateway(uri: &EndpointUri) -> bool {
    uri.name().is_none() && !lifecycle::uri::is_loopback(uri.url())
}

fn state(document: &Value) -> &str {
    document.pointer("/properties/provisioningState").and_then(Value::as_str).unwrap_or("unnamed")
}

fn judge_endpoint(found: &EndpointResource, workspace: &str) -> Finding {
    let check = Check::Endpoint;
    let state = state(&found.document);
    let show = || format!("az ml batch-endpoint show --name {} {}", shell(&found.name), in_workspace(workspace));
    match state {
        "Succeeded" => Finding::ok(check, format!("{} is there", found.name)),
        "Failed" | "Canceled" | "Deleting" => Finding::fault(
            check,
            format!("{} is in the state {state}", found.name),
            "the endpoint was not made whole, or is going away",
            format!("{} tells more; deploy it again", show()),
        ),
        _ => Finding::unknown(
            check,
            format!("{} is in the state {state}", found.name),
            format!("wait, then look again: {}", show()),
        ),
    }
}

fn judge_deployment(document: &Value) -> Finding {
    let check = Check::Deployment;
    let name = document.get("name").and_then(Value::as_str).unwrap_or("it");
    match state(document) {
        "Succeeded" => Finding::ok(check, format!("{name} is there")),
        state @ ("Failed" | "Canceled" | "Deleting") => Finding::fault(
            check,
            format!("{name} is in the state {state}"),
            "the deployment was not made whole, or is going away; its jobs fail or are refused",
            "deploy it again: az ml batch-deployment create --file DEPLOYMENT.yml",
        ),
        state => Finding::unknown(
            check,
            format!("{name} is in the state {state}"),
            "wait until it is deployed, then run it again",
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Verdict;

    #[test]
    fn the_name_of_an_endpoint_is_in_its_uri() {
        for (uri, name) in [
            ("https://heart.westeurope.inference.ml.azure.com/jobs", Some("heart")),
            ("http://127.0.0.1:1234/endpoints/heart/jobs", Some("heart")),
            ("https://gateway.example.com/ml/heart/jobs/", Some("heart")),
            ("https://gateway.example.com/jobs", None),
            ("https://westeurope.api.azureml.ms/subscriptions/s/batchEndpoints/heart/jobs", Some("heart")),
        ] {
            let endpoint: EndpointUri = uri.parse().unwrap();
            assert_eq!(name_in(&endpoint), name, "{uri}");
            assert_eq!(through_a_gateway(&endpoint), uri.contains("gateway"), "{uri}");
        }
    }

    #[test]
    fn only_what_succeeded_is_ok_and_what_is_on_its_way_is_unknown() {
        for (state, verdict) in [
            (json!("Succeeded"), Verdict::Ok),
            (json!("Failed"), Verdict::Fault),
            (json!("Updating"), Verdict::Unknown),
            (json!(null), Verdict::Unknown),
        ] {
            let document = json!({"name": "v7", "properties": {"provisioningState": state}});
            assert_eq!(judge_deployment(&document).verdict, verdict, "{state}");
            let found = EndpointResource { name: "heart".into(), document };
            assert_eq!(judge_endpoint(&found, "w").verdict, verdict, "{state}");
        }
    }
}
