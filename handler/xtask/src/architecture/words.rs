//! Words that were given up for those of the field must not come back into sources, help, documents or names of files.

use std::{fs, process::Command};

use fancy_regex::Regex;

use crate::{
    failure::{Failure, Result, cannot, cannot_start},
    workspace::root,
};

/// The list: one word a line, of three columns between tabs.
///
/// 1. What is looked for, line by line: a regular expression with look-around.
/// 2. Where it may stand all the same: files, or folders as `folder/**`, below the workspace's root, with commas between;
///    `-` is nowhere. For wire formats of others, and for what has another meaning there.
/// 3. What is written now.
const LIST: &str = "handler/xtask/src/architecture/retired_words.tsv";

/// Files that nobody of us words, the history of words, and the list itself.
const NOT_OURS: &[&str] = &["Cargo.lock", "LICENSE", "CHANGELOG.md", "tests/fixtures/**", LIST];

/// A line of the list.
struct Retired {
    pattern: Regex,
    except: Vec<String>,
    instead: String,
}

/// Where retired words stand in the repository, as `path:line: …`; line 0 is the name of the file.
pub(crate) fn of_repository() -> Result<Vec<String>> {
    let list = root().join(LIST);
    let list = list_of(&fs::read_to_string(&list).map_err(cannot("read", &list))?)?;
    let mut found = Vec::new();
    for path in files()?.into_iter().filter(|path| !NOT_OURS.iter().any(|place| is_in(path, place))) {
        // What is not text has no words: pictures, archives.
        if let Ok(text) = fs::read_to_string(root().join(&path)) {
            found.extend(in_text(&path, &text, &list)?);
        }
    }
    Ok(found)
}

fn list_of(text: &str) -> Result<Vec<Retired>> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let read = lines.map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [pattern, except, instead] = columns[..] else {
            return Err(Failure::new(format!("{LIST}: `{line}` has not three columns")));
        };
        let pattern = Regex::new(pattern).map_err(|cause| Failure::because(format!("{LIST}: `{pattern}`"), cause))?;
        let except = except.split(',').filter(|place| *place != "-").map(str::to_owned).collect();
        Ok(Retired { pattern, except, instead: instead.to_owned() })
    });
    read.collect()
}

/// What git knows or would add: no outputs, no downloads.
fn files() -> Result<Vec<String>> {
    let git = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"];
    let listed = Command::new("git").current_dir(root()).args(git).output().map_err(cannot_start("git ls-files"))?;
    if !listed.status.success() {
        return Err(Failure::new(format!("`git ls-files` ended with {}", listed.status)));
    }
    let listed = String::from_utf8_lossy(&listed.stdout);
    let is_there = |path: &&str| !path.is_empty() && root().join(path).is_file();
    Ok(listed.split('\0').filter(is_there).map(str::to_owned).collect())
}

fn is_in(path: &str, place: &str) -> bool {
    match place.strip_suffix("**") {
        Some(folder) => path.starts_with(folder),
        None => path == place,
    }
}

fn in_text(path: &str, text: &str, list: &[Retired]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for Retired { pattern, except, instead } in list {
        if except.iter().any(|place| is_in(path, place)) {
            continue;
        }
        for (line, text) in [path].into_iter().chain(text.lines()).enumerate() {
            let hit = pattern.find(text).map_err(|cause| Failure::because(format!("{LIST}: `{pattern}`"), cause))?;
            if let Some(word) = hit {
                found.push(format!("{path}:{line}: `{}` is retired, the word is {instead}", word.as_str()));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let list = "# words\n\n(?i)(?<![a-z])colours?\tREADME.md,specs/**\tcolor\n\\bGREY\\b(?! SCALE)\t-\tGRAY\n";
        in_text(path, text, &list_of(list).unwrap()).unwrap()
    }

    #[test]
    fn a_retired_word_is_found_in_texts_and_in_names_of_files() {
        assert_eq!(found("a.md", "one\nColours, GREYS\n"), ["a.md:2: `Colours` is retired, the word is color"]);
        assert_eq!(found("a.md", "GREY SCALE\nGREY"), ["a.md:2: `GREY` is retired, the word is GRAY"]);
        assert_eq!(found("a/my_colour.rs", ""), ["a/my_colour.rs:0: `colour` is retired, the word is color"]);
    }

    #[test]
    fn a_word_may_stand_where_the_list_says() {
        assert_eq!(found("README.md", "colour"), [""; 0]);
        assert_eq!(found("specs/a.md", "colour"), [""; 0]);
        assert_eq!(found("specs.md", "colour").len(), 1);
    }

    #[test]
    fn a_line_of_the_list_that_is_not_understood_is_refused() {
        for (line, told) in [("colour\tcolor", "has not three columns"), ("(\t-\tcolor", "`(`")] {
            let refused = list_of(line).map(|_| ()).unwrap_err().to_string();
            assert!(refused.contains(told), "{refused}");
        }
    }

    #[test]
    fn the_files_of_the_repository_are_looked_at_without_its_outputs() {
        let files = files().unwrap();
        assert!(files.iter().any(|path| path == LIST) && files.iter().any(|path| path == "README.md"));
        assert!(!files.iter().any(|path| path.starts_with("target/")));
    }
}
