//! Puts the parts together: the only place that chooses adapters, called by both hosts and by the command line.
//!
//! Nothing here talks to anybody: clients connect, and tokens are asked for, when first needed. That keeps the cold
//! start short and lets a handler start while Azure is away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use azure_core::Uuid;
use azure_core::credentials::TokenCredential;
use time::OffsetDateTime;

use crate::config::{
    AzureCloudFacts, Config, LedgerLocation, LedgerSettings, MAX_RULES_BYTES, RulesAccess, TablesAuth, Warning,
};
use crate::rules_in_blob::{CurrentApp, Look, Outputs, look};
use app::ledger::{Ledger, LedgerOptions};
use app::ports::table_store::TableStore;
use app::ports::{Clock, DeadLetters};
use app::{App, Parts};
use azure::batch_endpoint::AzureMl;
use azure::blobs::AzureBlobs;
use azure::by_identity::ByIdentity;
use azure::callbacks::HttpsCallbacks;
use azure::dead_letters::AzureDeadLetters;
use azure::management::AzureCloud;
use azure::resource_manager;
use azure::small_blob::SmallBlob;
use azure::tables::{Auth, AzureTables};
use azure::tokens::{Audience as _, Identity, MachineLearning, ManagedIdentity, ResourceManager, Storage, Tokens};
#[cfg(feature = "cli")]
use azure::upload::Upload;
use doctor::{
    AppFacts, AppIdentity, Caller, Check, Cloud, Doctor, Finding, FurtherIdentity, Installation, LedgerNotOpened,
    UserAssigned,
};
#[cfg(feature = "cli")]
use lifecycle::Rules;
use lifecycle::storage_hosts::ForeignHost;
use lifecycle::{EndpointHosts, IdentityName, LedgerId, StorageHosts};
#[cfg(feature = "cli")]
use stores::embedded::EmbeddedStore;
#[cfg(feature = "cli")]
use stores::memory::MemoryStore;
use url::Url;

/// Why the parts cannot be put together. Nothing was sent to anybody yet.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder of an embedded ledger cannot be opened: it is not there, not ours, or not a ledger.
    #[cfg(feature = "cli")]
    #[error(transparent)]
    Embedded(#[from] stores::embedded::OpenError),
    /// A ledger in a folder, of a build that is for the Functions host: what is written to that one's disk is gone with the instance.
    #[cfg(not(feature = "cli"))]
    #[error(
        "SCOREKEEPER_LEDGER: a ledger in a folder is for the command line, and this is the package for the Functions host, whose disk goes with the instance; name a table endpoint, https://ACCOUNT.table.core.windows.net"
    )]
    Embedded,
    /// The table endpoint or its key cannot be used.
    #[error(transparent)]
    Tables(#[from] azure::tables::SetupError),
    /// The ledger refuses its options.
    #[error("the ledger cannot be opened")]
    Ledger(#[from] app::ledger::InvalidTaskHub),
    /// The address of Azure Resource Manager cannot be used.
    #[error("Azure Resource Manager cannot be called")]
    ResourceManager(#[from] resource_manager::InvalidAddress),
    /// No token goes to where the rules lie.
    #[error("the rules (SCOREKEEPER_RULES) cannot be read")]
    SmallBlob(#[from] ForeignHost),
    /// No token goes to an endpoint that a person names.
    #[error(transparent)]
    Endpoint(#[from] lifecycle::endpoint_hosts::ForeignEndpointHost),
}

/// The machine's time: the one place that reads it. Everything below takes a clock, so that tests have their own.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's time for the app")]
pub fn system_clock() -> Clock {
    Arc::new(OffsetDateTime::now_utc)
}

/// The application as the settings want it.
pub fn app(config: &Config, clock: Clock) -> Result<CurrentApp, Error> {
    let source = source_of(&config.identity, Caller::App);
    let ledger = ledger(config, Arc::clone(&source), &clock, Access::Write)?;
    let hosts = storage_hosts(config);
    let clients = by_identity((&config.identity, &config.identities), Caller::App, |who| {
        Ok(Arc::new(Clients::new(who, (&config.resource_manager, &config.endpoint_hosts, &hosts), &clock)?))
    })?;
    let own = clients.own();
    let dead_letters = config.dead_letters.clone().map(|place| {
        let place = AzureDeadLetters::new(Arc::clone(&own.blobs), place, hosts.clone(), own.storage.clone());
        Arc::new(place) as Arc<dyn DeadLetters>
    });
    let storage = own.storage.clone();
    let parts = Parts {
        ledger,
        endpoint: Arc::new(clients.map(|clients| Arc::clone(&clients.endpoint))),
        blobs: Arc::new(clients.map(|clients| Arc::clone(&clients.blobs))),
        dead_letters,
        callbacks: Some(Arc::new(HttpsCallbacks::new(config.callback_hosts.clone()))),
        rules: config.rules.clone(),
        storage_hosts: hosts,
        clock,
        retention: config.retention,
        orphan_scan_interval: config.orphan_scan_interval,
    };
    let Some(in_blob) = &config.rules_in_blob else { return Ok(App::new(parts).into()) };
    let blob = SmallBlob::new(&in_blob.url, &parts.storage_hosts, storage, MAX_RULES_BYTES)?;
    let allowed = in_blob.allowed(storage_hosts(config));
    Ok(CurrentApp::in_blob(
        parts,
        (blob, allowed, Outputs::new(clients.map(|clients| Arc::clone(&clients.manager)))),
        in_blob.interval,
    ))
}

/// Somebody who asks: by which source of tokens, and under which name if it is not the app itself.
struct Who<'a> {
    source: Arc<dyn TokenCredential>,
    name: Option<&'a IdentityName>,
}

/// Something for the app itself, and for each further identity. Whoever is signed in is the same for all.
fn by_identity<T>(
    (own, others): (&Identity, &BTreeMap<IdentityName, Identity>),
    caller: Caller,
    make: impl Fn(&Who<'_>) -> Result<Arc<T>, Error>,
) -> Result<ByIdentity<T>, Error> {
    let own = make(&Who { source: source_of(own, caller), name: None })?;
    let others = others.iter().map(|(name, identity)| {
        Ok((name.clone(), make(&Who { source: source_of(identity, caller), name: Some(name) })?))
    });
    Ok(ByIdentity::new(own, others.collect::<Result<_, Error>>()?))
}

/// What asks Azure as one identity: each has tokens of its own.
struct Clients {
    manager: Arc<resource_manager::Client>,
    endpoint: Arc<AzureMl>,
    blobs: Arc<AzureBlobs>,
    storage: Tokens<Storage>,
}

impl Clients {
    fn new(
        who: &Who<'_>,
        (resource_manager, endpoint_hosts, storage_hosts): (&Url, &EndpointHosts, &StorageHosts),
        clock: &Clock,
    ) -> Result<Self, Error> {
        let (manager, ml) = cloud_tokens(resource_manager, who, clock);
        let manager = Arc::new(resource_manager::Client::new(resource_manager.as_str(), manager)?);
        let endpoint = AzureMl::new(ml, endpoint_hosts.clone(), Arc::clone(&manager));
        let storage = storage_tokens(who, clock);
        let blobs = AzureBlobs::new(Arc::clone(&manager), storage.clone(), storage_hosts.clone());
        let endpoint = Arc::new(endpoint.with_logs_on(storage_hosts.clone()));
        Ok(Self { manager, endpoint, blobs: Arc::new(blobs), storage })
    }
}

fn storage_tokens(who: &Who<'_>, clock: &Clock) -> Tokens<Storage> {
    Tokens::of_identity(Arc::clone(&who.source), Arc::clone(clock), Storage::RESOURCE, who.name)
}

/// Looks at the blob that the rules lie in; `None` if they lie in none.
pub async fn rules_seen(config: &Config, caller: Caller, clock: &Clock) -> Result<Option<Look>, Error> {
    let Some(in_blob) = &config.rules_in_blob else { return Ok(None) };
    let tokens = Tokens::new(source_of(&config.identity, caller), Arc::clone(clock));
    let blob = SmallBlob::new(&in_blob.url, &storage_hosts(config), tokens, MAX_RULES_BYTES)?;
    Ok(Some(look(&blob, &in_blob.allowed(storage_hosts(config))).await))
}

/// The blob of this URL, for a command that reads or writes it.
pub fn rules_blob(access: &RulesAccess, url: &Url, caller: Caller, clock: &Clock) -> Result<SmallBlob, Error> {
    let tokens = Tokens::new(source_of(&access.identity, caller), Arc::clone(clock));
    Ok(SmallBlob::new(url, &access.hosts, tokens, MAX_RULES_BYTES)?)
}

fn source_of(identity: &Identity, caller: Caller) -> Arc<dyn TokenCredential> {
    match caller {
        Caller::App => identity.source(),
        Caller::Operator => Identity::SignedIn.source(),
    }
}

/// An examination of what the settings describe, by the app's identity or by whoever is signed in.
pub fn doctor(config: &Config, caller: Caller, facts: AppFacts, time: Duration, clock: Clock) -> Result<Doctor, Error> {
    let clouds = by_identity((&config.identity, &config.identities), caller, |who| {
        let (manager, ml) = cloud_tokens(&config.resource_manager, who, &clock);
        let storage = (storage_tokens(who, &clock), storage_hosts(config));
        let hosts = config.endpoint_hosts.clone();
        Ok(Arc::new(AzureCloud::new(config.resource_manager.as_str(), manager, (ml, hosts), storage)?))
    })?;
    let further = clouds.others().zip(config.identities.values());
    let others = further.map(|((name, cloud), identity)| FurtherIdentity {
        name: name.clone(),
        identity: examined(identity),
        cloud: Arc::clone(cloud) as Arc<dyn Cloud>,
    });
    let others = others.collect();
    let cloud = Arc::clone(clouds.own());
    let tokens = Tokens::new(source_of(&config.identity, caller), Arc::clone(&clock));
    let ledger = store(&config.ledger, &tokens, Access::Write)
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
        rules_blob: None,
        task_hub: config.task_hub.clone(),
        ledger_place: config.ledger.to_string(),
        queue_account: facts.queue_account.or_else(|| ledger_account.clone()),
        ledger_account,
        identity: examined(&config.identity),
        site: facts.site.or_else(|| config.host.resource_id.clone()),
        switched_off: facts.switched_off,
        sign_in_required: config.sign_in_required,
        storage_domain: storage_domain(config),
        storage_hosts: storage_hosts(config),
        settings: format!(
            "{rules} {}, ledger at {}; HTTP functions {}; page {}",
            if rules == 1 { "rule" } else { "rules" },
            config.ledger,
            if config.http { "on (SCOREKEEPER_HTTP)" } else { "off (SCOREKEEPER_HTTP=on switches them on)" },
            match (config.page, config.sign_in_required) {
                (true, true) => "open at /api/ops/ to whoever signs in (SCOREKEEPER_PAGE)",
                (true, false) => "shown to nobody, as SCOREKEEPER_SIGN_IN is off: deploy with app.authentication",
                (false, _) => "off (app.page with app.authentication opens it; `scorekeeper ui` needs neither)",
            }
        ),
        // Where outputs go is looked at: what the rules alone tell of it is not needed.
        warnings: config.warnings.iter().map(settings_warning).collect(),
    };
    let own = Who { source: source_of(&config.identity, caller), name: None };
    let at = (&config.resource_manager, &config.endpoint_hosts, &installation.storage_hosts);
    let blobs = Clients::new(&own, at, &clock)?.blobs;
    let nonce = Uuid::new_v4().simple().to_string();
    Ok(Doctor { installation, cloud, blobs, others, ledger, caller, clock, nonce, time })
}

/// The app's identity as the doctor looks for it.
fn examined(identity: &Identity) -> AppIdentity {
    match identity.clone() {
        Identity::Managed(ManagedIdentity::SystemAssigned) | Identity::Endpoint(_) => AppIdentity::SystemAssigned,
        Identity::Managed(ManagedIdentity::ClientId(id)) => AppIdentity::UserAssigned(UserAssigned::ClientId(id)),
        Identity::Managed(ManagedIdentity::ObjectId(id)) => AppIdentity::UserAssigned(UserAssigned::ObjectId(id)),
        Identity::Managed(ManagedIdentity::ResourceId(id)) => AppIdentity::UserAssigned(UserAssigned::ResourceId(id)),
        Identity::ServicePrincipal(principal) => AppIdentity::ServicePrincipal { client_id: principal.client_id },
        Identity::SignedIn => AppIdentity::SignedIn,
    }
}

fn settings_warning(warning: &Warning) -> Finding {
    Finding::warning(Check::Settings, &warning.seen, &warning.cause, &warning.remedy)
}

/// Tokens for Resource Manager and for Azure Machine Learning, by the names that these have in the cloud.
fn cloud_tokens(
    resource_manager: &Url,
    who: &Who<'_>,
    clock: &Clock,
) -> (Tokens<ResourceManager>, Tokens<MachineLearning>) {
    let cloud = AzureCloudFacts::of(resource_manager);
    let manager = cloud.map_or(ResourceManager::RESOURCE, |cloud| cloud.resource_manager);
    let ml = cloud.map_or(MachineLearning::RESOURCE, |cloud| cloud.ml_audience);
    let source = || (Arc::clone(&who.source), Arc::clone(clock));
    let ((manager_source, manager_clock), (ml_source, ml_clock)) = (source(), source());
    (
        Tokens::of_identity(manager_source, manager_clock, manager, who.name),
        Tokens::of_identity(ml_source, ml_clock, ml, who.name),
    )
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
    let hosts = config.storage_hosts.iter().fold(cloud, |hosts, (host, reached)| hosts.and(host, reached.clone()));
    config.watched_accounts.iter().fold(hosts, |hosts, account| hosts.watching(account))
}

/// Blobs of outputs, for whoever downloads them.
pub fn outputs(access: &RulesAccess, caller: Caller, clock: &Clock) -> Result<ByIdentity<AzureBlobs>, Error> {
    by_identity((&access.identity, &access.identities), caller, |who| {
        let at = (&access.resource_manager, &access.endpoint_hosts, &access.hosts);
        Ok(Clients::new(who, at, clock)?.blobs)
    })
}

/// A blob that a person uploads to.
#[cfg(feature = "cli")]
pub fn upload(access: &RulesAccess, url: &str, caller: Caller, clock: &Clock) -> Result<Upload, Error> {
    let tokens = Tokens::new(source_of(&access.identity, caller), Arc::clone(clock));
    Ok(Upload::new(url, &access.hosts, tokens)?)
}

/// An app for what a person runs by themselves, at an endpoint that they name and as who they are. Its ledger is in memory.
#[cfg(feature = "cli")]
pub fn app_of_person<'a>(
    access: &RulesAccess,
    rules: Rules,
    blobs: impl Iterator<Item = &'a lifecycle::UnversionedBlob>,
    caller: Caller,
    clock: &Clock,
) -> Result<App, Error> {
    for rule in &rules {
        access.endpoint_hosts.check(rule.endpoint.uri.url())?;
    }
    // The host of each, as nobody says which account it is by name alone.
    let host = |blob: &lifecycle::UnversionedBlob| Url::parse(&blob.url).ok()?.host_str().map(str::to_owned);
    let hosts = blobs.filter_map(host).fold(access.hosts.clone(), |hosts, host| hosts.watching(&host));
    let who = Who { source: source_of(&access.identity, caller), name: None };
    let at = (&access.resource_manager, &access.endpoint_hosts, &hosts);
    let Clients { endpoint, blobs, .. } = Clients::new(&who, at, clock)?;
    Ok(App::new(Parts {
        dead_letters: None,
        ledger: open(Arc::new(MemoryStore::new()), "Scorekeeper", false)?,
        endpoint,
        blobs,
        callbacks: None,
        rules,
        storage_hosts: hosts,
        clock: Clock::clone(clock),
        retention: time::Duration::days(30),
        orphan_scan_interval: None,
    }))
}

/// A ledger, for commands that need nothing else of the app.
pub struct LedgerAlone {
    /// Read-only or for writing, as the command has asked for it.
    pub ledger: Ledger,
    /// By which it is reached, where it is by a token.
    tokens: Option<Tokens<Storage>>,
}

impl LedgerAlone {
    /// Who reaches it, where a token says so.
    pub async fn holder(&self) -> Option<String> {
        // Why there is none is told when the ledger is asked for something.
        self.tokens.as_ref()?.get().await.ok()?.holder()
    }
}

/// Opens a ledger without the app around it. A folder without a ledger is an error, also for [`Access::Write`].
pub fn ledger_alone(settings: &LedgerSettings, clock: &Clock, access: Access) -> Result<LedgerAlone, Error> {
    let tokens = Tokens::new(settings.identity.source(), Arc::clone(clock));
    if access == Access::Write {
        // A folder without a ledger is told of, not made into one.
        store(&settings.ledger, &tokens, Access::Read)?;
    }
    let store = store(&settings.ledger, &tokens, access)?;
    let ledger = open(store, &settings.task_hub, settings.projection)?;
    let by_token = matches!(settings.ledger, LedgerLocation::Tables { auth: TablesAuth::Entra, .. });
    Ok(LedgerAlone { ledger, tokens: by_token.then_some(tokens) })
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
    let store = store(&config.ledger, &Tokens::new(source, Arc::clone(clock)), access)?;
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

#[cfg_attr(not(feature = "cli"), expect(unused_variables, reason = "only a folder is opened in one way or the other"))]
fn store(location: &LedgerLocation, tokens: &Tokens<Storage>, access: Access) -> Result<Arc<dyn TableStore>, Error> {
    match location {
        #[cfg(not(feature = "cli"))]
        LedgerLocation::Embedded(_) => Err(Error::Embedded),
        #[cfg(feature = "cli")]
        LedgerLocation::Embedded(folder) => {
            let opened = match access {
                Access::Read => EmbeddedStore::open_read_only(folder),
                Access::Write => EmbeddedStore::open(folder),
            };
            Ok(Arc::new(opened?))
        }
        LedgerLocation::Tables { url, auth } => {
            let auth = match auth {
                TablesAuth::Entra => Auth::Entra(tokens.clone()),
                TablesAuth::SharedKeyLite { account, key } => {
                    Auth::SharedKeyLite { account: account.clone(), key: key.expose().to_owned().into() }
                }
            };
            Ok(Arc::new(AzureTables::new(url, auth)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use azure_core::credentials::{AccessToken, TokenRequestOptions};
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use time::macros::datetime;

    /// Gives this token, or none.
    #[derive(Debug)]
    struct Source(Option<String>);

    #[async_trait::async_trait]
    impl TokenCredential for Source {
        async fn get_token(
            &self,
            _scopes: &[&str],
            _options: Option<TokenRequestOptions<'_>>,
        ) -> azure_core::Result<AccessToken> {
            let none = || azure_core::Error::with_message(azure_core::error::ErrorKind::Credential, "not signed in");
            Ok(AccessToken::new(self.0.clone().ok_or_else(none)?, datetime!(2026-07-21 12:00 UTC)))
        }
    }

    #[tokio::test]
    async fn whoever_reaches_a_ledger_by_a_token_is_known_by_it_and_nobody_else_is() {
        let clock: Clock = Arc::new(|| datetime!(2026-07-21 10:00 UTC));
        let of = |source: Option<Source>| LedgerAlone {
            ledger: open(Arc::new(MemoryStore::new()), "Scorekeeper", false).unwrap(),
            tokens: source.map(|source| Tokens::new(Arc::new(source), Arc::clone(&clock))),
        };
        let claims = URL_SAFE_NO_PAD.encode(r#"{"upn":"ann@contoso.com","appid":"04b07795"}"#);
        let ann = of(Some(Source(Some(format!("e30.{claims}.SIGNATURE")))));
        assert_eq!(ann.holder().await.as_deref(), Some("ann@contoso.com"));
        assert_eq!(of(Some(Source(Some("opaque".to_owned())))).holder().await, None);
        assert_eq!(of(Some(Source(None))).holder().await, None);
        assert_eq!(of(None).holder().await, None, "a folder asks for no token");
    }
}
