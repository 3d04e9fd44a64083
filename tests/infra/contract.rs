//! Where handler, Functions host and templates must say the same.

use std::collections::BTreeSet;

use lifecycle::intake::{BEGUN, COMPLETE, RENAMED};
use serde_json::{Map, Value, json};

use super::bicep::{Expr, Kind};
use super::evaluate::{deploy_parameters, variable};
use super::policy;
use super::project::Project;

/// Settings of the handler that the templates leave out, with the reason.
const LEFT_OUT: [(&str, &str); 2] = [
    ("SCOREKEEPER_LEDGER", "the handler takes the account of the host's storage"),
    ("SCOREKEEPER_LOG_FORMAT", "the handler writes JSON under a host"),
];

/// Settings of the Functions host that the templates make.
const OF_THE_HOST: [&str; 7] = [
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__clientId",
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__queueServiceUri",
    "AzureWebJobsStorage__tableServiceUri",
];

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

fn known(project: &Project, name: &str) -> Value {
    variable(project, CONTRACT, name, Map::new()).unwrap_or_default()
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
    let set = policy::settings(project);
    let is_set = |name: &str| set.iter().any(|(is, _)| is == name);
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
    for (name, _) in &set {
        if !read.iter().any(|(read, _)| read == name) && !asked.contains(name) && !OF_THE_HOST.contains(&&**name) {
            findings.push(format!("{MAIN}: nobody reads the setting `{name}`"));
        }
    }
    for name in OF_THE_HOST {
        if !is_set(name) {
            findings.push(format!("{MAIN}: the Functions host needs `{name}`"));
        }
    }
    // A parameter that a setting is made of has the handler's own default.
    let params = [
        ("taskHub", "SCOREKEEPER_TASK_HUB"),
        ("retention", "SCOREKEEPER_RETENTION"),
        ("orphanScanInterval", "SCOREKEEPER_ORPHAN_SCAN_INTERVAL"),
        ("projection", "SCOREKEEPER_PROJECTION"),
        ("concurrency", "SCOREKEEPER_CONCURRENCY"),
        ("log", "SCOREKEEPER_LOG"),
    ];
    for (param, setting) in params {
        let ours = variable(project, MAIN, param, Map::new())
            .map(|value| value.as_str().map_or(value.to_string(), str::to_owned));
        let handlers = read.iter().find(|(name, _)| name == setting).map(|(_, default)| default.clone());
        if ours.ok() != handlers {
            findings.push(format!(
                "{MAIN}: the default of `{param}` is not the one of `{setting}`, {}",
                handlers.unwrap_or_default()
            ));
        }
    }
    findings
}

fn functions(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    let triggers = [("event", "eventGridTrigger"), ("queue", "queueTrigger"), ("timer", "timerTrigger")];
    let functions = known(project, "functions");
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
            if binding["queueName"] != known(project, "queues")["events"] {
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
    let off =
        project.sources.get(MAIN).and_then(|source| source.symbols().get("disabledFunctions").map(|s| s.kind.clone()));
    let Some(Kind::Param { of, .. }) = off else { return vec![format!("{MAIN}: there is no `disabledFunctions`")] };
    let can_be_off: BTreeSet<&str> = of.split('\'').skip(1).step_by(2).collect();
    if can_be_off != names {
        findings.push(format!("{MAIN}: `disabledFunctions` takes {can_be_off:?}, the functions are {names:?}"));
    }
    findings
}

/// Tables, queues, containers, and what `host.json` says about them.
fn storage(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    let ledger = project.files.get("handler/app/src/ledger/mod.rs");
    let tables: BTreeSet<String> =
        ledger.split("named(\"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect();
    let ours: BTreeSet<String> = known(project, "tableSuffixes")
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|name| Some(name.as_str()?.to_owned()))
        .collect();
    if tables != ours {
        findings.push(format!("{CONTRACT}: the handler's tables are {tables:?}, not {ours:?}"));
    }
    for (name, ours) in [("completeApis", &COMPLETE[..]), ("begunApis", &BEGUN[..]), ("renameEvents", &RENAMED[..])] {
        if known(project, name) != json!(ours) {
            findings.push(format!("{CONTRACT}: the handler's `{name}` are {ours:?}, not {}", known(project, name)));
        }
    }
    let queues = known(project, "queues");
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
    if host["logging"]["logLevel"]["Host.Function.Console"] != "Information" {
        findings.push("host.json: the handler's log comes as information of Host.Function.Console".to_owned());
    }
    findings
}

/// Stage 2 gets from stage 1 exactly what it asks for, the same in both ways.
fn stages(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    let (Some(main), Some(events)) = (project.sources.get(MAIN), project.sources.get("infra/events.bicep")) else {
        return vec![format!("{MAIN}, infra/events.bicep: not read")];
    };
    let asked: BTreeSet<&str> = events.params().map(|param| &*param.name).collect();
    let names = |expr: Option<&Expr>| -> BTreeSet<String> {
        let properties = expr.and_then(Expr::object).unwrap_or_default();
        properties.iter().filter_map(|property| Some(property.name()?.to_owned())).collect()
    };
    let output = main.outputs().find(|output| output.name == "events");
    let given = names(output.and_then(|output| output.value()).and_then(|value| value.get("parameters")));
    if given.iter().map(|name| &**name).collect::<BTreeSet<_>>() != asked {
        findings.push(format!("{MAIN}: the output `events` holds {given:?}, events.bicep asks for {asked:?}"));
    }
    findings
}

/// Each environment deploys on paper: rules that the handler takes, settings that it understands.
fn environments(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, _, template) in project.parameter_files() {
        if template != MAIN {
            continue;
        }
        let (resources, outputs) = match deploy_parameters(project, path) {
            Ok(deployed) => deployed,
            Err(why) => {
                findings.push(format!("{path}: {why}"));
                continue;
            }
        };
        let site = resources.iter().find(|resource| resource.of == "Microsoft.Web/sites").map(|site| &site.body);
        let list = site.map(|site| &site["properties"]["siteConfig"]["appSettings"]).and_then(Value::as_array);
        let settings = list
            .into_iter()
            .flatten()
            .filter_map(|setting| Some((setting["name"].as_str()?.to_owned(), setting["value"].as_str()?.to_owned())));
        match handler::config::Config::read(
            &settings.collect::<std::collections::BTreeMap<_, _>>(),
            std::path::Path::new("/"),
        ) {
            Err(problems) => findings.push(format!("{path}: the handler would not start: {problems}")),
            Ok(config) => {
                findings
                    .extend(config.warnings.iter().map(|warning| format!("{path}: the handler would warn: {warning}")));
                let account = outputs
                    .get("ledgerUrl")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .trim_end_matches('/')
                    .to_owned();
                if config.ledger.to_string() != account {
                    findings.push(format!("{path}: the ledger is at {}, the output says {account}", config.ledger));
                }
                findings.extend(rules(path, &config.rules, &outputs, &resources));
            }
        }
        if outputs.values().any(|value| value.to_string().contains("\"$of\"")) {
            findings.push(format!("{path}: an output is a resource"));
        }
        for resource in resources.iter().filter(|resource| resource.body.to_string().contains("\"$of\"")) {
            findings.push(format!("{path}: {} holds a value that this evaluator does not know", resource.id));
        }
    }
    findings
}

/// Rules name accounts that are watched and workspaces that the app has rights on.
fn rules(
    path: &str,
    rules: &lifecycle::Rules,
    outputs: &Map<String, Value>,
    resources: &[super::evaluate::Deployed],
) -> Vec<String> {
    let mut findings = Vec::new();
    let watched = &outputs["events"]["parameters"]["watchedAccounts"]["value"];
    let watched: Vec<&str> = watched
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|account| account["resourceId"].as_str()?.rsplit('/').next())
        .collect();
    let given_elsewhere = !resources.iter().any(|resource| resource.file == "infra/modules/ml-access.bicep");
    for rule in rules {
        if let Some(account) = &rule.matches.account
            && !watched.contains(&&**account)
        {
            findings.push(format!("{path}: rule `{}` wants blobs of `{account}`, which is not watched", rule.id));
        }
        let Some(workspace) = &rule.endpoint.workspace else { continue };
        let scope = format!("{workspace}/providers/Microsoft.Authorization/roleAssignments/");
        if !given_elsewhere && !resources.iter().any(|resource| resource.id.starts_with(&scope)) {
            findings.push(format!("{path}: rule `{}` names a workspace on which the app gets no role", rule.id));
        }
    }
    let size = json!(outputs["events"]["parameters"]["rules"]["value"]).to_string().len();
    if size > 64 * 1024 {
        findings.push(format!("{path}: the rules have {size} bytes, too many for an application setting"));
    }
    findings
}
