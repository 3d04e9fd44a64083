//! What the doctor asks of Azure, as its port [`Cloud`]: tokens, resources of Resource Manager, the batch endpoint's answer
//! about a job, a look into a container. Every request only looks.
//!
//! Nothing of an answer but its status, its date and, of Resource Manager, its document leaves this module: no token, no
//! signature, no listed name of a blob.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_core::error::ErrorKind;
use azure_core::http::Transport;
use azure_storage_blob::models::BlobContainerClientListBlobsOptions;
use azure_storage_blob::{BlobContainerClient, BlobContainerClientOptions};
use futures::TryStreamExt as _;
use lifecycle::{EndpointHosts, EndpointUri, StorageHosts};
use reqwest::Url;
use serde_json::Value;

use crate::batch_endpoint::{ask_endpoint, job_url};
use crate::blobs::emulator::EmulatorAccess;
use crate::http;
use crate::http::authorized::HttpAnswer;
use crate::resource_manager;
use crate::text::{member, parse_service_error};
use crate::tokens::{MachineLearning, ResourceManager, Storage, Tokens};
use app::ports::Inconclusive;
use app::ports::management::{Audience, Cloud, QueryError, ResourceList};

/// Azure, or what stands for it.
pub struct AzureCloud {
    manager: resource_manager::Client,
    management: Tokens<ResourceManager>,
    ml: Tokens<MachineLearning>,
    endpoint_hosts: EndpointHosts,
    storage: Tokens<Storage>,
    emulator: Arc<EmulatorAccess>,
    transport: Transport,
    /// By host, how far its clock was ahead when it last answered.
    clocks: Mutex<BTreeMap<String, time::Duration>>,
}

impl AzureCloud {
    /// The Resource Manager at `base` and what its resources lead to. Tokens go to the hosts beside them
    /// alone.
    pub fn new(
        base: &str,
        management: Tokens<ResourceManager>,
        (ml, endpoint_hosts): (Tokens<MachineLearning>, EndpointHosts),
        (storage, storage_hosts): (Tokens<Storage>, StorageHosts),
    ) -> Result<Self, resource_manager::InvalidAddress> {
        let manager = resource_manager::Client::new(base, management.clone())?;
        let emulator = EmulatorAccess::new(storage.clone(), storage_hosts);
        Ok(Self {
            manager,
            management,
            ml,
            endpoint_hosts,
            storage,
            emulator,
            transport: http::transport(),
            clocks: Mutex::default(),
        })
    }

    fn note_clock(&self, host: &str, got: &HttpAnswer, now: time::OffsetDateTime) {
        if let Some(date) = got.date {
            // The header has whole seconds, cut off: half of one is right on average.
            let ahead = date + time::Duration::milliseconds(500) - now;
            self.clocks.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned(), ahead);
        }
    }

    fn note_manager(&self, got: &HttpAnswer) {
        self.note_clock("Resource Manager", got, self.management.now());
    }
}

/// An answer as it was wanted, or what it says instead.
fn check_status(got: HttpAnswer, who: &str, what: &str) -> Result<HttpAnswer, QueryError> {
    if (200..=299).contains(&got.status) {
        return Ok(got);
    }
    let said = parse_service_error(&got.body);
    let code = said.code.as_ref().map(|code| format!(" {code}")).unwrap_or_default();
    let text = format!("{who} answered {}{code} about {what}: {}", got.status, said.text);
    Err(match got.status {
        404 => QueryError::Missing(text),
        401 | 403 => QueryError::Forbidden { code: said.code, text },
        _ => Inconclusive::not_understood(text).into(),
    })
}

fn document(got: &HttpAnswer, what: &str) -> Result<Value, QueryError> {
    let read: Result<Value, _> = serde_json::from_slice(&got.body);
    read.map_err(|why| {
        Inconclusive::not_understood(format!("Resource Manager's answer about {what} could not be read"))
            .caused_by(why)
            .into()
    })
}

#[async_trait]
impl Cloud for AzureCloud {
    async fn token(&self, audience: Audience) -> Result<(), Inconclusive> {
        let get = async || match audience {
            Audience::Storage => self.storage.get().await.map(drop),
            Audience::MachineLearning => self.ml.get().await.map(drop),
            Audience::ResourceManager => self.management.get().await.map(drop),
        };
        // The first run of the Azure CLI may take longer than a caller of an identity endpoint should ever wait.
        let got = match get().await {
            Err(_) => get().await,
            good => good,
        };
        got.map_err(|error| Inconclusive::not_reachable(error.to_string()))
    }

    async fn resource(&self, id: &str, version: &str) -> Result<Value, QueryError> {
        let got = self.manager.get(id, version, None).await?;
        self.note_manager(&got);
        document(&check_status(got, "Resource Manager", id)?, id)
    }

    async fn list(
        &self,
        path: &str,
        version: &str,
        filter: Option<&str>,
        pages: usize,
    ) -> Result<ResourceList, QueryError> {
        let mut got = self.manager.get(path, version, filter).await?;
        let mut listed = ResourceList::default();
        for page in 1.. {
            self.note_manager(&got);
            let mut document = document(&check_status(got, "Resource Manager", path)?, path)?;
            match document.get_mut("value").map(Value::take) {
                Some(Value::Array(items)) => listed.items.extend(items),
                _ => {
                    return Err(Inconclusive::not_understood(format!(
                        "Resource Manager's list of {path} could not be read"
                    ))
                    .into());
                }
            }
            let next = member(&document, "nextLink").and_then(Value::as_str).filter(|link| !link.is_empty());
            let Some(next) = next else {
                listed.complete = true;
                break;
            };
            if page >= pages {
                break;
            }
            got = self.manager.follow(next).await?;
        }
        Ok(listed)
    }

    async fn job(&self, endpoint: &EndpointUri, name: &str) -> Result<(), QueryError> {
        let url = job_url(endpoint, name);
        let got = ask_endpoint(&self.ml, &self.endpoint_hosts, &url).await?;
        self.note_clock(url.host_str().unwrap_or_default(), &got, self.ml.now());
        check_status(got, "the endpoint", "a job that does not exist").map(drop)
    }

    async fn container(&self, url: &str) -> Result<(), QueryError> {
        let url =
            Url::parse(url).map_err(|why| Inconclusive::not_asked(format!("`{url}` cannot be read")).caused_by(why))?;
        let place = format!("{}{}", url.host_str().unwrap_or_default(), url.path());
        let options = BlobContainerClientOptions {
            client_options: self.emulator.options(self.transport.clone()),
            ..BlobContainerClientOptions::default()
        };
        // An emulator on this machine asks for its token itself.
        let credential = (url.scheme() == "https").then(|| Arc::new(self.storage.clone()) as Arc<dyn TokenCredential>);
        let looked = async {
            let client = BlobContainerClient::new(url, credential, Some(options))?;
            let one = BlobContainerClientListBlobsOptions { maxresults: Some(1), ..Default::default() };
            client.list_blobs(Some(one))?.try_next().await.map(drop)
        };
        let Err(error) = looked.await else { return Ok(()) };
        let code = match error.kind() {
            ErrorKind::HttpResponse { error_code, .. } => error_code.clone(),
            _ => None,
        };
        let text = |status: u16| format!("storage answered {status} about {place}");
        Err(match error.http_status().map(u16::from) {
            Some(404) => QueryError::Missing(text(404)),
            Some(status @ (401 | 403)) => QueryError::Forbidden { code, text: text(status) },
            Some(status) => Inconclusive::not_understood(text(status)).into(),
            None if matches!(error.kind(), ErrorKind::Io | ErrorKind::Connection) => {
                Inconclusive::not_reachable(place).caused_by(error).into()
            }
            None => Inconclusive::not_understood(place).caused_by(error).into(),
        })
    }

    fn clocks(&self) -> Vec<(String, time::Duration)> {
        let clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        clocks.iter().map(|(host, ahead)| (host.clone(), *ahead)).collect()
    }
}
