//! What looks wrong in good rules and is no reason not to start.

use super::definition::{InputTemplate, Literal, Match, Rule};
use super::examples::Examples;
use super::group_warnings;
use super::metadata_and_tags::ValueCondition;
use super::reading::Rules;
use super::template::PLACEHOLDERS;
use super::warning::Warning;
use crate::datastore::{DatastorePath, same_place};
use crate::id::RuleId;

impl Rules {
    /// Rules whose places are to be swept, and that have none: they name no account in `match.account`, and the settings none.
    pub fn not_swept(&self, has_no_place: impl Fn(&Rule) -> bool) -> Vec<RuleId> {
        let swept = self.iter().filter(|rule| rule.shadow_of.is_none() && rule.sweep.every().is_some());
        swept.filter(|rule| has_no_place(rule)).map(|rule| rule.id.clone()).collect()
    }

    /// What looks wrong in them.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = published(self);
        let rules: Vec<&Rule> = self.iter().filter(|rule| rule.shadow_of.is_none()).collect();
        for (index, rule) in rules.iter().enumerate() {
            warnings.extend(has_shared_inputs(rule));
            warnings.extend(literals_with_placeholders(rule));
            warnings.extend(encoded_in_paths(rule));
            warnings.extend(encoded_parts(rule));
            warnings.extend(no_outputs(rule));
            warnings.extend(group_warnings::of_rule(rule, &rules));
            warnings.extend(metadata_that_is_never_there(rule));
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

/// A path that results are published to, with what it makes of examples of what its rule wants.
struct PublishedPath {
    /// The member of the rule that says it.
    at: String,
    /// Paths of uploads, with where their results go.
    places: Vec<(String, String)>,
}

/// What looks wrong in what is published: paths that are the same for all blobs or for some, or for two rules.
fn published(rules: &Rules) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut before: Vec<PublishedPath> = Vec::new();
    for rule in rules {
        let examples = Examples::of(&rule.matches, &rule.complete);
        for (name, _, publish) in rule.published() {
            let at = format!("rule `{}`: `outputs.{name}.publish.uri`", rule.id);
            let places = examples.fill(&publish.uri, &rule.id);
            let shared = before.iter().find_map(|other| Some((&other.at, shared(&places, &other.places)?)));
            let seen = if let Some((other, (path, theirs, uri))) = shared {
                let of = if publish.uri.constant(&rule.id).is_some() {
                    String::new()
                } else if path == theirs {
                    format!(" for `{path}`: {uri}")
                } else {
                    format!(" for `{path}` and `{theirs}`: {uri}")
                };
                Some((
                    format!("{at} is the path that {other} has{of}"),
                    "each replaces what the other has published, by when their uploads were accepted",
                    "give one of them another path if that is not meant",
                ))
            } else if publish.uri.constant(&rule.id).is_some() {
                Some((
                    format!("{at} is the same for all blobs"),
                    "it holds the result of the blob that was accepted last",
                    "put `{blob.path}` into it if each blob's result is to be kept there",
                ))
            } else {
                of_two_uploads(&places).map(|(one, other, uri)| {
                    (
                        format!("{at} is the same for `{one}` and `{other}`: {uri}"),
                        "it holds the result of the one that was accepted last",
                        "put `{blob.path}` into it if each blob's result is to be kept there",
                    )
                })
            };
            warnings.extend(seen.map(|(seen, cause, remedy)| Warning {
                seen,
                cause: cause.to_owned(),
                remedy: remedy.to_owned(),
            }));
            before.push(PublishedPath { at, places });
        }
    }
    warnings
}

/// An upload of the one and one of the other, with the place that both have.
fn shared<'a>(one: &'a [(String, String)], other: &'a [(String, String)]) -> Option<(&'a str, &'a str, &'a str)> {
    one.iter().find_map(|(path, uri)| {
        let (theirs, _) = other.iter().find(|(_, other)| same_place(uri, other))?;
        Some((path.as_str(), theirs.as_str(), uri.as_str()))
    })
}

/// Two uploads of one place.
fn of_two_uploads(places: &[(String, String)]) -> Option<(&str, &str, &str)> {
    places.iter().enumerate().find_map(|(n, one)| shared(std::slice::from_ref(one), &places[n + 1..]))
}

/// A path on a datastore is written as it is: what is percent-encoded for a URL becomes part of the name.
fn encoded_in_paths(rule: &Rule) -> Vec<Warning> {
    let attempts = rule.outputs.iter().map(|(name, output)| (format!("outputs.{name}.uri"), &output.uri));
    let published = rule.published().map(|(name, _, publish)| (format!("outputs.{name}.publish.uri"), &publish.uri));
    let inputs = rule.inputs.iter().filter_map(|(name, input)| match input {
        InputTemplate::UriFile(source) | InputTemplate::UriFolder(source) => {
            Some((format!("inputs.{name}.uri"), &source.uri))
                .filter(|_| DatastorePath::read(source.uri.source()).is_some())
        }
        InputTemplate::Literal { .. } => None,
    });
    let encoded = attempts.chain(published).chain(inputs).filter(|(_, uri)| uri.source().contains("{blob.encoded"));
    encoded
        .map(|(at, _)| Warning {
            seen: format!("rule `{}`: `{at}` has a percent-encoded part of a path", rule.id),
            cause: "a path on a datastore is taken as it is written, so that `a b.csv` becomes `a%20b.csv`".to_owned(),
            remedy: "write `{blob.path}` for `{blob.encodedPath}`, and the others likewise".to_owned(),
        })
        .collect()
}

/// Jobs of models write an output all the same, where Azure ML says.
fn no_outputs(rule: &Rule) -> Option<Warning> {
    rule.outputs.is_empty().then(|| Warning {
        seen: format!("rule `{}`: `outputs` is {{}}, so that no output is looked at", rule.id),
        cause: "its scorings are scored when their jobs complete, and held where an answer is lost and no tag tells the job; what a \
                job writes all the same is not known to be an output"
            .to_owned(),
        remedy: "leave `outputs` out for the default, unless the deployment has no outputs".to_owned(),
    })
}

/// Names are compared as they are: what looks percent-encoded was most often copied from a URL.
fn encoded_parts(rule: &Rule) -> impl Iterator<Item = Warning> {
    let Match { prefix, suffix, .. } = &rule.matches;
    let parts = [("prefix", prefix), ("suffix", suffix)];
    parts.into_iter().filter_map(|(name, part)| {
        let decoded = percent_encoding::percent_decode_str(part).decode_utf8().ok()?;
        (decoded != part.as_str()).then(|| Warning {
            seen: format!("rule `{}`: `match.{name}` is `{part}`, which looks encoded as in a URL", rule.id),
            cause: "names are compared as they are, so that it wants blobs that have the `%` in theirs".to_owned(),
            remedy: format!("write `{decoded}` if that is meant"),
        })
    })
}

/// A text that is filled with metadata that no blob of the rule has.
fn metadata_that_is_never_there(rule: &Rule) -> impl Iterator<Item = Warning> {
    let never = rule
        .metadata_in_texts
        .keys()
        .filter(|name| rule.matches.metadata.0.get(*name) == Some(&ValueCondition::Present(false)));
    never.map(|name| Warning {
        seen: format!(
            "rule `{}`: `{{blob.metadata.{name}}}` is in a text of it, and `match.metadata` wants blobs without",
            rule.id
        ),
        cause: "nothing stands there for any blob".to_owned(),
        remedy: "remove one of the two".to_owned(),
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
        InputTemplate::Literal { value: Literal::AsWritten(text), .. } if has_holes(text) => Some(Warning {
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

    fn seen_of(members: &serde_json::Value) -> Vec<String> {
        let mut rule = serde_json::json!({"id": "a", "match": {"container": "con"}, "endpoint": {"uri": "https://e.example/jobs"}});
        rule.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
        let rules = Rules::read(&serde_json::json!({ "rules": [rule] }).to_string()).expect("good rules");
        rules.warnings().into_iter().map(|warning| warning.seen).collect()
    }

    #[test]
    fn a_percent_encoded_part_is_warned_of_in_a_datastores_path_and_not_in_a_url() {
        let output = |path: &str| {
            serde_json::json!({"outputs": {"o": {"type": "UriFile", "uri": "azureml://datastores/d/paths/{scoring.id}/{attempt}",
            "publish": {"uri": format!("azureml://datastores/d/paths/{path}")}}}})
        };
        let said = seen_of(&output("{blob.encodedPath}"));
        assert!(said.len() == 1 && said[0].contains("`outputs.o.publish.uri` has a percent-encoded"), "{said:?}");
        assert_eq!(seen_of(&output("{blob.path}")), Vec::<String>::new());
        let input = |uri: &str| serde_json::json!({"inputs": {"i": {"type": "UriFile", "uri": uri}}});
        assert_eq!(seen_of(&input("azureml://datastores/d/paths/{blob.encodedPath}")).len(), 1);
        assert_eq!(seen_of(&input("https://{blob.account}.blob.core.windows.net/c/{blob.encodedPath}")).len(), 0);
    }

    #[test]
    fn metadata_that_no_wanted_blob_has_is_warned_of_in_a_text() {
        let rule = |has: bool| {
            serde_json::json!({"match": {"container": "con", "metadata": {"Tenant": has}},
            "outputs": {"o": {"type": "UriFile", "uri": "azureml://datastores/d/paths/{blob.metadata.tenant}/{scoring.id}/{attempt}"}}})
        };
        assert!(seen_of(&rule(false))[0].contains("`{blob.metadata.tenant}`"), "{:?}", seen_of(&rule(false)));
        assert_eq!(seen_of(&rule(true)), Vec::<String>::new());
    }

    #[test]
    fn rules_that_no_blob_can_match_are_refused() {
        for (members, refused) in [
            (r#""match": {"container": "con", "suffix": ".csv", "globs": ["**/*.parquet"]}"#, true),
            (r#""match": {"container": "con", "prefix": "us/", "globs": ["eu/*.csv"]}"#, true),
            (r#""match": {"container": "con", "maxBytes": 0}"#, true),
            (r#""emptyBlobs": "score", "match": {"container": "con", "maxBytes": 0}"#, false),
            (r#""match": {"container": "con", "prefix": "us/", "globs": ["eu/*.csv", "us/**/*.csv"]}"#, false),
            (
                r#""match": {"container": "con", "prefix": "us/a", "suffix": "x.csv", "globs": ["us/*.csv", "**/x.csv"]}"#,
                false,
            ),
            (r#""match": {"container": "con", "suffix": "/p.csv", "globs": ["**/p.csv"]}"#, false),
        ] {
            let text =
                format!(r#"{{"rules": [{{"id": "a", {members}, "endpoint": {{"uri": "https://e.example/jobs"}}}}]}}"#);
            assert_eq!(Rules::read(&text).is_err(), refused, "{members}: {:?}", Rules::read(&text).err());
        }
    }

    #[test]
    fn rules_that_ask_for_no_output_are_warned_of_and_good() {
        let text = r#"{"rules": [{"id": "a", "match": {"container": "con"}, "endpoint": {"uri": "https://e.example/jobs"}, "outputs": {}}]}"#;
        let rules = Rules::read(text).unwrap();
        assert!(rules.iter().all(|rule| rule.outputs.is_empty()));
        assert!(
            rules.warnings()[0].to_string().contains("leave `outputs` out for the default"),
            "{:?}",
            rules.warnings()
        );
    }

    #[test]
    fn a_part_of_a_path_that_looks_encoded_is_warned_of() {
        let said =
            warnings(&[serde_json::json!({"container": "claims", "prefix": "eu%20west/", "suffix": "100%.csv"})]);
        assert!(said.len() == 1 && said[0].remedy == "write `eu west/` if that is meant", "{said:?}");
    }

    #[test]
    fn a_prefix_that_begins_with_the_container_is_refused_unless_globs_say_it_too() {
        let read = |matches: &serde_json::Value| {
            let rule = serde_json::json!({"id": "a", "match": matches, "endpoint": {"uri": "https://e.example/jobs"}});
            Rules::read(&serde_json::json!({ "rules": [rule] }).to_string())
        };
        let said = read(&serde_json::json!({"container": "claims", "prefix": "claims/eu/"})).unwrap_err().to_string();
        assert!(
            said.contains("the container is no part of it: write \"eu/\"; ") && said.contains("[\"claims/**\"]"),
            "{said}"
        );
        for good in [
            serde_json::json!({"container": "claims", "prefix": "claims-eu/"}),
            serde_json::json!({"container": "claims", "prefix": "claims/eu/", "globs": ["claims/**"]}),
        ] {
            assert!(read(&good).is_ok(), "{good}");
        }
    }
}
