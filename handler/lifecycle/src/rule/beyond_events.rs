//! What a rule wants to know of a blob that no event tells: its metadata and its index tags. Where a rule asks, the blob is looked at
//! before it is decided, and what could not be looked at waits.

use std::collections::BTreeMap;

use super::definition::{InputTemplate, Literal, Rule};
use super::metadata_and_tags::{MAX_SHOWN, is_segment};
use super::template::Template;
use crate::text::one_line;

impl Rule {
    /// It wants to know what no event tells, so that each blob must be looked at.
    pub fn asks_what_no_event_tells(&self) -> bool {
        !self.matches.metadata.0.is_empty() || self.asks_for_index_tags() || !self.metadata_in_texts.is_empty()
    }

    /// It wants to know the blob's index tags, which take a request and a right of their own.
    pub fn asks_for_index_tags(&self) -> bool {
        !self.matches.index_tags.0.is_empty()
    }

    /// Why this rule wants no blob with this metadata, whose names are in lower case.
    pub(crate) fn refuses_metadata(&self, metadata: &BTreeMap<String, String>) -> Option<String> {
        let value = |name: &String| metadata.get(name).map(String::as_str);
        let asked = self.matches.metadata.0.iter();
        let mut refused = asked.filter_map(|(name, asked)| asked.refuses(&format!("metadata `{name}`"), value(name)));
        if let Some(why) = refused.next() {
            return Some(format!("{why} (match.metadata)"));
        }
        self.metadata_in_texts.iter().filter(|(_, in_uri)| **in_uri).find_map(|(name, _)| match value(name) {
            None => Some(format!("it has no metadata `{name}`, which stands in a `uri` of the rule")),
            Some(value) if is_segment(value) => None,
            Some(value) => Some(format!(
                "its metadata `{name}` is `{}`, which cannot be a part of a path, and stands in a `uri` of the rule",
                one_line(value, MAX_SHOWN)
            )),
        })
    }

    /// Why this rule wants no blob with these index tags.
    pub(crate) fn refuses_index_tags(&self, tags: &BTreeMap<String, String>) -> Option<String> {
        let asked = self.matches.index_tags.0.iter();
        let mut refused = asked.filter_map(|(name, asked)| {
            asked.refuses(&format!("index tag `{name}`"), tags.get(name).map(String::as_str))
        });
        refused.next().map(|why| format!("{why} (match.indexTags)"))
    }

    /// What of a blob's metadata the texts of this rule name: it is kept with the scoring, so that each attempt sends the same.
    pub(crate) fn metadata_kept(&self, metadata: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let kept = |name: &String| Some((name.clone(), metadata.get(name)?.clone()));
        self.metadata_in_texts.keys().filter_map(kept).collect()
    }

    /// The metadata that its texts name, in lower case, with whether a `uri` is among them.
    pub(super) fn find_metadata_in_texts(&self) -> BTreeMap<String, bool> {
        let mut found = BTreeMap::new();
        let mut note = |text: &Template, in_uri: bool| {
            for name in text.metadata() {
                *found.entry(name.to_owned()).or_default() |= in_uri;
            }
        };
        for input in self.inputs.values() {
            match input {
                InputTemplate::UriFile(source) | InputTemplate::UriFolder(source) => {
                    note(&source.uri, true);
                    source.description.iter().for_each(|text| note(text, false));
                }
                InputTemplate::Literal { value: Literal::Template(text), .. } => note(text, false),
                InputTemplate::Literal { value: Literal::AsWritten(_), .. } => {}
            }
        }
        for output in self.outputs.values() {
            note(&output.uri, true);
            output.description.iter().for_each(|text| note(text, false));
            output.publish.iter().for_each(|publish| note(&publish.uri, true));
        }
        self.settings.texts().for_each(|text| note(text, false));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Rules;

    /// What a blob has, and why it is refused.
    type Case<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>);

    fn rule(members: &serde_json::Value) -> Rule {
        let mut rule = serde_json::json!({"id": "r", "match": {"container": "con"}, "endpoint": {"uri": "https://e.example/jobs"}});
        for (name, value) in members.as_object().expect("members") {
            match name.as_str() {
                "metadata" | "indexTags" => rule["match"][name] = value.clone(),
                _ => rule[name] = value.clone(),
            }
        }
        Rules::read(&serde_json::json!({ "rules": [rule] }).to_string())
            .expect("good rules")
            .iter()
            .next()
            .expect("one")
            .clone()
    }

    fn of(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn metadata_and_tags_are_wanted_by_value_by_presence_and_by_absence() {
        let asked = serde_json::json!({"Tenant": ["a", "b"], "source": true, "skip": false, "x": "1"});
        let good = [("tenant", "b"), ("source", ""), ("x", "1")];
        let cases: [Case<'_>; 6] = [
            (&good, None),
            (
                &[("tenant", "B"), ("source", "s"), ("x", "1")],
                Some("its metadata `tenant` is `B`, not `a`, `b` (match.metadata)"),
            ),
            (&[("source", "s"), ("x", "1")], Some("it has no metadata `tenant` (match.metadata)")),
            (&[("tenant", "a"), ("x", "1")], Some("it has no metadata `source` (match.metadata)")),
            (
                &[("tenant", "a"), ("source", "s"), ("skip", ""), ("x", "1")],
                Some("it has metadata `skip` (match.metadata)"),
            ),
            (
                &[("tenant", "a"), ("source", "s"), ("x", "2")],
                Some("its metadata `x` is `2`, not `1` (match.metadata)"),
            ),
        ];
        let by_metadata = rule(&serde_json::json!({ "metadata": asked }));
        for (has, why) in cases {
            assert_eq!(by_metadata.refuses_metadata(&of(has)).as_deref(), why, "{has:?}");
        }
        assert!(by_metadata.asks_what_no_event_tells() && !by_metadata.asks_for_index_tags());
        let by_tags = rule(&serde_json::json!({"indexTags": {"Tenant": "a", "held back": false}}));
        assert_eq!(by_tags.refuses_index_tags(&of(&[("Tenant", "a")])), None);
        let other_case = by_tags.refuses_index_tags(&of(&[("tenant", "a")]));
        assert_eq!(other_case.as_deref(), Some("it has no index tag `Tenant` (match.indexTags)"), "tags have a case");
        assert!(by_tags.refuses_index_tags(&of(&[("Tenant", "a"), ("held back", "")])).is_some());
        assert!(by_tags.asks_for_index_tags() && !rule(&serde_json::json!({})).asks_what_no_event_tells());
    }

    #[test]
    fn metadata_in_a_uri_must_be_there_and_stay_where_the_rule_puts_it() {
        let uri = "azureml://datastores/d/paths/{blob.metadata.Tenant}/{scoring.id}/{attempt}/p.csv";
        let rule = rule(
            &serde_json::json!({"outputs": {"score": {"type": "UriFile", "uri": uri}}, "settings": {"name": "{blob.metadata.run}"}}),
        );
        let refused = |value: &str| rule.refuses_metadata(&of(&[("tenant", value)]));
        for good in ["a", "a b-1_2.x", "..a", "ä"] {
            assert_eq!(refused(good), None, "{good}");
        }
        for bad in ["", ".", "..", "a/b", "../x", "a\\b", "%2e%2e", "a?b", "a#b"] {
            assert!(refused(bad).is_some_and(|why| why.contains("cannot be a part of a path")), "{bad}");
        }
        let absent = rule.refuses_metadata(&of(&[("run", "1")]));
        assert_eq!(absent.as_deref(), Some("it has no metadata `tenant`, which stands in a `uri` of the rule"));
        let kept = rule.metadata_kept(&of(&[("tenant", "a"), ("run", "1"), ("other", "x")]));
        assert_eq!(kept, of(&[("run", "1"), ("tenant", "a")]), "what no text names is not kept");
        assert!(rule.asks_what_no_event_tells());
    }
}
