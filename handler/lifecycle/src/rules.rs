//! Rules: which blob versions go to which endpoint, with which inputs, outputs and settings.
//!
//! The file is JSON, `{"rules": [ … ], "endpoints": [ … ]}`, the second optional. Unknown members are refused, all problems are reported together, each with
//! its place. Only `id`, `match.container` and `endpoint.uri` are required.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;
use time::Duration;
use url::Url;

use crate::breaker::BreakerSettings;
use crate::duration::IsoDuration;
use crate::endpoints::{EndpointKey, EndpointSettings};
use crate::job::{Input, Output, OutputKind, Submission};
use crate::scoring::{BlobVersion, Scoring};
use crate::template::{Template, Values};

/// Where results go when a rule names no output: the workspace's default datastore, one path per attempt.
pub const DEFAULT_OUTPUT: &str =
    "azureml://datastores/workspaceblobstore/paths/scorekeeper/{rule.id}/{scoring.id}/{attempt}/predictions.csv";

/// All rules, in the order of the file, and what is said of endpoints as such.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    endpoints: Vec<(EndpointKey, EndpointSettings)>,
}

/// One rule. See `README.md`, *Rules*, for the members and their defaults.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Stable name; part of every scoring's id. Renaming a rule scores everything again.
    pub id: String,
    /// What it wants.
    #[serde(rename = "match")]
    pub matches: Match,
    /// Where it goes.
    pub endpoint: Target,
    /// Inputs by name; default: one `UriFile` named `input_data` with the blob's URL.
    #[serde(default = "default_inputs")]
    pub inputs: BTreeMap<String, InputTemplate>,
    /// Outputs by name; default: one `UriFile` named `score` at [`DEFAULT_OUTPUT`].
    #[serde(default = "default_outputs")]
    pub outputs: BTreeMap<String, OutputTemplate>,
    /// Further members of the request's `properties` (`miniBatchSize`, `compute`, …), passed on untouched.
    #[serde(default)]
    pub settings: serde_json::Map<String, Value>,
    /// Raise it to score everything again under the same rule.
    #[serde(default)]
    pub generation: u32,
    /// Most jobs of this rule at one time; absent: no limit.
    #[serde(default)]
    pub max_in_flight: Option<u32>,
    /// Goes before rules of lower priority at the same endpoint; see [`crate::order`].
    #[serde(default)]
    pub priority: i32,
    /// What to do with blobs of no bytes.
    #[serde(default)]
    pub empty_blobs: EmptyBlobs,
    /// Time and retries.
    #[serde(flatten)]
    pub policy: Policy,
}

/// What a rule wants. All given members must hold.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Storage account; absent: any.
    #[serde(default)]
    pub account: Option<String>,
    /// Container.
    pub container: String,
    /// The path begins so.
    #[serde(default)]
    pub prefix: String,
    /// The path ends so.
    #[serde(default)]
    pub suffix: String,
}

/// The batch endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Invoke URI as the studio shows it (`https://…/jobs`). http is accepted for loopback hosts only.
    pub uri: String,
    /// Deployment; absent: the endpoint's default.
    #[serde(default)]
    pub deployment: Option<String>,
    /// ARM id of the workspace (`/subscriptions/…/workspaces/NAME`). Without it a submission whose answer was lost
    /// before any job of the endpoint was seen can't be looked for, and waits.
    #[serde(default)]
    pub workspace: Option<String>,
}

/// An input whose texts are templates.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum InputTemplate {
    /// One file.
    UriFile {
        /// Its URI.
        uri: Template,
    },
    /// A folder.
    UriFolder {
        /// Its URI.
        uri: Template,
    },
    /// A value; texts in it are templates.
    Literal {
        /// String, number or boolean.
        value: Value,
    },
}

/// An output whose URI is a template.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputTemplate {
    /// `UriFile` or `UriFolder`.
    #[serde(rename = "type")]
    pub kind: OutputKind,
    /// Its URI; must hold `{scoring.id}` and `{attempt}`.
    pub uri: Template,
}

/// What to do with blobs of no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmptyBlobs {
    /// Skip and record (default): there is nothing to score.
    #[default]
    Skip,
    /// Score them like any other.
    Score,
}

/// What to do when no job of a lost submission appeared within resubmitAfter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnknown {
    /// Send it again, to the same output path (default). Never while it cannot be looked.
    #[default]
    Resolve,
    /// Hold it for a person.
    Hold,
}

/// Time and retries of a rule. All durations are ISO 8601 (`PT2M`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Policy {
    /// Between two looks at a running job. Default 120 s, as Azure Data Factory's template has it.
    pub poll_interval: IsoDuration,
    /// Attempts in all, each with a new output path. Default 3. 1 switches retries off.
    pub max_attempts: u32,
    /// Back-off before the second attempt, doubled for each further one, at most an hour. Default 60 s.
    pub retry_back_off: IsoDuration,
    /// Refusals that may pass (roles that spread, throttling, a deployment in the making) are tried again for this
    /// long, from the first POST of the attempt. Default one day.
    pub submit_deadline: IsoDuration,
    /// A job is stopped and counted as failed after this long. Default 7 days; Azure ML's own limit is 21.
    pub job_timeout: IsoDuration,
    /// How long the endpoint may take to answer the POST; the lease is twice that. Default 60 s.
    pub submit_timeout: IsoDuration,
    /// After a lost answer: time before the first look, and between looks. Default 30 s.
    pub lookup_interval: IsoDuration,
    /// After a lost answer: when no job appeared for this long, submit again to the same output path. Default 15 min.
    pub resubmit_after: IsoDuration,
    /// After a lost answer that looking did not settle: go on (default) or wait for a person.
    pub on_unknown: OnUnknown,
    /// A completed job's output must be there within this time; a job that can't be found is given up after five
    /// times this. Default 2 min.
    pub output_timeout: IsoDuration,
}

impl Default for Policy {
    fn default() -> Self {
        let seconds = |n| IsoDuration(Duration::seconds(n));
        Self {
            poll_interval: seconds(120),
            max_attempts: 3,
            retry_back_off: seconds(60),
            submit_deadline: seconds(86_400),
            job_timeout: seconds(7 * 86_400),
            submit_timeout: seconds(60),
            lookup_interval: seconds(30),
            resubmit_after: seconds(900),
            on_unknown: OnUnknown::Resolve,
            output_timeout: seconds(120),
        }
    }
}

impl Policy {
    /// How long an intent stands before others may conclude that its owner is gone. Twice the POST's own limit: the
    /// owner has given up long before.
    pub fn lease(&self) -> Duration {
        self.submit_timeout.0 * 2
    }
}

fn default_inputs() -> BTreeMap<String, InputTemplate> {
    let uri = Template::parse("{blob.url}").expect("the built-in template parses");
    BTreeMap::from([("input_data".to_owned(), InputTemplate::UriFile { uri })])
}

fn default_outputs() -> BTreeMap<String, OutputTemplate> {
    let uri = Template::parse(DEFAULT_OUTPUT).expect("the built-in template parses");
    BTreeMap::from([("score".to_owned(), OutputTemplate { kind: OutputKind::UriFile, uri })])
}

impl Rules {
    /// Reads a rules file. `Err` lists every problem found, each with the rule's id or position and the member.
    pub fn read(text: &str) -> Result<Self, Vec<String>> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            rules: Vec<Value>,
            #[serde(default)]
            endpoints: Vec<Value>,
        }
        let file: File = serde_json::from_str(text)
            .map_err(|e| vec![format!("the rules are not of the form {{\"rules\": [ … ]}}: {e}")])?;
        // Of rules that have problems too: those are no reason to complain of the endpoint.
        let uris = file.rules.iter().filter_map(|rule| rule.get("endpoint")?.get("uri")?.as_str());
        let used = uris.map(EndpointKey::of).collect();
        let mut problems = Vec::new();
        let mut rules = Vec::new();
        let mut ids = BTreeSet::new();
        for (index, value) in file.rules.into_iter().enumerate() {
            let id = value.get("id").and_then(Value::as_str).unwrap_or_default();
            let location = if id.is_empty() { format!("rules[{index}]") } else { format!("rule `{id}`") };
            if let Some(unknown) = unknown_member(&value) {
                problems
                    .push(format!("{location}: `{unknown}` is no member of a rule; there are {}", MEMBERS.join(", ")));
                continue;
            }
            match serde_json::from_value::<Rule>(value) {
                Err(error) => problems.push(format!("{location}: {error}")),
                Ok(rule) => {
                    problems.extend(rule.problems().into_iter().map(|problem| format!("{location}: {problem}")));
                    if !ids.insert(rule.id.clone()) {
                        problems.push(format!("{location}: the id is used twice; ids name scorings and must differ"));
                    }
                    rules.push(rule);
                }
            }
        }
        if rules.is_empty() && problems.is_empty() {
            problems.push("there is no rule, so nothing would ever be scored; add one".to_owned());
        }
        let (endpoints, more) = EndpointSettings::read(file.endpoints, &used);
        problems.extend(more);
        if problems.is_empty() { Ok(Self { rules, endpoints }) } else { Err(problems) }
    }

    /// What the file says of an endpoint, if anything.
    pub fn endpoint(&self, uri: &str) -> Option<&EndpointSettings> {
        if self.endpoints.is_empty() {
            return None;
        }
        let wanted = EndpointKey::of(uri);
        self.endpoints.iter().find(|(key, _)| *key == wanted).map(|(_, settings)| settings)
    }

    /// The same with each rule changed, past every check of [`read`](Self::read): for those who show what the checks
    /// are for.
    #[must_use]
    pub fn changed(mut self, change: impl Fn(&mut Rule)) -> Self {
        self.rules.iter_mut().for_each(change);
        self
    }

    /// The circuit breaker of an endpoint's deployments.
    pub fn breaker(&self, uri: &str) -> BreakerSettings {
        self.endpoint(uri).map_or_else(BreakerSettings::default, |settings| settings.breaker)
    }

    /// The rules in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Rule> {
        self.rules.iter()
    }

    /// The rule of this id.
    pub fn get(&self, id: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.id == id)
    }

    /// The rule one of whose outputs this blob is, if any: such a blob never triggers a scoring.
    pub fn output_of(&self, blob: &BlobVersion) -> Option<&Rule> {
        self.iter().find(|rule| rule.outputs.values().any(|output| output.uri.could_have_made(&blob.path)))
    }
}

impl<'a> IntoIterator for &'a Rules {
    type Item = &'a Rule;
    type IntoIter = std::slice::Iter<'a, Rule>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Every member of a rule. serde's `flatten` switches `deny_unknown_fields` off for the struct that flattens; this list keeps typos reported.
pub const MEMBERS: &[&str] = &[
    "id",
    "match",
    "endpoint",
    "inputs",
    "outputs",
    "settings",
    "generation",
    "maxInFlight",
    "priority",
    "emptyBlobs",
    "pollInterval",
    "maxAttempts",
    "retryBackOff",
    "submitDeadline",
    "jobTimeout",
    "submitTimeout",
    "lookupInterval",
    "resubmitAfter",
    "onUnknown",
    "outputTimeout",
];

fn unknown_member(rule: &Value) -> Option<&str> {
    rule.as_object()?.keys().map(String::as_str).find(|key| !MEMBERS.contains(key))
}

impl Rule {
    /// Why this rule does not want the blob; `None` if it does. Container and account decide whether the blob is in
    /// the rule's place at all.
    pub fn refuses(&self, blob: &BlobVersion) -> Option<String> {
        let Match { account, container, prefix, suffix } = &self.matches;
        if account.as_ref().is_some_and(|account| *account != blob.account) {
            return Some(format!("account `{}` is not `{}`", blob.account, account.as_deref().unwrap_or_default()));
        }
        if *container != blob.container {
            return Some(format!("container `{}` is not `{container}`", blob.container));
        }
        if !blob.path.starts_with(prefix.as_str()) {
            return Some(format!("path does not begin with `{prefix}`"));
        }
        if !blob.path.ends_with(suffix.as_str()) {
            return Some(format!("path does not end with `{suffix}`"));
        }
        if blob.size == Some(0) && self.empty_blobs == EmptyBlobs::Skip {
            return Some("the blob has no bytes (emptyBlobs is skip)".to_owned());
        }
        None
    }

    /// What an attempt of `scoring` sends.
    pub fn submission(&self, scoring: &Scoring, attempt: u32) -> Submission {
        let values = Values { blob: &scoring.blob, rule: &self.id, scoring: &scoring.id, attempt };
        let inputs = self.inputs.iter().map(|(name, input)| {
            let input = match input {
                InputTemplate::UriFile { uri } => Input::UriFile { uri: uri.fill(&values) },
                InputTemplate::UriFolder { uri } => Input::UriFolder { uri: uri.fill(&values) },
                InputTemplate::Literal { value } => Input::Literal { value: fill_literal(value, &values) },
            };
            (name.clone(), input)
        });
        let outputs = self
            .outputs
            .iter()
            .map(|(name, output)| (name.clone(), Output { kind: output.kind, uri: output.uri.fill(&values) }));
        Submission { inputs: inputs.collect(), outputs: outputs.collect(), settings: self.settings.clone() }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let simple = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.id.is_empty() || self.id.len() > 64 || !self.id.chars().all(simple) {
            problems.push(format!("`id` is `{}`; it takes 1 to 64 letters, digits, `-` or `_`", self.id));
        }
        if self.matches.container.is_empty() {
            problems.push("`match.container` is empty; name the container that is watched".to_owned());
        }
        if let Err(problem) = endpoint_uri(&self.endpoint.uri) {
            problems.push(format!("`endpoint.uri`: {problem}"));
        }
        if let Some(workspace) = &self.endpoint.workspace
            && !is_workspace_id(workspace)
        {
            problems.push(format!(
                "`endpoint.workspace` is `{workspace}`; expected /subscriptions/SUBSCRIPTION/resourceGroups/GROUP/providers/Microsoft.MachineLearningServices/workspaces/NAME"
            ));
        }
        if self.inputs.is_empty() {
            problems.push("`inputs` is empty; leave it out for the default (the blob itself)".to_owned());
        }
        if self.outputs.is_empty() {
            problems.push(
                "`outputs` is empty; leave it out for the default, without an output nothing can be verified"
                    .to_owned(),
            );
        }
        for (name, input) in &self.inputs {
            if let InputTemplate::Literal { value } = input {
                match value {
                    Value::String(text) => {
                        if let Err(error) = Template::parse(text) {
                            problems.push(format!("`inputs.{name}.value`: {error}"));
                        }
                    }
                    Value::Number(_) | Value::Bool(_) => {}
                    _ => problems.push(format!("`inputs.{name}.value` must be a string, a number or a boolean")),
                }
            }
        }
        for (name, output) in &self.outputs {
            let uri = &output.uri;
            let source = uri.source();
            if !source.contains("datastores/") || !source.contains("/paths/") {
                problems.push(format!(
                    "`outputs.{name}.uri` is `{source}`; outputs go to a registered Blob datastore: azureml://datastores/NAME/paths/PATH"
                ));
            }
            for hole in ["scoring.id", "attempt"] {
                if !uri.has(hole) {
                    problems.push(format!(
                        "`outputs.{name}.uri` lacks {{{hole}}}; each attempt needs a path of its own, or a second job could overwrite a result"
                    ));
                }
            }
        }
        let Policy {
            poll_interval, max_attempts, job_timeout, submit_timeout, lookup_interval, resubmit_after, ..
        } = self.policy;
        if self.max_in_flight == Some(0) {
            problems.push("`maxInFlight` is 0, so nothing would ever be scored; leave it out for no limit".to_owned());
        }
        if max_attempts == 0 || max_attempts > 20 {
            problems.push(format!("`maxAttempts` is {max_attempts}; it takes 1 to 20"));
        }
        for (name, period) in
            [("pollInterval", poll_interval), ("submitTimeout", submit_timeout), ("jobTimeout", job_timeout)]
        {
            if period.0 <= Duration::ZERO {
                problems.push(format!("`{name}` is {period}; it must be longer than nothing"));
            }
        }
        if resubmit_after < lookup_interval {
            problems.push(format!(
                "`resubmitAfter` ({resubmit_after}) is shorter than `lookupInterval` ({lookup_interval}); a lost job would never be looked for"
            ));
        }
        problems
    }
}

fn fill_literal(value: &Value, values: &Values<'_>) -> Value {
    match value {
        // Texts were checked when the rules were read.
        Value::String(text) => Template::parse(text).map_or_else(|_| value.clone(), |t| Value::String(t.fill(values))),
        other => other.clone(),
    }
}

/// Checks an endpoint's URI: https, or http on loopback (simulator, tests).
pub fn endpoint_uri(uri: &str) -> Result<Url, String> {
    let url = Url::parse(uri).map_err(|e| {
        format!("`{uri}` is no URL ({e}); expected https://ENDPOINT.REGION.inference.ml.azure.com/jobs")
    })?;
    let ours = is_loopback(&url);
    match url.scheme() {
        "https" => Ok(url),
        "http" if ours => Ok(url),
        "http" => Err(format!(
            "`{uri}` is plain http, which would send a token in the clear; use https (http is for loopback hosts only)"
        )),
        other => Err(format!("`{uri}` has the scheme `{other}`; expected https")),
    }
}

/// Whether a URL names this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Whether a text is the ARM id of a workspace.
fn is_workspace_id(id: &str) -> bool {
    let parts: Vec<_> = id.trim_start_matches('/').split('/').collect();
    parts.len() == 8
        && parts.iter().all(|part| !part.is_empty())
        && parts[0].eq_ignore_ascii_case("subscriptions")
        && parts[2].eq_ignore_ascii_case("resourceGroups")
        && parts[4].eq_ignore_ascii_case("providers")
        && parts[5].eq_ignore_ascii_case("Microsoft.MachineLearningServices")
        && parts[6].eq_ignore_ascii_case("workspaces")
}

#[cfg(test)]
mod tests;
