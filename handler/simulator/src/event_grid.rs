//! Microsoft.EventGrid: the system topic of each watched account and the event subscription on it, as Resource Manager
//! shows them. No event is delivered by the simulator; whoever writes a file tells of it.
//!
//! Source: REST reference of Event Grid, 2025-02-15: System Topics - List By Subscription, Get; System Topic Event
//! Subscriptions - List By System Topic; Event Subscriptions - List By Resource.

use serde_json::{Value, json};

use crate::accounts;
use crate::ids::{self, DEAD_LETTERS};
use crate::roles::Who;
use crate::shared::Shared;

/// Name of the function that the event subscriptions call.
const FUNCTION: &str = "BlobCreated";

/// After these a blob is complete.
const COMPLETE: [&str; 5] = ["PutBlob", "PutBlockList", "CopyBlob", "FlushWithClose", "SftpCommit"];

fn topic_name(account: &str) -> String {
    format!("evgt-{account}")
}

fn topic_id(shared: &Shared, account: &str) -> String {
    let group = shared.options.workspace.group_id();
    format!("{group}/providers/Microsoft.EventGrid/systemTopics/{}", topic_name(account))
}

/// The documents of all system topics: one for each watched account.
pub(super) fn topics(shared: &Shared) -> Vec<Value> {
    ids::watched_accounts(shared).into_iter().filter_map(|account| topic_of(shared, account)).collect()
}

/// A topic by its name.
pub(super) fn topic(shared: &Shared, name: &str) -> Option<Value> {
    topic_of(shared, account_of(shared, name)?)
}

fn account_of<'a>(shared: &'a Shared, topic: &str) -> Option<&'a str> {
    ids::watched_accounts(shared).into_iter().find(|account| topic_name(account).eq_ignore_ascii_case(topic))
}

fn topic_of(shared: &Shared, account: &str) -> Option<Value> {
    let document = json!({
        "id": topic_id(shared, account),
        "name": topic_name(account),
        "type": "Microsoft.EventGrid/systemTopics",
        "location": shared.options.workspace.location,
        "tags": {},
        "identity": Who::Topic.identity(),
        "properties": {
            "provisioningState": "Succeeded",
            // Resource Manager promises no case of ids; Event Grid is known to change it.
            "source": ids::account(shared, account).replace("resourceGroups", "resourcegroups"),
            "topicType": "microsoft.storage.storageaccounts",
            "metricResourceId": "00000000-0000-0000-0000-000000000003",
        },
    });
    shared.resources().shown("systemTopics", &topic_name(account), document)
}

/// The event subscriptions of a topic; `None` if there is no such topic.
pub(super) fn on_topic(shared: &Shared, topic_name: &str) -> Option<Vec<Value>> {
    topic(shared, topic_name)?;
    let account = account_of(shared, topic_name)?;
    let here = !shared.resources().subscription_on_account;
    Some(here.then(|| subscription(shared, account, &topic_id(shared, account))).flatten().into_iter().collect())
}

/// The event subscriptions that were made on an account itself; `None` if there is no such account.
pub(super) fn on_account(shared: &Shared, account: &str) -> Option<Vec<Value>> {
    accounts::get(shared, account)?;
    let account = ids::watched_accounts(shared).into_iter().find(|it| it.eq_ignore_ascii_case(account));
    let here = account.filter(|_| shared.resources().subscription_on_account);
    let made = here.and_then(|account| {
        subscription(shared, account, &format!("{}/providers/Microsoft.EventGrid", ids::account(shared, account)))
    });
    Some(made.into_iter().collect())
}

/// The subscription of the app: everything complete and not empty in the account's containers.
fn subscription(shared: &Shared, account: &str, parent: &str) -> Option<Value> {
    let (app, resources) = (&shared.options.app, shared.resources());
    let name = format!("{}-function", app.name);
    let on_topic = !resources.subscription_on_account;
    let containers = shared.options.containers.iter().filter(|it| it.account == account);
    let prefixes: Vec<_> =
        containers.map(|it| format!("/blobServices/default/containers/{}/blobs/", it.container)).collect();
    let site = app.id(&shared.options.workspace);
    let mut document = json!({
        "id": format!("{parent}/eventSubscriptions/{name}"),
        "name": name,
        "type": if on_topic {
            "Microsoft.EventGrid/systemTopics/eventSubscriptions"
        } else {
            "Microsoft.EventGrid/eventSubscriptions"
        },
        "properties": {
            "topic": if on_topic { topic_id(shared, account) } else { ids::account(shared, account) },
            "provisioningState": "Succeeded",
            "labels": [],
            "eventDeliverySchema": "EventGridSchema",
            "destination": {
                "endpointType": "AzureFunction",
                "properties": {
                    "resourceId": format!("{site}/functions/{FUNCTION}"),
                    "maxEventsPerBatch": 50,
                    "preferredBatchSizeInKilobytes": 256,
                },
            },
            "filter": {
                "subjectBeginsWith": "",
                "subjectEndsWith": "",
                "includedEventTypes": ["Microsoft.Storage.BlobCreated"],
                "advancedFilters": [
                    { "operatorType": "StringIn", "key": "data.api", "values": COMPLETE },
                    { "operatorType": "StringBeginsWith", "key": "subject", "values": prefixes },
                    { "operatorType": "NumberGreaterThan", "key": "data.contentLength", "value": 0.0 },
                ],
            },
            "retryPolicy": { "maxDeliveryAttempts": 30, "eventTimeToLiveInMinutes": 1440 },
        },
    });
    let dead = json!({
        "endpointType": "StorageBlob",
        "properties": {
            "resourceId": ids::account(shared, &app.state_account),
            "blobContainerName": DEAD_LETTERS,
        },
    });
    // Only a system topic has an identity to write them with.
    if on_topic {
        let identity = json!({ "type": "SystemAssigned" });
        document["properties"]["deadLetterWithResourceIdentity"] =
            json!({ "identity": identity, "deadLetterDestination": dead });
    } else {
        document["properties"]["deadLetterDestination"] = dead;
    }
    resources.shown("eventSubscriptions", &name, document)
}
