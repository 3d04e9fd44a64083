//! One path: the driver is the only one in the product that asks what is to become of a scoring.

use std::fs;
use std::path::{Path, PathBuf};

/// Every source file of the product below `folder`, tests and benchmarks left out.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the workspace") {
        let path = entry.expect("an entry of that folder").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !["tests", "benches", "target"].contains(&name) {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") && name != "tests.rs" {
            found.push(path);
        }
    }
}

/// The lines that name the function `decide`, by a call, an import or a pointer. Its module, methods and other functions of
/// that name, comments, and the tests at the end of a file are none.
fn mentions(text: &str) -> Vec<&str> {
    let product = text.split("#[cfg(test)]").next().unwrap_or_default();
    let names_it = |line: &&str| {
        line.match_indices("decide").any(|(at, word)| {
            let (before, after) = (&line[..at], &line[at + word.len()..]);
            let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
            !before.ends_with(part_of_word)
                && !after.starts_with(part_of_word)
                // In a sentence a word follows; in code one of these, or the end of the line.
                && (after.is_empty() || after.starts_with(['(', ')', ',', ';', '}']))
                && !before.ends_with('.')
                && !before.ends_with("fn ")
        })
    };
    product.lines().map(str::trim).filter(|line| !line.starts_with("//")).filter(names_it).collect()
}

#[test]
fn the_driver_alone_calls_decide() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    sources(&workspace, &mut files);
    assert!(files.len() > 100, "the workspace is here: {}", files.len());
    let mut callers = Vec::new();
    for file in files {
        let name = file.strip_prefix(&workspace).expect("below it").display().to_string();
        // The crate of the function itself.
        if !name.starts_with("lifecycle/") {
            let text = fs::read_to_string(&file).expect("a source file is text");
            callers.extend(mentions(&text).into_iter().map(|line| format!("{name}: {line}")));
        }
    }
    assert_eq!(
        callers,
        ["app/src/driver.rs: lifecycle::decide(scoring, self.rule(scoring), observation, at)"],
        "who needs a decision asks `Driver::drive` or `Driver::preview`"
    );
}

#[test]
fn a_caller_is_seen_however_it_names_the_function() {
    for line in ["let step = decide(a, b, c, d);", "use lifecycle::{Step, decide};", "steps.map(lifecycle::decide)"] {
        assert_eq!(mentions(line), [line]);
    }
    for line in ["// decide(a)", "self.decide(a)", "fn decide(a: u8)", "lifecycle::decide::utc_text(at)", "decided(a)"]
    {
        assert!(mentions(line).is_empty(), "{line}");
    }
}
