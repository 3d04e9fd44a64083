//! Azure Resource Manager, as far as scorings need it: list jobs, get one, cancel one, resolve a datastore.
//!
//! Every call is safe to repeat. Its read budget is small and shared by the whole subscription, so nothing here is used
//! to poll; running jobs are polled on the endpoint itself.
//!
//! Source: Azure Machine Learning REST reference, `workspaces/jobs` and `workspaces/datastores`.

use reqwest::{Method, Url};
use serde_json::Value;
use time::OffsetDateTime;

use crate::http::authorized::{HttpAnswer, ask};
use crate::http::retry::may_pass;
use crate::text::{member, parse_service_error};
use crate::tokens::{ResourceManager, Tokens};
use app::ports::{Answered, Inconclusive};
use lifecycle::ServiceRequestId;

/// Resource Manager of the public cloud.
pub const PUBLIC_CLOUD: &str = "https://management.azure.com";

const API_VERSION: &str = "2025-12-01";

/// The address of a Resource Manager cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{address}` is not a URL of a Resource Manager")]
pub struct InvalidAddress {
    address: String,
    source: Option<url::ParseError>,
}

/// A client of Resource Manager.
#[derive(Debug, Clone)]
pub struct Client {
    base: Url,
    tokens: Tokens<ResourceManager>,
}

/// One page of a workspace's jobs.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) jobs: Vec<Value>,
    pub(crate) next: Option<Url>,
    /// The service's clock when it answered.
    pub(crate) date: Option<OffsetDateTime>,
    pub(crate) request_id: Option<ServiceRequestId>,
}

/// Where a datastore keeps its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Datastore {
    pub(crate) protocol: String,
    /// Domain behind `ACCOUNT.blob.` (`core.windows.net`), or an emulator's `HOST:PORT`.
    pub(crate) endpoint: String,
    pub(crate) account: String,
    pub(crate) container: String,
}

impl Client {
    /// A client of the Resource Manager at `base`, see [`PUBLIC_CLOUD`].
    pub fn new(base: &str, tokens: Tokens<ResourceManager>) -> Result<Self, InvalidAddress> {
        let error = |source| InvalidAddress { address: base.to_owned(), source };
        let url = Url::parse(base).map_err(|why| error(Some(why)))?;
        // `mailto:x` is a URL, and has no path to put anything below.
        if url.cannot_be_a_base() {
            return Err(error(None));
        }
        Ok(Self { base: url, tokens })
    }

    /// A job as Resource Manager shows it; `None` if it knows none of this name.
    pub(crate) async fn job(&self, workspace: &str, name: &str) -> Result<Answered<Option<Value>>, Inconclusive> {
        let got = self.ask(Method::GET, &self.url(workspace, &["jobs", name])).await?;
        let value = match got.status {
            404 => None,
            _ => Some(json(&got, "workspaces/jobs/read")?),
        };
        Ok(Answered { value, request_id: got.request_id })
    }

    /// One page of the workspace's jobs, in no order that could be relied on.
    pub(crate) async fn jobs(&self, workspace: &str, from: Option<&Url>) -> Result<Page, Inconclusive> {
        let url = from.cloned().unwrap_or_else(|| {
            let mut url = self.url(workspace, &["jobs"]);
            // Archived ones too: whoever tidies up must not make us send a request again.
            url.query_pairs_mut().append_pair("listViewType", "All");
            url
        });
        let got = self.ask(Method::GET, &url).await?;
        let mut page = json(&got, "workspaces/jobs/read")?;
        let next = match member(&page, "nextLink").and_then(Value::as_str).filter(|link| !link.is_empty()) {
            None => None,
            Some(link) => Some(self.own(link)?),
        };
        match page.get_mut("value").map(Value::take) {
            Some(Value::Array(jobs)) => Ok(Page { jobs, next, date: got.date, request_id: got.request_id }),
            _ => Err(Inconclusive::not_understood("Resource Manager's list of jobs could not be read")
                .answered_as(got.request_id)),
        }
    }

    /// Asks for a job to be stopped. A job that has ended or is gone needs no stopping.
    pub(crate) async fn cancel(&self, workspace: &str, name: &str) -> Result<Answered<()>, Inconclusive> {
        let got = self.ask(Method::POST, &self.url(workspace, &["jobs", name, "cancel"])).await?;
        match got.status {
            200..=299 | 404 | 409 => Ok(Answered { value: (), request_id: got.request_id }),
            _ => Err(refused(&got, "workspaces/jobs/cancel/action")),
        }
    }

    /// A datastore; `None` if the workspace has none of this name.
    pub(crate) async fn datastore(&self, workspace: &str, name: &str) -> Result<Option<Datastore>, Inconclusive> {
        let got = self.ask(Method::GET, &self.url(workspace, &["datastores", name])).await?;
        if got.status == 404 {
            return Ok(None);
        }
        let value = json(&got, "workspaces/datastores/read")?;
        let text = |member_name: &str| {
            let found = member(&value, "properties").and_then(|properties| member(properties, member_name));
            found.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        // A Gen2 file system is a container under another name; its blobs are read the same way.
        let container = text("containerName").or_else(|| text("filesystem"));
        match (text("accountName"), container) {
            (Some(account), Some(container)) => Ok(Some(Datastore {
                protocol: text("protocol").unwrap_or_else(|| "https".to_owned()),
                endpoint: text("endpoint").unwrap_or_else(|| "core.windows.net".to_owned()),
                account,
                container,
            })),
            _ => Err(Inconclusive::not_asked(format!(
                "datastore `{name}` is of type {}, which holds no blobs; outputs go to a Blob datastore",
                text("datastoreType").unwrap_or_else(|| "unknown".to_owned())
            ))),
        }
    }

    /// Account and container of a datastore; `None` if the workspace has none of this name.
    pub async fn container_of(&self, workspace: &str, name: &str) -> Result<Option<(String, String)>, Inconclusive> {
        Ok(self.datastore(workspace, name).await?.map(|Datastore { account, container, .. }| (account, container)))
    }

    /// Gets whatever lies at an id (`/subscriptions/…`), in a version of its provider's, whatever the answer's status.
    pub(crate) async fn get(&self, id: &str, version: &str, filter: Option<&str>) -> Result<HttpAnswer, Inconclusive> {
        let mut url = self.url_of(id, &[], version);
        if let Some(filter) = filter {
            url.query_pairs_mut().append_pair("$filter", filter);
        }
        self.ask(Method::GET, &url).await
    }

    /// Gets what a link in an answer leads to. The token goes nowhere but to Resource Manager itself.
    pub(crate) async fn follow(&self, link: &str) -> Result<HttpAnswer, Inconclusive> {
        self.ask(Method::GET, &self.own(link)?).await
    }

    async fn ask(&self, method: Method, url: &Url) -> Result<HttpAnswer, Inconclusive> {
        ask(&self.tokens, method, url).await
    }

    fn url(&self, workspace: &str, rest: &[&str]) -> Url {
        self.url_of(workspace, rest, API_VERSION)
    }

    fn url_of(&self, id: &str, rest: &[&str], version: &str) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            // `new` lets only URLs with a path through.
            path.pop_if_empty().extend(id.split('/').filter(|part| !part.is_empty())).extend(rest);
        }
        url.query_pairs_mut().append_pair("api-version", version);
        url
    }

    /// A link that the answer gave. The token goes nowhere but to Resource Manager itself.
    fn own(&self, link: &str) -> Result<Url, Inconclusive> {
        match Url::parse(link) {
            Ok(url) if url.origin() == self.base.origin() => Ok(url),
            _ => Err(Inconclusive::not_understood(
                "Resource Manager's list goes on at another host, which is not followed",
            )),
        }
    }
}

fn json(got: &HttpAnswer, action: &str) -> Result<Value, Inconclusive> {
    match got.status {
        200..=299 => serde_json::from_slice(&got.body).map_err(|why| {
            Inconclusive::not_understood(format!("Resource Manager's answer to {action} could not be read"))
                .caused_by(why)
                .answered_as(got.request_id.clone())
        }),
        _ => Err(refused(got, action)),
    }
}

fn refused(got: &HttpAnswer, action: &str) -> Inconclusive {
    let said = parse_service_error(&got.body);
    let code = said.code.map(|code| format!(" {code}")).unwrap_or_default();
    let text = format!("Resource Manager answered {}{code} to {action}: {}", got.status, said.text);
    let inconclusive = match got.status {
        401 | 403 => Inconclusive::not_allowed(format!(
            "{text}; the app's identity needs Microsoft.MachineLearningServices/{action} on the workspace (role AzureML Data Scientist)"
        )),
        status if may_pass(status) => Inconclusive::not_reachable(text),
        _ => Inconclusive::not_understood(text),
    };
    inconclusive.answered_as(got.request_id.clone())
}
