//! What looks wrong in good rules and is no reason not to start.

use std::fmt;

use super::definition::{InputTemplate, Literal, Match, Rule};
use super::reading::Rules;
use super::template::PLACEHOLDERS;

/// Something that looks wrong, and does not prevent a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What was seen.
    pub seen: String,
    /// What comes of it.
    pub cause: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.seen, self.cause, self.remedy)
    }
}

impl serde::Serialize for Warning {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Rules {
    /// What looks wrong in them.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let rules: Vec<&Rule> = self.iter().filter(|rule| rule.shadow_of.is_none()).collect();
        for (index, rule) in rules.iter().enumerate() {
            warnings.extend(repeats_container(rule));
            warnings.extend(has_shared_inputs(rule));
            warnings.extend(literals_with_placeholders(rule));
            let after = rules[index + 1..].iter().filter(|other| overlap(&rule.matches, &other.matches));
            warnings.extend(after.map(|other| Warning {
                seen: format!(
                    "rules `{}` and `{}` may want the same blob of container `{}`",
                    rule.id, other.id, rule.matches.container
                ),
                cause: "each scores it".to_owned(),
                remedy: "narrow one of them down if only one is meant".to_owned(),
            }));
        }
        warnings
    }
}

/// A folder may be named as its container is; most often the container was taken for part of the path.
fn repeats_container(rule: &Rule) -> Option<Warning> {
    let Match { container, prefix, .. } = &rule.matches;
    let rest = prefix.strip_prefix(container.as_str())?.strip_prefix('/')?;
    Some(Warning {
        seen: format!("rule `{}`: `match.prefix` is `{prefix}` and begins with the container's name", rule.id),
        cause: format!("it wants blobs of `{container}/{prefix}` alone"),
        remedy: format!("if the folder `{container}` is not meant, write `{rest}`"),
    })
}

fn has_shared_inputs(rule: &Rule) -> Option<Warning> {
    rule.has_shared_inputs().then(|| Warning {
        seen: format!("rule `{}`: no input says which blob it is made for", rule.id),
        cause: "after a lost answer the jobs of all its scorings look alike if Azure ML shows neither outputs nor tags, and \
                each waits for all of them"
            .to_owned(),
        remedy: "put `{blob.url}`, `{blob.path}` or `{scoring.id}` into an input".to_owned(),
    })
}

/// A `value` is sent as it is written; whoever writes a placeholder into it most often means `template`.
fn literals_with_placeholders(rule: &Rule) -> impl Iterator<Item = Warning> {
    // JSON in a text has braces of its own, so that it is no template.
    let has_holes = |text: &str| PLACEHOLDERS.iter().any(|(name, _)| text.contains(&format!("{{{name}}}")));
    rule.inputs.iter().filter_map(move |(name, input)| match input {
        InputTemplate::Literal { value: Literal::AsWritten(text) } if has_holes(text) => Some(Warning {
            seen: format!("rule `{}`: `inputs.{name}.value` has a placeholder in it", rule.id),
            cause: "a `value` is sent exactly as it is written, with its braces".to_owned(),
            remedy: "write `template` in place of `value` if it is to be filled in".to_owned(),
        }),
        _ => None,
    })
}

/// Whether some path is wanted by both, as far as `exclude` does not part them.
fn overlap(one: &Match, other: &Match) -> bool {
    let accounts = match (&one.account, &other.account) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    };
    let (begin, end) = ((&one.prefix, &other.prefix), (&one.suffix, &other.suffix));
    accounts
        && one.container == other.container
        && (begin.0.starts_with(begin.1.as_str()) || begin.1.starts_with(begin.0.as_str()))
        && (end.0.ends_with(end.1.as_str()) || end.1.ends_with(end.0.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(matches: &[serde_json::Value]) -> Vec<Warning> {
        let rule = |(index, matches)| serde_json::json!({"id": format!("r{index}"), "match": matches, "endpoint": {"uri": "https://e.example/jobs"}});
        let rules: Vec<_> = matches.iter().enumerate().map(rule).collect();
        Rules::read(&serde_json::json!({ "rules": rules }).to_string()).expect("good rules").warnings()
    }

    #[test]
    fn a_blob_that_two_rules_may_want_is_warned_of_once() {
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        let eu = json(r#"{"container": "claims", "prefix": "eu/", "suffix": ".csv"}"#);
        for (other, both) in [
            (r#"{"container": "claims"}"#, true),
            (r#"{"container": "claims", "prefix": "eu/fr/", "suffix": "-1.csv", "account": "uploads"}"#, true),
            (r#"{"container": "images", "prefix": "eu/"}"#, false),
            (r#"{"container": "claims", "prefix": "us/"}"#, false),
            (r#"{"container": "claims", "suffix": ".json"}"#, false),
        ] {
            let said = warnings(&[eu.clone(), json(other)]);
            assert_eq!(said.len(), usize::from(both), "{other}: {said:?}");
            assert!(
                !both || said[0].seen.starts_with("rules `r0` and `r1` may want the same blob of container `claims`")
            );
        }
        let accounts = |account: &str| json(&format!(r#"{{"container": "claims", "account": "{account}"}}"#));
        assert_eq!(warnings(&[accounts("uploads"), accounts("images")]), Vec::new());
    }

    #[test]
    fn a_prefix_that_begins_with_the_container_is_warned_of() {
        let said = warnings(&[serde_json::json!({"container": "claims", "prefix": "claims/eu/"})]);
        assert!(
            said.len() == 1 && said[0].remedy.ends_with("if the folder `claims` is not meant, write `eu/`"),
            "{said:?}"
        );
        assert_eq!(warnings(&[serde_json::json!({"container": "claims", "prefix": "claims-eu/"})]).len(), 0);
    }
}
