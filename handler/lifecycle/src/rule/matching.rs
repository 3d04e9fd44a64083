//! What a rule makes of a blob version: whether it wants it, and what is sent for it.

use super::data::is_data_asset;
use super::definition::{EmptyBlobs, InputTemplate, Literal, Match, Rule};
use super::exclude::Excluded;
use super::template::Values;
use crate::blob::BlobVersion;
use crate::job::{Input, Output, Submission};
use crate::scoring::Scoring;

impl Rule {
    /// Why this rule does not want the blob; `None` if it does. Container and account decide whether the blob is in
    /// the rule's place at all.
    pub fn refuses(&self, blob: &BlobVersion) -> Option<String> {
        self.refuses_name(&blob.account, &blob.container, &blob.path).or_else(|| {
            (blob.size == Some(0) && self.empty_blobs == EmptyBlobs::Skip)
                .then(|| "the blob has no bytes (emptyBlobs is skip)".to_owned())
        })
    }

    /// Why this rule wants no version of a blob of this name; `None` if it wants some.
    pub fn refuses_name(&self, account: &str, container: &str, path: &str) -> Option<String> {
        let Match { prefix, suffix, globs, exclude, .. } = &self.matches;
        if let Some(why) = self.refuses_place(account, container, path) {
            return Some(why);
        }
        if !path.ends_with(suffix.as_str()) {
            return Some(format!("path does not end with `{suffix}`"));
        }
        if !globs.is_empty() && !globs.iter().any(|glob| glob.matches(path)) {
            let forms: Vec<String> = globs.iter().map(|glob| format!("`{glob}`")).collect();
            return Some(format!("path has none of the forms {} (match.globs)", forms.join(", ")));
        }
        exclude.excludes(path, prefix, suffix).map(|why| why.to_string())
    }

    /// Why this rule wants no blob below this folder; `None` if it may want some.
    pub fn refuses_folder(&self, account: &str, container: &str, folder: &str) -> Option<String> {
        let Match { prefix, suffix, exclude, .. } = &self.matches;
        let below = format!("{folder}/");
        // The rule's place may lie within the folder.
        let path = if prefix.starts_with(&below) { prefix } else { &below };
        if let Some(why) = self.refuses_place(account, container, path) {
            return Some(why);
        }
        // A suffix or a form is one of a file: which of them the folder holds is not known.
        let excluded = exclude.excludes(path, prefix, suffix);
        excluded.filter(|why| matches!(why, Excluded::Prefix(_) | Excluded::Folder(_))).map(|why| why.to_string())
    }

    /// Why what lies there is not in the rule's place.
    fn refuses_place(&self, of_account: &str, of_container: &str, path: &str) -> Option<String> {
        let Match { account, container, prefix, .. } = &self.matches;
        if account.as_ref().is_some_and(|account| account != of_account) {
            return Some(format!("account `{of_account}` is not `{}`", account.as_deref().unwrap_or_default()));
        }
        if container != of_container {
            return Some(format!("container `{of_container}` is not `{container}`"));
        }
        (!path.starts_with(prefix.as_str())).then(|| format!("path does not begin with `{prefix}`"))
    }

    /// What an attempt of a scoring sends. The same whenever it is asked for, by whichever process: nothing but the rule and
    /// what is on record of the scoring goes into it.
    pub fn submission(&self, scoring: &Scoring, attempt: u32) -> Submission {
        let values = Values::of(scoring, attempt);
        let inputs = self.inputs.iter().map(|(name, input)| {
            let input = match input {
                InputTemplate::UriFile { uri } => Input::UriFile { uri: uri.fill(&values) },
                InputTemplate::UriFolder { uri } => Input::UriFolder { uri: as_folder(uri.fill(&values)) },
                InputTemplate::Literal { value } => Input::Literal {
                    value: match value {
                        Literal::AsWritten(text) => text.clone(),
                        Literal::Template(template) => template.fill(&values),
                    },
                },
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
            settings: self.settings.fill(&values),
            untagged: !self.tags,
        }
    }
}

/// A folder's URI ends in a slash, as the SDK writes it: without one a service may take it for a blob of that name. A data
/// asset's id is no path.
fn as_folder(uri: String) -> String {
    if uri.ends_with('/') || is_data_asset(&uri) { uri } else { uri + "/" }
}
