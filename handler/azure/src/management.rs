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
use reqwest::{Method, Url};
use serde_json::Value;

use crate::http;
use crate::http::authorized::{Got, ask};
use crate::resource_manager;
use crate::text::{member, said};
use crate::tokens::{MachineLearning, ResourceManager, Storage, Tokens};
use crate::batch_endpoint::job_url;
use app::ports::Unclear;
use app::ports::management::{Audience, Cloud, Listed, Trouble};

/// Azure, or what stands for it.
pub struct AzureCloud {
    manager: resource_manager::Client,
    management: Tokens<ResourceManager>,
    ml: Tokens<MachineLearning>,
    storage: Tokens<Storage>,
    transport: Transport,
    /// By host, how far its clock was ahead when it last answered.
    clocks: Mutex<BTreeMap<String, time::Duration>>,
}

impl AzureCloud {
    /// The Resource Manager at `base` and what its resources lead to.
    pub fn new(
        base: &str,
        management: Tokens<ResourceManager>,
        ml: Tokens<MachineLearning>,
        storage: Tokens<Storage>,
    ) -> Result<Self, resource_manager::InvalidAddress> {
        let manager = resource_manager::Client::new(base, management.clone())?;
        Ok(Self { manager, management, ml, storage, transport: http::transport(), clocks: Mutex::default() })
    }

    fn note_clock(&self, host: &str, got: &Got, now: time::OffsetDateTime) {
        if let Some(date) = got.date {
            // The header has whole seconds, cut off: half of one is right on average.
            let ahead = date + time::Duration::milliseconds(500) - now;
            self.clocks.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned(), ahead);
        }
    }

    fn note_manager(&self, got: &Got) {
        self.note_clock("Resource Manager", got, self.management.now());
    }
}

/// An answer as it was wanted, or what it says instead.
fn judged(got: Got, who: &str, what: &str) -> Result<Got, Trouble> {
    if (200..=299).contains(&got.status) {
        return Ok(got);
    }
    let said = said(&got.body);
    let code = said.code.as_ref().map(|code| format!(" {code}")).unwrap_or_default();
    let text = format!("{who} answered {}{code} about {what}: {}", got.status, said.text);
    Err(match got.status {
        404 => Trouble::Missing(text),
        401 | 403 => Trouble::Forbidden { code: said.code, text },
        _ => Unclear::not_understood(text).into(),
    })
}

fn document(got: &Got, what: &str) -> Result<Value, Trouble> {
    let read: Result<Value, _> = serde_json::from_slice(&got.body);
    read.map_err(|why| {
        Unclear::not_understood(format!("Resource Manager's answer about {what} could not be read")).because(why).into()
    })
}

#[async_trait]
impl Cloud for AzureCloud {
    async fn token(&self, audience: Audience) -> Result<(), Unclear> {
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
        got.map_err(|error| Unclear::not_reachable(error.to_string()))
    }

    async fn resource(&self, id: &str, version: &str) -> Result<Value, Trouble> {
        let got = self.manager.get(id, version, None).await?;
        self.note_manager(&got);
        document(&judged(got, "Resource Manager", id)?, id)
    }

    async fn list(&self, path: &str, version: &str, filter: Option<&str>, pages: usize) -> Result<Listed, Trouble> {
        let mut got = self.manager.get(path, version, filter).await?;
        let mut listed = Listed::default();
        for page in 1.. {
            self.note_manager(&got);
            let mut document = document(&judged(got, "Resource Manager", path)?, path)?;
            match document.get_mut("value").map(Value::take) {
                Some(Value::Array(items)) => listed.items.extend(items),
                _ => return Err(Unclear::not_understood(format!("Resource Manager's list of {path} could not be read")).into()),
            }
            let next = member(&document, "nextLink").and_then(Value::as_str).filter(|link| !link.is_empty());
            let Some(next) = next else {
                listed.whole = true;
                break;
            };
            if page >= pages {
                break;
            }
            got = self.manager.follow(next).await?;
        }
        Ok(listed)
    }

    async fn job(&self, endpoint: &str, name: &str) -> Result<(), Trouble> {
        let url = job_url(endpoint, name)?;
        let got = ask(&self.ml, Method::GET, &url).await?;
        self.note_clock(url.host_str().unwrap_or_default(), &got, self.ml.now());
        judged(got, "the endpoint", "a job that does not exist").map(drop)
    }

    async fn container(&self, url: &str) -> Result<(), Trouble> {
        let url = Url::parse(url).map_err(|why| Unclear::not_asked(format!("`{url}` can't be read")).because(why))?;
        let place = format!("{}{}", url.host_str().unwrap_or_default(), url.path());
        let options = BlobContainerClientOptions {
            client_options: http::options(self.transport.clone()),
            ..BlobContainerClientOptions::default()
        };
        // An emulator on this machine takes no token, see `blobs`.
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
            Some(404) => Trouble::Missing(text(404)),
            Some(status @ (401 | 403)) => Trouble::Forbidden { code, text: text(status) },
            Some(status) => Unclear::not_understood(text(status)).into(),
            None if matches!(error.kind(), ErrorKind::Io | ErrorKind::Connection) => {
                Unclear::not_reachable(place).because(error).into()
            }
            None => Unclear::not_understood(place).because(error).into(),
        })
    }

    fn clocks(&self) -> Vec<(String, time::Duration)> {
        let clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        clocks.iter().map(|(host, ahead)| (host.clone(), *ahead)).collect()
    }
}
