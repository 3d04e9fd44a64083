//! Infrastructure and code say the same: what Microsoft's compiler predicts of the templates is compared with the handler,
//! `host.json`, the function definitions, the queries and the README. No cloud is needed, and no compiler either: its
//! predictions are committed, and a digest says whether they belong to the templates.

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

mod alerts;
mod categories;
mod compiler;
mod contract;
mod custom_roles;
mod defects;
mod delivery;
mod docs;
mod engine;
mod figures;
mod kusto;
mod measures;
mod metric_alerts;
mod page;
mod pipeline;
mod play;
mod policy;
mod predictions;
mod procedure;
mod project;
mod queries;
mod roles;
mod snapshot;
#[path = "../support/mod.rs"]
mod support;
mod walk;

use std::collections::BTreeSet;

use serde_json::Value;

use self::compiler::Compiler;
use self::project::{Files, Project};
use self::snapshot::{Resource, Snapshot, kind_of};
use crate::support::cloud::{Cloud, event};
use crate::support::functions_host::FunctionsHost;

/// What all checks find, for a project that may be spoilt.
fn findings(project: &Project) -> Vec<String> {
    let checks = [
        policy::check,
        roles::check,
        custom_roles::check,
        contract::check,
        queries::check,
        categories::check,
        delivery::check,
        docs::check,
        walk::check,
        page::check,
    ];
    checks.iter().flat_map(|check| check(project)).collect()
}

fn none(findings: &[String]) {
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// `cargo xtask infra` sets the variable; without it the test only compares: with a compiler all of it, else the digest.
#[test]
#[expect(clippy::disallowed_methods, reason = "a switch of this test, not of the product")]
fn the_snapshots_are_what_the_compiler_predicts_of_these_templates() {
    let files = Files::load();
    let program = compiler::find();
    if std::env::var("SCOREKEEPER_WRITE_SNAPSHOTS").is_ok() {
        let program =
            program.expect("name Microsoft's Bicep compiler by the variable BICEP, or put `bicep` on the PATH");
        predictions::write(&mut Compiler::start(&program, &files), &files);
        return;
    }
    match program {
        Some(program) => none(&predictions::differences(&mut Compiler::start(&program, &files), &files)),
        None => none(&Vec::from_iter(predictions::of_these_sources(&files).err())),
    }
}

#[test]
fn one_changed_byte_of_a_source_is_noticed_without_a_compiler() {
    let files = Files::load();
    assert_eq!(predictions::of_these_sources(&files), Ok(()));
    for (path, from, to) in [
        ("infra/modules/storage.bicep", "'Hot'", "'Hod'"),
        ("infra/params/dev.rules.json", "eu/", "us/"),
        ("infra/params/prod.bicepparam", "4711", "4712"),
        ("infra/queries/records.kql", "level", "lever"),
        ("infra/bicepconfig.json", "240", "241"),
        ("tests/infra/templates/filters.bicep", "evgt-stg", "evgt-stf"),
    ] {
        let why = predictions::of_these_sources(&files.spoilt(path, from, to)).unwrap_err();
        assert!(why.contains("cargo xtask infra") && why.contains("BICEP"), "{path}: {why}");
    }
}

#[test]
fn there_are_identities_and_no_keys_and_nobody_gets_more_than_allowed() {
    let project = Project::load();
    none(&policy::check(&project));
    none(&roles::check(&project));
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

/// What an infra engineer has to read before the first deployment.
#[test]
fn the_main_template_stays_small() {
    let project = Project::load();
    let parameters = project.templates["main"]["parameters"].as_object().unwrap().len();
    let lines = project.files.get("infra/main.bicep").lines().count();
    assert!(parameters <= 17 && lines <= 310, "{parameters} parameters, {lines} lines");
}

#[test]
fn the_page_can_be_followed_command_by_command() {
    none(&walk::check(&Project::load()));
}

/// The longest names and the untaken branches are in `branches`: what tells resources apart must not be cut away.
#[test]
fn every_environment_deploys_and_no_resource_twice() {
    let project = Project::load();
    for path in project.files.all("infra/", ".bicepparam").map(|(path, _)| path) {
        assert!(predictions::PARAMETER_FILES.iter().any(|(_, file)| *file == path), "{path} is not predicted");
    }
    for (name, snapshot) in project.environments() {
        let ids: BTreeSet<String> = snapshot.resources.iter().map(|resource| resource.id.to_lowercase()).collect();
        assert_eq!(ids.len(), snapshot.resources.len(), "{name}");
        assert_eq!(snapshot.of("Microsoft.Web/sites").count(), 1, "{name}");
    }
    let branches = &project.snapshots["branches"];
    assert_eq!(branches.of(SUBSCRIPTION).count(), 4, "two accounts, each with one for new names");
    assert_eq!(branches.of("Microsoft.Insights/actionGroups").count(), 1);
}

const SUBSCRIPTION: &str = "Microsoft.EventGrid/systemTopics/eventSubscriptions";

#[test]
fn azd_deploys_the_same_templates() {
    let azd = &Project::load().snapshots["azd"];
    let site = azd.one("Microsoft.Web/sites");
    assert_eq!(site.body["tags"]["azd-service-name"], "scorekeeper");
    assert_eq!(site.body["tags"]["azd-env-name"], "dev");
    assert_eq!(azd.outputs["AZURE_RESOURCE_GROUP"], "rg-scorekeeper-dev");
    assert!(site.id.contains("/resourceGroups/rg-scorekeeper-dev/"), "{}", site.id);
    // A list has blanks around its commas, and one at its end.
    let scopes: BTreeSet<&str> = azd.of("Microsoft.Authorization/roleAssignments").map(Resource::scope).collect();
    for end in ["/stuploadsdev", "/stmlwdev", "/stmodelsdev", "/workspaces/mlw-dev"] {
        assert!(scopes.iter().any(|scope| scope.ends_with(end)), "{end}: {scopes:#?}");
    }
}

/// What one can be told, the other can be told in the same words.
#[test]
fn azd_takes_whatever_the_main_template_takes() {
    let project = Project::load();
    let parameters = |template: &str| project.templates[template]["parameters"].as_object().unwrap().clone();
    let plain = |of: &Value| {
        let mut of = of.clone();
        // Its own words for what is the environment's, and no default for it.
        for member in ["metadata", "defaultValue"] {
            of.as_object_mut().unwrap().remove(member);
        }
        of
    };
    let (main, azd) = (parameters("main"), parameters("azd"));
    for (name, of) in &main {
        assert_eq!(azd.get(name).map(plain), Some(plain(of)), "{name}");
        if !["environmentName", "location"].contains(&name.as_str()) {
            assert_eq!(azd[name]["defaultValue"], of["defaultValue"], "{name}");
        }
    }
    let own: Vec<&String> = azd.keys().filter(|name| !main.contains_key(*name)).collect();
    assert_eq!(own, ["resourceGroupName"]);
}

/// And hands it on, as the compiler predicts; with watched accounts as ids or as JSON with all that is said of them.
#[test]
fn what_azd_is_told_reaches_what_is_deployed() {
    let files = Files::load();
    let Some(program) = compiler::find() else { return println!("left out: there is no Bicep compiler") };
    let mut compiler = Compiler::start(&program, &files);
    let path = "infra/azd/main.bicepparam";
    let (variable, queue) =
        ("readEnvironmentVariable('WATCHED_ACCOUNTS')", "param delivery = { mode: 'storageQueue' }\n");
    let renames = |compiler: &mut Compiler, text: &str| {
        compiler.write(path, text);
        let predicted = Snapshot::read(&compiler.snapshot(path).unwrap());
        let renames = predicted.of(SUBSCRIPTION).filter(|it| it.id.ends_with("-renames")).count();
        (predicted, renames)
    };
    let as_it_is = files.get(path);
    assert!(as_it_is.contains(variable), "{as_it_is}");
    let (_, by_id) = renames(&mut compiler, &format!("{as_it_is}{queue}"));
    assert_eq!(by_id, 1, "as if its namespace were hierarchical");
    let [(.., id)] = compiler::AZD.into_iter().filter(|(name, _)| *name == "WATCHED_ACCOUNTS").collect::<Vec<_>>()[..]
    else {
        panic!()
    };
    let account = format!("'[{{\"resourceId\": \"{id}\", \"hierarchical\": false, \"systemTopicResourceId\": null}}]'");
    let text = as_it_is.replace(variable, &account);
    let told = "param workload = 'sk'
param tags = { team: 'x' }
param names = { functionApp: 'func-named' }
param mlAccess = 'custom'
param existing = { roleAssignmentScopes: ['/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-ml-dev/providers/Microsoft.Storage/storageAccounts/stmlwdev'] }
param network = { allowedIpRanges: ['203.0.113.0/24'] }
param monitoring = { alerts: false }
param state = { sku: 'Standard_ZRS' }
param app = { concurrency: 7, tags: { of: 'app' } }
";
    let (predicted, by_json) = renames(&mut compiler, &format!("{text}{queue}{told}"));
    assert_eq!(by_json, 0);
    let site = predicted.one("Microsoft.Web/sites");
    assert!(site.id.ends_with("/sites/func-named") && site.body["tags"]["of"] == "app", "{}", site.body);
    assert!(
        site.body["tags"]["team"] == "x" && site.body["tags"]["azd-service-name"] == "scorekeeper",
        "{}",
        site.body
    );
    assert_eq!(
        site.get("properties/functionAppConfig/scaleAndConcurrency")["triggers"]["http"]["perInstanceConcurrency"],
        7
    );
    assert!(site.get("properties/siteConfig").to_string().contains("203.0.113.0/24"), "{}", site.body);
    let state = predicted.one("Microsoft.Storage/storageAccounts");
    assert!(state.body["sku"]["name"] == "Standard_ZRS" && state.id.contains("/stsk"), "{}", state.body);
    assert_eq!(predicted.of("Microsoft.Authorization/roleDefinitions").count(), 1, "mlAccess");
    assert_eq!(predicted.of("Microsoft.Insights/scheduledQueryRules").count(), 0, "monitoring");
    let scopes = predicted.of("Microsoft.Authorization/roleAssignments").map(Resource::scope);
    assert_eq!(scopes.filter(|scope| scope.ends_with("/stmlwdev")).count(), 0, "existing");
}

/// azd looks for `azure.yaml` at the root, and goes by its paths from there.
#[test]
fn azd_finds_the_templates_the_package_and_the_second_stage_from_the_root() {
    let project = Project::load();
    let yaml = project.files.get("azure.yaml");
    let value = |name: &str| {
        let line = yaml.lines().map(str::trim).find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("azure.yaml has no {name}"))
    };
    for end in ["bicep", "bicepparam"] {
        project.files.get(&format!("{}/{}.{end}", value("path"), value("module")));
    }
    assert_eq!(
        (value("host"), value("language"), value("project"), value("dist")),
        ("function", "custom", ".", "target/app")
    );
    assert!(yaml.contains("run: cargo xtask package\n") && yaml.contains("infra/deploy.sh events\n"), "{yaml}");
    // The procedure's steps, each at its place: service hooks are further in than those of the whole.
    for (hook, verb) in
        [("\n  preprovision:\n", "roles"), ("\n      predeploy:\n", "code"), ("\n  postdeploy:\n", "events")]
    {
        let (_, hook) = yaml.split_once(hook).unwrap();
        let run = hook.lines().find(|line| line.trim().starts_with("run: ")).unwrap();
        assert!(run.ends_with(&format!(" infra/deploy.sh {verb}")) && run.contains("GROUP=\"$"), "{run}");
        assert!(run.contains("SUBSCRIPTION=\"$AZURE_SUBSCRIPTION_ID\""), "azd's, whatever az has selected: {run}");
        assert_eq!(run.contains("DOCTOR=\"\" "), verb == "code", "before stage 2 the doctor would miss it: {run}");
    }
    let tags = &project.snapshots["azd"].one("Microsoft.Web/sites").body["tags"];
    assert!(yaml.contains(&format!("\n  {}:\n", tags["azd-service-name"].as_str().unwrap())), "{yaml}");
}

/// The parameters that stage 1 gives out deploy stage 2 as they are.
#[test]
fn the_second_stage_deploys_from_the_outputs_of_the_first() {
    let project = Project::load();
    let (first, second) = (&project.snapshots["prod"], &project.snapshots["prod.events"]);
    assert_eq!(first.of(SUBSCRIPTION).count(), 0, "not before the code");
    let subscriptions: Vec<&Resource> = second.of(SUBSCRIPTION).collect();
    assert_eq!(subscriptions.len(), 4, "two accounts, each with one for new names");
    let app = first.outputs["functionAppResourceId"].as_str().unwrap();
    for subscription in &subscriptions {
        let target = subscription.get("properties/destination/properties/resourceId");
        assert_eq!(target, &format!("{app}/functions/BlobCreated"));
    }
    for (one, two) in [("prod", "prod.events"), ("dev", "dev.events")] {
        let ids =
            |snapshot: &Snapshot| snapshot.resources.iter().map(|it| it.id.to_lowercase()).collect::<BTreeSet<_>>();
        let (one, two) = (ids(&project.snapshots[one]), ids(&project.snapshots[two]));
        assert!(one.is_disjoint(&two), "a resource of both stages would change with each");
    }
    // One account has a topic already, the other gets one.
    assert_eq!(second.of("Microsoft.EventGrid/systemTopics").count(), 1);
    assert!(subscriptions.iter().any(|subscription| subscription.id.contains("/systemTopics/evgt-images/")));
}

#[test]
fn queue_delivery_needs_one_stage_and_opens_nothing_to_the_internet() {
    let private = &Project::load().snapshots["private"];
    let subscriptions: Vec<&Resource> = private.of(SUBSCRIPTION).collect();
    assert_eq!(subscriptions.len(), 4, "two accounts, each with one for new names");
    for subscription in subscriptions {
        let destination = subscription.get("properties/deliveryWithResourceIdentity/destination");
        assert_eq!(destination["properties"]["queueName"], "blob-events");
    }
    let queues: Vec<&str> = private
        .of("Microsoft.Storage/storageAccounts/queueServices/queues")
        .filter_map(|queue| queue.id.rsplit('/').next())
        .collect();
    assert_eq!(queues, ["blob-events", "blob-events-poison"]);
    assert_eq!(private.one("Microsoft.Web/sites").get("properties/publicNetworkAccess"), "Disabled");
    let account = private.one("Microsoft.Storage/storageAccounts");
    assert_eq!(account.get("properties/publicNetworkAccess"), "Disabled");
    assert_eq!(account.get("properties/networkAcls/bypass"), "AzureServices");
    assert_eq!(private.of("Microsoft.Network/privateEndpoints").count(), 4);
    // Another team gives the rights on workspaces and data.
    let elsewhere = |it: &&Resource| it.scope().contains("/rg-ml-prod/") || it.scope().contains("/rg-data-prod/");
    assert_eq!(private.of("Microsoft.Authorization/roleAssignments").filter(elsewhere).count(), 0);
    let settings = private.settings();
    let off: Vec<&String> = settings.iter().map(|(name, _)| name).filter(|name| name.ends_with("_Disabled")).collect();
    // Nobody has asked for the two of HTTP, nor for the page.
    let names = ["BlobCreated", "Operations", "Page", "Scorings"].map(|name| format!("AzureWebJobs_{name}_Disabled"));
    assert!(off.into_iter().eq(&names));
}

/// The host gives up at once what it cannot decode, and hides what it works on for ten minutes: neither shows in `host.json`.
#[test]
fn the_page_tells_of_messages_that_the_handler_never_sees() {
    let files = Files::load();
    let host: Value = serde_json::from_str(files.get("host.json")).unwrap();
    assert_eq!(host["extensions"]["queues"]["messageEncoding"], "base64");
    let page = files.get("infra/README.md");
    let section = |begin: &str, end: &str| page.split_once(begin).unwrap().1.split(end).next().unwrap();
    let poison = section("\n### poison\n", "\n### ");
    for part in ["not base64", "within the second", "Message decoding has failed", "base64 --wrap=0"] {
        assert!(poison.contains(part), "{part}: {poison}");
    }
    let detail = section("**Queue delivery in detail.**", "\n\n");
    assert!(detail.contains("come back after ten minutes") && detail.contains("not base64"), "{detail}");
}

/// The templates do not see rules of the package, so nothing is kept back on their account, and the setting does not hide them.
#[test]
fn rules_of_the_package_get_all_events_of_the_containers_that_are_named() {
    let packaged = &Project::load().snapshots["packaged"];
    assert_eq!(packaged.setting("SCOREKEEPER_RULES"), None);
    let places = ["claims", "images"].map(|name| format!("/blobServices/default/containers/{name}/blobs/"));
    let subscriptions: Vec<&Resource> = packaged.of(SUBSCRIPTION).collect();
    assert_eq!(subscriptions.len(), 2, "one of them for new names");
    for subscription in subscriptions {
        for filter in subscription.get("properties/filter/advancedFilters").as_array().unwrap() {
            match filter["key"].as_str() {
                Some("subject") => assert_eq!(filter["values"], serde_json::json!(places)),
                Some("data.api") => assert!(filter["values"].to_string().contains("CreateFile"), "{filter}"),
                other => panic!("{other:?} keeps back what a rule may want"),
            }
        }
    }
}

/// Whoever can read the rules' container need not read the account that it lies in.
#[test]
fn rules_in_a_blob_are_read_by_a_role_on_their_container_alone() {
    let packaged = &Project::load().snapshots["packaged"];
    let reading = |scope: &str| {
        let roles = packaged.of("Microsoft.Authorization/roleAssignments");
        let is_it = |role: &&Resource| role.body.to_string().contains("2a2b9908-6ea1-4ae2-8e65-a410df84e7d1");
        roles.filter(is_it).filter(|role| role.scope().ends_with(scope)).count()
    };
    assert_eq!(
        (reading("/storageAccounts/st/blobServices/default/containers/config"), reading("/storageAccounts/st")),
        (1, 1)
    );
    let project = Project::load();
    let dev = &project.snapshots["dev"];
    let on_containers =
        dev.of("Microsoft.Authorization/roleAssignments").filter(|role| role.scope().contains("/containers/"));
    assert_eq!(on_containers.count(), 0, "only where rules lie in a blob, or publish");
}

/// The app writes to data accounts only where a rule publishes or groups, and there only to the containers that are named for it.
#[test]
fn the_right_to_write_is_on_published_containers_alone() {
    let project = Project::load();
    for (name, snapshot) in &project.snapshots {
        let roles = snapshot.of("Microsoft.Authorization/roleAssignments");
        let writes = |role: &&Resource| {
            let body = role.body.to_string();
            body.contains("ba92f5b4-2d11-453d-a403-e96b0029c9fe") && body.contains("Function app on")
        };
        let all = roles.filter(writes).map(Resource::scope);
        let (staging, scopes): (Vec<&str>, Vec<&str>) =
            all.partition(|scope| scope.ends_with("/containers/scorekeeper-staging"));
        // In the account of the one rule that groups, and in no other.
        let in_account = |scope: &&str| scope.contains("/storageAccounts/stimagesprod/");
        assert_eq!(staging.len(), usize::from(name == "prod"), "{name}: {staging:?}");
        assert!(staging.iter().all(in_account), "{staging:?}");
        let expected = |account: &str| format!("/storageAccounts/{account}/blobServices/default/containers/published");
        let of = |account: &str| matches!(scopes[..], [only] if only.ends_with(&expected(account)));
        match name.as_str() {
            // The other one's roles are given by others.
            "packaged" => assert!(of("stresults"), "{scopes:?}"),
            // By a rule that the deployment reads.
            "branches" => assert!(of("sssssssssssssssssssssssd"), "{scopes:?}"),
            _ => assert_eq!(scopes, [""; 0], "{name}: no rule publishes"),
        }
    }
}

/// And only there; who leaves out the instances for them is told before anything is made.
#[test]
fn a_plan_is_spread_over_zones_where_that_is_asked_for() {
    let project = Project::load();
    for (name, spread) in [("branches", true), ("prod", false)] {
        let plan = project.snapshots[name].one("Microsoft.Web/serverfarms");
        assert_eq!(plan.get("properties/zoneRedundant"), spread, "{name}");
    }
}

#[test]
fn platform_logs_are_kept_where_that_is_asked_for() {
    let project = Project::load();
    let categories = |name: &str| -> BTreeSet<String> {
        let all = project.snapshots[name].of("Microsoft.Insights/diagnosticSettings");
        all.map(|it| {
            format!("{} of {}", it.get("properties/logs")[0]["category"].as_str().unwrap(), kind_of(it.scope()))
        })
        .collect()
    };
    let all = [
        "DeliveryFailures of systemTopics",
        "FunctionAppLogs of sites",
        "StorageDelete of blobServices",
        "StorageDelete of tableServices",
    ];
    assert_eq!(categories("branches"), all.map(str::to_owned).into());
    assert_eq!(categories("dev"), BTreeSet::new());
}

/// `branches` has an id in capitals, a hyphen in the environment's name and an app's name of 60 characters.
#[test]
fn names_are_what_azure_takes_and_compares() {
    let branches = &Project::load().snapshots["branches"];
    let name = |resource: &Resource| resource.body["name"].as_str().unwrap().to_owned();
    let state = name(branches.one("Microsoft.Storage/storageAccounts"));
    assert!(state.len() <= 24 && state.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "{state}");
    for endpoint in branches.of("Microsoft.Network/privateEndpoints") {
        assert!(name(endpoint).len() <= 64, "{}", endpoint.id);
    }
    let places: Vec<String> = branches
        .of(SUBSCRIPTION)
        .map(|it| it.get("properties/filter/advancedFilters")[1]["values"].to_string())
        .collect();
    assert!(places[0].contains("/containers/aaa/"), "the rule of the account that was named in capitals: {places:?}");
    assert!(!places[1].contains("/containers/aaa/"), "{places:?}");
    // 60 characters are cut, and the hash tells those apart that differ at their end only.
    for subscription in branches.of(SUBSCRIPTION) {
        let name = name(subscription);
        let parts: Vec<&str> = name.rsplit('/').next().unwrap().split('-').collect();
        assert!(parts[0].len() == 32 && parts[1].len() == 13 && parts[2] == "queue", "{name}");
    }
    // Azure refuses a second setting of one category and workspace, so that two installations must write the same one.
    let setting = |it: &&Resource| it.scope().contains("/systemTopics/");
    for setting in branches.of("Microsoft.Insights/diagnosticSettings").filter(setting) {
        let name = name(setting);
        assert!(name.starts_with("scorekeeper-") && name.len() == 25, "{name}: of the workspace alone");
    }
    // So is that for new names.
    let renames = branches.of(SUBSCRIPTION).filter(|it| it.id.ends_with("-renames"));
    let renames: Vec<String> =
        renames.map(|it| it.get("properties/filter/advancedFilters")[0]["values"].to_string()).collect();
    assert_eq!(renames.iter().filter(|places| places.contains("/containers/aaa/")).count(), 1, "{renames:?}");
}

/// Who sets it says it to handler and platform; who does not leaves each at the handler's default, which `contract.rs` compares.
#[test]
fn one_measure_says_how_much_an_instance_takes_at_once() {
    for (name, snapshot) in Project::load().environments() {
        let scale = snapshot.one("Microsoft.Web/sites").get("properties/functionAppConfig/scaleAndConcurrency");
        let platforms = scale["triggers"]["http"]["perInstanceConcurrency"].to_string();
        let expected = if name == "branches" { Some("16".to_owned()) } else { None };
        assert_eq!(snapshot.setting("SCOREKEEPER_CONCURRENCY"), expected, "{name}");
        assert_eq!(platforms, expected.unwrap_or_else(|| "64".to_owned()), "{name}");
    }
}

/// Others give the roles on one account and on one workspace, written in another case.
#[test]
fn on_scopes_whose_roles_others_give_nothing_is_assigned() {
    let branches = &Project::load().snapshots["branches"];
    let scopes: BTreeSet<String> =
        branches.of("Microsoft.Authorization/roleAssignments").map(|it| it.scope().to_lowercase()).collect();
    let given = |end: &str| scopes.iter().any(|scope| scope.ends_with(end));
    for end in ["/sssssssssssssssssssssssa", "/sssssssssssssssssssssssb", "/wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwa"] {
        assert!(given(end), "{end}: {scopes:#?}");
    }
    for end in ["/sssssssssssssssssssssssc", "/wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwb"] {
        assert!(!given(end), "{end}: {scopes:#?}");
    }
}

/// App Service Authentication would answer Event Grid and the host 401.
#[test]
fn sign_in_leaves_out_what_the_platform_calls() {
    let project = Project::load();
    let config = project.snapshots["branches"].one("Microsoft.Web/sites/config");
    let excluded = config.get("properties/globalValidation/excludedPaths").to_string();
    assert!(excluded.contains("/runtime/*") && excluded.contains("/admin/*"), "{excluded}");
    assert_eq!(config.get("properties/globalValidation/requireAuthentication"), true);
    let offered = project.snapshots["packaged"].one("Microsoft.Web/sites/config");
    assert_eq!(offered.get("properties/globalValidation/requireAuthentication"), false);
    assert_eq!(offered.get("properties/globalValidation/unauthenticatedClientAction"), "AllowAnonymous");
    assert_eq!(project.snapshots["dev"].of("Microsoft.Web/sites/config").count(), 0);
}

/// Two environments of one group must not write each other's resources.
#[test]
fn the_parameter_files_name_resources_of_their_own() {
    let project = Project::load();
    let ids = |name: &str| {
        let all = project.snapshots[name].resources.iter();
        let ours = all.filter(|it| it.id.contains("/resourceGroups/rg-scorekeeper/") && it.id.starts_with('/'));
        ours.map(|it| it.id.to_lowercase()).collect::<BTreeSet<_>>()
    };
    for (one, other) in [("dev", "prod"), ("dev", "private"), ("prod", "private")] {
        let both: Vec<String> = ids(one).intersection(&ids(other)).cloned().collect();
        assert!(both.is_empty(), "{one}, {other}: {both:?}");
    }
}

#[test]
fn what_cannot_work_is_refused_with_its_remedy() {
    let project = Project::load();
    let said: Value = serde_json::from_str(project.files.get("infra/snapshots/refused.json")).unwrap();
    for (name, _, remedy) in predictions::REFUSED {
        let said = said[name].as_str().unwrap_or_default();
        assert!(said.contains("is not valid") && said.contains(remedy), "{name}: {said}");
    }
}

#[test]
fn a_setting_of_ours_cannot_be_overridden_by_accident() {
    let branches = &Project::load().snapshots["branches"];
    assert_eq!(branches.setting("SCOREKEEPER_TASK_HUB").as_deref(), Some("Scorekeeper"));
    assert_eq!(branches.setting("SCOREKEEPER_LOG_FORMAT").as_deref(), Some("json"));
    let settings = branches.settings();
    let names: BTreeSet<String> = settings.iter().map(|(name, _)| name.to_lowercase()).collect();
    assert_eq!(names.len(), settings.len(), "App Service does not tell settings apart by case");
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
    assert_eq!(accepted["invocation_id"], "6a5b0c6e-logged");
    let moved = record(host.process().until_logged(|line| line.contains("submitting -> running")).await);
    for member in ["scoring", "rule", "from", "to", "reason", "job", "blob"] {
        assert!(moved[member].is_string(), "{member}: {moved}");
    }
    assert!(moved["attempt"].is_u64(), "{moved}");
    host.invoke("Reconcile", "6a5b0c6e-logged", "timer", &Value::Object(serde_json::Map::new())).await.value();
    let run = record(host.process().until_logged(|line| line.contains("reconcile run ended")).await);
    assert_eq!((&run["level"], &run["message"]), (&Value::from("INFO"), &Value::from("reconcile run ended")));
    let counts = [
        "in_flight",
        "queued",
        "unconfirmed",
        "held",
        "stuck",
        "oldest_seconds",
        "oldest_queued_seconds",
        "failed",
        "orphaned",
        "duration_ms",
    ];
    assert!(counts.iter().all(|count| run[count].is_u64() || run[count].is_i64()), "{run}");
    assert_eq!((&run["whole"], &run["in_flight"]), (&Value::from(true), &Value::from(1)), "{run}");
    let quarantined = record(host.process().until_logged(|line| line.contains("quarantined")).await);
    assert!(quarantined["message"].as_str().is_some_and(|said| said.starts_with("event quarantined")), "{quarantined}");
}
