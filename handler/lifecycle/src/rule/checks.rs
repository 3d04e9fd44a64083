//! What a rule that parses can still have wrong with it.

use serde_json::Value;
use time::Duration;

use super::definition::{InputTemplate, Rule};
use super::policy::Policy;
use super::template::Template;
use crate::id::{endpoint_uri, is_workspace_id};

impl Rule {
    pub(super) fn problems(&self) -> Vec<String> {
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
        let Policy { poll_interval, max_attempts, job_timeout, submit_timeout, settle, grace, .. } = self.policy;
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
        if grace < settle {
            problems.push(format!(
                "`grace` ({grace}) is shorter than `settle` ({settle}); a lost job would never be looked for"
            ));
        }
        problems
    }
}
