//! Azure's permissions: which actions a set of them allows, and which ones the app needs.
//!
//! An action is allowed by a role if one of its `actions` matches and none of its `notActions` does; what one role takes
//! out another may give. `*` stands for any text, in any case, slashes included. Deny assignments are not seen here.
//!
//! Source: Azure RBAC, *Understand Azure role definitions*; Microsoft's list of what invoking a batch endpoint takes, see
//! `infra/ml-role.json`, which a test compares with the lists below.

use serde_json::Value;

use crate::finding::Check;

const ML: &str = "Microsoft.MachineLearningServices/workspaces/";

/// The workspace itself. It is looked at and not asked for: `workspaces/*/read`, as built-in roles have it, seems to hold
/// for it too, which no other rule of patterns would tell.
#[cfg(test)]
const WORKSPACE: &[&str] = &["read"];

/// Without these a request of ours is refused.
pub(super) const INVOKE: &[&str] = &[
    "batchEndpoints/read",
    "batchEndpoints/deployments/read",
    "batchEndpoints/jobs/write",
    "batchEndpoints/deployments/jobs/write",
];

/// To poll jobs on the endpoint, and to look for lost ones in the workspace.
pub(super) const JOBS: &[&str] = &["batchEndpoints/jobs/read", "batchEndpoints/deployments/jobs/read", "jobs/read"];

/// To stop stuck and orphaned jobs.
pub(super) const CANCEL: &[&str] = &["jobs/cancel/action"];

/// To find out where outputs lie.
pub(super) const DATASTORES: &[&str] = &["datastores/read"];

/// What a run does in its invoker's name. Microsoft lists these and more; the list is not minimal, so one that is missing is
/// worth a warning and proves nothing. `infra/README.md` says why each is here, and what was left out.
pub(super) const RUN: &[&str] = &[
    "computes/read",
    "data/versions/write",
    "datasets/registered/read",
    "datasets/registered/write",
    "datasets/unregistered/read",
    "datasets/unregistered/write",
    "endpoints/pipelines/read",
    "endpoints/pipelines/write",
    "environments/read",
    "environments/build/action",
    "experiments/read",
    "experiments/runs/read",
    "experiments/runs/write",
    "experiments/runs/submit/action",
    "metadata/artifacts/read",
    "metadata/artifacts/write",
    "metadata/snapshots/read",
    "metrics/resource/write",
    "models/read",
    "modules/read",
];

/// What a job takes in its invoker's name where its datastore keeps an account key or a SAS. `infra/ml-role.json` leaves it out: who
/// has it can read the key.
pub(super) const STORED_CREDENTIALS: &[&str] = &["datastores/listsecrets/action"];

/// The capabilities that are told apart, with what each takes.
pub(super) const CAPABILITIES: &[(Check, &[&str])] =
    &[(Check::Invoke, INVOKE), (Check::Jobs, JOBS), (Check::Cancel, CANCEL), (Check::Datastores, DATASTORES)];

/// Reads the content of blobs.
pub(super) const READ_BLOBS: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read";
/// Reads index tags of blobs.
pub(super) const READ_INDEX_TAGS: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/tags/read";
/// Data action that writes the content of blobs.
pub(super) const WRITE_BLOBS: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write";
/// Data action that puts messages into queues, for topics that deliver to one.
pub(super) const SEND_MESSAGES: &str = "Microsoft.Storage/storageAccounts/queueServices/queues/messages/add/action";
/// Data action that writes rows of tables, as the ledger does.
pub(super) const WRITE_ROWS: &str = "Microsoft.Storage/storageAccounts/tableServices/tables/entities/write";

/// What one entry of a role's `permissions` allows, less what it takes out of that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Grant {
    actions: Vec<String>,
    not_actions: Vec<String>,
    data_actions: Vec<String>,
    not_data_actions: Vec<String>,
}

impl Grant {
    /// An entry of `permissions`, as both the permissions of a caller and role definitions have it.
    pub(super) fn read(value: &Value) -> Self {
        let list = |name: &str| {
            let items = value.get(name).and_then(Value::as_array).into_iter().flatten();
            items.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self {
            actions: list("actions"),
            not_actions: list("notActions"),
            data_actions: list("dataActions"),
            not_data_actions: list("notDataActions"),
        }
    }

    /// A grant of data actions alone.
    pub(super) fn of_data(data_actions: &[&str]) -> Self {
        Self { data_actions: data_actions.iter().map(|action| (*action).to_owned()).collect(), ..Self::default() }
    }
}

fn any(patterns: &[String], action: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, action))
}

/// Whether any of the grants allows an action of Resource Manager.
pub(super) fn allowed(grants: &[Grant], action: &str) -> bool {
    grants.iter().any(|grant| any(&grant.actions, action) && !any(&grant.not_actions, action))
}

/// Whether any of the grants allows an action on data.
pub(super) fn allowed_on_data(grants: &[Grant], action: &str) -> bool {
    grants.iter().any(|grant| any(&grant.data_actions, action) && !any(&grant.not_data_actions, action))
}

/// Those of the machine learning actions that no grant allows, with their full names.
pub(super) fn missing(grants: &[Grant], needed: &[&str]) -> Vec<String> {
    let full = needed.iter().map(|action| format!("{ML}{action}"));
    full.filter(|action| !allowed(grants, action)).collect()
}

/// `*` is any text, also none. Letters are compared without regard to case.
fn matches(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_ascii_lowercase(), action.to_ascii_lowercase());
    let mut parts = pattern.split('*');
    // `split` gives one part at least.
    let Some(mut rest) = action.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(last) = pattern.contains('*').then(|| pattern.rsplit('*').next().unwrap_or_default()) else {
        return rest.is_empty();
    };
    let inner = pattern.matches('*').count() - 1;
    for part in parts.take(inner) {
        // The first place will do: what is left for the others is longest then.
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn stars_stand_for_any_text_and_case_does_not_count() {
        for (pattern, action, expected) in [
            ("*", "Microsoft.X/y/read", true),
            ("*/read", "Microsoft.X/y/z/read", true),
            ("*/read", "Microsoft.X/y/z/reader", false),
            ("Microsoft.X/*", "microsoft.x/y/read", true),
            ("Microsoft.X/y/*/read", "Microsoft.X/y/z/w/read", true),
            ("Microsoft.X/y/*/read", "Microsoft.X/y/read", false),
            ("Microsoft.X/y/read", "Microsoft.X/y/READ", true),
            ("Microsoft.X/y/read", "Microsoft.X/y/read/more", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXc", false),
            ("a*a", "a", false),
            ("", "a", false),
            ("**", "anything", true),
        ] {
            assert_eq!(matches(pattern, action), expected, "{pattern} on {action}");
        }
    }

    fn grants(value: &Value) -> Vec<Grant> {
        value.as_array().unwrap().iter().map(Grant::read).collect()
    }

    /// As the built-in role AzureML Data Scientist is defined.
    fn data_scientist() -> Value {
        let prefix = "Microsoft.MachineLearningServices/workspaces";
        json!([{
            "actions": [format!("{prefix}/*/read"), format!("{prefix}/*/action"), format!("{prefix}/*/delete"),
                        format!("{prefix}/*/write")],
            "notActions": [format!("{prefix}/delete"), format!("{prefix}/write"), format!("{prefix}/computes/*/write"),
                           format!("{prefix}/computes/*/delete"), format!("{prefix}/computes/listKeys/action"),
                           format!("{prefix}/listKeys/action")],
        }])
    }

    #[test]
    fn the_built_in_role_is_enough_for_everything() {
        for (check, needed) in CAPABILITIES {
            assert_eq!(missing(&grants(&data_scientist()), needed), Vec::<String>::new(), "{check}");
        }
        assert_eq!(missing(&grants(&data_scientist()), RUN), Vec::<String>::new());
    }

    #[test]
    fn what_one_role_takes_out_another_may_give() {
        let cancel = "Microsoft.MachineLearningServices/workspaces/jobs/cancel/action";
        let without = json!([{"actions": ["*"], "notActions": [cancel]}]);
        assert_eq!(missing(&grants(&without), CANCEL), [cancel]);
        let with = json!([{"actions": ["*"], "notActions": [cancel]}, {"actions": ["*/jobs/cancel/action"]}]);
        assert_eq!(missing(&grants(&with), CANCEL), Vec::<String>::new());
        assert_eq!(missing(&[], CANCEL), [cancel]);
    }

    #[test]
    fn rights_to_manage_are_no_rights_to_data_and_the_reverse() {
        let owner = grants(&json!([{"actions": ["*"], "notActions": []}]));
        assert!(allowed(&owner, READ_BLOBS) && !allowed_on_data(&owner, READ_BLOBS));
        let reader = [Grant::of_data(&[READ_BLOBS])];
        assert!(allowed_on_data(&reader, READ_BLOBS) && !allowed(&reader, READ_BLOBS));
        assert!(!allowed_on_data(&reader, WRITE_BLOBS));
        let barred = grants(&json!([{"dataActions": ["*"], "notDataActions": ["*/blobs/write"]}]));
        assert!(allowed_on_data(&barred, READ_BLOBS) && !allowed_on_data(&barred, WRITE_BLOBS));
    }

    #[test]
    fn the_role_of_the_templates_and_these_lists_are_the_same() {
        const ROLE: &str = include_str!("../../../infra/ml-role.json");
        let role: Value = serde_json::from_str(ROLE).unwrap();
        let actions = role["Actions"].as_array().unwrap().iter().map(|action| action.as_str().unwrap());
        let actions =
            actions.map(|action| action.strip_prefix("Microsoft.MachineLearningServices/workspaces/").unwrap());
        let role: std::collections::BTreeSet<&str> = actions.collect();
        let lists = [WORKSPACE, INVOKE, JOBS, CANCEL, DATASTORES, RUN].concat();
        let ours: std::collections::BTreeSet<&str> = lists.iter().copied().collect();
        assert_eq!(lists.len(), ours.len(), "each action is in one list");
        assert_eq!(ours, role);
        assert!(STORED_CREDENTIALS.iter().all(|action| !role.contains(action)));
    }
}
