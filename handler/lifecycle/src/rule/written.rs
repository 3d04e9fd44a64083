//! A rule as the file has it, and what makes a good rule of it. What is wrong is collected: people correct a file once, not
//! once for each problem.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use time::Duration;

use super::definition::{EmptyBlobs, InputTemplate, Literal, Match, OutputTemplate, Rule, Target, default_outputs};
use super::policy::Policy;
use super::problem::Wrong;
use super::template::Template;
use super::upload::{Complete, Renames};
use crate::blob::BlobVersion;
use crate::id::{DeploymentName, LedgerId, ScoringId};
use crate::job::MAX_SUBMISSION_UNITS;

/// The members of [`Rule`], with the texts that are yet to be read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WrittenRule {
    id: String,
    #[serde(rename = "match")]
    matches: Match,
    endpoint: WrittenTarget,
    #[serde(default = "default_inputs")]
    inputs: BTreeMap<String, WrittenInput>,
    #[serde(default = "default_outputs")]
    outputs: BTreeMap<String, OutputTemplate>,
    #[serde(default)]
    settings: serde_json::Map<String, Value>,
    #[serde(default = "yes")]
    tags: bool,
    #[serde(default)]
    generation: u32,
    #[serde(default)]
    max_in_flight: Option<u32>,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    empty_blobs: EmptyBlobs,
    #[serde(default)]
    complete: Complete,
    #[serde(default)]
    renames: Renames,
    #[serde(flatten)]
    policy: Policy,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTarget {
    uri: String,
    #[serde(default)]
    deployment: Option<DeploymentName>,
    #[serde(default)]
    workspace: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum WrittenInput {
    UriFile { uri: Template },
    UriFolder { uri: Template },
    Literal { value: Value },
}

fn yes() -> bool {
    true
}

fn default_inputs() -> BTreeMap<String, WrittenInput> {
    let uri = Template::parse("{blob.url}").expect("the built-in template parses");
    BTreeMap::from([("input_data".to_owned(), WrittenInput::UriFile { uri })])
}

impl WrittenRule {
    /// The rule, or everything that is wrong with it.
    pub(super) fn check(self) -> Result<Rule, Vec<Wrong>> {
        let mut wrong = Vec::new();
        let id = noted(self.id.parse().map_err(Wrong::Id), &mut wrong);
        if self.matches.container.is_empty() {
            wrong.push(Wrong::NoContainer);
        }
        check_exclude(&self.matches, &mut wrong);
        let uri = noted(self.endpoint.uri.parse().map_err(Wrong::Uri), &mut wrong);
        let workspace = self.endpoint.workspace.map(|text| text.parse().map_err(Wrong::Workspace));
        let workspace = noted(workspace.transpose(), &mut wrong).flatten();
        let inputs = inputs(self.inputs, &mut wrong);
        check_outputs(&self.outputs, &mut wrong);
        if self.max_in_flight == Some(0) {
            wrong.push(Wrong::NothingInFlight);
        }
        if let Complete::UnchangedFor(quiet) = self.complete
            && !(Duration::seconds(10)..=Duration::days(1)).contains(&quiet.0)
        {
            wrong.push(Wrong::Unchanged(quiet));
        }
        check_policy(&self.policy, &mut wrong);
        match (id, uri) {
            (Some(id), Some(uri)) if wrong.is_empty() => fitting(Rule {
                id,
                matches: self.matches,
                endpoint: Target { uri, deployment: self.endpoint.deployment, workspace },
                inputs,
                outputs: self.outputs,
                settings: self.settings,
                tags: self.tags,
                generation: self.generation,
                max_in_flight: self.max_in_flight,
                priority: self.priority,
                empty_blobs: self.empty_blobs,
                complete: self.complete,
                renames: self.renames,
                policy: self.policy,
            }),
            _ => Err(wrong),
        }
    }
}

/// The rule, if the ledger can hold its requests for some blob at least. Whether it can for a blob with a long name is seen
/// when that blob comes.
fn fitting(rule: Rule) -> Result<Rule, Vec<Wrong>> {
    let shortest = BlobVersion::read("https://acc.blob.core.windows.net/con/b", "0");
    let units = shortest.map_or(0, |blob| {
        // Of any ledger: all ids are equally long.
        let id = ScoringId::new(&LedgerId::of_random([0; 16]), &rule.id, &blob, rule.generation);
        rule.submission(&blob, &id, 1).units()
    });
    if units > MAX_SUBMISSION_UNITS {
        return Err(vec![Wrong::Request { units, max: MAX_SUBMISSION_UNITS }]);
    }
    Ok(rule)
}

/// The value, or nothing and its problem noted.
fn noted<T>(read: Result<T, Wrong>, wrong: &mut Vec<Wrong>) -> Option<T> {
    read.map_err(|problem| wrong.push(problem)).ok()
}

/// A member that leaves out everything would make a rule that nothing is ever scored by.
fn check_exclude(Match { prefix, suffix, exclude, .. }: &Match, wrong: &mut Vec<Wrong>) {
    for (member, texts) in [("prefixes", &exclude.prefixes), ("suffixes", &exclude.suffixes)] {
        if texts.iter().any(String::is_empty) {
            wrong.push(Wrong::EmptyExclusion(member));
            return;
        }
    }
    if let Some(excluded) = exclude.excludes_all_of(prefix, suffix) {
        wrong.push(Wrong::ExcludesAll {
            excluded: excluded.to_string(),
            prefix: prefix.clone(),
            suffix: suffix.clone(),
        });
    }
}

fn inputs(written: BTreeMap<String, WrittenInput>, wrong: &mut Vec<Wrong>) -> BTreeMap<String, InputTemplate> {
    if written.is_empty() {
        wrong.push(Wrong::NoInputs);
    }
    let read = |(name, input): (String, WrittenInput)| {
        let input = match input {
            WrittenInput::UriFile { uri } => InputTemplate::UriFile { uri },
            WrittenInput::UriFolder { uri } => InputTemplate::UriFolder { uri },
            WrittenInput::Literal { value } => InputTemplate::Literal { value: noted(literal(&name, value), wrong)? },
        };
        Some((name, input))
    };
    written.into_iter().filter_map(read).collect()
}

fn literal(input: &str, value: Value) -> Result<Literal, Wrong> {
    match value {
        Value::String(text) => match Template::parse(&text) {
            Ok(template) => Ok(Literal::Text(template)),
            Err(source) => Err(Wrong::LiteralText { input: input.to_owned(), source }),
        },
        Value::Number(number) => Ok(Literal::Number(number)),
        Value::Bool(flag) => Ok(Literal::Bool(flag)),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(Wrong::LiteralKind(input.to_owned())),
    }
}

fn check_outputs(outputs: &BTreeMap<String, OutputTemplate>, wrong: &mut Vec<Wrong>) {
    if outputs.is_empty() {
        wrong.push(Wrong::NoOutputs);
    }
    for (name, output) in outputs {
        let uri = output.uri.source();
        if !uri.contains("datastores/") || !uri.contains("/paths/") {
            wrong.push(Wrong::NoDatastore { output: name.clone(), uri: uri.to_owned() });
        }
        for placeholder in ["scoring.id", "attempt"] {
            if !output.uri.has(placeholder) {
                wrong.push(Wrong::SharedOutput { output: name.clone(), placeholder });
            }
        }
    }
}

fn check_policy(policy: &Policy, wrong: &mut Vec<Wrong>) {
    let Policy { poll_interval, max_attempts, job_timeout, submit_timeout, lookup_interval, resubmit_after, .. } =
        *policy;
    if !(1..=20).contains(&max_attempts) {
        wrong.push(Wrong::Attempts(max_attempts));
    }
    for (member, value) in
        [("pollInterval", poll_interval), ("submitTimeout", submit_timeout), ("jobTimeout", job_timeout)]
    {
        if value.0 <= Duration::ZERO {
            wrong.push(Wrong::NoTime { member, value });
        }
    }
    if resubmit_after < lookup_interval {
        wrong.push(Wrong::ResubmitTooSoon { resubmit_after, lookup_interval });
    }
}
