//! Rules that lie in a blob: which one, and what those may name who write it.

use std::collections::BTreeMap;
use std::str::FromStr;

use azure::tokens::Identity;
use lifecycle::EndpointHosts;
use lifecycle::UnversionedBlob;
use lifecycle::duration::IsoDuration;
use lifecycle::id::{AccountName, DatastoreName};
use lifecycle::rule::Allowed;
use lifecycle::{EndpointUri, IdentityName, StorageHosts, WorkspaceId};
use time::Duration;
use url::Url;

use super::identity::RunBy;
use super::problems::Refused;
use super::{AzureCloudFacts, Problem, Problems, Reader, Source, Vars, hosts};

/// Larger is no rules file but a mistaken path.
pub const MAX_RULES_BYTES: usize = 1024 * 1024;

/// A problem that lasts is recorded each time; `status` takes one that nobody has seen for ten minutes for over.
const MAX_INTERVAL: Duration = Duration::minutes(5);

pub(super) const ENDPOINTS: &str = "SCOREKEEPER_RULES_ALLOW_ENDPOINTS";
pub(super) const ACCOUNTS: &str = "SCOREKEEPER_RULES_ALLOW_ACCOUNTS";
pub(super) const DATASTORES: &str = "SCOREKEEPER_RULES_ALLOW_DATASTORES";
pub(super) const WORKSPACES: &str = "SCOREKEEPER_RULES_ALLOW_WORKSPACES";
pub(super) const IDENTITIES: &str = "SCOREKEEPER_RULES_ALLOW_IDENTITIES";
pub(super) const INTERVAL: &str = "SCOREKEEPER_RULES_INTERVAL";

/// The blob that the rules lie in, and what they may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulesInBlob {
    /// URL of the blob that `SCOREKEEPER_RULES` names.
    pub url: Url,
    /// The same by its names.
    pub blob: UnversionedBlob,
    /// Batch endpoints that its rules may name (`SCOREKEEPER_RULES_ALLOW_ENDPOINTS`).
    pub endpoints: Vec<EndpointUri>,
    /// Storage accounts whose blobs its rules may watch and read (`SCOREKEEPER_RULES_ALLOW_ACCOUNTS`).
    pub accounts: Vec<AccountName>,
    /// Datastores that its rules may read from and write to (`SCOREKEEPER_RULES_ALLOW_DATASTORES`).
    pub datastores: Vec<DatastoreName>,
    /// Workspaces that its rules may name (`SCOREKEEPER_RULES_ALLOW_WORKSPACES`).
    pub workspaces: Vec<WorkspaceId>,
    /// Identities beside the app's own.
    pub identities: Vec<IdentityName>,
    /// For how long rules that were read are believed.
    pub interval: Duration,
    /// Storage accounts that the app has for itself.
    pub own: Vec<AccountName>,
}

impl RulesInBlob {
    /// What its rules may name, where blobs lie on these hosts.
    pub fn allowed(&self, hosts: StorageHosts) -> Allowed {
        let Self { blob, endpoints, accounts, datastores, workspaces, identities, own, .. } = self.clone();
        Allowed { endpoints, accounts, datastores, workspaces, identities, hosts, blob, own }
    }
}

/// What a command needs that reads or writes rules in a blob, and nothing else of an app.
#[derive(Debug)]
pub struct RulesAccess {
    /// Who the app is to Azure.
    pub identity: Identity,
    /// Who else rules may have an endpoint asked as.
    pub identities: BTreeMap<IdentityName, Identity>,
    /// Hosts that blobs may lie on.
    pub hosts: StorageHosts,
    /// Base URL of Azure Resource Manager; it also tells which of Azure's clouds this is.
    pub resource_manager: Url,
    /// Hosts that a token for Azure Machine Learning may go to.
    pub endpoint_hosts: EndpointHosts,
    /// The blob that the settings name, and what its rules may name; `None`: the settings say nothing of it.
    pub in_blob: Option<RulesInBlob>,
}

impl RulesAccess {
    /// Reads these settings alone; what is wrong with others is no problem here.
    pub fn read(vars: &dyn Vars) -> Result<Self, Problems> {
        let mut reader = Reader { vars, problems: Vec::new(), settings: Vec::new() };
        let manager = reader.resource_manager();
        let identity = reader.identity(&manager, RunBy::Person);
        let identities = reader.further_identities(&manager, None);
        let cloud = AzureCloudFacts::of(&manager).map(|cloud| StorageHosts::of_cloud(cloud.storage_domain));
        let named = reader.read("SCOREKEEPER_STORAGE_HOSTS", "", hosts::read);
        let hosts =
            named.into_iter().fold(cloud.unwrap_or_default(), |hosts, (host, reached)| hosts.and(&host, reached));
        let endpoint_hosts = reader.endpoint_hosts(&manager, None, None);
        let in_blob = reader.blob_of_rules().and_then(|url| reader.rules_in_blob(&url));
        match identity {
            Some(identity) if reader.problems.is_empty() => {
                Ok(Self { identity, identities, hosts, resource_manager: manager, endpoint_hosts, in_blob })
            }
            _ => Err(Problems(reader.problems)),
        }
    }
}

/// The URL of a blob that was given on the command line.
pub fn given_blob(name: &str, text: &str) -> Result<(Url, UnversionedBlob), Problems> {
    let refused = |refused| Problems(vec![Problem::new(name, Some(text), refused)]);
    if is_url(text) {
        blob(text).map_err(refused)
    } else {
        Err(refused(Refused::new("a blob's URL", "write https://ACCOUNT.blob.core.windows.net/CONTAINER/rules.json")))
    }
}

/// Whether rules are named by a URL.
pub fn is_url(text: &str) -> bool {
    text.get(.."https://".len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}

/// The blob of a URL.
fn blob(text: &str) -> Result<(Url, UnversionedBlob), Refused> {
    let refused = |why: String| {
        let expected = format!("a blob with the rules, https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH ({why})");
        Refused::new(expected, "name the blob alone, without a SAS: the app's identity reads it")
    };
    let url = Url::parse(text).map_err(|why| refused(why.to_string()))?;
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(refused("it has more than host and path".to_owned()));
    }
    let blob = UnversionedBlob::read(text).map_err(|why| refused(why.to_string()))?;
    Ok((url, blob))
}

impl Reader<'_> {
    /// The URL of the blob that the rules lie in, if the setting names one.
    pub(super) fn blob_of_rules(&self) -> Option<String> {
        self.get(super::rules::NAME).filter(|text| is_url(text))
    }

    pub(super) fn rules_in_blob(&mut self, text: &str) -> Option<RulesInBlob> {
        let named = match blob(text) {
            Ok(named) => {
                self.understood(super::rules::NAME, text, Source::Variable(super::rules::NAME.to_owned()));
                Some(named)
            }
            Err(refused) => {
                self.problem(super::rules::NAME, Some(text), refused);
                None
            }
        };
        let one = "SCOREKEEPER_RULES names a blob, and whoever writes it must not choose where tokens go";
        let endpoints = self.some(ENDPOINTS, "https://ENDPOINT.REGION.inference.ml.azure.com/jobs", one);
        let accounts = self.some(ACCOUNTS, "ACCOUNT", one);
        let datastores = self.read(DATASTORES, "workspaceblobstore", |text| list(text, "DATASTORE"));
        let workspaces = self.some(WORKSPACES, "/subscriptions/…/workspaces/NAME", one);
        let identities = self.read(IDENTITIES, "", |text| list(text, "NAME"));
        let interval = self.read(INTERVAL, "PT1M", interval);
        let (url, blob) = named?;
        let own = self.own_accounts();
        Some(RulesInBlob { url, blob, endpoints, accounts, datastores, workspaces, identities, interval, own })
    }

    /// A list that must not be empty.
    fn some<T: FromStr<Err: std::error::Error>>(&mut self, name: &'static str, form: &str, why: &str) -> Vec<T> {
        if self.get(name).is_none() {
            let remedy = format!("write those that they may name, with commas between: {form}");
            self.problem(name, None, Refused::new(format!("what rules may name: {why}"), remedy));
            return Vec::new();
        }
        self.read(name, "", |text| list(text, form))
    }
}

fn list<T: FromStr<Err: std::error::Error>>(text: &str, form: &str) -> Result<Vec<T>, Refused> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            entry.parse().map_err(|why: T::Err| {
                Refused::new(format!("a list with commas between ({why})"), format!("write for each {form}"))
            })
        })
        .collect()
}

fn interval(text: &str) -> Result<Duration, Refused> {
    let remedy = "leave it out for PT1M";
    let IsoDuration(period) =
        text.parse::<IsoDuration>().map_err(|why| Refused::new(format!("a duration ({why})"), remedy))?;
    if (Duration::ZERO..=MAX_INTERVAL).contains(&period) {
        Ok(period)
    } else {
        Err(Refused::new("from PT0S to PT5M", remedy))
    }
}
