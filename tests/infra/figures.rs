//! How large templates and tests are, beside what they were, and how many seeded defects are noticed by whom: a table of the README.

use std::fmt::Write as _;
use std::fs;

use super::project::{Project, SNAPSHOTS, root};
use super::{defects, page, walk};

/// Counted when the tests still had a Bicep compiler of their own (commit e0785c3).
const BEFORE: [usize; 6] = [46, 434, 22, 2361, 3152, 3861];

pub fn table(project: &Project) -> String {
    let lines = |end: &'static str| {
        let files = project.files.all("infra/", end).filter(|(path, _)| !path.starts_with(SNAPSHOTS));
        files.map(|(_, text)| text.lines().count()).sum::<usize>()
    };
    let parameters = project.templates["main"]["parameters"].as_object().map_or(0, serde_json::Map::len);
    let rows = [
        ("parameters of main.bicep", parameters),
        ("lines of main.bicep", project.files.get("infra/main.bicep").lines().count()),
        ("files of Bicep", project.files.all("infra/", ".bicep").count()),
        ("lines of Bicep, with parameter files", about(lines(".bicep") + lines(".bicepparam"))),
        ("lines of `infra`, without snapshots", about(lines(""))),
        ("lines of `tests/infra` in Rust", about(of_tests())),
    ];
    let mut table = "| how large | before | now |\n|---|---|---|\n".to_owned();
    for ((what, now), before) in rows.into_iter().zip(BEFORE) {
        let _ = writeln!(table, "| {what} | {before} | {now} |");
    }
    table += "\n| seeded defects | | noticed |\n|---|---|---|\n";
    for (what, count, how) in defects::kinds().into_iter().chain([walk::seeded(), page::seeded()]) {
        let _ = writeln!(table, "| {what} | {count} | {how} |");
    }
    table
}

/// To the hundred: not every change of a line is one of this page.
fn about(lines: usize) -> usize {
    (lines + 50) / 100 * 100
}

fn of_tests() -> usize {
    let entries = fs::read_dir(root().join("tests/infra")).unwrap().map(|entry| entry.unwrap().path());
    let sources = entries.filter(|path| path.extension().is_some_and(|end| end == "rs"));
    sources.map(|path| fs::read_to_string(path).unwrap().lines().count()).sum()
}
