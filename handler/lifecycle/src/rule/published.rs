//! Where the outputs of a rule go: the paths of attempts, and those that results are published to, beside each other.

use std::collections::BTreeMap;

use super::data::{OUTPUT_FORM, no_output};
use super::definition::{InputTemplate, OutputTemplate, Rule};
use super::document::{Node, Refused};
use super::examples::{Examples, example};
use super::publish::Publish;
use super::template::Template;
use crate::datastore::{DatastorePath, lies_within, same_place};
use crate::id::RuleId;
use crate::job::OutputKind;
use crate::publishing::target;

/// Characters that a blob's name has at most.
const MAX_NAME: usize = 1_024;

/// What a template makes of the examples: their paths, and the places.
type Places = Vec<(String, String)>;

/// A rule's outputs with what its paths make of examples of what it wants.
pub(super) struct Checked<'a> {
    pub(super) rule: &'a RuleId,
    pub(super) examples: &'a Examples,
    pub(super) inputs: &'a BTreeMap<String, InputTemplate>,
    pub(super) outputs: &'a BTreeMap<String, OutputTemplate>,
}

impl Checked<'_> {
    /// Notes each path that a blob cannot have, whatever is uploaded or for some of it, and each published path that is that of
    /// something else: what is copied from, what was scored, another output.
    pub(super) fn check(&self, node: &Node<'_>) {
        let mut published: Vec<(&str, Places)> = Vec::new();
        for (name, output) in self.outputs {
            let at = |path: &[&str]| path.iter().try_fold(node.peek(name)?, |node, member| node.peek(member));
            let uri = self.examples.fill(&output.uri, self.rule);
            refuse_if(at(&["uri"]), no_name(&output.uri, &uri, OutputKind::UriFolder));
            let Some(publish) = &output.publish else { continue };
            let places = self.examples.fill(&publish.uri, self.rule);
            let place = at(&["publish", "uri"]);
            refuse_if(place.clone(), no_name(&publish.uri, &places, output.kind));
            refuse_if(place.clone(), self.is_copied_from(&places));
            let files: Places = places.into_iter().map(|(path, uri)| (path, target(output.kind, &uri))).collect();
            refuse_if(place.clone(), self.is_read(&files));
            refuse_if(place, published.iter().find_map(|(other, theirs)| is_of_two(other, &files, theirs)));
            published.push((name, files));
        }
    }

    /// A folder that is copied into itself grows without end, and a blob is no folder.
    fn is_copied_from(&self, places: &Places) -> Option<Refused> {
        self.outputs.iter().find_map(|(other, output)| {
            let attempts = self.examples.fill(&output.uri, self.rule);
            let overlaps = |(one, other): (&(String, String), &(String, String))| {
                lies_within(&one.1, &other.1) || lies_within(&other.1, &one.1)
            };
            places.iter().zip(&attempts).any(overlaps).then(|| {
                Refused::new(
                    format!("another path than that of the attempts of output `{other}`, which is copied from, neither below nor above it"),
                    "give it a path of its own",
                )
            })
        })
    }

    fn is_read(&self, files: &Places) -> Option<Refused> {
        self.inputs.iter().find_map(|(name, input)| {
            let (InputTemplate::UriFile(source) | InputTemplate::UriFolder(source)) = input else { return None };
            let read = self.examples.fill(&source.uri, self.rule);
            files.iter().zip(&read).any(|(file, read)| same_place(&file.1, &read.1)).then(|| {
                Refused::new(
                    format!("another path than that of input `{name}`, which the result would take the place of"),
                    "give it a path of its own",
                )
            })
        })
    }
}

fn refuse_if(at: Option<Node<'_>>, refused: Option<Refused>) {
    if let Some((node, refused)) = at.zip(refused) {
        node.refuse(refused);
    }
}

/// Two outputs of one scoring at one place, or one below a file.
fn is_of_two(other: &str, files: &Places, theirs: &Places) -> Option<Refused> {
    let same =
        files.iter().zip(theirs).find(|((_, one), (_, other))| lies_within(one, other) || lies_within(other, one));
    same.map(|((path, uri), _)| {
        Refused::new(
            format!("a path of its own for each output; of `{path}` this one lies at {uri}, and `{other}` is published there"),
            "give one of them another path",
        )
    })
}

/// What is wrong with places as names of blobs, beyond what is noted of the template itself.
fn no_name(template: &Template, places: &Places, kind: OutputKind) -> Option<Refused> {
    if no_output(&example(template)).is_some() {
        return None;
    }
    let refused = |(path, uri): &(String, String)| {
        let of = format!("; of `{path}` it is `{uri}`");
        if let Some(remedy) = no_output(uri) {
            return Some(Refused::new(format!("{OUTPUT_FORM}{of}"), remedy));
        }
        if kind == OutputKind::UriFile && uri.ends_with('/') {
            let expected = format!("the path of a file, as the output is a UriFile{of}");
            return Some(Refused::new(expected, "write the file's name behind it"));
        }
        let is_empty = |path: DatastorePath| path.path.trim_end_matches('/').split('/').any(str::is_empty);
        let is_empty = DatastorePath::read(uri).is_some_and(is_empty);
        is_empty.then(|| Refused::new(format!("a path without empty segments{of}"), "remove one of the two slashes"))
    };
    let length = |(_, uri): &(String, String)| DatastorePath::read(uri).map_or(0, |path| path.path.chars().count());
    let shortest = places.iter().map(length).min().unwrap_or_default();
    places.iter().find_map(refused).or_else(|| {
        let expected = format!("{MAX_NAME} characters at most, as names of blobs have; it has {shortest} or more");
        (shortest > MAX_NAME).then(|| Refused::new(expected, "shorten it"))
    })
}

impl Rule {
    /// Its outputs that are published, by name.
    pub fn published(&self) -> impl Iterator<Item = (&str, OutputKind, &Publish)> {
        self.outputs.iter().filter_map(|(name, output)| Some((name.as_str(), output.kind, output.publish.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::rule::{IfExists, Rules};

    fn rules(all: &[(&str, Value)]) -> Rules {
        let rule = |(id, outputs): &(&str, Value)| json!({"id": id, "match": {"container": "con", "prefix": format!("{id}/")}, "endpoint": {"uri": "https://e.example/jobs", "shadow": "v9"}, "outputs": outputs});
        let all: Vec<Value> = all.iter().map(rule).collect();
        Rules::read(&json!({ "rules": all }).to_string()).expect("good rules")
    }

    fn file(uri: &str) -> Value {
        let of_attempt = "azureml://datastores/d/paths/{scoring.id}/{attempt}/p.csv";
        json!({"score": {"type": "UriFile", "uri": of_attempt, "publish": {"uri": format!("azureml://datastores/d/paths/{uri}")}}})
    }

    #[test]
    fn a_published_path_is_read_with_its_default_and_no_shadow_has_it() {
        let rules = rules(&[("a", file("latest/{blob.path}"))]);
        let publish =
            |id: &str| rules.get(id).expect("a rule").published().next().map(|(_, _, publish)| publish.clone());
        let publish_of_rule = publish("a").expect("it publishes");
        assert_eq!(
            (publish_of_rule.uri.source(), publish_of_rule.if_exists),
            ("azureml://datastores/d/paths/latest/{blob.path}", IfExists::Replace)
        );
        assert_eq!(publish("a-shadow"), None);
        assert!(rules.warnings().is_empty(), "{:?}", rules.warnings());
    }

    /// What is told of a rule of this `match` and these outputs, and of this input if there is one.
    fn told(matches: &Value, outputs: &Value, input: Option<&str>) -> String {
        let mut rule = json!({"id": "a", "match": {"container": "con"}, "endpoint": {"uri": "https://e.example/jobs"}, "outputs": outputs});
        rule["match"].as_object_mut().expect("an object").extend(matches.as_object().expect("an object").clone());
        if let Some(uri) = input {
            rule["inputs"] = json!({"x": {"type": "UriFile", "uri": uri}});
        }
        Rules::read(&json!({ "rules": [rule] }).to_string()).err().map(|told| told.to_string()).unwrap_or_default()
    }

    const D: &str = "azureml://datastores/d/paths";

    /// Two outputs of these kinds that are published there.
    fn two(kinds: [&str; 2], at: [&str; 2]) -> Value {
        let output = |n: usize| json!({"type": kinds[n], "uri": format!("{D}/out{n}/{{scoring.id}}/{{attempt}}/p"), "publish": {"uri": format!("{D}/{}", at[n])}});
        json!({"a": output(0), "b": output(1)})
    }

    #[test]
    fn two_outputs_that_some_blob_publishes_to_one_path_are_refused_with_that_blob() {
        let files = ["UriFile"; 2];
        for (kinds, at, of) in [
            (files, ["two/{blob.name}", "two/{blob.path}"], "of `name`"),
            (files, ["two/{blob.stem}", "two/{blob.stem}{blob.extension}"], "of `name`"),
            (files, ["two/{blob.name}", "two/{blob.name}/x.csv"], "of `name`"),
            (["UriFile", "UriFolder"], ["m/{blob.stem}/manifest.json", "m/{blob.stem}"], "of `name`"),
        ] {
            let said = told(&json!({}), &two(kinds, at), None);
            assert!(said.contains("a path of its own for each output") && said.contains(of), "{at:?}: {said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
        for (matches, at) in [
            (json!({"prefix": "eu/"}), ["two/{blob.name}", "two/{blob.path}"]),
            (json!({"globs": ["*/*.csv"]}), ["two/{blob.name}", "two/{blob.path}"]),
            (json!({"suffix": ".csv"}), ["two/{blob.stem}", "two/{blob.stem}{blob.extension}"]),
            (json!({}), ["two/a/{blob.path}", "two/b/{blob.path}"]),
        ] {
            assert_eq!(told(&matches, &two(files, at), None), "", "{at:?}");
        }
    }

    #[test]
    fn what_is_published_lies_neither_where_it_is_read_nor_near_where_attempts_write() {
        let of = |kind: &str, attempts: &str, publish: &str| json!({"a": {"type": kind, "uri": format!("{D}/{attempts}"), "publish": {"uri": format!("{D}/{publish}")}}});
        for (kind, attempts, publish) in [
            ("UriFolder", "nest/{scoring.id}/{attempt}/out/", "nest/{scoring.id}/{attempt}/out/pub"),
            ("UriFolder", "nest/{scoring.id}/{attempt}", "nest"),
            ("UriFile", "x/{scoring.id}/{attempt}/p.csv", "x/{scoring.id}/{attempt}/p.csv/x.csv"),
            ("UriFile", "x/p.csv/{scoring.id}/{attempt}", "x/p.csv"),
        ] {
            let said = told(&json!({}), &of(kind, attempts, publish), None);
            assert!(said.contains("neither below nor above it"), "{publish}: {said}");
        }
        let file = of("UriFile", "x/{scoring.id}/{attempt}/p.csv", "in/{blob.path}");
        let said = told(&json!({}), &file, Some("azureml://datastores/D/paths/in/{blob.path}"));
        assert!(said.contains("than that of input `x`"), "{said}");
        assert_eq!(told(&json!({}), &file, Some("azureml://datastores/d/paths/raw/{blob.path}")), "");
    }

    #[test]
    fn a_path_that_no_blob_can_have_is_refused_for_whatever_upload_it_is_so() {
        let long = "x".repeat(1_000);
        for (uri, why) in [
            ("azureml://datastores/{blob.folder}/paths/x", "of `name` it is"),
            ("azureml://datastores/{blob.stem}/paths/x", "is not a datastore's name"),
            ("azureml://datastores/d/paths/ext/{blob.extension}", "the path of a file"),
            ("azureml://datastores/d/paths/{blob.extension}", "of `name` it is"),
            ("azureml://datastores/d/paths/a//{blob.path}", "without empty segments"),
            (&format!("azureml://datastores/d/paths/{long}/{long}/{{blob.path}}"), "1024 characters at most"),
            ("azureml://datastores/d/paths/a\u{0}b/{blob.path}", "control characters"),
            ("azureml://datastores/d/paths/a\nb/{blob.path}", "control characters"),
            ("azureml://datastores/d/paths/{blob.path}?sig=SECRETSECRET", "leave out the query"),
        ] {
            let attempts = json!({"a": {"type": "UriFile", "uri": format!("{uri}/{{scoring.id}}/{{attempt}}")}});
            let published = json!({"a": {"type": "UriFile", "uri": format!("{D}/{{scoring.id}}/{{attempt}}"), "publish": {"uri": uri}}});
            let said = told(&json!({}), &published, None);
            assert!(said.contains(why) && !said.contains("SECRETSECRET"), "{uri}: {said}");
            // With the attempt behind it a name is a folder, which is a path.
            if !uri.contains("extension") {
                let said = told(&json!({}), &attempts, None);
                assert!(said.contains(why) && !said.contains("SECRETSECRET"), "{uri}: {said}");
            }
        }
        let stem = json!({"a": {"type": "UriFile", "uri": format!("{D}/{{scoring.id}}/{{attempt}}"), "publish": {"uri": format!("{D}/ext/{{blob.extension}}")}}});
        assert_eq!(told(&json!({"suffix": ".csv"}), &stem, None), "", "each of its blobs has an extension");
    }

    #[test]
    fn a_path_that_two_blobs_share_is_warned_of_by_example_and_one_of_each_blob_is_not() {
        for (matches, path, seen) in [
            (json!({}), "latest/{blob.stem}.csv", "the same for `a/name` and `a/name.csv`"),
            (json!({"suffix": ".csv"}), "latest/{blob.stem}.csv", "the same for `a/name.csv` and `a/folder/name.csv`"),
            (json!({"globs": ["a/*.csv"]}), "latest/{blob.stem}.csv", ""),
            (json!({}), "latest/{event.time:yyyy}.csv", "the same for"),
            (json!({}), "latest/{blob.folder}/{blob.name}", ""),
            (json!({}), "latest/{blob.etag8}.csv", ""),
            (json!({}), "latest/{blob.metadata.tenant}.csv", "the same for"),
        ] {
            let file = file(path);
            let mut rule = json!({"id": "a", "match": {"container": "con", "prefix": "a/"}, "endpoint": {"uri": "https://e.example/jobs"}, "outputs": file});
            rule["match"].as_object_mut().expect("an object").extend(matches.as_object().expect("an object").clone());
            let said = Rules::read(&json!({ "rules": [rule] }).to_string()).expect("good rules").warnings();
            assert_eq!(said.len(), usize::from(!seen.is_empty()), "{path}: {said:?}");
            assert!(said.iter().all(|said| said.seen.contains(seen)), "{path}: {said:?}");
        }
        let said = rules(&[("a", file("two/{blob.name}")), ("b", file("two/{blob.name}"))]).warnings();
        assert!(
            said.iter().any(|said| said.seen.contains("rule `b`") && said.seen.contains("that rule `a`")),
            "{said:?}"
        );
    }

    #[test]
    fn a_path_of_all_blobs_and_one_of_two_rules_are_warned_of_once_each() {
        let said = rules(&[("a", file("latest.csv")), ("b", file("latest.csv"))]).warnings();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].seen.contains("rule `a`: `outputs.score.publish.uri` is the same for all blobs"), "{said:?}");
        assert!(said[1].seen.contains("rule `b`") && said[1].seen.contains("that rule `a`"), "{said:?}");
    }
}
