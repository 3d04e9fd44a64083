//! Seeded defects: each is put into a copy of the files, and the checks must name it. A check that notices nothing here
//! would notice nothing in a review either.

use super::findings;
use super::project::{Files, Project};

/// What is spoilt: file, text, what it becomes; and a part of what must be said.
#[rustfmt::skip] // a table
const DEFECTS: &[(&str, &str, &str, &str, &str)] = &[
    ("syntax error", "infra/main.bicep", "module identity '", "module identity ", "infra/main.bicep"),
    ("unknown property", "infra/modules/storage.bicep", "accessTier: 'Hot'", "accesTier: 'Hot'", "no property `accesTier`"),
    ("wrong parent", "infra/modules/storage.bicep", "  parent: tableService\n", "  parent: blobs\n", "its parent must be a"),
    ("missing required property", "infra/modules/storage.bicep", "  kind: 'StorageV2'\n", "", "`kind` is required"),
    ("unknown version", "infra/modules/storage.bicep", "managementPolicies@2025-06-01", "managementPolicies@2025-06-02", "2025-06-02"),
    ("wrong kind of value", "infra/modules/function.bicep", "reserved: true", "reserved: 'yes'", "expected"),
    ("value that does not exist", "infra/modules/subscription.bicep", "operatorType: 'StringIn'", "operatorType: 'StringsIn'", "keeps back"),
    ("undefined symbol", "infra/main.bicep", "taskHub: taskHub\n", "taskHub: taskHubb\n", "there is no `taskHubb`"),
    ("missing parameter of a module", "infra/main.bicep", "    sku: storageSku\n", "", "required parameter `sku`"),
    ("misspelt output of a module", "infra/main.bicep", "storage.outputs.tableEndpoint\n", "storage.outputs.tablesEndpoint\n", "no output `tablesEndpoint`"),
    ("missing parameter of an environment", "infra/params/dev.bicepparam", "param rules = loadJsonContent('dev.rules.json')\n", "", "required parameter `rules`"),
    ("unused parameter", "infra/main.bicep", "    lock: lock\n", "    lock: false\n", "lock: is not used"),
    ("setting renamed in the handler only", "handler/src/config/mod.rs", "//! | `SCOREKEEPER_TASK_HUB` |", "//! | `SCOREKEEPER_HUB_NAME` |", "the handler reads `SCOREKEEPER_HUB_NAME`"),
    ("setting renamed in the templates only", "infra/main.bicep", "SCOREKEEPER_RETENTION:", "SCOREKEEPER_RETAIN:", "nobody reads the setting `SCOREKEEPER_RETAIN`"),
    ("default that drifted", "infra/main.bicep", "param concurrency int = 64", "param concurrency int = 32", "default of `concurrency`"),
    ("setting with a value that the handler refuses", "infra/main.bicep", "string(concurrency)", "'many'", "the handler would not start"),
    ("rules that the handler refuses", "infra/params/dev.rules.json", "\"maxInFlight\": 5", "\"maxInFlights\": 5", "the handler would not start"),
    ("schedule that the function does not ask for", "function-definitions/Reconcile/function.json", "%RECONCILE_SCHEDULE%", "%TICK_SCHEDULE%", "`TICK_SCHEDULE`, which is not set"),
    ("trigger of another kind", "function-definitions/BlobCreated/function.json", "eventGridTrigger", "httpTrigger", "must have a eventGridTrigger"),
    ("table renamed in the handler only", "handler/app/src/ledger/mod.rs", "named(\"History\")", "named(\"Past\")", "the handler's tables"),
    ("queue renamed without its poison queue", "infra/modules/contract.bicep", "events: 'blob-events'", "events: 'uploads'", "poison"),
    ("operation forgotten", "infra/modules/contract.bicep", ", 'SftpCommit'", "", "`completeApis`"),
    ("new names stopped", "infra/modules/subscription.bicep", "advancedFilters: renames ? renameFilters : createdFilters", "advancedFilters: createdFilters", "keeps back"),
    ("messages tried five times only", "host.json", "\"maxDequeueCount\": 1440", "\"maxDequeueCount\": 5", "tried for a day"),
    ("traces sampled away", "host.json", "Request;Exception;Trace", "Request;Exception", "sampled away"),
    ("role dropped", "infra/modules/storage.bicep", "resource ledger 'Microsoft.Authorization/roleAssignments@2022-04-01' = {", "resource ledger 'Microsoft.Authorization/roleAssignments@2022-04-01' existing = {", "is not assigned any more"),
    ("role of the wrong GUID", "infra/modules/roles.bicep", "b7e6dc6d-f1e8", "b7e6dc6d-f1e9", "is not the role"),
    ("role that is too much", "infra/modules/data-access.bicep", "roles.storageBlobDataReader)\n    description", "roles.storageBlobDataOwner)\n    description", "nobody allowed"),
    ("kind of principal left out", "infra/modules/monitoring.bicep", "    principalType: 'ServicePrincipal'\n", "", "principalType"),
    ("role assignment of another name each time", "infra/modules/storage.bicep", "name: guid(account.id, principalId, roles.storageTableDataContributor)", "name: newGuid()", "`newGuid` is not to be used"),
    ("shared key on", "infra/modules/storage.bicep", "allowSharedKeyAccess: false", "allowSharedKeyAccess: true", "allowSharedKeyAccess"),
    ("local authentication on", "infra/modules/monitoring.bicep", "DisableLocalAuth: true", "DisableLocalAuth: false", "DisableLocalAuth"),
    ("old TLS", "infra/modules/storage.bicep", "'TLS1_2'", "'TLS1_0'", "minimumTlsVersion"),
    ("runtime of a version that is not", "infra/modules/function.bicep", "version: '1.0'", "version: '1'", "runtime/version"),
    ("setting that Flex Consumption refuses", "infra/main.bicep", "      SCOREKEEPER_TASK_HUB: taskHub\n", "      SCOREKEEPER_TASK_HUB: taskHub\n      FUNCTIONS_WORKER_RUNTIME: 'custom'\n", "must not be there"),
    ("key in a setting", "infra/modules/storage.bicep", "output name string = account.name", "output name string = account.listKeys().keys[0].value", "infra/modules/storage.bicep"),
    ("name of the public cloud", "infra/modules/storage.bicep", "output tableEndpoint string = account.properties.primaryEndpoints.table", "output tableEndpoint string = 'https://${account.name}.table.core.windows.net'", "core.windows.net"),
    ("tags left out", "infra/modules/topic.bicep", "  tags: tags\n  identity", "  identity", "must have tags"),
    ("description left out", "infra/main.bicep", "@description('Most instances.')\n", "", "has no @description"),
    ("dead letters forgotten", "infra/modules/subscription.bicep", "    deadLetterWithResourceIdentity: {\n      identity: {", "    deadLetterWithResourceIdentit: {\n      identity: {", "deadLetterWithResourceIdentity"),
    ("retries left to chance", "infra/modules/subscription.bicep", "      maxDeliveryAttempts: maxDeliveryAttempts\n", "", "retryPolicy/maxDeliveryAttempts"),
    ("filter that keeps back what a rule wants", "infra/modules/subscription.bicep", "!contains(rule.match, 'account') || ", "contains(rule.match, 'account') && ", "keeps back"),
    ("filter beyond the limit", "infra/modules/subscription.bicep", "var mostPrefixes = 12", "var mostPrefixes = 120", "Event Grid takes 25"),
    ("app before its roles", "infra/main.bicep", "dependsOn: [workspaceAccess, dataAccess]", "dependsOn: [workspaceAccess]", "must wait for `dataAccess`"),
    ("second stage without a parameter", "infra/main.bicep", "    runbookUrl: {\n      value: runbookUrl\n    }\n", "", "the output `events`"),
    ("rule of an account that is not watched", "infra/params/prod.rules.json", "stimagesprod", "stpictures", "is not watched"),
    ("alert on a field that no record has", "infra/queries/records.kql", "record.scoring", "record.scoring_id", "no record of the log has `scoring_id`"),
    ("field renamed in the handler only", "handler/app/src/driver.rs", "rule = after.rule.as_str(), from = %before.status", "rule = after.rule.as_str(), was = %before.status", "no record of the log has `from`"),
    ("alert on a status that is none", "infra/queries/alert-failed.kql", "'failed'", "'broken'", "`broken` is not a status"),
    ("alert on a function that is none", "infra/queries/alert-heartbeat.kql", "'Reconcile'", "'Reconciler'", "no function `Reconciler`"),
    ("alert on words that are never said", "infra/queries/alert-quarantined.kql", "event quarantined", "event in quarantine", "never says"),
    ("workbook with a column that is none", "infra/queries/workbook-by-rule.kql", "by rule\n", "by rules\n", "nothing is called `rules`"),
    ("alert without a runbook", "infra/modules/alerts.bicep", "name: 'stuck'", "name: 'stalled'", "no runbook"),
    ("README that tells something else", "infra/README.md", "| `taskHub` | `'Scorekeeper'` |", "| `taskHub` | `'Hub'` |", "cargo xtask docs"),
    ("action that is not pinned", ".github/workflows/ci.yml", "actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0", "actions/checkout@v5", "pinned by its commit"),
    ("alert on orphaned jobs by words that are never said", "infra/queries/alert-orphaned-jobs.kql", "'orphaned job'", "'job gone astray'", "never says"),
    ("output renamed and still asked for", "infra/main.bicep", "output ledgerUrl string", "output tableUrl string", "no output `ledgerUrl`"),
    ("variable that no command has set", "infra/README.md", "APP=$(output functionAppName)\n", "", "uses `APP`"),
    ("placeholder that nobody explains", "infra/README.md", "--name UPLOADS --query id", "--name WATCHED --query id", "what `WATCHED` is"),
    ("stages in the wrong order", "infra/README.md", "az functionapp deployment source config-zip", "echo az functionapp deployment", "out of order"),
    ("parameter file that is not there", "infra/README.md", "--parameters infra/params/dev.bicepparam\n", "--parameters infra/params/test.bicepparam\n", "there is no infra/params/test.bicepparam"),
    ("variable of the pipeline that nobody sets", ".github/workflows/deploy.yml", "vars.AZURE_RESOURCE_GROUP", "vars.AZURE_GROUP", "nobody sets `AZURE_GROUP`"),
    ("variable of azd that nobody reads", "infra/azd/main.bicepparam", "'COMPUTE_PRINCIPALS', '')) ? [] : split(readEnvironmentVariable('COMPUTE_PRINCIPALS'", "'COMPUTE', '')) ? [] : split(readEnvironmentVariable('COMPUTE'", "`COMPUTE_PRINCIPALS` is set"),
    ("variable of an environment outside of it", ".github/workflows/deploy.yml", "jobs:\n  package:", "env:\n  GROUP: ${{ vars.AZURE_RESOURCE_GROUP }}\n\njobs:\n  package:", "only in its job"),
    ("release that is built once", ".github/workflows/release.yml", "cargo xtask reproduce", "echo reproduced", "built twice"),
    ("release without its bill of materials", ".github/workflows/release.yml", "cp target/app/sbom.cdx.json dist/", "ls target/app/sbom.cdx.json # dist/", "bill of materials"),
    ("deployment without a look", ".github/workflows/deploy.yml", "az deployment group what-if --resource-group \"$GROUP\" --name scorekeeper ", "echo --name scorekeeper ", "must come first"),
];

#[test]
fn every_seeded_defect_is_named() {
    let files = Files::load();
    let mut unnoticed = Vec::new();
    for (defect, path, from, to, said) in DEFECTS {
        let found = findings(&Project::read(files.spoilt(path, from, to)));
        if !found.iter().any(|finding| finding.contains(said)) {
            unnoticed.push(format!("{defect}: expected `{said}`, found {found:#?}"));
        }
    }
    let moved = files.moved("function-definitions/Reconcile/function.json", "function-definitions/Tick/function.json");
    let found = findings(&Project::read(moved));
    for said in [
        "there is no function-definitions/Reconcile/function.json",
        "Tick/function.json: infra/modules/contract.bicep does not know",
    ] {
        if !found.iter().any(|finding| finding.contains(said)) {
            unnoticed.push(format!("function renamed: expected `{said}`, found {found:#?}"));
        }
    }
    assert!(unnoticed.is_empty(), "{}", unnoticed.join("\n"));
}
