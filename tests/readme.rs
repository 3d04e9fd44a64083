//! README and the pages of `handler/docs` say what the code says. Where they differ the test prints what belongs there.
//! Their commands are run by `documented_commands.rs`.

use lifecycle::Status;
use lifecycle::rule::template::PLACEHOLDERS;
use lifecycle::status::diagram;

const README: &str = include_str!("../README.md");
const DATA_TEAMS: &str = include_str!("../handler/docs/data-teams.md");
const OPERATIONS: &str = include_str!("../handler/docs/operations.md");
const INFRASTRUCTURE: &str = include_str!("../handler/docs/infrastructure.md");
const INFRA: &str = include_str!("../infra/README.md");
const ALERTS: &str = include_str!("../infra/modules/alerts.bicep");
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
    // The parameters of the how-to articles, each of which has a row of the same form.
    let parameters = table.lines().skip_while(|line| !line.starts_with("| article |")).skip(2);
    let parameters: Vec<Vec<&str>> = parameters
        .map(|line| line.split('|').map(str::trim).collect())
        .take_while(|cells: &Vec<&str>| cells.len() > 1)
        .collect();
    assert!(parameters.len() >= 19, "{}", parameters.len());
    for cells in rows.into_iter().chain(parameters) {
        assert_eq!(cells.len(), 7, "{cells:?}");
        let (capability, verdict) = (cells[2], cells[3]);
        assert_eq!(verdict, "yes", "{capability}");
        let tests: Vec<&str> =
            cells[5].split(',').map(|name| name.trim().trim_matches('`')).filter(|name| !name.is_empty()).collect();
        assert!(!tests.is_empty(), "{capability}");
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

#[test]
fn the_front_page_is_short_and_its_first_screen_has_the_two_commands() {
    assert!(README.lines().count() <= 150, "{} lines", README.lines().count());
    let first: String = README.lines().take(20).collect::<Vec<_>>().join("\n");
    for command in ["cargo run --release -- local ", "cargo xtask test "] {
        assert!(first.contains(command), "{command}");
    }
}

/// A number with commas between its thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap());
    groups.collect::<Vec<_>>().join(",")
}

/// A row of the costs at so many uploads: name, price as it is told, quantity as it is told, cost.
type Cost = (&'static str, &'static str, String, f64);

/// The quantities, which other tests count (`app/main.rs`, `log_records.rs`), times their prices.
#[expect(clippy::cast_precision_loss, reason = "quantities of a month")]
fn costs(uploads: u64) -> [Cost; 9] {
    let (runs, sweeps): (u64, u64) = (60 * 24 * 30, 12 * 24 * 30);
    let (of_a_run, of_an_event) = crate::log_records::sent();
    let counted = |quantity: u64, price: f64, per: f64| (grouped(quantity), quantity as f64 * price / per);
    let executions = counted(uploads + runs + sweeps, 0.40, 1e6);
    let gb_s = counted((runs + sweeps + uploads) / 2, 0.000_026, 1.0);
    let transactions = counted(24 * runs + 4 * sweeps + (36 + 31) * uploads, 0.000_36, 1e4);
    let lists = counted(24 * 30 * uploads.div_ceil(5_000), 0.05, 1e4);
    let of_the_host = counted(50_000 * 30, 0.004, 1e4);
    let operations = counted(2 * uploads, 0.60, 1e6);
    let gb = (of_a_run * runs + 5 * sweeps + of_an_event * uploads) as f64 * 1e3 / 1e9;
    let (often, seldom) = log_alerts();
    let alerts = often as f64 * 1.50 + seldom as f64 * 0.50;
    [
        ("function executions", "0.40 for 1,000,000", executions.0, executions.1),
        ("GB-s of instances of 512 MB", "0.000026 each", gb_s.0, gb_s.1),
        ("table transactions", "0.00036 for 10,000", transactions.0, transactions.1),
        ("the host's own storage requests", "0.004 for 10,000", of_the_host.0, of_the_host.1),
        ("list calls of sweeps", "0.05 for 10,000", lists.0, lists.1),
        ("Event Grid operations", "0.60 for 1,000,000", operations.0, operations.1),
        ("GB of log records, of 1 kB", "2.30 each", format!("{gb:.2}"), gb * 2.30),
        ("alerts on logs", "1.50 and 0.50 each", format!("{often} and {seldom}"), alerts),
        ("alerts on metrics", "0.10 each", "3".to_owned(), 0.30),
    ]
}

/// Alerts on logs that the templates make where Event Grid pushes: asked every five minutes, and less often.
fn log_alerts() -> (usize, usize) {
    let always = ALERTS.split("var always = [").nth(1).and_then(|rest| rest.split("\nvar ").next()).expect("alerts");
    let asked: Vec<&str> = always.lines().filter_map(|line| line.trim().strip_prefix("frequency: ")).collect();
    let often = asked.iter().filter(|frequency| **frequency == "'PT5M'").count();
    (often, asked.len() - often)
}

#[test]
fn the_costs_are_the_arithmetic_that_they_name() {
    let section =
        README.split("\n## What it costs a month\n").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    for named in ["Flex Consumption on demand", "East US", "prices of 2025 and 2026", "pay as you go"] {
        assert!(section.contains(named), "plan, region and year: {named}");
    }
    let (few, many) = (costs(1_000), costs(1_000_000));
    // Of what is told, so that whoever adds it up comes to the sum.
    let cents = |cost: f64| (cost * 100.0).round();
    let rows = few.iter().zip(&many).map(|((name, price, few, few_cost), (_, _, many, many_cost))| {
        let [few_cost, many_cost] = [few_cost, many_cost].map(|cost| cents(*cost) / 100.0);
        (format!("| {name} | {price} | {few}: {few_cost:.2} | {many}: {many_cost:.2} | "), *price)
    });
    for (row, price) in rows {
        assert!(section.contains(&row), "the front page must hold\n{row}");
        for price in price.split(" and ").map(|price| price.trim_end_matches(" each")) {
            assert!(INFRASTRUCTURE.contains(price), "{price}");
        }
    }
    let sum = |costs: &[Cost]| costs.iter().map(|(.., cost)| cents(*cost)).sum::<f64>() / 100.0;
    let (few, many) = (sum(&few), sum(&many));
    let row = format!("| **in all** | | **{few:.2}** | **{many:.2}** | |");
    assert!(section.contains(&row), "the front page must hold\n{row}");
    assert!(INFRASTRUCTURE.contains(&format!("**{few:.2} USD** and **{many:.2} USD**")), "{few}, {many}");
    let alerts = costs(0)[7].3;
    assert!(INFRA.contains(&format!(": {alerts} USD a month")), "infra/README.md tells another price of the alerts");
}
