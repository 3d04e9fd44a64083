//! All rules of a file, read and checked together.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::definition::{MEMBERS, Rule};
use super::endpoints::EndpointSettings;
use crate::blob::BlobVersion;
use crate::breaker::BreakerSettings;
use crate::id::EndpointKey;

/// All rules, in the order of the file, and what is said of endpoints as such.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    endpoints: Vec<(EndpointKey, EndpointSettings)>,
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
            let place = if id.is_empty() { format!("rules[{index}]") } else { format!("rule `{id}`") };
            if let Some(unknown) = unknown_member(&value) {
                problems.push(format!("{place}: `{unknown}` is no member of a rule; there are {}", MEMBERS.join(", ")));
                continue;
            }
            match serde_json::from_value::<Rule>(value) {
                Err(error) => problems.push(format!("{place}: {error}")),
                Ok(rule) => {
                    problems.extend(rule.problems().into_iter().map(|problem| format!("{place}: {problem}")));
                    if !ids.insert(rule.id.clone()) {
                        problems.push(format!("{place}: the id is used twice; ids name scorings and must differ"));
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

fn unknown_member(rule: &Value) -> Option<&str> {
    rule.as_object()?.keys().map(String::as_str).find(|key| !MEMBERS.contains(key))
}
