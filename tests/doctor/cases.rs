//! What may be wrong, one thing at a time: how it is made so, which check must name it, and what its remedy must say.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::stage::{ALIVE, QUIET, STOPPED};
use crate::support::azurite;
use crate::support::functions_host::free_port;

/// What is done to the app's settings.
type Change = Box<dyn Fn(&mut BTreeMap<String, String>) + Send + Sync>;

/// One thing that is wrong.
pub(super) struct Case {
    /// In words.
    pub(super) what: &'static str,
    /// The check that must name it.
    pub(super) check: &'static str,
    /// What its remedy must contain.
    pub(super) remedy: &'static [&'static str],
    /// Orders to the simulator.
    pub(super) plan: Value,
    pub(super) task_hub: &'static str,
    change: Change,
    is_fault: bool,
}

impl Case {
    /// A fault, made by orders to the simulator.
    fn fault(what: &'static str, check: &'static str, remedy: &'static [&'static str], plan: Value) -> Self {
        Self { what, check, remedy, plan, task_hub: ALIVE, change: Box::new(|_| {}), is_fault: true }
    }

    /// A fault, made by a change of the app's settings.
    fn of_settings(
        what: &'static str,
        check: &'static str,
        remedy: &'static [&'static str],
        change: impl Fn(&mut BTreeMap<String, String>) + Send + Sync + 'static,
    ) -> Self {
        Self { change: Box::new(change), ..Self::fault(what, check, remedy, json!({})) }
    }

    fn on(self, task_hub: &'static str) -> Self {
        Self { task_hub, ..self }
    }

    /// It works, and is worth a warning.
    fn warning(self) -> Self {
        Self { is_fault: false, ..self }
    }

    pub(super) fn is_fault(&self) -> bool {
        self.is_fault
    }

    pub(super) fn verdict(&self) -> &'static str {
        if self.is_fault { "fault" } else { "warning" }
    }

    pub(super) fn change(&self, vars: &mut BTreeMap<String, String>) {
        (self.change)(vars);
    }
}

/// `kind/name` is otherwise, by a merge patch; `null`: there is none.
fn changed(resource: &str, patch: impl Into<Value>) -> Value {
    json!({ "resources": { "changed": { resource: patch.into() } } })
}

fn denied(action: &str) -> Value {
    json!({ "resources": { "denied": [format!("Microsoft.MachineLearningServices/workspaces/{action}")] } })
}

fn refused(route: &str, status: u16, matching: &str) -> Value {
    json!({ "faults": [{ "route": route, "fault": { "refused": { "status": status } }, "matching": matching }] })
}

const DATA_SCIENTIST: &[&str] =
    &["deploy with ", "workspaceResourceIds, and mlAccess", "the role 'AzureML Data Scientist'", "/workspaces/local"];
const EVENTS: &[&str] = &["az deployment group create", "--resource-group local", "infra/events.bicep"];

/// All of them.
pub(super) fn all() -> Vec<Case> {
    let cases = [settings(), identity(), workspace(), endpoint(), data(), compute(), delivery(), life()];
    cases.into_iter().flatten().collect()
}

fn settings() -> Vec<Case> {
    vec![
        Case::of_settings("a rule that makes no sense", "settings", &["write \"endpoint\": { \"uri\": "], |vars| {
            vars.insert(
                "SCOREKEEPER_RULES".into(),
                r#"{"rules": [{"id": "claims", "match": {"container": "claims"}}]}"#.into(),
            );
        }),
        Case::of_settings("nobody at the ledger's address", "ledger", &["SCOREKEEPER_LEDGER"], |vars| {
            vars.insert("SCOREKEEPER_LEDGER".into(), format!("http://127.0.0.1:{}/devstoreaccount1", free_port()));
        }),
        Case::of_settings(
            "a ledger that may not be written",
            "ledger",
            &["deploy with ", "the role 'Storage Table Data Contributor'"],
            |vars| {
                let (url, account, _) = azurite::tables_of_other_account().unwrap();
                let connection = format!("AccountName={account};AccountKey=bm90IHRoZSBrZXk=;TableEndpoint={url}");
                vars.insert("AzureWebJobsStorage".into(), connection);
                vars.insert("SCOREKEEPER_LEDGER".into(), url);
            },
        ),
    ]
}

fn identity() -> Vec<Case> {
    let assign = &["az functionapp identity assign", "--resource-group local", "--name local"];
    vec![
        Case::fault("no token at all", "token.storage", assign, refused("identity", 400, "")),
        Case::fault("no token for storage", "token.storage", assign, refused("identity", 400, "storage.azure.com")),
        Case::fault("no token for Azure ML", "token.ml", assign, refused("identity", 400, "ml.azure.com")),
        Case::fault(
            "no token for Resource Manager",
            "token.management",
            assign,
            refused("identity", 400, "management"),
        ),
        Case::fault(
            "Resource Manager does not answer",
            "management",
            &["AzureResourceManager"],
            json!({ "faults": [{ "route": "arm", "fault": "lostRequest" }] }),
        ),
        Case::fault(
            "clocks ten minutes apart",
            "clock",
            &["timedatectl set-ntp true"],
            json!({ "behaviour": { "skewSeconds": -600 } }),
        ),
    ]
}

fn workspace() -> Vec<Case> {
    vec![
        Case::fault("no workspace", "workspace", &["az ml workspace list"], changed("workspaces/local", Value::Null)),
        Case::fault("may not invoke", "permission.invoke", DATA_SCIENTIST, denied("batchEndpoints/jobs/write")),
        Case::fault("may not list jobs", "permission.jobs", DATA_SCIENTIST, denied("jobs/read")),
        Case::fault("may not cancel", "permission.cancel", DATA_SCIENTIST, denied("jobs/cancel/action")),
        Case::fault("may not find outputs", "permission.datastores", DATA_SCIENTIST, denied("datastores/read")),
        Case::fault(
            "a quota that is used up",
            "quota",
            &["az quota", "maxInFlight"],
            changed("usages/Total Cluster Dedicated Regional vCPUs", json!({ "currentValue": 32, "limit": 32 })),
        )
        .warning(),
    ]
}

fn endpoint() -> Vec<Case> {
    vec![
        Case::fault(
            "no endpoint",
            "endpoint",
            &["az ml batch-endpoint list", "--workspace-name local"],
            changed("batchEndpoints/demonstration", Value::Null),
        ),
        Case::fault(
            "an endpoint that was not made whole",
            "endpoint",
            &["az ml batch-endpoint show --name demonstration"],
            changed("batchEndpoints/demonstration", json!({ "properties": { "provisioningState": "Failed" } })),
        ),
        Case::fault(
            "no default deployment",
            "deployment",
            &["az ml batch-endpoint update --name demonstration", "--set defaults.deployment_name="],
            changed(
                "batchEndpoints/demonstration",
                json!({ "properties": { "defaults": { "deploymentName": null } } }),
            ),
        ),
        Case::fault(
            "no deployment of the default's name",
            "deployment",
            &["az ml batch-deployment list --endpoint-name demonstration"],
            changed("deployments/demonstration", Value::Null),
        ),
        Case::fault(
            "an endpoint that refuses the app, whose role has not spread",
            "endpoint.answer",
            DATA_SCIENTIST,
            json!({ "faults": [{ "route": "poll", "fault": { "forbidden": { "seconds": 600 } } }] }),
        ),
    ]
}

fn data() -> Vec<Case> {
    let store = |patch| changed("datastores/workspaceblobstore", patch);
    vec![
        Case::fault(
            "no container to watch",
            "input",
            &["az storage container create", "--account-name local", "--name inbox"],
            changed("containers/inbox", Value::Null),
        ),
        Case::fault(
            "may not read inputs",
            "input",
            &["deploy with local among watchedAccounts", "the role 'Storage Blob Data Reader'"],
            refused("storage", 403, "local/inbox"),
        ),
        Case::fault(
            "no container for outputs",
            "output.read",
            &["az storage container create", "--name outbox"],
            changed("containers/outbox", Value::Null),
        ),
        Case::fault("no datastore", "output", &["az ml datastore list"], store(Value::Null)),
        Case::fault(
            "a datastore that is no Blob one",
            "output",
            &["az ml datastore create", "azure_blob"],
            store(json!({ "properties": { "datastoreType": "AzureFile" } })),
        ),
    ]
}

fn compute() -> Vec<Case> {
    vec![
        Case::fault(
            "no compute",
            "compute",
            &["az ml compute create --name simulated-cluster", "--identity-type SystemAssigned"],
            changed("computes/simulated-cluster", Value::Null),
        ),
        Case::fault(
            "a compute without an identity",
            "compute",
            &["az ml compute update --name simulated-cluster", "--identity-type SystemAssigned"],
            changed("computes/simulated-cluster", json!({ "identity": null })),
        ),
        Case::fault(
            "a compute that may not read inputs",
            "compute.input",
            &["dataAccess.computePrincipalIds", "the role 'Storage Blob Data Reader'", "/storageAccounts/local"],
            // Outputs are written with the account's key, so that the compute needs no right for them.
            json!({ "resources": {
                "changed": { "datastores/*": { "properties": { "credentials": { "credentialsType": "AccountKey" } } } },
                "unassigned": ["compute/*"],
            } }),
        ),
        Case::fault(
            "a compute that may not write outputs",
            "compute.output",
            &["az role assignment create", "--role 'Storage Blob Data Contributor'", "/storageAccounts/local"],
            json!({ "resources": { "unassigned": ["compute/Storage Blob Data Contributor"] } }),
        ),
    ]
}

fn delivery() -> Vec<Case> {
    let subscription = |properties: Value| changed("eventSubscriptions/*", json!({ "properties": properties }));
    let filter = |filter: Value| subscription(json!({ "filter": filter }));
    vec![
        Case::fault(
            "no event subscription",
            "delivery.subscription",
            EVENTS,
            changed("eventSubscriptions/*", Value::Null),
        ),
        Case::fault("no topic", "delivery.subscription", EVENTS, changed("systemTopics/evgt-local", Value::Null)),
        Case::fault(
            "an event subscription that was not made whole",
            "delivery.subscription",
            EVENTS,
            subscription(json!({ "provisioningState": "Failed" })),
        ),
        Case::fault(
            "events go to another app",
            "delivery.subscription",
            EVENTS,
            subscription(json!({ "destination": { "properties": {
                "resourceId": "/subscriptions/0/resourceGroups/x/providers/Microsoft.Web/sites/other/functions/BlobCreated",
            } } })),
        ),
        Case::fault(
            "a filter of another container",
            "delivery.filter",
            EVENTS,
            filter(json!({ "subjectBeginsWith": "/blobServices/default/containers/other/" })),
        ),
        Case::fault(
            "a filter of other events",
            "delivery.filter",
            EVENTS,
            filter(json!({ "includedEventTypes": ["Microsoft.Storage.BlobDeleted"] })),
        ),
        Case::fault(
            "a filter that stops small blobs",
            "delivery.filter",
            EVENTS,
            filter(json!({ "advancedFilters": [
                { "operatorType": "NumberGreaterThan", "key": "data.contentLength", "value": 1024 },
            ] })),
        ),
        Case::fault(
            "sign-in over what Event Grid calls",
            "delivery.signIn",
            &["app.authentication", "--excluded-paths '[/runtime/*, /admin/*]'"],
            changed(
                "authSettings/*",
                json!({ "properties": { "platform": { "enabled": true }, "globalValidation": {
                    "requireAuthentication": true, "unauthenticatedClientAction": "RedirectToLoginPage", "excludedPaths": ["/.auth/*"],
                } } }),
            ),
        ),
        Case::fault(
            "nowhere for dead letters",
            "delivery.deadLetter",
            EVENTS,
            subscription(json!({ "deadLetterWithResourceIdentity": null })),
        ),
        Case::fault(
            "no container for dead letters",
            "delivery.deadLetter",
            &["az storage container create", "--account-name localstate", "--name dead-letters"],
            changed("containers/dead-letters", Value::Null),
        ),
        Case::fault(
            "a topic that may not write dead letters",
            "delivery.deadLetter",
            &["deploy with ", "the role 'Storage Blob Data Contributor'"],
            json!({ "resources": { "unassigned": ["topic/*"] } }),
        ),
        Case::fault(
            "a subscription on the account, with nowhere for dead letters",
            "delivery.deadLetter",
            &[
                "az eventgrid event-subscription update --source-resource-id /subscriptions/",
                "/storageAccounts/local --name local-function",
                "--deadletter-endpoint",
            ],
            json!({ "resources": {
                "subscriptionOnAccount": true,
                "changed": { "eventSubscriptions/*": { "properties": { "deadLetterDestination": null } } },
            } }),
        ),
    ]
}

fn life() -> Vec<Case> {
    vec![
        Case::fault("a timer that stopped", "lastRun", &["az functionapp restart", "--name local"], json!({}))
            .on(STOPPED),
        Case::of_settings(
            "a timer that is switched off",
            "lastRun",
            &["az functionapp config appsettings delete", "--setting-names AzureWebJobs_Reconcile_Disabled"],
            |vars| {
                vars.insert("AzureWebJobs_Reconcile_Disabled".into(), "true".into());
            },
        )
        .on(STOPPED),
        Case::of_settings(
            "the function of events is switched off",
            "delivery.subscription",
            &["AzureWebJobs_BlobCreated_Disabled"],
            |vars| {
                vars.insert("AzureWebJobs_BlobCreated_Disabled".into(), "true".into());
            },
        ),
        Case::fault(
            "no event in a day",
            "lastEvent",
            &["az storage blob upload", "--container-name inbox", "--name claims/first"],
            json!({}),
        )
        .on(QUIET)
        .warning(),
    ]
}
