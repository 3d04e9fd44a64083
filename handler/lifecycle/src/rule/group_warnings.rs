//! What looks wrong in how a good rule groups.

use super::definition::Rule;
use super::group::{GroupSettings, MAX_LIFE, VerifyMembers};
use super::warning::Warning;
use crate::duration::IsoDuration;

/// What looks wrong in how a rule groups, among all the rules.
pub(super) fn of_rule(rule: &Rule, rules: &[&Rule]) -> Vec<Warning> {
    let Some(group) = &rule.group else { return Vec::new() };
    [
        unverified_members(rule, group),
        watched_staging(rule, group, rules),
        short_life(rule, group),
        only_markers(rule, group),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn unverified_members(rule: &Rule, group: &GroupSettings) -> Option<Warning> {
    (group.verify_members == VerifyMembers::Off).then(|| Warning {
        seen: format!("rule `{}`: `group.verifyMembers` is off, so that groups of up to {} files are verified, and no file", rule.id, group.max_files),
        cause: "each file of a group is shown as scored once the group's output is good, though the model may have left it out".to_owned(),
        remedy: "leave it out, or write \"file\" where the output is a folder, unless it names no files".to_owned(),
    })
}

/// Copies are known by their paths and never scored; but each is an event, and what others put beside them is an upload.
fn watched_staging(rule: &Rule, group: &GroupSettings, rules: &[&Rule]) -> Option<Warning> {
    let same_account = |other: &Rule| match (&rule.matches.account, &other.matches.account) {
        (Some(own), Some(other)) => own == other,
        _ => true,
    };
    // A rule that watches a folder of it sees none of the copies, which lie in folders of their own.
    let watches = |other: &&&Rule| {
        *other.matches.container == *group.staging && other.matches.prefix.is_empty() && same_account(other)
    };
    let other = rules.iter().find(watches)?;
    let whose = if other.id == rule.id { "the rule itself".to_owned() } else { format!("rule `{}`", other.id) };
    Some(Warning {
        seen: format!("rule `{}`: `group.staging` is `{}`, a container that {whose} watches", rule.id, &*group.staging),
        cause: "each copy is an event that is looked up and skipped, and what others put there is scored".to_owned(),
        remedy: "name a container in `group.staging` that no rule watches, or give `match.prefix` a folder".to_owned(),
    })
}

fn short_life(rule: &Rule, group: &GroupSettings) -> Option<Warning> {
    let (life, timeout, attempts) = (group.staging_life, rule.policy.job_timeout, rule.policy.max_attempts);
    let all = i32::try_from(attempts).map_or(timeout, |attempts| IsoDuration(timeout.0.saturating_mul(attempts)));
    let longer =
        if all.0 <= MAX_LIFE { format!("write {all} or more for `group.stagingLife`, or ") } else { String::new() };
    (life.0 < all.0).then(|| Warning {
        seen: format!(
            "rule `{}`: `group.stagingLife` is {life}, shorter than the {all} that the attempts of a group may take (`maxAttempts` {attempts} times `jobTimeout` {timeout})",
            rule.id
        ),
        cause: "the copies of a group may be removed before its last attempt, or its halves, have read them".to_owned(),
        remedy: format!("{longer}write a shorter `jobTimeout`, or less for `maxAttempts`"),
    })
}

/// The marker is not scored: a rule that takes what is named like it takes hardly anything else.
fn only_markers(rule: &Rule, group: &GroupSettings) -> Option<Warning> {
    let (marker, suffix) = (group.marker.as_ref()?.as_str(), rule.matches.suffix.as_str());
    let name = suffix.rsplit('/').next().unwrap_or(suffix);
    (name == marker).then(|| Warning {
        seen: format!("rule `{}`: `match.suffix` is `{suffix}`, the name of the marker (`group.marker`)", rule.id),
        cause: "the marker says that a folder is whole and is not scored, so that of its folder the rule scores nothing".to_owned(),
        remedy: "write the suffix of the files that are to be scored, such as .csv, or leave it out; the marker is looked for all the same".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::rule::Rules;

    /// What is warned of in rules of these containers, prefixes and members, the first of which groups.
    fn told(group: &Value, job_timeout: &str, watched: &[(&str, &str, Option<&str>)]) -> Vec<String> {
        let rule = |(n, (container, prefix, account)): (usize, &(&str, &str, Option<&str>))| {
            let mut rule = json!({"id": format!("r{n}"), "match": {"container": container, "prefix": prefix, "account": account},
                "endpoint": {"uri": "https://e.example/jobs"}, "jobTimeout": job_timeout});
            if n == 0 {
                rule["group"] = group.clone();
            }
            rule
        };
        let rules: Vec<Value> = watched.iter().enumerate().map(rule).collect();
        let rules = Rules::read(&json!({ "rules": rules }).to_string()).expect("good rules");
        rules.warnings().iter().map(ToString::to_string).collect()
    }

    const CLAIMS: (&str, &str, Option<&str>) = ("claims", "", None);

    #[test]
    fn groups_of_which_no_member_is_verified_are_warned_of() {
        let rule = |verify: &str| json!({"by": "folder", "maxFiles": 7, "verifyMembers": verify});
        let said = told(&rule("off"), "PT1H", &[CLAIMS]);
        assert!(said.len() == 1 && said[0].contains("groups of up to 7 files are verified, and no file"), "{said:?}");
        assert_eq!(told(&rule("column"), "PT1H", &[CLAIMS]), Vec::<String>::new());
    }

    #[test]
    fn a_container_for_copies_that_a_rule_watches_is_warned_of() {
        let into = |staging: &str| json!({"by": "folder", "staging": staging});
        let said = told(&into("claims"), "PT1H", &[CLAIMS]);
        assert!(said.len() == 1 && said[0].contains("`claims`, a container that the rule itself watches"), "{said:?}");
        let said = told(&into("copies"), "PT1H", &[CLAIMS, ("copies", "", None)]);
        assert!(said.len() == 1 && said[0].contains("`copies`, a container that rule `r1` watches"), "{said:?}");
        for (own, other) in [
            (CLAIMS, ("copies", "eu/", None)),
            (CLAIMS, ("other", "", None)),
            (("claims", "", Some("uploads")), ("copies", "", Some("images"))),
        ] {
            assert_eq!(told(&into("copies"), "PT1H", &[own, other]), Vec::<String>::new(), "{other:?}");
        }
    }

    #[test]
    fn a_rule_that_takes_markers_alone_is_warned_of() {
        let said = |suffix: &str| {
            let rule = json!({"id": "r", "match": {"container": "claims", "suffix": suffix}, "group": {"by": "marker"},
                "endpoint": {"uri": "https://e.example/jobs"}});
            let rules = Rules::read(&json!({"rules": [rule]}).to_string()).expect("good rules");
            rules.warnings().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        for suffix in ["_SUCCESS", "/_SUCCESS"] {
            let said = said(suffix);
            assert!(said.len() == 1 && said[0].contains("the name of the marker"), "{said:?}");
        }
        assert_eq!((said(".csv"), said("")), (Vec::new(), Vec::new()));
    }

    #[test]
    fn copies_that_may_go_before_their_job_ends_are_warned_of() {
        for (life, timeout, told_of) in [
            (
                "PT17H",
                "PT6H",
                Some(
                    "is PT17H, shorter than the PT18H that the attempts of a group may take (`maxAttempts` 3 times `jobTimeout` PT6H)",
                ),
            ),
            ("PT18H", "PT6H", None),
            ("P21D", "P7D", None),
            ("P30D", "P11D", Some("; write a shorter `jobTimeout`")),
        ] {
            let said = told(&json!({"by": "time", "stagingLife": life}), timeout, &[CLAIMS]);
            assert_eq!(said.len(), usize::from(told_of.is_some()), "{life} {timeout}: {said:?}");
            assert!(said.iter().all(|said| told_of.is_some_and(|told_of| said.contains(told_of))), "{said:?}");
        }
        let by_default = told(&json!({"by": "time"}), "P7D", &[CLAIMS]);
        assert_eq!(by_default, Vec::<String>::new(), "what nobody wrote is not warned of");
    }
}
