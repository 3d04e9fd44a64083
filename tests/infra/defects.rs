//! Seeded defects: each is put into a copy of the files, and the checks must name it. A check that notices nothing here
//! would notice nothing in a review either.
//!
//! Defects of templates are put into the source where there is a compiler, which then says so itself or predicts something else,
//! and the checks read that. Without one the prediction is spoilt the same way.

use super::compiler::{self, Compiler};
use super::findings;
use super::predictions::{self, of_these_sources};
use super::project::{Files, Project};

/// What is spoilt: file, text, what it becomes; and a part of what must be said.
#[rustfmt::skip] // a table
const DEFECTS: &[(&str, &str, &str, &str, &str)] = &[
    ("setting renamed in the handler only", "handler/src/config/mod.rs", "//! | `SCOREKEEPER_TASK_HUB` |", "//! | `SCOREKEEPER_HUB_NAME` |", "the handler reads `SCOREKEEPER_HUB_NAME`"),
    ("schedule that the function does not ask for", "function-definitions/Reconcile/function.json", "%RECONCILE_SCHEDULE%", "%TICK_SCHEDULE%", "`TICK_SCHEDULE`, which is not set"),
    ("trigger of another kind", "function-definitions/BlobCreated/function.json", "eventGridTrigger", "httpTrigger", "must have a eventGridTrigger"),
    ("table renamed in the handler only", "handler/app/src/ledger/mod.rs", "named(\"History\")", "named(\"Past\")", "the handler's tables"),
    ("messages tried five times only", "host.json", "\"maxDequeueCount\": 1440", "\"maxDequeueCount\": 5", "tried for a day"),
    ("what the poison runbook looks for kept back", "host.json", "      \"Azure.Storage.Queues.QueueServiceClient\": \"Warning\",\n", "", "no Warning of `Azure.Storage.Queues.QueueServiceClient` is let through"),
    ("key in the role of the machine learning group", "infra/ml-role.json", "workspaces/computes/read", "workspaces/computes/listKeys/action", "reads a key or a secret"),
    ("more than index tags in the role of the watched accounts", "infra/tags-role.json", "blobs/tags/read", "blobs/read", "it reads index tags, and nothing else"),
    ("action of that role whose reason nobody tells", "infra/README.md", "| `models/read` |", "| `models/reads` |", "`models/read` is in the table or in infra/ml-role.json, and not in both"),
    ("right to write of who only looks", "infra/look-role.json", "deployments/validate/action", "deployments/write", "must not be able to change anything"),
    ("traces sampled away", "host.json", "Request;Exception;Trace", "Request;Exception", "sampled away"),
    ("alert on a field that no record has", "infra/queries/records.kql", "record.scoring", "record.scoring_id", "no record of the log has `scoring_id`"),
    ("field renamed in the handler only", "handler/app/src/driver.rs", "rule = after.rule.as_str(), from = %before.status", "rule = after.rule.as_str(), was = %before.status", "no record of the log has `from`"),
    ("panel on a status that is none", "infra/queries/workbook-outcomes.kql", "'failed'", "'broken'", "`broken` is not a status"),
    ("alert on a function that is none", "infra/queries/alert-heartbeat.kql", "'Reconcile'", "'Reconciler'", "no function `Reconciler`"),
    ("alert on words that are never said", "infra/queries/alert-quarantined.kql", "reconcile run ended", "reconcile run over", "never says"),
    ("README that tells something else", "infra/README.md", "| `delivery.mode` |", "| `delivery.way` |", "cargo xtask docs"),
    ("action that is not pinned", ".github/workflows/ci.yml", "actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0", "actions/checkout@v5", "pinned by its commit"),
    ("alert on orphaned jobs by a count that no run tells", "infra/queries/alert-orphaned-jobs.kql", "record.unacknowledged_orphaned)", "record.orphans)", "no record of the log has `orphans`"),
    ("parameter file that is not there", "infra/README.md", "PARAMETERS=infra/params/dev.bicepparam ", "PARAMETERS=infra/params/test.bicepparam ", "there is no infra/params/test.bicepparam"),
    ("variable of the pipeline that nobody sets", ".github/workflows/deploy.yml", "vars.AZURE_RESOURCE_GROUP", "vars.AZURE_GROUP", "nobody sets `AZURE_GROUP`"),
    ("variable of an environment outside of it", ".github/workflows/deploy.yml", "jobs:\n  package:", "env:\n  GROUP: ${{ vars.AZURE_RESOURCE_GROUP }}\n\njobs:\n  package:", "only in its job"),
    ("release that is built once", ".github/workflows/release.yml", "cargo xtask reproduce", "echo reproduced", "built twice"),
    ("release without its bill of materials", ".github/workflows/release.yml", "cargo xtask release --tag", "ls dist # --tag", "bill of materials"),
    ("image that nothing attests", ".github/workflows/release.yml", "          subject-digest: ${{ steps.image.outputs.digest }}\n", "", "attested by its own digest"),
    ("image of an owner with capitals", ".github/workflows/release.yml", "--tag \"$image:", "--tag \"ghcr.io/$GITHUB_REPOSITORY:", "refuses capitals"),
    ("deployment without a look", ".github/workflows/deploy.yml", "infra/deploy.sh what-if", "echo nothing", "must come first"),
];

/// A defect of a template: what is spoilt in its source, the part of the predictions that shows it, a part of what must be said,
/// and the same defect in a prediction: file, text, what it becomes. Without the last only the compiler can see it, and the digest.
struct OfTemplate {
    defect: &'static str,
    path: &'static str,
    from: &'static str,
    to: &'static str,
    part: &'static str,
    said: &'static str,
    predicted: Option<(&'static str, &'static str, &'static str)>,
}

#[rustfmt::skip] // a table
const fn seen(defect: &'static str, path: &'static str, from: &'static str, to: &'static str, part: &'static str, said: &'static str, predicted: (&'static str, &'static str, &'static str)) -> OfTemplate {
    OfTemplate { defect, path, from, to, part, said, predicted: Some(predicted) }
}

/// What the compiler or its linter refuses by itself.
#[rustfmt::skip] // a table
const fn refused(defect: &'static str, path: &'static str, from: &'static str, to: &'static str, said: &'static str) -> OfTemplate {
    OfTemplate { defect, path, from, to, part: "dev", said, predicted: None }
}

#[rustfmt::skip] // a table
const OF_TEMPLATES: &[OfTemplate] = &[
    refused("syntax error", "infra/main.bicep", "module identity '", "module identity ", "BCP"),
    refused("unknown property", "infra/modules/storage.bicep", "accessTier: 'Hot'", "accesTier: 'Hot'", "BCP089"),
    refused("wrong parent", "infra/modules/storage.bicep", "  parent: tableService\n", "  parent: blobs\n", "BCP036"),
    refused("missing required property", "infra/modules/storage.bicep", "  kind: 'StorageV2'\n", "", "BCP035"),
    refused("unknown version", "infra/modules/storage.bicep", "managementPolicies@2025-06-01", "managementPolicies@2025-06-02", "BCP081"),
    refused("wrong kind of value", "infra/modules/function.bicep", "reserved: true", "reserved: 'yes'", "BCP036"),
    seen("value that does not exist", "infra/modules/subscription.bicep", "operatorType: 'StringIn'", "operatorType: 'StringsIn'", "filters", "keeps back", ("filters", "StringIn", "StringsIn")),
    refused("undefined symbol", "infra/main.bicep", "    taskHub: taskHub\n", "    taskHub: taskHubb\n", "BCP057"),
    refused("missing parameter of a module", "infra/main.bicep", "    options: state\n", "", "BCP035"),
    refused("misspelt output of a module", "infra/main.bicep", "storage.outputs.tableEndpoint\n", "storage.outputs.tablesEndpoint\n", "BCP"),
    refused("misspelt member of an option", "infra/params/dev.bicepparam", "computePrincipalIds: empty", "computePrincipals: empty", "BCP089"),
    refused("missing parameter of an environment", "infra/params/dev.bicepparam", "param rules = loadJsonContent('dev.rules.json')\n", "", "BCP258"),
    refused("unused parameter", "infra/main.bicep", "    options: state\n", "    options: {}\n", "no-unused-params"),
    refused("role assignment of another name each time", "infra/modules/storage.bicep", "name: guid(account.id, principalId, roles.storageTableDataContributor)", "name: newGuid()", "BCP065"),
    refused("key in a setting", "infra/modules/storage.bicep", "output name string = account.name", "output name string = account.listKeys().keys[0].value", "outputs-should-not-contain-secrets"),
    refused("name of the public cloud", "infra/modules/storage.bicep", "output tableEndpoint string = account.properties.primaryEndpoints.table", "output tableEndpoint string = 'https://${account.name}.table.core.windows.net'", "no-hardcoded-env-urls"),
    refused("description left out", "infra/modules/types.bicep", "  @description('Most instances (default 40, the least that the platform documents).')\n", "", "use-description-type-properties"),
    refused("dead letters forgotten", "infra/modules/subscription.bicep", "    deadLetterWithResourceIdentity: {\n      identity: {", "    deadLetterWithResourceIdentit: {\n      identity: {", "BCP089"),
    seen("setting renamed in the templates only", "infra/main.bicep", "SCOREKEEPER_RESOURCE_MANAGER:", "SCOREKEEPER_MANAGER:", "dev", "nobody reads the setting `SCOREKEEPER_MANAGER`", ("dev", "SCOREKEEPER_RESOURCE_MANAGER", "SCOREKEEPER_MANAGER")),
    seen("default that drifted", "infra/main.bicep", "?? 'Scorekeeper'", "?? 'Hub'", "dev", "default of `app.taskHub`", ("dev", "\"value\": \"Scorekeeper\"", "\"value\": \"Hub\"")),
    seen("setting with a value that the handler refuses", "infra/main.bicep", "SCOREKEEPER_TASK_HUB: taskHub", "SCOREKEEPER_TASK_HUB: '${taskHub} or so'", "dev", "the handler would not start", ("dev", "\"value\": \"Scorekeeper\"", "\"value\": \"Score keeper\"")),
    seen("rules that the handler refuses", "infra/params/dev.rules.json", "\"maxInFlight\": 5", "\"maxInFlights\": 5", "dev", "the handler would not start", ("dev", "\\\"maxInFlight\\\":5", "\\\"maxInFlights\\\":5")),
    seen("queue renamed without its poison queue", "infra/modules/contract.bicep", "events: 'blob-events'", "events: 'uploads'", "templates", "poison", ("templates", "\"blob-events\"", "\"uploads\"")),
    seen("operation forgotten", "infra/modules/contract.bicep", ", 'SftpCommit'", "", "templates", "`completeApis`", ("templates", "\"SftpCommit\"", "\"CopyBlob\"")),
    seen("role dropped", "infra/modules/storage.bicep", "resource ledger 'Microsoft.Authorization/roleAssignments@2022-04-01' = {", "resource ledger 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (queueDelivery) {", "dev", "is not assigned any more", ("dev", "roleDefinitions/0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3", "roleDefinitions/2a2b9908-6ea1-4ae2-8e65-a410df84e7d1")),
    seen("role of the wrong GUID", "infra/modules/roles.bicep", "b7e6dc6d-f1e8", "b7e6dc6d-f1e9", "templates", "is not the role", ("templates", "b7e6dc6d-f1e8", "b7e6dc6d-f1e9")),
    seen("role that is too much", "infra/modules/data-access.bicep", "roles.storageBlobDataReader)\n    description", "roles.storageBlobDataOwner)\n    description", "dev", "its name must be the guid()", ("dev", "roleDefinitions/2a2b9908-6ea1-4ae2-8e65-a410df84e7d1", "roleDefinitions/b7e6dc6d-f1e8-4753-8033-0f276bb0955b")),
    seen("right on more than is needed", "infra/modules/topic-access.bicep", "  scope: deadLetters\n", "  scope: account\n", "dev", "nobody allowed", ("dev.events", "/blobServices/default/containers/dead-letters', 'Microsoft.Authorization", "', 'Microsoft.Authorization")),
    seen("kind of principal left out", "infra/modules/monitoring.bicep", "    principalType: 'ServicePrincipal'\n", "", "dev", "principalType", ("dev", "\"principalType\": \"ServicePrincipal\",", "")),
    seen("shared key on", "infra/modules/storage.bicep", "allowSharedKeyAccess: false", "allowSharedKeyAccess: true", "dev", "allowSharedKeyAccess", ("dev", "\"allowSharedKeyAccess\": false", "\"allowSharedKeyAccess\": true")),
    seen("local authentication on", "infra/modules/monitoring.bicep", "DisableLocalAuth: true", "DisableLocalAuth: false", "dev", "DisableLocalAuth", ("dev", "\"DisableLocalAuth\": true", "\"DisableLocalAuth\": false")),
    seen("old TLS", "infra/modules/storage.bicep", "'TLS1_2'", "'TLS1_0'", "dev", "minimumTlsVersion", ("dev", "TLS1_2", "TLS1_0")),
    seen("runtime of a version that is not", "infra/modules/function.bicep", "version: '1.0'", "version: '1'", "dev", "runtime/version", ("dev", "\"version\": \"1.0\"", "\"version\": \"1\"")),
    seen("setting that Flex Consumption refuses", "infra/main.bicep", "      SCOREKEEPER_TASK_HUB: taskHub\n", "      SCOREKEEPER_TASK_HUB: taskHub\n      FUNCTIONS_WORKER_RUNTIME: 'custom'\n", "dev", "must not be there", ("dev", "\"SCOREKEEPER_RULES\"", "\"FUNCTIONS_WORKER_RUNTIME\"")),
    seen("tags left out", "infra/modules/topic.bicep", "  tags: {\n    'made-by': 'scorekeeper'\n  }\n", "", "dev", "must have tags", ("dev.events", "\"tags\": {", "\"tag\": {")),
    seen("retries left to chance", "infra/modules/subscription.bicep", "      maxDeliveryAttempts: 30\n", "", "dev", "retryPolicy/maxDeliveryAttempts", ("dev.events", "\"maxDeliveryAttempts\": 30", "\"maxDeliveryAttempt\": 30")),
    seen("filter that keeps back what a rule wants", "infra/modules/subscription.bicep", "!contains(rule.match, 'account') || ", "contains(rule.match, 'account') && ", "filters", "keeps back", ("filters", "/containers/con/", "/containers/d/")),
    seen("filter beyond the limit", "infra/modules/subscription.bicep", "var mostPrefixes = 12", "var mostPrefixes = 120", "filters", "Event Grid takes 25", ("filters", "\"PutBlob\"", "\"PutBlob\",1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25")),
    seen("app before its roles", "infra/main.bicep", "dependsOn: [workspaceAccess, blobAccess]", "dependsOn: [workspaceAccess]", "templates", "must wait for `blobAccess`", ("templates", "\"blobAccess\",", "")),
    seen("second stage without a parameter", "infra/main.bicep", "    rules: { value: rules }\n", "", "dev", "BCP258", ("dev", "\"installation\": {", "\"installed\": {")),
    // The template refuses the source in words of its own: no rule is left for the watched one.
    seen("rule of an account that is not watched", "infra/params/prod.rules.json", "stimagesprod", "stpictures", "prod", " watched", ("prod", "\\\"account\\\":\\\"stimagesprod", "\\\"account\\\":\\\"stpictures")),
    seen("alert without a runbook", "infra/modules/alerts.bicep", "name: 'stuck'", "name: 'stalled'", "dev", "no runbook", ("dev", "Scorekeeper: stuck", "Scorekeeper: stalled")),
    seen("link to a runbook that is nobody's", "infra/main.bicep", "monitoring.?runbookUrl ?? ''", "monitoring.?runbookUrl ?? 'https://contoso.com/runbooks'", "dev", "links a runbook that nobody has named", ("dev", "Scorekeeper: stuck", "Runbook: https://contoso.com/runbooks#stuck")),
    seen("deployment of the same name for two installations", "infra/events.bicep", "-${functionAppName}', 50)}-${unique}'", "-${functionAppName}', 50)}-again'", "templates", "same name for two installations", ("templates", "variables('unique')", "variables('functionAppName')")),
    seen("setting that is sent though nobody asks", "infra/main.bicep", "      SCOREKEEPER_TASK_HUB: taskHub\n", "      SCOREKEEPER_TASK_HUB: taskHub\n      SCOREKEEPER_LOG: 'info'\n", "packaged", "is sent though nobody asks", ("packaged", "\"SCOREKEEPER_RESOURCE_MANAGER\"", "\"SCOREKEEPER_LOG\"")),
    seen("output renamed and still asked for", "infra/main.bicep", "output functionAppResourceId string", "output siteId string", "templates", "no output `functionAppResourceId`", ("templates", "\"functionAppResourceId\"", "\"siteId\"")),
    seen("variable of azd that nobody reads", "infra/azd/main.bicepparam", "'COMPUTE_PRINCIPALS'", "'COMPUTE'", "azd", "`COMPUTE_PRINCIPALS` is set", ("", "", "")),
];

/// Kinds of defects, how many there are of each, and how they are noticed.
pub fn kinds() -> Vec<(&'static str, usize, &'static str)> {
    let of_templates = |refused: bool| OF_TEMPLATES.iter().filter(|it| it.predicted.is_none() == refused).count();
    vec![
        (
            "of templates, that cannot be deployed",
            of_templates(true),
            "by the compiler or its linter, in its own words",
        ),
        ("of templates, that would be deployed", of_templates(false), "by a check of what the compiler predicts"),
        (
            "of the handler, `host.json`, functions, queries, workflows, this page",
            DEFECTS.len() + 1,
            "by a check of the files",
        ),
    ]
}

#[test]
fn every_seeded_defect_is_named() {
    let files = Files::load();
    let mut unnoticed = Vec::new();
    let mut names = Vec::new();
    let mut expect = |defect: &str, said: &str, found: Vec<String>| {
        names.push(defect.to_owned());
        if !found.iter().any(|finding| finding.contains(said)) {
            unnoticed.push(format!("{defect}: expected `{said}`, found {found:#?}"));
        }
    };
    for (defect, path, from, to, said) in DEFECTS {
        expect(defect, said, findings(&Project::read(files.spoilt(path, from, to))));
    }
    for OfTemplate { defect, path, from, to, said, predicted, .. } in OF_TEMPLATES {
        let spoilt = files.spoilt(path, from, to);
        expect(defect, "cargo xtask infra", of_these_sources(&spoilt).err().into_iter().collect());
        let spoilt = match predicted {
            None => continue,
            // What the checks read of the source itself.
            Some(("", ..)) => spoilt,
            Some((file, from, to)) => files.spoilt(&format!("infra/snapshots/{file}.json"), from, to),
        };
        // The compiler's own word for it is not known here.
        let said = if said.starts_with("BCP") { "the output `events`" } else { said };
        expect(defect, said, findings(&Project::read(spoilt)));
    }
    let moved = files.moved("function-definitions/Reconcile/function.json", "function-definitions/Tick/function.json");
    let found = findings(&Project::read(moved));
    for said in [
        "there is no function-definitions/Reconcile/function.json",
        "Tick/function.json: infra/modules/contract.bicep does not know",
    ] {
        expect("function renamed", said, found.clone());
    }
    names.sort_unstable();
    names.dedup();
    println!("{} seeded defects: {}", names.len(), names.join("; "));
    assert_eq!(names.len(), kinds().iter().map(|(_, count, _)| count).sum::<usize>(), "each has a name of its own");
    assert!(unnoticed.is_empty(), "{}", unnoticed.join("\n"));
}

/// The same defects of templates in their sources, where there is a compiler.
#[test]
fn every_seeded_defect_of_a_template_is_named_by_the_compiler_or_by_us() {
    let Some(program) = compiler::find() else { return println!("left out: there is no Bicep compiler") };
    let files = Files::load();
    let mut compiler = Compiler::start(&program, &files);
    let mut unnoticed = Vec::new();
    for OfTemplate { defect, path, from, to, part, said, .. } in OF_TEMPLATES {
        let mut spoilt = files.spoilt(path, from, to);
        compiler.write(path, spoilt.get(path));
        let is_data = path.contains(".rules.");
        if is_data {
            compiler.restart();
        }
        let found = match predictions::predict_part(&mut compiler, part) {
            Err(why) => vec![why],
            Ok(predicted) => {
                for (path, text) in predicted {
                    spoilt.put(&path, text);
                }
                findings(&Project::read(spoilt))
            }
        };
        compiler.write(path, files.get(path));
        if is_data {
            compiler.restart();
        }
        if !found.iter().any(|finding| finding.contains(said)) {
            unnoticed.push(format!("{defect}: expected `{said}`, found {found:#?}"));
        }
    }
    assert!(unnoticed.is_empty(), "{}", unnoticed.join("\n"));
}
