//! What a rule makes of a blob version: whether it wants it, and what is sent for it.

use super::data::is_data_asset;
use super::definition::{EmptyBlobs, InputTemplate, Literal, Match, OutputTemplate, Rule, Source};
use super::exclude::Excluded;
use super::groupable::stands_for_the_folder;
use super::upload::{Api, Complete};
use crate::blob::BlobVersion;
use crate::job::{Input, InputData, Output, Submission};
use crate::scoring::Scoring;
use crate::text::one_line;

impl Rule {
    /// Why this rule does not want the blob; `None` if it does. Container and account decide whether the blob is in
    /// the rule's place at all.
    pub fn refuses(&self, blob: &BlobVersion) -> Option<String> {
        self.refuses_name(&blob.account, &blob.container, &blob.path)
            .or_else(|| self.refuses_size(blob.size?))
            .or_else(|| self.refuses_type(blob.content_type.as_deref()?))
    }

    /// Why this rule wants no blob of this size.
    pub(crate) fn refuses_size(&self, bytes: u64) -> Option<String> {
        let Match { min_bytes, max_bytes, .. } = &self.matches;
        if bytes == 0 && self.empty_blobs == EmptyBlobs::Skip {
            return Some("the blob has no bytes (emptyBlobs is skip)".to_owned());
        }
        match (min_bytes, max_bytes) {
            (Some(min), _) if bytes < *min => Some(format!("it has {bytes} bytes, fewer than {min} (match.minBytes)")),
            (_, Some(max)) if bytes > *max => Some(format!("it has {bytes} bytes, more than {max} (match.maxBytes)")),
            _ => None,
        }
    }

    /// Why this rule wants no blob of this content type; empty: it has none.
    pub(crate) fn refuses_type(&self, content_type: &str) -> Option<String> {
        let wanted = &self.matches.content_types;
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted.is_of(content_type)) {
            return None;
        }
        let wanted: Vec<String> = wanted.iter().map(|wanted| format!("`{wanted}`")).collect();
        let is = one_line(content_type, 128);
        Some(format!("its content type is `{is}`, not {} (match.contentTypes)", wanted.join(", ")))
    }

    /// Why this rule wants no blob that was written so. An event that names no operation is of an emulator.
    pub(crate) fn refuses_api(&self, api: &str) -> Option<String> {
        let wanted = &self.matches.apis;
        if api.is_empty() || wanted.is_empty() || Api::read(api).is_some_and(|api| wanted.contains(&api)) {
            return None;
        }
        let wanted: Vec<&str> = wanted.iter().map(|api| api.name()).collect();
        Some(format!("it was written by `{}`, not by {} (match.apis)", one_line(api, 64), wanted.join(", ")))
    }

    /// It wants to know something of a blob that its event did not tell, so that the blob must be looked at.
    pub(crate) fn needs_more_than(&self, blob: &BlobVersion) -> bool {
        let Match { min_bytes, max_bytes, content_types, .. } = &self.matches;
        blob.size.is_none() && (min_bytes.is_some() || max_bytes.is_some())
            || blob.content_type.is_none() && !content_types.is_empty()
            || self.asks_what_no_event_tells()
    }

    /// Why this rule wants no version of a blob of this name; `None` if it wants some.
    pub fn refuses_name(&self, account: &str, container: &str, path: &str) -> Option<String> {
        let Match { prefix, suffix, globs, exclude, .. } = &self.matches;
        if let Some(why) = self.refuses_place(account, container, path) {
            return Some(why);
        }
        let name = path.rsplit('/').next();
        if let Some(marker) = self.group.as_ref().and_then(|group| group.marker.as_ref())
            && name == Some(marker.as_str())
        {
            return Some(format!(
                "it is the marker `{}` that says that its folder is whole (group.marker)",
                marker.as_str()
            ));
        }
        // By convention a marker is none of the files that are scored; this one is.
        let mut ending = suffix.as_str();
        if let Complete::Marker(marker) = &self.complete {
            ending = marker.as_str();
            if name != Some(ending) {
                return Some(format!(
                    "it is not the marker `{ending}` that its folder is complete with (complete.marker)"
                ));
            }
        }
        if !path.ends_with(suffix.as_str()) {
            return Some(format!("path does not end with `{suffix}`"));
        }
        if !globs.is_empty() && !globs.iter().any(|glob| glob.matches(path)) {
            let forms: Vec<String> = globs.iter().map(|glob| format!("`{glob}`")).collect();
            return Some(format!("path has none of the forms {} (match.globs)", forms.join(", ")));
        }
        exclude.excludes(path, prefix, ending).map(|why| why.to_string())
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
        let values = scoring.values(attempt);
        let data = |source: &Source, uri: fn(String) -> String| InputData {
            uri: uri(source.uri.fill(&values)),
            mode: source.mode,
            description: source.description.as_ref().map(|text| text.fill(&values)),
        };
        let inputs = self.inputs.iter().map(|(name, input)| {
            let input = match input {
                // The copies of its members.
                InputTemplate::UriFile(source) if scoring.is_group() && stands_for_the_folder(input) => {
                    Input::UriFolder(data(source, as_folder))
                }
                InputTemplate::UriFile(source) => Input::UriFile(data(source, |uri| uri)),
                InputTemplate::UriFolder(source) => Input::UriFolder(data(source, as_folder)),
                InputTemplate::Literal { value, parameter } => {
                    let given =
                        scoring.start.as_ref().and_then(|start| start.parameters.get(name)).filter(|_| *parameter);
                    let value = given.cloned().unwrap_or_else(|| match value {
                        Literal::AsWritten(text) => text.clone(),
                        Literal::Template(template) => template.fill(&values),
                    });
                    Input::Literal { value }
                }
            };
            (name.clone(), input)
        });
        let outputs = self.outputs.iter().map(|(name, output)| {
            let OutputTemplate { kind, uri, mode, description, publish: _ } = output;
            let description = description.as_ref().map(|text| text.fill(&values));
            (name.clone(), Output { kind: *kind, uri: uri.fill(&values), mode: *mode, description })
        });
        Submission {
            inputs: inputs.collect(),
            outputs: outputs.collect(),
            settings: self.settings.fill(&values),
            untagged: !self.tags,
        }
    }
}

/// A folder's URI ends in a slash, as the SDK writes it: without one a service may take it for a blob of that name. A data
/// asset's id is not a path.
fn as_folder(uri: String) -> String {
    if uri.ends_with('/') || is_data_asset(&uri) { uri } else { uri + "/" }
}
