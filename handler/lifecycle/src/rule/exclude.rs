//! Names that a rule does not want although they lie in its place: temporary ones, which a rename follows, and markers.
//!
//! Spark, Hadoop, NiFi, WinSCP, rclone and browsers write under such a name and rename when the content is whole. What is
//! scored under the temporary name is gone before the job reads it.

use std::fmt;

/// Folders of temporary files: Spark's and Hadoop's output committer.
const FOLDERS: [&str; 1] = ["_temporary"];
/// How names of hidden and marker files begin, folders too for the dot: `.part-0.csv.crc`, NiFi's dot rename,
/// `.spark-staging-…/`; the transaction markers of Databricks.
const BEGINNINGS: [&str; 3] = [".", "_started_", "_committed_"];
/// How temporary names end: WinSCP and other SFTP clients, browsers and curl, rclone, Hadoop's `fs -put`, Chromium, editors.
const ENDINGS: [&str; 7] = [".filepart", ".part", ".partial", "._COPYING_", ".crdownload", ".tmp", "~"];
/// Files that only say that others are whole.
const MARKERS: [&str; 2] = ["_SUCCESS", "_FAILURE"];

/// What a rule does not want of its place (`match.exclude`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields, default))]
pub struct Exclude {
    /// Whether temporary names and markers are left out that are so by convention. They are looked for behind
    /// `match.prefix`, and an ending that `match.suffix` itself has is wanted.
    pub defaults: bool,
    /// What paths that are left out begin with; held against the whole path.
    #[cfg_attr(feature = "schema", schemars(inner(length(min = 1))))]
    pub prefixes: Vec<String>,
    /// What paths that are left out end with, `.bak` for one.
    #[cfg_attr(feature = "schema", schemars(inner(length(min = 1))))]
    pub suffixes: Vec<String>,
    /// Paths of this form: `*` within a segment, `**/` any number of segments, `?` one character, `[ab]` one of these.
    pub globs: Vec<Glob>,
}

impl Default for Exclude {
    fn default() -> Self {
        Self { defaults: true, prefixes: Vec::new(), suffixes: Vec::new(), globs: Vec::new() }
    }
}

/// A pattern of `match.globs` or `match.exclude.globs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(glob::Pattern);

/// A text that is no pattern.
#[derive(Debug, thiserror::Error)]
#[error("`{glob}` is no pattern: {} at character {}", source.msg, source.pos)]
pub struct InvalidGlob {
    /// The pattern as it stands in the rules.
    pub glob: String,
    /// What is wrong with it, and where.
    pub source: glob::PatternError,
}

impl std::str::FromStr for Glob {
    type Err = InvalidGlob;

    fn from_str(text: &str) -> Result<Self, InvalidGlob> {
        glob::Pattern::new(text).map(Self).map_err(|source| InvalidGlob { glob: text.to_owned(), source })
    }
}

impl Glob {
    pub(super) fn matches(&self, path: &str) -> bool {
        let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
        self.0.matches_with(path, options)
    }
}

impl Glob {
    /// Whether some path of this beginning and this ending may have its form, by what stands before its first wildcard and behind its
    /// last one.
    pub(super) fn may_match(&self, prefix: &str, suffix: &str) -> bool {
        let text = self.0.as_str();
        let is_wildcard = |c: char| matches!(c, '*' | '?' | '[' | ']');
        let (Some(first), Some(last)) = (text.find(is_wildcard), text.rfind(is_wildcard)) else {
            return text.starts_with(prefix) && text.ends_with(suffix);
        };
        // `**/` may stand for nothing, its slash included.
        let (head, tail) = (&text[..first], text[last + 1..].trim_start_matches('/'));
        (head.starts_with(prefix) || prefix.starts_with(head)) && (tail.ends_with(suffix) || suffix.ends_with(tail))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// Why a path is not wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excluded<'a> {
    /// It begins with one of `match.exclude.prefixes`.
    Prefix(&'a str),
    /// It ends with one of `match.exclude.suffixes`.
    Suffix(&'a str),
    /// It has the form of one of `match.exclude.globs`.
    Glob(&'a Glob),
    /// By convention: it lies in a folder of temporary or hidden files.
    Folder(&'a str),
    /// By convention: its name begins as those of hidden files and markers do.
    NamePrefix(&'a str),
    /// By convention: its name ends as temporary names do.
    Ending(&'static str),
    /// By convention: it is a marker.
    Marker(&'static str),
}

impl fmt::Display for Excluded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(text) => return write!(f, "path begins with `{text}` (match.exclude.prefixes)"),
            Self::Suffix(text) => return write!(f, "path ends with `{text}` (match.exclude.suffixes)"),
            Self::Glob(glob) => return write!(f, "path matches `{glob}` (match.exclude.globs)"),
            Self::Folder(folder) => write!(f, "the folder `{folder}/` holds temporary files")?,
            Self::NamePrefix(text) => write!(f, "names that begin with `{text}` are hidden or marker files")?,
            Self::Ending(text) => write!(f, "names that end with `{text}` are temporary")?,
            Self::Marker(name) => write!(f, "`{name}` is a marker")?,
        }
        f.write_str("; a rename to its final name is taken in (match.exclude.defaults is true)")
    }
}

impl Exclude {
    /// Why the path is not wanted by a rule of this prefix and suffix; `None`: it is not left out.
    pub(super) fn excludes<'a>(&'a self, path: &'a str, prefix: &str, suffix: &str) -> Option<Excluded<'a>> {
        let own = || {
            let prefix = self.prefixes.iter().find(|text| path.starts_with(text.as_str()));
            let suffix = self.suffixes.iter().find(|text| path.ends_with(text.as_str()));
            prefix.map(|text| Excluded::Prefix(text)).or(suffix.map(|text| Excluded::Suffix(text)))
        };
        let glob = || self.globs.iter().find(|glob| glob.matches(path)).map(Excluded::Glob);
        let convention = || self.defaults.then(|| by_convention(path, prefix, suffix)).flatten();
        own().or_else(glob).or_else(convention)
    }

    /// The member that leaves out all that the rule's own prefix and suffix ask for, if there is one.
    pub(super) fn excludes_all_of(&self, prefix: &str, suffix: &str) -> Option<Excluded<'_>> {
        let begin = self.prefixes.iter().find(|text| prefix.starts_with(text.as_str()));
        let end = self.suffixes.iter().find(|text| suffix.ends_with(text.as_str()));
        begin.map(|text| Excluded::Prefix(text)).or(end.map(|text| Excluded::Suffix(text)))
    }
}

/// A segment that begins within the rule's own prefix is what the rule asks for, and so is an ending of its suffix: a rule
/// for `_SUCCESS` or `.part` needs no further member.
fn by_convention<'a>(path: &'a str, prefix: &str, suffix: &str) -> Option<Excluded<'a>> {
    let mut begin = 0;
    for segment in path.split_inclusive('/') {
        let (start, name) = (begin, segment.trim_end_matches('/'));
        begin += segment.len();
        if start < prefix.len() {
            continue;
        }
        if segment.len() > name.len() {
            if FOLDERS.contains(&name) || name.starts_with('.') {
                return Some(Excluded::Folder(name));
            }
            continue;
        }
        if let Some(text) = BEGINNINGS.into_iter().find(|text| name.starts_with(text)) {
            return Some(Excluded::NamePrefix(text));
        }
        if let Some(marker) = MARKERS.into_iter().find(|marker| name == *marker && !suffix.ends_with(marker)) {
            return Some(Excluded::Marker(marker));
        }
    }
    let ending = ENDINGS.into_iter().find(|text| path.ends_with(text) && !suffix.ends_with(text));
    ending.map(Excluded::Ending)
}

/// As `scorekeeper config` shows it.
impl fmt::Display for Exclude {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |what: &str, texts: Vec<String>| (!texts.is_empty()).then(|| format!("{what} {}", texts.join(" ")));
        let conventions = FOLDERS.map(|folder| format!("{folder}/")).into_iter();
        let conventions =
            conventions.chain([BEGINNINGS.as_slice(), &MARKERS, &ENDINGS].concat().into_iter().map(str::to_owned));
        let parts = [
            named("prefixes", self.prefixes.clone()),
            named("suffixes", self.suffixes.clone()),
            named("globs", self.globs.iter().map(Glob::to_string).collect()),
            named("by default", if self.defaults { conventions.collect() } else { Vec::new() }),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        f.write_str(if parts.is_empty() { "nothing" } else { "" })?;
        f.write_str(&parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excluded(exclude: &Exclude, path: &str, prefix: &str, suffix: &str) -> Option<String> {
        exclude.excludes(path, prefix, suffix).map(|why| why.to_string())
    }

    #[test]
    fn temporary_names_and_markers_are_left_out_by_default() {
        let default = Exclude::default();
        for (path, part) in [
            ("eu/_temporary/0/part-0.csv", "`_temporary/`"),
            ("eu/.spark-staging-1/a.csv", "`.spark-staging-1/`"),
            ("eu/.part-0.csv.crc", "begin with `.`"),
            ("w.csv.filepart", "`.filepart`"),
            ("w.csv.part", "`.part`"),
            ("w.csv.1f2e3d4c.partial", "`.partial`"),
            ("w.csv._COPYING_", "`._COPYING_`"),
            ("w.csv~", "`~`"),
            ("w.tmp", "`.tmp`"),
            ("day=1/_SUCCESS", "`_SUCCESS` is a marker"),
            ("_SUCCESS", "`_SUCCESS` is a marker"),
            ("t/_committed_123", "`_committed_`"),
        ] {
            let why = excluded(&default, path, "", "").unwrap_or_default();
            assert!(why.contains(part) && why.contains("match.exclude.defaults"), "{path}: {why}");
            assert_eq!(excluded(&Exclude { defaults: false, ..Exclude::default() }, path, "", ""), None, "{path}");
        }
        for path in
            ["a.csv", "eu/part-00000-abc.csv", "a_SUCCESS", "x_temporary/a", "_temporary", "a.partx", "tmp/a.csv"]
        {
            assert_eq!(excluded(&default, path, "", ""), None, "{path}");
        }
    }

    #[test]
    fn what_a_rule_itself_names_is_wanted_in_spite_of_the_defaults() {
        let default = Exclude::default();
        for (path, prefix, suffix) in [
            ("day=1/_SUCCESS", "", "_SUCCESS"),
            ("a.part", "", ".part"),
            ("_temporary/0/a.csv", "_temporary/", ""),
            ("_temporary/0/a.csv", "_temp", ""),
            // Not a hidden file: its name begins within the prefix.
            ("eu/report.csv", "eu/report", ""),
        ] {
            assert_eq!(excluded(&default, path, prefix, suffix), None, "{path}");
        }
        assert!(excluded(&default, "_temporary/_temporary/a.csv", "_temporary/", "").is_some(), "one more behind it");
        assert!(excluded(&default, "a.part~", "", "~").is_none());
    }

    #[test]
    fn prefixes_suffixes_and_globs_are_held_against_the_whole_path() {
        let glob = |text: &str| text.parse().expect("a pattern");
        let exclude = Exclude {
            defaults: false,
            prefixes: vec!["eu/old/".to_owned()],
            suffixes: vec!["-draft.csv".to_owned()],
            globs: vec![glob("**/x-*.csv"), glob("done/*")],
        };
        for (path, part) in [
            ("eu/old/a.csv", "match.exclude.prefixes"),
            ("a-draft.csv", "match.exclude.suffixes"),
            ("x-1.csv", "`**/x-*.csv` (match.exclude.globs)"),
            ("a/b/x-1.csv", "match.exclude.globs"),
            ("done/a.csv", "`done/*`"),
        ] {
            assert!(excluded(&exclude, path, "", "").is_some_and(|why| why.contains(part)), "{path}");
        }
        for path in ["a.csv", "done/a/b.csv", "ax-1.csv", "done", "Done/a.csv"] {
            assert_eq!(excluded(&exclude, path, "", ""), None, "{path}");
        }
        assert!(exclude.to_string().contains("globs **/x-*.csv done/*"), "{exclude}");
    }

    #[test]
    fn a_text_that_is_no_pattern_is_named_with_its_place() {
        let error = "a**b".parse::<Glob>().unwrap_err().to_string();
        assert!(error.contains("`a**b` is no pattern: ") && error.ends_with("at character 0"), "{error}");
    }
}
