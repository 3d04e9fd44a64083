//! What must hold for everything that is deployed: identities only, least rights, nothing left to chance.

use std::collections::{BTreeMap, BTreeSet};

use super::project::Project;
use super::snapshot::{Snapshot, texts};

/// Members that a resource of a type must have, with their only value.
const MUST: [(&str, &str, &str); 22] = [
    ("Microsoft.Web/sites/basicPublishingCredentialsPolicies", "properties/allow", "false"),
    // The host rewrites blobs each minute.
    ("Microsoft.Storage/storageAccounts/blobServices", "properties/deleteRetentionPolicy/enabled", "false"),
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

/// Functions that give out secrets, or another answer the next time or to the next person. The compiler lets them through.
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

/// A part of names of the public cloud that the linter's `no-hardcoded-env-urls` does not know.
const CLOUD_NAMES: [&str; 2] = ["azurewebsites.net", "azureml.ms"];

pub fn check(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, snapshot) in &project.snapshots {
        for resource in &snapshot.resources {
            versions.entry(&resource.of).or_default().insert(resource.body["apiVersion"].as_str().unwrap_or_default());
            findings.extend(members(name, resource));
        }
        findings.extend(twice(name, snapshot));
        for setting in BANNED_SETTINGS.iter().filter(|setting| snapshot.setting(setting).is_some()) {
            findings.push(format!("{name}: the setting `{setting}` must not be there"));
        }
        for output in snapshot.outputs.as_object().into_iter().flat_map(serde_json::Map::keys) {
            let lower = output.to_lowercase();
            if ["secret", "key", "password", "connectionstring", "sas", "token"].iter().any(|part| lower.contains(part))
            {
                findings.push(format!("{name}: the output `{output}` must not be a secret"));
            }
        }
    }
    for (kind, versions) in versions {
        if versions.len() > 1 {
            findings.push(format!("{kind} is used in several versions: {versions:?}"));
        }
    }
    findings.extend(words(project));
    findings.extend(order(project));
    findings.extend(deployments(project));
    findings.extend(workflows(project));
    findings
}

fn members(name: &str, resource: &super::snapshot::Resource) -> Vec<String> {
    let mut findings = Vec::new();
    let mut say = |what: String| findings.push(format!("{name}: {}: {what}", resource.id));
    for (_, member, only) in MUST.iter().filter(|(of, ..)| *of == resource.of) {
        let value = resource.get(member);
        if value.as_str().map_or(value.to_string(), str::to_owned) != *only {
            say(format!("`{member}` must be {only}"));
        }
    }
    for (_, member) in PRESENT.iter().filter(|(of, _)| *of == resource.of) {
        if resource.get(member).is_null() {
            say(format!("`{member}` must be set"));
        }
    }
    // What has a place has tags; parts of others have neither.
    if !resource.get("location").is_null() && resource.get("tags").is_null() {
        say("must have tags".to_owned());
    }
    findings
}

/// A resource of two modules would be written twice, in no certain order.
fn twice(name: &str, snapshot: &Snapshot) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let again = snapshot.resources.iter().filter(|resource| !seen.insert(resource.id.to_lowercase()));
    again.map(|resource| format!("{name}: {} stands there twice", resource.id)).collect()
}

/// What must not stand in a template at all.
fn words(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    for (at, line) in project.source_lines() {
        let mut rest = line;
        while let Some((before, after)) = rest.split_once('(') {
            let name = before.rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
            if BANNED_FUNCTIONS.contains(&name) {
                findings.push(format!("{at}: `{name}` is not to be used"));
            }
            rest = after;
        }
        if let Some(name) = CLOUD_NAMES.iter().find(|name| line.contains(**name)) {
            findings.push(format!("{at}: `{name}` is a name of the public cloud"));
        }
        if line.split('\'').any(is_guid) && !at.starts_with("infra/modules/roles.bicep:") {
            findings.push(format!("{at}: a GUID belongs into roles.bicep"));
        }
    }
    findings
}

fn is_guid(text: &str) -> bool {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

/// What must be there before something else, and is not used by it.
fn order(project: &Project) -> Vec<String> {
    let needs = [
        ("main", "site", "workspaceAccess"),
        ("main", "site", "blobAccess"),
        ("events", "subscriptions", "topicAccess"),
        ("events", "renameSubscriptions", "topicAccess"),
    ];
    let mut findings = Vec::new();
    for (template, later, first) in needs {
        let found = texts(&project.templates[template]["dependsOn"][later])
            .any(|on| on.starts_with(first) || on.contains(&format!("'{first}")));
        if !found {
            findings.push(format!("infra/{template}.bicep: `{later}` must wait for `{first}`"));
        }
    }
    findings
}

/// Two installations that deploy into one group of others must not overwrite each other's records, or wait for each other.
fn deployments(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    // A hash that holds the group and the app's name, or what was made of it.
    let ours = ["variables('unique')", "parameters('unique')", "parameters('suffix')"];
    for template in ["events", "main"] {
        let names = texts(&project.templates[template]["deploymentsElsewhere"]);
        for name in names.filter(|name| !ours.iter().any(|part| name.contains(part))) {
            findings
                .push(format!("infra/{template}.bicep: the deployment {name} has the same name for two installations"));
        }
    }
    findings
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
        // What an approval approves must be readable before it.
        let (look, all) = (deploy.find("infra/deploy.sh what-if"), deploy.find("infra/deploy.sh all"));
        if look.is_none() || look > all || !deploy.contains("needs: [package, look]") {
            findings.push(".github/workflows/deploy.yml: a what-if must come first, in a job of its own".to_owned());
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
        if reproduced.is_none()
            || at("cargo xtask release --target") > reproduced
            || reproduced > at("upload-artifact@")
        {
            findings.push(".github/workflows/release.yml: what is released must be built twice".to_owned());
        }
        // It refuses a release that lacks a file.
        if !release.contains("cargo xtask release --tag") {
            findings.push(
                ".github/workflows/release.yml: all files, the bill of materials too, must be released".to_owned(),
            );
        }
        // The file that names an image proves nothing of the image: that is known by its own digest.
        let image = release.split("  container:\n").nth(1).and_then(|rest| rest.split("\n  collect:").next());
        let attested = "subject-digest: ${{ steps.image.outputs.digest }}";
        if !image.is_some_and(|image| image.contains(attested) && image.contains("attestations: write")) {
            findings.push(".github/workflows/release.yml: the image must be attested by its own digest".to_owned());
        }
        let as_it_is = ["ghcr.io/$GITHUB_REPOSITORY", "ghcr.io/${{ github.repository"];
        if as_it_is.iter().any(|name| release.contains(name)) {
            findings
                .push(".github/workflows/release.yml: the registry refuses capitals in the image's name".to_owned());
        }
    }
    findings
}
