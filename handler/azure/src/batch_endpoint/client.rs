//! Requests to the endpoint itself: the one POST of a submission, and the look at a job.

use std::sync::Arc;
use std::time::Duration;

use app::ports::{Answered, Inconclusive, JobAddress};
use lifecycle::id::workspace_of;
use lifecycle::text::error_chain;
use lifecycle::{Answer, EndpointHosts, EndpointUri, Scoring, StorageHosts};
use reqwest::header::AUTHORIZATION;
use reqwest::{Method, Url};
use tokio::time::Instant;

use super::answer;
use super::job_cache::JobCache;
use super::wire::{self, Resource};
use crate::http::authorized::{HttpAnswer, ask};
use crate::http::body::read_body;
use crate::http::retry::may_pass;
use crate::http::retry::wished_pause;
use crate::tokens::{MachineLearning, Tokens};
use crate::{http, resource_manager, text};

/// An answer to a submission has some kilobytes.
const MAX_ANSWER: usize = 1 << 20;

/// Batch endpoints of any workspace that the identity may use.
#[derive(Debug)]
pub struct AzureMl {
    pub(super) tokens: Tokens<MachineLearning>,
    /// Hosts that `tokens` may be sent to; of another one nothing is asked.
    pub(super) hosts: EndpointHosts,
    /// Where log files of failed jobs may lie.
    pub(super) log_hosts: StorageHosts,
    pub(super) manager: Arc<resource_manager::Client>,
    pub(super) job_cache: JobCache,
}

/// What the data plane said of a job.
pub(super) enum JobLookup {
    Job(Resource),
    /// The endpoint answered 404, with this text: it does not know the job.
    Missing(String),
}

impl AzureMl {
    /// Endpoints reached with `tokens`, which go to `hosts` alone; `manager` lists and cancels their jobs.
    pub fn new(tokens: Tokens<MachineLearning>, hosts: EndpointHosts, manager: Arc<resource_manager::Client>) -> Self {
        Self { tokens, hosts, log_hosts: StorageHosts::default(), manager, job_cache: JobCache::default() }
    }

    /// Log files of failed jobs are read where they lie on one of these hosts; without it none is.
    #[must_use]
    pub fn with_logs_on(self, log_hosts: StorageHosts) -> Self {
        Self { log_hosts, ..self }
    }

    /// Sends the submission once and classifies what comes back.
    pub(super) async fn post(&self, scoring: &Scoring, timeout: Duration) -> Answered<Answer> {
        let end = Instant::now() + timeout;
        let not_sent = |text: String, permanent| Answered::from(refused("not sent", text, permanent));
        let Some(submission) = &scoring.submission else {
            return not_sent("no submission is recorded, and only what is recorded is sent".to_owned(), false);
        };
        let url = scoring.endpoint.url().clone();
        // Before a token is asked for. Not for good: the next start refuses rules with such a host, but a scoring may be of
        // a rule that is gone, and the setting may come back.
        if let Err(foreign) = self.hosts.check(&url) {
            return not_sent(foreign.to_string(), false);
        }
        let body = match wire::request(scoring, submission) {
            Ok(body) => body,
            Err(error) => return not_sent(error.to_string(), true),
        };
        let token = match tokio::time::timeout_at(end, self.tokens.get()).await {
            Ok(Ok(token)) => token,
            Ok(Err(error)) => return refused("no token", error.to_string(), false).into(),
            Err(_) => {
                let text = "the time for the submission ended before there was one".to_owned();
                return refused("no token", text, false).into();
            }
        };
        let bearer = match token.bearer_for(&url) {
            Ok(bearer) => bearer,
            Err(error) => return not_sent(error_chain(&error), true),
        };
        // One id for the request in the service's logs and in ours.
        let id = scoring.id.request_id(scoring.attempt);
        let mut request = http::client()
            .request(Method::POST, url)
            .header(AUTHORIZATION, bearer)
            // Microsoft's own client sends it in this spelling. Whether the service honours it is not documented.
            .header("repeatability_request-id", &id)
            .header(http::CLIENT_REQUEST_ID, &id)
            .timeout(end.saturating_duration_since(Instant::now()))
            .json(&body);
        if let Some(deployment) = &scoring.deployment {
            request = request.header("azureml-model-deployment", deployment.as_str());
        }
        let response = match http::call::send(request).await {
            Ok(response) => response,
            Err(error) => {
                let (unsent, malformed) = (error.is_connect(), error.is_builder());
                let text = error_chain(&error.without_url());
                // Only these two are sure: no byte of the request has left.
                return if unsent || malformed { not_sent(text, malformed) } else { Answer::Unknown { text }.into() };
            }
        };
        let status = response.status().as_u16();
        let is_success = response.status().is_success();
        let wish = (!is_success).then(|| wished_pause(response.headers(), self.tokens.now())).flatten();
        let retry_after = wish.and_then(|wait| wait.try_into().ok()); // at most a day
        let request_id = http::request_id(response.headers());
        if status == 401 {
            self.tokens.forget(&token);
        }
        let body = read_body(response, MAX_ANSWER).await.map_err(|error| error_chain(&error));
        Answered { value: answer::read(status, retry_after, body.as_deref().map_err(String::as_str)), request_id }
    }

    /// `GET {uri}/{name}`: one job as the endpoint shows it, or that it knows none of this name.
    pub(super) async fn look(&self, endpoint: &EndpointUri, name: &str) -> Result<Answered<JobLookup>, Inconclusive> {
        let got = ask_endpoint(&self.tokens, &self.hosts, &job_url(endpoint, name)).await?;
        let found = match got.status {
            200..=299 => match Resource::read(&got.body) {
                Some(resource) => Ok(JobLookup::Job(resource)),
                None => Err(Inconclusive::not_understood(format!(
                    "the endpoint's answer about job {name} is not a JSON object"
                ))),
            },
            404 => Ok(JobLookup::Missing(text::parse_service_error(&got.body).text)),
            status => {
                let said = text::parse_service_error(&got.body);
                let code = said.code.map(|code| format!(" {code}")).unwrap_or_default();
                let text = format!("the endpoint answered {status}{code} about job {name}: {}", said.text);
                Err(match status {
                    401 | 403 => Inconclusive::not_allowed(format!(
                        "{text}; the app's identity needs the role AzureML Data Scientist on the workspace"
                    )),
                    status if may_pass(status) => Inconclusive::not_reachable(text),
                    _ => Inconclusive::not_understood(text),
                })
            }
        };
        match found {
            Ok(value) => Ok(Answered { value, request_id: got.request_id }),
            Err(inconclusive) => Err(inconclusive.answered_as(got.request_id)),
        }
    }

    /// The workspace that a caller knows, or the id of a job tells.
    pub(super) fn needed_workspace(given: Option<&str>, job_id: Option<&str>) -> Result<String, Inconclusive> {
        given.or_else(|| job_id.and_then(workspace_of)).map(str::to_owned).ok_or_else(|| {
            Inconclusive::not_asked("the workspace of the endpoint is not known; set `endpoint.workspace` in the rule")
        })
    }

    /// A 404 of the data plane can also mean that the *endpoint* has no deployment to route to. Before a job is called
    /// missing, and another made in its place, Resource Manager has to agree if it can be asked.
    pub(super) async fn elsewhere(
        &self,
        at: &JobAddress,
        said: &Answered<String>,
    ) -> Result<Answered<Option<Resource>>, Inconclusive> {
        let asked = match Self::needed_workspace(at.workspace.as_deref(), at.job.id.as_deref()) {
            Ok(workspace) => self.manager.job(&workspace, &at.job.name).await,
            Err(inconclusive) => Err(inconclusive),
        };
        match asked {
            Ok(found) => Ok(found.map(|found| found.map(Resource::of))),
            Err(inconclusive) if said.value.to_ascii_lowercase().contains("valid deployment") => Err(Inconclusive {
                what: format!("{} (and Resource Manager could not be asked: {})", said.value, inconclusive.what),
                ..inconclusive
            }),
            Err(_) => Ok(Answered { value: None, request_id: said.request_id.clone() }),
        }
    }
}

/// Looks at something that Azure Machine Learning serves at an address which a rule, a row or an answer gave. The token goes
/// to hosts of the cloud or of the settings alone.
pub(crate) async fn ask_endpoint(
    tokens: &Tokens<MachineLearning>,
    hosts: &EndpointHosts,
    url: &Url,
) -> Result<HttpAnswer, Inconclusive> {
    hosts.check(url).map_err(|foreign| Inconclusive::not_asked(foreign.to_string()))?;
    ask(tokens, Method::GET, url).await
}

/// Where the endpoint is asked about a job: `{invoke URI}/{name}`, with the URI's own query.
pub(crate) fn job_url(endpoint: &EndpointUri, name: &str) -> Url {
    let mut url = endpoint.url().clone();
    // An http(s) URL always has a path.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().push(name);
    }
    url
}

fn refused(code: &str, text: String, permanent: bool) -> Answer {
    Answer::Refused { code: code.to_owned(), text, permanent, retry_after: None }
}
