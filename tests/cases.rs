//! `cases/README.md` has a row for each case, and each row's test runs it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests")
}

/// Files below a folder, by their paths in it.
fn files(folder: &Path, below: &str, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = Path::new(below).join(entry.file_name()).to_str().unwrap().to_owned();
        if entry.file_type().unwrap().is_dir() {
            files(folder, &path, found);
        } else if path != "README.md" {
            found.insert(path);
        }
    }
}

/// One row: the file or `FOLDER/*.ENDING`, and its test.
struct Row {
    case: String,
    file: String,
    test: String,
}

impl Row {
    fn all(table: &str) -> Vec<Self> {
        let rows = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| case "));
        let read = |line: &str| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [case, outcome, run_by] = cells[..] else { panic!("{line}") };
            assert!(!outcome.is_empty(), "{line}");
            let (file, test) = run_by.split_once(": ").unwrap_or_else(|| panic!("{line}"));
            Self { case: case.to_owned(), file: file.to_owned(), test: test.trim_matches('`').to_owned() }
        };
        rows.map(read).collect()
    }

    fn is_of(&self, file: &str) -> bool {
        match self.case.split_once('*') {
            Some((folder, ending)) => file.starts_with(folder) && file.ends_with(ending),
            None => self.case == file,
        }
    }

    /// Why its test does not run it; by the text of the test's file.
    fn problem(&self, source: Option<&str>) -> Option<String> {
        let Self { case, file, test } = self;
        let Some(source) = source else { return Some(format!("{case}: there is no {file}")) };
        if !source.contains(&format!("fn {test}(")) {
            return Some(format!("{case}: there is no `{test}` in {file}"));
        }
        let (folder, name) = case.rsplit_once('/').unwrap_or_default();
        let stem = name.split('.').next().unwrap_or_default();
        let of_folder = source.contains(&format!("cases/{folder}"));
        let named = source.contains(case) || (of_folder && (stem == "*" || source.contains(&format!("\"{stem}\""))));
        (!named).then(|| format!("{case}: {file} does not read it"))
    }
}

/// What does not fit between the table and the files.
fn problems(table: &str, files: &BTreeSet<String>, source: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let rows = Row::all(table);
    let rows_of = |file: &str| rows.iter().filter(|row| row.is_of(file)).count();
    let mut problems: Vec<String> =
        files.iter().filter(|file| rows_of(file) != 1).map(|file| format!("{file}: {} rows", rows_of(file))).collect();
    for row in &rows {
        if !files.iter().any(|file| row.is_of(file)) {
            problems.push(format!("{}: there is no such file", row.case));
        }
        problems.extend(row.problem(source(&row.file).as_deref()));
    }
    problems
}

#[test]
fn each_case_is_run_by_the_test_that_its_row_names() {
    let mut found = BTreeSet::new();
    files(&tests().join("cases"), "", &mut found);
    let table = std::fs::read_to_string(tests().join("cases/README.md")).unwrap();
    let source = |file: &str| std::fs::read_to_string(tests().join(file)).ok();
    assert_eq!(problems(&table, &found, source), Vec::<String>::new());
}

#[test]
fn a_file_without_a_row_a_row_without_a_file_and_a_test_that_is_not_there_are_found() {
    let table = "| case | right outcome | run by |\n|---|---|---|\n\
        | a/1.json | taken | t.rs: `runs` |\n| a/gone.json | taken | t.rs: `runs` |\n| b/*.json | taken | t.rs: `none` |\n\
        | c/x.json | taken | t.rs: `runs` |\n";
    let files = ["a/1.json", "a/2.json", "b/1.json", "c/x.json"].map(str::to_owned).into();
    let source = |_: &str| Some("fn runs() { read(\"a/1.json\"); read(\"a/gone.json\") }".to_owned());
    let expected = [
        "a/2.json: 0 rows",
        "a/gone.json: there is no such file",
        "b/*.json: there is no `none` in t.rs",
        "c/x.json: t.rs does not read it",
    ];
    assert_eq!(problems(table, &files, source), expected);
}
