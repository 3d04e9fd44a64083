//! What the page lets people do without a question: it deploys on its first screen, with what is theirs in one block; and each variable
//! that any of its code uses, in blocks of whatever language and in sentences, was set by a block before it.

use std::collections::BTreeSet;

use super::project::{Files, Project};

const README: &str = "infra/README.md";
const SCREEN: usize = 40;

/// What a command in a sentence may leave to the case at hand: it is what the command line's own help calls it.
const OF_THE_CASE: [&str; 4] = ["FILE", "ID", "NAME", "TEXT"];
/// A sentence's code is a command if it begins so.
const COMMANDS: [&str; 11] =
    ["az", "azd", "cargo", "docker", "gh", "git", "infra/deploy.sh", "requests", "scorekeeper", "traces", "sed"];

pub fn check(project: &Project) -> Vec<String> {
    let page = project.files.get(README);
    let mut findings = first_screen(page);
    let mut set = BTreeSet::new();
    for part in parts(page) {
        match part {
            Part::Shell(block) => {
                for line in block.lines() {
                    // A block may use what a command of its own has set, and what a file sets that it reads.
                    let file = line.trim().strip_prefix(". ").and_then(|rest| rest.split_whitespace().next());
                    set.extend(file.and_then(|file| project.files.find(file)).into_iter().flat_map(assigned));
                    set.extend(assigned(line));
                    findings.extend(unset(line, &set));
                }
            }
            Part::Other(code) => {
                findings.extend(unset(code, &set));
                findings.extend(placeholders(code));
            }
            Part::Sentence(code) => {
                if COMMANDS.contains(&code.split_whitespace().next().unwrap_or_default()) {
                    findings.extend(unset(code, &set));
                    findings.extend(placeholders(code));
                }
            }
        }
    }
    findings
}

enum Part<'a> {
    /// A block of shell commands.
    Shell(&'a str),
    /// A block of anything else that people run.
    Other(&'a str),
    /// Code within a sentence or a table.
    Sentence(&'a str),
}

fn parts(page: &str) -> Vec<Part<'_>> {
    let mut all = Vec::new();
    for (number, text) in page.split("```").enumerate() {
        if number % 2 == 0 {
            all.extend(text.split('`').skip(1).step_by(2).map(Part::Sentence));
            continue;
        }
        match text.split_once('\n') {
            Some(("sh", block)) => all.push(Part::Shell(block)),
            // A drawing.
            Some(("text", _)) | None => {}
            Some((_, block)) => all.push(Part::Other(block)),
        }
    }
    all
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Variables that commands set: `NAME=…`, `for NAME in`, `read -r NAME`.
fn assigned(commands: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in commands.lines() {
        let words: Vec<&str> = line.split(" #").next().unwrap_or_default().split([' ', ';', '{', '(']).collect();
        for (at, word) in words.iter().enumerate() {
            let before = |back: usize| at.checked_sub(back).map(|at| words[at]);
            let looped = before(1) == Some("for") || (before(1) == Some("-r") && before(2) == Some("read"));
            let name = word.split_once('=').map_or(if looped { *word } else { "" }, |(name, _)| name);
            if is_name(name) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

/// Uses of variables that nobody has set: `$NAME`, `${NAME…}`.
fn unset(code: &str, set: &BTreeSet<String>) -> Vec<String> {
    let used = code.split('$').skip(1).filter_map(|rest| {
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        Some(&rest[..end]).filter(|name| is_name(name))
    });
    let unset = used.filter(|name| !set.contains(*name));
    unset.map(|name| format!("{README}: no block has set `{name}` before `{}`", code.trim())).collect()
}

/// Words in capitals, which people would have to replace by what nobody tells them.
fn placeholders(code: &str) -> Vec<String> {
    let words = code.split(|c: char| !c.is_ascii_alphanumeric() && !"_$-{%".contains(c));
    let shouted = words.filter(|word| {
        word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_') && !OF_THE_CASE.contains(word)
    });
    // What is set for the command itself, as in `NAME=value command`.
    let unknown = shouted.filter(|word| !code.contains(&format!("{word}=")));
    unknown.map(|word| format!("{README}: nobody says what `{word}` is in `{code}`")).collect()
}

/// From a clone to `deploy.sh all`, with all that is set for it in one block.
fn first_screen(page: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let lines: Vec<&str> = page.lines().take(SCREEN).collect();
    let Some(deploys) = lines.iter().position(|line| line.starts_with("infra/deploy.sh all")) else {
        return vec![format!("{README}: the first {SCREEN} lines do not lead to `infra/deploy.sh all`")];
    };
    let to_there = lines[..deploys].join("\n");
    let set = parts(&to_there).into_iter().filter_map(|part| match part {
        Part::Shell(block) => Some(assigned(block).into_iter().filter(|name| name.to_uppercase() == *name).count()),
        _ => None,
    });
    if set.filter(|count| *count > 0).count() != 1 {
        findings.push(format!("{README}: what is set for the first deployment stands in more than one block"));
    }
    findings
}

/// What would leave somebody alone, put into the page: a text, what it becomes, and a part of what must be said.
#[rustfmt::skip] // a table
const DEFECTS: [(&str, &str, &str); 8] = [
    ("STATE_ACCOUNT=$(output stateAccountName)\n", "", "no block has set `STATE_ACCOUNT`"),
    ("TASK_HUB=$(output taskHub)\n", "", "no block has set `TASK_HUB`"),
    ("--auth-mode login --account-name \"$STATE_ACCOUNT\"`)", "--auth-mode login --account-name ACCOUNT`)", "nobody says what `ACCOUNT` is"),
    ("`traces | where message has 'Message", "`traces | where operation_Id == 'OPERATION' and message has 'Message", "nobody says what `OPERATION` is"),
    ("## What is not known\n", "```powershell\nGet-AzFunctionApp -Name $APPLICATION\n```\n\n## What is not known\n", "no block has set `APPLICATION`"),
    ("## What is not known\n", "```kql\ntraces | where cloud_RoleName == 'ROLE_NAME'\n```\n\n## What is not known\n", "nobody says what `ROLE_NAME` is"),
    ("az login\n", "az login\nLOCATION=northeurope\n", "stands in more than one block"),
    ("In a clone of this repository", "\n\n\n\n\n\n\n\n\n\n\n\n\nIn a clone of this repository", "do not lead to `infra/deploy.sh all`"),
];

#[test]
fn an_unset_variable_and_a_first_screen_that_does_not_deploy_are_noticed() {
    let files = Files::load();
    super::none(&check(&Project::load()));
    for (from, to, said) in DEFECTS {
        let found = check(&Project::read(files.spoilt(README, from, to)));
        assert!(found.iter().any(|finding| finding.contains(said)), "{said}: {found:#?}");
    }
}

#[test]
fn what_commands_set_is_known() {
    let commands = "A=1 B=\"$(x)\"   # C=3\nfor it in 1 2; do D=$it; done\nx | while read -r e; do :; done\nif [ \"$A\" = 1 ]; then :; fi";
    let names: Vec<String> = assigned(commands);
    assert_eq!(names, ["A", "B", "it", "D", "e"]);
}

/// The same in a line of the README's table.
pub fn seeded() -> (&'static str, usize, &'static str) {
    ("of its variables and its first screen", DEFECTS.len(), "by a check of the page")
}
