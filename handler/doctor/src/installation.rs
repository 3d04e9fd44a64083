//! What is examined, and who looks.

use lifecycle::{Rules, StorageHosts};

use crate::app_identity::{AppIdentity, UserAssigned};
use crate::finding::Finding;
use crate::remedy::{ResourceId, shell};
use crate::rules_seen::RulesSeen;

/// Who looks, which decides what a look proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The app's own identity: what it sees is what the app sees.
    App,
    /// Somebody who is signed in on this machine. What they may do says nothing about the app.
    Operator,
}

/// What is known of a function app beyond the settings of the handler.
#[derive(Debug, Clone, Default)]
pub struct AppFacts {
    /// Its ARM id; `None`: as the host says.
    pub site: Option<String>,
    /// Functions that a setting switches off.
    pub switched_off: Vec<String>,
    /// Storage account of the host's queues; `None`: that of the ledger.
    pub queue_account: Option<String>,
}

/// An app as its settings have it: what is examined.
#[derive(Debug, Clone)]
pub struct Installation {
    /// The rules to examine, wherever they come from.
    pub rules: Rules,
    /// The blob that they lie in, if they do.
    pub rules_blob: Option<RulesSeen>,
    /// Prefix of the ledger's tables.
    pub task_hub: String,
    /// Where the ledger is, as settings have it.
    pub ledger_place: String,
    /// Storage account of the ledger; `None` for a folder.
    pub ledger_account: Option<String>,
    /// Storage account of the Functions host's queues, which is also where the templates keep dead letters; `None`: not known.
    pub queue_account: Option<String>,
    /// Who the app is to Azure.
    pub identity: AppIdentity,
    /// ARM id of the function app, if it is known.
    pub site: Option<String>,
    /// Functions that a setting switches off.
    pub switched_off: Vec<String>,
    /// Whether a setting says that nobody gets in who has not signed in.
    pub sign_in_required: bool,
    /// Domain of the storage accounts behind `ACCOUNT.blob.`; `None` where it cannot be told.
    pub storage_domain: Option<String>,
    /// Hosts that uploads may lie on, and the accounts that are watched.
    pub storage_hosts: StorageHosts,
    /// What was understood of the settings, for the report.
    pub settings: String,
    /// What looks wrong in them and does not prevent a start.
    pub warnings: Vec<Finding>,
}

impl Installation {
    /// What fixes an identity that gets no token.
    pub(super) fn identity_remedy(&self) -> String {
        match &self.identity {
            AppIdentity::ServicePrincipal { .. } => {
                return "correct AZURE_TENANT_ID, AZURE_CLIENT_ID and the secret, certificate or token file beside them".to_owned();
            }
            AppIdentity::SignedIn => return "az login".to_owned(),
            AppIdentity::SystemAssigned | AppIdentity::UserAssigned(_) => {}
        }
        let site = self.site.as_deref().and_then(ResourceId::read);
        let Some(site) = site else {
            return "az functionapp identity assign --resource-group GROUP --name APP, and AZURE_CLIENT_ID as the client id of an identity that the app has".to_owned();
        };
        let listed = |member: &str, id: &str| {
            format!(" --identities \"$(az identity list --query \"[?{member}=='{id}'].id\" --output tsv)\"")
        };
        let which = match &self.identity {
            AppIdentity::UserAssigned(UserAssigned::ClientId(id)) => listed("clientId", id),
            AppIdentity::UserAssigned(UserAssigned::ObjectId(id)) => listed("principalId", id),
            AppIdentity::UserAssigned(UserAssigned::ResourceId(id)) => format!(" --identities {}", shell(id)),
            _ => String::new(),
        };
        format!("az functionapp identity assign {} --name {}{which}", site.place(), shell(site.name))
    }
}
