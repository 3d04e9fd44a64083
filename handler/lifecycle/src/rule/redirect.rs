//! A rules file for a rehearsal: the same text with other addresses, so that nothing of it reaches what it names.

use std::ops::Range;

use serde_json::Value;

use super::document::{self, Node};
use super::problem::Problems;
use super::reading::Rules;
use crate::id::EndpointUri;

/// What stands in a rehearsal for what a rules file names.
#[derive(Debug)]
pub struct Redirect<'a> {
    /// Where each endpoint is reached. One that is not among them keeps its address.
    pub endpoints: &'a [(EndpointUri, String)],
    /// ARM id of the workspace that stands for each that is named.
    pub workspace: &'a str,
    /// Between two looks at a running job: a person is watching.
    pub poll_interval: &'a str,
}

impl Rules {
    /// The text of a rules file with other addresses; everything else stays as it is written.
    pub fn redirected(text: &str, redirect: &Redirect<'_>) -> Result<String, Problems> {
        Self::read(text)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut edits = document::read(text, |root| {
            let list = |name| root.peek(name).and_then(|list| list.list("entries")).unwrap_or_default();
            let of_rules = list("rules").into_iter().flat_map(|rule| of_rule(&rule, redirect));
            let of_endpoints = list("endpoints").into_iter().filter_map(|endpoint| address(&endpoint, redirect));
            Some(of_rules.chain(of_endpoints).collect::<Vec<_>>())
        })?;
        // From the end on, so that what comes before stays where it is.
        edits.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
        let mut text = text.to_owned();
        for (range, with) in edits {
            text.replace_range(range, &with);
        }
        Ok(text)
    }
}

type Edit = (Range<usize>, String);

fn of_rule(rule: &Node<'_>, redirect: &Redirect<'_>) -> Vec<Edit> {
    let interval = quoted(redirect.poll_interval);
    let interval = if let Some(written) = rule.peek("pollInterval") {
        (written.range(), interval)
    } else {
        let begin = rule.range().start + 1;
        (begin..begin, format!(" \"pollInterval\": {interval},"))
    };
    let endpoint = rule.peek("endpoint");
    let workspace = endpoint.as_ref().and_then(|endpoint| endpoint.peek("workspace")).filter(|id| id.text().is_some());
    let workspace = workspace.map(|id| (id.range(), quoted(redirect.workspace)));
    // Whoever it is, no token of theirs is asked for.
    let identity =
        endpoint.as_ref().and_then(|endpoint| endpoint.peek("identity")).map(|it| (it.range(), "null".to_owned()));
    let address = endpoint.and_then(|endpoint| address(&endpoint, redirect));
    [Some(interval), workspace, identity, address].into_iter().flatten().collect()
}

fn address(of: &Node<'_>, redirect: &Redirect<'_>) -> Option<Edit> {
    let uri = of.peek("uri")?;
    let named: EndpointUri = uri.text()?.parse().ok()?;
    let (_, there) = redirect.endpoints.iter().find(|(known, _)| *known == named)?;
    Some((uri.range(), quoted(there)))
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_the_poll_interval_are_others_and_nothing_else_is() {
        let text = r#"{ // ours
  "rules": [
    { "id": "a", "match": {"container": "con"}, "pollInterval": "PT2M", // slow
      "endpoint": {"uri": "https://heart.westeurope.inference.ml.azure.com/jobs", "workspace": "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"},
      "inputs": {"n": {"type": "Literal", "value": 1e5}}, },
    { "id": "b", "match": {"container": "con"}, "endpoint": {"uri": "https://e.example/jobs", "workspace": null, "identity": "partner"} } ],
  "endpoints": [{"uri": "https://e.example/jobs/", "maxInFlight": 1}] }"#;
        let there = |from: &str, name: &str| (from.parse().expect("a URI"), format!("http://127.0.0.1:1/{name}/jobs"));
        let heart = there("https://heart.westeurope.inference.ml.azure.com/jobs", "heart");
        let redirect = Redirect {
            endpoints: &[heart, there("https://e.example/jobs", "e")],
            workspace: "/subscriptions/0/resourceGroups/local/providers/Microsoft.MachineLearningServices/workspaces/local",
            poll_interval: "PT1S",
        };
        let redirected = Rules::redirected(&format!("\u{feff}{text}"), &redirect).expect("good rules");
        let rules = Rules::read(&redirected).expect("good rules");
        assert!(rules.iter().all(|rule| rule.endpoint.uri.starts_with("http://127.0.0.1:1/")), "{redirected}");
        let limit =
            rules.endpoint(&rules.get("b").expect("b").endpoint.uri).and_then(|settings| settings.max_in_flight);
        assert_eq!(limit, Some(1));
        assert!(redirected.contains("1e5") && redirected.contains("// slow"), "{redirected}");
        for rule in &rules {
            assert_eq!(rule.policy.poll_interval.to_string(), "PT1S");
            assert!(rule.endpoint.workspace.as_deref().is_none_or(|id| id == redirect.workspace));
            assert_eq!(rule.endpoint.identity, None);
        }
        assert!(Rules::redirected("{}", &redirect).is_err());
    }
}
