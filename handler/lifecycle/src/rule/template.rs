//! Templates in rules: text with `{placeholders}` that a blob version and an attempt fill in.

use std::fmt;

use crate::blob::{BlobVersion, encoded};
use crate::id::{RuleId, ScoringId};

/// Every placeholder, with what it stands for.
pub const PLACEHOLDERS: &[(&str, &str)] = &[
    ("blob.url", "the blob's URL, without query"),
    ("blob.account", "storage account"),
    ("blob.container", "container"),
    ("blob.path", "path in the container as it is, for azureml:// paths"),
    ("blob.encodedPath", "the path percent-encoded, for https URLs"),
    ("blob.name", "last segment of the path as it is"),
    ("blob.encodedName", "last segment of the path percent-encoded"),
    ("blob.etag", "ETag without quotes"),
    ("rule.id", "id of the rule"),
    ("scoring.id", "id of the scoring: one blob version under one rule"),
    ("attempt", "number of the attempt, from 1"),
];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Hole(&'static str),
}

/// A parsed template. Parsing refuses unknown placeholders, so filling in cannot fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    source: String,
    parts: Vec<Part>,
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A name in braces that nothing fills in.
    #[error("`{{{0}}}` is not a placeholder; there are {names}", names = names())]
    Unknown(String),
    /// A brace without its partner.
    #[error("`{0}` has an opening brace without a closing one")]
    Unclosed(String),
}

fn names() -> String {
    PLACEHOLDERS.iter().map(|(name, _)| format!("{{{name}}}")).collect::<Vec<_>>().join(", ")
}

/// What fills the placeholders of one attempt.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// The blob version that is scored.
    pub blob: &'a BlobVersion,
    /// Id of the rule that the template stands in.
    pub rule: &'a RuleId,
    /// Id of the scoring, which makes paths unique.
    pub scoring: &'a ScoringId,
    /// Number of the attempt, from 1.
    pub attempt: u32,
}

impl Template {
    /// Parses `source`.
    pub fn parse(source: &str) -> Result<Self, Error> {
        let mut parts = Vec::new();
        let mut rest = source;
        while let Some(open) = rest.find('{') {
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_owned()));
            }
            let inner = &rest[open + 1..];
            let close = inner.find('}').ok_or_else(|| Error::Unclosed(source.to_owned()))?;
            let name = &inner[..close];
            let known = PLACEHOLDERS.iter().map(|(known, _)| *known).find(|known| *known == name);
            parts.push(Part::Hole(known.ok_or_else(|| Error::Unknown(name.to_owned()))?));
            rest = &inner[close + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { source: source.to_owned(), parts })
    }

    /// The text with every hole filled.
    pub fn fill(&self, values: &Values<'_>) -> String {
        let mut text = String::with_capacity(self.source.len() + 64);
        for part in &self.parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Hole("blob.url") => text.push_str(&values.blob.url),
                Part::Hole("blob.account") => text.push_str(&values.blob.account),
                Part::Hole("blob.container") => text.push_str(&values.blob.container),
                Part::Hole("blob.path") => text.push_str(&values.blob.path),
                Part::Hole("blob.encodedPath") => text.push_str(&encoded(&values.blob.path).to_string()),
                Part::Hole("blob.encodedName") => text.push_str(&encoded(values.blob.name()).to_string()),
                Part::Hole("blob.name") => text.push_str(values.blob.name()),
                Part::Hole("blob.etag") => text.push_str(&values.blob.etag),
                Part::Hole("rule.id") => text.push_str(values.rule.as_str()),
                Part::Hole("scoring.id") => text.push_str(values.scoring.as_str()),
                Part::Hole("attempt") => text.push_str(&values.attempt.to_string()),
                Part::Hole(other) => unreachable!("{other} is in PLACEHOLDERS and not filled in"),
            }
        }
        text
    }

    /// Whether the template has this placeholder.
    pub fn has(&self, name: &str) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Hole(hole) if *hole == name))
    }

    /// The text as the rule has it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether `path` could have come out of the path part of this template: how an event about one of our own outputs
    /// is known. Fixed text must match, `{scoring.id}` stands for 32 hex digits, `{attempt}` for digits, any other
    /// placeholder for any text.
    pub fn could_have_made(&self, path: &str) -> bool {
        self.lengths_made(path).last() == Some(&true)
    }

    /// Whether `path` lies below a folder that could have come out of this template, or is that folder.
    pub fn could_have_made_folder_of(&self, path: &str) -> bool {
        // The template may end with a slash, or not.
        let made = self.lengths_made(path);
        made.last() == Some(&true)
            || path
                .bytes()
                .enumerate()
                .any(|(at, byte)| byte == b'/' && (made.get(at) == Some(&true) || made.get(at + 1) == Some(&true)))
    }

    /// For each beginning of `path`, by its length, whether the path part of this template can make it.
    fn lengths_made(&self, path: &str) -> Vec<bool> {
        // The datastore's container is not in the URI: compare from behind `/paths/` on.
        let start = self.parts.iter().enumerate().find_map(|(at, part)| match part {
            Part::Text(text) => text.split_once("/paths/").map(|(_, behind)| (at, behind)),
            Part::Hole(_) => None,
        });
        match start {
            Some((at, begin)) => path.strip_prefix(begin).map_or_else(Vec::new, |rest| {
                let mut made = vec![false; begin.len()];
                made.extend(matches(&self.parts[at + 1..], rest).0);
                made
            }),
            None => matches(&self.parts, path).0,
        }
    }
}

/// For each beginning of the text, by its length, whether the parts can make it, and the steps that it took to tell: at most 33 for each part and byte. Trying one
/// place after the other for each hole would take the length to the power of the holes, and whoever uploads chooses
/// the text.
fn matches(parts: &[Part], text: &str) -> (Vec<bool>, usize) {
    let bytes = text.as_bytes();
    let mut steps = 0;
    // Lengths of the text's beginnings that the parts so far can make.
    let mut made = vec![false; bytes.len() + 1];
    made[0] = true;
    for part in parts {
        let mut next = vec![false; made.len()];
        let mut open = false;
        for (at, begins) in made.into_iter().enumerate() {
            steps += 1;
            let rest = &bytes[at..];
            match part {
                Part::Text(plain) if begins && rest.starts_with(plain.as_bytes()) => next[at + plain.len()] = true,
                Part::Hole("scoring.id") if begins => {
                    let id = text.get(at..at + 32).and_then(ScoringId::read);
                    steps += 32;
                    if id.is_some() {
                        next[at + 32] = true;
                    }
                }
                Part::Text(_) | Part::Hole("scoring.id") => {}
                // At least one digit, and as many more as follow.
                Part::Hole("attempt") => {
                    next[at] = open;
                    open = (open || begins) && rest.first().is_some_and(u8::is_ascii_digit);
                }
                Part::Hole(_) => {
                    open |= begins;
                    next[at] = open;
                }
            }
        }
        made = next;
    }
    (made, steps)
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LedgerId;

    fn filled(source: &str) -> String {
        let blob =
            BlobVersion::read("https://uploads.blob.core.windows.net/claims/eu/a%20b.csv", "0x1").expect("a blob");
        let rule: RuleId = "claims".parse().expect("an id");
        let id = ScoringId::new(&LedgerId::of_random([1; 16]), &rule, &blob, 0);
        let values = Values { blob: &blob, rule: &rule, scoring: &id, attempt: 2 };
        Template::parse(source).expect("a template").fill(&values)
    }

    #[test]
    fn every_placeholder_is_filled() {
        for (name, _) in PLACEHOLDERS {
            assert!(!filled(&format!("{{{name}}}")).is_empty(), "{name}");
        }
        assert_eq!(filled("{rule.id}/{blob.path}/{attempt}"), "claims/eu/a b.csv/2");
        assert_eq!(filled("{blob.url}"), "https://uploads.blob.core.windows.net/claims/eu/a%20b.csv");
        assert_eq!(filled("{blob.name}-{blob.etag}"), "a b.csv-0x1");
        let template = Template::parse("{blob.name}-{attempt}").expect("a template");
        assert_eq!((template.to_string().as_str(), template.parts.len()), ("{blob.name}-{attempt}", 3));
    }

    #[test]
    fn a_path_of_awkward_characters_stands_raw_in_paths_and_encoded_in_urls() {
        let blob =
            BlobVersion::read("https://u.blob.core.windows.net/c/x/%C3%A4%20b%23c+d%2541.csv", "1").expect("a blob");
        assert_eq!((blob.path.as_str(), blob.name()), ("x/ä b#c+d%41.csv", "ä b#c+d%41.csv"));
        let rule: RuleId = "r".parse().expect("an id");
        let id = ScoringId::new(&LedgerId::of_random([1; 16]), &rule, &blob, 0);
        let values = Values { blob: &blob, rule: &rule, scoring: &id, attempt: 1 };
        let filled = |source: &str| Template::parse(source).expect("a template").fill(&values);
        assert_eq!(
            filled("https://o.blob.core.windows.net/c/{blob.encodedPath}"),
            "https://o.blob.core.windows.net/c/x/%C3%A4%20b%23c+d%2541.csv"
        );
        assert_eq!(
            filled("https://o.blob.core.windows.net/c/{blob.encodedName}"),
            "https://o.blob.core.windows.net/c/%C3%A4%20b%23c+d%2541.csv"
        );
        assert_eq!(filled("azureml://datastores/d/paths/{blob.path}"), "azureml://datastores/d/paths/x/ä b#c+d%41.csv");
        assert_eq!(filled("{blob.url}"), blob.url);
    }

    #[test]
    fn unknown_and_unclosed_placeholders_are_named() {
        let unknown = Template::parse("{blob.size}").unwrap_err().to_string();
        assert!(unknown.contains("{blob.size}") && unknown.contains("{scoring.id}"), "{unknown}");
        assert!(matches!(Template::parse("x{attempt"), Err(Error::Unclosed(_))));
    }

    #[test]
    fn an_own_output_is_known_whatever_stands_beside_its_holes() {
        let id = "0123456789abcdef0123456789abcdef";
        let made = |source: &str, path: &str| {
            Template::parse(&format!("azureml://datastores/d/paths/{source}"))
                .expect("a template")
                .could_have_made(path)
        };
        assert!(made("{scoring.id}-{attempt}0.csv", &format!("{id}-120.csv")));
        assert!(!made("{scoring.id}-{attempt}0.csv", &format!("{id}-0.csv")));
        assert!(made("{blob.name}{attempt}/{scoring.id}", &format!("7712/{id}")));
        assert!(made("{blob.name}{scoring.id}{attempt}", &format!("ff{id}1")));
        assert!(made("{attempt}{scoring.id}", &format!("1{id}")));
        assert!(!made("{attempt}", "") && !made("{attempt}", "1a") && !made("{attempt}x", "x"));
        assert!(made("{blob.name}", "") && made("x{blob.name}", "x") && !made("x{blob.name}y", "x"));
    }

    #[test]
    fn the_time_for_a_path_grows_with_its_length_alone() {
        // Each hole could begin anywhere, and the end never fits: what backtracks takes 500^9 steps.
        let template = Template::parse(&format!("{}{{scoring.id}}{{attempt}}!", "{blob.path}a".repeat(9))).expect("ok");
        for length in [500, 1_000] {
            let path = "a".repeat(length);
            let (made, steps) = matches(&template.parts, &path);
            assert!(!made[length]);
            assert!(steps <= 33 * template.parts.len() * (length + 1), "{steps} steps for {length} bytes");
            assert!(!template.could_have_made(&path));
        }
        // An id is read only where one could begin.
        let template = Template::parse("x{scoring.id}").expect("ok");
        assert_eq!(matches(&template.parts, "aaaa"), (vec![false; 5], 2 * 5));
        assert_eq!(matches(&template.parts, "xaaa"), (vec![false; 5], 2 * 5 + 32));
    }

    #[test]
    fn an_own_output_is_known_by_its_path() {
        let t =
            Template::parse("azureml://datastores/d/paths/scores/{scoring.id}/{attempt}/predictions.csv").expect("ok");
        assert!(t.could_have_made("scores/0123456789abcdef0123456789abcdef/12/predictions.csv"));
        assert!(!t.could_have_made("scores/0123456789abcdef0123456789abcdef/x/predictions.csv"));
        assert!(!t.could_have_made("scores/not-an-id/1/predictions.csv"));
        let t = Template::parse("azureml://datastores/d/paths/{blob.path}/{scoring.id}/{attempt}/p.csv").expect("ok");
        assert!(t.could_have_made("eu/é.csv/0123456789abcdef0123456789abcdef/1/p.csv"));
        assert!(!t.could_have_made("eu/é.csv"));
    }
}
