//! Puts the parts together: the only place that chooses adapters, called by both mains and by the CLI.
//!
//! Nothing here talks to anybody: clients connect, and tokens are asked for, when first needed. That keeps the cold
//! start short and lets a handler start while Azure is away.

use std::sync::Arc;
use std::time::Duration;

use azure_core::Uuid;
use azure_core::credentials::TokenCredential;

use crate::config::{Config, LedgerLocation, LedgerSettings, TablesAuth};
use app::ledger::{Ledger, LedgerOptions};
use app::ports::Clock;
use app::ports::table_store::TableStore;
use app::{App, Parts, error_chain};
use azure::batch_endpoint::AzureMl;
use azure::blobs::AzureBlobs;
use azure::management::AzureCloud;
use azure::tables::{Auth, AzureTables};
use azure::tokens::{CredentialKind, Storage, Tokens};
use azure::{http, resource_manager};
use doctor::{AppFacts, Caller, Doctor, Installation};
use stores::embedded::EmbeddedStore;

/// The application as the settings want it.
pub fn app(config: &Config, clock: Clock) -> Result<App, String> {
    let source = CredentialKind::ManagedIdentity { client_id: config.client_id.clone() }.source();
    let ledger = ledger(config, Arc::clone(&source), &clock, Access::Write)?;
    let manager = Tokens::new(Arc::clone(&source), Arc::clone(&clock));
    let manager = resource_manager::Client::new(config.resource_manager.as_str(), manager);
    let manager = Arc::new(manager.map_err(|error| error_chain(&error))?);
    let endpoint = AzureMl::new(Tokens::new(Arc::clone(&source), Arc::clone(&clock)), Arc::clone(&manager));
    let blobs = AzureBlobs::new(manager, Tokens::new(source, Arc::clone(&clock)));
    Ok(App::new(Parts {
        ledger,
        endpoint: Arc::new(endpoint),
        blobs: Arc::new(blobs),
        rules: config.rules.clone(),
        clock,
        retention: config.retention,
        orphan_scan_interval: config.orphan_scan_interval,
    }))
}

/// An examination of what the settings describe, by the app's identity or by whoever is signed in.
pub fn doctor(
    config: &Config,
    caller: Caller,
    facts: AppFacts,
    time: Duration,
    clock: Clock,
) -> Result<Doctor, String> {
    let source = match caller {
        Caller::App => CredentialKind::ManagedIdentity { client_id: config.client_id.clone() },
        Caller::Operator => CredentialKind::SignedIn,
    }
    .source();
    let cloud = AzureCloud::new(
        config.resource_manager.as_str(),
        Tokens::new(Arc::clone(&source), Arc::clone(&clock)),
        Tokens::new(Arc::clone(&source), Arc::clone(&clock)),
        Tokens::new(Arc::clone(&source), Arc::clone(&clock)),
    )
    .map_err(|error| error_chain(&error))?;
    let ledger = store(&config.ledger, source, &clock, Access::Write)
        .and_then(|store| Ok((open(Arc::clone(&store), &config.task_hub, config.projection)?, store)));
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
        storage_domain: storage_domain(config),
        settings: format!("{rules} {}, ledger at {}", if rules == 1 { "rule" } else { "rules" }, config.ledger),
        warnings: config.warnings.clone(),
    };
    let nonce = Uuid::new_v4().simple().to_string();
    Ok(Doctor { installation, cloud: Arc::new(cloud), ledger, caller, clock, nonce, time })
}

/// What follows `ACCOUNT.blob.` in this cloud: as the ledger's address has it, or that of the public cloud.
fn storage_domain(config: &Config) -> Option<String> {
    if let LedgerLocation::Tables { url, .. } = &config.ledger
        && let Some((_, domain)) = url.host_str().and_then(|host| host.split_once(".table."))
    {
        return Some(domain.to_owned());
    }
    (config.resource_manager.as_str().trim_end_matches('/') == resource_manager::PUBLIC_CLOUD)
        .then(|| "core.windows.net".to_owned())
}

/// The ledger alone, for those who only read it.
pub fn ledger_to_read(settings: &LedgerSettings, clock: &Clock) -> Result<Ledger, String> {
    ledger_alone(settings, clock, Access::Read)
}

/// The ledger alone, for commands that change something: a person's word, a limit.
pub fn ledger_to_change(settings: &LedgerSettings, clock: &Clock) -> Result<Ledger, String> {
    ledger_alone(settings, clock, Access::Write)
}

fn ledger_alone(settings: &LedgerSettings, clock: &Clock, access: Access) -> Result<Ledger, String> {
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

fn ledger(config: &Config, source: Arc<dyn TokenCredential>, clock: &Clock, access: Access) -> Result<Ledger, String> {
    let store = store(&config.ledger, source, clock, access)?;
    open(store, &config.task_hub, config.projection)
}

fn open(store: Arc<dyn TableStore>, task_hub: &str, projection: bool) -> Result<Ledger, String> {
    // Unlike that of any other process ever: operation ids begin with it.
    let writer = Uuid::new_v4().simple().to_string();
    Ledger::new(store, &LedgerOptions { task_hub: task_hub.to_owned(), writer, projection })
}

fn store(
    location: &LedgerLocation,
    source: Arc<dyn TokenCredential>,
    clock: &Clock,
    access: Access,
) -> Result<Arc<dyn TableStore>, String> {
    match location {
        LedgerLocation::Embedded(folder) => {
            let opened = match access {
                Access::Read => EmbeddedStore::open_read_only(folder),
                Access::Write => EmbeddedStore::open(folder),
            };
            Ok(Arc::new(opened.map_err(|error| error_chain(&error))?))
        }
        LedgerLocation::Tables { url, auth } => {
            let auth = match auth {
                TablesAuth::Entra => Auth::Entra(Tokens::<Storage>::new(source, Arc::clone(clock))),
                TablesAuth::SharedKeyLite { account, key } => {
                    Auth::SharedKeyLite { account: account.clone(), key: key.expose().to_owned().into() }
                }
            };
            Ok(Arc::new(AzureTables::new(url, auth, http::transport()).map_err(|error| error_chain(&error))?))
        }
    }
}
