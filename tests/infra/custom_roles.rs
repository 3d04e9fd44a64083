//! Roles that are files: each holds what is needed and no more, and the README says of each action what for and by whose word.

use std::collections::BTreeSet;

use serde_json::Value;

use super::project::Project;
use super::snapshot::texts;

const ML_ROLE: &str = "infra/ml-role.json";
const LOOK_ROLE: &str = "infra/look-role.json";
const TAGS_ROLE: &str = "infra/tags-role.json";
const README: &str = "infra/README.md";
const WORKSPACES: &str = "Microsoft.MachineLearningServices/workspaces/";

/// Microsoft's list of what invoking takes: Azure Machine Learning, *Authorization on batch endpoints*, "Configure RBAC for batch
/// endpoints invoke".
#[rustfmt::skip] // a table
const LISTED: [&str; 35] = [
    "read", "data/versions/write", "datasets/registered/read", "datasets/registered/write", "datasets/unregistered/read",
    "datasets/unregistered/write", "datastores/read", "datastores/write", "datastores/listsecrets/action",
    "listStorageAccountKeys/action", "batchEndpoints/read", "batchEndpoints/write", "batchEndpoints/deployments/read",
    "batchEndpoints/deployments/write", "batchEndpoints/deployments/jobs/write", "batchEndpoints/jobs/write", "computes/read",
    "computes/listKeys/action", "metadata/secrets/read", "metadata/snapshots/read", "metadata/artifacts/read",
    "metadata/artifacts/write", "experiments/read", "experiments/runs/submit/action", "experiments/runs/read",
    "experiments/runs/write", "metrics/resource/write", "modules/read", "models/read", "endpoints/pipelines/read",
    "endpoints/pipelines/write", "environments/read", "environments/write", "environments/build/action",
    "environments/readSecrets/action",
];

/// What this app does besides: it looks for jobs, polls them and cancels them.
const OURS: [&str; 4] =
    ["batchEndpoints/jobs/read", "batchEndpoints/deployments/jobs/read", "jobs/read", "jobs/cancel/action"];

pub fn check(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    let role = actions(project, ML_ROLE);
    let short: BTreeSet<&str> = role.iter().map(|action| action.strip_prefix(WORKSPACES).unwrap_or(action)).collect();
    for action in role.iter().chain(&actions(project, LOOK_ROLE)) {
        let lower = action.to_lowercase();
        if ["secret", "keys", "sas", "password", "token", "credential"].iter().any(|word| lower.contains(word)) {
            findings.push(format!("`{action}` reads a key or a secret"));
        }
        if action.contains('*') {
            findings.push(format!("`{action}` is whatever Azure adds one day"));
        }
    }
    for action in short.iter().filter(|action| !LISTED.contains(action) && !OURS.contains(action)) {
        findings.push(format!("{ML_ROLE}: nobody says that `{action}` is needed"));
    }
    let (kept, left) = (rows(project, "| action, after "), rows(project, "| left out of "));
    for row in kept.iter().chain(&left) {
        let empty = row.iter().skip(1).any(|cell| cell.trim().is_empty());
        if empty || row.len() < 2 {
            findings.push(format!("{README}: `{}` has no reason or no source", row[0]));
        }
    }
    for row in kept.iter().filter(|row| !row[2].contains("](https://learn.microsoft.com/")) {
        findings.push(format!("{README}: `{}` has no source", row[0]));
    }
    let names = |rows: &[Vec<String>]| rows.iter().map(|row| row[0].clone()).collect::<BTreeSet<_>>();
    let owned = |all: &mut dyn Iterator<Item = &str>| all.map(str::to_owned).collect::<BTreeSet<_>>();
    let expected = owned(&mut short.iter().copied());
    for action in names(&kept).symmetric_difference(&expected) {
        findings.push(format!("{README}: `{action}` is in the table or in {ML_ROLE}, and not in both"));
    }
    let missing = owned(&mut LISTED.into_iter().filter(|action| !short.contains(action)));
    for action in names(&left).symmetric_difference(&missing) {
        findings.push(format!("{README}: `{action}` is left out or said to be, and not both"));
    }
    let tags: Value = serde_json::from_str(project.files.get(TAGS_ROLE)).unwrap_or_default();
    let action = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/tags/read";
    if texts(&tags["DataActions"]).ne([action]) || texts(&tags["Actions"]).next().is_some() {
        findings.push(format!("{TAGS_ROLE}: it reads index tags, and nothing else: {tags}"));
    }
    let look = actions(project, LOOK_ROLE);
    if look != ["validate", "whatIf"].map(|what| format!("Microsoft.Resources/deployments/{what}/action")) {
        findings.push(format!("{LOOK_ROLE}: who looks must not be able to change anything: {look:?}"));
    }
    findings
}

fn actions(project: &Project, path: &str) -> Vec<String> {
    let role: Value = serde_json::from_str(project.files.get(path)).unwrap_or_default();
    texts(&role["Actions"]).map(str::to_owned).collect()
}

/// The cells of a table of the README by the beginning of its heading, the first ones without their backticks.
fn rows(project: &Project, heading: &str) -> Vec<Vec<String>> {
    let page = project.files.get(README);
    let table = page.lines().skip_while(|line| !line.starts_with(heading)).skip(2);
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
    table.take_while(|line| line.starts_with('|')).map(cells).collect()
}

#[test]
fn each_action_of_a_role_has_its_reason_and_none_reads_a_secret() {
    let project = Project::load();
    super::none(&check(&project));
    assert_eq!(rows(&project, "| action, after ").len(), actions(&project, ML_ROLE).len());
}
