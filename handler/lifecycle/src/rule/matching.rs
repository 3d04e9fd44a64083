//! What a rule makes of a blob version: whether it wants it, and what is sent for it.

use serde_json::Value;

use super::definition::{EmptyBlobs, InputTemplate, Literal, Match, Rule};
use super::template::Values;
use crate::blob::BlobVersion;
use crate::id::ScoringId;
use crate::job::{Input, Output, Submission};

impl Rule {
    /// Why this rule does not want the blob; `None` if it does. Container and account decide whether the blob is in
    /// the rule's place at all.
    pub fn refuses(&self, blob: &BlobVersion) -> Option<String> {
        let Match { account, container, prefix, suffix, exclude } = &self.matches;
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
        if let Some(why) = exclude.excludes(&blob.path, prefix, suffix) {
            return Some(why.to_string());
        }
        if blob.size == Some(0) && self.empty_blobs == EmptyBlobs::Skip {
            return Some("the blob has no bytes (emptyBlobs is skip)".to_owned());
        }
        None
    }

    /// What an attempt to score `blob` sends.
    pub fn submission(&self, blob: &BlobVersion, scoring: &ScoringId, attempt: u32) -> Submission {
        let values = Values { blob, rule: &self.id, scoring, attempt };
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
        Submission {
            inputs: inputs.collect(),
            outputs: outputs.collect(),
            settings: self.settings.clone(),
            untagged: !self.tags,
        }
    }
}

fn fill_literal(value: &Literal, values: &Values<'_>) -> Value {
    match value {
        Literal::Text(template) => Value::String(template.fill(values)),
        Literal::Number(number) => Value::Number(number.clone()),
        Literal::Bool(flag) => Value::Bool(*flag),
    }
}
