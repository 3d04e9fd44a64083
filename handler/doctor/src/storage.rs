//! Storage accounts and their containers: where they are, whether they are there, and whether the app may read them.

use serde_json::Value;

use crate::access::{Permission, own_rights, rights};
use crate::cloud::CloudQueries;
use crate::examination::Examination;
use crate::finding::{Check, Finding};
use crate::installation::Caller;
use crate::permissions::READ_BLOBS;
use crate::remedy::{ResourceId, deploy_or_ask, shell};
use crate::unseen::NotSeen;
use crate::workspace::PAGES;
use app::ports::Inconclusive;
use app::ports::management::{Audience, QueryError};

pub(super) const STORAGE: &str = "2025-06-01";
const SUBSCRIPTIONS: &str = "2022-12-01";
/// Subscriptions that are searched for an account.
const MAX_SUBSCRIPTIONS: usize = 20;

/// A storage account as Resource Manager shows it.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) id: String,
    pub(super) document: Value,
}

impl Account {
    pub(super) fn container(&self, name: &str) -> String {
        format!("{}/blobServices/default/containers/{name}", self.id)
    }
}

/// A container by the names of it and of its storage account.
#[derive(Debug, Clone, Copy)]
pub(super) struct ContainerName<'a> {
    pub(super) account: &'a str,
    pub(super) container: &'a str,
}

impl CloudQueries {
    /// Subscriptions that whoever looks can see.
    pub(super) async fn subscriptions(&self) -> Result<Vec<String>, QueryError> {
        let listed = self.list("/subscriptions", SUBSCRIPTIONS, None, 1).await?;
        let ids = listed.items.iter().filter_map(|one| one.get("subscriptionId").and_then(Value::as_str));
        Ok(ids.map(str::to_owned).collect())
    }
}

impl Examination {
    /// Subscriptions in which accounts and topics may lie: those of what is named first, then whatever can be seen.
    pub(super) async fn subscriptions(&self) -> Vec<String> {
        let workspaces = self.asking().filter_map(|rule| rule.endpoint.workspace.as_deref());
        let named = self.at.site.as_deref().into_iter().chain(workspaces);
        let mut all: Vec<String> =
            named.filter_map(ResourceId::read).map(|id| id.subscription.to_ascii_lowercase()).collect();
        all.extend(self.queries.subscriptions().await.unwrap_or_default().iter().map(|id| id.to_ascii_lowercase()));
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|id| seen.insert(id.clone()));
        all.truncate(MAX_SUBSCRIPTIONS);
        all
    }

    /// The account of this name; the error says why it was not seen and what would be needed.
    pub(super) async fn account(&self, name: &str) -> Result<Account, NotSeen> {
        let needed = format!("the role Reader on the storage account {name} for whoever looks");
        if let Some(reason) = self.no_token_reason(Audience::ResourceManager) {
            return Err(NotSeen { why: reason.to_string(), needed: "see there".to_owned() });
        }
        let subscriptions = self.subscriptions().await;
        for subscription in &subscriptions {
            let path = format!("/subscriptions/{subscription}/providers/Microsoft.Storage/storageAccounts");
            let Ok(listed) = self.queries.list(&path, STORAGE, None, PAGES).await else { continue };
            let is_it = |one: &&Value| {
                one.get("name").and_then(Value::as_str).is_some_and(|its| its.eq_ignore_ascii_case(name))
            };
            if let Some(document) = listed.items.iter().find(is_it)
                && let Some(id) = document.get("id").and_then(Value::as_str)
            {
                return Ok(Account { id: id.to_owned(), document: document.clone() });
            }
        }
        // An account that may not be read is left out of the list, as one that is not there.
        let why = format!("no storage account {name} is to be seen in {} subscriptions", subscriptions.len());
        Err(NotSeen { why, needed })
    }

    /// Where blobs of a container are read.
    pub(super) async fn blob_url(&self, place: ContainerName<'_>) -> Option<String> {
        let ContainerName { account, container } = place;
        let told = self.account(account).await.ok().and_then(|account| {
            account.document.pointer("/properties/primaryEndpoints/blob").and_then(Value::as_str).map(str::to_owned)
        });
        let base =
            told.or_else(|| self.at.storage_domain.as_ref().map(|domain| format!("https://{account}.blob.{domain}")))?;
        Some(format!("{}/{container}", base.trim_end_matches('/')))
    }

    /// Whether the app may do something with the data at a scope in an account, by its roles.
    pub(super) async fn app_may(&self, account: &str, below: impl Fn(&Account) -> String, action: &str) -> Permission {
        let scope = match self.account(account).await {
            Ok(account) => below(&account),
            Err(NotSeen { why, .. }) => return Permission::Unknown(why),
        };
        let rights = match (self.subject.caller, &self.subject.principal) {
            (Caller::App, _) => own_rights(&self.queries, &scope).await,
            (Caller::Operator, Some(principal)) => rights(&self.queries, principal, &scope).await,
            (Caller::Operator, None) => {
                return Permission::Unknown("the app's identity is not known (--app)".to_owned());
            }
        };
        match rights {
            Ok(rights) => rights.on_data(action),
            Err(error) => Permission::Unknown(error.to_string()),
        }
    }

    /// Whether the container is there and the app may read it. `url` is where it is.
    pub(super) async fn readable(&self, check: Check, place: ContainerName<'_>, url: Option<String>) -> Finding {
        let ContainerName { account, container } = place;
        let Some(url) = url else {
            if let Some(reason) = self.no_token_reason(Audience::ResourceManager) {
                return Finding::skipped(check, reason);
            }
            let NotSeen { why, needed } = self.account(account).await.err().unwrap_or_default();
            return Finding::unknown(check, why, needed);
        };
        if let Some(reason) = self.no_token_reason(Audience::Storage) {
            return Finding::skipped(check, reason);
        }
        let absent = || {
            Finding::fault(
                check,
                format!("the account {account} has no container {container}"),
                "it was not made, or its name is misspelt",
                format!(
                    "az storage container create --auth-mode login --account-name {} --name {}",
                    shell(account),
                    shell(container)
                ),
            )
        };
        let denied = |seen: String| {
            Finding::fault(
                check,
                seen,
                "the app's identity has no right to read blobs there, or has it for less than ten minutes",
                deploy_or_ask(
                    &format!("{} among watchedAccounts or outputAccountResourceIds", shell(account)),
                    "Storage Blob Data Reader",
                    format_args!("the app's identity {}", self.subject.assignee),
                    format_args!("the storage account {account}"),
                ),
            )
        };
        let looked = self.queries.container(&url).await;
        if matches!(looked, Err(QueryError::Missing(_))) {
            return absent();
        }
        // An emulator may not want a token, so that its answer says nothing about rights.
        if self.subject.caller == Caller::Operator || (looked.is_ok() && !url.starts_with("https:")) {
            let may = self.app_may(account, |account| account.container(container), READ_BLOBS).await;
            return match (may, looked) {
                (Permission::No, _) => {
                    denied(format!("the app's identity has no role that reads {account}/{container}"))
                }
                (Permission::Unknown(why), _) => Finding::unknown(
                    check,
                    format!("whether the app may read {account}/{container} is not known: {why}"),
                    match self.subject.caller {
                        Caller::App => "the role Reader on the storage account for the app",
                        Caller::Operator => {
                            "--app, and the role Reader on the function app and on the storage account for whoever looks"
                        }
                    },
                ),
                (Permission::Yes, Ok(())) => {
                    Finding::ok(check, format!("{account}/{container} is there, and the app may read it"))
                }
                (Permission::Yes, Err(error)) => match self.container_exists(account, container).await {
                    Ok(true) => Finding::ok(check, format!("{account}/{container} is there, and the app may read it")),
                    Ok(false) => absent(),
                    Err(_) => Finding::unknown(
                        check,
                        error.to_string(),
                        "the role Storage Blob Data Reader for whoever looks",
                    ),
                },
            };
        }
        match looked {
            Ok(()) => Finding::ok(check, format!("{account}/{container} is there, and the app may read it")),
            Err(QueryError::Missing(_)) => absent(),
            Err(QueryError::Forbidden { code, text }) if code.as_deref() != Some("AuthorizationFailure") => {
                denied(code.map_or_else(|| text.clone(), |code| format!("{code}: {text}")))
            }
            Err(error) => not_seen(check, account, error),
        }
    }

    async fn container_exists(&self, account: &str, container: &str) -> Result<bool, QueryError> {
        let account = self
            .account(account)
            .await
            .map_err(|NotSeen { why, .. }| QueryError::Inconclusive(Inconclusive::not_understood(why)))?;
        match self.queries.resource(&account.container(container), STORAGE).await {
            Ok(_) => Ok(true),
            Err(QueryError::Missing(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
/// The app itself looked at a container and saw nothing, for another reason than its roles.
fn not_seen(check: Check, account: &str, error: QueryError) -> Finding {
    match error {
        // Storage's word for "the firewall, or something before roles, says no".
        QueryError::Forbidden { code, text } => Finding::fault(
            check,
            format!("{}: {text}", code.as_deref().unwrap_or("403")),
            "the account's firewall does not let the app's network in",
            format!(
                "az storage account network-rule add --account-name {} --subnet SUBNET_OF_THE_APP, or a private endpoint",
                shell(account)
            ),
        ),
        error @ QueryError::NoAnswer(_) => Finding::fault(
            check,
            error.to_string(),
            format!("there is no account {account}, or the app's network does not lead there"),
            format!(
                "az storage account show --name {}; correct the rule's match.account, or the network",
                shell(account)
            ),
        ),
        error @ (QueryError::Missing(_) | QueryError::Inconclusive(_)) => {
            Finding::unknown(check, error.to_string(), "run it again")
        }
    }
}
