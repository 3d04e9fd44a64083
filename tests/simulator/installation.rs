//! The installation around the endpoint as Resource Manager shows it: whole and healthy unless the fault plan says otherwise, and
//! refused to those without the right.

use reqwest::StatusCode;
use serde_json::{Value, json};
use simulator::{self, Container, Resources, SimulatorOptions};

use super::{ARM, ML, STORAGE, Sim, VERSION, body, listed, sim};

const STORAGE_VERSION: &str = "api-version=2025-06-01";
const EVENTS_VERSION: &str = "api-version=2025-02-15";
const RIGHTS_VERSION: &str = "api-version=2022-04-01";
const SUBSCRIPTION: &str = "/subscriptions/00000000-0000-0000-0000-000000000000";
const JOBS: &str = "Microsoft.MachineLearningServices/workspaces/jobs";

fn resources(plan: Value) -> Resources {
    serde_json::from_value(plan).unwrap()
}

impl Sim {
    async fn set_resources(&self, resources: Value) -> StatusCode {
        let plan = json!({ "resources": resources });
        self.http.post(self.url("/admin/faults")).json(&plan).send().await.unwrap().status()
    }

    async fn status(&self, path: &str, audience: &str) -> StatusCode {
        self.get(&self.url(path), audience).await.status()
    }

    async fn seen(&self, path: &str) -> Value {
        self.json(&self.url(path), ARM).await
    }

    /// Everything on a list, page by page; how many pages there were.
    async fn all(&self, path: &str) -> (Vec<Value>, usize) {
        let (mut next, mut all, mut pages) = (Some(self.url(path)), Vec::new(), 0);
        while let Some(url) = next {
            let page = self.json(&url, ARM).await;
            all.extend(page["value"].as_array().unwrap().iter().cloned());
            next = page["nextLink"].as_str().map(str::to_owned);
            pages += 1;
        }
        (all, pages)
    }

    async fn subscriptions(&self) -> Vec<Value> {
        let topic =
            format!("{SUBSCRIPTION}/resourceGroups/local/providers/Microsoft.EventGrid/systemTopics/evgt-local");
        self.all(&format!("{topic}/eventSubscriptions?{EVENTS_VERSION}")).await.0
    }
}

fn account(name: &str) -> String {
    format!("{SUBSCRIPTION}/resourceGroups/local/providers/Microsoft.Storage/storageAccounts/{name}")
}

fn names(all: &[Value]) -> Vec<&str> {
    all.iter().map(|it| it["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn each_hop_leads_to_the_next_one() {
    let (sim, _root) = sim(|o| o.endpoints = listed()).await;
    let workspace = sim.arm_get("").await;
    assert_eq!(workspace["identity"]["type"], "SystemAssigned");
    assert_eq!(workspace["properties"]["storageAccount"], account("local"));
    let endpoint = sim.arm_get("/batchEndpoints/claims").await;
    let default = endpoint["properties"]["defaults"]["deploymentName"].as_str().unwrap().to_owned();
    let deployment = sim.arm_get(&format!("/batchEndpoints/claims/deployments/{default}")).await;
    let compute = sim.seen(&format!("{}?{VERSION}", deployment["properties"]["compute"].as_str().unwrap())).await;
    assert_eq!(compute["properties"]["properties"]["scaleSettings"]["maxNodeCount"], 4);
    let datastore = sim.arm_get("/datastores/scores").await["properties"].clone();
    assert_eq!((&datastore["datastoreType"], &datastore["accountName"]), (&json!("AzureBlob"), &json!("local")));

    let shown = sim.seen(&format!("{}?{STORAGE_VERSION}", account("LOCAL"))).await;
    sim.put("x.csv", "a\n");
    let blob = format!("{}inbox/x.csv", shown["properties"]["primaryEndpoints"]["blob"].as_str().unwrap());
    assert_eq!(sim.get(&blob, STORAGE).await.text().await.unwrap(), "a\n");

    let (topics, _) =
        sim.all(&format!("{SUBSCRIPTION}/providers/Microsoft.EventGrid/systemTopics?{EVENTS_VERSION}")).await;
    let source = topics[0]["properties"]["source"].as_str().unwrap();
    assert!(source.eq_ignore_ascii_case(&account("local")), "{source}");
    let list = format!("{}/eventSubscriptions?{EVENTS_VERSION}", topics[0]["id"].as_str().unwrap());
    let delivery = sim.all(&list).await.0[0]["properties"].clone();
    let function = delivery["destination"]["properties"]["resourceId"].as_str().unwrap();
    let site =
        sim.seen(&format!("{}?api-version=2025-03-01", function.strip_suffix("/functions/BlobCreated").unwrap())).await;
    assert_eq!(site["identity"]["type"], "SystemAssigned");
    assert_eq!(
        delivery["filter"]["advancedFilters"][1]["values"],
        json!(["/blobServices/default/containers/inbox/blobs/"])
    );
    let dead = &delivery["deadLetterWithResourceIdentity"]["deadLetterDestination"]["properties"];
    let container = format!(
        "{}/blobServices/default/containers/{}?{STORAGE_VERSION}",
        dead["resourceId"].as_str().unwrap(),
        dead["blobContainerName"].as_str().unwrap()
    );
    assert_eq!(sim.status(&container, ARM).await, StatusCode::OK);
}

#[tokio::test]
async fn the_filters_of_role_assignments_are_those_documented() {
    let (sim, _root) = sim(|_| {}).await;
    let compute = sim.arm_get("/computes/simulated-cluster").await["identity"]["principalId"].clone();
    let compute = compute.as_str().unwrap();
    let assigned = async |scope: &str, filter: &str| {
        let url = format!("{scope}/providers/Microsoft.Authorization/roleAssignments?{RIGHTS_VERSION}&{filter}");
        sim.all(&url).await.0
    };
    let account = account("local");
    let container = format!("{account}/blobServices/default/containers/inbox");
    for filter in [
        format!("$filter=principalId eq {compute}"),
        format!("$filter=principalId%20eq%20'{compute}'"),
        format!("$filter=assignedTo('{compute}')"),
        format!("$filter=atScope() and assignedTo('{}')", compute.to_uppercase()),
    ] {
        let found = assigned(&container, &filter).await;
        let mut roles = Vec::new();
        for it in &found {
            assert_eq!(
                (&it["properties"]["principalId"], &it["properties"]["scope"]),
                (&json!(compute), &json!(account))
            );
            let definition = it["properties"]["roleDefinitionId"].as_str().unwrap();
            roles.push(sim.seen(&format!("{definition}?{RIGHTS_VERSION}")).await["properties"]["roleName"].clone());
        }
        assert_eq!(roles, ["Storage Blob Data Reader", "Storage Blob Data Contributor"], "{filter}");
    }
    // Without a filter also what lies below, with one of scope only what lies above.
    let group = format!("{SUBSCRIPTION}/resourceGroups/local");
    let (at, all) = (assigned(&group, "$filter=atScope()").await, assigned(&group, "").await);
    assert_eq!(at.len(), 1, "Reader, on the subscription");
    assert!(all.len() > 7 && all.iter().all(|it| it["id"].as_str().unwrap().contains("/roleAssignments/")), "{all:?}");
    assert_eq!(assigned(&group, &format!("$filter=principalId eq {compute}")).await.len(), 2);
    assert_eq!(assigned(&group, &format!("$filter=assignedTo('{compute}')")).await.len(), 0);
    for wrong in ["atScope", "principalId eq", "roleName eq 'Reader'"] {
        let path =
            format!("{group}/providers/Microsoft.Authorization/roleAssignments?{RIGHTS_VERSION}&$filter={wrong}");
        assert_eq!(sim.status(&path, ARM).await, StatusCode::BAD_REQUEST, "{wrong}");
    }
}

#[tokio::test]
async fn lists_go_on_where_their_next_link_says() {
    let (sim, root) = sim(|o| {
        let folder = o.containers[0].folder.clone();
        let more = |n| Container { account: format!("more{n:02}"), container: "c".into(), folder: folder.clone() };
        o.containers.extend((0..21).map(more));
    })
    .await;
    drop(root);
    let accounts = format!("{SUBSCRIPTION}/PROVIDERS/microsoft.storage/storageaccounts?{STORAGE_VERSION}");
    let (all, pages) = sim.all(&accounts).await;
    assert_eq!((all.len(), pages, names(&all)[22]), (23, 3, "localstate"));
    let topics =
        format!("{SUBSCRIPTION}/resourcegroups/LOCAL/providers/Microsoft.EventGrid/systemTopics?{EVENTS_VERSION}");
    let (all, pages) = sim.all(&format!("{topics}&$top=20")).await;
    assert_eq!((all.len(), pages), (22, 2));
    assert_eq!(sim.all(&format!("{topics}&$top=0")).await.1, 22, "no page is empty");
    assert_eq!(sim.status(&format!("{topics}&$skipToken=x"), ARM).await, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_is_not_there_is_said_in_resource_managers_words() {
    let (sim, _root) = sim(|o| o.endpoints = listed()).await;
    let (id, own) = (sim.handle.workspace_id(), account("local"));
    let rights = "providers/Microsoft.Authorization/permissions";
    for (path, status, code) in [
        (format!("{own}?{VERSION}"), 404, "InvalidResourceType"),
        (format!("{id}/{rights}?{VERSION}"), 404, "InvalidResourceType"),
        (format!("{own}?"), 400, "MissingApiVersionParameter"),
        (format!("{}?{STORAGE_VERSION}", account("nobody")), 404, "ResourceNotFound"),
        (format!("{}?{STORAGE_VERSION}", own.replace("s/local/", "s/other/")), 404, "ResourceGroupNotFound"),
        (format!("{}?{STORAGE_VERSION}", own.replace("-000000000000", "-000000000001")), 404, "SubscriptionNotFound"),
        (format!("{}/{rights}?{RIGHTS_VERSION}", account("nobody")), 404, "ResourceNotFound"),
        (format!("{id}/batchEndpoints/nobody/{rights}?{RIGHTS_VERSION}"), 404, "ResourceNotFound"),
        (format!("{id}/computes/nobody?{VERSION}"), 404, "ResourceNotFound"),
        (format!("{own}/blobServices/default/containers/nobody?{STORAGE_VERSION}"), 404, "ResourceNotFound"),
        (format!("{id}/providers/Microsoft.EventGrid/systemTopics?{EVENTS_VERSION}"), 404, "ResourceNotFound"),
        (
            format!("{SUBSCRIPTION}/providers/Microsoft.MachineLearningServices/locations/mars/usages?{VERSION}"),
            404,
            "ResourceNotFound",
        ),
    ] {
        let answer = sim.get(&sim.url(&path), ARM).await;
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.json::<Value>().await.unwrap()["error"]["code"], code, "{path}");
    }
    for scope in [&id, &format!("{id}/batchEndpoints/claims"), &own, &SUBSCRIPTION.to_owned()] {
        let path = format!("{scope}/{rights}?{RIGHTS_VERSION}");
        assert_eq!(sim.status(&path, ARM).await, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_right_that_is_lacking_is_lacking_everywhere() {
    let (sim, _root) = sim(|o| o.endpoints = listed()).await;
    let name = sim.submit("x.csv", "x").await;
    sim.put("x.csv", "a\n");
    let id = sim.handle.workspace_id();
    let jobs = format!("{id}/jobs?{VERSION}");
    let job = format!("{}/{name}", sim.handle.scoring_uri("claims"));
    let history = sim.url(&format!("/history/v1.0{id}/runs/{name}/details"));
    let at = |path: &str| sim.url(path);
    let (blob, list) = (at("/local/inbox/x.csv"), at("/local/inbox?restype=container&comp=list"));
    let container = at("/local/inbox?restype=container");
    let account = account("local");
    let ml = "Microsoft.MachineLearningServices/workspaces";
    for (wrong, url, audience) in [
        (json!({ "denied": [format!("{ml}/batchEndpoints/jobs/read")] }), &job, ML),
        (json!({ "denied": [format!("{ml}/experiments/runs/read")] }), &history, ML),
        (json!({ "denied": [format!("{JOBS}/read")] }), &at(&jobs), ARM),
        (json!({ "denied": ["*/storageAccounts/read"] }), &at(&format!("{account}?{STORAGE_VERSION}")), ARM),
        (json!({ "unassigned": ["app/Storage Blob Data Reader"] }), &blob, STORAGE),
        (json!({ "unassigned": ["app/Storage Blob Data Reader"] }), &list, STORAGE),
        (json!({ "denied": ["*/blobServices/containers/read"] }), &container, STORAGE),
        (json!({ "unassigned": ["app/*"] }), &at(&format!("{id}?{VERSION}")), ARM),
    ] {
        assert_eq!(sim.get(url, audience).await.status(), StatusCode::OK, "{url}");
        assert_eq!(sim.set_resources(wrong).await, StatusCode::NO_CONTENT);
        assert_eq!(sim.get(url, audience).await.status(), StatusCode::FORBIDDEN, "{url}");
        assert_eq!(sim.set_resources(json!({})).await, StatusCode::NO_CONTENT);
    }
    assert_eq!(
        sim.set_resources(json!({ "unassigned": ["app/Storage Blob Data Reader"] })).await,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        sim.http.get(&blob).send().await.unwrap().status(),
        StatusCode::UNAUTHORIZED,
        "no token is no way round"
    );
    assert_eq!(
        sim.set_resources(json!({ "unassigned": ["app/AzureML Data Scientist"] })).await,
        StatusCode::NO_CONTENT
    );
    assert_eq!(sim.post(&body("x.csv", "y")).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(sim.cancel(&name).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(sim.cancel("nobody").await.status(), StatusCode::FORBIDDEN, "rights come before existence");
    let refused: Value = sim.cancel(&name).await.json().await.unwrap();
    assert_eq!(refused["error"]["code"], "AuthorizationFailed");
    assert!(refused["error"]["message"].as_str().unwrap().contains(&format!("{JOBS}/cancel/action")), "{refused}");
    // An inventory leaves out what may not be read.
    let accounts = format!("{SUBSCRIPTION}/providers/Microsoft.Storage/storageAccounts?{STORAGE_VERSION}");
    assert_eq!(names(&sim.all(&accounts).await.0), ["local", "localstate"]);
    assert_eq!(sim.set_resources(json!({ "denied": ["*/storageAccounts/read"] })).await, StatusCode::NO_CONTENT);
    assert_eq!(sim.all(&accounts).await.0, Vec::<Value>::new());
    assert_eq!(
        sim.set_resources(json!({ "unassigned": ["app/AzureML Data Scientist"] })).await,
        StatusCode::NO_CONTENT
    );
    // Reading was given to it apart.
    assert_eq!(sim.status(&jobs, ARM).await, StatusCode::OK);
    // What names the deployment needs a right of its own.
    let denied = json!({ "denied": [format!("{ml}/batchEndpoints/deployments/jobs/write")] });
    assert_eq!(sim.set_resources(denied).await, StatusCode::NO_CONTENT);
    let named = [("azureml-model-deployment", "model-1")];
    let status =
        async |headers: &[(&str, &str)]| sim.try_post("claims", &body("x.csv", "y"), headers).await.unwrap().status();
    assert_eq!((status(&named).await, status(&[]).await), (StatusCode::FORBIDDEN, StatusCode::CREATED));
}

#[tokio::test]
async fn permissions_tell_what_is_enforced() {
    let (sim, _root) = sim(|_| {}).await;
    let permissions = async |scope: &str| {
        sim.seen(&format!("{scope}/providers/Microsoft.Authorization/permissions?{RIGHTS_VERSION}")).await["value"]
            .clone()
    };
    let of_workspace = permissions(&sim.handle.workspace_id()).await;
    assert_eq!(of_workspace[0]["actions"], json!(["*/read"]));
    assert_eq!(of_workspace[1]["actions"][1], "Microsoft.MachineLearningServices/workspaces/*/action");
    let cancel = format!("{JOBS}/cancel/action");
    sim.set_resources(json!({ "unassigned": ["app/Reader"], "denied": [cancel] })).await;
    // Resource Manager says that reading one's permissions takes a right as well.
    let path = format!("{}/providers/Microsoft.Authorization/permissions?{RIGHTS_VERSION}", sim.handle.workspace_id());
    assert_eq!(sim.status(&path, ARM).await, StatusCode::FORBIDDEN);
    sim.set_resources(json!({ "denied": [cancel] })).await;
    let narrowed = permissions(&sim.handle.workspace_id()).await;
    assert!(narrowed[1]["notActions"].as_array().unwrap().contains(&json!(cancel)), "{narrowed}");
    let of_account = permissions(&account("local")).await;
    assert_eq!(
        of_account[1]["dataActions"],
        json!(["Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"])
    );
}

#[tokio::test]
async fn what_is_ordered_missing_or_otherwise_is_so_on_every_plane() {
    let (sim, _root) = sim(|o| {
        o.endpoints = listed();
        o.resources = resources(json!({ "changed": {
            "batchEndpoints/claims": { "properties": { "defaults": { "deploymentName": null } } },
            "deployments/steps": null,
            "containers/inbox": null,
            "datastores/*": { "properties": { "datastoreType": "AzureFile" } },
            "computes/simulated-cluster": { "identity": null },
            "eventSubscriptions/*": { "properties": { "provisioningState": "Failed" } },
            "usages/Standard DSv2 Family Cluster Dedicated vCPUs": { "limit": 0 },
        } }));
    })
    .await;
    let endpoint = sim.arm_get("/batchEndpoints/claims").await;
    assert_eq!(endpoint["properties"]["defaults"], json!({}));
    let status = async |name: &str| {
        let headers = [("azureml-model-deployment", name)];
        let headers: &[_] = if name.is_empty() { &[] } else { &headers };
        sim.try_post("claims", &body("x.csv", "x"), headers).await.unwrap().status()
    };
    assert_eq!(status("").await, StatusCode::NOT_FOUND);
    assert_eq!(status("model-1").await, StatusCode::CREATED);
    assert_eq!(status("steps").await, StatusCode::NOT_FOUND);
    let deployments = sim.arm_get("/batchEndpoints/claims/deployments").await;
    assert_eq!(names(deployments["value"].as_array().unwrap()), ["model-1"]);
    sim.put("x.csv", "a\n");
    assert_eq!(sim.status("/local/inbox/x.csv", STORAGE).await, StatusCode::NOT_FOUND);
    assert_eq!(sim.status("/local/outbox?restype=container", STORAGE).await, StatusCode::OK);
    let containers = format!("{}/blobServices/default/containers?{STORAGE_VERSION}", account("local"));
    assert_eq!(names(&sim.all(&containers).await.0), ["outbox"]);
    assert_eq!(sim.arm_get("/datastores/scores").await["properties"]["datastoreType"], "AzureFile");
    assert_eq!(sim.arm_get("/computes/simulated-cluster").await.get("identity"), None);
    assert_eq!(sim.subscriptions().await[0]["properties"]["provisioningState"], "Failed");

    let polled = format!("{}/{}", sim.handle.scoring_uri("claims"), sim.handle.jobs()[0].name);
    assert_eq!(sim.get(&polled, ML).await.status(), StatusCode::OK);
    assert_eq!(
        sim.set_resources(json!({ "changed": { "batchEndpoints/claims": null } })).await,
        StatusCode::NO_CONTENT
    );
    assert_eq!(status("model-1").await, StatusCode::NOT_FOUND);
    assert_eq!(sim.get(&polled, ML).await.status(), StatusCode::NOT_FOUND);
    let told = sim.http.get(sim.url("/admin/faults")).send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(told["resources"]["changed"], json!({ "batchEndpoints/claims": null }));
    assert_eq!(sim.set_resources(json!({ "changed": { "clusters/x": null } })).await, StatusCode::BAD_REQUEST);
    assert_eq!(status("model-1").await, StatusCode::NOT_FOUND, "what makes no sense changes nothing");
    assert_eq!(sim.set_resources(json!({})).await, StatusCode::NO_CONTENT);
    assert_eq!(status("").await, StatusCode::CREATED, "healthy again");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_at_the_start() {
    let resources = resources(json!({ "unassigned": ["app/King"] }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused =
        simulator::start(listener, SimulatorOptions { resources, ..SimulatorOptions::default() }).err().unwrap();
    assert!(refused.to_string().contains("`app/King` is not who/role"), "{refused}");
}

#[tokio::test]
async fn an_event_subscription_lies_on_the_topic_or_on_the_account() {
    let (sim, _root) = sim(|_| {}).await;
    let of_account = format!("{}/providers/Microsoft.EventGrid/eventSubscriptions?{EVENTS_VERSION}", account("local"));
    assert_eq!((sim.all(&of_account).await.0.len(), names(&sim.subscriptions().await)), (0, vec!["local-function"]));
    sim.set_resources(json!({ "subscriptionOnAccount": true })).await;
    let (all, _) = sim.all(&of_account).await;
    assert_eq!((names(&all), sim.subscriptions().await.len()), (vec!["local-function"], 0));
    assert_eq!(sim.status(&format!("{}?{EVENTS_VERSION}", all[0]["id"].as_str().unwrap()), ARM).await, StatusCode::OK);
}

#[tokio::test]
async fn the_quota_that_is_used_is_that_of_the_nodes_at_work() {
    let (sim, _root) = sim(|o| o.nodes = 3).await;
    let usages = format!("{SUBSCRIPTION}/providers/Microsoft.MachineLearningServices/locations/local/usages?{VERSION}");
    let family = async || {
        let (all, _) = sim.all(&usages).await;
        let is_family =
            |it: &&Value| it["type"] == "Microsoft.MachineLearningServices/vmFamily/usages" && it["limit"] != -1;
        let it = all.iter().find(is_family).unwrap().clone();
        (it["currentValue"].as_u64().unwrap(), it["limit"].as_u64().unwrap())
    };
    assert_eq!(family().await, (0, 24));
    sim.put("x.csv", "a\n");
    let name = sim.submit("x.csv", "x").await;
    sim.hand.advance(super::seconds(4));
    sim.until(&name, "Running").await;
    assert_eq!(family().await, (4, 24));
}
