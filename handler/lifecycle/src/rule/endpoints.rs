//! What the rules file says of batch endpoints as such: limits that all rules which use one share.
//!
//! The list is optional, and so is an endpoint's place in it. Entries are matched by [`EndpointKey`](crate::EndpointKey), never by text, so
//! that two spellings of one address cannot have two limits.

use super::document::{Node, Read, Refused};
use super::written::read_max_in_flight;
use crate::breaker::{BreakerSettings, WINDOW};
use crate::duration::IsoDuration;
use crate::id::EndpointUri;

/// One entry of `endpoints` in the rules file. See `README.md`, *Endpoints*.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct EndpointSettings {
    /// The invoke URI, as a rule has it.
    pub uri: EndpointUri,
    /// Most jobs of the endpoint at one time, over all rules and processes; absent: no limit.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub max_in_flight: Option<u32>,
    /// Most requests for a job in any minute, over all rules and processes; absent: no limit.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = MAX_SUBMITS_PER_MINUTE)))]
    pub submits_per_minute: Option<u32>,
    /// The circuit breaker of each of its deployments. On by default.
    #[cfg_attr(feature = "schema", schemars(with = "Option<BreakerSettings>"))]
    pub breaker: BreakerSettings,
}

/// Each submit a minute is a row that is read before a submit; a page of the table has 1,000.
const MAX_SUBMITS_PER_MINUTE: u32 = 1_000;

impl Read for EndpointSettings {
    fn read(node: &Node<'_>) -> Option<Self> {
        let mut members = node.object("`uri` and the endpoint's limits")?;
        let uri = members.required("uri", Refused::new("the `endpoint.uri` of a rule", "say which endpoint is meant"));
        let max_in_flight = read_max_in_flight(&mut members);
        let rate = members.node("submitsPerMinute").and_then(|node| {
            node.whole_number(1, i64::from(MAX_SUBMITS_PER_MINUTE), "leave it out for no limit")?.try_into().ok()
        });
        let breaker = members.or_default("breaker");
        members.end();
        Some(Self { uri: uri?, max_in_flight, submits_per_minute: rate, breaker })
    }
}

impl Read for BreakerSettings {
    fn read(node: &Node<'_>) -> Option<Self> {
        let default = Self::default();
        let mut members = node.object("`failures` and `pause`")?;
        let window = i64::try_from(WINDOW).unwrap_or(i64::MAX);
        let failures = members
            .node("failures")
            .and_then(|node| node.whole_number(0, window, "0 switches the breaker off")?.try_into().ok())
            .unwrap_or(default.failures);
        let pause: IsoDuration = members.optional("pause").unwrap_or(default.pause);
        let breaker = Self { failures, pause };
        // A shorter one would not hold anything back.
        if breaker.is_on() && pause.0 < time::Duration::SECOND {
            members.refuse("pause", Refused::new("a second at least", "leave it out for PT5M"));
        }
        members.end();
        Some(breaker)
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
            r#"{{"rules":[{{"id":"a","match":{{"container": "con"}},"endpoint":{{"uri":"https://e.example/jobs"}}}}],"endpoints":{endpoints}}}"#
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
            (r#"{"uri":"https://x.example/jobs"}"#, "no rule has this one"),
            (r#"{"maxInFlight":20}"#, "endpoints[0].uri (line 1, column"),
            (r#"{"uri":"https://e.example/jobs","maxInflight":20}"#, "write `maxInFlight`"),
            (r#"{"uri":"https://e.example/jobs","maxInFlight":0}"#, "is 0; expected a whole number from 1"),
            (r#"{"uri":"https://e.example/jobs","submitsPerMinute":0}"#, "from 1 to 1000"),
            (r#"{"uri":"https://e.example/jobs","submitsPerMinute":1001}"#, "from 1 to 1000"),
            (
                r#"{"uri":"https://e.example/jobs","breaker":{"failures":5,"pause":"PT0S"}}"#,
                "endpoints[0].breaker.pause",
            ),
            (r#"{"uri":"https://e.example/jobs","breaker":{"failure":5}}"#, "write `failures`"),
            (
                r#"{"uri":"https://e.example/jobs","breaker":{"failures":21}}"#,
                "is 21; expected a whole number from 0 to 20",
            ),
            (r#"{"uri":"https://e.example/jobs"},{"uri":"https://e.example/jobs/"}"#, "listed twice"),
        ] {
            let told = read(&format!("[{entry}]")).unwrap_err();
            assert!(told.contains(said), "{told}");
        }
    }
}
