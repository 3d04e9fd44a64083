//! README and the pages of `handler/docs` say what the code says. Where they differ the test prints what belongs there.
//! Their commands are run by `documented_commands.rs`.

use lifecycle::Status;
use lifecycle::rule::template::PLACEHOLDERS;
use lifecycle::status::diagram;

const README: &str = include_str!("../README.md");
const DATA_TEAMS: &str = include_str!("../handler/docs/data-teams.md");
const OPERATIONS: &str = include_str!("../handler/docs/operations.md");
const INFRASTRUCTURE: &str = include_str!("../handler/docs/infrastructure.md");
const CONFIG: &str = include_str!("../handler/src/config/mod.rs");

#[test]
fn the_diagram_is_the_transition_table() {
    let diagram = format!("```mermaid\n{}```", diagram());
    assert!(OPERATIONS.contains(&diagram), "operations.md must hold\n{diagram}");
}

#[test]
fn the_statuses_are_explained_in_the_words_of_the_code() {
    let rows: String = Status::ALL.map(|status| format!("| `{status}` | {} |\n", status.sentence())).concat();
    assert!(OPERATIONS.contains(&rows), "operations.md must hold\n{rows}");
}

#[test]
fn every_setting_is_listed_with_the_default_and_meaning_of_the_code() {
    // The table in the module's documentation is the source; the page repeats it.
    let table: Vec<&str> = CONFIG.lines().filter_map(|line| line.strip_prefix("//! |")).collect();
    assert!(table.len() > 8, "{table:?}");
    for row in table {
        assert!(INFRASTRUCTURE.contains(&format!("|{row}\n")), "infrastructure.md must hold\n|{row}");
    }
}

#[test]
fn every_text_that_a_failure_is_recognised_by_is_listed_with_its_cause_and_remedy() {
    let row = |one: &lifecycle::failure::Recognised| {
        let texts: Vec<_> = one.texts.iter().map(|text| format!("`{text}`")).collect();
        format!("| `{}` | {} | {} |\n", one.cause.name(), texts.join(", "), one.remedy)
    };
    let rows: String = lifecycle::failure::RECOGNISED.iter().map(row).collect();
    assert!(
        DATA_TEAMS.contains(&rows),
        "in this order, as the first line counts: handler/docs/data-teams.md must hold\n{rows}"
    );
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
        assert!(DATA_TEAMS.contains(&format!("`{{{name}}}`")), "{{{name}}} is missing in data-teams.md");
    }
}

#[test]
fn the_example_rules_are_good_and_every_member_is_explained() {
    let example = DATA_TEAMS.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let rules = lifecycle::Rules::read(example).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(rules.iter().count(), 1);
    for member in members(r#"{"rules":[{"x":0}]}"#, "rules[0].x") {
        let named = DATA_TEAMS.contains(&format!("`{member}`")) || DATA_TEAMS.contains(&format!("`{member}."));
        assert!(named, "the member {member} is not explained in data-teams.md");
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
        DATA_TEAMS.split("\n### Endpoints\n").nth(1).and_then(|rest| rest.split("\n#").next()).expect("a section");
    for member in members(r#"{"rules":[],"endpoints":[{"x":0}]}"#, "endpoints[0].x") {
        assert!(section.contains(&format!("| `{member}` |")), "the member {member} is not explained in data-teams.md");
    }
}

#[test]
fn every_check_of_the_doctor_is_named_and_no_other() {
    let section =
        OPERATIONS.split("\n## Doctor\n").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section");
    let rows = section.lines().filter(|line| line.starts_with("| of "));
    let named: Vec<&str> = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect();
    let mut sorted = named.clone();
    sorted.sort_unstable();
    let mut checks: Vec<&str> = doctor::CHECKS.iter().map(|check| check.id()).collect();
    checks.sort_unstable();
    assert_eq!(sorted, checks);
}

/// All pages that people read.
fn pages() -> Vec<(std::path::PathBuf, String)> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut all = Vec::new();
    for folder in ["", "handler", "handler/docs", "infra", "tests"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let text = std::fs::read_to_string(&path).unwrap();
                all.push((path, text));
            }
        }
    }
    assert!(all.len() > 12, "{}", all.len());
    all
}

/// The page without what is shown of programs.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect::<Vec<_>>().join("\n")
}

/// The anchors that GitHub makes of a page's headings.
fn anchors(text: &str) -> Vec<String> {
    let headings = prose(text).lines().filter_map(|line| line.strip_prefix('#').map(str::to_owned)).collect::<Vec<_>>();
    let anchor = |heading: &String| {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.iter().map(anchor).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() {
    let mut links = 0;
    for (page, text) in pages() {
        let prose = prose(&text);
        let marked = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let named = prose.split("src=\"").skip(1).chain(prose.split("srcset=\"").skip(1));
        for link in marked.chain(named.filter_map(|rest| rest.split('"').next())) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            links += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let file = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            assert!(file.exists(), "{}: {link}", page.display());
            if !anchor.is_empty() {
                let there = anchors(&std::fs::read_to_string(&file).unwrap());
                assert!(there.iter().any(|one| one == anchor), "{}: {link}: {there:?}", page.display());
            }
        }
    }
    assert!(links > 60, "{links}");
}

#[test]
fn the_front_page_is_short_and_its_first_screen_has_the_two_commands() {
    assert!(README.lines().count() <= 150, "{} lines", README.lines().count());
    let first: String = README.lines().take(20).collect::<Vec<_>>().join("\n");
    for command in ["cargo run --release -- local ", "cargo xtask test "] {
        assert!(first.contains(command), "{command}");
    }
}

/// The quantities of the costs, which other tests count (`app/main.rs`, `supervised_host.rs`), times uploads.
#[test]
fn the_costs_are_the_arithmetic_that_they_name() {
    let grouped = |number: u64| {
        let digits = number.to_string();
        let groups = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap());
        groups.collect::<Vec<_>>().join(",")
    };
    let runs: u64 = 60 * 24 * 30;
    let rows = |uploads: u64| {
        [uploads + runs, u64::midpoint(runs, uploads), 37 * runs + 36 * uploads, 2 * uploads, runs + 3 * uploads]
            .map(grouped)
    };
    let (few, many) = (rows(1_000), rows(1_000_000));
    // The one price: of a GB-s, as its row says it.
    let priced = README.lines().find_map(|line| line.strip_prefix("| at ")).expect("a row with a price");
    let cells: Vec<&str> = priced.split('|').map(str::trim).collect();
    let (price, of_what) = cells[0].split_once(" USD for a GB-s (").expect("a price");
    for named in ["Flex Consumption on demand", "East US", " 2025)"] {
        assert!(of_what.contains(named), "plan, region and date: {of_what}");
    }
    let price: f64 = price.parse().unwrap();
    let cost = |gb_s: u32| format!("{:.2} USD", f64::from(gb_s) * price);
    let timer = 21_600;
    assert_eq!(cells[1..3], [cost(timer + 500), cost(timer + 500_000)]);
    let told = [format!("{price:.6} USD for a GB-s"), cost(timer), cost(timer + 500), cost(timer + 500_000)];
    assert!(told.iter().all(|text| INFRASTRUCTURE.contains(text.as_str())), "{told:?}");
    for (few, many) in few.iter().zip(&many) {
        let cells: Vec<Vec<&str>> = README.lines().map(|line| line.split('|').map(str::trim).collect()).collect();
        let is_there = cells.iter().any(|cells| {
            cells.get(2).is_some_and(|cell| cell.starts_with(few.as_str()))
                && cells.get(3).is_some_and(|cell| cell.starts_with(many.as_str()))
        });
        assert!(is_there, "{few} | {many}");
        assert!(INFRASTRUCTURE.contains(few.as_str()) && INFRASTRUCTURE.contains(many.as_str()), "{few}, {many}");
    }
}

/// What paths of the repository end with, where a page names one.
const ENDINGS: &[&str] = &[".rs", ".md", ".sh", ".bicep", ".bicepparam", ".toml", ".tsv", ".kql", ".py", ".json"];

/// The repository's files, as `/PATH`.
fn repository(folder: &std::path::Path, below: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{below}/{name}");
        if !entry.file_type().unwrap().is_dir() {
            found.push(path);
        } else if !["target", ".git", "node_modules"].contains(&name.as_str()) {
            repository(&entry.path(), &path, found);
        }
    }
}

/// Paths of the repository that a text names in backquotes. They may be short: what stands before `src`, or a file's name alone.
fn named_paths(prose: &str) -> Vec<&str> {
    let is_path = |text: &&str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
        text.chars().all(plain) && ENDINGS.iter().any(|ending| text.len() > ending.len() && text.ends_with(ending))
    };
    prose.split('`').skip(1).step_by(2).filter(is_path).collect()
}

#[test]
fn each_path_of_the_repository_that_a_page_names_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    repository(&root, "", &mut files);
    let exists = |path: &str| files.iter().any(|file| file.ends_with(&format!("/{path}")));
    let mut named = 0;
    for (page, text) in pages() {
        for path in named_paths(&prose(&text)) {
            // Made by a build, and by whoever deploys.
            assert!(exists(path) || path.ends_with(".cdx.json"), "{}: {path} does not exist", page.display());
            named += 1;
        }
    }
    assert!(named > 50, "{named}");
    assert!(!exists("app/src/admission.rs"));
}
