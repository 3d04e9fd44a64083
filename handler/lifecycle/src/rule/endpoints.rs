//! What the rules file says of batch endpoints as such: limits that all rules which use one share.
//!
//! The list is optional, and so is an endpoint's place in it. Entries are matched by [`EndpointKey`], never by text, so
//! that two spellings of one address cannot have two limits.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::problem::{Location, Problem, Wrong};
use crate::breaker::{BreakerSettings, WINDOW};
use crate::id::{EndpointKey, EndpointUri};

/// One entry of `endpoints` in the rules file. See `README.md`, *Endpoints*.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndpointSettings {
    /// The invoke URI, as a rule has it.
    pub uri: EndpointUri,
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
    /// Reads the list and notes what is wrong. `used` are the endpoints of the rules: an entry for any other is a typing error
    /// that would leave the real endpoint without its limit.
    pub(super) fn read(list: Vec<Value>, used: &BTreeSet<EndpointKey>, problems: &mut Vec<Problem>) -> Vec<Self> {
        let mut read = Vec::<Self>::new();
        for (index, value) in list.into_iter().enumerate() {
            let uri = value.get("uri").and_then(Value::as_str).filter(|uri| !uri.is_empty()).map(str::to_owned);
            let location = Location::Endpoint { index, uri };
            let mut note = |wrong| problems.push(Problem { location: location.clone(), wrong });
            let settings = match serde_json::from_value::<Self>(value) {
                Ok(settings) => settings,
                Err(error) => {
                    note(Wrong::Member(error));
                    continue;
                }
            };
            if !used.contains(settings.uri.key()) {
                note(Wrong::UnusedEndpoint);
            }
            if read.iter().any(|other| other.uri == settings.uri) {
                note(Wrong::EndpointTwice);
            }
            settings.check().into_iter().for_each(note);
            read.push(settings);
        }
        read
    }

    fn check(&self) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        if self.max_in_flight == Some(0) {
            wrong.push(Wrong::NothingInFlight);
        }
        if let Some(rate) = self.submits_per_minute
            && !(1..=MAX_SUBMITS_PER_MINUTE).contains(&rate)
        {
            wrong.push(Wrong::Submits(rate, MAX_SUBMITS_PER_MINUTE));
        }
        if usize::try_from(self.breaker.failures).is_ok_and(|failures| failures > WINDOW) {
            wrong.push(Wrong::Failures(self.breaker.failures));
        }
        if self.breaker.is_on() && self.breaker.pause.0 < time::Duration::SECOND {
            wrong.push(Wrong::Pause(self.breaker.pause));
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Rules;

    fn uri(text: &str) -> EndpointUri {
        text.parse().expect("a good URI")
    }

    fn read(endpoints: &str) -> Result<Rules, String> {
        Rules::read(&format!(
            r#"{{"rules":[{{"id":"a","match":{{"container":"c"}},"endpoint":{{"uri":"https://e.example/jobs"}}}}],"endpoints":{endpoints}}}"#
        ))
        .map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_breaker_pauses_for_a_second_at_least() {
        let with = |pause| {
            read(&format!(r#"[{{"uri":"https://e.example/jobs","breaker":{{"failures":2,"pause":"{pause}"}}}}]"#))
        };
        assert_eq!(with("PT1S").expect("good").breaker(&uri("https://e.example/jobs")).failures, 2);
        assert!(with("PT0.9S").unwrap_err().contains("breaker.pause"));
    }

    #[test]
    fn endpoints_are_optional_and_found_by_any_spelling() {
        assert_eq!(read("[]").unwrap().endpoint(&uri("https://e.example/jobs")), None);
        let rules = read(r#"[{"uri":"https://E.example/jobs/","maxInFlight":20}]"#).unwrap();
        assert_eq!(rules.endpoint(&uri("https://e.example/jobs")).unwrap().max_in_flight, Some(20));
        assert_eq!(rules.endpoint(&uri("https://e.example/jobs")).unwrap().breaker, BreakerSettings::default());
        assert_eq!(rules.endpoint(&uri("https://other.example/jobs")), None);
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
            (r#"{"uri":"https://e.example/jobs","breaker":{"failures":21}}"#, "`breaker.failures` is 21"),
            (r#"{"uri":"https://e.example/jobs"},{"uri":"https://e.example/jobs/"}"#, "listed twice"),
        ] {
            let told = read(&format!("[{entry}]")).unwrap_err();
            assert!(told.contains(said), "{told}");
        }
    }

    #[test]
    fn the_listed_members_are_those_that_are_read() {
        let told = read(r#"[{"uri":"https://e.example/jobs","x":1}]"#).unwrap_err();
        for member in MEMBERS {
            assert!(told.contains(&format!("`{member}`")), "{member} is missing in {told}");
        }
        assert_eq!(told.matches('`').count() / 2, MEMBERS.len() + 2, "{told}");
    }
}
