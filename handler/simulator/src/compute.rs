//! The cluster that jobs run on and the quota that it draws on, as Resource Manager shows them.
//!
//! Source: REST reference of Azure Machine Learning, 2025-12-01: Compute - Get; Usages - List, and that one's example for
//! what is counted, under which names and types.

use serde_json::{Value, json};

use crate::ids::{self, CLUSTER};
use crate::roles::Who;
use crate::shared::Shared;

const SIZE: &str = "STANDARD_DS3_V2";
const FAMILY: &str = "Standard DSv2 Family Cluster Dedicated vCPUs";
const CORES_PER_NODE: usize = 4;

/// The cluster, if `name` is its name.
pub(super) fn get(shared: &Shared, name: &str) -> Option<Value> {
    if !name.eq_ignore_ascii_case(CLUSTER) {
        return None;
    }
    let (nodes, working) = (shared.options.nodes, shared.act(|state, _| state.working()));
    let location = &shared.options.workspace.location;
    let document = json!({
        "id": ids::cluster(shared),
        "name": CLUSTER,
        "type": "Microsoft.MachineLearningServices/workspaces/computes",
        "location": location,
        "tags": {},
        "identity": Who::Compute.identity(),
        "properties": {
            "computeType": "AmlCompute",
            "computeLocation": location,
            "description": "simulated",
            "provisioningState": "Succeeded",
            "provisioningErrors": null,
            "resourceId": null,
            "isAttachedCompute": false,
            "disableLocalAuth": true,
            "properties": {
                "osType": "Linux",
                "vmSize": SIZE,
                "vmPriority": "Dedicated",
                "scaleSettings": { "minNodeCount": 0, "maxNodeCount": nodes, "nodeIdleTimeBeforeScaleDown": "PT120S" },
                "allocationState": "Steady",
                "currentNodeCount": working,
                "targetNodeCount": working,
                "nodeStateCounts": {
                    "idleNodeCount": 0,
                    "runningNodeCount": working,
                    "preparingNodeCount": 0,
                    "unusableNodeCount": 0,
                    "leavingNodeCount": 0,
                    "preemptedNodeCount": 0,
                },
                "errors": [],
            },
        },
    });
    shared.resources().shown("computes", CLUSTER, document)
}

/// What is used of the region's quota. The limits are twice what the cluster can grow to; -1 is no limit.
pub(super) fn usages(shared: &Shared) -> Vec<Value> {
    let workspace = &shared.options.workspace;
    let used = shared.act(|state, _| state.working()) * CORES_PER_NODE;
    let limit = 2 * shared.options.nodes * CORES_PER_NODE;
    let region = format!("/subscriptions/{}", workspace.subscription);
    let by_family = |scope: &str, name: &str| {
        format!("{scope}/usages/{}", name.replace("Standard ", "Standard_").replace(' ', "_"))
    };
    let whole = format!("{region}/usages");
    let low = "Standard DSv2 Family Cluster LowPriority vCPUs";
    let (of_region, of_workspace, of_cluster) =
        (by_family(&region, FAMILY), by_family(&workspace.id(), FAMILY), by_family(&ids::cluster(shared), FAMILY));
    let low_id = by_family(&region, low);
    let counted = [
        (&whole, "totalCores", "Clusters", 1, json!(200)),
        (&whole, "dedicatedCores", "Total Cluster Dedicated Regional vCPUs", used, json!(limit)),
        (&of_region, "vmFamily", FAMILY, used, json!(limit)),
        (&of_workspace, "workspaces", FAMILY, used, json!(limit)),
        (&of_cluster, "workspaces/computes", FAMILY, used, json!(limit)),
        (&whole, "lowPriorityCores", "Total Cluster LowPriority Regional vCPUs", 0, json!(limit)),
        (&low_id, "vmFamily", low, 0, json!(-1)),
    ];
    let resources = shared.resources();
    let shown = counted.into_iter().filter_map(|(id, kind, name, used, limit)| {
        let document = json!({
            "id": id,
            "type": format!("Microsoft.MachineLearningServices/{kind}/usages"),
            "unit": "Count",
            "currentValue": used,
            "limit": limit,
            "name": { "value": name, "localizedValue": name },
        });
        resources.shown("usages", name, document)
    });
    shown.collect()
}
