//! Puts the parts together: the only place that chooses adapters, called by both hosts and by the command line.
//!
//! Nothing here talks to anybody: clients connect, and tokens are asked for, when first needed. That keeps the cold
//! start short and lets a handler start while Azure is away.

use std::sync::Arc;
use std::time::Duration;

use azure_core::Uuid;
use azure_core::credentials::TokenCredential;
use time::OffsetDateTime;

use crate::config::{AzureCloudFacts, Config, LedgerLocation, LedgerSettings, TablesAuth, Warning};
use app::ledger::{Ledger, LedgerOptions};
use app::ports::Clock;
use app::ports::table_store::TableStore;
use app::{App, Parts};
use azure::batch_endpoint::AzureMl;
use azure::blobs::AzureBlobs;
use azure::management::AzureCloud;
use azure::resource_manager;
use azure::tables::{Auth, AzureTables};
use azure::tokens::{Audience as _, CredentialKind, MachineLearning, ResourceManager, Storage, Tokens};
use doctor::{AppFacts, Caller, Check, Doctor, Finding, Installation, LedgerNotOpened};
use lifecycle::{LedgerId, StorageHosts};
use stores::embedded::EmbeddedStore;

/// Why the parts cannot be put together. Nothing was sent to anybody yet.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder of an embedded ledger cannot be opened: it is not there, not ours, or not a ledger.
    #[error(transparent)]
    Embedded(#[from] stores::embedded::OpenError),
    /// The table endpoint or its key cannot be used.
    #[error(transparent)]
    Tables(#[from] azure::tables::SetupError),
    /// The ledger refuses its options.
    #[error("the ledger cannot be opened")]
    Ledger(#[from] app::ledger::InvalidTaskHub),
    /// The address of Azure Resource Manager cannot be used.
    #[error("Azure Resource Manager cannot be called")]
    ResourceManager(#[from] resource_manager::InvalidAddress),
}

/// The machine's time: the one place that reads it. Everything below takes a clock, so that tests have their own.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's time for the app")]
pub fn system_clock() -> Clock {
    Arc::new(OffsetDateTime::now_utc)
}

/// The application as the settings want it.
pub fn app(config: &Config, clock: Clock) -> Result<App, Error> {
    let source = CredentialKind::ManagedIdentity { client_id: config.client_id.clone() }.source();
    let ledger = ledger(config, Arc::clone(&source), &clock, Access::Write)?;
    let (manager, ml) = cloud_tokens(config, &source, &clock);
    let manager = Arc::new(resource_manager::Client::new(config.resource_manager.as_str(), manager)?);
    let hosts = storage_hosts(config);
    let endpoint = AzureMl::new(ml, config.endpoint_hosts.clone(), Arc::clone(&manager)).with_logs_on(hosts.clone());
    let blobs = AzureBlobs::new(manager, Tokens::new(source, Arc::clone(&clock)), hosts.clone());
    Ok(App::new(Parts {
        ledger,
        endpoint: Arc::new(endpoint),
        blobs: Arc::new(blobs),
        rules: config.rules.clone(),
        storage_hosts: hosts,
        clock,
        retention: config.retention,
        orphan_scan_interval: config.orphan_scan_interval,
    }))
}

/// An examination of what the settings describe, by the app's identity or by whoever is signed in.
pub fn doctor(config: &Config, caller: Caller, facts: AppFacts, time: Duration, clock: Clock) -> Result<Doctor, Error> {
    let source = match caller {
        Caller::App => CredentialKind::ManagedIdentity { client_id: config.client_id.clone() },
        Caller::Operator => CredentialKind::SignedIn,
    }
    .source();
    let (manager, ml) = cloud_tokens(config, &source, &clock);
    let storage = (Tokens::new(Arc::clone(&source), Arc::clone(&clock)), storage_hosts(config));
    let hosts = config.endpoint_hosts.clone();
    let cloud = AzureCloud::new(config.resource_manager.as_str(), manager, (ml, hosts), storage)?;
    let ledger = store(&config.ledger, source, &clock, Access::Write)
        .and_then(|store| Ok((open(Arc::clone(&store), &config.task_hub, config.projection)?, store)))
        .map_err(|error| LedgerNotOpened(Box::new(error)));
    let ledger_account = match &config.ledger {
        LedgerLocation::Embedded(_) => None,
        LedgerLocation::Tables { auth: TablesAuth::SharedKeyLite { account, .. }, .. } => Some(account.clone()),
        LedgerLocation::Tables { url, .. } => {
            url.host_str().and_then(|host| host.split_once('.')).map(|(account, _)| account.to_owned())
        }
    };
    let rules = config.rules.iter().count();
    let installation = Installation {
        rules: config.rules.clone(),
        task_hub: config.task_hub.clone(),
        ledger_place: config.ledger.to_string(),
        queue_account: facts.queue_account.or_else(|| ledger_account.clone()),
        ledger_account,
        client_id: config.client_id.clone(),
        site: facts.site.or_else(|| config.host.resource_id.clone()),
        switched_off: facts.switched_off,
        sign_in_required: config.sign_in_required,
        storage_domain: storage_domain(config),
        settings: format!("{rules} {}, ledger at {}", if rules == 1 { "rule" } else { "rules" }, config.ledger),
        // Where outputs go is looked at: what the rules alone tell of it is not needed.
        warnings: config.warnings.iter().map(settings_warning).collect(),
    };
    let nonce = Uuid::new_v4().simple().to_string();
    Ok(Doctor { installation, cloud: Arc::new(cloud), ledger, caller, clock, nonce, time })
}

fn settings_warning(warning: &Warning) -> Finding {
    Finding::warning(Check::Settings, &warning.seen, &warning.cause, &warning.remedy)
}

/// Tokens for Resource Manager and for Azure Machine Learning, by the names that these have in the cloud.
fn cloud_tokens(
    config: &Config,
    source: &Arc<dyn TokenCredential>,
    clock: &Clock,
) -> (Tokens<ResourceManager>, Tokens<MachineLearning>) {
    let cloud = AzureCloudFacts::of(&config.resource_manager);
    let manager = cloud.map_or(ResourceManager::RESOURCE, |cloud| cloud.resource_manager);
    let ml = cloud.map_or(MachineLearning::RESOURCE, |cloud| cloud.ml_audience);
    let of = || (Arc::clone(source), Arc::clone(clock));
    let ((manager_source, manager_clock), (ml_source, ml_clock)) = (of(), of());
    (Tokens::of_resource(manager_source, manager_clock, manager), Tokens::of_resource(ml_source, ml_clock, ml))
}

/// What follows `ACCOUNT.blob.` in this cloud: as the ledger's address has it, or that of the public cloud.
fn storage_domain(config: &Config) -> Option<String> {
    if let LedgerLocation::Tables { url, .. } = &config.ledger
        && let Some((_, domain)) = url.host_str().and_then(|host| host.split_once(".table."))
    {
        return Some(domain.to_owned());
    }
    AzureCloudFacts::of(&config.resource_manager).map(|cloud| cloud.storage_domain.to_owned())
}

/// Hosts that blobs may lie on: the cloud's, and those that the settings name.
fn storage_hosts(config: &Config) -> StorageHosts {
    let cloud = storage_domain(config).map(|domain| StorageHosts::of_cloud(&domain)).unwrap_or_default();
    config.storage_hosts.iter().fold(cloud, |hosts, (host, reached)| hosts.and(host, reached.clone()))
}

/// The ledger alone, for commands that need nothing else of the app.
pub fn ledger_alone(settings: &LedgerSettings, clock: &Clock, access: Access) -> Result<Ledger, Error> {
    let kind = if settings.managed_identity {
        CredentialKind::ManagedIdentity { client_id: settings.client_id.clone() }
    } else {
        CredentialKind::SignedIn
    };
    if access == Access::Write {
        // A folder without a ledger is told of, not made into one.
        store(&settings.ledger, kind.source(), clock, Access::Read)?;
    }
    let store = store(&settings.ledger, kind.source(), clock, access)?;
    open(store, &settings.task_hub, settings.projection)
}

/// What is to be done with a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing is changed: an embedded ledger is opened read-only, beside the process that writes it.
    Read,
    /// Rows are changed, and an embedded ledger is made if it is not there.
    Write,
}

fn ledger(config: &Config, source: Arc<dyn TokenCredential>, clock: &Clock, access: Access) -> Result<Ledger, Error> {
    let store = store(&config.ledger, source, clock, access)?;
    open(store, &config.task_hub, config.projection)
}

fn open(store: Arc<dyn TableStore>, task_hub: &str, projection: bool) -> Result<Ledger, Error> {
    Ledger::new(store, &ledger_options(task_hub, projection)).map_err(Error::from)
}

/// The options of a ledger, with the randomness that they take.
pub(crate) fn ledger_options(task_hub: &str, projection: bool) -> LedgerOptions {
    LedgerOptions {
        task_hub: task_hub.to_owned(),
        // Unlike that of any other process ever: operation ids begin with it.
        writer: Uuid::new_v4().simple().to_string(),
        new_id: LedgerId::of_random(Uuid::new_v4().into_bytes()),
        projection,
    }
}

fn store(
    location: &LedgerLocation,
    source: Arc<dyn TokenCredential>,
    clock: &Clock,
    access: Access,
) -> Result<Arc<dyn TableStore>, Error> {
    match location {
        LedgerLocation::Embedded(folder) => {
            let opened = match access {
                Access::Read => EmbeddedStore::open_read_only(folder),
                Access::Write => EmbeddedStore::open(folder),
            };
            Ok(Arc::new(opened?))
        }
        LedgerLocation::Tables { url, auth } => {
            let auth = match auth {
                TablesAuth::Entra => Auth::Entra(Tokens::<Storage>::new(source, Arc::clone(clock))),
                TablesAuth::SharedKeyLite { account, key } => {
                    Auth::SharedKeyLite { account: account.clone(), key: key.expose().to_owned().into() }
                }
            };
            Ok(Arc::new(AzureTables::new(url, auth)?))
        }
    }
}
