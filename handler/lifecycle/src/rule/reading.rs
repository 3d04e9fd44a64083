//! All rules of a file, read and checked together.

use std::collections::{BTreeMap, BTreeSet};

use super::definition::{OutputTemplate, Rule};
use super::document::{self, Node, Read, Refused};
use super::endpoints::EndpointSettings;
use super::problem::Problems;
use super::shadow::SUFFIX;
use crate::blob::BlobVersion;
use crate::breaker::BreakerSettings;
use crate::id::{EndpointKey, EndpointUri, IdentityName, RuleId};
use crate::job::OutputKind;

/// All rules, in the order of the file, and what is said of endpoints as such.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    endpoints: Vec<EndpointSettings>,
    /// Which text they were read from, where that may be another one a minute later.
    version: Option<String>,
}

impl Rules {
    /// Reads a rules file: JSON, with comments and trailing commas if it likes. All problems are found in one go.
    pub fn read(text: &str) -> Result<Self, Problems> {
        document::read(text, <Self as Read>::read)
    }

    /// The same as those of this version of the blob that they lie in.
    #[must_use]
    pub fn of_version(self, etag: &str) -> Self {
        Self { version: Some(etag.to_owned()), ..self }
    }

    /// ETag of the blob that they were read from; `None` for those that last as long as the process.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
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

    /// The same without the rule of this id, as after it was removed from the file, with what is said of endpoints that no other
    /// rule has.
    #[must_use]
    pub fn without(mut self, id: &str) -> Self {
        self.rules.retain(|rule| rule.id != id);
        let rules = &self.rules;
        self.endpoints.retain(|settings| rules.iter().any(|rule| rule.endpoint.uri == settings.uri));
        self
    }

    /// The circuit breaker of an endpoint's deployments.
    pub fn breaker(&self, uri: &EndpointUri) -> BreakerSettings {
        self.endpoint(uri).map_or_else(BreakerSettings::default, |settings| settings.breaker)
    }

    /// Who asks for a scoring of a rule at an endpoint: whom the rule names now, as that may have been corrected; `recorded`, whom it
    /// named when the scoring was accepted, where the rule is gone or has another endpoint.
    pub fn identity_for(
        &self,
        rule: &RuleId,
        endpoint: &EndpointUri,
        recorded: Option<&IdentityName>,
    ) -> Option<IdentityName> {
        let now = self.get(rule).filter(|rule| rule.endpoint.uri == *endpoint);
        now.map_or(recorded, |rule| rule.endpoint.identity.as_ref()).cloned()
    }

    /// The rules in the order of the file, which is the order in which they are asked.
    pub fn iter(&self) -> std::slice::Iter<'_, Rule> {
        self.rules.iter()
    }

    /// The rule of this id.
    pub fn get(&self, id: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.id == id)
    }

    /// The rule one of whose outputs has the form of this blob's path, if any; see [`Template::could_have_made`](super::template::Template::could_have_made).
    pub fn output_of(&self, blob: &BlobVersion) -> Option<&Rule> {
        self.output_at(&blob.path)
    }

    /// The rule one of whose outputs has the form of this path, if any.
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

impl Read for Rules {
    fn read(node: &Node<'_>) -> Option<Self> {
        let mut members = node.object("{\"rules\": [ … ]}")?;
        // Editors find the schema by it.
        let _schema: Option<String> = members.optional("$schema");
        let rules = members.required_node("rules", Refused::new("the list of rules", "write \"rules\": [ … ]"));
        let rules = rules.and_then(|rules| {
            let list = rules.list("rules")?;
            if list.is_empty() {
                rules.refuse(Refused::new("one rule at least; without one nothing would ever be scored", "add one"));
            }
            Some(list)
        });
        let endpoints = members.node("endpoints").and_then(|endpoints| endpoints.list("endpoints"));
        members.end();
        let (rules, endpoints) = (rules.unwrap_or_default(), endpoints.unwrap_or_default());
        check_ids(&rules);
        check_identities(&rules);
        // Of rules that have problems too: those are no reason to complain of the endpoint.
        let used: BTreeSet<EndpointKey> = rules
            .iter()
            .filter_map(|rule| Some(EndpointKey::of(rule.peek("endpoint")?.peek("uri")?.text()?)))
            .collect();
        let endpoints = read_endpoints(&endpoints, &used);
        let rules = rules.iter().filter_map(Rule::read).flat_map(|rule| {
            let shadow = rule.shadow();
            [Some(rule), shadow].into_iter().flatten()
        });
        Some(Self { rules: rules.collect(), endpoints, version: None })
    }
}

/// Two rules with one `id` are noted: one would take over the other's scorings.
fn check_ids(rules: &[Node<'_>]) {
    let mut seen = BTreeSet::new();
    let mut shadows = BTreeSet::new();
    for rule in
        rules.iter().filter(|rule| rule.peek("endpoint").is_some_and(|endpoint| endpoint.peek("shadow").is_some()))
    {
        let Some(id) = rule.peek("id") else { continue };
        let shadow = format!("{}{SUFFIX}", id.text().unwrap_or_default());
        if id.text().is_some_and(|id| id.parse::<RuleId>().is_ok()) && shadow.parse::<RuleId>().is_err() {
            id.refuse(Refused::new(
                format!("an id that has room for `{SUFFIX}` behind it, which names the rule's shadow"),
                "shorten it",
            ));
        }
        shadows.insert(shadow);
    }
    for id in rules.iter().filter_map(|rule| rule.peek("id")) {
        if id.text().is_some_and(|text| shadows.contains(text)) {
            id.refuse(Refused::new("another id: this one is that of a rule's shadow (endpoint.shadow)", "rename it"));
        }
        if id.text().is_some_and(|text| !seen.insert(text)) {
            id.refuse(Refused::new(
                "an id of its own for each rule: ids name scorings, and this one is used twice",
                "rename one of the two rules",
            ));
        }
    }
}

/// Rules of one endpoint that name two identities are noted: its jobs are listed, found and stopped by one.
fn check_identities(rules: &[Node<'_>]) {
    let mut seen = BTreeMap::<EndpointKey, Option<&str>>::new();
    for endpoint in rules.iter().filter_map(|rule| rule.peek("endpoint")) {
        let Some(key) = endpoint.peek("uri").and_then(|uri| Some(EndpointKey::of(uri.text()?))) else { continue };
        let node = endpoint.peek("identity").filter(|node| !node.is_null());
        let identity = node.as_ref().and_then(Node::text);
        let first = *seen.entry(key).or_insert(identity);
        if first != identity {
            let other = first.map_or_else(|| "the app's own".to_owned(), |name| format!("`{name}`"));
            node.unwrap_or(endpoint).refuse(Refused::new(
                format!("one identity for each endpoint; a rule above asks this one as {other}"),
                "name the same in all rules of the endpoint",
            ));
        }
    }
}

/// Entries of which none is for an endpoint that no rule has, which would leave the real one without its limit, and no two
/// for the same.
fn read_endpoints(endpoints: &[Node<'_>], used: &BTreeSet<EndpointKey>) -> Vec<EndpointSettings> {
    let mut read = Vec::<EndpointSettings>::new();
    for node in endpoints {
        let Some(settings) = EndpointSettings::read(node) else { continue };
        let uri = node.peek("uri").unwrap_or_else(|| node.clone());
        if !used.contains(settings.uri.key()) {
            uri.refuse(Refused::new(
                "the `endpoint.uri` of a rule, and no rule has this one",
                "correct it, or remove the entry",
            ));
        }
        if read.iter().any(|other| other.uri == settings.uri) {
            uri.refuse(Refused::new(
                "one entry for each endpoint; this one is listed twice",
                "put all of its limits into one entry",
            ));
        }
        read.push(settings);
    }
    read
}
