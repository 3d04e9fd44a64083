//! Why a job failed: neither the endpoint nor Resource Manager says so, the workspace's run history does, or the log files that
//! it names.
//!
//! The text is for people, and its first real error decides what follows. Not getting it is never an error: the job has failed
//! all the same.
//!
//! Source: the `runhistory` client inside Microsoft's `azure-ai-ml` package (`runs/{id}/details` with `logFiles`,
//! `runs/{id}/children`).

use lifecycle::failure::{first_error, is_general, recognised};
use lifecycle::id::workspace_of;
use lifecycle::text::{error_chain, fit};
use lifecycle::{EndpointHosts, EndpointUri, StorageHosts};
use reqwest::Url;
use serde_json::Value;

use super::client::ask_endpoint;
use super::logs;
use super::wire::Resource;
use crate::text::member;
use crate::tokens::{MachineLearning, Tokens};

/// Failed children whose texts are looked at.
const MAX_CHILDREN: usize = 3;

/// Tokens, the hosts that these may go to (the host of a run history comes out of an answer), and those that log files may lie on.
pub(super) struct Access<'a> {
    pub(super) tokens: &'a Tokens<MachineLearning>,
    pub(super) hosts: &'a EndpointHosts,
    pub(super) log_hosts: &'a StorageHosts,
}

/// The error text of a failed job, if the run history has one: its own, that of the step that failed, or the first error in a log
/// file; what says no more than that something failed only if there is nothing else.
pub(super) async fn error_text(
    access: &Access<'_>,
    endpoint: &EndpointUri,
    workspace: Option<&str>,
    job: &Resource,
) -> Option<String> {
    let run = job.name()?;
    let base = base(access.hosts, endpoint, workspace, job)?;
    let parent = access.read(&base, &[run, "details"]).await;
    let told = parent.as_ref().and_then(message);
    if let Some(text) = told.as_deref().and_then(real) {
        return Some(text);
    }
    let step = access.failed_step(&base, run).await;
    if let Some(text) = step.as_ref().and_then(|step| real(step.message.as_deref()?).map(|text| step.told(&text))) {
        return Some(text);
    }
    let of_step = step.as_ref().and_then(|step| step.details.as_ref());
    for (run, name) in [(of_step, step.as_ref().map(|step| step.name.as_str())), (parent.as_ref(), None)] {
        let Some(files) = run.and_then(|run| member(run, "logFiles")) else { continue };
        if let Some(found) = logs::first_error(access.log_hosts, files).await {
            let text = name.map_or_else(|| found.clone(), |name| format!("{name}: {found}"));
            return Some(fit(&text));
        }
    }
    step.and_then(|step| step.message.as_deref().map(|text| step.told(text))).or_else(|| told.map(|text| fit(&text)))
}

/// What a message tells, if that is more than that something failed; of one that holds a stack trace its first error.
fn real(message: &str) -> Option<String> {
    if !is_general(message) {
        return Some(fit(message));
    }
    first_error(message).or_else(|| recognised(message).map(|_| message)).map(fit)
}

/// A failed child of a job's run, with what run history tells of it.
struct Step {
    name: String,
    message: Option<String>,
    details: Option<Value>,
}

impl Step {
    fn told(&self, text: &str) -> String {
        fit(&format!("{}: {text}", self.name))
    }
}

/// `…/history/v1.0/WORKSPACE/runs`. The tracking address of the job knows host and workspace; else they are put
/// together from what else is known.
fn base(hosts: &EndpointHosts, endpoint: &EndpointUri, workspace: Option<&str>, job: &Resource) -> Option<Url> {
    let tracking = job.tracking().and_then(|text| text.strip_prefix("azureml://"));
    let workspace = job
        .id()
        .and_then(workspace_of)
        .or(workspace)
        .or_else(|| tracking.and_then(|text| workspace_of(&text[text.find("/subscriptions/")?..])))?;
    let authority = match tracking.and_then(|text| text.split(['/', '?']).next()).filter(|host| !host.is_empty()) {
        Some(authority) => authority.to_owned(),
        None => guess(endpoint)?,
    };
    let mut url = Url::parse(&format!("https://{authority}/history/v1.0")).ok()?;
    if lifecycle::uri::is_loopback(&url) {
        url = Url::parse(&format!("http://{authority}/history/v1.0")).ok()?;
    }
    hosts.check(&url).ok()?;
    let mut path = url.path_segments_mut().ok()?;
    path.extend(workspace.split('/').filter(|part| !part.is_empty())).push("runs");
    drop(path);
    Some(url)
}

/// `ENDPOINT.REGION.inference.ml.azure.com` has its run history at `REGION.api.azureml.ms`, mostly. The path form of a
/// scoring URI is on that host already.
fn guess(endpoint: &EndpointUri) -> Option<String> {
    let url = endpoint.url();
    let host = url.host_str()?;
    match host.strip_suffix(".inference.ml.azure.com").and_then(|front| front.split_once('.')) {
        Some((_, region)) => Some(format!("{region}.api.azureml.ms")),
        None => Some(match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }),
    }
}

impl Access<'_> {
    async fn read(&self, base: &Url, path: &[&str]) -> Option<Value> {
        let mut url = base.clone();
        url.path_segments_mut().ok()?.extend(path);
        match ask_endpoint(self.tokens, self.hosts, &url).await {
            Ok(got) if got.status == 200 => serde_json::from_slice(&got.body).ok(),
            Ok(got) => {
                tracing::debug!(status = got.status, "run history has no error text of a failed job");
                None
            }
            Err(inconclusive) => {
                tracing::debug!("run history could not be queried about a failed job: {}", error_chain(&inconclusive));
                None
            }
        }
    }

    /// The first failed step that tells more than that it failed, else the first; a model deployment has one step,
    /// `batchscoring`.
    async fn failed_step(&self, base: &Url, run: &str) -> Option<Step> {
        let list = self.read(base, &[run, "children"]).await?;
        let children = member(&list, "value").and_then(Value::as_array)?;
        let failed = children.iter().filter(|child| {
            member(child, "status").and_then(Value::as_str).is_none_or(|status| status.eq_ignore_ascii_case("Failed"))
        });
        let mut first = None;
        for child in failed.take(MAX_CHILDREN) {
            let text = |name| member(child, name).and_then(Value::as_str);
            let name = text("displayName").or_else(|| text("name")).unwrap_or("a step").to_owned();
            let mut step = Step { name, message: message(child), details: None };
            if step.message.as_deref().and_then(real).is_some() {
                return Some(step);
            }
            if let Some(id) = text("runId") {
                step.details = self.read(base, &[id, "details"]).await;
                step.message = step.details.as_ref().and_then(message).or(step.message);
            }
            if step.message.as_deref().and_then(real).is_some() {
                return Some(step);
            }
            first = first.or(Some(step));
        }
        first
    }
}

/// `error.error.{code, message}` of a run.
fn message(run: &Value) -> Option<String> {
    let outer = member(run, "error")?;
    let error = member(outer, "error").unwrap_or(outer);
    let text = |name| member(error, name).and_then(Value::as_str).filter(|text| !text.is_empty());
    match (text("code"), text("message")) {
        (Some(code), Some(message)) => Some(format!("{code}: {message}")),
        (None, Some(message)) => Some(message.to_owned()),
        (Some(code), None) => Some(code.to_owned()),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use lifecycle::MlDomains;

    use super::*;
    use serde_json::json;

    const WORKSPACE: &str =
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w";
    const ENDPOINT: &str = "https://claims.westeurope.inference.ml.azure.com/jobs";

    fn hosts() -> EndpointHosts {
        EndpointHosts::of_cloud(MlDomains { inference: "inference.ml.azure.com", api: "api.azureml.ms" })
    }

    fn of(tracking: &str) -> Option<String> {
        let job = json!({"name": "j", "id": format!("{WORKSPACE}/batchEndpoints/e/jobs/j"),
            "properties": {"interactionEndpoints": {"Tracking": {"endpoint": tracking}}}});
        base(&hosts(), &ENDPOINT.parse().unwrap(), None, &Resource::of(job)).map(String::from)
    }

    #[test]
    fn the_host_is_the_jobs_own_or_put_together() {
        let expected = format!("https://westus.api.azureml.ms/history/v1.0{WORKSPACE}/runs");
        assert_eq!(of("azureml://westus.api.azureml.ms/mlflow/v1.0/subscriptions/x?"), Some(expected));
        let bare = Resource::of(json!({"name": "j"}));
        let guessed = format!("https://westeurope.api.azureml.ms/history/v1.0{WORKSPACE}/runs");
        assert_eq!(base(&hosts(), &ENDPOINT.parse().unwrap(), Some(WORKSPACE), &bare).map(String::from), Some(guessed));
        assert_eq!(base(&hosts(), &ENDPOINT.parse().unwrap(), None, &bare), None);
    }

    #[test]
    fn only_loopback_is_asked_in_the_clear() {
        assert!(
            of("azureml://127.0.0.1:8080/mlflow/v1.0").is_some_and(|url| url.starts_with("http://127.0.0.1:8080/"))
        );
    }

    #[test]
    fn a_token_goes_to_no_host_outside_azure_ml() {
        for foreign in [
            "evil.example",
            "api.azureml.ms.evil.example",
            "evilazureml.ms",
            "10.0.0.1:80",
            "westus.api.ml.azure.cn",
            "a@evil.example",
        ] {
            assert_eq!(of(&format!("azureml://{foreign}/mlflow/v1.0")), None, "{foreign}");
        }
    }
}
