//! What the rules file says of batch endpoints as such: limits that all rules which use one share.
//!
//! The list is optional, and so is an endpoint's place in it. Entries are matched by [`EndpointKey`], never by text, so
//! that two spellings of one address cannot have two limits.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;

use crate::breaker::BreakerSettings;

/// Names an endpoint in keys of rows: the first 32 hex digits of SHA-256 over its invoke URI, with the host in lower
/// case and without a port that is the scheme's own, a query or slashes at the end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointKey(String);

impl EndpointKey {
    /// The key of an invoke URI. A text that is no URL has a key too: that of itself.
    pub fn of(uri: &str) -> Self {
        Self::of_parts(uri, None)
    }

    /// The key of one deployment behind an invoke URI; `None` is the endpoint's default deployment.
    pub fn of_deployment(uri: &str, deployment: Option<&str>) -> Self {
        Self::of_parts(uri, Some(deployment.unwrap_or_default()))
    }

    fn of_parts(uri: &str, deployment: Option<&str>) -> Self {
        let mut text = canonical(uri);
        if let Some(deployment) = deployment {
            text.push('\u{1f}'); // occurs in no URL
            text.push_str(deployment);
        }
        Self(crate::scoring::hex(&Sha256::digest(text.as_bytes())[..16]))
    }

    /// Reads a key: exactly 32 lower-case hex digits.
    pub fn read(text: &str) -> Option<Self> {
        crate::scoring::ScoringId::read(text).map(|id| Self(id.as_str().to_owned()))
    }

    /// The 32 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EndpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn canonical(uri: &str) -> String {
    let Ok(mut url) = Url::parse(uri) else { return uri.to_owned() };
    url.set_query(None);
    url.set_fragment(None);
    url.as_str().trim_end_matches('/').to_owned()
}

/// One entry of `endpoints` in the rules file. See `README.md`, *Endpoints*.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndpointSettings {
    /// The invoke URI, as a rule has it.
    pub uri: String,
    /// Most jobs of the endpoint at one time, over all rules and processes; absent: no limit.
    #[serde(default)]
    pub max_in_flight: Option<u32>,
    /// Most requests for a job in any minute, over all rules and processes; absent: no limit.
    #[serde(default)]
    pub submits_per_minute: Option<u32>,
    /// The circuit breaker of each of its deployments. On by default.
    #[serde(default)]
    pub breaker: BreakerSettings,
}

/// Every member of an entry of `endpoints`; the README explains each.
pub const MEMBERS: &[&str] = &["uri", "maxInFlight", "submitsPerMinute", "breaker"];

/// Each submit a minute is a row that is read before a submit; a page of the table has 1,000.
const MAX_SUBMITS_PER_MINUTE: u32 = 1_000;

impl EndpointSettings {
    /// Reads the list. `used` are the endpoints of the rules: an entry for any other is a typing error that would
    /// leave the real endpoint without its limit.
    pub(crate) fn read(list: Vec<Value>, used: &BTreeSet<EndpointKey>) -> (Vec<(EndpointKey, Self)>, Vec<String>) {
        let (mut read, mut problems) = (Vec::<(EndpointKey, Self)>::new(), Vec::new());
        for (index, value) in list.into_iter().enumerate() {
            let uri = value.get("uri").and_then(Value::as_str).unwrap_or_default();
            let location = if uri.is_empty() { format!("endpoints[{index}]") } else { format!("endpoint `{uri}`") };
            let settings = match serde_json::from_value::<Self>(value) {
                Ok(settings) => settings,
                Err(error) => {
                    problems.push(format!("{location}: {error}"));
                    continue;
                }
            };
            let key = EndpointKey::of(&settings.uri);
            if !used.contains(&key) {
                problems.push(format!("{location}: no rule has this `endpoint.uri`; correct it, or remove the entry"));
            }
            if read.iter().any(|(other, _)| *other == key) {
                problems.push(format!("{location}: the endpoint is listed twice; one entry holds all of its limits"));
            }
            problems.extend(settings.problems().into_iter().map(|problem| format!("{location}: {problem}")));
            read.push((key, settings));
        }
        (read, problems)
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.max_in_flight == Some(0) {
            problems.push("`maxInFlight` is 0, so nothing would ever be scored; leave it out for no limit".to_owned());
        }
        if let Some(rate) = self.submits_per_minute
            && !(1..=MAX_SUBMITS_PER_MINUTE).contains(&rate)
        {
            problems.push(format!(
                "`submitsPerMinute` is {rate}; it takes 1 to {MAX_SUBMITS_PER_MINUTE}; leave it out for no limit"
            ));
        }
        if self.breaker.is_on() && self.breaker.pause.0 < time::Duration::SECOND {
            problems.push(format!("`breaker.pause` is {}; it must be a second at least", self.breaker.pause));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Rules;

    fn read(endpoints: &str) -> Result<Rules, String> {
        Rules::read(&format!(
            r#"{{"rules":[{{"id":"a","match":{{"container":"c"}},"endpoint":{{"uri":"https://e.example/jobs"}}}}],"endpoints":{endpoints}}}"#
        ))
        .map_err(|problems| problems.join("\n"))
    }

    #[test]
    fn one_endpoint_has_one_key_however_it_is_written() {
        let key = EndpointKey::of("https://e.example/jobs");
        for same in ["https://E.EXAMPLE/jobs", "https://e.example:443/jobs/", "https://e.example/jobs?x=1#y"] {
            assert_eq!(EndpointKey::of(same), key, "{same}");
        }
        for other in ["https://e.example/Jobs", "https://e.example:8443/jobs", "http://e.example/jobs", "jobs"] {
            assert_ne!(EndpointKey::of(other), key, "{other}");
        }
        // Pinned: a change of this value forgets which slots are taken.
        assert_eq!(key.as_str(), "16edc0cce843097f4b275ab290f4fb25");
        assert_eq!(key.to_string(), key.as_str());
        assert_eq!(EndpointKey::read(key.as_str()), Some(key));
        assert_eq!(EndpointKey::read("16edc0cc"), None);
    }

    #[test]
    fn a_breaker_pauses_for_a_second_at_least() {
        let with = |pause| {
            read(&format!(r#"[{{"uri":"https://e.example/jobs","breaker":{{"failures":2,"pause":"{pause}"}}}}]"#))
        };
        assert_eq!(with("PT1S").expect("good").breaker("https://e.example/jobs").failures, 2);
        assert!(with("PT0.9S").unwrap_err().contains("breaker.pause"));
    }

    #[test]
    fn deployments_of_one_endpoint_differ() {
        let of = |deployment| EndpointKey::of_deployment("https://e.example/jobs", deployment);
        assert_ne!(of(Some("v7")), of(Some("v8")));
        assert_ne!(of(None), of(Some("v7")));
        assert_ne!(of(None), EndpointKey::of("https://e.example/jobs"));
    }

    #[test]
    fn endpoints_are_optional_and_found_by_any_spelling() {
        assert_eq!(read("[]").unwrap().endpoint("https://e.example/jobs"), None);
        let rules = read(r#"[{"uri":"https://E.example/jobs/","maxInFlight":20}]"#).unwrap();
        assert_eq!(rules.endpoint("https://e.example/jobs").unwrap().max_in_flight, Some(20));
        assert_eq!(rules.endpoint("https://e.example/jobs").unwrap().breaker, BreakerSettings::default());
        assert_eq!(rules.endpoint("https://other.example/jobs"), None);
    }

    #[test]
    fn an_entry_that_would_limit_nothing_is_a_problem_that_names_it() {
        for (entry, said) in [
            (r#"{"uri":"https://x.example/jobs"}"#, "`https://x.example/jobs`: no rule has"),
            (r#"{"maxInFlight":20}"#, "endpoints[0]: missing field `uri`"),
            (r#"{"uri":"https://e.example/jobs","maxInflight":20}"#, "`maxInflight`"),
            (r#"{"uri":"https://e.example/jobs","maxInFlight":0}"#, "`maxInFlight` is 0"),
            (r#"{"uri":"https://e.example/jobs","submitsPerMinute":0}"#, "takes 1 to 1000"),
            (r#"{"uri":"https://e.example/jobs","submitsPerMinute":1001}"#, "takes 1 to 1000"),
            (r#"{"uri":"https://e.example/jobs","breaker":{"failures":5,"pause":"PT0S"}}"#, "`breaker.pause`"),
            (r#"{"uri":"https://e.example/jobs","breaker":{"failure":5}}"#, "`failure`"),
            (r#"{"uri":"https://e.example/jobs"},{"uri":"https://e.example/jobs/"}"#, "listed twice"),
        ] {
            let message = read(&format!("[{entry}]")).unwrap_err();
            assert!(message.contains(said), "{message}");
        }
    }

    #[test]
    fn the_listed_members_are_those_that_are_read() {
        let message = read(r#"[{"uri":"https://e.example/jobs","x":1}]"#).unwrap_err();
        for member in MEMBERS {
            assert!(message.contains(&format!("`{member}`")), "{member} is missing in {message}");
        }
        assert_eq!(message.matches('`').count() / 2, MEMBERS.len() + 2, "{message}");
    }
}
