//! Role assignments: who gets what on what, and nothing besides.

use serde_json::{Value, json};

use super::project::Project;
use super::snapshot::kind_of;

/// What reading index tags takes.
const INDEX_TAGS: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/tags/read";

/// Built-in roles with their GUIDs (Microsoft's list of built-in roles), who may have them on what, and the snapshots in which
/// that must be so. Anything else is too much until somebody adds it here.
#[rustfmt::skip] // a table
const ROLES: [(&str, &str, &str, &str, &[&str]); 11] = [
    ("azureMLDataScientist", "f6c7c914-8db3-469d-8ca1-694a8f32e121", "Function app", "workspaces", &["azd", "branches", "dev"]),
    ("monitoringMetricsPublisher", "3913510d-42f4-4e42-8a64-420c390055eb", "Function app", "components", &["azd", "branches", "dev", "private", "prod"]),
    ("storageBlobDataContributor", "ba92f5b4-2d11-453d-a403-e96b0029c9fe", "Event Grid topic", "containers", &["branches", "dev.events", "private", "prod.events"]),
    ("storageBlobDataContributor", "ba92f5b4-2d11-453d-a403-e96b0029c9fe", "Function app", "containers", &["packaged"]),
    ("storageBlobDataOwner", "b7e6dc6d-f1e8-4753-8033-0f276bb0955b", "Function app", "storageAccounts", &["azd", "branches", "dev", "private", "prod"]),
    ("storageBlobDataReader", "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1", "Function app", "storageAccounts", &["azd", "branches", "dev", "prod"]),
    ("storageBlobDataReader", "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1", "Function app", "containers", &["packaged"]),
    ("storageBlobDataReader", "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1", "Compute cluster", "storageAccounts", &["prod"]),
    ("storageQueueDataContributor", "974c5e8b-45b9-4653-ba55-5f855dd0fb88", "Function app", "storageAccounts", &["branches", "private"]),
    ("storageQueueDataMessageSender", "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a", "Event Grid topic", "queues", &["branches", "private"]),
    ("storageTableDataContributor", "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3", "Function app", "storageAccounts", &["azd", "branches", "dev", "private", "prod"]),
];

/// Names of the built-in roles that are given to anybody.
pub fn built_in() -> impl Iterator<Item = &'static str> {
    ROLES.iter().map(|(role, ..)| *role)
}

/// A role assignment of a snapshot.
pub struct Assignment {
    snapshot: String,
    id: String,
    name: String,
    /// GUID of its definition.
    definition: String,
    /// Built-in role; `None`: the custom one.
    pub role: Option<&'static str>,
    scope: String,
    /// `WHO on WHAT: WHY`
    pub description: String,
}

/// All of them, stage by stage.
pub fn assignments(project: &Project) -> Vec<Assignment> {
    let mut all = Vec::new();
    for (name, snapshot) in &project.snapshots {
        for resource in snapshot.of("Microsoft.Authorization/roleAssignments") {
            let text = |member: &str| resource.get(member).as_str().unwrap_or_default().to_owned();
            let definition = text("properties/roleDefinitionId");
            let definition = definition.rsplit('/').next().unwrap_or_default().to_owned();
            all.push(Assignment {
                snapshot: name.clone(),
                id: resource.id.clone(),
                name: text("name"),
                role: ROLES.iter().find(|(_, guid, ..)| *guid == definition).map(|(role, ..)| *role),
                definition,
                scope: kind_of(resource.scope()).to_owned(),
                description: text("properties/description"),
            });
        }
    }
    all
}

pub fn check(project: &Project) -> Vec<String> {
    let mut findings = Vec::new();
    for (name, id) in project.templates["roles"]["variables"]["roles"].as_object().into_iter().flatten() {
        if !ROLES.iter().any(|(role, guid, ..)| role == name && id == guid) {
            findings.push(format!("infra/modules/roles.bicep: `{name}` is not the role {id}"));
        }
    }
    let all = assignments(project);
    for assignment in &all {
        let Assignment { snapshot, id, name, definition, role, scope, description } = assignment;
        let mut say = |what: String| findings.push(format!("{snapshot}: {id}: {what}"));
        // The custom role's name holds what its definition's does; a name without an expression is guid() of known values.
        let named =
            !name.starts_with('[') || (name.starts_with("[guid('/") && (role.is_none() || name.contains(definition)));
        if !named {
            say("its name must be the guid() of scope, principal and role".to_owned());
        }
        let Some((who, _)) = description.split_once(": ").and_then(|(head, _)| head.split_once(" on ")) else {
            say("its description must say `WHO on WHAT: WHY`".to_owned());
            continue;
        };
        let allowed =
            |(is, _, of, on, _): &(&str, &str, &str, &str, &[&str])| Some(*is) == *role && *of == who && on == scope;
        let actions = made(project, snapshot, definition);
        let custom = role.is_none()
            && who == "Function app"
            && match scope.as_str() {
                "workspaces" => actions.is_some_and(|it| it["dataActions"].as_array().is_none_or(Vec::is_empty)),
                // Index tags and nothing else.
                "storageAccounts" => {
                    actions.is_some_and(|it| it["actions"] == json!([]) && it["dataActions"] == json!([INDEX_TAGS]))
                }
                _ => false,
            };
        if !custom && !ROLES.iter().any(allowed) {
            say(format!("nobody allowed `{}` on {scope} to the {who}", role.unwrap_or(definition)));
        }
    }
    for (role, _, who, scope, snapshots) in ROLES {
        for name in snapshots {
            let given = |it: &Assignment| {
                it.snapshot == *name && it.role == Some(role) && it.scope == scope && it.description.starts_with(who)
            };
            if !all.iter().any(given) {
                findings.push(format!("{name}: `{role}` on {scope} is not assigned any more to the {who}"));
            }
        }
    }
    if !all.iter().any(|it| it.snapshot == "prod" && it.role.is_none()) {
        findings.push("prod: the custom role is not assigned any more".to_owned());
    }
    findings
}

/// What a role may that is defined by the same deployment.
fn made<'p>(project: &'p Project, snapshot: &str, definition: &str) -> Option<&'p Value> {
    let mut of = project.snapshots[snapshot].of("Microsoft.Authorization/roleDefinitions");
    of.find(|role| role.body["name"] == definition).map(|role| &role.body["properties"]["permissions"][0])
}

/// Only accounts whose rules ask for index tags, or those of which a parameter says so.
#[test]
fn the_right_to_read_index_tags_is_given_only_where_a_rule_asks_for_them() {
    let project = Project::load();
    let all = assignments(&project);
    let given = all.iter().filter(|it| it.role.is_none() && it.scope == "storageAccounts");
    let given: Vec<(&str, bool)> = given
        .map(|it| (it.snapshot.as_str(), it.id.to_ascii_lowercase().contains("/sssssssssssssssssssssssa'")))
        .collect();
    assert_eq!(given, [("branches", true), ("packaged", false)], "by a rule, and by dataAccess.indexTags");
}
