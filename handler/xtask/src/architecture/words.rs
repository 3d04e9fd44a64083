//! Words that were given up for those of the field must not come back into sources, help or documents.

use std::fs;

use regex_lite::Regex;

use crate::{
    failure::{Failure, Result},
    workspace::{output, root},
};

/// The words that were given up, such as
/// `Retired { pattern: r"(?i)\bsabotag", instead: "guard removal", except: &["CHANGELOG.md"] }`.
pub(crate) const RETIRED: &[Retired] = &[];

/// This file has to name them.
const THIS_FILE: &str = "handler/xtask/src/architecture/words.rs";

/// A word that is no longer used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retired {
    /// What is looked for, line by line, as `regex_lite` reads it. Paths of files are looked at too.
    pub(crate) pattern: &'static str,
    /// What is written now.
    pub(crate) instead: &'static str,
    /// Where it may stand all the same: files or, with a `/` at the end, folders below the workspace's root. For wire formats
    /// of others, and for what has another meaning there.
    pub(crate) except: &'static [&'static str],
}

/// Where `retired` words stand in the files of the repository, as `path:line: …`.
pub(crate) fn found(retired: &[Retired]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for path in files()?.into_iter().filter(|path| path != THIS_FILE) {
        // Pictures, archives.
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        found.extend(in_text(&path, &text, retired)?);
    }
    Ok(found)
}

/// What git knows or would add: no outputs, no downloads.
fn files() -> Result<Vec<String>> {
    let mut command = std::process::Command::new("git");
    command.current_dir(root()).args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]);
    let listed = output(&mut command)?;
    let there = |path: &&str| !path.is_empty() && root().join(path).is_file();
    Ok(listed.split('\0').filter(there).map(str::to_owned).collect())
}

fn in_text(path: &str, text: &str, retired: &[Retired]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for Retired { pattern, instead, except } in retired {
        let excepted = |place: &&str| path == *place || (place.ends_with('/') && path.starts_with(place));
        if except.iter().any(excepted) {
            continue;
        }
        let pattern = Regex::new(pattern).map_err(|cause| Failure::because(format!("`{pattern}`"), cause))?;
        // Line 0 is the name of the file.
        for (line, text) in [path].into_iter().chain(text.lines()).enumerate() {
            if let Some(word) = pattern.find(text) {
                found.push(format!("{path}:{line}: `{}` is retired, the word is {instead}", word.as_str()));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &[Retired] = &[
        Retired { pattern: r"(?i)\bsabotag", instead: "guard removal", except: &["CHANGELOG.md", "specs/"] },
        Retired { pattern: r"\bAUDIT\b", instead: "ORPHAN_SCAN", except: &[] },
    ];

    #[test]
    fn a_retired_word_is_found_in_texts_and_in_names_of_files() {
        let found = |path: &str, text: &str| in_text(path, text, WORDS).unwrap();
        let told = "a.md:2: `Sabotag` is retired, the word is guard removal";
        assert_eq!(found("a.md", "one\nSabotage and AUDITS\n"), [told]);
        assert_eq!(found("a.md", "AUDIT"), ["a.md:1: `AUDIT` is retired, the word is ORPHAN_SCAN"]);
        let told = "tests/sabotage.rs:0: `sabotag` is retired, the word is guard removal";
        assert_eq!(found("tests/sabotage.rs", ""), [told]);
    }

    #[test]
    fn a_word_may_stand_where_the_table_says() {
        for path in ["CHANGELOG.md", "specs/a.md"] {
            assert_eq!(in_text(path, "sabotage", WORDS).unwrap(), [""; 0], "{path}");
        }
        assert_eq!(in_text("specs.md", "sabotage", WORDS).unwrap().len(), 1);
    }

    #[test]
    fn the_files_of_the_repository_are_found_without_its_outputs() {
        let files = files().unwrap();
        assert!(files.iter().any(|path| path == THIS_FILE) && files.iter().any(|path| path == "README.md"));
        assert!(!files.iter().any(|path| path.starts_with("target/")));
    }
}
