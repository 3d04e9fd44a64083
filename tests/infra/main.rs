//! Infrastructure and code say the same: the templates are read, type-checked and evaluated, and compared with the handler,
//! `host.json`, the function definitions, the queries and the README. No cloud and no Bicep compiler is needed; the
//! workflow `infra` runs the real one.

// Tests fail by panicking and say on stdout what a failure needs to be understood; the lints that keep both out
// of the product do not apply here. What tests share is used in part by each.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::missing_panics_doc,
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::too_many_lines
)]

mod bicep;
mod contract;
mod defects;
mod delivery;
mod docs;
mod evaluate;
mod policy;
mod project;
mod queries;
#[path = "../support/mod.rs"]
mod support;
mod syntax;
mod types;
mod walk;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use self::evaluate::{Deployed, deploy_parameters};
use self::project::Project;
use crate::support::cloud::{Cloud, event};
use crate::support::functions_host::FunctionsHost;

/// What all checks find, for a project that may be spoilt.
fn findings(project: &Project) -> Vec<String> {
    let unreadable = syntax::check(project);
    if !unreadable.is_empty() {
        return unreadable;
    }
    let checks = [
        types::check,
        types::descriptions,
        policy::check,
        contract::check,
        queries::check,
        delivery::check,
        docs::check,
        walk::check,
    ];
    checks.iter().flat_map(|check| check(project)).collect()
}

fn none(findings: &[String]) {
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn every_template_is_bicep() {
    none(&syntax::check(&Project::load()));
}

#[test]
fn every_property_symbol_and_parameter_fits_its_type() {
    none(&types::check(&Project::load()));
}

#[test]
fn everything_that_people_set_or_read_is_described() {
    none(&types::descriptions(&Project::load()));
}

#[test]
fn there_are_identities_and_no_keys_and_nobody_gets_more_than_allowed() {
    none(&policy::check(&Project::load()));
}

#[test]
fn handler_host_and_templates_agree() {
    none(&contract::check(&Project::load()));
}

#[test]
fn alerts_and_workbook_ask_for_what_the_log_has() {
    none(&queries::check(&Project::load()));
}

#[test]
fn filters_let_through_what_rules_want() {
    none(&delivery::check(&Project::load()));
}

/// `cargo xtask docs` sets the variable; without it the test only compares.
#[test]
#[expect(clippy::disallowed_methods, reason = "a switch of this test, not of the product")]
fn the_tables_of_the_readme_are_those_of_the_templates() {
    if std::env::var("SCOREKEEPER_WRITE_DOCS").is_ok() {
        docs::write();
    }
    none(&docs::check(&Project::load()));
}

#[test]
fn the_page_can_be_followed_command_by_command() {
    none(&walk::check(&Project::load()));
}

const ENVIRONMENTS: [&str; 3] =
    ["infra/params/dev.bicepparam", "infra/params/prod.bicepparam", "infra/params/private.bicepparam"];

fn deployed(project: &Project, environment: &str) -> (Vec<Deployed>, Map<String, Value>) {
    deploy_parameters(project, environment).unwrap_or_else(|why| panic!("{environment}: {why}"))
}

fn of<'a>(resources: &'a [Deployed], kind: &'a str) -> impl Iterator<Item = &'a Deployed> {
    resources.iter().filter(move |resource| resource.of == kind)
}

#[test]
fn every_environment_deploys_on_paper_and_no_resource_twice() {
    let project = Project::load();
    assert_eq!(project.parameter_files().filter(|(_, _, of)| of == "infra/main.bicep").count(), ENVIRONMENTS.len());
    for environment in ENVIRONMENTS {
        let (resources, _) = deployed(&project, environment);
        let ids: BTreeSet<String> = resources.iter().map(|resource| resource.id.to_lowercase()).collect();
        assert_eq!(ids.len(), resources.len(), "{environment}");
        assert!(of(&resources, "Microsoft.Web/sites").count() == 1, "{environment}");
    }
}

/// Names of deployments are cut to 64 characters; what tells them apart must not be cut away.
#[test]
fn the_longest_names_do_not_run_into_each_other() {
    let project = Project::load();
    let account = |last: &str| {
        format!("{}/providers/Microsoft.Storage/storageAccounts/{}{last}", evaluate::GROUP, "s".repeat(23))
    };
    let workspace = |last: &str| {
        format!("{}/providers/Microsoft.MachineLearningServices/workspaces/{}{last}", evaluate::GROUP, "w".repeat(32))
    };
    let rule = serde_json::json!({ "id": "r", "match": { "container": "c" } });
    let given = serde_json::json!({
        "rules": { "rules": [rule] }, "names": { "functionApp": "f".repeat(60) }, "deliveryMode": "storageQueue",
        "watchedAccounts": [{ "resourceId": account("a") }, { "resourceId": account("b") }],
        "outputAccountResourceIds": [account("c")], "workspaceResourceIds": [workspace("a"), workspace("b")],
        "alertEmails": ["ops@example.com"], "privateEndpointSubnetResourceId": "/s/n", "integrationSubnetResourceId": "/s/m",
    });
    let (resources, _) = evaluate::deploy(&project, "infra/main.bicep", given.as_object().unwrap().clone()).unwrap();
    let ids: BTreeSet<&str> = resources.iter().map(|resource| &*resource.id).collect();
    assert_eq!(ids.len(), resources.len());
    assert_eq!(of(&resources, "Microsoft.EventGrid/systemTopics/eventSubscriptions").count(), 4);
}

#[test]
fn the_second_deployment_sends_what_the_first_sent() {
    let (one, two) = (Project::load(), Project::load());
    for environment in ENVIRONMENTS {
        assert_eq!(deployed(&one, environment), deployed(&two, environment));
    }
}

#[test]
fn settings_are_sorted_so_that_their_order_never_changes() {
    let (resources, _) = deployed(&Project::load(), ENVIRONMENTS[0]);
    let site = of(&resources, "Microsoft.Web/sites").next().unwrap();
    let names: Vec<&str> = site.body["properties"]["siteConfig"]["appSettings"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|setting| setting["name"].as_str())
        .collect();
    assert!(names.is_sorted(), "{names:?}");
}

#[test]
fn azd_deploys_the_same_templates() {
    let (resources, outputs) = deployed(&Project::load(), "infra/azd/main.bicepparam");
    let site = of(&resources, "Microsoft.Web/sites").next().unwrap();
    assert_eq!(site.body["tags"]["azd-service-name"], "scorekeeper");
    assert_eq!(site.body["tags"]["azd-env-name"], "dev");
    assert_eq!(outputs["AZURE_RESOURCE_GROUP"], "rg-scorekeeper-dev");
    assert!(site.id.contains("/resourceGroups/rg-scorekeeper-dev/"), "{}", site.id);
}

/// The parameters that stage 1 gives out deploy stage 2 as they are.
#[test]
fn the_second_stage_deploys_from_the_outputs_of_the_first() {
    let project = Project::load();
    let (first, outputs) = deployed(&project, "infra/params/prod.bicepparam");
    assert_eq!(of(&first, "Microsoft.EventGrid/systemTopics/eventSubscriptions").count(), 0, "not before the code");
    let parameters = outputs["events"]["parameters"].as_object().unwrap();
    let given = parameters.iter().map(|(name, parameter)| (name.clone(), parameter["value"].clone())).collect();
    let (second, _) = evaluate::deploy(&project, "infra/events.bicep", given).unwrap();
    let subscriptions: Vec<&Deployed> = of(&second, "Microsoft.EventGrid/systemTopics/eventSubscriptions").collect();
    assert_eq!(subscriptions.len(), 4, "two accounts, each with one for new names");
    let app = outputs["functionAppResourceId"].as_str().unwrap();
    for subscription in &subscriptions {
        let target = &subscription.body["properties"]["destination"]["properties"]["resourceId"];
        assert_eq!(target, &format!("{app}/functions/BlobCreated"));
    }
    let ids = |resources: &[Deployed]| resources.iter().map(|it| it.id.to_lowercase()).collect::<BTreeSet<_>>();
    assert!(ids(&first).is_disjoint(&ids(&second)), "a resource of both stages would change with each");
    // One account has a topic already, the other gets one.
    let topics: Vec<&Deployed> = of(&second, "Microsoft.EventGrid/systemTopics").collect();
    assert_eq!(topics.len(), 1);
    assert!(subscriptions.iter().any(|subscription| subscription.id.contains("/systemTopics/evgt-images/")));
}

#[test]
fn queue_delivery_needs_one_stage_and_opens_nothing_to_the_internet() {
    let (resources, _) = deployed(&Project::load(), "infra/params/private.bicepparam");
    let subscriptions: Vec<&Deployed> = of(&resources, "Microsoft.EventGrid/systemTopics/eventSubscriptions").collect();
    assert_eq!(subscriptions.len(), 4, "two accounts, each with one for new names");
    for subscription in subscriptions {
        let destination = &subscription.body["properties"]["deliveryWithResourceIdentity"]["destination"];
        assert_eq!(destination["properties"]["queueName"], "blob-events");
    }
    let queues: Vec<&str> = of(&resources, "Microsoft.Storage/storageAccounts/queueServices/queues")
        .filter_map(|queue| queue.id.rsplit('/').next())
        .collect();
    assert_eq!(queues, ["blob-events", "blob-events-poison"]);
    let site = &of(&resources, "Microsoft.Web/sites").next().unwrap().body["properties"];
    assert_eq!(site["publicNetworkAccess"], "Disabled");
    let account = &of(&resources, "Microsoft.Storage/storageAccounts").next().unwrap().body["properties"];
    assert_eq!(
        (&account["publicNetworkAccess"], &account["networkAcls"]["bypass"]),
        (&Value::from("Disabled"), &Value::from("AzureServices"))
    );
    assert_eq!(of(&resources, "Microsoft.Network/privateEndpoints").count(), 4);
    // Another team gives the rights on workspaces and data.
    assert!(
        !resources
            .iter()
            .any(|resource| resource.file.ends_with("ml-access.bicep") || resource.file.ends_with("data-access.bicep"))
    );
    let off: Vec<&Value> = site["siteConfig"]["appSettings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|setting| setting["name"].as_str().is_some_and(|name| name.ends_with("_Disabled")))
        .collect();
    assert_eq!(off.len(), 1);
    assert_eq!(off[0]["name"], "AzureWebJobs_BlobCreated_Disabled");
}

#[test]
fn what_cannot_work_is_refused_with_its_remedy() {
    let project = Project::load();
    let given = |more: Value| {
        let mut given = serde_json::json!({
            "rules": { "rules": [] },
            "watchedAccounts": [{ "resourceId": format!("{}/providers/Microsoft.Storage/storageAccounts/st", evaluate::GROUP) }],
            "workspaceResourceIds": [format!("{}/providers/Microsoft.MachineLearningServices/workspaces/w", evaluate::GROUP)],
        });
        given.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        given.as_object().unwrap().clone()
    };
    let refused = |more: Value| evaluate::deploy(&project, "infra/main.bicep", given(more)).unwrap_err();
    let why = refused(serde_json::json!({ "publicNetworkAccess": "Disabled" }));
    assert!(why.contains("storageQueue"), "{why}");
    let why = refused(serde_json::json!({ "privateEndpointSubnetResourceId": "/subscriptions/s/x" }));
    assert!(why.contains("integrationSubnetResourceId"), "{why}");
    assert!(evaluate::deploy(&project, "infra/main.bicep", given(serde_json::json!({}))).is_ok());
}

#[test]
fn a_setting_of_ours_cannot_be_overridden_by_accident() {
    let project = Project::load();
    let given = serde_json::json!({
        "rules": { "rules": [] }, "extraAppSettings": { "SCOREKEEPER_TASK_HUB": "Other", "SCOREKEEPER_LOG_FORMAT": "json" },
        "watchedAccounts": [{ "resourceId": format!("{}/providers/Microsoft.Storage/storageAccounts/st", evaluate::GROUP) }],
        "workspaceResourceIds": [format!("{}/providers/Microsoft.MachineLearningServices/workspaces/w", evaluate::GROUP)],
    });
    let (resources, _) = evaluate::deploy(&project, "infra/main.bicep", given.as_object().unwrap().clone()).unwrap();
    let site = of(&resources, "Microsoft.Web/sites").next().unwrap();
    let setting = |name: &str| {
        let all = site.body["properties"]["siteConfig"]["appSettings"].as_array().unwrap();
        all.iter().find(|setting| setting["name"] == name).map(|setting| setting["value"].clone())
    };
    assert_eq!(setting("SCOREKEEPER_TASK_HUB"), Some(Value::from("Scorekeeper")));
    assert_eq!(setting("SCOREKEEPER_LOG_FORMAT"), Some(Value::from("json")));
}

/// What `records.kql` takes out of a record, from records that a handler process really wrote.
#[tokio::test]
async fn a_real_log_has_what_the_queries_read() {
    let cloud = Cloud::start().await;
    // What is taken in and sent at once is told of by one record, that of the answer, unless more is asked for.
    let mut vars = cloud.vars("ledger");
    vars.insert("SCOREKEEPER_LOG".to_owned(), "info,app=debug".to_owned());
    let mut host = FunctionsHost::start(cloud.root(), &vars).await;
    host.invoke("BlobCreated", "6a5b0c6e-logged", "event", &event("a.csv")).await.value();
    host.invoke("BlobCreated", "6a5b0c6e-logged", "event", &Value::from("no event")).await.value();
    let record = |line: String| serde_json::from_str::<Value>(&line).unwrap();
    let accepted = record(host.process().until_logged(|line| line.contains("accepted as")).await);
    for member in ["scoring", "rule", "status", "blob", "level", "message", "target"] {
        assert!(accepted[member].is_string(), "{member}: {accepted}");
    }
    assert_eq!(accepted["spans"][0]["invocation_id"], "6a5b0c6e-logged");
    let moved = record(host.process().until_logged(|line| line.contains("submitting -> running")).await);
    for member in ["scoring", "rule", "from", "to", "reason", "job", "blob"] {
        assert!(moved[member].is_string(), "{member}: {moved}");
    }
    assert!(moved["attempt"].is_u64(), "{moved}");
    let quarantined = record(host.process().until_logged(|line| line.contains("quarantined")).await);
    assert!(quarantined["message"].as_str().is_some_and(|said| said.starts_with("event quarantined")), "{quarantined}");
}
