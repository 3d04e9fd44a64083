//! Outputs that may fall into a place that a rule watches. They are never scored, since the ledger knows them; but each is an
//! event, a read of the ledger and a row of what was skipped, and all that other tools write beside them is an upload.

use time::OffsetDateTime;

use crate::blob::BlobVersion;
use crate::datastore::DatastorePath;
use crate::id::LedgerId;
use crate::job::OutputKind;
use crate::rule::template::Template;
use crate::rule::{Rule, Rules};
use crate::scoring::Scoring;

/// An output of a rule that a rule would take for an upload by its name.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchedOutput<'a> {
    /// The rule that writes it.
    pub rule: &'a Rule,
    /// Name of the output; `NAME.publish` for the path that its result is published to.
    pub output: String,
    /// The datastore that it goes to.
    pub datastore: String,
    /// The rule that watches the place; most often the same one.
    pub watched_by: &'a Rule,
    /// A path that shows it.
    pub example: String,
}

/// Outputs of `rule` that `rules` watch, one for each output. `lies_in` says whether a datastore is the place of a rule:
/// which container it stands for is not in the rules.
pub fn watched_outputs<'a>(
    rules: &'a Rules,
    rule: &'a Rule,
    lies_in: impl Fn(&DatastorePath, &Rule) -> bool,
) -> Vec<WatchedOutput<'a>> {
    // The rule itself first: that is the one whose outputs would come round again.
    let others = rules.iter().filter(|other| other.id != rule.id);
    let watchers: Vec<&Rule> = std::iter::once(rule).chain(others).collect();
    let attempts = rule.outputs.iter().map(|(name, output)| (name.clone(), output.kind, &output.uri));
    let published = rule.published().map(|(name, kind, publish)| (format!("{name}.publish"), kind, &publish.uri));
    let outputs = attempts.chain(published).filter_map(|(name, kind, uri)| {
        watchers.iter().find_map(|watcher| {
            let (datastore, example) = examples(rule, watcher, uri).into_iter().find(|(place, path)| {
                let Rule { matches, .. } = watcher;
                // A folder is filled by the model; it may hold files of any name.
                let path = match kind {
                    OutputKind::UriFile => path.clone(),
                    OutputKind::UriFolder => format!("{}/{FILE}{}", path.trim_end_matches('/'), matches.suffix),
                };
                let account = matches.account.as_deref().unwrap_or_default();
                lies_in(place, watcher) && watcher.refuses_name(account, &matches.container, &path).is_none()
            })?;
            Some(WatchedOutput {
                rule,
                output: name.clone(),
                datastore: datastore.datastore,
                watched_by: watcher,
                example,
            })
        })
    });
    outputs.collect()
}

/// A file's name without its suffix.
const FILE: &str = "sample";

/// Where an output goes for uploads that the rule wants: an ordinary one, and one whose name begins as the watcher wants
/// names to begin.
fn examples(rule: &Rule, watcher: &Rule, uri: &Template) -> Vec<(DatastorePath, String)> {
    let (prefix, suffix) = (&rule.matches.prefix, &rule.matches.suffix);
    let uploads = [format!("{prefix}{FILE}{suffix}"), format!("{prefix}{}{FILE}{suffix}", watcher.matches.prefix)];
    let example = |path: &String| {
        let mut blob = BlobVersion::read("https://account.blob.core.windows.net/container/blob", "0").ok()?;
        blob.path.clone_from(path);
        blob.container = rule.matches.container.to_string();
        if let Some(account) = &rule.matches.account {
            blob.account = account.to_string();
        }
        // Of any ledger and time: all ids and times look alike.
        let scoring = Scoring::accept(&LedgerId::of_random([0; 16]), rule, blob, OffsetDateTime::UNIX_EPOCH);
        let place = DatastorePath::read(&uri.fill(&scoring.values(1)))?;
        let path = place.path.trim_start_matches('/').to_owned();
        Some((place, path))
    };
    uploads.iter().filter_map(example).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::rule::{IfExists, Publish};

    /// Rules of one output each: id, prefix, suffix, members of `match`, kind and template.
    fn rules(all: &[(&str, Value, &str, &str)]) -> Rules {
        let rule = |(id, matches, kind, path): &(&str, Value, &str, &str)| {
            let mut place = json!({"account": "uploads", "container": "claims"});
            place.as_object_mut().expect("an object").extend(matches.as_object().expect("an object").clone());
            json!({"id": id, "match": place, "endpoint": {"uri": "https://e.example/jobs"},
                "outputs": {"score": {"type": kind, "uri": format!("azureml://datastores/d/paths/{path}")}}})
        };
        let all: Vec<Value> = all.iter().map(rule).collect();
        Rules::read(&json!({ "rules": all }).to_string()).expect("good rules")
    }

    fn watchers(rules: &Rules) -> Vec<String> {
        let each = |rule| watched_outputs(rules, rule, |_, _| true);
        rules.iter().flat_map(each).map(|it| format!("{}>{}", it.rule.id, it.watched_by.id)).collect()
    }

    #[test]
    fn an_output_below_the_rules_own_prefix_is_watched_and_one_elsewhere_is_not() {
        for (matches, kind, path, watched) in [
            (json!({}), "UriFile", "out/{scoring.id}/{attempt}/p.csv", true),
            (json!({"prefix": "eu/"}), "UriFile", "out/{scoring.id}/{attempt}/p.csv", false),
            (json!({"prefix": "eu/"}), "UriFile", "{blob.path}/{scoring.id}/{attempt}/p.csv", true),
            (json!({"prefix": "eu/"}), "UriFile", "eu/{scoring.id}/{attempt}/p.csv", true),
            (json!({"suffix": ".parquet"}), "UriFile", "out/{scoring.id}/{attempt}/p.csv", false),
            (json!({"suffix": ".parquet"}), "UriFolder", "out/{scoring.id}/{attempt}/", true),
            (json!({"exclude": {"prefixes": ["out/"]}}), "UriFolder", "out/{scoring.id}/{attempt}/", false),
            (json!({"prefix": "b/"}), "UriFile", "{rule.id}/{scoring.id}/{attempt}/p.csv", false),
            (json!({"prefix": "a/"}), "UriFile", "{rule.id}/{scoring.id}/{attempt}/p.csv", true),
        ] {
            let rules = rules(&[("a", matches.clone(), kind, path)]);
            assert_eq!(watchers(&rules), if watched { vec!["a>a"] } else { vec![] }, "{matches} {kind} {path}");
        }
    }

    #[test]
    fn an_output_that_another_rule_watches_is_told_with_that_rule_and_an_example() {
        let rules = rules(&[
            ("a", json!({"prefix": "in/"}), "UriFile", "done/{blob.name}-{scoring.id}-{attempt}.csv"),
            ("b", json!({"prefix": "done/"}), "UriFile", "scores/{scoring.id}/{attempt}/p.csv"),
        ]);
        assert_eq!(watchers(&rules), ["a>b"]);
        let all = watched_outputs(&rules, rules.get("a").expect("a"), |place, _| place.datastore == "d");
        assert!(all[0].example.starts_with("done/sample"), "{all:?}");
        assert_eq!((all[0].output.as_str(), all[0].datastore.as_str()), ("score", "d"));
        assert!(watched_outputs(&rules, rules.get("a").expect("a"), |_, _| false).is_empty());
    }

    #[test]
    fn a_path_that_results_are_published_to_is_watched_as_well() {
        for (path, watched) in [("latest/{blob.name}", vec!["score.publish"]), ("done/{blob.name}", vec![])] {
            let rules = rules(&[("a", json!({"prefix": "latest/"}), "UriFile", "out/{scoring.id}/{attempt}/p.csv")]);
            let uri = Template::parse(&format!("azureml://datastores/d/paths/{path}")).expect("a template");
            let publish = Publish { uri, if_exists: IfExists::Replace };
            let rules = rules.changed(|rule| {
                rule.outputs.values_mut().for_each(|output| output.publish = Some(publish.clone()));
            });
            let all = watched_outputs(&rules, rules.get("a").expect("a"), |_, _| true);
            assert_eq!(all.iter().map(|it| it.output.as_str()).collect::<Vec<_>>(), watched, "{path}");
        }
    }
}
