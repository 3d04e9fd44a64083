//! All rules of a file, read and checked together.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::definition::{MEMBERS, OutputTemplate, Rule};
use super::endpoints::EndpointSettings;
use super::problem::{Location, Problem, Problems, Wrong};
use super::written::WrittenRule;
use crate::blob::BlobVersion;
use crate::breaker::BreakerSettings;
use crate::id::{EndpointKey, EndpointUri};
use crate::job::OutputKind;

/// All rules, in the order of the file, and what is said of endpoints as such.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    endpoints: Vec<EndpointSettings>,
}

impl Rules {
    /// Reads a rules file. All problems are found in one go.
    pub fn read(text: &str) -> Result<Self, Problems> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            rules: Vec<Value>,
            #[serde(default)]
            endpoints: Vec<Value>,
        }
        let in_file = |wrong| Problem { location: Location::File, wrong };
        let file: File = serde_json::from_str(text).map_err(|error| Problems(vec![in_file(Wrong::File(error))]))?;
        // Of rules that have problems too: those are no reason to complain of the endpoint.
        let uris = file.rules.iter().filter_map(|rule| rule.get("endpoint")?.get("uri")?.as_str());
        let used = uris.map(EndpointKey::of).collect();
        let mut problems = Vec::new();
        let mut rules = Vec::new();
        let mut ids = BTreeSet::new();
        for (index, value) in file.rules.into_iter().enumerate() {
            let id = value.get("id").and_then(Value::as_str).filter(|id| !id.is_empty()).map(str::to_owned);
            let twice = id.clone().is_some_and(|id| !ids.insert(id)).then_some(Wrong::IdTwice);
            let location = Location::Rule { index, id };
            let wrong = match rule(value) {
                Ok(rule) => {
                    rules.push(rule);
                    Vec::new()
                }
                Err(wrong) => wrong,
            };
            problems.extend(wrong.into_iter().chain(twice).map(|wrong| Problem { location: location.clone(), wrong }));
        }
        if rules.is_empty() && problems.is_empty() {
            problems.push(in_file(Wrong::NoRule));
        }
        let endpoints = EndpointSettings::read(file.endpoints, &used, &mut problems);
        if problems.is_empty() { Ok(Self { rules, endpoints }) } else { Err(Problems(problems)) }
    }

    /// What the file says of an endpoint, if anything.
    pub fn endpoint(&self, uri: &EndpointUri) -> Option<&EndpointSettings> {
        self.endpoints.iter().find(|settings| settings.uri == *uri)
    }

    /// The same with each rule changed, past every check of [`read`](Self::read): for those who show what the checks
    /// are for.
    #[must_use]
    pub fn changed(mut self, change: impl Fn(&mut Rule)) -> Self {
        self.rules.iter_mut().for_each(change);
        self
    }

    /// The circuit breaker of an endpoint's deployments.
    pub fn breaker(&self, uri: &EndpointUri) -> BreakerSettings {
        self.endpoint(uri).map_or_else(BreakerSettings::default, |settings| settings.breaker)
    }

    /// The rules in the order of the file, which is the order in which they are asked.
    pub fn iter(&self) -> std::slice::Iter<'_, Rule> {
        self.rules.iter()
    }

    /// The rule of this id.
    pub fn get(&self, id: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.id == id)
    }

    /// The rule one of whose outputs this blob is, if any: such a blob never triggers a scoring.
    pub fn output_of(&self, blob: &BlobVersion) -> Option<&Rule> {
        self.output_at(&blob.path)
    }

    /// The rule one of whose outputs a blob at this path is, if any.
    pub fn output_at(&self, path: &str) -> Option<&Rule> {
        let is_made = |output: &OutputTemplate| match output.kind {
            OutputKind::UriFile => output.uri.could_have_made(path),
            OutputKind::UriFolder => output.uri.could_have_made_folder_of(path),
        };
        self.iter().find(|rule| rule.outputs.values().any(is_made))
    }
}

impl<'a> IntoIterator for &'a Rules {
    type Item = &'a Rule;
    type IntoIter = std::slice::Iter<'a, Rule>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn rule(value: Value) -> Result<Rule, Vec<Wrong>> {
    if let Some(name) = value.as_object().and_then(|rule| rule.keys().find(|key| !MEMBERS.contains(&key.as_str()))) {
        return Err(vec![Wrong::UnknownMember(name.clone())]);
    }
    serde_json::from_value::<WrittenRule>(value).map_err(|error| vec![Wrong::Member(error)])?.check()
}
