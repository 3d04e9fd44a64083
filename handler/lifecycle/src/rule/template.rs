//! Templates in rules: text with `{placeholders}` that a blob version and an attempt fill in.

use std::fmt;

use crate::id::RuleId;

mod own;
mod placeholder;
mod time;
mod values;

pub use placeholder::PLACEHOLDERS;
use placeholder::{Placeholder, Unknown};
pub use values::Values;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Hole(Placeholder),
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
    /// `event.time:` with letters that stand for no part of a time.
    #[error(
        "`{{{0}}}` has a form of a time that cannot be read; `yyyy`, `MM`, `dd`, `HH`, `mm`, `ss` stand for its parts"
    )]
    TimeFormat(String),
    /// An opening brace without its partner.
    #[error("`{0}` has an opening brace without a closing one; a brace itself is written twice")]
    Unclosed(String),
    /// A closing brace without its partner.
    #[error("`{0}` has a closing brace without an opening one; a brace itself is written twice")]
    Unopened(String),
}

fn names() -> String {
    PLACEHOLDERS.iter().map(|(name, _)| format!("{{{name}}}")).collect::<Vec<_>>().join(", ")
}

impl Template {
    /// Parses `source`. `{{` and `}}` stand for the braces themselves.
    pub fn parse(source: &str) -> Result<Self, Error> {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), source);
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(behind) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = behind;
                continue;
            }
            if brace == "}" {
                return Err(Error::Unopened(source.to_owned()));
            }
            let close = rest.find('}').ok_or_else(|| Error::Unclosed(source.to_owned()))?;
            let name = &rest[..close];
            rest = &rest[close + 1..];
            let mut hole = Placeholder::read(name).map_err(|unknown| match unknown {
                Unknown::Name => Error::Unknown(name.to_owned()),
                Unknown::TimeFormat => Error::TimeFormat(name.to_owned()),
            })?;
            // A blob that lies in no folder has none to part from what follows: two slashes would be another path.
            if let Placeholder::Folder { slash, .. } = &mut hole
                && let Some(behind) = rest.strip_prefix('/')
            {
                *slash = true;
                rest = behind;
            }
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Hole(hole));
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { source: source.to_owned(), parts })
    }

    /// The text itself, which needs no parsing: it has no braces.
    pub(crate) fn fixed(text: String) -> Self {
        Self { parts: vec![Part::Text(text.clone())], source: text }
    }

    /// The text with every hole filled.
    pub fn fill(&self, values: &Values<'_>) -> String {
        let mut text = String::with_capacity(self.source.len() + 64);
        for part in &self.parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Hole(hole) => hole.fill(&mut text, values),
            }
        }
        text
    }

    /// Whether the template has the scoring's id in it.
    pub fn has_scoring_id(&self) -> bool {
        self.parts.contains(&Part::Hole(Placeholder::Scoring))
    }

    /// Whether the template has the attempt's number in it.
    pub fn has_attempt(&self) -> bool {
        self.parts.contains(&Part::Hole(Placeholder::Attempt))
    }

    /// Two blobs of one rule are told apart by what it makes of them.
    pub(crate) fn tells_the_blob(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Hole(hole) if hole.tells_the_blob()))
    }

    /// It says something of the one blob that is scored, be it the same for others.
    pub(super) fn is_of_one_blob(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Hole(hole) if hole.is_of_one_blob()))
    }

    /// Blobs of two folders are told apart by what it makes of them.
    pub(crate) fn tells_the_folder(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Hole(Placeholder::FolderUrl | Placeholder::Folder { .. })))
    }

    /// Names of the metadata that it takes, in lower case.
    pub(super) fn metadata(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Hole(Placeholder::Metadata { name, .. }) => Some(name.as_str()),
            Part::Hole(_) | Part::Text(_) => None,
        })
    }

    /// What it makes of every blob, if that is the same.
    pub fn constant(&self, of_rule: &RuleId) -> Option<String> {
        let text = |part: &Part| match part {
            Part::Text(plain) => Some(plain.clone()),
            Part::Hole(Placeholder::Rule) => Some(of_rule.to_string()),
            Part::Hole(_) => None,
        };
        self.parts.iter().map(text).collect()
    }

    /// The text as the rule has it.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use ::time::macros::datetime;

    use super::*;
    use crate::blob::BlobVersion;
    use crate::id::{LedgerId, ScoringId};

    fn filled_for(url: &str, source: &str) -> String {
        let mut blob = BlobVersion::read(url, "0x1").expect("a blob");
        blob.metadata = [("name", "a b/c"), ("tenant_1", "ä%")].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        let rule: RuleId = "claims".parse().expect("an id");
        let id = ScoringId::new(&LedgerId::of_random([1; 16]), &rule, &blob, 0);
        let event_time = datetime!(2026-07-21 10:00:01 UTC);
        let values = Values { blob: &blob, rule: &rule, scoring: &id, event_time, attempt: 2 };
        Template::parse(source).expect("a template").fill(&values)
    }

    fn filled(source: &str) -> String {
        filled_for("https://uploads.blob.core.windows.net/claims/eu/a%20b.csv", source)
    }

    #[test]
    fn every_placeholder_is_filled() {
        for (name, _) in PLACEHOLDERS {
            assert!(!filled(&format!("{{{name}}}")).is_empty(), "{name}");
        }
        for (source, text) in [
            ("{rule.id}/{blob.path}/{attempt}", "claims/eu/a b.csv/2"),
            ("{blob.url}", "https://uploads.blob.core.windows.net/claims/eu/a%20b.csv"),
            ("{blob.folderUrl}", "https://uploads.blob.core.windows.net/claims/eu/"),
            ("{blob.name}-{blob.etag}", "a b.csv-0x1"),
            ("{blob.stem}.scored{blob.extension}", "a b.scored.csv"),
            ("{blob.encodedStem}{blob.encodedExtension}", "a%20b.csv"),
            ("{blob.metadata.Tenant_1} {blob.encodedMetadata.tenant_1}", "ä% %C3%A4%25"),
            ("{blob.encodedMetadata.name}|{blob.metadata.absent}|", "a%20b/c||"),
            ("{event.time} {event.time:yyyy/MM/dd}", "2026-07-21T10:00:01Z 2026/07/21"),
        ] {
            assert_eq!(filled(source), text);
        }
        let (one, other) = (filled("{blob.etag8}"), filled("{scoring.id}"));
        assert!(one.len() == 8 && one.bytes().all(|byte| byte.is_ascii_hexdigit()) && other.len() == 32, "{one}");
        let template = Template::parse("{blob.name}-{attempt}").expect("a template");
        assert_eq!((template.to_string().as_str(), template.parts.len()), ("{blob.name}-{attempt}", 3));
    }

    #[test]
    fn a_blob_in_no_folder_leaves_no_slash_behind() {
        let at = |path: &str, source: &str| filled_for(&format!("https://u.blob.core.windows.net/c/{path}"), source);
        for (path, source, text) in [
            ("x/y%20z/a.csv", "p/{blob.folder}/q", "p/x/y z/q"),
            ("x/y%20z/a.csv", "p/{blob.encodedFolder}/q", "p/x/y%20z/q"),
            ("a.csv", "p/{blob.folder}/q", "p/q"),
            ("a.csv", "p/{blob.folder}", "p/"),
            ("a.csv", "{blob.folderUrl}", "https://u.blob.core.windows.net/c/"),
            ("a.tar.gz", "{blob.stem}|{blob.extension}", "a.tar|.gz"),
            (".profile", "{blob.stem}|{blob.extension}", ".profile|"),
            ("x.y/readme", "{blob.stem}|{blob.extension}", "readme|"),
        ] {
            assert_eq!(at(path, source), text, "{source} of {path}");
        }
        let template =
            Template::parse("azureml://datastores/d/paths/p/{blob.folder}/{scoring.id}").expect("a template");
        assert!(template.could_have_made("p/0123456789abcdef0123456789abcdef"));
        assert!(template.could_have_made("p/x/0123456789abcdef0123456789abcdef"));
    }

    #[test]
    fn braces_that_are_written_twice_stand_for_themselves() {
        for (source, text) in [
            ("{{}}", "{}"),
            ("{{blob.name}}", "{blob.name}"),
            ("{{{rule.id}}}", "{claims}"),
            ("{{\"a\": {{\"b\": 1}}}}", "{\"a\": {\"b\": 1}}"),
        ] {
            assert_eq!(filled(source), text, "{source}");
        }
    }

    #[test]
    fn a_path_of_awkward_characters_stands_raw_in_paths_and_encoded_in_urls() {
        let url = "https://u.blob.core.windows.net/c/x/%C3%A4%20b%23c+d%2541.csv";
        for (source, text) in [
            (
                "https://o.blob.core.windows.net/c/{blob.encodedPath}",
                "https://o.blob.core.windows.net/c/x/%C3%A4%20b%23c+d%2541.csv",
            ),
            (
                "https://o.blob.core.windows.net/c/{blob.encodedName}",
                "https://o.blob.core.windows.net/c/%C3%A4%20b%23c+d%2541.csv",
            ),
            ("azureml://datastores/d/paths/{blob.path}", "azureml://datastores/d/paths/x/ä b#c+d%41.csv"),
            ("{blob.stem}{blob.extension}", "ä b#c+d%41.csv"),
            ("{blob.url}", url),
        ] {
            assert_eq!(filled_for(url, source), text);
        }
    }

    #[test]
    fn what_is_no_template_is_refused_by_its_reason() {
        let unknown = Template::parse("{blob.size}").unwrap_err().to_string();
        for bad in
            ["blob.metadata.", "blob.metadata.1a", "blob.metadata.a-b", "blob.metadata", "blob.encodedMetadata. a"]
        {
            assert!(matches!(Template::parse(&format!("{{{bad}}}")), Err(Error::Unknown(_))), "{bad}");
        }
        assert!(unknown.contains("{blob.size}") && unknown.contains("{scoring.id}"), "{unknown}");
        let time = |form: &str| Template::parse(&format!("{{event.time:{form}}}"));
        assert!(matches!(time("YYYY"), Err(Error::TimeFormat(_))) && matches!(time(""), Err(Error::TimeFormat(_))));
        assert!(matches!(Template::parse("x{attempt"), Err(Error::Unclosed(_))));
        for open in ["x}", "}{attempt}", "{attempt}}"] {
            assert!(matches!(Template::parse(open), Err(Error::Unopened(_))), "{open}");
        }
    }

    #[test]
    fn a_text_is_constant_if_no_blob_is_in_it() {
        let rule: RuleId = "claims".parse().expect("an id");
        let constant = |source: &str| Template::parse(source).expect("a template").constant(&rule);
        assert_eq!(constant("{rule.id}-{{x}}").as_deref(), Some("claims-{x}"));
        assert_eq!(constant("{blob.container}"), None);
    }
}
