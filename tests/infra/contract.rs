//! Where handler, Functions host and templates must say the same.

use std::collections::BTreeSet;

use lifecycle::intake::{BEGUN, COMPLETE, RENAMED};
use serde_json::{Value, json};

use super::project::{ENVIRONMENTS, Project};
use super::snapshot::{Resource, Snapshot, list, substituted, texts};

/// Why the templates leave out what goes with the URL of a blob.
const IN_BLOB: &str = "rules in a blob are named in app.settings, and with them what they may name";

const BY_CLIENT_ID: &str = "AZURE_CLIENT_ID names the app's identity";
const NO_SERVICE_PRINCIPAL: &str = "the app has a managed identity, another one is named in app.settings";

/// Why nothing says where telemetry goes.
const COLLECTOR: &str = "nothing is sent to a collector, unless app.settings names one";
/// Settings of the handler that the templates leave out, with the reason.
const LEFT_OUT: [(&str, &str); 26] = [
    ("SCOREKEEPER_IDENTITY", BY_CLIENT_ID),
    ("SCOREKEEPER_IDENTITIES", "endpoints of other tenants are of whoever has them: named in app.settings"),
    ("AZURE_TENANT_ID", NO_SERVICE_PRINCIPAL),
    ("AZURE_CLIENT_SECRET", NO_SERVICE_PRINCIPAL),
    ("AZURE_CLIENT_SECRET_FILE", NO_SERVICE_PRINCIPAL),
    ("AZURE_CLIENT_CERTIFICATE_PATH", NO_SERVICE_PRINCIPAL),
    ("AZURE_FEDERATED_TOKEN_FILE", NO_SERVICE_PRINCIPAL),
    ("AZURE_AUTHORITY_HOST", NO_SERVICE_PRINCIPAL),
    ("AZURE_CLOUD", "SCOREKEEPER_RESOURCE_MANAGER says it, as the deployment knows it"),
    ("SCOREKEEPER_LEDGER", "the handler takes the account of the host's storage"),
    ("SCOREKEEPER_LOG_FORMAT", "the handler writes JSON under a host"),
    ("SCOREKEEPER_RETENTION", "the handler's own default, unless app.settings has it"),
    ("SCOREKEEPER_ORPHAN_SCAN_INTERVAL", "the handler's own default, unless app.settings has it"),
    ("SCOREKEEPER_STORAGE_HOSTS", "the hosts of the cloud's storage are known, others are named in app.settings"),
    ("SCOREKEEPER_ENDPOINT_HOSTS", "the hosts of the cloud's endpoints are known, others are named in app.settings"),
    ("SCOREKEEPER_RULES_ALLOW_ENDPOINTS", IN_BLOB),
    ("SCOREKEEPER_RULES_ALLOW_ACCOUNTS", IN_BLOB),
    ("SCOREKEEPER_RULES_ALLOW_DATASTORES", IN_BLOB),
    ("SCOREKEEPER_RULES_ALLOW_WORKSPACES", IN_BLOB),
    ("SCOREKEEPER_RULES_ALLOW_IDENTITIES", IN_BLOB),
    ("SCOREKEEPER_RULES_INTERVAL", IN_BLOB),
    ("SCOREKEEPER_PROJECTION", "the handler's own default, unless app.settings has it"),
    ("SCOREKEEPER_CALLBACK_HOSTS", "Data Factory's, unless app.settings has it"),
    ("SCOREKEEPER_LOG", "the handler's own default, unless app.settings has it"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", COLLECTOR),
    ("OTEL_EXPORTER_OTLP_HEADERS", COLLECTOR),
];

/// Settings that are sent only where something asks for them, and what.
pub const SENT_WHERE: [(&str, &str); 5] = [
    ("SCOREKEEPER_CONCURRENCY", " where `app.concurrency` is set"),
    ("SCOREKEEPER_HTTP", " where `app.http` is true"),
    ("SCOREKEEPER_PAGE", " where `app.page` is true"),
    ("SCOREKEEPER_RULES", " unless the rules are in the package"),
    ("SCOREKEEPER_SIGN_IN", " where `app.authentication` is set, unless its `required` is false"),
];

/// Settings that are always sent, with the reason why no default of the code will do.
const ALWAYS: [(&str, &str); 15] = [
    ("APPLICATIONINSIGHTS_AUTHENTICATION_STRING", "names the app's identity"),
    ("APPLICATIONINSIGHTS_CONNECTION_STRING", "names the component"),
    ("AZURE_CLIENT_ID", "names the app's identity"),
    ("AzureWebJobsStorage__accountName", "names the state account"),
    ("AzureWebJobsStorage__blobServiceUri", "names the state account"),
    ("AzureWebJobsStorage__clientId", "names the app's identity"),
    ("AzureWebJobsStorage__credential", "the host would take it for a connection string"),
    ("AzureWebJobsStorage__queueServiceUri", "names the state account"),
    ("AzureWebJobsStorage__tableServiceUri", "names the state account"),
    ("RECONCILE_SCHEDULE", "the host reads it in Reconcile/function.json and knows no default"),
    ("SCOREKEEPER_RESOURCE_MANAGER", "the handler cannot know its cloud"),
    ("SCOREKEEPER_DEAD_LETTERS", "names the container that the templates make"),
    ("SCOREKEEPER_WATCHED_ACCOUNTS", "the handler cannot know whose events are sent to it"),
    ("SWEEP_SCHEDULE", "the host reads it in Sweep/function.json and knows no default"),
    ("SCOREKEEPER_TASK_HUB", "the templates make its tables; another default of the code would be another ledger"),
];

/// Those of the Functions host, which nothing of this repository reads.
fn of_the_host(name: &str) -> bool {
    name.starts_with("APPLICATIONINSIGHTS_") || name.starts_with("AzureWebJobsStorage__")
}

const MAIN: &str = "infra/main.bicep";
const CONTRACT: &str = "infra/modules/contract.bicep";

pub fn check(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    findings.extend(settings(project));
    findings.extend(functions(project));
    findings.extend(storage(project));
    findings.extend(stages(project));
    findings.extend(environments(project));
    findings
}

/// Names of the settings that are made in any environment, without those that switch functions off and further ones.
pub fn setting_names(project: &Project) -> BTreeSet<String> {
    let all = project.environments().flat_map(|(_, snapshot)| snapshot.settings());
    let names = all.map(|(name, _)| name);
    names.filter(|name| !name.ends_with("_Disabled") && !LEFT_OUT.iter().any(|(left, _)| left == name)).collect()
}

/// Rows of the table of settings in the handler's documentation: name and default.
fn handler_settings(project: &Project) -> Vec<(String, String)> {
    let rows = project.files.get("handler/src/config/mod.rs").lines().filter_map(|line| line.strip_prefix("//! | `"));
    let pairs = rows.filter_map(|row| {
        let (name, rest) = row.split_once("` | ")?;
        let (default, _) = rest.split_once(" | ")?;
        Some((name.to_owned(), default.trim_matches('`').to_owned()))
    });
    pairs.collect()
}

fn settings(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    let set = setting_names(project);
    let is_set = |name: &str| set.contains(name);
    let read = handler_settings(project);
    if read.len() < 9 {
        findings.push("handler/src/config/mod.rs: the table of settings was not found".to_owned());
    }
    let asked: BTreeSet<String> = project
        .files
        .all("function-definitions/", "function.json")
        .flat_map(|(_, text)| text.split('%').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    for (name, _) in &read {
        if !is_set(name) && !LEFT_OUT.iter().any(|(left, _)| left == name) {
            findings.push(format!("{MAIN}: the handler reads `{name}`, which is neither set nor known to be left out"));
        }
    }
    for name in &asked {
        if !is_set(name) {
            findings.push(format!("{MAIN}: function-definitions ask for `{name}`, which is not set"));
        }
    }
    for name in &set {
        if !read.iter().any(|(read, _)| read == name) && !asked.contains(name) && !of_the_host(name) {
            findings.push(format!("{MAIN}: nobody reads the setting `{name}`"));
        }
    }
    let made = project.snapshots["packaged"].settings().into_iter().map(|(name, _)| name);
    let made: BTreeSet<String> = made.filter(|name| !name.ends_with("_Disabled")).collect();
    let expected: BTreeSet<String> = ALWAYS.iter().map(|(name, _)| (*name).to_owned()).collect();
    for name in made.symmetric_difference(&expected) {
        findings
            .push(format!("{MAIN}: `{name}` is sent though nobody asks for it, or is not sent though it is needed"));
    }
    // What the templates use themselves must be the handler's own defaults.
    let dev = &project.snapshots["dev"];
    let scale =
        dev.of("Microsoft.Web/sites").next().map(|site| site.get("properties/functionAppConfig/scaleAndConcurrency"));
    let concurrency = scale.map(|scale| scale["triggers"]["http"]["perInstanceConcurrency"].to_string());
    let task_hub = dev.setting("SCOREKEEPER_TASK_HUB");
    for (option, setting, ours) in
        [("taskHub", "SCOREKEEPER_TASK_HUB", task_hub), ("concurrency", "SCOREKEEPER_CONCURRENCY", concurrency)]
    {
        let default = read.iter().find(|(name, _)| name == setting).map(|(_, default)| default.clone());
        if default != ours {
            let default = default.unwrap_or_default();
            findings.push(format!("{MAIN}: the default of `app.{option}` is not the handler's, {default}"));
        }
    }
    findings
}

fn functions(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    let triggers = [
        ("event", "eventGridTrigger"),
        ("queue", "queueTrigger"),
        ("timer", "timerTrigger"),
        ("sweep", "timerTrigger"),
        ("scorings", "httpTrigger"),
        ("operations", "httpTrigger"),
        ("page", "httpTrigger"),
    ];
    let functions = project.contract("functions");
    let mut names = BTreeSet::new();
    for (role, trigger) in triggers {
        let name = functions[role].as_str().unwrap_or_default();
        names.insert(name);
        let path = format!("function-definitions/{name}/function.json");
        let Some(text) = project.files.find(&path) else {
            findings.push(format!("{CONTRACT}: there is no {path}"));
            continue;
        };
        let definition: Value = serde_json::from_str(text).unwrap_or_default();
        let binding = &definition["bindings"][0];
        if binding["type"] != trigger {
            findings.push(format!("{path}: `{name}` must have a {trigger}"));
        }
        if role == "queue" {
            if binding["queueName"] != project.contract("queues")["events"] {
                findings.push(format!("{path}: the queue is not the one of {CONTRACT}"));
            }
            if binding["connection"] != "AzureWebJobsStorage" {
                findings.push(format!("{path}: the queue is in the host's storage"));
            }
        }
    }
    for (path, _) in project.files.all("function-definitions/", "function.json") {
        if !names.iter().any(|name| path == format!("function-definitions/{name}/function.json")) {
            findings.push(format!("{path}: {CONTRACT} does not know this function"));
        }
    }
    let can_be_off =
        &project.templates["main"]["definitions"]["appOptions"]["properties"]["disabledFunctions"]["allowedValues"];
    let can_be_off: BTreeSet<&str> = texts(can_be_off).collect();
    if can_be_off != names {
        findings.push(format!("{MAIN}: `app.disabledFunctions` takes {can_be_off:?}, the functions are {names:?}"));
    }
    findings
}

/// Tables, queues, containers, and what `host.json` says about them.
fn storage(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    let ledger = project.files.get("handler/app/src/ledger/mod.rs");
    let tables: BTreeSet<&str> = ledger.split("named(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let ours: BTreeSet<&str> = texts(project.contract("tableSuffixes")).collect();
    if tables != ours {
        findings.push(format!("{CONTRACT}: the handler's tables are {tables:?}, not {ours:?}"));
    }
    for (name, ours) in [("completeApis", &COMPLETE[..]), ("begunApis", &BEGUN[..]), ("renameEvents", &RENAMED[..])] {
        let theirs = project.contract(name);
        if *theirs != json!(ours) {
            findings.push(format!("{CONTRACT}: the handler's `{name}` are {ours:?}, not {theirs}"));
        }
    }
    for (_, name) in project.contract("containers").as_object().into_iter().flatten() {
        if !name.as_str().is_some_and(lifecycle::rule::is_apps_own) {
            findings
                .push(format!("{CONTRACT}: the handler would let a rule watch the container {name}, or write to it"));
        }
    }
    let queues = project.contract("queues");
    if queues["poison"] != format!("{}-poison", queues["events"].as_str().unwrap_or_default()) {
        findings.push(format!("{CONTRACT}: the host names the poison queue by appending `-poison`"));
    }
    let host: Value = serde_json::from_str(project.files.get("host.json")).unwrap_or_default();
    let reading = &host["extensions"]["queues"];
    if reading["messageEncoding"] != "base64" {
        findings.push("host.json: Event Grid writes queue messages in base64".to_owned());
    }
    if reading["maxDequeueCount"] != 1440 || reading["visibilityTimeout"] != "00:01:00" {
        findings.push("host.json: a message is tried for a day before it is poison".to_owned());
    }
    let sampled = &host["logging"]["applicationInsights"]["samplingSettings"];
    let kept: Vec<&str> = sampled["excludedTypes"].as_str().unwrap_or_default().split(';').collect();
    if !["Request", "Exception", "Trace"].iter().all(|kind| kept.contains(kind)) {
        findings.push("host.json: alerts read requests and traces, which must not be sampled away".to_owned());
    }
    findings
}

/// Stage 2 gets from stage 1 exactly what it asks for, the same in both ways.
fn stages(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    let names = |members: &Value| -> BTreeSet<String> {
        members.as_object().map(|members| members.keys().cloned().collect()).unwrap_or_default()
    };
    let asked = names(&project.templates["events"]["parameters"]);
    for environment in ENVIRONMENTS.into_iter().filter(|environment| *environment != "azd") {
        let given = names(&project.snapshots[environment].outputs["events"]["parameters"]);
        if given != asked {
            findings.push(format!("{MAIN}: the output `events` holds {given:?}, events.bicep asks for {asked:?}"));
        }
    }
    findings
}

/// Each environment would work: rules that the handler takes, settings that it understands.
fn environments(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    for (name, snapshot) in project.environments() {
        let mut settings = std::collections::BTreeMap::new();
        for (setting, value) in snapshot.settings() {
            match substituted(&value) {
                Some(value) => drop(settings.insert(setting, value)),
                None => findings.push(format!("{name}: nobody knows what `{setting}` will be: {value}")),
            }
        }
        // What the platform tells each process.
        let signs_in = |config: &Resource| config.get("properties/platform/enabled") == true;
        let signs_in = snapshot.of("Microsoft.Web/sites/config").any(signs_in);
        settings.insert("WEBSITE_AUTH_ENABLED".to_owned(), if signs_in { "True" } else { "False" }.to_owned());
        settings.insert("FUNCTIONS_CUSTOMHANDLER_PORT".to_owned(), "7071".to_owned());
        match handler::config::Config::read(&settings, std::path::Path::new("/")) {
            Err(problems) => findings.push(format!("{name}: the handler would not start: {problems}")),
            Ok(config) => {
                let warnings = config.all_warnings();
                findings.extend(warnings.map(|warning| format!("{name}: the handler would warn: {warning}")));
                // azd's template hands on fewer outputs.
                let output =
                    snapshot.outputs["ledgerUrl"].as_str().or(snapshot.outputs["SCOREKEEPER_LEDGER_URL"].as_str());
                let output = output.and_then(substituted).unwrap_or_default();
                if config.ledger.to_string() != output.trim_end_matches('/') {
                    findings.push(format!("{name}: the ledger is at {}, the output says {output}", config.ledger));
                }
                findings.extend(rules(name, &config.rules, snapshot));
            }
        }
    }
    findings
}

/// Rules name accounts that are watched and workspaces that the app has rights on.
fn rules(name: &str, rules: &lifecycle::Rules, snapshot: &Snapshot) -> Vec<String> {
    let mut findings = Vec::new();
    let parameters = &snapshot.outputs["events"]["parameters"];
    let watched: Vec<String> = list(&parameters["installation"]["value"]["watchedAccounts"])
        .filter_map(|account| Some(account["resourceId"].as_str()?.rsplit('/').next()?.to_lowercase()))
        .collect();
    let granted: Vec<&str> = snapshot.of("Microsoft.Authorization/roleAssignments").map(Resource::scope).collect();
    let given_elsewhere = !granted.iter().any(|scope| scope.contains("/Microsoft.MachineLearningServices/"));
    for rule in rules {
        if let Some(account) = &rule.matches.account
            && !watched.is_empty()
            && !watched.contains(&account.to_lowercase())
        {
            findings.push(format!("{name}: rule `{}` wants blobs of `{account}`, which is not watched", rule.id));
        }
        let Some(workspace) = &rule.endpoint.workspace else { continue };
        if !given_elsewhere && !granted.contains(&&*workspace.to_string()) {
            findings.push(format!("{name}: rule `{}` names a workspace on which the app gets no role", rule.id));
        }
    }
    let size = json!(parameters["rules"]["value"]).to_string().len();
    if size > 64 * 1024 {
        findings.push(format!("{name}: the rules have {size} bytes, too many for an application setting"));
    }
    findings
}
