//! A whole installation in memory, healthy, in which one thing after the other is broken.

use std::collections::BTreeSet;
use std::sync::Mutex;

use async_trait::async_trait;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;

use super::*;
use crate::adapters::faulty::{Fault, Faulty};
use crate::adapters::memory::MemoryStore;
use crate::doctor::{Listed, Verdict};
use crate::ledger::{Heartbeat, Options};

const NOW: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);
const GROUP: &str = "/subscriptions/s1/resourceGroups/g1/providers";
const URI: &str = "https://heart.westeurope.inference.ml.azure.com/jobs";
const CLUSTER: &str = "11111111-0000-0000-0000-000000000001";
const TOPIC: &str = "11111111-0000-0000-0000-000000000002";
const APP: &str = "11111111-0000-0000-0000-000000000003";
const CLIENT: &str = "22222222-0000-0000-0000-000000000003";

fn workspace() -> String {
    format!("{GROUP}/Microsoft.MachineLearningServices/workspaces/w1")
}

fn account(name: &str) -> String {
    format!("{GROUP}/Microsoft.Storage/storageAccounts/{name}")
}

fn site() -> String {
    format!("{GROUP}/Microsoft.Web/sites/func")
}

fn topic() -> String {
    format!("{GROUP}/Microsoft.EventGrid/systemTopics/t1")
}

/// Answers from a table of documents. What is not in it is not there.
#[derive(Default)]
struct Fake {
    resources: BTreeMap<String, Value>,
    lists: BTreeMap<String, Vec<Value>>,
    containers: BTreeSet<String>,
    /// In place of any other answer, by path, URL or audience.
    troubles: BTreeMap<String, Trouble>,
    no_token: Vec<Audience>,
    /// Nothing is ever answered.
    hangs: bool,
    ahead: time::Duration,
    asked: Mutex<Vec<String>>,
}

impl Fake {
    async fn asked(&self, what: &str) -> Result<(), Trouble> {
        self.asked.lock().unwrap().push(what.to_owned());
        if self.hangs {
            std::future::pending::<()>().await;
        }
        self.troubles.get(&what.to_ascii_lowercase()).cloned().map_or(Ok(()), Err)
    }

    fn trouble(&mut self, what: &str, trouble: Trouble) {
        self.troubles.insert(what.to_ascii_lowercase(), trouble);
    }

    fn document(&mut self, id: &str) -> &mut Value {
        self.resources.get_mut(&id.to_ascii_lowercase()).unwrap()
    }

    fn put(&mut self, document: Value) {
        let id = document["id"].as_str().unwrap().to_ascii_lowercase();
        self.resources.insert(id, document);
    }

    fn listed(&mut self, path: &str) -> &mut Vec<Value> {
        self.lists.entry(path.to_ascii_lowercase()).or_default()
    }
}

fn missing(what: &str) -> Trouble {
    Trouble::Missing(format!("{what} is not there"))
}

fn forbidden() -> Trouble {
    Trouble::Forbidden { code: Some("AuthorizationFailed".into()), text: "you may not".into() }
}

#[async_trait]
impl Cloud for Fake {
    async fn token(&self, audience: Audience) -> Result<(), String> {
        if self.no_token.contains(&audience) {
            Err("no token: the identity endpoint answered 400".into())
        } else {
            Ok(())
        }
    }

    async fn resource(&self, id: &str, _: &str) -> Result<Value, Trouble> {
        self.asked(id).await?;
        self.resources.get(&id.to_ascii_lowercase()).cloned().ok_or_else(|| missing(id))
    }

    async fn list(&self, path: &str, _: &str, filter: Option<&str>, _: usize) -> Result<Listed, Trouble> {
        self.asked(path).await?;
        let path = path.to_ascii_lowercase();
        let mut items = self.lists.get(&path).cloned().ok_or_else(|| missing(&path))?;
        if let Some(principal) = filter.and_then(|filter| filter.split('\'').nth(1)) {
            items.retain(|item| item["properties"]["principalId"] == principal);
        }
        Ok(Listed { items, whole: true })
    }

    async fn job(&self, endpoint: &str, name: &str) -> Result<(), Trouble> {
        self.asked(endpoint).await?;
        Err(missing(name))
    }

    async fn container(&self, url: &str) -> Result<(), Trouble> {
        self.asked(url).await?;
        if self.containers.contains(url) { Ok(()) } else { Err(missing(url)) }
    }

    fn clocks(&self) -> Vec<(String, time::Duration)> {
        vec![("Resource Manager".into(), self.ahead)]
    }
}

/// Gives a role at a scope, and lists it there and in the containers of the account.
fn role(cloud: &mut Fake, principal: &str, guid: &str, scope: &str) {
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

const READER: &str = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1";
const CONTRIBUTOR: &str = "ba92f5b4-2d11-453d-a403-e96b0029c9fe";
const TABLES: &str = "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3";
const SCIENTIST: &str = "f6c7c914-8db3-469d-8ca1-694a8f32e121";

fn healthy() -> Fake {
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
    cloud
}

struct Case {
    cloud: Fake,
    rule: Value,
    whom: Whom,
    site: Option<String>,
    switched_off: Vec<String>,
    store: Arc<Faulty>,
    ticked: Option<time::Duration>,
    time: Duration,
}

impl Case {
    fn new() -> Self {
        Self {
            cloud: healthy(),
            rule: json!({"id": "claims", "match": {"account": "uploads", "container": "claims", "prefix": "eu/"},
                "endpoint": {"uri": URI, "workspace": workspace()}}),
            whom: Whom::App,
            site: Some(site()),
            switched_off: Vec::new(),
            store: Arc::new(Faulty::new(Arc::new(MemoryStore::new()))),
            ticked: Some(time::Duration::minutes(1)),
            time: Duration::from_secs(120),
        }
    }

    /// A subscription's properties.
    fn subscription(&mut self) -> &mut Value {
        &mut self.cloud.listed(&format!("{}/eventSubscriptions", topic()))[0]["properties"]
    }

    async fn report(self) -> Report {
        let store: Arc<dyn TableStore> = self.store.clone();
        let options = Options { hub: "Scorekeeper".into(), writer: "w".into(), projection: false };
        let ledger = Ledger::new(store.clone(), &options).unwrap();
        if let Some(ago) = self.ticked {
            let beat = Heartbeat { at: NOW - ago, version: "0.1.0".into(), in_flight: 0, errors: 0 };
            ledger.beat(&beat).await.unwrap();
        }
        let rules = Rules::read(&json!({"rules": [self.rule]}).to_string()).unwrap();
        let installation = Installation {
            rules,
            hub: "Scorekeeper".into(),
            ledger_place: "https://state.table.core.windows.net".into(),
            ledger_account: Some("state".into()),
            queue_account: Some("state".into()),
            client_id: Some(CLIENT.into()),
            site: self.site,
            switched_off: self.switched_off,
            storage_domain: Some("core.windows.net".into()),
            settings: "1 rule".into(),
            warnings: Vec::new(),
        };
        let doctor = Doctor {
            installation,
            cloud: Arc::new(self.cloud),
            ledger: Ok((ledger, store)),
            whom: self.whom,
            clock: Arc::new(|| NOW),
            nonce: "n".into(),
            time: self.time,
        };
        doctor.examine().await
    }
}

fn of(report: &Report, verdict: Verdict) -> Vec<&'static str> {
    report.findings.iter().filter(|finding| finding.verdict == verdict).map(|finding| finding.check.id()).collect()
}

fn told(report: &Report) -> String {
    let lines = report.findings.iter().map(|f| {
        format!("{} {} {}: {} | {:?}\n", f.verdict.name(), f.check, f.about.as_deref().unwrap_or(""), f.seen, f.remedy)
    });
    lines.collect()
}

#[tokio::test]
async fn a_healthy_installation_has_no_fault_and_nothing_is_unknown() {
    let report = Case::new().report().await;
    assert_eq!((of(&report, Verdict::Fault), of(&report, Verdict::Unknown)), (vec![], vec![]), "{}", told(&report));
    assert_eq!(of(&report, Verdict::Warning), ["lastEvent"], "nothing was uploaded yet");
    assert_eq!(report.exit_code(), 0);
    let seen: BTreeSet<_> = report.findings.iter().map(|finding| finding.check).collect();
    assert_eq!(seen.len(), CHECKS.len(), "every check says something");
}

#[tokio::test]
async fn each_thing_is_asked_for_once_however_many_checks_need_it() {
    let case = Case::new();
    let cloud: Arc<Fake> = Arc::new(case.cloud);
    let eyes = Eyes::new(cloud.clone(), case.time);
    let id = workspace();
    let (one, other) = futures::join!(eyes.resource(&id, "v"), eyes.resource(&id, "v"));
    assert_eq!(one, other);
    eyes.resource(&id.to_uppercase(), "v").await.unwrap();
    assert_eq!(cloud.asked.lock().unwrap().len(), 1);
}

/// Breaks one thing; says which check must name it, and a text of its remedy.
type Broken = (&'static str, &'static str, fn(&mut Case));

const FAULTS: &[Broken] = &[
    ("token.ml", "az functionapp identity assign", |case| case.cloud.no_token = vec![Audience::MachineLearning]),
    ("token.management", "az functionapp identity assign", |case| {
        case.cloud.no_token = vec![Audience::ResourceManager]
    }),
    ("token.storage", "az functionapp identity assign", |case| {
        case.cloud.no_token = vec![Audience::Storage, Audience::MachineLearning, Audience::ResourceManager];
    }),
    ("ledger", "primaryEndpoints.table", |case| {
        case.ticked = None;
        case.store.push(Fault::NotSent);
    }),
    ("management", "AzureResourceManager", |case| {
        case.cloud.trouble("/subscriptions", Trouble::NoAnswer("no connection".into()));
    }),
    ("clock", "timedatectl", |case| case.cloud.ahead = time::Duration::minutes(-6)),
    ("workspace", "az ml workspace list", |case| {
        case.rule["endpoint"]["workspace"] = json!(workspace().replace("w1", "w2"))
    }),
    ("permission.invoke", "--role 'AzureML Data Scientist'", |case| {
        case.cloud.listed(&format!("{}/providers/Microsoft.Authorization/permissions", workspace())).clear();
        // As a workspace on which one has no role answers everything.
        let w = workspace();
        for path in [
            w.clone(),
            format!("{w}/jobs"),
            format!("{w}/batchEndpoints/heart"),
            format!("{w}/datastores/workspaceblobstore"),
            URI.into(),
        ] {
            case.cloud.trouble(&path, forbidden());
        }
    }),
    ("permission.cancel", "--role 'AzureML Data Scientist'", |case| {
        *case.cloud.listed(&format!("{}/providers/Microsoft.Authorization/permissions", workspace())) =
            vec![json!({"actions": ["*"], "notActions": ["*/jobs/cancel/action"]})];
    }),
    ("endpoint", "az ml batch-endpoint list", |case| {
        case.rule["endpoint"]["uri"] = json!("https://hart.westeurope.inference.ml.azure.com/jobs");
    }),
    ("deployment", "--set defaults.deployment_name=v7", |case| {
        case.cloud.document(&format!("{}/batchEndpoints/heart", workspace()))["properties"]["defaults"] = Value::Null;
    }),
    ("deployment", "az ml batch-deployment list", |case| case.rule["endpoint"]["deployment"] = json!("v8")),
    ("deployment", "az ml batch-deployment create", |case| {
        case.cloud.document(&format!("{}/batchEndpoints/heart/deployments/v7", workspace()))["properties"]["provisioningState"] =
            json!("Failed");
    }),
    ("endpoint.answer", "privatelink.api.azureml.ms", |case| {
        case.cloud.trouble(URI, Trouble::NoAnswer("no such host".into()))
    }),
    ("endpoint.answer", "AzureML Data Scientist", |case| case.cloud.trouble(URI, forbidden())),
    ("input", "az storage container create", |case| case.cloud.containers.retain(|url| !url.contains("claims"))),
    ("input", "--role 'Storage Blob Data Reader'", |case| {
        case.cloud.trouble("https://uploads.blob.core.windows.net/claims", forbidden());
    }),
    ("input", "network-rule add", |case| {
        let refused = Trouble::Forbidden { code: Some("AuthorizationFailure".into()), text: "no".into() };
        case.cloud.trouble("https://uploads.blob.core.windows.net/claims", refused);
    }),
    ("output", "az ml datastore list", |case| {
        case.cloud.resources.remove(&format!("{}/datastores/workspaceblobstore", workspace()).to_ascii_lowercase());
    }),
    ("output", "type: azure_blob", |case| {
        case.cloud.document(&format!("{}/datastores/workspaceblobstore", workspace()))["properties"]["datastoreType"] =
            json!("AzureDataLakeGen2");
    }),
    ("output.read", "az storage container create", |case| case.cloud.containers.retain(|url| !url.contains("scores"))),
    ("compute", "az ml compute create", |case| {
        case.cloud.resources.remove(&format!("{}/computes/cpu", workspace()).to_ascii_lowercase());
    }),
    ("compute.input", "--assignee-object-id 11111111-0000-0000-0000-000000000001", |case| {
        let path = format!(
            "{}/blobServices/default/containers/claims/providers/Microsoft.Authorization/roleAssignments",
            account("uploads")
        );
        case.cloud.listed(&path).retain(|one| one["properties"]["principalId"] != CLUSTER);
    }),
    ("compute.output", "Storage Blob Data Contributor", |case| {
        let path = format!(
            "{}/blobServices/default/containers/scores/providers/Microsoft.Authorization/roleAssignments",
            account("results")
        );
        case.cloud.listed(&path).clear();
    }),
    ("delivery.subscription", "scorekeeper-events", |case| {
        case.cloud.listed("/subscriptions/s1/providers/Microsoft.EventGrid/systemTopics").clear();
    }),
    ("delivery.subscription", "scorekeeper-events", |case| {
        case.subscription()["destination"]["properties"]["resourceId"] =
            json!(format!("{}2/functions/BlobCreated", site()));
    }),
    ("delivery.subscription", "AzureWebJobs_BlobCreated_Disabled", |case| {
        case.switched_off = vec!["BlobCreated".into()]
    }),
    ("delivery.filter", "filters are made of the rules", |case| {
        case.subscription()["filter"]["subjectEndsWith"] = json!(".json");
    }),
    ("delivery.deadLetter", "--deadletter-identity-endpoint", |case| {
        case.subscription()["deadLetterWithResourceIdentity"] = Value::Null;
    }),
    ("delivery.deadLetter", "--role 'Storage Blob Data Contributor'", |case| {
        let path = format!(
            "{}/blobServices/default/containers/dead-letters/providers/Microsoft.Authorization/roleAssignments",
            account("state")
        );
        case.cloud.listed(&path).clear();
    }),
    ("lastTick", "az functionapp restart", |case| case.ticked = Some(time::Duration::minutes(16))),
    ("lastTick", "a first deployment", |case| case.ticked = None),
    ("lastTick", "AzureWebJobs_Reconcile_Disabled", |case| {
        case.ticked = None;
        case.switched_off = vec!["Reconcile".into()];
    }),
];

#[tokio::test]
async fn each_fault_is_named_with_its_remedy_and_no_other() {
    let mut wrong = String::new();
    for (check, remedy, break_it) in FAULTS {
        let mut case = Case::new();
        break_it(&mut case);
        let report = case.report().await;
        let faults: Vec<_> = report.findings.iter().filter(|finding| finding.verdict == Verdict::Fault).collect();
        let good = matches!(faults.as_slice(), [fault] if fault.check.id() == *check
            && fault.remedy.as_deref().is_some_and(|mend| mend.contains(remedy))
            && fault.cause.as_deref().is_some_and(|cause| cause.len() > 20));
        // Whatever was not looked at says for want of what.
        let reasons = report.findings.iter().filter(|finding| finding.verdict == Verdict::Unknown);
        let explained = reasons.into_iter().all(|finding| finding.seen.contains("because") || finding.remedy.is_some());
        if !good || !explained || report.exit_code() != 1 {
            wrong += &format!("--- {check} with {remedy}\n{}", told(&report));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[tokio::test]
async fn a_ledger_that_does_not_work_says_why() {
    let mut case = Case::new();
    case.ticked = None;
    case.store.create_table(&TableName::read("ScorekeeperState").unwrap()).await.unwrap();
    case.store.push_read(crate::table_store::Error::Denied("no role".into()));
    let report = case.report().await;
    assert_eq!(of(&report, Verdict::Fault), ["ledger"], "{}", told(&report));
    let fault = &report.findings.iter().find(|finding| finding.verdict == Verdict::Fault).unwrap();
    let mend = fault.remedy.as_deref().unwrap_or_default();
    let expected = format!(
        "az role assignment create --assignee {CLIENT} --role 'Storage Table Data Contributor' --scope {}",
        account("state")
    );
    assert_eq!(mend, expected);
}

#[tokio::test]
async fn what_nobody_may_look_at_is_unknown_and_never_ok() {
    let mut case = Case::new();
    case.cloud.trouble("/subscriptions/s1/providers/Microsoft.EventGrid/systemTopics", forbidden());
    let path = format!("{}/providers/Microsoft.EventGrid/eventSubscriptions", account("uploads"));
    case.cloud.trouble(&path, forbidden());
    let report = case.report().await;
    assert_eq!(of(&report, Verdict::Fault), [""; 0], "{}", told(&report));
    assert_eq!(of(&report, Verdict::Unknown), ["delivery.subscription", "delivery.filter", "delivery.deadLetter"]);
    assert_eq!(report.exit_code(), 2);
    let first = report.findings.iter().find(|finding| finding.check == Check::Subscription).unwrap();
    assert!(first.remedy.as_deref().is_some_and(|needed| needed.contains("Reader")), "{first:?}");
}

#[tokio::test]
async fn a_person_examines_the_rights_of_the_app_and_not_their_own() {
    let w = workspace();
    let person = || {
        let mut case = Case::new();
        case.whom = Whom::Person;
        let scientist = json!({"properties": {"principalId": APP, "scope": workspace(),
            "roleDefinitionId": format!("/subscriptions/s1/providers/Microsoft.Authorization/roleDefinitions/{SCIENTIST}")}});
        case.cloud
            .listed(&format!("{}/providers/Microsoft.Authorization/roleAssignments", workspace()))
            .push(scientist);
        case.cloud.put(json!({"id": format!("/subscriptions/s1/providers/Microsoft.Authorization/roleDefinitions/{SCIENTIST}"),
            "properties": {"permissions": [{"actions": ["Microsoft.MachineLearningServices/workspaces/*/read",
                "Microsoft.MachineLearningServices/workspaces/*/action", "Microsoft.MachineLearningServices/workspaces/*/write"]}]}}));
        case
    };
    let report = person().report().await;
    assert_eq!((of(&report, Verdict::Fault), report.exit_code()), (vec![], 0), "{}", told(&report));
    assert!(report.identity.contains(APP), "{}", report.identity);

    let mut without_role = person();
    without_role.cloud.listed(&format!("{w}/providers/Microsoft.Authorization/roleAssignments")).clear();
    let report = without_role.report().await;
    assert_eq!(of(&report, Verdict::Fault), ["permission.invoke"], "{}", told(&report));

    let mut unreadable = person();
    let path = format!(
        "{}/blobServices/default/containers/claims/providers/Microsoft.Authorization/roleAssignments",
        account("uploads")
    );
    unreadable.cloud.listed(&path).retain(|one| one["properties"]["principalId"] != APP);
    let report = unreadable.report().await;
    assert_eq!(of(&report, Verdict::Fault), ["input"], "although the person may read it: {}", told(&report));

    let mut unknown_app = person();
    unknown_app.site = None;
    let report = unknown_app.report().await;
    assert_eq!((of(&report, Verdict::Fault), report.exit_code()), (vec![], 2), "{}", told(&report));
    let unknown = of(&report, Verdict::Unknown);
    for check in ["app", "ledger", "permission.invoke", "input", "output.read", "delivery.subscription"] {
        assert!(unknown.contains(&check), "{check} in {unknown:?}");
    }

    let mut other_identity = person();
    other_identity.cloud.put(json!({"id": site(), "identity": {"principalId": "x"}}));
    assert_eq!(of(&other_identity.report().await, Verdict::Fault), ["app"]);
}

#[tokio::test(start_paused = true)]
async fn everything_ends_in_time_even_if_nobody_ever_answers() {
    let mut case = Case::new();
    case.cloud.hangs = true;
    case.time = Duration::from_secs(40);
    let begun = tokio::time::Instant::now();
    let report = case.report().await;
    assert!(begun.elapsed() <= Duration::from_secs(41), "{:?}", begun.elapsed());
    assert_eq!(report.exit_code(), 1);
    let fine: BTreeSet<_> = of(&report, Verdict::Ok).into_iter().collect();
    let without_answer =
        ["app", "clock", "ledger", "lastTick", "settings", "token.management", "token.ml", "token.storage"];
    assert!(fine.iter().all(|check| without_answer.contains(check)), "{fine:?}");
}

#[tokio::test]
async fn a_rule_for_any_account_is_watched_where_events_come_from() {
    let mut case = Case::new();
    case.rule["match"].as_object_mut().unwrap().remove("account");
    let report = case.report().await;
    assert_eq!(of(&report, Verdict::Fault), [""; 0], "{}", told(&report));
    assert_eq!(of(&report, Verdict::Unknown), ["input", "compute.input"], "nobody can say which container");
    let mut case = Case::new();
    case.rule["match"].as_object_mut().unwrap().remove("account");
    case.subscription()["filter"]["subjectEndsWith"] = json!(".json");
    assert_eq!(of(&case.report().await, Verdict::Fault), ["delivery.filter"]);
}

#[tokio::test]
async fn stored_credentials_spare_the_identities() {
    let mut case = Case::new();
    case.cloud.document(&format!("{}/datastores/workspaceblobstore", workspace()))["properties"]["credentials"] =
        json!({"credentialsType": "AccountKey"});
    case.cloud
        .put(json!({"id": format!("{}/datastores/raw", workspace()), "properties": {"datastoreType": "AzureBlob",
        "accountName": "uploads", "containerName": "claims", "credentials": {"credentialsType": "Sas"}}}));
    case.rule["inputs"] =
        json!({"input_data": {"type": "UriFile", "uri": "azureml://datastores/raw/paths/{blob.path}"}});
    case.cloud.document(&format!("{}/computes/cpu", workspace()))["identity"] = Value::Null;
    let report = case.report().await;
    assert_eq!((of(&report, Verdict::Fault), report.exit_code()), (vec![], 0), "{}", told(&report));
}

#[test]
fn clocks_are_judged_by_the_worst_of_them() {
    let seconds = |n| ("arm".to_owned(), time::Duration::seconds(n));
    for (worst, verdict) in
        [(0, Verdict::Ok), (60, Verdict::Ok), (-61, Verdict::Warning), (300, Verdict::Warning), (-301, Verdict::Fault)]
    {
        assert_eq!(clocks(&[seconds(1), seconds(worst)]).verdict, verdict, "{worst}");
    }
    assert_eq!(clocks(&[]).verdict, Verdict::Unknown);
}

#[test]
fn bad_settings_are_faults_and_nothing_else_was_looked_at() {
    let report = Doctor::of_bad_settings(&[("`X` is wrong".into(), "set it".into())]);
    assert_eq!((of(&report, Verdict::Fault), report.exit_code()), (vec!["settings"], 1));
    assert_eq!(report.count(Verdict::Unknown), CHECKS.len() - 1);
}
