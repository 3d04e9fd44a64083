//! What must hold for every template, whatever it deploys: identities only, least rights, nothing left to chance.

use std::collections::{BTreeMap, BTreeSet};

use super::bicep::{Expr, Kind, Node, Part};
use super::evaluate::place;
use super::project::Project;
use super::types::types;

/// Members that a resource of a type must have, with their only value.
const MUST: [(&str, &str, &str); 20] = [
    ("Microsoft.Storage/storageAccounts", "properties/allowSharedKeyAccess", "false"),
    ("Microsoft.Storage/storageAccounts", "properties/allowBlobPublicAccess", "false"),
    ("Microsoft.Storage/storageAccounts", "properties/allowCrossTenantReplication", "false"),
    ("Microsoft.Storage/storageAccounts", "properties/defaultToOAuthAuthentication", "true"),
    ("Microsoft.Storage/storageAccounts", "properties/supportsHttpsTrafficOnly", "true"),
    ("Microsoft.Storage/storageAccounts", "properties/minimumTlsVersion", "TLS1_2"),
    ("Microsoft.Storage/storageAccounts/blobServices/containers", "properties/publicAccess", "None"),
    ("Microsoft.Insights/components", "properties/DisableLocalAuth", "true"),
    ("Microsoft.OperationalInsights/workspaces", "properties/features/disableLocalAuth", "true"),
    ("Microsoft.Web/sites", "properties/httpsOnly", "true"),
    ("Microsoft.Web/sites", "properties/siteConfig/minTlsVersion", "1.2"),
    ("Microsoft.Web/sites", "properties/siteConfig/scmMinTlsVersion", "1.2"),
    ("Microsoft.Web/sites", "properties/siteConfig/ftpsState", "Disabled"),
    ("Microsoft.Web/sites", "properties/functionAppConfig/runtime/name", "custom"),
    ("Microsoft.Web/sites", "properties/functionAppConfig/runtime/version", "1.0"),
    (
        "Microsoft.Web/sites",
        "properties/functionAppConfig/deployment/storage/authentication/type",
        "UserAssignedIdentity",
    ),
    ("Microsoft.EventGrid/systemTopics/eventSubscriptions", "properties/eventDeliverySchema", "EventGridSchema"),
    (
        "Microsoft.EventGrid/systemTopics/eventSubscriptions",
        "properties/deadLetterWithResourceIdentity/identity/type",
        "SystemAssigned",
    ),
    ("Microsoft.Authorization/roleAssignments", "properties/principalType", "ServicePrincipal"),
    ("Microsoft.Insights/scheduledQueryRules", "properties/skipQueryValidation", "true"),
];

/// Members that must be there, whatever their value.
const PRESENT: [(&str, &str); 5] = [
    ("Microsoft.EventGrid/systemTopics/eventSubscriptions", "properties/retryPolicy/maxDeliveryAttempts"),
    ("Microsoft.EventGrid/systemTopics/eventSubscriptions", "properties/retryPolicy/eventTimeToLiveInMinutes"),
    (
        "Microsoft.EventGrid/systemTopics/eventSubscriptions",
        "properties/deadLetterWithResourceIdentity/deadLetterDestination",
    ),
    ("Microsoft.Insights/scheduledQueryRules", "properties/severity"),
    ("Microsoft.Insights/metricAlerts", "properties/severity"),
];

/// Built-in roles with their GUIDs (Microsoft's list of built-in roles), and where each may be given: file and scope's type.
/// Anything else is too much until somebody adds it here.
const ROLES: [(&str, &str, &str, &str); 9] = [
    ("azureMLDataScientist", "f6c7c914-8db3-469d-8ca1-694a8f32e121", "ml-access", "workspaces"),
    ("monitoringMetricsPublisher", "3913510d-42f4-4e42-8a64-420c390055eb", "monitoring", "components"),
    ("storageBlobDataContributor", "ba92f5b4-2d11-453d-a403-e96b0029c9fe", "topic-access", "containers"),
    ("storageBlobDataOwner", "b7e6dc6d-f1e8-4753-8033-0f276bb0955b", "storage", "storageAccounts"),
    ("storageBlobDataReader", "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1", "data-access", "storageAccounts"),
    ("storageBlobDataReader", "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1", "data-access", "storageAccounts"),
    ("storageQueueDataContributor", "974c5e8b-45b9-4653-ba55-5f855dd0fb88", "storage", "storageAccounts"),
    ("storageQueueDataMessageSender", "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a", "topic-access", "queues"),
    ("storageTableDataContributor", "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3", "storage", "storageAccounts"),
];

/// What Flex Consumption does not take, or what would be a secret.
const BANNED_SETTINGS: [&str; 10] = [
    "AzureWebJobsStorage",
    "ENABLE_ORYX_BUILD",
    "FUNCTIONS_EXTENSION_VERSION",
    "FUNCTIONS_WORKER_RUNTIME",
    "SCM_DO_BUILD_DURING_DEPLOYMENT",
    "WEBSITE_CONTENTAZUREFILECONNECTIONSTRING",
    "WEBSITE_CONTENTSHARE",
    "WEBSITE_RUN_FROM_PACKAGE",
    "WEBSITE_TIME_ZONE",
    "APPINSIGHTS_INSTRUMENTATIONKEY",
];

/// Functions that give out secrets, or another answer the next time or to the next person.
const BANNED_FUNCTIONS: [&str; 10] = [
    "listKeys",
    "listAccountSas",
    "listServiceSas",
    "list",
    "getSecret",
    "newGuid",
    "utcNow",
    "reference",
    "deployer",
    "deployment",
];

/// Parts of names of the public cloud.
const CLOUD_NAMES: [&str; 5] =
    ["core.windows.net", "azurewebsites.net", "management.azure.com", "vault.azure.net", "azureml.ms"];

pub fn check(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    let types = types();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (path, source) in project.templates() {
        for (statement, of, existing, body) in source.resources() {
            let at = place(path, statement);
            let (kind, version) = of.split_once('@').unwrap_or((of, ""));
            versions.entry(kind).or_default().insert(version);
            if existing {
                continue;
            }
            let mut say = |what: String| findings.push(format!("{at}: {what}"));
            for (_, member, only) in MUST.iter().filter(|(of, ..)| *of == kind) {
                if body.get(member).and_then(shown).as_deref() != Some(only) {
                    say(format!("`{member}` must be {only}"));
                }
            }
            for (_, member) in PRESENT.iter().filter(|(of, _)| *of == kind) {
                if body.get(member).is_none() {
                    say(format!("`{member}` must be set"));
                }
            }
            let takes_tags = types.get(of).is_some_and(|of| of.get("tags").is_some());
            if takes_tags && body.get("tags").is_none() {
                say("must have tags".to_owned());
            }
        }
        for statement in &source.statements {
            if let Kind::Output { .. } = &statement.kind {
                let name = statement.name.to_lowercase();
                if ["secret", "key", "password", "connectionstring", "sas", "token"]
                    .iter()
                    .any(|part| name.contains(part))
                {
                    findings.push(format!("{}: an output must not be a secret", place(path, statement)));
                }
            }
            let Some(value) = statement.value() else { continue };
            value.walk(&mut |expr| {
                if let Node::Call { function, .. } = &expr.node
                    && BANNED_FUNCTIONS.contains(&&**function)
                {
                    findings.push(format!("{path}:{}: `{function}` is not to be used", expr.line));
                }
                let Node::Text(parts) = &expr.node else { return };
                for text in parts.iter().filter_map(Part::plain) {
                    if let Some(name) = CLOUD_NAMES.iter().find(|name| text.contains(**name)) {
                        findings.push(format!("{path}:{}: `{name}` is a name of the public cloud", expr.line));
                    }
                    if is_guid(text) && path != "infra/modules/roles.bicep" {
                        findings.push(format!("{path}:{}: a GUID belongs into roles.bicep", expr.line));
                    }
                }
            });
        }
    }
    for (kind, versions) in versions {
        if versions.len() > 1 {
            findings.push(format!("{kind} is used in several versions: {versions:?}"));
        }
    }
    for (name, _) in settings(project) {
        if BANNED_SETTINGS.contains(&&*name) {
            findings.push(format!("infra/main.bicep: the setting `{name}` must not be there"));
        }
    }
    findings.extend(roles(project));
    findings.extend(order(project));
    findings.extend(workflows(project));
    findings
}

fn shown(expr: &Expr) -> Option<String> {
    match &expr.node {
        Node::Bool(value) => Some(value.to_string()),
        Node::Number(number) => Some(number.to_string()),
        _ => expr.text().map(str::to_owned),
    }
}

fn is_guid(text: &str) -> bool {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

/// The name of the role in `roles.NAME`, wherever it stands below.
fn role_of(expr: &Expr) -> Option<String> {
    let mut found = None;
    expr.walk(&mut |inner| {
        if let Node::Member { of, name, .. } = &inner.node
            && matches!(&of.node, Node::Name(of) if of == "roles")
        {
            found = Some(name.clone());
        }
    });
    found
}

/// Every role assignment: file, symbol, role (`None`: the custom one), type of its scope, description.
pub fn assignments(project: &Project) -> Vec<Assignment> {
    let mut all = Vec::new();
    for (path, source) in project.templates() {
        let symbols = source.symbols();
        for (statement, of, existing, body) in source.resources() {
            if existing || !of.starts_with("Microsoft.Authorization/roleAssignments@") {
                continue;
            }
            let scope = match body.get("scope").map(|scope| &scope.node) {
                Some(Node::Name(name)) => match symbols.get(&**name).map(|statement| &statement.kind) {
                    Some(Kind::Resource { of, .. }) => of.split('@').next().and_then(|of| of.rsplit('/').next()),
                    _ => None,
                },
                _ => None,
            };
            all.push(Assignment {
                file: path.to_owned(),
                at: place(path, statement),
                role: body.get("properties/roleDefinitionId").and_then(role_of),
                scope: scope.unwrap_or("the resource group").to_owned(),
                description: body.get("properties/description").and_then(Expr::text).unwrap_or_default().to_owned(),
                named_by_guid: matches!(body.get("name").map(|name| &name.node), Some(Node::Call { function, .. }) if function == "guid"),
                role_in_name: body.get("name").and_then(role_of),
            });
        }
    }
    all
}

/// A role assignment.
pub struct Assignment {
    pub file: String,
    pub at: String,
    pub role: Option<String>,
    pub scope: String,
    pub description: String,
    named_by_guid: bool,
    role_in_name: Option<String>,
}

fn roles(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    let declared = super::evaluate::variable(project, "infra/modules/roles.bicep", "roles", serde_json::Map::new());
    let declared = declared.unwrap_or_default();
    for (name, id) in declared.as_object().into_iter().flatten() {
        if !ROLES.iter().any(|(role, guid, ..)| role == name && id == guid) {
            findings.push(format!("infra/modules/roles.bicep: `{name}` is not the role {id}"));
        }
    }
    let mut wanted = ROLES.map(|(role, _, file, scope)| (role, format!("infra/modules/{file}.bicep"), scope)).to_vec();
    let mut custom = 0;
    for assignment in assignments(project) {
        let Assignment { file, at, role, scope, description, .. } = &assignment;
        if !assignment.named_by_guid || assignment.role_in_name != *role {
            findings.push(format!("{at}: its name must be the guid() of scope, principal and role"));
        }
        if description.split_once(": ").is_none_or(|(head, _)| !head.contains(" on ")) {
            findings.push(format!("{at}: its description must say `WHO on WHAT: WHY`"));
        }
        match role {
            None if file == "infra/modules/ml-access.bicep" && scope == "workspaces" => custom += 1,
            None => findings.push(format!("{at}: the role is not one of roles.bicep")),
            Some(role) => match wanted.iter().position(|(is, of, on)| is == role && of == file && on == scope) {
                Some(at) => drop(wanted.remove(at)),
                None => findings.push(format!("{at}: nobody allowed `{role}` on {scope} here")),
            },
        }
    }
    if custom != 1 {
        findings.push("infra/modules/ml-access.bicep: the custom role must be assigned once".to_owned());
    }
    findings.extend(
        wanted.into_iter().map(|(role, file, scope)| format!("{file}: `{role}` on {scope} is not assigned any more")),
    );
    findings
}

/// What must be there before something else, and is not used by it.
fn order(project: &Project) -> Vec<String> {
    let needs = [
        ("infra/main.bicep", "app", "workspaceAccess"),
        ("infra/main.bicep", "app", "dataAccess"),
        ("infra/events.bicep", "subscriptions", "topicAccess"),
        ("infra/events.bicep", "renameSubscriptions", "topicAccess"),
    ];
    let mut findings = Vec::new();
    for (path, later, first) in needs {
        let statement = project.sources.get(path).and_then(|source| source.symbols().get(later).copied());
        let depends = statement.and_then(|statement| statement.value()).and_then(|body| body.get("dependsOn"));
        let mut found = false;
        if let Some(depends) = depends {
            depends.walk(&mut |expr| found |= matches!(&expr.node, Node::Name(name) if name == first));
        }
        if !found {
            findings.push(format!("{path}: `{later}` must wait for `{first}`"));
        }
    }
    findings
}

/// Settings that `main.bicep` makes: names, and values as they are written.
pub fn settings(project: &Project) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    let body = project.sources.get("infra/main.bicep").and_then(|source| source.symbols().get("app").copied());
    if let Some(expr) = body.and_then(|statement| statement.value()).and_then(|body| body.get("params/settings")) {
        expr.walk(&mut |inner| {
            if let Node::Object(properties) = &inner.node {
                let text = project.files.get("infra/main.bicep");
                for property in properties {
                    let line = text.lines().nth(property.line - 1).unwrap_or_default();
                    let shown = line.split_once(": ").map_or("", |(_, value)| value);
                    settings.push((property.name().unwrap_or_default().to_owned(), shown.to_owned()));
                }
            }
        });
    }
    settings
}

/// Actions are pinned by commit, jobs have few rights, there are no secrets, and what-if comes before each deployment.
fn workflows(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in project.files.all(".github/workflows/", ".yml") {
        for (number, line) in text.lines().enumerate() {
            let mut say = |what: &str| findings.push(format!("{path}:{}: {what}", number + 1));
            if let Some((_, uses)) = line.split_once("uses: ") {
                let (_, version) = uses.split_once('@').unwrap_or((uses, ""));
                let (commit, comment) = version.split_once(" # v").unwrap_or((version, ""));
                let hex = commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit());
                if !hex || comment.is_empty() {
                    say("an action is pinned by its commit, with the version behind it");
                }
            }
            if line.contains("secrets.") {
                say("there are no secrets to use");
            }
        }
        if !text.contains("\npermissions:\n  contents: read\n") {
            findings.push(format!("{path}: the rights of the whole workflow must be `contents: read`"));
        }
    }
    if let Some(deploy) = project.files.find(".github/workflows/deploy.yml") {
        for name in ["scorekeeper ", "scorekeeper-events "] {
            let at =
                |verb: &str| deploy.find(&format!("deployment group {verb} --resource-group \"$GROUP\" --name {name}"));
            if at("what-if").is_none() || at("what-if") > at("create") {
                findings.push(format!(".github/workflows/deploy.yml: a what-if of `{}` must come first", name.trim()));
            }
        }
        // An environment's variables are empty wherever no environment is named yet.
        let before_jobs = deploy.split("\njobs:").next().unwrap_or_default();
        if before_jobs.contains("vars.") {
            findings
                .push(".github/workflows/deploy.yml: variables of an environment are known only in its job".to_owned());
        }
    }
    if let Some(release) = project.files.find(".github/workflows/release.yml") {
        let at = |text: &str| release.find(text);
        let reproduced = at("cargo xtask reproduce");
        if reproduced.is_none() || at("cargo xtask package") > reproduced || reproduced > at("upload-artifact@") {
            findings.push(".github/workflows/release.yml: what is released must be built twice".to_owned());
        }
        if !release.contains("sbom.cdx.json dist/") {
            findings.push(".github/workflows/release.yml: the bill of materials must be released".to_owned());
        }
    }
    findings
}
