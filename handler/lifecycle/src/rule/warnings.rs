//! What looks wrong in good rules and is no reason not to start.

use super::definition::{Match, Rule};
use super::reading::Rules;

impl Rules {
    /// One sentence for each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let rules: Vec<&Rule> = self.iter().collect();
        for (index, rule) in rules.iter().enumerate() {
            warnings.extend(repeats_container(rule));
            warnings.extend(has_shared_inputs(rule));
            let after = &rules[index + 1..];
            warnings.extend(after.iter().filter(|other| overlap(&rule.matches, &other.matches)).map(|other| {
                format!(
                    "rules `{}` and `{}` may want the same blob of container `{}`: each scores it; narrow one of them down if only one is meant",
                    rule.id, other.id, rule.matches.container
                )
            }));
        }
        warnings
    }
}

/// A folder may be named as its container is; most often the container was taken for part of the path.
fn repeats_container(rule: &Rule) -> Option<String> {
    let Match { container, prefix, .. } = &rule.matches;
    let rest = prefix.strip_prefix(container.as_str())?.strip_prefix('/')?;
    Some(format!(
        "rule `{}`: `match.prefix` is `{prefix}` and begins with the container's name, so it wants blobs of \
         `{container}/{prefix}` alone; if the folder `{container}` is not meant, write `{rest}`",
        rule.id
    ))
}

fn has_shared_inputs(rule: &Rule) -> Option<String> {
    rule.has_shared_inputs().then(|| {
        format!(
            "rule `{}`: no input says which blob it is made for, so after a lost answer the jobs of all its scorings \
             look alike if Azure ML shows neither outputs nor tags, and each waits for all of them; put `{{blob.url}}`, \
             `{{blob.path}}` or `{{scoring.id}}` into an input",
            rule.id
        )
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

    fn warnings(matches: &[serde_json::Value]) -> Vec<String> {
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
            assert!(!both || said[0].starts_with("rules `r0` and `r1` may want the same blob of container `claims`"));
        }
        let accounts = |account: &str| json(&format!(r#"{{"container": "claims", "account": "{account}"}}"#));
        assert_eq!(warnings(&[accounts("uploads"), accounts("images")]), Vec::<String>::new());
    }

    #[test]
    fn a_prefix_that_begins_with_the_container_is_warned_of() {
        let said = warnings(&[serde_json::json!({"container": "claims", "prefix": "claims/eu/"})]);
        assert!(said.len() == 1 && said[0].ends_with("if the folder `claims` is not meant, write `eu/`"), "{said:?}");
        assert_eq!(warnings(&[serde_json::json!({"container": "claims", "prefix": "claims-eu/"})]).len(), 0);
    }
}
