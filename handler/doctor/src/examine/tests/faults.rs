//! What can be wrong, one thing at a time.

use app::ports::Inconclusive;
use serde_json::{Value, json};

use super::installation::{CLUSTER, Case, URI, account, dead_letters, forbidden, sign_in, site, workspace};
use crate::permissions::READ_BLOBS;
use crate::{Audience, QueryError};
use stores::faulty::Fault;

/// The app's own rights on the watched container.
pub(super) fn permissions_on_claims() -> String {
    format!(
        "{}/blobServices/default/containers/claims/providers/Microsoft.Authorization/permissions",
        account("uploads")
    )
}

/// Breaks one thing; says which check must name it, and a text of its remedy.
pub(super) type Broken = (&'static str, &'static str, fn(&mut Case));

pub(super) const FAULTS: &[Broken] = &[
    ("token.ml", "az functionapp identity assign", |case| case.cloud.no_token = vec![Audience::MachineLearning]),
    ("token.management", "az functionapp identity assign", |case| {
        case.cloud.no_token = vec![Audience::ResourceManager];
    }),
    ("token.storage", "az functionapp identity assign", |case| {
        case.cloud.no_token = vec![Audience::Storage, Audience::MachineLearning, Audience::ResourceManager];
    }),
    ("ledger", "primaryEndpoints.table", |case| {
        case.ticked = None;
        case.store.push(Fault::NotSent);
    }),
    ("management", "AzureResourceManager", |case| {
        case.cloud.error("/subscriptions", QueryError::NoAnswer(Inconclusive::not_reachable("no connection")));
    }),
    ("input", "deploy with dataAccess.indexTags", |case| {
        case.rule["match"]["indexTags"] = json!({ "hold": false });
        case.cloud.listed(&permissions_on_claims()).push(json!({ "dataActions": [READ_BLOBS] }));
    }),
    ("clock", "timedatectl", |case| case.cloud.ahead = time::Duration::minutes(-6)),
    ("workspace", "az ml workspace list", |case| {
        case.rule["endpoint"]["workspace"] = json!(workspace().replace("w1", "w2"));
    }),
    ("permission.invoke", "the role 'AzureML Data Scientist'", |case| {
        case.cloud.listed(&format!("{}/providers/Microsoft.Authorization/permissions", workspace())).clear();
        // As a workspace on which one has no role answers everything.
        let w = workspace();
        for path in [
            w.clone(),
            format!("{w}/jobs"),
            format!("{w}/batchEndpoints/heart"),
            format!("{w}/datastores/workspaceblobstore"),
            URI.into(),
        ] {
            case.cloud.error(&path, forbidden());
        }
    }),
    ("permission.cancel", "the role 'AzureML Data Scientist'", |case| {
        *case.cloud.listed(&format!("{}/providers/Microsoft.Authorization/permissions", workspace())) =
            vec![json!({"actions": ["*"], "notActions": ["*/jobs/cancel/action"]})];
    }),
    ("endpoint", "az ml batch-endpoint list", |case| {
        case.rule["endpoint"]["uri"] = json!("https://hart.westeurope.inference.ml.azure.com/jobs");
    }),
    ("deployment", "--set defaults.deployment_name=v7", |case| {
        case.cloud.document(&format!("{}/batchEndpoints/heart", workspace()))["properties"]["defaults"] = Value::Null;
    }),
    ("deployment", "az ml batch-deployment list", |case| case.rule["endpoint"]["deployment"] = json!("v8")),
    ("deployment", "az ml batch-deployment create", |case| {
        case.cloud.document(&format!("{}/batchEndpoints/heart/deployments/v7", workspace()))["properties"]["provisioningState"] =
            json!("Failed");
    }),
    ("endpoint.answer", "privatelink.api.azureml.ms", |case| {
        case.cloud.error(URI, QueryError::NoAnswer(Inconclusive::not_reachable("no such host")));
    }),
    ("endpoint.answer", "AzureML Data Scientist", |case| case.cloud.error(URI, forbidden())),
    ("input", "az storage container create", |case| case.cloud.containers.retain(|url| !url.contains("claims"))),
    ("input", "the role 'Storage Blob Data Reader'", |case| {
        case.cloud.error("https://uploads.blob.core.windows.net/claims", forbidden());
    }),
    ("input", "network-rule add", |case| {
        let refused = QueryError::Forbidden { code: Some("AuthorizationFailure".into()), text: "no".into() };
        case.cloud.error("https://uploads.blob.core.windows.net/claims", refused);
    }),
    ("output", "az ml datastore list", |case| {
        case.cloud.resources.remove(&format!("{}/datastores/workspaceblobstore", workspace()).to_ascii_lowercase());
    }),
    ("output", "type: azure_blob", |case| {
        case.cloud.document(&format!("{}/datastores/workspaceblobstore", workspace()))["properties"]["datastoreType"] =
            json!("AzureDataLakeGen2");
    }),
    ("output.read", "az storage container create", |case| case.cloud.containers.retain(|url| !url.contains("scores"))),
    ("compute", "az ml compute create", |case| {
        case.cloud.resources.remove(&format!("{}/computes/cpu", workspace()).to_ascii_lowercase());
    }),
    ("compute", "--identity-type SystemAssigned, then give it the role Storage Blob Data Reader", |case| {
        case.cloud.document(&format!("{}/computes/cpu", workspace()))["identity"] = Value::Null;
    }),
    ("compute.input", "11111111-0000-0000-0000-000000000001 among dataAccess.computePrincipalIds", |case| {
        let path = format!(
            "{}/blobServices/default/containers/claims/providers/Microsoft.Authorization/roleAssignments",
            account("uploads")
        );
        case.cloud.listed(&path).retain(|one| one["properties"]["principalId"] != CLUSTER);
    }),
    ("compute.output", "Storage Blob Data Contributor", |case| {
        let path = format!(
            "{}/blobServices/default/containers/scores/providers/Microsoft.Authorization/roleAssignments",
            account("results")
        );
        case.cloud.listed(&path).clear();
    }),
    ("delivery.subscription", "scorekeeper-events", |case| {
        case.cloud.listed("/subscriptions/s1/providers/Microsoft.EventGrid/systemTopics").clear();
    }),
    ("delivery.subscription", "scorekeeper-events", |case| {
        case.subscription()["destination"]["properties"]["resourceId"] =
            json!(format!("{}2/functions/BlobCreated", site()));
    }),
    ("delivery.subscription", "AzureWebJobs_BlobCreated_Disabled", |case| {
        case.switched_off = vec!["BlobCreated".into()];
    }),
    ("delivery.signIn", "--excluded-paths '[/runtime/*, /admin/*]'", |case| {
        case.cloud.document(&sign_in())["properties"]["globalValidation"]["excludedPaths"] = json!(["/admin/*"]);
    }),
    ("delivery.signIn", "or remove SCOREKEEPER_SIGN_IN", |case| {
        case.cloud.document(&sign_in())["properties"]["platform"]["enabled"] = json!(false);
    }),
    ("delivery.signIn", "or remove SCOREKEEPER_SIGN_IN", |case| {
        case.cloud.document(&sign_in())["properties"]["globalValidation"]["unauthenticatedClientAction"] =
            json!("AllowAnonymous");
    }),
    ("delivery.filter", "filters are made of the rules", |case| {
        case.subscription()["filter"]["subjectEndsWith"] = json!(".json");
    }),
    ("delivery.deadLetter", "infra/events.bicep", |case| {
        case.subscription()["deadLetterWithResourceIdentity"] = Value::Null;
    }),
    ("delivery.deadLetter", "az storage container create", |case| {
        case.cloud.resources.remove(&dead_letters().to_ascii_lowercase());
    }),
    ("delivery.deadLetter", "the role 'Storage Blob Data Contributor'", |case| {
        let path = format!(
            "{}/blobServices/default/containers/dead-letters/providers/Microsoft.Authorization/roleAssignments",
            account("state")
        );
        case.cloud.listed(&path).clear();
    }),
    ("lastRun", "az functionapp restart", |case| case.ticked = Some(time::Duration::minutes(16))),
    ("lastRun", "a first deployment", |case| case.ticked = None),
    ("lastRun", "each run that fails says why there", |case| {
        case.ticked = None;
        case.begun = Some((time::Duration::minutes(11), time::Duration::minutes(11)));
    }),
    ("lastRun", "each run that fails says why there", |case| {
        // As where each dies after a while: one is always running.
        case.ticked = Some(time::Duration::minutes(40));
        case.begun = Some((time::Duration::seconds(20), time::Duration::minutes(39)));
    }),
    ("lastRun", "AzureWebJobs_Reconcile_Disabled", |case| {
        case.ticked = None;
        case.switched_off = vec!["Reconcile".into()];
    }),
];
