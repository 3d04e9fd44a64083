//! A whole installation in memory, healthy, in which anything can be broken.

use app::ports::Inconclusive;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lifecycle::{EndpointUri, LedgerId, Rules, StorageHosts};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;

use crate::{
    AppIdentity, Audience, Caller, Cloud, Doctor, Installation, QueryError, Report, ResourceList, RulesSeen,
    UserAssigned,
};
use app::ledger::{BegunRun, Heartbeat, Ledger, LedgerOptions};
use app::ports::table_store::TableStore;
use simulation::Sandbox;
use stores::faulty::Faulty;
use stores::memory::MemoryStore;

pub(super) const NOW: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);
pub(super) const GROUP: &str = "/subscriptions/s1/resourceGroups/g1/providers";
pub(super) const URI: &str = "https://heart.westeurope.inference.ml.azure.com/jobs";
pub(super) const CLUSTER: &str = "11111111-0000-0000-0000-000000000001";
pub(super) const TOPIC: &str = "11111111-0000-0000-0000-000000000002";
pub(super) const APP: &str = "11111111-0000-0000-0000-000000000003";
pub(super) const CLIENT: &str = "22222222-0000-0000-0000-000000000003";

pub(super) fn workspace() -> String {
    format!("{GROUP}/Microsoft.MachineLearningServices/workspaces/w1")
}

pub(super) fn account(name: &str) -> String {
    format!("{GROUP}/Microsoft.Storage/storageAccounts/{name}")
}

pub(super) fn site() -> String {
    format!("{GROUP}/Microsoft.Web/sites/func")
}

pub(super) fn sign_in() -> String {
    format!("{}/config/authsettingsV2", site())
}

pub(super) fn topic() -> String {
    format!("{GROUP}/Microsoft.EventGrid/systemTopics/t1")
}

pub(super) fn dead_letters() -> String {
    format!("{}/blobServices/default/containers/dead-letters", account("state"))
}

/// Answers from a table of documents. What is not in it is not there.
#[derive(Default)]
pub(super) struct Fake {
    pub(super) resources: BTreeMap<String, Value>,
    lists: BTreeMap<String, Vec<Value>>,
    pub(super) containers: BTreeSet<String>,
    /// In place of any other answer, by path, URL or audience.
    errors: BTreeMap<String, QueryError>,
    pub(super) no_token: Vec<Audience>,
    /// Nothing is ever answered.
    pub(super) hangs: bool,
    pub(super) ahead: time::Duration,
    pub(super) asked: Mutex<Vec<String>>,
}

impl Fake {
    async fn asked(&self, what: &str) -> Result<(), QueryError> {
        self.asked.lock().unwrap().push(what.to_owned());
        if self.hangs {
            std::future::pending::<()>().await;
        }
        self.errors.get(&what.to_ascii_lowercase()).cloned().map_or(Ok(()), Err)
    }

    pub(super) fn error(&mut self, what: &str, error: QueryError) {
        self.errors.insert(what.to_ascii_lowercase(), error);
    }

    pub(super) fn document(&mut self, id: &str) -> &mut Value {
        self.resources.get_mut(&id.to_ascii_lowercase()).unwrap()
    }

    pub(super) fn put(&mut self, document: Value) {
        let id = document["id"].as_str().unwrap().to_ascii_lowercase();
        self.resources.insert(id, document);
    }

    pub(super) fn listed(&mut self, path: &str) -> &mut Vec<Value> {
        self.lists.entry(path.to_ascii_lowercase()).or_default()
    }
}

pub(super) fn missing(what: &str) -> QueryError {
    QueryError::Missing(format!("{what} is not there"))
}

pub(super) fn forbidden() -> QueryError {
    QueryError::Forbidden { code: Some("AuthorizationFailed".into()), text: "you may not".into() }
}

#[async_trait]
impl Cloud for Fake {
    async fn token(&self, audience: Audience) -> Result<(), Inconclusive> {
        if self.no_token.contains(&audience) {
            Err(Inconclusive::not_reachable("no token: the identity endpoint answered 400"))
        } else {
            Ok(())
        }
    }

    async fn resource(&self, id: &str, _: &str) -> Result<Value, QueryError> {
        self.asked(id).await?;
        self.resources.get(&id.to_ascii_lowercase()).cloned().ok_or_else(|| missing(id))
    }

    async fn list(&self, path: &str, _: &str, filter: Option<&str>, _: usize) -> Result<ResourceList, QueryError> {
        self.asked(path).await?;
        let path = path.to_ascii_lowercase();
        let mut items = self.lists.get(&path).cloned().ok_or_else(|| missing(&path))?;
        if let Some(principal) = filter.and_then(|filter| filter.split('\'').nth(1)) {
            items.retain(|item| item["properties"]["principalId"] == principal);
        }
        Ok(ResourceList { items, complete: true })
    }

    async fn job(&self, endpoint: &EndpointUri, name: &str) -> Result<(), QueryError> {
        self.asked(endpoint).await?;
        Err(missing(name))
    }

    async fn container(&self, url: &str) -> Result<(), QueryError> {
        self.asked(url).await?;
        if self.containers.contains(url) { Ok(()) } else { Err(missing(url)) }
    }

    fn clocks(&self) -> Vec<(String, time::Duration)> {
        vec![("Resource Manager".into(), self.ahead)]
    }
}

/// Gives a role at a scope, and lists it there and in the containers of the account.
pub(super) fn role(cloud: &mut Fake, principal: &str, guid: &str, scope: &str) {
    let assignment = json!({"properties": {"principalId": principal, "scope": scope,
        "roleDefinitionId": format!("/subscriptions/s1/providers/Microsoft.Authorization/roleDefinitions/{guid}")}});
    for below in [
        "",
        "/blobServices/default/containers/claims",
        "/blobServices/default/containers/scores",
        "/blobServices/default/containers/dead-letters",
    ] {
        let path = format!("{scope}{below}/providers/Microsoft.Authorization/roleAssignments");
        cloud.listed(&path).push(assignment.clone());
    }
}

pub(super) const READER: &str = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1";
pub(super) const CONTRIBUTOR: &str = "ba92f5b4-2d11-453d-a403-e96b0029c9fe";
pub(super) const TABLES: &str = "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3";
pub(super) const SCIENTIST: &str = "f6c7c914-8db3-469d-8ca1-694a8f32e121";

pub(super) fn healthy() -> Fake {
    let mut cloud = Fake::default();
    let w = workspace();
    cloud.listed("/subscriptions").push(json!({"subscriptionId": "s1"}));
    cloud.put(json!({"id": w, "name": "w1", "location": "westeurope"}));
    cloud
        .listed(&format!("{w}/providers/Microsoft.Authorization/permissions"))
        .push(json!({"actions": ["*"], "notActions": []}));
    cloud.listed(&format!("{w}/jobs"));
    cloud
        .listed("/subscriptions/s1/providers/Microsoft.MachineLearningServices/locations/westeurope/usages")
        .push(json!({"name": {"value": "Total Cluster Dedicated Regional vCPUs"}, "currentValue": 4, "limit": 100}));
    cloud.put(json!({"id": format!("{w}/batchEndpoints/heart"), "name": "heart", "properties": {
        "scoringUri": URI, "provisioningState": "Succeeded", "defaults": {"deploymentName": "v7"}}}));
    cloud.listed(&format!("{w}/batchEndpoints"));
    let deployment = json!({"id": format!("{w}/batchEndpoints/heart/deployments/v7"), "name": "v7",
        "properties": {"provisioningState": "Succeeded", "compute": format!("{w}/computes/cpu")}});
    cloud.listed(&format!("{w}/batchEndpoints/heart/deployments")).push(deployment.clone());
    cloud.put(deployment);
    cloud.put(json!({"id": format!("{w}/computes/cpu"), "identity": {"principalId": CLUSTER}, "properties": {"provisioningState": "Succeeded"}}));
    cloud.put(json!({"id": format!("{w}/datastores/workspaceblobstore"), "properties": {"datastoreType": "AzureBlob",
        "accountName": "results", "containerName": "scores", "credentials": {"credentialsType": "None"}}}));
    for name in ["uploads", "results", "state"] {
        cloud
            .listed("/subscriptions/s1/providers/Microsoft.Storage/storageAccounts")
            .push(json!({"id": account(name), "name": name,
            "properties": {"primaryEndpoints": {"blob": format!("https://{name}.blob.core.windows.net/")}}}));
    }
    cloud.containers.insert("https://uploads.blob.core.windows.net/claims".into());
    cloud.containers.insert("https://results.blob.core.windows.net/scores".into());
    role(&mut cloud, CLUSTER, READER, &account("uploads"));
    role(&mut cloud, CLUSTER, CONTRIBUTOR, &account("results"));
    role(&mut cloud, TOPIC, CONTRIBUTOR, &account("state"));
    role(&mut cloud, APP, READER, &account("uploads"));
    role(&mut cloud, APP, READER, &account("results"));
    role(&mut cloud, APP, TABLES, &account("state"));
    cloud.put(
        json!({"id": site(), "identity": {"userAssignedIdentities": {"/i": {"clientId": CLIENT, "principalId": APP}}}}),
    );
    cloud
        .listed("/subscriptions/s1/providers/Microsoft.EventGrid/systemTopics")
        .push(json!({"id": topic(), "name": "t1",
        "identity": {"principalId": TOPIC}, "properties": {"source": account("uploads").to_uppercase()}}));
    cloud.listed(&format!("{}/eventSubscriptions", topic())).push(json!({"name": "func-function", "properties": {
        "provisioningState": "Succeeded",
        "destination": {"endpointType": "AzureFunction", "properties": {"resourceId": format!("{}/functions/BlobCreated", site())}},
        "filter": {"includedEventTypes": ["Microsoft.Storage.BlobCreated"], "advancedFilters": [
            {"operatorType": "StringBeginsWith", "key": "subject", "values": ["/blobServices/default/containers/claims/blobs/eu/"]}]},
        "deadLetterWithResourceIdentity": {"deadLetterDestination": {"endpointType": "StorageBlob",
            "properties": {"resourceId": account("state"), "blobContainerName": "dead-letters"}}}}}));
    cloud.listed(&format!("{}/providers/Microsoft.EventGrid/eventSubscriptions", account("uploads")));
    cloud.put(json!({"id": sign_in(), "properties": {"platform": {"enabled": true}, "globalValidation": {
        "requireAuthentication": true, "unauthenticatedClientAction": "RedirectToLoginPage",
        "excludedPaths": ["/runtime/*", "/admin/*"]}}}));
    cloud.put(json!({"id": dead_letters(), "name": "dead-letters"}));
    cloud
}

pub(super) struct Case {
    pub(super) cloud: Fake,
    pub(super) rule: Value,
    pub(super) rules_blob: Option<RulesSeen>,
    pub(super) caller: Caller,
    pub(super) site: Option<String>,
    pub(super) switched_off: Vec<String>,
    pub(super) store: Arc<Faulty>,
    /// Beside that of the first, which `rule` is.
    pub(super) more_rules: Vec<Value>,
    pub(super) storage: Arc<Sandbox>,
    pub(super) ticked: Option<time::Duration>,
    /// How long ago a run began that was not completed, and for how long the timer has begun such runs.
    pub(super) begun: Option<(time::Duration, time::Duration)>,
    pub(super) time: Duration,
}

impl Case {
    pub(super) fn new() -> Self {
        Self {
            cloud: healthy(),
            rule: json!({"id": "claims", "match": {"account": "uploads", "container": "claims", "prefix": "eu/"},
                "endpoint": {"uri": URI, "workspace": workspace()}}),
            rules_blob: None,
            caller: Caller::App,
            site: Some(site()),
            switched_off: Vec::new(),
            store: Arc::new(Faulty::new(Arc::new(MemoryStore::new()))),
            more_rules: Vec::new(),
            storage: Arc::new(Sandbox::new(NOW, &Rules::default(), false)),
            ticked: Some(time::Duration::minutes(1)),
            begun: None,
            time: Duration::from_secs(120),
        }
    }

    /// A subscription's properties.
    pub(super) fn subscription(&mut self) -> &mut Value {
        &mut self.cloud.listed(&format!("{}/eventSubscriptions", topic()))[0]["properties"]
    }

    pub(super) async fn report(self) -> Report {
        let store: Arc<dyn TableStore> = self.store.clone();
        let options = LedgerOptions {
            task_hub: "Scorekeeper".into(),
            writer: "w".into(),
            new_id: LedgerId::of_random([1; 16]),
            projection: false,
        };
        let ledger = Ledger::new(store.clone(), &options).unwrap();
        if let Some(ago) = self.ticked {
            let heartbeat = Heartbeat { at: NOW - ago, version: "0.1.0".into(), in_flight: 0, errors: 0 };
            ledger.record_heartbeat(&heartbeat).await.unwrap();
        }
        if let Some((ago, first)) = self.begun {
            let (at, until) = (NOW - ago, NOW - ago + time::Duration::minutes(10));
            let run = BegunRun { at, until, ended: None, first: NOW - first, count: 7 };
            ledger.record_begun_run(&run).await.unwrap();
        }
        let rules = [vec![self.rule], self.more_rules].concat();
        let rules = Rules::read(&json!({ "rules": rules }).to_string()).unwrap();
        let installation = Installation {
            rules,
            rules_blob: self.rules_blob,
            task_hub: "Scorekeeper".into(),
            ledger_place: "https://state.table.core.windows.net".into(),
            ledger_account: Some("state".into()),
            queue_account: Some("state".into()),
            identity: AppIdentity::UserAssigned(UserAssigned::ClientId(CLIENT.into())),
            site: self.site,
            switched_off: self.switched_off,
            sign_in_required: true,
            storage_domain: Some("core.windows.net".into()),
            storage_hosts: StorageHosts::of_cloud("core.windows.net"),
            settings: "1 rule".into(),
            warnings: Vec::new(),
        };
        let doctor = Doctor {
            others: Vec::new(),
            installation,
            cloud: Arc::new(self.cloud),
            blobs: self.storage,
            ledger: Ok((ledger, store)),
            caller: self.caller,
            clock: Arc::new(|| NOW),
            nonce: "n".into(),
            time: self.time,
        };
        doctor.examine().await
    }
}
