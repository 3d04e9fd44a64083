//! `settings` of a rule: what a job may say beside its inputs and outputs, in REST's spelling and in that of Fabric's activity.
//!
//! Azure ML refuses a request with a member that it does not know, so a typing error would cost every upload. What is not
//! known here goes below `passThrough`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::document::{Members, Node, Read, Refused};
use super::template::{Template, Values};
use crate::duration::IsoDuration;

/// Overrides of the deployment's own settings, and what a job is called. Each is sent only if it is written.
/// Texts are templates in a rule and filled in in a request.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Settings", default, deny_unknown_fields, transform = super::forms::settings))]
pub struct Settings<T = Template> {
    /// What the job runs on. `ComputeInstanceCount`, as Fabric spells it, is `compute.instanceCount`.
    #[serde(skip_serializing_if = "Option::is_none")]
    compute: Option<Compute<T>>,
    /// Files in one call of the model's script.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = i32::MAX)))]
    mini_batch_size: Option<u32>,
    /// File failures after which the job fails; -1: none of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = -1)))]
    error_threshold: Option<i32>,
    /// When a mini-batch is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_settings: Option<RetrySettings>,
    /// How much the job logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    logging_level: Option<LoggingLevel>,
    /// How many processes score on each node.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = i32::MAX)))]
    max_concurrency_per_instance: Option<u32>,
    /// The file that predictions are appended to.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_file_name: Option<T>,
    /// Columns by which a tabular input is cut into mini-batches.
    #[serde(skip_serializing_if = "Option::is_none")]
    partition_keys: Option<Vec<T>>,
    /// The job's display name in the studio.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<T>,
    /// The job's description in the studio.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<T>,
    /// The job's tags, texts by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, T>,
    /// The job's properties, texts by name, in any case.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    properties: BTreeMap<String, T>,
    /// Members that nothing here knows, sent as they are. Azure ML refuses what it does not know either.
    #[serde(flatten)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    pass_through: Map<String, Value>,
}

/// What the job runs on, in place of the deployment's own.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Compute", default, deny_unknown_fields, transform = super::forms::either_case))]
struct Compute<T> {
    /// Name or ARM id of the compute.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<T>,
    /// On how many nodes it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = i32::MAX)))]
    instance_count: Option<u32>,
    /// The virtual machine size of a node.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_type: Option<T>,
    /// Whether it runs where it is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_local: Option<bool>,
    /// The region that it runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<T>,
    /// Further properties, texts by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    properties: BTreeMap<String, T>,
}

/// When a mini-batch is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields, transform = super::forms::either_case))]
struct RetrySettings {
    /// How often it is tried again after the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = i32::MAX)))]
    max_retries: Option<u32>,
    /// How long one call of the model's script may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<IsoDuration>,
}

/// How much a job logs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
enum LoggingLevel {
    /// What happens, warnings and errors.
    Info,
    /// Warnings and errors alone, nothing else.
    Warning,
    /// Everything, for those who look for a fault.
    Debug,
}

/// Members that are put together from the rule's own, each with the one that says it.
const RESERVED: [(&str, &str); 8] = [
    ("inputData", "write `inputs` of the rule"),
    ("outputData", "write `outputs` of the rule"),
    ("dataset", "it is an older form; write `inputs` of the rule"),
    ("outputDataset", "it is an older form; write `outputs` of the rule"),
    ("status", "Azure ML sets it; remove it"),
    ("provisioningState", "Azure ML sets it; remove it"),
    ("output", "Azure ML sets it; remove it"),
    ("interactionEndpoints", "Azure ML sets it; remove it"),
];

/// Tags that begin so say whose a job is.
const OWN_TAGS: &str = "scorekeeper.";

/// Not derived: a text need not have a default.
impl<T> Default for Settings<T> {
    fn default() -> Self {
        Self {
            compute: None,
            mini_batch_size: None,
            error_threshold: None,
            retry_settings: None,
            logging_level: None,
            max_concurrency_per_instance: None,
            output_file_name: None,
            partition_keys: None,
            name: None,
            description: None,
            tags: BTreeMap::new(),
            properties: BTreeMap::new(),
            pass_through: Map::new(),
        }
    }
}

impl<T> Default for Compute<T> {
    fn default() -> Self {
        Self {
            target: None,
            instance_count: None,
            instance_type: None,
            is_local: None,
            location: None,
            properties: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// The members of the request of one attempt. What is passed through is sent as it is written.
    pub(super) fn fill(&self, values: &Values<'_>) -> Map<String, Value> {
        let fill = |text: &Template| text.fill(values);
        let fill_all = |texts: &BTreeMap<String, Template>| {
            texts.iter().map(|(name, text)| (name.clone(), text.fill(values))).collect::<BTreeMap<_, _>>()
        };
        let filled = Settings {
            compute: self.compute.as_ref().map(|compute| Compute {
                target: compute.target.as_ref().map(fill),
                instance_count: compute.instance_count,
                instance_type: compute.instance_type.as_ref().map(fill),
                is_local: compute.is_local,
                location: compute.location.as_ref().map(fill),
                properties: fill_all(&compute.properties),
            }),
            mini_batch_size: self.mini_batch_size,
            error_threshold: self.error_threshold,
            retry_settings: self.retry_settings,
            logging_level: self.logging_level,
            max_concurrency_per_instance: self.max_concurrency_per_instance,
            output_file_name: self.output_file_name.as_ref().map(fill),
            partition_keys: self.partition_keys.as_ref().map(|keys| keys.iter().map(fill).collect()),
            name: self.name.as_ref().map(fill),
            description: self.description.as_ref().map(fill),
            tags: fill_all(&self.tags),
            properties: fill_all(&self.properties),
            pass_through: self.pass_through.clone(),
        };
        match serde_json::to_value(filled) {
            Ok(Value::Object(members)) => members,
            // A struct of texts and numbers is always an object.
            _ => Map::new(),
        }
    }

    /// Every text that is a template.
    pub(super) fn texts(&self) -> impl Iterator<Item = &Template> {
        let compute = self.compute.iter().flat_map(|compute| {
            let Compute { target, instance_type, location, properties, .. } = compute;
            [target, instance_type, location].into_iter().flatten().chain(properties.values())
        });
        let own = [&self.output_file_name, &self.name, &self.description].into_iter().flatten();
        let listed = self.partition_keys.iter().flatten().chain(self.tags.values()).chain(self.properties.values());
        compute.chain(own).chain(listed)
    }

    /// Any file's failure fails the job from now on; `false` if the rule says otherwise.
    pub(super) fn demand_no_error(&mut self) -> bool {
        *self.error_threshold.get_or_insert(0) == 0
    }

    /// The compute that is asked for in place of the deployment's own.
    pub fn compute_target(&self) -> Option<&Template> {
        self.compute.as_ref()?.target.as_ref()
    }

    /// The datastore that the steps of a pipeline deployment write to, where the rule chooses it.
    pub(super) fn default_datastore(&self) -> Option<&Template> {
        self.property("defaultDatastore")
    }

    /// The experiment that is asked for; else it is the endpoint's name.
    pub fn experiment(&self) -> Option<&Template> {
        self.property("experimentName")
    }

    /// The service reads names of members without regard to case.
    fn property(&self, wanted: &str) -> Option<&Template> {
        self.properties.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, text)| text)
    }
}

impl Read for Settings {
    fn read(node: &Node<'_>) -> Option<Self> {
        let mut members = node.object("further members of the request's `properties`, such as `miniBatchSize`")?;
        let positive =
            |node: Option<Node<'_>>| node.and_then(|node| whole(&node, 1, "leave it out for the deployment's own"));
        let mut compute: Option<Compute<Template>> = members.optional_either("compute", "Compute");
        let nodes = members.either("computeInstanceCount", "ComputeInstanceCount");
        if let (Some(node), Some(count)) = (&nodes, positive(nodes.clone())) {
            let compute = compute.get_or_insert_default();
            if compute.instance_count.replace(count).is_some() {
                node.refuse(Refused::new("the number of nodes once", "remove it or `compute.instanceCount`"));
            }
        }
        let mut settings = Self {
            compute,
            mini_batch_size: positive(members.either("miniBatchSize", "MiniBatchSize")),
            error_threshold: members
                .either("errorThreshold", "ErrorThreshold")
                .and_then(|node| node.whole_number(-1, i64::from(i32::MAX), "-1 for no limit")?.try_into().ok()),
            retry_settings: members.optional_either("retrySettings", "RetrySettings"),
            logging_level: members.optional_either("loggingLevel", "LoggingLevel"),
            max_concurrency_per_instance: positive(
                members.either("maxConcurrencyPerInstance", "MaxConcurrencyPerInstance"),
            ),
            output_file_name: members.optional_either("outputFileName", "OutputFileName"),
            partition_keys: members.optional_either("partitionKeys", "PartitionKeys"),
            name: members.optional_either("name", "Name"),
            description: members.optional_either("description", "Description"),
            tags: members.either("tags", "Tags").map(|node| tags(&node)).unwrap_or_default(),
            properties: BTreeMap::new(),
            pass_through: Map::new(),
        };
        let properties = members.either("properties", "Properties");
        settings.properties = properties.map(|node| job_properties(&node)).unwrap_or_default();
        pipeline_settings(&mut members, &mut settings.properties);
        for (name, remedy) in RESERVED {
            members.never(name, &Refused::new("what the rule itself says, or Azure ML", remedy));
        }
        if let Some(node) = members.node("passThrough") {
            settings.pass_through = pass_through(&node, &members);
        }
        members.end();
        Some(settings)
    }
}

/// A job's properties. The service reads their names without regard to case: of two that differ in nothing else one would win.
fn job_properties(node: &Node<'_>) -> BTreeMap<String, Template> {
    let Some(members) = node.object("texts by name") else { return BTreeMap::new() };
    let mut seen: Vec<String> = Vec::new();
    members.all(|name, node| {
        if seen.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            node.refuse(Refused::new("each name once; they have no case", "remove one of the two"));
        }
        seen.push(name.to_owned());
        Template::read(node)
    })
}

/// What makes a text of a value.
type ReadsText<'a> = &'a dyn Fn(&Node<'_>) -> Option<Template>;

/// What is for pipeline component deployments: the experiment, which the official client sends as a property of the job, and what
/// Fabric's activity offers. Of the latter no contract says where it goes in a request; a job's properties take any text.
fn pipeline_settings(members: &mut Members<'_>, properties: &mut BTreeMap<String, Template>) {
    let flag = |node: &Node<'_>| bool::read(node).map(|flag| Template::fixed(flag.to_string()));
    let datastore = |node: &Node<'_>| {
        crate::id::DatastoreName::read(node).map(|name: crate::id::DatastoreName| Template::fixed(name.to_string()))
    };
    let all: [(&'static str, &'static str, &str, ReadsText<'_>); 4] = [
        ("continueOnStepFailure", "ContinueOnStepFailure", "ContinueOnStepFailure", &flag),
        ("forceRun", "ForceRun", "ForceRun", &flag),
        ("defaultDatastore", "DefaultDatastore", "DefaultDatastore", &datastore),
        ("experimentName", "ExperimentName", "experimentName", &Template::read),
    ];
    for (camel, pascal, sent, read) in all {
        let Some(node) = members.either(camel, pascal) else { continue };
        if let Some(other) = properties.keys().find(|name| name.eq_ignore_ascii_case(sent)) {
            let expected = format!("it once; `properties.{other}` is the same");
            node.refuse(Refused::new(expected, "remove one of the two"));
        } else if let Some(value) = read(&node) {
            properties.insert(sent.to_owned(), value);
        }
    }
}

fn whole(node: &Node<'_>, min: i64, remedy: &str) -> Option<u32> {
    node.whole_number(min, i64::from(i32::MAX), remedy)?.try_into().ok()
}

fn tags(node: &Node<'_>) -> BTreeMap<String, Template> {
    let Some(members) = node.object("texts by name") else { return BTreeMap::new() };
    members.all(|name, node| {
        if name.get(..OWN_TAGS.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(OWN_TAGS)) {
            node.refuse(Refused::new(
                "a tag of yours; those that begin with `scorekeeper.` say whose a job is",
                "rename it",
            ));
        }
        Template::read(node)
    })
}

fn pass_through(node: &Node<'_>, known: &Members<'_>) -> Map<String, Value> {
    let Some(members) = node.object("further members of the request's `properties`") else { return Map::new() };
    let read = members.all(|name, node| {
        if known.knows(name) {
            node.refuse(Refused::new(
                "what `settings` and the rule have no member for",
                format!("`{name}` is one; write it there"),
            ));
        }
        node.json()
    });
    read.into_iter().collect()
}

impl Read for Compute<Template> {
    fn read(node: &Node<'_>) -> Option<Self> {
        let mut members = node.object("`target`, `instanceCount` and the like")?;
        let compute = Self {
            target: members.optional_either("target", "Target"),
            instance_count: members
                .either("instanceCount", "InstanceCount")
                .and_then(|node| whole(&node, 1, "leave it out for the deployment's own")),
            instance_type: members.optional_either("instanceType", "InstanceType"),
            is_local: members.optional_either("isLocal", "IsLocal"),
            location: members.optional_either("location", "Location"),
            properties: members.optional_either("properties", "Properties").unwrap_or_default(),
        };
        members.end();
        Some(compute)
    }
}

impl Read for RetrySettings {
    fn read(node: &Node<'_>) -> Option<Self> {
        let mut members = node.object("`maxRetries` and `timeout`")?;
        let settings = Self {
            max_retries: members.either("maxRetries", "MaxRetries").and_then(|node| whole(&node, 0, "0 for none")),
            timeout: members.optional_either("timeout", "Timeout"),
        };
        members.end();
        Some(settings)
    }
}

impl Read for LoggingLevel {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.word(&[("Info", Self::Info), ("Warning", Self::Warning), ("Debug", Self::Debug)])
    }
}

impl Read for BTreeMap<String, Template> {
    fn read(node: &Node<'_>) -> Option<Self> {
        Some(node.object("texts by name")?.all(|_, node| Template::read(node)))
    }
}
