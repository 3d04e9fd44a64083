//! The README says what the code says. Where they differ the test prints what belongs there.

use lifecycle::Status;
use lifecycle::rule::template::PLACEHOLDERS;
use lifecycle::status::diagram;

const README: &str = include_str!("../README.md");
const CONFIG: &str = include_str!("../handler/src/config/mod.rs");

#[test]
fn the_diagram_is_the_transition_table() {
    let diagram = format!("```mermaid\n{}```", diagram());
    assert!(README.contains(&diagram), "README.md must hold\n{diagram}");
}

#[test]
fn the_statuses_are_explained_in_the_words_of_the_code() {
    let rows: String = Status::ALL.map(|status| format!("| `{status}` | {} |\n", status.sentence())).concat();
    assert!(README.contains(&rows), "README.md must hold\n{rows}");
}

#[test]
fn every_setting_is_listed_with_the_default_and_meaning_of_the_code() {
    // The table in the module's documentation is the source; the README repeats it.
    let table: Vec<&str> = CONFIG.lines().filter_map(|line| line.strip_prefix("//! |")).collect();
    assert!(table.len() > 8, "{table:?}");
    for row in table {
        assert!(README.contains(&format!("|{row}\n")), "README.md must hold\n|{row}");
    }
}

#[test]
fn every_text_that_a_failure_is_recognised_by_is_listed_with_its_cause_and_remedy() {
    let row = |one: &lifecycle::failure::Recognised| {
        let texts: Vec<_> = one.texts.iter().map(|text| format!("`{text}`")).collect();
        format!("| `{}` | {} | {} |\n", one.cause.name(), texts.join(", "), one.remedy)
    };
    let rows: String = lifecycle::failure::RECOGNISED.iter().map(row).collect();
    assert!(README.contains(&rows), "in this order, as the first line counts: README.md must hold\n{rows}");
}

/// All sources that hold tests.
fn sources(folder: &std::path::Path, all: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// A function of this name is a test by its attribute, or one of a suite that runs under several stages.
fn is_test(name: &str, sources: &[String]) -> bool {
    sources.iter().any(|source| {
        let lines: Vec<&str> = source.lines().map(str::trim).collect();
        let declared = lines.iter().position(|line| line.contains(&format!("fn {name}(")));
        let attributes = |at: usize| {
            lines[at.saturating_sub(4)..at]
                .iter()
                .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
        };
        let in_suite = || lines.iter().any(|line| line.split([' ', ',']).next() == Some(name));
        declared.is_some_and(|at| attributes(at) || in_suite())
    })
}

#[test]
fn every_capability_has_a_verdict_and_each_yes_a_test_that_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(root.join("docs/capabilities.md")).unwrap();
    let mut all = Vec::new();
    sources(root, &mut all);
    sources(&root.join("../tests"), &mut all);
    let rows = table.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let rows: Vec<Vec<&str>> = rows.filter(|cells| cells.len() == 7 && cells[1].parse::<u32>().is_ok()).collect();
    let numbers: Vec<usize> = rows.iter().map(|cells| cells[1].parse().unwrap()).collect();
    assert_eq!(numbers, (1..=43).collect::<Vec<_>>());
    for cells in rows {
        let (capability, verdict) = (cells[2], cells[3]);
        assert!(["yes", "partly", "no"].contains(&verdict), "{capability}: {verdict}");
        let tests: Vec<&str> =
            cells[5].split(',').map(|name| name.trim().trim_matches('`')).filter(|name| !name.is_empty()).collect();
        assert_eq!(tests.is_empty(), verdict == "no", "{capability}");
        for test in tests {
            assert!(is_test(test, &all), "{capability}: there is no test `{test}`");
        }
    }
    assert!(!is_test("there_is_no_such_test", &all));
}

#[test]
fn every_placeholder_is_listed() {
    for (name, _) in PLACEHOLDERS {
        assert!(README.contains(&format!("`{{{name}}}`")), "{{{name}}} is missing in README.md");
    }
}

#[test]
fn the_example_rules_are_good_and_every_member_is_explained() {
    let example = README.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let rules = lifecycle::Rules::read(example).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(rules.iter().count(), 1);
    for member in members(r#"{"rules":[{"x":0}]}"#, "rules[0].x") {
        let named = README.contains(&format!("`{member}`")) || README.contains(&format!("`{member}."));
        assert!(named, "the member {member} is not explained in README.md");
    }
}

/// The members that an object of the rules takes, which the problem of one that it does not take names.
fn members(rules: &str, path: &str) -> Vec<String> {
    let problems = lifecycle::Rules::read(rules).expect_err("`x` is not a member");
    let problem = problems.iter().find(|problem| problem.place.path == path).expect("a problem of `x`");
    let members: Vec<String> = problem.expected.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(members.len() > 3, "{problem}");
    members
}

#[test]
fn every_member_of_an_endpoint_is_explained() {
    let section =
        README.split("\n### Endpoints\n").nth(1).and_then(|rest| rest.split("\n#").next()).expect("a section");
    for member in members(r#"{"rules":[],"endpoints":[{"x":0}]}"#, "endpoints[0].x") {
        assert!(section.contains(&format!("| `{member}` |")), "the member {member} is not explained in README.md");
    }
}

#[test]
fn every_check_of_the_doctor_is_named_and_no_other() {
    let section = README.split("\n## Doctor\n").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section");
    let rows = section.lines().filter(|line| line.starts_with("| of "));
    let named: Vec<&str> = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect();
    let mut sorted = named.clone();
    sorted.sort_unstable();
    let mut checks: Vec<&str> = doctor::CHECKS.iter().map(|check| check.id()).collect();
    checks.sort_unstable();
    assert_eq!(sorted, checks);
}

#[test]
fn files_that_the_readme_links_to_exist() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for link in README.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let path = link.split('#').next().unwrap_or_default();
        if !path.is_empty() && !link.starts_with("http") {
            assert!(root.join(path).exists(), "{link}");
        }
    }
}
